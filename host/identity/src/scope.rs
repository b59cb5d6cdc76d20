//! What bears on a caller: the limits and budgets of their key, team, user and of whoever else pays or answers for them.
//!
//! One shape for all of them, so that limits and budgets are enforced in one way. Names are LiteLLM's descriptors of
//! its rate limiter (v3) and the entities of its spend counters.

use jiff::Timestamp;
use rust_decimal::Decimal;

/// What a scope is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeKind {
    /// A virtual key, by its hash.
    Key,
    /// A user, by `user_id`.
    User,
    /// A team, by `team_id`.
    Team,
    /// A user in a team, as `team_id:user_id`.
    TeamMember,
    /// An organization, by `organization_id`.
    Organization,
    /// An end user (LiteLLM's customer), by the id that requests name.
    EndUser,
    /// A request tag, by its name.
    Tag,
    /// The whole gateway: LiteLLM's user `litellm-proxy-budget`.
    Proxy,
}

impl ScopeKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Key,
        Self::User,
        Self::Team,
        Self::TeamMember,
        Self::Organization,
        Self::EndUser,
        Self::Tag,
        Self::Proxy,
    ];

    /// LiteLLM's name of the rate limiter's descriptor.
    #[must_use]
    pub const fn descriptor(self) -> &'static str {
        match self {
            Self::Key => "api_key",
            Self::User => "user",
            Self::Team => "team",
            Self::TeamMember => "team_member",
            Self::Organization => "organization",
            Self::EndUser => "end_user",
            Self::Tag => "tag",
            Self::Proxy => "proxy",
        }
    }
}

/// Requests, tokens and concurrent requests; `None` is no limit, 0 lets nothing through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests per window (LiteLLM's `rpm_limit`; the window is a minute).
    pub rpm: Option<u64>,
    /// Tokens per window (`tpm_limit`).
    pub tpm: Option<u64>,
    /// Tokens per day (`tpd_limit`): 24 hours that begin with the first request.
    pub tpd: Option<u64>,
    /// Requests at once (`max_parallel_requests`).
    pub parallel: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let counts = [self.rpm, self.tpm, self.tpd, self.parallel];
        let [None, None, None, None] = counts else {
            return false;
        };
        true
    }
}

/// Money that may be spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// US dollars at which, or above which, requests are refused; `None` is no bound.
    pub max: Option<Decimal>,
    /// US dollars from which on an alert is raised; never refuses.
    pub soft: Option<Decimal>,
    /// LiteLLM's `budget_duration`, such as `30d`; `None` never resets.
    pub duration: Option<String>,
    /// When the spend is next set to zero.
    pub resets_at: Option<Timestamp>,
}

/// Limits and a budget for one model group within a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelScope {
    /// The model group as requests name it; a name without its provider's prefix counts for the one with it, too.
    pub model: String,
    /// Limits (`model_rpm_limit`, `model_tpm_limit`, or those in `model_max_budget`).
    pub limits: Limits,
    /// US dollars per rolling window, and the window's length in seconds (`model_max_budget`).
    pub budget: Option<(Decimal, u64)>,
}

/// A budget for a window of time that begins with the first spend (one of LiteLLM's `budget_limits`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetWindow {
    /// US dollars per window.
    pub max: Decimal,
    /// LiteLLM's `budget_duration`, such as `1h`: what the window is called.
    pub duration: String,
    /// How long it is, in seconds.
    pub length_s: u64,
    /// When the window began that the database knew of, and US dollars spent in it.
    pub known: Option<(Timestamp, Decimal)>,
}

/// One of those who bear a call's requests, tokens and money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What it is.
    pub kind: ScopeKind,
    /// Which one.
    pub id: String,
    /// How it is called where the id would say nothing (an alias).
    pub alias: Option<String>,
    /// Of a key: as it may be shown, `sk-...` and its last characters.
    pub shown: Option<String>,
    /// Limits over all models.
    pub limits: Limits,
    /// Limits and budgets of single models.
    pub models: Vec<ModelScope>,
    /// The budget, when there is one.
    pub budget: Option<Budget>,
    /// US dollars of the budget's `max` that are for a time only, and its end (`temp_budget_increase`, `temp_budget_expiry`).
    pub raised: Option<(Decimal, Timestamp)>,
    /// Further budgets that all must hold (`budget_limits`).
    pub windows: Vec<BudgetWindow>,
    /// US dollars spent so far as the database had it when the scope was read.
    pub spent: Decimal,
}

impl Scope {
    /// A scope that limits nothing: what it spends is counted.
    #[must_use]
    pub fn new(kind: ScopeKind, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            alias: None,
            shown: None,
            limits: Limits::default(),
            models: Vec::new(),
            budget: None,
            raised: None,
            windows: Vec::new(),
            spent: Decimal::ZERO,
        }
    }

    /// What is set for a model group: by its name, or by its name without the provider.
    #[must_use]
    pub fn model(&self, group: &str) -> Option<&ModelScope> {
        let bare = group.split_once('/').map(|(_, bare)| bare);
        let named = |name: &str| self.models.iter().find(|model| model.model == name);
        named(group).or_else(|| bare.and_then(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_with_and_without_its_provider() {
        let mut scope = Scope::new(ScopeKind::Key, "hash");
        for model in ["gpt-4o", "azure/gpt-4o"] {
            scope.models.push(ModelScope {
                model: model.to_owned(),
                limits: Limits::default(),
                budget: None,
            });
        }
        let found = |group: &str| scope.model(group).map(|model| model.model.as_str());
        assert_eq!(found("gpt-4o"), Some("gpt-4o"));
        assert_eq!(found("azure/gpt-4o"), Some("azure/gpt-4o"));
        assert_eq!(found("openai/gpt-4o"), Some("gpt-4o"));
        assert_eq!(found("gpt-4"), None);
    }
}
