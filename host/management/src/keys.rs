//! Virtual keys: `/key/generate`, `/key/info` and their sisters.
//!
//! Shapes and words are LiteLLM's. Administrators manage every key, team admins those of their team, everybody else those
//! of their own user; and nobody gives a key more than they have.

mod bounds;
mod generate;
mod kept;
mod read;
mod rotation;
#[cfg(test)]
mod tests;
mod update;
mod windows;

use serde_json::{Map, Value};
use witgate_identity::{KeyHash, mask_key};
use witgate_store::{Row, WriteError};

use crate::fields::{Field, Shape, column, member, metadata};
use crate::operation::{Operation, Who};
use crate::refusal::RACED;
use crate::rights::{not_permitted, role_in};
use crate::{Ask, ControlPlane, Refusal};

pub(crate) use bounds::{CALLS_ONLY, admins_only, check_model_budgets, check_models};
pub use rotation::Rotations;

pub(crate) use generate::{answer, draft, made};
pub(crate) use update::{remove, remove_then};
pub(crate) use windows::check_budget_limits;

pub(crate) const TABLE: &str = "LiteLLM_VerificationToken";

/// What a key may be given.
pub(crate) const FIELDS: &[Field] = &[
    column("key_alias", Shape::Text),
    column("models", Shape::Texts),
    column("access_group_ids", Shape::Texts),
    column("spend", Shape::Number),
    column("max_budget", Shape::Number),
    column("budget_duration", Shape::Duration),
    column("budget_id", Shape::Text),
    column("user_id", Shape::Text),
    column("team_id", Shape::Text),
    column("organization_id", Shape::Text),
    column("max_parallel_requests", Shape::Whole),
    column("tpm_limit", Shape::Whole),
    column("tpd_limit", Shape::Whole),
    column("rpm_limit", Shape::Whole),
    column("model_max_budget", Shape::Object),
    column("budget_limits", Shape::Objects),
    column("budget_fallbacks", Shape::Object),
    column("metadata", Shape::Object),
    column("aliases", Shape::Object),
    column("config", Shape::Object),
    column("permissions", Shape::Object),
    column("blocked", Shape::Flag),
    column("allowed_cache_controls", Shape::Texts),
    column("allowed_routes", Shape::Texts),
    column("auto_rotate", Shape::Flag),
    column("rotation_interval", Shape::Duration),
    metadata("model_rpm_limit", Shape::Object),
    metadata("model_tpm_limit", Shape::Object),
    metadata("rpm_limit_type", Shape::Text),
    metadata("tpm_limit_type", Shape::Text),
    metadata("guardrails", Shape::Texts),
    metadata("prompts", Shape::Texts),
    metadata("tags", Shape::Texts),
    metadata("enforced_params", Shape::Texts),
    metadata("temp_budget_increase", Shape::Number),
    metadata("temp_budget_expiry", Shape::Time),
    metadata("allowed_passthrough_routes", Shape::Texts),
    metadata("denied_passthrough_routes", Shape::Texts),
    member("key", Shape::Text),
    member("duration", Shape::Text),
    member("key_type", Shape::Text),
    member("soft_budget", Shape::Number),
    member("object_permission", Shape::Object),
    member("send_invite_email", Shape::Flag),
];

/// Members of a key that LiteLLM has and this release does not act on: a key that asks for one is refused, since a limit
/// that does not limit would be worse than none.
const NOT_YET: [&str; 13] = [
    "router_settings",
    "mcp_rpm_limit",
    "mcp_tpm_limit",
    "tag_rpm_limit",
    "tag_tpm_limit",
    "throttle_on_budget_exceeded",
    "end_user_budget_id",
    "allowed_vector_store_indexes",
    "project_id",
    "agent_id",
    "policies",
    "disable_global_guardrails",
    "enable_prompt_caching",
];

const NAMED: &[Field] = &[member("key", Shape::Text)];
const KEYS: &[Field] = &[
    member("keys", Shape::Texts),
    member("key_aliases", Shape::Texts),
];
const MANY: &[Field] = &[member("keys", Shape::Objects)];
const OF_TEAM: &[Field] = &[
    member("team_id", Shape::Text),
    member("key_ids", Shape::Texts),
    member("all_keys_in_team", Shape::Flag),
    member("update_fields", Shape::Object),
];
const REGENERATE: &[Field] = &[
    member("new_key", Shape::Text),
    member("new_master_key", Shape::Text),
    member("grace_period", Shape::Text),
];

