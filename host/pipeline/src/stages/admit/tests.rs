mod metering;

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;

use crate::ports::Phase;
use crate::snapshot::FailPolicy;
use crate::testing::{FakeGuard, Script, Setup, chat, chunk, done};

#[tokio::test(start_paused = true)]
async fn a_call_without_a_free_slot_is_told_to_try_again() {
    let world = Setup::new().slots(1).build();
    let gate = Arc::new(Notify::new());
    world
        .upstream
        .then(Script::stream([chunk("a")]).then_wait(&gate).piece(done()));
    let first = world.open(chat(json!({"stream": true}))).await;
    let refused = world.send(chat(json!({}))).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert_eq!(world.upstream.calls(), 1);
    drop(first);
    assert_eq!(world.send(chat(json!({}))).await.status, 200);
    let records = world.records().await;
    let mut classes: Vec<_> = records
        .iter()
        .map(|r| r.failure().map(|f| &*f.class))
        .collect();
    classes.sort_unstable();
    assert_eq!(
        classes,
        [
            None,
            Some("ClientDisconnected"),
            Some("ServiceUnavailableError")
        ]
    );
}

/// [`crate::testing::World::records`] checks after each that the slot is free.
#[tokio::test(start_paused = true)]
async fn the_slot_is_free_after_every_kind_of_end() {
    let scripts = [
        Script::json(200, &crate::testing::completed("ok")),
        Script::error(400, "no"),
        Script::stream([chunk("a"), done()]),
        Script::stream([chunk("a")]).then_break(),
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        let world = Setup::new().slots(1).build();
        world.upstream.then(script);
        world.send(chat(json!({"stream": number >= 2}))).await;
        world.record().await;
    }
    let blocked =
        Setup::new()
            .slots(1)
            .guard("g", Phase::PreCall, FailPolicy::Closed, FakeGuard::block());
    let world = blocked.build();
    assert_eq!(world.send(chat(json!({}))).await.status, 422);
    world.record().await;
}
