//! How many tokens a call used, in one shape for all the ways upstreams report it.

use crate::json::Raw;

/// The usage of one call. Counts are tokens; a count that the upstream did not give is 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// The whole prompt, cached and cache-writing tokens included.
    pub prompt_tokens: u64,
    /// The whole completion, reasoning included.
    pub completion_tokens: u64,
    /// As reported, else prompt + completion.
    pub total_tokens: u64,
    /// Part of the prompt that was read from the provider's cache.
    pub cached_tokens: u64,
    /// Part of the prompt that was written to the provider's cache.
    pub cache_creation_tokens: u64,
    /// Part of the cache writes that live for an hour.
    pub cache_creation_1h_tokens: u64,
    /// Part of the completion that the model thought in.
    pub reasoning_tokens: u64,
    /// Part of the prompt that is audio.
    pub audio_input_tokens: u64,
    /// Part of the completion that is audio.
    pub audio_output_tokens: u64,
    /// Part of the prompt that is images.
    pub image_input_tokens: u64,
    /// Part of the completion that is images.
    pub image_output_tokens: u64,
    /// Part of the prompt that is video.
    pub video_input_tokens: u64,
    /// Part of the prompt that is text, where the upstream says so.
    pub text_input_tokens: Option<u64>,
    /// Part of the completion that is text, where the upstream says so.
    pub text_output_tokens: Option<u64>,
    /// Web searches that the model made, where the upstream counts them.
    pub web_searches: Option<u64>,
    /// The upstream's own object, as it wrote it.
    pub raw: Option<String>,
}

impl Usage {
    /// Usage of a known number of tokens.
    pub fn of(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        let total_tokens = prompt_tokens.saturating_add(completion_tokens);
        Usage {
            prompt_tokens,
            completion_tokens,
            total_tokens,
            ..Usage::default()
        }
    }

    /// Reads a `usage` object: OpenAI's names, the Responses API's, and Anthropic's, whose
    /// `input_tokens` leave the cached ones out. `None` unless it is an object with a count.
    pub fn from_json(raw: Raw<'_>) -> Option<Usage> {
        if raw.kind() != "object" {
            return None;
        }
        let mut usage = Usage::default();
        let (mut input, mut total) = (None, None);
        let (mut prompt, mut completion) = (None, None);
        let (mut cache_read, mut cache_write) = (None, None);
        for (key, value) in raw.entries() {
            match &*key {
                "prompt_tokens" => prompt = count(value),
                "input_tokens" => input = count(value),
                "completion_tokens" => completion = count(value),
                "output_tokens" => completion = completion.or(count(value)),
                "total_tokens" => total = count(value),
                "cache_read_input_tokens" => cache_read = count(value),
                "cache_creation_input_tokens" => cache_write = count(value),
                "prompt_cache_hit_tokens" => usage.cached_tokens = count(value).unwrap_or(0),
                "cache_creation" => usage.cache_lifetimes(value),
                "server_tool_use" => usage.searched(value, "web_search_requests"),
                "server_side_tool_usage_details" => usage.searched(value, "web_search_calls"),
                "prompt_tokens_details" | "input_tokens_details" => usage.input_details(value),
                "completion_tokens_details" | "output_tokens_details" => {
                    usage.output_details(value);
                }
                _ => {}
            }
        }
        if prompt.is_none() && input.is_none() && completion.is_none() && total.is_none() {
            return None;
        }
        usage.prompt_tokens = match (prompt, input) {
            (Some(all), _) => all,
            (None, Some(fresh)) => fresh + cache_read.unwrap_or(0) + cache_write.unwrap_or(0),
            (None, None) => 0,
        };
        usage.completion_tokens = completion.unwrap_or(0);
        usage.total_tokens = total.unwrap_or(usage.prompt_tokens + usage.completion_tokens);
        usage.cached_tokens = usage.cached_tokens.max(cache_read.unwrap_or(0));
        usage.cache_creation_tokens = usage.cache_creation_tokens.max(cache_write.unwrap_or(0));
        usage.raw = Some(raw.text().to_owned());
        Some(usage)
    }

