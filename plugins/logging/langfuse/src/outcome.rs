//! What Langfuse says about the events of a request: 207 names the items that were refused.

use std::collections::HashMap;

use serde::Deserialize;
use witgate_plugin::delivery::Fates;
use witgate_plugin::http::Response;

use crate::encode::Item;

/// Reads the answer to a request with items of these events.
pub fn answer(fates: &mut Fates, response: &Response, items: &[(usize, &Item)]) {
    if response.is_success() {
        partial_errors(fates, response, items);
    } else {
        fates.answer(response, items.iter().map(|(event, _)| *event));
    }
}

/// An answer without a list of errors took all.
fn partial_errors(fates: &mut Fates, response: &Response, items: &[(usize, &Item)]) {
    let Ok(report) = response.json::<Report>() else {
        return;
    };
    let events: HashMap<&str, usize> = items
        .iter()
        .map(|(event, item)| (item.id.as_str(), *event))
        .collect();
    for error in report.errors {
        let Some(event) = events.get(error.id.as_str()) else {
            continue;
        };
        let reason = format!("status {}: {}", error.status, error.text());
        if matches!(error.status, 429 | 500..=599) {
            fates.retry(*event, reason);
        } else {
            fates.reject(*event, reason);
        }
    }
}

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    errors: Vec<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(default)]
    id: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error: Option<serde_json::Value>,
}

impl ItemError {
    fn text(&self) -> String {
        let error = self
            .error
            .as_ref()
            .filter(|error| !error.is_null())
            .map(ToString::to_string);
        [self.message.clone(), error]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    }
}
