//! The control plane's part of a configuration.

use std::sync::Arc;

use serde_json::Value;
use witgate_config::Loaded;
use witgate_identity::{KEY_BYTES, MasterKey};
use witgate_management::{KeyPolicy, Settings};
use witgate_metering::ResetClock;
use zeroize::Zeroizing;

/// Most random bytes of a new key: its text has at most 512 bytes.
const KEY_BYTES_MAX: usize = 256;

/// What the control plane goes by.
pub(super) fn settings(
    loaded: &Loaded,
    policy: Option<Arc<dyn KeyPolicy>>,
    clock: ResetClock,
    problems: &mut Vec<String>,
) -> Settings {
    let (general, env) = (&loaded.config.general, &loaded.environment);
    let master = general.master_key.as_ref().map(|key| key.reveal());
    let salt = env.non_empty("LITELLM_SALT_KEY").or(master);
    let config = &loaded.config.raw;
    let flag = |section: &str, key: &str| {
        let value = config.get(section).and_then(|section| section.get(key));
        value.and_then(Value::as_bool).unwrap_or(false)
    };
    let bytes = match env.non_empty("LENGTH_OF_LITELLM_GENERATED_KEY") {
        None => KEY_BYTES,
        Some(text) => match text.trim().parse() {
            Ok(bytes) if (KEY_BYTES..=KEY_BYTES_MAX).contains(&bytes) => bytes,
            _ => {
                problems.push(format!(
                    "LENGTH_OF_LITELLM_GENERATED_KEY: expected a whole number from {KEY_BYTES} to {KEY_BYTES_MAX}, not {text:?}"
                ));
                KEY_BYTES
            }
        },
    };
    Settings {
        master: master.map(MasterKey::new),
        policy,
        config: Arc::new(config.clone()),
        clock,
        key_bytes: bytes,
        hides_key_names: env.flag("DISABLE_KEY_NAME") == Some(true),
        salt: salt.map(|salt| Zeroizing::new(salt.to_owned())),
        stores_models: flag("general_settings", "store_model_in_db")
            || env.flag("STORE_MODEL_IN_DB") == Some(true),
    }
}
