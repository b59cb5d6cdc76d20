//! When a deployment that fails is left to rest, and for how long.
//!
//! There are two ways to count. Unless the configuration says how many failures are allowed, the
//! share of failures of the last minute decides; else the number of failures does. Either way some
//! failures say nothing of the deployment: a caller's mistake, or no connection at all.

use std::time::Duration;

use crate::retry::{class_of_key, parent};
use crate::{ErrorClass, is_retryable_status};

/// `router_settings`, as far as deployments rest by it. The default is LiteLLM's.
#[derive(Debug, Clone, PartialEq)]
pub struct CooldownSettings {
    /// `disable_cooldowns`: none ever rests.
    pub disabled: bool,
    /// `cooldown_time`, or its default.
    pub time: Duration,
    /// `allowed_fails`, where it is configured.
    pub allowed_fails: Option<u32>,
    /// `allowed_fails_policy`
    pub policy: AllowedFailsPolicy,
    /// `DEFAULT_ALLOWED_FAILS`: for failures that the policy does not name.
    pub allowed_fails_default: u32,
    /// `DEFAULT_FAILURE_THRESHOLD_PERCENT`: a larger share of failures is too much.
    pub share_max: f64,
    /// `DEFAULT_FAILURE_THRESHOLD_MINIMUM_REQUESTS`: of fewer calls no share is made.
    pub calls_min: u32,
    /// `SINGLE_DEPLOYMENT_TRAFFIC_FAILURE_THRESHOLD`: as many calls must have failed, and all of
    /// them, for the only deployment of a group to rest.
    pub single_calls_min: u32,
}

impl Default for CooldownSettings {
    fn default() -> Self {
        CooldownSettings {
            disabled: false,
            time: Duration::from_secs(5),
            allowed_fails: None,
            policy: AllowedFailsPolicy::default(),
            allowed_fails_default: 3,
            share_max: 0.5,
            calls_min: 5,
            single_calls_min: 1000,
        }
    }
}

/// `allowed_fails_policy`: how many failures of a class are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedFailsPolicy(Vec<(ErrorClass, u32)>);

impl AllowedFailsPolicy {
    /// The keys that a policy may have.
    pub const KEYS: [&str; 8] = [
        "BadRequestErrorAllowedFails",
        "AuthenticationErrorAllowedFails",
        "TimeoutErrorAllowedFails",
        "RateLimitErrorAllowedFails",
        "ContentPolicyViolationErrorAllowedFails",
        "InternalServerErrorAllowedFails",
        "ServiceUnavailableErrorAllowedFails",
        "NotFoundErrorAllowedFails",
    ];

    /// Sets one of LiteLLM's keys; false when the key is none of them.
    pub fn set(&mut self, key: &str, allowed: u32) -> bool {
        let name = key.strip_suffix("AllowedFails");
        let Some(class) = name.and_then(class_of_key) else {
            return false;
        };
        self.0.retain(|(known, _)| *known != class);
        self.0.push((class, allowed));
        true
    }

    /// True when it names no class.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The class that it names for this one (itself, else its parent), and what is allowed of it.
    fn rule(&self, class: ErrorClass) -> Option<(ErrorClass, u32)> {
        let of = |class| self.0.iter().find(|(known, _)| *known == class).copied();
        of(class).or_else(|| of(parent(class)?))
    }
}

/// What the deployment itself says of resting.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OwnCooldown {
    /// `cooldown_time` of `model_info`, else of `litellm_params`.
    pub time: Option<Duration>,
    /// `allowed_fails` of `model_info`, else of `litellm_params`.
    pub allowed_fails: Option<u32>,
    /// `model_info.allowed_fails_policy`
    pub policy: AllowedFailsPolicy,
}

/// A failure, as far as it counts against a deployment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fault<'a> {
    /// The failure's class.
    pub class: ErrorClass,
    /// The failure's status as the client would get it.
    pub status: u16,
    /// How long the upstream asked to wait.
    pub retry_after: Option<Duration>,
    /// What went wrong, in words.
    pub message: &'a str,
    /// Whose fault it was.
    pub blame: Blame,
}

/// Whose fault a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The deployment's.
    Deployment,
    /// Somebody else's: the caller asked for a shorter timeout than the deployment needs, or for the
    /// failure itself; a stream fell silent that had begun well. The deployment does not rest for it.
    Other,
}

/// What of the deployment and its group bears on the decision.
pub(crate) struct Standing<'a> {
    pub(crate) own: &'a OwnCooldown,
    /// Its group has no other deployment.
    pub(crate) is_single: bool,
    /// Its model name is a pattern: it stands for all models of a provider.
    pub(crate) is_wildcard: bool,
}

/// How the failure is to be counted, and what it would mean.
pub(crate) enum Verdict {
    /// It does not count.
    Ignored,
    /// By the share of failures; rests for this long if [`by_share`] agrees.
    Share { rest: Duration },
    /// Rests for this long when more than `allowed` failures were counted under this name within
    /// that time.
    Count {
        class: Option<ErrorClass>,
        allowed: u32,
        rest: Duration,
    },
}

/// The rules that hold whatever was counted.
pub(crate) fn judge(settings: &CooldownSettings, at: &Standing<'_>, fault: &Fault<'_>) -> Verdict {
    let rest = at.own.time.or(fault.retry_after).unwrap_or(settings.time);
    let own_rule = at.own.policy.rule(fault.class);
    let rule = own_rule.or_else(|| match at.own.allowed_fails {
        Some(_) => None,
        None => settings.policy.rule(fault.class),
    });
    let is_serious = match fault.status {
        // A client's mistake is no sign of a bad deployment, unless a policy names it.
        400..=499 => matches!(fault.status, 401 | 402 | 404 | 408 | 429) || rule.is_some(),
        _ => true,
    };
    if settings.disabled
        || fault.blame == Blame::Other
        || at.is_wildcard
        || fault.class == ErrorClass::ApiConnection
        || rest < Duration::from_nanos(1)
        || !is_serious
    {
        return Verdict::Ignored;
    }
    let is_counted = at.own.allowed_fails.is_some()
        || !at.own.policy.is_empty()
        || settings.allowed_fails.is_some()
        || !settings.policy.is_empty();
    match rule {
        Some((class, allowed)) => Verdict::Count {
            class: Some(class),
            allowed,
            rest,
        },
        None if !is_counted => Verdict::Share { rest },
        // The only deployment rests only for what a policy names.
        None if at.is_single => Verdict::Ignored,
        None => Verdict::Count {
            class: None,
            allowed: at
                .own
                .allowed_fails
                .or(settings.allowed_fails)
                .unwrap_or(settings.allowed_fails_default),
            rest,
        },
    }
}

/// Whether this many successes and failures of the last minute, this failure included, are too bad.
pub(crate) fn by_share(
    settings: &CooldownSettings,
    is_single: bool,
    status: u16,
    successes: u32,
    failures: u32,
) -> bool {
    let calls = successes.saturating_add(failures);
    let share = f64::from(failures) / f64::from(calls.max(1));
    (status == 429 && !is_single)
        || (failures == calls && calls >= settings.single_calls_min)
        || (share > settings.share_max && !is_single && calls >= settings.calls_min)
        || !is_retryable_status(status)
}

#[cfg(test)]
mod tests;
