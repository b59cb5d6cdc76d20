use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use witgate_identity::Principal;

use crate::ports::AuthDecision;
use crate::snapshot::CustomAuth;
use crate::testing::{
    FakeAuth, Script, Setup, World, chat, chunk, completed, done, usage_chunk, with,
};

fn ours(answer: &crate::testing::Answer) -> Vec<(String, String)> {
    let text = |v: &http::HeaderValue| v.to_str().unwrap().to_owned();
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect();
    headers.sort();
    headers
}

fn listed(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect()
}

const ID: &str = "00000000-0000-0000-0000-000000000007";

fn told() -> Script {
    Script::json(200, &completed("hi"))
        .header("x-request-id", "up-1")
        .header("x-ratelimit-remaining-requests", "9")
        .header("set-cookie", "a=b")
        .header("connection", "close")
        .header("transfer-encoding", "chunked")
        .header("content-encoding", "identity")
}

#[tokio::test(start_paused = true)]
async fn the_region_is_the_keys_else_the_deployments() {
    for (of_key, of_deployment, told) in [
        (None, "", None),
        (None, "eu-central-1", Some("eu-central-1")),
        (Some("eu"), "eu-central-1", Some("eu")),
    ] {
        let metadata = of_key.map(|region| ("allowed_model_region".to_owned(), json!(region)));
        let principal = Principal {
            metadata: metadata.into_iter().collect(),
            ..Principal::default()
        };
        let who = AuthDecision::Identity(Box::new(principal));
        let plugin = Arc::new(FakeAuth::new(Ok(who)));
        let world = Setup::new()
            .with(|_, target| target.region = of_deployment.to_owned())
            .access(|access| {
                access.custom = Some(CustomAuth {
                    plugin,
                    auto: false,
                    common_checks: false,
                })
            })
            .build();
        let answer = world.send(chat(json!({}))).await;
        let header = answer.headers.get("x-litellm-model-region");
        assert_eq!(header.map(|v| v.to_str().unwrap()), told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_complete_answers_headers_are_litellms() {
    let world = World::new();
    world.upstream.then(told());
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(
        ours(&answer),
        listed(&[
            ("content-type", "application/json"),
            ("llm_provider-x-ratelimit-remaining-requests", "9"),
            ("llm_provider-x-request-id", "up-1"),
            ("x-litellm-attempted-fallbacks", "0"),
            ("x-litellm-attempted-retries", "0"),
            ("x-litellm-call-id", ID),
            ("x-litellm-max-retries", "0"),
            ("x-litellm-model-api-base", "http://upstream.test/v1"),
            ("x-litellm-model-group", "gpt-4o"),
            ("x-litellm-model-id", "d0"),
            ("x-litellm-overhead-duration-ms", "0.000"),
            ("x-litellm-response-cost", "0.0000045"),
            ("x-litellm-response-duration-ms", "0.000"),
            ("x-litellm-version", "1.2.3"),
            ("x-ratelimit-remaining-requests", "9"),
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn a_streams_headers_leave_out_what_is_not_known_yet() {
    let world = World::new();
    world
        .upstream
        .then(Script::stream([chunk("a"), usage_chunk(1, 1), done()]));
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!(
        ours(&answer),
        listed(&[
            ("cache-control", "no-cache"),
            ("content-type", "text/event-stream; charset=utf-8"),
            ("x-accel-buffering", "no"),
            ("x-litellm-attempted-fallbacks", "0"),
            ("x-litellm-attempted-retries", "0"),
            ("x-litellm-call-id", ID),
            ("x-litellm-max-retries", "0"),
            ("x-litellm-model-api-base", "http://upstream.test/v1"),
            ("x-litellm-model-group", "gpt-4o"),
            ("x-litellm-model-id", "d0"),
            ("x-litellm-version", "1.2.3"),
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn an_early_failures_headers_name_the_call_and_no_deployment() {
    let answer = World::new().send(chat(json!({"model": "nope"}))).await;
    assert_eq!(answer.header("x-litellm-call-id"), ID);
    assert_eq!(answer.header("x-litellm-response-cost"), "0");
    assert_eq!(answer.header("x-litellm-model-id"), "");
}

#[tokio::test(start_paused = true)]
async fn the_callers_call_id_is_kept_when_it_is_reasonable() {
    for (sent, kept) in [("mine-1", "mine-1"), ("", ID), (&*"x".repeat(129), ID)] {
        let world = World::new();
        let answer = world
            .send(with(chat(json!({})), &[("x-litellm-call-id", sent)]))
            .await;
        assert_eq!(answer.header("x-litellm-call-id"), kept);
        assert_eq!(world.record().await.call_id, kept);
    }
}

#[tokio::test(start_paused = true)]
async fn durations_tell_the_gateways_time_from_the_upstreams() {
    let world = Arc::new(World::new());
    let gate = Arc::new(Notify::new());
    world.upstream.then(
        Script::json_pieces([""])
            .then_wait(&gate)
            .piece(completed("late").to_string()),
    );
    let calling = tokio::spawn({
        let world = world.clone();
        async move { world.send(chat(json!({}))).await }
    });
    world.upstream.arrived.notified().await;
    tokio::time::advance(Duration::from_millis(1500)).await;
    gate.notify_one();
    let answer = calling.await.unwrap();
    assert_eq!(answer.header("x-litellm-response-duration-ms"), "1500.000");
    assert_eq!(answer.header("x-litellm-overhead-duration-ms"), "0.000");
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_unknown_price_has_no_cost_header() {
    let world = Setup::empty()
        .deployment("gpt-4o", "openai/no-such-model-anywhere")
        .build();
    let mut body = completed("hi");
    body["model"] = json!("no-such-model-anywhere");
    world.upstream.then(Script::json(200, &body));
    let answer = world.send(chat(json!({}))).await;
    assert!(!answer.headers.contains_key("x-litellm-response-cost"));
    assert_eq!(world.record().await.cost.total, None);
}

#[tokio::test(start_paused = true)]
async fn only_the_model_of_an_answer_is_edited() {
    let odd = r#"{"id":"1", "model" :"gpt-4o-mini","choices":[],"usage":null,"n":1e400}"#;
    for (keep, shown) in [
        (false, odd.replace("gpt-4o-mini", "gpt-4o")),
        (true, odd.to_owned()),
    ] {
        let world = Setup::new()
            .settings(|s| s.keep_upstream_model = keep)
            .build();
        world.upstream.then(Script::json_pieces([odd]));
        assert_eq!(world.send(chat(json!({}))).await.text, shown);
    }
}
