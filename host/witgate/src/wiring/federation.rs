//! Who vouches for callers, as a configuration and its variables say: identity providers, OAuth2 servers, proxies in front.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde_json::{Map, Value};
use witgate_config::Loaded;
use witgate_federation as federation;
use witgate_federation::{
    Answer, Federation, Fetch, Introspection, Judge, Jwt, JwtSettings, KeySets, PROXY_FIELDS,
    Proxy, RolePermission, Verification,
};
use witgate_outbound::{Body, Client, ClientOptions, Egress, collect_limited};
use witgate_pipeline::{AuthDecision, AuthRequest, Authenticator};
use witgate_plugins::{Kind, Registry};
use zeroize::Zeroizing;

use super::shades::Shades;
use super::{Keys, entry, outgoing, plugins};

/// Name of the plugin that judges claims, among all: a key, not a name.
pub(super) const CUSTOM_VALIDATE: &str = "custom_validate";
/// The header in which it finds them.
const CLAIMS_HEADER: &str = "x-litellm-jwt-claims";
/// Most bytes of an answer.
const ANSWER_MAX: usize = 512 << 10;

/// What outlives a configuration: connections to identity providers, and their keys.
pub struct Providers {
    client: Client,
    keys: Arc<KeySets>,
}

impl Providers {
    /// Without a connection yet.
    ///
    /// # Errors
    /// When the system's certificates do not work.
    pub fn new() -> anyhow::Result<Self> {
        // The operator wrote the addresses; they are often private ones.
        let client = Client::new(ClientOptions::new(Egress::Unrestricted))?;
        Ok(Self {
            client,
            keys: Arc::default(),
        })
    }
}

/// Whether the configuration has anybody vouch for callers.
pub fn vouches(loaded: &Loaded) -> bool {
    let switches = [
        "enable_jwt_auth",
        "enable_oauth2_auth",
        "enable_oauth2_proxy_auth",
    ];
    switches.iter().any(|key| flag(loaded, key))
}

/// The component of `litellm_jwtauth.custom_validate`, while tokens are asked for.
pub(super) fn custom_validate(loaded: &Loaded) -> Option<&str> {
    let settings = general(loaded, "litellm_jwtauth").filter(|_| flag(loaded, "enable_jwt_auth"));
    settings?.get("custom_validate")?.as_str()
}

/// Routes of `litellm_jwtauth.public_allowed_routes` that are not public in any case.
pub(super) fn public_routes(loaded: &Loaded) -> Vec<String> {
    let settings = general(loaded, "litellm_jwtauth").filter(|_| flag(loaded, "enable_jwt_auth"));
    let listed = settings.and_then(|settings| settings.get("public_allowed_routes")?.as_array());
    let listed = listed.into_iter().flatten().filter_map(Value::as_str);
    // What this group has is public where the gateway itself says so, and `/metrics` may need a key.
    let more = listed.filter(|route| *route != "public_routes");
    more.map(str::to_owned).collect()
}

/// Everybody who vouches for callers; `None` when nobody does.
pub(super) fn federation(
    loaded: &Loaded,
    providers: &Providers,
    registry: &Registry,
    keys: &Arc<Keys>,
    shades: &mut Shades<'_>,
    problems: &mut Vec<String>,
) -> Option<Federation> {
    let is_on = |key: &str| flag(loaded, key);
    let jwt = match is_on("enable_jwt_auth") {
        true => jwt(loaded, providers, judge(loaded, registry, shades), problems),
        false => None,
    };
    let introspects_all = is_on("enable_oauth2_auth");
    let introspection = match introspects_all || jwt.as_ref().is_some_and(Jwt::has_overrides) {
        true => introspection(loaded, problems),
        false => None,
    };
    let proxy = match is_on("enable_oauth2_proxy_auth") {
        true => proxy(loaded, problems),
        false => None,
    };
    if jwt.is_none() && introspection.is_none() && proxy.is_none() {
        return None;
    }
    let timeout = outgoing::identity_timeout(&loaded.environment)
        .map_err(|problem| problems.push(problem))
        .ok()?;
    Some(Federation {
        jwt,
        introspection,
        introspects_all,
        proxy,
        directory: keys.clone(),
        fetch: Arc::new(Outside {
            client: providers.client.clone(),
            timeout,
        }),
    })
}

