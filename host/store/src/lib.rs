//! Relational data: SQLite and PostgreSQL, LiteLLM's own tables and columns.
//!
//! Reading order: [`store`] opens the database and migrates it, [`schema`] says what its tables hold, [`rows`] reads and
//! writes them; [`spend`] is one row per settled request, with what it adds to the totals, [`writer`] writes those behind
//! the requests by group commit; [`users`] is what signing in needs; [`metrics`] counts.
//!
//! No request waits for this crate: [`SpendWriter::record`] only queues. What was committed survives
//! the death of the process; what was recorded is committed within
//! [`SpendOptions::commit_interval`](writer::SpendOptions::commit_interval).

pub mod answers;
mod database;
pub mod metrics;
mod migrations;
mod passwords;
pub mod rows;
pub mod schema;
pub mod spend;
pub mod store;
pub mod users;
pub mod writer;

pub use answers::{AnswerError, AnswerFile, AnswerRow};
pub use metrics::StoreMetrics;
pub use passwords::{Login, Passwords};
pub use rows::{Filter, Is, Row, Select, Sums, Write, WriteError, time_text};
pub use spend::{PROXY_USER, SpendFilter, SpendRow, SpendWindow, WINDOWS};
pub use store::{Durability, OpenError, Store, StoreError, StoreOptions};
pub use users::UserRow;
pub use writer::{
    Asked, Elsewhere, HandOver, Now, Observe, SendRows, SpendOptions, SpendWriter, SpoolOptions,
    WriterEnded, WriterParts,
};
