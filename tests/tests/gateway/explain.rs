//! Whom a call would reach, who was dropped and why: the route, the command, the event.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat};

/// Two deployments of `m`; the second is paused.
fn config(api_base: &str) -> String {
    let deployment = |id: &str, more: &str| {
        format!(
            "  - model_name: m\n    litellm_params: {{model: openai/{id}-model, api_base: '{api_base}', api_key: sk-upstream-1}}\n    model_info: {{id: {id}{more}}}\n"
        )
    };
    [
        "model_list:\n".to_owned(),
        deployment("one", ""),
        deployment("two", ", blocked: true"),
        format!("general_settings: {{master_key: {MASTER_KEY}}}\n"),
        "router_settings: {num_retries: 0, model_group_alias: {n: m}, fallbacks: [{n: [other]}]}\n"
            .to_owned(),
    ]
    .concat()
}

async fn stage() -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream.api_base());
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn the_route_tells_every_candidate_and_calls_nobody() {
    let stage = stage().await;
    let answer = stage.client.post("/utils/explain", &chat("n")).await;
    answer.ok();
    assert_eq!(
        answer.json(),
        json!({
            "model": "n", "model_group": "m", "resolved_by": "alias", "pattern": null,
            "routing_strategy": "simple-shuffle", "routing_group": null, "picked": "one", "reason": "drawn, all alike",
            "emptied_by": null,
            "candidates": [
                {"model_id": "one", "model": "one-model", "provider": "openai", "dropped_by": null, "why": null},
                {"model_id": "two", "model": "two-model", "provider": "openai", "dropped_by": "paused",
                 "why": "an operator paused it (model_info.blocked)"},
            ],
            "error": null, "fallbacks": ["other"],
        })
    );
    assert!(stage.upstream.requests().is_empty());

    // What a failed call has left behind shows.
    let slow = Reply::status(429, &[("retry-after", "60")], "slow down");
    stage.upstream.always(slow);
    stage.client.chat(&chat("one")).await.error(429);
    let told = stage.client.post("/utils/explain", &chat("m")).await.json();
    let usage = |told: &Value| told["candidates"][0]["dropped_by"].clone();
    // Of a group of two, with one paused, the other one rests after a 429.
    assert_eq!(usage(&told), "cooldown", "{told}");
    assert_eq!(told["error"]["status"], 429, "{told}");
}

#[tokio::test]
async fn only_an_administrator_may_ask_and_a_key_is_never_told_again() {
    let stage = stage().await;
    let made = stage
        .client
        .post("/key/generate", &json!({"models": ["zzz"]}))
        .await
        .json();
    let key = made["key"].as_str().expect("a key").to_owned();
    let theirs = crate::support::Client::of(&stage.gateway).key(&key);
    theirs.post("/utils/explain", &chat("m")).await.error(401);
    let shown = stage.client.get(&format!("/key/info?key={key}")).await.ok();
    let hash = shown["key"].as_str().expect("its hash");
    for named in [key.as_str(), hash] {
        let mut body = chat("m");
        body["key"] = json!(named);
        let answer = stage.client.post("/utils/explain", &body).await;
        answer.error(401);
        let told = answer.text();
        assert!(told.contains("key_model_access_denied"), "{told}");
        assert!(!told.contains(named), "{told}");
    }
    let mut body = chat("m");
    body["key"] = json!(MASTER_KEY);
    let answer = stage.client.post("/utils/explain", &body).await;
    answer.ok();
    assert!(!answer.text().contains(MASTER_KEY));
}

#[tokio::test]
async fn the_command_tells_the_same_from_the_configuration_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = folder.path().join("config.yaml");
    std::fs::write(written, config("http://127.0.0.1:9/v1")).expect("write the config");
    let run = async |args: &[&str]| {
        let fixed = ["explain", "--config", "config.yaml", "--data-dir", "data"];
        Gateway::run(folder.path(), &[&fixed, args].concat()).await
    };
    let (stdout, stderr, code) = run(&["--model", "n", "--json"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let told: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(told["picked"], "one", "{told}");
    assert_eq!(told["candidates"][1]["dropped_by"], "paused", "{told}");

    let (stdout, stderr, code) = run(&["--model", "m", "--key", MASTER_KEY]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let row = |id: &str| {
        stdout
            .lines()
            .find(|line| line.starts_with(id))
            .unwrap_or_default()
    };
    assert!(row("one").contains("picked"), "{stdout}");
    assert!(row("two").contains("dropped by paused"), "{stdout}");

    let (_, stderr, code) = run(&["--model", "mm"]).await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("did you mean m"), "{stderr}");
    let (_, stderr, code) = run(&["--model", "m", "--key", "sk-made-up"]).await;
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("--data-dir") && !stderr.contains("made-up"),
        "{stderr}"
    );
    assert!(!folder.path().join("data").exists(), "nothing is made");
}

#[tokio::test]
async fn what_would_be_sent_is_told_without_its_secrets_and_not_sent() {
    let upstream = FakeUpstream::start().await;
    let claude = "  - model_name: claude\n    litellm_params: {model: anthropic/claude-sonnet, api_key: sk-ant-secret-1}\ngeneral_settings:\n";
    let config = base_config(&upstream.api_base()).replace("general_settings:\n", claude);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let path = "/utils/transform_request";
    let transformed = async |call: &str, body: Value| {
        let body = json!({"call_type": call, "request_body": body});
        stage.client.post(path, &body).await
    };
    let mut body = chat("gpt-4o");
    body["metadata"] = json!({"tags": ["ours"]});
    let told = transformed("acompletion", body).await;
    let base = format!("{}/chat/completions", stage.upstream.api_base());
    let (text, told) = (told.text(), told.ok());
    assert_eq!(told["raw_request_api_base"], base, "{told}");
    assert_eq!(told["raw_request_body"], chat("gpt-4o"), "{told}");
    let headers = &told["raw_request_headers"];
    assert_eq!(
        (&headers["authorization"], &headers["content-type"]),
        (&json!("*****"), &json!("application/json"))
    );
    assert!(!text.contains(UPSTREAM_KEY), "{text}");

    let told = transformed("completion", chat("claude")).await;
    let (text, told) = (told.text(), told.ok());
    assert_eq!(
        told["raw_request_api_base"],
        "https://api.anthropic.com/v1/messages"
    );
    let body = &told["raw_request_body"];
    assert_eq!(
        (&body["model"], &body["max_tokens"]),
        (&json!("claude-sonnet"), &json!(4096)),
        "{told}"
    );
    assert_eq!(told["raw_request_headers"]["x-api-key"], "*****");
    assert!(!text.contains("sk-ant-secret-1"), "{text}");

    let told = transformed("embedding", json!({"model": "claude", "input": "x"}));
    let told = told.await.ok();
    assert!(
        told["error"].is_string(),
        "Anthropic embeds nothing: {told}"
    );
    transformed("arerank", chat("gpt-4o")).await.error(400);
    stage.client.post(path, &chat("gpt-4o")).await.error(400);
    let made = stage.client.post("/key/generate", &json!({})).await.ok();
    let theirs = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    let body = json!({"call_type": "completion", "request_body": chat("gpt-4o")});
    theirs.post(path, &body).await.error(401);
    assert!(stage.upstream.requests().is_empty(), "nobody is called");
}
