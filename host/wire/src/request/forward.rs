//! The body for the upstream, spliced out of the caller's.

use bytes::Bytes;

use super::is_control_field;
use crate::json::{Item, Object, Raw, Splice, quote_into};

/// What the upstream must see differently from what the caller sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forward<'a> {
    /// The upstream's name of the model; `None` keeps the caller's.
    pub model: Option<&'a str>,
    /// The deployment's own parameters as JSON texts, each set only where the caller gave none.
    pub defaults: &'a [(&'a str, &'a str)],
    /// Ask for the usage of a stream, which the gateway needs whatever the client wants.
    /// Without effect on a request that does not stream.
    pub include_usage: bool,
}

/// What happens to one member.
#[derive(Clone, Copy, PartialEq)]
enum Action {
    Keep,
    Remove,
    Model,
    StreamOptions,
}

/// Makes the upstream's body. Control fields are removed, members of `extra_body` are lifted to
/// the top level as the OpenAI SDK does, fields named in `additional_drop_params` are dropped.
/// Of a field that occurs twice the last is kept: an upstream that reads the first would act on
/// something that no guardrail has seen. Unknown fields keep their duplicates.
pub(super) fn body(object: &Object, forward: &Forward<'_>) -> Bytes {
    let extra = object
        .given("extra_body")
        .filter(|raw| raw.kind() == "object");
    let dropped = object.given("additional_drop_params");
    let lifted = |key: &str| extra.is_some_and(|e| e.get(key).is_some()) && key != "model";
    let is_dropped = |key: &str| {
        dropped.is_some_and(|d| d.elements().any(|e| e.as_str().is_some_and(|s| s == key)))
    };
    let usage = forward.include_usage
        && object
            .given("stream")
            .and_then(Raw::as_bool)
            .unwrap_or(false);

    let items = object.items();
    let action = |i: usize| {
        let key = object.key(i);
        if is_control_field(key) || lifted(key) || is_dropped(key) {
            return Action::Remove;
        }
        let replaced = match key {
            "model" if forward.model.is_some() => Action::Model,
            "stream_options" if usage => Action::StreamOptions,
            _ if has_default(forward, key) && object.value(i).is_null() => Action::Remove,
            _ => Action::Keep,
        };
        if is_read_here(key) && object.position(key) != Some(i) {
            Action::Remove
        } else {
            replaced
        }
    };
    let actions: Vec<Action> = (0..items.len()).map(action).collect();

    let mut splice = Splice::new(object.bytes());
    let last_kept = actions.iter().rposition(|a| *a != Action::Remove);
    let mut text = Vec::new();
    for (i, action) in actions.iter().enumerate() {
        text.clear();
        match action {
            Action::Keep => {}
            Action::Remove if last_kept.is_some_and(|kept| i < kept) => {
                splice.remove_before_kept(items, i);
            }
            Action::Remove => {}
            Action::Model => {
                quote_into(&mut text, forward.model.unwrap_or_default());
                splice.replace(items[i].value.clone(), &text);
            }
            Action::StreamOptions => stream_options(&mut splice, object, &items[i]),
        }
    }
    text.clear();
    let mut add = |key: &str, json: &[u8]| {
        if !text.is_empty() {
            text.push(b',');
        }
        quote_into(&mut text, key);
        text.push(b':');
        text.extend_from_slice(json);
    };
    let kept = |key: &str| {
        object
            .position(key)
            .is_some_and(|i| actions[i] != Action::Remove)
    };
    if let Some(model) = forward.model
        && !kept("model")
    {
        add("model", crate::json::quote(model).as_bytes());
    }
    for (key, value) in extra.into_iter().flat_map(Raw::entries) {
        if key != "model" && !is_control_field(&key) {
            add(&key, value.bytes());
        }
    }
    for (key, json) in forward.defaults {
        if !kept(key) && !lifted(key) && !is_dropped(key) {
            add(key, json.as_bytes());
        }
    }
    let in_defaults = has_default(forward, "stream_options") || lifted("stream_options");
    if usage && !kept("stream_options") && !in_defaults {
        add("stream_options", br#"{"include_usage":true}"#);
    }
    splice.finish_container(items, last_kept, object.inside(), &text);
    splice.finish()
}

/// Turns `include_usage` on inside the caller's `stream_options`, whatever else they hold.
fn stream_options(splice: &mut Splice<'_>, object: &Object, item: &Item) {
    let span = item.value.clone();
    let raw = Raw::new(&object.bytes()[span.clone()]);
    let asked = raw.get("include_usage");
    if asked.and_then(Raw::as_bool) == Some(true) {
        return;
    }
    let mut text = vec![b'{'];
    for (key, value) in raw.entries().filter(|(key, _)| key != "include_usage") {
        quote_into(&mut text, &key);
        text.push(b':');
        text.extend_from_slice(value.bytes());
        text.push(b',');
    }
    text.extend_from_slice(br#""include_usage":true}"#);
    splice.replace(span, &text);
}

fn has_default(forward: &Forward<'_>, key: &str) -> bool {
    forward.defaults.iter().any(|(k, _)| *k == key)
}

/// The fields on which the gateway or a guardrail acts.
fn is_read_here(key: &str) -> bool {
    matches!(
        key,
        "model"
            | "messages"
            | "prompt"
            | "input"
            | "stream"
            | "stream_options"
            | "user"
            | "n"
            | "tools"
            | "max_tokens"
            | "max_completion_tokens"
    )
}
