//! Users over a database in memory: what they are made of, and who may do what.

use serde_json::{Value, json};
use witgate_identity::{KeyHash, Principal, Role, ScopeKind};
use witgate_store::{Filter, Row};

use crate::Changed;
use crate::testing::{World, admin, user, world};

async fn rows(world: &World, table: &'static str, column: &'static str, value: &str) -> Vec<Row> {
    let filter = Filter::by(column, value);
    world.plane.store.rows(table, &filter.into()).await.unwrap()
}

#[tokio::test]
async fn a_user_is_made_told_of_changed_and_deleted() {
    let world = world(json!({"litellm_settings": {"store_audit_logs": true}})).await;
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
    let own = rows(&world, "LiteLLM_VerificationToken", "user_id", "ann")
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
    };
    assert!(world.heard.0.lock().contains(&spend));
    let kept = rows(&world, "LiteLLM_UserTable", "user_id", "ann")
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
async fn wrong_requests_are_told_what_is_wrong() {
    let world = world(json!({})).await;
    world.done("/user/new", json!({"user_id": "ann", "user_email": "ann@x.org", "sso_user_id": "s", "key_alias": "taken"})).await;
    world.done("/user/new", json!({"user_id": "bob"})).await;
    let new = "/user/new";
    let cases = [
        (new, json!({"user_id": "ann"}), 409, "already exists"),
        (
            new,
            json!({"user_email": "Ann@X.org"}),
            400,
            "already exists",
        ),
        (
            new,
            json!({"sso_user_id": "s"}),
            400,
            "sso_user_id already exists",
        ),
        (
            new,
            json!({"user_id": "cem", "key_alias": "taken"}),
            400,
            "Unique key aliases",
        ),
        (
            new,
            json!({"user_role": "king"}),
            422,
            "internal_user_viewer",
        ),
        (new, json!({"teams": ["none"]}), 400, "Team not found"),
        (new, json!({"teams": "red"}), 422, "valid list"),
        (
            new,
            json!({"teams": [{"team_id": "red", "user_role": "king"}]}),
            422,
            "user or admin",
        ),
        (
            new,
            json!({"organizations": ["none"]}),
            400,
            "Organization not found",
        ),
        (new, json!({"max_budget": "much"}), 422, "valid number"),
        (new, json!({"budget_limits": [{}]}), 400, "not enforced"),
        (new, json!({"user_alias": "a\u{0}"}), 422, "NUL"),
        (new, json!({"password": ""}), 400, "1 to 1024 bytes"),
        (
            new,
            json!({"password": "x".repeat(2000)}),
            400,
            "1 to 1024 bytes",
        ),
        (
            "/user/update",
            json!({"user_alias": "x"}),
            400,
            "user_id or user_email",
        ),
        (
            "/user/update",
            json!({"user_id": "bob", "user_email": "ANN@x.org"}),
            400,
            "already exists",
        ),
        (
            "/user/update",
            json!({"user_id": "bob", "rpm_limit": 1.5}),
            422,
            "valid integer",
        ),
        (
            "/user/delete",
            json!({"user_ids": ["bob", "none"]}),
            404,
            "User not found",
        ),
        ("/user/delete", json!({}), 422, "Field required"),
        ("/user/bulk_update", json!({}), 400, "Give `users`"),
    ];
    for (path, body, status, says) in cases {
        let (got, answer) = world.post(&admin(), path, body.clone()).await;
        assert_eq!(got, status, "{path} {body} {answer}");
        assert!(answer.to_string().contains(says), "{path} {body} {answer}");
    }
    assert!(
        world.plane.user("cem").await.unwrap().is_none(),
        "no user without their key"
    );
    assert!(
        world.plane.user("bob").await.unwrap().is_some(),
        "delete is all or none"
    );
    for (path, status) in [
        ("/user/info?user_id=none", 404),
        ("/user/list?page_size=101", 400),
        ("/user/list?role=king", 400),
        ("/user/list?sort_by=password", 400),
    ] {
        assert_eq!(world.get(&admin(), path).await.0, status, "{path}");
    }
    let hostile = "a' OR 1=1; DROP TABLE \"LiteLLM_UserTable\" --?$1%_{row}";
    let made = world
        .done(
            new,
            json!({"user_id": hostile, "user_email": hostile, "auto_create_key": false}),
        )
        .await;
    assert_eq!(made["user_email"], hostile);
    let (_, found) = world.get(&admin(), "/user/list?user_email=%25").await;
    assert_eq!(found["total"], 1, "a percent sign is no pattern");
    assert_eq!(
        world
            .done("/user/delete", json!({"user_ids": [hostile]}))
            .await,
        1
    );
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

/// Who may do what: `org` is admin of the organization whose own user is `ann`; `guest` only joined it.
#[tokio::test]
async fn everybody_does_only_what_is_theirs() {
    let world = world(
        json!({"litellm_settings": {"default_internal_user_params": {"user_role": "proxy_admin"}}}),
    )
    .await;
    world.done("/organization/new", json!({"organization_id": "acme", "organization_alias": "A", "models": ["a", "b"], "max_budget": 50, "soft_budget": 40})).await;
    world
        .done(
            "/organization/member_add",
            json!({"organization_id": "acme", "member": {"user_id": "org", "role": "org_admin"}}),
        )
        .await;
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "organization_id": "acme"}),
        )
        .await;
    world.done("/team/new", json!({"team_id": "blue"})).await;
    for name in ["guest", "boss"] {
        let role = if name == "boss" {
            "proxy_admin"
        } else {
            "internal_user"
        };
        world
            .done(
                "/user/new",
                json!({"user_id": name, "user_role": role, "user_email": format!("{name}@x.org")}),
            )
            .await;
        world.done("/organization/member_add", json!({"organization_id": "acme", "member": {"user_id": name, "role": "internal_user"}})).await;
    }
    let (ann, eve, org) = (user("ann"), user("eve"), user("org"));
    let viewer = Principal {
        role: Some(Role::ProxyAdminViewer),
        ..user("view")
    };
    let acme = |more: Value| {
        let mut body = json!({"organizations": ["acme"]});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let (status, made) = world
        .post(
            &org,
            "/user/new",
            acme(json!({"user_id": "ann", "teams": ["red"]})),
        )
        .await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(
        made["user_role"], "internal_user",
        "the default of an admin's role is no default here"
    );
    assert_eq!(
        (&made["models"], &made["max_budget"]),
        (&json!(["a", "b"]), &json!(50.0)),
        "no more than the organization has"
    );
    let key = rows(&world, "LiteLLM_VerificationToken", "user_id", "ann")
        .await
        .remove(0);
    assert_eq!(
        (&key["organization_id"], &key["models"]),
        (&json!("acme"), &json!(["a", "b"]))
    );
    let (new, update) = ("/user/new", "/user/update");
    let of = |id: &str, more: Value| {
        let mut body = json!({ "user_id": id });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        (&eve, new, json!({}), 401),
        (&eve, new, acme(json!({})), 401),
        (&viewer, new, json!({}), 401),
        (&org, new, json!({}), 401),
        (&org, new, acme(json!({"user_role": "proxy_admin"})), 403),
        (
            &org,
            new,
            acme(json!({"user_role": "proxy_admin_viewer"})),
            403,
        ),
        (&org, new, acme(json!({"spend": 0})), 403),
        (&org, new, acme(json!({"sso_user_id": "boss"})), 403),
        (
            &org,
            new,
            acme(json!({"permissions": {"get_spend_routes": true}})),
            403,
        ),
        (&org, new, acme(json!({"user_id": "default_user_id"})), 403),
        (&org, new, acme(json!({"max_budget": 51})), 400),
        (&org, new, acme(json!({"models": ["z"]})), 400),
        (&org, new, acme(json!({"teams": ["blue"]})), 403),
        (
            &ann,
            update,
            of(
                "ann",
                json!({"user_alias": "Ann", "user_email": "ann@x.org", "password": "p"}),
            ),
            200,
        ),
        (
            &ann,
            update,
            of("ann", json!({"user_role": "proxy_admin"})),
            403,
        ),
        (&ann, update, of("ann", json!({"max_budget": 1})), 403),
        (&ann, update, of("ann", json!({"spend": 0})), 403),
        (&ann, update, of("ann", json!({"metadata": {}})), 403),
        (
            &ann,
            update,
            of("ann", json!({"user_email": "boss@x.org"})),
            400,
        ),
        (&ann, update, of("guest", json!({"user_alias": "x"})), 403),
        (
            &ann,
            update,
            json!({"user_email": "guest@x.org", "password": "x"}),
            403,
        ),
        (&ann, update, of("nobody", json!({"user_alias": "x"})), 403),
        (&viewer, update, of("view", json!({"password": "p"})), 200),
        (&viewer, update, of("ann", json!({"password": "p"})), 403),
        (
            &org,
            update,
            of(
                "ann",
                json!({"max_budget": 10, "models": ["a"], "user_role": "internal_user_viewer"}),
            ),
            200,
        ),
        (
            &org,
            update,
            json!({"user_email": "ann@x.org", "max_budget": 11}),
            200,
        ),
        (&org, update, of("ann", json!({"max_budget": 51})), 400),
        (&org, update, of("ann", json!({"max_budget": null})), 400),
        (&org, update, of("ann", json!({"models": []})), 400),
        (
            &org,
            update,
            of("ann", json!({"user_role": "proxy_admin"})),
            403,
        ),
        (&org, update, of("ann", json!({"password": "p"})), 403),
        (
            &org,
            update,
            of("ann", json!({"user_email": "org@evil.org"})),
            403,
        ),
        (&org, update, of("ann", json!({"spend": 0})), 403),
        (&org, update, of("guest", json!({"max_budget": 1})), 403),
        (&org, update, of("boss", json!({"user_alias": "x"})), 403),
        (&org, "/user/delete", json!({"user_ids": ["ann"]}), 401),
        (
            &org,
            "/user/bulk_update",
            json!({"users": [{"user_id": "ann"}]}),
            401,
        ),
    ];
    for (who, path, body, status) in cases {
        let (got, answer) = world.post(who, path, body.clone()).await;
        assert_eq!(got, status, "{:?} {path} {body} {answer}", who.user_id);
    }
    let nobody = Principal {
        user_id: None,
        ..user("x")
    };
    let reads = [
        (&ann, "/user/info", 200),
        (&ann, "/user/info?user_id=ann", 200),
        (&ann, "/user/info?user_id=boss", 403),
        (&viewer, "/user/info?user_id=boss", 200),
        (&org, "/user/info?user_id=boss", 403),
        (&nobody, "/user/info", 200),
        (&ann, "/user/list", 401),
        (&nobody, "/user/list", 401),
        (&viewer, "/user/list", 200),
        (&org, "/user/list", 200),
    ];
    for (who, path, status) in reads {
        let (got, answer) = world.get(who, path).await;
        assert_eq!(got, status, "{:?} {path} {answer}", who.user_id);
    }
    let total = |answer: Value| answer["total"].as_u64().unwrap();
    assert_eq!(
        total(world.get(&org, "/user/list").await.1),
        4,
        "the organization's"
    );
    assert_eq!(total(world.get(&viewer, "/user/list").await.1), 5);
    let (_, none) = world.get(&nobody, "/user/info").await;
    assert_eq!(
        (&none["keys"], &none["teams"]),
        (&json!([]), &json!([])),
        "nobody's keys are not somebody's"
    );
    let (_, found) = world.get(&ann, "/user/filter/ui").await;
    assert_eq!(found.as_array().unwrap().len(), 1);
    let (_, all) = world.get(&admin(), "/user/info").await;
    assert_eq!(
        (
            all["keys"].as_array().unwrap().len(),
            all["teams"].as_array().unwrap().len()
        ),
        (3, 2)
    );
}
