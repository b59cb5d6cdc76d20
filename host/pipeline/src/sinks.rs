//! Log sinks that a key or its team names, beside those of everybody: the key's `metadata.logging`, else the team's, else the team's
//! `metadata.callback_settings` (LiteLLM's older form), else the entry of its id in `litellm_settings.default_team_settings`. The
//! first of these that is there counts, and nothing of the others.
//!
//! Only a sink that the configuration has can be named; the hub sees to that. What is said to a sink (`callback_vars`) goes to
//! sinks of that kind alone, and takes the place of everything that the request says to them: a client's address and
//! a team's credentials must never meet.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use witgate_events::{Dynamic, Named};
use witgate_identity::Principal;

/// Sinks of one key or team.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamedSinks {
    /// Which get its calls.
    pub named: Arc<Named>,
    /// What they are told.
    vars: Dynamic,
    /// `turn_off_message_logging`: no sink gets prompts and answers.
    pub hides_messages: bool,
}

impl NamedSinks {
    /// Those of a call's key or team, if any are named. `defaults` are those of the configuration, by team.
    #[must_use]
    pub fn of(caller: &Principal, defaults: &HashMap<String, Arc<Self>>) -> Option<Arc<Self>> {
        let own = [&caller.metadata, &caller.team_metadata];
        let listed = own
            .into_iter()
            .find_map(|metadata| Self::logging(metadata.get("logging")));
        let old_form = || match caller.team_metadata.get("callback_settings") {
            Some(Value::Object(settings)) if !settings.is_empty() => {
                let none = Map::new();
                let vars = settings.get("callback_vars").and_then(Value::as_object);
                Some(Self::lists(settings, vars.unwrap_or(&none)))
            }
            _ => None,
        };
        let default = || defaults.get(caller.team_id.as_ref()?).cloned();
        listed.or_else(old_form).map(Arc::new).or_else(default)
    }

    /// An entry of `default_team_settings`: its lists, and what else it says to them.
    #[must_use]
    pub fn default_of(entry: &Map<String, Value>) -> Self {
        Self::lists(entry, entry)
    }

    /// `logging: [{callback_name, callback_type, callback_vars}]`; an entry that cannot be read names nothing.
    fn logging(list: Option<&Value>) -> Option<Self> {
        let list = list?.as_array().filter(|list| !list.is_empty())?;
        let mut named = Named::default();
        let mut all = Self::default();
        for entry in list {
            let Some(name) = entry.get("callback_name").and_then(Value::as_str) else {
                continue;
            };
            let (success, failure) = match entry.get("callback_type").and_then(Value::as_str) {
                Some("success") => (true, false),
                Some("failure") => (false, true),
                Some("success_and_failure") | None => (true, true),
                Some(_) => continue,
            };
            for (wanted, names) in [(success, &mut named.success), (failure, &mut named.failure)] {
                if wanted && !names.iter().any(|known| known == name) {
                    names.push(name.to_owned());
                }
            }
            if let Some(Value::Object(vars)) = entry.get("callback_vars") {
                all.tell(name, vars);
            }
        }
        all.named = Arc::new(named);
        Some(all)
    }

