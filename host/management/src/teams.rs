//! Teams: `/team/new`, `/team/info` and their sisters.
//!
//! Who is in a team stands in four places that LiteLLM's programs read: `members_with_roles` and the older `admins` and
//! `members` of the team, `teams` of the user, and a row of `LiteLLM_TeamMembership`. One transaction changes them all, and
//! only when nobody else changed the team since it was read.

mod body;
mod callback;
mod delete;
mod members;
mod new;
mod people;
mod read;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

use jiff::{Span, Timestamp};
use serde_json::json;
use witgate_identity::Principal;
use witgate_store::{Filter, Is, Row, Write};

use crate::audit::Action;
use crate::fields::{Field, Shape, column, member, metadata, moment, text};
use crate::operation::{Operation, Who};
use crate::refusal::RACED;
use crate::rights::{TeamRole, role_in};
use crate::{Ask, Changed, ControlPlane, Refusal};

pub(crate) use delete::deletion;
pub(crate) use people::{Member, Named, leave, member_budget, resolve, seat};

pub(crate) const TABLE: &str = "LiteLLM_TeamTable";
pub(crate) const MEMBERSHIPS: &str = "LiteLLM_TeamMembership";
const ALIASES: &str = "LiteLLM_ModelTable";

/// What a team may be given.
pub(crate) const FIELDS: &[Field] = &[
    column("team_alias", Shape::Text),
    column("organization_id", Shape::Text),
    column("models", Shape::Texts),
    column("access_group_ids", Shape::Texts),
    column("max_budget", Shape::Number),
    column("soft_budget", Shape::Number),
    column("budget_duration", Shape::Duration),
    column("tpm_limit", Shape::Whole),
    column("tpd_limit", Shape::Whole),
    column("rpm_limit", Shape::Whole),
    column("max_parallel_requests", Shape::Whole),
    column("model_max_budget", Shape::Object),
    column("budget_limits", Shape::Objects),
    column("metadata", Shape::Object),
    column("blocked", Shape::Flag),
    column("team_member_permissions", Shape::Texts),
    metadata("model_rpm_limit", Shape::Object),
    metadata("model_tpm_limit", Shape::Object),
    metadata("tags", Shape::Texts),
    metadata("guardrails", Shape::Texts),
    metadata("prompts", Shape::Texts),
    metadata("allowed_passthrough_routes", Shape::Texts),
    metadata("denied_passthrough_routes", Shape::Texts),
    metadata("team_member_key_duration", Shape::Duration),
    member("team_id", Shape::Text),
    member("model_aliases", Shape::Object),
    member("object_permission", Shape::Object),
    member("team_member_budget", Shape::Number),
    member("team_member_budget_duration", Shape::Duration),
    member("team_member_rpm_limit", Shape::Whole),
    member("team_member_tpm_limit", Shape::Whole),
];

/// Who is in a new team.
const PEOPLE: &[Field] = &[
    member("members_with_roles", Shape::Objects),
    member("admins", Shape::Texts),
    member("members", Shape::Texts),
];

const NAMED: &[Field] = &[member("team_id", Shape::Text)];
const TEAMS: &[Field] = &[member("team_ids", Shape::Texts)];
const MODELS: &[Field] = &[
    member("team_id", Shape::Text),
    member("models", Shape::Texts),
];
const PERMISSIONS: &[Field] = &[
    member("team_id", Shape::Text),
    member("team_member_permissions", Shape::Texts),
];
const CALLBACK: &[Field] = &[
    member("callback_name", Shape::Text),
    member("callback_type", Shape::Text),
    member("callback_vars", Shape::Object),
];

/// Members of a team that LiteLLM has and this release does not act on: a limit that does not limit would be worse than
/// none.
const NOT_YET: [&str; 4] = [
    "router_settings",
    "policies",
    "default_team_member_models",
    "allowed_models",
];

