//! The gateway under test and everything around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, Uri};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use witgate_events::{Completed, Failure as FailureEvent};
use witgate_routing::{BackoffSettings, DeploymentSpec, RoutingSettings};
use witgate_wire::errors::CompatErrors;

use super::{Answer, FakeGuard, FakeUpstream};
use crate::exchange::Arrival;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::ports::{Clock, Phase, Recorder, TraceContext};
use crate::reply::Reply;
use crate::snapshot::{
    Access, FailPolicy, GuardrailEntry, Modes, Prompts, Settings, Snapshot, Target,
};

/// How the gateway is set up. Starts with no deployment; [`Setup::new`] adds `gpt-4o`.
pub struct Setup {
    specs: Vec<DeploymentSpec>,
    targets: Vec<Target>,
    pub routing: RoutingSettings,
    pub access: Access,
    pub settings: Settings,
    pub prompts: Prompts,
    pub cache: Option<witgate_caching::AnswerCache>,
    pub embedder: Option<crate::embedder::Embedder>,
    pub shared_health: Option<Arc<dyn crate::ports::SharedHealth>>,
    pub passages: crate::passage::Passages,
    guardrails: Vec<GuardrailEntry>,
    upstream: Arc<FakeUpstream>,
}

impl Setup {
    /// One deployment `d0` of the group `gpt-4o` at the fake upstream; no retries, no guardrails, no keys.
    pub fn new() -> Setup {
        Setup::empty().deployment("gpt-4o", "openai/gpt-4o-mini")
    }

    pub fn empty() -> Setup {
        let backoff = BackoffSettings {
            jitter_s: 0.0,
            ..BackoffSettings::default()
        };
        Setup {
            specs: Vec::new(),
            targets: Vec::new(),
            routing: RoutingSettings {
                num_retries: 0,
                backoff,
                ..RoutingSettings::default()
            },
            access: Access::default(),
            settings: settings(),
            prompts: Prompts::default(),
            cache: None,
            embedder: None,
            shared_health: None,
            passages: crate::passage::Passages::default(),
            guardrails: Vec::new(),
            upstream: Arc::default(),
        }
    }

    /// Adds a deployment with the id `d` and its number.
    pub fn deployment(mut self, group: &str, model: &str) -> Setup {
        let number = self.specs.len();
        self.specs.push(DeploymentSpec {
            model_group: group.to_owned(),
            model: model.to_owned(),
            id: Some(format!("d{number}")),
            ..DeploymentSpec::default()
        });
        self.targets.push(target(&self.upstream, model));
        self
    }

    /// Changes the deployment added last.
    pub fn with(mut self, change: impl FnOnce(&mut DeploymentSpec, &mut Target)) -> Setup {
        change(
            self.specs.last_mut().unwrap(),
            self.targets.last_mut().unwrap(),
        );
        self
    }

    /// Adds a guardrail that is always on.
    pub fn guard(self, name: &str, phase: Phase, fail: FailPolicy, guard: FakeGuard) -> Setup {
        self.shared_guard(name, phase, fail, &Arc::new(guard))
    }

    /// The same, kept by the test.
    pub fn shared_guard(
        mut self,
        name: &str,
        phase: Phase,
        fail: FailPolicy,
        guard: &Arc<FakeGuard>,
    ) -> Setup {
        self.guardrails.push(GuardrailEntry {
            name: name.to_owned(),
            provider: "fake".to_owned(),
            modes: Modes {
                default: vec![phase],
                by_tag: Vec::new(),
            },
            default_on: true,
            fail,
            plugin: guard.clone(),
        });
        self
    }

    /// Changes the guardrail added last.
    pub fn with_guard(mut self, change: impl FnOnce(&mut GuardrailEntry)) -> Setup {
        change(self.guardrails.last_mut().unwrap());
        self
    }

    pub fn routing(mut self, change: impl FnOnce(&mut RoutingSettings)) -> Setup {
        change(&mut self.routing);
        self
    }

