//! `witgate:host/jwt`: tokens of others, checked here, so that no plugin has to do cryptography.
//!
//! [`jws`](witgate_signing::jws) verifies. Everything about the claims is strict: a claim of the wrong type is a wrong claim,
//! never an absent one.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use witgate_outbound::Body;
use witgate_signing::jws::{Jwk, NotNow, Parts, SET_MAX, check_time};

use super::Context;
use super::http::exchange;
use super::state::State;
use crate::bindings::witgate::host::http::HttpError;
use crate::bindings::witgate::host::jwt as wit;
use crate::record::Find;

/// Key sets of one plugin that are kept.
const SETS_MAX: usize = 16;
/// How long a key set is good.
const FRESH_MS: u64 = 10 * 60 * 1000;
/// How long nobody looks again for a key id that was not there.
const AGAIN_MS: u64 = 30 * 1000;
/// By how much clocks may differ, seconds.
const GRACE_S: f64 = 60.0;

/// The key sets of one plugin.
#[derive(Default)]
pub(crate) struct KeySets {
    /// By URL, with the time at which each was fetched. Held during a request, so that many calls at once make one.
    known: Mutex<HashMap<String, (u64, Arc<Vec<Jwk>>)>>,
}

impl wit::Host for State {
    async fn verify(
        &mut self,
        token: String,
        keys_url: String,
        expected: wit::Expected,
    ) -> wasmtime::Result<Result<String, wit::JwtError>> {
        let taken = self.asked("jwt.verify", Find::Same, || {
            json!({
                "token": token, "keys_url": keys_url, "issuer": expected.issuer,
                "audience": expected.audience, "nonce": expected.nonce,
            })
        });
        if let Some(known) = taken.known::<Value>().and_then(|known| told(&known)) {
            return Ok(known);
        }
        let left = self
            .call
            .deadline
            .saturating_duration_since(std::time::Instant::now());
        let checked =
            tokio::time::timeout(left, verify(&self.context, &token, &keys_url, &expected));
        let late = || Err(wit::JwtError::Unavailable("no answer in time".to_owned()));
        let checked = checked.await.unwrap_or_else(|_| late());
        taken.end(|| shown(&checked));
        Ok(checked)
    }
}

/// What became of a token as a recording has it.
fn shown(checked: &Result<String, wit::JwtError>) -> Value {
    match checked {
        Ok(claims) => json!({"claims": claims}),
        Err(wit::JwtError::Denied(text)) => json!({"denied": text}),
        Err(wit::JwtError::Unavailable(text)) => json!({"unavailable": text}),
        Err(wit::JwtError::Invalid(text)) => json!({"invalid": text}),
    }
}

/// The way back; `None` for what [`shown`] never makes.
fn told(value: &Value) -> Option<Result<String, wit::JwtError>> {
    let (kind, text) = value.as_object()?.iter().next()?;
    let text = text.as_str()?.to_owned();
    Some(match kind.as_str() {
        "claims" => Ok(text),
        "denied" => Err(wit::JwtError::Denied(text)),
        "unavailable" => Err(wit::JwtError::Unavailable(text)),
        "invalid" => Err(wit::JwtError::Invalid(text)),
        _ => return None,
    })
}

async fn verify(
    context: &Context,
    token: &str,
    keys_url: &str,
    expected: &wit::Expected,
) -> Result<String, wit::JwtError> {
    let parts = Parts::of(token).map_err(invalid)?;
    let now_ms = now_ms(context);
    let mut keys = context
        .key_sets
        .get(context, keys_url, now_ms, FRESH_MS)
        .await?;
    if !keys.iter().any(|key| key.fits(&parts.header)) {
        // Signers change their keys; the new one may have come after we looked.
        keys = context
            .key_sets
            .get(context, keys_url, now_ms, AGAIN_MS)
            .await?;
    }
    let mut fitting = keys.iter().filter(|key| key.fits(&parts.header)).peekable();
    if fitting.peek().is_none() {
        return Err(invalid("no published key fits its key id and algorithm"));
    }
    if !fitting.any(|key| key.verifies(&parts)) {
        return Err(invalid("its signature is wrong"));
    }
    let now_s = Duration::from_millis(now_ms).as_secs_f64();
    check_claims(&parts.claims, expected, now_s).map_err(invalid)?;
    Ok(Value::Object(parts.claims).to_string())
}

