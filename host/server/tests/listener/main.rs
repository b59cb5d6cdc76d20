//! The listener over real sockets: good clients, bad clients, and clients that leave.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking, their helpers too"
)]

mod bodies;
mod drain;
mod harness;
mod hostile;
mod leaving;
mod protocols;
