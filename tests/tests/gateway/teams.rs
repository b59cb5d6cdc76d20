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
    let spend = json!({"organization_id": "acme", "spend": 2.5});
    org.patch("/organization/update", &spend).await.error(403);
    let set = stage.client.patch("/organization/update", &spend).await;
    assert_eq!(set.ok()["spend"], 2.5);
    let patch = org.request(Method::PATCH, "/organization/update").await;
    assert_eq!(patch.status, 422, "{}", patch.text());
    let delete = org.request(Method::DELETE, "/organization/delete").await;
    assert_eq!(delete.status, 401, "{}", delete.text());
}

/// What LiteLLM has by default: members look at the team's keys, its admins and those who are permitted make and change them.
#[tokio::test]
async fn members_make_keys_of_their_team_once_they_are_permitted_to() {
    let stage = Stage::plain().await;
    let admin = &stage.client;
    let team = json!({
        "team_id": "red", "members_with_roles": [{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}],
    });
    admin.post("/team/new", &team).await.ok();
    let of = async |body: Value| holder(&stage, &admin.post("/key/generate", &body).await.ok());
    let ann = of(json!({"user_id": "ann"})).await;
    let bob = of(json!({"user_id": "bob", "team_id": "red"})).await;
    let eve = of(json!({"user_id": "eve"})).await;
    let body = json!({"team_id": "red"});
    let stranger = eve.post("/key/generate", &body).await.error(400);
    assert_eq!(said(&stranger), "User=eve not assigned to team=red");
    // Not even what the key is of by itself, nor a change of the own key.
    for body in [&body, &json!({})] {
        let refused = bob.post("/key/generate", body).await.error(401);
        assert_eq!(refused["type"], "team_member_permission_error");
    }
    let own = bob.get("/key/info").await.ok()["key"].clone();
    let change = json!({"key": own, "key_alias": "bobs"});
    let refused = bob.post("/key/update", &change).await.error(401);
    assert!(said(&refused).contains("/key/update"), "{refused}");
    ann.post("/key/generate", &body).await.ok();
    let may =
        json!({"team_id": "red", "team_member_permissions": ["/key/generate", "/key/update"]});
    ann.post("/team/permissions_update", &may).await.ok();
    let made = bob.post("/key/generate", &json!({})).await.ok();
    assert_eq!(
        (&made["team_id"], &made["user_id"]),
        (&json!("red"), &json!("bob"))
    );
    bob.post("/key/update", &change).await.ok();
}

#[tokio::test]
async fn keys_of_a_team_are_blocked_by_its_admins_and_by_whom_it_permits() {
    let stage = Stage::plain().await;
    let admin = &stage.client;
    let team = json!({
        "team_id": "red", "members_with_roles": [{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}],
    });
    admin.post("/team/new", &team).await.ok();
    let made = async |body: Value| admin.post("/key/generate", &body).await.ok();
    let ann = holder(&stage, &made(json!({"user_id": "ann"})).await);
    let bob = holder(&stage, &made(json!({"user_id": "bob"})).await);
    let teams = made(json!({"team_id": "red", "user_id": "bob"})).await;
    let with_it = holder(&stage, &teams);
    let personal = made(json!({"user_id": "bob"})).await;
    let named = json!({"key": teams["token"]});
    ann.post("/key/block", &named).await.ok();
    with_it.chat(&chat("gpt-4o")).await.error(401);
    // Whoever it was made for does not let it in again, nor learns anything of one that is not there.
    for key in [&teams["token"], &personal["token"], &json!("0".repeat(64))] {
        let body = json!({ "key": key });
        bob.post("/key/unblock", &body).await.error(401);
    }
    let may = json!({"team_id": "red", "team_member_permissions": ["/key/unblock"]});
    ann.post("/team/permissions_update", &may).await.ok();
    bob.post("/key/block", &named).await.error(401);
    bob.post("/key/unblock", &named).await.ok();
    with_it.chat(&chat("gpt-4o")).await.ok();
    let own = json!({"key": personal["token"]});
    ann.post("/key/block", &own).await.error(401);
}

