//! Makes a value what its definition says it is, or says why it is not.
//!
//! LiteLLM reads many values through Python's forgiving conversions; what is unambiguous is read
//! here too (`"4"` for 4, `"yes"` for true, one name for a list of one), the rest is an error.

use crate::definition::kind::Kind;
use crate::duration::{Span, parse_duration};
use crate::node::{Data, Node};
use crate::problem::{Problem, ProblemKind};
use crate::suggest;

/// Longest value a message quotes.
const QUOTED_CHARS_MAX: usize = 60;

/// Fits a value to a kind in place. Problems name the value's path; `secret` keeps it unquoted.
pub(crate) fn fit(
    node: &mut Node,
    kind: &Kind,
    path: &str,
    secret: bool,
    problems: &mut Vec<Problem>,
) {
    match kind {
        Kind::Names => match &mut node.data {
            Data::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    fit(
                        item,
                        &Kind::String,
                        &format!("{path}[{index}]"),
                        secret,
                        problems,
                    );
                }
            }
            Data::Text(_) => {
                let item = node.clone();
                node.data = Data::List(vec![item]);
            }
            _ => problems.push(mismatch(node, kind, path, secret)),
        },
        Kind::List(item_kind) => match &mut node.data {
            Data::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    fit(
                        item,
                        item_kind,
                        &format!("{path}[{index}]"),
                        secret,
                        problems,
                    );
                }
            }
            _ => problems.push(mismatch(node, kind, path, secret)),
        },
        Kind::MapOf(value_kind) => match &mut node.data {
            Data::Map(entries) => {
                for (name, entry) in entries
                    .iter_mut()
                    .filter(|(_, entry)| !entry.node.is_null())
                {
                    fit(
                        &mut entry.node,
                        value_kind,
                        &format!("{path}.{name}"),
                        secret,
                        problems,
                    );
                }
            }
            _ => problems.push(mismatch(node, kind, path, secret)),
        },
        Kind::Fallbacks => fallbacks(node, path, problems),
        Kind::Known(words) if node.as_text().is_some() => {
            known(node, words, path, secret, problems)
        }
        Kind::Any => {}
        Kind::Map | Kind::Section if node.as_map().is_some() => {}
        Kind::Either(kinds) => either(node, kinds, kind, path, secret, problems),
        _ => match scalar(node, kind) {
            Some(data) => node.data = data,
            None => problems.push(mismatch(node, kind, path, secret)),
        },
    }
}

/// The first kind that fits without a problem; when none does, what is expected in all.
fn either(
    node: &mut Node,
    kinds: &[Kind],
    all: &Kind,
    path: &str,
    secret: bool,
    problems: &mut Vec<Problem>,
) {
    for kind in kinds {
        let mut attempt = node.clone();
        let mut found = Vec::new();
        fit(&mut attempt, kind, path, secret, &mut found);
        if found.is_empty() {
            *node = attempt;
            return;
        }
    }
    problems.push(mismatch(node, all, path, secret));
}

/// A scalar as the kind wants it; none when it does not fit.
fn scalar(node: &Node, kind: &Kind) -> Option<Data> {
    let data = &node.data;
    match (kind, data) {
        (Kind::Bool, _) => boolean(data).map(Data::Bool),
        (Kind::Int, _) => integer(data).map(Data::Int),
        (Kind::Count, _) => integer(data).filter(|value| *value >= 0).map(Data::Int),
        (Kind::Number, _) => number(data),
        (Kind::Seconds, _) => number(data).filter(|value| !is_negative(value)),
        (Kind::Duration, Data::Text(text)) => parse_duration(text).ok().map(|_| data.clone()),
        (Kind::Days, Data::Text(text)) => days(text).then(|| data.clone()),
        (Kind::String | Kind::Url | Kind::Path | Kind::Code, Data::Text(_)) => Some(data.clone()),
        (Kind::Text, Data::Text(_)) => Some(data.clone()),
        (Kind::Text, Data::Bool(value)) => Some(Data::Text(value.to_string())),
        (Kind::Text, Data::Int(value)) => Some(Data::Text(value.to_string())),
        (Kind::Text, Data::Float(value)) => Some(Data::Text(value.to_string())),
        (Kind::Enum(words), Data::Text(text)) => word(words, text),
        (Kind::Enum(words), Data::Int(value)) => word(words, &value.to_string()),
        _ => None,
    }
}

