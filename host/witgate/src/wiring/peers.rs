//! What this gateway keeps together with others, in the store that they share.
//!
//! Once a second, and at once when a deployment begins to rest, it puts what it counts on a board and takes
//! over what the others have there. A gateway that is gone leaves the board by itself. Money goes through
//! one account per budget. Calls wait for none of that; only a call that is counted against a limit does, or draws on a caller's budget.

mod board;

use std::sync::Arc;
use std::time::Duration;

use super::keys::Known;
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use witgate_config::Loaded;
use witgate_metering::{ActiveKeys, Books};
use witgate_pipeline::Gateway;
use witgate_routing::{
    BudgetScope, BudgetShare, DayShare, Deployment, Now, Snapshot, State, Totals,
};
use witgate_state::{StateError, Store, Take, Taken};

/// How long what was counted of a day is kept after the last of it.
const DAY_COUNTER: Duration = Duration::from_secs(2 * 86_400);
const BOARD: &str = "witgate:gateways";
/// Which keys use which model groups, for the dynamic rate limiter.
const ACTIVE: &str = "witgate:active-keys";
/// Counts changes of keys, teams and whatever else gateways keep of the database.
const CHANGES: &str = "witgate:changes";
/// They count for the minute they are told of.
const ACTIVE_TTL: Duration = Duration::from_secs(60);
/// Counts changes of models, credentials and settings in the database.
const CONFIGURATIONS: &str = "witgate:configurations";
/// Intervals after which what a gateway put on the board counts no more.
const SILENT: u32 = 5;
const SILENT_MIN: Duration = Duration::from_secs(5);
/// Intervals after which what a gateway holds of budgets counts no more that says nothing.
const HELD: u32 = 10;
const HELD_MIN: Duration = Duration::from_secs(10);
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// A counter of a minute outlives it, so that gateways whose clocks differ agree on it.
const MINUTE_COUNTER: Duration = Duration::from_secs(120);

/// The gateways that share a store with this one.
pub struct Peers {
    store: Store,
    /// This gateway among them.
    id: String,
    interval: Duration,
    books: Arc<Books>,
    news: Notify,
    heard: Mutex<Option<Duration>>,
    /// How many changes of the database this gateway has heard of.
    changes: Mutex<Option<i64>>,
    /// The same of its configuration.
    configurations: Mutex<Option<i64>>,
}

/// What the process's synchroniser serves: the peers of the configuration that serves, if it has some.
pub type SharedPeers = Arc<ArcSwapOption<Peers>>;

/// The peers of a configuration; those that serve already when they share through the same Redis.
pub(super) fn serving(
    store: Option<Store>,
    loaded: &Loaded,
    shared: &SharedPeers,
    books: &Arc<Books>,
) -> Option<Arc<Peers>> {
    let seconds: Option<f64> = loaded.environment.parse("DEFAULT_REDIS_SYNC_INTERVAL");
    let seconds = seconds.filter(|s| *s > 0.0 && *s < 1e6).unwrap_or(1.0);
    let interval = Duration::from_secs_f64(seconds).max(INTERVAL_MIN);
    let lease = (interval * HELD).max(HELD_MIN);
    books.share(store.as_ref().map(|store| (store, lease)));
    let peers = store.map(|store| {
        let serving = shared.load_full();
        let same = serving.filter(|peers| peers.is_through(&store, interval));
        same.unwrap_or_else(|| Arc::new(Peers::new(store, interval, books.clone())))
    });
    shared.store(peers.clone());
    peers
}

impl Peers {
    /// Shares through this store, every `interval`.
    fn new(store: Store, interval: Duration, books: Arc<Books>) -> Peers {
        Peers {
            store,
            id: uuid::Uuid::new_v4().to_string(),
            interval,
            books,
            news: Notify::new(),
            heard: Mutex::new(None),
            changes: Mutex::new(None),
            configurations: Mutex::new(None),
        }
    }

    /// Whether this gateway is the first that says this within the time.
    pub(super) async fn claim(&self, what: &str, ttl: Duration) -> Result<bool, StateError> {
        self.store.set_if_absent(what, "SENT", Some(ttl)).await
    }

    /// Takes a job for this gateway until [`Peers::done`], or until the time is over; not while another one has it.
    pub(super) async fn begin(&self, job: &str, ttl: Duration) -> Result<bool, StateError> {
        let id = self.id.clone();
        if self.store.set_if_absent(job, id, Some(ttl)).await? {
            return Ok(true);
        }
        // It is ours still when giving it back failed.
        let holder = self.store.get(job).await?;
        Ok(holder.as_deref() == Some(self.id.as_bytes()))
    }

    /// Gives a job back.
    pub(super) async fn done(&self, job: &str) -> Result<(), StateError> {
        let freed = self.store.delete_if(job, self.id.as_bytes()).await;
        freed.map(drop)
    }

