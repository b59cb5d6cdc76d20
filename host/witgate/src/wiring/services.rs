//! What the gateway's own services do, for the sinks of `service_callbacks`: from those that are there before the hub.

use std::sync::{Arc, OnceLock, Weak};

use witgate_events::{Hub, ServiceError, ServiceEvent};
use witgate_state::{Observe, Observed, StateError};

/// Whoever tells, and the hub as soon as there is one.
#[derive(Clone, Default)]
pub struct Services(Arc<OnceLock<Weak<Hub>>>);

impl Services {
    /// From now on it is told here.
    pub fn told_to(&self, hub: &Arc<Hub>) {
        // Set once per process.
        let _ = self.0.set(Arc::downgrade(hub));
    }

    fn hub(&self) -> Option<Arc<Hub>> {
        let hub = self.0.get().and_then(Weak::upgrade);
        hub.filter(|hub| hub.tells_services())
    }
}

impl Observe for Services {
    fn wants(&self) -> bool {
        self.hub().is_some()
    }

    fn observe(&self, observed: &Observed<'_>) {
        let Some(hub) = self.hub() else { return };
        hub.publish_service(ServiceEvent {
            service: "redis",
            call_type: observed.command.to_owned().into(),
            end: jiff::Timestamp::now(),
            took: observed.took,
            error: observed.error.map(|error| ServiceError {
                class: class(error).into(),
                message: error.to_string(),
            }),
        });
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
