//! `/get/sso_settings` and `/update/sso_settings`: how people sign in at an identity provider, as the database has it.
//!
//! Each is one of the variables that the login reads, so that it is the same whoever says it.

use serde_json::{Map, Value, json};

use super::VARIABLES;
use super::single::Single;
use crate::fields::{Field, Shape, member};
use crate::in_force::{MASK, is_mask, plain, restore, same_host};
use crate::operation::Outcome;
use crate::stored::SSO as TABLE;
use crate::{Ask, ControlPlane, Refusal};

const STORED: Single = Single {
    table: TABLE,
    id: "sso_config",
    column: "sso_settings",
};

pub(super) const FIELDS: &[Field] = &[
    member("google_client_id", Shape::Text),
    member("google_client_secret", Shape::Text),
    member("microsoft_client_id", Shape::Text),
    member("microsoft_client_secret", Shape::Text),
    member("microsoft_tenant", Shape::Text),
    member("generic_client_id", Shape::Text),
    member("generic_client_secret", Shape::Text),
    member("generic_authorization_endpoint", Shape::Text),
    member("generic_token_endpoint", Shape::Text),
    member("generic_userinfo_endpoint", Shape::Text),
    member("proxy_base_url", Shape::Text),
    member("user_email", Shape::Text),
    member("ui_access_mode", Shape::Any),
    member("role_mappings", Shape::Object),
    member("team_mappings", Shape::Object),
];

/// The secret that goes to an address that is said, too; those of the others go where their makers are.
const SECRET: &str = "generic_client_secret";
const ADDRESS: &str = "generic_token_endpoint";

/// What is no variable of its own name in capitals: a note of the UI's, a setting, and objects.
const APART: [&str; 4] = [
    "user_email",
    "ui_access_mode",
    "role_mappings",
    "team_mappings",
];

fn doc(name: &str) -> &'static str {
    match name {
        "google_client_id" => "Client for signing in with Google",
        "google_client_secret" => "Secret of that client",
        "microsoft_client_id" => "Client for signing in with Microsoft",
        "microsoft_client_secret" => "Secret of that client",
        "microsoft_tenant" => "Tenant at Microsoft",
        "generic_client_id" => "Client for signing in with any OAuth provider",
        "generic_client_secret" => "Secret of that client",
        "generic_authorization_endpoint" => "Where that provider asks the user",
        "generic_token_endpoint" => "Where that provider gives tokens",
        "generic_userinfo_endpoint" => "Where that provider tells about the user",
        "proxy_base_url" => "Public base URL of the gateway",
        "user_email" => "Address of an administrator: a note, without effect",
        "ui_access_mode" => {
            "Who may sign in: all, admin_only, or {type: restricted_sso_group, restricted_sso_group: NAME}"
        }
        "role_mappings" => {
            "Roles by groups of the generic provider: {group_claim, default_role, roles: {ROLE: [GROUP]}}"
        }
        _ => "",
    }
}

fn is_secret(name: &str) -> bool {
    name.ends_with("_secret")
}

fn masked(mut values: Map<String, Value>) -> Map<String, Value> {
    for (_, value) in values
        .iter_mut()
        .filter(|(name, value)| is_secret(name) && !value.is_null())
    {
        *value = MASK.into();
    }
    values
}

/// The settings of such a row.
pub(crate) fn settings(values: &Map<String, Value>) -> Vec<(String, Value)> {
    let mut told = Vec::new();
    let mut variable =
        |name: String, value: Value| told.push((format!("{VARIABLES}.{name}"), value));
    for (name, value) in values {
        match (name.as_str(), value) {
            (_, Value::Null) => {}
            ("role_mappings", Value::Object(mappings)) => {
                for (name, variable_name) in [
                    ("roles", "GENERIC_ROLE_MAPPINGS_ROLES"),
                    ("group_claim", "GENERIC_ROLE_MAPPINGS_GROUP_CLAIM"),
                    ("default_role", "GENERIC_ROLE_MAPPINGS_DEFAULT_ROLE"),
                ] {
                    let text = match mappings.get(name) {
                        None | Some(Value::Null) => continue,
                        Some(Value::String(text)) => text.clone(),
                        Some(other) => other.to_string(),
                    };
                    variable(variable_name.to_owned(), text.into());
                }
            }
            (name, Value::String(text)) if !APART.contains(&name) && !text.is_empty() => {
                variable(name.to_uppercase(), text.as_str().into());
            }
            _ => {}
        }
    }
    if let Some(mode) = values.get("ui_access_mode").filter(|mode| !mode.is_null()) {
        told.push(("general_settings.ui_access_mode".to_owned(), mode.clone()));
    }
    told
}

pub(super) async fn get(plane: &ControlPlane) -> Outcome {
    let held = plane.single(STORED).await?;
    let mut values = masked(held.values);
    let mut properties = Map::new();
    for field in FIELDS {
        values.entry(field.name).or_insert(Value::Null);
        let kind = match field.shape {
            Shape::Object => "object",
            _ => "string",
        };
        properties.insert(
            field.name.to_owned(),
            json!({"description": doc(field.name), "type": kind}),
        );
    }
    Ok(json!({
        "values": values,
        "field_schema": {"description": "How people sign in at an identity provider", "properties": properties},
    }))
}

