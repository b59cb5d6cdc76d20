//! Every import abused, alerters that attack, and attackers in Python and JavaScript.
//!
//! As in `hostile`: the right answer by the fail policy, other traffic unharmed, counted, and in the log under the
//! plugin's name. Status 418 is a leak.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Metrics, Recorder, Reply};

use crate::support::{Answer, MASTER_KEY, Stage, base_config, chat};

/// A secret of the plugin, which nobody may see.
const HIDDEN: &str = "hidden-0123456789abcdef";
/// The answer of a guest that got through.
const LEAK: u16 = 418;

async fn stage(component: &str, fail: &str, settings: &Value, limits: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "{}guardrails:\n  - guardrail_name: hostile\n    litellm_params: {{guardrail: {component}, mode: pre_call, default_on: false}}\n\
         plugins:\n  {component}:\n    fail: {fail}\n    settings: {settings}\n    limits: {limits}\n",
        base_config(&upstream.api_base())
    );
    let gateway = Gateway::builder(config)
        .env("SECRET_OF_THE_HOST", "must-never-be-seen")
        .shared_plugin_cache();
    Stage::of(upstream, gateway).await
}

async fn guarded(stage: &Stage) -> Answer {
    let mut body = chat("gpt-4o");
    body["guardrails"] = json!(["hostile"]);
    stage.client.chat(&body).await
}

/// Whether a series of the hostile plugin that contains this is above zero.
fn counts(metrics: &Metrics, what: &str) -> bool {
    metrics.text().lines().any(|line| {
        let own = line.contains("plugin=\"hostile");
        own && line.contains(what) && !line.ends_with(" 0")
    })
}

/// Attacks under both policies; `counted` is what `/metrics` must show. The stage of the last attack.
async fn attack(component: &str, settings: Value, limits: &str, counted: &str) -> Stage {
    let mut last = None;
    for fail in ["open", "closed"] {
        let stage = stage(component, fail, &settings, limits).await;
        let answer = guarded(&stage).await;
        let case = format!("{component} {settings}, fail {fail}");
        assert_ne!(answer.status, LEAK, "{case} got through: {}", answer.text());
        match fail {
            "open" => assert_eq!(answer.status, 200, "{case}: {}", answer.text()),
            _ => {
                assert!(answer.status >= 400, "{case}: {}", answer.text());
                let sent = stage.upstream.requests().all().len();
                assert_eq!(sent, 0, "{case}: the upstream was called all the same");
            }
        }
        stage.client.chat(&chat("gpt-4o")).await.ok();
        let what = format!("{case}: {counted}");
        stage
            .gateway
            .metrics_until(&what, |metrics| counts(metrics, counted))
            .await;
        stage.gateway.wait_for_log("hostile").await;
        for secret in [HIDDEN, MASTER_KEY, "must-never-be-seen"] {
            assert!(
                !stage.gateway.printed(secret),
                "{case}: {secret} is in the log"
            );
            assert!(!answer.text().contains(secret), "{case}: {}", answer.text());
        }
        last = Some(stage);
    }
    last.expect("two attacks")
}

const LIMITS: &str = "{memory_mb: 64, cpu_ms: 1000, timeout_ms: 20000}";

async fn abuse(behaviour: &str, counted: &str) -> Stage {
    let settings = json!({"behaviour": behaviour, "hidden": HIDDEN});
    attack("hostile-imports", settings, LIMITS, counted).await
}

#[tokio::test]
async fn kept_values_have_their_bounds() {
    abuse("kv-flood", "kind=\"kv\"").await;
    abuse("kv-oversized", "kind=\"kv\"").await;
}

#[tokio::test]
async fn metrics_can_be_neither_forged_nor_flooded() {
    let stage = abuse("metrics-flood", "kind=\"metric\"").await;
    let page = stage.gateway.metrics().await;
    let lines: Vec<&str> = page.text().lines().collect();
    assert!(
        !lines.iter().any(|line| line.starts_with("forged")),
        "a line was forged"
    );
    let own = lines.iter().filter(|line| line.contains("hostile")).count();
    assert!(own < 2000, "{own} series of one plugin");
    assert!(page.text().len() < 4 << 20, "{} bytes", page.text().len());
}

#[tokio::test]
async fn lines_of_the_log_cannot_be_forged() {
    let stage = abuse("log-injection", "outcome=\"error\"").await;
    stage.gateway.wait_for_log("cleared").await;
    for line in stage.gateway.logs().all() {
        assert!(!line.trim_start().starts_with("forged"), "{line:?}");
        assert!(
            !line.contains("[2J\u{1b}]0;") && !line.contains('\u{7}'),
            "{line:?}"
        );
    }
}

