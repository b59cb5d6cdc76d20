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
