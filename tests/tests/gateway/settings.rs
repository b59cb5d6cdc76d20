//! Settings with operations and tables of their own: the cache, signing in, how the UI looks. In force at once, also after a
//! restart, and never against what the operator's file says.

use serde_json::{Value, json};
use witgate_testkit::{
    FakeIdp, FakeUpstream, Gateway, GatewayBuilder, PostgresServer, RedisServer, Reply,
};

use crate::login::Browser;
use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, http_client};

fn storing(config: String) -> GatewayBuilder {
    Gateway::builder(config)
        .env("STORE_MODEL_IN_DB", "True")
        .env("LITELLM_SALT_KEY", "salt-one")
}

#[tokio::test]
async fn a_cache_is_tried_turned_on_and_kept_without_a_restart() {
    let redis = RedisServer::start_with(&["--requirepass", "hunter2"]).await;
    let database = PostgresServer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let shape = |builder: GatewayBuilder| builder.env("DATABASE_URL", database.url());
    let stage = Stage::of(upstream, shape(storing(config.clone()))).await;
    let admin = &stage.client;
    assert_eq!(admin.get("/cache/ping").await.status, 503);
    let told = admin.get("/cache/settings").await.ok();
    assert_eq!(told["current_values"], json!({}));
    let field = |told: &Value, name: &str| {
        let mut fields = told["fields"].as_array().unwrap().iter();
        fields
            .find(|one| one["field_name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        field(&told, "host")["field_description"],
        "Host of the Redis."
    );
    assert!(
        field(&told, "mode")["options"]
            .as_array()
            .unwrap()
            .contains(&json!("default_off"))
    );

    let settings = |password: &str| {
        json!({"cache_settings": {
            "type": "redis", "host": "127.0.0.1", "port": redis.port, "password": password, "namespace": "ours",
        }})
    };
    let tried = admin
        .post("/cache/settings/test", &settings("wrong-one"))
        .await;
    assert!(!tried.text().contains("wrong-one"), "{}", tried.text());
    assert_eq!(tried.ok()["status"], "failed");
    let tried = admin
        .post("/cache/settings/test", &settings("hunter2"))
        .await
        .ok();
    assert_eq!(tried["status"], "success", "{tried}");
    assert_eq!(
        admin.get("/cache/ping").await.status,
        503,
        "nothing is changed"
    );

    admin
        .post("/cache/settings", &settings("hunter2"))
        .await
        .ok();
    assert_eq!(admin.get("/cache/ping").await.ok()["cache_type"], "redis");
    admin.chat(&chat("gpt-4o")).await.ok();
    let kept = redis
        .cli_until(&["-a", "hunter2", "KEYS", "ours:*"], |keys| {
            keys.lines().any(|key| key.starts_with("ours:"))
        })
        .await;
    assert!(kept.contains("ours:"), "{kept}");
    for path in [
        "/cache/settings",
        "/cache/ping",
        "/config/list?config_type=litellm_settings",
    ] {
        let told = admin.get(path).await;
        assert!(
            told.status == 200 && !told.text().contains("hunter2"),
            "{path} {}",
            told.text()
        );
    }
    let sql = "SELECT cache_settings FROM \"LiteLLM_CacheConfig\"";
    let rows = database.sql("litellm", sql).await;
    assert!(
        rows.contains("cache_params") || rows.contains("namespace"),
        "{rows}"
    );
    assert!(!rows.contains("hunter2"), "{rows}");
    // What was read is what may be said again.
    let told = admin.get("/cache/settings").await.ok();
    assert_eq!(field(&told, "host")["field_value"], "127.0.0.1");
    let again = json!({"cache_settings": told["current_values"]});
    admin.post("/cache/settings", &again).await.ok();
    // Another gateway on the same database has it from its start, and its answers.
    let other = shape(storing(config)).start().await;
    let other = Client::of(&other).key(MASTER_KEY);
    other.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 1);
    // Files of the machine are the operator's to name.
    for (name, value) in [
        ("ssl_ca_certs", json!("/etc/passwd")),
        ("disk_cache_dir", json!("/tmp/elsewhere")),
        ("gcs_path_service_account", json!("/etc/key.json")),
        ("gcp_iam_endpoint_url", json!("https://evil.example")),
    ] {
        let mut wrong = settings("hunter2");
        wrong["cache_settings"][name] = value;
        for path in ["/cache/settings", "/cache/settings/test"] {
            let answer = admin.post(path, &wrong).await;
            assert!(
                answer.status == 400 && answer.text().contains(name),
                "{path} {name} {}",
                answer.text()
            );
        }
        let body = json!({"litellm_settings": {"cache_params": wrong["cache_settings"]}});
        assert_eq!(
            admin.post("/config/update", &body).await.status,
            400,
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_the_file_says_of_the_cache_is_the_files() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + "litellm_settings: {cache: true, cache_params: {type: local, qdrant_api_key: of-the-file}}\n";
    let stage = Stage::of(upstream, storing(config)).await;
    let told = stage.client.get("/cache/settings").await;
    assert!(!told.text().contains("of-the-file"), "{}", told.text());
    assert_eq!(told.ok()["current_values"]["type"], "local");
    let body = json!({"cache_settings": {"type": "local", "ttl": 5}});
    let refused = stage.client.post("/cache/settings", &body).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(
        refused.text().contains("configuration file"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn an_identity_provider_of_the_database_lets_people_in_at_once() {
    let idp = FakeIdp::start().await;
    idp.says(json!({"preferred_username": "a-77", "email": "ann@example.com", "groups": ["ops"]}));
    let at = |path: &str| format!("{}{path}", idp.issuer());
    let gateway = storing(format!("general_settings:\n  master_key: {MASTER_KEY}\n"))
        .start()
        .await;
    let admin = Client::of(&gateway).key(MASTER_KEY);
    let body = json!({
        "generic_client_id": FakeIdp::CLIENT_ID, "generic_client_secret": FakeIdp::CLIENT_SECRET,
        "generic_authorization_endpoint": at("/authorize"), "generic_token_endpoint": at("/token"),
        "generic_userinfo_endpoint": at("/userinfo"),
        "role_mappings": {"group_claim": "groups", "roles": {"proxy_admin_viewer": ["ops"]}},
    });
    let told = admin.patch("/update/sso_settings", &body).await;
    assert!(
        told.status == 200 && !told.text().contains(FakeIdp::CLIENT_SECRET),
        "{}",
        told.text()
    );
    let told = admin.get("/get/sso_settings").await;
    assert!(
        told.status == 200 && !told.text().contains(FakeIdp::CLIENT_SECRET),
        "{}",
        told.text()
    );
    let mut browser = Browser::new();
    browser.login(&gateway).await.location();
    let claims = browser.claims();
    assert_eq!(
        (&claims["user_id"], &claims["user_role"]),
        (&json!("a-77"), &json!("proxy_admin_viewer")),
        "{claims}"
    );
    // And out again.
    let off = json!({"generic_client_id": null});
    admin.patch("/update/sso_settings", &off).await.ok();
    let ready = admin.get("/sso/get/ui_settings").await.ok();
    assert_eq!(ready["SSO_ENABLED"], false);
}

#[tokio::test]
async fn the_ui_looks_as_the_operator_and_then_an_administrator_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let logo = folder.path().join("logo.png");
    std::fs::write(&logo, b"\x89PNG\r\n\x1a\npixels").unwrap();
    let config = format!("general_settings:\n  master_key: {MASTER_KEY}\n");
    let gateway = storing(config.clone())
        .env("UI_LOGO_PATH", logo.display().to_string())
        .start()
        .await;
    let (admin, nobody) = (Client::of(&gateway).key(MASTER_KEY), Client::of(&gateway));
    let shown = nobody.get("/get_image").await;
    assert_eq!(
        (shown.status, shown.header("content-type")),
        (200, Some("image/png"))
    );
    assert!(shown.body.ends_with(b"pixels"));
    assert_eq!(shown.header("x-content-type-options"), Some("nosniff"));
    assert!(
        shown
            .header("content-security-policy")
            .is_some_and(|policy| policy.contains("sandbox"))
    );
    assert_eq!(
        nobody.get("/get_logo_url").await.ok(),
        json!({"logo_url": ""})
    );
    let icon = nobody.get("/get_favicon").await;
    assert_eq!(
        (icon.status, icon.header("content-type")),
        (200, Some("image/svg+xml"))
    );

    let there = json!({"logo_url": "https://example.com/l.png", "favicon_url": "https://example.com/f.ico"});
    admin.patch("/update/ui_theme_settings", &there).await.ok();
    assert_eq!(
        nobody.get("/get/ui_theme_settings").await.ok()["values"],
        there
    );
    assert_eq!(
        nobody.get("/get_logo_url").await.ok()["logo_url"],
        there["logo_url"]
    );
    let browser = http_client(|builder| builder.redirect(reqwest::redirect::Policy::none()));
    for (path, url) in [
        ("/get_image", &there["logo_url"]),
        ("/get_favicon", &there["favicon_url"]),
    ] {
        let answer = browser
            .get(format!("{}{path}", gateway.base_url()))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 307);
        assert_eq!(answer.headers()["location"].to_str().unwrap(), url);
    }
    // A path comes from the operator alone.
    for (path, body) in [
        (
            "/update/ui_theme_settings",
            json!({"logo_url": "/etc/passwd"}),
        ),
        (
            "/config/update",
            json!({"environment_variables": {"UI_LOGO_PATH": "/etc/passwd"}}),
        ),
    ] {
        let answer = match path {
            "/config/update" => admin.post(path, &body).await,
            _ => admin.patch(path, &body).await,
        };
        assert_eq!(answer.status, 400, "{path} {}", answer.text());
    }
    admin
        .patch(
            "/update/ui_theme_settings",
            &json!({"logo_url": null, "favicon_url": null}),
        )
        .await
        .ok();
    assert_eq!(
        nobody.get("/get_image").await.header("content-type"),
        Some("image/png")
    );

    // What is no picture is not shown.
    let gateway = storing(config)
        .env("UI_LOGO_PATH", "/etc/hostname")
        .start()
        .await;
    let shown = Client::of(&gateway).get("/get_image").await;
    assert_eq!(
        (shown.status, shown.header("content-type")),
        (200, Some("image/svg+xml"))
    );
}

#[tokio::test]
async fn pass_through_routes_of_the_database_serve_at_once_beside_the_files() {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::json(200, &json!({"ok": true})));
    let origin = upstream.origin();
    let config = format!(
        "general_settings:\n  master_key: {MASTER_KEY}\n  pass_through_endpoints:\n    - {{path: /of-file, target: '{origin}/file', auth: true, headers: {{x-key: of-the-file}}}}\n"
    );
    let stage = Stage::of(upstream, storing(config)).await;
    let admin = &stage.client;
    let path = "/config/pass_through_endpoint";
    assert_eq!(admin.post_bytes("/ours", "{}").await.status, 404);
    let body = json!({"path": "/ours", "target": format!("{origin}/v1"), "headers": {"x-key": "hush-hush"}, "include_subpath": true});
    let made = admin.post(path, &body).await;
    assert!(!made.text().contains("hush-hush"), "{}", made.text());
    let id = made.ok()["endpoints"][0]["id"].as_str().unwrap().to_owned();
    admin.post_bytes("/ours/deep", "{}").await.ok();
    let seen = stage.upstream.requests().last();
    assert_eq!(
        (seen.path(), seen.header("x-key")),
        ("/v1/deep", Some("hush-hush"))
    );
    // What the gateway answers itself would never be reached.
    for (body, own) in [
        (json!({"path": "/v1/models"}), "GET /models"),
        (
            json!({"path": "key/info", "methods": ["get"]}),
            "GET /key/info",
        ),
        (
            json!({"path": "/models", "include_subpath": true, "methods": ["GET"]}),
            "GET /models",
        ),
    ] {
        let mut body = body;
        body["target"] = origin.clone().into();
        let refused = admin.post(path, &body).await.error(400);
        assert!(
            refused["message"].as_str().unwrap().contains(own),
            "{refused}"
        );
    }
    let moved = json!({"path": "/health/services", "include_subpath": false});
    let refused = admin.post(&format!("{path}/{id}"), &moved).await.error(400);
    assert!(
        refused["message"]
            .as_str()
            .unwrap()
            .contains("GET /health/services"),
        "{refused}"
    );
    // A page of the gateway's own stays what it is.
    let page = json!({"path": "/openapi.json", "target": origin, "auth": false});
    let page = admin.post(path, &page).await.ok();
    assert_eq!(admin.get("/openapi.json").await.ok()["openapi"], "3.1.0");
    let page = page["endpoints"][0]["id"].as_str().unwrap();
    admin
        .request(
            reqwest::Method::DELETE,
            &format!("{path}?endpoint_id={page}"),
        )
        .await
        .ok();
    // It needs a key unless somebody says otherwise.
    let nobody = Client::of(&stage.gateway);
    assert_eq!(nobody.post_bytes("/ours", "{}").await.status, 401);
    admin.post_bytes("/of-file", "{}").await.ok();
    let listed = admin.get(path).await;
    for secret in ["hush-hush", "of-the-file"] {
        assert!(!listed.text().contains(secret), "{}", listed.text());
    }
    let listed = listed.ok();
    let of_file: Vec<bool> = listed["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["is_from_config"].as_bool().unwrap())
        .collect();
    assert_eq!(of_file, [false, true], "{listed}");
    // What cannot be served is not stored, and says which it is.
    for (wrong, words) in [
        (
            json!({"path": "/of-file", "target": origin}),
            "the file's counts",
        ),
        (json!({"path": "/a{b}", "target": origin}), "is no path"),
        (json!({"path": "/c", "target": "nowhere.py"}), "target"),
        (
            json!({"path": "/d", "target": origin, "guardrails": ["nobody"]}),
            "nobody",
        ),
    ] {
        let answer = admin.post(path, &wrong).await;
        assert!(
            answer.status == 400 && answer.text().contains(words),
            "{wrong} {}",
            answer.text()
        );
    }
    assert_eq!(
        admin.get(path).await.ok()["endpoints"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let change = json!({"target": format!("{origin}/v2")});
    admin.post(&format!("{path}/{id}"), &change).await.ok();
    admin.post_bytes("/ours", "{}").await.ok();
    let seen = stage.upstream.requests().last();
    assert_eq!(
        (seen.path(), seen.header("x-key")),
        ("/v2", Some("hush-hush"))
    );
    admin
        .request(reqwest::Method::DELETE, &format!("{path}?endpoint_id={id}"))
        .await
        .ok();
    assert_eq!(admin.post_bytes("/ours", "{}").await.status, 404);
    admin.post_bytes("/of-file", "{}").await.ok();
}
