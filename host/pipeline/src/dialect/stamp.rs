//! What every answer of OpenAI's has and a dialect need not know: `id`, `object`, `created`, `model`.

use bytes::Bytes;
use witgate_wire::Endpoint;
use witgate_wire::Object;
use witgate_wire::json::quote;

use crate::exchange::Exchange;

/// The members of one answer, the same in each of its chunks.
pub(super) struct Stamp {
    endpoint: Endpoint,
    /// By name, as JSON. `object` is not among them: it differs between answers and chunks.
    members: [(&'static str, String); 3],
}

impl Stamp {
    pub(super) fn new(x: &Exchange, id: uuid::Uuid, model: &str) -> Self {
        Self::of(x.arrival.endpoint, id, x.started.as_second(), model)
    }

    pub(super) fn of(endpoint: Endpoint, id: uuid::Uuid, created: i64, model: &str) -> Self {
        let prefix = match endpoint {
            Endpoint::ChatCompletions => "chatcmpl",
            Endpoint::Completions => "cmpl",
            Endpoint::Embeddings => "embd",
            Endpoint::Moderations => "modr",
            Endpoint::ImageGenerations => "img",
        };
        Self {
            endpoint,
            members: [
                ("id", format!("\"{prefix}-{id}\"")),
                ("created", created.to_string()),
                ("model", quote(model)),
            ],
        }
    }

    /// A complete answer with what it leaves out.
    pub(super) fn response(&self, json: &Bytes) -> Result<Bytes, String> {
        self.add(
            json,
            match self.endpoint {
                Endpoint::ChatCompletions => "\"chat.completion\"",
                Endpoint::Completions => "\"text_completion\"",
                Endpoint::Embeddings | Endpoint::Moderations | Endpoint::ImageGenerations => {
                    "\"list\""
                }
            },
        )
    }

    /// A chunk with what it leaves out.
    pub(super) fn chunk(&self, json: &Bytes) -> Result<Bytes, String> {
        self.add(
            json,
            match self.endpoint {
                Endpoint::Completions => "\"text_completion\"",
                _ => "\"chat.completion.chunk\"",
            },
        )
    }

    /// The members go in front: what the plugin wrote stays as it is.
    fn add(&self, json: &Bytes, kind: &'static str) -> Result<Bytes, String> {
        let object = Object::scan(json)
            .map_err(|error| format!("the provider plugin's answer is no JSON object: {error}"))?;
        let [id, created, model] = &self.members;
        let all = [
            (id.0, id.1.as_str()),
            ("object", kind),
            (created.0, created.1.as_str()),
            (model.0, model.1.as_str()),
        ];
        let missing = all.iter().filter(|(name, _)| !object.contains(name));
        let missing: Vec<String> = missing
            .map(|(name, json)| format!("\"{name}\":{json}"))
            .collect();
        let text = json.trim_ascii_start();
        let Some(rest) = text.get(1..).filter(|_| !missing.is_empty()) else {
            return Ok(json.clone());
        };
        let mut out = Vec::with_capacity(text.len() + 160);
        out.push(b'{');
        out.extend_from_slice(missing.join(",").as_bytes());
        if object.iter().next().is_some() {
            out.push(b',');
        }
        out.extend_from_slice(rest);
        Ok(out.into())
    }
}
