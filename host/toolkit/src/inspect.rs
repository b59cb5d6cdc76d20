//! `witgate plugin inspect`: what is in a component, without running it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};
use witgate_plugins::{Manifest, ManifestError, Setting};

use crate::component::{self, ComponentError};
use crate::source::type_name;

/// What is in a component.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256 as `sha256:…`, the form that `digest` in the configuration takes.
    pub digest: String,
    /// Its manifest; a component without one is no plugin yet.
    pub manifest: Option<Manifest>,
    /// Interfaces it needs.
    pub imports: Vec<String>,
    /// Interfaces it offers.
    pub exports: Vec<String>,
}

/// Why a file could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no component.
    #[error("{path}: {error}")]
    Component {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ComponentError,
    },
    /// Its manifest cannot be read.
    #[error("{path}: {error}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ManifestError,
    },
}

/// Reads a component.
pub fn inspect(path: &Path) -> Result<Inspection, InspectError> {
    let wasm = std::fs::read(path).map_err(|error| InspectError::File {
        path: path.to_owned(),
        error,
    })?;
    let interfaces = component::interfaces(&wasm).map_err(|error| InspectError::Component {
        path: path.to_owned(),
        error,
    })?;
    let manifest = match Manifest::from_component(&wasm) {
        Ok(manifest) => Some(manifest),
        Err(ManifestError::Missing) => None,
        Err(error) => {
            return Err(InspectError::Manifest {
                path: path.to_owned(),
                error,
            });
        }
    };
    Ok(Inspection {
        path: path.to_owned(),
        size_bytes: wasm.len() as u64,
        digest: digest(&wasm),
        manifest,
        imports: interfaces.imports,
        exports: interfaces.exports,
    })
}

/// `sha256:` and the digest in hex.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.path.display())?;
        match &self.manifest {
            Some(manifest) => write_manifest(f, manifest)?,
            None => writeln!(f, "  manifest   none: `witgate plugin build` adds it")?,
        }
        writeln!(f, "  size       {} bytes", self.size_bytes)?;
        writeln!(f, "  digest     {}", self.digest)?;
        write_list(f, "exports", &self.exports)?;
        write_list(f, "imports", &self.imports)
    }
}

fn write_manifest(f: &mut fmt::Formatter<'_>, manifest: &Manifest) -> fmt::Result {
    writeln!(f, "  name       {} {}", manifest.name, manifest.version)?;
    writeln!(f, "  kind       {}", manifest.kind)?;
    if !manifest.description.is_empty() {
        writeln!(f, "  what       {}", manifest.description)?;
    }
    if !manifest.license.is_empty() {
        writeln!(f, "  license    {}", manifest.license)?;
    }
    write_list(f, "aliases", &manifest.aliases)?;
    write_list(f, "events", &manifest.events)?;
    write_list(f, "phases", &manifest.phases)?;
    write_list(f, "roles", &manifest.roles)?;
    write_list(f, "egress", &manifest.egress)?;
    write_list(f, "env", &manifest.env)?;
    write_list(f, "files", &manifest.files)?;
    write_list(f, "metrics", &manifest.metrics)?;
    write_list(f, "llm", &manifest.llm)?;
    let limits = [
        ("memory", manifest.limits.memory_mb.map(u64::from), "MiB"),
        ("cpu", manifest.limits.cpu_ms, "ms"),
        ("timeout", manifest.limits.timeout_ms, "ms"),
    ];
    let limits: Vec<String> = limits
        .into_iter()
        .filter_map(|(name, limit, unit)| Some(format!("{name} {} {unit}", limit?)))
        .collect();
    write_list(f, "limits", &limits)?;
    let settings: Vec<String> = manifest.settings.iter().map(describe).collect();
    write_list(f, "settings", &settings)
}

fn describe(setting: &Setting) -> String {
    let mut text = format!("{} ({}", setting.name, type_name(setting.kind));
    for (word, holds) in [
        ("required", setting.required),
        ("secret", setting.secret),
        ("revealed", setting.reveal),
    ] {
        if holds {
            text.push_str(", ");
            text.push_str(word);
        }
    }
    for env in setting.env.iter().chain(&setting.env_also) {
        text.push_str(&format!(", env {env}"));
    }
    if let Some(default) = &setting.default {
        text.push_str(&format!(", default {default}"));
    }
    text.push(')');
    if !setting.doc.is_empty() {
        text.push_str(": ");
        text.push_str(&setting.doc);
    }
    text
}

fn write_list(f: &mut fmt::Formatter<'_>, title: &str, items: &[String]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        let title = if index == 0 { title } else { "" };
        writeln!(f, "  {title:<10} {item}")?;
    }
    Ok(())
}
