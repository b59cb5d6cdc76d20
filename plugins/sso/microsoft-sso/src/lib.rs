//! Signs users in with Microsoft Entra: the ID token is checked, Graph tells of the user and the groups.

use std::collections::BTreeSet;

use serde::Deserialize;
use witgate_plugin::sso::oidc::{
    Claims, Client, Metadata, Tokens, attribute, highest_role, text, texts,
};
use witgate_plugin::sso::{Authorization, Callback, Login, Openid, Sso, Who};
use witgate_plugin::{Error, encode, http, secrets};

/// Pages of a list of Graph's, at most.
const PAGES_MAX: usize = 200;

/// The settings; `plugin.toml` says what each is for.
#[derive(Deserialize)]
pub struct Settings {
    client_id: String,
    tenant: String,
    service_principal_id: Option<String>,
    authority: String,
    graph_endpoint: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    userinfo_endpoint: Option<String>,
    scope: String,
    user_id_attribute: String,
    user_email_attribute: String,
    user_display_name_attribute: String,
    user_first_name_attribute: String,
    user_last_name_attribute: String,
}

/// The plugin.
pub struct MicrosoftSso(Settings);

impl Sso for MicrosoftSso {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        Ok(Self(settings))
    }

    fn authorize(&self, login: &Login) -> Result<Authorization, Error> {
        let endpoint = self.metadata().authorization_endpoint;
        Ok(self.client()?.authorize(&endpoint, login, None, &[]))
    }

    fn exchange(&self, callback: &Callback) -> Result<Who, Error> {
        let (client, metadata) = (self.client()?, self.metadata());
        let tokens = match client.exchange(&metadata.token_endpoint, callback)? {
            Ok(tokens) => tokens,
            Err(denial) => return Ok(Who::Deny(denial)),
        };
        let claims = client.id_claims(&metadata, &tokens, &callback.nonce)?;
        let graph = self.0.graph_endpoint.trim_end_matches('/');
        let me = match &self.0.userinfo_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("{graph}/me"),
        };
        let user = client.userinfo(&me, &tokens)?;
        // Graph's id of a user is the token's `oid`: both must mean the same person.
        let oid = claims.get("oid");
        if oid.is_some() && user.get("id").is_some_and(|id| Some(id) != oid) {
            return Err(Error::failed(
                "Graph tells of somebody else (`id`) than the ID token (`oid`)",
            ));
        }
        let groups = self.groups(graph, &tokens)?;
        self.profile(&user, &claims, groups).map(Who::User)
    }
}

impl MicrosoftSso {
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

    fn metadata(&self) -> Metadata {
        let Settings {
            authority, tenant, ..
        } = &self.0;
        let authority = authority.trim_end_matches('/');
        let place = format!("{authority}/{}", encode::url_path(tenant));
        let set = |own: &Option<String>, path: &str| {
            own.clone().unwrap_or_else(|| format!("{place}{path}"))
        };
        Metadata {
            // Whatever the tenant is called here, its tokens name it by its id.
            issuer: format!("{authority}/{{tenantid}}/v2.0"),
            authorization_endpoint: set(&self.0.authorization_endpoint, "/oauth2/v2.0/authorize"),
            token_endpoint: set(&self.0.token_endpoint, "/oauth2/v2.0/token"),
            userinfo_endpoint: None,
            jwks_uri: Some(format!("{place}/discovery/v2.0/keys")),
        }
    }

    /// The user's groups; of the service principal, those that are assigned to it.
    fn groups(&self, graph: &str, tokens: &Tokens) -> Result<Vec<String>, Error> {
        let mine = list(
            &format!("{graph}/me/memberOf?$select=id"),
            graph,
            tokens,
            "id",
        )?;
        let Some(principal) = &self.0.service_principal_id else {
            return Ok(mine);
        };
        let principal = encode::url_path(principal);
        let url = format!("{graph}/servicePrincipals/{principal}/appRoleAssignedTo");
        let assigned: BTreeSet<String> = list(&url, graph, tokens, "principalId")?
            .into_iter()
            .collect();
        Ok(mine
            .into_iter()
            .filter(|group| assigned.contains(group))
            .collect())
    }

    fn profile(
        &self,
        user: &Claims,
        claims: &Claims,
        team_ids: Vec<String>,
    ) -> Result<Openid, Error> {
        let told = |path: &str| attribute(user, path).and_then(text);
        let id = told(&self.0.user_id_attribute).ok_or_else(|| {
            Error::failed(format!(
                "Graph tells no `{}`, which is to be the user's id; see MICROSOFT_USER_ID_ATTRIBUTE",
                self.0.user_id_attribute
            ))
        })?;
        let roles = ["app_roles", "roles"].into_iter();
        let roles: Vec<String> = roles
            .filter_map(|name| claims.get(name))
            .flat_map(texts)
            .collect();
        Ok(Openid {
            id,
            email: told(&self.0.user_email_attribute).or_else(|| told("mail")),
            first_name: told(&self.0.user_first_name_attribute),
            last_name: told(&self.0.user_last_name_attribute),
            display_name: told(&self.0.user_display_name_attribute),
            provider: Some("microsoft".to_owned()),
            user_role: highest_role(&roles).map(str::to_owned),
            team_ids,
            ..Openid::default()
        })
    }
}

/// One member of every item in a list of Graph's, page by page. A user who may not read it is in no group.
fn list(url: &str, graph: &str, tokens: &Tokens, member: &str) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct Page {
        value: Vec<Claims>,
        #[serde(rename = "@odata.nextLink")]
        next: Option<String>,
    }
    let mut found = Vec::new();
    let mut next = Some(url.to_owned());
    for _ in 0..PAGES_MAX {
        let Some(url) = next.take() else { break };
        // The token is for Graph alone.
        if !url.starts_with(&format!("{graph}/")) {
            return Err(Error::failed("Graph's next page is somewhere else"));
        }
        let answer = http::get(&url)
            .header("authorization", format!("Bearer {}", tokens.access_token))
            .send_with(&[])?;
        match answer.status() {
            200 => {}
            403 => {
                witgate_plugin::warn!("Graph does not let the user's groups be read (403)");
                return Ok(Vec::new());
            }
            status if answer.is_worth_a_retry() => {
                return Err(Error::unavailable(format!(
                    "Graph answers with status {status}"
                )));
            }
            status => return Err(Error::failed(format!("Graph answers with status {status}"))),
        }
        let page: Page = answer.json()?;
        found.extend(
            page.value
                .iter()
                .filter_map(|item| item.get(member).and_then(text)),
        );
        next = page.next;
    }
    Ok(found)
}

witgate_plugin::export_sso!(MicrosoftSso);
