//! The sources of a plugin: a folder with `plugin.toml`, whose keys are those of the manifest.
//!
//! `name` defaults to the folder's name, `version`, `description` and `license` to the Cargo package's.
//! Two keys are not the manifest's: `main`, the file of a plugin in Python, JavaScript, C or Go, and `wasm`, a file made by
//! another toolchain that takes the place of all sources.

mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use witgate_plugins::{Kind, Manifest, ManifestBatch, ManifestLimits, ProviderFacts, Setting};

use crate::litellm::{self, Litellm, LitellmError};
use crate::script::{Language, Script};

/// Version of the manifest's format that this toolkit writes.
const FORMAT: u32 = 1;

/// The name of a setting's type.
pub(crate) use check::type_name;

/// Name of the file that makes a folder a plugin folder.
pub const FILE_NAME: &str = "plugin.toml";

/// The sources of one plugin.
#[derive(Debug, Clone)]
pub struct Source {
    /// The plugin folder.
    pub folder: PathBuf,
    /// `plugin.toml` as the author wrote it, or as it would be for a file of LiteLLM's.
    plugin: PluginToml,
    litellm: Option<Litellm>,
}

/// Where the code of a plugin comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, and short-lived")]
pub enum Code {
    /// The Cargo package with this `Cargo.toml`.
    Package(PathBuf),
    /// A file in Python, JavaScript, C or Go.
    Script(Script),
    /// A module or component that is built already.
    Wasm(PathBuf),
}

/// The main file of a plugin in Python, JavaScript, C or Go when `main` does not name one, the likeliest first.
const MAINS: [&str; 6] = [
    "plugin.py",
    "plugin.ts",
    "plugin.js",
    "plugin.mjs",
    "plugin.c",
    "plugin.go",
];

/// What a Cargo package adds to a plugin's manifest.
#[derive(Debug, Clone, Default)]
pub struct PackageFacts {
    /// `package.version`
    pub version: String,
    /// `package.description`
    pub description: Option<String>,
    /// `package.license`
    pub license: Option<String>,
}

