//! Callers without a virtual key, whom somebody else vouches for: who they are said to be, and what is known of them.

use crate::{KeyHash, VirtualKey};

/// Ids of users that are nobody: the whole gateway's spend, and who the master key is. Whoever else says to be one is not believed.
pub const NOBODY: [&str; 2] = ["litellm-proxy-budget", "default_user_id"];

/// Who somebody is said to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Named {
    /// LiteLLM's `user_id`, or the user's id at the identity provider.
    pub user: Option<String>,
    /// Address of the user, who is also found by it.
    pub email: Option<String>,
    /// LiteLLM's `team_id`.
    pub team: Option<String>,
    /// The team's alias, where its id is not said.
    pub team_alias: Option<String>,
    /// LiteLLM's `organization_id`.
    pub organization: Option<String>,
    /// The organization's alias, where its id is not said.
    pub organization_alias: Option<String>,
}

impl Named {
    /// What stands for a key where one is expected: in logs, metrics, and where answers are kept apart. It is the same for
    /// every token of one caller, in the form that LiteLLM gives the hashes of tokens.
    #[must_use]
    pub fn key(&self, issuer: &str, subject: &str) -> KeyHash {
        let of = |part: &Option<String>| part.clone().unwrap_or_default();
        let parts = [
            issuer.to_owned(),
            subject.to_owned(),
            of(&self.user),
            of(&self.email),
            of(&self.team),
            of(&self.team_alias),
            of(&self.organization),
            of(&self.organization_alias),
        ];
        KeyHash::of_caller(&parts)
    }
}

/// What the database knows of somebody who was named.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Rights, limits and budgets, as a key of theirs would have them, but without a key.
    pub as_key: VirtualKey,
    /// Whether the user was named and is known.
    pub has_user: bool,
    /// Whether the team was named and is known.
    pub has_team: bool,
    /// Whether the organization was named and is known.
    pub has_organization: bool,
    /// Whether the user is in the team.
    pub is_member: bool,
    /// LiteLLM's `user_role` in the user's row.
    pub user_role: Option<String>,
    /// The user's teams.
    pub teams: Vec<String>,
}
