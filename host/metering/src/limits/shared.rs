//! Limits that gateways keep together in the store that they share, and the budgets that a call draws on with them.
//!
//! A call waits for the store once, when it is admitted. That it has ended is told with the next admission, or after a few
//! milliseconds by a task. Who is inside has a lease there, which the task renews: what a gateway held that was killed is free when
//! its leases are over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use uuid::Uuid;
use witgate_state::{Exit, Gate, GateLevel, Pass, Passed, StateError, Store};

use super::meter::Meter;
use super::{Full, Limiter, Wanted};
use crate::budgets::{Drawing, Exceeded};
use crate::turn;

/// How long a call counts as inside whose gateway says nothing any more.
const LEASE: Duration = Duration::from_secs(60);
/// How often leases are renewed: three times may fail.
const RENEWAL: Duration = Duration::from_secs(15);
/// Told in one go, so that the script is a short one.
const TOLD_AT_ONCE: usize = 100;
/// The same, beside an admission that somebody waits for.
const TOLD_BESIDE: usize = 20;
/// What is not told while the store is gone: leases and windows end by themselves.
const UNTOLD_MAX: usize = 10_000;
/// How long is waited before a store is asked again that did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Limits in a store.
#[derive(Debug)]
pub(super) struct Shared {
    store: Store,
    /// Which gateway this is, in the names of who is inside.
    gateway: Box<str>,
    next: AtomicU64,
    leaving: Mutex<VecDeque<Leaving>>,
    /// Somebody leaves.
    woken: Notify,
}

/// What became of a call.
pub(super) enum Asked {
    /// It is in: how limits stand, and what it is called there.
    In(Vec<GateLevel>, u64),
    /// A limit refuses it.
    Full(Full),
    /// A budget refuses it.
    Exceeded(Exceeded),
}

/// A call that has ended, of which the store does not know that yet.
#[derive(Debug)]
struct Leaving {
    meter: Arc<Meter>,
    /// What the call is called there.
    name: String,
    window: u64,
    length: Option<Duration>,
    correction: i64,
}

/// What is told to the store. When nobody knows whether it was heard, it is told again: who has left already does not leave twice.
struct Asking<'a> {
    shared: &'a Shared,
    told: Vec<Leaving>,
    /// A call that may have come in without being known here.
    wanted: Option<(&'a Wanted, u64)>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        let in_vain = self.wanted.take().into_iter().flat_map(|(wanted, member)| {
            let holding = wanted.wants.iter().filter(|want| want.holds());
            holding.map(move |want| Leaving {
                meter: want.meter.clone(),
                name: shared.named(member),
                window: 0,
                length: want.window,
                correction: match want.limits.tpm {
                    Some(_) => 0_i64.saturating_sub_unsigned(wanted.tokens),
                    None => 0,
                },
            })
        });
        let told = std::mem::take(&mut self.told);
        let all: Vec<Leaving> = told.into_iter().chain(in_vain).collect();
        if !all.is_empty() {
            shared.leave_all(all);
        }
    }
}

fn exits(leaving: &[Leaving]) -> Vec<Exit<'_>> {
    let exits = leaving.iter().map(|leaving| Exit {
        name: &leaving.meter.name,
        member: &leaving.name,
        window: leaving.window,
        length: leaving.length,
        correction: leaving.correction,
        undo: false,
    });
    exits.collect()
}

impl Shared {
    pub(super) fn new(store: Store) -> Shared {
        Shared {
            store,
            gateway: Uuid::new_v4().to_string().into(),
            next: AtomicU64::new(0),
            leaving: Mutex::default(),
            woken: Notify::new(),
        }
    }

