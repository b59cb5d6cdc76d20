//! Single settings with operations of their own: clients' addresses, and what new users and teams get.

use serde_json::{Map, Value, json};

use super::fields::in_force;
use super::{Changes, LITELLM};
use crate::operation::Outcome;
use crate::stored::object;
use crate::{Ask, ControlPlane, Refusal};

/// A setting with members of its own, and what LiteLLM calls it.
#[derive(Clone, Copy)]
pub(super) struct Part {
    key: &'static str,
    what: &'static str,
    doc: &'static str,
    members: &'static [(&'static str, &'static str, &'static str)],
}

const MODELS: (&str, &str, &str) = ("models", "array", "Models that may be called");
const MAX_BUDGET: (&str, &str, &str) = ("max_budget", "number", "US dollars that may be spent");
const BUDGET_DURATION: (&str, &str, &str) = (
    "budget_duration",
    "string",
    "After so long the spend begins at zero, such as 30d",
);

/// What new users get.
pub(super) const USERS: Part = Part {
    key: "default_internal_user_params",
    what: "Internal user",
    doc: "What new users get that nobody says",
    members: &[
        (
            "user_role",
            "string",
            "internal_user, internal_user_viewer, proxy_admin or proxy_admin_viewer",
        ),
        MAX_BUDGET,
        BUDGET_DURATION,
        MODELS,
        ("teams", "array", "Ids of teams that they join"),
    ],
};

/// What new teams get.
pub(super) const TEAMS: Part = Part {
    key: "default_team_params",
    what: "Default team",
    doc: "What new teams get that nobody says",
    members: &[
        MODELS,
        MAX_BUDGET,
        BUDGET_DURATION,
        ("tpm_limit", "integer", "Tokens a minute"),
        ("rpm_limit", "integer", "Requests a minute"),
    ],
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
    let (held, revision) = plane.stored("general_settings").await?;
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
        .store_seen(
            &ask,
            Changes::from([("general_settings", change)]),
            Some(revision),
        )
        .await?;
    let done = if adds { "added" } else { "deleted" };
    Ok(json!({"message": format!("IP {ip} address {done} successfully"), "status": "success"}))
}

pub(super) async fn get(plane: &ControlPlane, part: Part) -> Outcome {
    let values = object(in_force(plane, LITELLM)?.get(part.key));
    let properties = part.members.iter().map(|(name, kind, doc)| {
        let mut property = json!({"type": kind, "description": doc});
        if *kind == "array" {
            property["items"] = json!({"type": "string"});
        }
        ((*name).to_owned(), property)
    });
    let properties: Map<String, Value> = properties.collect();
    // What nobody has set is there as null: a UI draws a field for it.
    let mut told: Map<String, Value> = properties
        .keys()
        .map(|name| (name.clone(), Value::Null))
        .collect();
    told.extend(values);
    let schema = json!({"description": part.doc, "properties": properties});
    Ok(json!({"values": told, "field_schema": schema}))
}

pub(super) async fn update(
    plane: &ControlPlane,
    ask: Ask,
    Part { key, what, .. }: Part,
) -> Outcome {
    if ask.body.is_empty() {
        return Err(Refusal::bad(
            "the body says nothing: send the members to set",
        ));
    }
    let (held, revision) = plane.stored(LITELLM).await?;
    let mut values = object(held.unwrap_or_default().get(key));
    for (name, value) in ask.body.clone() {
        match value.is_null() {
            true => drop(values.remove(&name)),
            false => drop(values.insert(name, value)),
        }
    }
    let change = Map::from_iter([(key.to_owned(), Value::Object(values.clone()))]);
    plane
        .store_seen(&ask, Changes::from([(LITELLM, change)]), Some(revision))
        .await?;
    Ok(
        json!({"message": format!("{what} settings updated successfully"), "status": "success", "settings": values}),
    )
}

/// The pictures of the UI. Their addresses are for browsers: the gateway itself asks none of them.
pub(super) async fn theme(plane: &ControlPlane, ask: Ask) -> Outcome {
    const KEY: &str = "ui_theme_config";
    const NAMES: [&str; 2] = ["logo_url", "favicon_url"];
    if let Some(unknown) = ask.body.keys().find(|name| !NAMES.contains(&name.as_str())) {
        let text = format!(
            "{unknown:?} is no part of the look; there are {}",
            NAMES.join(" and ")
        );
        return Err(Refusal::bad(text).param(unknown));
    }
    let (held, revision) = plane.stored(LITELLM).await?;
    let mut values = object(held.unwrap_or_default().get(KEY));
    for name in NAMES {
        match ask.body.get(name) {
            None => {}
            Some(Value::String(url)) if !url.trim().is_empty() => {
                if !crate::ui::is_page(url.trim()) {
                    let text = format!(
                        "Invalid {name}: must be an http(s) URL with a host. Local filesystem paths and non-http schemes are not allowed."
                    );
                    return Err(Refusal::detail(400, text));
                }
                values.insert(name.to_owned(), url.trim().into());
            }
            Some(Value::Null | Value::String(_)) => drop(values.remove(name)),
            Some(_) => return Err(Refusal::bad(format!("{name} is a text")).param(name)),
        }
    }
    let stored = match values.is_empty() {
        true => Value::Null,
        false => Value::Object(values.clone()),
    };
    let change = Map::from_iter([(KEY.to_owned(), stored)]);
    plane
        .store_seen(&ask, Changes::from([(LITELLM, change)]), Some(revision))
        .await?;
    Ok(
        json!({"message": "UI theme settings updated successfully.", "status": "success", "theme_config": values}),
    )
}
