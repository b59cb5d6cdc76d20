//! What the operator says of prices, tags and stored texts; and limits of keys that depend on models and windows.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Recorder, Reply, openai};

use crate::support::{Client, Stage, UPSTREAM_KEY, base_config, chat, chat_stream, eventually};

/// The [`base_config`] with further settings of `litellm_settings` and `general_settings`.
async fn stage(litellm: &str, general: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        &format!("general_settings:\n{general}"),
    ) + &format!("litellm_settings: {{{litellm}}}\n");
    Stage::of(upstream, Gateway::builder(config)).await
}

async fn key(stage: &Stage, body: Value) -> Client {
    let made = stage.client.post("/key/generate", &body).await.ok();
    Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"))
}

/// What a call costs in the price map.
const COST: f64 = 97.5e-6;

#[tokio::test]
async fn a_discount_and_a_margin_change_what_calls_cost() {
    let settings = "cost_discount_config: {openai: 0.2}, cost_margin_config: {global: {percentage: 0.5, fixed_amount: 0.001}}";
    let stage = stage(settings, "").await;
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    let header: f64 = answer
        .header("x-litellm-response-cost")
        .unwrap()
        .parse()
        .unwrap();
    let expected = COST * 0.8 * 1.5 + 0.001;
    assert!((header - expected).abs() < 1e-12, "{header} {expected}");
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    let spend = row["spend"].as_f64().unwrap();
    assert!((spend - expected).abs() < 1e-12, "{row}");
    let config = base_config("http://127.0.0.1:1/v1")
        + "litellm_settings: {cost_discount_config: {openai: 20}}\n";
    let refusal = Gateway::builder(config).expect_refusal().await;
    assert!(
        refusal
            .output
            .contains("litellm_settings.cost_discount_config.openai: expected a share from 0 to 1"),
        "{}",
        refusal.output
    );
}

#[tokio::test]
async fn a_stream_says_what_it_cost_when_asked_to() {
    let stage = stage("include_cost_in_streaming_usage: true", "").await;
    let mut body = chat_stream("gpt-4o");
    body["stream_options"] = json!({"include_usage": true});
    let events = stage.client.open(&body).await.rest().await;
    let usage = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .find(|chunk| chunk["usage"].is_object())
        .expect("usage");
    let cost = usage["usage"]["cost"].as_f64().unwrap_or_default();
    assert!((cost - COST).abs() < 1e-12, "{usage}");
    assert_eq!(usage["usage"]["prompt_tokens"], openai::PROMPT_TOKENS);
    // Who did not ask sees none.
    let events = stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert!(!events.join("").contains("cost"), "{events:?}");
}

#[tokio::test]
async fn tokens_are_not_counted_when_the_operator_does_not_want_it() {
    let stage = stage("disable_token_counter: true", "").await;
    let frames = openai::chat_frames("gpt-4o", "These are several words.");
    stage.upstream.next(Reply::stream(&frames));
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert_eq!(
        (&row["total_tokens"], &row["spend"]),
        (&json!(0), &json!(0.0)),
        "{row}"
    );
}

#[tokio::test]
async fn headers_are_tags_when_the_operator_says_so() {
    let stage = stage("extra_spend_tag_headers: [x-project, x-stage]", "").await;
    let client = stage.client.clone().header("x-project", "apollo");
    client.chat(&chat("gpt-4o")).await.ok();
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert!(
        row["request_tags"]
            .to_string()
            .contains("x-project: apollo"),
        "{row}"
    );
    assert!(
        !row["request_tags"].to_string().contains("x-stage"),
        "{row}"
    );
}

#[tokio::test]
async fn rows_keep_messages_and_answers_when_the_operator_wants_them() {
    let general = "  store_prompts_in_spend_logs: true\n  store_prompts_in_spend_logs_max_chars: 20\n  allow_client_side_credentials: true\n";
    let stage = stage("", general).await;
    let mut body = chat("gpt-4o");
    body["messages"][0]["content"] = json!("a sentence of more than twenty characters");
    body["api_key"] = json!("sk-own-0123456789abcdef");
    stage.upstream.next(Reply::says("a word"));
    stage.client.chat(&body).await.ok();
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    let text = |column: &str| row[column].to_string();
    assert!(
        text("messages").contains("a sentence of more t... (truncated 21 chars)"),
        "{row}"
    );
    assert!(text("response").contains("a word"), "{row}");
    assert!(text("proxy_server_request").contains("gpt-4o"), "{row}");
    let all = row.to_string();
    assert!(
        !all.contains("0123456789abcdef") && !all.contains(UPSTREAM_KEY),
        "{all}"
    );
}

