//! The listener: HTTP/1.1, h2, TLS, limits, routes, drain.
//!
//! [`Server::bind`] opens the port, [`Bound::serve`] runs until it is told to stop. What a request
//! means is the business of the [`Service`] it is given; this crate turns bytes into requests and
//! responses into bytes, and sees to it that no client can hold on to more than its share.
//!
//! Read in this order: `options` (what can be set), `listener` (accepting and draining),
//! `workers` (the threads that serve), `connection` (one connection from first to last byte), `service` (one request), `request_body`
//! and `response_body` (what passes through), `metrics`.

mod activity;
mod connection;
mod io;
mod listener;
mod metrics;
mod options;
mod request_body;
mod response_body;
pub mod routes;
mod service;
mod tls;
mod workers;

pub use listener::{Bound, Drained, Server};
pub use metrics::{METRICS_CONTENT_TYPE, ServerMetrics, encode_metrics};
pub use options::{BindError, Limits, ServerOptions, TlsFiles};
pub use request_body::{BodyError, ReqBody};
pub use response_body::{BoxError, RespBody};
pub use service::{Request, Response, Service};
pub use workers::Workers;
