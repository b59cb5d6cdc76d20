//! Providers: `witgate:provider@0.1`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wasmtime::Store;
use wasmtime::component::InstancePre;
use witgate_outbound::Body;

use super::handle_methods;
use crate::bindings::witgate::types::types;
use crate::capabilities::{NoResponse, State};
use crate::pool::{Bindings, Pinned, Pool};
use crate::record::tape::shown as plain;
use crate::record::{bytes_of, value_of_bytes};
use crate::{CallError, ProviderFacts};

mod wit {
    #![allow(missing_docs, clippy::all, reason = "generated from documented WIT")]

    wasmtime::component::bindgen!({
        path: ["../../wit/types", "../../wit/host", "../../wit/provider"],
        world: "witgate:provider/provider-plugin",
        exports: { default: async },
        additional_derives: [serde::Serialize, serde::Deserialize],
        with: {
            "witgate:types": crate::bindings::witgate::types,
            "witgate:host": crate::bindings::witgate::host,
        },
    });
}

use wit::exports::witgate::provider::provider as generated;

// Plain data, used as it is: a later version of the WIT converts to these.
pub use generated::{
    Built, Call as ProviderCall, Credential, End, Failure, FollowUp, Frame, Parsed, Progress,
    Request as ProviderRequest, Response as ProviderResponse,
};

/// A loaded provider.
pub struct Provider {
    pub(crate) pool: Arc<Pool<wit::ProviderPlugin>>,
}

const SUPPORTED_PARAMS: usize = 1;
const BUILD_REQUEST: usize = 2;
const PARSE_RESPONSE: usize = 3;
const OPEN_STREAM: usize = 4;
const MAP_ERROR: usize = 5;
const PUSH: usize = 6;
const FINISH: usize = 7;

handle_methods!(Provider);

impl Provider {
    /// What the manifest says of the dialect.
    #[must_use]
    pub fn facts(&self) -> ProviderFacts {
        // A manifest of this kind without it is refused when it is read.
        self.manifest().provider.clone().unwrap_or_default()
    }

    /// OpenAI's parameters that calls of this type to this model may have.
    ///
    /// # Errors
    /// When the plugin cannot tell.
    pub async fn supported_params(
        &self,
        call_type: &str,
        model: &str,
    ) -> Result<Vec<String>, CallError> {
        let take = self.pool.context.take(
            "supported-params",
            || json!({"call_type": call_type, "model": model}),
        );
        let (call_type, model) = (call_type.to_owned(), model.to_owned());
        let called = self.pool.call(SUPPORTED_PARAMS, 0, move |store, plugin| {
            Box::pin(async move {
                plugin
                    .witgate_provider_provider()
                    .call_supported_params(store, &call_type, &model)
                    .await
            })
        });
        take.run(called, shown).await
    }

    /// The request for a call.
    ///
    /// # Errors
    /// When the plugin fails; a call that it refuses is not an error.
    pub async fn build_request(&self, call: ProviderCall) -> Result<Built, CallError> {
        let take = self.pool.context.take("build-request", || shown(&call));
        let bytes = call.body.len() as u64;
        let called = self.pool.call(BUILD_REQUEST, bytes, move |store, plugin| {
            Box::pin(async move {
                plugin
                    .witgate_provider_provider()
                    .call_build_request(store, &call)
                    .await
            })
        });
        take.run(called, shown).await
    }

    /// Reads a complete answer with a status of success.
    ///
    /// # Errors
    /// When the plugin fails; a failure that the answer tells of is not an error.
    pub async fn parse_response(
        &self,
        context: String,
        response: ProviderResponse,
    ) -> Result<Parsed, CallError> {
        let take = self.pool.context.take(
            "parse-response",
            || json!({"context": context, "response": shown(&response)}),
        );
        let bytes = response.body.len() as u64;
        let called = self.pool.call(PARSE_RESPONSE, bytes, move |store, plugin| {
            Box::pin(async move {
                plugin
                    .witgate_provider_provider()
                    .call_parse_response(store, &context, &response)
                    .await
            })
        });
        take.run(called, shown).await
    }

    /// Starts reading a streamed answer.
    ///
    /// # Errors
    /// When the plugin fails, or too many streams are open.
    pub async fn open_stream(
        &self,
        context: String,
        head: ProviderResponse,
    ) -> Result<StreamParser, CallError> {
        let input = || json!({"context": context, "response": shown(&head)});
        let take = self.pool.context.take("open-stream", input);
        let opened = self.pool.call_and_pin(OPEN_STREAM, move |store, plugin| {
            Box::pin(async move {
                plugin
                    .witgate_provider_provider()
                    .call_open_stream(store, &context, &head)
                    .await
            })
        });
        let (lease, resource) = take.run(opened, |_| true.into()).await?;
        Ok(StreamParser(Pinned::new(lease, resource)))
    }

