//! Which Rust toolchain can build for WASM on this machine.
//!
//! A compiler that has the standard library for `wasm32-unknown-unknown` is used as it is (`rustup target add`
//! installs it). Without one, a compiler whose own library sources are installed builds that library
//! first: Debian's `rustc-web` with `rust-web-src`, or rustup's with the component `rust-src`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target of Rust plugins: nothing ambient, imports are the plugin's own.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A toolchain that can build for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The cargo to call.
    pub cargo: PathBuf,
    /// The rustc it is to call.
    pub rustc: PathBuf,
    /// What `rustc --version` says.
    pub version: String,
    /// Where the standard library comes from.
    pub library: Library,
}

/// Where the standard library for [`TARGET`] comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Library {
    /// It is installed.
    Installed,
    /// It is built from the compiler's own sources, and linked with this program.
    FromSource {
        /// The linker, `rust-lld` or `wasm-ld`.
        linker: PathBuf,
    },
}

/// There is no toolchain to use.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Rust toolchain here can build for {TARGET}. Tried:{tried}\nInstall one of:\n  \
     rustup target add {TARGET}\n  \
     apt-get install rustc-web cargo-web rust-web-src lld   (Debian)\n  \
     rustup component add rust-src"
)]
pub struct NoToolchain {
    /// One line per toolchain that was looked at, and what it lacks.
    tried: String,
}

impl Toolchain {
    /// Looks for a toolchain, as it is found from this folder (rustup chooses by folder).
    pub fn detect(folder: &Path) -> Result<Self, NoToolchain> {
        let candidates =
            [("cargo", "rustc"), ("/usr/bin/cargo", "/usr/bin/rustc")].map(|(cargo, rustc)| {
                Candidate {
                    cargo: PathBuf::from(cargo),
                    rustc: PathBuf::from(rustc),
                }
            });
        let mut tried = String::new();
        let probes: Vec<Probe> = candidates
            .into_iter()
            .filter_map(|candidate| {
                Probe::of(candidate, folder)
                    .map_err(|why| tried.push_str(&format!("\n  {why}")))
                    .ok()
            })
            .collect();
        // An installed library of any candidate is better than building one: seconds against a minute.
        if let Some(probe) = probes.iter().find(|probe| probe.has_target) {
            return Ok(probe.toolchain(Library::Installed));
        }
        for probe in &probes {
            match probe.library_from_source(&probes) {
                Ok(library) => return Ok(probe.toolchain(library)),
                Err(why) => {
                    tried.push_str(&format!("\n  {}: {why}", probe.candidate.rustc.display()))
                }
            }
        }
        Err(NoToolchain { tried })
    }

    /// A `cargo` command of this toolchain in this folder, for [`TARGET`] unless it only asks.
    ///
    /// What a surrounding cargo, or its user, set for the *host's* build must not reach the guests':
    /// flags for another target break it, and a shared target folder deadlocks on its lock.
    pub fn cargo(&self, folder: &Path) -> Command {
        const FOREIGN: [&str; 12] = [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_RUSTC_WRAPPER",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET_DIR",
            "CARGO_BUILD_BUILD_DIR",
            "CARGO_BUILD_TARGET",
            "CARGO_INCREMENTAL",
            "RUSTC",
        ];
        let mut command = Command::new(&self.cargo);
        command.current_dir(folder);
        for name in FOREIGN {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
                command.env_remove(name);
            }
        }
        if let Library::FromSource { linker } = &self.library {
            command
                .env("RUSTC", &self.rustc)
                // `-Zbuild-std` is not stable; it builds what a stable compiler ships for other targets.
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command
    }

    /// The arguments of `cargo build` that choose target and standard library.
    pub fn build_args(&self) -> Vec<&'static str> {
        match self.library {
            Library::Installed => vec!["--target", TARGET],
            Library::FromSource { .. } => vec!["--target", TARGET, "-Zbuild-std=std,panic_abort"],
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version)?;
        match &self.library {
            Library::Installed => write!(f, ", {TARGET} installed"),
            Library::FromSource { .. } => write!(
                f,
                ", standard library from source (the first time takes a minute)"
            ),
        }
    }
}

