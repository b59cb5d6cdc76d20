//! What the gateway tells about itself: models, their details, health, routes.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, chat};

fn config(api_base: &str) -> String {
    format!(
        "model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, aws_secret_access_key: aws-secret-value}}
    model_info: {{id: first-deployment, mode: chat, base_model: gpt-4o}}
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o-mini, api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}
  - model_name: claude
    litellm_params: {{model: openai/claude, api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}
  - model_name: 'openai/*'
    litellm_params: {{model: 'openai/*', api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}
general_settings: {{master_key: {MASTER_KEY}}}
router_settings:
  model_group_alias: {{my-alias: gpt-4o}}
"
    )
}

async fn stage() -> Stage {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(config(&upstream.api_base()));
    Stage::of(upstream, gateway).await
}

fn ids(list: &Value) -> Vec<&str> {
    let data = list["data"].as_array().expect("a list has data");
    data.iter()
        .filter_map(|model| model["id"].as_str())
        .collect()
}

#[tokio::test]
async fn models_are_listed_once_per_group_in_openais_shape() {
    let stage = stage().await;
    for path in ["/v1/models", "/models"] {
        let list = stage.client.get(path).await.ok();
        assert_eq!(list["object"], "list", "{path}");
        let listed = ids(&list);
        for model in ["gpt-4o", "claude", "my-alias"] {
            assert_eq!(
                listed.iter().filter(|id| **id == model).count(),
                1,
                "{path}: {model} in {listed:?}"
            );
        }
        let first = &list["data"][0];
        assert_eq!(first["object"], "model");
        assert_eq!(first["created"], 1_677_610_602);
        assert_eq!(first["owned_by"], "openai");
    }
}

#[tokio::test]
async fn one_model_can_be_asked_for() {
    let stage = stage().await;
    assert_eq!(
        stage.client.get("/v1/models/claude").await.ok()["id"],
        "claude"
    );
    assert_eq!(
        stage.client.get("/v1/models/no-such-model").await.status,
        404
    );
}

#[tokio::test]
async fn model_info_shows_the_deployments_without_their_secrets() {
    let stage = stage().await;
    for path in ["/model/info", "/v1/model/info"] {
        let answer = stage.client.get(path).await;
        let info = answer.ok();
        let entries = info["data"].as_array().expect("data");
        assert_eq!(entries.len(), 4, "{path}");
        for secret in [UPSTREAM_KEY, "aws-secret-value", MASTER_KEY] {
            assert!(!answer.text().contains(secret), "{path} shows {secret}");
        }
        let first = entries
            .iter()
            .find(|entry| entry["model_info"]["id"] == "first-deployment")
            .expect("the named deployment");
        assert_eq!(first["model_name"], "gpt-4o");
        assert_eq!(first["litellm_params"]["model"], "openai/gpt-4o");
        assert_eq!(
            first["litellm_params"]["api_base"],
            stage.upstream.api_base()
        );
        assert_eq!(first["model_info"]["db_model"], false);
        assert_eq!(first["model_info"]["input_cost_per_token"], 2.5e-6);
        assert_eq!(first["model_info"]["max_input_tokens"], 128_000);
    }
    let one = stage
        .client
        .get("/model/info?litellm_model_id=first-deployment")
        .await
        .ok();
    assert_eq!(one["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let stage = stage().await;
    for path in ["/health/liveliness", "/health/liveness"] {
        assert_eq!(
            stage.client.get(path).await.ok(),
            json!("I'm alive!"),
            "{path}"
        );
    }
    let ready = stage.client.get("/health/readiness").await.ok();
    assert!(
        ready["status"] == "connected" || ready["status"] == "healthy",
        "{ready}"
    );
    assert_eq!(ready["db"], "connected", "{ready}");
    assert!(ready["litellm_version"].is_string(), "{ready}");
}

#[tokio::test]
async fn health_calls_every_deployment_and_tells_the_sick_from_the_healthy() {
    let stage = stage().await;
    let failing = Reply::error(
        401,
        "invalid_request_error",
        None,
        &format!("Incorrect API key provided: {UPSTREAM_KEY}"),
    );
    stage.upstream.on_model("claude", failing);
    let answer = stage.client.get("/health").await;
    let health = answer.ok();
    assert!(health["healthy_count"].as_u64() >= Some(2), "{health}");
    let sick = health["unhealthy_endpoints"]
        .as_array()
        .into_iter()
        .flatten();
    let sick: Vec<&Value> = sick
        .filter(|endpoint| endpoint["model"] == "openai/claude")
        .collect();
    assert_eq!(sick.len(), 1, "{health}");
    let sick = sick[0];
    assert!(
        sick["error"]
            .as_str()
            .unwrap_or_default()
            .contains("Incorrect API key"),
        "{health}"
    );
    assert!(!answer.text().contains(UPSTREAM_KEY), "{health}");

    let one = stage.client.get("/health?model=gpt-4o").await.ok();
    assert_eq!(
        (&one["healthy_count"], &one["unhealthy_count"]),
        (&json!(2), &json!(0)),
        "{one}"
    );
}

#[tokio::test]
async fn the_routes_are_listed_and_each_of_them_exists() {
    let stage = stage().await;
    let routes = stage.client.get("/routes").await.ok();
    let routes = routes["routes"].as_array().expect("routes").clone();
    let paths: Vec<&str> = routes
        .iter()
        .filter_map(|route| route["path"].as_str())
        .collect();
    for path in [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/embeddings",
        "/v1/models",
        "/model/info",
        "/health/liveliness",
        "/routes",
    ] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
    for route in routes
        .iter()
        .filter(|route| route["methods"] == json!(["GET"]))
    {
        let path = route["path"]
            .as_str()
            .expect("path")
            .replace("{model_id}", "claude")
            .replace("{model}", "claude");
        if path.contains('{') {
            continue;
        }
        let answer = stage.client.get(&path).await;
        // What a route does not find it says in words of its own.
        let unrouted = answer.text() == r#"{"detail":"Not Found"}"#;
        assert!(
            !unrouted && answer.status != 405,
            "{path} is listed but answers {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn an_alias_serves_its_group() {
    let stage = stage().await;
    let answer = stage.client.chat(&chat("my-alias")).await.ok();
    assert_eq!(answer["object"], "chat.completion");
    let upstream_model = stage.upstream.requests().last().json()["model"].clone();
    assert!(
        upstream_model == "gpt-4o" || upstream_model == "gpt-4o-mini",
        "{upstream_model}"
    );
}

#[tokio::test]
async fn a_wildcard_passes_the_name_that_was_asked_for() {
    let stage = stage().await;
    stage.client.chat(&chat("openai/o9-preview")).await.ok();
    assert_eq!(
        stage.upstream.requests().last().json()["model"],
        "o9-preview"
    );
}
