//! From an event to Langfuse's items: pure, but for the ids it asks for.

mod body;

use serde_json::{Map, Value, json};
use witgate_plugin::time::{ms_from_s, rfc3339_from_s, time_of_day};

use crate::config::Settings;
use crate::steering::Steering;

/// What takes the place of text that the caller masks.
const MASKED: &str = "redacted-by-litellm";
/// What takes the place of text that is too large for a request.
const TRUNCATED: &str = "<truncated due to size exceeding limit>";

/// Members of the event's metadata that are no metadata for Langfuse.
const NOT_METADATA: [&str; 4] = ["headers", "endpoint", "caching_groups", "previous_models"];

/// One event of the ingestion API.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Id of the ingestion event, by which the answer refers to it.
    pub id: String,
    /// The whole as JSON.
    pub json: String,
}

/// An event, read.
struct Source<'a> {
    settings: &'a Settings,
    release: Option<&'a str>,
    payload: &'a Value,
    steering: Steering,
    trace_id: String,
    generation_id: String,
}

/// The items of an event: the trace, the generation, and the spans, not larger than `max_bytes` in all if leaving out
/// input and output is enough for that. `new_id` makes the random ids of the items; those of the bodies are the event's.
pub fn items(
    settings: &Settings,
    release: Option<&str>,
    payload: &Value,
    context: &Value,
    max_bytes: usize,
    new_id: &mut dyn FnMut() -> String,
) -> Vec<Item> {
    let source = Source::new(settings, release, payload, context);
    let mut bodies = vec![
        ("trace-create", source.trace()),
        ("generation-create", source.generation()),
    ];
    bodies.extend(
        source
            .guardrail_spans()
            .into_iter()
            .map(|body| ("span-create", body)),
    );
    bodies.extend(
        source
            .grounding_spans()
            .into_iter()
            .map(|body| ("span-create", body)),
    );
    let timestamp = rfc3339_from_s(number(payload, "endTime"));
    let mut encode = |bodies: &[(&str, Value)]| -> Vec<Item> {
        bodies
            .iter()
            .map(|(kind, body)| {
                let id = new_id();
                let json = json!({ "id": id, "type": kind, "timestamp": timestamp, "body": body })
                    .to_string();
                Item { id, json }
            })
            .collect()
    };
    let items = encode(&bodies);
    if items.iter().map(|item| item.json.len()).sum::<usize>() <= max_bytes {
        return items;
    }
    for (_, body) in &mut bodies {
        for member in ["input", "output"] {
            if body.get(member).is_some() {
                body[member] = TRUNCATED.into();
            }
        }
    }
    encode(&bodies)
}

impl<'a> Source<'a> {
    fn new(
        settings: &'a Settings,
        release: Option<&'a str>,
        payload: &'a Value,
        context: &Value,
    ) -> Self {
        let steering = Steering::new(payload, context);
        let own = |member: &str| text(payload, member).map(str::to_owned);
        let id = own("id").unwrap_or_default();
        let trace_id = steering
            .text("existing_trace_id")
            .or_else(|| steering.text("trace_id"))
            .or_else(|| own("trace_id"))
            .or_else(|| own("litellm_call_id"))
            .unwrap_or_else(|| id.clone());
        let generation_id = steering.text("generation_id").unwrap_or_else(|| {
            let start_s = number(payload, "startTime");
            let (hour, minute, second) = time_of_day(ms_from_s(start_s));
            let micros = (start_s.fract() * 1e6).round() as u64 % 1_000_000;
            format!("time-{hour:02}-{minute:02}-{second:02}-{micros:06}_{id}")
        });
        Self {
            settings,
            release,
            payload,
            steering,
            trace_id,
            generation_id,
        }
    }

    fn trace(&self) -> Value {
        let mut trace = Map::new();
        trace.insert("id".into(), self.trace_id.clone().into());
        if self.steering.text("existing_trace_id").is_some() {
            self.update_trace(&mut trace);
            return trace.into();
        }
        for (field, value) in self.steering.trace_fields() {
            if !matches!(field.as_str(), "id" | "name" | "userId" | "metadata") && !value.is_null()
            {
                trace.insert(field, value.clone());
            }
        }
        if let Some(Value::String(public)) = trace.get("public") {
            trace["public"] = public.eq_ignore_ascii_case("true").into();
        }
        let name = self
            .steering
            .text("trace_name")
            .unwrap_or_else(|| self.call_name());
        let user = self.steering.text("trace_user_id").or_else(|| self.user());
        set(&mut trace, "name", name.into());
        set(&mut trace, "userId", user.into());
        let session = text(self.payload, "session_id").map(str::to_owned);
        set(
            &mut trace,
            "sessionId",
            self.steering.text("session_id").or(session).into(),
        );
        set(&mut trace, "input", self.input());
        set(&mut trace, "output", self.output());
        set(&mut trace, "tags", self.tags().into());
        set(&mut trace, "metadata", self.trace_metadata());
        set(
            &mut trace,
            "environment",
            self.settings.environment.clone().into(),
        );
        if !trace.contains_key("version") {
            set(&mut trace, "version", self.steering.text("version").into());
        }
        if !trace.contains_key("release") {
            set(&mut trace, "release", self.release.into());
        }
        trace.into()
    }

