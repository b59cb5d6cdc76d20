//! What gateways tell each other of what they spend and may still spend.
//!
//! Each adds what it has spent since it told last to one account per budget in the store that they share, and takes over the sum. What its
//! calls under way may cost, and what they have cost that it has not added yet, it states as held. A call that a budget may refuse draws
//! on the budget's account when it is admitted, with the limits in one script: it is let in when the sum and what all gateways hold leave
//! room. What was held is replaced by what was spent within milliseconds of the call's end. A gateway that was killed holds nothing when
//! its lease is over; what it had spent comes by the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use tokio::sync::Notify;
use uuid::Uuid;
use witgate_state::{Balance, Draw, EXACT, Holder, Posting, StateError, Store};

use super::account::{Account, Asking, State};
use super::{Books, Exceeded, Reservation, add as sum};
use crate::turn;

/// How long an account is kept that nobody adds to; then the database has all of it.
const KEPT: Duration = Duration::from_secs(3600);
/// Accounts in one go, so that the script is a short one.
const AT_ONCE: usize = 200;
/// A US dollar in the store's whole numbers. What is less is told when it has become one of them.
const UNITS: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// Statements are numbered in steps: what lies between is for what is stated while a call's draw is not answered.
const STEP: u64 = 1 << 8;
/// What accounts are called in the store.
const PREFIX: &str = "witgate:spend:";

/// Whom the books are shared with.
#[derive(Debug)]
pub(super) struct Sharing {
    store: Store,
    /// This gateway's name among the others.
    name: Box<str>,
    /// How long what it has stated counts when it says nothing any more.
    lease: Duration,
    /// The number of the next statement.
    next: AtomicU64,
    /// Accounts of which less is held than was stated.
    fresh: Mutex<Vec<Arc<Account>>>,
    woken: Notify,
}

impl Sharing {
    fn holder(&self) -> Holder<'_> {
        Holder {
            name: &self.name,
            lease: self.lease,
        }
    }

    /// Calls have ended that held something of these.
    pub(super) fn ended(&self, accounts: Vec<Arc<Account>>) {
        self.fresh.lock().extend(accounts);
        self.woken.notify_one();
    }

    /// Adds what was spent of these, states what is held, and takes over how they stand.
    async fn tell(&self, accounts: &[Arc<Account>], now: Timestamp) -> Result<(), StateError> {
        for some in accounts.chunks(AT_ONCE) {
            let telling: Vec<Telling> = some.iter().map(|one| self.telling(one, now)).collect();
            self.post(&telling, now).await?;
        }
        Ok(())
    }

    pub(super) async fn post(&self, telling: &[Telling], now: Timestamp) -> Result<(), StateError> {
        let postings = telling.iter().map(|one| one.posting(one.add));
        let postings: Vec<Posting<'_>> = postings.collect();
        match self.store.post(self.holder(), &postings).await {
            Ok(balances) => {
                for (one, balance) in telling.iter().zip(balances) {
                    one.account.hear(balance, now);
                }
                let again = telling.iter().filter(|one| one.account.is_told(one));
                let again: Vec<_> = again.map(|one| one.account.clone()).collect();
                if !again.is_empty() {
                    self.ended(again);
                }
                Ok(())
            }
            Err(error) => {
                // Told twice is worse than told late: sums are repaired upwards.
                let is_unsure = matches!(error, StateError::Timeout(_));
                for one in telling {
                    one.account.untold(one, is_unsure);
                }
                Err(error)
            }
        }
    }

    pub(super) fn telling(&self, account: &Arc<Account>, now: Timestamp) -> Telling {
        let mut state = account.state.lock();
        (state.is_used, state.is_fresh) = (false, false);
        state.forget_over(account, now);
        let add = units(state.untold);
        state.untold -= dollars(add);
        // Calls that are not let in yet hold nothing: of several gateways that hold as much, each would refuse the others', and a
        // budget with room would stay empty. The store may know better by now, so that this counts as said before them.
        let asking = state.asking.iter().map(|asking| asking.estimate);
        let asking = asking.fold(Decimal::ZERO, sum);
        let number = match state.asking.first().map(|oldest| oldest.number) {
            None => {
                let number = self.next.fetch_add(STEP, Relaxed);
                state.number = number;
                number
            }
            Some(oldest) => {
                let least = oldest.saturating_sub(STEP);
                state.before = (state.before.max(least) + 1).min(oldest - 1);
                state.is_behind = true;
                state.before
            }
        };
        let telling = self.statement(account, &mut state, (add, asking), number, now);
        state.telling = sum(state.telling, dollars(add));
        telling
    }

    /// How the account stands here, with what calls hold but those that are asking. What is being told counts as held: a later
    /// statement may arrive before it.
    fn statement(
        &self,
        account: &Arc<Account>,
        state: &mut State,
        (add, asking): (i64, Decimal),
        number: u64,
        now: Timestamp,
    ) -> Telling {
        let (generation, ttl) = match &account.model {
            None => (state.generation, KEPT),
            Some((_, length)) => {
                let start = state.window_start.filter(|_| !state.is_over(account, now));
                let since = start.map_or(0, |start| now.as_second() - start);
                let left = length
                    .as_secs()
                    .saturating_sub(u64::try_from(since).unwrap_or(0));
                let window = start.and_then(|start| u64::try_from(start).ok());
                (window.unwrap_or(0), Duration::from_secs(left + 1))
            }
        };
        let unheard = sum(state.untold, state.telling);
        let reserved = (state.reserved - asking).max(Decimal::ZERO);
        let held = units(sum(reserved, unheard));
        state.is_stated = true;
        Telling {
            account: account.clone(),
            key: format!("{PREFIX}{}", account.name),
            generation,
            sum: units(state.spent(account, now) - unheard).max(0),
            add,
            ttl,
            held,
            number,
        }
    }

    /// How many accounts wait to be told.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.fresh.lock().len()
    }

    pub(super) fn take_fresh(&self) -> Vec<Arc<Account>> {
        let mut fresh = std::mem::take(&mut *self.fresh.lock());
        // Once each: told twice at a time, the second would hold what the first is telling.
        fresh.sort_unstable_by_key(|account| Arc::as_ptr(account) as usize);
        fresh.dedup_by(|one, other| Arc::ptr_eq(one, other));
        fresh
    }
}

