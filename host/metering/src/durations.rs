//! Lengths of budgets, and when a budget begins anew.
//!
//! Source: LiteLLM's `duration_parser` and `get_next_standardized_reset_time`.

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan, Zoned};
use thiserror::Error;

/// How long a budget lasts, in the unit it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// `Ns`
    Seconds(u32),
    /// `Nm`
    Minutes(u32),
    /// `Nh`
    Hours(u32),
    /// `Nd`; `Nw` is seven times as many.
    Days(u32),
    /// `Nmo`, months of the calendar.
    Months(u32),
}

/// A text that is no length of a budget: it does not begin like one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is no duration: write a whole number above 0 and one of the units s, m, h, d, w, mo, such as 30d"
)]
pub struct PeriodError(String);

/// In which zone, and at which time of day, budgets of days and more begin anew.
#[derive(Debug, Clone)]
pub struct ResetClock {
    /// `litellm_settings.timezone`
    pub zone: TimeZone,
    /// `litellm_settings.budget_reset_time`
    pub at: Time,
}

impl Default for ResetClock {
    /// Midnight, UTC.
    fn default() -> Self {
        ResetClock {
            zone: TimeZone::UTC,
            at: Time::midnight(),
        }
    }
}

impl Period {
    /// Reads `30d` and the like, and the words `hourly`, `daily`, `weekly`, `monthly`. What follows the unit is not looked
    /// at, as with LiteLLM: `30days` is `30d`.
    ///
    /// # Errors
    /// When the text does not begin with a whole number above 0 and a unit.
    pub fn parse(text: &str) -> Result<Period, PeriodError> {
        let wrong = || PeriodError(text.to_owned());
        match text {
            "hourly" => return Ok(Period::Hours(1)),
            "daily" => return Ok(Period::Hours(24)),
            "weekly" => return Ok(Period::Days(7)),
            "monthly" => return Ok(Period::Days(30)),
            _ => {}
        }
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (digits, unit) = text.split_at(unit_at);
        // Longer ones than a century are typing errors, and would leave the calendar.
        let number: u32 = digits.parse().map_err(|_| wrong())?;
        let within = |most: u32| {
            (1..=most)
                .contains(&number)
                .then_some(number)
                .ok_or_else(wrong)
        };
        match unit.as_bytes() {
            [b'm', b'o', ..] => Ok(Period::Months(within(1200)?)),
            [b's', ..] => Ok(Period::Seconds(within(u32::MAX - 1)?)),
            [b'm', ..] => Ok(Period::Minutes(within(52_560_000)?)),
            [b'h', ..] => Ok(Period::Hours(within(876_000)?)),
            [b'd', ..] => Ok(Period::Days(within(36_500)?)),
            [b'w', ..] => Ok(Period::Days(7 * within(5200)?)),
            _ => Err(wrong()),
        }
    }

