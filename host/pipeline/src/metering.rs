//! What a configuration says of limits and budgets, and what a call holds of them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use witgate_identity::Scope;
use witgate_metering::{Admitted, Priorities, Reservation, ResetClock};

/// What the configuration says of limits and budgets of callers.
#[derive(Debug, Clone)]
pub struct Metering {
    /// `LITELLM_TPM_TOKEN_RESERVATION_ENABLED`: tokens are reserved when a call begins; otherwise it counts as one until it ends.
    pub reserves_tokens: bool,
    /// Tokens reserved for the answer of a call that does not bound it: 4096 × `NO_MAX_TOKENS_TPM_RESERVATION_FRACTION`.
    pub uncapped_tokens: u64,
    /// `general_settings.token_rate_limit_type`
    pub counted: CountedTokens,
    /// Calls under way count against budgets with what they may cost; not with `general_settings.disable_budget_reservation`.
    pub reserves_budgets: bool,
    /// `general_settings.apply_user_budget_to_team_keys`: a user's budget refuses calls with a team's key, too.
    pub budgets_users_of_teams: bool,
    /// `litellm_settings.budget_exceeded_status_code`
    pub budget_status: Option<u16>,
    /// The limits and the budget of the whole gateway: `global_max_parallel_requests`, `max_budget`. Swapped when its period is over.
    pub gateway: Option<Arc<ArcSwap<Scope>>>,
    /// How often, and how long in all, a call waits for a place under `global_max_parallel_requests`.
    pub waits: Option<(u32, Duration)>,
    /// `LEGACY_MULTI_INSTANCE_RATE_LIMITING`: refusals are in the words of LiteLLM's old limiter.
    pub old_words: bool,
    /// A dynamic rate limiter among `litellm_settings.callbacks`, and how it shares out the limits of model groups.
    pub priorities: Option<Priorities>,
    /// Some deployment limits keys that nothing else limits for its model.
    pub limits_keys: bool,
    /// `DYNAMIC_RATE_LIMIT_ERROR_THRESHOLD_PER_MINUTE`: limits of the type `dynamic` hold while a deployment has failed more often in this minute.
    pub failures_max: u64,
    /// When budgets begin anew.
    pub clock: ResetClock,
}

/// Which tokens count against a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CountedTokens {
    /// All.
    #[default]
    Total,
    /// Those of the prompt.
    Input,
    /// Those of the answer.
    Output,
}

impl Default for Metering {
    fn default() -> Self {
        Metering {
            reserves_tokens: true,
            uncapped_tokens: 1024,
            counted: CountedTokens::Total,
            reserves_budgets: true,
            budgets_users_of_teams: false,
            budget_status: None,
            gateway: None,
            waits: None,
            old_words: false,
            priorities: None,
            limits_keys: false,
            failures_max: 1,
            clock: ResetClock::default(),
        }
    }
}

/// What a call holds of its callers' limits and budgets, until it is settled.
#[derive(Debug, Default)]
pub struct Held {
    /// Places and tokens.
    pub limits: Option<Admitted>,
    /// Money.
    pub budgets: Option<Reservation>,
    /// Nobody of those who could serve what was asked for takes money: no budget refused it.
    pub is_free: bool,
    /// The names of the models that it was taken for; none where nobody has limits or budgets of models.
    pub names: Vec<String>,
}
