//! Sees calls begin and end, and raises alerts. What it costs a call: one short lock at its begin and end, and nothing at
//! all when nobody listens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::outage::{Failed, Outages};
use super::report::Report;
use super::{Alert, AlertKind, AlertSettings, BudgetAlert, Draft, KeyText, Level, calls};
use crate::completed::{Caller, Completed, Origin};
use crate::hub::Hub;
use crate::mask;

/// Calls looked at in one search for hanging ones: the oldest that nobody was told about.
const SEARCHED: usize = 20;

/// Shortest pause between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Watches over the calls.
pub struct Watch {
    hub: Arc<Hub>,
    settings: ArcSwap<AlertSettings>,
    changed: Notify,
    state: Mutex<State>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

#[derive(Default)]
struct State {
    next: u64,
    under_way: BTreeMap<u64, UnderWay>,
    outages: Outages,
    report: Report,
}

/// A call that begins.
#[derive(Debug, Clone, Default)]
pub struct Begun {
    /// Model group.
    pub model: String,
    /// Base URL of the deployment; may be empty.
    pub api_base: String,
    /// Who calls.
    pub caller: Caller,
}

struct UnderWay {
    since: Timestamp,
    call: Begun,
    is_told: bool,
}

/// A call under way, until this is dropped.
pub struct InFlight {
    watch: Arc<Watch>,
    number: u64,
}

impl Watch {
    /// Raises alerts through this hub.
    pub fn new(
        hub: Arc<Hub>,
        settings: AlertSettings,
        now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self {
            hub,
            settings: ArcSwap::from_pointee(settings),
            changed: Notify::new(),
            state: Mutex::default(),
            now,
        })
    }

    /// Puts new settings in force.
    pub fn configure(&self, settings: AlertSettings) {
        self.settings.store(Arc::new(settings));
        self.changed.notify_one();
    }

    /// A call begins. `call` is asked only when somebody listens.
    pub fn begin(self: &Arc<Self>, call: impl FnOnce() -> Begun) -> Option<InFlight> {
        if !self.settings.load().tells(AlertKind::LlmRequestsHanging) {
            return None;
        }
        let under_way = UnderWay {
            since: (self.now)(),
            call: call(),
            is_told: false,
        };
        let mut state = self.state.lock();
        state.next += 1;
        let number = state.next;
        state.under_way.insert(number, under_way);
        Some(InFlight {
            watch: self.clone(),
            number,
        })
    }

    /// Whether a call that ended may be worth an alert.
    pub fn listens(&self) -> bool {
        let settings = self.settings.load();
        settings.is_on || settings.router_threshold.is_some()
    }

    /// A call ended.
    pub fn ended(&self, call: &Completed) {
        let settings = self.settings.load();
        if call.audience.origin == Origin::Plugin {
            return;
        }
        let drafts = |threshold| {
            let drafts = [
                calls::slow(call, threshold, &settings),
                calls::failed(call, &settings),
            ];
            drafts.into_iter().flatten()
        };
        if settings.is_on {
            self.count(call, &settings);
            drafts(settings.threshold).for_each(|draft| self.raise(draft, &settings));
        }
        if let Some(draft) = calls::spent(call).filter(|_| settings.tells_spend) {
            self.publish(draft, &settings, false);
        }
        if let Some(threshold) = settings.router_threshold {
            drafts(threshold).for_each(|draft| self.publish(draft, &settings, true));
        }
    }

    /// A try failed, and was followed by another one.
    pub fn attempt_failed(&self, call: &Completed) {
        let settings = self.settings.load();
        if settings.is_on && call.audience.origin != Origin::Plugin {
            self.count(call, &settings);
        }
    }

    /// A plugin failed too often and is not called for a while.
    pub fn plugin_rests(&self, plugin: &str, rest: Duration) {
        let title = format!("The plugin `{plugin}` failed too often and is not called for a while");
        let draft = Draft::new(AlertKind::PluginBreakerOpen, Level::High, title);
        let draft = draft
            .field("Plugin", plugin)
            .field("Rest", &format!("{} s", rest.as_secs_f64()));
        self.raise(draft, &self.settings.load());
    }

    /// Whether alerts of this kind are told to anybody.
    pub fn tells(&self, kind: AlertKind) -> bool {
        self.settings.load().tells(kind)
    }

    /// Something happened to a budget.
    pub fn budget(&self, alert: &BudgetAlert) {
        self.raise(alert.draft(), &self.settings.load());
    }

    /// What was spent: a title and lines.
    pub fn spend_report(&self, title: &str, text: String) {
        let mut draft = Draft::new(AlertKind::SpendReports, Level::Low, title);
        draft.text = text;
        self.raise(draft, &self.settings.load());
    }

    /// Somebody did something through the management API.
    pub fn deed(
        &self,
        kind: AlertKind,
        by: &[(&'static str, String)],
        arguments: &[(String, String)],
    ) {
        let settings = self.settings.load();
        let words = kind.as_str().split('_').map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            format!("{}{rest}", first.to_uppercase())
        });
        let words: Vec<String> = words.collect();
        let mut draft = Draft::new(kind, Level::High, words.join(" "));
        // Whoever sends a text with lines of its own must not seem to say more than one.
        let flat = |text: &str| {
            mask::mask(text)
                .replace('`', "'")
                .replace(char::is_control, " ")
        };
        let line = |name: &str, value: &str| format!("\n{}: `{}`", flat(name), flat(value));
        draft.text = "*Action Done by:*".to_owned();
        draft
            .text
            .extend(by.iter().map(|(name, value)| line(name, value)));
        draft.text.push_str("\n\n*Arguments passed:*");
        let arguments = arguments.iter();
        draft
            .text
            .extend(arguments.map(|(name, value)| line(name, value)));
        self.raise(draft, &settings);
    }

