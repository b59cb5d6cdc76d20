//! Requests to Langfuse: one per credentials and 3.5 MB.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use witgate_plugin::delivery::Fates;
use witgate_plugin::encode::base64;
use witgate_plugin::http::{self, Request};
use witgate_plugin::log_sink::{Event, Outcome};
use witgate_plugin::secrets::{self, Secret};
use witgate_plugin::{Error, random, warn};

use crate::config::{Settings, base_url};
use crate::encode::{self, Item};
use crate::outcome;

/// Langfuse's limit for a request, bytes.
const MAX_REQUEST: usize = 3_500_000;
/// What stands around the items of a request, generously.
const ENVELOPE: usize = 1_000;

/// Sends batches.
pub struct Sender {
    settings: Settings,
    main: Destination,
    second: Option<Destination>,
}

/// A project of Langfuse.
struct Destination {
    base_url: String,
    public_key: String,
    release: Option<String>,
    credential: Credential,
}

enum Credential {
    /// The operator's: the host knows it.
    Secret(Secret),
    /// A key's or team's, given with the event.
    Given(String),
}

/// What a key, a team or a request sets for its events.
type Own = (String, String, Option<String>);

impl Sender {
    /// Checks the settings and gets hold of the secrets.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let settings = settings.checked()?;
        let main = Destination {
            base_url: settings.host.clone(),
            public_key: settings.public_key.clone(),
            release: settings.release.clone(),
            credential: Credential::Secret(secrets::require("secret_key")?),
        };
        let second = secrets::get("upstream_secret_key")?.map(|secret| Destination {
            base_url: settings
                .upstream_host
                .clone()
                .unwrap_or_else(|| settings.host.clone()),
            public_key: settings.upstream_public_key.clone().unwrap_or_default(),
            release: settings.upstream_release.clone(),
            credential: Credential::Secret(secret),
        });
        Ok(Self {
            settings,
            main,
            second,
        })
    }

    /// Delivers a batch.
    pub fn deliver(&self, batch: &[Event]) -> Result<Outcome, Error> {
        let mut fates = Fates::new(batch.len());
        let mut groups: BTreeMap<Option<Own>, Vec<(usize, Value, Value)>> = BTreeMap::new();
        for (index, event) in batch.iter().enumerate() {
            match serde_json::from_str::<Value>(&event.payload) {
                Ok(payload) => {
                    let context = serde_json::from_str(&event.context).unwrap_or_default();
                    let own = own_destination(&context);
                    if groups.len() >= self.settings.max_clients && !groups.contains_key(&own) {
                        fates.retry(
                            index,
                            format!("more than {} credentials in one batch", groups.len()),
                        );
                    } else {
                        groups
                            .entry(own)
                            .or_default()
                            .push((index, payload, context));
                    }
                }
                Err(error) => fates.reject(index, format!("the event is no JSON: {error}")),
            }
        }
        for (own, events) in &groups {
            match own {
                None => self.send(&self.main, events, &mut fates)?,
                Some(own) => self.send(&self.destination_of(own), events, &mut fates)?,
            }
            if let Some(second) = &self.second {
                self.send_second(second, events, batch.len());
            }
        }
        Ok(fates.outcome())
    }

    /// Asks for the project, which needs both keys.
    pub fn health_check(&self) -> Result<(), Error> {
        let url = format!("{}/api/public/projects", self.main.base_url);
        let response = self.main.authorize(http::get(url)).send()?;
        if response.is_success() {
            Ok(())
        } else if response.is_worth_a_retry() {
            Err(Error::unavailable(response.summary()))
        } else {
            Err(Error::failed(format!(
                "{}; check public_key, secret_key and host",
                response.summary()
            )))
        }
    }

    fn destination_of(&self, (public_key, secret_key, host): &Own) -> Destination {
        Destination {
            base_url: host
                .as_deref()
                .map_or_else(|| self.main.base_url.clone(), base_url),
            public_key: public_key.clone(),
            release: self.main.release.clone(),
            credential: Credential::Given(secret_key.clone()),
        }
    }

    fn send(
        &self,
        to: &Destination,
        events: &[(usize, Value, Value)],
        fates: &mut Fates,
    ) -> Result<(), Error> {
        let max_bytes = MAX_REQUEST - ENVELOPE;
        let mut request: Vec<(usize, Item)> = Vec::new();
        let mut bytes = 0;
        for (index, payload, context) in events {
            let items = encode::items(
                &self.settings,
                to.release.as_deref(),
                payload,
                context,
                max_bytes,
                &mut random::uuid,
            );
            let size: usize = items.iter().map(|item| item.json.len() + 1).sum();
            if bytes + size > max_bytes && !request.is_empty() {
                to.post(&request, fates)?;
                request.clear();
                bytes = 0;
            }
            bytes += size;
            request.extend(items.into_iter().map(|item| (*index, item)));
        }
        to.post(&request, fates)
    }

    /// What the second project answers changes nothing for the first, or its events would be sent twice.
    fn send_second(&self, second: &Destination, events: &[(usize, Value, Value)], batch: usize) {
        let mut fates = Fates::new(batch);
        let result = self.send(second, events, &mut fates);
        match (result, fates.outcome()) {
            (Ok(()), Outcome::Delivered) => {}
            (Ok(()), outcome) => warn!("the second Langfuse did not take all events: {outcome:?}"),
            (Err(error), _) => warn!("the second Langfuse cannot be reached: {error}"),
        }
    }
}

