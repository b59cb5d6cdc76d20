//! Requests about keys against a store in memory: who may do what, and what wrong requests are told.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use witgate_identity::{MasterKey, Role};
use witgate_pipeline::{KeyPolicy, PluginFault, ReplyBody};

use super::*;

#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, KeyRecord>>);

#[async_trait]
impl KeyStore for Memory {
    async fn get(&self, token: &str) -> Result<Option<KeyRecord>, KeyStoreError> {
        Ok(self.0.lock().get(token).cloned())
    }

    async fn insert(&self, key: &KeyRecord) -> Result<(), KeyStoreError> {
        let mut keys = self.0.lock();
        let alias = |other: &KeyRecord| key.key_alias.is_some() && other.key_alias == key.key_alias;
        if keys.values().any(alias) {
            return Err(KeyStoreError::AliasTaken);
        }
        if keys.contains_key(&key.token) {
            return Err(KeyStoreError::KeyTaken);
        }
        keys.insert(key.token.clone(), key.clone());
        Ok(())
    }

    async fn update(&self, key: &KeyRecord) -> Result<bool, KeyStoreError> {
        let mut keys = self.0.lock();
        Ok(keys.insert(key.token.clone(), key.clone()).is_some())
    }

    async fn delete(&self, tokens: &[String]) -> Result<(), KeyStoreError> {
        let mut keys = self.0.lock();
        keys.retain(|token, _| !tokens.contains(token));
        Ok(())
    }

    async fn list(&self, which: &KeySearch) -> Result<(Vec<KeyRecord>, i64), KeyStoreError> {
        let fits = |key: &&KeyRecord| {
            (which.user_id.is_none() || which.user_id == key.user_id)
                && (which.key_alias.is_none() || which.key_alias == key.key_alias)
        };
        let keys = self.0.lock();
        let found: Vec<KeyRecord> = keys.values().filter(fits).cloned().collect();
        let total = found.len() as i64;
        Ok((found, total))
    }
}

const MASTER: &str = "sk-master-0123456789";

struct World {
    store: Memory,
    policy: Option<KeyVerdict>,
}

struct Policy(KeyVerdict);

#[async_trait]
impl KeyPolicy for Policy {
    async fn judge(
        &self,
        _: KeyAction,
        _: &Principal,
        _: String,
    ) -> Result<KeyVerdict, PluginFault> {
        Ok(self.0.clone())
    }
}

fn world() -> World {
    World {
        store: Memory::default(),
        policy: None,
    }
}

fn admin() -> Principal {
    MasterKey::new(MASTER).check(MASTER).unwrap().clone()
}

fn user(name: &str) -> Principal {
    Principal {
        user_id: Some(name.to_owned()),
        role: Some(Role::InternalUser),
        ..Principal::default()
    }
}

impl World {
    async fn ask(&self, who: Principal, operation: KeyOperation, body: Value) -> (u16, Value) {
        self.ask_query(who, operation, body, None).await
    }

    async fn ask_query(
        &self,
        who: Principal,
        operation: KeyOperation,
        body: Value,
        query: Option<&str>,
    ) -> (u16, Value) {
        let policy = self.policy.clone();
        let access = Access {
            master_key: Some(MasterKey::new(MASTER)),
            key_policy: policy.map(|verdict| Arc::new(Policy(verdict)) as Arc<dyn KeyPolicy>),
            ..Access::default()
        };
        let call = KeyCall {
            store: &self.store,
            access: &access,
            compat: CompatErrors::Latest,
            principal: Arc::new(who),
            route: "/key",
            query,
            body: ReqBody::from(Bytes::from(body.to_string())),
            now: "2026-01-01T00:00:00.1234567Z".parse().unwrap(),
        };
        let reply = answer(call, operation).await;
        let ReplyBody::Full(bytes) = reply.body else {
            panic!("a stream");
        };
        (
            reply.status.as_u16(),
            serde_json::from_slice(&bytes).unwrap(),
        )
    }
}

