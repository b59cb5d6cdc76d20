//! What is told of calls, and what is not.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::completed::{Completed, Failure, Outcome, Request, Served, Times};
use crate::hub::{Hub, HubConfig, HubParts, Jitter};
use crate::metrics::EventMetrics;
use crate::redact::SinkRedaction;
use crate::sink::{Delivery, EncodedEvent, Kinds, Sink, SinkEntry, SinkOptions};

struct Listener(mpsc::UnboundedSender<Alert>);

#[async_trait]
impl Sink for Listener {
    async fn deliver(&self, batch: &[EncodedEvent]) -> Delivery {
        for event in batch {
            self.0
                .send(serde_json::from_slice(&event.json).unwrap())
                .unwrap();
        }
        Delivery::Delivered
    }
}

struct Fixture {
    watch: Arc<Watch>,
    told: mpsc::UnboundedReceiver<Alert>,
    now: Arc<Mutex<Timestamp>>,
    token: CancellationToken,
}

impl Fixture {
    fn new(settings: AlertSettings) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let token = CancellationToken::new();
        let parts = HubParts {
            tracker: TaskTracker::new(),
            token: token.clone(),
            metrics: EventMetrics::register(&mut prometheus_client::registry::Registry::default()),
            jitter: Jitter::fixed(0.0),
        };
        let sinks = vec![SinkEntry {
            name: "chat".to_owned(),
            sink: Arc::new(Listener(sender)),
            kinds: Kinds::ALERTS,
            redaction: SinkRedaction::default(),
            options: SinkOptions {
                flush_interval: Duration::ZERO,
                ..SinkOptions::default()
            },
            calls_models: false,
        }];
        let hub = Hub::new(
            parts,
            HubConfig {
                sinks,
                ..HubConfig::default()
            },
        );
        let now = Arc::new(Mutex::new(at(0)));
        let clock = now.clone();
        let settings = AlertSettings {
            is_on: true,
            ..settings
        };
        Self {
            watch: Watch::new(Arc::new(hub), settings, Arc::new(move || *clock.lock())),
            told,
            now,
            token,
        }
    }

    async fn next(&mut self) -> Alert {
        tokio::time::timeout(Duration::from_secs(20), self.told.recv())
            .await
            .unwrap()
            .unwrap()
    }

    /// Nothing was told: what is raised now comes first.
    async fn nothing(&mut self) {
        self.watch.plugin_rests("marker", Duration::ZERO);
        assert_eq!(self.next().await.kind, AlertKind::PluginBreakerOpen);
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn call(seconds: i64, outcome: Outcome) -> Completed {
    Completed {
        call_id: "call-1".to_owned(),
        outcome,
        served: Served {
            model_group: "gpt".to_owned(),
            model_id: "id-1".to_owned(),
            api_base: "https://up.example.com".to_owned(),
            ..Served::default()
        },
        times: Times {
            start: at(0),
            end: at(seconds),
            ..Times::default()
        },
        request: Request {
            body: r#"{"messages":[{"role":"user","content":"hello"}],"metadata":{"alerting_metadata":{"ticket":7}}}"#.into(),
            ..Request::default()
        },
        ..Completed::default()
    }
}

fn failure(class: &'static str, status: u16, message: &str) -> Outcome {
    Outcome::Failure(Failure {
        status: Some(status),
        class: class.into(),
        message: message.to_owned(),
        trace: String::new(),
    })
}

fn field<'a>(alert: &'a Alert, name: &str) -> &'a str {
    let found = alert.fields.iter().find(|(own, _)| own == name);
    found.map_or("", |(_, value)| value.as_str())
}

#[tokio::test]
async fn an_answer_slower_than_the_threshold_is_told() {
    let mut fixture = Fixture::new(AlertSettings {
        threshold: Duration::from_secs(10),
        proxy_url: Some("https://gateway".to_owned()),
        ..AlertSettings::default()
    });
    fixture.watch.ended(&call(10, Outcome::Success));
    fixture.watch.ended(&call(11, Outcome::Success));
    let alert = fixture.next().await;
    assert_eq!(
        (alert.kind, alert.level),
        (AlertKind::LlmTooSlow, Level::Low)
    );
    assert_eq!(
        alert.title,
        "Responses are slow - 11.00s response time > Alerting threshold: 10s"
    );
    assert_eq!(field(&alert, "Request Model"), "gpt");
    assert!(field(&alert, "Messages").contains("hello"), "{alert:?}");
    assert_eq!(alert.metadata, [("ticket".to_owned(), "7".to_owned())]);
    assert_eq!(alert.proxy_url.as_deref(), Some("https://gateway"));
    fixture.nothing().await;

    fixture.watch.configure(AlertSettings {
        is_on: true,
        hide_messages: true,
        ..AlertSettings::default()
    });
    fixture.watch.ended(&call(400, Outcome::Success));
    assert!(!field(&fixture.next().await, "Messages").contains("hello"));
    let quotes = failure("InternalServerError", 500, "cannot answer 'hello'");
    fixture.watch.ended(&call(1, quotes));
    let title = fixture.next().await.title;
    assert_eq!(
        title,
        "LLM API call failed: `cannot answer 'redacted-by-litellm'`"
    );
    fixture.token.cancel();
}

