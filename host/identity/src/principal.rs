//! The identified caller: the part of LiteLLM's `UserAPIKeyAuth` that the gateway acts on.

use serde_json::{Map, Value};

use crate::{KeyHash, Scope};

/// LiteLLM's `user_role`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// `proxy_admin`: everything.
    ProxyAdmin,
    /// `proxy_admin_viewer`: reads everything.
    ProxyAdminViewer,
    /// `org_admin`
    OrgAdmin,
    /// `internal_user`: own keys, LLM routes.
    InternalUser,
    /// `internal_user_viewer`
    InternalUserViewer,
    /// `team`
    Team,
    /// `customer`
    Customer,
}

impl Role {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::ProxyAdmin, "proxy_admin"),
        (Self::ProxyAdminViewer, "proxy_admin_viewer"),
        (Self::OrgAdmin, "org_admin"),
        (Self::InternalUser, "internal_user"),
        (Self::InternalUserViewer, "internal_user_viewer"),
        (Self::Team, "team"),
        (Self::Customer, "customer"),
    ];

    /// The role of this name; `None` for a name that LiteLLM does not have.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, n)| *n == name)
            .map(|(role, _)| role.clone())
    }

    /// LiteLLM's name of the role.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(role, _)| role == self)
            .map_or("internal_user", |(_, name)| name)
    }
}

/// Model groups that somebody beside the key allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelList {
    /// Whose: `team`, `user` or `org`, as LiteLLM's error types begin.
    pub owner: &'static str,
    /// Model groups, patterns and access groups, not empty.
    pub models: Vec<String>,
}

/// Who makes the request. `None` and empty mean "not known" and "no restriction".
#[derive(Debug, Clone, Default)]
pub struct Principal {
    /// Hash of the key the request is accounted under.
    pub key_hash: Option<KeyHash>,
    /// LiteLLM's `key_alias`.
    pub key_alias: Option<String>,
    /// LiteLLM's `user_id`.
    pub user_id: Option<String>,
    /// LiteLLM's `user_email`.
    pub user_email: Option<String>,
    /// LiteLLM's `team_id`.
    pub team_id: Option<String>,
    /// LiteLLM's `team_alias`.
    pub team_alias: Option<String>,
    /// LiteLLM's `org_id`.
    pub org_id: Option<String>,
    /// The end user this request is for.
    pub end_user_id: Option<String>,
    /// LiteLLM's `user_role`.
    pub role: Option<Role>,
    /// Model groups that may be called; empty allows all.
    pub models: Vec<String>,
    /// Lists of models that must allow a model beside the key's own: the team's, the user's, the organization's.
    pub model_lists: Vec<ModelList>,
    /// Names for models that only this caller has (the key's `aliases`, the team's `model_aliases`).
    pub aliases: Vec<(String, String)>,
    /// Models to call in place of one whose budget of the key's is used up, in their order (the key's `budget_fallbacks`).
    pub budget_fallbacks: Vec<(String, Vec<String>)>,
    /// Routes and groups of routes that may be called (LiteLLM's `allowed_routes`); empty allows all.
    pub allowed_routes: Vec<String>,
    /// The cache's controls that the key may set (LiteLLM's `allowed_cache_controls`); empty allows all.
    pub allowed_cache_controls: Vec<String>,
    /// The key's `metadata`.
    pub metadata: Map<String, Value>,
    /// The team's `metadata`.
    pub team_metadata: Map<String, Value>,
    /// The key's `permissions`, such as `get_spend_routes`.
    pub permissions: Map<String, Value>,
    /// Who bears the call's requests, tokens and money, as far as it is known with the key: the key itself, its team, the
    /// user in it, the user, the organization. Those of the request (end user, tags) are not here.
    pub scopes: Vec<Scope>,
    /// A session of the UI: it looks and manages, and calls models only where sessions have a budget.
    pub session: bool,
}

impl Principal {
    /// Whether admin routes are open to this caller.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Some(Role::ProxyAdmin)
    }

    /// Whether this caller may use a model group: an empty list, the group itself, LiteLLM's
    /// `all-proxy-models` or `*`, or a `provider/*` pattern that covers it.
    #[must_use]
    pub fn may_use(&self, model_group: &str) -> bool {
        self.models.is_empty() || allows(&self.models, model_group)
    }

    /// The model that this caller's name for one stands for.
    #[must_use]
    pub fn alias(&self, name: &str) -> Option<&str> {
        let own = self.aliases.iter().find(|(alias, _)| alias == name);
        own.map(|(_, model)| model.as_str())
    }
}

/// Whether a list of models that is not empty allows a model group by its name.
#[must_use]
pub fn allows<S: AsRef<str>>(models: &[S], model_group: &str) -> bool {
    models.iter().map(AsRef::as_ref).any(|allowed| {
        allowed == model_group || allowed == "all-proxy-models" || matches(allowed, model_group)
    })
}

/// Whether a name fits a pattern, in which each `*` stands for any text. Without one nothing does. Read as a name, a narrower pattern
/// fits a wider one.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return false;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut name) = name.strip_suffix(end) else {
        return false;
    };
    // The first place of each part leaves the most for those after it.
    for part in middle.split('*') {
        match name.split_once(part) {
            Some((_, after)) => name = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_lists_allow_names_wildcards_and_everything() {
        let with = |models: &[&str]| Principal {
            models: models.iter().map(|m| (*m).to_owned()).collect(),
            ..Principal::default()
        };
        assert!(with(&[]).may_use("gpt-4o"));
        assert!(with(&["gpt-4o"]).may_use("gpt-4o"));
        assert!(!with(&["gpt-4o"]).may_use("gpt-4o-mini"));
        assert!(with(&["openai/*"]).may_use("openai/gpt-4o"));
        assert!(!with(&["openai/*"]).may_use("groq/llama"));
        assert!(with(&["all-proxy-models"]).may_use("x"));
        assert!(with(&["*"]).may_use("x"));
        for (pattern, name, fits) in [
            ("*-mini", "gpt-4o-mini", true),
            ("*-mini", "gpt-4o-mini-high", false),
            ("openai/*-mini", "openai/gpt-4o-mini", true),
            ("openai/*-mini", "groq/gpt-4o-mini", false),
            ("a*b*c", "axbxc", true),
            ("a*b*c", "axc", false),
            ("ab*b", "ab", false),
            ("a.c*", "abc", false),
            ("*4*", "gpt-4o", true),
            // A narrower pattern is among a wider one's, and not the other way.
            ("*-mini", "gpt-*-mini", true),
            ("gpt-*-mini", "*-mini", false),
        ] {
            assert_eq!(with(&[pattern]).may_use(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn role_names_round_trip() {
        for (role, name) in Role::NAMES {
            assert_eq!(Role::parse(name), Some(role.clone()));
            assert_eq!(role.as_str(), name);
        }
        assert_eq!(Role::parse("root"), None);
    }
}
