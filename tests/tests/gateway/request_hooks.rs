//! Request hooks: what they edit, refuse, select and add, and what one that misbehaves costs.
//!
//! The fixture `scripted-hook` does what its settings say.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply, openai};

use crate::support::{
    Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat, chat_stream, streamed_text,
};

/// A gateway with scripted hooks, in this order, each with its settings; `more` is further YAML.
async fn hooks(settings: &[Value], more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()) + &callbacks(settings, "closed") + more;
    Stage::of(upstream, Gateway::builder(config)).await
}

fn callbacks(settings: &[Value], fail: &str) -> String {
    let names: Vec<String> = (1..=settings.len()).map(|n| format!("hook{n}")).collect();
    let mut out = format!(
        "litellm_settings:\n  callbacks: [{}]\ncallback_settings:\n",
        names.join(", ")
    );
    for (name, settings) in names.iter().zip(settings) {
        let mut settings = settings.clone();
        settings["callback_type"] = json!("scripted-hook");
        out += &format!("  {name}: {settings}\n");
    }
    out + &format!("plugins:\n  scripted-hook: {{fail: {fail}}}\n")
}

fn sent(stage: &Stage) -> String {
    String::from_utf8_lossy(&stage.upstream.requests().last().body).into_owned()
}

#[tokio::test]
async fn a_new_model_is_routed_and_the_rest_stays_byte_for_byte() {
    let edits = json!({"pre_call": [["/model", "o4-mini"], ["/messages/0/content", "Bye!"]]});
    let stage = hooks(&[json!({"edits": edits})], "").await;
    let body = "{ \"model\" : \"gpt-4o\",\n \"big\":12345678901234567890, \"messages\": [ {\"role\":\"user\",\"content\":\"H\\u0069\"} ], \"x\":1.0 }";
    let answer = stage.client.post_bytes("/v1/chat/completions", body).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-model-group"), Some("o4-mini"));
    let wanted = body
        .replace("\"gpt-4o\"", "\"o4-mini\"")
        .replace("\"H\\u0069\"", "\"Bye!\"");
    assert_eq!(sent(&stage), wanted);
}

#[tokio::test]
async fn a_hook_without_edits_changes_nothing() {
    let stage = hooks(&[json!({})], "").await;
    let body = "{ \"model\": \"gpt-4o\",  \"messages\": [{\"role\":\"user\",\"content\":\"nothing \\u0068ere\"}] }";
    let upstream = openai::chat_completion("gpt-4o", "as it is").to_string();
    stage.upstream.next(Reply::status(
        200,
        &[("content-type", "application/json")],
        upstream.clone(),
    ));
    let answer = stage.client.post_bytes("/v1/chat/completions", body).await;
    assert_eq!(sent(&stage), body);
    assert_eq!(answer.text(), upstream);
}

#[tokio::test]
async fn each_hook_sees_what_the_one_before_made_and_guardrails_judge_it() {
    let first = json!({"edits": {"pre_call": [["/user", "one"], ["/temperature", 1]]}});
    let second = json!({"edits": {"pre_call": [["/user", "two"], ["/temperature", null],
        ["/messages/0/content", "my key is AKIAIOSFODNN7EXAMPLE, keep it"]]}});
    let guard = "guardrails:\n  - guardrail_name: secrets\n    litellm_params: {guardrail: hide-secrets, mode: pre_call, default_on: true}\n";
    let stage = hooks(&[first, second], guard).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let sent: Value = stage.upstream.requests().last().json();
    assert_eq!(sent["user"], "two");
    assert!(sent.get("temperature").is_none(), "{sent}");
    assert_eq!(
        sent["messages"][0]["content"],
        "my key is [REDACTED], keep it"
    );
}