    /// What is shared.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// How the Redis between the gateways stands.
    pub fn standing(&self) -> &'static str {
        let redis = self.store.as_redis();
        redis.map_or("connected", |redis| redis.standing())
    }

    /// Whether it shares through the same connection, as often.
    fn is_through(&self, store: &Store, interval: Duration) -> bool {
        let same = match (self.store.as_redis(), store.as_redis()) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        same && self.interval == interval
    }

    /// Tells the others of changes in the database, and hears of theirs: then what is in memory is forgotten, and the
    /// configuration read anew.
    async fn share_changes(&self, known: &Known) {
        let told = known.has_news();
        match self.share(CHANGES, &self.changes, told).await {
            // The first time, too: what was read before it may be old.
            Ok(true) => known.forget_all(),
            Ok(false) => {}
            // Told later, and until then what is in memory lives as long as it may.
            Err(error) => {
                known.tell_again();
                tracing::debug!(%error, "changes of keys and teams are not shared");
            }
        }
        let told = known.has_news_of_configuration();
        match self.share(CONFIGURATIONS, &self.configurations, told).await {
            Ok(true) => known.hear_of_configuration(),
            Ok(false) => {}
            Err(error) => {
                if told {
                    known.tell_of_configuration_again();
                }
                tracing::debug!(%error, "changes of models and settings are not shared");
            }
        }
    }

    /// Counts a change when there is one; whether there were some since this was last asked.
    async fn share(
        &self,
        counter: &str,
        heard: &Mutex<Option<i64>>,
        told: bool,
    ) -> Result<bool, StateError> {
        let count = self.store.increase(counter, i64::from(told), None).await?;
        let before = heard.lock().replace(count);
        Ok(before != Some(count))
    }

    /// Which keys are active here and elsewhere, where a limiter goes by that.
    async fn share_active(&self, active: &ActiveKeys, minute: u64) {
        let Some(own) = active.export(minute) else {
            return;
        };
        match self.store.exchange(ACTIVE, &self.id, own, ACTIVE_TTL).await {
            Ok(others) => active.import(others.iter().map(|told| &told[..]), minute),
            Err(error) => tracing::debug!(%error, "keys active elsewhere are not known"),
        }
    }

    /// Tells and hears once.
    async fn exchange(&self, routing: &Snapshot, state: &State, now: Now) {
        let silent = (self.interval * SILENT).max(SILENT_MIN);
        match self.board(routing, state, silent, now).await {
            Ok(()) => *self.heard.lock() = Some(now.monotonic),
            Err(error) => {
                tracing::debug!(%error, "nothing was heard of other gateways");
                let heard = *self.heard.lock();
                let since = now.monotonic.saturating_sub(heard.unwrap_or_default());
                if since > silent {
                    state.forget_others(now);
                }
            }
        }
        self.money(state, now).await;
        self.days(routing, state, now).await;
        let unix = i64::try_from(now.unix_s).unwrap_or(i64::MAX);
        let unix = jiff::Timestamp::from_second(unix).unwrap_or_default();
        if let Err(error) = self.books.exchange(unix).await {
            tracing::debug!(%error, "what callers have spent is not shared yet");
        }
    }

    async fn board(
        &self,
        routing: &Snapshot,
        state: &State,
        silent: Duration,
        now: Now,
    ) -> Result<(), StateError> {
        let own = board::sheet(&state.export(now), now);
        let others = self.store.exchange(BOARD, &self.id, own, silent).await?;
        let mut sums = board::sums(&others, now);
        for deployment in routing.deployments() {
            let none = || Totals {
                id: deployment.id.clone(),
                minute: now.minute(),
                ..Totals::default()
            };
            let others = sums.remove(&deployment.id).unwrap_or_else(none);
            state.import(&others, now);
        }
        Ok(())
    }

    async fn money(&self, state: &State, now: Now) {
        for share in state.spends_to_tell(now) {
            match self.account(&share, now).await {
                Ok(Some((start, spend))) => state.spends_of_all(&share, start, spend),
                Ok(None) => {}
                Err((error, is_told)) => {
                    tracing::debug!(%error, "what was spent is not shared yet");
                    if !is_told {
                        state.spends_untold(&share);
                    }
                }
            }
        }
    }

    /// What all have had of the days of deployments that are limited by the day.
    async fn days(&self, routing: &Snapshot, state: &State, now: Now) {
        for share in state.days_to_tell(routing, now) {
            // Told one after the other: what was heard of is not told again.
            let mut untold = share.clone();
            match self.day(&mut untold).await {
                Ok((requests, tokens)) => state.day_of_all(&share, requests, tokens),
                Err(error) => {
                    tracing::debug!(%error, "what a deployment had of its day is not shared yet");
                    state.day_untold(&untold);
                }
            }
        }
    }

    /// Adds to what all have had of a deployment's day, and takes out of the share what was told.
    async fn day(&self, untold: &mut DayShare) -> Result<(u64, u64), StateError> {
        let key = |what: &str| format!("witgate:day:{}:{}:{what}", untold.id, untold.day);
        let (requests_key, tokens_key) = (key("requests"), key("tokens"));
        let requests = self.add_to_day(&requests_key, &mut untold.requests).await?;
        let tokens = self.add_to_day(&tokens_key, &mut untold.tokens).await?;
        Ok((requests, tokens))
    }

    async fn add_to_day(&self, key: &str, owed: &mut i64) -> Result<u64, StateError> {
        let added = self.store.increase(key, *owed, Some(DAY_COUNTER)).await;
        // A timeout may have added it: told twice is worse than told late, so it counts as told.
        if added.is_ok() || matches!(added, Err(StateError::Timeout(_))) {
            *owed = 0;
        }
        Ok(u64::try_from(added?).unwrap_or(0))
    }

    /// Adds to a budget's account; when its window began and what all have spent. An error says whether the
    /// own part was added all the same.
    async fn account(
        &self,
        share: &BudgetShare,
        now: Now,
    ) -> Result<Option<(u64, f64)>, (StateError, bool)> {
        let scope = match share.scope {
            BudgetScope::Provider => "provider",
            BudgetScope::Deployment => "deployment",
            BudgetScope::Tag => "tag",
        };
        let (name, window) = (&share.name, share.window);
        let spend_key = format!("{scope}_spend:{name}:{}s", window.as_secs());
        let start_key = format!("{scope}_budget_start_time:{name}");
        let mut is_told = share.untold == 0.0;
        if let Some(start) = share.start_unix_s.filter(|_| !is_told) {
            let since = Duration::from_secs(now.unix_s.saturating_sub(start));
            let left = window.saturating_sub(since).max(Duration::from_secs(1));
            let begun = self
                .store
                .set_if_absent(&start_key, start.to_string(), Some(left))
                .await;
            // Where nobody has begun one, or the store has lost it, it has spent what is known here.
            let by = match begun.map_err(|error| (error, false))? {
                true => share.spend,
                false => share.untold,
            };
            let added = self.store.add(&spend_key, by, Some(left)).await;
            // A timeout may have added it: told twice is worse than told late, so it counts as told.
            let unsure = |error: &StateError| matches!(error, StateError::Timeout(_));
            added.map_err(|error| {
                let is_told = unsure(&error);
                (error, is_told)
            })?;
            is_told = true;
        }
        let values = self.store.get_many(&[&start_key, &spend_key]).await;
        let values = values.map_err(|error| (error, is_told))?;
        let number = |at: usize| -> Option<f64> {
            let text = values.get(at)?.as_ref()?;
            std::str::from_utf8(text).ok()?.parse().ok()
        };
        Ok(number(0)
            .zip(number(1))
            .map(|(start, spend)| (start as u64, spend)))
    }
}

