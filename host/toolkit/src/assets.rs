//! What the binary carries for authors: WIT files, SDKs, templates. Paths are those of the repository.

use std::io;
use std::path::Path;

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The files below a folder: path relative to it, and content.
pub(crate) fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES.iter().filter_map(move |(path, content)| {
        let relative = path.strip_prefix(folder)?.strip_prefix('/')?;
        Some((relative, *content))
    })
}

/// One file.
pub(crate) fn file(path: &str) -> Option<&'static [u8]> {
    let (_, content) = FILES.iter().find(|(own, _)| *own == path)?;
    Some(content)
}

/// Writes the files below a folder to another one.
pub(crate) fn write(folder: &str, to: &Path) -> io::Result<()> {
    below(folder).try_for_each(|(path, content)| write_file(&to.join(path), content))
}

/// Writes the WIT files for one kind as its tools want them: the kind's package, and beside it in `deps` all others.
pub(crate) fn write_wit(kind: &str, to: &Path) -> io::Result<()> {
    for (path, content) in below("wit") {
        let own = path
            .strip_prefix(kind)
            .and_then(|path| path.strip_prefix('/'));
        let to = match own {
            Some(name) => to.join(name),
            None => to.join("deps").join(path),
        };
        write_file(&to, content)?;
    }
    Ok(())
}

/// Writes a file, and the folders it lies in.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, content)
}
