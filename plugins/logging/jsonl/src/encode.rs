//! From events to lines.

use std::borrow::Cow;

use serde_json::{Map, Value};
use witgate_plugin::log_sink::{Event, Outcome, Partial, Rejection};

use crate::config::Settings;

/// The lines of a batch, and its outcome once they are written: all delivered, but for events that are not JSON objects.
pub fn lines(settings: &Settings, batch: &[Event]) -> (Vec<u8>, Outcome) {
    let mut lines = Vec::with_capacity(batch.iter().map(|event| event.payload.len() + 1).sum());
    let mut rejected = Vec::new();
    for (index, event) in batch.iter().enumerate() {
        match line(settings, event) {
            Ok(line) => {
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
            }
            Err(error) => rejected.push(Rejection {
                index: index as u32,
                reason: error.to_string(),
            }),
        }
    }
    let outcome = if rejected.is_empty() {
        Outcome::Delivered
    } else {
        Outcome::Partial(Partial {
            retry: Vec::new(),
            rejected,
            retry_after_ms: None,
        })
    };
    (lines, outcome)
}

fn line<'a>(settings: &Settings, event: &'a Event) -> Result<Cow<'a, str>, serde_json::Error> {
    let as_it_is = settings.fields.is_empty() && !settings.context && !event.payload.contains('\n');
    if as_it_is {
        return Ok(Cow::Borrowed(&event.payload));
    }
    let mut payload: Map<String, Value> = serde_json::from_str(&event.payload)?;
    let mut line = if settings.fields.is_empty() {
        payload
    } else {
        let chosen = settings
            .fields
            .iter()
            .filter_map(|field| payload.remove_entry(field));
        chosen.collect()
    };
    if settings.context {
        let mut context: Map<String, Value> = serde_json::from_str(&event.context)?;
        // This request's own credentials for sinks: not for a file.
        context.remove("dynamic");
        line.insert("context".to_owned(), Value::Object(context));
    }
    serde_json::to_string(&line).map(Cow::Owned)
}
