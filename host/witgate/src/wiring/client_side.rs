//! `configurable_clientside_auth_params`, and the way to addresses that clients name.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value;
use witgate_config::{Config, Loaded};
use witgate_outbound::TlsOptions;
use witgate_pipeline::{ClientParam, ClientRule, ClientSide, Target, Upstream};

use super::models::{Merged, tls};
use super::upstream::{Reach, Upstreams};

/// The key of `litellm_params`.
pub(super) const KEY: &str = "configurable_clientside_auth_params";

/// What clients may bring to a deployment with these parameters for the body.
pub(super) fn of(merged: &Merged<'_>, defaults: &[(String, String)]) -> Result<ClientSide, String> {
    let written = &merged.entry.params.configurable_clientside_auth_params;
    let mut rules = Vec::new();
    for entry in written {
        match entry {
            Value::String(name) => rules.extend(rule(merged, name, None)?),
            Value::Object(map) => {
                for (name, pattern) in map {
                    let pattern = pattern.as_str();
                    let pattern = pattern
                        .ok_or_else(|| format!("{KEY}: {name}: expected a pattern, as a text"))?;
                    rules.extend(rule(merged, name, Some(pattern))?);
                }
            }
            _ => {
                return Err(format!(
                    "{KEY}: expected names, or maps of a name to a pattern"
                ));
            }
        }
    }
    let names = defaults.iter().map(|(name, _)| name.clone());
    Ok(ClientSide {
        rules,
        written: match written.is_empty() {
            true => Value::Null,
            false => written.clone().into(),
        },
        secrets: names
            .filter(|name| witgate_config::is_secret_name(name))
            .collect(),
    })
}

/// A parameter that clients may bring; `None` for one that no upstream of this gateway uses.
fn rule(
    merged: &Merged<'_>,
    name: &str,
    pattern: Option<&str>,
) -> Result<Option<ClientRule>, String> {
    let Some(param) = ClientParam::from_name(name) else {
        tracing::warn!(
            "{}: {KEY}: {name:?} of a request is not used by this gateway yet; api_key, api_base and api_version are",
            merged.place()
        );
        return Ok(None);
    };
    // The whole value: what merely begins like a good address may lead anywhere.
    let pattern = pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$")));
    let pattern = pattern
        .transpose()
        .map_err(|error| format!("{KEY}: {name}: {error}"))?;
    Ok(Some(ClientRule { param, pattern }))
}

/// The way to addresses that clients name: trusts whom the configuration trusts, and shows nobody who the operator is. `None`
/// where nobody may name one.
pub(super) fn way(
    loaded: &Loaded,
    upstreams: &mut Upstreams,
    (is_allowed, targets): (bool, &[Target]),
    problems: &mut Vec<String>,
) -> Option<Arc<dyn Upstream>> {
    let mut targets = targets.iter();
    if !is_allowed && !targets.any(|target| target.client_side.lets_addresses()) {
        return None;
    }
    let way = upstreams.client(&trust(&loaded.config), Reach::Clients);
    way.map_err(|error| problems.push(error.to_string())).ok()
}

fn trust(config: &Config) -> TlsOptions {
    TlsOptions {
        certificate: None,
        ..tls(config, None)
    }
}
