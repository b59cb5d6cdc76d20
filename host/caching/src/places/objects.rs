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

/// Objects that are written or deleted at the same time.
const AT_ONCE: usize = 8;

/// Objects of a page, which is what the stores give at most or by default.
pub(super) const PAGE: &str = "1000";

/// Pages that one flush goes through: a million objects.
const PAGES_MAX: usize = 1000;

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
    /// The request that lists objects whose names begin so, signed; `after` is what the page before ended with.
    async fn list(
        &self,
        http: &Http,
        prefix: &str,
        after: Option<&str>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble>;
    /// What the answer to that says.
    fn listed(&self, answer: &[u8]) -> Result<Page, Trouble>;
}

/// A page of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Names of objects.
    pub names: Vec<String>,
    /// Asks for the next page; `None` when this is the last.
    pub after: Option<String>,
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

    async fn delete(&self, object: &str) -> Result<(), Trouble> {
        let now_ms = (self.now_ms)();
        let request = self
            .bucket
            .request(&self.http, Method::DELETE, object, None, now_ms)
            .await?;
        let answer = self.http.send(request).await?;
        match answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
            true => Ok(()),
            false => Err(answer.trouble()),
        }
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Result<Page, Trouble> {
        let now_ms = (self.now_ms)();
        let request = self.bucket.list(&self.http, prefix, after, now_ms).await?;
        let answer = self.http.send(request).await?;
        match answer.status.is_success() {
            true => self.bucket.listed(&answer.body),
            false => Err(answer.trouble()),
        }
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
            self.delete(&self.object(key)).await?;
        }
        Ok(())
    }

    /// Deletes the entries below the folder, or those of a namespace, page by page. Other objects stay: a bucket
    /// need not be ours alone. Where nothing stands before our names, neither folder nor namespace, only
    /// entries that lie in no folder are deleted.
    async fn clear(&self, namespace: Option<&str>) -> Result<(), Trouble> {
        let prefix = match namespace {
            Some(namespace) => self.object(&format!("{namespace}:")),
            None => self.folder.clone(),
        };
        let mut after: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(&prefix, after.as_deref()).await?;
            let ours = page.names.iter().filter(|name| is_entry(name, &prefix));
            let mut deleting = FuturesUnordered::new();
            for name in ours {
                deleting.push(self.delete(name));
                if deleting.len() >= AT_ONCE {
                    deleting.next().await.unwrap_or(Ok(()))?;
                }
            }
            while let Some(done) = deleting.next().await {
                done?;
            }
            match page.after {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
        Err(Trouble(format!(
            "the bucket has more objects than are deleted at once ({PAGES_MAX} pages); ask again for the rest"
        )))
    }

    async fn ping(&self, now_ms: i64) -> Result<(), Trouble> {
        self.read("ping", now_ms).await.map(|_| ())
    }
}

/// Whether a name below this prefix is that of an entry: the digest that a key ends with.
fn is_entry(name: &str, prefix: &str) -> bool {
    const DIGEST: usize = 64;
    let rest = name.strip_prefix(prefix);
    rest.is_some_and(|rest| {
        let (folder, last) = rest.rsplit_once('/').unwrap_or(("", rest));
        let is_digest = last.len() == DIGEST
            && last
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        is_digest && (folder.is_empty() || !prefix.is_empty())
    })
}

/// The texts of an element of an XML document, in their order. Enough for lists of names: elements of this
/// name do not nest.
pub(super) fn texts<'a>(xml: &'a str, element: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once(open.as_str())?;
        let (text, behind) = behind.split_once(close.as_str())?;
        rest = behind;
        Some(text)
    })
}

/// A text of an XML document as it is meant.
pub(super) fn unescaped(text: &str) -> String {
    // Last the character that begins all of them.
    let named = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&apos;", "'"),
        ("&amp;", "&"),
    ];
    let replace = |text: String, (name, character): (&str, &str)| text.replace(name, character);
    named.into_iter().fold(text.to_owned(), replace)
}

/// What a request says behind its path.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", escape(value.as_bytes()));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_below_the_prefix_are_ours_to_delete() {
        let digest = "ab".repeat(32);
        for (name, prefix, expected) in [
            (digest.clone(), "", true),
            (format!("lfs/objects/{digest}"), "", false),
            (format!("kept/{digest}"), "kept/", true),
            (format!("kept/ns/{digest}"), "kept/", true),
            (format!("kept/ns/{digest}"), "kept/ns/", true),
            (format!("kept/other/{digest}"), "kept/ns/", false),
            ("kept/report.pdf".to_owned(), "kept/", false),
            (format!("kept/{digest}.json"), "kept/", false),
            (format!("kept/{}", "AB".repeat(32)), "kept/", false),
        ] {
            assert_eq!(is_entry(&name, prefix), expected, "{name} {prefix:?}");
        }
    }

    #[test]
    fn texts_of_elements() {
        let xml = "<L><Name>b</Name><C><Key>a&amp;lt;b</Key></C><C><Key>c</Key></C></L>";
        let keys: Vec<String> = texts(xml, "Key").map(unescaped).collect();
        assert_eq!(keys, ["a&lt;b", "c"]);
        assert_eq!(texts(xml, "NextMarker").next(), None);
    }
}
