//! The key of a request: a digest of all that the answer depends on.
//!
//! Members are sorted by name and values are compact, so that the same question has the same key however it was written. Whatever
//! the gateway does not know goes in: a miss too many is better than another question's answer.

use sha2::{Digest, Sha256};
use witgate_wire::RequestView;
use witgate_wire::json::{Raw, canonical, quote_into};
use witgate_wire::request::is_control_field;

/// Control fields that change what the upstream is asked.
const ASKS: [&str; 7] = [
    "additional_drop_params",
    "allowed_openai_params",
    "drop_params",
    "ensure_alternating_roles",
    "extra_body",
    "extra_headers",
    "merge_reasoning_content_in_choices",
];

/// Control fields whose answers are not those of the model group: mocks, and the client's own upstream or credentials.
const ELSEWHERE: [&str; 10] = [
    "api_base",
    "api_key",
    "api_version",
    "base_url",
    "client_id",
    "client_secret",
    "custom_llm_provider",
    "model_list",
    "user_config",
    "vector_store_ids",
];

/// The same by how their names begin.
const ELSEWHERE_PREFIXES: [&str; 5] = ["aws_", "azure_", "mock_", "vertex_", "watsonx_"];

/// Whether the answer to a request is one for all who ask the same.
#[must_use]
pub fn is_cacheable(request: &RequestView) -> bool {
    request.object().iter().all(|(name, value)| {
        value.is_null()
            || !ELSEWHERE.contains(&name) && !ELSEWHERE_PREFIXES.iter().any(|p| name.starts_with(p))
    })
}

/// The key of a request for a model, among those who share answers. A namespace stands before it.
#[must_use]
pub fn key(request: &RequestView, model: &str, scope: &str, namespace: Option<&str>) -> String {
    let kind = request.endpoint().call_type();
    Material::of(request, model, scope, kind, &[]).key(namespace)
}

/// What a key is a digest of, as far as it has been read.
#[derive(Clone)]
pub(crate) struct Material {
    digest: Sha256,
}

impl Material {
    /// Everything that a request of this kind asks, but these members.
    pub(crate) fn of(
        request: &RequestView,
        model: &str,
        scope: &str,
        kind: &str,
        except: &[&str],
    ) -> Self {
        let mut members: Vec<(&str, Raw<'_>)> = request
            .object()
            .iter()
            .filter(|(name, value)| goes_in(name, *value) && !except.contains(name))
            .collect();
        // Stable: of equal names the order tells which one counts.
        members.sort_by_key(|(name, _)| *name);
        let mut text = Vec::with_capacity(request.bytes().len() + 128);
        for part in [scope, kind, model] {
            quote_into(&mut text, part);
        }
        for (name, value) in members {
            member(name, value, &mut text);
        }
        let digest = Sha256::new_with_prefix(&text);
        Self { digest }
    }

    /// With one more member.
    pub(crate) fn with(&self, name: &str, value: Raw<'_>) -> Self {
        let mut text = Vec::new();
        member(name, value, &mut text);
        self.with_text(&text)
    }

    /// With more text, which must be told apart from every other by itself.
    pub(crate) fn with_text(&self, text: &[u8]) -> Self {
        let mut digest = self.digest.clone();
        digest.update(text);
        Self { digest }
    }

    /// The key.
    pub(crate) fn key(self, namespace: Option<&str>) -> String {
        let digest = hex::encode(self.digest.finalize());
        match namespace {
            Some(namespace) => format!("{namespace}:{digest}"),
            None => digest,
        }
    }
}

fn member(name: &str, value: Raw<'_>, text: &mut Vec<u8>) {
    quote_into(text, name);
    text.push(b':');
    canonical(value, text);
}

/// Whether a key is one of this namespace.
pub(crate) fn is_in(key: &str, namespace: &str) -> bool {
    key.strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with(':'))
}

fn goes_in(name: &str, value: Raw<'_>) -> bool {
    let is_asked = ASKS.contains(&name) || !is_control_field(name) && name != "model";
    // Not to stream is what happens anyway.
    let is_default = value.is_null() || name == "stream" && value.as_bool() == Some(false);
    is_asked && !is_default
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use witgate_wire::Endpoint;

    use super::*;

    fn request(body: &str) -> RequestView {
        RequestView::parse(Endpoint::ChatCompletions, Bytes::from(body.to_owned())).unwrap()
    }

    fn of(body: &str) -> String {
        key(&request(body), "m", "team:a", None)
    }

    const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"hé"}],"n":1}"#;

    #[test]
    fn the_same_question_has_the_same_key_however_it_is_written() {
        for other in [
            r#"{"n":1, "messages":[ {"content":"h\u00e9","role":"user"} ],"model":"alias"}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hé"}],"n":1,"stream":false,"seed":null}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hé"}],"n":1,"cache":{"ttl":1},"metadata":{"a":1},"timeout":3,"litellm_trace_id":"x"}"#,
        ] {
            assert_eq!(of(PLAIN), of(other), "{other}");
        }
        assert_eq!(of(PLAIN).len(), 64);
    }

    #[test]
    fn whatever_changes_the_answer_changes_the_key() {
        let others = [
            r#"{"messages":[{"role":"system","content":"hé"}],"n":1}"#,
            r#"{"messages":[{"role":"user","content":"hé"}],"n":2}"#,
            r#"{"messages":[{"role":"user","content":"hé"}],"n":1,"stream":true}"#,
            r#"{"messages":[{"role":"user","content":"hé"}],"n":1,"user":"u"}"#,
            r#"{"messages":[{"role":"user","content":"hé"}],"n":1,"top_k":5}"#,
            r#"{"messages":[{"role":"user","content":"hé"}],"n":1,"extra_headers":{"a":"b"}}"#,
            r#"{"messages":[{"role":"user","content":"hé","role":"system"}],"n":1}"#,
        ];
        let mut keys: Vec<String> = others.iter().map(|body| of(body)).collect();
        keys.push(of(PLAIN));
        keys.push(key(&request(PLAIN), "m", "team:b", None));
        keys.push(key(&request(PLAIN), "m2", "team:a", None));
        let text = RequestView::parse(Endpoint::Completions, Bytes::from(PLAIN)).unwrap();
        keys.push(key(&text, "m", "team:a", None));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }

    #[test]
    fn members_cannot_be_moved_between_strings() {
        // Unquoted concatenation would make these one.
        assert_ne!(
            of(r#"{"messages":[],"a":"x\"","b":"y"}"#),
            of(r#"{"messages":[],"a":"x","b":"\"y"}"#)
        );
    }

    #[test]
    fn a_namespace_stands_before_the_key() {
        let key = key(&request(PLAIN), "m", "team:a", Some("ns"));
        assert_eq!(key, format!("ns:{}", of(PLAIN)));
    }

    #[test]
    fn mocks_and_other_upstreams_are_nobodys_answer() {
        assert!(is_cacheable(&request(PLAIN)));
        assert!(is_cacheable(&request(r#"{"api_key":null}"#)));
        for body in [
            r#"{"mock_response":"x"}"#,
            r#"{"api_key":"k"}"#,
            r#"{"api_base":"http://x"}"#,
            r#"{"vertex_project":"p"}"#,
        ] {
            assert!(!is_cacheable(&request(body)), "{body}");
        }
    }
}
