//! Requests about credentials, over a real store.

use serde_json::json;

use crate::seal::{Opened, Seal};
use crate::testing::{SALT, admin, user, world};

#[tokio::test]
async fn a_credential_is_stored_encrypted_shown_masked_changed_and_deleted() {
    let world = world(json!({})).await;
    let body = json!({
        "credential_name": "c", "credential_values": {"api_key": "sk-secret", "api_base": "https://h"},
        "credential_info": {"description": "d"},
    });
    let made = world.done("/credentials", body.clone()).await;
    assert_eq!(made["success"], true);
    assert_eq!(
        world.post(&admin(), "/credentials", body.clone()).await.0,
        409
    );
    let row = world
        .plane
        .store
        .row("LiteLLM_CredentialsTable", "credential_name", "c")
        .await;
    let row = row.unwrap().unwrap();
    let sealed = row["credential_values"]["api_key"].as_str().unwrap();
    assert_eq!(
        Seal::of(SALT).open(sealed),
        Opened::Sealed("sk-secret".to_owned())
    );
    let (_, listed) = world.get(&admin(), "/credentials").await;
    assert_eq!(
        listed["credentials"][0]["credential_values"],
        json!({"api_key": "*****", "api_base": "*****"})
    );
    let change = json!({"credential_values": {"api_key": "*****", "none": "*****"}});
    let (status, said) = world.ask("PATCH", &admin(), "/credentials/c", change).await;
    assert_eq!(status, 400, "nothing is stored of one: {said}");
    let change =
        json!({"credential_values": {"api_key": "*****", "api_base": null, "api_version": "1"}});
    let (status, said) = world.ask("PATCH", &admin(), "/credentials/c", change).await;
    assert_eq!(status, 200, "{said}");
    let (_, one) = world.get(&admin(), "/credentials/by_name/c").await;
    assert_eq!(
        one["credential_values"],
        json!({"api_key": "*****", "api_version": "*****"})
    );
    assert_eq!(one["credential_info"], json!({"description": "d"}));
    let row = world
        .plane
        .store
        .row("LiteLLM_CredentialsTable", "credential_name", "c")
        .await;
    let row = row.unwrap().unwrap();
    assert_eq!(
        Seal::of(SALT).open(row["credential_values"]["api_key"].as_str().unwrap()),
        Opened::Sealed("sk-secret".to_owned()),
        "what came back masked stays"
    );
    for (method, path) in [
        ("POST", "/credentials"),
        ("DELETE", "/credentials/c"),
        ("GET", "/credentials"),
    ] {
        let (status, _) = world.ask(method, &user("ann"), path, body.clone()).await;
        assert_eq!(status, 401, "{method} {path}");
    }
    let (status, _) = world
        .ask("DELETE", &admin(), "/credentials/c", json!({}))
        .await;
    assert_eq!(status, 200);
    let (status, _) = world
        .ask("DELETE", &admin(), "/credentials/c", json!({}))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_credential_is_made_of_a_deployments() {
    let world = world(json!({})).await;
    let model = json!({
        "model_name": "m", "model_info": {"id": "m1"},
        "litellm_params": {"model": "openai/m", "api_key": "sk-secret", "api_base": "https://h", "rpm": 1},
    });
    world.done("/model/new", model).await;
    world
        .done(
            "/credentials",
            json!({"credential_name": "c", "model_id": "m1"}),
        )
        .await;
    let (_, one) = world.get(&admin(), "/credentials/by_model/m1").await;
    let (_, stored) = world.get(&admin(), "/credentials/by_name/c").await;
    for one in [one, stored] {
        assert_eq!(
            one["credential_values"],
            json!({"api_key": "*****", "api_base": "*****"})
        );
    }
}
