//! What became of each event of a batch, put together from the answers to several requests.

use std::collections::HashMap;

use serde::Deserialize;
use witgate_plugin::http::Response;
use witgate_plugin::log_sink::{Again, Outcome, Partial, Rejection};

use crate::encode::Item;

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Delivered,
    Retry(String),
    Rejected(String),
}

/// What became of all events of a batch. Delivered until something else is said; of two bad things the later try wins,
/// as Langfuse takes an item twice without harm.
#[derive(Debug)]
pub struct Fates {
    events: Vec<Fate>,
    retry_after_ms: Option<u64>,
}

impl Fates {
    /// All delivered so far.
    pub fn new(events: usize) -> Self {
        Self {
            events: vec![Fate::Delivered; events],
            retry_after_ms: None,
        }
    }

    /// An event needs another try.
    pub fn retry(&mut self, event: usize, reason: impl Into<String>) {
        self.set(event, Fate::Retry(reason.into()));
    }

    /// An event is refused for good.
    pub fn reject(&mut self, event: usize, reason: impl Into<String>) {
        if self.events.get(event) == Some(&Fate::Delivered) {
            self.set(event, Fate::Rejected(reason.into()));
        }
    }

    /// Reads the answer to a request with items of these events.
    pub fn answer(&mut self, response: &Response, items: &[(usize, &Item)]) {
        if response.is_success() {
            self.partial_errors(response, items);
        } else if response.is_worth_a_retry() {
            self.retry_after_ms = self.retry_after_ms.max(response.retry_after_ms());
            for (event, _) in items {
                self.retry(*event, response.summary());
            }
        } else {
            for (event, _) in items {
                self.reject(*event, response.summary());
            }
        }
    }

    /// The batch's outcome.
    pub fn outcome(self) -> Outcome {
        let mut partial = Partial {
            retry: Vec::new(),
            rejected: Vec::new(),
            retry_after_ms: self.retry_after_ms,
        };
        let mut reason = String::new();
        let total = self.events.len();
        for (index, fate) in self.events.into_iter().enumerate() {
            match fate {
                Fate::Delivered => {}
                Fate::Retry(why) => {
                    partial.retry.push(index as u32);
                    reason = why;
                }
                Fate::Rejected(reason) => partial.rejected.push(Rejection {
                    index: index as u32,
                    reason,
                }),
            }
        }
        if partial.retry.is_empty() && partial.rejected.is_empty() {
            Outcome::Delivered
        } else if partial.retry.len() == total {
            Outcome::Retry(Again {
                after_ms: self.retry_after_ms,
                reason,
            })
        } else {
            Outcome::Partial(partial)
        }
    }

    /// 207 names the items that were refused. An answer without that list took all.
    fn partial_errors(&mut self, response: &Response, items: &[(usize, &Item)]) {
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
                self.retry(*event, reason);
            } else {
                self.reject(*event, reason);
            }
        }
    }

    fn set(&mut self, event: usize, fate: Fate) {
        if let Some(slot) = self.events.get_mut(event) {
            *slot = fate;
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
