//! Plugins that call models through the gateway: what such a call is to routing, logs and limits, and what is refused.

use serde_json::{Value, json};
use witgate_testkit::openai::{chat_completion, content_frame};
use witgate_testkit::{FakeUpstream, Gateway, Recorder, Reply};

use crate::support::{Stage, base_config, chat};

/// The model that judges, as the upstream knows it.
const JUDGE: &str = "small";

/// A gateway with the example's judge on every call.
async fn judged(verdict: &str, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.on_model(JUDGE, Reply::json(200, &chat_completion(JUDGE, verdict)));
    let base = upstream.api_base();
    let config = base_config(&base).replace(
        "general_settings:\n",
        &format!(
            "  - model_name: judge\n    litellm_params: {{model: openai/{JUDGE}, api_base: '{base}', api_key: sk-judge, input_cost_per_token: 0.001, output_cost_per_token: 0.002}}\ngeneral_settings:\n"
        ),
    ) + "guardrails:\n  - guardrail_name: house-rules\n    litellm_params: {guardrail: custom-judge, mode: pre_call, default_on: true, model: judge, rules: No insults.}\n"
        + more;
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn a_judges_call_is_logged_and_priced_as_the_plugins_own() {
    let stage = judged(r#"{"allowed": true}"#, "").await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.ok();
    let call_id = answer
        .header("x-litellm-call-id")
        .unwrap_or_default()
        .to_owned();
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let of = |group: &str| {
        let found = rows.iter().find(|row| row["model_group"] == group);
        found
            .unwrap_or_else(|| panic!("no row of {group}: {rows:?}"))
            .clone()
    };
    let (own, judges) = (of("gpt-4o"), of("judge"));
    assert_eq!(judges["user"], "plugin:house-rules", "{judges}");
    assert_eq!(
        judges["session_id"], call_id,
        "in the trace of the call it judges: {judges}"
    );
    assert_ne!(judges["litellm_call_id"], call_id, "{judges}");
    // 11 tokens in, 7 out.
    let spend: f64 = judges["spend"]
        .to_string()
        .trim_matches('"')
        .parse()
        .unwrap();
    assert!((spend - 0.025).abs() < 1e-9, "{judges}");
    assert_ne!(own["user"], "plugin:house-rules", "{own}");
    let metrics = stage.gateway.metrics().await;
    assert_eq!(
        metrics.value(
            "witgate_plugin_llm_calls_total",
            &[("plugin", "house-rules"), ("outcome", "ok")]
        ),
        Some(1.0)
    );
    assert_eq!(
        metrics.value(
            "witgate_plugin_llm_cost_usd_total",
            &[("plugin", "house-rules")]
        ),
        Some(0.025)
    );
    // The judge is not judged: one call for each, and no third.
    assert_eq!(stage.upstream.requests().all().len(), 2);
}

#[tokio::test]
async fn a_judge_refuses_in_its_own_words() {
    let stage = judged(r#"{"allowed": false, "reason": "an insult"}"#, "").await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    let error = answer.error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("an insult"),
        "{error}"
    );
    let asked: Vec<Value> = stage
        .upstream
        .requests()
        .all()
        .iter()
        .map(|one| one.json())
        .collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0]["model"], JUDGE);
    assert!(
        asked[0]["messages"][1]["content"]
            .as_str()
            .unwrap_or_default()
            .contains("Hello!"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_judge_that_fails_decides_nothing() {
    let stage = judged("", "").await;
    stage.upstream.on_model(
        JUDGE,
        Reply::error(500, "server_error", None, "out of order"),
    );
    let error = stage.client.chat(&chat("gpt-4o")).await.error(500);
    assert!(
        error["message"]
            .as_str()
            .unwrap_or_default()
            .contains("house-rules"),
        "{error}"
    );
    let open = judged(
        "Well, it depends.",
        "plugins: {custom-judge: {fail: open}}\n",
    )
    .await;
    open.client.chat(&chat("gpt-4o")).await.ok();
}

/// A gateway with a plugin that calls models as its settings say.
async fn hostile(settings: &Value, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "{}guardrails:\n  - guardrail_name: hostile\n    litellm_params: {{guardrail: hostile-llm, mode: pre_call, default_on: true}}\n\
         plugins:\n  hostile-llm:\n    settings: {settings}\n    {more}\n",
        base_config(&upstream.api_base()).replace(
            "general_settings:\n",
            "general_settings:\n  allow_client_side_credentials: true\n"
        )
    );
    Stage::of(upstream, Gateway::builder(config)).await
}

fn request(more: Value) -> Value {
    let mut request =
        json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "hostile"}]});
    for (name, value) in more.as_object().into_iter().flatten() {
        request[name] = value.clone();
    }
    request
}

#[tokio::test]
async fn a_model_that_was_not_granted_is_not_called() {
    for more in ["fail: closed", "grants: {llm: [gpt-4o-mini, other/*]}"] {
        let stage = hostile(&json!({}), more).await;
        stage.client.chat(&chat("gpt-4o")).await.error(500);
        stage
            .gateway
            .wait_for_log("plugins.hostile.grants.llm")
            .await;
        assert!(stage.upstream.requests().is_empty());
    }
}

