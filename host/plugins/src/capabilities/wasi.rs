//! WASI 0.2 for plugins whose language insists on it: nothing to see but what is granted.
//!
//! `wasi:http/outgoing-handler` leads to the same client and policy as `witgate:host/http`. The
//! environment shows the granted variables. There are no directories and no sockets. What is printed
//! goes to the plugin's log.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};
use wasmtime::component::Linker;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, Result as HttpResult, WasiBody, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks, WasiHttpView,
};
use witgate_outbound::{Body, IdleTimeout, StalledError};

use super::Context;
use super::log::{Level, LogSource};
use super::outgoing::NoResponse;
use super::state::State;
use crate::record::{Find, Tape, bytes_of, value_of_bytes};
use crate::world::Senses;

/// The WASI side of one instance.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    http: WasiHttpCtx,
    hooks: Hooks,
}

/// Links everything WASI 0.2 that this gateway answers to.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

impl Wasi {
    fn new(context: &Arc<Context>, senses: &Senses) -> Self {
        let print = |source, level| Print {
            context: context.clone(),
            tape: senses.tape.clone(),
            source,
            level,
        };
        let mut ctx = WasiCtxBuilder::new();
        for name in &context.env {
            if let Some(value) = (context.env_lookup)(name) {
                ctx.env(name, value);
            }
        }
        if !senses.are_plain() {
            ctx.wall_clock(senses.clone())
                .monotonic_clock(senses.clone())
                .secure_random(senses.clone())
                .insecure_random(senses.clone())
                .insecure_random_seed(0);
        }
        ctx.stdout(print(LogSource::Stdout, Level::Info))
            .stderr(print(LogSource::Stderr, Level::Warn));
        ctx.allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        Self {
            ctx: ctx.build(),
            http: WasiHttpCtx::new(),
            hooks: Hooks {
                context: context.clone(),
                tape: senses.tape.clone(),
            },
        }
    }
}

impl State {
    fn wasi(&mut self) -> (&mut Wasi, &mut wasmtime::component::ResourceTable) {
        let wasi = self
            .wasi
            .get_or_insert_with(|| Box::new(Wasi::new(&self.context, &self.senses)));
        (wasi, &mut self.table)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let (wasi, table) = self.wasi();
        WasiCtxView {
            ctx: &mut wasi.ctx,
            table,
        }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let (wasi, table) = self.wasi();
        WasiHttpCtxView {
            hooks: &mut wasi.hooks,
            table,
            ctx: &mut wasi.http,
        }
    }
}

struct Hooks {
    context: Arc<Context>,
    tape: Option<Arc<Tape>>,
}

