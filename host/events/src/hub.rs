//! The hub: takes finished calls from the request path and sees to it that sinks get them.
//!
//! ```text
//! publish(Completed) ──► one queue per sink (bounded, shared call) ──► one worker per sink:
//!                                                   build + redact + encode, batch, deliver, repeat
//! ```
//! The request task pays for one allocation and one short lock per interested sink. A sink that is
//! slow, broken or full harms no other sink and no request: its queue refuses new events and says so.

mod entry;
mod lane;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alerts::Alert;
use crate::completed::{Audience, Completed, Origin, ProxyFailure};
use crate::metrics::EventMetrics;
use crate::redact::{RedactionPolicy, RedactionSettings, RequestRedaction};
use crate::service::ServiceEvent;
use crate::sink::{EventKind, SinkEntry};
use entry::Entry;
use lane::{Lane, Phase};

/// How long a sink that a new configuration no longer names may take to deliver what it has.
const REMOVED_SINK_GRACE: Duration = Duration::from_secs(30);

/// What the hub is given by the process it lives in.
#[derive(Debug, Clone)]
pub struct HubParts {
    /// Every worker is spawned here.
    pub tracker: TaskTracker,
    /// Cancelling it stops delivery at once; what is queued is dropped and counted. For an orderly end
    /// call [`Hub::drain`] first.
    pub token: CancellationToken,
    /// Where to count.
    pub metrics: EventMetrics,
    /// Source of the random part of retry waits.
    pub jitter: Jitter,
}

/// What the configuration says about events.
#[derive(Clone, Default)]
pub struct HubConfig {
    /// Redaction for all sinks.
    pub redaction: RedactionSettings,
    /// Top-level members of the standard event that no sink gets
    /// (`standard_logging_payload_excluded_fields`).
    pub excluded_fields: Vec<String>,
    /// The sinks. Of two with the same name the first counts, with the kinds of both.
    pub sinks: Vec<SinkEntry>,
}

/// The set of sinks and their queues.
pub struct Hub {
    parts: HubParts,
    routes: RwLock<Arc<Routes>>,
    /// Lanes of removed sinks that still deliver.
    retiring: Mutex<Vec<Arc<Lane>>>,
    /// Some sink wants events of services: asked at every operation.
    tells_services: AtomicBool,
}

/// What became of a published event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Sinks that will get it.
    pub queued: usize,
    /// Sinks that wanted it and had no room.
    pub refused: usize,
}

/// What a drain could not deliver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Sink name and number of events lost to the deadline; sinks that lost none are left out.
    pub undelivered: Vec<(String, usize)>,
}

/// A sink's queue at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkState {
    /// Name in the configuration.
    pub name: String,
    /// Events waiting or in delivery.
    pub queued: usize,
    /// Bytes they hold.
    pub queued_bytes: usize,
}

/// Source of randomness for retry waits: a number in `0.0..1.0`.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> f64 + Send + Sync>);

impl Jitter {
    /// Real randomness.
    pub fn random() -> Self {
        Self(Arc::new(rand::random::<f64>))
    }

    /// Always the same number, for tests.
    pub fn fixed(value: f64) -> Self {
        Self(Arc::new(move || value))
    }

    fn draw(&self) -> f64 {
        (self.0)().clamp(0.0, 1.0)
    }
}

impl fmt::Debug for Jitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Jitter")
    }
}

/// One configuration's view of the lanes; replaced as a whole.
struct Routes {
    redaction: RedactionSettings,
    excluded_fields: Arc<[String]>,
    lanes: Vec<Arc<Lane>>,
}

impl Hub {
    /// Starts a worker per sink. Must be called within a tokio runtime.
    pub fn new(parts: HubParts, config: HubConfig) -> Self {
        let hub = Self {
            parts,
            routes: RwLock::new(Arc::new(Routes {
                redaction: RedactionSettings::default(),
                excluded_fields: Arc::default(),
                lanes: Vec::new(),
            })),
            retiring: Mutex::new(Vec::new()),
            tells_services: AtomicBool::new(false),
        };
        hub.replace(config);
        hub
    }

