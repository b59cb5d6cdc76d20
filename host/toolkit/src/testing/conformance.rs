//! What every plugin of a kind must do, whatever it is for. Any component can be run through it.
//!
//! Settings come from the plugin's own cases, else from its manifest. A probe is a scene with a rule for what may come
//! of it; a crash, a timeout or an overrun is never allowed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use witgate_plugins::{Host, Kind, Manifest, Setting, SettingKind};

use super::case::{self, Case, Exchange, Respond};
use super::drive::{Played, Scene, play};
use super::world::Script;
use super::{TestError, default_call, manifest};
use crate::assets;

/// What became of one probe.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was asked.
    pub name: String,
    /// What is wrong, when something is.
    pub problem: Option<String>,
}

/// A scene, and what is wrong with what came of it.
struct Probe {
    name: &'static str,
    scene: Scene,
    rule: Rule,
}

type Rule = Box<dyn Fn(&Played) -> Option<String> + Send>;

/// What stands for a secret when no case gives one.
const SECRET: &str = "conformance-secret-4f3a9c";
/// A key that nobody gave out.
const STRANGER: &str = "conformance-unknown-key-7d21";

/// Runs a component through the suite of its kind. `folder` is where its cases are, if it has any.
///
/// # Errors
/// When it cannot be read, or a case cannot.
pub async fn conformance(
    host: &Arc<Host>,
    component: &Path,
    folder: Option<&Path>,
) -> Result<Vec<Check>, TestError> {
    let manifest = manifest(component)?;
    let cases = folder.map(case::read_all).transpose()?.unwrap_or_default();
    let mut base = Base::of(&cases, &manifest);
    base.heed_refusals(host, component, &manifest).await;
    let secrets = base.secrets(&manifest);
    let loads = "it loads, with its sample settings";
    let mut probes = vec![base.probe(loads, "init", Value::Null, quiet(200), no_fault)];
    probes.extend(missing_settings(&base, &manifest));
    probes.extend(match manifest.kind {
        Kind::LogSink => log_sink(&base),
        Kind::Alerter => alerter(&base),
        Kind::Guardrail => guardrail(&base, &manifest),
        Kind::Provider => provider(&base),
        Kind::Authenticator => authenticator(&base),
        Kind::PromptManager => prompt_manager(&base),
        Kind::KeyPolicy => key_policy(&base),
        Kind::Sso => sso(&base, &manifest),
        Kind::SecretManager => secret_manager(&base),
        Kind::RequestHook => request_hook(&base, &manifest),
    });
    let (names, rest): (Vec<_>, Vec<_>) = probes
        .into_iter()
        .map(|probe| (probe.name, (probe.scene, probe.rule)))
        .unzip();
    let (scenes, rules): (Vec<Scene>, Vec<Rule>) = rest.into_iter().unzip();
    let played = play(host, component, &manifest, scenes).await;
    let mut checks: Vec<Check> = names
        .into_iter()
        .zip(rules.iter().zip(&played))
        .map(|(name, (rule, played))| Check {
            name: name.to_owned(),
            problem: rule(played),
        })
        .collect();
    checks.push(Check {
        name: "no secret is in a log line, a result or an error".to_owned(),
        problem: played.iter().find_map(|played| leak(played, &secrets)),
    });
    Ok(checks)
}

