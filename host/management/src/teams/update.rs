//! Changes and blocks teams.

use serde_json::{Value, json};
use witgate_store::{Row, Write};

use super::body::{check_permissions, member_limits, read_body, shown};
use super::new::{self, ABOVE_ORGANIZATIONS, within_team};
use super::{FIELDS, Hand};
use crate::audit::Action;
use crate::fields::{Given, Shape, member, text, texts};
use crate::linked::{self, change_budget, with_linked};
use crate::operation::Outcome;
use crate::{Ask, ControlPlane, Refusal, bounds};

/// What a team's own admin may change: nothing that opens more than the team has.
const OWN: [&str; 16] = [
    "team_id",
    "team_alias",
    "models",
    "max_budget",
    "soft_budget",
    "tpm_limit",
    "tpd_limit",
    "rpm_limit",
    "max_parallel_requests",
    "metadata",
    "team_member_permissions",
    "team_member_budget",
    "team_member_budget_duration",
    "team_member_rpm_limit",
    "team_member_tpm_limit",
    "prompts",
];

/// Members of the metadata that a team's own admin leaves as they are.
const ABOVE_TEAMS: [&str; 12] = [
    "allowed_passthrough_routes",
    "denied_passthrough_routes",
    "team_member_budget_id",
    "logging",
    "callback_settings",
    "guardrails",
    "disable_global_guardrails",
    "model_rpm_limit",
    "model_tpm_limit",
    "tags",
    "priority",
    "enforced_params",
];

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut given = read_body(&ask.body, &[FIELDS])?;
    let (team, hand) = plane
        .team_in_hand(&ask, ask.required_text("team_id")?)
        .await?;
    bound(plane, hand, &given, &team).await?;
    let settings = plane.settings.load_full();
    let mut steps = Vec::new();
    new::alias_alone(plane, &ask, &given, text(&team, "team_id")).await?;
    crate::access_groups::there(&given, &mut steps);
    linked::object_permission(&mut given, text(&team, "object_permission_id"), &mut steps)?;
    linked::reset_at(&settings, &ask, &mut given.columns);
    given.members.remove("team_id");
    let limits = member_limits(&mut given);
    let aliases = given.members.remove("model_aliases");
    let mut set = given.changes(&team);
    for (name, empty) in [
        ("team_member_permissions", json!([])),
        ("model_max_budget", json!({})),
        ("blocked", json!(false)),
        ("access_group_ids", json!([])),
    ] {
        if let Some(value) = set.get_mut(name)
            && value.is_null()
        {
            *value = empty;
        }
    }
    let kept: &[&'static str] = match hand {
        // Its link to the budget of its members is not lost with the rest of the metadata.
        Hand::Proxy => &[],
        Hand::Organization => &ABOVE_ORGANIZATIONS,
        Hand::Team => &ABOVE_TEAMS,
    };
    bounds::keep_metadata(&mut set, &team, kept)?;
    member_budget(plane, &ask, &team, limits, &mut set, &mut steps)?;
    let model_id = aliases_changed(plane, &ask, &team, aliases, &mut set, &mut steps).await?;
    let saved = plane
        .save_team(&ask, &team, steps, set, Action::Updated)
        .await;
    if saved.is_err() {
        new::drop_alias_row(plane, &ask, model_id).await;
    }
    let mut row = with_linked(plane, shown(&ask, saved?)).await?;
    row.remove("litellm_budget_table");
    let row = new::with_aliases(plane, row).await?;
    Ok(json!({"team_id": row.get("team_id"), "data": row}))
}

