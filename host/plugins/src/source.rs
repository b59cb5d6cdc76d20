//! Where a plugin's component comes from: a path, a built-in, or a file beside the configuration.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use witgate_bundles::{
    BUNDLE_MAX, Bundle, COMPONENT_MAX, Content, Digest, Fetched, Index, InstalledBundle, PublicKey,
    Pulled, Reference, Registries, SIGNATURE_FILE, Signatures, Subject, Trust, read_bounded,
};

use crate::FetchedAll;
pub(crate) use crate::ask::{Ask, Pins};
use crate::{LoadError, Manifest, embedded};

/// A file of signatures has a few hundred bytes.
const SIGNATURES_MAX: u64 = 64 << 10;

/// The places where components are looked for.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Folder of the configuration file: paths are relative to it, and `<name>.wasm` may lie in it.
    pub config_dir: Option<PathBuf>,
    /// Folder of built-in components (`WITGATE_PLUGIN_DIR`); those in the binary when absent.
    pub plugin_dir: Option<PathBuf>,
    /// Installed bundles, each in the version that counts.
    pub installed: Vec<InstalledBundle>,
    /// Whose signatures count. With a key in it, what nobody of them signed is refused, built-in ones excepted.
    pub trust: Trust,
    /// How registries are reached.
    pub registries: Registries,
    /// Where what they gave is kept; without it no registry is asked.
    pub pulled: Option<Pulled>,
    /// What was got from registries for this configuration.
    pub fetched: FetchedAll,
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
    /// A component in a bundle.
    Bundled(Bundled),
    /// A component from a registry.
    Pulled(PulledComponent),
}

/// A component in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Bundled {
    /// The bundle's file.
    pub path: PathBuf,
    /// Name of the component in it.
    pub component: String,
    /// Where the bundle is from.
    pub from: Origin,
}

/// Where a bundle is from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A file that the configuration names.
    File,
    /// It is installed.
    Installed,
    /// A registry.
    Registry {
        /// As the configuration names it.
        reference: String,
        /// Whether that has a digest.
        pinned: bool,
        /// Digest of the file.
        layer: Digest,
    },
}

/// A component from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PulledComponent {
    /// The file.
    pub path: PathBuf,
    /// Its digest.
    pub layer: Digest,
    /// As the configuration names it.
    pub reference: String,
    /// Whether that has a digest.
    pub pinned: bool,
    /// The text of its signatures.
    pub signatures: Option<String>,
}

/// A component's bytes, and what is known of who made it.
pub(crate) struct Material {
    pub(crate) bytes: Vec<u8>,
    /// Whose signatures fit.
    pub(crate) signers: Vec<PublicKey>,
    pub(crate) bundle: Option<BundleFacts>,
}

/// The bundle that a component was in.
pub(crate) struct BundleFacts {
    /// Name and version.
    pub(crate) title: String,
    pub(crate) digest: Digest,
    /// What its index says of the component.
    manifest: Value,
}

impl Source {
    /// What finds it again: a path, or the name of a component in this binary.
    pub(crate) fn component(&self) -> String {
        let whole = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.display().to_string()
        };
        match self {
            Self::File(path) | Self::BuiltIn(path) => whole(path),
            Self::Embedded(name) => (*name).to_owned(),
            Self::Bundled(bundled) => format!("{}#{}", whole(&bundled.path), bundled.component),
            Self::Pulled(pulled) => whole(&pulled.path),
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
        self.resolve_for(component, &[])
    }

