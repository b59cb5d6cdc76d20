//! Keys, counters and times to live that calls share: in the memory of the process, or in Redis.
//!
//! A [`Store`] knows bytes, numbers and times, never what they mean. In Redis every operation ends within
//! [`RedisSettings::socket_timeout`], and a [`Breaker`] answers at once while Redis does not.

mod account;
mod breaker;
mod error;
mod gate;
mod memory;
mod metrics;
mod redis;
mod reply;
mod settings;
mod store;

pub use account::{Balance, Draw, EXACT, Holder, Posting};
pub use breaker::Breaker;
pub use error::StateError;
pub use gate::{Bound, Exit, Gate, GateLevel, Pass, Passed};
pub use memory::{Clock, MEMORY_KEYS, Memory};
pub use metrics::StateMetrics;
pub use redis::{Observe, Observed, Redis, RedisParts};
pub use reply::Reply;
pub use settings::{AskPassword, Passwords, Place, RedisSettings, Secret, Tls};
pub use store::{Info, Level, Store, Take, Taken};
