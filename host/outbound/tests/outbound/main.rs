//! The client against real sockets: servers that behave, and servers that do not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

mod egress;
mod fake;
mod http1;
mod http2_and_tls;
mod limits;
mod redirect;