fn prompt_manager(base: &Base) -> Vec<Probe> {
    const CALL: &str = "get_chat_completion_prompt";
    let answered = |played: &Played| match &played.result {
        result if result.get("error").is_some() || result["prompt"] == "unknown" => None,
        result if result["prompt"]["messages"].is_array() => None,
        other => Some(format!("it is neither a prompt nor an error: {other}")),
    };
    // Whether a request may go on without its prompt is the operator's decision.
    let told = move |played: &Played| match error(played) {
        "" if asked(played) => Some(format!(
            "it must be an error, but the result is {}",
            played.result
        )),
        _ => answered(played),
    };
    let ask = |more: Value| {
        let mut input = json!({"prompt_id": "conformance", "body": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}});
        for (name, value) in more.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        input
    };
    let long = "variable ".repeat(1 << 14);
    let mut probes = vec![
        base.probe(
            "an answer that is no prompt",
            CALL,
            ask(json!({})),
            quiet(200),
            told,
        ),
        base.probe(
            "404 of the other side",
            CALL,
            ask(json!({})),
            quiet(404),
            answered,
        ),
        base.probe(
            "500 of the other side",
            CALL,
            ask(json!({})),
            quiet(500),
            told,
        ),
        base.probe(
            "no answer of the other side",
            CALL,
            ask(json!({})),
            fails(),
            told,
        ),
    ];
    for (name, more) in [
        (
            "an id that is a path",
            json!({"prompt_id": "../../secrets?a=b#c"}),
        ),
        ("an empty id", json!({"prompt_id": ""})),
        ("no messages", json!({"body": {"model": "m"}})),
        (
            "strange characters",
            json!({"prompt_id": "\u{0}\u{202e}𝕳é/ %2e%2e"}),
        ),
        (
            "variables of every type",
            json!({"prompt_variables": {"a": 1, "b": null, "c": [true], "d": {"e": "{{a}}"}}}),
        ),
        ("long variables", json!({"prompt_variables": {"a": long}})),
        (
            "a label and a version that make no sense",
            json!({"prompt_label": "\n", "prompt_version": "-1"}),
        ),
    ] {
        probes.push(base.probe(name, CALL, ask(more), quiet(404), answered));
    }
    probes
}

/// The settings that the probes begin from.
struct Base {
    settings: Map<String, Value>,
    env: std::collections::BTreeMap<String, String>,
    /// Where the files of the settings are.
    folder: Option<PathBuf>,
}

impl Base {
    /// Of the first case that is a normal call, else made of the manifest.
    fn of(cases: &[Case], manifest: &Manifest) -> Self {
        let usual = default_call(manifest);
        let refused = |case: &Case| {
            let expected = super::read_expected(&case.folder.join("expected.yaml"));
            let result = expected
                .ok()
                .flatten()
                .and_then(|value| value.get("result").cloned());
            result.is_some_and(|result| result.get("refused").is_some())
        };
        let normal = cases
            .iter()
            .find(|case| case.call.as_deref().unwrap_or(usual) == usual && !refused(case));
        match normal {
            Some(case) => Self {
                settings: case.settings.clone(),
                env: case.env.clone(),
                folder: Some(case.folder.clone()),
            },
            None => Self {
                settings: sample_settings(manifest),
                env: Default::default(),
                folder: None,
            },
        }
    }

    /// Not all optional settings go together, and some want more than a sample: a file, another setting beside it. So when the
    /// plugin refuses the samples, the optional setting that it names first goes, or comes when it is not there.
    async fn heed_refusals(&mut self, host: &Arc<Host>, component: &Path, manifest: &Manifest) {
        let mut heeded: Vec<&str> = Vec::new();
        while self.folder.is_none() {
            let init = self.scene("init", Value::Null, quiet(200));
            let played = play(host, component, manifest, vec![init]).await;
            let refused = played
                .first()
                .and_then(|played| played.result["refused"].as_str());
            let Some(reason) = refused else {
                return;
            };
            let optional = manifest.settings.iter().filter(|one| !one.required);
            let named = optional
                .filter(|one| !heeded.contains(&one.name.as_str()))
                .filter_map(|one| Some((reason.find(&one.name)?, one)))
                // The longest: `token` begins where `token_file` does, too.
                .min_by_key(|(at, one)| (*at, std::cmp::Reverse(one.name.len())));
            let Some((_, setting)) = named else {
                return;
            };
            heeded.push(&setting.name);
            if self.settings.remove(&setting.name).is_none() {
                let value = sample(setting, manifest);
                self.settings.insert(setting.name.clone(), value);
            }
        }
    }

    fn secrets(&self, manifest: &Manifest) -> Vec<String> {
        let secret = manifest.settings.iter().filter(|setting| setting.secret);
        secret
            .flat_map(|setting| {
                let given = self.settings.get(&setting.name).map(texts);
                let mut variables = setting.env.iter().chain(&setting.env_also);
                let of_env = variables.find_map(|name| self.env.get(name)).cloned();
                given.unwrap_or_else(|| of_env.into_iter().collect())
            })
            .filter(|secret| secret.len() >= 4)
            .collect()
    }

