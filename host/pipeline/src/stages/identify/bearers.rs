//! Who bears a call beside its key: its end user and its tags; and what the operator wants every call to say.

use std::borrow::Cow;
use std::sync::Arc;

use witgate_identity::Principal;
use witgate_wire::json::Raw;

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};

/// Headers of LiteLLM's own that name the end user.
const END_USER_HEADERS: [&str; 2] = ["x-litellm-customer-id", "x-litellm-end-user-id"];

/// Finds them.
pub(super) async fn find(x: &mut Exchange) -> Result<(), Failure> {
    let snapshot = x.snapshot.clone();
    let demands = &snapshot.access.demands;
    if demands.no_client_tags && !x.tags.is_empty() {
        let message = "Tags are set for keys and teams by an administrator; leave `metadata.tags` and `tags` out of requests (reject_clientside_metadata_tags)";
        let mut failure = Failure::new(Case::InvalidBody, message).param("metadata.tags");
        failure.kind = Some("bad_request_error".to_owned());
        return Err(failure);
    }
    add_tags(x);
    by_header(x);
    x.end_user = match x.principal.end_user_id.clone() {
        Some(named) => Some(named),
        None => end_user(x),
    };
    // What is passed through has no `user` that anybody here knows of.
    if demands.user && x.end_user.is_none() && x.passed.is_none() {
        let message = "Authentication Error, 'user' param not passed in. 'enforce_user_param'=True";
        return Err(Failure::new(Case::AuthenticationFailed, message).param("user"));
    }
    let Some(keys) = &snapshot.access.keys else {
        return Ok(());
    };
    if x.end_user.is_none() && x.tags.is_empty() || snapshot.access.is_open() {
        return Ok(());
    }
    let bearers = keys.bearers(x.end_user.as_deref(), &x.tags).await;
    let bearers = match bearers {
        Ok(bearers) => bearers,
        // Their budgets cannot be known, as that of the key cannot.
        Err(fault) if fault.is_unreachable && snapshot.access.without_database => return Ok(()),
        Err(fault) => {
            let text = "Authentication Error, the end user cannot be looked up: the database does not answer.";
            return Err(Failure::new(Case::KeysUnavailable, text).note(fault.text));
        }
    };
    if bearers.is_blocked {
        let user = x.end_user.as_deref().unwrap_or_default();
        let message = format!("User blocked from making LLM API Calls. User={user}");
        return Err(Failure::new(Case::EndUserBlocked, message).param("user"));
    }
    x.region = bearers.region;
    x.scopes = bearers.scopes;
    Ok(())
}

/// Tags that the key and its team have are the call's, too, and headers that the operator calls tags.
fn add_tags(x: &mut Exchange) {
    let principal = x.principal.clone();
    let of = |metadata: &serde_json::Map<String, serde_json::Value>| -> Vec<String> {
        let tags = metadata.get("tags").and_then(serde_json::Value::as_array);
        let tags = tags
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str);
        tags.map(str::to_owned).collect()
    };
    for tag in of(&principal.metadata)
        .into_iter()
        .chain(of(&principal.team_metadata))
    {
        if !x.tags.contains(&tag) {
            x.tags.push(tag);
        }
    }
    let snapshot = x.snapshot.clone();
    for name in &snapshot.settings.tag_headers {
        let tag = x.header(name).filter(|value| !value.is_empty());
        let tag = tag.map(|value| format!("{name}: {value}"));
        x.tags.extend(tag.filter(|tag| !x.tags.contains(tag)));
    }
}

/// `user_header_mappings` with the role of an internal user: the header says whose call it is, where the key does not, and of calls
/// of the master key: whoever has that can be anybody.
fn by_header(x: &mut Exchange) {
    let snapshot = x.snapshot.clone();
    let headers = &snapshot.access.demands.user_headers;
    let master = snapshot.access.master_key.as_ref();
    let is_open =
        || x.principal.user_id.is_none() || master.is_some_and(|master| master.is(&x.principal));
    if headers.is_empty() || !is_open() {
        return;
    }
    let named = headers.iter().find_map(|name| x.header(name));
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let principal = Principal {
            user_id: Some(named.to_owned()),
            ..(*x.principal).clone()
        };
        x.principal = Arc::new(principal);
    }
}

/// The first that is not empty, in LiteLLM's order: headers, then the body.
fn end_user(x: &Exchange) -> Option<String> {
    let snapshot = x.snapshot.clone();
    let own = END_USER_HEADERS
        .iter()
        .copied()
        .filter(|_| x.has_own_headers);
    let configured = snapshot.access.demands.end_user_headers.iter();
    let mut headers = own.chain(configured.map(String::as_str));
    let by_header = headers.find_map(|name| x.header(name).filter(|value| !value.is_empty()));
    if let Some(named) = by_header {
        return Some(named.to_owned());
    }
    let request = x.request.as_ref()?;
    let of = |map: Option<Raw<'_>>, name: &str| text(map?.get(name)?);
    let user = request
        .user()
        .map(Cow::into_owned)
        .filter(|user| !user.is_empty());
    user.or_else(|| of(request.litellm_metadata(), "user"))
        .or_else(|| of(request.metadata(), "user_id"))
        .or_else(|| text(request.field("safety_identifier")?))
}

/// A text, or a number as one.
fn text(value: Raw<'_>) -> Option<String> {
    let text = match value.as_str() {
        Some(text) => text.into_owned(),
        None => value.as_i64()?.to_string(),
    };
    (!text.is_empty()).then_some(text)
}
