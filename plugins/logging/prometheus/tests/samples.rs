//! Which metrics there are, and what an event adds to them.

use prometheus::catalogue::Catalogue;
use prometheus::config::Settings;
use prometheus::samples::of;
use serde_json::{Value, json};
use witgate_plugin::log_sink::{Event, EventKind};
use witgate_plugin::metrics::{MetricKind, Sample};

fn settings(own: Value) -> Settings {
    serde_json::from_value(own).expect("settings")
}

fn payload() -> Value {
    json!({
        "id": "chatcmpl-1", "litellm_call_id": "call-1", "status": "success", "stream": true,
        "response_cost": 0.5, "total_tokens": 30, "prompt_tokens": 20, "completion_tokens": 10,
        "startTime": 100.0, "endTime": 104.0, "model": "gpt-4o-mini", "model_id": "m1", "model_group": "fast",
        "api_base": "https://api.example/v1", "custom_llm_provider": "openai", "cache_hit": false, "end_user": "ada",
        "requester_ip_address": "10.0.0.1", "user_agent": "curl\n/8", "request_tags": ["prod", "User-Agent: x/1"],
        "hidden_params": {
            "litellm_overhead_time_ms": 12.0,
            "additional_headers": {"x_ratelimit_remaining_requests": 99, "x_ratelimit_remaining_tokens": "5000"},
        },
        "metadata": {
            "user_api_key_hash": "ab", "user_api_key_alias": "my-app", "user_api_key_team_id": "t1",
            "user_api_key_user_id": null, "user_api_key_request_route": "/chat/completions",
            "user_api_key_spend": 1.0, "user_api_key_max_budget": 10.0,
            "user_api_key_budget_reset_at": "1970-01-01T02:01:44Z", "user_api_key_team_spend": 3.0,
            "requester_metadata": {"foo": {"bar": "deep"}},
            "usage_object": {"prompt_tokens_details": {"cached_tokens": 5}, "completion_tokens_details": {"reasoning_tokens": 0}},
        },
        "guardrail_information": [
            {"guardrail_name": "g", "guardrail_mode": "pre_call", "guardrail_status": "success", "duration": 0.25},
            {"guardrail_name": "h", "guardrail_mode": "post_call", "guardrail_status": "guardrail_failed_to_respond"},
        ],
    })
}

fn samples(own: Value, kind: EventKind, payload: &Value) -> Vec<(Sample, Vec<(String, String)>)> {
    samples_in(own, kind, payload, &json!({}))
}

fn samples_in(
    own: Value,
    kind: EventKind,
    payload: &Value,
    more: &Value,
) -> Vec<(Sample, Vec<(String, String)>)> {
    let settings = settings(own);
    let catalogue = Catalogue::new(&settings).expect("a catalogue");
    let mut context = json!({"timing": {"api_call_start_ns": 101_000_000_000_u64, "first_token_ns": 102_000_000_000_u64}, "provider_budget_left": 2.5});
    for (name, value) in more.as_object().into_iter().flatten() {
        context[name] = value.clone();
    }
    let event = Event {
        id: "1".into(),
        kind,
        payload: payload.to_string(),
        context: context.to_string(),
    };
    let samples = of(&settings, &catalogue, &event).expect("samples");
    let named = |sample: Sample| {
        let names = catalogue.get(&sample.name).expect("defined").labels.clone();
        assert_eq!(names.len(), sample.labels.len(), "{}", sample.name);
        let labels = names.into_iter().zip(sample.labels.clone()).collect();
        (sample, labels)
    };
    samples.into_iter().map(named).collect()
}

fn value(samples: &[(Sample, Vec<(String, String)>)], name: &str) -> Option<f64> {
    samples
        .iter()
        .find(|(sample, _)| sample.name == name)
        .map(|(sample, _)| sample.value)
}

fn label(samples: &[(Sample, Vec<(String, String)>)], name: &str, label: &str) -> String {
    let (_, labels) = samples
        .iter()
        .find(|(sample, _)| sample.name == name)
        .expect(name);
    let found = labels.iter().find(|(own, _)| own == label);
    found
        .unwrap_or_else(|| panic!("{name} has no {label}"))
        .1
        .clone()
}

