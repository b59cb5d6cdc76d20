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

/// What a schedule needs of the world.
trait Source: Sync {
    /// Hours between two fetches; `None` without a schedule.
    fn schedule(&self) -> impl Future<Output = Result<Option<i64>, String>> + Send;
    /// Fetches the map, which is a try whatever becomes of it.
    fn fetch(&self) -> impl Future<Output = ()> + Send;
    fn now(&self) -> Timestamp;
}

impl Source for Control {
    async fn schedule(&self) -> Result<Option<i64>, String> {
        let hours = self.plane().price_schedule().await;
        hours.map_err(|error| error.to_string())
    }

    async fn fetch(&self) {
        self.fetch_logged().await;
    }

    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
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

    /// Has the map fetched whenever so many hours, as the schedule says then, have passed since the last try.
    async fn by_schedule(&self, source: &impl Source) {
        loop {
            tokio::select! {
                () = self.scheduled.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            match source.schedule().await {
                Ok(Some(hours)) if self.is_due(hours, source.now()) => source.fetch().await,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!("when the price map is to be fetched cannot be read: {error}");
                }
            }
        }
    }

    /// Whether so many hours have passed since the last try.
    fn is_due(&self, hours: i64, now: Timestamp) -> bool {
        let tried = self.known.load().tried;
        let due = tried.zip(Span::new().try_hours(hours).ok());
        let due = due.map(|(tried, hours)| tried.checked_add(hours));
        due.is_none_or(|due| due.is_ok_and(|due| due <= now))
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
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.cost_map().by_schedule(&*self) => {}
        }
    }

    async fn fetch_logged(&self) {
        if let Err(why) = self.fetch_prices().await {
            tracing::error!("the price map was not fetched, the one in force stays: {why}");
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use parking_lot::Mutex;
    use witgate_testkit::{Recorder, Reply, workspace_root};

    use super::*;

    /// A schedule and a clock of the test's.
    struct Fake {
        map: CostMap,
        hours: Mutex<Result<Option<i64>, String>>,
        now: Mutex<Timestamp>,
        looks: Mutex<u32>,
        fetched: Mutex<u32>,
    }

    impl Source for Fake {
        async fn schedule(&self) -> Result<Option<i64>, String> {
            *self.looks.lock() += 1;
            self.hours.lock().clone()
        }

        async fn fetch(&self) {
            *self.fetched.lock() += 1;
            self.tried();
        }

        fn now(&self) -> Timestamp {
            *self.now.lock()
        }
    }

    impl Fake {
        fn tried(&self) {
            let mut known = Known::clone(&self.map.known.load());
            known.tried = Some(self.now());
            self.map.known.store(Arc::new(known));
        }

        fn fetched(&self) -> u32 {
            *self.fetched.lock()
        }
    }

    /// It is looked at each minute, and when somebody changed it.
    #[tokio::test(start_paused = true)]
    async fn the_map_is_fetched_when_the_schedule_says_so() {
        let fake = Fake {
            map: CostMap::default(),
            hours: Mutex::new(Ok(Some(6))),
            now: Mutex::new("2026-05-01T00:00:00Z".parse().unwrap()),
            looks: Mutex::default(),
            fetched: Mutex::default(),
        };
        fake.tried();
        let mut looking = std::pin::pin!(fake.map.by_schedule(&fake));
        // So many minutes of both clocks.
        let mut pass = async |minutes: u32| {
            for _ in 0..minutes {
                let next = fake.now() + 1.minute();
                *fake.now.lock() = next;
                let minute = tokio::time::timeout(LOOK, &mut looking).await;
                assert!(minute.is_err(), "it looks for ever");
            }
        };
        pass(6 * 60 - 1).await;
        assert_eq!(fake.fetched(), 0, "it is not due");
        pass(2).await;
        assert_eq!(fake.fetched(), 1, "it was due");
        pass(6 * 60 - 2).await;
        assert_eq!(
            fake.fetched(),
            1,
            "the last try was less than six hours ago"
        );
        pass(3).await;
        assert_eq!(fake.fetched(), 2);
        // Another schedule counts from the last try on.
        *fake.hours.lock() = Ok(Some(1));
        pass(57).await;
        assert_eq!(fake.fetched(), 2);
        pass(4).await;
        assert_eq!(fake.fetched(), 3);
        // Without one, or while it cannot be read, nothing is fetched.
        for none in [Ok(None), Err("no database".to_owned())] {
            *fake.hours.lock() = none;
            let before = *fake.looks.lock();
            pass(120).await;
            assert!(*fake.looks.lock() > before);
            assert_eq!(fake.fetched(), 3);
        }
        // Somebody made one: that is looked at without a pause.
        *fake.hours.lock() = Ok(Some(1));
        let before = *fake.looks.lock();
        fake.map.look();
        let soon = tokio::time::timeout(Duration::from_millis(1), &mut looking).await;
        assert!(soon.is_err());
        assert_eq!((*fake.looks.lock(), fake.fetched()), (before + 1, 4));
    }

    /// A schedule, a clock of the test's, and a real fetch.
    struct Fetching {
        map: CostMap,
        env: Env,
        now: Mutex<Timestamp>,
        looks: Mutex<u32>,
    }

    impl Source for Fetching {
        async fn schedule(&self) -> Result<Option<i64>, String> {
            *self.looks.lock() += 1;
            Ok(Some(6))
        }

        async fn fetch(&self) {
            // What is wrong with it is told. Hours begin anew.
            let _ = self.map.fetch(&self.env).await;
            *self.now.lock() = Timestamp::now();
        }

        fn now(&self) -> Timestamp {
            *self.now.lock()
        }
    }

    impl Fetching {
        /// Looks at the schedule when so many hours have passed, and does what it says.
        async fn look_after(&self, hours: i64) {
            *self.now.lock() = Timestamp::now() + hours.hours();
            let looks = *self.looks.lock();
            self.map.look();
            let mut looking = std::pin::pin!(self.map.by_schedule(self));
            let done = async {
                // Whoever looks next has done what the look before said.
                while *self.looks.lock() < looks + 2 {
                    self.map.look();
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                () = &mut looking => {}
                () = done => {}
            }
        }
    }

    fn price() -> Option<String> {
        let price = witgate_wire::prices::Prices::new().lookup("openai", "gpt-4o")?;
        let price = price.field("input_cost_per_token")?;
        Some(price.normalize().to_string())
    }

    /// The map of the program, with this price of `gpt-4o`.
    fn map_with(price: f64) -> Reply {
        let file = workspace_root().join("host/wire/data/model_prices.json");
        let text = std::fs::read_to_string(file).unwrap();
        let mut map: serde_json::Value = serde_json::from_str(&text).unwrap();
        map["gpt-4o"]["input_cost_per_token"] = price.into();
        Reply::json(200, &map)
    }

    /// What the schedule brings is in force when it is good; what is not leaves the one that is.
    #[tokio::test]
    async fn a_scheduled_fetch_brings_a_good_map_and_never_a_bad_one() {
        let server = Recorder::start(map_with(0.5)).await;
        let url = format!("{}/map.json", server.origin());
        let gateway = Fetching {
            map: CostMap::default(),
            env: Env::new([(URL, url.as_str())]),
            now: Mutex::new(Timestamp::now()),
            looks: Mutex::default(),
        };
        gateway.map.fetch(&gateway.env).await.unwrap();
        assert_eq!(price().as_deref(), Some("0.5"));
        server.next(map_with(0.25));
        gateway.look_after(5).await;
        assert_eq!(price().as_deref(), Some("0.5"), "it is not due");
        assert_eq!(server.requests().len(), 1);
        gateway.look_after(7).await;
        assert_eq!(price().as_deref(), Some("0.25"), "it was due");
        for bad in [map_with(-0.5), Reply::status(500, &[], "")] {
            server.next(bad);
            gateway.look_after(7).await;
            assert_eq!(price().as_deref(), Some("0.25"));
            assert!(gateway.map.source(&gateway.env).failed.is_some());
        }
        assert_eq!(server.requests().len(), 4, "once each time");
        gateway.look_after(7).await;
        assert_eq!(price().as_deref(), Some("0.5"));
        assert!(gateway.map.source(&gateway.env).failed.is_none());
    }
}
