//! Signatures as the clouds want them. Pure functions of a request, a secret and a time: no connection is opened here and no
//! clock read.
//!
//! [`aws`] is Signature Version 4, [`gcp`] the assertions of service accounts, [`azure`] the keys of storage accounts; [`jws`]
//! checks the signatures of others. Errors never show a secret.

pub mod azure;
pub mod gcp;
pub mod jws;
mod sigv4;

/// AWS Signature Version 4.
pub mod aws {
    pub use crate::sigv4::{
        Credentials, DATABASE_PASSWORD_S, Scope, authorization, database_password, presigned_query,
        sign,
    };
}

pub use sigv4::{escape, unescape};

use http::header::{HeaderName, HeaderValue};

/// Why a request cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SigningError(pub String);

/// Sets a header, hidden from logs when it is a secret.
///
/// # Errors
/// When the value has characters that no header can carry.
pub fn put<B>(
    request: &mut http::Request<B>,
    name: &'static str,
    value: &str,
) -> Result<(), SigningError> {
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        SigningError(format!(
            "the credentials have characters that the header {name} cannot carry"
        ))
    })?;
    value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
    request
        .headers_mut()
        .insert(HeaderName::from_static(name), value);
    Ok(())
}
