//! A control plane over a database in memory, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use witgate_identity::{MasterKey, Principal, Role};
use witgate_store::{
    SpendOptions, SpendRow, SpendWriter, Store, StoreMetrics, StoreOptions, WriterParts,
};
use witgate_wire::errors::CompatErrors;

use crate::plane::{Setting, Settings};
use crate::{Ask, Changed, Configuration, ControlPlane, Seal, StoredRows, Watch, operations};

pub(crate) const MASTER: &str = "sk-master-0123456789";

/// What a text may hold that SQL, formats or paths could take for theirs.
pub(crate) const HOSTILE: &str = r#"a'; DROP TABLE "LiteLLM_BudgetTable"; -- "\ {row} ? $1 %_ é"#;

/// Hears of changes.
#[derive(Default)]
pub(crate) struct Heard(pub Mutex<Vec<Changed>>);

impl Watch for Heard {
    fn changed(&self, what: &Changed) {
        self.0.lock().push(what.clone());
    }
}

pub(crate) struct World {
    pub plane: Arc<ControlPlane>,
    pub heard: Arc<Heard>,
}

/// The salt of what is stored in tests.
pub(crate) const SALT: &str = "salt-of-tests";

/// A configuration that serves whatever the database holds but models named `unserved`, and has one setting in its file.
#[derive(Default)]
pub(crate) struct Served {
    plane: std::sync::OnceLock<std::sync::Weak<ControlPlane>>,
    pub rows: Mutex<StoredRows>,
}

#[async_trait::async_trait]
impl Configuration for Served {
    async fn apply(&self) -> Result<BTreeMap<String, String>, Vec<String>> {
        let plane = self.plane.get().and_then(std::sync::Weak::upgrade).unwrap();
        let rows = plane.stored_rows().await.unwrap();
        let stored = rows.opened(&Seal::of(SALT), None);
        *self.rows.lock() = rows;
        let refused = stored
            .items
            .into_iter()
            .filter(|item| item.value["model_name"] == "unserved");
        let refused = refused.map(|item| (item.place, "nobody serves it".to_owned()));
        Ok(refused.chain(stored.faults).collect())
    }

    fn fault(&self, section: &str, key: &str, _: &Value) -> Option<String> {
        (key == "num_retrys").then(|| format!("{section}.{key}: did you mean `num_retries`?"))
    }

    fn settings(&self, _: &str) -> Vec<Setting> {
        let name = "alerting".to_owned();
        vec![Setting {
            name,
            kind: "list".to_owned(),
            doc: String::new(),
            default: String::new(),
        }]
    }

    fn of_file(&self, _: &str, key: &str) -> bool {
        key == "of_the_file"
    }

    fn shown(&self) -> Value {
        let stored = self.rows.lock().opened(&Seal::of(SALT), None);
        let mut shown = json!({"credential_list": []});
        for item in stored.items {
            match item.path.split_once('.') {
                Some((section, key)) if key.ends_with("[]") => {
                    let list = &mut shown[section][key.trim_end_matches("[]")];
                    if list.is_null() {
                        *list = json!([]);
                    }
                    list.as_array_mut().unwrap().push(item.value);
                }
                Some((section, key)) => shown[section][key] = item.value,
                None => {
                    let list = &mut shown[item.path.trim_end_matches("[]")];
                    if list.is_null() {
                        *list = json!([]);
                    }
                    list.as_array_mut().unwrap().push(item.value);
                }
            }
        }
        shown
    }

    fn cache(&self) -> serde_json::Map<String, Value> {
        crate::stored::object(self.shown().pointer("/litellm_settings/cache_params"))
    }

    async fn try_cache(&self, params: serde_json::Map<String, Value>) -> Result<(), String> {
        match params.get("password") == Some(&json!("right")) {
            true => Ok(()),
            false => Err("wrong password".to_owned()),
        }
    }

    fn is_secret(&self, name: &str) -> bool {
        name.ends_with("key") || name.contains("password") || name.ends_with("secret")
    }

    async fn guardrails(&self) -> Result<Vec<crate::Choice>, String> {
        Ok(Vec::new())
    }

    async fn providers(&self) -> Result<Vec<crate::Choice>, String> {
        Err("nobody knows".to_owned())
    }

    fn prices(&self) -> crate::PriceSource {
        crate::PriceSource::default()
    }

