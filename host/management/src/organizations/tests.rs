//! Organizations over a database in memory.

use serde_json::{Value, json};
use witgate_identity::{Principal, Role};
use witgate_store::Filter;
use witgate_testkit::PostgresServer;

use crate::testing::{World, admin, user, world, world_in};

#[tokio::test]
async fn an_organization_is_made_told_of_changed_and_deleted() {
    let config = json!({"litellm_settings": {"store_audit_logs": true}});
    an_organization_is_made_told_of_changed_and_deleted_in(&world(config.clone()).await).await;
    let server = PostgresServer::start().await;
    an_organization_is_made_told_of_changed_and_deleted_in(&world_in(&server.url(), config).await)
        .await;
}

async fn an_organization_is_made_told_of_changed_and_deleted_in(world: &World) {
    let made = world
        .done("/organization/new", json!({
            "organization_id": "acme", "organization_alias": "Acme", "models": ["a"], "max_budget": 100, "budget_duration": "1d",
            "metadata": {"x": 1},
        }))
        .await;
    assert_eq!(made["litellm_budget_table"]["max_budget"], 100.0);
    assert_eq!(
        made["litellm_budget_table"]["budget_reset_at"],
        "2026-01-02T00:00:00.000Z"
    );
    assert_eq!((&made["members"], &made["teams"]), (&json!([]), &json!([])));
    let added = json!({"organization_id": "acme", "member": [{"user_email": "ann@x.org", "role": "org_admin"}, {"user_id": "bob", "role": "internal_user"}]});
    let added = world.done("/organization/member_add", added).await;
    assert_eq!(added["updated_users"].as_array().unwrap().len(), 2);
    assert_eq!(
        added["updated_organization_memberships"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let change =
        json!({"organization_id": "acme", "user_id": "bob", "role": "internal_user_viewer"});
    let (_, changed) = world
        .ask("PATCH", &admin(), "/organization/member_update", change)
        .await;
    assert_eq!(changed["user_role"], "internal_user_viewer");
    let change = json!({"organization_id": "acme", "organization_alias": "ACME", "rpm_limit": 5, "max_budget": null});
    let (status, changed) = world
        .ask("PATCH", &admin(), "/organization/update", change)
        .await;
    assert_eq!(
        (status, &changed["organization_alias"]),
        (200, &json!("ACME"))
    );
    assert_eq!(
        (
            &changed["litellm_budget_table"]["rpm_limit"],
            &changed["litellm_budget_table"]["max_budget"]
        ),
        (&json!(5), &Value::Null)
    );
    assert_eq!(changed["models"], json!(["a"]));
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "organization_id": "acme", "members": ["bob"]}),
        )
        .await;
    world
        .done("/key/generate", json!({"organization_id": "acme"}))
        .await;
    world.done("/key/generate", json!({"team_id": "red"})).await;
    let (_, info) = world
        .get(&admin(), "/organization/info?organization_id=acme")
        .await;
    assert_eq!(
        (
            info["members"].as_array().unwrap().len(),
            &info["teams"][0]["team_id"]
        ),
        (2, &json!("red"))
    );
    let (_, listed) = world
        .post(
            &admin(),
            "/organization/info",
            json!({"organizations": ["acme", "none"]}),
        )
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let bob = world.plane.user("bob").await.unwrap().unwrap();
    assert_eq!(
        bob["organization_id"], "acme",
        "who is new through it is its own"
    );
    let (_, gone) = world
        .ask(
            "DELETE",
            &admin(),
            "/organization/member_delete",
            json!({"organization_id": "acme", "user_email": "ANN@x.org"}),
        )
        .await;
    assert_eq!(gone["user_role"], "org_admin");
    let (status, deleted) = world
        .ask(
            "DELETE",
            &admin(),
            "/organization/delete",
            json!({"organization_ids": ["acme"]}),
        )
        .await;
    assert_eq!(
        (status, &deleted[0]["organization_id"]),
        (200, &json!("acme"))
    );
    assert_eq!(
        world
            .get(&admin(), "/organization/info?organization_id=acme")
            .await
            .0,
        404
    );
    for table in [
        "LiteLLM_TeamTable",
        "LiteLLM_VerificationToken",
        "LiteLLM_OrganizationMembership",
        "LiteLLM_TeamMembership",
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
    let bob = world.plane.user("bob").await.unwrap().unwrap();
    assert_eq!(
        (&bob["organization_id"], &bob["teams"]),
        (&Value::Null, &json!([]))
    );
}

