//! Who may come in, and the operator's policies for keys.

use std::str::FromStr;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::Value;
use witgate_config::{Config, Loaded};
use witgate_pipeline::{Access, CustomAuth};
use witgate_plugins::{Kind, Registry};

use super::super::shades::Shades;
use super::super::{Keys, entry, plugins};
use super::{CUSTOM_AUTH, KEY_POLICY, KEY_UPDATE_POLICY, missing};

/// `custom_auth_settings.mode`. Without quotes, YAML's `on` and `off` are true and false.
pub fn custom_auth_mode(config: &Config) -> &str {
    match config.general.custom_auth_settings.get("mode") {
        None | Some(Value::Null | Value::Bool(true)) => "on",
        Some(Value::Bool(false)) => "off",
        Some(Value::String(mode)) => mode,
        Some(_) => "",
    }
}

/// Who may come in.
pub(in crate::wiring) fn access(
    loaded: &Loaded,
    registry: &Registry,
    keys: &Arc<Keys>,
    shades: &mut Shades<'_>,
    problems: &mut Vec<String>,
) -> Access {
    let general = &loaded.config.general;
    let raw = |key: &str| super::general(&loaded.config, key);
    let flag = |key: &str| raw(key).and_then(Value::as_bool).unwrap_or(false);
    let common_checks =
        flag("custom_auth_run_common_checks") || flag("enable_post_custom_auth_checks");
    let custom = general.custom_auth.as_ref().and_then(|component| {
        let plugin = registry.authenticator(CUSTOM_AUTH);
        if plugin.is_none() {
            missing(problems, CUSTOM_AUTH);
        }
        let mode = custom_auth_mode(&loaded.config);
        if !["on", "off", "auto"].contains(&mode) {
            problems.push(format!(
                "general_settings.custom_auth_settings.mode: {mode:?} is none of on, off, auto"
            ));
        }
        let plugin = shades.authenticator(CUSTOM_AUTH, component, plugin?);
        if mode == "off" {
            return None;
        }
        Some(
            match registry.is_enabled(Kind::Authenticator, CUSTOM_AUTH) {
                true => CustomAuth {
                    plugin,
                    auto: mode == "auto",
                    common_checks,
                },
                // Not absent: without a master key its absence would let everybody in.
                false => CustomAuth {
                    plugin: Arc::new(plugins::TurnedOff),
                    auto: true,
                    common_checks,
                },
            },
        )
    });
    let entry = entry::rules(loaded, problems);
    Access {
        trusted_proxies: entry::networks(loaded, "trusted_proxy_ranges", problems)
            .unwrap_or_default(),
        demands: entry::demands(loaded, problems),
        entry,
        master_key: entry::master_key(loaded),
        keys: Some(keys.clone()),
        key_header: raw("litellm_key_header_name")
            .and_then(Value::as_str)
            .map(str::to_lowercase),
        custom,
        federation: None,
        session_budget: session_budget(loaded, problems),
        client_credentials: flag("allow_client_side_credentials"),
        forwarded_for: flag("use_x_forwarded_for"),
        without_database: flag("allow_requests_on_db_unavailable"),
    }
}

/// `litellm_settings.max_ui_session_budget`
fn session_budget(loaded: &Loaded, problems: &mut Vec<String>) -> Option<Decimal> {
    let settings = loaded.config.raw.get("litellm_settings")?;
    let value = settings.get("max_ui_session_budget");
    let value = value.filter(|value| !value.is_null())?;
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    let parsed = Decimal::from_str(&text).ok();
    let budget = parsed.filter(|budget| !budget.is_sign_negative());
    if budget.is_none() {
        problems.push(format!(
            "litellm_settings.max_ui_session_budget: expected US dollars, not {value}"
        ));
    }
    budget
}

/// A policy of the operator's for keys.
type Policy = Arc<dyn witgate_management::KeyPolicy>;

/// The operator's policies for keys, as far as they are configured: for new ones, and for changes.
pub(in crate::wiring) fn key_policies(
    loaded: &Loaded,
    registry: &Registry,
    problems: &mut Vec<String>,
) -> [Option<Policy>; 2] {
    [KEY_POLICY, KEY_UPDATE_POLICY].map(|key| {
        super::general(&loaded.config, key)?;
        if !registry.is_enabled(Kind::KeyPolicy, key) {
            return None;
        }
        let plugin = registry.key_policy(key);
        if plugin.is_none() {
            missing(problems, key);
        }
        Some(Arc::new(plugins::KeyPolicy(plugin?)) as Policy)
    })
}
