//! The body of a response: bytes in hand, or a stream that is written as it comes.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

use crate::ServerMetrics;
use crate::activity::InFlight;

/// Any error that may cross threads.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response.
#[derive(Default)]
pub enum RespBody {
    /// No body.
    #[default]
    Empty,
    /// The whole body, sent with its length.
    Full(Bytes),
    /// Pieces, each written and flushed when it comes, without waiting for the next. An error cuts
    /// the connection (HTTP/1.1) or resets the stream (HTTP/2), so that the client sees that the
    /// body is not whole. Dropped as soon as the client leaves.
    Stream(Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>),
}

impl RespBody {
    /// Wraps a stream.
    pub fn stream<S>(stream: S) -> Self
    where
        S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    {
        Self::Stream(Box::pin(stream))
    }
}

impl<T: Into<Bytes>> From<T> for RespBody {
    fn from(bytes: T) -> Self {
        Self::Full(bytes.into())
    }
}

impl fmt::Debug for RespBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// A response body on its way out; its request is in flight until it is dropped.
pub(crate) struct Outgoing {
    pub(crate) body: RespBody,
    pub(crate) metrics: ServerMetrics,
    pub(crate) _in_flight: InFlight,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let stream = match &mut this.body {
            RespBody::Empty => return Poll::Ready(None),
            RespBody::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                this.body = RespBody::Empty;
                return Poll::Ready(match bytes.is_empty() {
                    true => None,
                    false => Some(Ok(Frame::data(bytes))),
                });
            }
            RespBody::Stream(stream) => stream,
        };
        match catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx))) {
            Ok(polled) => polled.map(|item| item.map(|item| item.map(Frame::data))),
            Err(_) => {
                this.metrics.0.panics.inc();
                tracing::error!("a response stream panicked; the response is cut off");
                this.body = RespBody::Empty;
                Poll::Ready(Some(Err("the response stream failed".into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            RespBody::Empty => true,
            RespBody::Full(bytes) => bytes.is_empty(),
            RespBody::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            RespBody::Empty => SizeHint::with_exact(0),
            RespBody::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            RespBody::Stream(_) => SizeHint::default(),
        }
    }
}