    pub fn access(mut self, change: impl FnOnce(&mut Access)) -> Setup {
        change(&mut self.access);
        self
    }

    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Setup {
        change(&mut self.settings);
        self
    }

    /// Allows this many calls at a time.
    pub fn slots(self, count: usize) -> Setup {
        self.settings(|s| s.slots = Some(Arc::new(Semaphore::new(count))))
    }

    pub fn build(self) -> World {
        let slots = self
            .settings
            .slots
            .clone()
            .map(|slots| (slots.available_permits(), slots));
        let routing = witgate_routing::Snapshot::build(self.specs, self.routing);
        let snapshot = Snapshot {
            state: witgate_routing::State::new(&routing),
            peers: None,
            shared_health: self.shared_health,
            routing,
            targets: self.targets,
            clients_way: Some(self.upstream.clone()),
            access: self.access,
            guardrails: self.guardrails,
            prompts: self.prompts,
            hooks: Vec::new(),
            routers: crate::snapshot::Routers::default(),
            auto: std::collections::HashMap::new(),
            cache: self.cache,
            embedder: self.embedder,
            passages: self.passages,
            settings: self.settings,
        };
        let recorder = Arc::new(Records::default());
        let gateway = Gateway {
            snapshot: ArcSwap::from_pointee(snapshot),
            recorder: recorder.clone(),
            trace: Arc::new(NoTrace),
            clock: Arc::new(TokioClock(tokio::time::Instant::now())),
            prices: witgate_wire::prices::Prices::new(),
            health: crate::health::Health::default(),
            limiter: witgate_metering::Limiter::new(witgate_metering::Rules::default()),
            books: witgate_metering::Books::new(),
            active: Arc::default(),
            freed: tokio::sync::Notify::new(),
            queue: Arc::default(),
            metrics: Metrics::new(&mut prometheus_client::registry::Registry::default()),
            tasks: TaskTracker::new(),
        };
        World {
            gateway: Arc::new(gateway),
            upstream: self.upstream,
            recorder,
            slots,
        }
    }
}

fn settings() -> Settings {
    Settings {
        compat: CompatErrors::Latest,
        errors_have_call_id: false,
        logs_raw: false,
        version: HeaderValue::from_static("1.2.3"),
        completion_model: None,
        embedding_model: None,
        moderation_model: None,
        image_generation_model: None,
        timeout: Duration::from_secs(6000),
        stream_timeout: None,
        max_request_bytes: None,
        max_response_bytes: 1 << 20,
        validates_json_schema: false,
        slots: None,
        keep_upstream_model: false,
        health: crate::health::HealthSettings::default(),
        continue_streams: false,
        retry_when_full: true,
        replay_pause: None,
        default_priority: None,
        polling_interval: Duration::from_secs(3600),
        mock_tokens: (10, 20),
        metering: crate::metering::Metering::default(),
        adjustments: witgate_wire::prices::Adjustments::default(),
        counts_tokens: true,
        counting: witgate_wire::tokens::Counting::default(),
        repeats_max: 100,
        streams_cost: false,
        streams_usage: false,
        inferred_models: Vec::new(),
        public_groups: Vec::new(),
        public_links: serde_json::Map::new(),
        models_created_s: 1,
        guards_models: false,
        tag_headers: Vec::new(),
        team_sinks: std::collections::HashMap::new(),
        silences: true,
        user_agent_tags: false,
    }
}

