//! Tells people in Slack, or anything that takes Slack's webhooks, that something is wrong.

pub mod delivery;
pub mod format;
pub mod webhooks;

use serde::Deserialize;
use witgate_plugin::alerter::{Alert, Alerter, Outcome};
use witgate_plugin::http::{self, HttpError, Response};
use witgate_plugin::{Error, kv, secrets};

use delivery::{Fate, Post};
use webhooks::Webhooks;

/// How long it is remembered which of an alert's webhooks have it already, milliseconds.
const REMEMBER_MS: u64 = 600_000;

/// There are no settings but secrets.
#[derive(Deserialize)]
pub struct Settings {}

/// The alerter.
pub struct Slack(Webhooks);

impl Alerter for Slack {
    type Settings = Settings;

    fn new(_settings: Settings) -> Result<Self, Error> {
        let default = match secrets::reveal("slack_webhook_url")? {
            Some(url) => Some(url),
            None => secrets::reveal("alerting_webhook_url")?,
        };
        let by_kind = secrets::reveal("alert_to_webhook_url")?;
        Webhooks::new(default, by_kind.as_deref()).map(Self)
    }

    fn send(&self, batch: &[Alert]) -> Result<Outcome, Error> {
        let mut posts = self.0.posts(batch);
        posts.retain(|post| kv::PLUGIN.get(&mark(batch, post)).is_none());
        let request = |post: &Post<'_>| {
            let alert = batch.get(post.alert);
            http::post(post.url).json_text(alert.map(format::body).unwrap_or_default())
        };
        let answers = http::send_all(posts.iter().map(request).collect());
        let mut fates = Vec::with_capacity(posts.len());
        for answer in answers {
            fates.push(fate(answer)?);
        }
        let outcome = delivery::outcome(batch.len(), &posts, &fates, |alert| {
            self.0.has_any(batch, alert)
        });
        // What comes again goes only where it has not been.
        for post in delivery::to_remember(&posts, &fates) {
            kv::PLUGIN.set(&mark(batch, post), b"", Some(REMEMBER_MS))?;
        }
        Ok(outcome)
    }
}

witgate_plugin::export_alerter!(Slack);

/// The key under which it is remembered that an alert is at a webhook. Without the URL, which is a secret.
fn mark(batch: &[Alert], post: &Post<'_>) -> String {
    let id = batch.get(post.alert).map_or("", |alert| alert.id.as_str());
    format!("sent/{id}/{}", post.number)
}

fn fate(answer: Result<Response, HttpError>) -> Result<Fate, Error> {
    match Error::from(match answer {
        Ok(response) => return Ok(Fate::of(&response)),
        Err(error) => error,
    }) {
        Error::Unavailable(reason) => Ok(Fate::Again {
            after_ms: None,
            reason,
        }),
        error => Err(error),
    }
}
