//! A version of a plugin that judges live traffic without effect: beside the plugin that serves
//! (`plugins.<name>.shadow`), or alone (`fail: shadow`).
//!
//! The answer never waits for it: the plugin that serves has spoken before the shadow is asked, on the
//! process's own runtime. At most so many shadows judge at once; a call that comes when all are busy is not
//! judged in shadow, which is counted. What is kept and logged of a difference are verdicts, places and
//! kinds of findings, never a text.

mod authenticator;
mod guardrail;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

pub use authenticator::ShadowedAuthenticator;
pub use guardrail::{ShadowedGuardrail, Unenforced};

/// Differences kept for whoever asks.
const DIFFERENCES_MAX: usize = 100;
/// Places and kinds of one verdict that are told.
const NAMES_MAX: usize = 16;
/// Bytes of one of them: they come from a plugin.
const NAME_BYTES_MAX: usize = 128;
/// Between two lines of the log: a version that judges everything otherwise must not flood it.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// Steps of a share: a hundredth of a percent.
const SHARES: u64 = 10_000;

/// What is counted of all shadows. Clones share it.
#[derive(Clone, Default)]
pub struct ShadowMetrics {
    judgements: Family<JudgementLabels, Counter>,
    differences: Family<DifferenceLabels, Counter>,
}

/// Where shadows run.
#[derive(Clone)]
pub struct Background {
    /// The process's own runtime.
    pub runtime: Handle,
    /// Ended with the process.
    pub tasks: TaskTracker,
}

/// How much one shadow judges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Percent of the calls.
    pub percent: f64,
    /// At once.
    pub concurrency: usize,
}

/// What was found by one version of a shadow: kept over reloads, begun anew with another version.
pub struct Report {
    plugin: String,
    /// Digest of the shadow's component.
    digest: String,
    metrics: ShadowMetrics,
    tally: Mutex<Tally>,
}

/// One plugin's shadow at work.
pub struct Shadow {
    background: Background,
    slots: Arc<Semaphore>,
    share: u64,
    asked: AtomicU64,
    report: Arc<Report>,
}

/// The right to judge one call in shadow.
pub struct Turn {
    shadow: Arc<Shadow>,
    _slot: OwnedSemaphorePermit,
}

/// A verdict, as far as two of them are compared and told.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// `allow`, `edit`, `block`, `could_not_judge`, `failed`; of authenticators `identity`, `key`, `decline`, `deny`.
    pub verdict: &'static str,
    /// Status of a refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// JSON pointers of edits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pointers: Vec<String>,
    /// Kinds of what was found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
    /// What else makes two verdicts different, by name; only compared, never told.
    #[serde(skip)]
    pub content: BTreeMap<String, u64>,
}

/// Which call was judged.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Facts {
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
}

#[derive(Default)]
struct Tally {
    same: u64,
    different: u64,
    failed: u64,
    dropped: u64,
    by_verdict: BTreeMap<String, u64>,
    newest: VecDeque<Value>,
    logged: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JudgementLabels {
    plugin: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DifferenceLabels {
    plugin: String,
    live: &'static str,
    shadow: &'static str,
}

impl ShadowMetrics {
    /// Registers what is counted.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "witgate_plugin_shadow_judgements",
            "Judgements of plugins in shadow: same, different, failed, dropped",
            metrics.judgements.clone(),
        );
        registry.register(
            "witgate_plugin_shadow_differences",
            "Judgements of plugins in shadow that differ, by both verdicts",
            metrics.differences.clone(),
        );
        metrics
    }
}

impl Shadow {
    /// A shadow of this share, which reports here.
    pub fn new(background: Background, share: Share, report: Arc<Report>) -> Self {
        Self {
            background,
            slots: Arc::new(Semaphore::new(share.concurrency)),
            share: (share.percent * (SHARES as f64 / 100.0)).round() as u64,
            asked: AtomicU64::new(0),
            report,
        }
    }

    /// Whether this call is judged in shadow: every phase of a call has the same answer.
    pub(super) fn turn_of_call(self: &Arc<Self>, call_id: &str) -> Option<Turn> {
        self.turn(Print::of(call_id) % SHARES < self.share)
    }

    /// Whether the next request is: evenly spread.
    pub(super) fn turn_of_request(self: &Arc<Self>) -> Option<Turn> {
        let before = self.asked.fetch_add(1, Ordering::Relaxed);
        let due = |n: u64| n.wrapping_mul(self.share) / SHARES;
        self.turn(due(before.wrapping_add(1)) != due(before))
    }

    fn turn(self: &Arc<Self>, is_due: bool) -> Option<Turn> {
        if !is_due {
            return None;
        }
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => Some(Turn {
                shadow: self.clone(),
                _slot: slot,
            }),
            Err(_) => {
                self.report.dropped();
                None
            }
        }
    }
}

impl Turn {
    /// Asks the shadow where nobody waits for it, and compares what it says.
    pub(super) fn compare(
        self,
        live: Judgement,
        facts: Facts,
        judging: impl Future<Output = Judgement> + Send + 'static,
    ) {
        self.run(|report| async move {
            let shadow = judging.await;
            report.judged(&live, &shadow, &facts);
        });
    }