#[tokio::test]
async fn a_new_key_has_the_soft_budget_and_the_alias_that_the_operator_wants() {
    let stage = stage(
        "default_soft_budget: 12.5, key_alias_pattern: 'team-[a-z]+'",
        "",
    )
    .await;
    let made = stage
        .client
        .post("/key/generate", &json!({"key_alias": "team-red"}))
        .await
        .ok();
    let id = made["budget_id"].as_str().expect("a budget");
    let budget = stage
        .client
        .post("/budget/info", &json!({"budgets": [id]}))
        .await
        .ok();
    assert_eq!(budget[0]["soft_budget"], 12.5, "{budget}");
    let own = json!({"soft_budget": 3, "key_alias": "team-blue"});
    let own = stage.client.post("/key/generate", &own).await.ok();
    let id = own["budget_id"].as_str().expect("a budget");
    let budget = stage
        .client
        .post("/budget/info", &json!({"budgets": [id]}))
        .await
        .ok();
    assert_eq!(budget[0]["soft_budget"], 3.0, "{budget}");
    let wrong = json!({"key_alias": "team-red-2"});
    let refused = stage.client.post("/key/generate", &wrong).await.error(400);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("team-red-2") && message.contains("key_alias_pattern"),
        "{message}"
    );
    let change = json!({"key": made["key"], "key_alias": "nobody"});
    stage.client.post("/key/update", &change).await.error(400);
    let change = json!({"key": made["key"], "key_alias": "team-green"});
    stage.client.post("/key/update", &change).await.ok();
}

/// A deployment limits keys that nothing else limits for its model; its parameter does not go upstream.
#[tokio::test]
async fn a_deployment_limits_keys_that_have_no_limit_of_their_own() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "{model: openai/gpt-4o, ",
        "{model: openai/gpt-4o, default_api_key_rpm_limit: 2, default_api_key_tpm_limit: 100000, ",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let one = key(&stage, json!({})).await;
    for left in ["1", "0"] {
        let answer = one.chat(&chat("gpt-4o")).await;
        answer.ok();
        let told = answer.header("x-ratelimit-model_per_key-remaining-requests");
        assert_eq!(told, Some(left));
    }
    let error = one.chat(&chat("gpt-4o")).await.error(429);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.starts_with("Rate limit exceeded for model_per_key: "),
        "{message}"
    );
    // Another model, another key, and a key with a limit of its own.
    one.chat(&chat("gpt-4o-mini")).await.ok();
    key(&stage, json!({}))
        .await
        .chat(&chat("gpt-4o"))
        .await
        .ok();
    let own = key(&stage, json!({"model_rpm_limit": {"gpt-4o": 4}})).await;
    for _ in 0..4 {
        own.chat(&chat("gpt-4o")).await.ok();
    }
    own.chat(&chat("gpt-4o")).await.error(429);
    let sent = stage.upstream.requests().all()[0].json();
    assert!(sent.get("default_api_key_rpm_limit").is_none(), "{sent}");
}

/// `rpm_limit_type: dynamic`: the limit holds while a deployment of the model has failed more often than it may.
#[tokio::test]
async fn a_dynamic_limit_holds_only_in_trouble() {
    let stage = stage("", "").await;
    let body = json!({"rpm_limit": 2, "rpm_limit_type": "dynamic"});
    let client = key(&stage, body).await;
    for _ in 0..4 {
        client.chat(&chat("gpt-4o")).await.ok();
    }
    let broken = || Reply::error(500, "server_error", None, "no");
    stage.upstream.next(broken()).next(broken());
    for _ in 0..2 {
        stage.client.chat(&chat("gpt-4o")).await.error(500);
    }
    let refused = client.chat(&chat("gpt-4o")).await;
    // Failures are those of a minute of the calendar: at its end the trouble may be over.
    if refused.status == 429 {
        assert_eq!(refused.header("rate_limit_type"), Some("requests"));
    } else {
        stage.upstream.next(broken()).next(broken());
        for _ in 0..2 {
            stage.client.chat(&chat("gpt-4o")).await.error(500);
        }
        client.chat(&chat("gpt-4o")).await.error(429);
    }
    let guaranteed = json!({"rpm_limit": 1, "rpm_limit_type": "best_effort_throughput"});
    let always = key(&stage, guaranteed).await;
    always.chat(&chat("gpt-4o")).await.ok();
    always.chat(&chat("gpt-4o")).await.error(429);
}

