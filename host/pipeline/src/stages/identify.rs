//! `identify`: who is calling.
//!
//! Position: before anything is spent on the call or revealed to it. Reads: headers. Writes:
//! `principal`. Errors: `NoCredential`, `MalformedCredential`, `NotAVirtualKey`, `UnknownKey`, `KeyBlocked`,
//! `KeyExpired`, `RouteNotAllowed`, `KeysUnavailable`, `AuthenticationFailed`, `Denied`. Config: `master_key`,
//! `custom_auth`, `litellm_key_header_name`, `custom_auth_settings.mode`, `custom_auth_run_common_checks`, `enable_jwt_auth`,
//! `enable_oauth2_auth`, `enable_oauth2_proxy_auth`. Cost: one SHA-256 and, for a virtual key, a look into memory; or one call of
//! the authenticator; or the check of a signature.
//!
//! The order is LiteLLM's (`user_api_key_auth`): custom authentication first, then whoever an identity provider or a proxy in
//! front vouches for, then the master key, then the key of a session of the UI, then virtual keys.

use std::net::IpAddr;
use std::sync::Arc;

mod bearers;
mod vouched;

use http::HeaderMap;
use jiff::Timestamp;
use witgate_identity::{
    Credential, KeyHash, KeyProblem, NoEntry, Principal, Role, VirtualKey, basic_user,
    find_credential, mask_key,
};
use zeroize::Zeroizing;

use crate::access::quoted;
use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;
use crate::passage::Passage;
use crate::ports::{AuthDecision, AuthRequest};
use crate::snapshot::{CustomAuth, Snapshot};
use crate::stages::Flow;

/// The parts of a request that identification looks at, for routes that are not calls, too.
pub struct AuthInput<'a> {
    /// Method.
    pub method: &'a str,
    /// Path and query, without the prefix that the gateway is served under.
    pub url: &'a str,
    /// Path under which the operation is known, whichever of its paths was called.
    pub route: &'a str,
    /// Now.
    pub now: Timestamp,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Address of the caller.
    pub ip: Option<IpAddr>,
    /// Address of the connection's other end.
    pub socket: Option<IpAddr>,
    /// The model that is asked for; empty on routes that are no calls.
    pub model: &'a str,
    /// Now, seconds since the epoch: sessions end.
    pub now_s: u64,
    /// The pass-through route that is called, if it is one.
    pub passage: Option<&'a Passage>,
}

impl<'a> AuthInput<'a> {
    fn path(&self) -> &'a str {
        self.url.split('?').next().unwrap_or(self.url)
    }

    /// What rules may call the route by.
    fn names(&self) -> [&'a str; 2] {
        [self.route, self.path()]
    }
}

pub(crate) async fn identify(_: &Gateway, x: &mut Exchange) -> Result<Flow, Failure> {
    if let Some(made_by) = &x.made_by {
        x.principal = made_by.principal.clone();
        return Ok(Flow::Continue);
    }
    let snapshot = x.snapshot.clone();
    let passage = x.passed.as_ref().map(|passed| passed.passage.clone());
    let input = AuthInput {
        method: x.arrival.method.as_str(),
        url: &x.arrival.url,
        route: x.arrival.route,
        now: x.started,
        headers: &x.arrival.headers,
        ip: x.arrival.peer,
        socket: x.arrival.socket,
        model: &x.model,
        now_s: u64::try_from(x.started.as_second()).unwrap_or_default(),
        passage: passage.as_deref(),
    };
    x.principal = principal(&snapshot, &input).await?;
    bearers::find(x).await?;
    Ok(Flow::Continue)
}

fn forbidden(message: String) -> Failure {
    Failure::new(Case::Denied { status: 403 }, message)
}

