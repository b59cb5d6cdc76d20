//! Accounts in the memory of the process.
//!
//! They are kept as the text that Redis' scripts keep: `GENERATION:SUM:END`, or `-` where only something is held, then
//! ` HOLDER,LEASE_END,NUMBER,HELD` for each holder. Times are milliseconds; an account that is no window has the end 0.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Inner, Memory, Value, end};
use crate::account::{Balance, Draw, Holder, Posting};
use crate::error::StateError;

/// An account.
#[derive(Default)]
pub(super) struct Account {
    /// Generation, sum and end.
    there: Option<(u64, i64, u64)>,
    held: Vec<Held>,
}

/// What one holder has stated.
struct Held {
    name: String,
    ends: u64,
    number: u64,
    amount: i64,
}

impl Memory {
    pub(crate) fn post(
        &self,
        holder: &Holder<'_>,
        posting: &Posting<'_>,
    ) -> Result<Balance, StateError> {
        self.with(|inner, now| {
            let mut account = inner.account(posting.account, now)?;
            let balance = account.post(holder, posting, now);
            inner.put_account(posting, &account, now);
            Ok(balance)
        })
    }
}

impl Inner {
    pub(super) fn account(&self, key: &str, now: Duration) -> Result<Account, StateError> {
        let text = self.bytes(key)?.unwrap_or_default();
        let text = std::str::from_utf8(&text).unwrap_or_default();
        Ok(Account::read(text, millis(now)))
    }

    pub(super) fn put_account(&mut self, posting: &Posting<'_>, account: &Account, now: Duration) {
        let now_ms = millis(now);
        let ttl = match account.there {
            Some((.., 0)) => posting.ttl,
            _ => {
                let leases = account.held.iter().map(|held| held.ends);
                let window = account.there.map(|(.., ends)| ends);
                let ends = leases.chain(window).max().unwrap_or_default();
                Duration::from_millis(ends.saturating_sub(now_ms).max(1))
            }
        };
        let text = Value::Bytes(account.text().into());
        self.put(posting.account, text, end(now, Some(ttl)));
    }
}

impl Account {
    fn read(text: &str, now_ms: u64) -> Account {
        let mut words = text.split(' ');
        let there = words.next().and_then(|head| {
            let mut parts = head.split(':');
            let generation: u64 = parts.next()?.parse().ok()?;
            let sum: i64 = parts.next()?.parse().ok()?;
            let ends: u64 = parts.next()?.parse().ok()?;
            let is_there = parts.next().is_none() && (ends == 0 || ends > now_ms);
            is_there.then_some((generation, sum, ends))
        });
        let held = words.filter_map(|word| {
            let mut parts = word.split(',');
            let held = Held {
                name: parts.next()?.to_owned(),
                ends: parts.next()?.parse().ok()?,
                number: parts.next()?.parse().ok()?,
                amount: parts.next()?.parse().ok()?,
            };
            (held.ends > now_ms).then_some(held)
        });
        Account {
            there,
            held: held.collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = match self.there {
            Some((generation, sum, ends)) => format!("{generation}:{sum}:{ends}"),
            None => "-".to_owned(),
        };
        for held in &self.held {
            let (name, ends, number, amount) = (&held.name, held.ends, held.number, held.amount);
            let _ = write!(text, " {name},{ends},{number},{amount}");
        }
        text
    }

    fn post(&mut self, holder: &Holder<'_>, posting: &Posting<'_>, now: Duration) -> Balance {
        let now_ms = millis(now);
        match &mut self.there {
            None if posting.is_window && posting.generation == 0 => {}
            None => {
                let ends = match posting.is_window {
                    true => now_ms.saturating_add(millis(posting.ttl)),
                    false => 0,
                };
                self.there = Some((posting.generation, posting.sum, ends));
            }
            Some((generation, sum, _))
                if *generation == posting.generation || posting.is_window =>
            {
                *sum = sum.saturating_add(posting.add);
            }
            Some((generation, sum, _)) if posting.generation > *generation => {
                (*generation, *sum) = (posting.generation, posting.sum);
            }
            Some(_) => {}
        }
        self.state(holder, posting, now_ms);
        let (generation, sum, _) = self.there.unwrap_or_default();
        let held = self.held.iter().map(|held| held.amount).sum();
        Balance {
            generation,
            sum,
            held,
        }
    }

    fn state(&mut self, holder: &Holder<'_>, posting: &Posting<'_>, now_ms: u64) {
        let ends = now_ms.saturating_add(millis(holder.lease));
        let known = self.held.iter_mut().find(|held| held.name == holder.name);
        match known {
            Some(known) if posting.number >= known.number => {
                (known.ends, known.number, known.amount) = (ends, posting.number, posting.held);
            }
            Some(_) => {}
            None if posting.held > 0 => self.held.push(Held {
                name: holder.name.to_owned(),
                ends,
                number: posting.number,
                amount: posting.held,
            }),
            None => {}
        }
    }

    /// Posts what a draw says; how the account stands for the call.
    pub(super) fn draw(&mut self, holder: &Holder<'_>, draw: &Draw<'_>, now: Duration) -> Balance {
        let balance = self.post(holder, &draw.posting, now);
        Balance {
            held: balance.held.saturating_sub(draw.own),
            ..balance
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}
