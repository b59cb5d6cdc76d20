//! LiteLLM's rules for parameters that a provider lacks: dropped, passed on, or refused, before the
//! plugin sees the request.

use bytes::Bytes;
use serde_json::{Value, json};
use witgate_wire::{Edits, Endpoint, Object, Raw, RequestView};

/// What becomes of parameters that the provider of a deployment lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamRules {
    /// `drop_params` of the deployment, else of the configuration: they are dropped, not refused.
    pub drop: bool,
    /// `additional_drop_params`: dropped in any case.
    pub dropped: Vec<String>,
    /// `allowed_openai_params`: passed on although the provider is not known to support them.
    pub allowed: Vec<String>,
}

/// OpenAI's own parameters. Everything else in a body is the provider's, and passes.
#[must_use]
pub fn openai_params(endpoint: Endpoint) -> &'static [&'static str] {
    match endpoint {
        Endpoint::ChatCompletions => &CHAT,
        Endpoint::Completions => &TEXT,
        Endpoint::Embeddings => &EMBED,
        Endpoint::ImageGenerations => &IMAGE,
        Endpoint::Moderations => &[],
    }
}

const IMAGE: [&str; 10] = [
    "background",
    "moderation",
    "n",
    "output_compression",
    "output_format",
    "quality",
    "response_format",
    "size",
    "style",
    "user",
];

