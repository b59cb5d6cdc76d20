//! What claims say of the caller: a pure function of them and the settings.

use serde_json::Value;

use crate::claims::{Claims, at, scopes, text, texts};
use crate::refusal::Refusal;
use crate::settings::{InternalRole, Issuer, JwtSettings};

/// What a token says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Its scopes.
    pub scopes: Vec<String>,
    /// What it belongs to.
    pub role: Option<InternalRole>,
    /// The user: by the claim, else by the address.
    pub user: Option<String>,
    /// The user's address.
    pub email: Option<String>,
    /// The one team it is for: of the object, the claim, or the default.
    pub team: Option<String>,
    /// That team's alias, where only that is said.
    pub team_alias: Option<String>,
    /// Teams it may be for.
    pub teams: Vec<String>,
    /// Whether it has a list of teams, be it an empty one.
    pub lists_teams: bool,
    /// The organization.
    pub organization: Option<String>,
    /// That organization's alias, where only that is said.
    pub organization_alias: Option<String>,
    /// The end user.
    pub end_user: Option<String>,
    /// Roles of `user_roles_jwt_field` are among `user_allowed_roles`.
    pub has_allowed_role: bool,
    /// LiteLLM's role by `jwt_litellm_role_map`.
    pub user_role: Option<String>,
    /// It is another team's place than the settings' that says so (`object_id_jwt_field`).
    pub is_object: bool,
    /// The teams are those that the database knows the user in, not the token's.
    pub is_of_database: bool,
}