    fn scene(&self, call: &str, input: Value, answer: Exchange) -> Scene {
        Scene {
            settings: self.settings.clone(),
            env: self.env.clone(),
            call: call.to_owned(),
            input,
            folder: self.folder.clone(),
            world: Arc::new(Script::always(answer)),
            real: false,
        }
    }

    fn probe(
        &self,
        name: &'static str,
        call: &str,
        input: Value,
        answer: Exchange,
        rule: impl Fn(&Played) -> Option<String> + Send + 'static,
    ) -> Probe {
        Probe {
            name,
            scene: self.scene(call, input, answer),
            rule: Box::new(move |played| no_fault(played).or_else(|| rule(played))),
        }
    }
}

/// The texts in a value: a secret may be a list or an object, such as headers.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// A value for every setting that must have one, and for every secret: none may come out.
fn sample_settings(manifest: &Manifest) -> Map<String, Value> {
    let wanted = manifest.settings.iter().filter(|setting| {
        let host_is_missing = setting.default.is_none() && names_host(setting, manifest);
        setting.required || setting.secret || host_is_missing
    });
    wanted
        .map(|setting| (setting.name.clone(), sample(setting, manifest)))
        .collect()
}

/// Whether the setting is an address that the plugin calls.
fn names_host(setting: &Setting, manifest: &Manifest) -> bool {
    let rule = format!("{{{}}}", setting.name);
    manifest.egress.contains(&rule)
}

fn sample(setting: &Setting, manifest: &Manifest) -> Value {
    match setting.kind {
        SettingKind::String if names_host(setting, manifest) => match setting.secret {
            true => json!(format!("https://conformance.example.com/{SECRET}")),
            false => json!("https://conformance.example.com"),
        },
        SettingKind::String if setting.secret => json!(SECRET),
        SettingKind::String => json!("conformance"),
        SettingKind::Integer => json!(1),
        SettingKind::Number => json!(0.5),
        SettingKind::Boolean => json!(true),
        SettingKind::List => json!([]),
        // An object, or names and values of headers in either form.
        _ => json!({}),
    }
}

/// Each required setting is missed by its name.
fn missing_settings(base: &Base, manifest: &Manifest) -> Vec<Probe> {
    let required = manifest.settings.iter().filter(|setting| setting.required);
    required
        .map(|setting| {
            let mut scene = base.scene("init", Value::Null, quiet(200));
            scene.settings.remove(&setting.name);
            if let Some(variable) = &setting.env {
                scene.env.remove(variable);
            }
            let name = setting.name.clone();
            Probe {
                name: "a missing setting refuses the configuration by its name",
                scene,
                rule: Box::new(move |played| match played.result["refused"].as_str() {
                    Some(reason) if reason.contains(&name) => None,
                    Some(reason) => Some(format!("without `{name}` it says: {reason}")),
                    None => Some(format!("without `{name}` it loads")),
                }),
            }
        })
        .collect()
}

fn asked(played: &Played) -> bool {
    !(played.requests.is_empty() && played.llm.is_empty() && played.mail.is_empty())
}

fn outcome(played: &Played) -> &str {
    played.result["outcome"].as_str().unwrap_or_default()
}

fn error(played: &Played) -> &str {
    played.result["error"].as_str().unwrap_or_default()
}

/// A batch that the other side could not take now must be delivered again.
fn tried_again(played: &Played) -> Option<String> {
    let again = outcome(played) == "retry"
        || played.result.get("retry").is_some()
        || error(played) == "unavailable";
    (asked(played) && !again).then(|| {
        format!(
            "it must be tried again, but the result is {}",
            played.result
        )
    })
}

/// A batch that the other side refuses must not be delivered again and again.
fn given_up(played: &Played) -> Option<String> {
    let refused = matches!(outcome(played), "rejected" | "partial")
        || matches!(error(played), "failed" | "denied" | "invalid_settings");
    (asked(played) && !refused)
        .then(|| format!("it must be given up, but the result is {}", played.result))
}

