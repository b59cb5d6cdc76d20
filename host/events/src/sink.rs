//! What a sink is to the hub: a name, the events it wants, how to deliver, and what it may see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::completed::Dynamic;
use crate::redact::SinkRedaction;

/// Delivers events somewhere. One call is made at a time per sink, in the order of the events.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Delivers a batch, which is never empty. The hub bounds the call's time, and calls again with the
    /// same events when told to retry.
    async fn deliver(&self, batch: &[EncodedEvent]) -> Delivery;
}

/// One event, encoded and redacted for the sink that gets it.
#[derive(Debug, Clone)]
pub struct EncodedEvent {
    /// Id of the event: `id` of the standard event. Stays the same when a delivery is repeated.
    pub id: String,
    /// What the event is about.
    pub kind: EventKind,
    /// The standard event (`StandardLoggingPayload`), the proxy failure, the alert, the service's event, or the row of the
    /// audit log, as JSON.
    pub json: Bytes,
    /// What LiteLLM's sinks read beside the event, as a JSON object with the members `request`,
    /// `timing`, `trace` and `exception`. `{}` for a proxy failure and an alert.
    pub context: Bytes,
    /// Parameters of this request for sinks, credentials among them. A sink adapter passes on only
    /// those that belong to its own kind of sink.
    pub dynamic: Arc<Dynamic>,
}

impl EncodedEvent {
    /// The context with a member `dynamic`: the request's parameters for sinks whose name `belongs` to
    /// this sink. Without any, the context as it is.
    pub fn context_with_dynamic(&self, belongs: impl Fn(&str) -> bool) -> Bytes {
        let own: BTreeMap<&String, &String> = self
            .dynamic
            .0
            .iter()
            .filter(|(name, _)| belongs(name))
            .collect();
        let open = self.context.strip_suffix(b"}").filter(|_| !own.is_empty());
        let (Some(open), Ok(own)) = (open, serde_json::to_vec(&own)) else {
            return self.context.clone();
        };
        let comma: &[u8] = if open == b"{" { b"" } else { b"," };
        [open, comma, b"\"dynamic\":", &own, b"}"].concat().into()
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A call that got an answer.
    Success,
    /// A call, or an attempt, that failed.
    Failure,
    /// A request that failed before any model was called.
    ProxyFailure,
    /// Something to tell people: an [`Alert`](crate::alerts::Alert).
    Alert,
    /// An operation of one of the gateway's own services: a [`ServiceEvent`](crate::ServiceEvent).
    Service,
    /// One that failed.
    ServiceFailure,
    /// A row of the audit log.
    Audit,
}

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// All events arrived.
    Delivered,
    /// None arrived; they may later.
    Retry {
        /// Wait at least this long, when the receiver said so.
        after: Option<Duration>,
        /// Why, for the log.
        reason: String,
    },
    /// None arrived, and none will.
    Rejected {
        /// Why, for the log.
        reason: String,
    },
    /// Some arrived. Events that are not named did.
    Partial {
        /// Indexes into the batch of events to send again.
        retry: Vec<usize>,
        /// Indexes of events that will never be accepted, and why.
        rejected: Vec<(usize, String)>,
        /// Wait at least this long before sending again.
        after: Option<Duration>,
    },
}

/// A sink as the configuration describes it.
#[derive(Clone)]
pub struct SinkEntry {
    /// Name in the configuration; unique within a hub. Metrics and logs show it.
    pub name: String,
    /// Where the events go.
    pub sink: Arc<dyn Sink>,
    /// Which events it gets.
    pub kinds: Kinds,
    /// What it may see.
    pub redaction: SinkRedaction,
    /// How it is served.
    pub options: SinkOptions,
    /// It may call models, and so gets no events of calls that plugins made.
    pub calls_models: bool,
}

/// The kinds of events a sink wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// Calls that got an answer (`success_callback`, `callbacks`).
    pub success: bool,
    /// Failed calls and attempts (`failure_callback`, `callbacks`).
    pub failure: bool,
    /// Requests that failed before any model was called.
    pub proxy_failure: bool,
    /// Alerts.
    pub alert: bool,
    /// Operations of the gateway's own services (`service_callbacks`).
    pub service: bool,
    /// Rows of the audit log (`audit_log_callbacks`).
    pub audit: bool,
    /// Calls of teams and keys that name the sink, beside those that it gets anyway.
    pub named: bool,
}

impl Kinds {
    /// Successes and failures of calls, nothing else: what `callbacks` means.
    pub const CALLS: Self = Self {
        success: true,
        failure: true,
        proxy_failure: false,
        alert: false,
        service: false,
        audit: false,
        named: false,
    };
    /// Successes only: what `success_callback` means.
    pub const SUCCESS: Self = Self {
        success: true,
        failure: false,
        proxy_failure: false,
        alert: false,
        service: false,
        audit: false,
        named: false,
    };
    /// Failures only: what `failure_callback` means.
    pub const FAILURE: Self = Self {
        success: false,
        failure: true,
        proxy_failure: false,
        alert: false,
        service: false,
        audit: false,
        named: false,
    };

