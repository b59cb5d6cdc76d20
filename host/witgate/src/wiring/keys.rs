//! Virtual keys and whoever else a call is accounted to: the database's, with those used lately in memory.
//!
//! Every call asks for its key, so what is found is kept for `user_api_key_cache_ttl`. What this process changes is in
//! force for its next request; other processes on the same database see it when the time is over, or at once where they
//! share a Redis. What does not exist is remembered for a short time only, and apart from what does, which made-up keys
//! must not push out.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use jiff::Timestamp;
use quick_cache::sync::Cache;
use serde_json::Value;
use tokio::sync::Notify;
use witgate_config::Loaded;
use witgate_federation::{Claimed, Directory, Fault};
use witgate_identity::{Caller, KeyHash, Named, Principal, Scope, VirtualKey};
use witgate_management::{Changed, ControlPlane, EndUser, Refusal, Watch};
use witgate_pipeline::{Bearers, LookupFault, VirtualKeys};
use witgate_store::StoreError;

use super::auth_cache::{AuthCache, Told};

/// Good keys kept at most.
const KNOWN_MAX: usize = 100_000;
/// Keys that do not exist, and how long that is believed at most.
const UNKNOWN_MAX: usize = 10_000;
const UNKNOWN_TTL: Duration = Duration::from_secs(10);
/// Old texts of keys kept at most.
const RETIRED_MAX: usize = 10_000;
/// End users kept at most, known or not.
const END_USERS_MAX: usize = 100_000;
/// Callers without a key kept at most, known or not.
const CALLERS_MAX: usize = 100_000;
/// `user_api_key_cache_ttl` when the configuration does not say.
const TTL_S: u64 = 60;

type Tags = HashMap<String, Arc<Scope>>;

/// What was looked up lately. Clones are one.
#[derive(Clone)]
pub struct Known(Arc<Kept>);

struct Kept {
    known: Cache<KeyHash, (Instant, Arc<VirtualKey>)>,
    unknown: Cache<KeyHash, Instant>,
    /// Old texts of keys that were rotated: whose, and until when they are good.
    retired: Cache<KeyHash, (Instant, (KeyHash, Timestamp))>,
    /// Also those that the database does not know.
    end_users: Cache<String, (Instant, Option<EndUser>)>,
    /// All that bear limits.
    tags: ArcSwapOption<(Instant, Tags)>,
    callers: Cache<Named, (Instant, Arc<Caller>)>,
    /// Claims of tokens and the keys that they stand for, also those that stand for none.
    claims: Cache<Claimed, (Instant, Option<KeyHash>)>,
    ttl_ms: AtomicU64,
    /// Counts changes, so that a row that was read before one is not kept after it.
    changes: AtomicU64,
    /// Something changed that other gateways should hear of.
    told: AtomicBool,
    /// Rows that gateways share.
    shared: AuthCache,
    /// The same of the configuration in the database.
    told_of_configuration: AtomicBool,
    /// Another gateway changed it.
    configured: Notify,
}

impl Default for Known {
    fn default() -> Self {
        Self(Arc::new(Kept {
            known: Cache::new(KNOWN_MAX),
            unknown: Cache::new(UNKNOWN_MAX),
            retired: Cache::new(RETIRED_MAX),
            end_users: Cache::new(END_USERS_MAX),
            tags: ArcSwapOption::empty(),
            callers: Cache::new(CALLERS_MAX),
            claims: Cache::new(CALLERS_MAX),
            ttl_ms: AtomicU64::new(TTL_S * 1000),
            changes: AtomicU64::new(0),
            told: AtomicBool::new(false),
            shared: AuthCache::default(),
            told_of_configuration: AtomicBool::new(false),
            configured: Notify::new(),
        }))
    }
}

impl Known {
    /// Takes `user_api_key_cache_ttl` of a configuration over.
    pub fn configure(&self, loaded: &Loaded) {
        let general = loaded.config.raw.get("general_settings");
        let ttl = general.and_then(|general| general.get("user_api_key_cache_ttl"));
        let of_variable = || {
            let name = "DEFAULT_MANAGEMENT_OBJECT_IN_MEMORY_CACHE_TTL";
            loaded.environment.non_empty(name)?.parse().ok()
        };
        let seconds = ttl.and_then(Value::as_f64).or_else(of_variable);
        let ms = seconds.map_or(TTL_S * 1000, |seconds| (seconds.max(0.0) * 1e3) as u64);
        self.0.ttl_ms.store(ms, Ordering::Relaxed);
    }