fn alerter(base: &Base) -> Vec<Probe> {
    let alert = json!({
        "id": "alert-1", "kind": "llm_exceptions", "level": "high", "at_ms": 1_767_323_045_000_u64,
        "local_time": "03:04:05", "title": "A call failed", "text": "*RateLimitError*: `slow down`",
        "fields": [["Request Model", "gpt-4o"]], "metadata": [], "count": 1,
    });
    let batch = json!({"alerts": [alert]});
    let odd = json!({"alerts": [{"kind": "something_new"}]});
    vec![
        base.probe("an alert", "send", batch.clone(), quiet(200), no_fault),
        base.probe(
            "no answer: the batch is tried again",
            "send",
            batch.clone(),
            fails(),
            tried_again,
        ),
        base.probe(
            "503: the batch is tried again",
            "send",
            batch.clone(),
            quiet(503),
            tried_again,
        ),
        base.probe(
            "429: the batch is tried again",
            "send",
            batch.clone(),
            quiet(429),
            tried_again,
        ),
        base.probe(
            "400: the batch is given up",
            "send",
            batch,
            quiet(400),
            given_up,
        ),
        base.probe(
            "an alert of a new type, with nothing in it",
            "send",
            odd,
            quiet(200),
            no_fault,
        ),
        base.probe(
            "an empty batch",
            "send",
            json!({"alerts": []}),
            quiet(200),
            no_fault,
        ),
    ]
}

fn log_sink(base: &Base) -> Vec<Probe> {
    let good = sample_event();
    let mut bad = good.clone();
    for (member, value) in [
        ("status", json!("failure")),
        ("error_str", json!("RateLimitError: slow down")),
        ("response", Value::Null),
    ] {
        bad[member] = value;
    }
    let batch = json!({"events": [{"payload": good}, {"kind": "failure", "payload": bad}]});
    let odd = json!({"events": [{"id": "odd", "payload": {}}, {"id": "failed", "kind": "failure", "payload": {}}]});
    let health = |played: &Played| {
        let healthy = played.result.get("health").is_some();
        (!played.requests.is_empty() && healthy).then(|| "it says that all is well".to_owned())
    };
    vec![
        base.probe(
            "a batch with a success and a failure",
            "deliver",
            batch.clone(),
            quiet(200),
            no_fault,
        ),
        base.probe(
            "no answer: the batch is tried again",
            "deliver",
            batch.clone(),
            fails(),
            tried_again,
        ),
        base.probe(
            "503: the batch is tried again",
            "deliver",
            batch.clone(),
            quiet(503),
            tried_again,
        ),
        base.probe(
            "429: the batch is tried again",
            "deliver",
            batch.clone(),
            quiet(429),
            tried_again,
        ),
        base.probe(
            "400: the batch is given up",
            "deliver",
            batch,
            quiet(400),
            given_up,
        ),
        base.probe(
            "events with nothing in them",
            "deliver",
            odd,
            quiet(200),
            no_fault,
        ),
        base.probe(
            "an empty batch",
            "deliver",
            json!({"events": []}),
            quiet(200),
            no_fault,
        ),
        base.probe(
            "the health check ends",
            "health_check",
            Value::Null,
            quiet(200),
            no_fault,
        ),
        base.probe(
            "the health check fails without an answer",
            "health_check",
            Value::Null,
            fails(),
            health,
        ),
    ]
}

