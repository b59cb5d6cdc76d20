//! Calls to the guests' cargo: what a package is, and building several packages of a workspace at
//! once.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;

use crate::sbom::Ingredient;
use crate::source::PackageFacts;
use crate::toolchain::{TARGET, Toolchain};

/// A Cargo package that holds plugins.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    /// Its name.
    pub name: String,
    /// Its `Cargo.toml`.
    pub manifest: PathBuf,
    /// Root of the workspace it belongs to; its own folder when it stands alone.
    pub workspace: PathBuf,
    /// Where the workspace builds to.
    pub target_dir: PathBuf,
    /// What it says for the plugin's manifest.
    pub facts: PackageFacts,
    /// File name of the module that it builds to.
    pub module: String,
}

/// Cargo could not do it.
#[derive(Debug, thiserror::Error)]
pub enum CargoError {
    /// It could not be started.
    #[error("cannot run {cargo}: {error}")]
    Start {
        /// The program.
        cargo: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It failed.
    #[error("cargo failed in {folder}:\n{output}")]
    Failed {
        /// Where it ran.
        folder: PathBuf,
        /// The end of what it wrote.
        output: String,
    },
    /// The package does not build to a WASM module.
    #[error("{manifest}: builds no module; add to it\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]")]
    NoModule {
        /// Its `Cargo.toml`.
        manifest: PathBuf,
    },
}

/// Reads what Cargo knows of the package with this `Cargo.toml`.
pub(crate) fn package(toolchain: &Toolchain, manifest: &Path) -> Result<Package, CargoError> {
    let folder = manifest.parent().unwrap_or(Path::new("."));
    let output = toolchain
        .cargo(folder)
        .args(["metadata", "--format-version=1", "--no-deps"])
        .output()
        .map_err(|error| CargoError::Start {
            cargo: toolchain.cargo.clone(),
            error,
        })?;
    let failed = |output: &[u8]| CargoError::Failed {
        folder: folder.to_owned(),
        output: String::from_utf8_lossy(output).trim().to_owned(),
    };
    if !output.status.success() {
        return Err(failed(&output.stderr));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(error.to_string().as_bytes()))?;
    let package = metadata
        .packages
        .into_iter()
        .find(|package| package.manifest_path == manifest)
        .ok_or_else(|| failed(b"cargo does not list this package"))?;
    let no_module = || CargoError::NoModule {
        manifest: manifest.to_owned(),
    };
    let library = package
        .targets
        .iter()
        .find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
        .ok_or_else(no_module)?;
    Ok(Package {
        module: format!("{}.wasm", library.name.replace('-', "_")),
        name: package.name,
        manifest: package.manifest_path,
        workspace: metadata.workspace_root,
        target_dir: metadata.target_directory,
        facts: PackageFacts {
            version: package.version,
            description: package.description,
            license: package.license,
        },
    })
}

/// Builds packages of one workspace; returns each package's module. `line` gets what cargo writes, as it comes.
pub(crate) fn build(
    toolchain: &Toolchain,
    packages: &[&Package],
    line: &mut dyn FnMut(&str),
) -> Result<HashMap<PathBuf, PathBuf>, CargoError> {
    let Some(first) = packages.first() else {
        return Ok(HashMap::new());
    };
    let start_error = |error| CargoError::Start {
        cargo: toolchain.cargo.clone(),
        error,
    };
    let mut command = toolchain.cargo(&first.workspace);
    command
        .args(["build", "--release"])
        // Whatever the profile says: the names are taken out afterwards, for backtraces.
        .args(["--config", "profile.release.strip=\"debuginfo\""])
        .args(toolchain.build_args());
    for package in packages {
        command.args(["--package", &package.name]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start_error)?;
    let tail = child
        .stderr
        .take()
        .map(|stderr| follow(stderr, line))
        .unwrap_or_default();
    if !child.wait().map_err(start_error)?.success() {
        let output = tail.into_iter().collect::<Vec<_>>().join("\n");
        return Err(CargoError::Failed {
            folder: first.workspace.clone(),
            output,
        });
    }
    packages
        .iter()
        .map(|package| {
            let module = package
                .target_dir
                .join(TARGET)
                .join("release")
                .join(&package.module);
            if module.is_file() {
                Ok((package.manifest.clone(), module))
            } else {
                Err(CargoError::NoModule {
                    manifest: package.manifest.clone(),
                })
            }
        })
        .collect()
}

/// What went into a package that was just built: its dependencies, and theirs. What only builds or tests it is not
/// in it, and need not be on this machine.
pub(crate) fn ingredients(
    toolchain: &Toolchain,
    package: &Package,
) -> Result<BTreeSet<Ingredient>, CargoError> {
    let folder = package.manifest.parent().unwrap_or(Path::new("."));
    let output = toolchain
        .cargo(folder)
        .args(["tree", "--offline", "--package", &package.name])
        .args(["--edges", "normal", "--target", TARGET])
        .args(["--prefix", "none", "--format", "{p}\t{l}"])
        .output()
        .map_err(|error| CargoError::Start {
            cargo: toolchain.cargo.clone(),
            error,
        })?;
    if !output.status.success() {
        return Err(CargoError::Failed {
            folder: folder.to_owned(),
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // The first line is the package itself.
    Ok(text.lines().skip(1).filter_map(ingredient).collect())
}

/// Reads `serde v1.0.0 (proc-macro) (/path or URL)`, a tab and the licence.
fn ingredient(line: &str) -> Option<Ingredient> {
    let (package, license) = line.split_once('\t')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    let elsewhere =
        words.any(|word| word.starts_with('(') && word != "(proc-macro)" && word != "(*)");
    Some(Ingredient {
        name: name.to_owned(),
        version: version.to_owned(),
        license: license.trim_end_matches(" (*)").to_owned(),
        registry: (!elsewhere).then_some("cargo"),
    })
}

/// Hands on each line and keeps the last ones, enough for the errors of a failed build.
fn follow(stderr: impl Read, line: &mut dyn FnMut(&str)) -> VecDeque<String> {
    const KEPT_LINES: usize = 200;
    let mut tail = VecDeque::new();
    // An unreadable line ends the output; the exit status tells how the build went.
    for text in BufReader::new(stderr).lines().map_while(Result::ok) {
        line(&text);
        if tail.len() == KEPT_LINES {
            tail.pop_front();
        }
        tail.push_back(text);
    }
    tail
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    version: String,
    description: Option<String>,
    license: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<MetadataTarget>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    name: String,
    crate_types: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargos_tree_are_read() {
        let read = |line: &str| {
            let one = ingredient(line).unwrap();
            (one.name, one.version, one.license, one.registry)
        };
        let expect = |name: &str, version: &str, license: &str, registry| {
            (
                name.to_owned(),
                version.to_owned(),
                license.to_owned(),
                registry,
            )
        };
        assert_eq!(
            read("serde v1.0.228\tMIT OR Apache-2.0"),
            expect("serde", "1.0.228", "MIT OR Apache-2.0", Some("cargo"))
        );
        assert_eq!(
            read("serde_derive v1.0.228 (proc-macro)\tMIT (*)"),
            expect("serde_derive", "1.0.228", "MIT", Some("cargo"))
        );
        assert_eq!(
            read("witgate-plugin v0.1.0 (/home/me/sdk)\tApache-2.0"),
            expect("witgate-plugin", "0.1.0", "Apache-2.0", None)
        );
        assert_eq!(read("a v1.0.0\t"), expect("a", "1.0.0", "", Some("cargo")));
        assert!(ingredient("").is_none());
    }
}
