//! What can go wrong with an outgoing request, told without its URL, query or headers.

use std::{fmt, io};

use crate::BoxError;
use crate::egress::Denied;

/// Why a [`Client`](crate::Client) could not be built: always a fault in its options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A certificate or key cannot be read or holds no usable PEM.
    #[error("{path}: {reason}; give a readable PEM file")]
    Pem {
        /// The file named in the options, or what was given as text.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refused the certificate, the key or their combination.
    #[error("the TLS settings do not work: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why no response head arrived. Ask it questions; its text carries the host, never the path,
/// the query or a header.
pub struct SendError {
    pub(crate) inner: Box<Inner>,
}

pub(crate) struct Inner {
    pub(crate) kind: Kind,
    pub(crate) host: Box<str>,
    pub(crate) source: Option<BoxError>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Denied(Denied),
    ConnectTimeout,
    Resolve,
    Connect,
    Closed,
    BadRequest(&'static str),
    TooManyRedirects(usize),
    Protocol,
    RequestBody,
}

impl SendError {
    pub(crate) fn new(kind: Kind, host: &str) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                host: host.into(),
                source: None,
            }),
        }
    }

    pub(crate) fn with(kind: Kind, host: &str, source: impl Into<BoxError>) -> Self {
        Self {
            inner: Box::new(Inner {
                kind,
                host: host.into(),
                source: Some(source.into()),
            }),
        }
    }

    pub(crate) fn denied_by(denied: Denied) -> Self {
        let host = denied.host.clone();
        Self::new(Kind::Denied(denied), &host)
    }

    /// No connection came about: name not found, refused, unreachable, TLS failure, connect timeout.
    /// Nothing was sent.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self.inner.kind,
            Kind::ConnectTimeout | Kind::Resolve | Kind::Connect
        )
    }

    /// The connect timeout passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.inner.kind, Kind::ConnectTimeout)
    }

    /// The egress policy refused the destination. See [`Self::denied`].
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.inner.kind, Kind::Denied(_))
    }

    /// The connection was closed or reset after the request was (at least partly) sent and before
    /// a response head arrived. The peer may or may not have acted on the request.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.inner.kind, Kind::Closed)
    }

    /// The peer answered with something that is not HTTP.
    #[must_use]
    pub fn is_protocol(&self) -> bool {
        matches!(self.inner.kind, Kind::Protocol)
    }

    /// The refusal, when [`Self::is_denied`].
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        match &self.inner.kind {
            Kind::Denied(denied) => Some(denied),
            _ => None,
        }
    }

    /// The host the request was for, as far as known.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.inner.host
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.inner.host;
        match &self.inner.kind {
            Kind::Denied(denied) => return denied.fmt(f),
            Kind::ConnectTimeout => write!(f, "connecting to {host} took too long")?,
            Kind::Resolve => write!(f, "the name {host} could not be resolved")?,
            Kind::Connect => write!(f, "could not connect to {host}")?,
            Kind::Closed => write!(f, "{host} closed the connection before it answered")?,
            Kind::BadRequest(what) => write!(f, "the request to {host:?} cannot be sent: {what}")?,
            Kind::TooManyRedirects(max) => write!(f, "{host} redirected more than {max} times")?,
            Kind::Protocol => write!(f, "{host} did not answer with valid HTTP")?,
            Kind::RequestBody => write!(f, "the body of the request to {host} failed")?,
        }
        match &self.inner.source {
            Some(source) => write!(f, ": {}", Chain(source.as_ref())),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendError")
            .field("kind", &self.inner.kind)
            .field("host", &self.inner.host)
            .field(
                "source",
                &self.inner.source.as_deref().map(|s| Chain(s).to_string()),
            )
            .finish()
    }
}

impl std::error::Error for SendError {}

/// Why a response body stopped before its end.
#[derive(Debug)]
pub struct BodyError {
    source: hyper::Error,
}

impl BodyError {
    pub(crate) fn new(source: hyper::Error) -> Self {
        Self { source }
    }

    /// The peer closed or reset the connection in the middle of the body, or sent fewer bytes than
    /// it had announced.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        is_closed(&self.source)
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the response body ended early: {}", Chain(&self.source))
    }
}

impl std::error::Error for BodyError {}

/// Whether hyper's error means that the peer went away, rather than that it spoke nonsense.
fn is_closed(error: &hyper::Error) -> bool {
    let mut cause = Some(error as &(dyn std::error::Error + 'static));
    while let Some(error) = cause {
        // Broken chunk framing arrives as one of these.
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return !matches!(
                io.kind(),
                io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData
            );
        }
        cause = error.source();
    }
    !error.is_parse()
}

/// What hyper's error means for a request whose response head has not arrived.
pub(crate) fn kind_of(error: &hyper::Error) -> Kind {
    if error.is_user() {
        Kind::RequestBody
    } else if error.is_parse() {
        Kind::Protocol
    } else {
        Kind::Closed
    }
}

/// An error followed by its causes; hyper's and rustls' own texts hold no URL and no header.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // io::Error::other repeats its payload, both as itself and as its source.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}
