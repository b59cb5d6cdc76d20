//! What routing remembers of deployments from one request to the next.
//!
//! Every deployment has a [`Slot`], found by its id: a new configuration takes over the slots of the
//! deployments that it keeps. Choosing reads atomics only; a lock over one deployment's small books
//! is taken when a try ends. Time is passed in.

mod candidate;
mod minute;
mod samples;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::ErrorClass;
use crate::affinity::{Pins, PrefixDigest};
use crate::budget::{BudgetStatus, Budgets};
use crate::cooldown::{Fault, Standing, Verdict, by_share, judge};
use crate::quota::Today;
use crate::settings::LatencySettings;
use crate::snapshot::Snapshot;
use crate::time::{Now, micros};
pub(crate) use minute::PerMinute;
use samples::{Samples, Score};

pub use candidate::Candidate;
pub use samples::Average;
pub use shared::{Counts, Totals};

/// What the gateway knows of a snapshot's deployments, by their index.
#[derive(Debug, Default)]
pub struct State {
    slots: Vec<Arc<Slot>>,
    by_id: HashMap<String, Arc<Slot>>,
    pub(crate) budgets: Budgets,
    pub(crate) pins: Arc<Pins>,
}

/// A deployment's books.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    in_flight: AtomicU32,
    /// Tries begun, ended well, failed, and tokens used, of the present minute.
    started: PerMinute,
    succeeded: PerMinute,
    failed: PerMinute,
    tokens: PerMinute,
    /// The part of the tokens that came out.
    output: PerMinute,
    /// What it had of its day, where that is limited.
    pub(crate) today: Today,
    others: shared::Others,
    /// Microseconds of the monotonic clock until which it rests; 0 when it never did.
    rests_until: AtomicU64,
    /// The same until which it counts as unhealthy for its health check.
    unhealthy_until: AtomicU64,
    latency: Score,
    first_token: Score,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    successes: Recent,
    failures: Recent,
    /// Failures by the class that a policy names; all others under `None`.
    counted: Vec<(Option<ErrorClass>, Recent)>,
    rest: Option<Rest>,
    latencies: Samples,
    first_tokens: Samples,
}

/// A count that is forgotten after a while.
#[derive(Debug, Default, Clone, Copy)]
struct Recent {
    count: u32,
    until: u64,
}

/// Why and for how long a deployment rests.
#[derive(Debug, Clone, PartialEq)]
pub struct Rest {
    /// The first words of what went wrong.
    pub exception: String,
    /// The status of it.
    pub status: u16,
    /// When it began, seconds since 1970.
    pub since_unix_s: u64,
    /// For how long.
    pub time: Duration,
}

/// Successes and failures are counted for this long, from the first one on.
const OUTCOMES_FOR: Duration = Duration::from_secs(60);
/// What a timeout counts as among latencies, seconds.
const TIMEOUT_LATENCY_S: f64 = 1000.0;
/// Characters kept of what went wrong.
const EXCEPTION_MAX_CHARS: usize = 50;

/// Why a try may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many calls as allowed are under way.
    Parallel,
    /// As many calls as allowed were begun in this minute.
    Rate,
}

/// A try under way. It counts as such until it is released or dropped.
#[derive(Debug)]
pub struct Try {
    slot: Option<Arc<Slot>>,
    /// It counts against the quotas of minute and day.
    is_counted: bool,
    /// The deployment's index.
    pub index: usize,
    /// When it began.
    pub begun: Now,
}

impl Try {
    /// A try at an upstream that is not the deployment's: it takes nothing of it.
    pub fn elsewhere(index: usize, now: Now) -> Try {
        Try {
            slot: None,
            is_counted: false,
            index,
            begun: now,
        }
    }

    /// Gives the place back; when it began stays known.
    pub fn release(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.in_flight.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Try {
    fn drop(&mut self) {
        self.release();
    }
}

/// What the deployments of a group did in the present minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupUsage {
    /// Calls that ended.
    pub requests: u64,
    /// Tokens used.
    pub tokens: u64,
    /// The sum of their rpm.
    pub requests_max: Option<u64>,
    /// The sum of their tpm.
    pub tokens_max: Option<u64>,
}

/// What a successful try measured.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Measured {
    /// From its begin to its end.
    pub duration: Duration,
    /// From its begin to a stream's first token.
    pub first_token: Option<Duration>,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Tokens of prompt and answer.
    pub total_tokens: u64,
}

impl State {
    /// Of deployments that nothing is known of.
    pub fn new(snapshot: &Snapshot) -> State {
        State::default().continued(snapshot)
    }

