//! What the operator sets, and whether it fits together.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::Error;
use witgate_plugin::sso::oidc::ROLES;

/// The settings; `plugin.toml` says what each is for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "plugin.toml documents them")]
pub struct Settings {
    pub client_id: String,
    pub issuer: Option<String>,
    pub authorization_endpoint: Option<String>,
    pub token_endpoint: Option<String>,
    pub userinfo_endpoint: Option<String>,
    pub jwks_uri: Option<String>,
    pub scope: String,
    pub client_state: Option<String>,
    pub use_pkce: bool,
    pub include_client_id: bool,
    pub user_id_attribute: String,
    pub user_email_attribute: String,
    pub user_display_name_attribute: String,
    pub user_first_name_attribute: String,
    pub user_last_name_attribute: String,
    pub user_provider_attribute: String,
    pub user_role_attribute: String,
    pub user_extra_attributes: Vec<String>,
    pub team_ids_attribute: Option<String>,
    pub include_token_claims: bool,
    pub role_mappings: Option<BTreeMap<String, Groups>>,
    pub role_mappings_text: Option<String>,
    pub role_mappings_group_claim: String,
    pub role_mappings_default_role: Option<String>,
}

/// Groups, or a single one.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Groups {
    /// Several.
    Many(Vec<String>),
    /// One.
    One(String),
}

/// Which groups give which role: role and groups, the highest role first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub Vec<(&'static str, Vec<String>)>);

impl Settings {
    /// Checks what the types do not say; the rules for roles.
    ///
    /// # Errors
    /// Names the setting and what would be right.
    pub fn check(&self) -> Result<Rules, Error> {
        if self.issuer.is_none() {
            let endpoints = [
                ("authorization_endpoint", &self.authorization_endpoint),
                ("token_endpoint", &self.token_endpoint),
                ("userinfo_endpoint", &self.userinfo_endpoint),
            ];
            for (name, endpoint) in endpoints {
                if endpoint.is_none() {
                    let variable = name.to_uppercase();
                    return Err(Error::settings(format!(
                        "`{name}` is missing: set GENERIC_{variable}, or `issuer` (GENERIC_ISSUER), which tells it"
                    )));
                }
            }
            let needs = [
                ("jwks_uri", self.jwks_uri.is_some()),
                ("include_token_claims", self.include_token_claims),
            ];
            if let Some((name, _)) = needs.iter().find(|(_, used)| *used) {
                return Err(Error::settings(format!(
                    "`{name}` needs `issuer` (GENERIC_ISSUER): a token is only checked against who must have issued it"
                )));
            }
        }
        if let Some(role) = &self.role_mappings_default_role {
            known_role(role, "role_mappings_default_role")?;
        }
        self.rules()
    }

    /// Whether the issuer has to be asked for anything.
    pub(crate) fn needs_discovery(&self) -> bool {
        let set = [
            &self.authorization_endpoint,
            &self.token_endpoint,
            &self.jwks_uri,
        ];
        set.iter().any(|endpoint| endpoint.is_none())
    }

    fn rules(&self) -> Result<Rules, Error> {
        let of_text = self.role_mappings_text.as_deref().map(parse).transpose()?;
        let Some(mappings) = self.role_mappings.clone().or(of_text) else {
            return Ok(Rules::default());
        };
        let mut rules = Vec::new();
        for role in mappings.keys() {
            known_role(role, "role_mappings")?;
        }
        for role in ROLES {
            match mappings.get(role) {
                Some(Groups::Many(groups)) => rules.push((role, groups.clone())),
                Some(Groups::One(group)) => rules.push((role, vec![group.clone()])),
                None => {}
            }
        }
        Ok(Rules(rules))
    }
}

fn known_role(role: &str, setting: &str) -> Result<(), Error> {
    if ROLES.contains(&role) {
        return Ok(());
    }
    let roles = ROLES.join(", ");
    Err(Error::settings(format!(
        "`{setting}`: {role:?} is no role; roles are {roles}"
    )))
}

/// JSON, or a dict of lists of texts as Python prints it.
fn parse(text: &str) -> Result<BTreeMap<String, Groups>, Error> {
    let read = serde_json::from_str(text).or_else(|_| {
        // Names of groups hold no quotes, or they are not written this way.
        serde_json::from_str(&text.replace('\'', "\""))
    });
    read.map_err(|_| {
        Error::settings(
            "`role_mappings_text` (GENERIC_ROLE_MAPPINGS_ROLES) is no object of roles and groups, such as \
             {\"proxy_admin\": [\"admins\"]}",
        )
    })
}
