//! LiteLLM's dynamic rate limiters: what a call's priority may take of its model group.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use serde_json::Value;
use witgate_identity::Limits;
use witgate_metering::{Descriptor, Priorities, Refusal, Sharing, Used, counted};

use super::refusal;
use crate::exchange::Exchange;
use crate::failure::{Case, Failure};
use crate::gateway::Gateway;

/// The descriptor of a whole group.
pub(super) const GROUP: &str = "model_saturation_check";
/// The descriptor of a priority in it.
const POOL: &str = "priority_model";
/// Keys are told apart by so many characters of their hashes.
const KEY_LENGTH: usize = 16;

/// A group whose limits are shared out, and what it has to do with a call.
#[derive(Debug)]
pub(super) struct Group {
    name: String,
    limits: Limits,
    priority: Option<String>,
    /// v3: the pool of the priority, its limits and how full the group is.
    pool: String,
    share: Limits,
    saturation: f64,
    /// Whether the share is enforced.
    is_saturated: bool,
}

/// What the call's group shares out; `None` where nothing is shared or the group has no limits.
///
/// # Errors
/// v1 refuses here: it counts nothing of its own.
pub(super) fn group(gateway: &Gateway, x: &Exchange) -> Result<Option<Group>, Failure> {
    let metering = &x.snapshot.settings.metering;
    let Some(priorities) = &metering.priorities else {
        return Ok(None);
    };
    let Some((name, limits, used)) = standing(gateway, x) else {
        return Ok(None);
    };
    let priority = priority(x, priorities.sharing);
    if priorities.sharing == Sharing::ByActiveKeys {
        let minute = gateway.moment().minute();
        let active = gateway.active.count(&name, minute);
        let available = priorities.available(priority, limits, used, active);
        if available.tpm == Some(0) || available.rpm == Some(0) {
            return Err(refused(x, available, limits, used, active));
        }
        gateway.active.add(&name, key_of(x), minute);
        return Ok(None);
    }
    let (pool, share) = priorities.pool(priority, limits);
    let of_group = Descriptor {
        key: GROUP,
        id: &name,
        model: None,
        limits,
    };
    let unix_s = u64::try_from(x.started.as_second()).unwrap_or(0);
    let used = gateway
        .limiter
        .used(&of_group, gateway.clock.monotonic(), unix_s);
    let saturation = Priorities::saturation(used, limits);
    Ok(Some(Group {
        limits,
        priority: priority.map(str::to_owned),
        pool: pool.to_owned(),
        share,
        saturation,
        is_saturated: saturation >= priorities.threshold,
        name,
    }))
}

impl Group {
    pub(super) fn counts_tokens(&self) -> bool {
        self.limits.tpm.is_some()
    }

    /// The group's limits, and those of the pool: counted always, enforced when the group is saturated.
    pub(super) fn descriptors(&self) -> [Descriptor<'_>; 2] {
        let of_group = Descriptor {
            key: GROUP,
            id: &self.name,
            model: None,
            limits: self.limits,
        };
        let of_pool = Descriptor {
            key: POOL,
            model: Some(&self.pool),
            limits: match self.is_saturated {
                true => self.share,
                false => counted(self.share),
            },
            ..of_group
        };
        [of_group, of_pool]
    }

    /// LiteLLM's words for a refusal of these two; `None` for one of another limit.
    pub(super) fn words(&self, refusal: &Refusal) -> Option<String> {
        let left = refusal.limit.saturating_sub(refusal.current);
        let what = format!(
            "Priority: {}, Rate limit type: {}, Remaining: {left}",
            self.priority.as_deref().unwrap_or("None"),
            refusal.kind.name()
        );
        match refusal.key {
            GROUP => Some(format!("Model capacity reached for {}. {what}", self.name)),
            POOL => Some(format!(
                "Priority-based rate limit exceeded. {what}, Model saturation: {:.1}%",
                self.saturation * 100.0
            )),
            _ => None,
        }
    }
}

