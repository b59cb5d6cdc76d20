//! `witgate plugin replay`: a recording is played in the real host, without network, and compared.
//!
//! What the plugin asks of the host is answered from the recording. Compared is what it did: each call's
//! result, and what went out (requests, files, kept values, log lines, metrics), bit for bit. How often it
//! looked at the clock or read its input is its own affair.

mod access;
mod as_case;
mod hook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use witgate_plugins::{
    Alert, AuthRequest, BodyView, Call, Event, EventKind, Frame, Grants, Host, Kind, Mail,
    MailError, MailServer, ModelAnswer, NoAnswer, NoModelAnswer, Phase, PluginSpec, PromptCall,
    ProviderResponse, RECORDING_FORMAT, RecordedCall, Recorder, Recording, Registry, RequestFacts,
    RequestMemory, RequestScope, RouteCandidate, RouteRequest, Sources, StreamGuard, StreamHook,
    StreamParser, Text, World, provider_input,
};

use crate::testing::diff;
use crate::testing::view::Body;

pub use as_case::{CaseFromRecording, as_case};

/// How long an instance may take to go when its last call is over.
const GOING: Duration = Duration::from_secs(30);

/// Why a recording was not played.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no recording that this gateway reads.
    #[error("{path} is not a recording that this version reads: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be played as it is.
    #[error("{0}")]
    Unplayable(String),
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// Calls that were made.
    pub calls: usize,
    /// `sha256:…` of the component that was played with, when it could be read.
    pub digest: String,
    /// What differs; `None` when nothing does.
    pub difference: Option<String>,
}

/// Reads a recording.
///
/// # Errors
/// When it is none, or one of another version.
pub fn read(path: &Path) -> Result<Recording, ReplayError> {
    #[derive(Deserialize)]
    struct Version {
        witgate_recording: u32,
    }
    let text = std::fs::read_to_string(path).map_err(|error| ReplayError::File {
        path: path.to_owned(),
        error,
    })?;
    let malformed = |reason: String| ReplayError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let version: Version =
        serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    if version.witgate_recording != RECORDING_FORMAT {
        let found = version.witgate_recording;
        return Err(malformed(format!(
            "it has format {found}, this is {RECORDING_FORMAT}"
        )));
    }
    serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))
}

/// Plays a recording with a component, a path or the name of a built-in one.
///
/// # Errors
/// When the recording's inputs make no sense. A component that cannot be loaded is a difference.
pub async fn replay(
    host: &Arc<Host>,
    sources: &Sources,
    recording: &Recording,
    component: &str,
) -> Result<Replayed, ReplayError> {
    let (recorder, mut played) = Recorder::replaying(Arc::new(recording.clone()));
    let env = recording.env.clone();
    let look_up = Arc::new(move |name: &str| env.get(name).cloned());
    let mut spec = PluginSpec::new(&recording.plugin, component, recording.kind, look_up);
    spec.settings.clone_from(&recording.settings);
    spec.grants = Grants::from(&recording.grants);
    spec.limits = recording.limits;
    spec.record = Some(Arc::new(recorder));
    spec.world = Some(Arc::new(Beyond::of(recording)));
    let digest = sources
        .resolve(component)
        .and_then(|source| source.examine())
        .map(|(_, digest, _)| digest)
        .unwrap_or_default();
    let (registry, errors) = host.load(vec![spec], sources, None).await;
    if let Some(error) = errors.first() {
        return Ok(Replayed {
            calls: 0,
            digest,
            difference: Some(format!("it does not load any more: {}", error.reason)),
        });
    }
    let calls = recording.calls.iter().skip(1).collect::<Vec<_>>();
    play(&registry, recording, &calls)
        .await
        .map_err(ReplayError::Unplayable)?;
    drop(registry);
    let replayed = tokio::time::timeout(GOING, played.recv()).await;
    let replayed = replayed.ok().flatten();
    let actual = replayed.as_ref().map_or(Value::Null, compared);
    Ok(Replayed {
        calls: replayed.map_or(0, |replayed| replayed.calls.len()),
        digest,
        difference: diff::diff(&compared(recording), &actual),
    })
}

/// Imports whose use is seen from outside.
const EFFECTS: [&str; 7] = [
    "http.",
    "sign.",
    "wasi:http.",
    "files.",
    "log.",
    "metrics.",
    "llm.",
];

/// What a recording is compared by.
fn compared(recording: &Recording) -> Value {
    let changes = ["kv.set", "kv.delete"];
    let effect =
        |name: &str| changes.contains(&name) || EFFECTS.iter().any(|start| name.starts_with(start));
    let call = |call: &RecordedCall| {
        let effects: Vec<Value> = call
            .imports
            .iter()
            .filter(|import| effect(&import.import))
            .map(|import| json!({&import.import: import.args}))
            .collect();
        json!({"function": call.function, "result": call.result, "did": effects})
    };
    let all: Vec<Value> = recording.calls.iter().map(call).collect();
    // Through text, as the recording came: numbers are the same then.
    serde_json::from_str(&Value::from(all).to_string()).unwrap_or_default()
}

