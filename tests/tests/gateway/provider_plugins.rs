//! Provider plugins of a user's own: a prefix that only the configuration knows, a dialect with lines and
//! jobs, and what the sandbox keeps a provider from doing. The component is `toy-provider` of
//! `tests/fixtures/guests`; the model's name chooses its behaviour.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Recorded, Reply};

use crate::support::{Client, MASTER_KEY, chat, chat_stream, streamed_text};

const KEY: &str = "toy-key-0123456789";

struct Stage {
    toy: FakeUpstream,
    gateway: Gateway,
    client: Client,
}

/// A gateway whose models `my-llm/…` are the toy's, found as `found` says.
async fn stage_of(found: &str) -> Stage {
    let toy = FakeUpstream::start().await;
    toy.always(Reply::with(speak));
    let config = format!(
        "model_list:\n  - model_name: '*'\n    litellm_params: {{model: 'my-llm/*', api_base: '{}', api_key: {KEY}}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n{found}",
        toy.origin()
    );
    let gateway = Gateway::start(config).await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    Stage {
        toy,
        gateway,
        client,
    }
}

async fn stage() -> Stage {
    stage_of("plugins: {my-llm: {source: toy-provider.wasm}}\n").await
}

/// The toy's server.
fn speak(request: &Recorded) -> Reply {
    let host = request.header("host").unwrap_or_default();
    let base = format!("http://{host}");
    let headers = [
        ("content-type", "application/json"),
        ("x-base", base.as_str()),
    ];
    let json = |body: Value| Reply::status(200, &headers, body.to_string());
    if request.path().starts_with("/job/") {
        // Done at the third look.
        let looks = request.path().trim_start_matches("/job/").len();
        return match looks {
            0..=2 => json(json!({"job": "x".repeat(looks + 1)})),
            _ => json(json!({"text": "done", "in": 2, "out": 1})),
        };
    }
    let body = request.json();
    if request.path() == "/job" {
        return json(json!({"job": "x"}));
    }
    if body["model"] == "limited" {
        return json(json!({"failed": "one toy at a time"}));
    }
    if body["stream"] != true || body["model"] == "whole-only" {
        let text = format!("you said {}", body["prompt"].as_str().unwrap_or_default());
        return json(json!({"text": text, "in": 3, "out": 4}));
    }
    let lines = "{\"piece\":\"you \"}\n{\"piece\":\"said it\"}\n{\"in\":3,\"out\":4}\n";
    Reply::status(200, &[("content-type", "application/x-ndjson")], lines)
}

#[tokio::test]
async fn a_prefix_that_only_the_configuration_knows_is_served() {
    let ways = [
        "plugins: {my-llm: {source: toy-provider.wasm}}\n",
        // LiteLLM's own form.
        "litellm_settings: {custom_provider_map: [{provider: my-llm, custom_handler: toy_provider.handler}]}\n",
    ];
    for found in ways {
        let stage = stage_of(found).await;
        let answer = stage.client.chat(&chat("some-model")).await;
        assert_eq!(answer.content(), "you said Hello!");
        let sent = stage.toy.requests().last();
        assert_eq!(sent.json()["model"], "some-model");
        assert_eq!(sent.header("x-toy-key"), Some("toy toy-key-0123456789!"));
        assert_eq!(sent.header("authorization"), None);
        let events = stage
            .client
            .open(&chat_stream("some-model"))
            .await
            .rest()
            .await;
        assert_eq!(streamed_text(&events), "you said it");
        let rows = stage.gateway.wait_for_spend_rows(2).await;
        for row in rows {
            assert_eq!(row["total_tokens"].as_i64(), Some(7), "{row}");
            assert_eq!(row["custom_llm_provider"], "my-llm", "{row}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_takes_several_requests() {
    let stage = stage().await;
    assert_eq!(stage.client.chat(&chat("job")).await.content(), "done");
    let paths: Vec<String> = stage
        .toy
        .requests()
        .all()
        .iter()
        .map(|r| r.target.clone())
        .collect();
    assert_eq!(paths, ["/job", "/job/x", "/job/xx", "/job/xxx"]);
}

#[tokio::test]
async fn a_provider_that_cannot_stream_is_streamed_all_the_same() {
    let stage = stage().await;
    let mut body = chat_stream("whole-only");
    body["stream_options"] = json!({"include_usage": true});
    let events = stage.client.open(&body).await.rest().await;
    assert_eq!(streamed_text(&events), "you said Hello!");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert!(
        events
            .iter()
            .any(|event| event.contains("\"total_tokens\":7")),
        "{events:?}"
    );
}

#[tokio::test]
async fn failures_in_the_plugins_own_words() {
    let stage = stage().await;
    let error = stage.client.chat(&chat("refuses")).await.error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("toys cannot say that"),
        "{error}"
    );
    assert_eq!(error["param"], "messages");
    let error = stage.client.chat(&chat("limited")).await.error(429);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("one toy at a time"),
        "{error}"
    );
    let error = stage
        .client
        .post("/v1/embeddings", &json!({"model": "e", "input": "x"}))
        .await
        .error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("it serves chat"),
        "{error}"
    );
}

