//! `general_settings.litellm_jwtauth`: every field there is, with LiteLLM's defaults.
//!
//! A field that is not here is an error at start that lists those that are: one that restricts must not be lost to a typing
//! error.

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

/// Roles that a user's row may have.
const USER_ROLES: [&str; 4] = [
    "proxy_admin",
    "proxy_admin_viewer",
    "internal_user",
    "internal_user_viewer",
];

/// How claims become callers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "the fields are LiteLLM's; host/config/keys says what each is"
)]
pub struct JwtSettings {
    pub admin_jwt_scope: String,
    pub admin_allowed_routes: Vec<String>,
    pub team_id_jwt_field: Option<String>,
    pub team_ids_jwt_field: Option<String>,
    pub team_alias_jwt_field: Option<String>,
    pub team_id_default: Option<String>,
    pub team_id_upsert: bool,
    pub upsert_sso_user_to_team: bool,
    pub team_allowed_routes: Vec<String>,
    pub org_id_jwt_field: Option<String>,
    pub org_alias_jwt_field: Option<String>,
    pub user_id_jwt_field: Option<String>,
    pub user_email_jwt_field: Option<String>,
    pub user_allowed_email_domain: Option<String>,
    pub user_roles_jwt_field: Option<String>,
    pub user_allowed_roles: Option<Vec<String>>,
    pub user_id_upsert: bool,
    pub end_user_id_jwt_field: Option<String>,
    pub public_key_ttl: f64,
    pub public_key_stale_ttl: f64,
    pub public_allowed_routes: Vec<String>,
    pub enforce_rbac: bool,
    pub roles_jwt_field: Option<String>,
    pub role_mappings: Vec<RoleMapping>,
    pub object_id_jwt_field: Option<String>,
    pub scope_mappings: Vec<ScopeMapping>,
    pub enforce_scope_based_access: bool,
    pub enforce_team_based_model_access: bool,
    pub custom_validate: Option<String>,
    pub jwt_litellm_role_map: Vec<RoleMap>,
    pub sync_user_role_and_teams: bool,
    pub oidc_userinfo_enabled: bool,
    pub oidc_userinfo_endpoint: Option<String>,
    pub oidc_userinfo_cache_ttl: f64,
    pub issuers: Vec<Issuer>,
    pub team_claim_fallback: bool,
    pub fallback_to_db_teams: bool,
    #[serde(alias = "jwt_client_id_field")]
    pub virtual_key_claim_field: Option<String>,
    pub virtual_key_mapping_cache_ttl: f64,
    pub unregistered_jwt_client_behavior: Unregistered,
    pub auto_register_map_existing_key: bool,
    pub routing_overrides: Vec<RoutingOverride>,
}

/// What becomes of a token whose claim stands for no key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unregistered {
    /// Its claims say who it is, as without keys.
    #[default]
    FallbackTeamMapping,
    /// It is refused.
    Reject,
    /// A key is made for it.
    AutoRegister,
}

/// An item of `role_mappings`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleMapping {
    /// As the token says it.
    pub role: String,
    /// As it is here.
    pub internal_role: InternalRole,
}

/// What a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InternalRole {
    /// An administrator.
    ProxyAdmin,
    /// A team.
    Team,
    /// A user.
    InternalUser,
}

impl InternalRole {
    /// LiteLLM's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProxyAdmin => "proxy_admin",
            Self::Team => "team",
            Self::InternalUser => "internal_user",
        }
    }
}

/// An item of `scope_mappings`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeMapping {
    /// The scope.
    pub scope: String,
    /// Models that it opens.
    #[serde(default)]
    pub models: Vec<String>,
    /// Routes that it opens.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// An item of `jwt_litellm_role_map`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleMap {
    /// As the token says it, with the shell's wildcards.
    #[serde(deserialize_with = "pattern")]
    pub jwt_role: Regex,
    /// LiteLLM's `user_role`.
    pub litellm_role: String,
}

