//! Limits of a deployment beside calls and tokens per minute: those of a day, and of what goes in and comes out.

use std::time::Duration;

use parking_lot::Mutex;

use crate::snapshot::Snapshot;
use crate::state::{PerMinute, State};
use crate::time::Now;

/// `rpd`, `tpd`, `itpm`, `otpm` and `daily_reset_time` of a deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Requests per day.
    pub requests_of_day: Option<u64>,
    /// Tokens per day.
    pub tokens_of_day: Option<u64>,
    /// Prompt tokens per minute.
    pub input_tokens: Option<u64>,
    /// Completion tokens per minute.
    pub output_tokens: Option<u64>,
    /// When a day begins, seconds after midnight UTC.
    pub day_begins_s: u64,
}

const DAY_S: u64 = 86_400;

impl Quotas {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        let of_minute = self.input_tokens.is_none() && self.output_tokens.is_none();
        of_minute && !self.has_day()
    }

    /// Whether something of a day is limited.
    pub fn has_day(&self) -> bool {
        self.requests_of_day.is_some() || self.tokens_of_day.is_some()
    }

    /// The number of the present day.
    pub fn day(&self, now: Now) -> u64 {
        now.unix_s.saturating_sub(self.day_begins_s) / DAY_S
    }

    /// How long the day lasts.
    pub fn day_left(&self, now: Now) -> Duration {
        let since = now.unix_s.saturating_sub(self.day_begins_s) % DAY_S;
        Duration::from_secs(DAY_S - since)
    }
}

/// What was counted of a deployment's day, at all gateways as far as this one knows.
#[derive(Debug, Default)]
pub(crate) struct Today {
    /// Tries begun. The number of the day stands in place of the minute's.
    pub(crate) started: PerMinute,
    /// Tokens used.
    pub(crate) tokens: PerMinute,
    /// The part that other gateways have not been told of. Held by whoever changes the others, too.
    untold: Mutex<Untold>,
}

#[derive(Debug, Default)]
struct Untold {
    day: u64,
    requests: i64,
    tokens: i64,
}

/// What gateways share of a deployment's day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayShare {
    /// The deployment's id.
    pub id: String,
    /// The number of the day.
    pub day: u64,
    /// Tries begun that the others have not been told of; fewer than none when one was taken back.
    pub requests: i64,
    /// Tokens likewise.
    pub tokens: i64,
}

impl Today {
    /// Counts a try, unless there were as many as may be; false then.
    pub(crate) fn begin(&self, day: u64, limit: Option<u64>) -> bool {
        let mut untold = self.untold.lock();
        let day = untold.latest(day);
        match limit {
            Some(limit) if !self.started.add_below(day, limit) => return false,
            Some(_) => {}
            None => self.started.add(day, 1),
        }
        untold.of(day).requests += 1;
        true
    }

    /// A try that was counted has not been made after all.
    pub(crate) fn take_back(&self, day: u64) {
        let mut untold = self.untold.lock();
        if untold.latest(day) == day {
            self.started.take_back(day, 1);
            untold.of(day).requests -= 1;
        }
    }

    pub(crate) fn used(&self, day: u64, tokens: u64) {
        let mut untold = self.untold.lock();
        let day = untold.latest(day);
        self.tokens.add(day, tokens);
        let own = &mut untold.of(day).tokens;
        *own = own.saturating_add_unsigned(tokens);
    }

    fn to_tell(&self, id: &str, day: u64) -> DayShare {
        let mut untold = self.untold.lock();
        let mut owed = Untold::default();
        if untold.latest(day) == day {
            owed = std::mem::take(untold.of(day));
            // So that what is owed of it can be given back.
            untold.day = day;
        }
        DayShare {
            id: id.to_owned(),
            day,
            requests: owed.requests,
            tokens: owed.tokens,
        }
    }

    fn untold(&self, share: &DayShare) {
        let mut untold = self.untold.lock();
        // Of a day that is over nobody wants to know.
        if untold.day == share.day {
            untold.requests += share.requests;
            untold.tokens = untold.tokens.saturating_add(share.tokens);
        }
    }

    fn of_all(&self, day: u64, requests: u64, tokens: u64) {
        let mut untold = self.untold.lock();
        if untold.latest(day) != day {
            return;
        }
        let own = untold.of(day);
        self.started
            .set(day, requests.saturating_add_signed(own.requests));
        self.tokens
            .set(day, tokens.saturating_add_signed(own.tokens));
    }
}

impl Untold {
    /// The day that something is counted in. Whoever looked at the clock before the day began, and comes late, does not bring the
    /// last one back: what was counted of this one would be forgotten.
    fn latest(&self, day: u64) -> u64 {
        self.day.max(day)
    }

    /// What is owed of a day; what was owed of another one is forgotten.
    fn of(&mut self, day: u64) -> &mut Untold {
        if self.day != day {
            *self = Untold {
                day,
                ..Untold::default()
            };
        }
        self
    }
}

