//! `type: gcs`: Google Cloud Storage, by its JSON API.

use ::http::{Method, Request};
use async_trait::async_trait;
use jiff::Timestamp;
use witgate_outbound::Body;
use witgate_signing::escape;
use witgate_signing::gcp::Account;

use super::Http;
use super::objects::{Bucket, bearer, request};
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
        let mut request = request(method, &url, write)?;
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