/// What members may be permitted to do with their team's keys.
const PERMITTED: [&str; 11] = [
    "/key/generate",
    "/key/update",
    "/key/delete",
    "/key/info",
    "/key/regenerate",
    "/key/{key_id}/regenerate",
    "/key/service-account/generate",
    "/key/list",
    "/key/block",
    "/key/unblock",
    "/key/health",
];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/team/new"],
        who: Who::Member,
        what: "Makes a team.",
        body: &[FIELDS, PEOPLE],
        query: &[],
        run: |plane, ask| Box::pin(new::new(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/update"],
        who: Who::Member,
        what: "Changes a team; what is not said stays, null takes a limit away.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update::update(plane, ask)),
    },
    Operation {
        method: "PATCH",
        paths: &["/team/{team_id}"],
        who: Who::Member,
        what: "Changes a team; what is not said stays, null takes a limit away.",
        body: &[FIELDS],
        query: &[],
        run: |plane, mut ask| {
            let named = ask.named.take().unwrap_or_default();
            ask.body.insert("team_id".to_owned(), named.into());
            Box::pin(update::update(plane, ask))
        },
    },
    Operation {
        method: "POST",
        paths: &["/team/delete"],
        who: Who::Member,
        what: "Deletes teams and their keys.",
        body: &[TEAMS],
        query: &[],
        run: |plane, ask| Box::pin(delete::delete(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/block"],
        who: Who::Admin,
        what: "Blocks a team: its keys are refused.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(update::block(plane, ask, true)),
    },
    Operation {
        method: "POST",
        paths: &["/team/unblock"],
        who: Who::Admin,
        what: "Lets a blocked team in again.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(update::block(plane, ask, false)),
    },
    Operation {
        method: "GET",
        paths: &["/team/info"],
        who: Who::Anyone,
        what: "Tells of a team, its keys and memberships; to a member of their own only.",
        body: &[],
        query: &["team_id"],
        run: |plane, ask| Box::pin(read::info(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/team/{team_id}/members/me"],
        who: Who::Anyone,
        what: "Tells the caller's own role, spend and budget in a team.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(read::own_place(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/team/list"],
        who: Who::Anyone,
        what: "Lists teams with their keys and memberships.",
        body: &[],
        query: &["user_id", "organization_id"],
        run: |plane, ask| Box::pin(read::list(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/v2/team/list"],
        who: Who::Anyone,
        what: "Lists teams page by page.",
        body: &[],
        query: &[
            "user_id",
            "organization_id",
            "team_id",
            "team_alias",
            "page",
            "page_size",
            "sort_by",
            "sort_order",
        ],
        run: |plane, ask| Box::pin(read::pages(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/team/filter/ui"],
        who: Who::Viewer,
        what: "Finds teams by parts of their id or alias, page by page.",
        body: &[],
        query: &["team_id", "team_alias", "page", "page_size"],
        run: |plane, ask| Box::pin(read::filter(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/team/available"],
        who: Who::Anyone,
        what: "Lists the teams that users may join by themselves.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(read::available(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/member_add"],
        who: Who::Member,
        what: "Adds members to a team; users that do not exist are made.",
        body: &[members::ADD],
        query: &[],
        run: |plane, ask| Box::pin(members::add(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/bulk_member_add"],
        who: Who::Member,
        what: "Adds many members to a team, or all users.",
        body: &[members::BULK],
        query: &[],
        run: |plane, ask| Box::pin(members::bulk_add(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/member_delete"],
        who: Who::Member,
        what: "Removes a member from a team, with their keys of it.",
        body: &[members::NAMED],
        query: &[],
        run: |plane, ask| Box::pin(members::delete(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/member_update"],
        who: Who::Member,
        what: "Changes a member's role, budget and limits in a team.",
        body: &[members::UPDATE],
        query: &[],
        run: |plane, ask| Box::pin(members::update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/model/add"],
        who: Who::Member,
        what: "Adds models to a team's list.",
        body: &[MODELS],
        query: &[],
        run: |plane, ask| Box::pin(update::models(plane, ask, true)),
    },
    Operation {
        method: "POST",
        paths: &["/team/model/delete"],
        who: Who::Member,
        what: "Takes models off a team's list.",
        body: &[MODELS],
        query: &[],
        run: |plane, ask| Box::pin(update::models(plane, ask, false)),
    },
    Operation {
        method: "GET",
        paths: &["/team/permissions_list"],
        who: Who::Anyone,
        what: "Tells what members may do with a team's keys.",
        body: &[],
        query: &["team_id"],
        run: |plane, ask| Box::pin(read::permissions(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/permissions_update"],
        who: Who::Member,
        what: "Sets what members may do with a team's keys.",
        body: &[PERMISSIONS],
        query: &[],
        run: |plane, ask| Box::pin(update::permissions(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/{team_id}/callback"],
        who: Who::Admin,
        what: "Adds a log sink of a team's own.",
        body: &[CALLBACK],
        query: &[],
        run: |plane, ask| Box::pin(callback::add(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/team/{team_id}/callback"],
        who: Who::Admin,
        what: "Tells the log sinks of a team's own.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(callback::get(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/{team_id}/disable_logging"],
        who: Who::Admin,
        what: "Takes a team's own log sinks away.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(callback::disable(plane, ask)),
    },
];

/// How the caller has a hand in a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// Proxy admin.
    Proxy,
    /// Admin of its organization.
    Organization,
    /// Admin of the team itself.
    Team,
}

impl ControlPlane {
    /// A team that must be there.
    pub(crate) async fn known_team(&self, id: &str) -> Result<Row, Refusal> {
        let found = self.team(id).await?;
        found.ok_or_else(|| Refusal::detail(404, format!("Team not found, passed team_id={id}")))
    }

    /// The team, and by what right the caller changes it.
    pub(super) async fn team_in_hand(&self, ask: &Ask, id: &str) -> Result<(Row, Hand), Refusal> {
        let team = self.known_team(id).await?;
        let hand = match self.hand_in(ask, &team).await? {
            Some(hand) => hand,
            None => return Err(no_hand(ask, id)),
        };
        Ok((team, hand))
    }

    pub(super) async fn hand_in(&self, ask: &Ask, team: &Row) -> Result<Option<Hand>, Refusal> {
        if ask.is_admin() {
            return Ok(Some(Hand::Proxy));
        }
        if let Some(organization) = text(team, "organization_id")
            && self.administers_org(ask, organization).await?
        {
            return Ok(Some(Hand::Organization));
        }
        let own = ask.user().and_then(|user| role_in(team, user));
        Ok((own == Some(TeamRole::Admin)).then_some(Hand::Team))
    }

    /// Whether the caller sees all of a team; a member, and who has a key of it, sees what is their own. Anybody else is refused.
    async fn looks_into(&self, ask: &Ask, team: &Row, id: &str) -> Result<bool, Refusal> {
        if ask.sees_all() || self.hand_in(ask, team).await?.is_some() {
            return Ok(true);
        }
        let user = ask.user().filter(|user| role_in(team, user).is_some());
        let own_key = ask.caller.team_id.as_deref() == Some(id);
        if user.is_none() && !own_key {
            let message = format!("User not allowed to access this team, team_id={id}");
            return Err(Refusal::detail(403, message));
        }
        Ok(false)
    }

    /// The team as a caller of its own, for somebody who may look into it: what a key of the team could use at most.
    ///
    /// # Errors
    /// 404 when there is no such team, 403 when it is none of the caller's; when the database does not tell.
    pub async fn as_team(
        &self,
        caller: &Principal,
        id: &str,
        now: Timestamp,
    ) -> Result<Principal, Refusal> {
        let ask = Ask {
            caller: Arc::new(caller.clone()),
            ..Ask::of_gateway("/models", now, "")
        };
        let team = self.known_team(id).await?;
        self.looks_into(&ask, &team, id).await?;
        let named = witgate_identity::Named {
            team: Some(id.to_owned()),
            ..Default::default()
        };
        let found = self.caller(&named, now).await?;
        Ok((*found.as_key.principal).clone())
    }

    /// Writes a change of a team and what goes with it; the team as it is then.
    pub(super) async fn save_team(
        &self,
        ask: &Ask,
        team: &Row,
        mut steps: Vec<Write>,
        set: Row,
        action: Action,
    ) -> Result<Row, Refusal> {
        steps.extend(self.team_steps(ask, team, set, action));
        self.store.write(steps, ask.now).await?;
        self.changed(Changed::Shared);
        self.known_team(text(team, "team_id").unwrap_or_default())
            .await
    }

    /// The steps that change a team, unless somebody else did since it was read.
    pub(crate) fn team_steps(
        &self,
        ask: &Ask,
        team: &Row,
        mut set: Row,
        action: Action,
    ) -> Vec<Write> {
        let id = text(team, "team_id").unwrap_or_default();
        let named = Filter::by("team_id", id);
        let was = text(team, "updated_at");
        let mut steps = Vec::new();
        if let Some(was) = was {
            let other = named.clone().and("updated_at", Is::Not(was.into()));
            steps.push(Write::Absent(TABLE, other, RACED));
        }
        set.insert("updated_at".to_owned(), json!(later(was, ask.now)));
        steps.extend(self.note(ask, action, TABLE, id, Some(team), Some(&set)));
        steps.push(Write::Update {
            table: TABLE,
            filter: named,
            set,
            add: Vec::new(),
        });
        steps
    }
}

/// Now, and in any case later than a row's last change: that is how a change in between is seen.
pub(crate) fn later(was: Option<&str>, now: Timestamp) -> Timestamp {
    let was = was.and_then(moment);
    let next = was.and_then(|was| was.checked_add(Span::new().milliseconds(1)).ok());
    next.map_or(now, |next| next.max(now))
}

fn no_hand(ask: &Ask, team: &str) -> Refusal {
    let message = format!(
        "Call not allowed. User not proxy admin OR team admin. route={}, team_id={team}",
        ask.route
    );
    Refusal::detail(403, message)
}
