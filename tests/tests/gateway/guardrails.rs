//! Guardrails on the way in and out, streamed or not, with the shipped `hide-secrets` and a slow
//! fixture.

use std::time::Duration;

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gate, Gateway, Recorder, Reply, openai};

use crate::support::{MASTER_KEY, Stage, base_config, chat, chat_stream, streamed_text};

/// A key in AWS's documented example form: a pattern every detector knows, and no secret.
pub const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";

async fn stage(guardrails: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let config = base_config(&upstream.api_base()) + guardrails;
    Stage::of(upstream, Gateway::builder(config)).await
}

/// The shipped guardrail in this mode, for every call.
pub fn hide_secrets(mode: &str) -> String {
    format!(
        "guardrails:\n  - guardrail_name: secrets\n    litellm_params: {{guardrail: hide-secrets, mode: {mode}, default_on: true}}\n"
    )
}

fn leaking(mut body: Value) -> Value {
    body["messages"][0]["content"] = json!(format!("my key is {SECRET}, keep it"));
    body
}

#[tokio::test]
async fn a_secret_in_the_request_never_reaches_the_upstream() {
    let stage = stage(&hide_secrets("pre_call")).await;
    let answer = stage.client.chat(&leaking(chat("gpt-4o"))).await;
    answer.ok();
    assert_eq!(
        answer.header("x-litellm-applied-guardrails"),
        Some("secrets")
    );
    let sent = stage.upstream.requests().last().json()["messages"][0]["content"].clone();
    assert_eq!(sent, "my key is [REDACTED], keep it");
}

#[tokio::test]
async fn prompts_and_inputs_are_guarded_like_messages() {
    let stage = stage(&hide_secrets("pre_call")).await;
    let text = format!("key {SECRET}");
    for (path, body) in [
        (
            "/v1/completions",
            json!({"model": "gpt-3.5-turbo-instruct", "prompt": text}),
        ),
        (
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": [text, "clean"]}),
        ),
    ] {
        stage.client.post(path, &body).await.ok();
        let sent = String::from_utf8_lossy(&stage.upstream.requests().last().body).into_owned();
        assert!(
            !sent.contains(SECRET) && sent.contains("[REDACTED]"),
            "{path}: {sent}"
        );
    }
}

#[tokio::test]
async fn what_is_clean_passes_byte_for_byte() {
    let stage = stage(&hide_secrets("pre_call")).await;
    let body = "{ \"model\": \"gpt-4o\",  \"messages\": [{\"role\":\"user\",\"content\":\"nothing \\u0068ere\"}] }";
    stage
        .client
        .post_bytes("/v1/chat/completions", body)
        .await
        .ok();
    assert_eq!(stage.upstream.requests().last().body, body.as_bytes());
}

#[tokio::test]
async fn a_secret_in_the_answer_never_reaches_the_client() {
    let stage = stage(&hide_secrets("post_call")).await;
    let answer = stage.client.chat(&leaking(chat("gpt-4o"))).await;
    let content = answer.content();
    assert!(
        !content.contains(SECRET) && content.contains("[REDACTED]"),
        "{content}"
    );
}

