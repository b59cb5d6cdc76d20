//! Plugins as the pipeline and the hub see them: adapters between the plugin host's types and theirs.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use witgate_events::mask::is_secret_header;
use witgate_events::{Delivery, EncodedEvent, EventKind, Sink};
use witgate_identity::{KeyHash, Principal, Role};
use witgate_management::{KeyAction, KeyVerdict};
use witgate_pipeline as pipeline;
use witgate_pipeline::PluginFault;
use witgate_plugins as host;

/// A guardrail component as the pipeline's guardrail.
pub struct Guardrail(pub Arc<host::Guardrail>);

/// The pipeline's body view, for the plugin host.
pub(super) struct View(pub(super) Arc<dyn pipeline::BodyView>);

impl host::BodyView for View {
    fn raw(&self) -> Cow<'_, str> {
        self.0.raw()
    }

    fn size(&self) -> u64 {
        self.0.size()
    }

    fn field(&self, pointer: &str) -> Option<String> {
        self.0.field(pointer)
    }

    fn texts(&self) -> Vec<host::Text> {
        let texts = self.0.texts().into_iter();
        texts
            .map(|t| host::Text {
                pointer: t.pointer,
                role: t.role,
                text: t.text,
            })
            .collect()
    }
}

#[async_trait]
impl pipeline::Guardrail for Guardrail {
    async fn check(
        &self,
        call: pipeline::GuardCall,
        body: Arc<dyn pipeline::BodyView>,
    ) -> Result<pipeline::Verdict, PluginFault> {
        let verdict = self
            .0
            .check(guard_call(call), Arc::new(View(body)))
            .await
            .map_err(fault)?;
        Ok(match verdict {
            host::Verdict::Allow => pipeline::Verdict::Allow,
            host::Verdict::Edit {
                edits,
                findings: found,
            } => pipeline::Verdict::Edit {
                edits: edits.into_iter().map(edit_of).collect(),
                findings: findings(found),
            },
            host::Verdict::Block(refusal) => pipeline::Verdict::Block(block(refusal)),
            host::Verdict::CouldNotJudge(why) => pipeline::Verdict::CouldNotJudge(why),
        })
    }

    async fn open_stream(
        &self,
        call: pipeline::GuardCall,
    ) -> Result<Option<Box<dyn pipeline::StreamGuard>>, PluginFault> {
        let guard = self.0.open_stream(guard_call(call)).await.map_err(fault)?;
        Ok(guard.map(|guard| Box::new(StreamGuard(guard)) as Box<dyn pipeline::StreamGuard>))
    }
}

struct StreamGuard(host::StreamGuard);

#[async_trait]
impl pipeline::StreamGuard for StreamGuard {
    async fn push(
        &mut self,
        channel: u32,
        text: &str,
    ) -> Result<pipeline::StreamVerdict, PluginFault> {
        self.0
            .push(channel, text)
            .await
            .map(stream_verdict)
            .map_err(fault)
    }

    async fn finish(&mut self, channel: u32) -> Result<pipeline::StreamVerdict, PluginFault> {
        self.0
            .finish(channel)
            .await
            .map(stream_verdict)
            .map_err(fault)
    }

    async fn findings(&mut self) -> Vec<pipeline::Finding> {
        self.0.findings().await.map(findings).unwrap_or_default()
    }
}

pub(super) fn fault(error: host::CallError) -> PluginFault {
    PluginFault {
        is_busy: matches!(error.fault, host::Fault::Overloaded),
        text: error.to_string(),
    }
}

fn stream_verdict(verdict: host::StreamVerdict) -> pipeline::StreamVerdict {
    match verdict {
        host::StreamVerdict::Release(text) => pipeline::StreamVerdict::Release(text),
        host::StreamVerdict::Block(refusal) => pipeline::StreamVerdict::Block(block(refusal)),
    }
}

pub(super) fn edit_of(edit: host::Edit) -> pipeline::Edit {
    match edit {
        host::Edit::Text { pointer, text } => pipeline::Edit::Text { pointer, text },
        host::Edit::Value { pointer, json } => pipeline::Edit::Value { pointer, json },
        host::Edit::Remove { pointer } => pipeline::Edit::Remove { pointer },
    }
}

fn block(block: host::Block) -> pipeline::Block {
    pipeline::Block {
        message: block.message,
        status: block.status,
        detail: block.detail,
        findings: findings(block.findings),
    }
}

fn findings(findings: Vec<host::Finding>) -> Vec<pipeline::Finding> {
    findings
        .into_iter()
        .map(|f| pipeline::Finding {
            kind: f.kind,
            count: f.count,
        })
        .collect()
}

