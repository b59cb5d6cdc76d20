//! What goes back to the client: a status, headers and a body that is complete or still coming.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::failure::Failure;

/// A stream of body bytes. Each item is flushed to the client as it comes; dropping the stream (the
/// client left) ends the call behind it. It never yields an error: what goes wrong is told to the
/// client in the stream's own format, then the stream ends.
pub type BodyStream = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// Bytes of another's answer that are passed on. An error cuts the client's answer off.
pub type Relayed = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

/// The body of a reply.
pub enum ReplyBody {
    /// All of it.
    Full(Bytes),
    /// Frame after frame.
    Stream(BodyStream),
    /// Another's answer as it comes. The headers may say its length.
    Relay(Relayed),
}

/// A reply to the client.
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers, without framing headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: ReplyBody,
}

impl Reply {
    /// A JSON reply.
    #[must_use]
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::full(status, "application/json", body)
    }

    /// A complete reply of the given media type.
    #[must_use]
    pub fn full(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self {
            status,
            headers,
            body: ReplyBody::Full(body.into()),
        }
    }

    /// Server-sent events.
    #[must_use]
    pub fn events(body: BodyStream) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        );
        Self {
            status: StatusCode::OK,
            headers,
            body: ReplyBody::Stream(body),
        }
    }
}
