//! What wrong requests about users are told.

use serde_json::json;

use crate::testing::{admin, world};

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
        ("/user/list?page_size=101", 422),
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
