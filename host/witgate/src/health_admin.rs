//! Tests that an administrator asks for: of a sink, an alerter, a deployment that is in no model list.

use serde_json::{Value, json};
use witgate_events::{AlertKind, Completed, Outcome, Request, Served, Times, Usage};
use witgate_pipeline::{Checked, check_health};
use witgate_server::routes::{ServiceFault, TestConnection};

use crate::reload::Control;
use crate::wiring;

/// LiteLLM's names of what alerts people.
const ALERTERS: [&str; 4] = ["slack", "slack_budget_alerts", "webhook", "email"];

/// LiteLLM's names of log sinks that can be tested.
const SINKS: [&str; 13] = [
    "langfuse",
    "langfuse_otel",
    "openmeter",
    "braintrust",
    "otel",
    "custom_callback_api",
    "langsmith",
    "datadog",
    "datadog_metrics",
    "datadog_llm_observability",
    "generic_api",
    "arize",
    "sqs",
];

/// Sends a test event to the sink or alerter of this name.
pub async fn test_service(control: &Control, service: &str) -> Result<Value, ServiceFault> {
    let loaded = control.loaded();
    let hub = &control.fanout().hub;
    let name = match service {
        "slack_budget_alerts" => "slack",
        "custom_callback_api" => "generic_api",
        other => other,
    };
    // `-` and `_` are the same in names.
    let same = |other: &str| other.replace('-', "_") == name.replace('-', "_");
    let lanes = hub.state();
    let lane = lanes.iter().find(|lane| same(&lane.name));
    let listed = wiring::listed_alerters(&loaded.config);
    let is_alerter = ALERTERS.contains(&service) || listed.iter().any(|one| same(one));
    match lane {
        Some(lane) if is_alerter => Ok(test_alerter(control, &lane.name)),
        Some(lane) => Ok(test_sink(control, &lane.name).await),
        None if service == "webhook" && listed.iter().any(|one| one == "webhook") => {
            let text = "\"webhook\" carries nothing but budget alerts, which are not raised yet. Unable to test this.";
            Err(ServiceFault::NotConfigured(text.to_owned()))
        }
        None if is_alerter => Err(not_configured(service, "general_settings")),
        None if SINKS.contains(&service) => Err(not_configured(service, "litellm_settings")),
        None => {
            let own = lanes.iter().map(|lane| lane.name.as_str());
            let mut all: Vec<&str> = ALERTERS.into_iter().chain(SINKS).chain(own).collect();
            all.sort_unstable();
            all.dedup();
            Err(ServiceFault::Unknown(format!(
                "Service must be in list. Service={service} not in [{}]",
                all.join(", ")
            )))
        }
    }
}

/// LiteLLM's words.
fn not_configured(service: &str, section: &str) -> ServiceFault {
    ServiceFault::NotConfigured(format!(
        "\"{service}\" not in proxy config: {section}. Unable to test this."
    ))
}

/// An alert for each webhook that has a type of its own, or one.
fn test_alerter(control: &Control, name: &str) -> Value {
    let (fanout, loaded) = (control.fanout(), control.loaded());
    let kinds = wiring::alert_kinds(&loaded);
    let webhooks = wiring::alert_webhooks(&loaded.config);
    let of_webhooks = kinds.iter().filter(|kind| {
        let webhooks = webhooks.as_ref().filter(|_| name != "email");
        webhooks.is_some_and(|map| map.get(kind.as_str()).is_some())
    });
    let mut alerts: Vec<_> = of_webhooks
        .map(|kind| (*kind, format!("{} test alert", kind.as_str())))
        .collect();
    if alerts.is_empty() {
        let title = format!("This is a test {name} alert message");
        alerts.push((AlertKind::Test, title));
    }
    for (kind, title) in alerts {
        let alert = fanout.watch.test(kind, &title);
        if fanout.hub.try_alert(name, alert) != Some(true) {
            return unhealthy("its queue is full");
        }
    }
    match name {
        "slack" => json!({
            "status": "success",
            "alert_types": kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
            "message": "Mock Slack Alert sent, verify Slack Alert Received on your channel",
        }),
        "email" => json!({
            "status": "success",
            "message": "Mock Email Alert sent, verify Email Alert Received",
        }),
        other => json!({
            "status": "success",
            "message": format!("Mock alert sent - check {other}."),
        }),
    }
}

/// Asks the sink whether it reaches the other side, and gives it a call that nobody has made.
async fn test_sink(control: &Control, name: &str) -> Value {
    if let Some(plugin) = control.plugins().log_sink(name)
        && let Err(error) = plugin.health_check().await
    {
        return unhealthy(&error.to_string());
    }
    match control.fanout().hub.try_call(name, mock_call(control)) {
        Some(true) => json!({
            "status": "success",
            "message": format!("Mock LLM request made - check {name}."),
        }),
        Some(false) => unhealthy("its queue is full"),
        None => unhealthy("it was taken out of the configuration meanwhile"),
    }
}

fn unhealthy(why: &str) -> Value {
    json!({"status": "unhealthy", "message": why})
}

/// LiteLLM's mock request.
fn mock_call(control: &Control) -> Completed {
    let clock = &control.gateway().clock;
    let (id, now) = (clock.uuid().to_string(), clock.now());
    let model = "litellm-mock-response-model";
    let body = json!({
        "model": format!("openai/{model}"),
        "messages": [{"role": "user", "content": "Hey, how's it going?"}],
        "user": "litellm:/health/services",
    });
    let response = json!({
        "id": format!("chatcmpl-{id}"),
        "object": "chat.completion",
        "created": now.as_second(),
        "model": model,
        "choices": [{
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "This is a mock response"},
        }],
        "usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
    });
    Completed {
        response_id: Some(format!("chatcmpl-{id}")),
        trace_id: id.clone(),
        call_id: id,
        call_type: "acompletion".into(),
        route: "/health/services".into(),
        outcome: Outcome::Success,
        times: Times {
            start: now,
            end: now,
            ..Times::default()
        },
        served: Served {
            model: model.to_owned(),
            model_group: format!("openai/{model}"),
            provider: "openai".to_owned(),
            configured_model: format!("openai/{model}"),
            ..Served::default()
        },
        usage: Usage {
            prompt_tokens: 10,
            completion_tokens: 20,
            total_tokens: 30,
            ..Usage::default()
        },
        request: Request {
            method: "GET".into(),
            url: "/health/services".to_owned(),
            body: body.to_string().into(),
            ..Request::default()
        },
        response: Some(response.to_string().into()),
        ..Completed::default()
    }
}

/// Calls a deployment that is in no model list.
pub async fn test_connection(control: &Control, wanted: TestConnection) -> Result<Checked, String> {
    let plugins = control.plugins();
    let snapshot = wiring::one_deployment(&control.loaded(), &plugins, &wanted)?;
    let checked = check_health(control.gateway(), &snapshot.into(), |_, _| true).await;
    let checked = checked.into_iter().next();
    checked.ok_or_else(|| "litellm_params make no deployment".to_owned())
}
