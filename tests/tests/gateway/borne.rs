//! Limits and budgets where they are easily forgotten: requests that ask no model, tokens of a day of those that a key belongs to.

use serde_json::{Value, json};
use witgate_testkit::judges::{self, KEY};
use witgate_testkit::{FakeUpstream, Gate, Gateway, Recorder, openai};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat};

/// The model `gpt-4o` at a dollar a token of the prompt, and the guardrail `g` that asks `judge`.
async fn stage(judge: &Recorder) -> Stage {
    let upstream = FakeUpstream::start().await;
    let (api_base, judge) = (upstream.api_base(), judge.origin());
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, input_cost_per_token: 1, output_cost_per_token: 0}}\nguardrails:\n  - guardrail_name: g\n    litellm_params: {{guardrail: generic_guardrail_api, mode: pre_call, api_base: '{judge}', api_key: {KEY}}}\ngeneral_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n"
    );
    Stage::of(upstream, Gateway::builder(config)).await
}

async fn key(stage: &Stage, body: Value) -> Client {
    let made = stage.client.post("/key/generate", &body).await.ok();
    Client::of(&stage.gateway).key(made["key"].as_str().unwrap())
}

fn text() -> Value {
    json!({"guardrail_name": "g", "text": "x"})
}

const ROUTES: [&str; 3] = [
    "/guardrails/apply_guardrail",
    "/apply_guardrail",
    "/key/health",
];

#[tokio::test]
async fn a_guardrail_on_a_text_and_a_try_of_sinks_count_as_requests() {
    let judge = Recorder::start(judges::generic()).await;
    let stage = stage(&judge).await;
    for route in ROUTES {
        let client = key(&stage, json!({"rpm_limit": 2})).await;
        client.post(route, &text()).await.ok();
        client.chat(&chat("gpt-4o")).await.ok();
        let before = judge.requests().len();
        let refused = client.post(route, &text()).await;
        assert_eq!(refused.header("rate_limit_type"), Some("requests"));
        assert!(refused.header("retry-after").is_some());
        refused.error(429);
        assert_eq!(judge.requests().len(), before, "nobody is asked");
        client.chat(&chat("gpt-4o")).await.error(429);
    }
}

#[tokio::test]
async fn who_has_no_tokens_and_no_money_left_applies_no_guardrail() {
    let judge = Recorder::start(judges::generic()).await;
    let stage = stage(&judge).await;
    let tokens = openai::PROMPT_TOKENS + openai::COMPLETION_TOKENS;
    for (limits, status, of) in [
        (json!({"tpm_limit": tokens}), 429, Some("tokens")),
        (json!({"tpd_limit": tokens}), 429, Some("tokens_per_day")),
        (json!({"max_budget": 5}), 400, None),
    ] {
        for route in ROUTES {
            let client = key(&stage, limits.clone()).await;
            // It takes none itself.
            client.post(route, &text()).await.ok();
            client.chat(&chat("gpt-4o")).await.ok();
            let refused = client.post(route, &text()).await;
            assert_eq!(refused.header("rate_limit_type"), of, "{route} {limits}");
            refused.error(status);
        }
    }
}

#[tokio::test]
async fn a_guardrail_on_a_text_has_a_place_until_it_is_answered_or_left() {
    let gate = Gate::new();
    let judge = Recorder::start(judges::generic().behind(&gate)).await;
    let stage = stage(&judge).await;
    let client = key(&stage, json!({"max_parallel_requests": 1})).await;
    for (asked, leaves) in [(1, true), (2, false)] {
        let asking = client.clone();
        let call = tokio::spawn(async move { asking.post("/apply_guardrail", &text()).await });
        gate.reached(asked).await;
        let refused = client.post("/key/health", &json!({})).await;
        assert_eq!(
            refused.header("rate_limit_type"),
            Some("max_parallel_requests")
        );
        refused.error(429);
        match leaves {
            true => call.abort(),
            false => {
                gate.open();
                call.await.unwrap().ok();
            }
        }
        crate::support::eventually("the place is free", async || {
            let answer = client.post("/key/health", &json!({})).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_guardrail_on_a_text_keeps_no_tokens_from_calls() {
    let gate = Gate::new();
    let judge = Recorder::start(judges::generic().behind(&gate)).await;
    let stage = stage(&judge).await;
    let client = key(&stage, json!({"tpm_limit": 1000})).await;
    let asking = client.clone();
    let under_way = tokio::spawn(async move { asking.post("/apply_guardrail", &text()).await });
    gate.reached(1).await;
    let mut nearly_all = chat("gpt-4o");
    nearly_all["max_tokens"] = json!(900);
    client.chat(&nearly_all).await.ok();
    gate.open();
    under_way.await.unwrap().ok();
}

/// LiteLLM keeps `tpd_limit` in rows of budgets, too: of organizations, end users and whoever has a budget.
#[tokio::test]
async fn tokens_of_a_day_of_organizations_end_users_and_budgets() {
    let judge = Recorder::start(judges::generic()).await;
    let stage = stage(&judge).await;
    let admin = &stage.client;
    let day = |more: Value| {
        let mut body = json!({"tpd_limit": openai::PROMPT_TOKENS + openai::COMPLETION_TOKENS});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let made = admin
        .post(
            "/organization/new",
            &day(json!({"organization_alias": "o"})),
        )
        .await
        .ok();
    let organization = made["organization_id"].clone();
    let row = json!({"organization_id": organization});
    admin
        .post("/budget/new", &day(json!({"budget_id": "day"})))
        .await
        .ok();
    admin
        .post("/customer/new", &day(json!({"user_id": "ann"})))
        .await
        .ok();
    let told = admin.get("/customer/info?end_user_id=ann").await.ok();
    assert_eq!(told["litellm_budget_table"]["tpd_limit"], 18, "{told}");
    let settings = admin.get("/budget/settings?budget_id=day").await.ok();
    assert!(settings.to_string().contains("tpd_limit"), "{settings}");
    for (of_key, user, who) in [
        (row, None, "organization"),
        (json!({"budget_id": "day"}), None, "api_key"),
        (json!({}), Some("ann"), "end_user"),
    ] {
        let client = key(&stage, of_key).await;
        let mut body = chat("gpt-4o");
        if let Some(user) = user {
            body["user"] = json!(user);
        }
        client.chat(&body).await.ok();
        let refused = client.chat(&body).await;
        assert_eq!(refused.header("rate_limit_type"), Some("tokens_per_day"));
        let told = refused.error(429)["message"].as_str().unwrap().to_owned();
        assert!(
            told.starts_with(&format!("Rate limit exceeded for {who}: ")),
            "{told}"
        );
    }
    // A user has no column for it.
    for (path, body) in [
        ("/user/new", day(json!({"user_id": "u"}))),
        ("/user/update", day(json!({"user_id": "u"}))),
    ] {
        let refused = admin.post(path, &body).await.error(400);
        assert_eq!(refused["param"], "tpd_limit");
        let told = refused["message"].as_str().unwrap();
        assert!(told.contains("the user's keys"), "{told}");
    }
}
