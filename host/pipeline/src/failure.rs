//! How a call fails: which case of the catalogue, in which words, with which facts for retries.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue};
use witgate_routing::ErrorClass;
use witgate_wire::errors::CompatErrors;

/// A case of the error catalogue. [`crate::rescue`] maps each to a status and the JSON a client expects;
/// no stage names a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// No header carries a credential.
    NoCredential,
    /// A header is there, but carries no key.
    MalformedCredential,
    /// A key that cannot be a virtual key and is not the master key.
    NotAVirtualKey,
    /// A virtual key that nobody knows.
    UnknownKey,
    /// A virtual key that an administrator blocked.
    KeyBlocked,
    /// A virtual key whose time is over.
    KeyExpired,
    /// A virtual key that may not call this route.
    RouteNotAllowed,
    /// Virtual keys cannot be looked up.
    KeysUnavailable,
    /// The end user is blocked.
    EndUserBlocked,
    /// Custom authentication declined, failed or could not be asked.
    AuthenticationFailed,
    /// Custom authentication refused in its own words.
    Denied {
        /// Status the authenticator chose.
        status: u16,
    },
    /// An admin route, and not an admin.
    AdminOnly,
    /// The key may not use the model.
    ModelAccessDenied,
    /// The body carries parameters that only the operator may set.
    ClientCredentials,
    /// The body sets a control of the cache that the key may not set.
    CacheControlDenied,
    /// The body is not JSON, or not an object.
    InvalidBody,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body did not arrive in time, or not whole.
    BodyIncomplete,
    /// `model` names nothing we know, or is missing.
    UnknownModel,
    /// A field that the operation needs is missing.
    MissingField,
    /// A field asks for what the operation does not do here.
    UnsupportedParam,
    /// Nobody has the prompt that the request names.
    UnknownPrompt,
    /// A prompt could not be fetched, or cannot be used, and its plugin fails closed.
    PromptUnavailable,
    /// A budget of the caller's is used up.
    BudgetExceeded,
    /// A limit on requests, tokens or requests at once is reached.
    RateLimited,
    /// Limits cannot be looked up, and fail closed.
    LimitsUnavailable,
    /// Every concurrency slot is taken.
    Overloaded,
    /// A guardrail judged and refused.
    GuardrailBlocked {
        /// Status the guardrail chose.
        status: u16,
    },
    /// A guardrail could not judge, and fails closed.
    GuardrailUnavailable,
    /// A request hook refused.
    HookRefused {
        /// Status the hook chose.
        status: u16,
    },
    /// A request hook answered with a text of its own.
    HookAnswered,
    /// A request hook failed, and fails closed.
    HookUnavailable,
    /// The upstream, or the way to it, failed.
    Upstream(ErrorClass),
    /// The upstream's answer is larger than allowed.
    ResponseTooLarge,
    /// The client left before the answer.
    ClientLeft,
    /// Our own fault.
    Internal,
}

/// A failed call.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What happened.
    pub case: Case,
    /// For the client.
    pub message: Cow<'static, str>,
    /// For the client where errors are those of the latest releases, when they word it otherwise.
    pub latest: Option<Cow<'static, str>>,
    /// The error's `type`, where the case's own does not fit (a plugin's or an upstream's word).
    pub kind: Option<String>,
    /// The error's `param`, likewise.
    pub param: Option<String>,
    /// The upstream's own code, such as `invalid_api_key`.
    pub code: Option<String>,
    /// Status of the upstream's answer, where it differs from the case's.
    pub status: Option<u16>,
    /// JSON object for `provider_specific_fields`.
    pub detail: Option<String>,
    /// Headers of the reply (`retry-after`, upstream rate-limit headers).
    pub headers: HeaderMap,
    /// For the operator's log only: what a client must not see.
    pub operator_note: Option<String>,
}

impl Failure {
    /// A failure in these words.
    pub fn new(case: Case, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            case,
            message: message.into(),
            latest: None,
            kind: None,
            param: None,
            code: None,
            status: None,
            detail: None,
            headers: HeaderMap::new(),
            operator_note: None,
        }
    }

    /// Our own fault: the client learns that, the log learns `note`.
    pub fn internal(note: impl Into<String>) -> Self {
        let mut failure = Self::new(Case::Internal, "Internal server error");
        failure.operator_note = Some(note.into());
        failure
    }

    /// Adds the words of the latest releases.
    #[must_use]
    pub fn latest(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.latest = Some(message.into());
        self
    }

    /// What the client is told.
    #[must_use]
    pub fn told(&self, compat: CompatErrors) -> &str {
        match (&self.latest, compat) {
            (Some(latest), CompatErrors::Latest) => latest,
            _ => &self.message,
        }
    }

    /// Adds what only the operator sees.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.operator_note = Some(note.into());
        self
    }

    /// Names the parameter at fault.
    #[must_use]
    pub fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Adds a reply header, when the value can be one.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// LiteLLM's class name of the failure, for events and metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self.case {
            Case::Upstream(class) => class.name(),
            Case::NoCredential
            | Case::MalformedCredential
            | Case::NotAVirtualKey
            | Case::UnknownKey
            | Case::KeyBlocked
            | Case::KeyExpired
            | Case::RouteNotAllowed
            | Case::KeysUnavailable
            | Case::AuthenticationFailed
            | Case::Denied { .. }
            | Case::AdminOnly
            | Case::ModelAccessDenied
            | Case::BudgetExceeded
            | Case::RateLimited
            | Case::EndUserBlocked
            | Case::ClientCredentials => "ProxyException",
            Case::InvalidBody
            | Case::BodyTooLarge
            | Case::BodyIncomplete
            | Case::UnknownModel
            | Case::MissingField
            | Case::UnsupportedParam
            | Case::UnknownPrompt
            | Case::ResponseTooLarge => "BadRequestError",
            Case::Overloaded | Case::LimitsUnavailable => "ServiceUnavailableError",
            Case::GuardrailBlocked { .. } => "GuardrailRaisedException",
            Case::GuardrailUnavailable => "GuardrailUnavailable",
            Case::PromptUnavailable => "PromptUnavailable",
            Case::CacheControlDenied | Case::HookRefused { .. } => "HTTPException",
            Case::HookAnswered => "RejectedRequestError",
            Case::HookUnavailable => "RequestHookUnavailable",
            Case::ClientLeft => "ClientDisconnected",
            Case::Internal => "InternalServerError",
        }
    }
}
