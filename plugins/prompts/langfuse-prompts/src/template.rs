//! Langfuse's prompts: a text, or messages with places for values and for whole messages.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use witgate_plugin::Error;
use witgate_plugin::prompt_manager::{Prompt, fill_in};

/// A prompt as Langfuse's API gives it.
#[derive(Debug, Deserialize)]
pub struct Template {
    name: String,
    prompt: Content,
    #[serde(default)]
    config: Value,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Chat(Vec<Map<String, Value>>),
}

impl Template {
    /// Reads an answer of `GET /api/public/v2/prompts/{name}`.
    pub fn read(body: &str) -> Result<Self, Error> {
        serde_json::from_str(body)
            .map_err(|error| Error::unavailable(format!("langfuse's answer is no prompt: {error}")))
    }

    /// The prompt with its places filled in, and the client's messages behind it when they are given.
    pub fn fill(
        &self,
        variables: &Map<String, Value>,
        client: Option<&Vec<Value>>,
    ) -> Result<Prompt, Error> {
        let mut messages = Vec::new();
        match &self.prompt {
            Content::Text(text) => {
                let content = fill_in(text, variables);
                messages.push(json!({"role": "system", "content": content}));
            }
            Content::Chat(template) => {
                for message in template {
                    self.message(message, variables, &mut messages)?;
                }
            }
        }
        messages.extend(client.into_iter().flatten().cloned());
        // What is set in Langfuse beside the prompt: the model, and parameters.
        let mut params = match &self.config {
            Value::Object(config) => config.clone(),
            _ => Map::new(),
        };
        let model = params.remove("model");
        Ok(Prompt {
            model: model.as_ref().and_then(Value::as_str).map(str::to_owned),
            messages,
            params,
        })
    }

    fn message(
        &self,
        message: &Map<String, Value>,
        variables: &Map<String, Value>,
        out: &mut Vec<Value>,
    ) -> Result<(), Error> {
        if message.get("type").and_then(Value::as_str) == Some("placeholder") {
            let name = message
                .get("name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return match variables.get(name) {
                Some(Value::Array(own)) => {
                    out.extend(own.iter().cloned());
                    Ok(())
                }
                Some(_) => Err(Error::failed(format!(
                    "the prompt {:?} has a place for messages, {name:?}; the variable of this name must be a list of messages",
                    self.name
                ))),
                None => Err(Error::failed(format!(
                    "the prompt {:?} has a place for messages, {name:?}, and prompt_variables has nothing for it",
                    self.name
                ))),
            };
        }
        let mut message = message.clone();
        // Langfuse's own mark, which no model provider knows.
        message.remove("type");
        if let Some(content) = message.get_mut("content") {
            fill_content(content, variables);
        }
        out.push(Value::Object(message));
        Ok(())
    }
}

/// Fills the texts of a content: the text itself, or the text parts of a list.
fn fill_content(content: &mut Value, variables: &Map<String, Value>) {
    match content {
        Value::String(text) => *text = fill_in(text, variables),
        Value::Array(parts) => {
            for text in parts.iter_mut().filter_map(|part| part.get_mut("text")) {
                fill_content(text, variables);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(prompt: Value, variables: Value) -> Result<Prompt, Error> {
        let template = Template::read(&prompt.to_string())?;
        let client = vec![json!({"role": "user", "content": "{{name}}"})];
        template.fill(variables.as_object().unwrap(), Some(&client))
    }

    #[test]
    fn a_text_becomes_the_systems_message_and_the_clients_follow_untouched() {
        let prompt =
            json!({"name": "p", "type": "text", "prompt": "Greet {{name}}.", "config": {}});
        let prompt = fill(prompt, json!({"name": "Ann"})).unwrap();
        assert_eq!(
            prompt.messages,
            [
                json!({"role": "system", "content": "Greet Ann."}),
                json!({"role": "user", "content": "{{name}}"}),
            ]
        );
        assert_eq!((prompt.model, prompt.params.len()), (None, 0));
    }

    #[test]
    fn messages_keep_their_roles_and_places_take_messages() {
        let prompt = json!({"name": "p", "type": "chat", "config": {"model": "gpt-4o", "temperature": 0.2}, "prompt": [
            {"type": "chatmessage", "role": "system", "content": "You are {{tone}}."},
            {"type": "placeholder", "name": "history"},
            {"role": "user", "content": [{"type": "text", "text": "{{question}}"}]},
        ]});
        let history = json!([{"role": "assistant", "content": "{{question}}"}]);
        let filled = fill(
            prompt.clone(),
            json!({"tone": "dry", "history": history, "question": "Why?"}),
        )
        .unwrap();
        assert_eq!(
            filled.messages[..3],
            [
                json!({"role": "system", "content": "You are dry."}),
                json!({"role": "assistant", "content": "{{question}}"}),
                json!({"role": "user", "content": [{"type": "text", "text": "Why?"}]}),
            ]
        );
        assert_eq!(filled.model.as_deref(), Some("gpt-4o"));
        assert_eq!(Value::Object(filled.params), json!({"temperature": 0.2}));
        let missing = fill(prompt, json!({})).unwrap_err();
        assert!(missing.text().contains("history"), "{missing}");
    }

    #[test]
    fn what_is_no_prompt_is_said() {
        for body in ["", "{}", r#"{"name":"p","prompt":7}"#] {
            assert!(Template::read(body).is_err(), "{body}");
        }
    }
}
