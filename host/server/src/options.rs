//! What can be set about the listener. Every wait and every size has a bound.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::{ServerMetrics, Workers};

/// Where and how to listen.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The address; port 0 takes any free port.
    pub bind: SocketAddr,
    /// Serve TLS only, with this certificate.
    pub tls: Option<TlsFiles>,
    /// Bounds on what a client may use.
    pub limits: Limits,
    /// How long requests in flight may take to end after the shutdown began.
    pub drain_timeout: Duration,
    /// Sockets that accept on the same port (`SO_REUSEPORT`). One serves well unless connections
    /// are opened by the thousand per second.
    pub accept_loops: usize,
    /// The threads that serve connections.
    pub workers: Workers,
    /// Where connections are counted.
    pub metrics: ServerMetrics,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Bounds on what a client may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Headers per request; more get a 431.
    pub header_count: usize,
    /// Bytes of request line and headers together; more get a 431. At least 8192.
    pub header_bytes: usize,
    /// Bytes of a request body, see [`BodyError::TooLarge`](crate::BodyError::TooLarge).
    pub body_bytes: u64,
    /// Longest time for the TLS handshake, and from the first byte of a request to the end of its
    /// headers. Then the connection is closed. Kept to a quarter of its length.
    pub header_read_timeout: Duration,
    /// Longest silence within a request body, see [`BodyError::Stalled`](crate::BodyError::Stalled).
    pub body_idle_timeout: Duration,
    /// How long a connection without a request is kept. Kept to a quarter of its length.
    pub keep_alive_idle: Duration,
    /// Requests at a time on one HTTP/2 connection.
    pub h2_max_streams: u32,
    /// Connections at a time; more are answered 503 and closed.
    pub max_connections: usize,
}

impl ServerOptions {
    /// Defaults for everything but the address: no TLS, 30 s to drain, one accept loop.
    #[must_use]
    pub fn new(bind: SocketAddr) -> Self {
        Self {
            bind,
            tls: None,
            limits: Limits::default(),
            drain_timeout: Duration::from_secs(30),
            accept_loops: 1,
            workers: Workers::default(),
            metrics: ServerMetrics::default(),
        }
    }
}

/// hyper's own limit: below it headers are parsed on the stack.
pub(crate) const HYPER_HEADER_COUNT: usize = 100;

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_count: HYPER_HEADER_COUNT,
            header_bytes: 64 * 1024,
            body_bytes: 100 * 1024 * 1024,
            header_read_timeout: Duration::from_secs(15),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive_idle: Duration::from_secs(120),
            h2_max_streams: 256,
            max_connections: 16_384,
        }
    }
}

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// A certificate or key file cannot be read or holds no usable PEM.
    #[error("{path}: {reason}; give a readable PEM file")]
    Pem {
        /// The file named in the options.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificate, the key or their combination does not work.
    #[error("the TLS certificate does not work: {0}")]
    Tls(#[from] rustls::Error),
}
