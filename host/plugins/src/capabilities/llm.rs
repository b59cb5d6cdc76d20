//! `witgate:host/llm`: calls of models through the gateway, under the plugin's grants and limits.
//!
//! A call that a plugin makes is served like a client's, and other plugins may be called for it. [`Lineage`] goes with it: who
//! called whom, so that nobody is called for a call of its own, and what has been used of models for the client's request.

pub(crate) mod stream;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use wasmtime::component::Resource;

use self::stream::{AnswerStream, ModelStream};
use super::settings::Settings;
use super::state::State;
use super::{Context, RequestMemory};
use crate::bindings::witgate::host::llm as wit;
use crate::manifest::setting_reference;
use crate::record::Find;
use crate::{Manifest, PluginSpec};

/// How deep calls may nest: a plugin that is called for a call of a plugin that is called for a call of a plugin.
const DEPTH: usize = 3;

/// Serves calls of models that plugins make.
#[async_trait]
pub trait Models: Send + Sync {
    /// Serves a call. Dropping the future cancels it.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn chat(&self, call: ModelCall) -> Result<ModelAnswer, NoModelAnswer>;

    /// Serves a call whose answer comes chunk by chunk. Dropping the stream cancels it.
    ///
    /// # Errors
    /// Why there is no answer.
    async fn stream(&self, call: ModelCall) -> Result<ModelStream, NoModelAnswer>;
}

/// The way to models, which opens when there is somebody to answer.
pub(crate) type Door = Arc<OnceLock<Arc<dyn Models>>>;

/// A call that a plugin makes.
#[derive(Debug, Clone)]
pub struct ModelCall {
    /// The plugins whose calls led to this one, outermost first; the last one makes it.
    pub plugins: Vec<Arc<str>>,
    /// The models that it may call; `*` at the end stands for any rest. Never empty.
    pub models: Vec<String>,
    /// OpenAI's chat completion request, a JSON object.
    pub request: String,
    /// The call that the plugin is called for, when it is called for one.
    pub for_call: Option<String>,
    /// What plugins keep for the new call.
    pub memory: Arc<RequestMemory>,
}

/// A complete answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelAnswer {
    /// OpenAI's chat completion, JSON.
    pub body: String,
    /// US dollars, a decimal number.
    pub cost_usd: Option<String>,
    /// Id under which the call is logged.
    pub call_id: String,
    /// Tokens, read and written.
    pub tokens: u64,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoModelAnswer {
    /// Nothing came in time.
    Timeout,
    /// Nobody answers calls now.
    Unavailable(String),
    /// The call failed.
    Failed(ModelFailure),
}

/// A call that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelFailure {
    /// HTTP status a client would have got.
    pub status: u16,
    /// LiteLLM's `type` of the error.
    pub kind: String,
    /// What happened.
    pub message: String,
}

/// What a plugin may use of models for one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Calls.
    pub(crate) calls: u32,
    /// Tokens, read and written. The call that goes over them is the last one.
    pub(crate) tokens: u64,
}

/// Which models a plugin may call, and how.
pub(crate) struct Access {
    granted: Vec<String>,
    limits: Limits,
    door: Door,
}

/// Who called whom until here, and what they have used.
#[derive(Debug, Clone, Default)]
pub(super) struct Lineage {
    plugins: Vec<Arc<str>>,
    used: Arc<Mutex<HashMap<Arc<str>, Used>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Used {
    calls: u32,
    tokens: u64,
}

impl Access {
    /// What the manifest asks for, as far as the operator wrote it down: into a setting that the manifest names, or among
    /// the grants. Calls cost money, so nothing is granted by silence.
    pub(super) fn new(
        manifest: &Manifest,
        spec: &PluginSpec,
        settings: &Settings,
        door: Door,
        limits: Limits,
    ) -> Self {
        let mut granted = Vec::new();
        for wish in &manifest.llm {
            let Some(setting) = setting_reference(wish) else {
                granted.extend(spec.grants.llm.iter().filter_map(|own| common(wish, own)));
                continue;
            };
            let names = settings.texts(setting);
            let named = names.iter().filter(|name| !name.is_empty());
            if settings.is_by_operator(setting) {
                granted.extend(named.map(|name| name.to_string()));
            } else {
                let own = |name: &str| spec.grants.llm.iter().find_map(|own| common(name, own));
                granted.extend(named.filter_map(|name| own(name)));
            }
        }
        granted.sort();
        granted.dedup();
        Self {
            granted,
            limits,
            door,
        }
    }

