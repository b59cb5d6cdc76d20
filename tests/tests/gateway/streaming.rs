//! Streams: when bytes move, who is told what, and what happens when somebody leaves.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gate, Gateway, Reply, openai};

use crate::support::{MASTER_KEY, Stage, chat, chat_stream, streamed_text};

#[tokio::test]
async fn a_stream_arrives_whole_and_in_order() {
    let stage = Stage::plain().await;
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    assert_eq!(stream.status, 200);
    let kind = stream.headers["content-type"].to_str().unwrap_or_default();
    assert!(kind.starts_with("text/event-stream"), "{kind}");
    assert!(stream.headers.contains_key("x-litellm-call-id"));
    assert!(stream.headers.contains_key("x-litellm-model-id"));

    let events = stream.rest().await;
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(streamed_text(&events), openai::DEFAULT_TEXT);
    let chunks: Vec<Value> = events
        .iter()
        .filter_map(|event| serde_json::from_str(event).ok())
        .collect();
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk["object"] == "chat.completion.chunk")
    );
    assert!(chunks.iter().all(|chunk| chunk["model"] == "gpt-4o"));
    assert_eq!(
        chunks
            .last()
            .map(|chunk| chunk["choices"][0]["finish_reason"].clone()),
        Some(json!("stop"))
    );
}

#[tokio::test]
async fn tool_calls_are_streamed_in_pieces() {
    let stage = Stage::plain().await;
    let mut body = chat_stream("gpt-4o");
    body["tools"] = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    let events = stage.client.open(&body).await.rest().await;
    let arguments: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(arguments, openai::TOOL_ARGUMENTS);
}

