//! A request through the whole gateway, without plugins: what the upstream gets, what the
//! client gets.

use serde_json::json;
use witgate_testkit::{Reply, openai};

use crate::support::{Stage, UPSTREAM_KEY, chat};

#[tokio::test]
async fn a_chat_completion_reaches_the_upstream_with_its_own_key_and_comes_back() {
    let stage = Stage::plain().await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;

    let body = answer.ok();
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "gpt-4o");
    assert_eq!(answer.content(), openai::DEFAULT_TEXT);
    assert_eq!(body["usage"]["total_tokens"], 18);

    let request = stage.upstream.requests().last();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {UPSTREAM_KEY}").as_str())
    );
    assert_eq!(request.json()["model"], "gpt-4o");
}

#[tokio::test]
async fn the_callers_credential_never_reaches_the_upstream() {
    let stage = Stage::plain().await;
    let carriers = [
        (
            "authorization",
            format!("Bearer {}", crate::support::MASTER_KEY),
        ),
        ("x-api-key", crate::support::MASTER_KEY.to_owned()),
        ("api-key", crate::support::MASTER_KEY.to_owned()),
        ("x-litellm-api-key", crate::support::MASTER_KEY.to_owned()),
    ];
    for (name, value) in carriers {
        let client = crate::support::Client::of(&stage.gateway).header(name, &value);
        client.chat(&chat("gpt-4o")).await.ok();
        let request = stage.upstream.requests().last();
        let leaked = request
            .headers
            .iter()
            .any(|(_, value)| value.contains(crate::support::MASTER_KEY));
        assert!(!leaked, "{name} was passed on: {:?}", request.headers);
    }
}

#[tokio::test]
async fn the_deployments_model_name_goes_up_and_the_groups_name_comes_back() {
    let upstream = witgate_testkit::FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: fast\n    litellm_params: {{model: openai/gpt-4o-mini, api_base: '{}', api_key: k}}\n\
         general_settings: {{master_key: {}}}\n",
        upstream.api_base(),
        crate::support::MASTER_KEY
    );
    let stage = Stage::of(upstream, witgate_testkit::Gateway::builder(config)).await;
    let body = stage.client.chat(&chat("fast")).await.ok();
    assert_eq!(
        stage.upstream.requests().last().json()["model"],
        "gpt-4o-mini"
    );
    assert_eq!(body["model"], "fast");
}

#[tokio::test]
async fn embeddings_pass() {
    let stage = Stage::plain().await;
    let body = json!({"model": "text-embedding-3-small", "input": ["one", "two"]});
    let answer = stage.client.post("/v1/embeddings", &body).await.ok();
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(answer["data"][1]["embedding"], json!([0.25, -0.5, 1.0]));
    assert_eq!(stage.upstream.requests().last().target, "/v1/embeddings");
}

#[tokio::test]
async fn text_completions_pass() {
    let stage = Stage::plain().await;
    let body = json!({"model": "gpt-3.5-turbo-instruct", "prompt": "Say this is a test"});
    let answer = stage.client.post("/v1/completions", &body).await.ok();
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["choices"][0]["text"], openai::DEFAULT_TEXT);
    assert_eq!(stage.upstream.requests().last().target, "/v1/completions");
}

#[tokio::test]
async fn tool_calls_pass() {
    let stage = Stage::plain().await;
    let mut body = chat("gpt-4o");
    body["tools"] = json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]);
    let answer = stage.client.chat(&body).await.ok();
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["name"], "weather");
    assert_eq!(call["arguments"], openai::TOOL_ARGUMENTS);
    assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn the_answer_carries_litellms_headers() {
    let stage = Stage::plain().await;
    let client = stage
        .client
        .clone()
        .header("x-litellm-call-id", "call-of-the-test")
        .header("origin", "https://app.example");
    let answer = client.chat(&chat("gpt-4o")).await;
    answer.ok();

    assert_eq!(answer.header("x-litellm-call-id"), Some("call-of-the-test"));
    assert_eq!(answer.header("x-litellm-model-group"), Some("gpt-4o"));
    assert_eq!(
        answer.header("x-litellm-model-api-base"),
        Some(stage.upstream.api_base().as_str())
    );
    assert_eq!(answer.header("x-litellm-attempted-retries"), Some("0"));
    assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("0"));
    for present in ["x-litellm-model-id", "x-litellm-version"] {
        assert!(
            answer
                .header(present)
                .is_some_and(|value| !value.is_empty()),
            "{present} is missing"
        );
    }
    for number in [
        "x-litellm-response-duration-ms",
        "x-litellm-overhead-duration-ms",
        "x-litellm-response-cost",
    ] {
        let value = answer.header(number).unwrap_or_default();
        assert!(
            value.parse::<f64>().is_ok_and(|value| value >= 0.0),
            "{number}: {value:?}"
        );
    }
    // 11 prompt tokens at 2.5 and 7 completion tokens at 10 dollars the million.
    let cost: f64 = answer
        .header("x-litellm-response-cost")
        .unwrap_or_default()
        .parse()
        .unwrap_or_default();
    assert!((cost - 97.5e-6).abs() < 1e-12, "{cost}");
    assert_eq!(answer.header("llm_provider-x-request-id"), Some("req_fake"));
    assert_eq!(
        answer.header("x-ratelimit-remaining-requests"),
        Some("4999")
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    for (name, value) in &answer.headers {
        let value = value.to_str().unwrap_or_default();
        assert!(
            !value.is_empty() && value != "None",
            "{name} has the value {value:?}"
        );
    }
}

#[tokio::test]
async fn every_call_has_its_own_id() {
    let stage = Stage::plain().await;
    let first = stage.client.chat(&chat("gpt-4o")).await;
    let second = stage.client.chat(&chat("gpt-4o")).await;
    let ids = [
        first.header("x-litellm-call-id"),
        second.header("x-litellm-call-id"),
    ];
    assert!(ids[0].is_some() && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn connections_to_the_upstream_are_reused() {
    let stage = Stage::plain().await;
    for _ in 0..20 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    assert_eq!(stage.upstream.requests().len(), 20);
    assert_eq!(stage.upstream.connections(), 1);
}

#[tokio::test]
async fn hop_by_hop_and_framing_headers_of_the_upstream_stay_behind() {
    let stage = Stage::plain().await;
    let headers = [
        ("content-type", "application/json"),
        ("connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("set-cookie", "session=upstream"),
        ("server", "cloud"),
    ];
    let body = openai::chat_completion("gpt-4o", "hi").to_string();
    stage.upstream.next(Reply::status(200, &headers, body));
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.ok();
    for dropped in ["keep-alive", "set-cookie"] {
        assert_eq!(answer.header(dropped), None, "{dropped} came through");
    }
}

#[tokio::test]
async fn a_mock_response_needs_no_upstream() {
    let stage = Stage::plain().await;
    let mut body = chat("gpt-4o");
    body["mock_response"] = json!("mocked");
    let answer = stage.client.chat(&body).await;
    assert_eq!(answer.content(), "mocked");
    assert_eq!(answer.json()["usage"]["total_tokens"], 30);
    assert!(stage.upstream.requests().is_empty());
}
