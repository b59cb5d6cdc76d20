//! The last measurements of a deployment, and the one number that they amount to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::{Now, micros};

/// The number, readable without a lock.
#[derive(Debug)]
pub(crate) struct Score {
    bits: AtomicU64,
    /// Microseconds of the monotonic clock after which it does not count any more.
    until: AtomicU64,
    /// Measurements that it is of.
    samples: AtomicU32,
}

/// A number that measurements amount to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Average {
    /// Seconds.
    pub value: f64,
    /// Measurements that it is of.
    pub samples: u32,
    /// How much longer it counts.
    pub left: Duration,
}

impl Average {
    /// Of the measurements of both: each counts for as many as it is of.
    #[must_use]
    pub fn with(self, other: Average) -> Average {
        let (own, others) = (
            f64::from(self.samples.max(1)),
            f64::from(other.samples.max(1)),
        );
        Average {
            value: (self.value * own + other.value * others) / (own + others),
            samples: self.samples.saturating_add(other.samples),
            left: self.left.max(other.left),
        }
    }
}

impl Default for Score {
    fn default() -> Self {
        Score {
            bits: AtomicU64::new(f64::NAN.to_bits()),
            until: AtomicU64::new(0),
            samples: AtomicU32::new(0),
        }
    }
}

impl Score {
    /// `None` when nothing was measured, or too long ago.
    pub(crate) fn get(&self, now_micros: u64) -> Option<f64> {
        let score = f64::from_bits(self.bits.load(Relaxed));
        (score.is_finite() && now_micros <= self.until.load(Relaxed)).then_some(score)
    }

    /// The number and what it is of.
    pub(crate) fn average(&self, now: Now) -> Option<Average> {
        let value = self.get(now.micros())?;
        let left = self.until.load(Relaxed).saturating_sub(now.micros());
        Some(Average {
            value,
            samples: self.samples.load(Relaxed),
            left: Duration::from_micros(left),
        })
    }

    /// Takes over what somebody else has measured, in place of what is here.
    pub(crate) fn take_over(&self, average: Option<Average>, now: Now) {
        match average.filter(|average| average.value.is_finite() && average.value >= 0.0) {
            Some(average) => {
                let until = micros(now.monotonic.saturating_add(average.left));
                self.set(average.value, until, average.samples);
            }
            None => self.set(f64::NAN, 0, 0),
        }
    }

    fn set(&self, score: f64, until: u64, samples: u32) {
        self.bits.store(score.to_bits(), Relaxed);
        self.until.store(until, Relaxed);
        self.samples.store(samples, Relaxed);
    }
}

/// First in, first out, of a bounded length.
#[derive(Debug, Default)]
pub(crate) struct Samples(VecDeque<f64>);

impl Samples {
    /// Adds a measurement and renews the score: the mean, or the nearest-rank percentile.
    pub(crate) fn push(
        &mut self,
        sample: f64,
        keep: usize,
        percentile: Option<f64>,
        score: &Score,
        (now, until): (u64, u64),
    ) {
        if !sample.is_finite() || sample < 0.0 {
            return;
        }
        // What is too old to count is too old to be averaged.
        if score.get(now).is_none() {
            self.0.clear();
        }
        self.0.push_back(sample);
        while self.0.len() > keep.max(1) {
            self.0.pop_front();
        }
        let value = match percentile {
            Some(p) => self.percentile(p),
            None => self.0.iter().sum::<f64>() / self.0.len() as f64,
        };
        let samples = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        score.set(value, until, samples);
    }

    fn percentile(&self, p: f64) -> f64 {
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * p).ceil() as usize;
        let at = rank.clamp(1, sorted.len()) - 1;
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score_of(samples: &[f64], keep: usize, percentile: Option<f64>) -> Option<f64> {
        let (mut list, score) = (Samples::default(), Score::default());
        for sample in samples {
            list.push(*sample, keep, percentile, &score, (0, 100));
        }
        assert!(list.0.len() <= keep);
        score.get(100)
    }

    #[test]
    fn means_and_percentiles() {
        assert_eq!(score_of(&[], 10, None), None);
        assert_eq!(score_of(&[0.25, 0.75], 10, None), Some(0.5));
        // Only the newest are kept.
        assert_eq!(score_of(&[9.0, 1.0, 3.0], 2, None), Some(2.0));
        let timeout = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 1000.0];
        let mean = score_of(&timeout, 10, None).unwrap();
        assert!((mean - 100.18).abs() < 1e-9, "{mean}");
        assert_eq!(
            score_of(&[f64::NAN, -1.0, f64::INFINITY, 2.0], 10, None),
            Some(2.0)
        );
        let list = [4.0, 1.0, 3.0, 2.0];
        for (p, expected) in [
            (0.25, 1.0),
            (0.5, 2.0),
            (0.51, 3.0),
            (1.0, 4.0),
            (0.01, 1.0),
        ] {
            assert_eq!(score_of(&list, 10, Some(p)), Some(expected), "{p}");
        }
    }

    #[test]
    fn what_is_too_old_does_not_count() {
        let (mut list, score) = (Samples::default(), Score::default());
        list.push(9.0, 10, None, &score, (0, 100));
        assert_eq!(score.get(100), Some(9.0));
        assert_eq!(score.get(101), None);
        list.push(1.0, 10, None, &score, (200, 300));
        assert_eq!(score.get(250), Some(1.0), "the old one is forgotten");
    }
}
