use std::sync::Arc;

use serde_json::{Value, json};
use witgate_events::GuardrailStatus;
use witgate_identity::Principal;

use crate::ports::{AuthDecision, Edit, Phase, Verdict};
use crate::snapshot::{CustomAuth, FailPolicy, Modes};
use crate::testing::{FakeAuth, FakeGuard, Setup, World, chat, with};

fn guarded(fail: FailPolicy, guard: FakeGuard) -> World {
    Setup::new().guard("g", Phase::PreCall, fail, guard).build()
}

fn secret() -> Value {
    json!({"messages": [{"role": "user", "content": "my secret"}]})
}

fn edit(pointer: &str, json: &str) -> FakeGuard {
    FakeGuard::edit(vec![Edit::Value {
        pointer: pointer.to_owned(),
        json: json.to_owned(),
    }])
}

#[tokio::test(start_paused = true)]
async fn an_allowed_request_is_forwarded_as_it_is() {
    let world = guarded(FailPolicy::Closed, FakeGuard::allow());
    let answer = world.send(chat(secret())).await;
    assert_eq!(
        (answer.status, answer.header("x-litellm-applied-guardrails")),
        (200, "g")
    );
    assert_eq!(
        world.upstream.body(0)["messages"][0]["content"],
        "my secret"
    );
    let run = world.record().await.guardrails.remove(0);
    assert_eq!(run.guardrail_status, GuardrailStatus::Success);
    assert_eq!(run.guardrail_mode.as_deref(), Some("pre_call"));
    assert_eq!(run.guardrail_response.unwrap().get(), "\"allow\"");
}

