//! Wrong passwords are counted by address, so that nobody tries them all.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Wrong passwords of one address in a window.
const WRONG_MAX: u32 = 10;
/// The window, seconds.
const WINDOW_S: u64 = 60;
/// Addresses that are remembered; more than that within a window all wait.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Default)]
pub(crate) struct Guesses(Mutex<HashMap<String, (u32, u64)>>);

impl Guesses {
    /// Whether this address has to wait.
    pub(crate) fn too_many(&self, address: &str, now_s: u64) -> bool {
        let mut known = self.0.lock();
        if known.len() >= ADDRESSES_MAX {
            known.retain(|_, (_, since)| now_s < *since + WINDOW_S);
        }
        match known.get(address) {
            Some((count, since)) => now_s < *since + WINDOW_S && *count >= WRONG_MAX,
            None => known.len() >= ADDRESSES_MAX,
        }
    }

    /// One more wrong password.
    pub(crate) fn wrong(&self, address: &str, now_s: u64) {
        let mut known = self.0.lock();
        let entry = known.entry(address.to_owned()).or_insert((0, now_s));
        if now_s >= entry.1 + WINDOW_S {
            *entry = (0, now_s);
        }
        entry.0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_waits_after_ten_wrong_passwords_and_others_do_not() {
        let guesses = Guesses::default();
        for _ in 0..WRONG_MAX {
            assert!(!guesses.too_many("a", 100));
            guesses.wrong("a", 100);
        }
        assert!(guesses.too_many("a", 100) && guesses.too_many("a", 159));
        assert!(!guesses.too_many("b", 100) && !guesses.too_many("a", 160));
        guesses.wrong("a", 160);
        assert!(!guesses.too_many("a", 160));
    }
}