#[tokio::test]
async fn a_failed_call_is_told_unless_it_was_the_callers_fault() {
    let mut fixture = Fixture::new(AlertSettings::default());
    let watch = &fixture.watch;
    for class in [
        "ProxyException",
        "GuardrailRaisedException",
        "ClientDisconnected",
    ] {
        watch.ended(&call(1, failure(class, 400, "no")));
    }
    let mut own = call(1, failure("BadRequestError", 400, "no such model"));
    own.served.model_id.clear();
    watch.ended(&own);
    fixture.nothing().await;
    fixture.watch.ended(&call(
        1,
        failure("NotFoundError", 404, "key sk-abcdefghijklmnop1234 is wrong"),
    ));
    let alert = fixture.next().await;
    assert_eq!(
        (alert.kind, alert.level),
        (AlertKind::LlmExceptions, Level::High)
    );
    assert!(
        alert.title.starts_with("LLM API call failed: `key "),
        "{}",
        alert.title
    );
    assert!(!alert.title.contains("abcdefghijklmnop"), "{}", alert.title);
    assert_eq!(
        (field(&alert, "Exception"), field(&alert, "Status")),
        ("NotFoundError", "404")
    );
}

#[tokio::test]
async fn a_call_that_hangs_is_told_once() {
    let mut fixture = Fixture::new(AlertSettings {
        threshold: Duration::from_secs(10),
        ..AlertSettings::default()
    });
    let begun = |model: &str| Begun {
        model: model.to_owned(),
        ..Begun::default()
    };
    let hanging = fixture.watch.begin(|| begun("slow"));
    let quick = fixture.watch.begin(|| begun("quick"));
    drop(quick);
    fixture.watch.look(at(9));
    fixture.nothing().await;
    fixture.watch.look(at(10));
    let alert = fixture.next().await;
    assert_eq!(alert.title, "Requests are hanging - 10s+ request time");
    assert_eq!(field(&alert, "Request Model"), "slow");
    fixture.watch.look(at(30));
    fixture.nothing().await;
    drop(hanging);
    *fixture.now.lock() = at(40);
    let later = fixture.watch.begin(|| begun("later"));
    fixture.watch.look(at(49));
    fixture.nothing().await;
    drop(later);
}

#[tokio::test]
async fn only_the_kinds_that_are_listed_are_told() {
    let mut fixture = Fixture::new(AlertSettings {
        kinds: vec![AlertKind::PluginBreakerOpen, AlertKind::OutageAlerts],
        minor: 2,
        ..AlertSettings::default()
    });
    assert!(fixture.watch.begin(Begun::default).is_none());
    fixture
        .watch
        .reload_refused(&["config.yaml:1: no".to_owned()]);
    fixture
        .watch
        .ended(&call(1, failure("InternalServerError", 500, "broken")));
    fixture.nothing().await;
    fixture
        .watch
        .attempt_failed(&call(2, failure("InternalServerError", 500, "broken")));
    let alert = fixture.next().await;
    assert_eq!(alert.title, "⚠️ Minor Service Outage");
    assert_eq!(field(&alert, "API Base"), "https://up.example.com");
}

#[tokio::test]
async fn a_refused_configuration_is_told_with_its_problems() {
    let mut fixture = Fixture::new(AlertSettings::default());
    fixture
        .watch
        .reload_refused(&["config.yaml:1: no".to_owned(), "and more".to_owned()]);
    let alert = fixture.next().await;
    assert_eq!(alert.kind, AlertKind::ConfigReloadRefused);
    assert_eq!(alert.text, "```config.yaml:1: no\nand more```");
}

#[tokio::test]
async fn nothing_is_watched_when_nobody_listens() {
    let fixture = Fixture::new(AlertSettings::default());
    fixture.watch.configure(AlertSettings::default());
    assert!(fixture.watch.begin(|| panic!("nobody asked")).is_none());
    fixture.watch.ended(&call(999, Outcome::Success));
    fixture.watch.look(at(999));
}

#[test]
fn names_of_kinds_are_read_back() {
    for kind in AlertKind::ALL {
        assert_eq!(AlertKind::parse(kind.as_str()), Some(kind));
        assert_eq!(
            serde_json::to_string(&kind).unwrap(),
            format!("\"{}\"", kind.as_str())
        );
    }
    assert_eq!(AlertKind::parse("fallback_reports"), None);
}
