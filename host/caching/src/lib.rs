//! Answers that are kept: which, under which key, for how long and for whom.
//!
//! The rules are pure functions ([`Settings`], [`Controls`], [`key`]); a [`Backend`] keeps the entries, and
//! [`AnswerCache`] is both with the calls that wait for one another's answer. The time is the caller's.

mod backend;
mod cache;
mod controls;
mod entry;
mod flight;
mod items;
mod key;
mod memo;
mod memory;
mod metrics;
mod outside;
mod places;
mod replay;
mod semantic;
mod settings;
mod vectors;

pub use backend::{Backend, Meaning, Near, Trouble, Write};
pub use cache::{AnswerCache, Meant};
pub use controls::Controls;
pub use entry::Entry;
pub use flight::{Follow, Join, Lead};
pub use items::{Items, Joined, inputs, item_keys};
pub use key::{is_cacheable, key};
pub use memo::Asked;
pub use memory::{Memory, MemoryLimits};
pub use metrics::{CacheLabels, CacheMetrics};
pub use outside::{Manners, NowMs, Outside, Place};
pub use places::{AzureBlob, AzureLogin, Bucket, Gcs, Http, Objects, S3};
pub use replay::frames;
pub use semantic::{Question, question};
pub use settings::{Mode, Plan, Scope, Settings};
pub use vectors::{Embedded, Found, Layout, Point, Qdrant, VectorIndex, Vectors, tag};