#[tokio::test]
async fn a_secret_streamed_in_pieces_never_reaches_the_client() {
    let stage = stage(&hide_secrets("post_call")).await;
    let mut frames = vec![openai::content_frame("gpt-4o", "my key is ")];
    frames.extend(
        SECRET
            .chars()
            .map(|c| openai::content_frame("gpt-4o", &c.to_string())),
    );
    frames.push(openai::content_frame("gpt-4o", ", keep it"));
    frames.extend(
        openai::chat_frames("gpt-4o", "")
            .into_iter()
            .rev()
            .take(2)
            .rev(),
    );
    stage.upstream.next(Reply::stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let text = streamed_text(&events);
    assert_eq!(text, "my key is [REDACTED], keep it", "{events:#?}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let finished = events
        .iter()
        .any(|event| event.contains(r#""finish_reason":"stop""#));
    assert!(finished, "{events:#?}");
}

#[tokio::test]
async fn a_stream_flows_while_it_is_guarded() {
    let stage = stage(&hide_secrets("post_call")).await;
    let gate = Gate::new();
    let words: Vec<String> = (0..200)
        .map(|n| openai::content_frame("gpt-4o", &format!("plain word {n}. ")))
        .collect();
    let mut reply = Reply::open_stream(&words);
    reply = reply
        .then_gate(&gate)
        .then_chunk("data: [DONE]\n\n")
        .then_bytes("0\r\n\r\n");
    stage.upstream.next(reply);
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    // The upstream stands still before its end; most of the text must be here already.
    let mut seen = String::new();
    while seen.len() < 1000 {
        seen.push_str(
            stream.next_json().await["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap_or_default(),
        );
    }
    gate.open();
    assert_eq!(
        stream.rest().await.last().map(String::as_str),
        Some("[DONE]")
    );
}

#[tokio::test]
async fn a_guardrail_that_is_not_default_runs_only_when_asked_for() {
    let off = hide_secrets("pre_call").replace("default_on: true", "default_on: false");
    let stage = stage(&off).await;
    let answer = stage.client.chat(&leaking(chat("gpt-4o"))).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-applied-guardrails"), None);
    assert!(String::from_utf8_lossy(&stage.upstream.requests().last().body).contains(SECRET));

    let mut asking = leaking(chat("gpt-4o"));
    asking["guardrails"] = json!(["secrets"]);
    stage.client.chat(&asking).await.ok();
    let sent = stage.upstream.requests().last();
    assert!(!String::from_utf8_lossy(&sent.body).contains(SECRET));
    assert!(
        sent.json().get("guardrails").is_none(),
        "the gateway's own field went up"
    );
}

/// A guardrail whose verdict is held at a server of ours.
fn held(mode: &str, url: &str) -> String {
    format!(
        "guardrails:\n  - guardrail_name: held\n    litellm_params: {{guardrail: hostile-slow, mode: {mode}, default_on: true}}\n\
         plugins:\n  hostile-slow:\n    settings: {{url: '{url}'}}\n    limits: {{timeout_ms: 10000}}\n"
    )
}

#[tokio::test]
async fn a_during_call_guardrail_runs_beside_the_upstream_and_holds_the_answer() {
    let gate = Gate::new();
    let judge = Recorder::start(Reply::status(200, &[], "fine").behind(&gate)).await;
    let stage = stage(&held("during_call", &judge.origin())).await;
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    // The upstream is asked although the guardrail has not answered.
    stage.upstream.requests().wait_for(1).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(
        !call.is_finished(),
        "the answer did not wait for the verdict"
    );
    gate.open();
    call.await.expect("an answer").ok();
}

#[tokio::test]
async fn a_pre_call_guardrail_is_waited_for_before_the_upstream_is_asked() {
    let gate = Gate::new();
    let judge = Recorder::start(Reply::status(200, &[], "fine").behind(&gate)).await;
    let stage = stage(&held("pre_call", &judge.origin())).await;
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    assert!(stage.upstream.requests().is_empty());
    gate.open();
    call.await.expect("an answer").ok();
    assert_eq!(stage.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_guardrail_that_nobody_configured_is_an_error() {
    let stage = stage(&hide_secrets("pre_call")).await;
    let mut body = chat("gpt-4o");
    body["guardrails"] = json!(["no-such-guardrail"]);
    let answer = stage.client.chat(&body).await;
    // LiteLLM ignores unknown names; what must not happen is a crash or a silent skip of ours.
    assert!(
        answer.status == 200 || answer.status == 400,
        "{}",
        answer.text()
    );
    if answer.status == 200 {
        assert_eq!(
            answer.header("x-litellm-applied-guardrails"),
            Some("secrets")
        );
    }
}

fn blocking(mode: &str) -> String {
    hide_secrets(mode).replace("default_on: true", "default_on: true, action: block")
}

#[tokio::test]
async fn a_blocked_request_is_a_400_in_the_guardrails_words_without_the_secret() {
    let stage = stage(&blocking("pre_call")).await;
    let answer = stage.client.chat(&leaking(chat("gpt-4o"))).await;
    let error = answer.error(400);
    assert!(
        !error["message"].as_str().unwrap_or_default().is_empty(),
        "{error}"
    );
    assert!(!answer.text().contains(SECRET), "{error}");
    assert!(stage.upstream.requests().is_empty());
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    assert_eq!(rows[0]["status"], "failure", "{}", rows[0]);
    assert!(!stage.gateway.printed(SECRET));
}

#[tokio::test]
async fn a_blocked_answer_is_a_400_too_and_was_paid_for() {
    let stage = stage(&blocking("post_call")).await;
    let answer = stage.client.chat(&leaking(chat("gpt-4o"))).await;
    answer.error(400);
    assert!(!answer.text().contains(SECRET));
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["completion_tokens"], openai::COMPLETION_TOKENS, "{row}");
}

#[tokio::test]
async fn a_stream_that_is_blocked_ends_with_an_error_frame() {
    let stage = stage(&blocking("post_call")).await;
    let mut frames: Vec<String> = (0..100)
        .map(|n| openai::content_frame("gpt-4o", &format!("harmless {n} ")))
        .collect();
    frames.push(openai::content_frame("gpt-4o", SECRET));
    frames.extend((0..100).map(|n| openai::content_frame("gpt-4o", &format!(" after {n}"))));
    frames.extend(
        openai::chat_frames("gpt-4o", "")
            .into_iter()
            .rev()
            .take(2)
            .rev(),
    );
    stage.upstream.next(Reply::stream(&frames));
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    let events = stream.rest().await;
    let text = events.join("\n");
    assert!(!text.contains(SECRET), "{text}");
    assert!(!text.contains("after 50"), "{text}");
    let last: Value =
        serde_json::from_str(events.last().expect("an error frame")).unwrap_or_default();
    assert!(last["error"]["message"].is_string(), "{text}");
}

#[tokio::test]
async fn each_choice_of_a_stream_is_guarded_on_its_own() {
    let stage = stage(&hide_secrets("post_call")).await;
    let part = |choice: usize, text: &str| {
        json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
            "choices": [{"index": choice, "delta": {"content": text}, "finish_reason": null}]})
        .to_string()
    };
    let (front, back) = SECRET.split_at(9);
    let mut frames = vec![
        part(0, front),
        part(1, "innocent "),
        part(0, back),
        part(1, "text"),
    ];
    for choice in 0..2 {
        frames.push(
            json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o",
                "choices": [{"index": choice, "delta": {}, "finish_reason": "stop"}]})
            .to_string(),
        );
    }
    frames.push("[DONE]".to_owned());
    stage.upstream.next(Reply::stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let text_of = |choice: usize| -> String {
        let chunks = events
            .iter()
            .filter_map(|event| serde_json::from_str::<Value>(event).ok());
        chunks
            .flat_map(|chunk| chunk["choices"].as_array().cloned().unwrap_or_default())
            .filter(|one| one["index"] == choice)
            .filter_map(|one| one["delta"]["content"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(text_of(0), "[REDACTED]", "{events:#?}");
    assert_eq!(text_of(1), "innocent text", "{events:#?}");
}

#[tokio::test]
async fn secrets_in_streamed_tool_arguments_are_hidden() {
    let stage = stage(&hide_secrets("post_call")).await;
    let part = |arguments: &str| {
        json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o", "choices": [{"index": 0,
            "delta": {"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]}, "finish_reason": null}]})
        .to_string()
    };
    let (front, back) = SECRET.split_at(9);
    let mut frames = vec![part("{\"key\": \""), part(front), part(back), part("\"}")];
    frames.extend(
        openai::chat_frames("gpt-4o", "")
            .into_iter()
            .rev()
            .take(2)
            .rev(),
    );
    stage.upstream.next(Reply::stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let arguments: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    let arguments: Value =
        serde_json::from_str(&arguments).unwrap_or_else(|error| panic!("{error}: {arguments}"));
    assert_eq!(arguments["key"], "[REDACTED]");
}

#[tokio::test]
async fn logging_only_masks_the_logs_or_is_refused_but_never_ignored() {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let builder = Gateway::builder("");
    let file = builder.home().join("events.jsonl");
    let config = base_config(&upstream.api_base())
        + &hide_secrets("logging_only")
        + "litellm_settings:\n  success_callback: [jsonl]\n"
        + &format!(
            "plugins:\n  jsonl: {{grants: {{files: {{events: '{}'}}}}}}\n",
            file.display()
        );
    let mut gateway = match Gateway::builder(config).try_start().await {
        Ok(gateway) => gateway,
        Err(refusal) => {
            return assert!(
                refusal.output.contains("logging_only"),
                "{}",
                refusal.output
            );
        }
    };
    let client = crate::support::Client::of(&gateway).key(crate::support::MASTER_KEY);
    let answer = client.chat(&leaking(chat("gpt-4o"))).await;
    assert!(answer.content().contains(SECRET));
    assert!(String::from_utf8_lossy(&upstream.requests().last().body).contains(SECRET));
    gateway.stop().await;
    let logged = std::fs::read_to_string(&file).expect("the file was written");
    assert!(
        logged.contains("[REDACTED]") && !logged.contains(SECRET),
        "{logged}"
    );
}

#[tokio::test]
async fn an_answer_held_by_a_slow_guardrail_is_dropped_when_the_client_leaves() {
    let gate = Gate::new();
    let judge = Recorder::start(Reply::status(200, &[], "fine").behind(&gate)).await;
    let stage = stage(&held("pre_call", &judge.origin())).await;
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    call.abort();
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(row["status"], "failure", "{row}");
    gate.open();
    stage.client.chat(&chat("gpt-4o")).await.ok();
    // The first call never went up; the second did.
    assert_eq!(stage.upstream.requests().len(), 1);
}

#[tokio::test]
async fn order_says_which_of_two_guardrails_runs_first() {
    let two = |orders: (i64, i64)| {
        format!(
            "guardrails:\n  - guardrail_name: first\n    litellm_params: {{guardrail: hostile-ok, mode: pre_call, default_on: true}}\n  \
               - guardrail_name: second\n    litellm_params: {{guardrail: hide-secrets, mode: pre_call, default_on: true}}\n\
             plugins: {{hostile-ok: {{order: {}}}, second: {{order: {}}}}}\n",
            orders.0, orders.1
        )
    };
    for (orders, applied) in [
        ((0, 0), "first,second"),
        ((-1, 5), "first,second"),
        ((2, 1), "second,first"),
    ] {
        let stage = stage(&two(orders)).await;
        let answer = stage.client.chat(&chat("gpt-4o")).await;
        answer.ok();
        let told = answer.header("x-litellm-applied-guardrails");
        assert_eq!(
            told.map(|told| told.replace(' ', "")),
            Some(applied.to_owned()),
            "{orders:?}"
        );
    }
}

/// A key and a team name guardrails that judge their calls, whatever the request says.
#[tokio::test]
async fn a_key_and_a_team_have_guardrails_of_their_own() {
    let off = hide_secrets("pre_call").replace("default_on: true", "default_on: false");
    let stage = stage(&off).await;
    let sent = async |body: Value| {
        let made = stage.client.post("/key/generate", &body).await.ok();
        let client = crate::support::Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
        client.chat(&leaking(chat("gpt-4o"))).await.ok();
        stage.upstream.requests().last().json()["messages"][0]["content"].to_string()
    };
    assert!(sent(json!({})).await.contains(SECRET));
    assert!(
        !sent(json!({"guardrails": ["secrets"]}))
            .await
            .contains(SECRET)
    );
    let team = json!({"team_alias": "red", "metadata": {"guardrails": ["secrets"]}});
    let team = stage.client.post("/team/new", &team).await.ok();
    let body = json!({"team_id": team["team_id"], "guardrails": ["another"]});
    assert!(!sent(body).await.contains(SECRET));
}

/// A model's own guardrails judge its calls and nobody else's, also when a fallback leads to it.
#[tokio::test]
async fn guardrails_of_a_model_judge_what_may_come_to_it() {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::echo());
    let base = upstream.api_base();
    let model = |name: &str, more: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/{name}, api_base: '{base}', api_key: k{more}}}\n"
        )
    };
    let guarded = ", guardrails: [secrets]";
    let config = format!(
        "model_list:\n{}{}{}general_settings: {{master_key: {MASTER_KEY}}}\n\
         router_settings: {{num_retries: 0, fallbacks: [{{failing: [guarded]}}]}}\n\
         guardrails:\n  - guardrail_name: secrets\n    litellm_params: {{guardrail: hide-secrets, mode: pre_call}}\n",
        model("guarded", guarded),
        model("open", ""),
        model("failing", ""),
    );
    upstream.on_model("failing", Reply::error(500, "server_error", None, "no"));
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    for (name, hidden) in [("open", false), ("guarded", true), ("failing", true)] {
        let answer = stage.client.chat(&leaking(chat(name))).await;
        answer.ok();
        let sent = stage.upstream.requests().last();
        let text = String::from_utf8_lossy(&sent.body).into_owned();
        assert_eq!(!text.contains(SECRET), hidden, "{name}: {text}");
        let applied = answer.header("x-litellm-applied-guardrails");
        assert_eq!(applied, hidden.then_some("secrets"), "{name}");
    }
}
