//! A new version beside the old on live traffic: its verdicts are compared, and have no effect.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use super::{ANSWER, answer, by, component, guard, stage};
use crate::support::{
    Client, MASTER_KEY, Stage, base_config, chat, chat_stream, eventually, streamed_text,
};

/// What only the new version objects to.
const WORD: &str = "tulip";

const SHADOW: &str = ", shadow: {source: version-two.wasm, settings: {blocks: tulip, says: one}}";

async fn report(stage: &Stage, name: &str) -> Value {
    stage
        .client
        .get(&format!("/plugins/{name}/shadow"))
        .await
        .ok()
}

/// The report, once so many judgements are in.
async fn judged(stage: &Stage, name: &str, count: u64) -> Value {
    eventually("the shadow has judged", async || {
        let report = report(stage, name).await;
        let judgements = report["judgements"].as_object().expect("counts").values();
        let sum: u64 = judgements.filter_map(Value::as_u64).sum();
        (sum >= count).then_some(report)
    })
    .await
}

fn asking(text: &str, stream: bool) -> Value {
    let mut body = if stream {
        chat_stream("gpt-4o")
    } else {
        chat("gpt-4o")
    };
    body["messages"][0]["content"] = json!(text);
    body
}

#[tokio::test]
async fn verdicts_that_differ_are_told_and_change_nothing() {
    let stage = stage(SHADOW, "").await;
    assert_eq!(
        stage.client.chat(&asking("roses", false)).await.content(),
        by("one")
    );
    let text = format!("a {WORD} for you");
    assert_eq!(
        stage.client.chat(&asking(&text, false)).await.content(),
        by("one")
    );
    let report = judged(&stage, "guard", 4).await;
    assert_eq!(
        report["judgements"],
        json!({"same": 3, "different": 1, "failed": 0, "dropped": 0}),
        "{report}"
    );
    assert_eq!(report["by_verdict"], json!({"allow → block": 1}));
    let difference = &report["differences"][0];
    assert_eq!(difference["call"]["phase"], "pre_call", "{report}");
    assert_eq!(difference["call"]["model"], "gpt-4o");
    assert!(difference["call"]["call_id"].is_string(), "{report}");
    assert_eq!(difference["live"], json!({"verdict": "allow"}));
    assert_eq!(
        difference["shadow"],
        json!({"verdict": "block", "status": 403, "findings": ["word"]})
    );
    assert!(!report.to_string().contains(WORD), "no content: {report}");

    let args = ["plugin", "shadow", "guard", "--key", MASTER_KEY, "--url"];
    let args = [&args[..], &[stage.gateway.base_url()]].concat();
    let (out, err, code) = Gateway::run(stage.gateway.home(), &args).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("allow → block"), "{out}");

    let line = stage.gateway.wait_for_log("judges otherwise").await;
    assert!(line.contains("guard") && !line.contains(WORD), "{line}");
    let metrics = stage.gateway.metrics().await;
    let labels = [("plugin", "guard"), ("live", "allow"), ("shadow", "block")];
    assert_eq!(
        metrics.count("witgate_plugin_shadow_differences_total", &labels),
        1.0
    );
    let listed = stage.client.get("/plugins").await.ok();
    let names: Vec<&str> = listed["plugins"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|plugin| plugin["name"].as_str())
        .collect();
    assert_eq!(names, ["guard", "guard:shadow"]);
}

#[tokio::test]
async fn edits_and_streams_are_compared_too() {
    let says = "says: other";
    let stage = stage(&SHADOW.replace("says: one", says), "").await;
    assert_eq!(answer(&stage).await, by("one"));
    let report = judged(&stage, "guard", 2).await;
    assert_eq!(report["by_verdict"], json!({"edit → edit": 1}), "{report}");
    let pointer = "/choices/0/message/content";
    assert_eq!(
        report["differences"][0]["differs_at"],
        json!([pointer]),
        "{report}"
    );

    let streamed = stage.client.chat(&asking("roses", true)).await;
    assert_eq!(streamed_text(&streamed.events()), by("one"));
    let report = judged(&stage, "guard", 4).await;
    assert_eq!(report["by_verdict"], json!({"edit → edit": 2}), "{report}");
    assert_eq!(
        report["differences"][0]["differs_at"],
        json!(["channel 0"]),
        "{report}"
    );

    stage
        .upstream
        .always(Reply::says(&format!("No {WORD} here.")));
    let streamed = stage.client.chat(&asking("roses", true)).await;
    assert_eq!(
        streamed_text(&streamed.events()),
        format!("[one] No {WORD} here.")
    );
    let report = judged(&stage, "guard", 6).await;
    assert_eq!(report["by_verdict"]["edit → block"], 1, "{report}");
    assert!(!report.to_string().contains(WORD), "{report}");
}

#[tokio::test]
async fn a_shadow_that_hangs_or_panics_delays_and_harms_nobody() {
    let hangs = ", shadow: {source: hostile-endless-loop.wasm, concurrency: 1}, limits: {cpu_ms: 30000, timeout_ms: 20000}";
    let stage = stage(hangs, "").await;
    for _ in 0..5 {
        assert_eq!(answer(&stage).await, by("one"));
    }
    let report = judged(&stage, "guard", 9).await;
    assert_eq!(
        report["judgements"]["dropped"], 9,
        "one hangs, the others are dropped: {report}"
    );
    let panics = super::stage(", shadow: {source: hostile-panic.wasm}", "").await;
    assert_eq!(answer(&panics).await, by("one"));
    let report = judged(&panics, "guard", 2).await;
    assert_eq!(report["judgements"]["failed"], 2, "{report}");
}

