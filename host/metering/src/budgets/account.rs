//! What this gateway knows of one budget.

use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rust_decimal::Decimal;
use witgate_identity::{BudgetWindow, ScopeKind};

use super::facts::Told;
use super::{Charge, IDLE, SpentIn, add};
use crate::durations::Period;

/// One budget's account.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: Box<str>,
    pub(super) kind: ScopeKind,
    pub(super) id: Box<str>,
    /// The model (empty for all of them), and how long the window is that begins with the first spend, for a budget of one.
    pub(super) model: Option<(Box<str>, Duration)>,
    /// What the window is called, for one of `budget_limits`.
    duration: Option<Box<str>>,
    pub(super) state: Mutex<State>,
}

/// What is spent, and what of that others know.
#[derive(Debug, Default)]
pub(super) struct State {
    /// US dollars, of the window for the budget of a model.
    spent: Decimal,
    /// What calls under way may cost.
    pub(super) reserved: Decimal,
    /// The part of `spent` that other gateways have not been told.
    pub(super) untold: Decimal,
    /// The part of `spent` that is being told: nobody knows yet whether it was heard.
    pub(super) telling: Decimal,
    /// What the database had when the scope was read last.
    seed: Option<Decimal>,
    pub(super) resets_at: Option<Timestamp>,
    /// How often the spend was set back, as far as this gateway and those it shares with know.
    pub(super) generation: u64,
    /// When the window began, seconds since the epoch.
    pub(super) window_start: Option<i64>,
    /// Used since others were heard last.
    pub(super) is_used: bool,
    used_at: Timestamp,
    /// What is held here has been stated to others, last with this number.
    pub(super) is_stated: bool,
    pub(super) number: u64,
    /// Calls that ask the store for this account, and have no answer yet, in the order of their numbers.
    pub(super) asking: Vec<Asking>,
    /// The number of what was stated last while calls asked; that is to be stated again.
    pub(super) before: u64,
    pub(super) is_behind: bool,
    /// Less is held than was stated, and that is about to be told.
    pub(super) is_fresh: bool,
    pub(super) terms: Terms,
    pub(super) told: Told,
}

/// A call that is not let in yet.
#[derive(Debug)]
pub(super) struct Asking {
    /// Of its statement.
    pub(super) number: u64,
    /// What of the reserved is its own.
    pub(super) estimate: Decimal,
}

/// What the budget says.
#[derive(Debug, Default)]
pub(super) struct Terms {
    pub(super) max: Option<Decimal>,
    pub(super) soft: Option<Decimal>,
    pub(super) alias: Option<Box<str>>,
    /// When the period began, where it is known.
    pub(super) since: Option<Timestamp>,
}

impl Account {
    pub(super) fn new(charge: &Charge<'_>, name: &str) -> Account {
        let window = charge
            .window
            .map(|window| (Box::from(""), Duration::from_secs(window.length_s)));
        let model = charge.model.and_then(|model| {
            let (_, window_s) = model.budget?;
            Some((model.model.as_str().into(), Duration::from_secs(window_s)))
        });
        Account {
            name: name.into(),
            kind: charge.scope.kind,
            id: charge.scope.id.as_str().into(),
            model: model.or(window),
            duration: charge.window.map(|window| window.duration.as_str().into()),
            state: Mutex::default(),
        }
    }

    /// Whether its window is over that began then, seconds since the epoch.
    fn is_over_since(&self, start: i64, now: Timestamp) -> bool {
        self.model.as_ref().is_some_and(|(_, length)| {
            let since = now.as_second().saturating_sub(start);
            u64::try_from(since).is_ok_and(|since| since > length.as_secs())
        })
    }

    /// Whether nothing would be known less without it.
    pub(super) fn is_idle(&self, now: Timestamp) -> bool {
        let state = self.state.lock();
        let unused = now.duration_since(state.used_at);
        let is_known_elsewhere = match &self.model {
            Some(_) => state.is_over(self, now),
            None => unused.as_secs() > IDLE.as_secs() as i64,
        };
        is_known_elsewhere && state.reserved.is_zero()
    }
}