/// What is about to be told of an account.
#[derive(Debug)]
pub(super) struct Telling {
    account: Arc<Account>,
    key: String,
    generation: u64,
    sum: i64,
    add: i64,
    ttl: Duration,
    held: i64,
    number: u64,
}

impl Telling {
    fn posting(&self, add: i64) -> Posting<'_> {
        Posting {
            account: &self.key,
            generation: self.generation,
            sum: self.sum,
            add,
            ttl: self.ttl,
            is_window: self.account.model.is_some(),
            held: self.held,
            number: self.number,
        }
    }
}

impl Books {
    /// Shares through this store from now on, as long as what is held counts of a gateway that says nothing any more; with `None`
    /// through none. What is held is stated anew at other stores.
    pub fn share(&self, store: Option<(&Store, Duration)>) {
        let serving = self.sharing.load_full();
        let is_same = match (&serving, store) {
            (None, None) => true,
            (Some(serving), Some((store, lease))) => {
                let (own, other) = (serving.store.as_redis(), store.as_redis());
                let is_through = own
                    .zip(other)
                    .is_some_and(|(own, other)| Arc::ptr_eq(own, other));
                is_through && serving.lease == lease
            }
            _ => false,
        };
        if !is_same {
            let sharing = store.map(|(store, lease)| Sharing {
                store: store.clone(),
                name: Uuid::new_v4().simple().to_string().into(),
                lease,
                next: AtomicU64::new(STEP),
                fresh: Mutex::default(),
                woken: Notify::new(),
            });
            self.sharing.store(sharing.map(Arc::new));
        }
    }

    /// Tells what was spent here since the last time and what is held, and hears what was spent elsewhere; of budgets that calls have used
    /// since or hold something of, and no others. Without a store it does nothing. Not for the request path.
    ///
    /// # Errors
    /// When the store does not serve. What was not told is told the next time; where nobody can tell whether it was, it counts as told.
    pub async fn exchange(&self, now: Timestamp) -> Result<(), StateError> {
        let Some(sharing) = self.sharing.load_full() else {
            return Ok(());
        };
        let mut used = Vec::new();
        self.accounts.each(|account| {
            let state = account.state.lock();
            if state.is_used || state.is_stated {
                used.push(account.clone());
            }
        });
        sharing.tell(&used, now).await
    }

    /// Tells of calls that have ended, until `stop`. Must run for as long as a store is shared; without one it waits. `now` reads the
    /// calendar.
    pub async fn keep_shared(
        self: Arc<Self>,
        now: impl Fn() -> Timestamp,
        stop: impl Future<Output = ()>,
    ) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let sharing = self.sharing.load_full();
            let woken = sharing.as_deref().map(|sharing| &sharing.woken);
            let is_over = turn::is_last(woken, stop.as_mut()).await;
            if let Some(sharing) = sharing {
                // What cannot be told now the next exchange tells.
                if let Err(error) = sharing.tell(&sharing.take_fresh(), now()).await {
                    tracing::debug!(%error, "what calls have cost is not shared yet");
                }
            }
            if is_over {
                return;
            }
        }
    }
}

/// What a call draws on accounts that gateways have in common.
#[derive(Debug)]
pub(crate) struct Drawing<'a> {
    reservation: &'a Reservation,
    sharing: &'a Sharing,
    telling: Vec<Telling>,
}

impl Reservation {
    /// Whether budgets may refuse the call that gateways have in common.
    pub(crate) fn is_shared(&self) -> bool {
        self.sharing.is_some() && !self.bounds.is_empty()
    }

