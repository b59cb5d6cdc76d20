//! `enable_oauth2_auth`: opaque bearers that an OAuth2 server knows (RFC 7662, or a GET with the bearer).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use witgate_identity::{Named, Principal, Role};
use zeroize::Zeroizing;

use crate::claims;
use crate::keys::shown;
use crate::ports::{Directory, Fetch, Request};
use crate::{Problem, Refusal, vouched};

/// An OAuth2 server that is asked.
pub struct Introspection {
    /// `OAUTH_TOKEN_INFO_ENDPOINT`
    pub url: String,
    /// `OAUTH_USER_ID_FIELD_NAME`
    pub user_field: String,
    /// `OAUTH_USER_ROLE_FIELD_NAME`
    pub role_field: String,
    /// `OAUTH_USER_TEAM_ID_FIELD_NAME`
    pub team_field: String,
    /// `OAUTH_CLIENT_ID` and `OAUTH_CLIENT_SECRET`
    pub client: Option<(String, Zeroizing<String>)>,
}

impl Introspection {
    /// Who a bearer stands for. Nothing is kept: a token that is taken back is refused at once.
    pub(crate) async fn identify(
        &self,
        fetch: &dyn Fetch,
        directory: &dyn Directory,
        token: &str,
    ) -> Result<Arc<Principal>, Problem> {
        let away = |why: String| {
            let note = format!("{}: {why}", shown(&self.url));
            Refusal::unavailable("the token endpoint", note)
        };
        let answer = fetch.fetch(self.request(token)).await.map_err(away)?;
        if answer.status >= 500 || answer.status == 429 {
            return Err(away(format!("status {}", answer.status)).into());
        }
        let refused = || Refusal::unauthorized("Oauth 2.0 token validation failed");
        if !answer.is_success() {
            return Err(refused().into());
        }
        let said = answer.object().ok_or_else(refused)?;
        // Of an answer that is about a token (RFC 7662) everything but `true` is no.
        let is_active = said
            .get("active")
            .is_none_or(|value| value == &Value::Bool(true));
        if !is_active || self.asks_as_client() && !said.contains_key("active") {
            return Err(refused().into());
        }
        let named = Named {
            user: claims::text(&said, &self.user_field),
            team: claims::text(&said, &self.team_field),
            ..Named::default()
        };
        let role = claims::text(&said, &self.role_field);
        let mut principal = vouched::principal(directory, named).await?;
        if let Some(role) = role.as_deref().and_then(Role::parse) {
            principal.role = Some(role);
        }
        Ok(Arc::new(principal))
    }

    fn asks_as_client(&self) -> bool {
        self.client.is_some() && self.url.contains("introspect")
    }

    fn request(&self, token: &str) -> Request {
        let Some((id, secret)) = self.client.as_ref().filter(|_| self.asks_as_client()) else {
            return Request::get(&self.url).bearer(token);
        };
        let credentials = Zeroizing::new(format!("{id}:{}", **secret));
        let basic = format!("Basic {}", STANDARD.encode(credentials.as_bytes()));
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.append_pair("token", token).finish();
        Request {
            url: self.url.clone(),
            authorization: Some(Zeroizing::new(basic)),
            form: Some(Zeroizing::new(form)),
        }
    }
}
