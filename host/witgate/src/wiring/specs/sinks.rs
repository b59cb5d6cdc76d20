//! Those who are told of calls: which the configuration lists, for which events, and with which batches.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;
use witgate_config::{Config, Loaded};
use witgate_events::{HubConfig, Kinds, RedactionSettings, SinkEntry, SinkOptions, SinkRedaction};
use witgate_plugins::{Kind, Registry};

use super::super::{alerts, metering, plugins, printed, settings};
use super::{is_lenient, missing, shared};

/// The log sinks by name, and the events each wants. `callbacks`: those of the list of this name that are sinks.
pub(super) fn sinks(config: &Config, callbacks: &[String]) -> IndexMap<String, Kinds> {
    let litellm = &config.litellm;
    let services = service_sinks(config);
    let lists: [(&[String], Kinds); 5] = [
        (
            callbacks,
            Kinds {
                proxy_failure: true,
                ..Kinds::CALLS
            },
        ),
        (&litellm.success_callback, Kinds::SUCCESS),
        (&litellm.failure_callback, Kinds::FAILURE),
        (&services, Kinds::SERVICES),
        (&litellm.audit_log_callbacks, Kinds::AUDIT),
    ];
    let mut sinks: IndexMap<String, Kinds> = IndexMap::new();
    for (names, kinds) in lists {
        for name in names {
            sinks
                .entry(name.clone())
                .and_modify(|known| *known = known.union(kinds))
                .or_insert(kinds);
        }
    }
    // Those are there for the teams, and get nothing else.
    for name in of_teams(config) {
        sinks.entry(name).or_insert(Kinds::NONE);
    }
    sinks
}

