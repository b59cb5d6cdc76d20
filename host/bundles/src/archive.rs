//! The archive of a bundle: a tar with exactly one spelling, compressed with zstd.
//!
//! The writer leaves out everything that differs between two machines (times, owners, modes), so the same inputs
//! give the same bytes. The reader turns that round: it knows from the index what must follow, byte for byte, and
//! refuses anything else. So paths that lead out, links, devices, extended headers, files given twice and bytes
//! behind the end need no rules of their own; the error only says which of them it was.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::index::Index;
use crate::{BundleError, Digest};

/// Largest component, bytes: the largest real ones, of Python, have 40 MB.
pub const COMPONENT_MAX: u64 = 256 << 20;
/// Largest bill of materials, bytes: ten thousand packages fit.
pub const SBOM_MAX: u64 = 8 << 20;
/// Largest index, bytes: it holds the manifests of all components.
pub const INDEX_MAX: u64 = 8 << 20;
/// Most files in a bundle; all plugins of this repository are fewer than a hundred.
pub const ENTRIES_MAX: usize = 1024;
/// Most bytes of all files together: reading them takes a second or two, never a minute.
pub const UNPACKED_MAX: u64 = 1 << 30;

/// Good compression at a speed that a person can wait for; part of what makes bytes repeatable.
const LEVEL: i32 = 12;
/// A larger window would let a small file claim much memory: 2^27 bytes are what zstd itself allows unasked.
const WINDOW_LOG_MAX: u32 = 27;

const BLOCK: usize = 512;
const INDEX: &str = "index.json";

/// Writes the archive of these files, which the index describes.
pub(crate) fn write(index: &Index, files: &[(String, &[u8])]) -> Result<Vec<u8>, BundleError> {
    let failed =
        |error: io::Error| BundleError::Content(format!("the bundle cannot be made: {error}"));
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL).map_err(failed)?;
    encoder.include_checksum(true).map_err(failed)?;
    let mut tar = tar::Builder::new(encoder);
    let text = index.to_json();
    if text.len() as u64 > INDEX_MAX {
        return Err(BundleError::Content(format!(
            "the manifests together have more than {} MiB",
            INDEX_MAX >> 20
        )));
    }
    let all = std::iter::once((INDEX, text.as_slice())).chain(
        files
            .iter()
            .map(|(path, content)| (path.as_str(), *content)),
    );
    for (path, content) in all {
        let header = header(path, content.len() as u64)?;
        tar.append(&header, content).map_err(failed)?;
    }
    tar.into_inner()
        .and_then(zstd::Encoder::finish)
        .map_err(failed)
}

/// Reads an archive to its end and checks all of it. `keep` is told each file's path and says whether its bytes
/// are wanted.
pub(crate) fn read(
    archive: &[u8],
    keep: impl Fn(&str) -> bool,
) -> Result<(Index, Vec<(String, Vec<u8>)>), BundleError> {
    let mut reader = Reader::new(archive)?;
    let index = reader.index()?;
    let mut kept = Vec::new();
    let mut seen = vec![INDEX.to_owned()];
    for (path, file) in index.files() {
        reader.expect_header(&path, file.size, &seen)?;
        let content = reader.content(&path, file.size, keep(&path))?;
        if content.digest != file.digest {
            return Err(BundleError::Damaged(format!(
                "{path} has the digest {}, but the index says {}",
                content.digest, file.digest
            )));
        }
        seen.push(path.clone());
        kept.extend(content.bytes.map(|bytes| (path, bytes)));
    }
    reader.end(&seen)?;
    Ok((index, kept))
}

/// Reads only the index, from the beginning of an archive. Nothing else is checked.
pub(crate) fn peek(archive: impl Read) -> Result<Index, BundleError> {
    Reader::over(archive)?.index()
}

/// The only header that this file can have.
fn header(path: &str, size: u64) -> Result<Header, BundleError> {
    let mut header = Header::new_ustar();
    header
        .set_path(path)
        .map_err(|error| BundleError::Content(format!("{path}: {error}")))?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(header)
}

struct Reader<R: Read> {
    decoder: zstd::Decoder<'static, io::BufReader<R>>,
}

struct Content {
    digest: Digest,
    bytes: Option<Vec<u8>>,
}

impl<'a> Reader<&'a [u8]> {
    fn new(archive: &'a [u8]) -> Result<Self, BundleError> {
        Self::over(archive)
    }

    /// The archive ends here, the tar and the compressed frame both.
    fn end(mut self, seen: &[String]) -> Result<(), BundleError> {
        for _ in 0..2 {
            let block = self.block()?;
            if block != [0; BLOCK] {
                return Err(strange(&block, None, seen));
            }
        }
        let mut more = [0];
        if self.decoder.read(&mut more).map_err(damaged)? != 0 {
            return Err(BundleError::Hostile(
                "there is more behind the end of the archive".to_owned(),
            ));
        }
        let rest = self.decoder.finish();
        match rest.buffer().is_empty() && rest.get_ref().is_empty() {
            true => Ok(()),
            false => Err(BundleError::Damaged(
                "there are bytes behind the end of the archive".to_owned(),
            )),
        }
    }
}