    /// `success_callback` and `failure_callback`.
    fn lists(of: &Map<String, Value>, vars: &Map<String, Value>) -> Self {
        let list = |name: &str| -> Vec<String> {
            let listed = of.get(name).and_then(Value::as_array).into_iter().flatten();
            listed
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let named = Named {
            success: list("success_callback"),
            failure: list("failure_callback"),
        };
        let mut all = Self::default();
        for name in named.success.iter().chain(&named.failure) {
            all.tell(name, vars);
        }
        all.named = Arc::new(named);
        all
    }

    /// Takes what is said to a sink: parameters of its kind, as they are. A reference to the environment is the
    /// operator's to resolve, and was where it is theirs.
    fn tell(&mut self, sink: &str, vars: &Map<String, Value>) {
        let kind = family(&sink.replace('-', "_")).to_owned();
        for (name, value) in vars {
            if name == "turn_off_message_logging" {
                self.hides_messages |= *value == true || value == "true" || value == "True";
            } else if let Some(text) = value.as_str()
                && family(name) == kind
                && !text.starts_with("os.environ/")
            {
                self.vars.0.insert(name.clone(), text.to_owned());
            }
        }
    }

    /// What the sinks of a call are told: this, and of the request's own what is for other kinds of sinks.
    #[must_use]
    pub fn over(&self, request: Dynamic) -> Dynamic {
        let mut all = request.0;
        let kinds: Vec<&str> = self.vars.0.keys().map(|name| family(name)).collect();
        all.retain(|name, _| !kinds.contains(&family(name)));
        all.extend(self.vars.0.clone());
        Dynamic(all)
    }
}

/// The kind of sinks that a parameter or a sink's name is of: `langfuse` of `langfuse_host`.
fn family(name: &str) -> &str {
    name.split('_').next().unwrap_or(name)
}

/// `litellm_settings.default_team_settings`, by team.
#[must_use]
pub fn default_team_settings(list: Option<&Value>) -> HashMap<String, Arc<NamedSinks>> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    let by_team = entries.filter_map(Value::as_object).filter_map(|entry| {
        let team = entry.get("team_id")?.as_str()?;
        Some((team.to_owned(), Arc::new(NamedSinks::default_of(entry))))
    });
    by_team.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    fn vars(of: &NamedSinks) -> BTreeMap<String, String> {
        of.over(Dynamic::default()).0
    }

    #[test]
    fn the_nearest_level_counts_alone() {
        let defaults = default_team_settings(Some(&json!([
            {"team_id": "red", "success_callback": ["langfuse"], "langfuse_secret": "of-config"},
        ])));
        let mut caller = Principal {
            team_id: Some("red".to_owned()),
            ..Principal::default()
        };
        let found = |caller: &Principal| NamedSinks::of(caller, &defaults).unwrap();
        assert_eq!(found(&caller).named.success, ["langfuse"]);
        assert_eq!(vars(&found(&caller))["langfuse_secret"], "of-config");
        // Emptied by /team/{id}/disable_logging: nobody, and nothing is told.
        caller.team_metadata = object(json!({"callback_settings": {
            "success_callback": [], "failure_callback": [], "callback_vars": {"langfuse_secret": "left"},
        }}));
        assert_eq!(*found(&caller).named, Named::default());
        assert!(vars(&found(&caller)).is_empty());
        caller.team_metadata = object(json!({"callback_settings": {
            "failure_callback": ["langfuse"],
            "callback_vars": {"langfuse_secret": "of-team", "gcs_bucket_name": "b", "turn_off_message_logging": "true"},
        }}));
        let team = found(&caller);
        assert_eq!((team.named.success.len(), team.hides_messages), (0, true));
        assert_eq!(vars(&team).len(), 1, "the bucket is no affair of langfuse");
        caller.metadata = object(json!({"logging": [
            {"callback_name": "s3", "callback_type": "success", "callback_vars": {"langfuse_secret": "x"}},
            {"callback_name": "langfuse", "callback_vars": {"langfuse_host": "os.environ/SECRET"}},
            {"callback_type": "success"}, {"callback_name": "y", "callback_type": "z"}, 7,
        ]}));
        let key = found(&caller);
        assert_eq!(key.named.success, ["s3", "langfuse"]);
        assert_eq!(key.named.failure, ["langfuse"]);
        assert!(vars(&key).is_empty(), "{:?}", vars(&key));
        assert!(NamedSinks::of(&Principal::default(), &defaults).is_none());
    }

    #[test]
    fn a_clients_address_never_meets_a_teams_credentials() {
        let entry =
            object(json!({"success_callback": ["langfuse"], "langfuse_secret_key": "team"}));
        let said = |name: &str| (name.to_owned(), "client".to_owned());
        let request = Dynamic([said("langfuse_host"), said("langsmith_project")].into());
        let told = NamedSinks::default_of(&entry).over(request).0;
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told["langfuse_secret_key"], "team");
        assert_eq!(told["langsmith_project"], "client");
    }
}