#[tokio::test]
async fn a_key_is_made_shown_changed_blocked_and_deleted() {
    let world = world();
    let body =
        json!({"key_alias": "ci", "models": ["gpt"], "duration": "1h", "metadata": {"a": 1}});
    let (status, made) = world.ask(admin(), KeyOperation::Generate, body).await;
    assert_eq!(status, 200, "{made}");
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 25);
    assert_eq!(made["token"], KeyHash::of(&key).as_str());
    assert_eq!(made["expires"], "2026-01-01T01:00:00.123Z");
    assert_eq!(made["created_by"], "default_user_id");
    let query = format!("key={key}");
    let (status, info) = world
        .ask_query(admin(), KeyOperation::Info, json!({}), Some(&query))
        .await;
    assert_eq!((status, &info["info"]["models"]), (200, &json!(["gpt"])));
    assert!(!info.to_string().contains(&key), "the key itself: {info}");
    let change = json!({"key": key, "models": [], "duration": "-1"});
    let (status, changed) = world.ask(admin(), KeyOperation::Update, change).await;
    assert_eq!(status, 200, "{changed}");
    assert_eq!(
        (&changed["models"], &changed["expires"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(
        changed["metadata"],
        json!({"a": 1}),
        "what is not said stays"
    );
    let (_, blocked) = world
        .ask(admin(), KeyOperation::Block, json!({"key": made["token"]}))
        .await;
    assert_eq!(blocked["blocked"], true);
    let (_, deleted) = world
        .ask(
            admin(),
            KeyOperation::Delete,
            json!({"key_aliases": ["ci"]}),
        )
        .await;
    assert_eq!(deleted["deleted_keys"], json!(["ci"]));
    let (status, gone) = world
        .ask_query(admin(), KeyOperation::Info, json!({}), Some(&query))
        .await;
    assert_eq!(
        (status, &gone["error"]["type"]),
        (404, &json!("not_found_error"))
    );
}

/// Operation, body, status and what the answer says.
#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    use KeyOperation::{Delete, Generate, Update};
    let world = world();
    let first = json!({"key": "sk-taken-1234567890", "key_alias": "taken"});
    assert_eq!(world.ask(admin(), Generate, first).await.0, 200);
    let cases = [
        (Generate, json!([]), 400, "expected an object"),
        (
            Generate,
            json!({"models": "gpt"}),
            422,
            "Input should be a valid list",
        ),
        (Generate, json!({"duration": "soon"}), 400, "such as 30d"),
        (
            Generate,
            json!({"max_budget": 5}),
            400,
            "not enforced by this release",
        ),
        (
            Generate,
            json!({"key": "mine"}),
            400,
            "must start with 'sk-'",
        ),
        (
            Generate,
            json!({"key": "sk-taken-1234567890"}),
            400,
            "already exists",
        ),
        (Generate, json!({"key": MASTER}), 400, "already exists"),
        (
            Generate,
            json!({"key_alias": "taken"}),
            400,
            "Unique key aliases",
        ),
        (Update, json!({"models": []}), 422, "Field required"),
        (
            Update,
            json!({"key": "sk-unknown-1234567"}),
            404,
            "Key not found: sk-...4567",
        ),
        (Delete, json!({}), 400, "Either `keys` or `key_aliases`"),
        (Delete, json!({"keys": "sk-1"}), 422, "valid list"),
    ];
    for (operation, body, status, says) in cases {
        let (got, answer) = world.ask(admin(), operation, body.clone()).await;
        assert_eq!(got, status, "{body} {answer}");
        assert!(answer.to_string().contains(says), "{body} {answer}");
    }
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    use KeyOperation::{Block, Delete, Generate, Info, List, Update};
    let world = world();
    let alice = Principal {
        models: vec!["gpt".to_owned()],
        allowed_routes: vec!["llm_api_routes".to_owned(), "management_routes".to_owned()],
        ..user("alice")
    };
    let (_, own) = world.ask(alice.clone(), Generate, json!({})).await;
    assert_eq!(own["user_id"], "alice");
    assert_eq!(
        own["models"],
        json!(["gpt"]),
        "not said is what the caller has"
    );
    assert_eq!(
        own["allowed_routes"],
        json!(["llm_api_routes", "management_routes"])
    );
    let (_, foreign) = world
        .ask(admin(), Generate, json!({"user_id": "bob"}))
        .await;
    let foreign = foreign["key"].clone();
    let cases = [
        (Generate, json!({"models": ["claude"]}), 403),
        (Generate, json!({"allowed_routes": ["/config/reload"]}), 403),
        (Generate, json!({"user_id": "bob"}), 403),
        (Generate, json!({"team_id": "t"}), 403),
        (Update, json!({"key": own["key"], "models": []}), 200),
        (Update, json!({"key": own["key"], "user_id": "bob"}), 403),
        (Update, json!({"key": own["key"], "blocked": true}), 403),
        (Update, json!({"key": foreign, "models": []}), 404),
        (Delete, json!({"keys": [foreign]}), 404),
        (Block, json!({"key": own["key"]}), 401),
    ];
    for (operation, body, status) in cases {
        let (got, answer) = world.ask(alice.clone(), operation, body.clone()).await;
        assert_eq!(got, status, "{operation:?} {body} {answer}");
    }
    let (_, own) = world
        .ask_query(
            alice.clone(),
            Info,
            json!({}),
            Some(&format!("key={}", own["token"].as_str().unwrap())),
        )
        .await;
    assert_eq!(
        own["info"]["models"],
        json!(["gpt"]),
        "an empty list is no way out"
    );
    let (_, listed) = world.ask(alice.clone(), List, json!({})).await;
    assert_eq!(listed["total_count"], 1);
    let (status, _) = world
        .ask_query(alice, List, json!({}), Some("user_id=bob"))
        .await;
    assert_eq!(status, 403);
    let nobody = Principal {
        role: Some(Role::InternalUser),
        ..Principal::default()
    };
    for operation in [Generate, List] {
        assert_eq!(world.ask(nobody.clone(), operation, json!({})).await.0, 401);
    }
}

#[tokio::test]
async fn the_policy_refuses_and_edits() {
    let mut world = world();
    world.policy = Some(KeyVerdict::Deny("no keys today".to_owned()));
    let (status, answer) = world.ask(admin(), KeyOperation::Generate, json!({})).await;
    assert_eq!(
        (status, &answer["error"]["message"]),
        (403, &json!("no keys today"))
    );
    let edited = json!({"key_alias": "edited", "duration": "1h"});
    world.policy = Some(KeyVerdict::Edit(edited.as_object().unwrap().clone()));
    let (status, answer) = world
        .ask(
            admin(),
            KeyOperation::Generate,
            json!({"key_alias": "asked"}),
        )
        .await;
    assert_eq!((status, &answer["key_alias"]), (200, &json!("edited")));
    // What a policy makes of a request is bound like the request.
    let edited = json!({"user_id": "bob"});
    world.policy = Some(KeyVerdict::Edit(edited.as_object().unwrap().clone()));
    let (status, _) = world
        .ask(user("alice"), KeyOperation::Generate, json!({}))
        .await;
    assert_eq!(status, 403);
}
