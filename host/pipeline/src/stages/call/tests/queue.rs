//! Requests with a priority wait where others are refused.

use super::*;

/// One deployment of `a`, called `m` upstream, that takes one call at a time.
fn narrow() -> Setup {
    Setup::empty()
        .deployment("a", "openai/m")
        .with(|spec, _| spec.max_parallel_requests = Some(1))
}

fn urgent(priority: i64, user: &str) -> Arrival {
    ask(json!({"priority": priority, "user": user}))
}

#[tokio::test(start_paused = true)]
async fn the_more_urgent_request_gets_the_place_that_is_given_back() {
    let world = narrow().build();
    let gate = Arc::new(Notify::new());
    let held = Script::stream([chunk("a"), done()]).then_wait(&gate);
    world.upstream.then(held);
    let holder = world
        .open(ask(json!({"stream": true, "user": "holder"})))
        .await;
    let none = world.send(ask(json!({}))).await;
    assert_eq!(none.status, 429, "without a priority nobody waits");

    let (one, two, answers) = tokio::join!(
        world.send(urgent(5, "later")),
        world.send(with(
            ask(json!({"user": "first"})),
            &[("x-litellm-priority", "0")]
        )),
        async {
            while world.gateway.queue.waiting() < 2 {
                tokio::task::yield_now().await;
            }
            gate.notify_one();
            Answer::of(holder).await
        },
    );
    assert_eq!((one.status, two.status, answers.status), (200, 200, 200));
    let users: Vec<Value> = (0..3)
        .map(|i| world.upstream.body(i)["user"].clone())
        .collect();
    assert_eq!(users, ["holder", "first", "later"]);
    assert_eq!(one.header("x-litellm-request-prioritization-used"), "True");
    assert_eq!(none.header("x-litellm-request-prioritization-used"), "");
    assert_eq!(world.gateway.queue.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_woken_when_a_deployment_has_rested() {
    let world = Setup::empty()
        .deployment("a", "openai/m0")
        .deployment("a", "openai/m1")
        .with(|spec, _| spec.is_blocked = true)
        .settings(|s| s.default_priority = Some(3))
        .build();
    world
        .upstream
        .then(Script::error(429, "slow").header("retry-after", "30"));
    assert_eq!(world.send(ask(json!({}))).await.status, 429);
    let begun = Instant::now();
    let answer = world.send(ask(json!({}))).await;
    assert_eq!(answer.status, 200);
    // The poll of an hour has nothing to do with it.
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_requests_own_timeout() {
    let world = narrow().build();
    let gate = Arc::new(Notify::new());
    let held = Script::stream([chunk("a"), done()]).then_wait(&gate);
    world.upstream.then(held);
    let holder = world.open(ask(json!({"stream": true}))).await;
    let begun = Instant::now();
    let answer = world.send(ask(json!({"priority": 0, "timeout": 7}))).await;
    assert_eq!((answer.status, begun.elapsed().as_secs()), (408, 7));
    let message = answer.message();
    assert!(
        message.contains("Request timed out while polling queue"),
        "{message}"
    );
    assert_eq!(world.gateway.queue.waiting(), 0);
    drop(holder);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_whom_another_group_can_serve_or_time_does_not_help() {
    let world = narrow()
        .deployment("b", "openai/other")
        .routing(|r| r.fallbacks = vec![rule("a", &["b"])])
        .build();
    let gate = Arc::new(Notify::new());
    let held = Script::stream([chunk("a"), done()]).then_wait(&gate);
    world.upstream.then(held);
    let holder = world.open(ask(json!({"stream": true}))).await;
    let begun = Instant::now();
    let answer = world.send(urgent(0, "u")).await;
    assert_eq!((answer.status, begun.elapsed()), (200, Duration::ZERO));
    assert_eq!(world.upstream.models(), ["m", "other"]);
    drop(holder);

    let world = narrow().with(|spec, _| spec.is_blocked = true).build();
    let answer = world.send(urgent(0, "u")).await;
    assert_eq!(
        answer.status, 429,
        "a paused deployment does not come back by itself"
    );
}

#[tokio::test(start_paused = true)]
async fn a_priority_that_is_none_is_told() {
    let world = narrow().build();
    for arrival in [
        ask(json!({"priority": "high"})),
        ask(json!({"priority": 1.5})),
        with(ask(json!({})), &[("x-litellm-priority", "high")]),
    ] {
        let answer = world.send(arrival).await;
        assert_eq!(answer.status, 400);
        assert!(
            answer.message().contains("whole number"),
            "{}",
            answer.message()
        );
    }
}
