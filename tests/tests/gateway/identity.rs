//! Who comes in, from where and with what; and the same on PostgreSQL, alone and with other gateways.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, PostgresServer, RedisServer};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, eventually};

async fn with_general(lines: &str) -> Stage {
    with_more(lines, "").await
}

/// With lines of `general_settings`, and members of `litellm_settings`.
async fn with_more(general: &str, litellm: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        &format!("general_settings:\n{general}"),
    ) + &format!("litellm_settings: {{{litellm}}}\n");
    Stage::of(upstream, Gateway::builder(config)).await
}

async fn key(client: &Client, gateway: &Gateway, body: Value) -> Client {
    let made = client.post("/key/generate", &body).await.ok();
    Client::of(gateway).key(made["key"].as_str().expect("a key"))
}

#[tokio::test]
async fn addresses_that_are_not_allowed_get_nothing() {
    let stage = with_general("  allowed_ips: [10.0.0.0/8]\n").await;
    let refused = stage.client.chat(&chat("gpt-4o")).await.error(403);
    assert_eq!(
        refused["message"],
        "Access forbidden: IP address not allowed."
    );
    stage.client.get("/key/list").await.error(403);
    for open_to_all in ["/routes", "/public/model_hub", "/test"] {
        stage.client.get(open_to_all).await.error(403);
    }
    // Probes get through.
    stage.client.get("/health/liveliness").await.ok();
    let lines = "  allowed_ips: [10.1.2.3]\n  use_x_forwarded_for: true\n  trusted_proxy_ranges: [127.0.0.0/8]\n";
    let stage = with_general(lines).await;
    let from = stage
        .client
        .clone()
        .header("x-forwarded-for", "10.1.2.3, 1.1.1.1");
    from.chat(&chat("gpt-4o")).await.ok();
    from.get("/key/list").await.ok();
    let other = stage.client.clone().header("x-forwarded-for", "10.1.2.4");
    other.chat(&chat("gpt-4o")).await.error(403);
    // Whoever is no proxy of ours says nothing about others.
    let lines = "  allowed_ips: [10.1.2.3]\n  use_x_forwarded_for: true\n  trusted_proxy_ranges: [10.0.0.0/8]\n";
    let stage = with_general(lines).await;
    let lying = stage.client.clone().header("x-forwarded-for", "10.1.2.3");
    lying.chat(&chat("gpt-4o")).await.error(403);
}

#[tokio::test]
async fn routes_are_open_to_whom_the_configuration_says() {
    let lines =
        "  public_routes: [/v1/models]\n  admin_only_routes: [/key/generate, /v1/embeddings]\n";
    let stage = with_general(lines).await;
    let nobody = Client::of(&stage.gateway);
    nobody.get("/v1/models").await.ok();
    nobody.get("/models").await.error(401);
    let ann = key(&stage.client, &stage.gateway, json!({"user_id": "ann"})).await;
    let refused = ann.post("/key/generate", &json!({})).await.error(403);
    let says = refused["message"].as_str().unwrap_or_default();
    assert!(says.contains("is an admin only route"), "{says}");
    ann.chat(&chat("gpt-4o")).await.ok();
    let input = json!({"model": "gpt-4o", "input": "x"});
    for path in ["/v1/embeddings", "/embeddings"] {
        ann.post(path, &input).await.error(403);
    }
    let stage = with_general("  allowed_routes: [/chat/completions, /key/generate]\n").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let refused = stage.client.get("/key/list").await.error(403);
    assert_eq!(
        refused["message"],
        "Access forbidden: Route /key/list not allowed"
    );
}

#[tokio::test]
async fn calls_say_what_the_operator_and_the_key_want_them_to() {
    let lines = "  enforce_user_param: true\n  enforced_params: [metadata.team]\n  user_header_name: X-End-User\n";
    let stage = with_general(lines).await;
    let refused = stage.client.chat(&chat("gpt-4o")).await.error(401);
    let says = refused["message"].as_str().unwrap_or_default();
    assert!(says.contains("'enforce_user_param'=True"), "{says}");
    let mut body = chat("gpt-4o");
    body["user"] = json!("customer-1");
    let refused = stage.client.chat(&body).await.error(400);
    let says = refused["message"].as_str().unwrap_or_default();
    assert!(says.contains("param=metadata.team"), "{says}");
    body["metadata"] = json!({"team": "red"});
    stage.client.chat(&body).await.ok();
    let by_header = stage.client.clone().header("x-end-user", "customer-2");
    by_header.chat(&body).await.ok();
    let own = json!({"enforced_params": ["temperature"]});
    let ann = key(&stage.client, &stage.gateway, own).await;
    ann.chat(&body).await.error(400);
    body["temperature"] = json!(0);
    ann.chat(&body).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(5).await;
    let mut customers: Vec<&str> = rows
        .iter()
        .filter(|row| row["status"] == "success")
        .filter_map(|row| row["end_user"].as_str())
        .collect();
    customers.sort_unstable();
    assert_eq!(customers, ["customer-1", "customer-1", "customer-2"]);
}

