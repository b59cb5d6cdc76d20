//! Databases that LiteLLM's own migrations made, at several of its releases, with its data: served, and written to, as they are.
//!
//! The SQL is in the package `litellm-proxy-extras`, which `make test` installs beside the other real things; nothing of it is here.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::process::Command;
use witgate_testkit::{FakeUpstream, Gateway, PostgresServer, Reply, openai};

use crate::support::{Client, MASTER_KEY, base_config, chat, eventually, venv_folder};

/// The last migration of a release: the first of all, LiteLLM of mid-2025, and the newest.
const LEVELS: [&str; 3] = ["20250326162113", "20250707230009", "99999999999999"];

/// What PyNaCl makes of `openai/of-litellm`, `sk-litellm-secret`, `sk-litellm-credential` and `sk-litellm-variable` under [`SALT`], as
/// LiteLLM calls it; every other one as its older releases encode it.
const SEALED: [&str; 4] = [
    "Aw4ZJC86RVBbZnF8h5KdqLO-ydTf6vUAsY30qbPZlBiEk-3zXpvaeuRARK1PTej5KcIrcaZlCuNt",
    "Ii04Q05ZZG96hZCbprG8x9Ld6PP+CRQf3cl83yC/E0LqXIjP1i7r2M/8hOoyPXLMMGxnlMFGJ3VP",
    "QUxXYm14g46ZpK-6xdDb5vH8BxIdKDM-QY-1Bx810aktCnIEYUv2XaxEG8PpeGcg-Rzj8FC0VjdZlLXmYQ==",
    "YGt2gYyXoq24w87Z5O/6BRAbJjE8R1JdPD/oVV5VfR2CXABuxwAs5gZbvwUOJFIjTExJjx7q7/ByhoU=",
];
const SALT: &str = "sk-salt-of-litellm";

/// LiteLLM's migrations up to a level, oldest first.
fn migrations(level: &str) -> Vec<PathBuf> {
    let lib = venv_folder().join("lib");
    let python = std::fs::read_dir(&lib)
        .expect("make test installs it")
        .next();
    let python = python.expect("a Python").expect("a folder").path();
    let folder = python.join("site-packages/litellm_proxy_extras/migrations");
    let all =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut all: Vec<PathBuf> = all.map(|entry| entry.expect("a folder").path()).collect();
    all.retain(|path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        path.is_dir() && name.split('_').next().is_some_and(|at| at <= level)
    });
    all.sort();
    all.into_iter()
        .map(|path| path.join("migration.sql"))
        .collect()
}

