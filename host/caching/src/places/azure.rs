//! `type: azure-blob`: Azure's blobs, with an application of Microsoft Entra or the key of the account.

use ::http::{Method, Request};
use async_trait::async_trait;
use jiff::Timestamp;
use witgate_outbound::Body;
use witgate_signing::azure::shared_key;
use witgate_signing::{escape, put};
use zeroize::Zeroizing;

use super::Http;
use super::objects::{Bucket, PAGE, Page, bearer, path, query, request, texts, unescaped};
use super::tokens::Token;
use crate::{Trouble, Write};

/// The version of the API that is spoken.
const VERSION: &str = "2021-12-02";

/// Who comes in.
pub enum AzureLogin {
    /// An application: `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET`.
    App {
        /// Where tokens are given, such as `https://login.microsoftonline.com`.
        authority: String,
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: Zeroizing<String>,
    },
    /// The storage account's name and key.
    Key {
        /// Its name.
        account: String,
        /// Its key, Base64.
        key: Zeroizing<String>,
    },
}

/// A container.
pub struct AzureBlob {
    base: String,
    login: AzureLogin,
    token: Token,
}

impl AzureBlob {
    /// A container of the account with this URL.
    #[must_use]
    pub fn new(account_url: &str, container: &str, login: AzureLogin) -> Self {
        Self {
            base: format!("{}/{container}/", account_url.trim_end_matches('/')),
            login,
            token: Token::default(),
        }
    }
}

#[async_trait]
impl Bucket for AzureBlob {
    fn name(&self) -> &'static str {
        "azure-blob"
    }

    async fn request(
        &self,
        http: &Http,
        method: Method,
        object: &str,
        write: Option<&Write>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        let url = format!("{}{}", self.base, path(object));
        let mut request = request(method, &url, write)?;
        if write.is_some() {
            let kind = put(&mut request, "x-ms-blob-type", "BlockBlob");
            kind.map_err(|error| Trouble(error.0))?;
        }
        self.authorized(http, request, now_ms).await
    }

    async fn list(
        &self,
        http: &Http,
        prefix: &str,
        after: Option<&str>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        let mut pairs = vec![
            ("restype", "container"),
            ("comp", "list"),
            ("prefix", prefix),
            ("maxresults", PAGE),
        ];
        pairs.extend(after.map(|marker| ("marker", marker)));
        let container = self.base.trim_end_matches('/');
        let url = format!("{container}?{}", query(&pairs));
        self.authorized(http, request(Method::GET, &url, None)?, now_ms)
            .await
    }

    fn listed(&self, answer: &[u8]) -> Result<Page, Trouble> {
        let xml = String::from_utf8_lossy(answer);
        let after = texts(&xml, "NextMarker").next().map(unescaped);
        Ok(Page {
            names: texts(&xml, "Name").map(unescaped).collect(),
            after: after.filter(|marker| !marker.is_empty()),
        })
    }
}

impl AzureBlob {
    async fn authorized(
        &self,
        http: &Http,
        mut request: Request<Body>,
        now_ms: i64,
    ) -> Result<Request<Body>, Trouble> {
        let now = Timestamp::from_millisecond(now_ms)
            .map_err(|error| Trouble(format!("the clock is off: {error}")))?;
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        for (name, value) in [("x-ms-version", VERSION), ("x-ms-date", &date)] {
            put(&mut request, name, value).map_err(|error| Trouble(error.0))?;
        }
        match &self.login {
            AzureLogin::Key { account, key } => {
                let length = match request.body() {
                    Body::Full(bytes) => bytes.len(),
                    _ => 0,
                };
                let signature = shared_key(&request, length, account, key);
                let signature = signature.map_err(|error| Trouble(error.0))?;
                put(&mut request, "authorization", &signature).map_err(|error| Trouble(error.0))?;
            }
            AzureLogin::App {
                authority,
                tenant_id,
                client_id,
                client_secret,
            } => {
                let authority = authority.trim_end_matches('/');
                let tenant = escape(tenant_id.as_bytes());
                let url = format!("{authority}/{tenant}/oauth2/v2.0/token");
                let form = || {
                    Ok(Zeroizing::new(format!(
                        "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
                        escape(client_id.as_bytes()),
                        escape(client_secret.as_bytes()),
                        escape(b"https://storage.azure.com/.default")
                    )))
                };
                let token = self.token.get(http, &url, now_ms, form).await?;
                bearer(&mut request, &token)?;
            }
        }
        Ok(request)
    }
}
