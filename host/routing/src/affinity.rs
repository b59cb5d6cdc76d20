//! Who stays with which deployment: prompts, for the beginning that its provider has in the cache;
//! sessions and callers, because the operator wants it.
//!
//! A prompt's marked beginning is known by a chain of digests, one per block, so that a longer prompt
//! finds the deployment that served its beginning. Pins are of one process and bounded in number.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::time::Now;

/// Pins kept; the least used make room.
const PINS_MAX: usize = 10_000;
/// Blocks looked back from the last marked one.
const LOOK_BACK: usize = 20;

/// The digest of a prompt's beginning, or of a session or caller in a group.
pub type PrefixDigest = [u8; 32];

/// Who stays with a deployment, besides prompts (`optional_pre_call_checks`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Affinity {
    /// `session_affinity`: a session of a client.
    pub session: bool,
    /// `deployment_affinity`: a key.
    pub caller: bool,
}

/// What stays with a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays<'a> {
    /// A session, by its id, and whose it is.
    Session(&'a str, &'a str),
    /// A caller, by the hash of the key.
    Caller(&'a str),
}

/// The digest of a session or caller in a group.
pub fn affinity_digest(group: &str, who: Stays<'_>) -> PrefixDigest {
    let parts = match who {
        Stays::Session(caller, id) => ["session", caller, id],
        Stays::Caller(key) => ["caller", key, ""],
    };
    let mut digest = Sha256::new();
    for part in [group].into_iter().chain(parts) {
        // With its length, so that no two lists run into the same bytes.
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// The digests of a cacheable prompt, the longest beginning first.
///
/// `tools` is the canonical text of the tools, `blocks` those of the content blocks up to and with
/// the last one that is marked for the cache.
pub fn prefix_digests<'a>(
    tools: &[u8],
    blocks: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<PrefixDigest> {
    let mut digest: PrefixDigest = Sha256::digest(tools).into();
    let mut chain = Vec::new();
    for block in blocks {
        let mut next = Sha256::new();
        next.update(digest);
        next.update(block);
        digest = next.finalize().into();
        chain.push(digest);
    }
    chain.reverse();
    chain.truncate(LOOK_BACK);
    chain
}

/// Prompts' beginnings, and who served them.
pub(crate) struct Pins(Cache<PrefixDigest, (Arc<str>, Duration)>);

impl Default for Pins {
    fn default() -> Self {
        Pins(Cache::new(PINS_MAX))
    }
}

impl std::fmt::Debug for Pins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pins").field("len", &self.0.len()).finish()
    }
}

impl Pins {
    /// Who served the longest of these beginnings lately.
    pub(crate) fn find(&self, digests: &[PrefixDigest], now: Now) -> Option<Arc<str>> {
        digests.iter().find_map(|digest| {
            let (id, until) = self.0.get(digest)?;
            (until > now.monotonic).then_some(id)
        })
    }

    /// Notes who has served this beginning.
    pub(crate) fn pin(&self, digest: PrefixDigest, id: &str, ttl: Duration, now: Now) {
        let until = now.monotonic.saturating_add(ttl);
        self.0.insert(digest, (id.into(), until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_longer_prompt_finds_who_served_its_beginning() {
        let pins = Pins::default();
        let now = Now::default();
        let (a, b, c) = (b"a".as_slice(), b"b".as_slice(), b"c".as_slice());
        let short = prefix_digests(b"[]", [a, b]);
        let ttl = Duration::from_secs(300);
        pins.pin(short[0], "d1", ttl, now);
        let long = prefix_digests(b"[]", [a, b, c]);
        assert_eq!(long.len(), 3);
        assert_eq!(pins.find(&long, now).as_deref(), Some("d1"));
        assert_eq!(pins.find(&long, now.later(ttl)), None);
        for other in [
            prefix_digests(b"[{}]", [a, b]),
            prefix_digests(b"[]", [b, a]),
        ] {
            assert_eq!(pins.find(&other, now), None);
        }
        pins.pin(long[0], "d2", ttl, now);
        assert_eq!(
            pins.find(&long, now).as_deref(),
            Some("d2"),
            "the longest wins"
        );
        assert_eq!(pins.find(&short, now).as_deref(), Some("d1"));
    }

    #[test]
    fn whoever_stays_has_a_digest_of_his_own() {
        let all = [
            affinity_digest("g", Stays::Caller("k")),
            affinity_digest("h", Stays::Caller("k")),
            affinity_digest("g", Stays::Caller("l")),
            affinity_digest("g", Stays::Session("k", "")),
            affinity_digest("g", Stays::Session("k", "s")),
            affinity_digest("g", Stays::Session("", "ks")),
        ];
        for (at, digest) in all.iter().enumerate() {
            assert!(!all[..at].contains(digest), "{at}");
        }
        assert_eq!(all[0], affinity_digest("g", Stays::Caller("k")));
    }

    #[test]
    fn only_the_last_blocks_are_looked_at() {
        let blocks: Vec<[u8; 1]> = (0..50).map(|n| [n]).collect();
        let digests = prefix_digests(b"", blocks.iter().map(|b| &b[..]));
        assert_eq!(digests.len(), LOOK_BACK);
    }
}
