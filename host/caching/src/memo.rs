//! Keys of requests that were answered with kept answers, by their bytes.
//!
//! Who asks the same again mostly sends the same bytes, and a key takes sorting, rewriting and digesting them, which is the dearest single
//! part of a hit. So the keys of the last hits are known by what they are made of, compared whole.

use bytes::Bytes;
use parking_lot::Mutex;
use witgate_wire::{Endpoint, RequestView};

/// Places; each has the request that came to it last.
const PLACES: usize = 128;
/// Longest request that is known again, in bytes: a megabyte for all of them.
const LONGEST: usize = 8 << 10;

/// Everything that a key depends on.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The request.
    pub request: &'a RequestView,
    /// The model group, or the caching group that it is in.
    pub model: &'a str,
    /// Who shares answers.
    pub scope: &'a str,
    /// The namespace of the key.
    pub namespace: Option<&'a str>,
}

struct Known {
    body: Bytes,
    endpoint: Endpoint,
    model: String,
    scope: String,
    namespace: Option<String>,
    key: String,
}

impl Known {
    fn is(&self, asked: &Asked<'_>) -> bool {
        self.endpoint == asked.request.endpoint()
            && self.model == asked.model
            && self.scope == asked.scope
            && self.namespace.as_deref() == asked.namespace
            && self.body == asked.request.bytes()
    }
}

/// The keys of the last hits.
pub(crate) struct Memo(Box<[Mutex<Option<Known>>]>);

impl Default for Memo {
    fn default() -> Self {
        Self((0..PLACES).map(|_| Mutex::default()).collect())
    }
}

impl Memo {
    fn place(&self, asked: &Asked<'_>) -> Option<&Mutex<Option<Known>>> {
        let body = asked.request.bytes();
        if body.len() > LONGEST {
            return None;
        }
        // Whoever aims at a place makes it useless, and nothing else.
        self.0.get(crc32fast::hash(body) as usize % PLACES)
    }

    /// The key, if it is known.
    pub(crate) fn key(&self, asked: &Asked<'_>) -> Option<String> {
        let known = self.place(asked)?.lock();
        let known = known.as_ref().filter(|known| known.is(asked))?;
        Some(known.key.clone())
    }

    /// Takes note of the key of a request that was answered.
    pub(crate) fn note(&self, asked: &Asked<'_>, key: &str) {
        let Some(place) = self.place(asked) else {
            return;
        };
        let known = Known {
            // Not a part of the connection's larger buffer.
            body: Bytes::copy_from_slice(asked.request.bytes()),
            endpoint: asked.request.endpoint(),
            model: asked.model.to_owned(),
            scope: asked.scope.to_owned(),
            namespace: asked.namespace.map(str::to_owned),
            key: key.to_owned(),
        };
        *place.lock() = Some(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(endpoint: Endpoint, body: &str) -> RequestView {
        RequestView::parse(endpoint, Bytes::from(body.to_owned())).unwrap()
    }

    #[test]
    fn a_key_is_known_of_what_is_the_same_in_everything() {
        let memo = Memo::default();
        let (chat, body) = (Endpoint::ChatCompletions, r#"{"model":"m","messages":[]}"#);
        let same = request(chat, body);
        let asked = Asked {
            request: &same,
            model: "m",
            scope: "team:a",
            namespace: None,
        };
        assert_eq!(memo.key(&asked), None);
        memo.note(&asked, "k");
        let again = request(chat, body);
        assert_eq!(
            memo.key(&Asked {
                request: &again,
                ..asked
            })
            .as_deref(),
            Some("k")
        );
        let (other, text) = (
            request(chat, r#"{"model":"m","messages":[ ]}"#),
            request(Endpoint::Completions, body),
        );
        for differs in [
            Asked {
                request: &other,
                ..asked
            },
            Asked {
                request: &text,
                ..asked
            },
            Asked {
                model: "n",
                ..asked
            },
            Asked {
                scope: "team:b",
                ..asked
            },
            Asked {
                namespace: Some(""),
                ..asked
            },
        ] {
            assert_eq!(memo.key(&differs), None);
        }
    }

    #[test]
    fn what_is_long_is_not_held() {
        let memo = Memo::default();
        let long = request(
            Endpoint::ChatCompletions,
            &format!(r#"{{"user":"{}"}}"#, "x".repeat(LONGEST)),
        );
        let asked = Asked {
            request: &long,
            model: "m",
            scope: "",
            namespace: None,
        };
        memo.note(&asked, "k");
        assert_eq!(memo.key(&asked), None);
    }
}
