//! Operations about the gateway itself: what it tells of its state, what its deployments did, and small changes.

use reqwest::Method;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gate, Gateway, Recorder, Reply, openai, workspace_root};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, chat_stream, eventually};

const TOKENS: f64 = openai::COMPLETION_TOKENS as f64;

async fn storing() -> Stage {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(
        base_config(&upstream.api_base())
            .replace("  - model_name: '*'\n", "  - model_name: other/*\n"),
    );
    Stage::of(
        upstream,
        builder
            .env("STORE_MODEL_IN_DB", "True")
            .env("LITELLM_SALT_KEY", "s"),
    )
    .await
}

async fn key(stage: &Stage, body: Value) -> (Client, String) {
    let made = stage.client.post("/key/generate", &body).await.ok();
    let client = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    (client, made["token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn the_gateway_tells_of_itself() {
    let stage = Stage::with("litellm_settings: {success_callback: [prometheus]}\n").await;
    let nobody = Client::of(&stage.gateway);
    assert_eq!(nobody.get("/test").await.ok(), json!({"route": "/test"}));
    assert_eq!(
        nobody.get("/config/yaml").await.ok(),
        json!({"hello": "world"})
    );
    assert_eq!(
        nobody.get("/health/backlog").await.ok(),
        json!({"in_flight_requests": 0})
    );
    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let (client, body) = (stage.client.clone(), chat("gpt-4o"));
    let call = tokio::spawn(async move { client.chat(&body).await.ok() });
    stage.upstream.requests().wait_for(1).await;
    assert_eq!(
        nobody.get("/health/backlog").await.ok(),
        json!({"in_flight_requests": 1})
    );
    gate.open();
    call.await.unwrap();
    let license = stage.client.get("/health/license").await.ok();
    assert_eq!(license["has_license"], false);
    for path in ["/settings", "/active/callbacks"] {
        let told = stage.client.get(path).await.ok();
        assert_eq!(
            told["litellm.success_callback"],
            json!(["prometheus"]),
            "{told}"
        );
        assert_eq!(told["num_callbacks"], 1);
    }
    let (ann, _) = key(&stage, json!({"user_id": "ann"})).await;
    for path in ["/memory-usage", "/memory-usage-in-mem-cache"] {
        let told = stage.client.get(path).await.ok();
        assert!(
            told["process"]["resident_bytes"].as_u64().unwrap() > 1 << 20,
            "{told}"
        );
        assert!(
            told["in_memory"]["deployments"].as_u64().unwrap() > 0,
            "{told}"
        );
        ann.get(path).await.error(401);
    }
}

#[tokio::test]
async fn a_keys_own_log_sinks_are_tried() {
    let collector = Recorder::start(Reply::json(200, &json!({}))).await;
    let more = format!(
        "litellm_settings: {{success_callback: [generic_api]}}\ncallback_settings: {{generic_api: {{endpoint: '{}'}}}}\n",
        collector.origin()
    );
    let stage = Stage::with(&more).await;
    let (plain, _) = key(&stage, json!({})).await;
    let told = plain.post("/key/health", &json!({})).await.ok();
    assert_eq!(told, json!({"key": "healthy", "logging_callbacks": null}));
    let logging = |name: &str| json!({"metadata": {"logging": [{"callback_name": name, "callback_type": "success", "callback_vars": {}}]}});
    let (good, _) = key(&stage, logging("generic_api")).await;
    let told = good.post("/key/health", &json!({})).await.ok();
    assert_eq!(
        (&told["key"], &told["logging_callbacks"]["callbacks"]),
        (&json!("healthy"), &json!(["generic_api"])),
        "{told}"
    );
    collector.requests().wait_for(1).await;
    let (bad, _) = key(&stage, logging("langsmith")).await;
    let told = bad.post("/key/health", &json!({})).await.ok();
    assert_eq!(told["logging_callbacks"]["status"], "unhealthy", "{told}");
}

#[tokio::test]
async fn metrics_of_models_are_those_of_the_calls() {
    let stage = Stage::with("litellm_settings: {turn_off_message_logging: true}\n").await;
    let admin = &stage.client;
    admin.chat(&chat("gpt-4o")).await.ok();
    admin.chat(&chat("gpt-4o")).await.ok();
    admin.open(&chat_stream("gpt-4o")).await.rest().await;
    stage
        .upstream
        .next(Reply::error(429, "rate_limit_error", None, "slow down"));
    admin.chat(&chat("gpt-4o")).await.error(429);
    stage.gateway.wait_for_spend_rows(4).await;
    let base = stage.upstream.api_base();
    let get = async |path: &str| {
        admin
            .get(&format!("{path}?_selected_model_group=gpt-4o"))
            .await
            .ok()
    };
    for path in ["/model/metrics", "/model/streaming_metrics"] {
        let told = get(path).await;
        assert_eq!(told["all_api_bases"], json!([base]), "{path}: {told}");
        let day = &told["data"][0];
        assert!(day["date"].as_str().unwrap().starts_with("20"), "{told}");
        assert!(day[&base].as_f64().unwrap() >= 0.0, "{told}");
    }
    let slow = get("/model/metrics/slow_responses").await;
    let slow = slow
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["api_base"] == json!(base))
        .cloned();
    let slow = slow.expect("the deployment");
    assert_eq!(
        (&slow["total_count"], &slow["slow_count"]),
        (&json!(4), &json!(0))
    );
    let failed = get("/model/metrics/exceptions").await;
    assert_eq!(
        failed["exception_types"],
        json!(["RateLimitError"]),
        "{failed}"
    );
    assert_eq!(
        (
            &failed["data"][0]["total_exceptions"],
            &failed["data"][0]["RateLimitError"]
        ),
        (&json!(1), &json!(1))
    );
    let none = admin
        .get("/model/metrics?_selected_model_group=nobody")
        .await
        .ok();
    assert_eq!(none, json!({"data": [], "all_api_bases": []}));
    admin.get("/model/metrics?startTime=soon").await.error(400);
}

#[tokio::test]
async fn costs_are_estimated_and_predicted() {
    let margin = "litellm_settings: {cost_margin_config: {openai: 0.5}}\n";
    let stage = Stage::with(margin).await;
    let body = json!({"model": "gpt-4o", "input_tokens": 1000, "output_tokens": 500, "num_requests_per_day": 10});
    let told = stage.client.post("/cost/estimate", &body).await.ok();
    let of = |name: &str| told[name].as_f64().unwrap_or(f64::NAN);
    assert!(
        (of("input_cost_per_request") - 0.0025).abs() < 1e-9,
        "{told}"
    );
    assert!(
        (of("output_cost_per_request") - 0.005).abs() < 1e-9,
        "{told}"
    );
    assert!(
        (of("margin_cost_per_request") - 0.00375).abs() < 1e-9,
        "{told}"
    );
    assert!((of("daily_cost") - 0.1125).abs() < 1e-9, "{told}");
    assert_eq!(
        (&told["monthly_cost"], &told["provider"]),
        (&Value::Null, &json!("openai"))
    );
    let unknown = json!({"model": "nobody-knows-this", "input_tokens": 1, "output_tokens": 1});
    stage
        .client
        .post("/cost/estimate", &unknown)
        .await
        .error(400);
    let days = json!({"data": [{"date": "2026-02-26", "spend": 20.0}, {"date": "2026-02-27", "spend": 7.0}]});
    let told = stage
        .client
        .post("/global/predict/spend/logs", &days)
        .await
        .ok();
    assert_eq!(
        told["response"],
        json!([{"date": "2026-02-28", "predicted_spend": 1.0}])
    );
    assert_eq!(
        told["predicted_spend"],
        "Predicted Spend for February 2026, $28.00"
    );
}

#[tokio::test]
async fn what_one_spent_is_told_to_them_and_set_back_by_administrators() {
    let stage = Stage::plain().await;
    let admin = &stage.client;
    let members = json!([{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}]);
    admin
        .post(
            "/team/new",
            &json!({"team_id": "red", "members_with_roles": members}),
        )
        .await
        .ok();
    let (ann, token) = key(
        &stage,
        json!({"user_id": "ann", "team_id": "red", "max_budget": 0.0001}),
    )
    .await;
    let (bob, other) = key(&stage, json!({"user_id": "bob", "team_id": "red"})).await;
    ann.chat(&chat("gpt-4o")).await.ok();
    bob.chat(&chat("gpt-4o")).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let days = rows
        .iter()
        .map(|row| row["startTime"].as_str().unwrap()[..10].to_owned());
    let (first, last) = (days.clone().min().unwrap(), days.max().unwrap());
    let days = format!("start_date={first}&end_date={last}");
    let report = async |client: &Client, path: &str| client.get(&format!("{path}{days}")).await;
    let own = report(&ann, "/key/spend/report?").await.ok();
    assert_eq!(
        (own.as_array().unwrap().len(), &own[0]["api_key"]),
        (1, &json!(token))
    );
    assert!(
        (own[0]["total_cost"].as_f64().unwrap() - 97.5e-6).abs() < 1e-12,
        "{own}"
    );
    assert_eq!(own[0]["total_output_tokens"].as_f64(), Some(TOKENS));
    let of_user = report(&bob, "/user/spend/report?").await.ok();
    assert_eq!(of_user[0]["api_key"], json!(other));
    assert_eq!(
        report(&ann, "/team/spend/report?")
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(report(&bob, "/team/spend/report?").await.status, 403);
    assert_eq!(
        report(&bob, "/user/spend/report?internal_user_id=ann&")
            .await
            .status,
        403
    );
    assert_eq!(
        report(&bob, &format!("/key/spend/report?api_key={token}&"))
            .await
            .status,
        404
    );

    // The budget is used up at the second call; set back, there is room again.
    ann.chat(&chat("gpt-4o")).await.ok();
    ann.chat(&chat("gpt-4o")).await.error(400);
    stage.gateway.wait_for_spend_rows(3).await;
    let path = format!("/key/{token}/reset_spend");
    ann.post(&path, &json!({"reset_to": 0})).await.error(401);
    admin.post(&path, &json!({"reset_to": 5})).await.error(400);
    let told = admin.post(&path, &json!({"reset_to": 0})).await.ok();
    assert_eq!(
        (&told["key_hash"], &told["spend"]),
        (&json!(token), &json!(0)),
        "{told}"
    );
    assert!(told["previous_spend"].as_f64().unwrap() > 0.0001);
    ann.chat(&chat("gpt-4o")).await.ok();
    let told = admin
        .post("/team/red/reset_spend", &json!({"reset_to": 0}))
        .await
        .ok();
    assert_eq!(told["team_id"], "red");

    let many = json!({"keys": [{"key": token, "max_budget": 7}, {"key": "nobody", "max_budget": 7}, {"key": other, "tags": ["t"]}]});
    let told = admin.post("/key/bulk_update", &many).await.ok();
    assert_eq!(told["total_requested"], 3);
    assert_eq!(
        told["successful_updates"][0]["key_info"]["max_budget"], 7.0,
        "{told}"
    );
    assert_eq!(told["failed_updates"][0]["key"], "nobody");
    let renamed = admin
        .patch("/team/red", &json!({"team_alias": "reds"}))
        .await
        .ok();
    assert_eq!(renamed["data"]["team_alias"], "reds");
    assert_eq!(
        admin.get("/team/info?team_id=red").await.ok()["team_info"]["team_alias"],
        "reds"
    );
}

#[tokio::test]
async fn access_groups_open_models_and_close_them_again() {
    let stage = storing().await;
    let (admin, upstream) = (&stage.client, &stage.upstream);
    for (name, id) in [("ours", "one"), ("ours", "two"), ("theirs", "three")] {
        let body = json!({
            "model_name": name, "model_info": {"id": id},
            "litellm_params": {"model": "openai/x", "api_base": upstream.api_base(), "api_key": "k"},
        });
        admin.post("/model/new", &body).await.ok();
    }
    let (caller, _) = key(&stage, json!({"models": ["beta"]})).await;
    caller.chat(&chat("ours")).await.error(401);
    let body = json!({"access_group": "beta", "model_names": ["ours"]});
    let made = admin.post("/access_group/new", &body).await.ok();
    assert_eq!(made["models_updated"], 2);
    caller.chat(&chat("ours")).await.ok();
    caller.chat(&chat("theirs")).await.error(401);
    assert_eq!(admin.post("/access_group/new", &body).await.status, 409);
    let of_file = json!({"access_group": "x", "model_names": ["gpt-4o"]});
    assert_eq!(admin.post("/access_group/new", &of_file).await.status, 400);
    let change = json!({"model_ids": ["three"]});
    admin
        .ask(Method::PUT, "/access_group/beta/update", change.to_string())
        .await
        .ok();
    caller.chat(&chat("ours")).await.error(401);
    caller.chat(&chat("theirs")).await.ok();
    let told = admin.get("/access_group/beta/info").await.ok();
    assert_eq!(
        (&told["model_names"], &told["deployment_count"]),
        (&json!(["theirs"]), &json!(1))
    );
    admin
        .request(Method::DELETE, "/access_group/beta/delete")
        .await
        .ok();
    caller.chat(&chat("theirs")).await.error(401);
    assert_eq!(
        admin.get("/access_group/list").await.ok(),
        json!({"access_groups": []})
    );

    // Groups of their own table, which keys and teams are given.
    let body = json!({"access_group_name": "g", "access_model_names": ["ours"]});
    let group = admin.post("/v1/access_group", &body).await;
    assert_eq!(group.status, 201, "{}", group.text());
    let group = group.json();
    let id = group["access_group_id"].as_str().unwrap();
    let (caller, _) = key(
        &stage,
        json!({"models": ["theirs"], "access_group_ids": [id]}),
    )
    .await;
    caller.chat(&chat("ours")).await.ok();
    caller.chat(&chat("gpt-4o")).await.error(401);
    let names = caller.get("/models").await.ok();
    let names: Vec<&str> = names["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ours", "theirs"]);
    let change = json!({"access_model_names": ["gpt-4o"]}).to_string();
    admin
        .ask(Method::PUT, &format!("/v1/access_group/{id}"), change)
        .await
        .ok();
    caller.chat(&chat("ours")).await.error(401);
    caller.chat(&chat("gpt-4o")).await.ok();
    let gone = admin
        .request(Method::DELETE, &format!("/v1/unified_access_group/{id}"))
        .await;
    assert_eq!((gone.status, gone.text().as_str()), (204, ""));
    let told = admin.get("/openapi.json").await.ok();
    let told = &told["paths"]["/v1/access_group"]["post"]["responses"];
    assert!(
        told["201"]["content"]["application/json"]["schema"].is_object() && told["200"].is_null(),
        "{told}"
    );
    caller.chat(&chat("gpt-4o")).await.error(401);
    caller.chat(&chat("theirs")).await.ok();
}

#[tokio::test]
async fn fallbacks_of_a_model_are_set_read_and_taken_away() {
    let stage = storing().await;
    let (admin, upstream) = (&stage.client, &stage.upstream);
    let body = json!({
        "model_name": "broken", "litellm_params": {"model": "openai/broken", "api_base": upstream.api_base(), "api_key": "k"},
    });
    admin.post("/model/new", &body).await.ok();
    upstream.on_model("broken", Reply::error(500, "server_error", None, "down"));
    admin.chat(&chat("broken")).await.error(500);
    let rule = json!({"model": "broken", "fallback_models": ["gpt-4o"]});
    let told = admin.post("/fallback", &rule).await.ok();
    assert_eq!(
        told["message"],
        "Fallback configuration created successfully"
    );
    let answer = admin.chat(&chat("broken")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("1"));
    let told = admin.get("/fallback/broken").await.ok();
    assert_eq!(told["fallback_models"], json!(["gpt-4o"]));
    assert_eq!(
        admin
            .get("/fallback/broken?fallback_type=context_window")
            .await
            .status,
        404
    );
    assert_eq!(
        admin
            .get("/fallback/broken?fallback_type=other")
            .await
            .status,
        422
    );
    for (wrong, status) in [
        (
            json!({"model": "nobody", "fallback_models": ["gpt-4o"]}),
            404,
        ),
        (
            json!({"model": "broken", "fallback_models": ["nobody"]}),
            400,
        ),
        (
            json!({"model": "broken", "fallback_models": ["broken"]}),
            400,
        ),
    ] {
        assert_eq!(
            admin.post("/fallback", &wrong).await.status,
            status,
            "{wrong}"
        );
    }
    admin.request(Method::DELETE, "/fallback/broken").await.ok();
    assert_eq!(
        admin
            .request(Method::DELETE, "/fallback/broken")
            .await
            .status,
        404
    );
    admin.chat(&chat("broken")).await.error(500);
    let (ann, _) = key(&stage, json!({"user_id": "ann"})).await;
    ann.post("/fallback", &rule).await.error(401);
}

/// The program's price map with another price of `gpt-4o`'s input tokens.
fn price_map(price: f64) -> Value {
    let path = workspace_root().join("host/wire/data/model_prices.json");
    let mut map: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    map["gpt-4o"]["input_cost_per_token"] = json!(price);
    map
}

#[tokio::test]
async fn a_fetched_price_map_prices_calls_and_a_bad_one_changes_nothing() {
    let server = Recorder::start(Reply::json(200, &price_map(0.5))).await;
    let upstream = FakeUpstream::start().await;
    let url = format!("{}/map.json?token=sk-of-the-map", server.origin());
    let builder = Gateway::builder(base_config(&upstream.api_base()));
    let mut stage = Stage::of(upstream, builder.env("LITELLM_MODEL_COST_MAP_URL", url)).await;
    let price = async |client: &Client| {
        let body = json!({"model": "gpt-4o", "input_tokens": 1, "output_tokens": 0});
        let told = client.post("/cost/estimate", &body).await.ok();
        told["cost_per_request"].as_f64().unwrap()
    };
    let source = async |client: &Client| client.get("/model/cost_map/source").await.ok();
    eventually("the map is fetched", async || {
        (source(&stage.client).await["source"] == "remote").then_some(())
    })
    .await;
    assert_eq!(price(&stage.client).await, 0.5);
    let told = source(&stage.client).await;
    assert_eq!(told["url"], format!("{}/map.json", server.origin()));
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    let cost: f64 = answer
        .header("x-litellm-response-cost")
        .unwrap()
        .parse()
        .unwrap();
    assert!(cost > 1.0, "{cost}");

    let hostile = Reply::json(200, &price_map(-0.5));
    let cut = Reply::status(200, &[], "{\"gpt-4o\": {\"litellm_provider\": \"openai\"");
    let gone = Reply::error(404, "not_found", None, "gone");
    for wrong in [hostile, cut, gone, Reply::json(200, &json!({}))] {
        server.next(wrong);
        let error = stage
            .client
            .post("/reload/model_cost_map", &json!({}))
            .await
            .error(502);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .contains("the price map in force stays"),
            "{error}"
        );
        assert_eq!(price(&stage.client).await, 0.5);
    }
    assert!(source(&stage.client).await["fallback_reason"].is_string());
    server.next(Reply::json(200, &price_map(0.25)));
    let told = stage
        .client
        .post("/reload/model_cost_map", &json!({}))
        .await
        .ok();
    assert!(told["models_count"].as_u64().unwrap() > 1000, "{told}");
    assert_eq!(price(&stage.client).await, 0.25);

    let status = "/schedule/model_cost_map_reload/status";
    assert_eq!(stage.client.get(status).await.ok()["scheduled"], false);
    stage
        .client
        .post("/schedule/model_cost_map_reload?hours=0", &json!({}))
        .await
        .error(400);
    stage
        .client
        .post("/schedule/model_cost_map_reload?hours=6", &json!({}))
        .await
        .ok();
    let told = stage.client.get(status).await.ok();
    assert_eq!(
        (&told["scheduled"], &told["interval_hours"]),
        (&json!(true), &json!(6)),
        "{told}"
    );
    assert!(
        told["next_run"].as_str() > told["last_run"].as_str(),
        "{told}"
    );
    stage.gateway.stop().await;
    let again = stage.gateway.start_again().await;
    let client = Client::of(&again).key(MASTER_KEY);
    assert_eq!(client.get(status).await.ok()["interval_hours"], 6);
    client
        .request(Method::DELETE, "/schedule/model_cost_map_reload")
        .await
        .ok();
    assert_eq!(client.get(status).await.ok()["scheduled"], false);
    assert!(!again.printed("sk-of-the-map"));
}

#[tokio::test]
async fn without_an_address_or_with_the_switch_no_price_map_is_fetched() {
    let stage = Stage::plain().await;
    stage
        .client
        .post("/reload/model_cost_map", &json!({}))
        .await
        .error(400);
    let server = Recorder::start(Reply::json(200, &price_map(0.5))).await;
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(base_config(&upstream.api_base()))
        .env("LITELLM_MODEL_COST_MAP_URL", server.origin())
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "true");
    let stage = Stage::of(upstream, builder).await;
    let told = stage
        .client
        .post("/reload/model_cost_map", &json!({}))
        .await
        .ok();
    assert!(told["models_count"].as_u64().unwrap() > 1000, "{told}");
    let told = stage.client.get("/model/cost_map/source").await.ok();
    assert_eq!(
        (&told["source"], &told["is_env_forced"]),
        (&json!("local"), &json!(true))
    );
    assert!(server.requests().is_empty());
}
