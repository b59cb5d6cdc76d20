//! Virtual keys: made by an administrator, used by a client, changed and gone for the very next request.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat};

async fn made(stage: &Stage, body: Value) -> (String, Client) {
    let key = stage.client.post("/key/generate", &body).await.ok();
    let key = key["key"].as_str().expect("a key").to_owned();
    let client = Client::of(&stage.gateway).key(&key);
    (key, client)
}

#[tokio::test]
async fn a_key_opens_what_it_may_and_its_calls_are_accounted_under_it() {
    let stage = Stage::plain().await;
    let body =
        json!({"key_alias": "ci", "user_id": "ann", "team_id": "blue", "models": ["gpt-4o"]});
    let (key, ann) = made(&stage, body).await;
    ann.chat(&chat("gpt-4o")).await.ok();
    let refused = ann.chat(&chat("gpt-3.5-turbo-instruct")).await.error(401);
    assert_eq!(refused["type"], "key_model_access_denied");
    let models = ann.get("/v1/models").await.ok();
    assert_eq!(models["data"].as_array().map(Vec::len), Some(1), "{models}");
    ann.post("/config/reload", &json!({})).await.error(401);
    let rows = stage.gateway.wait_for_spend_rows(1).await;
    let token = stage.client.get(&format!("/key/info?key={key}")).await.ok()["key"].clone();
    assert_eq!(rows[0]["api_key"], token);
    assert_eq!(
        (&rows[0]["user"], &rows[0]["team_id"]),
        (&json!("ann"), &json!("blue"))
    );
    assert!(!stage.gateway.printed(&key), "the key is in the log");
}

#[tokio::test]
async fn a_change_is_in_force_for_the_next_request() {
    let stage = Stage::plain().await;
    let (key, client) = made(&stage, json!({})).await;
    let named = json!({"key": key});
    client.chat(&chat("gpt-4o")).await.ok();
    stage.client.post("/key/block", &named).await.ok();
    let blocked = client.chat(&chat("gpt-4o")).await.error(401);
    let said = blocked["message"].as_str().unwrap_or_default();
    assert!(said.contains("Key is blocked"), "{said}");
    stage.client.post("/key/unblock", &named).await.ok();
    client.chat(&chat("gpt-4o")).await.ok();
    let routes = json!({"key": key, "allowed_routes": ["info_routes"]});
    stage.client.post("/key/update", &routes).await.ok();
    let refused = client.chat(&chat("gpt-4o")).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    let detail = refused.json()["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        detail.starts_with("Virtual key is not allowed to call this route."),
        "{detail}"
    );
    let expired = json!({"key": key, "duration": "0s", "allowed_routes": []});
    stage.client.post("/key/update", &expired).await.ok();
    let expired = client.chat(&chat("gpt-4o")).await.error(400);
    assert_eq!(expired["type"], "expired_key");
    stage
        .client
        .post("/key/delete", &json!({"keys": [key]}))
        .await
        .ok();
    let gone = client.chat(&chat("gpt-4o")).await.error(401);
    assert_eq!(gone["type"], "token_not_found_in_db");
}

/// A key that was asked for before it was made is remembered as unknown, but not beyond its making.
#[tokio::test]
async fn a_key_of_the_callers_choice_works_at_once() {
    let stage = Stage::plain().await;
    let key = "sk-my-own-key-0123456789";
    let client = Client::of(&stage.gateway).key(key);
    client.chat(&chat("gpt-4o")).await.error(401);
    stage
        .client
        .post("/key/generate", &json!({"key": key}))
        .await
        .ok();
    client.chat(&chat("gpt-4o")).await.ok();
    let again = stage
        .client
        .post("/key/generate", &json!({"key": key}))
        .await
        .error(400);
    assert!(
        again["message"]
            .as_str()
            .unwrap_or_default()
            .contains("already exists")
    );
    assert!(!stage.gateway.printed(key));
}

#[tokio::test]
async fn users_manage_their_own_keys_and_see_no_others() {
    let stage = Stage::plain().await;
    let (_, ann) = made(&stage, json!({"user_id": "ann"})).await;
    let (bobs, _) = made(&stage, json!({"user_id": "bob"})).await;
    let own = ann
        .post("/key/generate", &json!({"key_alias": "second"}))
        .await
        .ok();
    assert_eq!(own["user_id"], "ann");
    assert_eq!(ann.get("/key/list").await.ok()["total_count"], 2);
    ann.get(&format!("/key/info?key={bobs}")).await.error(404);
    ann.post("/key/delete", &json!({"keys": [bobs]}))
        .await
        .error(404);
    ann.post("/key/generate", &json!({"user_id": "bob"}))
        .await
        .error(403);
    assert_eq!(
        stage.client.get("/key/list?size=1&page=2").await.ok()["total_pages"],
        3
    );
}

