//! Which deployment serves a call, and what happens when it cannot.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, chat, chat_stream};

fn error_500() -> Reply {
    Reply::error(500, "server_error", None, "broken")
}

fn group(name: &str, upstream: &FakeUpstream) -> String {
    format!(
        "  - model_name: {name}\n    litellm_params: {{model: openai/{name}-model, api_base: '{}', api_key: k}}\n",
        upstream.api_base()
    )
}

fn settings(router: &str) -> String {
    format!("general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{{router}}}\n")
}

#[tokio::test]
async fn a_failed_call_is_tried_again() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n{}{}",
        group("a", &upstream),
        settings("num_retries: 2, retry_after: 0")
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.upstream.next(error_500()).next(error_500());
    let answer = stage.client.chat(&chat("a")).await;
    answer.ok();
    assert_eq!(stage.upstream.requests().len(), 3);
    assert_eq!(answer.header("x-litellm-attempted-retries"), Some("2"));
    let rows = stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(
        rows.len(),
        1,
        "one request is one row, however often it was tried: {rows:#?}"
    );
}

#[tokio::test]
async fn retries_end() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n{}{}",
        group("a", &upstream),
        settings("num_retries: 1, retry_after: 0")
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.upstream.always(error_500());
    stage.client.chat(&chat("a")).await.error(500);
    assert_eq!(stage.upstream.requests().len(), 2);
}

#[tokio::test]
async fn the_callers_own_fault_is_not_tried_again() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n{}{}",
        group("a", &upstream),
        settings("num_retries: 3")
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage
        .upstream
        .always(Reply::error(400, "invalid_request_error", None, "bad"));
    stage.client.chat(&chat("a")).await.error(400);
    assert_eq!(stage.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_caller_may_choose_the_number_of_retries() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n{}{}",
        group("a", &upstream),
        settings("num_retries: 3, retry_after: 0")
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.upstream.always(error_500());
    let client = stage.client.clone().header("x-litellm-num-retries", "0");
    client.chat(&chat("a")).await.error(500);
    assert_eq!(stage.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_group_that_fails_falls_back_to_the_next() {
    let (first, second) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let config = format!(
        "model_list:\n{}{}{}",
        group("a", &first),
        group("b", &second),
        settings("num_retries: 0, fallbacks: [{a: [b]}]")
    );
    first.always(error_500());
    let stage = Stage::of(first, Gateway::builder(config)).await;
    let answer = stage.client.chat(&chat("a")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("1"));
    assert_eq!(answer.header("x-litellm-model-group"), Some("b"));
    assert_eq!(second.requests().last().json()["model"], "b-model");

    let events = stage.client.open(&chat_stream("a")).await.rest().await;
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    assert_eq!(second.requests().len(), 2);
}

#[tokio::test]
async fn a_request_may_refuse_or_bring_fallbacks() {
    let (first, second) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let config = format!(
        "model_list:\n{}{}{}",
        group("a", &first),
        group("b", &second),
        settings("num_retries: 0")
    );
    first.always(error_500());
    let stage = Stage::of(first, Gateway::builder(config)).await;
    stage.client.chat(&chat("a")).await.error(500);
    let mut body = chat("a");
    body["fallbacks"] = json!(["b"]);
    stage.client.chat(&body).await.ok();
    body["disable_fallbacks"] = json!(true);
    stage.client.chat(&body).await.error(500);
    assert_eq!(second.requests().len(), 1);
    assert!(second.requests().last().json().get("fallbacks").is_none());
}

#[tokio::test]
async fn deployments_of_a_group_share_the_load_by_weight() {
    let (light, heavy) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let deployment = |upstream: &FakeUpstream, weight: u32| {
        format!(
            "  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k, weight: {weight}}}\n",
            upstream.api_base()
        )
    };
    let config = format!(
        "model_list:\n{}{}{}",
        deployment(&light, 1),
        deployment(&heavy, 3),
        settings("num_retries: 0")
    );
    let stage = Stage::of(light, Gateway::builder(config)).await;
    for _ in 0..200 {
        stage.client.chat(&chat("a")).await.ok();
    }
    let (light, heavy) = (stage.upstream.requests().len(), heavy.requests().len());
    assert_eq!(light + heavy, 200);
    // Expected 150 of 200; five standard deviations are 31.
    assert!(
        (119..=181).contains(&heavy),
        "heavy got {heavy}, light {light}"
    );
}

#[tokio::test]
async fn a_credential_is_used_by_name() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "credential_list:\n  - credential_name: shared\n    credential_values: {{api_key: sk-shared, api_base: '{}'}}\n\
         model_list:\n  - model_name: a\n    litellm_params: {{model: openai/m, litellm_credential_name: shared}}\n{}",
        upstream.api_base(),
        settings("num_retries: 0")
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("a")).await.ok();
    assert_eq!(
        stage.upstream.requests().last().header("authorization"),
        Some("Bearer sk-shared")
    );
}

#[tokio::test]
async fn a_key_from_the_environment_is_used() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: a\n    litellm_params: {{model: openai/m, api_base: os.environ/MY_BASE, api_key: os.environ/MY_KEY}}\n{}",
        settings("num_retries: 0")
    );
    let gateway = Gateway::builder(config)
        .env("MY_BASE", upstream.api_base())
        .env("MY_KEY", "sk-from-env");
    let stage = Stage::of(upstream, gateway).await;
    stage.client.chat(&chat("a")).await.ok();
    assert_eq!(
        stage.upstream.requests().last().header("authorization"),
        Some("Bearer sk-from-env")
    );
}

/// `use_litellm_proxy`: the upstream is a gateway itself, and knows the model by its whole name.
#[tokio::test]
async fn a_gateway_as_upstream_gets_the_models_whole_name() {
    let upstream = FakeUpstream::start().await;
    let entry = |name: &str, model: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: {model}, use_litellm_proxy: true}}\n"
        )
    };
    let config = format!(
        "model_list:\n{}{}{}general_settings: {{master_key: {MASTER_KEY}}}\n",
        entry("a", "openai/gpt-4o"),
        entry("b", "anthropic/claude-sonnet-4"),
        entry("c", "litellm_proxy/their-group"),
    );
    let builder = Gateway::builder(config)
        .env("LITELLM_PROXY_API_BASE", upstream.api_base())
        .env("LITELLM_PROXY_API_KEY", UPSTREAM_KEY);
    let stage = Stage::of(upstream, builder).await;
    for (name, sent) in [
        ("a", "openai/gpt-4o"),
        ("b", "anthropic/claude-sonnet-4"),
        ("c", "their-group"),
    ] {
        stage.client.chat(&chat(name)).await.ok();
        let request = stage.upstream.requests().all().pop().expect("a request");
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["model"], sent, "{name}");
        assert_eq!(request.path(), "/v1/chat/completions");
        let key = format!("Bearer {UPSTREAM_KEY}");
        assert_eq!(request.header("authorization"), Some(key.as_str()));
    }
}