    pub(super) fn is_through(&self, store: &Store) -> bool {
        match (self.store.as_redis(), store.as_redis()) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        }
    }

    /// Admits a call for all gateways together.
    pub(super) async fn pass(
        &self,
        wanted: &Wanted,
        drawing: Option<Drawing<'_>>,
        now: Duration,
        window: Duration,
    ) -> Result<Asked, StateError> {
        let member = self.next.fetch_add(1, Relaxed);
        let named = self.named(member);
        let gates = wanted.wants.iter().map(|want| Gate {
            name: &want.meter.name,
            calls: want.limits.rpm,
            amount: want.limits.tpm.map(|limit| (wanted.tokens, limit)),
            inside: want.limits.parallel,
            window: want.window,
        });
        let gates: Vec<Gate<'_>> = gates.collect();
        let draws = drawing.as_ref().map(Drawing::draws).unwrap_or_default();
        let nowhere = Pass::nowhere(window, LEASE);
        let pass = Pass {
            draws: &draws,
            holder: drawing
                .as_ref()
                .map_or(nowhere.holder, |drawing| drawing.holder()),
            gates: &gates,
            member: &named,
            ..nowhere
        };
        let mut asking = Asking {
            shared: self,
            told: self.take_leaving(TOLD_BESIDE),
            wanted: Some((wanted, member)),
        };
        let passed = self.store.pass(&pass, &exits(&asking.told)).await;
        if let Err(error) = &passed {
            // It has not come in; unless nobody can tell.
            if !matches!(error, StateError::Timeout(_)) {
                asking.wanted = None;
            }
            return Err(error.clone());
        }
        asking.told.clear();
        asking.wanted = None;
        match passed? {
            Passed::All(levels, balances) => {
                if let Some(drawing) = drawing {
                    drawing.heard(balances);
                }
                for (want, level) in wanted.wants.iter().zip(&levels) {
                    let mut state = want.meter.state.lock();
                    state.hear(level, now);
                    if want.holds() {
                        state.inside += 1;
                        state.members.insert(member);
                    }
                }
                Ok(Asked::In(levels, member))
            }
            Passed::Overdrawn { at, balance } => {
                let exceeded = drawing.map(|drawing| drawing.exceeded(at, balance));
                let unasked = || StateError::Refused("an account was not asked for".to_owned());
                Ok(Asked::Exceeded(exceeded.ok_or_else(unasked)?))
            }
            Passed::Refused { at, bound, level } => {
                if let Some(want) = wanted.wants.get(at) {
                    want.meter.state.lock().hear(&level, now);
                }
                Ok(Asked::Full(Full {
                    want: at,
                    kind: bound.into(),
                    level,
                }))
            }
        }
    }

    /// A call has ended.
    pub(super) fn leave(
        &self,
        meter: Arc<Meter>,
        member: u64,
        (window, length): (u64, Option<Duration>),
        correction: i64,
    ) {
        self.leave_all([Leaving {
            name: self.named(member),
            meter,
            window,
            length,
            correction,
        }]);
    }

    fn leave_all(&self, leaving: impl IntoIterator<Item = Leaving>) {
        let mut all = self.leaving.lock();
        all.extend(leaving);
        let over = all.len().saturating_sub(UNTOLD_MAX);
        all.drain(..over);
        drop(all);
        self.woken.notify_one();
    }

    /// How many ends of calls wait to be told.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.leaving.lock().len()
    }

    fn take_leaving(&self, most: usize) -> Vec<Leaving> {
        let mut all = self.leaving.lock();
        let count = all.len().min(most);
        all.drain(..count).collect()
    }

    fn named(&self, member: u64) -> String {
        format!("{}:{member}", self.gateway)
    }

    /// Tells which calls have ended.
    async fn tell(&self, window: Duration) -> Result<(), StateError> {
        loop {
            let mut asking = Asking {
                shared: self,
                told: self.take_leaving(TOLD_AT_ONCE),
                wanted: None,
            };
            if asking.told.is_empty() {
                return Ok(());
            }
            let nowhere = Pass::nowhere(window, LEASE);
            self.store.pass(&nowhere, &exits(&asking.told)).await?;
            asking.told.clear();
        }
    }

    /// Renews the leases of those inside.
    async fn renew(&self, limiter: &Limiter) -> Result<(), StateError> {
        let mut inside: Vec<(Arc<Meter>, Vec<String>)> = Vec::new();
        limiter.meters().each(|meter| {
            let state = meter.state.lock();
            if !state.members.is_empty() {
                let members = state.members.iter().map(|member| self.named(*member));
                inside.push((meter.clone(), members.collect()));
            }
        });
        for (meter, members) in inside {
            for some in members.chunks(TOLD_AT_ONCE) {
                let some: Vec<&str> = some.iter().map(String::as_str).collect();
                self.store.stay(&meter.name, &some, LEASE).await?;
            }
        }
        Ok(())
    }
}

/// Tells which calls have ended and which have not, until `stop`.
pub(super) async fn keep(limiter: &Limiter, stop: impl Future<Output = ()>) {
    let mut stop = std::pin::pin!(stop);
    let mut renewed = Instant::now();
    loop {
        let shared = limiter.shared.load_full();
        let woken = shared.as_deref().map(|shared| &shared.woken);
        let is_over = turn::is_last(woken, stop.as_mut()).await;
        if let Some(shared) = shared {
            let told = shared.tell(limiter.rules().window).await;
            let is_due = !is_over && renewed.elapsed() >= RENEWAL;
            let told = match told {
                Ok(()) if is_due => {
                    renewed = Instant::now();
                    shared.renew(limiter).await
                }
                told => told,
            };
            if let Err(error) = told {
                tracing::debug!(%error, "what calls have given back is not shared yet");
                if !is_over {
                    tokio::select! {
                        () = &mut stop => return,
                        () = sleep(PAUSE) => {}
                    }
                }
            }
        }
        if is_over {
            return;
        }
    }
}
