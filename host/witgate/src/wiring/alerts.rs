//! Alerts: what the configuration says about them, and alerter components as sinks of the hub.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use serde_json::Value;
use witgate_config::{Config, Loaded};
use witgate_events::{Alert, AlertKind, AlertSettings, Delivery, EncodedEvent, Level, Sink};
use witgate_plugins as host;

use super::plugins::failed;
use super::settings::seconds;

/// LiteLLM's threshold of the router's alerts.
const ROUTERS_THRESHOLD: Duration = Duration::from_secs(300);

/// LiteLLM's webhook.
pub(super) const WEBHOOK: &str = "webhook";

/// The component of a channel. `webhook` has another name: a plugin of the operator's may well be called so.
pub(super) fn component(channel: &str) -> &str {
    match channel {
        "webhook" => "budget-webhook",
        other => other,
    }
}

/// Whether a channel is told of budgets alone: LiteLLM's webhook, and mail to nobody but those whose budget it is.
pub(super) fn is_for_budgets(config: &Config, name: &str) -> bool {
    match name {
        "webhook" => true,
        "email" => !config.plugins.get("email").is_some_and(|entry| {
            entry.source.is_some() || entry.settings.contains_key("recipients")
        }),
        _ => false,
    }
}

/// The alerters that hear alerts. Mail to the users concerned needs a mail server; without one nothing could be sent.
pub(super) fn names(loaded: &Loaded) -> Vec<String> {
    let has_server = loaded.environment.non_empty("SMTP_HOST").is_some();
    let mut names = listed(&loaded.config);
    names.retain(|name| name != "email" || has_server || !is_for_budgets(&loaded.config, name));
    names
}

/// The alerters that are loaded, and whether they hear alerts. `email` with `TEST_EMAIL_ADDRESS` alone hears
/// none: it is there to be tried.
pub(super) fn entries(loaded: &Loaded) -> Vec<(String, bool)> {
    let hearing = names(loaded);
    let tried = loaded.environment.non_empty("TEST_EMAIL_ADDRESS").is_some()
        && listed(&loaded.config).iter().any(|name| name == "email")
        && !hearing.iter().any(|name| name == "email");
    let hearing = hearing.into_iter().map(|name| (name, true));
    let tried = tried.then(|| ("email".to_owned(), false));
    hearing.chain(tried).collect()
}

/// `alerting_args.budget_alert_ttl`
pub(super) fn budget_silence(loaded: &Loaded) -> Option<Duration> {
    let ttl = general(&loaded.config, "alerting_args")?.get("budget_alert_ttl")?;
    ttl.as_f64().filter(|ttl| *ttl >= 0.0).map(seconds)
}

/// What `alerting` lists.
pub fn listed(config: &Config) -> Vec<String> {
    texts(config, "alerting").unwrap_or_default()
}

/// The webhooks by alert type, a setting of every alerter.
pub fn webhooks(config: &Config) -> Option<Value> {
    let map = general(config, "alert_to_webhook_url")?;
    map.as_object().filter(|map| !map.is_empty())?;
    Some(map.clone())
}

/// Name of the router's own channel among the plugins.
pub(super) const ROUTERS: &str = "alerting_config";

/// The webhook and the threshold of `router_settings.alerting_config`.
///
/// # Errors
/// When it names no webhook, or its threshold is none.
pub(super) fn routers(config: &Config) -> anyhow::Result<Option<(&str, Duration)>> {
    let router = config.raw.get("router_settings");
    let Some(own) = router.and_then(|router| router.get(ROUTERS)?.as_object()) else {
        return Ok(None);
    };
    let url = own.get("webhook_url").and_then(Value::as_str);
    let Some(url) = url.filter(|url| !url.is_empty()) else {
        anyhow::bail!(
            "router_settings.alerting_config.webhook_url is missing: where the router's alerts are posted"
        );
    };
    let threshold = own.get("alerting_threshold").and_then(Value::as_f64);
    Ok(Some((url, threshold.map_or(ROUTERS_THRESHOLD, seconds))))
}

