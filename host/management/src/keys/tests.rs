//! Requests about keys: who may do what, and what wrong requests are told.

mod bounds;
mod holders;

use serde_json::{Value, json};
use witgate_identity::{KeyHash, Limits, Principal, Role, Scope, ScopeKind};

use crate::testing::{MASTER, admin, user, world};
use crate::{KeyAction, KeyPolicy, KeyVerdict};

#[tokio::test]
async fn a_key_is_made_shown_changed_rotated_blocked_and_deleted() {
    let world = world(json!({"litellm_settings": {"store_audit_logs": true}})).await;
    let made = world
        .done("/key/generate", json!({
            "key_alias": "ci", "models": ["gpt"], "duration": "1h", "metadata": {"a": 1}, "max_budget": 10, "budget_duration": "30d",
            "rpm_limit": 5, "tags": ["t"], "soft_budget": 3, "model_max_budget": {"gpt": {"budget_limit": 1, "time_period": "1d"}},
        }))
        .await;
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 25);
    assert_eq!(made["token"], KeyHash::of(&key).as_str());
    assert_eq!(made["expires"], "2026-01-01T01:00:00.123Z");
    assert_eq!(made["budget_reset_at"], "2026-02-01T00:00:00.000Z");
    assert_eq!(made["created_by"], "default_user_id");
    assert_eq!(made["metadata"], json!({"a": 1, "tags": ["t"]}));
    assert_eq!(made["litellm_budget_table"]["soft_budget"], 3.0);
    let (status, info) = world.get(&admin(), &format!("/key/info?key={key}")).await;
    assert_eq!((status, &info["info"]["models"]), (200, &json!(["gpt"])));
    assert!(!info.to_string().contains(&key), "the key itself: {info}");
    let change =
        json!({"key": key, "models": [], "duration": "-1", "max_budget": null, "tags": null});
    let changed = world.done("/key/update", change).await;
    assert_eq!(
        (&changed["models"], &changed["expires"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(changed["max_budget"], Value::Null);
    assert_eq!(changed["rpm_limit"], 5, "what is not said stays");
    assert_eq!(changed["metadata"], json!({"a": 1}));
    let rotated = world
        .done(&format!("/key/{key}/regenerate"), json!({"rpm_limit": 6}))
        .await;
    let new = rotated["key"].as_str().unwrap().to_owned();
    assert_ne!(new, key);
    assert_eq!(
        (&rotated["rpm_limit"], &rotated["key_alias"]),
        (&json!(6), &json!("ci"))
    );
    assert_eq!(
        world.get(&admin(), &format!("/key/info?key={key}")).await.0,
        404
    );
    let blocked = world
        .done("/key/block", json!({"key": rotated["token"]}))
        .await;
    assert_eq!(blocked["blocked"], true);
    let deleted = world
        .done("/key/delete", json!({"key_aliases": ["ci"]}))
        .await;
    assert_eq!(deleted["deleted_keys"], json!(["ci"]));
    let (status, gone) = world.get(&admin(), &format!("/key/info?key={new}")).await;
    assert_eq!(
        (status, &gone["error"]["type"]),
        (404, &json!("not_found_error"))
    );
    let log = world
        .plane
        .store
        .rows("LiteLLM_AuditLog", &Default::default())
        .await
        .unwrap();
    let mut actions: Vec<&str> = log
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    actions.sort_unstable();
    assert_eq!(
        actions,
        ["blocked", "created", "deleted", "rotated", "updated"]
    );
    assert!(
        log.iter()
            .all(|row| !row["before_value"].to_string().contains(&new))
    );
    let kept = world
        .plane
        .store
        .rows("LiteLLM_DeletedVerificationToken", &Default::default())
        .await
        .unwrap();
    assert_eq!(kept.len(), 1);
}

/// Path, body, status and what the answer says.
#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let world = world(json!({"litellm_settings": {"upperbound_key_generate_params": {"max_budget": 100, "duration": "30d"}}})).await;
    world
        .done(
            "/key/generate",
            json!({"key": "sk-taken-1234567890", "key_alias": "taken"}),
        )
        .await;
    let generate = "/key/generate";
    let cases = [
        (
            generate,
            json!({"models": "gpt"}),
            422,
            "Input should be a valid list",
        ),
        (generate, json!({"duration": "soon"}), 400, "such as 30d"),
        (
            generate,
            json!({"auto_rotate": true}),
            400,
            "needs a rotation_interval",
        ),
        (
            generate,
            json!({"mcp_rpm_limit": {"search": 5}}),
            400,
            "not enforced by this release",
        ),
        (
            generate,
            json!({"key": "mine"}),
            400,
            "must start with 'sk-'",
        ),
        (
            generate,
            json!({"key": "sk-taken-1234567890"}),
            400,
            "already exists",
        ),
        (generate, json!({"key": MASTER}), 400, "already exists"),
        (
            generate,
            json!({"key_alias": "taken"}),
            400,
            "Unique key aliases",
        ),
        (
            generate,
            json!({"budget_id": "none"}),
            400,
            "budget_id does not exist",
        ),
        (
            generate,
            json!({"max_budget": -1}),
            422,
            "greater than or equal",
        ),
        (generate, json!({"max_budget": 101}), 400, "over max limit"),
        (generate, json!({"duration": "31d"}), 400, "over max limit"),
        (generate, json!({"key_type": "x"}), 400, "key_type"),
        (
            generate,
            json!({"allowed_routes": ["llm"]}),
            400,
            "neither a path",
        ),
        (
            generate,
            json!({"model_max_budget": {"gpt": 5}}),
            400,
            "model_max_budget.gpt",
        ),
        (generate, json!({"key_alias": "a\u{0}b"}), 422, "NUL"),
        ("/key/update", json!({"models": []}), 422, "Field required"),
        (
            "/key/update",
            json!({"key": "sk-unknown-1234567"}),
            404,
            "Key not found: sk-...4567",
        ),
        (
            "/key/regenerate",
            json!({"key": MASTER}),
            400,
            "changed in the configuration",
        ),
        (
            "/key/delete",
            json!({}),
            400,
            "Either `keys` or `key_aliases`",
        ),
        ("/key/delete", json!({"keys": "sk-1"}), 422, "valid list"),
    ];
    for (path, body, status, says) in cases {
        let (got, answer) = world.post(&admin(), path, body.clone()).await;
        assert_eq!(got, status, "{body} {answer}");
        assert!(answer.to_string().contains(says), "{body} {answer}");
    }
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let world = world(json!({})).await;
    let mut alice = Principal {
        models: vec!["gpt".to_owned()],
        allowed_routes: vec!["llm_api_routes".to_owned(), "management_routes".to_owned()],
        ..user("alice")
    };
    let mut scope = Scope::new(ScopeKind::Key, "hash");
    scope.limits = Limits {
        rpm: Some(10),
        ..Limits::default()
    };
    alice.scopes.push(scope);
    let (_, own) = world.post(&alice, "/key/generate", json!({})).await;
    assert_eq!(own["user_id"], "alice");
    assert_eq!(
        own["models"],
        json!(["gpt"]),
        "not said is what the caller has"
    );
    assert_eq!(own["rpm_limit"], 10);
    assert_eq!(
        own["allowed_routes"],
        json!(["llm_api_routes", "management_routes"])
    );
    let foreign = world.done("/key/generate", json!({"user_id": "bob"})).await["key"].clone();
    let (generate, update) = ("/key/generate", "/key/update");
    let mut cases = vec![
        (generate, json!({"models": ["claude"]}), 403),
        (generate, json!({"allowed_routes": ["/config/reload"]}), 403),
        (generate, json!({"rpm_limit": 11}), 403),
        (generate, json!({"user_id": "bob"}), 403),
        (generate, json!({"team_id": "t"}), 400),
        (update, json!({"key": own["key"], "models": []}), 200),
        (update, json!({"key": own["key"], "rpm_limit": null}), 200),
        (update, json!({"key": own["key"], "user_id": "bob"}), 403),
        (update, json!({"key": own["key"], "blocked": true}), 403),
        (update, json!({"key": foreign, "models": []}), 404),
        ("/key/delete", json!({"keys": [foreign]}), 404),
        ("/key/regenerate", json!({"key": foreign}), 404),
        ("/key/block", json!({"key": own["key"]}), 401),
    ];
    for field in [
        json!({"spend": 0}),
        json!({"permissions": {"get_spend_routes": true}}),
        json!({"budget_id": "b"}),
        json!({"organization_id": "o"}),
        json!({"temp_budget_increase": 5}),
        json!({"metadata": {"temp_budget_increase": 5}}),
        json!({"allowed_passthrough_routes": ["/x"]}),
    ] {
        cases.push((generate, field.clone(), 403));
        let mut change = field;
        change["key"] = own["key"].clone();
        cases.push((update, change, 403));
    }
    for (path, body, status) in cases {
        let (got, answer) = world.post(&alice, path, body.clone()).await;
        assert_eq!(got, status, "{path} {body} {answer}");
    }
    let token = own["token"].as_str().unwrap();
    let (_, own) = world.get(&alice, &format!("/key/info?key={token}")).await;
    assert_eq!(
        own["info"]["models"],
        json!(["gpt"]),
        "an empty list is no way out"
    );
    assert_eq!(own["info"]["rpm_limit"], 10, "nor is null");
    let (_, listed) = world.get(&alice, "/key/list").await;
    assert_eq!(listed["total_count"], 1);
    assert_eq!(world.get(&alice, "/key/list?user_id=bob").await.0, 403);
    let nobody = Principal {
        role: Some(Role::InternalUser),
        ..Principal::default()
    };
    assert_eq!(world.post(&nobody, generate, json!({})).await.0, 401);
    assert_eq!(world.get(&nobody, "/key/list").await.0, 401);
    let viewer = Principal {
        role: Some(Role::ProxyAdminViewer),
        ..user("eve")
    };
    assert_eq!(world.post(&viewer, generate, json!({})).await.0, 401);
    assert_eq!(world.get(&viewer, "/key/list").await.1["total_count"], 2);
}

/// A team's admin takes a proxy admin for a member, and is after a key that acts as them.
#[tokio::test]
async fn nobody_gets_a_key_that_acts_as_somebody_else() {
    let world = world(json!({})).await;
    world
        .done(
            "/user/new",
            json!({"user_id": "root", "user_role": "proxy_admin", "auto_create_key": false}),
        )
        .await;
    let members = json!([{"user_id": "ann", "role": "admin"}]);
    world
        .done(
            "/team/new",
            json!({"team_id": "t", "members_with_roles": members}),
        )
        .await;
    let ann = user("ann");
    let add = json!({"team_id": "t", "member": {"user_id": "root", "role": "user"}});
    let (status, answer) = world.post(&ann, "/team/member_add", add).await;
    assert_eq!(status, 200, "{answer}");
    let calls_only = json!(["llm_api_routes"]);
    let mut body = json!({"team_id": "t", "user_id": "root"});
    let (status, made) = world.post(&ann, "/key/generate", body.clone()).await;
    assert_eq!((status, &made["allowed_routes"]), (200, &calls_only));
    for routes in [
        json!(["management_routes"]),
        json!(["llm_api_routes", "/key"]),
    ] {
        body["allowed_routes"] = routes;
        let (status, answer) = world.post(&ann, "/key/generate", body.clone()).await;
        assert_eq!(
            (status, &answer["error"]["param"]),
            (403, &json!("allowed_routes"))
        );
    }
    let key = made["key"].as_str().unwrap();
    let (status, answer) = world
        .post(
            &ann,
            "/key/update",
            json!({"key": key, "allowed_routes": ["/user"]}),
        )
        .await;
    assert_eq!(status, 403, "{answer}");
    let (status, changed) = world
        .post(
            &ann,
            "/key/update",
            json!({"key": key, "allowed_routes": []}),
        )
        .await;
    assert_eq!((status, &changed["allowed_routes"]), (200, &calls_only));
    let (status, answer) = world
        .post(&ann, "/key/regenerate", json!({"key": key}))
        .await;
    assert_eq!(status, 200, "{answer}");
    // A key that the proxy admin has in the team is not to be had.
    let theirs = world
        .done("/key/generate", json!({"team_id": "t", "user_id": "root"}))
        .await;
    let rotate = json!({"key": theirs["token"]});
    let (status, answer) = world.post(&ann, "/key/regenerate", rotate).await;
    assert_eq!(status, 403, "{answer}");
    // Nor by cutting its routes down first: what comes out makes calls only.
    let cut = json!({"key": theirs["token"], "allowed_routes": ["llm_api_routes"]});
    assert_eq!(world.post(&ann, "/key/update", cut).await.0, 200);
    let rotate = json!({"key": theirs["token"]});
    let (status, rotated) = world.post(&ann, "/key/regenerate", rotate).await;
    assert_eq!((status, &rotated["allowed_routes"]), (200, &calls_only));
}

#[tokio::test]
async fn the_operator_fills_in_and_says_who_makes_keys() {
    let settings = json!({"litellm_settings": {
        "default_key_generate_params": {"max_budget": 7, "models": ["m"], "duration": "1d"},
        "key_generation_settings": {"personal_key_generation": {"allowed_user_roles": ["proxy_admin"], "required_params": ["tags"]}},
    }});
    let world = world(settings).await;
    let made = world
        .done("/key/generate", json!({"models": ["own"], "tags": ["t"]}))
        .await;
    assert_eq!(
        (&made["max_budget"], &made["models"]),
        (&json!(7.0), &json!(["own"]))
    );
    assert_eq!(made["expires"], "2026-01-02T00:00:00.123Z");
    let (status, answer) = world.post(&admin(), "/key/generate", json!({})).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("tags")));
    let (status, _) = world
        .post(&user("ann"), "/key/generate", json!({"tags": ["t"]}))
        .await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn without_a_default_team_everybody_but_admins_makes_keys_for_teams_only() {
    let world = world(json!({"general_settings": {"default_team_disabled": true}})).await;
    let team =
        json!({"team_id": "red", "members_with_roles": [{"user_id": "ann", "role": "admin"}]});
    world.done("/team/new", team).await;
    let (status, answer) = world.post(&user("ann"), "/key/generate", json!({})).await;
    assert_eq!(
        (status, &answer["error"]["param"]),
        (403, &json!("team_id"))
    );
    let of_team = json!({"team_id": "red"});
    assert_eq!(
        world.post(&user("ann"), "/key/generate", of_team).await.0,
        200
    );
    world.done("/key/generate", json!({})).await;
}