#[tokio::test]
async fn a_gateway_serves_calls_or_management_alone_when_it_is_told_to() {
    for (variable, calls, management) in [
        ("DISABLE_LLM_API_ENDPOINTS", 403, 200),
        ("DISABLE_ADMIN_ENDPOINTS", 200, 403),
    ] {
        let upstream = FakeUpstream::start().await;
        let gateway = Gateway::builder(base_config(&upstream.api_base())).env(variable, "True");
        let stage = Stage::of(upstream, gateway).await;
        let call = stage.client.chat(&chat("gpt-4o")).await;
        assert_eq!(call.status, calls, "{variable}: {}", call.text());
        let list = stage.client.get("/key/list").await;
        assert_eq!(list.status, management, "{variable}: {}", list.text());
        let list = stage.client.get("/organization/list").await;
        assert_eq!(list.status, management, "{variable}: {}", list.text());
    }
}

/// Where LiteLLM finds the end user, the first that is there.
#[tokio::test]
async fn the_end_user_is_named_by_header_or_body() {
    let stage = with_general("  litellm_key_header_name: X-Our-Key\n").await;
    let mut body = chat("gpt-4o");
    let client = Client::of(&stage.gateway).header("x-our-key", &format!("Bearer {MASTER_KEY}"));
    body["safety_identifier"] = json!("of-safety");
    client.chat(&body).await.ok();
    body["metadata"] = json!({"user_id": 7});
    client.chat(&body).await.ok();
    body["litellm_metadata"] = json!({"user": "of-metadata"});
    client.chat(&body).await.ok();
    body["user"] = json!("of-body");
    client.chat(&body).await.ok();
    let named = client
        .clone()
        .header("x-litellm-end-user-id", "of-end-user");
    named.chat(&body).await.ok();
    let named = named.header("x-litellm-customer-id", "of-customer");
    named.chat(&body).await.ok();
    // Where the operator says which header has the key, no other has it.
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let other = stage
        .client
        .clone()
        .header("x-our-key", "sk-not-one-of-ours");
    other.chat(&chat("gpt-4o")).await.error(401);
    let rows = stage.gateway.wait_for_spend_rows(7).await;
    let mut users: Vec<&str> = rows
        .iter()
        .filter_map(|row| row["end_user"].as_str().filter(|user| !user.is_empty()))
        .collect();
    users.sort_unstable();
    let expected = [
        "7",
        "of-body",
        "of-customer",
        "of-end-user",
        "of-metadata",
        "of-safety",
    ];
    assert_eq!(users, expected);
}

#[tokio::test]
async fn a_key_has_its_own_names_for_models() {
    let stage = Stage::plain().await;
    let body = json!({"models": ["gpt-4o"], "aliases": {"mine": "gpt-4o", "other": "gpt-3.5-turbo-instruct"}});
    let ann = key(&stage.client, &stage.gateway, body).await;
    ann.chat(&chat("mine")).await.ok();
    assert_eq!(stage.upstream.requests().all()[0].json()["model"], "gpt-4o");
    ann.chat(&chat("other")).await.error(401);
}

