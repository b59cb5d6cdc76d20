//! Text completions on a provider that only chats: the prompt is one message of the user, and the
//! answer's message is the text.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use witgate_wire::{Edits, Object, Raw};

/// The request as a chat. The error is for the client.
pub(super) fn request(body: &Bytes) -> Result<Bytes, String> {
    // A body that was spliced from a valid one is valid.
    let Ok(object) = Object::scan(body) else {
        return Ok(body.clone());
    };
    let prompt = match object.given("prompt").and_then(Raw::parse::<Value>) {
        Some(Value::String(text)) => text,
        Some(Value::Array(list)) => match list.as_slice() {
            [Value::String(text)] => text.clone(),
            _ => return Err("this provider takes one prompt, a string".to_owned()),
        },
        _ => return Err("prompt must be a string".to_owned()),
    };
    let mut edits = Edits::new();
    edits.remove("prompt");
    let messages = json!([{"role": "user", "content": prompt}]);
    edits.set("messages", messages.to_string());
    Ok(object.apply(&edits).unwrap_or_else(|_| body.clone()))
}

/// A chat's answer, or one of its chunks, as a text completion's.
pub(super) fn answer(json: &Bytes) -> Bytes {
    let Ok(mut answer) = serde_json::from_slice::<Map<String, Value>>(json) else {
        return json.clone();
    };
    answer.remove("object");
    let choices = answer.get_mut("choices").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten() {
        let said = ["message", "delta"].map(|name| &choice[name]["content"]);
        let text = said.iter().find_map(|said| said.as_str());
        let text = text.unwrap_or_default().to_owned();
        *choice = json!({"index": choice["index"], "text": text, "logprobs": null,
            "finish_reason": choice["finish_reason"]});
    }
    Value::Object(answer).to_string().into()
}
