//! The client: takes a request, finds or opens a connection, returns the response head.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version, header};
use hyper::client::conn::http2;
use hyper_util::rt::TokioTimer;

use crate::connect::{Connector, Io, Opened, negotiated_http2};
use crate::egress::{Denied, Destination, Egress, Policy};
use crate::error::{Kind, kind_of};
use crate::exchange::{Exchange, Failure, to_origin_form};
use crate::pool::{Key, Pool, Ready, Spawner};
use crate::tls::client_config;
use crate::{Body, ClientError, Incoming, Resolve, SendError, SystemResolver, TlsOptions};

/// Told of every refused destination, for counters and logs.
pub type DeniedHook = Arc<dyn Fn(&Denied) + Send + Sync>;

/// How a client connects, whom it may reach, what it keeps open.
#[derive(Clone)]
pub struct ClientOptions {
    /// Longest time for name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept.
    pub pool_idle_timeout: Duration,
    /// How many unused connections are kept per origin; 0 keeps none.
    pub pool_max_idle_per_host: usize,
    /// Whom to trust and who we are.
    pub tls: TlsOptions,
    /// Speak HTTP/2 without asking: to `http` origins too, and nothing else to `https` ones.
    pub http2_prior_knowledge: bool,
    /// Whom the client may reach.
    pub egress: Egress,
    /// Told of every refusal.
    pub on_denied: Option<DeniedHook>,
    /// Turns names into addresses.
    pub resolver: Arc<dyn Resolve>,
}

/// A pool of connections under one policy. Clones share it.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    pool: Arc<Pool>,
    http2: http2::Builder<Spawner>,
    http2_prior_knowledge: bool,
    egress: Egress,
    on_denied: Option<DeniedHook>,
}

impl ClientOptions {
    /// Defaults for everything but the policy: 10 s to connect, up to 1024 connections per origin
    /// kept for 90 s, the system's certificates, HTTP/2 where TLS negotiates it.
    #[must_use]
    pub fn new(egress: Egress) -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            pool_idle_timeout: Duration::from_secs(90),
            pool_max_idle_per_host: 1024,
            tls: TlsOptions::default(),
            http2_prior_knowledge: false,
            egress,
            on_denied: None,
            resolver: Arc::new(SystemResolver),
        }
    }
}

impl Client {
    /// Builds a client. Opens nothing yet and needs no runtime.
    ///
    /// # Errors
    /// When a certificate or key file named in the options does not work.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let tls = Arc::new(client_config(&options.tls, options.http2_prior_knowledge)?);
        let pool = Pool::new(options.pool_max_idle_per_host, options.pool_idle_timeout);
        let mut http2 = http2::Builder::new(pool.spawner());
        http2
            .timer(TokioTimer::new())
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .keep_alive_timeout(HTTP2_PING_TIMEOUT);
        Ok(Self {
            shared: Arc::new(Shared {
                connector: Connector {
                    tls,
                    resolver: options.resolver,
                    timeout: options.connect_timeout,
                    http2_prior_knowledge: options.http2_prior_knowledge,
                },
                pool,
                http2,
                http2_prior_knowledge: options.http2_prior_knowledge,
                egress: options.egress,
                on_denied: options.on_denied,
            }),
        })
    }

    /// Sends a request with an absolute `http` or `https` URI and waits for the response head.
    ///
    /// Dropping the future, or the response body, cancels the request at once. There is no limit on
    /// the wait for the head: that is the caller's to set. Redirects are answers like any other. A
    /// request that met a pooled connection closed in the meantime is sent again if, and only if,
    /// no byte of it had left.
    ///
    /// # Errors
    /// When no response head arrives, see [`SendError`].
    pub async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        self.shared.send(request).await.inspect_err(|error| {
            if let (Some(denied), Some(hook)) = (error.denied(), &self.shared.on_denied) {
                hook(denied);
            }
        })
    }
}

