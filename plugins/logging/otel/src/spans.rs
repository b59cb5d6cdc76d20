//! From an event to its spans. Pure.

use serde_json::Value;
use witgate_plugin::log_sink::{Event, EventKind};
use witgate_plugin::otlp::{Span, SpanEvent, SpanKind, Status};

use crate::attributes::{self, Attributes};
use crate::ids::{Parent, span_id, trace_id};

/// The event, read.
struct Source {
    payload: Value,
    context: Value,
    failed: bool,
    trace_id: [u8; 16],
    start_ns: u64,
    end_ns: u64,
}

/// The spans of an event: the request (unless the gateway exports that itself), the call of the model, the raw exchange
/// with the provider, and each guardrail. `now_ns` is the time of events that have none.
pub fn spans(event: &Event, now_ns: u64) -> Result<Vec<Span>, serde_json::Error> {
    let payload: Value = serde_json::from_str(&event.payload)?;
    let context: Value = serde_json::from_str(&event.context)?;
    if payload.get("request_route").is_some() {
        return Ok(refused(&payload, now_ns));
    }
    if payload.get("service").is_some() && payload.get("is_error").is_some() {
        return Ok(vec![service(&payload)]);
    }
    let source = Source::new(payload, context, event.kind == EventKind::Failure);
    Ok(source.spans())
}

impl Source {
    fn new(payload: Value, context: Value, failed: bool) -> Self {
        let ns = |member: &str| payload.get(member).and_then(ns).unwrap_or_default();
        let exact = |member: &str| context.pointer(&format!("/timing/{member}"))?.as_u64();
        // An event always has an id; only one that is not the gateway's has no more than that.
        let own = ["/trace_id", "/litellm_call_id", "/id"]
            .map(|pointer| text(&payload, pointer))
            .into_iter()
            .find(|id| !id.is_empty())
            .unwrap_or_default();
        let trace = parent(&context).map(|parent| parent.trace_id);
        Self {
            failed,
            trace_id: trace.unwrap_or_else(|| trace_id(own)),
            start_ns: exact("start_ns").unwrap_or_else(|| ns("startTime")),
            end_ns: exact("end_ns").unwrap_or_else(|| ns("endTime")),
            payload,
            context,
        }
    }

    fn spans(&self) -> Vec<Span> {
        let call = text(&self.payload, "/litellm_call_id");
        let id = text(&self.payload, "/id");
        let call = if call.is_empty() { id } else { call };
        let parent = parent(&self.context);
        let mut spans = Vec::new();
        // The gateway's own span is the request's, when it exports spans itself.
        let root = match parent.filter(|_| !self.is_callers_own()) {
            Some(own) => own.span_id,
            None => {
                let root = span_id(call, "root");
                if !self.is_an_attempt(call) {
                    spans.extend(self.root(root, parent.map(|parent| parent.span_id), call));
                }
                root
            }
        };
        let request = span_id(id, "litellm_request");
        spans.push(self.request(request, root));
        spans.push(self.raw(span_id(id, "raw_gen_ai_request"), request));
        spans.extend(self.guardrails(id, root));
        spans
    }

    /// Whether the parent that is known is the caller's span, as the gateway exports none.
    fn is_callers_own(&self) -> bool {
        let known = text(&self.context, "/trace/traceparent");
        known.is_empty() || known == text(&self.context, "/request/headers/traceparent")
    }

    /// Whether a later attempt of the same request is the one that counts.
    fn is_an_attempt(&self, call: &str) -> bool {
        let number = text(&self.payload, "/id")
            .strip_prefix(call)
            .and_then(|rest| rest.strip_prefix('-'));
        number
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    }

    fn span(&self, name: &str, span_id: [u8; 8], parent: Option<[u8; 8]>) -> Span {
        Span {
            trace_id: self.trace_id,
            span_id,
            parent_span_id: parent,
            name: name.to_owned(),
            kind: SpanKind::Internal,
            start_ns: self.start_ns,
            end_ns: self.end_ns,
            attributes: Vec::new(),
            events: Vec::new(),
            status: self.status(),
        }
    }

    fn status(&self) -> Status {
        match self.failed {
            true => Status::Error(text(&self.payload, "/error_str").to_owned()),
            false => Status::Ok,
        }
    }

    fn root(&self, id: [u8; 8], parent: Option<[u8; 8]>, call: &str) -> Vec<Span> {
        let mut root = self.span("Received Proxy Server Request", id, parent);
        root.kind = SpanKind::Server;
        let mut spans = vec![root];
        if self.failed {
            let failed = span_id(call, "failed");
            let mut span = self.span("Failed Proxy Server Request", failed, Some(id));
            let mut attributes = Attributes::default();
            attributes.put("exception", self.payload.get("error_str"));
            span.attributes = attributes.0;
            spans.push(span);
        }
        spans
    }

