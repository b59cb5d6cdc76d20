//! `litellm_settings.enable_redis_auth_cache`: the rows of keys that one gateway has read serve the others, too, through the Redis
//! that they share.
//!
//! Redis is not trusted with rights: an entry is sealed with the salt of the database's secrets, says whose it is and when it was
//! read, and holds for one generation. Every change of a key, a team or whatever keys depend on begins another one, so that what
//! was read before is not believed after it, whoever wrote it when. An entry that cannot be opened is none, and an old one put
//! back is believed for no longer than its gateway would have.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::time::Instant;
use witgate_identity::KeyHash;
use witgate_management::{ControlPlane, KeyRows};
use witgate_state::{StateError, Store};

use super::shadow::Background;

/// Counts changes of what keys depend on.
const GENERATION: &str = "witgate:auth:generation";

/// Entries, by the hash of the key.
const ENTRY: &str = "witgate:auth:key:";

/// Between two tries to tell of a change.
const AGAIN: Duration = Duration::from_secs(1);

/// Where rows are shared, if they are. Clones are one.
#[derive(Clone, Default)]
pub struct AuthCache(Arc<Inner>);

#[derive(Default)]
struct Inner {
    store: ArcSwapOption<Store>,
    /// Changes of this process that Redis does not know of yet. While there are some, nothing of it is believed.
    untold: AtomicU64,
    /// Somebody is telling.
    is_telling: AtomicBool,
    background: Mutex<Option<Background>>,
}

/// What Redis says of a key.
pub enum Told {
    /// Its rows, and how old they are.
    Rows(Box<KeyRows>, Duration),
    /// Nothing that counts. What is read now may be put there under this generation.
    Nothing(Option<String>),
}

impl AuthCache {
    /// Where tasks run.
    pub fn runs_on(&self, background: Background) {
        *self.0.background.lock() = Some(background);
    }

    /// Shares through this store from now on, or not at all.
    pub fn configure(&self, store: Option<Store>) {
        self.0.store.store(store.map(Arc::new));
    }

    /// What another gateway has read of a key lately.
    pub async fn find(&self, plane: &ControlPlane, hash: &KeyHash, ttl: Duration) -> Told {
        let Some(store) = self.trusted() else {
            return Told::Nothing(None);
        };
        let keys = [GENERATION.to_owned(), format!("{ENTRY}{}", hash.as_str())];
        let Ok(found) = store.get_many(&keys).await else {
            return Told::Nothing(None);
        };
        let mut found = found.into_iter().map(|bytes| {
            let bytes = bytes?;
            String::from_utf8(bytes.to_vec()).ok()
        });
        let generation = found.next().flatten().unwrap_or_default();
        let Some(sealed) = found.next().flatten() else {
            return Told::Nothing(Some(generation));
        };
        let now = jiff::Timestamp::now();
        match plane.open_rows(&sealed, hash.as_str(), &generation, ttl, now) {
            Some((rows, age)) if self.trusted().is_some() => Told::Rows(Box::new(rows), age),
            _ => Told::Nothing(Some(generation)),
        }
    }

    /// Lets others have what was read of a key, in the background.
    pub fn keep(
        &self,
        plane: &ControlPlane,
        hash: &KeyHash,
        generation: &str,
        rows: &KeyRows,
        ttl: Duration,
    ) {
        let Some(store) = self.trusted().filter(|_| !ttl.is_zero()) else {
            return;
        };
        let now = jiff::Timestamp::now();
        let Some(sealed) = plane.seal_rows(rows, hash.as_str(), generation, now) else {
            return;
        };
        let key = format!("{ENTRY}{}", hash.as_str());
        self.spawn(async move {
            if let Err(error) = store.set(&key, sealed, Some(ttl)).await {
                tracing::debug!(%error, "a key's rows are not shared");
            }
        });
    }

    /// Something that keys depend on changed here: nothing that was read before counts any more.
    pub fn changed(&self) {
        if self.0.store.load().is_none() {
            return;
        }
        self.0.untold.fetch_add(1, Ordering::AcqRel);
        if self.0.is_telling.swap(true, Ordering::AcqRel) {
            return;
        }
        let own = self.clone();
        self.spawn(async move { own.tell().await });
    }

    /// Tells Redis of changes until it knows of all.
    async fn tell(&self) {
        loop {
            let untold = self.0.untold.load(Ordering::Acquire);
            if untold == 0 {
                self.0.is_telling.store(false, Ordering::Release);
                // One may have come in between, and seen somebody who tells.
                let came = self.0.untold.load(Ordering::Acquire) > 0;
                if !came || self.0.is_telling.swap(true, Ordering::AcqRel) {
                    return;
                }
                continue;
            }
            let told = match self.0.store.load_full() {
                Some(store) => store.increase(GENERATION, 1, None).await.map(drop),
                None => Ok(()),
            };
            match told {
                Ok(()) => drop(self.0.untold.fetch_sub(untold, Ordering::AcqRel)),
                Err(error) => self.rest(&error).await,
            }
        }
    }

    async fn rest(&self, error: &StateError) {
        tracing::warn!(%error, "other gateways are not told that keys changed; tried again, and nothing they share is believed");
        tokio::time::sleep_until(Instant::now() + AGAIN).await;
    }

    /// The store, when what it says may be believed.
    fn trusted(&self) -> Option<Arc<Store>> {
        let untold = self.0.untold.load(Ordering::Acquire);
        self.0.store.load_full().filter(|_| untold == 0)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(Background { runtime, tasks }) = &*self.0.background.lock() {
            tasks.spawn_on(task, runtime);
        }
    }
}
