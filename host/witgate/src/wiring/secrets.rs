//! Secrets that a configuration refers to: asked of its manager and of the providers of identity tokens, and kept.
//!
//! The manager is a plugin, started from the parts of the configuration that need no secret ([`Early`]). What it said is
//! kept until its time is over, also that it has nothing. When it cannot answer, the last value that is known counts, else
//! the environment, and it is asked again soon. A value is in no log line and no error.

mod oidc;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::Instant;
use witgate_config::{Draft, Early, Loaded, Problem};
use witgate_plugins::{
    Description, EnvLookup, Fault, Host, PluginError, Registry, SecretManager, Sources,
};
use zeroize::Zeroizing;

use super::stored_texts::Place;
use super::{dialects, specs};

/// How long an answer is kept when nobody says: LiteLLM's day.
const KEEP_S: u64 = 86_400;
/// The shortest time an answer is kept: a reload each second is enough.
const KEEP_MIN: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Questions at once; the operator's `max_instances` may make it fewer.
const AT_ONCE: u32 = 2;

/// The secrets of one configuration, and who has them.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The manager's plugin, alone.
    registry: Arc<Registry>,
    manager: Option<Arc<SecretManager>>,
    /// Whether the manager is read, and how many questions it takes at once.
    reads: bool,
    at_once: usize,
    /// The one secret that has all others.
    primary: Option<String>,
    /// How long an answer is kept that has no time of its own.
    keep: Duration,
    env: Option<EnvLookup>,
    kept: HashMap<String, Kept>,
}

/// What is known of one name.
#[derive(Clone)]
struct Kept {
    value: Option<Arc<Zeroizing<String>>>,
    until: Instant,
    /// Times in a row that nobody could say.
    failures: u32,
}

/// Whether what is kept counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// What is over is asked anew.
    Due,
    /// Everything is asked anew: somebody wants to see a change now.
    All,
}

/// What was said about a name, and how long that may be kept.
type Said = Result<(Option<Zeroizing<String>>, Option<Duration>), Trouble>;

/// Why nobody could say.
struct Trouble {
    text: String,
    /// The next question would end in the same way.
    for_all: bool,
}

impl Secrets {
    /// Fetches what a draft needs and loads it. `self` stays as it is: the new state counts when the configuration does.
    ///
    /// # Errors
    /// When the manager cannot be started, or the configuration must not be served.
    pub async fn load(
        &self,
        draft: Draft,
        early: &Early,
        host: &Arc<Host>,
        sources: &Sources,
        read: Read,
    ) -> Result<(Loaded, Self), Vec<String>> {
        let mut new = self.started(early, host, sources).await?;
        new.ask(&early.names, read).await;
        let mut names: BTreeSet<String> = early.names.iter().cloned().collect();
        let mut loaded = draft
            .clone()
            .load(new.of(&names))
            .map_err(|problems| lines(&problems))?;
        // What the configuration leaves to variables is asked for, too, unless it names what is.
        let settings = &early.loaded.config.general.key_management_settings;
        if new.reads && settings.hosted_keys.is_none() {
            let implied = dialects::implied_keys(&loaded, sources);
            let implied: Vec<String> = implied.difference(&names).cloned().collect();
            new.ask(&implied, read).await;
            names.extend(implied.iter().cloned());
            if implied.iter().any(|name| new.has(name)) {
                let values = new.of(&names);
                loaded = draft.load(values).map_err(|problems| lines(&problems))?;
            }
        }
        new.kept.retain(|name, _| names.contains(name));
        Ok((loaded, new))
    }

    /// Asks anew about everything whose time is over. True when a value changed.
    pub async fn refresh(&mut self) -> bool {
        let names: Vec<String> = self.kept.keys().cloned().collect();
        let before = self.values();
        self.ask(&names, Read::Due).await;
        self.values() != before
    }