/// Several budgets of one key and one team: all must hold.
#[tokio::test]
async fn a_key_and_a_team_have_budgets_for_several_windows() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "{model: openai/gpt-4o, ",
        "{input_cost_per_token: 1, output_cost_per_token: 0, model: openai/gpt-4o, ",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let limits = json!([
        {"budget_duration": "1h", "max_budget": 1},
        {"budget_duration": "30d", "max_budget": 1000000},
    ]);
    let one = key(&stage, json!({"budget_limits": limits})).await;
    one.chat(&chat("gpt-4o")).await.ok();
    let error = one.chat(&chat("gpt-4o")).await.error(400);
    let message = error["message"].as_str().unwrap();
    assert_eq!(error["type"], "budget_exceeded");
    assert!(
        message.contains("window=3600s") && message.contains("Max budget: 1.0"),
        "{message}"
    );
    let roomy = json!([{"budget_duration": "1h", "max_budget": 1000000}]);
    let other = key(&stage, json!({"budget_limits": roomy})).await;
    for _ in 0..2 {
        other.chat(&chat("gpt-4o")).await.ok();
    }
    let team =
        json!({"team_alias": "red", "budget_limits": [{"budget_duration": "1d", "max_budget": 1}]});
    let team = stage.client.post("/team/new", &team).await.ok();
    let of_team = key(&stage, json!({"team_id": team["team_id"]})).await;
    of_team.chat(&chat("gpt-4o")).await.ok();
    let error = of_team.chat(&chat("gpt-4o")).await.error(400);
    assert!(
        error["message"].as_str().unwrap().contains("window=86400s"),
        "{error}"
    );
    for wrong in [
        json!([{"budget_duration": "soon", "max_budget": 1}]),
        json!([{"budget_duration": "1h"}]),
        json!([{"budget_duration": "1h", "max_budget": 1}, {"budget_duration": "1h", "max_budget": 2}]),
    ] {
        let body = json!({"budget_limits": wrong});
        let refused = stage.client.post("/key/generate", &body).await.error(400);
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with("budget_limits: entry"), "{message}");
    }
}

/// A key whose budget of a model is used up is led to the first model of its `budget_fallbacks` that it may use and has budget for; the
/// rest of the call is that model's.
#[tokio::test]
async fn a_key_falls_back_when_its_budget_of_a_model_is_used_up() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "{model: openai/gpt-4o, ",
        "{input_cost_per_token: 1, output_cost_per_token: 0, model: openai/gpt-4o, ",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let budget = json!({"budget_limit": 1, "time_period": "1d"});
    let body = json!({
        "models": ["gpt-4o", "full", "free"],
        "model_max_budget": {"gpt-4o": budget, "full": {"budget_limit": 0, "time_period": "1d"}},
        "budget_fallbacks": {"gpt-4o": ["forbidden", "full", "free"], "full": ["gpt-4o"]},
    });
    let client = key(&stage, body).await;
    let served = || stage.upstream.requests().last().json()["model"].clone();
    client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(served(), "gpt-4o");
    for _ in 0..2 {
        client.chat(&chat("gpt-4o")).await.ok();
        assert_eq!(
            served(),
            "free",
            "neither what it may not use nor what is full"
        );
    }
    let rows = stage.gateway.wait_for_spend_rows(3).await;
    let groups: Vec<_> = rows.iter().map(|row| &row["model_group"]).collect();
    assert_eq!(groups, ["gpt-4o", "free", "free"]);
    // All of them are full: refused as without.
    let error = client.chat(&chat("full")).await.error(400);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.ends_with("exceeded budget for model=full"),
        "{message}"
    );
    let wrong = json!({"budget_fallbacks": {"gpt-4o": "free"}});
    let refused = stage.client.post("/key/generate", &wrong).await.error(400);
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.starts_with("budget_fallbacks.gpt-4o: "),
        "{message}"
    );
}

