//! Guardrails over the API: listed, asked about a text, and those of the database (`store_model_in_db`), which are in force at
//! once, also at other gateways, and open no way that the operator has not opened.

use reqwest::Method;
use serde_json::{Value, json};
use witgate_testkit::judges::{self, KEY};
use witgate_testkit::{FakeUpstream, Gateway, GatewayBuilder, PostgresServer, Recorder, Reply};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, eventually};

/// A key in AWS's documented example form: a pattern every detector knows, and no secret.
const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";

const OF_FILE: &str = "guardrails:\n  - guardrail_name: of-file\n    litellm_params: {guardrail: hide-secrets, mode: pre_call, api_key: sk-of-the-file}\n    guardrail_info: {params: [{name: level}]}\n";

async fn stage(more: &str, shape: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  store_model_in_db: true\n",
    );
    let builder = Gateway::builder(config + more).env("LITELLM_SALT_KEY", "salt-one");
    Stage::of(upstream, shape(builder)).await
}

fn leaking() -> Value {
    let mut body = chat("gpt-4o");
    body["messages"][0]["content"] = json!(format!("key {SECRET}"));
    body
}

fn guardrail(name: &str, params: Value) -> Value {
    json!({"guardrail": {"guardrail_name": name, "litellm_params": params}})
}

fn told(stage: &Stage) -> Value {
    stage.upstream.requests().last().json()["messages"][0]["content"].clone()
}

#[tokio::test]
async fn guardrails_are_listed_to_everybody_without_their_secrets_and_asked_about_a_text() {
    let stage = stage(OF_FILE, |builder| builder).await;
    let made = stage
        .client
        .post("/key/generate", &json!({"key_type": "llm_api"}))
        .await
        .ok();
    let caller = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    let made = stage.client.post("/key/generate", &json!({})).await.ok();
    let anyone = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    let listed = anyone.get("/guardrails/list").await.ok();
    assert_eq!(
        listed["guardrails"],
        json!([{
            "guardrail_name": "of-file", "guardrail_info": {"params": [{"name": "level"}]},
            "litellm_params": {"guardrail": "hide-secrets", "mode": "pre_call"},
        }])
    );
    let told = stage.client.get("/guardrails/of-file/info").await;
    assert_eq!(told.ok()["guardrail_definition_location"], "config");
    assert!(!told.text().contains("sk-of-the-file"), "{}", told.text());

    let apply = async |client: &Client, name: &str, text: &str| {
        let body = json!({"guardrail_name": name, "text": text});
        client.post("/guardrails/apply_guardrail", &body).await
    };
    let text = format!("key {SECRET}");
    let masked = apply(&caller, "of-file", &text).await.ok();
    assert_eq!(masked, json!({"response_text": "key [REDACTED]"}));
    let kept = apply(&caller, "of-file", "clean").await.ok();
    assert_eq!(kept["response_text"], "clean");
    apply(&caller, "nobody", "clean").await.error(404);
    caller
        .post("/apply_guardrail", &json!({"text": "x"}))
        .await
        .error(400);
    assert!(stage.upstream.requests().is_empty(), "no model is called");
    // Another guardrail of the file's name is not stored, and one of the file is not changed here.
    let again = guardrail("of-file", json!({"guardrail": "hide-secrets"}));
    stage.client.post("/guardrails", &again).await.error(400);
    let change = json!({"litellm_params": {"default_on": true}});
    let refused = stage.client.patch("/guardrails/of-file", &change).await;
    assert_eq!(refused.status, 404);
}

#[tokio::test]
async fn a_guardrail_of_the_database_judges_at_once_and_after_a_restart_until_it_is_deleted() {
    let stage = stage("", |builder| builder).await;
    let client = &stage.client;
    client.chat(&leaking()).await.ok();
    assert_eq!(told(&stage), format!("key {SECRET}"));
    let params = json!({"guardrail": "hide-secrets", "mode": "pre_call", "default_on": true, "api_key": "sk-stored-secret"});
    let made = client
        .post("/guardrails", &guardrail("stored", params))
        .await;
    let id = made.ok()["guardrail_id"].as_str().unwrap().to_owned();
    assert!(!made.text().contains("sk-stored-secret"), "{}", made.text());
    client.chat(&leaking()).await.ok();
    assert_eq!(told(&stage), "key [REDACTED]");
    let row = stage
        .gateway
        .rows("LiteLLM_GuardrailsTable", "guardrail_id")
        .await;
    assert!(!row[0].to_string().contains("sk-stored-secret"), "{row:?}");

    // What cannot serve is not kept: no such plugin, no such mode, a component by its path.
    for wrong in [
        json!({"guardrail": "nobody-has-this"}),
        json!({"guardrail": "hide-secrets", "mode": "sometimes"}),
        json!({"guardrail": "/tmp/other.wasm"}),
        json!({"guardrail": "langfuse"}),
    ] {
        let refused = client
            .post("/guardrails", &guardrail("wrong", wrong))
            .await
            .error(400);
        assert!(
            refused["message"]
                .as_str()
                .unwrap()
                .starts_with("nothing was changed: "),
            "{refused}"
        );
    }
    let path = format!("/guardrails/{id}");
    let off = json!({"litellm_params": {"default_on": null}});
    client.patch(&path, &off).await.ok();
    client.chat(&leaking()).await.ok();
    assert_eq!(told(&stage), format!("key {SECRET}"));
    let whole = guardrail(
        "stored",
        json!({"guardrail": "hide-secrets", "default_on": true}),
    );
    client.ask(Method::PUT, &path, whole.to_string()).await.ok();

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
    stage.client.chat(&leaking()).await.ok();
    assert_eq!(told(&stage), "key [REDACTED]");
    stage.client.request(Method::DELETE, &path).await.ok();
    stage.client.chat(&leaking()).await.ok();
    assert_eq!(told(&stage), format!("key {SECRET}"));
    assert!(!stage.gateway.printed("sk-stored-secret"));
}

