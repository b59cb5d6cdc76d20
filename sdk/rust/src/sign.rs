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