    async fn fetch_prices(&self) -> Result<usize, String> {
        Err("nobody says where".to_owned())
    }

    fn prices_scheduled(&self) {}
}

/// A world with these settings of the configuration.
pub(crate) async fn world(config: Value) -> World {
    world_in("sqlite::memory:", config).await
}

/// The same in another database.
pub(crate) async fn world_in(url: &str, config: Value) -> World {
    let store = Store::open(url, &StoreOptions::default()).await.unwrap();
    let heard = Arc::new(Heard::default());
    let settings = Settings {
        master: Some(MasterKey::new(MASTER)),
        config: Arc::new(config),
        salt: Some(SALT.to_owned().into()),
        stores_models: true,
        ..Settings::default()
    };
    let plane = Arc::new(ControlPlane::new(store, settings, heard.clone()));
    let served = Arc::new(Served::default());
    served.plane.set(Arc::downgrade(&plane)).unwrap();
    plane.serves(served.clone());
    World { plane, heard }
}

pub(crate) fn admin() -> Principal {
    MasterKey::new(MASTER).check(MASTER).unwrap().clone()
}

pub(crate) fn user(name: &str) -> Principal {
    Principal {
        user_id: Some(name.to_owned()),
        role: Some(Role::InternalUser),
        ..Principal::default()
    }
}

impl World {
    /// Writes calls to the ledger, with their totals.
    pub async fn spend(&self, calls: &[SpendRow<'_>]) {
        let parts = WriterParts {
            tracker: tokio_util::task::TaskTracker::new(),
            token: tokio_util::sync::CancellationToken::new(),
            metrics: StoreMetrics::register(&mut prometheus_client::registry::Registry::default()),
            now: Arc::new(|| "2026-01-01T00:00:00Z".parse().unwrap()),
            observe: None,
            elsewhere: witgate_store::Elsewhere::default(),
        };
        let writer = SpendWriter::start(&self.plane.store, SpendOptions::default(), parts);
        for call in calls {
            writer.record(call);
        }
        writer.flush().await.unwrap();
        writer.drain(std::time::Duration::from_secs(5)).await;
    }

    /// `POST` of a body, or of a path with a query: status and answer.
    pub async fn post(&self, caller: &Principal, path: &str, body: Value) -> (u16, Value) {
        self.ask("POST", caller, path, body).await
    }

    pub async fn get(&self, caller: &Principal, path: &str) -> (u16, Value) {
        self.ask("GET", caller, path, json!({})).await
    }

    pub async fn ask(
        &self,
        method: &str,
        caller: &Principal,
        path: &str,
        body: Value,
    ) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let fits = |pattern: &str| -> Option<Option<String>> {
            match pattern.split_once('{') {
                None => (pattern == path).then_some(None),
                Some((before, after)) => {
                    let after = after.split_once('}')?.1;
                    let named = path.strip_prefix(before)?.strip_suffix(after)?;
                    (!named.is_empty() && !named.contains('/')).then(|| Some(named.to_owned()))
                }
            }
        };
        let found = operations()
            .filter(|operation| operation.method == method)
            .find_map(|operation| Some((operation, operation.paths.iter().find_map(|p| fits(p))?)));
        let (operation, named) = found.unwrap_or_else(|| panic!("no operation {method} {path}"));
        let ask = Ask {
            caller: Arc::new(caller.clone()),
            route: operation.name(),
            named,
            query: url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            body: body.as_object().cloned().unwrap_or_default(),
            now: "2026-01-01T00:00:00.123Z".parse().unwrap(),
            changed_by: None,
        };
        match self.plane.answer(operation, ask).await {
            Ok(answer) => {
                // Whatever any test is answered is as the document says.
                let schema = operation.answer_schema();
                let wrong = crate::described::tests::misfit(&schema, &answer);
                assert_eq!(wrong, None, "the answer of {operation:?}");
                (operation.status(), answer)
            }
            Err(refusal) => {
                let (status, body) = refusal.body(CompatErrors::V2025);
                (status, serde_json::from_slice(&body).unwrap())
            }
        }
    }

    /// Asks as an admin, and must succeed.
    pub async fn done(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.post(&admin(), path, body.clone()).await;
        assert!([200, 201].contains(&status), "{path} {body} {answer}");
        answer
    }
}
