use std::os::unix::fs::PermissionsExt;

use super::*;

/// `(component)`: the smallest there is.
const EMPTY: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const DIGEST: &str = "0123";

struct Stage {
    folder: tempfile::TempDir,
    engine: Engine,
}

impl Stage {
    /// A cache with one entry.
    fn with_entry() -> (Self, Cache) {
        let stage = Self {
            folder: tempfile::tempdir().unwrap(),
            engine: Engine::default(),
        };
        let cache = stage.open();
        let code = Component::from_binary(&stage.engine, &EMPTY)
            .unwrap()
            .serialize()
            .unwrap();
        cache.put(DIGEST, &code).unwrap();
        (stage, cache)
    }

    fn open(&self) -> Cache {
        Cache::open(self.folder.path(), &self.engine).unwrap()
    }

    fn get(&self, cache: &Cache) -> &'static str {
        match cache.get(&self.engine, DIGEST) {
            Lookup::Hit(_) => "hit",
            Lookup::Miss => "miss",
            Lookup::Refused(reason) => reason.leak(),
        }
    }
}

#[test]
fn an_entry_is_found_again_by_the_next_process() {
    let (stage, cache) = Stage::with_entry();
    assert_eq!(stage.get(&cache), "hit");
    assert_eq!(stage.get(&stage.open()), "hit");
    assert!(matches!(cache.get(&stage.engine, "4567"), Lookup::Miss));
}

#[test]
fn what_was_touched_is_refused_once_and_then_gone() {
    type Touch = fn(&Cache, PathBuf);
    let cases: [(&str, Touch, &str); 6] = [
        (
            "a flipped bit",
            |_, path| {
                let mut code = fs::read(&path).unwrap();
                let middle = code.len() / 2;
                code[middle] ^= 1;
                fs::write(path, code).unwrap();
            },
            "its MAC does not match",
        ),
        (
            "a cut file",
            |_, path| {
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(100)
                    .unwrap()
            },
            "its MAC does not match",
        ),
        (
            "no MAC",
            |cache, _| fs::remove_file(cache.path(DIGEST, "mac")).unwrap(),
            "its MAC cannot be read",
        ),
        (
            "a MAC that is none",
            |cache, _| fs::write(cache.path(DIGEST, "mac"), "zz").unwrap(),
            "its MAC is malformed",
        ),
        (
            "a MAC of another entry",
            |cache, path| {
                let code = fs::read(path).unwrap();
                let mac = cache.mac("4567", &code).finalize().into_bytes();
                fs::write(cache.path(DIGEST, "mac"), hex::encode(mac)).unwrap();
            },
            "its MAC does not match",
        ),
        (
            "open to others",
            |_, path| fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap(),
            "others may read or write it",
        ),
    ];
    for (case, touch, expected) in cases {
        let (stage, cache) = Stage::with_entry();
        touch(&cache, cache.path(DIGEST, "cwasm"));
        let answer = stage.get(&cache);
        assert!(answer.contains(expected), "{case}: {answer}");
        assert_eq!(stage.get(&cache), "miss", "{case}");
    }
}

#[test]
fn the_key_is_private_and_a_public_one_is_replaced() {
    let (stage, cache) = Stage::with_entry();
    let path = stage.folder.path().join("plugins/cwasm.key");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let before = fs::read(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(cache);
    let cache = stage.open();
    assert_ne!(fs::read(&path).unwrap(), before);
    assert_eq!(
        stage.get(&cache),
        "its MAC does not match",
        "entries under the old key are void"
    );
}

#[test]
fn another_engine_has_other_entries() {
    let (stage, cache) = Stage::with_entry();
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    let other = Engine::new(&config).unwrap();
    let theirs = Cache::open(stage.folder.path(), &other).unwrap();
    assert_ne!(theirs.directory, cache.directory);
    assert!(matches!(theirs.get(&other, DIGEST), Lookup::Miss));
}
