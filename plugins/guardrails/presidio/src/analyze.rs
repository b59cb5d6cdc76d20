//! Presidio's analyzer: what it is asked, and the places it answers with. Places count characters.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use witgate_plugin::Error;
use witgate_plugin::guardrail::remote::Trouble;

use crate::config::Presidio;

/// Bytes that two pieces of a long text have in common, so that nothing is cut in both.
const OVERLAP_BYTES: usize = 400;

/// Something found in a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// What it is, such as `EMAIL_ADDRESS`.
    pub entity_type: String,
    /// First character.
    pub start: usize,
    /// Behind the last character.
    pub end: usize,
    /// How sure the analyzer is.
    #[serde(default)]
    pub score: f64,
    /// What else it said, which the anonymizer gets again.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What a request says about its own analysis.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// Language of its texts.
    pub language: Option<String>,
    /// Entities to look for.
    pub entities: Option<Vec<String>>,
}

/// The body of an exchange about one text. `extra` is the caller's own object, merged in.
pub fn question(
    presidio: &Presidio,
    text: &str,
    wish: &Wish,
    extra: &str,
) -> Result<String, Error> {
    let mut question: Map<String, Value> = serde_json::from_str(extra)?;
    question.insert("text".to_owned(), text.into());
    let language = wish.language.as_deref().unwrap_or(&presidio.language);
    question
        .entry("language")
        .or_insert_with(|| language.into());
    let configured: Vec<&String> = presidio.actions.keys().collect();
    match &wish.entities {
        Some(entities) => {
            question.insert("entities".to_owned(), json!(entities));
        }
        None if !configured.is_empty() => {
            question
                .entry("entities")
                .or_insert_with(|| json!(configured));
        }
        None => {}
    }
    if let Some(recognizers) = &presidio.recognizers {
        question
            .entry("ad_hoc_recognizers")
            .or_insert_with(|| json!(recognizers));
    }
    Ok(serde_json::to_string(&question)?)
}

/// The pieces of a text that are analyzed, each with the characters before it.
pub fn pieces(text: &str, max_bytes: usize) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut from, mut chars_before) = (0, 0);
    loop {
        let end = text.floor_char_boundary(from + max_bytes);
        pieces.push((chars_before, &text[from..end]));
        if end == text.len() {
            return pieces;
        }
        let next = text.floor_char_boundary(end - OVERLAP_BYTES);
        chars_before += text[from..next].chars().count();
        from = next;
    }
}

/// What the analyzer found in a piece that begins `chars_before` into a text of `length` characters.
pub fn read(answer: &[u8], chars_before: usize, length: usize) -> Result<Vec<Entity>, Trouble> {
    let mut found: Vec<Entity> = serde_json::from_slice(answer).map_err(|_| {
        // An error of the analyzer may repeat the text.
        Trouble::nonsense("it is no list of entities")
    })?;
    for entity in &mut found {
        entity.start = entity.start.saturating_add(chars_before);
        entity.end = entity.end.saturating_add(chars_before);
        if entity.start >= entity.end || entity.end > length {
            return Err(Trouble::nonsense("it names a place outside of the text"));
        }
    }
    Ok(found)
}

/// Drops what is too uncertain, ignored, or found twice by overlapping pieces.
pub fn sift(presidio: &Presidio, mut found: Vec<Entity>) -> Vec<Entity> {
    found.retain(|entity| {
        let kind = &entity.entity_type;
        let threshold = presidio
            .thresholds
            .get(kind)
            .or_else(|| presidio.thresholds.get("ALL"));
        threshold.is_none_or(|least| entity.score >= *least) && !presidio.ignored.contains(kind)
    });
    found.sort_by(|a, b| {
        let key = |e: &Entity| (e.start, std::cmp::Reverse(e.end));
        key(a)
            .cmp(&key(b))
            .then_with(|| a.entity_type.cmp(&b.entity_type))
    });
    found.dedup_by(|a, b| (a.start, a.end, &a.entity_type) == (b.start, b.end, &b.entity_type));
    found
}
