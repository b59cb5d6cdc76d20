//! Upstreams that break every promise. The client gets a clear error in time; no panic, no leak.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply, openai};

use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, chat, chat_stream};

async fn unharmed(stage: &Stage) {
    stage.client.chat(&chat("gpt-4o")).await.ok();
    for bad in ["panicked", MASTER_KEY, UPSTREAM_KEY] {
        assert!(!stage.gateway.printed(bad), "the log has {bad:?}");
    }
}

fn json_head(length: usize) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n")
}

#[tokio::test]
async fn a_broken_answer_is_a_connection_error() {
    let stage = Stage::plain().await;
    let whole = openai::chat_completion("gpt-4o", "hi").to_string();
    let replies = [
        ("reset before the answer", Reply::nothing().then_reset()),
        ("close before the answer", Reply::nothing().then_close()),
        (
            "reset in the body",
            Reply::bytes(json_head(whole.len()) + &whole[..40]).then_reset(),
        ),
        (
            "a length too large",
            Reply::bytes(json_head(whole.len() + 100) + &whole).then_close(),
        ),
        (
            "a length too small",
            Reply::bytes(json_head(20) + &whole).then_close(),
        ),
        (
            "no HTTP",
            Reply::bytes("SSH-2.0-OpenSSH_9.2\r\n").then_close(),
        ),
        (
            "half a head",
            Reply::bytes("HTTP/1.1 200 OK\r\ncontent-ty").then_close(),
        ),
        (
            "a bad chunk",
            Reply::bytes("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n")
                .then_close(),
        ),
        (
            "no JSON",
            Reply::status(
                200,
                &[("content-type", "application/json")],
                "<html>busy</html>",
            ),
        ),
        (
            "an empty answer",
            Reply::status(200, &[("content-type", "application/json")], ""),
        ),
    ];
    for (name, reply) in replies {
        stage.upstream.next(reply);
        let answer = stage.client.chat(&chat("gpt-4o")).await;
        assert!(
            answer.status >= 500,
            "{name}: {} {}",
            answer.status,
            answer.text()
        );
        let error = answer.error(answer.status);
        assert!(
            error["message"]
                .as_str()
                .unwrap_or_default()
                .contains("litellm."),
            "{name}: {error}"
        );
        assert!(
            !answer.text().contains(UPSTREAM_KEY),
            "{name}: {}",
            answer.text()
        );
    }
    unharmed(&stage).await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_connection_error() {
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: 'http://127.0.0.1:1/v1', api_key: {UPSTREAM_KEY}}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n"
    );
    let stage = Stage::of(FakeUpstream::start().await, Gateway::builder(config)).await;
    let error = stage.client.chat(&chat("gpt-4o")).await.error(500);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("litellm.APIConnectionError"),
        "{error}"
    );
}

fn config_with_timeouts(api_base: &str) -> String {
    format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, timeout: 1, stream_timeout: 1}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n"
    )
}

