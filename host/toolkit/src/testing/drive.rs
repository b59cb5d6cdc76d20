//! From a scene to what came of it: the plugin is loaded like any other, and its function called as the gateway would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugins::{
    Alert, AlertLevel, Alerter, AuthRequest, Authenticator, Block, Call, CallError, Decision, Edit,
    Event, EventKind, Fault, Finding, Guardrail, Host, Kind, LogSink, Manifest, Outcome, Phase,
    PluginError, PluginSpec, Principal, Registry, RequestFacts, RequestMemory, RequestScope,
    StreamVerdict, Verdict, World,
};

use super::case::Case;
use super::view::Body;
use super::world::{Script, describe_body};

/// One call of one plugin in one world.
pub(crate) struct Scene {
    pub(crate) settings: Map<String, Value>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) call: String,
    pub(crate) input: Value,
    /// Where files that settings name are: the case's folder.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) world: Arc<Script>,
    /// Without the script: real network, time and randomness.
    pub(crate) real: bool,
}

/// What came of a scene.
#[derive(Debug, Clone, Default)]
pub(crate) struct Played {
    /// The function's result, or why there is none.
    pub(crate) result: Value,
    pub(crate) requests: Vec<Value>,
    pub(crate) llm: Vec<Value>,
    pub(crate) mail: Vec<Value>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    pub(crate) metrics: Vec<String>,
    pub(crate) log: Vec<String>,
    /// What the script or the input got wrong.
    pub(crate) problems: Vec<String>,
}

impl Scene {
    pub(crate) fn of_case(case: &Case, manifest: &Manifest) -> Self {
        let call = case.call.clone();
        Self {
            settings: case.settings.clone(),
            env: case.env.clone(),
            call: call.unwrap_or_else(|| super::default_call(manifest).to_owned()),
            input: case.input.clone(),
            folder: Some(case.folder.clone()),
            world: Arc::new(
                Script::new(case.http.clone(), case.now_ms, case.seed)
                    .with_models(case.llm.clone())
                    .with_mail(case.mail.clone()),
            ),
            real: false,
        }
    }

    /// What the component is in this scene: a request hook that is a log sink, too, gets batches as one.
    fn kind(&self, manifest: &Manifest) -> Kind {
        match self.call.as_str() {
            "deliver" | "health_check" if manifest.is(Kind::LogSink) => Kind::LogSink,
            _ => manifest.kind,
        }
    }

    fn spec(&self, name: String, component: &Path, manifest: &Manifest) -> PluginSpec {
        let env = self.env.clone();
        let component = component.display().to_string();
        let look_up = Arc::new(move |name: &str| env.get(name).cloned());
        let mut spec = PluginSpec::new(name, component, self.kind(manifest), look_up);
        spec.settings = self.settings.clone();
        self.find_files(manifest, &mut spec);
        for file in manifest.files.iter().map(String::as_str).chain(["stdout"]) {
            spec.grants
                .files
                .insert(file.to_owned(), PathBuf::from(file));
        }
        spec.grants.llm = vec!["*".to_owned()];
        spec.limits.max_instances = Some(1);
        if !self.real {
            let world: Arc<dyn World> = self.world.clone();
            spec.world = Some(world);
        }
        spec
    }
}

impl Scene {
    /// Files that settings name lie in the folder of the case.
    fn find_files(&self, manifest: &Manifest, spec: &mut PluginSpec) {
        let Some(folder) = &self.folder else { return };
        for setting in manifest.settings.iter().filter(|setting| setting.file) {
            let Some(Value::String(path)) = spec.settings.get_mut(&setting.name) else {
                continue;
            };
            let file = folder.join(path.as_str());
            if file.is_file() {
                let file = std::path::absolute(&file).unwrap_or(file);
                *path = file.display().to_string();
            }
        }
    }
}

