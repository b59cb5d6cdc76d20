//! What keeps a call going: policies of retries, fallbacks by kind of failure, streams that go on
//! elsewhere, health checks.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply, openai};

use crate::support::{Client, MASTER_KEY, Stage, chat, chat_stream, eventually, http_client};

/// Deployments of the same upstream: group, upstream's name of the model, more `litellm_params`, `model_info`.
async fn stage(deployments: &[(&str, &str, &str, &str)], more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let list: String = deployments
        .iter()
        .map(|(group, model, params, info)| {
            format!(
                "  - model_name: {group}\n    litellm_params: {{model: openai/{model}, api_base: '{}', api_key: k{params}}}\n    model_info: {{{info}}}\n",
                upstream.api_base()
            )
        })
        .collect();
    let config = format!("model_list:\n{list}{more}");
    Stage::of(upstream, Gateway::builder(config)).await
}

fn settings(router: &str) -> String {
    format!("general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{{router}}}\n")
}

fn models(stage: &Stage) -> Vec<String> {
    let requests = stage.upstream.requests().all();
    let model = |request: &witgate_testkit::Recorded| {
        request.json()["model"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    requests.iter().map(model).collect()
}

fn error(status: u16) -> Reply {
    Reply::error(status, "server_error", None, "no")
}

/// Settings of the router, the upstream's status, how often it is called.
#[tokio::test]
async fn retries_follow_the_policy_of_the_group_and_the_error() {
    for (router, status, calls) in [
        (
            "num_retries: 0, retry_policy: {InternalServerErrorRetries: 2}",
            500,
            3,
        ),
        (
            "num_retries: 2, retry_policy: {RateLimitErrorRetries: 0}",
            429,
            1,
        ),
        ("num_retries: 0, retry_policy: {DefaultRetries: 1}", 400, 2),
        (
            "num_retries: 0, retry_policy: {DefaultRetries: 5}, model_group_retry_policy: {a: {InternalServerErrorRetries: 1}}",
            500,
            2,
        ),
    ] {
        let upstream = FakeUpstream::start().await;
        let deployment = format!(
            "model_list:\n  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k}}\n",
            upstream.api_base()
        );
        let gateway = Gateway::builder(deployment + &settings(router))
            .env("INITIAL_RETRY_DELAY", "0")
            .env("JITTER", "0");
        let stage = Stage::of(upstream, gateway).await;
        // A pause is the bound of the exponential one, and this is set to nothing.
        stage.upstream.always(error(status));
        stage.client.chat(&chat("a")).await.error(status);
        assert_eq!(stage.upstream.requests().len(), calls, "{router}");
    }
}

#[tokio::test]
async fn a_wrong_policy_is_refused_with_its_place() {
    let config = "model_list: []\nrouter_settings: {retry_policy: {TeapotErrorRetries: 1}}\n";
    let refusal = Gateway::builder(config).expect_refusal().await;
    let told = format!("{refusal:?}");
    assert!(told.contains("TeapotErrorRetries"), "{told}");
}

#[tokio::test]
async fn each_kind_of_failure_has_its_own_fallbacks() {
    let router = "num_retries: 0, fallbacks: [{a: [b]}], context_window_fallbacks: [{a: [long]}], content_policy_fallbacks: [{a: [lax]}]";
    let stage = stage(
        &[
            ("a", "a", "", ""),
            ("b", "b", "", ""),
            ("long", "long", "", ""),
            ("lax", "lax", "", ""),
        ],
        &settings(router),
    )
    .await;
    let refused = |message| Reply::error(400, "invalid_request_error", None, message);
    for (reply, to) in [
        (error(500), "b"),
        (
            refused("This model's maximum context length is 8 tokens"),
            "long",
        ),
        (
            refused("Invalid prompt: it is violating our usage policy"),
            "lax",
        ),
    ] {
        stage.upstream.next(reply);
        stage.client.chat(&chat("a")).await.ok();
        assert_eq!(models(&stage).last().map(String::as_str), Some(to));
    }
    let mut body = chat("a");
    body["mock_testing_context_window_fallbacks"] = json!(true);
    stage.client.chat(&body).await.ok();
    assert_eq!(models(&stage).len(), 7, "the first group was not asked");
}

#[tokio::test]
async fn a_stream_that_breaks_goes_on_at_another_deployment() {
    let router =
        "num_retries: 0, fallbacks: [{a: [b]}], enable_mid_stream_fallback_continuation: true";
    let stage = stage(
        &[
            ("a", "a", "", "supports_assistant_prefill: true"),
            ("b", "b", "", "supports_assistant_prefill: true"),
        ],
        &settings(router),
    )
    .await;
    let begin = [
        openai::content_frame("a", "Once "),
        openai::content_frame("a", "upon "),
    ];
    stage.upstream.next(Reply::open_stream(&begin).then_reset());
    let mut rest = openai::chat_frames("b", "a time.");
    let done = rest.pop().expect("the last frame");
    rest.extend([openai::usage_frame("b"), done]);
    stage.upstream.next(Reply::stream(&rest));
    let mut body = chat_stream("a");
    body["max_tokens"] = json!(50);
    body["stream_options"] = json!({"include_usage": true});
    let events = stage.client.open(&body).await.rest().await;
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let chunks: Vec<Value> = events[..events.len() - 1]
        .iter()
        .map(|event| serde_json::from_str(event).expect("JSON"))
        .collect();
    let text: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, "Once upon a time.");
    for chunk in &chunks {
        assert_eq!(
            (&chunk["id"], &chunk["model"]),
            (&chunks[0]["id"], &json!("a")),
            "{chunk}"
        );
    }
    let usage = &chunks.last().expect("the usage")["usage"];
    let sent = stage.upstream.requests().all();
    let second = sent[1].json();
    assert_eq!(
        second["messages"],
        json!([
            {"role": "user", "content": "Hello!"},
            {"role": "assistant", "content": "Once upon ", "prefix": true},
        ])
    );
    let left = second["max_tokens"].as_u64().expect("max_tokens");
    assert!((45..50).contains(&left), "{second}");
    let rows = stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(rows.len(), 1, "one call, one row: {rows:#?}");
    let alone: Value = serde_json::from_str(&openai::usage_frame("b")).expect("JSON");
    assert!(
        usage["total_tokens"].as_u64() > alone["usage"]["total_tokens"].as_u64(),
        "the usage is that of both parts: {usage}"
    );
}

/// What stands against going on, and the text of the client's stream until it breaks.
#[tokio::test]
async fn a_stream_that_may_not_go_on_ends_with_an_error() {
    let on = "num_retries: 0, fallbacks: [{a: [b]}], enable_mid_stream_fallback_continuation: true";
    let off = "num_retries: 0, fallbacks: [{a: [b]}]";
    let prefill = "supports_assistant_prefill: true";
    for (router, info, extra) in [
        (off, prefill, json!({})),
        (on, "supports_assistant_prefill: false", json!({})),
        (
            on,
            prefill,
            json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ),
        (
            on,
            prefill,
            json!({"response_format": {"type": "json_object"}}),
        ),
        (on, prefill, json!({"disable_fallbacks": true})),
        (on, prefill, json!({"n": 2})),
    ] {
        let stage = stage(
            &[("a", "a", "", prefill), ("b", "b", "", info)],
            &settings(router),
        )
        .await;
        let begin = [openai::content_frame("a", "Once ")];
        stage.upstream.next(Reply::open_stream(&begin).then_reset());
        let mut body = chat_stream("a");
        for (name, value) in extra.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let events = stage.client.open(&body).await.rest().await;
        let last: Value = serde_json::from_str(events.last().expect("an event")).expect("JSON");
        assert!(last["error"].is_object(), "{router} {extra}: {events:?}");
        assert_eq!(stage.upstream.requests().len(), 1);
    }
}

/// What a guardrail has to judge when it is complete cannot go on elsewhere.
#[tokio::test]
async fn a_stream_that_a_guardrail_judges_does_not_go_on() {
    let upstream = FakeUpstream::start().await;
    let entry = |name: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/{name}, api_base: '{}', api_key: k}}\n    model_info: {{supports_assistant_prefill: true}}\n",
            upstream.api_base()
        )
    };
    let config = ["model_list:\n".to_owned(), entry("a"), entry("b")].concat()
        + &settings(
            "num_retries: 0, fallbacks: [{a: [b]}], enable_mid_stream_fallback_continuation: true",
        )
        + "guardrails:\n  - guardrail_name: hide\n    litellm_params: {guardrail: hide-secrets, mode: post_call, default_on: true}\n";
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    let begin = [openai::content_frame("a", "Once ")];
    stage.upstream.next(Reply::open_stream(&begin).then_reset());
    let events = stage.client.open(&chat_stream("a")).await.rest().await;
    let last: Value = serde_json::from_str(events.last().expect("an event")).expect("JSON");
    assert!(last["error"].is_object(), "{events:?}");
    assert_eq!(stage.upstream.requests().len(), 1);
}

