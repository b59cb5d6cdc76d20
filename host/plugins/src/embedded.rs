//! The built-in components inside this binary, put there when `WITGATE_EMBED_PLUGINS` named their folder
//! at compile time. Each is compressed on its own: what is not used is never unpacked.

use std::io;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Names of the embedded components.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// Unpacks one.
pub(crate) fn read(name: &str) -> io::Result<Vec<u8>> {
    let found = EMBEDDED.iter().find(|(own, _)| *own == name);
    let (_, packed) = found.ok_or(io::ErrorKind::NotFound)?;
    zstd::decode_all(*packed)
}