pub(super) async fn update(plane: &ControlPlane, ask: Ask) -> Outcome {
    plane.settings.load().must_store()?;
    let known = |name: &str| FIELDS.iter().any(|field| field.name == name);
    if let Some(unknown) = ask.body.keys().find(|name| !known(name)) {
        let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        let text = format!(
            "{unknown:?} is no setting of signing in; there are {}",
            names.join(", ")
        );
        return Err(Refusal::bad(text).param(unknown));
    }
    let held = plane.single(STORED).await?;
    let mut said = ask.body.clone();
    stays_home(plane, Said::Settings(&said)).await?;
    for (name, value) in &mut said {
        shaped(name, value)?;
        let stored = held.values.get(name);
        restore(&is_secret, name, name, value, stored)?;
        judged(plane, name, value)?;
    }
    let mut values = held.values;
    values.extend(said);
    values.retain(|_, value| !value.is_null());
    plane.put_single(&ask, STORED, held.row, &values).await?;
    Ok(json!({
        "message": "SSO settings updated successfully", "status": "success", "settings": masked(values),
    }))
}

/// How a change is said.
#[derive(Clone, Copy)]
pub(super) enum Said<'a> {
    /// By the members of this page.
    Settings(&'a Map<String, Value>),
    /// By the variables that they become.
    Variables(&'a Map<String, Value>),
}

/// Refuses a change that would lead the stored secret to another host than that which it was stored for.
pub(super) async fn stays_home(plane: &ControlPlane, said: Said<'_>) -> Result<(), Refusal> {
    let is_there = |value: &&Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let (to, secret) = match said {
        Said::Settings(said) => (said.get(ADDRESS), said.get(SECRET)),
        Said::Variables(said) => (
            said.get(&ADDRESS.to_uppercase()),
            said.get(&SECRET.to_uppercase()),
        ),
    };
    let Some(to) = to.filter(is_there) else {
        return Ok(());
    };
    let of_page = plane.single(STORED).await?.values;
    let (variables, _) = plane.stored(VARIABLES).await?;
    let variables = match plane.settings.load().seal() {
        Ok(seal) => plain(&seal, variables.unwrap_or_default()),
        Err(_) => variables.unwrap_or_default(),
    };
    // Those of the page count before the variables.
    let stored = |name: &str| {
        let of_page = of_page.get(name).filter(is_there);
        of_page.or(variables.get(&name.to_uppercase()).filter(is_there))
    };
    let replaces = match said {
        Said::Settings(_) => true,
        Said::Variables(_) => of_page.get(SECRET).filter(is_there).is_none(),
    };
    let is_new = secret
        .filter(is_there)
        .is_some_and(|secret| !is_mask(secret))
        && replaces;
    if is_new || stored(SECRET).is_none() || same_host(Some(to), stored(ADDRESS)) {
        return Ok(());
    }
    let text = format!(
        "{ADDRESS} is on another host, and the {SECRET} that is stored would go there: send the secret, too"
    );
    Err(Refusal::bad(text).param(ADDRESS))
}

/// Empty is nothing; everything else is as its name says.
fn shaped(name: &str, value: &mut Value) -> Result<(), Refusal> {
    let wrong = |text: &str| Err(Refusal::bad(format!("{name}{text}")).param(name));
    match (name, &*value) {
        (_, Value::Null) => Ok(()),
        (_, Value::String(text)) if text.trim().is_empty() => {
            *value = Value::Null;
            Ok(())
        }
        ("team_mappings", _) => wrong(
            ": where a provider tells of teams is said by general_settings.litellm_jwtauth.team_ids_jwt_field",
        ),
        ("role_mappings", Value::Object(mappings)) => {
            let provider = mappings.get("provider").filter(|of| !of.is_null());
            if provider.is_some_and(|provider| provider != "generic") {
                return wrong(".provider: roles are found by groups of the generic provider alone");
            }
            let is_text = |name: &str| {
                mappings
                    .get(name)
                    .is_none_or(|of| of.is_string() || of.is_null())
            };
            let lists = |of: &Value| of.as_object().is_some_and(|of| of.values().all(is_texts));
            match (
                is_text("group_claim") && is_text("default_role"),
                mappings.get("roles"),
            ) {
                (true, None | Some(Value::Null)) => Ok(()),
                (true, Some(roles)) if lists(roles) => Ok(()),
                _ => wrong(" is {group_claim, default_role, roles: {ROLE: [GROUP]}}"),
            }
        }
        ("role_mappings", _) => wrong(" is {group_claim, default_role, roles: {ROLE: [GROUP]}}"),
        ("ui_access_mode", Value::String(_) | Value::Object(_)) => Ok(()),
        (_, Value::String(_)) => Ok(()),
        _ => wrong(" is a text"),
    }
}

fn is_texts(list: &Value) -> bool {
    list.as_array()
        .is_some_and(|list| list.iter().all(Value::is_string))
}

/// What the file says is the file's, and nobody stores what no file could say.
fn judged(plane: &ControlPlane, name: &str, value: &Value) -> Result<(), Refusal> {
    let one = Map::from_iter([(name.to_owned(), value.clone())]);
    for (path, value) in settings(&one) {
        if let Some((section, key)) = path.split_once('.') {
            plane.judge(section, &Map::from_iter([(key.to_owned(), value)]))?;
        }
    }
    Ok(())
}
