//! Tokens that stand for virtual keys, teams of the database, and keys that issuers publish in PEM.

use serde_json::{Value, json};

use super::{World, refused};
use crate::support::chat;

#[tokio::test]
async fn a_token_stands_for_the_key_that_its_claim_names() {
    let settings = "{virtual_key_claim_field: client, unregistered_jwt_client_behavior: reject, user_id_jwt_field: sub}";
    let world = World::with(settings, "").await;
    let claims = |client: &str| json!({"sub": "ann", "client": client});
    refused(
        &world.call(claims("ci"), "gpt-4o").await,
        403,
        "no virtual key",
    );
    refused(
        &world.call(json!({"sub": "ann"}), "gpt-4o").await,
        403,
        "no claim client",
    );
    let key = json!({"models": ["gpt-4o"], "key_alias": "ci"});
    let key = world.done("/key/generate", key).await;
    let mapping = json!({"jwt_claim_name": "client", "jwt_claim_value": "ci", "key": key["key"]});
    let mapping = world.done("/jwt/key/mapping/new", mapping).await;
    // Everything of the key holds.
    world.call(claims("ci"), "gpt-4o").await.ok();
    let denied = world.call(claims("ci"), "gpt-3.5-turbo-instruct").await;
    assert_eq!(denied.error(401)["type"], "key_model_access_denied");
    refused(
        &world.call(claims("other"), "gpt-4o").await,
        403,
        "no virtual key",
    );
    let rows = world.stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(rows[0]["api_key"], key["token"]);
    // Whatever becomes of the key holds for the token, and the mapping follows it.
    let named = json!({"key": key["token"]});
    world.done("/key/block", named.clone()).await;
    refused(&world.call(claims("ci"), "gpt-4o").await, 401, "blocked");
    world.done("/key/unblock", named.clone()).await;
    world.done("/key/regenerate", named).await;
    world.call(claims("ci"), "gpt-4o").await.ok();
    let off = json!({"id": mapping["id"], "is_active": false});
    world.done("/jwt/key/mapping/update", off).await;
    refused(
        &world.call(claims("ci"), "gpt-4o").await,
        403,
        "no virtual key",
    );
}

#[tokio::test]
async fn a_key_is_made_for_a_token_that_clears_everything_else() {
    let settings = "{virtual_key_claim_field: email, unregistered_jwt_client_behavior: auto_register, user_id_jwt_field: sub, \
        user_email_jwt_field: email, user_id_upsert: true, user_allowed_email_domain: example.com}";
    let world = World::with(settings, "").await;
    let claims = |email: &str| json!({"sub": "ann", "email": email});
    refused(
        &world.call(claims("ann@elsewhere.com"), "gpt-4o").await,
        403,
        "domain",
    );
    let mappings = async || world.stage.client.get("/jwt/key/mapping/list").await.ok();
    assert_eq!(mappings().await["total_count"], 0);
    for _ in 0..2 {
        world.call(claims("ann@example.com"), "gpt-4o").await.ok();
    }
    assert_eq!(mappings().await["total_count"], 1);
    let info = world
        .holder(claims("ann@example.com"))
        .get("/key/info")
        .await
        .ok();
    assert_eq!(info["info"]["user_id"], "ann");
}

#[tokio::test]
async fn what_a_token_restricts_holds_beside_its_key() {
    let settings = "{virtual_key_claim_field: client, enforce_scope_based_access: true, \
        scope_mappings: [{scope: small, models: [gpt-3.5-turbo-instruct]}]}";
    let world = World::with(settings, "").await;
    let key = world
        .done("/key/generate", json!({"models": ["gpt-4o"]}))
        .await;
    let mapping = json!({"jwt_claim_name": "client", "jwt_claim_value": "ci", "key": key["key"]});
    world.done("/jwt/key/mapping/new", mapping).await;
    let claims = json!({"client": "ci", "scope": "small"});
    for model in ["gpt-4o", "gpt-3.5-turbo-instruct"] {
        let answer = world.holder(claims.clone()).chat(&chat(model)).await;
        assert!(
            matches!(answer.status, 401 | 403),
            "{model}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn teams_of_the_database_stand_in_where_the_settings_say_so() {
    let team = async |world: &World, id: &str, users: &[&str]| {
        let members: Vec<Value> = users
            .iter()
            .map(|user| json!({"role": "user", "user_id": user}))
            .collect();
        let body = json!({"team_id": id, "models": ["gpt-4o"], "members_with_roles": members});
        world.done("/team/new", body).await;
    };
    let world = World::with(
        "{user_id_jwt_field: sub, team_ids_jwt_field: groups, team_claim_fallback: true}",
        "",
    )
    .await;
    for id in ["ann", "bob"] {
        world
            .done(
                "/user/new",
                json!({"user_id": id, "auto_create_key": false}),
            )
            .await;
    }
    team(&world, "red", &["ann", "bob"]).await;
    team(&world, "blue", &["bob"]).await;
    let strange = |user: &str| json!({"sub": user, "groups": ["nowhere"]});
    world.call(strange("ann"), "gpt-4o").await.ok();
    // The team's models bound her.
    let denied = world.call(strange("ann"), "gpt-3.5-turbo-instruct").await;
    assert!(matches!(denied.status, 401 | 403), "{}", denied.text());
    // Of two nobody knows which.
    refused(
        &world.call(strange("bob"), "gpt-4o").await,
        403,
        "No team has access",
    );

    let world = World::with(
        "{user_id_jwt_field: sub, team_id_jwt_field: team, fallback_to_db_teams: true}",
        "",
    )
    .await;
    world
        .done(
            "/user/new",
            json!({"user_id": "ann", "auto_create_key": false}),
        )
        .await;
    refused(
        &world.call(json!({"sub": "ann"}), "gpt-4o").await,
        401,
        "No team found",
    );
    team(&world, "red", &["ann"]).await;
    world.call(json!({"sub": "ann"}), "gpt-4o").await.ok();
    let denied = world
        .call(json!({"sub": "ann"}), "gpt-3.5-turbo-instruct")
        .await;
    assert!(matches!(denied.status, 401 | 403), "{}", denied.text());
}
