//! The error catalogue as far as it is reachable: status, shape and words, for both
//! generations of clients.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply, openai};

use crate::support::{Client, Stage, UPSTREAM_KEY, base_config, chat, chat_stream};

#[tokio::test]
async fn an_unknown_model_names_the_model_and_the_way_out() {
    let upstream = FakeUpstream::start().await;
    let config =
        base_config(&upstream.api_base()).replace("model_name: '*'", "model_name: only-this");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let error = stage.client.chat(&chat("gpt-99")).await.error(400);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("Invalid model name passed in model=gpt-99"),
        "{message}"
    );
    assert!(message.contains("/v1/models"), "{message}");
    assert_eq!(error["code"], "400");
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn no_model_is_an_error_too() {
    let stage = Stage::plain().await;
    let body = json!({"messages": [{"role": "user", "content": "x"}]});
    let error = stage.client.chat(&body).await.error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("Invalid model name"),
        "{error}"
    );
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let stage = Stage::plain().await;
    for (path, body, field) in [
        (
            "/v1/chat/completions",
            json!({"model": "gpt-4o"}),
            "messages",
        ),
        (
            "/v1/completions",
            json!({"model": "gpt-3.5-turbo-instruct"}),
            "prompt",
        ),
        (
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small"}),
            "input",
        ),
    ] {
        let error = stage.client.post(path, &body).await.error(400);
        assert!(
            error["message"]
                .as_str()
                .unwrap_or_default()
                .contains(field),
            "{path}: {error}"
        );
    }
    assert!(stage.upstream.requests().is_empty());
}

/// Upstream status, its `type` and `code`; the status and class the client must see (LiteLLM maps
/// OpenAI's 422 to 400).
const UPSTREAM_ERRORS: [(u16, &str, Option<&str>, u16, &str); 9] = [
    (400, "invalid_request_error", None, 400, "BadRequestError"),
    (
        401,
        "invalid_request_error",
        Some("invalid_api_key"),
        401,
        "AuthenticationError",
    ),
    (403, "permission_error", None, 403, "PermissionDeniedError"),
    (
        404,
        "invalid_request_error",
        Some("model_not_found"),
        404,
        "NotFoundError",
    ),
    (422, "invalid_request_error", None, 400, "BadRequestError"),
    (
        429,
        "tokens",
        Some("rate_limit_exceeded"),
        429,
        "RateLimitError",
    ),
    (500, "server_error", None, 500, "InternalServerError"),
    (502, "server_error", None, 502, "BadGatewayError"),
    (503, "server_error", None, 503, "ServiceUnavailableError"),
];

#[tokio::test]
async fn an_upstream_error_keeps_its_status_its_text_and_gets_litellms_class() {
    // The first of the errors would rest the only deployment.
    let stage = Stage::with("  disable_cooldowns: true\n").await;
    for (upstream_status, kind, code, status, class) in UPSTREAM_ERRORS {
        let text = format!("the upstream says {upstream_status}");
        stage
            .upstream
            .next(Reply::error(upstream_status, kind, code, &text));
        let error = stage.client.chat(&chat("gpt-4o")).await.error(status);
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains(&format!("litellm.{class}")),
            "{upstream_status}: {message}"
        );
        assert!(message.contains(&text), "{upstream_status}: {message}");
        assert!(!message.contains(UPSTREAM_KEY));
    }
}

#[tokio::test]
async fn a_context_window_error_is_recognised() {
    let stage = Stage::plain().await;
    let text = "This model's maximum context length is 128000 tokens. However, your messages resulted in 200000 tokens.";
    stage.upstream.next(Reply::error(
        400,
        "invalid_request_error",
        Some("context_length_exceeded"),
        text,
    ));
    let error = stage.client.chat(&chat("gpt-4o")).await.error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("litellm.ContextWindowExceededError"),
        "{error}"
    );
}

#[tokio::test]
async fn a_content_policy_error_is_recognised() {
    let stage = Stage::plain().await;
    let text = "Your request was rejected as a result of our safety system.";
    stage.upstream.next(Reply::error(
        400,
        "invalid_request_error",
        Some("content_policy_violation"),
        text,
    ));
    let error = stage.client.chat(&chat("gpt-4o")).await.error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("litellm.ContentPolicyViolationError"),
        "{error}"
    );
}

#[tokio::test]
async fn the_retry_after_of_the_upstream_reaches_the_client() {
    let stage = Stage::plain().await;
    let body = r#"{"error":{"message":"slow down","type":"tokens","param":null,"code":null}}"#;
    stage.upstream.next(Reply::status(
        429,
        &[("content-type", "application/json"), ("retry-after", "7")],
        body,
    ));
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(answer.error(429)["code"], "429");
    assert_eq!(answer.header("retry-after"), Some("7"));
}

#[tokio::test]
async fn the_two_generations_differ_where_litellm_changed() {
    let cases: [(&str, Value, Value); 2] = [
        ("2025", json!("None"), json!("None")),
        ("latest", json!("invalid_request_error"), json!(null)),
    ];
    for (compat, kind, param) in cases {
        let stage = with_general(&format!("compat_errors: '{compat}'")).await;
        stage.upstream.next(Reply::error(
            400,
            "invalid_request_error",
            None,
            "bad temperature",
        ));
        let error = stage.client.chat(&chat("gpt-4o")).await.error(400);
        assert_eq!(error["type"], kind, "{compat}: {error}");
        assert_eq!(error["param"], param, "{compat}: {error}");
        assert_eq!(error["code"], "400", "{compat}: {error}");
    }
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_have_the_frameworks_shape() {
    let stage = Stage::plain().await;
    let unknown = stage.client.get("/v1/no/such/route").await;
    assert_eq!(
        (unknown.status, unknown.json()),
        (404, json!({"detail": "Not Found"}))
    );
    let method = stage.client.get("/v1/chat/completions").await;
    assert_eq!(
        (method.status, method.json()),
        (405, json!({"detail": "Method Not Allowed"}))
    );
}

#[tokio::test]
async fn an_error_carries_the_call_id_and_costs_nothing() {
    let stage = Stage::plain().await;
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "broken"));
    let client = stage
        .client
        .clone()
        .header("x-litellm-call-id", "failing-call");
    let answer = client.chat(&chat("gpt-4o")).await;
    let error = answer.error(500);
    assert_eq!(answer.header("x-litellm-call-id"), Some("failing-call"));
    assert!(error.get("litellm_call_id").is_none(), "{error}");
}