/// What is wrong with the sources of a plugin.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no `plugin.toml`, or it cannot be read.
    #[error(
        "{path}: cannot read it ({error}); a plugin folder needs a `plugin.toml` with at least `kind = \"guardrail\"`, \
         \"request-hook\", \"log-sink\", \"authenticator\", \"key-policy\", \"router\", \"prompt-manager\", \"provider\", \"sso\" or \"secret-manager\""
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// `plugin.toml` is not TOML, or a key is unknown or of the wrong type. The text shows the place.
    #[error("{path}: {text}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The parser's report.
        text: String,
    },
    /// A key has a value that makes no sense.
    #[error("{path}: `{key}`: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key, as a path.
        key: String,
        /// What is wrong and how to put it right.
        problem: String,
    },
    /// There is a manifest but no code.
    #[error(
        "{folder}: there is no code: no Cargo.toml in this folder or above it, no plugin.py, plugin.ts, plugin.js, plugin.c or plugin.go; add \
         one, or name another file in plugin.toml: main = \"my_plugin.py\", or a built one: wasm = \"plugin.wasm\""
    )]
    NoCode {
        /// The plugin folder.
        folder: PathBuf,
    },
    /// A Python file that was written for LiteLLM.
    #[error(transparent)]
    Litellm(#[from] LitellmError),
    /// `main` names something that cannot be a plugin.
    #[error("{path}: `main`: {problem}")]
    NoMain {
        /// The file that `main` names.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

/// The plugin folders of a path: itself, or when it has no `plugin.toml` all below it, sorted.
pub fn plugin_folders(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(path, MAX_DEPTH, &mut found);
    if found.is_empty() {
        // Reading it gives the error that tells what is missing.
        found.push(path.to_owned());
    }
    found.sort();
    found
}

impl Source {
    /// Reads and checks the `plugin.toml` of a folder, or a Python file that was written for LiteLLM.
    pub fn read(folder: &Path) -> Result<Self, SourceError> {
        if let Some((file, name)) = litellm::split(folder)
            && file.is_file()
        {
            return Self::of_litellm(&file, name.as_deref());
        }
        let path = folder.join(FILE_NAME);
        let unreadable = |error| SourceError::Unreadable {
            path: path.clone(),
            error,
        };
        let text = std::fs::read_to_string(&path).map_err(unreadable)?;
        let folder = folder.canonicalize().map_err(unreadable)?;
        Self::parse(folder, &path, &text)
    }

    fn of_litellm(file: &Path, name: Option<&str>) -> Result<Self, SourceError> {
        let found = litellm::inspect(file, name)?;
        let file = file
            .canonicalize()
            .map_err(|error| SourceError::Unreadable {
                path: file.to_owned(),
                error,
            })?;
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let plugin = PluginToml {
            // `custom_auth.user_api_key_auth` in a configuration finds `custom-auth.wasm` beside it.
            name: stem.to_lowercase().replace('_', "-"),
            version: None,
            kind: found.kind,
            description: Some(found.description.clone()),
            license: None,
            wasm: None,
            main: Some(file.clone()),
            aliases: Vec::new(),
            params: Vec::new(),
            metrics: Vec::new(),
            llm: found.llm.clone(),
            batch: ManifestBatch::default(),
            phases_when: BTreeMap::new(),
            provider: None,
            egress: found.egress.clone(),
            env: found.env.clone(),
            files: Vec::new(),
            events: found.events.clone(),
            phases: found.phases.clone(),
            roles: found.roles.clone(),
            hooks: found.hooks.clone(),
            also: found.also.clone(),
            settings: Vec::new(),
            limits: ManifestLimits {
                memory_mb: None,
                // Running the file for the first time is part of a call's start.
                cpu_ms: Some(2000),
                timeout_ms: Some(10_000),
            },
        };
        Ok(Self {
            folder: file.parent().unwrap_or(Path::new(".")).to_owned(),
            plugin,
            litellm: Some(found),
        })
    }

    /// What the author should know about a file of LiteLLM's.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        let notes = self.litellm.iter().flat_map(|found| &found.notes);
        notes.map(|note| format!("{}: {note}", self.name()))
    }

    /// Where the code is: the file that `wasm` or `main` names, else the folder's own Cargo package, else a `plugin.py`,
    /// `plugin.ts`, `plugin.js`, `plugin.c` or `plugin.go` in it, else the nearest Cargo package upwards.
    pub fn code(&self) -> Result<Code, SourceError> {
        if let Some(wasm) = &self.plugin.wasm {
            return Ok(Code::Wasm(self.folder.join(wasm)));
        }
        if let Some(main) = &self.plugin.main {
            return self.script(self.folder.join(main)).map(Code::Script);
        }
        if !self.folder.join("Cargo.toml").is_file()
            && let Some(main) = MAINS
                .iter()
                .map(|name| self.folder.join(name))
                .find(|path| path.is_file())
        {
            return self.script(main).map(Code::Script);
        }
        self.folder
            .ancestors()
            .map(|folder| folder.join("Cargo.toml"))
            .find(|path| is_package(path))
            .map(Code::Package)
            .ok_or_else(|| SourceError::NoCode {
                folder: self.folder.clone(),
            })
    }

    fn script(&self, main: PathBuf) -> Result<Script, SourceError> {
        let wrong = |path: &Path, problem| SourceError::NoMain {
            path: path.to_owned(),
            problem,
        };
        let Some(language) = Language::of(&main) else {
            return Err(wrong(
                &main,
                "its name must end in .py, .js, .mjs, .ts, .c or .go; a Rust plugin is found by its Cargo.toml",
            ));
        };
        if !main.is_file() {
            return Err(wrong(&main, "there is no such file"));
        }
        Ok(Script {
            language,
            main,
            litellm: self.litellm.clone(),
        })
    }

    /// Name of the plugin.
    pub fn name(&self) -> &str {
        &self.plugin.name
    }

    /// What it exports.
    pub fn kind(&self) -> Kind {
        self.plugin.kind
    }

    /// What it exports besides.
    pub fn also(&self) -> &[Kind] {
        &self.plugin.also
    }

    /// The whole manifest.
    pub fn manifest(&self, package: &PackageFacts) -> Manifest {
        let plugin = self.plugin.clone();
        let version = plugin.version.unwrap_or_else(|| package.version.clone());
        Manifest {
            format: FORMAT,
            name: plugin.name,
            version: if version.is_empty() {
                "0.0.0".to_owned()
            } else {
                version
            },
            kind: plugin.kind,
            description: plugin
                .description
                .or_else(|| package.description.clone())
                .unwrap_or_default(),
            license: plugin
                .license
                .or_else(|| package.license.clone())
                .unwrap_or_default(),
            aliases: plugin.aliases,
            settings: plugin.settings,
            params: plugin.params,
            egress: plugin.egress,
            env: plugin.env,
            files: plugin.files,
            metrics: plugin.metrics,
            llm: plugin.llm,
            limits: plugin.limits,
            events: plugin.events,
            batch: plugin.batch,
            phases: plugin.phases,
            hooks: plugin.hooks,
            also: plugin.also,
            phases_when: plugin.phases_when,
            provider: plugin.provider,
            roles: plugin.roles,
        }
    }

    fn parse(folder: PathBuf, path: &Path, text: &str) -> Result<Self, SourceError> {
        let mut plugin: PluginToml =
            toml::from_str(text).map_err(|error| SourceError::Malformed {
                path: path.to_owned(),
                text: error.to_string().trim_end().to_owned(),
            })?;
        if plugin.name.is_empty() {
            plugin.name = folder
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
        }
        check::check(&plugin).map_err(|(key, problem)| SourceError::Invalid {
            path: path.to_owned(),
            key,
            problem,
        })?;
        Ok(Self {
            folder,
            plugin,
            litellm: None,
        })
    }
}

/// How far below a path plugin folders are looked for: `plugins/KIND/NAME` and two to spare.
const MAX_DEPTH: usize = 4;

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if folder.join(FILE_NAME).is_file() {
        return found.push(folder.to_owned());
    }
    let (Some(depth), Ok(entries)) = (depth.checked_sub(1), std::fs::read_dir(folder)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let built = matches!(name.to_str(), Some("target" | "node_modules"));
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !built && !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), depth, found);
        }
    }
}

/// The keys of `plugin.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginToml {
    #[serde(default)]
    name: String,
    version: Option<String>,
    kind: Kind,
    description: Option<String>,
    license: Option<String>,
    wasm: Option<PathBuf>,
    main: Option<PathBuf>,
    #[serde(default)]
    aliases: Vec<String>,
    #[serde(default)]
    params: Vec<String>,
    #[serde(default)]
    egress: Vec<String>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    metrics: Vec<String>,
    #[serde(default)]
    llm: Vec<String>,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    batch: ManifestBatch,
    #[serde(default)]
    phases: Vec<String>,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    hooks: Vec<String>,
    #[serde(default)]
    also: Vec<Kind>,
    #[serde(default)]
    phases_when: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    settings: Vec<Setting>,
    #[serde(default)]
    limits: ManifestLimits,
    provider: Option<ProviderFacts>,
}

/// Whether the file is the manifest of a package and not only of a workspace.
fn is_package(path: &Path) -> bool {
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| text.parse::<toml::Table>().ok())
        .is_some_and(|table| table.contains_key("package"))
}

#[cfg(test)]
mod tests;
