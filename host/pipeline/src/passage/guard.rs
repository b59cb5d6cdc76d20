//! Guardrails of a pass-through route (`guardrails`): they judge the whole request and the whole answer.
//!
//! A route without guardrails is not judged, not even by those that are always on: they look for messages, which a request to
//! anybody may not have. With one of its own it is judged by those, too, and by the caller's, as in LiteLLM.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::CONTENT_TYPE;
use witgate_wire::json::{Tree, without_repeats};

use super::{Passage, Pieces};
use crate::exchange::{BodyFault, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::guard::{WireView, edited_body, judge, of_caller};
use crate::ports::{BodyText, Phase};

/// Longest request that is judged where `max_request_size_mb` says nothing, bytes. It is held in memory.
const REQUEST_MAX: usize = 32 << 20;

/// A guardrail of a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judge {
    /// Its name among the configuration's `guardrails`.
    pub name: String,
    /// The texts of a request that it judges (`request_fields`); every text when empty.
    pub request: Vec<Field>,
    /// The same of an answer (`response_fields`).
    pub response: Vec<Field>,
}

/// Which texts of a JSON document are meant: a path such as `documents[*].text`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    At(usize),
    Each,
}

impl Field {
    /// Reads a path: names joined by dots, each with any number of `[0]` or `[*]` behind it. `$.` may stand before it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("$.").unwrap_or(text);
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, mut behind) = part.split_at(part.find('[').unwrap_or(part.len()));
            match name {
                "" if behind.is_empty() => return None,
                "" => {}
                "*" => steps.push(Step::Each),
                name => steps.push(Step::Name(name.to_owned())),
            }
            while !behind.is_empty() {
                let (inside, rest) = behind.strip_prefix('[')?.split_once(']')?;
                steps.push(match inside {
                    "*" => Step::Each,
                    number => Step::At(number.parse().ok()?),
                });
                behind = rest;
            }
        }
        Some(Self(steps))
    }
}

/// The texts of a body that these fields mean, each with its JSON pointer. A body that is no JSON is one text.
pub(super) fn texts(body: &Bytes, fields: &[Field]) -> Option<Vec<BodyText>> {
    let mut found = Vec::new();
    let Ok(document) = Tree::of(body) else {
        let text = std::str::from_utf8(body).ok()?;
        if !text.is_empty() {
            found.push(BodyText {
                pointer: String::new(),
                role: None,
                text: text.to_owned(),
            });
        }
        return Some(found);
    };
    match fields.is_empty() {
        true => collect(&document, &mut String::new(), &mut found),
        false => {
            for Field(steps) in fields {
                follow(&document, steps, &mut String::new(), &mut found);
            }
        }
    }
    Some(found)
}

/// Goes along the steps; what is there at the end is meant with all that is in it.
fn follow(value: &Tree<'_>, steps: &[Step], at: &mut String, found: &mut Vec<BodyText>) {
    let Some((step, rest)) = steps.split_first() else {
        return collect(value, at, found);
    };
    each(value, at, &mut |name, child, at| {
        let is_meant = match step {
            Step::Each => true,
            Step::Name(wanted) => name == wanted && matches!(value, Tree::Object(_)),
            Step::At(wanted) => name == wanted.to_string() && matches!(value, Tree::Array(_)),
        };
        if is_meant {
            follow(child, rest, at, found);
        }
    });
}

/// Every text in a value.
fn collect(value: &Tree<'_>, at: &mut String, found: &mut Vec<BodyText>) {
    if let Tree::Text(text) = value {
        found.push(BodyText {
            pointer: at.clone(),
            role: None,
            text: text.clone().into_owned(),
        });
    }
    each(value, at, &mut |_, child, at| collect(child, at, found));
}

/// What a value has in it, each with its name or number, and `at` made its pointer.
fn each(value: &Tree<'_>, at: &mut String, visit: &mut dyn FnMut(&str, &Tree<'_>, &mut String)) {
    let mut below = |name: &str, child: &Tree<'_>| {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        visit(name, child, at);
        at.truncate(length);
    };
    match value {
        Tree::Object(members) => members.iter().for_each(|(name, child)| below(name, child)),
        Tree::Array(items) => {
            let numbered = items.iter().enumerate();
            numbered.for_each(|(number, child)| below(&number.to_string(), child));
        }
        Tree::Text(_) | Tree::Other => {}
    }
}