impl Played {
    /// What `expected.yaml` holds: the result, and what happened besides.
    pub(crate) fn as_value(&self) -> Value {
        let mut value = Map::new();
        value.insert("result".to_owned(), self.result.clone());
        if !self.requests.is_empty() {
            value.insert("requests".to_owned(), self.requests.clone().into());
        }
        if !self.llm.is_empty() {
            value.insert("llm".to_owned(), self.llm.clone().into());
        }
        if !self.mail.is_empty() {
            value.insert("mail".to_owned(), self.mail.clone().into());
        }
        if !self.files.is_empty() {
            let files = self.files.iter().map(|(name, bytes)| {
                let content = match std::str::from_utf8(bytes) {
                    Ok(text) => text.into(),
                    Err(_) => describe_body(bytes).map_or(Value::Null, |(_, value)| value),
                };
                (name.clone(), content)
            });
            value.insert("files".to_owned(), files.collect::<Map<_, _>>().into());
        }
        if !self.metrics.is_empty() {
            value.insert("metrics".to_owned(), self.metrics.clone().into());
        }
        Value::Object(value)
    }
}

/// Plays scenes with one component, which is loaded once.
pub(crate) async fn play(
    host: &Arc<Host>,
    component: &Path,
    manifest: &Manifest,
    scenes: Vec<Scene>,
) -> Vec<Played> {
    let component = std::path::absolute(component).unwrap_or_else(|_| component.to_owned());
    // Every plugin of a registry has a name of its own; in texts it is the plugin's again.
    let names: Vec<String> = (0..scenes.len())
        .map(|number| format!("{}#{number}", manifest.name))
        .collect();
    let specs = scenes
        .iter()
        .zip(&names)
        .map(|(scene, name)| scene.spec(name.clone(), &component, manifest))
        .collect();
    let (registry, errors) = host.load(specs, &super::no_sources(), None).await;
    let mut all = Vec::with_capacity(scenes.len());
    for (scene, name) in scenes.iter().zip(&names) {
        let mut problems = Vec::new();
        let failed = errors.iter().find(|error| error.plugin == *name);
        let result = match failed {
            Some(error) => json!({"refused": error.reason}),
            None => call(&registry, name, scene.kind(manifest), scene)
                .await
                .unwrap_or_else(|problem| {
                    problems.push(problem);
                    Value::Null
                }),
        };
        let seen = scene.world.seen.lock().clone();
        problems.extend(seen.problems);
        problems.extend(scene.world.unused().filter(|_| !scene.real));
        all.push(Played {
            result: renamed(result, name, &manifest.name),
            requests: seen.requests,
            llm: seen.llm,
            mail: seen.mail,
            files: seen.files,
            metrics: seen.metrics,
            log: seen.log,
            problems,
        });
    }
    all
}

