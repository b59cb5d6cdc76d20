//! Who verified claims stand for here, and how far they get.

use std::sync::Arc;

use witgate_identity::{Caller, Named, Principal, Role};

use super::restrictions::Restrictions;
use super::{Jwt, Verified};
use crate::ports::Directory;
use crate::said::{self, Said};
use crate::settings::InternalRole;
use crate::{Asked, Problem, Refusal, vouched};

impl Jwt {
    pub(super) async fn admit(
        &self,
        directory: &dyn Directory,
        verified: &Verified<'_>,
        asked: &Asked<'_>,
    ) -> Result<Arc<Principal>, Problem> {
        let settings = &self.settings;
        let mut said = said::read(settings, verified.issuer, &verified.claims)?;
        vouched::is_somebody(said.user.as_deref())?;
        self.teams_of_database(directory, &mut said).await?;
        let mut restrictions = Restrictions::default();
        self.by_role(&said, asked, &mut restrictions)?;
        self.by_scopes(&said, asked, &mut restrictions)?;
        let claim = |name: &str| {
            let text = verified.claims.get(name).and_then(|value| value.as_str());
            text.unwrap_or_default()
        };
        let key = |named: &Named| named.key(claim("iss"), claim("sub"));
        if said.role == Some(InternalRole::ProxyAdmin) {
            return self.admin(directory, said, asked, restrictions, key).await;
        }
        let mut named = Named {
            user: said.user.clone(),
            email: said.email.clone(),
            organization: said.organization.clone(),
            organization_alias: said.organization_alias.clone(),
            ..Named::default()
        };
        self.choose_team(directory, &said, asked, &mut named)
            .await?;
        self.check_domain(&said)?;
        let caller = self.known(directory, &said, &mut named).await?;
        let caller = self.joined(directory, &said, &named, caller).await?;
        if self.needs_somebody && !caller.has_user && !caller.has_team {
            let message = "No user or team id found in token. enforce_rbac is set to True. Token must belong to a proxy admin, team, or user.";
            return Err(Refusal::forbidden(message).into());
        }
        let found = &caller.as_key.principal;
        vouched::is_open(&caller)?;
        vouched::is_somebody(found.user_id.as_deref())?;
        if found.team_id.is_some() && !found.is_admin() {
            restrictions.add_routes(&self.settings.team_allowed_routes);
            self.check_team_route(asked)?;
        }
        let mut principal = (**found).clone();
        principal.key_hash = Some(key(&named));
        principal.user_email = principal.user_email.or(said.email);
        principal.end_user_id = said.end_user;
        restrictions
            .restrict(asked, principal)
            .map_err(Problem::from)
    }

    /// An administrator by scope or role: only the routes that the settings name, and no model without such a route.
    async fn admin(
        &self,
        directory: &dyn Directory,
        said: Said,
        asked: &Asked<'_>,
        restrictions: Restrictions,
        key: impl Fn(&Named) -> witgate_identity::KeyHash,
    ) -> Result<Arc<Principal>, Problem> {
        let routes = &self.settings.admin_allowed_routes;
        if !asked.is_open(routes) {
            let message = format!(
                "Admin not allowed to access this route. Route={}, Allowed Routes={routes:?}",
                asked.path()
            );
            return Err(Refusal::unauthorized(message).into());
        }
        let named = Named {
            user: said.user.clone(),
            ..Named::default()
        };
        if said.user.is_some() {
            let by = Named {
                email: said.email.clone(),
                ..named.clone()
            };
            // Who is not known is the token's administrator all the same; who was deactivated is nobody's.
            vouched::is_open(&*directory.caller(&by).await?)?;
        }
        let principal = Principal {
            key_hash: Some(key(&named)),
            user_id: said.user,
            user_email: said.email,
            org_id: said.organization,
            role: Some(Role::ProxyAdmin),
            ..Principal::default()
        };
        Ok(restrictions.restrict(asked, principal)?)
    }

