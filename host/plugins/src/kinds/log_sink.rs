//! Log sinks: `witgate:log-sink@0.1`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::InstancePre;

use super::handle_methods;
use super::outcome::{Outcome, outcome_of};
use crate::CallError;
use crate::bindings::witgate::types::types;
use crate::capabilities::State;
use crate::pool::{Bindings, Pool};
use crate::record::tape::shown;

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
#[derive(Debug, Clone, Copy, Serialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The call succeeded.
    Success,
    /// The call failed, was refused, cancelled or left.
    Failure,
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
        let take = self.pool.context.take("deliver", || batch);
        let length = batch.len();
        let bytes: usize = batch
            .iter()
            .map(|event| event.payload.len() + event.context.len())
            .sum();
        let batch: Vec<generated::Event> = batch.iter().map(generated::Event::from).collect();
        let clean = |text: String| self.pool.context.log.clean(&text);
        let delivered = async {
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
            Ok(outcome_of!(generated, outcome, length, clean))
        };
        take.run(delivered, shown).await
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
        let take = self.pool.context.take("health-check", || ());
        let checked = self.pool.call(HEALTH_CHECK, 0, |store, plugin| {
            Box::pin(async move {
                plugin
                    .witgate_log_sink_log_sink()
                    .call_health_check(store)
                    .await
            })
        });
        take.run(checked, shown).await
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