/// Calls the function; an error means that the scene itself makes no sense.
async fn call(registry: &Registry, name: &str, kind: Kind, scene: &Scene) -> Result<Value, String> {
    if scene.call == "init" {
        return Ok(json!({"init": "ok"}));
    }
    match kind {
        Kind::Guardrail => match (registry.guardrail(name), scene.call.as_str()) {
            (Some(guardrail), "check") => check(&guardrail, scene).await,
            (Some(guardrail), "stream") => stream(&guardrail, scene).await,
            (_, call) => Err(unknown(call, "check, stream or init")),
        },
        Kind::Alerter => match (registry.alerter(name), scene.call.as_str()) {
            (Some(alerter), "send") => send(&alerter, scene).await,
            (_, call) => Err(unknown(call, "send or init")),
        },
        Kind::LogSink => match (registry.log_sink(name), scene.call.as_str()) {
            (Some(sink), "deliver") => deliver(&sink, scene).await,
            (Some(sink), "health_check") => Ok(match sink.health_check().await {
                Ok(()) => json!({"health": "ok"}),
                Err(error) => failure(&error),
            }),
            (_, call) => Err(unknown(call, "deliver, health_check or init")),
        },
        Kind::Provider => match registry.provider(name) {
            Some(provider) => super::provider::call(&provider, scene).await,
            None => Err("the provider is not loaded".to_owned()),
        },
        Kind::PromptManager => match (registry.prompt_manager(name), scene.call.as_str()) {
            (Some(manager), "get_chat_completion_prompt") => {
                super::prompt::call(&manager, scene).await
            }
            (_, call) => Err(unknown(call, "get_chat_completion_prompt or init")),
        },
        Kind::SecretManager => match registry.secret_manager(name) {
            Some(manager) => super::secret_manager::call(&manager, scene).await,
            None => Err("the secret manager is not loaded".to_owned()),
        },
        Kind::RequestHook => match registry.request_hook(name) {
            Some(hook) => super::hook::call(&hook, scene).await,
            None => Err("the request hook is not loaded".to_owned()),
        },
        Kind::Authenticator => match (registry.authenticator(name), scene.call.as_str()) {
            (Some(authenticator), "authenticate") => authenticate(&authenticator, scene).await,
            (_, call) => Err(unknown(call, "authenticate or init")),
        },
        Kind::KeyPolicy => match (registry.key_policy(name), scene.call.as_str()) {
            (Some(policy), "judge") => super::key_policy::judge(&policy, scene).await,
            (_, call) => Err(unknown(call, "judge or init")),
        },
        Kind::Router => match (registry.router(name), scene.call.as_str()) {
            (Some(router), "pick") => super::router::pick(&router, scene).await,
            (_, call) => Err(unknown(call, "pick or init")),
        },
        Kind::Sso => match registry.sso(name) {
            Some(plugin) => super::sso::call(&plugin, scene).await,
            None => Err("the plugin is not loaded".to_owned()),
        },
    }
}

pub(super) fn unknown(call: &str, known: &str) -> String {
    format!("`call: {call}` is not a function of this kind; it is {known}")
}

