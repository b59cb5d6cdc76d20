//! Secrets: settings that the manifest marks `secret`. A plugin holds a handle and gives it back to
//! the host with a request ([`http::Request::bearer`](crate::http::Request::bearer) and its kin); the
//! value stays with the host.

use crate::Error;
use crate::bindings::host::witgate::host::secrets;

pub use secrets::Secret;

/// The secret of this name; `None` when it has no value.
pub fn get(name: &str) -> Result<Option<Secret>, Error> {
    secrets::get(name).map_err(Error::Denied)
}

/// The value of the secret of this name, where the manifest asks for `reveal`: for protocols in which a handle cannot work,
/// such as a URL that is a secret.
pub fn reveal(name: &str) -> Result<Option<String>, Error> {
    let secret = get(name)?;
    secret
        .map(|secret| secret.reveal().map_err(Error::Denied))
        .transpose()
}

/// The secret of this name, which must have a value.
pub fn require(name: &str) -> Result<Secret, Error> {
    get(name)?.ok_or_else(|| Error::InvalidSettings(format!("`{name}` is not set")))
}

/// The HTTP headers in the secret setting of this name, which the manifest declares with the type `headers`: names as
/// they were written, and handles. Give them to [`Request::send_with`](crate::http::Request::send_with).
pub fn headers(name: &str) -> Result<Vec<(String, Secret)>, Error> {
    secrets::headers(name).map_err(Error::Denied)
}
