//! What the database holds of the configuration (`store_model_in_db`), joined with the files.
//!
//! The files are loaded first: they say whether the database is asked, and with which salt it is read. What it holds becomes a
//! part of the draft, so it is resolved, checked and built as the files are. What cannot be served of it is left out and told,
//! row by row: one bad row keeps nothing else from being served.

use std::collections::BTreeMap;
use std::time::Duration;

use witgate_config::{Draft, Loaded, Problem, StoredItem};
use witgate_management::{Seal, StoredRows};
use witgate_plugins::Registry;

use super::{Kept, Read, Secrets, Wired};
use crate::commands::strict;

/// `proxy_config_reload_interval_seconds` when nobody says.
const INTERVAL: Duration = Duration::from_secs(30);
/// And the least: each time the tables are read.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// Rows that are not served, and why.
pub type LeftOut = BTreeMap<String, String>;

/// A configuration that can be put in force.
pub struct Built {
    /// What was loaded.
    pub loaded: Loaded,
    /// The secrets it was resolved with.
    pub secrets: Secrets,
    /// What it became.
    pub wired: Wired,
    /// The rows of the database that it was made of.
    pub rows: StoredRows,
    /// Those that are not in it.
    pub left_out: LeftOut,
}

/// How a configuration is built.
pub struct How<'a> {
    /// Which secrets are asked anew.
    pub read: Read,
    /// `--strict-config`
    pub strict: bool,
    /// The plugins that serve.
    pub plugins: Option<&'a Registry>,
    /// The rows when the database does not answer: the last ones.
    pub last: &'a StoredRows,
}

/// How often the tables are read.
pub fn interval(loaded: &Loaded) -> Duration {
    let general = loaded.config.raw.get("general_settings");
    let key = "proxy_config_reload_interval_seconds";
    let seconds = general.and_then(|general| general.get(key)?.as_f64());
    let variable = || {
        loaded
            .environment
            .parse("PROXY_CONFIG_RELOAD_INTERVAL_SECONDS")
    };
    let seconds = seconds.or_else(variable).filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or(INTERVAL, |interval| interval.max(INTERVAL_MIN))
}

/// Whether the database is asked.
pub fn is_asked(loaded: &Loaded) -> bool {
    let general = loaded.config.raw.get("general_settings");
    let key = general.and_then(|general| general.get("store_model_in_db")?.as_bool());
    key == Some(true) || loaded.environment.flag("STORE_MODEL_IN_DB") == Some(true)
}

/// What secrets in the database are encrypted with, as the files and the process say.
pub(super) fn salt(loaded: &Loaded) -> Option<&str> {
    let master = loaded
        .config
        .general
        .master_key
        .as_ref()
        .map(|key| key.reveal());
    loaded.environment.non_empty("LITELLM_SALT_KEY").or(master)
}

/// Builds the configuration of a draft of the files, with what the database holds.
pub async fn build(base: &Draft, kept: &mut Kept, how: How<'_>) -> Result<Built, Vec<String>> {
    let (loaded, secrets) = load(base.clone(), kept, &how).await?;
    if !is_asked(&loaded) {
        let wired = super::wire(&loaded, kept, how.plugins).await?;
        return Ok(Built {
            loaded,
            secrets,
            wired,
            rows: StoredRows::default(),
            left_out: LeftOut::new(),
        });
    }
    let rows = match kept.plane.stored_rows().await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(
                "the models and settings of the database cannot be read, those that were read last count: {error}"
            );
            how.last.clone()
        }
    };
    let mut joined = Joined::new(&rows, how.last, &loaded);
    loop {
        let tried = joined.tried(base, kept, &how).await;
        match tried {
            Ok((loaded, secrets, wired)) => {
                let left_out = joined.left_out;
                return Ok(Built {
                    loaded,
                    secrets,
                    wired,
                    rows,
                    left_out,
                });
            }
            Err(lines) if joined.leave_out(&lines) => {}
            Err(lines) => return Err(lines),
        }
    }
}

