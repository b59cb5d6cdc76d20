//! What stands in for the world around a plugin when it is tested or replayed: network, time, randomness, files.
//!
//! Settings, grants, egress policy and limits are not part of it: they hold as ever.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rand::Rng as _;
use serde_json::Value;
use witgate_outbound::{Mail, MailError, MailServer};

use crate::record::{Find, Tape};

use crate::{ModelAnswer, NoModelAnswer};

/// The world around one plugin. One that is absent from a [`PluginSpec`](crate::PluginSpec) is the real one.
pub trait World: Send + Sync {
    /// One HTTP exchange, which the policy has allowed already. Secrets are in their headers.
    ///
    /// # Errors
    /// Why there is no response.
    fn exchange(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, NoAnswer>;

    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> u64;

    /// Nanoseconds of a clock that never goes back.
    fn monotonic_ns(&self) -> u64;

    /// Fills the bytes with randomness.
    fn fill_random(&self, bytes: &mut [u8]);

    /// Bytes for a granted file.
    ///
    /// # Errors
    /// What the plugin is told in place of success.
    fn append(&self, file: &str, data: &[u8]) -> Result<(), String>;

    /// A change of a metric under an exact name: its labels, and by or to how much.
    fn sample(&self, name: &str, labels: &[(String, String)], value: f64);

    /// A call of a model, which the grants have allowed already: OpenAI's request, JSON.
    ///
    /// # Errors
    /// Why there is no answer.
    fn chat(&self, request: &str) -> Result<ModelAnswer, NoModelAnswer>;

    /// A message, which the policy has allowed already. Its password is the real one.
    ///
    /// # Errors
    /// Why it was not taken.
    fn mail(&self, server: &MailServer, mail: &Mail) -> Result<(), MailError>;

    /// A line of the plugin's log, secrets masked.
    fn log(&self, level: &'static str, line: &str);
}

/// In the extensions of a request that would go out with a client certificate.
#[derive(Debug, Clone, Copy)]
pub struct ShownCertificate;

/// Why an exchange has no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoAnswer {
    /// Nothing came in time.
    Timeout,
    /// The connection failed, and how.
    Connection(String),
}

/// The world of a [`PluginSpec`](crate::PluginSpec).
pub(crate) type Scripted = Option<Arc<dyn World>>;

/// Time and randomness as one instance meets them: real or a world's, and on its tape when it is recorded.
#[derive(Clone)]
pub(crate) struct Senses {
    pub(crate) world: Scripted,
    pub(crate) tape: Option<Arc<Tape>>,
}

impl Senses {
    /// Whether they are the plain ones, which nobody needs to be asked for.
    pub(crate) fn are_plain(&self) -> bool {
        self.world.is_none() && self.tape.is_none()
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub(crate) fn now_ms(&self) -> u64 {
        self.taped("clock.now-ms", || match &self.world {
            Some(world) => world.now_ms(),
            None => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
            }
        })
    }

    /// Nanoseconds of a clock that never goes back.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        // From the first use on: a plugin need not learn how long the machine runs.
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.taped("clock.monotonic-ns", || match &self.world {
            Some(world) => world.monotonic_ns(),
            None => u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX),
        })
    }

    /// Fills the bytes with randomness.
    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        let real = |bytes: &mut [u8]| match &self.world {
            Some(world) => world.fill_random(bytes),
            None => rand::rng().fill_bytes(bytes),
        };
        let Some(tape) = &self.tape else {
            return real(bytes);
        };
        let count = bytes.len();
        let drawn = tape.import("random.bytes", Find::Same, count.into(), || {
            real(bytes);
            hex::encode(&*bytes)
        });
        if let Ok(drawn) = hex::decode(drawn)
            && drawn.len() == count
        {
            bytes.copy_from_slice(&drawn);
        }
    }

    fn taped(&self, import: &'static str, real: impl FnOnce() -> u64) -> u64 {
        match &self.tape {
            Some(tape) => tape.import(import, Find::Next, Value::Null, real),
            None => real(),
        }
    }
}

impl wasmtime_wasi::HostWallClock for Senses {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
}

impl wasmtime_wasi::HostMonotonicClock for Senses {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.monotonic_ns()
    }
}

impl rand::rand_core::TryRng for Senses {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.fill_random(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.fill_random(bytes);
        Ok(())
    }
}

impl fmt::Debug for dyn World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}
