//! Which webhooks an alert goes to.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::alerter::Alert;

use crate::delivery::Post;

/// Webhooks by alert type, and the one for all others.
#[derive(Debug, Default)]
pub struct Webhooks {
    default: Vec<String>,
    by_kind: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Webhooks {
    /// Checks the settings; `by_kind` is an object in JSON.
    pub fn new(default: Option<String>, by_kind: Option<&str>) -> Result<Self, Error> {
        let given: BTreeMap<String, serde_json::Value> = match by_kind {
            Some(json) => serde_json::from_str(json)
                .map_err(|_| Error::settings("`alert_to_webhook_url` must be an object"))?,
            None => BTreeMap::new(),
        };
        if default.as_deref().is_some_and(|url| !is_url(url)) {
            return Err(Error::settings(
                "SLACK_WEBHOOK_URL / ALERTING_WEBHOOK_URL must be a URL that begins with https:// or http://",
            ));
        }
        let mut webhooks = Self {
            default: default.into_iter().collect(),
            by_kind: BTreeMap::new(),
        };
        for (kind, urls) in given {
            // The value may be a secret in a wrong place: it is not shown.
            let urls = match OneOrMany::deserialize(urls) {
                Ok(OneOrMany::One(url)) => vec![url],
                Ok(OneOrMany::Many(urls)) => urls,
                Err(_) => {
                    return Err(Error::settings(format!(
                        "`alert_to_webhook_url.{kind}` must be a URL or a list of URLs"
                    )));
                }
            };
            if !urls.iter().all(|url| is_url(url)) {
                return Err(Error::settings(format!(
                    "`alert_to_webhook_url.{kind}` must be URLs that begin with https:// or http://"
                )));
            }
            webhooks.by_kind.insert(kind, urls);
        }
        if webhooks.default.is_empty() && webhooks.by_kind.is_empty() {
            return Err(Error::settings(
                "Missing SLACK_WEBHOOK_URL / ALERTING_WEBHOOK_URL: set one, or write `alert_to_webhook_url` in general_settings",
            ));
        }
        Ok(webhooks)
    }

    /// What is to be posted where.
    pub fn posts(&self, batch: &[Alert]) -> Vec<Post<'_>> {
        let of = |(alert, kind): (usize, &str)| {
            let urls = self.of(kind).iter().enumerate();
            urls.map(move |(number, url)| Post { alert, number, url })
                .collect::<Vec<_>>()
        };
        let kinds = batch.iter().map(|alert| alert.kind.as_str());
        kinds.enumerate().flat_map(of).collect()
    }

    /// Whether an alert of the batch goes anywhere.
    pub fn has_any(&self, batch: &[Alert], alert: usize) -> bool {
        batch
            .get(alert)
            .is_some_and(|alert| !self.of(&alert.kind).is_empty())
    }

    fn of(&self, kind: &str) -> &[String] {
        self.by_kind.get(kind).unwrap_or(&self.default)
    }
}

fn is_url(text: &str) -> bool {
    let scheme = text.trim().split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|it| it.eq_ignore_ascii_case("https") || it.eq_ignore_ascii_case("http"))
}
