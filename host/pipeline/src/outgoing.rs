//! Headers of the client's request that go upstream, and headers that tell the upstream who calls, where the operator wants
//! either.
//!
//! What may carry a credential for this gateway goes nowhere, and what the deployment has of its own wins.

use http::{HeaderMap, HeaderName, HeaderValue};
use witgate_identity::may_carry;

use crate::exchange::Exchange;
use crate::snapshot::Target;

/// What a deployment's requests are given of the client's. Worked out when the configuration is loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientHeaders {
    /// `forward_client_headers_to_llm_api`, of all models or of the deployment's group: `x-…` (not `x-stainless-…`) and
    /// `anthropic-beta`.
    pub forwarded: bool,
    /// `forward_openai_org_id`, of a deployment of OpenAI's: the client's `OpenAI-Organization` in place of the deployment's.
    pub organization: bool,
    /// `add_user_information_to_llm_headers`: `x-litellm-user_api_key_…`, who calls.
    pub caller: bool,
}

const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");

/// How the names begin of the headers that tell who calls.
const CALLER: &str = "x-litellm-user_api_key_";

/// Tokens by which a proxy in front vouches for a user: to this gateway, and to nobody behind it.
const VOUCHED: [&str; 6] = [
    "x-forwarded-access-token",
    "x-auth-request-access-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-goog-iap-jwt-assertion",
    "x-ms-token-aad-access-token",
];

/// Whether a header may carry what lets somebody into this gateway.
pub(crate) fn is_ours(x: &Exchange, name: &str) -> bool {
    may_carry(name, x.snapshot.access.key_header.as_deref()) || VOUCHED.contains(&name)
}

/// Adds to the headers of a request to `target` what its deployment is given of the call.
pub(crate) fn add(x: &Exchange, target: &Target, headers: &mut HeaderMap) {
    let wanted = target.client_headers;
    // A client's own server is not told of keys and teams, nor what proxies in front of the gateway have put in.
    if wanted == ClientHeaders::default() || x.is_at_clients() {
        return;
    }
    if wanted.forwarded {
        forward(x, wanted, headers);
    }
    if wanted.organization
        && let Some(organization) = x.arrival.headers.get(ORGANIZATION)
    {
        headers.insert(ORGANIZATION, organization.clone());
    }
    if wanted.caller {
        tell_caller(x, headers);
    }
}

fn forward(x: &Exchange, wanted: ClientHeaders, headers: &mut HeaderMap) {
    let of_deployment: Vec<HeaderName> = headers.keys().cloned().collect();
    for (name, value) in x.arrival.headers.iter() {
        let text = name.as_str();
        let is_meant =
            text == "anthropic-beta" || text.starts_with("x-") && !text.starts_with("x-stainless-");
        // Nobody tells in a caller's name who calls.
        let is_claim = wanted.caller && text.starts_with(CALLER);
        if is_meant && !is_claim && !is_ours(x, text) && !of_deployment.contains(name) {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// The caller's ids under LiteLLM's names. A value that cannot be in a header is left out.
fn tell_caller(x: &Exchange, headers: &mut HeaderMap) {
    let principal = &x.principal;
    let end_user = x.end_user.as_ref().or(principal.end_user_id.as_ref());
    let hash = principal.key_hash.as_ref().map(|hash| hash.as_str());
    let told = [
        ("hash", hash),
        ("alias", principal.key_alias.as_deref()),
        ("user_id", principal.user_id.as_deref()),
        ("user_email", principal.user_email.as_deref()),
        ("team_id", principal.team_id.as_deref()),
        ("team_alias", principal.team_alias.as_deref()),
        ("org_id", principal.org_id.as_deref()),
        ("end_user_id", end_user.map(String::as_str)),
        ("request_route", Some(x.arrival.route)),
    ];
    for (what, value) in told {
        let name = HeaderName::from_bytes(format!("{CALLER}{what}").as_bytes());
        let value = value.and_then(|value| HeaderValue::from_str(value).ok());
        if let (Ok(name), Some(value)) = (name, value) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests;
