//! Bounds on bodies: a largest size, a longest silence.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};

use crate::BoxError;

/// Why a body could not be collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The body is longer than allowed.
    #[error("the body is longer than {max} bytes")]
    TooLarge {
        /// The limit that was given, in bytes.
        max: usize,
    },
    /// The body failed before its end.
    #[error(transparent)]
    Body(BoxError),
}

/// Nothing arrived for the allowed time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("no data for {} ms", idle.as_millis())]
pub struct StalledError {
    /// The silence that was allowed.
    pub idle: Duration,
}

/// Reads a body to its end, at most `max` bytes. A body that announces more is refused before a
/// byte of it is read; one that comes in one piece is returned without a copy.
///
/// # Errors
/// [`CollectError::TooLarge`] past `max`, [`CollectError::Body`] when the body itself fails.
pub async fn collect_limited<B>(body: B, max: usize) -> Result<Bytes, CollectError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let hint = body.size_hint();
    if hint.lower() > max as u64 {
        return Err(CollectError::TooLarge { max });
    }
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CollectError::Body(error.into()))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + whole.len() + data.len() > max {
            return Err(CollectError::TooLarge { max });
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            // The announced length spares the growing; it was checked against `max` above.
            whole.reserve((hint.lower() as usize).max(first.len() + data.len()));
            whole.extend_from_slice(&first);
            first = Bytes::new();
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// A body that fails with [`StalledError`] when no frame arrives for a given time. The clock runs
/// only while somebody waits for a frame, so a slow reader is not blamed on the sender.
pub struct IdleTimeout<B> {
    body: B,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    waiting: bool,
}

impl<B> IdleTimeout<B> {
    /// Watches `body`; `idle` is the longest silence allowed.
    pub fn new(body: B, idle: Duration) -> Self {
        Self {
            body,
            idle,
            timer: Box::pin(tokio::time::sleep(idle)),
            waiting: false,
        }
    }
}

impl<B> Body for IdleTimeout<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if !this.waiting {
            this.waiting = true;
            this.timer.as_mut().reset(Instant::now() + this.idle);
        }
        match this.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(StalledError { idle: this.idle }.into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