async fn bound(plane: &ControlPlane, hand: Hand, given: &Given, team: &Row) -> Result<(), Refusal> {
    let moves = given
        .columns
        .get("organization_id")
        .filter(|new| Some(*new) != team.get("organization_id"));
    let organization = match (moves, text(team, "organization_id")) {
        (Some(Value::String(id)), _) => Some(plane.organization_of_body(id).await?),
        (Some(_), _) | (None, None) => None,
        (None, Some(id)) => plane.organization(id).await?,
    };
    if let Some((organization, budget)) = &organization {
        match moves {
            // All of the team moves in, not only what the body says.
            Some(_) => {
                let mut whole = team.clone();
                whole.extend(given.columns.clone());
                new::within(&whole, organization, budget)?;
            }
            None => new::within(&given.columns, organization, budget)?,
        }
    }
    let foreign = |given: &Given| {
        let said = given
            .columns
            .keys()
            .chain(given.metadata.keys())
            .chain(given.members.keys());
        said.map(String::as_str)
            .find(|name| !OWN.contains(name))
            .map(str::to_owned)
    };
    match hand {
        Hand::Proxy => Ok(()),
        Hand::Organization => {
            if moves.is_some() {
                let text = "Only a proxy admin moves a team to another organization";
                return Err(Refusal::forbidden(text).param("organization_id"));
            }
            for name in [
                "allowed_passthrough_routes",
                "denied_passthrough_routes",
                "blocked",
                "access_group_ids",
            ] {
                if given.metadata.contains_key(name) || given.says(name) {
                    let message = format!("Only a proxy admin sets {name} of a team");
                    return Err(Refusal::forbidden(message).param(name));
                }
            }
            let limits = organization
                .and_then(|(_, budget)| budget)
                .unwrap_or_default();
            taken_away(&given.columns, &limits)
        }
        Hand::Team => {
            if let Some(name) = foreign(given) {
                let message = format!("Only an administrator changes {name} of a team");
                return Err(Refusal::forbidden(message).param(&name));
            }
            bounds::only_lower(&given.columns, team)?;
            bounds::only_fewer_models(&given.columns, team)
        }
    }
}

/// An organization's admin takes no limit of a team away that the organization has: the team would have more than that.
fn taken_away(given: &Row, organization: &Row) -> Result<(), Refusal> {
    let gone = given.iter().find(|(name, value)| {
        value.is_null() && organization.get(*name).is_some_and(Value::is_number)
    });
    match gone {
        None => Ok(()),
        Some((name, _)) => {
            let message =
                format!("{name} of a team is at most the organization's; it cannot be taken away");
            Err(Refusal::bad(message).param(name))
        }
    }
}

/// The budget row of the team's members: changed, or made.
fn member_budget(
    plane: &ControlPlane,
    ask: &Ask,
    team: &Row,
    limits: Row,
    set: &mut Row,
    steps: &mut Vec<Write>,
) -> Result<(), Refusal> {
    let now = super::member_budget(team);
    // Unless the body names another, the link stays when the metadata is replaced.
    if let (Some(now), Some(Value::Object(metadata))) = (now, set.get_mut("metadata")) {
        let link = metadata.entry("team_member_budget_id");
        link.or_insert_with(|| now.into());
    }
    if limits.is_empty() {
        return Ok(());
    }
    let mut after = team.clone();
    after.extend(set.clone());
    within_team(&limits, &after)?;
    if let Some(now) = now {
        steps.push(change_budget(&plane.settings.load(), ask, now, limits));
        return Ok(());
    }
    if limits.values().all(Value::is_null) {
        return Ok(());
    }
    let (id, step) = new::new_member_budget(plane, ask, &after, limits)?;
    steps.push(step);
    let old = team.get("metadata").cloned().unwrap_or_default();
    let metadata = set.entry("metadata").or_insert(old);
    if !metadata.is_object() {
        *metadata = json!({});
    }
    if let Value::Object(metadata) = metadata {
        metadata.insert("team_member_budget_id".to_owned(), id.into());
    }
    Ok(())
}

