//! Times that recur, as a line of cron says them: minute, hour, day of the month, month, day of the week; UTC.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// Years that are looked through for the next time: a 29th of February on a certain day of the week comes within them.
const YEARS: i16 = 41;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A line of cron.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cron {
    /// A bit for each value that fits.
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// 0 is Sunday.
    weekdays: u64,
    /// Whether the days of the month, and those of the week, are told apart at all. When both are, a day may fit either.
    by_day: bool,
    by_weekday: bool,
}

impl Cron {
    /// Reads five fields: `*`, numbers, `a-b`, `/step`, lists of them; names of months and days of the week; 7 is Sunday, too.
    ///
    /// # Errors
    /// What is wrong with which field.
    pub fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!(
                "expected five fields (minute, hour, day of the month, month, day of the week), not {line:?}"
            ));
        };
        let weekdays = field(weekday, (0, 7), &DAYS)?;
        let cron = Self {
            minutes: field(minute, (0, 59), &[])?,
            hours: field(hour, (0, 23), &[])?,
            days: field(day, (1, 31), &[])?,
            months: field(month, (1, 12), &MONTHS)?,
            weekdays: weekdays | weekdays >> 7 & 1,
            by_day: !day.starts_with('*'),
            by_weekday: !weekday.starts_with('*'),
        };
        match cron.after(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(format!("{line:?} never comes")),
        }
    }

    /// The next time after this one.
    pub fn after(&self, now: Timestamp) -> Option<Timestamp> {
        let now = now.to_zoned(TimeZone::UTC).datetime();
        let first = now.checked_add(1.minute()).ok()?;
        let mut day = first.date();
        let mut at = first.hour() as u32 * 60 + first.minute() as u32;
        while day.year() <= now.year() + YEARS {
            if self.has_day(day.into()) {
                let fits = |at: &u32| has(self.hours, at / 60) && has(self.minutes, at % 60);
                if let Some(at) = (at..24 * 60).find(fits) {
                    let time = day.at((at / 60) as i8, (at % 60) as i8, 0, 0);
                    return Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
                }
            }
            day = day.tomorrow().ok()?;
            at = 0;
        }
        None
    }

    fn has_day(&self, day: DateTime) -> bool {
        let in_month = has(self.days, day.day() as u32);
        let in_week = has(self.weekdays, day.weekday().to_sunday_zero_offset() as u32);
        let fits = match self.by_day && self.by_weekday {
            true => in_month || in_week,
            false => in_month && in_week,
        };
        fits && has(self.months, day.month() as u32)
    }
}

fn has(bits: u64, value: u32) -> bool {
    bits >> value & 1 == 1
}

/// The bits of a field.
fn field(text: &str, (least, most): (u32, u32), names: &[&str]) -> Result<u64, String> {
    let wrong = || format!("{text:?} is none of {least} to {most}, nor a range or list of them");
    let number = |word: &str| -> Option<u32> {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(word));
        let number = match named {
            Some(at) => u32::try_from(at).ok()? + least,
            None => word.parse().ok()?,
        };
        (least..=most).contains(&number).then_some(number)
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse()
                    .ok()
                    .filter(|step| *step > 0)
                    .ok_or_else(wrong)?,
            ),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (
                number(from).ok_or_else(wrong)?,
                number(to).ok_or_else(wrong)?,
            ),
            None => {
                let from = number(range).ok_or_else(wrong)?;
                let to = if part.contains('/') { most } else { from };
                (from, to)
            }
        };
        if from > to {
            return Err(wrong());
        }
        for value in (from..=to).step_by(step) {
            bits |= 1 << value;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_found() {
        let cases = [
            ("0 4 * * *", "2026-01-31T04:00:00Z", "2026-02-01T04:00:00Z"),
            ("0 4 * * *", "2026-01-31T03:59:59Z", "2026-01-31T04:00:00Z"),
            (
                "*/15 * * * *",
                "2026-01-01T00:46:00Z",
                "2026-01-01T01:00:00Z",
            ),
            (
                "5-10/5,30 22 * * *",
                "2026-01-01T22:05:30Z",
                "2026-01-01T22:10:00Z",
            ),
            ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            // A Friday, by name and number; Sunday is 0 and 7.
            (
                "0 0 * * FRI",
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00Z",
            ),
            ("0 0 * * 0", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            ("0 0 * * 7", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
            // Either fits.
            (
                "0 0 3 * mon",
                "2026-01-01T00:00:00Z",
                "2026-01-03T00:00:00Z",
            ),
            (
                "0 0 3 * mon",
                "2026-01-03T00:00:00Z",
                "2026-01-05T00:00:00Z",
            ),
            (
                "0 12 1 jan,JUL *",
                "2026-01-01T12:00:00Z",
                "2026-07-01T12:00:00Z",
            ),
        ];
        for (line, now, next) in cases {
            let cron = Cron::parse(line).unwrap();
            let found = cron.after(now.parse().unwrap()).unwrap();
            assert_eq!(found, next.parse().unwrap(), "{line} after {now}");
        }
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for line in [
            "",
            "0 4 * *",
            "0 4 * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "0 0 31 2 *",
            "1,,2 * * * *",
            "-1 * * * *",
            "@daily",
        ] {
            assert!(Cron::parse(line).is_err(), "{line}");
        }
    }
}
