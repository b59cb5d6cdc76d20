//! What an admitted call holds, and gives back.

use std::sync::Arc;
use std::time::Duration;

use witgate_identity::Limits;
use witgate_state::GateLevel;

use super::meter::Meter;
use super::shared::Shared;
use super::{Descriptor, Wanted, least};

/// An admitted call. Its places are given back once, by [`Admitted::free`] or at its end; its tokens by [`Admitted::settle`], which
/// corrects what was reserved, or, when it is dropped instead, as if none were used.
#[derive(Debug)]
pub struct Admitted {
    held: Vec<Held>,
    shared: Option<(Arc<Shared>, u64)>,
    standings: Vec<Standing>,
}

#[derive(Debug)]
struct Held {
    meter: Arc<Meter>,
    /// The window of the reservation.
    window: u64,
    /// How long it is, when it is no minute.
    length: Option<Duration>,
    reserved: Option<u64>,
    is_inside: bool,
}

/// How much of a descriptor's limits is left for calls to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The descriptor's name.
    pub key: &'static str,
    /// The limits.
    pub limits: Limits,
    /// What is left of each.
    pub left: Limits,
}

impl Admitted {
    /// A call that nothing limits.
    #[must_use]
    pub fn nothing() -> Admitted {
        Admitted {
            held: Vec::new(),
            shared: None,
            standings: Vec::new(),
        }
    }

    pub(super) fn of(
        wanted: &Wanted,
        descriptors: &[Descriptor<'_>],
        levels: &[GateLevel],
    ) -> Admitted {
        let holding = wanted.wants.iter().zip(levels);
        let held = holding
            .filter(|(want, _)| want.holds())
            .map(|(want, level)| Held {
                meter: want.meter.clone(),
                window: level.window,
                length: want.window,
                reserved: want.limits.tpm.map(|_| wanted.tokens),
                is_inside: true,
            });
        let mut standings: Vec<Standing> = Vec::with_capacity(descriptors.len());
        let mut last = None;
        // What is left of a day is told when nothing is.
        let of_minutes = wanted.wants.iter().zip(levels);
        for (want, level) in of_minutes.filter(|(want, _)| want.window.is_none()) {
            let left = |limit: Option<u64>, is: u64| limit.map(|limit| limit.saturating_sub(is));
            let limits = want.limits;
            let left = Limits {
                rpm: left(limits.rpm, level.calls),
                tpm: left(limits.tpm, level.amount),
                parallel: left(limits.parallel, level.inside),
                tpd: None,
            };
            match standings.last_mut().filter(|_| last == Some(want.at)) {
                // What is counted by the minute and who is inside are two meters.
                Some(one) => {
                    one.limits = least(one.limits, limits);
                    one.left = least(one.left, left);
                }
                None => standings.push(Standing {
                    key: descriptors[want.at].key,
                    limits,
                    left,
                }),
            }
            last = Some(want.at);
        }
        Admitted {
            held: held.collect(),
            shared: None,
            standings,
        }
    }

    pub(super) fn shared(mut self, shared: Arc<Shared>, member: u64) -> Admitted {
        self.shared = Some((shared, member));
        self
    }

    /// How much is left, as of the admission.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Gives back its places: the call has ended, what it used is not known yet.
    pub fn free(&mut self) {
        let member = self.shared.as_ref().map(|(_, member)| *member);
        for held in &mut self.held {
            if std::mem::take(&mut held.is_inside) {
                let mut state = held.meter.state.lock();
                state.inside = state.inside.saturating_sub(1);
                if let Some(member) = member {
                    state.members.remove(&member);
                }
            }
        }
    }

    /// Corrects the tokens that were reserved to those that were used.
    pub fn settle(mut self, used: u64, now: Duration) {
        self.end(used, now);
    }

    fn end(&mut self, used: u64, now: Duration) {
        self.free();
        for held in self.held.drain(..) {
            let difference = |reserved: u64| {
                let bounded = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
                bounded(used) - bounded(reserved)
            };
            let correction = held.reserved.map_or(0, difference);
            if correction != 0 {
                let mut state = held.meter.state.lock();
                state.correct(held.window, correction, now);
            }
            if let Some((shared, member)) = &self.shared {
                let window = (held.window, held.length);
                shared.leave(held.meter, *member, window, correction);
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // Nothing used gives back only in its own window, whatever the time.
        self.end(0, Duration::MAX);
    }
}
