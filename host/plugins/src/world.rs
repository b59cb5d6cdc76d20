//! What stands in for the world around a plugin when it is tested or replayed: network, time, randomness, files.
//!
//! Settings, grants, egress policy and limits are not part of it: they hold as ever.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

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

/// The clocks and the generator of WASI, from a scripted world.
pub(crate) struct OfWorld(pub(crate) Arc<dyn World>);

impl wasmtime_wasi::HostWallClock for OfWorld {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.0.now_ms())
    }
}

impl wasmtime_wasi::HostMonotonicClock for OfWorld {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        self.0.monotonic_ns()
    }
}

impl rand::rand_core::TryRng for OfWorld {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill_random(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill_random(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill_random(bytes);
        Ok(())
    }
}

impl fmt::Debug for dyn World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}
