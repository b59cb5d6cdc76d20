//! What wrong requests about teams are told.

use serde_json::json;

use crate::testing::{admin, world};

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let world = world(json!({})).await;
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "max_budget": 5, "models": ["a"]}),
        )
        .await;
    let long = "x".repeat(70_000);
    let cases = [
        (
            "/team/new",
            json!({"team_id": "red"}),
            400,
            "already exists",
        ),
        ("/team/new", json!({"models": "gpt"}), 422, "valid list"),
        (
            "/team/new",
            json!({"members_with_roles": [{"role": "user"}]}),
            400,
            "user_id or user_email",
        ),
        (
            "/team/new",
            json!({"members_with_roles": [{"user_id": "a", "role": "owner"}]}),
            422,
            "'admin' or 'user'",
        ),
        (
            "/team/new",
            json!({"organization_id": "none"}),
            400,
            "Organization not found",
        ),
        (
            "/team/new",
            json!({"policies": ["a"]}),
            400,
            "not enforced by this release",
        ),
        (
            "/team/new",
            json!({"access_group_ids": ["a"]}),
            400,
            "access_group_ids is not there",
        ),
        (
            "/team/new",
            json!({"team_member_permissions": ["/key/all"]}),
            400,
            "is none of",
        ),
        (
            "/team/new",
            json!({"max_budget": 1, "team_member_budget": 2}),
            400,
            "above the team's",
        ),
        (
            "/team/new",
            json!({"model_aliases": {"a": 1}}),
            400,
            "name of a model",
        ),
        ("/team/new", json!({"team_alias": "a\u{0}"}), 422, "NUL"),
        ("/team/new", json!({"team_alias": long}), 422, "at most"),
        (
            "/team/new",
            json!({"budget_duration": "soon"}),
            422,
            "such as 30d",
        ),
        (
            "/team/update",
            json!({"max_budget": 1}),
            422,
            "Field required",
        ),
        (
            "/team/update",
            json!({"team_id": "x"}),
            404,
            "Team not found",
        ),
        (
            "/team/update",
            json!({"team_id": "red", "organization_id": "none"}),
            400,
            "Organization not found",
        ),
        ("/team/delete", json!({}), 422, "Field required"),
        (
            "/team/delete",
            json!({"team_ids": ["red", "x"]}),
            404,
            "Team not found",
        ),
        (
            "/team/block",
            json!({"team_id": "x"}),
            404,
            "Team not found",
        ),
        (
            "/team/member_add",
            json!({"team_id": "red"}),
            422,
            "Field required",
        ),
        (
            "/team/member_add",
            json!({"team_id": "red", "member": {"user_id": "a"}, "max_budget_in_team": 6}),
            400,
            "above the team's",
        ),
        (
            "/team/member_add",
            json!({"team_id": "red", "member": {"user_id": "a"}, "allowed_models": ["m"]}),
            400,
            "not enforced",
        ),
        (
            "/team/member_add",
            json!({"team_id": "red", "member": {"user_id": "a\u{0}"}}),
            422,
            "NUL",
        ),
        (
            "/team/member_delete",
            json!({"team_id": "red", "user_id": "x"}),
            400,
            "not found in team",
        ),
        (
            "/team/member_update",
            json!({"team_id": "red", "user_id": "x"}),
            400,
            "not found in team",
        ),
        (
            "/team/model/delete",
            json!({"team_id": "red", "models": ["a"]}),
            400,
            "no-default-models",
        ),
        (
            "/team/red/callback",
            json!({"callback_name": "langfuse", "callback_vars": {"host": "x"}}),
            400,
            "Invalid callback variable",
        ),
        (
            "/team/red/callback",
            json!({"callback_name": "langfuse", "callback_type": "x"}),
            422,
            "success_and_failure",
        ),
        (
            "/team/x/callback",
            json!({"callback_name": "langfuse"}),
            404,
            "Team not found",
        ),
    ];
    for (path, body, status, says) in cases {
        let (got, answer) = world.post(&admin(), path, body).await;
        assert_eq!(got, status, "{path} {answer}");
        assert!(answer.to_string().contains(says), "{path} {answer}");
    }
    assert_eq!(
        world.get(&admin(), "/team/info?team_id=red").await.0,
        200,
        "delete is all or none"
    );
    assert_eq!(world.get(&admin(), "/team/info").await.0, 422);
    assert_eq!(world.get(&admin(), "/team/info?team_id=a%00").await.0, 400);
    let hidden = json!({"team_ids": ["a\u{0}"]});
    assert_eq!(world.post(&admin(), "/team/delete", hidden).await.0, 422);
    let hostile = "'; DROP TABLE \"LiteLLM_TeamTable\"; -- % _ ? $1 {row}";
    let made = world
        .done(
            "/team/new",
            json!({"team_id": hostile, "team_alias": hostile, "members": [hostile]}),
        )
        .await;
    assert_eq!(made["team_alias"], hostile);
    let query: String = url::form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
    let (_, info) = world
        .get(&admin(), &format!("/team/info?team_id={query}"))
        .await;
    assert_eq!(info["team_id"], hostile);
    let (_, page) = world.get(&admin(), "/v2/team/list?team_alias=%25").await;
    assert_eq!(page["total"], 1, "a percent sign is no pattern");
    world
        .done("/team/delete", json!({"team_ids": [hostile]}))
        .await;
}
