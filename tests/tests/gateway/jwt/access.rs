//! How far a token gets: routes, models, roles, scopes.

use serde_json::json;

use super::{World, refused};
use crate::support::chat;

#[tokio::test]
async fn an_admin_by_scope_manages_and_calls_only_what_the_settings_open() {
    let world = World::with("{user_id_jwt_field: sub}", "").await;
    let admin = json!({"sub": "root", "scope": "profile litellm_proxy_admin"});
    let client = world.holder(admin.clone());
    let made = client.post("/team/new", &json!({"team_id": "red"})).await;
    assert_eq!(made.ok()["team_id"], "red");
    client.post("/key/generate", &json!({})).await.ok();
    client
        .get("/global/spend/report?start_date=2026-01-01&end_date=2026-01-02")
        .await
        .ok();
    let closed = world.call(admin, "gpt-4o").await;
    refused(
        &closed,
        401,
        "Admin not allowed to access this route. Route=/v1/chat/completions",
    );
    let closed = client.post("/cache/flushall", &json!({})).await;
    refused(&closed, 401, "Admin not allowed to access this route");
    // A scope that only resembles it.
    let other = json!({"sub": "eve", "scope": "litellm_proxy_admin2 xlitellm_proxy_admin"});
    let denied = world.holder(other).post("/team/new", &json!({})).await;
    refused(&denied, 401, "User doesn't exist in db. 'user_id'=eve");

    let settings = "{admin_jwt_scope: ops, admin_allowed_routes: [openai_routes, /key/info]}";
    let world = World::with(settings, "").await;
    let admin = json!({"scope": ["ops"]});
    world.call(admin.clone(), "gpt-4o").await.ok();
    let closed = world.holder(admin).post("/key/generate", &json!({})).await;
    refused(&closed, 401, "Admin not allowed");
}

#[tokio::test]
async fn a_team_calls_its_routes_and_models_within_its_limits() {
    let settings = "{team_id_jwt_field: team, user_id_jwt_field: sub, user_id_upsert: true}";
    let world = World::with(settings, "").await;
    let of = |team: &str| json!({"sub": "ann", "team": [team, "other"]});
    let body = json!({"team_id": "red", "models": ["gpt-4o"], "rpm_limit": 2});
    world.done("/team/new", body).await;
    world.call(of("red"), "gpt-4o").await.ok();
    let closed = world
        .call(of("red"), "gpt-3.5-turbo-instruct")
        .await
        .error(401);
    assert_eq!(closed["type"], "team_model_access_denied");
    let listed = world.holder(of("red")).get("/v1/models").await.ok();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "{listed}");
    for path in ["/key/generate", "/team/new", "/team/member_add"] {
        let closed = world
            .holder(of("red"))
            .post(path, &json!({"team_id": "red"}))
            .await;
        refused(&closed, 401, "Team not allowed to access this route");
    }
    // Every token of the team counts, whoever holds it.
    let bob = json!({"sub": "bob", "team": "red"});
    world.call(bob, "gpt-4o").await.ok();
    assert_eq!(world.call(of("red"), "gpt-4o").await.status, 429);
    refused(
        &world.call(of("blue"), "gpt-4o").await,
        404,
        "Team doesn't exist in db. Team=blue",
    );
    let nobodys = world.call(json!({"sub": "ann"}), "gpt-4o").await;
    refused(
        &nobodys,
        401,
        "No team found in token. Checked team_id field 'team'",
    );
    world.done("/team/block", json!({"team_id": "red"})).await;
    refused(
        &world.call(of("red"), "gpt-4o").await,
        401,
        "Team=red is blocked",
    );
}

#[tokio::test]
async fn what_a_team_has_spent_counts_for_every_token_of_it() {
    let world = World::priced("{team_id_jwt_field: team}").await;
    world
        .done("/team/new", json!({"team_id": "red", "max_budget": 0.5}))
        .await;
    let red = json!({"team": "red"});
    world.call(red.clone(), "gpt-4o").await.ok();
    world.stage.gateway.wait_for_spend_rows(1).await;
    let over = world.call(red, "gpt-4o").await.error(400);
    assert_eq!(over["type"], "budget_exceeded", "{over}");
    world.done("/team/new", json!({"team_id": "blue"})).await;
    world.call(json!({"team": "blue"}), "gpt-4o").await.ok();
}

#[tokio::test]
async fn of_several_teams_the_first_that_may_make_the_call_makes_it() {
    let settings = "{team_ids_jwt_field: realm.groups, enforce_team_based_model_access: true}";
    let world = World::with(settings, "").await;
    for (team, model) in [("red", "other"), ("blue", "gpt-4o"), ("green", "gpt-4o")] {
        let body = json!({"team_id": team, "models": [model]});
        world.done("/team/new", body).await;
    }
    let of = |teams: &[&str]| json!({"realm": {"groups": teams}});
    world
        .call(of(&["gone", "red", "green", "blue"]), "gpt-4o")
        .await
        .ok();
    let rows = world.stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(rows[0]["team_id"], "green", "{:?}", rows[0]);
    let none = world.call(of(&["red", "gone"]), "gpt-4o").await;
    refused(
        &none,
        403,
        "No team has access to the requested model: gpt-4o",
    );
    refused(
        &world.call(of(&[]), "gpt-4o").await,
        403,
        "No teams found in token",
    );
    let closed = world
        .holder(of(&["blue"]))
        .post("/key/generate", &json!({}))
        .await;
    refused(&closed, 403, "Team not allowed to access this route");
    // The caller may choose among their own.
    let choose = |team: &str| {
        world
            .holder(of(&["green", "blue"]))
            .header("x-litellm-team-id", team)
    };
    choose("blue").chat(&chat("gpt-4o")).await.ok();
    let rows = world.stage.gateway.wait_for_spend_rows(2).await;
    assert!(rows.iter().any(|row| row["team_id"] == "blue"), "{rows:?}");
    refused(
        &choose("red").chat(&chat("gpt-4o")).await,
        403,
        "not among those of the token",
    );
}