pub(super) fn input<T: for<'de> Deserialize<'de>>(scene: &Scene) -> Result<T, String> {
    let input = match &scene.input {
        Value::Null => json!({}),
        input => input.clone(),
    };
    serde_json::from_value(input).map_err(|error| format!("`input`: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuardInput {
    #[serde(default = "pre_call")]
    phase: String,
    #[serde(default = "acompletion")]
    call_type: String,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    principal: WirePrincipal,
    #[serde(default)]
    params: Map<String, Value>,
    #[serde(default)]
    body: Value,
    /// A stream's: texts, or pairs of channel and text.
    #[serde(default)]
    pieces: Vec<Piece>,
    /// The check of the same request that came before: the plugin keeps things with the request.
    before: Option<Before>,
    /// The client's headers, names in lower case.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// What is known of the caller, by LiteLLM's names.
    #[serde(default)]
    caller: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    #[serde(default = "pre_call")]
    phase: String,
    #[serde(default)]
    body: Value,
}

/// The client's request of a case.
pub(super) struct Facts {
    pub(super) headers: Vec<(String, String)>,
    pub(super) caller: String,
}

impl Facts {
    pub(super) fn new(headers: &BTreeMap<String, String>, caller: &Map<String, Value>) -> Self {
        Self {
            headers: headers.clone().into_iter().collect(),
            caller: Value::Object(caller.clone()).to_string(),
        }
    }
}

impl RequestFacts for Facts {
    fn headers(&self) -> Vec<(String, String)> {
        self.headers.clone()
    }

    fn caller(&self) -> String {
        self.caller.clone()
    }
}

/// The caller of a case.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WirePrincipal {
    key_hash: Option<String>,
    key_alias: Option<String>,
    user_id: Option<String>,
    team_id: Option<String>,
    org_id: Option<String>,
    end_user_id: Option<String>,
    role: Option<String>,
}

impl WirePrincipal {
    pub(super) fn principal(&self) -> Principal {
        Principal {
            key_hash: self.key_hash.clone(),
            key_alias: self.key_alias.clone(),
            user_id: self.user_id.clone(),
            team_id: self.team_id.clone(),
            org_id: self.org_id.clone(),
            end_user_id: self.end_user_id.clone(),
            role: self.role.clone(),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Of(u32, String),
}

fn pre_call() -> String {
    "pre_call".to_owned()
}

fn acompletion() -> String {
    "acompletion".to_owned()
}

impl GuardInput {
    fn call(&self, memory: &Arc<RequestMemory>) -> Result<Call, String> {
        let phase = phase(&self.phase)?;
        let of_body = self.body.get("model").and_then(Value::as_str);
        let given = self.model.as_deref().or(of_body);
        Ok(Call {
            id: "00000000-0000-4000-8000-000000000001".to_owned(),
            phase,
            call_type: self.call_type.clone(),
            model: given.unwrap_or_default().to_owned(),
            principal: self.principal.principal(),
            params: Value::Object(self.params.clone()).to_string(),
            request: Some(RequestScope {
                memory: memory.clone(),
                facts: Arc::new(Facts::new(&self.headers, &self.caller)),
            }),
        })
    }

    /// Makes the check that came before; what the plugin keeps of it is in the memory that is returned.
    async fn prepare(&self, guardrail: &Guardrail) -> Result<Arc<RequestMemory>, String> {
        let memory = Arc::<RequestMemory>::default();
        if let Some(before) = &self.before {
            let call = Call {
                phase: phase(&before.phase)?,
                ..self.call(&memory)?
            };
            let body = Body::new(before.body.clone(), call.phase, &self.call_type);
            let checked = guardrail.check(call, Arc::new(body)).await;
            checked.map_err(|error| format!("`input.before`: {}", failure(&error)))?;
        }
        Ok(memory)
    }
}

fn phase(name: &str) -> Result<Phase, String> {
    Ok(match name {
        "pre_call" => Phase::PreCall,
        "during_call" => Phase::DuringCall,
        "post_call" => Phase::PostCall,
        "logging_only" => Phase::LoggingOnly,
        other => {
            return Err(format!(
                "`phase`: {other} is none of pre_call, during_call, post_call, logging_only"
            ));
        }
    })
}

async fn check(guardrail: &Guardrail, scene: &Scene) -> Result<Value, String> {
    let input: GuardInput = input(scene)?;
    let call = input.call(&input.prepare(guardrail).await?)?;
    let body = Body::new(input.body, call.phase, &input.call_type);
    Ok(match guardrail.check(call, Arc::new(body)).await {
        Ok(Verdict::Allow) => json!({"verdict": "allow"}),
        Ok(Verdict::CouldNotJudge(reason)) => {
            json!({"verdict": "could_not_judge", "reason": reason})
        }
        Ok(Verdict::Block(block)) => blocked(block),
        Ok(Verdict::Edit {
            edits,
            findings: found,
        }) => {
            let edits: Vec<Value> = edits.into_iter().map(edit).collect();
            plain(json!({"verdict": "edit", "edits": edits, "findings": findings(&found)}))
        }
        Err(error) => failure(&error),
    })
}

/// Pushes every piece, finishes every channel in the order of their first pieces.
async fn stream(guardrail: &Guardrail, scene: &Scene) -> Result<Value, String> {
    let input: GuardInput = input(scene)?;
    let call = Call {
        phase: Phase::PostCall,
        ..input.call(&input.prepare(guardrail).await?)?
    };
    let mut guard = match guardrail.open_stream(call).await {
        Ok(Some(guard)) => guard,
        Ok(None) => return Ok(json!({"stream": "whole answers only"})),
        Err(error) => return Ok(failure(&error)),
    };
    let mut channels: Vec<u32> = Vec::new();
    let mut released = Vec::new();
    for piece in &input.pieces {
        let (channel, text) = match piece {
            Piece::Text(text) => (0, text),
            Piece::Of(channel, text) => (*channel, text),
        };
        if !channels.contains(&channel) {
            channels.push(channel);
        }
        match guard.push(channel, text).await {
            Ok(StreamVerdict::Release(text)) => released.push(json!([channel, text])),
            Ok(StreamVerdict::Block(block)) => return Ok(stopped(released, blocked(block))),
            Err(error) => return Ok(stopped(released, failure(&error))),
        }
    }
    for channel in channels {
        match guard.finish(channel).await {
            Ok(StreamVerdict::Release(text)) if text.is_empty() => {}
            Ok(StreamVerdict::Release(text)) => released.push(json!([channel, text])),
            Ok(StreamVerdict::Block(block)) => return Ok(stopped(released, blocked(block))),
            Err(error) => return Ok(stopped(released, failure(&error))),
        }
    }
    Ok(match guard.findings().await {
        Ok(found) => plain(json!({"released": released, "findings": findings(&found)})),
        Err(error) => stopped(released, failure(&error)),
    })
}

fn stopped(released: Vec<Value>, by: Value) -> Value {
    json!({"released": released, "stopped": by})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkInput {
    events: Vec<SinkEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SinkEvent {
    id: Option<String>,
    #[serde(default = "success")]
    kind: String,
    payload: Value,
    #[serde(default)]
    context: Map<String, Value>,
}

fn success() -> String {
    "success".to_owned()
}

async fn deliver(sink: &LogSink, scene: &Scene) -> Result<Value, String> {
    let input: SinkInput = input(scene)?;
    let texts: Vec<(String, EventKind, String, String)> = input
        .events
        .into_iter()
        .map(|event| {
            let kind = match event.kind.as_str() {
                "success" => EventKind::Success,
                "failure" => EventKind::Failure,
                other => return Err(format!("`kind`: {other} is neither success nor failure")),
            };
            let of_payload = event.payload.get("id").and_then(Value::as_str);
            let id = event.id.or_else(|| of_payload.map(str::to_owned));
            let context = Value::Object(event.context).to_string();
            Ok((
                id.unwrap_or_default(),
                kind,
                event.payload.to_string(),
                context,
            ))
        })
        .collect::<Result<_, _>>()?;
    let batch: Vec<Event<'_>> = texts
        .iter()
        .map(|(id, kind, payload, context)| Event {
            id,
            kind: *kind,
            payload,
            context,
        })
        .collect();
    Ok(outcome(sink.deliver(&batch).await))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlerterInput {
    alerts: Vec<WireAlert>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WireAlert {
    id: String,
    kind: String,
    level: String,
    at_ms: u64,
    local_time: String,
    title: String,
    text: String,
    fields: Vec<(String, String)>,
    metadata: Vec<(String, String)>,
    link: Option<String>,
    proxy_url: Option<String>,
    count: Option<u32>,
}

async fn send(alerter: &Alerter, scene: &Scene) -> Result<Value, String> {
    let input: AlerterInput = input(scene)?;
    let alerts = input
        .alerts
        .into_iter()
        .map(|alert| {
            Ok(Alert {
                level: match alert.level.as_str() {
                    "low" => AlertLevel::Low,
                    "medium" => AlertLevel::Medium,
                    "high" | "" => AlertLevel::High,
                    other => return Err(format!("`level`: {other} is none of low, medium, high")),
                },
                id: alert.id,
                kind: alert.kind,
                at_ms: alert.at_ms,
                local_time: alert.local_time,
                title: alert.title,
                text: alert.text,
                fields: alert.fields,
                metadata: alert.metadata,
                link: alert.link,
                proxy_url: alert.proxy_url,
                count: alert.count.unwrap_or(1),
            })
        })
        .collect::<Result<_, String>>()?;
    Ok(outcome(alerter.send(alerts).await))
}

/// What became of a batch.
fn outcome(result: Result<Outcome, CallError>) -> Value {
    match result {
        Ok(Outcome::Delivered) => json!({"outcome": "delivered"}),
        Ok(Outcome::Retry { after, reason }) => plain(json!({
            "outcome": "retry", "reason": reason, "after_ms": after.map(|after| after.as_millis() as u64),
        })),
        Ok(Outcome::Rejected(reason)) => json!({"outcome": "rejected", "reason": reason}),
        Ok(Outcome::Partial {
            retry,
            rejected,
            retry_after,
        }) => {
            let rejected: Map<String, Value> = rejected
                .into_iter()
                .map(|(index, reason)| (index.to_string(), reason.into()))
                .collect();
            plain(json!({
                "outcome": "partial", "retry": retry, "rejected": rejected,
                "after_ms": retry_after.map(|after| after.as_millis() as u64),
            }))
        }
        Err(error) => failure(&error),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct AuthInput {
    api_key: String,
    method: Option<String>,
    path: Option<String>,
    query: Option<String>,
    headers: BTreeMap<String, String>,
    client_ip: Option<String>,
}

async fn authenticate(authenticator: &Authenticator, scene: &Scene) -> Result<Value, String> {
    let input: AuthInput = input(scene)?;
    let request = AuthRequest {
        api_key: input.api_key,
        method: input.method.unwrap_or_else(|| "POST".to_owned()),
        path: input
            .path
            .unwrap_or_else(|| "/v1/chat/completions".to_owned()),
        query: input.query,
        headers: input.headers.into_iter().collect(),
        client_ip: input.client_ip,
    };
    Ok(match authenticator.authenticate(request).await {
        Ok(Decision::Decline) => json!({"decision": "decline"}),
        Ok(Decision::Key(key)) => json!({"decision": "key", "api_key": key}),
        Ok(Decision::Deny(denial)) => plain(json!({
            "decision": "deny", "status": denial.status, "message": denial.message, "kind": denial.kind,
            "param": denial.param,
        })),
        Ok(Decision::Identity(who)) => {
            let object = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            plain(json!({
                "decision": "identity", "api_key": who.api_key, "key_alias": who.key_alias, "user_id": who.user_id,
                "user_email": who.user_email, "role": who.role, "team_id": who.team_id,
                "team_alias": who.team_alias, "org_id": who.org_id, "end_user_id": who.end_user_id,
                "models": who.models, "metadata": object(&who.metadata), "extra": object(&who.extra),
            }))
        }
        Err(error) => failure(&error),
    })
}

pub(super) fn edit(edit: Edit) -> Value {
    match edit {
        Edit::Text { pointer, text } => json!({"text": pointer, "to": text}),
        Edit::Value { pointer, json } => {
            let value = serde_json::from_str::<Value>(&json).unwrap_or_default();
            json!({"value": pointer, "to": value})
        }
        Edit::Remove { pointer } => json!({"remove": pointer}),
    }
}

fn blocked(block: Block) -> Value {
    let detail = block
        .detail
        .and_then(|text| serde_json::from_str::<Value>(&text).ok());
    plain(json!({
        "verdict": "block", "message": block.message, "status": block.status, "detail": detail,
        "findings": findings(&block.findings),
    }))
}

fn findings(found: &[Finding]) -> Map<String, Value> {
    found
        .iter()
        .map(|one| (one.kind.clone(), one.count.into()))
        .collect()
}

/// An error of the plugin as it said it, or a fault: it was stopped or crashed.
pub(super) fn failure(error: &CallError) -> Value {
    match &error.fault {
        Fault::Plugin(error) => {
            let (kind, text) = match error {
                PluginError::InvalidSettings(text) => ("invalid_settings", text),
                PluginError::Denied(text) => ("denied", text),
                PluginError::Unavailable(text) => ("unavailable", text),
                PluginError::Failed(text) => ("failed", text),
            };
            json!({"error": kind, "text": text})
        }
        fault => json!({"fault": fault.to_string()}),
    }
}

/// Without members that say nothing.
pub(crate) fn plain(mut value: Value) -> Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, member| match member {
            Value::Null => false,
            Value::Object(object) => !object.is_empty(),
            Value::Array(list) => !list.is_empty(),
            _ => true,
        });
    }
    value
}

/// The result with the plugin's own name in its texts.
fn renamed(value: Value, name: &str, own: &str) -> Value {
    match value {
        Value::String(text) if text.contains(name) => text.replace(name, own).into(),
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| (key, renamed(value, name, own)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(list) => list
            .into_iter()
            .map(|value| renamed(value, name, own))
            .collect(),
        value => value,
    }
}
