//! Redaction: who decides that a sink sees no content, and what is then taken away.
//!
//! Three parties have a say: the configuration ([`RedactionSettings`]), the sink's own settings
//! ([`SinkRedaction`]) and the request with its key and team ([`RequestRedaction`]). Together they
//! resolve to one small [`RedactionPolicy`] per sink and event; equal policies share one encoding.

mod content;
#[cfg(test)]
mod tests;

pub(crate) use content::{apply, failure, prompts_in, without_key_info};

/// What stands where content was. LiteLLM's own text: customers' queries look for it.
pub const REDACTED: &str = "redacted-by-litellm";

/// What the configuration says for all sinks (`litellm_settings`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RedactionSettings {
    /// `turn_off_message_logging`: no prompts and answers, unless the request says otherwise.
    pub turn_off_message_logging: bool,
    /// `redact_user_api_key_info`: no `user_api_key*` metadata for sinks that honour it.
    pub redact_user_api_key_info: bool,
    /// `redact_messages_in_exceptions`: no prompt text inside error texts. Finds whole texts of the
    /// request; what a provider quotes in part takes `strict`.
    pub redact_messages_in_exceptions: bool,
    /// Message redaction also covers what may quote a prompt: guardrail requests and answers, the
    /// client's metadata, tool calls, error texts as a whole. LiteLLM keeps these.
    pub strict: bool,
}

/// What one sink may see, whatever the request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkRedaction {
    /// `message_logging` of the sink (`false` also for `turn_off_message_logging: true`).
    pub message_logging: bool,
    /// Whether `redact_user_api_key_info` applies to this sink.
    pub honours_key_redaction: bool,
}

impl Default for SinkRedaction {
    fn default() -> Self {
        Self {
            message_logging: true,
            honours_key_redaction: false,
        }
    }
}

/// What a request, its key or its team say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestRedaction {
    /// A non-empty `litellm-disable-message-redaction` header was sent.
    pub disable_header: bool,
    /// A non-empty `litellm-enable-message-redaction` or `x-litellm-enable-message-redaction` was sent.
    pub enable_header: bool,
    /// `turn_off_message_logging` of the body, the key or the team, resolved in that order.
    pub turn_off_message_logging: Option<bool>,
}

impl RequestRedaction {
    /// Adds what the request's headers say to what is known already (from its key, team or body). Any
    /// non-empty value counts, `false` included, as in LiteLLM. `header` finds a header by its
    /// lower-case name.
    pub fn from_headers<V: AsRef<str>>(header: impl Fn(&str) -> Option<V>, known: &Self) -> Self {
        let sent = |name: &str| header(name).is_some_and(|value| !value.as_ref().trim().is_empty());
        Self {
            disable_header: known.disable_header || sent("litellm-disable-message-redaction"),
            enable_header: known.enable_header
                || sent("litellm-enable-message-redaction")
                || sent("x-litellm-enable-message-redaction"),
            turn_off_message_logging: known.turn_off_message_logging,
        }
    }
}

/// What is taken away from one event for one sink.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RedactionPolicy {
    /// Prompts and answers.
    pub messages: bool,
    /// Metadata about the key and its owner.
    pub key_info: bool,
    /// Prompt text inside error texts.
    pub exceptions: bool,
    /// With `messages`: everything that may quote a prompt.
    pub strict: bool,
}

impl RedactionPolicy {
    /// Decides. A sink that must not log messages never gets them; otherwise the first that speaks
    /// wins: the header that disables redaction, the dynamic parameter, the header that enables it,
    /// the configuration.
    pub fn resolve(
        settings: RedactionSettings,
        sink: SinkRedaction,
        request: RequestRedaction,
    ) -> Self {
        let asked = if request.disable_header {
            false
        } else if let Some(turn_off) = request.turn_off_message_logging {
            turn_off
        } else {
            request.enable_header || settings.turn_off_message_logging
        };
        let messages = asked || !sink.message_logging;
        Self {
            messages,
            key_info: settings.redact_user_api_key_info && sink.honours_key_redaction,
            exceptions: settings.redact_messages_in_exceptions,
            strict: messages && settings.strict,
        }
    }
}
