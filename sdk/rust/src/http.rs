//! HTTP through the gateway's own client. Connections, TLS, proxies, and which hosts may be reached
//! are the host's affair.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::bindings::host::witgate::host::http;
use crate::secrets::Secret;

pub use http::HttpError;

/// A GET request.
pub fn get(url: impl Into<String>) -> Request<'static> {
    Request::new("GET", url)
}

/// A POST request.
pub fn post(url: impl Into<String>) -> Request<'static> {
    Request::new("POST", url)
}

/// A request under construction.
pub struct Request<'a> {
    wire: http::Request,
    auth: Option<http::Auth<'a>>,
    identity: Option<(&'a Secret, &'a Secret)>,
}

impl<'a> Request<'a> {
    /// A request with this upper-case method to this absolute `http` or `https` URL.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        let wire = http::Request {
            method: method.to_owned(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        };
        Self {
            wire,
            auth: None,
            identity: None,
        }
    }

    /// Adds a header; the name in lower case.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.wire.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body as it is.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.wire.body = body.into();
        self
    }

    /// Sets a body that is JSON already, and `content-type`.
    pub fn json_text(self, json: impl Into<String>) -> Self {
        self.header("content-type", "application/json")
            .body(json.into().into_bytes())
    }

    /// Sets the body to the value as JSON, and `content-type`.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Error> {
        let json = serde_json::to_string(value)?;
        Ok(self.json_text(json))
    }

    /// Milliseconds for the whole exchange, instead of what is left of the call's time.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Self {
        self.wire.timeout_ms = Some(timeout_ms);
        self
    }

    /// Lets the host add `authorization: Bearer <secret>`.
    pub fn bearer(self, secret: &'a Secret) -> Self {
        Self {
            auth: Some(http::Auth::Bearer(secret)),
            ..self
        }
    }

    /// Lets the host add `authorization: Basic <base64(user:secret)>`.
    pub fn basic(self, user: &str, secret: &'a Secret) -> Self {
        Self {
            auth: Some(http::Auth::Basic((user.to_owned(), secret))),
            ..self
        }
    }

    /// Lets the host add the named header with the secret as its whole value.
    pub fn secret_header(self, name: &str, secret: &'a Secret) -> Self {
        Self {
            auth: Some(http::Auth::Header((name.to_owned(), secret))),
            ..self
        }
    }

    /// Lets the host show a client certificate when the server asks for one (mutual TLS): certificate and private key, both
    /// PEM. Redirects are not followed. For [`send`](Self::send) only.
    pub fn identity(self, certificate: &'a Secret, key: &'a Secret) -> Self {
        Self {
            identity: Some((certificate, key)),
            ..self
        }
    }

    /// Lets the host add headers whose whole values are secrets, as [`secrets::headers`](crate::secrets::headers) gives
    /// them. They take the place of other authentication, and of headers of the same names; redirects are not followed.
    pub fn send_with(self, headers: &[(String, Secret)]) -> Result<Response, HttpError> {
        let headers: Vec<(String, &Secret)> = headers
            .iter()
            .map(|(name, secret)| (name.clone(), secret))
            .collect();
        http::send_with_secrets(&self.wire, &headers).map(Response)
    }

    pub(crate) fn into_wire(self) -> http::Request {
        self.wire
    }

    /// Sends the request and waits for the whole response, whatever its status.
    pub fn send(self) -> Result<Response, HttpError> {
        match self.identity {
            None => http::send(&self.wire, self.auth.as_ref()).map(Response),
            Some((certificate, key)) => {
                let identity = http::ClientIdentity { certificate, key };
                http::send_as_client(&self.wire, self.auth.as_ref(), &identity).map(Response)
            }
        }
    }
}

/// Sends requests side by side and waits for all of them; the answers are in the order of the requests. The host has a
/// limit on how many are under way at once, and takes any number in groups of 64.
pub fn send_all(requests: Vec<Request<'_>>) -> Vec<Result<Response, HttpError>> {
    const GROUP: usize = 64;
    let mut answers = Vec::with_capacity(requests.len());
    let mut requests = requests.into_iter().peekable();
    while requests.peek().is_some() {
        let group = requests.by_ref().take(GROUP);
        let group: Vec<_> = group.map(|request| (request.wire, request.auth)).collect();
        answers.extend(
            http::send_all(&group)
                .into_iter()
                .map(|one| one.map(Response)),
        );
    }
    answers
}

/// A response, read to its end.
#[derive(Debug)]
pub struct Response(http::Response);

impl Response {
    /// A response made by hand, for tests.
    pub fn new(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Self {
        Self(http::Response {
            status,
            headers,
            body,
        })
    }

    pub(crate) fn from_wire(wire: http::Response) -> Self {
        Self(wire)
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.0.status)
    }

    /// Whether the same request may succeed later: 408, 429 and 5xx.
    pub fn is_worth_a_retry(&self) -> bool {
        matches!(self.0.status, 408 | 429 | 500..=599)
    }

    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.0
            .headers
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    /// The server's `retry-after`, when it is a number of seconds, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        let seconds: u64 = self.header("retry-after")?.trim().parse().ok()?;
        Some(seconds.saturating_mul(1000))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The body as text, with what is not UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.body).into_owned()
    }

    /// The body as `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.0.body)?)
    }

    /// `status 503: ` and the start of the body, for a reason or an error.
    pub fn summary(&self) -> String {
        const MAX_CHARS: usize = 300;
        let text = self.text();
        let mut short: String = text.chars().take(MAX_CHARS).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        format!("status {}: {short}", self.0.status)
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Denied(text) => Self::Denied(text),
            HttpError::Timeout => Self::Unavailable("no answer in time".to_owned()),
            HttpError::Connection(text) => Self::Unavailable(text),
            HttpError::TooLarge(limit) => {
                Self::Failed(format!("the response is larger than {limit} bytes"))
            }
            HttpError::Invalid(text) => Self::Failed(text),
        }
    }
}
