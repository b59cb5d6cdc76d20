//! Log sinks: `witgate:log-sink@0.1`.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::handle_methods;
use crate::CallError;
use crate::bindings::witgate::types::types;
use crate::capabilities::State;
use crate::pool::{Bindings, Pool};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/log-sink"],
        world: "witgate:log-sink/log-sink-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::log_sink::log_sink as generated;

/// A loaded log sink.
pub struct LogSink {
    pub(crate) pool: Arc<Pool<wit::LogSinkPlugin>>,
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Unique per call; deliveries of the same event repeat it.
    pub id: &'a str,
    /// What it records.
    pub kind: EventKind,
    /// LiteLLM's standard logging payload, JSON.
    pub payload: &'a str,
    /// What sinks read beside the payload, a JSON object.
    pub context: &'a str,
}

/// What an event records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// The call succeeded.
    Success,
    /// The call failed, was refused, cancelled or left.
    Failure,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything arrived.
    Delivered,
    /// Some arrived; events that are not named did.
    Partial {
        /// Positions to deliver again.
        retry: Vec<usize>,
        /// Positions refused for good, and why.
        rejected: Vec<(usize, String)>,
        /// The other side's advice.
        retry_after: Option<Duration>,
    },
    /// Try the whole batch again.
    Retry {
        /// The other side's advice.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
    /// The whole batch was refused for good, and why.
    Rejected(String),
}

const DELIVER: usize = 1;
const HEALTH_CHECK: usize = 2;

handle_methods!(LogSink);

impl LogSink {
    /// Delivers a batch.
    ///
    /// # Errors
    /// When the plugin did not say what became of the batch.
    pub async fn deliver(&self, batch: &[Event<'_>]) -> Result<Outcome, CallError> {
        let length = batch.len();
        let bytes: usize = batch
            .iter()
            .map(|event| event.payload.len() + event.context.len())
            .sum();
        let batch: Vec<generated::Event> = batch.iter().map(generated::Event::from).collect();
        let outcome = self
            .pool
            .call(DELIVER, bytes as u64, move |store, plugin| {
                Box::pin(async move {
                    plugin
                        .witgate_log_sink_log_sink()
                        .call_deliver(store, &batch)
                        .await
                })
            })
            .await?;
        Ok(self.outcome(outcome, length))
    }

    /// What the plugin says about its batches: most events, and seconds that an event waits for others.
    #[must_use]
    pub fn batching(&self) -> (Option<f64>, Option<f64>) {
        let batch = &self.manifest().batch;
        let number = |value: &Option<_>| self.pool.context.number(value.as_ref()?);
        (number(&batch.size), number(&batch.flush_interval_s))
    }

    /// Whether the other side can be reached.
    ///
    /// # Errors
    /// When not, and why.
    pub async fn health_check(&self) -> Result<(), CallError> {
        self.pool
            .call(HEALTH_CHECK, 0, |store, plugin| {
                Box::pin(async move {
                    plugin
                        .witgate_log_sink_log_sink()
                        .call_health_check(store)
                        .await
                })
            })
            .await
    }

    /// The plugin's word in the gateway's terms: positions that do not exist are dropped, texts cleaned.
    fn outcome(&self, from: generated::Outcome, length: usize) -> Outcome {
        let clean = |text: String| self.pool.context.log.clean(&text);
        let position = |index: u32| usize::try_from(index).ok().filter(|index| *index < length);
        let after = |ms: Option<u64>| ms.map(Duration::from_millis);
        match from {
            generated::Outcome::Delivered => Outcome::Delivered,
            generated::Outcome::Partial(partial) => Outcome::Partial {
                retry: partial.retry.into_iter().filter_map(position).collect(),
                rejected: partial
                    .rejected
                    .into_iter()
                    .filter_map(|one| Some((position(one.index)?, clean(one.reason))))
                    .collect(),
                retry_after: after(partial.retry_after_ms),
            },
            generated::Outcome::Retry(again) => Outcome::Retry {
                after: after(again.after_ms),
                reason: clean(again.reason),
            },
            generated::Outcome::Rejected(reason) => Outcome::Rejected(clean(reason)),
        }
    }
}

impl Bindings for wit::LogSinkPlugin {
    type Pre = wit::LogSinkPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &["init", "deliver", "health-check"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::LogSinkPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_log_sink_log_sink().call_init(store).await
    }
}

impl From<&Event<'_>> for generated::Event {
    fn from(event: &Event<'_>) -> Self {
        Self {
            id: event.id.to_owned(),
            kind: match event.kind {
                EventKind::Success => generated::EventKind::Success,
                EventKind::Failure => generated::EventKind::Failure,
            },
            payload: event.payload.to_owned(),
            context: event.context.to_owned(),
        }
    }
}