/// What is told, and when.
pub(super) fn settings(loaded: &Loaded) -> AlertSettings {
    let (config, env) = (&loaded.config, &loaded.environment);
    let args = general(config, "alerting_args");
    let arg = |name: &str| args.and_then(|args| args.get(name));
    let number = |name: &str| arg(name).and_then(Value::as_f64).filter(|n| *n >= 0.0);
    let time = |name: &str, default: Duration| number(name).map_or(default, seconds);
    let count = |name: &str, default: usize| number(name).map_or(default, |n| n as usize);
    let threshold = general(config, "alerting_threshold").and_then(Value::as_f64);
    let threshold = threshold.or_else(|| env.parse("DEFAULT_SLACK_ALERTING_THRESHOLD"));
    let default = AlertSettings::default();
    let report_every =
        number("daily_report_frequency").or_else(|| env.parse("SLACK_DAILY_REPORT_FREQUENCY"));
    AlertSettings {
        is_on: !names(loaded).is_empty(),
        tells_spend: names(loaded).iter().any(|name| name == WEBHOOK),
        kinds: texts(config, "alert_types").map_or(default.kinds, |names| kinds(&names)),
        threshold: threshold.map_or(default.threshold, seconds),
        router_threshold: routers(config)
            .ok()
            .flatten()
            .map(|(_, threshold)| threshold),
        outage_window: time("outage_alert_ttl", default.outage_window),
        region_window: time("region_outage_alert_ttl", default.region_window),
        minor: count("minor_outage_alert_threshold", default.minor).max(1),
        major: count("major_outage_alert_threshold", default.major).max(1),
        list_max: count("max_outage_alert_list_size", default.list_max),
        report_every: report_every.map_or(default.report_every, seconds),
        report_check: time("report_check_interval", default.report_check),
        message_max: env
            .parse("MAX_EXCEPTION_MESSAGE_LENGTH")
            .unwrap_or(default.message_max),
        hide_messages: config.litellm.turn_off_message_logging
            || config.litellm.redact_messages_in_exceptions,
        log_to_console: arg("log_to_console")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        proxy_url: env.non_empty("PROXY_BASE_URL").map(str::to_owned),
    }
}

/// LiteLLM's other types are accepted; what they are about is not there to be told.
fn kinds(names: &[String]) -> Vec<AlertKind> {
    let (known, other): (Vec<_>, Vec<_>) = names
        .iter()
        .partition(|name| AlertKind::parse(name).is_some());
    if !other.is_empty() {
        tracing::warn!(alert_types = ?other, "nothing raises these alerts yet");
    }
    known
        .iter()
        .filter_map(|name| AlertKind::parse(name))
        .collect()
}

fn general<'a>(config: &'a Config, key: &str) -> Option<&'a Value> {
    config.raw.get("general_settings")?.get(key)
}

/// A list of names; `None` when it is not given.
fn texts(config: &Config, key: &str) -> Option<Vec<String>> {
    let value = general(config, key)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match value {
        Value::Array(items) => Some(items.iter().filter_map(text).collect()),
        Value::String(one) => Some(vec![one.clone()]),
        _ => None,
    }
}

/// An alerter component as a sink of the hub.
pub(super) struct Alerter {
    pub plugin: Arc<host::Alerter>,
    pub hears: Hears,
}

/// Which alerts a channel gets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Hears {
    /// It is the router's own.
    pub routers: bool,
    /// It hears of budgets alone.
    pub budgets_alone: bool,
    /// It hears of what calls cost, which no other one does.
    pub spend: bool,
}

#[async_trait]
impl Sink for Alerter {
    async fn deliver(&self, batch: &[EncodedEvent]) -> Delivery {
        let groups = squashed(batch, self.hears);
        if groups.is_empty() {
            return Delivery::Delivered;
        }
        let alerts = groups
            .iter()
            .map(|(alert, members)| told(alert, members.len()));
        let all = |group: usize| {
            groups
                .get(group)
                .map(|(_, members)| members.clone())
                .unwrap_or_default()
        };
        match self.plugin.send(alerts.collect()).await {
            Ok(host::Outcome::Delivered) => Delivery::Delivered,
            Ok(host::Outcome::Retry { after, reason }) => Delivery::Retry { after, reason },
            Ok(host::Outcome::Rejected(reason)) => Delivery::Rejected { reason },
            Ok(host::Outcome::Partial {
                retry,
                rejected,
                retry_after,
            }) => Delivery::Partial {
                retry: retry.into_iter().flat_map(all).collect(),
                rejected: rejected
                    .into_iter()
                    .flat_map(|(group, reason)| {
                        all(group).into_iter().map(move |at| (at, reason.clone()))
                    })
                    .collect(),
                after: retry_after,
            },
            Err(error) => failed(&error),
        }
    }
}

