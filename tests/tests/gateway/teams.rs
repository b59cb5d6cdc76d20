//! Users, teams and organizations through the HTTP API: made, in force for the next call, and gone.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Client, Stage, chat};

fn holder(stage: &Stage, made: &Value) -> Client {
    Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"))
}

fn said(error: &Value) -> &str {
    error["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_user_gets_a_key_and_looks_after_themself() {
    let stage = Stage::plain().await;
    let body =
        json!({"user_id": "ann", "user_email": "ann@x.org", "models": ["gpt-4o"], "max_budget": 5});
    let made = stage.client.post("/user/new", &body).await.ok();
    let ann = holder(&stage, &made);
    ann.chat(&chat("gpt-4o")).await.ok();
    let refused = ann.chat(&chat("gpt-3.5-turbo-instruct")).await.error(401);
    assert_eq!(refused["type"], "key_model_access_denied");
    let own = json!({"user_id": "ann", "user_alias": "Ann"});
    assert_eq!(
        ann.post("/user/update", &own).await.ok()["data"]["user_alias"],
        "Ann"
    );
    let more = json!({"user_id": "ann", "user_role": "proxy_admin"});
    ann.post("/user/update", &more).await.error(403);
    // Her password changes who knows it, not who has her key.
    let other = json!({"user_id": "ann", "password": "hunter2"});
    ann.post("/user/update", &other).await.error(403);
    stage.client.post("/user/update", &other).await.ok();
    let change = |present: &str| json!({"current_password": present, "new_password": "hunter3"});
    let path = "/user/password/change";
    let wrong = ann.post(path, &change("hunter4")).await.error(401);
    assert_eq!(wrong["param"], "current_password");
    ann.post(path, &change("hunter2")).await.ok();
    let sign_in = async |password: &str| {
        let body = json!({"username": "ann@x.org", "password": password});
        stage.client.post("/v2/login", &body).await.status
    };
    assert_eq!(
        (sign_in("hunter2").await, sign_in("hunter3").await),
        (401, 200)
    );
    ann.post("/user/new", &json!({})).await.error(401);
    let info = ann.get("/user/info").await.ok();
    assert_eq!(
        (&info["user_id"], info["keys"].as_array().map(Vec::len)),
        (&json!("ann"), Some(1))
    );
    assert!(info["user_info"].get("password").is_none(), "{info}");
    assert_eq!(
        stage.client.get("/user/list").await.ok()["users"][0]["key_count"],
        1
    );
    let gone = json!({"user_ids": ["ann"]});
    assert_eq!(stage.client.post("/user/delete", &gone).await.ok(), 1);
    let gone = ann.chat(&chat("gpt-4o")).await.error(401);
    assert_eq!(gone["type"], "token_not_found_in_db");
    assert!(
        !stage.gateway.printed("hunter2") && !stage.gateway.printed("hunter3"),
        "a password is in the log"
    );
}

#[tokio::test]
async fn a_team_bears_on_its_members_keys_from_one_call_to_the_next() {
    let stage = Stage::plain().await;
    let team = json!({
        "team_id": "red", "models": ["gpt-4o"], "model_aliases": {"ours": "gpt-4o"},
        "members_with_roles": [{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}],
    });
    stage.client.post("/team/new", &team).await.ok();
    let key = |user: &str| json!({"team_id": "red", "user_id": user});
    let made = stage.client.post("/key/generate", &key("ann")).await.ok();
    let ann = holder(&stage, &made);
    let made = stage.client.post("/key/generate", &key("bob")).await.ok();
    let bob = holder(&stage, &made);
    bob.chat(&chat("ours")).await.ok();
    let refused = bob.chat(&chat("gpt-3.5-turbo-instruct")).await.error(401);
    assert_eq!(refused["type"], "team_model_access_denied");
    // What changes is in force for the very next call.
    let named = json!({"team_id": "red"});
    stage.client.post("/team/block", &named).await.ok();
    let blocked = bob.chat(&chat("gpt-4o")).await.error(401);
    assert!(said(&blocked).contains("Team=red is blocked"), "{blocked}");
    stage.client.post("/team/unblock", &named).await.ok();
    let wider = json!({"team_id": "red", "models": ["gpt-4o", "gpt-3.5-turbo-instruct"]});
    ann.post("/team/update", &wider).await.error(403);
    let mut body = json!({"team_id": "red", "user_id": "bob"});
    bob.post("/team/member_delete", &body).await;
    bob.chat(&chat("gpt-4o")).await.ok();
    ann.post("/team/member_delete", &body).await.ok();
    let gone = bob.chat(&chat("gpt-4o")).await.error(401);
    assert_eq!(gone["type"], "token_not_found_in_db");
    let teams = ann.get("/team/list?user_id=ann").await.ok();
    assert_eq!(
        teams[0]["members_with_roles"].as_array().map(Vec::len),
        Some(1)
    );
    body = json!({"team_ids": ["red"]});
    ann.post("/team/delete", &body).await;
    ann.chat(&chat("gpt-4o")).await.ok();
    stage.client.post("/team/delete", &body).await.ok();
    ann.chat(&chat("gpt-4o")).await.error(401);
    assert_eq!(stage.client.get("/team/info?team_id=red").await.status, 404);
}

#[tokio::test]
async fn an_organizations_admin_makes_teams_within_it() {
    let stage = Stage::plain().await;
    let body = json!({"organization_id": "acme", "organization_alias": "Acme", "models": ["gpt-4o"], "max_budget": 10});
    stage.client.post("/organization/new", &body).await.ok();
    let member =
        json!({"organization_id": "acme", "member": {"user_id": "org", "role": "org_admin"}});
    stage
        .client
        .post("/organization/member_add", &member)
        .await
        .ok();
    let made = stage
        .client
        .post("/key/generate", &json!({"user_id": "org"}))
        .await
        .ok();
    let org = holder(&stage, &made);
    let team = |more: f64| json!({"team_id": "red", "organization_id": "acme", "max_budget": more});
    org.post("/team/new", &team(11.0)).await.error(400);
    org.post("/team/new", &team(10.0)).await.ok();
    let listed = org.get("/organization/list").await.ok();
    assert_eq!(listed[0]["teams"][0]["team_id"], "red");
    let patch = org.request(Method::PATCH, "/organization/update").await;
    assert_eq!(patch.status, 422, "{}", patch.text());
    let delete = org.request(Method::DELETE, "/organization/delete").await;
    assert_eq!(delete.status, 401, "{}", delete.text());
}
