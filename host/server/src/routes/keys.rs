//! Management of virtual keys: `/key/generate`, `/key/info` and their sisters.
//!
//! Shapes and words are LiteLLM's. Administrators manage every key; everybody else only keys of their own user, and
//! gives a key no more than the one they come with has.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use http::StatusCode;
use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};
use witgate_identity::{
    FieldError, KEY_BYTES, KeyHash, KeyRecord, KeyRequest, Role, key_text, mask_key,
};
use witgate_pipeline::{Access, Case, Failure, KeyAction, KeyVerdict, Principal, Reply};
use witgate_wire::errors::{CompatErrors, ErrorBody};

use super::info;
use crate::{BodyError, ReqBody};

/// Longest body of a management request.
const BODY_MAX: u64 = 1 << 20;

/// Keys on a page of `/key/list`.
const PAGE: i64 = 10;
const PAGE_MAX: i64 = 100;

/// What is done with keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOperation {
    /// `POST /key/generate`
    Generate,
    /// `POST /key/update`
    Update,
    /// `POST /key/delete`
    Delete,
    /// `GET /key/info`
    Info,
    /// `GET /key/list`
    List,
    /// `POST /key/block`
    Block,
    /// `POST /key/unblock`
    Unblock,
}

/// Where virtual keys are kept. What was changed is in force for the next request.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The key with this hash.
    async fn get(&self, token: &str) -> Result<Option<KeyRecord>, KeyStoreError>;
    /// Writes a new key.
    async fn insert(&self, key: &KeyRecord) -> Result<(), KeyStoreError>;
    /// Writes a changed key; false when there is none with its hash.
    async fn update(&self, key: &KeyRecord) -> Result<bool, KeyStoreError>;
    /// Removes the keys with these hashes.
    async fn delete(&self, tokens: &[String]) -> Result<(), KeyStoreError>;
    /// The keys that fit, newest first, and how many there are in all.
    async fn list(&self, which: &KeySearch) -> Result<(Vec<KeyRecord>, i64), KeyStoreError>;
}

/// Why the store did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// There is a key with this text.
    #[error("a key with this text already exists")]
    KeyTaken,
    /// There is a key with this alias.
    #[error("a key with this alias already exists")]
    AliasTaken,
    /// The database failed; the text is for the operator.
    #[error("{0}")]
    Unavailable(String),
}

/// Which keys are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySearch {
    /// Of this owner.
    pub user_id: Option<String>,
    /// Of this team.
    pub team_id: Option<String>,
    /// With exactly this alias.
    pub key_alias: Option<String>,
    /// With this hash.
    pub token: Option<String>,
    /// Skipped.
    pub offset: i64,
    /// At most so many.
    pub limit: i64,
}

/// A request about keys.
pub(super) struct KeyCall<'a> {
    pub store: &'a dyn KeyStore,
    pub access: &'a Access,
    pub compat: CompatErrors,
    pub principal: Arc<Principal>,
    pub route: &'static str,
    pub query: Option<&'a str>,
    pub body: ReqBody,
    pub now: Timestamp,
}

/// Answers it.
pub(super) async fn answer(call: KeyCall<'_>, operation: KeyOperation) -> Reply {
    let compat = call.compat;
    let reads = matches!(operation, KeyOperation::Info | KeyOperation::List);
    if !reads && call.only_views() {
        let refused = Refusal::from(info::admin_only(&call.principal, call.route));
        return refused.reply(compat);
    }
    let result = match operation {
        KeyOperation::Generate => generate(call).await,
        KeyOperation::Update => update(call).await,
        KeyOperation::Delete => delete(call).await,
        KeyOperation::Info => info(call).await,
        KeyOperation::List => list(call).await,
        KeyOperation::Block => block(call, true).await,
        KeyOperation::Unblock => block(call, false).await,
    };
    match result {
        Ok(value) => Reply::json(StatusCode::OK, value.to_string()),
        Err(refusal) => refusal.reply(compat),
    }
}

