//! Plugins turned off and on: what calls meet then, and what has to be confirmed.

use reqwest::Method;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use super::{ANSWER, answer, ask, by, change, stage, status};
use crate::support::{Client, MASTER_KEY, Stage, base_config, chat};

#[tokio::test]
async fn disabling_a_guardrail_that_fails_closed_has_to_be_confirmed() {
    let stage = stage("", "").await;
    let refused = ask(&stage, "disable").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("force=true"), "{}", refused.text());
    assert_eq!(answer(&stage).await, by("one"));

    let off = change(&stage, "disable?force=true").await;
    assert_eq!(
        (&off["enabled"], &off["state"]),
        (&json!(false), &json!("disabled"))
    );
    assert_eq!(answer(&stage).await, ANSWER);
    let reload = stage.client.request(Method::POST, "/config/reload").await;
    assert_eq!(reload.status, 200, "{}", reload.text());
    assert_eq!(
        answer(&stage).await,
        ANSWER,
        "a config reload does not turn it on"
    );
    stage.gateway.wait_for_log("stays disabled").await;

    let on = change(&stage, "enable").await;
    assert_eq!(
        (&on["enabled"], &on["state"]),
        (&json!(true), &json!("ready"))
    );
    assert_eq!(answer(&stage).await, by("one"));
}

#[tokio::test]
async fn a_plugin_that_was_disabled_stays_so_over_a_restart_and_one_that_was_enabled_again_does_not()
 {
    let mut stage = stage("", "").await;
    assert_eq!(answer(&stage).await, by("one"));
    change(&stage, "disable?force=true").await;
    stage = restarted(stage).await;
    stage.gateway.wait_for_log("stays disabled").await;
    assert_eq!(status(&stage).await["state"], "disabled");
    assert_eq!(answer(&stage).await, ANSWER);

    let on = change(&stage, "enable").await;
    assert_eq!(on["state"], "ready", "{on}");
    stage = restarted(stage).await;
    assert_eq!(answer(&stage).await, by("one"));
}

#[tokio::test]
async fn without_knowing_what_was_disabled_the_gateway_does_not_start() {
    let config = base_config("http://127.0.0.1:9");
    let gateway = Gateway::builder(config).file("data/disabled-plugins.json", "[{");
    let refusal = gateway.expect_refusal().await;
    for told in ["data/disabled-plugins.json", "remove it to turn all on"] {
        assert!(refusal.output.contains(told), "{}", refusal.output);
    }
}

/// The same gateway in a new process.
async fn restarted(mut stage: Stage) -> Stage {
    stage.gateway.stop().await;
    let gateway = stage.gateway.start_again().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    Stage {
        gateway,
        client,
        ..stage
    }
}

#[tokio::test]
async fn disabling_one_that_fails_open_has_not() {
    let stage = stage(", fail: open", "").await;
    change(&stage, "disable").await;
    assert_eq!(answer(&stage).await, ANSWER);
    assert_eq!(status(&stage).await["enabled"], false);
}

/// A gateway whose authenticator lets teams in; `general` is the rest of `general_settings`.
async fn teams(general: &str) -> (Stage, Client) {
    const RED: &str = "team-red-0123456789";
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        &format!("general_settings:\n  master_key: {MASTER_KEY}\n"),
        &format!("general_settings:\n  custom_auth: custom-auth\n{general}"),
    ) + &format!(
        "plugins:\n  custom-auth: {{settings: {{teams: {{red: {{token: {RED}}}}}}}}}\n"
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let red = Client::of(&stage.gateway).key(RED);
    (stage, red)
}

#[tokio::test]
async fn without_its_authenticator_a_gateway_lets_in_only_the_master_key() {
    let (stage, red) = teams(&format!(
        "  custom_auth_settings: {{mode: auto}}\n  master_key: {MASTER_KEY}\n"
    ))
    .await;
    red.chat(&chat("gpt-4o")).await.ok();
    let of_red = red.get("/plugins").await;
    assert_eq!(
        of_red.status,
        401,
        "not an administrator: {}",
        of_red.text()
    );
    let path = "/plugins/custom_auth/disable";
    assert_eq!(stage.client.request(Method::POST, path).await.status, 409);
    let forced = format!("{path}?force=true");
    stage.client.request(Method::POST, &forced).await.ok();
    red.chat(&chat("gpt-4o")).await.error(401);
    Client::of(&stage.gateway)
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let enable = "/plugins/custom_auth/enable";
    stage.client.request(Method::POST, enable).await.ok();
    red.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn a_disabled_sink_gets_nothing_new_and_a_disabled_provider_no_calls() {
    let toy = FakeUpstream::start().await;
    toy.always(Reply::status(
        200,
        &[("content-type", "application/json")],
        r#"{"text": "hi", "in": 1, "out": 1}"#,
    ));
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.jsonl");
    let more = format!(
        "  - model_name: toy\n    litellm_params: {{model: my-llm/x, api_base: '{}', api_key: k}}\ngeneral_settings:\n",
        toy.origin()
    );
    let config = base_config(&upstream.api_base()).replace("general_settings:\n", &more)
        + &format!(
            "litellm_settings:\n  success_callback: [jsonl]\n\
             plugins:\n  jsonl: {{grants: {{files: {{events: '{}'}}}}}}\n  my-llm: {{source: toy-provider.wasm}}\n",
            file.display()
        );
    let mut stage = Stage::of(upstream, Gateway::builder(config)).await;
    let switch = async |what: &str| {
        stage
            .client
            .request(Method::POST, &format!("/plugins/{what}"))
            .await
    };
    stage.client.chat(&chat("toy")).await.ok();
    let refused = switch("my-llm/disable").await;
    assert!(refused.text().contains("503"), "{}", refused.text());
    switch("my-llm/disable?force=true").await.ok();
    let error = stage.client.chat(&chat("toy")).await.error(503);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|m| m.contains("disabled by an administrator")),
        "{error}"
    );
    switch("my-llm/enable").await.ok();
    stage.client.chat(&chat("toy")).await.ok();

    let off = switch("jsonl/disable").await.ok();
    assert_eq!(off["plugin"]["enabled"], Value::Bool(false), "{off}");
    stage.client.chat(&chat("gpt-4o")).await.ok();
    switch("jsonl/enable").await.ok();
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert!(stage.gateway.stop().await.success());
    let written = std::fs::read_to_string(&file);
    let written = written.expect("the sink wrote");
    assert_eq!(
        written.lines().count(),
        3,
        "two of the toy, one of the other: {written}"
    );
}