/// A cargo and a rustc that may be there.
struct Candidate {
    cargo: PathBuf,
    rustc: PathBuf,
}

/// What a candidate's compiler said about itself.
struct Probe {
    candidate: Candidate,
    version: String,
    host: String,
    sysroot: PathBuf,
    has_target: bool,
}

impl Probe {
    fn of(candidate: Candidate, folder: &Path) -> Result<Self, String> {
        let about = ask(&candidate.rustc, &["-vV"], folder)?;
        let sysroot = PathBuf::from(ask(&candidate.rustc, &["--print", "sysroot"], folder)?.trim());
        let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
        let has_target =
            std::fs::read_dir(libraries).is_ok_and(|mut entries| entries.next().is_some());
        let host = about
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default();
        let version = about.lines().next().unwrap_or_default();
        Ok(Self {
            host: host.to_owned(),
            version: version.to_owned(),
            candidate,
            sysroot,
            has_target,
        })
    }

    fn toolchain(&self, library: Library) -> Toolchain {
        Toolchain {
            cargo: self.candidate.cargo.clone(),
            rustc: self.candidate.rustc.clone(),
            version: self.version.clone(),
            library,
        }
    }

    fn library_from_source(&self, all: &[Probe]) -> Result<Library, String> {
        let sources = self.sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
        if !sources.exists() {
            return Err(format!(
                "neither {TARGET} nor the library's sources are installed"
            ));
        }
        // Always the same order: another linker would mean building the library anew.
        let of_toolchain = all.iter().map(|probe| {
            probe
                .sysroot
                .join("lib/rustlib")
                .join(&probe.host)
                .join("bin")
                .join("rust-lld")
        });
        of_toolchain
            .chain(on_path(&["rust-lld", "wasm-ld"]))
            .chain(of_llvm())
            .find(|linker| linker.is_file())
            .map(|linker| Library::FromSource { linker })
            .ok_or_else(|| "no linker for WASM: neither rust-lld nor wasm-ld".to_owned())
    }
}

fn ask(program: &Path, args: &[&str], folder: &Path) -> Result<String, String> {
    let failed = |why: String| format!("{}: {why}", program.display());
    let output = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn on_path(names: &[&str]) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .collect()
}

/// Debian keeps the linkers of several LLVM versions apart; the newest first.
fn of_llvm() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir("/usr/lib") else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix("llvm-")?
                .parse()
                .ok()?;
            Some((version, entry.path().join("bin/wasm-ld")))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, linker)| linker).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_build_inherits_nothing_of_the_hosts() {
        let toolchain = Toolchain {
            cargo: "cargo".into(),
            rustc: "/usr/bin/rustc".into(),
            version: "rustc 1.0.0".into(),
            library: Library::FromSource {
                linker: "/l/rust-lld".into(),
            },
        };
        let command = toolchain.cargo(Path::new("/somewhere"));
        let env: std::collections::HashMap<_, _> = command.get_envs().collect();
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CARGO_TARGET_DIR",
        ] {
            assert_eq!(
                env.get(std::ffi::OsStr::new(name)),
                Some(&None),
                "{name} is removed"
            );
        }
        let linker = env[std::ffi::OsStr::new("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER")];
        assert_eq!(linker, Some(std::ffi::OsStr::new("/l/rust-lld")));
        assert_eq!(
            toolchain.build_args().last(),
            Some(&"-Zbuild-std=std,panic_abort")
        );
    }

    #[test]
    fn no_toolchain_says_what_was_tried_and_what_to_install() {
        let text = NoToolchain {
            tried: "\n  rustc: not found".into(),
        }
        .to_string();
        for part in ["rustc: not found", "rustup target add", "rust-web-src"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_reported_by_name() {
        let why =
            ask(Path::new("/nowhere/rustc"), &["-vV"], Path::new("/")).expect_err("not there");
        assert!(why.starts_with("/nowhere/rustc: "), "{why}");
    }
}