struct Policy(KeyVerdict);

#[async_trait::async_trait]
impl KeyPolicy for Policy {
    async fn judge(&self, _: KeyAction, _: &Principal, body: String) -> Result<KeyVerdict, String> {
        assert!(!body.contains("sk-"), "the text of a key: {body}");
        Ok(self.0.clone())
    }
}

#[tokio::test]
async fn the_policy_refuses_and_edits() {
    let world = world(json!({})).await;
    let set = |verdict: KeyVerdict| {
        let mut settings = (*world.plane.settings.load_full()).clone();
        settings.policy = Some(std::sync::Arc::new(Policy(verdict)));
        world.plane.settings.store(std::sync::Arc::new(settings));
    };
    set(KeyVerdict::Deny("no keys today".to_owned()));
    let (status, answer) = world
        .post(
            &admin(),
            "/key/generate",
            json!({"key": "sk-mine-12345678"}),
        )
        .await;
    assert_eq!(
        (status, &answer["error"]["message"]),
        (403, &json!("no keys today"))
    );
    let edited = json!({"key_alias": "edited", "duration": "1h"});
    set(KeyVerdict::Edit(edited.as_object().unwrap().clone()));
    let made = world
        .done("/key/generate", json!({"key_alias": "asked"}))
        .await;
    assert_eq!(made["key_alias"], "edited");
}

