//! The body of a response. Reading it drives its connection; reading it to the end gives the
//! connection back to the pool; dropping it earlier closes the connection, or the stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::BodyError;
use crate::exchange::{Exchange, quiet};
use crate::pool::Pool;

/// The body of a response.
///
/// While a request body is still being sent, it is sent as this body is read.
#[must_use = "a body that is dropped unread closes its connection"]
pub struct Incoming {
    body: hyper::body::Incoming,
    /// HTTP/1.1 only, until the end of the body. HTTP/2 connections are driven elsewhere.
    exchange: Option<(Box<Exchange>, Arc<Pool>)>,
}

impl Incoming {
    pub(crate) fn http1(
        body: hyper::body::Incoming,
        exchange: Box<Exchange>,
        pool: Arc<Pool>,
    ) -> Self {
        let mut incoming = Self {
            body,
            exchange: Some((exchange, pool)),
        };
        if incoming.body.is_end_stream() {
            incoming.finish();
        }
        incoming
    }

    pub(crate) fn http2(body: hyper::body::Incoming) -> Self {
        Self {
            body,
            exchange: None,
        }
    }

    /// The body ended: the connection may serve the next request.
    fn finish(&mut self) {
        if let Some((exchange, pool)) = self.exchange.take() {
            pool.put(exchange);
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Some((exchange, _)) = &mut this.exchange else {
            return Pin::new(&mut this.body)
                .poll_frame(cx)
                .map_err(BodyError::new);
        };
        // As in `Exchange::send`: only the driver brings frames, and it gets our waker only when
        // there are none yet.
        let mut polled = Pin::new(&mut this.body).poll_frame(&mut quiet());
        for waker in [Waker::noop(), cx.waker()] {
            if polled.is_pending() {
                exchange.drive(&mut Context::from_waker(waker));
                polled = Pin::new(&mut this.body).poll_frame(&mut quiet());
            }
        }
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                // Readers that know the length do not come back for the end.
                if this.body.is_end_stream() {
                    this.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                this.exchange = None;
                Poll::Ready(Some(Err(BodyError::new(error))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Incoming {
    /// A reader may stop at the last byte that means something to it, before the end of the body as
    /// HTTP frames it. What has already arrived is passed over, so that the connection is kept.
    fn drop(&mut self) {
        let Some((exchange, _)) = &mut self.exchange else {
            return;
        };
        exchange.drive(&mut quiet());
        let mut left = PASSED_OVER_MAX;
        while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(&mut quiet()) {
            match frame {
                None => return self.finish(),
                Some(Ok(frame)) => {
                    left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                    if left == 0 {
                        return;
                    }
                    exchange.drive(&mut quiet());
                }
                Some(Err(_)) => return,
            }
        }
    }
}

/// A new connection is cheaper than reading more than this.
const PASSED_OVER_MAX: usize = 16 * 1024;

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").finish_non_exhaustive()
    }
}