impl Destination {
    fn post(&self, items: &[(usize, Item)], fates: &mut Fates) -> Result<(), Error> {
        if items.is_empty() {
            return Ok(());
        }
        let response = self
            .authorize(http::post(format!(
                "{}/api/public/ingestion",
                self.base_url
            )))
            .header("x-langfuse-sdk-name", "python")
            .header("x-langfuse-sdk-version", SDK_VERSION)
            .header("x-langfuse-public-key", &self.public_key)
            .json_text(self.body(items))
            .send();
        match response {
            Ok(response) => {
                let refs: Vec<(usize, &Item)> =
                    items.iter().map(|(event, item)| (*event, item)).collect();
                outcome::answer(fates, &response, &refs);
                Ok(())
            }
            Err(error) => fates.exchange(Err(error), items.iter().map(|(event, _)| *event)),
        }
    }

    /// The items are JSON already.
    fn body(&self, items: &[(usize, Item)]) -> String {
        let batch: Vec<&str> = items.iter().map(|(_, item)| item.json.as_str()).collect();
        let metadata = json!({
            "batch_size": items.len(),
            "sdk_integration": "litellm",
            "sdk_name": "python",
            "sdk_version": SDK_VERSION,
            "public_key": self.public_key,
        });
        format!(
            "{{\"batch\":[{}],\"metadata\":{metadata}}}",
            batch.join(",")
        )
    }

    fn authorize<'a>(&'a self, request: Request<'a>) -> Request<'a> {
        match &self.credential {
            Credential::Secret(secret) => request.basic(&self.public_key, secret),
            Credential::Given(secret) => {
                let pair = base64(format!("{}:{secret}", self.public_key).as_bytes());
                request.header("authorization", format!("Basic {pair}"))
            }
        }
    }
}

/// The SDK whose wire format this is.
const SDK_VERSION: &str = "2.59.7";

/// The credentials that came with an event. An address of its own counts only with keys of its own: the operator's
/// must not go to a place that a caller names.
fn own_destination(context: &Value) -> Option<Own> {
    let own = context.get("dynamic")?;
    let text = |name: &str| {
        own.get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let secret = text("langfuse_secret_key").or_else(|| text("langfuse_secret"))?;
    Some((text("langfuse_public_key")?, secret, text("langfuse_host")))
}
