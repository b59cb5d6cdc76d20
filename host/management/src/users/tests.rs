//! Users over a database in memory: what they are made of, and who may do what.

mod rights;
mod wrong;

use serde_json::{Value, json};
use witgate_identity::{KeyHash, ScopeKind};
use witgate_store::{Filter, Row};
use witgate_testkit::PostgresServer;

use crate::Changed;
use crate::testing::{World, admin, user, world, world_in};

async fn rows(world: &World, table: &'static str, column: &'static str, value: &str) -> Vec<Row> {
    let filter = Filter::by(column, value);
    world.plane.store.rows(table, &filter.into()).await.unwrap()
}

#[tokio::test]
async fn a_user_is_made_told_of_changed_and_deleted() {
    let config = json!({"litellm_settings": {"store_audit_logs": true}});
    a_user_is_made_told_of_changed_and_deleted_in(&world(config.clone()).await).await;
    let server = PostgresServer::start().await;
    a_user_is_made_told_of_changed_and_deleted_in(&world_in(&server.url(), config).await).await;
}

async fn a_user_is_made_told_of_changed_and_deleted_in(world: &World) {
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "max_budget": 9, "team_member_budget": 4}),
        )
        .await;
    world.done("/team/new", json!({"team_id": "blue"})).await;
    world
        .done(
            "/organization/new",
            json!({"organization_id": "acme", "organization_alias": "Acme"}),
        )
        .await;
    let made = world
        .done("/user/new", json!({
            "user_id": "ann", "user_email": "ann@x.org", "user_alias": "Ann", "max_budget": 20, "budget_duration": "1d",
            "models": ["gpt"], "rpm_limit": 5, "metadata": {"a": 1}, "tags": ["t"], "key_alias": "anns", "duration": "1h",
            "teams": ["blue", {"team_id": "red", "max_budget_in_team": 2, "user_role": "admin"}], "organizations": ["acme"],
        }))
        .await;
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(made["token"], KeyHash::of(&key).as_str());
    assert_eq!(
        (&made["user_role"], &made["max_budget"]),
        (&json!("internal_user"), &json!(20.0))
    );
    assert_eq!(
        (&made["teams"], &made["organizations"]),
        (&json!(["blue", "red"]), &json!(["acme"]))
    );
    assert_eq!(made["budget_reset_at"], "2026-01-02T00:00:00.000Z");
    assert_eq!(made["expires"], "2026-01-01T01:00:00.123Z");
    let own = rows(world, "LiteLLM_VerificationToken", "user_id", "ann")
        .await
        .remove(0);
    assert_eq!(
        (&own["models"], &own["rpm_limit"]),
        (&json!(["gpt"]), &json!(5))
    );
    assert_eq!(own["max_budget"], Value::Null, "the money is the user's");
    assert_eq!(own["metadata"], json!({"a": 1, "tags": ["t"]}));
    let red = world.plane.known_team("red").await.unwrap();
    assert_eq!(
        (&red["admins"], &red["members_with_roles"][0]["user_email"]),
        (&json!(["ann"]), &json!("ann@x.org"))
    );
    let (_, of_red) = world.get(&admin(), "/team/info?team_id=red").await;
    assert_eq!(
        of_red["team_memberships"][0]["litellm_budget_table"]["max_budget"],
        2.0
    );
    let (status, info) = world.get(&admin(), "/user/info?user_id=ann").await;
    assert_eq!((status, info["teams"].as_array().unwrap().len()), (200, 2));
    assert_eq!(info["keys"][0]["key_alias"], "anns");
    assert!(!info.to_string().contains(KeyHash::of(&key).as_str()));
    let change = json!({"user_email": "ANN@x.org", "max_budget": null, "spend": 3, "password": "hunter2", "tags": null, "user_role": "internal_user_viewer"});
    let changed = world.done("/user/update", change).await;
    assert_eq!(changed["user_id"], "ann");
    let changed = &changed["data"];
    assert_eq!(
        (&changed["max_budget"], &changed["spend"]),
        (&Value::Null, &json!(3.0))
    );
    assert_eq!(
        (&changed["user_email"], &changed["models"]),
        (&json!("ann@x.org"), &json!(["gpt"]))
    );
    assert_eq!(changed["metadata"], json!({"a": 1}));
    let spend = Changed::Spend {
        kind: ScopeKind::User,
        id: "ann".to_owned(),
        spent: rust_decimal::Decimal::from(3),
    };
    assert!(world.heard.0.lock().contains(&spend));
    let kept = rows(world, "LiteLLM_UserTable", "user_id", "ann")
        .await
        .remove(0)["password"]
        .clone();
    assert!(kept.as_str().unwrap().starts_with("scrypt:"));
    let log = json!(
        world
            .plane
            .store
            .rows("LiteLLM_AuditLog", &Default::default())
            .await
            .unwrap()
    )
    .to_string();
    for told in [
        &info,
        &world.get(&admin(), "/user/list").await.1,
        changed,
        &Value::from(log),
    ] {
        assert!(
            !told.to_string().contains("scrypt:") && !told.to_string().contains("hunter2"),
            "{told}"
        );
    }
    let (_, listed) = world
        .get(
            &admin(),
            "/user/list?user_email=N%40X&team=red&role=internal_user_viewer",
        )
        .await;
    assert_eq!(
        (&listed["total"], &listed["users"][0]["key_count"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        world
            .get(&admin(), "/user/list?user_ids=bob,%20cem")
            .await
            .1["total"],
        0
    );
    let (_, found) = world.get(&admin(), "/user/filter/ui?user_email=ann").await;
    assert_eq!(
        found,
        json!([{"user_id": "ann", "user_email": "ann@x.org"}])
    );
    let deleted = world
        .done("/user/delete", json!({"user_ids": ["ann"]}))
        .await;
    assert_eq!(deleted, 1);
    assert_eq!(world.get(&admin(), "/user/info?user_id=ann").await.0, 404);
    for table in [
        "LiteLLM_VerificationToken",
        "LiteLLM_TeamMembership",
        "LiteLLM_OrganizationMembership",
        "LiteLLM_UserTable",
    ] {
        assert_eq!(
            world
                .plane
                .store
                .count(table, &Filter::all())
                .await
                .unwrap(),
            0,
            "{table}"
        );
    }
    let red = world.plane.known_team("red").await.unwrap();
    assert_eq!(
        (&red["admins"], &red["members_with_roles"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test]
async fn new_users_get_what_the_operator_says() {
    let world = world(json!({"litellm_settings": {
        "default_internal_user_params": {"user_role": "internal_user_viewer", "models": ["m"], "teams": ["red"], "available_teams": []},
        "max_internal_user_budget": 7, "internal_user_budget_duration": "30d",
    }})).await;
    world.done("/team/new", json!({"team_id": "red"})).await;
    let made = world
        .done(
            "/user/new",
            json!({"user_id": "ann", "auto_create_key": false}),
        )
        .await;
    assert!(made.get("key").is_none());
    assert_eq!(
        (&made["user_role"], &made["models"]),
        (&json!("internal_user_viewer"), &json!(["m"]))
    );
    assert_eq!(
        (&made["max_budget"], &made["budget_reset_at"]),
        (&json!(7.0), &json!("2026-02-01T00:00:00.000Z"))
    );
    assert_eq!(made["teams"], json!(["red"]));
    let made = world
        .done(
            "/user/new",
            json!({"user_id": "bob", "max_budget": 3, "models": ["own"], "teams": []}),
        )
        .await;
    assert_eq!(
        (&made["max_budget"], &made["models"], &made["teams"]),
        (&json!(3.0), &json!(["own"]), &json!([]))
    );
    let made = world
        .done(
            "/user/new",
            json!({"user_id": "boss", "user_role": "proxy_admin"}),
        )
        .await;
    assert_eq!(
        (&made["max_budget"], &made["models"]),
        (&Value::Null, &json!([])),
        "an admin is no internal user"
    );
    // Who is new through a team or an upsert gets the same.
    world
        .done(
            "/team/member_add",
            json!({"team_id": "red", "member": {"user_id": "cem", "role": "user"}}),
        )
        .await;
    world
        .done(
            "/user/update",
            json!({"user_id": "dan", "user_alias": "Dan"}),
        )
        .await;
    for name in ["cem", "dan"] {
        let row = world.plane.user(name).await.unwrap().unwrap();
        assert_eq!(
            (&row["max_budget"], &row["user_role"]),
            (&json!(7.0), &json!("internal_user_viewer")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn many_at_once() {
    let world = world(json!({})).await;
    for name in ["ann", "bob"] {
        world
            .done(
                "/user/new",
                json!({"user_id": name, "auto_create_key": false}),
            )
            .await;
    }
    let change = json!({"users": [{"user_id": "ann", "max_budget": 3}, {"user_id": "bob", "user_role": "king"}]});
    let done = world.done("/user/bulk_update", change).await;
    assert_eq!(
        (&done["successful_updates"], &done["failed_updates"]),
        (&json!(1), &json!(1))
    );
    assert!(
        done["results"][1]["error"]
            .as_str()
            .unwrap()
            .contains("internal_user")
    );
    let done = world
        .done(
            "/user/bulk_update",
            json!({"all_users": true, "user_updates": {"max_budget": 5}}),
        )
        .await;
    assert_eq!(done["total_requested"], 2);
    assert_eq!(
        world.plane.user("bob").await.unwrap().unwrap()["max_budget"],
        5.0
    );
    let (_, roles) = world.get(&user("ann"), "/user/available_roles").await;
    assert_eq!(roles.as_object().unwrap().len(), 4);
}

/// LiteLLM writes a row for the master key; nobody needs to see it.
#[tokio::test]
async fn a_row_of_the_master_key_is_left_out_where_the_settings_say_so() {
    use witgate_store::Write;
    for hides in [false, true] {
        let config = json!({"general_settings": {"disable_master_key_return": hides}});
        let world = world(config).await;
        let token = witgate_identity::MasterKey::new(crate::testing::MASTER).hash();
        let row = json!({"token": token.as_str(), "user_id": "default_user_id", "spend": 1.0});
        let row = row.as_object().cloned().unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let steps = vec![Write::Insert(crate::keys::TABLE, row)];
        world.plane.store.write(steps, now).await.unwrap();
        world.done("/key/generate", json!({})).await;
        let (status, info) = world.get(&admin(), "/user/info").await;
        assert_eq!(status, 200, "{info}");
        let count = info["keys"].as_array().map(Vec::len);
        assert_eq!(count, Some(if hides { 1 } else { 2 }), "{info}");
    }
}

#[tokio::test]
async fn a_user_alone_is_told_to_themselves_and_to_those_who_see_all() {
    let world = world(json!({})).await;
    world.done("/team/new", json!({"team_id": "red"})).await;
    world
        .done(
            "/user/new",
            json!({"user_id": "ann", "teams": ["red"], "password": "a-secret-1"}),
        )
        .await;
    for (who, path) in [
        (user("ann"), "/v2/user/info"),
        (user("ann"), "/v2/user/info?user_id=ann"),
        (admin(), "/v2/user/info?user_id=ann"),
    ] {
        let (status, told) = world.get(&who, path).await;
        assert_eq!(
            (status, &told["user_id"], &told["teams"]),
            (200, &json!("ann"), &json!(["red"])),
            "{told}"
        );
        assert!(
            told.get("keys").is_none() && !told.to_string().contains("scrypt"),
            "{told}"
        );
    }
    assert_eq!(
        world.get(&user("bob"), "/v2/user/info?user_id=ann").await.0,
        403
    );
    assert_eq!(
        world.get(&admin(), "/v2/user/info?user_id=none").await.0,
        404
    );
}

#[tokio::test]
async fn a_password_is_changed_by_who_knows_it() {
    let world = world(json!({"litellm_settings": {"store_audit_logs": true}})).await;
    for id in ["ann", "bob"] {
        let body = json!({"user_id": id, "auto_create_key": false});
        world.done("/user/new", body).await;
    }
    let given = json!({"user_id": "ann", "password": "the-first-1"});
    world.done("/user/update", given).await;
    let path = "/user/password/change";
    let change =
        |present: &str, new: &str| json!({"current_password": present, "new_password": new});
    let long = "x".repeat(1025);
    for (caller, body, status) in [
        (user("ann"), change("wrong", "the-second-2"), 401),
        (user("ann"), change("", "the-second-2"), 401),
        (user("ann"), change("the-first-1", "the-first-1"), 400),
        (user("ann"), change("the-first-1", ""), 400),
        (user("ann"), change("the-first-1", &long), 400),
        (user("ann"), json!({"new_password": "x"}), 422),
        (
            user("ann"),
            json!({"current_password": "the-first-1", "new_password": "x", "user_id": "bob"}),
            403,
        ),
        (user("bob"), change("", "the-second-2"), 400),
        (user("eve"), change("the-first-1", "x"), 400),
        (admin(), change("the-first-1", "x"), 400),
    ] {
        let (answered, told) = world.post(&caller, path, body).await;
        assert_eq!(answered, status, "{told}");
    }
    let (status, told) = world
        .post(&user("ann"), path, change("the-first-1", "the-second-2"))
        .await;
    assert_eq!(status, 200, "{told}");
    let whose = async |word: &str| world.plane.user_by_password("ann", word).await.unwrap();
    assert_eq!(whose("the-first-1").await, None);
    assert_eq!(whose("the-second-2").await.as_deref(), Some("ann"));
    let log = rows(&world, "LiteLLM_AuditLog", "object_id", "ann").await;
    let log = json!(log).to_string();
    assert!(
        log.contains("password") && !log.contains("scrypt:"),
        "{log}"
    );
}

/// The spend of LiteLLM's user `litellm-proxy-budget` is the whole gateway's.
#[tokio::test]
async fn the_spend_of_the_gateways_user_is_the_gateways() {
    let world = crate::testing::world(json!({})).await;
    let body = json!({"user_id": crate::PROXY_USER, "spend": 3});
    world.done("/user/update", body).await;
    let spend = Changed::Spend {
        kind: ScopeKind::Proxy,
        id: crate::PROXY_USER.to_owned(),
        spent: rust_decimal::Decimal::from(3),
    };
    assert!(world.heard.0.lock().contains(&spend));
}
