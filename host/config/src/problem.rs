//! What can be wrong with a configuration, said so that it can be mended: where, what, how.

use std::fmt;

use serde::Serialize;

use crate::node::Position;

/// One finding about the configuration.
///
/// Printed as `file:line:col path: message; fix`; serialised with the same fields for `--json`.
/// Neither ever holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Whether serving is refused.
    pub severity: Severity,
    /// What sort of problem it is, for those who filter or escalate (`--strict-config`).
    pub kind: ProblemKind,
    /// The file it is in, as it was named; absent for an environment variable.
    pub file: Option<String>,
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column in characters, from 1; 0 when unknown.
    pub col: u32,
    /// The key, such as `model_list[2].litellm_params.rpm`, or the variable's name.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty when the message says it all.
    pub fix: String,
}

/// Whether a problem stops the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration is served, but something in it does not do what it seems to.
    Warning,
    /// The configuration is refused.
    Error,
}

/// The sort of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The file is missing, unreadable or too large.
    File,
    /// The text is not YAML, or uses a part of YAML that LiteLLM does not read.
    Syntax,
    /// A key was given twice; the last one counts.
    DuplicateKey,
    /// A key that no definition knows.
    UnknownKey,
    /// A value of the wrong type or out of range.
    WrongType,
    /// A key that must be there is not.
    MissingKey,
    /// `os.environ/NAME` names a variable that is not set.
    MissingVariable,
    /// An environment variable that is refused, replaced or unreadable.
    Variable,
    /// `include` does something its author may not expect.
    Include,
    /// A name that refers to nothing, or two entries that claim one name.
    Reference,
    /// Something LiteLLM has and Witgate does not have yet; the message says what happens instead.
    Unsupported,
    /// Accepted for LiteLLM's sake, without effect here.
    Compatibility,
}

impl Problem {
    /// An error at a place in a file.
    pub(crate) fn error(
        kind: ProblemKind,
        at: &Position,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Error, kind, at, path, message)
    }

    /// A warning at a place in a file.
    pub(crate) fn warning(
        kind: ProblemKind,
        at: &Position,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(Severity::Warning, kind, at, path, message)
    }

    /// Adds what to do about it.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// True when this problem refuses the configuration.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn new(
        severity: Severity,
        kind: ProblemKind,
        at: &Position,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            kind,
            file: at.file().map(str::to_owned),
            line: at.line,
            col: at.col,
            path: path.into(),
            message: message.into(),
            fix: String::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) if self.line > 0 => write!(f, "{file}:{}:{}", self.line, self.col)?,
            Some(file) => f.write_str(file)?,
            None => {}
        }
        match (&self.file, self.path.is_empty()) {
            (Some(_), false) => write!(f, " {}: ", self.path)?,
            (None, false) => write!(f, "{}: ", self.path)?,
            (Some(_), true) => f.write_str(": ")?,
            (None, true) => {}
        }
        f.write_str(&self.message)?;
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}