/// Model aliases: the row that is there changes, or one is made, whose number is told.
async fn aliases_changed(
    plane: &ControlPlane,
    ask: &Ask,
    team: &Row,
    aliases: Option<Value>,
    set: &mut Row,
    steps: &mut Vec<Write>,
) -> Result<Option<i64>, Refusal> {
    let Some(aliases) = aliases else {
        return Ok(None);
    };
    let aliases = if aliases.is_null() {
        json!({})
    } else {
        aliases
    };
    if let Some(id) = team.get("model_id").and_then(Value::as_i64) {
        let change = json!({"aliases": aliases, "updated_by": ask.actor(), "updated_at": ask.now});
        steps.push(Write::Update {
            table: super::ALIASES,
            filter: witgate_store::Filter::by("id", id),
            set: change.as_object().cloned().unwrap_or_default(),
            add: Vec::new(),
        });
        return Ok(None);
    }
    let id = new::alias_row(plane, ask, aliases).await?;
    set.insert("model_id".to_owned(), id.into());
    Ok(Some(id))
}

pub(super) async fn block(plane: &ControlPlane, ask: Ask, blocked: bool) -> Outcome {
    let team = plane.known_team(ask.required_text("team_id")?).await?;
    let set = json!({ "blocked": blocked });
    let set = set.as_object().cloned().unwrap_or_default();
    let row = plane
        .save_team(&ask, &team, Vec::new(), set, Action::Blocked)
        .await?;
    Ok(Value::Object(row))
}

pub(super) async fn models(plane: &ControlPlane, ask: Ask, adds: bool) -> Outcome {
    let fields = [member("models", Shape::Texts)];
    Given::read(&[&fields], &ask.body)?;
    let asked = ask.texts("models")?;
    if asked.is_empty() {
        return Err(Refusal::missing("models"));
    }
    let (team, hand) = plane
        .team_in_hand(&ask, ask.required_text("team_id")?)
        .await?;
    let mut models: Vec<&str> = texts(&team, "models");
    if adds {
        bound_models(plane, hand, &asked, &team).await?;
        for model in &asked {
            if !models.contains(&model.as_str()) {
                models.push(model);
            }
        }
    } else {
        let before = models.len();
        models.retain(|model| !asked.iter().any(|asked| asked == model));
        if models.is_empty() && before > 0 {
            let message = "A team without a list has all models: use no-default-models for none";
            return Err(Refusal::bad(message).param("models"));
        }
    }
    let set = json!({ "models": models });
    let set = set.as_object().cloned().unwrap_or_default();
    let row = plane
        .save_team(&ask, &team, Vec::new(), set, Action::Updated)
        .await?;
    Ok(Value::Object(shown(&ask, row)))
}

/// What is added is within the organization; a team's own admin adds within an organization's list only.
async fn bound_models(
    plane: &ControlPlane,
    hand: Hand,
    asked: &[String],
    team: &Row,
) -> Result<(), Refusal> {
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    let organization = match text(team, "organization_id") {
        Some(id) => plane.organization(id).await?,
        None => None,
    };
    let list = organization
        .as_ref()
        .map(|(row, _)| texts(row, "models"))
        .unwrap_or_default();
    if hand == Hand::Team && list.is_empty() && !texts(team, "models").is_empty() {
        let text = "Only an administrator gives a team models that it has not";
        return Err(Refusal::forbidden(text).param("models"));
    }
    bounds::models(&asked, &list, "organization")
}

pub(super) async fn permissions(plane: &ControlPlane, ask: Ask) -> Outcome {
    let asked = ask.texts("team_member_permissions")?;
    let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    check_permissions(&asked)?;
    let (team, _) = plane
        .team_in_hand(&ask, ask.required_text("team_id")?)
        .await?;
    let set = json!({ "team_member_permissions": asked });
    let set = set.as_object().cloned().unwrap_or_default();
    let row = plane
        .save_team(&ask, &team, Vec::new(), set, Action::Updated)
        .await?;
    Ok(Value::Object(shown(&ask, row)))
}