async fn generate(mut call: KeyCall<'_>) -> Result<Value, Refusal> {
    let body = call.read_body().await?;
    let now = call.now();
    let mut request = KeyRequest::read(&body, now)?;
    if let Some(edited) = call.judge(KeyAction::Generate, &body).await? {
        request = KeyRequest::read(&edited, now)?;
    }
    call.bound(&mut request)?;
    let text = match request.key.take() {
        Some(text) => text,
        None => {
            let random: [u8; KEY_BYTES] = rand::random();
            key_text(&random)
        }
    };
    if !text.starts_with("sk-") {
        let shown = mask_key(&text);
        let message = format!(
            "Invalid key format. LiteLLM Virtual Key must start with 'sk-'. Received: {shown}"
        );
        return Err(Refusal::bad(message).param("key"));
    }
    let master = call.access.master_key.as_ref();
    if master.is_some_and(|master| master.check(&text).is_some()) {
        return Err(KeyStoreError::KeyTaken.into());
    }
    let by = call.principal.user_id.as_deref();
    let mut key = KeyRecord {
        token: KeyHash::of(&text).as_str().to_owned(),
        key_name: Some(mask_key(&text)),
        created_at: now,
        created_by: by.map(str::to_owned),
        ..KeyRecord::default()
    };
    key.apply(request, by, now);
    call.store.insert(&key).await?;
    let mut shown = key.shown();
    shown.insert("key".to_owned(), text.into());
    shown.insert("token".to_owned(), key.token.as_str().into());
    shown.insert("token_id".to_owned(), key.token.into());
    Ok(Value::Object(shown))
}

async fn update(mut call: KeyCall<'_>) -> Result<Value, Refusal> {
    let body = call.read_body().await?;
    let now = call.now();
    let mut request = KeyRequest::read(&body, now)?;
    if let Some(edited) = call.judge(KeyAction::Update, &body).await? {
        request = KeyRequest::read(&edited, now)?;
    }
    let Some(named) = request.key.take() else {
        return Err(missing("key"));
    };
    let mut key = call.owned(&named).await?;
    call.bound_change(&mut request, &key)?;
    key.apply(request, call.principal.user_id.as_deref(), now);
    if !call.store.update(&key).await? {
        return Err(not_found(&named));
    }
    let mut shown = key.shown();
    shown.insert("key".to_owned(), named.into());
    Ok(Value::Object(shown))
}

async fn delete(mut call: KeyCall<'_>) -> Result<Value, Refusal> {
    let body = call.read_body().await?;
    let names = |member: &str| -> Result<Vec<String>, Refusal> {
        let Some(value) = body.get(member).filter(|value| !value.is_null()) else {
            return Ok(Vec::new());
        };
        serde_json::from_value(value.clone())
            .map_err(|_| invalid(member, "list_type", "Input should be a valid list", value))
    };
    let (keys, aliases) = (names("keys")?, names("key_aliases")?);
    if keys.is_empty() && aliases.is_empty() {
        return Err(Refusal::bad(
            "Either `keys` or `key_aliases` must be given: a list of keys (or their hashes), or of their aliases",
        ));
    }
    let mut tokens = Vec::with_capacity(keys.len() + aliases.len());
    for named in &keys {
        tokens.push(call.owned(named).await?.token);
    }
    for alias in &aliases {
        let which = KeySearch {
            key_alias: Some(alias.clone()),
            limit: 1,
            ..KeySearch::default()
        };
        let (mut found, _) = call.store.list(&which).await?;
        let key = found.pop().ok_or_else(|| not_found(alias))?;
        call.may_manage(&key, alias)?;
        tokens.push(key.token);
    }
    call.store.delete(&tokens).await?;
    let deleted: Vec<String> = keys.into_iter().chain(aliases).collect();
    Ok(json!({ "deleted_keys": deleted }))
}

async fn info(call: KeyCall<'_>) -> Result<Value, Refusal> {
    // Without a parameter it is the caller's own key.
    let own = call.principal.key_hash.as_ref().map(|hash| hash.as_str());
    let asked = call.param("key");
    let named = match asked.as_deref().or(own) {
        Some(named) => named.to_owned(),
        None => return Err(missing("key")),
    };
    let key = match asked {
        Some(_) => call.owned(&named).await?,
        None => call.find(&named).await?,
    };
    Ok(json!({"key": shown_name(&named), "info": key.shown()}))
}

