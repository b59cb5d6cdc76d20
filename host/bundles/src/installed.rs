//! Installed bundles: files below the data directory, one per version, and which version counts.
//!
//! ```text
//! bundles/NAME/VERSION.bundle    as it was given, signatures included
//! bundles/NAME/current           the version that counts
//! ```
//!
//! A version's file is moved into place first and `current` second, each in one step. A crash in between leaves a
//! version that nobody uses; it never leaves half a bundle, and never a `current` without its file.

#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use semver::Version;

use crate::file::{UNFINISHED, create_private_dir, sync_folder};
use crate::index::is_name;
use crate::{Bundle, BundleError, Index, write_atomically};

/// The bundles installed in one data directory.
#[derive(Debug, Clone)]
pub struct Installed {
    root: PathBuf,
}

/// A bundle whose version counts.
#[derive(Debug, Clone)]
pub struct InstalledBundle {
    /// Its file.
    pub path: PathBuf,
    /// What it says it holds. The file is checked when a component of it is loaded.
    pub index: Index,
    /// The other versions that are there, oldest first.
    pub others: Vec<Version>,
}

/// What an installation replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// Nothing.
    Nothing,
    /// An older version.
    Older(Version),
    /// A newer version: this is a step back.
    Newer(Version),
    /// The same version with the same content.
    Same,
}

impl Installed {
    /// The bundles below this data directory. Makes nothing.
    #[must_use]
    pub fn below(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("bundles"),
        }
    }

    /// The bundles, each in the version that counts, sorted by name, and what cannot be read.
    #[must_use]
    pub fn list(&self) -> (Vec<InstalledBundle>, Vec<BundleError>) {
        let mut found = Vec::new();
        let mut errors = Vec::new();
        for name in self.names() {
            match self.current(&name) {
                Ok(Some(bundle)) => found.push(bundle),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        (found, errors)
    }

    /// Installs a bundle and makes it the version that counts.
    ///
    /// # Errors
    /// When the same version is there with another content, or the files cannot be written.
    pub fn install(&self, bundle: &Bundle) -> Result<Replaced, BundleError> {
        let Index { name, version, .. } = &bundle.index;
        let folder = self.root.join(name);
        create_private_dir(&folder).map_err(|error| BundleError::file(&folder, error))?;
        sweep(&folder);
        let path = file_of(&folder, version);
        let known = path.is_file().then(|| Bundle::read(&path));
        if let Some(Ok(known)) = &known
            && known.digest != bundle.digest
        {
            return Err(BundleError::Installed(format!(
                "{} is installed with another content ({}, now {}); a version has one content: give it another version, or remove the old one with `witgate plugin uninstall {name}`",
                bundle.index.title(),
                known.digest,
                bundle.digest
            )));
        }
        let before = self.current_version(name)?;
        bundle.write(&path)?;
        let current = folder.join("current");
        write_atomically(&current, format!("{version}\n").as_bytes())
            .map_err(|error| BundleError::file(&current, error))?;
        Ok(match before {
            None => Replaced::Nothing,
            Some(before) if before == *version => Replaced::Same,
            Some(before) if before > *version => Replaced::Newer(before),
            Some(before) => Replaced::Older(before),
        })
    }

    /// Removes a bundle, or one version of it that does not count; the versions that went.
    ///
    /// # Errors
    /// When there is no such bundle or version, or it is the one that counts.
    pub fn uninstall(
        &self,
        name: &str,
        version: Option<&Version>,
    ) -> Result<Vec<Version>, BundleError> {
        let folder = self.root.join(name);
        let versions = self.versions(name);
        if !is_name(name) || versions.is_empty() {
            let names = self.names();
            let known = match names.is_empty() {
                true => "no bundle is".to_owned(),
                false => format!("there are {}", names.join(", ")),
            };
            return Err(BundleError::Installed(format!(
                "no bundle {name:?} is installed; {known}"
            )));
        }
        let fail = |path: &Path, error| BundleError::file(path, error);
        let Some(version) = version else {
            // Without `current` nothing counts any more, whatever happens to the rest.
            let current = folder.join("current");
            if current.exists() {
                fs::remove_file(&current).map_err(|error| fail(&current, error))?;
                sync_folder(&folder).map_err(|error| fail(&folder, error))?;
            }
            fs::remove_dir_all(&folder).map_err(|error| fail(&folder, error))?;
            return Ok(versions);
        };
        if !versions.contains(version) {
            let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
            return Err(BundleError::Installed(format!(
                "{name} {version} is not installed; there are {}",
                versions.join(", ")
            )));
        }
        if self.current_version(name)?.as_ref() == Some(version) {
            return Err(BundleError::Installed(format!(
                "{name} {version} is the version that counts; install another one first, or leave out --version to remove the bundle"
            )));
        }
        let path = file_of(&folder, version);
        fs::remove_file(&path).map_err(|error| fail(&path, error))?;
        Ok(vec![version.clone()])
    }

    /// The file of a version that is there.
    #[must_use]
    pub fn file(&self, name: &str, version: &Version) -> Option<PathBuf> {
        let path = file_of(&self.root.join(name), version);
        (is_name(name) && path.is_file()).then_some(path)
    }

    /// The version of a bundle that counts.
    ///
    /// # Errors
    /// When the file that says so is damaged.
    pub fn current_version(&self, name: &str) -> Result<Option<Version>, BundleError> {
        let path = self.root.join(name).join("current");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(BundleError::file(&path, error)),
        };
        text.trim().parse().map(Some).map_err(|_| {
            BundleError::Installed(format!(
                "{} does not hold a version; install {name} again",
                path.display()
            ))
        })
    }

    fn current(&self, name: &str) -> Result<Option<InstalledBundle>, BundleError> {
        let Some(version) = self.current_version(name)? else {
            return Ok(None);
        };
        let path = file_of(&self.root.join(name), &version);
        let wrong = |error: BundleError| {
            BundleError::Installed(format!(
                "the installed bundle {name} {version} cannot be used ({error}); install it again"
            ))
        };
        let index = Bundle::peek(&path).map_err(wrong)?;
        if index.name != name || index.version != version {
            let other = format!("it is {}", index.title());
            return Err(wrong(BundleError::Damaged(other)));
        }
        let mut others = self.versions(name);
        others.retain(|other| *other != version);
        Ok(Some(InstalledBundle {
            path,
            index,
            others,
        }))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .collect();
        names.sort();
        names
    }

    fn versions(&self, name: &str) -> Vec<Version> {
        let entries = fs::read_dir(self.root.join(name))
            .into_iter()
            .flatten()
            .flatten();
        let mut versions: Vec<Version> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.strip_suffix(".bundle")?.parse().ok()
            })
            .collect();
        versions.sort();
        versions
    }
}

fn file_of(folder: &Path, version: &Version) -> PathBuf {
    folder.join(format!("{version}.bundle"))
}

/// Removes what an installation left behind that was killed.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
