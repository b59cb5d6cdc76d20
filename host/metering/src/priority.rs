//! LiteLLM's dynamic rate limiters: the limits of a model group are shared out among its callers by priority.
//!
//! Source: `dynamic_rate_limiter` (v1) and `dynamic_rate_limiter_v3`. v1 gives each key that was active in this minute an equal
//! part of what is left, weighed by the share of its priority. v3 counts what each priority takes from the first call on, and
//! holds it to its share only while the group is saturated.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use serde_json::{Value, json};
use witgate_identity::Limits;

use crate::limits::UNBOUNDED;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// `dynamic_rate_limiter`
    ByActiveKeys,
    /// `dynamic_rate_limiter_v3`
    BySaturation,
}

/// What a priority may take of a group's limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reserved {
    /// A share; 1 is all.
    Share(f64),
    /// Requests a minute.
    Requests(f64),
    /// Tokens a minute.
    Tokens(f64),
}

/// `priority_reservation` and `priority_reservation_settings`.
#[derive(Debug, Clone, PartialEq)]
pub struct Priorities {
    /// Which limiter.
    pub sharing: Sharing,
    /// What is reserved, by priority.
    pub reserved: BTreeMap<String, Reserved>,
    /// The share of all callers together whose priority has nothing reserved (`default_priority`).
    pub default_share: f64,
    /// From this part of the limits on, shares are enforced (`saturation_threshold`).
    pub threshold: f64,
}

/// The pool of those whose priority has nothing reserved.
const DEFAULT_POOL: &str = "default_pool";

impl Priorities {
    /// LiteLLM's defaults.
    #[must_use]
    pub fn new(sharing: Sharing) -> Priorities {
        Priorities {
            sharing,
            reserved: BTreeMap::new(),
            default_share: 0.25,
            threshold: 0.5,
        }
    }

    /// Reads the two keys of the configuration.
    ///
    /// # Errors
    /// What cannot be read, beginning with the key's name.
    pub fn read(
        sharing: Sharing,
        reservation: Option<&Value>,
        settings: Option<&Value>,
    ) -> Result<Priorities, String> {
        let mut read = Priorities::new(sharing);
        let object = |value: Option<&Value>, name: &str| match value {
            None | Some(Value::Null) => Ok(serde_json::Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(_) => Err(format!("{name}: expected a map")),
        };
        for (priority, value) in object(reservation, "priority_reservation")? {
            let reserved = reserved(&value).ok_or_else(|| {
                format!(
                    "priority_reservation.{priority}: expected a share such as 0.5, or {{type: percent, rpm or tpm, value: a number that is not negative}}"
                )
            })?;
            read.reserved.insert(priority, reserved);
        }
        let settings = object(settings, "priority_reservation_settings")?;
        for (name, place) in [
            ("default_priority", &mut read.default_share),
            ("saturation_threshold", &mut read.threshold),
        ] {
            if let Some(value) = settings.get(name).filter(|value| !value.is_null()) {
                *place = positive(value).ok_or_else(|| {
                    format!("priority_reservation_settings.{name}: expected a share such as 0.5")
                })?;
            }
        }
        Ok(read)
    }

    /// The share of a priority in a group of these limits. Shares that make more than the whole are cut down alike.
    #[must_use]
    pub fn share(&self, priority: Option<&str>, group: Limits) -> Option<f64> {
        let of = |reserved: &Reserved| {
            let part = |limit: Option<u64>, value: f64| match limit {
                Some(limit) if limit > 0 => value / limit as f64,
                // What the group does not limit cannot be shared out.
                _ => 1.0,
            };
            match *reserved {
                Reserved::Share(share) => share,
                Reserved::Requests(value) => part(group.rpm, value),
                Reserved::Tokens(value) => part(group.tpm, value),
            }
        };
        let own = of(self.reserved.get(priority?)?);
        let sum: f64 = self.reserved.values().map(of).sum();
        let is_cut = self.sharing == Sharing::BySaturation && sum > 1.0;
        Some(if is_cut { own / sum } else { own })
    }

    /// v3: the pool that a priority takes from, and its limits.
    #[must_use]
    pub fn pool<'a>(&self, priority: Option<&'a str>, group: Limits) -> (&'a str, Limits) {
        let own = self.share(priority, group);
        let name = priority.filter(|_| own.is_some()).unwrap_or(DEFAULT_POOL);
        let share = own.unwrap_or(self.default_share);
        let of = |limit: Option<u64>| limit.map(|limit| part(limit, share));
        let limits = Limits {
            rpm: of(group.rpm),
            tpm: of(group.tpm),
            ..Limits::default()
        };
        (name, limits)
    }

