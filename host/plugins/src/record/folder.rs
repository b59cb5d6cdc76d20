//! The folder that recordings of live calls go to: a file each, for the owner only, and not too many.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{RecordOptions, Recording};

pub(super) struct Folder(Arc<Shared>);

struct Shared {
    options: RecordOptions,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    count: u64,
    bytes: u64,
    /// Nothing is written any more, and the log says why.
    over: bool,
}

impl Folder {
    pub(super) fn new(options: RecordOptions) -> Self {
        Self(Arc::new(Shared {
            options,
            written: Mutex::default(),
        }))
    }

    pub(super) fn options(&self) -> &RecordOptions {
        &self.0.options
    }

    pub(super) fn wants_more(&self) -> bool {
        let written = self.0.written.lock();
        !written.over && written.count < self.0.options.count
    }

    /// Writes off the async workers: a disk may hang.
    pub(super) fn write(&self, recording: Recording) {
        let Some(number) = self.0.number() else {
            return;
        };
        let shared = self.0.clone();
        let write = move || shared.write(number, &recording);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }
}

impl Shared {
    /// The number of the next file, while there is to be one.
    fn number(&self) -> Option<u64> {
        let mut written = self.written.lock();
        if written.over || written.count >= self.options.count {
            return None;
        }
        written.count += 1;
        Some(written.count)
    }

    fn write(&self, number: u64, recording: &Recording) {
        let plugin = recording.plugin.as_str();
        let text = serde_json::to_string_pretty(recording).unwrap_or_default();
        let bytes = text.len() as u64;
        let fits = {
            let mut written = self.written.lock();
            written.bytes += bytes;
            written.bytes <= self.options.bytes
        };
        if !fits {
            self.end(
                plugin,
                "the next one would exceed the limit on bytes (`record.mb`)",
            );
            return;
        }
        match self.put(number, recording, &text) {
            Ok(path) => {
                tracing::info!(plugin, path = %path.display(), bytes, "a call was recorded")
            }
            Err(error) => {
                let dir = self.options.dir.display();
                self.end(plugin, &format!("{dir} cannot be written: {error}"));
                return;
            }
        }
        if number == self.options.count {
            self.end(
                plugin,
                "as many calls as wanted are recorded (`record.count`)",
            );
        }
    }

    fn end(&self, plugin: &str, why: &str) {
        if !std::mem::replace(&mut self.written.lock().over, true) {
            tracing::warn!(plugin, "the plugin is no longer recorded: {why}");
        }
    }

    fn put(&self, number: u64, recording: &Recording, text: &str) -> std::io::Result<PathBuf> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.options.dir)?;
        let plain = |c: char| match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') => c,
            _ => '_',
        };
        let plugin: String = recording.plugin.chars().map(plain).collect();
        // The first is `init`.
        let called = recording.calls.get(1);
        let function = called.map_or("init", |call| call.function.as_str());
        let at = recording.recorded_at_ms;
        let name = format!("{plugin}-{function}-{at}-{number:04}.json");
        let path = self.options.dir.join(&name);
        // Complete or not at all: whoever waits for the file finds all of it.
        let part = self.options.dir.join(format!(".{name}.part"));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        std::fs::rename(&part, &path)?;
        Ok(path)
    }
}