/// Makes the calls again. What comes of them is on the new tape.
async fn play(
    registry: &Registry,
    recording: &Recording,
    calls: &[&RecordedCall],
) -> Result<(), String> {
    let name = recording.plugin.as_str();
    let gone = || format!("{name} is not loaded");
    let mut stream: Option<StreamGuard> = None;
    let mut parser: Option<StreamParser> = None;
    let mut hooked: Option<StreamHook> = None;
    for call in calls {
        let unknown = || format!("calls of {} cannot be played", call.function);
        match (recording.kind, call.function.as_str()) {
            (Kind::Guardrail, "check") => {
                let guardrail = registry.guardrail(name).ok_or_else(gone)?;
                let input: Guarded = input(call)?;
                let body = Recorded::of(&input);
                let _ = guardrail.check(input.into_call(), Arc::new(body)).await;
            }
            (Kind::Guardrail, "open-stream") => {
                let guardrail = registry.guardrail(name).ok_or_else(gone)?;
                let input: Guarded = input(call)?;
                let opened = guardrail.open_stream(input.into_call()).await;
                stream = opened.ok().flatten();
            }
            (Kind::Guardrail, function @ ("push" | "finish" | "findings")) => {
                let Some(stream) = &mut stream else { break };
                let piece: Piece = input(call)?;
                match function {
                    "push" => drop(stream.push(piece.channel, &piece.text).await),
                    "finish" => drop(stream.finish(piece.channel).await),
                    _ => drop(stream.findings().await),
                }
            }
            (Kind::LogSink, "deliver") => {
                let sink = registry.log_sink(name).ok_or_else(gone)?;
                let events: Vec<OwnedEvent> = input(call)?;
                let batch: Vec<Event<'_>> = events.iter().map(OwnedEvent::lent).collect();
                let _ = sink.deliver(&batch).await;
            }
            (Kind::LogSink, "health-check") => {
                let sink = registry.log_sink(name).ok_or_else(gone)?;
                let _ = sink.health_check().await;
            }
            (Kind::Alerter, "send") => {
                let alerter = registry.alerter(name).ok_or_else(gone)?;
                let alerts: Vec<Alert> = input(call)?;
                let _ = alerter.send(alerts).await;
            }
            (Kind::Authenticator, "authenticate") => {
                let authenticator = registry.authenticator(name).ok_or_else(gone)?;
                let request: AuthRequest = input(call)?;
                let _ = authenticator.authenticate(request).await;
            }
            (Kind::Router, "pick") => {
                let router = registry.router(name).ok_or_else(gone)?;
                let picking: Picking = input(call)?;
                let _ = router.pick(picking.candidates, picking.request).await;
            }
            (Kind::PromptManager, "get-chat-completion-prompt") => {
                let manager = registry.prompt_manager(name).ok_or_else(gone)?;
                let mut prompt: PromptCall = input(call)?;
                prompt.request = input::<Asker>(call)?.scope();
                let _ = manager.prompt(prompt).await;
            }
            (Kind::Provider, function) => {
                let provider = registry.provider(name).ok_or_else(gone)?;
                match function {
                    "supported-params" => {
                        let asked: Asked = input(call)?;
                        let _ = provider
                            .supported_params(&asked.call_type, &asked.model)
                            .await;
                    }
                    "build-request" => drop(provider.build_request(input(call)?).await),
                    "parse-response" => {
                        let (context, response) = answer(call)?;
                        drop(provider.parse_response(context, response).await);
                    }
                    "map-error" => {
                        let (context, response) = answer(call)?;
                        drop(provider.map_error(context, response).await);
                    }
                    "open-stream" => {
                        let (context, head) = answer(call)?;
                        parser = provider.open_stream(context, head).await.ok();
                    }
                    "push" => {
                        let Some(parser) = &mut parser else { break };
                        let frames: Vec<Frame> = provider_input(&call.input["frames"])?;
                        drop(parser.push(frames).await);
                    }
                    "finish" => {
                        let Some(parser) = &mut parser else { break };
                        drop(parser.finish().await);
                    }
                    _ => return Err(unknown()),
                }
            }
            (kind, _) => {
                let known = match kind {
                    Kind::RequestHook => {
                        let hook = registry.request_hook(name).ok_or_else(gone)?;
                        hook::play(&hook, call, &mut hooked).await?
                    }
                    Kind::KeyPolicy => {
                        let policy = registry.key_policy(name).ok_or_else(gone)?;
                        access::key_policy(&policy, call).await?
                    }
                    Kind::Sso => {
                        let plugin = registry.sso(name).ok_or_else(gone)?;
                        access::sso(&plugin, call).await?
                    }
                    Kind::SecretManager => {
                        let manager = registry.secret_manager(name).ok_or_else(gone)?;
                        access::secret_manager(&manager, call).await?
                    }
                    _ => false,
                };
                if !known {
                    return Err(unknown());
                }
            }
        }
    }
    Ok(())
}

