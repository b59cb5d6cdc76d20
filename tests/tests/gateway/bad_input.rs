//! Requests no sane client sends. Each gets a clear error in OpenAI's shape (or a closed
//! connection), nothing leaks, and the next request is served as if nothing had been.

use std::time::Duration;

use witgate_testkit::{FakeUpstream, Gateway, RawResponse};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat};

fn head(extra: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {MASTER_KEY}\r\n{extra}\r\n"
    )
}

async fn send(stage: &Stage, bytes: impl AsRef<[u8]>) -> Option<RawResponse> {
    let mut connection = stage.gateway.connect().await;
    connection.send(bytes).await;
    connection.response().await
}

/// The gateway lives, serves, did not panic and leaked no key.
async fn unharmed(stage: &Stage) {
    stage.client.chat(&chat("gpt-4o")).await.ok();
    for bad in ["panicked", MASTER_KEY, UPSTREAM_KEY] {
        assert!(!stage.gateway.printed(bad), "the log has {bad:?}");
    }
}

/// Bodies that are no JSON objects.
const BROKEN_BODIES: [(&str, &[u8]); 12] = [
    ("empty", b""),
    ("cut off", br#"{"model":"gpt-4o","messages":["#),
    ("trailing comma", br#"{"model":"gpt-4o","messages":[],}"#),
    ("two values", br#"{"model":"gpt-4o","messages":[]}{"a":1}"#),
    ("array", br#"[{"model":"gpt-4o"}]"#),
    ("string", br#""gpt-4o""#),
    ("number", b"42"),
    ("null", b"null"),
    (
        "bad UTF-8",
        b"{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}",
    ),
    (
        "bare control character",
        b"{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":\"a\x00b\"}]}",
    ),
    ("single quotes", b"{'model':'gpt-4o'}"),
    (
        "bad escape",
        br#"{"model":"gpt-4o","messages":[{"role":"user","content":"\x41"}]}"#,
    ),
];

#[tokio::test]
async fn broken_json_is_refused_with_the_reason() {
    let stage = Stage::plain().await;
    for (name, body) in BROKEN_BODIES {
        let answer = stage.client.post_bytes("/v1/chat/completions", body).await;
        let error = answer.error(400);
        // An empty body is an empty object, and that has no model.
        if name != "empty" {
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.contains("JSON"), "{name}: {message}");
        }
    }
    assert!(stage.upstream.requests().is_empty());
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_nest_too_deep_does_no_harm() {
    let stage = Stage::plain().await;
    let deep = format!(
        r#"{{"model":"gpt-4o","messages":{}{}}}"#,
        "[".repeat(200_000),
        "]".repeat(200_000)
    );
    let answer = stage.client.post_bytes("/v1/chat/completions", deep).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    unharmed(&stage).await;
}

#[tokio::test]
async fn the_wrong_content_type_with_a_wrong_body_is_named() {
    let stage = Stage::plain().await;
    let form = "model=gpt-4o&messages=hi";
    let extra = format!(
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n",
        form.len()
    );
    let answer = send(&stage, head(&extra) + form).await.expect("an answer");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("application/json"),
        "{}",
        answer.text()
    );
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_body_of_a_gigabyte_is_refused_before_it_is_read() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  max_request_size_mb: 1\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let mut connection = stage.gateway.connect().await;
    connection
        .send(head(
            "content-type: application/json\r\ncontent-length: 1073741824\r\n",
        ))
        .await;
    let answer = connection
        .response()
        .await
        .expect("an answer before the body is sent");
    assert!(
        answer.status == 400 || answer.status == 413,
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("too large"), "{}", answer.text());
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_gigabyte_without_a_length_is_cut_off_while_it_comes() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  max_request_size_mb: 1\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let mut connection = stage.gateway.connect().await;
    connection
        .send(head(
            "content-type: application/json\r\ntransfer-encoding: chunked\r\n",
        ))
        .await;
    let block = "x".repeat(64 << 10);
    let chunk = format!("{:x}\r\n{block}\r\n", block.len());
    // A gigabyte in all. What the sockets' buffers hold comes on top of what the gateway reads.
    let sent = connection
        .send_until_answered(chunk.as_bytes(), 16 << 10)
        .await;
    assert!(sent < 512, "{} MB were taken", sent / 16);
    let answer = connection
        .response()
        .await
        .expect("an answer while the body is sent");
    assert!(
        answer.status == 400 || answer.status == 413,
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("1.00 MB"), "{}", answer.text());
    unharmed(&stage).await;
}

#[tokio::test]
async fn without_any_limit_in_the_config_a_gigabyte_is_still_refused() {
    let stage = Stage::plain().await;
    let mut connection = stage.gateway.connect().await;
    connection
        .send(head(
            "content-type: application/json\r\ncontent-length: 1073741824\r\n",
        ))
        .await;
    let answer = connection
        .response()
        .await
        .expect("an answer before the body is sent");
    assert!(
        answer.status == 400 || answer.status == 413,
        "{}",
        answer.text()
    );
    unharmed(&stage).await;
}

#[tokio::test]
async fn slow_bodies_hold_up_nobody_else() {
    let stage = Stage::plain().await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = stage.gateway.connect().await;
        connection
            .send(head(
                "content-type: application/json\r\ncontent-length: 1000\r\n",
            ))
            .await;
        connection.send(r#"{"model""#).await;
        slow.push(connection);
    }
    for _ in 0..5 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    drop(slow);
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_call() {
    let stage = Stage::plain().await;
    let mut connection = stage.gateway.connect().await;
    connection
        .send(head(
            "content-type: application/json\r\ncontent-length: 1000\r\n",
        ))
        .await;
    connection.send(chat("gpt-4o").to_string()).await;
    connection.finish_sending().await;
    if let Some(answer) = connection.response().await {
        assert!((400..500).contains(&answer.status), "{}", answer.text());
    }
    assert!(stage.upstream.requests().is_empty());
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_flood_of_headers_is_refused() {
    let stage = Stage::plain().await;
    let many: String = (0..5000).map(|n| format!("x-flood-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "a".repeat(2 << 20));
    for (name, extra) in [("many", many), ("long", long)] {
        // The server may close while we still send; then there is no answer to read.
        if let Some(answer) = send(&stage, head(&extra)).await {
            assert_eq!(answer.status, 431, "{name}: {}", answer.text());
        }
    }
    assert!(stage.upstream.requests().is_empty());
    unharmed(&stage).await;
}

#[tokio::test]
async fn garbage_instead_of_http_is_refused() {
    let stage = Stage::plain().await;
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is a TLS hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions\r\n\r\n",
        b"\x00\x00\x00\x00\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: a\r\nbad header line\r\n\r\n",
    ];
    for bytes in garbage {
        if let Some(answer) = send(&stage, bytes).await {
            assert!(
                (400..600).contains(&answer.status),
                "{bytes:?}: {}",
                answer.status
            );
        }
    }
    unharmed(&stage).await;
}

#[tokio::test]
async fn smuggled_lengths_are_refused() {
    let stage = Stage::plain().await;
    let body = chat("gpt-4o").to_string();
    let two_lengths = format!("content-length: {}\r\ncontent-length: 5\r\n", body.len());
    let both = format!(
        "content-length: {}\r\ntransfer-encoding: chunked\r\n",
        body.len()
    );
    let negative = "content-length: -1\r\n".to_owned();
    for extra in [two_lengths, both, negative] {
        let mut connection = stage.gateway.connect().await;
        connection
            .send(head(&extra) + &body + "GET /v1/models HTTP/1.1\r\nhost: smuggled\r\n\r\n")
            .await;
        if let Some(answer) = connection.response().await {
            assert!(
                (400..500).contains(&answer.status),
                "{extra}: {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_client_that_says_nothing_is_sent_away() {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(base_config(&upstream.api_base())).env("KEEPALIVE_TIMEOUT", "1");
    let stage = Stage::of(upstream, gateway).await;
    let mut silent = stage.gateway.connect().await;
    assert!(
        silent.closes_within(Duration::from_secs(25)).await,
        "an idle connection stays open for ever"
    );
    let mut half = stage.gateway.connect().await;
    half.send("POST /v1/chat/completions HTTP/1.1\r\nhost:")
        .await;
    assert!(
        half.closes_within(Duration::from_secs(25)).await,
        "half a head keeps a connection open for ever"
    );
    unharmed(&stage).await;
}

#[tokio::test]
async fn a_missing_key_costs_no_upstream_call_whatever_the_body() {
    let stage = Stage::plain().await;
    let anybody = Client::of(&stage.gateway);
    for (_, body) in BROKEN_BODIES {
        let answer = anybody.post_bytes("/v1/chat/completions", body).await;
        assert!(
            answer.status == 401 || answer.status == 400,
            "{}",
            answer.text()
        );
    }
    assert_eq!(anybody.chat(&chat("gpt-4o")).await.status, 401);
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn strange_paths_do_no_harm() {
    let stage = Stage::plain().await;
    for path in [
        "/../../etc/passwd",
        "/v1//chat/completions",
        "/%00",
        "/%ff%fe",
        "/v1/models/%2e%2e%2f",
        "//",
        "/engines//chat/completions",
        "/?%",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MASTER_KEY}\r\n\r\n");
        if let Some(answer) = send(&stage, request).await {
            assert!(
                (200..500).contains(&answer.status),
                "{path}: {}",
                answer.status
            );
            assert!(!answer.text().contains("root:"), "{path}");
        }
    }
    unharmed(&stage).await;
}
