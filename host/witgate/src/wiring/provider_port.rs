//! A provider component as the pipeline's provider, and its way out as an upstream.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use witgate_pipeline as pipeline;
use witgate_pipeline::{PluginFault, UpstreamBody, UpstreamError, UpstreamErrorKind};
use witgate_plugins as host;

use super::plugins::fault;
use super::upstream::pieces;

/// Models whose parameters are remembered; more begin anew. Wildcards make names without end.
const REMEMBERED_MAX: usize = 1024;

/// A provider component as the pipeline's provider.
pub struct Speaker {
    plugin: Arc<host::Provider>,
    /// By call type and model: the parameters it supports.
    params: Mutex<HashMap<(String, String), Arc<[String]>>>,
}

impl Speaker {
    /// Of this plugin.
    pub fn new(plugin: Arc<host::Provider>) -> Self {
        Self {
            plugin,
            params: Mutex::new(HashMap::new()),
        }
    }
}

#[async_trait]
impl pipeline::Provider for Speaker {
    async fn supported_params(
        &self,
        call_type: &str,
        model: &str,
    ) -> Result<Arc<[String]>, PluginFault> {
        let key = (call_type.to_owned(), model.to_owned());
        if let Some(known) = self.params.lock().get(&key) {
            return Ok(known.clone());
        }
        let names = self.plugin.supported_params(call_type, model).await;
        let names: Arc<[String]> = names.map_err(fault)?.into();
        let mut params = self.params.lock();
        if params.len() >= REMEMBERED_MAX {
            params.clear();
        }
        params.insert(key, names.clone());
        Ok(names)
    }

    async fn build_request(
        &self,
        call: pipeline::ProviderCall,
    ) -> Result<pipeline::Built, PluginFault> {
        let credentials = call.credentials.into_iter();
        let call = host::ProviderCall {
            id: call.id,
            call_type: call.call_type.to_owned(),
            model: call.model,
            body: call.body,
            params: call.params,
            api_base: call.api_base,
            credentials: credentials
                .map(|(name, prefix)| host::Credential { name, prefix })
                .collect(),
            headers: call.headers,
        };
        Ok(
            match self.plugin.build_request(call).await.map_err(fault)? {
                host::Built::Request(built) => pipeline::Built::Request(request(built)),
                host::Built::Refused(why) => pipeline::Built::Refused(failure(why)),
            },
        )
    }

    async fn parse_response(
        &self,
        context: &str,
        from: pipeline::ProviderResponse,
    ) -> Result<pipeline::Parsed, PluginFault> {
        let parsed = self
            .plugin
            .parse_response(context.to_owned(), response(from))
            .await
            .map_err(fault)?;
        Ok(match parsed {
            host::Parsed::Answer(json) => pipeline::Parsed::Answer(json.into()),
            host::Parsed::Failed(why) => pipeline::Parsed::Failed(failure(why)),
            host::Parsed::Again(again) => {
                pipeline::Parsed::Again(request(again.request), again.delay_ms)
            }
        })
    }

    async fn open_stream(
        &self,
        context: &str,
        head: pipeline::ProviderResponse,
    ) -> Result<Box<dyn pipeline::StreamParser>, PluginFault> {
        let parser = self
            .plugin
            .open_stream(context.to_owned(), response(head))
            .await
            .map_err(fault)?;
        Ok(Box::new(Parser(parser)))
    }

    async fn map_error(
        &self,
        context: &str,
        from: pipeline::ProviderResponse,
    ) -> Result<Option<pipeline::ProviderFailure>, PluginFault> {
        let mapped = self
            .plugin
            .map_error(context.to_owned(), response(from))
            .await;
        Ok(mapped.map_err(fault)?.map(failure))
    }
}

struct Parser(host::StreamParser);

#[async_trait]
impl pipeline::StreamParser for Parser {
    async fn push(
        &mut self,
        frames: Vec<pipeline::ProviderFrame>,
    ) -> Result<pipeline::Progress, PluginFault> {
        let frames = frames.into_iter();
        let frames = frames.map(|frame| host::Frame {
            event: frame.event,
            data: frame.data.into(),
        });
        let pushed = self.0.push(frames.collect()).await;
        pushed.map(progress).map_err(fault)
    }

    async fn finish(&mut self) -> Result<pipeline::Progress, PluginFault> {
        self.0.finish().await.map(progress).map_err(fault)
    }
}

/// The plugin's own way out, under its egress policy.
pub struct Elsewhere(pub Arc<host::Provider>);

#[async_trait]
impl pipeline::Upstream for Elsewhere {
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<UpstreamBody>, UpstreamError> {
        let sent = self.0.send_granted(request).await;
        let response = sent.map_err(|error| {
            let (kind, message) = match error {
                host::NoResponse::Denied(text) => (UpstreamErrorKind::Denied, text),
                host::NoResponse::Timeout => {
                    let text = "the upstream did not answer in time";
                    (UpstreamErrorKind::Timeout, text.to_owned())
                }
                host::NoResponse::Connection(text) => (UpstreamErrorKind::Connect, text),
            };
            UpstreamError { kind, message }
        })?;
        Ok(response.map(pieces))
    }
}

fn request(from: host::ProviderRequest) -> pipeline::ProviderRequest {
    pipeline::ProviderRequest {
        method: from.method,
        url: from.url,
        headers: from.headers,
        credential_headers: from.credential_headers,
        body: from.body.into(),
        framing: from.framing,
        context: from.context,
    }
}

fn response(from: pipeline::ProviderResponse) -> host::ProviderResponse {
    host::ProviderResponse {
        status: from.status,
        headers: from.headers,
        body: from.body.into(),
    }
}

fn failure(from: host::Failure) -> pipeline::ProviderFailure {
    pipeline::ProviderFailure {
        class: from.class,
        message: from.message,
        code: from.code,
        param: from.param,
    }
}

fn progress(from: host::StreamProgress) -> pipeline::Progress {
    pipeline::Progress {
        chunks: from.chunks.into_iter().map(Bytes::from).collect(),
        end: from.end.map(|end| match end {
            host::End::Done => pipeline::StreamEnd::Done,
            host::End::Failed(why) => pipeline::StreamEnd::Failed(failure(why)),
        }),
    }
}
