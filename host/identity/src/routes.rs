//! LiteLLM's groups of routes, and what an entry of `allowed_routes` opens.

/// The name under which the operator's pass-through routes are known, all of them (LiteLLM's `call_type` of such a call).
pub const PASS_THROUGH: &str = "pass_through_endpoint";

/// The group of calls to models.
pub const CALLS: &str = "llm_api_routes";
/// The group of the management API.
pub const MANAGEMENT: &str = "management_routes";

/// A group's name and what is in it: patterns, in which `{*}` stands for one or more segments of a path, and names of other
/// groups (LiteLLM's `LiteLLMRoutes`; routes this gateway does not have yet are in them, so that a key made today means the same
/// tomorrow).
const GROUPS: &[(&str, &[&str])] = &[
    (
        CALLS,
        &[
            "openai_routes",
            "anthropic_routes",
            "google_routes",
            "apply_guardrail_routes",
            PASS_THROUGH,
        ],
    ),
    (
        "apply_guardrail_routes",
        &["/guardrails/apply_guardrail", "/apply_guardrail"],
    ),
    (
        "openai_routes",
        &[
            "/chat/completions",
            "/v1/chat/completions",
            "/engines/{*}/chat/completions",
            "/openai/deployments/{*}/chat/completions",
            "/queue/chat/completions",
            "/completions",
            "/v1/completions",
            "/engines/{*}/completions",
            "/openai/deployments/{*}/completions",
            "/embeddings",
            "/v1/embeddings",
            "/engines/{*}/embeddings",
            "/openai/deployments/{*}/embeddings",
            "/images/generations",
            "/v1/images/generations",
            "/openai/deployments/{*}/images/generations",
            "/images/edits",
            "/v1/images/edits",
            "/audio/transcriptions",
            "/v1/audio/transcriptions",
            "/audio/speech",
            "/v1/audio/speech",
            "/moderations",
            "/v1/moderations",
            "/rerank",
            "/v1/rerank",
            "/v2/rerank",
            "/responses",
            "/v1/responses",
            "/responses/{*}",
            "/v1/responses/{*}",
            "/openai/v1/responses",
            "/openai/v1/responses/{*}",
            "/realtime",
            "/v1/realtime",
            "/openai/v1/realtime",
            "/files",
            "/v1/files",
            "/files/{*}",
            "/v1/files/{*}",
            "/batches",
            "/v1/batches",
            "/batches/{*}",
            "/v1/batches/{*}",
            "/fine_tuning/jobs",
            "/v1/fine_tuning/jobs",
            "/fine_tuning/jobs/{*}",
            "/v1/fine_tuning/jobs/{*}",
            "/assistants",
            "/v1/assistants",
            "/assistants/{*}",
            "/v1/assistants/{*}",
            "/threads",
            "/v1/threads",
            "/threads/{*}",
            "/v1/threads/{*}",
            "/vector_stores",
            "/v1/vector_stores",
            "/vector_stores/{*}",
            "/v1/vector_stores/{*}",
            "/models",
            "/v1/models",
            "/models/{*}",
            "/v1/models/{*}",
            "/utils/token_counter",
        ],
    ),
    (
        "anthropic_routes",
        &["/v1/messages", "/v1/messages/count_tokens"],
    ),
    (
        "google_routes",
        &[
            "/v1beta/models/{*}:generateContent",
            "/v1beta/models/{*}:streamGenerateContent",
            "/v1beta/models/{*}:countTokens",
            "/models/{*}:generateContent",
            "/models/{*}:streamGenerateContent",
            "/models/{*}:countTokens",
        ],
    ),
    (
        "info_routes",
        &[
            "/key/info",
            "/key/list",
            "/key/health",
            "/v2/key/info",
            "/team/info",
            "/team/list",
            "/v2/team/list",
            "/team/available",
            "/organization/list",
            "/user/info",
            "/v2/user/info",
            "/user/filter/ui",
            "/model/info",
            "/v1/model/info",
            "/v2/model/info",
            "/model_group/info",
            "/models",
            "/v1/models",
            "/health",
            "/health/services",
        ],
    ),
    (
        "key_management_routes",
        &[
            "/key/generate",
            "/key/service-account/generate",
            "/key/update",
            "/key/bulk_update",
            "/team/key/bulk_update",
            "/key/delete",
            "/key/info",
            "/v2/key/info",
            "/key/list",
            "/key/aliases",
            "/key/health",
            "/key/regenerate",
            "/key/{*}/regenerate",
            "/key/block",
            "/key/unblock",
        ],
    ),
    (
        MANAGEMENT,
        &[
            "key_management_routes",
            "/user/new",
            "/user/update",
            "/user/bulk_update",
            "/user/delete",
            "/user/info",
            "/v2/user/info",
            "/user/list",
            "/team/new",
            "/team/update",
            "/team/delete",
            "/team/list",
            "/v2/team/list",
            "/team/info",
            "/team/block",
            "/team/unblock",
            "/team/available",
            "/team/permissions_list",
            "/team/permissions_update",
            "/model/new",
            "/model/update",
            "/model/{*}/update",
            "/model/delete",
            "/model/info",
            "/v1/model/info",
        ],
    ),
    (
        "spend_tracking_routes",
        &[
            "/spend/keys",
            "/spend/users",
            "/spend/tags",
            "/spend/calculate",
            "/spend/logs",
            "/spend/logs/{*}",
        ],
    ),
    (
        "global_spend_tracking_routes",
        &[
            "/global/spend",
            "/global/spend/logs",
            "/global/spend/keys",
            "/global/spend/teams",
            "/global/spend/end_users",
            "/global/spend/models",
            "/global/spend/report",
            "/global/spend/provider",
            "/global/spend/tags",
            "/global/spend/all_tag_names",
            "/global/predict/spend/logs",
        ],
    ),
    (
        "internal_user_routes",
        &[
            "key_management_routes",
            "spend_tracking_routes",
            "/global/activity",
            "/global/activity/{*}",
            "/tag/list",
            "/tag/daily/activity",
            "/models",
            "/v1/models",
            "/guardrails/list",
        ],
    ),
    (
        "internal_user_view_only_routes",
        &[
            "spend_tracking_routes",
            "info_routes",
            "/global/activity",
            "/global/activity/{*}",
            "/tag/list",
            "/tag/daily/activity",
        ],
    ),
    (
        "self_managed_routes",
        &[
            "/team/member_add",
            "/team/member_delete",
            "/team/member_update",
            "/team/permissions_list",
            "/team/permissions_update",
            "/team/daily/activity",
            "/team/daily/activity/aggregated",
            "/team/spend/by_user",
            "/user/daily/activity",
            "/user/daily/activity/aggregated",
            "/user/password/change",
            "/prompts/list",
            "/prompts/{*}/info",
            "/model/new",
            "/model/update",
            "/model/{*}/update",
            "/model/delete",
        ],
    ),
    (
        "org_admin_only_routes",
        &[
            "/organization/info",
            "/organization/delete",
            "/organization/member_add",
            "/organization/member_update",
            "/organization/member_delete",
        ],
    ),
    (
        "org_admin_allowed_routes",
        &["org_admin_only_routes", "management_routes"],
    ),
    (
        "admin_viewer_routes",
        &[
            "info_routes",
            "spend_tracking_routes",
            "global_spend_tracking_routes",
            "/user/list",
            "/customer/list",
            "/customer/info",
            "/budget/list",
            "/budget/info",
            "/budget/settings",
            "/tag/list",
            "/audit",
            "/audit/{*}",
        ],
    ),
    (
        "master_key_only_routes",
        &[
            "/global/spend/reset",
            "/memory-usage",
            "/memory-usage-in-mem-cache",
            "/memory-usage-in-mem-cache-items",
        ],
    ),
    // Of what this gateway does not serve.
    ("mapped_pass_through_routes", &[]),
    ("passthrough_routes_wildcard", &[]),
    ("mcp_routes", &[]),
    ("ui_routes", &[]),
    (
        "public_routes",
        &[
            "/",
            "/routes",
            "/test",
            "/config/yaml",
            "/health/backlog",
            "/health/liveliness",
            "/health/liveness",
            "/health/readiness",
            "/public/model_hub",
            "/public/model_hub/info",
            "/public/litellm_model_cost_map",
            "/metrics",
        ],
    ),
];