/// A database with LiteLLM's tables of a level and somebody's data.
async fn database(postgres: &PostgresServer, level: &str, upstream: &FakeUpstream) -> String {
    let name = format!("level_{level}");
    postgres
        .sql("postgres", &format!("CREATE DATABASE {name}"))
        .await;
    let url = postgres.url_of(&name);
    let mut psql = Command::new("psql");
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
    for file in migrations(level) {
        psql.arg("-f").arg(file);
    }
    let made = psql.arg(&url).output().await.expect("run psql");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let [model, key, credential, variable] = SEALED;
    let base = upstream.api_base();
    let hash = "9f23b8da382db05cf9452b69675b81886d94b742f9478d1922d897d3b97d40ba";
    let params = json!({"model": model, "api_key": key, "api_base": base, "rpm": 100});
    let by_name = json!({"model": model, "api_base": base, "litellm_credential_name": "c"});
    let by_variable =
        json!({"model": model, "api_base": base, "api_key": "os.environ/OF_LITELLM_API_KEY"});
    let members = json!([{"user_id": "ann", "role": "admin"}]);
    let rows = [
        r#""LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by, updated_at) VALUES ('b', 100, 't', 't', now())"#.to_owned(),
        format!(r#""LiteLLM_TeamTable" (team_id, team_alias, admins, members, members_with_roles, models, spend) VALUES ('red', 'Red', '{{ann}}', '{{ann}}', '{members}', '{{stored,named,variable,more}}', 1.5)"#),
        r#""LiteLLM_UserTable" (user_id, user_email, user_role, teams, models, spend) VALUES ('ann', 'ann@x.org', 'internal_user', '{red}', '{}', 2.5)"#.to_owned(),
        format!(r#""LiteLLM_VerificationToken" (token, key_name, key_alias, user_id, team_id, models, spend, budget_id, metadata) VALUES ('{hash}', 'sk-...tell', 'of-litellm', 'ann', 'red', '{{}}', 0.5, 'b', '{{"tags": ["old"]}}')"#),
        format!(r#""LiteLLM_ProxyModelTable" (model_id, model_name, litellm_params, model_info, created_by, updated_by, updated_at) VALUES ('m1', 'stored', '{params}', '{{"id": "m1", "db_model": true}}', 't', 't', now()), ('m2', 'named', '{by_name}', '{{}}', 't', 't', now()), ('m3', 'variable', to_jsonb('{by_variable}'::text), NULL, 't', 't', now())"#),
        format!(r#""LiteLLM_CredentialsTable" (credential_id, credential_name, credential_values, credential_info, created_by, updated_by, updated_at) VALUES ('c1', 'c', '{{"api_key": "{credential}"}}', '{{}}', 't', 't', now())"#),
        format!(r#""LiteLLM_Config" (param_name, param_value) VALUES ('environment_variables', '{{"OF_LITELLM_API_KEY": "{variable}"}}'), ('litellm_settings', '{{"drop_params": true, "no_key_of_ours": 1}}'), ('model_cost_map_reload_config', '{{"interval_hours": 6}}')"#),
    ];
    for row in rows {
        postgres.sql(&name, &format!("INSERT INTO {row}")).await;
    }
    url
}

#[tokio::test]
async fn databases_of_litellm_are_served_and_written_as_they_are() {
    let postgres = PostgresServer::start().await;
    for level in LEVELS {
        let upstream = FakeUpstream::start().await;
        let url = database(&postgres, level, &upstream).await;
        let config = base_config(&upstream.api_base());
        let name = format!("level_{level}");
        let columns = r#"SELECT string_agg(concat_ws(' ', table_name, column_name, data_type, is_nullable, column_default), ',' ORDER BY 1) FROM information_schema.columns WHERE table_schema = 'public'"#.replace("ORDER BY 1", "ORDER BY table_name, column_name");
        let before = postgres.sql(&name, &columns).await;
        let gateway = Gateway::builder(config)
            .env("DATABASE_URL", &url)
            .env("LITELLM_SALT_KEY", SALT)
            .env("STORE_MODEL_IN_DB", "True")
            .start()
            .await;
        let admin = Client::of(&gateway).key(MASTER_KEY);
        // The key's text, whose hash LiteLLM kept.
        let ann = Client::of(&gateway).key("sk-of-litellm");
        for (model, key) in [
            ("stored", "sk-litellm-secret"),
            ("named", "sk-litellm-credential"),
            ("variable", "sk-litellm-variable"),
        ] {
            let answer = ann.chat(&chat(model)).await;
            assert_eq!(answer.status, 200, "{level} {model}: {}", answer.text());
            let calls = upstream.requests().all();
            let last = calls.last().expect("a call");
            assert_eq!(
                last.header("authorization"),
                Some(format!("Bearer {key}").as_str()),
                "{level} {model}"
            );
            assert_eq!(last.json()["model"], "of-litellm", "{level} {model}");
        }
        let refused = ann.chat(&chat("gpt-4o")).await.error(401);
        assert_eq!(refused["type"], "team_model_access_denied", "{level}");

        // Read back, and written.
        let user = admin.get("/user/info?user_id=ann").await.ok();
        assert_eq!(user["user_info"]["user_email"], "ann@x.org", "{level}");
        let team = admin.get("/team/info?team_id=red").await.ok();
        assert_eq!(team["team_info"]["team_alias"], "Red", "{level}");
        let listed = admin.get("/credentials").await.ok();
        assert_eq!(
            listed["credentials"][0]["credential_values"],
            json!({"api_key": "*****"}),
            "{level}"
        );
        let more = json!({
            "model_name": "more", "model_info": {"id": "m4"},
            "litellm_params": {"model": "openai/m", "api_base": upstream.api_base(), "api_key": "sk-more"},
        });
        admin.post("/model/new", &more).await.ok();
        ann.chat(&chat("more")).await.ok();
        admin
            .post("/model/block", &json!({"model_id": "m4"}))
            .await
            .ok();
        assert_ne!(ann.chat(&chat("more")).await.status, 200, "{level}");
        admin
            .post(
                "/config/update",
                &json!({"router_settings": {"model_group_alias": {"s": "stored"}}}),
            )
            .await
            .ok();
        let key = json!({"key": "sk-of-litellm", "max_budget": 50});
        admin.post("/key/update", &key).await.ok();
        let sql = r#"SELECT param_value->'model_group_alias'->>'s' FROM "LiteLLM_Config" WHERE param_name = 'router_settings'"#;
        assert_eq!(postgres.sql(&name, sql).await, "stored", "{level}");
        let sql =
            r#"SELECT max_budget FROM "LiteLLM_VerificationToken" WHERE key_alias = 'of-litellm'"#;
        assert_eq!(postgres.sql(&name, sql).await, "50", "{level}");
        let sql =
            r#"SELECT litellm_params::text FROM "LiteLLM_ProxyModelTable" WHERE model_id = 'm4'"#;
        let stored: Value = serde_json::from_str(&postgres.sql(&name, sql).await).expect("JSON");
        assert!(!stored.to_string().contains("sk-more"), "{level}: {stored}");
        everything_of_a_key(&gateway, &admin, level).await;
        // An upstream that claims more than LiteLLM's columns hold is believed as far as they do.
        for _ in 0..2 {
            let claim = json!({"prompt_tokens": 3_000_000_000u64, "completion_tokens": 7, "total_tokens": 3_000_000_007u64});
            let mut body = json!({"id": "claim", "object": "chat.completion", "created": 1, "model": "m", "usage": claim});
            body["choices"] = json!([{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi"}}]);
            upstream.next(Reply::json(200, &body));
            ann.chat(&chat("stored")).await.ok();
        }
        ledger(&gateway, &postgres, &name).await;
        assert!(
            !gateway.printed("sk-litellm-"),
            "{level}: a secret is in the log"
        );
        // The tables are LiteLLM's, as it made them.
        assert_eq!(postgres.sql(&name, &columns).await, before, "{level}");

        // Another salt opens nothing: what is sealed goes nowhere, and is told.
        drop(gateway);
        let asked = upstream.requests().len();
        let config =
            base_config(&upstream.api_base()).replace("model_name: '*'", "model_name: others");
        let gateway = Gateway::builder(config)
            .env("DATABASE_URL", &url)
            .env("LITELLM_SALT_KEY", "sk-another-salt")
            .env("STORE_MODEL_IN_DB", "True")
            .start()
            .await;
        let ann = Client::of(&gateway).key("sk-of-litellm");
        for model in ["stored", "named"] {
            let refused = ann.chat(&chat(model)).await;
            assert!(refused.status >= 400, "{level} {model}: {}", refused.text());
            assert!(!refused.text().contains(SEALED[1]), "{level} {model}");
        }
        assert_eq!(upstream.requests().len(), asked, "{level}");
        gateway.wait_for_log("LITELLM_SALT_KEY").await;
    }
}

/// What older releases left in a database, and what newer ones add up: a team's JSON that is text in JSON, tags in the configuration, and
/// what was ever spent.
#[tokio::test]
async fn what_older_and_newer_releases_keep_is_read_and_goes_on() {
    let postgres = PostgresServer::start().await;
    for level in [LEVELS[1], LEVELS[2]] {
        let upstream = FakeUpstream::start().await;
        let url = database(&postgres, level, &upstream).await;
        let name = format!("level_{level}");
        let is_newest = level == LEVELS[2];
        let sql = async |statement: &str| postgres.sql(&name, statement).await;
        let tags = json!({
            "old": {"name": "old", "description": "of 2025", "models": ["m1"], "created_at": "2025-07-01 10:00:00.123456", "updated_at": "2025-07-01 10:00:00", "created_by": "ann"},
            "o'ld": {"name": "o'ld", "description": null, "models": null, "created_at": "2025-07-01", "updated_at": null, "created_by": null},
        });
        let tags = tags.to_string().replace('\'', "''");
        for statement in [
            r#"INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, budget_duration, budget_reset_at, created_by, updated_by, updated_at) VALUES ('each', 10, '1h', now() - interval '1 hour', 't', 't', now())"#.to_owned(),
            // A text in JSON that says an object, and others that say nothing.
            r#"UPDATE "LiteLLM_TeamTable" SET metadata = to_jsonb('{"team_member_budget_id": "each"}'::text) WHERE team_id = 'red'"#.to_owned(),
            r#"INSERT INTO "LiteLLM_TeamTable" (team_id, admins, members, models, metadata) VALUES ('odd', '{}', '{}', '{}', to_jsonb('{''team_member_budget_id'': ''each''}'::text))"#.to_owned(),
            r#"INSERT INTO "LiteLLM_TeamMembership" (user_id, team_id, spend) VALUES ('ann', 'red', 3), ('bob', 'odd', 4)"#.to_owned(),
            // As that release wrote it.
            format!(r#"INSERT INTO "LiteLLM_Config" (param_name, param_value) VALUES ('tags_config', to_jsonb('{tags}'::text))"#),
        ] {
            sql(&statement).await;
        }
        if is_newest {
            sql(r#"UPDATE "LiteLLM_TeamMembership" SET total_spend = 5; UPDATE "LiteLLM_VerificationToken" SET total_spend = 6"#).await;
        }
        let config = base_config(&upstream.api_base()).replace(
            "general_settings:\n",
            "general_settings:\n  proxy_budget_rescheduler_min_time: 1\n  proxy_budget_rescheduler_max_time: 1\n",
        );
        let gateway = Gateway::builder(config)
            .env("DATABASE_URL", &url)
            .env("LITELLM_SALT_KEY", SALT)
            .env("STORE_MODEL_IN_DB", "True")
            .start()
            .await;
        let admin = Client::of(&gateway).key(MASTER_KEY);
        let ann = Client::of(&gateway).key("sk-of-litellm");
        let spent =
            r#"SELECT string_agg(spend::text, ' ' ORDER BY user_id) FROM "LiteLLM_TeamMembership""#;
        eventually("the members' period begins anew", async || {
            (sql(spent).await == "0 4").then_some(())
        })
        .await;

        // A priced call: it counts for the period and for ever.
        let priced = json!({
            "model_name": "more", "model_info": {"id": "m4"},
            "litellm_params": {"model": "openai/m", "api_base": upstream.api_base(), "api_key": "sk-more", "input_cost_per_token": 0, "output_cost_per_token": 0.125},
        });
        admin.post("/model/new", &priced).await.ok();
        ann.chat(&chat("more")).await.ok();
        let cost = openai::COMPLETION_TOKENS as f64 * 0.125;
        let is_at = |told: &Value, column: &str, sum: f64| {
            told[column]
                .as_f64()
                .is_some_and(|told| (told - sum).abs() < 1e-9)
        };
        let key = eventually("the call is counted", async || {
            let told = admin.get("/key/info?key=sk-of-litellm").await.ok();
            is_at(&told["info"], "spend", 0.5 + cost).then(|| told["info"].clone())
        })
        .await;
        let place = ann.get("/team/red/members/me").await.ok();
        assert!(is_at(&place, "spend", cost), "{level}: {place}");
        assert_eq!(
            (&place["role"], &place["team_alias"]),
            (&json!("admin"), &json!("Red"))
        );
        assert_eq!(place["user_email"], "ann@x.org", "{level}");
        let info = admin.get("/team/info?team_id=red").await.ok();
        let listed = &info["team_memberships"][0];
        if is_newest {
            assert!(is_at(&key, "total_spend", 6.0 + cost), "{key}");
            assert!(key["last_active"].is_string(), "{key}");
            assert!(is_at(&place, "total_spend", 5.0 + cost), "{place}");
            assert!(is_at(listed, "total_spend", 5.0 + cost), "{listed}");
            let hash = sql(
                r#"SELECT token FROM "LiteLLM_VerificationToken" WHERE key_alias = 'of-litellm'"#,
            )
            .await;
            let zero = json!({"reset_to": 0});
            admin
                .post(&format!("/key/{hash}/reset_spend"), &zero)
                .await
                .ok();
            let told = admin.get("/key/info?key=sk-of-litellm").await.ok();
            assert!(is_at(&told["info"], "spend", 0.0), "{told}");
            assert!(is_at(&told["info"], "total_spend", 6.0 + cost), "{told}");
        } else {
            assert_eq!(
                (key.get("total_spend"), listed.get("total_spend")),
                (None, None)
            );
        }
        for (client, id, status, why) in [
            (&ann, "odd", 404, "not a member"),
            (&admin, "red", 404, "not a member"),
        ] {
            let path = format!("/team/{id}/members/me");
            let refused = client.get(&path).await;
            assert_eq!(refused.status, status, "{level}: {}", refused.text());
            assert!(refused.text().contains(why), "{level}: {}", refused.text());
        }

        tags_of_2025(&admin, level, is_newest).await;
        let left = r#"SELECT count(*) FROM "LiteLLM_Config" WHERE param_name = 'tags_config' AND param_value::text LIKE '%o''ld%'"#;
        assert_eq!(sql(left).await, "0", "{level}");
    }
}

/// Tags of the configuration's row are told as others are; one that is changed comes into the table.
async fn tags_of_2025(admin: &Client, level: &str, has_table: bool) {
    let listed = admin.get("/tag/list").await.ok();
    let old = listed.as_array().and_then(|tags| {
        tags.iter()
            .find(|tag| tag["name"] == "old" && tag["description"] == "of 2025")
    });
    let old = old.unwrap_or_else(|| panic!("{level}: {listed}"));
    assert_eq!(old["models"], json!(["m1"]), "{level}");
    assert_eq!(old["model_info"], json!({"m1": "stored"}), "{level}");
    assert_eq!(old["created_at"], "2025-07-01T10:00:00.123Z", "{level}");
    let both = json!({"names": ["old", "o'ld"]});
    let told = admin.post("/tag/info", &both).await.ok();
    assert_eq!(told["o'ld"]["models"], json!([]), "{level}: {told}");
    let again = json!({"name": "old", "models": []});
    let refused = admin.post("/tag/new", &again).await;
    assert_eq!(refused.status, 400, "{level}: {}", refused.text());
    let change = json!({"name": "old", "description": "changed"});
    let changed = admin.post("/tag/update", &change).await;
    if has_table {
        assert_eq!(changed.ok()["tag"]["description"], "changed", "{level}");
        let told = admin
            .post("/tag/info", &json!({"names": ["old"]}))
            .await
            .ok();
        assert_eq!(told["old"]["description"], "changed", "{level}");
        assert_eq!(told["old"]["models"], json!(["m1"]), "{level}");
    } else {
        let text = changed.text();
        assert!(
            text.contains("made by an older release of LiteLLM"),
            "{text}"
        );
    }
    for name in ["old", "o'ld"] {
        admin
            .post("/tag/delete", &json!({ "name": name }))
            .await
            .ok();
    }
    let refused = admin.post("/tag/info", &both).await;
    assert_eq!(refused.status, 404, "{level}: {}", refused.text());
}

/// What of a key is made, changed and taken away: whatever columns a level has not are left out.
async fn everything_of_a_key(gateway: &Gateway, admin: &Client, level: &str) {
    let team = json!({"team_id": "blue", "max_budget": 7, "tpm_limit": 100, "models": ["stored"]});
    admin.post("/team/new", &team).await.ok();
    let key = json!({
        "key_alias": "new", "user_id": "ann", "team_id": "blue", "max_budget": 3, "budget_duration": "30d", "rpm_limit": 100,
        "models": ["stored"], "metadata": {"a": 1}, "tags": ["t"], "soft_budget": 1,
    });
    let made = admin.post("/key/generate", &key).await.ok();
    let text = made["key"].as_str().expect("a key").to_owned();
    let client = Client::of(gateway).key(&text);
    client.chat(&chat("stored")).await.ok();
    let again = admin
        .post("/key/regenerate", &json!({ "key": text }))
        .await
        .ok();
    client.chat(&chat("stored")).await.error(401);
    let again = again["key"].as_str().expect("a key").to_owned();
    let client = Client::of(gateway).key(&again);
    client.chat(&chat("stored")).await.ok();
    admin
        .post("/key/delete", &json!({ "keys": [again] }))
        .await
        .ok();
    client.chat(&chat("stored")).await.error(401);
    for (path, body) in [
        (
            "/user/new",
            json!({"user_id": "bob", "user_email": "bob@x.org", "auto_create_key": false}),
        ),
        (
            "/organization/new",
            json!({"organization_alias": "o", "models": ["stored"]}),
        ),
        ("/customer/new", json!({"user_id": "c", "max_budget": 1})),
        ("/tag/new", json!({"name": "t2", "models": []})),
        (
            "/credentials",
            json!({"credential_name": "c2", "credential_values": {"api_key": "sk-c2"}, "credential_info": {}}),
        ),
    ] {
        let answer = admin.post(path, &body).await;
        // A level may have no table for it, and is told as what it is.
        let is_told = answer
            .text()
            .contains("made by an older release of LiteLLM");
        let (status, text) = (answer.status, answer.text());
        assert!(status == 200 || is_told, "{level} {path}: {status} {text}");
    }
    // Whoever the header names need not be a user; the table's foreign keys want one.
    let named = admin.clone().header("litellm-changed-by", "somebody");
    let invitation = json!({"user_id": "ann"});
    let made = named.post("/invitation/new", &invitation).await.ok();
    let taken = json!({"invitation_id": made["id"], "is_accepted": true});
    named.post("/invitation/update", &taken).await.ok();
    // What a level has not is empty.
    let days = "start_date=2024-01-01&end_date=2040-01-01";
    for path in [
        "/key/list?return_full_object=true",
        "/key/aliases",
        "/user/list",
        "/team/list",
        "/v2/team/list",
        "/organization/list",
        "/budget/list",
        "/customer/list",
        "/tag/list",
        "/credentials",
        "/model/info",
        "/v2/guardrails/list",
        "/access_group/list",
        "/audit",
        "/spend/logs",
        "/spend/tags",
        "/spend/users",
        "/spend/keys",
        "/global/spend",
        "/global/spend/logs",
        "/global/spend/keys",
        "/global/spend/models",
        "/global/spend/teams",
        "/get/allowed_ips",
        "/get/internal_user_settings",
        "/cache/settings",
        "/schedule/model_cost_map_reload/status",
        &format!("/user/daily/activity?{days}"),
        &format!("/user/daily/activity/aggregated?{days}"),
        &format!("/team/daily/activity?{days}"),
        &format!("/tag/daily/activity?{days}"),
        &format!("/organization/daily/activity?{days}"),
        &format!("/customer/daily/activity?{days}"),
        &format!("/global/activity?{days}"),
        &format!("/global/activity/model?{days}"),
        &format!("/global/spend/report?{days}"),
        &format!("/global/spend/provider?{days}"),
    ] {
        let answer = admin.get(path).await;
        let (status, text) = (answer.status, answer.text());
        assert_eq!(status, 200, "{level} {path}: {text}");
    }
}

/// Each call has its row in LiteLLM's table, and what bears it knows of it.
async fn ledger(gateway: &Gateway, postgres: &PostgresServer, name: &str) {
    // Three of the stored models and one of the new, two by the key that was made, and two of many tokens.
    let rows =
        r#"SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE "user" = 'ann' AND total_tokens > 0"#;
    eventually("each call has its row", async || {
        (postgres.sql(name, rows).await == "8").then_some(())
    })
    .await;
    let counted = r#"SELECT coalesce(sum(api_requests), -1) FROM "LiteLLM_DailyUserSpend" WHERE user_id = 'ann' AND successful_requests > 0"#;
    let has_days = r#"SELECT count(*) FROM information_schema.columns WHERE table_name = 'LiteLLM_DailyUserSpend' AND column_name = 'api_requests'"#;
    if postgres.sql(name, has_days).await == "1" {
        assert_eq!(postgres.sql(name, counted).await, "8", "{name}");
    }
    let claimed = r#"SELECT count(*) FROM "LiteLLM_SpendLogs" WHERE prompt_tokens IN (2147483647, 3000000000) AND completion_tokens = 7"#;
    assert_eq!(postgres.sql(name, claimed).await, "2", "{name}");
    let told = gateway.metrics().await;
    assert_eq!(
        told.count("witgate_spend_rows_refused_total", &[]),
        0.0,
        "{name}"
    );
    assert_eq!(
        told.count("witgate_spend_rows_dropped_total", &[]),
        0.0,
        "{name}"
    );
}
