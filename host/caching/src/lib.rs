//! Answers that are kept: which, under which key, for how long and for whom.
//!
//! The rules are pure functions ([`Settings`], [`Controls`], [`key`]); a [`Backend`] keeps the entries, and
//! [`AnswerCache`] is both with the calls that wait for one another's answer. The time is the caller's.

mod backend;
mod cache;
mod controls;
mod entry;
mod flight;
mod key;
mod memory;
mod replay;
mod settings;

pub use backend::Backend;
pub use cache::AnswerCache;
pub use controls::Controls;
pub use entry::Entry;
pub use flight::{Follow, Join, Lead};
pub use key::{is_cacheable, key};
pub use memory::{Memory, MemoryLimits};
pub use replay::frames;
pub use settings::{Mode, Plan, Scope, Settings};
