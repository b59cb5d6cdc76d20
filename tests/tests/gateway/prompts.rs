//! Prompts that are kept elsewhere: Langfuse's, those of a Python file, and what becomes of the request.

use serde_json::{Value, json};
use witgate_testkit::{FakeLangfuse, FakeUpstream, Gateway, GatewayBuilder, Reply};

use crate::support::{Client, Stage, base_config, chat};

/// A gateway whose model `support` takes its prompt from Langfuse, and whose requests may name prompts.
async fn stage(vendor: &FakeLangfuse, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let base = upstream.api_base();
    let own = format!(
        "  - model_name: support\n    litellm_params: {{model: langfuse/gpt-4o, prompt_id: support/answer, prompt_label: production, prompt_variables: {{tone: dry}}, api_base: '{base}', api_key: sk-up}}\ngeneral_settings:\n"
    );
    let config = base_config(&base).replace("general_settings:\n", &own)
        + "litellm_settings:\n  callbacks: [langfuse-prompts]\n"
        + more;
    Stage::of(upstream, keys(Gateway::builder(config), vendor)).await
}

fn keys(builder: GatewayBuilder, vendor: &FakeLangfuse) -> GatewayBuilder {
    builder
        .env("LANGFUSE_HOST", vendor.origin())
        .env("LANGFUSE_PUBLIC_KEY", FakeLangfuse::PUBLIC_KEY)
        .env("LANGFUSE_SECRET_KEY", FakeLangfuse::SECRET_KEY)
}

fn prompts(vendor: &FakeLangfuse) {
    vendor.prompt(json!({"name": "support/answer", "version": 3, "type": "chat", "labels": ["production"], "tags": [],
        "config": {"temperature": 0.2},
        "prompt": [{"type": "chatmessage", "role": "system", "content": "You are {{tone}}."}]}));
    vendor.prompt(json!({"name": "greet", "version": 1, "type": "text", "labels": ["production", "latest"], "tags": [],
        "config": {"model": "gpt-4o"}, "prompt": "Greet {{name}}."}));
}

fn sent(stage: &Stage) -> Vec<Value> {
    let all = stage.upstream.requests().all();
    all.iter().map(|request| request.json()).collect()
}

fn fetches(vendor: &FakeLangfuse) -> Vec<String> {
    let all = vendor.requests().all();
    all.iter().map(|request| request.target.clone()).collect()
}

#[tokio::test]
async fn a_deployments_prompt_comes_from_langfuse_once_a_minute() {
    let vendor = FakeLangfuse::start().await;
    prompts(&vendor);
    let stage = stage(&vendor, "").await;
    for _ in 0..2 {
        stage.client.chat(&chat("support")).await.ok();
    }
    let sent = sent(&stage);
    assert_eq!(sent.len(), 2);
    for body in &sent {
        assert_eq!(body["model"], "gpt-4o", "{body}");
        assert_eq!(body["temperature"], 0.2, "{body}");
        assert_eq!(
            body["messages"][0],
            json!({"role": "system", "content": "You are dry."})
        );
        assert_eq!(body["messages"][1]["content"], "Hello!");
        assert!(
            body.get("prompt_id").is_none() && body.get("prompt_label").is_none(),
            "{body}"
        );
    }
    assert_eq!(
        fetches(&vendor),
        ["/api/public/v2/prompts/support%2Fanswer?label=production"]
    );
    assert!(!stage.gateway.printed(FakeLangfuse::SECRET_KEY));
}

#[tokio::test]
async fn a_request_names_a_prompt_and_its_model() {
    let vendor = FakeLangfuse::start().await;
    prompts(&vendor);
    let stage = stage(&vendor, "").await;
    let body = json!({"model": "another", "prompt_id": "greet", "prompt_variables": {"name": "Ann"}, "prompt_version": 1});
    let answer = stage.client.chat(&body).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-model-group"), Some("gpt-4o"));
    let sent = sent(&stage);
    assert_eq!(
        sent[0]["messages"],
        json!([{"role": "system", "content": "Greet Ann."}])
    );
    assert_eq!(fetches(&vendor), ["/api/public/v2/prompts/greet?version=1"]);
    let lost = json!({"model": "gpt-4o", "prompt_id": "lost", "messages": []});
    let error = stage.client.chat(&lost).await.error(400);
    assert_eq!(error["param"], "prompt_id", "{error}");
    assert_eq!(self::sent(&stage).len(), 1);
}

#[tokio::test]
async fn a_langfuse_in_trouble_leaves_the_prompt_that_was_there() {
    let vendor = FakeLangfuse::start().await;
    prompts(&vendor);
    let always = "plugins:\n  langfuse-prompts: {settings: {cache_ttl_seconds: 0}}\n";
    let stage = stage(&vendor, always).await;
    stage.client.chat(&chat("support")).await.ok();
    for trouble in [
        Reply::error(503, "x", None, "down"),
        Reply::error(429, "x", None, "slow down"),
        Reply::nothing().then_reset(),
    ] {
        vendor.next(trouble);
        stage.client.chat(&chat("support")).await.ok();
    }
    assert!(
        sent(&stage)
            .iter()
            .all(|body| body["messages"][0]["content"] == "You are dry.")
    );
    assert_eq!(fetches(&vendor).len(), 4);
    // One that nobody has seen yet.
    vendor.next(Reply::error(503, "x", None, "down"));
    let body = json!({"model": "gpt-4o", "prompt_id": "greet", "messages": []});
    let error = stage.client.chat(&body).await.error(500);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("'greet'") && !message.contains("down"),
        "{error}"
    );
    assert_eq!(sent(&stage).len(), 4);
}