    /// How many of each are in memory.
    pub fn sizes(&self) -> [(&'static str, usize); 4] {
        [
            ("virtual_keys", self.0.known.len()),
            ("unknown_keys", self.0.unknown.len()),
            ("end_users", self.0.end_users.len()),
            ("callers", self.0.callers.len()),
        ]
    }

    /// Forgets everything: another gateway changed something.
    pub fn forget_all(&self) {
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        self.0.known.clear();
        self.0.unknown.clear();
        self.0.retired.clear();
        self.0.end_users.clear();
        self.0.tags.store(None);
        self.0.callers.clear();
        self.0.claims.clear();
    }

    /// Whether something changed here since this was last asked.
    pub fn has_news(&self) -> bool {
        self.0.told.swap(false, Ordering::AcqRel)
    }

    /// What `has_news` told was not passed on.
    pub fn tell_again(&self) {
        self.0.told.store(true, Ordering::Release);
    }

    /// The same as `has_news`, of the configuration in the database.
    pub fn has_news_of_configuration(&self) -> bool {
        self.0.told_of_configuration.swap(false, Ordering::AcqRel)
    }

    /// What that told was not passed on.
    pub fn tell_of_configuration_again(&self) {
        self.0.told_of_configuration.store(true, Ordering::Release);
    }

    /// Another gateway changed the configuration in the database.
    pub fn hear_of_configuration(&self) {
        self.0.configured.notify_one();
    }

    /// Waits until another gateway changed it.
    pub async fn configured_elsewhere(&self) {
        self.0.configured.notified().await;
    }

    /// The rows that gateways share, to say where.
    pub fn shared(&self) -> &AuthCache {
        &self.0.shared
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.0.ttl_ms.load(Ordering::Relaxed))
    }

    fn forget(&self, hash: &KeyHash) {
        self.0.known.remove(hash);
        self.0.unknown.remove(hash);
    }
}

impl Watch for Known {
    fn changed(&self, what: &Changed) {
        match what {
            Changed::Key(hash) => {
                self.0.changes.fetch_add(1, Ordering::AcqRel);
                // Any of them may be this key's, and there are few.
                self.0.retired.clear();
                self.0.claims.clear();
                if let Some(hash) = KeyHash::parse(hash) {
                    self.forget(&hash);
                }
            }
            // Seldom, and many keys may depend on it.
            Changed::Shared | Changed::Spend { .. } => self.forget_all(),
            Changed::EndUser(id) => {
                self.0.changes.fetch_add(1, Ordering::AcqRel);
                self.0.end_users.remove(id);
            }
            Changed::Tag(_) => {
                self.0.changes.fetch_add(1, Ordering::AcqRel);
                self.0.tags.store(None);
            }
            Changed::Models | Changed::Config => {
                self.0.told_of_configuration.store(true, Ordering::Release);
                return;
            }
        }
        self.0.told.store(true, Ordering::Release);
        self.0.shared.changed();
    }
}

/// The virtual keys of the process.
pub struct Keys {
    plane: Arc<ControlPlane>,
    known: Known,
}

impl Keys {
    /// Keys of this control plane, kept here.
    pub fn new(plane: Arc<ControlPlane>, known: Known) -> Self {
        Self { plane, known }
    }
}

#[async_trait]
impl VirtualKeys for Keys {
    async fn find(&self, hash: &KeyHash) -> Result<Option<Arc<VirtualKey>>, LookupFault> {
        let now = Instant::now();
        let kept = &self.known.0;
        let ttl = self.known.ttl();
        if let Some(key) = fresh(&kept.known, hash, now, ttl) {
            return Ok(Some(key));
        }
        if let Some((key, until)) = fresh(&kept.retired, hash, now, ttl) {
            return match until > Timestamp::now() {
                true => self.current(&key).await,
                false => Ok(None),
            };
        }
        if self.is_unknown(hash, now) {
            return Ok(None);
        }
        let changes = kept.changes.load(Ordering::Acquire);
        if let Some(key) = self.current(hash).await? {
            return Ok(Some(key));
        }
        let found = self.plane.successor(hash.as_str(), Timestamp::now()).await;
        let Some((key, until)) = found.map_err(fault)? else {
            return Ok(None);
        };
        kept.unknown.remove(hash);
        let retired = (now, (key.clone(), until));
        kept.retired.insert(hash.clone(), retired);
        if kept.changes.load(Ordering::Acquire) != changes {
            kept.retired.remove(hash);
        }
        self.current(&key).await
    }

