//! Deployments of teams, and what the admin of a team may do with them.
//!
//! Who administers a team must not reach through it what is the gateway's: its keys and environment, others' credentials,
//! plugins, files, or machines that only the gateway can reach. So a deployment by a team's admin has a key of its own, says
//! only what is in the list below, and is marked: it is served without the environment's keys, and goes to public addresses
//! only. Whoever wires it looks at the mark.

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Select, Write};

use crate::audit::Action;
use crate::fields::{text, texts};
use crate::stored::{BY_TEAM_ADMIN, MODELS as TABLE, object, refers};
use crate::{Ask, ControlPlane, Refusal};

/// Parameters that an admin of a team sets.
const PARAMS: [&str; 26] = [
    "model",
    "custom_llm_provider",
    "api_key",
    "api_base",
    "api_version",
    "organization",
    "timeout",
    "stream_timeout",
    "max_retries",
    "num_retries",
    "rpm",
    "tpm",
    "rpd",
    "tpd",
    "itpm",
    "otpm",
    "daily_reset_time",
    "weight",
    "order",
    "max_parallel_requests",
    "tags",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "seed",
];

/// What an admin of a team says of a deployment.
const INFO: [&str; 6] = [
    "id",
    "team_id",
    "team_public_model_name",
    "mode",
    "description",
    "db_model",
];

/// Prepares a new deployment of a team; the name it is stored under, which is nobody else's.
pub(super) async fn new(
    plane: &ControlPlane,
    ask: &Ask,
    team_id: &str,
    name: &str,
    (params, info): (&Map<String, Value>, &mut Map<String, Value>),
    of_team: &mut OfTeam,
) -> Result<String, Refusal> {
    let team = plane.known_team(team_id).await?;
    if !plane.administers(ask, &team).await? {
        return Err(not_admin(team_id));
    }
    if !ask.is_admin() {
        if info.get("id").is_some_and(|id| !id.is_null()) {
            return Err(
                Refusal::forbidden("Only an administrator chooses the id of a deployment")
                    .param("model_info.id"),
            );
        }
        own_name(plane, &team, name)?;
        bounded(params, info)?;
        if text(params, "api_key").is_none_or(str::is_empty) {
            let text = "litellm_params.api_key is missing: a deployment by an admin of a team has a key of its own, never the gateway's";
            return Err(Refusal::bad(text).param("litellm_params.api_key"));
        }
        info.insert(BY_TEAM_ADMIN.to_owned(), true.into());
    }
    info.insert("team_public_model_name".to_owned(), name.into());
    // A team without a list has all models, also its own.
    let mut models = texts(&team, "models");
    if !models.is_empty() && !models.contains(&name) {
        models.push(name);
        *of_team = list(plane, ask, &team, models);
    }
    Ok(format!("model_name_{team_id}_{}", uuid::Uuid::new_v4()))
}

/// Whether the caller may change a deployment, to this.
pub(super) async fn may_change(
    plane: &ControlPlane,
    ask: &Ask,
    old: &Map<String, Value>,
    params: Option<&Map<String, Value>>,
    info: &Map<String, Value>,
) -> Result<(), Refusal> {
    let moves = info
        .get("team_id")
        .filter(|new| Some(*new) != old.get("team_id"));
    if let Some(team) = moves.and_then(Value::as_str) {
        plane.known_team(team).await?;
    }
    if ask.is_admin() {
        return Ok(());
    }
    let Some(team_id) = text(old, "team_id") else {
        return Err(ask.admin_only());
    };
    let team = plane.known_team(team_id).await?;
    if !plane.administers(ask, &team).await? {
        return Err(not_admin(team_id));
    }
    if moves.is_some() {
        return Err(
            Refusal::forbidden("Only an administrator moves a deployment to another team")
                .param("model_info.team_id"),
        );
    }
    let Some(params) = params else { return Ok(()) };
    // Changed so, an administrator's key could be led to another host.
    if old.get(BY_TEAM_ADMIN) != Some(&Value::Bool(true)) {
        return Err(Refusal::forbidden(
            "An administrator made this deployment; only an administrator changes it",
        ));
    }
    if params
        .get("api_key")
        .is_some_and(|key| key.as_str().is_none_or(str::is_empty))
    {
        return Err(
            Refusal::forbidden("The deployment needs its own key").param("litellm_params.api_key")
        );
    }
    bounded(params, info)
}

/// A new name of a team's deployment joins the team's list, when it has one, in place of the old one.
pub(super) async fn renamed(
    plane: &ControlPlane,
    ask: &Ask,
    (team_id, id): (&str, &str),
    old: Option<&str>,
    name: &str,
) -> Result<OfTeam, Refusal> {
    let team = plane.known_team(team_id).await?;
    if !ask.is_admin() {
        own_name(plane, &team, name)?;
    }
    let mut models = texts(&team, "models");
    if models.is_empty() {
        return Ok(OfTeam::default());
    }
    let rows = plane.store.rows(TABLE, &Select::default()).await?;
    models.retain(|model| {
        *model != name
            && (Some(*model) != old || rows.iter().any(|row| is_another(row, id, team_id, model)))
    });
    models.push(name);
    Ok(list(plane, ask, &team, models))
}

/// Whether a row is another deployment of the team under this name.
fn is_another(row: &Row, id: &str, team_id: &str, name: &str) -> bool {
    let info = object(row.get("model_info"));
    text(row, "model_id") != Some(id)
        && text(&info, "team_id") == Some(team_id)
        && text(&info, "team_public_model_name") == Some(name)
}

