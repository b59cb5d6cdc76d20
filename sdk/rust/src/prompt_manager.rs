//! Prompt managers: LiteLLM's prompt management integrations. They fill a chat request with a prompt that is kept elsewhere.

use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::bindings::prompt_manager::exports::witgate::prompt_manager::prompt_manager as wit;
use crate::instance::Single;
use crate::{Error, Principal, settings};

/// A prompt manager. Name the type in [`export_prompt_manager!`](crate::export_prompt_manager).
pub trait PromptManager: Sized + 'static {
    /// The settings, as the configuration and the manifest's defaults give them.
    type Settings: DeserializeOwned;

    /// Checks the settings and makes the prompt manager, once per instance.
    fn new(settings: Self::Settings) -> Result<Self, Error>;

    /// Fetches the prompt and fills in its variables. `None`: there is no such prompt here. An error fails the call unless the
    /// operator's `fail` is `open`.
    fn get_chat_completion_prompt(&self, call: &Call) -> Result<Option<Prompt>, Error>;
}

/// A chat request that names a prompt.
#[derive(Debug, Clone)]
pub struct Call {
    /// Call id.
    pub id: String,
    /// The model the client asked for, without this plugin's prefix.
    pub model: String,
    /// The client's messages; empty when it sent none.
    pub messages: Vec<Value>,
    /// The client's other parameters.
    pub params: Map<String, Value>,
    /// Which prompt.
    pub prompt_id: String,
    /// Values for the places of the template.
    pub prompt_variables: Map<String, Value>,
    /// Which label of the prompt.
    pub prompt_label: Option<String>,
    /// Which version of the prompt.
    pub prompt_version: Option<String>,
    /// Who asks.
    pub principal: Principal,
}

/// What the request becomes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// The model that answers, a name of the configuration; `None` leaves it.
    pub model: Option<String>,
    /// All messages, in place of the client's.
    pub messages: Vec<Value>,
    /// Parameters to set; they win over the client's.
    pub params: Map<String, Value>,
}

/// A template with its `{{ name }}`s replaced: a text as it is, `null` by nothing, anything else as JSON. What has no value
/// stays.
pub fn fill_in(template: &str, variables: &Map<String, Value>) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let found = after
            .split_once("}}")
            .and_then(|(name, after)| Some((variables.get(name.trim())?, after)));
        match found {
            Some((value, after)) => {
                match value {
                    Value::String(text) => filled.push_str(text),
                    Value::Null => {}
                    other => filled.push_str(&other.to_string()),
                }
                rest = after;
            }
            None => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

/// The kind's trait by the name the export macro uses.
#[doc(hidden)]
pub use self::PromptManager as Plugin;

/// Makes the component export this prompt manager. Once per crate.
#[macro_export]
macro_rules! export_prompt_manager {
    ($plugin:ty) => {
        $crate::export_kind!(prompt_manager, $plugin);
    };
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Export<P>(PhantomData<P>);

impl<P: PromptManager + Single> Export<P> {
    fn with<R>(f: impl FnOnce(&P) -> Result<R, Error>) -> Result<R, Error> {
        P::with(|slot| f(slot.get_or_make(|| P::new(settings::read()?))?))
    }
}

impl<P: PromptManager + Single> wit::Guest for Export<P> {
    fn init() -> Result<(), Error> {
        Self::with(|_| Ok(()))
    }

    fn get_chat_completion_prompt(call: wit::Call) -> Result<wit::Answer, Error> {
        let call = Call {
            messages: serde_json::from_str(&call.messages)?,
            params: serde_json::from_str(&call.params)?,
            prompt_variables: serde_json::from_str(&call.prompt_variables)?,
            id: call.id,
            model: call.model,
            prompt_id: call.prompt_id,
            prompt_label: call.prompt_label,
            prompt_version: call.prompt_version,
            principal: call.principal,
        };
        let prompt = Self::with(|manager| manager.get_chat_completion_prompt(&call))?;
        Ok(match prompt {
            None => wit::Answer::Unknown,
            Some(prompt) => wit::Answer::Found(wit::Prompt {
                model: prompt.model,
                messages: Value::Array(prompt.messages).to_string(),
                params: Value::Object(prompt.params).to_string(),
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_filled_and_values_are_not_templates() {
        let variables = json!({"name": "Ann", "n": 2, "none": null, "evil": "{{name}}"});
        let variables = variables.as_object().unwrap();
        for (template, filled) in [
            (
                "Hi {{name}}, {{ n }} of {{list}}!",
                "Hi Ann, 2 of {{list}}!",
            ),
            ("{{none}}|{{evil}}", "|{{name}}"),
            ("{{{name}}} {{ {{name}}", "{{{name}}} {{ Ann"),
            ("{{name", "{{name"),
        ] {
            assert_eq!(fill_in(template, variables), filled, "{template}");
        }
    }
}
