//! Decides what a signed-in user is to the gateway, by the domain of the address.

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::sso::{Denial, Mapped, Openid, Sso, UserValues};

/// The settings of the plugin in the configuration.
#[derive(Deserialize)]
pub struct Settings {
    domain: String,
    admins: Vec<String>,
}

/// The mapping.
pub struct Plugin(Settings);

impl Sso for Plugin {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn map_user(&self, user: &Openid, known: Option<&str>) -> Result<Mapped, Error> {
        let Self(Settings { domain, admins }) = self;
        let email = user.email.as_deref().unwrap_or_default();
        if !email.ends_with(&format!("@{domain}")) {
            return Ok(Mapped::Deny(Denial::forbidden(format!("Only people of {domain} may enter."))));
        }
        let is_admin = admins.iter().any(|admin| admin == email);
        Ok(Mapped::Values(UserValues {
            user_id: known_id(known).unwrap_or_else(|| email.to_owned()),
            user_email: user.email.clone(),
            user_role: Some(if is_admin { "proxy_admin" } else { "internal_user" }.to_owned()),
            max_budget: Some("10".to_owned()),
            budget_duration: Some("30d".to_owned()),
            ..UserValues::default()
        }))
    }
}

/// The id that the gateway knows this user by already.
fn known_id(known: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    struct Row {
        user_id: String,
    }
    serde_json::from_str::<Row>(known?).ok().map(|row| row.user_id)
}

witgate_plugin::export_sso!(Plugin);
