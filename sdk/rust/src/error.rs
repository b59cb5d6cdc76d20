//! The error every function of a plugin returns.

/// Why a plugin could not do its work. A panic is never the way to report a failure: it costs the
/// instance and counts towards the plugin's breaker.
pub type Error = crate::bindings::host::witgate::types::types::PluginError;

impl Error {
    /// A setting is missing or wrong. The text names the setting and what would be right.
    pub fn settings(text: impl Into<String>) -> Self {
        Self::InvalidSettings(text.into())
    }

    /// The other side is unreachable, slow or in trouble; a later try may work.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable(text.into())
    }

    /// Anything else; a later try with the same input would fail the same way.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// The text, without the kind.
    pub fn text(&self) -> &str {
        match self {
            Self::InvalidSettings(text)
            | Self::Denied(text)
            | Self::Unavailable(text)
            | Self::Failed(text) => text,
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("JSON: {error}"))
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Error {}