/// What a guardrail may ask about the client's request.
struct Facts {
    call_id: String,
    headers: Arc<http::HeaderMap>,
    principal: Arc<Principal>,
}

impl host::RequestFacts for Facts {
    fn headers(&self) -> Vec<(String, String)> {
        let text =
            |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let open = self.headers.iter();
        open.filter(|(name, _)| !is_secret_header(name.as_str()))
            .map(|(name, value)| (name.as_str().to_owned(), text(value)))
            .collect()
    }

    fn call_id(&self) -> Option<String> {
        Some(self.call_id.clone())
    }

    fn caller(&self) -> String {
        let who = &self.principal;
        let facts = [
            (
                "user_api_key_hash",
                who.key_hash.as_ref().map(KeyHash::as_str),
            ),
            ("user_api_key_alias", who.key_alias.as_deref()),
            ("user_api_key_user_id", who.user_id.as_deref()),
            ("user_api_key_user_email", who.user_email.as_deref()),
            ("user_api_key_team_id", who.team_id.as_deref()),
            ("user_api_key_team_alias", who.team_alias.as_deref()),
            ("user_api_key_end_user_id", who.end_user_id.as_deref()),
            ("user_api_key_org_id", who.org_id.as_deref()),
        ];
        let known = facts
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        serde_json::Value::Object(known.collect()).to_string()
    }
}

/// The client's request behind a call, for plugins that ask about it and keep things with it.
pub(super) fn request_scope(
    call_id: &str,
    headers: &Arc<http::HeaderMap>,
    principal: &Arc<Principal>,
    memory: &pipeline::CallMemory,
) -> host::RequestScope {
    host::RequestScope {
        memory: memory.get_or_default(),
        facts: Arc::new(Facts {
            call_id: call_id.to_owned(),
            headers: headers.clone(),
            principal: principal.clone(),
        }),
    }
}

/// Who asks, as plugins are told.
pub(super) fn principal_of(principal: &Principal) -> host::Principal {
    host::Principal {
        key_hash: principal
            .key_hash
            .as_ref()
            .map(|hash| hash.as_str().to_owned()),
        key_alias: principal.key_alias.clone(),
        user_id: principal.user_id.clone(),
        team_id: principal.team_id.clone(),
        org_id: principal.org_id.clone(),
        end_user_id: principal.end_user_id.clone(),
        role: principal.role.as_ref().map(|role| role.as_str().to_owned()),
    }
}

fn guard_call(call: pipeline::GuardCall) -> host::Call {
    let request = request_scope(&call.id, &call.headers, &call.principal, &call.memory);
    host::Call {
        request: Some(request),
        id: call.id,
        phase: match call.phase {
            pipeline::Phase::PreCall => host::Phase::PreCall,
            pipeline::Phase::DuringCall => host::Phase::DuringCall,
            pipeline::Phase::PostCall => host::Phase::PostCall,
            pipeline::Phase::LoggingOnly => host::Phase::LoggingOnly,
        },
        call_type: call.call_type.to_owned(),
        model: call.model,
        principal: principal_of(&call.principal),
        params: call.params,
    }
}

/// An authenticator component as the pipeline's authenticator.
pub struct Authenticator(pub Arc<host::Authenticator>);

#[async_trait]
impl pipeline::Authenticator for Authenticator {
    async fn authenticate(
        &self,
        request: pipeline::AuthRequest,
    ) -> Result<pipeline::AuthDecision, PluginFault> {
        let key = (!request.api_key.is_empty()).then(|| KeyHash::of(&request.api_key));
        let request = host::AuthRequest {
            api_key: request.api_key.to_string(),
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            client_ip: request.client_ip,
        };
        Ok(match self.0.authenticate(request).await.map_err(fault)? {
            host::Decision::Identity(identity) => {
                identified(self.0.name(), *identity, key, jiff::Timestamp::now())?
            }
            host::Decision::Key(key) => pipeline::AuthDecision::Key(key.into()),
            host::Decision::Decline => pipeline::AuthDecision::Decline,
            host::Decision::Deny(denial) => pipeline::AuthDecision::Deny(pipeline::AuthDenial {
                status: denial.status,
                message: denial.message,
                kind: denial.kind,
                param: denial.param,
            }),
        })
    }
}

/// An authenticator that an administrator turned off: it knows nobody, and leaves every request to the
/// gateway's own authentication.
pub struct TurnedOff;

#[async_trait]
impl pipeline::Authenticator for TurnedOff {
    async fn authenticate(
        &self,
        _request: pipeline::AuthRequest,
    ) -> Result<pipeline::AuthDecision, PluginFault> {
        Ok(pipeline::AuthDecision::Decline)
    }
}

