//! Gates and accounts, in scripts that Redis runs.
//!
//! All gates and accounts of a call are one script, and so are all accounts that are posted to. In a cluster their keys are in different
//! places: there is a script for each then, all at the same time, and what was passed is undone when one refuses.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::Cmd;

use super::Redis;
use super::operations::{millis, read, unexpected};
use super::scripts;
use crate::account::{Balance, EXACT, Holder, Posting};
use crate::error::StateError;
use crate::gate::{Bound, Exit, GateLevel, Pass, Passed};
use crate::memory::GateKeys;
use crate::settings::Place;

/// Numbers that a level is told in.
const LEVEL: usize = 5;
/// The same of a balance.
const BALANCE: usize = 3;

impl Redis {
    fn is_cluster(&self) -> bool {
        matches!(self.settings().place, Place::Cluster(_))
    }

    pub(crate) async fn pass(
        &self,
        pass: &Pass<'_>,
        exits: &[Exit<'_>],
    ) -> Result<Passed, StateError> {
        match self.is_cluster() && pass.draws.len() + pass.gates.len() + exits.len() > 1 {
            false => self.pass_at_once(pass, exits).await,
            true => self.pass_each(pass, exits).await,
        }
    }

    async fn pass_at_once(
        &self,
        pass: &Pass<'_>,
        exits: &[Exit<'_>],
    ) -> Result<Passed, StateError> {
        let names = pass.gates.iter().map(|gate| gate.name);
        let names = names.chain(exits.iter().map(|exit| exit.name));
        let keys = names.flat_map(|name| {
            let keys = GateKeys::of(name);
            [keys.window, keys.calls, keys.amount, keys.inside]
        });
        let accounts = pass
            .draws
            .iter()
            .map(|draw| draw.posting.account.to_owned());
        let keys: Vec<String> = keys.chain(accounts).collect();
        if keys.is_empty() {
            return Ok(Passed::All(Vec::new(), Vec::new()));
        }
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let bound = |limit: Option<u64>| limit.map_or(-1, whole);
        let numbers = |c: &mut Cmd| {
            c.arg(pass.member)
                .arg(millis(pass.window))
                .arg(millis(pass.lease))
                .arg(pass.gates.len())
                .arg(exits.len())
                .arg(pass.draws.len())
                .arg(pass.holder.name)
                .arg(millis(pass.holder.lease));
            for gate in pass.gates {
                let (more, limit) = gate.amount.unzip();
                c.arg(bound(gate.calls))
                    .arg(whole(more.unwrap_or(0)))
                    .arg(bound(limit))
                    .arg(bound(gate.inside))
                    .arg(millis(gate.window.unwrap_or(pass.window)));
            }
            for exit in exits {
                c.arg(exit.member)
                    .arg(exit.window)
                    .arg(exit.correction)
                    .arg(u8::from(exit.undo))
                    .arg(millis(exit.length.unwrap_or(pass.window)));
            }
            for draw in pass.draws {
                post(c, &draw.posting);
                c.arg(draw.own)
                    .arg(draw.max.min(EXACT))
                    .arg(u8::from(draw.is_full_at_max));
            }
        };
        let told: Vec<i64> = read(self.script(&scripts::PASS, &keys, numbers).await?)?;
        passed(&told, pass.gates.len())
    }

    /// Every account and every gate by itself.
    async fn pass_each(&self, pass: &Pass<'_>, exits: &[Exit<'_>]) -> Result<Passed, StateError> {
        let nowhere = Pass::nowhere(pass.window, pass.lease);
        let leaving = exits.iter().map(|exit| {
            let exit = std::slice::from_ref(exit);
            async move { self.pass_at_once(&nowhere, exit).await }
        });
        try_join_all(leaving).await?;
        let draws = pass.draws.iter().map(|draw| Pass {
            draws: std::slice::from_ref(draw),
            gates: &[],
            ..*pass
        });
        let gates = pass.gates.iter().map(|gate| Pass {
            gates: std::slice::from_ref(gate),
            draws: &[],
            ..*pass
        });
        let one = draws
            .chain(gates)
            .map(|one| async move { self.pass_at_once(&one, &[]).await });
        let each = futures_util::future::join_all(one).await;
        let (of_draws, of_gates) = each.split_at(pass.draws.len());
        let (mut balances, mut levels, mut trouble) = (Vec::new(), Vec::new(), None);
        for (at, one) in of_draws.iter().enumerate() {
            match one {
                Ok(Passed::All(_, balance)) => balances.extend(balance),
                Ok(Passed::Overdrawn { balance, .. }) => {
                    let balance = *balance;
                    trouble.get_or_insert(Ok(Passed::Overdrawn { at, balance }));
                }
                Ok(Passed::Refused { .. }) => trouble = Some(Err(unexpected())),
                Err(error) => trouble = Some(Err(error.clone())),
            }
        }
        for (at, one) in of_gates.iter().enumerate() {
            match one {
                Ok(Passed::All(level, _)) => levels.extend(level.iter().map(|level| (at, *level))),
                Ok(Passed::Overdrawn { .. }) => trouble = Some(Err(unexpected())),
                Ok(Passed::Refused { bound, level, .. }) => {
                    let rank = |bound: &Bound| match bound {
                        Bound::Calls => 0,
                        Bound::Inside => 1,
                        Bound::Amount => 2,
                    };
                    let is_first = match &trouble {
                        None => true,
                        Some(Ok(Passed::Refused { bound: other, .. })) => rank(bound) < rank(other),
                        Some(_) => false,
                    };
                    if is_first {
                        let (bound, level) = (*bound, *level);
                        trouble = Some(Ok(Passed::Refused { at, bound, level }));
                    }
                }
                Err(error) => trouble = Some(Err(error.clone())),
            }
        }
        let Some(trouble) = trouble else {
            let levels = levels.into_iter().map(|(_, level)| level);
            return Ok(Passed::All(levels.collect(), balances));
        };
        let undone = levels.iter().filter_map(|(at, level)| {
            let gate = pass.gates.get(*at)?;
            Some(Exit {
                name: gate.name,
                member: pass.member,
                window: level.window,
                length: gate.window,
                correction: -gate.amount.map_or(0, |(more, _)| whole(more)),
                undo: gate.calls.is_some(),
            })
        });
        let undone: Vec<Exit<'_>> = undone.collect();
        let leaving = undone.iter().map(|exit| {
            let exit = std::slice::from_ref(exit);
            async move { self.pass_at_once(&nowhere, exit).await }
        });
        try_join_all(leaving).await?;
        trouble
    }

    pub(crate) async fn stay(
        &self,
        name: &str,
        members: &[&str],
        lease: Duration,
    ) -> Result<(), StateError> {
        let key = GateKeys::of(name).inside;
        let own = |c: &mut Cmd| {
            c.arg(millis(lease)).arg(members);
        };
        self.script(&scripts::STAY, &[&key], own).await.map(drop)
    }

    pub(crate) async fn post(
        &self,
        holder: &Holder<'_>,
        postings: &[Posting<'_>],
    ) -> Result<Vec<Balance>, StateError> {
        if postings.is_empty() {
            return Ok(Vec::new());
        }
        if !self.is_cluster() {
            return self.post_at_once(holder, postings).await;
        }
        let one = postings.iter().map(|posting| {
            let posting = std::slice::from_ref(posting);
            async move { self.post_at_once(holder, posting).await }
        });
        Ok(try_join_all(one).await?.into_iter().flatten().collect())
    }

    async fn post_at_once(
        &self,
        holder: &Holder<'_>,
        postings: &[Posting<'_>],
    ) -> Result<Vec<Balance>, StateError> {
        let keys: Vec<&str> = postings.iter().map(|posting| posting.account).collect();
        let numbers = |c: &mut Cmd| {
            c.arg(holder.name).arg(millis(holder.lease));
            for posting in postings {
                post(c, posting);
            }
        };
        let told: Vec<i64> = read(self.script(&scripts::POST, &keys, numbers).await?)?;
        told.chunks(BALANCE).map(balance).collect()
    }
}

fn post(c: &mut Cmd, posting: &Posting<'_>) {
    c.arg(posting.generation)
        .arg(posting.sum)
        .arg(posting.add)
        .arg(millis(posting.ttl))
        .arg(u8::from(posting.is_window))
        .arg(posting.held)
        .arg(posting.number);
}

fn passed(told: &[i64], gates: usize) -> Result<Passed, StateError> {
    let place = |which: &i64| usize::try_from(which - 1).map_err(|_| unexpected());
    match told {
        [0, rest @ ..] => {
            let (levels, balances) = rest
                .split_at_checked(LEVEL * gates)
                .ok_or_else(unexpected)?;
            let levels = levels.chunks(LEVEL).map(level);
            let balances = balances.chunks(BALANCE).map(balance);
            Ok(Passed::All(
                levels.collect::<Result<_, _>>()?,
                balances.collect::<Result<_, _>>()?,
            ))
        }
        [-1, which, rest @ ..] => Ok(Passed::Overdrawn {
            at: place(which)?,
            balance: balance(rest)?,
        }),
        [which, bound, rest @ ..] => Ok(Passed::Refused {
            at: place(which)?,
            bound: match bound {
                1 => Bound::Calls,
                3 => Bound::Amount,
                4 => Bound::Inside,
                _ => return Err(unexpected()),
            },
            level: level(rest)?,
        }),
        _ => Err(unexpected()),
    }
}

fn balance(told: &[i64]) -> Result<Balance, StateError> {
    match told {
        [generation, sum, held] => Ok(Balance {
            generation: u64::try_from(*generation).map_err(|_| unexpected())?,
            sum: *sum,
            held: *held,
        }),
        _ => Err(unexpected()),
    }
}

fn level(told: &[i64]) -> Result<GateLevel, StateError> {
    let number = |n: &i64| u64::try_from(*n).unwrap_or(0);
    match told {
        [calls, amount, inside, window, left] => Ok(GateLevel {
            calls: number(calls),
            amount: number(amount),
            inside: number(inside),
            window: number(window),
            left: Duration::from_millis(number(left)),
        }),
        _ => Err(unexpected()),
    }
}

/// A bound beyond what Redis counts exactly is one that nobody reaches.
fn whole(number: u64) -> i64 {
    number.min(EXACT.unsigned_abs()) as i64
}
