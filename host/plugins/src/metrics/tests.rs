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
        encoded.contains("\nwitgate_plugin_custom_sent_total{plugin=\"sink\",status=\"207\"} 4"),
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

#[test]
fn metrics_of_exact_names_are_defined_first_and_keep_their_bounds() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let [sink, other] = ["sink", "other"].map(|name| metrics.named.book(&name.into(), &[]));
    let prefixes = ["acme_".to_owned()];
    let metric = |name: &str, kind, labels: &[&str]| Definition {
        name: name.to_owned(),
        kind,
        help: "Help".to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        buckets: vec![0.5, 1.0],
    };
    let all = || {
        vec![
            metric("acme_calls_total", NamedKind::Counter, &["model"]),
            metric("acme_left", NamedKind::Gauge, &[]),
            metric("acme_seconds", NamedKind::Histogram, &["model"]),
        ]
    };
    let put = |book: &Book, name: &str, labels: &[&str], value: f64| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        book.record([(name.to_owned(), labels, value)]) == 0
    };
    assert!(
        !put(&sink, "acme_calls_total", &["m"], 1.0),
        "not defined yet"
    );
    sink.define(&prefixes, all()).unwrap();
    assert!(put(&sink, "acme_calls_total", &["m"], 1.5));
    assert!(put(&sink, "acme_calls_total", &["m"], 1.0));
    assert!(put(&sink, "acme_left", &[], f64::INFINITY));
    assert!(put(&sink, "acme_seconds", &["m\n\"x"], 0.7));
    let encoded = text(&registry);
    for line in [
        "# TYPE acme_calls counter",
        r#"acme_calls_total{model="m"} 2.5"#,
        "acme_left{} inf",
        r#"acme_seconds_bucket{le="1.0",model="m\n\"x"} 1"#,
    ] {
        assert!(encoded.contains(line), "{line} is not in\n{encoded}");
    }

    for (name, labels, value) in [
        ("acme_calls_total", &["m", "n"][..], 1.0),
        ("acme_calls_total", &["m"], -1.0),
        ("acme_calls_total", &["m"], f64::NAN),
        ("acme_unknown", &[], 1.0),
    ] {
        assert!(
            !put(&sink, name, labels, value),
            "{name} {labels:?} {value}"
        );
    }
    assert!(!put(&other, "acme_left", &[], 1.0), "not its own");
    assert!(
        other
            .define(&prefixes, all())
            .unwrap_err()
            .contains("belongs")
    );
    for (wrong, told) in [
        (metric("witgate_x", NamedKind::Gauge, &[]), "prefix"),
        (metric("acme_x-y", NamedKind::Gauge, &[]), "no name"),
        (metric("acme_x_total", NamedKind::Gauge, &[]), "_total"),
        (metric("acme_x", NamedKind::Gauge, &["a", "a"]), "twice"),
        (metric("acme_x", NamedKind::Gauge, &["le"]), "label"),
    ] {
        let error = sink.define(&prefixes, vec![wrong]).unwrap_err();
        assert!(error.contains(told), "{error}");
    }
    // What did not change keeps its series; what is gone goes with them.
    sink.define(&prefixes, all().into_iter().take(1).collect())
        .unwrap();
    let encoded = text(&registry);
    assert!(
        encoded.contains(r#"acme_calls_total{model="m"} 2.5"#),
        "{encoded}"
    );
    assert!(!encoded.contains("acme_left"), "{encoded}");
    let kept = (0..30_000).filter(|i| put(&sink, "acme_calls_total", &[&i.to_string()], 1.0));
    assert_eq!(kept.count(), 19_999, "20 000 with the one above");
}

#[test]
fn a_name_is_free_again_when_the_plugin_that_used_it_is_gone() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let prefixes = ["acme_".to_owned()];
    let calls = |labels: &[&str]| {
        vec![Definition {
            name: "acme_calls_total".to_owned(),
            kind: NamedKind::Counter,
            help: "Help".to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            buckets: Vec::new(),
        }]
    };
    let put = |book: &Book, labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        book.record([("acme_calls_total".to_owned(), labels, 1.0)])
    };
    let old = metrics.named.book(&"sink".into(), &[]);
    old.define(&prefixes, calls(&["model"])).unwrap();
    put(&old, &["m"]);

    // Renamed: while both are there, they count in the same series.
    let renamed = metrics
        .named
        .book(&"renamed".into(), std::slice::from_ref(&old));
    renamed.define(&prefixes, calls(&["model"])).unwrap();
    old.define(&prefixes, calls(&["model"])).unwrap();
    assert_eq!((put(&old, &["m"]), put(&renamed, &["m"])), (0, 0));
    assert!(text(&registry).contains(r#"acme_calls_total{model="m"} 3"#));
    drop(old);
    assert!(text(&registry).contains(r#"acme_calls_total{model="m"} 3"#));

    // A version with other labels that goes again takes nothing with it.
    let odd = metrics
        .named
        .book(&"renamed".into(), std::slice::from_ref(&renamed));
    odd.define(&prefixes, calls(&["team"])).unwrap();
    assert_eq!(put(&odd, &["t"]), 0);
    assert_eq!(put(&renamed, &["m"]), 0, "the old one counts on");
    drop(odd);
    assert!(text(&registry).contains(r#"acme_calls_total{model="m"} 4"#));

    let stranger = metrics.named.book(&"stranger".into(), &[]);
    assert!(stranger.define(&prefixes, calls(&["model"])).is_err());
    drop(renamed);
    assert!(!text(&registry).contains("acme_calls"));
    stranger.define(&prefixes, calls(&["model"])).unwrap();
}
