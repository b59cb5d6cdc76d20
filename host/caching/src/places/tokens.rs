//! Access tokens by OAuth 2.0, kept until shortly before they expire.

use std::sync::Arc;

use ::http::{Method, Request, Uri};
use serde_json::Value;
use tokio::sync::Mutex;
use witgate_outbound::Body;
use zeroize::Zeroizing;

use super::Http;
use crate::Trouble;

/// How long before its end a token is renewed, milliseconds; of a short-lived one a fifth of its life.
const MARGIN_MS: i64 = 300_000;

/// The token of one account for one purpose.
#[derive(Default)]
pub(super) struct Token {
    /// Held during a request, so that many calls at once make one.
    known: Mutex<Option<(Arc<Zeroizing<String>>, i64)>>,
}

impl Token {
    /// The token, asked for with a form when there is none.
    pub(super) async fn get(
        &self,
        http: &Http,
        url: &str,
        now_ms: i64,
        form: impl FnOnce() -> Result<Zeroizing<String>, Trouble>,
    ) -> Result<Arc<Zeroizing<String>>, Trouble> {
        let mut known = self.known.lock().await;
        if let Some((token, until_ms)) = known.as_ref()
            && now_ms < *until_ms
        {
            return Ok(token.clone());
        }
        let (token, life_s) = ask(http, url, &form()?).await?;
        let life_ms = life_s.clamp(0, 86_400) * 1000;
        let token = Arc::new(token);
        *known = Some((token.clone(), now_ms + life_ms - MARGIN_MS.min(life_ms / 5)));
        Ok(token)
    }
}

async fn ask(http: &Http, url: &str, form: &str) -> Result<(Zeroizing<String>, i64), Trouble> {
    let uri = Uri::try_from(url)
        .map_err(|_| Trouble("the URL of the token service is malformed".to_owned()))?;
    let mut request = Request::new(Body::from(form.as_bytes().to_vec()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    let form_type = ::http::HeaderValue::from_static("application/x-www-form-urlencoded");
    request
        .headers_mut()
        .insert(::http::header::CONTENT_TYPE, form_type);
    let answer = http.send(request).await?;
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if !answer.status.is_success() {
        // `error` is one of a few words; the rest of the answer may repeat what was sent.
        let code = told
            .get("error")
            .and_then(Value::as_str)
            .unwrap_or("no reason given");
        let code: String = code.chars().take(80).collect();
        let status = answer.status.as_u16();
        return Err(Trouble(format!(
            "the token service answers {status}: {code}"
        )));
    }
    let token = told.get("access_token").and_then(Value::as_str);
    let life = told.get("expires_in").and_then(Value::as_i64);
    match (token, life) {
        (Some(token), Some(life)) => Ok((Zeroizing::new(token.to_owned()), life)),
        _ => Err(Trouble(
            "the answer of the token service has no token".to_owned(),
        )),
    }
}
