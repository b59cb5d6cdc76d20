//! The provider plugin `anthropic` through `/chat/completions`, against a fake that refuses what the
//! real API would refuse.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_testkit::{FakeAnthropic, FakeUpstream, Gateway, Reply};

use crate::support::{Client, MASTER_KEY, chat, chat_stream, streamed_text};

struct Stage {
    anthropic: FakeAnthropic,
    gateway: Gateway,
    client: Client,
}

/// A gateway with the model `claude` in front of a fake Anthropic; `params` is more of its
/// `litellm_params`, `more` more YAML.
async fn stage_with(params: &str, more: &str) -> Stage {
    let anthropic = FakeAnthropic::start().await;
    let config = format!(
        "model_list:\n  - model_name: claude\n    litellm_params: {{model: anthropic/claude-haiku-4-5-20251001, \
         api_base: '{}', api_key: {}{params}}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n{more}",
        anthropic.origin(),
        FakeAnthropic::KEY,
    );
    let config = match more.contains("router_settings") {
        true => config,
        false => config + "router_settings: {num_retries: 0}\n",
    };
    let gateway = Gateway::start(config).await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    Stage {
        anthropic,
        gateway,
        client,
    }
}

async fn stage() -> Stage {
    stage_with("", "").await
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "get.weather", "description": "Weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}])
}

fn events_json(events: &[String]) -> Vec<Value> {
    let parse = |event: &String| serde_json::from_str(event).ok();
    events.iter().filter_map(parse).collect()
}

#[tokio::test]
async fn a_chat_is_translated_there_and_back() {
    let stage = stage().await;
    let body = json!({"model": "claude", "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}],
        "temperature": 0.5, "max_tokens": 20, "user": "u-1", "stop": ["END"]});
    let reply = stage.client.chat(&body).await;
    let answer = reply.ok();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(answer["model"], "claude");
    assert!(
        answer["id"].as_str().unwrap().starts_with("chatcmpl-"),
        "{answer}"
    );
    assert!(answer["created"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        FakeAnthropic::TEXT
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["prompt_tokens"], 60);
    assert_eq!(answer["usage"]["completion_tokens"], 15);
    assert_eq!(
        answer["usage"]["prompt_tokens_details"]["cached_tokens"],
        30
    );
    assert_eq!(answer["usage"]["cache_creation_input_tokens"], 20);
    assert_eq!(reply.header("llm_provider-request-id"), Some("req_fake"));

    let sent = stage.anthropic.requests().last();
    assert_eq!(
        sent.json(),
        json!({"model": "claude-haiku-4-5-20251001",
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}],
        "temperature": 0.5, "max_tokens": 20, "metadata": {"user_id": "u-1"},
        "stop_sequences": ["END"]})
    );
    assert_eq!(
        sent.header("authorization"),
        None,
        "the client's key went out"
    );

    // Priced by the price map, cached tokens at their own rates: $1, $0.10, $1.25 and $5 per million.
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["custom_llm_provider"], "anthropic", "{row}");
    let spend = row["spend"].as_f64().unwrap();
    let wanted = (10.0 + 30.0 * 0.1 + 20.0 * 1.25 + 15.0 * 5.0) / 1e6;
    assert!((spend - wanted).abs() < 1e-9, "{spend} instead of {wanted}");
    assert!(!stage.gateway.printed(FakeAnthropic::KEY));
}