/// Alerts for this channel that say the same, as one with their positions in the batch.
fn squashed(batch: &[EncodedEvent], hears: Hears) -> Vec<(Alert, Vec<usize>)> {
    let mut groups: Vec<(Alert, Vec<usize>)> = Vec::new();
    for (at, event) in batch.iter().enumerate() {
        // What the hub encoded it can decode.
        let Ok(alert) = serde_json::from_slice::<Alert>(&event.json) else {
            continue;
        };
        let is_theirs = match alert.kind {
            AlertKind::BudgetAlerts | AlertKind::Test => true,
            AlertKind::SpendTracked => hears.spend,
            kind => kind.is_letter() || !hears.budgets_alone,
        };
        if alert.is_routers != hears.routers || !is_theirs {
            continue;
        }
        let same = |(known, _): &&mut (Alert, Vec<usize>)| {
            (
                known.kind,
                &known.title,
                &known.text,
                &known.fields,
                &known.metadata,
                &known.key,
            ) == (
                alert.kind,
                &alert.title,
                &alert.text,
                &alert.fields,
                &alert.metadata,
                &alert.key,
            )
        };
        match groups.iter_mut().find(same) {
            Some((_, members)) => members.push(at),
            None => groups.push((alert, vec![at])),
        }
    }
    groups
}

fn told(alert: &Alert, count: usize) -> host::Alert {
    let local = alert.at.to_zoned(TimeZone::system());
    let mut fields = alert.fields.clone();
    let key = alert.key.as_ref();
    fields.extend(key.map(|key| ("key_token".to_owned(), key.0.clone())));
    host::Alert {
        id: alert.id.clone(),
        kind: alert.kind.as_str().to_owned(),
        level: match alert.level {
            Level::Low => host::AlertLevel::Low,
            Level::Medium => host::AlertLevel::Medium,
            Level::High => host::AlertLevel::High,
        },
        at_ms: u64::try_from(alert.at.as_millisecond()).unwrap_or_default(),
        local_time: local.strftime("%H:%M:%S").to_string(),
        title: alert.title.clone(),
        text: alert.text.clone(),
        fields,
        metadata: alert.metadata.clone(),
        link: None,
        proxy_url: alert.proxy_url.clone(),
        count: u32::try_from(count).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(title: &str) -> EncodedEvent {
        let alert = Alert {
            id: "0".to_owned(),
            kind: AlertKind::LlmExceptions,
            level: Level::High,
            at: jiff::Timestamp::UNIX_EPOCH,
            title: title.to_owned(),
            text: String::new(),
            fields: Vec::new(),
            metadata: Vec::new(),
            proxy_url: None,
            is_routers: title == "router",
            key: None,
        };
        EncodedEvent {
            id: alert.id.clone(),
            kind: witgate_events::EventKind::Alert,
            json: serde_json::to_vec(&alert).unwrap().into(),
            context: bytes::Bytes::new(),
            dynamic: Arc::default(),
        }
    }

    #[test]
    fn alerts_that_say_the_same_are_one() {
        let batch = [event("a"), event("b"), event("a"), event("router")];
        let hears = Hears {
            routers: true,
            ..Hears::default()
        };
        let routers = squashed(&batch, hears);
        assert_eq!(routers.len(), 1);
        assert_eq!(routers[0].1, [3], "the router's channel gets its own alone");
        let groups = squashed(&batch, Hears::default());
        let hears = Hears {
            budgets_alone: true,
            ..Hears::default()
        };
        assert!(squashed(&batch, hears).is_empty(), "none is of a budget");
        let members: Vec<&[usize]> = groups
            .iter()
            .map(|(_, members)| members.as_slice())
            .collect();
        assert_eq!(members, [&[0, 2][..], &[1]]);
        assert_eq!(told(&groups[0].0, 2).count, 2);
    }
}
