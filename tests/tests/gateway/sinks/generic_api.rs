//! `generic_api`: any endpoint, with the headers and in the format that are configured.

use std::time::Duration;

use serde_json::Value;
use witgate_testkit::{FakeVendor, Recorded, Reply, openai};

use super::{dropped, stage, taken};
use crate::guardrails::{SECRET as LEAKED, hide_secrets};
use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, chat, chat_stream};

const SECRET: &str = "Bearer hook-secret-777";

/// Takes an array or lines of events with the right headers.
async fn endpoint() -> FakeVendor {
    FakeVendor::start(|request: &Recorded| {
        let want = |name: &str, value: &str| match request.header(name) {
            Some(given) if given == value => Ok(()),
            given => Err((401, format!("{name} is {given:?}, not {value:?}"))),
        };
        if request.method == "HEAD" {
            return Ok((Reply::status(200, &[], ""), Vec::new()));
        }
        want("authorization", SECRET)?;
        want("x-tenant", "a=b")?;
        if request.method != "POST" || request.target != "/hook?v=1" {
            return Err((404, format!("{} {}", request.method, request.target)));
        }
        let text = String::from_utf8_lossy(&request.body);
        let events: Result<Vec<Value>, _> = match request.header("content-type") {
            Some("application/x-ndjson") => text.lines().map(serde_json::from_str).collect(),
            Some("application/json") => serde_json::from_str(&text).map(|one| match one {
                Value::Array(events) => events,
                one => vec![one],
            }),
            other => return Err((415, format!("content-type {other:?}"))),
        };
        let events = events.map_err(|error| (400, error.to_string()))?;
        Ok((Reply::status(200, &[], "thanks"), events))
    })
    .await
}

/// With the configuration of a sink called `hook`, which delivers at once.
async fn hook(vendor: &FakeVendor, list: &str, more: &str) -> Stage {
    hook_every("0.05", vendor, list, more).await
}

/// The same with this flush interval, seconds.
async fn hook_every(interval: &str, vendor: &FakeVendor, list: &str, more: &str) -> Stage {
    let config = format!("litellm_settings:\n  {list}: [hook]\n");
    start(config + &settings(interval, vendor, more)).await
}

/// The settings of the sink.
fn settings(interval: &str, vendor: &FakeVendor, more: &str) -> String {
    format!(
        "callback_settings:\n  hook: {{callback_type: generic_api, endpoint: '{}/hook?v=1', \
         headers: {{Authorization: os.environ/HOOK_SECRET, X-Tenant: 'a=b'}}, flush_interval: {interval}{more}}}\n",
        vendor.origin()
    )
}

async fn start(config: String) -> Stage {
    stage(&config, |gateway| gateway.env("HOOK_SECRET", SECRET)).await
}

#[tokio::test]
async fn events_arrive_as_an_array_under_a_name_of_its_own() {
    let vendor = endpoint().await;
    let stage = hook(&vendor, "callbacks", "").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "broken"));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let events = taken(&vendor, 2).await;
    assert_eq!(events[0]["status"], "success", "{}", events[0]);
    assert_eq!(events[0]["total_tokens"], 18, "{}", events[0]);
    assert_eq!(events[1]["status"], "failure", "{}", events[1]);
    let request = vendor.requests().all().remove(0);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert!(request.body.starts_with(b"[{"), "{:?}", request.body);
    let everything = Value::from(events).to_string();
    for secret in [MASTER_KEY, UPSTREAM_KEY, SECRET] {
        assert!(!everything.contains(secret), "an event holds {secret}");
    }
    assert!(!everything.contains("\"raw_"), "{everything}");
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(!gateway.printed("hook-secret-777"));
}

#[tokio::test]
async fn litellms_own_names_and_variables_lead_to_it() {
    let vendor = endpoint().await;
    for name in ["generic_api", "generic"] {
        let config = format!(
            "litellm_settings:\n  success_callback: [{name}]\n  generic_logger_headers: {{Authorization: os.environ/HOOK_SECRET, X-Tenant: 'a=b'}}\n"
        );
        let stage = stage(&config, |gateway| {
            gateway
                .env("HOOK_SECRET", SECRET)
                .env("DEFAULT_FLUSH_INTERVAL_SECONDS", "0.05")
                .env(
                    "GENERIC_LOGGER_ENDPOINT",
                    format!("{}/hook?v=1", vendor.origin()),
                )
        })
        .await;
        let seen = vendor.taken().len();
        stage.client.chat(&chat("gpt-4o")).await.ok();
        taken(&vendor, seen + 1).await;
    }
    let config = "litellm_settings:\n  success_callback: [generic_api]\n";
    let stage = stage(config, |gateway| {
        gateway
            .env(
                "GENERIC_LOGGER_HEADERS",
                format!("Authorization={SECRET},X-Tenant=a=b"),
            )
            .env("DEFAULT_FLUSH_INTERVAL_SECONDS", "0.05")
            .env(
                "GENERIC_LOGGER_ENDPOINT",
                format!("{}/hook?v=1", vendor.origin()),
            )
    })
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    taken(&vendor, 3).await;
}

