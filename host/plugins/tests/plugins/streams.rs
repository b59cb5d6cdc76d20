//! Guardrails on streams: an instance of its own for each.

use serde_json::json;
use witgate_plugins::{Fault, Phase, StreamGuard, StreamVerdict};

use crate::support::{call, guardrail, guardrail_with, stage, until};

async fn open(guardrail: &witgate_plugins::Guardrail) -> StreamGuard {
    guardrail
        .open_stream(call(Phase::PostCall))
        .await
        .unwrap()
        .unwrap()
}

fn released(verdict: StreamVerdict) -> String {
    match verdict {
        StreamVerdict::Release(text) => text,
        StreamVerdict::Block(block) => panic!("{block:?}"),
    }
}

#[tokio::test]
async fn what_is_released_is_the_text_without_its_secrets() {
    let guardrail = guardrail("stream-mask", "hide-secrets", json!({})).await;
    let mut stream = open(&guardrail).await;
    let text =
        "The key AKIAIOSFODNN7EXAMPLE is in the second sentence of this text. And then some more.";
    let mut out = String::new();
    for piece in text.as_bytes().chunks(7) {
        out += &released(
            stream
                .push(0, std::str::from_utf8(piece).unwrap())
                .await
                .unwrap(),
        );
    }
    out += &released(stream.finish(0).await.unwrap());
    assert!(
        out.starts_with("The key ")
            && out.ends_with(" is in the second sentence of this text. And then some more."),
        "{out}"
    );
    assert!(!out.contains("AKIA"), "{out}");
    let found = stream.findings().await.unwrap();
    assert_eq!(found.iter().map(|finding| finding.count).sum::<u32>(), 1);
}

#[tokio::test]
async fn streams_interleave_and_their_instances_are_used_again() {
    let guardrail = guardrail("stream-many", "hide-secrets", json!({})).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(open(&guardrail).await);
    }
    for stream in &mut streams {
        released(stream.push(0, "hello ").await.unwrap());
    }
    let busy = || {
        stage().count(
            "witgate_plugin_instances",
            &[("plugin", "stream-many"), ("state", "busy")],
        )
    };
    assert_eq!(busy(), 20.0);
    drop(streams);
    until(|| busy() == 0.0).await;
    let made = stage().count(
        "witgate_plugin_instantiations_total",
        &[("plugin", "stream-many")],
    );
    open(&guardrail).await;
    assert_eq!(
        stage().count(
            "witgate_plugin_instantiations_total",
            &[("plugin", "stream-many")]
        ),
        made,
        "an instance that served a stream serves the next"
    );
}

#[tokio::test]
async fn a_guardrail_may_want_the_whole_answer() {
    let guardrail = guardrail("stream-none", "hostile-ok", json!({"streaming": false})).await;
    assert!(
        guardrail
            .open_stream(call(Phase::PostCall))
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn a_trap_ends_that_stream_only() {
    let guardrail = guardrail("stream-trap", "hostile-panic", json!({"streaming": true})).await;
    let (mut one, mut other) = (open(&guardrail).await, open(&guardrail).await);
    let error = one.push(0, "x").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Trap { .. }), "{error}");
    let again = one.push(0, "x").await.unwrap_err();
    assert!(matches!(again.fault, Fault::Unloaded(_)), "{again}");
    assert!(other.findings().await.unwrap().is_empty());
}

#[tokio::test]
async fn there_is_a_most_of_streams() {
    let guardrail = guardrail_with("stream-most", "hide-secrets", json!({}), |spec| {
        spec.limits.max_streams = Some(2);
        spec.limits.queue_timeout_ms = Some(20);
    })
    .await;
    let held = (open(&guardrail).await, open(&guardrail).await);
    let error = guardrail
        .open_stream(call(Phase::PostCall))
        .await
        .unwrap_err();
    assert!(matches!(error.fault, Fault::Overloaded), "{error}");
    // Complete calls have places of their own.
    crate::support::check(&guardrail, "x").await.unwrap();
    drop(held);
    until(|| {
        stage().count(
            "witgate_plugin_instances",
            &[("plugin", "stream-most"), ("state", "busy")],
        ) == 0.0
    })
    .await;
    open(&guardrail).await;
}
