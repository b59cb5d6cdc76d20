//! Whom a token names: users, teams, organizations and end users of the database, and those that are made.

use serde_json::{Value, json};

use super::{World, refused};
use crate::support::{MASTER_KEY, base_config, chat, eventually};

async fn user(world: &World, id: &str) -> Option<Value> {
    let rows = world
        .stage
        .gateway
        .rows("LiteLLM_UserTable", "user_id")
        .await;
    rows.into_iter().find(|row| row["user_id"] == id)
}

#[tokio::test]
async fn an_unknown_user_is_refused_or_made_and_only_of_the_domain() {
    let fields = "user_id_jwt_field: sub, user_email_jwt_field: email";
    let world = World::with(&format!("{{{fields}}}"), "").await;
    let ann = json!({"sub": "ann", "email": "Ann@x.org"});
    refused(
        &world.call(ann.clone(), "gpt-4o").await,
        401,
        "User doesn't exist in db. 'user_id'=ann",
    );
    // A user who is known by the address alone is this one; what they spend is theirs.
    let body = json!({"user_id": "u-7", "user_email": "ann@x.org", "auto_create_key": false});
    world.done("/user/new", body).await;
    world.call(ann, "gpt-4o").await.ok();
    let rows = world.stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(rows[0]["user"], "u-7");

    let settings = format!("{{{fields}, user_id_upsert: true, user_allowed_email_domain: x.org}}");
    let world = World::with(&settings, "").await;
    for email in [
        json!("eve@x.org.evil"),
        json!("x.org"),
        json!("eve@y@evil"),
        Value::Null,
    ] {
        let answer = world
            .call(json!({"sub": "eve", "email": email}), "gpt-4o")
            .await;
        refused(&answer, 403, "Email domain not allowed");
        assert_eq!(answer.error(403)["param"], "user_email");
    }
    assert_eq!(user(&world, "eve").await, None);
    let bob = json!({"sub": "bob", "email": "bob@X.org"});
    let calls = (0..8).map(|_| world.call(bob.clone(), "gpt-4o"));
    for answer in futures_util::future::join_all(calls).await {
        answer.ok();
    }
    let made = user(&world, "bob").await.expect("made");
    assert_eq!(
        (&made["user_email"], &made["user_role"]),
        (&json!("bob@X.org"), &json!("internal_user"))
    );
    // The user's own models and limits hold.
    world
        .done(
            "/user/update",
            json!({"user_id": "bob", "models": ["gpt-4o"]}),
        )
        .await;
    let closed = world.call(bob, "gpt-3.5-turbo-instruct").await.error(401);
    assert_eq!(closed["type"], "user_model_access_denied");
}

#[tokio::test]
async fn an_allowed_role_lets_a_new_user_in_and_another_does_not() {
    let settings =
        "{user_id_jwt_field: sub, user_roles_jwt_field: roles, user_allowed_roles: [basic]}";
    let world = World::with(settings, "").await;
    let of = |role: &str| json!({"sub": role, "roles": [role]});
    world.call(of("basic"), "gpt-4o").await.ok();
    assert!(user(&world, "basic").await.is_some());
    refused(
        &world.call(of("other"), "gpt-4o").await,
        401,
        "User doesn't exist in db",
    );
}

#[tokio::test]
async fn teams_are_made_and_users_put_into_them() {
    let settings = "{team_id_jwt_field: team, user_id_jwt_field: sub, user_id_upsert: true, team_id_upsert: true}";
    let world = World::with(settings, "").await;
    let ann = json!({"sub": "ann", "team": "red"});
    let calls = (0..8).map(|_| world.call(ann.clone(), "gpt-4o"));
    for answer in futures_util::future::join_all(calls).await {
        answer.ok();
    }
    let team = world.stage.client.get("/team/info?team_id=red").await.ok();
    let members = team["team_info"]["members_with_roles"].as_array().cloned();
    let members = members.unwrap_or_default();
    assert_eq!(members.len(), 1, "{team}");
    assert_eq!(
        (&members[0]["user_id"], &members[0]["role"]),
        (&json!("ann"), &json!("user"))
    );
    let who = world.stage.client.get("/user/info?user_id=ann").await.ok();
    assert_eq!(who["user_info"]["teams"], json!(["red"]));
}

