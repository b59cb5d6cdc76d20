//! What was done through the management API, for those who are told of it: LiteLLM's alert types of keys, teams, users and models
//! (`alert_types`).

use serde_json::{Map, Value};
use witgate_identity::mask_key;

use crate::operation::Operation;
use crate::{Ask, ControlPlane};

/// Characters of an argument that are told.
const ARGUMENT_MAX: usize = 500;
/// Arguments that are told, and characters of their names: a body may have any.
const ARGUMENTS: usize = 50;
const NAME_MAX: usize = 60;

/// What was done: LiteLLM's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum DeedKind {
    ModelAdded,
    KeyCreated,
    KeyUpdated,
    KeyDeleted,
    TeamCreated,
    TeamUpdated,
    TeamDeleted,
    UserCreated,
    UserUpdated,
    UserDeleted,
}

impl DeedKind {
    /// What an operation does, if it is one that is told.
    fn of(operation: &Operation) -> Option<Self> {
        Some(match operation.name() {
            "/model/new" => Self::ModelAdded,
            "/key/generate" | "/key/service-account/generate" => Self::KeyCreated,
            "/key/update" => Self::KeyUpdated,
            "/key/delete" => Self::KeyDeleted,
            "/team/new" => Self::TeamCreated,
            "/team/update" => Self::TeamUpdated,
            "/team/delete" => Self::TeamDeleted,
            "/user/new" => Self::UserCreated,
            "/user/update" => Self::UserUpdated,
            "/user/delete" => Self::UserDeleted,
            _ => return None,
        })
    }
}

/// What somebody did.
#[derive(Debug, Clone)]
pub struct Deed {
    /// What it was.
    pub kind: DeedKind,
    /// Who did it, by LiteLLM's names.
    pub by: Vec<(&'static str, String)>,
    /// What they asked for; nothing secret.
    pub arguments: Vec<(String, String)>,
}

/// Tells people of deeds.
pub trait Herald: Send + Sync {
    /// Whether anybody is told of these.
    fn tells(&self, kind: DeedKind) -> bool;
    /// Takes a deed, without waiting for its way.
    fn take(&self, deed: Deed);
}

impl ControlPlane {
    /// Tells of an operation that was done.
    pub(crate) fn herald(&self, operation: &Operation, ask: &Ask) {
        let herald = DeedKind::of(operation).zip(self.herald.get());
        let Some((kind, herald)) = herald.filter(|(kind, herald)| herald.tells(*kind)) else {
            return;
        };
        let caller = &ask.caller;
        let role = caller.role.as_ref().map(|role| role.as_str().to_owned());
        let by = [
            ("created_by_user_id", caller.user_id.clone()),
            ("created_by_user_role", role),
            ("created_by_key_alias", caller.key_alias.clone()),
        ];
        // Without a configuration that knows what is secret everything is.
        let configuration = self.configuration().ok();
        let is_secret =
            |name: &str| configuration.is_none_or(|configuration| configuration.is_secret(name));
        let said = ask.body.iter().filter(|(_, value)| !value.is_null());
        let arguments = said
            .take(ARGUMENTS)
            .map(|(name, value)| (cut(name, NAME_MAX), shown(name, value, &is_secret)));
        herald.take(Deed {
            kind,
            by: by
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)))
                .collect(),
            arguments: arguments.collect(),
        });
    }
}

/// An argument as a text, its secrets masked.
fn shown(name: &str, value: &Value, is_secret: &dyn Fn(&str) -> bool) -> String {
    let text = match masked(name, value, is_secret) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    cut(&text, ARGUMENT_MAX)
}

/// So many characters of a text, and a sign that there were more.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn masked(name: &str, value: &Value, is_secret: &dyn Fn(&str) -> bool) -> Value {
    match value {
        // A key is told by its last characters, whatever it is called.
        Value::String(text) if text.starts_with("sk-") => mask_key(text).into(),
        Value::Null => Value::Null,
        // Whatever it is made of: headers are named as their sender likes.
        _ if is_secret(name) => "***".into(),
        Value::Object(members) => {
            let members = members.iter();
            let members =
                members.map(|(name, value)| (name.clone(), masked(name, value, is_secret)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let items = items.iter().map(|item| masked(name, item, is_secret));
            items.collect()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::{Value, json};

    use super::{ARGUMENTS, Deed, DeedKind, Herald, shown};
    use crate::testing::world;

    #[derive(Default)]
    struct Ear(Mutex<Vec<Deed>>);

    impl Herald for Ear {
        fn tells(&self, kind: DeedKind) -> bool {
            kind != DeedKind::ModelAdded
        }

        fn take(&self, deed: Deed) {
            self.0.lock().push(deed);
        }
    }

    #[tokio::test]
    async fn each_deed_is_told_as_what_it_is_and_in_bounds() {
        use DeedKind::*;
        let world = world(json!({})).await;
        let ear = Arc::new(Ear::default());
        world.plane.heralded_by(ear.clone());
        let mut large: Value = json!({"team_id": "t"});
        for n in 0..ARGUMENTS {
            large[format!("other_{n}_{}", "x".repeat(99))] = json!(n);
        }
        let made = world.done("/key/generate", json!({})).await;
        let key = made["token"].clone();
        for (path, body) in [
            ("/key/update", json!({"key": key, "max_budget": 1})),
            ("/key/delete", json!({"keys": [key]})),
            ("/team/new", json!({"team_id": "t"})),
            ("/team/update", large),
            ("/team/delete", json!({"team_ids": ["t"]})),
            ("/user/new", json!({"user_id": "u"})),
            ("/user/update", json!({"user_id": "u", "max_budget": 1})),
            ("/user/delete", json!({"user_ids": ["u"]})),
        ] {
            world.done(path, body).await;
        }
        // What is refused was not done.
        world
            .post(
                &crate::testing::admin(),
                "/team/delete",
                json!({"team_ids": ["t"]}),
            )
            .await;
        let deeds = std::mem::take(&mut *ear.0.lock());
        let kinds: Vec<DeedKind> = deeds.iter().map(|deed| deed.kind).collect();
        let all = [
            KeyCreated,
            KeyUpdated,
            KeyDeleted,
            TeamCreated,
            TeamUpdated,
            TeamDeleted,
            UserCreated,
            UserUpdated,
            UserDeleted,
        ];
        assert_eq!(kinds, all);
        let told = &deeds[4].arguments;
        assert_eq!(told.len(), ARGUMENTS);
        assert!(told.iter().all(|(name, _)| name.chars().count() <= 61));
    }

    #[test]
    fn arguments_are_told_without_their_secrets() {
        let is_secret =
            |name: &str| name.contains("password") || ["api_key", "headers"].contains(&name);
        let told = |name: &str, value| shown(name, &value, &is_secret);
        assert_eq!(told("password", json!("hunter2")), "***");
        assert_eq!(told("key", json!("sk-0123456789abcd")), "sk-...abcd");
        assert_eq!(
            told("keys", json!(["sk-0123456789abcd", "hash"])),
            r#"["sk-...abcd","hash"]"#
        );
        assert_eq!(
            told("litellm_params", json!({"api_key": "x", "model": "m"})),
            r#"{"api_key":"***","model":"m"}"#
        );
        assert_eq!(
            told("litellm_params", json!({"headers": {"x-own": "hush"}})),
            r#"{"headers":"***"}"#
        );
        assert_eq!(told("max_budget", json!(5)), "5");
        assert_eq!(told("a", json!("ä".repeat(600))).chars().count(), 501);
    }
}
