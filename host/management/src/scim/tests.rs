//! SCIM over a database.

use serde_json::{Value, json};
use witgate_identity::{KeyHash, Principal};

use crate::testing::{World, admin, user, world};

/// The key of an identity provider.
fn provider() -> Principal {
    Principal {
        key_hash: Some(KeyHash::of("sk-scim")),
        allowed_routes: vec!["/scim/*".to_owned()],
        ..user("nobody")
    }
}

impl World {
    async fn scim(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask(method, &provider(), &format!("/scim/v2{path}"), body)
            .await
    }

    async fn good(&self, method: &str, path: &str, body: Value) -> Value {
        let (status, answer) = self.scim(method, path, body.clone()).await;
        let done = match method {
            "POST" => 201,
            "DELETE" => 204,
            _ => 200,
        };
        assert_eq!(status, done, "{method} {path} {body}: {answer}");
        answer
    }

    async fn blocked(&self, key: &str) -> bool {
        let hash = KeyHash::of(key);
        let now = jiff::Timestamp::UNIX_EPOCH;
        let found = self.plane.virtual_key(hash.as_str(), now).await.unwrap();
        found.unwrap().blocked
    }
}

#[tokio::test]
async fn users_are_made_found_changed_and_shut_out() {
    let world = world(json!({})).await;
    let made = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "Ann@Example.com", "externalId": "00u1",
        "name": {"givenName": "Ann", "familyName": "Lee"}, "active": true,
        "emails": [{"value": "other@example.com"}, {"value": "ann@example.com", "primary": true}],
    });
    let ann = world.good("POST", "/Users", made.clone()).await;
    let id = ann["id"].as_str().unwrap();
    assert_eq!(
        (id, &ann["displayName"]),
        ("Ann@Example.com", &json!("Ann Lee"))
    );
    assert_eq!(ann["emails"][0]["value"], "ann@example.com");
    let row = world.plane.user(id).await.unwrap().unwrap();
    assert_eq!(
        (&row["user_email"], &row["user_alias"]),
        (&json!("ann@example.com"), &json!("Ann Lee"))
    );
    let (status, told) = world.scim("POST", "/Users", made).await;
    assert_eq!(
        (status, &told["scimType"]),
        (409, &json!("uniqueness")),
        "{told}"
    );
    // By each attribute, whatever the case of letters where it has none.
    for filter in [
        "userName eq \"ann@example.COM\"",
        "externalId eq \"00u1\"",
        "emails.value eq \"ANN@example.com\"",
        "id eq \"Ann@Example.com\"",
    ] {
        let filter = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect::<String>();
        let found = world
            .good("GET", &format!("/Users?filter={filter}"), json!({}))
            .await;
        assert_eq!(
            (&found["totalResults"], &found["Resources"][0]["id"]),
            (&json!(1), &json!(id)),
            "{filter}"
        );
    }
    let none = world
        .good("GET", "/Users?filter=userName+eq+%22x%22", json!({}))
        .await;
    assert_eq!(none["totalResults"], 0);
    let (status, told) = world
        .scim("GET", "/Users?filter=userName+sw+%22x%22", json!({}))
        .await;
    assert_eq!((status, &told["scimType"]), (400, &json!("invalidFilter")));

    world
        .done(
            "/key/generate",
            json!({"key": "sk-of-ann-1234567", "user_id": id}),
        )
        .await;
    let path = format!("/Users/{id}");
    let active = async |value: Value| {
        let body = json!({"Operations": [{"op": "Replace", "path": "active", "value": value}]});
        world.good("PATCH", &path, body).await["active"].clone()
    };
    assert!(!world.blocked("sk-of-ann-1234567").await);
    assert_eq!(active(json!("False")).await, false);
    assert!(world.blocked("sk-of-ann-1234567").await);
    assert_eq!(active(json!(true)).await, true);
    assert!(!world.blocked("sk-of-ann-1234567").await);
    // What a replacement does not say of `active` stays.
    active(json!(false)).await;
    let put = world
        .good(
            "PUT",
            &path,
            json!({"userName": "ann", "displayName": "Anna"}),
        )
        .await;
    assert_eq!(
        (&put["active"], &put["userName"], &put["displayName"]),
        (&json!(false), &json!("ann"), &json!("Anna"))
    );
    assert_eq!(put.get("externalId"), None);
    world.good("DELETE", &path, json!({})).await;
    let (status, told) = world.scim("GET", &path, json!({})).await;
    assert_eq!((status, &told["status"]), (404, &json!("404")), "{told}");
}

