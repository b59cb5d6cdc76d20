//! Counting tokens where the upstream does not say: estimates before a call, and the usage of a
//! stream that ended early.
//!
//! Two vocabularies, OpenAI's; other families are estimated with the older one, as LiteLLM does
//! when it may not download. A vocabulary is unpacked at its first use (some 30 ms and 20 MB): a
//! gateway whose upstreams report usage never pays for one.

mod counting;
mod estimate;
mod messages;
#[cfg(test)]
mod tests;
mod tools;

use crate::json::Raw;
use crate::request::Endpoint;

pub use counting::Counting;
pub use estimate::estimate;

/// The vocabulary by which a model's tokens are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokenizer {
    /// GPT-4o, 4.1, 5 and the o-series.
    O200k,
    /// GPT-3.5, GPT-4, the embeddings, and every model that is not OpenAI's.
    Cl100k,
}

impl Tokenizer {
    /// The tokenizer of a model, with or without its provider's prefix.
    pub fn for_model(model: &str) -> Tokenizer {
        let name = model.rsplit('/').next().unwrap_or(model);
        let name = name.strip_prefix("ft:").unwrap_or(name);
        let of_table = O200K.iter().any(|known| {
            let rest = name.strip_prefix(known);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', ':', '.']))
        });
        if of_table || name.contains("gpt-4o") {
            Tokenizer::O200k
        } else {
            Tokenizer::Cl100k
        }
    }

    /// Tokens of a text. Special tokens written out in it count as ordinary text.
    pub fn count_text(self, text: &str) -> u64 {
        let vocabulary = match self {
            Tokenizer::O200k => bpe_openai::o200k_base(),
            Tokenizer::Cl100k => bpe_openai::cl100k_base(),
        };
        vocabulary.count(text) as u64
    }

    /// As much of a text, from its beginning, as has at most `most` tokens.
    pub fn cut(self, text: String, most: u64) -> String {
        let vocabulary = match self {
            Tokenizer::O200k => bpe_openai::o200k_base(),
            Tokenizer::Cl100k => bpe_openai::cl100k_base(),
        };
        let mut tokens = vocabulary.encode(&text);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if tokens.len() <= most {
            return text;
        }
        tokens.truncate(most);
        // A token may end within a character: then the last ones are left out, too.
        while !tokens.is_empty() {
            if let Some(kept) = vocabulary.decode(&tokens) {
                return kept;
            }
            tokens.pop();
        }
        String::new()
    }

    /// Tokens of a request's prompt, for a body that is valid JSON: a chat's messages and tools
    /// with LiteLLM's overheads, a completion's prompts, an embedding's inputs.
    pub fn count_request(self, endpoint: Endpoint, body: &[u8], counting: &Counting) -> u64 {
        let Ok(span) = crate::json::span(body) else {
            return 0;
        };
        let body = Raw::new(&body[span]);
        match endpoint {
            Endpoint::ChatCompletions => self.count_chat(body, counting),
            _ => {
                let prompt = body.get(endpoint.required_field());
                prompt.map_or(0, |prompt| self.count_prompt(prompt))
            }
        }
    }

    /// Tokens of a chat's `messages` array alone, reply primer included.
    pub fn count_messages(self, messages: Raw<'_>, counting: &Counting) -> u64 {
        messages::REPLY_PRIMER
            + messages
                .elements()
                .map(|m| self.count_message(m, counting))
                .sum::<u64>()
    }

    fn count_chat(self, body: Raw<'_>, counting: &Counting) -> u64 {
        let messages = body.get("messages");
        let has_system = messages.into_iter().flat_map(Raw::elements).any(|m| {
            m.get("role")
                .and_then(Raw::as_str)
                .is_some_and(|role| role == "system")
        });
        let count = messages.map_or(messages::REPLY_PRIMER, |m| self.count_messages(m, counting));
        let count = count + self.count_tools(body, counting);
        match has_system && tools::are_there(body) {
            true => count.saturating_sub(counting.system_discount),
            false => count,
        }
    }

    /// A text, a list of texts, or token ids, one or several lists of them.
    fn count_prompt(self, prompt: Raw<'_>) -> u64 {
        match prompt.kind() {
            "string" => prompt.as_str().map_or(0, |text| self.count_text(&text)),
            "array" => prompt
                .elements()
                .map(|element| self.count_prompt(element))
                .sum(),
            "number" => 1,
            // A part with a text, of a moderation's input.
            "object" => prompt.get("text").map_or(0, |text| self.count_prompt(text)),
            _ => 0,
        }
    }
}

/// Names, or first parts of names, whose vocabulary is `o200k_base`.
const O200K: [&str; 10] = [
    "o1",
    "o3",
    "o4-mini",
    "gpt-5",
    "gpt-4.5",
    "gpt-4.1",
    "gpt-4o",
    "chatgpt-4o",
    "gpt-oss",
    "codex-mini",
];
