//! Compiled code on disk, so that a start takes milliseconds.
//!
//! Loading compiled code is running native code: a forged entry would own the gateway. So entries are
//! read from our own directory only, belong to us, and carry a MAC under a key that only we can read.
//! The directory is named after everything that shapes the code (engine version, settings, target).
//! Whatever does not fit exactly is compiled anew.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

/// Entries of other engine versions are removed when they were not touched for this long.
const FOREIGN_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
const KEY_BYTES: usize = 32;

/// The cache of one data directory.
pub(crate) struct Cache {
    directory: PathBuf,
    /// Names the engine in every MAC.
    compatibility: String,
    key: Zeroizing<Vec<u8>>,
    owner: Owner,
}

/// What a look-up found.
pub(crate) enum Lookup {
    Hit(Component),
    Miss,
    /// There was an entry that must not be used, and why.
    Refused(String),
}

impl Cache {
    /// Opens or creates the cache below `<data_dir>/plugins`.
    pub(crate) fn open(data_dir: &Path, engine: &Engine) -> io::Result<Self> {
        let root = data_dir.join("plugins");
        create_private_dir(&root)?;
        let all = root.join("cwasm");
        create_private_dir(&all)?;
        let compatibility = compatibility(engine);
        let directory = all.join(&compatibility);
        create_private_dir(&directory)?;
        let owner = Owner::ours(&directory)?;
        let key = key(&root.join("cwasm.key"), &owner)?;
        sweep(&all, &compatibility);
        Ok(Self {
            directory,
            compatibility,
            key,
            owner,
        })
    }

    /// The compiled form of the component with this SHA-256.
    pub(crate) fn get(&self, engine: &Engine, digest: &str) -> Lookup {
        let path = self.path(digest, "cwasm");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Lookup::Miss,
            Err(error) => return Lookup::Refused(error.to_string()),
        };
        match self
            .verify(&mut file, digest)
            .and_then(|()| map(engine, &file, &path))
        {
            Ok(component) => Lookup::Hit(component),
            Err(reason) => {
                self.remove(digest);
                Lookup::Refused(reason)
            }
        }
    }

    /// Keeps a compiled component.
    pub(crate) fn put(&self, digest: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.mac(digest, code).finalize().into_bytes();
        // The entry without its MAC is refused, so the order does not matter to a reader.
        self.write(digest, "cwasm", code)?;
        self.write(digest, "mac", hex::encode(mac).as_bytes())
    }

    fn verify(&self, file: &mut File, digest: &str) -> Result<(), String> {
        self.owner.check(file)?;
        let mut code = Vec::new();
        file.read_to_end(&mut code)
            .map_err(|error| error.to_string())?;
        let stored = fs::read_to_string(self.path(digest, "mac"))
            .map_err(|error| format!("its MAC cannot be read: {error}"))?;
        let stored = hex::decode(stored.trim()).map_err(|_| "its MAC is malformed".to_owned())?;
        let expected = self.mac(digest, &code).finalize().into_bytes();
        match bool::from(expected.as_slice().ct_eq(&stored)) {
            true => Ok(()),
            false => Err("its MAC does not match".to_owned()),
        }
    }

    /// Over engine and digest too, so that no entry can stand in for another.
    fn mac(&self, digest: &str, code: &[u8]) -> Hmac<Sha256> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .unwrap_or_else(|_| Hmac::new(&Default::default()));
        for part in ["witgate cwasm 1", &self.compatibility, digest] {
            mac.update(part.as_bytes());
            mac.update(b"\0");
        }
        mac.update(code);
        mac
    }

    fn write(&self, digest: &str, suffix: &str, bytes: &[u8]) -> io::Result<()> {
        let unique = uuid::Uuid::new_v4();
        let temporary = self.directory.join(format!(".{digest}.{suffix}.{unique}"));
        let written = create_private_file(&temporary)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&temporary, self.path(digest, suffix)));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn remove(&self, digest: &str) {
        for suffix in ["cwasm", "mac"] {
            let _ = fs::remove_file(self.path(digest, suffix));
        }
    }

    fn path(&self, digest: &str, suffix: &str) -> PathBuf {
        self.directory.join(format!("{digest}.{suffix}"))
    }
}