    /// The state of another snapshot: what is known of deployments that it has, too, stays known.
    #[must_use]
    pub fn continued(&self, snapshot: &Snapshot) -> State {
        let mut by_id: HashMap<String, Arc<Slot>> = HashMap::new();
        let slots = snapshot
            .deployments()
            .iter()
            .map(|deployment| {
                let known = by_id
                    .get(&deployment.id)
                    .or_else(|| self.by_id.get(&deployment.id));
                let slot = known.cloned().unwrap_or_default();
                by_id.insert(deployment.id.clone(), slot.clone());
                slot
            })
            .collect();
        State {
            slots,
            by_id,
            budgets: self.budgets.continued(snapshot),
            pins: self.pins.clone(),
        }
    }

    pub(crate) fn slot(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    pub(crate) fn slot_of(&self, id: &str) -> Option<&Slot> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    /// Begins a try, unless the deployment's limits forbid it.
    pub fn begin(&self, snapshot: &Snapshot, index: usize, now: Now) -> Result<Try, Full> {
        let slot = &self.slots[index];
        let deployment = snapshot.deployment(index);
        // From here on the drop gives the place back.
        let mut begun = self.begin_beside(snapshot, index, now)?;
        begun.is_counted = true;
        let minute = now.minute();
        match snapshot.rpm_enforced(index) {
            Some(limit) => {
                let limit = limit.saturating_sub(slot.others.started.get(minute));
                if !slot.started.add_below(minute, limit) {
                    return Err(Full::Rate);
                }
            }
            None => slot.started.add(minute, 1),
        }
        let quotas = &deployment.spec.quotas;
        if quotas.has_day() {
            let limit = quotas
                .requests_of_day
                .filter(|_| snapshot.keeps_quotas(index));
            if !slot.today.begin(quotas.day(now), limit) {
                slot.started.take_back(minute, 1);
                return Err(Full::Rate);
            }
        }
        Ok(begun)
    }

    /// Begins a try that takes a place of the deployment and none of its quotas, which are those of another key.
    pub fn begin_beside(&self, snapshot: &Snapshot, index: usize, now: Now) -> Result<Try, Full> {
        let slot = &self.slots[index];
        let deployment = snapshot.deployment(index);
        let most = deployment.parallel_max.unwrap_or(u32::MAX);
        let taken = slot.in_flight.fetch_update(Relaxed, Relaxed, |n| {
            (n < most).then_some(n.saturating_add(1))
        });
        if taken.is_err() {
            return Err(Full::Parallel);
        }
        Ok(Try {
            slot: Some(slot.clone()),
            is_counted: false,
            index,
            begun: now,
        })
    }

    /// Notes a try that ended well.
    pub fn succeeded(&self, snapshot: &Snapshot, index: usize, measured: &Measured, now: Now) {
        let slot = &self.slots[index];
        let settings = &snapshot.tactic_of(index).latency;
        slot.succeeded.add(now.minute(), 1);
        let prompt = measured
            .total_tokens
            .saturating_sub(measured.completion_tokens);
        self.used(snapshot, index, (prompt, measured.completion_tokens), now);
        let mut sample = measured.duration.as_secs_f64();
        if measured.completion_tokens > 0 {
            sample /= measured.completion_tokens as f64;
        }
        let mut books = slot.books.lock();
        books.successes.add(now, OUTCOMES_FOR);
        slot.measure(&mut books, sample, settings, now);
        if let Some(first) = measured.first_token {
            books.first_tokens.push(
                first.as_secs_f64(),
                settings.keep,
                settings.first_token_percentile,
                &slot.first_token,
                (
                    now.micros(),
                    micros(now.monotonic.saturating_add(settings.ttl)),
                ),
            );
        }
    }

    /// Notes tokens of prompt and answer of a try, also of one that neither ended well nor failed: its client left.
    pub fn used(
        &self,
        snapshot: &Snapshot,
        index: usize,
        (prompt, completion): (u64, u64),
        now: Now,
    ) {
        let (slot, minute) = (&self.slots[index], now.minute());
        let total = prompt.saturating_add(completion);
        slot.tokens.add(minute, total);
        slot.output.add(minute, completion);
        let quotas = &snapshot.deployment(index).spec.quotas;
        if quotas.has_day() {
            slot.today.used(quotas.day(now), total);
        }
    }

    /// Notes a try that failed; gives for how long the deployment rests now, if it does.
    pub fn failed(
        &self,
        snapshot: &Snapshot,
        index: usize,
        fault: &Fault<'_>,
        now: Now,
    ) -> Option<Duration> {
        let slot = &self.slots[index];
        let deployment = snapshot.deployment(index);
        slot.failed.add(now.minute(), 1);
        let settings = &snapshot.settings.cooldown;
        let standing = Standing {
            own: &deployment.spec.cooldown,
            is_single: deployment.group_size == 1,
            is_wildcard: deployment.model_group.contains('*'),
        };
        let mut books = slot.books.lock();
        if fault.class == ErrorClass::Timeout {
            slot.measure(
                &mut books,
                TIMEOUT_LATENCY_S,
                &snapshot.tactic_of(index).latency,
                now,
            );
        }
        let failures = books.failures.add(now, OUTCOMES_FOR);
        let rest = match judge(settings, &standing, fault) {
            Verdict::Ignored => None,
            Verdict::Share { rest } => {
                let successes = books.successes.get(now);
                by_share(
                    settings,
                    standing.is_single,
                    fault.status,
                    successes,
                    failures,
                )
                .then_some(rest)
            }
            Verdict::Count {
                class,
                allowed,
                rest,
            } => (books.count(class, now, rest) > allowed).then_some(rest),
        }?;
        books.rest = Some(Rest {
            exception: fault.message.chars().take(EXCEPTION_MAX_CHARS).collect(),
            status: fault.status,
            since_unix_s: now.unix_s,
            time: rest,
        });
        let until = micros(now.monotonic.saturating_add(rest));
        slot.rests_until.fetch_max(until, Relaxed);
        Some(rest)
    }

    /// Adds what a try has cost, in US dollars, to the budgets that bear on it.
    pub fn spent(&self, index: usize, tags: &[String], cost: f64, now: Now) {
        if !self.budgets.is_empty() {
            self.budgets.spend(index, tags, cost, now);
        }
    }

    /// Where the budgets of providers, deployments and tags stand.
    pub fn budgets(&self, now: Now) -> Vec<BudgetStatus> {
        self.budgets.statuses(now).collect()
    }

    /// What a deployment's provider may still spend, US dollars; `None` when it has no budget.
    pub fn provider_budget_left(&self, index: usize, now: Now) -> Option<f64> {
        self.budgets.left_of_provider(index, now)
    }

    /// Notes that this deployment's provider has a prompt's beginning in its cache now.
    pub fn pin(&self, digest: PrefixDigest, id: &str, ttl: Duration, now: Now) {
        self.pins.pin(digest, id, ttl, now);
    }

    /// What was pinned under a digest, unless its time is over.
    pub fn pinned(&self, digest: &PrefixDigest, now: Now) -> Option<Arc<str>> {
        self.pins.find(std::slice::from_ref(digest), now)
    }

    /// Calls and tokens of this minute and their limits, of all these deployments together; `None`
    /// for a limit that none of them has.
    pub fn group_usage(&self, snapshot: &Snapshot, candidates: &[usize], now: Now) -> GroupUsage {
        let minute = now.minute();
        let mut usage = GroupUsage::default();
        for index in candidates {
            let (slot, spec) = (self.slot(*index), &snapshot.deployment(*index).spec);
            usage.requests += slot.ended(minute);
            usage.tokens += slot.tokens(minute);
            for (sum, limit) in [
                (&mut usage.requests_max, spec.rpm_limit),
                (&mut usage.tokens_max, spec.tpm_limit),
            ] {
                if let Some(limit) = limit {
                    *sum = Some(sum.unwrap_or(0).saturating_add(limit));
                }
            }
        }
        usage
    }

    /// How often the one of these deployments that failed most has failed in this minute, at all gateways.
    pub fn failures_max(&self, candidates: &[usize], now: Now) -> u64 {
        let minute = now.minute();
        let of = |index: &usize| {
            let slot = self.slot(*index);
            slot.failed.get(minute) + slot.others.failed.get(minute)
        };
        candidates.iter().map(of).max().unwrap_or(0)
    }

    /// Notes what a health check found; it counts for `for_` at most.
    pub fn checked(&self, id: &str, is_healthy: bool, for_: Duration, now: Now) {
        if let Some(slot) = self.by_id.get(id) {
            let until = if is_healthy {
                0
            } else {
                micros(now.monotonic.saturating_add(for_))
            };
            slot.unhealthy_until.store(until, Relaxed);
        }
    }

    /// Whether health checks have found each of these deployments unhealthy, and that still counts.
    pub fn are_unhealthy(&self, candidates: &[usize], now: Now) -> bool {
        let is_unhealthy = |index: &usize| self.slot(*index).is_unhealthy(now);
        !candidates.is_empty() && candidates.iter().all(is_unhealthy)
    }

    /// How many of these deployments neither rest nor are paused.
    pub fn healthy(&self, snapshot: &Snapshot, candidates: &[usize], now: Now) -> usize {
        let is_healthy = |index: &&usize| {
            !snapshot.deployment(**index).spec.is_blocked && !self.slot(**index).is_resting(now)
        };
        candidates.iter().filter(is_healthy).count()
    }

    /// When the first of these deployments that rest has rested.
    pub fn soonest(&self, candidates: &[usize], now: Now) -> Option<Duration> {
        let left = candidates.iter().filter_map(|index| {
            let until = self.slot(*index).rests_until.load(Relaxed);
            until.checked_sub(now.micros()).filter(|left| *left > 0)
        });
        left.min().map(Duration::from_micros)
    }

    /// Why a deployment rests now, and how much longer.
    pub fn rest(&self, index: usize, now: Now) -> Option<(Rest, Duration)> {
        self.slots.get(index)?.rest(now)
    }
}

impl Slot {
    pub(crate) fn is_resting(&self, now: Now) -> bool {
        self.rests_until.load(Relaxed) > now.micros()
    }

