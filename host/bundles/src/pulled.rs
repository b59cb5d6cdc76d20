//! What was fetched from registries, kept by digest in the data directory.
//!
//! ```text
//! pulled/sha256/HEX    manifests and layers; each is hashed again whenever it is used
//! pulled/tags/HEX      what a tag led to the last time
//! ```
//!
//! A reference with a digest that is here needs no network. A tag is asked for at every load; what it led to the
//! last time serves only while the registry cannot be reached.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::archive::COMPONENT_MAX;
use crate::bundle::BUNDLE_MAX;
use crate::file::{UNFINISHED, create_private_dir};
use crate::layout::{Content, Found};
use crate::{Digest, Reference, Registries, RegistryError, read_bounded, write_atomically};

/// What nobody used for so long is removed; a rollback within a quarter of a year needs no network.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// The artefacts kept in one data directory.
#[derive(Debug, Clone)]
pub struct Pulled {
    root: PathBuf,
}

/// An artefact that is here.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What it is.
    pub content: Content,
    /// The component or bundle. Whoever reads it compares it with `layer`.
    pub path: PathBuf,
    /// Digest of that file.
    pub layer: Digest,
    /// Digest of the manifest that led to it.
    pub manifest: Digest,
    /// The text of a component's signatures.
    pub signatures: Option<String>,
    /// What the operator should know about how it was found.
    pub note: Option<String>,
}

impl Pulled {
    /// The artefacts below this data directory. Makes nothing.
    #[must_use]
    pub fn below(data_dir: &Path) -> Self {
        Self {
            root: data_dir.join("pulled"),
        }
    }

    /// An artefact: from here when the reference has a digest, else from the registry.
    ///
    /// # Errors
    /// When it cannot be had, or is not what was asked for.
    pub async fn fetch(
        &self,
        registries: &Registries,
        reference: &Reference,
    ) -> Result<Fetched, RegistryError> {
        for folder in ["sha256", "tags"] {
            let folder = self.root.join(folder);
            create_private_dir(&folder).map_err(|error| file(&folder, error))?;
        }
        let (digest, manifest, note) = self.manifest(registries, reference).await?;
        let found = Found::read(&manifest)
            .map_err(|why| RegistryError::Answer(format!("{reference} is no plugin: {why}")))?;
        let path = self.blob(&found.layer);
        if self.kept(&found.layer, found.size).is_none() {
            let bytes = registries.blob(reference, &found.layer, found.size).await?;
            write_atomically(&path, &bytes).map_err(|error| file(&path, error))?;
            self.sweep();
        }
        Ok(Fetched {
            content: found.content,
            path,
            layer: found.layer,
            manifest: digest,
            signatures: found.signatures,
            note,
        })
    }

    /// Whether the tag of a pinned reference leads elsewhere by now, and where. Asks the registry.
    pub async fn moved(registries: &Registries, reference: &Reference) -> Option<Digest> {
        let pinned = reference.digest?;
        reference.tag.as_ref()?;
        let by_tag = Reference {
            digest: None,
            ..reference.clone()
        };
        // It cannot be reached, or has no such tag any more: the pin holds all the same.
        let (now, _) = registries.manifest(&by_tag).await.ok()?;
        (now != pinned).then_some(now)
    }

    async fn manifest(
        &self,
        registries: &Registries,
        reference: &Reference,
    ) -> Result<(Digest, Vec<u8>, Option<String>), RegistryError> {
        if let Some(digest) = reference.digest {
            if let Some(manifest) = self.kept(&digest, COMPONENT_MAX) {
                return Ok((digest, manifest, None));
            }
            let (digest, manifest) = registries.manifest(reference).await?;
            self.keep(&digest, &manifest)?;
            return Ok((digest, manifest, None));
        }
        let tag = self
            .root
            .join("tags")
            .join(Digest::of(reference.to_string().as_bytes()).hex());
        let before: Option<Digest> = fs::read_to_string(&tag)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        match registries.manifest(reference).await {
            Ok((digest, manifest)) => {
                self.keep(&digest, &manifest)?;
                write_atomically(&tag, format!("{digest}\n").as_bytes())
                    .map_err(|error| file(&tag, error))?;
                let note = before.filter(|before| *before != digest).map(|before| {
                    format!("{reference} was moved: it led to {before} before, and leads to {digest} now")
                });
                Ok((digest, manifest, note))
            }
            Err(error) if error.is_unreachable() => {
                let last =
                    before.and_then(|digest| Some((digest, self.kept(&digest, COMPONENT_MAX)?)));
                let Some((digest, manifest)) = last else {
                    return Err(error);
                };
                let note =
                    format!("{error}; {reference} is taken as it was the last time, {digest}");
                Ok((digest, manifest, Some(note)))
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes with this digest, if they are here and intact.
    fn kept(&self, digest: &Digest, max: u64) -> Option<Vec<u8>> {
        let path = self.blob(digest);
        let bytes = read_bounded(&path, max.min(BUNDLE_MAX)).ok()?;
        if Digest::of(&bytes) != *digest {
            tracing::warn!(path = %path.display(), "a kept artefact was damaged; fetching it again");
            return None;
        }
        // Best effort: it only says that somebody still uses it.
        let _ = fs::File::options()
            .append(true)
            .open(&path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), RegistryError> {
        let path = self.blob(digest);
        write_atomically(&path, bytes).map_err(|error| file(&path, error))
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("sha256").join(digest.hex())
    }

    /// Removes what was not used for long, and what a killed process left behind.
    fn sweep(&self) {
        for entry in fs::read_dir(self.root.join("sha256"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let modified = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .ok();
            let age = modified
                .and_then(|modified| modified.elapsed().ok())
                .unwrap_or_default();
            let unfinished = entry.file_name().to_string_lossy().starts_with(UNFINISHED);
            if age > KEPT || (unfinished && age > Duration::from_secs(3600)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn file(path: &Path, error: std::io::Error) -> RegistryError {
    RegistryError::File {
        path: path.display().to_string(),
        error,
    }
}