#[tokio::test]
async fn text_completions_are_streamed() {
    let stage = Stage::plain().await;
    let body = json!({"model": "gpt-3.5-turbo-instruct", "prompt": "x", "stream": true});
    let answer = stage.client.post("/v1/completions", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text: String = answer
        .events()
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(text, openai::DEFAULT_TEXT);
}

#[tokio::test]
async fn an_error_before_the_first_frame_is_an_ordinary_error_with_its_status() {
    let stage = Stage::plain().await;
    let body = r#"{"error":{"message":"slow down","type":"tokens","param":null,"code":null}}"#;
    let limited = Reply::status(
        429,
        &[("content-type", "application/json"), ("retry-after", "3")],
        body,
    );
    stage.upstream.next(limited);
    let answer = stage.client.chat(&chat_stream("gpt-4o")).await;
    assert!(
        answer.error(429)["message"]
            .as_str()
            .unwrap_or_default()
            .contains("slow down")
    );
    assert!(
        answer
            .header("content-type")
            .unwrap_or_default()
            .starts_with("application/json")
    );
}

#[tokio::test]
async fn an_error_frame_as_the_first_frame_has_its_status_too() {
    let stage = Stage::plain().await;
    let error = r#"{"error":{"message":"overloaded at once","type":"server_error","param":null,"code":"503"}}"#;
    stage.upstream.next(Reply::stream(&[error]));
    let answer = stage.client.chat(&chat_stream("gpt-4o")).await;
    assert!(
        answer.status >= 400,
        "the status line was sent before the first frame: {}",
        answer.text()
    );
    assert!(
        answer.text().contains("overloaded at once"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_stream_that_ends_before_its_first_frame_is_an_error() {
    let stage = Stage::plain().await;
    stage
        .upstream
        .next(Reply::open_stream::<&str>(&[]).then_reset());
    let answer = stage.client.chat(&chat_stream("gpt-4o")).await;
    answer.error(500);
}

#[tokio::test]
async fn each_frame_is_passed_on_as_it_comes() {
    let stage = Stage::plain().await;
    let gate = Gate::new();
    let frames = openai::chat_frames("gpt-4o", "one two three");
    stage.upstream.next(Reply::gated_stream(&frames, &gate));

    let client = stage.client.clone();
    let opening = tokio::spawn(async move { client.open(&chat_stream("gpt-4o")).await });
    gate.reached(1).await;
    // The frame that only says who speaks, and the first word.
    gate.release();
    gate.release();
    let mut stream = opening.await.expect("the stream opens with the first word");
    let content = |chunk: serde_json::Value| chunk["choices"][0]["delta"]["content"].clone();
    assert_eq!(content(stream.next_json().await), "");
    assert_eq!(content(stream.next_json().await), "one ");
    // The next frame has not been sent yet: whatever arrives next is what the gate lets out.
    for word in ["two ", "three"] {
        gate.release();
        assert_eq!(content(stream.next_json().await), word);
    }
    gate.open();
    assert_eq!(
        stream.rest().await.last().map(String::as_str),
        Some("[DONE]")
    );
}

#[tokio::test]
async fn the_upstream_is_cancelled_when_the_client_leaves_mid_stream() {
    let stage = Stage::plain().await;
    stage
        .upstream
        .next(Reply::open_stream(&[openai::content_frame("gpt-4o", "first")]).then_stall());
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    stream.next_json().await;

    let left = std::time::Instant::now();
    drop(stream);
    let departures = stage.upstream.departures().wait_for(1).await;
    let after = departures[0].at.duration_since(left);
    // The promise is 100 ms; a machine that runs other tests too gets some more.
    assert!(
        after < Duration::from_secs(1),
        "the upstream learned it after {after:?}"
    );

    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["status"], "failure", "{row}");
}

#[tokio::test]
async fn the_upstream_is_cancelled_when_the_client_leaves_before_the_answer() {
    let stage = Stage::plain().await;
    for body in [chat("gpt-4o"), chat_stream("gpt-4o")] {
        let seen = stage.upstream.departures().len();
        stage.upstream.next(Reply::nothing().then_stall());
        let arrived = stage.upstream.requests().len() + 1;
        let client = stage.client.clone();
        let call = tokio::spawn(async move { client.chat(&body).await });
        stage.upstream.requests().wait_for(arrived).await;
        let left = std::time::Instant::now();
        call.abort();
        let departures = stage.upstream.departures().wait_for(seen + 1).await;
        let after = departures[seen].at.duration_since(left);
        assert!(
            after < Duration::from_secs(1),
            "the upstream learned it after {after:?}"
        );
    }
}

#[tokio::test]
async fn usage_is_captured_though_the_client_did_not_ask_and_does_not_see_it() {
    let stage = Stage::plain().await;
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert_eq!(
        stage.upstream.requests().last().json()["stream_options"]["include_usage"],
        true
    );
    assert!(
        !events.iter().any(|event| event.contains("prompt_tokens")),
        "{events:#?}"
    );

    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["prompt_tokens"], openai::PROMPT_TOKENS, "{row}");
    assert_eq!(row["completion_tokens"], openai::COMPLETION_TOKENS, "{row}");
}

#[tokio::test]
async fn usage_is_shown_to_a_client_that_asked() {
    let stage = Stage::plain().await;
    let mut body = chat_stream("gpt-4o");
    body["stream_options"] = json!({"include_usage": true});
    let events = stage.client.open(&body).await.rest().await;
    let usage = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter(|chunk| chunk["usage"].is_object());
    assert_eq!(usage.count(), 1, "{events:#?}");
}

#[tokio::test]
async fn an_upstream_that_reports_no_usage_has_its_tokens_counted() {
    let stage = Stage::plain().await;
    stage.upstream.next(Reply::stream(&openai::chat_frames(
        "gpt-4o",
        "These are several words.",
    )));
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert!(row["prompt_tokens"].as_u64() > Some(0), "{row}");
    assert!(row["completion_tokens"].as_u64() > Some(3), "{row}");
    assert!(row["spend"].as_f64() > Some(0.0), "{row}");
}

#[tokio::test]
async fn an_error_frame_mid_stream_reaches_the_client() {
    let stage = Stage::plain().await;
    let error = r#"{"error":{"message":"the model broke","type":"server_error","param":null,"code":"500"}}"#;
    let frames = [openai::content_frame("gpt-4o", "partial"), error.to_owned()];
    stage.upstream.next(Reply::stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert!(events[0].contains("partial"), "{events:#?}");
    let error: Value = serde_json::from_str(&events[1]).expect("the error frame is JSON");
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .contains("the model broke"),
        "{error}"
    );
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["status"], "failure", "{row}");
}

#[tokio::test]
async fn a_reset_mid_stream_becomes_an_error_frame() {
    let stage = Stage::plain().await;
    stage
        .upstream
        .next(Reply::open_stream(&[openai::content_frame("gpt-4o", "partial")]).then_reset());
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert!(events[0].contains("partial"), "{events:#?}");
    let last: Value = serde_json::from_str(events.last().expect("an error frame"))
        .expect("the error frame is JSON");
    assert!(last["error"]["message"].is_string(), "{last}");
    assert_eq!(last["error"]["code"], "500", "{last}");
    // Nothing of the upstream's address or of our code leaks into the words.
    assert!(!last.to_string().contains("127.0.0.1"), "{last}");
}

#[tokio::test]
async fn a_stream_leaves_one_spend_row() {
    let stage = Stage::plain().await;
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    // Two calls, the second settled after the first: two rows when each settles once.
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    assert_eq!(rows.len(), 2, "{rows:#?}");
}

#[tokio::test]
async fn comments_and_pings_of_the_upstream_do_no_harm() {
    let stage = Stage::plain().await;
    let frame = openai::content_frame("gpt-4o", "hello");
    let reply = Reply::open_stream::<&str>(&[])
        .then_chunk(": ping\n\n")
        .then_chunk(&format!("data: {frame}\r\n\r\n"))
        .then_chunk(": keep-alive\n\ndata:[DONE]\n\n")
        .then_bytes("0\r\n\r\n");
    stage.upstream.next(reply);
    let answer = stage.client.chat(&chat_stream("gpt-4o")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("hello"), "{}", answer.text());
    assert!(answer.text().contains("[DONE]"), "{}", answer.text());
}

#[tokio::test]
async fn frames_split_anywhere_arrive_whole() {
    let stage = Stage::plain().await;
    let text: String = openai::chat_frames("gpt-4o", "split é😀 anywhere")
        .iter()
        .map(|frame| format!("data: {frame}\n\n"))
        .collect();
    let mut reply = Reply::open_stream::<&str>(&[]);
    for piece in text.as_bytes().chunks(7) {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        reply = reply.then_bytes(chunk);
    }
    stage.upstream.next(reply.then_bytes("0\r\n\r\n"));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert_eq!(streamed_text(&events), "split é😀 anywhere");
}

#[tokio::test]
async fn what_was_streamed_before_the_client_left_is_paid_for_once() {
    let stage = Stage::plain().await;
    let frames: Vec<String> = (0..20)
        .map(|n| openai::content_frame("gpt-4o", &format!("word {n} ")))
        .collect();
    stage
        .upstream
        .next(Reply::open_stream(&frames).then_stall());
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    for _ in 0..20 {
        stream.next_json().await;
    }
    drop(stream);
    stage.upstream.departures().wait_for(1).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    assert_eq!(rows.len(), 2, "{rows:#?}");
    let left = rows
        .iter()
        .find(|row| row["status"] == "failure")
        .expect("the abandoned call has a row");
    assert!(left["completion_tokens"].as_u64() >= Some(20), "{left}");
    assert!(left["spend"].as_f64() > Some(0.0), "{left}");
}

#[tokio::test]
async fn a_hundred_streams_at_once_are_all_whole() {
    let stage = Stage::plain().await;
    let mut streams = Vec::new();
    for n in 0..100 {
        let client = stage.client.clone();
        let mut body = chat_stream("gpt-4o");
        body["messages"][0]["content"] = json!(format!("stream number {n}"));
        stage.upstream.always(Reply::echo());
        streams.push(tokio::spawn(async move {
            streamed_text(&client.open(&body).await.rest().await)
        }));
    }
    for (n, stream) in streams.into_iter().enumerate() {
        assert_eq!(
            stream.await.expect("no stream failed"),
            format!("stream number {n}")
        );
    }
    assert_eq!(stage.gateway.wait_for_spend_rows(100).await.len(), 100);
}

#[tokio::test]
async fn a_slow_reader_gets_everything() {
    let stage = Stage::plain().await;
    let frames: Vec<String> = (0..2000)
        .map(|n| openai::content_frame("gpt-4o", &format!("{n} {}", "x".repeat(2000))))
        .collect();
    let mut reply = Reply::open_stream(&frames);
    reply = reply.then_chunk("data: [DONE]\n\n").then_bytes("0\r\n\r\n");
    stage.upstream.next(reply);
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    for n in 0..2000 {
        if n % 500 == 0 {
            // The reader's pause fills every buffer on the way: back-pressure, not loss.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let chunk = stream.next_json().await;
        let text = chunk["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            text.starts_with(&format!("{n} ")),
            "{n}: {}",
            &text[..text.len().min(20)]
        );
    }
    assert_eq!(stream.rest().await, ["[DONE]"]);
}

/// What a model thinks: by the deployment's word, and against it by the request's.
#[tokio::test]
async fn reasoning_is_folded_into_the_text_where_it_is_wanted() {
    let upstream = FakeUpstream::start().await;
    let model = |name: &str, more: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k{more}}}\n",
            upstream.api_base()
        )
    };
    let config = "model_list:\n".to_owned()
        + &model("folds", ", merge_reasoning_content_in_choices: true")
        + &model("plain", "")
        + &format!("general_settings: {{master_key: {MASTER_KEY}}}\n");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let whole = |content: &str| {
        json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": content, "reasoning_content": "let me see"}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 9, "total_tokens": 10}})
    };
    let chunk = |delta: Value, finish: Value| {
        json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
        .to_string()
    };
    let frames = [
        chunk(
            json!({"role": "assistant", "reasoning_content": "let "}),
            Value::Null,
        ),
        chunk(json!({"reasoning_content": "me see"}), Value::Null),
        chunk(json!({"content": "42"}), Value::Null),
        chunk(json!({}), json!("stop")),
        "[DONE]".to_owned(),
    ];
    for (model, asked, folds) in [
        ("folds", None, true),
        ("folds", Some(false), false),
        ("plain", None, false),
        ("plain", Some(true), true),
    ] {
        let with = |mut body: Value| {
            if let Some(asked) = asked {
                body["merge_reasoning_content_in_choices"] = json!(asked);
            }
            body
        };
        let expected = if folds {
            "<think>let me see</think>42"
        } else {
            "42"
        };
        stage.upstream.next(Reply::json(200, &whole("42")));
        let answer = stage.client.chat(&with(chat(model))).await.ok();
        let message = &answer["choices"][0]["message"];
        assert_eq!(message["content"], expected, "{model} {asked:?}");
        let kept = message.get("reasoning_content").is_some();
        assert_eq!(kept, !folds, "{message}");
        let sent = stage.upstream.requests().last().json();
        assert!(
            sent.get("merge_reasoning_content_in_choices").is_none(),
            "{sent}"
        );
        stage.upstream.next(Reply::stream(&frames));
        let events = stage
            .client
            .open(&with(chat_stream(model)))
            .await
            .rest()
            .await;
        assert_eq!(streamed_text(&events), expected, "{model} {asked:?}");
        let thoughts = events
            .iter()
            .filter(|event| event.contains("reasoning_content"));
        assert_eq!(thoughts.count(), if folds { 0 } else { 2 }, "{events:?}");
    }
}