fn check_claims(
    claims: &Map<String, Value>,
    expected: &wit::Expected,
    now_s: f64,
) -> Result<(), &'static str> {
    check_time(claims, now_s, GRACE_S).map_err(|problem| match problem {
        NotNow::Endless => "it does not say when it ends (`exp`)",
        NotNow::Expired => "it has expired (`exp`)",
        NotNow::NotYet => "it is not valid yet (`nbf`)",
    })?;
    if text(claims, "iss") != Some(issuer(claims, &expected.issuer)?.as_str()) {
        return Err("somebody else issued it (`iss`)");
    }
    if let Some(audience) = &expected.audience {
        let audience = audience.as_str();
        let good = match claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(many)) => {
                many.iter().any(|one| one == audience)
                    && (many.len() == 1 || text(claims, "azp") == Some(audience))
            }
            _ => false,
        };
        if !good {
            return Err("it is for somebody else (`aud`)");
        }
    }
    match &expected.nonce {
        Some(nonce) if text(claims, "nonce") != Some(nonce.as_str()) => {
            Err("it belongs to another login (`nonce`)")
        }
        _ => Ok(()),
    }
}

/// The issuer that a token must have. A tenant in it is the token's own, but nothing else than a UUID: the rest is the operator's.
fn issuer(claims: &Map<String, Value>, expected: &str) -> Result<String, &'static str> {
    if !expected.contains("{tenantid}") {
        return Ok(expected.to_owned());
    }
    let tenant = text(claims, "tid")
        .filter(|tenant| uuid::Uuid::try_parse(tenant).is_ok())
        .ok_or("it names no tenant (`tid`)")?;
    Ok(expected.replace("{tenantid}", tenant))
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

impl KeySets {
    /// The keys at a URL, fetched when there are none or they are older than `max_age_ms`.
    async fn get(
        &self,
        context: &Context,
        url: &str,
        now_ms: u64,
        max_age_ms: u64,
    ) -> Result<Arc<Vec<Jwk>>, wit::JwtError> {
        let mut known = self.known.lock().await;
        if let Some((fetched, keys)) = known.get(url)
            && now_ms < fetched.saturating_add(max_age_ms)
        {
            return Ok(keys.clone());
        }
        let keys = Arc::new(fetch(context, url).await?);
        if known.len() >= SETS_MAX {
            known.retain(|_, (fetched, _)| now_ms < fetched.saturating_add(FRESH_MS));
        }
        if known.len() < SETS_MAX || known.contains_key(url) {
            known.insert(url.to_owned(), (now_ms, keys.clone()));
        }
        Ok(keys)
    }
}

async fn fetch(context: &Context, url: &str) -> Result<Vec<Jwk>, wit::JwtError> {
    let unavailable = |text: String| wit::JwtError::Unavailable(text);
    let mut request = Request::new(Body::from(Vec::new()));
    *request.uri_mut() =
        Uri::try_from(url).map_err(|_| invalid("the address of the keys is malformed"))?;
    let answer = exchange(context, request, true).await;
    let answer = answer.map_err(|error| match error {
        HttpError::Denied(text) => wit::JwtError::Denied(text),
        HttpError::Timeout => unavailable("the keys: no answer in time".to_owned()),
        HttpError::Connection(text) | HttpError::Invalid(text) => {
            unavailable(format!("the keys: {text}"))
        }
        HttpError::TooLarge(_) => unavailable("the keys: the answer is too large".to_owned()),
    })?;
    if answer.status != 200 || answer.body.len() > SET_MAX {
        return Err(unavailable(format!(
            "the keys: status {} with {} bytes",
            answer.status,
            answer.body.len()
        )));
    }
    Jwk::set(&answer.body)
        .ok_or_else(|| unavailable("the keys: the answer is no JWK Set".to_owned()))
}

fn now_ms(context: &Context) -> u64 {
    match &context.world {
        Some(world) => world.now_ms(),
        None => u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default(),
    }
}

fn invalid(text: &str) -> wit::JwtError {
    wit::JwtError::Invalid(text.to_owned())
}
