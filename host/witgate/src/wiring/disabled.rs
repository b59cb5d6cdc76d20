//! Which plugins an administrator turned off: a file in the data directory, so that a restart does not turn them on.
//!
//! It is read when the process starts and written when a plugin is turned off or on. No request looks at it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use witgate_plugins::{Kind, PluginId, Registry};

/// Its name in the data directory.
const FILE: &str = "disabled-plugins.json";
/// A gateway has tens of plugins, and a line of the file about 60 bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The plugins that are off, also those that the configuration does not name at present.
#[derive(Debug)]
pub struct Disabled {
    file: PathBuf,
    plugins: BTreeSet<Row>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: String,
    name: String,
}

impl Disabled {
    /// Reads the file; without one all plugins are on.
    ///
    /// # Errors
    /// When there is a file and it is none of ours: a plugin that was turned off must not come back unnoticed.
    pub fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let file = data_dir.join(FILE);
        let plugins = match witgate_bundles::read_bounded(&file, BYTES_MAX) {
            Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        };
        let plugins = plugins.with_context(|| {
            format!(
                "cannot read {}, which says what plugins an administrator turned off; remove it to turn all on",
                file.display()
            )
        })?;
        Ok(Self { file, plugins })
    }

    /// The same plugins, with those turned off that are.
    pub fn apply(&self, plugins: Registry) -> Registry {
        self.plugins.iter().fold(plugins, |plugins, row| {
            let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == row.kind);
            match kind {
                Some(kind) => plugins.switched(
                    &PluginId {
                        kind,
                        name: row.name.clone(),
                    },
                    false,
                ),
                None => plugins,
            }
        })
    }

    /// Keeps that a plugin is on or off, before it is. Nothing has changed after an error.
    pub async fn keep(&mut self, plugin: &PluginId, enabled: bool) -> anyhow::Result<()> {
        let row = Row {
            kind: plugin.kind.as_str().to_owned(),
            name: plugin.name.clone(),
        };
        let mut plugins = self.plugins.clone();
        let changed = match enabled {
            true => plugins.remove(&row),
            false => plugins.insert(row),
        };
        if !changed {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&plugins)?;
        let file = self.file.clone();
        tokio::task::spawn_blocking(move || witgate_bundles::write_atomically(&file, &text))
            .await?
            .with_context(|| format!("cannot write {}", self.file.display()))?;
        self.plugins = plugins;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_off_is_off_for_the_next_that_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = || Disabled::read(folder.path()).expect("read");
        let id = |name: &str| PluginId {
            kind: Kind::Guardrail,
            name: name.to_owned(),
        };
        let mut disabled = read();
        disabled.keep(&id("a"), false).await.expect("kept");
        disabled.keep(&id("b"), false).await.expect("kept");
        disabled.keep(&id("a"), true).await.expect("kept");
        let names: Vec<String> = read().plugins.into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn a_file_that_is_damaged_turns_nothing_on() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "[{").expect("written");
        let error = Disabled::read(folder.path()).expect_err("no list");
        assert!(format!("{error:#}").contains("remove it"), "{error:#}");
    }
}