#[async_trait]
impl witgate_pipeline::Peers for Peers {
    async fn count(&self, deployment: &Deployment, minute: u64, limit: u64) -> Option<bool> {
        // LiteLLM's key of the same counter.
        let (hour, of_hour) = (minute / 60 % 24, minute % 60);
        let model = &deployment.spec.model;
        let key = format!("{}:{model}:rpm:{hour:02}-{of_hour:02}", deployment.id);
        let take = Take {
            key: &key,
            amount: 1,
            limit,
            ttl: MINUTE_COUNTER,
        };
        let taken = self.store.take(&[take]).await.ok()?;
        Some(matches!(taken, Taken::All(_)))
    }

    fn news(&self) {
        self.news.notify_one();
    }
}

/// Tells and hears until the end, of the configuration that serves.
pub async fn synchronise(
    gateway: Arc<Gateway>,
    peers: SharedPeers,
    known: Known,
    stop: CancellationToken,
) {
    const IDLE: Duration = Duration::from_secs(1);
    loop {
        let serving = peers.load_full();
        let interval = serving.as_ref().map_or(IDLE, |peers| peers.interval);
        let news = async {
            match &serving {
                Some(peers) => peers.news.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
            () = news => {}
        }
        if let Some(peers) = serving {
            let snapshot = gateway.snapshot.load_full();
            peers.share_changes(&known).await;
            let (routing, state) = (&snapshot.routing, &snapshot.state);
            let now = gateway.moment();
            peers.exchange(routing, state, now).await;
            peers.share_active(&gateway.active, now.minute()).await;
        }
    }
}

#[cfg(test)]
mod tests;