/// Rows wait as long as the operator says, and none is lost at the end.
#[tokio::test]
async fn rows_are_written_when_the_operator_says() {
    const CALLS: usize = 150;
    let stage = stage("", "  proxy_batch_write_at: 3600\n").await;
    for _ in 0..CALLS {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    stage
        .gateway
        .metrics_until("all of them wait", |metrics| {
            metrics.count("witgate_spend_rows_queued", &[]) == CALLS as f64
        })
        .await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert_eq!(gateway.spend_rows().await.len(), CALLS);
}

#[tokio::test]
async fn an_internal_user_has_the_default_budget() {
    let stage = stage("default_max_internal_user_budget: 2.5", "").await;
    let user = json!({"user_id": "ann", "user_role": "internal_user"});
    let made = stage.client.post("/user/new", &user).await.ok();
    assert_eq!(made["max_budget"], 2.5, "{made}");
}

/// Rows go to a collector instead of the database, again until it takes them; what they add up to is in the database.
#[tokio::test]
async fn rows_are_posted_to_where_the_operator_keeps_them() {
    let collector = Recorder::start(Reply::json(200, &json!({}))).await;
    collector.next(Reply::status(503, &[], "not now"));
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(base_config(&upstream.api_base()))
        .env("SPEND_LOGS_URL", format!("{}/", collector.origin()));
    let stage = Stage::of(upstream, builder).await;
    let caller = key(&stage, json!({"user_id": "ann"})).await;
    caller.chat(&chat("gpt-4o")).await.ok();
    let posted = collector.requests().wait_for(2).await;
    for request in &posted {
        assert_eq!(
            (&*request.method, &*request.target),
            ("POST", "/spend/update")
        );
        assert_eq!(request.header("content-type"), Some("application/json"));
        let rows: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1);
        assert_eq!(
            (&rows[0]["user"], &rows[0]["model_group"]),
            (&json!("ann"), &json!("gpt-4o"))
        );
        assert!(
            (rows[0]["spend"].as_f64().unwrap() - COST).abs() < 1e-12,
            "{rows}"
        );
        assert!(rows[0]["metadata"].is_object(), "{rows}");
    }
    eventually("the spend is counted", async || {
        let told = caller.get("/key/info").await.ok();
        let spend = told["info"]["spend"].as_f64()?;
        ((spend - COST).abs() < 1e-12).then_some(())
    })
    .await;
    let rows = stage.client.get("/spend/logs").await.ok();
    assert_eq!(rows, json!([]));
}

#[tokio::test]
async fn a_wrong_place_or_time_for_rows_is_refused_at_the_start() {
    let config = base_config("http://127.0.0.1:1/v1");
    let builder = Gateway::builder(&config).env("SPEND_LOGS_URL", "collector:8080");
    let refusal = builder.expect_refusal().await;
    assert!(
        refusal.output.contains("SPEND_LOGS_URL: expected a URL"),
        "{}",
        refusal.output
    );
    let config = config.replace(
        "general_settings:\n",
        "general_settings:\n  maximum_spend_logs_cleanup_cron: '0 25 * * *'\n",
    );
    let refusal = Gateway::builder(config).expect_refusal().await;
    let told = "general_settings.maximum_spend_logs_cleanup_cron: \"25\" is none of 0 to 23";
    assert!(refusal.output.contains(told), "{}", refusal.output);
}

#[tokio::test]
async fn an_administrators_list_of_teams_has_the_operators_bound() {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(base_config(&upstream.api_base()));
    let stage = Stage::of(upstream, builder.env("MAX_TEAM_LIST_LIMIT", "2")).await;
    for id in ["a", "b", "c"] {
        stage
            .client
            .post("/team/new", &json!({"team_id": id}))
            .await
            .ok();
    }
    let all = stage.client.get("/user/info").await.ok();
    assert_eq!(all["teams"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_ui_is_told_when_there_are_too_many_rows_for_reports() {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(base_config(&upstream.api_base()))
        .env("MAX_SPENDLOG_ROWS_TO_QUERY", "1")
        .env("PROXY_LOGOUT_URL", "https://bye.example");
    let stage = Stage::of(upstream, builder).await;
    for calls in 1..=2 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
        stage.gateway.wait_for_spend_rows(calls).await;
        let told = stage.client.get("/sso/get/ui_settings").await.ok();
        let expected = json!({
            "PROXY_BASE_URL": null, "PROXY_LOGOUT_URL": "https://bye.example", "DEFAULT_TEAM_DISABLED": false,
            "SSO_ENABLED": false, "NUM_SPEND_LOGS_ROWS": calls, "DISABLE_EXPENSIVE_DB_QUERIES": calls > 1,
        });
        assert_eq!(told, expected);
    }
}
