//! The last lines of one plugin's log, kept for whoever asks: bounded by number and bytes.
//!
//! It belongs to the plugin's name, not to the component of now: what the component before it wrote, and
//! what a new one said while it failed to load, is still there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// Lines kept.
const LINES_MAX: usize = 1_000;
/// Bytes of their texts; one line has 8 KiB at most.
const BYTES_MAX: usize = 256 << 10;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogSource {
    /// The plugin, through the log interface.
    Log,
    /// The plugin, on its standard output.
    Stdout,
    /// The plugin, on its standard error.
    Stderr,
    /// The host, about the plugin: traps, panics, timeouts, loads.
    Host,
}

/// One line of a plugin's log, its secrets masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// Counts from 1; a gap means that lines in between are no longer kept.
    pub number: u64,
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub at_ms: u64,
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// Who wrote it.
    pub source: LogSource,
    /// The line.
    pub text: Arc<str>,
}

/// The lines, and a way to wait for more.
pub(crate) struct Ring {
    lines: Mutex<Lines>,
    written: watch::Sender<u64>,
}

#[derive(Default)]
struct Lines {
    kept: VecDeque<LogLine>,
    bytes: usize,
    last: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            lines: Mutex::default(),
            written: watch::Sender::new(0),
        }
    }
}

impl Ring {
    pub(crate) fn push(&self, source: LogSource, level: &'static str, text: String) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at_ms = since.map_or(0, |since| since.as_millis() as u64);
        let mut lines = self.lines.lock();
        lines.last += 1;
        lines.bytes += text.len();
        let line = LogLine {
            number: lines.last,
            at_ms,
            level,
            source,
            text: text.into(),
        };
        lines.kept.push_back(line);
        while lines.kept.len() > LINES_MAX || lines.bytes > BYTES_MAX {
            let gone = lines.kept.pop_front();
            lines.bytes -= gone.map_or(0, |line| line.text.len());
        }
        let last = lines.last;
        drop(lines);
        self.written.send_replace(last);
    }

    /// The newest lines behind this number, oldest first.
    pub(crate) fn after(&self, number: u64, limit: usize) -> Vec<LogLine> {
        let lines = self.lines.lock();
        let newer = lines.kept.iter().rev();
        let mut newer: Vec<LogLine> = newer
            .take_while(|line| line.number > number)
            .take(limit)
            .cloned()
            .collect();
        newer.reverse();
        newer
    }

    /// Sees the number of each new line; closed when the plugin is gone.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_ref()).collect()
    }

    #[test]
    fn the_newest_lines_are_kept_within_their_bounds() {
        let ring = Ring::default();
        for n in 1..=LINES_MAX + 5 {
            ring.push(LogSource::Log, "info", n.to_string());
        }
        assert_eq!(texts(&ring.after(0, 2)), ["1004", "1005"]);
        let all = ring.after(0, usize::MAX);
        assert_eq!((all.len(), all[0].number), (LINES_MAX, 6));
        assert_eq!(texts(&ring.after(1003, usize::MAX)), ["1004", "1005"]);
        let long = "x".repeat(BYTES_MAX / 2);
        for _ in 0..3 {
            ring.push(LogSource::Host, "warn", long.clone());
        }
        assert_eq!(ring.after(0, usize::MAX).len(), 2, "bounded in bytes, too");
    }

    #[tokio::test]
    async fn a_follower_is_woken_and_learns_of_the_end() {
        let ring = Ring::default();
        let mut written = ring.written();
        ring.push(LogSource::Log, "info", "one".to_owned());
        written.changed().await.unwrap();
        assert_eq!(*written.borrow_and_update(), 1);
        drop(ring);
        assert!(written.changed().await.is_err());
    }
}
