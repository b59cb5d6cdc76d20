use std::sync::Arc;

use super::*;

fn report(digest: &str, before: Option<&Arc<Report>>) -> Arc<Report> {
    Report::of("guard", digest, before, &ShadowMetrics::default())
}

async fn shadow(percent: f64, concurrency: usize) -> Arc<Shadow> {
    let background = Background {
        runtime: Handle::current(),
        tasks: TaskTracker::new(),
    };
    let share = Share {
        percent,
        concurrency,
    };
    Arc::new(Shadow::new(background, share, report("a", None)))
}

fn said(verdict: &'static str, content: &[(&str, u64)]) -> Judgement {
    let content = content
        .iter()
        .map(|(name, print)| ((*name).to_owned(), *print));
    Judgement {
        verdict,
        content: content.collect(),
        ..Judgement::default()
    }
}

#[tokio::test]
async fn a_share_of_the_calls_is_judged_the_same_in_each_phase() {
    for (percent, expected) in [(0.0, 0..=0), (10.0, 60..=140), (100.0, 1000..=1000)] {
        let shadow = shadow(percent, 2000).await;
        let calls: Vec<String> = (0..1000).map(|n| format!("call-{n}")).collect();
        let turns = || {
            calls
                .iter()
                .map(|id| shadow.turn_of_call(id).is_some())
                .collect::<Vec<_>>()
        };
        let first = turns();
        assert_eq!(first, turns());
        let count = first.iter().filter(|due| **due).count();
        assert!(expected.contains(&count), "{percent} %: {count}");
        let requests = (0..1000).filter(|_| shadow.turn_of_request().is_some());
        assert_eq!(requests.count(), (percent * 10.0) as usize, "{percent} %");
    }
}

#[tokio::test]
async fn what_comes_while_all_are_busy_is_dropped_and_counted() {
    let shadow = shadow(100.0, 1).await;
    let turn = shadow.turn_of_request();
    assert!(turn.is_some());
    assert!(shadow.turn_of_request().is_none());
    assert_eq!(shadow.report.shown()["judgements"]["dropped"], 1);
    drop(turn);
    assert!(shadow.turn_of_request().is_some());
}

#[test]
fn differences_are_told_by_verdict_and_place_without_content() {
    let report = report("a", None);
    let facts = Facts::default();
    let long = "x".repeat(1000);
    let edit = said("edit", &[("/a", 1), ("/b", 2)]);
    report.judged(&edit, &edit.clone(), &facts);
    report.judged(
        &edit,
        &said(
            "edit",
            &[("/a", 1), ("/b", 3), (long.as_str(), 4), ("/\u{1b}", 5)],
        ),
        &facts,
    );
    report.judged(&said("allow", &[]), &said("block", &[]), &facts);
    report.judged(&said("allow", &[]), &Judgement::failed(), &facts);
    let shown = report.shown();
    assert_eq!(
        shown["judgements"],
        json!({"same": 1, "different": 2, "failed": 1, "dropped": 0})
    );
    assert_eq!(
        shown["by_verdict"],
        json!({"allow → block": 1, "edit → edit": 1})
    );
    let newest = &shown["differences"];
    assert_eq!(newest[0]["live"], json!({"verdict": "allow"}));
    let places = &newest[1]["differs_at"];
    assert_eq!(places[0], "/\u{fffd}");
    assert_eq!(places[1], "/b");
    assert_eq!(places[2].as_str().map(str::len), Some(NAME_BYTES_MAX));
    for _ in 0..200 {
        report.judged(&said("allow", &[]), &said("block", &[]), &facts);
    }
    assert_eq!(
        report.shown()["differences"].as_array().map(Vec::len),
        Some(DIFFERENCES_MAX)
    );
}

#[test]
fn a_report_belongs_to_one_version() {
    let first = report("a", None);
    first.dropped();
    assert!(Arc::ptr_eq(&first, &report("a", Some(&first))));
    let other = report("b", Some(&first));
    assert_eq!(other.shown()["judgements"]["dropped"], 0);
}

#[test]
fn a_print_does_not_depend_on_the_pieces() {
    let mut print = Print::default();
    print.add("All ");
    print.add("quiet");
    assert_eq!(print.number(), Print::of("All quiet"));
    assert_ne!(print.number(), Print::of("All quite"));
}
