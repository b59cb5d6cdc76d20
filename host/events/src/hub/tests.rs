//! Delivery under a clock that the test moves: batches, retries, bounds, drain, replacement.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::advance;

use super::*;
use crate::completed::{Audience, Failure, Outcome, Request};
use crate::redact::SinkRedaction;
use crate::sink::{Delivery, EncodedEvent, Kinds, RetryPolicy, Sink, SinkOptions};

/// A sink that tells what it gets and answers by a script, then with `Delivered`.
struct Scripted {
    script: Mutex<VecDeque<Step>>,
    seen: mpsc::UnboundedSender<Vec<EncodedEvent>>,
}

enum Step {
    Answer(Delivery),
    Hang,
    Panic,
}

#[async_trait]
impl Sink for Scripted {
    async fn deliver(&self, batch: &[EncodedEvent]) -> Delivery {
        self.seen.send(batch.to_vec()).unwrap();
        let step = self.script.lock().pop_front();
        match step {
            None => Delivery::Delivered,
            Some(Step::Answer(delivery)) => delivery,
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Panic) => panic!("as scripted"),
        }
    }
}

/// A hub and what its sinks got.
struct Fixture {
    hub: Hub,
    registry: Registry,
    tracker: TaskTracker,
    token: CancellationToken,
}

type Seen = mpsc::UnboundedReceiver<Vec<EncodedEvent>>;

impl Fixture {
    fn new(sinks: Vec<SinkEntry>) -> Self {
        let mut registry = Registry::default();
        let tracker = TaskTracker::new();
        let token = CancellationToken::new();
        let hub = Hub::new(
            HubParts {
                tracker: tracker.clone(),
                token: token.clone(),
                metrics: EventMetrics::register(&mut registry),
                jitter: Jitter::fixed(0.0),
            },
            config(sinks),
        );
        Self {
            hub,
            registry,
            tracker,
            token,
        }
    }

    fn publish(&self, ids: impl IntoIterator<Item = usize>) {
        for id in ids {
            self.hub.publish(call(id));
        }
    }

