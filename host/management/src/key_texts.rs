//! The texts of keys, for a secret manager that keeps them (`key_management_settings.store_virtual_keys`): the control plane
//! tells what becomes of each, once it is written. Where they are kept, and how, is the process's to know.

use witgate_store::Row;
use zeroize::Zeroizing;

use crate::ControlPlane;
use crate::fields::text;

/// What a key is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// `key_alias`
    pub alias: Option<String>,
    /// The hash of its text.
    pub token: String,
}

impl KeyName {
    pub(crate) fn of(row: &Row) -> Self {
        let alias = text(row, "key_alias").filter(|alias| !alias.is_empty());
        Self {
            alias: alias.map(str::to_owned),
            token: text(row, "token").unwrap_or_default().to_owned(),
        }
    }
}

/// What became of the text of a key. It may hold the text, and has no Debug output for that.
pub enum TextChange {
    /// There is a new key.
    Made {
        /// Which.
        key: KeyName,
        /// Its text.
        text: Zeroizing<String>,
    },
    /// It has another text, and perhaps another name.
    Rotated {
        /// The key as it was.
        from: KeyName,
        /// As it is.
        to: KeyName,
        /// Its new text.
        text: Zeroizing<String>,
    },
    /// It has the same text and another name.
    Renamed {
        /// The key as it was.
        from: KeyName,
        /// As it is.
        to: KeyName,
    },
    /// It is gone.
    Gone {
        /// Which.
        key: KeyName,
    },
}

/// Keeps the texts of keys.
pub trait TextKeeper: Send + Sync {
    /// Takes a change, without waiting for it to be made.
    fn take(&self, change: TextChange);
}

impl ControlPlane {
    /// Tells of a text, where somebody keeps them.
    pub(crate) fn text_changed(&self, change: impl FnOnce() -> TextChange) {
        if let Some(keeper) = self.keeper.get() {
            keeper.take(change());
        }
    }
}