    /// The models it may call.
    pub(super) fn granted(&self) -> &[String] {
        &self.granted
    }
}

/// The narrower of two patterns, when one covers the other.
fn common(one: &str, other: &str) -> Option<String> {
    match () {
        () if covers(one, other) => Some(other.to_owned()),
        () if covers(other, one) => Some(one.to_owned()),
        () => None,
    }
}

/// Whether the pattern means the name, or every name that another pattern means.
fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

impl Lineage {
    /// The lineage of a call that the plugin makes; why it may make none.
    fn next(&self, plugin: &Arc<str>, limits: Limits) -> Result<Self, String> {
        if self.plugins.contains(plugin) {
            return Err(format!(
                "the plugin {plugin:?} is called for a call of its own, and makes none then"
            ));
        }
        if self.plugins.len() >= DEPTH {
            return Err(format!(
                "plugins call models for calls of plugins ({}), {DEPTH} deep at most",
                self.plugins.join(" → ")
            ));
        }
        let mut used = self.used.lock();
        let own = used.entry(plugin.clone()).or_default();
        if own.calls >= limits.calls {
            return Err(format!(
                "the plugin made {} calls of models for this request, its limit (in the configuration: plugins.{plugin}.limits.llm_calls)",
                own.calls
            ));
        }
        if own.tokens >= limits.tokens {
            return Err(format!(
                "the plugin used {} tokens of models for this request, its limit is {} (in the configuration: plugins.{plugin}.limits.llm_tokens)",
                own.tokens, limits.tokens
            ));
        }
        own.calls += 1;
        drop(used);
        let mut next = self.clone();
        next.plugins.push(plugin.clone());
        Ok(next)
    }

