//! Places for entries behind HTTP: the object stores of the clouds.

mod azure;
mod gcs;
pub(crate) mod http;
mod objects;
mod s3;
mod tokens;

pub use azure::{AzureBlob, AzureLogin};
pub use gcs::Gcs;
pub use http::Http;
pub use objects::{Bucket, Objects};
pub use s3::S3;