/// Whether one of the entries opens a route: an equal path, one that the path lies below, a prefix with `*` at its
/// end, or the name of a group.
#[must_use]
pub fn allowed(entries: &[String], route: &str) -> bool {
    entries.iter().any(|entry| opens(entry, route))
}

/// Whether an entry can open anything: a path, or a group that exists.
#[must_use]
pub fn is_known(entry: &str) -> bool {
    entry.starts_with('/')
        || entry == "*"
        || entry == PASS_THROUGH
        || GROUPS.iter().any(|(name, _)| *name == entry)
}

/// Whether one of the entries of `allowed_routes`, `public_routes` or `admin_only_routes` of the configuration is a route: an
/// equal path, a prefix with `*` at its end, or a group of routes, by its name or as LiteLLM's documentation writes it
/// (`LiteLLMRoutes.public_routes`).
#[must_use]
pub fn listed(entries: &[String], route: &str) -> bool {
    entries.iter().any(|entry| {
        let entry = entry.strip_prefix("LiteLLMRoutes.").unwrap_or(entry);
        match entry.starts_with('/') && !entry.ends_with('*') {
            true => entry == route,
            false => opens(entry, route),
        }
    })
}

/// The entries that open what two lists both open. Of groups that have but a part in common it is that part's groups and paths.
#[must_use]
pub fn both(one: &[String], other: &[String]) -> Vec<String> {
    let mut both = Vec::new();
    for (own, bound) in [(one, other), (other, one)] {
        own.iter().for_each(|entry| narrow(entry, bound, &mut both));
    }
    both
}