    /// Does work of the shadow's where nobody waits for it.
    pub(super) fn run<F>(self, work: impl FnOnce(Arc<Report>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shadow = self.shadow.clone();
        let working = work(shadow.report.clone());
        let background = &shadow.background;
        let task = async move {
            working.await;
            drop(self);
        };
        background.tasks.spawn_on(task, &background.runtime);
    }
}

impl Report {
    /// Of this version, which is the one before's when that is the same.
    pub fn of(
        plugin: &str,
        digest: &str,
        before: Option<&Arc<Self>>,
        metrics: &ShadowMetrics,
    ) -> Arc<Self> {
        match before.filter(|before| before.digest == digest) {
            Some(before) => before.clone(),
            None => Arc::new(Self {
                plugin: plugin.to_owned(),
                digest: digest.to_owned(),
                metrics: metrics.clone(),
                tally: Mutex::default(),
            }),
        }
    }

    /// For `GET /plugins/{name}/shadow`.
    pub fn shown(&self) -> Value {
        let tally = self.tally.lock();
        json!({
            "plugin": self.plugin,
            "digest": self.digest,
            "judgements": {
                "same": tally.same,
                "different": tally.different,
                "failed": tally.failed,
                "dropped": tally.dropped,
            },
            "by_verdict": tally.by_verdict,
            "differences": tally.newest,
        })
    }

    /// It could not be asked, because it was busy.
    pub(super) fn dropped(&self) {
        self.tally.lock().dropped += 1;
        self.count("dropped");
    }

    /// It was asked.
    pub(super) fn judged(&self, live: &Judgement, shadow: &Judgement, facts: &Facts) {
        if shadow.verdict == FAILED {
            self.tally.lock().failed += 1;
            return self.count("failed");
        }
        if live.is_like(shadow) {
            self.tally.lock().same += 1;
            return self.count("same");
        }
        self.count("different");
        let labels = DifferenceLabels {
            plugin: self.plugin.clone(),
            live: live.verdict,
            shadow: shadow.verdict,
        };
        self.metrics.differences.get_or_create(&labels).inc();
        let places = live.places_unlike(shadow);
        let difference = json!({
            "at": format!("{:.3}", jiff::Timestamp::now()),
            "call": facts,
            "live": live,
            "shadow": shadow,
            "differs_at": places,
        });
        let now = Instant::now();
        let mut tally = self.tally.lock();
        tally.different += 1;
        let verdicts = format!("{} → {}", live.verdict, shadow.verdict);
        *tally.by_verdict.entry(verdicts).or_default() += 1;
        tally.newest.push_front(difference);
        tally.newest.truncate(DIFFERENCES_MAX);
        let is_due = tally.logged.is_none_or(|last| now - last >= LOG_EVERY);
        if is_due {
            tally.logged = Some(now);
        }
        let different = tally.different;
        drop(tally);
        if is_due {
            tracing::info!(
                plugin = self.plugin,
                call_id = facts.call_id.as_deref().unwrap_or_default(),
                live = live.verdict,
                shadow = shadow.verdict,
                ?places,
                different,
                "the plugin in shadow judges otherwise"
            );
        }
    }

    fn count(&self, result: &'static str) {
        let labels = JudgementLabels {
            plugin: self.plugin.clone(),
            result,
        };
        self.metrics.judgements.get_or_create(&labels).inc();
    }
}

/// The verdict of one that gave none.
pub(super) const FAILED: &str = "failed";

impl Judgement {
    pub(super) fn failed() -> Self {
        Self {
            verdict: FAILED,
            ..Self::default()
        }
    }

    /// Findings are told, not compared: two versions may call the same thing by different names.
    fn is_like(&self, other: &Self) -> bool {
        (self.verdict, self.status, &self.content) == (other.verdict, other.status, &other.content)
    }

    /// Names of what is not the same.
    fn places_unlike(&self, other: &Self) -> Vec<String> {
        let names = self.content.keys().chain(other.content.keys());
        let differs = |name: &&String| self.content.get(*name) != other.content.get(*name);
        let mut names: Vec<&String> = names.filter(differs).collect();
        names.sort();
        names.dedup();
        told(names)
    }
}

/// Names as they may be told: few, short, and without control characters.
pub(super) fn told<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let tell = |name: &String| {
        let end = name.floor_char_boundary(NAME_BYTES_MAX);
        name[..end].replace(char::is_control, "\u{fffd}")
    };
    names.into_iter().take(NAMES_MAX).map(tell).collect()
}

/// A number that is the same for the same text, in whatever pieces it comes (FNV-1a): enough to tell two
/// verdicts apart without keeping what they are about.
#[derive(Clone, Copy)]
pub(super) struct Print(u64);

impl Default for Print {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Print {
    pub(super) fn of(text: &str) -> u64 {
        let mut print = Self::default();
        print.add(text);
        print.number()
    }

    pub(super) fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) const fn number(self) -> u64 {
        self.0
    }
}