fn guardrail(base: &Base, manifest: &Manifest) -> Vec<Probe> {
    let request = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]});
    let answer = sample_event()["response"].clone();
    let has =
        |phase: &str| manifest.phases.is_empty() || manifest.phases.iter().any(|own| own == phase);
    let mut probes = Vec::new();
    for (name, phase, body) in [
        ("pre_call: a request", "pre_call", &request),
        ("during_call: a request", "during_call", &request),
        ("post_call: an answer", "post_call", &answer),
        ("logging_only: a copy", "logging_only", &request),
    ] {
        if has(phase) {
            let input = json!({"phase": phase, "body": body});
            probes.push(base.probe(name, "check", input, quiet(200), no_fault));
        }
    }
    let phase = manifest.phases.first().map_or("pre_call", String::as_str);
    let phase = if phase == "streaming" {
        "post_call"
    } else {
        phase
    };
    let long = "All work and no play makes for a long message. ".repeat(6000);
    for (name, body) in [
        ("an empty body", json!({})),
        (
            "no messages",
            json!({"model": "m", "messages": [], "choices": []}),
        ),
        (
            "messages that are none",
            json!({"model": "m", "messages": "text", "choices": 7}),
        ),
        (
            "strange characters",
            json!({"model": "m", "messages": [{"role": "user", "content": "\u{0}\u{7f}\u{202e}𝕳é\u{1f600}"}]}),
        ),
        (
            "a quarter of a megabyte",
            json!({"model": "m", "messages": [{"role": "user", "content": long}]}),
        ),
    ] {
        let input = json!({"phase": phase, "body": body});
        probes.push(base.probe(name, "check", input, quiet(200), no_fault));
    }
    let body = if phase == "post_call" {
        &answer
    } else {
        &request
    };
    let open = |played: &Played| {
        let passed = played.result["verdict"] == "allow";
        (passed && asked(played)).then(|| {
            "it lets the call pass; whether a call may pass unjudged is the operator's decision: return could-not-judge"
                .to_owned()
        })
    };
    let input = json!({"phase": phase, "body": body});
    probes.push(base.probe(
        "no answer of the other side",
        "check",
        input.clone(),
        fails(),
        open,
    ));
    probes.push(base.probe("500 of the other side", "check", input, quiet(500), open));
    if manifest.phases.iter().any(|own| own == "streaming") {
        let whole = "Good morning, all is well here.";
        let pieces = json!(["Good mor", "ning, all", " is", " well here", "."]);
        probes.push(base.probe(
            "a harmless stream passes as it is",
            "stream",
            json!({"pieces": pieces}),
            quiet(200),
            move |played| {
                let released = played.result["released"].as_array()?;
                let text: String = released.iter().filter_map(|one| one[1].as_str()).collect();
                (text != whole && !asked(played)).then(|| format!("{whole:?} became {text:?}"))
            },
        ));
    }
    probes
}

/// Whatever comes, a hook bears it and has a decision.
fn request_hook(base: &Base, manifest: &Manifest) -> Vec<Probe> {
    let has = |hook: &str| manifest.hooks.iter().any(|own| own == hook);
    let request = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]});
    let odd = json!({"model": 7, "messages": "text", "metadata": null, "stream": "yes"});
    let answer = sample_event()["response"].clone();
    let deployment =
        json!({"id": "one", "model_name": "gpt-4o", "params": {"model": "openai/gpt-4o"}});
    let chunk = |content: Value| {
        json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
            "choices": [{"index": 0, "delta": content, "finish_reason": null}]})
    };
    let chunks = json!([chunk(json!({"role": "assistant", "content": ""})), chunk(json!({"content": "Good"})),
        chunk(json!({"content": " morning."})), {"choices": []}, {}]);
    let inputs = [
        ("pre_call", json!({})),
        ("pre_routing", json!({})),
        ("filter_deployments", json!({"deployments": [deployment]})),
        ("pre_call_deployment", json!({"deployment": deployment})),
        ("post_call_success", json!({"response": answer})),
        ("post_call_failure", json!({})),
        (
            "response_headers",
            json!({"status": 200, "deployment": deployment, "response": answer}),
        ),
        ("streaming", json!({"chunks": chunks})),
    ];
    let mut probes = Vec::new();
    for (hook, input) in inputs {
        if !has(hook) {
            continue;
        }
        let call = if hook == "streaming" { "stream" } else { hook };
        let with = |request: &Value, call_type: &str| {
            let mut input = input.clone();
            input["request"] = request.clone();
            input["call_type"] = call_type.into();
            input
        };
        let usual = with(&request, "acompletion");
        let mut probe = |name, input, answer| {
            probes.push(base.probe(name, call, input, answer, no_fault));
        };
        probe("a usual call", usual.clone(), quiet(200));
        probe(
            "a request with nothing in it",
            with(&json!({}), "acompletion"),
            quiet(200),
        );
        probe(
            "a request of a strange shape",
            with(&odd, "atext_completion"),
            quiet(200),
        );
        probe(
            "a call of a type that does not exist yet",
            with(&request, "asomething"),
            quiet(200),
        );
        probe("no answer of the other side", usual.clone(), fails());
        probe("500 of the other side", usual, quiet(500));
    }
    if has("filter_deployments") {
        let offered = json!({"request": request, "deployments": [deployment]});
        probes.push(base.probe(
            "it selects among the deployments that it was offered",
            "filter_deployments",
            offered,
            quiet(200),
            |played| {
                let kept = played.result["keep"].as_array()?;
                let strange = kept.iter().find(|id| *id != "one")?;
                Some(format!("it keeps {strange}, which was not offered"))
            },
        ));
    }
    if manifest.is(Kind::LogSink) {
        probes.extend(log_sink(base));
    }
    probes
}

