//! Access tokens by OAuth 2.0, kept until shortly before they expire.

use std::collections::HashMap;
use std::sync::Arc;

use http::{Method, Request, Uri};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use witgate_outbound::Body;
use zeroize::Zeroizing;

use super::{now, put};
use crate::bindings::witgate::host::http::HttpError;
use crate::capabilities::Context;
use crate::capabilities::http::exchange;

/// Different tokens of one plugin that are kept.
const TOKENS_MAX: usize = 32;
/// How long before its end a token is renewed, at most; of a short-lived one a fifth of its life.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);

/// A token's value.
pub(super) type Token = Arc<Zeroizing<String>>;

/// The tokens of one plugin.
#[derive(Default)]
pub(crate) struct Tokens {
    /// By what they were asked for with. Held during a request, so that many calls at once make one.
    known: Mutex<HashMap<[u8; 32], (Token, Timestamp)>>,
}

/// What asks for a token.
pub(super) struct Ask<'a> {
    /// URL of the token service.
    pub(super) url: &'a str,
    /// Tells tokens apart: everything that the form is made of, but no time.
    pub(super) identity: &'a [&'a str],
}

#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "hidden")]
    access_token: Zeroizing<String>,
    expires_in: i64,
}

/// Reads a text that is wiped when it is dropped.
fn hidden<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

impl Tokens {
    /// The token, asked for with this form when there is none.
    pub(super) async fn get(
        &self,
        context: &Context,
        ask: Ask<'_>,
        form: impl FnOnce(Timestamp) -> Result<Zeroizing<String>, HttpError>,
    ) -> Result<Token, HttpError> {
        let mut hash = Sha256::new();
        for part in [ask.url].iter().chain(ask.identity) {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        let key: [u8; 32] = hash.finalize().into();
        let mut known = self.known.lock().await;
        let now = now(context);
        if let Some((token, end)) = known.get(&key)
            && now < *end
        {
            return Ok(token.clone());
        }
        let answer = fetch(context, ask.url, form(now)?).await?;
        let life = SignedDuration::from_secs(answer.expires_in.clamp(0, 86_400));
        let token: Token = Arc::new(answer.access_token);
        known.retain(|_, (_, end)| now < *end);
        if known.len() < TOKENS_MAX {
            known.insert(key, (token.clone(), now + life - MARGIN.min(life / 5)));
        }
        Ok(token)
    }
}

async fn fetch(context: &Context, url: &str, form: Zeroizing<String>) -> Result<Answer, HttpError> {
    let uri = Uri::try_from(url)
        .map_err(|_| HttpError::Invalid("the URL of the token service is malformed".to_owned()))?;
    let mut request = Request::new(Body::from(form.as_bytes().to_vec()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    put(
        &mut request,
        "content-type",
        "application/x-www-form-urlencoded",
    )?;
    let response = exchange(context, request, false).await?;
    let body = Zeroizing::new(response.body);
    if response.status != 200 {
        // `error` is one of a few words; the rest of the answer may repeat what was sent.
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let code = told.get("error").and_then(|code| code.as_str());
        let code: String = code.unwrap_or("no reason given").chars().take(80).collect();
        let text = format!("the token service answers {}: {code}", response.status);
        return Err(match response.status {
            408 | 429 | 500..=599 => HttpError::Connection(text),
            _ => HttpError::Invalid(text),
        });
    }
    serde_json::from_slice(&body)
        .map_err(|_| HttpError::Invalid("the answer of the token service has no token".to_owned()))
}