/// An item of `issuers`: an identity provider of several.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "as above: they stand in for those of the same name"
)]
pub struct Issuer {
    pub issuer: String,
    #[serde(default)]
    pub jwks_url: Option<String>,
    #[serde(default, deserialize_with = "audiences")]
    pub audience: Vec<String>,
    #[serde(default)]
    pub disable_audience_validation: bool,
    #[serde(default)]
    pub user_id_jwt_field: Option<String>,
    #[serde(default)]
    pub user_email_jwt_field: Option<String>,
    #[serde(default)]
    pub team_id_jwt_field: Option<String>,
    #[serde(default)]
    pub team_ids_jwt_field: Option<String>,
    #[serde(default)]
    pub org_id_jwt_field: Option<String>,
    #[serde(default)]
    pub end_user_id_jwt_field: Option<String>,
    #[serde(default, alias = "jwt_client_id_field")]
    pub virtual_key_claim_field: Option<String>,
}

/// An item of `routing_overrides`: signed tokens that an OAuth2 server is asked about all the same. Every selector that is given
/// fits the token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutingOverride {
    /// Of the claim `iss`.
    pub iss: Selector,
    /// Of the claim `client_id`.
    #[serde(default)]
    pub client_id: Option<Selector>,
    /// Of one of its scopes.
    #[serde(default)]
    pub scope: Option<Selector>,
    /// Of one of its audiences.
    #[serde(default)]
    pub aud: Option<Selector>,
    /// Who is asked.
    #[serde(default)]
    pub path: OverridePath,
}

/// Who is asked about a token that an override takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverridePath {
    /// The OAuth2 server.
    #[default]
    Oauth2,
}

/// A text or several of them, with the shell's wildcards: one of them fits.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub struct Selector(Vec<Regex>);

impl Selector {
    /// Whether one of these texts fits.
    #[must_use]
    pub fn takes(&self, texts: &[String]) -> bool {
        let mut patterns = self.0.iter();
        patterns.any(|pattern| texts.iter().any(|text| pattern.is_match(text)))
    }
}

impl TryFrom<OneOrMany> for Selector {
    type Error = String;

    fn try_from(from: OneOrMany) -> Result<Self, String> {
        let texts = from.into_list();
        let patterns: Result<Vec<Regex>, String> = texts.iter().map(|text| wild(text)).collect();
        match patterns {
            Ok(patterns) if patterns.is_empty() => Err("a list of none takes no token".to_owned()),
            patterns => patterns.map(Self),
        }
    }
}

/// One text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// An item of `general_settings.role_permissions`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolePermission {
    /// Whose: `proxy_admin`, `team` or `internal_user`.
    pub role: InternalRole,
    /// The only models of the role.
    #[serde(default)]
    pub models: Option<Vec<String>>,
    /// The only routes of the role.
    #[serde(default)]
    pub routes: Option<Vec<String>>,
}

impl Default for JwtSettings {
    fn default() -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self {
            admin_jwt_scope: "litellm_proxy_admin".to_owned(),
            admin_allowed_routes: texts(&[
                "management_routes",
                "spend_tracking_routes",
                "global_spend_tracking_routes",
                "info_routes",
            ]),
            team_allowed_routes: texts(&["openai_routes", "info_routes"]),
            public_key_ttl: 600.0,
            public_key_stale_ttl: 3600.0,
            oidc_userinfo_cache_ttl: 300.0,
            public_allowed_routes: texts(&["public_routes"]),
            team_id_jwt_field: None,
            team_ids_jwt_field: None,
            team_alias_jwt_field: None,
            team_id_default: None,
            team_id_upsert: false,
            upsert_sso_user_to_team: false,
            org_id_jwt_field: None,
            org_alias_jwt_field: None,
            user_id_jwt_field: None,
            user_email_jwt_field: None,
            user_allowed_email_domain: None,
            user_roles_jwt_field: None,
            user_allowed_roles: None,
            user_id_upsert: false,
            end_user_id_jwt_field: None,
            enforce_rbac: false,
            roles_jwt_field: None,
            role_mappings: Vec::new(),
            object_id_jwt_field: None,
            scope_mappings: Vec::new(),
            enforce_scope_based_access: false,
            enforce_team_based_model_access: false,
            custom_validate: None,
            jwt_litellm_role_map: Vec::new(),
            sync_user_role_and_teams: false,
            oidc_userinfo_enabled: false,
            oidc_userinfo_endpoint: None,
            issuers: Vec::new(),
            team_claim_fallback: false,
            fallback_to_db_teams: false,
            virtual_key_claim_field: None,
            virtual_key_mapping_cache_ttl: 300.0,
            unregistered_jwt_client_behavior: Unregistered::default(),
            auto_register_map_existing_key: false,
            routing_overrides: Vec::new(),
        }
    }
}