#[tokio::test]
async fn a_guardrail_that_is_never_enforced_is_only_told() {
    let stage = stage(", fail: shadow, settings: {blocks: tulip}", "").await;
    let text = format!("a {WORD} for you");
    let answer = stage.client.chat(&asking(&text, false)).await;
    assert_eq!(answer.content(), ANSWER);
    assert_eq!(answer.header("x-litellm-applied-guardrails"), None);
    let report = judged(&stage, "guard", 2).await;
    assert_eq!(
        report["by_verdict"],
        json!({"allow → block": 1, "allow → edit": 1}),
        "{report}"
    );
    let status = stage.client.get("/plugins/guard").await.ok();
    assert_eq!(status["fail"], "shadow");
    let streamed = stage.client.chat(&asking("roses", true)).await;
    assert_eq!(streamed_text(&streamed.events()), ANSWER);
    let report = judged(&stage, "guard", 4).await;
    assert_eq!(report["by_verdict"]["allow → edit"], 2, "{report}");
}

#[tokio::test]
async fn an_authenticators_shadow_lets_nobody_in() {
    const RED: &str = "team-red-0123456789";
    const BLUE: &str = "team-blue-0123456789";
    let upstream = FakeUpstream::start().await;
    let teams = |list: &str| format!("settings: {{teams: {{{list}}}}}");
    let red = format!("red: {{token: {RED}}}");
    let both = format!("crimson: {{token: {RED}}}, blue: {{token: {BLUE}}}");
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_auth: custom-auth\n  custom_auth_settings: {mode: auto}\n",
    ) + &format!(
        "plugins:\n  custom-auth: {{{}, shadow: {{source: custom-auth.wasm, {}}}}}\n",
        teams(&red),
        teams(&both)
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let client = |key: &str| Client::of(&stage.gateway).key(key);
    client(RED).chat(&chat("gpt-4o")).await.ok();
    client(BLUE).chat(&chat("gpt-4o")).await.error(401);
    client(MASTER_KEY).chat(&chat("gpt-4o")).await.ok();
    // Looking is asking the authenticator, too.
    let report = eventually("both differences are told", async || {
        let report = report(&stage, "custom_auth").await;
        (report["judgements"]["different"] == 2).then_some(report)
    })
    .await;
    assert_eq!(report["by_verdict"]["deny → identity"], 1, "{report}");
    assert_eq!(report["by_verdict"]["identity → identity"], 1, "{report}");
    let differences = report["differences"].as_array().expect("a list");
    let team = differences
        .iter()
        .find(|one| one["live"]["verdict"] == "identity");
    let places = &team.expect("the team's")["differs_at"];
    assert!(places.to_string().contains("team_id"), "{report}");
    for secret in [RED, BLUE, "crimson"] {
        assert!(!report.to_string().contains(secret), "{report}");
    }
}

#[tokio::test]
async fn what_cannot_be_in_shadow_is_refused_with_the_reason() {
    let upstream = FakeUpstream::start().await;
    let base = base_config(&upstream.api_base());
    let sink = "litellm_settings:\n  success_callback: [jsonl]\nplugins:\n  jsonl: {shadow: {source: jsonl}}\n";
    let open = base.replace(
        "general_settings:\n",
        "general_settings:\n  custom_auth: custom-auth\n",
    );
    let cases = [
        (format!("{base}{sink}"), "would deliver everything twice"),
        (
            format!("{open}plugins:\n  custom-auth: {{fail: shadow}}\n"),
            "nobody could come in",
        ),
        (
            format!("{base}{}", guard(", shadow: {sample: 10}")),
            "plugins.guard.shadow.source is missing",
        ),
        (
            format!("{base}{}", guard(", shadow: {source: x.wasm, sample: 101}")),
            "0 to 100",
        ),
        (
            format!(
                "{base}{}",
                guard(", fail: shadow, shadow: {source: x.wasm}")
            ),
            "remove one of the two",
        ),
        (
            format!("{base}{}", guard(", shadow: {source: gone.wasm}")),
            "there is no file",
        ),
    ];
    for (config, reason) in cases {
        let gateway = Gateway::builder(config).file("guard.wasm", component("version-one"));
        let refusal = gateway.expect_refusal().await;
        assert!(
            refusal.output.contains(reason),
            "{reason}: {}",
            refusal.output
        );
    }
    let plain = stage("", "").await;
    let none = plain.client.get("/plugins/guard/shadow").await;
    assert_eq!(none.status, 404);
    assert!(none.text().contains("has no shadow"), "{}", none.text());
}

#[tokio::test]
async fn guardrails_run_by_their_order() {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::says(ANSWER));
    let entries: String = ["a", "b", "c"]
        .map(|name| {
            format!("  - guardrail_name: {name}\n    litellm_params: {{guardrail: {name}, mode: post_call, default_on: true, says: {name}}}\n")
        })
        .concat();
    let config = format!(
        "{}guardrails:\n{entries}plugins:\n  a: {{source: version-one.wasm, order: 5}}\n  b: {{source: version-one.wasm}}\n  c: {{source: version-one.wasm, order: -1}}\n",
        base_config(&upstream.api_base())
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    assert_eq!(answer(&stage).await, format!("[a] [b] [c] {ANSWER}"));
}