const CHAT: [&str; 34] = [
    "audio",
    "context_management",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

const TEXT: [&str; 16] = [
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];

const EMBED: [&str; 3] = ["dimensions", "encoding_format", "user"];

/// Gone without a word where the provider lacks them: they change no answer.
const HARMLESS: [&str; 2] = ["stream_options", "user"];

impl ParamRules {
    /// The body for the plugin. `body` is what would go to an OpenAI-compatible upstream, `request` what
    /// the client sent.
    ///
    /// # Errors
    /// The names of parameters that the provider lacks and nobody drops.
    pub fn apply(
        &self,
        body: &Bytes,
        request: &RequestView,
        supported: &[String],
    ) -> Result<Bytes, Vec<String>> {
        // A body that was spliced from a valid one is valid.
        let Ok(object) = Object::scan(body) else {
            return Ok(body.clone());
        };
        let allowed = self.allowed(request);
        let supports = |name: &str| {
            supported.iter().chain(&allowed).any(|own| own == name) || name == "stream"
        };
        let drop = request
            .field("drop_params")
            .and_then(Raw::as_bool)
            .unwrap_or(self.drop);
        let mut edits = Edits::new();
        let mut refused = Vec::new();
        let both =
            object.given("max_tokens").is_some() && object.given("max_completion_tokens").is_some();
        let legacy = !supports("functions") && supports("tools");
        for (name, value) in object.iter() {
            let is_legacy = legacy && matches!(name, "functions" | "function_call");
            if value.is_null()
                || self.dropped.iter().any(|own| own == name)
                || (both && name == "max_tokens")
                || is_legacy
            {
                edits.remove(name);
            } else if openai_params(request.endpoint()).contains(&name) && !supports(name) {
                edits.remove(name);
                let is_default = name == "n" && value.as_f64() == Some(1.0);
                let harmless = HARMLESS.contains(&name) || is_default;
                if !harmless && !drop {
                    refused.push(name.to_owned());
                }
            }
        }
        if legacy {
            convert_functions(&object, &mut edits);
        }
        if !refused.is_empty() {
            return Err(refused);
        }
        match edits.is_empty() {
            true => Ok(body.clone()),
            false => Ok(object.apply(&edits).unwrap_or_else(|_| body.clone())),
        }
    }

    /// `allowed_openai_params` of both sides, and what the client put into `extra_body` on purpose.
    fn allowed(&self, request: &RequestView) -> Vec<String> {
        let asked = request.field("allowed_openai_params");
        let asked = asked.into_iter().flat_map(Raw::elements);
        let asked = asked.filter_map(|name| Some(name.as_str()?.into_owned()));
        let extra = request.field("extra_body");
        let extra = extra.into_iter().flat_map(Raw::entries);
        let extra = extra.map(|(name, _)| name.into_owned());
        self.allowed
            .iter()
            .cloned()
            .chain(asked)
            .chain(extra)
            .collect()
    }
}

/// The old `functions` and `function_call` as the tools that replaced them.
fn convert_functions(object: &Object, edits: &mut Edits) {
    let functions = object
        .given("functions")
        .and_then(Raw::parse::<Vec<Value>>)
        .unwrap_or_default();
    if functions.is_empty() || object.given("tools").is_some() {
        return;
    }
    let tools: Vec<Value> = functions
        .into_iter()
        .map(|function| json!({"type": "function", "function": function}))
        .collect();
    edits.set("tools", Value::from(tools).to_string());
    let choice = object.given("function_call").and_then(Raw::parse::<Value>);
    match choice {
        Some(Value::String(word)) => drop(edits.set_string("tool_choice", &word)),
        Some(Value::Object(named)) => {
            let choice = json!({"type": "function", "function": named});
            edits.set("tool_choice", choice.to_string());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(rules: &ParamRules, body: &Value) -> Result<Value, Vec<String>> {
        let bytes = Bytes::from(body.to_string());
        let request = RequestView::parse(Endpoint::ChatCompletions, bytes).unwrap();
        let forwarded = request.forward_body(&witgate_wire::Forward::default());
        let supported = [
            "tools",
            "tool_choice",
            "max_tokens",
            "max_completion_tokens",
        ];
        let supported = supported.map(str::to_owned);
        let out = rules.apply(&forwarded, &request, &supported)?;
        Ok(serde_json::from_slice(&out).unwrap())
    }

    #[test]
    fn what_the_provider_lacks_is_refused_by_name_or_dropped() {
        let body = json!({"model": "m", "seed": 1, "logprobs": true, "top_k": 4, "n": 1, "user": "u",
            "stop": null, "stream": true, "stream_options": {"include_usage": true}});
        let rules = ParamRules::default();
        assert_eq!(
            apply(&rules, &body),
            Err(vec!["seed".to_owned(), "logprobs".to_owned()])
        );
        let left = json!({"model": "m", "top_k": 4, "stream": true});
        let dropping = ParamRules {
            drop: true,
            ..rules.clone()
        };
        assert_eq!(apply(&dropping, &body), Ok(left));
        // The request's own word wins, both ways.
        let mut strict = body.clone();
        strict["drop_params"] = json!(false);
        assert!(apply(&dropping, &strict).is_err());
        strict["drop_params"] = json!(true);
        assert!(apply(&rules, &strict).is_ok());
    }

    #[test]
    fn named_parameters_are_dropped_or_passed() {
        let body = json!({"model": "m", "seed": 1, "logprobs": true, "n": 2});
        let rules = ParamRules {
            dropped: vec!["seed".to_owned()],
            allowed: vec!["logprobs".to_owned()],
            ..ParamRules::default()
        };
        assert_eq!(apply(&rules, &body), Err(vec!["n".to_owned()]));
        let mut body = body;
        body["additional_drop_params"] = json!(["n"]);
        assert_eq!(
            apply(&rules, &body),
            Ok(json!({"model": "m", "logprobs": true}))
        );
        let on_purpose = json!({"model": "m", "extra_body": {"seed": 2, "safe": 1}});
        assert_eq!(
            apply(&ParamRules::default(), &on_purpose),
            Ok(json!({"model": "m", "seed": 2, "safe": 1}))
        );
    }

    #[test]
    fn one_limit_of_tokens_and_tools_for_functions() {
        let body = json!({"model": "m", "max_tokens": 1, "max_completion_tokens": 2,
            "functions": [{"name": "f"}], "function_call": {"name": "f"}});
        assert_eq!(
            apply(&ParamRules::default(), &body),
            Ok(json!({"model": "m", "max_completion_tokens": 2,
                "tools": [{"type": "function", "function": {"name": "f"}}],
                "tool_choice": {"type": "function", "function": {"name": "f"}}}))
        );
    }
}