impl<R: Read> Reader<R> {
    fn over(archive: R) -> Result<Self, BundleError> {
        let mut decoder = zstd::Decoder::new(archive).map_err(damaged)?.single_frame();
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(damaged)?;
        Ok(Self { decoder })
    }

    fn index(&mut self) -> Result<Index, BundleError> {
        let block = self.block()?;
        let size = Header::from_byte_slice(&block).size().unwrap_or(u64::MAX);
        if block != *header(INDEX, size.min(INDEX_MAX))?.as_bytes() {
            if size > INDEX_MAX
                && Header::from_byte_slice(&block).path_bytes().as_ref() == INDEX.as_bytes()
            {
                return Err(BundleError::Hostile(format!(
                    "its index says that it has {size} bytes; at most {} MiB are accepted",
                    INDEX_MAX >> 20
                )));
            }
            return Err(strange(&block, Some((INDEX, size)), &[]));
        }
        let content = self.content(INDEX, size, true)?;
        Index::read(&content.bytes.unwrap_or_default())
    }

    fn expect_header(&mut self, path: &str, size: u64, seen: &[String]) -> Result<(), BundleError> {
        let block = self.block()?;
        match block == *header(path, size)?.as_bytes() {
            true => Ok(()),
            false => Err(strange(&block, Some((path, size)), seen)),
        }
    }

    /// The bytes of a file, and the zeros up to the next block.
    fn content(&mut self, path: &str, size: u64, keep: bool) -> Result<Content, BundleError> {
        use sha2::Digest as _;
        let mut bytes = keep.then(Vec::new);
        let mut hash = sha2::Sha256::new();
        let mut left = size;
        let mut buffer = vec![0; 64 << 10];
        while left > 0 {
            let want = left.min(buffer.len() as u64) as usize;
            let chunk = &mut buffer[..want];
            self.decoder.read_exact(chunk).map_err(damaged)?;
            hash.update(&*chunk);
            if let Some(bytes) = &mut bytes {
                bytes.extend_from_slice(chunk);
            }
            left -= want as u64;
        }
        let padding = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
        let padding = &mut buffer[..padding];
        self.decoder.read_exact(padding).map_err(damaged)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(BundleError::Damaged(format!(
                "there are stray bytes behind {path}"
            )));
        }
        let digest = hex::encode(hash.finalize());
        let digest = digest.parse().map_err(BundleError::Damaged)?;
        Ok(Content { digest, bytes })
    }

    fn block(&mut self) -> Result<[u8; BLOCK], BundleError> {
        let mut block = [0; BLOCK];
        self.decoder.read_exact(&mut block).map_err(damaged)?;
        Ok(block)
    }
}

fn damaged(error: io::Error) -> BundleError {
    BundleError::Damaged(match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => error.to_string(),
    })
}

/// What is wrong with a header that is not the expected one, in the words of whoever must put it right.
fn strange(block: &[u8; BLOCK], expected: Option<(&str, u64)>, seen: &[String]) -> BundleError {
    let header = Header::from_byte_slice(block);
    if *block == [0; BLOCK] {
        let (path, _) = expected.unwrap_or_default();
        return BundleError::Damaged(format!("{path} is missing"));
    }
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(*byte)
            }
        })
        .sum();
    if header.cksum().ok() != Some(sum) {
        return BundleError::Damaged("a header in the archive was damaged".to_owned());
    }
    let path = String::from_utf8_lossy(&header.path_bytes()).into_owned();
    let kind = header.entry_type();
    if !kind.is_file() {
        let what = match kind {
            EntryType::Symlink => "a symbolic link".to_owned(),
            EntryType::Link => "a hard link".to_owned(),
            EntryType::Directory => "a folder".to_owned(),
            other => format!("an entry of type {:?}", char::from(other.as_byte())),
        };
        return BundleError::Hostile(format!(
            "{path:?} is {what}; a bundle holds plain files only"
        ));
    }
    if path.starts_with(['/', '\\']) || path.split(['/', '\\']).any(|part| part == "..") {
        return BundleError::Hostile(format!("{path:?} leads out of the archive"));
    }
    if seen.contains(&path) {
        return BundleError::Hostile(format!("{path:?} is in it twice"));
    }
    match expected {
        Some((wanted, size)) if wanted == path => match header.size() {
            Ok(own) if own != size => BundleError::Hostile(format!(
                "{path} says that it has {own} bytes, but the index says {size}"
            )),
            _ => BundleError::Damaged(format!(
                "the header of {path} is not written as `witgate plugin bundle` writes one"
            )),
        },
        Some((wanted, _)) => BundleError::Damaged(format!("{path:?} is where {wanted} must be")),
        None => BundleError::Hostile(format!("{path:?} is not in its index")),
    }
}