#[tokio::test(start_paused = true)]
async fn an_edit_reaches_the_upstream_and_the_log() {
    let world = guarded(FailPolicy::Closed, FakeGuard::mask());
    assert_eq!(world.send(chat(secret())).await.status, 200);
    assert_eq!(world.upstream.body(0)["messages"][0]["content"], "my ***");
    let record = world.record().await;
    assert!(!String::from_utf8_lossy(&record.request.body).contains("secret"));
    let run = &record.guardrails[0];
    assert_eq!(run.guardrail_status, GuardrailStatus::GuardrailIntervened);
    assert_eq!(run.masked_entity_count.as_ref().unwrap()["SECRET"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_block_keeps_its_status_and_says_who_blocked() {
    let world = guarded(FailPolicy::Open, FakeGuard::block());
    let answer = world.send(chat(secret())).await;
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (422, "not in this house")
    );
    assert_eq!(
        answer.error()["provider_specific_fields"],
        json!({"guardrail_mode": "pre_call", "guardrail_name": "g", "rule": "r1"})
    );
    assert_eq!(answer.header("x-litellm-applied-guardrails"), "");
    assert_eq!(world.upstream.calls(), 0);
    let record = world.record().await;
    assert_eq!(record.failure().unwrap().class, "GuardrailRaisedException");
    assert_eq!(
        record.guardrails[0]
            .guardrail_response
            .as_ref()
            .unwrap()
            .get(),
        "\"block\""
    );
}

/// A guardrail that gives no verdict, in its three ways.
#[tokio::test(start_paused = true)]
async fn without_a_verdict_the_fail_policy_decides() {
    let ways: [fn() -> FakeGuard; 4] = [
        FakeGuard::faulty,
        FakeGuard::undecided,
        || edit("/messages/9/content", "\"x\""),
        || edit("/messages", "[broken"),
    ];
    for (number, guard) in ways.into_iter().enumerate() {
        let world = guarded(FailPolicy::Open, guard());
        let answer = world.send(chat(secret())).await;
        assert_eq!(
            (answer.status, answer.header("x-litellm-applied-guardrails")),
            (200, ""),
            "{number}"
        );
        assert_eq!(
            world.upstream.body(0)["messages"][0]["content"],
            "my secret"
        );
        let status = world.record().await.guardrails[0].guardrail_status;
        assert_eq!(
            status,
            GuardrailStatus::GuardrailFailedToRespond,
            "{number}"
        );

        let world = guarded(FailPolicy::Closed, guard());
        let answer = world.send(chat(secret())).await;
        assert_eq!(answer.status, 500, "{number}");
        assert_eq!(
            answer.message(),
            "Guardrail 'g' could not judge this call, and fails closed"
        );
        assert_eq!(world.upstream.calls(), 0);
        assert_eq!(world.failure().await.class, "GuardrailUnavailable");
    }
}

#[tokio::test(start_paused = true)]
async fn each_guardrail_sees_what_the_one_before_made_of_the_request() {
    let second = Arc::new(FakeGuard::allow());
    let world = Setup::new()
        .guard(
            "first",
            Phase::PreCall,
            FailPolicy::Closed,
            FakeGuard::mask(),
        )
        .shared_guard("second", Phase::PreCall, FailPolicy::Closed, &second)
        .build();
    let answer = world.send(chat(secret())).await;
    assert_eq!(
        answer.header("x-litellm-applied-guardrails"),
        "first,second"
    );
    assert!(second.asked.lock().unwrap()[0].1.contains("my ***"));
}

#[tokio::test(start_paused = true)]
async fn the_body_is_offered_by_pointer_and_text() {
    let looks = FakeGuard::new(|body| {
        let text = &body.texts()[0];
        assert_eq!(
            (text.pointer.as_str(), text.role.as_deref()),
            ("/messages/0/content", Some("user"))
        );
        assert_eq!(
            body.field("/messages/0/content").as_deref(),
            Some("\"my secret\"")
        );
        assert_eq!(body.field("/a~1b").as_deref(), Some("1"));
        assert_eq!(body.field("/messages/7"), None);
        assert_eq!(body.size(), body.raw().len() as u64);
        Ok(Verdict::Allow)
    });
    let world = guarded(FailPolicy::Closed, looks);
    let mut body = secret();
    body["a/b"] = 1.into();
    assert_eq!(world.send(chat(body)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_guardrail_that_is_not_always_on_runs_when_it_is_asked_for() {
    for (asked, runs) in [
        (json!(["g"]), 1),
        (json!([{"g": {"extra_body": {"x": 1}}}]), 1),
        (json!(["h"]), 0),
    ] {
        let guard = Arc::new(FakeGuard::allow());
        let setup = Setup::new().shared_guard("g", Phase::PreCall, FailPolicy::Closed, &guard);
        let world = setup.with_guard(|entry| entry.default_on = false).build();
        world.send(chat(json!({"guardrails": asked}))).await;
        let calls = guard.asked.lock().unwrap();
        assert_eq!(calls.len(), runs, "{asked}");
        let params = if asked[0].is_object() {
            "{\"x\":1}"
        } else {
            "{}"
        };
        assert!(
            calls
                .iter()
                .all(|(call, _)| call.params == params && call.model == "gpt-4o")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_tag_with_a_mode_of_its_own_decides() {
    for (tags, runs) in [("x", 1), ("free,x", 0), ("", 1)] {
        let guard = Arc::new(FakeGuard::allow());
        let setup = Setup::new().shared_guard("g", Phase::PreCall, FailPolicy::Closed, &guard);
        let modes = Modes {
            default: vec![Phase::PreCall],
            by_tag: vec![("free".to_owned(), vec![])],
        };
        let world = setup.with_guard(|entry| entry.modes = modes).build();
        world
            .send(with(chat(json!({})), &[("x-litellm-tags", tags)]))
            .await;
        assert_eq!(guard.asked.lock().unwrap().len(), runs, "{tags}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guardrail_may_send_the_request_to_another_model_that_the_caller_may_use() {
    for (models, status) in [
        (vec![], 200),
        (vec!["gpt-4o", "private"], 200),
        (vec!["gpt-4o"], 403),
    ] {
        let models = models.into_iter().map(str::to_owned).collect();
        let principal = Principal {
            models,
            ..Principal::default()
        };
        let plugin = Arc::new(FakeAuth::new(Ok(AuthDecision::Identity(Box::new(
            principal,
        )))));
        let world = Setup::new()
            .deployment("private", "openai/at-home")
            .access(|access| {
                access.custom = Some(CustomAuth {
                    plugin,
                    auto: false,
                    common_checks: false,
                })
            })
            .guard(
                "g",
                Phase::PreCall,
                FailPolicy::Closed,
                edit("/model", "\"private\""),
            )
            .build();
        let answer = world.send(chat(json!({}))).await;
        assert_eq!(answer.status, status);
        if status == 200 {
            assert_eq!(world.upstream.models(), ["at-home"]);
            assert_eq!(answer.header("x-litellm-model-group"), "private");
        }
    }
}