/// What of an entry a list opens, too.
fn narrow(entry: &str, bound: &[String], into: &mut Vec<String>) {
    if is_within(entry, bound) {
        // A group's pattern is no entry of its own: alone it would open nothing.
        if !entry.contains("{*}") && !into.iter().any(|known| known == entry) {
            into.push(entry.to_owned());
        }
    } else if let Some((_, members)) = GROUPS.iter().find(|(name, _)| *name == entry) {
        members
            .iter()
            .for_each(|member| narrow(member, bound, into));
    }
}

/// Whether a list opens all that an entry does.
fn is_within(entry: &str, list: &[String]) -> bool {
    if list.iter().any(|wide| wide == entry) {
        return true;
    }
    match GROUPS.iter().find(|(name, _)| *name == entry) {
        Some((_, members)) => {
            !members.is_empty() && members.iter().all(|member| is_within(member, list))
        }
        // A pattern's part that may be anything is something that no entry names.
        None => allowed(list, &entry.replace("{*}", "\u{1}")),
    }
}

fn opens(entry: &str, route: &str) -> bool {
    if let Some((_, members)) = GROUPS.iter().find(|(name, _)| *name == entry) {
        return members.iter().any(|member| match member.starts_with('/') {
            true => fits(member, route),
            false => opens(member, route),
        });
    }
    if let Some(prefix) = entry.strip_suffix('*') {
        return route.starts_with(prefix);
    }
    route
        .strip_prefix(entry)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn fits(pattern: &str, route: &str) -> bool {
    match pattern.split_once("{*}") {
        None => pattern == route,
        Some((before, after)) => route
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|middle| !middle.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_open_paths_prefixes_and_groups() {
        let open = |entry: &str, route: &str| allowed(&[entry.to_owned()], route);
        assert!(open("/key/info", "/key/info"));
        assert!(open("/key", "/key/info"));
        assert!(!open("/key", "/keys"));
        assert!(open("/key*", "/keys"));
        assert!(open("*", "/anything"));
        assert!(open("llm_api_routes", "/openai/deployments/a/b/embeddings"));
        assert!(!open("llm_api_routes", "/openai/deployments//embeddings"));
        assert!(!open("llm_api_routes", "/key/generate"));
        for route in [
            "/key/generate",
            "/key/sk-1/regenerate",
            "/team/new",
            "/user/list",
        ] {
            assert!(open("management_routes", route), "{route}");
        }
        assert!(!open("management_routes", "/organization/new"));
        assert!(open("llm_api_routes", "/v1/messages"));
        assert!(open("admin_viewer_routes", "/spend/logs/session/ui"));
        assert!(!open("no_such_group", "/key/generate"));
        for (group, members) in GROUPS {
            let named = members.iter().filter(|member| !member.starts_with('/'));
            assert!(named.clone().all(|name| is_known(name)), "{group}");
        }
        let both = |one: &[&str], other: &[&str]| {
            let list = |list: &[&str]| list.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>();
            super::both(&list(one), &list(other))
        };
        assert_eq!(
            both(&["llm_api_routes"], &["openai_routes"]),
            ["openai_routes"]
        );
        assert_eq!(both(&["/key"], &["/key/info", "/keys"]), ["/key/info"]);
        assert_eq!(both(&["*"], &["info_routes"]), ["info_routes"]);
        assert_eq!(both(&["openai_routes"], &["management_routes"]), [""; 0]);
        let shared = both(&["openai_routes"], &["info_routes", "/files"]);
        assert!(shared.iter().any(|e| e == "/v1/models") && shared.iter().any(|e| e == "/files"));
        assert!(!allowed(&shared, "/chat/completions") && !allowed(&shared, "/key/info"));
        assert!(is_known("llm_api_routes") && is_known("/x") && !is_known("no_such_group"));
    }
}
