//! Packs the components of the folder in `WITGATE_EMBED_PLUGINS` into the crate, all in one; none without it.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Unpacking speed does not depend on the level, and the release is built once.
const LEVEL: i32 = 19;
/// How far back repetitions are looked for, as a power of two: over all components. What unpacks allows no more.
const WINDOW_LOG: u32 = 27;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=../../wit");
    println!("cargo:rerun-if-env-changed=WITGATE_EMBED_PLUGINS");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let folder = env::var_os("WITGATE_EMBED_PLUGINS").filter(|folder| !folder.is_empty());
    let (mut index, mut whole) = (String::new(), Vec::new());
    for file in folder
        .map(|folder| components(Path::new(&folder)))
        .transpose()?
        .unwrap_or_default()
    {
        println!("cargo:rerun-if-changed={}", file.display());
        let Some(name) = file.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        let start = whole.len();
        whole.extend(fs::read(&file)?);
        writeln!(index, "        ({name:?}, {start}..{}),", whole.len())
            .map_err(io::Error::other)?;
    }
    let packed = out.join("embedded.zst");
    fs::write(&packed, pack(&whole)?)?;
    let table = format!(
        "static EMBEDDED: Bundle = Bundle {{\n    packed: include_bytes!({:?}),\n    length: {},\n    index: &[\n{index}    ],\n}};\n",
        packed.display().to_string(),
        whole.len(),
    );
    fs::write(out.join("embedded.rs"), table)
}

/// The components in a folder, in the order of their names.
fn components(folder: &Path) -> io::Result<Vec<PathBuf>> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "wasm")
    });
    files.sort();
    Ok(files)
}

/// In one stream: components have their language's library in common.
fn pack(whole: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.long_distance_matching(true)?;
    encoder.write_all(whole)?;
    encoder.finish()
}
