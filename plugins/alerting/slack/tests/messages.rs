//! Texts, webhooks and outcomes, without a host.

use slack::delivery::{Fate, outcome, to_remember};
use slack::format::{body, text};
use slack::webhooks::Webhooks;
use witgate_plugin::alerter::{Alert, Level, Outcome};
use witgate_plugin::http::Response;

fn alert(kind: &str) -> Alert {
    Alert {
        id: "1".to_owned(),
        kind: kind.to_owned(),
        level: Level::Medium,
        at_ms: 0,
        local_time: "14:03:22".to_owned(),
        title: "Requests are hanging".to_owned(),
        text: String::new(),
        fields: vec![("Request Model".to_owned(), "gpt`<!channel>".to_owned())],
        metadata: Vec::new(),
        link: None,
        proxy_url: None,
        count: 1,
    }
}

#[test]
fn the_message_is_litellms() {
    assert_eq!(
        text(&alert("llm_requests_hanging")),
        "Alert type: `llm_requests_hanging`\nLevel: `Medium`\nTimestamp: `14:03:22`\n\nMessage: Requests are hanging\n\
         Request Model: `gpt'&lt;!channel&gt;`"
    );
    let full = Alert {
        metadata: vec![("team".to_owned(), "blue".to_owned())],
        proxy_url: Some("https://gateway".to_owned()),
        text: "more".to_owned(),
        fields: Vec::new(),
        count: 3,
        ..alert("daily_reports")
    };
    assert_eq!(
        text(&full),
        "[Num Alerts: 3]\n\nAlert type: `daily_reports`\nRequests are hanging\nmore\n\n*Alerting Metadata*:\nteam: `blue`\n\n\
         Proxy URL: `https://gateway`"
    );
    assert!(body(&alert("x")).starts_with("{\"text\":\"Alert type: `x`\\n"));
    let long = Alert {
        text: "x".repeat(50_000),
        ..alert("x")
    };
    assert_eq!(text(&long).chars().count(), 39_001);
}

#[test]
fn webhooks_by_type_win_over_the_default() {
    let by_kind = r#"{"llm_too_slow": ["https://a", "https://b"], "daily_reports": "https://c"}"#;
    let webhooks = Webhooks::new(Some("https://d".to_owned()), Some(by_kind)).expect("fine");
    let batch = [
        alert("llm_too_slow"),
        alert("daily_reports"),
        alert("outage_alerts"),
    ];
    let posts: Vec<(usize, usize, &str)> = webhooks
        .posts(&batch)
        .iter()
        .map(|post| (post.alert, post.number, post.url))
        .collect();
    assert_eq!(
        posts,
        [
            (0, 0, "https://a"),
            (0, 1, "https://b"),
            (1, 0, "https://c"),
            (2, 0, "https://d")
        ]
    );
}

#[test]
fn settings_that_lead_nowhere_are_refused() {
    let error = Webhooks::new(None, None).expect_err("no webhook");
    assert!(error.text().contains("SLACK_WEBHOOK_URL"), "{error}");
    let error = Webhooks::new(None, Some(r#"{"llm_too_slow": {"hush": 1}}"#)).expect_err("no URL");
    assert!(
        error.text().contains("alert_to_webhook_url.llm_too_slow")
            && !error.text().contains("hush"),
        "{error}"
    );
    for by_kind in [
        r#"{"llm_too_slow": "hush"}"#,
        r#"{"llm_too_slow": ["https://a", "hush"]}"#,
    ] {
        let error = Webhooks::new(None, Some(by_kind)).expect_err("no URL");
        assert!(
            error.text().contains("alert_to_webhook_url.llm_too_slow")
                && !error.text().contains("hush"),
            "{error}"
        );
    }
    let error = Webhooks::new(Some("hush".to_owned()), None).expect_err("no URL");
    assert!(
        error.text().contains("SLACK_WEBHOOK_URL") && !error.text().contains("hush"),
        "{error}"
    );
}

#[test]
fn what_becomes_of_posts_becomes_of_alerts() {
    let webhooks = Webhooks::new(
        None,
        Some(r#"{"two": ["https://a", "https://b"], "one": "https://c"}"#),
    )
    .expect("fine");
    let batch = [alert("two"), alert("one"), alert("none")];
    let posts = webhooks.posts(&batch);
    let answer = |status, headers: &[(&str, &str)]| {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Fate::of(&Response::new(status, headers.collect(), b"why".to_vec()))
    };
    let slow_down = answer(429, &[("retry-after", "3")]);
    let fates = [answer(200, &[]), slow_down.clone(), answer(404, &[])];
    let Outcome::Partial(partial) =
        outcome(3, &posts, &fates, |alert| webhooks.has_any(&batch, alert))
    else {
        panic!("not partial");
    };
    assert_eq!(
        (partial.retry.as_slice(), partial.retry_after_ms),
        (&[0][..], Some(3000))
    );
    let rejected: Vec<u32> = partial.rejected.iter().map(|one| one.index).collect();
    assert_eq!(rejected, [1, 2]);
    assert_eq!(to_remember(&posts, &fates), [&posts[0]]);

    let fates = vec![answer(200, &[]); 2];
    assert!(matches!(
        outcome(1, &posts[..2], &fates, |_| true),
        Outcome::Delivered
    ));
    let fates = vec![slow_down; 2];
    assert!(
        matches!(outcome(1, &posts[..2], &fates, |_| true), Outcome::Retry(again) if again.after_ms == Some(3000))
    );
}
