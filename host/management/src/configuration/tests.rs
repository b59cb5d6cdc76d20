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
        assert_eq!(told["values"], body);
        assert_eq!(held(&world, "litellm_settings").await[key], body);
    }
}
