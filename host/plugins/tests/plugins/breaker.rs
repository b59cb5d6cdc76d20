//! A plugin that keeps failing is left alone.

use serde_json::json;
use witgate_plugins::{Fault, Kind};

use crate::support::{check, load, spec, stage};

#[tokio::test]
async fn after_five_crashes_it_is_not_called() {
    let registry = load(spec(
        "breaker-crash",
        "hostile-panic",
        Kind::Guardrail,
        json!({}),
    ))
    .await
    .unwrap();
    let guardrail = registry.guardrail("breaker-crash").unwrap();
    for _ in 0..5 {
        let error = check(&guardrail, "x").await.unwrap_err();
        assert!(matches!(error.fault, Fault::Trap { .. }), "{error}");
    }
    let made = || {
        stage().count(
            "witgate_plugin_instantiations_total",
            &[("plugin", "breaker-crash")],
        )
    };
    let before = made();
    for _ in 0..3 {
        let error = check(&guardrail, "x").await.unwrap_err();
        assert!(matches!(error.fault, Fault::BreakerOpen { .. }), "{error}");
    }
    assert_eq!(
        made(),
        before,
        "no instance is made for a call that is refused"
    );
    let plugin = ("plugin", "breaker-crash");
    assert_eq!(
        stage().count("witgate_plugin_breaker_state", &[plugin]),
        1.0
    );
    assert_eq!(
        stage().count(
            "witgate_plugin_calls_total",
            &[plugin, ("outcome", "breaker_open")]
        ),
        3.0
    );
    assert_eq!(registry.describe()[0].state, "failing, breaker open");
}

#[tokio::test]
async fn errors_that_are_not_its_fault_do_not_count() {
    let registry = load(spec(
        "breaker-denied",
        "hostile-ungranted-host",
        Kind::Guardrail,
        json!({}),
    ))
    .await
    .unwrap();
    let guardrail = registry.guardrail("breaker-denied").unwrap();
    for _ in 0..30 {
        let error = check(&guardrail, "x").await.unwrap_err();
        assert!(matches!(error.fault, Fault::Plugin(_)), "{error}");
    }
    assert_eq!(registry.describe()[0].state, "ready");
}
