use std::sync::Arc;

use super::*;

fn text(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    text
}

#[test]
fn calls_are_counted_by_plugin_function_and_outcome() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let plugin = metrics.plugin("masker", &["init", "check"]);
    plugin.called(1, Outcome::Ok, Duration::from_micros(30));
    plugin.called(1, Outcome::Trap, Duration::from_millis(3));
    plugin.trapped(TrapKind::Panic);
    plugin.denied("egress");
    let text = text(&registry);
    for line in [
        r#"witgate_plugin_calls_total{plugin="masker",function="check",outcome="ok"} 1"#,
        r#"witgate_plugin_calls_total{plugin="masker",function="check",outcome="trap"} 1"#,
        r#"witgate_plugin_call_seconds_count{plugin="masker",function="check"} 2"#,
        r#"witgate_plugin_traps_total{plugin="masker",kind="panic"} 1"#,
        r#"witgate_plugin_denials_total{plugin="masker",kind="egress"} 1"#,
        r#"witgate_plugin_breaker_state{plugin="masker"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(
        !text.contains(r#"outcome="timeout""#),
        "what never happened has no series"
    );
}

#[test]
fn custom_metrics_carry_the_plugins_name_and_keep_their_bounds() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let plugin: Arc<str> = "sink".into();
    let label = |value: &str| vec![("status".to_owned(), value.to_owned())];
    let add = |name: &str, labels| {
        metrics
            .custom
            .record(&plugin, CustomKind::Counter, name, labels, 2.0)
    };
    assert!(add("sent", label("207")));
    assert!(add("sent", label("207")));
    assert!(
        metrics
            .custom
            .record(&plugin, CustomKind::Histogram, "lag", vec![], 0.2)
    );
    let encoded = text(&registry);
    assert!(
        encoded.contains(r#"witgate_plugin_custom_sent_total{plugin="sink",status="207"} 4"#),
        "{encoded}"
    );
    assert!(
        encoded.contains(r#"witgate_plugin_custom_lag_bucket{le="0.25",plugin="sink"} 1"#),
        "{encoded}"
    );

    assert!(!add("bad name", vec![]));
    assert!(!add("lag", vec![]), "a histogram cannot be a counter, too");
    assert!(!add(
        "sent",
        vec![("plugin".to_owned(), "other".to_owned())]
    ));
    assert!(!add(
        "sent",
        (0..9).map(|i| (format!("l{i}"), String::new())).collect()
    ));
    let series = (0..1000)
        .filter(|i| add("sent", label(&i.to_string())))
        .count();
    assert!(series < 300, "{series} series");
    let names = (0..100)
        .filter(|i| add(&format!("name{i}"), vec![]))
        .count();
    assert_eq!(names, 62, "64 with those above");
}
