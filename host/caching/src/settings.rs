//! The configuration's word on what is kept, and what it makes of a request.

use std::borrow::Cow;
use std::time::Duration;

use witgate_wire::Endpoint;

use crate::Controls;

/// `cache_params.mode`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Requests are cached unless they say otherwise.
    #[default]
    DefaultOn,
    /// Requests are cached only if they ask for it.
    DefaultOff,
}

/// `cache_params.scope`: who gets whose answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// A team shares, else a user's keys do, else a key is alone.
    #[default]
    Tenant,
    /// A key is alone.
    Key,
    /// Everybody shares, as with LiteLLM.
    Everyone,
}

/// What holds for every request.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Whether a request must ask.
    pub mode: Mode,
    /// Kinds of calls that are cached; `None` is all that can be.
    pub call_types: Option<Vec<String>>,
    /// `ttl`
    pub ttl: Option<Duration>,
    /// `namespace`
    pub namespace: Option<String>,
    /// Longer conversations are not cached.
    pub max_messages: Option<usize>,
    /// Who shares.
    pub scope: Scope,
    /// Whether a call waits for an equal one that is under way.
    pub single_flight: bool,
    /// `router_settings.caching_groups`: model groups that have each other's answers.
    pub groups: Vec<Vec<String>>,
    /// `similarity_threshold`: questions are compared by meaning, and this likeness is enough.
    pub threshold: Option<f64>,
    /// `semantic_cache_scope: end_user`: end users do not share either.
    pub by_end_user: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            call_types: None,
            ttl: None,
            namespace: None,
            max_messages: None,
            scope: Scope::default(),
            single_flight: true,
            groups: Vec::new(),
            threshold: None,
            by_end_user: false,
        }
    }
}

/// What is done for one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// An entry may answer.
    pub read: bool,
    /// The answer is kept.
    pub write: bool,
}

impl Settings {
    /// What to do for a request with these controls and so many messages.
    #[must_use]
    pub fn plan(&self, endpoint: Endpoint, controls: &Controls, messages: usize) -> Plan {
        let call_type = endpoint.call_type();
        let listed = |types: &Vec<String>| types.iter().any(|one| one == call_type);
        // As in LiteLLM: whoever asks for a picture again wants another one, and a judgement is quickly had.
        let is_kept = endpoint.writes_text() || endpoint == Endpoint::Embeddings;
        let on = is_kept
            && self.call_types.as_ref().is_none_or(listed)
            && (self.mode == Mode::DefaultOn || controls.use_cache)
            && self.max_messages.is_none_or(|most| messages <= most);
        Plan {
            read: on && !controls.no_cache,
            write: on && !controls.no_store,
        }
    }

    /// The name under which answers of a model group are kept: LiteLLM's text of the groups that share, else its own.
    #[must_use]
    pub fn model<'a>(&self, group: &'a str) -> Cow<'a, str> {
        let shared = self
            .groups
            .iter()
            .find(|groups| groups.iter().any(|one| one == group));
        let Some(groups) = shared else {
            return Cow::Borrowed(group);
        };
        let names: Vec<String> = groups.iter().map(|name| format!("'{name}'")).collect();
        Cow::Owned(format!("({})", names.join(", ")))
    }

    /// How long a new entry lives: the request's word, the configuration's, the header's.
    #[must_use]
    pub fn ttl(&self, controls: &Controls) -> Option<Duration> {
        controls.ttl.or(self.ttl).or(controls.header_ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Plan = Plan {
        read: true,
        write: true,
    };
    const NEITHER: Plan = Plan {
        read: false,
        write: false,
    };

    #[test]
    fn reading_and_writing_have_gates_of_their_own() {
        let settings = Settings::default();
        let plan = |controls: Controls| settings.plan(Endpoint::ChatCompletions, &controls, 1);
        assert_eq!(plan(Controls::default()), BOTH);
        let no_cache = Controls {
            no_cache: true,
            ..Controls::default()
        };
        assert_eq!(
            plan(no_cache),
            Plan {
                read: false,
                ..BOTH
            }
        );
        let no_store = Controls {
            no_store: true,
            ..Controls::default()
        };
        assert_eq!(
            plan(no_store),
            Plan {
                write: false,
                ..BOTH
            }
        );
    }

    #[test]
    fn what_is_off_by_default_must_be_asked_for() {
        let settings = Settings {
            mode: Mode::DefaultOff,
            ..Settings::default()
        };
        let asking = Controls {
            use_cache: true,
            ..Controls::default()
        };
        let plan = |controls: &Controls| settings.plan(Endpoint::Embeddings, controls, 0);
        assert_eq!(plan(&Controls::default()), NEITHER);
        assert_eq!(plan(&asking), BOTH);
    }

    #[test]
    fn only_listed_kinds_and_short_conversations_are_cached() {
        let settings = Settings {
            call_types: Some(vec!["completion".to_owned(), "aembedding".to_owned()]),
            max_messages: Some(4),
            ..Settings::default()
        };
        let plan = |endpoint, messages| settings.plan(endpoint, &Controls::default(), messages);
        // The proxy makes `acompletion` calls: a list without it leaves chats out.
        assert_eq!(plan(Endpoint::ChatCompletions, 1), NEITHER);
        assert_eq!(plan(Endpoint::Embeddings, 4), BOTH);
        assert_eq!(plan(Endpoint::Embeddings, 5), NEITHER);
    }

    #[test]
    fn groups_that_share_have_one_name() {
        let settings = Settings {
            groups: vec![vec!["a".to_owned(), "b".to_owned()]],
            ..Settings::default()
        };
        assert_eq!(settings.model("a"), "('a', 'b')");
        assert_eq!(settings.model("b"), "('a', 'b')");
        assert_eq!(settings.model("c"), "c");
    }

    #[test]
    fn the_requests_ttl_wins_and_the_headers_is_last() {
        let s = Duration::from_secs;
        let mut settings = Settings::default();
        let mut controls = Controls {
            header_ttl: Some(s(3)),
            ..Controls::default()
        };
        assert_eq!(settings.ttl(&controls), Some(s(3)));
        settings.ttl = Some(s(2));
        assert_eq!(settings.ttl(&controls), Some(s(2)));
        controls.ttl = Some(s(1));
        assert_eq!(settings.ttl(&controls), Some(s(1)));
    }
}
