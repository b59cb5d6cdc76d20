//! From a host to an open connection: resolve, check, TCP, TLS, all within one time limit.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::InvalidUri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::egress::{Destination, Host, Policy, Scheme};
use crate::error::Kind;
use crate::proxy::{self, Proxy};
use crate::{BoxError, Resolve, SendError};

/// An open connection, with or without TLS.
pub(crate) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A dead peer on an otherwise silent connection is noticed after this long (and a few probes).
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

pub(crate) struct Connector {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) timeout: Duration,
    /// Whether the first bytes on a connection in the clear are not HTTP/1.1, which is all that a proxy hands on.
    pub(crate) http2_prior_knowledge: bool,
}

/// An open connection and who is at its end.
pub(crate) struct Opened {
    pub(crate) io: Io,
    /// A proxy that is handed the requests, in place of the origin.
    pub(crate) proxy: Option<Arc<Proxy>>,
}

impl Connector {
    /// Opens a connection to the origin of `uri`. The addresses are checked here, after resolution,
    /// and the connection goes to one of the checked addresses: a second answer of the name server
    /// cannot move it.
    pub(crate) async fn connect(
        &self,
        uri: Uri,
        to: &Destination,
        policy: Option<&Policy>,
    ) -> Result<Opened, SendError> {
        let opening = async {
            let Some(proxy) = proxy::on_the_way(to) else {
                let addresses = addresses(self.resolver.as_ref(), to, policy).await?;
                let io = HttpsConnector::from((self.tcp(addresses), self.tls.clone()))
                    .call(uri)
                    .await
                    .map_err(|error| SendError::with(Kind::Connect, &to.to_string(), error))?;
                return Ok(Opened { io, proxy: None });
            };
            self.connect_through(proxy, uri, to, policy).await
        };
        match tokio::time::timeout(self.timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(SendError::new(Kind::ConnectTimeout, &to.to_string())),
        }
    }

    async fn connect_through(
        &self,
        proxy: Arc<Proxy>,
        uri: Uri,
        to: &Destination,
        policy: Option<&Policy>,
    ) -> Result<Opened, SendError> {
        let targets: Vec<String> = match policy {
            Some(_) => {
                let checked = addresses(self.resolver.as_ref(), to, policy).await?;
                checked.iter().map(ToString::to_string).collect()
            }
            None if to.scheme == Scheme::Https || self.http2_prior_knowledge => {
                vec![to.authority()]
            }
            None => Vec::new(),
        };
        let failed = |error: BoxError| SendError::with(Kind::Connect, &to.to_string(), error);
        // The operator named the proxy, so no policy speaks of it.
        let there = addresses(self.resolver.as_ref(), &proxy.at, None).await?;
        let place = format!("http://{}/", proxy.at.authority());
        let place: Uri = place
            .parse()
            .map_err(|error: InvalidUri| failed(error.into()))?;
        let open = async || {
            let stream = self.tcp(there.clone()).call(place.clone()).await;
            stream.map_err(|error| failed(error.into()))
        };
        if targets.is_empty() {
            return Ok(Opened {
                io: MaybeHttpsStream::Http(open().await?),
                proxy: Some(proxy),
            });
        }
        let mut refused = None;
        for target in targets {
            let tunnel = proxy.tunnel(open().await?.into_inner(), &target).await;
            let tunnel = match tunnel {
                Ok(tunnel) => TokioIo::new(tunnel),
                // Of a host with several addresses another may do.
                Err(error) => {
                    refused = Some(failed(error.into()));
                    continue;
                }
            };
            let io = HttpsConnector::from((Given(Some(tunnel)), self.tls.clone()))
                .call(uri)
                .await
                .map_err(failed)?;
            return Ok(Opened { io, proxy: None });
        }
        Err(refused.unwrap_or_else(|| SendError::new(Kind::Resolve, &to.to_string())))
    }

    fn tcp(&self, addresses: Vec<SocketAddr>) -> HttpConnector<Checked> {
        let mut http = HttpConnector::new_with_resolver(Checked(addresses));
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_keepalive(Some(TCP_KEEPALIVE));
        http.set_connect_timeout(Some(self.timeout));
        http
    }
}

/// Where a destination is, as far as the policy lets it be.
pub(crate) async fn addresses(
    resolver: &dyn Resolve,
    to: &Destination,
    policy: Option<&Policy>,
) -> Result<Vec<SocketAddr>, SendError> {
    let found: Vec<IpAddr> = match &to.host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => resolver
            .resolve(name)
            .await
            .map_err(|error| SendError::with(Kind::Resolve, name, error))?,
    };
    let found = allowed_families(found);
    if found.is_empty() {
        return Err(SendError::new(Kind::Resolve, &to.to_string()));
    }
    let checked = match policy {
        Some(policy) => policy
            .check_addresses(to, found)
            .map_err(SendError::denied_by)?,
        None => found,
    };
    Ok(checked
        .into_iter()
        .map(|address| SocketAddr::new(address, to.port))
        .collect())
}

/// Whether connections use IPv4 alone. One switch for the process, as it is about the network that the machine is in.
static IPV4_ONLY: AtomicBool = AtomicBool::new(false);

/// From now on new connections use IPv4 alone, or whatever there is (`litellm_settings.force_ipv4`).
pub fn use_ipv4_only(only: bool) {
    IPV4_ONLY.store(only, Ordering::Relaxed);
}

fn allowed_families(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    if IPV4_ONLY.load(Ordering::Relaxed) {
        found.retain(|address| address.to_canonical().is_ipv4());
    }
    found
}

/// Whether the peer chose HTTP/2 by ALPN.
pub(crate) fn negotiated_http2(io: &Io) -> bool {
    io.connected().is_negotiated_h2()
}

/// Connects to wherever it already is.
struct Given(Option<TokioIo<TcpStream>>);

impl Service<Uri> for Given {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .ok_or_else(|| io::ErrorKind::NotConnected.into()),
        )
    }
}

/// Answers every question with the addresses that were checked.
#[derive(Clone, Debug)]
struct Checked(Vec<SocketAddr>);

impl Service<Name> for Checked {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(std::mem::take(&mut self.0).into_iter()))
    }
}
