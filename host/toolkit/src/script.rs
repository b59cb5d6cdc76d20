//! Plugins in Python, JavaScript, C and Go: the author's files, the SDK and the kind's WIT, put together by the language's own
//! tool. The result is kept: a build of unchanged files takes no time.

use std::collections::BTreeSet;
mod kept;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};
use witgate_plugins::Kind;

use crate::assets;
use crate::c;
use crate::go;
use crate::litellm::{self, Litellm};
use crate::quickjs;
use crate::sbom::{self, Ingredient};
use crate::tools::{ToolError, Tools, program, tail};
use kept::{keep, key, read, sources};

/// A language whose files are built by its own tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// `componentize-py`
    Python,
    /// jco's QuickJS backend; TypeScript too.
    JavaScript,
    /// `zig cc`
    C,
    /// Go for WASI preview 1.
    Go,
}

/// A plugin's main file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// What it is written in.
    pub language: Language,
    /// The file.
    pub main: PathBuf,
    /// What the file is when it was written for LiteLLM: the shim makes a plugin of it.
    pub litellm: Option<Litellm>,
}

/// Why no component came of a script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A tool cannot be had.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The tool failed; mostly the author's file raised an exception.
    #[error("{main}: {output}")]
    Failed {
        /// The file.
        main: PathBuf,
        /// What the tool said.
        output: String,
    },
    /// The file's name cannot be imported.
    #[error(
        "{main}: its name must be a Python identifier that does not begin with `witgate`, such as plugin.py"
    )]
    Name {
        /// The file.
        main: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl Language {
    /// The language of a file by its name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "py" => Some(Self::Python),
            "js" | "mjs" | "ts" | "mts" => Some(Self::JavaScript),
            "c" => Some(Self::C),
            "go" => Some(Self::Go),
            _ => None,
        }
    }

    /// Memory that an instance needs when the author says nothing, MiB: the interpreter is part of it.
    pub(crate) fn memory_mb(self) -> Option<u32> {
        match self {
            Self::Python => Some(256),
            Self::Go => Some(128),
            Self::JavaScript => Some(64),
            Self::C => None,
        }
    }
}

/// What a component exports.
#[derive(Clone, Copy)]
struct World<'a> {
    kind: Kind,
    also: &'a [Kind],
}

impl World<'_> {
    /// The folder in `wit/`, and of its world what stands before `-plugin`.
    fn name(self) -> &'static str {
        match self.also {
            [] => self.kind.as_str(),
            // There is one pair of kinds that a component may be of.
            _ => "custom-logger",
        }
    }

    fn kinds(&self) -> impl Iterator<Item = Kind> {
        [self.kind].into_iter().chain(self.also.iter().copied())
    }
}

