//! Accepting connections, and ending them all in good order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::Activity;
use crate::connection::{Spawner, Stage, serve};
use crate::metrics::Reason;
use crate::service::Caller;
use crate::workers::Place;
use crate::{BindError, Limits, ServerMetrics, ServerOptions, Service, Workers, tls};

/// A server that does not listen yet.
#[derive(Debug)]
pub struct Server;

/// An open port. Clients that connect before [`Self::serve`] wait.
pub struct Bound {
    listeners: Vec<TcpListener>,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    drain_timeout: Duration,
    workers: Workers,
    metrics: ServerMetrics,
}

/// How the end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Drained {
    /// Connections that were cut because the drain timeout passed.
    pub cut: usize,
}

impl Server {
    /// Opens the port and reads the certificate. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on or the certificate does not work.
    pub fn bind(options: ServerOptions) -> Result<Bound, BindError> {
        let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
        let failed = |source| BindError::Listen {
            address: options.bind,
            source,
        };
        let shared = options.accept_loops > 1;
        let first = listen(options.bind, shared).map_err(failed)?;
        // The others need the port that the first one got.
        let address = first.local_addr().map_err(failed)?;
        let mut listeners = vec![first];
        for _ in 1..options.accept_loops {
            listeners.push(listen(address, shared).map_err(failed)?);
        }
        Ok(Bound {
            listeners,
            address,
            tls,
            limits: Arc::new(options.limits),
            drain_timeout: options.drain_timeout,
            workers: options.workers,
            metrics: options.metrics,
        })
    }
}

impl Bound {
    /// The address that clients can connect to.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then stops accepting, lets the requests in flight end within the
    /// drain timeout and cuts what is left. All tasks belong to `tracker`.
    pub async fn serve<S: Service>(
        self,
        service: S,
        shutdown: CancellationToken,
        tracker: TaskTracker,
    ) -> Drained {
        let accepting = Arc::new(Accepting {
            service: Arc::new(service),
            tls: self.tls,
            limits: self.limits,
            metrics: self.metrics,
            workers: self.workers,
            stage: Stage::default(),
            connections: TaskTracker::new(),
            tasks: tracker,
        });
        for listener in self.listeners {
            let (accepting, shutdown) = (accepting.clone(), shutdown.clone());
            let tasks = accepting.tasks.clone();
            tasks.spawn(async move {
                shutdown
                    .run_until_cancelled(accepting.accept_all(listener))
                    .await;
            });
        }
        shutdown.cancelled().await;
        accepting.stage.drain();
        let connections = &accepting.connections;
        connections.close();
        let ended = tokio::time::timeout(self.drain_timeout, connections.wait()).await;
        let cut = if ended.is_ok() { 0 } else { connections.len() };
        if cut > 0 {
            tracing::warn!(
                connections = cut,
                "the drain timeout passed; cutting connections"
            );
        }
        accepting.stage.close();
        connections.wait().await;
        Drained { cut }
    }
}

/// What the accept loops share.
struct Accepting<S> {
    service: Arc<S>,
    tls: Option<TlsAcceptor>,
    limits: Arc<Limits>,
    metrics: ServerMetrics,
    workers: Workers,
    stage: Stage,
    /// Counts connections; the tasks themselves are the caller's.
    connections: TaskTracker,
    tasks: TaskTracker,
}

impl<S: Service> Accepting<S> {
    async fn accept_all(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => self.clone().accepted(tcp, peer),
                // The client was gone before it was accepted: nothing is wrong here.
                Err(error) if is_clients_fault(&error) => {}
                Err(error) => {
                    // Out of file descriptors, most likely: connections must end before one can
                    // begin, and asking again at once would only burn the processor.
                    tracing::error!(%error, "cannot accept connections; trying again shortly");
                    self.metrics.refuse(Reason::accept_error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn accepted(self: Arc<Self>, tcp: TcpStream, peer: SocketAddr) {
        self.metrics.0.accepted.inc();
        if self.connections.len() >= self.limits.max_connections {
            self.metrics.refuse(Reason::max_connections);
            if self.tls.is_none() {
                // As much as fits without waiting; the socket is new, so all of it.
                let _ = tcp.try_write(TOO_MANY_CONNECTIONS);
            }
            return;
        }
        // Answers are written in one piece or as they come; waiting for more is never right. It
        // fails only on a connection that is dead already.
        let _ = tcp.set_nodelay(true);
        let Some(place) = self.workers.place() else {
            let tasks = self.tasks.clone();
            tasks.spawn(self.connection(tcp, peer));
            return;
        };
        // The worker's own event queue watches it from here on.
        match tcp.into_std() {
            Ok(tcp) => self.hand_over(tcp, peer, place),
            Err(error) => {
                tracing::error!(%error, "a connection cannot be handed to the thread that should serve it");
                self.metrics.refuse(Reason::accept_error);
            }
        }
    }

    fn hand_over(self: Arc<Self>, tcp: std::net::TcpStream, peer: SocketAddr, place: Place) {
        let tasks = self.tasks.clone();
        place.spawn(&tasks, async move {
            match TcpStream::from_std(tcp) {
                Ok(tcp) => self.connection(tcp, peer).await,
                Err(error) => {
                    tracing::error!(%error, "a connection cannot be watched");
                    self.metrics.refuse(Reason::accept_error);
                }
            }
        });
    }

    /// One connection, counted while it is open.
    fn connection(
        self: Arc<Self>,
        tcp: TcpStream,
        peer: SocketAddr,
    ) -> impl Future<Output = ()> + Send {
        let token = self.connections.token();
        async move {
            self.metrics.0.open.inc();
            let open = Open(self.metrics.clone());
            let caller = Caller {
                service: self.service.clone(),
                peer,
                tls: self.tls.is_some(),
                limits: self.limits.clone(),
                metrics: self.metrics.clone(),
                activity: Arc::new(Activity::default()),
            };
            let spawner = Spawner::new(self.tasks.clone(), self.workers.clone());
            serve(tcp, self.tls.as_ref(), caller, &self.stage, spawner).await;
            drop((open, token));
        }
    }
}

/// One open connection in the gauge.
struct Open(ServerMetrics);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.dec();
    }
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    if shared {
        socket.set_reuseport(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_clients_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Connections that may wait to be accepted; the system may set a lower limit.
const BACKLOG: u32 = 4096;

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a client gets that there is no room for.
const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    connection: close\r\ncontent-type: text/plain\r\ncontent-length: 20\r\n\r\ntoo many connections";
