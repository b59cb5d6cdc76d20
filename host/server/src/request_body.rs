//! The body of a request: bounded in size and in silence.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use tokio::time::Sleep;
use witgate_pipeline::BodyFault;

use crate::Limits;
use crate::activity::Activity;

/// The body of a request, and who sends it.
pub struct ReqBody {
    source: Source,
    peer: SocketAddr,
    tls: bool,
    max: u64,
    idle: Duration,
    taken: u64,
    ended: bool,
}

enum Source {
    Client {
        incoming: Incoming,
        activity: Arc<Activity>,
    },
    Bytes(Bytes),
    Failed(BodyError),
}

/// Why a request body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than [`Limits::body_bytes`]; found from the announced length where there is one.
    #[error("the request body is larger than {max} bytes")]
    TooLarge {
        /// The limit in bytes.
        max: u64,
    },
    /// Nothing arrived for [`Limits::body_idle_timeout`].
    #[error("no more of the request body arrived for {} ms", idle.as_millis())]
    Stalled {
        /// The silence that was allowed.
        idle: Duration,
    },
    /// The client left, or its framing is broken: nobody is there to be answered.
    #[error("the request body ended early")]
    Broken,
}

impl BodyError {
    /// The same for the pipeline; `announced` is the length that the client told, if it did.
    pub(crate) fn fault(self, announced: Option<u64>) -> BodyFault {
        match self {
            Self::TooLarge { max } => BodyFault::TooLarge {
                length: announced.unwrap_or(max),
                limit: max,
            },
            Self::Stalled { .. } => BodyFault::Stalled,
            Self::Broken => BodyFault::Broken,
        }
    }
}

impl ReqBody {
    pub(crate) fn new(
        incoming: Incoming,
        peer: SocketAddr,
        tls: bool,
        limits: &Limits,
        activity: Arc<Activity>,
    ) -> Self {
        let ended = incoming.is_end_stream();
        Self {
            source: Source::Client { incoming, activity },
            peer,
            tls,
            max: limits.body_bytes,
            idle: limits.body_idle_timeout,
            taken: 0,
            ended,
        }
    }

    /// The same body under a lower limit in bytes. A higher one than the listener's has no effect.
    #[must_use]
    pub fn limited(mut self, max: u64) -> Self {
        self.max = self.max.min(max);
        self
    }

    /// The client's address, as the socket has it.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the request came over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// The announced length in bytes.
    #[must_use]
    pub fn announced(&self) -> Option<u64> {
        match &self.source {
            Source::Client { incoming, .. } => incoming.size_hint().exact(),
            Source::Bytes(bytes) => Some(bytes.len() as u64),
            Source::Failed(_) => None,
        }
    }

    /// The same body, read already when it is announced to be no longer than this: then whoever drops it costs the client
    /// no connection.
    pub async fn early(mut self, most: u64) -> Self {
        if self.ended || self.announced().is_none_or(|length| length > most) {
            return self;
        }
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            match chunk {
                Ok(chunk) => whole.extend_from_slice(&chunk),
                Err(error) => {
                    if let Source::Client { activity, .. } = &self.source {
                        activity.left_body_unread();
                    }
                    self.source = Source::Failed(error);
                    self.ended = false;
                    return self;
                }
            }
        }
        self.ended = whole.is_empty();
        self.source = Source::Bytes(whole.freeze());
        self
    }

    /// The body, when it has been read already and fits the limit.
    ///
    /// # Errors
    /// The same body, when something is still to come.
    pub fn in_hand(mut self) -> Result<Bytes, Self> {
        if self.ended {
            return Ok(Bytes::new());
        }
        match &mut self.source {
            Source::Bytes(bytes) if bytes.len() as u64 <= self.max => {
                self.ended = true;
                Ok(std::mem::take(bytes))
            }
            _ => Err(self),
        }
    }

    /// The whole body. One that arrived in one piece is not copied.
    ///
    /// A body that is refused, or dropped unread, costs the client its HTTP/1.1 connection after the
    /// response; the response itself is delivered also while the client is still sending.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn collect(mut self) -> Result<Bytes, BodyError> {
        let announced = self.announced();
        if announced.is_some_and(|length| length > self.max) {
            return Err(BodyError::TooLarge { max: self.max });
        }
        let Some(first) = self.chunk().await else {
            return Ok(Bytes::new());
        };
        let first = first?;
        if self.ended {
            return Ok(first);
        }
        let Some(second) = self.chunk().await else {
            return Ok(first);
        };
        let second = second?;
        let known = (first.len() + second.len()).max(announced.unwrap_or(0) as usize);
        let mut whole = BytesMut::with_capacity(known.min(TRUSTED_LENGTH_MAX));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(chunk) = self.chunk().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole.freeze())
    }

    /// The next piece, or `None` at the end. Trailers are passed over.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        let mut silence = pin!(None);
        std::future::poll_fn(|cx| self.poll_chunk(cx, silence.as_mut())).await
    }

    fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
        mut silence: Pin<&mut Option<Sleep>>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let incoming = match &mut self.source {
            Source::Client { incoming, .. } => incoming,
            Source::Bytes(bytes) => {
                self.ended = true;
                return Poll::Ready(Some(Ok(std::mem::take(bytes))));
            }
            Source::Failed(error) => {
                let error = *error;
                self.ended = true;
                return Poll::Ready(Some(Err(error)));
            }
        };
        loop {
            match Pin::new(&mut *incoming).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    self.taken += data.len() as u64;
                    if self.taken > self.max {
                        return Poll::Ready(Some(Err(BodyError::TooLarge { max: self.max })));
                    }
                    self.ended = incoming.is_end_stream();
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(_))) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(BodyError::Broken)));
                }
                Poll::Ready(None) => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                Poll::Pending => {}
            }
            // Most bodies arrive with their head and never get here: no timer for them.
            if silence.is_none() {
                silence.set(Some(tokio::time::sleep(self.idle)));
            }
            return match silence.as_mut().as_pin_mut().map(|timer| timer.poll(cx)) {
                Some(Poll::Ready(())) => {
                    Poll::Ready(Some(Err(BodyError::Stalled { idle: self.idle })))
                }
                _ => Poll::Pending,
            };
        }
    }
}

/// More memory than this is not set aside on a client's word.
const TRUSTED_LENGTH_MAX: usize = 1024 * 1024;

impl From<Bytes> for ReqBody {
    /// A body without a client, for requests made inside the gateway and for tests.
    fn from(bytes: Bytes) -> Self {
        Self {
            ended: bytes.is_empty(),
            source: Source::Bytes(bytes),
            peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            tls: false,
            max: u64::MAX,
            idle: Duration::MAX,
            taken: 0,
        }
    }
}

impl Drop for ReqBody {
    fn drop(&mut self) {
        if let (false, Source::Client { activity, .. }) = (self.ended, &self.source) {
            activity.left_body_unread();
        }
    }
}

impl fmt::Debug for ReqBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqBody")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
