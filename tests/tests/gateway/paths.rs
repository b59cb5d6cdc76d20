//! Every alias of a route, and where the model of a call is taken from.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{Client, Stage, base_config, chat};

/// Path and the upstream path it must reach; `{m}` is the model in the path.
const ALIASES: [(&str, &str); 14] = [
    ("/v1/chat/completions", "/v1/chat/completions"),
    ("/chat/completions", "/v1/chat/completions"),
    ("/engines/{m}/chat/completions", "/v1/chat/completions"),
    (
        "/openai/deployments/{m}/chat/completions",
        "/v1/chat/completions",
    ),
    (
        "/openai/deployments/{m}/chat/completions?api-version=2024-02-01",
        "/v1/chat/completions",
    ),
    ("/v1/completions", "/v1/completions"),
    ("/completions", "/v1/completions"),
    ("/engines/{m}/completions", "/v1/completions"),
    ("/openai/deployments/{m}/completions", "/v1/completions"),
    ("/v1/embeddings", "/v1/embeddings"),
    ("/embeddings", "/v1/embeddings"),
    ("/engines/{m}/embeddings", "/v1/embeddings"),
    ("/openai/deployments/{m}/embeddings", "/v1/embeddings"),
    ("/v1/embeddings?foo=bar", "/v1/embeddings"),
];

fn body_for(upstream_path: &str) -> (Value, &'static str) {
    match upstream_path {
        "/v1/completions" => (json!({"prompt": "hi"}), "gpt-3.5-turbo-instruct"),
        "/v1/embeddings" => (json!({"input": "hi"}), "text-embedding-3-small"),
        _ => (
            json!({"messages": [{"role": "user", "content": "hi"}]}),
            "gpt-4o",
        ),
    }
}

#[tokio::test]
async fn every_alias_of_a_route_reaches_the_same_place() {
    let stage = Stage::plain().await;
    for (path, upstream_path) in ALIASES {
        let (mut body, model) = body_for(upstream_path);
        if !path.contains("{m}") {
            body["model"] = json!(model);
        }
        stage
            .client
            .post(&path.replace("{m}", model), &body)
            .await
            .ok();
        let request = stage.upstream.requests().last();
        assert_eq!(request.path(), upstream_path, "{path}");
        assert_eq!(request.json()["model"], model, "{path}");
    }
}

#[tokio::test]
async fn the_model_of_the_path_wins_over_the_body() {
    let stage = Stage::plain().await;
    let answer = stage
        .client
        .post("/engines/gpt-4o/chat/completions", &chat("something-else"))
        .await;
    assert_eq!(answer.ok()["model"], "gpt-4o");
    assert_eq!(stage.upstream.requests().last().json()["model"], "gpt-4o");
}

#[tokio::test]
async fn a_model_in_the_path_may_contain_slashes() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: team/eu/gpt\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: k}}\n\
         general_settings: {{master_key: {}}}\n",
        upstream.api_base(),
        crate::support::MASTER_KEY
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    for path in [
        "/engines/team/eu/gpt/chat/completions",
        "/openai/deployments/team/eu/gpt/chat/completions",
        "/engines/team%2Feu%2Fgpt/chat/completions",
    ] {
        let answer = stage
            .client
            .post(
                path,
                &json!({"messages": [{"role": "user", "content": "x"}]}),
            )
            .await;
        assert_eq!(answer.ok()["model"], "team/eu/gpt", "{path}");
    }
}

#[tokio::test]
async fn the_forced_completion_model_wins_over_all() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  completion_model: gpt-4o\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage
        .client
        .post("/engines/other/chat/completions", &chat("another"))
        .await
        .ok();
    assert_eq!(stage.upstream.requests().last().json()["model"], "gpt-4o");
}

#[tokio::test]
async fn the_server_root_path_prefixes_every_route() {
    let upstream = FakeUpstream::start().await;
    let gateway =
        Gateway::builder(base_config(&upstream.api_base())).env("SERVER_ROOT_PATH", "/llm");
    let stage = Stage::of(upstream, gateway).await;
    stage
        .client
        .post("/llm/v1/chat/completions", &chat("gpt-4o"))
        .await
        .ok();
    stage.client.get("/llm/health/liveliness").await.ok();
    // What stands in front may take the prefix away, and probes do not know it.
    stage
        .client
        .post("/v1/chat/completions", &chat("gpt-4o"))
        .await
        .ok();
    stage.client.get("/health/liveliness").await.ok();
    let other = stage.client.get("/llmx/health/liveliness").await;
    assert_eq!(other.status, 404, "{}", other.text());
}

#[tokio::test]
async fn rules_about_routes_know_them_without_the_server_root_path() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  admin_only_routes: [/v1/embeddings]\n  public_routes: [/v1/models]\n",
    );
    let gateway = Gateway::builder(config).env("SERVER_ROOT_PATH", "/llm");
    let stage = Stage::of(upstream, gateway).await;
    let body = json!({"allowed_routes": ["/v1/chat/completions", "/v1/embeddings"]});
    let made = stage.client.post("/llm/key/generate", &body).await.ok();
    let key = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
    for prefix in ["/llm", ""] {
        let path = |path: &str| format!("{prefix}{path}");
        let call = chat("gpt-4o");
        key.post(&path("/v1/chat/completions"), &call).await.ok();
        let embedding = json!({"model": "gpt-4o", "input": "x"});
        let refused = key
            .post(&path("/v1/embeddings"), &embedding)
            .await
            .error(403);
        let says = refused["message"].as_str().unwrap_or_default();
        assert!(
            says.contains("Route=/v1/embeddings is an admin only"),
            "{says}"
        );
        Client::of(&stage.gateway)
            .get(&path("/v1/models"))
            .await
            .ok();
    }
}

#[tokio::test]
async fn an_empty_content_type_is_read_as_json_all_the_same() {
    let stage = Stage::plain().await;
    let body = chat("gpt-4o").to_string();
    let mut connection = stage.gateway.connect().await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        crate::support::MASTER_KEY,
        body.len()
    );
    connection.send(head + &body).await;
    let answer = connection.response().await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}