    /// Whether any sink wants events of this kind. If not, the caller may leave out of a
    /// [`Completed`] what only sinks read.
    pub fn wants(&self, kind: EventKind) -> bool {
        let routes = self.routes();
        routes.lanes.iter().any(|lane| lane.wants(kind))
    }

    /// Hands a finished call to every sink that wants it. Never waits, never serialises.
    pub fn publish(&self, mut call: Completed) -> Published {
        let kind = if call.succeeded() {
            EventKind::Success
        } else {
            EventKind::Failure
        };
        let (audience, redaction) = (std::mem::take(&mut call.audience), call.redaction);
        self.enqueue(kind, redaction, &audience, |excluded| {
            Entry::call(call, excluded)
        })
    }

    /// Hands on a request that failed before any model was called. Never waits, never serialises.
    pub fn publish_proxy_failure(&self, failure: ProxyFailure) -> Published {
        let audience = failure.audience.clone();
        let redaction = RequestRedaction::default();
        self.enqueue(EventKind::ProxyFailure, redaction, &audience, |_| {
            Entry::proxy_failure(failure)
        })
    }

    /// Hands on an alert. Never waits, never serialises.
    pub fn publish_alert(&self, alert: Alert) -> Published {
        let (redaction, audience) = (RequestRedaction::default(), Audience::default());
        self.enqueue(EventKind::Alert, redaction, &audience, |_| {
            Entry::alert(alert)
        })
    }

    /// Whether any sink wants events of the gateway's own services.
    pub fn tells_services(&self) -> bool {
        self.tells_services.load(Ordering::Relaxed)
    }

    /// Hands on what a service did. Never waits, never serialises.
    pub fn publish_service(&self, event: ServiceEvent) -> Published {
        let kind = match event.error {
            None => EventKind::Service,
            Some(_) => EventKind::ServiceFailure,
        };
        let (redaction, audience) = (RequestRedaction::default(), Audience::default());
        self.enqueue(kind, redaction, &audience, |_| Entry::service(event))
    }

    /// Hands on a row of the audit log, as JSON. Never waits.
    pub fn publish_audit(&self, id: String, row: Bytes) -> Published {
        let (redaction, audience) = (RequestRedaction::default(), Audience::default());
        self.enqueue(EventKind::Audit, redaction, &audience, |_| {
            Entry::audit(id, row)
        })
    }

    /// Hands a call to one sink, whatever events that one wants; whether it had room, and `None` when there
    /// is no sink of this name.
    pub fn try_call(&self, sink: &str, call: Completed) -> Option<bool> {
        let redaction = call.redaction;
        self.try_sink(sink, redaction, |excluded| Entry::call(call, excluded))
    }

    /// The same with an alert. A sink for calls gets none, whatever its name.
    pub fn try_alert(&self, sink: &str, alert: Alert) -> Option<bool> {
        let redaction = RequestRedaction::default();
        let takes_alerts = self.takes_alerts(sink);
        takes_alerts
            .then(|| self.try_sink(sink, redaction, |_| Entry::alert(alert)))
            .flatten()
    }

    /// The same with what a service tells one sink alone, whatever events that one wants.
    pub fn try_service(&self, sink: &str, event: ServiceEvent) -> Option<bool> {
        let redaction = RequestRedaction::default();
        self.try_sink(sink, redaction, |_| Entry::service(event))
    }

    /// Whether there is a sink of this name that is for alerts.
    #[must_use]
    pub fn takes_alerts(&self, sink: &str) -> bool {
        let routes = self.routes();
        let lane = routes.lanes.iter().find(|lane| lane.name() == sink);
        lane.is_some_and(|lane| !lane.is_for_calls())
    }

    fn try_sink(
        &self,
        sink: &str,
        request: RequestRedaction,
        entry: impl FnOnce(Arc<[String]>) -> Entry,
    ) -> Option<bool> {
        let routes = self.routes();
        let lane = routes.lanes.iter().find(|lane| lane.name() == sink)?;
        let policy = RedactionPolicy::resolve(routes.redaction, lane.redaction(), request);
        let entry = entry(routes.excluded_fields.clone());
        Some(lane.push(Arc::new(entry), policy))
    }

