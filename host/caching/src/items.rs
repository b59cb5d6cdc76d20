//! Embeddings item by item: of a list of inputs each has an entry of its own.
//!
//! So a list is answered from what earlier lists had in common with it, and only the rest is asked for. An item's entry is
//! LiteLLM's: `{embedding, index, object, model, prompt_tokens, format_version}`.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use witgate_wire::json::{Object, Raw};
use witgate_wire::{Endpoint, RequestView};

use crate::Entry;
use crate::key::Material;

/// How LiteLLM calls the form of an item's entry.
const FORMAT: u64 = 2;

/// The inputs of an embedding request that is a list of inputs; a list of numbers is one input of tokens.
#[must_use]
pub fn inputs(request: &RequestView) -> Option<Vec<Raw<'_>>> {
    let input = request
        .field("input")
        .filter(|input| request.endpoint() == Endpoint::Embeddings && input.kind() == "array")?;
    let items: Vec<Raw<'_>> = input.elements().collect();
    let is_list = items
        .first()
        .is_some_and(|first| matches!(first.kind(), "string" | "array" | "object"));
    is_list.then_some(items)
}

/// A key per input.
#[must_use]
pub fn item_keys(
    request: &RequestView,
    inputs: &[Raw<'_>],
    model: &str,
    scope: &str,
    namespace: Option<&str>,
) -> Vec<String> {
    // Not the key of a request with this one input: that is a whole answer.
    let rest = Material::of(request, model, scope, "item of aembedding", &["input"]);
    inputs
        .iter()
        .map(|input| rest.with("input", *input).key(namespace))
        .collect()
}

/// What was found of a list of inputs, by their place in it.
#[derive(Debug, Clone, Default)]
pub struct Items {
    /// The keys of all inputs.
    pub keys: Vec<String>,
    found: Vec<Option<Entry>>,
}

/// A whole answer that was put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The answer.
    pub body: Bytes,
    /// The new entries, with their keys.
    pub new: Vec<(String, Bytes)>,
}

impl Items {
    /// What was found under these keys.
    #[must_use]
    pub fn new(keys: Vec<String>, found: Vec<Option<Entry>>) -> Self {
        Self { keys, found }
    }

    /// Places of the inputs that were not found.
    #[must_use]
    pub fn missing(&self) -> Vec<usize> {
        let missing = |(at, found): (usize, &Option<Entry>)| found.is_none().then_some(at);
        self.found.iter().enumerate().filter_map(missing).collect()
    }

