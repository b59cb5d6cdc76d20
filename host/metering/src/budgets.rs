//! Money: what has been spent of which budget, and what calls under way may still cost.
//!
//! Source: LiteLLM's budget checks in `auth_checks`, its spend counters and its budget reservation. An account is what this gateway
//! knows of a scope's spend: the database's figure, raised by every call since. A call is let in when what is spent and reserved
//! leaves room, and its own estimate is reserved in the same step; so a budget is passed by no more than calls let in before it was full.
//! With a store in common that is so for all gateways together: what is reserved here draws on accounts there before the call is admitted.

mod account;
mod exchange;
mod facts;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::{SignedDuration, Timestamp};
use parking_lot::MutexGuard;
use rust_decimal::Decimal;
use thiserror::Error;
use witgate_identity::{BudgetWindow, ModelScope, Scope, ScopeKind};

use crate::limits::models;
use crate::shards::Shards;
use account::{Account, State};
pub(crate) use exchange::Drawing;
use exchange::Sharing;
pub use facts::{Crossing, Fact};

/// Accounts that nobody has used for so long are forgotten; by then the database has all of it.
const IDLE: Duration = Duration::from_secs(600);

/// How long a fact about a budget without a period is not told again.
const SILENCE: Duration = Duration::from_secs(86_400);

/// What a call has to do with one budget.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// Whose it is.
    pub scope: &'a Scope,
    /// The model, when it is the budget of one.
    pub model: Option<&'a ModelScope>,
    /// The window, when it is one of several budgets (`budget_limits`).
    pub window: Option<&'a BudgetWindow>,
    /// US dollars at which calls are refused; `None` only counts. What is [for a time](Scope::raised) is part of it.
    pub max: Option<Decimal>,
}

/// What the scopes have to do with a call of a model group, which is known by these names, in the order in which LiteLLM looks at budgets.
///
/// Scopes without a budget are not in it but for keys, whose spend replies tell.
pub fn charges<'a>(
    scopes: impl IntoIterator<Item = &'a Scope>,
    groups: &[&str],
) -> Vec<Charge<'a>> {
    let mut found = Vec::new();
    for scope in scopes {
        if scope.budget.is_some() || scope.kind == ScopeKind::Key {
            found.push(Charge {
                scope,
                model: None,
                window: None,
                max: scope.budget.as_ref().and_then(|budget| budget.max),
            });
        }
        let budgets = models(scope, groups).filter_map(|model| Some((model, model.budget?.0)));
        found.extend(budgets.map(|(model, max)| Charge {
            scope,
            model: Some(model),
            window: None,
            max: Some(max),
        }));
        found.extend(scope.windows.iter().map(|window| Charge {
            scope,
            model: None,
            window: Some(window),
            max: Some(window.max),
        }));
    }
    found.sort_by_key(|charge| order(charge.scope.kind));
    found
}

/// The order of LiteLLM's checks: those of the end user and the key, then the common ones.
const fn order(kind: ScopeKind) -> u8 {
    match kind {
        ScopeKind::EndUser => 0,
        ScopeKind::TeamMember => 1,
        ScopeKind::Key => 2,
        ScopeKind::Team => 3,
        ScopeKind::Organization => 4,
        ScopeKind::Tag => 5,
        ScopeKind::User => 6,
        ScopeKind::Proxy => 7,
    }
}

/// Whether calls are refused once a budget is used up to the last cent; otherwise once it is passed.
#[must_use]
pub const fn refuses_at_max(kind: ScopeKind) -> bool {
    match kind {
        ScopeKind::Key | ScopeKind::User | ScopeKind::TeamMember | ScopeKind::Organization => true,
        ScopeKind::Team | ScopeKind::EndUser | ScopeKind::Tag | ScopeKind::Proxy => false,
    }
}