/// Whether the operator's rules let anybody in here, whoever it is.
///
/// # Errors
/// The rule that forbids it, as a 403.
pub fn enter(snapshot: &Snapshot, input: &AuthInput<'_>) -> Result<(), Failure> {
    let names = input.names();
    match snapshot.access.entry.check(input.ip, &names) {
        Ok(()) => Ok(()),
        Err(NoEntry::Ip) => {
            let failure = forbidden("Access forbidden: IP address not allowed.".to_owned());
            Err(match input.ip {
                Some(ip) => {
                    failure.latest(format!("Access forbidden: IP address {ip} not allowed."))
                }
                None => failure,
            })
        }
        Err(NoEntry::Route) => {
            let path = input.path();
            Err(forbidden(format!(
                "Access forbidden: Route {path} not allowed"
            )))
        }
        Err(NoEntry::Calls) => {
            let text = "LLM API routes are disabled for this instance.";
            Err(forbidden(text.to_owned()))
        }
        Err(NoEntry::Management) => {
            let text = "Management routes are disabled for this instance.";
            Err(forbidden(text.to_owned()))
        }
    }
}

/// Finds out who is calling, where the operator's rules let anybody in.
pub async fn principal(
    snapshot: &Snapshot,
    input: &AuthInput<'_>,
) -> Result<Arc<Principal>, Failure> {
    enter(snapshot, input)?;
    let (names, path) = (input.names(), input.path());
    let caller = known(snapshot, input, &names).await?;
    if snapshot.access.entry.is_for_admins(&names) && !caller.is_admin() {
        let message =
            format!("user not allowed to access this route. Route={path} is an admin only route");
        return Err(forbidden(message));
    }
    Ok(caller)
}

/// Whoever the credential says.
async fn known(
    snapshot: &Snapshot,
    input: &AuthInput<'_>,
    names: &[&str],
) -> Result<Arc<Principal>, Failure> {
    let access = &snapshot.access;
    let header = |name: &str| input.headers.get(name).and_then(|v| v.to_str().ok());
    let mut credential = match input.passage {
        Some(passage) => passed_credential(header, passage, access.key_header.as_deref()),
        None => find_credential(header, access.key_header.as_deref()),
    };
    if let Some(custom) = &access.custom {
        match ask(custom, input, &credential).await? {
            Answer::Principal(principal) => {
                let principal = match custom.common_checks {
                    true => vouched::checked(access, principal).await?,
                    false => principal,
                };
                // The routes that it may call, as those of a key.
                let as_key = VirtualKey {
                    principal,
                    blocked: false,
                    team_blocked: false,
                    expires: None,
                };
                return check(&as_key, input.now, names, "");
            }
            Answer::Check(key) => credential = Credential::Key(key),
            Answer::Normal => {}
        }
    }
    if access.entry.is_public(names) {
        return Ok(Arc::new(Principal {
            role: Some(Role::InternalUserViewer),
            ..Principal::default()
        }));
    }
    // LiteLLM's order: custom authentication has been asked for these routes, too.
    if input.passage.is_some_and(|passage| !passage.needs_key) {
        return Ok(Arc::default());
    }
    // Ours before anybody else is shown it.
    if let (Some(master), Credential::Key(key)) = (&access.master_key, &credential)
        && let Some(admin) = master.check(key)
    {
        return Ok(Arc::new(admin.clone()));
    }
    if let Some(federation) = &access.federation
        && let Some(principal) =
            vouched::find(federation, &snapshot.routing, input, names, &credential).await?
    {
        return Ok(principal);
    }
    let Some(master) = &access.master_key else {
        if access.custom.is_some() {
            // Custom authentication did not vouch for the caller, and there is nothing else to ask.
            return Err(refuse(
                Case::AuthenticationFailed,
                "custom_auth did not accept this request.",
            ));
        }
        if access.federation.is_some() {
            let text = "no identity provider vouches for this request, and there is no master key.";
            return Err(refuse(Case::AuthenticationFailed, text));
        }
        return Ok(Arc::new(anybody(&credential)));
    };
    let key = match &credential {
        Credential::Missing => {
            return Err(refuse(Case::NoCredential, "No api key passed in."));
        }
        Credential::Malformed => {
            let text = "Malformed API Key passed in. Ensure Key has `Bearer ` prefix.";
            return Err(refuse(Case::MalformedCredential, text));
        }
        Credential::Key(key) => key,
    };
    let signer = master.signer();
    let now_s = u64::try_from(input.now.as_second()).unwrap_or_default();
    let session = signer.and_then(|signer| signer.check_session_key(key, now_s));
    if let Some(who) = session {
        return vouched::active(access, who).await;
    }
    match &access.keys {
        Some(keys) if key.starts_with("sk-") => {
            let found = match keys.find(&KeyHash::of(key)).await {
                Ok(found) => found,
                Err(fault) if fault.is_unreachable && access.without_database => {
                    return Ok(Arc::new(unchecked(key)));
                }
                Err(fault) => {
                    let text = "the key cannot be looked up: the database does not answer.";
                    return Err(refuse(Case::KeysUnavailable, text).note(fault.text));
                }
            };
            match found {
                Some(found) => check(&found, input.now, names, &mask_key(key)),
                None => Err(unknown_key(key)),
            }
        }
        _ => Err(unknown_key(key)),
    }
}