    /// The `input` that is still to be asked for, JSON.
    #[must_use]
    pub fn rest(&self, inputs: &[Raw<'_>]) -> String {
        let missing = self.missing();
        let rest = missing
            .iter()
            .filter_map(|&at| Some(inputs.get(at)?.text()));
        format!("[{}]", rest.collect::<Vec<_>>().join(","))
    }

    /// The answer when every input was found; `None` when an entry is none of an item.
    #[must_use]
    pub fn whole(&self) -> Option<Bytes> {
        let parts: Option<Vec<Part>> = self
            .found
            .iter()
            .map(|found| Part::read(&found.as_ref()?.response))
            .collect();
        let parts = parts?;
        let model = parts.first()?.model.clone();
        Some(answer(&parts, &model, None))
    }

    /// The answer when the upstream has answered for the rest, and the rest as entries. `None` when it has not answered for
    /// each input.
    #[must_use]
    pub fn join(&self, upstream: &Bytes) -> Option<Joined> {
        let object = Object::scan(upstream).ok()?;
        let missing = self.missing();
        let data = object.get("data")?;
        let mut fresh: Vec<Option<Raw<'_>>> = vec![None; missing.len()];
        for (at, element) in data.elements().enumerate() {
            let index = match element.get("index").and_then(Raw::as_i64) {
                Some(index) => usize::try_from(index).ok()?,
                None => at,
            };
            let place = fresh.get_mut(index)?;
            if place.replace(element.get("embedding")?).is_some() {
                return None;
            }
        }
        let model = object
            .get("model")
            .and_then(Raw::as_str)
            .unwrap_or_default();
        let usage = object.given("usage");
        let count = |name: &str| usage?.get(name)?.as_i64()?.try_into().ok();
        let tokens: u64 = count("prompt_tokens")
            .or(count("total_tokens"))
            .unwrap_or(0);
        let many = missing.len() as u64;
        let mut parts: Vec<Option<Part>> = self
            .found
            .iter()
            .map(|found| Part::read(&found.as_ref()?.response))
            .collect();
        let mut new = Vec::with_capacity(missing.len());
        for (nth, (&at, embedding)) in missing.iter().zip(fresh).enumerate() {
            let part = Part {
                embedding: RawValue::from_string(embedding?.text().to_owned()).ok()?,
                model: model.clone().into_owned(),
                // Evenly, the first ones with what is left over.
                prompt_tokens: tokens / many + u64::from((nth as u64) < tokens % many),
            };
            new.push((self.keys.get(at)?.clone(), part.entry(at)));
            *parts.get_mut(at)? = Some(part);
        }
        let parts: Option<Vec<Part>> = parts.into_iter().collect();
        let body = answer(&parts?, &model, Some(&object));
        Some(Joined { body, new })
    }
}

/// One input's embedding.
struct Part {
    embedding: Box<RawValue>,
    model: String,
    prompt_tokens: u64,
}

impl Part {
    fn read(entry: &Bytes) -> Option<Self> {
        let object = Object::scan(entry).ok()?;
        let embedding = object.given("embedding")?.text().to_owned();
        let tokens = object.given("prompt_tokens").and_then(Raw::as_i64);
        Some(Self {
            embedding: RawValue::from_string(embedding).ok()?,
            model: object.get("model").and_then(Raw::as_str)?.into_owned(),
            prompt_tokens: tokens.and_then(|n| n.try_into().ok()).unwrap_or(0),
        })
    }

    fn entry(&self, index: usize) -> Bytes {
        let embedding = self.embedding.get();
        let rest = json!({
            "index": index, "object": "embedding", "model": self.model,
            "prompt_tokens": self.prompt_tokens, "format_version": FORMAT,
        })
        .to_string();
        let rest = rest.strip_prefix('{').unwrap_or_default();
        format!("{{\"embedding\":{embedding},{rest}").into()
    }
}

/// OpenAI's answer of these parts. What else the upstream's answer says stays in it.
fn answer(parts: &[Part], model: &str, upstream: Option<&Object>) -> Bytes {
    let tokens: u64 = parts.iter().map(|part| part.prompt_tokens).sum();
    let data: Vec<String> = parts
        .iter()
        .enumerate()
        .map(|(at, part)| {
            let embedding = part.embedding.get();
            format!("{{\"object\":\"embedding\",\"index\":{at},\"embedding\":{embedding}}}")
        })
        .collect();
    let usage: Value = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    let mut out = format!(
        "{{\"object\":\"list\",\"data\":[{}],\"model\":{},\"usage\":{usage}",
        data.join(","),
        Value::from(model)
    );
    let others = upstream.into_iter().flat_map(Object::iter);
    let others = others.filter(|(name, _)| !["object", "data", "model", "usage"].contains(name));
    for (name, value) in others {
        out.push_str(&format!(",{}:{}", Value::from(name), value.text()));
    }
    out.push('}');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Value) -> RequestView {
        RequestView::parse(Endpoint::Embeddings, body.to_string().into()).unwrap()
    }

    fn parsed(body: &Bytes) -> Value {
        serde_json::from_slice(body).unwrap()
    }

    fn entry(response: &Bytes) -> Option<Entry> {
        Some(Entry {
            stored_ms: 0,
            response: response.clone(),
        })
    }

    #[test]
    fn a_list_of_texts_or_of_tokens_is_many_inputs_and_a_list_of_numbers_one() {
        let count = |input: Value| {
            let request = request(json!({"model": "m", "input": input}));
            inputs(&request).map(|inputs| inputs.len())
        };
        assert_eq!(count(json!(["a", "b"])), Some(2));
        assert_eq!(count(json!([[1, 2], [3]])), Some(2));
        assert_eq!(count(json!([1, 2])), None);
        assert_eq!(count(json!("a")), None);
        assert_eq!(count(json!([])), None);
    }