/// Whatever an upstream or a client sends, a provider has an answer for it.
fn provider(base: &Base) -> Vec<Probe> {
    let chat = |content: Value| {
        let messages = json!([{"role": "user", "content": content}]);
        json!({"model": "sample", "body": {"model": "sample", "messages": messages}})
    };
    let probe = |name: &'static str, call: &str, input: Value| {
        base.probe(name, call, input, quiet(200), no_fault)
    };
    vec![
        probe(
            "what it supports",
            "supported_params",
            json!({"model": "sample"}),
        ),
        probe("a request", "build_request", chat(json!("Hello"))),
        probe(
            "a request without messages",
            "build_request",
            json!({"model": "sample", "body": {}}),
        ),
        probe(
            "content of a strange shape",
            "build_request",
            chat(json!([{"type": "sample"}, 7, null])),
        ),
        probe(
            "a type of call that does not exist",
            "build_request",
            json!({"call_type": "sample", "body": {}}),
        ),
        probe("an answer that is empty", "parse_response", json!({})),
        probe(
            "an answer that is not JSON",
            "parse_response",
            json!({"body": "<html>"}),
        ),
        probe(
            "a failure that says nothing",
            "map_error",
            json!({"status": 500}),
        ),
        probe(
            "a failure that is not JSON",
            "map_error",
            json!({"status": 429, "body": "<html>"}),
        ),
        probe("a stream without frames", "stream", json!({})),
        probe(
            "a stream of nonsense",
            "stream",
            json!({"frames": ["{", ["sample", {}], "[DONE]"]}),
        ),
    ]
}

fn authenticator(base: &Base) -> Vec<Probe> {
    let stranger = |played: &Played| {
        (played.result["decision"] == "identity")
            .then(|| "it lets in a key that nobody gave out".to_owned())
    };
    let key =
        |key: &str| json!({"api_key": key, "headers": {"authorization": format!("Bearer {key}")}});
    let blind = |played: &Played| {
        let let_in = played.result["decision"] == "identity" && asked(played);
        let_in.then(|| "it lets somebody in without an answer".to_owned())
    };
    vec![
        base.probe("no key", "authenticate", json!({}), quiet(401), stranger),
        base.probe(
            "a key that nobody gave out",
            "authenticate",
            key(STRANGER),
            quiet(401),
            stranger,
        ),
        base.probe(
            "a key of strange characters",
            "authenticate",
            key("\u{1}é\u{1f600} '\"{}%00"),
            quiet(401),
            stranger,
        ),
        base.probe(
            "a key of 16 KB",
            "authenticate",
            key(&"x".repeat(16 << 10)),
            quiet(401),
            stranger,
        ),
        base.probe(
            "no answer of the other side",
            "authenticate",
            key(STRANGER),
            fails(),
            blind,
        ),
        base.probe(
            "500 of the other side",
            "authenticate",
            key(STRANGER),
            quiet(500),
            blind,
        ),
    ]
}