/// The credential of a call of a pass-through route, which may say where it is.
fn passed_credential<'a>(
    header: impl Fn(&str) -> Option<&'a str>,
    passage: &Passage,
    key_header: Option<&str>,
) -> Credential {
    // The operator's header for keys goes before every other.
    let is_sent = key_header.is_some_and(|name| header(name).is_some());
    let own = passage.key_header.as_ref().filter(|_| !is_sent);
    if let Some(value) = own.and_then(|name| header(name.as_str())) {
        let bare = ["Bearer ", "bearer "]
            .iter()
            .find_map(|scheme| value.strip_prefix(scheme));
        return match bare.unwrap_or(value).trim() {
            "" => Credential::Malformed,
            key => Credential::Key(Zeroizing::new(key.to_owned())),
        };
    }
    let credential = find_credential(header, key_header);
    match &credential {
        Credential::Key(encoded) if passage.key_is_user => match basic_user(encoded) {
            Some(user) => Credential::Key(Zeroizing::new(user)),
            None => credential,
        },
        _ => credential,
    }
}

/// Whether a known key lets the request in, in LiteLLM's words where it does not.
/// `names` are those of the route, the path last; `shown` is the key as it may be told.
pub(crate) fn check(
    found: &VirtualKey,
    now: Timestamp,
    names: &[&str],
    shown: &str,
) -> Result<Arc<Principal>, Failure> {
    let path = names.last().copied().unwrap_or_default();
    match found.check(now, names) {
        Ok(principal) => Ok(principal.clone()),
        Err(KeyProblem::Blocked) => {
            let text = "Key is blocked. Update via `/key/unblock` if you're an admin.";
            Err(refuse(Case::KeyBlocked, text))
        }
        Err(KeyProblem::TeamBlocked) => {
            let team = found.principal.team_id.as_deref().unwrap_or_default();
            let text = format!("Team={team} is blocked. Update via `/team/unblock` if your admin.");
            Err(refuse(Case::KeyBlocked, &text))
        }
        Err(KeyProblem::Expired { at }) => {
            let message = format!(
                "Authentication Error - Expired Key. Key Expiry time {at} and current time {now}"
            );
            Err(Failure::new(Case::KeyExpired, message).param(shown))
        }
        Err(KeyProblem::Route) => {
            let message = format!(
                "Virtual key is not allowed to call this route. Only allowed to call routes: [{}]. Tried to call route: {path}",
                quoted(&found.principal.allowed_routes)
            );
            Err(Failure::new(Case::RouteNotAllowed, message))
        }
    }
}

enum Answer {
    Principal(Arc<Principal>),
    Check(Zeroizing<String>),
    Normal,
}

