//! Kinds that have a part in a client's call.

use serde_json::{Value, json};
use witgate_plugins::{Kind, Manifest};

use super::super::drive::Played;
use super::base::{Base, Probe};
use super::events::{log_sink, sample_event};
use super::rules::{asked, error, fails, no_fault, quiet};

pub(super) fn guardrail(base: &Base, manifest: &Manifest) -> Vec<Probe> {
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
pub(super) fn request_hook(base: &Base, manifest: &Manifest) -> Vec<Probe> {
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
pub(super) fn provider(base: &Base) -> Vec<Probe> {
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

pub(super) fn router(base: &Base) -> Vec<Probe> {
    let one = json!({"id": "d1", "model": "openai/m"});
    let ask = |candidates: Value, more: Value| {
        let mut input = json!({"candidates": candidates});
        for (name, value) in more.as_object().into_iter().flatten() {
            input[name] = value.clone();
        }
        input
    };
    // The choice falls to simple-shuffle then, but a router that names nobody is wrong.
    let named = |played: &Played| {
        let wrong = played.result["candidate"] == false;
        wrong.then(|| format!("it picks no candidate: {}", played.result["pick"]))
    };
    let probe = |name, input| base.probe(name, "pick", input, quiet(200), named);
    let many: Vec<Value> = (0..1000)
        .map(|n| json!({"id": format!("d{n}"), "model": "openai/m", "weight": n}))
        .collect();
    vec![
        probe("a single candidate", ask(json!([one]), json!({}))),
        probe(
            "candidates of which nothing is known",
            ask(json!([one, {"id": "d2"}]), json!({})),
        ),
        probe(
            "a call of which all is known",
            ask(
                json!([one, {
                    "id": "d2", "model": "azure/m", "tags": ["paid"], "weight": 2.5, "order": 1,
                    "region": "eu", "in_flight": 3, "in_flight_max": 10, "requests": 4,
                    "requests_max": 100, "tokens": 1234, "tokens_max": 100_000,
                    "prompt_tokens_max": 8192, "latency": 0.02, "first_token": 0.4, "cost": 1e-5,
                }]),
                json!({
                    "tags": ["paid"], "streaming": true, "prompt_tokens": 12, "failed_tries": 1,
                    "principal": {"user_id": "u", "team_id": "t", "end_user_id": "e"},
                    "metadata": {"session_id": "s"},
                }),
            ),
        ),
        probe("a thousand candidates", ask(json!(many), json!({}))),
        probe(
            "ids and metadata of strange characters",
            ask(
                json!([{"id": "\u{1}é\u{1f600} '\"{}%00"}, {"id": "d2"}]),
                json!({"metadata": {"\u{1}": ["é\u{1f600} '\"{}%00"]}, "tags": ["", "\u{1f600}"]}),
            ),
        ),
        probe("no candidate", ask(json!([]), json!({}))),
        base.probe(
            "no answer of the other side",
            "pick",
            ask(json!([one]), json!({})),
            fails(),
            named,
        ),
    ]
}

pub(super) fn prompt_manager(base: &Base) -> Vec<Probe> {
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
