//! Addresses are how people are known at their identity provider: no team's admin gives one to somebody.

use super::*;

#[tokio::test]
async fn a_teams_admin_gives_nobody_an_address() {
    let world = world(json!({})).await;
    for (id, email) in [("root", Value::Null), ("vera", json!("Vera@x.org"))] {
        let body = json!({
            "user_id": id, "user_email": email, "user_role": "proxy_admin", "auto_create_key": false,
        });
        world.done("/user/new", body).await;
    }
    let members = json!([{"user_id": "ann", "role": "admin"}]);
    let body = json!({"team_id": "red", "members_with_roles": members});
    world.done("/team/new", body).await;
    let add = |id: &str, email: &str| {
        let member = json!({"user_id": id, "user_email": email, "role": "user"});
        json!({"team_id": "red", "member": member})
    };
    // Whoever signs in with that address would be the administrator.
    let (status, answer) = world
        .post(
            &user("ann"),
            "/team/member_add",
            add("root", "ann@evil.org"),
        )
        .await;
    assert_eq!(status, 200, "{answer}");
    let root = world.plane.user("root").await.unwrap().unwrap();
    assert_eq!(root["user_email"], Value::Null);
    // Nor a second one to somebody else's: then nobody would know who signs in.
    let (status, answer) = world
        .post(&user("ann"), "/team/member_add", add("other", "vera@X.org"))
        .await;
    assert_eq!(
        (status, &answer["error"]["param"]),
        (400, &json!("user_email")),
        "{answer}"
    );
    // To a user who is new through the team it is theirs.
    let (status, answer) = world
        .post(&user("ann"), "/team/member_add", add("new", "new@x.org"))
        .await;
    assert_eq!(status, 200, "{answer}");
    let new = world.plane.user("new").await.unwrap().unwrap();
    assert_eq!(new["user_email"], "new@x.org");
    // A proxy admin may.
    world
        .done(
            "/team/new",
            json!({"team_id": "blue", "members_with_roles": [
                {"user_id": "root", "user_email": "root@x.org", "role": "user"},
            ]}),
        )
        .await;
    let root = world.plane.user("root").await.unwrap().unwrap();
    assert_eq!(root["user_email"], "root@x.org");
}

/// `team_member_key_duration`: how long keys of a team's members live of which nobody says it.
#[tokio::test]
async fn a_teams_own_admin_changes_it_and_says_how_long_keys_live() {
    let world = world(json!({})).await;
    let body = json!({
        "team_id": "red", "members_with_roles": [{"user_id": "ann", "role": "admin"}], "team_member_key_duration": "1d",
    });
    world.done("/team/new", body).await;
    let ann = user("ann");
    let body = json!({"team_id": "red", "team_alias": "reds"});
    let (status, answer) = world.post(&ann, "/team/update", body).await;
    assert_eq!(status, 200, "{answer}");
    for (more, ends) in [
        (json!({}), json!("2026-01-02T00:00:00.123Z")),
        (json!({"duration": "1h"}), json!("2026-01-01T01:00:00.123Z")),
    ] {
        let mut body = more;
        body["team_id"] = json!("red");
        let (status, made) = world.post(&ann, "/key/generate", body).await;
        assert_eq!((status, &made["expires"]), (200, &ends), "{made}");
    }
}

#[tokio::test]
async fn who_adds_somebody_does_not_see_their_row() {
    let world = world(json!({})).await;
    for (id, email) in [
        ("ann", "ann@x.org"),
        ("vera", "vera@x.org"),
        ("rob", "rob@x.org"),
    ] {
        let body = json!({"user_id": id, "user_email": email, "auto_create_key": false, "metadata": {"secret": 1}, "max_budget": 7});
        world.done("/user/new", body).await;
    }
    let boss = json!({"user_id": "ann", "role": "admin"});
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "members_with_roles": [boss]}),
        )
        .await;
    world
        .done(
            "/organization/new",
            json!({"organization_id": "acme", "organization_alias": "Acme"}),
        )
        .await;
    let body =
        json!({"organization_id": "acme", "member": {"user_id": "ann", "role": "org_admin"}});
    world.done("/organization/member_add", body).await;
    let expected =
        json!([{"user_id": "vera", "user_email": "vera@x.org", "user_role": "internal_user"}]);
    for (path, id, role) in [
        ("/team/member_add", "team_id", "user"),
        (
            "/organization/member_add",
            "organization_id",
            "internal_user",
        ),
    ] {
        let add = |who: &str| {
            let place = if id == "team_id" { "red" } else { "acme" };
            json!({ id: place, "member": {"user_id": who, "role": role} })
        };
        let (status, told) = world.post(&user("ann"), path, add("vera")).await;
        assert_eq!(
            (status, &told["updated_users"]),
            (200, &expected),
            "{path} {told}"
        );
        let told = world.done(path, add("rob")).await;
        assert_eq!(told["updated_users"][0]["max_budget"], 7.0, "{path}");
    }
}
