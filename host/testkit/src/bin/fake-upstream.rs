//! The fake upstream as a process: for the SDK tests and the bench.
//!
//! `fake-upstream [--listen 127.0.0.1:0] [--bench]` prints `listening on http://ADDRESS`, then
//! serves until it is killed. Scenarios are chosen by model name (see [`scenarios`]); `--bench`
//! serves the two canned answers of the load tests as fast as it can and records nothing.
#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a tool of the tests: its one line on stdout is its interface"
)]

use std::time::Duration;

use witgate_testkit::{FakeUpstream, Reply, openai};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let listen = args
        .iter()
        .position(|arg| arg == "--listen")
        .and_then(|at| args.get(at + 1))
        .map_or("127.0.0.1:0", String::as_str);
    if args.iter().any(|arg| arg == "--bench") {
        let server = witgate_testkit::BenchUpstream::start_at(listen).await;
        serve(&server.origin()).await;
    } else {
        let upstream = FakeUpstream::start_at(listen).await;
        scenarios(&upstream);
        serve(&upstream.origin()).await;
    }
}

async fn serve(origin: &str) {
    println!("listening on {origin}");
    tokio::signal::ctrl_c().await.expect("wait for control-C");
}

/// What the SDK tests ask for by model name; every other model answers normally.
fn scenarios(upstream: &FakeUpstream) {
    let error = |status, kind, code, message| Reply::error(status, kind, code, message);
    upstream
        .on_model("echo", Reply::echo())
        .on_model(
            "bad-request",
            error(
                400,
                "invalid_request_error",
                None,
                "temperature is out of range",
            ),
        )
        .on_model(
            "bad-key",
            error(
                401,
                "invalid_request_error",
                Some("invalid_api_key"),
                "Incorrect API key provided",
            ),
        )
        .on_model(
            "forbidden",
            error(403, "permission_error", None, "not for you"),
        )
        .on_model(
            "not-found",
            error(
                404,
                "invalid_request_error",
                Some("model_not_found"),
                "The model does not exist",
            ),
        )
        .on_model(
            "unprocessable",
            error(422, "invalid_request_error", None, "cannot process"),
        )
        .on_model("rate-limited", rate_limited())
        .on_model(
            "broken",
            error(500, "server_error", None, "The server had an error"),
        )
        .on_model(
            "overloaded",
            error(503, "server_error", None, "The engine is overloaded"),
        )
        .on_model("slow", Reply::openai().after(Duration::from_secs(60)))
        .on_model("error-mid-stream", error_mid_stream());
}

fn rate_limited() -> Reply {
    let body = r#"{"error":{"message":"Rate limit reached","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#;
    Reply::status(
        429,
        &[("content-type", "application/json"), ("retry-after", "7")],
        body,
    )
}

fn error_mid_stream() -> Reply {
    let frames = [
        openai::content_frame("error-mid-stream", "partial"),
        r#"{"error":{"message":"the model broke","type":"server_error","param":null,"code":null}}"#
            .to_owned(),
    ];
    Reply::stream(&frames)
}
