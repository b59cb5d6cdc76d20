//! Which deployments are given something of the client's headers, as `general_settings` and `litellm_settings` have it.

use serde_json::Value;
use witgate_config::Config;
use witgate_pipeline::ClientHeaders;

/// Providers whose upstreams know `OpenAI-Organization`.
const OPENAI: [&str; 2] = ["openai", "text-completion-openai"];

/// What requests to a deployment of this group and provider are given.
pub(super) fn of(config: &Config, group: &str, provider: &str) -> ClientHeaders {
    let setting = |section: &str, key: &str| config.raw.get(section)?.get(key);
    let flag = |section: &str, key: &str| setting(section, key) == Some(&Value::Bool(true));
    let of_groups = setting("litellm_settings", "model_group_settings");
    let groups = of_groups.and_then(|groups| groups.get("forward_client_headers_to_llm_api"));
    let mut groups = groups.and_then(Value::as_array).into_iter().flatten();
    ClientHeaders {
        forwarded: flag("general_settings", "forward_client_headers_to_llm_api")
            || groups.any(|name| name.as_str().is_some_and(|name| covers(name, group))),
        organization: flag("general_settings", "forward_openai_org_id")
            && OPENAI.contains(&provider),
        caller: flag("litellm_settings", "add_user_information_to_llm_headers"),
    }
}

/// Whether a name, or a pattern that ends in `*`, is the group's.
fn covers(name: &str, group: &str) -> bool {
    match name.strip_suffix('*') {
        Some(start) => group.starts_with(start),
        None => name == group,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_group_is_named_or_covered() {
        let mut config = Config::default();
        config.raw = json!({
                "general_settings": {"forward_openai_org_id": true},
                "litellm_settings": {"model_group_settings": {"forward_client_headers_to_llm_api": ["fast", "anthropic/*"]}},
        });
        let told = |group: &str, provider: &str| {
            let told = of(&config, group, provider);
            (told.forwarded, told.organization, told.caller)
        };
        assert_eq!(told("fast", "openai"), (true, true, false));
        assert_eq!(told("anthropic/x", "anthropic"), (true, false, false));
        assert_eq!(told("faster", "openai"), (false, true, false));
    }
}
