//! Signs users in with Google. The ID token tells all there is to know; the id is Google's `sub`.

use serde::Deserialize;
use witgate_plugin::sso::oidc::{self, Claims, Client, attribute, text};
use witgate_plugin::sso::{Authorization, Callback, Denial, Login, Openid, Sso, Who};
use witgate_plugin::{Error, secrets};

/// The settings; `plugin.toml` says what each is for.
#[derive(Deserialize)]
pub struct Settings {
    client_id: String,
    issuer: String,
    scope: String,
    hosted_domain: Option<String>,
}

/// The plugin.
pub struct GoogleSso(Settings);

impl Sso for GoogleSso {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn authorize(&self, login: &Login) -> Result<Authorization, Error> {
        let endpoint = oidc::discover(&self.0.issuer)?.authorization_endpoint;
        let domain = self.0.hosted_domain.as_deref();
        let more: Vec<(&str, &str)> = domain.map(|domain| ("hd", domain)).into_iter().collect();
        Ok(self.client()?.authorize(&endpoint, login, None, &more))
    }

    fn exchange(&self, callback: &Callback) -> Result<Who, Error> {
        let (client, metadata) = (self.client()?, oidc::discover(&self.0.issuer)?);
        let tokens = match client.exchange(&metadata.token_endpoint, callback)? {
            Ok(tokens) => tokens,
            Err(denial) => return Ok(Who::Deny(denial)),
        };
        let claims = client.id_claims(&metadata, &tokens, &callback.nonce)?;
        // The parameter `hd` only fills in a form; the claim is what Google vouches for.
        let domain = attribute(&claims, "hd").and_then(text);
        if self.0.hosted_domain.is_some() && domain != self.0.hosted_domain {
            let message = "This Google account does not belong to the domain that may enter.";
            return Ok(Who::Deny(Denial::forbidden(message)));
        }
        profile(&claims).map(Who::User)
    }
}

impl GoogleSso {
    fn client(&self) -> Result<Client<'_>, Error> {
        Ok(Client {
            id: &self.0.client_id,
            secret: Some(secrets::require("client_secret")?),
            headers: Vec::new(),
            scope: &self.0.scope,
            pkce: true,
            id_in_body: false,
        })
    }
}

fn profile(claims: &Claims) -> Result<Openid, Error> {
    let told = |name: &str| attribute(claims, name).and_then(text);
    let verified = claims
        .get("email_verified")
        .is_some_and(|told| told == true || told == "true");
    Ok(Openid {
        id: told("sub").ok_or_else(|| Error::failed("Google tells no `sub`"))?,
        email: told("email").filter(|_| verified),
        first_name: told("given_name"),
        last_name: told("family_name"),
        display_name: told("name"),
        picture: told("picture"),
        provider: Some("google".to_owned()),
        ..Openid::default()
    })
}

witgate_plugin::export_sso!(GoogleSso);
