//! Requests about end users.

use serde_json::{Value, json};
use witgate_identity::{Principal, Role, ScopeKind};

use crate::Changed;
use crate::testing::{HOSTILE, admin, user, world};

#[tokio::test]
async fn a_customer_is_made_shown_changed_blocked_and_deleted() {
    let config = json!({"litellm_settings": {"store_audit_logs": true}, "model_list": [{"model_name": "gpt"}]});
    let world = world(config).await;
    let made = world
        .done("/customer/new", json!({
            "user_id": "acme", "alias": "Acme", "max_budget": 5, "budget_duration": "1d", "default_model": "gpt",
            "allowed_model_region": "eu",
        }))
        .await;
    assert_eq!(
        (&made["alias"], &made["spend"], &made["blocked"]),
        (&json!("Acme"), &json!(0.0), &json!(false))
    );
    let budget = &made["litellm_budget_table"];
    assert_eq!(
        (&budget["max_budget"], &budget["budget_reset_at"]),
        (&json!(5.0), &json!("2026-01-02T00:00:00.000Z"))
    );
    assert_eq!(*world.heard.0.lock(), [Changed::EndUser("acme".to_owned())]);
    let (_, info) = world.get(&admin(), "/end_user/info?end_user_id=acme").await;
    assert_eq!(info, made);

    // Limits of its own change in place.
    let changed = world
        .done(
            "/customer/update",
            json!({"user_id": "acme", "max_budget": 6, "spend": 1.5}),
        )
        .await;
    assert_eq!(changed["budget_id"], made["budget_id"]);
    assert_eq!(changed["litellm_budget_table"]["max_budget"], 6.0);
    assert_eq!(changed["litellm_budget_table"]["budget_duration"], "1d");
    let spend = Changed::Spend {
        kind: ScopeKind::EndUser,
        id: "acme".to_owned(),
        spent: "1.5".parse().unwrap(),
    };
    assert_eq!(world.heard.0.lock().last(), Some(&spend));

    // Limits that others share do not.
    world
        .done(
            "/budget/new",
            json!({"budget_id": "shared", "max_budget": 1, "rpm_limit": 2}),
        )
        .await;
    for id in ["a", "b"] {
        world
            .done(
                "/customer/new",
                json!({"user_id": id, "budget_id": "shared"}),
            )
            .await;
    }
    let changed = world
        .done("/customer/update", json!({"user_id": "a", "max_budget": 9}))
        .await;
    assert_ne!(changed["budget_id"], "shared");
    let own = &changed["litellm_budget_table"];
    assert_eq!(
        (&own["max_budget"], &own["rpm_limit"]),
        (&json!(9.0), &json!(2))
    );
    let (_, other) = world.get(&admin(), "/customer/info?end_user_id=b").await;
    assert_eq!(other["litellm_budget_table"]["max_budget"], 1.0);

    let blocked = world
        .done("/customer/block", json!({"user_ids": ["acme", "new"]}))
        .await;
    let blocked = blocked["blocked_users"].as_array().unwrap();
    assert!(blocked.len() == 2 && blocked.iter().all(|row| row["blocked"] == true));
    let free = world
        .done("/customer/unblock", json!({"user_ids": ["acme"]}))
        .await;
    assert_eq!(free["blocked_users"][0]["blocked"], false);
    let (_, list) = world.get(&admin(), "/customer/list").await;
    assert_eq!(list.as_array().unwrap().len(), 4);
    let deleted = world
        .done("/customer/delete", json!({"user_ids": ["acme", "new"]}))
        .await;
    assert_eq!(deleted["deleted_customers"], 2);
    assert_eq!(
        deleted["message"],
        "Successfully deleted customers with ids: [\"acme\", \"new\"]"
    );
    let (status, gone) = world.get(&admin(), "/customer/info?end_user_id=acme").await;
    let error = &gone["error"];
    assert_eq!(
        (status, &error["type"], &error["param"]),
        (400, &json!("not_found"), &json!("end_user_id"))
    );
    assert_eq!(error["message"], "End User Id=acme does not exist in db");
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let world = world(json!({"general_settings": {"compat_errors": "latest"}})).await;
    world.done("/customer/new", json!({"user_id": "u"})).await;
    for (path, body, status, says) in [
        (
            "/customer/new",
            json!({"user_id": "u"}),
            400,
            "Customer already exists, passed user_id=u.",
        ),
        ("/customer/new", json!({}), 422, "Field required"),
        (
            "/customer/new",
            json!({"user_id": ""}),
            422,
            "Field required",
        ),
        ("/customer/new", json!({"user_id": 1}), 422, "valid string"),
        (
            "/customer/new",
            json!({"user_id": "v\u{0}"}),
            422,
            "no NUL character",
        ),
        (
            "/customer/new",
            json!({"user_id": "v", "max_budget": 1, "budget_id": "b"}),
            422,
            "Set either 'max_budget' or 'budget_id', not both.",
        ),
        (
            "/customer/new",
            json!({"user_id": "v", "budget_id": "none"}),
            400,
            "make it by /budget/new first",
        ),
        (
            "/customer/new",
            json!({"user_id": "v", "allowed_model_region": "mars"}),
            422,
            "'eu' or 'us'",
        ),
        (
            "/customer/new",
            json!({"user_id": "v", "default_model": "none"}),
            422,
            "Default Model not on proxy!",
        ),
        (
            "/customer/new",
            json!({"user_id": "v", "models": ["m"]}),
            400,
            "not enforced",
        ),
        (
            "/customer/new",
            json!({"user_id": "v", "max_budget": 1, "budget_reset_at": "soon"}),
            422,
            "budget_reset_at",
        ),
        (
            "/customer/update",
            json!({"user_id": "none"}),
            404,
            "End User Id=none does not exist in db",
        ),
        (
            "/customer/delete",
            json!({"user_ids": ["u", "none"]}),
            404,
            "End User Id(s)=[\\\"none\\\"] do not exist in db",
        ),
        (
            "/customer/delete",
            json!({"user_ids": []}),
            400,
            "at least one end user",
        ),
        (
            "/customer/block",
            json!({"user_ids": "u"}),
            422,
            "valid list",
        ),
        (
            "/customer/block",
            json!({"user_ids": vec!["x"; 1001]}),
            400,
            "at most 1000",
        ),
    ] {
        let (got, answer) = world.post(&admin(), path, body.clone()).await;
        assert_eq!(got, status, "{path} {body} {answer}");
        assert!(answer.to_string().contains(says), "{path} {answer}");
    }
    // Nothing of what was refused is there.
    let (_, list) = world.get(&admin(), "/customer/list").await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    let hostile = world
        .done(
            "/customer/new",
            json!({"user_id": HOSTILE, "alias": HOSTILE}),
        )
        .await;
    assert_eq!(hostile["alias"], HOSTILE);
    world
        .done("/customer/block", json!({"user_ids": [HOSTILE]}))
        .await;
    let deleted = world
        .done("/customer/delete", json!({"user_ids": [HOSTILE]}))
        .await;
    assert_eq!(deleted["deleted_customers"], 1);
}

