//! `type: azure-blob`: Azure's blobs, with an application of Microsoft Entra or the key of the account.

use ::http::{Method, Request};
use async_trait::async_trait;
use jiff::Timestamp;
use witgate_outbound::Body;
use witgate_signing::azure::shared_key;
use witgate_signing::{escape, put};
use zeroize::Zeroizing;

use super::Http;
use super::objects::{Bucket, bearer, path, request};
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
        let now = Timestamp::from_millisecond(now_ms)
            .map_err(|error| Trouble(format!("the clock is off: {error}")))?;
        let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let mut headers = vec![("x-ms-version", VERSION), ("x-ms-date", &date)];
        if write.is_some() {
            headers.push(("x-ms-blob-type", "BlockBlob"));
        }
        for (name, value) in headers {
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
