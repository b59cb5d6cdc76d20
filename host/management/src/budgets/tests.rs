//! Requests about budgets.

use serde_json::{Value, json};
use witgate_identity::{Principal, Role};
use witgate_store::Select;

use crate::Changed;
use crate::testing::{HOSTILE, admin, user, world};

#[tokio::test]
async fn a_budget_is_made_shown_changed_and_deleted() {
    let world = world(json!({"litellm_settings": {"store_audit_logs": true}})).await;
    let made = world
        .done("/budget/new", json!({"budget_id": "free", "max_budget": 5, "budget_duration": "7d", "rpm_limit": 3, "x": 1}))
        .await;
    assert_eq!(
        (&made["max_budget"], &made["rpm_limit"], &made["created_by"]),
        (&json!(5.0), &json!(3), &json!("default_user_id"))
    );
    // A Thursday: the week begins on Monday.
    assert_eq!(made["budget_reset_at"], "2026-01-05T00:00:00.000Z");
    assert_eq!(*world.heard.0.lock(), [Changed::Shared]);
    let unnamed = world.done("/budget/new", json!({"soft_budget": 1})).await;
    assert_eq!(unnamed["budget_id"].as_str().unwrap().len(), 36);
    let changed = world
        .done(
            "/budget/update",
            json!({"budget_id": "free", "rpm_limit": null, "max_budget": 6.5}),
        )
        .await;
    assert_eq!(
        (
            &changed["max_budget"],
            &changed["rpm_limit"],
            &changed["budget_duration"]
        ),
        (&json!(6.5), &Value::Null, &json!("7d"))
    );
    let never = json!({"budget_id": "free", "budget_duration": null});
    let never = world.done("/budget/update", never).await;
    assert_eq!(never["budget_reset_at"], Value::Null);
    let info = world
        .done("/budget/info", json!({"budgets": ["free", "none"]}))
        .await;
    assert_eq!(info.as_array().unwrap().len(), 1);
    let (_, list) = world.get(&admin(), "/budget/list").await;
    assert_eq!(list.as_array().unwrap().len(), 2);
    let (_, settings) = world.get(&admin(), "/budget/settings?budget_id=free").await;
    assert_eq!(settings[4]["field_name"], "max_budget");
    assert_eq!(
        (&settings[4]["field_value"], &settings[4]["stored_in_db"]),
        (&json!(6.5), &json!(true))
    );
    assert_eq!(settings[0]["stored_in_db"], Value::Null);

    // A key with it has none after.
    let key = world
        .done("/key/generate", json!({"budget_id": "free"}))
        .await;
    let deleted = world.done("/budget/delete", json!({"id": "free"})).await;
    assert_eq!(deleted["budget_id"], "free");
    let path = format!("/key/info?key={}", key["token"].as_str().unwrap());
    assert_eq!(
        world.get(&admin(), &path).await.1["info"]["budget_id"],
        Value::Null
    );
    for (path, body) in [
        ("/budget/delete", json!({"id": "free"})),
        ("/budget/update", json!({"budget_id": "free"})),
    ] {
        let (status, answer) = world.post(&admin(), path, body).await;
        let told = "Budget not found, passed budget_id=free";
        assert_eq!((status, &answer["detail"]["error"]), (404, &json!(told)));
    }
    let log = Select::default();
    let log = world.plane.store.rows("LiteLLM_AuditLog", &log).await;
    // Two made, two changes, a key, one deleted.
    assert_eq!(log.unwrap().len(), 6);
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let world = world(json!({})).await;
    world.done("/budget/new", json!({"budget_id": "b"})).await;
    for (path, body, status, says) in [
        (
            "/budget/new",
            json!({"budget_id": "b"}),
            400,
            "Budget already exists, passed budget_id=b",
        ),
        (
            "/budget/new",
            json!({"max_budget": -1}),
            422,
            "greater than or equal to 0",
        ),
        (
            "/budget/new",
            json!({"budget_duration": "soon"}),
            422,
            "such as 30d",
        ),
        (
            "/budget/new",
            json!({"budget_id": "a\u{0}"}),
            422,
            "no NUL character",
        ),
        (
            "/budget/new",
            json!({"budget_id": "x".repeat(70_000)}),
            422,
            "at most 65536 characters",
        ),
        (
            "/budget/new",
            json!({"budget_reset_at": "x"}),
            422,
            "valid datetime",
        ),
        (
            "/budget/new",
            json!({"model_max_budget": {"m": 1}}),
            400,
            "model_max_budget",
        ),
        (
            "/budget/update",
            json!({"max_budget": 1}),
            400,
            "budget_id is required",
        ),
        (
            "/budget/info",
            json!({"budgets": []}),
            400,
            "Specify list of budget id's to query",
        ),
        (
            "/budget/info",
            json!({"budgets": "b"}),
            422,
            "valid list of strings",
        ),
        ("/budget/delete", json!({}), 422, "Field required"),
        (
            "/budget/delete",
            json!({"id": HOSTILE}),
            404,
            "Budget not found",
        ),
    ] {
        let (got, answer) = world.post(&admin(), path, body.clone()).await;
        assert_eq!(got, status, "{path} {body} {answer}");
        assert!(answer.to_string().contains(says), "{path} {answer}");
    }
    let hostile = world
        .done("/budget/new", json!({"budget_id": HOSTILE}))
        .await;
    assert_eq!(hostile["budget_id"], HOSTILE);
    assert_eq!(world.get(&admin(), "/budget/settings").await.0, 422);
}

#[tokio::test]
async fn administrators_write_and_viewers_look() {
    let world = world(json!({})).await;
    world.done("/budget/new", json!({"budget_id": "b"})).await;
    let viewer = Principal {
        role: Some(Role::ProxyAdminViewer),
        ..user("eve")
    };
    for (caller, reads) in [(viewer, 200), (user("ann"), 401)] {
        assert_eq!(world.get(&caller, "/budget/list").await.0, reads);
        assert_eq!(
            world.get(&caller, "/budget/settings?budget_id=b").await.0,
            reads
        );
        let info = json!({"budgets": ["b"]});
        assert_eq!(world.post(&caller, "/budget/info", info).await.0, reads);
        for path in ["/budget/new", "/budget/update", "/budget/delete"] {
            let body = json!({"budget_id": "b", "id": "b"});
            assert_eq!(world.post(&caller, path, body).await.0, 401, "{path}");
        }
    }
}
