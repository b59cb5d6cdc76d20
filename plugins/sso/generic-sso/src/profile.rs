//! From what the provider says of a user to who it is.

use serde_json::{Map, Value};
use witgate_plugin::Error;
use witgate_plugin::sso::Openid;
use witgate_plugin::sso::oidc::{Claims, attribute, highest_role, text, texts};

use crate::settings::{Rules, Settings};

/// Names that are shown when the one with the id is not there.
const NAMES_SHOWN: usize = 20;

/// Who it is. Without an id it is nobody.
///
/// # Errors
/// When the attribute of the id is not there; names those that are.
pub fn profile(settings: &Settings, rules: &Rules, claims: &Claims) -> Result<Openid, Error> {
    let told = |path: &str| attribute(claims, path).and_then(text);
    let id = told(&settings.user_id_attribute).ok_or_else(|| no_id(settings, claims))?;
    let extra: Map<String, Value> = settings
        .user_extra_attributes
        .iter()
        .filter_map(|path| Some((path.clone(), attribute(claims, path)?.clone())))
        .collect();
    let teams = settings.team_ids_attribute.as_deref();
    let teams = teams.and_then(|path| attribute(claims, path)).map(texts);
    Ok(Openid {
        id,
        email: told(&settings.user_email_attribute).filter(|_| !is_unverified(claims)),
        first_name: told(&settings.user_first_name_attribute),
        last_name: told(&settings.user_last_name_attribute),
        display_name: told(&settings.user_display_name_attribute),
        picture: told("picture"),
        provider: told(&settings.user_provider_attribute).or_else(|| Some("generic".to_owned())),
        team_ids: teams.unwrap_or_default(),
        user_role: role(settings, rules, claims).map(str::to_owned),
        extra_fields: Value::Object(extra).to_string(),
    })
}

/// An address that anybody may have typed in must not open anybody's account.
fn is_unverified(claims: &Claims) -> bool {
    claims
        .get("email_verified")
        .is_some_and(|told| told == false || told == "false")
}

/// The groups' role, else the default of the mappings, else the highest in the role attribute.
fn role<'a>(settings: &'a Settings, rules: &Rules, claims: &Claims) -> Option<&'a str> {
    let groups = attribute(claims, &settings.role_mappings_group_claim).map(texts);
    let groups = groups.unwrap_or_default();
    let of_groups = rules
        .0
        .iter()
        .find(|(_, wanted)| groups.iter().any(|group| wanted.contains(group)))
        .map(|(role, _)| *role);
    let default = settings.role_mappings_default_role.as_deref();
    let told = attribute(claims, &settings.user_role_attribute).map(texts);
    of_groups
        .or(default.filter(|_| !rules.0.is_empty()))
        .or_else(|| highest_role(&told?))
}

fn no_id(settings: &Settings, claims: &Claims) -> Error {
    let names: Vec<&str> = claims
        .keys()
        .map(String::as_str)
        .take(NAMES_SHOWN)
        .collect();
    Error::failed(format!(
        "the provider tells no `{}`, which is to be the user's id; set GENERIC_USER_ID_ATTRIBUTE to one of {}",
        settings.user_id_attribute,
        names.join(", ")
    ))
}