#[tokio::test]
async fn another_gateway_has_a_stored_guardrail_at_its_next_look() {
    let postgres = PostgresServer::start().await;
    let look = format!(
        "  proxy_config_reload_interval_seconds: 0.1\n  database_url: {}\n",
        postgres.url()
    );
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        &format!("general_settings:\n  store_model_in_db: true\n{look}"),
    );
    let start = |config: String| {
        Gateway::builder(config)
            .env("LITELLM_SALT_KEY", "salt-one")
            .start()
    };
    let (one, two) = tokio::join!(start(config.clone()), start(config.clone()));
    let other = start(config.replace(
        "store_model_in_db: true\n",
        "store_model_in_db: true\n  supported_db_objects: [models]\n",
    ))
    .await;
    let clients = [&one, &two, &other].map(|gateway| Client::of(gateway).key(MASTER_KEY));
    let params = json!({"guardrail": "hide-secrets", "mode": "pre_call", "default_on": true});
    clients[0]
        .post("/guardrails", &guardrail("stored", params))
        .await
        .ok();
    let is_masked = async |client: &Client| {
        client.chat(&leaking()).await.ok();
        let last = upstream.requests().last().json();
        last["messages"][0]["content"] == "key [REDACTED]"
    };
    eventually("the other has it", async || {
        is_masked(&clients[1]).await.then_some(())
    })
    .await;
    // The last has looked since: a model that is written later is there.
    let model = json!({
        "model_name": "later", "litellm_params": {"model": "openai/x", "api_base": upstream.api_base(), "api_key": "k"},
        "model_info": {"id": "later"},
    });
    clients[0].post("/model/new", &model).await.ok();
    eventually("the model is there", async || {
        let answer = clients[2].get("/model/info?litellm_model_id=later").await;
        (answer.status == 200).then_some(())
    })
    .await;
    assert!(
        !is_masked(&clients[2]).await,
        "supported_db_objects has no guardrails"
    );
    // One row that cannot serve keeps no other from serving.
    let columns =
        r#""LiteLLM_GuardrailsTable" (guardrail_id, guardrail_name, litellm_params, updated_at)"#;
    let bad = r#"{"guardrail": "nobody-has-this"}"#;
    postgres
        .sql(
            "litellm",
            &format!("INSERT INTO {columns} VALUES ('bad', 'bad', '{bad}', now())"),
        )
        .await;
    one.wait_for_log("LiteLLM_GuardrailsTable[\"bad\"] is left out")
        .await;
    assert!(is_masked(&clients[0]).await);
    let listed = clients[0].get("/guardrails/list").await.ok();
    assert_eq!(
        listed["guardrails"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );
}

#[tokio::test]
async fn a_row_leads_a_plugin_nowhere_that_the_operator_has_not_opened() {
    let judge = Recorder::start(judges::generic()).await;
    let params = json!({
        "guardrail": "generic_guardrail_api", "mode": "pre_call", "default_on": true,
        "api_base": judge.origin(), "api_key": KEY,
    });
    let closed = stage("", |builder| builder).await;
    let made = closed
        .client
        .post("/guardrails", &guardrail("judge", params.clone()))
        .await;
    made.ok();
    let refused = closed.client.chat(&chat("gpt-4o")).await;
    assert!(refused.status >= 500, "{}", refused.text());
    assert!(judge.requests().is_empty(), "the plugin was led inside");

    let grants = "plugins:\n  generic_guardrail_api: {grants: {private_network: [127.0.0.1]}}\n  named: {grants: {private_network: [127.0.0.1]}}\n";
    let open = stage(grants, |builder| builder).await;
    open.client
        .post("/guardrails", &guardrail("judge", params))
        .await
        .ok();
    open.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(judge.requests().len(), 1);
    // Called like another plugin's entry, a row would have what that is granted.
    let named = guardrail("named", json!({"guardrail": "hide-secrets"}));
    let refused = open.client.post("/guardrails", &named).await.error(400);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("plugins.named"),
        "{refused}"
    );
}
