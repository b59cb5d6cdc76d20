//! Error bodies: written in the client's dialect, read from an upstream's.
//!
//! Which status, type and text a failure gets is the pipeline's table; here is only the shape.

mod mask;
#[cfg(test)]
mod tests;
mod upstream;
mod write;

pub use mask::mask_keys;
pub use upstream::{UPSTREAM_MESSAGE_MAX_CHARS, UpstreamError};
pub use write::{CompatErrors, ErrorBody, detail, detail_error};