#[tokio::test]
async fn a_stream_is_translated_as_it_arrives() {
    let stage = stage().await;
    let mut body = chat_stream("claude");
    body["stream_options"] = json!({"include_usage": true});
    let events = stage.client.open(&body).await.rest().await;
    assert_eq!(streamed_text(&events), FakeAnthropic::TEXT);
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let chunks = events_json(&events);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks.iter().all(|c| c["id"] == chunks[0]["id"]
        && c["model"] == "claude"
        && c["object"] == "chat.completion.chunk"));
    let last = chunks.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], 75);
    assert_eq!(
        chunks[chunks.len() - 2]["choices"][0]["finish_reason"],
        "stop"
    );

    // Who did not ask for the usage gets none, and is charged all the same.
    let events = stage.client.open(&chat_stream("claude")).await.rest().await;
    assert!(
        events_json(&events)
            .iter()
            .all(|chunk| chunk.get("usage").is_none())
    );
    for row in stage.gateway.wait_for_spend_rows(2).await {
        assert_eq!(row["total_tokens"].as_i64(), Some(75), "{row}");
        assert!(row["spend"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[tokio::test]
async fn a_tool_is_called_and_its_result_goes_back() {
    let stage = stage().await;
    let mut body = json!({"model": "claude", "tools": tools(), "tool_choice": "required",
        "messages": [{"role": "user", "content": "Weather in Oslo?"}]});
    let answer = stage.client.chat(&body).await.ok();
    let message = &answer["choices"][0]["message"];
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    let call = &message["tool_calls"][0];
    assert_eq!(
        call["function"]["name"], "get.weather",
        "the client's own name"
    );
    let arguments: Value =
        serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"city": "Oslo", "days": [1, 2]}));
    assert_eq!(
        stage.anthropic.requests().last().json()["tools"][0]["name"],
        "get_weather"
    );

    // The same as a stream.
    body["stream"] = json!(true);
    let events = stage.client.open(&body).await.rest().await;
    let chunks = events_json(&events);
    let first = &chunks[0]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!(first["function"]["name"], "get.weather");
    let streamed: String = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str())
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&streamed).unwrap(), arguments);

    // The result.
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(message.clone());
    messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": "Rain"}));
    body["stream"] = json!(false);
    body["tool_choice"] = json!("auto");
    let answer = stage.client.chat(&body).await;
    assert_eq!(answer.content(), FakeAnthropic::TEXT);
    let sent = stage.anthropic.requests().last().json();
    assert_eq!(
        sent["messages"][2]["content"][0]["tool_use_id"],
        "toolu_fake"
    );
}

#[tokio::test]
async fn thoughts_come_back_and_go_in_again() {
    let stage = stage().await;
    let mut body = chat("claude");
    body["reasoning_effort"] = json!("low");
    let answer = stage.client.chat(&body).await.ok();
    let message = &answer["choices"][0]["message"];
    assert_eq!(message["reasoning_content"], "Let me think.");
    assert_eq!(message["thinking_blocks"][0]["signature"], "c2ln");
    let sent = stage.anthropic.requests().last().json();
    assert_eq!(
        sent["thinking"],
        json!({"type": "enabled", "budget_tokens": 1024})
    );
    assert_eq!(sent["max_tokens"], 1024 + 4096);

    let mut again = body.clone();
    again["messages"] = json!([body["messages"][0], message, {"role": "user", "content": "And?"}]);
    again["stream"] = json!(true);
    let events = stage.client.open(&again).await.rest().await;
    let chunks = events_json(&events);
    let thoughts: String = chunks
        .iter()
        .filter_map(|c| c["choices"][0]["delta"]["reasoning_content"].as_str())
        .collect();
    assert_eq!(thoughts, "Let me think.");
    assert_eq!(streamed_text(&events), FakeAnthropic::TEXT);
    let sent = stage.anthropic.requests().last().json();
    assert_eq!(sent["messages"][1]["content"][0]["type"], "thinking");
}

#[tokio::test]
async fn images_documents_and_json_answers() {
    let stage = stage_with(
        ", extra_headers: {anthropic-beta: ours-2025-01-01, x-team: red}",
        "",
    )
    .await;
    let client = stage
        .client
        .clone()
        .header("anthropic-beta", "theirs-2025-02-02");
    let mut body = json!({"model": "claude", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "Read", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}]}]});
    client.chat(&body).await.ok();
    let sent = stage.anthropic.requests().last();
    assert_eq!(sent.json()["messages"][0]["content"][2]["type"], "document");
    assert_eq!(
        sent.header("anthropic-beta"),
        Some("ours-2025-01-01,pdfs-2024-09-25,prompt-caching-2024-07-31,theirs-2025-02-02")
    );
    assert_eq!(sent.header("x-team"), Some("red"));

    body["messages"][0]["content"] = json!("Weather as JSON");
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "w",
        "schema": {"type": "object", "properties": {"city": {"type": "string"}}}}});
    let answer = client.chat(&body).await.ok();
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(content).unwrap()["city"],
        "Oslo"
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert!(answer["choices"][0]["message"].get("tool_calls").is_none());
    body["stream"] = json!(true);
    let events = client.open(&body).await.rest().await;
    let streamed: Value = serde_json::from_str(&streamed_text(&events)).unwrap();
    assert_eq!(streamed["city"], "Oslo");
}