#[tokio::test]
async fn a_text_answers_in_place_of_a_call() {
    let stage = hooks(&[json!({"respond": "Not today."})], "").await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(answer.content(), "Not today.");
    let body = answer.json();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["usage"]["total_tokens"], 0);
    assert_eq!(body["choices"][0]["finish_reason"], "stop");

    // LiteLLM's status of a stream.
    let streamed = stage.client.chat(&chat_stream("gpt-4o")).await;
    assert_eq!(streamed.status, 400);
    let events = streamed.events();
    assert_eq!(streamed_text(&events), "Not today.", "{events:?}");
    assert_eq!(events.last().map(|event| event.trim()), Some("[DONE]"));

    let text = json!({"model": "gpt-3.5-turbo-instruct", "prompt": "Hi"});
    let text = stage.client.post("/v1/completions", &text).await.ok();
    assert_eq!(text["choices"][0]["text"], "Not today.");

    let inputs = json!({"model": "text-embedding-3-small", "input": "Hi"});
    let error = stage.client.post("/v1/embeddings", &inputs).await;
    assert_eq!(error.error(400)["message"], "Not today.");
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn an_error_of_a_hook_reaches_the_client_as_it_is() {
    let refuse = json!({"pre_call": {"status": 403, "message": "Not for you.", "type": "policy", "param": "messages",
        "detail": {"rule": 7}}});
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  compat_errors: latest\n",
    ) + &callbacks(&[json!({"refuse": refuse})], "closed");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let error = stage.client.chat(&chat("gpt-4o")).await.error(403);
    assert_eq!(
        error,
        json!({"message": "Not for you.", "type": "policy", "param": "messages", "code": "403",
            "provider_specific_fields": {"rule": 7}})
    );
    assert!(stage.upstream.requests().is_empty());
    let odd = json!({"post_call_success": {"status": 200, "message": "odd"}});
    let stage = hooks(&[json!({"refuse": odd})], "").await;
    stage.client.chat(&chat("gpt-4o")).await.error(500);
}

#[tokio::test]
async fn pre_routing_leads_the_model_elsewhere_and_the_first_with_edits_decides() {
    let none = json!({});
    let first = json!({"edits": {"pre_routing": [["/model", "o4-mini"]]}});
    let second = json!({"edits": {"pre_routing": [["/model", "gpt-4o"]]}});
    let stage = hooks(&[none, first, second], "").await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-model-group"), Some("o4-mini"));
    let unknown = json!({"edits": {"pre_routing": [["/model", 7]]}});
    let stage = hooks(&[unknown], "").await;
    stage.client.chat(&chat("gpt-4o")).await.error(400);
}

