//! What a database adds to the files: deployments, credentials, guardrails, prompts and settings, each with the row it came from.
//!
//! It becomes part of the [`Draft`] before anything is resolved, so that references, checks and types are the same for all.
//! Of settings, what the files declare is theirs, unless `db_config_precedence` says otherwise; what decides which code runs
//! or where the database is can only be said by the files.

use indexmap::IndexMap;
use serde_json::Value;

use crate::definition::kind::Kind;
use crate::definition::{Definition, find};
use crate::draft::Draft;
use crate::node::{Data, Entry, Node, Position};
use crate::problem::{Problem, ProblemKind};
use crate::resolve::REFUSED;
use crate::tree;
use crate::validate;

/// How the place of everything stored begins, where files have their name.
const STORED: &str = "database:";

/// Lists of which the files' entry of a name counts, and what the name is in them.
const NAMED: [(&str, &str); 2] = [("guardrails", "guardrail_name"), ("prompts", "prompt_id")];

/// Settings that only the files give, besides those that name code: without them the database could not be read, or others
/// than the operator would decide what runs here.
const OF_THE_FILE: [&str; 29] = [
    "general_settings.master_key",
    "general_settings.dangerously_permit_weak_or_unset_master_key",
    "general_settings.database_url",
    "general_settings.database_type",
    "general_settings.database_args",
    "general_settings.database_connection_pool_limit",
    "general_settings.database_connection_timeout",
    "general_settings.database_connection_pool_timeout",
    "general_settings.disable_prisma_schema_update",
    "general_settings.store_model_in_db",
    "general_settings.supported_db_objects",
    "general_settings.db_config_precedence",
    "general_settings.proxy_config_reload_interval_seconds",
    "general_settings.key_management_system",
    "general_settings.key_management_settings",
    "general_settings.use_google_kms",
    "general_settings.use_azure_key_vault",
    "general_settings.custom_auth_settings",
    "litellm_settings.custom_provider_map",
    "environment_variables.LITELLM_SALT_KEY",
    "environment_variables.LITELLM_MASTER_KEY",
    "environment_variables.DATABASE_URL",
    "environment_variables.STORE_MODEL_IN_DB",
    "environment_variables.DIRECT_URL",
    "environment_variables.LITELLM_MODE",
    "environment_variables.SSL_CERT_FILE",
    "environment_variables.CONFIG_FILE_PATH",
    "environment_variables.UI_LOGO_PATH",
    // The gateway's own token of its cloud goes there.
    "litellm_settings.cache_params.gcp_iam_endpoint_url",
];

/// One thing that the database adds.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredItem {
    /// Its row: `database:TABLE["id"]`. Problems name it where they name a file otherwise.
    pub place: String,
    /// `model_list[]`, `credential_list[]`, `guardrails[]`, `prompts[]`, or a setting such as `general_settings.alerting`.
    pub path: String,
    /// Its value.
    pub value: Value,
}

impl Draft {
    /// With what the database adds.
    #[must_use]
    pub fn with_stored(mut self, items: &[StoredItem]) -> Self {
        let db_wins = self.gives_way();
        for item in items {
            let node = node(&item.value, &Position::of_file(&item.place.as_str().into()));
            match item.path.split_once('.') {
                None => self.append(item.path.trim_end_matches("[]"), node),
                Some((section, list)) if list.ends_with("[]") => {
                    self.append_within(section, list.trim_end_matches("[]"), node);
                }
                Some((section, key)) => match only_files(section, key, &item.value) {
                    None => self.set(section, key, node, db_wins),
                    Some(why) => self.warn(&node.at, &item.path, &why),
                },
            }
        }
        self
    }

    /// Whether the database's settings go before the files' (`db_config_precedence`).
    pub fn gives_way(&self) -> bool {
        let precedence = self.root().at_path("general_settings.db_config_precedence");
        precedence.and_then(Node::as_text) == Some("db")
    }

    /// Whether the files declare a setting.
    pub fn declares(&self, section: &str, key: &str) -> bool {
        self.root()
            .get(section)
            .and_then(|section| section.get(key))
            .is_some()
    }