    /// v3: how full a group is, 1 is full.
    #[must_use]
    pub fn saturation(used: Used, group: Limits) -> f64 {
        let part = |used: u64, limit: Option<u64>| match limit {
            Some(limit) if limit > 0 => used as f64 / limit as f64,
            _ => 0.0,
        };
        part(used.requests, group.rpm).max(part(used.tokens, group.tpm))
    }

    /// v1: what a key may take of what is left, when so many keys are active.
    #[must_use]
    pub fn available(
        &self,
        priority: Option<&str>,
        group: Limits,
        used: Used,
        active: usize,
    ) -> Limits {
        let weight = self.share(priority, group).unwrap_or(1.0);
        let of = |limit: Option<u64>, used: u64| {
            let left = limit?.saturating_sub(used);
            Some(part(left, weight / active.max(1) as f64))
        };
        Limits {
            rpm: of(group.rpm, used.requests),
            tpm: of(group.tpm, used.tokens),
            ..Limits::default()
        }
    }
}

/// Limits that are counted and refuse nothing.
#[must_use]
pub fn counted(limits: Limits) -> Limits {
    let of = |limit: Option<u64>| limit.map(|_| UNBOUNDED);
    Limits {
        rpm: of(limits.rpm),
        tpm: of(limits.tpm),
        parallel: of(limits.parallel),
        ..Limits::default()
    }
}

/// What is used of limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Requests.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
}

/// Whole units of a share, as if fractions were exact: 0.29 of 100 is 29.
fn part(whole: u64, share: f64) -> u64 {
    (whole as f64 * share + 1e-6).max(0.0) as u64
}

fn reserved(value: &Value) -> Option<Reserved> {
    let Value::Object(entry) = value else {
        return positive(value).map(Reserved::Share);
    };
    let number = entry.get("value").map_or(Some(1.0), positive)?;
    match entry.get("type").map_or(Some("percent"), Value::as_str)? {
        "percent" => Some(Reserved::Share(number)),
        "rpm" => Some(Reserved::Requests(number)),
        "tpm" => Some(Reserved::Tokens(number)),
        _ => None,
    }
}

fn positive(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| (0.0..1e15).contains(number))
}

/// Keys of a group that are told to other gateways; more are only counted here.
const TOLD_MAX: usize = 1000;

/// v1: which keys have used which group in this minute, here and at other gateways.
#[derive(Debug, Default)]
pub struct ActiveKeys(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    number: u64,
    own: HashMap<String, BTreeSet<String>>,
    others: HashMap<String, BTreeSet<String>>,
}

impl Minute {
    fn at(&mut self, number: u64) -> &mut Minute {
        if self.number != number {
            *self = Minute {
                number,
                ..Minute::default()
            };
        }
        self
    }
}

impl ActiveKeys {
    /// How many keys use a group in this minute.
    #[must_use]
    pub fn count(&self, group: &str, minute: u64) -> usize {
        let mut kept = self.0.lock();
        let kept = kept.at(minute);
        let (own, others) = (kept.own.get(group), kept.others.get(group));
        match (own, others) {
            (Some(own), Some(others)) => own.union(others).count(),
            (one, other) => one.or(other).map_or(0, BTreeSet::len),
        }
    }

    /// A key uses a group.
    pub fn add(&self, group: &str, key: &str, minute: u64) {
        let mut kept = self.0.lock();
        let keys = kept.at(minute).own.entry(group.to_owned()).or_default();
        if !keys.contains(key) {
            keys.insert(key.to_owned());
        }
    }

    /// What other gateways are told; `None` when there is nothing to tell.
    #[must_use]
    pub fn export(&self, minute: u64) -> Option<Vec<u8>> {
        let mut kept = self.0.lock();
        let kept = kept.at(minute);
        if kept.own.is_empty() {
            return None;
        }
        let keys = kept.own.iter().map(|(group, keys)| {
            let keys: Vec<&String> = keys.iter().take(TOLD_MAX).collect();
            (group.clone(), json!(keys))
        });
        let keys: serde_json::Map<String, Value> = keys.collect();
        serde_json::to_vec(&json!({"minute": minute, "keys": keys})).ok()
    }

