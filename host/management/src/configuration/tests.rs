//! Requests about settings, over a real store.

use serde_json::{Value, json};

use crate::Changed;
use crate::seal::{Opened, Seal};
use crate::testing::{SALT, World, admin, user, world};

async fn held(world: &World, section: &str) -> Value {
    let row = world
        .plane
        .store
        .row("LiteLLM_Config", "param_name", section)
        .await;
    row.unwrap()
        .map_or(Value::Null, |row| row["param_value"].clone())
}

#[tokio::test]
async fn settings_are_stored_told_and_taken_away() {
    let world = world(json!({})).await;
    let body = json!({
        "router_settings": {"num_retries": 3}, "litellm_settings": {"success_callback": ["langfuse"]},
        "environment_variables": {"LANGFUSE_SECRET_KEY": "sk-lf"},
    });
    world.done("/config/update", body).await;
    assert!(world.heard.0.lock().contains(&Changed::Config));
    assert_eq!(
        held(&world, "router_settings").await,
        json!({"num_retries": 3})
    );
    let sealed = held(&world, "environment_variables").await;
    let sealed = sealed["LANGFUSE_SECRET_KEY"].as_str().unwrap();
    assert_eq!(
        Seal::of(SALT).open(sealed),
        Opened::Sealed("sk-lf".to_owned())
    );
    let masked = json!({"environment_variables": {"LANGFUSE_SECRET_KEY": "*****"}});
    world.done("/config/update", masked).await;
    let kept = held(&world, "environment_variables").await;
    assert_eq!(
        Seal::of(SALT).open(kept["LANGFUSE_SECRET_KEY"].as_str().unwrap()),
        Opened::Sealed("sk-lf".to_owned()),
        "what came back masked stays"
    );
    // Of log sinks, those that are there stay.
    world
        .done(
            "/config/update",
            json!({"litellm_settings": {"success_callback": ["s3"]}}),
        )
        .await;
    let (_, listed) = world.get(&admin(), "/callbacks/list").await;
    assert_eq!(listed["success"], json!(["langfuse", "s3"]));
    let (_, told) = world.get(&admin(), "/get/config/callbacks").await;
    assert_eq!(told["callbacks"][0]["name"], "langfuse");
    world
        .done(
            "/config/callback/delete",
            json!({"callback_name": "Langfuse"}),
        )
        .await;
    assert_eq!(
        held(&world, "litellm_settings").await,
        json!({"success_callback": ["s3"]})
    );
    let (status, _) = world
        .post(
            &admin(),
            "/config/callback/delete",
            json!({"callback_name": "none"}),
        )
        .await;
    assert_eq!(status, 404);

    world
        .done(
            "/config/field/update",
            json!({"field_name": "alerting", "field_value": ["slack"]}),
        )
        .await;
    let (_, info) = world
        .get(&admin(), "/config/field/info?field_name=alerting")
        .await;
    assert_eq!(info["field_value"], json!(["slack"]));
    let (_, listed) = world
        .get(&admin(), "/config/list?config_type=general_settings")
        .await;
    assert_eq!(
        (&listed[0]["field_name"], &listed[0]["stored_in_db"]),
        (&json!("alerting"), &json!(true))
    );
    world
        .done("/config/field/delete", json!({"field_name": "alerting"}))
        .await;
    assert_eq!(held(&world, "general_settings").await, json!({}));
    let (status, _) = world
        .get(&admin(), "/config/field/info?field_name=alerting")
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn what_no_file_could_say_is_refused() {
    let world = world(json!({})).await;
    for (body, words) in [
        (
            json!({"router_settings": {"num_retrys": 1}}),
            "did you mean `num_retries`?",
        ),
        (
            json!({"general_settings": {"of_the_file": 1}}),
            "declared in the configuration file",
        ),
        (json!({"environment_variables": {"A": 1}}), "is a text"),
        (json!({"model_list": []}), "settings are stored of"),
    ] {
        let (status, said) = world.post(&admin(), "/config/update", body.clone()).await;
        assert!(
            status == 400 && said.to_string().contains(words),
            "{body} {said}"
        );
    }
    for section in [
        "router_settings",
        "general_settings",
        "environment_variables",
    ] {
        assert_eq!(held(&world, section).await, Value::Null);
    }
    assert_eq!(
        world
            .post(&user("ann"), "/config/update", json!({}))
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn addresses_and_defaults_are_settings() {
    let world = world(json!({})).await;
    for ip in ["192.0.2.7", "10.0.0.0/8"] {
        world.done("/add/allowed_ip", json!({ "ip": ip })).await;
    }
    let (_, listed) = world.get(&admin(), "/get/allowed_ips").await;
    assert_eq!(listed["data"], json!(["192.0.2.7", "10.0.0.0/8"]));
    for ip in ["192.0.2.7", "10.0.0.0/8"] {
        world.done("/delete/allowed_ip", json!({ "ip": ip })).await;
    }
    assert_eq!(held(&world, "general_settings").await, json!({}));
    assert_eq!(
        world
            .post(&admin(), "/add/allowed_ip", json!({"ip": "everybody"}))
            .await
            .0,
        400
    );
    for (path, key) in [
        ("internal_user_settings", "default_internal_user_params"),
        ("default_team_settings", "default_team_params"),
    ] {
        let body = json!({"max_budget": 5});
        let (status, said) = world
            .ask("PATCH", &admin(), &format!("/update/{path}"), body.clone())
            .await;
        assert_eq!(status, 200, "{said}");
        let (_, told) = world.get(&admin(), &format!("/get/{path}")).await;
        assert_eq!(told["values"]["max_budget"], 5);
        let drawn = told["field_schema"]["properties"].as_object().unwrap();
        assert!(drawn.keys().eq(told["values"].as_object().unwrap().keys()));
        assert_eq!(told["values"]["models"], Value::Null);
        assert_eq!(held(&world, "litellm_settings").await[key], body);
    }
}

async fn row(world: &World, table: &'static str, column: &str) -> Value {
    let rows = world.plane.store.rows(table, &Default::default()).await;
    rows.unwrap()
        .first()
        .map_or(Value::Null, |row| row[column].clone())
}

fn opened(value: &Value) -> Opened {
    Seal::of(SALT).open(value.as_str().unwrap_or_default())
}

#[tokio::test]
async fn the_cache_is_set_encrypted_shown_masked_and_its_password_goes_nowhere_else() {
    let world = world(json!({})).await;
    let kept = async || row(&world, "LiteLLM_CacheConfig", "cache_settings").await;
    let body = |settings: Value| json!({ "cache_settings": settings });
    let first = json!({
        "type": "redis", "redis_type": "node", "host": "r1", "port": "6379", "password": "right", "ttl": 60,
        "sentinel_nodes": [{"host": "s", "password": "deep"}],
    });
    let told = world.done("/cache/settings", body(first)).await;
    assert_eq!(told["settings"]["password"], "*****");
    assert_eq!(told["settings"]["sentinel_nodes"][0]["password"], "*****");
    assert!(world.heard.0.lock().contains(&Changed::Config));
    let sealed = kept().await;
    assert_eq!(
        opened(&sealed["password"]),
        Opened::Sealed("right".to_owned())
    );
    assert_eq!(
        opened(&sealed["sentinel_nodes"][0]["password"]),
        Opened::Sealed("deep".to_owned())
    );
    let (_, told) = world.get(&admin(), "/cache/settings").await;
    assert_eq!(
        (
            &told["current_values"]["password"],
            &told["current_values"]["host"]
        ),
        (&json!("*****"), &json!("r1")),
        "{told}"
    );
    assert!(told["current_values"].get("redis_type").is_some(), "{told}");
    // As it was read, and without the secret: it stays, and it is what is tried.
    let target = json!({"type": "redis", "host": "r1", "port": 6379, "sentinel_nodes": told["current_values"]["sentinel_nodes"]});
    let mut masked = target.clone();
    masked["password"] = json!("*****");
    for settings in [target, masked.clone()] {
        let told = world
            .done("/cache/settings/test", body(settings.clone()))
            .await;
        assert_eq!(told["status"], "success", "{told}");
        world.done("/cache/settings", body(settings)).await;
        assert_eq!(
            opened(&kept().await["password"]),
            Opened::Sealed("right".to_owned())
        );
    }
    // Another host is not told it.
    masked["host"] = json!("evil");
    for path in ["/cache/settings", "/cache/settings/test"] {
        let (status, told) = world.post(&admin(), path, body(masked.clone())).await;
        assert!(
            status == 400 && told.to_string().contains("another store"),
            "{told}"
        );
    }
    masked.as_object_mut().unwrap().remove("password");
    let mut nodes = masked.clone();
    nodes["sentinel_nodes"] = json!([]);
    let told = world
        .done("/cache/settings/test", body(nodes.clone()))
        .await;
    assert_eq!(told["status"], "failed", "{told}");
    world.done("/cache/settings", body(nodes)).await;
    assert!(kept().await.get("password").is_none());
    // A URL says it all, and may hold a password.
    let url = json!({"type": "redis", "url": "redis://:pw@r2:6379/1", "host": "r1"});
    world.done("/cache/settings", body(url)).await;
    let sealed = kept().await;
    assert_eq!(
        opened(&sealed["url"]),
        Opened::Sealed("redis://:pw@r2:6379/1".to_owned())
    );
    assert!(sealed.get("host").is_none(), "{sealed}");
    let (_, told) = world.get(&admin(), "/cache/settings").await;
    assert!(!told.to_string().contains(":pw@"), "{told}");
    for (wrong, status) in [(json!({}), 422), (body(json!({})), 400)] {
        let said = world.post(&admin(), "/cache/settings", wrong).await;
        assert_eq!(said.0, status, "{said:?}");
    }
    assert_eq!(world.get(&user("ann"), "/cache/settings").await.0, 401);
}

#[tokio::test]
async fn signing_in_is_set_encrypted_and_shown_masked() {
    let world = world(json!({})).await;
    let body = json!({
        "generic_client_id": "c", "generic_client_secret": "hush", "generic_token_endpoint": "https://idp/token",
        "ui_access_mode": "admin_only", "user_email": "boss@example.com", "google_client_id": "",
        "role_mappings": {"provider": "generic", "group_claim": "groups", "roles": {"proxy_admin": ["ops"]}},
    });
    let (status, told) = world
        .ask("PATCH", &admin(), "/update/sso_settings", body)
        .await;
    assert_eq!(
        (status, &told["settings"]["generic_client_secret"]),
        (200, &json!("*****")),
        "{told}"
    );
    let sealed = row(&world, "LiteLLM_SSOConfig", "sso_settings").await;
    assert_eq!(
        opened(&sealed["generic_client_secret"]),
        Opened::Sealed("hush".to_owned())
    );
    // They are the variables and the setting that the login goes by.
    let shown = world.plane.configuration().unwrap().shown();
    let variables = &shown["environment_variables"];
    assert_eq!(variables["GENERIC_CLIENT_SECRET"], "hush");
    assert_eq!(
        variables["GENERIC_ROLE_MAPPINGS_ROLES"],
        r#"{"proxy_admin":["ops"]}"#
    );
    assert!(variables.get("GOOGLE_CLIENT_ID").is_none() && variables.get("USER_EMAIL").is_none());
    assert_eq!(shown["general_settings"]["ui_access_mode"], "admin_only");
    let change =
        json!({"generic_client_secret": "*****", "generic_client_id": "d", "ui_access_mode": null});
    let (status, told) = world
        .ask("PATCH", &admin(), "/update/sso_settings", change)
        .await;
    assert_eq!(status, 200, "{told}");
    let (_, told) = world.get(&admin(), "/get/sso_settings").await;
    let values = &told["values"];
    assert_eq!(
        (
            &values["generic_client_id"],
            &values["generic_client_secret"],
            &values["ui_access_mode"]
        ),
        (&json!("d"), &json!("*****"), &Value::Null)
    );
    assert_eq!(values["generic_token_endpoint"], "https://idp/token");
    let shown = world.plane.configuration().unwrap().shown();
    assert_eq!(
        shown["environment_variables"]["GENERIC_CLIENT_SECRET"],
        "hush"
    );
    for wrong in [
        json!({"generic_client_idd": "x"}),
        json!({"microsoft_client_secret": "*****"}),
        json!({"team_mappings": {"team_ids_jwt_field": "t"}}),
        json!({"role_mappings": {"provider": "google", "roles": {}}}),
        json!({"role_mappings": {"roles": {"proxy_admin": "ops"}}}),
        json!({"generic_client_id": 7}),
    ] {
        let said = world
            .ask("PATCH", &admin(), "/update/sso_settings", wrong.clone())
            .await;
        assert_eq!(said.0, 400, "{wrong}: {said:?}");
    }
    assert_eq!(world.get(&user("ann"), "/get/sso_settings").await.0, 401);
}

#[tokio::test]
async fn pictures_of_the_ui_are_addresses_for_browsers() {
    let world = world(json!({})).await;
    let path = "/update/ui_theme_settings";
    let body = json!({"logo_url": "https://example.com/l.png", "favicon_url": "https://example.com/f.ico"});
    let (status, told) = world.ask("PATCH", &admin(), path, body.clone()).await;
    assert_eq!((status, &told["theme_config"]), (200, &body), "{told}");
    let (_, told) = world
        .ask("PATCH", &admin(), path, json!({"favicon_url": ""}))
        .await;
    assert_eq!(
        told["theme_config"],
        json!({"logo_url": "https://example.com/l.png"})
    );
    for wrong in [
        "/etc/passwd",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://",
        "data:image/png,x",
    ] {
        let (status, told) = world
            .ask("PATCH", &admin(), path, json!({"logo_url": wrong}))
            .await;
        assert_eq!(status, 400, "{wrong}: {told}");
    }
    assert_eq!(
        world
            .ask("PATCH", &admin(), path, json!({"colour": "red"}))
            .await
            .0,
        400
    );
    assert_eq!(
        held(&world, "litellm_settings").await,
        json!({"ui_theme_config": {"logo_url": "https://example.com/l.png"}})
    );
    world
        .ask("PATCH", &admin(), path, json!({"logo_url": null}))
        .await;
    assert_eq!(held(&world, "litellm_settings").await, json!({}));
}

#[tokio::test]
async fn pass_through_routes_are_stored_with_their_headers_encrypted_and_follow_no_other_host() {
    let world = world(json!({})).await;
    let path = "/config/pass_through_endpoint";
    let body = json!({"path": "/rerank", "target": "https://one.example/v1", "headers": {"authorization": "Bearer hush"}});
    let made = world.done(path, body.clone()).await["endpoints"][0].clone();
    assert_eq!(
        (&made["headers"]["authorization"], &made["auth"]),
        (&json!("*****"), &json!(true)),
        "{made}"
    );
    let id = made["id"].as_str().unwrap().to_owned();
    let twin = json!({"id": id, "path": "/twin", "target": "https://one.example"});
    let (status, told) = world.post(&admin(), path, twin).await;
    assert!(
        status == 400 && told.to_string().contains("is there already"),
        "{told}"
    );
    let stored = async || held(&world, "general_settings").await["pass_through_endpoints"].clone();
    let hush = Opened::Sealed("Bearer hush".to_owned());
    assert_eq!(opened(&stored().await[0]["headers"]["authorization"]), hush);
    let shown = world.plane.configuration().unwrap().shown();
    let serving = &shown["general_settings"]["pass_through_endpoints"][0];
    assert_eq!(serving["headers"]["authorization"], "Bearer hush");
    // What was read comes back, with a change; another path on the same host.
    let at = format!("{path}/{id}");
    let mut again = made.clone();
    again["target"] = json!("https://one.example/v2");
    again["timeout"] = json!(5);
    let told = world.done(&at, again.clone()).await;
    assert_eq!(told["endpoints"][0]["timeout"], 5);
    assert_eq!(opened(&stored().await[0]["headers"]["authorization"]), hush);
    for wrong in [
        json!({"target": "https://evil.example"}),
        json!({"target": "http://one.example/v2"}),
        json!({"target": "https://evil.example", "headers": {"authorization": "*****"}}),
        json!({"headers": {"other": "*****"}}),
        json!({"id": "other"}),
        json!({"colour": "red"}),
        json!({"path": ""}),
    ] {
        let (status, told) = world.post(&admin(), &at, wrong.clone()).await;
        assert!([400, 422].contains(&status), "{wrong}: {told}");
    }
    let moved = json!({"target": "https://two.example", "headers": null});
    world.done(&at, moved).await;
    assert!(stored().await[0].get("headers").is_none());
    let other = world
        .done(
            path,
            json!({"path": "/b", "target": "https://b.example", "auth": false}),
        )
        .await;
    let (_, listed) = world.get(&admin(), path).await;
    assert_eq!(listed["endpoints"].as_array().unwrap().len(), 2);
    let one = format!("{path}?endpoint_id={id}");
    let (status, told) = world.ask("DELETE", &admin(), &one, json!({})).await;
    assert_eq!(
        (status, &told["endpoints"][0]["path"]),
        (200, &json!("/rerank"))
    );
    assert_eq!(world.ask("DELETE", &admin(), &one, json!({})).await.0, 404);
    assert_eq!(world.get(&admin(), &one).await.0, 404);
    let (_, listed) = world.get(&admin(), path).await;
    assert_eq!(listed["endpoints"], other["endpoints"]);
    assert_eq!(world.post(&user("ann"), path, body).await.0, 401);
}

#[tokio::test]
async fn of_settings_changed_at_once_none_is_lost() {
    let world = world(json!({})).await;
    let admin = admin();
    // What was made of an older revision is made anew.
    let ask = crate::Ask::of_gateway("/config/update", jiff::Timestamp::UNIX_EPOCH, "test");
    let store = async |seen: u64| {
        let change = serde_json::Map::from_iter([("alerting".to_owned(), json!(["slack"]))]);
        let changes = super::Changes::from([("general_settings", change)]);
        world
            .plane
            .store_seen(&ask, changes, Some(json!(seen)))
            .await
    };
    world
        .done("/add/allowed_ip", json!({"ip": "192.0.2.1"}))
        .await;
    assert!(matches!(store(0).await, Err(crate::Refusal::Raced)));
    assert!(store(1).await.is_ok());
    let one = |n: usize| {
        let body = json!({"path": format!("/r{n}"), "target": "https://one.example"});
        world.post(&admin, "/config/pass_through_endpoint", body)
    };
    let made = futures_util::future::join_all((0..4).map(one)).await;
    assert!(made.iter().all(|(status, _)| *status == 200), "{made:?}");
    let stored = held(&world, "general_settings").await;
    assert_eq!(
        stored["pass_through_endpoints"].as_array().unwrap().len(),
        4
    );
    let ips = (1..5).map(|n| {
        world.post(
            &admin,
            "/add/allowed_ip",
            json!({"ip": format!("192.0.2.{n}")}),
        )
    });
    futures_util::future::join_all(ips).await;
    let (_, listed) = world.get(&admin, "/get/allowed_ips").await;
    assert_eq!(listed["data"].as_array().unwrap().len(), 4, "{listed}");
}

#[tokio::test]
async fn a_stored_secret_follows_no_address_that_comes_without_it() {
    let world = world(json!({})).await;
    let refused = async |method: &str, path: &str, body: Value, words: &str| {
        let (status, told) = world.ask(method, &admin(), path, body.clone()).await;
        assert!(
            status == 400 && told.to_string().contains(words),
            "{path} {body}: {status} {told}"
        );
    };
    // The client secret of the generic provider, by its page and by the variables that it becomes.
    let page = "/update/sso_settings";
    let sign_in = async |body: Value| {
        let (status, told) = world.ask("PATCH", &admin(), page, body).await;
        assert_eq!(status, 200, "{told}");
    };
    sign_in(json!({"generic_client_secret": "hush", "generic_token_endpoint": "https://idp.example/token"})).await;
    let evil = "https://evil.example/token";
    let variables = |token: Value| json!({"environment_variables": token});
    for body in [
        json!({"generic_token_endpoint": evil}),
        json!({"generic_token_endpoint": evil, "generic_client_secret": "*****"}),
        json!({"generic_token_endpoint": evil, "generic_client_secret": null}),
        json!({"generic_token_endpoint": "http://idp.example/token"}),
        json!({"generic_token_endpoint": "os.environ/ELSEWHERE"}),
    ] {
        refused("PATCH", page, body, "is on another host").await;
    }
    for body in [
        json!({"GENERIC_TOKEN_ENDPOINT": evil}),
        json!({"GENERIC_TOKEN_ENDPOINT": evil, "GENERIC_CLIENT_SECRET": "new"}),
    ] {
        refused(
            "POST",
            "/config/update",
            variables(body),
            "is on another host",
        )
        .await;
    }
    sign_in(json!({"generic_token_endpoint": "https://idp.example/other"})).await;
    sign_in(json!({"generic_token_endpoint": evil, "generic_client_secret": "theirs"})).await;
    sign_in(json!({"generic_token_endpoint": null, "generic_client_secret": null})).await;
    let both = json!({"GENERIC_TOKEN_ENDPOINT": "https://idp.example/token", "GENERIC_CLIENT_SECRET": "hush"});
    world.done("/config/update", variables(both)).await;
    refused(
        "PATCH",
        page,
        json!({"generic_token_endpoint": evil}),
        "is on another host",
    )
    .await;
    let moved = json!({"GENERIC_TOKEN_ENDPOINT": evil, "GENERIC_CLIENT_SECRET": "theirs"});
    world.done("/config/update", variables(moved)).await;

    // The password of a Redis that variables name, and of one that gets company.
    let cache = |settings: Value| json!({ "cache_settings": settings });
    world
        .done(
            "/cache/settings",
            cache(json!({"type": "redis", "password": "right"})),
        )
        .await;
    let masked = |more: Value| {
        let mut settings = json!({"type": "redis", "password": "*****"});
        settings
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        settings
    };
    for more in [
        json!({"host": "evil"}),
        json!({"port": 1234}),
        json!({"sentinel_nodes": [["evil", 26379]]}),
        json!({"redis_startup_nodes": [{"host": "evil"}]}),
        json!({"url": "redis://evil"}),
        json!({"service_name": "evil"}),
        json!({"qdrant_api_base": "https://evil.example"}),
        json!({"s3_endpoint_url": "https://evil.example"}),
        json!({"gcs_endpoint_url": "https://evil.example"}),
        json!({"azure_account_url": "https://evil.example"}),
    ] {
        refused(
            "POST",
            "/cache/settings/test",
            cache(masked(more.clone())),
            "another store",
        )
        .await;
        refused(
            "POST",
            "/cache/settings",
            cache(masked(more)),
            "another store",
        )
        .await;
    }
    let same = cache(masked(json!({"port": "6379", "ttl": 5})));
    world.done("/cache/settings", same).await;
    every_store_keeps_its_secret(&world).await;
    // By another way in, too.
    let by_section = |params: Value| json!({"litellm_settings": {"cache_params": params}});
    let params = json!({"type": "redis", "host": "r1", "password": "right"});
    world.done("/config/update", by_section(params)).await;
    refused(
        "POST",
        "/config/update",
        by_section(masked(json!({"host": "evil"}))),
        "another store",
    )
    .await;
    world
        .done(
            "/config/update",
            by_section(masked(json!({"host": "r1", "ttl": 9}))),
        )
        .await;
    let kept = held(&world, "litellm_settings").await;
    assert_eq!(kept["cache_params"]["password"], "right");
}

#[tokio::test]
async fn routes_that_are_sent_as_a_list_keep_their_secrets_and_lead_them_nowhere_else() {
    let world = world(json!({})).await;
    let stored = async || held(&world, "general_settings").await["pass_through_endpoints"].clone();
    let list = |routes: Value| json!({"general_settings": {"pass_through_endpoints": routes}});
    let route = |id: &str, target: &str, value: &str| json!({"id": id, "path": id, "target": target, "headers": {"authorization": value}, "default_query_params": {"api_key": value, "v": "1"}});
    let routes = json!([
        route("a", "https://a.example", "of-a"),
        route("b", "https://b.example", "of-b")
    ]);
    world.done("/config/update", list(routes)).await;
    let is = |route: &Value, value: &str| {
        for part in [
            &route["headers"]["authorization"],
            &route["default_query_params"]["api_key"],
        ] {
            assert_eq!(opened(part), Opened::Sealed(value.to_owned()), "{route}");
        }
        assert_eq!(route["default_query_params"]["v"], "1", "{route}");
    };
    is(&stored().await[1], "of-b");
    let (_, told) = world.get(&admin(), "/config/pass_through_endpoint").await;
    let told = told["endpoints"].clone();
    assert!(!told.to_string().contains("of-a"), "{told}");
    assert_eq!(
        told[0]["default_query_params"],
        json!({"api_key": "*****", "v": "1"})
    );
    // As they were read, without the first: the second keeps its own.
    world
        .done(
            "/config/update",
            list(json!([route("b", "https://b.example/v2", "*****")])),
        )
        .await;
    is(&stored().await[0], "of-b");
    for away in [
        route("b", "https://evil.example", "*****"),
        route("b", "os.environ/ELSEWHERE", "*****"),
        route("c", "https://b.example", "*****"),
    ] {
        let (status, told) = world
            .post(&admin(), "/config/update", list(json!([away])))
            .await;
        assert!(
            status == 400 && told.to_string().contains("masked")
                || told.to_string().contains("none is stored"),
            "{told}"
        );
        is(&stored().await[0], "of-b");
    }
    // What a route sends in its query goes along, as its headers do; and none of it stands in its target.
    let at = "/config/pass_through_endpoint/b";
    for wrong in [
        json!({"target": "https://evil.example", "headers": null}),
        json!({"target": "https://b.example/?api_key=hush"}),
    ] {
        let (status, told) = world.post(&admin(), at, wrong.clone()).await;
        let words = ["default_query_params", "secret"];
        assert!(
            status == 400
                && words.iter().all(|word| told.to_string().contains(word)
                    || told.to_string().contains("stored would go")),
            "{wrong}: {told}"
        );
    }
    let moved =
        json!({"target": "https://two.example", "headers": null, "default_query_params": null});
    world.done(at, moved).await;
}

/// Of each kind of store: its secret stays where it is, and goes to no other address, from one or to one.
async fn every_store_keeps_its_secret(world: &World) {
    for (kind, address, secret) in [
        ("qdrant-semantic", "qdrant_api_base", "qdrant_api_key"),
        ("s3", "s3_endpoint_url", "s3_aws_secret_access_key"),
        ("gcs", "gcs_endpoint_url", "gcs_path_service_account"),
        ("azure-blob", "azure_account_url", "azure_client_secret"),
    ] {
        let Some(secret) = [secret, "password"]
            .into_iter()
            .find(|name| world.plane.is_secret(name))
        else {
            panic!("{kind} has no secret");
        };
        let settings = |at: Option<&str>, told: &str| {
            let mut settings = json!({"type": kind, secret: told});
            if let Some(at) = at {
                settings[address] = json!(at);
            }
            json!({ "cache_settings": settings })
        };
        let home = "https://store.example";
        world
            .done("/cache/settings", settings(Some(home), "right"))
            .await;
        for at in [
            Some("https://evil.example"),
            Some("https://store.example:444"),
            None,
        ] {
            for path in ["/cache/settings", "/cache/settings/test"] {
                let (status, told) = world.post(&admin(), path, settings(at, "*****")).await;
                assert!(
                    status == 400 && told.to_string().contains("another store"),
                    "{kind} {at:?} {path}: {status} {told}"
                );
            }
        }
        world
            .done("/cache/settings", settings(Some(home), "*****"))
            .await;
        let kept = row(world, "LiteLLM_CacheConfig", "cache_settings").await;
        assert_eq!(
            opened(&kept[secret]),
            Opened::Sealed("right".to_owned()),
            "{kind}"
        );
    }
    let redis = json!({"type": "redis", "password": "right"});
    world
        .done("/cache/settings", json!({ "cache_settings": redis }))
        .await;
}
