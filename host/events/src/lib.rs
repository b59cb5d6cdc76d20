//! The standard logging event, redaction, and delivery to sinks: queue, batch, retry, drain.
//!
//! Reading order: [`completed`] is what the pipeline hands over, [`payload`] is the event sinks get
//! (LiteLLM's `StandardLoggingPayload`), [`redact`] decides what a sink may see of it, [`mask`] takes
//! secrets out of texts, [`sink`] is what delivers, [`hub`] queues and drives the sinks, [`metrics`]
//! counts, [`alerts`] decides what people are told, [`spend`] derives the parts of a spend row that are more than a copy of one field.
//!
//! No vendor's format is known here. Nothing on the request path waits or serialises: see
//! [`Hub::publish`].

pub mod alerts;
pub mod completed;
mod headers;
pub mod hub;
pub mod mask;
pub mod metrics;
pub mod payload;
pub mod redact;
mod service;
pub mod sink;
pub mod spend;

pub use alerts::{
    Alert, AlertKind, AlertSettings, Begun, BudgetAlert, BudgetEvent, InFlight, KeyText, Level,
    Watch,
};
pub use completed::{
    Audience, AutoRouted, BudgetWindow, Cache, Caller, Completed, Cost, Dynamic, Failure, Fallback,
    GuardrailRun, GuardrailStatus, Named, Origin, Outcome, PromptUsed, ProxyFailure, RawCall,
    Request, Routing, RoutingCandidate, Served, Times, Usage,
};
pub use headers::Headers;
pub use hub::{DrainReport, Hub, HubConfig, HubParts, Jitter, Published, SinkState};
pub use metrics::EventMetrics;
pub use payload::StandardLoggingPayload;
pub use redact::{RedactionPolicy, RedactionSettings, RequestRedaction, SinkRedaction};
pub use service::{ServiceError, ServiceEvent};
pub use sink::{
    Delivery, EncodedEvent, EventKind, Kinds, RetryPolicy, Sink, SinkEntry, SinkOptions,
};
