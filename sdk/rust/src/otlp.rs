//! OpenTelemetry's protocol (OTLP): spans as protobuf or as JSON, without a code generator.
//!
//! The numbers are those of `opentelemetry/proto/{collector/trace,trace,common,resource}/v1`.

use serde_json::json;

/// A span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Id of the trace.
    pub trace_id: [u8; 16],
    /// Id of the span.
    pub span_id: [u8; 8],
    /// Id of the span it belongs to.
    pub parent_span_id: Option<[u8; 8]>,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: SpanKind,
    /// Nanoseconds since 1970.
    pub start_ns: u64,
    /// Nanoseconds since 1970.
    pub end_ns: u64,
    /// What is known of it.
    pub attributes: Vec<(String, Value)>,
    /// What happened in it.
    pub events: Vec<SpanEvent>,
    /// How it ended.
    pub status: Status,
}

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A step within.
    Internal = 1,
    /// The serving side of a request.
    Server = 2,
    /// The asking side of a request.
    Client = 3,
}

/// Something that happened in a span.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanEvent {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Its name.
    pub name: String,
    /// What is known of it.
    pub attributes: Vec<(String, Value)>,
}

/// How a span ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Well.
    Ok,
    /// With an error, and why.
    Error(String),
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
}

/// What all spans of a request have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// What emits them.
    pub resource: Vec<(String, Value)>,
    /// Name of the instrumentation.
    pub scope: String,
}

/// What the collector did not take of a request that it accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// How many spans.
    pub rejected: u64,
    /// Why.
    pub message: String,
}

