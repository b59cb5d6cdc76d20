//! `witgate plugin bundle` and `push`: from component files to what travels.

use std::path::{Path, PathBuf};

use serde_json::Value;
use witgate_bundles::{Bundle, BundleError, COMPONENT_MAX, ComponentFacts, Part, read_bounded};
use witgate_plugins::{Manifest, ManifestError};

use crate::component::{self, ComponentError};

/// Why nothing could be made of a file.
#[derive(Debug, thiserror::Error)]
pub enum ShippingError {
    /// It cannot be read.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is no plugin.
    #[error("{path}: {error}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ManifestError,
    },
    /// It is no component.
    #[error("{path}: {error}")]
    Component {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: ComponentError,
    },
    /// There is no component in a folder.
    #[error("there is no component in {0}; build one with `witgate plugin build`")]
    Empty(PathBuf),
    /// The bundle has no name or version of its own.
    #[error(
        "several components make a bundle: give it a name and a version with --name and --version"
    )]
    Unnamed,
    /// Its version is none.
    #[error("{0:?} is no version; one is written such as 1.2.3")]
    Version(String),
    /// They make no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// What to bundle.
#[derive(Debug, Clone, Default)]
pub struct BundleRequest {
    /// Components, or folders of them.
    pub paths: Vec<PathBuf>,
    /// Name of the bundle; the component's when there is only one.
    pub name: Option<String>,
    /// Its version; the component's when there is only one.
    pub version: Option<String>,
}

/// Makes a bundle of components, unsigned.
///
/// # Errors
/// What does not go together, and what would be right.
pub fn bundle(request: BundleRequest) -> Result<Bundle, ShippingError> {
    let mut files = Vec::new();
    for path in &request.paths {
        match path.is_dir() {
            true => files.extend(components_in(path)?),
            false => files.push(path.clone()),
        }
    }
    let parts = files
        .iter()
        .map(|file| part(file))
        .collect::<Result<Vec<_>, _>>()?;
    let only = match parts.as_slice() {
        [only] => Some((only.name.clone(), only.version.clone())),
        _ => None,
    };
    let (own_name, own_version) = only.unzip();
    let name = request.name.or(own_name).ok_or(ShippingError::Unnamed)?;
    let version = request
        .version
        .or(own_version)
        .ok_or(ShippingError::Unnamed)?;
    let version = version
        .parse()
        .map_err(|_| ShippingError::Version(version))?;
    Ok(Bundle::new(name, version, parts)?)
}

/// What a component says about itself, for a registry.
///
/// # Errors
/// When the bytes are no plugin.
pub fn component_facts(path: &Path, bytes: &[u8]) -> Result<ComponentFacts, ShippingError> {
    let manifest = manifest(path, bytes)?;
    let interfaces = component::interfaces(bytes).map_err(|error| ShippingError::Component {
        path: path.to_owned(),
        error,
    })?;
    Ok(ComponentFacts {
        name: manifest.name,
        version: manifest.version,
        description: manifest.description,
        license: manifest.license,
        exports: interfaces.exports,
        imports: interfaces.imports,
    })
}

fn part(path: &Path) -> Result<Part, ShippingError> {
    let component = read_bounded(path, COMPONENT_MAX).map_err(|error| ShippingError::File {
        path: path.to_owned(),
        error,
    })?;
    let manifest = manifest(path, &component)?;
    Ok(Part {
        manifest: serde_json::to_value(&manifest).unwrap_or(Value::Null),
        kind: manifest.kind.to_string(),
        name: manifest.name,
        version: manifest.version,
        license: manifest.license,
        aliases: manifest.aliases,
        sbom: Manifest::sbom_of(&component).map(<[u8]>::to_vec),
        component,
    })
}

fn manifest(path: &Path, bytes: &[u8]) -> Result<Manifest, ShippingError> {
    Manifest::from_component(bytes).map_err(|error| ShippingError::Manifest {
        path: path.to_owned(),
        error,
    })
}

fn components_in(folder: &Path) -> Result<Vec<PathBuf>, ShippingError> {
    let entries = std::fs::read_dir(folder).map_err(|error| ShippingError::File {
        path: folder.to_owned(),
        error,
    })?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .collect();
    files.sort();
    match files.is_empty() {
        true => Err(ShippingError::Empty(folder.to_owned())),
        false => Ok(files),
    }
}
