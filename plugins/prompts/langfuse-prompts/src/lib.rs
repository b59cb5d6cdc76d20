//! Prompts kept in Langfuse: fetched by name, label or version, filled in with the request's variables.
//!
//! A prompt is kept for a while, and longer for the case that Langfuse cannot be reached: a prompt that was good a minute ago
//! is better than no answer.

pub mod cached;
pub mod template;
pub mod url;

use serde::Deserialize;
use witgate_plugin::prompt_manager::{Call, Prompt, PromptManager};
use witgate_plugin::secrets::Secret;
use witgate_plugin::{Error, clock, http, secrets, warn};

use cached::Cached;
use template::Template;

/// The settings, by LiteLLM's names.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    langfuse_public_key: String,
    langfuse_host: String,
    cache_ttl_seconds: f64,
    client_messages: ClientMessages,
}

/// What becomes of the client's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientMessages {
    /// They follow the prompt's.
    Append,
    /// They are dropped.
    Ignore,
}

/// The prompt manager.
pub struct Langfuse {
    settings: Settings,
    base: String,
    ttl_ms: u64,
}

/// What Langfuse said about a prompt.
enum Fetched {
    /// As it came, and read.
    There(String, Template),
    NotThere,
    /// It is in trouble, and how.
    Trouble(String),
}

impl PromptManager for Langfuse {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        if !(0.0..=86_400.0).contains(&settings.cache_ttl_seconds) {
            return Err(Error::settings(
                "`cache_ttl_seconds` must be from 0 to 86400, a day",
            ));
        }
        if secret()?.is_none() {
            return Err(Error::settings(
                "`langfuse_secret_key` is missing; set it, or LANGFUSE_SECRET_KEY",
            ));
        }
        Ok(Self {
            base: url::base(&settings.langfuse_host),
            ttl_ms: (settings.cache_ttl_seconds * 1000.0) as u64,
            settings,
        })
    }

    fn get_chat_completion_prompt(&self, call: &Call) -> Result<Option<Prompt>, Error> {
        let Some(url) = url::prompt(
            &self.base,
            &call.prompt_id,
            call.prompt_version.as_deref(),
            call.prompt_label.as_deref(),
        ) else {
            return Ok(None);
        };
        let key = cached::key(&url);
        let kept = Cached::get(&key);
        let now_ms = clock::now_ms();
        let template = match kept {
            Some(kept) if kept.is_fresh(now_ms, self.ttl_ms) => Template::read(&kept.body)?,
            kept => match (self.fetch(&url)?, kept) {
                (Fetched::There(body, template), _) => {
                    Cached::put(&key, now_ms, &body);
                    template
                }
                (Fetched::NotThere, _) => return Ok(None),
                (Fetched::Trouble(why), Some(kept)) => {
                    warn!("langfuse gives no prompt, the kept one is used"; "prompt" = &call.prompt_id, "reason" = why);
                    Template::read(&kept.body)?
                }
                (Fetched::Trouble(why), None) => return Err(Error::unavailable(why)),
            },
        };
        let append = self.settings.client_messages == ClientMessages::Append;
        template
            .fill(&call.prompt_variables, append.then_some(&call.messages))
            .map(Some)
    }
}

impl Langfuse {
    fn fetch(&self, url: &str) -> Result<Fetched, Error> {
        let Some(secret) = secret()? else {
            return Err(Error::settings("`langfuse_secret_key` is missing"));
        };
        let sent = http::get(url)
            .basic(&self.settings.langfuse_public_key, &secret)
            .send();
        let response = match sent {
            Ok(response) => response,
            Err(http::HttpError::Denied(text)) => return Err(Error::Denied(text)),
            Err(error) => return Ok(Fetched::Trouble(Error::from(error).to_string())),
        };
        match response.status() {
            200..=299 => {
                let body = response.text();
                Ok(match Template::read(&body) {
                    Ok(template) => Fetched::There(body, template),
                    Err(error) => Fetched::Trouble(error.to_string()),
                })
            }
            404 => Ok(Fetched::NotThere),
            401 | 403 => Err(Error::failed(format!(
                "langfuse does not take the keys ({}); check langfuse_public_key, langfuse_secret_key and langfuse_host",
                response.summary()
            ))),
            _ if response.is_worth_a_retry() => Ok(Fetched::Trouble(response.summary())),
            _ => Err(Error::failed(response.summary())),
        }
    }
}

/// The secret key, under either of its names.
fn secret() -> Result<Option<Secret>, Error> {
    match secrets::get("langfuse_secret_key")? {
        Some(secret) => Ok(Some(secret)),
        None => secrets::get("langfuse_secret"),
    }
}

witgate_plugin::export_prompt_manager!(Langfuse);