/// What the event of a call, of a failed one and of a refused request has of fallbacks.
#[test]
fn fallbacks_are_counted_by_what_came_of_them() {
    let hop = |model: &str, status: &str| {
        json!({"requested_model": "fast", "fallback_model": model, "model_id": "m2", "status": status,
               "exception_status": "429", "exception_class": "RateLimitError"})
    };
    let hops = json!([hop("slow", "failure"), hop("other", "success")]);
    let mut called = payload();
    called["metadata"]["fallbacks"] = hops.clone();
    let refused = json!({"id": "1", "request_route": "/chat/completions", "fallbacks": hops});
    for (kind, payload) in [
        (EventKind::Success, &called),
        (EventKind::Failure, &called),
        (EventKind::Failure, &refused),
    ] {
        let samples = samples(json!({}), kind, payload);
        for (name, model) in [
            ("litellm_deployment_successful_fallbacks", "other"),
            ("litellm_deployment_failed_fallbacks", "slow"),
        ] {
            assert_eq!(value(&samples, name), Some(1.0), "{name}");
            for (of, told) in [
                ("requested_model", "fast"),
                ("fallback_model", model),
                ("model_id", "m2"),
                ("exception_status", "429"),
                ("exception_class", "RateLimitError"),
            ] {
                assert_eq!(label(&samples, name, of), told, "{name}");
            }
        }
    }
    // A try on the way is not the call.
    called["id"] = json!("call-1-1");
    let samples = samples(json!({}), EventKind::Failure, &called);
    assert_eq!(value(&samples, "litellm_deployment_failed_fallbacks"), None);
}

#[test]
fn a_success_is_counted_everywhere_it_belongs() {
    let samples = samples(json!({}), EventKind::Success, &payload());
    for (name, expected) in [
        ("litellm_proxy_total_requests_metric", 1.0),
        ("litellm_requests_metric", 1.0),
        ("litellm_spend_metric", 0.5),
        ("litellm_total_tokens_metric", 30.0),
        ("litellm_input_tokens_metric", 20.0),
        ("litellm_output_tokens_metric", 10.0),
        ("litellm_request_total_latency_metric", 4.0),
        ("litellm_llm_api_latency_metric", 3.0),
        ("litellm_llm_api_time_to_first_token_metric", 1.0),
        ("litellm_deployment_latency_per_output_token", 0.1),
        ("litellm_overhead_latency_metric", 0.012),
        ("litellm_overhead_with_guardrails_latency_metric", 0.262),
        ("litellm_remaining_requests_metric", 99.0),
        ("litellm_remaining_tokens_metric", 5000.0),
        ("litellm_deployment_total_requests", 1.0),
        ("litellm_deployment_success_responses", 1.0),
        ("litellm_deployment_state", 0.0),
        ("litellm_cache_misses_metric", 1.0),
        ("litellm_input_cached_tokens_metric", 5.0),
        ("litellm_remaining_api_key_budget_metric", 8.5),
        ("litellm_api_key_max_budget_metric", 10.0),
        ("litellm_api_key_budget_remaining_hours_metric", 2.0),
        ("litellm_remaining_team_budget_metric", f64::INFINITY),
        ("litellm_provider_remaining_budget_metric", 2.5),
        ("litellm_guardrail_requests_total", 1.0),
        ("litellm_guardrail_errors_total", 1.0),
        ("litellm_guardrail_latency_seconds", 0.25),
    ] {
        assert_eq!(value(&samples, name), Some(expected), "{name}");
    }
    for absent in [
        "litellm_cache_hits_metric",
        "litellm_output_reasoning_tokens_metric",
        "litellm_team_max_budget_metric",
        "litellm_proxy_failed_requests_metric",
    ] {
        assert_eq!(value(&samples, absent), None, "{absent}");
    }
    let total = |name: &str| label(&samples, "litellm_proxy_total_requests_metric", name);
    assert_eq!(total("status_code"), "200");
    assert_eq!(total("hashed_api_key"), "ab");
    assert_eq!(total("requested_model"), "fast");
    assert_eq!(total("user"), "None", "null");
    assert_eq!(total("end_user"), "None", "not unless asked for");
    assert_eq!(total("user_agent"), "curl /8");
    assert_eq!(
        label(&samples, "litellm_deployment_state", "litellm_model_name"),
        "gpt-4o-mini"
    );
}

