//! `general_settings.key_management_settings`: how the secret manager is used.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

/// How the secret manager is used.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeyManagementSettings {
    /// The only names it is asked for. None: every reference. These are read even if nothing refers to them.
    pub hosted_keys: Option<Vec<String>>,
    /// Whether it is read, written or both.
    pub access_mode: AccessMode,
    /// The plugin, when `key_management_system` is `custom`.
    pub custom_secret_manager: Option<String>,
    /// The texts of virtual keys are stored.
    pub store_virtual_keys: bool,
    /// How their names begin.
    pub prefix_for_stored_virtual_keys: Option<String>,
    /// Their description.
    pub description: Option<String>,
    /// Their tags.
    pub tags: Map<String, Value>,
    /// One secret, a JSON object, that has all others.
    pub primary_secret_name: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    of_others: Map<String, Value>,
}

/// `access_mode`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    /// Secrets are read.
    #[default]
    ReadOnly,
    /// Secrets are stored, never read.
    WriteOnly,
    /// Both.
    ReadAndWrite,
}

impl KeyManagementSettings {
    /// The plugin's own settings.
    pub fn of_the_plugin(&self) -> Map<String, Value> {
        let own = self.of_others.iter();
        own.filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }
}

impl AccessMode {
    /// Whether secrets are read.
    pub const fn reads(self) -> bool {
        !matches!(self, Self::WriteOnly)
    }

    /// Whether secrets are stored.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::ReadOnly)
    }
}

impl fmt::Debug for KeyManagementSettings {
    /// Names only of what the plugin gets: values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyManagementSettings")
            .field("hosted_keys", &self.hosted_keys)
            .field("access_mode", &self.access_mode)
            .field("custom_secret_manager", &self.custom_secret_manager)
            .field("store_virtual_keys", &self.store_virtual_keys)
            .field(
                "prefix_for_stored_virtual_keys",
                &self.prefix_for_stored_virtual_keys,
            )
            .field("primary_secret_name", &self.primary_secret_name)
            .field("of_others", &self.of_others.keys().collect::<Vec<_>>())
            .finish()
    }
}