/// The sinks that `default_team_settings` names.
fn of_teams(config: &Config) -> Vec<String> {
    let settings = config.raw.get("litellm_settings");
    let list = settings.and_then(|settings| settings.get("default_team_settings")?.as_array());
    let named = list.into_iter().flatten().flat_map(|entry| {
        let names = ["success_callback", "failure_callback"];
        names.map(|name| entry.get(name).and_then(Value::as_array))
    });
    let names = named.flatten().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// The sinks that are told of the gateway's own services, in both spellings of the list. LiteLLM's `prometheus_system`
/// is `prometheus`.
fn service_sinks(config: &Config) -> Vec<String> {
    let litellm = &config.litellm;
    let both = litellm.service_callbacks.iter();
    let names = both.chain(&litellm.service_callback);
    let name = |name: &String| match name.as_str() {
        "prometheus_system" => "prometheus".to_owned(),
        other => other.to_owned(),
    };
    names.map(name).collect()
}

/// The hub's configuration: sinks with their plugins, redaction, batching.
pub(in crate::wiring) fn hub(
    loaded: &Loaded,
    registry: &Registry,
    problems: &mut Vec<String>,
) -> HubConfig {
    let config = &loaded.config;
    let litellm = &config.litellm;
    let mut entries = Vec::new();
    let shared = shared(config);
    let only_hooks =
        |name: &String| registry.request_hook(name).is_some() && registry.log_sink(name).is_none();
    let callbacks = litellm.callbacks.iter();
    let callbacks = callbacks.filter(|name| !only_hooks(name) && !metering::is_own_callback(name));
    let callbacks: Vec<String> = callbacks.cloned().collect();
    let audit = &litellm.audit_log_callbacks;
    let stores = config.raw.get("litellm_settings");
    let stores = stores.and_then(|settings| settings.get("store_audit_logs")?.as_bool());
    if !audit.is_empty() && stores != Some(true) {
        tracing::warn!(
            "litellm_settings.audit_log_callbacks has no effect: it tells of the rows that store_audit_logs: true keeps"
        );
    }
    for (name, kinds) in sinks(config, &callbacks) {
        if registry.prompt_manager(&name).is_some() {
            continue;
        }
        let Some(plugin) = registry.log_sink(&name) else {
            // Of those that may be left out it has been told.
            if !is_lenient(config, &name) {
                missing(problems, &name);
            }
            continue;
        };
        if !registry.is_enabled(Kind::LogSink, &name) {
            continue;
        }
        if kinds.service && !plugin.manifest().events.iter().any(|e| e == "service") {
            tracing::warn!(
                sink = name,
                "litellm_settings.service_callbacks names a sink that takes no events of services; prometheus, datadog and otel do"
            );
        }
        if kinds.audit && !plugin.manifest().events.iter().any(|e| e == "audit") {
            problems.push(format!(
                "litellm_settings.audit_log_callbacks: {name} takes no rows of the audit log; s3 (s3_v2), jsonl and components whose manifest has the event \"audit\" do"
            ));
        }
        let settings = config.callback_settings.get(&name);
        let params: Vec<Value> = plugin
            .manifest()
            .params
            .iter()
            .filter_map(|key| shared(key))
            .collect();
        let flag = |key: &str| {
            let places = settings.into_iter().chain(&params);
            places
                .filter_map(|place| place.get(key))
                .find_map(Value::as_bool)
        };
        let off = flag("turn_off_message_logging").unwrap_or(false)
            || flag("message_logging") == Some(false);
        entries.push(SinkEntry {
            kinds: wanted(kinds, &plugin.manifest().events),
            redaction: SinkRedaction {
                message_logging: !off,
                ..SinkRedaction::default()
            },
            options: sink_options(loaded, settings, plugin.batching()),
            calls_models: !plugin.manifest().llm.is_empty(),
            sink: Arc::new(plugins::LogSink::new(&name, plugin)),
            name,
        });
    }
    if printed::is_wanted(loaded) {
        entries.push(SinkEntry {
            sink: Arc::new(printed::Printed),
            kinds: Kinds::CALLS,
            redaction: SinkRedaction::default(),
            options: sink_options(loaded, None, (None, Some(printed::INTERVAL_S))),
            calls_models: false,
            name: printed::VARIABLE.to_owned(),
        });
    }
    // The router's channel is one to Slack.
    let options_of = |name: &str| {
        let own = config.callback_settings.get(name);
        let slack = || config.callback_settings.get("slack");
        own.or_else(|| slack().filter(|_| name == alerts::ROUTERS))
    };
    let routers = alerts::routers(config).ok().flatten();
    let routers = routers.map(|_| alerts::ROUTERS.to_owned());
    let routers = routers.map(|name| (name, true));
    for (name, hears) in alerts::entries(loaded).into_iter().chain(routers) {
        let Some(plugin) = registry.alerter(&name) else {
            missing(problems, &name);
            continue;
        };
        if !registry.is_enabled(Kind::Alerter, &name) {
            continue;
        }
        entries.push(SinkEntry {
            sink: Arc::new(alerts::Alerter {
                plugin,
                hears: alerts::Hears {
                    routers: name == alerts::ROUTERS,
                    budgets_alone: alerts::is_for_budgets(config, &name),
                    spend: name == alerts::WEBHOOK,
                },
            }),
            kinds: if hears { Kinds::ALERTS } else { Kinds::NONE },
            redaction: SinkRedaction::default(),
            options: sink_options(loaded, options_of(&name), (None, None)),
            calls_models: false,
            name,
        });
    }
    HubConfig {
        redaction: RedactionSettings {
            turn_off_message_logging: litellm.turn_off_message_logging,
            redact_user_api_key_info: litellm.redact_user_api_key_info,
            redact_messages_in_exceptions: litellm.redact_messages_in_exceptions,
            ..RedactionSettings::default()
        },
        excluded_fields: Vec::new(),
        sinks: entries,
    }
}

/// What the configuration lists the sink for, as far as its manifest wants it: all calls when it does not
/// say, failures before any call only when it does.
fn wanted(listed: Kinds, events: &[String]) -> Kinds {
    let wants = |event: &str| events.iter().any(|name| name == event);
    Kinds {
        success: listed.success && (events.is_empty() || wants("success")),
        failure: listed.failure && (events.is_empty() || wants("failure")),
        proxy_failure: listed.proxy_failure && wants("proxy_failure"),
        alert: false,
        service: listed.service && wants("service"),
        audit: listed.audit && wants("audit"),
        named: true,
    }
}

/// The sink's own settings, what its plugin says of size and interval, the variables, the defaults.
fn sink_options(
    loaded: &Loaded,
    settings: Option<&Value>,
    (size, interval): (Option<f64>, Option<f64>),
) -> SinkOptions {
    let number = |key: &str, plugin: Option<f64>, variable: &str| {
        let own = settings.and_then(|s| s.get(key)).and_then(Value::as_f64);
        own.or(plugin)
            .or_else(|| loaded.environment.parse::<f64>(variable))
            .filter(|n| *n > 0.0)
    };
    let mut options = SinkOptions::default();
    if let Some(n) = number("batch_size", size, "DEFAULT_BATCH_SIZE") {
        options.batch_size = (n as usize).clamp(1, 10_000);
    }
    if let Some(s) = number("flush_interval", interval, "DEFAULT_FLUSH_INTERVAL_SECONDS") {
        options.flush_interval = settings::seconds(s);
    }
    if let Some(n) = number("queue_items", None, "MAX_SIZE_IN_MEMORY_QUEUE") {
        options.queue_items = n as usize;
    }
    options
}
