//! `cache_control_injection_points`: marks for the prompt cache that the deployment puts into messages.

use serde_json::{Value, json};
use witgate_plugin::provider::Failure;

/// Marks that the API takes in one request.
const MARKS_MAX: usize = 4;

/// Marks the messages that the points name, by role or by index (from the end when negative).
pub fn inject(points: &[Value], messages: &mut [Value]) -> Result<(), Failure> {
    let mut marks = messages.iter().filter(|m| is_marked(m)).count();
    for point in points {
        if point["location"] != "message" {
            return Err(Failure::bad_request(format!(
                "cache_control_injection_points: location must be \"message\", not {}",
                point["location"]
            )));
        }
        let mark = point.get("control").cloned();
        let mark = mark.unwrap_or_else(|| json!({"type": "ephemeral"}));
        let index = point["index"]
            .as_i64()
            .or_else(|| point["index"].as_str()?.parse().ok());
        let length = messages.len() as i64;
        let at = index.map(|index| if index < 0 { index + length } else { index });
        let role = point["role"].as_str();
        for (place, message) in messages.iter_mut().enumerate() {
            let is_meant = match at {
                Some(at) => at == place as i64,
                None => role.is_some_and(|role| message["role"] == role),
            };
            if !is_meant || is_marked(message) || marks >= MARKS_MAX {
                continue;
            }
            if let Some(members) = message.as_object_mut() {
                members.insert("cache_control".to_owned(), mark.clone());
                marks += 1;
            }
        }
    }
    Ok(())
}

fn is_marked(message: &Value) -> bool {
    let parts = message["content"].as_array().into_iter().flatten();
    message.get("cache_control").is_some()
        || parts
            .into_iter()
            .any(|part| part.get("cache_control").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_mark_by_role_and_index_and_never_too_many() {
        let mut messages: Vec<Value> = ["system", "user", "assistant", "user", "user", "user"]
            .iter()
            .map(|role| json!({"role": role, "content": "x"}))
            .collect();
        let points = [
            json!({"location": "message", "role": "system"}),
            json!({"location": "message", "index": -1, "control": {"type": "ephemeral", "ttl": "1h"}}),
            json!({"location": "message", "role": "user"}),
        ];
        assert!(inject(&points, &mut messages).is_ok());
        let marked: Vec<bool> = messages.iter().map(is_marked).collect();
        assert_eq!(marked, [true, true, false, true, false, true]);
        assert_eq!(messages[5]["cache_control"]["ttl"], "1h");
        assert!(inject(&[json!({"location": "tool"})], &mut messages).is_err());
    }
}