/// Whom an authenticator vouches for, unless their time is over. Members of `UserAPIKeyAuth` that the gateway does not act on are
/// told, not dropped in silence. `key` is the request's, which the identity may replace.
fn identified(
    plugin: &str,
    identity: host::Identity,
    key: Option<KeyHash>,
    now: jiff::Timestamp,
) -> Result<pipeline::AuthDecision, PluginFault> {
    let object = |name: &str, json: &str| -> Result<serde_json::Map<_, _>, PluginFault> {
        if json.trim().is_empty() {
            return Ok(serde_json::Map::new());
        }
        serde_json::from_str(json).map_err(|e| {
            PluginFault::new(format!(
                "{plugin}: identity.{name} is not a JSON object: {e}"
            ))
        })
    };
    let role = match identity.role.as_deref() {
        None => Role::InternalUser,
        Some(name) => Role::parse(name).ok_or_else(|| {
            PluginFault::new(format!(
                "{plugin}: identity.role {name:?} is not one of LiteLLM's roles"
            ))
        })?,
    };
    let mut extra = object("extra", &identity.extra)?;
    let wrong = |name: &str, what: &str| {
        PluginFault::new(format!("{plugin}: identity.extra.{name} is not {what}"))
    };
    let allowed_routes = match extra.remove("allowed_routes") {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => {
            serde_json::from_value(list).map_err(|_| wrong("allowed_routes", "a list of routes"))?
        }
    };
    let expires = match extra.remove("expires") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => {
            Some(moment(&text).ok_or_else(|| wrong("expires", "a time in ISO 8601"))?)
        }
        Some(_) => return Err(wrong("expires", "a time in ISO 8601")),
    };
    if let Some(at) = expires.filter(|at| *at <= now) {
        return Ok(pipeline::AuthDecision::Deny(pipeline::AuthDenial {
            status: 401,
            message: format!(
                "Authentication Error - Expired Key. Key Expiry time {at} and current time {now}"
            ),
            kind: Some("expired_key".to_owned()),
            param: None,
        }));
    }
    let metadata = object("metadata", &identity.metadata)?;
    let mut principal = Principal {
        key_hash: identity.api_key.as_deref().map(KeyHash::of).or(key),
        key_alias: identity.key_alias,
        user_id: identity.user_id,
        user_email: identity.user_email,
        team_id: identity.team_id,
        team_alias: identity.team_alias,
        org_id: identity.org_id,
        end_user_id: identity.end_user_id,
        role: Some(role),
        models: identity.models,
        allowed_routes,
        metadata,
        ..Principal::default()
    };
    // Those without a credential are not one key together.
    let key = principal.key_hash.as_ref().map(KeyHash::as_str);
    let scopes = super::bearers::scopes(&mut extra, &principal, key);
    principal.scopes =
        scopes.map_err(|error| PluginFault::new(format!("{plugin}: identity.extra: {error}")))?;
    if !extra.is_empty() {
        let names: Vec<&str> = extra.keys().map(String::as_str).collect();
        tracing::warn!(plugin, ?names, "custom_auth set fields that have no effect");
    }
    Ok(pipeline::AuthDecision::Identity(Box::new(principal)))
}

/// A time as Python writes one: without a zone it is UTC.
fn moment(text: &str) -> Option<jiff::Timestamp> {
    let zoned = text.parse().ok();
    zoned.or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
    })
}

/// A key policy component as the control plane's policy.
pub struct KeyPolicy(pub Arc<host::KeyPolicy>);

#[async_trait]
impl witgate_management::KeyPolicy for KeyPolicy {
    async fn judge(
        &self,
        action: KeyAction,
        caller: &Principal,
        body: String,
    ) -> Result<KeyVerdict, String> {
        let request = host::KeyRequest {
            action: match action {
                KeyAction::Generate => host::KeyAction::Generate,
                KeyAction::Update => host::KeyAction::Update,
            },
            caller: principal_of(caller),
            body,
        };
        let verdict = self.0.judge(request).await.map_err(fault);
        Ok(match verdict.map_err(|fault| fault.text)? {
            host::KeyVerdict::Allow => KeyVerdict::Allow,
            host::KeyVerdict::Deny(message) => KeyVerdict::Deny(message),
            host::KeyVerdict::Edit(body) => {
                let body = serde_json::from_str(&body).map_err(|_| {
                    let name = self.0.name();
                    format!("{name}: the body it wants to go on with is not an object")
                })?;
                KeyVerdict::Edit(body)
            }
        })
    }
}