    /// `enforce_rbac`, and `role_permissions` of the role.
    pub(super) fn by_role(
        &self,
        said: &Said,
        asked: &Asked<'_>,
        restrictions: &mut Restrictions,
    ) -> Result<(), Refusal> {
        let Some(role) = said.role else {
            return match self.settings.enforce_rbac {
                true => Err(Refusal::forbidden(
                    "Unmatched token passed in. enforce_rbac is set to True. Token must belong to a proxy admin, team, or user.",
                )),
                false => Ok(()),
            };
        };
        let mut permissions = self.permissions.iter();
        let Some(permission) = permissions.find(|permission| permission.role == role) else {
            return Ok(());
        };
        let routes = permission.routes.as_deref().unwrap_or_default();
        restrictions.add_routes(routes);
        if permission.routes.is_some() && !asked.is_open(routes) {
            return Err(Refusal::forbidden(format!(
                "Role={} not allowed to call route={}. Allowed routes={routes:?}",
                role.as_str(),
                asked.path()
            )));
        }
        if let Some(models) = &permission.models {
            restrictions.add("role", models.clone());
        }
        Ok(())
    }

    /// `enforce_scope_based_access`: what no scope of the token opens is closed.
    pub(super) fn by_scopes(
        &self,
        said: &Said,
        asked: &Asked<'_>,
        restrictions: &mut Restrictions,
    ) -> Result<(), Refusal> {
        if !self.settings.enforce_scope_based_access {
            return Ok(());
        }
        let mappings = self.settings.scope_mappings.iter();
        let own: Vec<_> = mappings
            .filter(|mapping| said.scopes.contains(&mapping.scope))
            .collect();
        let models = own.iter().flat_map(|mapping| mapping.models.clone());
        restrictions.add("scope", models.collect());
        let routes: Vec<String> = own
            .iter()
            .flat_map(|mapping| mapping.routes.clone())
            .collect();
        restrictions.add_routes(&routes);
        if !routes.is_empty() && !asked.is_open(&routes) {
            return Err(Refusal::forbidden(format!(
                "The scopes of the token do not open route={}. Allowed routes={routes:?}",
                asked.path()
            )));
        }
        Ok(())
    }

    /// Teams that the database knows the user in, where the settings let these stand in: for no team in the token at all, or, where
    /// it is only one, for teams that there are not.
    async fn teams_of_database(
        &self,
        directory: &dyn Directory,
        said: &mut Said,
    ) -> Result<(), Problem> {
        let settings = &self.settings;
        let claims_one = said.team.is_some() || said.team_alias.is_some() || !said.teams.is_empty();
        let is_wanted = match claims_one {
            true => settings.team_claim_fallback && !said.is_object,
            false => settings.fallback_to_db_teams,
        };
        if !is_wanted || said.user.is_none() {
            return Ok(());
        }
        if claims_one {
            let mut tried = vec![Named {
                team: said.team.clone(),
                team_alias: said.team_alias.clone(),
                ..Named::default()
            }];
            tried.extend(said.teams.iter().map(|team| Named {
                team: Some(team.clone()),
                ..Named::default()
            }));
            for named in &tried {
                if directory.caller(named).await?.has_team {
                    return Ok(());
                }
            }
        }
        let user = Named {
            user: said.user.clone(),
            email: said.email.clone(),
            ..Named::default()
        };
        let caller = directory.caller(&user).await?;
        let count = caller.teams.len();
        if !caller.has_user || count == 0 || claims_one && count != 1 {
            return Ok(());
        }
        said.team = None;
        said.team_alias = None;
        said.teams.clone_from(&caller.teams);
        said.is_of_database = true;
        Ok(())
    }

