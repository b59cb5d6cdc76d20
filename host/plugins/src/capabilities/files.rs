//! Files that the operator granted by name. Plugins append to them and can do nothing else.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{Manifest, PluginSpec, World};

/// Name and path that mean the gateway's standard output.
const STDOUT: &str = "stdout";

/// The granted files of one plugin.
pub(crate) struct Files {
    granted: HashMap<String, Arc<Target>>,
}

/// Where appended bytes go.
enum Target {
    Stdout,
    /// A scripted world keeps them, under this name.
    World(Arc<dyn World>, String),
    /// Opened at the first write and kept, so that a rename of the file moves what follows with it.
    File {
        path: PathBuf,
        open: Mutex<Option<File>>,
    },
}

/// Why nothing was written.
pub(crate) enum AppendError {
    /// The text says what to grant.
    Denied(String),
    /// The system's answer.
    Io(String),
}

impl Files {
    /// What the manifest asks for and the operator gives.
    pub(crate) fn granted(manifest: &Manifest, spec: &PluginSpec) -> Self {
        let asked = |name: &&String| manifest.files.contains(*name) || *name == STDOUT;
        let target = |name: &str, path: &PathBuf| match (path.to_str(), &spec.world) {
            (_, Some(world)) => Target::World(world.clone(), name.to_owned()),
            _ if name == STDOUT => Target::Stdout,
            (Some(STDOUT | "-" | "/dev/stdout"), _) => Target::Stdout,
            _ => Target::File {
                path: path.clone(),
                open: Mutex::new(None),
            },
        };
        let granted = spec.grants.files.keys().filter(asked).filter_map(|name| {
            let path = spec.grants.files.get(name)?;
            Some((name.clone(), Arc::new(target(name, path))))
        });
        Self {
            granted: granted.collect(),
        }
    }

    /// Name and place of each granted file.
    pub(crate) fn describe(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .granted
            .iter()
            .map(|(name, target)| match target.as_ref() {
                Target::Stdout if name == STDOUT => name.clone(),
                Target::Stdout => format!("{name}={STDOUT}"),
                Target::World(..) => name.clone(),
                Target::File { path, .. } => format!("{name}={}", path.display()),
            })
            .collect();
        lines.sort();
        lines
    }

    /// Appends in one write, off the async workers: a disk may hang.
    pub(crate) async fn append(
        &self,
        plugin: &str,
        name: &str,
        data: Vec<u8>,
    ) -> Result<(), AppendError> {
        let Some(target) = self.granted.get(name).cloned() else {
            return Err(AppendError::Denied(format!(
                "the file {name:?} is not granted; write `plugins.{plugin}.grants.files.{name}: PATH` in the configuration"
            )));
        };
        let written = tokio::task::spawn_blocking(move || target.append(&data)).await;
        match written {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(AppendError::Io(error.to_string())),
            Err(error) => Err(AppendError::Io(error.to_string())),
        }
    }
}

impl Target {
    fn append(&self, data: &[u8]) -> std::io::Result<()> {
        match self {
            Self::World(world, name) => world.append(name, data).map_err(std::io::Error::other),
            Self::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(data)?;
                out.flush()
            }
            Self::File { path, open } => {
                let mut open = open.lock();
                let mut file = match open.take() {
                    Some(file) => file,
                    None => File::options().append(true).create(true).open(path)?,
                };
                file.write_all(data)?;
                // After an error the file is opened anew: it may be on a disk that came back.
                *open = Some(file);
                Ok(())
            }
        }
    }
}
