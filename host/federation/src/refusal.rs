//! Why somebody is not let in.

use crate::ports::Fault;

/// A refusal, in the words that the caller gets. None of them is a part of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The error's `type`.
    pub kind: &'static str,
    /// What is wrong.
    pub message: String,
    /// The error's `param`.
    pub param: Option<&'static str>,
    /// For the operator's log.
    pub note: Option<String>,
}

impl Refusal {
    /// The credential is not good: 401.
    pub(crate) fn unauthorized(message: impl std::fmt::Display) -> Self {
        Self::of(
            401,
            "auth_error",
            format!("Authentication Error, {message}"),
        )
    }

    /// The credential is good and does not reach so far: 403.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::of(403, "auth_error", message.into())
    }

    /// The identity provider cannot be asked: 503. Trying again may help.
    pub(crate) fn unavailable(what: &str, note: String) -> Self {
        let message = format!(
            "Service Unavailable, {what} of the identity provider cannot be reached, so the token could not be checked. Please retry shortly."
        );
        let mut refusal = Self::of(503, "auth_provider_unavailable", message);
        refusal.note = Some(note);
        refusal
    }

    pub(crate) fn of(status: u16, kind: &'static str, message: String) -> Self {
        Self {
            status,
            kind,
            message,
            param: None,
            note: None,
        }
    }

    pub(crate) fn param(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }
}

/// Why nobody was identified.
#[derive(Debug)]
pub enum Problem {
    /// The caller is refused.
    Refused(Refusal),
    /// The database did not tell.
    Database(Fault),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        Self::Database(fault)
    }
}
