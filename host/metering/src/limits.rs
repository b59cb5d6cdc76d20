//! Requests, tokens and calls at once, per window of time.
//!
//! Source: LiteLLM's `parallel_request_limiter_v3`, with the token reservation of its later releases. A window begins with the first
//! request after the one before is over, and is over at its length exactly. A refused call leaves nothing taken.

mod admitted;
mod meter;
mod shared;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::MutexGuard;
use thiserror::Error;
use witgate_identity::{Limits, ModelScope, Scope, ScopeKind};
use witgate_state::{Bound, GateLevel, StateError, Store};

use crate::budgets::{Exceeded, Reservation};
use crate::priority::Used;
use crate::shards::Shards;
pub use admitted::{Admitted, Standing};
use meter::{Meter, Meters, State};
use shared::{Asked, Shared};

/// A limit that counts and refuses nothing; a number that Redis' scripts still have exactly.
pub const UNBOUNDED: u64 = 1 << 52;

/// The window of tokens per day.
const DAY: Duration = Duration::from_secs(86_400);

/// What is limited: a descriptor of LiteLLM's rate limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// LiteLLM's name of it, such as `api_key` or `model_per_key`.
    pub key: &'static str,
    /// Who or what.
    pub id: &'a str,
    /// The model group, for limits of one.
    pub model: Option<&'a str>,
    /// The limits.
    pub limits: Limits,
}

impl Descriptor<'_> {
    /// The name of its meter; with the minute where windows are the calendar's, and of its own for tokens per day.
    fn meter_name(&self, minute: Option<u64>, is_day: bool, name: &mut String) {
        name.clear();
        name.push_str(self.key);
        for part in [Some(self.id), self.model].into_iter().flatten() {
            name.push(':');
            name.push_str(part);
        }
        if let Some(minute) = minute {
            name.push_str("::");
            name.push_str(&minute.to_string());
        }
        if is_day {
            name.push_str(":day");
        }
    }

    /// Who or what, with the model group where the limits are of one.
    #[must_use]
    pub fn value(&self) -> String {
        match self.model {
            None => self.id.to_owned(),
            Some(model) => format!("{}:{model}", self.id),
        }
    }
}

/// What the scopes limit for a call of a model group, which is known by these names, in their order.
pub fn descriptors<'a>(
    scopes: impl IntoIterator<Item = &'a Scope>,
    groups: &[&str],
) -> Vec<Descriptor<'a>> {
    let mut found = Vec::new();
    for scope in scopes {
        if !scope.limits.is_empty() {
            found.push(Descriptor {
                key: scope.kind.descriptor(),
                id: &scope.id,
                model: None,
                limits: scope.limits,
            });
        }
        for model in models(scope, groups).filter(|model| !model.limits.is_empty()) {
            found.push(Descriptor {
                key: per_model(scope.kind),
                id: &scope.id,
                model: Some(&model.model),
                limits: model.limits,
            });
        }
    }
    found
}

/// What is set for a model group that is known by these names, each once.
pub(crate) fn models<'a>(
    scope: &'a Scope,
    groups: &[&str],
) -> impl Iterator<Item = &'a ModelScope> {
    let mut found: Vec<&ModelScope> = Vec::new();
    if !scope.models.is_empty() {
        for model in groups.iter().filter_map(|group| scope.model(group)) {
            if !found.iter().any(|known| std::ptr::eq(*known, model)) {
                found.push(model);
            }
        }
    }
    found.into_iter()
}

/// LiteLLM's name of the descriptor for one model; of kinds that LiteLLM has none for, in its manner.
const fn per_model(kind: ScopeKind) -> &'static str {
    match kind {
        ScopeKind::Key => "model_per_key",
        ScopeKind::User => "model_per_user",
        ScopeKind::Team => "model_per_team",
        ScopeKind::TeamMember => "model_per_team_member",
        ScopeKind::Organization => "model_per_organization",
        ScopeKind::EndUser => "model_per_end_user",
        ScopeKind::Tag => "model_per_tag",
        ScopeKind::Proxy => "model",
    }
}

/// What a limit bears on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitKind {
    /// Requests per window.
    Requests,
    /// Tokens per window.
    Tokens,
    /// Tokens per day.
    TokensPerDay,
    /// Requests at once.
    Parallel,
}

impl LimitKind {
    /// LiteLLM's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::TokensPerDay => "tokens_per_day",
            Self::Parallel => "max_parallel_requests",
        }
    }
}

