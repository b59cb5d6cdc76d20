//! What a plugin may use: memory, processor, time, data, calls at once. And that others do not feel it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use witgate_plugins::{Fault, Guardrail, Isolation, TrapKind, Verdict};
use witgate_testkit::{Recorder, Reply};

use crate::support::{check, guardrail, guardrail_with, stage};

/// The fault of one call of a plugin that is named after its component.
async fn fault_of(component: &str) -> Fault {
    let guardrail = guardrail(component, component, json!({})).await;
    let error = check(&guardrail, "x").await.unwrap_err();
    assert_eq!(&*error.plugin, component);
    assert_eq!(error.function, "check");
    error.fault
}

#[tokio::test]
async fn a_trap_is_told_by_its_kind_and_counted() {
    let cases = [
        ("hostile-panic", TrapKind::Panic, "panic"),
        ("hostile-endless-loop", TrapKind::CpuLimit, "cpu_limit"),
        ("hostile-alloc-4gb", TrapKind::MemoryLimit, "memory_limit"),
        (
            "hostile-stack-overflow",
            TrapKind::MemoryAccess,
            "memory_access",
        ),
    ];
    for (component, expected, label) in cases {
        match fault_of(component).await {
            Fault::Trap { kind, .. } => assert_eq!(kind, expected, "{component}"),
            other => panic!("{component}: {other:?}"),
        }
        let traps = stage().count(
            "witgate_plugin_traps_total",
            &[("plugin", component), ("kind", label)],
        );
        assert_eq!(traps, 1.0, "{component}");
        let calls = [
            ("plugin", component),
            ("function", "check"),
            ("outcome", "trap"),
        ];
        assert_eq!(
            stage().count("witgate_plugin_calls_total", &calls),
            1.0,
            "{component}"
        );
        assert_eq!(
            stage().count("witgate_plugin_instances", &[("plugin", component)]),
            0.0,
            "{component}"
        );
    }
}

#[tokio::test]
async fn the_words_of_a_panic_reach_the_operator() {
    let guardrail = guardrail("bounds-panic", "hostile-panic", json!({})).await;
    let error = check(&guardrail, "x").await.unwrap_err().to_string();
    assert!(
        error.contains("plugin \"bounds-panic\", check: it panicked:"),
        "{error}"
    );
    assert!(error.contains("hostile panic, on purpose"), "{error}");
}

#[tokio::test]
async fn too_much_output_is_refused() {
    match fault_of("hostile-big-output").await {
        Fault::OutputTooLarge { max } => assert_eq!(max, 8 << 20),
        other => panic!("{other:?}"),
    }
    let dropped = stage().count(
        "witgate_plugin_log_dropped_total",
        &[("plugin", "hostile-big-output")],
    );
    assert!(dropped > 900.0, "{dropped} of 1024 lines");
}

#[tokio::test]
async fn too_much_input_is_not_passed_in() {
    let guardrail = guardrail_with("bounds-input", "hostile-ok", json!({}), |spec| {
        spec.limits.input_mb = Some(1)
    })
    .await;
    let error = check(&guardrail, &"x".repeat(1 << 20)).await.unwrap_err();
    assert!(
        matches!(error.fault, Fault::InputTooLarge { max: 1_048_576, .. }),
        "{error}"
    );
    assert!(matches!(
        check(&guardrail, "x").await.unwrap(),
        Verdict::Allow
    ));
}

#[tokio::test]
async fn waiting_is_bounded_by_the_wall() {
    let silent = Recorder::start(Reply::nothing().then_stall()).await;
    let settings = json!({"url": silent.origin()});
    let guardrail = guardrail_with("bounds-wall", "hostile-slow", settings, |spec| {
        spec.limits.timeout_ms = Some(150)
    })
    .await;
    let start = Instant::now();
    let error = check(&guardrail, "x").await.unwrap_err();
    // The host may give the guest the timeout of its request, or end the call: both are in time.
    let timed_out =
        matches!(error.fault, Fault::Timeout { .. }) || error.to_string().contains("time");
    assert!(timed_out, "{error}");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(silent.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_do_not_stop_the_calls_of_others() {
    let looping = guardrail("bounds-loop", "hostile-endless-loop", json!({})).await;
    let good = guardrail("bounds-good", "hostile-ok", json!({})).await;
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let looping = looping.clone();
            tokio::spawn(async move { check(&looping, "x").await })
        })
        .collect();
    let mut done = 0;
    while !loops.iter().all(tokio::task::JoinHandle::is_finished) {
        let start = Instant::now();
        check(&good, "x").await.unwrap();
        assert!(
            start.elapsed() < Duration::from_millis(500),
            "{:?}",
            start.elapsed()
        );
        done += 1;
        tokio::task::yield_now().await;
    }
    assert!(done > 3, "{done} calls while the loops ran");
    for stopped in loops {
        let error = stopped.await.unwrap().unwrap_err();
        assert!(
            matches!(
                error.fault,
                Fault::Trap {
                    kind: TrapKind::CpuLimit,
                    ..
                }
            ),
            "{error}"
        );
    }
}

