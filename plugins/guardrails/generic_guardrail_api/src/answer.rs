//! The service's answer as a verdict.

use serde::Deserialize;
use serde_json::Value;
use witgate_plugin::guardrail::remote::{Trouble, block, count};
use witgate_plugin::guardrail::{Edit, Edits, Verdict};

use crate::material::Material;

#[derive(Deserialize)]
struct Answer {
    action: String,
    blocked_reason: Option<String>,
    texts: Option<Vec<String>>,
    images: Option<Vec<String>>,
    tools: Option<Value>,
    structured_messages: Option<Value>,
}

/// What the answer means for the body.
pub fn verdict(material: &Material, answer: &[u8]) -> Result<Verdict, Trouble> {
    let answer: Answer = serde_json::from_slice(answer).map_err(Trouble::nonsense)?;
    match answer.action.as_str() {
        "NONE" => Ok(Verdict::Allow),
        "BLOCKED" => {
            let reason = answer.blocked_reason.as_deref().unwrap_or_default();
            let reason = match reason.is_empty() {
                true => "Content violates policy",
                false => reason,
            };
            Ok(block(reason, None, count(["blocked"])))
        }
        "GUARDRAIL_INTERVENED" => edits(material, answer),
        other => Err(Trouble::nonsense(format_args!(
            "the action {other:?} is unknown"
        ))),
    }
}

fn edits(material: &Material, answer: Answer) -> Result<Verdict, Trouble> {
    let mut edits = Vec::new();
    replaced("texts", &material.texts, answer.texts, &mut edits)?;
    replaced("images", &material.images, answer.images, &mut edits)?;
    if let Some(tools) = answer
        .tools
        .filter(|tools| material.tools.as_ref() != Some(tools))
    {
        let has_tools = material.tools.is_some() && tools.is_array();
        if !has_tools && !tools.is_null() {
            return Err(Trouble::nonsense(
                "`tools` where the request has none, or no list",
            ));
        }
        if has_tools {
            edits.push(Edit::Value(("/tools".to_owned(), tools.to_string())));
        }
    }
    // Texts are edited in place; whole messages count when nothing else was changed.
    if edits.is_empty()
        && let Some(messages) = answer.structured_messages
        && material
            .messages
            .as_ref()
            .is_some_and(|own| *own != messages)
    {
        if !messages.is_array() {
            return Err(Trouble::nonsense("`structured_messages` is no list"));
        }
        edits.push(Edit::Value(("/messages".to_owned(), messages.to_string())));
    }
    if edits.is_empty() {
        return Ok(Verdict::Allow);
    }
    let findings = count(edits.iter().map(|_| "guardrail_intervened"));
    Ok(Verdict::Edit(Edits { edits, findings }))
}

/// Edits for what differs, place by place.
fn replaced(
    what: &str,
    own: &[(String, String)],
    new: Option<Vec<String>>,
    edits: &mut Vec<Edit>,
) -> Result<(), Trouble> {
    let Some(new) = new.filter(|new| !new.is_empty()) else {
        return Ok(());
    };
    if new.len() != own.len() {
        let counts = format!("{} {what} for {}", new.len(), own.len());
        return Err(Trouble::nonsense(counts));
    }
    for ((place, old), new) in own.iter().zip(new) {
        if *old != new {
            edits.push(Edit::Text((place.clone(), new)));
        }
    }
    Ok(())
}
