//! AWS Signature Version 4 over a request whose headers are complete. Pure.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use http::Request;
use http::header::HeaderMap;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{SigningError, put};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How long a password of [`database_password`] opens connections; those that are open stay.
pub const DATABASE_PASSWORD_S: u32 = 900;

/// Headers that something on the way may change, so that they are not signed.
const UNSIGNED: [&str; 4] = ["authorization", "connection", "user-agent", "expect"];

/// What a request is signed with.
#[derive(Clone)]
pub struct Credentials {
    /// `AKIA…` or `ASIA…`
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: Arc<Zeroizing<String>>,
    /// Of temporary credentials.
    pub session_token: Option<Arc<Zeroizing<String>>>,
}

/// When, where and for what a signature is good.
pub struct Scope<'a> {
    /// `YYYYMMDDTHHMMSSZ`.
    pub at: String,
    /// Such as `eu-central-1`.
    pub region: &'a str,
    /// Such as `s3`.
    pub service: &'a str,
}

impl<'a> Scope<'a> {
    /// At this moment.
    #[must_use]
    pub fn at(time: Timestamp, region: &'a str, service: &'a str) -> Self {
        Self {
            at: time.strftime("%Y%m%dT%H%M%SZ").to_string(),
            region,
            service,
        }
    }
}

/// Adds AWS's headers and the signature over everything.
///
/// # Errors
/// When the credentials have characters that no header can carry.
pub fn sign<B>(
    request: &mut Request<B>,
    payload_sha256: &str,
    credentials: &Credentials,
    scope: &Scope<'_>,
) -> Result<(), SigningError> {
    put(request, "x-amz-date", &scope.at)?;
    put(request, "x-amz-content-sha256", payload_sha256)?;
    if let Some(token) = &credentials.session_token {
        put(request, "x-amz-security-token", token)?;
    }
    let authorization = authorization(
        request,
        payload_sha256,
        &credentials.access_key_id,
        &credentials.secret_access_key,
        scope,
    );
    put(request, "authorization", &authorization)
}

/// The value of `authorization`.
#[must_use]
pub fn authorization<B>(
    request: &Request<B>,
    payload_sha256: &str,
    access_key_id: &str,
    secret_access_key: &str,
    scope: &Scope<'_>,
) -> String {
    let headers = canonical_headers(request);
    let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(";");
    let canonical = canonical_request(request, &headers, &names, payload_sha256, scope);
    let (credential_scope, signature) = signature(&canonical, secret_access_key, scope);
    format!(
        "{ALGORITHM} Credential={access_key_id}/{credential_scope}, SignedHeaders={names}, Signature={signature}"
    )
}

/// The query of a `GET` that carries its own signature, good for `expires_s` seconds: whoever has the URL may ask. `url` is the
/// request without what the signature adds.
#[must_use]
pub fn presigned_query(
    url: &http::Uri,
    payload_sha256: &str,
    credentials: &Credentials,
    scope: &Scope<'_>,
    expires_s: u32,
) -> Zeroizing<String> {
    let Credentials {
        access_key_id,
        secret_access_key,
        session_token,
    } = credentials;
    let credential = format!("{access_key_id}/{}", credential_scope(scope));
    let mut query = format!(
        "{}&X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={expires_s}&X-Amz-SignedHeaders=host",
        url.query().unwrap_or_default(),
        escape(credential.as_bytes()),
        scope.at,
    );
    if let Some(token) = session_token {
        query.push_str("&X-Amz-Security-Token=");
        query.push_str(&escape(token.as_bytes()));
    }
    let query = canonical_query(&query);
    let host = url.authority().map_or("", |authority| authority.as_str());
    let path = canonical_path(url.path(), scope.service);
    let canonical = format!("GET\n{path}\n{query}\nhost:{host}\n\nhost\n{payload_sha256}");
    let (_, signature) = signature(&canonical, secret_access_key, scope);
    Zeroizing::new(format!("{query}&X-Amz-Signature={signature}"))
}