    /// A trace that is there already gets what the caller lists and nothing else.
    fn update_trace(&self, trace: &mut Map<String, Value>) {
        for key in self.steering.list("update_trace_keys") {
            match key.as_str() {
                "input" => set(trace, "input", self.input()),
                "output" => set(trace, "output", self.output()),
                key => {
                    let key = key.strip_prefix("trace_").unwrap_or(key);
                    let field = match key {
                        "user_id" => "userId",
                        "session_id" => "sessionId",
                        key => key,
                    };
                    let value = self
                        .steering
                        .trace_field(key)
                        .or_else(|| self.steering.all().get(key));
                    set(trace, field, value.cloned().unwrap_or_default());
                }
            }
        }
    }

    fn trace_metadata(&self) -> Value {
        let mut metadata = self.steering.object("trace_metadata").unwrap_or_default();
        if self.steering.is_on("debug_langfuse") {
            metadata.insert(
                "metadata_passed_to_litellm".into(),
                self.steering.all().clone().into(),
            );
        }
        if metadata.is_empty() {
            Value::Null
        } else {
            metadata.into()
        }
    }

    fn generation(&self) -> Value {
        let payload = self.payload;
        let mut generation = Map::new();
        let time = |member| rfc3339_from_s(number(payload, member));
        let alias = payload
            .pointer("/metadata/user_api_key_alias")
            .and_then(Value::as_str);
        let name = self
            .steering
            .text("generation_name")
            .unwrap_or_else(|| match alias {
                Some(alias) if !alias.is_empty() => format!("litellm:{alias}"),
                _ => self.call_name(),
            });
        generation.insert("id".into(), self.generation_id.clone().into());
        generation.insert("traceId".into(), self.trace_id.clone().into());
        generation.insert("name".into(), name.into());
        generation.insert("startTime".into(), time("startTime").into());
        generation.insert("endTime".into(), time("endTime").into());
        generation.insert(
            "completionStartTime".into(),
            time("completionStartTime").into(),
        );
        set(
            &mut generation,
            "model",
            payload.get("model").cloned().unwrap_or_default(),
        );
        set(
            &mut generation,
            "modelParameters",
            body::model_parameters(payload),
        );
        set(&mut generation, "input", self.input());
        set(&mut generation, "output", self.output());
        set(&mut generation, "metadata", self.metadata());
        body::set_usage(&mut generation, payload);
        let failed = text(payload, "status") == Some("failure");
        generation.insert(
            "level".into(),
            if failed { "ERROR" } else { "DEFAULT" }.into(),
        );
        if failed {
            set(
                &mut generation,
                "statusMessage",
                body::error_text(payload).into(),
            );
        }
        set(
            &mut generation,
            "parentObservationId",
            self.steering.text("parent_observation_id").into(),
        );
        set(
            &mut generation,
            "version",
            self.steering.text("version").into(),
        );
        set(
            &mut generation,
            "environment",
            self.settings.environment.clone().into(),
        );
        if let Some(prompt) = self.steering.object("prompt") {
            set(
                &mut generation,
                "promptName",
                prompt.get("name").cloned().unwrap_or_default(),
            );
            set(
                &mut generation,
                "promptVersion",
                prompt.get("version").cloned().unwrap_or_default(),
            );
        }
        generation.into()
    }

    fn guardrail_spans(&self) -> Vec<Value> {
        let runs = match self.payload.get("guardrail_information") {
            Some(Value::Array(runs)) => runs.as_slice(),
            // One object in older events.
            Some(run @ Value::Object(_)) => std::slice::from_ref(run),
            _ => &[],
        };
        let span = |(index, run): (usize, &Value)| {
            let mut span = self.span("guardrail", index);
            set(
                &mut span,
                "input",
                run.get("guardrail_request").cloned().unwrap_or_default(),
            );
            set(
                &mut span,
                "output",
                run.get("guardrail_response").cloned().unwrap_or_default(),
            );
            let metadata = json!({
                "guardrail_name": run.get("guardrail_name"),
                "guardrail_mode": run.get("guardrail_mode"),
                "guardrail_masked_entity_count": run.get("masked_entity_count"),
            });
            span.insert("metadata".into(), metadata);
            for (field, member) in [("startTime", "start_time"), ("endTime", "end_time")] {
                if run.get(member).is_some_and(Value::is_number) {
                    span.insert(field.into(), rfc3339_from_s(number(run, member)).into());
                }
            }
            span.into()
        };
        runs.iter().enumerate().map(span).collect()
    }