    /// Nothing: a sink that is there to be tried.
    pub const NONE: Self = Self {
        success: false,
        failure: false,
        proxy_failure: false,
        alert: false,
        service: false,
        audit: false,
        named: false,
    };

    /// Alerts only: what `alerting` means.
    pub const ALERTS: Self = Self {
        success: false,
        failure: false,
        proxy_failure: false,
        alert: true,
        service: false,
        audit: false,
        named: false,
    };

    /// Operations of the gateway's own services: what `service_callbacks` means.
    pub const SERVICES: Self = Self {
        service: true,
        ..Self::NONE
    };

    /// Rows of the audit log only: what `audit_log_callbacks` means.
    pub const AUDIT: Self = Self {
        audit: true,
        ..Self::NONE
    };

    /// Whether events of this kind are wanted.
    pub fn includes(self, kind: EventKind) -> bool {
        match kind {
            EventKind::Success => self.success,
            EventKind::Failure => self.failure,
            EventKind::ProxyFailure => self.proxy_failure,
            EventKind::Alert => self.alert,
            EventKind::Service | EventKind::ServiceFailure => self.service,
            EventKind::Audit => self.audit,
        }
    }

    /// What either of the two wants: a name listed in two callback lists is one sink.
    pub fn union(self, other: Self) -> Self {
        Self {
            success: self.success || other.success,
            failure: self.failure || other.failure,
            proxy_failure: self.proxy_failure || other.proxy_failure,
            alert: self.alert || other.alert,
            service: self.service || other.service,
            audit: self.audit || other.audit,
            named: self.named || other.named,
        }
    }
}

/// Batching, bounds and retries of one sink. The defaults are LiteLLM's where it has any.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkOptions {
    /// Most events in one delivery (`DEFAULT_BATCH_SIZE`).
    pub batch_size: usize,
    /// Longest time the first event of a batch waits (`DEFAULT_FLUSH_INTERVAL_SECONDS`).
    pub flush_interval: Duration,
    /// Most bytes of JSON in one delivery; one larger event goes alone.
    pub batch_bytes: usize,
    /// Most events waiting or in delivery (`MAX_SIZE_IN_MEMORY_QUEUE`); above it new ones are refused.
    pub queue_items: usize,
    /// Most bytes waiting or in delivery, by the size of request and answer; above it new ones are refused.
    pub queue_bytes: usize,
    /// Longest time one delivery may take; then it counts as failed and is repeated.
    pub deliver_timeout: Duration,
    /// When to repeat, and when to give up.
    pub retry: RetryPolicy,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            batch_size: 512,
            flush_interval: Duration::from_secs(5),
            // What a sandboxed plugin (64 MiB) can hold next to its own encoding of the batch.
            batch_bytes: 4 << 20,
            queue_items: 10_000,
            queue_bytes: 64 << 20,
            deliver_timeout: Duration::from_secs(30),
            retry: RetryPolicy::default(),
        }
    }
}

/// Exponential backoff with an end.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Wait before the first repetition; doubles with each one.
    pub first: Duration,
    /// Longest wait of our own. A receiver may ask for more.
    pub longest: Duration,
    /// Random part that is added to each wait, at most.
    pub jitter: Duration,
    /// Deliveries of the same events in total, then they are dropped.
    pub attempts: u32,
    /// No delivery starts later than this after the first one; the events are dropped instead.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(8),
            jitter: Duration::from_millis(750),
            attempts: 12,
            give_up_after: Duration::from_secs(300),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_sees_only_its_own_parameters() {
        let event = |context: &'static str| EncodedEvent {
            id: String::new(),
            kind: EventKind::Success,
            json: Bytes::new(),
            context: Bytes::from_static(context.as_bytes()),
            dynamic: Arc::new(Dynamic(BTreeMap::from([
                ("langfuse_secret".to_owned(), "a\"b".to_owned()),
                ("dd_api_key".to_owned(), "c".to_owned()),
            ]))),
        };
        let langfuse = |name: &str| name.starts_with("langfuse_");
        let own = r#""dynamic":{"langfuse_secret":"a\"b"}"#;
        for (context, expected) in [
            (r#"{"request":{}}"#, format!(r#"{{"request":{{}},{own}}}"#)),
            ("{}", format!("{{{own}}}")),
        ] {
            assert_eq!(event(context).context_with_dynamic(langfuse), expected);
            assert_eq!(event(context).context_with_dynamic(|_| false), context);
        }
        let debug = format!("{:?}", event("{}"));
        assert!(
            debug.contains("dd_api_key") && !debug.contains("a\\\"b"),
            "{debug}"
        );
    }
}