    fn cache_lifetimes(&mut self, raw: Raw<'_>) {
        let one_hour = raw.get("ephemeral_1h_input_tokens").and_then(count);
        self.cache_creation_1h_tokens = one_hour.unwrap_or(self.cache_creation_1h_tokens);
    }

    fn searched(&mut self, raw: Raw<'_>, name: &str) {
        let searches = raw.get(name).and_then(count);
        self.web_searches = searches.or(self.web_searches);
    }

    fn input_details(&mut self, raw: Raw<'_>) {
        for (key, value) in raw.entries() {
            let Some(tokens) = count(value) else {
                if key == "cache_creation_token_details" {
                    self.cache_lifetimes(value);
                }
                continue;
            };
            match &*key {
                "cached_tokens" => self.cached_tokens = tokens,
                "cache_creation_tokens" | "cache_write_tokens" => {
                    self.cache_creation_tokens = tokens;
                }
                "audio_tokens" => self.audio_input_tokens = tokens,
                "image_tokens" => self.image_input_tokens = tokens,
                "video_tokens" => self.video_input_tokens = tokens,
                "text_tokens" => self.text_input_tokens = Some(tokens),
                "web_search_requests" => self.web_searches = Some(tokens),
                _ => {}
            }
        }
    }

    fn output_details(&mut self, raw: Raw<'_>) {
        for (key, value) in raw.entries() {
            let Some(tokens) = count(value) else { continue };
            match &*key {
                "reasoning_tokens" => self.reasoning_tokens = tokens,
                "audio_tokens" => self.audio_output_tokens = tokens,
                "image_tokens" => self.image_output_tokens = tokens,
                "text_tokens" => self.text_output_tokens = Some(tokens),
                _ => {}
            }
        }
    }
}

/// A token count; some upstreams write whole numbers as floats. Counts past what any model could
/// use are lies that would overflow sums, and count as absent.
fn count(raw: Raw<'_>) -> Option<u64> {
    const MOST: f64 = 1e12;
    let number = if raw.kind() == "number" {
        raw.as_f64()?
    } else {
        return None;
    };
    (0.0..=MOST).contains(&number).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(json: &str) -> Option<Usage> {
        Usage::from_json(Raw::new(json.as_bytes()))
    }

    #[test]
    fn openai_usage_with_details() {
        let u = usage(
            r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,
                "prompt_tokens_details":{"cached_tokens":60,"audio_tokens":5},
                "completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":null}}"#,
        )
        .unwrap();
        assert_eq!(
            (u.prompt_tokens, u.completion_tokens, u.total_tokens),
            (100, 50, 150)
        );
        assert_eq!(
            (u.cached_tokens, u.audio_input_tokens, u.reasoning_tokens),
            (60, 5, 20)
        );
        assert!(u.raw.unwrap().contains(r#""total_tokens":150"#));
    }

    #[test]
    fn anthropic_input_leaves_the_cache_out() {
        let u = usage(
            r#"{"input_tokens":10,"output_tokens":4,"cache_read_input_tokens":30,
                "cache_creation_input_tokens":20,
                "cache_creation":{"ephemeral_1h_input_tokens":5}}"#,
        )
        .unwrap();
        assert_eq!(
            (u.prompt_tokens, u.completion_tokens, u.total_tokens),
            (60, 4, 64)
        );
        assert_eq!((u.cached_tokens, u.cache_creation_tokens), (30, 20));
        assert_eq!(u.cache_creation_1h_tokens, 5);
    }

    #[test]
    fn what_is_not_usage_is_none() {
        for json in [
            "null",
            "{}",
            "[]",
            r#"{"prompt_tokens":null}"#,
            r#"{"total_tokens":-1}"#,
        ] {
            assert_eq!(usage(json), None, "{json}");
        }
        assert_eq!(usage(r#"{"prompt_tokens":7.0}"#).unwrap().prompt_tokens, 7);
        assert_eq!(
            usage(r#"{"prompt_tokens":1e300,"total_tokens":1}"#)
                .unwrap()
                .prompt_tokens,
            0
        );
    }
}