fn jwt(
    loaded: &Loaded,
    providers: &Providers,
    judge: Option<Arc<dyn Judge>>,
    problems: &mut Vec<String>,
) -> Option<Jwt> {
    let place = "general_settings.litellm_jwtauth";
    let nothing = Value::Null;
    let written = general(loaded, "litellm_jwtauth").unwrap_or(&nothing);
    let settings = match JwtSettings::read(written) {
        Ok(settings) => settings,
        Err(wrong) => {
            problems.extend(wrong.iter().map(|why| format!("{place}: {why}")));
            return None;
        }
    };
    let permissions = match general(loaded, "role_permissions") {
        None => Vec::new(),
        Some(list) => match serde_json::from_value::<Vec<RolePermission>>(list.clone()) {
            Ok(permissions) => permissions,
            Err(why) => {
                problems.push(format!("general_settings.role_permissions: {why}"));
                return None;
            }
        },
    };
    let env = &loaded.environment;
    let text = |name: &str| env.non_empty(name).map(|text| text.trim().to_owned());
    let urls = text("JWT_PUBLIC_KEY_URL").unwrap_or_default();
    let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    let urls: Vec<String> = urls.map(str::to_owned).collect();
    let userinfo = settings.oidc_userinfo_endpoint.as_ref();
    let issuers = settings.issuers.iter();
    let of_issuers = issuers.filter_map(|issuer| issuer.jwks_url.as_ref());
    for url in urls.iter().chain(userinfo).chain(of_issuers) {
        check_url(
            "JWT_PUBLIC_KEY_URL or general_settings.litellm_jwtauth",
            url,
            problems,
        );
    }
    if urls.is_empty() && settings.issuers.is_empty() && !settings.oidc_userinfo_enabled {
        tracing::warn!(
            "enable_jwt_auth: no token can be checked, as nobody says where keys are published; set JWT_PUBLIC_KEY_URL"
        );
    }
    let verification = Verification {
        urls,
        audience: text("JWT_AUDIENCE"),
        issuer: text("JWT_ISSUER"),
    };
    if !verification.urls.is_empty()
        && verification.audience.is_none()
        && verification.issuer.is_none()
    {
        tracing::warn!(
            "enable_jwt_auth: tokens that the identity provider gave out for any other application are taken, too; set JWT_AUDIENCE"
        );
    }
    let jwt = Jwt::new(settings, verification, providers.keys.clone(), judge);
    Some(jwt.restricted(permissions, flag(loaded, "enforce_rbac")))
}

fn introspection(loaded: &Loaded, problems: &mut Vec<String>) -> Option<Introspection> {
    let env = &loaded.environment;
    let text = |name: &str| env.non_empty(name).map(|text| text.trim().to_owned());
    let Some(url) = text("OAUTH_TOKEN_INFO_ENDPOINT") else {
        problems.push(
            "general_settings.enable_oauth2_auth, litellm_jwtauth.routing_overrides: OAUTH_TOKEN_INFO_ENDPOINT must say who is asked about tokens"
                .to_owned(),
        );
        return None;
    };
    check_url("OAUTH_TOKEN_INFO_ENDPOINT", &url, problems);
    let field = |name: &str, default: &str| text(name).unwrap_or_else(|| default.to_owned());
    let secret = text("OAUTH_CLIENT_SECRET").map(Zeroizing::new);
    Some(Introspection {
        url,
        user_field: field("OAUTH_USER_ID_FIELD_NAME", "sub"),
        role_field: field("OAUTH_USER_ROLE_FIELD_NAME", "role"),
        team_field: field("OAUTH_USER_TEAM_ID_FIELD_NAME", "team_id"),
        client: text("OAUTH_CLIENT_ID").zip(secret),
    })
}

