//! Who gets how far with keys: the last step that is let through, and the first that is not.

use super::*;

/// Requests, each with its status and the parameter that is wrong.
async fn check(world: &crate::testing::World, who: &Principal, cases: &[(&str, Value, u16, &str)]) {
    for (path, body, status, param) in cases {
        let (got, answer) = world.post(who, path, body.clone()).await;
        assert_eq!(got, *status, "{path} {body} {answer}");
        if !param.is_empty() {
            assert_eq!(answer["error"]["param"], *param, "{path} {body} {answer}");
        }
    }
}

const GENERATE: &str = "/key/generate";
const UPDATE: &str = "/key/update";

/// A team of an organization: ann is its admin, bob and cid are members, orla administers the organization.
#[tokio::test]
async fn keys_of_a_team_are_for_its_people_and_within_its_budget() {
    let world = world(json!({})).await;
    let body = json!({"organization_id": "o", "organization_alias": "o"});
    world.done("/organization/new", body).await;
    let body = json!({"organization_id": "o", "member": {"role": "org_admin", "user_id": "orla"}});
    world.done("/organization/member_add", body).await;
    let members = json!([
        {"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}, {"user_id": "cid", "role": "user"},
    ]);
    let body = json!({
        "team_id": "t", "organization_id": "o", "max_budget": 10, "members_with_roles": members,
    });
    world.done("/team/new", body).await;
    let of =
        |user: &str, budget: f64| json!({"team_id": "t", "user_id": user, "max_budget": budget});
    check(
        &world,
        &admin(),
        &[(GENERATE, of("bob", 10.5), 400, "max_budget")],
    )
    .await;
    check(
        &world,
        &user("ann"),
        &[
            (GENERATE, of("bob", 10.0), 200, ""),
            (GENERATE, of("bob", 10.5), 400, "max_budget"),
            (GENERATE, of("eve", 1.0), 403, "user_id"),
        ],
    )
    .await;
    check(
        &world,
        &user("orla"),
        &[(GENERATE, of("bob", 1.0), 200, "")],
    )
    .await;
    check(
        &world,
        &user("eve"),
        &[
            (GENERATE, of("eve", 99.0), 400, "team_id"),
            (GENERATE, json!({"team_id": "none"}), 400, "team_id"),
        ],
    )
    .await;
    // Having a key of the team is not enough.
    let mut bob = user("bob");
    bob.team_id = Some("t".to_owned());
    let service = "/key/service-account/generate";
    check(
        &world,
        &bob,
        &[
            (GENERATE, json!({"team_id": "t"}), 401, GENERATE),
            (GENERATE, json!({}), 401, GENERATE),
            (service, json!({"team_id": "t"}), 401, service),
        ],
    )
    .await;
    // Who is permitted to makes keys for themself; neither for others nor for nobody.
    let permissions = json!({"team_id": "t", "team_member_permissions": [GENERATE]});
    world.done("/team/permissions_update", permissions).await;
    let (status, made) = world.post(&bob, GENERATE, json!({})).await;
    assert_eq!((status, &made["team_id"]), (200, &json!("t")), "{made}");
    let own = made["token"].clone();
    check(
        &world,
        &bob,
        &[
            (GENERATE, json!({"team_id": "t"}), 200, ""),
            (GENERATE, of("cid", 1.0), 403, "user_id"),
            (service, json!({"team_id": "t"}), 401, service),
            (UPDATE, json!({"key": own, "rpm_limit": 1}), 401, UPDATE),
            ("/key/delete", json!({"keys": [own]}), 401, "/key/delete"),
            (
                "/key/regenerate",
                json!({"key": own}),
                401,
                "/key/regenerate",
            ),
        ],
    )
    .await;
    let may = json!([UPDATE, "/key/delete", "/key/{key_id}/regenerate"]);
    let permissions = json!({"team_id": "t", "team_member_permissions": may});
    world.done("/team/permissions_update", permissions).await;
    let (status, rotated) = world
        .post(&bob, "/key/regenerate", json!({"key": own}))
        .await;
    assert_eq!(status, 200, "{rotated}");
    let own = &rotated["token"];
    check(
        &world,
        &bob,
        &[
            (UPDATE, json!({"key": own, "rpm_limit": 1}), 200, ""),
            ("/key/delete", json!({"keys": [own]}), 200, ""),
        ],
    )
    .await;
    for who in [user("ann"), user("orla")] {
        check(&world, &who, &[(service, json!({"team_id": "t"}), 200, "")]).await;
    }
    let permissions = json!({"team_id": "t", "team_member_permissions": [service]});
    world.done("/team/permissions_update", permissions).await;
    let (status, made) = world.post(&bob, service, json!({"team_id": "t"})).await;
    assert_eq!((status, &made["user_id"]), (200, &Value::Null), "{made}");
    check(
        &world,
        &user("eve"),
        &[(service, json!({"team_id": "t"}), 400, "team_id")],
    )
    .await;
    // What belongs to nobody a team's admin holds, and it stays within the team's budget.
    let key = made["token"].clone();
    check(
        &world,
        &user("ann"),
        &[
            (UPDATE, json!({"key": key, "max_budget": 10}), 200, ""),
            (
                UPDATE,
                json!({"key": key, "max_budget": 10.5}),
                400,
                "max_budget",
            ),
            ("/key/regenerate", json!({"key": key}), 200, ""),
        ],
    )
    .await;
}

/// A caller with ten requests a minute, two groups of routes and one control of the cache.
#[tokio::test]
async fn what_a_caller_has_is_what_they_give_to_the_last() {
    let world = world(json!({})).await;
    let mut scope = Scope::new(ScopeKind::Key, "of-ann");
    scope.limits.rpm = Some(10);
    let ann = Principal {
        allowed_routes: vec!["llm_api_routes".to_owned(), "management_routes".to_owned()],
        allowed_cache_controls: vec!["ttl".to_owned()],
        scopes: vec![scope],
        ..user("ann")
    };
    let own = world.done(GENERATE, json!({"user_id": "ann"})).await;
    let key = own["key"].clone();
    check(
        &world,
        &ann,
        &[
            (
                GENERATE,
                json!({"rpm_limit": 10, "allowed_cache_controls": ["ttl"]}),
                200,
                "",
            ),
            (
                GENERATE,
                json!({"allowed_cache_controls": ["no-cache"]}),
                403,
                "allowed_cache_controls",
            ),
            (
                UPDATE,
                json!({"key": key, "allowed_cache_controls": ["no-cache"]}),
                403,
                "allowed_cache_controls",
            ),
            (
                UPDATE,
                json!({"key": key, "allowed_routes": ["/config/reload"]}),
                403,
                "allowed_routes",
            ),
            (UPDATE, json!({"key": key, "key_alias": "mine"}), 200, ""),
        ],
    )
    .await;
    let (_, info) = world
        .get(
            &admin(),
            &format!("/key/info?key={}", key.as_str().unwrap()),
        )
        .await;
    assert_eq!(
        info["info"]["rpm_limit"],
        Value::Null,
        "what is not said stays"
    );
    // Routes that act above all users are nobody's to give; a session's own budget bounds no key.
    let scim = json!({"allowed_routes": ["/scim/*"]});
    let mut change = scim.clone();
    change["key"] = key.clone();
    let cases = [
        (GENERATE, scim, 403, "allowed_routes"),
        (UPDATE, change, 403, "allowed_routes"),
    ];
    check(&world, &user("ann"), &cases).await;
    let session = Principal {
        session: true,
        ..ann.clone()
    };
    check(
        &world,
        &session,
        &[(GENERATE, json!({"rpm_limit": 11}), 200, "")],
    )
    .await;
    // One's own key is one's own to rotate, whatever it may do.
    check(
        &world,
        &user("ann"),
        &[
            (
                "/key/regenerate",
                json!({"key": key, "new_key": "mine"}),
                400,
                "new_key",
            ),
            ("/key/regenerate", json!({"key": key}), 200, ""),
            ("/key/delete", json!({"key_aliases": ["mine"]}), 200, ""),
        ],
    )
    .await;
    world
        .done(GENERATE, json!({"user_id": "bob", "key_alias": "bobs"}))
        .await;
    check(
        &world,
        &user("ann"),
        &[("/key/delete", json!({"key_aliases": ["bobs"]}), 404, "")],
    )
    .await;
}

/// What an administrator has set on somebody's key: it stays, it is not shown, and is no news when it is said again.
#[tokio::test]
async fn what_only_administrators_set_stays_and_is_masked() {
    let world = world(json!({})).await;
    let secret = json!([{"callback_name": "langfuse", "callback_vars": {"langfuse_secret": "hunter2-hunter2"}}]);
    let body = json!({
        "user_id": "ann", "metadata": {"logging": secret, "temp_budget_increase": 5}, "max_budget": 1,
    });
    let made = world.done(GENERATE, body).await;
    let (key, ann) = (made["key"].as_str().unwrap(), user("ann"));
    let (status, info) = world.get(&ann, &format!("/key/info?key={key}")).await;
    assert_eq!(status, 200);
    assert!(!info.to_string().contains("hunter2-hunter2"), "{info}");
    let body = json!({"key": key, "metadata": {"temp_budget_increase": 5, "x": 1}});
    check(&world, &ann, &[(UPDATE, body, 200, "")]).await;
    let (_, info) = world.get(&admin(), &format!("/key/info?key={key}")).await;
    let metadata = &info["info"]["metadata"];
    assert_eq!((&metadata["logging"], &metadata["x"]), (&secret, &json!(1)));
    // Who only looks sees every key; who has no user none that has none either.
    let viewer = Principal {
        role: Some(Role::ProxyAdminViewer),
        ..user("eve")
    };
    assert_eq!(
        world.get(&viewer, &format!("/key/info?key={key}")).await.0,
        200
    );
    let orphan = world.done(GENERATE, json!({"user_id": null})).await;
    let orphan = orphan["key"].as_str().unwrap();
    let nobody = Principal {
        role: Some(Role::InternalUser),
        ..Principal::default()
    };
    assert_eq!(
        world
            .get(&nobody, &format!("/key/info?key={orphan}"))
            .await
            .0,
        404
    );
}

/// The operator's bounds, to the last; and how long and how many things may be.
#[tokio::test]
async fn the_operators_bounds_hold_for_changes_and_to_the_last() {
    let bounds = json!({"max_budget": 100, "duration": "30d"});
    let settings = json!({"litellm_settings": {"upperbound_key_generate_params": bounds}});
    let world = world(settings).await;
    let key = world.done(GENERATE, json!({})).await["key"].clone();
    let of = |bytes: usize| json!({"key": format!("sk-{}", "k".repeat(bytes - 3))});
    let many = |count: usize| json!({"keys": vec![json!({"key": "sk-none-1234567890"}); count]});
    check(
        &world,
        &admin(),
        &[
            (
                GENERATE,
                json!({"max_budget": 100, "duration": "30d"}),
                200,
                "",
            ),
            (GENERATE, json!({"duration": "-1"}), 400, "duration"),
            (UPDATE, json!({"key": key, "max_budget": 100}), 200, ""),
            (
                UPDATE,
                json!({"key": key, "max_budget": 100.5}),
                400,
                "max_budget",
            ),
            (
                UPDATE,
                json!({"key": key, "duration": "31d"}),
                400,
                "duration",
            ),
            (GENERATE, of(512), 200, ""),
            (GENERATE, of(513), 400, "key"),
            (
                GENERATE,
                json!({"auto_rotate": true, "rotation_interval": "0d"}),
                400,
                "rotation_interval",
            ),
            ("/key/bulk_update", many(500), 200, ""),
            ("/key/bulk_update", many(501), 400, "keys"),
        ],
    )
    .await;
}

/// As much as one's own key is under, and the prompts that it names.
#[tokio::test]
async fn a_key_is_under_as_much_as_its_maker_and_no_more() {
    let world = world(json!({})).await;
    let body = json!({
        "key": "sk-limited-key", "user_id": "ann", "max_budget": 5, "budget_duration": "30d", "duration": "1h",
        "model_rpm_limit": {"a": 5}, "prompts": ["p"],
    });
    world.done(GENERATE, body).await;
    let mut ann = user("ann");
    ann.key_hash = Some(KeyHash::of("sk-limited-key"));
    check(
        &world,
        &ann,
        &[
            (
                GENERATE,
                json!({"duration": "1h", "budget_duration": "30d"}),
                200,
                "",
            ),
            (
                GENERATE,
                json!({"model_rpm_limit": {"a": 5}, "prompts": ["p"]}),
                200,
                "",
            ),
            (GENERATE, json!({"prompts": ["p", "q"]}), 403, "prompts"),
        ],
    )
    .await;
}

/// An old text is good up to its last moment, and not in it.
#[tokio::test]
async fn an_old_text_ends_when_its_grace_does() {
    let world = world(json!({})).await;
    let made = world
        .done(GENERATE, json!({"key": "sk-old-1234567890"}))
        .await;
    let body = json!({"key": made["key"], "grace_period": "1h"});
    let (status, answer) = world.post(&admin(), "/key/regenerate", body).await;
    assert_eq!(status, 200, "{answer}");
    let old = KeyHash::of("sk-old-1234567890");
    let good = async |time: &str| {
        let now = time.parse().unwrap();
        let found = world.plane.successor(old.as_str(), now).await.unwrap();
        found.map(|(hash, _)| hash.as_str().to_owned())
    };
    let new = answer["token"].as_str().map(str::to_owned);
    assert_eq!(good("2026-01-01T01:00:00.122Z").await, new);
    assert_eq!(good("2026-01-01T01:00:00.123Z").await, None);
}

/// Names of keys are told to those who may see the keys: all of them to administrators and viewers, a team's to its admins, to others
/// their own.
#[tokio::test]
async fn aliases_are_told_of_keys_that_one_may_see() {
    let world = world(json!({})).await;
    let members = json!([{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}]);
    let team = json!({"team_id": "t", "members_with_roles": members});
    world.done("/team/new", team).await;
    for (alias, user, team) in [
        (Some("zoe"), "bob", Some("t")),
        (Some("ann's"), "ann", None),
        (Some("bob's"), "bob", None),
        (Some("cid's"), "cid", None),
        (None, "bob", None),
    ] {
        let body = json!({"key_alias": alias, "user_id": user, "team_id": team});
        world.done(GENERATE, body).await;
    }
    let viewer = Principal {
        role: Some(witgate_identity::Role::ProxyAdminViewer),
        ..user("eve")
    };
    let all = json!(["ann's", "bob's", "cid's", "zoe"]);
    for (who, query, told) in [
        (admin(), "", all.clone()),
        (viewer, "", all),
        (user("ann"), "", json!(["ann's"])),
        (user("ann"), "?team_id=t", json!(["zoe"])),
        (user("bob"), "", json!(["bob's", "zoe"])),
        (user("bob"), "?team_id=t", json!(["zoe"])),
        (user("cid"), "?team_id=t", json!([])),
        (user("dan"), "", json!([])),
    ] {
        let (status, said) = world.get(&who, &format!("/key/aliases{query}")).await;
        assert_eq!((status, &said["aliases"]), (200, &told), "{query} {said}");
    }
    let asked = world.get(&user("cid"), "/key/aliases?user_id=ann").await;
    assert_eq!(asked.0, 403, "{asked:?}");
}
