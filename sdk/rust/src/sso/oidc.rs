//! The authorization code flow of OpenID Connect and OAuth 2.0, as a provider plugin needs it: discovery, the URL of a login,
//! the exchange of the code, checked ID tokens, userinfo, and attributes by their paths.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Authorization, Callback, Denial, Login};
use crate::http::{self, Response};
use crate::secrets::Secret;
use crate::{Error, encode, jwt, kv};

/// How long an issuer's metadata is kept.
const METADATA_TTL_MS: u64 = 10 * 60 * 1000;

/// A JSON object of claims or attributes.
pub type Claims = Map<String, Value>;

/// What an issuer publishes of itself (OpenID Connect Discovery 1.0), as far as logins need it.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
pub struct Metadata {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where the browser goes.
    pub authorization_endpoint: String,
    /// Where a code becomes tokens.
    pub token_endpoint: String,
    /// Where it tells about the user.
    pub userinfo_endpoint: Option<String>,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
}

/// A client of an identity provider.
pub struct Client<'a> {
    /// `client_id`
    pub id: &'a str,
    /// Its secret; none for a public client.
    pub secret: Option<Secret>,
    /// Further headers of the requests to token and userinfo endpoints.
    pub headers: Vec<(String, Secret)>,
    /// Scopes, with blanks between.
    pub scope: &'a str,
    /// Whether PKCE is used.
    pub pkce: bool,
    /// Whether `client_id` is also in the body of the token request.
    pub id_in_body: bool,
}

/// What a code became.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// For the userinfo endpoint.
    pub access_token: String,
    /// Who it is, signed.
    pub id_token: Option<String>,
}

/// What the issuer at this URL publishes of itself. Kept for ten minutes.
pub fn discover(issuer: &str) -> Result<Metadata, Error> {
    let issuer = issuer.trim_end_matches('/');
    if let Some(known) = kv::PLUGIN.get_json(issuer)? {
        return Ok(known);
    }
    let url = format!("{issuer}/.well-known/openid-configuration");
    let answer = http::get(&url).send()?;
    let metadata: Metadata = read(&answer, "the issuer's metadata")?;
    if metadata.issuer.trim_end_matches('/') != issuer {
        return Err(Error::failed(format!(
            "{url} describes another issuer: {}",
            metadata.issuer
        )));
    }
    keep(issuer, &metadata)?;
    Ok(metadata)
}

fn keep(issuer: &str, metadata: &Metadata) -> Result<(), Error> {
    let json = serde_json::to_vec(metadata)?;
    kv::PLUGIN.set(issuer, &json, Some(METADATA_TTL_MS))
}

impl Client<'_> {
    /// The URL of a login. `state` takes the place of the login's own; `more` are further parameters.
    pub fn authorize(
        &self,
        endpoint: &str,
        login: &Login,
        state: Option<&str>,
        more: &[(&str, &str)],
    ) -> Authorization {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.id),
            ("redirect_uri", login.redirect_uri.as_str()),
            ("scope", self.scope),
            ("state", state.unwrap_or(&login.state)),
            ("nonce", login.nonce.as_str()),
        ];
        if self.pkce {
            pairs.push(("code_challenge", login.code_challenge.as_str()));
            pairs.push(("code_challenge_method", "S256"));
        }
        pairs.extend(more);
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Authorization {
            url: format!("{endpoint}{joint}{}", encode::form(&pairs)),
            state: state.map(str::to_owned),
        }
    }

    /// Makes tokens of a code. One that the provider refuses is a denial.
    pub fn exchange(
        &self,
        endpoint: &str,
        callback: &Callback,
    ) -> Result<Result<Tokens, Denial>, Error> {
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("code", callback.code.as_str()),
            ("redirect_uri", callback.redirect_uri.as_str()),
        ];
        if self.pkce {
            pairs.push(("code_verifier", callback.code_verifier.as_str()));
        }
        if self.id_in_body || self.secret.is_none() {
            pairs.push(("client_id", self.id));
        }
        let mut request = http::post(endpoint)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .body(encode::form(&pairs));
        if let Some(secret) = &self.secret {
            request = request.basic(self.id, secret);
        }
        let answer = request.send_with(&self.headers)?;
        if matches!(answer.status(), 400 | 401)
            && refusal(&answer).as_deref() == Some("invalid_grant")
        {
            return Ok(Err(Denial::unauthorized(
                "The identity provider does not take this code (any more). Sign in again.",
            )));
        }
        Ok(Ok(read(&answer, "the token endpoint")?))
    }

    /// What the provider tells about the user. Bearer tokens go to no other origin.
    pub fn userinfo(&self, endpoint: &str, tokens: &Tokens) -> Result<Claims, Error> {
        let answer = http::get(endpoint)
            .header("authorization", format!("Bearer {}", tokens.access_token))
            .header("accept", "application/json")
            .send_with(&self.headers)?;
        read(&answer, "the userinfo endpoint")
    }

    /// The claims of the ID token, all of it checked.
    pub fn id_claims(
        &self,
        metadata: &Metadata,
        tokens: &Tokens,
        nonce: &str,
    ) -> Result<Claims, Error> {
        let token = tokens.id_token.as_deref().ok_or_else(|| {
            Error::failed("the token endpoint gave no ID token; is `openid` among the scopes?")
        })?;
        let expected = jwt::Expected {
            issuer: &metadata.issuer,
            audience: Some(self.id),
            nonce: Some(nonce),
        };
        let keys = metadata.jwks_uri.as_deref().unwrap_or_default();
        Ok(jwt::verify(token, keys, &expected)?)
    }
}