fn proxy(loaded: &Loaded, problems: &mut Vec<String>) -> Option<Proxy> {
    let place = "general_settings.oauth2_config_mappings";
    let mappings = general(loaded, "oauth2_config_mappings").and_then(Value::as_object);
    let mappings = mappings.into_iter().flatten();
    let mut read = Vec::new();
    for (field, header) in mappings {
        match header.as_str() {
            Some(header) if PROXY_FIELDS.contains(&field.as_str()) => {
                read.push((field.clone(), header.to_lowercase()));
            }
            Some(_) => problems.push(format!(
                "{place}.{field}: a header may give {}",
                PROXY_FIELDS.join(", ")
            )),
            None => problems.push(format!("{place}.{field}: it is the name of a header")),
        }
    }
    if !read
        .iter()
        .any(|(field, _)| field != "models" && field != "team_alias")
    {
        problems.push(format!(
            "{place}: enable_oauth2_proxy_auth needs a header for user_id, user_email or team_id, such as {{user_id: x-user-id}}"
        ));
    }
    let trusted = entry::networks(loaded, "trusted_proxy_ranges", problems).unwrap_or_default();
    if trusted.is_empty() {
        problems.push(
            "general_settings.enable_oauth2_proxy_auth: trusted_proxy_ranges must say which addresses are the proxy's; without it everybody could say who they are"
                .to_owned(),
        );
    }
    Some(Proxy {
        mappings: read,
        trusted,
    })
}

fn check_url(place: &str, url: &str, problems: &mut Vec<String>) {
    let parsed = url::Url::parse(url);
    let good = parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !good {
        problems.push(format!("{place}: {url:?} is no http or https URL"));
    }
}

fn judge(loaded: &Loaded, registry: &Registry, shades: &mut Shades<'_>) -> Option<Arc<dyn Judge>> {
    let component = custom_validate(loaded)?;
    let plugin: Arc<dyn Authenticator> = match registry.authenticator(CUSTOM_VALIDATE) {
        Some(plugin) if registry.is_enabled(Kind::Authenticator, CUSTOM_VALIDATE) => {
            shades.authenticator(CUSTOM_VALIDATE, component, plugin)
        }
        // It accepts nobody: its absence would let everybody in.
        _ => Arc::new(plugins::TurnedOff),
    };
    Some(Arc::new(Validate(plugin)))
}

/// `custom_validate`: an authenticator that finds the token where it finds keys, and the claims in a header. Whatever
/// identity it gives, it accepts.
struct Validate(Arc<dyn Authenticator>);

#[async_trait]
impl Judge for Validate {
    async fn accepts(&self, token: &str, claims: &Map<String, Value>) -> Result<bool, String> {
        let claims = Value::Object(claims.clone()).to_string();
        let request = AuthRequest {
            api_key: Zeroizing::new(token.to_owned()),
            method: "POST".to_owned(),
            path: "/".to_owned(),
            query: None,
            headers: vec![(CLAIMS_HEADER.to_owned(), claims)],
            client_ip: None,
        };
        match self.0.authenticate(request).await {
            Ok(AuthDecision::Identity(_) | AuthDecision::Key(_)) => Ok(true),
            Ok(AuthDecision::Decline | AuthDecision::Deny(_)) => Ok(false),
            Err(fault) => Err(fault.text),
        }
    }
}

/// Connections to identity providers.
struct Outside {
    client: Client,
    timeout: Duration,
}

#[async_trait]
impl Fetch for Outside {
    async fn fetch(&self, request: federation::Request) -> Result<Answer, String> {
        let answer = tokio::time::timeout(self.timeout, self.exchange(request)).await;
        answer.unwrap_or_else(|_| Err("no answer in time".to_owned()))
    }
}

impl Outside {
    async fn exchange(&self, from: federation::Request) -> Result<Answer, String> {
        let method = match from.form {
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let form = from.form.as_ref().map(|form| form.as_bytes().to_vec());
        let body = form.map_or(Body::Empty, Body::from);
        let mut request = Request::builder()
            .method(method)
            .uri(&from.url)
            .body(body)
            .map_err(|_| "the URL is malformed".to_owned())?;
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &from.authorization {
            let mut value = HeaderValue::try_from(authorization.as_str())
                .map_err(|_| "the token has characters that no header can carry".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        if from.form.is_some() {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, form);
        }
        let answer = self.client.send(request).await;
        let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
        let body = collect_limited(body, ANSWER_MAX).await;
        let body = body.map_err(|error| error.to_string())?;
        Ok(Answer {
            status: head.status.as_u16(),
            body: body.to_vec(),
        })
    }
}

fn general<'a>(loaded: &'a Loaded, key: &str) -> Option<&'a Value> {
    let value = loaded.config.raw.get("general_settings")?.get(key)?;
    (!value.is_null()).then_some(value)
}

fn flag(loaded: &Loaded, key: &str) -> bool {
    let value = general(loaded, key).and_then(Value::as_bool);
    value.unwrap_or(false)
}