#[tokio::test]
async fn parameters_it_lacks_are_refused_or_dropped() {
    let stage = stage().await;
    let mut body = chat("claude");
    body["seed"] = json!(1);
    body["logit_bias"] = json!({});
    let error = stage.client.chat(&body).await.error(400);
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("litellm.UnsupportedParamsError: anthropic does not support parameters: ['seed', 'logit_bias'], for model=claude-haiku-4-5-20251001."), "{message}");
    assert!(stage.anthropic.requests().is_empty());
    body["drop_params"] = json!(true);
    stage.client.chat(&body).await.ok();
    body["drop_params"] = json!(false);
    body["additional_drop_params"] = json!(["seed", "logit_bias"]);
    stage.client.chat(&body).await.ok();

    let dropping = stage_with(
        ", additional_drop_params: [top_p]",
        "litellm_settings: {drop_params: true}\n",
    )
    .await;
    let mut body = chat("claude");
    body["seed"] = json!(1);
    body["top_p"] = json!(0.3);
    dropping.client.chat(&body).await.ok();
    let sent = dropping.anthropic.requests().last().json();
    assert!(
        sent.get("top_p").is_none() && sent.get("seed").is_none(),
        "{sent}"
    );
}

#[tokio::test]
async fn failures_have_their_class_status_and_headers() {
    let stage = stage().await;
    let rows = [
        (429, "rate_limit_error", "slow down", 429, "RateLimitError"),
        (
            529,
            "overloaded_error",
            "Overloaded",
            500,
            "InternalServerError",
        ),
        (
            500,
            "api_error",
            "Internal server error",
            500,
            "InternalServerError",
        ),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 tokens > 8 maximum",
            400,
            "ContextWindowExceededError",
        ),
        (
            403,
            "permission_error",
            "not for you",
            403,
            "PermissionDeniedError",
        ),
    ];
    for (status, kind, text, wanted, class) in rows {
        let reply = FakeAnthropic::error(status, &[("retry-after", "7")], kind, text);
        stage.anthropic.next(reply);
        let answer = stage.client.chat(&chat("claude")).await;
        let error = answer.error(wanted);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("litellm.{class}: ")), "{message}");
        assert!(
            message.contains(&format!("AnthropicException - {text}")),
            "{message}"
        );
        assert_eq!(answer.header("retry-after"), Some("7"));
    }
    // A page of somebody in between is read by the general rules.
    stage.anthropic.next(Reply::status(
        502,
        &[("content-type", "text/html")],
        "<html>Bad Gateway</html>",
    ));
    stage.client.chat(&chat("claude")).await.error(502);
    // The same before the first frame of a stream.
    stage.anthropic.next(FakeAnthropic::error(
        429,
        &[("retry-after", "3")],
        "rate_limit_error",
        "slow",
    ));
    let stream = stage.client.open(&chat_stream("claude")).await;
    assert_eq!(stream.status, 429);
    let mut wrong = chat("claude");
    wrong["messages"] = json!([{"role": "robot", "content": "x"}]);
    let error = stage.client.chat(&wrong).await.error(400);
    assert!(
        error["message"].as_str().unwrap().contains("messages[0]"),
        "{error}"
    );
}

