//! What the gateway's own services do, for the sinks of `service_callbacks`: from those that are there before the hub.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde_json::Value;
use witgate_events::{EventKind, Hub, ServiceError, ServiceEvent};
use witgate_state::{Observe, Observed, StateError};
use witgate_store::Row;

/// Whoever tells, and the hub as soon as there is one.
#[derive(Clone, Default)]
pub struct Services(Arc<OnceLock<Weak<Hub>>>);

impl Services {
    /// From now on it is told here.
    pub fn told_to(&self, hub: &Arc<Hub>) {
        // Set once per process.
        let _ = self.0.set(Arc::downgrade(hub));
    }

    /// Tells of an operation of a service of LiteLLM's (`ServiceTypes`): how long it took, with which class of error and which text
    /// it failed.
    pub fn tell(
        &self,
        service: &'static str,
        operation: impl Into<Cow<'static, str>>,
        took: Duration,
        error: Option<(&'static str, &str)>,
    ) {
        let Some(hub) = self.hub() else { return };
        hub.publish_service(ServiceEvent {
            service,
            call_type: operation.into(),
            end: jiff::Timestamp::now(),
            took,
            error: error.map(|(class, message)| ServiceError {
                class: class.into(),
                message: message.to_owned(),
            }),
            metadata: None,
        });
    }

    /// Tells of the transactions of spend rows: as `batch_write_to_db`, and as `postgres` where they go there.
    pub fn of_the_ledger(&self, is_postgres: bool) -> witgate_store::Observe {
        let services = self.clone();
        Arc::new(move |took, error| {
            let error = error.map(|message| ("DatabaseError", message));
            services.tell("batch_write_to_db", "update_spend", took, error);
            if is_postgres {
                services.tell("postgres", "update_spend", took, error);
            }
        })
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        let hub = self.0.get().and_then(Weak::upgrade);
        hub.filter(|hub| hub.tells_services())
    }
}

/// Tells the sinks of `audit_log_callbacks` of a row of the audit log.
pub fn tell_of_audit(hub: &Weak<Hub>, row: Row) {
    let Some(hub) = hub.upgrade().filter(|hub| hub.wants(EventKind::Audit)) else {
        return;
    };
    let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
    let (id, row) = (id.to_owned(), Value::Object(row).to_string());
    hub.publish_audit(id, row.into());
}

impl Observe for Services {
    fn wants(&self) -> bool {
        self.hub().is_some()
    }

    fn observe(&self, observed: &Observed<'_>) {
        let message = observed.error.map(ToString::to_string);
        let error = observed.error.zip(message.as_deref());
        let error = error.map(|(error, message)| (class(error), message));
        self.tell("redis", observed.command.to_owned(), observed.took, error);
    }
}

/// The names of redis-py, which LiteLLM's dashboards know.
fn class(error: &StateError) -> &'static str {
    match error {
        StateError::Timeout(_) => "TimeoutError",
        StateError::Unreachable(_) | StateError::Resting => "ConnectionError",
        _ => "ResponseError",
    }
}
