//! Times as text, without a calendar library.

/// `2025-07-01T12:34:56.789Z`, from milliseconds since the epoch.
pub fn rfc3339(epoch_ms: u64) -> String {
    let (year, month, day) = date(epoch_ms / 86_400_000);
    let (hour, minute, second) = time_of_day(epoch_ms);
    let milli = epoch_ms % 1000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The same from seconds as a float, as LiteLLM's events give times. What is no time becomes the epoch.
pub fn rfc3339_from_s(epoch_s: f64) -> String {
    rfc3339(ms_from_s(epoch_s))
}

/// Milliseconds from seconds as a float, rounded. What is no time becomes 0.
pub fn ms_from_s(epoch_s: f64) -> u64 {
    // The cast saturates, and takes NaN for 0.
    (epoch_s * 1000.0).round() as u64
}

/// Milliseconds since the epoch of `2025-07-01T12:34:56.789Z`, also with `+02:00` or a space in place of the `T`; seconds
/// may be cut short. `None` when it is no time after 1970.
pub fn ms_from_rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut milli = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(fraction.len());
        let digits = format!("{:0<3}", fraction.get(..end)?);
        milli = digits.get(..3)?.parse().ok()?;
        rest = fraction.get(end..)?;
    }
    let offset = match rest {
        "" | "Z" | "z" => 0,
        zone => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            let hours: i64 = zone.get(1..3)?.parse().ok()?;
            let minutes: i64 = zone.get(zone.len() - 2..)?.parse().ok()?;
            sign * (hours * 60 + minutes)
        }
    };
    // The year begins on 1 March, so that the leap day is its last.
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let minutes = (days * 24 + hour) * 60 + minute - offset;
    u64::try_from((minutes * 60 + second) * 1000 + milli).ok()
}

/// Hour, minute and second (UTC) of milliseconds since the epoch.
pub fn time_of_day(epoch_ms: u64) -> (u64, u64, u64) {
    let second = epoch_ms / 1000 % 86_400;
    (second / 3600, second / 60 % 60, second % 60)
}

/// Year, month (from 1) and day (from 1) of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counts in eras of 400 years that begin on 1 March, so that the leap day is the last of its year.
fn date(epoch_day: u64) -> (u64, u64, u64) {
    let day = epoch_day + 719_468;
    let era = day / 146_097;
    let day_of_era = day % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_735_689_599_001, "2024-12-31T23:59:59.001Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (epoch_ms, text) in cases {
            assert_eq!(rfc3339(epoch_ms), text);
            assert_eq!(ms_from_rfc3339(text), Some(epoch_ms));
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let noon = Some(1_751_371_200_000);
        for text in [
            "2025-07-01T12:00:00Z",
            "2025-07-01 12:00:00",
            "2025-07-01T14:00:00.000000+02:00",
            "2025-07-01T06:30:00-0530",
        ] {
            assert_eq!(ms_from_rfc3339(text), noon, "{text}");
        }
        for wrong in [
            "",
            "tomorrow",
            "2025-13-01T00:00:00Z",
            "2025-07-01T24:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(ms_from_rfc3339(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn floats_are_rounded_and_never_panic() {
        assert_eq!(
            rfc3339_from_s(1_735_689_599.0006),
            "2024-12-31T23:59:59.001Z"
        );
        assert_eq!(rfc3339_from_s(f64::NAN), "1970-01-01T00:00:00.000Z");
        assert_eq!(ms_from_s(-1.0), 0);
    }
}