    /// The same; in a bundle that holds several components, that with one of these names.
    pub(crate) fn resolve_for(
        &self,
        component: &str,
        names: &[String],
    ) -> Result<Source, LoadError> {
        if let Some(found) = self.find_fetched(component, names) {
            return found;
        }
        if Reference::is_one(component) {
            let reason = "it lies in a registry, and was not fetched from there";
            return Err(LoadError::new(component, reason));
        }
        let (place, fragment) = split_fragment(component);
        if is_path(place) {
            let path = match &self.config_dir {
                Some(directory) => directory.join(place),
                None => PathBuf::from(place),
            };
            let fail = |reason: String| LoadError::new(component, reason);
            if !path.is_file() {
                return Err(fail(format!(
                    "there is no file {}; build it with `witgate plugin build`",
                    path.display()
                )));
            }
            return file(path, fragment, names).map_err(fail);
        }
        let mut tried = Vec::new();
        if let Some(source) = self.find_installed(component, false)? {
            return Ok(source);
        }
        if !self.installed.is_empty() {
            tried.push("the installed bundles".to_owned());
        }
        if let Some(source) = self.find_built_in(component, &mut tried) {
            return Ok(source);
        }
        if let Some(source) = self.find_installed(component, true)? {
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

    /// The built-in component of this name, whatever is installed.
    #[must_use]
    pub fn built_in_named(&self, name: &str) -> Option<Source> {
        self.find_built_in(name, &mut Vec::new())
    }

    /// A component of an installed bundle by its name, or by a further name of it.
    fn find_installed(&self, component: &str, aliases: bool) -> Result<Option<Source>, LoadError> {
        let wanted = canonical(component);
        let mut found = self.installed.iter().filter_map(|bundle| {
            let entry = bundle.index.component(component)?;
            ((canonical(&entry.name) == wanted) != aliases).then_some((bundle, entry))
        });
        let Some((bundle, entry)) = found.next() else {
            return Ok(None);
        };
        if let Some((other, _)) = found.next() {
            return Err(LoadError::new(
                component,
                format!(
                    "it is in two installed bundles, {} and {}; uninstall one, or name a file in `plugins.{component}.source`",
                    bundle.index.title(),
                    other.index.title()
                ),
            ));
        }
        Ok(Some(Source::Bundled(Bundled {
            path: bundle.path.clone(),
            component: entry.name.clone(),
            from: Origin::Installed,
        })))
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
            let source = self.built_in_named(&name)?;
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
        let bytes = self.read().map_err(fail)?.bytes;
        let manifest = Manifest::from_component(&bytes).map_err(|error| fail(error.to_string()))?;
        Ok((manifest, Digest::of(&bytes).hex(), bytes.len()))
    }

    /// The manifest alone.
    ///
    /// # Errors
    /// As [`Self::examine`].
    pub fn manifest(&self) -> Result<Manifest, LoadError> {
        let fail = |reason: String| LoadError::new(self.to_string(), reason);
        let bytes = self.read().map_err(fail)?.bytes;
        Manifest::from_component(&bytes).map_err(|error| fail(error.to_string()))
    }

    /// Reads the component. Signatures that are there are checked; whether they count is for
    /// [`Self::vouched_for`].
    pub(crate) fn read(&self) -> Result<Material, String> {
        let plain = |bytes| Material {
            bytes,
            signers: Vec::new(),
            bundle: None,
        };
        let text = |error: io::Error| error.to_string();
        match self {
            Self::BuiltIn(path) => read_bounded(path, COMPONENT_MAX).map(plain).map_err(text),
            Self::Embedded(name) => embedded::read(name).map(plain).map_err(text),
            Self::File(path) => {
                let bytes = read_bounded(path, COMPONENT_MAX).map_err(text)?;
                let mut name = path.clone().into_os_string();
                name.push(format!(".{SIGNATURE_FILE}"));
                let beside = PathBuf::from(name);
                let signers = match read_bounded(&beside, SIGNATURES_MAX) {
                    Ok(signatures) => signers(&signatures, &bytes)
                        .map_err(|error| format!("{}: {error}", beside.display()))?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                    Err(error) => return Err(format!("{}: {error}", beside.display())),
                };
                Ok(Material {
                    signers,
                    ..plain(bytes)
                })
            }
            Self::Bundled(bundled) => bundled.read(),
            Self::Pulled(pulled) => {
                let bytes = read_bounded(&pulled.path, COMPONENT_MAX).map_err(text)?;
                intact(&bytes, &pulled.layer)?;
                let signers = match &pulled.signatures {
                    Some(signatures) => signers(signatures.as_bytes(), &bytes)?,
                    None => Vec::new(),
                };
                Ok(Material {
                    signers,
                    ..plain(bytes)
                })
            }
        }
    }

    /// The trusted key that signed it, when one must have or did.
    ///
    /// # Errors
    /// When nobody vouches for it who had to, and what would be right.
    pub(crate) fn vouched_for(
        &self,
        ask: &Ask,
        signers: &[PublicKey],
        trust: &Trust,
    ) -> Result<Option<String>, String> {
        if matches!(self, Self::BuiltIn(_) | Self::Embedded(_)) {
            return Ok(None);
        }
        if let Some(name) = trust.signer(signers) {
            return Ok(Some(name.to_owned()));
        }
        if !trust.is_empty() {
            return Err(format!(
                "{self} is refused: {}; have it signed with `witgate plugin sign`, or add the signer's key to `plugin_trust.keys`",
                trust.refusal(signers)
            ));
        }
        let pinned_remote = match self {
            Self::Pulled(pulled) => Some(pulled.pinned),
            Self::Bundled(Bundled {
                from: Origin::Registry { pinned, .. },
                ..
            }) => Some(*pinned),
            _ => None,
        };
        match pinned_remote {
            Some(false) if ask.pins.digest.is_none() => Err(format!(
                "{self} is refused: it comes from a registry and nothing vouches for it; configure the signer's key in `plugin_trust.keys`, or pin it with `@sha256:…` behind the reference or with `digest`"
            )),
            _ => Ok(None),
        }
    }
}

impl Bundled {
    fn read(&self) -> Result<Material, String> {
        let bytes = read_bounded(&self.path, BUNDLE_MAX).map_err(|error| error.to_string())?;
        if let Origin::Registry { layer, .. } = &self.from {
            intact(&bytes, layer)?;
        }
        let (bundle, component) =
            Bundle::open_for(bytes, Some(&self.component)).map_err(|error| error.to_string())?;
        let entry = bundle.index.component(&self.component);
        let (Some(bytes), Some(entry)) = (component, entry) else {
            return Err(format!("it holds no {} any more", self.component));
        };
        Ok(Material {
            bytes,
            signers: bundle.signatures.signers(),
            bundle: Some(BundleFacts {
                title: bundle.index.title(),
                digest: bundle.digest,
                manifest: entry.manifest.clone(),
            }),
        })
    }
}

impl BundleFacts {
    /// Whether the index says of the component what the component says: people decide by the index.
    pub(crate) fn fits(&self, source: &Source, manifest: &Manifest) -> Result<(), String> {
        match serde_json::from_value::<Manifest>(self.manifest.clone()) {
            Ok(told) if told == *manifest => Ok(()),
            _ => Err(format!(
                "{source} is refused: the index of the bundle says something else of it than its own manifest; make the bundle again"
            )),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::BuiltIn(path) => write!(f, "built-in ({})", path.display()),
            Self::Embedded(_) => f.write_str("built-in"),
            Self::Bundled(Bundled {
                path,
                component,
                from,
            }) => match from {
                Origin::File => write!(f, "{}#{component}", path.display()),
                Origin::Installed => write!(f, "installed ({}#{component})", path.display()),
                Origin::Registry { reference, .. } => write!(f, "{reference}#{component}"),
            },
            Self::Pulled(pulled) => f.write_str(&pulled.reference),
        }
    }
}

/// The source that a fetched artefact is.
pub(crate) fn fetched(
    reference: &Reference,
    fetched: &Fetched,
    fragment: Option<&str>,
    names: &[String],
) -> Result<Source, String> {
    let pinned = reference.digest.is_some();
    let path = fetched.path.clone();
    Ok(match fetched.content {
        Content::Component => Source::Pulled(PulledComponent {
            path,
            layer: fetched.layer,
            reference: reference.to_string(),
            pinned,
            signatures: fetched.signatures.clone(),
        }),
        Content::Bundle => {
            let index = Bundle::peek(&path).map_err(|error| format!("{reference}: {error}"))?;
            Source::Bundled(Bundled {
                component: choose(&index, fragment, names)?,
                path,
                from: Origin::Registry {
                    reference: reference.to_string(),
                    pinned,
                    layer: fetched.layer,
                },
            })
        }
    })
}

/// A file: a component, or one of a bundle.
fn file(path: PathBuf, fragment: Option<&str>, names: &[String]) -> Result<Source, String> {
    let mut magic = [0; 4];
    let is_bundle = fs::File::open(&path)
        .and_then(|mut file| io::Read::read_exact(&mut file, &mut magic))
        .is_ok_and(|()| Bundle::is_one(&magic));
    if !is_bundle {
        return match fragment {
            None => Ok(Source::File(path)),
            Some(name) => Err(format!(
                "{} is no bundle, so there is no {name:?} in it",
                path.display()
            )),
        };
    }
    let index = Bundle::peek(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Source::Bundled(Bundled {
        component: choose(&index, fragment, names)?,
        path,
        from: Origin::File,
    }))
}

/// Which component of a bundle is meant.
fn choose(index: &Index, fragment: Option<&str>, names: &[String]) -> Result<String, String> {
    let found = match (fragment, index.components.as_slice()) {
        (Some(name), _) => index.component(name),
        (None, [only]) => Some(only),
        (None, _) => names.iter().find_map(|name| index.component(name)),
    };
    found.map(|entry| entry.name.clone()).ok_or_else(|| {
        let all: Vec<&str> = index.components.iter().map(|one| one.name.as_str()).collect();
        format!(
            "the bundle {} holds {}, and none of them is meant; write `#` and a name behind the source",
            index.title(),
            all.join(", ")
        )
    })
}

fn signers(text: &[u8], component: &[u8]) -> Result<Vec<PublicKey>, String> {
    let digest = Digest::of(component);
    Signatures::read(text, Subject::Component, &digest)
        .map(|signatures| signatures.signers())
        .map_err(|error| error.to_string())
}

fn intact(bytes: &[u8], layer: &Digest) -> Result<(), String> {
    match Digest::of(bytes) == *layer {
        true => Ok(()),
        false => Err("what is kept of it was altered; the next load fetches it again".to_owned()),
    }
}

/// A place, and the name behind its `#`.
pub(crate) fn split_fragment(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once('#') {
        Some((place, name)) => (place, Some(name)),
        None => (text, None),
    }
}

fn is_path(component: &str) -> bool {
    Path::new(component)
        .extension()
        .is_some_and(|extension| extension == "wasm" || extension == "bundle")
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
