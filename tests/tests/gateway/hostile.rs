//! Plugins that attack: each costs its own call and nothing else.
//!
//! Every case runs a guardrail from `tests/fixtures/guests` on its own model group (the guardrail
//! is asked for by name, so other calls of the same gateway do not meet it) and checks four
//! things: the right answer by the fail policy, other traffic unharmed, a count on `/metrics`, a
//! line in the log with the plugin's name. What a sandbox leak would look like is status 418,
//! which must never be seen.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Metrics, Recorder, Reply};

use crate::support::{Answer, MASTER_KEY, Stage, base_config, chat};

/// The answer of a guest that got through.
const LEAK: u16 = 418;

/// A gateway with one hostile guardrail named `hostile`, under a fail policy.
async fn stage_with(component: &str, fail: &str, settings: Value) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "{}guardrails:\n  - guardrail_name: hostile\n    litellm_params: {{guardrail: {component}, mode: pre_call, default_on: false}}\n\
         plugins:\n  {component}:\n    fail: {fail}\n    settings: {settings}\n    limits: {{memory_mb: 64, cpu_ms: 200, timeout_ms: 2000}}\n",
        base_config(&upstream.api_base())
    );
    let gateway = Gateway::builder(config).env("SECRET_OF_THE_HOST", "must-never-be-seen");
    Stage::of(upstream, gateway).await
}

async fn guarded(stage: &Stage) -> Answer {
    let mut body = chat("gpt-4o");
    body["guardrails"] = json!(["hostile"]);
    stage.client.chat(&body).await
}

/// Something went wrong with the plugin, by whatever name its kind of failure has.
fn counted(metrics: &Metrics) -> bool {
    const FAILURES: [&str; 6] = [
        "witgate_plugin_traps_total",
        "witgate_plugin_denials_total",
        "witgate_plugin_log_dropped_total",
        "outcome=\"error\"",
        "timeout",
        "too_large",
    ];
    metrics.text().lines().any(|line| {
        line.starts_with("witgate_plugin")
            && line.contains("plugin=\"hostile")
            && FAILURES.iter().any(|word| line.contains(word))
            && !line.ends_with(" 0")
    })
}

async fn attack(component: &str, settings: Value) {
    for fail in ["closed", "open"] {
        let stage = stage_with(component, fail, settings.clone()).await;
        let asked = Instant::now();
        let answer = guarded(&stage).await;
        assert_ne!(
            answer.status,
            LEAK,
            "{component} got through: {}",
            answer.text()
        );
        assert!(
            asked.elapsed() < Duration::from_secs(20),
            "{component} held its call for {:?}",
            asked.elapsed()
        );
        if fail == "open" {
            assert_eq!(
                answer.status,
                200,
                "{component}, fail open: {}",
                answer.text()
            );
        } else {
            assert!(
                answer.status >= 400,
                "{component}, fail closed: {}",
                answer.text()
            );
            let error = answer.error(answer.status);
            let message = error["message"].as_str().unwrap_or_default();
            assert!(
                message.contains("hostile"),
                "{component}: the guardrail is not named: {message}"
            );
            assert!(
                stage.upstream.requests().is_empty(),
                "{component}: the upstream was called all the same"
            );
        }
        stage.client.chat(&chat("gpt-4o")).await.ok();
        stage.gateway.metrics_until("counted", counted).await;
        stage.gateway.wait_for_log("hostile").await;
        assert!(!stage.gateway.printed(MASTER_KEY));
        assert!(!stage.gateway.printed("must-never-be-seen"));
    }
}

#[tokio::test]
async fn an_endless_loop_is_interrupted() {
    attack("hostile-endless-loop", json!({})).await;
}

#[tokio::test]
async fn four_gigabytes_are_refused() {
    attack("hostile-alloc-4gb", json!({})).await;
}

#[tokio::test]
async fn a_stack_overflow_is_a_trap() {
    attack("hostile-stack-overflow", json!({})).await;
}

#[tokio::test]
async fn a_panic_is_a_trap() {
    attack("hostile-panic", json!({})).await;
}

#[tokio::test]
async fn a_panic_is_logged_with_its_message_and_the_functions_under_way_and_the_client_sees_neither()
 {
    let stage = stage_with("hostile-panic", "closed", json!({})).await;
    let answer = guarded(&stage).await;
    for told in ["on purpose", "hostile::", "called by"] {
        assert!(!answer.text().contains(told), "{}", answer.text());
    }
    let line = stage.gateway.wait_for_log("called by").await;
    for part in ["hostile", "hostile panic, on purpose", "Behaviour::act"] {
        assert!(line.contains(part), "no {part:?} in {line}");
    }
    assert!(!line.contains("function 1"), "without names: {line}");
    // Its author sees the same line.
    let folder = tempfile::tempdir().expect("a folder");
    let component = witgate_testkit::fixture_dir().join("hostile-panic.wasm");
    let args = ["plugin", "run", component.to_str().expect("a path")];
    let case = "{input: {body: {messages: []}}}";
    let (_, stderr, _) = Gateway::run_with_input(folder.path(), &args, case).await;
    assert!(stderr.contains("Behaviour::act"), "{stderr}");
}

#[tokio::test]
async fn megabytes_of_output_are_refused() {
    attack("hostile-big-output", json!({})).await;
}