impl State {
    /// Takes over what a call's scope says of the budget, and what the database had spent.
    pub(super) fn note(&mut self, account: &Account, charge: &Charge<'_>, now: Timestamp) {
        (self.used_at, self.is_used) = (now, true);
        self.terms.max = charge.max_at(now);
        if let Some(window) = charge.window {
            self.note_window(account, window, now);
        }
        if account.model.is_some() {
            return;
        }
        let scope = charge.scope;
        if self.terms.alias.as_deref() != scope.alias.as_deref() {
            self.terms.alias = scope.alias.as_deref().map(Into::into);
        }
        let budget = scope.budget.as_ref();
        self.terms.soft = budget.and_then(|budget| budget.soft);
        let resets_at = budget.and_then(|budget| budget.resets_at);
        if resets_at != self.resets_at {
            let is_new_period = match (self.resets_at, resets_at) {
                (Some(known), Some(next)) => next > known,
                _ => false,
            };
            self.resets_at = resets_at;
            let duration = budget.and_then(|budget| budget.duration.as_deref());
            self.terms.since = since(duration, resets_at);
            if is_new_period {
                self.begin(scope.spent);
            }
        }
        if self.seed != Some(scope.spent) {
            self.seed = Some(scope.spent);
            self.spent = self.spent.max(scope.spent);
        }
    }

    /// Takes over what the database knew of a window, where that is news: one that runs and is not known here, that began before, or
    /// in which more was spent.
    fn note_window(&mut self, account: &Account, window: &BudgetWindow, now: Timestamp) {
        let Some((start, spent)) = window.known else {
            return;
        };
        let start = start.as_second();
        if account.is_over_since(start, now) {
            return;
        }
        let own = self.window_start.filter(|_| !self.is_over(account, now));
        match own {
            None => {
                (self.spent, self.untold) = (spent, Decimal::ZERO);
                self.window_start = Some(start);
                self.told = Told::default();
            }
            Some(own) if start <= own => {
                self.spent = self.spent.max(spent);
                self.window_start = Some(start);
            }
            Some(_) => {}
        }
    }

    /// The window in which something was spent, when it is one of `budget_limits`.
    pub(super) fn spent_in(&self, account: &Account) -> Option<SpentIn> {
        let (duration, (_, length)) = (account.duration.as_ref()?, account.model.as_ref()?);
        Some(SpentIn {
            kind: account.kind,
            id: account.id.to_string(),
            duration: duration.to_string(),
            length_s: length.as_secs(),
            start_s: self.window_start?,
        })
    }

    /// What is spent now.
    pub(super) fn spent(&self, account: &Account, now: Timestamp) -> Decimal {
        match self.is_over(account, now) {
            true => Decimal::ZERO,
            false => self.spent,
        }
    }

    /// Whether there is no window, or one that is over.
    pub(super) fn is_over(&self, account: &Account, now: Timestamp) -> bool {
        match self.window_start {
            Some(start) => account.is_over_since(start, now),
            None => account.model.is_some(),
        }
    }

    /// What nobody was told of a window that is over went with it.
    pub(super) fn forget_over(&mut self, account: &Account, now: Timestamp) {
        if account.model.is_some() && self.is_over(account, now) {
            self.untold = Decimal::ZERO;
        }
    }

    pub(super) fn spend(&mut self, account: &Account, cost: Decimal, now: Timestamp) {
        if cost.is_zero() {
            return;
        }
        if self.is_over(account, now) {
            (self.spent, self.untold) = (Decimal::ZERO, Decimal::ZERO);
            self.window_start = Some(now.as_second());
            self.told = Told::default();
        }
        self.spent = add(self.spent, cost);
        self.untold = add(self.untold, cost);
        (self.used_at, self.is_used) = (now, true);
    }

    pub(super) fn release(&mut self, estimate: Decimal) {
        self.reserved = (self.reserved - estimate).max(Decimal::ZERO);
    }

    /// Whether a call's end is to be told that has not been yet.
    pub(super) fn becomes_fresh(&mut self) -> bool {
        self.is_stated && !std::mem::replace(&mut self.is_fresh, true)
    }

    /// The spend was set in the database.
    pub(super) fn set_back(&mut self, spent: Decimal, resets_at: Option<Timestamp>) {
        // What was read before it was set is not news: `seed` stays.
        self.begin(spent);
        self.resets_at = resets_at;
    }

    /// A new period begins.
    fn begin(&mut self, spent: Decimal) {
        (self.spent, self.untold) = (spent, Decimal::ZERO);
        self.generation += 1;
        self.is_used = true;
        self.told = Told::default();
    }

    /// All gateways together have spent this much, in the period or window that is known here, or in one that was not.
    pub(super) fn hear(&mut self, spent: Decimal, is_known: bool) {
        let spent = add(spent, self.untold);
        self.spent = match is_known {
            true => self.spent.max(spent),
            false => spent,
        };
        if !is_known {
            self.told = Told::default();
        }
    }
}

/// When the period began that ends then.
fn since(duration: Option<&str>, ends: Option<Timestamp>) -> Option<Timestamp> {
    let (ends, period) = (ends?, Period::parse(duration?).ok()?);
    let length = i64::try_from(period.seconds_from(ends)).ok()?;
    ends.checked_sub(jiff::SignedDuration::from_secs(length))
        .ok()
}