/// Maps the file that was verified: by its descriptor where the system allows it, because the path
/// could lead elsewhere by now.
#[allow(
    unsafe_code,
    reason = "the only place where compiled code enters; see the module's docs"
)]
fn map(engine: &Engine, file: &File, path: &Path) -> Result<Component, String> {
    #[cfg(target_os = "linux")]
    let path = {
        use std::os::fd::AsRawFd;
        let same = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if same.exists() { same } else { path.to_owned() }
    };
    #[cfg(not(target_os = "linux"))]
    let _ = file;
    // SAFETY: the bytes are what `put` wrote: the caller checked the file's owner and its MAC under a
    // key that nobody else can read, and nobody else can write to the file.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|error| format!("{error:#}"))
}

/// Tells engines apart that cannot run each other's code.
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = Sha256Hasher(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hex::encode(&hasher.0.finalize()[..16])
}

/// `std`'s own hasher may change between builds; this one does not.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Reads the key, or makes one. A key that others could have read is replaced, which voids all entries.
fn key(path: &Path, owner: &Owner) -> io::Result<Zeroizing<Vec<u8>>> {
    if let Ok(mut file) = File::open(path) {
        let mut key = Zeroizing::new(Vec::new());
        file.read_to_end(&mut key)?;
        if owner.check(&file).is_ok() && key.len() == KEY_BYTES {
            return Ok(key);
        }
        tracing::warn!(
            path = %path.display(),
            "the key of the cache of compiled plugins was readable by others or damaged; made a new one"
        );
        fs::remove_file(path)?;
    }
    let mut key = Zeroizing::new(vec![0; KEY_BYTES]);
    rand::Rng::fill_bytes(&mut rand::rng(), key.as_mut_slice());
    match create_private_file(path).and_then(|mut file| file.write_all(&key)) {
        Ok(()) => Ok(key),
        // Another gateway on the same directory was first: its key, if it is whole already.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let key = Zeroizing::new(fs::read(path)?);
            match key.len() {
                KEY_BYTES => Ok(key),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Removes what other versions left behind.
fn sweep(all: &Path, current: &str) {
    let Ok(entries) = fs::read_dir(all) else {
        return;
    };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .ok()
            .and_then(|modified| modified.elapsed().ok())
            .is_some_and(|age| age > FOREIGN_KEPT);
        if old && entry.file_name() != current {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(unix)]
mod owner {
    //! Who may have written a file.

    use std::fs::{DirBuilder, File, Permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
    use std::path::Path;

    /// The user that this process writes files as.
    pub(super) struct Owner(u32);

    impl Owner {
        /// Learnt from a file of our own: the directory may have been made by somebody else.
        pub(super) fn ours(directory: &Path) -> io::Result<Self> {
            let path = directory.join(format!(".owner.{}", uuid::Uuid::new_v4()));
            let metadata = create_private_file(&path).and_then(|file| file.metadata());
            let _ = std::fs::remove_file(&path);
            let us = Self(metadata?.uid());
            match std::fs::metadata(directory)?.uid() == us.0 {
                true => Ok(us),
                false => Err(io::Error::other(format!(
                    "{} belongs to another user",
                    directory.display()
                ))),
            }
        }

        /// Ours, a plain file, and nobody else's to read or write.
        pub(super) fn check(&self, file: &File) -> Result<(), String> {
            let metadata = file.metadata().map_err(|error| error.to_string())?;
            if metadata.uid() != self.0 {
                return Err("it belongs to another user".to_owned());
            }
            if !metadata.is_file() || metadata.mode() & 0o077 != 0 {
                return Err("others may read or write it".to_owned());
            }
            Ok(())
        }
    }

    pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mode = std::fs::metadata(path)?.mode() & 0o777;
        if mode & 0o022 != 0 {
            std::fs::set_permissions(path, Permissions::from_mode(mode & 0o755))?;
        }
        Ok(())
    }

    pub(super) fn create_private_file(path: &Path) -> io::Result<File> {
        File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
    }
}

#[cfg(not(unix))]
mod owner {
    //! Elsewhere, the directory's access list is the user's profile's.

    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) struct Owner;

    impl Owner {
        pub(super) fn ours(_: &Path) -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) fn check(&self, _: &File) -> Result<(), String> {
            Ok(())
        }
    }

    pub(super) fn create_private_dir(path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    pub(super) fn create_private_file(path: &Path) -> io::Result<File> {
        File::options().write(true).create_new(true).open(path)
    }
}

use owner::{Owner, create_private_dir, create_private_file};