    async fn bearers(
        &self,
        end_user: Option<&str>,
        tags: &[String],
    ) -> Result<Bearers, LookupFault> {
        let mut bearers = Bearers::default();
        if let Some(id) = end_user
            && let Some(user) = self.end_user(id).await?
        {
            bearers.is_blocked = user.blocked;
            bearers.region = user.allowed_model_region;
            bearers.scopes.push(user.scope);
        }
        if !tags.is_empty() {
            let known = self.tags().await?;
            let named = tags.iter().filter_map(|tag| known.1.get(tag));
            bearers.scopes.extend(named.cloned());
        }
        Ok(bearers)
    }

    async fn caller(&self, named: &Named) -> Result<Option<Arc<Caller>>, LookupFault> {
        let found = Directory::caller(self, named).await;
        found.map(Some).map_err(|fault| LookupFault {
            text: fault.0,
            is_unreachable: false,
        })
    }
}

impl Keys {
    fn is_unknown(&self, hash: &KeyHash, now: Instant) -> bool {
        let believed = UNKNOWN_TTL.min(self.known.ttl());
        let since = self.known.0.unknown.get(hash);
        since.is_some_and(|since| now.saturating_duration_since(since) < believed)
    }

    /// The key with this hash and no other.
    async fn current(&self, hash: &KeyHash) -> Result<Option<Arc<VirtualKey>>, LookupFault> {
        let now = Instant::now();
        let kept = &self.known.0;
        if let Some(key) = fresh(&kept.known, hash, now, self.known.ttl()) {
            return Ok(Some(key));
        }
        if self.is_unknown(hash, now) {
            return Ok(None);
        }
        let changes = kept.changes.load(Ordering::Acquire);
        let (found, since) = self.read(hash, now).await?;
        let key = found.map(Arc::new);
        let unchanged = || kept.changes.load(Ordering::Acquire) == changes;
        if unchanged() {
            match &key {
                Some(key) => kept.known.insert(hash.clone(), (since, key.clone())),
                None => kept.unknown.insert(hash.clone(), now),
            }
            // A change that came between the look and the insertion has looked in vain for what to forget.
            if !unchanged() {
                self.known.forget(hash);
            }
        }
        Ok(key)
    }

    /// A key as another gateway has read it lately, else as the database has it, and since when that is so.
    async fn read(
        &self,
        hash: &KeyHash,
        now: Instant,
    ) -> Result<(Option<VirtualKey>, Instant), LookupFault> {
        let (shared, ttl) = (&self.known.0.shared, self.known.ttl());
        let generation = match shared.find(&self.plane, hash, ttl).await {
            Told::Rows(rows, age) => {
                let key = self.plane.key_of(&rows, Timestamp::now());
                return Ok((Some(key), now.checked_sub(age).unwrap_or(now)));
            }
            Told::Nothing(generation) => generation,
        };
        let rows = self.plane.key_rows(hash.as_str()).await.map_err(fault)?;
        if let (Some(rows), Some(generation)) = (&rows, generation) {
            shared.keep(&self.plane, hash, &generation, rows, ttl);
        }
        let key = rows.map(|rows| self.plane.key_of(&rows, Timestamp::now()));
        Ok((key, now))
    }

    async fn end_user(&self, id: &str) -> Result<Option<EndUser>, LookupFault> {
        let (now, kept) = (Instant::now(), &self.known.0);
        if let Some((since, user)) = kept.end_users.get(id)
            && now.saturating_duration_since(since) < self.known.ttl()
        {
            return Ok(user);
        }
        let changes = kept.changes.load(Ordering::Acquire);
        let found = self.plane.end_user(id).await.map_err(fault)?;
        kept.end_users.insert(id.to_owned(), (now, found.clone()));
        if kept.changes.load(Ordering::Acquire) != changes {
            kept.end_users.remove(id);
        }
        Ok(found)
    }

    async fn tags(&self) -> Result<Arc<(Instant, Tags)>, LookupFault> {
        let (now, kept) = (Instant::now(), &self.known.0);
        if let Some(tags) = kept.tags.load_full()
            && now.saturating_duration_since(tags.0) < self.known.ttl()
        {
            return Ok(tags);
        }
        let changes = kept.changes.load(Ordering::Acquire);
        let found = self.plane.tags().await.map_err(fault)?;
        let tags = Arc::new((now, found));
        kept.tags.store(Some(tags.clone()));
        if kept.changes.load(Ordering::Acquire) != changes {
            kept.tags.store(None);
        }
        Ok(tags)
    }
}

