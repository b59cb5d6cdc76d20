//! Deletes teams.

use std::collections::HashSet;

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Row, Select, Write};

use super::{ALIASES, Hand, MEMBERSHIPS, TABLE, no_hand};
use crate::audit::Action;
use crate::fields::text;
use crate::operation::Outcome;
use crate::refusal::RACED;
use crate::{Ask, Changed, ControlPlane, Refusal, keys, users};

const DELETED: &str = "LiteLLM_DeletedTeamTable";

/// What deleting teams takes: the keys that go, and the other steps.
pub(crate) struct Deletion {
    pub keys: Vec<Row>,
    pub steps: Vec<Write>,
}

pub(super) async fn delete(plane: &ControlPlane, ask: Ask) -> Outcome {
    let ids = ask.texts("team_ids")?;
    if ids.is_empty() {
        return Err(Refusal::missing("team_ids"));
    }
    let mut teams: Vec<Row> = Vec::with_capacity(ids.len());
    for id in &ids {
        let team = plane.known_team(id).await?;
        match plane.hand_in(&ask, &team).await? {
            Some(Hand::Proxy | Hand::Organization) => {}
            _ => return Err(no_hand(&ask, id)),
        }
        if !teams
            .iter()
            .any(|known| known.get("team_id") == team.get("team_id"))
        {
            teams.push(team);
        }
    }
    let deletion = deletion(plane, &ask, &teams).await?;
    keys::remove(plane, &ask, deletion.keys, deletion.steps).await?;
    plane.changed(Changed::Shared);
    Ok(json!({ "deleted_teams": ids }))
}

/// How teams are deleted: taken off their users' lists, with memberships, keys and aliases; copies are kept apart.
pub(crate) async fn deletion(
    plane: &ControlPlane,
    ask: &Ask,
    teams: &[Row],
) -> Result<Deletion, Refusal> {
    let mut deletion = Deletion {
        keys: Vec::new(),
        steps: Vec::new(),
    };
    let mut users: Vec<Row> = Vec::new();
    let mut seen = HashSet::new();
    let ids: Vec<&str> = teams
        .iter()
        .filter_map(|team| text(team, "team_id"))
        .collect();
    for team in teams {
        let id = text(team, "team_id").unwrap_or_default();
        let keys = plane
            .store
            .rows(keys::TABLE, &Filter::by("team_id", id).into())
            .await?;
        deletion.keys.extend(keys);
        let listed: Select = Filter::of("teams", Is::Holds(id.to_owned())).into();
        for user in plane.store.rows(users::TABLE, &listed).await? {
            if seen.insert(text(&user, "user_id").map(str::to_owned)) {
                users.push(user);
            }
        }
        // As of now: a change in between fails the whole.
        deletion
            .steps
            .extend(plane.team_steps(ask, team, Row::new(), Action::Deleted));
        deletion
            .steps
            .push(Write::Delete(MEMBERSHIPS, Filter::by("team_id", id)));
        if plane.store.has_table(DELETED) {
            let mut copy = team.clone();
            copy.insert("deleted_by".to_owned(), ask.actor().into());
            copy.insert("litellm_changed_by".to_owned(), json!(ask.changed_by));
            if let Some(by) = &ask.caller.key_hash {
                copy.insert("deleted_by_api_key".to_owned(), by.as_str().into());
            }
            deletion.steps.push(Write::Insert(DELETED, copy));
        }
        deletion
            .steps
            .push(Write::Remove(TABLE, Filter::by("team_id", id), RACED));
        if let Some(aliases) = team.get("model_id").and_then(Value::as_i64) {
            deletion
                .steps
                .push(Write::Delete(ALIASES, Filter::by("id", aliases)));
        }
    }
    // Users before teams, as everywhere: PostgreSQL's locks are taken in one order.
    let left = users.iter().flat_map(|user| users::leaves(ask, user, &ids));
    deletion.steps = left.chain(deletion.steps).collect();
    Ok(deletion)
}
