//! Finished builds: what one is known by, and keeping the newest of them.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Language, Script, ScriptError, World};
use crate::assets;

/// Finished builds that are kept, the newest.
const KEPT: usize = 64;

/// How plugins in C and Go are built is in no asset: these files say it.
const BUILDERS: [&[u8]; 2] = [include_bytes!("../c.rs"), include_bytes!("../go.rs")];

/// Keeps a finished build, and drops old ones. Failing to costs the next build its time.
pub(super) fn keep(path: &Path, component: &[u8]) {
    let part = path.with_extension(format!("part-{}", std::process::id()));
    if assets::write_file(&part, component).is_err() || std::fs::rename(&part, path).is_err() {
        return;
    }
    let Some(entries) = path
        .parent()
        .and_then(|folder| std::fs::read_dir(folder).ok())
    else {
        return;
    };
    let mut kept: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    kept.sort();
    for (_, old) in kept.iter().rev().skip(KEPT) {
        let _ = std::fs::remove_file(old);
    }
}

/// Changes with everything that the component is made of.
pub(super) fn key(script: &Script, world: World<'_>, folder: &Path) -> Result<String, ScriptError> {
    let mut hash = Sha256::new();
    let mut put = |name: &str, content: &[u8]| {
        for part in [name.as_bytes(), content] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    };
    put(world.name(), script.main.to_string_lossy().as_bytes());
    put(
        env!("CARGO_PKG_VERSION"),
        format!("{:?}", script.litellm).as_bytes(),
    );
    for folder in [
        "wit",
        "sdk/python",
        "sdk/javascript",
        "sdk/c",
        "sdk/go",
        "host/toolkit/assets",
    ] {
        assets::below(folder).for_each(|(path, content)| put(path, content));
    }
    BUILDERS.iter().for_each(|builder| put("builder", builder));
    let mut files = Vec::new();
    if script.litellm.is_some() {
        // Beside such a file lie configurations and much else; what it imports of its own is one folder deep.
        modules(folder, &mut files);
    } else {
        sources(folder, 6, &mut files);
    }
    files.sort();
    for file in files {
        put(&file.to_string_lossy(), &read(&file)?);
    }
    Ok(hex::encode(hash.finalize()))
}

fn modules(folder: &Path, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.extend(
        entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "py")),
    );
}

/// The files of a plugin folder: code and what says which packages it needs.
pub(super) fn sources(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.')
            || matches!(
                name.as_str(),
                "target" | "tests" | "__pycache__" | "node_modules"
            )
        {
            continue;
        }
        if path.is_dir() {
            if let Some(depth) = depth.checked_sub(1) {
                sources(&path, depth, files);
            }
        } else if Language::of(&path).is_some()
            || matches!(
                name.as_str(),
                "requirements.txt"
                    | "package.json"
                    | "package-lock.json"
                    | "tsconfig.json"
                    | "go.mod"
                    | "go.sum"
            )
            || name.ends_with(".json")
            || name.ends_with(".h")
        {
            files.push(path);
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, ScriptError> {
    std::fs::read(path).map_err(|error| ScriptError::File {
        path: path.to_owned(),
        error,
    })
}
