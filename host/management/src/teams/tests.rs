//! Teams over a database in memory: what they are made of, and who may do what.

mod addresses;
mod rights;
mod wrong;

use serde_json::{Value, json};
use witgate_store::{Filter, Row};
use witgate_testkit::PostgresServer;

use crate::Changed;
use crate::testing::{World, admin, user, world, world_in};

async fn rows(world: &World, table: &'static str, column: &'static str, value: &str) -> Vec<Row> {
    let filter = Filter::by(column, value);
    world.plane.store.rows(table, &filter.into()).await.unwrap()
}

async fn teams_of(world: &World, name: &str) -> Value {
    let rows = rows(world, "LiteLLM_UserTable", "user_id", name).await;
    rows.first().map_or(Value::Null, |row| row["teams"].clone())
}

/// The four places that say who is in a team agree.
async fn in_step(world: &World, team: &str, admins: &[&str], members: &[&str]) {
    let row = world.plane.known_team(team).await.unwrap();
    for (list, expected) in [("admins", admins), ("members", members)] {
        let mut listed: Vec<&str> = row[list]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_str().unwrap())
            .collect();
        let mut expected = expected.to_vec();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected, "{list}");
    }
    let mut everybody: Vec<&str> = admins.iter().chain(members).copied().collect();
    everybody.sort_unstable();
    let listed = row["members_with_roles"].as_array().unwrap();
    let mut ids: Vec<&str> = listed
        .iter()
        .map(|m| m["user_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, everybody);
    let seats = rows(world, "LiteLLM_TeamMembership", "team_id", team).await;
    let mut seats: Vec<&str> = seats
        .iter()
        .map(|row| row["user_id"].as_str().unwrap())
        .collect();
    seats.sort_unstable();
    assert_eq!(seats, everybody);
    let users = world
        .plane
        .store
        .rows("LiteLLM_UserTable", &Default::default())
        .await
        .unwrap();
    for row in users {
        let id = row["user_id"].as_str().unwrap();
        let listed = row["teams"].as_array().unwrap().contains(&json!(team));
        assert_eq!(listed, everybody.contains(&id), "{id}");
    }
}

#[tokio::test]
async fn a_team_is_made_told_of_changed_blocked_and_deleted() {
    let config = json!({"litellm_settings": {"store_audit_logs": true}});
    a_team_is_made_told_of_changed_blocked_and_deleted_in(&world(config.clone()).await).await;
    let server = PostgresServer::start().await;
    a_team_is_made_told_of_changed_blocked_and_deleted_in(&world_in(&server.url(), config).await)
        .await;
}

async fn a_team_is_made_told_of_changed_blocked_and_deleted_in(world: &World) {
    let made = world
        .done("/team/new", json!({
            "team_id": "red", "team_alias": "Red", "models": ["gpt"], "max_budget": 100, "budget_duration": "30d",
            "members_with_roles": [{"user_id": "ann", "role": "admin"}, {"user_email": "Bob@x.org", "role": "user"}],
            "members": ["cem"], "tags": ["t"], "metadata": {"a": 1}, "model_aliases": {"fast": "gpt"},
            "team_member_budget": 7, "team_member_rpm_limit": 3, "object_permission": {"agents": ["one"], "models": []},
        }))
        .await;
    assert_eq!(made["budget_reset_at"], "2026-02-01T00:00:00.000Z");
    assert_eq!(
        made["litellm_model_table"]["aliases"],
        json!({"fast": "gpt"})
    );
    assert_eq!(made["object_permission"]["agents"], json!(["one"]));
    let budget = made["metadata"]["team_member_budget_id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        made["metadata"],
        json!({"a": 1, "tags": ["t"], "team_member_budget_id": budget})
    );
    let bob = made["members_with_roles"][1]["user_id"]
        .as_str()
        .unwrap()
        .to_owned();
    in_step(world, "red", &["ann"], &[&bob, "cem"]).await;
    assert!(world.heard.0.lock().contains(&Changed::Shared));
    let (status, info) = world.get(&admin(), "/team/info?team_id=red").await;
    assert_eq!(status, 200, "{info}");
    let table = &info["team_info"]["team_member_budget_table"];
    assert_eq!(
        (&table["max_budget"], &table["rpm_limit"]),
        (&json!(7.0), &json!(3))
    );
    assert_eq!(table["budget_reset_at"], "2026-02-01T00:00:00.000Z");
    assert_eq!(
        info["team_memberships"][0]["litellm_budget_table"]["max_budget"],
        7.0
    );
    let changed = world
        .done("/team/update", json!({
            "team_id": "red", "max_budget": null, "metadata": {"b": 2}, "team_member_budget": 8, "model_aliases": {"slow": "gpt"},
            "soft_budget": 50, "team_member_permissions": ["/key/generate"], "budget_duration": null,
        }))
        .await;
    assert_eq!(changed["team_id"], "red");
    let changed = &changed["data"];
    assert_eq!(
        (&changed["max_budget"], &changed["budget_reset_at"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(changed["team_alias"], "Red", "what is not said stays");
    assert_eq!(
        changed["metadata"],
        json!({"b": 2, "team_member_budget_id": budget})
    );
    assert_eq!(
        changed["litellm_model_table"]["aliases"],
        json!({"slow": "gpt"})
    );
    let row = rows(world, "LiteLLM_BudgetTable", "budget_id", &budget)
        .await
        .remove(0);
    assert_eq!(
        (&row["max_budget"], &row["rpm_limit"]),
        (&json!(8.0), &json!(3))
    );
    let (_, permissions) = world
        .get(&admin(), "/team/permissions_list?team_id=red")
        .await;
    assert_eq!(
        permissions["team_member_permissions"],
        json!(["/key/generate"])
    );
    assert_eq!(
        permissions["all_available_permissions"]
            .as_array()
            .unwrap()
            .len(),
        11
    );
    assert_eq!(
        world.done("/team/block", json!({"team_id": "red"})).await["blocked"],
        true
    );
    assert_eq!(
        world.done("/team/unblock", json!({"team_id": "red"})).await["blocked"],
        false
    );
    let more = world
        .done(
            "/team/model/add",
            json!({"team_id": "red", "models": ["gpt", "o3"]}),
        )
        .await;
    assert_eq!(more["models"], json!(["gpt", "o3"]));
    let less = world
        .done(
            "/team/model/delete",
            json!({"team_id": "red", "models": ["gpt"]}),
        )
        .await;
    assert_eq!(less["models"], json!(["o3"]));
    world
        .done(
            "/key/generate",
            json!({"team_id": "red", "key_alias": "of-red"}),
        )
        .await;
    let (_, listed) = world.get(&admin(), "/team/list?user_id=cem").await;
    assert_eq!(
        (
            &listed[0]["team_id"],
            listed[0]["keys"].as_array().unwrap().len()
        ),
        (&json!("red"), 1)
    );
    let (_, page) = world
        .get(&admin(), "/v2/team/list?team_alias=RE&page_size=1")
        .await;
    assert_eq!(
        (&page["total"], &page["teams"][0]["team_id"]),
        (&json!(1), &json!("red"))
    );
    let deleted = world
        .done("/team/delete", json!({"team_ids": ["red"]}))
        .await;
    assert_eq!(deleted, json!({"deleted_teams": ["red"]}));
    assert_eq!(world.get(&admin(), "/team/info?team_id=red").await.0, 404);
    assert_eq!(teams_of(world, "ann").await, json!([]));
    for table in [
        "LiteLLM_TeamMembership",
        "LiteLLM_VerificationToken",
        "LiteLLM_ModelTable",
    ] {
        let left = world
            .plane
            .store
            .count(table, &Filter::all())
            .await
            .unwrap();
        assert_eq!(left, 0, "{table}");
    }
    let copies = rows(world, "LiteLLM_DeletedTeamTable", "team_id", "red").await;
    assert_eq!(
        (copies.len(), &copies[0]["deleted_by"]),
        (1, &json!("default_user_id"))
    );
    let log = rows(world, "LiteLLM_AuditLog", "object_id", "red").await;
    let mut actions: Vec<&str> = log
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    actions.dedup();
    actions.sort_unstable();
    actions.dedup();
    assert_eq!(actions, ["blocked", "created", "deleted", "updated"]);
}

#[tokio::test]
async fn members_come_change_and_go() {
    let config = json!({});
    members_come_change_and_go_in(&world(config.clone()).await).await;
    let server = PostgresServer::start().await;
    members_come_change_and_go_in(&world_in(&server.url(), config).await).await;
}

async fn members_come_change_and_go_in(world: &World) {
    world.done("/team/new", json!({"team_id": "red", "max_budget": 10, "team_member_budget": 5, "team_member_rpm_limit": 9})).await;
    in_step(world, "red", &[], &[]).await;
    let added = world
        .done("/team/member_add", json!({
            "team_id": "red", "member": [{"user_id": "ann", "role": "admin"}, {"user_email": "bob@x.org"}, {"user_email": "BOB@x.org"}],
        }))
        .await;
    let bob = added["members"][0].as_str().unwrap().to_owned();
    assert_eq!(added["updated_users"].as_array().unwrap().len(), 2);
    assert_eq!(
        added["updated_team_memberships"][0]["litellm_budget_table"]["max_budget"],
        5.0
    );
    in_step(world, "red", &["ann"], &[&bob]).await;
    let body = json!({"team_id": "red", "member": {"user_id": "cem", "role": "user"}, "max_budget_in_team": 2});
    world.done("/team/member_add", body.clone()).await;
    let (status, again) = world.post(&admin(), "/team/member_add", body).await;
    assert_eq!(
        (status, &again["error"]["type"]),
        (400, &json!("team_member_already_in_team"))
    );
    // Their own budget begins with what the team gives every member.
    let change =
        json!({"team_id": "red", "user_email": "bob@X.org", "role": "admin", "tpm_limit": 4});
    let changed = world.done("/team/member_update", change).await;
    assert_eq!(changed["user_id"], bob);
    assert_eq!(
        (
            &changed["tpm_limit"],
            &changed["rpm_limit"],
            &changed["max_budget_in_team"]
        ),
        (&json!(4), &json!(9), &json!(5.0))
    );
    in_step(world, "red", &["ann", &bob], &["cem"]).await;
    let seat = rows(world, "LiteLLM_TeamMembership", "user_id", "ann")
        .await
        .remove(0);
    let of_team = world.plane.known_team("red").await.unwrap();
    assert_eq!(
        seat["budget_id"], of_team["metadata"]["team_member_budget_id"],
        "others keep the team's"
    );
    let own = rows(world, "LiteLLM_TeamMembership", "user_id", "cem")
        .await
        .remove(0)["budget_id"]
        .clone();
    world
        .done(
            "/team/member_update",
            json!({"team_id": "red", "user_id": "cem", "max_budget_in_team": 3}),
        )
        .await;
    let after = rows(world, "LiteLLM_TeamMembership", "user_id", "cem")
        .await
        .remove(0);
    assert_eq!(
        after["budget_id"], own,
        "an own budget changes in its place"
    );
    world
        .done("/key/generate", json!({"team_id": "red", "user_id": "cem"}))
        .await;
    world
        .done("/key/generate", json!({"team_id": "red", "user_id": "ann"}))
        .await;
    world
        .done(
            "/team/member_delete",
            json!({"team_id": "red", "user_id": "cem"}),
        )
        .await;
    in_step(world, "red", &["ann", &bob], &[]).await;
    assert!(
        rows(world, "LiteLLM_VerificationToken", "user_id", "cem")
            .await
            .is_empty()
    );
    assert_eq!(
        rows(world, "LiteLLM_VerificationToken", "user_id", "ann")
            .await
            .len(),
        1
    );
    world.done("/team/new", json!({"team_id": "blue"})).await;
    let bulk = world
        .done(
            "/team/bulk_member_add",
            json!({"team_id": "blue", "all_users": true}),
        )
        .await;
    assert_eq!(bulk["successful_additions"], 3);
    let bulk = json!({"team_id": "blue", "members": [{"user_id": "ann"}, {"user_id": "dan"}]});
    let bulk = world.done("/team/bulk_member_add", bulk).await;
    assert_eq!(
        (&bulk["successful_additions"], &bulk["failed_additions"]),
        (&json!(1), &json!(1))
    );
    in_step(
        world,
        "blue",
        &[],
        &[&bob, "ann", "cem", "dan"].map(|s: &str| s),
    )
    .await;
    assert_eq!(teams_of(world, "ann").await, json!(["red", "blue"]));
}

/// Two at once: no member is lost.
#[tokio::test]
async fn members_added_at_once_are_all_there() {
    let config = json!({});
    members_added_at_once_are_all_there_in(&world(config.clone()).await).await;
    let server = PostgresServer::start().await;
    members_added_at_once_are_all_there_in(&world_in(&server.url(), config).await).await;
}

async fn members_added_at_once_are_all_there_in(world: &World) {
    world.done("/team/new", json!({"team_id": "red"})).await;
    let add = |id: String| {
        let body = json!({"team_id": "red", "member": {"user_id": id, "role": "user"}});
        let world = &world;
        async move { world.done("/team/member_add", body).await }
    };
    futures_util::future::join_all((0..6).map(|at| add(format!("u{at}")))).await;
    let team = world.plane.known_team("red").await.unwrap();
    assert_eq!(team["members"].as_array().unwrap().len(), 6, "{team:?}");
}

#[tokio::test]
async fn log_sinks_of_a_team_and_their_credentials() {
    let config = json!({"store_audit_logs": true, "success_callback": ["langfuse"]});
    let world = world(json!({ "litellm_settings": config })).await;
    let logging = json!([{"callback_name": "s3"}]);
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "admins": ["ann"], "metadata": {"logging": logging}}),
        )
        .await;
    let (status, told) = world
        .post(
            &admin(),
            "/team/red/callback",
            json!({"callback_name": "s3"}),
        )
        .await;
    assert_eq!(status, 400, "no sink of the operator's: {told}");
    let sink = json!({"callback_name": "langfuse", "callback_type": "success", "callback_vars": {"langfuse_secret_key": "hunter2"}});
    world.done("/team/red/callback", sink.clone()).await;
    assert_eq!(
        world.post(&admin(), "/team/red/callback", sink).await.0,
        400
    );
    let (_, told) = world.get(&admin(), "/team/red/callback").await;
    assert_eq!(told["data"]["success_callbacks"], json!(["langfuse"]));
    assert_eq!(told["data"]["failure_callbacks"], json!([]));
    assert_eq!(
        told["data"]["callback_vars"]["langfuse_secret_key"],
        "hunter2"
    );
    let (status, info) = world.get(&user("ann"), "/team/info?team_id=red").await;
    assert_eq!(status, 200);
    assert!(!info.to_string().contains("hunter2"), "{info}");
    assert_eq!(world.get(&user("ann"), "/team/red/callback").await.0, 401);
    let log = world
        .plane
        .store
        .rows("LiteLLM_AuditLog", &Default::default())
        .await
        .unwrap();
    assert!(!json!(log).to_string().contains("hunter2"), "{log:?}");
    world.done("/team/red/disable_logging", json!({})).await;
    let (_, told) = world.get(&admin(), "/team/red/callback").await;
    assert_eq!(told["data"]["success_callbacks"], json!([]));
    let team = world.plane.known_team("red").await.unwrap();
    assert_eq!(team["metadata"].get("logging"), None);
}

#[tokio::test]
async fn a_members_key_lives_as_long_as_the_team_says() {
    let world = world(json!({})).await;
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "team_member_key_duration": "1d"}),
        )
        .await;
    let key = world.done("/key/generate", json!({"team_id": "red"})).await;
    assert_eq!(key["expires"], "2026-01-02T00:00:00.123Z");
    let key = world
        .done("/key/generate", json!({"team_id": "red", "duration": "1h"}))
        .await;
    assert_eq!(key["expires"], "2026-01-01T01:00:00.123Z");
}

#[tokio::test]
async fn teams_are_found_by_parts_of_their_names() {
    let world = world(json!({})).await;
    for (id, alias) in [("t-1", "Red ones"), ("t-2", "Blue"), ("x-3", "reds")] {
        world
            .done("/team/new", json!({"team_id": id, "team_alias": alias}))
            .await;
    }
    let found = async |query: &str| {
        let (status, found) = world
            .get(&admin(), &format!("/team/filter/ui?{query}"))
            .await;
        assert_eq!(status, 200, "{found}");
        let found = found.as_array().unwrap().iter();
        found
            .map(|team| team["team_id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(found("team_id=t-").await, ["t-2", "t-1"]);
    assert_eq!(found("team_alias=ed").await.len(), 2);
    assert_eq!(found("page_size=1&page=2").await.len(), 1);
    assert!(
        found("team_id=%25").await.is_empty(),
        "a sign of LIKE is a sign"
    );
    assert_eq!(world.get(&user("ann"), "/team/filter/ui").await.0, 401);
}
