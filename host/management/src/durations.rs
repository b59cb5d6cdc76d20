//! LiteLLM's durations: `30s`, `30m`, `30h`, `30d`, `2w`, `1mo`.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Whether a text is a duration, or LiteLLM's word for one.
#[must_use]
pub fn is_duration(text: &str) -> bool {
    text == "-1" || words(text) != text || parts(text).is_some()
}

/// `hourly` and its sisters, as durations.
#[must_use]
pub fn words(text: &str) -> &str {
    match text {
        "hourly" => "1h",
        "daily" => "24h",
        "weekly" => "7d",
        "monthly" => "30d",
        other => other,
    }
}

/// Count and unit.
fn parts(text: &str) -> Option<(i64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let known = ["s", "m", "h", "d", "w", "mo"].contains(&unit);
    Some((count.parse().ok().filter(|_| known)?, unit))
}

/// When something that is given `duration` now ends; `None` for `-1`, never.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn end(duration: &str, now: Timestamp) -> Result<Option<Timestamp>, String> {
    if duration == "-1" {
        return Ok(None);
    }
    let wrong = || {
        format!(
            "duration {duration:?} is not one: a whole number and s, m, h, d, w or mo, such as 30d; -1 for never"
        )
    };
    let (count, unit) = parts(words(duration)).ok_or_else(wrong)?;
    let span = Span::new();
    let span = match unit {
        "s" => span.try_seconds(count),
        "m" => span.try_minutes(count),
        "h" => span.try_hours(count),
        "d" => span.try_days(count),
        "w" => span.try_weeks(count),
        _ => span.try_months(count),
    };
    let ends = span.and_then(|span| now.to_zoned(TimeZone::UTC).checked_add(span));
    ends.map(|at| Some(at.timestamp())).map_err(|_| {
        format!("duration {duration:?} ends beyond the year 9999; -1 makes a key that never ends")
    })
}

/// Seconds of a duration; a month counts as 30 days.
#[must_use]
pub fn seconds(duration: &str) -> Option<u64> {
    let (count, unit) = parts(words(duration))?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => 2_592_000,
    };
    u64::try_from(count).ok()?.checked_mul(unit)
}

const DAY: i64 = 86_400;

/// When a budget of this duration that begins now is next set to zero (LiteLLM's `get_next_standardized_reset_time`):
/// days at midnight, a week on Monday, 30 days and a month on the first, hours, minutes and seconds aligned.
#[must_use]
pub fn next_reset(duration: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let local = now.to_zoned(zone.clone());
    let midnight = local.start_of_day().ok()?;
    let (count, unit) = parts(words(duration)).unwrap_or((1, "d"));
    let aligned = |of: i64, seconds: i64| {
        let next = (of / count + 1).checked_mul(count)?.checked_mul(seconds)?;
        // A whole day is one of the calendar, also where it has 23 hours.
        let day = midnight.checked_add(Span::new().try_days(next / DAY).ok()?);
        day.ok()?
            .checked_add(Span::new().try_seconds(next % DAY).ok()?)
            .ok()
    };
    let of_day = local.timestamp().as_second() - midnight.timestamp().as_second();
    let next = match (count, unit) {
        (0, _) => return None,
        (7, "d") | (1, "w") => {
            let days = 7 - i64::from(local.weekday().to_monday_zero_offset());
            midnight.checked_add(Span::new().days(days)).ok()?
        }
        (30, "d") | (1, "mo") => midnight
            .first_of_month()
            .ok()?
            .checked_add(Span::new().months(1))
            .ok()?,
        (n, "mo") => midnight
            .first_of_month()
            .ok()?
            .checked_add(Span::new().try_months(n).ok()?)
            .ok()?,
        (n, "d") => midnight.checked_add(Span::new().try_days(n).ok()?).ok()?,
        (n, "w") => midnight.checked_add(Span::new().try_weeks(n).ok()?).ok()?,
        (_, "h") => aligned(of_day / 3600, 3600)?,
        (_, "m") => aligned(of_day / 60, 60)?,
        _ => aligned(of_day, 1)?,
    };
    Some(next.timestamp())
}