#[tokio::test]
async fn a_guardrail_judges_the_prompt_and_the_log_tells_of_it() {
    let vendor = FakeLangfuse::start().await;
    vendor.prompt(json!({"name": "leak", "version": 1, "type": "text", "labels": ["production"], "tags": [], "config": {},
        "prompt": "Use AKIAIOSFODNN7EXAMPLE."}));
    let guard = "guardrails:\n  - guardrail_name: hide\n    litellm_params: {guardrail: hide-secrets, mode: pre_call, default_on: true}\n";
    let stage = stage(&vendor, guard).await;
    let body = json!({"model": "gpt-4o", "prompt_id": "leak", "messages": []});
    stage.client.chat(&body).await.ok();
    let sent = sent(&stage);
    assert!(
        !sent[0].to_string().contains("AKIAIOSFODNN7EXAMPLE"),
        "{}",
        sent[0]
    );
}

#[tokio::test]
async fn prompts_of_the_configuration_bring_their_own_settings() {
    let vendor = FakeLangfuse::start().await;
    prompts(&vendor);
    let upstream = FakeUpstream::start().await;
    let entry = format!(
        "prompts:\n  - prompt_id: hello\n    litellm_params:\n      prompt_id: greet\n      prompt_integration: langfuse\n      langfuse_public_key: {}\n      langfuse_secret_key: {}\n      langfuse_host: {}\n      ignore_prompt_manager_model: true\n",
        FakeLangfuse::PUBLIC_KEY,
        FakeLangfuse::SECRET_KEY,
        vendor.origin()
    );
    let config = base_config(&upstream.api_base()) + &entry;
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let body = json!({"model": "another", "prompt_id": "hello", "messages": []});
    let answer = stage.client.chat(&body).await;
    answer.ok();
    assert_eq!(
        sent(&stage)[0]["model"],
        "another",
        "the prompt's own model is ignored"
    );
    assert_eq!(fetches(&vendor), ["/api/public/v2/prompts/greet"]);
}

#[tokio::test]
async fn a_prompt_without_a_manager_keeps_the_gateway_from_starting() {
    let upstream = FakeUpstream::start().await;
    for (more, hint) in [
        (
            "prompts:\n  - prompt_id: a\n    litellm_params: {prompt_integration: nobody}\n",
            "nobody-prompts",
        ),
        (
            "prompts:\n  - litellm_params: {prompt_integration: langfuse}\n",
            "prompts[0]",
        ),
    ] {
        let config = base_config(&upstream.api_base()) + more;
        let refusal = Gateway::builder(config).expect_refusal().await;
        assert!(refusal.output.contains(hint), "{}", refusal.output);
    }
}

#[tokio::test]
async fn a_custom_prompt_management_of_litellm_runs_unmodified() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  callbacks: house_prompts.prompt_management\n";
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let body = json!({"model": "gpt-4o", "messages": [], "prompt_id": "greeting",
        "prompt_variables": {"name": "Ann", "age": 30, "city": "Basel"}});
    stage.client.chat(&body).await.ok();
    let sent = sent(&stage);
    assert_eq!(sent[0]["temperature"], 0.2);
    assert_eq!(
        sent[0]["messages"],
        json!([{"role": "system", "content": "Greet Ann, who is 30 years old and lives in Basel."}])
    );
}

#[tokio::test]
async fn a_key_names_its_own_prompts_only() {
    let vendor = FakeLangfuse::start().await;
    prompts(&vendor);
    let stage = stage(&vendor, "").await;
    let key = async |maker: &Client, body: Value| {
        let made = maker.post("/key/generate", &body).await.ok();
        Client::of(&stage.gateway).key(made["key"].as_str().unwrap())
    };
    let with = |id: &str| json!({"model": "gpt-4o", "prompt_id": id, "messages": [], "prompt_variables": {"name": "Ann"}});
    let body = json!({"user_id": "ann", "prompts": ["greet"]});
    let ann = key(&stage.client, body).await;
    ann.chat(&with("greet")).await.ok();
    let told = ann.chat(&with("support/answer")).await.error(403);
    assert_eq!(told["param"], "prompt_id");
    // A deployment's prompt is the operator's choice.
    ann.chat(&chat("support")).await.ok();
    // Her own keys have no more.
    ann.post("/key/generate", &json!({"prompts": ["other"]}))
        .await
        .error(403);
    let second = key(&ann, json!({})).await;
    second.chat(&with("support/answer")).await.error(403);
    second.chat(&with("greet")).await.ok();
    let anybodys = key(&stage.client, json!({})).await;
    anybodys.chat(&with("support/answer")).await.ok();
}