    /// The team of the call: the one that the token is for, else the first of several that may make it.
    async fn choose_team(
        &self,
        directory: &dyn Directory,
        said: &Said,
        asked: &Asked<'_>,
        named: &mut Named,
    ) -> Result<(), Problem> {
        let settings = &self.settings;
        if said.is_object {
            named.team.clone_from(&said.team);
            return Ok(());
        }
        if let Some(wanted) = (asked.header)("x-litellm-team-id").filter(|id| !id.is_empty()) {
            if said.team.as_deref() != Some(wanted) && !said.teams.iter().any(|id| id == wanted) {
                let message = "x-litellm-team-id names a team that is not among those of the token";
                return Err(Refusal::forbidden(message).into());
            }
            named.team = Some(wanted.to_owned());
            return Ok(());
        }
        if said.team.is_some() || said.team_alias.is_some() {
            named.team.clone_from(&said.team);
            named.team_alias.clone_from(&said.team_alias);
            return Ok(());
        }
        let by_claim =
            settings.team_id_jwt_field.is_some() || settings.team_alias_jwt_field.is_some();
        if by_claim && !said.is_of_database {
            let of = |field: &Option<String>| field.clone().unwrap_or_else(|| "none".to_owned());
            let message = format!(
                "No team found in token. Checked team_id field '{}' and team_alias field '{}'.",
                of(&settings.team_id_jwt_field),
                of(&settings.team_alias_jwt_field)
            );
            return Err(Refusal::unauthorized(message).into());
        }
        if said.teams.is_empty() {
            return match settings.enforce_team_based_model_access {
                true => Err(Refusal::forbidden(
                    "No teams found in token. `enforce_team_based_model_access` is set to True. Token must belong to a team.",
                )
                .into()),
                false => Ok(()),
            };
        }
        // An administrator of the database, as the token will have it, is bound by no team's routes.
        let is_admin = |caller: &Caller| match &said.user_role {
            Some(role) if settings.sync_user_role_and_teams => role == Role::ProxyAdmin.as_str(),
            _ => caller.as_key.principal.is_admin(),
        };
        let (mut is_any_known, mut is_any_admin) = (false, false);
        let is_open = asked.is_open(&settings.team_allowed_routes);
        for team in &said.teams {
            let tried = Named {
                team: Some(team.clone()),
                ..named.clone()
            };
            let caller = directory.caller(&tried).await?;
            is_any_known |= caller.has_team;
            is_any_admin |= is_admin(&caller);
            let may = asked.model.is_empty() || (asked.may_use)(&caller.as_key.principal);
            if caller.has_team && (is_open || is_admin(&caller)) && may {
                named.team = tried.team;
                return Ok(());
            }
        }
        if asked.model.is_empty() && (!is_any_known || is_any_admin) {
            return Ok(());
        }
        if !is_open && !is_any_admin {
            return Err(self.no_team_route(asked, Refusal::forbidden).into());
        }
        let message = format!(
            "No team has access to the requested model: {}. Checked teams={:?}. Check `/models` to see all available models.",
            asked.model, said.teams
        );
        Err(Refusal::forbidden(message).into())
    }

    fn check_team_route(&self, asked: &Asked<'_>) -> Result<(), Refusal> {
        match asked.is_open(&self.settings.team_allowed_routes) {
            true => Ok(()),
            false => Err(self.no_team_route(asked, Refusal::unauthorized)),
        }
    }

    fn no_team_route(&self, asked: &Asked<'_>, refuse: impl Fn(String) -> Refusal) -> Refusal {
        refuse(format!(
            "Team not allowed to access this route. Route={}, Allowed Routes={:?}",
            asked.path(),
            self.settings.team_allowed_routes
        ))
    }

