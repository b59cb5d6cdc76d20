//! `witgate:host/kv`: small values that outlive an instance, for one request or for the plugin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::llm::Lineage;
use super::state::State;
use crate::bindings::witgate::host::kv as wit;
use crate::record::{Find, bytes_of, value_of_bytes};

/// Bytes of a key.
const KEY_BYTES: usize = 256;
/// Keys of one plugin for one request.
const REQUEST_KEYS: usize = 64;
/// How long a value is kept at most.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What one configured plugin keeps for itself.
pub(crate) struct Store {
    values: Values,
    limits: Limits,
}

/// The values alone. They outlive the component that wrote them, where its successor has the same name
/// and settings.
#[derive(Clone, Default)]
pub(crate) struct Values(Arc<Mutex<HashMap<String, Kept>>>);

/// The bounds of one plugin's values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Keys in scope `plugin`.
    pub(crate) keys: usize,
    /// Bytes of a value, in either scope.
    pub(crate) value: usize,
}

/// What plugins keep for one request: made with it, gone with it. Each plugin sees its own.
#[derive(Default)]
pub struct RequestMemory {
    values: Mutex<HashMap<OwnKey, Vec<u8>>>,
    /// Whose calls led to the request, and what they have used of models.
    pub(super) lineage: Lineage,
}

/// A plugin, and its name for a value.
type OwnKey = (Arc<str>, String);

struct Kept {
    bytes: Vec<u8>,
    until: Instant,
}

#[cfg(test)]
impl Values {
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Store {
    pub(crate) fn new(values: Values, limits: Limits) -> Self {
        Self { values, limits }
    }

    fn get(&self, key: &str, now: Instant) -> Option<Vec<u8>> {
        let values = self.values.0.lock();
        let value = values.get(key).filter(|value| now < value.until)?;
        Some(value.bytes.clone())
    }

    fn set(&self, key: String, bytes: Vec<u8>, keep: Duration, now: Instant) -> Result<(), String> {
        let mut values = self.values.0.lock();
        if !values.contains_key(&key) && values.len() >= self.limits.keys {
            values.retain(|_, value| now < value.until);
            if values.len() >= self.limits.keys {
                return Err(format!(
                    "the plugin keeps {} keys already, its limit (`limits.kv_keys`)",
                    self.limits.keys
                ));
            }
        }
        let until = now + keep.min(LONGEST);
        values.insert(key, Kept { bytes, until });
        Ok(())
    }

    fn delete(&self, key: &str, now: Instant) -> bool {
        let gone = self.values.0.lock().remove(key);
        gone.is_some_and(|value| now < value.until)
    }

    fn check(&self, key: &str, bytes: &[u8]) -> Result<(), String> {
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(format!(
                "a key has 1 to {KEY_BYTES} bytes, not {}",
                key.len()
            ));
        }
        if bytes.len() > self.limits.value {
            return Err(format!(
                "the value has {} bytes, the plugin may keep {} (`limits.kv_value_kb`)",
                bytes.len(),
                self.limits.value
            ));
        }
        Ok(())
    }
}

impl RequestMemory {
    /// Of a request that plugins made.
    pub(super) fn of(lineage: Lineage) -> Self {
        Self {
            lineage,
            ..Self::default()
        }
    }

    fn get(&self, plugin: &Arc<str>, key: String) -> Option<Vec<u8>> {
        self.values.lock().get(&(plugin.clone(), key)).cloned()
    }

    fn set(&self, plugin: &Arc<str>, key: String, bytes: Vec<u8>) -> Result<(), String> {
        let mut values = self.values.lock();
        let at = (plugin.clone(), key);
        let own = values.keys().filter(|(owner, _)| owner == plugin).count();
        if own >= REQUEST_KEYS && !values.contains_key(&at) {
            return Err(format!("{REQUEST_KEYS} keys for one request are the limit"));
        }
        values.insert(at, bytes);
        Ok(())
    }

    fn delete(&self, plugin: &Arc<str>, key: String) -> bool {
        self.values.lock().remove(&(plugin.clone(), key)).is_some()
    }
}

impl std::fmt::Debug for RequestMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestMemory").finish_non_exhaustive()
    }
}

impl wit::Host for State {
    fn get(&mut self, scope: wit::Scope, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let taken = self.asked("kv.get", Find::Same, || place(scope, &key));
        if let Some(known) = taken.known::<Value>() {
            return Ok((!known.is_null()).then(|| bytes_of(&known)));
        }
        let context = &self.context;
        let found = match scope {
            wit::Scope::Plugin => context.kv.get(&key, Instant::now()),
            wit::Scope::Request => self
                .request_memory()
                .and_then(|memory| memory.get(&context.name, key)),
        };
        taken.end(|| found.as_deref().map(value_of_bytes));
        Ok(found)
    }

