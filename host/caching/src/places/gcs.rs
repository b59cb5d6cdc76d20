//! `type: gcs`: Google Cloud Storage, by its JSON API.

use ::http::{Method, Request};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use witgate_outbound::Body;
use witgate_signing::escape;
use witgate_signing::gcp::Account;

use super::Http;
use super::objects::{Bucket, PAGE, Page, bearer, query, request};
use super::tokens::Token;
use crate::{Trouble, Write};

/// What the token is for.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";

/// A bucket.
pub struct Gcs {
    endpoint: String,
    bucket: String,
    account: Account,
    token: Token,
}

impl Gcs {
    /// A bucket that a service account may read and write. `endpoint` is Google's unless given.
    #[must_use]
    pub fn new(bucket: &str, account: Account, endpoint: Option<&str>) -> Self {
        let endpoint = endpoint.unwrap_or("https://storage.googleapis.com");
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            bucket: escape(bucket.as_bytes()),
            account,
            token: Token::default(),
        }
    }
}

#[async_trait]
impl Bucket for Gcs {
    fn name(&self) -> &'static str {
        "gcs"
    }

    async fn request(
        &self,
        http: &Http,
        method: Method,
        object: &str,
        write: Option<&Write>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        let (endpoint, bucket) = (&self.endpoint, &self.bucket);
        let object = escape(object.as_bytes());
        let (method, url) = match method {
            Method::PUT => (
                Method::POST,
                format!("{endpoint}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={object}"),
            ),
            Method::GET => (
                method,
                format!("{endpoint}/storage/v1/b/{bucket}/o/{object}?alt=media"),
            ),
            method => (
                method,
                format!("{endpoint}/storage/v1/b/{bucket}/o/{object}"),
            ),
        };
        self.authorized(http, request(method, &url, write)?, now_ms)
            .await
    }

    async fn list(
        &self,
        http: &Http,
        prefix: &str,
        after: Option<&str>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        let mut pairs = vec![
            ("prefix", prefix),
            ("maxResults", PAGE),
            ("fields", "items(name),nextPageToken"),
        ];
        pairs.extend(after.map(|token| ("pageToken", token)));
        let (endpoint, bucket) = (&self.endpoint, &self.bucket);
        let url = format!("{endpoint}/storage/v1/b/{bucket}/o?{}", query(&pairs));
        self.authorized(http, request(Method::GET, &url, None)?, now_ms)
            .await
    }

    fn listed(&self, answer: &[u8]) -> Result<Page, Trouble> {
        let told: Value = serde_json::from_slice(answer)
            .map_err(|_| Trouble("its list of objects is not JSON".to_owned()))?;
        let items = told["items"].as_array().into_iter().flatten();
        Ok(Page {
            names: items
                .filter_map(|item| item["name"].as_str().map(str::to_owned))
                .collect(),
            after: told["nextPageToken"].as_str().map(str::to_owned),
        })
    }
}

impl Gcs {
    async fn authorized(
        &self,
        http: &Http,
        mut request: Request<Body>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        let form = || {
            let now = Timestamp::from_millisecond(now_ms)
                .map_err(|error| Trouble(format!("the clock is off: {error}")))?;
            self.account
                .form(SCOPE, now)
                .map_err(|error| Trouble(error.0))
        };
        let url = self.account.token_uri();
        let token = self.token.get(http, url, now_ms, form).await?;
        bearer(&mut request, &token)?;
        Ok(request)
    }
}
