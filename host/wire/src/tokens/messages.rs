//! What a chat message costs beyond its text.

use super::{Counting, Tokenizer};
use crate::json::Raw;

/// Every reply is primed with `<|start|>assistant<|message|>`.
pub(super) const REPLY_PRIMER: u64 = 3;
/// The frame around each message.
pub(super) const PER_MESSAGE: u64 = 3;
/// A `name` costs one more than its text.
const PER_NAME: u64 = 1;

impl Tokenizer {
    pub(super) fn count_message(self, message: Raw<'_>, counting: &Counting) -> u64 {
        let mut count = PER_MESSAGE;
        for (key, value) in message.entries() {
            match (&*key, value.kind()) {
                (_, "string") => {
                    count += value.as_str().map_or(0, |text| self.count_text(&text));
                    count += if key == "name" { PER_NAME } else { 0 };
                }
                ("content", "array") => {
                    count += value
                        .elements()
                        .map(|part| self.count_part(part, counting))
                        .sum::<u64>();
                }
                ("tool_calls", "array") => {
                    let calls = value.elements().filter_map(|call| call.get("function"));
                    count += calls.map(|f| self.count_arguments(f)).sum::<u64>();
                }
                ("function_call", "object") => count += self.count_arguments(value),
                _ => {}
            }
        }
        count
    }

    fn count_arguments(self, function: Raw<'_>) -> u64 {
        let arguments = function.get("arguments").and_then(Raw::as_str);
        arguments.map_or(0, |text| self.count_text(&text))
    }

    fn count_part(self, part: Raw<'_>, counting: &Counting) -> u64 {
        if let Some(text) = part.as_str().or_else(|| part.get("text")?.as_str()) {
            return self.count_text(&text);
        }
        let image = part.get("image_url");
        image.map_or(0, |image| counting.image_tokens(image))
    }
}
