//! From a token to a principal: signature and claims, then who that is here and how far they get.
//!
//! The order is LiteLLM's (`JWTAuthManager`): verified, `custom_validate`, role, scopes, administrators, the team, the user,
//! the organization. What the token restricts becomes lists of models of the principal, so that it holds for fallbacks and
//! listings, too.

mod admit;
mod mapped;
mod restrictions;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use serde_json::Value;
use witgate_identity::{KeyHash, Principal};
use witgate_signing::jws::{ALGORITHMS, Jwk, NotNow, Parts, check_time};

use crate::claims::{Claims, scopes, texts};
use crate::keys::{Ages, KeySets, shown};
use crate::ports::{Directory, Fetch, Judge, Request};
use crate::settings::{Issuer, JwtSettings, RolePermission, Selector};
use crate::{Asked, Problem, Refusal};

/// Answers of userinfo that are kept.
const USERINFO_MAX: usize = 10_000;

/// What tokens must be, by the variables.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// `JWT_PUBLIC_KEY_URL`
    pub urls: Vec<String>,
    /// `JWT_AUDIENCE`
    pub audience: Option<String>,
    /// `JWT_ISSUER`
    pub issuer: Option<String>,
}

/// Tokens of identity providers.
pub struct Jwt {
    settings: JwtSettings,
    verification: Verification,
    permissions: Vec<RolePermission>,
    /// `general_settings.enforce_rbac`
    needs_somebody: bool,
    keys: Arc<KeySets>,
    judge: Option<Arc<dyn Judge>>,
    userinfo: Cache<KeyHash, (u64, Arc<Claims>)>,
}

/// Claims that are verified, and which of several issuers they are of.
struct Verified<'a> {
    claims: Arc<Claims>,
    issuer: Option<&'a Issuer>,
}

impl Jwt {
    /// Tokens as these settings have them.
    #[must_use]
    pub fn new(
        settings: JwtSettings,
        verification: Verification,
        keys: Arc<KeySets>,
        judge: Option<Arc<dyn Judge>>,
    ) -> Self {
        Self {
            settings,
            verification,
            permissions: Vec::new(),
            needs_somebody: false,
            keys,
            judge,
            userinfo: Cache::new(USERINFO_MAX),
        }
    }

    /// With `role_permissions` and `enforce_rbac` of `general_settings`.
    #[must_use]
    pub fn restricted(mut self, permissions: Vec<RolePermission>, needs_somebody: bool) -> Self {
        self.permissions = permissions;
        self.needs_somebody = needs_somebody;
        self
    }

    /// Whether an OAuth2 server is asked about a token (`routing_overrides`). What it says of itself is not proved here: it only
    /// chooses who proves it.
    pub(crate) fn leads_to_introspection(&self, token: &str) -> bool {
        let overrides = &self.settings.routing_overrides;
        if overrides.is_empty() {
            return false;
        }
        let Ok(parts) = Parts::of(token) else {
            return false;
        };
        let claims = &parts.claims;
        let scopes = scopes(claims).unwrap_or_default();
        overrides.iter().any(|one| {
            let takes = |selector: &Option<Selector>, claim: &str| {
                let selector = selector.as_ref();
                selector.is_none_or(|selector| selector.takes(&texts(claims, claim)))
            };
            let of_scope = one.scope.as_ref();
            one.iss.takes(&texts(claims, "iss"))
                && takes(&one.client_id, "client_id")
                && takes(&one.aud, "aud")
                && of_scope.is_none_or(|selector| selector.takes(&scopes))
        })
    }

    /// Whether [`Jwt::leads_to_introspection`] may be so.
    #[must_use]
    pub const fn has_overrides(&self) -> bool {
        !self.settings.routing_overrides.is_empty()
    }

    /// Whether userinfo is asked, in place of a look at the token.
    pub(crate) const fn asks_userinfo(&self) -> bool {
        self.settings.oidc_userinfo_enabled
    }

    /// Who a token stands for.
    pub(crate) async fn identify(
        &self,
        fetch: &Arc<dyn Fetch>,
        directory: &dyn Directory,
        token: &str,
        asked: &Asked<'_>,
    ) -> Result<Arc<Principal>, Problem> {
        let verified = match &self.settings.oidc_userinfo_endpoint {
            Some(url) if self.asks_userinfo() => Verified {
                claims: self
                    .ask_userinfo(&**fetch, url, token, asked.now_ms)
                    .await?,
                issuer: None,
            },
            _ => self.verify(fetch, token, asked.now_ms).await?,
        };
        if let Some(judge) = &self.judge {
            match judge.accepts(token, &verified.claims).await {
                Ok(true) => {}
                Ok(false) => {
                    let message = "the token was refused by litellm_jwtauth.custom_validate";
                    return Err(Refusal::forbidden(message).into());
                }
                Err(why) => {
                    let message = "litellm_jwtauth.custom_validate could not judge the token";
                    let mut refusal = Refusal::forbidden(message);
                    refusal.note = Some(why);
                    return Err(refusal.into());
                }
            }
        }
        match self.claimed(&verified)? {
            Some(claimed) => self.by_claim(directory, &verified, &claimed, asked).await,
            None => self.admit(directory, &verified, asked).await,
        }
    }

