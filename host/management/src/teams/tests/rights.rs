//! Who may do what with teams.

use serde_json::{Value, json};
use witgate_identity::{Principal, Role};

use crate::testing::{user, world};

fn role(role: Role, name: &str) -> Principal {
    Principal {
        role: Some(role),
        ..user(name)
    }
}

/// Who may do what: `ann` is admin of the team, `bob` a member, `eve` a stranger, `org` admin of the organization.
#[tokio::test]
async fn everybody_does_only_what_is_theirs() {
    let settings = json!({"litellm_settings": {"default_internal_user_params": {"available_teams": ["open"]}}});
    let world = world(settings).await;
    world.done("/organization/new", json!({"organization_id": "acme", "organization_alias": "Acme", "models": ["a", "b"], "max_budget": 50})).await;
    world
        .done(
            "/organization/member_add",
            json!({"organization_id": "acme", "member": {"user_id": "org", "role": "org_admin"}}),
        )
        .await;
    world.done("/team/new", json!({
        "team_id": "red", "organization_id": "acme", "models": ["a"], "max_budget": 10, "members": ["bob"], "admins": ["ann"],
        "guardrails": ["g"], "rpm_limit": 5,
    })).await;
    world.done("/team/new", json!({"team_id": "open"})).await;
    let (ann, bob, eve, org) = (user("ann"), user("bob"), user("eve"), user("org"));
    let viewer = role(Role::ProxyAdminViewer, "view");
    let (new, update) = ("/team/new", "/team/update");
    let red = |more: Value| {
        let mut body = json!({"team_id": "red"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        (&eve, new, json!({}), 401),
        (&eve, new, json!({"organization_id": "acme"}), 401),
        (&viewer, new, json!({}), 401),
        (&org, new, json!({}), 401),
        (
            &org,
            new,
            json!({"organization_id": "acme", "max_budget": 51}),
            400,
        ),
        (
            &org,
            new,
            json!({"organization_id": "acme", "models": ["c"]}),
            400,
        ),
        (
            &org,
            new,
            json!({"organization_id": "acme", "allowed_passthrough_routes": ["/x"]}),
            403,
        ),
        (
            &org,
            new,
            json!({"organization_id": "acme", "metadata": {"team_member_budget_id": "b"}}),
            403,
        ),
        (
            &org,
            new,
            json!({"organization_id": "acme", "models": ["b"], "max_budget": 50}),
            200,
        ),
        (
            &org,
            new,
            json!({"organization_id": "acme", "models": ["b"], "max_budget": 5, "members": ["litellm-proxy-budget"]}),
            403,
        ),
        (
            &ann,
            "/team/member_add",
            red(json!({"member": {"user_id": "default_user_id", "role": "user"}})),
            403,
        ),
        (
            &ann,
            "/team/bulk_member_add",
            red(json!({"members": [{"user_id": "litellm-proxy-budget", "role": "admin"}]})),
            403,
        ),
        (&eve, update, red(json!({"team_alias": "x"})), 403),
        (&bob, update, red(json!({"team_alias": "x"})), 403),
        (&viewer, update, red(json!({"team_alias": "x"})), 401),
        (
            &ann,
            update,
            red(json!({"team_alias": "x", "max_budget": 9, "models": ["a"]})),
            200,
        ),
        (&ann, update, red(json!({"max_budget": 10})), 403),
        (&ann, update, red(json!({"max_budget": null})), 403),
        (&ann, update, red(json!({"rpm_limit": 6})), 403),
        (&ann, update, red(json!({"models": ["a", "b"]})), 403),
        (&ann, update, red(json!({"models": []})), 403),
        (&ann, update, red(json!({"guardrails": []})), 403),
        (
            &ann,
            update,
            red(json!({"metadata": {"guardrails": []}})),
            403,
        ),
        (&ann, update, red(json!({"metadata": {"note": 1}})), 200),
        (&ann, update, red(json!({"blocked": false})), 403),
        (&ann, update, red(json!({"organization_id": null})), 403),
        (&ann, update, red(json!({"budget_duration": "1s"})), 403),
        (&ann, update, red(json!({"model_aliases": {"a": "b"}})), 403),
        (
            &org,
            update,
            red(json!({"max_budget": 40, "models": ["a", "b"]})),
            200,
        ),
        (&org, update, red(json!({"max_budget": 60})), 400),
        (&org, update, red(json!({"max_budget": null})), 400),
        (&org, update, red(json!({"models": ["z"]})), 400),
        (&org, update, red(json!({"blocked": false})), 403),
        (&org, update, red(json!({"organization_id": null})), 403),
        (
            &org,
            update,
            json!({"team_id": "open", "team_alias": "x"}),
            403,
        ),
        (&ann, "/team/model/add", red(json!({"models": ["b"]})), 200),
        (&ann, "/team/model/add", red(json!({"models": ["z"]})), 400),
        (
            &bob,
            "/team/model/delete",
            red(json!({"models": ["a"]})),
            403,
        ),
        (
            &ann,
            "/team/permissions_update",
            red(json!({"team_member_permissions": ["/key/list"]})),
            200,
        ),
        (
            &bob,
            "/team/permissions_update",
            red(json!({"team_member_permissions": ["/key/delete"]})),
            403,
        ),
        (&ann, "/team/block", red(json!({})), 401),
        (
            &ann,
            "/team/member_add",
            red(json!({"member": {"user_id": "new", "role": "user"}})),
            200,
        ),
        (
            &bob,
            "/team/member_add",
            red(json!({"member": {"user_id": "eve", "role": "user"}})),
            403,
        ),
        (
            &eve,
            "/team/member_add",
            red(json!({"member": {"user_id": "eve", "role": "user"}})),
            403,
        ),
        (
            &eve,
            "/team/member_add",
            json!({"team_id": "open", "member": {"user_id": "eve", "role": "admin"}}),
            403,
        ),
        (
            &eve,
            "/team/member_add",
            json!({"team_id": "open", "member": {"user_id": "bob", "role": "user"}}),
            403,
        ),
        (
            &eve,
            "/team/member_add",
            json!({"team_id": "open", "member": {"user_id": "eve"}, "max_budget_in_team": 1}),
            403,
        ),
        (
            &eve,
            "/team/member_add",
            json!({"team_id": "open", "member": {"user_id": "eve", "role": "user"}}),
            200,
        ),
        (
            &bob,
            "/team/member_update",
            red(json!({"user_id": "bob", "role": "admin"})),
            403,
        ),
        (
            &ann,
            "/team/member_update",
            red(json!({"user_id": "bob", "max_budget_in_team": 41})),
            400,
        ),
        (
            &ann,
            "/team/member_update",
            red(json!({"user_id": "bob", "max_budget_in_team": 1})),
            200,
        ),
        (
            &ann,
            "/team/bulk_member_add",
            red(json!({"all_users": true})),
            403,
        ),
        (
            &bob,
            "/team/member_delete",
            red(json!({"user_id": "ann"})),
            403,
        ),
        (
            &org,
            "/team/member_delete",
            red(json!({"user_id": "new"})),
            200,
        ),
        (&ann, "/team/delete", json!({"team_ids": ["red"]}), 403),
        (
            &org,
            "/team/delete",
            json!({"team_ids": ["red", "open"]}),
            403,
        ),
    ];
    for (who, path, body, status) in cases {
        let (got, answer) = world.post(who, path, body.clone()).await;
        assert_eq!(got, status, "{:?} {path} {body} {answer}", who.user_id);
    }
    let team = world.plane.known_team("red").await.unwrap();
    assert_eq!(
        team["metadata"]["guardrails"],
        json!(["g"]),
        "kept when a team admin replaces the rest"
    );
    world
        .done("/key/generate", json!({"team_id": "red", "user_id": "ann"}))
        .await;
    world
        .done("/key/generate", json!({"team_id": "red", "user_id": "bob"}))
        .await;
    let reads = [
        (&viewer, "/team/info?team_id=red", 200),
        (&org, "/team/info?team_id=red", 200),
        (&ann, "/team/info?team_id=red", 200),
        (&bob, "/team/info?team_id=red", 200),
        (&eve, "/team/info?team_id=red", 403),
        (&viewer, "/team/list", 200),
        (&bob, "/team/list", 401),
        (&bob, "/team/list?user_id=ann", 401),
        (&bob, "/team/list?user_id=bob", 200),
        (&bob, "/team/list?organization_id=acme", 200),
        (&org, "/team/list?organization_id=acme", 200),
        (&bob, "/v2/team/list?user_id=ann", 401),
        (&bob, "/team/permissions_list?team_id=red", 200),
        (&eve, "/team/permissions_list?team_id=red", 403),
    ];
    for (who, path, status) in reads {
        let (got, answer) = world.get(who, path).await;
        assert_eq!(got, status, "{:?} {path} {answer}", who.user_id);
    }
    let count = |info: &Value| {
        (
            info["keys"].as_array().unwrap().len(),
            info["team_memberships"].as_array().unwrap().len(),
        )
    };
    let (_, own) = world.get(&bob, "/team/info?team_id=red").await;
    assert_eq!(count(&own), (1, 1), "a member sees their own");
    let (_, whole) = world.get(&ann, "/team/info?team_id=red").await;
    assert_eq!(count(&whole), (2, 2));
    let (_, listed) = world.get(&bob, "/team/list?user_id=bob").await;
    assert_eq!(
        (listed.as_array().unwrap().len(), count(&listed[0])),
        (1, (1, 1))
    );
    let (_, listed) = world.get(&org, "/team/list?organization_id=acme").await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let (_, listed) = world.get(&bob, "/v2/team/list").await;
    assert_eq!(listed["total"], 1);
    let (_, open) = world.get(&bob, "/team/available").await;
    assert_eq!(
        (open.as_array().unwrap().len(), &open[0]["members"]),
        (1, &json!([]))
    );
    let (_, open) = world.get(&eve, "/team/available").await;
    assert_eq!(open, json!([]), "who is in it need not join");
}

#[tokio::test]
async fn a_teams_admin_leaves_its_share_and_what_calls_must_say() {
    let world = world(json!({})).await;
    let metadata = json!({"enforced_params": ["user"], "priority": "dev"});
    let new = json!({"team_id": "red", "admins": ["ann"], "metadata": metadata});
    world.done("/team/new", new).await;
    for (metadata, expected) in [
        (json!({"priority": "prod"}), 403),
        (json!({"enforced_params": []}), 403),
        (json!({"x": 1}), 200),
    ] {
        let body = json!({"team_id": "red", "metadata": metadata});
        let (status, told) = world.post(&user("ann"), "/team/update", body).await;
        assert_eq!(status, expected, "{metadata} {told}");
    }
    let team = world.plane.team("red").await.unwrap().unwrap();
    let kept = json!({"enforced_params": ["user"], "priority": "dev", "x": 1});
    assert_eq!(team["metadata"], kept);
}

/// `team_alias_jwt_field`: a token names its team by an alias, which must be of one team.
#[tokio::test]
async fn an_alias_that_tokens_name_is_not_taken_by_another_team() {
    let jwt = json!({"general_settings": {"litellm_jwtauth": {"team_alias_jwt_field": "team"}}});
    for (settings, taken) in [(jwt, 400), (json!({}), 200)] {
        let world = world(settings).await;
        let organization = json!({"organization_id": "acme", "organization_alias": "Acme"});
        world.done("/organization/new", organization).await;
        let member = json!({"user_id": "org", "role": "org_admin"});
        let member = json!({"organization_id": "acme", "member": member});
        world.done("/organization/member_add", member).await;
        let blue = json!({"team_id": "blue", "team_alias": "prod"});
        world.done("/team/new", blue).await;
        let red = json!({"team_id": "red", "team_alias": "red", "admins": ["ann"], "organization_id": "acme"});
        world.done("/team/new", red).await;
        let named = |alias: &str| json!({"team_id": "red", "team_alias": alias});
        let new = json!({"organization_id": "acme", "team_alias": "prod"});
        let update = "/team/update";
        for (who, path, body, expected) in [
            ("ann", update, named("red"), 200),
            ("ann", update, named("crimson"), 200),
            ("ann", update, named("prod"), taken),
            ("org", update, named("prod"), taken),
            ("org", "/team/new", new, taken),
        ] {
            let (status, told) = world.post(&user(who), path, body.clone()).await;
            assert_eq!(status, expected, "{who} {path} {body} {told}");
            if status == 400 {
                assert_eq!(told["error"]["param"], "team_alias", "{told}");
            }
        }
        world.done(update, named("prod")).await;
    }
}
