//! Small values that outlive an instance, in the gateway's memory: a cache, never the truth.
//!
//! [`REQUEST`] holds what belongs to the client's request under way: every phase of a guardrail sees it, no other request does,
//! and it is gone when the request ends. [`PLUGIN`] holds what belongs to the plugin, for a day at most; whose value it is must
//! be part of the key there. Nobody else sees either. What does not fit is refused.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::bindings::host::witgate::host::kv;

/// One of the two rooms.
pub struct Room(kv::Scope);

/// What belongs to the request under way; at most 64 keys. Guardrails only.
pub const REQUEST: Room = Room(kv::Scope::Request);

/// What belongs to the plugin, whoever it is called for; at most 1000 keys.
pub const PLUGIN: Room = Room(kv::Scope::Plugin);

impl Room {
    /// The value; `None` when there is none (any more).
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        kv::get(self.0, key)
    }

    /// Keeps a value of at most 64 KiB. `ttl_ms` counts in [`PLUGIN`] only.
    pub fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), Error> {
        kv::set(self.0, key, value, ttl_ms).map_err(Error::Failed)
    }

    /// Forgets a value; false when there was none.
    pub fn delete(&self, key: &str) -> bool {
        kv::delete(self.0, key)
    }

    /// The value that [`set_json`](Self::set_json) kept.
    pub fn get_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let value = self.get(key);
        Ok(value
            .map(|bytes| serde_json::from_slice(&bytes))
            .transpose()?)
    }

    /// Keeps a value as JSON.
    pub fn set_json(&self, key: &str, value: &impl Serialize) -> Result<(), Error> {
        self.set(key, &serde_json::to_vec(value)?, None)
    }
}
