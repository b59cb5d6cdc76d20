//! From an upstream's status and text to the class of its failure.
//!
//! Texts are asked before the status: providers answer 400 for what is a rate limit and 500 for
//! what is a prompt too long. The rules are LiteLLM's, as a table.

use crate::ErrorClass::{self, *};

/// A failure's class and the status that the client gets for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classified {
    /// The class.
    pub class: ErrorClass,
    /// The client's status: the class's, except where the upstream's own is kept, by the latest releases at least.
    pub status: u16,
    /// The text or status that decided.
    pub because: &'static str,
}

/// Classifies an upstream's failure by its provider, status (`None`: no answer) and body text.
pub fn classify(provider: &str, status: Option<u16>, text: &str) -> Classified {
    let text = text.to_ascii_lowercase();
    let generic = GENERIC.iter().filter(|rule| !excluded(rule.class, &text));
    let mut rules = generic.chain(family_rules(provider));
    if let Some(rule) = rules.find(|rule| rule.matches(&text)) {
        return classified(rule.class, status, rule.all[0]);
    }
    // A bare number says little: it counts where the status agrees or is missing.
    if matches!(status, None | Some(429)) && has_word(&text, "429") {
        return classified(RateLimit, status, "429");
    }
    // OpenAI calls every fault of the caller so, and gives some of them statuses that say more.
    let says_more = matches!(status, Some(401 | 404 | 408 | 409 | 429 | 500..));
    if is_openai_like(provider)
        && text.contains("invalid_request_error")
        && !text.contains("incorrect api key provided")
        && !says_more
    {
        return classified(BadRequest, status, "invalid_request_error");
    }
    classified(ErrorClass::of_status(provider, status), status, "status")
}

fn classified(class: ErrorClass, status: Option<u16>, because: &'static str) -> Classified {
    let status = match (class, status) {
        (Timeout, Some(504)) => 504,
        (BadRequest | ContextWindowExceeded | ContentPolicyViolation, Some(422)) => 422,
        (Api, Some(status)) if status >= 400 => status,
        _ => class.status(),
    };
    Classified {
        class,
        status,
        because,
    }
}

/// All of the texts (lower case) must occur.
struct Rule {
    all: &'static [&'static str],
    class: ErrorClass,
}

impl Rule {
    fn matches(&self, text: &str) -> bool {
        self.all.iter().all(|part| text.contains(part))
    }
}

const fn rule(all: &'static [&'static str], class: ErrorClass) -> Rule {
    Rule { all, class }
}

/// For every provider, in this order.
const GENERIC: &[Rule] = &[
    rule(&["request timeout error"], Timeout),
    rule(&["request timed out"], Timeout),
    rule(&["timed out generating response"], Timeout),
    rule(&["the read operation timed out"], Timeout),
    rule(&["rate limit"], RateLimit),
    rule(&["rate_limit"], RateLimit),
    rule(&["rate-limit"], RateLimit),
    rule(&["ratelimit"], RateLimit),
    rule(&["service tier capacity exceeded"], RateLimit),
    rule(&["exceed context limit"], ContextWindowExceeded),
    rule(
        &["this model's maximum context length is"],
        ContextWindowExceeded,
    ),
    rule(
        &["requested token count exceeds the model's maximum context length"],
        ContextWindowExceeded,
    ),
    rule(
        &["string too long. expected a string with maximum length"],
        ContextWindowExceeded,
    ),
    rule(&["model's maximum context limit"], ContextWindowExceeded),
    rule(
        &["is longer than the model's context length"],
        ContextWindowExceeded,
    ),
    rule(
        &["input tokens exceed the configured limit"],
        ContextWindowExceeded,
    ),
    rule(
        &["`inputs` tokens + `max_new_tokens` must be"],
        ContextWindowExceeded,
    ),
    rule(
        &["exceeds the available context size"],
        ContextWindowExceeded,
    ),
    rule(
        &["exceeds the maximum number of tokens allowed"],
        ContextWindowExceeded,
    ),
    rule(&["context_length_exceeded"], ContextWindowExceeded),
    rule(
        &["current length is", "while limit is"],
        ContextWindowExceeded,
    ),
    rule(
        &["maximum input length is", "tokens"],
        ContextWindowExceeded,
    ),
    rule(
        &["input too long:", "input tokens, limit is"],
        ContextWindowExceeded,
    ),
];

