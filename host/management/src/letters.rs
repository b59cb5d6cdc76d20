//! Mail to single people: a key of theirs was made or rotated, they are invited. What carries it is the process's to know.

use serde_json::Value;
use witgate_store::{Row, StoreError};
use zeroize::Zeroizing;

use crate::ControlPlane;
use crate::fields::text;

/// What a letter is about: LiteLLM's names of these events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterKind {
    /// `key_created`
    KeyCreated,
    /// `key_rotated`
    KeyRotated,
    /// `internal_user_created`
    Invitation,
}

/// One letter. It may hold the text of a key, and has no Debug output for that.
pub struct Letter {
    /// What it is about.
    pub kind: LetterKind,
    /// The address.
    pub to: String,
    /// The text of the key.
    pub key: Option<Zeroizing<String>>,
    /// What else it tells, by the names of LiteLLM's templates; nothing secret.
    pub facts: Vec<(&'static str, String)>,
}

impl Letter {
    /// A letter about a key, with its text.
    pub(crate) fn about_key(kind: LetterKind, to: String, row: &Row, key: String) -> Self {
        let mut facts = Vec::new();
        if let Some(alias) = text(row, "key_alias") {
            facts.push(("key_alias", alias.to_owned()));
        }
        if let Some(budget) = row.get("max_budget").filter(|budget| !budget.is_null()) {
            facts.push(("key_budget", budget.to_string()));
        }
        Self {
            kind,
            to,
            key: Some(Zeroizing::new(key)),
            facts,
        }
    }
}

/// Carries letters.
pub trait Post: Send + Sync {
    /// Whether letters go anywhere.
    fn is_open(&self) -> bool;
    /// Takes a letter, without waiting for its way.
    fn take(&self, letter: Letter);
}

impl ControlPlane {
    /// Hands a letter over; without anybody to carry it nothing happens, and the log says so.
    pub(crate) fn post(&self, letter: Letter) {
        match self.carrier.get().filter(|post| post.is_open()) {
            Some(post) => post.take(letter),
            None => tracing::warn!(
                kind = ?letter.kind,
                "no mail is sent: list email in general_settings.alerting and set SMTP_HOST"
            ),
        }
    }

    /// The address of a user who can be written to.
    pub(crate) async fn address_of(
        &self,
        user: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let Some(user) = user.filter(|_| self.carrier.get().is_some_and(|post| post.is_open()))
        else {
            return Ok(None);
        };
        let row = self.user(user).await?;
        let address = row.as_ref().and_then(|row| row.get("user_email"));
        let address = address.and_then(Value::as_str);
        Ok(address.filter(|to| !to.is_empty()).map(str::to_owned))
    }
}
