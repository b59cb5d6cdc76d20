//! Limits and budgets of callers: what the configuration says of them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use witgate_config::{Loaded, ModelParams};
use witgate_identity::{Budget, Limits, Scope, ScopeKind};
use witgate_management::{Changed, PROXY_USER, Watch};
use witgate_metering::{Books, Period, Priorities, ResetClock, Rules, Sharing};
use witgate_pipeline::{CountedTokens, Metering};

use super::keys::Known;

/// Tokens of which a share is reserved for an answer that nothing bounds.
const ANSWER: f64 = 4096.0;

/// How limits are kept.
pub(super) fn rules(loaded: &Loaded) -> Rules {
    let seconds: Option<u64> = loaded.environment.parse("LITELLM_RATE_LIMIT_WINDOW_SIZE");
    let default = Rules::default();
    Rules {
        window: seconds
            .filter(|s| *s > 0)
            .map_or(default.window, Duration::from_secs),
        fails_closed: loaded.config.general.fail_closed_rate_limit_enforcement,
        by_calendar: is_legacy(loaded),
    }
}

fn is_legacy(loaded: &Loaded) -> bool {
    loaded
        .environment
        .flag("LEGACY_MULTI_INSTANCE_RATE_LIMITING")
        == Some(true)
}

/// What calls need to know of limits and budgets; and what is wrong with that.
pub(super) fn metering(loaded: &Loaded, problems: &mut Vec<String>) -> Metering {
    let (config, env) = (&loaded.config, &loaded.environment);
    let (general, litellm) = (&config.general, &config.litellm);
    let default = Metering::default();
    let share: Option<f64> = env.parse("NO_MAX_TOKENS_TPM_RESERVATION_FRACTION");
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    let is_reserving = env.flag("LITELLM_TPM_TOKEN_RESERVATION_ENABLED") != Some(false);
    let clock = reset_clock(loaded, problems);
    Metering {
        reserves_tokens: is_reserving && !is_legacy(loaded),
        uncapped_tokens: share.map_or(default.uncapped_tokens, |share| (ANSWER * share).max(1.0) as u64),
        counted: match general.token_rate_limit_type.as_deref() {
            Some("input") => CountedTokens::Input,
            Some("output") => CountedTokens::Output,
            _ => CountedTokens::Total,
        },
        reserves_budgets: !general.disable_budget_reservation,
        budgets_users_of_teams: general.apply_user_budget_to_team_keys,
        budget_status: litellm.budget_exceeded_status_code.and_then(|status| {
            let status = u16::try_from(status).ok().filter(|s| (400..600).contains(s));
            if status.is_none() {
                let text = "litellm_settings.budget_exceeded_status_code: expected a status from 400 to 599";
                problems.push(text.to_owned());
            }
            status
        }),
        gateway: gateway(loaded, &clock, problems).map(|scope| Arc::new(ArcSwap::from_pointee(scope))),
        waits: waits(loaded),
        old_words: is_legacy(loaded),
        priorities: priorities(loaded, problems),
        limits_keys: config.model_list.iter().any(|entry| !key_limits(&entry.params).is_empty()),
        failures_max: env.parse("DYNAMIC_RATE_LIMIT_ERROR_THRESHOLD_PER_MINUTE").unwrap_or(default.failures_max),
        clock,
    }
}

/// LiteLLM's dynamic rate limiters among `litellm_settings.callbacks`: they are the gateway's own.
const DYNAMIC: [(&str, Sharing); 2] = [
    ("dynamic_rate_limiter", Sharing::ByActiveKeys),
    ("dynamic_rate_limiter_v3", Sharing::BySaturation),
];

/// What a deployment allows keys that nothing else limits for its model.
pub(super) fn key_limits(params: &ModelParams) -> Limits {
    Limits {
        rpm: params.default_api_key_rpm_limit,
        tpm: params.default_api_key_tpm_limit,
        ..Limits::default()
    }
}

/// Whether a callback is no plugin but the gateway's own.
pub(super) fn is_own_callback(name: &str) -> bool {
    DYNAMIC.iter().any(|(own, _)| *own == name)
}