/// What is in PostgreSQL survives the gateway, and its totals tell of every call.
#[tokio::test]
async fn a_gateway_on_postgres() {
    let postgres = PostgresServer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let builder = || Gateway::builder(config.clone()).env("DATABASE_URL", postgres.url());
    let mut first = builder().start().await;
    let admin = Client::of(&first).key(MASTER_KEY);
    let hostile = r#"o'hara"; DROP TABLE "LiteLLM_SpendLogs"; -- \"#;
    let body = json!({"key_alias": hostile, "user_id": "ann", "models": ["gpt-4o"]});
    let made = admin.post("/key/generate", &body).await.ok();
    let text = made["key"].as_str().unwrap().to_owned();
    let ann = Client::of(&first).key(&text);
    for _ in 0..3 {
        ann.chat(&chat("gpt-4o")).await.ok();
    }
    let refused = admin
        .post("/key/generate", &json!({"key_alias": hostile}))
        .await
        .error(400);
    assert_eq!(refused["param"], "key_alias");
    first.stop().await;
    let rows = postgres
        .sql("litellm", r#"SELECT count(*), count(DISTINCT "api_key"), sum("prompt_tokens") > 0 FROM "LiteLLM_SpendLogs""#)
        .await;
    assert_eq!(rows, "3|1|t");
    let days = postgres
        .sql(
            "litellm",
            r#"SELECT sum("api_requests"), max("user_id") FROM "LiteLLM_DailyUserSpend""#,
        )
        .await;
    assert_eq!(days, "3|ann");
    let parts = Gateway::builder(config.clone())
        .env("DATABASE_HOST", "127.0.0.1")
        .env("DATABASE_PORT", postgres.port.to_string())
        .env("DATABASE_NAME", "litellm")
        .env("DATABASE_USER", "postgres")
        .env("DATABASE_PASSWORD", "p@ss/w?rd");
    let second = parts.start().await;
    Client::of(&second)
        .key(&text)
        .chat(&chat("gpt-4o"))
        .await
        .ok();
    let info = Client::of(&second)
        .key(MASTER_KEY)
        .get(&format!("/key/info?key={text}"))
        .await
        .ok();
    assert_eq!(info["info"]["key_alias"], hostile);
    assert!(info["info"]["spend"].as_f64().unwrap() > 0.0, "{info}");
    assert!(!second.printed(&text) && !second.printed("p@ss"));
}

/// Two gateways on one database and one Redis: what one changes is in force at the other within a moment.
#[tokio::test]
async fn a_change_at_one_gateway_is_in_force_at_the_others() {
    let (postgres, redis) = (PostgresServer::start().await, RedisServer::start().await);
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "router_settings:\n",
        &format!(
            "router_settings:\n  redis_host: 127.0.0.1\n  redis_port: {}\n",
            redis.port
        ),
    );
    let start = || {
        let builder = Gateway::builder(config.clone()).env("DATABASE_URL", postgres.url());
        builder.env("DEFAULT_REDIS_SYNC_INTERVAL", "0.05").start()
    };
    let (one, two) = tokio::join!(start(), start());
    let admin = Client::of(&one).key(MASTER_KEY);
    let made = admin.post("/key/generate", &json!({})).await.ok();
    let elsewhere = Client::of(&two).key(made["key"].as_str().unwrap());
    elsewhere.chat(&chat("gpt-4o")).await.ok();
    admin
        .post("/key/block", &json!({"key": made["token"]}))
        .await
        .ok();
    eventually("the other gateway refuses the blocked key", async || {
        let answer = elsewhere.chat(&chat("gpt-4o")).await;
        (answer.status == 401).then_some(())
    })
    .await;
}

