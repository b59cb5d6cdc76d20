//! Passwords that are tried are counted by who tries, so that nobody tries them all.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Wrong passwords of one caller in a window.
const WRONG_MAX: u32 = 10;
/// The window, seconds.
const WINDOW_S: u64 = 60;
/// Callers that are remembered; more than that within a window all wait.
const CALLERS_MAX: usize = 10_000;

/// Who tried how often, and since when.
#[derive(Default)]
pub struct Guesses(Mutex<HashMap<String, (u32, u64)>>);

impl Guesses {
    /// Takes one of the tries that a caller has, before it is known whether it is right: many at once are no more than one after
    /// another. False when the caller has to wait.
    pub fn take(&self, caller: &str, now_s: u64) -> bool {
        let mut known = self.0.lock();
        if known.len() >= CALLERS_MAX {
            known.retain(|_, (_, since)| now_s < *since + WINDOW_S);
        }
        if known.len() >= CALLERS_MAX && !known.contains_key(caller) {
            return false;
        }
        let entry = known.entry(caller.to_owned()).or_insert((0, now_s));
        if now_s >= entry.1 + WINDOW_S {
            *entry = (0, now_s);
        }
        let may = entry.0 < WRONG_MAX;
        entry.0 += u32::from(may);
        may
    }

    /// It was right, and does not count.
    pub fn give_back(&self, caller: &str) {
        let mut known = self.0.lock();
        if let Some((count, _)) = known.get_mut(caller) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                known.remove(caller);
            }
        }
    }
}

impl std::fmt::Debug for Guesses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guesses")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_waits_after_ten_wrong_passwords_and_others_do_not() {
        let guesses = Guesses::default();
        for _ in 0..20 {
            assert!(guesses.take("a", 99));
            guesses.give_back("a");
        }
        for _ in 0..WRONG_MAX {
            assert!(guesses.take("a", 100));
        }
        assert!(!guesses.take("a", 100) && !guesses.take("a", 159));
        assert!(guesses.take("b", 100) && guesses.take("a", 160));
    }

    #[test]
    fn when_too_many_are_remembered_others_wait() {
        let guesses = Guesses::default();
        for caller in 0..CALLERS_MAX {
            assert!(guesses.take(&caller.to_string(), 100));
        }
        assert!(!guesses.take("new", 159) && guesses.take("7", 159));
        assert!(guesses.take("new", 160));
    }
}
