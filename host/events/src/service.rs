//! Events of the gateway's own services: what it asked Redis or the database, how long that took, how it ended
//! (LiteLLM's `service_callback`).

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::completed::epoch_s;
use crate::mask;

/// One operation of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceEvent {
    /// Which service, by LiteLLM's names: `redis`, `postgres`, `auth`, `router`, `self`, …
    pub service: &'static str,
    /// What was done.
    pub call_type: Cow<'static, str>,
    /// When it ended.
    pub end: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How it failed; `None` when it did not.
    pub error: Option<ServiceError>,
    /// What else there is to tell.
    pub metadata: Option<Value>,
}

/// How an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceError {
    /// The class of the error.
    pub class: Cow<'static, str>,
    /// What went wrong; secrets are masked before any sink sees it.
    pub message: String,
}

/// LiteLLM's `ServiceLoggerPayload`, and when it was.
#[derive(Serialize)]
struct Payload<'a> {
    id: &'a str,
    is_error: bool,
    error: Option<Cow<'a, str>>,
    error_class: Option<&'a str>,
    service: &'a str,
    duration: f64,
    call_type: &'a str,
    event_metadata: Option<&'a Value>,
    #[serde(rename = "startTime")]
    start_time: f64,
    #[serde(rename = "endTime")]
    end_time: f64,
}

/// Encodes an event.
pub(crate) fn encode(id: &str, event: &ServiceEvent) -> Result<Bytes, serde_json::Error> {
    let took = SignedDuration::try_from(event.took).unwrap_or_default();
    let start = event.end.checked_sub(took).unwrap_or(event.end);
    let error = event.error.as_ref();
    serde_json::to_vec(&Payload {
        id,
        is_error: error.is_some(),
        error: error.map(|error| mask::mask(&error.message)),
        error_class: error.map(|error| error.class.as_ref()),
        service: event.service,
        duration: event.took.as_secs_f64(),
        call_type: &event.call_type,
        event_metadata: event.metadata.as_ref(),
        start_time: epoch_s(start),
        end_time: epoch_s(event.end),
    })
    .map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_operation_is_told_by_litellms_names() {
        let event = ServiceEvent {
            service: "redis",
            call_type: "get".into(),
            end: Timestamp::from_second(100).unwrap(),
            took: Duration::from_millis(1500),
            error: Some(ServiceError {
                class: "TimeoutError".into(),
                message: "no answer, Bearer sk-abcdefghijklmnop1234".to_owned(),
            }),
            metadata: None,
        };
        let told: Value = serde_json::from_slice(&encode("1", &event).unwrap()).unwrap();
        assert!(!told.to_string().contains("abcdefghijklmnop"), "{told}");
        let expected = json!({
            "id": "1", "is_error": true, "error": told["error"], "error_class": "TimeoutError",
            "service": "redis", "duration": 1.5, "call_type": "get", "event_metadata": null,
            "startTime": 98.5, "endTime": 100.0,
        });
        assert_eq!(told, expected);
    }
}