/// A log sink component as the hub's sink.
pub struct LogSink {
    plugin: Arc<host::LogSink>,
    /// Beginning of the names of request parameters that are for this sink, such as `langfuse_`.
    family: String,
}

impl LogSink {
    /// The sink of this name in the configuration.
    pub fn new(name: &str, plugin: Arc<host::LogSink>) -> Self {
        Self {
            plugin,
            family: format!("{}_", name.replace('-', "_")),
        }
    }
}

#[async_trait]
impl Sink for LogSink {
    async fn deliver(&self, batch: &[EncodedEvent]) -> Delivery {
        let contexts: Vec<bytes::Bytes> = batch
            .iter()
            .map(|event| event.context_with_dynamic(|name| name.starts_with(&self.family)))
            .collect();
        // What the hub encodes is JSON, and so UTF-8.
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or("{}");
        let events: Vec<host::Event<'_>> = batch
            .iter()
            .zip(&contexts)
            .map(|(event, context)| host::Event {
                id: &event.id,
                kind: match event.kind {
                    EventKind::Success | EventKind::Service | EventKind::Audit => {
                        host::EventKind::Success
                    }
                    // Log sinks get no alerts.
                    EventKind::Failure
                    | EventKind::ProxyFailure
                    | EventKind::ServiceFailure
                    | EventKind::Alert => host::EventKind::Failure,
                },
                payload: text(&event.json),
                context: text(context),
            })
            .collect();
        match self.plugin.deliver(&events).await {
            Ok(host::Outcome::Delivered) => Delivery::Delivered,
            Ok(host::Outcome::Retry { after, reason }) => Delivery::Retry { after, reason },
            Ok(host::Outcome::Rejected(reason)) => Delivery::Rejected { reason },
            Ok(host::Outcome::Partial {
                retry,
                rejected,
                retry_after,
            }) => Delivery::Partial {
                retry,
                rejected,
                after: retry_after,
            },
            Err(error) => failed(&error),
        }
    }
}

/// A fault that another try may not have is tried again; what the plugin itself calls final is not.
pub(super) fn failed(error: &host::CallError) -> Delivery {
    let reason = error.to_string();
    match &error.fault {
        host::Fault::Plugin(
            host::PluginError::InvalidSettings(_)
            | host::PluginError::Denied(_)
            | host::PluginError::Failed(_),
        )
        | host::Fault::InputTooLarge { .. } => Delivery::Rejected { reason },
        host::Fault::BreakerOpen { retry_in } => Delivery::Retry {
            after: Some(*retry_in),
            reason,
        },
        _ => Delivery::Retry {
            after: None,
            reason,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(extra: &str) -> Result<pipeline::AuthDecision, PluginFault> {
        let identity = host::Identity {
            api_key: None,
            key_alias: None,
            user_id: Some("ann".to_owned()),
            user_email: None,
            role: None,
            team_id: None,
            team_alias: None,
            org_id: None,
            end_user_id: None,
            models: Vec::new(),
            metadata: String::new(),
            extra: extra.to_owned(),
        };
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        identified("auth", identity, None, now)
    }

    #[test]
    fn an_identity_has_an_end_and_routes() {
        for (expires, is_in) in [
            ("2026-01-01T12:00:01Z", true),
            ("2026-01-01T12:00:00Z", false),
            ("2026-01-01T13:00:00+02:00", false),
            // As Python's `str` writes a time.
            ("2026-01-01 12:00:01+00:00", true),
            ("2026-01-01 11:59:59", false),
            ("2026-01-01T12:00:01.5", true),
        ] {
            match decision(&format!(r#"{{"expires": "{expires}"}}"#)) {
                Ok(pipeline::AuthDecision::Identity(_)) => assert!(is_in, "{expires}"),
                Ok(pipeline::AuthDecision::Deny(denial)) => {
                    assert!(!is_in, "{expires}");
                    assert_eq!(denial.kind.as_deref(), Some("expired_key"));
                }
                other => panic!("{expires}: {other:?}"),
            }
        }
        let routes = r#"{"allowed_routes": ["/key/info"], "expires": null}"#;
        match decision(routes) {
            Ok(pipeline::AuthDecision::Identity(who)) => {
                assert_eq!(who.allowed_routes, ["/key/info"]);
            }
            other => panic!("{other:?}"),
        }
        // What cannot be read lets nobody in.
        for wrong in [
            r#"{"expires": "soon"}"#,
            r#"{"expires": 4}"#,
            r#"{"allowed_routes": "/key/info"}"#,
            r#"{"allowed_routes": [1]}"#,
        ] {
            let fault = decision(wrong).unwrap_err();
            assert!(fault.to_string().contains("identity.extra."), "{fault}");
        }
    }
}