/// JSON's own types as an attribute: null is an empty text, arrays and objects are their JSON.
impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Null => Self::Text(String::new()),
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => Self::Int(whole),
                None => Self::Double(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Self::Text(text.clone()),
            other => Self::Text(other.to_string()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Span {
    /// The span as part of a protobuf request.
    pub fn protobuf(&self) -> Vec<u8> {
        let mut span = Message::default();
        span.bytes(1, &self.trace_id);
        span.bytes(2, &self.span_id);
        if let Some(parent) = &self.parent_span_id {
            span.bytes(4, parent);
        }
        span.bytes(5, self.name.as_bytes());
        span.varint(6, self.kind as u64);
        span.fixed64(7, self.start_ns);
        span.fixed64(8, self.end_ns);
        span.attributes(9, &self.attributes);
        for event in &self.events {
            let mut inner = Message::default();
            inner.fixed64(1, event.time_ns);
            inner.bytes(2, event.name.as_bytes());
            inner.attributes(3, &event.attributes);
            span.bytes(11, &inner.0);
        }
        let mut status = Message::default();
        match &self.status {
            Status::Ok => status.varint(3, 1),
            Status::Error(message) => {
                status.bytes(2, message.as_bytes());
                status.varint(3, 2);
            }
        }
        span.bytes(15, &status.0);
        // `ScopeSpans.spans`.
        let mut part = Message::default();
        part.bytes(2, &span.0);
        part.0
    }

    /// The span as part of a JSON request: ids as hex, 64-bit numbers as text.
    pub fn json(&self) -> String {
        let events: Vec<_> = self
            .events
            .iter()
            .map(|event| {
                json!({
                    "timeUnixNano": event.time_ns.to_string(),
                    "name": event.name,
                    "attributes": json_attributes(&event.attributes),
                })
            })
            .collect();
        let mut span = json!({
            "traceId": hex(&self.trace_id),
            "spanId": hex(&self.span_id),
            "name": self.name,
            "kind": self.kind as u64,
            "startTimeUnixNano": self.start_ns.to_string(),
            "endTimeUnixNano": self.end_ns.to_string(),
            "attributes": json_attributes(&self.attributes),
            "events": events,
            "status": match &self.status {
                Status::Ok => json!({"code": 1}),
                Status::Error(message) => json!({"code": 2, "message": message}),
            },
        });
        if let Some(parent) = &self.parent_span_id {
            span["parentSpanId"] = hex(parent).into();
        }
        span.to_string()
    }
}

impl Source {
    /// A request of spans in protobuf.
    pub fn protobuf<'a>(&self, spans: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut resource = Message::default();
        resource.attributes(1, &self.resource);
        let mut scope = Message::default();
        scope.bytes(1, self.scope.as_bytes());
        let mut scope_spans = Message::default();
        scope_spans.bytes(1, &scope.0);
        for span in spans {
            scope_spans.0.extend_from_slice(span);
        }
        let mut resource_spans = Message::default();
        resource_spans.bytes(1, &resource.0);
        resource_spans.bytes(2, &scope_spans.0);
        let mut request = Message::default();
        request.bytes(1, &resource_spans.0);
        request.0
    }

    /// A request of spans in JSON.
    pub fn json(&self, spans: &str) -> String {
        let resource = json!({"attributes": json_attributes(&self.resource)});
        let scope = json!({"name": self.scope});
        format!(
            "{{\"resourceSpans\":[{{\"resource\":{resource},\"scopeSpans\":[{{\"scope\":{scope},\"spans\":[{spans}]}}]}}]}}"
        )
    }
}

impl PartialSuccess {
    /// Reads the answer to a request, in the format of the request.
    pub fn read(body: &[u8]) -> Self {
        if let Ok(json) = serde_json::from_slice::<serde_json::Value>(body) {
            let partial = &json["partialSuccess"];
            let rejected = &partial["rejectedSpans"];
            let text = rejected.as_str().and_then(|text| text.parse().ok());
            return Self {
                rejected: rejected.as_u64().or(text).unwrap_or_default(),
                message: partial["errorMessage"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            };
        }
        let mut found = Self::default();
        for (field, value) in fields(body) {
            let (1, Field::Bytes(partial)) = (field, value) else {
                continue;
            };
            for (field, value) in fields(partial) {
                match (field, value) {
                    (1, Field::Varint(rejected)) => found.rejected = rejected,
                    (2, Field::Bytes(text)) => {
                        found.message = String::from_utf8_lossy(text).into_owned();
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

fn json_attributes(attributes: &[(String, Value)]) -> serde_json::Value {
    let attributes = attributes.iter().map(|(key, value)| {
        let value = match value {
            Value::Text(text) => json!({"stringValue": text}),
            Value::Bool(flag) => json!({"boolValue": flag}),
            Value::Int(number) => json!({"intValue": number.to_string()}),
            Value::Double(number) => json!({"doubleValue": number}),
        };
        json!({"key": key, "value": value})
    });
    attributes.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    fn varint(&mut self, field: u64, value: u64) {
        self.leb128(field << 3 | VARINT);
        self.leb128(value);
    }

    fn fixed64(&mut self, field: u64, value: u64) {
        self.leb128(field << 3 | FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.leb128(field << 3 | BYTES);
        self.leb128(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn attributes(&mut self, field: u64, attributes: &[(String, Value)]) {
        for (key, value) in attributes {
            let mut any = Self::default();
            match value {
                Value::Text(text) => any.bytes(1, text.as_bytes()),
                Value::Bool(flag) => any.varint(2, (*flag).into()),
                Value::Int(number) => any.varint(3, *number as u64),
                Value::Double(number) => any.fixed64(4, number.to_bits()),
            }
            let mut pair = Self::default();
            pair.bytes(1, key.as_bytes());
            pair.bytes(2, &any.0);
            self.bytes(field, &pair.0);
        }
    }

    fn leb128(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A field of a message that came.
enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, up to the first that is malformed.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = take_leb128(&mut message)?;
        let field = match key & 7 {
            VARINT => Field::Varint(take_leb128(&mut message)?),
            BYTES => {
                let length = usize::try_from(take_leb128(&mut message)?).ok()?;
                Field::Bytes(message.split_off(..length)?)
            }
            FIXED64 => message.split_off(..8).map(|_| Field::Other)?,
            FIXED32 => message.split_off(..4).map(|_| Field::Other)?,
            _ => return None,
        };
        Some((key >> 3, field))
    })
}

fn take_leb128(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *message.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_is_read_in_both_formats() {
        let partial = PartialSuccess {
            rejected: 300,
            message: "too old".into(),
        };
        // Field 1: { field 1: 300, field 2: "too old" }, after a field that nobody knows.
        let body = b"\x19\0\0\0\0\0\0\0\0\x0a\x0c\x08\xac\x02\x12\x07too old";
        assert_eq!(PartialSuccess::read(body), partial);
        let json = br#"{"partialSuccess":{"rejectedSpans":"300","errorMessage":"too old"}}"#;
        assert_eq!(PartialSuccess::read(json), partial);
        for nothing in [&b""[..], b"{}", b"\x0a\x7fcut"] {
            assert_eq!(PartialSuccess::read(nothing), PartialSuccess::default());
        }
    }

    #[test]
    fn numbers_are_varints_and_zigzag_free() {
        let mut message = Message::default();
        message.attributes(9, &[("n".into(), Value::Int(-1))]);
        // KeyValue { key: "n", value: AnyValue { int_value: -1 } }.
        let expected = [
            &[0x4a, 16, 0x0a, 1, b'n', 0x12, 11, 0x18][..],
            &[0xff; 9],
            &[0x01],
        ];
        assert_eq!(message.0, expected.concat());
    }
}