    fn append(&mut self, list: &str, node: Node) {
        let name = "credential_name";
        let called = node.get(name).and_then(Node::as_text).map(str::to_owned);
        let key = NAMED.iter().find(|(own, _)| *own == list);
        if let Some((_, key)) = key.filter(|(_, key)| self.has_named(list, key, &node)) {
            let why = format!("the file has one of this {key}, and the file's counts");
            let path = format!("{list}[].{key}");
            return self.add_problem(Problem::error(ProblemKind::Reference, &node.at, &path, why));
        }
        let entry = self.entry(list, || Data::List(Vec::new()));
        if let Some(Data::List(items)) = entry.map(|entry| &mut entry.data) {
            // A credential of the database is there in place of the file's.
            if let Some(called) = called {
                items.retain(|item| item.get(name).and_then(Node::as_text) != Some(&called));
            }
            items.push(node);
        }
    }

    /// Adds to a list in a section. What the files have of it stays, and of a route that both have theirs counts.
    fn append_within(&mut self, section: &str, list: &str, node: Node) {
        let route = |node: &Node| {
            let path = node.get("path").and_then(Node::as_text)?;
            Some(path.trim().trim_matches('/').to_owned())
        };
        let entry = self.entry(section, || Data::Map(IndexMap::new()));
        let Some(entries) = entry.and_then(Node::as_map_mut) else {
            return;
        };
        let at = node.at.clone();
        let new = || Entry {
            key_at: at.clone(),
            node: Node::new(Data::List(Vec::new()), at.clone()),
        };
        let entry = entries.entry(list.to_owned()).or_insert_with(new);
        if entry.node.is_null() {
            *entry = new();
        }
        let Data::List(items) = &mut entry.node.data else {
            return;
        };
        if items
            .iter()
            .any(|item| route(item).is_some() && route(item) == route(&node))
        {
            let why = "there is a route of this path already; the file's counts before the database's, and the first of several".to_owned();
            let path = format!("{section}.{list}[].path");
            return self.add_problem(Problem::error(ProblemKind::Reference, &node.at, &path, why));
        }
        items.push(node);
    }

    /// Whether the files have an entry that is called as this one; of guardrails, also the database.
    fn has_named(&self, list: &str, key: &str, node: &Node) -> bool {
        let name = |node: &Node| node.get(key).and_then(Node::as_text).map(str::to_owned);
        let listed = self.root().get(list).and_then(Node::as_list);
        let called = name(node);
        // A prompt of the database has an entry for each of its versions.
        let counts = |one: &&Node| list != "prompts" || !is_stored(&one.at);
        let mut others = listed.unwrap_or_default().iter().filter(counts);
        others.any(|one| name(one) == called)
    }

    fn set(&mut self, section: &str, key: &str, node: Node, db_wins: bool) {
        let declared = self.declares(section, key);
        // Who says what the file says quarrels with nobody.
        let same = self
            .root()
            .get(section)
            .and_then(|section| section.get(key));
        if same.is_some_and(
            |same| matches!((&same.data, &node.data), (Data::Bool(a), Data::Bool(b)) if a == b),
        ) {
            return;
        }
        if declared && !db_wins {
            let why = "the file declares it, and the file's counts; general_settings.db_config_precedence: db would change that";
            return self.warn(&node.at, &format!("{section}.{key}"), why);
        }
        let entry = self.entry(section, || Data::Map(IndexMap::new()));
        if let Some(Data::Map(entries)) = entry.map(|entry| &mut entry.data) {
            let key_at = node.at.clone();
            match (
                entries.get_mut(key).map(|entry| &mut entry.node.data),
                node.data,
            ) {
                (Some(Data::Map(of_file)), Data::Map(of_db)) => of_file.extend(of_db),
                (_, data) => {
                    let node = Node::new(data, key_at.clone());
                    entries.insert(key.to_owned(), Entry { key_at, node });
                }
            }
        }
    }

    fn warn(&mut self, at: &Position, path: &str, why: &str) {
        self.add_problem(Problem::warning(
            ProblemKind::Reference,
            at,
            path,
            format!("is left out: {why}"),
        ));
    }
}

/// Whether what is there came from the database.
fn is_stored(position: &Position) -> bool {
    position.file().is_some_and(|file| file.starts_with(STORED))
}

impl crate::GuardrailEntry {
    /// Whether it came from the database: then nothing it says is a grant of the operator's.
    pub fn is_stored(&self) -> bool {
        is_stored(&self.position)
    }
}

impl crate::PromptEntry {
    /// Whether it came from the database: then nothing it says is a grant of the operator's.
    pub fn is_stored(&self) -> bool {
        is_stored(&self.position)
    }
}

impl crate::ModelEntry {
    /// Whether it came from the database.
    pub fn is_stored(&self) -> bool {
        is_stored(&self.position)
    }

