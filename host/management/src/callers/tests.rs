//! Who callers of identity providers are in the database, and how they come into it.

use serde_json::json;

use super::*;
use crate::testing::{World, world};

fn now() -> Timestamp {
    "2026-01-01T00:00:00.123Z".parse().unwrap()
}

fn user(id: &str, email: Option<&str>) -> Named {
    Named {
        user: Some(id.to_owned()),
        email: email.map(str::to_owned),
        ..Named::default()
    }
}

async fn caller(world: &World, named: &Named) -> Caller {
    world.plane.caller(named, now()).await.unwrap()
}

#[tokio::test]
async fn a_user_is_found_by_id_by_the_providers_id_and_by_an_address_of_one() {
    let world = world(json!({})).await;
    for (id, email, sso) in [("ann", "Ann@x.y", None), ("bob", "b@x.y", Some("idp-7"))] {
        let body = json!({"user_id": id, "user_email": email, "sso_user_id": sso, "auto_create_key": false});
        world.done("/user/new", body).await;
    }
    for (named, found) in [
        (user("ann", None), Some("ann")),
        (user("idp-7", None), Some("bob")),
        (user("u-1", Some("ann@X.Y")), Some("ann")),
        // Somebody else's at the provider; who says no id but the address is found by it.
        (user("u-1", Some("b@x.y")), None),
        (user("idp-7", Some("b@x.y")), Some("bob")),
        (user("b@x.y", Some("b@x.y")), Some("bob")),
        (user("u-1", Some("x@x.y")), None),
        (user("u-1", Some("x.y")), None),
    ] {
        let caller = caller(&world, &named).await;
        assert_eq!(caller.has_user, found.is_some(), "{named:?}");
        let id = caller.as_key.principal.user_id.as_deref();
        assert_eq!(id, Some(found.unwrap_or("u-1")), "{named:?}");
    }
}

#[tokio::test]
async fn a_callers_team_user_and_organization_bear_on_them_and_no_key_does() {
    let world = world(json!({})).await;
    let org = world
        .done(
            "/organization/new",
            json!({"organization_alias": "acme", "max_budget": 9.0}),
        )
        .await;
    let org = org["organization_id"].as_str().unwrap();
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "team_alias": "Red", "tpm_limit": 7, "models": ["m"]}),
        )
        .await;
    world
        .done(
            "/user/new",
            json!({"user_id": "ann", "rpm_limit": 3, "auto_create_key": false}),
        )
        .await;
    let named = Named {
        team_alias: Some("Red".to_owned()),
        organization_alias: Some("acme".to_owned()),
        ..user("ann", None)
    };
    let found = caller(&world, &named).await;
    assert!(found.has_user && found.has_team && found.has_organization && !found.is_member);
    let principal = &found.as_key.principal;
    assert_eq!(
        (principal.team_id.as_deref(), principal.org_id.as_deref()),
        (Some("red"), Some(org))
    );
    let kinds: Vec<ScopeKind> = principal.scopes.iter().map(|scope| scope.kind).collect();
    assert_eq!(
        kinds,
        [ScopeKind::Team, ScopeKind::User, ScopeKind::Organization]
    );
    world.plane.join("red", "ann", now()).await.unwrap();
    world.plane.join("red", "ann", now()).await.unwrap();
    let found = caller(&world, &named).await;
    assert!(found.is_member && found.teams == ["red"]);
    world.plane.leave("red", "ann", now()).await.unwrap();
    assert!(!caller(&world, &named).await.is_member);
}

#[tokio::test]
async fn who_is_made_has_the_defaults_of_new_users_and_is_made_once() {
    let world = world(json!({"litellm_settings": {"max_internal_user_budget": 5}})).await;
    for _ in 0..2 {
        world
            .plane
            .make_user("ann", Some("ann@x.y"), now())
            .await
            .unwrap();
        world.plane.make_team("red", now()).await.unwrap();
    }
    world
        .plane
        .set_role("ann", "internal_user_viewer", now())
        .await
        .unwrap();
    let row = world.plane.user("ann").await.unwrap().unwrap();
    assert_eq!(
        (&row["max_budget"], &row["user_email"]),
        (&json!(5.0), &json!("ann@x.y"))
    );
    let named = Named {
        team: Some("red".to_owned()),
        ..user("ann", None)
    };
    let found = caller(&world, &named).await;
    assert_eq!(found.user_role.as_deref(), Some("internal_user_viewer"));
    assert!(found.has_team);
    // Somebody else has the address.
    assert!(
        world
            .plane
            .make_user("eve", Some("ann@x.y"), now())
            .await
            .is_err()
    );
}
