//! Plugins in C and in Go: the examples as components in the gateway, the SDKs, and what `witgate plugin new` makes.

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::languages::{ok, says};
use crate::support::{Client, Stage, base_config, chat, chat_stream, streamed_text};

/// A gateway with the guardrail in C.
async fn cards(mode: &str, settings: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base())
        + &format!(
            "guardrails:\n  - guardrail_name: cards\n    litellm_params: {{guardrail: card-numbers, mode: {mode}, default_on: true}}\n"
        )
        + &format!("plugins:\n  card-numbers: {{settings: {settings}}}\n");
    Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await
}

#[tokio::test]
async fn a_guardrail_in_c_masks_and_refuses() {
    let stage = cards("pre_call", "{keep_last: 4}").await;
    let body = says(
        chat("gpt-4o"),
        "pay with 4111 1111 1111 1111, order 4111111111111112",
    );
    stage.client.chat(&body).await.ok();
    let sent = stage.upstream.requests().last().json()["messages"][0]["content"].clone();
    assert_eq!(sent, "pay with **** **** **** 1111, order 4111111111111112");

    let stage = cards("pre_call", "{action: block}").await;
    let refused = stage.client.chat(&body).await;
    let error = refused.error(400);
    assert!(
        error["message"].to_string().contains("payment card number"),
        "{error}"
    );
    assert!(
        stage.upstream.requests().is_empty(),
        "the refused call went out"
    );
}

#[tokio::test]
async fn a_guardrail_in_c_judges_a_stream_piece_by_piece() {
    let stage = cards("post_call", "{keep_last: 0}").await;
    let body = says(
        chat_stream("gpt-4o"),
        "yours is 4111 1111 1111 1111, right?",
    );
    let events = stage.client.open(&body).await.rest().await;
    assert_eq!(
        streamed_text(&events),
        "yours is **** **** **** ****, right?",
        "{events:#?}"
    );
}

/// A gateway with the fixture that asserts, in each of its calls, what an SDK promises.
async fn sdk(language: &str, mode: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base())
        + &format!(
            "guardrails:\n  - guardrail_name: sdk\n    litellm_params: {{guardrail: {language}-sdk, mode: {mode}, default_on: true}}\n\
             plugins:\n  {language}-sdk: {{limits: {{max_instances: 1}}}}\n"
        );
    let gateway = Gateway::builder(config).env("C_SDK_TEST", "");
    Stage::of(upstream, gateway.shared_plugin_cache()).await
}

/// Calls of one instance: they would not fit into it if it kept what they allocate.
async fn call_often(stage: &Stage) {
    for _ in 0..60 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    let long = says(chat("gpt-4o"), &"All work and no play. ".repeat(500));
    for _ in 0..400 {
        stage.client.chat(&long).await.ok();
    }
    let metrics = stage.gateway.metrics().await;
    let made = metrics.count("witgate_plugin_instantiations_total", &[("plugin", "sdk")]);
    assert_eq!(made, 1.0, "instances");
}

#[tokio::test]
async fn the_sdk_for_c_holds_its_promises_and_gives_back_what_a_call_allocates() {
    let stage = sdk("c", "pre_call").await;
    call_often(&stage).await;
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["metadata_4"], 4, "{sent}");
    stage.gateway.wait_for_log("the C SDK works, 1").await;
    stage.gateway.wait_for_log("printed by C").await;
}

#[tokio::test]
async fn the_sdk_for_go_holds_its_promises_and_gives_back_what_a_call_allocates() {
    let stage = sdk("go", "pre_call").await;
    call_often(&stage).await;
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["metadata_go"], json!({"go": true}), "{sent}");
    stage.gateway.wait_for_log("the Go SDK works").await;
    stage.gateway.wait_for_log("printed by Go").await;

    let stage = sdk("go", "post_call").await;
    let body = says(chat_stream("gpt-4o"), "hello to all of you");
    let events = stage.client.open(&body).await.rest().await;
    assert_eq!(streamed_text(&events), "HELLO TO ALL OF YOU", "{events:#?}");
}

/// Tokens of `{"sub": "ann", "team_id": "red", "models": ["gpt-4o"]}`: one that expires in 2100, one that expired in 1970, and
/// one that another key signed.
const GOOD: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJ0ZWFtX2lkIjoicmVkIiwiZXhwIjo0MTAyNDQ0ODAwLCJtb2RlbHMiOlsiZ3B0LTRvIl19.3LYVtIx2CxsSwCFI82qDwCYH4f44ce4f0agp814F1Sg";
const EXPIRED: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJ0ZWFtX2lkIjoicmVkIiwiZXhwIjoxLCJtb2RlbHMiOlsiZ3B0LTRvIl19.uPZqAzfZiU1WWthLCqLegD0FWQIqyGV7EX1gYGr7HlM";
const OF_ANOTHER_KEY: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJ0ZWFtX2lkIjoicmVkIiwiZXhwIjo0MTAyNDQ0ODAwLCJtb2RlbHMiOlsiZ3B0LTRvIl19.KAl7NFH95PeMu_xvIxY3tYV9l6gZOP7UJXXEcfkoPh8";

