//! Requests about tags.

use serde_json::{Value, json};
use witgate_identity::{KeyHash, Principal, Role};
use witgate_store::Write;

use crate::Changed;
use crate::testing::{HOSTILE, World, admin, user, world};

async fn deployment(world: &World, id: &str) {
    let row = json!({
        "model_id": id, "model_name": "gpt", "litellm_params": {"model": "x", "tags": ["old"]}, "created_by": "t", "updated_by": "t",
    });
    let step = Write::Insert("LiteLLM_ProxyModelTable", row.as_object().cloned().unwrap());
    let now = "2025-01-01T00:00:00Z".parse().unwrap();
    world.plane.store.write(vec![step], now).await.unwrap();
}

async fn tags_of(world: &World, id: &str) -> Value {
    let row = world
        .plane
        .store
        .row("LiteLLM_ProxyModelTable", "model_id", id)
        .await;
    row.unwrap().unwrap()["litellm_params"]["tags"].clone()
}

#[tokio::test]
async fn a_tag_is_made_shown_changed_and_deleted() {
    let world = world(json!({"litellm_settings": {"store_audit_logs": true}})).await;
    deployment(&world, "d1").await;
    deployment(&world, "d2").await;
    let made = world
        .done("/tag/new", json!({"name": "prod", "description": "p", "models": ["d1"], "max_budget": 5, "budget_duration": "30d"}))
        .await;
    assert_eq!(made["message"], "Tag prod created successfully");
    let tag = &made["tag"];
    assert_eq!(
        (&tag["name"], &tag["model_info"]),
        (&json!("prod"), &json!({"d1": "gpt"}))
    );
    assert_eq!(
        tag["litellm_budget_table"]["budget_reset_at"],
        "2026-02-01T00:00:00.000Z"
    );
    assert_eq!(tags_of(&world, "d1").await, json!(["old", "prod"]));
    assert_eq!(
        *world.heard.0.lock(),
        [Changed::Tag("prod".to_owned()), Changed::Models]
    );
    let scope = world.plane.tags().await.unwrap()["prod"].clone();
    assert_eq!(
        scope.budget.clone().unwrap().max,
        Some("5".parse().unwrap())
    );

    let changed = world
        .done(
            "/tag/update",
            json!({"name": "prod", "models": ["d2"], "max_budget": 6}),
        )
        .await;
    assert_eq!(changed["tag"]["litellm_budget_table"]["max_budget"], 6.0);
    assert_eq!(changed["tag"]["description"], "p");
    assert_eq!(
        (tags_of(&world, "d1").await, tags_of(&world, "d2").await),
        (json!(["old"]), json!(["old", "prod"]))
    );
    let info = world.done("/tag/info", json!({"names": ["prod"]})).await;
    assert_eq!(info["prod"]["models"], json!(["d2"]));
    assert_eq!(
        world.done("/tag/delete", json!({"name": "prod"})).await["message"],
        "Tag prod deleted successfully"
    );
    assert_eq!(tags_of(&world, "d2").await, json!(["old"]));
    for path in ["/tag/delete", "/tag/update"] {
        let (status, answer) = world.post(&admin(), path, json!({"name": "prod"})).await;
        assert_eq!(
            (status, answer),
            (404, json!({"detail": "Tag prod not found"}))
        );
    }
    let log = world
        .plane
        .store
        .count("LiteLLM_AuditLog", &witgate_store::Filter::all())
        .await;
    assert_eq!(log.unwrap(), 3);
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let world = world(json!({})).await;
    world.done("/tag/new", json!({"name": "t"})).await;
    for (path, body, status, says) in [
        (
            "/tag/new",
            json!({"name": "t"}),
            400,
            "Tag t already exists",
        ),
        ("/tag/new", json!({}), 422, "Field required"),
        ("/tag/new", json!({"name": ""}), 400, "not empty"),
        (
            "/tag/new",
            json!({"name": "a\u{0}"}),
            422,
            "no NUL character",
        ),
        (
            "/tag/new",
            json!({"name": "u", "models": ["none"]}),
            404,
            "Model none not found",
        ),
        (
            "/tag/new",
            json!({"name": "u", "models": "none"}),
            422,
            "valid list",
        ),
        (
            "/tag/new",
            json!({"name": "u", "budget_id": "none"}),
            400,
            "make it by /budget/new first",
        ),
        (
            "/tag/new",
            json!({"name": "u", "budget_id": "b", "max_budget": 1}),
            400,
            "not both",
        ),
        (
            "/tag/info",
            json!({"names": ["t", "u"]}),
            404,
            "Tags not found: [\\\"u\\\"]",
        ),
    ] {
        let (got, answer) = world.post(&admin(), path, body.clone()).await;
        assert_eq!(got, status, "{path} {body} {answer}");
        assert!(answer.to_string().contains(says), "{path} {answer}");
    }
    let (_, list) = world.get(&admin(), "/tag/list").await;
    assert_eq!(
        list.as_array().unwrap().len(),
        1,
        "nothing refused is there"
    );
    world
        .done("/tag/new", json!({"name": HOSTILE, "description": HOSTILE}))
        .await;
    let info = world.done("/tag/info", json!({"names": [HOSTILE]})).await;
    assert_eq!(info[HOSTILE]["description"], HOSTILE);
    world.done("/tag/delete", json!({"name": HOSTILE})).await;
}

#[tokio::test]
async fn everybody_lists_the_tags_of_their_own_requests() {
    let world = world(json!({})).await;
    world.done("/tag/new", json!({"name": "mine"})).await;
    world.done("/tag/new", json!({"name": "unused"})).await;
    let own = KeyHash::of("sk-own");
    let days = [
        ("mine", own.as_str()),
        ("dynamic", own.as_str()),
        ("foreign", "other"),
    ];
    let steps = days.map(|(tag, key)| {
        let row = json!({"tag": tag, "api_key": key, "date": "2026-01-01"});
        Write::Insert("LiteLLM_DailyTagSpend", row.as_object().cloned().unwrap())
    });
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    world.plane.store.write(steps.to_vec(), now).await.unwrap();
    let names = async |caller: &Principal| {
        let (_, list) = world.get(caller, "/tag/list").await;
        let mut names: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag["name"].as_str().unwrap().to_owned())
            .collect();
        names.sort_unstable();
        names
    };
    let ann = Principal {
        key_hash: Some(own),
        ..user("ann")
    };
    assert_eq!(names(&ann).await, ["dynamic", "mine"]);
    assert_eq!(names(&user("bob")).await, [""; 0]);
    assert_eq!(
        names(&admin()).await,
        ["dynamic", "foreign", "mine", "unused"]
    );
    let viewer = Principal {
        role: Some(Role::ProxyAdminViewer),
        ..user("eve")
    };
    assert_eq!(
        world
            .post(&viewer, "/tag/info", json!({"names": ["mine"]}))
            .await
            .0,
        200
    );
    for caller in [viewer, ann] {
        for path in ["/tag/new", "/tag/update", "/tag/delete"] {
            assert_eq!(
                world.post(&caller, path, json!({"name": "x"})).await.0,
                401,
                "{path}"
            );
        }
    }
}
