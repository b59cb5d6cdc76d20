//! What a chat message costs beyond its text.

use super::Tokenizer;
use crate::json::Raw;

/// Every reply is primed with `<|start|>assistant<|message|>`.
pub(super) const REPLY_PRIMER: u64 = 3;
/// The frame around each message.
pub(super) const PER_MESSAGE: u64 = 3;
/// A `name` costs one more than its text.
const PER_NAME: u64 = 1;
/// An image at low or automatic detail, and the base of one at high detail.
const IMAGE_BASE: u64 = 85;
/// One tile of an image at high detail.
const IMAGE_TILE: u64 = 170;

impl Tokenizer {
    pub(super) fn count_message(self, message: Raw<'_>) -> u64 {
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
                        .map(|part| self.count_part(part))
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

    fn count_part(self, part: Raw<'_>) -> u64 {
        if let Some(text) = part.as_str().or_else(|| part.get("text")?.as_str()) {
            return self.count_text(&text);
        }
        part.get("image_url").map_or(0, image_tokens)
    }
}

/// An image's tokens. Its size is not known without fetching or decoding it: at high detail it
/// counts as one tile, which is LiteLLM's assumption (300 × 300) too.
fn image_tokens(image: Raw<'_>) -> u64 {
    let detail = image.get("detail").and_then(Raw::as_str);
    let is_high = detail.is_some_and(|d| d == "high");
    IMAGE_BASE + if is_high { IMAGE_TILE } else { 0 }
}
