//! The beginning of a prompt that its provider keeps in a cache: everything up to and with the last
//! block that is marked (`cache_control`).

use std::time::Duration;

use witgate_routing::{PrefixDigest, prefix_digests};
use witgate_wire::json::{Raw, canonical_but};
use witgate_wire::{Endpoint, RequestView};

/// How long a provider keeps what is marked without a `ttl`, and with `ttl: 1h`.
const SHORT: Duration = Duration::from_secs(300);
const LONG: Duration = Duration::from_secs(3600);

/// A mark is no part of the text: a longer prompt has its marks elsewhere.
const MARK: &str = "cache_control";

/// A marked beginning.
pub(super) struct Prefix {
    /// Of it and of what it begins with, the longest first.
    pub(super) digests: Vec<PrefixDigest>,
    ttl: Duration,
}

impl Prefix {
    /// What a success pins: the whole beginning. A longer prompt finds it among its own digests.
    pub(super) fn pin(&self) -> Vec<(PrefixDigest, Duration)> {
        let longest = self.digests.first();
        longest
            .map(|digest| (*digest, self.ttl))
            .into_iter()
            .collect()
    }
}

/// The marked beginning of a chat; `None` when nothing is marked.
pub(super) fn of(request: &RequestView) -> Option<Prefix> {
    if request.endpoint() != Endpoint::ChatCompletions {
        return None;
    }
    // Rarely is anything marked, and the bytes tell so faster than a walk through them.
    memchr::memmem::find(request.bytes(), MARK.as_bytes())?;
    let mut blocks = Vec::new();
    let (mut marked, mut ttl) = (0, SHORT);
    for message in request.field("messages")?.elements() {
        let role = message.get("role").map(Raw::text).unwrap_or_default();
        let content = message.get("content");
        let parts = content.filter(|content| content.kind() == "array");
        match parts {
            Some(parts) => {
                for part in parts.elements() {
                    blocks.push(block(role, part));
                    if let Some(kept) = mark(part) {
                        (marked, ttl) = (blocks.len(), kept);
                    }
                }
            }
            None => blocks.push(block(role, message)),
        }
        if let Some(kept) = mark(message) {
            (marked, ttl) = (blocks.len(), kept);
        }
    }
    blocks.truncate(marked);
    let mut tools = Vec::new();
    if let Some(list) = request.field("tools") {
        canonical_but(list, &[MARK], &mut tools);
    }
    let digests = prefix_digests(&tools, blocks.iter().map(Vec::as_slice));
    (!digests.is_empty()).then_some(Prefix { digests, ttl })
}

/// How long a marked value is kept.
fn mark(value: Raw<'_>) -> Option<Duration> {
    let mark = value.get(MARK)?;
    if mark.get("type")?.as_str()? != "ephemeral" {
        return None;
    }
    let ttl = mark.get("ttl").and_then(|ttl| ttl.as_str());
    Some(match ttl.as_deref() {
        Some("1h") => LONG,
        _ => SHORT,
    })
}

fn block(role: &str, value: Raw<'_>) -> Vec<u8> {
    let mut text = role.as_bytes().to_vec();
    canonical_but(value, &[MARK], &mut text);
    text
}
