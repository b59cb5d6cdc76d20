//! A bundle as one file: the archive, and behind it the signatures.
//!
//! The signatures lie in a skippable frame of zstd's format, so `zstd -d | tar -t` still works. They cover every
//! byte before them, and they have one spelling themselves: no byte of a signed bundle can change unnoticed. A
//! bundle's digest is that of the archive; signing does not change it.

#[cfg(test)]
pub(crate) mod tests;

use std::fs::File;
use std::io;
use std::path::Path;

use semver::Version;
use serde_json::Value;

use crate::index::{component_path, sbom_path};
use crate::signature::TEXT_MAX;
use crate::{
    BundleError, Digest, Entry, FileEntry, Index, KeyPair, Signatures, Subject, archive,
    read_bounded, write_atomically,
};

/// Largest bundle file, bytes.
pub const BUNDLE_MAX: u64 = 512 << 20;

/// Begins the frame: one of the sixteen that zstd skips.
const SKIPPED: [u8; 4] = 0x184D_2A57_u32.to_le_bytes();
/// Ends the file, after the length of the whole frame, so that it is found from behind.
const MARK: [u8; 4] = *b"WGSG";
/// Magic and length before the text, length and mark after it.
const AROUND: usize = 16;

/// A bundle whose every byte was checked.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What it holds.
    pub index: Index,
    /// SHA-256 of its archive.
    pub digest: Digest,
    /// Its signatures, all of them intact. Whether the signers are trusted is another question.
    pub signatures: Signatures,
    bytes: Vec<u8>,
    archive_len: usize,
}

/// A component that is to be bundled.
#[derive(Debug, Clone)]
pub struct Part {
    /// Name of the plugin.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// SPDX expression, or empty.
    pub license: String,
    /// Further names.
    pub aliases: Vec<String>,
    /// Its manifest as JSON.
    pub manifest: Value,
    /// The component.
    pub component: Vec<u8>,
    /// Its bill of materials.
    pub sbom: Option<Vec<u8>>,
}

impl Bundle {
    /// Makes a bundle. The same parts give the same bytes, in whatever order they come.
    ///
    /// # Errors
    /// When the parts do not go together, or are too large.
    pub fn new(name: String, version: Version, mut parts: Vec<Part>) -> Result<Self, BundleError> {
        parts.sort_by(|a, b| a.name.cmp(&b.name));
        let entries = parts.iter().map(|part| Entry {
            name: part.name.clone(),
            kind: part.kind.clone(),
            version: part.version.clone(),
            license: part.license.clone(),
            aliases: part.aliases.clone(),
            component: FileEntry::of(&part.component),
            sbom: part.sbom.as_deref().map(FileEntry::of),
            manifest: part.manifest.clone(),
        });
        let index = Index::new(name, version, entries.collect())?;
        let mut files: Vec<(String, &[u8])> = Vec::new();
        for part in &parts {
            files.push((component_path(&part.name), &part.component));
            if let Some(sbom) = &part.sbom {
                files.push((sbom_path(&part.name), sbom));
            }
        }
        let bytes = archive::write(&index, &files)?;
        let digest = Digest::of(&bytes);
        Ok(Self {
            index,
            digest,
            signatures: Signatures::default(),
            archive_len: bytes.len(),
            bytes,
        })
    }

    /// Checks a bundle: signatures first, then the archive, every byte of it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(bytes: Vec<u8>) -> Result<Self, BundleError> {
        Self::open_for(bytes, None).map(|(bundle, _)| bundle)
    }

    /// The same, and the component of this name, or with this alias, if it is in it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for(
        bytes: Vec<u8>,
        wanted: Option<&str>,
    ) -> Result<(Self, Option<Vec<u8>>), BundleError> {
        let (archive, signatures) = split(&bytes)?;
        let digest = Digest::of(archive);
        let signatures = match signatures {
            Some(text) => Signatures::read(text, Subject::Bundle, &digest)?,
            None => Signatures::default(),
        };
        let path = match wanted {
            None => None,
            Some(name) => {
                let index = archive::peek(archive)?;
                index.component(name).map(|one| component_path(&one.name))
            }
        };
        let (index, mut kept) = archive::read(archive, |own| path.as_deref() == Some(own))?;
        let archive_len = archive.len();
        let bundle = Self {
            index,
            digest,
            signatures,
            archive_len,
            bytes,
        };
        Ok((bundle, kept.pop().map(|(_, bytes)| bytes)))
    }

    /// Reads and checks a bundle file.
    ///
    /// # Errors
    /// When it cannot be read, or what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, BundleError> {
        let bytes =
            read_bounded(path, BUNDLE_MAX).map_err(|error| BundleError::file(path, error))?;
        Self::open(bytes)
    }

    /// Reads what a bundle file says it holds, for a listing. Nothing of that is checked yet.
    ///
    /// # Errors
    /// When the beginning of the file is no bundle's.
    pub fn peek(path: &Path) -> Result<Index, BundleError> {
        let file = File::open(path).map_err(|error| BundleError::file(path, error))?;
        archive::peek(io::BufReader::new(file))
    }

    /// Whether a file begins as a bundle does, rather than as a component.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        // The magic number of zstd.
        bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
    }

    /// Adds a signature; one by the same key is replaced.
    pub fn sign(&mut self, pair: &KeyPair) {
        let signatures = std::mem::take(&mut self.signatures);
        self.signatures = signatures.with(pair, Subject::Bundle, &self.digest);
        self.bytes.truncate(self.archive_len);
        let text = self.signatures.to_json();
        let frame = (text.len() + AROUND) as u32;
        self.bytes.extend_from_slice(&SKIPPED);
        self.bytes.extend_from_slice(&(frame - 8).to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(&frame.to_le_bytes());
        self.bytes.extend_from_slice(&MARK);
    }

    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the file, in one step.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        write_atomically(path, &self.bytes).map_err(|error| BundleError::file(path, error))
    }
}

/// The archive, and the text of the signatures if there are any.
fn split(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), BundleError> {
    let Some(rest) = bytes.strip_suffix(&MARK) else {
        return Ok((bytes, None));
    };
    let altered = || BundleError::Damaged("the end of the file was altered or cut off".to_owned());
    let (rest, length) = rest.split_last_chunk::<4>().ok_or_else(altered)?;
    let length = u32::from_le_bytes(*length) as usize;
    if !(AROUND..=TEXT_MAX + AROUND).contains(&length) {
        return Err(altered());
    }
    let at = bytes.len().checked_sub(length).ok_or_else(altered)?;
    let (archive, frame) = rest.split_at_checked(at).ok_or_else(altered)?;
    let (magic, frame) = frame.split_first_chunk::<4>().ok_or_else(altered)?;
    let (size, text) = frame.split_first_chunk::<4>().ok_or_else(altered)?;
    match *magic == SKIPPED && u32::from_le_bytes(*size) as usize == length - 8 {
        true => Ok((archive, Some(text))),
        false => Err(altered()),
    }
}