impl Charge<'_> {
    /// Whether it is the scope's own budget, whose spend is the scope's.
    fn is_whole(&self) -> bool {
        self.model.is_none() && self.window.is_none()
    }

    /// Whether calls are refused once the budget is used up to the last cent. Budgets of a model are, whoever has them.
    fn is_full_at_max(&self) -> bool {
        self.model.is_some() || self.window.is_some() || refuses_at_max(self.scope.kind)
    }

    /// What may be spent now: of a scope that was kept for a while, what was for a time may be over.
    fn max_at(&self, now: Timestamp) -> Option<Decimal> {
        let raised = self.scope.raised.filter(|_| self.is_whole());
        let over = raised.filter(|(_, until)| *until <= now);
        Some(self.max? - over.map_or(Decimal::ZERO, |(by, _)| by))
    }

    /// Whether what is spent and reserved leaves no room.
    fn is_full(&self, committed: Decimal, now: Timestamp) -> bool {
        self.max_at(now)
            .is_some_and(|max| match self.is_full_at_max() {
                true => committed >= max,
                false => committed > max,
            })
    }

    /// The name of the account.
    fn name(&self, name: &mut String) {
        name.clear();
        match self.model {
            // An end user may be called like another one and a model.
            Some(_) => account_name(name, [entity(self.scope.kind), "_model"], &self.scope.id),
            None => account_name(name, [entity(self.scope.kind), ""], &self.scope.id),
        }
        if let Some(window) = self.window {
            for part in [":window:", &window.length_s.to_string(), "s"] {
                name.push_str(part);
            }
        }
        if let Some(model) = self.model {
            let window = model.budget.map_or(0, |(_, window)| window);
            for part in [":", &model.model, ":", &window.to_string(), "s"] {
                name.push_str(part);
            }
        }
    }
}

/// LiteLLM's names of the spend counters, but for the word before them.
fn account_name(name: &mut String, [entity, of_what]: [&str; 2], id: &str) {
    for part in [entity, of_what, ":", id] {
        name.push_str(part);
    }
}

const fn entity(kind: ScopeKind) -> &'static str {
    match kind {
        ScopeKind::Organization => "org",
        kind => kind.descriptor(),
    }
}

/// A call that a budget refuses.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the budget is used up: {spent} of {max}")]
pub struct Exceeded {
    /// Which of the charges refuses.
    pub at: usize,
    /// US dollars spent, and reserved by calls under way.
    pub spent: Decimal,
    /// What may be spent.
    pub max: Decimal,
}

/// What is spent and reserved of all budgets.
pub struct Books {
    accounts: Shards<Account>,
    silence_s: AtomicU64,
    sharing: ArcSwapOption<Sharing>,
}

impl Default for Books {
    fn default() -> Self {
        Books {
            accounts: Shards::default(),
            silence_s: AtomicU64::new(SILENCE.as_secs()),
            sharing: ArcSwapOption::empty(),
        }
    }
}

impl Books {
    /// Empty ones.
    #[must_use]
    pub fn new() -> Arc<Books> {
        Arc::default()
    }

    /// `alerting_args.budget_alert_ttl`: how long a fact about a budget that has no period is not told again; `None` is a day.
    pub fn silence(&self, silence: Option<Duration>) {
        let seconds = silence.unwrap_or(SILENCE).as_secs();
        self.silence_s.store(seconds, Relaxed);
    }