#[tokio::test]
async fn a_python_policy_of_litellm_decides_who_gets_keys() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_key_generate: key_rules.custom_generate_key_fn\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    let refused = stage
        .client
        .post("/key/generate", &json!({"duration": "7d"}))
        .await
        .error(403);
    assert_eq!(
        refused["message"],
        "This violates LiteLLM Proxy Rules. No team id provided."
    );
    let body = json!({"team_id": "blue", "duration": "7d", "models": ["gpt-4o"]});
    let key = stage.client.post("/key/generate", &body).await.ok();
    assert_eq!(
        key["key_alias"], "blue-1-models",
        "what the function changed counts"
    );
    let metrics = stage.client.get("/metrics").await.text();
    assert!(
        metrics.contains(r#"plugin="custom_key_generate""#),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_policy_that_fails_gives_no_key() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "litellm_settings:\n  upperbound_key_generate_params: {max_budget: 100}\ngeneral_settings:\n  custom_key_generate: hostile-keys\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    for how in ["loop", "panic", "memory", "not-json", "not-an-object"] {
        let body = json!({"metadata": {"how": how}});
        let answer = stage.client.post("/key/generate", &body).await;
        assert_eq!(answer.status, 500, "{how}: {}", answer.text());
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    // Text that is a key's reaches no policy.
    let body = json!({"key": "sk-text-of-a-key-0123", "metadata": {"how": "tell"}});
    let told = stage.client.post("/key/generate", &body).await.error(403);
    let told = told["message"].as_str().unwrap_or_default();
    assert!(
        told.contains("metadata") && !told.contains("sk-text"),
        "{told}"
    );
    let body = json!({"metadata": {"how": "raise"}, "user_id": "ann"});
    let refused = stage.client.post("/key/generate", &body).await;
    assert_eq!(
        refused.status,
        400,
        "an edit is checked like a body: {}",
        refused.text()
    );
    assert_eq!(stage.client.get("/key/list").await.ok()["total_count"], 0);
    assert!(!stage.gateway.printed(MASTER_KEY));
}

#[tokio::test]
async fn an_old_text_is_good_until_its_grace_ends_or_its_key_goes() {
    let stage = Stage::plain().await;
    let (first, old) = made(&stage, json!({"key_alias": "ci"})).await;
    let turned = async |named: &str, body: Value| {
        let mut body = body;
        body["key"] = named.into();
        let made = stage.client.post("/key/regenerate", &body).await.ok();
        let key = made["key"].as_str().expect("a key").to_owned();
        let client = Client::of(&stage.gateway).key(&key);
        (key, client)
    };
    let wrong = json!({"key": first, "grace_period": "soon"});
    let told = stage
        .client
        .post("/key/regenerate", &wrong)
        .await
        .error(400);
    assert_eq!(told["param"], "grace_period");
    let (second, new) = turned(&first, json!({"grace_period": "1h"})).await;
    for client in [&old, &new] {
        client.chat(&chat("gpt-4o")).await.ok();
        assert_eq!(
            client.get("/key/info").await.ok()["info"]["key_alias"],
            "ci"
        );
    }
    // What becomes of the key is in force for its old text, too.
    let blocked = json!({ "key": second });
    stage.client.post("/key/block", &blocked).await.ok();
    for client in [&old, &new] {
        client.chat(&chat("gpt-4o")).await.error(401);
    }
    stage.client.post("/key/unblock", &blocked).await.ok();
    let (third, newest) = turned(&second, json!({"grace_period": "1h"})).await;
    for client in [&old, &new, &newest] {
        client.chat(&chat("gpt-4o")).await.ok();
    }
    let (fourth, last) = turned(&third, json!({})).await;
    for client in [&old, &new, &newest] {
        let told = client.chat(&chat("gpt-4o")).await.error(401);
        assert_eq!(told["type"], "token_not_found_in_db");
    }
    last.chat(&chat("gpt-4o")).await.ok();
    let (_, final_one) = turned(&fourth, json!({"grace_period": "1h"})).await;
    last.chat(&chat("gpt-4o")).await.ok();
    stage
        .client
        .post("/key/delete", &json!({"key_aliases": ["ci"]}))
        .await
        .ok();
    for client in [&last, &final_one] {
        client.chat(&chat("gpt-4o")).await.error(401);
    }
}

#[tokio::test]
async fn a_policy_for_changes_leaves_new_keys_alone() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_key_update: custom-key-policy\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    // The example asks new keys for a team, and allows so many models.
    let many: Vec<String> = (0..100).map(|n| format!("model-{n}")).collect();
    let (key, _) = made(&stage, json!({ "models": many })).await;
    let change = json!({"key": key, "models": many});
    stage.client.post("/key/update", &change).await.error(403);
    let change = json!({"key": key, "models": ["gpt-4o"]});
    stage.client.post("/key/update", &change).await.ok();
}