#[tokio::test]
async fn groups_are_teams() {
    let world = world(json!({})).await;
    for name in ["ann", "bob", "eve"] {
        world
            .good("POST", "/Users", json!({ "userName": name }))
            .await;
    }
    let members = |names: &[&str]| {
        names
            .iter()
            .map(|name| json!({"value": name}))
            .collect::<Vec<Value>>()
    };
    let body =
        json!({"displayName": "Red", "externalId": "g1", "members": members(&["ann", "bob"])});
    let red = world.good("POST", "/Groups", body.clone()).await;
    let (status, told) = world.scim("POST", "/Groups", body).await;
    assert_eq!(status, 409, "{told}");
    let path = format!("/Groups/{}", red["id"].as_str().unwrap());
    world
        .done(
            "/team/member_update",
            json!({"team_id": red["id"], "user_id": "ann", "role": "admin"}),
        )
        .await;
    let ids = |group: &Value| {
        let mut ids: Vec<String> = group["members"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["value"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids.join(" ")
    };
    assert_eq!(ids(&red), "ann bob");
    let change = json!({"Operations": [
        {"op": "add", "path": "members", "value": members(&["eve"])},
        {"op": "remove", "path": "members[value eq \"bob\"]"},
        {"op": "replace", "value": {"displayName": "Crimson"}},
    ]});
    let changed = world.good("PATCH", &path, change).await;
    assert_eq!(
        (
            ids(&changed).as_str(),
            &changed["displayName"],
            &changed["externalId"]
        ),
        ("ann eve", &json!("Crimson"), &json!("g1"))
    );
    let team = world
        .plane
        .team(red["id"].as_str().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(
        team["members_with_roles"].to_string().contains("admin"),
        "ann stays an admin: {team:?}"
    );
    let ann = world.good("GET", "/Users/ann", json!({})).await;
    assert_eq!(ann["groups"][0]["display"], "Crimson");
    let found = world
        .good(
            "GET",
            "/Groups?filter=displayName+eq+%22Crimson%22",
            json!({}),
        )
        .await;
    assert_eq!(found["totalResults"], 1);
    let (status, told) = world
        .scim(
            "PUT",
            &path,
            json!({"displayName": "x", "members": members(&["nobody"])}),
        )
        .await;
    assert_eq!(
        (status, &told["scimType"]),
        (400, &json!("invalidValue")),
        "{told}"
    );
    let put = world
        .good("PUT", &path, json!({"displayName": "Red"}))
        .await;
    assert_eq!(ids(&put), "");
    world.good("DELETE", &path, json!({})).await;
    assert_eq!(world.scim("GET", &path, json!({})).await.0, 404);
}

#[tokio::test]
async fn pages_begin_at_one() {
    let world = world(json!({})).await;
    for at in 0..5 {
        world
            .good("POST", "/Users", json!({"userName": format!("u{at}")}))
            .await;
    }
    for (query, first, count) in [
        ("", Some("u0"), 5),
        ("?startIndex=2&count=2", Some("u1"), 2),
        ("?startIndex=0&count=1", Some("u0"), 1),
        ("?startIndex=5", Some("u4"), 1),
        ("?startIndex=6", None, 0),
        ("?count=0", None, 0),
        ("?count=-1", None, 0),
    ] {
        let page = world
            .good("GET", &format!("/Users{query}"), json!({}))
            .await;
        assert_eq!(
            (&page["totalResults"], &page["itemsPerPage"]),
            (&json!(5), &json!(count)),
            "{query}"
        );
        assert_eq!(page["Resources"][0]["id"].as_str(), first, "{query}");
    }
    assert_eq!(world.scim("GET", "/Users?count=x", json!({})).await.0, 400);
}

#[tokio::test]
async fn who_provisions_is_no_administrator() {
    let world = world(json!({})).await;
    let boss = json!({"user_id": "boss", "user_email": "boss@example.com", "user_role": "proxy_admin", "auto_create_key": false});
    world.done("/user/new", boss).await;
    let moved = json!({"Operations": [{"op": "replace", "path": "emails", "value": [{"value": "eve@example.com"}]}]});
    let (status, told) = world.scim("PATCH", "/Users/boss", moved.clone()).await;
    assert_eq!(status, 403, "{told}");
    let (status, _) = world
        .ask("PATCH", &admin(), "/scim/v2/Users/boss", moved)
        .await;
    assert_eq!(status, 200);
    let off = json!({"Operations": [{"op": "replace", "value": {"active": false}}]});
    assert_eq!(
        world.good("PATCH", "/Users/boss", off).await["active"],
        false
    );
    // Nobody makes themself a key that provisions, nor changes one into it.
    for routes in ["/scim/*", "/scim/v2/Users"] {
        let body = json!({ "allowed_routes": [routes] });
        let (status, told) = world.post(&user("ann"), "/key/generate", body).await;
        assert_eq!(
            (status, &told["error"]["param"]),
            (403, &json!("allowed_routes"))
        );
        world
            .post(
                &user("ann"),
                "/key/generate",
                json!({"key": "sk-of-ann-1234567"}),
            )
            .await;
        let body = json!({"key": "sk-of-ann-1234567", "allowed_routes": [routes]});
        assert_eq!(world.post(&user("ann"), "/key/update", body).await.0, 403);
    }
    let mut all = user("ann");
    all.key_hash = Some(KeyHash::of("sk-x"));
    for routes in [
        vec![],
        vec!["*".to_owned()],
        vec!["/*".to_owned()],
        vec!["management_routes".to_owned()],
    ] {
        all.allowed_routes = routes;
        let (status, _) = world.ask("GET", &all, "/scim/v2/Users", json!({})).await;
        assert_eq!(status, 401, "{:?}", all.allowed_routes);
    }
}
