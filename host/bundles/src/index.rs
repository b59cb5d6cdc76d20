//! What a bundle says it holds: the first file in it, `index.json`.
//!
//! The index has exactly one spelling, and everything behind it is determined by it: which files follow, in which
//! order, how large, with which digest. A reader needs no name from the archive itself.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive::{COMPONENT_MAX, ENTRIES_MAX, SBOM_MAX, UNPACKED_MAX};
use crate::{BundleError, Digest};

const FORMAT: u32 = 1;

/// What is in a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Version of this format; 1.
    pub witgate_bundle: u32,
    /// Name of the bundle.
    pub name: String,
    /// Its version.
    #[serde(with = "as_text")]
    pub version: Version,
    /// The components, sorted by name.
    pub components: Vec<Entry>,
}

/// One component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the plugin.
    pub name: String,
    /// What it does, such as `log-sink`.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// SPDX expression; empty when its author gave none.
    pub license: String,
    /// Further names of it.
    pub aliases: Vec<String>,
    /// The component's file.
    pub component: FileEntry,
    /// Its software bill of materials (CycloneDX, JSON).
    pub sbom: Option<FileEntry>,
    /// The component's manifest, to be read without unpacking it.
    pub manifest: Value,
}

/// A file of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl FileEntry {
    /// Describes these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        }
    }
}

impl Index {
    /// An index of these components, checked.
    ///
    /// # Errors
    /// Names the first thing that is wrong and what would be right.
    pub fn new(
        name: String,
        version: Version,
        mut components: Vec<Entry>,
    ) -> Result<Self, BundleError> {
        components.sort_by(|a, b| a.name.cmp(&b.name));
        let index = Self {
            witgate_bundle: FORMAT,
            name,
            version,
            components,
        };
        index.check()?;
        Ok(index)
    }

    /// `name version`, for people.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// The component of this name, or with this alias; `-` and `_` are equal.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<&Entry> {
        let wanted = plain(name);
        let by_name = self
            .components
            .iter()
            .find(|one| plain(&one.name) == wanted);
        by_name.or_else(|| {
            let mut all = self.components.iter();
            all.find(|one| one.aliases.iter().any(|alias| plain(alias) == wanted))
        })
    }

    /// The text of the index.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings, numbers and JSON itself always serialise.
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    pub(crate) fn read(text: &[u8]) -> Result<Self, BundleError> {
        #[derive(Deserialize)]
        struct Format {
            witgate_bundle: u32,
        }
        let damaged = |error: serde_json::Error| {
            BundleError::Damaged(format!("its index cannot be read: {error}"))
        };
        let format: Format = serde_json::from_slice(text).map_err(damaged)?;
        if format.witgate_bundle != FORMAT {
            return Err(BundleError::Damaged(format!(
                "format {} is not known; this program reads format {FORMAT}",
                format.witgate_bundle
            )));
        }
        let index: Self = serde_json::from_slice(text).map_err(damaged)?;
        index.check()?;
        match index.to_json() == text {
            true => Ok(index),
            false => Err(BundleError::Damaged(
                "its index is not written as `witgate plugin bundle` writes one".to_owned(),
            )),
        }
    }

    /// The files behind the index, in the order of the archive.
    pub(crate) fn files(&self) -> Vec<(String, FileEntry)> {
        let mut files = Vec::with_capacity(self.components.len() * 2);
        for one in &self.components {
            files.push((component_path(&one.name), one.component));
            files.extend(one.sbom.map(|sbom| (sbom_path(&one.name), sbom)));
        }
        files
    }

    fn check(&self) -> Result<(), BundleError> {
        let wrong = |text: String| Err(BundleError::Content(text));
        let hostile = |text: String| Err(BundleError::Hostile(text));
        if self.components.is_empty() {
            return wrong("a bundle holds at least one component".to_owned());
        }
        let files = self.files();
        if files.len() >= ENTRIES_MAX {
            return hostile(format!(
                "{} files are too many; a bundle holds at most {ENTRIES_MAX}",
                files.len() + 1
            ));
        }
        let names = self.components.iter().map(|one| &one.name);
        if let Some(name) = names.chain([&self.name]).find(|name| !is_name(name)) {
            return hostile(format!(
                "{name:?} is no name; use lower-case letters, digits, `-`, `_` and `.`, not first"
            ));
        }
        let mut seen = BTreeSet::new();
        for one in &self.components {
            for name in one.aliases.iter().chain([&one.name]) {
                if !seen.insert(plain(name)) {
                    return hostile(format!("{name:?} is in it twice"));
                }
            }
        }
        if !self.components.is_sorted_by(|a, b| a.name < b.name) {
            return Err(BundleError::Damaged(
                "the components in its index are not in order".to_owned(),
            ));
        }
        let mut total = 0_u64;
        for (path, file) in &files {
            let max = if path.starts_with("sbom/") {
                SBOM_MAX
            } else {
                COMPONENT_MAX
            };
            if file.size > max {
                return hostile(format!(
                    "{path} says that it has {} bytes; at most {} MiB are accepted",
                    file.size,
                    max >> 20
                ));
            }
            total += file.size;
        }
        if total > UNPACKED_MAX {
            return hostile(format!(
                "unpacked it would have {total} bytes; at most {} MiB are accepted",
                UNPACKED_MAX >> 20
            ));
        }
        Ok(())
    }
}

/// A version as text.
mod as_text {
    use semver::Version;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(version: &Version, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(version)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Version, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Where a component lies in the archive.
pub(crate) fn component_path(name: &str) -> String {
    format!("components/{name}.wasm")
}

/// Where its bill of materials lies.
pub(crate) fn sbom_path(name: &str) -> String {
    format!("sbom/{name}.cdx.json")
}

/// Names become file names: nothing in them can lead anywhere.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        // A tar header has room for 100 bytes of path, `components/` and `.wasm` included.
        && name.len() <= 80
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

pub(crate) fn plain(name: &str) -> String {
    name.replace('_', "-").to_ascii_lowercase()
}
