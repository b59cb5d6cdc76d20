//! The log lines of one plugin: under its name, bounded, without its secrets.

mod ring;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zeroize::Zeroizing;

pub(crate) use ring::Ring;
pub use ring::{LogLine, LogSource};

use crate::world::Scripted;

/// Bytes of a line with its fields; the rest is cut.
const LINE_MAX: usize = 8 << 10;
/// Lines per second on average, and in a burst.
const LINES_PER_SECOND: f64 = 100.0;
/// Secrets shorter than this would mask half of every text.
const SECRET_MIN: usize = 4;
const MASK: &str = "[secret]";

/// Writes the lines of one plugin.
pub(crate) struct Log {
    plugin: Arc<str>,
    secrets: Vec<Arc<Zeroizing<String>>>,
    bucket: Mutex<Bucket>,
    world: Scripted,
    /// The last lines, for whoever asks.
    ring: Arc<Ring>,
}

/// Importance of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    /// The level's name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

struct Bucket {
    lines: f64,
    at: Instant,
    dropped: u64,
}

impl Log {
    pub(crate) fn new(
        plugin: Arc<str>,
        secrets: Vec<Arc<Zeroizing<String>>>,
        world: Scripted,
        ring: Arc<Ring>,
    ) -> Self {
        let mut secrets: Vec<_> = secrets
            .into_iter()
            .filter(|secret| secret.len() >= SECRET_MIN)
            .collect();
        // A secret that contains another is masked as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self {
            plugin,
            secrets,
            bucket: Mutex::new(Bucket {
                lines: LINES_PER_SECOND,
                at: Instant::now(),
                dropped: 0,
            }),
            world,
            ring,
        }
    }

    /// Writes a line. False when the plugin is over its rate and the line was dropped.
    pub(crate) fn write(
        &self,
        source: LogSource,
        level: Level,
        message: &str,
        fields: &[(String, String)],
    ) -> bool {
        let Some(dropped) = self.bucket.lock().take(Instant::now()) else {
            return false;
        };
        let plugin = self.plugin.as_ref();
        if dropped > 0 {
            tracing::warn!(
                plugin,
                dropped,
                "log lines of the plugin were dropped: over {LINES_PER_SECOND} per second"
            );
        }
        let line = self.line(message, fields);
        if let Some(world) = &self.world {
            world.log(level.as_str(), &line);
            return true;
        }
        self.ring.push(source, level.as_str(), line.clone());
        match level {
            Level::Trace => tracing::trace!(plugin, "{line}"),
            Level::Debug => tracing::debug!(plugin, "{line}"),
            Level::Info => tracing::info!(plugin, "{line}"),
            Level::Warn => tracing::warn!(plugin, "{line}"),
            Level::Error => tracing::error!(plugin, "{line}"),
        }
        true
    }

    /// Notes for whoever asks for the plugin's log what the host saw of it. The process's own log is told
    /// by who handles it.
    pub(crate) fn note(&self, level: Level, text: &str) {
        if self.bucket.lock().take(Instant::now()).is_some() {
            self.ring
                .push(LogSource::Host, level.as_str(), self.clean(text));
        }
    }

    /// The text without the plugin's secrets and control characters, cut.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = Cow::Borrowed(text);
        for secret in &self.secrets {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), MASK));
            }
        }
        let end = text.floor_char_boundary(LINE_MAX);
        let mut clean = String::with_capacity(end);
        for c in text[..end].chars() {
            match c {
                // A plugin must not forge lines of its own or move the terminal's cursor.
                '\n' | '\t' => clean.push(' '),
                c if c.is_control() => clean.push('\u{fffd}'),
                c => clean.push(c),
            }
        }
        if end < text.len() {
            clean.push('…');
        }
        clean
    }

    fn line(&self, message: &str, fields: &[(String, String)]) -> String {
        let mut line = message.to_owned();
        for (name, value) in fields {
            if line.len() > LINE_MAX {
                break;
            }
            // Writing to a String does not fail.
            let _ = write!(line, " {name}={value}");
        }
        self.clean(&line)
    }
}

impl Bucket {
    /// Takes one line's worth; how many were dropped before it, or `None` when empty.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed: Duration = now.saturating_duration_since(self.at);
        self.at = now;
        self.lines = (self.lines + passed.as_secs_f64() * LINES_PER_SECOND).min(LINES_PER_SECOND);
        if self.lines < 1.0 {
            self.dropped += 1;
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.dropped))
    }
}
