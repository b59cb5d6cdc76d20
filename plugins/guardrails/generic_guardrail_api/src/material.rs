//! What is judged of a body: its texts, images, tools and tool calls, and where each came from.

use serde_json::Value;
use witgate_plugin::guardrail::Text;

/// The material of one body.
#[derive(Debug, Default)]
pub struct Material {
    /// Texts with the place of each.
    pub texts: Vec<(String, String)>,
    /// URLs of images, with the place of each.
    pub images: Vec<(String, String)>,
    /// Tool definitions of a request.
    pub tools: Option<Value>,
    /// Tool calls of the messages, in order.
    pub tool_calls: Vec<Value>,
    /// The messages of a request as they are.
    pub messages: Option<Value>,
}

impl Material {
    /// Collects it; `field` reads one place of the body.
    pub fn of(texts: Vec<Text>, field: impl Fn(&str) -> Option<String>, is_response: bool) -> Self {
        let json = |pointer: &str| serde_json::from_str::<Value>(&field(pointer)?).ok();
        let mut material = Self::default();
        for text in texts {
            // Tool calls are told as such.
            if !text.pointer.contains("/tool_calls/") {
                material.texts.push((text.pointer, text.text));
            }
        }
        if is_response {
            let choices = json("/choices");
            for choice in list(choices.as_ref()) {
                material
                    .tool_calls
                    .extend(list(choice.pointer("/message/tool_calls")).iter().cloned());
            }
            return material;
        }
        material.messages = json("/messages");
        material.tools = json("/tools");
        for (at, message) in list(material.messages.as_ref()).iter().enumerate() {
            material
                .tool_calls
                .extend(list(message.get("tool_calls")).iter().cloned());
            for (part, content) in list(message.get("content")).iter().enumerate() {
                // LiteLLM takes the bare address, too.
                for member in ["image_url/url", "image_url"] {
                    let own = content.pointer(&format!("/{member}"));
                    if let Some(url) = own.and_then(Value::as_str) {
                        let place = format!("/messages/{at}/content/{part}/{member}");
                        material.images.push((place, url.to_owned()));
                    }
                }
            }
        }
        material
    }

    /// Whether there is nothing to judge.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.images.is_empty() && self.tool_calls.is_empty()
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
