//! What the database holds of the configuration (`store_model_in_db`): deployments, credentials, guardrails, prompts, settings.
//!
//! Rows are read as they are, so that whoever asks again can tell that nothing changed, and opened then: decrypted, and
//! brought into the shape that the same thing has in the file. What cannot be opened is left out, and told.

use serde_json::{Map, Value, json};
use witgate_store::{Row, Select, StoreError};

use crate::ControlPlane;
use crate::configuration::{cache, sso};
use crate::in_force::plain;
use crate::seal::{Opened, Seal};

pub(crate) const MODELS: &str = "LiteLLM_ProxyModelTable";
pub(crate) const CREDENTIALS: &str = "LiteLLM_CredentialsTable";
pub(crate) const GUARDRAILS: &str = "LiteLLM_GuardrailsTable";
pub(crate) const PROMPTS: &str = "LiteLLM_PromptTable";
pub(crate) const CONFIG: &str = "LiteLLM_Config";
pub(crate) const CACHE: &str = "LiteLLM_CacheConfig";
pub(crate) const SSO: &str = "LiteLLM_SSOConfig";

/// Rows of [`CONFIG`] that are sections of the configuration.
pub(crate) const SECTIONS: [&str; 4] = [
    "general_settings",
    "litellm_settings",
    "router_settings",
    "environment_variables",
];

/// The setting that is a list of which each entry counts by itself.
pub(crate) const ROUTES: &str = "general_settings.pass_through_endpoints";

/// How messages call a pass-through route of the database.
pub(crate) fn route_place(route: &Value, at: usize) -> String {
    match route.get("id").and_then(Value::as_str) {
        Some(id) => place(CONFIG, &format!("{ROUTES}.{id}")),
        None => place(CONFIG, &format!("{ROUTES}[{at}]")),
    }
}

/// What `model_info` says of a deployment that an admin of its team wrote: it is bounded.
pub const BY_TEAM_ADMIN: &str = "added_by_team_admin";

/// The rows, as they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StoredRows {
    models: Vec<Row>,
    credentials: Vec<Row>,
    guardrails: Vec<Row>,
    prompts: Vec<Row>,
    config: Vec<Row>,
    cache: Vec<Row>,
    sso: Vec<Row>,
}

/// One thing that the database adds to the configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredItem {
    /// Its row, for messages.
    pub place: String,
    /// Where it goes: `model_list[]`, `credential_list[]`, `guardrails[]`, `prompts[]`, or a key such as `general_settings.alerting`.
    pub path: String,
    /// What the file would say there.
    pub value: Value,
}

/// The rows opened.
#[derive(Default)]
pub struct Stored {
    /// What can be read.
    pub items: Vec<StoredItem>,
    /// What cannot: the row, and why.
    pub faults: Vec<(String, String)>,
}

/// How messages call a row.
#[must_use]
pub fn place(table: &str, id: &str) -> String {
    format!("database:{table}[{id:?}]")
}

impl ControlPlane {
    /// Reads the rows. A table that an older database lacks holds nothing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stored_rows(&self) -> Result<StoredRows, StoreError> {
        let all = async |table: &'static str| match self.store.has_table(table) {
            true => self.store.rows(table, &Select::default()).await,
            false => Ok(Vec::new()),
        };
        Ok(StoredRows {
            models: all(MODELS).await?,
            credentials: all(CREDENTIALS).await?,
            guardrails: all(GUARDRAILS).await?,
            prompts: all(PROMPTS).await?,
            config: all(CONFIG).await?,
            cache: all(CACHE).await?,
            sso: all(SSO).await?,
        })
    }
}

