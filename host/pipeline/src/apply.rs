//! One guardrail on one text, without a call to a model: `POST /guardrails/apply_guardrail`.
//!
//! The guardrail is asked as the stages ask it, about a request whose one message is the text, or about an answer that is. Its
//! verdict means what it means in a call: the text comes back as it is or edited, or the request is refused. No deployment is
//! called; the caller's limits and budgets bear it as they bear a call.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_wire::{Endpoint, RequestView};

use crate::borne::{Asking, Borne};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::guard::{WireView, edited_body, judge};
use crate::ports::Phase;
use crate::snapshot::Modes;

/// What a guardrail is to judge, as LiteLLM's body has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GuardedText {
    /// Which guardrail.
    pub guardrail_name: String,
    /// The text.
    pub text: String,
    /// For guardrails that go by it, such as `en`.
    pub language: Option<String>,
    /// For guardrails that look for some entities only.
    pub entities: Option<Vec<String>>,
    /// `response` judges the text as an answer; else the guardrail's own mode decides.
    pub input_type: Option<String>,
}

/// The text as the guardrail leaves it; `None` when there is no such guardrail.
///
/// # Errors
/// A limit or budget of the caller refuses the request, the guardrail the text; or it gave no verdict and fails closed.
pub async fn apply_guardrail(
    gateway: &Gateway,
    asking: Asking,
    wanted: &GuardedText,
) -> Result<Option<String>, Failure> {
    let endpoint = Endpoint::ChatCompletions;
    let mut borne = Borne::admit(gateway, asking, "/guardrails/apply_guardrail").await?;
    let x = &mut borne.exchange;
    let mut entries = x.snapshot.guardrails.iter();
    let Some(index) = entries.position(|entry| entry.name == wanted.guardrail_name) else {
        return Ok(None);
    };
    let invalid = |error: &dyn std::fmt::Display| Failure::internal(error.to_string());
    let request = Bytes::from(request_of(wanted).to_string());
    let request = RequestView::parse(endpoint, request).map_err(|error| invalid(&error))?;
    x.request = Some(request.clone());
    let is_answer = wanted.input_type.as_deref() == Some("response");
    let phase = phase(&x.snapshot.guardrails[index].modes, is_answer);
    let (body, view, pointer) = match phase {
        Phase::PostCall => {
            let body = Bytes::from(answer_of(&wanted.text).to_string());
            let view = WireView::response(body.clone());
            (body, view, "/choices/0/message/content")
        }
        _ => {
            let view = WireView::request(&request);
            (request.bytes().clone(), view, "/messages/0/content")
        }
    };
    let judged = judge(gateway, x, index, phase, view).await;
    if let Some(failure) = judged.failure {
        return Err(failure);
    }
    let Some(edits) = judged.edits else {
        return Ok(Some(wanted.text.clone()));
    };
    let cannot = |why: String| {
        let text = format!(
            "Guardrail '{}' edits what is no text",
            wanted.guardrail_name
        );
        Failure::new(Case::GuardrailUnavailable, text).note(why)
    };
    let edited = edited_body(&body, &edits).map_err(cannot)?;
    let edited: Value = serde_json::from_slice(&edited).map_err(|error| invalid(&error))?;
    match edited.pointer(pointer).and_then(Value::as_str) {
        Some(text) => Ok(Some(text.to_owned())),
        None => Err(cannot(format!("{pointer} is no text after its edits"))),
    }
}

/// The moment at which the guardrail judges in calls: the first that it has.
fn phase(modes: &Modes, is_answer: bool) -> Phase {
    let by_tag = modes.by_tag.iter().flat_map(|(_, phases)| phases);
    let own: Vec<Phase> = modes.default.iter().chain(by_tag).copied().collect();
    match is_answer {
        true => Phase::PostCall,
        false => own.first().copied().unwrap_or(Phase::PreCall),
    }
}

fn request_of(wanted: &GuardedText) -> Value {
    let mut params = Map::new();
    if let Some(language) = &wanted.language {
        params.insert("language".to_owned(), language.as_str().into());
    }
    if let Some(entities) = &wanted.entities {
        params.insert("entities".to_owned(), json!(entities));
    }
    let name = wanted.guardrail_name.as_str();
    json!({
        "model": "", "messages": [{"role": "user", "content": wanted.text}],
        "guardrails": [{name: {"extra_body": params}}],
    })
}

fn answer_of(text: &str) -> Value {
    json!({
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
    })
}

#[cfg(test)]
mod tests;
