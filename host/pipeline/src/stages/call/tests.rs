use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use witgate_identity::Principal;
use witgate_routing::{FallbackRule, FallbackTarget};

use crate::exchange::Arrival;
use crate::ports::{AuthDecision, Block, Phase, Verdict};
use crate::snapshot::{CustomAuth, FailPolicy};
use crate::testing::{
    Answer, FakeAuth, FakeGuard, Script, Setup, World, chat, chunk, completed, done, with,
};

mod affinity;
mod choice;
mod hops;
mod queue;

fn retrying(times: u32) -> Setup {
    Setup::new().routing(|r| r.num_retries = times)
}

/// Groups `a` (deployment 0), `b` and `c`; the models upstream are called the same in capitals.
fn groups() -> Setup {
    let names = ["a", "b", "c"].into_iter();
    names.fold(Setup::empty(), |setup, name| {
        setup.deployment(name, &format!("openai/{}", name.to_uppercase()))
    })
}

fn rule(group: &str, targets: &[&str]) -> FallbackRule {
    let targets = targets.iter().map(|t| FallbackTarget::to(*t)).collect();
    FallbackRule {
        group: group.to_owned(),
        targets,
    }
}

fn fail(world: &World, times: usize) {
    for _ in 0..times {
        world.upstream.then(Script::error(500, "oops"));
    }
}

fn ask(extra: Value) -> Arrival {
    let mut body = json!({"model": "a"});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    chat(body)
}

