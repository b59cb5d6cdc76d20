//! Alerters: `witgate:alerter@0.1`.

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
        path: ["../../wit/types", "../../wit/host", "../../wit/alerter"],
        world: "witgate:alerter/alerter-plugin",
        exports: { default: async },
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::alerter::alerter as generated;

/// A loaded alerter.
pub struct Alerter {
    pub(crate) pool: Arc<Pool<wit::AlerterPlugin>>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words say it")]
pub enum AlertLevel {
    Low,
    Medium,
    High,
}

/// One alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Unique; deliveries repeat it.
    pub id: String,
    /// LiteLLM's alert type.
    pub kind: String,
    /// How bad it is.
    pub level: AlertLevel,
    /// When it was raised, milliseconds since the epoch.
    pub at_ms: u64,
    /// The same as `HH:MM:SS` in the gateway's time zone.
    pub local_time: String,
    /// What happened.
    pub title: String,
    /// More; may be empty.
    pub text: String,
    /// Facts by their names for people.
    pub fields: Vec<(String, String)>,
    /// What the request wants to be told with it.
    pub metadata: Vec<(String, String)>,
    /// Where to read on.
    pub link: Option<String>,
    /// The gateway's own address.
    pub proxy_url: Option<String>,
    /// How many alerts it stands for.
    pub count: u32,
}

const SEND: usize = 1;

handle_methods!(Alerter);

impl Alerter {
    /// Sends a batch.
    ///
    /// # Errors
    /// When the plugin did not say what became of the batch.
    pub async fn send(&self, batch: Vec<Alert>) -> Result<Outcome, CallError> {
        let take = self.pool.context.take("send", || &batch);
        let length = batch.len();
        let size = |alert: &Alert| {
            let pairs = alert.fields.iter().chain(&alert.metadata);
            let pairs: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
            alert.title.len() + alert.text.len() + pairs
        };
        let bytes: usize = batch.iter().map(size).sum();
        let batch: Vec<generated::Alert> = batch.into_iter().map(generated::Alert::from).collect();
        let clean = |text: String| self.pool.context.log.clean(&text);
        let sent = async {
            let outcome = self
                .pool
                .call(SEND, bytes as u64, move |store, plugin| {
                    Box::pin(async move {
                        plugin
                            .witgate_alerter_alerter()
                            .call_send(store, &batch)
                            .await
                    })
                })
                .await?;
            Ok(outcome_of!(generated, outcome, length, clean))
        };
        take.run(sent, shown).await
    }
}

impl Bindings for wit::AlerterPlugin {
    type Pre = wit::AlerterPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &["init", "send"];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::AlerterPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_alerter_alerter().call_init(store).await
    }
}

impl From<Alert> for generated::Alert {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            kind: alert.kind,
            level: match alert.level {
                AlertLevel::Low => generated::Level::Low,
                AlertLevel::Medium => generated::Level::Medium,
                AlertLevel::High => generated::Level::High,
            },
            at_ms: alert.at_ms,
            local_time: alert.local_time,
            title: alert.title,
            text: alert.text,
            fields: alert.fields,
            metadata: alert.metadata,
            link: alert.link,
            proxy_url: alert.proxy_url,
            count: alert.count,
        }
    }
}
