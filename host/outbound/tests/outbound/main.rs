//! The client against real sockets: servers that behave, and servers that do not.

mod egress;
mod fake;
mod http1;
mod http2_and_tls;
mod limits;
mod redirect;