/// A deployment that goes takes its name off the team's list, unless another has it, too.
pub(super) async fn gone(
    plane: &ControlPlane,
    ask: &Ask,
    info: &Map<String, Value>,
    id: &str,
) -> Result<OfTeam, Refusal> {
    let (Some(team_id), Some(name)) = (text(info, "team_id"), text(info, "team_public_model_name"))
    else {
        return Ok(OfTeam::default());
    };
    let Some(team) = plane.team(team_id).await? else {
        return Ok(OfTeam::default());
    };
    let rows = plane.store.rows(TABLE, &Select::default()).await?;
    let mut models = texts(&team, "models");
    if models.contains(&name) && !rows.iter().any(|row| is_another(row, id, team_id, name)) {
        models.retain(|model| *model != name);
        // An empty list would be all models.
        if models.is_empty() {
            models.push(NO_MODELS);
        }
        return Ok(list(plane, ask, &team, models));
    }
    Ok(OfTeam::default())
}

/// Words in lists of models that stand for many or none.
const WORDS: [&str; 3] = ["all-proxy-models", "all-team-models", NO_MODELS];
const NO_MODELS: &str = "no-default-models";

/// A name that an admin of a team gives a deployment joins the list of what the team may use. So it must be one that opens nothing
/// else: no model of the gateway, no group of them, no word or pattern for many. What the team may use anyway it may also name so.
fn own_name(plane: &ControlPlane, team: &Row, name: &str) -> Result<(), Refusal> {
    let models = texts(team, "models");
    if models.is_empty() || models.contains(&name) {
        return Ok(());
    }
    let settings = plane.settings.load_full();
    let config = &settings.config;
    let deployments = config.get("model_list").and_then(Value::as_array);
    let mut deployments = deployments.into_iter().flatten();
    let opens = |deployment: &Value| {
        let groups = deployment.pointer("/model_info/access_groups");
        let mut groups = groups.and_then(Value::as_array).into_iter().flatten();
        let group = deployment.get("model_name").and_then(Value::as_str);
        group.is_some_and(|group| fits(group, name)) || groups.any(|group| group == name)
    };
    let aliases = config.pointer("/router_settings/model_group_alias");
    let is_alias = aliases.is_some_and(|aliases| aliases.get(name).is_some());
    let is_many = name.contains('*') || WORDS.contains(&name);
    if !is_many && !is_alias && !deployments.any(opens) {
        return Ok(());
    }
    let text = format!(
        "{name:?} is or opens models of the gateway that team {} may not use; only an administrator gives it that name",
        text(team, "team_id").unwrap_or_default()
    );
    Err(Refusal::forbidden(text).param("model_name"))
}

/// Whether a model group is, or with its `*` also serves, this name.
fn fits(group: &str, name: &str) -> bool {
    match group.split_once('*') {
        None => group == name,
        Some((start, end)) => {
            let rest = name.strip_prefix(start);
            rest.is_some_and(|rest| rest.ends_with(end.rsplit('*').next().unwrap_or_default()))
        }
    }
}

/// Steps of a change of a deployment's team, and those that take it back.
#[derive(Default)]
pub(super) struct OfTeam {
    pub steps: Vec<Write>,
    pub back: Vec<Write>,
}

/// The steps that give a team this list of models.
fn list(plane: &ControlPlane, ask: &Ask, team: &Row, models: Vec<&str>) -> OfTeam {
    let set = |models: Value| Row::from_iter([("models".to_owned(), models)]);
    let id = text(team, "team_id").unwrap_or_default();
    let old = Write::Update {
        table: crate::teams::TABLE,
        filter: Filter::by("team_id", id),
        set: set(team.get("models").cloned().unwrap_or_default()),
        add: Vec::new(),
    };
    OfTeam {
        steps: plane.team_steps(ask, team, set(json!(models)), Action::Updated),
        back: vec![old],
    }
}

/// Only what an admin of a team says.
fn bounded(params: &Map<String, Value>, info: &Map<String, Value>) -> Result<(), Refusal> {
    let foreign = |given: &Map<String, Value>, known: &[&str]| {
        let mut names = given.keys();
        names.find(|name| !known.contains(&name.as_str())).cloned()
    };
    let refuse =
        |path: String, why: &str| Err(Refusal::forbidden(format!("{path} {why}")).param(&path));
    if let Some(name) = foreign(params, &PARAMS) {
        let known = PARAMS.join(", ");
        return refuse(
            format!("litellm_params.{name}"),
            &format!("is only an administrator's; an admin of a team says {known}"),
        );
    }
    if let Some(name) = foreign(info, &INFO) {
        return refuse(format!("model_info.{name}"), "is only an administrator's");
    }
    for (name, value) in params {
        if refers(value) {
            return refuse(
                format!("litellm_params.{name}"),
                "refers to the gateway's environment: only an administrator does that",
            );
        }
    }
    let model = text(params, "model").unwrap_or_default();
    if model.starts_with("auto_router/") {
        return refuse(
            "litellm_params.model".to_owned(),
            "is a router: only an administrator makes one",
        );
    }
    Ok(())
}

fn not_admin(team: &str) -> Refusal {
    Refusal::forbidden(format!(
        "Only a proxy admin, or an admin of team {team}, manages its models"
    ))
}
