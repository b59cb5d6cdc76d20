//! Durations as LiteLLM writes them: `30s`, `5m`, `1h`, `7d`, `2w`, `1mo`, and the plain words
//! `hourly`, `daily`, `weekly`, `monthly`.

use std::fmt;

use thiserror::Error;

/// A span of time. Months are calendar months, so they are not a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Span {
    /// A fixed number of seconds.
    Seconds(u64),
    /// Calendar months.
    Months(u32),
}

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DurationError {
    /// No number, or one that does not fit.
    #[error("does not begin with a whole number that fits")]
    Number,
    /// A unit nobody knows.
    #[error("does not end in one of the units s, m, h, d, w, mo")]
    Unit,
}

/// Reads a duration such as `30d`.
///
/// # Errors
/// Says which half is wrong: the number or the unit.
pub fn parse_duration(text: &str) -> Result<Span, DurationError> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "hourly" => return Ok(Span::Seconds(3600)),
        "daily" => return Ok(Span::Seconds(86_400)),
        "weekly" => return Ok(Span::Seconds(604_800)),
        "monthly" => return Ok(Span::Months(1)),
        _ => {}
    }
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let seconds_each: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        "mo" => {
            return digits
                .parse()
                .map(Span::Months)
                .map_err(|_| DurationError::Number);
        }
        _ if digits.is_empty() => return Err(DurationError::Number),
        _ => return Err(DurationError::Unit),
    };
    let count: u64 = digits.parse().map_err(|_| DurationError::Number)?;
    count
        .checked_mul(seconds_each)
        .map(Span::Seconds)
        .ok_or(DurationError::Number)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds}s"),
            Self::Months(months) => write!(f, "{months}mo"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let cases = [
            ("30s", Ok(Span::Seconds(30))),
            ("5m", Ok(Span::Seconds(300))),
            ("1h", Ok(Span::Seconds(3600))),
            ("7d", Ok(Span::Seconds(604_800))),
            ("2w", Ok(Span::Seconds(1_209_600))),
            ("1mo", Ok(Span::Months(1))),
            (" Daily ", Ok(Span::Seconds(86_400))),
            ("monthly", Ok(Span::Months(1))),
            ("5", Err(DurationError::Unit)),
            ("d", Err(DurationError::Number)),
            ("1.5h", Err(DurationError::Unit)),
            ("-1d", Err(DurationError::Number)),
            ("3 days", Err(DurationError::Unit)),
            ("99999999999999999999d", Err(DurationError::Number)),
            ("9999999999999999d", Err(DurationError::Number)),
            ("", Err(DurationError::Number)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }
}
