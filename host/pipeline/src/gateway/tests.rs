use std::sync::Arc;
use std::time::Duration;

use futures_util::poll;
use serde_json::json;
use tokio::sync::Notify;

use crate::ports::Phase;
use crate::snapshot::FailPolicy;
use crate::stages::{STAGES, explain};
use crate::testing::{FakeGuard, Script, Setup, World, chat, with};

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_before_the_answer_cancels_the_upstream_and_is_recorded_once() {
    let scripts = [
        Script::silent(),
        Script::json_pieces(["{"]).then_stall(),
        Script::stream([": a\n\n"]).then_stall(),
    ];
    for script in scripts {
        let world = Setup::new().slots(1).build();
        world.upstream.then(script);
        {
            let mut calling = std::pin::pin!(world.open(chat(json!({"stream": true}))));
            assert!(poll!(&mut calling).is_pending());
            assert_eq!(world.gateway.metrics.in_flight.get(), 1);
        }
        assert_eq!((world.upstream.calls(), world.upstream.cancelled()), (1, 1));
        let failure = world.failure().await;
        assert_eq!(
            (failure.status, &*failure.class),
            (Some(499), "ClientDisconnected")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_a_pause_between_tries_stops_them() {
    let world = Setup::new().routing(|r| r.num_retries = 3).build();
    world.upstream.then(Script::error(429, "slow"));
    {
        let mut calling = std::pin::pin!(world.open(chat(json!({}))));
        assert!(poll!(&mut calling).is_pending());
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(world.upstream.calls(), 1);
    assert_eq!(world.failure().await.class, "ClientDisconnected");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_a_guardrail_thinks_never_reaches_the_upstream() {
    let guard = FakeGuard::allow().after(&Arc::new(Notify::new()));
    let world = Setup::new()
        .slots(1)
        .guard("g", Phase::PreCall, FailPolicy::Closed, guard)
        .build();
    {
        let mut calling = std::pin::pin!(world.open(chat(json!({}))));
        assert!(poll!(&mut calling).is_pending());
    }
    assert_eq!(world.upstream.calls(), 0);
    assert_eq!(world.failure().await.class, "ClientDisconnected");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_never_begun_leaves_no_trace() {
    let world = World::new();
    drop(world.open(chat(json!({}))));
    assert!(world.records().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_keeps_the_configuration_it_began_with() {
    let world = Arc::new(World::new());
    let gate = Arc::new(Notify::new());
    let body = crate::testing::completed("old").to_string();
    world
        .upstream
        .then(Script::json_pieces([""]).then_wait(&gate).piece(body));
    let calling = tokio::spawn({
        let world = world.clone();
        async move { world.send(chat(json!({}))).await }
    });
    world.upstream.arrived.notified().await;
    let other = Setup::empty().deployment("other", "openai/other").build();
    world
        .gateway
        .snapshot
        .store(other.gateway.snapshot.load_full());
    gate.notify_one();
    assert_eq!(calling.await.unwrap().status, 200);
    assert_eq!(world.send(chat(json!({}))).await.status, 400);
    assert_eq!(world.records().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_calls_at_once_each_leave_one_record() {
    let world = Arc::new(Setup::new().slots(64).build());
    let calls = (0..64).map(|number| {
        let world = world.clone();
        let call = with(
            chat(json!({})),
            &[("x-litellm-call-id", &number.to_string())],
        );
        tokio::spawn(async move { world.send(call).await.status })
    });
    for status in futures_util::future::join_all(calls).await {
        assert_eq!(status.unwrap(), 200);
    }
    let mut ids: Vec<u32> = world
        .records()
        .await
        .iter()
        .map(|r| r.call_id.parse().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..64).collect::<Vec<_>>());
}

#[test]
fn every_stage_says_what_it_does_and_why_it_stands_there() {
    let names: Vec<&str> = STAGES.iter().map(|stage| stage.name).collect();
    assert_eq!(
        names.join(" > "),
        "accept > parse > identify > authorize > admit > prompt > hook in > guard in > hook route > auto route > route > cache > call > keep > guard out > hook out > respond > settle > record"
    );
    let text = explain();
    for stage in STAGES {
        assert!(
            text.contains(stage.what)
                && text.contains(stage.why_here)
                && !stage.why_here.is_empty()
        );
    }
}
