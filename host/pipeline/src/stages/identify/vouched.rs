//! Callers whom somebody else vouches for: identity providers, a proxy in front, and custom authentication under
//! `custom_auth_run_common_checks`.

use std::sync::Arc;

use witgate_federation::{Asked, Federation, Problem};
use witgate_identity::{
    Budget, Credential, ModelList, Named, Principal, Role, Scope, ScopeKind, allows_route,
};
use witgate_routing::Snapshot as Routing;

use super::{AuthInput, refuse};
use crate::access::{MayUse, may_use};
use crate::failure::{Case, Failure};
use crate::snapshot::Access;

/// Routes on which a bearer is shown to an OAuth2 server.
const OF_INTROSPECTION: [&str; 2] = ["llm_api_routes", "info_routes"];

/// Whom somebody vouches for; `None` when nobody has a say in it.
pub(super) async fn find(
    federation: &Federation,
    routing: &Routing,
    input: &AuthInput<'_>,
    names: &[&str],
    credential: &Credential,
) -> Result<Option<Arc<Principal>>, Failure> {
    let entries = OF_INTROSPECTION.map(str::to_owned);
    let asked = Asked {
        bearer: match credential {
            Credential::Key(key) => Some(key.as_str()),
            Credential::Missing | Credential::Malformed => None,
        },
        header: &|name| input.headers.get(name).and_then(|v| v.to_str().ok()),
        is_llm_or_info: names.iter().any(|name| allows_route(&entries, name)),
        names,
        socket: input.socket,
        now_ms: u64::try_from(input.now.as_millisecond()).unwrap_or_default(),
        model: input.model,
        may_use: &|who| {
            let model = who.alias(input.model).unwrap_or(input.model);
            may_use(routing, who, model) != MayUse::No
        },
    };
    federation.identify(&asked).await.map_err(failure)
}

fn failure(problem: Problem) -> Failure {
    match problem {
        Problem::Refused(refusal) => {
            let status = refusal.status;
            let mut failure = Failure::new(Case::Denied { status }, refusal.message);
            failure.kind = Some(refusal.kind.to_owned());
            failure.param = refusal.param.map(str::to_owned);
            failure.operator_note = refusal.note;
            failure
        }
        Problem::Database(fault) => {
            let text = "the caller cannot be looked up: the database does not answer.";
            refuse(Case::KeysUnavailable, text).note(fault.0)
        }
    }
}

/// A caller of custom authentication, with what the database has of the team, user and organization that it named: their
/// models, limits and budgets hold beside its own.
pub(super) async fn checked(
    access: &Access,
    principal: Arc<Principal>,
) -> Result<Arc<Principal>, Failure> {
    let Some(keys) = &access.keys else {
        return Ok(principal);
    };
    let named = Named {
        user: principal.user_id.clone(),
        team: principal.team_id.clone(),
        organization: principal.org_id.clone(),
        ..Named::default()
    };
    let found = keys.caller(&named).await.map_err(|fault| {
        let text = "the caller cannot be looked up: the database does not answer.";
        refuse(Case::KeysUnavailable, text).note(fault.text)
    })?;
    let Some(found) = found else {
        return Ok(principal);
    };
    if found.as_key.team_blocked {
        let team = principal.team_id.as_deref().unwrap_or_default();
        let text = format!("Team={team} is blocked. Update via `/team/unblock` if your admin.");
        return Err(refuse(Case::KeyBlocked, &text));
    }
    if found.as_key.blocked {
        return Err(refuse(Case::KeyBlocked, DEACTIVATED));
    }
    let known = &found.as_key.principal;
    let mut principal = (*principal).clone();
    for scope in &known.scopes {
        // What the authenticator itself said of one goes before the row.
        let own = |other: &&Scope| other.kind == scope.kind && other.id == scope.id;
        if principal.scopes.iter().find(own).is_none() {
            principal.scopes.push(scope.clone());
        }
    }
    let lists: Vec<ModelList> = known.model_lists.clone();
    principal.model_lists.extend(lists);
    Ok(Arc::new(principal))
}

/// A session's user as the users' table has them now: one who was deleted or deactivated since they signed in is refused, and role
/// and models are the row's. With a budget for sessions it may call models: what the session and the user may spend bounds that.
/// While the database does not answer the session is good for what it says itself, and calls none.
pub(super) async fn active(access: &Access, mut who: Principal) -> Result<Arc<Principal>, Failure> {
    let named = Named {
        user: who.user_id.clone(),
        ..Named::default()
    };
    let Some(keys) = &access.keys else {
        return Ok(Arc::new(who));
    };
    let Ok(Some(found)) = keys.caller(&named).await else {
        return Ok(Arc::new(who));
    };
    if found.as_key.blocked {
        return Err(refuse(Case::KeyBlocked, DEACTIVATED));
    }
    if !found.has_user {
        return Err(refuse(Case::AuthenticationFailed, DELETED));
    }
    let role = found.user_role.as_deref().and_then(Role::parse);
    // As for whoever signs in without one.
    who.role = role.or(Some(Role::InternalUserViewer));
    let lists = &found.as_key.principal.model_lists;
    let own = lists.iter().find(|list| list.owner == "user");
    who.models = own.map(|list| list.models.clone()).unwrap_or_default();
    if let (Some(max), Some(hash)) = (access.session_budget, &who.key_hash) {
        let mut own = Scope::new(ScopeKind::Key, hash.as_str());
        own.budget = Some(Budget {
            max: Some(max),
            soft: None,
            duration: None,
            resets_at: None,
        });
        let known = &found.as_key.principal;
        who.scopes = std::iter::once(own)
            .chain(known.scopes.iter().cloned())
            .collect();
        who.model_lists.extend(known.model_lists.iter().cloned());
    }
    Ok(Arc::new(who))
}

/// SCIM's `active: false`.
const DEACTIVATED: &str = "the user was deactivated.";

const DELETED: &str = "the user was deleted.";