/// The value at a path, `a.b.c` through nested objects. A name that has dots itself, such as a URL, is found as it is.
pub fn attribute<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value).filter(|value| !value.is_null());
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = claims.get(path.get(..dot)?)?.as_object()?;
        attribute(inner, path.get(dot + 1..)?)
    })
}

/// A value as text: a text or a number as it is, of a list the first.
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => items.first().and_then(text),
        _ => None,
    }
}

/// A value as texts: a list of them, a text with commas or blanks between, or one.
pub fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text).collect(),
        Value::String(list) => list
            .split([',', ' '])
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .map(str::to_owned)
            .collect(),
        other => text(other).into_iter().collect(),
    }
}

/// The roles of LiteLLM that a user may have, the highest first.
pub const ROLES: [&str; 4] = [
    "proxy_admin",
    "proxy_admin_viewer",
    "internal_user",
    "internal_user_viewer",
];

/// The highest of LiteLLM's roles among these words.
pub fn highest_role<S: AsRef<str>>(words: &[S]) -> Option<&'static str> {
    let has = |role: &&str| words.iter().any(|word| word.as_ref() == *role);
    ROLES.into_iter().find(has)
}

/// The body of a good answer. What a bad one says is not repeated: it may quote what was sent.
fn read<T: for<'de> Deserialize<'de>>(answer: &Response, who: &str) -> Result<T, Error> {
    if answer.is_success() {
        return serde_json::from_slice(answer.body())
            .map_err(|_| Error::failed(format!("{who} answers something else than expected")));
    }
    let why = refusal(answer).map_or_else(String::new, |word| format!(": {word}"));
    let text = format!("{who} answers with status {}{why}", answer.status());
    Err(match answer.is_worth_a_retry() {
        true => Error::unavailable(text),
        false => Error::failed(text),
    })
}

/// `error` of an OAuth answer, when it is one of the protocol's own words.
fn refusal(answer: &Response) -> Option<String> {
    let told: Value = serde_json::from_slice(answer.body()).ok()?;
    let word = told.get("error")?.as_str()?;
    let plain = word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn attributes_are_found_by_path_and_by_names_with_dots() {
        let claims = claims(json!({
            "sub": "1", "empty": null, "realm": {"access": {"roles": ["a", "b"]}},
            "https://acme.example/roles": ["admin"], "a.b": {"c": 7},
        }));
        let at = |path: &str| attribute(&claims, path).cloned();
        assert_eq!(at("sub"), Some(json!("1")));
        assert_eq!(at("realm.access.roles"), Some(json!(["a", "b"])));
        assert_eq!(at("https://acme.example/roles"), Some(json!(["admin"])));
        assert_eq!(at("a.b.c"), Some(json!(7)));
        for absent in ["empty", "realm.none", "sub.more", ""] {
            assert_eq!(at(absent), None, "{absent}");
        }
    }

    #[test]
    fn texts_are_read_in_every_form() {
        assert_eq!(text(&json!(42)).as_deref(), Some("42"));
        assert_eq!(text(&json!(["x", "y"])).as_deref(), Some("x"));
        assert_eq!(text(&json!("  ")), None);
        assert_eq!(text(&json!({"a": 1})), None);
        assert_eq!(texts(&json!("a, b c")), ["a", "b", "c"]);
        assert_eq!(texts(&json!(["a b", 7])), ["a b", "7"]);
        assert_eq!(
            highest_role(&["internal_user", "proxy_admin_viewer"]),
            Some("proxy_admin_viewer")
        );
        assert_eq!(highest_role(&["root"]), None);
    }

    #[test]
    fn a_login_has_every_parameter_encoded() {
        let login = Login {
            redirect_uri: "https://gw.example.com/sso/callback".to_owned(),
            state: "st".to_owned(),
            nonce: "no".to_owned(),
            code_challenge: "ch".to_owned(),
        };
        let client = Client {
            id: "my client",
            secret: None,
            headers: Vec::new(),
            scope: "openid email",
            pkce: true,
            id_in_body: false,
        };
        let told = client.authorize(
            "https://idp.example.com/a?tenant=1",
            &login,
            None,
            &[("prompt", "login")],
        );
        assert_eq!(
            told.url,
            "https://idp.example.com/a?tenant=1&response_type=code&client_id=my%20client\
             &redirect_uri=https%3A%2F%2Fgw.example.com%2Fsso%2Fcallback&scope=openid%20email&state=st&nonce=no\
             &code_challenge=ch&code_challenge_method=S256&prompt=login"
        );
        assert_eq!(told.state, None);
        let fixed = client.authorize("https://idp.example.com/a", &login, Some("fixed"), &[]);
        assert!(fixed.url.contains("&state=fixed&"), "{}", fixed.url);
        assert_eq!(fixed.state.as_deref(), Some("fixed"));
    }
}
