use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use witgate_events::GuardrailStatus;

use crate::ports::{Edit, Phase};
use crate::snapshot::FailPolicy;
use crate::testing::{FakeGuard, Script, Setup, World, chat, chunk, completed, done, usage_chunk};

fn guarded(fail: FailPolicy, guard: FakeGuard) -> World {
    Setup::new()
        .guard("g", Phase::PostCall, fail, guard)
        .build()
}

fn logged(response: Option<&bytes::Bytes>) -> String {
    response
        .map(|body| String::from_utf8_lossy(body).into_owned())
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_complete_answer_is_edited_for_the_client_and_the_log() {
    let world = guarded(FailPolicy::Closed, FakeGuard::mask());
    world
        .upstream
        .then(Script::json(200, &completed("the secret")));
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "the ***");
    assert_eq!(answer.header("x-litellm-applied-guardrails"), "g");
    let record = world.record().await;
    assert!(!logged(record.response.as_ref()).contains("secret"));
    assert_eq!(
        (record.usage.total_tokens, record.guardrails.len()),
        (15, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_blocked_answer_is_paid_for_and_told_to_nobody() {
    let counted = {
        let mut answer = completed("one secret");
        answer["usage"] = Value::Null;
        answer
    };
    for (body, tokens) in [(completed("the secret"), 5), (counted, 2)] {
        let world = guarded(FailPolicy::Open, FakeGuard::block());
        world.upstream.then(Script::json(200, &body));
        let answer = world.send(chat(json!({}))).await;
        assert_eq!(
            (answer.status, answer.message().as_str()),
            (422, "not in this house")
        );
        assert_eq!(
            answer.error()["provider_specific_fields"]["guardrail_mode"],
            "post_call"
        );
        let record = world.record().await;
        assert_eq!(
            (record.usage.completion_tokens, record.response),
            (tokens, None)
        );
        assert!(record.cost.total.is_some_and(|cost| !cost.is_zero()));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_verdict_on_an_answer_the_fail_policy_decides() {
    let broken = |json: &str| {
        FakeGuard::edit(vec![Edit::Value {
            pointer: "/choices".to_owned(),
            json: json.to_owned(),
        }])
    };
    let ways: [&dyn Fn() -> FakeGuard; 3] =
        [&FakeGuard::faulty, &FakeGuard::undecided, &|| broken("[{]")];
    for (number, guard) in ways.into_iter().enumerate() {
        let answer = guarded(FailPolicy::Open, guard())
            .send(chat(json!({})))
            .await;
        assert_eq!(
            answer.json()["choices"][0]["message"]["content"],
            "hello",
            "{number}"
        );
        assert_eq!(answer.header("x-litellm-applied-guardrails"), "");
        let world = guarded(FailPolicy::Closed, guard());
        let answer = world.send(chat(json!({}))).await;
        assert_eq!(answer.status, 500, "{number}");
        let record = world.record().await;
        assert_eq!(
            record.guardrails[0].guardrail_status,
            GuardrailStatus::GuardrailFailedToRespond
        );
        assert_eq!(record.usage.total_tokens, 15);
    }
}

#[tokio::test(start_paused = true)]
async fn a_guardrail_of_two_phases_is_named_once() {
    let guard = Arc::new(FakeGuard::allow());
    let world = Setup::new()
        .shared_guard("g", Phase::PreCall, FailPolicy::Closed, &guard)
        .with_guard(|entry| entry.modes.default.push(Phase::PostCall))
        .build();
    assert_eq!(
        world
            .send(chat(json!({})))
            .await
            .header("x-litellm-applied-guardrails"),
        "g"
    );
    assert_eq!(guard.asked.lock().unwrap().len(), 2);
    assert_eq!(world.record().await.guardrails.len(), 2);
}

fn frames() -> Script {
    Script::stream([
        chunk("the sec"),
        chunk("ret"),
        chunk(""),
        usage_chunk(10, 5),
        done(),
    ])
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_judged_whole_is_forwarded_as_it_was_when_nothing_is_wrong() {
    let world = guarded(FailPolicy::Closed, FakeGuard::allow());
    world.upstream.then(frames());
    let answer = world.send(chat(json!({"stream": true}))).await;
    let as_sent = [chunk("the sec"), chunk("ret"), chunk(""), done()].concat();
    assert_eq!(answer.text, as_sent.replace("gpt-4o-mini", "gpt-4o"));
    let record = world.record().await;
    assert_eq!(record.usage.total_tokens, 15);
    assert!(logged(record.response.as_ref()).contains("the secret"));
}

#[tokio::test(start_paused = true)]
async fn the_text_of_a_stream_that_is_judged_whole_is_counted_once() {
    let world = guarded(FailPolicy::Closed, FakeGuard::allow());
    world
        .upstream
        .then(Script::stream([chunk("one two three"), chunk(""), done()]));
    world.send(chat(json!({"stream": true}))).await;
    assert_eq!(world.record().await.usage.completion_tokens, 3);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_judged_whole_is_told_anew_when_it_is_edited() {
    let ending = chunk("ret").replace("\"finish_reason\":null", "\"finish_reason\":\"stop\"");
    let with_usage = ending.replace(
        "\"created\"",
        "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15},\"created\"",
    );
    for script in [
        frames(),
        Script::stream([chunk("the sec"), with_usage, done()]),
    ] {
        let world = guarded(FailPolicy::Closed, FakeGuard::mask());
        world.upstream.then(script);
        let options = json!({"stream": true, "stream_options": {"include_usage": true}});
        let answer = world.send(chat(options)).await;
        assert_eq!(answer.content(), "the ***");
        let events = answer.events();
        assert_eq!(events.len(), 4, "{events:#?}");
        assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(events[1]["choices"][0]["finish_reason"], "stop");
        assert_eq!(events[2]["usage"]["total_tokens"], 15);
        assert!(!answer.text.contains("sec"), "{}", answer.text);
        let record = world.record().await;
        assert!(!logged(record.response.as_ref()).contains("sec"));
        assert_eq!(record.usage.total_tokens, 15);
    }
}

#[tokio::test(start_paused = true)]
async fn an_edited_stream_keeps_its_tool_calls() {
    let delta = json!({"content": "secret", "tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let piece = json!({"id": "x", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]});
    let world = guarded(FailPolicy::Closed, FakeGuard::mask());
    world
        .upstream
        .then(Script::stream([format!("data: {piece}\n\n"), done()]));
    let events = world.send(chat(json!({"stream": true}))).await.events();
    assert_eq!(
        events[0]["choices"][0]["delta"]["tool_calls"],
        json!([{"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
    );
    assert_eq!(
        events[1]["choices"][0],
        json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    );
    assert_eq!(events[2], "[DONE]");
}

#[tokio::test(start_paused = true)]
async fn a_block_of_a_whole_stream_has_its_status_and_is_paid_for() {
    let world = guarded(FailPolicy::Closed, FakeGuard::block());
    world.upstream.then(frames());
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!((answer.status, answer.is_stream), (422, false));
    let record = world.record().await;
    assert_eq!((record.usage.total_tokens, record.response), (15, None));
}

/// What goes wrong before a stream is whole keeps its own status, since nothing was sent yet.
#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_before_it_is_whole_is_an_ordinary_error() {
    let error = "data: {\"error\":{\"message\":\"the model broke\"}}\n\n";
    let cases = [
        (Script::stream([chunk("a")]).then_break(), 500),
        (Script::stream([&chunk("a"), "data: {\"cut"]), 500),
        (Script::stream([&chunk("a"), error]), 500),
        (Script::stream([chunk("a")]).then_stall(), 408),
        (Script::stream([chunk(&"x".repeat(2 << 20)), done()]), 400),
    ];
    for (script, status) in cases {
        let world = guarded(FailPolicy::Closed, FakeGuard::allow());
        world.upstream.then(script);
        let answer = world.send(chat(json!({"stream": true}))).await;
        assert_eq!(
            (answer.status, answer.is_stream),
            (status, false),
            "{answer:?}"
        );
        world.failure().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_judgement_is_paid_for_when_the_client_leaves() {
    let world = guarded(
        FailPolicy::Closed,
        FakeGuard::allow().after(&Arc::new(Notify::new())),
    );
    {
        let mut calling = std::pin::pin!(world.open(chat(json!({}))));
        assert!(futures_util::poll!(&mut calling).is_pending());
    }
    let record = world.record().await;
    assert_eq!(record.failure().unwrap().class, "ClientDisconnected");
    assert_eq!(record.usage.total_tokens, 15);
}
