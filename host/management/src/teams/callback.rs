//! Log sinks of a team's own: `metadata.callback_settings`.

use serde_json::{Map, Value, json};
use witgate_store::Row;

use super::CALLBACK;
use crate::audit::Action;
use crate::fields::Given;
use crate::operation::Outcome;
use crate::{Ask, ControlPlane, Refusal};

/// What a sink may be told (LiteLLM's `StandardCallbackDynamicParams`).
const VARIABLES: [&str; 15] = [
    "langfuse_public_key",
    "langfuse_secret",
    "langfuse_secret_key",
    "langfuse_host",
    "langfuse_prompt_version",
    "gcs_bucket_name",
    "gcs_path_service_account",
    "langsmith_api_key",
    "langsmith_project",
    "langsmith_base_url",
    "langsmith_sampling_rate",
    "humanloop_api_key",
    "arize_api_key",
    "arize_space_key",
    "turn_off_message_logging",
];

pub(super) async fn add(plane: &ControlPlane, ask: Ask) -> Outcome {
    let given = Given::read(&[CALLBACK], &ask.body)?;
    let name = ask.required_text("callback_name")?;
    let (success, failure) = match ask.text("callback_type") {
        None | Some("success_and_failure") => (true, true),
        Some("success") => (true, false),
        Some("failure") => (false, true),
        Some(other) => {
            let message = "Input should be 'success', 'failure' or 'success_and_failure'";
            return Err(Refusal::invalid(
                "literal_error",
                "body",
                "callback_type",
                message,
                &other.into(),
            ));
        }
    };
    let none = Map::new();
    let variables = given
        .members
        .get("callback_vars")
        .and_then(Value::as_object);
    let variables = variables.unwrap_or(&none);
    for (variable, value) in variables {
        if !VARIABLES.contains(&variable.as_str()) {
            let message = format!("Invalid callback variable: {variable}. Allowed: {VARIABLES:?}");
            return Err(Refusal::bad(message).param("callback_vars"));
        }
        if !value.is_string() {
            let message = format!("callback_vars.{variable} is a text");
            return Err(Refusal::bad(message).param("callback_vars"));
        }
    }
    let (team, mut settings) = settings(plane, &ask).await?;
    plane.settings.load().has_sink(name)?;
    for (wanted, list) in [(success, "success_callback"), (failure, "failure_callback")] {
        let listed = settings.entry(list).or_insert_with(|| json!([]));
        if !listed.is_array() {
            *listed = json!([]);
        }
        let Value::Array(listed) = listed else {
            continue;
        };
        if !wanted {
            continue;
        }
        if listed.iter().any(|known| known == name) {
            let message = format!("callback_name = {name} already exists in {list} of the team");
            return Err(Refusal::bad(message).param("callback_name"));
        }
        listed.push(name.into());
    }
    let kept = settings.entry("callback_vars").or_insert_with(|| json!({}));
    if let Value::Object(kept) = kept {
        kept.extend(variables.clone());
    }
    let row = save(plane, &ask, &team, settings).await?;
    Ok(json!({"status": "success", "data": row}))
}

pub(super) async fn get(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (team, settings) = settings(plane, &ask).await?;
    let list = |name: &str| match settings.get(name) {
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    Ok(json!({"status": "success", "data": {
        "team_id": team.get("team_id"),
        "success_callbacks": list("success_callback"),
        "failure_callbacks": list("failure_callback"),
        "callback_vars": settings.get("callback_vars").cloned().unwrap_or_else(|| json!({})),
    }}))
}

pub(super) async fn disable(plane: &ControlPlane, ask: Ask) -> Outcome {
    let (mut team, mut settings) = settings(plane, &ask).await?;
    // LiteLLM's newer form, which would count in place of this one.
    if let Some(Value::Object(metadata)) = team.get_mut("metadata") {
        metadata.remove("logging");
    }
    for list in ["success_callback", "failure_callback"] {
        settings.insert(list.to_owned(), json!([]));
    }
    let row = save(plane, &ask, &team, settings).await?;
    let id = row
        .get("team_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(json!({
        "status": "success",
        "message": format!("Logging disabled for team {id}"),
        "data": {"team_id": id, "success_callbacks": [], "failure_callbacks": []},
    }))
}

/// The team of the path, and its sinks.
async fn settings(plane: &ControlPlane, ask: &Ask) -> Result<(Row, Map<String, Value>), Refusal> {
    let team = plane
        .known_team(ask.named.as_deref().unwrap_or_default())
        .await?;
    let settings = team
        .get("metadata")
        .and_then(|metadata| metadata.get("callback_settings"));
    let settings = settings
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    Ok((team, settings))
}

async fn save(
    plane: &ControlPlane,
    ask: &Ask,
    team: &Row,
    settings: Map<String, Value>,
) -> Result<Row, Refusal> {
    let metadata = team.get("metadata").and_then(Value::as_object);
    let mut metadata = metadata.cloned().unwrap_or_default();
    metadata.insert("callback_settings".to_owned(), settings.into());
    let mut set = Row::new();
    set.insert("metadata".to_owned(), metadata.into());
    plane
        .save_team(ask, team, Vec::new(), set, Action::Updated)
        .await
}
