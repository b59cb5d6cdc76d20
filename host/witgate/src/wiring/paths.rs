//! Where things lie: data, plugins, the configuration's own folder.

use std::path::{Path, PathBuf};

use witgate_config::{Env, Source};
use witgate_plugins::Sources;

/// The folders of one process.
#[derive(Debug, Clone)]
pub struct Paths {
    /// Database and compiled plugins: `--data-dir`, `WITGATE_DATA_DIR`, else `$XDG_DATA_HOME/witgate`, else
    /// `~/.local/share/witgate`.
    pub data_dir: PathBuf,
    /// Built components in place of those in the binary: `WITGATE_PLUGIN_DIR`. A binary that carries none
    /// looks for `plugins/` beside itself, then (a build in a checkout) for the build folder.
    pub plugin_dir: Option<PathBuf>,
    /// Folder of the configuration file.
    pub config_dir: Option<PathBuf>,
}

impl Paths {
    /// The folders of a process with this configuration and environment.
    pub fn of(source: &Source, data_dir: Option<&Path>, env: &Env) -> Self {
        let given = data_dir
            .map(Path::to_owned)
            .or_else(|| env.non_empty("WITGATE_DATA_DIR").map(PathBuf::from));
        let shared = || env.non_empty("XDG_DATA_HOME").map(PathBuf::from);
        let home = || {
            env.non_empty("HOME")
                .map(|home| Path::new(home).join(".local/share"))
        };
        let data_dir = given
            .or_else(|| shared().or_else(home).map(|base| base.join("witgate")))
            .unwrap_or_else(|| PathBuf::from("witgate-data"));
        let config_dir = match source {
            Source::File(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                path.parent().map(Path::to_owned)
            }
            Source::Text { .. } | Source::Empty => None,
        };
        Self {
            data_dir,
            plugin_dir: env
                .non_empty("WITGATE_PLUGIN_DIR")
                .map(PathBuf::from)
                .or_else(beside_binary),
            config_dir,
        }
    }
}

/// Where a binary without built-in components finds them.
fn beside_binary() -> Option<PathBuf> {
    let carries_none = Sources {
        config_dir: None,
        plugin_dir: None,
        ..Sources::default()
    }
    .built_in()
    .is_empty();
    let binary = std::env::current_exe().ok().filter(|_| carries_none)?;
    let folder = binary.parent()?;
    let checkout = folder
        .parent()
        .and_then(Path::parent)
        .map(|root| root.join("plugins/target/components"));
    [Some(folder.join("plugins")), checkout]
        .into_iter()
        .flatten()
        .find(|dir| dir.is_dir())
}
