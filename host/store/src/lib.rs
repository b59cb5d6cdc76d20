//! Relational data: SQLite, LiteLLM's own tables and columns.
//!
//! Reading order: [`store`] opens the database and migrates it, [`spend`] is one row per settled
//! request and the queries over them, [`keys`] the virtual keys, [`users`] the table of users, [`writer`] writes those rows behind the requests by group
//! commit, [`metrics`] counts.
//!
//! No request waits for this crate: [`SpendWriter::record`] only queues. What was committed survives
//! the death of the process; what was recorded is committed within
//! [`SpendOptions::commit_interval`](writer::SpendOptions::commit_interval).

pub mod answers;
mod keys;
pub mod metrics;
mod migrations;
pub mod spend;
pub mod store;
pub mod users;
pub mod writer;

pub use answers::{AnswerError, AnswerFile, AnswerRow};
pub use keys::{KeyError, KeyFilter, KeyRow};
pub use metrics::StoreMetrics;
pub use spend::{SpendFilter, SpendRow};
pub use store::{Durability, OpenError, Store, StoreError, StoreOptions};
pub use users::UserRow;
pub use writer::{Now, SpendOptions, SpendWriter, WriterEnded, WriterParts};