    /// A new configuration was refused; the old one keeps serving.
    pub fn reload_refused(&self, problems: &[String]) {
        let settings = self.settings.load();
        let title = "The new configuration is refused, the old one keeps serving";
        let mut draft = Draft::new(AlertKind::ConfigReloadRefused, Level::Medium, title);
        let text = problems.join("\n");
        let end = text.floor_char_boundary(settings.message_max);
        draft.text = format!("```{}```", mask::mask(text.get(..end).unwrap_or_default()));
        self.raise(draft, &settings);
    }

    /// A letter for the sink of this name, which sends mail: to whom is among the fields. It is no alert, so nobody else hears of
    /// it and the log does not tell it. Whether there was room for it; `None` without such a sink.
    pub fn letter(
        &self,
        sink: &str,
        kind: AlertKind,
        fields: Vec<(String, String)>,
        key: Option<KeyText>,
    ) -> Option<bool> {
        let mut draft = Draft::new(kind, Level::Low, kind.as_str());
        draft.fields = fields;
        let alert = self.alert(draft, &self.settings.load(), false);
        self.hub.try_alert(sink, Alert { key, ..alert })
    }

    /// The gateway's own address, `PROXY_BASE_URL`.
    #[must_use]
    pub fn proxy_url(&self) -> Option<String> {
        self.settings.load().proxy_url.clone()
    }

    /// An alert of this kind that says nothing but that it is a test. It is not raised: the caller knows
    /// whom it is for.
    pub fn test(&self, kind: AlertKind, title: &str) -> Alert {
        let draft = Draft::new(kind, Level::Low, title);
        self.alert(draft, &self.settings.load(), false)
    }

    /// What is due at this moment: calls that hang, and the report.
    pub fn look(&self, now: Timestamp) {
        let settings = self.settings.load();
        if !settings.is_on {
            return;
        }
        let mut drafts = Vec::new();
        let mut state = self.state.lock();
        if settings.tells(AlertKind::LlmRequestsHanging) {
            let waiting = state.under_way.values_mut().filter(|call| !call.is_told);
            for call in waiting.take(SEARCHED) {
                if now.duration_since(call.since).unsigned_abs() < settings.threshold {
                    break;
                }
                call.is_told = true;
                drafts.push(hanging(&call.call, settings.threshold));
            }
        }
        state.outages.forget(now, &settings);
        drafts.extend(state.report.due(now, settings.report_every));
        drop(state);
        drafts
            .into_iter()
            .for_each(|draft| self.raise(draft, &settings));
    }

    /// Looks again and again, until the token is cancelled.
    pub async fn run(self: Arc<Self>, token: CancellationToken) {
        loop {
            let settings = self.settings.load_full();
            let pause = (settings.threshold / 2)
                .min(settings.report_check)
                .min(settings.report_every);
            tokio::select! {
                () = token.cancelled() => return,
                () = self.changed.notified() => continue,
                () = tokio::time::sleep(pause.max(PAUSE_MIN)), if settings.is_on => {}
            }
            self.look((self.now)());
        }
    }

    fn count(&self, call: &Completed, settings: &AlertSettings) {
        if call.served.is_clients {
            return;
        }
        let mut state = self.state.lock();
        state.report.count(call);
        let status = call.failure().and_then(|failure| failure.status);
        let served = &call.served;
        let (Some(status), false) = (status, served.model_id.is_empty()) else {
            return;
        };
        // A guardrail's failure after the answer says nothing about the deployment.
        if call
            .failure()
            .is_some_and(|failure| failure.class.starts_with("Guardrail"))
        {
            return;
        }
        let failed = Failed {
            deployment: &served.model_id,
            model: &served.model_group,
            provider: &served.provider,
            region: &served.region,
            api_base: &served.api_base,
            status,
        };
        let drafts = state.outages.failed(&failed, call.times.end, settings);
        drop(state);
        drafts
            .into_iter()
            .for_each(|draft| self.raise(draft, settings));
    }

    fn raise(&self, draft: Draft, settings: &AlertSettings) {
        if settings.tells(draft.kind) {
            self.publish(draft, settings, false);
        }
    }

    fn publish(&self, draft: Draft, settings: &AlertSettings, is_routers: bool) {
        let alert = self.alert(draft, settings, is_routers);
        if settings.log_to_console {
            tracing::warn!(kind = alert.kind.as_str(), level = ?alert.level, fields = ?alert.fields, "alert: {}", alert.title);
        }
        self.hub.publish_alert(alert);
    }

    fn alert(&self, draft: Draft, settings: &AlertSettings, is_routers: bool) -> Alert {
        Alert {
            id: format!("{:032x}", rand::random::<u128>()),
            kind: draft.kind,
            level: draft.level,
            at: (self.now)(),
            title: draft.title,
            text: draft.text,
            fields: draft.fields,
            metadata: draft.metadata,
            proxy_url: settings.proxy_url.clone(),
            is_routers,
            key: None,
        }
    }
}

fn hanging(call: &Begun, threshold: Duration) -> Draft {
    let title = format!(
        "Requests are hanging - {}s+ request time",
        threshold.as_secs_f64()
    );
    let draft = Draft::new(AlertKind::LlmRequestsHanging, Level::Medium, title)
        .field("Request Model", &call.model)
        .field("API Base", &call.api_base);
    calls::whose(draft, &call.caller)
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.watch.state.lock().under_way.remove(&self.number);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