#[test]
fn a_failure_is_counted_once_for_the_client_and_at_each_attempt_for_the_deployment() {
    let mut failed = payload();
    failed["status"] = json!("failure");
    failed["error_information"] = json!({"error_code": "429", "error_class": "RateLimitError"});
    let last = samples(json!({}), EventKind::Failure, &failed);
    assert_eq!(
        value(&last, "litellm_proxy_failed_requests_metric"),
        Some(1.0)
    );
    assert_eq!(
        value(&last, "litellm_deployment_failure_responses"),
        Some(1.0)
    );
    assert_eq!(value(&last, "litellm_deployment_state"), Some(1.0));
    assert_eq!(
        label(&last, "litellm_proxy_total_requests_metric", "status_code"),
        "429"
    );
    assert_eq!(
        label(
            &last,
            "litellm_deployment_failure_responses",
            "exception_class"
        ),
        "RateLimitError"
    );
    assert_eq!(value(&last, "litellm_spend_metric"), None);
    failed["id"] = json!("call-1-1");
    let attempt = samples(json!({}), EventKind::Failure, &failed);
    assert_eq!(
        value(&attempt, "litellm_deployment_failure_responses"),
        Some(1.0)
    );
    assert_eq!(
        value(&attempt, "litellm_proxy_failed_requests_metric"),
        None
    );
}

#[test]
fn a_refused_stranger_is_a_failed_request_of_nobody() {
    let refused = json!({
        "id": "c", "request_route": "/chat/completions", "exception": {"class": "ProxyException", "status": 401},
        "user_api_key": {"user_api_key_hash": null}, "request_data": {"model": "fast"},
    });
    let samples = samples(json!({}), EventKind::Failure, &refused);
    let failed = |name: &str| label(&samples, "litellm_proxy_failed_requests_metric", name);
    assert_eq!(failed("exception_status"), "401");
    assert_eq!(failed("exception_class"), "ProxyException");
    assert_eq!(failed("hashed_api_key"), "None");
    assert_eq!(failed("route"), "/chat/completions");
    assert_eq!(failed("requested_model"), "fast");
    assert_eq!(samples.len(), 2);
}

#[test]
fn labels_can_be_added() {
    let own = json!({
        "metadata_labels": ["metadata.foo.bar"], "tags": ["prod", "User-Agent: x/*", "beta"],
        "enable_end_user": true, "emit_stream_label": true,
    });
    let samples = samples(own, EventKind::Success, &payload());
    let total = |name: &str| label(&samples, "litellm_proxy_total_requests_metric", name);
    assert_eq!(total("metadata_foo_bar"), "deep");
    assert_eq!(total("tag_prod"), "true");
    assert_eq!(total("tag_User_Agent__x__"), "true");
    assert_eq!(total("tag_beta"), "false");
    assert_eq!(total("end_user"), "ada");
    assert_eq!(total("stream"), "True");
}

#[test]
fn only_what_is_configured_is_shown() {
    let own = json!({"metrics_config": [
        {"group": "a", "metrics": ["litellm_spend_metric"], "include_labels": ["model", "team"]},
        {"group": "b", "metrics": ["litellm_deployment_state"]},
    ]});
    let definitions = Catalogue::new(&settings(own.clone()))
        .expect("a catalogue")
        .definitions(&settings(own.clone()));
    let names: Vec<&str> = definitions
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    assert_eq!(names, ["litellm_deployment_state", "litellm_spend_metric"]);
    assert_eq!(definitions[1].labels, ["model", "team"]);
    let samples = samples(own, EventKind::Success, &payload());
    assert_eq!(samples.len(), 2);

    for (wrong, told) in [
        (
            json!({"metrics": ["litellm_spend"]}),
            "litellm_spend_metric",
        ),
        (
            json!({"metrics": ["litellm_spend_metric"], "include_labels": ["modl"]}),
            "model_id",
        ),
    ] {
        let error = Catalogue::new(&settings(json!({"metrics_config": [wrong]})));
        let error = error.err().expect("refused");
        assert!(error.text().contains(told), "{error}");
    }
}

#[test]
fn the_table_is_complete_and_well_formed() {
    let settings = settings(json!({"latency_buckets": [1, 2.5]}));
    let definitions = Catalogue::new(&settings)
        .expect("a catalogue")
        .definitions(&settings);
    assert_eq!(definitions.len(), 75);
    for metric in &definitions {
        assert!(
            metric.name.starts_with("litellm_") && !metric.help.is_empty(),
            "{}",
            metric.name
        );
        let buckets = metric.buckets.len();
        match metric.kind {
            MetricKind::Histogram
                if metric.name == "litellm_deployment_latency_per_output_token" =>
            {
                assert_eq!(buckets, 14)
            }
            MetricKind::Histogram => assert_eq!(metric.buckets, [1.0, 2.5]),
            MetricKind::Counter | MetricKind::Gauge => assert_eq!(buckets, 0),
        }
    }
}