#[tokio::test]
async fn a_fallback_of_its_own_leads_to_no_other_model() {
    let fallbacks = request(json!({"fallbacks": ["gpt-3.5-turbo-instruct"]}));
    let stage = hostile(&json!({"request": fallbacks}), "grants: {llm: [gpt-4o]}").await;
    stage.upstream.on_model(
        "gpt-4o",
        Reply::error(500, "server_error", None, "out of order"),
    );
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let asked: Vec<Value> = stage
        .upstream
        .requests()
        .all()
        .iter()
        .map(|one| one.json())
        .collect();
    assert!(
        asked.iter().all(|one| one["model"] == "gpt-4o"),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_plugin_is_not_called_for_its_own_call() {
    let own = request(json!({"guardrails": ["hostile"]}));
    let stage = hostile(
        &json!({"request": own, "harmless": true}),
        "grants: {llm: ['*']}",
    )
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().all().len(), 2);
}

#[tokio::test]
async fn two_plugins_that_call_for_each_other_come_to_an_end() {
    let upstream = FakeUpstream::start().await;
    let guard = |name: &str| {
        format!(
            "  - guardrail_name: {name}\n    litellm_params: {{guardrail: hostile-llm, mode: pre_call, default_on: true}}\n"
        )
    };
    let config = format!(
        "{}guardrails:\n{}{}plugins:\n  hostile-llm:\n    settings: {{harmless: true}}\n    grants: {{llm: [gpt-4o]}}\n",
        base_config(&upstream.api_base()),
        guard("one"),
        guard("two"),
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    // The client's; each plugin's for it; each plugin's for the other's call.
    assert_eq!(stage.upstream.requests().all().len(), 5);
}

#[tokio::test]
async fn a_flood_of_calls_ends_at_the_limit() {
    for (more, calls) in [
        ("grants: {llm: ['*']}", 8),
        ("grants: {llm: ['*']}\n    limits: {llm_calls: 3}", 3),
        // 18 tokens each: the call that goes over the limit is the last one.
        ("grants: {llm: ['*']}\n    limits: {llm_tokens: 20}", 2),
    ] {
        let stage = hostile(&json!({"times": 1000}), more).await;
        stage.client.chat(&chat("gpt-4o")).await.error(500);
        assert_eq!(stage.upstream.requests().all().len(), calls, "{more}");
        // The next request of a client begins anew.
        stage.client.chat(&chat("gpt-4o")).await.error(500);
        assert_eq!(stage.upstream.requests().all().len(), 2 * calls, "{more}");
    }
}

#[tokio::test]
async fn a_models_call_is_no_way_around_the_egress_policy() {
    let elsewhere = Recorder::start(Reply::status(200, &[], "reached")).await;
    let own = request(json!({"api_base": elsewhere.origin(), "api_key": "sk-own"}));
    let stage = hostile(&json!({"request": own}), "grants: {llm: ['*']}").await;
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    assert_eq!(elsewhere.connections(), 0);
    assert!(stage.upstream.requests().is_empty());
}

/// The text of the guard's stream, which it refuses the call with.
async fn streamed(stage: &Stage) -> String {
    let error = stage.client.chat(&chat("gpt-4o")).await.error(418);
    let message = error["message"].as_str().unwrap_or_default();
    message.trim_start_matches("hostile: ").to_owned()
}

#[tokio::test]
async fn an_answer_can_be_read_as_it_is_made() {
    let settings = json!({"behaviour": "chat-stream"});
    let stage = hostile(&settings, "grants: {llm: [gpt-4o]}").await;
    stage.upstream.next(Reply::says("All in pieces."));
    assert_eq!(streamed(&stage).await, "All in pieces.");
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["stream"], true, "{sent}");
    // What it used is known although the plugin did not ask for it.
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let own = rows.iter().find(|row| row["user"] == "plugin:hostile");
    let own = own.unwrap_or_else(|| panic!("no row of the plugin's: {rows:?}"));
    assert_eq!(own["total_tokens"], 18, "{own}");
    let metrics = stage.gateway.metrics().await;
    let calls = [("plugin", "hostile"), ("outcome", "ok")];
    assert_eq!(
        metrics.value("witgate_plugin_llm_calls_total", &calls),
        Some(1.0)
    );
}

#[tokio::test]
async fn a_stream_that_is_left_open_ends_with_the_plugins_call() {
    let settings = json!({"behaviour": "chat-stream", "chunks": 1});
    let stage = hostile(&settings, "grants: {llm: [gpt-4o]}").await;
    let first = content_frame("gpt-4o", "first");
    stage
        .upstream
        .next(Reply::open_stream(&[first]).then_stall());
    assert_eq!(streamed(&stage).await, "first");
    // The upstream sees it leave.
    stage.upstream.departures().wait_for(1).await;
}

#[tokio::test]
async fn streams_fail_before_and_after_they_began() {
    let settings = json!({"behaviour": "chat-stream"});
    let stage = hostile(&settings, "grants: {llm: [gpt-4o]}").await;
    stage.upstream.next(Reply::error(
        400,
        "invalid_request_error",
        None,
        "no such thing",
    ));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    stage.gateway.wait_for_log("no such thing").await;
    let first = content_frame("gpt-4o", "first");
    stage
        .upstream
        .next(Reply::open_stream(&[first]).then_reset());
    stage.client.chat(&chat("gpt-4o")).await.error(500);
}

#[tokio::test]
async fn streams_count_towards_the_limits() {
    // 18 tokens each: the call that goes over the limit is the last one.
    let settings = json!({"behaviour": "chat-stream", "times": 1000});
    let more = "grants: {llm: ['*']}\n    limits: {llm_tokens: 20}";
    let stage = hostile(&settings, more).await;
    stage.upstream.always(Reply::says("All in pieces."));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    assert_eq!(stage.upstream.requests().all().len(), 2);
}