#[tokio::test]
async fn roles_of_the_provider_become_roles_here_and_bound_models_and_routes() {
    let settings = "{enforce_rbac: true, roles_jwt_field: access.roles, object_id_jwt_field: oid, role_mappings: [{role: app, internal_role: team}, {role: person, internal_role: internal_user}, {role: boss, internal_role: proxy_admin}]}";
    let general = "  enforce_rbac: true\n  role_permissions:\n  - {role: team, models: [gpt-4o], routes: [/v1/chat/completions]}\n  - {role: internal_user, routes: [openai_routes]}\n";
    let world = World::with(settings, general).await;
    world.done("/team/new", json!({"team_id": "t1"})).await;
    world
        .done(
            "/user/new",
            json!({"user_id": "u1", "auto_create_key": false}),
        )
        .await;
    let of = |role: &str, id: &str| json!({"access": {"roles": ["x", role]}, "oid": id});
    world.call(of("app", "t1"), "gpt-4o").await.ok();
    let rows = world.stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(
        (&rows[0]["team_id"], &rows[0]["user"]),
        (&json!("t1"), &json!(""))
    );
    let closed = world.call(of("app", "t1"), "gpt-3.5-turbo-instruct").await;
    refused(&closed, 403, "role not allowed to access model");
    let closed = world.holder(of("app", "t1")).get("/v1/models").await;
    refused(
        &closed,
        403,
        "Role=team not allowed to call route=/v1/models",
    );
    // A fallback that the caller asks for is no way around it.
    let mut body = chat("gpt-4o");
    body["fallbacks"] = json!(["gpt-3.5-turbo-instruct"]);
    world.stage.upstream.next(witgate_testkit::Reply::error(
        500,
        "server_error",
        None,
        "no",
    ));
    let before = world.stage.upstream.requests().len();
    world.holder(of("app", "t1")).chat(&body).await.error(500);
    assert_eq!(world.stage.upstream.requests().len(), before + 1);

    world
        .call(of("person", "u1"), "gpt-3.5-turbo-instruct")
        .await
        .ok();
    let closed = world
        .holder(of("person", "u1"))
        .post("/key/generate", &json!({}))
        .await;
    refused(
        &closed,
        403,
        "Role=internal_user not allowed to call route=/key/generate",
    );
    world
        .holder(of("boss", "x"))
        .post("/key/generate", &json!({}))
        .await
        .ok();
    refused(
        &world.call(of("boss", "x"), "gpt-4o").await,
        401,
        "Admin not allowed",
    );
    refused(
        &world.call(of("stranger", "u1"), "gpt-4o").await,
        403,
        "Unmatched token passed in",
    );
    // A role without somebody to account to.
    let nobody = json!({"access": {"roles": ["person"]}});
    refused(
        &world.call(nobody, "gpt-4o").await,
        403,
        "No user or team id found in token",
    );
}

#[tokio::test]
async fn scopes_open_models_and_routes_and_nothing_else() {
    let settings = "{enforce_scope_based_access: true, scope_mappings: [{scope: chat, models: [gpt-4o]}, {scope: old, models: [gpt-3.5-turbo-instruct], routes: [/v1/completions, /v1/chat/completions]}]}";
    let world = World::with(settings, "").await;
    let of = |scope: &str| json!({"scope": scope});
    world.call(of("chat"), "gpt-4o").await.ok();
    world.call(of("chat old"), "gpt-4o").await.ok();
    for scopes in ["old", "other", ""] {
        let closed = world.call(of(scopes), "gpt-4o").await;
        refused(&closed, 403, "scope not allowed to access model");
    }
    let closed = world.holder(of("old")).get("/v1/models").await;
    refused(
        &closed,
        403,
        "The scopes of the token do not open route=/v1/models",
    );
    let listed = world.holder(of("chat")).get("/v1/models").await.ok();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "{listed}");
    let odd = world.call(json!({"scope": {"chat": true}}), "gpt-4o").await;
    refused(&odd, 401, "`scope` is neither a text nor a list");
}

#[tokio::test]
async fn a_key_that_is_made_with_a_token_gets_no_further_than_the_token() {
    let settings = "{user_id_jwt_field: sub, user_id_upsert: true, enforce_scope_based_access: true, scope_mappings: [{scope: chat, models: [gpt-4o], routes: [openai_routes, /key/generate]}]}";
    let world = World::with(settings, "").await;
    let ann = world.holder(json!({"sub": "ann", "scope": "chat"}));
    let made = ann.post("/key/generate", &json!({})).await.ok();
    assert_eq!(made["models"], json!(["gpt-4o"]), "{made}");
    let key = world.bearer(made["key"].as_str().expect("a key"));
    key.chat(&chat("gpt-4o")).await.ok();
    key.chat(&chat("gpt-3.5-turbo-instruct")).await.error(401);
    assert_eq!(key.get("/key/info").await.status, 403);
    for more in [
        json!({"models": ["gpt-3.5-turbo-instruct"]}),
        json!({"allowed_routes": ["management_routes"]}),
    ] {
        let refused = ann.post("/key/generate", &more).await;
        assert_eq!(refused.status, 403, "{more}: {}", refused.text());
    }
}