    /// What the call has to ask of the store for its budgets, as they stand now.
    pub(crate) fn drawing(&self) -> Option<Drawing<'_>> {
        let sharing = self.sharing.as_deref()?;
        let telling = self.bounds.iter().map(|bound| {
            let mut state = bound.account.state.lock();
            state.forget_over(&bound.account, self.begun);
            // Under the account's lock: a later number is a later state.
            let number = sharing.next.fetch_add(STEP, Relaxed);
            state.number = number;
            let estimate = self.estimate;
            state.asking.push(Asking { number, estimate });
            sharing.statement(
                &bound.account,
                &mut state,
                (0, Decimal::ZERO),
                number,
                self.begun,
            )
        });
        Some(Drawing {
            reservation: self,
            sharing,
            telling: telling.collect(),
        })
    }
}

/// The draw is answered, or nobody waits for that any more.
impl Drop for Drawing<'_> {
    fn drop(&mut self) {
        let ended = self.telling.iter().filter(|one| {
            let mut state = one.account.state.lock();
            state.asking.retain(|asking| asking.number != one.number);
            let is_behind = state.asking.is_empty() && std::mem::take(&mut state.is_behind);
            is_behind && state.becomes_fresh()
        });
        let ended: Vec<_> = ended.map(|one| one.account.clone()).collect();
        if !ended.is_empty() {
            self.sharing.ended(ended);
        }
    }
}

impl Drawing<'_> {
    pub(crate) fn holder(&self) -> Holder<'_> {
        self.sharing.holder()
    }

    pub(crate) fn draws(&self) -> Vec<Draw<'_>> {
        let own = units(self.reservation.estimate);
        let each = self.telling.iter().zip(&self.reservation.bounds);
        let draws = each.map(|(one, bound)| Draw {
            posting: one.posting(0),
            own: own.min(one.held),
            max: units(bound.max),
            is_full_at_max: bound.is_full_at_max,
        });
        draws.collect()
    }

    /// The call is in; so the accounts stand.
    pub(crate) fn heard(&self, balances: Vec<Balance>) {
        for (one, balance) in self.telling.iter().zip(balances) {
            one.account.hear(balance, self.reservation.begun);
        }
    }

    /// An account refuses the call.
    pub(crate) fn exceeded(&self, at: usize, balance: Balance) -> Exceeded {
        if let Some(one) = self.telling.get(at) {
            one.account.hear(balance, self.reservation.begun);
        }
        let bound = self.reservation.bounds.get(at);
        Exceeded {
            at: bound.map_or(0, |bound| bound.charge),
            spent: sum(dollars(balance.sum), dollars(balance.held)),
            max: bound.map_or(Decimal::ZERO, |bound| bound.max),
        }
    }
}

/// Whether the store counts so much exactly: nine million dollars.
pub(super) fn is_exact(amount: Decimal) -> bool {
    units(amount) <= EXACT
}

impl Account {
    /// The store has heard it. Nothing is stated any more when nothing was held; what was stated since held what was being told as
    /// well, and is to be told again.
    fn is_told(&self, telling: &Telling) -> bool {
        let mut state = self.state.lock();
        state.telling = (state.telling - dollars(telling.add)).max(Decimal::ZERO);
        let is_latest = state.number == telling.number;
        if is_latest && telling.held == 0 {
            state.is_stated = false;
        }
        !is_latest && telling.add > 0 && state.becomes_fresh()
    }

    pub(super) fn untold(&self, telling: &Telling, is_unsure: bool) {
        let mut state = self.state.lock();
        let is_same = match &self.model {
            None => state.generation == telling.generation,
            Some(_) => {
                state
                    .window_start
                    .and_then(|start| u64::try_from(start).ok())
                    == Some(telling.generation)
            }
        };
        state.telling = (state.telling - dollars(telling.add)).max(Decimal::ZERO);
        if is_same && !is_unsure {
            state.untold += dollars(telling.add);
        }
        state.is_used = true;
    }

    pub(super) fn hear(&self, balance: Balance, now: Timestamp) {
        let mut state = self.state.lock();
        let is_known = match &self.model {
            None if balance.generation < state.generation => return,
            None => {
                std::mem::replace(&mut state.generation, balance.generation) == balance.generation
            }
            Some((_, length)) => {
                let start = i64::try_from(balance.generation).ok();
                let Some(start) = start.filter(|start| *start > 0) else {
                    return;
                };
                let ends =
                    start.saturating_add(i64::try_from(length.as_secs()).unwrap_or(i64::MAX));
                if now.as_second() > ends {
                    return;
                }
                state.window_start.replace(start) == Some(start)
            }
        };
        state.hear(dollars(balance.sum), is_known);
    }
}

/// Whole units of an amount, cut off.
fn units(amount: Decimal) -> i64 {
    let units = amount
        .checked_mul(UNITS)
        .and_then(|units| units.trunc().to_i64());
    // More than nine milliards of dollars are as many as there can be.
    units.unwrap_or(i64::MAX)
}

fn dollars(units: i64) -> Decimal {
    Decimal::from(units) / UNITS
}
