//! What a plugin may touch: nothing it was not granted, whichever way it tries.

use std::sync::Arc;

use serde_json::json;
use witgate_plugins::{Fault, PluginError, Verdict};
use witgate_testkit::{Recorder, Reply};

use crate::support::{check, guardrail, guardrail_with, stage};

fn denials(plugin: &str, kind: &str) -> f64 {
    stage().count(
        "witgate_plugin_denials_total",
        &[("plugin", plugin), ("kind", kind)],
    )
}

/// The text of the denial that the plugin reports.
async fn denial(name: &str, component: &str, settings: serde_json::Value) -> String {
    let guardrail = guardrail(name, component, settings).await;
    match check(&guardrail, "x").await.unwrap_err().fault {
        Fault::Plugin(PluginError::Denied(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_that_is_not_granted_is_refused_with_the_line_that_grants_it() {
    let text = denial("cap-ungranted", "hostile-ungranted-host", json!({})).await;
    assert!(
        text.contains("not-granted.example is not among the granted hosts"),
        "{text}"
    );
    assert!(
        text.contains(r#"plugins.cap-ungranted.grants.egress: ["https://not-granted.example"]"#),
        "{text}"
    );
    assert_eq!(denials("cap-ungranted", "egress"), 1.0);
}

#[tokio::test]
async fn a_redirect_is_judged_like_a_request() {
    let redirecting = Recorder::start(Reply::status(
        302,
        &[("location", "http://169.254.169.254/latest")],
        "",
    ))
    .await;
    let text = denial(
        "cap-redirect",
        "hostile-redirect-metadata",
        json!({"url": redirecting.origin()}),
    )
    .await;
    assert!(text.contains("169.254.169.254"), "{text}");
    assert_eq!(
        redirecting.requests().len(),
        1,
        "the first hop was granted by the setting"
    );
    assert_eq!(denials("cap-redirect", "egress"), 1.0);
}

#[tokio::test]
async fn a_name_from_the_manifest_may_not_lead_inside() {
    let text = denial("cap-loopback", "hostile-resolves-loopback", json!({})).await;
    assert!(text.contains("localhost leads to"), "{text}");
    assert!(
        text.contains(r#"plugins.cap-loopback.grants.private_network: ["localhost"]"#),
        "{text}"
    );
}

#[tokio::test]
async fn an_url_in_a_setting_reaches_that_port_and_no_other() {
    let (granted, other) = (
        Recorder::start(Reply::status(200, &[], "")).await,
        Recorder::start(Reply::status(200, &[], "")).await,
    );
    let reaching = guardrail(
        "cap-setting",
        "hostile-slow",
        json!({"url": granted.origin()}),
    )
    .await;
    assert!(matches!(
        check(&reaching, "x").await.unwrap(),
        Verdict::Allow
    ));
    assert_eq!(granted.requests().len(), 1);
    granted.answer(Reply::status(307, &[("location", &other.origin())], ""));
    let error = check(&reaching, "x").await.unwrap_err();
    assert!(
        error.to_string().contains("not among the granted hosts"),
        "{error}"
    );
    assert_eq!(other.connections(), 0);
}

#[tokio::test]
async fn the_environment_is_empty_but_for_what_is_granted() {
    let with_env = |name: &'static str| async move {
        guardrail_with(
            name,
            "hostile-read-env",
            json!({"variable": "SECRET"}),
            |spec| {
                spec.env = Arc::new(|_: &str| Some("hunter2".to_owned()));
            },
        )
        .await
    };
    let guardrail = with_env("cap-env").await;
    match check(&guardrail, "x").await {
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("plugins.cap-env.grants.env"), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        Ok(verdict) => panic!("{verdict:?}"),
    }
    assert_eq!(denials("cap-env", "env"), 1.0);
}

#[tokio::test]
async fn http_through_wasi_has_the_same_client_and_the_same_policy() {
    let (granted, other) = (
        Recorder::start(Reply::status(204, &[], "")).await,
        Recorder::start(Reply::status(204, &[], "")).await,
    );
    let asking = |name: &'static str, target: String| {
        let settings = json!({"granted": granted.origin(), "target": target});
        guardrail(name, "hostile-wasi-http", settings)
    };
    let reaching = asking("cap-wasi", granted.authority()).await;
    for _ in 0..3 {
        match check(&reaching, "x").await.unwrap() {
            Verdict::Block(block) => assert_eq!(block.message, "status 204"),
            verdict => panic!("{verdict:?}"),
        }
    }
    assert_eq!(granted.requests().last().path(), "/from-wasi");
    assert_eq!(granted.connections(), 1, "the connection is kept");

    let refused = asking("cap-wasi-denied", other.authority()).await;
    match check(&refused, "x").await.unwrap() {
        Verdict::CouldNotJudge(why) => assert_eq!(why, "ErrorCode::HttpRequestDenied"),
        verdict => panic!("{verdict:?}"),
    }
    assert_eq!(other.connections(), 0);
    assert_eq!(denials("cap-wasi-denied", "egress"), 1.0);
}
