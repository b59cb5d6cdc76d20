//! Who may come in from where, and what calls must say, as `general_settings` has it.

use serde_json::Value;
use witgate_config::Loaded;
use witgate_identity::{EntryRules, MasterKey, NoEntry, network, routes};
use witgate_management::operations;
use witgate_pipeline::Demands;
use witgate_server::routes::ROUTES;

use super::federation;

/// What the variables turn off.
fn disabled(loaded: &Loaded) -> Vec<(NoEntry, Vec<String>)> {
    let is_set = |name: &str| loaded.environment.flag(name) == Some(true);
    let mut disabled = Vec::new();
    if is_set("DISABLE_LLM_API_ENDPOINTS") {
        disabled.push((NoEntry::Calls, vec![routes::CALLS.to_owned()]));
    }
    if is_set("DISABLE_ADMIN_ENDPOINTS") {
        // The group is what keys may be opened for, and less than the management API.
        let all = operations().map(|operation| operation.name());
        let all = all.chain([routes::MANAGEMENT]);
        disabled.push((NoEntry::Management, all.map(str::to_owned).collect()));
    }
    disabled
}

/// Routes as they are listed, with the names of the operations that they are paths of: an operation that is closed by one of its
/// paths is closed by all.
fn of_operations(mut listed: Vec<String>) -> Vec<String> {
    let closed = ROUTES
        .iter()
        .filter(|route| route.paths.iter().any(|path| routes::listed(&listed, path)));
    let names: Vec<String> = closed.map(|route| route.name.to_owned()).collect();
    listed.extend(names);
    listed
}

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
            .map(of_operations)
            .unwrap_or_default(),
        disabled: disabled(loaded),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_closed_by_each_of_its_paths() {
        for path in [
            "/v1/chat/completions",
            "/chat/completions",
            "/engines/*",
            "LiteLLMRoutes.openai_routes",
        ] {
            let closed = of_operations(vec![path.to_owned()]);
            assert!(routes::listed(&closed, "/chat/completions"), "{path}");
            assert!(!routes::listed(&closed, "/key/info"), "{path}");
        }
    }
}
