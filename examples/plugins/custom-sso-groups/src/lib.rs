//! Decides by groups what a signed-in user is to the gateway.

use serde::Deserialize;
use serde_json::{Map, Number, Value};
use witgate_plugin::Error;
use witgate_plugin::sso::oidc::ROLES;
use witgate_plugin::sso::{Denial, Mapped, Openid, Sso, UserValues};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    /// By name, in the order of the configuration.
    groups: Map<String, Value>,
}

/// What members of a group are.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    role: String,
    #[serde(default)]
    models: Vec<String>,
    max_budget: Option<Number>,
    budget_duration: Option<String>,
}

/// The mapping.
pub struct CustomSso {
    groups: Vec<(String, Group)>,
}

impl Sso for CustomSso {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let groups = settings.groups.into_iter().map(|(name, value)| {
            let group: Group = serde_json::from_value(value)
                .map_err(|error| Error::settings(format!("groups.{name}: {error}")))?;
            match ROLES.contains(&group.role.as_str()) {
                true => Ok((name, group)),
                false => Err(Error::settings(format!(
                    "groups.{name}.role: it is one of {}",
                    ROLES.join(", ")
                ))),
            }
        });
        Ok(Self {
            groups: groups.collect::<Result<_, _>>()?,
        })
    }

    fn map_user(&self, user: &Openid, _known: Option<&str>) -> Result<Mapped, Error> {
        let mut groups = self.groups.iter();
        let Some((_, group)) = groups.find(|(name, _)| user.team_ids.contains(name)) else {
            let message = "You are in none of the groups that may use the gateway.";
            return Ok(Mapped::Deny(Denial::forbidden(message)));
        };
        Ok(Mapped::Values(UserValues {
            user_id: user.id.clone(),
            user_email: user.email.clone(),
            user_role: Some(group.role.clone()),
            models: group.models.clone(),
            max_budget: group.max_budget.as_ref().map(Number::to_string),
            budget_duration: group.budget_duration.clone(),
        }))
    }
}

witgate_plugin::export_sso!(CustomSso);
