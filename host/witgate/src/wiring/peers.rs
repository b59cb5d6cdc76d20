//! What this gateway keeps together with others, in the store that they share.
//!
//! Once a second, and at once when a deployment begins to rest, it puts what it counts on a board and takes
//! over what the others have there. A gateway that is gone leaves the board by itself. Money goes through
//! one account per budget. Calls wait for none of that; only a call that is counted against a limit does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use witgate_config::Loaded;
use witgate_pipeline::{Gateway, Snapshot};
use witgate_routing::{BudgetScope, BudgetShare, Counts, Deployment, Now, Rest, Totals};
use witgate_state::{StateError, Store, Take, Taken};

const BOARD: &str = "witgate:gateways";
/// Intervals after which what a gateway put on the board counts no more.
const SILENT: u32 = 5;
const SILENT_MIN: Duration = Duration::from_secs(5);
const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// A counter of a minute outlives it, so that gateways whose clocks differ agree on it.
const MINUTE_COUNTER: Duration = Duration::from_secs(120);

/// The gateways that share a store with this one.
pub struct Peers {
    store: Store,
    /// This gateway among them.
    id: String,
    interval: Duration,
    news: Notify,
    heard: Mutex<Option<Duration>>,
}

/// What the process's synchroniser serves: the peers of the configuration that serves, if it has some.
pub type SharedPeers = Arc<ArcSwapOption<Peers>>;

/// The peers of a configuration; those that serve already when they share through the same Redis.
pub(super) fn serving(
    store: Option<Store>,
    loaded: &Loaded,
    shared: &SharedPeers,
) -> Option<Arc<Peers>> {
    let seconds: Option<f64> = loaded.environment.parse("DEFAULT_REDIS_SYNC_INTERVAL");
    let seconds = seconds.filter(|s| *s > 0.0 && *s < 1e6).unwrap_or(1.0);
    let interval = Duration::from_secs_f64(seconds).max(INTERVAL_MIN);
    let peers = store.map(|store| {
        let serving = shared.load_full();
        let same = serving.filter(|peers| peers.is_through(&store, interval));
        same.unwrap_or_else(|| Arc::new(Peers::new(store, interval)))
    });
    shared.store(peers.clone());
    peers
}

/// What a gateway has on the board.
#[derive(Serialize, Deserialize)]
struct Sheet {
    minute: u64,
    deployments: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: String,
    in_flight: u32,
    started: u64,
    succeeded: u64,
    failed: u64,
    tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cooldown: Option<Cooldown>,
}

/// By LiteLLM's names; its end is the same for all who read it.
#[derive(Clone, Serialize, Deserialize)]
struct Cooldown {
    exception_received: String,
    status_code: u16,
    timestamp: u64,
    cooldown_time: f64,
}