    /// How many seconds it lasts; a month counts as 30 days, so that a window has the same length whenever it is looked at.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Period::Months(n) => u64::from(n) * 30 * 86_400,
            other => other.seconds_from(Timestamp::UNIX_EPOCH),
        }
    }

    /// How many seconds it lasts from a moment on. Only that of months depends on the moment: the day is that of the moment, or the
    /// last one of a month that is shorter.
    #[must_use]
    pub fn seconds_from(self, from: Timestamp) -> u64 {
        let number = u64::from;
        match self {
            Period::Seconds(n) => number(n),
            Period::Minutes(n) => number(n) * 60,
            Period::Hours(n) => number(n) * 3600,
            Period::Days(n) => number(n) * 86_400,
            Period::Months(n) => {
                let from = from.to_zoned(TimeZone::UTC);
                let to = from.saturating_add(Span::new().months(n));
                u64::try_from(to.timestamp().as_second() - from.timestamp().as_second())
                    .unwrap_or(0)
            }
        }
    }

    /// When a budget of this length begins anew after `now`: at the next mark of the calendar, not one length later. A day's and
    /// a month's mark is the clock's time of day.
    #[must_use]
    pub fn next_reset(self, now: Timestamp, clock: &ResetClock) -> Timestamp {
        let here = now.to_zoned(clock.zone.clone());
        let (hour, minute) = (i64::from(here.hour()), i64::from(here.minute()));
        let start = here.datetime().with().subsec_nanosecond(0).second(0);
        let aligned = |value: i64, n: u32| value + i64::from(n) - value % i64::from(n);
        let to = match self {
            Period::Days(30) => return monthly(&here, 1, clock),
            Period::Months(n) => return monthly(&here, n, clock),
            Period::Days(7) => return weekly(&here, clock),
            Period::Days(n) => return daily(&here, n, clock),
            Period::Hours(n) => start
                .minute(0)
                .hour(0)
                .build()
                .map(|midnight| midnight.saturating_add(aligned(hour, n).hours())),
            Period::Minutes(n) => start
                .minute(0)
                .build()
                .map(|of_hour| of_hour.saturating_add(aligned(minute, n).minutes())),
            Period::Seconds(n) => {
                let second = aligned(i64::from(here.second()), n);
                start
                    .build()
                    .map(|of_minute| of_minute.saturating_add(second.seconds()))
            }
        };
        after(to.unwrap_or_else(|_| here.datetime()), now, clock)
    }

    /// When the window began that ends then: where [`Period::next_reset`] put the end of the one before. `None` before the calendar
    /// begins.
    #[must_use]
    pub fn began(self, ends: Timestamp, clock: &ResetClock) -> Option<Timestamp> {
        let span = Span::new();
        let span = match self {
            Period::Days(30) => span.months(1),
            Period::Months(n) => span.months(n),
            Period::Days(n) => span.days(n),
            // A whole day is one of the calendar, also where it has 23 hours.
            Period::Hours(n) => span.days(n / 24).hours(n % 24),
            Period::Minutes(n) => span.minutes(n),
            Period::Seconds(n) => span.seconds(n),
        };
        let began = ends.to_zoned(clock.zone.clone()).checked_sub(span).ok()?;
        Some(began.timestamp())
    }
}

impl ResetClock {
    /// When a budget of this length (`budget_duration`) begins anew after `now`. A text that is no length counts as a day, as with
    /// LiteLLM.
    #[must_use]
    pub fn next_reset(&self, duration: &str, now: Timestamp) -> Timestamp {
        period(duration).next_reset(now, self)
    }

    /// When the window of this length began that ends then.
    #[must_use]
    pub fn began(&self, duration: &str, ends: Timestamp) -> Option<Timestamp> {
        period(duration).began(ends, self)
    }
}

fn period(duration: &str) -> Period {
    Period::parse(duration).unwrap_or(Period::Days(1))
}

/// The day that has not ended yet by the clock's time of day, as its beginning.
fn today(here: &Zoned, clock: &ResetClock) -> DateTime {
    let mark = here.date().to_datetime(clock.at);
    match mark > here.datetime() {
        true => mark.saturating_sub(1.day()),
        false => mark,
    }
}

fn daily(here: &Zoned, days: u32, clock: &ResetClock) -> Timestamp {
    let to = today(here, clock).saturating_add(i64::from(days).days());
    after(to, here.timestamp(), clock)
}

fn weekly(here: &Zoned, clock: &ResetClock) -> Timestamp {
    let today = today(here, clock);
    let since_monday = today.weekday().since(Weekday::Monday);
    let to = today.saturating_add(i64::from(7 - since_monday).days());
    after(to, here.timestamp(), clock)
}

fn monthly(here: &Zoned, months: u32, clock: &ResetClock) -> Timestamp {
    let today = today(here, clock);
    let first = today.date().first_of_month().to_datetime(clock.at);
    after(
        first.saturating_add(i64::from(months).months()),
        here.timestamp(),
        clock,
    )
}

