//! `witgate:host/sign`: requests signed here, with secrets that the plugin holds as handles only.
//!
//! Signing and sending are one step. So what is signed is what is sent, and no signature or session
//! token reaches the plugin.

mod azure;
mod gcp;
mod role;
mod tokens;

use http::Request;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use witgate_outbound::Body;
use witgate_signing::SigningError;
use witgate_signing::aws::{Credentials, Scope};
use witgate_signing::azure::shared_key;
use witgate_signing::gcp::Account;
use zeroize::Zeroizing;

use super::Context;
use super::http::{build, exchange};
use super::state::State;
use super::taped;
use crate::bindings::witgate::host::http as wit_http;
use crate::bindings::witgate::host::sign as wit;
use crate::record::Find;

pub(crate) use role::Roles;
pub(crate) use tokens::Tokens;

impl wit::Host for State {
    async fn send_aws(
        &mut self,
        request: wit::Request,
        signer: wit::AwsSigner,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("sign.send-aws", Find::Exchange, || {
            taped::request(&request, self.shown_aws(&signer))
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let timeout = self.time_for(&request);
        let credentials = self.aws_credentials(&signer.key)?;
        let context = self.context.clone();
        let sending = async move {
            let credentials = match &signer.role {
                None => credentials,
                Some(role) => {
                    let region = &signer.region;
                    context
                        .roles
                        .assume(&context, credentials, role, region)
                        .await?
                }
            };
            let payload = hex::encode(Sha256::digest(&request.body));
            let mut request = build(request).map_err(wit_http::HttpError::Invalid)?;
            let scope = Scope::at(now(&context), &signer.region, &signer.service);
            sign(&mut request, &payload, &credentials, &scope)?;
            exchange(&context, request, false).await
        };
        let sent = tokio::time::timeout(timeout, sending).await;
        let answer = sent.unwrap_or(Err(wit_http::HttpError::Timeout));
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }

    async fn send_gcp(
        &mut self,
        request: wit::Request,
        account: wit::GcpAccount,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("sign.send-gcp", Find::Exchange, || {
            taped::request(&request, gcp_shown(self, &account))
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let timeout = self.time_for(&request);
        let credentials = self.table.get(&account.credentials)?.shared();
        let context = self.context.clone();
        let sending = async move {
            let key = Account::read(&credentials).map_err(invalid)?;
            let token = gcp::token(&context, &key, &account.scope).await?;
            send_with_token(&context, request, &token).await
        };
        let sent = tokio::time::timeout(timeout, sending).await;
        let answer = sent.unwrap_or(Err(wit_http::HttpError::Timeout));
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }

    async fn send_azure_app(
        &mut self,
        request: wit::Request,
        app: wit::AzureApp,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("sign.send-azure-app", Find::Exchange, || {
            taped::request(&request, app_shown(self, &app))
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let timeout = self.time_for(&request);
        let secret = self.table.get(&app.client_secret)?.shared();
        let context = self.context.clone();
        let sending = async move {
            let token = azure::token(&context, &app, &secret).await?;
            send_with_token(&context, request, &token).await
        };
        let sent = tokio::time::timeout(timeout, sending).await;
        let answer = sent.unwrap_or(Err(wit_http::HttpError::Timeout));
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }

    async fn send_azure_account(
        &mut self,
        request: wit::Request,
        account: wit::AzureAccount,
    ) -> wasmtime::Result<Result<wit::Response, wit::HttpError>> {
        let taken = self.asked("sign.send-azure-account", Find::Exchange, || {
            taped::request(&request, azure_shown(self, &account))
        });
        if let Some(known) = taken.known_exchange() {
            return Ok(known);
        }
        let timeout = self.time_for(&request);
        let key = self.table.get(&account.key)?.shared();
        let context = self.context.clone();
        let sending = async move {
            let body_bytes = request.body.len();
            let mut request = build(request).map_err(wit_http::HttpError::Invalid)?;
            let now = now(&context).strftime("%a, %d %b %Y %H:%M:%S GMT");
            put(&mut request, "x-ms-date", &now.to_string())?;
            let authorization = shared_key(&request, body_bytes, &account.name, &key);
            let authorization = authorization.map_err(invalid)?;
            put(&mut request, "authorization", &authorization)?;
            exchange(&context, request, false).await
        };
        let sent = tokio::time::timeout(timeout, sending).await;
        let answer = sent.unwrap_or(Err(wit_http::HttpError::Timeout));
        taken.end(|| taped::answer(&answer));
        Ok(answer)
    }
}

fn gcp_shown(state: &State, account: &wit::GcpAccount) -> Map<String, Value> {
    let shown = json!({"credentials": state.named(&account.credentials), "scope": account.scope});
    Map::from_iter([("gcp".to_owned(), shown)])
}

fn app_shown(state: &State, app: &wit::AzureApp) -> Map<String, Value> {
    let shown = json!({
        "authority": app.authority, "tenant_id": app.tenant_id, "client_id": app.client_id,
        "client_secret": state.named(&app.client_secret), "scope": app.scope,
    });
    Map::from_iter([("azure_app".to_owned(), shown)])
}

fn azure_shown(state: &State, account: &wit::AzureAccount) -> Map<String, Value> {
    let shown = json!({"name": account.name, "key": state.named(&account.key)});
    Map::from_iter([("azure_account".to_owned(), shown)])
}

/// The time that signatures bear: a scripted world's, where there is one.
fn now(context: &Context) -> Timestamp {
    let scripted = context.world.as_ref().map(|world| world.now_ms());
    let scripted =
        scripted.and_then(|ms| Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok());
    scripted.unwrap_or_else(Timestamp::now)
}

async fn send_with_token(
    context: &Context,
    request: wit::Request,
    token: &str,
) -> Result<wit::Response, wit::HttpError> {
    let mut request = build(request).map_err(wit_http::HttpError::Invalid)?;
    let bearer = Zeroizing::new(format!("Bearer {token}"));
    put(&mut request, "authorization", &bearer)?;
    exchange(context, request, false).await
}

impl State {
    fn aws_credentials(&self, key: &wit::AwsKey) -> wasmtime::Result<Credentials> {
        let token = key.session_token.as_ref();
        Ok(Credentials {
            access_key_id: key.access_key_id.clone(),
            secret_access_key: self.table.get(&key.secret_access_key)?.shared(),
            session_token: token
                .map(|token| self.table.get(token).map(super::SecretHandle::shared))
                .transpose()?,
        })
    }
}

/// Adds AWS's headers and the signature over everything.
fn sign(
    request: &mut Request<Body>,
    payload_sha256: &str,
    credentials: &Credentials,
    scope: &Scope<'_>,
) -> Result<(), wit_http::HttpError> {
    witgate_signing::aws::sign(request, payload_sha256, credentials, scope).map_err(invalid)
}

fn put(
    request: &mut Request<Body>,
    name: &'static str,
    value: &str,
) -> Result<(), wit_http::HttpError> {
    witgate_signing::put(request, name, value).map_err(invalid)
}

fn invalid(error: SigningError) -> wit_http::HttpError {
    wit_http::HttpError::Invalid(error.0)
}