    /// When something has to be asked next.
    pub fn next(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.until).min()
    }

    /// The manager, for listings.
    pub fn describe(&self) -> Vec<Description> {
        self.registry.describe()
    }

    /// Where the texts of virtual keys are kept, if they are.
    pub fn place(&self, loaded: &Loaded) -> Option<Place> {
        let settings = &loaded.config.general.key_management_settings;
        Place::of(self.manager.clone()?, settings)
    }

    /// The values of these names, as far as there are any.
    fn of(&self, names: &BTreeSet<String>) -> BTreeMap<String, String> {
        let known = names.iter().filter_map(|name| {
            let value = self.kept.get(name)?.value.as_ref()?;
            Some((name.clone(), value.to_string()))
        });
        known.collect()
    }

    fn has(&self, name: &str) -> bool {
        self.kept.get(name).is_some_and(|kept| kept.value.is_some())
    }

    fn values(&self) -> BTreeMap<String, Option<Arc<Zeroizing<String>>>> {
        let kept = self.kept.iter();
        kept.map(|(name, kept)| (name.clone(), kept.value.clone()))
            .collect()
    }

    /// With the manager that the configuration names. What another one said is forgotten.
    async fn started(
        &self,
        early: &Early,
        host: &Arc<Host>,
        sources: &Sources,
    ) -> Result<Self, Vec<String>> {
        let environment = early.loaded.environment.clone();
        let keep: Option<u64> = environment.parse("SECRET_MANAGER_REFRESH_INTERVAL");
        let env: EnvLookup = Arc::new(move |name| environment.get(name).map(str::to_owned));
        let mut new = Self {
            keep: Duration::from_secs(keep.unwrap_or(KEEP_S)),
            env: Some(env.clone()),
            ..Self::default()
        };
        if let Some(manager) = &early.manager {
            let spec = specs::secret_manager(&early.loaded.config, manager, env)
                .map_err(|error| vec![error.to_string()])?;
            let name = spec.name.clone();
            new.at_once = spec.limits.max_instances.unwrap_or(AT_ONCE).min(AT_ONCE) as usize;
            new.reads = manager.access.reads();
            let settings = &early.loaded.config.general.key_management_settings;
            new.primary.clone_from(&settings.primary_secret_name);
            let (registry, errors) = host
                .load(vec![spec], sources, Some(self.registry.as_ref()))
                .await;
            if !errors.is_empty() {
                let told = |error: &witgate_plugins::LoadError| {
                    format!("general_settings.key_management_system: {error}")
                };
                return Err(errors.iter().map(told).collect());
            }
            new.manager = registry.secret_manager(&name);
            new.registry = Arc::new(registry);
        }
        let same = match (&self.manager, &new.manager) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        } && self.primary == new.primary;
        if same {
            new.kept.clone_from(&self.kept);
        } else {
            // A last value is better than none, should the new manager have trouble; it is asked first.
            let mut kept = self.kept.clone();
            kept.values_mut().for_each(|one| one.until = Instant::now());
            new.kept = kept;
        }
        Ok(new)
    }

    async fn ask(&mut self, names: &[String], read: Read) {
        let now = Instant::now();
        let due = |name: &&String| {
            let kept = self.kept.get(*name);
            read == Read::All || kept.is_none_or(|kept| kept.until <= now)
        };
        let (tokens, names): (Vec<String>, Vec<String>) = names
            .iter()
            .filter(due)
            .cloned()
            .partition(|name| name.starts_with(oidc::PREFIX));
        if let Some(env) = self.env.clone() {
            for name in tokens {
                let said = oidc::token(&name, &env).await;
                self.keep(name, said.map(|token| (Some(token.value), token.keep)));
            }
        }
        if let Some(manager) = self.manager.clone().filter(|_| self.reads) {
            match self.primary.clone().filter(|_| !names.is_empty()) {
                Some(primary) => self.ask_primary(&manager, &primary, names).await,
                None => self.ask_manager(&manager, names).await,
            }
        }
    }

    /// One question for all names.
    async fn ask_primary(&mut self, manager: &SecretManager, primary: &str, names: Vec<String>) {
        let said = read_one(manager, primary).await;
        let said = said.and_then(|(value, keep)| Ok((members(primary, value)?, keep)));
        let (members, keep) = match said {
            Ok(said) => said,
            Err(trouble) => {
                tracing::error!(
                    "{}; the last values are used, else the environment",
                    trouble.text
                );
                for name in names {
                    let text = trouble.text.clone();
                    let trouble = Trouble {
                        text,
                        for_all: true,
                    };
                    self.keep_quietly(name, Err(trouble));
                }
                return;
            }
        };
        for name in names {
            let value = members.get(&name).cloned();
            self.keep(name, Ok((value, keep)));
        }
    }

    /// The first question alone: it logs in for the others, and when nobody answers it, none of them is asked.
    async fn ask_manager(&mut self, manager: &Arc<SecretManager>, names: Vec<String>) {
        let mut names = names.into_iter();
        let Some(first) = names.next() else { return };
        let said = read_one(manager, &first).await;
        let trouble = said
            .as_ref()
            .err()
            .filter(|trouble| trouble.for_all)
            .map(|trouble| trouble.text.clone());
        self.keep(first, said);
        if let Some(text) = trouble {
            let left = names.len();
            if left > 0 {
                tracing::error!(left, "the secret manager is not asked for the others now");
            }
            for name in names {
                let trouble = Trouble {
                    text: text.clone(),
                    for_all: true,
                };
                self.keep_quietly(name, Err(trouble));
            }
            return;
        }
        let mut answers = futures_util::stream::iter(names)
            .map(|name| async move {
                let said = read_one(manager, &name).await;
                (name, said)
            })
            .buffer_unordered(self.at_once.max(1));
        while let Some((name, said)) = answers.next().await {
            self.keep(name, said);
        }
    }

    /// Keeps what was said; a failure is logged.
    fn keep(&mut self, name: String, said: Said) {
        if let Err(trouble) = &said {
            let last = self
                .kept
                .get(&name)
                .is_some_and(|kept| kept.value.is_some());
            let used = match last {
                true => "the last value that was read is used",
                false => "the environment is used",
            };
            tracing::error!(secret = name, "{}; {used}", trouble.text);
        }
        self.keep_quietly(name, said);
    }

    fn keep_quietly(&mut self, name: String, said: Said) {
        let now = Instant::now();
        let before = self.kept.get(&name);
        let kept = match said {
            Ok((value, keep)) => {
                if value.as_ref().is_some_and(|value| value.ends_with('\n')) {
                    tracing::warn!(
                        secret = name,
                        "the secret ends with a line break, which few services take as part of a key; it is used as it is"
                    );
                }
                let same = before.and_then(|kept| kept.value.clone());
                let value = match (value, same) {
                    (Some(new), Some(old)) if *new == *old.as_str() => Some(old),
                    (value, _) => value.map(Arc::new),
                };
                Kept {
                    value,
                    until: now + keep.unwrap_or(self.keep).max(KEEP_MIN),
                    failures: 0,
                }
            }
            Err(_) => {
                let failures = before.map_or(0, |kept| kept.failures).saturating_add(1);
                let pause = Duration::from_secs(1 << failures.min(6)).min(RETRY_MAX);
                Kept {
                    value: before.and_then(|kept| kept.value.clone()),
                    until: now + pause,
                    failures,
                }
            }
        };
        self.kept.insert(name, kept);
    }
}

