//! A virtual key as it is kept and shown: LiteLLM's members.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{KeyHash, KeyRequest, Principal, Role, VirtualKey};

/// A key of the database, whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyRecord {
    /// SHA-256 of the key's text, lower-case hex.
    pub token: String,
    /// `sk-...` and the last four characters.
    pub key_name: Option<String>,
    /// Unique.
    pub key_alias: Option<String>,
    /// US dollars so far.
    pub spend: f64,
    /// After this it is refused.
    pub expires: Option<Timestamp>,
    /// Model groups that may be called; empty allows all.
    pub models: Vec<String>,
    /// Its owner.
    pub user_id: Option<String>,
    /// Its team.
    pub team_id: Option<String>,
    /// Whatever its maker wants to be kept with it.
    pub metadata: Map<String, Value>,
    /// Whether an administrator blocked it.
    pub blocked: Option<bool>,
    /// Routes and groups of routes that may be called; empty allows all.
    pub allowed_routes: Vec<String>,
    /// The cache's controls that may be set with it; empty allows all.
    pub allowed_cache_controls: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// User who made it.
    pub created_by: Option<String>,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// User who changed it last.
    pub updated_by: Option<String>,
}

impl KeyRecord {
    /// Takes over what a request says, leaves the rest.
    pub fn apply(&mut self, request: KeyRequest, by: Option<&str>, now: Timestamp) {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut self.key_alias, request.key_alias);
        set(&mut self.expires, request.expires);
        set(&mut self.models, request.models);
        set(&mut self.user_id, request.user_id);
        set(&mut self.team_id, request.team_id);
        set(&mut self.metadata, request.metadata);
        set(&mut self.allowed_routes, request.allowed_routes);
        set(
            &mut self.allowed_cache_controls,
            request.allowed_cache_controls,
        );
        set(&mut self.blocked, request.blocked.map(Some));
        self.updated_at = now;
        self.updated_by = by.map(str::to_owned);
    }

    /// The key as requests meet it.
    #[must_use]
    pub fn virtual_key(&self) -> VirtualKey {
        VirtualKey {
            principal: Arc::new(Principal {
                key_hash: KeyHash::parse(&self.token),
                key_alias: self.key_alias.clone(),
                user_id: self.user_id.clone(),
                team_id: self.team_id.clone(),
                role: Some(Role::InternalUser),
                models: self.models.clone(),
                allowed_routes: self.allowed_routes.clone(),
                allowed_cache_controls: self.allowed_cache_controls.clone(),
                metadata: self.metadata.clone(),
                ..Principal::default()
            }),
            blocked: self.blocked == Some(true),
            expires: self.expires,
        }
    }

    /// LiteLLM's JSON of a key, without its hash. Limits and budgets are absent limits and budgets.
    #[must_use]
    pub fn shown(&self) -> Map<String, Value> {
        let Value::Object(shown) = json!({
            "key_name": self.key_name,
            "key_alias": self.key_alias,
            "spend": self.spend,
            "expires": self.expires,
            "models": self.models,
            "aliases": {},
            "config": {},
            "user_id": self.user_id,
            "team_id": self.team_id,
            "permissions": {},
            "max_parallel_requests": null,
            "metadata": self.metadata,
            "blocked": self.blocked,
            "tpm_limit": null,
            "rpm_limit": null,
            "max_budget": null,
            "budget_duration": null,
            "budget_reset_at": null,
            "allowed_cache_controls": self.allowed_cache_controls,
            "allowed_routes": self.allowed_routes,
            "model_spend": {},
            "model_max_budget": {},
            "budget_id": null,
            "organization_id": null,
            "object_permission_id": null,
            "created_at": self.created_at,
            "created_by": self.created_by,
            "updated_at": self.updated_at,
            "updated_by": self.updated_by,
            "litellm_budget_table": null,
            "object_permission": null,
        }) else {
            return Map::new();
        };
        shown
    }
}
