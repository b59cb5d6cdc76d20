//! What the operator sets.

use serde::Deserialize;

/// The settings.
#[derive(Debug, Deserialize)]
pub struct Settings {
    /// Name of the granted file.
    #[serde(default = "default_file")]
    pub file: String,
    /// Members to write; all when empty.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Whether to write the context, too.
    #[serde(default)]
    pub context: bool,
}

fn default_file() -> String {
    "events".to_owned()
}