#[async_trait]
impl Directory for Keys {
    async fn caller(&self, named: &Named) -> Result<Arc<Caller>, Fault> {
        let (now, kept) = (Instant::now(), &self.known.0);
        if let Some(caller) = fresh(&kept.callers, named, now, self.known.ttl()) {
            return Ok(caller);
        }
        let changes = kept.changes.load(Ordering::Acquire);
        let found = self.plane.caller(named, Timestamp::now()).await;
        let found = Arc::new(found.map_err(refused)?);
        kept.callers.insert(named.clone(), (now, found.clone()));
        if kept.changes.load(Ordering::Acquire) != changes {
            kept.callers.remove(named);
        }
        Ok(found)
    }

    async fn make_user(&self, id: &str, email: Option<&str>) -> Result<(), Fault> {
        let made = self.plane.make_user(id, email, now()).await;
        made.map_err(refused)
    }

    async fn make_team(&self, id: &str) -> Result<(), Fault> {
        self.plane.make_team(id, now()).await.map_err(refused)
    }

    async fn join(&self, team: &str, user: &str) -> Result<(), Fault> {
        self.plane.join(team, user, now()).await.map_err(refused)
    }

    async fn leave(&self, team: &str, user: &str) -> Result<(), Fault> {
        self.plane.leave(team, user, now()).await.map_err(refused)
    }

    async fn set_role(&self, user: &str, role: &str) -> Result<(), Fault> {
        let set = self.plane.set_role(user, role, now()).await;
        set.map_err(refused)
    }

    async fn key_of(
        &self,
        claimed: &Claimed,
        keep_ms: u64,
    ) -> Result<Option<Arc<VirtualKey>>, Fault> {
        let (now, kept) = (Instant::now(), &self.known.0);
        let hash = match fresh(&kept.claims, claimed, now, Duration::from_millis(keep_ms)) {
            Some(hash) => hash,
            None => {
                let changes = kept.changes.load(Ordering::Acquire);
                let found = self.plane.key_of_claim(&of_plane(claimed)).await;
                let found = found.map_err(refused)?;
                kept.claims.insert(claimed.clone(), (now, found.clone()));
                if kept.changes.load(Ordering::Acquire) != changes {
                    kept.claims.remove(claimed);
                }
                found
            }
        };
        match hash {
            Some(hash) => self.find(&hash).await.map_err(|fault| Fault(fault.text)),
            None => Ok(None),
        }
    }

    async fn register(
        &self,
        claimed: &Claimed,
        who: &Principal,
        takes_own: bool,
    ) -> Result<Option<Arc<VirtualKey>>, Fault> {
        let of = [
            ("user_id", who.user_id.as_deref()),
            ("team_id", who.team_id.as_deref()),
            ("organization_id", who.org_id.as_deref()),
        ];
        let claimed = of_plane(claimed);
        let made = self.plane.register_claim(&claimed, of, takes_own, now());
        match made.await.map_err(refused)? {
            Some(hash) => self.find(&hash).await.map_err(|fault| Fault(fault.text)),
            None => Ok(None),
        }
    }
}

fn of_plane(claimed: &Claimed) -> witgate_management::Claimed {
    witgate_management::Claimed {
        issuer: claimed.issuer.clone(),
        name: claimed.name.clone(),
        value: claimed.value.clone(),
    }
}

/// Now, as the database keeps it.
fn now() -> Timestamp {
    let now = Timestamp::now();
    now.round(jiff::Unit::Millisecond).unwrap_or(now)
}

fn refused(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Unavailable(why) => Fault(why),
        other => Fault(other.message()),
    }
}

fn fresh<K: Hash + Eq, V: Clone>(
    cache: &Cache<K, (Instant, V)>,
    key: &K,
    now: Instant,
    ttl: Duration,
) -> Option<V> {
    let (since, value) = cache.get(key)?;
    (now.saturating_duration_since(since) < ttl).then_some(value)
}

fn fault(error: StoreError) -> LookupFault {
    LookupFault {
        is_unreachable: error.is_unreachable(),
        text: error.to_string(),
    }
}