/// A guardrail that waits for a server that never answers.
async fn waiting(name: &str, silent: &Recorder, queue: u32) -> Arc<Guardrail> {
    guardrail_with(
        name,
        "hostile-slow",
        json!({"url": silent.origin()}),
        |spec| {
            spec.limits.max_instances = Some(1);
            spec.limits.max_queue = Some(queue);
            spec.limits.queue_timeout_ms = Some(100);
        },
    )
    .await
}

#[tokio::test]
async fn calls_beyond_the_instances_wait_a_while_and_then_are_refused() {
    let silent = Recorder::start(Reply::nothing().then_stall()).await;
    let guardrail = waiting("bounds-queue", &silent, 1).await;
    let busy = tokio::spawn({
        let guardrail = guardrail.clone();
        async move { check(&guardrail, "x").await }
    });
    silent.requests().wait_for(1).await;
    let (first, second) = tokio::join!(check(&guardrail, "x"), check(&guardrail, "x"));
    for refused in [first, second] {
        assert!(matches!(refused.unwrap_err().fault, Fault::Overloaded));
    }
    busy.abort();
    assert_eq!(
        stage().count(
            "witgate_plugin_queue_wait_seconds_count",
            &[("plugin", "bounds-queue")]
        ),
        1.0
    );
}

#[tokio::test]
async fn a_call_that_was_given_up_costs_its_instance_and_frees_its_place() {
    let silent = Recorder::start(Reply::nothing().then_stall()).await;
    let guardrail = waiting("bounds-cancel", &silent, 0).await;
    let busy = tokio::spawn({
        let guardrail = guardrail.clone();
        async move { check(&guardrail, "x").await }
    });
    silent.requests().wait_for(1).await;
    busy.abort();
    assert!(busy.await.unwrap_err().is_cancelled());
    let plugin = ("plugin", "bounds-cancel");
    assert_eq!(
        stage().count(
            "witgate_plugin_recycled_total",
            &[plugin, ("reason", "cancelled")]
        ),
        1.0
    );
    assert_eq!(
        stage().count(
            "witgate_plugin_calls_total",
            &[plugin, ("outcome", "cancelled")]
        ),
        1.0
    );
    silent.answer(Reply::status(200, &[], ""));
    assert!(matches!(
        check(&guardrail, "x").await.unwrap(),
        Verdict::Allow
    ));
}

#[tokio::test]
async fn a_warm_instance_serves_many_calls_and_is_replaced_in_time() {
    let guardrail = guardrail_with("bounds-recycle", "hostile-ok", json!({}), |spec| {
        spec.recycle.calls = Some(10)
    })
    .await;
    for _ in 0..25 {
        check(&guardrail, "x").await.unwrap();
    }
    let plugin = ("plugin", "bounds-recycle");
    assert_eq!(
        stage().count("witgate_plugin_instantiations_total", &[plugin]),
        3.0
    );
    assert_eq!(
        stage().count(
            "witgate_plugin_recycled_total",
            &[plugin, ("reason", "calls")]
        ),
        2.0
    );
}

#[tokio::test]
async fn isolation_gives_every_call_a_fresh_instance() {
    let guardrail = guardrail_with("bounds-isolated", "hide-secrets", json!({}), |spec| {
        spec.isolation = Isolation::Call;
    })
    .await;
    for _ in 0..20 {
        assert!(matches!(
            check(&guardrail, "x").await.unwrap(),
            Verdict::Allow
        ));
    }
    let plugin = ("plugin", "bounds-isolated");
    assert_eq!(
        stage().count(
            "witgate_plugin_recycled_total",
            &[plugin, ("reason", "isolation")]
        ),
        20.0
    );
    assert!(stage().count("witgate_plugin_instantiations_total", &[plugin]) >= 20.0);
}

#[tokio::test]
async fn a_thousand_traps_leave_nothing_behind() {
    let good = guardrail("bounds-after", "hostile-ok", json!({})).await;
    for round in 0..250 {
        // Below the number that opens the breaker.
        let name = format!("bounds-traps-{round}");
        let bad = guardrail(&name, "hostile-panic", json!({})).await;
        for _ in 0..4 {
            let error = check(&bad, "x").await.unwrap_err();
            assert!(
                matches!(
                    error.fault,
                    Fault::Trap {
                        kind: TrapKind::Panic,
                        ..
                    }
                ),
                "{error}"
            );
        }
    }
    check(&good, "x").await.unwrap();
}