#[tokio::test]
async fn hosts_that_nobody_granted_are_never_called() {
    let stage = stage().await;
    for (model, denied) in [
        ("elsewhere", "not-granted.example"),
        ("metadata", "169.254.169.254"),
        ("neighbour", "127.0.0.1:9"),
    ] {
        let error = stage.client.chat(&chat(model)).await.error(500);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("the provider plugin failed"), "{message}");
        assert!(
            !message.contains(denied),
            "the client is told of hosts: {message}"
        );
        stage.gateway.wait_for_log(denied).await;
    }
    stage
        .gateway
        .metrics_until("three denials", |metrics| {
            metrics.text().lines().any(|line| {
                line.starts_with("witgate_plugin_denials_total")
                    && line.contains("my-llm")
                    && line.contains("egress")
                    && line.ends_with(" 3")
            })
        })
        .await;
    assert!(stage.toy.requests().is_empty());
    assert!(!stage.gateway.printed(KEY));
    stage.client.chat(&chat("some-model")).await.ok();
}

#[tokio::test]
async fn a_plugin_that_misbehaves_costs_its_own_call() {
    let stage = stage().await;
    let rows = [
        ("panics", "the toy is broken"),
        ("thief", "master_key"),
        ("user-in-url", "without credentials"),
        ("framing-headers", "belongs to the gateway"),
        ("not-json", "no JSON object"),
    ];
    for (model, log) in rows {
        let error = stage.client.chat(&chat(model)).await.error(500);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("the provider plugin failed"),
            "{error}"
        );
        stage.gateway.wait_for_log(log).await;
    }
    let stream = stage.client.open(&chat_stream("odd-framing")).await;
    assert_eq!(stream.status, 500);
    stage.gateway.wait_for_log("smoke-signals").await;
    stage.client.chat(&chat("some-model")).await.ok();
    assert!(!stage.gateway.printed(KEY));
}

#[tokio::test]
async fn a_trap_in_the_middle_of_a_stream_is_told_in_it() {
    let stage = stage().await;
    let pieces = ["{\"piece\":\"one\"}\n", "{\"piece\":\"two\"}\n"];
    let none: [&str; 0] = [];
    let gate = witgate_testkit::Gate::default();
    stage.toy.next(
        Reply::open_stream(&none)
            .then_chunk(pieces[0])
            .then_gate(&gate)
            .then_chunk(pieces[1])
            .then_stall(),
    );
    let mut stream = stage.client.open(&chat_stream("panics-midway")).await;
    assert_eq!(
        stream.next_json().await["choices"][0]["delta"]["content"],
        "one"
    );
    gate.open();
    let rest = stream.rest().await;
    assert!(
        rest.last().unwrap().contains("the provider plugin failed"),
        "{rest:?}"
    );
    stage.gateway.wait_for_log("the toy broke midway").await;
    stage.toy.departures().wait_for(1).await;
}

#[tokio::test]
async fn a_provider_that_is_missing_says_so_at_start_or_when_called() {
    // The configuration names it: that must work.
    let config = |provider: &str, more: &str| {
        format!(
            "model_list:\n  - model_name: m\n    litellm_params: {{model: '{provider}/x', api_base: 'http://127.0.0.1:9', api_key: k}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n{more}"
        )
    };
    let refusal = Gateway::builder(config("my-llm", "plugins: {my-llm: {source: gone.wasm}}\n"))
        .expect_refusal()
        .await;
    assert!(refusal.output.contains("gone.wasm"), "{}", refusal.output);
    let refusal = Gateway::builder(config(
        "my-llm",
        "plugins: {my-llm: {source: hostile-ok.wasm}}\n",
    ))
    .expect_refusal()
    .await;
    assert!(
        refusal.output.contains("uses it as provider"),
        "{}",
        refusal.output
    );
    let refusal = Gateway::builder(config(
        "my-llm",
        "plugins: {my-llm: {source: toy-provider.wasm, fail: open}}\n",
    ))
    .expect_refusal()
    .await;
    assert!(
        refusal.output.contains("plugins.my-llm.fail"),
        "{}",
        refusal.output
    );
    // A dialect that nobody wrote a plugin for stops only its own calls.
    let gateway = Gateway::start(config("predibase", "")).await;
    let error = Client::of(&gateway)
        .key(MASTER_KEY)
        .chat(&chat("m"))
        .await
        .error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("no provider plugin"),
        "{error}"
    );
    gateway.wait_for_log("predibase").await;
}

#[tokio::test]
async fn more_streams_than_a_provider_may_have_are_told_that_it_is_busy() {
    let stage = stage_of(
        "plugins: {my-llm: {source: toy-provider.wasm, limits: {max_streams: 1, queue_timeout_ms: 10}}}\n",
    )
    .await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    let begun = Reply::bytes(head)
        .then_chunk("{\"piece\":\"you \"}\n")
        .then_stall();
    stage.toy.next(begun);
    let mut first = stage.client.open(&chat_stream("some-model")).await;
    assert_eq!(first.status, 200);
    first.next_json().await;
    let error = stage
        .client
        .chat(&chat_stream("some-model"))
        .await
        .error(503);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("ServiceUnavailableError"), "{error}");
    assert!(
        message.contains("all instances of the provider plugin are taken"),
        "{error}"
    );
    assert!(
        !message.contains("max_streams") && !message.contains(KEY),
        "{error}"
    );
    drop(first);
    crate::support::eventually("its place is free again", async || {
        let answer = stage.client.chat(&chat_stream("some-model")).await;
        (answer.status == 200).then_some(())
    })
    .await;
}
