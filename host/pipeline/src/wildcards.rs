//! The models behind a deployment whose name has a `*`, for listings: those that the price map knows of its provider, or, with
//! `litellm_settings.check_provider_endpoint`, those that the provider lists itself.
//!
//! A provider is asked when somebody asks for a listing, never by a call to a model. What it says is kept for a while, and what it
//! does not say too: a provider that is away is not asked by every listing.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Uri};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use witgate_routing::Deployment;
use witgate_wire::json::{Object, Raw};

use crate::attempt::collect;
use crate::gateway::Gateway;
use crate::probe::beside_chat;
use crate::snapshot::{Snapshot, Target};

/// How long a provider's list counts: providers add models by the week.
const LISTED_FOR: Duration = Duration::from_secs(300);

/// How long a provider that gave none is not asked again.
const FAILED_FOR: Duration = Duration::from_secs(60);

/// How long an answer may take: somebody waits for the listing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest answer; the longest lists that are known have less than a megabyte.
const LIST_BYTES_MAX: usize = 4 << 20;

/// Most models that are taken of a list, and the longest name: what a provider says is shown to all who list models.
const MODELS_MAX: usize = 5_000;
const NAME_BYTES_MAX: usize = 256;

/// Providers that are asked at a time.
const AT_A_TIME: usize = 8;

/// The models behind a deployment whose name has a `*`.
pub struct Wildcard {
    mapped: Arc<[String]>,
    listing: Option<Listing>,
}

/// Where a provider tells of its models, and what it told.
struct Listing {
    url: Uri,
    told: ArcSwapOption<Told>,
    /// One question at a time.
    asking: Mutex<()>,
}

struct Told {
    until: Duration,
    /// `None`: it told nothing.
    models: Option<Arc<[String]>>,
}

impl Wildcard {
    /// With what the price map knows, by the provider's own names.
    #[must_use]
    pub fn new(mapped: Vec<String>) -> Wildcard {
        Wildcard {
            mapped: mapped.into(),
            listing: None,
        }
    }

    /// The same, but the provider is asked, beside the URL of its chat completions. What the price map knows stays for when it
    /// does not answer.
    #[must_use]
    pub fn asking(self, chat: &Uri) -> Wildcard {
        let listing = beside_chat(chat, "/models", &[]).map(|url| Listing {
            url,
            told: ArcSwapOption::empty(),
            asking: Mutex::default(),
        });
        Wildcard { listing, ..self }
    }

    /// The models, by the provider's names.
    #[must_use]
    pub fn models(&self) -> Arc<[String]> {
        let told = self
            .listing
            .as_ref()
            .and_then(|listing| listing.told.load_full());
        let models = told.and_then(|told| told.models.clone());
        models.unwrap_or_else(|| self.mapped.clone())
    }
}

/// The models behind a deployment, each with the name that a caller asks for it by; none unless it has a `*`.
pub fn models_behind<'a>(
    target: &Target,
    deployment: &'a Deployment,
) -> impl Iterator<Item = (String, String)> + use<'a> {
    let models = target.wildcard.as_ref().map(Wildcard::models);
    let models = models.into_iter().flat_map(|models| models.to_vec());
    models.filter_map(|model| Some((deployment.asked_as(&model)?, model)))
}

/// Asks the providers whose lists are too old, and waits for them.
pub async fn ask_providers(gateway: &Gateway, snapshot: &Snapshot) {
    let asked = snapshot.targets.iter().enumerate();
    let asked = asked.filter_map(|(index, target)| {
        let listing = target.wildcard.as_ref()?.listing.as_ref()?;
        (!listing.is_fresh(gateway)).then_some((index, target, listing))
    });
    let asked: Vec<_> = asked.collect();
    for some in asked.chunks(AT_A_TIME) {
        let each = some.iter().map(|(index, target, listing)| {
            let name = &snapshot.routing.deployment(*index).model_group;
            listing.ask(gateway, target, name)
        });
        futures_util::future::join_all(each).await;
    }
}

impl Listing {
    fn is_fresh(&self, gateway: &Gateway) -> bool {
        let told = self.told.load();
        let now = gateway.clock.monotonic();
        told.as_ref().is_some_and(|told| now < told.until)
    }

    async fn ask(&self, gateway: &Gateway, target: &Target, name: &str) {
        let _one = self.asking.lock().await;
        // Whoever was before may have asked.
        if self.is_fresh(gateway) {
            return;
        }
        let had_failed = self
            .told
            .load()
            .as_ref()
            .is_some_and(|t| t.models.is_none());
        let (models, counts_for) = match self.listed(target).await {
            Ok(models) => {
                if had_failed {
                    tracing::info!(model = name, "the provider lists its models again");
                }
                (Some(models), LISTED_FOR)
            }
            Err(why) => {
                if !had_failed {
                    tracing::warn!(
                        model = name,
                        api_base = target.api_base,
                        "the provider does not list its models, those of the price map are listed: {why}"
                    );
                }
                (None, FAILED_FOR)
            }
        };
        let until = gateway.clock.monotonic().saturating_add(counts_for);
        self.told.store(Some(Arc::new(Told { until, models })));
    }

    /// What the provider says; `Err`: why that is nothing.
    async fn listed(&self, target: &Target) -> Result<Arc<[String]>, String> {
        let mut request = http::Request::new(Bytes::new());
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = target.headers.clone();
        let headers = request.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let deadline = Instant::now() + PATIENCE;
        let sent = timeout_at(deadline, target.upstream.send(request)).await;
        let answer = sent.map_err(|_| "it does not answer in time".to_owned())?;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        let body = collect(
            target,
            answer.into_body(),
            LIST_BYTES_MAX,
            deadline,
            PATIENCE,
        )
        .await;
        let body = body.map_err(|failed| failed.failure.message.into_owned())?;
        names(&body).ok_or_else(|| "it answered something else than a list of models".to_owned())
    }
}

/// The ids of OpenAI's list of models, sorted.
fn names(body: &Bytes) -> Option<Arc<[String]>> {
    let object = Object::scan(body).ok()?;
    let data = object.given("data").filter(|data| data.kind() == "array")?;
    let ids = data
        .elements()
        .take(MODELS_MAX)
        .filter_map(|model| model.get("id").and_then(Raw::as_str));
    let fits = |id: &str| {
        let is_long = id.len() > NAME_BYTES_MAX;
        !id.is_empty() && !is_long && !id.contains('*') && !id.chars().any(char::is_control)
    };
    let mut names: Vec<String> = ids
        .filter(|id| fits(id))
        .map(std::borrow::Cow::into_owned)
        .collect();
    names.sort();
    names.dedup();
    Some(names.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_models_is_read_and_nothing_else() {
        let read = |body: &str| names(&Bytes::from(body.to_owned())).map(|names| names.to_vec());
        let body = r#"{"object":"list","data":[{"id":"b"},{"id":"a"},{"id":"b"},{"id":7},{"id":""},{"id":"x*"},{"id":"new\nline"},{}]}"#;
        assert_eq!(read(body).unwrap(), ["a", "b"]);
        assert_eq!(read(r#"{"data":[]}"#).unwrap(), Vec::<String>::new());
        for other in ["", "[]", "{}", r#"{"data":{}}"#, "<html>"] {
            assert_eq!(read(other), None, "{other}");
        }
        let long = format!(
            r#"{{"data":[{{"id":"{}"}}]}}"#,
            "a".repeat(NAME_BYTES_MAX + 1)
        );
        assert_eq!(read(&long).unwrap(), Vec::<String>::new());
    }
}