#[tokio::test]
async fn what_may_succeed_is_retried_and_falls_back() {
    let spare = FakeUpstream::start().await;
    let more =
        "router_settings: {num_retries: 2, retry_after: 0, fallbacks: [{claude: [spare]}]}\n\
         litellm_settings: {}\n"
            .to_string();
    let anthropic = FakeAnthropic::start().await;
    let config = format!(
        "model_list:\n  - model_name: claude\n    litellm_params: {{model: anthropic/claude-x, api_base: '{}', api_key: {}}}\n\
         \x20 - model_name: spare\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: k}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n{more}",
        anthropic.origin(),
        FakeAnthropic::KEY,
        spare.api_base(),
    );
    let gateway = Gateway::start(config).await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    let overloaded = || FakeAnthropic::error(529, &[], "overloaded_error", "Overloaded");
    anthropic.next(overloaded());
    let answer = client.chat(&chat("claude")).await;
    assert_eq!(answer.content(), FakeAnthropic::TEXT);
    assert_eq!(answer.header("x-litellm-attempted-retries"), Some("1"));

    // An error event before the first piece of a stream is retried as well.
    let start = FakeAnthropic::beginning("x").remove(0);
    let event =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    anthropic.next(FakeAnthropic::stream(&[start, event]));
    let events = client.open(&chat_stream("claude")).await.rest().await;
    assert_eq!(streamed_text(&events), FakeAnthropic::TEXT);

    for _ in 0..3 {
        anthropic.next(overloaded());
    }
    let answer = client.chat(&chat("claude")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("1"));
    assert_eq!(spare.requests().len(), 1);
}

#[tokio::test]
async fn a_slow_answer_times_out() {
    let stage = stage_with(", timeout: 0.3, stream_timeout: 0.3", "").await;
    stage.anthropic.next(Reply::nothing().then_stall());
    let error = stage.client.chat(&chat("claude")).await.error(408);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("litellm.Timeout"),
        "{error}"
    );
    // A stream that falls silent.
    let beginning = FakeAnthropic::beginning("one two");
    stage
        .anthropic
        .next(FakeAnthropic::open_stream(&beginning).then_stall());
    let events = stage.client.open(&chat_stream("claude")).await.rest().await;
    assert_eq!(streamed_text(&events), "one two");
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "408", "{last}");
    // Pings are signs of life: the stream outlives the timeout by far.
    let mut reply = FakeAnthropic::open_stream(&beginning);
    for _ in 0..8 {
        let ping = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
        reply = reply.then_chunk(ping).then_wait(Duration::from_millis(100));
    }
    let stop = "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    stage
        .anthropic
        .next(reply.then_chunk(stop).then_bytes("0\r\n\r\n"));
    let events = stage.client.open(&chat_stream("claude")).await.rest().await;
    assert_eq!(
        events.last().map(String::as_str),
        Some("[DONE]"),
        "{events:?}"
    );
}

