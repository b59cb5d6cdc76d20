//! What upstreams are told of the client: its headers where the operator wants that, and who calls. And settings of the way
//! there that need no more than one call.

use serde_json::json;
use witgate_testkit::{FakeAnthropic, FakeUpstream, Gate, Gateway, Reply};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat, chat_stream};

async fn stage(general: &str, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let config = config.replace("router_settings", &format!("{general}router_settings")) + more;
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn client_headers_go_upstream_when_the_operator_says_so() {
    let sent = async |general: &str, more: &str, model: &str| {
        let stage = stage(general, more).await;
        let client = stage.client.clone();
        let client = client
            .header("x-tenant", "acme")
            .header("x-stainless-lang", "rust")
            .header("anthropic-beta", "b-1")
            .header("openai-organization", "org-client")
            .header("x-api-key", MASTER_KEY);
        client.chat(&chat(model)).await.ok();
        let sent = stage.upstream.requests().last();
        let text = format!("{:?}", sent.headers);
        assert!(!text.contains(MASTER_KEY), "{text}");
        assert_eq!(sent.header("x-stainless-lang"), None);
        let own = format!("Bearer {UPSTREAM_KEY}");
        assert_eq!(sent.header("authorization"), Some(own.as_str()));
        let header = |name| sent.header(name).map(str::to_owned);
        ["x-tenant", "anthropic-beta", "openai-organization"].map(header)
    };
    let is = |text: &str| Some(text.to_owned());
    let nothing = [None, None, None];
    assert_eq!(sent("", "", "gpt-4o").await, nothing);
    let all = "  forward_client_headers_to_llm_api: true\n";
    assert_eq!(sent(all, "", "gpt-4o").await, [is("acme"), is("b-1"), None]);
    let group = "litellm_settings:\n  model_group_settings: {forward_client_headers_to_llm_api: [gpt-4o]}\n";
    assert_eq!(
        sent("", group, "gpt-4o").await,
        [is("acme"), is("b-1"), None]
    );
    assert_eq!(sent("", group, "gpt-5").await, nothing);
    let organization = "  forward_openai_org_id: true\n";
    assert_eq!(
        sent(organization, "", "gpt-4o").await,
        [None, None, is("org-client")]
    );
}

#[tokio::test]
async fn upstreams_are_told_who_calls_and_the_caller_cannot_say_it() {
    let general = "  forward_client_headers_to_llm_api: true\n";
    let more = "litellm_settings: {add_user_information_to_llm_headers: true}\n";
    let stage = stage(general, more).await;
    let body = json!({"user_id": "ann", "team_id": "blue", "key_alias": "ci"});
    let key = stage.client.post("/key/generate", &body).await.ok();
    let text = key["key"].as_str().expect("a key").to_owned();
    let ann = Client::of(&stage.gateway).key(&text);
    let ann = ann.header("x-litellm-user_api_key_org_id", "of-others");
    ann.chat(&chat("gpt-4o")).await.ok();
    let sent = stage.upstream.requests().last();
    let told = |name: &str| sent.header(&format!("x-litellm-user_api_key_{name}"));
    assert_eq!(told("user_id"), Some("ann"));
    assert_eq!(told("team_id"), Some("blue"));
    assert_eq!(told("alias"), Some("ci"));
    assert_eq!(told("hash"), key["token"].as_str());
    assert_eq!(told("org_id"), None);
    assert!(!format!("{:?}", sent.headers).contains(&text));
}

#[tokio::test]
async fn a_provider_with_a_dialect_gets_the_same_headers() {
    let anthropic = FakeAnthropic::start().await;
    let config = format!(
        "model_list:\n  - model_name: claude\n    litellm_params: {{model: anthropic/claude-haiku-4-5-20251001, api_base: '{}', api_key: {}}}\n\
         general_settings: {{master_key: {MASTER_KEY}, forward_client_headers_to_llm_api: true}}\n",
        anthropic.origin(),
        FakeAnthropic::KEY,
    );
    let gateway = Gateway::start(config).await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    let client = client
        .header("x-tenant", "acme")
        .header("x-api-key", "mine");
    client.chat(&chat("claude")).await.ok();
    let sent = anthropic.requests().last();
    assert_eq!(sent.header("x-tenant"), Some("acme"));
    assert_eq!(sent.header("x-api-key"), Some(FakeAnthropic::KEY));
}

#[tokio::test]
async fn streams_tell_their_usage_when_the_operator_wants_it_and_the_client_does_not_say() {
    let stage = stage("  always_include_stream_usage: true\n", "").await;
    let told = async |options: Option<serde_json::Value>| {
        let mut body = chat_stream("gpt-4o");
        if let Some(options) = options {
            body["stream_options"] = options;
        }
        let events = stage.client.chat(&body).await.events();
        events
            .iter()
            .any(|event| event.contains("\"total_tokens\""))
    };
    assert!(told(None).await);
    assert!(told(Some(json!({}))).await);
    assert!(told(Some(json!({"include_usage": true}))).await);
    assert!(!told(Some(json!({"include_usage": false}))).await);
}

#[tokio::test]
async fn models_of_providers_whose_key_is_there_are_listed_to_whoever_may_have_all() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let setting = "  infer_model_from_keys: true\nrouter_settings";
    let config = config.replace("router_settings", setting);
    let gateway = Gateway::builder(config).env("ANTHROPIC_API_KEY", "sk-ant");
    let stage = Stage::of(upstream, gateway).await;
    let listed = async |client: &Client| -> Vec<String> {
        let list = client.get("/v1/models").await.ok();
        let models = list["data"].as_array().expect("models").clone();
        let id = |model: &serde_json::Value| model["id"].as_str().unwrap_or_default().to_owned();
        models.iter().map(id).collect()
    };
    let all = listed(&stage.client).await;
    assert!(all.iter().any(|id| id.starts_with("claude-")), "{all:?}");
    assert_eq!(all.iter().filter(|id| *id == "gpt-4o").count(), 1);
    assert!(!all.iter().any(|id| id.starts_with("gemini")), "{all:?}");
    let key = json!({"models": ["gpt-4o"]});
    let key = stage.client.post("/key/generate", &key).await.ok();
    let bound = Client::of(&stage.gateway).key(key["key"].as_str().expect("a key"));
    assert_eq!(listed(&bound).await, ["gpt-4o"]);
}