impl From<Bound> for LimitKind {
    fn from(bound: Bound) -> Self {
        match bound {
            Bound::Calls => Self::Requests,
            Bound::Amount => Self::Tokens,
            Bound::Inside => Self::Parallel,
        }
    }
}

/// A call that a limit refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The descriptor's name.
    pub key: &'static str,
    /// Who or what, as [`Descriptor::value`] says it.
    pub value: String,
    /// Which limit.
    pub kind: LimitKind,
    /// The limit.
    pub limit: u64,
    /// What is taken of it, without the refused call.
    pub current: u64,
    /// When the window is over. For requests at once nobody knows; it is the length of a window.
    pub resets_in: Duration,
}

/// Why a call is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotAdmitted {
    /// A limit refuses it.
    #[error("{} of {} {} is {}", .0.kind.name(), .0.key, .0.value, .0.limit)]
    Over(Refusal),
    /// A budget that gateways have in common refuses it.
    #[error(transparent)]
    OverBudget(Exceeded),
    /// Nobody can tell what all gateways together have admitted, and [`Rules::fails_closed`].
    #[error("the limits that gateways share cannot be looked up: {0}")]
    Unavailable(StateError),
}

/// How limits are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `LITELLM_RATE_LIMIT_WINDOW_SIZE`
    pub window: Duration,
    /// `general_settings.fail_closed_rate_limit_enforcement`: without the shared store nothing is admitted; else each gateway counts
    /// for itself then.
    pub fails_closed: bool,
    /// `LEGACY_MULTI_INSTANCE_RATE_LIMITING`: windows are the minutes of the calendar.
    pub by_calendar: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            window: Duration::from_secs(60),
            fails_closed: false,
            by_calendar: false,
        }
    }
}

/// Counts what callers take of their limits.
#[derive(Default)]
pub struct Limiter {
    meters: Meters,
    rules: ArcSwap<Rules>,
    shared: ArcSwapOption<Shared>,
}

impl Limiter {
    /// One that shares with nobody.
    #[must_use]
    pub fn new(rules: Rules) -> Arc<Limiter> {
        let limiter = Limiter::default();
        limiter.rules.store(Arc::new(rules));
        Arc::new(limiter)
    }

    /// Goes on with other rules, and with this store in common with other gateways; what was admitted stays so.
    pub fn configure(&self, rules: Rules, store: Option<&Store>) {
        self.rules.store(Arc::new(rules));
        let serving = self.shared.load_full();
        let same = match (&serving, store) {
            (None, None) => true,
            (Some(serving), Some(store)) => serving.is_through(store),
            _ => false,
        };
        if !same {
            let shared = store.map(|store| Arc::new(Shared::new(store.clone())));
            self.shared.store(shared);
        }
    }

    /// The rules that hold.
    #[must_use]
    pub fn rules(&self) -> Rules {
        **self.rules.load()
    }

