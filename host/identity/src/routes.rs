//! LiteLLM's groups of routes, and what an entry of `allowed_routes` opens.

/// A group's name and its patterns. `{*}` stands for one or more segments of a path.
const GROUPS: [(&str, &[&str]); 6] = [
    ("openai_routes", OPENAI),
    ("llm_api_routes", OPENAI),
    ("info_routes", INFO),
    ("key_management_routes", KEYS),
    ("management_routes", MANAGEMENT),
    ("public_routes", PUBLIC),
];

const OPENAI: &[&str] = &[
    "/chat/completions",
    "/v1/chat/completions",
    "/engines/{*}/chat/completions",
    "/openai/deployments/{*}/chat/completions",
    "/completions",
    "/v1/completions",
    "/engines/{*}/completions",
    "/openai/deployments/{*}/completions",
    "/embeddings",
    "/v1/embeddings",
    "/engines/{*}/embeddings",
    "/openai/deployments/{*}/embeddings",
    "/models",
    "/v1/models",
    "/models/{*}",
    "/v1/models/{*}",
];

const INFO: &[&str] = &[
    "/key/info",
    "/key/list",
    "/v2/key/info",
    "/model/info",
    "/v1/model/info",
    "/health",
    "/models",
    "/v1/models",
];

const KEYS: &[&str] = &[
    "/key/generate",
    "/key/update",
    "/key/delete",
    "/key/info",
    "/key/list",
    "/key/block",
    "/key/unblock",
];

const MANAGEMENT: &[&str] = &[
    "/key/generate",
    "/key/update",
    "/key/delete",
    "/key/info",
    "/key/list",
    "/key/block",
    "/key/unblock",
    "/model/info",
    "/v1/model/info",
];

const PUBLIC: &[&str] = &[
    "/routes",
    "/health/liveliness",
    "/health/liveness",
    "/health/readiness",
    "/metrics",
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
    entry.starts_with('/') || entry == "*" || GROUPS.iter().any(|(name, _)| *name == entry)
}

/// Whether one of the entries of `public_routes` or `admin_only_routes` is a route: an equal path, a prefix with `*` at its
/// end, or a group of routes, by its name or as LiteLLM's documentation writes it (`LiteLLMRoutes.public_routes`).
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

fn opens(entry: &str, route: &str) -> bool {
    if let Some((_, patterns)) = GROUPS.iter().find(|(name, _)| *name == entry) {
        return patterns.iter().any(|pattern| fits(pattern, route));
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
        assert!(open("management_routes", "/key/generate"));
        assert!(!open("no_such_group", "/key/generate"));
        assert!(is_known("llm_api_routes") && is_known("/x") && !is_known("no_such_group"));
    }
}