fn target(upstream: &Arc<FakeUpstream>, model: &str) -> Target {
    let url = |path| Uri::try_from(format!("http://upstream.test/v1/{path}")).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        HeaderValue::from_static("Bearer sk-upstream"),
    );
    Target {
        upstream: upstream.clone(),
        unavailable: None,
        dialect: None,
        urls: [
            url("chat/completions"),
            url("completions"),
            url("embeddings"),
            url("moderations"),
            url("images/generations"),
        ],
        api_base: "http://upstream.test/v1".to_owned(),
        headers,
        client_headers: crate::outgoing::ClientHeaders::default(),
        client_side: crate::client_side::ClientSide::default(),
        defaults: Vec::new(),
        timeout_by_tier: Vec::new(),
        timeout: None,
        stream_timeout: None,
        guardrails: Vec::new(),
        keepalive: None,
        merges_reasoning: false,
        mock: None,
        mock_timeout: false,
        mock_tool_calls: None,
        provider: "openai".to_owned(),
        region: String::new(),
        configured_model: model.to_owned(),
        base_model: None,
        key_limits: witgate_identity::Limits::default(),
        custom_price: None,
        info: Default::default(),
    }
}

/// A gateway and its fakes.
pub struct World {
    pub gateway: Arc<Gateway>,
    pub upstream: Arc<FakeUpstream>,
    recorder: Arc<Records>,
    slots: Option<(usize, Arc<Semaphore>)>,
}

impl World {
    /// The tries recorded as failed on the way of a call.
    pub fn attempts(&self) -> Vec<Completed> {
        self.recorder.1.lock().unwrap().clone()
    }

    /// One deployment and nothing else.
    pub fn new() -> World {
        Setup::new().build()
    }

    /// Handles a call; gives the reply unread.
    pub async fn open(&self, arrival: Arrival) -> Reply {
        self.gateway.handle(arrival).await
    }

    /// Handles a call and reads the reply to its end.
    pub async fn send(&self, arrival: Arrival) -> Answer {
        Answer::of(self.open(arrival).await).await
    }

    /// Everything recorded so far, once nothing is under way. Each call must have given back what it held.
    pub async fn records(&self) -> Vec<Completed> {
        self.gateway.tasks.close();
        self.gateway.tasks.wait().await;
        self.gateway.tasks.reopen();
        assert_eq!(self.gateway.metrics.in_flight.get(), 0, "calls in flight");
        if let Some((count, slots)) = &self.slots {
            assert_eq!(slots.available_permits(), *count, "free slots");
        }
        assert_eq!(self.gateway.limiter.under_way(), 0, "limits held");
        assert!(self.gateway.books.reserved().is_zero(), "budgets held");
        std::mem::take(&mut *self.recorder.0.lock().unwrap())
    }

    /// The record of the one call that was made.
    pub async fn record(&self) -> Completed {
        let mut records = self.records().await;
        assert_eq!(records.len(), 1, "{records:#?}");
        records.remove(0)
    }

    /// The failure in the record of the one call that was made.
    pub async fn failure(&self) -> FailureEvent {
        let record = self.record().await;
        record
            .failure()
            .cloned()
            .unwrap_or_else(|| panic!("a failure: {record:#?}"))
    }
}

#[derive(Default)]
struct Records(Mutex<Vec<Completed>>, Mutex<Vec<Completed>>);

impl Recorder for Records {
    fn record(&self, completed: Completed) {
        self.0.lock().unwrap().push(completed);
    }

    fn wants_headers(&self, _failed: bool) -> bool {
        true
    }

    fn record_attempt(&self, attempt: Completed) {
        self.1.lock().unwrap().push(attempt);
    }
}

struct NoTrace;

impl TraceContext for NoTrace {
    fn adopt(&self, _: &tracing::Span, _: &HeaderMap) {}
    fn inject(&self, _: &tracing::Span, headers: &mut HeaderMap) {
        headers.insert("x-injected", HeaderValue::from_static("yes"));
    }
}

/// Runs on tokio's time, which tests pause; ids and random bits are fixed.
struct TokioClock(tokio::time::Instant);

impl Clock for TokioClock {
    fn now(&self) -> jiff::Timestamp {
        let start = jiff::Timestamp::from_second(1_800_000_000).unwrap();
        start + jiff::SignedDuration::try_from(self.monotonic()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn uuid(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(7)
    }

    fn random(&self) -> u64 {
        7
    }
}