#[tokio::test]
async fn secrets_of_others_have_no_handle_and_the_own_is_not_shown() {
    abuse("secret-ungranted", "kind=\"secret\"").await;
    abuse("secret-reveal", "kind=\"reveal\"").await;
}

#[tokio::test]
async fn what_is_signed_goes_nowhere_that_was_not_granted() {
    abuse("sign-ungranted", "kind=\"egress\"").await;
}

#[tokio::test]
async fn a_thousand_requests_at_once_go_nowhere() {
    let target = Recorder::start(Reply::status(200, &[], "reached")).await;
    let settings = json!({"behaviour": "send-many", "url": target.origin()});
    attack("hostile-imports", settings, LIMITS, "kind=\"egress\"").await;
    assert_eq!(target.connections(), 0, "the host was reached");
}

#[tokio::test]
async fn names_of_files_open_nothing() {
    abuse("file-tricks", "kind=\"file\"").await;
}

#[tokio::test]
async fn randomness_comes_in_small_portions() {
    abuse("random-flood", "outcome=\"error\"").await;
}

#[tokio::test]
async fn a_busy_loop_in_the_host_ends_like_one_in_the_guest() {
    abuse("clock-loop", "kind=\"cpu_limit\"").await;
}

/// What a plugin in another language does wrong, and how it is counted.
const IN_OTHER_LANGUAGES: [(&str, &str, &str); 14] = [
    ("python", "loop", "witgate_plugin_traps_total"),
    ("python", "memory", "outcome=\"error\""),
    ("python", "secret", "outcome=\"error\""),
    ("python", "prints", "witgate_plugin_log_dropped_total"),
    ("python", "forged", "outcome=\"error\""),
    ("python", "environ", "outcome=\"error\""),
    ("python", "directory", "outcome=\"error\""),
    ("python", "exit", "witgate_plugin_calls_total"),
    ("python", "hard-exit", "witgate_plugin_calls_total"),
    ("python", "sleep", "outcome=\"timeout\""),
    ("javascript", "loop", "witgate_plugin_traps_total"),
    ("javascript", "memory", "witgate_plugin_calls_total"),
    ("javascript", "secret", "outcome=\"error\""),
    ("javascript", "prints", "witgate_plugin_log_dropped_total"),
];

#[tokio::test]
async fn attackers_in_other_languages_cost_their_own_calls() {
    for (language, does, counted) in IN_OTHER_LANGUAGES {
        let settings = json!({"does": does, "password": HIDDEN});
        // On a busy machine processor time comes slowly: only who sleeps shall meet the clock on the wall.
        let timeout_ms = if does == "sleep" { 4_000 } else { 30_000 };
        let limits = format!("{{cpu_ms: 2000, timeout_ms: {timeout_ms}, memory_mb: 128}}");
        let component = format!("hostile-{language}");
        let stage = attack(&component, settings, &limits, counted).await;
        for line in stage.gateway.logs().all() {
            let plain = line.trim_start();
            assert!(!plain.starts_with("forged"), "{language}: {line:?}");
            assert!(!plain.starts_with("printed by"), "{language}: {line:?}");
            assert!(!line.contains("SECRET_OF_THE_HOST"), "{language}: {line:?}");
        }
    }
}

#[tokio::test]
async fn an_alerter_that_attacks_is_counted_and_named_and_nothing_else_happens() {
    for (behaviour, counted) in [
        ("endless-loop", "kind=\"cpu_limit\""),
        ("panic", "kind=\"panic\""),
        ("allocation-bomb", "kind=\"memory_limit\""),
        ("big-output", "outcome=\"output_too_large\""),
        ("ungranted-host", "kind=\"egress\""),
        ("ungranted-mail", "kind=\"egress\""),
        ("mail-through-redirected-name", "kind=\"egress\""),
        ("mail-of-forged-headers", "outcome=\"error\""),
    ] {
        let upstream = FakeUpstream::start().await;
        let config = base_config(&upstream.api_base()).replace(
            "general_settings:\n",
            "general_settings:\n  alerting: [hostile-alerter]\n",
        ) + "callback_settings: {hostile-alerter: {flush_interval: 0.01}}\n"
            + &format!(
                "plugins:\n  hostile-alerter: {{settings: {{behaviour: {behaviour}}}, limits: {{memory_mb: 64, cpu_ms: 200, timeout_ms: 10000}}}}\n"
            );
        let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
        stage
            .upstream
            .next(Reply::error(500, "server_error", None, "on fire"));
        assert_eq!(stage.client.chat(&chat("gpt-4o")).await.status, 500);
        stage
            .gateway
            .metrics_until(&format!("{behaviour}: {counted}"), |metrics| {
                counts(metrics, counted)
            })
            .await;
        stage.gateway.wait_for_log("hostile-alerter").await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
}
