//! Gates in the memory of the process.

use std::time::Duration;

use bytes::Bytes;

use super::{Inner, Memory, Value, end};
use crate::account::Balance;
use crate::error::StateError;
use crate::gate::{Bound, Exit, Gate, GateLevel, Pass, Passed, window_text};

/// The keys of a gate.
pub(crate) struct GateKeys {
    pub(crate) window: String,
    pub(crate) calls: String,
    pub(crate) amount: String,
    pub(crate) inside: String,
}

impl GateKeys {
    pub(crate) fn of(name: &str) -> GateKeys {
        let key = |what: &str| format!("{name}:{what}");
        GateKeys {
            window: key("window"),
            calls: key("requests"),
            amount: key("tokens"),
            inside: key("max_parallel_requests"),
        }
    }
}

impl Memory {
    /// The names of the gates are those of their keys.
    pub(crate) fn pass(&self, pass: &Pass<'_>, exits: &[Exit<'_>]) -> Result<Passed, StateError> {
        self.with(|inner, now| {
            for exit in exits {
                inner.leave(exit, now, exit.length.unwrap_or(pass.window))?;
            }
            let mut accounts = Vec::with_capacity(pass.draws.len());
            for (at, draw) in pass.draws.iter().enumerate() {
                let mut account = inner.account(draw.posting.account, now)?;
                let balance = account.draw(&pass.holder, draw, now);
                // Who draws may know of more than has been posted.
                let known = match balance.generation == draw.posting.generation {
                    true => draw.posting.sum.max(balance.sum),
                    false => balance.sum,
                };
                let known = Balance {
                    sum: known,
                    ..balance
                };
                if draw.is_refused(known) {
                    return Ok(Passed::Overdrawn { at, balance: known });
                }
                accounts.push((account, balance));
            }
            let keys = pass.gates.iter().map(|gate| GateKeys::of(gate.name));
            let keys: Vec<GateKeys> = keys.collect();
            let gates = || pass.gates.iter().zip(&keys).enumerate();
            for (_, (gate, keys)) in gates() {
                if gate.holds() {
                    inner.prune(&keys.inside, now, pass.lease)?;
                }
            }
            let full = |inner: &Inner, bound: Bound| -> Result<Option<Passed>, StateError> {
                for (at, (gate, keys)) in gates() {
                    let level = inner.level(gate, keys, now, gate.window.unwrap_or(pass.window))?;
                    let is_full = match bound {
                        Bound::Calls => gate.calls.is_some_and(|limit| level.calls >= limit),
                        Bound::Inside => gate.inside.is_some_and(|limit| level.inside >= limit),
                        Bound::Amount => gate
                            .amount
                            .is_some_and(|(more, limit)| level.amount.saturating_add(more) > limit),
                    };
                    if is_full {
                        return Ok(Some(Passed::Refused { at, bound, level }));
                    }
                }
                Ok(None)
            };
            for bound in [Bound::Calls, Bound::Inside, Bound::Amount] {
                if let Some(refused) = full(inner, bound)? {
                    return Ok(refused);
                }
            }
            for (draw, (account, _)) in pass.draws.iter().zip(&accounts) {
                inner.put_account(&draw.posting, account, now);
            }
            let mut levels = Vec::with_capacity(pass.gates.len());
            for (_, (gate, keys)) in gates() {
                inner.enter(gate, keys, pass, now)?;
                levels.push(inner.level(gate, keys, now, gate.window.unwrap_or(pass.window))?);
            }
            let balances = accounts.into_iter().map(|(_, balance)| balance);
            Ok(Passed::All(levels, balances.collect()))
        })
    }

    pub(crate) fn stay(
        &self,
        name: &str,
        members: &[&str],
        lease: Duration,
    ) -> Result<(), StateError> {
        self.with(|inner, now| {
            let key = GateKeys::of(name).inside;
            let mut inside = inner.queue(&key)?;
            for (since, member) in &mut inside {
                if members.contains(&member.as_str()) {
                    *since = now.as_secs_f64();
                }
            }
            if !inside.is_empty() {
                inner.put(&key, Value::Queue(inside), end(now, Some(lease)));
            }
            Ok(())
        })
    }
}

impl Inner {
    fn number(&self, key: &str) -> Result<u64, StateError> {
        let text = self.bytes(key)?.unwrap_or_default();
        Ok(std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(0))
    }