/// While the database is away, keys in memory go on, and others as the configuration says.
#[tokio::test]
async fn without_the_database_calls_go_on_as_the_configuration_says() {
    for allowed in [false, true] {
        let mut postgres = PostgresServer::start().await;
        let upstream = FakeUpstream::start().await;
        let config = base_config(&upstream.api_base()).replace(
            "general_settings:\n",
            &format!(
                "general_settings:\n  allow_requests_on_db_unavailable: {allowed}\n  database_connection_timeout: 1\n"
            ),
        );
        let gateway = Gateway::builder(config)
            .env("DATABASE_URL", postgres.url())
            .start()
            .await;
        let admin = Client::of(&gateway).key(MASTER_KEY);
        let known = key(&admin, &gateway, json!({})).await;
        known.chat(&chat("gpt-4o")).await.ok();
        postgres.kill().await;
        known.chat(&chat("gpt-4o")).await.ok();
        admin.chat(&chat("gpt-4o")).await.ok();
        let other = Client::of(&gateway).key("sk-not-in-memory-1234");
        let answer = other.chat(&chat("gpt-4o")).await;
        match allowed {
            true => assert_eq!(answer.status, 200, "{}", answer.text()),
            false => assert_eq!(answer.status, 500, "{}", answer.text()),
        }
        admin.post("/key/generate", &json!({})).await.error(503);
        postgres.start_again().await;
        // What was answered meanwhile is written down now.
        let served: u64 = if allowed { 4 } else { 3 };
        eventually("every call has its row", async || {
            let rows = postgres
                .sql("litellm", r#"SELECT count(*) FROM "LiteLLM_SpendLogs""#)
                .await;
            (rows == served.to_string()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn calls_of_the_master_key_are_told_under_its_name_when_its_hash_is_not_to_be() {
    let general = "  disable_adding_master_key_hash_to_db: true\n";
    let stage = with_more(general, "add_user_information_to_llm_headers: true").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    let name = "litellm_proxy_master_key";
    assert_eq!(row["api_key"], name, "{row}");
    assert!(row["metadata"].to_string().contains(name), "{row}");
    let sent = stage.upstream.requests().last();
    assert_eq!(sent.header("x-litellm-user_api_key_hash"), Some(name));
    let told = stage
        .client
        .get(&format!("/spend/logs?api_key={name}"))
        .await;
    assert_eq!(told.ok()[0]["api_key"], name, "{}", told.text());
    // It is the administrator's all the same.
    let made = stage.client.post("/key/generate", &json!({})).await.ok();
    let deleted = json!({"keys": [made["key"]]});
    stage.client.post("/key/delete", &deleted).await.ok();
    stage
        .client
        .post("/global/spend/reset", &json!({}))
        .await
        .ok();
}

/// A key that has a user is theirs, whatever a header says; the master key's holder speaks for anybody.
#[tokio::test]
async fn a_header_names_the_user_where_the_key_does_not() {
    let general =
        "  user_header_mappings: [{header_name: X-User, litellm_user_role: internal_user}]\n";
    let stage = with_more(general, "").await;
    let bob = key(&stage.client, &stage.gateway, json!({"user_id": "bob"})).await;
    let nobodys = key(
        &stage.client,
        &stage.gateway,
        json!({"key_alias": "shared"}),
    )
    .await;
    for (number, (client, user)) in [
        (stage.client.clone(), "ann"),
        (nobodys, "ann"),
        (bob, "bob"),
    ]
    .into_iter()
    .enumerate()
    {
        client
            .header("x-user", "ann")
            .chat(&chat("gpt-4o"))
            .await
            .ok();
        let rows = stage.gateway.wait_for_spend_rows(number + 1).await;
        let found = rows.iter().filter(|row| row["user"] == user).count();
        let wanted = if user == "ann" { number + 1 } else { 1 };
        assert_eq!(found, wanted, "{rows:?}");
    }
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(4).await;
    assert!(
        rows.iter().any(|row| row["user"] == "default_user_id"),
        "{rows:?}"
    );
}

/// An end user's budget begins anew at the time that is given, and its spend with it.
#[tokio::test]
async fn an_end_users_budget_begins_anew_when_the_operator_says() {
    let general =
        "  proxy_budget_rescheduler_min_time: 1\n  proxy_budget_rescheduler_max_time: 1\n";
    let stage = with_general(general).await;
    let later = "2099-01-01T00:00:00.000Z";
    let limits = |at: &str| json!({"user_id": "acme", "max_budget": 1, "budget_duration": "30d", "spend": 5, "budget_reset_at": at});
    let made = stage
        .client
        .post("/customer/new", &limits(later))
        .await
        .ok();
    assert_eq!(
        made["litellm_budget_table"]["budget_reset_at"], later,
        "{made}"
    );
    let mut body = chat("gpt-4o");
    body["user"] = json!("acme");
    let refused = stage.client.chat(&body).await.error(400);
    assert_eq!(refused["type"], "budget_exceeded", "{refused}");
    // A moment that has passed: the next tick sets the spend back.
    let past = limits("2020-01-01T00:00:00Z");
    stage.client.post("/customer/update", &past).await.ok();
    let told = eventually("the spend is set back", async || {
        let told = stage
            .client
            .get("/customer/info?end_user_id=acme")
            .await
            .ok();
        (told["spend"] == 0.0).then_some(told)
    })
    .await;
    let next = told["litellm_budget_table"]["budget_reset_at"].as_str();
    assert!(
        next.is_some_and(|next| next > "2026" && next < later),
        "{told}"
    );
    eventually("acme is let in", async || {
        (stage.client.chat(&body).await.status == 200).then_some(())
    })
    .await;
}
