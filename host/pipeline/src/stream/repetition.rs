//! Streams that say the same over and over: the model is in a loop, which would be paid for until something ends it.

use witgate_wire::stream::{ChunkView, TextKind};

/// Texts that are this short repeat by themselves, such as lines of a table.
const SHORT: usize = 2;

/// What a stream said last, and how often. As LiteLLM has it (`raise_on_model_repetition`).
#[derive(Debug, Default)]
pub(super) struct Repetition {
    last: String,
    times: u32,
}

impl Repetition {
    /// Whether the first choice's text has come so often in a row. `most` 0: never.
    pub(super) fn is_loop(&mut self, chunk: &ChunkView, most: u32) -> bool {
        let Some(choice) = chunk.choices().first().filter(|_| most > 0) else {
            return false;
        };
        let piece = choice.texts().find(|piece| piece.kind == TextKind::Content);
        let text = piece.map(|piece| chunk.text(&piece)).unwrap_or_default();
        if text.chars().nth(SHORT).is_none() {
            self.times = 0;
            return false;
        }
        if self.times == 0 || text != self.last {
            self.times = 0;
            self.last.clear();
            self.last.push_str(&text);
        }
        self.times += 1;
        self.times >= most
    }

    /// What is said.
    pub(super) fn text(&self) -> &str {
        &self.last
    }
}