    fn metric(&self, name: &str, sink: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let start = format!("witgate_events_{name}{{sink=\"{sink}\"}} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap_or_else(|| panic!("no {start} in {text}"))
            .parse()
            .unwrap()
    }
}

fn config(sinks: Vec<SinkEntry>) -> HubConfig {
    HubConfig {
        sinks,
        ..Default::default()
    }
}

fn call(id: usize) -> Completed {
    Completed {
        call_id: format!("{id}"),
        ..Default::default()
    }
}

fn failed(id: usize) -> Completed {
    Completed {
        outcome: Outcome::Failure(Failure::default()),
        ..call(id)
    }
}

fn options() -> SinkOptions {
    SinkOptions {
        batch_size: 3,
        flush_interval: Duration::from_secs(5),
        ..Default::default()
    }
}

fn sink(name: &str, options: SinkOptions, script: Vec<Step>) -> (SinkEntry, Seen) {
    let (seen, receiver) = mpsc::unbounded_channel();
    let entry = SinkEntry {
        name: name.to_owned(),
        sink: Arc::new(Scripted {
            script: Mutex::new(script.into()),
            seen,
        }),
        kinds: Kinds::CALLS,
        redaction: SinkRedaction::default(),
        options,
        calls_models: false,
    };
    (entry, receiver)
}

fn retry_after(after: Option<Duration>) -> Step {
    Step::Answer(Delivery::Retry {
        after,
        reason: "503".to_owned(),
    })
}

fn ids(batch: &[EncodedEvent]) -> Vec<usize> {
    batch
        .iter()
        .map(|event| event.id.parse().unwrap())
        .collect()
}

async fn next(seen: &mut Seen) -> Vec<usize> {
    ids(&seen.recv().await.unwrap())
}

/// Lets all tasks run until they wait for something.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

const S: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_full_batch_leaves_at_once_the_rest_after_the_interval() {
    let (entry, mut seen) = sink("a", options(), vec![]);
    let fixture = Fixture::new(vec![entry]);
    let start = Instant::now();
    fixture.publish(0..7);
    assert_eq!(next(&mut seen).await, [0, 1, 2]);
    assert_eq!(next(&mut seen).await, [3, 4, 5]);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(next(&mut seen).await, [6]);
    assert_eq!(start.elapsed().as_secs(), 5);
    settle().await;
    assert_eq!(fixture.metric("delivered_total", "a"), 7.0);
    assert_eq!(fixture.metric("queued", "a"), 0.0);
    assert_eq!(fixture.metric("queued_bytes", "a"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_bounded_by_bytes() {
    let (entry, mut seen) = sink(
        "a",
        SinkOptions {
            batch_size: 100,
            batch_bytes: 20_000,
            ..options()
        },
        vec![],
    );
    let fixture = Fixture::new(vec![entry]);
    for id in 0..5 {
        fixture.hub.publish(Completed {
            response: Some(Bytes::from(format!("\"{}\"", "x".repeat(6_000)))),
            ..call(id)
        });
    }
    // One larger than any batch goes alone.
    fixture.hub.publish(Completed {
        response: Some(Bytes::from(format!("\"{}\"", "x".repeat(300_000)))),
        ..call(5)
    });
    let mut all = Vec::new();
    while all.len() < 6 {
        let batch = seen.recv().await.unwrap();
        let bytes: usize = batch.iter().map(|event| event.json.len()).sum();
        assert!(
            bytes <= 20_000 || batch.len() == 1,
            "{bytes} in {}",
            batch.len()
        );
        all.extend(ids(&batch));
    }
    assert_eq!(all, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_delivery_is_repeated_with_growing_waits_and_in_order() {
    let script = vec![
        retry_after(None),
        retry_after(None),
        Step::Panic,
        Step::Hang,
    ];
    let (entry, mut seen) = sink(
        "a",
        SinkOptions {
            deliver_timeout: 10 * S,
            ..options()
        },
        script,
    );
    let fixture = Fixture::new(vec![entry]);
    let start = Instant::now();
    fixture.publish(0..4);
    let mut times = Vec::new();
    for _ in 0..5 {
        assert_eq!(next(&mut seen).await, [0, 1, 2]);
        times.push(start.elapsed().as_millis());
    }
    // Waits 0.5, 1, 2 s; then the hanging call's 10 s and 4 s of wait.
    assert_eq!(times, [0, 500, 1500, 3500, 17500]);
    assert_eq!(next(&mut seen).await, [3]);
    settle().await;
    assert_eq!(fixture.metric("retried_total", "a"), 12.0);
    assert_eq!(fixture.metric("delivered_total", "a"), 4.0);
    assert_eq!(fixture.metric("dropped_total", "a"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn the_receivers_wish_is_followed_within_reason() {
    for (wish, waited) in [(7, 7), (3600, 60)] {
        let (entry, mut seen) = sink("a", options(), vec![retry_after(Some(wish * S))]);
        let fixture = Fixture::new(vec![entry]);
        fixture.publish(0..3);
        seen.recv().await.unwrap();
        let start = Instant::now();
        seen.recv().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), waited);
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_delivery_repeats_only_what_is_left() {
    let partial = Delivery::Partial {
        retry: vec![2, 0, 99],
        rejected: vec![(2, "too old".to_owned()), (77, "no such".to_owned())],
        after: None,
    };
    let (entry, mut seen) = sink("a", options(), vec![Step::Answer(partial)]);
    let fixture = Fixture::new(vec![entry]);
    fixture.publish(0..3);
    assert_eq!(next(&mut seen).await, [0, 1, 2]);
    assert_eq!(next(&mut seen).await, [0]);
    settle().await;
    assert_eq!(fixture.metric("delivered_total", "a"), 2.0);
    assert_eq!(fixture.metric("dropped_total", "a"), 1.0);
    assert_eq!(fixture.metric("queued", "a"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn retries_end_by_attempts_or_by_time_and_the_next_batch_is_tried() {
    let by_attempts = RetryPolicy {
        attempts: 3,
        ..Default::default()
    };
    let by_time = RetryPolicy {
        give_up_after: Duration::from_secs(3),
        ..Default::default()
    };
    for (retry, attempts) in [(by_attempts, 3), (by_time, 3)] {
        let script = (0..attempts).map(|_| retry_after(None)).collect();
        let (entry, mut seen) = sink("a", SinkOptions { retry, ..options() }, script);
        let fixture = Fixture::new(vec![entry]);
        fixture.publish(0..4);
        for _ in 0..attempts {
            assert_eq!(next(&mut seen).await, [0, 1, 2]);
        }
        assert_eq!(next(&mut seen).await, [3]);
        settle().await;
        assert_eq!(fixture.metric("dropped_total", "a"), 3.0);
        assert_eq!(fixture.metric("delivered_total", "a"), 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rejected_batch_is_dropped_without_repetition() {
    let rejected = Delivery::Rejected {
        reason: "401".to_owned(),
    };
    let (entry, mut seen) = sink("a", options(), vec![Step::Answer(rejected)]);
    let fixture = Fixture::new(vec![entry]);
    fixture.publish(0..6);
    assert_eq!(next(&mut seen).await, [0, 1, 2]);
    assert_eq!(next(&mut seen).await, [3, 4, 5]);
    settle().await;
    assert_eq!(fixture.metric("dropped_total", "a"), 3.0);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_the_new_event_and_harms_no_other_sink() {
    let (stuck, mut stuck_seen) = sink(
        "stuck",
        SinkOptions {
            queue_items: 4,
            ..options()
        },
        vec![Step::Hang],
    );
    let (fine, mut fine_seen) = sink("fine", options(), vec![]);
    let fixture = Fixture::new(vec![stuck, fine]);
    fixture.publish(0..3);
    assert_eq!(next(&mut stuck_seen).await, [0, 1, 2]);
    // Events in delivery count: one more fits.
    let all = Published {
        queued: 2,
        refused: 0,
    };
    assert_eq!(fixture.hub.publish(call(3)), all);
    let one = Published {
        queued: 1,
        refused: 1,
    };
    assert_eq!(fixture.hub.publish(call(4)), one);
    assert_eq!(fixture.hub.publish(call(5)), one);
    assert_eq!(next(&mut fine_seen).await, [0, 1, 2]);
    assert_eq!(next(&mut fine_seen).await, [3, 4, 5]);
    // The delivery times out, is repeated, and there is room again.
    assert_eq!(next(&mut stuck_seen).await, [0, 1, 2]);
    assert_eq!(next(&mut stuck_seen).await, [3]);
    settle().await;
    assert_eq!(fixture.hub.publish(call(6)), all);
    assert_eq!(fixture.metric("refused_total", "stuck"), 2.0);
    assert_eq!(fixture.metric("refused_total", "fine"), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_bounded_by_bytes() {
    let (entry, _seen) = sink(
        "a",
        SinkOptions {
            queue_bytes: 12_000,
            ..options()
        },
        vec![],
    );
    let fixture = Fixture::new(vec![entry]);
    let heavy = |id| Completed {
        request: Request {
            body: Bytes::from(vec![b'x'; 5_000]),
            ..Default::default()
        },
        ..call(id)
    };
    assert_eq!(fixture.hub.publish(heavy(0)).queued, 1);
    assert_eq!(fixture.hub.publish(heavy(1)).refused, 1);
    assert_eq!(fixture.hub.publish(call(2)).queued, 1);
    assert_eq!(fixture.hub.state()[0].queued, 2);
}

#[tokio::test(start_paused = true)]
async fn a_drain_delivers_what_waits_without_filling_batches() {
    let script = vec![retry_after(Some(60 * S))];
    let (entry, mut seen) = sink("a", options(), script);
    let fixture = Fixture::new(vec![entry]);
    fixture.publish(0..5);
    assert_eq!(next(&mut seen).await, [0, 1, 2]);
    settle().await;
    let start = Instant::now();
    // The drain does not sit out the wait.
    assert_eq!(fixture.hub.drain(10 * S).await, DrainReport::default());
    assert_eq!(next(&mut seen).await, [0, 1, 2]);
    assert_eq!(next(&mut seen).await, [3, 4]);
    assert!(start.elapsed() < S, "{:?}", start.elapsed());
    assert_eq!(
        fixture.hub.publish(call(9)),
        Published {
            queued: 0,
            refused: 1
        }
    );
    fixture.tracker.close();
    fixture.tracker.wait().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_and_tells_what_is_lost() {
    let (dead, _dead_seen) = sink(
        "dead",
        options(),
        (0..99).map(|_| retry_after(None)).collect(),
    );
    let (hangs, mut hangs_seen) = sink("hangs", options(), vec![Step::Hang]);
    let (fine, _fine_seen) = sink("fine", options(), vec![]);
    let fixture = Fixture::new(vec![dead, hangs, fine]);
    fixture.publish(0..5);
    assert_eq!(next(&mut hangs_seen).await, [0, 1, 2]);
    let start = Instant::now();
    let report = fixture.hub.drain(4 * S).await;
    assert_eq!(start.elapsed().as_secs(), 4);
    assert_eq!(
        report.undelivered,
        [("dead".to_owned(), 5), ("hangs".to_owned(), 5)]
    );
    for sink in ["dead", "hangs"] {
        assert_eq!(fixture.metric("dropped_total", sink), 5.0);
        assert_eq!(fixture.metric("queued", sink), 0.0);
    }
    assert_eq!(fixture.metric("delivered_total", "fine"), 5.0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_token_ends_at_once() {
    let (entry, mut seen) = sink("a", options(), vec![Step::Hang]);
    let fixture = Fixture::new(vec![entry]);
    fixture.publish(0..5);
    seen.recv().await.unwrap();
    let start = Instant::now();
    fixture.token.cancel();
    fixture.tracker.close();
    fixture.tracker.wait().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(fixture.metric("dropped_total", "a"), 5.0);
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_keeps_queues_and_drains_removed_sinks() {
    let (kept, mut kept_seen) = sink("kept", options(), vec![]);
    let (removed, mut removed_seen) = sink("removed", options(), vec![retry_after(None)]);
    let fixture = Fixture::new(vec![kept, removed]);
    fixture.publish(0..2);

    let (kept_new, mut kept_new_seen) = sink("kept", options(), vec![]);
    let (added, mut added_seen) = sink("added", options(), vec![]);
    let start = Instant::now();
    fixture.hub.replace(config(vec![kept_new, added]));
    fixture.publish(2..5);
    // What was queued for the old sink goes to the new one of the same name, in order.
    assert_eq!(next(&mut kept_new_seen).await, [0, 1, 2]);
    assert_eq!(next(&mut added_seen).await, [2, 3, 4]);
    // The removed one delivers what it had, retries included, and gets nothing new.
    assert_eq!(next(&mut removed_seen).await, [0, 1]);
    assert_eq!(next(&mut removed_seen).await, [0, 1]);
    assert!(start.elapsed() < 2 * S);
    assert_eq!(fixture.hub.drain(S).await, DrainReport::default());
    assert_eq!(next(&mut kept_new_seen).await, [3, 4]);
    assert!(kept_seen.try_recv().is_err() && removed_seen.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_shorter_interval_holds_for_what_already_waits() {
    let (entry, mut seen) = sink("a", options(), vec![]);
    let fixture = Fixture::new(vec![entry.clone()]);
    fixture.publish(0..1);
    settle().await;
    advance(S).await;
    let start = Instant::now();
    let options = SinkOptions {
        flush_interval: 2 * S,
        ..options()
    };
    fixture
        .hub
        .replace(config(vec![SinkEntry { options, ..entry }]));
    assert_eq!(next(&mut seen).await, [0]);
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn sinks_get_the_kinds_they_want_and_requests_may_switch_them_off() {
    let (mut successes, mut successes_seen) = sink("Successes", options(), vec![]);
    successes.kinds = Kinds::SUCCESS;
    let (mut failures, mut failures_seen) = sink("failures", options(), vec![]);
    failures.kinds = Kinds::FAILURE;
    let (mut proxy, mut proxy_seen) = sink("proxy", options(), vec![]);
    proxy.kinds = Kinds {
        alert: false,
        proxy_failure: true,
        ..Kinds::SUCCESS
    };
    let fixture = Fixture::new(vec![successes, failures, proxy]);
    assert!(fixture.hub.wants(EventKind::ProxyFailure));
    fixture.publish(0..1);
    fixture.hub.publish(failed(1));
    fixture.hub.publish(Completed {
        audience: Audience {
            except: vec![" successes ".to_owned()],
            none: false,
            ..Audience::default()
        },
        ..call(2)
    });
    fixture.hub.publish(Completed {
        audience: Audience {
            except: vec![],
            none: true,
            ..Audience::default()
        },
        ..call(3)
    });
    fixture.hub.publish_proxy_failure(ProxyFailure {
        call_id: "4".to_owned(),
        ..Default::default()
    });
    fixture.hub.drain(S).await;
    assert_eq!(next(&mut successes_seen).await, [0]);
    assert_eq!(next(&mut failures_seen).await, [1]);
    let batch = proxy_seen.recv().await.unwrap();
    assert_eq!(ids(&batch), [0, 2, 4]);
    assert_eq!(batch[2].kind, EventKind::ProxyFailure);
    assert!(successes_seen.try_recv().is_err() && failures_seen.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_a_plugin_made_goes_to_no_sink_that_calls_models() {
    let (judge, mut judged) = sink("judge", options(), vec![]);
    let judge = SinkEntry {
        calls_models: true,
        ..judge
    };
    let (plain, mut seen) = sink("plain", options(), vec![]);
    let fixture = Fixture::new(vec![judge, plain]);
    fixture.hub.publish(Completed {
        audience: Audience {
            origin: Origin::PluginForCall,
            ..Audience::default()
        },
        ..call(0)
    });
    fixture.hub.publish(call(1));
    fixture.hub.drain(Duration::from_secs(1)).await;
    assert_eq!(judged.recv().await.unwrap().len(), 1);
    assert_eq!(seen.recv().await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_listed_twice_is_one_sink() {
    let (first, mut seen) = sink("a", options(), vec![]);
    let first = SinkEntry {
        kinds: Kinds::SUCCESS,
        ..first
    };
    let second = SinkEntry {
        kinds: Kinds::FAILURE,
        ..first.clone()
    };
    let fixture = Fixture::new(vec![first, second]);
    fixture.hub.publish(call(0));
    fixture.hub.publish(failed(1));
    fixture.hub.drain(S).await;
    assert_eq!(next(&mut seen).await, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn each_sink_gets_its_own_redaction_and_equal_ones_share_the_work() {
    let (open, mut open_seen) = sink("open", options(), vec![]);
    let (also, mut also_seen) = sink("also", options(), vec![]);
    let (mut closed, mut closed_seen) = sink("closed", options(), vec![]);
    closed.redaction.message_logging = false;
    let fixture = Fixture::new(vec![open, also, closed]);
    fixture.hub.publish(Completed {
        request: Request {
            body: Bytes::from_static(br#"{"messages":[{"role":"user","content":"launch code"}]}"#),
            ..Default::default()
        },
        ..call(0)
    });
    fixture.hub.drain(S).await;
    let open = open_seen.recv().await.unwrap().remove(0);
    let also = also_seen.recv().await.unwrap().remove(0);
    let closed = closed_seen.recv().await.unwrap().remove(0);
    let has_prompt = |event: &EncodedEvent| event.json.windows(6).any(|part| part == b"launch");
    assert!(has_prompt(&open) && !has_prompt(&closed));
    assert_eq!(open.json.as_ptr(), also.json.as_ptr());
}