    fn set(
        &mut self,
        scope: wit::Scope,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> wasmtime::Result<Result<(), String>> {
        let taken = self.asked("kv.set", Find::Next, || {
            let mut args = place(scope, &key);
            args["value"] = value_of_bytes(&value);
            args["ttl_ms"] = ttl_ms.into();
            args
        });
        let context = &self.context;
        let keep = ttl_ms.map_or(LONGEST, Duration::from_millis);
        let set =
            context
                .kv
                .check(&key, &value)
                .and_then(|()| match (scope, self.request_memory()) {
                    (wit::Scope::Plugin, _) => context.kv.set(key, value, keep, Instant::now()),
                    (wit::Scope::Request, Some(memory)) => memory.set(&context.name, key, value),
                    (wit::Scope::Request, None) => {
                        Err("this call is not made for a request".to_owned())
                    }
                });
        if set.is_err() {
            context.metrics.denied("kv");
        }
        // Kept in a replay, too: what the recording does not know of may be asked for.
        let set = taken.known().unwrap_or(set);
        taken.end(|| set.clone());
        Ok(set)
    }

    fn delete(&mut self, scope: wit::Scope, key: String) -> wasmtime::Result<bool> {
        let taken = self.asked("kv.delete", Find::Same, || place(scope, &key));
        let context = &self.context;
        let gone = match scope {
            wit::Scope::Plugin => context.kv.delete(&key, Instant::now()),
            wit::Scope::Request => self
                .request_memory()
                .is_some_and(|memory| memory.delete(&context.name, key)),
        };
        let gone = taken.known().unwrap_or(gone);
        taken.end(|| gone);
        Ok(gone)
    }
}

/// A key as a recording has it.
fn place(scope: wit::Scope, key: &str) -> Value {
    let scope = match scope {
        wit::Scope::Plugin => "plugin",
        wit::Scope::Request => "request",
    };
    json!({"scope": scope, "key": key})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(keys: usize) -> Store {
        Store::new(Values::default(), Limits { keys, value: 8 })
    }

    #[test]
    fn values_end_with_their_time_and_make_room() {
        let (store, now) = (store(2), Instant::now());
        let second = Duration::from_secs(1);
        let put = |key: &str, keep, at| store.set(key.to_owned(), vec![1], keep, at);
        assert_eq!(put("a", second, now), Ok(()));
        assert_eq!(put("b", second * 10, now), Ok(()));
        assert!(put("c", second, now).is_err(), "two keys are the limit");
        assert_eq!(put("a", second, now), Ok(()), "a known key fits");
        assert_eq!(store.get("a", now), Some(vec![1]));
        assert_eq!(store.get("a", now + second), None);
        assert_eq!(
            put("c", second, now + second),
            Ok(()),
            "what ended makes room"
        );
        assert!(store.delete("b", now) && !store.delete("b", now));
    }

    #[test]
    fn nothing_is_kept_for_longer_than_a_day() {
        let (store, now) = (store(1), Instant::now());
        let kept = store.set("a".to_owned(), vec![], LONGEST * 9, now);
        assert_eq!(kept, Ok(()));
        assert_eq!(store.get("a", now + LONGEST), None);
    }

    #[test]
    fn large_values_and_odd_keys_are_refused() {
        let store = store(1);
        assert!(store.check("a", &[0; 8]).is_ok());
        assert!(
            store
                .check("a", &[0; 9])
                .is_err_and(|e| e.contains("kv_value_kb"))
        );
        assert!(store.check("", &[]).is_err());
        assert!(store.check(&"k".repeat(KEY_BYTES + 1), &[]).is_err());
    }

    #[test]
    fn a_request_remembers_for_each_plugin_apart() {
        let memory = RequestMemory::default();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        assert_eq!(memory.set(&one, "k".to_owned(), vec![1]), Ok(()));
        assert_eq!(memory.get(&one, "k".to_owned()), Some(vec![1]));
        assert_eq!(memory.get(&other, "k".to_owned()), None);
        for n in 1..REQUEST_KEYS {
            assert_eq!(memory.set(&one, n.to_string(), vec![]), Ok(()));
        }
        assert!(memory.set(&one, "over".to_owned(), vec![]).is_err());
        assert_eq!(memory.set(&other, "k".to_owned(), vec![2]), Ok(()));
        assert!(memory.delete(&other, "k".to_owned()));
        assert!(!memory.delete(&other, "k".to_owned()));
    }
}