fn key_policy(base: &Base) -> Vec<Probe> {
    let ask = |body: Value| json!({"caller": {"user_id": "u1"}, "body": body});
    let blind = |played: &Played| {
        let given = played.result["verdict"] == "allow" && !played.requests.is_empty();
        given.then(|| "it gives a key without an answer".to_owned())
    };
    let probe = |name, body, exchange| base.probe(name, "judge", ask(body), exchange, no_fault);
    vec![
        probe("a request that says nothing", json!({}), quiet(200)),
        probe(
            "wrong types in every member",
            json!({"team_id": 5, "models": "gpt", "metadata": [], "duration": {}, "user_id": false}),
            quiet(200),
        ),
        probe(
            "an alias of strange characters",
            json!({"key_alias": "\u{1}é\u{1f600} '\"{}%00"}),
            quiet(200),
        ),
        probe(
            "metadata of 64 KB",
            json!({"metadata": {"text": "x".repeat(64 << 10)}}),
            quiet(200),
        ),
        base.probe(
            "no answer of the other side",
            "judge",
            ask(json!({})),
            fails(),
            blind,
        ),
        base.probe(
            "500 of the other side",
            "judge",
            ask(json!({})),
            quiet(500),
            blind,
        ),
    ]
}

/// Nobody is let in by an answer that says nothing, and what a person or a provider sends does no harm.
fn sso(base: &Base, manifest: &Manifest) -> Vec<Probe> {
    let has = |role: &str| manifest.roles.iter().any(|own| own == role);
    let blind = |played: &Played| {
        let let_in = played.result["who"] == "user" && asked(played);
        let_in.then(|| "it lets somebody in without an answer".to_owned())
    };
    let mut probes = Vec::new();
    if has("provider") {
        let goes = |played: &Played| {
            let url = played.result["url"].as_str().unwrap_or_default();
            let whole = url.contains("state=") && url.contains("redirect_uri=");
            let good = if url.is_empty() {
                !error(played).is_empty()
            } else {
                whole
            };
            (!good).then(|| format!("a login goes nowhere: {}", played.result))
        };
        probes.extend([
            base.probe("a login", "authorize", json!({}), quiet(200), goes),
            base.probe(
                "a login without an answer of the provider",
                "authorize",
                json!({}),
                fails(),
                goes,
            ),
        ]);
        let code = |code: &str| json!({"code": code});
        for (name, input, answer) in [
            ("an empty answer lets nobody in", code("sample"), quiet(200)),
            ("a code that is refused", code("sample"), quiet(400)),
            ("500 of the provider", code("sample"), quiet(500)),
            ("no answer of the provider", code("sample"), fails()),
            ("no code", code(""), quiet(400)),
            (
                "a code of strange characters",
                code("\u{1}é\u{1f600} '\"{}%00&code=x"),
                quiet(400),
            ),
            ("a code of 16 KB", code(&"x".repeat(16 << 10)), quiet(400)),
        ] {
            probes.push(base.probe(name, "exchange", input, answer, blind));
        }
    }
    if has("mapping") {
        let user = json!({"id": "sample", "email": "sample@example.com"});
        for (name, input) in [
            ("a new user", json!({"user": user})),
            (
                "a user without anything but an id",
                json!({"user": {"id": "sample"}}),
            ),
            (
                "a known user",
                json!({"user": user, "known": {"user_id": "sample", "user_role": "internal_user"}}),
            ),
            (
                "a user with strange facts",
                json!({"user": {"id": "\u{202e}é", "email": "@", "extra_fields": {"": [null, {"a": 1}]}}}),
            ),
        ] {
            probes.push(base.probe(name, "map_user", input, quiet(200), no_fault));
        }
    }
    if has("sign-in") {
        let stranger = |played: &Played| {
            (played.result["who"] == "user")
                .then(|| "it lets in a request that says nothing".to_owned())
        };
        probes.push(base.probe(
            "a request that says nothing",
            "sign_in",
            json!({}),
            quiet(401),
            stranger,
        ));
    }
    probes
}

/// The value of a secret that the probes try to store.
const STORED: &str = "conformance-stored-value-91be";

