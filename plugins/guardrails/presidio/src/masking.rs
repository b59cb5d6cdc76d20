//! Masks the texts of a body: asks the analyzer about each, and replaces what it found.

use serde::Deserialize;
use serde_json::{Value, json};
use witgate_plugin::guardrail::remote::{Trouble, block, count};
use witgate_plugin::guardrail::{Call, Edit, Edits, Phase, Text, Verdict, View};
use witgate_plugin::{Error, http, kv};

use crate::analyze::{self, Entity, Wish};
use crate::config::{Action, Presidio};
use crate::tokens::Tokens;

/// Key of a request's [`Wish`], for the phases that do not see the request.
const WISH: &str = "wish";

/// Judges the texts of a body. `numbered`: by tokens that can be undone.
pub fn mask(
    presidio: &Presidio,
    call: &Call,
    body: &View,
    numbered: bool,
) -> Result<Verdict, Error> {
    let texts: Vec<Text> = body.texts();
    let texts: Vec<Text> = texts
        .into_iter()
        .filter(|text| !text.text.trim().is_empty())
        .collect();
    let wish = wish(call, body)?;
    if texts.is_empty() {
        return Ok(Verdict::Allow);
    }
    if let Some(mock) = &presidio.mock {
        let edits = texts
            .into_iter()
            .map(|text| Edit::Text((text.pointer, mock.clone())));
        return Ok(Verdict::Edit(Edits {
            edits: edits.collect(),
            findings: Vec::new(),
        }));
    }
    let found = match entities(presidio, &texts, &wish, &call.params)? {
        Ok(found) => found,
        Err(trouble) => return presidio.remote.no_verdict(trouble),
    };
    let kinds = || {
        found
            .iter()
            .flatten()
            .map(|entity| entity.entity_type.as_str())
    };
    if let Some(kind) = kinds().find(|kind| presidio.actions.get(*kind) == Some(&Action::Block)) {
        let message = format!(
            "Blocked entity detected: {kind}. This entity is not allowed to be used in this request."
        );
        let detail = json!({"error": "Blocked PII entity detected", "entity_type": kind});
        return Ok(block(message, Some(&detail), count(kinds())));
    }
    let findings = count(kinds());
    if findings.is_empty() {
        return Ok(Verdict::Allow);
    }
    let edits = if numbered {
        let mut tokens = Tokens::of(texts.iter().map(|text| text.text.as_str()).collect());
        let edits = edits(&texts, &found, |text, found| tokens.mask(text, found));
        tokens.keep(&kv::REQUEST)?;
        edits
    } else {
        match anonymized(presidio, &texts, &found)? {
            Ok(edits) => edits,
            Err(trouble) => return presidio.remote.no_verdict(trouble),
        }
    };
    Ok(Verdict::Edit(Edits { edits, findings }))
}

/// What the request says about its analysis; it is kept for the phases after it.
fn wish(call: &Call, body: &View) -> Result<Wish, Error> {
    if call.phase == Phase::PostCall {
        return Ok(kv::REQUEST.get_json(WISH)?.unwrap_or_default());
    }
    let said = ["/guardrail_config", "/metadata/guardrail_config"];
    let Some(json) = said.iter().find_map(|pointer| body.field(pointer)) else {
        return Ok(Wish::default());
    };
    // What a client gets wrong must not switch the guardrail off.
    let wish: Wish = serde_json::from_str(&json).unwrap_or_default();
    kv::REQUEST.set_json(WISH, &wish)?;
    Ok(wish)
}

/// What the analyzer finds in each text.
fn entities(
    presidio: &Presidio,
    texts: &[Text],
    wish: &Wish,
    extra: &str,
) -> Result<Result<Vec<Vec<Entity>>, Trouble>, Error> {
    let mut questions = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        for (chars_before, piece) in analyze::pieces(&text.text, presidio.chunk_bytes) {
            let question = analyze::question(presidio, piece, wish, extra)?;
            questions.push((index, chars_before, question));
        }
    }
    let url = &presidio.analyze_url;
    let ask = |at: usize| http::post(url).json_text(questions.get(at).map_or("", |(_, _, q)| q));
    let answers = match presidio.remote.ask_all(questions.len(), ask) {
        Ok(answers) => answers,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let lengths: Vec<usize> = texts.iter().map(|text| text.text.chars().count()).collect();
    let mut found: Vec<Vec<Entity>> = vec![Vec::new(); texts.len()];
    for ((index, chars_before, _), answer) in questions.iter().zip(answers) {
        let length = lengths.get(*index).copied().unwrap_or_default();
        match analyze::read(answer.body(), *chars_before, length) {
            Ok(entities) => {
                if let Some(own) = found.get_mut(*index) {
                    own.extend(entities);
                }
            }
            Err(trouble) => return Ok(Err(trouble)),
        }
    }
    let sifted = found
        .into_iter()
        .map(|found| analyze::sift(presidio, found));
    Ok(Ok(sifted.collect()))
}

/// Edits of the texts in which something was found.
fn edits(
    texts: &[Text],
    found: &[Vec<Entity>],
    mut masked: impl FnMut(&str, &[Entity]) -> String,
) -> Vec<Edit> {
    let hit = texts
        .iter()
        .zip(found)
        .filter(|(_, found)| !found.is_empty());
    hit.map(|(text, found)| Edit::Text((text.pointer.clone(), masked(&text.text, found))))
        .collect()
}

#[derive(Deserialize)]
struct Anonymized {
    text: String,
}

/// The anonymizer's texts for those in which something was found.
fn anonymized(
    presidio: &Presidio,
    texts: &[Text],
    found: &[Vec<Entity>],
) -> Result<Result<Vec<Edit>, Trouble>, Error> {
    let mut questions = Vec::new();
    for (text, found) in texts
        .iter()
        .zip(found)
        .filter(|(_, found)| !found.is_empty())
    {
        let question: Value = json!({"text": text.text, "analyzer_results": found});
        questions.push((&text.pointer, question.to_string()));
    }
    let url = &presidio.anonymize_url;
    let ask = |at: usize| http::post(url).json_text(questions.get(at).map_or("", |(_, q)| q));
    let answers = match presidio.remote.ask_all(questions.len(), ask) {
        Ok(answers) => answers,
        Err(trouble) => return Ok(Err(trouble)),
    };
    let mut edits = Vec::new();
    for ((pointer, _), answer) in questions.iter().zip(answers) {
        match answer.json::<Anonymized>() {
            Ok(anonymized) => edits.push(Edit::Text(((*pointer).clone(), anonymized.text))),
            Err(_) => return Ok(Err(Trouble::nonsense("the anonymizer's has no text"))),
        }
    }
    Ok(Ok(edits))
}
