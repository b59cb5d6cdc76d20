//! Where a plugin's component comes from: a path, a built-in, or a file beside the configuration.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{LoadError, Manifest, embedded};

/// A component file larger than this is refused unread: the largest real ones have 40 MB.
const COMPONENT_MAX: u64 = 256 << 20;

/// The places where components are looked for.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Folder of the configuration file: paths are relative to it, and `<name>.wasm` may lie in it.
    pub config_dir: Option<PathBuf>,
    /// Folder of built-in components (`WITGATE_PLUGIN_DIR`); those in the binary when absent.
    pub plugin_dir: Option<PathBuf>,
}

/// A component that was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file that the configuration names.
    File(PathBuf),
    /// A built-in component, from its folder.
    BuiltIn(PathBuf),
    /// A built-in component, from this binary; its name.
    Embedded(&'static str),
}

impl Source {
    /// What finds it again: a path, or the name of a component in this binary.
    pub(crate) fn component(&self) -> String {
        match self {
            Self::File(path) | Self::BuiltIn(path) => std::path::absolute(path)
                .unwrap_or_else(|_| path.clone())
                .display()
                .to_string(),
            Self::Embedded(name) => (*name).to_owned(),
        }
    }
}

impl Sources {
    /// Names of the built-in components, sorted.
    #[must_use]
    pub fn built_in(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.plugin_dir {
            Some(directory) => fs::read_dir(directory)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| {
                    let path = entry.path();
                    let wasm = path
                        .extension()
                        .is_some_and(|extension| extension == "wasm");
                    Some(path.file_stem()?.to_str()?.to_owned()).filter(|_| wasm)
                })
                .collect(),
            None => embedded::names().map(str::to_owned).collect(),
        };
        names.sort();
        names
    }

    /// Finds a component by name or path. `-` and `_` are equal in names; `a.b.c` means `a/b.wasm` or
    /// `a.wasm` beside the configuration, because that is where LiteLLM looks for the module.
    ///
    /// # Errors
    /// Names everything that was tried, and how to build or install a plugin.
    pub fn resolve(&self, component: &str) -> Result<Source, LoadError> {
        if is_path(component) {
            let path = match &self.config_dir {
                Some(directory) => directory.join(component),
                None => PathBuf::from(component),
            };
            return match path.is_file() {
                true => Ok(Source::File(path)),
                false => Err(LoadError::new(
                    component,
                    format!(
                        "there is no file {}; build it with `witgate plugin build`",
                        path.display()
                    ),
                )),
            };
        }
        let mut tried = Vec::new();
        if let Some(source) = self.find_built_in(component, &mut tried) {
            return Ok(source);
        }
        if let Some(source) = self.find_alias(component) {
            return Ok(source);
        }
        if let Some(directory) = &self.config_dir {
            for relative in beside(component) {
                let path = directory.join(relative);
                if path.is_file() {
                    return Ok(Source::File(path));
                }
                tried.push(path.display().to_string());
            }
        }
        Err(LoadError::new(component, self.not_found(component, &tried)))
    }

    fn find_built_in(&self, component: &str, tried: &mut Vec<String>) -> Option<Source> {
        let wanted = canonical(component);
        let Some(directory) = &self.plugin_dir else {
            tried.push("the built-in plugins".to_owned());
            return embedded::names()
                .find(|name| canonical(name) == wanted)
                .map(Source::Embedded);
        };
        let name = self
            .built_in()
            .into_iter()
            .find(|name| canonical(name) == wanted);
        if name.is_none() {
            tried.push(
                directory
                    .join(format!("{component}.wasm"))
                    .display()
                    .to_string(),
            );
        }
        Some(Source::BuiltIn(directory.join(format!("{}.wasm", name?))))
    }

    /// A built-in component whose manifest gives it this further name. Reads manifests, and only when no
    /// component has the name itself.
    fn find_alias(&self, component: &str) -> Option<Source> {
        let wanted = canonical(component);
        self.built_in().into_iter().find_map(|name| {
            let source = self.find_built_in(&name, &mut Vec::new())?;
            let (manifest, ..) = source.examine().ok()?;
            let mut aliases = manifest.aliases.iter();
            aliases
                .any(|alias| canonical(alias) == wanted)
                .then_some(source)
        })
    }

    fn not_found(&self, component: &str, tried: &[String]) -> String {
        let wanted = canonical(component);
        let near = self
            .built_in()
            .into_iter()
            .map(|name| {
                (
                    strsim::damerau_levenshtein(&canonical(&name), &wanted),
                    name,
                )
            })
            .min()
            .filter(|(distance, _)| *distance <= 2)
            .map(|(_, name)| format!("; did you mean {name:?}?"));
        format!(
            "no component of this name; tried {}{}; give its path in `plugins.{component}.source`, or build one with `witgate plugin build FOLDER`",
            tried.join(", "),
            near.unwrap_or_default()
        )
    }
}

impl Source {
    /// What the component says about itself, its SHA-256 in hex and its size in bytes. Runs and compiles
    /// nothing.
    ///
    /// # Errors
    /// When it cannot be read or has no usable manifest.
    pub fn examine(&self) -> Result<(Manifest, String, usize), LoadError> {
        let fail = |reason: String| LoadError::new(self.to_string(), reason);
        let bytes = self.read().map_err(|error| fail(error.to_string()))?;
        let manifest = Manifest::from_component(&bytes).map_err(|error| fail(error.to_string()))?;
        Ok((manifest, hex::encode(Sha256::digest(&bytes)), bytes.len()))
    }

    /// The manifest alone.
    ///
    /// # Errors
    /// As [`Self::examine`].
    pub fn manifest(&self) -> Result<Manifest, LoadError> {
        let fail = |reason: String| LoadError::new(self.to_string(), reason);
        let bytes = self.read().map_err(|error| fail(error.to_string()))?;
        Manifest::from_component(&bytes).map_err(|error| fail(error.to_string()))
    }

    /// Reads the component.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::File(path) | Self::BuiltIn(path) => {
                let size = fs::metadata(path)?.len();
                match size <= COMPONENT_MAX {
                    true => fs::read(path),
                    false => Err(io::Error::other(format!(
                        "{size} bytes are too much for a plugin"
                    ))),
                }
            }
            Self::Embedded(name) => embedded::read(name),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltIn(path) => write!(f, "built-in ({})", path.display()),
            Self::Embedded(_) => f.write_str("built-in"),
        }
    }
}

fn is_path(component: &str) -> bool {
    Path::new(component)
        .extension()
        .is_some_and(|extension| extension == "wasm")
        || component.contains(['/', '\\'])
}

fn canonical(name: &str) -> String {
    name.replace('_', "-").to_ascii_lowercase()
}

/// Files beside the configuration that a name may mean, the likeliest first.
fn beside(component: &str) -> Vec<PathBuf> {
    let parts: Vec<&str> = component.split('.').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Vec::new();
    }
    let mut files = Vec::new();
    for length in (1..=parts.len()).rev() {
        let mut path: PathBuf = parts[..length].iter().collect();
        path.set_extension("wasm");
        files.push(path.clone());
        if let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            let swapped = match stem.contains('_') {
                true => stem.replace('_', "-"),
                false => stem.replace('-', "_"),
            };
            if swapped != stem {
                files.push(path.with_file_name(format!("{swapped}.wasm")));
            }
        }
    }
    files
}
