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

/// Makes the upstream's body. Control fields are removed, members of `extra_body` are lifted to
/// the top level as the OpenAI SDK does, fields named in `additional_drop_params` are dropped.
///
/// Of a field that occurs twice the last is kept: an upstream that reads the first would act on
/// something that no guardrail has seen. Unknown fields keep their duplicates. For the same reason
/// `extra_body` cannot replace the fields that guardrails and routing have judged.
pub(super) fn body(object: &Object, forward: &Forward<'_>) -> Bytes {
    let plan = Plan {
        object,
        forward,
        extra: object
            .given("extra_body")
            .filter(|raw| raw.kind() == "object"),
        dropped: object.given("additional_drop_params"),
        usage: forward.include_usage
            && object
                .given("stream")
                .and_then(Raw::as_bool)
                .unwrap_or(false),
    };
    let items = object.items();
    let actions: Vec<Action> = (0..items.len()).map(|i| plan.action(i)).collect();
    let last_kept = actions.iter().rposition(|a| *a != Action::Remove);

    let mut splice = Splice::new(object.bytes());
    for (i, action) in actions.iter().enumerate() {
        match action {
            Action::Keep => {}
            Action::Remove if last_kept.is_some_and(|kept| i < kept) => {
                splice.remove_before_kept(items, i);
            }
            // The removals behind the last kept member are made with the additions.
            Action::Remove => {}
            Action::Model => {
                let mut model = Vec::new();
                quote_into(&mut model, forward.model.unwrap_or_default());
                splice.replace(items[i].value.clone(), &model);
            }
            Action::StreamOptions => stream_options(&mut splice, object, &items[i]),
        }
    }
    splice.finish_container(items, last_kept, object.inside(), &plan.additions(&actions));
    splice.finish()
}

/// What happens to one member.
#[derive(Clone, Copy, PartialEq)]
enum Action {
    Keep,
    Remove,
    Model,
    StreamOptions,
}

struct Plan<'a> {
    object: &'a Object,
    forward: &'a Forward<'a>,
    extra: Option<Raw<'a>>,
    dropped: Option<Raw<'a>>,
    /// Usage must be asked for.
    usage: bool,
}

impl Plan<'_> {
    fn action(&self, i: usize) -> Action {
        let key = self.object.key(i);
        if is_control_field(key) || self.is_lifted(key) || self.is_dropped(key) {
            return Action::Remove;
        }
        if is_read_here(key) && self.object.position(key) != Some(i) {
            return Action::Remove;
        }
        match key {
            "model" if self.forward.model.is_some() => Action::Model,
            "stream_options" if self.usage => Action::StreamOptions,
            _ if self.has_default(key) && self.object.value(i).is_null() => Action::Remove,
            _ => Action::Keep,
        }
    }

    /// The members that the caller's body does not have, joined by commas.
    fn additions(&self, actions: &[Action]) -> Vec<u8> {
        let mut text = Vec::new();
        let mut add = |key: &str, json: &[u8]| {
            if !text.is_empty() {
                text.push(b',');
            }
            quote_into(&mut text, key);
            text.push(b':');
            text.extend_from_slice(json);
        };
        let kept = |key: &str| {
            self.object
                .position(key)
                .is_some_and(|i| actions[i] != Action::Remove)
        };
        if let Some(model) = self.forward.model
            && !kept("model")
        {
            add("model", crate::json::quote(model).as_bytes());
        }
        for (key, value) in self.extra.into_iter().flat_map(Raw::entries) {
            if !is_judged(&key) && !is_control_field(&key) {
                add(&key, value.bytes());
            }
        }
        for (key, json) in self.forward.defaults {
            if !kept(key) && !self.is_lifted(key) && !self.is_dropped(key) {
                add(key, json.as_bytes());
            }
        }
        if self.usage && !kept("stream_options") && !self.has_default("stream_options") {
            add("stream_options", br#"{"include_usage":true}"#);
        }
        text
    }

    /// A member of `extra_body` takes this one's place.
    fn is_lifted(&self, key: &str) -> bool {
        self.extra
            .is_some_and(|extra| !is_judged(key) && extra.get(key).is_some())
    }

    fn is_dropped(&self, key: &str) -> bool {
        let mut names = self.dropped.into_iter().flat_map(Raw::elements);
        !is_judged(key) && names.any(|name| name.as_str().is_some_and(|name| name == key))
    }

    fn has_default(&self, key: &str) -> bool {
        self.forward.defaults.iter().any(|(k, _)| *k == key)
    }
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

/// The fields by which a request is routed and judged.
fn is_judged(key: &str) -> bool {
    matches!(
        key,
        "model" | "messages" | "prompt" | "input" | "stream" | "stream_options"
    )
}

/// The fields on which the gateway or a guardrail acts.
fn is_read_here(key: &str) -> bool {
    is_judged(key)
        || matches!(
            key,
            "user" | "n" | "tools" | "max_tokens" | "max_completion_tokens"
        )
}