#[tokio::test]
async fn the_format_is_the_configured_one() {
    for format in ["ndjson", "single", "json_array"] {
        let vendor = endpoint().await;
        let more = format!(", log_format: {format}, batch_size: 3");
        let stage = hook(&vendor, "callbacks", &more).await;
        let (a, b, c) = (chat("gpt-4o"), chat("gpt-4o"), chat("gpt-4o"));
        tokio::join!(
            stage.client.chat(&a),
            stage.client.chat(&b),
            stage.client.chat(&c)
        );
        taken(&vendor, 3).await;
        let seen = vendor.requests().all();
        if format == "single" {
            assert_eq!(seen.len(), 3);
            assert!(seen.iter().all(|request| request.json().is_object()));
        } else {
            assert!(seen.len() <= 3, "{}", seen.len());
        }
        if format == "ndjson" {
            assert_eq!(seen[0].header("content-type"), Some("application/x-ndjson"));
        }
    }
}

#[tokio::test]
async fn only_the_chosen_events_are_posted() {
    let vendor = endpoint().await;
    let stage = hook(&vendor, "callbacks", ", event_types: [llm_api_failure]").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "broken"));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let events = taken(&vendor, 1).await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert_eq!(events[0]["status"], "failure");
    assert_eq!(vendor.taken().len(), 1);
}

#[tokio::test]
async fn trouble_is_tried_again_and_a_refusal_is_final() {
    let vendor = endpoint().await;
    let stage = hook(&vendor, "callbacks", ", timeout: 0.3").await;
    vendor
        .next(Reply::status(429, &[("retry-after", "1")], "slow down"))
        .next(Reply::status(500, &[], "broken"))
        .next(Reply::nothing().then_reset())
        .next(Reply::nothing().after(Duration::from_secs(60)));
    stage.client.chat(&chat("gpt-4o")).await.ok();
    taken(&vendor, 1).await;
    let seen = vendor.requests().all();
    assert!(seen.len() >= 4, "{} requests", seen.len());
    let waited = seen[1].at.duration_since(seen[0].at);
    assert!(waited >= Duration::from_secs(1), "retry-after: {waited:?}");

    vendor.next(Reply::status(422, &[], "not like this"));
    stage.client.chat(&chat("gpt-4o")).await.ok();
    dropped(&stage, "hook").await;
    stage.gateway.wait_for_log("not like this").await;
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_halves() {
    let vendor = endpoint().await;
    // Only a full batch is sent, so that there is something to halve.
    let stage = hook_every("600", &vendor, "callbacks", ", batch_size: 4").await;
    vendor.next(Reply::status(413, &[], "too large"));
    for _ in 0..4 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    taken(&vendor, 4).await;
    let ids: std::collections::BTreeSet<String> = vendor
        .taken()
        .all()
        .iter()
        .map(|event| event["id"].to_string())
        .collect();
    assert_eq!(ids.len(), 4, "each event once");
    assert_eq!(vendor.requests().len(), 3, "all, then two halves");
}

#[tokio::test]
async fn a_missing_endpoint_is_told_before_anything_is_served() {
    let upstream = witgate_testkit::FakeUpstream::start().await;
    let config = crate::support::base_config(&upstream.api_base())
        + "litellm_settings:\n  callbacks: [generic_api]\n";
    let refusal = witgate_testkit::Gateway::builder(config)
        .expect_refusal()
        .await;
    for told in ["endpoint", "GENERIC_LOGGER_ENDPOINT"] {
        assert!(refusal.output.contains(told), "{}", refusal.output);
    }
}

#[tokio::test]
async fn streams_are_kept_from_sinks_and_not_from_the_ledger() {
    let vendor = endpoint().await;
    let list = "disable_streaming_logging: true\n  success_callback";
    let stage = hook(&vendor, list, "").await;
    stage.client.chat(&chat_stream("gpt-4o")).await;
    let rows = stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(rows[0]["status"], "success");
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let event = taken(&vendor, 1).await.remove(0);
    assert!(event["stream"].is_null(), "{event}");
}

/// With what goes to the upstream and comes back in the events, and further settings.
async fn raw(vendor: &FakeVendor, litellm: &str, more: &str) -> Stage {
    let config = format!(
        "{more}litellm_settings: {{log_raw_request_response: true, callbacks: [hook]{litellm}}}\n"
    );
    start(config + &settings("0.05", vendor, "")).await
}

fn text<'a>(event: &'a Value, member: &str) -> &'a str {
    event["metadata"][member].as_str().unwrap_or_default()
}