    /// Puts a new configuration in force. Sinks of the same name keep their queue and are served by
    /// the new sink from the next delivery on; sinks no longer named take no new events and get
    /// half a minute to deliver what they have, in the background.
    pub fn replace(&self, config: HubConfig) {
        let mut sinks: Vec<SinkEntry> = Vec::with_capacity(config.sinks.len());
        for entry in config.sinks {
            match sinks.iter_mut().find(|known| known.name == entry.name) {
                Some(known) => known.kinds = known.kinds.union(entry.kinds),
                None => sinks.push(entry),
            }
        }

        let mut routes = self.routes.write();
        let mut old: HashMap<String, Arc<Lane>> = routes
            .lanes
            .iter()
            .map(|lane| (lane.name().to_owned(), lane.clone()))
            .collect();
        let lanes = sinks
            .into_iter()
            .map(|entry| match old.remove(&entry.name) {
                Some(lane) => {
                    lane.adopt(entry);
                    lane
                }
                None => self.start(entry),
            })
            .collect();
        *routes = Arc::new(Routes {
            redaction: config.redaction,
            excluded_fields: config.excluded_fields.into(),
            lanes,
        });
        let mut all = routes.lanes.iter();
        let tells_services = all.any(|lane| lane.wants(EventKind::Service));
        self.tells_services.store(tells_services, Ordering::Relaxed);
        drop(routes);

        let until = Instant::now() + REMOVED_SINK_GRACE;
        let mut retiring = self.retiring.lock();
        retiring.retain(|lane| !lane.finished().is_cancelled());
        for lane in old.into_values() {
            lane.enter(Phase::Draining { until });
            retiring.push(lane);
        }
    }

    /// Stops taking events and delivers what is queued, without waiting for batches to fill, for at
    /// most `within`. What is left then is dropped, counted and reported.
    pub async fn drain(&self, within: Duration) -> DrainReport {
        let until = Instant::now() + within;
        let mut lanes = self.routes().lanes.clone();
        lanes.append(&mut self.retiring.lock());
        for lane in &lanes {
            lane.enter(Phase::Draining { until });
        }
        let mut report = DrainReport::default();
        for lane in lanes {
            lane.finished().cancelled().await;
            let lost = lane.abandoned();
            if lost > 0 {
                report.undelivered.push((lane.name().to_owned(), lost));
            }
        }
        report
    }

    /// The queue of every sink in force, in the order of the configuration.
    pub fn state(&self) -> Vec<SinkState> {
        self.routes()
            .lanes
            .iter()
            .map(|lane| lane.state())
            .collect()
    }

    fn routes(&self) -> Arc<Routes> {
        self.routes.read().clone()
    }

    fn start(&self, entry: SinkEntry) -> Arc<Lane> {
        let metrics = self.parts.metrics.of(&entry.name);
        let lane = Arc::new(Lane::new(entry, metrics));
        self.parts.tracker.spawn(worker::run(
            lane.clone(),
            self.parts.tracker.clone(),
            self.parts.token.clone(),
            self.parts.jitter.clone(),
        ));
        lane
    }

    fn enqueue(
        &self,
        kind: EventKind,
        request: RequestRedaction,
        audience: &Audience,
        entry: impl FnOnce(Arc<[String]>) -> Entry,
    ) -> Published {
        let mut published = Published::default();
        if audience.none {
            return published;
        }
        let routes = self.routes();
        let mut interested = routes
            .lanes
            .iter()
            .filter(|lane| {
                let name = lane.name();
                let switched_off = audience
                    .except
                    .iter()
                    .any(|except| except.trim().eq_ignore_ascii_case(name));
                let loops = audience.origin != Origin::Client && lane.calls_models();
                let named = audience.named.includes(name, kind) && lane.can_be_named();
                (named || lane.wants(kind)) && !switched_off && !loops
            })
            .peekable();
        if interested.peek().is_none() {
            return published;
        }
        let entry = Arc::new(entry(routes.excluded_fields.clone()));
        for lane in interested {
            let policy = RedactionPolicy::resolve(routes.redaction, lane.redaction(), request);
            if lane.push(entry.clone(), policy) {
                published.queued += 1;
            } else {
                published.refused += 1;
            }
        }
        published
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("sinks", &self.state()).finish()
    }
}
