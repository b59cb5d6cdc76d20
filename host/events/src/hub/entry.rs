//! One event in the queues: the call as published, and its encodings, made when first needed.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::alerts::Alert;
use crate::completed::{Completed, ProxyFailure};
use crate::payload;
use crate::redact::RedactionPolicy;
use crate::service::{self, ServiceEvent};
use crate::sink::{EncodedEvent, EventKind};

/// An event shared by the queues of all sinks that get it.
pub(super) struct Entry {
    what: What,
    excluded_fields: Arc<[String]>,
    /// One encoding per distinct policy. The lock is held while encoding, so that two sinks with the
    /// same policy do the work once.
    encodings: Mutex<Vec<(RedactionPolicy, EncodedEvent)>>,
    weight: usize,
}

enum What {
    Call(Box<Completed>),
    ProxyFailure(Box<ProxyFailure>),
    Alert(Box<Alert>),
    Service(String, Box<ServiceEvent>),
    /// Id and row.
    Audit(String, Bytes),
}

impl Entry {
    pub fn call(mut call: Completed, excluded_fields: Arc<[String]>) -> Self {
        call.detach();
        Self {
            weight: call.weight(),
            what: What::Call(Box::new(call)),
            excluded_fields,
            encodings: Mutex::default(),
        }
    }

    pub fn proxy_failure(failure: ProxyFailure) -> Self {
        let metadata = failure.metadata.as_ref().map_or(0, |raw| raw.get().len());
        Self {
            // The struct and its ids: about a kilobyte.
            weight: 1024 + failure.failure.message.len() + failure.failure.trace.len() + metadata,
            what: What::ProxyFailure(Box::new(failure)),
            excluded_fields: Arc::default(),
            encodings: Mutex::default(),
        }
    }

    pub fn alert(alert: Alert) -> Self {
        let pairs = alert.fields.iter().chain(&alert.metadata);
        let pairs: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
        Self {
            weight: 512 + alert.title.len() + alert.text.len() + pairs,
            what: What::Alert(Box::new(alert)),
            excluded_fields: Arc::default(),
            encodings: Mutex::default(),
        }
    }

    pub fn service(event: ServiceEvent) -> Self {
        let error = event.error.as_ref();
        let error = error.map_or(0, |error| error.class.len() + error.message.len());
        let id = format!("{:032x}", rand::random::<u128>());
        Self {
            weight: 256 + event.call_type.len() + error,
            what: What::Service(id, Box::new(event)),
            excluded_fields: Arc::default(),
            encodings: Mutex::default(),
        }
    }

    pub fn audit(id: String, row: Bytes) -> Self {
        Self {
            weight: 256 + row.len(),
            what: What::Audit(id, row),
            excluded_fields: Arc::default(),
            encodings: Mutex::default(),
        }
    }

    /// Memory held by the event, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// The event as a sink under this policy gets it.
    pub fn encoded(&self, policy: RedactionPolicy) -> Result<EncodedEvent, serde_json::Error> {
        let mut encodings = self.encodings.lock();
        if let Some((_, event)) = encodings.iter().find(|(known, _)| *known == policy) {
            return Ok(event.clone());
        }
        let event = self.encode(policy)?;
        encodings.push((policy, event.clone()));
        Ok(event)
    }

    fn encode(&self, policy: RedactionPolicy) -> Result<EncodedEvent, serde_json::Error> {
        match &self.what {
            What::Call(call) => {
                let encoded = payload::encode(call, policy, &self.excluded_fields)?;
                let kind = if call.succeeded() {
                    EventKind::Success
                } else {
                    EventKind::Failure
                };
                Ok(EncodedEvent {
                    id: call.log_id().into_owned(),
                    kind,
                    json: encoded.event,
                    context: encoded.context,
                    dynamic: call.dynamic.clone(),
                })
            }
            What::ProxyFailure(failure) => Ok(EncodedEvent {
                id: failure.call_id.clone(),
                kind: EventKind::ProxyFailure,
                json: payload::encode_proxy_failure(failure, policy)?,
                context: Bytes::from_static(b"{}"),
                dynamic: Arc::default(),
            }),
            What::Alert(alert) => Ok(EncodedEvent {
                id: alert.id.clone(),
                kind: EventKind::Alert,
                json: serde_json::to_vec(alert)?.into(),
                context: Bytes::from_static(b"{}"),
                dynamic: Arc::default(),
            }),
            What::Service(id, event) => Ok(EncodedEvent {
                id: id.clone(),
                kind: match event.error {
                    None => EventKind::Service,
                    Some(_) => EventKind::ServiceFailure,
                },
                json: service::encode(id, event)?,
                context: Bytes::from_static(b"{}"),
                dynamic: Arc::default(),
            }),
            What::Audit(id, row) => Ok(EncodedEvent {
                id: id.clone(),
                kind: EventKind::Audit,
                json: row.clone(),
                context: Bytes::from_static(b"{}"),
                dynamic: Arc::default(),
            }),
        }
    }
}