const OPENAI: &[Rule] = &[
    rule(&["invalid_request_error", "model_not_found"], NotFound),
    rule(&["a timeout occurred"], Timeout),
    rule(
        &["invalid_request_error", "content_policy_violation"],
        ContentPolicyViolation,
    ),
    rule(
        &["invalid prompt", "violating our usage policy"],
        ContentPolicyViolation,
    ),
    rule(
        &["request was rejected as a result of the safety system"],
        ContentPolicyViolation,
    ),
    rule(
        &["web server is returning an unknown error"],
        InternalServer,
    ),
    rule(
        &["the server had an error processing your request."],
        InternalServer,
    ),
    rule(&["request too large"], RateLimit),
    rule(&["api_key client option must be set"], Authentication),
    rule(&["mistral api raised a streaming error"], Api),
];

const AZURE: &[Rule] = &[
    rule(&["internal server error"], InternalServer),
    rule(&["deploymentnotfound"], NotFound),
    rule(&["content_policy_violation"], ContentPolicyViolation),
    rule(&["responsibleaipolicyviolation"], ContentPolicyViolation),
    rule(
        &[
            "the response was filtered due to the prompt triggering azure openai's content management",
        ],
        ContentPolicyViolation,
    ),
    rule(
        &["your task failed as a result of our safety system"],
        ContentPolicyViolation,
    ),
    rule(
        &["the model produced invalid content"],
        ContentPolicyViolation,
    ),
    rule(&["content_filter_policy"], ContentPolicyViolation),
    rule(
        &["your request was rejected as a result of our safety system"],
        ContentPolicyViolation,
    ),
    rule(&["connection error"], ApiConnection),
];

const ANTHROPIC: &[Rule] = &[
    rule(&["prompt is too long"], ContextWindowExceeded),
    rule(&["prompt: length"], ContextWindowExceeded),
    rule(&["overloaded_error"], InternalServer),
    rule(&["overloaded"], InternalServer),
    rule(&["invalid api key"], Authentication),
    rule(&["content filtering policy"], ContentPolicyViolation),
    rule(&["client error '400 bad request'"], BadRequest),
];

const BEDROCK: &[Rule] = &[
    rule(&["too many tokens"], ContextWindowExceeded),
    rule(&["expected maxlength:"], ContextWindowExceeded),
    rule(&["input is too long"], ContextWindowExceeded),
    rule(&["prompt is too long"], ContextWindowExceeded),
    rule(&["prompt: length: 1.."], ContextWindowExceeded),
    rule(&["too many input tokens"], ContextWindowExceeded),
    rule(&["the provided model identifier is invalid"], NotFound),
    rule(&["malformed input request"], BadRequest),
    rule(
        &["a conversation must start with a user message."],
        BadRequest,
    ),
    rule(&["unable to locate credentials"], Authentication),
    rule(
        &["the security token included in the request is invalid"],
        Authentication,
    ),
    rule(&["accessdeniedexception"], PermissionDenied),
    rule(&["throttlingexception"], RateLimit),
    rule(&["connect timeout on endpoint url"], Timeout),
    rule(&["timed out"], Timeout),
];

const VERTEX: &[Rule] = &[
    rule(&["vertex ai api has not been used in project"], BadRequest),
    rule(&["unable to find your project"], BadRequest),
    rule(&["400 request payload size exceeds"], ContextWindowExceeded),
    rule(&["none unknown error."], InternalServer),
    rule(&["content has no parts."], InternalServer),
    rule(&["api key not valid."], Authentication),
    rule(&["the response was blocked."], ContentPolicyViolation),
    rule(
        &["output blocked by content filtering policy"],
        ContentPolicyViolation,
    ),
    rule(&["429 quota exceeded"], RateLimit),
    rule(&["service is temporarily out of capacity"], RateLimit),
    rule(&["quota exceeded for"], RateLimit),
    rule(&["resource exhausted"], RateLimit),
    rule(&["resource_exhausted"], RateLimit),
    rule(&["indexerror: list index out of range"], RateLimit),
    rule(&["500 internal server error"], InternalServer),
    rule(&["the model is overloaded."], InternalServer),
];