    /// A token whose signature, time, issuer and audience are right.
    async fn verify(
        &self,
        fetch: &Arc<dyn Fetch>,
        token: &str,
        now_ms: u64,
    ) -> Result<Verified<'_>, Problem> {
        let parts = Parts::of(token).map_err(fails)?;
        if !ALGORITHMS.contains(&parts.header.alg.as_str()) {
            let why = "its algorithm is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA";
            return Err(fails(why).into());
        }
        let named = parts.claims.get("iss").and_then(Value::as_str);
        let mut issuers = self.settings.issuers.iter();
        let issuer = issuers.find(|issuer| Some(issuer.issuer.as_str()) == named);
        let urls: Vec<String> = match issuer {
            Some(issuer) => vec![issuer.jwks_url.clone().unwrap_or_else(|| {
                let base = issuer.issuer.trim_end_matches('/');
                format!("{base}/.well-known/openid-configuration")
            })],
            None => self.verification.urls.clone(),
        };
        if urls.is_empty() {
            return Err(
                fails("nobody says where its issuer publishes keys (JWT_PUBLIC_KEY_URL)").into(),
            );
        }
        self.check_signature(fetch, &parts, &urls, now_ms).await?;
        let now_s = Duration::from_millis(now_ms).as_secs_f64();
        check_time(&parts.claims, now_s, 0.0).map_err(|problem| match problem {
            NotNow::Expired => Refusal::of(
                401,
                "expired_key",
                "Authentication Error, Token Expired".to_owned(),
            ),
            NotNow::Endless => fails("it does not say when it ends (`exp`)"),
            NotNow::NotYet => fails("it is not valid yet (`nbf`)"),
        })?;
        // That of one of several was compared when it was found.
        let wanted = self
            .verification
            .issuer
            .as_deref()
            .filter(|_| issuer.is_none());
        if wanted.is_some() && wanted != named {
            return Err(fails("somebody else issued it (`iss`)").into());
        }
        let one = self.verification.audience.as_ref();
        let audiences: &[String] = match issuer {
            Some(issuer) => &issuer.audience,
            None => one.map(std::slice::from_ref).unwrap_or_default(),
        };
        if !audiences.is_empty() && !is_for(&parts.claims, audiences) {
            return Err(fails("it is for somebody else (`aud`)").into());
        }
        Ok(Verified {
            claims: Arc::new(parts.claims),
            issuer,
        })
    }

    /// The first key that fits decides; an issuer that cannot be reached is told only when no other knows the key.
    async fn check_signature(
        &self,
        fetch: &Arc<dyn Fetch>,
        parts: &Parts<'_>,
        urls: &[String],
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let ms = |seconds: f64| (seconds * 1e3) as u64;
        let ages = Ages {
            fresh_ms: ms(self.settings.public_key_ttl),
            stale_ms: ms(self.settings.public_key_stale_ttl),
        };
        let mut away = None;
        let mut fitted = false;
        for url in urls {
            let keys = self.keys.fitting(fetch, url, &parts.header, ages, now_ms);
            match keys.await {
                Ok(keys) => {
                    let mut fitting = keys.iter().filter(|key| key.fits(&parts.header)).peekable();
                    fitted |= fitting.peek().is_some();
                    if fitting.any(|key: &Jwk| key.verifies(parts)) {
                        return Ok(());
                    }
                }
                Err(why) => away = Some(format!("{}: {why}", shown(url))),
            }
        }
        match away {
            Some(why) if !fitted => Err(Refusal::unavailable("the keys", why)),
            _ if fitted => Err(fails("its signature is wrong")),
            _ => Err(fails("no published key fits its key id and algorithm")),
        }
    }

    /// What the provider says of a token's owner.
    async fn ask_userinfo(
        &self,
        fetch: &dyn Fetch,
        url: &str,
        token: &str,
        now_ms: u64,
    ) -> Result<Arc<Claims>, Refusal> {
        let key = KeyHash::of(token);
        let keep_ms = (self.settings.oidc_userinfo_cache_ttl * 1e3) as u64;
        if let Some((since, claims)) = self.userinfo.get(&key)
            && now_ms < since.saturating_add(keep_ms)
        {
            return Ok(claims);
        }
        let answer = fetch.fetch(Request::get(url).bearer(token)).await;
        let away = |why: String| {
            let note = format!("{}: {why}", shown(url));
            Refusal::unavailable("the userinfo endpoint", note)
        };
        let answer = answer.map_err(away)?;
        if answer.status >= 500 || answer.status == 429 {
            return Err(away(format!("status {}", answer.status)));
        }
        if !answer.is_success() {
            return Err(fails("the identity provider does not know it"));
        }
        let claims = answer.object();
        let claims = claims.ok_or_else(|| away("the answer is no JSON object".to_owned()))?;
        let claims = Arc::new(claims);
        self.userinfo.insert(key, (now_ms, claims.clone()));
        Ok(claims)
    }
}

/// Whether one of the audiences of a token is one of these.
fn is_for(claims: &Claims, audiences: &[String]) -> bool {
    let is_one = |value: &Value| audiences.iter().any(|audience| value == audience);
    match claims.get("aud") {
        Some(Value::Array(many)) => many.iter().any(is_one),
        Some(one) => is_one(one),
        None => false,
    }
}

fn fails(why: &str) -> Refusal {
    Refusal::unauthorized(format_args!(
        "Validation fails: the token is not good: {why}"
    ))
}
