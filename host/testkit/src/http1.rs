//! A small HTTP/1.1 server over bare sockets.
//!
//! Written by hand because a fake must be able to do what a server library forbids: reset a
//! connection, lie about a length, stop in the middle of a frame; and because it must show the
//! caller's exact bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A head longer than this is refused: no test needs it, and a runaway client should show.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// One request as it came over the wire.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method, as sent.
    pub method: String,
    /// The request target: path and query, as sent.
    pub target: String,
    /// Header fields in order, names and values as sent.
    pub headers: Vec<(String, String)>,
    /// The body after transfer decoding, byte for byte.
    pub body: Bytes,
    /// Which connection of this server carried it, from 0.
    pub connection: usize,
    /// When its last byte was read.
    pub at: Instant,
}

impl Recorded {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The body as JSON; panics when it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("request body is not JSON ({error}): {:?}", self.body))
    }
}

/// What happens to the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next request may come.
    KeepAlive,
    /// An orderly close.
    Close,
    /// A TCP reset.
    Reset,
}

/// Answers requests of one server.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Writes the answer to `peer` and says what becomes of the connection.
    fn answer(&self, request: Recorded, peer: &mut Peer) -> impl Future<Output = Next> + Send;
}

/// A listening server; dropping it closes the listener and every connection.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Server {
    /// Listens on an ephemeral loopback port.
    pub(crate) async fn start(handler: impl Handler) -> Self {
        Self::start_at("127.0.0.1:0", handler).await
    }

    /// Listens on the given address.
    pub(crate) async fn start_at(address: &str, handler: impl Handler) -> Self {
        let listener = TcpListener::bind(address)
            .await
            .expect("bind a loopback port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let handler = Arc::new(handler);
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        let connection = count.fetch_add(1, Ordering::SeqCst);
                        open.spawn(serve_connection(Arc::clone(&handler), stream, connection));
                    }
                    Some(_) = open.join_next() => {}
                }
            }
        })
        .abort_handle();
        Self {
            address,
            connections,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The client's end of one connection, as the handler sees it.
pub(crate) struct Peer {
    stream: TcpStream,
    unread: BytesMut,
}

impl Peer {
    /// Writes and flushes; an error means that the client is gone.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Resolves when the client closed or reset the connection. Bytes it sends meanwhile are
    /// kept for the next request.
    pub(crate) async fn gone(&mut self) {
        loop {
            match self.stream.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    async fn more(&mut self) -> Option<()> {
        match self.stream.read_buf(&mut self.unread).await {
            Ok(0) | Err(_) => None,
            Ok(_) => Some(()),
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread.split_to(end);
                self.unread.advance(2);
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            self.more().await?;
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Bytes> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Some(self.unread.split_to(count).freeze())
    }

    async fn chunked_body(&mut self) -> Option<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let size_line = self.line().await?;
            let digits = size_line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).ok()?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Some(body.freeze());
            }
            body.extend_from_slice(&self.exactly(size).await?);
            self.exactly(2).await?;
        }
    }

    /// The next request, or `None` when the client closed or spoke nonsense.
    async fn request(&mut self, connection: usize) -> Option<Recorded> {
        let head_end = loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if self.unread.len() > HEAD_BYTES_MAX {
                return None;
            }
            self.more().await?;
        };
        let head = self.unread.split_to(head_end + 4);
        let head = String::from_utf8_lossy(head.get(..head_end)?).into_owned();
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let find = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value.clone())
        };
        let body = if find("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            self.chunked_body().await?
        } else {
            let length = find("content-length").and_then(|value| value.parse().ok());
            self.exactly(length.unwrap_or(0)).await?
        };
        Some(Recorded {
            method,
            target,
            headers,
            body,
            connection,
            at: Instant::now(),
        })
    }
}

async fn serve_connection(handler: Arc<impl Handler>, stream: TcpStream, connection: usize) {
    // Frames must leave as they are written: tests measure when they arrive.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut peer = Peer {
        stream,
        unread: BytesMut::with_capacity(8 << 10),
    };
    while let Some(request) = peer.request(connection).await {
        match handler.answer(request, &mut peer).await {
            Next::KeepAlive => {}
            Next::Close => {
                let _ = peer.stream.shutdown().await;
                return;
            }
            Next::Reset => {
                let _ = peer.stream.set_zero_linger();
                return;
            }
        }
    }
}