fn walk(answer: &Answer) -> (&str, &str, &str) {
    (
        answer.header("x-litellm-attempted-retries"),
        answer.header("x-litellm-max-retries"),
        answer.header("x-litellm-attempted-fallbacks"),
    )
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_retried_after_a_pause() {
    let world = retrying(2).build();
    world.upstream.then(Script::error(429, "slow"));
    let begun = Instant::now();
    let answer = world.send(chat(json!({}))).await;
    assert_eq!((answer.status, walk(&answer)), (200, ("1", "2", "0")));
    assert_eq!(begun.elapsed(), Duration::from_millis(500));
    assert_eq!(world.record().await.attempted_retries, 1);
}

/// Upstream statuses in order, then the tries recorded on the way and the call's own outcome.
#[tokio::test(start_paused = true)]
async fn every_failed_try_is_an_event_of_its_own_and_the_last_one_is_the_calls() {
    for (statuses, on_the_way, succeeded) in [
        (&[][..], 0, true),
        (&[429, 500][..], 2, true),
        (&[429, 500, 503][..], 2, false),
    ] {
        let world = retrying(2).build();
        for status in statuses {
            world.upstream.then(Script::error(*status, "no"));
        }
        world.send(chat(json!({}))).await;
        let call = world.record().await;
        let attempts = world.attempts();
        assert_eq!((attempts.len(), call.succeeded()), (on_the_way, succeeded));
        for (attempt, status) in attempts.iter().zip(statuses) {
            let failure = attempt.failure().expect("a try on the way failed");
            assert_eq!(failure.status, Some(*status));
            assert_eq!(attempt.trace_id, call.trace_id);
            assert_ne!(attempt.log_id(), call.log_id());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_as_long_as_the_upstream_asks() {
    for (header, asked, waited) in [
        ("retry-after", "7", 7_000),
        ("retry-after", "1.25", 1_250),
        ("retry-after", "61", 500),
        ("retry-after", "soon", 500),
        ("retry-after-ms", "750", 750),
    ] {
        let world = retrying(1).build();
        world
            .upstream
            .then(Script::error(429, "slow").header(header, asked));
        let begun = Instant::now();
        assert_eq!(world.send(chat(json!({}))).await.status, 200);
        assert_eq!(begun.elapsed(), Duration::from_millis(waited), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_deployment_is_tried_at_once() {
    let world = retrying(2)
        .deployment("gpt-4o", "openai/gpt-4o-mini")
        .build();
    fail(&world, 1);
    let begun = Instant::now();
    assert_eq!(world.send(chat(json!({}))).await.status, 200);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

/// Status of the upstream, and how often it is called with two retries.
#[tokio::test(start_paused = true)]
async fn only_what_may_succeed_is_retried() {
    for (status, calls) in [
        (400, 1),
        (401, 1),
        (403, 1),
        (404, 1),
        (422, 1),
        (408, 3),
        (429, 3),
        (500, 3),
        (503, 3),
    ] {
        let world = retrying(2).build();
        for _ in 0..3 {
            world.upstream.then(Script::error(status, "no"));
        }
        let answer = world.send(chat(json!({}))).await;
        assert_eq!(world.upstream.calls(), calls, "{status}");
        assert_eq!(
            answer.header("x-litellm-attempted-retries"),
            (calls - 1).to_string()
        );
        world.failure().await;
    }
}

/// The request's own number of retries, by header and body.
#[tokio::test(start_paused = true)]
async fn the_request_says_how_often_to_retry() {
    for (header, body, calls) in [
        (Some("1"), json!(3), 2),
        (None, json!(3), 4),
        (None, json!(0), 1),
        (Some("x"), json!(null), 2),
    ] {
        let world = retrying(1).build();
        fail(&world, 5);
        let mut call = chat(json!({"num_retries": body}));
        if let Some(header) = header {
            call = with(call, &[("x-litellm-num-retries", header)]);
        }
        world.send(call).await;
        assert_eq!(world.upstream.calls(), calls, "{header:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_retry_after_reaches_the_client() {
    let world = World::new();
    world.upstream.then(
        Script::error(429, "slow")
            .header("retry-after", "9")
            .header("x-ratelimit-remaining-tokens", "0"),
    );
    let answer = world.send(chat(json!({}))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "9"));
    assert_eq!(answer.header("x-ratelimit-remaining-tokens"), "0");
}

#[tokio::test(start_paused = true)]
async fn a_groups_fallbacks_are_tried_in_order() {
    let world = groups()
        .routing(|r| r.fallbacks = vec![rule("a", &["b", "c"])])
        .build();
    fail(&world, 2);
    let answer = world.send(ask(json!({}))).await;
    assert_eq!((answer.status, walk(&answer)), (200, ("0", "0", "2")));
    assert_eq!(world.upstream.models(), ["A", "B", "C"]);
    assert_eq!(answer.header("x-litellm-model-group"), "c");
    assert_eq!(answer.header("x-litellm-model-id"), "d2");
    assert_eq!(answer.json()["model"], "c");
    assert_eq!(world.record().await.served.model_group, "c");
}

#[tokio::test(start_paused = true)]
async fn when_all_fallbacks_fail_the_first_groups_failure_is_told() {
    let world = groups()
        .routing(|r| r.fallbacks = vec![rule("a", &["b"])])
        .build();
    world
        .upstream
        .then(Script::error(429, "the first"))
        .then(Script::error(500, "the second"));
    let answer = world.send(ask(json!({}))).await;
    assert_eq!(answer.status, 429);
    assert_eq!(
        answer.message(),
        "litellm.RateLimitError: OpenAIException - the first. Received Model Group=a\nAvailable Model Group Fallbacks=['b']\nError doing the fallback: litellm.InternalServerError: OpenAIException - the second"
    );
}

/// Configured rules, `default_fallbacks`, the body's members, then the models called.
#[tokio::test(start_paused = true)]
async fn fallbacks_come_from_the_client_the_group_or_the_default() {
    let from_a = || vec![rule("a", &["b"])];
    let cases = [
        (vec![], vec!["c"], json!({}), "A C"),
        (from_a(), vec!["c"], json!({}), "A B"),
        (from_a(), vec![], json!({"fallbacks": ["c"]}), "A C"),
        (
            from_a(),
            vec![],
            json!({"fallbacks": [{"a": ["c"]}]}),
            "A C",
        ),
        (from_a(), vec![], json!({"disable_fallbacks": true}), "A"),
        (vec![], vec![], json!({"fallbacks": ["nobody", "c"]}), "A C"),
        (vec![], vec![], json!({"fallbacks": ["a", "c"]}), "A C"),
        (vec![], vec![], json!({"fallbacks": "c"}), "A"),
        (vec![], vec![], json!({}), "A"),
    ];
    for (rules, defaults, body, models) in cases {
        let setup = groups().routing(|r| {
            r.fallbacks = rules;
            r.default_fallbacks = defaults.into_iter().map(str::to_owned).collect();
        });
        let world = setup.build();
        fail(&world, 1);
        world.send(ask(body.clone())).await;
        assert_eq!(world.upstream.models().join(" "), models, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_fallbacks_are_tried_than_allowed() {
    let world = groups()
        .routing(|r| {
            r.fallbacks = vec![rule("a", &["b", "c"])];
            r.max_fallbacks = 1;
        })
        .build();
    fail(&world, 3);
    assert_eq!(world.send(ask(json!({}))).await.status, 500);
    assert_eq!(world.upstream.models(), ["A", "B"]);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_the_caller_may_not_use_is_left_out() {
    let models = vec!["a".to_owned(), "c".to_owned()];
    let principal = Principal {
        models,
        ..Principal::default()
    };
    let plugin = Arc::new(FakeAuth::new(Ok(AuthDecision::Identity(Box::new(
        principal,
    )))));
    let world = groups()
        .access(|access| {
            access.custom = Some(CustomAuth {
                plugin,
                auto: false,
                common_checks: false,
            })
        })
        .routing(|r| r.fallbacks = vec![rule("a", &["b", "c"])])
        .build();
    fail(&world, 1);
    assert_eq!(world.send(ask(json!({}))).await.status, 200);
    assert_eq!(world.upstream.models(), ["A", "C"]);
}

#[tokio::test(start_paused = true)]
async fn a_clients_fallback_brings_its_own_parameters() {
    let world = groups().build();
    fail(&world, 1);
    let fallback = json!([{"model": "b", "temperature": 0}]);
    assert_eq!(
        world.send(ask(json!({"fallbacks": fallback}))).await.status,
        200
    );
    let body = world.upstream.body(1);
    assert_eq!(
        (&body["model"], &body["temperature"]),
        (&json!("B"), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn a_clients_fallback_brings_no_credentials() {
    for fallbacks in [
        json!(["c", {"model": "b", "api_base": "http://evil"}]),
        json!([{"a": [{"model": "b", "api_base": "http://evil"}]}]),
    ] {
        let world = groups().build();
        let answer = world.send(ask(json!({"fallbacks": fallbacks}))).await;
        assert!(
            answer.message().contains("api_base is not allowed"),
            "{answer:?}"
        );
        assert_eq!(world.upstream.calls(), 0);
    }
}

/// What the guardrail does to the messages of the client's own fallback, in which phase; the status,
/// and what is sent in the end.
#[tokio::test(start_paused = true)]
async fn the_messages_of_a_clients_fallback_are_judged_like_the_first() {
    type Make = fn() -> FakeGuard;
    let block: Make = || {
        FakeGuard::new(
            |body| match body.texts().iter().any(|t| t.text.contains("secret")) {
                false => Ok(Verdict::Allow),
                true => Ok(Verdict::Block(Block {
                    message: "no".to_owned(),
                    status: 451,
                    detail: None,
                    findings: Vec::new(),
                })),
            },
        )
    };
    let cases: [(Make, Phase, u16, &[&str]); 3] = [
        (FakeGuard::mask, Phase::PreCall, 200, &["hi", "the ***"]),
        (FakeGuard::mask, Phase::DuringCall, 200, &["hi", "the ***"]),
        (block, Phase::PreCall, 451, &["hi"]),
    ];
    for (guard, phase, status, sent) in cases {
        let world = groups()
            .guard("g", phase, FailPolicy::Closed, guard())
            .build();
        fail(&world, 1);
        let messages = json!([{"role": "user", "content": "the secret"}]);
        let fallbacks = json!([{"model": "b", "messages": messages}]);
        let answer = world.send(ask(json!({"fallbacks": fallbacks}))).await;
        assert_eq!(answer.status, status, "{answer:?}");
        let texts: Vec<String> = (0..world.upstream.calls())
            .map(|i| {
                world.upstream.body(i)["messages"][0]["content"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(texts, sent);
        let record = world.record().await;
        assert_eq!(record.guardrails.len(), 2, "{:#?}", record.guardrails);
    }
}

#[tokio::test(start_paused = true)]
async fn a_targets_own_failure_is_told_behind_the_first() {
    let world = groups()
        .routing(|r| r.fallbacks = vec![rule("a", &["b"])])
        .build();
    world
        .upstream
        .then(Script::error(503, "the first"))
        .then(Script::error(400, "the second"));
    let answer = world.send(ask(json!({}))).await;
    assert_eq!(
        answer.message(),
        "litellm.ServiceUnavailableError: OpenAIException - the first. Received Model Group=a\nAvailable Model Group Fallbacks=['b']\nError doing the fallback: litellm.BadRequestError: OpenAIException - the second"
    );
}

/// The body's members, then the models called.
#[tokio::test(start_paused = true)]
async fn a_caller_may_ask_for_a_failure_to_see_the_fallbacks() {
    let cases = [
        (json!({"mock_testing_fallbacks": true}), "B"),
        (json!({"mock_testing_context_fallbacks": true}), "C"),
        (json!({"mock_testing_context_window_fallbacks": true}), "C"),
        (json!({"mock_testing_content_policy_fallbacks": true}), "B"),
        (
            json!({"mock_testing_content_policy_fallbacks": true, "content_policy_fallbacks": [{"a": ["c"]}]}),
            "C",
        ),
        (json!({"mock_testing_rate_limit_error": true}), "A"),
        (
            json!({"mock_testing_rate_limit_error": true, "num_retries": 0}),
            "B",
        ),
        (json!({"mock_testing_fallbacks": false}), "A"),
    ];
    for (body, models) in cases {
        let world = groups()
            .routing(|r| {
                r.num_retries = 1;
                r.fallbacks = vec![rule("a", &["b"])];
                r.context_window_fallbacks = vec![rule("a", &["c"])];
            })
            .build();
        let answer = world.send(ask(body.clone())).await;
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(world.upstream.models().join(" "), models, "{body}");
        assert!(
            world
                .upstream
                .body(0)
                .get("mock_testing_fallbacks")
                .is_none()
        );
    }
    let world = groups().build();
    let answer = world
        .send(ask(json!({"mock_testing_fallbacks": true})))
        .await;
    assert_eq!((answer.status, world.upstream.calls()), (500, 0));
}

#[tokio::test(start_paused = true)]
async fn a_mocked_timeout_waits_and_the_fallback_answers() {
    let world = groups()
        .routing(|r| r.fallbacks = vec![rule("a", &["b"])])
        .build();
    let begun = Instant::now();
    let answer = world
        .send(ask(json!({"mock_timeout": true, "timeout": 3})))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(world.upstream.models(), ["B"]);
    let world = groups().build();
    let answer = world
        .send(ask(json!({"mock_timeout": true, "timeout": 3})))
        .await;
    assert_eq!(answer.status, 408);
    assert!(answer.message().contains("mock timeout"), "{answer:?}");
}

/// Whether there are fallbacks for it, then the models called.
#[tokio::test(start_paused = true)]
async fn an_answer_that_a_filter_blocked_leads_to_the_content_policy_fallbacks() {
    for (rules, models) in [(vec![rule("a", &["c"])], "A C"), (vec![], "A")] {
        let world = groups()
            .routing(|r| r.content_policy_fallbacks = rules)
            .build();
        let mut blocked = completed("");
        blocked["choices"][0]["finish_reason"] = json!("content_filter");
        world.upstream.then(Script::json(200, &blocked));
        assert_eq!(world.send(ask(json!({}))).await.status, 200);
        assert_eq!(world.upstream.models().join(" "), models);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_may_be_a_target_for_those_who_may_use_its_group() {
    for (models, called) in [(vec!["a", "c"], "A C"), (vec!["a"], "A")] {
        let principal = Principal {
            models: models.into_iter().map(str::to_owned).collect(),
            ..Principal::default()
        };
        let plugin = Arc::new(FakeAuth::new(Ok(AuthDecision::Identity(Box::new(
            principal,
        )))));
        let world = groups()
            .access(|access| {
                access.custom = Some(CustomAuth {
                    plugin,
                    auto: false,
                    common_checks: false,
                })
            })
            .routing(|r| r.fallbacks = vec![rule("a", &["d2"])])
            .build();
        fail(&world, 1);
        world.send(ask(json!({}))).await;
        assert_eq!(world.upstream.models().join(" "), called);
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_order_is_tried_before_another_group() {
    let world = Setup::empty()
        .deployment("a", "openai/A1")
        .with(|spec, _| spec.order = Some(1))
        .deployment("a", "openai/A2")
        .with(|spec, _| spec.order = Some(2))
        .deployment("b", "openai/B")
        .routing(|r| r.fallbacks = vec![rule("a", &["b"])])
        .build();
    fail(&world, 2);
    let answer = world.send(ask(json!({}))).await;
    assert_eq!(world.upstream.models(), ["A1", "A2", "B"]);
    assert_eq!(answer.header("x-litellm-attempted-fallbacks"), "2");
}

/// What the stream begins with before it fails; its status is the retry's.
#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_before_its_first_text_is_tried_again() {
    let role = r#"data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
    let role = format!("{role}\n\n");
    let error = "data: {\"error\":{\"message\":\"late\",\"code\":500}}\n\n";
    for script in [
        Script::stream([role.clone()]).then_break(),
        Script::stream([role.clone(), error.to_owned()]),
        Script::stream([role.clone()]).then_stall(),
    ] {
        let world = retrying(1).build();
        world.upstream.then(script);
        world.upstream.then(Script::stream([
            role.clone(),
            chunk("yes"),
            chunk(""),
            done(),
        ]));
        let answer = world.send(chat(json!({"stream": true}))).await;
        assert_eq!((answer.status, answer.content().as_str()), (200, "yes"));
        assert_eq!(
            answer.text.matches("assistant").count(),
            1,
            "{}",
            answer.text
        );
        assert_eq!(answer.header("x-litellm-attempted-retries"), "1");
    }
}

/// Headers, body, deployment's and general timeout in seconds; the one that applies.
#[tokio::test(start_paused = true)]
async fn the_nearest_timeout_ends_a_call_with_408() {
    let none = json!({});
    let cases = [
        (
            vec![("x-litellm-timeout", "2.5")],
            json!({"timeout": 3}),
            Some(4),
            "2.5",
        ),
        (vec![], json!({"timeout": 3}), Some(4), "3"),
        (vec![], json!({"request_timeout": 3}), Some(4), "3"),
        (vec![], json!({"timeout": 0}), Some(4), "4"),
        (
            vec![("x-litellm-timeout", "-1")],
            none.clone(),
            Some(4),
            "4",
        ),
        (vec![], none.clone(), None, "600"),
    ];
    for (headers, body, own, seconds) in cases {
        for script in [Script::silent(), Script::json_pieces(["{"]).then_stall()] {
            let world = Setup::new()
                .settings(|s| s.timeout = Duration::from_secs(600))
                .with(|_, target| target.timeout = own.map(Duration::from_secs))
                .build();
            world.upstream.then(script);
            let begun = Instant::now();
            let answer = world.send(with(chat(body.clone()), &headers)).await;
            assert_eq!(
                (answer.status, answer.header("x-litellm-timeout")),
                (408, seconds),
                "{answer:?}"
            );
            assert_eq!(
                begun.elapsed(),
                Duration::from_secs_f64(seconds.parse().unwrap())
            );
            assert!(
                answer
                    .message()
                    .starts_with("litellm.Timeout: OpenAIException"),
                "{answer:?}"
            );
            assert_eq!(world.upstream.cancelled(), 1);
            assert_eq!(world.failure().await.class, "Timeout");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_a_timeout_of_its_own_until_its_first_frame() {
    for (headers, own, seconds) in [
        (vec![("x-litellm-stream-timeout", "2")], Some(3), "2"),
        (vec![], Some(3), "3"),
        (vec![], None, "5"),
    ] {
        for script in [
            Script::silent(),
            Script::stream([": ping\n\n"]).then_stall(),
        ] {
            let world = Setup::new()
                .settings(|s| s.stream_timeout = Some(Duration::from_secs(5)))
                .with(|_, target| target.stream_timeout = own.map(Duration::from_secs))
                .build();
            world.upstream.then(script);
            let answer = world
                .send(with(chat(json!({"stream": true})), &headers))
                .await;
            assert_eq!(
                (answer.status, answer.header("x-litellm-timeout")),
                (408, seconds)
            );
            world.failure().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_groups_calls_end_with_429() {
    let world = Setup::new().with(|spec, _| spec.is_blocked = true).build();
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(answer.status, 429);
    assert!(answer.message().starts_with(
        "No deployments available for selected model, Try again in 5 seconds. Passed model=gpt-4o."
    ));
    assert_eq!(world.upstream.calls(), 0);
}

fn during(fail: FailPolicy, guard: FakeGuard) -> World {
    Setup::new()
        .guard("g", Phase::DuringCall, fail, guard)
        .build()
}

#[tokio::test(start_paused = true)]
async fn a_during_call_guardrail_runs_beside_the_upstream_and_holds_its_answer() {
    let gate = Arc::new(Notify::new());
    let world = Arc::new(during(FailPolicy::Closed, FakeGuard::allow().after(&gate)));
    let calling = tokio::spawn({
        let world = world.clone();
        async move { world.send(chat(json!({}))).await }
    });
    // The upstream is asked while the guardrail still thinks; the answer waits for it.
    world.upstream.arrived.notified().await;
    tokio::task::yield_now().await;
    assert!(!calling.is_finished());
    gate.notify_one();
    let answer = calling.await.unwrap();
    assert_eq!(
        (answer.status, answer.header("x-litellm-applied-guardrails")),
        (200, "g")
    );
    let run = world.record().await.guardrails.remove(0);
    assert_eq!(run.guardrail_mode.as_deref(), Some("during_call"));
}

#[tokio::test(start_paused = true)]
async fn a_during_call_block_does_not_wait_for_the_upstream_and_cancels_it() {
    let world = during(FailPolicy::Closed, FakeGuard::block());
    world.upstream.then(Script::silent());
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(
        (answer.status, answer.message().as_str()),
        (422, "not in this house")
    );
    assert_eq!(world.upstream.cancelled(), world.upstream.calls());
    world.failure().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_withheld_by_a_during_call_block_is_paid_for() {
    let gate = Arc::new(Notify::new());
    let world = Arc::new(during(FailPolicy::Closed, FakeGuard::block().after(&gate)));
    let calling = tokio::spawn({
        let world = world.clone();
        async move { world.send(chat(json!({}))).await }
    });
    world.upstream.arrived.notified().await;
    tokio::task::yield_now().await;
    gate.notify_one();
    let answer = calling.await.unwrap();
    assert_eq!(answer.status, 422);
    assert!(!answer.text.contains("hello"), "{answer:?}");
    let record = world.record().await;
    assert_eq!((record.usage.total_tokens, record.response), (15, None));
    assert!(record.cost.total.is_some_and(|cost| !cost.is_zero()));
    assert_eq!(record.served.model_id, "d0");
}

#[tokio::test(start_paused = true)]
async fn a_during_call_guardrail_without_a_verdict_follows_its_policy() {
    for (fail, status) in [(FailPolicy::Open, 200), (FailPolicy::Closed, 500)] {
        for guard in [FakeGuard::faulty(), FakeGuard::undecided()] {
            let world = during(fail, guard);
            let answer = world.send(chat(json!({}))).await;
            assert_eq!(
                (answer.status, answer.header("x-litellm-applied-guardrails")),
                (status, "")
            );
            assert_eq!(world.record().await.guardrails.len(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_of_several_during_call_blocks_ends_the_call() {
    let world = Setup::new()
        .guard(
            "slow",
            Phase::DuringCall,
            FailPolicy::Closed,
            FakeGuard::allow().after(&Arc::default()),
        )
        .guard(
            "quick",
            Phase::DuringCall,
            FailPolicy::Closed,
            FakeGuard::block(),
        )
        .build();
    world.upstream.then(Script::stream([chunk("a"), done()]));
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!((answer.status, answer.is_stream), (422, false));
    assert_eq!(
        answer.error()["provider_specific_fields"]["guardrail_name"],
        "quick"
    );
    world.failure().await;
}

#[tokio::test(start_paused = true)]
async fn an_upstreams_failure_beside_a_guardrail_is_told() {
    let world = during(FailPolicy::Closed, FakeGuard::allow());
    world.upstream.then(Script::error(400, "bad"));
    assert_eq!(world.send(chat(json!({}))).await.status, 400);
    world.upstream.then(Script::json(200, &completed("fine")));
    assert_eq!(world.send(chat(json!({}))).await.status, 200);
    assert_eq!(world.records().await.len(), 2);
}
