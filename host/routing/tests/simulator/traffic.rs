//! What a simulation leaves behind, and the questions that tests ask of it.

use std::ops::Range;
use std::time::Duration;

/// A try of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    pub index: usize,
    /// Since the beginning of the world.
    pub begun: Duration,
    pub ended: Duration,
    /// Of the calendar, in which it began and in which it ended.
    pub begun_minute: u64,
    pub ended_minute: u64,
    pub is_ok: bool,
    pub tokens: u64,
}

/// A client's call.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    pub arrived: Duration,
    pub ended: Duration,
    /// Who served it; nobody when it failed.
    pub served: Option<usize>,
    /// Groups beyond the first.
    pub fallbacks: u32,
}

/// Tries and calls that ended, in that order, and rests.
#[derive(Debug, Default, PartialEq)]
pub struct Traffic {
    pub tries: Vec<Tried>,
    pub calls: Vec<Called>,
    /// Who rested from when to when.
    pub rests: Vec<(usize, Range<Duration>)>,
    /// The most tries at once that each deployment has seen.
    pub peaks: Vec<u32>,
}

impl Traffic {
    /// Tries that began within this time.
    pub fn tries_in(&self, time: Range<Duration>) -> impl Iterator<Item = &Tried> {
        self.tries.iter().filter(move |t| time.contains(&t.begun))
    }

    /// Each deployment's share of the tries that began within this time.
    pub fn shares(&self, time: Range<Duration>) -> Vec<f64> {
        let mut counts = vec![0_u32; self.peaks.len()];
        for tried in self.tries_in(time) {
            counts[tried.index] += 1;
        }
        let all: u32 = counts.iter().sum();
        assert!(all > 200, "too few tries for a share: {all}");
        let share = |n| f64::from(n) / f64::from(all);
        counts.into_iter().map(share).collect()
    }

    /// Calls that arrived within this time and were not served.
    pub fn refused(&self, time: Range<Duration>) -> usize {
        let here = self.calls.iter().filter(|c| time.contains(&c.arrived));
        here.filter(|c| c.served.is_none()).count()
    }

    /// Of each whole minute in which a deployment was tried, how many tries began and how many tokens of tries ended.
    pub fn minutes(&self, index: usize) -> Vec<(u64, u64)> {
        let of = |minute: fn(&Tried) -> u64| {
            let own = self.tries.iter().filter(move |t| t.index == index);
            own.map(move |t| (minute(t), t))
        };
        let minutes = of(|t| t.begun_minute).map(|(minute, _)| minute);
        let (Some(first), Some(last)) = (minutes.clone().min(), minutes.max()) else {
            return Vec::new();
        };
        let mut sums = vec![(0, 0); (last - first + 1) as usize];
        for (minute, _) in of(|t| t.begun_minute) {
            sums[(minute - first) as usize].0 += 1;
        }
        for (minute, tried) in of(|t| t.ended_minute) {
            if let Some(sum) = sums.get_mut((minute - first) as usize) {
                sum.1 += tried.tokens;
            }
        }
        sums
    }

    /// How often a deployment began to rest: a failure of a try that was under way then makes it rest on.
    pub fn rests_of(&self, index: usize) -> usize {
        let (mut count, mut until) = (0, Duration::ZERO);
        for (_, rest) in self.rests.iter().filter(|(of, _)| *of == index) {
            count += usize::from(rest.start >= until);
            until = until.max(rest.end);
        }
        count
    }

    /// No deployment was tried while it rested.
    #[track_caller]
    pub fn assert_rests_are_kept(&self) {
        for (index, rest) in &self.rests {
            let early = self
                .tries_in(rest.clone())
                .find(|t| t.index == *index && t.begun > rest.start);
            assert_eq!(early, None, "{index} rests {rest:?}");
        }
    }
}

/// A share of `n` draws may be this far from what it is expected to be: four standard deviations.
pub fn bound(p: f64, n: usize) -> f64 {
    4.0 * (p * (1.0 - p) / n as f64).sqrt()
}

#[track_caller]
pub fn assert_shares(shares: &[f64], expected: &[f64], within: f64) {
    assert_eq!(shares.len(), expected.len());
    for (share, expected) in shares.iter().zip(expected) {
        assert!(
            (share - expected).abs() <= within,
            "{shares:?} is not {expected:?} ± {within}"
        );
    }
}

pub const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