    /// Whether an admin of a team wrote it: it uses nothing of the gateway's own.
    pub fn is_bounded(&self) -> bool {
        self.is_stored() && self.model_info.get("added_by_team_admin") == Some(&Value::Bool(true))
    }
}

/// What is wrong with a setting that somebody wants to store, if something is: in which words, with the nearest name.
pub fn setting_fault(section: &str, key: &str, value: &Value) -> Option<String> {
    if let Some(why) = only_files(section, key, value) {
        return Some(format!("{section}.{key}: {why}"));
    }
    if section == "environment_variables" && REFUSED.contains(&key) {
        return Some(format!(
            "{section}.{key}: may not be set by a configuration"
        ));
    }
    let at = Position::default();
    let map = |key: &str, node| {
        let key_at = at.clone();
        let entries = [(key.to_owned(), Entry { key_at, node })];
        Node::new(Data::Map(entries.into_iter().collect()), at.clone())
    };
    let mut root = map(section, map(key, node(value, &at)));
    let mut problems = Vec::new();
    validate::validate(&mut root, &mut problems);
    problems.first().map(ToString::to_string)
}

/// The definitions of a section's keys, as far as a database may set them.
pub fn settings_of(section: &str) -> impl Iterator<Item = &'static Definition> {
    let section = section.to_owned();
    let names = section
        .split('.')
        .try_fold(tree::root(), |place, name| place.child(name))
        .into_iter()
        .flat_map(tree::Tree::names);
    let all = names.filter_map(move |name| find(&format!("{section}.{name}")));
    all.filter(|definition| {
        !OF_THE_FILE.contains(&definition.path.as_str()) && !is_local(&definition.kind)
    })
}

/// Whether such a value names code or a file of this machine.
fn is_local(kind: &Kind) -> bool {
    matches!(kind, Kind::Code | Kind::Path)
}

/// Why only the files may say this, if that is so.
fn only_files(section: &str, key: &str, value: &Value) -> Option<String> {
    let path = format!("{section}.{key}");
    let is_local = find(&path).is_some_and(|definition| is_local(&definition.kind));
    let is_own = section == "environment_variables" && key.starts_with("WITGATE_");
    if is_local || is_own || OF_THE_FILE.contains(&path.as_str()) {
        return Some("only the configuration file may say it".to_owned());
    }
    if let Some(name) = local_within(&path, value) {
        return Some(format!("only the configuration file may say {name}"));
    }
    // A name leads to a built-in or declared component; a path or a reference to any.
    let is_path = |text: &str| text.contains(['.', '/', ':', '\\']);
    let texts = value
        .as_array()
        .map_or(std::slice::from_ref(value), Vec::as_slice);
    let path = texts
        .iter()
        .filter_map(Value::as_str)
        .find(|text| is_path(text));
    path.filter(|_| section == "litellm_settings" && key.contains("callback"))
        .map(|name| {
            format!(
                "only the configuration file may name a component by its path, such as {name:?}"
            )
        })
}

/// A member of a setting that only the files may say, if it has one.
fn local_within(path: &str, value: &Value) -> Option<String> {
    value.as_object()?.iter().find_map(|(name, value)| {
        let path = format!("{path}.{name}");
        // A file, unless it is what would be in it.
        let text = value.as_str().map_or("", str::trim_start);
        let is_key_file = name == "gcs_path_service_account" && !text.starts_with('{');
        let is_local =
            is_key_file || find(&path).is_some_and(|definition| is_local(&definition.kind));
        let is_said = !value.is_null() && (is_local || OF_THE_FILE.contains(&path.as_str()));
        is_said.then(|| name.clone()).or_else(|| {
            let within = local_within(&path, value)?;
            Some(format!("{name}.{within}"))
        })
    })
}

/// JSON as a part of the configuration.
fn node(value: &Value, at: &Position) -> Node {
    let data = match value {
        Value::Null => Data::Null,
        Value::Bool(value) => Data::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Data::Int(whole),
            None => Data::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Data::Text(text.clone()),
        Value::Array(items) => Data::List(items.iter().map(|item| node(item, at)).collect()),
        Value::Object(members) => {
            let entries = members.iter().map(|(name, value)| {
                let (key_at, node) = (at.clone(), node(value, at));
                (name.clone(), Entry { key_at, node })
            });
            Data::Map(entries.collect())
        }
    };
    Node::new(data, at.clone())
}

#[cfg(test)]
mod tests;
