//! What goes over the wire to an upstream and comes back, as it may be told (`log_raw_request_response`).
//!
//! Secrets end here: of headers only the values of known harmless ones are told, of the URL neither query nor user, of the body
//! not the deployment's parameters that are secret. Answers that guardrails or hooks change are not told; see
//! [`Exchange::keeps_back`].

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use witgate_events::{Headers, RawCall};

use crate::exchange::Exchange;
use crate::snapshot::Target;

/// Headers whose values are nobody's secret; an operator may have put one into any other.
const OPEN: [&str; 8] = [
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "openai-beta",
    "traceparent",
    "user-agent",
    "x-litellm-call-id",
];

/// What stands in a secret's place.
const MASKED: &str = "*****";

/// Where a request goes and with which headers, as it may be told.
#[must_use]
pub fn shown(request: &http::Request<Bytes>) -> (String, Headers) {
    let uri = request.uri();
    // Some providers take the key in the query.
    let url = format!(
        "{}://{}{}",
        uri.scheme_str().unwrap_or_default(),
        uri.host()
            .map_or_else(String::new, |host| match uri.port_u16() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            }),
        uri.path()
    );
    let mut headers = Headers::default();
    for (name, value) in request.headers() {
        let is_open = OPEN.contains(&name.as_str()) && !value.is_sensitive();
        let text = value.to_str().ok().filter(|_| is_open);
        headers.push(name.as_str(), text.unwrap_or(MASKED));
    }
    (url, headers)
}

/// What a call's last try has sent and got.
#[derive(Default)]
pub struct RawLog(Mutex<Option<Box<RawCall>>>);

impl Exchange {
    /// This is about to be sent. Nothing is kept unless the configuration wants it told.
    pub(crate) fn sends(&self, target: &Target, request: &http::Request<Bytes>) {
        let Some(log) = &self.raw else { return };
        let (url, headers) = shown(request);
        *log.0.lock() = Some(Box::new(RawCall {
            method: request.method().to_string(),
            url,
            headers,
            body: without(request.body(), &target.client_side.secrets),
            answer: None,
        }));
    }

    /// This came back, whatever its status.
    pub(crate) fn hears(&self, body: &Bytes) {
        if let Some(log) = &self.raw
            && let Some(raw) = log.0.lock().as_mut()
        {
            raw.answer = Some(body.clone());
        }
    }

    /// What came back is no answer for the client, and no guardrail will judge it.
    pub(crate) fn rejects(&self) {
        if let Some(log) = &self.raw
            && let Some(raw) = log.0.lock().as_mut()
        {
            raw.answer = None;
        }
    }

    /// The try is over: what it has sent and got.
    pub(crate) fn take_raw(&self) -> Option<Box<RawCall>> {
        self.raw.as_ref()?.0.lock().take()
    }

    /// What the last try has sent and got, as far as it may be told: not an answer that was kept from the client.
    pub(crate) fn told_raw(&mut self) -> Option<Box<RawCall>> {
        let mut raw = self.take_raw().or_else(|| self.served.raw.take())?;
        if self.withheld.is_some() {
            raw.answer = None;
        }
        Some(raw)
    }

    /// Nothing of it is told.
    pub(crate) fn forgets_raw(&mut self) {
        self.raw = None;
        self.served.raw = None;
        for failed in &mut self.served.failed {
            failed.raw = None;
        }
    }

    /// The client does not get what the upstream has said: events do not tell it either.
    pub(crate) fn keeps_back(&mut self) {
        if let Some(raw) = &mut self.served.raw {
            raw.answer = None;
        }
    }
}

/// The body without the values of these members.
fn without(body: &Bytes, secrets: &[String]) -> Bytes {
    if secrets.is_empty() {
        return body.clone();
    }
    let Ok(mut members) = serde_json::from_slice::<Map<String, Value>>(body) else {
        return Bytes::new();
    };
    for (name, value) in &mut members {
        if secrets.contains(name) {
            *value = MASKED.into();
        }
    }
    Value::Object(members).to_string().into()
}
