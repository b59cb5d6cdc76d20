//! Who may call: the master key, nobody else; or everybody, but then only from this machine.

use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat};

/// Header, value; the start of the message and the `type`.
const REFUSED: [(Option<(&str, &str)>, &str, &str); 5] = [
    (
        None,
        "Authentication Error, No api key passed in.",
        "auth_error",
    ),
    (
        Some(("authorization", "")),
        "Authentication Error, Malformed API Key passed in.",
        "auth_error",
    ),
    (
        Some(("authorization", MASTER_KEY)),
        "Authentication Error, Malformed API Key passed in.",
        "auth_error",
    ),
    (
        Some(("authorization", "Bearer not-a-key")),
        "Authentication Error, LiteLLM Virtual Key expected.",
        "auth_error",
    ),
    (
        Some(("authorization", "Bearer sk-wrong-key-0001")),
        "Authentication Error, Invalid proxy server token passed.",
        "token_not_found_in_db",
    ),
];

#[tokio::test]
async fn without_the_master_key_nothing_is_served() {
    let stage = Stage::plain().await;
    for (credential, message, kind) in REFUSED {
        let mut client = Client::of(&stage.gateway);
        if let Some((name, value)) = credential {
            client = client.header(name, value);
        }
        let error = client.chat(&chat("gpt-4o")).await.error(401);
        let said = error["message"].as_str().unwrap_or_default();
        assert!(said.starts_with(message), "{credential:?}: {said}");
        assert_eq!(error["type"], kind, "{credential:?}");
        assert_eq!(error["code"], "401");
        for path in ["/v1/models", "/model/info", "/health"] {
            assert_eq!(
                client.get(path).await.status,
                401,
                "{path} with {credential:?}"
            );
        }
    }
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn every_header_litellm_knows_carries_the_key() {
    let stage = Stage::plain().await;
    for (name, value) in [
        ("authorization", format!("Bearer {MASTER_KEY}")),
        ("authorization", format!("bearer {MASTER_KEY}")),
        ("x-litellm-api-key", MASTER_KEY.to_owned()),
        ("x-litellm-api-key", format!("Bearer {MASTER_KEY}")),
        ("api-key", MASTER_KEY.to_owned()),
        ("x-api-key", MASTER_KEY.to_owned()),
        ("x-goog-api-key", MASTER_KEY.to_owned()),
        ("ocp-apim-subscription-key", MASTER_KEY.to_owned()),
    ] {
        let answer = Client::of(&stage.gateway)
            .header(name, &value)
            .chat(&chat("gpt-4o"))
            .await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_wrong_key_is_never_repeated() {
    let stage = Stage::plain().await;
    let key = "sk-someone-elses-long-secret-key";
    let answer = Client::of(&stage.gateway)
        .key(key)
        .chat(&chat("gpt-4o"))
        .await;
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains(key), "{}", answer.text());
    assert!(!stage.gateway.printed(key));
}

#[tokio::test]
async fn the_master_key_may_come_from_the_environment() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        .replace(&format!("  master_key: {MASTER_KEY}\n"), "  x: 1\n");
    let gateway = Gateway::builder(config).env("LITELLM_MASTER_KEY", "sk-from-env");
    let stage = Stage::of(upstream, gateway).await;
    assert_eq!(stage.client.chat(&chat("gpt-4o")).await.status, 401);
    Client::of(&stage.gateway)
        .key("sk-from-env")
        .chat(&chat("gpt-4o"))
        .await
        .ok();
}

#[tokio::test]
async fn the_public_routes_need_no_key() {
    let stage = Stage::plain().await;
    let anybody = Client::of(&stage.gateway);
    for path in [
        "/health/liveliness",
        "/health/liveness",
        "/health/readiness",
        "/routes",
        "/metrics",
    ] {
        assert_eq!(anybody.get(path).await.status, 200, "{path}");
    }
}

fn open_config(api_base: &str) -> String {
    base_config(api_base).replace(
        &format!("general_settings:\n  master_key: {MASTER_KEY}\n"),
        "",
    )
}

#[tokio::test]
async fn without_a_master_key_everybody_is_served_and_the_log_says_so_loudly() {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::start(open_config(&upstream.api_base())).await;
    Client::of(&gateway).chat(&chat("gpt-4o")).await.ok();
    gateway.wait_for_log("master_key").await;
}

#[tokio::test]
async fn without_a_master_key_only_the_loopback_is_served() {
    let upstream = FakeUpstream::start().await;
    let refusal = Gateway::builder(open_config(&upstream.api_base()))
        .host("0.0.0.0")
        .expect_refusal()
        .await;
    assert!(refusal.code.is_some_and(|code| code != 0), "{refusal:?}");
    assert!(
        refusal.output.contains("--allow-unauthenticated"),
        "{}",
        refusal.output
    );
    assert!(refusal.output.contains("master_key"), "{}", refusal.output);
}

#[tokio::test]
async fn who_insists_may_serve_everybody_everywhere() {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(open_config(&upstream.api_base()))
        .host("0.0.0.0")
        .arg("--allow-unauthenticated")
        .start()
        .await;
    let base = gateway.base_url().replace("0.0.0.0", "127.0.0.1");
    let client = Client::at(&base, crate::support::http_client(|builder| builder));
    client.chat(&chat("gpt-4o")).await.ok();
}
