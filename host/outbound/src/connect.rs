//! From a host to an open connection: resolve, check, TCP, TLS, all within one time limit.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::egress::{Destination, Host, Policy};
use crate::error::Kind;
use crate::{Resolve, SendError};

/// An open connection, with or without TLS.
pub(crate) type Io = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A dead peer on an otherwise silent connection is noticed after this long (and a few probes).
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

pub(crate) struct Connector {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) timeout: Duration,
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
    ) -> Result<Io, SendError> {
        let opening = async {
            let addresses = addresses(self.resolver.as_ref(), to, policy).await?;
            let mut http = HttpConnector::new_with_resolver(Checked(addresses));
            http.enforce_http(false);
            http.set_nodelay(true);
            http.set_keepalive(Some(TCP_KEEPALIVE));
            http.set_connect_timeout(Some(self.timeout));
            HttpsConnector::from((http, self.tls.clone()))
                .call(uri)
                .await
                .map_err(|error| SendError::with(Kind::Connect, &to.to_string(), error))
        };
        match tokio::time::timeout(self.timeout, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(SendError::new(Kind::ConnectTimeout, &to.to_string())),
        }
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