/// Reads claims. `issuer` is the one of several that the token comes from.
///
/// # Errors
/// When they cannot mean anything.
pub fn read(
    settings: &JwtSettings,
    issuer: Option<&Issuer>,
    claims: &Claims,
) -> Result<Said, Refusal> {
    let own = |field: fn(&Issuer) -> Option<&String>| issuer.and_then(field);
    let one = |own: Option<&String>, general: &Option<String>| {
        let by_issuer = own.and_then(|field| text(claims, field));
        by_issuer.or_else(|| text(claims, general.as_ref()?))
    };
    let list = |field: &Option<String>| {
        let field = field.as_deref();
        field.map(|field| texts(claims, field)).unwrap_or_default()
    };
    let email = one(
        own(|issuer| issuer.user_email_jwt_field.as_ref()),
        &settings.user_email_jwt_field,
    );
    let user = one(
        own(|issuer| issuer.user_id_jwt_field.as_ref()),
        &settings.user_id_jwt_field,
    );
    // An address that the provider does not stand for is nobody's, and no id either.
    let is_unverified = match claims.get("email_verified") {
        Some(Value::Bool(verified)) => !verified,
        Some(Value::String(word)) => word.eq_ignore_ascii_case("false"),
        _ => false,
    };
    let user = user.filter(|id| {
        !is_unverified || Some(id) != email.as_ref() && Some(id) != text(claims, "email").as_ref()
    });
    let email = email.filter(|_| !is_unverified);
    let claimed_team = one(
        own(|issuer| issuer.team_id_jwt_field.as_ref()),
        &settings.team_id_jwt_field,
    );
    let team_alias = one(None, &settings.team_alias_jwt_field);
    let lists_teams = [
        own(|issuer| issuer.team_ids_jwt_field.as_ref()),
        settings.team_ids_jwt_field.as_ref(),
    ];
    let mut lists_teams = lists_teams.into_iter().flatten();
    let lists_teams =
        lists_teams.any(|field| at(claims, field).is_some_and(|list| !list.is_null()));
    let mut teams = own(|issuer| issuer.team_ids_jwt_field.as_ref())
        .map(|field| texts(claims, field))
        .unwrap_or_default();
    if teams.is_empty() {
        teams = list(&settings.team_ids_jwt_field);
    }
    // A default must not stand in the way of a team that is named by its alias.
    let default = settings.team_id_default.clone();
    let team = claimed_team.or_else(|| default.filter(|_| team_alias.is_none()));
    let scopes = scopes(claims)?;
    let allowed = settings.user_allowed_roles.as_deref().unwrap_or_default();
    let user_roles = list(&settings.user_roles_jwt_field);
    let has_allowed_role = user_roles.iter().any(|role| allowed.contains(role));
    let roles = list(&settings.roles_jwt_field);
    let role = if scopes.contains(&settings.admin_jwt_scope) {
        Some(InternalRole::ProxyAdmin)
    } else if team.is_some() {
        Some(InternalRole::Team)
    } else if user.is_some() || has_allowed_role {
        Some(InternalRole::InternalUser)
    } else {
        let mut mappings = settings.role_mappings.iter();
        let mapping = mappings.find(|mapping| roles.contains(&mapping.role));
        mapping.map(|mapping| mapping.internal_role)
    };
    let map = settings.jwt_litellm_role_map.iter();
    let mut mapped = map.filter(|map| roles.iter().any(|role| map.jwt_role.is_match(role)));
    let mut said = Said {
        user: user.or_else(|| email.clone()),
        email,
        team_alias: team_alias.filter(|_| team.is_none()),
        team,
        teams,
        lists_teams,
        organization: one(
            own(|issuer| issuer.org_id_jwt_field.as_ref()),
            &settings.org_id_jwt_field,
        ),
        organization_alias: one(None, &settings.org_alias_jwt_field),
        end_user: one(
            own(|issuer| issuer.end_user_id_jwt_field.as_ref()),
            &settings.end_user_id_jwt_field,
        ),
        user_role: mapped.next().map(|map| map.litellm_role.clone()),
        scopes,
        role,
        has_allowed_role,
        is_object: false,
        is_of_database: false,
    };
    if said.organization.is_some() {
        said.organization_alias = None;
    }
    if let Some(object) = one(None, &settings.object_id_jwt_field) {
        match role {
            Some(InternalRole::Team) => {
                said.team = Some(object);
                said.team_alias = None;
                said.is_object = true;
            }
            Some(InternalRole::InternalUser) => said.user = Some(object),
            _ => {}
        }
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(settings: Value, claims: Value) -> Said {
        let settings = JwtSettings::read(&settings).unwrap();
        read(&settings, None, claims.as_object().unwrap()).unwrap()
    }

    #[test]
    fn the_role_is_the_scopes_then_the_teams_then_the_users_then_the_mappings() {
        let settings = json!({
            "team_id_jwt_field": "team", "user_id_jwt_field": "sub", "roles_jwt_field": "r",
            "user_roles_jwt_field": "ur", "user_allowed_roles": ["basic"],
            "role_mappings": [{"role": "ops", "internal_role": "proxy_admin"}, {"role": "t", "internal_role": "team"}],
            "object_id_jwt_field": "oid",
        });
        let role = |claims: Value| said(settings.clone(), claims).role;
        use InternalRole::{InternalUser, ProxyAdmin, Team};
        assert_eq!(
            role(json!({"scope": "a litellm_proxy_admin", "team": "x"})),
            Some(ProxyAdmin)
        );
        assert_eq!(
            role(json!({"scope": "litellm_proxy_admin2", "team": "x", "sub": "u"})),
            Some(Team)
        );
        assert_eq!(role(json!({"sub": "u", "r": ["ops"]})), Some(InternalUser));
        assert_eq!(
            role(json!({"ur": "basic", "r": ["ops"]})),
            Some(InternalUser)
        );
        assert_eq!(
            role(json!({"ur": "other", "r": ["t", "ops"]})),
            Some(ProxyAdmin)
        );
        assert_eq!(role(json!({"ur": "other"})), None);
        let team = said(settings.clone(), json!({"r": "t", "oid": "o1"}));
        assert_eq!((team.team.as_deref(), team.user), (Some("o1"), None));
        let user = said(settings, json!({"sub": "u", "oid": "o1"}));
        assert_eq!((user.team, user.user.as_deref()), (None, Some("o1")));
    }

    #[test]
    fn an_alias_goes_before_the_default_and_a_claim_before_both() {
        let settings = json!({
            "team_id_jwt_field": "team", "team_alias_jwt_field": "name", "team_id_default": "all",
            "user_email_jwt_field": "email", "org_id_jwt_field": "o", "org_alias_jwt_field": "on",
        });
        let by = |claims: Value| {
            let said = said(settings.clone(), claims);
            (said.team, said.team_alias)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            by(json!({"team": ["a", "b"], "name": "n"})),
            (text("a"), None)
        );
        assert_eq!(by(json!({"name": "n"})), (None, text("n")));
        assert_eq!(by(json!({})), (text("all"), None));
        let other = said(settings, json!({"email": "a@b.c", "o": "1", "on": "x"}));
        assert_eq!(other.user.as_deref(), Some("a@b.c"));
        assert_eq!(
            (other.organization, other.organization_alias),
            (text("1"), None)
        );
    }
}
