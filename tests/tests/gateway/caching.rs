//! `litellm_settings.cache`: what is kept is not asked for again.

use serde_json::{Value, json};
use witgate_testkit::{Reply, openai};

use crate::support::{Client, Stage, chat, chat_stream, eventually};

fn local(params: &str) -> String {
    format!("litellm_settings: {{cache: true, cache_params: {{type: local{params}}}}}\n")
}

async fn made(stage: &Stage, body: Value) -> Client {
    let key = stage.client.post("/key/generate", &body).await.ok();
    Client::of(&stage.gateway).key(key["key"].as_str().expect("a key"))
}

#[tokio::test]
async fn an_equal_call_is_answered_without_the_upstream_and_is_free() {
    let stage = Stage::with(&local("")).await;
    let first = stage.client.chat(&chat("gpt-4o")).await;
    let second = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(first.ok(), second.ok());
    assert_eq!(stage.upstream.requests().len(), 1);
    assert_eq!(first.header("x-litellm-cache-key"), None);
    let key = second.header("x-litellm-cache-key").unwrap_or_default();
    assert_eq!(key.len(), 64);
    assert_eq!(second.header("x-litellm-response-cost"), Some("0"));
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let hit = rows.iter().find(|row| row["cache_hit"] == "True");
    let hit = hit.unwrap_or_else(|| panic!("a hit among {rows:?}"));
    assert_eq!(hit["spend"].as_f64(), Some(0.0), "{hit}");
    assert_eq!(hit["cache_key"], key, "{hit}");
    assert_eq!(hit["prompt_tokens"], openai::PROMPT_TOKENS, "{hit}");
    let miss = rows.iter().find(|row| row["cache_hit"] == "False");
    assert!(
        miss.is_some_and(|row| row["spend"].as_f64() > Some(0.0)),
        "{rows:?}"
    );
}

#[tokio::test]
async fn no_tenant_gets_anothers_answer_unless_all_share() {
    for (params, calls) in [("", 2), (", scope: key", 3), (", scope: everyone", 1)] {
        let stage = Stage::with(&local(params)).await;
        for (user, team) in [("ann", "blue"), ("bob", "blue"), ("eve", "red")] {
            let client = made(&stage, json!({"user_id": user, "team_id": team})).await;
            client.chat(&chat("gpt-4o")).await.ok();
            client.chat(&chat("gpt-4o")).await.ok();
        }
        assert_eq!(stage.upstream.requests().len(), calls, "{params}");
    }
}

#[tokio::test]
async fn a_stream_is_replayed_from_what_was_kept() {
    let stage = Stage::with(&local("")).await;
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    // Kept when the call is settled: the row tells that it is.
    stage.gateway.wait_for_spend_rows(1).await;
    let again = stage.client.chat(&chat_stream("gpt-4o")).await;
    assert_eq!(stage.upstream.requests().len(), 1);
    let text = again.text();
    assert!(text.contains("chat.completion.chunk"), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(again.header("x-litellm-cache-key").is_some());
    // Streamed or not are two questions.
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 2);
}

#[tokio::test]
async fn what_is_off_by_default_is_cached_when_asked_for() {
    let stage = Stage::with(&local(
        ", mode: default_off, supported_call_types: [acompletion]",
    ))
    .await;
    let mut asking = chat("gpt-4o");
    asking["cache"] = json!({"use-cache": true});
    for body in [&chat("gpt-4o"), &chat("gpt-4o"), &asking, &asking] {
        stage.client.chat(body).await.ok();
    }
    assert_eq!(stage.upstream.requests().len(), 3);
    let embedding =
        json!({"model": "text-embedding-3-small", "input": "x", "cache": {"use-cache": true}});
    for _ in 0..2 {
        stage.client.post("/v1/embeddings", &embedding).await.ok();
    }
    assert_eq!(stage.upstream.requests().len(), 5);
    // The upstream never sees the control.
    assert!(
        stage
            .upstream
            .requests()
            .all()
            .iter()
            .all(|r| r.json().get("cache").is_none())
    );
}

#[tokio::test]
async fn a_failure_is_asked_again() {
    let stage = Stage::with(&local("")).await;
    stage
        .upstream
        .next(Reply::error(429, "tokens", None, "slow down"));
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 2);
}

#[tokio::test]
async fn what_was_kept_survives_a_reload() {
    let stage = Stage::with(&local("")).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.client.post("/config/reload", &json!({})).await.ok();
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_cache_that_is_not_built_is_told() {
    let stage = Stage::with("litellm_settings: {cache: true, cache_params: {type: s3}}\n").await;
    for _ in 0..2 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    assert_eq!(stage.upstream.requests().len(), 2);
    eventually("the warning", async || {
        stage.gateway.printed("`s3` is not built yet").then_some(())
    })
    .await;
}
