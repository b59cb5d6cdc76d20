//! Prompts that stand in the configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;
use witgate_plugin::Error;
use witgate_plugin::prompt_manager::{Call, Prompt, PromptManager, fill_in};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    prompts: BTreeMap<String, String>,
}

/// The prompt manager.
pub struct Plugin(Settings);

impl PromptManager for Plugin {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn get_chat_completion_prompt(&self, call: &Call) -> Result<Option<Prompt>, Error> {
        let Some(template) = self.0.prompts.get(&call.prompt_id) else {
            return Ok(None); // not one of ours: the next prompt manager is asked
        };
        let content = fill_in(template, &call.prompt_variables);
        let mut messages = vec![json!({"role": "system", "content": content})];
        messages.extend(call.messages.iter().cloned());
        Ok(Some(Prompt {
            messages,
            ..Prompt::default()
        }))
    }
}

witgate_plugin::export_prompt_manager!(Plugin);