    pub(super) fn check_domain(&self, said: &Said) -> Result<(), Refusal> {
        let Some(allowed) = &self.settings.user_allowed_email_domain else {
            return Ok(());
        };
        let domain = said
            .email
            .as_deref()
            .and_then(|email| email.rsplit_once('@'));
        if domain.is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(allowed)) {
            return Ok(());
        }
        let message = format!("Email domain not allowed. Allowed domain: {allowed}");
        Err(Refusal::forbidden(message).param("user_email"))
    }

    /// What the database knows of them; who is not there is made, where the settings want that, or refused.
    async fn known(
        &self,
        directory: &dyn Directory,
        said: &Said,
        named: &mut Named,
    ) -> Result<Arc<Caller>, Problem> {
        let settings = &self.settings;
        let mut caller = directory.caller(named).await?;
        if !caller.has_team && (named.team.is_some() || named.team_alias.is_some()) {
            match &named.team {
                Some(id) if settings.team_id_upsert => directory.make_team(id).await?,
                id => {
                    let team = id.as_ref().or(named.team_alias.as_ref());
                    let message = format!(
                        "Team doesn't exist in db. Team={}. Create team via `/team/new` call.",
                        team.map_or("", String::as_str)
                    );
                    return Err(Refusal::of(404, "auth_error", message).into());
                }
            }
            caller = directory.caller(named).await?;
        }
        if let Some(id) = &named.user
            && !caller.has_user
        {
            if !settings.user_id_upsert && !said.has_allowed_role {
                let message = format!(
                    "User doesn't exist in db. 'user_id'={id}. Create user via `/user/new` call."
                );
                return Err(Refusal::unauthorized(message).into());
            }
            directory.make_user(id, said.email.as_deref()).await?;
            caller = directory.caller(named).await?;
        }
        let organization = named.organization.as_ref();
        if let Some(id) = organization.or(named.organization_alias.as_ref())
            && !caller.has_organization
        {
            let message = format!(
                "Organization doesn't exist in db. Organization={id}. Create organization via `/organization/new` call."
            );
            return Err(Refusal::unauthorized(message).into());
        }
        Ok(caller)
    }

    /// Role and teams as the token says them, where the settings want the database to follow it.
    async fn joined(
        &self,
        directory: &dyn Directory,
        said: &Said,
        named: &Named,
        caller: Arc<Caller>,
    ) -> Result<Arc<Caller>, Problem> {
        let settings = &self.settings;
        let principal = &caller.as_key.principal;
        let Some(user) = principal.user_id.as_deref().filter(|_| caller.has_user) else {
            return Ok(caller);
        };
        let mut changed = false;
        if settings.sync_user_role_and_teams {
            if let Some(role) = &said.user_role
                && caller.user_role.as_ref() != Some(role)
            {
                directory.set_role(user, role).await?;
                changed = true;
            }
            // That of the call, too, which the token may name by its alias.
            let own = said.team.iter().chain(&principal.team_id);
            let mut teams: Vec<&String> = said.teams.iter().chain(own).collect();
            teams.sort_unstable();
            teams.dedup();
            for team in teams.iter().filter(|id| !caller.teams.contains(id)) {
                let of_team = Named {
                    team: Some((*team).clone()),
                    ..Named::default()
                };
                if directory.caller(&of_team).await?.has_team {
                    directory.join(team, user).await?;
                    changed = true;
                }
            }
            let left = caller.teams.iter().filter(|id| !teams.contains(id));
            // With a place go its keys: a token that does not say where somebody is takes none.
            for team in left.filter(|_| said.lists_teams) {
                match directory.leave(team, user).await {
                    Ok(()) => changed = true,
                    // The token says what they may; a place in a team that is gone gives nothing.
                    Err(why) => tracing::warn!(team, user, "cannot leave a team: {}", why.0),
                }
            }
        }
        let joins = settings.upsert_sso_user_to_team || settings.team_id_upsert;
        if joins
            && let Some(team) = principal.team_id.as_deref()
            && caller.has_team
            && !caller.is_member
        {
            directory.join(team, user).await?;
            changed = true;
        }
        match changed {
            true => Ok(directory.caller(named).await?),
            false => Ok(caller),
        }
    }
}
