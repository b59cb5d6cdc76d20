//! A try at a deployment whose provider does not speak OpenAI's dialect: a plugin builds the request
//! and reads the answer, and the gateway does everything else as for any other upstream.
//!
//! What comes out of here is OpenAI's: a complete answer, or a stream of its frames. So retries,
//! guardrails, usage and events need not know that a plugin was at work.

mod bridge;
mod params;
mod rechunk;
mod send;
mod stamp;
mod translate;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use tokio::time::{Instant, timeout_at};
use witgate_routing::ErrorClass;
use witgate_wire::errors::{UPSTREAM_MESSAGE_MAX_CHARS, mask_keys};
use witgate_wire::framing::{Decoder, Framing};
use witgate_wire::sse::DEFAULT_FRAME_MAX_BYTES;
use witgate_wire::{Endpoint, Forward, RequestView};

use crate::attempt::{
    Answered, Failed, Patience, checked, collect, error_body, first_frame, refusal, too_slow,
};
use crate::exchange::{Answer, Exchange};
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::ports::{
    Built, Parsed, PluginFault, Provider, ProviderCall, ProviderFailure, ProviderRequest,
    ProviderResponse, Upstream, UpstreamBody,
};
use crate::snapshot::Target;

pub use params::{ParamRules, openai_params};
use stamp::Stamp;

/// Requests of one call, follow-ups included; the call's timeout ends polling sooner.
const REQUESTS_MAX: usize = 1000;
/// What plugins call a provider's key.
const API_KEY: &str = "api_key";
/// Shortest pause before a follow-up.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// How a deployment's dialect is spoken.
pub struct Dialect {
    /// The plugin.
    pub provider: Arc<dyn Provider>,
    /// Calls it serves: `chat`, `text`, `embed`.
    pub call_types: Vec<String>,
    /// Base URL without a final slash.
    pub base: String,
    /// Origin that the operator wrote, in [`origin`]'s form: requests there go the deployment's own way.
    pub own_origin: Option<String>,
    /// The way to everywhere else, under the plugin's egress policy.
    pub elsewhere: Arc<dyn Upstream>,
    /// Parameters of the deployment that are no part of a request, a JSON object without secrets.
    pub params: String,
    /// Its secrets.
    pub credentials: Vec<Credential>,
    /// The known prefixes of its provider's keys; `None` where a key is not all that it takes.
    pub key_prefixes: Option<Vec<String>>,
    /// The deployment's own headers; they win over the plugin's.
    pub headers: HeaderMap,
    /// Headers that the plugin merges itself: names to take from the client, then the deployment's own.
    pub merged: (Vec<String>, Vec<(String, String)>),
    /// What becomes of parameters that the provider lacks.
    pub rules: ParamRules,
}

/// A secret of a deployment.
pub struct Credential {
    /// What plugins call it.
    pub name: String,
    /// The value.
    pub value: zeroize::Zeroizing<String>,
    /// The known prefix it begins with.
    pub prefix: Option<String>,
}

/// `scheme://host:port` of a URL, the form in which origins are compared.
#[must_use]
pub fn origin(url: &http::Uri) -> Option<String> {
    let scheme = url.scheme_str()?.to_ascii_lowercase();
    let port = url.port_u16().or(match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    })?;
    Some(format!(
        "{scheme}://{}:{port}",
        url.host()?.to_ascii_lowercase()
    ))
}

/// Tries the deployment. `model` is the upstream's name of the model.
pub async fn attempt(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    target: &Target,
    dialect: &Dialect,
    model: &str,
    patience: Patience,
) -> Result<Answered, Failed> {
    let stream = x.wants_stream();
    let given = if stream {
        patience.stream
    } else {
        patience.total
    };
    let deadline = Instant::now() + given;
    let talk = Talk {
        gateway,
        x,
        target,
        dialect,
        model,
        stream,
        given,
        deadline,
    };
    match timeout_at(deadline, talk.hold(request)).await {
        Ok(answered) => answered,
        Err(_) => Err(too_slow(target, given)),
    }
}

