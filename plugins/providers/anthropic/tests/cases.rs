//! Requests, answers and streams, in and out: a folder per case. `in.json` is a call, `out.json` what is
//! sent for it; `answer.json` and `stream.sse` are what comes back, `response.json` and `chunks.json` what
//! the client gets. `UPDATE_CASES=1` writes what comes out, to be read before it is committed.

use std::path::{Path, PathBuf};

use anthropic::config::Settings;
use anthropic::context::Context;
use anthropic::stream::Stream;
use anthropic::{request, response};
use serde_json::{Value, json};
use witgate_plugin::provider::{Call, Chunks, Credential, Failure, Frame, Request, StreamParser};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("cases")
        .map(|entry| entry.expect("entry").path())
        .collect();
    cases.sort();
    cases
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn settings() -> Settings {
    let manifest = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("plugin.toml"));
    assert!(manifest.contains("default = 4096"));
    Settings {
        max_tokens: 4096,
        max_tokens_after_thinking: 4096,
        low_budget: 1024,
        medium_budget: 2048,
        high_budget: 4096,
    }
}

fn build(case: &Value) -> Result<Request, Failure> {
    let text = |name: &str, default: &str| case[name].as_str().unwrap_or(default).to_owned();
    let pairs = |name: &str| -> Vec<(String, String)> {
        serde_json::from_value(case[name].clone()).unwrap_or_default()
    };
    let mut params = json!({"modify_params": false, "drop_params": false});
    for (name, value) in case["params"].as_object().into_iter().flatten() {
        params[name] = value.clone();
    }
    let call = Call {
        id: "call-1".to_owned(),
        call_type: "chat".to_owned(),
        model: text("model", "claude-x"),
        body: case["body"].to_string(),
        params: params.to_string(),
        api_base: text("api_base", "https://api.anthropic.com"),
        credentials: vec![Credential {
            name: "api_key".to_owned(),
            prefix: case["key_prefix"].as_str().map(str::to_owned),
        }],
        headers: pairs("headers"),
    };
    request::build(&settings(), &call)
}

/// The parts of a request that a case may speak of.
fn shown(request: &Request) -> Value {
    let body: Value = serde_json::from_slice(&request.body).expect("the body is JSON");
    json!({
        "method": request.method, "url": request.url, "headers": request.headers,
        "credential_headers": request.credential_headers, "framing": request.framing, "body": body,
        "context": serde_json::from_str::<Value>(&request.context).expect("context"),
    })
}

fn chunks_of(context: Context, sse: &str) -> Value {
    let mut stream = Stream::new(context);
    let mut out = Chunks::default();
    for frame in sse
        .split("\n\n")
        .filter_map(|frame| frame.split_once("data: "))
    {
        let frame = Frame {
            event: None,
            data: frame.1.as_bytes().to_vec(),
        };
        if let Err(failure) = stream.push(&frame, &mut out) {
            out.chunk(&json!({"failure": failure.class, "message": failure.message, "code": failure.code}));
            break;
        }
    }
    let chunks = out.take();
    let parse = |chunk: &String| serde_json::from_str(chunk).expect("a chunk is JSON");
    Value::Array(chunks.iter().map(parse).collect())
}

fn check(path: &Path, value: &Value) {
    if std::env::var_os("UPDATE_CASES").is_some() {
        let text = serde_json::to_string_pretty(value).expect("JSON");
        std::fs::write(path, text + "\n").expect("write");
    }
    assert_eq!(*value, read_json(path), "{}", path.display());
}

#[test]
fn every_case_gives_its_request_answer_and_stream() {
    for case in cases() {
        let name = case.display().to_string();
        let request = build(&read_json(&case.join("in.json")))
            .unwrap_or_else(|failure| panic!("{name}: {}", failure.message));
        check(&case.join("out.json"), &shown(&request));
        let context = Context::read(&request.context).unwrap_or_else(|_| panic!("{name}"));
        let answer = case.join("answer.json");
        if answer.exists() {
            let response = response::parse(&context, &read_json(&answer));
            let response = response.unwrap_or_else(|failure| panic!("{name}: {}", failure.message));
            check(&case.join("response.json"), &response);
        }
        let stream = case.join("stream.sse");
        if stream.exists() {
            check(
                &case.join("chunks.json"),
                &chunks_of(context, &read(&stream)),
            );
        }
    }
}