fn priorities(loaded: &Loaded, problems: &mut Vec<String>) -> Option<Priorities> {
    let listed = |own: &str| {
        loaded
            .config
            .litellm
            .callbacks
            .iter()
            .any(|name| name == own)
    };
    // With both, the newer one.
    let (_, sharing) = DYNAMIC.into_iter().rev().find(|(own, _)| listed(own))?;
    let settings = loaded.config.raw.get("litellm_settings");
    let setting = |key: &str| settings?.get(key);
    let read = Priorities::read(
        sharing,
        setting("priority_reservation"),
        setting("priority_reservation_settings"),
    );
    read.map_err(|problem| problems.push(format!("litellm_settings.{problem}")))
        .ok()
}

/// When budgets begin anew.
fn reset_clock(loaded: &Loaded, problems: &mut Vec<String>) -> ResetClock {
    let litellm = &loaded.config.litellm;
    let mut clock = ResetClock::default();
    if let Some(name) = &litellm.timezone {
        match TimeZone::get(name) {
            Ok(zone) => clock.zone = zone,
            Err(_) => problems.push(format!(
                "litellm_settings.timezone: {name:?} is no zone of the IANA database, such as Europe/Berlin"
            )),
        }
    }
    if let Some(text) = &litellm.budget_reset_time {
        match Time::strptime("%H:%M", text) {
            Ok(time) => clock.at = time,
            Err(_) => problems.push(format!(
                "litellm_settings.budget_reset_time: {text:?} is no time of day such as 06:30"
            )),
        }
    }
    clock
}

/// The limit and the budget of the whole gateway.
fn gateway(loaded: &Loaded, clock: &ResetClock, problems: &mut Vec<String>) -> Option<Scope> {
    let litellm = &loaded.config.litellm;
    // 0 is no limit for both.
    let parallel = loaded.config.general.global_max_parallel_requests;
    let parallel = parallel.filter(|most| *most > 0).map(u64::from);
    let max = litellm
        .max_budget
        .filter(|max| *max > 0.0)
        .and_then(dollars);
    let duration = litellm.budget_duration.clone();
    let period = duration.as_deref().and_then(|text| {
        let period = Period::parse(text);
        period
            .map_err(|error| problems.push(format!("litellm_settings.budget_duration: {error}")))
            .ok()
    });
    let budget = max.map(|max| Budget {
        max: Some(max),
        soft: None,
        duration: duration.clone(),
        resets_at: period.map(|period| period.next_reset(Timestamp::now(), clock)),
    });
    (parallel.is_some() || budget.is_some()).then(|| Scope {
        limits: Limits {
            parallel,
            ..Limits::default()
        },
        budget,
        ..Scope::new(ScopeKind::Proxy, PROXY_USER)
    })
}

/// How a call waits for a place of the whole gateway's: at once it is refused unless the variables say otherwise.
fn waits(loaded: &Loaded) -> Option<(u32, Duration)> {
    let env = &loaded.environment;
    let retries: Option<u32> = env.parse("LITELLM_GLOBAL_MAX_PARALLEL_REQUEST_RETRIES");
    let timeout: Option<f64> = env.parse("LITELLM_GLOBAL_MAX_PARALLEL_REQUEST_RETRY_TIMEOUT");
    let is_set = retries.is_some() || timeout.is_some();
    let is_off = loaded
        .config
        .general
        .disable_retry_on_max_parallel_request_limit_error;
    let (retries, timeout) = (retries.unwrap_or(3), timeout.unwrap_or(60.0));
    (is_set && !is_off && retries > 0).then(|| (retries, super::settings::seconds(timeout)))
}

fn dollars(amount: f64) -> Option<Decimal> {
    // Infinity is no limit, as with LiteLLM.
    Decimal::try_from(amount).ok()
}

/// Who hears of changes in the database: what is kept of it, and the books.
pub struct Heard {
    /// Keys and others that are in memory.
    pub known: Known,
    /// What was spent.
    pub books: Arc<Books>,
}

impl Watch for Heard {
    fn changed(&self, what: &Changed) {
        // First, so that what is read from now on finds it set.
        if let Changed::Spend { kind, id, spent } = what {
            self.books.set_spent(*kind, id, *spent, None);
        }
        self.known.changed(what);
    }
}