#[tokio::test]
async fn an_authenticator_in_go_lets_in_by_signed_token() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_auth: jwt-auth\n  custom_auth_settings: {mode: auto}\n",
    ) + "plugins:\n  jwt-auth: {settings: {key: 0123456789abcdef-key}}\n";
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    let as_key = |key: &str| Client::of(&stage.gateway).key(key);
    as_key(GOOD).chat(&chat("gpt-4o")).await.ok();
    as_key(GOOD).chat(&chat("another-model")).await.error(401);
    // The gateway's own keys still work, and nothing else does.
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let refused = as_key(EXPIRED).chat(&chat("gpt-4o")).await.error(401);
    assert!(
        refused["message"].to_string().contains("has expired"),
        "{refused}"
    );
    as_key(OF_ANOTHER_KEY)
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    assert!(
        rows.iter()
            .any(|row| row["team_id"] == "red" && row["user"] == "ann")
    );
    assert!(!stage.gateway.printed("0123456789abcdef-key"));
}

/// Plugins that are the same in every language pass the same cases.
pub(crate) async fn pass_the_same_cases(language: &str, main: &str, kinds: &[&str]) {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/kinds");
    let folder = tempfile::tempdir().expect("a folder");
    for kind in kinds {
        let new = ["plugin", "new", kind, "--kind", kind, "--lang", language];
        ok(folder.path(), &new).await;
        let (from, to) = (fixtures.join(kind), folder.path().join(kind));
        for file in ["plugin.toml", main] {
            std::fs::copy(from.join(file), to.join(file)).expect("copied");
        }
        std::fs::remove_dir_all(to.join("cases")).expect("removed");
        let cases = from.join("cases");
        for case in std::fs::read_dir(&cases).expect("cases").flatten() {
            let to = to.join("cases").join(case.file_name());
            std::fs::create_dir_all(&to).expect("a folder");
            for file in ["case.yaml", "expected.yaml"] {
                std::fs::copy(case.path().join(file), to.join(file)).expect("copied");
            }
        }
        let report = ok(folder.path(), &["plugin", "test", kind]).await;
        assert!(report.contains(" 0 failed"), "{kind}: {report}");
    }
}

/// Kinds whose fixtures have every function; the log sink sends mail.
const EVERY_FUNCTION: [&str; 4] = ["request-hook", "secret-manager", "sso", "log-sink"];

#[tokio::test]
async fn hooks_secret_managers_and_logins_in_c_do_all_that_their_kinds_can() {
    pass_the_same_cases("c", "plugin.c", &EVERY_FUNCTION).await;
}

#[tokio::test]
async fn hooks_secret_managers_and_logins_in_go_do_all_that_their_kinds_can() {
    pass_the_same_cases("go", "plugin.go", &EVERY_FUNCTION).await;
}

/// Every kind that there is.
const KINDS: [&str; 11] = [
    "guardrail",
    "log-sink",
    "authenticator",
    "alerter",
    "provider",
    "prompt-manager",
    "request-hook",
    "secret-manager",
    "sso",
    "key-policy",
    "router",
];

#[tokio::test]
async fn a_new_plugin_in_c_builds_and_passes_its_cases_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in KINDS {
        let name = format!("my-{kind}");
        let new = ["plugin", "new", &name, "--kind", kind, "--lang", "c"];
        ok(folder.path(), &new).await;
        let header = folder
            .path()
            .join(&name)
            .join(".witgate/sdk/c/generated/wit.h");
        assert!(header.is_file(), "{kind}: no header for the editor");
        let report = ok(folder.path(), &["plugin", "test", &name]).await;
        assert!(report.contains(" 0 failed"), "{report}");
    }

    // What the compiler and the linker say names the author's own file and function.
    let main = folder.path().join("my-guardrail/plugin.c");
    let text = std::fs::read_to_string(&main).expect("the file");
    let build = ["plugin", "build", "my-guardrail"];
    for (wrong, expected) in [
        (
            text.replacen("wg_allow(verdict)", "wg_alow(verdict)", 1),
            "plugin.c:11:12: error: call to undeclared function 'wg_alow'",
        ),
        (
            text.replacen("plugin_check", "plugin_chek", 1),
            "undefined symbol: plugin_check",
        ),
    ] {
        std::fs::write(&main, wrong).expect("written");
        let (_, stderr, code) = Gateway::run(folder.path(), &build).await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{expected}: {stderr}");
    }
}

/// Compiling takes seconds each.
#[tokio::test]
async fn a_new_plugin_in_go_builds_and_passes_its_cases_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in KINDS {
        let name = format!("my-{kind}");
        let new = ["plugin", "new", &name, "--kind", kind, "--lang", "go"];
        ok(folder.path(), &new).await;
        let report = ok(folder.path(), &["plugin", "test", &name]).await;
        assert!(report.contains(" 0 failed"), "{report}");
    }
    // What the compiler says names the author's own file and line.
    let main = folder.path().join("my-guardrail/plugin.go");
    let text = std::fs::read_to_string(&main).expect("the file");
    std::fs::write(&main, text.replacen("return nil, nil", "return nil", 1)).expect("written");
    let build = ["plugin", "build", "my-guardrail"];
    let (_, stderr, code) = Gateway::run(folder.path(), &build).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("plugin.go:27:"), "{stderr}");
}