impl StoredRows {
    /// Opens the rows. `objects` is `supported_db_objects`: without it, everything.
    #[must_use]
    pub fn opened(&self, seal: &Seal, objects: Option<&[String]>) -> Stored {
        let wanted = |names: &[&str]| {
            objects.is_none_or(|all| all.iter().any(|one| names.contains(&one.as_str())))
        };
        let mut stored = Stored::default();
        if wanted(&["models"]) {
            for row in &self.models {
                stored.add(
                    place(MODELS, text(row, "model_id")),
                    "model_list[]",
                    model(row, seal),
                );
            }
        }
        if wanted(&["models", "credentials"]) {
            for row in &self.credentials {
                let at = place(CREDENTIALS, text(row, "credential_name"));
                stored.add(at, "credential_list[]", credential(row, seal));
            }
        }
        if wanted(&["guardrails"]) {
            for row in self.guardrails.iter().filter(|row| is_reviewed(row)) {
                let at = place(GUARDRAILS, text(row, "guardrail_id"));
                stored.add(at, "guardrails[]", guardrail(row, seal));
            }
        }
        if wanted(&["prompts"]) {
            for row in crate::prompts::served(&self.prompts) {
                let at = place(PROMPTS, text(row, "id"));
                stored.add(at, "prompts[]", prompt(row, seal));
            }
        }
        // Before the settings: of one that both have, these count.
        let cache = (CACHE, "cache_settings", cache::settings as Settings);
        let parts = [
            (cache, &self.cache),
            ((SSO, "sso_settings", sso::settings), &self.sso),
        ];
        for (part, rows) in parts
            .into_iter()
            .filter(|((_, name, _), _)| wanted(&[name]))
        {
            for row in rows {
                stored.part(part, row, seal);
            }
        }
        for row in &self.config {
            let section = text(row, "param_name");
            if SECTIONS.contains(&section) {
                stored.settings(section, row, seal);
            }
        }
        stored
    }
}

/// The settings of a row of values.
type Settings = fn(&Map<String, Value>) -> Vec<(String, Value)>;
/// A table of settings, its column, and what that amounts to. LiteLLM's name of the object is the column's.
type Part = (&'static str, &'static str, Settings);

impl Stored {
    fn add(&mut self, place: String, path: &str, value: Result<Value, String>) {
        match value {
            Ok(value) => self.items.push(StoredItem {
                place,
                path: path.to_owned(),
                value,
            }),
            Err(why) => self.faults.push((place, why)),
        }
    }

    /// Settings that a table of their own holds, in this column.
    fn part(&mut self, (table, column, settings): Part, row: &Row, seal: &Seal) {
        let place = place(table, text(row, "id"));
        match opened_map(row, column, seal) {
            Ok(values) => {
                for (path, value) in settings(&values) {
                    self.add(place.clone(), &path, Ok(value));
                }
            }
            Err(why) => self.faults.push((place, why)),
        }
    }

    /// Pass-through routes, each by itself: a bad one keeps no other from being served.
    fn routes(&mut self, routes: &[Value], seal: &Seal) {
        for (at, route) in routes.iter().enumerate() {
            let route = crate::in_force::opened(seal, route.clone());
            self.items.push(StoredItem {
                place: route_place(&route, at),
                path: format!("{ROUTES}[]"),
                value: route,
            });
        }
    }

    fn settings(&mut self, section: &str, row: &Row, seal: &Seal) {
        for (key, value) in object(row.get("param_value")) {
            let path = format!("{section}.{key}");
            if self.items.iter().any(|item| item.path == path) {
                continue;
            }
            if let (ROUTES, Value::Array(routes)) = (path.as_str(), &value) {
                self.routes(routes, seal);
                continue;
            }
            let value = match (section, &value) {
                (_, Value::Null) => continue,
                ("environment_variables", Value::String(text)) => opened(text, seal),
                _ => Ok(value),
            };
            self.add(place(CONFIG, &path), &path, value);
        }
    }
}

/// A deployment as the file would have it.
fn model(row: &Row, seal: &Seal) -> Result<Value, String> {
    let mut params = object(row.get("litellm_params"));
    // Whether the row is encrypted, and with our salt, is seen in what every row has. Of the rest, what does not open was
    // not encrypted: a long key of a provider may look like it.
    if let Some(Value::String(model)) = params.get("model") {
        opened(model, seal)?;
    }
    for value in params.values_mut() {
        if let Value::String(text) = value
            && let Opened::Sealed(plain) = seal.open(text)
        {
            *value = plain.into();
        }
    }
    let mut info = object(row.get("model_info"));
    if info.get(BY_TEAM_ADMIN) == Some(&Value::Bool(true))
        && let Some(name) = params
            .iter()
            .find_map(|(name, value)| refers(value).then_some(name))
    {
        return Err(format!(
            "litellm_params.{name} refers to the gateway's environment, and an admin of a team wrote it"
        ));
    }
    info.insert("id".to_owned(), text(row, "model_id").into());
    info.insert("db_model".to_owned(), true.into());
    if row.get("blocked") == Some(&Value::Bool(true)) {
        info.insert("blocked".to_owned(), true.into());
    }
    for column in ["created_at", "created_by", "updated_at", "updated_by"] {
        if let Some(value) = row.get(column).filter(|value| !value.is_null()) {
            info.insert(column.to_owned(), value.clone());
        }
    }
    Ok(json!({"model_name": text(row, "model_name"), "litellm_params": params, "model_info": info}))
}

