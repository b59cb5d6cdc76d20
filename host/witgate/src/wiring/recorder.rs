//! Where finished calls go: the log sinks and the spend ledger.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Value;
use witgate_config::Loaded;
use witgate_events::{
    Begun, Completed, EventKind, Failure, Hub, InFlight, Outcome, ProxyFailure, ServiceError,
    ServiceEvent, Watch, spend,
};
use witgate_identity::Principal;
use witgate_metering::Fact;
use witgate_pipeline::Recorder;
use witgate_store::{SpendOptions, SpendRow, SpendWindow, SpendWriter};

use super::budget_alerts::BudgetAlerts;
use super::spend_buffer;

/// What the configuration says about spend rows.
#[derive(Debug, Clone, Copy)]
pub struct Ledger {
    /// Rows for calls that succeeded (`disable_spend_logs: false`).
    pub successes: bool,
    /// Rows for calls that failed (`disable_error_logs: false`).
    pub failures: bool,
    /// Totals of keys, users, teams and days (`disable_spend_updates: false`).
    pub totals: bool,
    /// Characters of each text in the messages and answers that rows keep (`store_prompts_in_spend_logs`); `None` keeps none.
    pub prompts: Option<usize>,
    /// Log sinks get streams, too (`disable_streaming_logging: false`).
    pub streams: bool,
    /// Whether rows and totals tell of end users (`disable_end_user_cost_tracking: false`).
    pub end_users: bool,
    /// How they go through Redis to the gateway that writes for all; `None` when they do not.
    pub buffer: Option<spend_buffer::Rules>,
}

/// Hands each finished call to the hub and to the ledger. Neither waits.
pub struct Fanout {
    /// The log sinks.
    pub hub: Arc<Hub>,
    /// Raises alerts.
    pub watch: Arc<Watch>,
    /// Tells what happened to budgets.
    pub budgets: BudgetAlerts,
    /// The ledger.
    pub spend: SpendWriter,
    /// Which rows are written; swapped at a reload.
    pub ledger: Arc<ArcSwap<Ledger>>,
}

impl Recorder for Fanout {
    fn record(&self, call: Completed) {
        self.watch.ended(&call);
        if self.hub.tells_services() {
            self.hub.publish_service(whole(&call));
        }
        let ledger = **self.ledger.load();
        // A row per refused stranger would let strangers fill the disk.
        let (rows, counts) = match &call.outcome {
            Outcome::Success => (ledger.successes, ledger.totals),
            Outcome::Failure(failure) if failure.class == "ProxyException" => (false, false),
            Outcome::Failure(_) => (ledger.successes && ledger.failures, ledger.totals),
        };
        if rows || counts {
            let mut row = row(&call);
            if let Some(most) = ledger.prompts.filter(|_| rows) {
                let prompts = spend::Prompts::of(&call, most);
                row.messages = prompts.messages.into();
                row.response = prompts.response.into();
                row.proxy_server_request = prompts.proxy_server_request.into();
            }
            if !ledger.end_users {
                row.end_user = None;
            }
            self.spend.record_as(&row, rows, counts);
        }
        match &call.outcome {
            // No deployment was called: only sinks that ask for failures of the gateway itself get these.
            Outcome::Failure(failure) if call.served.model_id.is_empty() => {
                self.hub
                    .publish_proxy_failure(proxy_failure(&call, failure));
            }
            Outcome::Success if call.stream && !ledger.streams => {}
            _ => {
                self.hub.publish(call);
            }
        }
    }

    fn hears(&self, failed: bool) -> bool {
        let ledger = **self.ledger.load();
        ledger.successes
            || ledger.totals
            || self.watch.listens()
            || self.hub.tells_services()
            || self.wants_headers(failed)
            || failed && self.hub.wants(EventKind::ProxyFailure)
    }

    fn wants_headers(&self, failed: bool) -> bool {
        self.hub.wants(match failed {
            true => EventKind::Failure,
            false => EventKind::Success,
        })
    }

    fn record_attempt(&self, call: Completed) {
        self.watch.attempt_failed(&call);
        self.hub.publish(call);
    }

    fn budgets(&self, facts: Vec<Fact>, caller: &Principal) {
        self.budgets.raise(facts, caller);
    }

    fn tells_services(&self) -> bool {
        self.hub.tells_services()
    }

    fn service(&self, event: ServiceEvent) {
        self.hub.publish_service(event);
    }

    fn begin(&self, call: &dyn Fn() -> Begun) -> Option<InFlight> {
        self.watch.begin(call)
    }
}

/// A call as an operation of the gateway itself.
fn whole(call: &Completed) -> ServiceEvent {
    let took = call.times.end.duration_since(call.times.start);
    ServiceEvent {
        service: "self",
        call_type: call.call_type.clone(),
        end: call.times.end,
        took: took.unsigned_abs(),
        error: call.failure().map(|failure| ServiceError {
            class: failure.class.clone(),
            message: failure.message.clone(),
        }),
        metadata: None,
    }
}

