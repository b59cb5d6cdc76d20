//! `/key/spend/report` and its sisters: what one key, user, team or organization spent, key by key and model by model.

use super::report::by_key;
use super::{Days, EVERY_CALL};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

/// A report over one scope: its path, the parameter that names it, and what it is.
const fn scope(
    paths: &'static [&'static str],
    what: &'static str,
    query: &'static [&'static str],
    run: Run,
) -> Operation {
    Operation {
        method: "GET",
        paths,
        who: Who::Anyone,
        what,
        body: &[],
        query,
        run,
    }
}

type Run = for<'a> fn(&'a ControlPlane, Ask) -> crate::operation::Running<'a>;

pub(super) const OPERATIONS: &[Operation] = &[
    scope(
        &["/key/spend/report"],
        "Tells what a key spent; without a parameter the caller's own.",
        &["start_date", "end_date", "api_key"],
        |plane, ask| Box::pin(of_key(plane, ask)),
    ),
    scope(
        &["/user/spend/report"],
        "Tells what a user spent; without a parameter the caller.",
        &["start_date", "end_date", "internal_user_id"],
        |plane, ask| Box::pin(of_user(plane, ask)),
    ),
    scope(
        &["/team/spend/report"],
        "Tells what a team spent, to those who administer it; without a parameter the caller's own.",
        &["start_date", "end_date", "team_id"],
        |plane, ask| Box::pin(of_team(plane, ask)),
    ),
    scope(
        &["/organization/spend/report"],
        "Tells what an organization spent, to those who administer it; without a parameter the caller's own.",
        &["start_date", "end_date", "organization_id"],
        |plane, ask| Box::pin(of_organization(plane, ask)),
    ),
];

fn none_named(parameter: &str) -> Refusal {
    let text = format!("the caller has none of its own: say whose with {parameter}");
    Refusal::detail(400, text)
}

async fn of_key(plane: &ControlPlane, ask: Ask) -> Outcome {
    let days = Days::required(&ask)?.daily();
    let own = ask
        .caller
        .key_hash
        .as_ref()
        .map(|hash| hash.as_str().to_owned());
    let asked = ask.param("api_key").map(crate::keys::hash);
    let hash = match (asked, own) {
        (Some(asked), own) if own.as_ref() == Some(&asked) => asked,
        // Also of a key that is deleted, to those who see everything.
        (Some(asked), _) if ask.sees_all() => asked,
        (Some(asked), _) => {
            plane.own_key(&ask, &asked).await?;
            asked
        }
        (None, Some(own)) => own,
        (None, None) => return Err(none_named("api_key")),
    };
    by_key(plane, EVERY_CALL, days.and_if("api_key", Some(hash))).await
}

async fn of_user(plane: &ControlPlane, ask: Ask) -> Outcome {
    let days = Days::required(&ask)?.daily();
    let user = match (ask.param("internal_user_id"), ask.user()) {
        (Some(asked), own) if ask.sees_all() || own == Some(asked) => asked,
        (Some(_), _) => {
            let text = "You may see your own spend only";
            return Err(Refusal::forbidden(text).param("internal_user_id"));
        }
        (None, Some(own)) => own,
        (None, None) => return Err(none_named("internal_user_id")),
    };
    by_key(plane, EVERY_CALL, days.and_if("user_id", Some(user))).await
}

async fn of_team(plane: &ControlPlane, ask: Ask) -> Outcome {
    let days = Days::required(&ask)?.daily();
    let own = ask.caller.team_id.as_deref();
    let team = ask.param("team_id").or(own);
    let team = team.ok_or_else(|| none_named("team_id"))?;
    if !ask.sees_all() {
        let row = plane.team(team).await?;
        let sees = match &row {
            Some(row) => plane.administers(&ask, row).await?,
            None => false,
        };
        if !sees {
            let text = "You do not have access to this team";
            return Err(Refusal::Detail(403, text.into()));
        }
    }
    let filter = days.and_if("team_id", Some(team));
    by_key(plane, "LiteLLM_DailyTeamSpend", filter).await
}

async fn of_organization(plane: &ControlPlane, ask: Ask) -> Outcome {
    let days = Days::required(&ask)?.daily();
    let own = ask.caller.org_id.as_deref();
    let organization = ask.param("organization_id").or(own);
    let organization = organization.ok_or_else(|| none_named("organization_id"))?;
    if !ask.sees_all() && !plane.administers_org(&ask, organization).await? {
        let text = "You do not have access to this organization";
        return Err(Refusal::Detail(403, text.into()));
    }
    let filter = days.and_if("organization_id", Some(organization));
    by_key(plane, "LiteLLM_DailyOrganizationSpend", filter).await
}