/// The secrets in one.
fn members(
    primary: &str,
    value: Option<Zeroizing<String>>,
) -> Result<HashMap<String, Zeroizing<String>>, Trouble> {
    let trouble = |why: &str| Trouble {
        text: format!("primary_secret_name: the secret {primary:?} {why}"),
        for_all: true,
    };
    let value = value.ok_or_else(|| trouble("is not there"))?;
    // What is wrong with it is not said: it would be said with a piece of it.
    let members: Result<serde_json::Map<String, Value>, _> = serde_json::from_str(&value);
    let members = members.map_err(|_| trouble("is no JSON object"))?;
    let text = |(name, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name, Zeroizing::new(text))),
        other => Some((name, Zeroizing::new(other.to_string()))),
    };
    Ok(members.into_iter().filter_map(text).collect())
}

async fn read_one(manager: &SecretManager, name: &str) -> Said {
    match manager.read(name, "{}").await {
        Ok(reading) => Ok((reading.value, reading.keep)),
        Err(error) => Err(Trouble {
            for_all: matches!(
                error.fault,
                Fault::Plugin(
                    PluginError::Unavailable(_)
                        | PluginError::InvalidSettings(_)
                        | PluginError::Denied(_)
                ) | Fault::Timeout { .. }
                    | Fault::BreakerOpen { .. }
                    | Fault::Trap { .. }
                    | Fault::Unloaded(_)
            ),
            text: error.to_string(),
        }),
    }
}

/// Whether a draft has to be fetched for at all: a configuration without a manager and without tokens needs no plugin host
/// to be loaded.
pub fn needs_reading(early: &Early) -> bool {
    early.manager.is_some() || !early.names.is_empty()
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