/// Tells of rows that are not served, unless that was told before.
pub fn tell(left_out: &LeftOut, before: &LeftOut) {
    for (place, why) in left_out
        .iter()
        .filter(|(place, why)| before.get(*place) != Some(why))
    {
        tracing::error!("{place} is left out: {why}");
    }
}

async fn load(draft: Draft, kept: &Kept, how: &How<'_>) -> Result<(Loaded, Secrets), Vec<String>> {
    let lines =
        |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
    let Ok(early) = draft.early() else {
        return Err(lines(draft.problems()));
    };
    let sources = super::sources(&kept.paths, &early.loaded).await?;
    let fetched = kept
        .secrets
        .load(draft, &early, &kept.host, &sources, how.read);
    let (mut loaded, secrets) = fetched.await?;
    if how.strict {
        strict(&mut loaded.problems);
        if loaded.problems.iter().any(Problem::is_error) {
            return Err(lines(loaded.problems));
        }
    }
    Ok((loaded, secrets))
}

/// What the database adds, and what had to be left out so far.
struct Joined {
    items: Vec<StoredItem>,
    /// What it added before.
    last: Vec<StoredItem>,
    left_out: LeftOut,
}

impl Joined {
    fn new(rows: &StoredRows, last: &StoredRows, loaded: &Loaded) -> Self {
        let general = loaded.config.raw.get("general_settings");
        let objects = general.and_then(|general| general.get("supported_db_objects"));
        let objects: Option<Vec<String>> =
            objects.and_then(|list| serde_json::from_value(list.clone()).ok());
        let seal = Seal::of(salt(loaded).unwrap_or_default());
        let opened = |rows: &StoredRows| {
            let opened = rows.opened(&seal, objects.as_deref());
            let items = opened.items.into_iter().map(|item| StoredItem {
                place: item.place,
                path: item.path,
                value: item.value,
            });
            (items.collect::<Vec<_>>(), opened.faults)
        };
        let (items, faults) = opened(rows);
        Self {
            items,
            last: opened(last).0,
            left_out: faults.into_iter().collect(),
        }
    }

    async fn tried(
        &self,
        base: &Draft,
        kept: &mut Kept,
        how: &How<'_>,
    ) -> Result<(Loaded, Secrets, Wired), Vec<String>> {
        let draft = base.clone().with_stored(&self.items);
        let (loaded, secrets) = load(draft, kept, how).await?;
        let wired = super::wire(&loaded, kept, how.plugins).await?;
        Ok((loaded, secrets, wired))
    }

    /// Leaves out what these problems name; when they name nothing of the database, its settings, the new ones first, then
    /// everything. False when nothing is left: then the files are at fault.
    fn leave_out(&mut self, lines: &[String]) -> bool {
        let told = |item: &StoredItem| {
            // What is built of a setting names its key alone.
            let listed = item
                .path
                .strip_suffix("[]")
                .filter(|list| list.contains('.'));
            let names = |line: &&String| match listed {
                // One of a list in a section names its id.
                Some(list) => {
                    let id = item.value.get("id").and_then(serde_json::Value::as_str);
                    line.contains(&item.place)
                        || id.is_some_and(|id| {
                            line.starts_with(list) && line.contains(&format!(" (id {id}): "))
                        })
                }
                None => {
                    line.contains(&item.place)
                        || item.path.contains('.') && line.contains(&item.path)
                }
            };
            lines.iter().find(names).cloned()
        };
        let all = || Some(lines.join("\n"));
        let is_setting = |item: &StoredItem| item.path.contains('.');
        let (before, last) = (self.items.len(), &self.last);
        let is_new = |item: &StoredItem| is_setting(item) && !last.contains(item);
        let left_out = &mut self.left_out;
        let mut leave = |why: &dyn Fn(&StoredItem) -> Option<String>| {
            self.items.retain(|item| match why(item) {
                Some(why) => {
                    left_out.insert(item.place.clone(), why);
                    false
                }
                None => true,
            });
            self.items.len() < before
        };
        leave(&told)
            || leave(&|item| is_new(item).then(all).flatten())
            || leave(&|item| is_setting(item).then(all).flatten())
            || leave(&|_| all())
    }
}