#[tokio::test]
async fn a_stall_before_the_answer_is_a_timeout() {
    let upstream = FakeUpstream::start().await;
    let config = config_with_timeouts(&upstream.api_base());
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    for body in [chat("gpt-4o"), chat_stream("gpt-4o")] {
        stage.upstream.next(Reply::nothing().then_stall());
        let error = stage.client.chat(&body).await.error(408);
        assert!(
            error["message"]
                .as_str()
                .unwrap_or_default()
                .contains("litellm.Timeout"),
            "{error}"
        );
    }
    // Both calls were given up, not left hanging.
    stage.upstream.departures().wait_for(2).await;
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_stall_in_the_body_is_a_timeout_too() {
    let upstream = FakeUpstream::start().await;
    let config = config_with_timeouts(&upstream.api_base());
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage
        .upstream
        .next(Reply::bytes(json_head(1000) + "{\"id\":").then_stall());
    stage.client.chat(&chat("gpt-4o")).await.error(408);
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_stall_mid_stream_ends_with_an_error_frame() {
    let upstream = FakeUpstream::start().await;
    let config = config_with_timeouts(&upstream.api_base());
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage
        .upstream
        .next(Reply::open_stream(&[openai::content_frame("gpt-4o", "partial")]).then_stall());
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    assert_eq!(stream.status, 200);
    let events = stream.rest().await;
    assert!(events[0].contains("partial"), "{events:#?}");
    let last: Value = serde_json::from_str(events.last().expect("an error frame"))
        .expect("the error frame is JSON");
    assert!(last["error"]["message"].is_string(), "{events:#?}");
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_slow_answer_within_the_timeout_is_waited_for() {
    let stage = Stage::plain().await;
    stage
        .upstream
        .next(Reply::openai().after(Duration::from_millis(300)));
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn half_a_frame_is_not_passed_on() {
    let stage = Stage::plain().await;
    let frame = openai::content_frame("gpt-4o", "whole");
    let half = &frame[..frame.len() / 2];
    let reply = Reply::open_stream(&[&frame])
        .then_chunk(&format!("data: {half}"))
        .then_close();
    stage.upstream.next(reply);
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert!(events[0].contains("whole"), "{events:#?}");
    for event in &events {
        assert!(
            event == "[DONE]" || serde_json::from_str::<Value>(event).is_ok(),
            "half a frame came through: {event}"
        );
    }
    let last: Value =
        serde_json::from_str(events.last().expect("an error frame")).unwrap_or_default();
    assert!(
        last["error"].is_object(),
        "a cut stream looks whole: {events:#?}"
    );
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_stream_where_none_was_asked_for_and_the_reverse_are_errors_or_handled() {
    let stage = Stage::plain().await;
    stage
        .upstream
        .next(Reply::stream(&openai::chat_frames("gpt-4o", "unasked")));
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert!(
        answer.status >= 500,
        "an event stream was passed off as a completion: {}",
        answer.text()
    );
    answer.error(answer.status);

    stage.upstream.next(Reply::json(
        200,
        &openai::chat_completion("gpt-4o", "not streamed"),
    ));
    let answer = stage.client.chat(&chat_stream("gpt-4o")).await;
    // Either an honest error, or the completion re-told as a stream: never a hang, never nothing.
    assert!(
        answer.status >= 500 || answer.text().contains("not streamed"),
        "{} {}",
        answer.status,
        answer.text()
    );
    unharmed(&stage).await;
}

#[tokio::test]
async fn an_endless_frame_is_cut_off() {
    let stage = Stage::plain().await;
    let mut reply = Reply::open_stream(&[openai::content_frame("gpt-4o", "start")]);
    let block = "x".repeat(1 << 20);
    for _ in 0..96 {
        reply = reply.then_chunk(&block);
    }
    stage.upstream.next(reply.then_stall());
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    let events = stream.rest().await;
    let last: Value =
        serde_json::from_str(events.last().expect("an error frame")).unwrap_or_default();
    assert!(last["error"].is_object(), "{} events", events.len());
    unharmed(&stage).await;
}

#[tokio::test]
async fn an_error_that_is_not_json_keeps_its_status_and_a_bounded_text() {
    let stage = Stage::plain().await;
    let page = format!("<html>{}</html>", "gateway time-out ".repeat(100_000));
    stage
        .upstream
        .next(Reply::status(502, &[("content-type", "text/html")], page));
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.error(502);
    assert!(
        answer.body.len() < 64 << 10,
        "{} bytes of the upstream's page were passed on",
        answer.body.len()
    );
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let stage = Stage::plain().await;
    let elsewhere = FakeUpstream::start().await;
    let target = format!("{}/v1/chat/completions", elsewhere.origin());
    stage
        .upstream
        .next(Reply::status(307, &[("location", &target)], ""));
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert!(
        elsewhere.requests().is_empty(),
        "the credential went to another server"
    );
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_list_of_choices_of_the_wrong_type_does_no_harm() {
    let stage = Stage::plain().await;
    for body in [
        json!({"choices": "none"}),
        json!({"choices": [null]}),
        json!({"usage": {"prompt_tokens": "many"}}),
        json!({"usage": [1]}),
    ] {
        stage.upstream.next(Reply::json(200, &body));
        let answer = stage.client.chat(&chat("gpt-4o")).await;
        assert!(
            answer.status == 200 || answer.status >= 500,
            "{body}: {}",
            answer.text()
        );
        stage
            .upstream
            .next(Reply::stream(&[body.to_string(), "[DONE]".to_owned()]));
        let answer = stage.client.chat(&chat_stream("gpt-4o")).await;
        assert!(
            answer.status == 200 || answer.status >= 500,
            "{body}: {}",
            answer.text()
        );
    }
    unharmed(&stage).await;
}