#[test]
fn a_streams_chunks_add_up_to_the_complete_answer() {
    let mut compared = 0;
    for case in cases() {
        let (response, chunks) = (case.join("response.json"), case.join("chunks.json"));
        if !response.exists() || !chunks.exists() {
            continue;
        }
        let response = read_json(&response);
        let whole = &response["choices"][0]["message"];
        let chunks = read_json(&chunks);
        let deltas = chunks.as_array().into_iter().flatten();
        let deltas: Vec<&Value> = deltas.map(|c| &c["choices"][0]["delta"]).collect();
        let joined =
            |name: &str| -> String { deltas.iter().filter_map(|d| d[name].as_str()).collect() };
        let text = |name: &str| whole[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(joined("content"), text("content"), "{}", case.display());
        assert_eq!(joined("reasoning_content"), text("reasoning_content"));
        for (index, call) in whole["tool_calls"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let pieces = deltas.iter().filter_map(|d| d["tool_calls"].get(0));
            let pieces = pieces.filter(|piece| piece["index"] == index);
            let arguments: String = pieces
                .filter_map(|piece| piece["function"]["arguments"].as_str())
                .collect();
            let parsed: Value = serde_json::from_str(&arguments).expect("arguments");
            let wanted = call["function"]["arguments"].as_str().unwrap_or_default();
            assert_eq!(
                parsed,
                serde_json::from_str::<Value>(wanted).expect("arguments")
            );
        }
        let last = chunks.as_array().and_then(|list| list.last());
        assert_eq!(last.map(|chunk| &chunk["usage"]), Some(&response["usage"]));
        compared += 1;
    }
    assert!(compared >= 3, "{compared}");
}

#[test]
fn what_is_known_of_the_model_shapes_the_request() {
    let body = json!({"messages": [{"role": "user", "content": "hi"}], "temperature": 1,
        "reasoning_effort": "high", "response_format": {"type": "json_object"}});
    let sent = |info: Value| {
        let params = json!({"drop_params": true, "model_info": info});
        let request = build(&json!({"body": body, "params": params}));
        let request = request.unwrap_or_else(|failure| panic!("{}", failure.message));
        shown(&request)["body"].clone()
    };
    let plain = sent(json!({}));
    assert_eq!(
        plain["thinking"],
        json!({"type": "enabled", "budget_tokens": 4096})
    );
    assert_eq!(plain["temperature"], 1);
    let newer =
        sent(json!({"supports_adaptive_thinking": true, "supports_sampling_params": false}));
    assert_eq!(newer["thinking"], json!({"type": "adaptive"}));
    assert_eq!(newer["output_config"], json!({"effort": "high"}));
    assert_eq!(
        (&newer["max_tokens"], &newer["temperature"]),
        (&json!(4096), &json!(null))
    );
    // Without thinking the tool is forced, where that is possible.
    let mut quiet = body.clone();
    quiet["reasoning_effort"] = json!("none");
    let choice = |info: Value| {
        let request = build(&json!({"body": quiet, "params": {"model_info": info}}));
        let request = request.unwrap_or_else(|failure| panic!("{}", failure.message));
        shown(&request)["body"]["tool_choice"].clone()
    };
    assert_eq!(choice(json!({}))["name"], "json_tool_call");
    assert_eq!(
        choice(json!({"supports_forced_tool_use": false})),
        json!(null)
    );
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    let user = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    let with = |name: &str, value: Value| {
        let mut body = user("hi".into());
        body[name] = value;
        body
    };
    let call = json!({"messages": [{"role": "user", "content": "hi"},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}]});
    let rows = [
        (json!({"messages": "hi"}), "messages"),
        (
            json!({"messages": [{"role": "robot", "content": "x"}]}),
            "messages[0]",
        ),
        (user(json!([{"type": "input_audio"}])), "messages[0]"),
        (
            user(json!([{"type": "image_url", "image_url": {"url": "data:image/png,x"}}])),
            "messages[0]",
        ),
        (user(json!([{"type": "file", "file": {}}])), "messages[0]"),
        (call, "messages[1]"),
        (
            with("reasoning_effort", "extreme".into()),
            "reasoning_effort",
        ),
        (with("max_tokens", "many".into()), "max_tokens"),
        (with("stop", 3.into()), "stop"),
        (with("tools", json!([{"type": "function"}])), "tools[0]"),
        (with("tool_choice", "perhaps".into()), "tool_choice"),
        (
            with("response_format", json!({"type": "json_schema"})),
            "response_format",
        ),
    ];
    for (body, param) in rows {
        let failure = build(&json!({ "body": body })).expect_err(param);
        assert_eq!(failure.class, "BadRequestError", "{param}");
        assert_eq!(failure.param.as_deref(), Some(param), "{}", failure.message);
    }
}

#[test]
fn without_a_key_nothing_is_sent() {
    let call = Call {
        id: String::new(),
        call_type: "chat".to_owned(),
        model: "claude-x".to_owned(),
        body: r#"{"messages":[]}"#.to_owned(),
        params: "{}".to_owned(),
        api_base: "https://api.anthropic.com".to_owned(),
        credentials: Vec::new(),
        headers: Vec::new(),
    };
    let failure = request::build(&settings(), &call).expect_err("no key");
    assert_eq!(failure.class, "AuthenticationError");
    assert!(failure.message.contains("ANTHROPIC_API_KEY"));
}

#[test]
fn arbitrary_frames_and_requests_never_panic() {
    let scraps = [
        json!(null),
        json!(1),
        json!("x"),
        json!([]),
        json!({}),
        json!([[]]),
        json!([null]),
        json!({"type": "content_block_delta", "delta": 1}),
        json!({"type": "content_block_start"}),
        json!({"type": "message_delta", "usage": []}),
        json!({"type": "error"}),
        json!({"type": "content_block_start", "content_block": {"type": "tool_use", "name": 1}}),
    ];
    for scrap in &scraps {
        chunks_of(Context::default(), &format!("data: {scrap}\n\n"));
        let _ = response::parse(&Context::default(), scrap);
        for name in [
            "messages",
            "tools",
            "tool_choice",
            "thinking",
            "response_format",
            "stop",
            "web_search_options",
            "user",
            "max_tokens",
            "stream",
            "reasoning_effort",
        ] {
            let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
            body[name] = scrap.clone();
            let _ = build(&json!({ "body": body, "params": {"modify_params": true} }));
            let message = json!({"role": "assistant", "content": scrap, "tool_calls": scrap,
                "thinking_blocks": scrap, "cache_control": scrap, "function_call": scrap});
            let _ = build(
                &json!({ "body": {"messages": [message, {"role": "tool", "content": scrap}]} }),
            );
        }
    }
}
