//! An object per entry.

use std::time::Duration;

use ::http::{Method, Request, StatusCode, header};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use witgate_outbound::Body;
use witgate_signing::escape;

use super::Http;
use crate::{Entry, NowMs, Place, Trouble, Write};

/// Objects that are written at the same time.
const AT_ONCE: usize = 8;

/// What tells one store from another.
#[async_trait]
pub trait Bucket: Send + Sync + 'static {
    /// LiteLLM's name of the kind.
    fn name(&self) -> &'static str;
    /// Whether the inputs of embeddings have objects of their own.
    fn has_items(&self) -> bool {
        true
    }
    /// The request that reads, writes or deletes an object, signed. Of one that is written, `write` is what it holds.
    async fn request(
        &self,
        http: &Http,
        method: Method,
        object: &str,
        write: Option<&Write>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble>;
}

/// A store of objects as a place for entries.
pub struct Objects<B> {
    bucket: B,
    http: Http,
    /// Before each name; empty, or with a slash at its end.
    folder: String,
    /// How old an entry may be, for stores that let nothing expire.
    ttl: Option<Duration>,
    now_ms: NowMs,
}

impl<B: Bucket> Objects<B> {
    /// The objects of a bucket, below a folder.
    pub fn new(bucket: B, http: Http, folder: Option<&str>, now_ms: NowMs) -> Self {
        let folder = folder.unwrap_or_default().trim_matches('/');
        Self {
            bucket,
            http,
            folder: match folder {
                "" => String::new(),
                folder => format!("{folder}/"),
            },
            ttl: None,
            now_ms,
        }
    }

    /// What is older is not there.
    #[must_use]
    pub fn aged(mut self, ttl: Option<Duration>) -> Self {
        self.ttl = ttl;
        self
    }

    /// LiteLLM's name of an object: namespaces are folders.
    fn object(&self, key: &str) -> String {
        format!("{}{}", self.folder, key.replace(':', "/"))
    }

    async fn put(&self, write: &Write) -> Result<(), Trouble> {
        let (object, now_ms) = (self.object(&write.key), (self.now_ms)());
        let request = self
            .bucket
            .request(&self.http, Method::PUT, &object, Some(write), now_ms)
            .await?;
        let answer = self.http.send(request).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(answer.trouble()),
        }
    }
}

#[async_trait]
impl<B: Bucket> Place for Objects<B> {
    fn name(&self) -> &'static str {
        self.bucket.name()
    }

    fn has_items(&self) -> bool {
        self.bucket.has_items()
    }

    async fn read(&self, key: &str, now_ms: i64) -> Result<Option<Entry>, Trouble> {
        let object = self.object(key);
        let request = self
            .bucket
            .request(&self.http, Method::GET, &object, None, now_ms)
            .await?;
        let answer = self.http.send(request).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(answer.trouble()),
        }
        let expires = answer.headers.get(header::EXPIRES);
        let expires = expires.and_then(|at| httpdate::parse_http_date(at.to_str().ok()?).ok());
        let expires = expires
            .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok())
            .and_then(|at| i64::try_from(at.as_millis()).ok());
        if expires.is_some_and(|at| at <= now_ms) {
            return Ok(None);
        }
        let entry = Entry::decode(&answer.body);
        let age = self.ttl.map(|ttl| ttl.as_secs_f64());
        Ok(entry.filter(|entry| entry.is_within(age, now_ms)))
    }

    async fn write(&self, writes: &[Write]) -> Result<(), Trouble> {
        let mut writing = FuturesUnordered::new();
        let mut outcome = Ok(());
        for write in writes {
            writing.push(self.put(write));
            if writing.len() >= AT_ONCE {
                outcome = outcome.and(writing.next().await.unwrap_or(Ok(())));
            }
        }
        while let Some(done) = writing.next().await {
            outcome = outcome.and(done);
        }
        outcome
    }

    async fn remove(&self, keys: &[String]) -> Result<(), Trouble> {
        for key in keys {
            let (object, now_ms) = (self.object(key), (self.now_ms)());
            let request = self
                .bucket
                .request(&self.http, Method::DELETE, &object, None, now_ms)
                .await?;
            let answer = self.http.send(request).await?;
            if !answer.status.is_success() && answer.status != StatusCode::NOT_FOUND {
                return Err(answer.trouble());
            }
        }
        Ok(())
    }

    async fn clear(&self, _: Option<&str>) -> Result<(), Trouble> {
        Err(Trouble(format!(
            "Cache type {} does not support flushing: delete the objects below {:?} in the bucket",
            self.bucket.name(),
            self.folder
        )))
    }

    async fn ping(&self, now_ms: i64) -> Result<(), Trouble> {
        self.read("ping", now_ms).await.map(|_| ())
    }
}

/// A path of which each segment is escaped once.
pub(super) fn path(object: &str) -> String {
    let segments = object.split('/').map(|segment| escape(segment.as_bytes()));
    segments.collect::<Vec<_>>().join("/")
}

/// A request with this body and content type.
pub(super) fn request(
    method: Method,
    url: &str,
    write: Option<&Write>,
) -> Result<Request<Body>, Trouble> {
    let body = write.map(|write| Bytes::from(write.entry.encode()));
    let mut builder = Request::builder().method(method).uri(url);
    if body.is_some() {
        builder = builder.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map_or(Body::Empty, Body::from);
    let built = builder.body(body);
    built.map_err(|error| Trouble(format!("the URL of the store cannot be used: {error}")))
}

/// The bearer of a token.
pub(super) fn bearer(request: &mut Request<Body>, token: &str) -> Result<(), Trouble> {
    let value = zeroize::Zeroizing::new(format!("Bearer {token}"));
    witgate_signing::put(request, "authorization", &value).map_err(|error| Trouble(error.0))
}