/// What is given beside `metadata` is kept in it: of two changes at once, none is lost.
#[tokio::test]
async fn changes_at_once_of_what_the_metadata_keeps_all_stay() {
    let world = world(json!({})).await;
    let made = world.done("/key/generate", json!({})).await;
    let key = made["key"].as_str().unwrap();
    let changes = [
        json!({"tags": ["t"]}),
        json!({"guardrails": ["g"]}),
        json!({"enforced_params": ["user"]}),
        json!({"model_rpm_limit": {"m": 1}}),
        json!({"model_tpm_limit": {"m": 2}}),
    ];
    let update = async |change: &Value| {
        let mut body = change.clone();
        body["key"] = key.into();
        world.done("/key/update", body).await;
    };
    futures_util::future::join_all(changes.iter().map(update)).await;
    let (_, info) = world.get(&admin(), &format!("/key/info?key={key}")).await;
    let kept = &info["info"]["metadata"];
    for change in &changes {
        for (name, value) in change.as_object().unwrap() {
            assert_eq!(&kept[name], value, "{name}: {kept}");
        }
    }
}

#[tokio::test]
async fn many_keys_of_a_team_are_changed_by_its_admins_and_no_others() {
    let world = world(json!({})).await;
    let members = json!([{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}]);
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "members_with_roles": members}),
        )
        .await;
    world.done("/team/new", json!({"team_id": "blue"})).await;
    let key = async |team: &str| {
        world.done("/key/generate", json!({"team_id": team})).await["token"].clone()
    };
    let (one, two, other) = (key("red").await, key("red").await, key("blue").await);
    let rpm = async |token: &Value| {
        let row = world
            .plane
            .store
            .row(super::TABLE, "token", token.as_str().unwrap())
            .await;
        row.unwrap().unwrap()["rpm_limit"].clone()
    };
    let path = "/team/key/bulk_update";
    let fields = json!({"rpm_limit": 7});
    let all = json!({"team_id": "red", "all_keys_in_team": true, "update_fields": fields});
    let (status, told) = world.post(&user("ann"), path, all.clone()).await;
    assert_eq!(
        (status, &told["total_requested"], &told["failed_updates"]),
        (200, &json!(2), &json!([])),
        "{told}"
    );
    assert_eq!(
        [rpm(&one).await, rpm(&two).await, rpm(&other).await],
        [json!(7), json!(7), Value::Null]
    );
    let some = json!({"team_id": "red", "key_ids": [one], "update_fields": {"rpm_limit": 8}});
    world.done(path, some).await;
    assert_eq!([rpm(&one).await, rpm(&two).await], [json!(8), json!(7)]);
    for (body, status) in [
        (
            json!({"team_id": "red", "key_ids": [two, other], "update_fields": {"rpm_limit": 9}}),
            404,
        ),
        (
            json!({"team_id": "red", "key_ids": [two], "update_fields": {"user_id": "eve"}}),
            400,
        ),
        (
            json!({"team_id": "red", "key_ids": [two], "update_fields": {"models": ["*"]}}),
            400,
        ),
        (
            json!({"team_id": "red", "key_ids": [two], "update_fields": {}}),
            400,
        ),
        (json!({"team_id": "red", "update_fields": fields}), 400),
        (
            json!({"team_id": "red", "key_ids": [two], "all_keys_in_team": true, "update_fields": fields}),
            400,
        ),
        (
            json!({"team_id": "none", "all_keys_in_team": true, "update_fields": fields}),
            404,
        ),
    ] {
        let told = world.post(&admin(), path, body.clone()).await;
        assert_eq!(told.0, status, "{body}: {told:?}");
    }
    assert_eq!(rpm(&two).await, json!(7), "nothing was changed");
    for who in ["bob", "eve"] {
        assert_eq!(
            world.post(&user(who), path, all.clone()).await.0,
            403,
            "{who}"
        );
    }
    // More than may be changed at once are not changed at all.
    let more = (0..500).map(|n| {
        let row = json!({"token": format!("{n:064}"), "team_id": "red", "models": []});
        witgate_store::Write::Insert(super::TABLE, row.as_object().unwrap().clone())
    });
    let more = more.collect();
    world
        .plane
        .store
        .write(more, jiff::Timestamp::UNIX_EPOCH)
        .await
        .unwrap();
    let (status, told) = world.post(&user("ann"), path, all).await;
    assert!(
        status == 400 && told.to_string().contains("at most 500 keys"),
        "{told}"
    );
    assert_eq!(rpm(&one).await, json!(8));
}