    /// Reads an answer with a status of failure. `None`: the general rules decide.
    ///
    /// # Errors
    /// When the plugin fails.
    pub async fn map_error(
        &self,
        context: String,
        response: ProviderResponse,
    ) -> Result<Option<Failure>, CallError> {
        let take = self.pool.context.take(
            "map-error",
            || json!({"context": context, "response": shown(&response)}),
        );
        let bytes = response.body.len() as u64;
        let called = self.pool.call(MAP_ERROR, bytes, move |store, plugin| {
            Box::pin(async move {
                plugin
                    .witgate_provider_provider()
                    .call_map_error(store, &context, &response)
                    .await
            })
        });
        take.run(called, shown).await
    }

    /// Sends a request under the plugin's own egress policy: to what its manifest names and the operator
    /// grants. A refusal is counted and logged.
    ///
    /// # Errors
    /// When the policy says no, or there is no answer.
    pub async fn send_granted(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, NoResponse> {
        let outgoing = &self.pool.context.outgoing;
        outgoing.send(request.map(Body::from)).await
    }
}

/// Members that hold bytes.
const BYTES: [&str; 2] = ["body", "data"];

/// Plain data as a recording has it, bytes as text where they are text.
fn shown<T: Serialize>(value: &T) -> Value {
    fn readable(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(readable),
            Value::Object(members) => {
                for (name, member) in members {
                    match member {
                        Value::Array(items) if BYTES.contains(&name.as_str()) => {
                            let byte = |item: &Value| u8::try_from(item.as_u64()?).ok();
                            let bytes: Vec<u8> = items.iter().filter_map(byte).collect();
                            *member = value_of_bytes(&bytes);
                        }
                        member => readable(member),
                    }
                }
            }
            _ => {}
        }
    }
    let mut value = plain(value);
    readable(&mut value);
    value
}

/// What a recording has of a response or of frames.
///
/// # Errors
/// When it is neither.
pub fn recorded_input<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    fn bytes(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(bytes),
            Value::Object(members) => {
                for name in BYTES {
                    if let Some(member) = members.get_mut(name) {
                        *member = bytes_of(member).into();
                    }
                }
            }
            _ => {}
        }
    }
    let mut value = value.clone();
    bytes(&mut value);
    serde_json::from_value(value).map_err(|error| format!("the recorded input: {error}"))
}

/// One streamed answer being read, on an instance of its own.
pub struct StreamParser(Pinned<wit::ProviderPlugin>);

impl StreamParser {
    /// Frames that arrived together.
    ///
    /// # Errors
    /// When the plugin fails. After a trap or timeout every further call fails.
    pub async fn push(&mut self, frames: Vec<Frame>) -> Result<Progress, CallError> {
        let take = self.0.take("push", || json!({"frames": shown(&frames)}));
        let bytes = frames.iter().map(|frame| frame.data.len() as u64).sum();
        let resource = self.0.resource();
        let called = self.0.call(PUSH, bytes, move |store, plugin| {
            Box::pin(async move {
                let parser = plugin.witgate_provider_provider().stream_parser();
                parser.call_push(store, resource, &frames).await
            })
        });
        take.run(called, shown).await
    }

    /// The connection ended without the stream's own end.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn finish(&mut self) -> Result<Progress, CallError> {
        let take = self.0.take("finish", || Value::Null);
        let resource = self.0.resource();
        let called = self.0.call(FINISH, 0, move |store, plugin| {
            Box::pin(async move {
                let parser = plugin.witgate_provider_provider().stream_parser();
                parser.call_finish(store, resource).await
            })
        });
        take.run(called, shown).await
    }
}

impl fmt::Debug for StreamParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamParser").finish_non_exhaustive()
    }
}

impl Bindings for wit::ProviderPlugin {
    type Pre = wit::ProviderPluginPre<State>;
    const FUNCTIONS: &'static [&'static str] = &[
        "init",
        "supported-params",
        "build-request",
        "parse-response",
        "open-stream",
        "map-error",
        "push",
        "finish",
    ];

    fn prepare(pre: InstancePre<State>) -> wasmtime::Result<Self::Pre> {
        wit::ProviderPluginPre::new(pre)
    }

    async fn instantiate(pre: &Self::Pre, store: &mut Store<State>) -> wasmtime::Result<Self> {
        pre.instantiate_async(store).await
    }

    async fn init(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Result<(), types::PluginError>> {
        self.witgate_provider_provider().call_init(store).await
    }
}
