//! `witgate:host/http`: one exchange through the plugin's client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderValue, Method, Request, Response, Uri};
use wasmtime::component::Resource;
use witgate_outbound::{Body, ClientCertificate, CollectError, Pem, collect_limited};

use super::Context;
use super::outgoing::NoResponse;
use super::secrets::SecretHandle;
use super::state::State;
use super::taped;
use crate::bindings::witgate::host::http as wit;
use crate::record::Find;

/// Headers that say how the message is framed; the client writes them itself.
const FRAMING: [HeaderName; 5] = [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, UPGRADE];

/// Credential headers that the client drops by itself when a redirect leads to another origin.
const DROPPED_ON_REDIRECT: [&str; 5] = [
    "authorization",
    "proxy-authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
];

/// Requests in one `send-all`.
const AT_ONCE_MAX: usize = 64;

impl wit::Host for State {
    async fn send(
        &mut self,
        request: wit::Request,
        auth: Option<wit::Auth>,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("http.send", Find::Exchange, || {
            taped::request(&request, self.shown_auth(auth.as_ref()))
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let read = AtomicUsize::new(0);
        let answer = match self.ready(request, auth)? {
            Ok(ready) => ready.run(&self.context, &read).await,
            Err(error) => Err(error),
        };
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }

    async fn send_all(
        &mut self,
        requests: Vec<(wit::Request, Option<wit::Auth>)>,
    ) -> wasmtime::Result<Vec<Result<wit::Response, wit::HttpError>>> {
        let mut all = Vec::with_capacity(requests.len());
        for (index, (request, auth)) in requests.into_iter().enumerate() {
            let taken = self.asked("http.send-all", Find::Exchange, || {
                taped::request(&request, self.shown_auth(auth.as_ref()))
            });
            let ready = match taken.known_exchange() {
                Some(known) => Next::Known(known),
                None if index < AT_ONCE_MAX => match self.ready(request, auth)? {
                    Ok(ready) => Next::Send(Box::new(ready)),
                    Err(error) => Next::Known(Err(error)),
                },
                None => {
                    let reason = format!("more than {AT_ONCE_MAX} requests at once");
                    Next::Known(Err(wit::HttpError::Invalid(reason)))
                }
            };
            all.push((ready, taken));
        }
        let (context, read) = (&self.context, &AtomicUsize::new(0));
        let run = all.into_iter().map(async |(next, taken)| {
            let answer = match next {
                Next::Send(ready) => ready.run(context, read).await,
                Next::Known(answer) => answer,
            };
            taken.end(|| taped::answer(&answer));
            answer
        });
        Ok(futures_util::future::join_all(run).await)
    }

    async fn send_with_all(
        &mut self,
        request: wit::Request,
        auth: wit::Auth,
        headers: Vec<(String, Resource<SecretHandle>)>,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("http.send-with-all", Find::Exchange, || {
            let mut with = self.shown_auth(Some(&auth));
            with.extend(self.shown_headers(&headers));
            taped::request(&request, with)
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let answer = match self.ready_with_all(request, auth, headers)? {
            Ok(ready) => ready.run(&self.context, &AtomicUsize::new(0)).await,
            Err(error) => Err(error),
        };
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }

    async fn send_with_secrets(
        &mut self,
        request: wit::Request,
        headers: Vec<(String, Resource<SecretHandle>)>,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("http.send-with-secrets", Find::Exchange, || {
            taped::request(&request, self.shown_headers(&headers))
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let timeout = self.time_for(&request);
        let answer = match self.with_secrets(request, headers)? {
            Ok(request) => {
                let exchange = exchange(&self.context, request, false);
                let exchange = tokio::time::timeout(timeout, exchange);
                exchange.await.unwrap_or(Err(wit::HttpError::Timeout))
            }
            Err(reason) => Err(wit::HttpError::Invalid(reason)),
        };
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }

    async fn send_as_client(
        &mut self,
        request: wit::Request,
        auth: Option<wit::Auth>,
        identity: wit::ClientIdentity,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("http.send-as-client", Find::Exchange, || {
            let mut with = self.shown_auth(auth.as_ref());
            let shown = [&identity.certificate, &identity.key].map(|pem| self.named(pem));
            with.insert("identity".to_owned(), serde_json::json!(shown));
            taped::request(&request, with)
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let answer = self.exchange_as_client(request, auth, identity).await?;
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }
}

/// What becomes of one request among several.
enum Next {
    Send(Box<Ready>),
    Known(Result<wit::Response, wit::HttpError>),
}

/// A request that was checked.
struct Ready {
    request: Request<Body>,
    /// Whether its redirects may be followed.
    follow: bool,
    timeout: Duration,
}

impl Ready {
    async fn run(
        self,
        context: &Context,
        read: &AtomicUsize,
    ) -> Result<wit::Response, wit::HttpError> {
        let exchange = exchange_within(context, self.request, self.follow, read);
        let exchange = tokio::time::timeout(self.timeout, exchange);
        exchange.await.unwrap_or(Err(wit::HttpError::Timeout))
    }
}

/// Adds a header that carries a secret as its whole value.
fn add_secret(request: &mut Request<Body>, name: &str, secret: &str) -> Result<(), String> {
    let name = HeaderName::try_from(name)
        .ok()
        .filter(|name| !FRAMING.contains(name))
        .ok_or_else(|| format!("{name:?} cannot carry a secret"))?;
    let mut value = HeaderValue::try_from(secret)
        .map_err(|_| format!("the secret has characters that the header {name} cannot carry"))?;
    value.set_sensitive(true);
    request.headers_mut().insert(name, value);
    Ok(())
}

impl State {
    fn ready_with_all(
        &self,
        request: wit::Request,
        auth: wit::Auth,
        headers: Vec<(String, Resource<SecretHandle>)>,
    ) -> wasmtime::Result<Result<Ready, wit::HttpError>> {
        let mut ready = match self.ready(request, Some(auth))? {
            Ok(ready) => ready,
            Err(error) => return Ok(Err(error)),
        };
        for (name, secret) in headers {
            let secret = self.secret(&secret)?;
            if let Err(reason) = add_secret(&mut ready.request, &name, secret) {
                return Ok(Err(wit::HttpError::Invalid(reason)));
            }
        }
        ready.follow = false;
        Ok(Ok(ready))
    }

    async fn exchange_as_client(
        &mut self,
        request: wit::Request,
        auth: Option<wit::Auth>,
        identity: wit::ClientIdentity,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let own = ClientCertificate {
            certificate: Pem::Text(self.table.get(&identity.certificate)?.shared()),
            key: Pem::Text(self.table.get(&identity.key)?.shared()),
        };
        let timeout = self.time_for(&request);
        let request = match self.http_request(request, auth)? {
            Ok((request, _)) => request,
            Err(reason) => return Ok(Err(wit::HttpError::Invalid(reason))),
        };
        // Before the exchange, so that what is wrong with the PEM is told as such.
        let outgoing = &self.context.outgoing;
        if !outgoing.is_scripted()
            && let Err(reason) = outgoing.client_as(own.clone())
        {
            return Ok(Err(wit::HttpError::Invalid(reason)));
        }
        let context = &self.context;
        let exchange = async {
            let _slot = context.outgoing.slot().await.map_err(http_error)?;
            let sent = context.outgoing.send_as(own, request).await;
            answer(context, sent.map_err(http_error)?, &AtomicUsize::new(0)).await
        };
        let exchange = tokio::time::timeout(timeout, exchange);
        Ok(exchange.await.unwrap_or(Err(wit::HttpError::Timeout)))
    }

    /// How long the request may take: what it asks for, but no longer than the call has left.
    pub(super) fn time_for(&self, request: &wit::Request) -> Duration {
        let left = self.call.deadline.saturating_duration_since(Instant::now());
        let asked = request
            .timeout_ms
            .map(|ms| Duration::from_millis(ms.into()));
        asked.map_or(left, |asked| asked.min(left))
    }

    fn with_secrets(
        &self,
        request: wit::Request,
        headers: Vec<(String, Resource<SecretHandle>)>,
    ) -> wasmtime::Result<Result<Request<Body>, String>> {
        let mut request = match build(request) {
            Ok(request) => request,
            Err(reason) => return Ok(Err(reason)),
        };
        for (name, secret) in headers {
            let secret = self.secret(&secret)?;
            if let Err(reason) = add_secret(&mut request, &name, secret) {
                return Ok(Err(reason));
            }
        }
        Ok(Ok(request))
    }

    fn ready(
        &self,
        request: wit::Request,
        auth: Option<wit::Auth>,
    ) -> wasmtime::Result<Result<Ready, wit::HttpError>> {
        let timeout = self.time_for(&request);
        Ok(match self.http_request(request, auth)? {
            Ok((request, follow)) => Ok(Ready {
                request,
                follow,
                timeout,
            }),
            Err(reason) => Err(wit::HttpError::Invalid(reason)),
        })
    }

    /// The request as the client wants it, and whether its redirects may be followed.
    fn http_request(
        &self,
        from: wit::Request,
        auth: Option<wit::Auth>,
    ) -> wasmtime::Result<Result<(Request<Body>, bool), String>> {
        let (request, mut follow) = match build(from) {
            Ok(request) => (request, true),
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(auth) = auth else {
            return Ok(Ok((request, follow)));
        };
        let (name, value) = match auth {
            wit::Auth::Bearer(secret) => {
                (AUTHORIZATION, format!("Bearer {}", self.secret(&secret)?))
            }
            wit::Auth::Basic((user, secret)) => {
                let pair = format!("{user}:{}", self.secret(&secret)?);
                (AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)))
            }
            wit::Auth::Header((name, secret)) => match HeaderName::try_from(name.as_str()) {
                Ok(parsed) if !FRAMING.contains(&parsed) => {
                    // A redirect must not carry a secret to an origin that it is not for.
                    follow = DROPPED_ON_REDIRECT.contains(&parsed.as_str());
                    (parsed, self.secret(&secret)?.to_owned())
                }
                _ => return Ok(Err(format!("{name:?} cannot carry a secret"))),
            },
        };
        let Ok(mut value) = HeaderValue::try_from(value) else {
            return Ok(Err(format!(
                "the secret has characters that the header {name} cannot carry"
            )));
        };
        value.set_sensitive(true);
        let mut request = request;
        request.headers_mut().insert(name, value);
        Ok(Ok((request, follow)))
    }

    pub(super) fn secret(&self, handle: &Resource<SecretHandle>) -> wasmtime::Result<&str> {
        Ok(self.table.get(handle)?.value())
    }
}

/// One exchange in one of the plugin's slots, the response read to its end.
/// One exchange, with the plugin's whole limit on a response.
pub(super) async fn exchange(
    context: &Context,
    request: Request<Body>,
    follow: bool,
) -> Result<wit::Response, wit::HttpError> {
    exchange_within(context, request, follow, &AtomicUsize::new(0)).await
}

/// One of several exchanges that share the limit; `read` counts their bytes.
async fn exchange_within(
    context: &Context,
    request: Request<Body>,
    follow: bool,
    read: &AtomicUsize,
) -> Result<wit::Response, wit::HttpError> {
    let outgoing = &context.outgoing;
    let _slot = outgoing.slot().await.map_err(http_error)?;
    let sent = match follow {
        true => outgoing.send_following(request).await,
        false => outgoing.send(request).await,
    };
    answer(context, sent.map_err(http_error)?, read).await
}

/// The response, read to its end.
async fn answer(
    context: &Context,
    response: Response<Body>,
    read: &AtomicUsize,
) -> Result<wit::Response, wit::HttpError> {
    let (head, body) = response.into_parts();
    let max = context.outgoing.response_max;
    let body = collect_limited(body, max)
        .await
        .map_err(|error| match error {
            CollectError::TooLarge { max } => wit::HttpError::TooLarge(max as u64),
            CollectError::Body(error) => wit::HttpError::Connection(error.to_string()),
        })?;
    if read.fetch_add(body.len(), Ordering::Relaxed) + body.len() > max {
        return Err(wit::HttpError::TooLarge(max as u64));
    }
    let headers = head.headers.iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    Ok(wit::Response {
        status: head.status.as_u16(),
        headers: headers.collect(),
        body: body.into(),
    })
}

/// The request as the client wants it.
pub(super) fn build(from: wit::Request) -> Result<Request<Body>, String> {
    let method = Method::from_bytes(from.method.as_bytes())
        .map_err(|_| format!("{:?} is not a method", from.method))?;
    if method == Method::CONNECT {
        return Err("CONNECT opens a tunnel, which plugins may not".to_owned());
    }
    // Parsed as browsers do first: `http` alone accepts forms that the two would read differently.
    let mut url =
        url::Url::parse(&from.url).map_err(|error| format!("the URL is malformed: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("credentials in the URL are refused; use `auth`".to_owned());
    }
    url.set_fragment(None);
    let uri =
        Uri::try_from(url.as_str()).map_err(|error| format!("the URL is malformed: {error}"))?;
    let mut request = Request::new(Body::from(from.body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    for (name, value) in from.headers {
        let name = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("{name:?} is not a header name"))?;
        if FRAMING.contains(&name) {
            continue;
        }
        let value = HeaderValue::try_from(value)
            .map_err(|_| format!("the value of the header {name} is malformed"))?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

fn http_error(from: NoResponse) -> wit::HttpError {
    match from {
        NoResponse::Denied(text) => wit::HttpError::Denied(text),
        NoResponse::Timeout => wit::HttpError::Timeout,
        NoResponse::Connection(text) => wit::HttpError::Connection(text),
    }
}
