//! The manifest of a plugin: what it is, what it can be told, what it wants to reach.
//!
//! Stored as JSON in a custom section of the component, so that it can be read without running any
//! of its code.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Name of the custom section, at the outermost level of the component.
pub const SECTION: &str = "witgate:manifest";

/// The only version of the format so far.
pub const FORMAT: u32 = 1;

/// What a plugin says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format: [`FORMAT`].
    pub manifest: u32,
    /// Name by which the configuration refers to it.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// What it exports.
    pub kind: Kind,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// SPDX expression; empty when not stated.
    #[serde(default)]
    pub license: String,
    /// What the operator can set.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// Where it wants to send requests: `https://api.example.com`, `https://*.example.com:8443`, or
    /// `{name}` for the URL in that setting.
    #[serde(default)]
    pub egress: Vec<String>,
    /// Environment variables of the gateway that it wants to read.
    #[serde(default)]
    pub env: Vec<String>,
    /// Names of the file grants it may ask for.
    #[serde(default)]
    pub files: Vec<String>,
    /// What it needs when the operator sets nothing.
    #[serde(default)]
    pub limits: Limits,
    /// Log sinks: which events it wants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Guardrails: when it can run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phases: Vec<String>,
}

/// What a plugin exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `witgate:log-sink/log-sink`
    LogSink,
    /// `witgate:guardrail/guardrail`
    Guardrail,
    /// `witgate:authenticator/authenticator`
    Authenticator,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::LogSink, Self::Guardrail, Self::Authenticator];

    /// The kind's name, as in manifests and WIT packages.
    pub fn name(self) -> &'static str {
        match self {
            Self::LogSink => "log-sink",
            Self::Guardrail => "guardrail",
            Self::Authenticator => "authenticator",
        }
    }

    /// The interface that a plugin of this kind exports, without its version.
    pub fn interface(self) -> &'static str {
        match self {
            Self::LogSink => "witgate:log-sink/log-sink",
            Self::Guardrail => "witgate:guardrail/guardrail",
            Self::Authenticator => "witgate:authenticator/authenticator",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Something the operator can set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Key in the configuration.
    pub name: String,
    /// Type of its value.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Environment variable that sets it when the configuration does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// Value when nothing sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Whether the plugin cannot work without it.
    #[serde(default)]
    pub required: bool,
    /// Whether it is a secret: kept from `settings`, given as a handle by `secrets`.
    #[serde(default)]
    pub secret: bool,
    /// Whether the plugin needs the secret's value itself.
    #[serde(default)]
    pub reveal: bool,
    /// What it does, for the operator.
    #[serde(default)]
    pub doc: String,
}

/// Type of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A mapping.
    Object,
    /// A sequence.
    List,
}

impl ValueType {
    /// The type's name, as in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::List => "list",
        }
    }

    /// Whether a value has this type.
    pub fn fits(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::Object => value.is_object(),
            Self::List => value.is_array(),
        }
    }
}

/// What a plugin needs when the operator sets nothing; `None` leaves it to the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory, mebibytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u32>,
    /// Processor time of one call, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u32>,
    /// Time of one call including waiting, milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u32>,
}