/// Two deployments of the group `twin`, `one` and `two`, and a hook.
async fn twins(settings: Value) -> Stage {
    let upstream = FakeUpstream::start().await;
    let model = |id: &str| {
        format!(
            "  - model_name: twin\n    litellm_params: {{model: openai/{id}, api_base: '{}', api_key: {UPSTREAM_KEY}}}\n    model_info: {{id: {id}}}\n",
            upstream.api_base()
        )
    };
    let config = base_config(&upstream.api_base())
        .replace(
            "model_list:\n",
            &format!("model_list:\n{}{}", model("one"), model("two")),
        )
        .replace("num_retries: 0", "num_retries: 1")
        + &callbacks(&[settings], "closed");
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn a_filter_decides_which_deployments_serve() {
    let stage = twins(json!({"keep": ["two", "three"]})).await;
    for _ in 0..6 {
        let answer = stage.client.chat(&chat("twin")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-model-id"), Some("two"));
    }
    let stage = twins(json!({"keep": []})).await;
    let error = stage.client.chat(&chat("twin")).await.error(429);
    assert!(
        error["message"].to_string().contains("No deployments"),
        "{error}"
    );
    let refuse = json!({"filter_deployments": {"status": 451, "message": "Not in this country."}});
    let stage = twins(json!({"refuse": refuse})).await;
    let error = stage.client.chat(&chat("twin")).await.error(451);
    assert_eq!(error["message"], "Not in this country.");
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn each_try_may_be_edited() {
    let edits = json!({"pre_call_deployment": [["/model", "renamed"], ["/seed", 7]]});
    let stage = twins(json!({"edits": edits})).await;
    stage.client.chat(&chat("twin")).await.ok();
    let sent: Value = stage.upstream.requests().last().json();
    assert_eq!(
        (&sent["model"], &sent["seed"]),
        (&json!("renamed"), &json!(7))
    );
    let refuse = json!({"pre_call_deployment": {"status": 503, "message": "Not this one."}});
    let stage = twins(json!({"refuse": refuse})).await;
    let answer = stage.client.chat(&chat("twin")).await;
    assert!(
        answer.error(503)["message"]
            .to_string()
            .contains("Not this one.")
    );
    assert_eq!(answer.header("x-litellm-attempted-retries"), Some("1"));
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn an_answer_is_edited_or_replaced_and_costs_what_the_upstream_says() {
    let edits = json!({"post_call_success": [["/choices/0/message/content", "Edited."], ["/usage/total_tokens", 0],
        ["/usage/prompt_tokens", 0], ["/usage/completion_tokens", 0]]});
    let stage = hooks(&[json!({"edits": edits})], "").await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(answer.content(), "Edited.");
    let cost = answer.header("x-litellm-response-cost").unwrap_or_default();
    assert!(cost.parse::<f64>().is_ok_and(|cost| cost > 0.0), "{cost}");

    let whole = json!({"post_call_success": [["", {"choices": [{"message": {"content": "All new."}}], "model": "x"}]]});
    let stage = hooks(&[json!({"edits": whole})], "").await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(
        answer.ok(),
        json!({"choices": [{"message": {"content": "All new."}}], "model": "gpt-4o"})
    );
}

#[tokio::test]
async fn chunks_are_replaced_dropped_and_inserted() {
    let chunks = json!({"one": ["1", "1"], "two": [], "first": ["<"], "last": [">"]});
    let stage = hooks(
        &[json!({"chunks": chunks}), json!({"chunks": {"1": ["i"]}})],
        "",
    )
    .await;
    let mut frames: Vec<String> = ["one", "two", "three"]
        .map(|text| openai::content_frame("gpt-4o", text))
        .to_vec();
    frames.extend(
        openai::chat_frames("gpt-4o", "")
            .into_iter()
            .rev()
            .take(2)
            .rev(),
    );
    stage.upstream.next(Reply::stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert_eq!(streamed_text(&events), "<iithree>", "{events:#?}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    // What no hook has touched is what the upstream sent.
    let untouched = |event: &String| event.contains("\"three\"") && !event.contains("scripted");
    assert!(events.iter().any(untouched), "{events:#?}");
}

#[tokio::test]
async fn a_hook_may_end_a_stream_or_fail_it() {
    let frames: Vec<String> = ["one", "two", "three"]
        .map(|text| openai::content_frame("gpt-4o", text))
        .to_vec();
    let stage = hooks(&[json!({"chunks": {"two": null, "last": [">"]}})], "").await;
    stage.upstream.next(Reply::open_stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert_eq!(streamed_text(&events), "one", "{events:#?}");
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));

    let refuse = json!({"streaming": {"status": 400, "message": "Enough.", "type": "policy"}});
    let stage = hooks(&[json!({"refuse": refuse})], "").await;
    stage.upstream.next(Reply::open_stream(&frames));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let last: Value = serde_json::from_str(events.last().expect("an event")).expect("JSON");
    assert_eq!(last["error"]["message"], "Enough.", "{events:#?}");
    assert_eq!(last["error"]["type"], "policy");
}

#[tokio::test]
async fn a_failure_is_replaced_by_the_first_hook_that_has_another() {
    let refuse = |status: u16, message: &str| json!({"refuse": {"post_call_failure": {"status": status, "message": message}}});
    let stage = hooks(
        &[json!({}), refuse(418, "Tea."), refuse(419, "Coffee.")],
        "",
    )
    .await;
    let busy = || Reply::error(429, "rate_limit_error", None, "slow down");
    stage.upstream.next(busy());
    let error = stage.client.chat(&chat("gpt-4o")).await.error(418);
    assert_eq!(error["message"], "Tea. (was 429 RateLimitError)");
    // In the middle of a stream, too.
    let frames = [openai::content_frame("gpt-4o", "one")];
    stage
        .upstream
        .next(Reply::open_stream(&frames).then_chunk("data: no JSON\n\n"));
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert!(
        events
            .last()
            .is_some_and(|event| event.contains("Tea. (was")),
        "{events:#?}"
    );
    // Strangers cost no plugin call.
    let stranger = Client::of(&stage.gateway).key("sk-nobody");
    stranger.chat(&chat("gpt-4o")).await.error(401);
}

#[tokio::test]
async fn headers_are_added_and_those_that_frame_or_break_lines_are_not() {
    let headers = json!([
        ["x-by", "{deployment} {status} {read}"],
        ["x-late", "first"],
        ["transfer-encoding", "chunked"],
        ["content-length", "1"],
        ["connection", "close"],
        ["x-evil", "a\r\nset-cookie: b=c"],
        ["bad name", "x"],
        ["x-litellm-version", "mine"]
    ]);
    let stage = hooks(
        &[
            json!({"add_headers": headers}),
            json!({"add_headers": [["x-late", "second"]]}),
        ],
        "",
    )
    .await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.ok();
    let id = answer
        .header("x-litellm-model-id")
        .expect("an id")
        .to_owned();
    assert_eq!(
        answer.header("x-by"),
        Some(format!("{id} 200 answer").as_str())
    );
    assert_eq!(answer.header("x-late"), Some("second"));
    assert_eq!(answer.header("x-litellm-version"), Some("mine"));
    for name in ["transfer-encoding", "connection", "x-evil", "set-cookie"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let streamed = stage.client.open(&chat_stream("gpt-4o")).await;
    let by = streamed
        .headers
        .get("x-by")
        .expect("a header")
        .to_str()
        .expect("text");
    assert_eq!(by, format!("{id} 200 nothing"));
    stage
        .upstream
        .next(Reply::error(400, "invalid_request_error", None, "no"));
    let failed = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(
        failed.header("x-by"),
        Some(format!("{id} 400 nothing").as_str())
    );
}

#[tokio::test]
async fn a_model_that_the_caller_may_not_use_stays_out_of_reach() {
    let upstream = FakeUpstream::start().await;
    let edits = json!({"edits": {"pre_call": [["/model", "o4-mini"]]}});
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_auth: custom-auth\n  custom_auth_settings: {mode: auto, teams: {red: {token: team-red-0123456789, models: [gpt-4o]}}}\n",
    ) + &callbacks(&[edits], "closed");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let red = Client::of(&stage.gateway).key("team-red-0123456789");
    let error = red.chat(&chat("gpt-4o")).await.error(401);
    assert_eq!(error["type"], "key_model_access_denied");
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn parameters_of_the_operator_cannot_be_set() {
    let edits = json!({"edits": {"pre_call": [["/api_base", "https://elsewhere.example.com"]]}});
    let stage = hooks(&[edits], "").await;
    let error = stage.client.chat(&chat("gpt-4o")).await.error(500);
    assert!(
        error["message"].to_string().contains("'hook1' failed"),
        "{error}"
    );
    stage
        .gateway
        .wait_for_log("only the operator may set")
        .await;
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn a_hook_that_misbehaves_costs_its_own_call() {
    for how in ["loop", "panic", "flood", "broken-json", "error"] {
        for (hook, body) in [
            ("pre_call", chat("gpt-4o")),
            ("post_call_success", chat("gpt-4o")),
            ("streaming", chat_stream("gpt-4o")),
        ] {
            for fail in ["closed", "open"] {
                let upstream = FakeUpstream::start().await;
                upstream.always(Reply::echo());
                let settings = json!({"misbehave": {hook: how}});
                let config = base_config(&upstream.api_base()) + &callbacks(&[settings], fail);
                let stage = Stage::of(upstream, Gateway::builder(config)).await;
                let answer = stage.client.chat(&body).await;
                let what = format!(
                    "{how} in {hook}, {fail}: {} {}",
                    answer.status,
                    answer.text()
                );
                let told = match hook {
                    // The status has been sent when the first chunk comes.
                    "streaming" => answer.text().contains("\"error\""),
                    _ => answer.status == 500,
                };
                match fail {
                    "closed" => {
                        assert!(told, "{what}");
                        assert!(answer.text().contains("hook1"), "{what}");
                        let reached = !stage.upstream.requests().is_empty();
                        assert_eq!(reached, hook != "pre_call", "{what}");
                    }
                    _ => {
                        assert_eq!(answer.status, 200, "{what}");
                        assert!(!told && answer.text().contains("Hello"), "{what}");
                    }
                }
                // Other routes, and calls that this hook does not touch, are as they were.
                assert_eq!(stage.client.get("/health/liveliness").await.status, 200);
                assert!(!stage.gateway.printed(MASTER_KEY));
            }
        }
    }
}

#[tokio::test]
async fn what_only_watches_or_adds_never_costs_the_call() {
    for hook in ["response_headers", "post_call_failure"] {
        let settings = json!({"misbehave": {hook: "panic"}});
        let stage = hooks(&[settings], "").await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
        stage
            .upstream
            .next(Reply::error(404, "invalid_request_error", None, "gone"));
        let error = stage.client.chat(&chat("gpt-4o")).await.error(404);
        assert!(error["message"].to_string().contains("gone"), "{error}");
    }
}

#[tokio::test]
async fn a_hook_under_success_callback_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.yaml");
    let fixture =
        witgate_testkit::workspace_root().join("plugins/target/fixtures/scripted-hook.wasm");
    let text = base_config("http://127.0.0.1:9/v1")
        + "litellm_settings:\n  success_callback: [scripted-hook]\n"
        + &format!(
            "plugins:\n  scripted-hook: {{source: {}}}\n",
            fixture.display()
        );
    std::fs::write(&config, text).expect("written");
    let (stdout, stderr, code) = Gateway::run(
        folder.path(),
        &[
            "serve",
            "--port",
            "0",
            "--config",
            &config.to_string_lossy(),
        ],
    )
    .await;
    assert_ne!(code, Some(0), "{stdout}{stderr}");
    assert!(
        stderr.contains("is of kind request-hook, but the configuration uses it as log-sink"),
        "{stdout}{stderr}"
    );
}