    fn rest(&self, now: Now) -> Option<(Rest, Duration)> {
        let until = self.rests_until.load(Relaxed);
        let left = until.checked_sub(now.micros()).filter(|n| *n > 0)?;
        let rest = self.books.lock().rest.clone()?;
        Some((rest, Duration::from_micros(left)))
    }

    pub(crate) fn is_unhealthy(&self, now: Now) -> bool {
        self.unhealthy_until.load(Relaxed) > now.micros()
    }

    /// Calls under way, here and elsewhere.
    pub(crate) fn in_flight(&self) -> u32 {
        let others = self.others.in_flight.load(Relaxed);
        self.in_flight.load(Relaxed).saturating_add(others)
    }

    /// Calls under way here.
    pub(crate) fn in_flight_here(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Tries begun in this minute.
    pub(crate) fn started(&self, minute: u64) -> u64 {
        self.started.get(minute) + self.others.started.get(minute)
    }

    /// Tokens of this minute that came out.
    pub(crate) fn output_tokens(&self, minute: u64) -> u64 {
        self.output.get(minute) + self.others.output.get(minute)
    }

    /// Tokens of this minute that went in.
    pub(crate) fn input_tokens(&self, minute: u64) -> u64 {
        // The two are counted one after the other.
        self.tokens(minute)
            .saturating_sub(self.output_tokens(minute))
    }

    /// Tries of this minute that ended well.
    pub(crate) fn succeeded(&self, minute: u64) -> u64 {
        self.succeeded.get(minute) + self.others.succeeded.get(minute)
    }

    /// Tries of this minute that ended.
    pub(crate) fn ended(&self, minute: u64) -> u64 {
        let failed = self.failed.get(minute) + self.others.failed.get(minute);
        self.succeeded(minute) + failed
    }

    /// Tokens used in this minute.
    pub(crate) fn tokens(&self, minute: u64) -> u64 {
        self.tokens.get(minute) + self.others.tokens.get(minute)
    }

    /// Seconds per token as measured here and elsewhere; `None` when it was not measured lately.
    pub(crate) fn latency(&self, now: Now) -> Option<f64> {
        together(&self.latency, &self.others.latency, now)
    }

    /// Seconds to a stream's first token; `None` when they were not measured lately.
    pub(crate) fn first_token(&self, now: Now) -> Option<f64> {
        together(&self.first_token, &self.others.first_token, now)
    }

    fn measure(&self, books: &mut Books, sample: f64, settings: &LatencySettings, now: Now) {
        let until = micros(now.monotonic.saturating_add(settings.ttl));
        let times = (now.micros(), until);
        books
            .latencies
            .push(sample, settings.keep, None, &self.latency, times);
    }
}

/// What was measured here and elsewhere, each measurement alike.
fn together(own: &Score, others: &Score, now: Now) -> Option<f64> {
    let average = match (own.average(now), others.average(now)) {
        (Some(own), Some(others)) => Some(own.with(others)),
        (own, others) => own.or(others),
    };
    average.map(|average| average.value)
}

impl Books {
    fn count(&mut self, class: Option<ErrorClass>, now: Now, within: Duration) -> u32 {
        let known = self.counted.iter().position(|(known, _)| *known == class);
        let at = known.unwrap_or_else(|| {
            self.counted.push((class, Recent::default()));
            self.counted.len() - 1
        });
        let recent = &mut self.counted[at].1;
        let count = recent.add(now, within);
        // Each failure that counts begins the time anew.
        recent.until = micros(now.monotonic.saturating_add(within));
        count
    }
}

impl Recent {
    fn add(&mut self, now: Now, for_: Duration) -> u32 {
        if self.get(now) == 0 {
            *self = Recent {
                count: 0,
                until: micros(now.monotonic.saturating_add(for_)),
            };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }

    fn get(&self, now: Now) -> u32 {
        if now.micros() < self.until {
            self.count
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests;