#[tokio::test]
async fn a_host_that_was_not_granted_is_not_reached() {
    let target = Recorder::start(Reply::status(200, &[], "reached")).await;
    attack("hostile-ungranted-host", json!({"url": target.origin()})).await;
    assert_eq!(target.connections(), 0, "the host was reached");
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service_is_not_followed() {
    let metadata = "http://169.254.169.254/latest/meta-data/";
    let target = Recorder::start(Reply::status(302, &[("location", metadata)], "")).await;
    attack("hostile-redirect-metadata", json!({"url": target.origin()})).await;
}

#[tokio::test]
async fn a_name_that_resolves_to_loopback_is_not_reached() {
    let target = Recorder::start(Reply::status(200, &[], "reached")).await;
    // The manifest grants the URL by a setting; here it is the plugin's own default that names
    // localhost, and what it resolves to is what counts.
    attack("hostile-resolves-loopback", json!({})).await;
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn an_environment_variable_that_was_not_granted_is_not_read() {
    attack(
        "hostile-read-env",
        json!({"variable": "SECRET_OF_THE_HOST"}),
    )
    .await;
}

#[tokio::test]
async fn other_calls_are_served_while_a_plugin_loops() {
    let stage = stage_with("hostile-endless-loop", "closed", json!({})).await;
    let mut body = chat("gpt-4o");
    body["guardrails"] = json!(["hostile"]);
    let mut attackers = Vec::new();
    for _ in 0..4 {
        let (client, body) = (stage.client.clone(), body.clone());
        attackers.push(tokio::spawn(async move { client.chat(&body).await.status }));
    }
    let asked = Instant::now();
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let one = Instant::now();
        stage.client.chat(&chat("gpt-4o")).await.ok();
        slowest = slowest.max(one.elapsed());
    }
    // Four loops on two processors: a call may wait for its turn, never for the loop's end.
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "20 calls took {:?}, one {slowest:?}",
        asked.elapsed()
    );
    for attacker in attackers {
        assert!(attacker.await.expect("an answer") >= 400);
    }
}

#[tokio::test]
async fn the_breaker_spares_a_plugin_that_only_traps() {
    let stage = stage_with("hostile-panic", "open", json!({})).await;
    for _ in 0..30 {
        assert_eq!(guarded(&stage).await.status, 200);
    }
    stage
        .gateway
        .metrics_until("the breaker is seen", |metrics| {
            metrics.text().lines().any(|line| {
                line.starts_with("witgate_plugin")
                    && line.contains("breaker")
                    && !line.ends_with(" 0")
            })
        })
        .await;
}

#[tokio::test]
async fn a_well_behaved_fixture_passes() {
    // The control: the same path with a guest that does nothing wrong.
    let stage = stage_with("hostile-ok", "closed", json!({})).await;
    let answer = guarded(&stage).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.header("x-litellm-applied-guardrails"),
        Some("hostile")
    );
}

#[tokio::test]
async fn a_fresh_instance_for_each_call_is_as_safe() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "{}guardrails:\n  - guardrail_name: hostile\n    litellm_params: {{guardrail: hostile-panic, mode: pre_call}}\n\
         plugins:\n  hostile-panic: {{isolation: call, fail: open}}\n",
        base_config(&upstream.api_base())
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    for _ in 0..3 {
        assert_eq!(guarded(&stage).await.status, 200);
    }
}

/// A gateway whose every answer passes a hostile guardrail as it streams.
async fn streaming_stage(component: &str, fail: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "{}guardrails:\n  - guardrail_name: hostile\n    litellm_params: {{guardrail: {component}, mode: post_call, default_on: false}}\n\
         plugins:\n  {component}:\n    fail: {fail}\n    settings: {{streaming: true}}\n    limits: {{memory_mb: 64, cpu_ms: 200, timeout_ms: 2000}}\n",
        base_config(&upstream.api_base())
    );
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn a_stream_under_attack_ends_or_goes_on_by_the_fail_policy() {
    for component in [
        "hostile-endless-loop",
        "hostile-panic",
        "hostile-alloc-4gb",
        "hostile-stack-overflow",
    ] {
        for fail in ["closed", "open"] {
            let stage = streaming_stage(component, fail).await;
            let mut body = crate::support::chat_stream("gpt-4o");
            body["guardrails"] = json!(["hostile"]);
            let answer = stage.client.chat(&body).await;
            let events = answer.events();
            if fail == "open" {
                assert_eq!(answer.status, 200, "{component}: {}", answer.text());
                let text = crate::support::streamed_text(&events);
                assert_eq!(
                    text,
                    witgate_testkit::openai::DEFAULT_TEXT,
                    "{component}: {events:#?}"
                );
                assert_eq!(
                    events.last().map(String::as_str),
                    Some("[DONE]"),
                    "{component}"
                );
            } else {
                let told = answer.status >= 400 || answer.text().contains("\"error\"");
                assert!(told, "{component}: {}", answer.text());
                assert!(
                    !answer.text().contains("42.\""),
                    "{component} let unjudged text through: {}",
                    answer.text()
                );
            }
            stage.client.chat(&chat("gpt-4o")).await.ok();
        }
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_judged_is_held_back_when_it_fails_closed() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "{}guardrails:\n  - guardrail_name: hostile\n    litellm_params: {{guardrail: hostile-panic, mode: post_call}}\n\
         plugins:\n  hostile-panic: {{fail: closed}}\n",
        base_config(&upstream.api_base())
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    for streamed in [false, true] {
        let mut body = chat("gpt-4o");
        body["guardrails"] = json!(["hostile"]);
        body["stream"] = json!(streamed);
        let answer = stage.client.chat(&body).await;
        assert!(
            answer.status >= 500 || answer.text().contains("\"error\""),
            "{}",
            answer.text()
        );
        assert!(
            !answer.text().contains("42.\""),
            "the answer came through: {}",
            answer.text()
        );
    }
}