#[tokio::test]
async fn raw_requests_and_answers_are_told_when_the_operator_wants_it() {
    let vendor = endpoint().await;
    let stage = raw(&vendor, "", "").await;
    let refusal = Reply::error(400, "invalid_request_error", None, "odd temperature");
    stage.upstream.next(refusal);
    stage.client.chat(&chat("gpt-4o")).await.error(400);
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    // A try that failed has its own.
    let broken = Reply::error(500, "server_error", None, "broken for once");
    stage.upstream.next(broken);
    let mut again = chat("gpt-4o");
    again["num_retries"] = 1.into();
    stage.client.chat(&again).await.ok();
    let events = taken(&vendor, 4).await;
    for event in &events {
        let sent = text(event, "raw_request");
        let url = format!(
            "curl -X POST \\\n{}/chat/completions \\\n",
            stage.upstream.api_base()
        );
        for part in [
            &url,
            "-H 'authorization: *****'",
            "\"model\":\"gpt-4o\"",
            "Hello!",
        ] {
            assert!(sent.contains(part), "{part} is not in {sent}");
        }
        // What only the gateway reads is no part of it.
        assert!(!sent.contains("num_retries"), "{sent}");
    }
    assert!(
        text(&events[0], "raw_response").contains("odd temperature"),
        "{}",
        events[0]
    );
    assert!(
        events[1]["metadata"].get("raw_response").is_none(),
        "{}",
        events[1]
    );
    let mut of_tries: Vec<(&str, &str)> = events[2..]
        .iter()
        .map(|event| {
            (
                event["status"].as_str().unwrap_or_default(),
                text(event, "raw_response"),
            )
        })
        .collect();
    of_tries.sort_unstable();
    assert!(
        of_tries[0].0 == "failure" && of_tries[0].1.contains("broken for once"),
        "{of_tries:?}"
    );
    assert!(
        of_tries[1].0 == "success" && of_tries[1].1.contains(openai::DEFAULT_TEXT),
        "{of_tries:?}"
    );
    let everything = Value::from(events).to_string();
    for secret in [MASTER_KEY, UPSTREAM_KEY] {
        assert!(!everything.contains(secret), "an event holds {secret}");
    }
}

#[tokio::test]
async fn raw_requests_and_answers_are_redacted_like_messages() {
    let vendor = endpoint().await;
    let stage = raw(&vendor, ", turn_off_message_logging: true", "").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let events = taken(&vendor, 1).await;
    for member in ["raw_request", "raw_response"] {
        assert_eq!(
            text(&events[0], member),
            "redacted-by-litellm",
            "{}",
            events[0]
        );
    }
    let everything = Value::from(events).to_string();
    for said in ["Hello!", openai::DEFAULT_TEXT] {
        assert!(!everything.contains(said), "an event holds {said}");
    }
}

/// What a guardrail takes away is in no raw answer, and what judges the log cannot judge raw texts.
#[tokio::test]
async fn raw_answers_are_not_told_where_a_guardrail_has_changed_them() {
    let vendor = endpoint().await;
    let stage = raw(&vendor, "", &hide_secrets("post_call")).await;
    stage.upstream.always(Reply::echo());
    let said = |text: &str| {
        let mut body = chat("gpt-4o");
        body["messages"][0]["content"] = text.into();
        body
    };
    stage.client.chat(&said("all is well")).await.ok();
    let changed = stage
        .client
        .chat(&said(&format!("my key is {LEAKED}")))
        .await;
    assert!(
        changed.content().contains("[REDACTED]"),
        "{}",
        changed.text()
    );
    let events = taken(&vendor, 2).await;
    assert!(
        text(&events[0], "raw_response").contains("all is well"),
        "{}",
        events[0]
    );
    assert_eq!(text(&events[1], "raw_response"), "", "{}", events[1]);
    assert!(
        text(&events[1], "raw_request").contains("my key is"),
        "{}",
        events[1]
    );
    let vendor = endpoint().await;
    let stage = raw(&vendor, "", &hide_secrets("logging_only")).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let events = taken(&vendor, 1).await;
    assert!(!events[0].to_string().contains("\"raw_"), "{}", events[0]);
}
