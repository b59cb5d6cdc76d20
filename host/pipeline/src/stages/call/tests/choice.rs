//! What one call does to the choice of the next.

use super::*;
use witgate_routing::Strategy;
use witgate_wire::errors::CompatErrors;

/// Two deployments of the group `a`, called `m0` and `m1` upstream; always the first unless something
/// speaks against it.
fn pair() -> Setup {
    let setup = Setup::empty().deployment("a", "openai/m0");
    setup
        .deployment("a", "openai/m1")
        .routing(|r| r.strategy = Strategy::LeastBusy)
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_at_its_limit_rests_and_comes_back() {
    let world = pair().routing(|r| r.num_retries = 1).build();
    world
        .upstream
        .then(Script::error(429, "slow").header("retry-after", "30"));
    let answer = world.send(ask(json!({}))).await;
    assert_eq!((answer.status, walk(&answer)), (200, ("1", "1", "0")));
    assert_eq!(world.upstream.models(), ["m0", "m1"]);
    world.send(ask(json!({}))).await;
    tokio::time::advance(Duration::from_secs(29)).await;
    world.send(ask(json!({}))).await;
    assert_eq!(world.upstream.models(), ["m0", "m1", "m1", "m1"]);
    tokio::time::advance(Duration::from_secs(2)).await;
    world.send(ask(json!({}))).await;
    assert_eq!(world.upstream.models().last().unwrap(), "m0");
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_caller_asked_for_rests_nobody() {
    for asked in [
        json!({"mock_timeout": true}),
        json!({"mock_response": "litellm.RateLimitError"}),
    ] {
        let world = pair()
            .routing(|r| r.cooldown.allowed_fails = Some(0))
            .settings(|s| s.compat = CompatErrors::V2025)
            .build();
        let failed = world.send(ask(asked.clone())).await;
        assert_ne!(failed.status, 200, "{asked}");
        world.send(ask(json!({}))).await;
        assert_eq!(world.upstream.models(), ["m0"], "{asked}: it does not rest");
        // The same from the upstream would have rested it.
        world.upstream.then(Script::error(429, "slow"));
        world.send(ask(json!({}))).await;
        world.send(ask(json!({}))).await;
        assert_eq!(world.upstream.models(), ["m0", "m0", "m1"], "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_all_rest_nobody_is_asked() {
    let world = pair().routing(|r| r.num_retries = 5).build();
    world
        .upstream
        .then(Script::error(429, "slow"))
        .then(Script::error(429, "slow"));
    let begun = Instant::now();
    let answer = world.send(ask(json!({}))).await;
    assert_eq!(answer.status, 429);
    assert_eq!(
        begun.elapsed(),
        Duration::ZERO,
        "there is nobody to wait for"
    );
    assert_eq!(world.upstream.calls(), 2);
    let answer = world.send(ask(json!({}))).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, "5"));
    let message = answer.message();
    assert!(message.contains("Try again in 5 seconds"), "{message}");
    assert!(message.contains("cooldown_list=['d0', 'd1']"), "{message}");
    assert_eq!(answer.error()["type"], "all_deployments_in_cooldown");
    assert_eq!(world.upstream.calls(), 2);
    assert_eq!(
        world.send(ask(json!({"model": "d1"}))).await.status,
        200,
        "asked for by its id"
    );
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(world.send(ask(json!({}))).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_the_client_asked_for_is_not_held_against_a_deployment() {
    let world = pair().build();
    for extra in [
        json!({"mock_testing_rate_limit_error": true}),
        json!({"mock_timeout": true, "timeout": 0.01}),
    ] {
        assert_ne!(world.send(ask(extra)).await.status, 200);
    }
    // A timeout of its own that really elapsed, often enough to be too much.
    for _ in 0..6 {
        world.upstream.then(Script::silent());
        assert_eq!(world.send(ask(json!({"timeout": 0.01}))).await.status, 408);
    }
    assert_eq!(world.send(ask(json!({}))).await.status, 200);
    assert_eq!(world.upstream.models(), ["m0"; 7]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_under_way_until_its_end() {
    let world = pair().build();
    let gate = Arc::new(Notify::new());
    let slow = Script::stream([chunk("hi")])
        .then_wait(&gate)
        .piece(chunk(""))
        .piece(done());
    world.upstream.then(slow);
    let reply = world.open(ask(json!({"stream": true}))).await;
    world.send(ask(json!({}))).await;
    gate.notify_one();
    assert_eq!(Answer::of(reply).await.content(), "hi");
    world.records().await;
    world.send(ask(json!({}))).await;
    assert_eq!(world.upstream.models(), ["m0", "m1", "m0"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_client_leaves_is_not_under_way_any_more() {
    let world = pair().build();
    world
        .upstream
        .then(Script::stream([chunk("hi")]).then_stall());
    let reply = world.open(ask(json!({"stream": true}))).await;
    drop(reply);
    world.records().await;
    world.send(ask(json!({}))).await;
    assert_eq!(world.upstream.models(), ["m0", "m0"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_counts_as_failed() {
    let world = pair()
        .routing(|r| r.cooldown.allowed_fails = Some(0))
        .build();
    let error = "data: {\"error\": {\"message\": \"no\"}}\n\n".to_owned();
    world.upstream.then(Script::stream([chunk("hi"), error]));
    Answer::of(world.open(ask(json!({"stream": true}))).await).await;
    world.records().await;
    world.send(ask(json!({}))).await;
    assert_eq!(world.upstream.models(), ["m0", "m1"]);
}

#[tokio::test(start_paused = true)]
async fn the_least_used_is_found_by_the_tokens_of_answers() {
    let world = pair()
        .routing(|r| r.strategy = Strategy::UsageBased)
        .build();
    for _ in 0..4 {
        world.send(ask(json!({}))).await;
        world.records().await;
    }
    assert_eq!(world.upstream.models(), ["m0", "m1", "m0", "m1"]);
    tokio::time::advance(Duration::from_secs(60)).await;
    world.send(ask(json!({}))).await;
    assert_eq!(
        world.upstream.models().last().unwrap(),
        "m0",
        "a new minute"
    );
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_at_once_than_a_deployment_takes() {
    let world = Setup::empty()
        .deployment("a", "openai/m0")
        .with(|spec, _| spec.max_parallel_requests = Some(1))
        .build();
    let gate = Arc::new(Notify::new());
    let slow = Script::stream([chunk("hi")]).then_wait(&gate).piece(done());
    world.upstream.then(slow);
    let reply = world.open(ask(json!({"stream": true}))).await;
    let answer = world.send(ask(json!({}))).await;
    assert_eq!(answer.status, 429);
    let message = answer.message();
    assert!(
        message.starts_with("Deployment has all max_parallel_requests slots in use."),
        "{message}"
    );
    gate.notify_one();
    Answer::of(reply).await;
    assert_eq!(world.send(ask(json!({}))).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_prompt_is_counted_before_it_goes_where_it_does_not_fit() {
    let world = Setup::empty()
        .deployment("a", "openai/small")
        .with(|spec, _| spec.max_input_tokens = Some(5))
        .deployment("a", "openai/large")
        .with(|spec, _| spec.max_input_tokens = Some(100))
        .routing(|r| {
            r.pre_call_checks = true;
            r.context_window_fallbacks = vec![rule("a", &["b"])];
        })
        .deployment("b", "openai/huge")
        .build();
    let text =
        |words: usize| json!({"messages": [{"role": "user", "content": "word ".repeat(words)}]});
    for _ in 0..5 {
        assert_eq!(world.send(ask(text(50))).await.status, 200);
    }
    assert_eq!(world.upstream.models(), ["large"; 5]);
    let answer = world.send(ask(text(500))).await;
    assert_eq!((answer.status, walk(&answer)), (200, ("0", "0", "1")));
    assert_eq!(world.upstream.models().last().unwrap(), "huge");
}

#[tokio::test(start_paused = true)]
async fn tags_of_the_request_lead_to_their_deployments() {
    let tagged = |setup: Setup, model: &str, tag: &str| {
        let tags = vec![tag.to_owned()];
        setup
            .deployment("a", model)
            .with(|spec, _| spec.tags = tags)
    };
    let setup = tagged(
        tagged(Setup::empty(), "openai/free", "free"),
        "openai/paid",
        "paid",
    );
    let world = setup.routing(|r| r.tag_filtering = true).build();
    for (tag, status) in [("free", 200), ("paid", 200), ("none", 401)] {
        let answer = world.send(ask(json!({"metadata": {"tags": [tag]}}))).await;
        assert_eq!(answer.status, status, "{tag}");
    }
    let by_header = with(ask(json!({})), &[("x-litellm-tags", "paid")]);
    world.send(by_header).await;
    assert_eq!(world.upstream.models(), ["free", "paid", "paid"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_groups_limits_is_told() {
    let limited = |setup: Setup, model: &str| {
        setup.deployment("a", model).with(|spec, _| {
            spec.rpm_limit = Some(10);
            spec.tpm_limit = Some(100);
        })
    };
    let world = limited(limited(Setup::empty(), "openai/m0"), "openai/m1").build();
    let names = [
        "limit-requests",
        "remaining-requests",
        "limit-tokens",
        "remaining-tokens",
    ];
    let told =
        |answer: &Answer| names.map(|n| answer.header(&format!("x-ratelimit-{n}")).to_owned());
    let first = world.send(ask(json!({}))).await;
    assert_eq!(told(&first), ["20", "20", "200", "200"]);
    world.records().await;
    let second = world.send(ask(json!({}))).await;
    assert_eq!(told(&second), ["20", "19", "200", "185"]);
    world.upstream.then(
        Script::json(200, &crate::testing::completed("x"))
            .header("x-ratelimit-remaining-requests", "7"),
    );
    let third = world.send(ask(json!({}))).await;
    assert_eq!(
        third.header("x-ratelimit-remaining-requests"),
        "7",
        "the upstream's own word"
    );
    assert_eq!(third.header("x-ratelimit-limit-tokens"), "");
}

/// Whether it is tried again, other groups there are; the status, retries and fallbacks, the milliseconds waited.
#[tokio::test(start_paused = true)]
async fn a_deployment_at_its_parallel_limit_is_tried_again_unless_told_otherwise() {
    for (retries, fallback, status, told, waited) in [
        (true, false, 429, ("2", "2", "0"), 1_500),
        (false, false, 429, ("0", "2", "0"), 0),
        (true, true, 200, ("0", "2", "1"), 0),
        (false, true, 200, ("0", "2", "1"), 0),
    ] {
        let world = groups()
            .routing(|r| {
                r.num_retries = 2;
                r.parallel_max_default = Some(1);
                if fallback {
                    r.fallbacks = vec![rule("a", &["b"])];
                }
            })
            .settings(|s| s.retry_when_full = retries)
            .build();
        world.upstream.then(Script::silent());
        let gateway = world.gateway.clone();
        let first = tokio::spawn(async move { gateway.handle(ask(json!({}))).await });
        world.upstream.arrived.notified().await;
        let begun = Instant::now();
        let answer = world.send(ask(json!({}))).await;
        assert_eq!(answer.status, status);
        assert_eq!(walk(&answer), told);
        assert_eq!(begun.elapsed(), Duration::from_millis(waited));
        first.abort();
        drop(first.await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_given_back_meanwhile_is_taken() {
    let world = groups()
        .routing(|r| {
            r.num_retries = 2;
            r.parallel_max_default = Some(1);
        })
        .build();
    let gate = Arc::new(Notify::new());
    let slow = Script::stream([chunk("hi")]).then_wait(&gate).piece(done());
    world.upstream.then(slow);
    let reply = world.open(ask(json!({"stream": true}))).await;
    let gateway = world.gateway.clone();
    let second =
        tokio::spawn(async move { Answer::of(gateway.handle(ask(json!({}))).await).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.notify_one();
    Answer::of(reply).await;
    assert_eq!(second.await.unwrap().status, 200);
}