/// What is judged is what is passed on: of members with one name only the last, of which a target may read the first; and what
/// calls itself JSON and is none could be read in another way, escapes resolved.
fn unambiguous(x: &Exchange, phase: Phase, body: Bytes) -> Result<Bytes, Failure> {
    match without_repeats(&body) {
        Ok(cut) => Ok(cut.unwrap_or(body)),
        Err(error) => {
            let media = x.arrival.headers.get(CONTENT_TYPE);
            let media = media
                .and_then(|media| media.to_str().ok())
                .unwrap_or_default();
            let media = media.split(';').next().unwrap_or_default().trim();
            let media = media.to_ascii_lowercase();
            let says_json = media == "application/json" || media.ends_with("+json");
            if phase == Phase::PostCall || !says_json || body.is_empty() {
                return Ok(body);
            }
            let message = format!(
                "the body is to be judged and is not the JSON that content-type says: {error}"
            );
            Err(Failure::new(Case::InvalidBody, message))
        }
    }
}

/// Whether anybody judges in this phase.
pub(super) fn judges(x: &Exchange, passage: &Passage, phase: Phase) -> bool {
    selected(x, passage, phase).next().is_some()
}

/// Those who judge in this phase: by their index, with what the route says of them.
fn selected<'a>(
    x: &'a Exchange,
    passage: &'a Passage,
    phase: Phase,
) -> impl Iterator<Item = (usize, Option<&'a Judge>)> {
    let entries = match passage.guardrails.is_empty() {
        true => &[][..],
        false => &x.snapshot.guardrails[..],
    };
    let named = entries.iter().enumerate().map(|(index, entry)| {
        let mut own = passage.guardrails.iter();
        (index, entry, own.find(|judge| judge.name == entry.name))
    });
    named
        .filter(move |(_, entry, own)| {
            (own.is_some() || entry.default_on || of_caller(x, &entry.name))
                && entry.modes.include(phase, &x.tags)
        })
        .map(|(index, _, own)| (index, own))
}

/// A whole body as the guardrails of this phase leave it.
///
/// # Errors
/// The refusal of one of them, or that one could not judge and fails closed.
pub(super) async fn judged(
    gateway: &Gateway,
    x: &mut Exchange,
    passage: &Passage,
    phase: Phase,
    mut body: Bytes,
) -> Result<Bytes, Failure> {
    let selected: Vec<(usize, Vec<Field>)> = selected(x, passage, phase)
        .map(|(index, own)| {
            let fields = own.map(|judge| match phase {
                Phase::PostCall => judge.response.clone(),
                _ => judge.request.clone(),
            });
            (index, fields.unwrap_or_default())
        })
        .collect();
    if !selected.is_empty() {
        body = unambiguous(x, phase, body)?;
    }
    for (index, fields) in selected {
        let Some(texts) = texts(&body, &fields) else {
            let name = &x.snapshot.guardrails[index].name;
            let message =
                format!("Guardrail '{name}' judges text, and what is passed through here is none");
            return Err(Failure::new(Case::GuardrailUnavailable, message));
        };
        if texts.is_empty() {
            continue;
        }
        let view = WireView::passed(body.clone(), texts);
        let mut judged = judge(gateway, x, index, phase, view).await;
        match judged.edits.take().map(|edits| edited_body(&body, &edits)) {
            Some(Ok(edited)) => body = edited,
            Some(Err(error)) => judged.cannot_edit(&x.snapshot.guardrails[index], &error),
            None => {}
        }
        judged.conclude(x, index)?;
    }
    Ok(body)
}

/// A request's body, whole.
pub(super) async fn whole(x: &Exchange, mut pieces: Pieces) -> Result<Bytes, BodyFault> {
    let limit = x.snapshot.settings.max_request_bytes.unwrap_or(REQUEST_MAX);
    let mut body = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        let length = body.len() + piece.len();
        if length > limit {
            return Err(BodyFault::TooLarge {
                length: length as u64,
                limit: limit as u64,
            });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}