/// Booleans as settled for variables and quoted values: any other text is an error, not "true".
fn boolean(data: &Data) -> Option<bool> {
    match data {
        Data::Bool(value) => Some(*value),
        Data::Int(0) => Some(false),
        Data::Int(1) => Some(true),
        Data::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn integer(data: &Data) -> Option<i64> {
    match data {
        Data::Int(value) => Some(*value),
        // Up to 2^53 every whole float is exactly one integer.
        Data::Float(value) if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 => {
            Some(*value as i64)
        }
        Data::Text(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}

fn number(data: &Data) -> Option<Data> {
    match data {
        Data::Int(_) => Some(data.clone()),
        Data::Float(value) if !value.is_nan() => Some(data.clone()),
        Data::Text(text) => {
            let text = text.trim().replace('_', "");
            text.parse::<i64>().map(Data::Int).ok().or_else(|| {
                text.parse::<f64>()
                    .ok()
                    .filter(|value| value.is_finite())
                    .map(Data::Float)
            })
        }
        _ => None,
    }
}

fn is_negative(data: &Data) -> bool {
    match data {
        Data::Int(value) => *value < 0,
        Data::Float(value) => *value < 0.0,
        _ => false,
    }
}

fn days(text: &str) -> bool {
    text.ends_with('d') && matches!(parse_duration(text), Ok(Span::Seconds(seconds)) if seconds > 0)
}

fn word(words: &[String], text: &str) -> Option<Data> {
    words
        .iter()
        .any(|word| word == text)
        .then(|| Data::Text(text.to_owned()))
}

/// `[{group: [target, …]}, …]`: each item has one group, each target is a group or a mapping.
fn fallbacks(node: &Node, path: &str, problems: &mut Vec<Problem>) {
    let wrong = |at: &Node, path: String, message: &str| {
        Problem::error(ProblemKind::WrongType, &at.at, path, message)
            .fix("write `- group: [first, second]`")
    };
    let Some(items) = node.as_list() else {
        problems.push(wrong(
            node,
            path.to_owned(),
            &format!("expected a list of fallbacks, found {}", node.shape()),
        ));
        return;
    };
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let Some(entries) = item.as_map().filter(|entries| entries.len() == 1) else {
            problems.push(wrong(
                item,
                path,
                "expected a mapping from one model group to a list of groups",
            ));
            continue;
        };
        for (group, entry) in entries {
            let path = format!("{path}.{group}");
            match entry.node.as_list() {
                None => problems.push(wrong(
                    &entry.node,
                    path,
                    &format!("expected a list of groups, found {}", entry.node.shape()),
                )),
                Some(targets) => {
                    let bad = targets.iter().enumerate().find(|(_, target)| {
                        target.as_text().is_none() && target.get("model").is_none()
                    });
                    if let Some((at, target)) = bad {
                        problems.push(wrong(
                            target,
                            format!("{path}[{at}]"),
                            "expected a model group, or a mapping with `model`",
                        ));
                    }
                }
            }
        }
    }
}

/// Warns about a word nobody knows: newer releases may know more of them.
fn known(node: &Node, words: &[String], path: &str, secret: bool, problems: &mut Vec<Problem>) {
    let Some(text) = node
        .as_text()
        .filter(|text| !words.iter().any(|word| word == text))
    else {
        return;
    };
    let shown = quotable(node)
        .filter(|_| !secret && node.variable.is_none())
        .map(|text| format!(" `{text}`"));
    let message = format!(
        "the value{} is none that is known",
        shown.unwrap_or_default()
    );
    let near = suggest::nearest(text, words.iter().map(String::as_str));
    let fix = near.map_or_else(
        || format!("known are {}", suggest::one_of(words)),
        |near| format!("did you mean `{near}`?"),
    );
    problems.push(Problem::warning(ProblemKind::Reference, &node.at, path, message).fix(fix));
}

/// The error for a value that does not fit.
fn mismatch(node: &Node, kind: &Kind, path: &str, secret: bool) -> Problem {
    let expected = kind.expectation();
    let problem = |message: String| Problem::error(ProblemKind::WrongType, &node.at, path, message);
    if let Some(variable) = &node.variable {
        return problem(format!(
            "expected {expected}, but the variable {variable} holds something else"
        ))
        .fix(format!("correct {variable}"));
    }
    let found = match quotable(node).filter(|_| !secret) {
        Some(value) => format!("{} `{value}`", node.shape()),
        None => node.shape().to_owned(),
    };
    let problem = problem(format!("expected {expected}, found {found}"));
    match (kind, &node.data) {
        (Kind::Enum(words), Data::Text(text)) => {
            let near = suggest::nearest(text, words.iter().map(String::as_str));
            near.map_or_else(
                || problem.clone(),
                |near| problem.clone().fix(format!("did you mean `{near}`?")),
            )
        }
        (
            Kind::String | Kind::Url | Kind::Path | Kind::Code,
            Data::Int(_) | Data::Float(_) | Data::Bool(_),
        ) => problem.fix("write it in quotes"),
        (Kind::List(_), Data::Text(_)) => problem.fix("write it in brackets"),
        _ => problem,
    }
}

/// A short scalar, as it may be quoted in a message.
fn quotable(node: &Node) -> Option<String> {
    let text = match &node.data {
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => value.to_string(),
        Data::Float(value) => value.to_string(),
        Data::Text(text) => text.clone(),
        Data::Null | Data::List(_) | Data::Map(_) => return None,
    };
    (text.chars().count() <= QUOTED_CHARS_MAX && !text.contains('\n')).then_some(text)
}