impl State {
    /// Whether a deployment has had what it may have of a day, with a prompt of so many tokens to come.
    pub(crate) fn is_over_day(&self, quotas: &Quotas, index: usize, tokens: u64, now: Now) -> bool {
        let (today, day) = (&self.slot(index).today, quotas.day(now));
        let requests = quotas.requests_of_day;
        let of_tokens = quotas.tokens_of_day;
        requests.is_some_and(|max| today.started.get(day) >= max)
            || of_tokens.is_some_and(|max| today.tokens.get(day) + tokens > max)
    }

    /// Whether a deployment has had what it may take in or give out in a minute.
    pub(crate) fn is_over_in_or_out(
        &self,
        quotas: &Quotas,
        index: usize,
        tokens: u64,
        now: Now,
    ) -> bool {
        let (slot, minute) = (self.slot(index), now.minute());
        let input = |max: u64| slot.input_tokens(minute) + tokens > max;
        let output = |max: u64| slot.output_tokens(minute) >= max;
        quotas.input_tokens.is_some_and(input) || quotas.output_tokens.is_some_and(output)
    }

    /// What this gateway counted since it was asked last, of each deployment with limits of a day. Whoever cannot tell it to the
    /// others gives it back with [`State::day_untold`].
    pub fn days_to_tell(&self, snapshot: &Snapshot, now: Now) -> Vec<DayShare> {
        let limited = snapshot.deployments().iter().enumerate();
        let limited = limited.filter(|(_, deployment)| deployment.spec.quotas.has_day());
        limited
            .map(|(index, deployment)| {
                let today = &self.slot(index).today;
                today.to_tell(&deployment.id, deployment.spec.quotas.day(now))
            })
            .collect()
    }

    /// What could not be told to the others is told the next time.
    pub fn day_untold(&self, share: &DayShare) {
        if let Some(slot) = self.slot_of(&share.id) {
            slot.today.untold(share);
        }
    }

    /// Takes over what all gateways together counted of a deployment's day.
    pub fn day_of_all(&self, share: &DayShare, requests: u64, tokens: u64) {
        if let Some(slot) = self.slot_of(&share.id) {
            slot.today.of_all(share.day, requests, tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix_s: u64) -> Now {
        Now {
            unix_s,
            ..Now::default()
        }
    }

    /// A day that begins at 08:30.
    #[test]
    fn a_day_begins_when_it_is_said() {
        let quotas = Quotas {
            day_begins_s: 8 * 3600 + 1800,
            ..Quotas::default()
        };
        let midnight = 20_000 * DAY_S;
        let (before, from) = (at(midnight + 30_599), at(midnight + 30_600));
        assert_eq!(quotas.day(before) + 1, quotas.day(from));
        assert_eq!(quotas.day(from), quotas.day(at(midnight + DAY_S)));
        assert_eq!(quotas.day_left(before), Duration::from_secs(1));
        assert_eq!(quotas.day_left(from), Duration::from_secs(DAY_S));
    }

    #[test]
    fn what_was_not_heard_is_told_again_and_own_counts_stay() {
        let today = Today::default();
        assert!(today.begin(7, Some(2)) && today.begin(7, Some(2)));
        assert!(!today.begin(7, Some(2)), "two may be");
        today.used(7, 30);
        let share = today.to_tell("d", 7);
        assert_eq!((share.requests, share.tokens), (2, 30));
        today.untold(&share);
        today.take_back(7);
        let share = today.to_tell("d", 7);
        assert_eq!((share.requests, share.tokens), (1, 30));
        // One more is counted here while the sum of all is on its way.
        assert!(today.begin(7, None));
        today.of_all(7, 5, 100);
        assert_eq!((today.started.get(7), today.tokens.get(7)), (6, 100));
        let share = today.to_tell("d", 8);
        assert_eq!((share.requests, share.tokens), (0, 0), "that day is over");
        assert_eq!(today.started.get(8), 0);
    }

    #[test]
    fn whoever_comes_late_does_not_bring_the_last_day_back() {
        let today = Today::default();
        assert!(today.begin(7, Some(5)));
        let late = today.to_tell("d", 7);
        assert!(today.begin(8, Some(2)));
        today.used(8, 10);
        // The sum of yesterday, a try of it that was not made, and two that read the clock before midnight.
        today.of_all(late.day, 40, 900);
        today.take_back(7);
        assert!(
            today.begin(7, Some(2)),
            "it counts, and is the second of today"
        );
        assert!(!today.begin(7, Some(2)));
        today.used(7, 5);
        assert_eq!((today.started.get(8), today.tokens.get(8)), (2, 15));
        let share = today.to_tell("d", 7);
        assert_eq!((share.requests, share.tokens), (0, 0));
        let share = today.to_tell("d", 8);
        assert_eq!((share.requests, share.tokens), (2, 15));
    }
}
