//! Prompts over the API: those of the database (`store_model_in_db`) serve at once, version by version, and open no way that
//! the operator has not opened.

use reqwest::Method;
use serde_json::{Value, json};
use witgate_testkit::{FakeLangfuse, FakeUpstream, Gateway, GatewayBuilder};

use crate::support::{Client, MASTER_KEY, Stage, base_config};

async fn stage(more: &str, shape: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  store_model_in_db: true\n",
    );
    let builder = Gateway::builder(config + more).env("LITELLM_SALT_KEY", "salt-one");
    Stage::of(upstream, shape(builder)).await
}

fn operators(vendor: &FakeLangfuse) -> impl FnOnce(GatewayBuilder) -> GatewayBuilder {
    let host = vendor.origin().to_owned();
    |builder| {
        builder
            .env("LANGFUSE_HOST", host)
            .env("LANGFUSE_PUBLIC_KEY", FakeLangfuse::PUBLIC_KEY)
            .env("LANGFUSE_SECRET_KEY", FakeLangfuse::SECRET_KEY)
    }
}

async fn vendor() -> FakeLangfuse {
    let vendor = FakeLangfuse::start().await;
    for (name, text) in [("one", "First, {{name}}."), ("two", "Second, {{name}}.")] {
        vendor.prompt(
            json!({"name": name, "version": 7, "type": "text", "labels": ["production"], "tags": [],
            "config": {}, "prompt": text}),
        );
    }
    vendor
}

fn prompt(name: &str) -> Value {
    json!({"prompt_id": "greet", "litellm_params": {"prompt_id": name, "prompt_integration": "langfuse"}})
}

