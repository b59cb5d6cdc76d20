//! Posts what happens to budgets to a URL, as LiteLLM's webhook event.

pub mod event;

use serde::Deserialize;
use witgate_plugin::alerter::{Alert, Alerter, Outcome, Partial, Rejection};
use witgate_plugin::{Error, http, kv, secrets};

/// How long it is remembered that an event was taken, milliseconds.
const REMEMBER_MS: u64 = 600_000;

/// There are no settings but the secret one.
#[derive(Deserialize)]
pub struct Settings {}

/// The alerter.
pub struct Webhook {
    url: String,
}

impl Alerter for Webhook {
    type Settings = Settings;

    fn new(_settings: Settings) -> Result<Self, Error> {
        let url = secrets::reveal("webhook_url")?.filter(|url| !url.trim().is_empty());
        let url =
            url.ok_or_else(|| Error::settings("Missing WEBHOOK_URL: where events are posted"))?;
        let scheme = url.trim().split_once("://").map(|(scheme, _)| scheme);
        let is_url = scheme
            .is_some_and(|it| it.eq_ignore_ascii_case("https") || it.eq_ignore_ascii_case("http"));
        match is_url {
            true => Ok(Self { url }),
            false => Err(Error::settings(
                "WEBHOOK_URL must be a URL that begins with https:// or http://",
            )),
        }
    }

    fn send(&self, batch: &[Alert]) -> Result<Outcome, Error> {
        // What comes again was not all taken the last time.
        let mark = |alert: &Alert| format!("sent/{}", alert.id);
        let due: Vec<(u32, &Alert)> = (0..)
            .zip(batch)
            .filter(|(_, alert)| kv::PLUGIN.get(&mark(alert)).is_none())
            .collect();
        let posts = due
            .iter()
            .map(|(_, alert)| http::post(&self.url).json_text(event::body(alert)));
        let mut partial = Partial {
            retry: Vec::new(),
            rejected: Vec::new(),
            retry_after_ms: None,
        };
        for ((index, alert), answer) in due.iter().zip(http::send_all(posts.collect())) {
            match answer {
                // LiteLLM's rule: nothing else is taken.
                Ok(answer) if answer.status() == 200 => {
                    kv::PLUGIN.set(&mark(alert), b"", Some(REMEMBER_MS))?;
                }
                Ok(answer) if answer.is_worth_a_retry() => {
                    partial.retry.push(*index);
                    partial.retry_after_ms = partial.retry_after_ms.max(answer.retry_after_ms());
                }
                Ok(answer) => partial.rejected.push(Rejection {
                    index: *index,
                    reason: answer.summary(),
                }),
                Err(error) => match Error::from(error) {
                    Error::Unavailable(_) => partial.retry.push(*index),
                    error => return Err(error),
                },
            }
        }
        Ok(
            match (partial.retry.is_empty(), partial.rejected.is_empty()) {
                (true, true) => Outcome::Delivered,
                _ => Outcome::Partial(partial),
            },
        )
    }
}

witgate_plugin::export_alerter!(Webhook);
