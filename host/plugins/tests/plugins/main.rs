//! The host with real components: those that ship, those that attack, and some that do not fit.
//!
//! One binary, because each one that links wasmtime is large; one host, as in the gateway.

mod bounds;
mod breaker;
mod capabilities;
mod kinds;
mod loading;
mod streams;
mod support;
