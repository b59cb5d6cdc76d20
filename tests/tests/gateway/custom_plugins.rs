//! Plugins of a user's own: the authenticator and the logger of the examples, as components.

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat};

const RED: &str = "team-red-0123456789";
const BLUE: &str = "team-blue-0123456789";

async fn stage(mode: &str, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let general = format!(
        "general_settings:\n  custom_auth: custom-auth\n  custom_auth_settings: {{mode: {mode}}}\n"
    );
    let settings = format!(
        "{{teams: {{red: {{token: {RED}, models: [gpt-4o]}}, blue: {{token: {BLUE}}}}}, blocked_paths: [/embeddings]}}"
    );
    let config = base_config(&upstream.api_base()).replace("general_settings:\n", &general)
        + &format!("plugins:\n  custom-auth: {{settings: {settings}}}\n")
        + more;
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn an_authenticator_lets_in_whom_it_knows() {
    let stage = stage("auto", "").await;
    Client::of(&stage.gateway)
        .key(RED)
        .chat(&chat("gpt-4o"))
        .await
        .ok();
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["team_id"], "red", "{row}");
    assert_eq!(row["user"], "team-red", "{row}");
    assert!(!row.to_string().contains(RED), "{row}");
}

#[tokio::test]
async fn an_authenticators_limits_on_models_hold() {
    let stage = stage("auto", "").await;
    let red = Client::of(&stage.gateway).key(RED);
    let error = red.chat(&chat("another-model")).await.error(401);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("another-model"),
        "{error}"
    );
    assert!(stage.upstream.requests().is_empty());
    Client::of(&stage.gateway)
        .key(BLUE)
        .chat(&chat("another-model"))
        .await
        .ok();
}

#[tokio::test]
async fn an_authenticators_refusal_is_told_in_its_own_words() {
    let stage = stage("on", "").await;
    let unknown = Client::of(&stage.gateway)
        .key("team-green-0123456789")
        .chat(&chat("gpt-4o"))
        .await;
    let error = unknown.error(401);
    assert_eq!(
        error["message"],
        "Authentication Error, this team token is not known"
    );
    let body = json!({"model": "text-embedding-3-small", "input": "x"});
    let blocked = Client::of(&stage.gateway)
        .key(BLUE)
        .post("/v1/embeddings", &body)
        .await;
    assert!(
        blocked.error(403)["message"]
            .as_str()
            .unwrap_or_default()
            .contains("teams may not call"),
        "{}",
        blocked.text()
    );
    for token in [RED, BLUE, "team-green-0123456789"] {
        assert!(!stage.gateway.printed(token), "{token} is in the log");
    }
}

#[tokio::test]
async fn in_auto_mode_the_gateway_decides_about_keys_the_plugin_declines() {
    let stage = stage("auto", "").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    Client::of(&stage.gateway)
        .key("sk-wrong")
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
    Client::of(&stage.gateway)
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
}

#[tokio::test]
async fn in_mode_on_the_plugin_alone_decides() {
    let stage = stage("on", "").await;
    Client::of(&stage.gateway)
        .key(RED)
        .chat(&chat("gpt-4o"))
        .await
        .ok();
    Client::of(&stage.gateway)
        .key(MASTER_KEY)
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
}

#[tokio::test]
async fn in_mode_off_the_plugin_is_not_asked() {
    let stage = stage("off", "").await;
    let red = Client::of(&stage.gateway).key(RED);
    let error = red.chat(&chat("gpt-4o")).await.error(401);
    assert!(
        error["message"]
            .to_string()
            .contains("Virtual Key expected"),
        "{error}"
    );
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn a_mode_that_there_is_not_is_refused() {
    let config = "general_settings:\n  custom_auth: custom-auth\n  custom_auth_settings: {mode: sometimes}\nplugins:\n  custom-auth: {settings: {teams: {}}}\n";
    let refusal = Gateway::builder(config).expect_refusal().await;
    let part = "custom_auth_settings.mode: \"sometimes\" is none of on, off, auto";
    assert!(refusal.output.contains(part), "{}", refusal.output);
}

#[tokio::test]
async fn an_authenticator_with_wrong_settings_keeps_the_gateway_from_starting() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_auth: custom-auth\n",
    ) + "plugins:\n  custom-auth: {settings: {teams: {red: {token: short}}}}\n";
    let refusal = Gateway::builder(config).expect_refusal().await;
    assert!(
        refusal.output.contains("teams.red.token"),
        "{}",
        refusal.output
    );
}

#[tokio::test]
async fn a_custom_logger_writes_its_lines() {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder("");
    let file = builder.home().join("calls.log");
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  callbacks: [custom-logger]\n"
        + &format!(
            "plugins:\n  custom-logger: {{settings: {{file: lines}}, grants: {{files: {{lines: '{}'}}}}}}\n",
            file.display()
        );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let text = std::fs::read_to_string(&file).expect("the logger wrote its file");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("18 tokens"), "{text}");
}

#[tokio::test]
async fn a_component_beside_the_config_is_found_by_its_name() {
    let upstream = FakeUpstream::start().await;
    let component = std::fs::read(witgate_testkit::fixture_dir().join("hostile-ok.wasm"))
        .expect("the component is built");
    let config = base_config(&upstream.api_base())
        + "guardrails:\n  - guardrail_name: mine\n    litellm_params: {guardrail: my_checks.polite, mode: pre_call, default_on: true}\n";
    let gateway = Gateway::builder(config).file("my_checks/polite.wasm", component);
    let stage = Stage::of(upstream, gateway).await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-applied-guardrails"), Some("mine"));
}

#[tokio::test]
async fn a_pinned_component_that_was_changed_is_refused() {
    let upstream = FakeUpstream::start().await;
    let mut component = std::fs::read(witgate_testkit::fixture_dir().join("hostile-ok.wasm"))
        .expect("the component is built");
    let digest = {
        use sha2::{Digest, Sha256};
        hex::encode(Sha256::digest(&component))
    };
    let config = |digest: &str| {
        base_config(&upstream.api_base())
            + "guardrails:\n  - guardrail_name: mine\n    litellm_params: {guardrail: mine, mode: pre_call, default_on: true}\n"
            + &format!("plugins:\n  mine: {{source: mine.wasm, digest: 'sha256:{digest}'}}\n")
    };
    let gateway = Gateway::builder(config(&digest))
        .file("mine.wasm", &component)
        .start()
        .await;
    Client::of(&gateway)
        .key(MASTER_KEY)
        .chat(&chat("gpt-4o"))
        .await
        .ok();

    // One byte in a custom section at the end: still a valid component, not the pinned one.
    component.extend_from_slice(&[0, 3, 1, b'x', 1]);
    let refusal = Gateway::builder(config(&digest))
        .file("mine.wasm", &component)
        .expect_refusal()
        .await;
    assert!(
        refusal.output.contains("digest") || refusal.output.contains("sha256"),
        "{}",
        refusal.output
    );
}
