//! Who may do what with users.

use serde_json::{Value, json};
use witgate_identity::{Principal, Role};

use super::rows;
use crate::testing::{admin, user, world};

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
    let (ann, eve, org, boss) = (user("ann"), user("eve"), user("org"), admin());
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
    assert_eq!(
        key["allowed_routes"],
        json!(["llm_api_routes"]),
        "whoever the user becomes, the key that is kept makes calls"
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
        (
            &org,
            new,
            acme(json!({"metadata": {"allowed_passthrough_routes": ["*"]}})),
            403,
        ),
        (
            &org,
            new,
            acme(json!({"metadata": {"logging": [{"callback_name": "langfuse"}]}})),
            403,
        ),
        (
            &org,
            new,
            acme(json!({"metadata": {"temp_budget_increase": 9}})),
            403,
        ),
        (&org, new, acme(json!({"max_budget": 51})), 400),
        (&org, new, acme(json!({"models": ["z"]})), 400),
        (&org, new, acme(json!({"teams": ["blue"]})), 403),
        (
            &ann,
            update,
            of("ann", json!({"user_email": "ann@x.org"})),
            403,
        ),
        (
            &boss,
            update,
            of("ann", json!({"user_email": "ann@x.org"})),
            200,
        ),
        (
            &ann,
            update,
            of(
                "ann",
                json!({"user_alias": "Ann", "user_email": "ann@x.org"}),
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
            403,
        ),
        (
            &ann,
            update,
            of("ann", json!({"user_email": "next-boss@x.org"})),
            403,
        ),
        (&ann, update, of("ann", json!({"user_email": null})), 403),
        (
            &ann,
            update,
            json!({"user_email": "ann@x.org", "user_alias": "Ann"}),
            200,
        ),
        (&ann, update, of("guest", json!({"user_alias": "x"})), 403),
        (
            &ann,
            update,
            json!({"user_email": "guest@x.org", "password": "x"}),
            403,
        ),
        (&ann, update, of("nobody", json!({"user_alias": "x"})), 403),
        (&ann, update, of("ann", json!({"password": "p"})), 403),
        (&viewer, update, of("view", json!({"user_alias": "p"})), 200),
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

/// Groups open models, and an organization's admin has none to give.
#[tokio::test]
async fn access_groups_of_a_new_users_key_are_given_by_proxy_admins() {
    let world = world(json!({})).await;
    let organization = json!({"organization_id": "acme", "organization_alias": "A"});
    world.done("/organization/new", organization).await;
    let member = json!({"user_id": "org", "role": "org_admin"});
    let member = json!({"organization_id": "acme", "member": member});
    world.done("/organization/member_add", member).await;
    let group = json!({"access_group_name": "g", "access_model_names": ["m"]});
    let (status, group) = world.post(&admin(), "/v1/access_group", group).await;
    let id = &group["access_group_id"];
    assert!(status < 300 && id.is_string(), "{group}");
    let new = |more: Value| {
        let mut body = json!({"organizations": ["acme"], "access_group_ids": [id]});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        body
    };
    let (org, boss) = (user("org"), admin());
    for (caller, more, expected) in [
        (&org, json!({}), 403),
        (&boss, json!({"access_group_ids": ["gone"]}), 400),
        (&boss, json!({"auto_create_key": false}), 400),
        (&boss, json!({}), 200),
    ] {
        let (status, made) = world.post(caller, "/user/new", new(more)).await;
        assert_eq!(status, expected, "{made}");
        if status == 200 {
            let path = format!("/key/info?key={}", made["key"].as_str().unwrap());
            let (_, key) = world.get(&boss, &path).await;
            assert_eq!(key["info"]["access_group_ids"], json!([id]), "{key}");
        }
    }
}

#[tokio::test]
async fn who_was_deactivated_stays_so_whatever_else_is_changed() {
    let world = world(json!({})).await;
    for id in ["ann", "bob"] {
        let body = json!({"user_id": id, "auto_create_key": false, "metadata": {"scim_active": false, "scim_metadata": {"x": 1}, "a": 1}});
        world.done("/user/new", body).await;
    }
    let metadata =
        async |id: &str| world.plane.user(id).await.unwrap().unwrap()["metadata"].clone();
    let kept = |more: Value| {
        let mut kept = json!({"scim_active": false, "scim_metadata": {"x": 1}});
        kept.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        kept
    };
    for (change, then) in [
        (json!({"metadata": {"b": 2}}), kept(json!({"b": 2}))),
        (
            json!({"metadata": {"b": 3}, "tags": ["t"]}),
            kept(json!({"b": 3, "tags": ["t"]})),
        ),
        (json!({"metadata": null}), kept(json!({}))),
    ] {
        let mut body = change.clone();
        body["user_id"] = "ann".into();
        world.done("/user/update", body).await;
        assert_eq!(metadata("ann").await, then, "{change}");
    }
    let all = json!({"all_users": true, "user_updates": {"metadata": {"c": 1}}});
    world.done("/user/bulk_update", all).await;
    assert_eq!(metadata("bob").await, kept(json!({"c": 1})));
    let back = json!({"user_id": "bob", "metadata": {"scim_active": true}});
    world.done("/user/update", back).await;
    let now = metadata("bob").await;
    assert_eq!(
        (&now["scim_active"], &now["scim_metadata"]),
        (&json!(true), &json!({"x": 1}))
    );
}

#[tokio::test]
async fn a_password_is_guessed_ten_times_and_no_more() {
    let world = world(json!({})).await;
    world
        .done(
            "/user/new",
            json!({"user_id": "ann", "auto_create_key": false, "password": "hunter2"}),
        )
        .await;
    let change = async |word: &str| {
        let body = json!({"current_password": word, "new_password": "hunter3"});
        world
            .post(&user("ann"), "/user/password/change", body)
            .await
            .0
    };
    let all = (0..12).map(|_| change("wrong"));
    let all = futures_util::future::join_all(all).await;
    let told = |status| all.iter().filter(|told| **told == status).count();
    assert_eq!((told(401), told(429)), (10, 2), "{all:?}");
    assert_eq!(change("hunter2").await, 429);
}
