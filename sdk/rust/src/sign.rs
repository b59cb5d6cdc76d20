//! Requests that the host signs and sends: the plugin sees neither keys nor signatures.

use crate::bindings::host::witgate::host::sign;
use crate::http::{HttpError, Request, Response};
use crate::secrets::Secret;

/// Whose signature, and for what: AWS Signature Version 4.
pub struct Aws {
    /// Id of the access key.
    pub access_key_id: String,
    /// The key's secret.
    pub secret_access_key: Secret,
    /// Of temporary credentials.
    pub session_token: Option<Secret>,
    /// A role to assume first.
    pub role: Option<Role>,
    /// Region, as in `eu-central-1`.
    pub region: String,
    /// The service's name in signatures, as in `s3`.
    pub service: &'static str,
}

/// A role of AWS.
#[derive(Debug, Clone)]
pub struct Role {
    /// Its name, `arn:aws:iam::…`.
    pub arn: String,
    /// The name of the session.
    pub session_name: String,
    /// URL of the token service, which the plugin must be granted to call.
    pub sts_endpoint: String,
}

impl Aws {
    /// Signs and sends a request. Its own authentication, if it has any, is not used.
    pub fn send(&self, request: Request<'_>) -> Result<Response, HttpError> {
        let signer = sign::AwsSigner {
            key: sign::AwsKey {
                access_key_id: self.access_key_id.clone(),
                secret_access_key: &self.secret_access_key,
                session_token: self.session_token.as_ref(),
            },
            role: self.role.as_ref().map(|role| sign::AwsRole {
                arn: role.arn.clone(),
                session_name: role.session_name.clone(),
                sts_endpoint: role.sts_endpoint.clone(),
            }),
            region: self.region.clone(),
            service: self.service.to_owned(),
        };
        sign::send_aws(&request.into_wire(), &signer).map(Response::from_wire)
    }
}

/// A service account of Google Cloud.
pub struct Gcp<'a> {
    /// The account's key file.
    pub credentials: &'a Secret,
    /// OAuth scope, such as `https://www.googleapis.com/auth/cloud-platform`.
    pub scope: &'a str,
}

impl Gcp<'_> {
    /// Sends a request with an access token of the account.
    pub fn send(&self, request: Request<'_>) -> Result<Response, HttpError> {
        let account = sign::GcpAccount {
            credentials: self.credentials,
            scope: self.scope.to_owned(),
        };
        sign::send_gcp(&request.into_wire(), &account).map(Response::from_wire)
    }
}

/// An application of Microsoft Entra.
pub struct AzureApp<'a> {
    /// URL of the token service, such as `https://login.microsoftonline.com`.
    pub authority: &'a str,
    /// The tenant.
    pub tenant_id: &'a str,
    /// The application.
    pub client_id: &'a str,
    /// Its secret.
    pub client_secret: &'a Secret,
    /// OAuth scope, such as `https://storage.azure.com/.default`.
    pub scope: &'a str,
}

impl AzureApp<'_> {
    /// Sends a request with an access token of the application.
    pub fn send(&self, request: Request<'_>) -> Result<Response, HttpError> {
        let app = sign::AzureApp {
            authority: self.authority.to_owned(),
            tenant_id: self.tenant_id.to_owned(),
            client_id: self.client_id.to_owned(),
            client_secret: self.client_secret,
            scope: self.scope.to_owned(),
        };
        sign::send_azure_app(&request.into_wire(), &app).map(Response::from_wire)
    }
}

/// A storage account of Azure.
pub struct AzureAccount<'a> {
    /// Its name.
    pub name: &'a str,
    /// One of its keys.
    pub key: &'a Secret,
}

impl AzureAccount<'_> {
    /// Signs and sends a request, which has `x-ms-version`.
    pub fn send(&self, request: Request<'_>) -> Result<Response, HttpError> {
        let account = sign::AzureAccount {
            name: self.name.to_owned(),
            key: self.key,
        };
        sign::send_azure_account(&request.into_wire(), &account).map(Response::from_wire)
    }
}