    /// Lets a call in that will cost about `estimate`, and reserves that of every budget; or reserves nothing. Waits for nobody: what other
    /// gateways have in common with this one is asked when the call is admitted ([`Limiter::admit`](crate::Limiter::admit)).
    ///
    /// # Errors
    /// When a budget has no room left: the first one in the order of the charges.
    pub fn reserve(
        self: &Arc<Self>,
        charges: &[Charge<'_>],
        estimate: Decimal,
        now: Timestamp,
    ) -> Result<Reservation, Exceeded> {
        let mut accounts: Vec<Arc<Account>> = Vec::with_capacity(charges.len());
        // Of a budget that is named twice, one account.
        let mut names = String::with_capacity(96);
        let mut of_charge = Vec::with_capacity(charges.len());
        for charge in charges {
            charge.name(&mut names);
            let make = || Account::new(charge, &names);
            let account = self
                .accounts
                .get_or(&names, make, |account| account.is_idle(now));
            let known = accounts
                .iter()
                .position(|known| Arc::ptr_eq(known, &account));
            of_charge.push(known.unwrap_or(accounts.len()));
            if known.is_none() {
                accounts.push(account);
            }
        }
        let mut key_spend = None;
        let mut states = locked(&accounts);
        for (at, (charge, of)) in charges.iter().zip(&of_charge).enumerate() {
            let (Some(state), Some(account)) = (states.get_mut(*of), accounts.get(*of)) else {
                continue;
            };
            state.note(account, charge, now);
            let spent = state.spent(account, now);
            let committed = add(spent, state.reserved);
            if charge.is_full(committed, now) {
                return Err(Exceeded {
                    at,
                    spent: committed,
                    max: charge.max_at(now).unwrap_or_default(),
                });
            }
            if charge.scope.kind == ScopeKind::Key && charge.is_whole() {
                key_spend = Some(spent);
            }
        }
        for state in &mut states {
            state.reserved = add(state.reserved, estimate);
        }
        drop(states);
        let sharing = self.sharing.load_full();
        let bounds = match &sharing {
            Some(_) => bounds(charges, &of_charge, &accounts, now),
            None => Vec::new(),
        };
        Ok(Reservation {
            accounts,
            estimate,
            key_spend,
            silence_s: self.silence_s.load(Relaxed),
            begun: now,
            bounds,
            sharing,
        })
    }

    /// What this gateway knows to be spent by a scope, in US dollars; `None` when it knows of nothing.
    #[must_use]
    pub fn spent(&self, kind: ScopeKind, id: &str, now: Timestamp) -> Option<Decimal> {
        let mut name = String::new();
        account_name(&mut name, [entity(kind), ""], id);
        let account = self.accounts.get(&name)?;
        let state = account.state.lock();
        Some(state.spent(&account, now))
    }

    /// US dollars that calls of this gateway have reserved, over all budgets. Not for the request path.
    #[must_use]
    pub fn reserved(&self) -> Decimal {
        let mut sum = Decimal::ZERO;
        self.accounts
            .each(|account| sum = add(sum, account.state.lock().reserved));
        sum
    }

    /// A scope's spend has been set in the database: at the end of its period to nothing, or by an administrator. `resets_at` is
    /// when it is set back next. Nothing else lowers what an account knows, but a scope that comes with a later `resets_at`.
    pub fn set_spent(
        &self,
        kind: ScopeKind,
        id: &str,
        spent: Decimal,
        resets_at: Option<Timestamp>,
    ) {
        let mut name = String::new();
        account_name(&mut name, [entity(kind), ""], id);
        if let Some(account) = self.accounts.get(&name) {
            account.state.lock().set_back(spent, resets_at);
        }
    }
}

/// What an admitted call has reserved. It is given back once: by [`Reservation::settle`], which puts the real cost in its place, or
/// when it is dropped.
#[derive(Debug, Default)]
pub struct Reservation {
    accounts: Vec<Arc<Account>>,
    estimate: Decimal,
    key_spend: Option<Decimal>,
    silence_s: u64,
    begun: Timestamp,
    /// What may refuse it for all gateways together.
    bounds: Vec<Bound>,
    /// Whom its end is told.
    sharing: Option<Arc<Sharing>>,
}

/// What a call's cost means for its budgets.
#[derive(Debug, Default)]
pub struct Settled {
    /// For whoever tells people.
    pub facts: Vec<Fact>,
    /// The windows of `budget_limits` in which it was spent, for whoever keeps them.
    pub windows: Vec<SpentIn>,
}

/// A window of `budget_limits` in which something was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpentIn {
    /// Whose it is.
    pub kind: ScopeKind,
    /// Which one.
    pub id: String,
    /// LiteLLM's `budget_duration`.
    pub duration: String,
    /// How long the window is, in seconds.
    pub length_s: u64,
    /// When it began, seconds since the epoch.
    pub start_s: i64,
}

