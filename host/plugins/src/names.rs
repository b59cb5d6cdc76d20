//! Backtraces of crashed guests in the words of their sources.
//!
//! `witgate plugin build` writes the names of a component's functions into a file beside it. It is read when the
//! component first crashes, and only believed when it is of this very component.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use wasmtime::{FrameInfo, WasmBacktrace};

use crate::Source;

/// How a file of names begins; the component's `sha256:…` follows.
pub const NAMES_HEADER: &str = "witgate-names 1";

/// Frames that are shown.
const FRAMES_MAX: usize = 24;
/// Bytes of such a file that are read.
const FILE_MAX: u64 = 16 << 20;

/// What every panic passes through on its way; nobody looks for the fault there.
const MACHINERY: [&str; 7] = [
    "std::panicking::",
    "core::panicking::",
    "std::sys::",
    "std::process::abort",
    "abort",
    "rust_panic",
    "__rust",
];

/// The names of one component's functions.
pub(crate) struct Names {
    file: Option<PathBuf>,
    digest: String,
    read: OnceLock<HashMap<u32, String>>,
}

impl Names {
    /// Of a component from a file; one inside the binary has none.
    pub(crate) fn beside(source: &Source, digest: &str) -> Self {
        let path = match source {
            Source::File(path) | Source::BuiltIn(path) => Some(path.with_extension("names")),
            Source::Embedded(_) | Source::Bundled(_) | Source::Pulled(_) => None,
        };
        Self {
            file: path,
            digest: format!("sha256:{digest}"),
            read: OnceLock::new(),
        }
    }

    /// The functions under way when an error came up, the innermost first: `f, called by g`. `None` without any.
    pub(crate) fn backtrace(&self, error: &wasmtime::Error) -> Option<String> {
        let trace = error.downcast_ref::<WasmBacktrace>()?;
        let frames: Vec<String> = trace.frames().iter().map(|f| self.name(f)).collect();
        let machinery = |name: &String| {
            let name = name.trim_start_matches('<');
            MACHINERY.iter().any(|start| name.starts_with(start))
        };
        let inner = frames.iter().take_while(|name| machinery(name)).count();
        let own = frames.get(inner..).filter(|own| !own.is_empty());
        let own = own.unwrap_or(&frames);
        let mut text = String::new();
        for name in own.iter().take(FRAMES_MAX) {
            let between = if text.is_empty() { "" } else { ", called by " };
            // Writing to a String does not fail.
            let _ = write!(text, "{between}{name}");
        }
        if own.len() > FRAMES_MAX {
            let _ = write!(text, ", and {} more", own.len() - FRAMES_MAX);
        }
        (!text.is_empty()).then_some(text)
    }

    fn name(&self, frame: &FrameInfo) -> String {
        let index = frame.func_index();
        // What has names of its own is not the plugin's module, whose names were taken out.
        let own = frame.func_name().map(str::to_owned);
        own.or_else(|| self.read().get(&index).cloned())
            .unwrap_or_else(|| format!("function {index}"))
    }

    /// Reads a file on a thread that serves calls: once, and only after a crash.
    fn read(&self) -> &HashMap<u32, String> {
        self.read
            .get_or_init(|| self.try_read().unwrap_or_default())
    }

    fn try_read(&self) -> Option<HashMap<u32, String>> {
        let path = self.file.as_ref()?;
        let length = std::fs::metadata(path).ok()?.len();
        let text = (length <= FILE_MAX).then(|| std::fs::read_to_string(path).ok())??;
        let (head, names) = text.split_once('\n')?;
        let digest = head.strip_prefix(NAMES_HEADER)?.trim();
        if digest != self.digest {
            tracing::debug!(path = %path.display(), "the names are of another build");
            return None;
        }
        let pair = |line: &str| {
            let (index, name) = line.split_once(' ')?;
            Some((index.parse().ok()?, name.to_owned()))
        };
        Some(names.lines().filter_map(pair).collect())
    }
}