impl Shared {
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, SendError> {
        let policy = match &self.egress {
            Egress::Policy(policy) => Some(policy.as_ref()),
            Egress::Unrestricted => None,
        };
        if let Some(policy) = policy {
            // On every request: the rules speak of scheme, host and port, whatever is in the pool.
            let to = destination(request.uri())?;
            policy.check_name(&to).map_err(SendError::denied_by)?;
        }
        let Some((key, path)) = Key::split(std::mem::take(request.uri_mut())) else {
            return Err(SendError::new(
                Kind::BadRequest("its URI is not absolute"),
                "",
            ));
        };
        *request.uri_mut() = Uri::from(path);
        while let Some(ready) = self.pool.take(&key) {
            let failure = match ready {
                Ready::Http1(exchange) => self.send_http1(exchange, request).await,
                Ready::Http2(handle) => {
                    let answer = send_http2(handle, &key, request).await;
                    if answer.is_err() {
                        self.pool.forget_http2(&key);
                    }
                    answer
                }
            };
            match failure {
                Err(Failure::Unsent(back)) => request = *back,
                answer => return answer.map_err(|failure| failed(&key, failure)),
            }
        }
        self.send_fresh(&key, policy, request)
            .await
            .map_err(|failure| match failure {
                Fresh::NotConnected(error) => error,
                Fresh::Failed(failure) => failed(&key, failure),
            })
    }

    async fn send_http1(
        &self,
        mut exchange: Box<Exchange>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Failure> {
        let response = exchange.send(request).await?;
        Ok(response.map(|body| Incoming::http1(body, exchange, self.pool.clone())))
    }

    /// Opens a connection and sends the request on it.
    async fn send_fresh(
        &self,
        key: &Key,
        policy: Option<&Policy>,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, Fresh> {
        let origin = key.uri(PathAndQuery::from_static("/"));
        let to = destination(&origin).map_err(Fresh::NotConnected)?;
        let Opened { io, proxy } = self
            .connector
            .connect(origin, &to, policy)
            .await
            .map_err(Fresh::NotConnected)?;
        if self.http2_prior_knowledge || negotiated_http2(&io) {
            let handle = self.open_http2(key, io).await.map_err(Failure::Failed)?;
            return Ok(send_http2(handle, key, request).await?);
        }
        let mut exchange = Exchange::open(key.clone(), io, proxy)
            .await
            .map_err(Failure::Failed)?;
        // The first poll makes the handle ready.
        exchange.is_ready();
        Ok(self.send_http1(exchange, request).await?)
    }

    async fn open_http2(
        &self,
        key: &Key,
        io: Io,
    ) -> Result<http2::SendRequest<Body>, hyper::Error> {
        let (handle, driver) = self.http2.handshake(io).await?;
        let host = key.host().to_owned();
        self.pool.share(key, handle.clone(), async move {
            if let Err(error) = driver.await {
                tracing::debug!(%host, %error, "an HTTP/2 connection ended");
            }
        });
        Ok(handle)
    }
}

/// A silent HTTP/2 connection with open streams is asked for a sign of life this often …
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// … and given up when none comes.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a request on a connection of its own failed.
enum Fresh {
    NotConnected(SendError),
    Failed(Failure),
}

impl From<Failure> for Fresh {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

async fn send_http2(
    mut handle: http2::SendRequest<Body>,
    key: &Key,
    mut request: Request<Body>,
) -> Result<Response<Incoming>, Failure> {
    let path = std::mem::take(request.uri_mut())
        .into_parts()
        .path_and_query;
    *request.uri_mut() = key.uri(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_2;
    // The authority is in the URI; a Host header beside it can only contradict.
    request.headers_mut().remove(header::HOST);
    match handle.try_send_request(request).await {
        Ok(response) => Ok(response.map(Incoming::http2)),
        Err(mut error) => Err(match error.take_message() {
            Some(mut request) => {
                to_origin_form(&mut request);
                Failure::Unsent(Box::new(request))
            }
            None => Failure::Failed(error.into_error()),
        }),
    }
}

fn destination(uri: &Uri) -> Result<Destination, SendError> {
    Destination::of(uri).ok_or_else(|| SendError::denied_by(Denied::malformed(uri)))
}

fn failed(key: &Key, failure: Failure) -> SendError {
    match failure {
        Failure::Unsent(_) | Failure::Gone => SendError::new(Kind::Closed, key.host()),
        Failure::Failed(error) => SendError::with(kind_of(&error), key.host(), error),
    }
}
