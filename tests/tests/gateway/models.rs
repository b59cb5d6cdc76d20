//! Models, credentials and settings of the database (`store_model_in_db`): in force at once, also at other gateways, and
//! nobody gets to see a secret.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, GatewayBuilder, PostgresServer, RedisServer};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat, eventually};

/// A model list without the wildcard: other names are unknown.
fn config(upstream: &FakeUpstream) -> String {
    let config = base_config(&upstream.api_base());
    let config = config.replace("  - model_name: '*'\n", "  - model_name: other/*\n");
    config.replace(
        "general_settings:\n",
        "general_settings:\n  store_model_in_db: true\n",
    )
}

fn model(name: &str, id: &str, upstream: &FakeUpstream) -> Value {
    json!({
        "model_name": name, "model_info": {"id": id},
        "litellm_params": {"model": "openai/stored", "api_base": upstream.api_base(), "api_key": "sk-stored-secret"},
    })
}

async fn stage(shape: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Stage {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(config(&upstream)).env("LITELLM_SALT_KEY", "salt-one");
    Stage::of(upstream, shape(builder)).await
}

/// The bearer that the last call came with.
fn bearer(upstream: &FakeUpstream) -> String {
    let requests = upstream.requests().all();
    let last = requests.last().expect("a request");
    last.header("authorization").unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_stored_model_serves_at_once_and_after_a_restart_until_it_is_deleted() {
    let stage = stage(|builder| builder).await;
    let (client, upstream) = (&stage.client, &stage.upstream);
    client.chat(&chat("ours")).await.error(400);
    let made = client
        .post("/model/new", &model("ours", "one", upstream))
        .await
        .ok();
    assert_eq!(made["litellm_params"]["api_key"], "*****");
    client.chat(&chat("ours")).await.ok();
    assert_eq!(bearer(upstream), "Bearer sk-stored-secret");
    // The file's go on beside it, and cannot be changed here.
    client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(bearer(upstream), format!("Bearer {UPSTREAM_KEY}"));
    let listed = client.get("/model/info").await;
    let one = listed.ok()["data"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["model_info"]["id"] == "one")
        .cloned();
    let one = one.expect("it is listed");
    assert_eq!(
        (&one["model_name"], &one["model_info"]["db_model"]),
        (&json!("ours"), &json!(true))
    );
    assert!(
        !listed.text().contains("sk-stored-secret"),
        "{}",
        listed.text()
    );

    let change = json!({"litellm_params": {"api_key": "sk-stored-second"}});
    client.patch("/model/one/update", &change).await.ok();
    client.chat(&chat("ours")).await.ok();
    assert_eq!(bearer(upstream), "Bearer sk-stored-second");
    client
        .post("/model/block", &json!({"model_id": "one"}))
        .await
        .ok();
    assert_ne!(client.chat(&chat("ours")).await.status, 200);
    client
        .post("/model/unblock", &json!({"model_id": "one"}))
        .await
        .ok();
    client.chat(&chat("ours")).await.ok();
    let rows = stage
        .gateway
        .rows("LiteLLM_ProxyModelTable", "model_id")
        .await;
    assert!(
        rows.len() == 1 && !rows[0].to_string().contains("sk-stored"),
        "{rows:?}"
    );
    assert!(!rows[0].to_string().contains("openai/stored"), "{rows:?}");

    let Stage {
        mut gateway,
        upstream,
        ..
    } = stage;
    gateway.stop().await;
    let gateway = gateway.start_again().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    client.chat(&chat("ours")).await.ok();
    assert_eq!(bearer(&upstream), "Bearer sk-stored-second");
    client
        .post("/model/delete", &json!({"id": "one"}))
        .await
        .ok();
    client.chat(&chat("ours")).await.error(400);
    assert!(!gateway.printed("sk-stored"), "a secret is in the log");
}

#[tokio::test]
async fn what_cannot_be_served_is_not_stored() {
    let stage = stage(|builder| builder).await;
    let wrong = [
        json!({"model": "openai/m", "api_base": "no url", "api_key": "k"}),
        json!({"model": "openai/m", "api_base": "http://h", "rpm": "many"}),
        json!({"model": "openai/m", "api_base": "http://h", "tag_regex": ["("]}),
        json!({"model": "nobody-knows-this"}),
    ];
    for params in wrong {
        let body = json!({"model_name": "bad", "litellm_params": params});
        let error = stage.client.post("/model/new", &body).await.error(400);
        assert!(
            error["message"]
                .as_str()
                .unwrap()
                .starts_with("nothing was changed: "),
            "{error}"
        );
    }
    assert!(
        stage
            .gateway
            .rows("LiteLLM_ProxyModelTable", "model_id")
            .await
            .is_empty()
    );
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn without_the_switch_nothing_is_stored() {
    let stage = Stage::plain().await;
    let body = model("ours", "one", &stage.upstream);
    let error = stage.client.post("/model/new", &body).await.error(500);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("STORE_MODEL_IN_DB"),
        "{error}"
    );
    let body = json!({"router_settings": {"num_retries": 1}});
    stage.client.post("/config/update", &body).await.error(500);
}

/// Two gateways on one database and one Redis, and one that has another salt.
#[tokio::test]
async fn a_change_at_one_gateway_is_in_force_at_the_others_and_outlives_the_database() {
    let (mut postgres, redis) = (PostgresServer::start().await, RedisServer::start().await);
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream).replace(
        "  store_model_in_db: true\n",
        "  store_model_in_db: true\n  database_connection_timeout: 1\n",
    );
    let config = config.replace(
        "router_settings:\n",
        &format!("router_settings:\n  redis_url: '{}'\n", redis.url()),
    );
    let start = |salt: &str| {
        let builder = Gateway::builder(config.clone()).env("DATABASE_URL", postgres.url());
        let builder = builder.env("DEFAULT_REDIS_SYNC_INTERVAL", "0.05");
        builder.env("LITELLM_SALT_KEY", salt).start()
    };
    let (one, two) = tokio::join!(start("salt-one"), start("salt-one"));
    let clients = [&one, &two].map(|gateway| Client::of(gateway).key(MASTER_KEY));
    let credential =
        json!({"credential_name": "c", "credential_values": {"api_key": "sk-stored-secret"}});
    clients[0].post("/credentials", &credential).await.ok();
    let mut body = model("ours", "one", &upstream);
    body["litellm_params"]["api_key"] = Value::Null;
    body["litellm_params"]["litellm_credential_name"] = json!("c");
    clients[0].post("/model/new", &body).await.ok();
    for client in &clients {
        eventually("the model is there", async || {
            (client.chat(&chat("ours")).await.status == 200).then_some(())
        })
        .await;
        assert_eq!(bearer(&upstream), "Bearer sk-stored-secret");
    }
    // From the other side: a credential that is changed, a setting.
    let change = json!({"credential_values": {"api_key": "sk-stored-second"}});
    clients[1].patch("/credentials/c", &change).await.ok();
    eventually("the new key is used", async || {
        clients[0].chat(&chat("ours")).await.ok();
        (bearer(&upstream) == "Bearer sk-stored-second").then_some(())
    })
    .await;

    let other = start("salt-two").await;
    other
        .wait_for_log("LiteLLM_ProxyModelTable[\"one\"] is left out")
        .await;
    other.wait_for_log("LITELLM_SALT_KEY").await;
    let other = Client::of(&other).key(MASTER_KEY);
    other.chat(&chat("ours")).await.error(400);
    other.chat(&chat("gpt-4o")).await.ok();

    postgres.kill().await;
    for client in &clients {
        let answer = client
            .post("/model/new", &model("more", "two", &upstream))
            .await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        client.chat(&chat("ours")).await.ok();
        // Also when the files are loaded anew.
        client.post("/config/reload", &json!({})).await.ok();
        client.chat(&chat("ours")).await.ok();
    }
    postgres.start_again().await;
    eventually("the database answers", async || {
        let answer = clients[0]
            .post("/model/delete", &json!({"id": "one"}))
            .await;
        (answer.status == 200).then_some(())
    })
    .await;
    eventually("the model is gone", async || {
        (clients[1].chat(&chat("ours")).await.status == 400).then_some(())
    })
    .await;
}

/// Without Redis the tables are read again and again.
#[tokio::test]
async fn what_another_writes_is_seen_at_the_next_look() {
    let postgres = PostgresServer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream).replace(
        "  store_model_in_db: true\n",
        &format!(
            "  store_model_in_db: true\n  proxy_config_reload_interval_seconds: 0.1\n  database_url: {}\n",
            postgres.url()
        ),
    );
    let gateway = Gateway::builder(config).start().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    client.chat(&chat("plain")).await.error(400);
    // As a program writes it that does not encrypt; and one that nobody can serve beside it.
    let row = |id: &str, params: Value| {
        let columns = r#""LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, created_by, updated_by, updated_at)"#;
        format!("INSERT INTO {columns} VALUES ('{id}', 'plain', '{params}', 't', 't', now());")
    };
    let good = json!({"model": "openai/m", "api_base": upstream.api_base(), "api_key": "sk-plain"});
    let bad = json!({"model": "openai/m", "api_base": "no url", "api_key": "sk-plain"});
    postgres
        .sql("litellm", &(row("good", good) + &row("bad", bad)))
        .await;
    eventually("the model is there", async || {
        (client.chat(&chat("plain")).await.status == 200).then_some(())
    })
    .await;
    gateway
        .wait_for_log("LiteLLM_ProxyModelTable[\"bad\"] is left out")
        .await;
    postgres
        .sql("litellm", r#"DELETE FROM "LiteLLM_ProxyModelTable""#)
        .await;
    eventually("the model is gone", async || {
        (client.chat(&chat("plain")).await.status == 400).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_team_has_models_of_its_own_and_its_admin_is_not_led_inside() {
    let stage = stage(|builder| builder.env("OPENAI_API_KEY", "sk-of-the-gateway")).await;
    let (client, upstream) = (&stage.client, &stage.upstream);
    let member = json!([{"user_id": "ann", "role": "admin"}]);
    let team = json!({"team_id": "red", "models": ["gpt-4o"], "members_with_roles": member});
    client.post("/team/new", &team).await.ok();
    let key = json!({"user_id": "ann", "team_id": "red"});
    let made = client.post("/key/generate", &key).await.ok();
    let ann = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    let mut body = model("ours", "of-red", upstream);
    body["model_info"]["team_id"] = json!("red");
    client.post("/model/new", &body).await.ok();
    ann.chat(&chat("ours")).await.ok();
    assert_eq!(bearer(upstream), "Bearer sk-stored-secret");
    let made = client.post("/key/generate", &json!({})).await.ok();
    let stranger = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    stranger.chat(&chat("ours")).await.error(400);

    // Her own deployment: served, but never to where only the gateway reaches.
    let calls = upstream.requests().len();
    let mut own = model("inside", "x", upstream);
    own["model_info"] = json!({"team_id": "red"});
    let made = ann.post("/model/new", &own).await.ok();
    let refused = ann.chat(&chat("inside")).await;
    assert!(refused.status >= 500, "{}", refused.text());
    assert_eq!(
        upstream.requests().len(),
        calls,
        "the gateway was led inside"
    );
    own["litellm_params"]["api_key"] = Value::Null;
    ann.post("/model/new", &own).await.error(400);
    own["litellm_params"]["api_key"] = json!("os.environ/OPENAI_API_KEY");
    ann.post("/model/new", &own).await.error(403);
    let other = json!({"litellm_params": {"api_base": "https://evil.example"}});
    ann.patch("/model/of-red/update", &other).await.error(403);
    let id = json!({"id": made["model_id"]});
    ann.post("/model/delete", &id).await.ok();
}

#[tokio::test]
async fn settings_are_in_force_at_once_judged_like_the_files_and_masked() {
    let stage = stage(|builder| builder).await;
    let (client, upstream) = (&stage.client, &stage.upstream);
    let body = json!({
        "litellm_settings": {"drop_params": true}, "router_settings": {"model_group_alias": {"short": "gpt-4o"}},
        "environment_variables": {"SOME_API_KEY": "sk-variable-secret"},
    });
    client.post("/config/update", &body).await.ok();
    client.chat(&chat("short")).await.ok();
    // A model may refer to it, as to any variable.
    let mut with_variable = model("ours", "one", upstream);
    with_variable["litellm_params"]["api_key"] = json!("os.environ/SOME_API_KEY");
    client.post("/model/new", &with_variable).await.ok();
    client.chat(&chat("ours")).await.ok();
    assert_eq!(bearer(upstream), "Bearer sk-variable-secret");
    let rows = stage.gateway.rows("LiteLLM_Config", "param_name").await;
    assert!(
        !json!(rows).to_string().contains("sk-variable-secret"),
        "{rows:?}"
    );

    for (body, words) in [
        (
            json!({"router_settings": {"num_retries": 2}}),
            "declared in the configuration file",
        ),
        (
            json!({"router_settings": {"cooldown_tim": 2}}),
            "did you mean `cooldown_time`?",
        ),
        (
            json!({"router_settings": {"cooldown_time": "long"}}),
            "router_settings.cooldown_time",
        ),
        (
            json!({"general_settings": {"master_key": "sk-mine"}}),
            "declared in the configuration file",
        ),
        (
            json!({"general_settings": {"custom_auth": "mine.wasm"}}),
            "only the configuration file",
        ),
        (
            json!({"litellm_settings": {"callbacks": ["./mine.wasm"]}}),
            "only the configuration file",
        ),
        (
            json!({"litellm_settings": {"callbacks": ["nobody-wrote-this"]}}),
            "nothing was changed",
        ),
        (
            json!({"environment_variables": {"LITELLM_SALT_KEY": "x"}}),
            "only the configuration file",
        ),
    ] {
        let error = client.post("/config/update", &body).await.error(400);
        assert!(
            error["message"].as_str().unwrap().contains(words),
            "{body} {error}"
        );
    }
    client.chat(&chat("short")).await.ok();
    let field = json!({"config_type": "router_settings", "field_name": "model_group_alias"});
    for path in [
        "/config/list?config_type=router_settings",
        "/config/field/info?config_type=router_settings&field_name=model_group_alias",
        "/get/config/callbacks",
        "/callbacks/list",
        "/router/settings",
        "/alerting/settings",
        "/get/allowed_ips",
        "/get/internal_user_settings",
        "/get/default_team_settings",
        "/credentials",
    ] {
        let answer = client.get(path).await;
        answer.ok();
        let text = answer.text();
        for secret in ["sk-variable-secret", MASTER_KEY, UPSTREAM_KEY] {
            assert!(!text.contains(secret), "{path} tells {secret}: {text}");
        }
    }
    client
        .post("/add/allowed_ip", &json!({"ip": "192.0.2.7"}))
        .await
        .ok();
    let forbidden = client.get("/get/allowed_ips").await;
    assert_eq!(forbidden.status, 403, "{}", forbidden.text());

    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let gateway = gateway.start_again().await;
    let forbidden = Client::of(&gateway)
        .key(MASTER_KEY)
        .post("/config/field/delete", &field)
        .await;
    assert_eq!(forbidden.status, 403, "{}", forbidden.text());
    assert!(
        !gateway.printed("sk-variable-secret"),
        "a secret is in the log"
    );
}

/// Writes that come at once are put in force together, and each is in force when it is answered.
#[tokio::test]
async fn a_burst_of_writes_shares_its_reloads() {
    const WRITES: usize = 24;
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let builder = Gateway::builder(config).env("STORE_MODEL_IN_DB", "True");
    let stage = Stage::of(upstream, builder.env("LITELLM_SALT_KEY", "sk-salt-1234")).await;
    let (client, base) = (&stage.client, stage.upstream.api_base());
    let write = async |n: usize| {
        let name = format!("burst-{n}");
        let body = json!({
            "model_name": name, "model_info": {"id": name},
            "litellm_params": {"model": "openai/gpt-4o", "api_base": base, "api_key": UPSTREAM_KEY},
        });
        client.post("/model/new", &body).await.ok();
        client.chat(&chat(&name)).await.ok();
    };
    futures_util::future::join_all((0..WRITES).map(write)).await;
    let told = stage.gateway.metrics().await;
    let reloads = told.count("witgate_config_reloads_total", &[("result", "ok")]);
    assert!(
        reloads <= WRITES as f64 / 2.0,
        "{reloads} reloads of {WRITES} writes"
    );
}