#[tokio::test]
async fn keys_of_ones_teams_and_of_ones_making_are_listed_when_they_are_asked_for() {
    let stage = Stage::plain().await;
    let admin = &stage.client;
    let members =
        |name: &str| json!([{"user_id": "ann", "role": name}, {"user_id": "bob", "role": "user"}]);
    for (team, role) in [("red", "admin"), ("blue", "user")] {
        let team = json!({"team_id": team, "members_with_roles": members(role)});
        admin.post("/team/new", &team).await.ok();
    }
    let made = async |client: &Client, body: Value| {
        let made = client.post("/key/generate", &body).await.ok();
        made["token"].as_str().unwrap().to_owned()
    };
    let ann = admin
        .post("/key/generate", &json!({"user_id": "ann"}))
        .await
        .ok();
    let (own, ann) = (
        ann["token"].as_str().unwrap().to_owned(),
        holder(&stage, &ann),
    );
    let red = made(admin, json!({"team_id": "red", "user_id": "bob"})).await;
    made(admin, json!({"team_id": "blue", "user_id": "bob"})).await;
    let by_ann = made(&ann, json!({"team_id": "red", "user_id": "bob"})).await;
    let listed = async |client: &Client, query: &str| {
        let answer = client.get(&format!("/key/list?{query}")).await.ok();
        let keys = answer["keys"].as_array().unwrap().clone();
        assert_eq!(answer["total_count"], keys.len(), "{answer}");
        let mut keys: Vec<String> = keys
            .iter()
            .map(|k| k.as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    };
    let sorted = |mut keys: Vec<&String>| {
        keys.sort();
        keys.into_iter().cloned().collect::<Vec<_>>()
    };
    assert_eq!(listed(&ann, "").await, std::slice::from_ref(&own));
    assert_eq!(
        listed(&ann, "include_created_by_keys=true").await,
        sorted(vec![&own, &by_ann])
    );
    let all = sorted(vec![&own, &red, &by_ann]);
    assert_eq!(listed(&ann, "include_team_keys=true").await, all);
    assert_eq!(
        listed(admin, "user_id=ann&include_team_keys=true").await,
        all
    );
    assert_eq!(listed(admin, "include_team_keys=true").await.len(), 4);
    let refused = ann.get("/key/list?size=101").await;
    assert_eq!(
        (refused.status, &refused.json()["detail"][0]["type"]),
        (422, &json!("less_than_equal"))
    );
}

#[tokio::test]
async fn what_a_user_is_made_with_is_their_keys_and_no_change_of_the_user_seems_to_reach_it() {
    let stage = Stage::plain().await;
    let admin = &stage.client;
    admin
        .post("/team/new", &json!({"team_id": "red"}))
        .await
        .ok();
    let made = admin
        .post(
            "/user/new",
            &json!({"user_id": "ann", "team_id": "red", "tags": ["t"]}),
        )
        .await
        .ok();
    assert_eq!(
        (&made["team_id"], &made["teams"]),
        (&json!("red"), &json!(["red"]))
    );
    assert_eq!(
        (&made["tags"], &made["guardrails"]),
        (&json!(["t"]), &Value::Null)
    );
    let team = admin.get("/team/info?team_id=red").await.ok();
    assert_eq!(team["team_info"]["members_with_roles"][0]["user_id"], "ann");
    for (name, value) in [
        ("blocked", json!(true)),
        ("duration", json!("1s")),
        ("team_id", json!("blue")),
    ] {
        let refused = admin
            .post("/user/update", &json!({"user_id": "ann", name: value}))
            .await
            .error(400);
        assert_eq!(refused["param"], name);
    }
    admin
        .post("/user/update", &json!({"user_id": "ann", "blocked": false}))
        .await
        .ok();
    // Limits that nobody would hold are refused, not forgotten.
    for name in [
        "tag_rpm_limit",
        "end_user_budget_id",
        "project_id",
        "policies",
    ] {
        let refused = admin
            .post("/key/generate", &json!({name: ["x"]}))
            .await
            .error(400);
        assert_eq!(refused["param"], name);
    }
    let many: Vec<String> = (0..1001).map(|n| format!("{n:064}")).collect();
    let refused = admin
        .post("/key/delete", &json!({"keys": many}))
        .await
        .error(400);
    assert!(said(&refused).contains("at most 1000"), "{refused}");
}