    fn request(&self, id: [u8; 8], root: [u8; 8]) -> Span {
        let name = text(&self.context, "/request/metadata/generation_name");
        let name = if name.is_empty() {
            "litellm_request"
        } else {
            name
        };
        let mut span = self.span(name, id, Some(root));
        span.attributes = attributes::request(&self.payload, &self.context);
        if self.failed {
            let error = &self.payload["error_information"];
            let mut attributes = Attributes::default();
            attributes.put("exception.type", error.get("error_class"));
            attributes.put("exception.message", error.get("error_message"));
            attributes.put("exception.stacktrace", error.get("traceback"));
            span.events.push(SpanEvent {
                time_ns: self.end_ns,
                name: "exception".to_owned(),
                attributes: attributes.0,
            });
        }
        span
    }

    fn raw(&self, id: [u8; 8], request: [u8; 8]) -> Span {
        let mut span = self.span("raw_gen_ai_request", id, Some(request));
        span.kind = SpanKind::Client;
        span.attributes = attributes::raw(&self.payload);
        if let Some(start) = self
            .context
            .pointer("/timing/api_call_start_ns")
            .and_then(Value::as_u64)
        {
            span.start_ns = start;
        }
        span
    }

    fn guardrails(&self, id: &str, root: [u8; 8]) -> Vec<Span> {
        let runs = self
            .payload
            .get("guardrail_information")
            .and_then(Value::as_array);
        let runs = runs.into_iter().flatten().enumerate();
        runs.map(|(number, run)| {
            let mut span = self.span(
                "guardrail",
                span_id(id, &format!("guardrail-{number}")),
                Some(root),
            );
            let time = |member: &str| run.get(member).and_then(ns);
            span.start_ns = time("start_time").unwrap_or(self.start_ns);
            span.end_ns = time("end_time").unwrap_or(self.end_ns);
            span.attributes = attributes::guardrail(run);
            span.status = Status::Ok;
            span
        })
        .collect()
    }
}

/// An operation of one of the gateway's own services: a trace of its own, as nobody knows which request it was for.
fn service(payload: &Value) -> Span {
    let id = text(payload, "/id");
    let time = |member: &str| payload.get(member).and_then(ns).unwrap_or_default();
    let mut attributes = Attributes::default();
    for name in ["call_type", "service", "error"] {
        attributes.put(name, payload.get(name));
    }
    Span {
        trace_id: trace_id(id),
        span_id: span_id(id, "service"),
        parent_span_id: None,
        name: text(payload, "/service").to_owned(),
        kind: SpanKind::Internal,
        start_ns: time("startTime"),
        end_ns: time("endTime"),
        attributes: attributes.0,
        events: Vec::new(),
        status: match payload["is_error"] == true {
            true => Status::Error(text(payload, "/error").to_owned()),
            false => Status::Ok,
        },
    }
}

/// A request that was refused before any model was called.
fn refused(payload: &Value, now_ns: u64) -> Vec<Span> {
    let call = text(payload, "/id");
    let message = text(payload, "/exception/message");
    let root = span_id(call, "root");
    let span = |name: &str, span_id, parent_span_id, kind, attributes| Span {
        trace_id: trace_id(call),
        span_id,
        parent_span_id,
        name: name.to_owned(),
        kind,
        start_ns: now_ns,
        end_ns: now_ns,
        attributes,
        events: Vec::new(),
        status: Status::Error(message.to_owned()),
    };
    let mut attributes = Attributes::default();
    attributes.put("exception", payload.pointer("/exception/message"));
    attributes.put("exception.type", payload.pointer("/exception/class"));
    attributes.put(
        "http.response.status_code",
        payload.pointer("/exception/status"),
    );
    vec![
        span(
            "Received Proxy Server Request",
            root,
            None,
            SpanKind::Server,
            Vec::new(),
        ),
        span(
            "Failed Proxy Server Request",
            span_id(call, "failed"),
            Some(root),
            SpanKind::Internal,
            attributes.0,
        ),
    ]
}

/// A time in seconds as nanoseconds, to the microsecond: more is not in a number of this size. The cast saturates.
fn ns(seconds: &Value) -> Option<u64> {
    let micros = (seconds.as_f64()? * 1e6).round() as u64;
    Some(micros.saturating_mul(1000))
}

fn parent(context: &Value) -> Option<Parent> {
    Parent::parse(text(context, "/trace/traceparent"))
        .or_else(|| Parent::parse(text(context, "/request/headers/traceparent")))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}
