//! How often to try again, and how long to wait before.

use std::time::{Duration, SystemTime};

use rand::{Rng, RngExt};

use crate::ErrorClass;

/// `retry_policy`: retries by class of failure. Where it names a class it overrides the number of
/// retries and whether the class is worth retrying at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    retries: Vec<(PolicyKey, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PolicyKey {
    Class(ErrorClass),
    Default,
}

/// How long to wait before a retry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BackoffSettings {
    /// `INITIAL_RETRY_DELAY`, seconds.
    pub initial_s: f64,
    /// `MAX_RETRY_DELAY`, seconds.
    pub max_s: f64,
    /// `JITTER`: up to this many seconds are added.
    pub jitter_s: f64,
    /// `router_settings.retry_after`: never wait less, in seconds.
    pub min_s: f64,
}

/// A longer `retry-after` is not waited for.
const RETRY_AFTER_MAX_S: f64 = 60.0;

impl Default for BackoffSettings {
    fn default() -> Self {
        BackoffSettings {
            initial_s: 0.5,
            max_s: 8.0,
            jitter_s: 0.75,
            min_s: 0.0,
        }
    }
}

impl BackoffSettings {
    /// The wait before retry number `k` (from 0): what the upstream asked for if that is up to a
    /// minute, else exponential.
    pub fn delay(&self, k: u32, retry_after: Option<Duration>, rng: &mut impl Rng) -> Duration {
        let asked = retry_after.map(|after| after.as_secs_f64());
        let base = match asked.filter(|s| *s > 0.0 && *s <= RETRY_AFTER_MAX_S) {
            Some(asked) => asked,
            None => {
                let grown = self.initial_s * f64::from(2_u32.saturating_pow(k));
                grown.max(self.min_s).min(self.max_s)
            }
        };
        let jitter = self.jitter_s * rng.random::<f64>();
        Duration::try_from_secs_f64(base + jitter).unwrap_or_default()
    }
}

impl RetryPolicy {
    /// The keys that a policy may have.
    pub const KEYS: [&str; 9] = [
        "BadRequestErrorRetries",
        "AuthenticationErrorRetries",
        "TimeoutErrorRetries",
        "RateLimitErrorRetries",
        "ContentPolicyViolationErrorRetries",
        "InternalServerErrorRetries",
        "ServiceUnavailableErrorRetries",
        "NotFoundErrorRetries",
        "DefaultRetries",
    ];

    /// Sets one of LiteLLM's keys (`RateLimitErrorRetries`, `DefaultRetries` …); false when the key
    /// is none of them.
    pub fn set(&mut self, key: &str, retries: u32) -> bool {
        let Some(key) = policy_key(key) else {
            return false;
        };
        self.retries.retain(|(known, _)| *known != key);
        self.retries.push((key, retries));
        true
    }

    /// The retries for a class: its own, its parent's, the default's.
    pub fn retries(&self, class: ErrorClass) -> Option<u32> {
        let parent = parent(class).map(PolicyKey::Class);
        let of = |key| {
            self.retries
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, n)| *n)
        };
        of(PolicyKey::Class(class))
            .or_else(|| parent.and_then(of))
            .or_else(|| of(PolicyKey::Default))
    }
}

fn policy_key(key: &str) -> Option<PolicyKey> {
    let name = key.strip_suffix("Retries")?;
    match name {
        "Default" => Some(PolicyKey::Default),
        _ => class_of_key(name).map(PolicyKey::Class),
    }
}

/// The class that the key of a policy names, without what is counted (`Retries`, `AllowedFails`).
pub(crate) fn class_of_key(name: &str) -> Option<ErrorClass> {
    Some(match name {
        "BadRequestError" => ErrorClass::BadRequest,
        "AuthenticationError" => ErrorClass::Authentication,
        "TimeoutError" => ErrorClass::Timeout,
        "RateLimitError" => ErrorClass::RateLimit,
        "ContentPolicyViolationError" => ErrorClass::ContentPolicyViolation,
        "InternalServerError" => ErrorClass::InternalServer,
        "ServiceUnavailableError" => ErrorClass::ServiceUnavailable,
        "NotFoundError" => ErrorClass::NotFound,
        _ => return None,
    })
}

/// The class whose rule holds where a class has none of its own.
pub(crate) fn parent(class: ErrorClass) -> Option<ErrorClass> {
    match class {
        ErrorClass::ContentPolicyViolation
        | ErrorClass::ContextWindowExceeded
        | ErrorClass::UnsupportedParams
        | ErrorClass::PaymentRequired => Some(ErrorClass::BadRequest),
        _ => None,
    }
}

/// Reads a `retry-after` header: seconds, whole or with a fraction, or an HTTP date counted from
/// `now`. A date in the past reads as `None`.
pub fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    httpdate::parse_http_date(value)
        .ok()?
        .duration_since(now)
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    /// One row: retry number, `retry-after`, the lower bound of the wait; the jitter is below 0.75.
    #[test]
    fn delay_table() {
        let rows = [
            (0, None, 0.5),
            (1, None, 1.0),
            (3, None, 4.0),
            (5, None, 8.0),
            (40, None, 8.0),
            (0, Some(7), 7.0),
            (0, Some(60), 60.0),
            (0, Some(61), 0.5),
            (2, Some(0), 2.0),
        ];
        let mut rng = StdRng::seed_from_u64(1);
        let settings = BackoffSettings::default();
        for (k, after, base) in rows {
            for _ in 0..50 {
                let wait = settings.delay(k, after.map(Duration::from_secs), &mut rng);
                let extra = wait.as_secs_f64() - base;
                assert!((-1e-9..0.75).contains(&extra), "{k} {after:?}: {wait:?}");
            }
        }
        let patient = BackoffSettings {
            min_s: 3.0,
            jitter_s: 0.0,
            ..settings
        };
        assert_eq!(patient.delay(0, None, &mut rng), Duration::from_secs(3));
        let broken = BackoffSettings {
            initial_s: f64::NAN,
            max_s: f64::NAN,
            ..settings
        };
        broken.delay(0, None, &mut rng);
    }

    #[test]
    fn policies_know_parents_and_a_default() {
        let mut policy = RetryPolicy::default();
        assert_eq!(policy.retries(ErrorClass::RateLimit), None);
        assert!(policy.set("RateLimitErrorRetries", 3) && policy.set("BadRequestErrorRetries", 1));
        assert!(!policy.set("NoSuchRetries", 1));
        assert!(
            RetryPolicy::KEYS
                .iter()
                .all(|key| RetryPolicy::default().set(key, 1))
        );
        assert!(policy.set("RateLimitErrorRetries", 0));
        assert_eq!(policy.retries(ErrorClass::RateLimit), Some(0));
        assert_eq!(policy.retries(ErrorClass::ContextWindowExceeded), Some(1));
        assert_eq!(policy.retries(ErrorClass::Timeout), None);
        assert!(policy.set("DefaultRetries", 7));
        assert_eq!(policy.retries(ErrorClass::Timeout), Some(7));
    }

    #[test]
    fn retry_after_headers() {
        let now = httpdate::parse_http_date("Wed, 21 Oct 2015 07:28:00 GMT").unwrap();
        let rows = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", None),
            ("-1", None),
            ("inf", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ];
        for (value, seconds) in rows {
            assert_eq!(
                parse_retry_after(value, now),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
        assert_eq!(
            parse_retry_after("1.5", now),
            Some(Duration::from_millis(1500))
        );
    }
}
