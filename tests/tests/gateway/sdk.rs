//! The unmodified OpenAI SDKs, Python and JavaScript, against the real gateway.
//!
//! Each test runs one script of `tests/sdk` with the SDK's own environment variables. The SDKs
//! are pinned and installed by `make test`; where they are missing the test fails, it is never
//! skipped.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use witgate_testkit::{FakeAnthropic, FakeUpstream, Gateway, Reply, openai, workspace_root};

use crate::support::{MASTER_KEY, Stage, base_config, venv};

/// Models whose answers the scripts expect; every other model answers normally.
fn scenarios(upstream: &FakeUpstream) {
    let rate_limited = r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
    let frames = [
        openai::content_frame("error-mid-stream", "partial"),
        r#"{"error":{"message":"the model broke","type":"server_error","param":null,"code":null}}"#
            .to_owned(),
    ];
    upstream
        .on_model("echo", Reply::echo())
        .on_model(
            "bad-request",
            Reply::error(
                400,
                "invalid_request_error",
                None,
                "temperature is out of range",
            ),
        )
        .on_model(
            "bad-key",
            Reply::error(
                401,
                "invalid_request_error",
                Some("invalid_api_key"),
                "Incorrect API key provided",
            ),
        )
        .on_model(
            "forbidden",
            Reply::error(403, "permission_error", None, "not for you"),
        )
        .on_model(
            "not-found",
            Reply::error(
                404,
                "invalid_request_error",
                Some("model_not_found"),
                "The model does not exist",
            ),
        )
        .on_model(
            "rate-limited",
            Reply::status(
                429,
                &[("content-type", "application/json"), ("retry-after", "7")],
                rate_limited,
            ),
        )
        .on_model(
            "broken",
            Reply::error(500, "server_error", None, "The server had an error"),
        )
        .on_model("slow", Reply::openai().after(Duration::from_secs(60)))
        .on_model("error-mid-stream", Reply::stream(&frames));
}

async fn run(mut command: Command) {
    let upstream = FakeUpstream::start().await;
    scenarios(&upstream);
    let anthropic = FakeAnthropic::start().await;
    let claude = format!(
        "model_list:\n  - model_name: claude\n    litellm_params: {{model: anthropic/claude-haiku-4-5-20251001, api_base: '{}', api_key: {}}}\n",
        anthropic.origin(),
        FakeAnthropic::KEY
    );
    let config = base_config(&upstream.api_base()).replacen("model_list:\n", &claude, 1);
    let stage = Stage::of(FakeUpstream::start().await, Gateway::builder(config)).await;
    let output = command
        .env(
            "OPENAI_BASE_URL",
            format!("{}/v1", stage.gateway.base_url()),
        )
        .env("OPENAI_API_KEY", MASTER_KEY)
        .env("GATEWAY_URL", stage.gateway.base_url())
        .env_remove("HTTP_PROXY")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| {
            panic!("cannot run {command:?}: {error}; `make test` installs the SDKs")
        });
    assert!(
        output.status.success(),
        "{}\n{}\nlog of the gateway:\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        stage.gateway.logs().all().join("\n")
    );
}

async fn python(script: &str) {
    let mut command = Command::new(venv("python"));
    command
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider", script])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(workspace_root().join("tests/sdk/python"));
    run(command).await;
}

async fn javascript(script: &str) {
    let mut command = Command::new("node");
    command
        .args(["--test", script])
        .current_dir(workspace_root().join("tests/sdk/javascript"));
    run(command).await;
}

#[tokio::test]
async fn python_chat() {
    python("test_chat.py").await;
}

#[tokio::test]
async fn python_streaming() {
    python("test_streaming.py").await;
}

#[tokio::test]
async fn python_embeddings_completions_models() {
    python("test_other_routes.py").await;
}

#[tokio::test]
async fn python_raw_headers() {
    python("test_raw.py").await;
}

#[tokio::test]
async fn python_errors() {
    python("test_errors.py").await;
}

#[tokio::test]
async fn python_through_a_provider_plugin() {
    python("test_provider_plugin.py").await;
}

#[tokio::test]
async fn javascript_chat() {
    javascript("chat.test.mjs").await;
}

#[tokio::test]
async fn javascript_streaming() {
    javascript("streaming.test.mjs").await;
}

#[tokio::test]
async fn javascript_other_routes_and_raw_headers() {
    javascript("other_routes.test.mjs").await;
}

#[tokio::test]
async fn javascript_errors() {
    javascript("errors.test.mjs").await;
}
