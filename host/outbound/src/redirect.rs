//! Following redirects, hop by hop under the same policy.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST,
    LOCATION, PROXY_AUTHORIZATION, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode, Uri};
use url::Url;

use crate::error::Kind;
use crate::{Body, Client, Incoming, SendError};

/// What must not reach another origin. `api-key` and its kin are how vendors spell Authorization.
const CREDENTIALS: [HeaderName; 6] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

impl Client {
    /// Sends a request and follows up to `max` redirects. Every hop is checked against the policy
    /// as if it were asked for directly; credentials stay behind when the origin changes, and so do
    /// requests that would move from `https` to `http`, which end with the redirect itself.
    ///
    /// 301, 302 and 303 turn a request with a body into a GET, 307 and 308 repeat it; a streamed body
    /// cannot be repeated, then the redirect itself is the answer.
    ///
    /// # Errors
    /// As [`Client::send`], and when there are more than `max` redirects.
    pub async fn send_following(
        &self,
        mut request: Request<Body>,
        max: usize,
    ) -> Result<Response<Incoming>, SendError> {
        for _ in 0..=max {
            let again = Again {
                method: request.method().clone(),
                uri: request.uri().clone(),
                headers: request.headers().clone(),
                body: request.body().try_clone(),
            };
            let response = self.send(request).await?;
            match again.after(&response) {
                Some(next) => request = next,
                None => return Ok(response),
            }
        }
        Err(SendError::new(
            Kind::TooManyRedirects(max),
            request.uri().host().unwrap_or_default(),
        ))
    }
}

/// What is needed to send a request once more, elsewhere.
struct Again {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Option<Body>,
}

impl Again {
    /// The request that the response asks for, or `None` when the response is the answer.
    fn after<B>(mut self, response: &Response<B>) -> Option<Request<Body>> {
        let becomes_get = match response.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => self.method == Method::POST,
            StatusCode::SEE_OTHER => self.method != Method::HEAD,
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => false,
            _ => return None,
        };
        let location = response.headers().get(LOCATION)?.to_str().ok()?;
        let here = Url::parse(&self.uri.to_string()).ok()?;
        let mut there = here.join(location).ok()?;
        if here.scheme() == "https" && there.scheme() != "https" {
            return None;
        }
        there.set_fragment(None);
        let body = match becomes_get {
            true => {
                self.method = Method::GET;
                for name in [
                    CONTENT_TYPE,
                    CONTENT_LENGTH,
                    CONTENT_ENCODING,
                    CONTENT_LANGUAGE,
                    TRANSFER_ENCODING,
                ] {
                    self.headers.remove(name);
                }
                Body::Empty
            }
            false => self.body?,
        };
        if here.origin() != there.origin() {
            for name in CREDENTIALS {
                self.headers.remove(name);
            }
        }
        self.headers.remove(HOST);
        let mut request = Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = there.as_str().parse().ok()?;
        *request.headers_mut() = self.headers;
        Some(request)
    }
}
