//! One request and its whole answer.

use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use witgate_outbound::{Body, Client, collect_limited};

use crate::Trouble;

/// Longest answer that is read: an entry, or what is wrong.
const ANSWER_MAX: usize = 32 * 1024 * 1024;

/// A client for the places of a cache.
#[derive(Clone)]
pub struct Http(pub Client);

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    /// Sends a request. How long that may take is the caller's to say.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Answer, Trouble> {
        let answer = self.0.send(request).await;
        let answer = answer.map_err(|error| Trouble(error.to_string()))?;
        let (head, body) = answer.into_parts();
        let body = collect_limited(body, ANSWER_MAX).await;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.map_err(|error| Trouble(error.to_string()))?,
        })
    }
}

impl Answer {
    /// What the server says is wrong, short: its code where there is one. It may repeat a request, so not all of it.
    pub(crate) fn trouble(&self) -> Trouble {
        let text = String::from_utf8_lossy(&self.body);
        let code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map(|(code, _)| code.to_owned());
        let code = code.or_else(|| {
            let json: serde_json::Value = serde_json::from_str(&text).ok()?;
            let told = [
                "/error/message",
                "/error/status",
                "/status/error",
                "/error",
                "/message",
            ];
            let told = told.iter().find_map(|at| json.pointer(at)?.as_str());
            told.map(|told| told.chars().take(200).collect())
        });
        Trouble(match code {
            Some(code) => format!("it answers {}: {code}", self.status.as_u16()),
            None => format!("it answers {}", self.status.as_u16()),
        })
    }
}