    /// One span per grounding result of Vertex.
    fn grounding_spans(&self) -> Vec<Value> {
        const NAME: &str = "vertex_ai_grounding_metadata";
        let places = [
            format!("/response/{NAME}"),
            format!("/hidden_params/{NAME}"),
        ];
        let found = places
            .iter()
            .find_map(|place| self.payload.pointer(place))
            .and_then(Value::as_array);
        let span = |(index, item): (usize, &Value)| {
            let mut span = self.span(NAME, index);
            set(&mut span, "input", self.input());
            set(&mut span, "output", item.clone());
            span.into()
        };
        found.into_iter().flatten().enumerate().map(span).collect()
    }

    /// The ids are the same when an event is delivered again, so that a span is there once.
    fn span(&self, name: &str, index: usize) -> Map<String, Value> {
        let mut span = Map::new();
        span.insert(
            "id".into(),
            format!("{}-{name}-{index}", self.generation_id).into(),
        );
        span.insert("traceId".into(), self.trace_id.clone().into());
        span.insert(
            "parentObservationId".into(),
            self.generation_id.clone().into(),
        );
        span.insert("name".into(), name.into());
        set(
            &mut span,
            "environment",
            self.settings.environment.clone().into(),
        );
        span
    }

    fn call_name(&self) -> String {
        format!(
            "litellm-{}",
            text(self.payload, "call_type").unwrap_or("completion")
        )
    }

    fn user(&self) -> Option<String> {
        let end_user = self
            .payload
            .pointer("/metadata/user_api_key_end_user_id")
            .and_then(Value::as_str);
        end_user
            .or_else(|| text(self.payload, "end_user"))
            .filter(|user| !user.is_empty())
            .map(str::to_owned)
    }

    fn input(&self) -> Value {
        if self.steering.is_on("mask_input") {
            MASKED.into()
        } else {
            body::input(self.payload)
        }
    }

    fn output(&self) -> Value {
        if self.steering.is_on("mask_output") {
            MASKED.into()
        } else {
            body::output(self.payload)
        }
    }

    fn tags(&self) -> Vec<String> {
        let from_event = self.payload.get("request_tags").and_then(Value::as_array);
        let mut tags: Vec<String> = from_event
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        for tag in self.steering.list("tags") {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags.extend(
            self.settings
                .langfuse_default_tags
                .iter()
                .filter_map(|name| self.default_tag(name)),
        );
        tags
    }

    fn default_tag(&self, name: &str) -> Option<String> {
        let value = match name {
            "cache_hit" => match self.payload.get(name).and_then(Value::as_bool) {
                // As Python writes them, and dashboards filter for them.
                Some(true) => "True".to_owned(),
                Some(false) => "False".to_owned(),
                None => "None".to_owned(),
            },
            "cache_key" => text(self.payload, name).unwrap_or("None").to_owned(),
            "proxy_base_url" => self.settings.proxy_base_url.clone()?,
            name => {
                let value = self
                    .payload
                    .get("metadata")?
                    .get(name)
                    .or_else(|| self.steering.all().get(name))?;
                match value {
                    Value::Null => return None,
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                }
            }
        };
        Some(format!("{name}:{value}"))
    }

    fn metadata(&self) -> Value {
        let payload = self.payload;
        let mut metadata = Map::new();
        let own = payload.get("metadata").and_then(Value::as_object);
        let members = self
            .steering
            .other_members()
            .chain(own.into_iter().flatten());
        for (name, value) in members {
            if !NOT_METADATA.contains(&name.as_str()) {
                let mut value = value.clone();
                if let Some(members) = value.as_object_mut() {
                    // The client's metadata may hold its own credentials for Langfuse.
                    members.retain(|name, _| !name.starts_with("langfuse_"));
                }
                set(&mut metadata, name, value);
            }
        }
        for name in ["hidden_params", "api_base", "cache_hit"] {
            set(
                &mut metadata,
                name,
                payload.get(name).cloned().unwrap_or_default(),
            );
        }
        for name in ["vertex_location", "aws_region_name"] {
            let places = [
                format!("/hidden_params/{name}"),
                format!("/model_parameters/{name}"),
            ];
            let value = places.iter().find_map(|place| payload.pointer(place));
            set(&mut metadata, name, value.cloned().unwrap_or_default());
        }
        set(
            &mut metadata,
            "litellm_response_cost",
            payload.get("response_cost").cloned().unwrap_or_default(),
        );
        metadata.into()
    }
}

/// Sets a member unless the value is null.
fn set(object: &mut Map<String, Value>, member: &str, value: Value) {
    if !value.is_null() {
        object.insert(member.to_owned(), value);
    }
}

fn text<'a>(value: &'a Value, member: &str) -> Option<&'a str> {
    value.get(member)?.as_str().filter(|text| !text.is_empty())
}

fn number(value: &Value, member: &str) -> f64 {
    value
        .get(member)
        .and_then(Value::as_f64)
        .unwrap_or_default()
}