/// Makes the component, without its manifest; of C and Go a module that says which component it is to be.
pub(crate) fn build(
    script: &Script,
    kind: Kind,
    also: &[Kind],
    tools: &Tools,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<u8>, ScriptError> {
    let world = World { kind, also };
    let component = made(script, world, tools, progress)?;
    match script.language {
        Language::Python | Language::C | Language::Go => Ok(component),
        Language::JavaScript => {
            quickjs::give_back_early(component).map_err(|output| ScriptError::Failed {
                main: script.main.clone(),
                output,
            })
        }
    }
}

/// What goes into the component beside the author's own files; `None` when nobody knows.
pub(crate) fn ingredients(script: &Script, tools: &Tools) -> Option<BTreeSet<Ingredient>> {
    let folder = script.main.parent().unwrap_or(Path::new("."));
    Some(match script.language {
        Language::JavaScript => sbom::javascript(folder),
        // A file that was written for LiteLLM brings no packages.
        Language::Python if script.litellm.is_some() => BTreeSet::new(),
        Language::Python => {
            let requirements = folder.join("requirements.txt");
            match std::fs::read(&requirements) {
                Ok(text) => sbom::python(&requirements, &tools.python_folder(&short_digest(&text))),
                Err(_) => BTreeSet::new(),
            }
        }
        // Their compilers take in what they need of their own libraries.
        Language::C | Language::Go => return None,
    })
}

/// What the language's tool makes of it, or made of the same before.
fn made(
    script: &Script,
    world: World<'_>,
    tools: &Tools,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<u8>, ScriptError> {
    let folder = script.main.parent().unwrap_or(Path::new("."));
    let kept = tools
        .path("built")
        .join(format!("{}.wasm", key(script, world, folder)?));
    if let Ok(component) = std::fs::read(&kept) {
        return Ok(component);
    }
    progress(&format!("building {}", script.main.display()));
    let work = Work::new(tools)?;
    assets::write_wit(world.name(), &work.path("wit")).map_err(|error| work.error(error))?;
    let out = work.path("component.wasm");
    let command = match script.language {
        Language::Python => python(script, world, folder, tools, &work, &out, progress)?,
        Language::JavaScript => javascript(script, world, folder, tools, &work, &out, progress)?,
        Language::C => clang(script, world.kind, folder, tools, &work, &out, progress)?,
        Language::Go => golang(script, world.kind, folder, tools, &work, &out, progress)?,
    };
    let said = run(command, &script.main)?;
    let mut component = std::fs::read(&out).map_err(|error| work.error(error))?;
    if matches!(script.language, Language::C | Language::Go) {
        if !said.is_empty() {
            progress(&said);
        }
        c::name_types(&mut component, &work.path("wit"))
            .map_err(|error| failed(script, format!("{error:#}")))?;
    }
    keep(&kept, &component);
    Ok(component)
}

fn python(
    script: &Script,
    world: World<'_>,
    folder: &Path,
    tools: &Tools,
    work: &Work,
    out: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Command, ScriptError> {
    let module = script
        .main
        .file_stem()
        .and_then(|stem| stem.to_str())
        .filter(|stem| is_identifier(stem) && !stem.starts_with("witgate"))
        .ok_or_else(|| ScriptError::Name {
            main: script.main.clone(),
        })?;
    let entry = match &script.litellm {
        Some(found) => {
            litellm::entry(found, module, &script.main).map_err(|error| ScriptError::File {
                path: script.main.clone(),
                error,
            })?
        }
        None => {
            let kinds = world.kinds().map(|kind| kind.as_str().replace('-', "_"));
            let exports = kinds.map(|kind| {
                format!("from witgate._export_{kind} import *\nsingle.use({module})\n")
            });
            format!("import {module}\n{}", exports.collect::<String>())
        }
    };
    let write = |path: &Path, content: &[u8]| {
        assets::write_file(path, content).map_err(|error| work.error(error))
    };
    write(&work.path("app/witgate_entry.py"), entry.as_bytes())?;
    assets::write("sdk/python/witgate", &work.path("sdk/witgate"))
        .map_err(|error| work.error(error))?;
    // An empty environment: without one, the packages of this machine's Python would be found.
    write(
        &work.path("env/lib/site-packages/README"),
        b"empty on purpose\n",
    )?;
    let packages = match folder.join("requirements.txt") {
        requirements if requirements.is_file() && script.litellm.is_none() => {
            let digest = short_digest(&read(&requirements)?);
            Some(tools.python_packages(&requirements, &digest, progress)?)
        }
        _ => None,
    };
    let mut command = tools.componentize_py(progress)?;
    command.arg("-d").arg(work.path("wit"));
    command.args(["-w", &format!("{}-plugin", world.name()), "componentize"]);
    let mut paths = vec![work.path("app"), work.path("sdk")];
    if script.litellm.is_some() {
        assets::write("sdk/python/litellm_shim", &work.path("shim"))
            .map_err(|error| work.error(error))?;
        paths.push(work.path("shim"));
    }
    paths.push(folder.to_owned());
    for path in paths.iter().chain(&packages) {
        command.arg("-p").arg(path);
    }
    command.arg("-o").arg(out).arg("witgate_entry");
    command.env("VIRTUAL_ENV", work.path("env"));
    Ok(command)
}

fn javascript(
    script: &Script,
    world: World<'_>,
    folder: &Path,
    tools: &Tools,
    work: &Work,
    out: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Command, ScriptError> {
    let package: Option<serde_json::Value> = std::fs::read(folder.join("package.json"))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    let asks = package.is_some_and(|package| package.get("dependencies").is_some());
    if asks && !folder.join("node_modules").is_dir() {
        tools.npm_packages(folder, progress)?;
    }
    let sdk = work.path("sdk");
    assets::write("sdk/javascript", &sdk).map_err(|error| work.error(error))?;
    if !world.also.is_empty() {
        return Err(ScriptError::Failed {
            main: script.main.clone(),
            output: "`also` is for Rust and Python; make two plugins of it".to_owned(),
        });
    }
    let kind = world.kind;
    let camel = camel_case(kind.as_str());
    // JSON strings are JavaScript strings.
    let main = serde_json::Value::from(script.main.to_string_lossy());
    let entry = format!(
        "import plugin from {main};\nimport {{ make }} from \"witgate/src/export-{kind}.js\";\nexport const {camel} = make(plugin);\n"
    );
    let entry_path = work.path("entry.js");
    assets::write_file(&entry_path, entry.as_bytes()).map_err(|error| work.error(error))?;
    let mut node = tools.javascript(progress)?;
    let request = serde_json::json!({
        "entry": entry_path,
        "sdk": sdk,
        "folder": folder,
        "wit": work.path("wit"),
        "world": format!("{kind}-plugin"),
        "out": out,
    });
    node.arg(request.to_string());
    Ok(node)
}

fn clang(
    script: &Script,
    kind: Kind,
    folder: &Path,
    tools: &Tools,
    work: &Work,
    out: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Command, ScriptError> {
    if !c::has_sdk(kind) {
        return Err(failed(
            script,
            format!("there is no C SDK for plugins of kind {kind} yet"),
        ));
    }
    let sdk = work.path("sdk");
    assets::write("sdk/c", &sdk).map_err(|error| work.error(error))?;
    c::write_bindings(&work.path("wit"), &sdk.join("generated"))
        .map_err(|error| failed(script, format!("{error:#}")))?;
    let mut own = Vec::new();
    sources(folder, 6, &mut own);
    own.retain(|file| Language::of(file) == Some(Language::C));
    own.sort();
    let mut zig = tools.zig_cc(&work.path("objects"), progress)?;
    // Messages name the author's files as the author does.
    zig.current_dir(folder);
    let relative = own
        .iter()
        .map(|file| file.strip_prefix(folder).unwrap_or(file));
    c::arguments(&mut zig, kind, &sdk, relative);
    zig.arg("-o").arg(out);
    Ok(zig)
}

fn golang(
    script: &Script,
    kind: Kind,
    folder: &Path,
    tools: &Tools,
    work: &Work,
    out: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Command, ScriptError> {
    if !go::has_sdk(kind) {
        return Err(failed(
            script,
            format!("there is no Go SDK for plugins of kind {kind} yet"),
        ));
    }
    let (mut command, root) = tools.go(progress)?;
    let layout = go::Layout {
        plugin: folder,
        wit: &work.path("wit"),
        sdk: &work.path("sdk"),
        main: &work.path("main"),
    };
    go::prepare(&mut command, &root, kind, &layout)
        .map_err(|error| failed(script, format!("{error:#}")))?;
    command.arg("-o").arg(out).arg(".");
    Ok(command)
}

fn failed(script: &Script, output: String) -> ScriptError {
    ScriptError::Failed {
        main: script.main.clone(),
        output,
    }
}

/// Runs the tool; returns what it said although all went well.
fn run(mut command: Command, main: &Path) -> Result<String, ScriptError> {
    let name = program(&command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| ScriptError::Failed {
            main: main.to_owned(),
            output: format!("cannot run {name}: {error}"),
        })?;
    let text = [output.stdout, output.stderr].concat();
    let text = tail(&readable(&String::from_utf8_lossy(&text)), 40);
    if output.status.success() {
        return Ok(text);
    }
    Err(ScriptError::Failed {
        main: main.to_owned(),
        output: c::with_hint(text),
    })
}

/// The tool's report without its own Rust and WebAssembly frames: what matters is the author's traceback.
fn readable(text: &str) -> String {
    let inner = |line: &&str| {
        let line = line.trim_start();
        let frame = line.split_once(':').is_some_and(|(number, rest)| {
            !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) && rest.contains('!')
        });
        !frame
            && !line.starts_with("wasm backtrace")
            && !line.starts_with("note: using the `WASMTIME")
    };
    text.lines().filter(inner).collect::<Vec<_>>().join("\n")
}

/// Sixteen hex digits that stand for the bytes.
pub(crate) fn short_digest(bytes: &[u8]) -> String {
    let mut digest = hex::encode(Sha256::digest(bytes));
    digest.truncate(16);
    digest
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|first| first.is_alphabetic() || first == '_')
        && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
}

/// `log-sink` → `logSink`
pub(crate) fn camel_case(name: &str) -> String {
    let mut parts = name.split('-');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut letters = part.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

/// A folder for one build, removed at its end.
struct Work(PathBuf);

impl Work {
    fn new(tools: &Tools) -> Result<Self, ScriptError> {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = tools
            .path("work")
            .join(format!("{}-{number}", std::process::id()));
        let error = |error| ScriptError::File {
            path: path.clone(),
            error,
        };
        std::fs::create_dir_all(&path).map_err(error)?;
        // The tools change folders: relative paths would lead elsewhere.
        let path = path.canonicalize().map_err(error)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn error(&self, error: io::Error) -> ScriptError {
        ScriptError::File {
            path: self.0.clone(),
            error,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_names() {
        for (name, language) in [
            ("plugin.py", Some(Language::Python)),
            ("plugin.ts", Some(Language::JavaScript)),
            ("plugin.mjs", Some(Language::JavaScript)),
            ("plugin.c", Some(Language::C)),
            ("plugin.go", Some(Language::Go)),
            ("plugin.rs", None),
            ("plugin", None),
        ] {
            assert_eq!(Language::of(Path::new(name)), language, "{name}");
        }
    }

    #[test]
    fn names_become_identifiers() {
        assert_eq!(camel_case("log-sink"), "logSink");
        assert_eq!(camel_case("guardrail"), "guardrail");
        assert!(
            is_identifier("custom_auth") && !is_identifier("custom-auth") && !is_identifier("2fa")
        );
    }

    #[test]
    fn a_report_loses_the_tools_own_frames() {
        let text = "Traceback:\n  File \"plugin.py\"\nerror while executing\n    0: 0x12 - libpython.so!_Py\nwasm backtrace:\nlast";
        assert_eq!(
            readable(text),
            "Traceback:\n  File \"plugin.py\"\nerror while executing\nlast"
        );
    }

    #[test]
    fn the_kinds_wit_is_the_root_and_all_others_are_its_dependencies() {
        let folder = tempfile::tempdir().expect("a folder");
        assets::write_wit("guardrail", folder.path()).expect("written");
        assert!(folder.path().join("guardrail.wit").is_file());
        assert!(folder.path().join("deps/host/host.wit").is_file());
        assert!(!folder.path().join("deps/guardrail").exists());
    }
}