#[tokio::test]
async fn an_unhealthy_deployment_gets_no_traffic() {
    let more = format!(
        "general_settings: {{master_key: {MASTER_KEY}, background_health_checks: true, health_check_interval: 3600}}\nrouter_settings: {{num_retries: 0, enable_health_check_routing: true, disable_cooldowns: true}}\n"
    );
    let upstream = FakeUpstream::start().await;
    let entry = |id: &str| {
        format!(
            "  - model_name: a\n    litellm_params: {{model: openai/{id}, api_base: '{}', api_key: k}}\n    model_info: {{id: {id}}}\n",
            upstream.api_base()
        )
    };
    let config = [
        "model_list:\n".to_owned(),
        entry("well"),
        entry("ill"),
        more,
    ]
    .concat();
    upstream.on_model("ill", error(500));
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    eventually("a round", async || {
        let told = stage.client.post("/utils/explain", &chat("a")).await.ok();
        (told["candidates"][1]["dropped_by"] == "health_check").then_some(())
    })
    .await;
    let before = stage.upstream.requests().len();
    for _ in 0..20 {
        let answer = stage.client.chat(&chat("a")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-model-id"), Some("well"));
    }
    assert_eq!(stage.upstream.requests().len(), before + 20);
}

#[tokio::test]
async fn health_has_a_listener_of_its_own_when_asked() {
    let upstream = FakeUpstream::start().await;
    let config = format!("model_list: []\ngeneral_settings: {{master_key: {MASTER_KEY}}}\n");
    let gateway = Gateway::builder(config)
        .env("SEPARATE_HEALTH_APP", "1")
        .env("SEPARATE_HEALTH_PORT", "0");
    let stage = Stage::of(upstream, gateway).await;
    let base = eventually("the second listener", async || {
        let lines = stage.gateway.logs().all();
        let base = |line: &String| {
            let (_, rest) = line.split_once("health routes on ")?;
            Some(
                rest.split_whitespace()
                    .next()?
                    .trim_end_matches('"')
                    .to_owned(),
            )
        };
        lines.iter().find_map(base)
    })
    .await;
    let client = Client::at(&base, http_client(|builder| builder));
    assert_eq!(
        client.get("/health/liveliness").await.ok(),
        json!("I'm alive!")
    );
    assert_eq!(
        client.get("/health/readiness").await.ok()["db"],
        "connected"
    );
    client.get("/health").await.error(401);
    let health = client.clone().key(MASTER_KEY).get("/health").await.ok();
    assert_eq!(health["healthy_count"], 0);
    for path in ["/v1/models", "/healthy", "/metrics"] {
        assert_eq!(client.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn health_is_looked_after_in_the_background() {
    let more = format!(
        "general_settings: {{master_key: {MASTER_KEY}, background_health_checks: true, health_check_interval: 3600}}\n"
    );
    let stage = stage(
        &[
            ("a", "a", "", "id: one"),
            (
                "b",
                "b",
                "",
                "id: two, disable_background_health_check: true",
            ),
        ],
        &more,
    )
    .await;
    let health = eventually("a round", async || {
        let health = stage.client.get("/health").await.ok();
        // Before the end of the first round the deployments are called at once, all of them.
        (health["healthy_count"] == 1).then_some(health)
    })
    .await;
    assert_eq!(health["healthy_endpoints"][0]["model_id"], "one");
    let calls = stage.upstream.requests().len();
    let none = stage.client.get("/health?model_id=nobody").await.ok();
    assert_eq!(
        (&none["healthy_count"], &none["unhealthy_count"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(stage.upstream.requests().len(), calls, "nobody was called");
}

#[tokio::test]
async fn a_service_tier_has_its_own_timeout() {
    // They wait as long as they may, and the answer says how long that was.
    let params = ", mock_timeout: true, timeout: 0.03, stream_timeout: 0.02, timeout_by_service_tier: {flex: 0.05, priority: 0.01}";
    let default = ", mock_timeout: true, timeout: 0.03, service_tier: flex, timeout_by_service_tier: {flex: 0.05}";
    let sent = ", timeout_by_service_tier: {flex: 900}";
    let list = [
        ("a", "a", params, ""),
        ("b", "b", default, ""),
        ("c", "c", sent, ""),
    ];
    let stage = stage(&list, &settings("num_retries: 0")).await;
    let with = |model: &str, more: Value| {
        let mut body = chat(model);
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    for (body, expected) in [
        (with("a", json!({})), "0.03"),
        (with("a", json!({"service_tier": "flex"})), "0.05"),
        (with("a", json!({"service_tier": "priority"})), "0.01"),
        (with("a", json!({"service_tier": "auto"})), "0.03"),
        (
            with("a", json!({"service_tier": "flex", "timeout": 0.04})),
            "0.04",
        ),
        (
            with("a", json!({"service_tier": "flex", "stream": true})),
            "0.05",
        ),
        (with("a", json!({"stream": true})), "0.02"),
        (with("b", json!({})), "0.05"),
        (with("b", json!({"service_tier": "default"})), "0.03"),
    ] {
        let answer = stage.client.chat(&body).await;
        assert_eq!(answer.status, 408, "{body}");
        assert_eq!(answer.header("x-litellm-timeout"), Some(expected), "{body}");
    }
    // The tier is sent on, as it was.
    let body = with("c", json!({"service_tier": "flex"}));
    stage.client.chat(&body).await.ok();
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["service_tier"], "flex");
    assert!(sent.get("timeout_by_service_tier").is_none(), "{sent}");
}

/// Whose provider nobody can tell is no deployment: it is left out, and the rest is served.
#[tokio::test]
async fn a_deployment_of_no_known_provider_is_left_out() {
    let upstream = FakeUpstream::start().await;
    let config = |router: &str| {
        format!(
            "model_list:\n  - model_name: a\n    litellm_params: {{model: mystery-9000, api_base: '{base}', api_key: k}}\n  - model_name: a\n    litellm_params: {{model: openai/known, api_base: '{base}', api_key: k}}\n  - model_name: b\n    litellm_params: {{model: mystery-9000, api_base: '{base}', api_key: k}}\n{}",
            settings(router),
            base = upstream.api_base()
        )
    };
    let refusal = Gateway::builder(config("ignore_invalid_deployments: false"))
        .expect_refusal()
        .await;
    assert!(
        refusal.output.contains("LLM Provider NOT provided"),
        "{}",
        refusal.output
    );
    let stage = Stage::of(
        FakeUpstream::start().await,
        Gateway::builder(config("num_retries: 0")),
    )
    .await;
    stage
        .gateway
        .wait_for_log("the deployment is left out")
        .await;
    for _ in 0..10 {
        stage.client.chat(&chat("a")).await.ok();
    }
    assert_eq!(upstream.requests().len(), 10);
    stage.client.chat(&chat("b")).await.error(400);
    let listed = stage.client.get("/v1/models").await.ok();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "{listed}");
}