impl JwtSettings {
    /// The settings in this value.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(value: &Value) -> Result<Self, Vec<String>> {
        let settings: Self = serde_json::from_value(without_nulls(value))
            .map_err(|error| vec![error.to_string()])?;
        let problems = settings.problems();
        match problems.is_empty() {
            true => Ok(settings),
            false => Err(problems),
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut when = |wrong: bool, text: &str| {
            if wrong {
                problems.push(text.to_owned());
            }
        };
        when(
            self.user_roles_jwt_field.is_some() != self.user_allowed_roles.is_some(),
            "user_roles_jwt_field and user_allowed_roles are set together or not at all",
        );
        when(
            self.object_id_jwt_field.is_some() && self.role_mappings.is_empty(),
            "object_id_jwt_field needs role_mappings: they say whether the object is a team or a user",
        );
        when(
            !self.role_mappings.is_empty() && self.roles_jwt_field.is_none(),
            "role_mappings needs roles_jwt_field: the claim with the roles",
        );
        when(
            !self.jwt_litellm_role_map.is_empty() && self.roles_jwt_field.is_none(),
            "jwt_litellm_role_map needs roles_jwt_field: the claim with the roles",
        );
        when(
            self.enforce_scope_based_access && self.scope_mappings.is_empty(),
            "enforce_scope_based_access needs scope_mappings: they say what a scope opens",
        );
        when(
            self.oidc_userinfo_enabled && self.oidc_userinfo_endpoint.is_none(),
            "oidc_userinfo_enabled needs oidc_userinfo_endpoint",
        );
        when(
            self.unregistered_jwt_client_behavior != Unregistered::FallbackTeamMapping
                && self.virtual_key_claim_field.is_none()
                && !self
                    .issuers
                    .iter()
                    .any(|issuer| issuer.virtual_key_claim_field.is_some()),
            "unregistered_jwt_client_behavior needs virtual_key_claim_field: the claim that stands for a key",
        );
        let whole = |seconds: f64| seconds.is_finite() && seconds >= 0.0;
        let times = [
            self.public_key_ttl,
            self.public_key_stale_ttl,
            self.oidc_userinfo_cache_ttl,
            self.virtual_key_mapping_cache_ttl,
        ];
        when(
            !times.into_iter().all(whole),
            "public_key_ttl, public_key_stale_ttl, oidc_userinfo_cache_ttl and virtual_key_mapping_cache_ttl are seconds",
        );
        for (at, map) in self.jwt_litellm_role_map.iter().enumerate() {
            let role = &map.litellm_role;
            let text = format!(
                "jwt_litellm_role_map[{at}].litellm_role: no user has the role {role:?}; it is one of {}",
                USER_ROLES.join(", ")
            );
            when(!USER_ROLES.contains(&role.as_str()), &text);
        }
        for (at, issuer) in self.issuers.iter().enumerate() {
            let text = format!(
                "issuers[{at}]: audience says for whom its tokens are; without one disable_audience_validation must be true"
            );
            let open = issuer.audience.is_empty() && !issuer.disable_audience_validation;
            when(open, &text);
        }
        problems
    }
}