    fn add_tokens(&self, plugin: &Arc<str>, tokens: u64) {
        let mut used = self.used.lock();
        let own = used.entry(plugin.clone()).or_default();
        own.tokens = own.tokens.saturating_add(tokens);
    }
}

impl wit::Host for State {
    async fn chat(
        &mut self,
        request: String,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<wit::Answer, wit::LlmError>> {
        let taken = self.asked(
            "llm.chat",
            Find::Same,
            || json!({"model_request": request, "timeout_ms": timeout_ms}),
        );
        if let Some(known) = taken.known::<Value>().and_then(|known| answered(&known)) {
            return Ok(known);
        }
        let answer = self.call_model(request, timeout_ms).await;
        taken.end(|| shown(&answer));
        Ok(answer)
    }

    async fn stream(
        &mut self,
        request: String,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<Resource<AnswerStream>, wit::LlmError>> {
        self.stream_of(request, timeout_ms).await
    }
}

impl State {
    async fn call_model(
        &mut self,
        request: String,
        timeout_ms: Option<u32>,
    ) -> Result<wit::Answer, wit::LlmError> {
        let (lineage, next) = self.allowed(&request, false)?;
        let timeout = self.time_for_model(timeout_ms);
        let context = self.context.clone();
        let asked = context.ask(self.model_call(request, next));
        let answered = tokio::time::timeout(timeout, asked).await;
        let answered = answered.unwrap_or(Err(NoModelAnswer::Timeout));
        if let Ok(answer) = &answered {
            lineage.add_tokens(&context.name, answer.tokens);
        }
        let cost = answered
            .as_ref()
            .ok()
            .and_then(|a| a.cost_usd.as_deref()?.parse().ok());
        context.metrics.called_model(outcome(&answered), cost);
        answered.map(Into::into).map_err(Into::into)
    }

    /// How long a call may take: what it asks for, but no longer than the plugin's own call has left.
    fn time_for_model(&self, timeout_ms: Option<u32>) -> Duration {
        let left = self.call.deadline.saturating_duration_since(Instant::now());
        timeout_ms.map_or(left, |ms| left.min(Duration::from_millis(ms.into())))
    }

    /// The call as the gateway gets it.
    fn model_call(&self, request: String, next: Lineage) -> ModelCall {
        let scope = self.call.request.as_ref();
        ModelCall {
            plugins: next.plugins.clone(),
            models: self.context.models.granted.clone(),
            request,
            for_call: scope.and_then(|scope| scope.facts.call_id()),
            memory: Arc::new(RequestMemory::of(next)),
        }
    }

    /// The lineage of the call under way and of the new one, for a request that is one and may be made.
    fn allowed(
        &mut self,
        request: &str,
        streamed: bool,
    ) -> Result<(Lineage, Lineage), wit::LlmError> {
        let model = model_of(request, streamed).map_err(wit::LlmError::Invalid)?;
        self.may_call(&model).map_err(|reason| {
            let context = &self.context;
            context.metrics.denied("llm");
            tracing::warn!(
                plugin = context.name.as_ref(),
                "the plugin was refused a call of a model: {reason}"
            );
            wit::LlmError::Denied(reason)
        })
    }

    /// The lineage of the call under way and of the new one; why there is none.
    fn may_call(&mut self, model: &str) -> Result<(Lineage, Lineage), String> {
        let access = &self.context.models;
        let name = &self.context.name;
        if !access.granted.iter().any(|own| covers(own, model)) {
            return Err(format!(
                "the plugin may not call the model {model:?} (in the configuration: plugins.{name}.grants.llm: [{model:?}]; its manifest must ask for it, too)"
            ));
        }
        let lineage = match &self.call.request {
            Some(request) => request.memory.lineage.clone(),
            None => self.call.own_use.get_or_insert_default().clone(),
        };
        let next = lineage.next(name, access.limits)?;
        Ok((lineage, next))
    }
}

impl Context {
    async fn ask(&self, call: ModelCall) -> Result<ModelAnswer, NoModelAnswer> {
        match &self.world {
            Some(world) => world.chat(&call.request),
            None => self.door()?.chat(call).await,
        }
    }

    /// The same for an answer that comes chunk by chunk.
    async fn ask_for_stream(&self, call: ModelCall) -> Result<ModelStream, NoModelAnswer> {
        match &self.world {
            Some(world) => world.chat(&call.request).map(ModelStream::of),
            None => self.door()?.stream(call).await,
        }
    }

    fn door(&self) -> Result<&Arc<dyn Models>, NoModelAnswer> {
        let reason = || "the gateway does not serve calls yet".to_owned();
        let models = self.models.door.get();
        models.ok_or_else(|| NoModelAnswer::Unavailable(reason()))
    }
}

/// An answer as a recording has it.
fn shown(answer: &Result<wit::Answer, wit::LlmError>) -> Value {
    match answer {
        Ok(answer) => json!({
            "body": answer.body, "cost_usd": answer.cost_usd, "call_id": answer.call_id,
        }),
        Err(error) => shown_error(error),
    }
}

fn shown_error(error: &wit::LlmError) -> Value {
    json!({"error": match error {
            wit::LlmError::Denied(text) => json!({"denied": text}),
            wit::LlmError::Invalid(text) => json!({"invalid": text}),
            wit::LlmError::Timeout => json!("timeout"),
            wit::LlmError::Unavailable(text) => json!({"unavailable": text}),
            wit::LlmError::Failed(why) => json!({"failed": {
                "status": why.status, "kind": why.kind, "message": why.message,
            }}),
    }})
}

/// The way back; `None` for what [`shown`] never makes.
fn answered(value: &Value) -> Option<Result<wit::Answer, wit::LlmError>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let Some(error) = value.get("error") else {
        return Some(Ok(wit::Answer {
            body: text(value.get("body")?)?,
            cost_usd: value.get("cost_usd").and_then(text),
            call_id: text(value.get("call_id")?)?,
        }));
    };
    answered_error(error).map(Err)
}

fn answered_error(error: &Value) -> Option<wit::LlmError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if error == "timeout" {
        return Some(wit::LlmError::Timeout);
    }
    let (kind, what) = error.as_object()?.iter().next()?;
    Some(match kind.as_str() {
        "denied" => wit::LlmError::Denied(text(what)?),
        "invalid" => wit::LlmError::Invalid(text(what)?),
        "unavailable" => wit::LlmError::Unavailable(text(what)?),
        "failed" => wit::LlmError::Failed(wit::Failure {
            status: u16::try_from(what.get("status")?.as_u64()?).ok()?,
            kind: text(what.get("kind")?)?,
            message: text(what.get("message")?)?,
        }),
        _ => return None,
    })
}

/// The model of a request; what is wrong with it.
fn model_of(request: &str, streamed: bool) -> Result<String, String> {
    let request: Map<String, Value> = serde_json::from_str(request)
        .map_err(|error| format!("the request is no JSON object: {error}"))?;
    match (streamed, request.get("stream").and_then(Value::as_bool)) {
        (false, Some(true)) => {
            return Err("`stream: true`: call `stream` for an answer in chunks".to_owned());
        }
        (true, Some(false)) => {
            return Err("`stream: false`: call `chat` for a whole answer".to_owned());
        }
        _ => {}
    }
    match request.get("model").and_then(Value::as_str) {
        Some(model) if !model.is_empty() => Ok(model.to_owned()),
        _ => Err("the request names no `model`".to_owned()),
    }
}

/// The word for metrics.
fn outcome<T>(answered: &Result<T, NoModelAnswer>) -> &'static str {
    match answered {
        Ok(_) => "ok",
        Err(NoModelAnswer::Timeout) => "timeout",
        Err(NoModelAnswer::Unavailable(_)) => "unavailable",
        Err(NoModelAnswer::Failed(_)) => "failed",
    }
}