#[tokio::test]
async fn an_error_says_the_call_id_in_its_body_when_the_operator_wants_it() {
    let stage = with_general("include_call_id_in_error_body: true").await;
    let client = stage.client.clone().header("x-litellm-call-id", "the-call");
    let refusal = Reply::error(400, "invalid_request_error", None, "odd");
    stage.upstream.next(refusal);
    let of_upstream = client.chat(&chat("gpt-4o")).await.error(400);
    let of_ours = client.chat(&json!({"model": "gpt-4o"})).await.error(400);
    let stranger = Client::of(&stage.gateway)
        .key("sk-nobody")
        .header("x-litellm-call-id", "the-call");
    let of_nobody = stranger.chat(&chat("gpt-4o")).await.error(401);
    for error in [of_upstream, of_ours, of_nobody] {
        assert_eq!(error["litellm_call_id"], "the-call", "{error}");
    }
    // An error inside a stream, too, and the id is the one that the header told.
    let frames = &openai::chat_frames("gpt-4o", "begun")[..2];
    stage.upstream.next(Reply::open_stream(frames).then_reset());
    let answer = stage.client.chat(&chat_stream("gpt-4o")).await;
    let events = answer.events();
    let last = events
        .iter()
        .rev()
        .find(|event| event.contains("\"error\""));
    let error: Value = serde_json::from_str(last.expect("an error")).expect("JSON");
    assert_eq!(
        error["error"]["litellm_call_id"].as_str(),
        answer.header("x-litellm-call-id"),
        "{error}"
    );
}

#[tokio::test]
async fn what_an_upstream_cannot_process_has_its_status_in_the_latest() {
    for (compat, status) in [("2025", 400), ("latest", 422)] {
        let stage = with_general(&format!("compat_errors: '{compat}'")).await;
        let refusal = Reply::error(422, "unprocessable_entity", None, "n is odd");
        stage.upstream.next(refusal);
        let error = stage.client.chat(&chat("gpt-4o")).await.error(status);
        assert_eq!(error["code"], status.to_string(), "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("litellm.BadRequestError: OpenAIException - n is odd"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_a_content_filter_found_is_told_in_the_latest() {
    let inner = json!({"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": true, "severity": "high"}}});
    let refused = json!({"error": {
        "message": "The response was filtered", "type": "invalid_request_error", "param": "prompt",
        "code": "content_policy_violation", "innererror": inner,
    }});
    for (compat, told) in [
        ("2025", Value::Null),
        (
            "latest",
            json!({"innererror": inner, "inner_error": inner, "azure_error": refused["error"]}),
        ),
    ] {
        let stage = with_general(&format!("compat_errors: '{compat}'")).await;
        stage.upstream.next(Reply::json(400, &refused));
        let error = stage.client.chat(&chat("gpt-4o")).await.error(400);
        assert_eq!(error["provider_specific_fields"], told, "{compat}: {error}");
    }
}

#[tokio::test]
async fn a_key_over_budget_is_named_in_the_latest() {
    let stage = with_general("compat_errors: latest").await;
    for (alias, named) in [(Some("ci"), "ci"), (None, "key")] {
        let body = json!({"key_alias": alias, "max_budget": 1e-9});
        let made = stage.client.post("/key/generate", &body).await.ok();
        let key = made["key"].as_str().expect("a key");
        let client = Client::of(&stage.gateway).key(key);
        client.chat(&chat("gpt-4o")).await.ok();
        let error = client.chat(&chat("gpt-4o")).await.error(422);
        let message = error["message"].as_str().unwrap_or_default();
        let shown = &key[key.len() - 4..];
        assert!(
            message.starts_with(&format!(
                "Budget has been exceeded! Key={named} (sk-...{shown}) Current cost: "
            )),
            "{error}"
        );
    }
}

/// With a line of `general_settings`.
async fn with_general(line: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let general = format!("general_settings:\n  {line}\n");
    let config = base_config(&upstream.api_base()).replace("general_settings:\n", &general);
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn client_side_credentials_are_refused_unless_allowed() {
    let stage = Stage::plain().await;
    let mut body = chat("gpt-4o");
    body["api_base"] = json!("http://169.254.169.254/latest");
    let error = stage.client.chat(&body).await.error(401);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("api_base"),
        "{error}"
    );
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn an_error_never_shows_the_upstreams_credential() {
    let stage = Stage::plain().await;
    let text =
        format!("Incorrect API key provided: {UPSTREAM_KEY}. You can find your API key at …");
    stage.upstream.next(Reply::error(
        401,
        "invalid_request_error",
        Some("invalid_api_key"),
        &text,
    ));
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains(UPSTREAM_KEY), "{}", answer.text());
    assert!(!stage.gateway.printed(UPSTREAM_KEY));
    let anonymous = Client::of(&stage.gateway).chat(&chat("gpt-4o")).await;
    assert_eq!(anonymous.status, 401);
}