fn credential(row: &Row, seal: &Seal) -> Result<Value, String> {
    let mut values = object(row.get("credential_values"));
    for value in values.values_mut() {
        if let Value::String(text) = value {
            *value = opened(text, seal)?.clone();
        }
    }
    Ok(json!({
        "credential_name": text(row, "credential_name"), "credential_values": values,
        "credential_info": object(row.get("credential_info")),
    }))
}

/// Whether a guardrail serves: newer LiteLLM keeps those in the same table that teams have asked for.
fn is_reviewed(row: &Row) -> bool {
    ["", "active", "approved"].contains(&text(row, "status"))
}

/// A row leads to a plugin by its name.
fn by_its_name(params: &Map<String, Value>, key: &str) -> Result<(), String> {
    let plugin = params.get(key).and_then(Value::as_str);
    match plugin.filter(|name| name.starts_with('/') || name.contains(['.', ':', '\\', '#'])) {
        None => Ok(()),
        Some(path) => Err(format!(
            "litellm_params.{key} {path:?}: only the configuration file may name a component by its path or module; declare it under plugins, and use its name there"
        )),
    }
}

/// A prompt as the file would have it, one version of it.
fn prompt(row: &Row, seal: &Seal) -> Result<Value, String> {
    let params = plain(seal, object(row.get("litellm_params")));
    by_its_name(&params, "prompt_integration")?;
    let mut entry = json!({"prompt_id": text(row, "prompt_id"), "litellm_params": params});
    // Older databases have no versions.
    if let Some(version) = row.get("version").filter(|version| version.is_number()) {
        entry["version"] = version.clone();
    }
    if let Some(info) = row.get("prompt_info").filter(|info| !info.is_null()) {
        entry["prompt_info"] = object(Some(info)).into();
    }
    Ok(entry)
}

/// A guardrail as the file would have it. Which plugin it is, is a name: a row leads to no component by its path.
fn guardrail(row: &Row, seal: &Seal) -> Result<Value, String> {
    let params = plain(seal, object(row.get("litellm_params")));
    by_its_name(&params, "guardrail")?;
    let mut entry =
        json!({"guardrail_name": text(row, "guardrail_name"), "litellm_params": params});
    if let Some(info) = row.get("guardrail_info").filter(|info| !info.is_null()) {
        entry["guardrail_info"] = object(Some(info)).into();
    }
    Ok(entry)
}

/// A column of encrypted values, each opened; deep inside, what opens.
pub(crate) fn opened_map(
    row: &Row,
    column: &str,
    seal: &Seal,
) -> Result<Map<String, Value>, String> {
    let values = object(row.get(column)).into_iter();
    let opened = values.map(|(name, value)| match value {
        Value::String(text) => Ok((name, opened(&text, seal)?)),
        value => Ok((name, crate::in_force::opened(seal, value))),
    });
    opened.collect()
}

/// A text that should be encrypted with our salt, or not at all.
fn opened(text: &str, seal: &Seal) -> Result<Value, String> {
    match seal.open(text) {
        Opened::Sealed(plain) => Ok(plain.into()),
        Opened::Plain => Ok(text.into()),
        Opened::Foreign => Err(
            "is encrypted with another salt: set LITELLM_SALT_KEY (or the master key, where none was set) to the one that it was stored with"
                .to_owned(),
        ),
    }
}

/// Whether a value refers to the environment, also deep inside.
pub(crate) fn refers(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("os.environ/") || text.starts_with("oidc/"),
        Value::Array(items) => items.iter().any(refers),
        Value::Object(members) => members.values().any(refers),
        _ => false,
    }
}

/// JSON of a column that is an object; old rows hold its text.
pub(crate) fn object(value: Option<&Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(object)) => object.clone(),
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        _ => Map::new(),
    }
}

fn text<'a>(row: &'a Row, column: &str) -> &'a str {
    crate::fields::text(row, column).unwrap_or_default()
}