async fn list(call: KeyCall<'_>) -> Result<Value, Refusal> {
    let number = |name: &str, default: i64, max: i64| -> Result<i64, Refusal> {
        let Some(text) = call.param(name) else {
            return Ok(default);
        };
        match text.parse::<i64>() {
            Ok(number) if (1..=max).contains(&number) => Ok(number),
            _ => {
                let message = format!("{name} is a whole number from 1 to {max}");
                Err(Refusal::bad(message).param(name))
            }
        }
    };
    let (page, size) = (
        number("page", 1, i64::MAX >> 8)?,
        number("size", PAGE, PAGE_MAX)?,
    );
    let mut user_id = call.param("user_id");
    if !call.principal.is_admin() {
        let own = call.user()?.to_owned();
        if user_id.as_deref().is_some_and(|asked| asked != own) {
            return Err(Refusal::forbidden("You may list your own keys only"));
        }
        user_id = Some(own);
    }
    let which = KeySearch {
        user_id,
        team_id: call.param("team_id"),
        key_alias: call.param("key_alias"),
        token: call.param("key_hash"),
        offset: (page - 1).saturating_mul(size),
        limit: size,
    };
    let (keys, total) = call.store.list(&which).await?;
    let whole = call
        .param("return_full_object")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let keys: Vec<Value> = keys
        .into_iter()
        .map(|key| match whole {
            false => Value::String(key.token),
            true => {
                let mut shown = key.shown();
                shown.insert("token".to_owned(), key.token.into());
                Value::Object(shown)
            }
        })
        .collect();
    Ok(json!({
        "keys": keys,
        "total_count": total,
        "current_page": page,
        "total_pages": (total + size - 1) / size,
    }))
}

async fn block(mut call: KeyCall<'_>, blocked: bool) -> Result<Value, Refusal> {
    if !call.principal.is_admin() {
        return Err(Refusal::from(info::admin_only(&call.principal, call.route)));
    }
    let body = call.read_body().await?;
    let Some(named) = body.get("key").and_then(Value::as_str) else {
        return Err(missing("key"));
    };
    let mut key = call.find(named).await?;
    let request = KeyRequest {
        blocked: Some(blocked),
        ..KeyRequest::default()
    };
    key.apply(request, call.principal.user_id.as_deref(), call.now());
    if !call.store.update(&key).await? {
        return Err(not_found(named));
    }
    let mut shown = key.shown();
    shown.insert("token".to_owned(), key.token.into());
    Ok(Value::Object(shown))
}