    /// What the other gateways have told.
    pub fn import<'a>(&self, told: impl IntoIterator<Item = &'a [u8]>, minute: u64) {
        let mut others: HashMap<String, BTreeSet<String>> = HashMap::new();
        for sheet in told {
            let Ok(sheet) = serde_json::from_slice::<Value>(sheet) else {
                continue;
            };
            if sheet.get("minute").and_then(Value::as_u64) != Some(minute) {
                continue;
            }
            let groups = sheet.get("keys").and_then(Value::as_object);
            for (group, keys) in groups.into_iter().flatten() {
                let keys = keys.as_array().into_iter().flatten();
                let keys = keys.filter_map(Value::as_str).take(TOLD_MAX);
                let known = others.entry(group.clone()).or_default();
                known.extend(keys.map(str::to_owned));
            }
        }
        self.0.lock().at(minute).others = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(rpm: u64, tpm: u64) -> Limits {
        Limits {
            rpm: Some(rpm),
            tpm: Some(tpm),
            ..Limits::default()
        }
    }

    fn read(sharing: Sharing, reservation: Value) -> Priorities {
        Priorities::read(sharing, Some(&reservation), None).unwrap()
    }

    #[test]
    fn a_key_gets_its_part_of_what_is_left() {
        let own = read(Sharing::ByActiveKeys, json!({"prod": 0.8}));
        let used = Used {
            requests: 0,
            tokens: 4000,
        };
        // The specification's example.
        let available = own.available(Some("prod"), group(100, 10_000), used, 3);
        assert_eq!((available.tpm, available.rpm), (Some(1600), Some(26)));
        // Without a share of its own a priority weighs 1; nobody active is one.
        let available = own.available(None, group(100, 10_000), used, 0);
        assert_eq!((available.tpm, available.rpm), (Some(6000), Some(100)));
        let over = Used {
            requests: 101,
            tokens: 0,
        };
        assert_eq!(own.available(None, group(100, 10), over, 1).rpm, Some(0));
    }

    #[test]
    fn pools_have_their_share_and_no_more_than_the_whole() {
        let own = read(
            Sharing::BySaturation,
            json!({"prod": 0.29, "dev": {"type": "rpm", "value": 10}, "batch": {"type": "tpm", "value": 50}}),
        );
        let group_limits = group(100, 1000);
        let pool = |priority| own.pool(priority, group_limits);
        assert_eq!(pool(Some("prod")), ("prod", group(29, 290)));
        assert_eq!(pool(Some("dev")), ("dev", group(10, 100)));
        assert_eq!(pool(Some("batch")), ("batch", group(5, 50)));
        assert_eq!(pool(Some("other")), ("default_pool", group(25, 250)));
        assert_eq!(pool(None).0, "default_pool");
        let greedy = read(Sharing::BySaturation, json!({"a": 0.6, "b": 0.9}));
        assert_eq!(greedy.pool(Some("a"), group_limits).1, group(40, 400));
        let half = Used {
            requests: 50,
            tokens: 100,
        };
        assert!((Priorities::saturation(half, group_limits) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for (reservation, settings, words) in [
            (json!(7), json!({}), "priority_reservation: expected a map"),
            (json!({"prod": -1}), json!({}), "priority_reservation.prod"),
            (
                json!({"a": {"type": "x"}}),
                json!({}),
                "priority_reservation.a",
            ),
            (
                json!({}),
                json!({"saturation_threshold": "x"}),
                "settings.saturation_threshold",
            ),
        ] {
            let read = Priorities::read(Sharing::BySaturation, Some(&reservation), Some(&settings));
            let error = read.unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn keys_are_active_for_a_minute_wherever_they_are_seen() {
        let (here, there) = (ActiveKeys::default(), ActiveKeys::default());
        here.add("gpt", "a", 7);
        here.add("gpt", "a", 7);
        there.add("gpt", "a", 7);
        there.add("gpt", "b", 7);
        let told = there.export(7).unwrap();
        here.import([told.as_slice()], 7);
        assert_eq!((here.count("gpt", 7), here.count("other", 7)), (2, 0));
        assert_eq!(here.count("gpt", 8), 0);
        here.import([told.as_slice()], 8);
        assert_eq!(here.count("gpt", 8), 0, "what is told of another minute");
        assert_eq!(here.export(8), None);
    }
}