/// When the window began that ends then: what [`next_reset`] gives just after.
#[must_use]
pub fn began(duration: &str, ends: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let (count, unit) = parts(words(duration)).unwrap_or((1, "d"));
    let span = Span::new();
    let span = match (count, unit) {
        (30, "d") => span.months(1),
        (n, "mo") => span.try_months(n).ok()?,
        (n, "d") => span.try_days(n).ok()?,
        (n, "w") => span.try_weeks(n).ok()?,
        (n, unit) => {
            let seconds = match unit {
                "h" => n.checked_mul(3600)?,
                "m" => n.checked_mul(60)?,
                _ => n,
            };
            let days = span.try_days(seconds / DAY).ok()?;
            days.try_seconds(seconds % DAY).ok()?
        }
    };
    let began = ends.to_zoned(zone.clone()).checked_sub(span).ok()?;
    Some(began.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_reset_on_round_times() {
        let next = |duration: &str, now: &str| {
            let now = now.parse().unwrap();
            next_reset(duration, now, &TimeZone::UTC)
                .unwrap()
                .to_string()
        };
        let wednesday = "2026-01-07T14:20:30Z";
        assert_eq!(next("1d", wednesday), "2026-01-08T00:00:00Z");
        assert_eq!(next("24h", wednesday), "2026-01-08T00:00:00Z");
        assert_eq!(next("7d", wednesday), "2026-01-12T00:00:00Z");
        assert_eq!(next("7d", "2026-01-12T00:00:00Z"), "2026-01-19T00:00:00Z");
        assert_eq!(next("30d", wednesday), "2026-02-01T00:00:00Z");
        assert_eq!(next("1mo", "2026-12-31T23:59:59Z"), "2027-01-01T00:00:00Z");
        assert_eq!(next("3d", wednesday), "2026-01-10T00:00:00Z");
        assert_eq!(next("1h", wednesday), "2026-01-07T15:00:00Z");
        assert_eq!(next("6h", wednesday), "2026-01-07T18:00:00Z");
        assert_eq!(next("15m", wednesday), "2026-01-07T14:30:00Z");
        assert_eq!(next("30s", wednesday), "2026-01-07T14:21:00Z");
        assert_eq!(next("nonsense", wednesday), "2026-01-08T00:00:00Z");
    }

    #[test]
    fn a_window_began_where_the_one_before_ended() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for duration in [
            "1d", "7d", "30d", "1mo", "3mo", "1h", "6h", "15m", "30s", "24h", "1w",
        ] {
            // Over the change to summer time, too.
            for now in [
                "2026-01-07T14:20:30Z",
                "2026-03-28T23:30:00Z",
                "2026-06-30T22:00:00Z",
            ] {
                let ends = next_reset(duration, now.parse().unwrap(), &zone).unwrap();
                let again = next_reset(duration, ends, &zone).unwrap();
                assert_eq!(
                    began(duration, again, &zone),
                    Some(ends),
                    "{duration} {now}"
                );
            }
        }
    }

    #[test]
    fn durations_end_where_the_calendar_says() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let ends = |text: &str| end(text, now).map(|at| at.map(|at| at.to_string()));
        assert_eq!(
            ends("1mo").unwrap().as_deref(),
            Some("2026-02-28T12:00:00Z")
        );
        assert_eq!(ends("2w").unwrap().as_deref(), Some("2026-02-14T12:00:00Z"));
        assert_eq!(
            ends("90m").unwrap().as_deref(),
            Some("2026-01-31T13:30:00Z")
        );
        assert_eq!(ends("-1").unwrap(), None);
        for wrong in [
            "",
            "d",
            "30",
            "30y",
            "-2d",
            "1.5h",
            "99999999999999999999d",
            "999999mo",
        ] {
            assert!(ends(wrong).is_err(), "{wrong}");
            assert!(!is_duration(wrong) || wrong == "999999mo", "{wrong}");
        }
        assert_eq!(seconds("2h"), Some(7200));
        assert_eq!(seconds("weekly"), Some(604_800));
    }
}