type Trailing = Box<dyn Future<Output = HttpResult<()>> + Send>;
type Sending = Box<dyn Future<Output = HttpResult<(http::Response<WasiBody>, Trailing)>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Trailing,
    ) -> Sending {
        let (context, tape) = (self.context.clone(), self.tape.clone());
        Box::new(async move {
            let options = options.unwrap_or_default();
            let idle = options.between_bytes_timeout;
            let sending = async {
                match tape {
                    Some(tape) => send_taped(&context, &tape, request, idle).await,
                    None => send(&context, request, idle).await,
                }
            };
            let response = match options.first_byte_timeout {
                Some(limit) => tokio::time::timeout(limit, sending)
                    .await
                    .map_err(|_| Error::HttpResponseTimeout)??,
                None => sending.await?,
            };
            let done: Trailing = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

/// Longest silence of a response whose reader sets no limit; calls end long before.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// The call's own deadline bounds the whole; `idle` is what the plugin wants beyond that.
async fn send(
    context: &Context,
    request: http::Request<WasiBody>,
    idle: Option<Duration>,
) -> HttpResult<http::Response<WasiBody>> {
    let outgoing = &context.outgoing;
    let _slot = outgoing.slot().await.map_err(wasi_error)?;
    let request = request.map(|body| Body::stream(body.map_err(|error| error.to_string())));
    let response = outgoing.send(request).await.map_err(wasi_error)?;
    let max = outgoing.response_max;
    Ok(response.map(|body| {
        let body = IdleTimeout::new(body, idle.unwrap_or(IDLE_MAX));
        let body = Limited::new(body, max);
        body.map_err(move |error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Error::HttpResponseBodySize(Some(max as u64))
            } else if error.is::<StalledError>() {
                Error::ConnectionReadTimeout
            } else {
                Error::HttpResponseIncomplete
            }
        })
        .boxed_unsync()
    }))
}

/// The same on a tape, where request and response are whole.
async fn send_taped(
    context: &Context,
    tape: &Tape,
    request: http::Request<WasiBody>,
    idle: Option<Duration>,
) -> HttpResult<http::Response<WasiBody>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let args = json!({"request": {
        "method": head.method.as_str(),
        "url": head.uri.to_string(),
        "headers": headers_of(&head.headers),
        "body": value_of_bytes(&body),
    }});
    let (at, known) = tape.begin("wasi:http.handle", args, Find::Exchange);
    let answer = match known {
        Some(known) => known,
        None => {
            let whole = Full::new(body)
                .map_err(|never| match never {})
                .boxed_unsync();
            let sent = send(context, http::Request::from_parts(head, whole), idle).await;
            let answer = async {
                let (head, body) = sent?.into_parts();
                let body = body.collect().await?.to_bytes();
                Ok::<_, Error>(json!({
                    "status": head.status.as_u16(),
                    "headers": headers_of(&head.headers),
                    "body": value_of_bytes(&body),
                }))
            };
            answer
                .await
                .unwrap_or_else(|error| json!({"error": told(&error)}))
        }
    };
    tape.end(at, answer.clone());
    if let Some(error) = answer.get("error").and_then(Value::as_str) {
        return Err(error_told(error));
    }
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or(500);
    let mut response = http::Response::builder().status(status as u16);
    let headers: Vec<(String, String)> = answer
        .get("headers")
        .and_then(|headers| serde_json::from_value(headers.clone()).ok())
        .unwrap_or_default();
    for (name, value) in &headers {
        response = response.header(name, value);
    }
    let body = Full::new(bytes_of(answer.get("body").unwrap_or(&Value::Null)).into());
    let body = body.map_err(|never| match never {}).boxed_unsync();
    response
        .body(body)
        .map_err(|error| Error::InternalError(Some(error.to_string())))
}

fn headers_of(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let all = headers.iter();
    all.map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}

/// An error as a recording has it.
fn told(error: &Error) -> String {
    match error {
        Error::HttpRequestDenied => "denied".to_owned(),
        Error::ConnectionTimeout | Error::HttpResponseTimeout | Error::ConnectionReadTimeout => {
            "timeout".to_owned()
        }
        Error::InternalError(Some(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn error_told(text: &str) -> Error {
    match text {
        "denied" => Error::HttpRequestDenied,
        "timeout" => Error::ConnectionTimeout,
        other => Error::InternalError(Some(other.to_owned())),
    }
}

fn wasi_error(from: NoResponse) -> Error {
    match from {
        NoResponse::Denied(_) => Error::HttpRequestDenied,
        NoResponse::Timeout => Error::ConnectionTimeout,
        NoResponse::Connection(text) => Error::InternalError(Some(text)),
    }
}

/// Standard output of a plugin: lines of its log.
#[derive(Clone)]
struct Print {
    context: Arc<Context>,
    source: LogSource,
    tape: Option<Arc<Tape>>,
    level: Level,
}

impl IsTerminal for Print {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Print {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Print {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl OutputStream for Print {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        for line in String::from_utf8_lossy(&bytes)
            .lines()
            .filter(|line| !line.trim().is_empty())
        {
            if let Some(tape) = &self.tape {
                tape.note(
                    "log.write",
                    json!({"level": self.level.as_str(), "message": line}),
                );
            }
            if !self.context.log.write(self.source, self.level, line, &[]) {
                self.context.metrics.log_dropped.inc();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}
