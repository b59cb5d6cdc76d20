//! Who may come in from where, and what calls must say, as `general_settings` has it.

use serde_json::Value;
use witgate_config::Loaded;
use witgate_identity::{EntryRules, MasterKey, network, routes};
use witgate_pipeline::Demands;

use super::federation;

/// Variables that turn groups of routes off.
const DISABLED: [(&str, &str); 2] = [
    ("DISABLE_LLM_API_ENDPOINTS", routes::CALLS),
    ("DISABLE_ADMIN_ENDPOINTS", routes::MANAGEMENT),
];

/// The master key, and what its calls are told under.
pub fn master_key(loaded: &Loaded) -> Option<MasterKey> {
    let key = loaded.config.general.master_key.as_ref()?;
    let master = MasterKey::new(key.reveal());
    let is_hidden = setting(loaded, "disable_adding_master_key_hash_to_db");
    Some(match is_hidden.and_then(Value::as_bool) {
        Some(true) => master.under_alias(),
        _ => master,
    })
}

/// Addresses and routes.
pub(super) fn rules(loaded: &Loaded, problems: &mut Vec<String>) -> EntryRules {
    let mut public: Vec<String> = setting(loaded, "public_routes")
        .map(texts)
        .unwrap_or_default();
    public.extend(federation::public_routes(loaded));
    EntryRules {
        ips: networks(loaded, "allowed_ips", problems),
        routes: setting(loaded, "allowed_routes").map(texts),
        public,
        admin_only: setting(loaded, "admin_only_routes")
            .map(texts)
            .unwrap_or_default(),
        disabled: DISABLED
            .iter()
            .filter(|(name, _)| loaded.environment.flag(name) == Some(true))
            .map(|(_, group)| (*group).to_owned())
            .collect(),
    }
}

/// A list of addresses and networks; `None` when it is not set.
pub(super) fn networks(
    loaded: &Loaded,
    key: &str,
    problems: &mut Vec<String>,
) -> Option<Vec<ipnet::IpNet>> {
    let listed = texts(setting(loaded, key)?);
    let mut networks = Vec::with_capacity(listed.len());
    for text in listed {
        match network(&text) {
            Some(network) => networks.push(network),
            None => problems.push(format!(
                "general_settings.{key}: {text:?} is neither an address nor a network such as 10.0.0.0/8"
            )),
        }
    }
    Some(networks)
}

/// What every call must say.
pub(super) fn demands(loaded: &Loaded, problems: &mut Vec<String>) -> Demands {
    let flag = |key: &str| {
        setting(loaded, key)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    };
    let list = |key: &str| setting(loaded, key).map(texts).unwrap_or_default();
    let service = setting(loaded, "service_account_settings");
    let service = service.and_then(|settings| settings.get("enforced_params"));
    let mut demands = Demands {
        user: flag("enforce_user_param"),
        params: list("enforced_params"),
        service_account_params: service.map(texts).unwrap_or_default(),
        no_client_tags: flag("reject_clientside_metadata_tags"),
        ..Demands::default()
    };
    let name = setting(loaded, "user_header_name").and_then(Value::as_str);
    demands.end_user_headers.extend(name.map(str::to_lowercase));
    let mappings = setting(loaded, "user_header_mappings").and_then(Value::as_array);
    for (at, mapping) in mappings.into_iter().flatten().enumerate() {
        let text = |key: &str| mapping.get(key).and_then(Value::as_str);
        let header = text("header_name").map(str::to_lowercase);
        match (header, text("litellm_user_role")) {
            (Some(header), Some("customer")) => demands.end_user_headers.push(header),
            (Some(header), Some("internal_user")) => demands.user_headers.push(header),
            _ => problems.push(format!(
                "general_settings.user_header_mappings[{at}]: it is {{header_name: NAME, litellm_user_role: customer | internal_user}}"
            )),
        }
    }
    demands
}

fn setting<'a>(loaded: &'a Loaded, key: &str) -> Option<&'a Value> {
    let value = loaded.config.raw.get("general_settings")?.get(key)?;
    (!value.is_null()).then_some(value)
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}