/// That the other side is in trouble is an error, never "there is no such secret": the host keeps that for long. No error
/// holds a value.
fn secret_manager(base: &Base) -> Vec<Probe> {
    let name = json!({"name": "CONFORMANCE"});
    let secret = json!({"secret": {"name": "CONFORMANCE", "value": STORED}});
    let rotation =
        json!({"current": "CONFORMANCE", "secret": {"name": "CONFORMANCE_2", "value": STORED}});
    let sure = |played: &Played| {
        let knows = played.result.get("value").is_some() && asked(played);
        knows.then(|| {
            format!(
                "it says {} without having been told; return an error",
                played.result
            )
        })
    };
    let done = |played: &Played| {
        let done = played.result.get("done").is_some() && asked(played);
        done.then(|| "it says that it is done without having been told".to_owned())
    };
    let silent = |played: &Played| {
        let told = played.result.to_string().contains(STORED)
            || played.log.iter().any(|line| line.contains(STORED));
        told.then(|| "an error or a log line holds the value of a secret".to_owned())
    };
    let kept = move |played: &Played| done(played).or_else(|| silent(played));
    let stop = move |played: &Played| sure(played).or_else(|| later(played));
    let probe = |name: &'static str, call: &str, input: &Value, answer: Exchange| {
        base.probe(name, call, input.clone(), answer, no_fault)
    };
    vec![
        probe("a read", "read", &name, quiet(200)),
        base.probe("no answer to a read", "read", name.clone(), fails(), stop),
        base.probe("503 to a read", "read", name.clone(), quiet(503), stop),
        base.probe("429 to a read", "read", name.clone(), quiet(429), stop),
        base.probe("403 to a read", "read", name.clone(), quiet(403), sure),
        probe(
            "a name of strange characters",
            "read",
            &json!({"name": "a b/é?#%00&\u{1f600}"}),
            quiet(200),
        ),
        base.probe(
            "no answer to a write",
            "write",
            secret.clone(),
            fails(),
            kept,
        ),
        base.probe("500 to a write", "write", secret.clone(), quiet(500), kept),
        base.probe("400 to a write", "write", secret, quiet(400), kept),
        base.probe("500 to a delete", "delete", name, quiet(500), done),
        base.probe("403 to a rotation", "rotate", rotation, quiet(403), kept),
        base.probe(
            "the health check without an answer",
            "health",
            Value::Null,
            fails(),
            done,
        ),
    ]
}

/// What may be different later is `unavailable`.
fn later(played: &Played) -> Option<String> {
    (asked(played) && error(played) != "unavailable").then(|| {
        format!(
            "it must be unavailable, but the result is {}",
            played.result
        )
    })
}

fn sample_event() -> Value {
    let text = assets::file("host/toolkit/assets/event.json").unwrap_or_default();
    serde_json::from_slice(text).unwrap_or_default()
}

/// The same response to every request.
fn quiet(status: u16) -> Exchange {
    Exchange {
        respond: Some(Respond {
            status,
            json: Some(json!({})),
            ..Respond::default()
        }),
        ..Exchange::default()
    }
}

fn fails() -> Exchange {
    Exchange {
        fail: Some("connection refused".to_owned()),
        ..Exchange::default()
    }
}

/// Crashes, overruns and refusals to load are wrong in every probe.
fn no_fault(played: &Played) -> Option<String> {
    let text = |member: &str| played.result.get(member).and_then(Value::as_str);
    let fault = text("fault").or_else(|| text("refused"));
    let stopped = played
        .result
        .pointer("/stopped/fault")
        .and_then(Value::as_str);
    fault
        .or(stopped)
        .map(str::to_owned)
        .or_else(|| played.problems.first().cloned())
}

fn leak(played: &Played, secrets: &[String]) -> Option<String> {
    let result = played.result.to_string();
    for secret in secrets {
        if result.contains(secret.as_str()) {
            return Some("a result holds a secret setting".to_owned());
        }
        if let Some(line) = played
            .log
            .iter()
            .find(|line| line.contains(secret.as_str()))
        {
            return Some(format!(
                "a log line holds a secret setting: {}",
                line.replace(secret, "[secret]")
            ));
        }
    }
    let masked = played.log.iter().find(|line| line.contains("[secret]"));
    masked.map(|line| format!("it wrote a secret, which the host masked: {line}"))
}

/// The folder of the cases that belong to a component: the plugin folder it lies in.
#[must_use]
pub fn cases_beside(component: &Path) -> Option<PathBuf> {
    let folder = component.parent()?;
    folder.join("cases").is_dir().then(|| folder.to_owned())
}