fn input<T: DeserializeOwned>(call: &RecordedCall) -> Result<T, String> {
    let input = match &call.input {
        Value::Null => json!({}),
        input => input.clone(),
    };
    serde_json::from_value(input)
        .map_err(|error| format!("the recorded input of {}: {error}", call.function))
}

fn answer(call: &RecordedCall) -> Result<(String, ProviderResponse), String> {
    let context = call.input["context"].as_str().unwrap_or_default();
    let response = provider_input(&call.input["response"])?;
    Ok((context.to_owned(), response))
}

/// A guardrail's input.
#[derive(Debug, Deserialize, Serialize)]
struct Guarded {
    #[serde(flatten)]
    call: Call,
    #[serde(default)]
    body: String,
    #[serde(flatten)]
    asker: Asker,
}

/// The request behind a call.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Asker {
    headers: Option<Vec<(String, String)>>,
    caller: String,
}

impl Asker {
    fn scope(self) -> Option<RequestScope> {
        let (headers, caller) = (self.headers?, self.caller);
        Some(RequestScope {
            memory: Arc::<RequestMemory>::default(),
            facts: Arc::new(Facts { headers, caller }),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Piece {
    channel: u32,
    text: String,
}

#[derive(Deserialize)]
struct Picking {
    candidates: Vec<RouteCandidate>,
    request: RouteRequest,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    call_type: String,
    model: String,
}

#[derive(Deserialize)]
struct OwnedEvent {
    id: String,
    kind: EventKind,
    payload: String,
    context: String,
}

impl OwnedEvent {
    fn lent(&self) -> Event<'_> {
        Event {
            id: &self.id,
            kind: self.kind,
            payload: &self.payload,
            context: &self.context,
        }
    }
}

impl Guarded {
    fn into_call(self) -> Call {
        Call {
            request: self.asker.scope(),
            ..self.call
        }
    }
}

struct Facts {
    headers: Vec<(String, String)>,
    caller: String,
}

impl RequestFacts for Facts {
    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }

    fn caller(&self) -> String {
        self.caller.clone()
    }
}

/// A recorded body: its bytes as they were. Texts and fields that the recording has no answer for are
/// worked out as in a case.
struct Recorded {
    raw: String,
    view: Body,
}

impl Recorded {
    fn of(input: &Guarded) -> Self {
        Self::body(&input.body, input.call.phase, &input.call.call_type)
    }

    fn body(text: &str, phase: Phase, call_type: &str) -> Self {
        let value = serde_json::from_str(text).unwrap_or_default();
        Self {
            view: Body::new(value, phase, call_type),
            raw: text.to_owned(),
        }
    }
}

impl BodyView for Recorded {
    fn raw(&self) -> std::borrow::Cow<'_, str> {
        self.raw.as_str().into()
    }

    fn size(&self) -> u64 {
        self.raw.len() as u64
    }

    fn field(&self, pointer: &str) -> Option<String> {
        self.view.field(pointer)
    }

    fn texts(&self) -> Vec<Text> {
        self.view.texts()
    }
}

/// The world where a recording has no answer: no network, the time of the recording, no chance.
struct Beyond {
    now_ms: u64,
    monotonic_ns: u64,
}

impl Beyond {
    fn of(recording: &Recording) -> Self {
        let imports = || recording.calls.iter().flat_map(|call| &call.imports);
        let last = |name: &str| {
            let clock = imports().rfind(|import| import.import == name);
            clock.and_then(|import| import.answer.as_u64())
        };
        Self {
            now_ms: last("clock.now-ms").unwrap_or(recording.recorded_at_ms),
            monotonic_ns: last("clock.monotonic-ns").unwrap_or_default(),
        }
    }
}

impl World for Beyond {
    fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, NoAnswer> {
        Err(NoAnswer::Connection(format!(
            "the recording has no answer for {} {}",
            request.method(),
            request.uri()
        )))
    }

    fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn append(&self, _file: &str, _data: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn sample(&self, _name: &str, _labels: &[(String, String)], _value: f64) {}

    fn chat(&self, _request: &str) -> Result<ModelAnswer, NoModelAnswer> {
        let reason = "the recording has no answer for this call of a model".to_owned();
        Err(NoModelAnswer::Unavailable(reason))
    }

    fn mail(&self, _server: &MailServer, _mail: &Mail) -> Result<(), MailError> {
        let reason = "the recording has no answer for this message".to_owned();
        Err(MailError::Connection(reason))
    }

    fn log(&self, _level: &'static str, _line: &str) {}
}

/// A JSON text as a value; as it is when it is none.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Pairs as an object; of a name that comes twice the values are joined.
fn object_of(pairs: &[(String, String)]) -> Map<String, Value> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in pairs {
        joined
            .entry(name.clone())
            .and_modify(|all| *all = format!("{all}, {value}"))
            .or_insert_with(|| value.clone());
    }
    let pairs = joined.into_iter();
    pairs.map(|(name, value)| (name, value.into())).collect()
}
