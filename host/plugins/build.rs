//! Packs the components of the folder in `WITGATE_EMBED_PLUGINS` into the crate; none without it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs, io};

/// Unpacking speed does not depend on the level, and the release is built once.
const LEVEL: i32 = 19;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../wit");
    println!("cargo:rerun-if-env-changed=WITGATE_EMBED_PLUGINS");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut table = String::from("static EMBEDDED: &[(&str, &[u8])] = &[\n");
    if let Some(folder) = env::var_os("WITGATE_EMBED_PLUGINS").filter(|folder| !folder.is_empty()) {
        println!(
            "cargo:rerun-if-changed={}",
            PathBuf::from(&folder).display()
        );
        let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<_>>()?;
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        });
        files.sort();
        for file in files {
            println!("cargo:rerun-if-changed={}", file.display());
            let Some(name) = file.file_stem().and_then(|stem| stem.to_str()) else {
                continue;
            };
            let packed = out.join(format!("{name}.zst"));
            fs::write(&packed, zstd::encode_all(fs::File::open(&file)?, LEVEL)?)?;
            writeln!(
                table,
                "    ({name:?}, include_bytes!({:?})),",
                packed.display().to_string()
            )
            .map_err(io::Error::other)?;
        }
    }
    table.push_str("];\n");
    fs::write(out.join("embedded.rs"), table)
}
