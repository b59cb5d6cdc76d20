//! `type: s3`: Amazon S3 and stores that speak like it.

use std::time::{Duration, UNIX_EPOCH};

use ::http::{HeaderName, HeaderValue, Method, Request, header};
use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use witgate_outbound::Body;
use witgate_signing::aws::{Credentials, Scope, sign};
use witgate_signing::unescape;

use super::Http;
use super::objects::{Bucket, PAGE, Page, path, query, request, texts, unescaped};
use crate::{Trouble, Write};

/// How long caches in between may keep what says nothing, seconds.
const YEAR_S: u64 = 31_536_000;

/// A bucket.
pub struct S3 {
    /// Where its objects lie, with a slash at the end.
    base: String,
    region: String,
    credentials: Credentials,
}

impl S3 {
    /// A bucket at an endpoint, or at Amazon's.
    #[must_use]
    pub fn new(
        bucket: &str,
        region: &str,
        endpoint: Option<&str>,
        use_ssl: bool,
        credentials: Credentials,
    ) -> Self {
        let scheme = if use_ssl { "https" } else { "http" };
        let base = match endpoint {
            Some(endpoint) => format!("{}/{bucket}/", endpoint.trim_end_matches('/')),
            // A certificate of Amazon's covers one name before its own.
            None if bucket.contains('.') => {
                format!("{scheme}://s3.{region}.amazonaws.com/{bucket}/")
            }
            None => format!("{scheme}://{bucket}.s3.{region}.amazonaws.com/"),
        };
        Self {
            base,
            region: region.to_owned(),
            credentials,
        }
    }
}

#[async_trait]
impl Bucket for S3 {
    fn name(&self) -> &'static str {
        "s3"
    }

    /// LiteLLM keeps a list of inputs as one object here.
    fn has_items(&self) -> bool {
        false
    }

    async fn request(
        &self,
        _: &Http,
        method: Method,
        object: &str,
        write: Option<&Write>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        let url = format!("{}{}", self.base, path(object));
        let mut request = request(method, &url, write)?;
        if let Some(write) = write {
            describe(&mut request, object, write);
        }
        self.signed(request, now_ms)
    }

    async fn list(
        &self,
        _: &Http,
        prefix: &str,
        after: Option<&str>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        // Sorted, as the signature wants it. Names come escaped: XML cannot carry all of them.
        let mut pairs = vec![
            ("encoding-type", "url"),
            ("list-type", "2"),
            ("max-keys", PAGE),
            ("prefix", prefix),
        ];
        if let Some(after) = after {
            pairs.insert(0, ("continuation-token", after));
        }
        let url = format!("{}?{}", self.base, query(&pairs));
        self.signed(request(Method::GET, &url, None)?, now_ms)
    }

    fn listed(&self, answer: &[u8]) -> Result<Page, Trouble> {
        let xml = String::from_utf8_lossy(answer);
        let plain = |name: &str| {
            let name = unescaped(name).replace('+', " ");
            String::from_utf8_lossy(&unescape(&name)).into_owned()
        };
        Ok(Page {
            names: texts(&xml, "Key").map(plain).collect(),
            after: texts(&xml, "NextContinuationToken").next().map(unescaped),
        })
    }
}

impl S3 {
    fn signed(&self, mut request: Request<Body>, now_ms: i64) -> Result<Request<Body>, Trouble> {
        let payload = match request.body() {
            Body::Full(bytes) => hex::encode(Sha256::digest(bytes)),
            _ => hex::encode(Sha256::digest(b"")),
        };
        let now = Timestamp::from_millisecond(now_ms)
            .map_err(|error| Trouble(format!("the clock is off: {error}")))?;
        let scope = Scope::at(now, &self.region, "s3");
        let signed = sign(&mut request, &payload, &self.credentials, &scope);
        signed.map_err(|error| Trouble(error.0))?;
        Ok(request)
    }
}

/// LiteLLM's headers of an object.
fn describe(request: &mut Request<Body>, object: &str, write: &Write) {
    let control = |s: u64| format!("immutable, max-age={s}, s-maxage={s}");
    let mut headers: Vec<(HeaderName, String)> = vec![
        (header::CONTENT_LANGUAGE, "en".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("inline; filename=\"{object}.json\""),
        ),
        (
            header::CACHE_CONTROL,
            control(write.ttl.map_or(YEAR_S, |ttl| ttl.as_secs())),
        ),
    ];
    let until = write.until_ms().and_then(|until| u64::try_from(until).ok());
    if let Some(at) = until.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms)))
        // The form of a date has four digits for the year.
        && write.ttl.is_some_and(|ttl| ttl.as_secs() < 100 * YEAR_S)
    {
        headers.push((header::EXPIRES, httpdate::fmt_http_date(at)));
    }
    for (name, text) in headers {
        // A namespace may have characters that no header can carry.
        if let Ok(value) = HeaderValue::try_from(text) {
            request.headers_mut().insert(name, value);
        }
    }
}
