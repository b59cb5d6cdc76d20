//! Single settings with operations of their own: clients' addresses, and what new users and teams get.

use serde_json::{Map, Value, json};

use super::Changes;
use super::fields::in_force;
use crate::operation::Outcome;
use crate::stored::object;
use crate::{Ask, ControlPlane, Refusal};

const LITELLM: &str = "litellm_settings";

/// A setting with members of its own, and what LiteLLM calls it.
#[derive(Clone, Copy)]
pub(super) struct Part {
    key: &'static str,
    what: &'static str,
}

/// What new users get.
pub(super) const USERS: Part = Part {
    key: "default_internal_user_params",
    what: "Internal user",
};

/// What new teams get.
pub(super) const TEAMS: Part = Part {
    key: "default_team_params",
    what: "Default team",
};

fn ips(settings: &Map<String, Value>) -> Option<Vec<String>> {
    let list = settings.get("allowed_ips")?.as_array()?;
    Some(
        list.iter()
            .filter_map(|ip| Some(ip.as_str()?.to_owned()))
            .collect(),
    )
}

pub(super) async fn allowed_ips(plane: &ControlPlane) -> Outcome {
    let general = in_force(plane, "general_settings")?;
    Ok(json!({ "data": ips(&general).unwrap_or_default() }))
}

pub(super) async fn allowed_ip(plane: &ControlPlane, ask: Ask, adds: bool) -> Outcome {
    let ip = ask.required_text("ip")?.trim();
    let (address, width) = ip.split_once('/').unwrap_or((ip, "0"));
    let is_address = address.parse::<std::net::IpAddr>().is_ok() && width.parse::<u8>().is_ok();
    if !is_address {
        let text =
            format!("{ip:?} is no address such as 192.0.2.7, and no network such as 10.0.0.0/8");
        return Err(Refusal::bad(text).param("ip"));
    }
    let (held, _) = plane.stored("general_settings").await?;
    let listed = ips(&held.unwrap_or_default());
    let mut all = listed.clone().unwrap_or_default();
    match adds {
        true if !all.iter().any(|other| other == ip) => all.push(ip.to_owned()),
        true => {}
        false => all.retain(|other| other != ip),
    }
    // Without a list everybody may call, with an empty one nobody: the last address takes the list with it.
    let value = if all.is_empty() {
        Value::Null
    } else {
        json!(all)
    };
    let change = Map::from_iter([("allowed_ips".to_owned(), value)]);
    plane
        .store_settings(&ask, Changes::from([("general_settings", change)]))
        .await?;
    let done = if adds { "added" } else { "deleted" };
    Ok(json!({"message": format!("IP {ip} address {done} successfully"), "status": "success"}))
}

pub(super) async fn get(plane: &ControlPlane, part: Part) -> Outcome {
    let values = object(in_force(plane, LITELLM)?.get(part.key));
    Ok(json!({"values": values, "field_schema": {"description": "", "properties": {}}}))
}

pub(super) async fn update(plane: &ControlPlane, ask: Ask, Part { key, what }: Part) -> Outcome {
    if ask.body.is_empty() {
        return Err(Refusal::bad(
            "the body says nothing: send the members to set",
        ));
    }
    let (held, _) = plane.stored(LITELLM).await?;
    let mut values = object(held.unwrap_or_default().get(key));
    for (name, value) in ask.body.clone() {
        match value.is_null() {
            true => drop(values.remove(&name)),
            false => drop(values.insert(name, value)),
        }
    }
    let change = Map::from_iter([(key.to_owned(), Value::Object(values.clone()))]);
    plane
        .store_settings(&ask, Changes::from([(LITELLM, change)]))
        .await?;
    Ok(
        json!({"message": format!("{what} settings updated successfully"), "status": "success", "settings": values}),
    )
}