    #[test]
    fn an_inputs_key_does_not_depend_on_the_others() {
        let keys = |input: Value, extra: &str| {
            let request = request(json!({"model": "m", "input": input, "user": extra}));
            let inputs = inputs(&request).unwrap();
            item_keys(&request, &inputs, "m", "s", Some("n"))
        };
        let (one, other) = (keys(json!(["a", "b"]), "u"), keys(json!(["b", "c"]), "u"));
        assert_eq!(one[1], other[0]);
        assert_ne!(one[0], one[1]);
        assert_ne!(keys(json!(["a"]), "v")[0], one[0]);
        assert!(one[0].starts_with("n:"));
        let whole = request(json!({"model": "m", "input": "a", "user": "u"}));
        assert_ne!(crate::key(&whole, "m", "s", Some("n")), one[0]);
    }

    #[test]
    fn the_rest_is_asked_for_and_merged_by_place() {
        let request = request(json!({"model": "m", "input": ["a", "b", "c"]}));
        let inputs = inputs(&request).unwrap();
        let keys: Vec<String> = ["ka", "kb", "kc"].map(str::to_owned).to_vec();
        let known = json!({"embedding": [0.5], "index": 7, "object": "embedding", "model": "up", "prompt_tokens": 4, "format_version": 2});
        let known = Bytes::from(known.to_string());
        let items = Items::new(keys.clone(), vec![None, entry(&known), None]);
        assert_eq!(items.rest(&inputs), r#"["a","c"]"#);
        assert_eq!(items.whole(), None);
        // Out of order, as an upstream may answer.
        let upstream = json!({"object": "list", "model": "up", "id": "e-1", "data": [
            {"object": "embedding", "index": 1, "embedding": "Yw=="},
            {"object": "embedding", "index": 0, "embedding": [1.0]},
        ], "usage": {"prompt_tokens": 5, "total_tokens": 5}});
        let joined = items.join(&upstream.to_string().into()).unwrap();
        assert_eq!(
            parsed(&joined.body),
            json!({"object": "list", "model": "up", "id": "e-1", "data": [
                {"object": "embedding", "index": 0, "embedding": [1.0]},
                {"object": "embedding", "index": 1, "embedding": [0.5]},
                {"object": "embedding", "index": 2, "embedding": "Yw=="},
            ], "usage": {"prompt_tokens": 9, "total_tokens": 9}})
        );
        let new: Vec<(String, Value)> = joined
            .new
            .iter()
            .map(|(key, entry)| (key.clone(), parsed(entry)))
            .collect();
        assert_eq!(new[0].0, "ka");
        assert_eq!(new[0].1["prompt_tokens"], 3);
        assert_eq!(
            (new[1].0.as_str(), &new[1].1["prompt_tokens"]),
            ("kc", &json!(2))
        );
        assert_eq!(new[1].1["format_version"], 2);
        // All of them are now an answer of their own.
        let all = Items::new(
            keys,
            vec![
                entry(&joined.new[0].1),
                entry(&known),
                entry(&joined.new[1].1),
            ],
        );
        let whole = parsed(&all.whole().unwrap());
        assert_eq!(whole["data"], parsed(&joined.body)["data"]);
        assert_eq!(whole["usage"]["prompt_tokens"], 9);
    }

    #[test]
    fn an_answer_that_is_not_for_each_input_is_not_merged() {
        let items = Items::new(vec!["a".to_owned(), "b".to_owned()], vec![None, None]);
        for data in [
            json!([{"index": 0, "embedding": [1]}]),
            json!([{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]),
            json!([{"index": 0, "embedding": [1]}, {"index": 2, "embedding": [1]}]),
            json!([{"index": 0, "embedding": [1]}, {"index": 1}]),
        ] {
            let body = json!({"data": data, "model": "m"}).to_string();
            assert_eq!(items.join(&body.into()), None, "{data}");
        }
    }
}