#[tokio::test]
async fn a_weak_master_key_is_told_and_can_be_forbidden() {
    let config = |key: &str, more: &str| {
        let general = [key, more].join(", ");
        format!(
            "model_list: []\ngeneral_settings: {{{}}}\n",
            general.trim_matches([',', ' '])
        )
    };
    let weak = "master_key: sk-1234";
    let gateway = Gateway::start(config(weak, "")).await;
    gateway.wait_for_log("WEAK MASTER KEY").await;
    let permitted = "dangerously_permit_weak_or_unset_master_key: true";
    let gateway = Gateway::start(config(weak, permitted)).await;
    assert!(!gateway.printed("WEAK MASTER KEY"));
    let forbidden = "dangerously_permit_weak_or_unset_master_key: false";
    for key in [weak, ""] {
        let refusal = Gateway::builder(config(key, forbidden))
            .expect_refusal()
            .await;
        assert!(
            refusal.output.contains("dangerously_permit"),
            "{}",
            refusal.output
        );
    }
    let open = Gateway::builder(config("", permitted))
        .host("0.0.0.0")
        .start()
        .await;
    open.wait_for_log("NO MASTER KEY").await;
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let config = config.replacen("api_key:", "keepalive_seconds: 0.05, api_key:", 1);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let gate = Gate::new();
    let chunk = |text: &str| {
        json!({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
        .to_string()
    };
    let frames = [chunk("one"), chunk("two"), "[DONE]".to_owned()];
    stage.upstream.next(Reply::gated_stream(&frames, &gate));
    gate.release();
    let mut events = stage.client.open(&chat_stream("gpt-4o")).await;
    assert_eq!(
        events.next_json().await["choices"][0]["delta"]["content"],
        "one"
    );
    let comment = events
        .next()
        .await
        .expect("a sign of life")
        .expect("unbroken");
    assert_eq!(comment, ": keepalive");
    gate.open();
    let rest = events.rest().await;
    assert!(rest.iter().any(|event| event.contains("two")), "{rest:?}");
}

#[tokio::test]
async fn models_say_when_they_were_created_as_the_operator_says() {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(base_config(&upstream.api_base()));
    let gateway = gateway.env("DEFAULT_MODEL_CREATED_AT_TIME", "1700000000");
    let stage = Stage::of(upstream, gateway).await;
    let list = stage.client.get("/v1/models").await.ok();
    assert_eq!(list["data"][0]["created"], 1_700_000_000);
}

#[tokio::test]
async fn deployments_without_a_key_or_base_have_the_general_ones() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: general\n    litellm_params: {{model: openai/a}}\n  - model_name: own\n    litellm_params: {{model: openai/b, api_key: k-own}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n\
         litellm_settings: {{api_base: '{}', openai_key: k-of-openai}}\n",
        upstream.api_base()
    );
    let gateway = Gateway::builder(config).env("OPENAI_API_KEY", "k-of-environment");
    let stage = Stage::of(upstream, gateway).await;
    for (model, key) in [("general", "k-of-openai"), ("own", "k-own")] {
        stage.client.chat(&chat(model)).await.ok();
        let bearer = format!("Bearer {key}");
        let sent = stage.upstream.requests().last();
        assert_eq!(sent.header("authorization"), Some(bearer.as_str()));
    }
    let info = stage.client.get("/model/info").await.text();
    assert!(!info.contains("k-of-openai"), "{info}");
}