    /// The window that `now` is in, in milliseconds, and whether it has begun already.
    fn window(
        &self,
        keys: &GateKeys,
        now: Duration,
        length: Duration,
    ) -> Result<(u64, bool), StateError> {
        let now_ms = millis(now);
        let text = self.bytes(&keys.window)?.unwrap_or_default();
        let start = std::str::from_utf8(&text).ok().and_then(window_ms);
        let running = start.filter(|start| *start <= now_ms && now_ms - start < millis(length));
        Ok((running.unwrap_or(now_ms), running.is_some()))
    }

    fn level(
        &self,
        gate: &Gate<'_>,
        keys: &GateKeys,
        now: Duration,
        length: Duration,
    ) -> Result<GateLevel, StateError> {
        let (window, is_running) = self.window(keys, now, length)?;
        let count = |limited: bool, key: &str| match limited && is_running {
            true => self.number(key),
            false => Ok(0),
        };
        let inside = match gate.inside {
            Some(_) => self.queue(&keys.inside)?.len() as u64,
            None => 0,
        };
        Ok(GateLevel {
            calls: count(gate.calls.is_some(), &keys.calls)?,
            amount: count(gate.amount.is_some(), &keys.amount)?,
            inside,
            window,
            left: Duration::from_millis(window + millis(length) - millis(now)),
        })
    }

    fn enter(
        &mut self,
        gate: &Gate<'_>,
        keys: &GateKeys,
        pass: &Pass<'_>,
        now: Duration,
    ) -> Result<(), StateError> {
        if gate.calls.is_some() || gate.amount.is_some() {
            let length = gate.window.unwrap_or(pass.window);
            let (window, is_running) = self.window(keys, now, length)?;
            let ends = Duration::from_millis(window + millis(length));
            if !is_running {
                self.remove(&keys.calls);
                self.remove(&keys.amount);
                self.put(&keys.window, text(window_text(window)), ends);
            }
            if gate.calls.is_some() {
                let calls = self.number(&keys.calls)? + 1;
                self.put(&keys.calls, text(calls.to_string()), ends);
            }
            if let Some((more, _)) = gate.amount {
                let amount = self.number(&keys.amount)?.saturating_add(more);
                self.put(&keys.amount, text(amount.to_string()), ends);
            }
        }
        if gate.holds() {
            let mut inside = self.queue(&keys.inside)?;
            inside.retain(|(_, member)| member != pass.member);
            inside.push((now.as_secs_f64(), pass.member.to_owned()));
            self.put(
                &keys.inside,
                Value::Queue(inside),
                end(now, Some(pass.lease)),
            );
        }
        Ok(())
    }

    fn prune(&mut self, key: &str, now: Duration, lease: Duration) -> Result<(), StateError> {
        let mut inside = self.queue(key)?;
        let before = inside.len();
        inside.retain(|(since, _)| now.as_secs_f64() - since < lease.as_secs_f64());
        if inside.len() < before {
            self.put_inside(key, inside);
        }
        Ok(())
    }

    /// Who is left inside; nobody is no key.
    fn put_inside(&mut self, key: &str, inside: Vec<(f64, String)>) {
        match self.entries.get(key).map(|entry| entry.end) {
            Some(ends) if !inside.is_empty() => self.put(key, Value::Queue(inside), ends),
            _ => drop(self.remove(key)),
        }
    }

    fn leave(
        &mut self,
        exit: &Exit<'_>,
        now: Duration,
        length: Duration,
    ) -> Result<(), StateError> {
        let keys = GateKeys::of(exit.name);
        let mut inside = self.queue(&keys.inside)?;
        let before = inside.len();
        inside.retain(|(_, member)| member != exit.member);
        let was_inside = inside.len() < before;
        if was_inside {
            self.put_inside(&keys.inside, inside);
        }
        let (window, is_running) = self.window(&keys, now, length)?;
        if !is_running {
            return Ok(());
        }
        let (is_same, ends) = (
            exit.window == 0 || window == exit.window,
            Duration::from_millis(window + millis(length)),
        );
        if exit.undo && is_same {
            let calls = self.number(&keys.calls)?;
            if calls > 0 {
                self.put(&keys.calls, text((calls - 1).to_string()), ends);
            }
        }
        if was_inside && exit.correction != 0 && (is_same || exit.correction > 0) {
            let amount = self.number(&keys.amount)?;
            let amount = amount.saturating_add_signed(exit.correction);
            self.put(&keys.amount, text(amount.to_string()), ends);
        }
        Ok(())
    }
}

fn text(text: String) -> Value {
    Value::Bytes(Bytes::from(text))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 4)
}

/// `SECONDS.MILLISECONDS`
fn window_ms(text: &str) -> Option<u64> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..1e12)
        .contains(&seconds)
        .then_some((seconds * 1000.0).round() as u64)
}