/// The password of a user of an RDS database: a signed request to connect, without its `https://`.
///
/// # Errors
/// When the host is none.
pub fn database_password(
    host: &str,
    port: u16,
    user: &str,
    credentials: &Credentials,
    region: &str,
    now: Timestamp,
) -> Result<Zeroizing<String>, SigningError> {
    let user = escape(user.as_bytes());
    let url = format!("https://{host}:{port}/?Action=connect&DBUser={user}");
    let url: http::Uri = url
        .parse()
        .map_err(|_| SigningError(format!("{host:?} is not the name of a host")))?;
    let scope = Scope::at(now, region, "rds-db");
    let nothing = hex::encode(Sha256::digest([]));
    let query = presigned_query(&url, &nothing, credentials, &scope, DATABASE_PASSWORD_S);
    Ok(Zeroizing::new(format!("{host}:{port}/?{}", *query)))
}

fn credential_scope(scope: &Scope<'_>) -> String {
    let day = scope.at.get(..8).unwrap_or_default();
    format!("{day}/{}/{}/aws4_request", scope.region, scope.service)
}

/// The scope that the key is good for, and the signature over a canonical request.
fn signature(canonical: &str, secret_access_key: &str, scope: &Scope<'_>) -> (String, String) {
    let day = scope.at.get(..8).unwrap_or_default();
    let credential_scope = credential_scope(scope);
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{credential_scope}\n{}",
        scope.at,
        hex::encode(Sha256::digest(canonical))
    );
    let first = Zeroizing::new(format!("AWS4{secret_access_key}"));
    let mut key = hmac(first.as_bytes(), day.as_bytes());
    for part in [scope.region, scope.service, "aws4_request"] {
        key = hmac(key.as_slice(), part.as_bytes());
    }
    let signature = hex::encode(hmac(key.as_slice(), to_sign.as_bytes()).as_slice());
    (credential_scope, signature)
}

fn canonical_request<B>(
    request: &Request<B>,
    headers: &[(String, String)],
    names: &str,
    payload_sha256: &str,
    scope: &Scope<'_>,
) -> String {
    let mut canonical = format!(
        "{}\n{}\n{}\n",
        request.method(),
        canonical_path(request.uri().path(), scope.service),
        canonical_query(request.uri().query().unwrap_or_default()),
    );
    for (name, value) in headers {
        canonical.push_str(name);
        canonical.push(':');
        canonical.push_str(value);
        canonical.push('\n');
    }
    canonical.push('\n');
    canonical.push_str(names);
    canonical.push('\n');
    canonical.push_str(payload_sha256);
    canonical
}

/// S3 signs the path as it is sent, each byte escaped once; every other service escapes it once more.
fn canonical_path(path: &str, service: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    let segments = path.split('/').map(|segment| match service {
        "s3" => escape(&unescape(segment)),
        _ => escape(segment.as_bytes()),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Parameters sorted by name, then value, each escaped once.
fn canonical_query(query: &str) -> String {
    let parameters = query.split('&').filter(|one| !one.is_empty());
    let mut parameters: Vec<(String, String)> = parameters
        .map(|one| one.split_once('=').unwrap_or((one, "")))
        .map(|(name, value)| (escape(&unescape(name)), escape(&unescape(value))))
        .collect();
    parameters.sort();
    let joined = parameters
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    joined.collect::<Vec<_>>().join("&")
}

/// Name and value of each signed header, sorted. Values of one name are joined, runs of spaces are one.
fn canonical_headers<B>(request: &Request<B>) -> Vec<(String, String)> {
    let map: &HeaderMap = request.headers();
    let mut headers: Vec<(String, String)> = map
        .keys()
        .filter(|name| !UNSIGNED.contains(&name.as_str()))
        .map(|name| {
            let values = map.get_all(name).iter().map(|value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
            });
            (
                name.as_str().to_owned(),
                values.collect::<Vec<_>>().join(","),
            )
        })
        .collect();
    if !map.contains_key(http::header::HOST)
        && let Some(authority) = request.uri().authority()
    {
        // What the client sends.
        headers.push(("host".to_owned(), authority.as_str().to_owned()));
    }
    headers.sort();
    headers
}

fn hmac(key: &[u8], data: &[u8]) -> Zeroizing<Vec<u8>> {
    // Any length of key is good.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Zeroizing::default();
    };
    mac.update(data);
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

/// Everything but RFC 3986's unreserved characters as `%XX`.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(*byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// With `%XX` as the bytes they stand for.
#[must_use]
pub fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => hex::decode([*high, *low]).ok(),
            _ => None,
        };
        rest = match code {
            Some(code) => {
                out.extend(code);
                after.get(2..).unwrap_or_default()
            }
            None => {
                out.push(*first);
                after
            }
        };
    }
    out
}