#[tokio::test]
async fn a_failure_in_the_middle_of_a_stream_is_told_in_it() {
    let stage = stage().await;
    let mut events = FakeAnthropic::beginning("one two");
    events.push(
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    );
    stage.anthropic.next(FakeAnthropic::stream(&events));
    let got = stage.client.open(&chat_stream("claude")).await.rest().await;
    assert_eq!(streamed_text(&got), "one two");
    let last: Value = serde_json::from_str(got.last().unwrap()).unwrap();
    let message = last["error"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "litellm.InternalServerError: AnthropicException - Overloaded"
    );
    assert_eq!(last["error"]["code"], "500");

    // A connection that ends without the stream's own end.
    stage
        .anthropic
        .next(FakeAnthropic::stream(&FakeAnthropic::beginning("half")));
    let got = stage.client.open(&chat_stream("claude")).await.rest().await;
    assert!(
        got.last()
            .unwrap()
            .contains("closed the stream before its end"),
        "{got:?}"
    );
    for row in stage.gateway.wait_for_spend_rows(2).await {
        assert_eq!(row["status"], "failure", "{row}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_upstream() {
    let stage = stage().await;
    let beginning = FakeAnthropic::beginning("one two three");
    stage
        .anthropic
        .next(FakeAnthropic::open_stream(&beginning).then_stall());
    let mut stream = stage.client.open(&chat_stream("claude")).await;
    stream.next_json().await;
    drop(stream);
    stage.anthropic.departures().wait_for(1).await;
    stage.gateway.wait_for_spend_rows(1).await;
    // The instance that read the stream is free again.
    stage
        .gateway
        .metrics_until("no instance is busy", |metrics| {
            metrics.text().lines().any(|line| {
                line.starts_with("witgate_plugin_instances")
                    && line.contains("anthropic")
                    && line.contains("busy")
                    && line.ends_with(" 0")
            })
        })
        .await;
}

#[tokio::test]
async fn keys_and_bases_come_from_the_environment() {
    let anthropic = FakeAnthropic::start().await;
    let config = format!(
        "model_list:\n  - model_name: claude\n    litellm_params: {{model: claude-haiku-4-5-20251001}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n"
    );
    let gateway = Gateway::builder(config)
        .env("ANTHROPIC_API_KEY", FakeAnthropic::TOKEN)
        .env("ANTHROPIC_BASE_URL", anthropic.origin())
        .env("DEFAULT_ANTHROPIC_CHAT_MAX_TOKENS", "77")
        .start()
        .await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    client.chat(&chat("claude")).await.ok();
    let sent = anthropic.requests().last();
    assert_eq!(sent.json()["max_tokens"], 77);
    assert_eq!(
        sent.header("x-api-key"),
        None,
        "an OAuth token is a bearer token"
    );
    assert!(!gateway.printed(FakeAnthropic::TOKEN));
}

#[tokio::test]
async fn a_document_of_many_megabytes_goes_through() {
    let stage = stage().await;
    let data = format!("data:application/pdf;base64,{}", "QUJD".repeat(4 << 20));
    let body = json!({"model": "claude", "messages": [{"role": "user", "content": [
        {"type": "text", "text": "Read"}, {"type": "file", "file": {"file_data": data}}]}]});
    stage.client.chat(&body).await.ok();
    let sent = stage.anthropic.requests().last();
    assert!(sent.body.len() > 16 << 20, "{}", sent.body.len());
}

#[tokio::test]
async fn a_text_completion_becomes_a_chat() {
    let stage = stage().await;
    let mut body = json!({"model": "claude", "prompt": "Hello!", "max_tokens": 9});
    let answer = stage.client.post("/v1/completions", &body).await.ok();
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["choices"][0]["text"], FakeAnthropic::TEXT);
    assert_eq!(answer["usage"]["total_tokens"], 75);
    body["stream"] = json!(true);
    let streamed = stage.client.post("/v1/completions", &body).await;
    let texts: String = events_json(&streamed.events())
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(texts, FakeAnthropic::TEXT);
    body["echo"] = json!(true);
    let error = stage.client.post("/v1/completions", &body).await.error(400);
    assert!(
        error["message"].as_str().unwrap().contains("['echo']"),
        "{error}"
    );
}

#[tokio::test]
async fn guardrails_see_openais_texts() {
    let more = "guardrails:\n  - guardrail_name: secrets\n    litellm_params: {guardrail: hide-secrets, mode: [pre_call, post_call], default_on: true}\n";
    let stage = stage_with("", more).await;
    let key = format!("sk-proj-{}", "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY");
    let mut body = chat("claude");
    body["messages"][0]["content"] = json!(format!("My key is {key}"));
    stage.client.chat(&body).await.ok();
    let sent = stage.anthropic.requests().last();
    assert!(!String::from_utf8_lossy(&sent.body).contains(&key));
    stage.anthropic.next(FakeAnthropic::stream(&[
        FakeAnthropic::beginning(&format!("Use {key} now")),
        vec![json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}),
            json!({"type": "message_stop"})],
    ].concat()));
    let events = stage.client.open(&chat_stream("claude")).await.rest().await;
    let text = streamed_text(&events);
    assert!(!text.contains(&key) && text.contains("Use "), "{text}");
}