/// Asks the custom authenticator. Whatever is not a clear yes lets nobody in by itself.
async fn ask(
    custom: &CustomAuth,
    input: &AuthInput<'_>,
    credential: &Credential,
) -> Result<Answer, Failure> {
    let (path, query) = match input.url.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (input.url, None),
    };
    let headers = input.headers.iter();
    let request = AuthRequest {
        api_key: match credential {
            Credential::Key(key) => key.clone(),
            Credential::Missing | Credential::Malformed => Zeroizing::default(),
        },
        method: input.method.to_owned(),
        path: path.to_owned(),
        query,
        headers: headers
            .map(|(n, v)| {
                (
                    n.as_str().to_owned(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect(),
        client_ip: input.ip.map(|ip| ip.to_string()),
    };
    match custom.plugin.authenticate(request).await {
        Ok(AuthDecision::Identity(mut principal)) => {
            if principal.key_hash.is_none()
                && let Credential::Key(key) = credential
            {
                principal.key_hash = Some(KeyHash::of(key));
            }
            Ok(Answer::Principal(Arc::new(*principal)))
        }
        Ok(AuthDecision::Key(key)) => Ok(Answer::Check(key)),
        Ok(AuthDecision::Decline) if custom.auto => Ok(Answer::Normal),
        Err(fault) if custom.auto => {
            tracing::warn!(
                "custom_auth could not be asked, the key is checked in the normal way: {fault}"
            );
            Ok(Answer::Normal)
        }
        Ok(AuthDecision::Decline) => Err(refuse(
            Case::AuthenticationFailed,
            "custom_auth did not accept this request.",
        )),
        Ok(AuthDecision::Deny(denial)) => {
            let status = if (400..600).contains(&denial.status) {
                denial.status
            } else {
                401
            };
            let mut failure = Failure::new(Case::Denied { status }, denial.message);
            failure.kind = denial.kind;
            failure.param = denial.param;
            Err(failure)
        }
        Err(fault) => {
            let text = "custom_auth could not check this request.";
            Err(refuse(Case::AuthenticationFailed, text).note(fault.text))
        }
    }
}

/// Without a master key everybody comes in; the key given, if any, is only accounted under.
fn anybody(credential: &Credential) -> Principal {
    Principal {
        key_hash: match credential {
            Credential::Key(key) => Some(KeyHash::of(key)),
            Credential::Missing | Credential::Malformed => None,
        },
        user_id: Some("default_user_id".to_owned()),
        role: Some(Role::ProxyAdmin),
        ..Principal::default()
    }
}

/// Somebody whose key cannot be looked up, while `allow_requests_on_db_unavailable` lets calls go on: LiteLLM's identity
/// for that, with an internal user's rights.
fn unchecked(key: &str) -> Principal {
    Principal {
        key_hash: Some(KeyHash::of(key)),
        key_alias: Some("failed-to-connect-to-db".to_owned()),
        role: Some(Role::InternalUser),
        allowed_routes: vec!["llm_api_routes".to_owned()],
        ..Principal::default()
    }
}

fn refuse(case: Case, text: &str) -> Failure {
    Failure::new(case, format!("Authentication Error, {text}"))
}

fn unknown_key(key: &str) -> Failure {
    let shown = mask_key(key);
    if !key.starts_with("sk-") {
        let text = format!(
            "LiteLLM Virtual Key expected. Received={shown}, expected to start with 'sk-'."
        );
        return refuse(Case::NotAVirtualKey, &text);
    }
    let hash = KeyHash::of(key);
    let text = format!(
        "Invalid proxy server token passed. Received API Key = {shown}, Key Hash (Token) ={}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`",
        hash.as_str()
    );
    let latest = "Authentication Error, Invalid proxy server token passed: no such key. Create one with `/key/generate`.";
    refuse(Case::UnknownKey, &text).param("key").latest(latest)
}

#[cfg(test)]
mod tests;
