//! What a scalar means in YAML 1.1, as PyYAML's safe loader decides it.
//!
//! Where YAML 1.1 and 1.2 differ the older one holds: `yes`/`on` are booleans (but `y` is not),
//! `017` is octal, `0o17` a text, `1_000` a number, `12:30:45` counts in sixties, `1e3` without a
//! dot is a text. Dates stay the text they are written as.

use saphyr_parser::Tag;

use crate::node::Data;

/// The meaning of an unquoted scalar without a tag.
pub(super) fn plain(text: &str) -> Data {
    null(text)
        .or_else(|| boolean(text))
        .or_else(|| integer(text))
        .or_else(|| float(text))
        .unwrap_or_else(|| Data::Text(text.to_owned()))
}

/// The meaning of a scalar with an explicit tag, or why it has none.
pub(super) fn tagged(tag: &Tag, text: &str) -> Result<Data, String> {
    let name = format!("{}{}", tag.handle, tag.suffix);
    let refuse = || format!("`{text}` does not fit the tag `{name}`");
    if !tag.is_yaml_core_schema() {
        // A lone `!` says "not a plain scalar".
        return if name == "!" {
            Ok(Data::Text(text.to_owned()))
        } else {
            Err(format!("the tag `{name}` is not read here"))
        };
    }
    match tag.suffix.as_str() {
        "str" => Ok(Data::Text(text.to_owned())),
        "null" => null(text).ok_or_else(refuse),
        "bool" => boolean(text).ok_or_else(refuse),
        "int" => integer(text).ok_or_else(refuse),
        "float" => float(text)
            .or_else(|| match integer(text) {
                Some(Data::Int(value)) => Some(Data::Float(value as f64)),
                other => other,
            })
            .ok_or_else(refuse),
        _ => Err(format!("the tag `{name}` is not read here")),
    }
}

fn null(text: &str) -> Option<Data> {
    matches!(text, "" | "~" | "null" | "Null" | "NULL").then_some(Data::Null)
}

fn boolean(text: &str) -> Option<Data> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(Data::Bool(true))
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(Data::Bool(false))
        }
        _ => None,
    }
}

fn integer(text: &str) -> Option<Data> {
    let (negative, digits) = sign(text);
    let value = if let Some(binary) = digits.strip_prefix("0b") {
        radix(binary, 2)
    } else if let Some(hex) = digits.strip_prefix("0x") {
        radix(hex, 16)
    } else if digits == "0" {
        Some(Whole::Fits(0))
    } else if let Some(octal) = digits.strip_prefix('0') {
        radix(octal, 8)
    } else if digits.contains(':') {
        sixties(digits)
    } else {
        radix(digits, 10).filter(|_| digits.starts_with(|c: char| c.is_ascii_digit()))
    }?;
    Some(match value {
        // Python's integers have no end; here the few that do not fit 64 bits lose precision.
        Whole::Large(value) => Data::Float(if negative { -value } else { value }),
        Whole::Fits(value) => Data::Int(if negative { -value } else { value }),
    })
}

enum Whole {
    Fits(i64),
    Large(f64),
}

/// Digits with `_` between them; at least one digit (or `_`, as PyYAML has it, but then no value).
fn radix(digits: &str, radix: u32) -> Option<Whole> {
    let mut value = Some(0_i64);
    let mut large = 0_f64;
    let mut seen = false;
    for c in digits.chars().filter(|&c| c != '_') {
        let digit = c.to_digit(radix)?;
        seen = true;
        value = value.and_then(|value| {
            value
                .checked_mul(i64::from(radix))?
                .checked_add(i64::from(digit))
        });
        large = large * f64::from(radix) + f64::from(digit);
    }
    seen.then(|| value.map_or(Whole::Large(large), Whole::Fits))
}

/// `12:30:45`: hours, minutes and seconds, or any count in sixties.
fn sixties(text: &str) -> Option<Whole> {
    let mut parts = text.split(':');
    let first = parts.next()?;
    if !first.starts_with(|c: char| ('1'..='9').contains(&c)) {
        return None;
    }
    let Whole::Fits(mut value) = radix(first, 10)? else {
        return None;
    };
    for part in parts {
        value = value
            .checked_mul(60)?
            .checked_add(i64::from(sixtieth(part)?))?;
    }
    Some(Whole::Fits(value))
}

/// One or two digits below sixty.
fn sixtieth(part: &str) -> Option<u8> {
    let fits = matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    if fits { part.parse().ok() } else { None }
}

fn float(text: &str) -> Option<Data> {
    let (negative, digits) = sign(text);
    let value = match digits {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        ".nan" | ".NaN" | ".NAN" if text.starts_with('.') => f64::NAN,
        _ => decimal(digits, text)?,
    };
    Some(Data::Float(if negative { -value } else { value }))
}

/// `1.5`, `1_0.`, `.5`, `1.0e+3`: a dot is required, and a sign in the exponent.
fn decimal(digits: &str, text: &str) -> Option<f64> {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (digits.get(..at)?, digits.get(at + 1..)),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.')?;
    let digits_only = |part: &str| part.chars().all(|c| c.is_ascii_digit() || c == '_');
    if !digits_only(whole) || !digits_only(fraction) {
        return None;
    }
    let starts_with_digit = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    // `.5` has no sign in YAML 1.1's pattern, and must have a digit right after the dot.
    let begins_well = if whole.is_empty() {
        starts_with_digit(fraction) && text.starts_with('.')
    } else {
        starts_with_digit(whole)
    };
    if !begins_well {
        return None;
    }
    if let Some(exponent) = exponent {
        let power = exponent.strip_prefix(['+', '-'])?;
        if power.is_empty() || !power.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
    }
    digits.replace('_', "").parse().ok()
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}
