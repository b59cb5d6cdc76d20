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

/// An issuer that always answers the same.
struct Says(u16, Vec<u8>);

#[async_trait]
impl Fetch for Says {
    async fn fetch(&self, _: Request) -> Result<Answer, String> {
        Ok(Answer {
            status: self.0,
            body: self.1.clone(),
        })
    }
}

#[tokio::test]
async fn an_answer_that_is_no_success_or_too_long_is_no_key_set() {
    let mut set = br#"{"keys": []}"#.to_vec();
    assert!(look(&Says(200, set.clone()), URL).await.is_ok());
    for status in [199, 300, 404, 500] {
        assert!(look(&Says(status, set.clone()), URL).await.is_err());
    }
    set.resize(SET_MAX, b' ');
    assert!(look(&Says(200, set.clone()), URL).await.is_ok());
    set.push(b' ');
    assert!(look(&Says(200, set), URL).await.is_err());
}

/// A request that everybody has left hinders nobody for longer than its time, and what it brings then is not believed.
#[tokio::test]
async fn a_request_that_hangs_is_given_up_for_another_one() {
    let world = World::new();
    let fetch: Arc<dyn Fetch> = world.issuer.clone();
    let number = |now_ms| match world.sets.turn(&fetch, URL, AGES, now_ms, false) {
        Turn::Wait(number, _) => number,
        Turn::Have(_) | Turn::Rest(_) => panic!("nothing is there"),
    };
    assert_eq!(number(0), 1);
    assert_eq!(number(FLIGHT_MS - 1), 1);
    assert_eq!(number(FLIGHT_MS), 2);
    world.sets.landed(URL, 1, FLIGHT_MS, &Ok(Arc::default()));
    assert_eq!(number(FLIGHT_MS + 1), 2, "the second is under way");
    world.sets.landed(URL, 2, FLIGHT_MS, &Ok(Arc::default()));
    let turn = world.sets.turn(&fetch, URL, AGES, FLIGHT_MS + 1, false);
    assert!(matches!(turn, Turn::Have(_)));
}

#[tokio::test]
async fn sets_of_issuers_that_are_gone_do_not_pile_up() {
    let world = World::new();
    for n in 0..=SETS_MAX {
        let url = format!("https://idp.example/{n}");
        assert!(world.has(&url, "a", 0).await.is_err());
        assert!(world.sets.slots.lock().len() <= SETS_MAX);
    }
}