    /// Admits a call that will take about so many tokens and has reserved so much of budgets, or takes nothing. `now` is of a clock that
    /// never goes back, `unix_s` the calendar's. With a shared store it waits for that once, when there is a limit or a budget; otherwise
    /// for nobody.
    ///
    /// # Errors
    /// When a limit refuses it, or a budget that others have drawn on, too; or limits cannot be looked up.
    pub async fn admit(
        self: &Arc<Self>,
        descriptors: &[Descriptor<'_>],
        tokens: u64,
        reservation: Option<&Reservation>,
        now: Duration,
        unix_s: u64,
    ) -> Result<Admitted, NotAdmitted> {
        let shared = self.shared.load_full();
        let reservation = reservation.filter(|own| shared.is_some() && own.is_shared());
        if descriptors.is_empty() && reservation.is_none() {
            return Ok(Admitted::nothing());
        }
        let rules = self.rules();
        let wanted = self.wanted(descriptors, tokens, now, unix_s, rules);
        let Some(shared) = shared else {
            let levels = here(&wanted, now, rules.window)
                .map_err(|full| wanted.refused(&full, descriptors, rules))?;
            return Ok(Admitted::of(&wanted, descriptors, &levels));
        };
        if let Some(full) = known_full(&wanted, now) {
            return Err(wanted.refused(&full, descriptors, rules));
        }
        let drawing = reservation.and_then(Reservation::drawing);
        match shared.pass(&wanted, drawing, now, rules.window).await {
            Ok(Asked::In(levels, member)) => {
                let admitted = Admitted::of(&wanted, descriptors, &levels);
                Ok(admitted.shared(shared, member))
            }
            Ok(Asked::Full(full)) => Err(wanted.refused(&full, descriptors, rules)),
            Ok(Asked::Exceeded(exceeded)) => Err(NotAdmitted::OverBudget(exceeded)),
            Err(error) if rules.fails_closed && !descriptors.is_empty() => {
                Err(NotAdmitted::Unavailable(error))
            }
            Err(error) => {
                tracing::debug!(%error, "this gateway limits by what it knows itself");
                let levels = here(&wanted, now, rules.window)
                    .map_err(|full| wanted.refused(&full, descriptors, rules))?;
                Ok(Admitted::of(&wanted, descriptors, &levels))
            }
        }
    }

    /// What a call wants of which meters; of a meter that several name, as little as the least of them allows.
    fn wanted(
        &self,
        descriptors: &[Descriptor<'_>],
        tokens: u64,
        now: Duration,
        unix_s: u64,
        rules: Rules,
    ) -> Wanted {
        let mut wants: Vec<Want> = Vec::with_capacity(descriptors.len());
        let mut name = String::with_capacity(96);
        let mut want = |at: usize, limits: Limits, minute: Option<u64>, is_day: bool| {
            descriptors[at].meter_name(minute, is_day, &mut name);
            let meter = self
                .meters
                .get_or(&name, || Meter::new(&name), |meter| meter.is_idle(now));
            match wants
                .iter_mut()
                .find(|want| Arc::ptr_eq(&want.meter, &meter))
            {
                Some(known) => known.limits = least(known.limits, limits),
                None => wants.push(Want {
                    at,
                    meter,
                    limits,
                    window: is_day.then_some(DAY),
                }),
            }
        };
        for (at, descriptor) in descriptors.iter().enumerate() {
            let day = descriptor.limits.tpd;
            let limits = Limits {
                tpd: None,
                ..descriptor.limits
            };
            match rules.by_calendar {
                false if limits.is_empty() => {}
                false => want(at, limits, None, false),
                true => {
                    let counted = Limits {
                        parallel: None,
                        ..limits
                    };
                    let inside = Limits {
                        rpm: None,
                        tpm: None,
                        ..limits
                    };
                    if !counted.is_empty() {
                        want(at, counted, Some(unix_s / 60), false);
                    }
                    if !inside.is_empty() {
                        want(at, inside, None, false);
                    }
                }
            }
            if day.is_some() {
                let limits = Limits {
                    tpm: day,
                    ..Limits::default()
                };
                want(at, limits, None, true);
            }
        }
        Wanted { wants, tokens }
    }
}

/// What a call wants.
struct Wanted {
    wants: Vec<Want>,
    tokens: u64,
}

/// What it wants of one meter.
struct Want {
    /// Whose descriptor it is.
    at: usize,
    meter: Arc<Meter>,
    limits: Limits,
    /// How long its window is, when it is no minute.
    window: Option<Duration>,
}

impl Want {
    /// Whether the call is inside until it ends.
    fn holds(&self) -> bool {
        self.limits.tpm.is_some() || self.limits.parallel.is_some()
    }
}

/// A meter that refuses.
struct Full {
    /// Which one of those wanted.
    want: usize,
    kind: LimitKind,
    level: GateLevel,
}

impl Wanted {
    fn refused(&self, full: &Full, descriptors: &[Descriptor<'_>], rules: Rules) -> NotAdmitted {
        let want = &self.wants[full.want];
        let descriptor = &descriptors[want.at];
        let (limit, current) = match full.kind {
            LimitKind::Requests => (want.limits.rpm, full.level.calls),
            LimitKind::Tokens | LimitKind::TokensPerDay => (want.limits.tpm, full.level.amount),
            LimitKind::Parallel => (want.limits.parallel, full.level.inside),
        };
        NotAdmitted::Over(Refusal {
            key: descriptor.key,
            value: descriptor.value(),
            kind: match full.kind {
                LimitKind::Tokens if want.window.is_some() => LimitKind::TokensPerDay,
                kind => kind,
            },
            limit: limit.unwrap_or(0),
            current,
            resets_in: match full.kind {
                LimitKind::Parallel => rules.window,
                LimitKind::Requests | LimitKind::Tokens | LimitKind::TokensPerDay => {
                    full.level.left
                }
            },
        })
    }
}

/// The meters of a call, each locked. They are locked in one order by everybody, so that nobody waits for each other.
fn locked(wanted: &Wanted) -> Vec<MutexGuard<'_, State>> {
    let wants = &wanted.wants;
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_unstable_by_key(|at| Arc::as_ptr(&wants[*at].meter) as usize);
    let mut guards: Vec<Option<MutexGuard<'_, State>>> = Vec::with_capacity(wants.len());
    guards.resize_with(wants.len(), || None);
    for at in order {
        guards[at] = Some(wants[at].meter.state.lock());
    }
    guards.into_iter().flatten().collect()
}

/// Takes everything that is wanted from what this gateway knows, or nothing.
fn here(wanted: &Wanted, now: Duration, window: Duration) -> Result<Vec<GateLevel>, Full> {
    let mut states = locked(wanted);
    for kind in [LimitKind::Requests, LimitKind::Parallel, LimitKind::Tokens] {
        for (at, (want, state)) in wanted.wants.iter().zip(&states).enumerate() {
            let level = state.level(now, want.window.unwrap_or(window));
            let (limit, is, more) = match kind {
                LimitKind::Requests => (want.limits.rpm, level.calls, 1),
                LimitKind::Parallel => (want.limits.parallel, level.inside, 1),
                LimitKind::Tokens | LimitKind::TokensPerDay => {
                    (want.limits.tpm, level.amount, wanted.tokens)
                }
            };
            if limit.is_some_and(|limit| is.saturating_add(more) > limit) {
                let want = at;
                return Err(Full { want, kind, level });
            }
        }
    }
    let take = |(want, state): (&Want, &mut MutexGuard<'_, State>)| {
        let window = want.window.unwrap_or(window);
        state.take(want, wanted.tokens, now, window);
        state.level(now, window)
    };
    Ok(wanted.wants.iter().zip(&mut states).map(take).collect())
}

/// A meter of which this gateway knows that it refuses, whatever the others have admitted: its own calls are too many, or the
/// shared store has told that the window is full.
fn known_full(wanted: &Wanted, now: Duration) -> Option<Full> {
    wanted.wants.iter().enumerate().find_map(|(at, want)| {
        let state = want.meter.state.lock();
        let level = state.level(now, Duration::ZERO);
        let calls = want
            .limits
            .rpm
            .is_some_and(|limit| state.is_told && level.calls >= limit);
        let inside = want
            .limits
            .parallel
            .is_some_and(|limit| level.inside >= limit);
        let kind = match (calls, inside) {
            (true, _) => LimitKind::Requests,
            (false, true) => LimitKind::Parallel,
            (false, false) => return None,
        };
        Some(Full {
            want: at,
            kind,
            level,
        })
    })
}

fn least(one: Limits, other: Limits) -> Limits {
    let least = |one: Option<u64>, other: Option<u64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    Limits {
        rpm: least(one.rpm, other.rpm),
        tpm: least(one.tpm, other.tpm),
        tpd: least(one.tpd, other.tpd),
        parallel: least(one.parallel, other.parallel),
    }
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limiter")
            .field("rules", &self.rules())
            .field("is_shared", &self.shared.load().is_some())
            .finish_non_exhaustive()
    }
}

impl Limiter {
    /// Tells the shared store which calls have ended, until `stop`, and that the others have not. Must run for as long as a store is
    /// shared; without one it waits.
    pub async fn keep_shared(self: Arc<Self>, stop: impl Future<Output = ()>) {
        shared::keep(&self, stop).await;
    }

    /// Places that calls of this gateway hold, over all limits. Not for the request path.
    #[must_use]
    pub fn under_way(&self) -> u64 {
        let mut sum = 0;
        self.meters.each(|meter| sum += meter.state.lock().inside);
        sum
    }

    /// What is used of a descriptor's limits, as far as this gateway knows. With a shared store that is how it stood when a call
    /// of this gateway was counted last.
    #[must_use]
    pub fn used(&self, descriptor: &Descriptor<'_>, now: Duration, unix_s: u64) -> Used {
        let mut name = String::with_capacity(96);
        let minute = self.rules().by_calendar.then_some(unix_s / 60);
        descriptor.meter_name(minute, false, &mut name);
        let Some(meter) = self.meters.get(&name) else {
            return Used::default();
        };
        let level = meter.state.lock().level(now, Duration::ZERO);
        Used {
            requests: level.calls,
            tokens: level.amount,
        }
    }

    /// The meters, for whoever looks at all.
    fn meters(&self) -> &Shards<Meter> {
        &self.meters
    }
}
