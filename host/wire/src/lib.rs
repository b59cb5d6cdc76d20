//! The API's bytes: requests edited in place, server-sent events, token counts, prices.
//!
//! Everything here is a pure function of bytes: no sockets, no files, no clock. A request's or a
//! chunk's bytes are never re-serialised through a type; they are indexed and spliced, so that
//! what the gateway does not understand reaches the other side exactly as it was sent.

pub mod errors;
pub mod framing;
pub mod json;
pub mod json_schema;
pub mod prices;
pub mod request;
pub mod response;
pub mod sse;
pub mod stream;
pub mod texts;
pub mod tokens;
pub mod usage;
pub mod vector;

pub use json::{EditError, Edits, Object, Raw};
pub use request::{Endpoint, Forward, RequestError, RequestView};