impl KeyCall<'_> {
    /// The database keeps milliseconds.
    fn now(&self) -> Timestamp {
        self.now.round(Unit::Millisecond).unwrap_or(self.now)
    }

    async fn read_body(&mut self) -> Result<Map<String, Value>, Refusal> {
        let body = std::mem::replace(&mut self.body, ReqBody::from(bytes::Bytes::new()));
        let bytes = body.limited(BODY_MAX).collect().await.map_err(|error| {
            let case = match error {
                BodyError::TooLarge { .. } => Case::BodyTooLarge,
                BodyError::Stalled { .. } | BodyError::Broken => Case::BodyIncomplete,
            };
            Refusal::from(Failure::new(case, error.to_string()))
        })?;
        if bytes.is_empty() {
            return Ok(Map::new());
        }
        let invalid = |text: String| Refusal::from(Failure::new(Case::InvalidBody, text));
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(members)) => Ok(members),
            Ok(_) => Err(invalid(
                "Invalid JSON payload: expected an object".to_owned(),
            )),
            Err(error) => Err(invalid(format!("Invalid JSON payload: {error}"))),
        }
    }

    fn param(&self, name: &str) -> Option<String> {
        let pairs = url::form_urlencoded::parse(self.query?.as_bytes());
        let mut values = pairs.filter(|(key, value)| key == name && !value.is_empty());
        values.next().map(|(_, value)| value.into_owned())
    }

    /// Asks the operator's policy. The body to go on with when the policy changed it.
    async fn judge(
        &self,
        action: KeyAction,
        body: &Map<String, Value>,
    ) -> Result<Option<Map<String, Value>>, Refusal> {
        let Some(policy) = &self.access.key_policy else {
            return Ok(None);
        };
        // The policy judges what is asked for. The key's text is not its business: it gets the hash.
        let mut shown = body.clone();
        let text = body.get("key").filter(|key| key.is_string());
        if let Some(text) = text.and_then(Value::as_str) {
            shown.insert("key".to_owned(), shown_name(text).into());
        }
        let json = Value::Object(shown.clone()).to_string();
        match policy.judge(action, &self.principal, json).await {
            Ok(KeyVerdict::Allow) => Ok(None),
            Ok(KeyVerdict::Edit(mut edited)) => {
                if let Some(text) = text
                    && edited.get("key") == shown.get("key")
                {
                    edited.insert("key".to_owned(), text.clone());
                }
                Ok(Some(edited))
            }
            Ok(KeyVerdict::Deny(message)) if message.is_empty() => Err(Refusal::forbidden(
                "Authentication Failed - Custom Auth Rule",
            )),
            Ok(KeyVerdict::Deny(message)) => Err(Refusal::forbidden(message)),
            Err(fault) => {
                let failure = Failure::internal(fault.text);
                Err(Refusal::from(failure))
            }
        }
    }

    /// Whether the caller's role sees and changes nothing.
    fn only_views(&self) -> bool {
        let role = self.principal.role.as_ref();
        matches!(
            role,
            Some(Role::InternalUserViewer | Role::ProxyAdminViewer)
        )
    }

    /// The caller's user, whose keys they manage.
    fn user(&self) -> Result<&str, Refusal> {
        let user = self.principal.user_id.as_deref();
        user.ok_or_else(|| Refusal::from(info::admin_only(&self.principal, self.route)))
    }

    /// Cuts a new key down to its maker's rights.
    fn bound(&self, request: &mut KeyRequest) -> Result<(), Refusal> {
        if self.principal.is_admin() {
            return Ok(());
        }
        let user = self.user()?;
        match &request.user_id {
            Some(Some(other)) if other != user => {
                return Err(
                    Refusal::forbidden("You may make keys for yourself only").param("user_id")
                );
            }
            _ => request.user_id = Some(Some(user.to_owned())),
        }
        let own_team = &self.principal.team_id;
        match &request.team_id {
            Some(team) if team.is_some() && team != own_team => {
                return Err(
                    Refusal::forbidden("You may make keys for your own team only").param("team_id"),
                );
            }
            _ => request.team_id = Some(own_team.clone()),
        }
        request.models = self.within("models", request.models.take(), &self.principal.models)?;
        let routes = request.allowed_routes.take();
        request.allowed_routes =
            self.within("allowed_routes", routes, &self.principal.allowed_routes)?;
        Ok(())
    }

    /// The same for a change: what is not said stays, and whose key it is cannot be changed.
    fn bound_change(&self, request: &mut KeyRequest, key: &KeyRecord) -> Result<(), Refusal> {
        if self.principal.is_admin() {
            return Ok(());
        }
        let moved = request
            .user_id
            .as_ref()
            .is_some_and(|user| *user != key.user_id)
            || request
                .team_id
                .as_ref()
                .is_some_and(|team| *team != key.team_id)
            || request
                .blocked
                .is_some_and(|blocked| Some(blocked) != key.blocked);
        if moved {
            let text = "Only an administrator may give a key to another user or team, or block and unblock it";
            return Err(Refusal::forbidden(text));
        }
        if let Some(models) = request.models.take() {
            request.models = self.within("models", Some(models), &self.principal.models)?;
        }
        if let Some(routes) = request.allowed_routes.take() {
            let own = &self.principal.allowed_routes;
            request.allowed_routes = self.within("allowed_routes", Some(routes), own)?;
        }
        Ok(())
    }

    /// What is asked for, when the caller has all of it; all that the caller has when nothing is asked for.
    fn within(
        &self,
        field: &'static str,
        asked: Option<Vec<String>>,
        own: &[String],
    ) -> Result<Option<Vec<String>>, Refusal> {
        if own.is_empty() {
            return Ok(asked);
        }
        let asked = asked.unwrap_or_default();
        if asked.is_empty() {
            return Ok(Some(own.to_vec()));
        }
        match asked.iter().find(|item| !own.contains(item)) {
            None => Ok(Some(asked)),
            Some(item) => {
                let message = format!(
                    "A key cannot be given more than yours has: {field} {item:?} is not among {own:?}"
                );
                Err(Refusal::forbidden(message).param(field))
            }
        }
    }

    /// A key by its text or its hash.
    async fn find(&self, named: &str) -> Result<KeyRecord, Refusal> {
        let token = match named.starts_with("sk-") {
            true => KeyHash::of(named).as_str().to_owned(),
            false => named.to_owned(),
        };
        let found = self.store.get(&token).await?;
        found.ok_or_else(|| not_found(named))
    }

    /// The same, when the caller may manage it.
    async fn owned(&self, named: &str) -> Result<KeyRecord, Refusal> {
        let key = self.find(named).await?;
        self.may_manage(&key, named)?;
        Ok(key)
    }

    /// Somebody else's key is as good as none: its existence is not told.
    fn may_manage(&self, key: &KeyRecord, named: &str) -> Result<(), Refusal> {
        let own = self.principal.user_id.is_some() && self.principal.user_id == key.user_id;
        match self.principal.is_admin() || own {
            true => Ok(()),
            false => Err(not_found(named)),
        }
    }
}

