//! The control plane's part of a configuration.

use std::sync::Arc;

use serde_json::Value;
use witgate_config::Loaded;
use witgate_identity::KEY_BYTES;
use witgate_management::{KeyPolicy, Settings, UiSettings};
use witgate_metering::ResetClock;
use zeroize::Zeroizing;

use super::look;

/// Most random bytes of a new key: its text has at most 512 bytes.
const KEY_BYTES_MAX: usize = 256;

/// What the control plane goes by.
pub(super) fn settings(
    loaded: &Loaded,
    [policy, update_policy]: [Option<Arc<dyn KeyPolicy>>; 2],
    clock: ResetClock,
    problems: &mut Vec<String>,
) -> Settings {
    let env = &loaded.environment;
    let salt = super::stored::salt(loaded);
    let config = &loaded.config.raw;
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
    let setting = |key: &str| config.get("litellm_settings")?.get(key);
    let pattern = setting("key_alias_pattern").and_then(Value::as_str);
    let key_alias_pattern = pattern.and_then(|pattern| {
        let anchored = regex::Regex::new(&format!("^(?:{pattern})$"));
        anchored
            .map_err(|error| {
                problems.push(format!(
                    "litellm_settings.key_alias_pattern: {pattern:?} is no regular expression: {error}"
                ));
            })
            .ok()
    });
    let variable = "LITELLM_KEY_ROTATION_GRACE_PERIOD";
    let rotation_grace = env.non_empty(variable).map(str::to_owned);
    if let Some(period) = &rotation_grace
        && witgate_management::durations::seconds(period).is_none()
    {
        problems.push(format!(
            "{variable}: expected a duration such as 24h, not {period:?}"
        ));
    }
    Settings {
        key_alias_pattern,
        soft_budget: env.parse("DEFAULT_SOFT_BUDGET"),
        teams_most: env.parse("MAX_TEAM_LIST_LIMIT"),
        counting: super::settings::counting(loaded),
        ui: UiSettings {
            theme: look::theme(loaded),
            logo: look::logo(loaded),
            favicon: look::favicon(loaded),
            base_url: env.non_empty("PROXY_BASE_URL").map(str::to_owned),
            logout_url: env.non_empty("PROXY_LOGOUT_URL").map(str::to_owned),
            has_sso: super::login::provider(loaded).is_some(),
            spend_logs_most: env.parse("MAX_SPENDLOG_ROWS_TO_QUERY"),
        },
        master: super::entry::master_key(loaded),
        policy,
        update_policy,
        rotation_grace,
        config: Arc::new(config.clone()),
        clock,
        key_bytes: bytes,
        hides_key_names: env.flag("DISABLE_KEY_NAME") == Some(true),
        salt: salt.map(|salt| Zeroizing::new(salt.to_owned())),
        stores_models: super::stored::is_asked(loaded),
    }
}
