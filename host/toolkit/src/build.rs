//! `witgate plugin build`: from plugin folders to components.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use witgate_plugins::{Kind, Manifest};

use crate::cargo::{self, CargoError, Package};
use crate::component::{self, ComponentError};
use crate::names;
use crate::new::{self, NewError, TemplateLanguage};
use crate::sbom::{self, Ingredient};
use crate::script::{self, ScriptError};
use crate::source::{Code, PackageFacts, Source, SourceError, plugin_folders};
use crate::toolchain::{NoToolchain, Toolchain};
use crate::tools::Tools;

/// What to build.
pub struct BuildRequest<'a> {
    /// Plugin folders, or folders with plugin folders below them.
    pub paths: Vec<PathBuf>,
    /// Where the components go. Without it: `components` in the target folder of the Cargo workspace, or
    /// the plugin's own folder when it belongs to none.
    pub out: Option<PathBuf>,
    /// Where the tools for Python, JavaScript, C and Go are, or are to be installed.
    pub tools: Tools,
    /// Told about the steps as they begin.
    pub progress: &'a mut dyn FnMut(Progress<'_>),
}

/// A step that takes a while.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// Cargo is called.
    Compiling {
        /// How many plugins it compiles.
        plugins: usize,
        /// With what.
        toolchain: &'a Toolchain,
    },
    /// A line that Cargo wrote.
    Cargo(&'a str),
    /// What the builder of another language is at.
    Script(&'a str),
    /// A component was written.
    Wrote(&'a Built),
}

/// A component that was built.
#[derive(Debug, Clone, Serialize)]
pub struct Built {
    /// Name of the plugin.
    pub name: String,
    /// What it exports.
    pub kind: Kind,
    /// The component.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// Its SHA-256 as `sha256:…`, the form that `digest` in the configuration takes.
    pub digest: String,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A plugin's sources.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No toolchain.
    #[error(transparent)]
    Toolchain(#[from] NoToolchain),
    /// Cargo.
    #[error(transparent)]
    Cargo(#[from] CargoError),
    /// A builder of another language.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// The SDK could not be put in its place.
    #[error(transparent)]
    Sdk(#[from] NewError),
    /// The result is not the plugin that its manifest says.
    #[error("{folder}: {error}")]
    Component {
        /// The plugin folder.
        folder: PathBuf,
        /// What is wrong.
        error: ComponentError,
    },
    /// Two plugins would be written to one file.
    #[error("{first} and {second} are both called {name}; change `name` in one plugin.toml")]
    SameName {
        /// One plugin folder.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// Their name.
        name: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Builds plugins; those of one Cargo workspace by one call of Cargo. The results are in the order of
/// the paths.
pub fn build(request: BuildRequest<'_>) -> Result<Vec<Built>, BuildError> {
    let BuildRequest {
        paths,
        out,
        tools,
        progress,
    } = request;
    let folders = paths.iter().flat_map(|path| plugin_folders(path));
    let sources = folders
        .map(|folder| Source::read(&folder))
        .collect::<Result<Vec<_>, _>>()?;
    refuse_same_names(&sources)?;
    for note in sources.iter().flat_map(Source::notes) {
        progress(Progress::Script(&note));
    }
    let codes = sources
        .iter()
        .map(Source::code)
        .collect::<Result<Vec<_>, _>>()?;
    let packages = compile(&codes, progress)?;
    let mut all = Vec::with_capacity(sources.len());
    for (source, code) in sources.iter().zip(&codes) {
        let made = make(source, code, &packages, &tools, &mut |line| {
            progress(Progress::Script(line));
        })?;
        let built = finish(source, made, out.as_deref())?;
        progress(Progress::Wrote(&built));
        all.push(built);
    }
    Ok(all)
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiling { plugins, toolchain } => {
                let plural = if *plugins == 1 { "" } else { "s" };
                write!(f, "building {plugins} plugin{plural} with {toolchain}")
            }
            Self::Cargo(line) | Self::Script(line) => f.write_str(line),
            Self::Wrote(built) => {
                write!(
                    f,
                    "{} ({} KiB)",
                    built.path.display(),
                    built.size_bytes.div_ceil(1024)
                )
            }
        }
    }
}

/// A package and the module that was built of it.
struct Compiled {
    package: Package,
    module: PathBuf,
    ingredients: Option<BTreeSet<Ingredient>>,
}

fn refuse_same_names(sources: &[Source]) -> Result<(), BuildError> {
    let mut seen: HashMap<&str, &Source> = HashMap::new();
    for source in sources {
        match seen.insert(source.name(), source) {
            Some(first) if first.folder != source.folder => {
                return Err(BuildError::SameName {
                    first: first.folder.clone(),
                    second: source.folder.clone(),
                    name: source.name().to_owned(),
                });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Compiles the packages, one Cargo call per workspace.
fn compile(
    codes: &[Code],
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<HashMap<PathBuf, Compiled>, BuildError> {
    let mut plugins: BTreeMap<&Path, usize> = BTreeMap::new();
    for code in codes {
        if let Code::Package(manifest) = code {
            *plugins.entry(manifest).or_default() += 1;
        }
    }
    let Some(folder) = plugins.keys().next().and_then(|manifest| manifest.parent()) else {
        return Ok(HashMap::new());
    };
    let toolchain = Toolchain::detect(folder)?;
    for folder in plugins.keys().filter_map(|manifest| manifest.parent()) {
        restore_sdk(folder)?;
    }
    let mut workspaces: BTreeMap<PathBuf, Vec<Package>> = BTreeMap::new();
    for manifest in plugins.keys() {
        let package = cargo::package(&toolchain, manifest)?;
        workspaces
            .entry(package.workspace.clone())
            .or_default()
            .push(package);
    }
    let mut compiled = HashMap::new();
    for packages in workspaces.into_values() {
        let count = packages
            .iter()
            .filter_map(|package| plugins.get(package.manifest.as_path()))
            .sum();
        progress(Progress::Compiling {
            plugins: count,
            toolchain: &toolchain,
        });
        let refs: Vec<&Package> = packages.iter().collect();
        let mut modules = cargo::build(&toolchain, &refs, &mut |line| {
            progress(Progress::Cargo(line))
        })?;
        for package in packages {
            if let Some(module) = modules.remove(&package.manifest) {
                let ingredients = cargo::ingredients(&toolchain, &package);
                if let Err(error) = &ingredients {
                    let note = format!("{} gets no bill of materials: {error}", package.name);
                    progress(Progress::Script(&note));
                }
                let one = Compiled {
                    package,
                    module,
                    ingredients: ingredients.ok(),
                };
                compiled.insert(one.package.manifest.clone(), one);
            }
        }
    }
    Ok(compiled)
}

/// A plugin that `witgate plugin new` made has the SDK in `.witgate`, which version control does not keep.
fn restore_sdk(folder: &Path) -> Result<(), BuildError> {
    let wants = std::fs::read_to_string(folder.join("Cargo.toml"))
        .is_ok_and(|manifest| manifest.contains(".witgate/sdk/rust"));
    if wants && !folder.join(".witgate/sdk/rust/Cargo.toml").is_file() {
        new::write_sdk(folder, TemplateLanguage::Rust)?;
    }
    Ok(())
}

/// The code of one plugin, as its toolchain made it.
struct Made {
    wasm: Vec<u8>,
    facts: PackageFacts,
    /// Where it goes when the caller does not say.
    folder: PathBuf,
    /// Memory that the language needs, MiB.
    memory_mb: Option<u32>,
    /// What it was made of; `None` when nobody knows.
    ingredients: Option<BTreeSet<Ingredient>>,
    /// It is a module with the names of its functions.
    has_names: bool,
}

fn make(
    source: &Source,
    code: &Code,
    compiled: &HashMap<PathBuf, Compiled>,
    tools: &Tools,
    progress: &mut dyn FnMut(&str),
) -> Result<Made, BuildError> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| BuildError::File {
            path: path.to_owned(),
            error,
        })
    };
    let plain = |wasm| Made {
        wasm,
        facts: PackageFacts::default(),
        folder: source.folder.clone(),
        memory_mb: None,
        ingredients: None,
        has_names: false,
    };
    match code {
        Code::Wasm(path) => Ok(plain(read(path)?)),
        Code::Script(script) => Ok(Made {
            memory_mb: script.language.memory_mb(),
            ingredients: script::ingredients(script, tools),
            ..plain(script::build(
                script,
                source.kind(),
                source.also(),
                tools,
                progress,
            )?)
        }),
        Code::Package(manifest) => {
            let Some(Compiled {
                package,
                module,
                ingredients,
            }) = compiled.get(manifest)
            else {
                let manifest = manifest.clone();
                return Err(CargoError::NoModule { manifest }.into());
            };
            let made = Made {
                facts: package.facts.clone(),
                ingredients: ingredients.clone(),
                has_names: true,
                ..plain(read(module)?)
            };
            if package.manifest.parent() == Some(&package.workspace) {
                return Ok(made);
            }
            Ok(Made {
                folder: package.target_dir.join("components"),
                ..made
            })
        }
    }
}

/// Encodes one plugin and writes it.
fn finish(source: &Source, made: Made, out: Option<&Path>) -> Result<Built, BuildError> {
    let mut manifest = source.manifest(&made.facts);
    if manifest.limits.memory_mb.is_none() {
        manifest.limits.memory_mb = made.memory_mb;
    }
    let (module, names) = match made.has_names {
        true => names::split(&made.wasm),
        false => (made.wasm, String::new()),
    };
    let component =
        component::encode(&module, &manifest).map_err(|error| BuildError::Component {
            folder: source.folder.clone(),
            error,
        })?;
    let component = match &made.ingredients {
        Some(all) => Manifest::embed_sbom(component, &sbom::document(&manifest, all)),
        None => component,
    };
    let folder = out.unwrap_or(&made.folder);
    let built = write(folder, &manifest, &component)?;
    let path = built.path.with_extension("names");
    let written = match names.is_empty() {
        false => std::fs::write(&path, names::file(&built.digest, &names)),
        true => match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
    };
    written.map_err(|error| BuildError::File { path, error })?;
    Ok(built)
}

/// Writes beside the final name and renames, so that a gateway that watches the folder never sees half a file.
fn write(folder: &Path, manifest: &Manifest, component: &[u8]) -> Result<Built, BuildError> {
    let path = folder.join(format!("{}.wasm", manifest.name));
    let part = folder.join(format!(".{}.wasm.{}", manifest.name, std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&part, component))
        .and_then(|()| std::fs::rename(&part, &path))
        .map_err(|error| BuildError::File {
            path: path.clone(),
            error,
        })?;
    Ok(Built {
        name: manifest.name.clone(),
        kind: manifest.kind,
        path,
        size_bytes: component.len() as u64,
        digest: crate::inspect::digest(component),
    })
}
