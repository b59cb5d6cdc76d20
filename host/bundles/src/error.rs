//! What can be wrong with a bundle, and with a registry. Each text says what, and what would be right.

/// Why a bundle, a signature or a key is refused.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no bundle, or was damaged or altered.
    #[error("it is no intact bundle: {0}")]
    Damaged(String),
    /// It would do harm to unpack it.
    #[error("refused: {0}")]
    Hostile(String),
    /// A signature in it does not belong to its content.
    #[error("{0}")]
    Signature(String),
    /// A key cannot be read.
    #[error("{0}")]
    Key(String),
    /// What it is to be made of does not go together.
    #[error("{0}")]
    Content(String),
    /// What it is called cannot be installed or removed.
    #[error("{0}")]
    Installed(String),
}

impl BundleError {
    pub(crate) fn file(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::File {
            path: path.display().to_string(),
            error,
        }
    }
}

/// Why a registry did not give or take something. Holds no credential.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The reference cannot be read.
    #[error("{0}")]
    Reference(String),
    /// The registry cannot be reached, or does not answer in time.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The registry.
        host: String,
        /// Why.
        reason: String,
    },
    /// It says that there is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It wants other credentials.
    #[error("{0}")]
    Credentials(String),
    /// Its answer is not what the protocol says, or not what was asked for.
    #[error("{0}")]
    Answer(String),
    /// What was fetched cannot be kept.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

impl RegistryError {
    /// Whether a later try, or no network at all, may explain it.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
