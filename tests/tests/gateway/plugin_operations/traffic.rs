//! Fifty swaps under traffic: no request fails, and none passes unjudged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use super::{ANSWER, change, component, guard, put};
use crate::support::{Client, Stage, base_config, chat, chat_stream, streamed_text};

const SWAPS: usize = 50;

/// Which version judged this text; a second guardrail may have judged it, too.
#[track_caller]
fn judge(text: &str) -> &'static str {
    let rest = text.strip_prefix("[second] ").unwrap_or(text);
    let versions = ["one", "two"];
    let found = versions
        .into_iter()
        .find(|v| rest == format!("[{v}] {ANSWER}"));
    found.unwrap_or_else(|| panic!("judged by no version, or by several: {text:?}"))
}

/// Asks until it is told to stop; how many answers each version judged.
async fn caller(
    client: Client,
    stream: bool,
    done: Arc<AtomicBool>,
) -> BTreeMap<&'static str, usize> {
    let mut judged = BTreeMap::new();
    while !done.load(Ordering::Relaxed) {
        let text = match stream {
            false => client.chat(&chat("gpt-4o")).await.content(),
            true => {
                let answer = client.chat(&chat_stream("gpt-4o")).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let events = answer.events();
                assert_eq!(
                    events.last().map(String::as_str),
                    Some("[DONE]"),
                    "{events:?}"
                );
                streamed_text(&events)
            }
        };
        *judged.entry(judge(&text)).or_default() += 1;
    }
    judged
}

#[tokio::test]
async fn fifty_swaps_under_traffic_fail_no_request_and_let_none_pass() {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::says(ANSWER));
    let second = "  - guardrail_name: second\n    litellm_params: {guardrail: version-one, mode: post_call, default_on: true, says: second}\nplugins:\n";
    let config = base_config(&upstream.api_base()) + &guard("").replace("plugins:\n", second);
    let gateway = Gateway::builder(config).file("guard.wasm", component("version-one"));
    let stage = Stage::of(upstream, gateway).await;
    let done = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..6)
        .map(|n| tokio::spawn(caller(stage.client.clone(), n % 3 == 0, done.clone())))
        .collect();

    let switch = async |what: &str| {
        let path = format!("/plugins/second/{what}");
        stage.client.request(Method::POST, &path).await.ok();
    };
    for n in 0..SWAPS {
        match n % 5 {
            0 | 2 => {
                put(
                    &stage,
                    &component(if n % 2 == 0 {
                        "version-two"
                    } else {
                        "version-one"
                    }),
                );
                change(&stage, "reload").await;
            }
            1 => drop(change(&stage, "rollback").await),
            3 => switch("disable?force=true").await,
            _ => switch("enable").await,
        }
    }

    done.store(true, Ordering::Relaxed);
    let mut judged: BTreeMap<&str, usize> = BTreeMap::new();
    for caller in callers {
        for (version, count) in caller.await.expect("no caller failed") {
            *judged.entry(version).or_default() += count;
        }
    }
    assert!(judged.len() == 2, "both versions judged: {judged:?}");
    let metrics = stage.gateway.metrics().await;
    let failed = metrics.text().lines().find(|line| {
        line.starts_with("witgate_plugin_calls_total{plugin=\"guard\"")
            && !line.contains("outcome=\"ok\"")
            && !line.ends_with(" 0")
    });
    assert_eq!(failed, None, "the guardrail never failed");
}

#[tokio::test]
async fn a_stream_is_judged_to_its_end_by_the_version_it_began_with() {
    let stage = super::stage("", "").await;
    let gate = witgate_testkit::Gate::new();
    let frames = witgate_testkit::openai::chat_frames("gpt-4o", ANSWER);
    stage.upstream.next(Reply::gated_stream(&frames, &gate));
    // The head is sent when the first text is there, and with it the stream is in a version's hands.
    gate.release();
    gate.release();
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    let mut events = Vec::new();
    events.push(stream.next().await.expect("an event").expect("whole"));
    put(&stage, &component("version-two"));
    assert_eq!(change(&stage, "reload").await["version"], "2.0.0");
    assert_eq!(super::answer(&stage).await, super::by("two"));
    gate.open();
    while let Some(event) = stream.next().await {
        events.push(event.expect("whole"));
    }
    assert_eq!(streamed_text(&events), super::by("one"));
}

#[tokio::test]
async fn a_log_sinks_queue_outlives_a_swap() {
    let more = "litellm_settings:\n  success_callback: [jsonl]\ncallback_settings:\n  jsonl: {flush_interval: 3600}\n";
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("events.jsonl");
    let config = base_config(&upstream.api_base())
        + more
        + &format!(
            "plugins:\n  jsonl: {{grants: {{files: {{events: '{}'}}}}}}\n",
            file.display()
        );
    let mut stage = Stage::of(upstream, Gateway::builder(config)).await;
    for _ in 0..3 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    stage.gateway.wait_for_spend_rows(3).await;
    let swapped = stage
        .client
        .request(Method::POST, "/plugins/jsonl/reload")
        .await;
    swapped.ok();
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert!(stage.gateway.stop().await.success());
    let written = std::fs::read_to_string(file);
    assert_eq!(written.expect("the sink wrote").lines().count(), 4);
}