fn asking(more: Value) -> Value {
    let mut body =
        json!({"model": "gpt-4o", "prompt_id": "greet", "prompt_variables": {"name": "Ann"}});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

fn said(stage: &Stage) -> Value {
    stage.upstream.requests().last().json()["messages"][0]["content"].clone()
}

#[tokio::test]
async fn a_prompt_of_the_database_serves_at_once_version_by_version_and_after_a_restart() {
    let vendor = vendor().await;
    let stage = stage("", operators(&vendor)).await;
    let client = &stage.client;
    client.chat(&asking(json!({}))).await.error(400);
    let made = client.post("/prompts", &prompt("one")).await.ok();
    assert_eq!(made["version"], 1, "{made}");
    client.chat(&asking(json!({}))).await.ok();
    assert_eq!(said(&stage), "First, Ann.");
    let next = prompt("two").to_string();
    let put = client.ask(Method::PUT, "/prompts/greet", next).await.ok();
    assert_eq!(put["version"], 2, "{put}");
    client.chat(&asking(json!({}))).await.ok();
    assert_eq!(said(&stage), "Second, Ann.");
    for first in [
        json!({"prompt_version": 1}),
        json!({"prompt_id": "greet.v1"}),
    ] {
        client.chat(&asking(first)).await.ok();
        assert_eq!(said(&stage), "First, Ann.");
    }
    let lost = client.chat(&asking(json!({"prompt_version": 9}))).await;
    assert_eq!(lost.error(400)["param"], "prompt_version");

    // A key that may name one version names no other.
    let body = json!({"prompts": ["greet.v1"]});
    let made = client.post("/key/generate", &body).await.ok();
    let bound = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    bound.chat(&asking(json!({"prompt_version": 1}))).await.ok();
    for other in [
        json!({}),
        json!({"prompt_id": "greet.v2"}),
        json!({"prompt_id": "greet.v1", "prompt_version": 2}),
    ] {
        bound.chat(&asking(other)).await.error(403);
    }
    let listed = bound.get("/prompts/list").await.ok();
    assert_eq!(listed["prompts"][0]["prompt_id"], "greet", "{listed}");

    let Stage {
        mut gateway,
        upstream,
        ..
    } = stage;
    gateway.stop().await;
    let gateway = gateway.start_again().await;
    let stage = Stage {
        client: Client::of(&gateway).key(MASTER_KEY),
        gateway,
        upstream,
    };
    let client = &stage.client;
    client.chat(&asking(json!({}))).await.ok();
    assert_eq!(said(&stage), "Second, Ann.");
    client
        .request(Method::DELETE, "/prompts/greet.v2")
        .await
        .ok();
    client.chat(&asking(json!({}))).await.ok();
    assert_eq!(said(&stage), "First, Ann.");
    client.request(Method::DELETE, "/prompts/greet").await.ok();
    client.chat(&asking(json!({}))).await.error(400);
}

#[tokio::test]
async fn a_prompt_that_cannot_serve_is_not_kept() {
    let vendor = vendor().await;
    let of_file =
        "prompts:\n  - prompt_id: of-file\n    litellm_params: {prompt_integration: langfuse}\n";
    let stage = stage(of_file, operators(&vendor)).await;
    let client = &stage.client;
    for (id, params, hint) in [
        (
            "a",
            json!({"prompt_integration": "dotprompt"}),
            "'dotprompt-prompts'",
        ),
        (
            "a",
            json!({"prompt_integration": "hide-secrets"}),
            "has no prompt manager",
        ),
        (
            "a",
            json!({"prompt_integration": "langfuse", "prompt_variables": 3}),
            "prompt_variables",
        ),
        (
            "a",
            json!({"prompt_integration": "langfuse", "cache_ttl_seconds": "soon"}),
            "cache_ttl_seconds",
        ),
        (
            "of-file",
            json!({"prompt_integration": "langfuse"}),
            "the file's counts",
        ),
    ] {
        let body = json!({"prompt_id": id, "litellm_params": params});
        let refused = client.post("/prompts", &body).await.error(400);
        let message = refused["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("nothing was changed: "), "{refused}");
        assert!(message.contains(hint), "{hint}: {refused}");
    }
    let listed = client.get("/prompts/list").await.ok();
    assert_eq!(listed["prompts"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["prompts"][0]["prompt_info"]["prompt_type"], "config");
    let told = client.get("/prompts/of-file/info").await.ok();
    assert_eq!(told["prompt_spec"]["prompt_id"], "of-file");
    let refused = client.request(Method::DELETE, "/prompts/of-file").await;
    assert_eq!(refused.status, 404);
    // Without the switch nothing is stored.
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let closed = Stage::of(upstream, Gateway::builder(config)).await;
    let refused = closed.client.post("/prompts", &prompt("one")).await;
    assert_eq!(refused.status, 500, "{}", refused.text());
}

#[tokio::test]
async fn a_row_leads_a_prompt_manager_nowhere_that_the_operator_has_not_opened() {
    let theirs = vendor().await;
    let mut led = prompt("one");
    led["litellm_params"]["langfuse_host"] = theirs.origin().into();
    led["litellm_params"]["langfuse_public_key"] = FakeLangfuse::PUBLIC_KEY.into();
    led["litellm_params"]["langfuse_secret_key"] = FakeLangfuse::SECRET_KEY.into();
    let closed = stage("", |builder| builder).await;
    let made = closed.client.post("/prompts", &led).await;
    made.ok();
    assert!(!made.text().contains(FakeLangfuse::SECRET_KEY));
    closed.client.chat(&asking(json!({}))).await.error(500);
    assert!(theirs.requests().is_empty(), "the plugin was led inside");
    let rows = closed.gateway.rows("LiteLLM_PromptTable", "id").await;
    assert!(!rows[0].to_string().contains(FakeLangfuse::SECRET_KEY));

    let grants = format!(
        "plugins:\n  langfuse-prompts: {{grants: {{egress: ['{}'], private_network: [127.0.0.1]}}}}\n",
        theirs.origin()
    );
    let open = stage(&grants, |builder| builder).await;
    open.client.post("/prompts", &led).await.ok();
    open.client.chat(&asking(json!({}))).await.ok();
    assert_eq!(said(&open), "First, Ann.");
    assert!(!open.gateway.printed(FakeLangfuse::SECRET_KEY));
}