fn family_rules(provider: &str) -> &'static [Rule] {
    match provider {
        "azure" | "azure_text" => AZURE,
        "anthropic" | "anthropic_text" => ANTHROPIC,
        "bedrock" | "bedrock_converse" | "sagemaker" | "sagemaker_chat" => BEDROCK,
        "vertex_ai" | "vertex_ai_beta" | "gemini" => VERTEX,
        _ => OPENAI,
    }
}

fn is_openai_like(provider: &str) -> bool {
    matches!(provider, "azure" | "azure_text") || std::ptr::eq(family_rules(provider), OPENAI)
}

/// Texts that look like a long prompt and are another parameter's length.
fn excluded(class: ErrorClass, text: &str) -> bool {
    class == ContextWindowExceeded
        && (text.contains("string_above_max_length")
            || (text.contains("invalid 'user'") && text.contains("string too long")))
}

/// True when `word` occurs with no letter, digit or underscore beside it.
fn has_word(text: &str, word: &str) -> bool {
    let is_word = |c: Option<&u8>| c.is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_');
    text.match_indices(word).any(|(at, _)| {
        let bytes = text.as_bytes();
        let before = at.checked_sub(1).and_then(|i| bytes.get(i));
        !is_word(before) && !is_word(bytes.get(at + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row: provider, status, text, class and the client's status.
    #[test]
    fn classification_table() {
        let rows: &[(&str, Option<u16>, &str, ErrorClass, u16)] = &[
            ("openai", Some(500), "oops", InternalServer, 500),
            ("openai", None, "connection refused", ApiConnection, 500),
            ("openai", Some(504), "", Timeout, 504),
            ("openai", Some(400), "Request Timed Out", Timeout, 408),
            ("openai", Some(400), "Rate-Limit reached", RateLimit, 429),
            ("openai", None, "got 429 from upstream", RateLimit, 429),
            ("openai", Some(500), "id 429 of x", InternalServer, 500),
            ("openai", None, "id x4290", ApiConnection, 500),
            (
                "openai",
                Some(400),
                r#"{"error":{"message":"This model's maximum context length is 8192 tokens","code":"context_length_exceeded"}}"#,
                ContextWindowExceeded,
                400,
            ),
            (
                "openai",
                Some(400),
                "Invalid 'user': string too long. Expected a string with maximum length 64 (string_above_max_length)",
                BadRequest,
                400,
            ),
            (
                "openai",
                Some(404),
                r#"{"type":"invalid_request_error","code":"model_not_found"}"#,
                NotFound,
                404,
            ),
            (
                "openai",
                Some(401),
                r#"{"type":"invalid_request_error","message":"Incorrect API key provided"}"#,
                Authentication,
                401,
            ),
            ("openai", None, "invalid_request_error", BadRequest, 400),
            (
                "openai",
                Some(400),
                "invalid_request_error content_policy_violation",
                ContentPolicyViolation,
                400,
            ),
            (
                "openai",
                Some(413),
                "Request too large for model",
                RateLimit,
                429,
            ),
            (
                "azure",
                Some(400),
                "ResponsibleAIPolicyViolation",
                ContentPolicyViolation,
                400,
            ),
            ("azure", Some(404), "DeploymentNotFound", NotFound, 404),
            (
                "openai",
                Some(400),
                "ResponsibleAIPolicyViolation",
                BadRequest,
                400,
            ),
            (
                "openai",
                Some(403),
                "invalid_request_error",
                BadRequest,
                400,
            ),
            ("openai", Some(429), "invalid_request_error", RateLimit, 429),
            ("openai", Some(500), "A timeout occurred", Timeout, 408),
            (
                "openai",
                Some(400),
                "Invalid prompt: your prompt was flagged as potentially violating our usage policy",
                ContentPolicyViolation,
                400,
            ),
            (
                "openai",
                Some(400),
                "Your request was rejected as a result of the safety system",
                ContentPolicyViolation,
                400,
            ),
            (
                "openai",
                Some(520),
                "Web server is returning an unknown error",
                InternalServer,
                500,
            ),
            (
                "openai",
                Some(400),
                "The server had an error processing your request.",
                InternalServer,
                500,
            ),
            (
                "openai",
                None,
                "The api_key client option must be set either by passing",
                Authentication,
                401,
            ),
            (
                "mistral",
                Some(520),
                "Mistral API raised a streaming error",
                Api,
                520,
            ),
            ("openai", Some(402), "pay", PaymentRequired, 402),
            ("openai", Some(403), "no", PermissionDenied, 403),
            ("openai", Some(408), "late", Timeout, 408),
            ("openai", Some(422), "odd", BadRequest, 422),
            ("azure", Some(422), "odd", BadRequest, 422),
            ("bedrock", Some(422), "odd", BadRequest, 422),
            ("cohere", Some(422), "odd", UnprocessableEntity, 422),
            ("openai", Some(502), "bad", BadGateway, 502),
            ("gemini", Some(502), "bad", ApiConnection, 500),
            (
                "azure",
                Some(400),
                "Internal server error",
                InternalServer,
                500,
            ),
            (
                "azure",
                Some(400),
                "content_filter_policy",
                ContentPolicyViolation,
                400,
            ),
            (
                "azure",
                Some(400),
                "The response was filtered due to the prompt triggering Azure OpenAI's content management policy",
                ContentPolicyViolation,
                400,
            ),
            (
                "azure",
                Some(400),
                "Your task failed as a result of our safety system",
                ContentPolicyViolation,
                400,
            ),
            (
                "azure",
                Some(500),
                "The model produced invalid content",
                ContentPolicyViolation,
                400,
            ),
            (
                "azure",
                Some(400),
                "Your request was rejected as a result of our safety system",
                ContentPolicyViolation,
                400,
            ),
            ("azure", None, "Connection error", ApiConnection, 500),
            ("azure", Some(400), "invalid_request_error", BadRequest, 400),
            (
                "anthropic",
                Some(400),
                "prompt is too long: 210000 tokens",
                ContextWindowExceeded,
                400,
            ),
            (
                "anthropic",
                Some(400),
                "prompt: length: 1..2",
                ContextWindowExceeded,
                400,
            ),
            (
                "anthropic",
                Some(529),
                "overloaded_error",
                InternalServer,
                500,
            ),
            ("anthropic", Some(200), "Overloaded", InternalServer, 500),
            (
                "anthropic",
                Some(400),
                "Invalid API Key",
                Authentication,
                401,
            ),
            (
                "anthropic",
                Some(400),
                "Output blocked by content filtering policy",
                ContentPolicyViolation,
                400,
            ),
            ("anthropic", Some(413), "big", BadRequest, 400),
            ("anthropic", Some(529), "x", InternalServer, 500),
            ("anthropic", Some(403), "x", PermissionDenied, 403),
            (
                "bedrock",
                Some(400),
                "Too many tokens",
                ContextWindowExceeded,
                400,
            ),
            (
                "bedrock",
                Some(400),
                "expected maxLength: 2048",
                ContextWindowExceeded,
                400,
            ),
            (
                "bedrock",
                Some(400),
                "Input is too long",
                ContextWindowExceeded,
                400,
            ),
            (
                "bedrock",
                Some(400),
                "Too many input tokens",
                ContextWindowExceeded,
                400,
            ),
            (
                "bedrock",
                Some(400),
                "The provided model identifier is invalid.",
                NotFound,
                404,
            ),
            (
                "bedrock",
                Some(500),
                "Malformed input request",
                BadRequest,
                400,
            ),
            (
                "bedrock",
                Some(400),
                "A conversation must start with a user message.",
                BadRequest,
                400,
            ),
            (
                "bedrock",
                None,
                "Unable to locate credentials",
                Authentication,
                401,
            ),
            (
                "bedrock",
                Some(403),
                "The security token included in the request is invalid",
                Authentication,
                401,
            ),
            (
                "bedrock",
                Some(400),
                "AccessDeniedException",
                PermissionDenied,
                403,
            ),
            (
                "bedrock",
                None,
                "Connect timeout on endpoint URL",
                Timeout,
                408,
            ),
            ("bedrock", None, "it timed out", Timeout, 408),
            (
                "vertex_ai",
                Some(403),
                "Vertex AI API has not been used in project x",
                BadRequest,
                400,
            ),
            (
                "vertex_ai",
                Some(404),
                "Unable to find your project",
                BadRequest,
                400,
            ),
            (
                "vertex_ai",
                Some(400),
                "400 Request payload size exceeds the limit",
                ContextWindowExceeded,
                400,
            ),
            (
                "vertex_ai",
                None,
                "None Unknown Error.",
                InternalServer,
                500,
            ),
            (
                "vertex_ai",
                None,
                "Content has no parts.",
                InternalServer,
                500,
            ),
            (
                "vertex_ai",
                Some(400),
                "The response was blocked.",
                ContentPolicyViolation,
                400,
            ),
            (
                "vertex_ai",
                Some(400),
                "Output blocked by content filtering policy",
                ContentPolicyViolation,
                400,
            ),
            ("vertex_ai", None, "429 Quota exceeded", RateLimit, 429),
            (
                "vertex_ai",
                Some(403),
                "Quota exceeded for x",
                RateLimit,
                429,
            ),
            ("vertex_ai", Some(400), "Resource exhausted", RateLimit, 429),
            (
                "vertex_ai",
                None,
                "IndexError: list index out of range",
                RateLimit,
                429,
            ),
            (
                "vertex_ai",
                None,
                "500 Internal Server Error",
                InternalServer,
                500,
            ),
            (
                "vertex_ai",
                Some(503),
                "The model is overloaded.",
                InternalServer,
                500,
            ),
            (
                "gemini",
                Some(400),
                "429 Unable to submit request because the service is temporarily out of capacity.",
                RateLimit,
                429,
            ),
            ("bedrock", Some(400), "ThrottlingException", RateLimit, 429),
            ("bedrock", Some(500), "x", ServiceUnavailable, 503),
            (
                "gemini",
                Some(400),
                "API key not valid. Please",
                Authentication,
                401,
            ),
            ("groq", Some(503), "down", ServiceUnavailable, 503),
            ("openai", Some(418), "teapot", BadRequest, 400),
            ("openai", Some(599), "?", Api, 599),
        ];
        for (provider, status, text, class, client) in rows {
            let got = classify(provider, *status, text);
            assert_eq!(
                (got.class, got.status),
                (*class, *client),
                "{provider} {status:?} {text}"
            );
        }
    }

    /// The texts of every provider, each once.
    #[test]
    fn generic_texts() {
        let rows: &[(&str, ErrorClass)] = &[
            ("Request Timeout Error", Timeout),
            ("Request timed out", Timeout),
            ("Timed out generating response", Timeout),
            ("The read operation timed out", Timeout),
            ("Rate Limit", RateLimit),
            ("rate_limit_exceeded", RateLimit),
            ("rate-limit", RateLimit),
            ("RateLimit", RateLimit),
            ("Service tier capacity exceeded", RateLimit),
            ("exceed context limit", ContextWindowExceeded),
            (
                "This model's maximum context length is 1",
                ContextWindowExceeded,
            ),
            (
                "Requested token count exceeds the model's maximum context length of 1",
                ContextWindowExceeded,
            ),
            (
                "string too long. Expected a string with maximum length 1",
                ContextWindowExceeded,
            ),
            ("model's maximum context limit", ContextWindowExceeded),
            (
                "is longer than the model's context length",
                ContextWindowExceeded,
            ),
            (
                "input tokens exceed the configured limit",
                ContextWindowExceeded,
            ),
            (
                "`inputs` tokens + `max_new_tokens` must be <= 1",
                ContextWindowExceeded,
            ),
            ("exceeds the available context size", ContextWindowExceeded),
            (
                "exceeds the maximum number of tokens allowed",
                ContextWindowExceeded,
            ),
            (
                r#"{"code": "context_length_exceeded"}"#,
                ContextWindowExceeded,
            ),
            (
                "Current length is 2 while limit is 1",
                ContextWindowExceeded,
            ),
            (
                "The maximum input length is 1 tokens",
                ContextWindowExceeded,
            ),
            (
                "Input too long: 2 input tokens, limit is 1",
                ContextWindowExceeded,
            ),
        ];
        for (text, class) in rows {
            for provider in ["openai", "anthropic", "groq", "cohere"] {
                assert_eq!(classify(provider, Some(400), text).class, *class, "{text}");
            }
        }
    }

    #[test]
    fn the_reason_is_told() {
        assert_eq!(classify("openai", Some(500), "x").because, "status");
        assert_eq!(
            classify("openai", Some(500), "Rate limit").because,
            "rate limit"
        );
    }

    #[test]
    fn rules_are_lower_case() {
        for rule in [GENERIC, OPENAI, AZURE, ANTHROPIC, BEDROCK, VERTEX]
            .into_iter()
            .flatten()
        {
            assert!(
                rule.all
                    .iter()
                    .all(|part| part.to_ascii_lowercase() == **part)
            );
        }
    }
}
