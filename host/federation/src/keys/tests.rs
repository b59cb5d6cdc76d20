//! Keys that are kept, shared, looked for again and used while their issuer is away.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::*;
use crate::ports::Answer;

const URL: &str = "https://idp.example/keys";
const AGES: Ages = Ages {
    fresh_ms: 600_000,
    stale_ms: 3_600_000,
};

/// An issuer with one key, which is away when there is none.
#[derive(Default)]
struct Issuer {
    kid: Mutex<Option<&'static str>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Fetch for Issuer {
    async fn fetch(&self, request: Request) -> Result<Answer, String> {
        self.asked.fetch_add(1, Ordering::AcqRel);
        // Others come meanwhile.
        tokio::task::yield_now().await;
        let kid = *self.kid.lock();
        let kid = kid.ok_or("connection refused")?;
        let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": kid}]});
        let document: Value = match request.url.as_str() {
            URL => set,
            "https://idp.example/doc" => json!({"jwks_uri": URL}),
            "https://idp.example/odd" => json!({"jwks_uri": "http://idp.example/keys"}),
            other => return Err(format!("nothing at {other}")),
        };
        Ok(Answer {
            status: 200,
            body: document.to_string().into_bytes(),
        })
    }
}

struct World {
    issuer: Arc<Issuer>,
    sets: KeySets,
}

impl World {
    fn new() -> Self {
        let issuer = Arc::new(Issuer::default());
        *issuer.kid.lock() = Some("a");
        Self {
            issuer,
            sets: KeySets::default(),
        }
    }

    /// Whether a key of this id is there.
    async fn has(&self, url: &str, kid: &str, now_ms: u64) -> Result<bool, Arc<str>> {
        let header: Header = serde_json::from_value(json!({"alg": "ES256", "kid": kid})).unwrap();
        let fetch: Arc<dyn Fetch> = self.issuer.clone();
        let keys = self
            .sets
            .fitting(&fetch, url, &header, AGES, now_ms)
            .await?;
        Ok(keys.iter().any(|key| key.fits(&header)))
    }

    fn asked(&self) -> usize {
        self.issuer.asked.load(Ordering::Acquire)
    }
}

#[tokio::test]
async fn all_who_need_keys_at_a_time_wait_for_one_request() {
    let world = World::new();
    let all = join_all((0..50).map(|_| world.has(URL, "a", 0))).await;
    assert!(all.into_iter().all(|has| has == Ok(true)));
    assert_eq!(world.asked(), 1);
    assert_eq!(world.has(URL, "a", 599_999).await, Ok(true));
    assert_eq!(world.asked(), 1);
    assert_eq!(world.has(URL, "a", 600_000).await, Ok(true));
    assert_eq!(world.asked(), 2);
}

#[tokio::test]
async fn an_unknown_key_is_looked_for_once_in_a_while() {
    let world = World::new();
    assert_eq!(world.has(URL, "a", 0).await, Ok(true));
    *world.issuer.kid.lock() = Some("b");
    assert_eq!(world.has(URL, "b", 1_000).await, Ok(true));
    assert_eq!(world.has(URL, "a", 2_000).await, Ok(false));
    assert_eq!(world.asked(), 2, "not twice in so short a time");
    *world.issuer.kid.lock() = Some("c");
    assert_eq!(world.has(URL, "c", 10_999).await, Ok(false));
    assert_eq!(world.has(URL, "c", 11_000).await, Ok(true));
    assert_eq!(world.asked(), 3);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_left_alone_and_its_last_keys_serve_for_a_time() {
    let world = World::new();
    *world.issuer.kid.lock() = None;
    assert_eq!(
        world.has(URL, "a", 0).await,
        Err("connection refused".into())
    );
    assert!(world.has(URL, "a", 4_999).await.is_err());
    assert_eq!(world.asked(), 1, "it rests");
    *world.issuer.kid.lock() = Some("a");
    assert_eq!(world.has(URL, "a", 5_000).await, Ok(true));
    *world.issuer.kid.lock() = None;
    let stale = 5_000 + 600_000;
    assert_eq!(world.has(URL, "a", stale).await, Ok(true));
    assert_eq!(world.has(URL, "b", stale).await, Ok(false));
    assert_eq!(world.has(URL, "a", stale + 3_599_999).await, Ok(true));
    assert!(world.has(URL, "a", stale + 3_600_000).await.is_err());
}

#[tokio::test]
async fn a_discovery_document_leads_to_the_keys_but_not_away_from_https() {
    let world = World::new();
    assert_eq!(world.has("https://idp.example/doc", "a", 0).await, Ok(true));
    let odd = world.has("https://idp.example/odd", "a", 0).await;
    assert!(odd.unwrap_err().contains("leads away from https"));
    assert_eq!(
        shown("https://u:p@idp.example/doc?key=1"),
        "https://idp.example/doc"
    );
}
