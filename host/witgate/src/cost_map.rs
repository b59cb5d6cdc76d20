//! The price map that is fetched (`LITELLM_MODEL_COST_MAP_URL`): at the start, when an administrator asks for it, and by the
//! schedule in the database. What cannot be right is refused, and the map in force stays.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Request;
use jiff::{Span, Timestamp};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use witgate_config::Env;
use witgate_management::PriceSource;
use witgate_outbound::{Body, Client, ClientOptions, Egress, collect_limited};
use witgate_wire::prices::PriceMap;

use crate::reload::Control;
use crate::wiring::Read;

const URL: &str = "LITELLM_MODEL_COST_MAP_URL";
const LOCAL: &str = "LITELLM_LOCAL_MODEL_COST_MAP";

/// How long a fetch may take: some megabytes, from where an administrator waits for it.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// How often the schedule is looked at, which another gateway may have changed.
const LOOK: Duration = Duration::from_secs(60);

/// The operator says where the map is; that may be a private address.
static CLIENT: LazyLock<Result<Client, String>> = LazyLock::new(|| {
    Client::new(ClientOptions::new(Egress::Unrestricted)).map_err(|error| error.to_string())
});

/// What is known of the map in force.
#[derive(Default)]
pub struct CostMap {
    known: ArcSwap<Known>,
    /// One fetch at a time.
    fetching: Mutex<()>,
    /// The schedule changed.
    scheduled: Notify,
}

#[derive(Default, Clone)]
struct Known {
    /// When a fetch was tried last.
    tried: Option<Timestamp>,
    fetched: Option<Timestamp>,
    failed: Option<String>,
    models: Option<usize>,
}

fn is_local(env: &Env) -> bool {
    env.flag(LOCAL) == Some(true)
}

/// The address without credentials and query, which may be some.
fn shown(url: &str) -> String {
    let Ok(mut url) = url::Url::parse(url) else {
        return String::new();
    };
    // Neither fails for an address that can be fetched.
    let _ = url.set_username("").and(url.set_password(None));
    url.set_query(None);
    url.into()
}

impl CostMap {
    /// What is told of it.
    pub fn source(&self, env: &Env) -> PriceSource {
        let known = self.known.load();
        PriceSource {
            url: env.non_empty(URL).map(shown),
            is_local: is_local(env),
            fetched: known.fetched,
            failed: known.failed.clone(),
            models: known.models.unwrap_or_else(PriceMap::embedded),
        }
    }

    /// The schedule changed.
    pub fn look(&self) {
        self.scheduled.notify_one();
    }

    /// Fetches the map and puts it in force; how many models it prices. With `LITELLM_LOCAL_MODEL_COST_MAP` the program's own.
    ///
    /// # Errors
    /// Why the one in force stays.
    async fn fetch(&self, env: &Env) -> Result<usize, String> {
        let _one = self.fetching.lock().await;
        let now = Timestamp::now();
        let mut known = Known::clone(&self.known.load());
        known.tried = Some(now);
        let done = match (is_local(env), env.non_empty(URL)) {
            (true, _) => {
                known.fetched = None;
                Ok(PriceMap::restore())
            }
            (false, Some(url)) => {
                let fetched = fetched(url).await;
                fetched.map(|map| {
                    map.put_in_force();
                    known.fetched = Some(now);
                    map.models()
                })
            }
            (false, None) => Err(format!("{URL} does not say where it is")),
        };
        match &done {
            Ok(models) => {
                known.models = Some(*models);
                known.failed = None;
            }
            Err(why) => known.failed = Some(why.clone()),
        }
        self.known.store(Arc::new(known));
        done
    }
}

async fn fetched(url: &str) -> Result<PriceMap, String> {
    let client = CLIENT.as_ref().map_err(Clone::clone)?;
    let request = Request::get(url)
        .header("accept", "application/json")
        .body(Body::from(Vec::new()))
        .map_err(|_| format!("{URL} is no URL"))?;
    let exchange = async {
        let answer = client.send_following(request, REDIRECTS).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("its server answered {status}"));
        }
        let body = collect_limited(answer.into_body(), PriceMap::BYTES_MAX).await;
        body.map_err(|error| error.to_string())
    };
    let body = tokio::time::timeout(TIMEOUT, exchange).await;
    let body = body.unwrap_or_else(|_| Err("its server does not answer in time".to_owned()))?;
    // Some megabytes of JSON: not on a thread that others wait for.
    let read = tokio::task::spawn_blocking(move || PriceMap::read(&body)).await;
    read.unwrap_or_else(|error| Err(format!("it could not be read: {error}")))
}

impl Control {
    /// Fetches the map, and works out anew what deployments cost.
    ///
    /// # Errors
    /// Why the one in force stays.
    pub async fn fetch_prices(&self) -> Result<usize, String> {
        let models = self.cost_map().fetch(&self.loaded().environment).await?;
        tracing::info!(models, "the price map was fetched and is in force");
        self.reload_logged("the price map changed", Read::Due).await;
        Ok(models)
    }

    /// Fetches the map at the start, where the operator says where it is, and then by the schedule.
    pub async fn keep_prices_fresh(self: Arc<Self>, stop: CancellationToken) {
        let loaded = self.loaded();
        let env = &loaded.environment;
        if env.non_empty(URL).is_some() && !is_local(env) {
            self.fetch_logged().await;
        }
        drop(loaded);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.cost_map().scheduled.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.plane().price_schedule().await {
                Ok(Some(hours)) if self.is_due(hours) => self.fetch_logged().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("when the price map is to be fetched cannot be read: {error}");
                }
            }
        }
    }

    /// Whether so many hours have passed since the last try.
    fn is_due(&self, hours: i64) -> bool {
        let tried = self.cost_map().known.load().tried;
        let due = tried.zip(Span::new().try_hours(hours).ok());
        let due = due.map(|(tried, hours)| tried.checked_add(hours));
        due.is_none_or(|due| due.is_ok_and(|due| due <= Timestamp::now()))
    }

    async fn fetch_logged(&self) {
        if let Err(why) = self.fetch_prices().await {
            tracing::error!("the price map was not fetched, the one in force stays: {why}");
        }
    }
}