fn proxy_failure(call: &Completed, failure: &Failure) -> ProxyFailure {
    ProxyFailure {
        call_id: call.call_id.clone(),
        route: call.route.clone(),
        failure: failure.clone(),
        caller: call.caller.clone(),
        model: Some(call.served.model_group.clone()).filter(|model| !model.is_empty()),
        fallbacks: call.fallbacks.clone(),
        metadata: None,
        audience: call.audience.clone(),
    }
}

/// `store_prompts_in_spend_logs` and how much of each text is kept.
pub(super) fn prompts(loaded: &Loaded) -> Option<usize> {
    let env = &loaded.environment;
    let general = loaded.config.raw.get("general_settings");
    let setting = |key: &str| general?.get(key).filter(|value| !value.is_null());
    let is_on = setting("store_prompts_in_spend_logs").and_then(Value::as_bool);
    let is_on = is_on.or_else(|| env.flag("STORE_PROMPTS_IN_SPEND_LOGS"));
    let most = setting("store_prompts_in_spend_logs_max_chars").and_then(Value::as_u64);
    let most = most.and_then(|most| usize::try_from(most).ok());
    let most = most.or_else(|| env.parse("MAX_STRING_LENGTH_PROMPT_IN_DB"));
    (is_on == Some(true)).then(|| most.unwrap_or(spend::MAX_PROMPT_CHARS))
}

/// How rows are grouped: `proxy_batch_write_at`, `MAX_SIZE_IN_MEMORY_QUEUE` and `MAX_IN_MEMORY_QUEUE_FLUSH_COUNT`, where the operator
/// says so.
pub fn spend_options(loaded: &Loaded) -> SpendOptions {
    let default = SpendOptions::default();
    let rows = |name: &str| {
        let rows: Option<usize> = loaded.environment.parse(name);
        rows.filter(|rows| (1..=default.queue_rows).contains(rows))
    };
    SpendOptions {
        commit_interval: commit_interval(loaded),
        hurry_rows: rows("MAX_SIZE_IN_MEMORY_QUEUE").unwrap_or(default.hurry_rows),
        commit_rows: rows("MAX_IN_MEMORY_QUEUE_FLUSH_COUNT").unwrap_or(default.commit_rows),
        ..default
    }
}

/// How long the first row of a group waits; a tenth of a second unless the operator says so.
fn commit_interval(loaded: &Loaded) -> Duration {
    let general = loaded.config.raw.get("general_settings");
    let setting = general.and_then(|general| general.get("proxy_batch_write_at")?.as_f64());
    let seconds = setting.or_else(|| loaded.environment.parse("PROXY_BATCH_WRITE_AT"));
    let seconds = seconds.filter(|seconds| (0.0..=3600.0).contains(seconds));
    seconds.map_or(
        SpendOptions::default().commit_interval,
        Duration::from_secs_f64,
    )
}

fn text(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

/// The windows of budgets in which a call's cost was spent, for the row.
fn windows(call: &Completed) -> Cow<'static, str> {
    if call.budget_windows.is_empty() {
        return Cow::Borrowed("");
    }
    let windows = call.budget_windows.iter().map(|window| SpendWindow {
        entity_type: window.entity_type.to_owned(),
        entity_id: window.entity_id.clone(),
        duration: window.duration.clone(),
        length_s: window.length_s,
        start: window.start,
    });
    let windows: Vec<SpendWindow> = windows.collect();
    Cow::Owned(serde_json::to_string(&windows).unwrap_or_default())
}

/// LiteLLM's row of a call.
fn row(call: &Completed) -> SpendRow<'_> {
    let tokens = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let caller = &call.caller;
    let served = &call.served;
    SpendRow {
        request_id: call.log_id(),
        call_type: Cow::Borrowed(&call.call_type),
        api_key: text(&caller.key_hash).unwrap_or_default(),
        spend: call.cost.total.unwrap_or_default(),
        total_tokens: tokens(call.usage.total_tokens),
        prompt_tokens: tokens(call.usage.prompt_tokens),
        completion_tokens: tokens(call.usage.completion_tokens),
        start_time: call.times.start,
        end_time: call.times.end,
        completion_start_time: call.times.first_token,
        model: Cow::Borrowed(&served.model),
        model_id: Cow::Borrowed(&served.model_id),
        model_group: Cow::Borrowed(&served.model_group),
        custom_llm_provider: Cow::Borrowed(&served.provider),
        api_base: Cow::Borrowed(&served.api_base),
        user: text(&caller.user_id).unwrap_or_default(),
        metadata: spend::metadata(call).into(),
        cache_hit: spend::cache_hit(call).into(),
        cache_key: spend::cache_key(call).into(),
        request_tags: spend::request_tags(call).into(),
        team_id: text(&caller.team_id),
        organization_id: text(&caller.org_id),
        end_user: text(&caller.end_user_id),
        requester_ip_address: text(&call.request.ip),
        session_id: Some(Cow::Borrowed(&call.trace_id)),
        status: Some(Cow::Borrowed(match call.succeeded() {
            true => "success",
            false => "failure",
        })),
        litellm_call_id: Some(Cow::Borrowed(&call.call_id)),
        budget_windows: windows(call),
        cache_read_tokens: tokens(call.usage.cached_tokens),
        cache_creation_tokens: tokens(call.usage.cache_creation_tokens),
        ..SpendRow::default()
    }
}