/// The request that a try of the deployment would send first.
pub async fn prepared(
    gateway: &Gateway,
    x: &Exchange,
    request: &RequestView,
    target: &Target,
    dialect: &Dialect,
    model: &str,
) -> Result<http::Request<Bytes>, Failed> {
    let talk = Talk {
        gateway,
        x,
        target,
        dialect,
        model,
        stream: x.wants_stream(),
        given: Duration::ZERO,
        deadline: Instant::now(),
    };
    let call = talk.call(request).await?;
    let built = dialect.provider.build_request(call).await;
    match built.map_err(|fault| talk.faulty(&fault))? {
        Built::Request(request) => talk
            .http(&request)
            .map_err(|why| talk.faulty(&PluginFault::new(why))),
        Built::Refused(failure) => Err(talk.reported(failure, None)),
    }
}

/// One try, from the request to its answer.
struct Talk<'a> {
    gateway: &'a Gateway,
    x: &'a Exchange,
    target: &'a Target,
    dialect: &'a Dialect,
    model: &'a str,
    stream: bool,
    given: Duration,
    deadline: Instant,
}

/// An answer of the upstream: its head, and the body to come.
type Answering = (http::response::Parts, UpstreamBody);

impl Talk<'_> {
    async fn hold(&self, request: &RequestView) -> Result<Answered, Failed> {
        let call = self.call(request).await?;
        let built = self.dialect.provider.build_request(call).await;
        let mut next = match built.map_err(|fault| self.faulty(&fault))? {
            Built::Request(request) => request,
            Built::Refused(failure) => return Err(self.reported(failure, None)),
        };
        for _ in 0..REQUESTS_MAX {
            let (head, body) = self.send(&next).await?;
            if !head.status.is_success() {
                return Err(self.refused(&next, head, body).await);
            }
            if let Some(framing) = next.framing.as_deref().filter(|_| self.is_stream(&head)) {
                return self.open(framing, &next.context, head, body).await;
            }
            let limit = self.x.snapshot.settings.max_response_bytes;
            let body = collect(self.target, body, limit, self.deadline, self.given).await?;
            self.x.hears(&body);
            let response = response(&head, body);
            let parsed = self
                .dialect
                .provider
                .parse_response(&next.context, response)
                .await;
            match parsed.map_err(|fault| self.faulty(&fault))? {
                Parsed::Answer(json) => return self.complete(json, head.headers),
                Parsed::Failed(failure) => {
                    let failed = self.reported(failure, None);
                    return Err(failed.with_head(self.gateway, head.headers));
                }
                Parsed::Again(request, delay_ms) => {
                    let pause = Duration::from_millis(delay_ms.into()).max(PAUSE_MIN);
                    tokio::time::sleep(pause).await;
                    next = request;
                }
            }
        }
        let text = format!("the provider plugin asked for more than {REQUESTS_MAX} requests");
        Err(self.faulty(&PluginFault::new(text)))
    }

    /// What the plugin is told of the call; its parameters are settled before.
    async fn call(&self, request: &RequestView) -> Result<ProviderCall, Failed> {
        let dialect = self.dialect;
        let Some((call_type, is_bridged)) = dialect.call_type(request.endpoint()) else {
            let text = format!(
                "provider '{}' has no {}; it serves {}",
                self.target.provider,
                request.endpoint().path(),
                dialect.call_types.join(", ")
            );
            return Err(Failed::of(self.target, ErrorClass::BadRequest, &text));
        };
        let defaults = self.x.defaults(self.target);
        let body = request.forward_body(&Forward {
            model: Some(self.model),
            defaults: &defaults,
            include_usage: false,
        });
        let supported = dialect.provider.supported_params(call_type, self.model);
        let supported = supported.await.map_err(|fault| self.faulty(&fault))?;
        let body = dialect
            .rules
            .apply(&body, request, &supported)
            .map_err(|names| self.unsupported(&names))?;
        let body = match is_bridged {
            true => bridge::request(&body)
                .map_err(|why| Failed::of(self.target, ErrorClass::BadRequest, &why))?,
            false => body,
        };
        let (from_client, own) = &dialect.merged;
        let of_client = from_client.iter().flat_map(|name| {
            let values = self.x.arrival.headers.get_all(name.as_str()).iter();
            values.filter_map(|value| Some((name.clone(), value.to_str().ok()?.to_owned())))
        });
        let brought = self.x.brought.as_deref();
        let own = own
            .iter()
            .filter(|(name, _)| brought.is_none_or(|brought| brought.keeps(name)));
        Ok(ProviderCall {
            id: self.x.call_id.clone(),
            call_type,
            model: self.model.to_owned(),
            body: String::from_utf8_lossy(&body).into_owned(),
            params: match brought {
                Some(brought) => brought.params_for(&dialect.params),
                None => dialect.params.clone(),
            },
            api_base: brought
                .and_then(|brought| brought.base())
                .unwrap_or(&dialect.base)
                .to_owned(),
            credentials: self.credentials(),
            headers: of_client.chain(own.cloned()).collect(),
        })
    }

    /// What the plugin is told of the secrets there are: names, and known prefixes.
    fn credentials(&self) -> Vec<(String, Option<String>)> {
        let dialect = self.dialect;
        let brought = self.x.brought.as_ref().and_then(|own| own.key());
        let Some(key) = brought else {
            let own = dialect.credentials.iter();
            return own
                .map(|own| (own.name.clone(), own.prefix.clone()))
                .collect();
        };
        let known = dialect.key_prefixes.iter().flatten();
        let prefix = known.into_iter().find(|known| key.starts_with(*known));
        vec![(API_KEY.to_owned(), prefix.cloned())]
    }

    /// A stream was asked for, and the upstream does not answer with plain JSON instead.
    fn is_stream(&self, head: &http::response::Parts) -> bool {
        let plain = head
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
        self.stream && !plain
    }

    async fn open(
        &self,
        framing: &str,
        context: &str,
        head: http::response::Parts,
        body: UpstreamBody,
    ) -> Result<Answered, Failed> {
        let Some(framing) = Framing::from_name(framing) else {
            let known: Vec<&str> = Framing::ALL.iter().map(|(name, _)| *name).collect();
            let text = format!(
                "the framing {framing:?} is not known; known are {}",
                known.join(", ")
            );
            return Err(self.faulty(&PluginFault::new(text)));
        };
        let opened = self
            .dialect
            .provider
            .open_stream(context, response(&head, Bytes::new()));
        let parser = opened.await.map_err(|fault| self.faulty(&fault))?;
        let decoder = Decoder::new(framing, DEFAULT_FRAME_MAX_BYTES);
        let shape = translate::Shape {
            stamp: self.stamp(),
            is_bridged: self.is_bridged(),
        };
        let chunks = translate::chunks(body, decoder, parser, shape);
        let idle = self.given;
        let answer = first_frame(self.target, chunks, self.deadline, idle).await;
        match answer {
            Ok(answer) => Ok(Answered {
                answer,
                headers: head.headers,
            }),
            Err(failed) => Err(failed.with_head(self.gateway, head.headers)),
        }
    }

    fn complete(&self, json: Bytes, headers: HeaderMap) -> Result<Answered, Failed> {
        let json = match self.is_bridged() {
            true => bridge::answer(&json),
            false => json,
        };
        let stamped = self.stamp().response(&json);
        let body = stamped.map_err(|why| self.faulty(&PluginFault::new(why)))?;
        let body = checked(self.target, body)?;
        let answer = match self.stream {
            true => Answer::Stream(rechunk::stream(&body, self.given)),
            false => Answer::Complete(body),
        };
        Ok(Answered { answer, headers })
    }

    /// An answer with an error status: the plugin's word on it, else the general rules'.
    async fn refused(
        &self,
        request: &ProviderRequest,
        head: http::response::Parts,
        body: UpstreamBody,
    ) -> Failed {
        let text = error_body(body, self.deadline).await;
        self.x.hears(&text);
        let mapped = self
            .dialect
            .provider
            .map_error(&request.context, response(&head, text.clone()))
            .await;
        let failed = match mapped {
            Ok(Some(failure)) => self.reported(failure, Some(head.status)),
            Ok(None) => refusal(self.target, head.status, &text),
            Err(fault) => {
                let call_id = &self.x.call_id;
                tracing::warn!(call_id, "an upstream's error was not understood: {fault}");
                refusal(self.target, head.status, &text)
            }
        };
        failed.with_head(self.gateway, head.headers)
    }

    /// A failure in the plugin's words.
    fn reported(&self, failure: ProviderFailure, status: Option<StatusCode>) -> Failed {
        let class = ErrorClass::from_name(&failure.class).unwrap_or(ErrorClass::Api);
        let mut failed = Failed::of(self.target, class, &clean(&failure.message));
        // LiteLLM keeps the upstream's own status where the class has none of its own.
        failed.failure.status = status
            .map(|status| status.as_u16())
            .filter(|status| class == ErrorClass::Api && *status >= 400);
        failed.failure.code = failure.code;
        failed.failure.param = failure.param;
        failed
    }

    /// The plugin failed: the client learns that, the log learns why.
    fn faulty(&self, fault: &PluginFault) -> Failed {
        let (class, text) = match fault.is_busy {
            true => (
                ErrorClass::ServiceUnavailable,
                "the gateway is busy: all instances of the provider plugin are taken",
            ),
            false => (
                ErrorClass::InternalServer,
                "the provider plugin failed; the gateway's log says why",
            ),
        };
        let mut failed = Failed::of(self.target, class, text);
        tracing::warn!(call_id = self.x.call_id, "{fault}");
        failed.failure.operator_note = Some(fault.to_string());
        failed
    }

    fn unsupported(&self, names: &[String]) -> Failed {
        let class = ErrorClass::UnsupportedParams;
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        let message = format!(
            "litellm.UnsupportedParamsError: {} does not support parameters: [{}], for model={}. To drop these, set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: true`\n",
            self.target.provider,
            quoted.join(", "),
            self.model
        );
        let mut failed = Failed::of(self.target, class, "");
        failed.failure = Failure::new(Case::Upstream(class), message);
        failed.failure.param = names.first().cloned();
        failed
    }

    fn is_bridged(&self) -> bool {
        let chosen = self.dialect.call_type(self.x.arrival.endpoint);
        chosen.is_some_and(|(_, is_bridged)| is_bridged)
    }

    fn stamp(&self) -> Stamp {
        Stamp::new(self.x, self.gateway.clock.uuid(), self.model)
    }
}

impl Dialect {
    /// The call type by which the operation is served, and whether a text completion becomes a chat.
    fn call_type(&self, endpoint: Endpoint) -> Option<(&'static str, bool)> {
        let serves = |name: &str| self.call_types.iter().any(|own| own == name);
        let own = match endpoint {
            Endpoint::ChatCompletions => "chat",
            Endpoint::Completions => "text",
            Endpoint::Embeddings => "embed",
            // No interface of provider plugins has them.
            Endpoint::Moderations | Endpoint::ImageGenerations => return None,
        };
        match own {
            own if serves(own) => Some((own, false)),
            "text" if serves("chat") => Some(("chat", true)),
            _ => None,
        }
    }
}

fn response(head: &http::response::Parts, body: Bytes) -> ProviderResponse {
    let headers = head.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    ProviderResponse {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body,
    }
}

/// An upstream's words, without what looks like a key, and not too long.
fn clean(message: &str) -> String {
    mask_keys(message.trim())
        .chars()
        .take(UPSTREAM_MESSAGE_MAX_CHARS)
        .collect()
}