impl From<ModelAnswer> for wit::Answer {
    fn from(from: ModelAnswer) -> Self {
        Self {
            body: from.body,
            cost_usd: from.cost_usd,
            call_id: from.call_id,
        }
    }
}

impl From<NoModelAnswer> for wit::LlmError {
    fn from(from: NoModelAnswer) -> Self {
        match from {
            NoModelAnswer::Timeout => Self::Timeout,
            NoModelAnswer::Unavailable(reason) => Self::Unavailable(reason),
            NoModelAnswer::Failed(failure) => Self::Failed(wit::Failure {
                status: failure.status,
                kind: failure.kind,
                message: failure.message,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_and_a_wish_have_the_narrower_one_in_common() {
        for (wish, grant, both) in [
            ("judge", "judge", Some("judge")),
            ("judge", "*", Some("judge")),
            ("*", "small/*", Some("small/*")),
            ("small/*", "small/fast*", Some("small/fast*")),
            ("judge", "other", None),
            ("judge", "judg", None),
        ] {
            assert_eq!(common(wish, grant).as_deref(), both, "{wish} {grant}");
        }
    }

    #[test]
    fn nobody_calls_for_a_call_of_its_own_too_deep_too_often_or_too_much() {
        let limits = Limits {
            calls: 2,
            tokens: 10,
        };
        let [a, b, c, d]: [Arc<str>; 4] = ["a", "b", "c", "d"].map(Arc::from);
        let root = Lineage::default();
        let of_a = root.next(&a, limits).unwrap();
        assert!(of_a.next(&a, limits).unwrap_err().contains("of its own"));
        let deep = of_a.next(&b, limits).unwrap().next(&c, limits).unwrap();
        assert!(deep.next(&d, limits).unwrap_err().contains("a → b → c"));
        // The same request's count, wherever the plugin stands.
        assert!(root.next(&b, limits).is_ok());
        assert!(
            root.next(&b, limits)
                .unwrap_err()
                .contains("plugins.b.limits.llm_calls")
        );
        root.add_tokens(&a, 10);
        assert!(root.next(&a, limits).unwrap_err().contains("llm_tokens"));
    }

    #[test]
    fn only_whole_requests_with_a_model_are_calls() {
        assert_eq!(
            model_of(r#"{"model":"m","stream":false}"#, false).as_deref(),
            Ok("m")
        );
        let streamed = r#"{"model":"m","stream":true}"#;
        assert_eq!(model_of(streamed, true).as_deref(), Ok("m"));
        assert!(model_of(r#"{"model":"m","stream":false}"#, true).is_err());
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"model":""}"#,
            r#"{"model":"m","stream":true}"#,
        ] {
            assert!(model_of(bad, false).is_err(), "{bad}");
        }
    }
}
