//! An OpenTelemetry collector that reads requests with OpenTelemetry's own definitions.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::http1::Recorded;
use crate::reply::Reply;
use crate::vendor::{FakeVendor, Judgement};

/// A collector that wants this header, and keeps each span as plain JSON: ids in hex, attributes as an object, and the
/// resource's and the scope's beside them.
pub async fn fake_collector(header: (&'static str, &'static str)) -> FakeVendor {
    FakeVendor::start(move |request| judge(request, header)).await
}

fn judge(request: &Recorded, (name, value): (&str, &str)) -> Judgement {
    if request.header(name) != Some(value) {
        return Err((401, format!("{name} is {:?}", request.header(name))));
    }
    if request.method != "POST" || request.target != "/v1/traces" {
        return Err((404, format!("{} {}", request.method, request.target)));
    }
    match request.header("content-type") {
        Some("application/x-protobuf") => {
            let export = ExportTraceServiceRequest::decode(&request.body[..])
                .map_err(|error| (400, error.to_string()))?;
            let accepted = Reply::status(200, &[("content-type", "application/x-protobuf")], "");
            Ok((accepted, from_protobuf(&export)?))
        }
        Some("application/json") => {
            let export =
                serde_json::from_slice(&request.body).map_err(|error| (400, error.to_string()))?;
            Ok((Reply::json(200, &json!({})), from_json(&export)?))
        }
        other => Err((415, format!("content-type {other:?}"))),
    }
}

fn from_protobuf(export: &ExportTraceServiceRequest) -> Result<Vec<Value>, (u16, String)> {
    let mut spans = Vec::new();
    for of_resource in &export.resource_spans {
        let resource = of_resource
            .resource
            .as_ref()
            .map(|resource| &resource.attributes);
        let resource = resource.ok_or((400, "no resource".to_owned()))?;
        for of_scope in &of_resource.scope_spans {
            let scope = of_scope.scope.as_ref().map(|scope| scope.name.clone());
            for span in &of_scope.spans {
                spans.push(plain(
                    span,
                    attributes(resource),
                    scope.clone().unwrap_or_default(),
                )?);
            }
        }
    }
    Ok(spans)
}

fn plain(span: &Span, resource: Value, scope: String) -> Result<Value, (u16, String)> {
    if span.trace_id.len() != 16
        || span.span_id.len() != 8
        || !matches!(span.parent_span_id.len(), 0 | 8)
    {
        return Err((400, format!("ids of {:?}", span.name)));
    }
    if span.start_time_unix_nano == 0 || span.end_time_unix_nano < span.start_time_unix_nano {
        return Err((400, format!("times of {:?}", span.name)));
    }
    let events = span
        .events
        .iter()
        .map(|event| json!({"name": event.name, "attributes": attributes(&event.attributes)}));
    let status = span.status.as_ref();
    Ok(json!({
        "resource": resource,
        "scope": scope,
        "trace_id": hex::encode(&span.trace_id),
        "span_id": hex::encode(&span.span_id),
        "parent": hex::encode(&span.parent_span_id),
        "name": span.name,
        "kind": span.kind,
        "attributes": attributes(&span.attributes),
        "events": events.collect::<Vec<_>>(),
        "status": status.map(|status| status.code),
        "message": status.map(|status| status.message.clone()),
    }))
}

fn attributes(list: &[KeyValue]) -> Value {
    let plain = |value: &Option<AnyValue>| match value.as_ref().and_then(|any| any.value.as_ref()) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::BoolValue(flag)) => json!(flag),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::DoubleValue(number)) => json!(number),
        _ => Value::Null,
    };
    let pairs = list
        .iter()
        .map(|pair| (pair.key.clone(), plain(&pair.value)));
    Value::Object(pairs.collect())
}

/// The JSON form as the protocol's page has it: hex ids, 64-bit numbers as text.
fn from_json(export: &Value) -> Result<Vec<Value>, (u16, String)> {
    let mut spans = Vec::new();
    for of_resource in list(&export["resourceSpans"]) {
        for of_scope in list(&of_resource["scopeSpans"]) {
            for span in list(&of_scope["spans"]) {
                let hex = |name: &str, length: usize| {
                    let text = span[name].as_str().unwrap_or_default();
                    match text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit()) {
                        true => Ok(text.to_owned()),
                        false => Err((400, format!("{name} is {}", span[name]))),
                    }
                };
                for time in ["startTimeUnixNano", "endTimeUnixNano"] {
                    if span[time]
                        .as_str()
                        .is_none_or(|text| text.parse::<u64>().is_err())
                    {
                        return Err((400, format!("{time} is {}", span[time])));
                    }
                }
                spans.push(json!({
                    "resource": json_attributes(&of_resource["resource"]["attributes"]),
                    "scope": of_scope["scope"]["name"],
                    "trace_id": hex("traceId", 32)?,
                    "span_id": hex("spanId", 16)?,
                    "parent": if span.get("parentSpanId").is_some() { hex("parentSpanId", 16)? } else { String::new() },
                    "name": span["name"],
                    "kind": span["kind"],
                    "attributes": json_attributes(&span["attributes"]),
                    "status": span["status"]["code"],
                }));
            }
        }
    }
    Ok(spans)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn json_attributes(attributes: &Value) -> Value {
    let mut plain = Map::new();
    for pair in list(attributes) {
        let value = &pair["value"];
        let number = value["intValue"]
            .as_str()
            .and_then(|text| text.parse::<i64>().ok());
        let value = match number {
            Some(number) => json!(number),
            None => value
                .as_object()
                .and_then(|object| object.values().next())
                .cloned()
                .unwrap_or_default(),
        };
        plain.insert(pair["key"].as_str().unwrap_or_default().to_owned(), value);
    }
    Value::Object(plain)
}
