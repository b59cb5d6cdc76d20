use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::json;
use witgate_routing::Alias;
use witgate_wire::prices::ModelPrice;

use crate::testing::{
    Script, Setup, World, chat, chunk, completed, done, embedding, usage_chunk, with,
};

#[tokio::test(start_paused = true)]
async fn a_finished_call_is_told_in_full() {
    let world = Setup::new().settings(|s| s.user_agent_tags = true).build();
    world
        .upstream
        .then(Script::json(200, &completed("hi")).header("x-request-id", "up-1"));
    let headers = [
        ("user-agent", "tests/1"),
        ("x-litellm-trace-id", "trace-1"),
        ("x-litellm-session-id", "session-1"),
        ("x-litellm-spend-logs-metadata", r#"{"cost_center":"7"}"#),
        ("x-litellm-disable-callbacks", "langfuse, datadog"),
    ];
    let body = json!({
        "user": "end-user", "tags": ["t"], "langfuse_public_key": "pk", "langsmith_project": "p",
        "gcs_number": 1, "turn_off_message_logging": true,
    });
    world.send(with(chat(body), &headers)).await;
    let record = world.record().await;
    assert!(record.succeeded());
    assert_eq!(
        (&*record.call_type, &*record.route, record.stream),
        ("acompletion", "/chat/completions", false)
    );
    assert_eq!(record.response_id.as_deref(), Some("chatcmpl-1"));
    assert_eq!(
        (record.trace_id.as_str(), record.session_id.as_str()),
        ("trace-1", "session-1")
    );
    assert_eq!(record.tags, ["t"]);
    assert_eq!(record.caller.end_user_id.as_deref(), Some("end-user"));
    assert_eq!(record.served.model, "gpt-4o-mini");
    assert_eq!(
        (
            record.served.model_group.as_str(),
            record.served.model_id.as_str()
        ),
        ("gpt-4o", "d0")
    );
    assert_eq!(
        (
            record.served.provider.as_str(),
            record.served.api_base.as_str()
        ),
        ("openai", "http://upstream.test/v1")
    );
    assert_eq!(record.usage.raw.as_deref().map(<[u8]>::len), Some(60));
    let dynamic: Vec<_> = record
        .dynamic
        .0
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        dynamic,
        [("langfuse_public_key", "pk"), ("langsmith_project", "p")]
    );
    assert_eq!(record.redaction.turn_off_message_logging, Some(true));
    assert_eq!(
        (record.audience.none, record.audience.except),
        (false, vec!["langfuse".to_owned(), "datadog".to_owned()])
    );
    assert!(
        record
            .response_headers
            .iter()
            .any(|header| header == ("x-request-id", "up-1"))
    );
    let request = record.request;
    assert_eq!(
        (&*request.method, request.url.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(
        (request.ip.as_deref(), request.user_agent.as_deref()),
        (Some("192.0.2.7"), Some("tests/1"))
    );
    assert!(request.user_agent_tags);
    assert_eq!(
        request.spend_logs_metadata.unwrap().get(),
        r#"{"cost_center":"7"}"#
    );
    assert!(String::from_utf8_lossy(&request.body).contains("end-user"));
}

#[tokio::test(start_paused = true)]
async fn what_the_client_left_out_has_its_default() {
    let world = World::new();
    world.send(embedding(json!({}))).await;
    let record = world.record().await;
    assert_eq!(record.trace_id, record.call_id);
    assert_eq!(record.session_id, "");
    assert_eq!(record.call_type, "aembedding");
    assert_eq!(record.redaction.turn_off_message_logging, None);
    assert!(record.dynamic.0.is_empty() && !record.audience.none && record.tags.is_empty());
}

#[tokio::test(start_paused = true)]
async fn redaction_headers_and_no_log_are_told() {
    let world = World::new();
    let headers = [
        ("x-litellm-enable-message-redaction", "true"),
        ("litellm-disable-message-redaction", "1"),
    ];
    world
        .send(with(
            chat(json!({"no-log": true, "litellm_trace_id": "t"})),
            &headers,
        ))
        .await;
    let record = world.record().await;
    assert!(
        record.redaction.enable_header && record.redaction.disable_header && record.audience.none
    );
    assert_eq!(record.trace_id, "t");
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_tells_status_class_and_deployment() {
    let world = World::new();
    world.upstream.then(Script::error(429, "slow"));
    world.send(chat(json!({}))).await;
    let record = world.record().await;
    let failure = record.failure().unwrap();
    assert_eq!(
        (failure.status, &*failure.class),
        (Some(429), "RateLimitError")
    );
    assert!(
        failure
            .message
            .starts_with("litellm.RateLimitError: OpenAIException - slow")
    );
    assert_eq!(
        (record.served.model_id.as_str(), record.usage.total_tokens),
        ("d0", 0)
    );
    assert_eq!((record.cost.total, record.response), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_when_its_first_frame_came() {
    let world = World::new();
    world.upstream.then(Script::stream([chunk("a"), done()]));
    world.send(chat(json!({"stream": true}))).await;
    let record = world.record().await;
    assert!(record.stream);
    assert_eq!(record.times.first_token, Some(record.times.start));
    assert!(record.times.upstream_start.is_some() && record.times.end >= record.times.start);
}

/// The deployment's own price, the price map by base model, by the answer's model, and no price.
#[tokio::test(start_paused = true)]
async fn the_cost_is_the_operators_price_or_the_maps() {
    let custom = || {
        ModelPrice::custom(
            "d0",
            [
                ("input_cost_per_token", "0.5"),
                ("output_cost_per_token", "1"),
            ],
            None,
        )
    };
    let cases = [
        (custom(), None, "gpt-4o-mini", Some("10")),
        (None, Some("gpt-4o"), "gpt-4o-mini", Some("0.000075")),
        (None, None, "gpt-4o-mini", Some("0.0000045")),
        (None, None, "gpt-4o-mini-2024-07-18", Some("0.0000045")),
        (None, None, "gpt-4o", Some("0.000075")),
        (None, None, "somebody-elses", Some("0.0000045")),
    ];
    for (price, base, answered, cost) in cases {
        for stream in [false, true] {
            let world = Setup::new()
                .with(|_, target| {
                    target.custom_price = price.clone().map(Arc::new);
                    target.base_model = base.map(str::to_owned);
                })
                .build();
            let text = |text: String| text.replace("gpt-4o-mini", answered);
            world.upstream.then(match stream {
                true => Script::stream([text(chunk("a")), text(usage_chunk(10, 5)), done()]),
                false => Script::json_pieces([&*text(completed("a").to_string())]),
            });
            world.send(chat(json!({"stream": stream}))).await;
            let total = world
                .record()
                .await
                .cost
                .total
                .map(|total| total.normalize().to_string());
            assert_eq!(
                total.as_deref(),
                cost,
                "{answered} {base:?} stream={stream}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_usage_is_counted_and_priced() {
    let world = World::new();
    let mut body = completed("one two three");
    body["usage"] = json!(null);
    world.upstream.then(Script::json(200, &body));
    world.send(chat(json!({}))).await;
    let record = world.record().await;
    assert_eq!(record.usage.completion_tokens, 3);
    assert!(record.cost.total.is_some_and(|cost| !cost.is_zero()));
}

fn exposition(world: &World) -> String {
    // Families are shared: registering them again shows the same counters.
    let mut registry = Registry::default();
    let metrics = &world.gateway.metrics;
    registry.register("calls", "c", metrics.calls.clone());
    registry.register("upstream", "u", metrics.upstream.clone());
    registry.register("tokens", "t", metrics.tokens.clone());
    registry.register("seconds", "s", metrics.duration.clone());
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn every_call_is_counted_with_its_status_upstream_and_tokens() {
    let world = World::new();
    world.send(chat(json!({}))).await;
    world.upstream.then(Script::error(429, "slow"));
    world.send(chat(json!({}))).await;
    world.records().await;
    let text = exposition(&world);
    for line in [
        "calls_total{route=\"/chat/completions\",model=\"gpt-4o\",status=\"200\"} 1",
        "calls_total{route=\"/chat/completions\",model=\"gpt-4o\",status=\"429\"} 1",
        "upstream_total{model=\"gpt-4o\",deployment=\"d0\",outcome=\"ok\"} 1",
        "upstream_total{model=\"gpt-4o\",deployment=\"d0\",outcome=\"RateLimitError\"} 1",
        "tokens_total{model=\"gpt-4o\",direction=\"input\"} 10",
        "tokens_total{model=\"gpt-4o\",direction=\"output\"} 5",
        "seconds_count{route=\"/chat/completions\"} 2",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

/// The model a client asks for, and the label it is counted under.
#[tokio::test(start_paused = true)]
async fn names_that_clients_make_up_become_no_label() {
    let alias = Alias {
        model: "gpt-4o".to_owned(),
        is_hidden: false,
    };
    let world = Setup::new()
        .deployment("any/*", "openai/*")
        .routing(|r| {
            r.aliases.insert("short".to_owned(), alias);
        })
        .build();
    for (asked, label) in [
        ("made-up", ""),
        ("any/made-up", "any/*"),
        ("short", "short"),
        ("d0", "d0"),
    ] {
        world.send(chat(json!({"model": asked}))).await;
        let text = exposition(&world);
        assert!(
            text.contains(&format!("model=\"{label}\"")),
            "{label} in\n{text}"
        );
        assert!(
            !text
                .lines()
                .any(|l| l.starts_with("calls") && l.contains("made-up")),
            "{text}"
        );
    }
}