/// Without a master key nobody but the provider vouches for callers; what the database has of whom they call for holds all the same.
#[tokio::test]
async fn a_blocked_end_user_is_blocked_where_there_is_no_master_key() {
    let settings =
        "{user_id_jwt_field: sub, user_id_upsert: true, end_user_id_jwt_field: customer}";
    let world = World::with(settings, "").await;
    let blocked = json!({"user_id": "cu", "blocked": true});
    world.done("/customer/new", blocked).await;
    let base = base_config(&world.stage.upstream.api_base());
    let config = super::config(&base, settings, "");
    let open = config.replace(&format!("  master_key: {MASTER_KEY}\n"), "");
    assert_ne!(config, open);
    world.stage.gateway.write_config(&open);
    eventually("the master key is gone", async || {
        let answer = world.stage.client.chat(&chat("gpt-4o")).await;
        (answer.status == 401).then_some(())
    })
    .await;
    let claims = |customer: &str| json!({"sub": "ann", "customer": customer});
    world.call(claims("other"), "gpt-4o").await.ok();
    refused(
        &world.call(claims("cu"), "gpt-4o").await,
        400,
        "User blocked from making LLM API Calls",
    );
}

#[tokio::test]
async fn calls_are_accounted_to_whom_the_token_names_whichever_token_it_is() {
    let settings = "{team_alias_jwt_field: team, user_id_jwt_field: sub, org_id_jwt_field: org, end_user_id_jwt_field: customer}";
    let world = World::with(settings, "").await;
    let org = world
        .done("/organization/new", json!({"organization_alias": "acme"}))
        .await;
    let org = org["organization_id"].as_str().expect("an id").to_owned();
    world
        .done("/team/new", json!({"team_id": "t-1", "team_alias": "Red"}))
        .await;
    world
        .done(
            "/user/new",
            json!({"user_id": "ann", "auto_create_key": false}),
        )
        .await;
    world
        .done("/customer/new", json!({"user_id": "cu", "blocked": false}))
        .await;
    let claims =
        |jti: u32| json!({"team": "Red", "sub": "ann", "org": org, "customer": "cu", "jti": jti});
    for jti in [1, 2] {
        world.call(claims(jti), "gpt-4o").await.ok();
    }
    let rows = world.stage.gateway.wait_for_spend_rows(2).await;
    for row in &rows {
        for (column, value) in [
            ("user", "ann"),
            ("team_id", "t-1"),
            ("end_user", "cu"),
            ("organization_id", &org),
        ] {
            assert_eq!(row[column], value, "{column}: {row:?}");
        }
        let key = row["api_key"].as_str().unwrap_or_default();
        assert!(key.starts_with("hashed-jwt-") && key.len() == 75, "{row:?}");
    }
    assert_eq!(rows[0]["api_key"], rows[1]["api_key"]);
    world
        .done("/customer/block", json!({"user_ids": ["cu"]}))
        .await;
    refused(
        &world.call(claims(3), "gpt-4o").await,
        400,
        "User blocked from making LLM API Calls",
    );
    let gone = json!({"team": "Red", "sub": "ann", "org": "gone"});
    refused(
        &world.call(gone, "gpt-4o").await,
        401,
        "Organization doesn't exist in db",
    );
    refused(
        &world.call(json!({"team": "Blue"}), "gpt-4o").await,
        404,
        "Team=Blue",
    );
}

#[tokio::test]
async fn a_role_of_the_provider_and_its_teams_are_taken_over() {
    let settings = "{user_id_jwt_field: sub, user_id_upsert: true, roles_jwt_field: roles, team_ids_jwt_field: groups, sync_user_role_and_teams: true, jwt_litellm_role_map: [{jwt_role: 'gw.*.admin', litellm_role: proxy_admin}, {jwt_role: 'gw.view?', litellm_role: internal_user_viewer}]}";
    let world = World::with(settings, "").await;
    for team in ["red", "blue"] {
        world.done("/team/new", json!({"team_id": team})).await;
    }
    let ann =
        |roles: &[&str], groups: &[&str]| json!({"sub": "ann", "roles": roles, "groups": groups});
    world
        .call(ann(&["gw.viewX"], &["red"]), "gpt-4o")
        .await
        .ok();
    let of = async || user(&world, "ann").await.expect("made");
    assert_eq!(of().await["user_role"], "internal_user_viewer");
    world
        .call(ann(&["gw.view1"], &["blue"]), "gpt-4o")
        .await
        .ok();
    let row = of().await;
    assert_eq!(
        row["teams"].to_string().replace(['\\', '"'], ""),
        "[blue]",
        "{row}"
    );
    // An administrator of the database is one with every token, while the provider says so.
    let boss = world.holder(ann(&["gw.eu.admin"], &["blue"]));
    boss.post("/key/generate", &json!({})).await.ok();
    let fallen = world.holder(ann(&["gw.view1"], &["blue"]));
    assert_ne!(fallen.post("/team/new", &json!({})).await.status, 200);
    // The database follows with the first request that is let in.
    fallen.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(of().await["user_role"], "internal_user_viewer");
}