impl Peers {
    /// Shares through this store, every `interval`.
    fn new(store: Store, interval: Duration) -> Peers {
        Peers {
            store,
            id: uuid::Uuid::new_v4().to_string(),
            interval,
            news: Notify::new(),
            heard: Mutex::new(None),
        }
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

    /// Tells and hears once.
    async fn exchange(&self, snapshot: &Snapshot, now: Now) {
        let silent = (self.interval * SILENT).max(SILENT_MIN);
        match self.board(snapshot, silent, now).await {
            Ok(()) => *self.heard.lock() = Some(now.monotonic),
            Err(error) => {
                tracing::debug!(%error, "nothing was heard of other gateways");
                let heard = *self.heard.lock();
                let since = now.monotonic.saturating_sub(heard.unwrap_or_default());
                if since > silent {
                    snapshot.state.forget_others(now);
                }
            }
        }
        self.money(snapshot, now).await;
    }

    async fn board(
        &self,
        snapshot: &Snapshot,
        silent: Duration,
        now: Now,
    ) -> Result<(), StateError> {
        let sheet = Sheet {
            minute: now.minute(),
            deployments: snapshot.state.export(now).iter().map(row).collect(),
        };
        let own = serde_json::to_vec(&sheet).unwrap_or_default();
        let others = self.store.exchange(BOARD, &self.id, own, silent).await?;
        let sums = sums(&others, now);
        let deployments = snapshot.routing.deployments();
        for id in deployments.iter().map(|deployment| &deployment.id) {
            let (counts, rest) = sums.get(id).cloned().unwrap_or_default();
            let others = Totals {
                id: id.clone(),
                minute: now.minute(),
                counts,
                rest,
            };
            snapshot.state.import(&others, now);
        }
        Ok(())
    }

    async fn money(&self, snapshot: &Snapshot, now: Now) {
        for share in snapshot.state.spends_to_tell(now) {
            match self.account(&share, now).await {
                Ok(Some((start, spend))) => snapshot.state.spends_of_all(&share, start, spend),
                Ok(None) => {}
                Err((error, is_told)) => {
                    tracing::debug!(%error, "what was spent is not shared yet");
                    if !is_told {
                        snapshot.state.spends_untold(&share);
                    }
                }
            }
        }
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
            begun.map_err(|error| (error, false))?;
            let added = self.store.add(&spend_key, share.untold, Some(left)).await;
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
pub async fn synchronise(gateway: Arc<Gateway>, peers: SharedPeers, stop: CancellationToken) {
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
            peers.exchange(&snapshot, gateway.moment()).await;
        }
    }
}

fn row(totals: &Totals) -> Row {
    let counts = &totals.counts;
    let cooldown = totals.rest.as_ref().map(|(rest, _)| Cooldown {
        exception_received: rest.exception.clone(),
        status_code: rest.status,
        timestamp: rest.since_unix_s,
        cooldown_time: rest.time.as_secs_f64(),
    });
    Row {
        id: totals.id.clone(),
        in_flight: counts.in_flight,
        started: counts.started,
        succeeded: counts.succeeded,
        failed: counts.failed,
        tokens: counts.tokens,
        cooldown,
    }
}

type Sum = (Counts, Option<(Rest, Duration)>);

/// What the others have of each deployment, together. Counts of another minute are none.
fn sums(sheets: &[Bytes], now: Now) -> HashMap<String, Sum> {
    let mut sums: HashMap<String, Sum> = HashMap::new();
    for sheet in sheets {
        // One of another release may look different; it counts as silent.
        let Ok(sheet) = serde_json::from_slice::<Sheet>(sheet) else {
            continue;
        };
        let is_now = sheet.minute == now.minute();
        for row in sheet.deployments {
            let (counts, rest) = sums.entry(row.id).or_default();
            counts.in_flight = counts.in_flight.saturating_add(row.in_flight);
            if is_now {
                counts.started = counts.started.saturating_add(row.started);
                counts.succeeded = counts.succeeded.saturating_add(row.succeeded);
                counts.failed = counts.failed.saturating_add(row.failed);
                counts.tokens = counts.tokens.saturating_add(row.tokens);
            }
            let other = row.cooldown.and_then(|cooldown| cooldown.rest(now));
            let is_longer =
                |(_, left): &(Rest, Duration)| rest.as_ref().is_none_or(|(_, known)| left > known);
            if let Some(other) = other.filter(is_longer) {
                *rest = Some(other);
            }
        }
    }
    sums
}

impl Cooldown {
    /// The rest and how much of it is left. Its end is that of the clock all gateways go by: a rest that
    /// is handed on does not grow.
    fn rest(self, now: Now) -> Option<(Rest, Duration)> {
        let time = Duration::try_from_secs_f64(self.cooldown_time).ok()?;
        let end = Duration::from_secs(self.timestamp).checked_add(time)?;
        let left = end.checked_sub(Duration::from_secs(now.unix_s))?;
        let rest = Rest {
            exception: self.exception_received,
            status: self.status_code,
            since_unix_s: self.timestamp,
            time,
        };
        (!left.is_zero()).then_some((rest, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now {
        monotonic: Duration::from_secs(100),
        unix_s: 1_700_000_000,
    };

    fn sheet(minute: u64, started: u64, since: Option<u64>) -> Bytes {
        let cooldown = since.map(|timestamp| Cooldown {
            exception_received: "e".into(),
            status_code: 429,
            timestamp,
            cooldown_time: 5.0,
        });
        let row = Row {
            id: "d".into(),
            in_flight: 1,
            started,
            succeeded: 0,
            failed: 0,
            tokens: 0,
            cooldown,
        };
        let sheet = Sheet {
            minute,
            deployments: vec![row],
        };
        serde_json::to_vec(&sheet).unwrap().into()
    }

    #[test]
    fn what_others_have_is_summed() {
        let minute = NOW.minute();
        let sheets = [
            sheet(minute, 2, Some(NOW.unix_s - 1)),
            sheet(minute, 3, Some(NOW.unix_s - 3)),
            sheet(minute - 1, 50, Some(NOW.unix_s - 5)),
            "of another release".into(),
        ];
        let sums = sums(&sheets, NOW);
        let (counts, rest) = &sums["d"];
        assert_eq!((counts.in_flight, counts.started), (3, 5));
        assert_eq!(rest.as_ref().unwrap().1, Duration::from_secs(4));
    }

    /// The same end, whoever hands it on and whenever.
    #[test]
    fn a_rest_that_is_handed_on_does_not_grow() {
        let later = NOW.later(Duration::from_secs(2));
        let sheets = [sheet(NOW.minute(), 0, Some(NOW.unix_s))];
        let (rest, left) = sums(&sheets, later)["d"].1.clone().unwrap();
        assert_eq!(left, Duration::from_secs(3));
        let totals = Totals {
            id: "d".into(),
            minute: 0,
            counts: Counts::default(),
            rest: Some((rest, left)),
        };
        let again = row(&totals).cooldown.unwrap().rest(later).unwrap();
        assert_eq!(again.1, left);
        let over = NOW.later(Duration::from_secs(5));
        assert!(sums(&sheets, over)["d"].1.is_none());
    }
}
