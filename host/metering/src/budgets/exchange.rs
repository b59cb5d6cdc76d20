//! What gateways tell each other of what they spend.
//!
//! Each adds what it has spent since it told last to one account per budget in the store that they share, and takes over the sum. Between
//! two exchanges it does not know what the others let in: a budget may be passed by what they spend in that time and have under way.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use witgate_state::{Balance, Posting, StateError, Store};

use super::Books;
use super::account::Account;

/// How long an account is kept that nobody adds to; then the database has all of it.
const KEPT: Duration = Duration::from_secs(3600);
/// Accounts in one go, so that the script is a short one.
const AT_ONCE: usize = 200;
/// A US dollar in the store's whole numbers. What is less is told when it has become one of them.
const UNITS: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// What accounts are called in the store.
const PREFIX: &str = "witgate:spend:";

/// What is about to be told of an account.
struct Telling {
    account: Arc<Account>,
    key: String,
    generation: u64,
    sum: i64,
    add: i64,
    ttl: Duration,
}

impl Books {
    /// Tells what was spent here since the last time, and hears what was elsewhere; of budgets that calls have used since, and no
    /// others. Not for the request path.
    ///
    /// # Errors
    /// When the store does not serve. What was not told is told the next time; where nobody can tell whether it was, it counts as told.
    pub async fn exchange(&self, store: &Store, now: Timestamp) -> Result<(), StateError> {
        let mut used = Vec::new();
        self.accounts.each(|account| {
            let state = account.state.lock();
            if state.is_used {
                used.push(account.clone());
            }
        });
        for some in used.chunks(AT_ONCE) {
            let telling = some.iter().filter_map(|account| account.tell(now));
            let telling: Vec<Telling> = telling.collect();
            let postings = telling.iter().map(|one| Posting {
                account: &one.key,
                generation: one.generation,
                sum: one.sum,
                add: one.add,
                ttl: one.ttl,
                is_window: one.account.model.is_some(),
            });
            let postings: Vec<Posting<'_>> = postings.collect();
            match store.post(&postings).await {
                Ok(balances) => {
                    for (one, balance) in telling.iter().zip(balances) {
                        one.account.hear(balance, now);
                    }
                }
                Err(error) => {
                    // Told twice is worse than told late: sums are repaired upwards.
                    if !matches!(error, StateError::Timeout(_)) {
                        for one in &telling {
                            one.account.untold(one);
                        }
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

impl Account {
    /// What to tell; nothing of a window that is over or has not begun.
    fn tell(self: &Arc<Self>, now: Timestamp) -> Option<Telling> {
        let mut state = self.state.lock();
        state.is_used = false;
        let (generation, ttl) = match &self.model {
            None => (state.generation, KEPT),
            Some((_, length)) => {
                if state.is_over(self, now) {
                    state.untold = Decimal::ZERO;
                    return None;
                }
                let start = state.window_start?;
                let since = u64::try_from(now.as_second() - start).unwrap_or(0);
                let left = length.as_secs().saturating_sub(since) + 1;
                (u64::try_from(start).ok()?, Duration::from_secs(left))
            }
        };
        let add = units(state.untold);
        state.untold -= dollars(add);
        let sum = units(state.spent(self, now) - state.untold);
        drop(state);
        Some(Telling {
            account: self.clone(),
            key: format!("{PREFIX}{}", self.name),
            generation,
            sum,
            add,
            ttl,
        })
    }

    fn untold(&self, telling: &Telling) {
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
        if is_same {
            state.untold += dollars(telling.add);
        }
        state.is_used = true;
    }

    fn hear(&self, balance: Balance, now: Timestamp) {
        let mut state = self.state.lock();
        let is_known = match &self.model {
            None if balance.generation < state.generation => return,
            None => {
                std::mem::replace(&mut state.generation, balance.generation) == balance.generation
            }
            Some((_, length)) => {
                let Ok(start) = i64::try_from(balance.generation) else {
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