pub(crate) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "POST",
        paths: &["/key/generate"],
        who: Who::Member,
        what: "Makes a virtual key.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(generate::generate(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/key/service-account/generate"],
        who: Who::Member,
        what: "Makes a key of a team that belongs to no user.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(generate::service_account(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/key/update"],
        who: Who::Member,
        what: "Changes a key; what is not said stays, null takes a limit away.",
        body: &[FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update::update(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/team/key/bulk_update"],
        who: Who::Member,
        what: "Changes limits, budgets, tags and metadata of many keys of a team, by its admins.",
        body: &[OF_TEAM],
        query: &[],
        run: |plane, ask| Box::pin(update::of_team(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/key/bulk_update"],
        who: Who::Admin,
        what: "Changes several keys; each is changed or refused for itself.",
        body: &[MANY],
        query: &[],
        run: |plane, ask| Box::pin(update::bulk(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/key/regenerate", "/key/{key}/regenerate"],
        who: Who::Member,
        what: "Gives a key another text; spend and settings stay.",
        body: &[REGENERATE, FIELDS],
        query: &[],
        run: |plane, ask| Box::pin(update::regenerate(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/key/delete"],
        who: Who::Member,
        what: "Deletes keys, by text, hash or alias: all of them or none.",
        body: &[KEYS],
        query: &[],
        run: |plane, ask| Box::pin(update::delete(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/key/block"],
        who: Who::Member,
        what: "Blocks a key. For proxy admins, and whoever manages the keys of its team.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(update::block(plane, ask, true)),
    },
    Operation {
        method: "POST",
        paths: &["/key/unblock"],
        who: Who::Member,
        what: "Lets a blocked key in again. For proxy admins, and whoever manages the keys of its team.",
        body: &[NAMED],
        query: &[],
        run: |plane, ask| Box::pin(update::block(plane, ask, false)),
    },
    Operation {
        method: "GET",
        paths: &["/key/info"],
        who: Who::Anyone,
        what: "Tells of a key; without a parameter of the caller's own.",
        body: &[],
        query: &["key"],
        run: |plane, ask| Box::pin(read::info(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/v2/key/info"],
        who: Who::Anyone,
        what: "Tells of several keys.",
        body: &[KEYS],
        query: &[],
        run: |plane, ask| Box::pin(read::infos(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/key/list"],
        who: Who::Anyone,
        what: "Lists keys: their hashes, or whole.",
        body: &[],
        query: &[
            "page",
            "size",
            "user_id",
            "team_id",
            "organization_id",
            "key_hash",
            "key_alias",
            "return_full_object",
            "include_team_keys",
            "include_created_by_keys",
            "sort_by",
            "sort_order",
        ],
        run: |plane, ask| Box::pin(read::list(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/key/aliases"],
        who: Who::Anyone,
        what: "Lists the aliases of keys.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(read::aliases(plane, ask)),
    },
];

impl ControlPlane {
    /// A key by its text or its hash.
    pub(crate) async fn key(&self, named: &str) -> Result<Row, Refusal> {
        let token = hash(named);
        let found = self.store.row(TABLE, "token", &token).await?;
        found.ok_or_else(|| not_found(named))
    }

    /// The same, when the caller may do this with it. Somebody else's key is as good as none: its existence is not told.
    pub(crate) async fn own_key(&self, ask: &Ask, named: &str) -> Result<Row, Refusal> {
        let key = self.key(named).await?;
        match self.may_manage(ask, &key).await? {
            true => Ok(key),
            false => Err(not_found(named)),
        }
    }

    /// Whether the caller may do this with a key.
    ///
    /// # Errors
    /// When it is their own and a team's, and the team does not permit it to its members.
    async fn may_manage(&self, ask: &Ask, key: &Row) -> Result<bool, Refusal> {
        let reads = ask.route.contains("info") || ask.route.contains("list");
        if ask.is_admin() || reads && ask.sees_all() {
            return Ok(true);
        }
        let text = |name: &str| key.get(name).and_then(Value::as_str);
        let owns = ask.user().is_some() && ask.user() == text("user_id");
        if owns && reads {
            return Ok(true);
        }
        let team = match text("team_id") {
            Some(team) => self.team(team).await?,
            None => None,
        };
        let Some(team) = team else { return Ok(owns) };
        if self.manages_keys_of(ask, &team, ask.route).await? {
            return Ok(true);
        }
        // Who has left the team keeps their key in hand, as in LiteLLM.
        match ask.user().and_then(|user| role_in(&team, user)) {
            Some(_) if owns => Err(not_permitted(&team, ask.route)),
            _ => Ok(owns),
        }
    }
}

/// The hash that a key's text has, or a hash itself.
pub(crate) fn hash(named: &str) -> String {
    match named.starts_with("sk-") {
        true => KeyHash::of(named).as_str().to_owned(),
        false => named.to_owned(),
    }
}

/// A key as an answer may repeat it: only its hash is shown whole.
fn shown_name(named: &str) -> String {
    hash(named)
}

fn not_found(named: &str) -> Refusal {
    let shown = match named.starts_with("sk-") {
        true => mask_key(named),
        false => named.to_owned(),
    };
    Refusal::not_found(format!("Key not found: {shown}")).param("key")
}

/// What a failed transaction about a key means.
pub(crate) fn refused(error: WriteError) -> Refusal {
    match error {
        WriteError::Taken(what) if what.contains("key_alias") => Refusal::bad(
            "Key with this alias already exists. Unique key aliases across all keys are required.",
        )
        .param("key_alias"),
        WriteError::Taken(what) if what != RACED => taken(),
        WriteError::Gone(what) if what != RACED => {
            let message = format!("{what} does not exist: make it first, or leave it out");
            Refusal::bad(message).param(what)
        }
        error => error.into(),
    }
}

fn taken() -> Refusal {
    Refusal::bad("Key with this text already exists; leave `key` out and one is made").param("key")
}

/// LiteLLM's JSON of a key, without its hash. Credentials of its log sinks are for administrators.
pub(crate) fn shown(ask: &Ask, mut key: Row) -> Map<String, Value> {
    key.remove("token");
    if !ask.is_admin()
        && let Some(metadata) = key.get_mut("metadata")
    {
        crate::audit::mask(metadata);
    }
    for absent in ["litellm_budget_table", "object_permission"] {
        key.entry(absent).or_insert(Value::Null);
    }
    key
}
