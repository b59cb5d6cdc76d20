//! Numbers that nobody means: what an upstream claims to have used, and what a client asks for. No call fails by them that should not,
//! nothing is ever below zero, and what a call reserved is free when it ends.

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gateway, RedisServer, Reply};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat, chat_stream, eventually};

/// A group at a price beyond every sum, one at a price that would pay its callers, and one of images.
fn config(api_base: &str, router: &str) -> String {
    let model = |name: &str, model: &str, prices: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/{model}, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, {prices}}}\n"
        )
    };
    [
        "model_list:\n".to_owned(),
        model("plain", "gpt-4o", "input_cost_per_token: 1e-6"),
        model(
            "dear",
            "gpt-4o",
            "input_cost_per_token: '79228162514264337593543950335', output_cost_per_token: 1e12",
        ),
        model(
            "paying",
            "gpt-4o",
            "input_cost_per_token: -1, output_cost_per_token: -0.5",
        ),
        model("images", "dall-e-3", "input_cost_per_image: 1"),
        format!("general_settings:\n  master_key: {MASTER_KEY}\n"),
        format!("router_settings: {{num_retries: 0{router}}}\n"),
    ]
    .concat()
}

/// Answers with a usage, written as it is.
fn claims(usage: &str) -> Reply {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}],
    });
    let body = body.to_string();
    let body = format!("{},\"usage\":{usage}}}", &body[..body.len() - 1]);
    Reply::status(200, &[("content-type", "application/json")], body)
}

/// The same at the end of a stream.
fn streams(usage: &str) -> Reply {
    let chunk = |rest: &str| {
        format!(
            "{{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-4o\",{rest}}}"
        )
    };
    let said = r#""choices":[{"index":0,"delta":{"role":"assistant","content":"Hi"},"finish_reason":null}]"#;
    let ended = r#""choices":[{"index":0,"delta":{},"finish_reason":"stop"}]"#;
    let used = format!("\"choices\":[],\"usage\":{usage}");
    let chunks = [chunk(said), chunk(ended), chunk(&used), "[DONE]".to_owned()];
    Reply::stream(&chunks)
}

const USAGES: [&str; 16] = [
    "null",
    "7",
    "{}",
    "[]",
    r#"{"prompt_tokens": -5, "completion_tokens": -1, "total_tokens": -6}"#,
    r#"{"prompt_tokens": 18446744073709551615, "completion_tokens": 9223372036854775808, "total_tokens": 1}"#,
    r#"{"prompt_tokens": 1e308, "completion_tokens": 1e400, "total_tokens": 1e-400}"#,
    r#"{"prompt_tokens": 1000000000000, "completion_tokens": 1000000000000, "total_tokens": 2000000000000}"#,
    r#"{"prompt_tokens": 3.7, "completion_tokens": 0.2, "total_tokens": 4}"#,
    r#"{"prompt_tokens": "NaN", "completion_tokens": "9", "total_tokens": null}"#,
    r#"{"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10, "prompt_tokens_details": {"cached_tokens": 900, "audio_tokens": -3, "text_tokens": 1e12}}"#,
    r#"{"prompt_tokens": 5, "completion_tokens": 5, "prompt_tokens_details": [1], "completion_tokens_details": {"reasoning_tokens": 1e12, "audio_tokens": 1e12, "image_tokens": 1e12}}"#,
    r#"{"input_tokens": 1e12, "output_tokens": 1e12, "cache_read_input_tokens": 1e12, "cache_creation_input_tokens": 1e12, "cache_creation": {"ephemeral_1h_input_tokens": 1e12}}"#,
    r#"{"prompt_tokens": {"prompt_tokens": 1}, "completion_tokens": [2], "total_tokens": true}"#,
    r#"{"prompt_tokens": 1, "prompt_tokens": 2, "completion_tokens": 0, "total_tokens": 0}"#,
    r#"{"total_tokens": 9007199254740993}"#,
];