/// A key with nothing behind it is one that is not there.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let set = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(
                set.map(|(key, value)| (key.clone(), without_nulls(value)))
                    .collect(),
            )
        }
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    }
}

/// The shell's `*`, `?` and `[…]`.
fn pattern<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(from)?;
    wild(&text).map_err(|why| serde::de::Error::custom(format!("jwt_role: {why}")))
}

/// A pattern of the shell's.
fn wild(text: &str) -> Result<Regex, String> {
    let mut regex = String::from("^(?s:");
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        match (first, rest.split_once(']')) {
            ('*', _) => regex.push_str(".*"),
            ('?', _) => regex.push('.'),
            ('[', Some((set, after))) if !set.is_empty() => {
                let (not, set) = match set.strip_prefix('!') {
                    Some(set) => ("^", set),
                    None => ("", set),
                };
                let set = set.replace('\\', "\\\\").replace('[', "\\[");
                regex.push_str(&format!("[{not}{set}]"));
                rest = after;
            }
            _ => regex.push_str(&regex::escape(&first.to_string())),
        }
    }
    regex.push_str(")$");
    Regex::new(&regex).map_err(|_| format!("{text:?} is no pattern"))
}

/// One text, or a list of them.
fn audiences<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    OneOrMany::deserialize(from).map(OneOrMany::into_list)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_meant_is_told() {
        for (value, part) in [
            (
                json!({"team_id_jwt_feld": "t"}),
                "unknown field `team_id_jwt_feld`, expected one of `admin_jwt_scope`",
            ),
            (json!({"user_roles_jwt_field": "r"}), "together"),
            (json!({"object_id_jwt_field": "r"}), "role_mappings"),
            (
                json!({"roles_jwt_field": "r", "role_mappings": [{"role": "a", "internal_role": "root"}]}),
                "expected one of `proxy_admin`",
            ),
            (
                json!({"enforce_scope_based_access": true}),
                "scope_mappings",
            ),
            (
                json!({"issuers": [{"issuer": "https://a"}]}),
                "disable_audience_validation",
            ),
            (json!({"public_key_ttl": -1}), "seconds"),
            (json!({"routing_overrides": [{"client_id": "m"}]}), "`iss`"),
            (
                json!({"routing_overrides": [{"iss": "a", "path": "saml"}]}),
                "`oauth2`",
            ),
            (
                json!({"routing_overrides": [{"iss": []}]}),
                "a list of none",
            ),
            (
                json!({"jwt_litellm_role_map": [{"jwt_role": "a", "litellm_role": "root"}], "roles_jwt_field": "r"}),
                "no user has the role",
            ),
            (
                json!({"jwt_litellm_role_map": [{"jwt_role": "a", "litellm_role": "team"}], "roles_jwt_field": "r"}),
                "no user has the role",
            ),
            (
                json!({"oidc_userinfo_enabled": true}),
                "oidc_userinfo_endpoint",
            ),
        ] {
            let problems = JwtSettings::read(&value).unwrap_err().join("; ");
            assert!(problems.contains(part), "{value}: {problems}");
        }
        let settings = JwtSettings::read(&json!({"team_id_jwt_field": null})).unwrap();
        assert_eq!(settings.team_id_jwt_field, None);
        assert!(JwtSettings::read(&Value::Null).is_ok());
    }

    #[test]
    fn roles_have_the_shells_wildcards() {
        let fits = |pattern: &str, role: &str| {
            let map: RoleMap =
                serde_json::from_value(json!({"jwt_role": pattern, "litellm_role": "team"}))
                    .unwrap();
            map.jwt_role.is_match(role)
        };
        assert!(fits("app.*.admin", "app.x.admin") && !fits("app.*.admin", "appsx.admin"));
        assert!(fits("team-[ab]", "team-a") && !fits("team-[!ab]", "team-a"));
        assert!(fits("a?", "ab") && !fits("a?", "a") && !fits("a", "ab"));
    }
}
