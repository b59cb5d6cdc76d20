//! The operator's own rules for keys: LiteLLM's `custom_key_generate` and `custom_key_update`.

use async_trait::async_trait;
use serde_json::{Map, Value};
use witgate_identity::Principal;

/// What is done with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAction {
    /// It is made.
    Generate,
    /// It is changed.
    Update,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyVerdict {
    /// As it is asked for.
    Allow,
    /// With this body in place of the one that was sent.
    Edit(Map<String, Value>),
    /// Not, in these words.
    Deny(String),
}

/// Judges requests for keys.
#[async_trait]
pub trait KeyPolicy: Send + Sync {
    /// Judges a body. The text of a key is not shown, its hash is.
    ///
    /// # Errors
    /// Why it could not judge, for the operator; then nothing is done.
    async fn judge(
        &self,
        action: KeyAction,
        caller: &Principal,
        body: String,
    ) -> Result<KeyVerdict, String>;
}