/// The group behind the call's model, its limits and what is used of them in this minute.
fn standing(gateway: &Gateway, x: &Exchange) -> Option<(String, Limits, Used)> {
    let (routing, team) = (&x.snapshot.routing, x.principal.team_id.as_deref());
    // A name that nobody serves is refused where it is looked up.
    let route = routing.resolve_for(&x.model, team).ok()?;
    let usage = x
        .snapshot
        .state
        .group_usage(routing, &route.candidates, gateway.moment());
    let limits = Limits {
        rpm: usage.requests_max,
        tpm: usage.tokens_max,
        ..Limits::default()
    };
    let used = Used {
        requests: usage.requests,
        tokens: usage.tokens,
    };
    (!limits.is_empty()).then_some((route.group, limits, used))
}

/// The priority of the team, else of the key; v1 knows the key's only.
fn priority(x: &Exchange, sharing: Sharing) -> Option<&str> {
    let principal = &x.principal;
    let of_team = principal.team_metadata.get("priority");
    let of_team = of_team.filter(|value| sharing == Sharing::BySaturation && !value.is_null());
    of_team
        .or_else(|| principal.metadata.get("priority"))
        .and_then(Value::as_str)
}

fn key_of(x: &Exchange) -> &str {
    let hash = x.principal.key_hash.as_ref();
    let hash = hash.and_then(|hash| hash.as_str().get(..KEY_LENGTH));
    hash.unwrap_or("default_key")
}

fn refused(x: &Exchange, available: Limits, group: Limits, used: Used, active: usize) -> Failure {
    let (what, kind, limit, used) = match available.tpm {
        Some(0) => ("TPM", "tokens", group.tpm, used.tokens),
        _ => ("RPM", "requests", group.rpm, used.requests),
    };
    let left = limit.unwrap_or(0).saturating_sub(used);
    let key = x
        .principal
        .key_hash
        .as_ref()
        .map_or("None", |key| key.as_str());
    let message =
        format!("Key={key} over available {what}=0. Model {what}={left}, Active keys={active}");
    let to_next_minute = 60 - x.started.as_second().rem_euclid(60);
    let wait = std::time::Duration::from_secs(to_next_minute.unsigned_abs());
    refusal::limited(x, Failure::new(Case::RateLimited, message), kind, wait)
}

/// The headers of a dynamic limiter.
pub(in crate::stages) fn headers(gateway: &Gateway, x: &Exchange, headers: &mut HeaderMap) {
    let priorities = x.snapshot.settings.metering.priorities.as_ref();
    let Some(priorities) = priorities.filter(|_| x.served.deployment.is_some()) else {
        return;
    };
    let priority = priority(x, priorities.sharing);
    if priorities.sharing == Sharing::BySaturation {
        let told = HeaderValue::from_str(priority.unwrap_or("default"));
        if let Ok(told) = told {
            headers.insert(HeaderName::from_static("x-litellm-priority"), told);
        }
        let version = HeaderName::from_static("x-litellm-rate-limiter-version");
        headers.insert(version, HeaderValue::from_static("v3"));
        return;
    }
    let Some((name, limits, used)) = standing(gateway, x) else {
        return;
    };
    let active = gateway.active.count(&name, gateway.moment().minute());
    let available = priorities.available(priority, limits, used, active);
    let left = |limit: Option<u64>, used: u64| limit.map(|limit| limit.saturating_sub(used));
    let told = [
        (
            "x-ratelimit-remaining-litellm-project-tokens",
            available.tpm,
        ),
        (
            "x-ratelimit-remaining-litellm-project-requests",
            available.rpm,
        ),
        (
            "x-ratelimit-remaining-model-tokens",
            left(limits.tpm, used.tokens),
        ),
        (
            "x-ratelimit-remaining-model-requests",
            left(limits.rpm, used.requests),
        ),
        (
            "x-ratelimit-current-active-projects",
            u64::try_from(active).ok(),
        ),
    ];
    for (name, number) in told {
        if let Some(number) = number {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(number));
        }
    }
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(HeaderName::from_static("x-litellm-model_group"), name);
    }
}