#[test]
fn operations_of_services_have_metrics_of_their_own() {
    let settings = settings(json!({"services": ["prometheus"]}));
    let catalogue = Catalogue::new(&settings).expect("a catalogue");
    let defined = catalogue.definitions(&settings);
    let told = |payload: Value| {
        let event = Event {
            id: "1".into(),
            kind: EventKind::Success,
            payload: payload.to_string(),
            context: "{}".into(),
        };
        let samples = of(&settings, &catalogue, &event).expect("samples");
        for sample in &samples {
            let metric = defined.iter().find(|one| one.name == sample.name);
            let labels = &metric.expect("a metric").labels;
            assert_eq!(labels.len(), sample.labels.len(), "{}", sample.name);
        }
        let text = |one: &Sample| format!("{} {} {}", one.name, one.labels.join(","), one.value);
        samples.iter().map(text).collect::<Vec<_>>()
    };
    let operation = |is_error: bool| json!({"service": "redis", "call_type": "get", "duration": 0.5, "is_error": is_error, "error_class": "TimeoutError"});
    assert_eq!(
        told(operation(false)),
        [
            "litellm_redis_total_requests redis 1",
            "litellm_redis_latency redis 0.5"
        ]
    );
    assert_eq!(
        told(operation(true)),
        [
            "litellm_redis_total_requests redis 1",
            "litellm_redis_failed_requests redis,TimeoutError,get 1"
        ]
    );
    let other = json!({"service": "coffee", "call_type": "brew", "is_error": false});
    assert!(told(other).is_empty());
    let kinds = defined
        .iter()
        .filter(|one| one.name.starts_with("litellm_auth_"));
    assert_eq!(kinds.count(), 3);
}

#[test]
fn a_deployment_that_rests_is_counted_and_is_out() {
    let mut failed = payload();
    failed["status"] = json!("failure");
    failed["error_information"] = json!({"error_code": "429", "error_class": "RateLimitError"});
    let name = "litellm_deployment_cooled_down";
    let told = samples(json!({}), EventKind::Failure, &failed);
    assert_eq!(value(&told, name), None);
    let rests = json!({"cooled_down": true});
    let told = samples_in(json!({}), EventKind::Failure, &failed, &rests);
    assert_eq!(value(&told, name), Some(1.0));
    assert_eq!(label(&told, name, "exception_status"), "429");
    assert_eq!(label(&told, name, "model_id"), "m1");
    assert_eq!(value(&told, "litellm_deployment_state"), Some(2.0));
}

#[test]
fn budgets_of_those_who_do_not_call_are_gauges_of_their_own() {
    let event = json!({
        "id": "1", "service": "budgets", "call_type": "team", "endTime": 3600.0, "is_error": false,
        "event_metadata": {"budgets": [
            {"labels": {"team": "t1", "team_alias": null}, "spend": 2.0, "max_budget": 5.0, "budget_reset_at": "1970-01-01T03:00:00.000Z"},
            {"labels": {"team": "t2", "team_alias": "two"}, "spend": 0.0, "max_budget": 1.0, "budget_reset_at": null},
        ]},
    });
    let told = samples(json!({}), EventKind::Success, &event);
    let told: Vec<(&str, f64, &[String])> = told
        .iter()
        .map(|(sample, _)| (sample.name.as_str(), sample.value, sample.labels.as_slice()))
        .collect();
    let labels = |team: &str, alias: &str| vec![team.to_owned(), alias.to_owned()];
    let (one, two) = (labels("t1", "None"), labels("t2", "two"));
    assert_eq!(
        told,
        [
            ("litellm_remaining_team_budget_metric", 3.0, &one[..]),
            ("litellm_team_max_budget_metric", 5.0, &one[..]),
            ("litellm_team_budget_remaining_hours_metric", 2.0, &one[..]),
            ("litellm_remaining_team_budget_metric", 1.0, &two[..]),
            ("litellm_team_max_budget_metric", 1.0, &two[..]),
        ]
    );
}
