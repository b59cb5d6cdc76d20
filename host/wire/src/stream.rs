//! One chunk of a streamed chat or text completion, and the fold of all chunks of a stream.
//!
//! [`ChunkView`] indexes a chunk without building a tree, and [`ChunkView::rewrite`] splices the
//! few changes that a chunk needs on its way to the client. [`StreamAssembler`] keeps what the log
//! event wants to know: the usage, and the response as if it had not been streamed.

mod assemble;
mod chunk;
#[cfg(test)]
mod tests;

pub use assemble::{Assembled, DEFAULT_ASSEMBLED_MAX_BYTES, StreamAssembler};
pub use chunk::{ChoiceView, ChunkRewrite, ChunkText, ChunkView, TextKind, ToolCallView};