/// A budget that may refuse a call.
#[derive(Debug)]
struct Bound {
    account: Arc<Account>,
    /// Which of the charges it is.
    charge: usize,
    max: Decimal,
    is_full_at_max: bool,
}

/// What refuses at each account, the least when there are several. An amount beyond what a store counts exactly each gateway holds for
/// itself.
fn bounds(
    charges: &[Charge<'_>],
    of_charge: &[usize],
    accounts: &[Arc<Account>],
    now: Timestamp,
) -> Vec<Bound> {
    let mut found: Vec<Bound> = Vec::new();
    for (at, (charge, of)) in charges.iter().zip(of_charge).enumerate() {
        let max = charge.max_at(now).filter(|max| exchange::is_exact(*max));
        let (Some(max), Some(account)) = (max, accounts.get(*of)) else {
            continue;
        };
        let bound = Bound {
            account: account.clone(),
            charge: at,
            max,
            is_full_at_max: charge.is_full_at_max(),
        };
        let known = found
            .iter_mut()
            .find(|known| Arc::ptr_eq(&known.account, account));
        match known {
            Some(known) if bound.max < known.max => *known = bound,
            Some(_) => {}
            None => found.push(bound),
        }
    }
    found
}

impl Reservation {
    /// US dollars that the key had spent before this call; `None` without a key.
    #[must_use]
    pub fn key_spend(&self) -> Option<Decimal> {
        self.key_spend
    }

    /// The call has cost this many US dollars. What that means for the budgets comes back.
    pub fn settle(self, cost: Decimal, now: Timestamp) -> Settled {
        self.settle_for(cost, now, |_| true)
    }

    /// The same of those budgets alone that bear the cost: told by the model, of a budget that is one's.
    pub fn settle_for(
        mut self,
        all: Decimal,
        now: Timestamp,
        bears: impl Fn(Option<&str>) -> bool,
    ) -> Settled {
        let mut settled = Settled::default();
        let silence = SignedDuration::from_secs(i64::try_from(self.silence_s).unwrap_or(i64::MAX));
        self.end(|account, state| {
            let model = account.model.as_ref().map(|(model, _)| &**model);
            let cost = match bears(model) {
                true => all,
                false => Decimal::ZERO,
            };
            state.spend(account, cost, now);
            state.facts(account, now, silence, &mut settled.facts);
            if !cost.is_zero() {
                settled.windows.extend(state.spent_in(account));
            }
        });
        settled
    }

    /// Gives back what is reserved, and does the rest with each account at the same moment.
    fn end(&mut self, mut and: impl FnMut(&Account, &mut State)) {
        let estimate = self.estimate;
        let mut ended = std::mem::take(&mut self.accounts);
        ended.retain(|account| {
            let mut state = account.state.lock();
            state.release(estimate);
            and(account, &mut state);
            state.becomes_fresh()
        });
        if let Some(sharing) = self.sharing.as_ref().filter(|_| !ended.is_empty()) {
            sharing.ended(ended);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end(|_, _| {});
    }
}

/// The accounts, each locked. They are locked in one order by everybody, so that nobody waits for each other.
fn locked(accounts: &[Arc<Account>]) -> Vec<MutexGuard<'_, State>> {
    let mut order: Vec<usize> = (0..accounts.len()).collect();
    order.sort_unstable_by_key(|at| Arc::as_ptr(&accounts[*at]) as usize);
    let mut guards: Vec<Option<MutexGuard<'_, State>>> = Vec::with_capacity(accounts.len());
    guards.resize_with(accounts.len(), || None);
    for at in order {
        guards[at] = Some(accounts[at].state.lock());
    }
    guards.into_iter().flatten().collect()
}

/// A sum; at the end of the number range it stays there.
fn add(one: Decimal, other: Decimal) -> Decimal {
    one.checked_add(other).unwrap_or(Decimal::MAX)
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books").finish_non_exhaustive()
    }
}
