//! The host with real components: those that ship, those that attack, and some that do not fit.
//!
//! One binary, because each one that links wasmtime is large; one host, as in the gateway.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

mod bounds;
mod breaker;
mod capabilities;
mod kinds;
mod loading;
mod released;
mod streams;
mod support;