#[tokio::test]
async fn administrators_write_and_viewers_look() {
    let world = world(json!({})).await;
    let viewer = Principal {
        role: Some(Role::ProxyAdminViewer),
        ..user("eve")
    };
    for (caller, reads) in [(viewer, 200), (user("ann"), 401)] {
        assert_eq!(world.get(&caller, "/customer/list").await.0, reads);
        for path in ["new", "update", "delete", "block", "unblock"] {
            let body = json!({"user_id": "v", "user_ids": ["v"]});
            let path = format!("/customer/{path}");
            assert_eq!(world.post(&caller, &path, body).await.0, 401, "{path}");
        }
    }
    assert_eq!(
        world.get(&admin(), "/customer/list").await.1,
        Value::Array(vec![])
    );
}

#[tokio::test]
async fn a_budget_begins_anew_when_it_is_told_to() {
    let world = world(json!({})).await;
    let made = world
        .done(
            "/customer/new",
            json!({"user_id": "acme", "max_budget": 5, "budget_duration": "1d", "budget_reset_at": "2026-02-01T00:00:00Z"}),
        )
        .await;
    let at = |shown: &Value| shown["litellm_budget_table"]["budget_reset_at"].clone();
    assert_eq!(at(&made), "2026-02-01T00:00:00.000Z");
    for (change, wanted) in [
        // Another limit leaves the time as it is.
        (json!({"max_budget": 6}), json!("2026-02-01T00:00:00.000Z")),
        (
            json!({"budget_reset_at": "2026-03-01T00:00:00Z"}),
            json!("2026-03-01T00:00:00.000Z"),
        ),
        // Another period begins now.
        (
            json!({"budget_duration": "1d"}),
            json!("2026-01-02T00:00:00.000Z"),
        ),
        (json!({"budget_reset_at": null}), Value::Null),
    ] {
        let mut body = change.clone();
        body["user_id"] = json!("acme");
        let changed = world.done("/customer/update", body).await;
        assert_eq!(at(&changed), wanted, "{change}");
        assert_eq!(changed["budget_id"], made["budget_id"]);
    }
}