/// A key as an answer may repeat it: only its hash is shown whole.
fn shown_name(named: &str) -> String {
    match named.starts_with("sk-") {
        true => KeyHash::of(named).as_str().to_owned(),
        false => named.to_owned(),
    }
}

/// Why a request about keys is not answered.
enum Refusal {
    /// In the shape of LiteLLM's `ProxyException`.
    Error(Box<ErrorBody>),
    /// In the shape of FastAPI's validation: status 422.
    Invalid(Vec<Value>),
    /// A case of the pipeline's catalogue.
    Failure(Box<Failure>),
}

impl Refusal {
    fn bad(message: impl Into<String>) -> Self {
        Self::Error(Box::new(
            ErrorBody::new(400, message).kind("bad_request_error"),
        ))
    }

    fn forbidden(message: impl Into<String>) -> Self {
        Self::Error(Box::new(ErrorBody::new(403, message).kind("auth_error")))
    }

    fn param(mut self, name: &str) -> Self {
        if let Self::Error(body) = &mut self {
            body.param = Some(name.to_owned());
        }
        self
    }

    fn reply(self, compat: CompatErrors) -> Reply {
        match self {
            Self::Error(body) => {
                let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::BAD_REQUEST);
                Reply::json(status, body.openai(compat))
            }
            Self::Invalid(errors) => Reply::json(
                StatusCode::UNPROCESSABLE_ENTITY,
                json!({ "detail": errors }).to_string(),
            ),
            Self::Failure(failure) => witgate_pipeline::rescue(&failure, compat),
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl From<KeyStoreError> for Refusal {
    fn from(error: KeyStoreError) -> Self {
        match error {
            KeyStoreError::KeyTaken => Self::bad("Key with this text already exists; leave `key` out and one is made").param("key"),
            KeyStoreError::AliasTaken => {
                Self::bad("Key with this alias already exists. Unique key aliases across all keys are required.").param("key_alias")
            }
            KeyStoreError::Unavailable(why) => {
                let text = "the database does not answer; nothing was changed";
                Failure::new(Case::KeysUnavailable, text).note(why).into()
            }
        }
    }
}

impl From<Vec<FieldError>> for Refusal {
    /// Wrong types are FastAPI's 422, all of them; else the first wrong value is a 400.
    fn from(errors: Vec<FieldError>) -> Self {
        let mut types = Vec::new();
        let mut value = None;
        for error in errors {
            match error {
                FieldError::Type {
                    field,
                    kind,
                    message,
                    input,
                } => {
                    let input: Value = serde_json::from_str(&input).unwrap_or_default();
                    types.push(json!({"type": kind, "loc": ["body", field], "msg": message, "input": input}));
                }
                FieldError::Value { field, message } => {
                    value.get_or_insert_with(|| Self::bad(message).param(field));
                }
            }
        }
        match value {
            Some(value) if types.is_empty() => value,
            _ => Self::Invalid(types),
        }
    }
}

fn missing(field: &str) -> Refusal {
    Refusal::Invalid(vec![
        json!({"type": "missing", "loc": ["body", field], "msg": "Field required"}),
    ])
}

fn invalid(field: &str, kind: &str, message: &str, input: &Value) -> Refusal {
    Refusal::Invalid(vec![
        json!({"type": kind, "loc": ["body", field], "msg": message, "input": input}),
    ])
}

fn not_found(named: &str) -> Refusal {
    let shown = match named.starts_with("sk-") {
        true => mask_key(named),
        false => named.to_owned(),
    };
    let body = ErrorBody::new(404, format!("Key not found: {shown}")).kind("not_found_error");
    Refusal::Error(Box::new(body.param("key")))
}
