//! The row each settled call leaves in `LiteLLM_SpendLogs`: tokens, cost, who and what.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use witgate_testkit::{FakeUpstream, Gateway, Reply, Signal, openai};

use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, chat, chat_stream};

/// A column that holds JSON, whether SQLite gives it as text or as an object.
fn json_column(row: &Value, column: &str) -> Value {
    match &row[column] {
        Value::String(text) => serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("{column} is not JSON ({error}): {text}")),
        other => other.clone(),
    }
}

#[tokio::test]
async fn a_successful_call_is_recorded_with_tokens_and_cost() {
    let stage = Stage::plain().await;
    let mut body = chat("gpt-4o");
    body["user"] = json!("end-user-7");
    body["metadata"] = json!({"tags": ["blue", "green"]});
    let client = stage
        .client
        .clone()
        .header("x-litellm-call-id", "recorded-call");
    let answer = client.chat(&body).await;
    answer.ok();

    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["call_type"], "acompletion", "{row}");
    assert_eq!(row["status"], "success", "{row}");
    assert_eq!(row["model_group"], "gpt-4o", "{row}");
    assert_eq!(row["custom_llm_provider"], "openai", "{row}");
    assert_eq!(row["prompt_tokens"], openai::PROMPT_TOKENS, "{row}");
    assert_eq!(row["completion_tokens"], openai::COMPLETION_TOKENS, "{row}");
    assert_eq!(
        row["total_tokens"],
        openai::PROMPT_TOKENS + openai::COMPLETION_TOKENS,
        "{row}"
    );
    assert_eq!(row["end_user"], "end-user-7", "{row}");
    assert_eq!(
        row["api_key"],
        hex::encode(Sha256::digest(MASTER_KEY)),
        "{row}"
    );
    assert_eq!(
        row["model_id"],
        answer.header("x-litellm-model-id").unwrap_or_default(),
        "{row}"
    );
    assert_eq!(
        json_column(&row, "request_tags"),
        json!(["blue", "green"]),
        "{row}"
    );
    let spend = row["spend"].as_f64().unwrap_or_default();
    assert!((spend - 97.5e-6).abs() < 1e-12, "{row}");
    let header: f64 = answer
        .header("x-litellm-response-cost")
        .unwrap_or_default()
        .parse()
        .unwrap_or_default();
    assert!(
        (spend - header).abs() < 1e-12,
        "the header says {header}, the row {spend}"
    );
    let times = [&row["startTime"], &row["endTime"]]
        .map(|time| time.as_str().unwrap_or_default().to_owned());
    assert!(!times[0].is_empty() && times[0] <= times[1], "{times:?}");
}

#[tokio::test]
async fn a_failed_call_is_recorded_and_costs_nothing() {
    let stage = Stage::plain().await;
    stage
        .upstream
        .next(Reply::error(429, "tokens", None, "slow down"));
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["status"], "failure", "{row}");
    assert_eq!(row["spend"].as_f64(), Some(0.0), "{row}");
    let information = json_column(&row, "metadata")["error_information"].clone();
    assert_eq!(information["error_class"], "RateLimitError", "{row}");
}

#[tokio::test]
async fn prices_of_the_config_win_over_the_price_map() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: k}}\n    \
         model_info: {{input_cost_per_token: 0.001, output_cost_per_token: 0.01}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n",
        upstream.api_base()
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    for row in stage.gateway.wait_for_spend_rows(2).await {
        let spend = row["spend"].as_f64().unwrap_or_default();
        assert!((spend - (11.0 * 0.001 + 7.0 * 0.01)).abs() < 1e-9, "{row}");
    }
}

#[tokio::test]
async fn embeddings_and_completions_are_recorded_as_what_they_are() {
    let stage = Stage::plain().await;
    let embedding = json!({"model": "text-embedding-3-small", "input": "x"});
    stage.client.post("/v1/embeddings", &embedding).await.ok();
    stage.gateway.wait_for_spend_rows(1).await;
    let completion = json!({"model": "gpt-3.5-turbo-instruct", "prompt": "x"});
    stage.client.post("/v1/completions", &completion).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let types: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["call_type"].as_str())
        .collect();
    assert_eq!(types, ["aembedding", "atext_completion"]);
    let spend = rows[0]["spend"].as_f64().unwrap_or_default();
    assert!((spend - 11.0 * 2e-8).abs() < 1e-15, "{}", rows[0]);
}

#[tokio::test]
async fn messages_are_not_stored_unless_asked_for() {
    let stage = Stage::plain().await;
    let mut body = chat("gpt-4o");
    body["messages"][0]["content"] = json!("a very private sentence");
    stage.client.chat(&body).await.ok();
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    let text = row.to_string();
    assert!(!text.contains("private sentence"), "{text}");
    assert!(
        !text.contains(UPSTREAM_KEY) && !text.contains(MASTER_KEY),
        "{text}"
    );
}

#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    const CALLS: usize = 25;
    let stage = Stage::plain().await;
    for _ in 0..CALLS {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    // Nothing older than the commit interval may be lost. The interval is a second at most.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let Stage { mut gateway, .. } = stage;
    gateway.signal(Signal::Kill).await;
    gateway.ended().await;
    assert_eq!(gateway.spend_rows().await.len(), CALLS);

    let again = gateway.start_again().await;
    crate::support::Client::of(&again)
        .key(MASTER_KEY)
        .chat(&chat("gpt-4o"))
        .await
        .ok();
    assert_eq!(again.wait_for_spend_rows(CALLS + 1).await.len(), CALLS + 1);
}

#[tokio::test]
async fn an_orderly_end_loses_nothing_at_all() {
    const CALLS: usize = 10;
    let stage = Stage::plain().await;
    for _ in 0..CALLS {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    let Stage { mut gateway, .. } = stage;
    let status = gateway.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(gateway.spend_rows().await.len(), CALLS);
}

#[tokio::test]
async fn spend_logs_can_be_switched_off() {
    let upstream = FakeUpstream::start().await;
    let config = crate::support::base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  disable_spend_logs: true\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(gateway.spend_rows().await.is_empty());
}
