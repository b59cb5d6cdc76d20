//! `gcp_service_account`: a Redis of Google Cloud whose password is an access token of a service account.
//!
//! The gateway asks as who it is itself (the key file that `GOOGLE_APPLICATION_CREDENTIALS` names, else the machine's
//! metadata server) for a token of that account. A token is good for an hour; one is asked for before each connection.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde_json::{Value, json};
use witgate_config::Env;
use witgate_outbound::{Body, Client, ClientOptions, Egress, collect_limited};
use witgate_signing::gcp::Account;
use witgate_state::{Passwords, Secret};
use zeroize::Zeroizing;

/// What the tokens are for.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Longest answer that is read.
const ANSWER_MAX: usize = 64 * 1024;

/// Who asks, and whom.
struct Iam {
    http: Client,
    /// `projects/-/serviceAccounts/EMAIL`
    account: String,
    endpoint: String,
    own: Own,
}

/// Who the gateway is itself.
enum Own {
    /// A service account with this key.
    Key(Box<Account>),
    /// Whoever the machine runs as.
    Machine {
        /// The metadata server's address.
        host: String,
    },
}

/// The passwords of this account. `endpoint` is Google's unless given.
pub(super) fn passwords(
    account: &str,
    endpoint: Option<&str>,
    env: &Env,
) -> Result<Passwords, String> {
    let endpoint = endpoint.unwrap_or("https://iamcredentials.googleapis.com");
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    let account = match account.contains('/') {
        true => account.to_owned(),
        false => format!("projects/-/serviceAccounts/{account}"),
    };
    let http = Client::new(ClientOptions::new(Egress::Unrestricted));
    let iam = Arc::new(Iam {
        http: http.map_err(|error| error.to_string())?,
        account: account.clone(),
        endpoint: endpoint.clone(),
        own: own(env)?,
    });
    Ok(Passwords {
        identity: format!("{account} by {endpoint}"),
        ask: Arc::new(move || {
            let iam = iam.clone();
            Box::pin(async move { iam.password().await })
        }),
    })
}

fn own(env: &Env) -> Result<Own, String> {
    let Some(file) = env.non_empty("GOOGLE_APPLICATION_CREDENTIALS") else {
        let host = env.non_empty("GCE_METADATA_HOST");
        return Ok(Own::Machine {
            host: host.unwrap_or("metadata.google.internal").to_owned(),
        });
    };
    let read = std::fs::read_to_string(file).map(Zeroizing::new);
    let json = read.map_err(|error| format!("GOOGLE_APPLICATION_CREDENTIALS: {file}: {error}"))?;
    let account = Account::read(&json);
    let account =
        account.map_err(|error| format!("GOOGLE_APPLICATION_CREDENTIALS: {file}: {error}"))?;
    Ok(Own::Key(Box::new(account)))
}

impl Iam {
    async fn password(&self) -> Result<Secret, String> {
        let own = self.own_token().await?;
        let url = format!("{}/v1/{}:generateAccessToken", self.endpoint, self.account);
        let body = json!({"scope": [SCOPE], "lifetime": "3600s"}).to_string();
        let mut request = request(Method::POST, &url, body)?;
        let bearer = Zeroizing::new(format!("Bearer {}", *own));
        let mut bearer =
            HeaderValue::from_str(&bearer).map_err(|_| "the token cannot be sent".to_owned())?;
        bearer.set_sensitive(true);
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let told = self.send(request, "IAM").await?;
        Ok(Secret::new(token(&told, "accessToken")?.as_str()))
    }

    async fn own_token(&self) -> Result<Zeroizing<String>, String> {
        let told = match &self.own {
            Own::Key(account) => {
                let form = account.form(SCOPE, jiff::Timestamp::now());
                let form = form.map_err(|error| error.0)?;
                let mut request = request(Method::POST, account.token_uri(), form.to_string())?;
                request.headers_mut().insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                );
                self.send(request, "the token service").await?
            }
            Own::Machine { host } => {
                let url = format!(
                    "http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
                );
                let mut request = request(Method::GET, &url, String::new())?;
                request
                    .headers_mut()
                    .insert("metadata-flavor", HeaderValue::from_static("Google"));
                self.send(request, "the metadata server").await?
            }
        };
        token(&told, "access_token")
    }

    /// Sends a request; the answer, which must be a good one.
    async fn send(&self, request: Request<Body>, whom: &str) -> Result<Value, String> {
        let answer = self.http.send(request).await;
        let (head, body) = answer
            .map_err(|error| format!("{whom}: {error}"))?
            .into_parts();
        let body = collect_limited(body, ANSWER_MAX).await;
        let body = body.map_err(|error| format!("{whom}: {error}"))?;
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        match head.status.is_success() {
            true => Ok(told),
            false => {
                // One of a few words; the rest of the answer may repeat what was sent.
                let words = ["/error/status", "/error"];
                let word = words.iter().find_map(|at| told.pointer(at)?.as_str());
                let word: String = word.unwrap_or("no reason given").chars().take(80).collect();
                Err(format!("{whom} answers {}: {word}", head.status.as_u16()))
            }
        }
    }
}

fn request(method: Method, url: &str, body: String) -> Result<Request<Body>, String> {
    let body = match body.is_empty() {
        true => Body::Empty,
        false => Body::from(body.into_bytes()),
    };
    let built = Request::builder().method(method).uri(url).body(body);
    built.map_err(|error| format!("{url}: {error}"))
}

fn token(told: &Value, name: &str) -> Result<Zeroizing<String>, String> {
    let token = told.get(name).and_then(Value::as_str);
    let token = token.filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| format!("the answer has no {name}"))?;
    Ok(Zeroizing::new(token.to_owned()))
}
