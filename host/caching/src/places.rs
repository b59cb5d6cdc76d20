//! Places for entries behind HTTP: the object stores of the clouds, and Qdrant.

mod azure;
mod gcs;
mod http;
mod objects;
mod qdrant;
mod s3;
mod tokens;

pub use azure::{AzureBlob, AzureLogin};
pub use gcs::Gcs;
pub use http::Http;
pub use objects::{Bucket, Objects};
pub use qdrant::{Layout, Qdrant};
pub use s3::S3;
