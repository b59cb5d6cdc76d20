//! Signs users in with any provider of OpenID Connect or OAuth 2.0: LiteLLM's `GENERIC_…` variables.
//!
//! With an `issuer` the ID token is checked and must agree with what the userinfo endpoint says; without one the userinfo
//! endpoint alone says who it is, as in LiteLLM.

mod profile;
mod settings;

use witgate_plugin::sso::oidc::{self, Claims, Client, Metadata, Tokens};
use witgate_plugin::sso::{Authorization, Callback, Login, Sso, Who};
use witgate_plugin::{Error, jwt, secrets};

pub use profile::profile;
pub use settings::{Rules, Settings};

/// The plugin.
pub struct GenericSso {
    settings: Settings,
    rules: Rules,
}

impl Sso for GenericSso {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let rules = settings.check()?;
        Ok(Self { settings, rules })
    }

    fn authorize(&self, login: &Login) -> Result<Authorization, Error> {
        let endpoint = self.metadata()?.authorization_endpoint;
        let state = self.settings.client_state.as_deref();
        Ok(self.client()?.authorize(&endpoint, login, state, &[]))
    }

    fn exchange(&self, callback: &Callback) -> Result<Who, Error> {
        let (client, metadata) = (self.client()?, self.metadata()?);
        let tokens = match client.exchange(&metadata.token_endpoint, callback)? {
            Ok(tokens) => tokens,
            Err(denial) => return Ok(Who::Deny(denial)),
        };
        let mut claims = match self.settings.issuer {
            Some(_) => client.id_claims(&metadata, &tokens, &callback.nonce)?,
            None => Claims::new(),
        };
        if let Some(endpoint) = &metadata.userinfo_endpoint {
            let told = client.userinfo(endpoint, &tokens)?;
            let same = self.settings.issuer.is_none() || told.get("sub") == claims.get("sub");
            if !same {
                return Err(Error::failed(
                    "the userinfo endpoint tells of somebody else (`sub`) than the ID token",
                ));
            }
            claims.extend(told);
        }
        if self.settings.include_token_claims {
            for (name, value) in access_claims(&metadata, &tokens)? {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(Who::User(profile(&self.settings, &self.rules, &claims)?))
    }
}

impl GenericSso {
    fn client(&self) -> Result<Client<'_>, Error> {
        let settings = &self.settings;
        Ok(Client {
            id: &settings.client_id,
            secret: Some(secrets::require("client_secret")?),
            headers: secrets::headers("headers")?,
            scope: &settings.scope,
            pkce: settings.use_pkce,
            id_in_body: settings.include_client_id,
        })
    }

    /// The endpoints that are set, and the issuer's own for the others.
    fn metadata(&self) -> Result<Metadata, Error> {
        let settings = &self.settings;
        let set = |own: &Option<String>, found: String| own.clone().unwrap_or(found);
        let found = match &settings.issuer {
            Some(issuer) if settings.needs_discovery() => oidc::discover(issuer)?,
            Some(issuer) => Metadata {
                issuer: issuer.clone(),
                ..Metadata::default()
            },
            None => Metadata::default(),
        };
        Ok(Metadata {
            authorization_endpoint: set(
                &settings.authorization_endpoint,
                found.authorization_endpoint,
            ),
            token_endpoint: set(&settings.token_endpoint, found.token_endpoint),
            userinfo_endpoint: settings
                .userinfo_endpoint
                .clone()
                .or(found.userinfo_endpoint),
            jwks_uri: settings.jwks_uri.clone().or(found.jwks_uri),
            issuer: found.issuer,
        })
    }
}

/// The claims of the access token. Its audience is the provider's own API, so that one is not checked.
fn access_claims(metadata: &Metadata, tokens: &Tokens) -> Result<Claims, Error> {
    let expected = jwt::Expected {
        issuer: &metadata.issuer,
        ..jwt::Expected::default()
    };
    let keys = metadata.jwks_uri.as_deref().unwrap_or_default();
    Ok(jwt::verify(&tokens.access_token, keys, &expected)?)
}

witgate_plugin::export_sso!(GenericSso);