#[tokio::test]
async fn no_usage_that_an_upstream_claims_makes_a_row_below_zero_or_none() {
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream.api_base(), "");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let body = json!({"user_id": "ann", "auto_create_key": false});
    stage.client.post("/user/new", &body).await.ok();
    let body = json!({"user_id": "ann"});
    let made = stage.client.post("/key/generate", &body).await.ok();
    let key = made["key"].as_str().expect("a key");
    let ann = Client::of(&stage.gateway).key(key);
    let mut calls = 0;
    for usage in USAGES {
        for model in ["plain", "dear", "paying"] {
            stage.upstream.next(claims(usage));
            let answer = ann.chat(&chat(model)).await;
            assert_eq!(answer.status, 200, "{usage}: {}", answer.text());
            stage.upstream.next(streams(usage));
            let answer = ann.chat(&chat_stream(model)).await;
            assert_eq!(answer.status, 200, "{usage}: {}", answer.text());
            assert!(answer.text().contains("[DONE]"), "{usage}");
            calls += 2;
        }
    }
    let rows = stage.gateway.wait_for_spend_rows(calls).await;
    assert_eq!(rows.len(), calls, "a row for each, once");
    for row in &rows {
        for column in [
            "spend",
            "total_tokens",
            "prompt_tokens",
            "completion_tokens",
        ] {
            let number = row[column].as_f64().expect("a number");
            assert!(number >= 0.0 && number.is_finite(), "{column}: {row}");
        }
    }
    // Whoever bears them bears a number, and the next call is counted as ever.
    let spent = async || {
        let info = stage.client.get("/user/info?user_id=ann").await.ok();
        info["user_info"]["spend"].as_f64().expect("a number")
    };
    let sum: f64 = rows.iter().filter_map(|row| row["spend"].as_f64()).sum();
    eventually("the user bears them", async || {
        let spent = spent().await;
        ((spent - sum).abs() <= sum * 1e-9).then_some(())
    })
    .await;
    let days = stage.gateway.rows("LiteLLM_DailyUserSpend", "id").await;
    let counted: i64 = days
        .iter()
        .filter(|day| day["user_id"] == "ann")
        .filter_map(|day| day["api_requests"].as_i64())
        .sum();
    assert_eq!(counted, calls as i64);
    assert!(!stage.gateway.printed("panicked"));
    stage
        .gateway
        .wait_for_log("input_cost_per_token is below 0")
        .await;
}

/// What is asked for as a number of answers, of tokens or of images.
const ASKED: [&str; 12] = [
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "-1",
    "-9223372036854775808",
    "1e300",
    "1e400",
    "0",
    "0.5",
    "\"7\"",
    "null",
    "[1]",
];

/// Limits and budgets are asked for what cannot be had: the call is refused or goes on, and everything is free afterwards.
#[tokio::test]
async fn no_number_that_a_client_asks_for_is_reserved_for_ever() {
    let redis = RedisServer::start().await;
    for router in [String::new(), format!(", redis_url: '{}'", redis.url())] {
        let upstream = FakeUpstream::start().await;
        let config = config(&upstream.api_base(), &router);
        let stage = Stage::of(upstream, Gateway::builder(config)).await;
        let body = json!({"max_budget": 1000, "tpm_limit": 1_000_000, "max_parallel_requests": 1});
        let made = stage.client.post("/key/generate", &body).await.ok();
        let client = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
        for name in [
            "n",
            "best_of",
            "max_tokens",
            "max_completion_tokens",
            "size",
        ] {
            for number in ASKED {
                let written = |model: &str, text: &str| {
                    format!("{{\"model\":\"{model}\",{text},\"{name}\":{number}}}")
                };
                let said = r#""messages":[{"role":"user","content":"Hello!"}]"#;
                for (path, body) in [
                    ("/v1/chat/completions", written("plain", said)),
                    (
                        "/v1/images/generations",
                        written("images", r#""prompt":"p""#),
                    ),
                ] {
                    let answer = client.post_bytes(path, body).await;
                    let status = answer.status;
                    // 500 is what this upstream may make of it; nothing of the gateway's own.
                    let text = answer.text();
                    assert!(
                        (200..500).contains(&status),
                        "{path} {name}={number}: {status} {text}"
                    );
                }
            }
        }
        // Nearly all that is left of the tokens and of the money: anything that is still held would be missing.
        let mut body = chat("plain");
        body["max_tokens"] = json!(900_000);
        client.chat(&body).await.ok();
        let info = client.get("/key/info").await.ok();
        let spent = info["info"]["spend"].as_f64().expect("a number");
        assert!((0.0..900.0).contains(&spent), "{spent}");
        let rest = (999.0 - spent) as u64;
        let body = json!({"model": "images", "prompt": "p", "n": rest});
        let one = json!({"created": 1, "data": [{"url": "https://images.example/1"}]});
        stage.upstream.next(Reply::json(200, &one));
        client.post("/v1/images/generations", &body).await.ok();
        assert!(!stage.gateway.printed("panicked"));
    }
}
