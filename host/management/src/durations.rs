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

#[cfg(test)]
mod tests {
    use super::*;

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
