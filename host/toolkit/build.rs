//! Packs what the author's commands hand out into the crate: the WIT files, the SDKs, the templates.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Folders and files of the repository, and where they are found in the crate: under the same path.
const PACKED: [&str; 11] = [
    "wit",
    "sdk/templates",
    "sdk/python/witgate",
    "sdk/python/litellm_shim",
    "sdk/python/templates",
    "sdk/javascript",
    "sdk/rust",
    "sdk/c",
    "sdk/go",
    "host/toolkit/assets",
    "LICENSE",
];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?);
    let root = here.join("../..").canonicalize()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut files = Vec::new();
    for path in PACKED {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
        collect(&root.join(path), &mut files)?;
    }
    files.sort();
    let mut table = String::from("static FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?;
        writeln!(
            table,
            "    ({:?}, include_bytes!({:?})),",
            name.display().to_string(),
            file.display().to_string()
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("];\n");
    fs::write(out.join("assets.rs"), table)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if matches!(name.as_ref(), "__pycache__" | "node_modules" | "target") {
        return Ok(());
    }
    if path.is_file() {
        files.push(path.to_owned());
    } else if path.is_dir() {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    }
    Ok(())
}
