//! Prompts kept between calls.

use serde::{Deserialize, Serialize};
use witgate_plugin::{debug, kv};

/// How long a prompt is kept for the case that Langfuse cannot be reached.
const KEPT_MS: u64 = 86_400_000;
/// Bytes of a key of the store.
const KEY_MAX: usize = 256;

/// A prompt as Langfuse sent it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cached {
    fetched_ms: u64,
    /// Langfuse's JSON.
    pub body: String,
}

impl Cached {
    /// The prompt kept under a key.
    pub fn get(key: &str) -> Option<Self> {
        kv::PLUGIN.get_json(key).ok().flatten()
    }

    /// Keeps a prompt. One that is too large is fetched each time.
    pub fn put(key: &str, now_ms: u64, body: &str) {
        let cached = Self {
            fetched_ms: now_ms,
            body: body.to_owned(),
        };
        let kept = serde_json::to_vec(&cached)
            .map_err(|error| error.to_string())
            .and_then(|bytes| {
                let kept = kv::PLUGIN.set(key, &bytes, Some(KEPT_MS));
                kept.map_err(|error| error.to_string())
            });
        if let Err(why) = kept {
            debug!("a prompt cannot be kept"; "reason" = why);
        }
    }

    /// Whether it need not be asked for again.
    pub fn is_fresh(&self, now_ms: u64, ttl_ms: u64) -> bool {
        now_ms.saturating_sub(self.fetched_ms) < ttl_ms
    }
}

/// The store's key for a prompt's address: its end tells prompts of one server apart.
pub fn key(url: &str) -> String {
    let path = url.split_once("/prompts/").map_or(url, |(_, path)| path);
    match path.len() <= KEY_MAX {
        true => path.to_owned(),
        // Addresses are ASCII. Two sums in place of the rest: nobody gains by a collision within their own prompts.
        false => {
            let sum = |basis: u64| {
                let fold =
                    |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                path.bytes().fold(basis, fold)
            };
            let start = path.get(..KEY_MAX - 40).unwrap_or_default();
            format!(
                "{start}#{:016x}{:016x}",
                sum(0xcbf2_9ce4_8422_2325),
                sum(path.len() as u64)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_prompts_apart_and_fit() {
        let url = |name: &str| format!("https://l/api/public/v2/prompts/{name}");
        assert_eq!(key(&url("greet?version=1")), "greet?version=1");
        let long = "a".repeat(300);
        let (one, two) = (
            key(&url(&format!("{long}1"))),
            key(&url(&format!("{long}2"))),
        );
        assert!(one.len() <= KEY_MAX && one != two, "{one} {two}");
    }

    #[test]
    fn freshness_ends_with_the_time_to_live() {
        let kept = Cached {
            fetched_ms: 1000,
            body: String::new(),
        };
        assert!(kept.is_fresh(1999, 1000));
        assert!(!kept.is_fresh(2000, 1000));
        assert!(!kept.is_fresh(1000, 0), "0 asks each time");
        assert!(kept.is_fresh(0, 1000), "a clock that was set back");
    }
}
