//! JSON as the caller wrote it: validated and indexed in one pass, edited in place.
//!
//! A gateway that parses a body into a tree and writes the tree back changes what it never meant
//! to touch: integers past 2^53, duplicate keys, escapes, the order of fields. So nothing here
//! builds a tree. [`Object::scan`] checks the whole document and remembers where the top-level
//! members lie; [`Edits`] say what must change; every other byte is copied from the original.
//!
//! ```
//! use witgate_wire::json::{Edits, Object};
//! let body = bytes::Bytes::from_static(br#"{ "model":"a", "big":12345678901234567890 }"#);
//! let mut edits = Edits::new();
//! edits.set_string("model", "b");
//! let edited = Object::scan(&body).unwrap().apply(&edits).unwrap();
//! assert_eq!(edited, &br#"{ "model":"b", "big":12345678901234567890 }"#[..]);
//! ```

mod canonical;
mod edits;
mod object;
mod raw;
mod scanner;
#[cfg(test)]
mod tests;
mod text;
mod tree;

pub use canonical::{canonical, canonical_but};
pub use edits::{EditError, Edits};
pub use object::{Object, ScanError};
pub use raw::Raw;
pub use scanner::{MAX_DEPTH, SyntaxError};
pub use text::{quote, quote_into, unquote};
pub use tree::{Tree, without_repeats};

pub(crate) use edits::Splice;
pub(crate) use scanner::{Item, Items, span};
