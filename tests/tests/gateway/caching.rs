//! `litellm_settings.cache`: what is kept is not asked for again.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply, openai};

use crate::support::{Client, Stage, base_config, chat, chat_stream};

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
async fn a_key_sets_only_the_controls_it_may() {
    let stage = Stage::with(&local("")).await;
    let client = made(
        &stage,
        json!({"allowed_cache_controls": ["ttl", "no-store"]}),
    )
    .await;
    let asking = |cache: Value| {
        let mut body = chat("gpt-4o");
        body["cache"] = cache;
        body
    };
    client.chat(&asking(json!({"ttl": 60}))).await.ok();
    let refused = client.chat(&asking(json!({"no-cache": true}))).await;
    assert_eq!(
        refused.error(403)["message"],
        "Not allowed to set no-cache as a cache control. Contact admin to change permissions."
    );
    // By header it is not heard, as programs send it on their own.
    let by_header = client.clone().header("cache-control", "no-cache");
    by_header.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 1);
    let shown = client.get("/key/info").await.ok();
    assert_eq!(
        shown["info"]["allowed_cache_controls"],
        json!(["ttl", "no-store"])
    );
}

#[tokio::test]
async fn the_routers_switch_turns_it_on_and_off() {
    for (more, asked) in [
        (
            "router_settings: {num_retries: 0, cache_responses: true}\n",
            1,
        ),
        (
            "router_settings: {num_retries: 0, cache_responses: false}\nlitellm_settings: {cache: true, cache_params: {type: local}}\n",
            2,
        ),
    ] {
        let upstream = FakeUpstream::start().await;
        let config =
            base_config(&upstream.api_base()).replace("router_settings:\n  num_retries: 0\n", more);
        let stage = Stage::of(upstream, Gateway::builder(config)).await;
        for _ in 0..2 {
            stage.client.chat(&chat("gpt-4o")).await.ok();
        }
        assert_eq!(stage.upstream.requests().len(), asked, "{more}");
    }
}

#[tokio::test]
async fn administrators_look_after_the_cache() {
    let stage = Stage::with(&local(", namespace: ours")).await;
    let ping = stage.client.get("/cache/ping").await.ok();
    assert_eq!(ping["status"], "healthy");
    assert_eq!(ping["cache_type"], "local");
    let params: Value =
        serde_json::from_str(ping["litellm_cache_params"].as_str().expect("text")).expect("JSON");
    assert_eq!(params["namespace"], "ours");
    let key_of = async |body: &Value| {
        let answer = stage.client.chat(body).await;
        answer
            .header("x-litellm-cache-key")
            .unwrap_or_default()
            .to_owned()
    };
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let key = key_of(&chat("gpt-4o")).await;
    assert!(key.starts_with("ours:"), "{key}");
    let body = json!({ "keys": [key] });
    stage.client.post("/cache/delete", &body).await.ok();
    assert_eq!(key_of(&chat("gpt-4o")).await, "");
    assert_ne!(key_of(&chat("gpt-4o")).await, "");
    // Another namespace is not the configured one's to flush.
    let mut elsewhere = chat("gpt-4o");
    elsewhere["cache"] = json!({"namespace": "theirs"});
    key_of(&elsewhere).await;
    stage.client.post("/cache/flushall", &json!({})).await.ok();
    assert_eq!(key_of(&chat("gpt-4o")).await, "");
    assert_ne!(key_of(&elsewhere).await, "");
    let info = stage.client.get("/cache/redis/info").await;
    assert_eq!(info.status, 500, "{}", info.text());
    let wrong = stage
        .client
        .post("/cache/delete", &json!({"keys": 1}))
        .await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    // Everybody else is refused.
    let client = made(&stage, json!({"user_id": "ann"})).await;
    client.get("/cache/ping").await.error(401);
    client.post("/cache/flushall", &json!({})).await.error(401);
    let metrics = stage.client.get("/metrics").await.text();
    for (result, count) in [("hit", 3), ("miss", 4)] {
        let line =
            format!("witgate_cache_lookups_total{{backend=\"local\",result=\"{result}\"}} {count}");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn without_a_cache_the_routes_say_so() {
    let stage = Stage::plain().await;
    let error = stage.client.get("/cache/ping").await.error(503);
    assert_eq!(error["type"], "cache_ping_error");
    let message: Value =
        serde_json::from_str(error["message"].as_str().expect("text")).expect("JSON");
    assert!(
        message["message"]
            .as_str()
            .is_some_and(|text| text.contains("Cache not initialized")),
        "{message}"
    );
    let flushed = stage.client.post("/cache/flushall", &json!({})).await;
    assert_eq!(flushed.status, 503, "{}", flushed.text());
}

#[tokio::test]
async fn what_is_on_disk_is_there_after_a_restart_and_can_be_forgotten() {
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = base_config(&upstream.api_base())
        + &format!(
            "litellm_settings: {{cache: true, cache_params: {{type: disk, disk_cache_dir: '{}', ttl: 600}}}}\n",
            folder.path().display()
        );
    // A file that is none is told and made anew.
    std::fs::write(
        folder.path().join("answers.db"),
        "no database ".repeat(1000),
    )
    .expect("write");
    let Stage {
        upstream,
        mut gateway,
        client,
    } = Stage::of(upstream, Gateway::builder(&config)).await;
    client.chat(&chat("gpt-4o")).await.ok();
    gateway.stop().await;
    assert!(gateway.printed("is broken, and is made anew"));
    let Stage {
        upstream,
        gateway: _gateway,
        client,
    } = Stage::of(upstream, Gateway::builder(&config)).await;
    let ping = client.get("/cache/ping").await.ok();
    assert_eq!(ping["cache_type"], "disk");
    let again = client.chat(&chat("gpt-4o")).await;
    assert_eq!(upstream.requests().len(), 1);
    let key = again.header("x-litellm-cache-key").unwrap_or_default();
    let body = json!({ "keys": [key] });
    client.post("/cache/delete", &body).await.ok();
    client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn what_was_kept_survives_a_reload() {
    let stage = Stage::with(&local("")).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.client.post("/config/reload", &json!({})).await.ok();
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 1);
}
