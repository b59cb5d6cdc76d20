//! What reads show may be sent back.

use serde_json::{Value, json};

use crate::seal::{Opened, Seal};
use crate::testing::{SALT, World, admin, user, world};

/// The secret that a row has.
async fn secret(
    world: &World,
    (table, key, id): (&'static str, &'static str, &str),
    column: &str,
) -> Opened {
    let row = world
        .plane
        .store
        .row(table, key, id)
        .await
        .unwrap()
        .unwrap();
    Seal::of(SALT).open(row[column]["api_key"].as_str().unwrap())
}

#[tokio::test]
async fn a_secret_that_comes_back_as_it_is_shown_stays() {
    let world = world(json!({})).await;
    let params = json!({"model": "openai/m", "api_key": "sk-secret", "api_base": "https://h"});
    let model = json!({"model_name": "m", "model_info": {"id": "one"}, "litellm_params": params});
    let shown = world.done("/model/new", model).await;
    let params = json!({"guardrail": "presidio", "mode": "pre_call", "api_key": "sk-secret"});
    let guardrail = json!({"guardrail": {"guardrail_name": "g", "litellm_params": params}});
    let of_guardrail = world.done("/guardrails", guardrail).await;
    let id = of_guardrail["guardrail_id"].as_str().unwrap();
    let credential = json!({"credential_name": "c", "credential_values": {"api_key": "sk-secret"}});
    world.done("/credentials", credential).await;

    let path = format!("/guardrails/{id}");
    let (masked, whole) = (
        json!({"api_key": "*****"}),
        json!({"guardrail": of_guardrail}),
    );
    let updates: [(&str, &str, Value); 5] = [
        ("PATCH", "/model/one/update", shown.clone()),
        ("POST", "/model/update", shown),
        ("PUT", &path, whole),
        ("PATCH", &path, json!({"litellm_params": masked})),
        (
            "PATCH",
            "/credentials/c",
            json!({"credential_values": masked}),
        ),
    ];
    for (method, path, body) in updates {
        let (status, said) = world.ask(method, &admin(), path, body).await;
        assert_eq!(status, 200, "{method} {path}: {said}");
        let rows = [
            (
                ("LiteLLM_ProxyModelTable", "model_id", "one"),
                "litellm_params",
            ),
            (
                ("LiteLLM_GuardrailsTable", "guardrail_id", id),
                "litellm_params",
            ),
            (
                ("LiteLLM_CredentialsTable", "credential_name", "c"),
                "credential_values",
            ),
        ];
        for (row, column) in rows {
            let kept = secret(&world, row, column).await;
            assert_eq!(
                kept,
                Opened::Sealed("sk-secret".to_owned()),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn a_mask_is_no_secret() {
    let world = world(json!({})).await;
    let masked = json!({"model": "openai/m", "guardrail": "presidio", "mode": "pre_call", "api_key": "*****"});
    for (path, body, param) in [
        (
            "/model/new",
            json!({"model_name": "m", "litellm_params": masked}),
            "litellm_params.api_key",
        ),
        (
            "/guardrails",
            json!({"guardrail": {"guardrail_name": "g", "litellm_params": masked}}),
            "litellm_params.api_key",
        ),
        (
            "/credentials",
            json!({"credential_name": "c", "credential_values": masked}),
            "credential_values.api_key",
        ),
        (
            "/config/update",
            json!({"environment_variables": {"X_KEY": "*****"}}),
            "environment_variables.X_KEY",
        ),
    ] {
        let (status, said) = world.post(&admin(), path, body).await;
        assert_eq!(status, 400, "{path}: {said}");
        assert!(said.to_string().contains(param), "{path}: {said}");
    }
}

/// A guardrail may write stars where it found something.
#[tokio::test]
async fn stars_of_what_is_no_secret_are_what_they_say() {
    let world = world(json!({})).await;
    let params = json!({"guardrail": "presidio", "mode": "pre_call", "replacement": "*****"});
    let guardrail = json!({"guardrail": {"guardrail_name": "g", "litellm_params": params}});
    let made = world.done("/guardrails", guardrail).await;
    assert_eq!(made["litellm_params"]["replacement"], "*****");
    let path = format!("/guardrails/{}", made["guardrail_id"].as_str().unwrap());
    let change = json!({"litellm_params": {"instead": "*****"}});
    let (status, changed) = world.ask("PATCH", &admin(), &path, change).await;
    assert_eq!(
        (status, &changed["litellm_params"]["instead"]),
        (200, &json!("*****")),
        "{changed}"
    );
}

/// A team's deployment has a key that its admin gives, and stars are none.
#[tokio::test]
async fn a_teams_admin_gives_no_key_with_a_mask() {
    let world = world(json!({})).await;
    let members = json!([{"user_id": "ann", "role": "admin"}]);
    let team = json!({"team_id": "red", "members_with_roles": members});
    world.done("/team/new", team).await;
    for (api_key, expected) in [("*****", 400), ("sk-anns", 200)] {
        let params = json!({"model": "openai/m", "api_key": api_key});
        let model =
            json!({"model_name": "m", "model_info": {"team_id": "red"}, "litellm_params": params});
        let (status, said) = world.post(&user("ann"), "/model/new", model).await;
        assert_eq!(status, expected, "{api_key}: {said}");
    }
}

#[test]
fn in_a_list_a_secret_stays_with_what_it_stands_beside() {
    let stored = json!([{"host": "a", "password": "of-a"}, {"host": "b", "password": "of-b"}]);
    let is_secret = |name: &str| name == "password";
    let restored = |mut said: Value| {
        super::restore(&is_secret, "nodes", "nodes", &mut said, Some(&stored)).map(|()| said)
    };
    let second = json!([{"host": "b", "password": "*****"}]);
    assert_eq!(
        restored(second).unwrap(),
        json!([{"host": "b", "password": "of-b"}])
    );
    for other in [
        json!([{"host": "evil", "password": "*****"}]),
        json!([{"host": "a", "password": "*****", "proxy": "evil"}]),
    ] {
        assert!(restored(other).is_err());
    }
}
