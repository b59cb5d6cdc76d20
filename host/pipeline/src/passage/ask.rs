//! What goes to the target: its URL with the client's query, and its headers.

use std::borrow::Cow;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST,
    HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, Uri};
use witgate_identity::{CARRIERS, Credential, KeyHash, basic_user, find_credential, may_carry};

use super::{Passage, Passed};
use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::outgoing::is_ours;

/// How the name of a header begins that is sent without this beginning, whatever the route says.
const PREFIX: &str = "x-pass-";

/// Headers of one connection, and of how its messages are framed.
const OF_CONNECTION: [HeaderName; 9] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether a header tells of one connection only.
pub(super) fn is_of_connection(name: &HeaderName) -> bool {
    OF_CONNECTION.contains(name) || name.as_str().starts_with("proxy-auth")
}

/// The URL of the call.
///
/// # Errors
/// A path that would leave the target's.
pub(super) fn url(passed: &Passed, query: Option<&str>) -> Result<Uri, Failure> {
    let passage = &passed.passage;
    // What stands behind a semicolon is no part of a step's name to some servers.
    let name = |step: &str| {
        step.split(';')
            .next()
            .is_some_and(|name| [".", ".."].contains(&name))
    };
    let leaves = |path: &str| path.split(['/', '\\']).any(name);
    // An upstream may undo the encoding once more before it looks at the path.
    let decoded = decoded(&passed.rest);
    if leaves(&passed.rest) || leaves(&decoded) {
        let message = "the path has a step . or .., which would lead out of this route";
        return Err(Failure::new(Case::InvalidBody, message).param("path"));
    }
    let target = &passage.target;
    let mut path = target.path().to_owned();
    if !passed.rest.is_empty() {
        path.truncate(path.trim_end_matches('/').len());
        path.push_str(&passed.rest);
    }
    let query = merged(passage, query.unwrap_or_default());
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query);
    }
    let mut parts = target.clone().into_parts();
    parts.path_and_query = path.parse().ok();
    let url = parts
        .path_and_query
        .is_some()
        .then(|| Uri::from_parts(parts).ok());
    url.flatten().ok_or_else(|| {
        Failure::new(Case::InvalidBody, "the path or query cannot be sent on").param("path")
    })
}

/// The client's query and the route's own. The client's goes along in any case; of a name that both have one value is sent.
fn merged(passage: &Passage, client: &str) -> String {
    let client: Vec<&str> = client.split('&').filter(|pair| !pair.is_empty()).collect();
    let own: Vec<&str> = passage.query.iter().map(String::as_str).collect();
    let (first, second) = match passage.client_query_wins {
        true => (client, own),
        false => (own, client),
    };
    let taken: Vec<Cow<'_, str>> = first.iter().map(|pair| name_of(pair)).collect();
    let rest = second
        .into_iter()
        .filter(|pair| !taken.contains(&name_of(pair)));
    let all: Vec<&str> = first.iter().copied().chain(rest).collect();
    all.join("&")
}

/// The name of a `name=value` pair of a query.
fn name_of(pair: &str) -> Cow<'_, str> {
    decoded(pair.split_once('=').map_or(pair, |(name, _)| name))
}

/// The text with its percent-encoding undone as far as it is one.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| byte == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) => {
                out.push(decoded);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The headers of the call. The route's own win; what lets somebody into this gateway is not among them.
pub(super) async fn headers(x: &Exchange, passage: &Passage) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let client = &x.arrival.headers;
    // Of the connection to the client.
    let named = client.get_all(CONNECTION).iter();
    let named: Vec<String> = named
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for (name, value) in client.iter() {
        let is_sent = match name.as_str().strip_prefix(PREFIX) {
            Some(bare) => {
                if let Some(name) = prefixed(bare) {
                    headers.append(name, value.clone());
                }
                false
            }
            // The body is passed on as it is, and so is what it is.
            None if [CONTENT_TYPE, CONTENT_ENCODING].contains(name) => true,
            None => {
                passage.forwards_headers
                    && !is_of_connection(name)
                    && !named.iter().any(|one| one == name.as_str())
                    && ![ACCEPT_ENCODING, COOKIE].contains(name)
                    && !lets_in(x, passage, name, value).await
            }
        };
        if is_sent {
            headers.append(name.clone(), value.clone());
        }
    }
    for name in passage.headers.keys() {
        headers.remove(name);
    }
    for (name, value) in &passage.headers {
        headers.append(name.clone(), value.clone());
    }
    headers
        .entry(ACCEPT_ENCODING)
        .or_insert(HeaderValue::from_static("identity"));
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!(
            "witgate/",
            env!("CARGO_PKG_VERSION")
        )));
    headers
}

/// What `x-pass-NAME` is sent as; `None` for credentials, signatures and what frames the message, which are the route's.
fn prefixed(bare: &str) -> Option<HeaderName> {
    let name: HeaderName = bare.parse().ok()?;
    let is_protected = may_carry(name.as_str(), None)
        || is_of_connection(&name)
        || name == COOKIE
        || name.as_str().starts_with("x-amz-");
    (!is_protected).then_some(name)
}

/// Whether a header lets its sender into this gateway. One that could carry a key, but carries something else, is the
/// client's own affair with the target.
async fn lets_in(x: &Exchange, passage: &Passage, name: &HeaderName, value: &HeaderValue) -> bool {
    if passage.key_header.as_ref() == Some(name) {
        return true;
    }
    let name = name.as_str();
    let own = x.snapshot.access.key_header.as_deref();
    if !may_carry(name, own) {
        return is_ours(x, name);
    }
    if name == CARRIERS[0] || own == Some(name) {
        return true;
    }
    // The one that was looked at when the caller was asked who they are.
    let is_asked = passage.needs_key || x.snapshot.access.custom.is_some();
    let looked_at = CARRIERS
        .iter()
        .find(|name| x.arrival.headers.contains_key(**name));
    if is_asked && looked_at == Some(&name) {
        return true;
    }
    let text = value.to_str().ok();
    let credential = find_credential(|asked| text.filter(|_| asked == name), None);
    let Credential::Key(key) = credential else {
        return false;
    };
    if let Some(user) = basic_user(&key)
        && is_key_of_ours(x, &user).await
    {
        return true;
    }
    is_key_of_ours(x, &key).await
}

/// Whether a key is the master key, a session's, a virtual key, or the one that the call came with.
async fn is_key_of_ours(x: &Exchange, key: &str) -> bool {
    let access = &x.snapshot.access;
    if x.principal.key_hash.as_ref() == Some(&KeyHash::of(key)) {
        return true;
    }
    let Some(master) = &access.master_key else {
        return false;
    };
    if master.check(key).is_some() {
        return true;
    }
    let now_s = u64::try_from(x.started.as_second()).unwrap_or_default();
    let session = master
        .signer()
        .and_then(|signer| signer.check_session_key(key, now_s));
    if session.is_some() {
        return true;
    }
    match &access.keys {
        // Who cannot tell does not send it.
        Some(keys) if key.starts_with("sk-") => {
            !matches!(keys.find(&KeyHash::of(key)).await, Ok(None))
        }
        _ => false,
    }
}