/// A time of the zone's clocks as a moment after `now`. One that they skip is the moment they skip it at; of one that they show
/// twice, the first that is still to come.
fn after(to: DateTime, now: Timestamp, clock: &ResetClock) -> Timestamp {
    let ambiguous = clock.zone.to_ambiguous_zoned(to);
    let moment = |zoned: Result<Zoned, jiff::Error>| zoned.ok().map(|zoned| zoned.timestamp());
    let first = moment(ambiguous.clone().compatible()).filter(|moment| *moment > now);
    let second = || moment(ambiguous.later()).filter(|moment| *moment > now);
    // Beyond the calendar there is nothing to reset.
    first.or_else(second).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn durations_are_read() {
        let wrong = |text: &str| Err(PeriodError(text.to_owned()));
        let cases = [
            ("30s", Ok(Period::Seconds(30))),
            ("5m", Ok(Period::Minutes(5))),
            ("1h", Ok(Period::Hours(1))),
            ("7d", Ok(Period::Days(7))),
            ("2w", Ok(Period::Days(14))),
            ("1mo", Ok(Period::Months(1))),
            ("12months", Ok(Period::Months(12))),
            ("30days", Ok(Period::Days(30))),
            ("hourly", Ok(Period::Hours(1))),
            ("daily", Ok(Period::Hours(24))),
            ("weekly", Ok(Period::Days(7))),
            ("monthly", Ok(Period::Days(30))),
            ("0d", wrong("0d")),
            ("5", wrong("5")),
            ("d", wrong("d")),
            ("", wrong("")),
            ("-1d", wrong("-1d")),
            ("1.5h", wrong("1.5h")),
            ("3 days", wrong("3 days")),
            ("5y", wrong("5y")),
            ("99999999999d", wrong("99999999999d")),
            ("40000d", wrong("40000d")),
        ];
        for (text, expected) in cases {
            assert_eq!(Period::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn seconds_are_counted_and_months_are_the_calendars() {
        let cases = [
            ("90s", "2025-01-31T00:00:00Z", 90),
            ("2m", "2025-01-31T00:00:00Z", 120),
            ("3h", "2025-01-31T00:00:00Z", 10_800),
            ("2w", "2025-01-31T00:00:00Z", 1_209_600),
            ("1mo", "2025-01-31T00:00:00Z", 2_419_200),
            ("1mo", "2024-01-31T00:00:00Z", 29 * 86_400),
            ("1mo", "2025-03-15T10:00:00Z", 31 * 86_400),
        ];
        for (text, from, seconds) in cases {
            let period = Period::parse(text).unwrap();
            assert_eq!(period.seconds_from(at(from)), seconds, "{text} {from}");
        }
    }

    /// Duration, now, next reset.
    #[test]
    fn the_next_reset_is_the_calendars() {
        let wednesday = "2025-07-16T14:20:00Z";
        let cases = [
            ("1d", wednesday, "2025-07-17T00:00:00Z"),
            ("7d", wednesday, "2025-07-21T00:00:00Z"),
            ("1w", wednesday, "2025-07-21T00:00:00Z"),
            // Strictly after: on a Monday it is the following one.
            ("7d", "2025-07-21T00:00:00Z", "2025-07-28T00:00:00Z"),
            ("7d", "2025-07-20T23:59:59Z", "2025-07-21T00:00:00Z"),
            ("30d", wednesday, "2025-08-01T00:00:00Z"),
            ("1mo", wednesday, "2025-08-01T00:00:00Z"),
            ("1mo", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"),
            ("1mo", "2025-01-31T12:00:00Z", "2025-02-01T00:00:00Z"),
            ("3mo", wednesday, "2025-10-01T00:00:00Z"),
            ("3d", wednesday, "2025-07-19T00:00:00Z"),
            ("2w", wednesday, "2025-07-30T00:00:00Z"),
            ("1h", wednesday, "2025-07-16T15:00:00Z"),
            ("6h", wednesday, "2025-07-16T18:00:00Z"),
            ("24h", wednesday, "2025-07-17T00:00:00Z"),
            ("5h", "2025-07-16T22:10:00Z", "2025-07-17T01:00:00Z"),
            // LiteLLM begins these anew every day.
            ("48h", wednesday, "2025-07-18T00:00:00Z"),
            ("30m", wednesday, "2025-07-16T14:30:00Z"),
            ("45m", "2025-07-16T14:50:00Z", "2025-07-16T15:30:00Z"),
            ("30m", "2025-07-16T23:45:10Z", "2025-07-17T00:00:00Z"),
            ("15s", "2025-07-16T14:20:07Z", "2025-07-16T14:20:15Z"),
            ("45s", "2025-07-16T14:59:50Z", "2025-07-16T15:00:30Z"),
            ("1h", "2025-07-16T15:00:00Z", "2025-07-16T16:00:00Z"),
            ("daily", wednesday, "2025-07-17T00:00:00Z"),
            ("monthly", wednesday, "2025-08-01T00:00:00Z"),
            ("whenever", wednesday, "2025-07-17T00:00:00Z"),
        ];
        let clock = ResetClock::default();
        for (duration, now, next) in cases {
            let reset = clock.next_reset(duration, at(now));
            assert_eq!(reset, at(next), "{duration} at {now}");
        }
    }

    #[test]
    fn a_window_began_where_the_one_before_ended() {
        let clock = ResetClock {
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            at: Time::midnight(),
        };
        for duration in [
            "1d", "7d", "30d", "1mo", "3mo", "1h", "6h", "15m", "30s", "24h", "1w",
        ] {
            // Over the change to summer time, too.
            for now in [
                "2026-01-07T14:20:30Z",
                "2026-03-28T23:30:00Z",
                "2026-06-30T22:00:00Z",
            ] {
                let ends = clock.next_reset(duration, at(now));
                let again = clock.next_reset(duration, ends);
                let began = clock.began(duration, again);
                assert_eq!(began, Some(ends), "{duration} {now}");
            }
        }
    }

    /// Duration, now and next reset in Berlin, where a day begins at 06:30.
    #[test]
    fn a_day_begins_in_its_zone_and_at_its_time() {
        let clock = ResetClock {
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            at: Time::constant(6, 30, 0, 0),
        };
        let cases = [
            (
                "1d",
                "2025-07-16T06:29:00+02:00",
                "2025-07-16T06:30:00+02:00",
            ),
            (
                "1d",
                "2025-07-16T06:30:00+02:00",
                "2025-07-17T06:30:00+02:00",
            ),
            (
                "3d",
                "2025-07-16T06:00:00+02:00",
                "2025-07-18T06:30:00+02:00",
            ),
            (
                "7d",
                "2025-07-21T05:00:00+02:00",
                "2025-07-21T06:30:00+02:00",
            ),
            (
                "7d",
                "2025-07-21T07:00:00+02:00",
                "2025-07-28T06:30:00+02:00",
            ),
            (
                "1mo",
                "2025-08-01T06:00:00+02:00",
                "2025-08-01T06:30:00+02:00",
            ),
            (
                "1mo",
                "2025-08-01T06:30:00+02:00",
                "2025-09-01T06:30:00+02:00",
            ),
            // Hours do not care.
            (
                "6h",
                "2025-07-16T05:20:00+02:00",
                "2025-07-16T06:00:00+02:00",
            ),
            // A day of 25 hours, and an hour that comes twice.
            (
                "1d",
                "2025-10-25T07:00:00+02:00",
                "2025-10-26T06:30:00+01:00",
            ),
            (
                "30m",
                "2025-10-26T02:40:00+02:00",
                "2025-10-26T03:00:00+01:00",
            ),
            (
                "30m",
                "2025-10-26T02:10:00+01:00",
                "2025-10-26T02:30:00+01:00",
            ),
            // An hour that is skipped.
            (
                "1h",
                "2025-03-30T01:20:00+01:00",
                "2025-03-30T03:00:00+02:00",
            ),
        ];
        for (duration, now, next) in cases {
            let reset = clock.next_reset(duration, at(now));
            assert_eq!(reset, at(next), "{duration} at {now}");
        }
    }
}