#[tokio::test]
async fn wrong_requests_and_rights() {
    let world = world(json!({})).await;
    for (id, member) in [("acme", "org"), ("other", "else")] {
        world.done("/organization/new", json!({"organization_id": id, "organization_alias": "A", "models": ["a", "b"], "max_budget": 50})).await;
        world
            .done(
                "/organization/member_add",
                json!({"organization_id": id, "member": {"user_id": member, "role": "org_admin"}}),
            )
            .await;
    }
    world.done("/organization/member_add", json!({"organization_id": "acme", "member": {"user_id": "bob", "role": "internal_user"}})).await;
    let (boss, org, bob, eve) = (admin(), user("org"), user("bob"), user("eve"));
    let viewer = Principal {
        role: Some(Role::ProxyAdminViewer),
        ..user("view")
    };
    let acme = |more: Value| {
        let mut body = json!({"organization_id": "acme"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let (new, update, add) = (
        "POST /organization/new",
        "PATCH /organization/update",
        "POST /organization/member_add",
    );
    let (member_update, member_delete) = (
        "PATCH /organization/member_update",
        "DELETE /organization/member_delete",
    );
    let member = |role: &str| json!({"member": {"user_id": "new", "role": role}});
    let cases = [
        (&boss, new, json!({}), 422, "Field required"),
        (
            &boss,
            new,
            acme(json!({"organization_alias": "x"})),
            400,
            "already exists",
        ),
        (
            &boss,
            new,
            json!({"organization_alias": "x", "budget_id": "none"}),
            400,
            "budget_id does not exist",
        ),
        (
            &boss,
            new,
            json!({"organization_alias": "x", "budget_id": "none", "max_budget": 1}),
            400,
            "either budget_id",
        ),
        (
            &boss,
            new,
            json!({"organization_alias": "x\u{0}"}),
            422,
            "NUL",
        ),
        (
            &boss,
            new,
            json!({"organization_alias": "x", "model_max_budget": {"m": 1}}),
            400,
            "model_max_budget.m",
        ),
        (
            &org,
            new,
            json!({"organization_alias": "x"}),
            401,
            "Only proxy admin",
        ),
        (
            &boss,
            update,
            json!({"organization_id": "none"}),
            404,
            "not found",
        ),
        (
            &org,
            update,
            acme(json!({"max_budget": 40, "models": ["a"]})),
            200,
            "",
        ),
        (
            &org,
            update,
            acme(json!({"max_budget": 50})),
            403,
            "max_budget",
        ),
        (
            &org,
            update,
            acme(json!({"max_budget": null})),
            403,
            "max_budget",
        ),
        (
            &org,
            update,
            acme(json!({"models": ["a", "b"]})),
            403,
            "models",
        ),
        (
            &org,
            update,
            acme(json!({"budget_id": "x"})),
            403,
            "budget_id",
        ),
        (
            &org,
            update,
            acme(json!({"budget_duration": "1s"})),
            403,
            "budget_duration",
        ),
        (
            &org,
            update,
            json!({"organization_id": "other", "organization_alias": "x"}),
            403,
            "not allowed",
        ),
        (
            &bob,
            update,
            acme(json!({"organization_alias": "x"})),
            403,
            "not allowed",
        ),
        (
            &viewer,
            update,
            acme(json!({"organization_alias": "x"})),
            401,
            "Only proxy admin",
        ),
        (&bob, add, acme(member("org_admin")), 403, "not allowed"),
        (&org, add, acme(member("proxy_admin")), 422, "org_admin"),
        (
            &org,
            add,
            acme(
                json!({"member": {"user_id": "a", "role": "internal_user"}, "max_budget_in_organization": 5}),
            ),
            400,
            "not enforced",
        ),
        (
            &org,
            add,
            json!({"organization_id": "other", "member": {"user_id": "org", "role": "org_admin"}}),
            403,
            "not allowed",
        ),
        (
            &org,
            add,
            acme(member("internal_user")),
            200,
            "internal_user",
        ),
        (
            &org,
            add,
            acme(member("internal_user")),
            400,
            "already in organization",
        ),
        (
            &bob,
            member_update,
            acme(json!({"user_id": "bob", "role": "org_admin"})),
            403,
            "not allowed",
        ),
        (
            &org,
            member_update,
            acme(json!({"user_id": "none", "role": "org_admin"})),
            404,
            "not found",
        ),
        (
            &org,
            member_update,
            acme(json!({"role": "org_admin"})),
            400,
            "user_id or user_email",
        ),
        (
            &bob,
            member_delete,
            acme(json!({"user_id": "org"})),
            403,
            "not allowed",
        ),
        (
            &org,
            member_delete,
            acme(json!({"user_id": "new"})),
            200,
            "",
        ),
        (
            &org,
            "DELETE /organization/delete",
            json!({"organization_ids": ["acme"]}),
            401,
            "Only proxy admin",
        ),
        (
            &boss,
            "DELETE /organization/delete",
            json!({"organization_ids": ["acme", "none"]}),
            404,
            "not found",
        ),
        (
            &boss,
            "DELETE /organization/delete",
            json!({}),
            422,
            "Field required",
        ),
        (
            &bob,
            "POST /organization/info",
            json!({"organizations": ["acme", "other"]}),
            403,
            "not allowed",
        ),
        (
            &bob,
            "POST /organization/info",
            json!({}),
            400,
            "Specify list",
        ),
    ];
    for (who, what, body, status, says) in cases {
        let (method, path) = what.split_once(' ').unwrap();
        let (got, answer) = world.ask(method, who, path, body.clone()).await;
        assert_eq!(got, status, "{:?} {what} {body} {answer}", who.user_id);
        assert!(answer.to_string().contains(says), "{what} {body} {answer}");
    }
    let info = "/organization/info?organization_id=acme";
    assert_eq!(world.get(&eve, info).await.0, 403);
    assert_eq!(world.get(&eve, "/organization/list").await.1, json!([]));
    assert_eq!(
        world
            .get(&viewer, "/organization/list")
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let (_, seen) = world.get(&bob, info).await;
    assert_eq!(
        seen["members"].as_array().unwrap().len(),
        1,
        "a member sees their own place"
    );
    let (_, seen) = world.get(&org, info).await;
    assert_eq!(seen["members"].as_array().unwrap().len(), 2);
}

/// Two organizations under one budget: what the admin of one changes is theirs alone.
#[tokio::test]
async fn a_shared_budget_is_not_lowered_for_others() {
    let world = world(json!({})).await;
    let budget = json!({"budget_id": "both", "max_budget": 9, "rpm_limit": 5});
    world.done("/budget/new", budget).await;
    for id in ["a", "b"] {
        let new = json!({"organization_id": id, "organization_alias": id, "budget_id": "both"});
        world.done("/organization/new", new).await;
    }
    let member = json!({"user_id": "ann", "role": "org_admin"});
    let member = json!({"organization_id": "a", "member": member});
    world.done("/organization/member_add", member).await;
    let path = "/organization/update";
    let lower = json!({"organization_id": "a", "max_budget": 0});
    let (status, told) = world.ask("PATCH", &user("ann"), path, lower).await;
    assert_eq!(status, 200, "{told}");
    let own = &told["litellm_budget_table"];
    assert_eq!(
        (&own["max_budget"], &own["rpm_limit"]),
        (&json!(0.0), &json!(5))
    );
    let (_, other) = world
        .get(&admin(), "/organization/info?organization_id=b")
        .await;
    assert_eq!(other["litellm_budget_table"]["max_budget"], 9.0);
    // Alone under it, it is the row that changes.
    let id = told["budget_id"].clone();
    let more = json!({"organization_id": "a", "max_budget": 3});
    let (_, told) = world.ask("PATCH", &admin(), path, more).await;
    assert_eq!(
        (
            &told["budget_id"],
            &told["litellm_budget_table"]["max_budget"]
        ),
        (&id, &json!(3.0))
    );
}
