//! What callers may do with teams and organizations: roles that lie in rows.

use serde_json::{Value, json};
use witgate_store::{Filter, Row, Select, StoreError};

use crate::{Ask, ControlPlane, Refusal};

/// What a user is in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TeamRole {
    Admin,
    User,
}

/// What members of a team may do with its keys when nothing else is said.
pub(crate) const MEMBERS_MAY: [&str; 2] = ["/key/info", "/key/health"];

/// What a user is in a team, by `members_with_roles`.
pub(crate) fn role_in(team: &Row, user: &str) -> Option<TeamRole> {
    let members = team.get("members_with_roles")?.as_array()?;
    let own = |member: &&Value| member.get("user_id").and_then(Value::as_str) == Some(user);
    let member = members.iter().find(own)?;
    Some(match member.get("role").and_then(Value::as_str) {
        Some("admin") => TeamRole::Admin,
        _ => TeamRole::User,
    })
}

/// Whether a member of a team may do this with its keys (`team_member_permissions`).
pub(crate) fn members_may(team: &Row, route: &str) -> bool {
    let given = team
        .get("team_member_permissions")
        .and_then(Value::as_array);
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return MEMBERS_MAY.contains(&route);
    };
    // One operation with two paths.
    let same = |permission: &str| match permission {
        "/key/{key_id}/regenerate" => "/key/regenerate" == route,
        other => other == route,
    };
    given.iter().filter_map(Value::as_str).any(same)
}

/// LiteLLM's words to a member of a team who may not do this with its keys.
pub(crate) fn not_permitted(team: &Row, route: &str) -> Refusal {
    let id = team.get("team_id").and_then(Value::as_str);
    let given = team
        .get("team_member_permissions")
        .and_then(Value::as_array)
        .filter(|given| !given.is_empty());
    let may = given.map_or_else(|| json!(MEMBERS_MAY), |given| json!(given));
    let message = format!(
        "Team member does not have permissions for endpoint: {route}. You only have access to the following endpoints: {may} for team {}. An administrator or an admin of the team permits it with team_member_permissions (/team/permissions_update).",
        id.unwrap_or_default()
    );
    Refusal::error(401, "team_member_permission_error", message).param(route)
}

impl ControlPlane {
    /// Hashes of the caller's keys, at most a thousand: the one they come with, and those of their user.
    pub(crate) async fn own_keys(&self, ask: &Ask) -> Result<Vec<Value>, StoreError> {
        let with = ask.caller.key_hash.as_ref();
        let mut keys: Vec<Value> = with.iter().map(|hash| hash.as_str().into()).collect();
        if let Some(user) = ask.user() {
            let select = Select {
                limit: Some(1000),
                ..Filter::by("user_id", user).into()
            };
            let rows = self.store.rows(crate::keys::TABLE, &select).await?;
            keys.extend(rows.into_iter().filter_map(|mut row| row.remove("token")));
        }
        Ok(keys)
    }

    /// A team's row.
    pub(crate) async fn team(&self, id: &str) -> Result<Option<Row>, StoreError> {
        self.store.row("LiteLLM_TeamTable", "team_id", id).await
    }

    /// Whether the caller manages keys of this team so: a team admin, a member with the permission, an admin of its
    /// organization.
    pub(crate) async fn manages_keys_of(
        &self,
        ask: &Ask,
        team: &Row,
        route: &str,
    ) -> Result<bool, StoreError> {
        let Some(user) = ask.user() else {
            return Ok(false);
        };
        let by_role = match role_in(team, user) {
            Some(TeamRole::Admin) => true,
            Some(TeamRole::User) => members_may(team, route),
            None => false,
        };
        Ok(by_role || self.administers_org_of(ask, team).await?)
    }

    /// The same, with LiteLLM's words to whoever does not: a stranger to the team, or a member without the permission.
    pub(crate) async fn must_manage_keys_of(&self, ask: &Ask, team: &Row) -> Result<(), Refusal> {
        if ask.is_admin() || self.manages_keys_of(ask, team, ask.route).await? {
            return Ok(());
        }
        let id = team
            .get("team_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(user) = ask.user() else {
            return Err(ask.admin_only());
        };
        if role_in(team, user).is_none() {
            let message = format!("User={user} not assigned to team={id}");
            return Err(Refusal::bad(message).param("team_id"));
        }
        Err(not_permitted(team, ask.route))
    }

    /// Whether the caller may change this team: its admin, or an admin of its organization.
    pub(crate) async fn administers(&self, ask: &Ask, team: &Row) -> Result<bool, StoreError> {
        let own = ask.user().and_then(|user| role_in(team, user)) == Some(TeamRole::Admin);
        Ok(ask.is_admin() || own || self.administers_org_of(ask, team).await?)
    }

    async fn administers_org_of(&self, ask: &Ask, team: &Row) -> Result<bool, StoreError> {
        match team.get("organization_id").and_then(Value::as_str) {
            Some(organization) => self.administers_org(ask, organization).await,
            None => Ok(false),
        }
    }

    /// Whether the caller administers an organization.
    pub(crate) async fn administers_org(
        &self,
        ask: &Ask,
        organization: &str,
    ) -> Result<bool, StoreError> {
        let Some(user) = ask.user() else {
            return Ok(false);
        };
        let filter = Filter::by("organization_id", organization)
            .and_if("user_id", Some(user))
            .and_if("user_role", Some("org_admin"));
        let found = self
            .store
            .count("LiteLLM_OrganizationMembership", &filter)
            .await?;
        Ok(found > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_and_permissions_of_members() {
        let team = json!({"members_with_roles": [{"user_id": "ann", "role": "admin"}, {"user_id": "bob"}]});
        let team = team.as_object().unwrap();
        assert_eq!(role_in(team, "ann"), Some(TeamRole::Admin));
        assert_eq!(role_in(team, "bob"), Some(TeamRole::User));
        assert_eq!(role_in(team, "eve"), None);
        assert!(members_may(team, "/key/info") && !members_may(team, "/key/generate"));
        let open = json!({"team_member_permissions": ["/key/generate"], "members_with_roles": {}});
        let open = open.as_object().unwrap();
        assert!(members_may(open, "/key/generate") && !members_may(open, "/key/info"));
        assert_eq!(role_in(open, "ann"), None);
        let by_path = json!({"team_member_permissions": ["/key/{key_id}/regenerate"]});
        assert!(members_may(by_path.as_object().unwrap(), "/key/regenerate"));
        let empty = json!({"team_member_permissions": []});
        let empty = empty.as_object().unwrap();
        assert!(members_may(empty, "/key/info") && !members_may(empty, "/key/generate"));
    }
}
