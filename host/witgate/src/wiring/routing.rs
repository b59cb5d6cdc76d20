//! How the configuration's words on routing become its settings: deployments' limits, retries,
//! fallbacks, strategies, cooldowns, budgets.

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use witgate_config::{Loaded, ModelEntry, RoutingStrategy, Span, parse_duration};
use witgate_routing::{
    Affinity, Alias, AllowedFailsPolicy, Budget, CooldownSettings, DeploymentSpec, FallbackRule,
    LatencySettings, OwnCooldown, Quotas, RetryPolicy, RoutingGroup, RoutingSettings, Strategy,
    Tactic, infer_provider, split_provider,
};
use witgate_wire::prices::Prices;

use super::models::{Merged, id_params, known_of_model};
use super::{auto_routers, dialects};

/// What LiteLLM takes for the price of a token that nobody knows, US dollars.
const UNKNOWN_PRICE: f64 = 5.0;

/// A deployment as routing sees it.
pub(super) fn spec(
    loaded: &Loaded,
    prices: &Prices,
    merged: &Merged<'_>,
    problems: &mut Vec<String>,
) -> DeploymentSpec {
    let (config, entry) = (&loaded.config, merged.entry);
    let (params, info) = (&entry.params, &entry.model_info);
    let provider = dialects::provider_name(config, &params.custom_llm_provider, &params.model);
    let limit = |own: Option<u64>, name: &str| own.or_else(|| info.get(name)?.as_u64());
    let texts = |name: &str| -> Vec<String> {
        let list = info
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        list.filter_map(|text| Some(text.as_str()?.to_owned()))
            .collect()
    };
    let spoken_for = provider.as_deref();
    let spoken_for = spoken_for.or_else(|| split_provider(&params.model).map(|(name, _)| name));
    let spoken_for = spoken_for.or_else(|| infer_provider(prices, &params.model));
    let known = known_of_model(entry, spoken_for.unwrap_or_default());
    DeploymentSpec {
        model_group: entry.model_name.clone(),
        model: params.model.clone(),
        id: entry.id().map(str::to_owned),
        id_params: id_params(merged),
        weight: params.weight,
        rpm: params.rpm.map(|n| n as f64),
        tpm: params.tpm.map(|n| n as f64),
        rpm_limit: limit(params.rpm, "rpm"),
        tpm_limit: limit(params.tpm, "tpm"),
        order: params.order.or_else(|| info.get("order")?.as_i64()),
        num_retries: params.num_retries.or(params.max_retries),
        team_id: info
            .get("team_id")
            .and_then(Value::as_str)
            .map(str::to_owned),
        team_public_model_name: info
            .get("team_public_model_name")
            .and_then(Value::as_str)
            .map(str::to_owned),
        is_blocked: info.get("blocked").and_then(Value::as_bool) == Some(true),
        max_parallel_requests: params.max_parallel_requests,
        cooldown: own_cooldown(merged, problems),
        tags: params.tags.clone(),
        region: region(entry),
        max_input_tokens: max_input_tokens(&known),
        cost_per_token_pair: cost_per_token_pair(&known),
        access_groups: texts("access_groups"),
        unsupported_params: unsupported_params(loaded, merged, &known),
        tag_regex: tag_regex(merged, problems),
        supports_web_search: known.get("supports_web_search").and_then(Value::as_bool),
        budget: own_budget(merged, problems),
        quotas: quotas(merged, problems),
        provider,
    }
}

/// What turns which parameters off, in the price map and in `model_info`.
const ABILITIES: [(&str, &[&str]); 5] = [
    (
        "supports_function_calling",
        &[
            "tools",
            "tool_choice",
            "functions",
            "function_call",
            "parallel_tool_calls",
        ],
    ),
    (
        "supports_parallel_function_calling",
        &["parallel_tool_calls"],
    ),
    ("supports_tool_choice", &["tool_choice"]),
    ("supports_response_schema", &["response_format"]),
    ("supports_reasoning", &["reasoning_effort"]),
];

/// The parameters that a model is said not to take; none where such are left out of calls.
fn unsupported_params(
    loaded: &Loaded,
    merged: &Merged<'_>,
    known: &Map<String, Value>,
) -> Vec<String> {
    let general = || dialects::flag(loaded, "drop_params", "LITELLM_DROP_PARAMS");
    if merged.entry.params.drop_params.unwrap_or_else(general) {
        return Vec::new();
    }
    let lacks = |ability: &str| known.get(ability).and_then(Value::as_bool) == Some(false);
    let lacking = ABILITIES.iter().filter(|(ability, _)| lacks(ability));
    lacking
        .flat_map(|(_, params)| params.iter().map(|name| (*name).to_owned()))
        .collect()
}

fn tag_regex(merged: &Merged<'_>, problems: &mut Vec<String>) -> Vec<regex::Regex> {
    let patterns = merged.entry.params.tag_regex.iter();
    patterns
        .filter_map(|pattern| match regex::Regex::new(pattern) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                problems.push(format!("{}: tag_regex: {error}", merged.place()));
                None
            }
        })
        .collect()
}

/// `model_info` goes before `litellm_params`.
fn own_cooldown(merged: &Merged<'_>, problems: &mut Vec<String>) -> OwnCooldown {
    let (params, info) = (&merged.entry.params, &merged.entry.model_info);
    let time = info
        .get("cooldown_time")
        .and_then(Value::as_f64)
        .or(params.cooldown_time);
    let allowed = info.get("allowed_fails").and_then(Value::as_u64);
    let allowed = allowed.and_then(|n| u32::try_from(n).ok());
    let policy = info.get("allowed_fails_policy").and_then(Value::as_object);
    let path = || format!("{}: model_info.allowed_fails_policy", merged.place());
    OwnCooldown {
        time: time.and_then(|s| Duration::try_from_secs_f64(s).ok()),
        allowed_fails: allowed.or(params.allowed_fails),
        policy: policy
            .map(|map| fails_policy(&path(), map, problems))
            .unwrap_or_default(),
    }
}

/// `region_name`, else what the provider's own settings say.
pub(super) fn region(entry: &ModelEntry) -> Option<String> {
    let params = &entry.params;
    let of_provider = |name: &str| {
        let own = params.provider.get(name).or_else(|| params.extra.get(name));
        own?.as_str().map(str::to_owned)
    };
    let names = ["aws_region_name", "vertex_location", "watsonx_region_name"];
    let named = entry.params.region_name.clone();
    named.or_else(|| names.into_iter().find_map(of_provider))
}

fn max_input_tokens(known: &Map<String, Value>) -> Option<u64> {
    let count = |name: &str| known.get(name)?.as_u64();
    count("max_input_tokens").or_else(|| count("max_tokens"))
}

/// Each of the two prices as stated, else as the price map has it.
fn cost_per_token_pair(known: &Map<String, Value>) -> f64 {
    let price = |name: &str| {
        let value = known.get(name)?;
        // A price may be written as text ("1e-6").
        value.as_f64().or_else(|| value.as_str()?.parse().ok())
    };
    price("input_cost_per_token").unwrap_or(UNKNOWN_PRICE)
        + price("output_cost_per_token").unwrap_or(UNKNOWN_PRICE)
}

/// `litellm_params` goes before `model_info`, as for `rpm`.
fn quotas(merged: &Merged<'_>, problems: &mut Vec<String>) -> Quotas {
    let (params, info) = (&merged.entry.params, &merged.entry.model_info);
    let limit = |own: Option<u64>, name: &str| own.or_else(|| info.get(name)?.as_u64());
    let begins = params.daily_reset_time.as_deref();
    let begins = begins.or_else(|| info.get("daily_reset_time")?.as_str());
    let day_begins_s = begins.map_or(Some(0), time_of_day);
    if day_begins_s.is_none() {
        problems.push(format!(
            "{}: daily_reset_time: {:?} is no time of day; write it as HH:MM, in UTC, such as 08:00",
            merged.place(),
            begins.unwrap_or_default()
        ));
    }
    Quotas {
        requests_of_day: limit(params.rpd, "rpd"),
        tokens_of_day: limit(params.tpd, "tpd"),
        input_tokens: limit(params.itpm, "itpm"),
        output_tokens: limit(params.otpm, "otpm"),
        day_begins_s: day_begins_s.unwrap_or(0),
    }
}

/// Seconds after midnight of `HH:MM`.
fn time_of_day(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |digits: &str, below: u64| {
        let is_number = digits.len() == 2 && digits.bytes().all(|c| c.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| is_number)?;
        Some(number).filter(|number: &u64| *number < below)
    };
    Some(two(hours, 24)? * 3600 + two(minutes, 60)? * 60)
}

fn own_budget(merged: &Merged<'_>, problems: &mut Vec<String>) -> Option<Budget> {
    let params = &merged.entry.params;
    let (max, length) = (params.max_budget?, params.budget_duration.as_deref()?);
    match window(length) {
        Ok(window) => Some(Budget { max, window }),
        Err(why) => {
            problems.push(format!("{}: budget_duration: {why}", merged.place()));
            None
        }
    }
}

/// A window's length. A month is thirty days: these windows are not the calendar's.
fn window(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(Span::Seconds(seconds)) => Ok(Duration::from_secs(seconds)),
        Ok(Span::Months(months)) => Ok(Duration::from_secs(u64::from(months) * 30 * 86_400)),
        Err(error) => Err(format!("{text:?} {error}")),
    }
}

/// `{name: {budget_limit, time_period}}`. An entry without a limit has none, and one without a period
/// is ignored, as LiteLLM does.
fn budgets(
    path: &str,
    config: Option<&Map<String, Value>>,
    problems: &mut Vec<String>,
) -> IndexMap<String, Budget> {
    let mut budgets = IndexMap::new();
    for (name, entry) in config.into_iter().flatten() {
        let either = |names: [&str; 2]| names.into_iter().find_map(|name| entry.get(name));
        let limit = either(["budget_limit", "max_budget"]).filter(|value| !value.is_null());
        let period = either(["time_period", "budget_duration"]).and_then(Value::as_str);
        let (Some(limit), Some(period)) = (limit, period) else {
            continue;
        };
        let max = limit.as_f64().or_else(|| limit.as_str()?.parse().ok());
        match (
            max.filter(|max| max.is_finite() && *max >= 0.0),
            window(period),
        ) {
            (Some(max), Ok(window)) => drop(budgets.insert(name.clone(), Budget { max, window })),
            (None, _) => problems.push(format!("{path}.{name}: expected US dollars, not {limit}")),
            (_, Err(why)) => problems.push(format!("{path}.{name}: {why}")),
        }
    }
    budgets
}

fn strategy(configured: &RoutingStrategy) -> Strategy {
    match configured {
        RoutingStrategy::SimpleShuffle => Strategy::SimpleShuffle,
        RoutingStrategy::LeastBusy => Strategy::LeastBusy,
        RoutingStrategy::UsageBasedRouting => Strategy::UsageBased,
        RoutingStrategy::UsageBasedRoutingV2 => Strategy::UsageBasedV2,
        RoutingStrategy::LatencyBasedRouting => Strategy::LatencyBased,
        RoutingStrategy::CostBasedRouting => Strategy::CostBased,
        RoutingStrategy::ProviderBudgetRouting => Strategy::ProviderBudget,
        RoutingStrategy::Plugin(_) => Strategy::Plugin,
    }
}

fn affinity(checks: &[String]) -> Affinity {
    let has = |name: &str| checks.iter().any(|check| check == name);
    Affinity {
        session: has("session_affinity"),
        caller: has("deployment_affinity"),
    }
}

fn latency(path: &str, args: &Map<String, Value>, problems: &mut Vec<String>) -> LatencySettings {
    let mut settings = LatencySettings::default();
    for (name, value) in args.iter().filter(|(_, value)| !value.is_null()) {
        let number = value.as_f64().filter(|n| *n >= 0.0);
        let mut wrong = |expected: &str| {
            problems.push(format!("{path}.{name}: expected {expected}, not {value}"));
        };
        match (name.as_str(), number) {
            ("ttl", Some(s)) => settings.ttl = Duration::try_from_secs_f64(s).unwrap_or_default(),
            ("lowest_latency_buffer", Some(share)) => settings.buffer = share,
            ("max_latency_list_size", Some(n)) if n >= 1.0 => settings.keep = n as usize,
            ("ttft_percentile", Some(p)) if p > 0.0 && p <= 1.0 => {
                settings.first_token_percentile = Some(p);
            }
            ("ttft_percentile", _) => wrong("a number above 0, up to 1"),
            ("max_latency_list_size", _) => wrong("a number of measurements from 1 on"),
            ("ttl" | "lowest_latency_buffer", None) => wrong("a number from 0 on"),
            _ => {}
        }
    }
    settings
}

fn routing_groups(
    configured: &[witgate_config::RoutingGroup],
    problems: &mut Vec<String>,
) -> Vec<RoutingGroup> {
    let groups = configured.iter().enumerate();
    groups
        .map(|(at, group)| {
            let path = format!("router_settings.routing_groups[{at}].routing_strategy_args");
            RoutingGroup {
                name: group.group_name.clone(),
                models: group.models.clone(),
                tactic: Tactic {
                    strategy: strategy(&group.routing_strategy),
                    latency: latency(&path, &group.routing_strategy_args, problems),
                },
            }
        })
        .collect()
}

fn cooldown(loaded: &Loaded, problems: &mut Vec<String>) -> CooldownSettings {
    let (config, env) = (&loaded.config, &loaded.environment);
    let (router, litellm) = (&config.router, &config.litellm);
    let default = CooldownSettings::default();
    let time = router.cooldown_time.or(litellm.cooldown_time);
    let time = time.or_else(|| env.parse("DEFAULT_COOLDOWN_TIME_SECONDS"));
    let policy = router.allowed_fails_policy.as_ref();
    let path = "router_settings.allowed_fails_policy";
    CooldownSettings {
        disabled: router.disable_cooldowns,
        time: time
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
            .unwrap_or(default.time),
        allowed_fails: router.allowed_fails.or(litellm.allowed_fails),
        policy: policy
            .map(|map| fails_policy(path, map, problems))
            .unwrap_or_default(),
        allowed_fails_default: env
            .parse("DEFAULT_ALLOWED_FAILS")
            .unwrap_or(default.allowed_fails_default),
        share_max: env
            .parse("DEFAULT_FAILURE_THRESHOLD_PERCENT")
            .unwrap_or(default.share_max),
        calls_min: env
            .parse("DEFAULT_FAILURE_THRESHOLD_MINIMUM_REQUESTS")
            .unwrap_or(default.calls_min),
        single_calls_min: env
            .parse("SINGLE_DEPLOYMENT_TRAFFIC_FAILURE_THRESHOLD")
            .unwrap_or(default.single_calls_min),
    }
}

fn fails_policy(
    path: &str,
    map: &Map<String, Value>,
    problems: &mut Vec<String>,
) -> AllowedFailsPolicy {
    let mut policy = AllowedFailsPolicy::default();
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        let count = value.as_u64().and_then(|n| u32::try_from(n).ok());
        match count {
            None => problems.push(format!(
                "{path}.{key}: expected a number of failures, not {value}"
            )),
            Some(count) if !policy.set(key, count) => problems.push(format!(
                "{path}.{key}: no such key; there are {}",
                AllowedFailsPolicy::KEYS.join(", ")
            )),
            Some(_) => {}
        }
    }
    policy
}

/// The rules of the router, else of the library.
fn rules(
    name: &str,
    [router, litellm]: [&Vec<IndexMap<String, Vec<Value>>>; 2],
    problems: &mut Vec<String>,
) -> Vec<FallbackRule> {
    let (section, list) = match router.is_empty() {
        true => ("litellm_settings", litellm),
        false => ("router_settings", router),
    };
    let json = serde_json::to_value(list).unwrap_or_default();
    FallbackRule::parse_list(&json).unwrap_or_else(|error| {
        problems.push(format!("{section}.{name}: {error}"));
        Vec::new()
    })
}

fn retry_policy(path: &str, map: &Map<String, Value>, problems: &mut Vec<String>) -> RetryPolicy {
    let mut policy = RetryPolicy::default();
    for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
        let count = value.as_u64().and_then(|n| u32::try_from(n).ok());
        match count {
            None => problems.push(format!(
                "{path}.{key}: expected a number of retries, not {value}"
            )),
            Some(count) if !policy.set(key, count) => problems.push(format!(
                "{path}.{key}: no such key; there are {}",
                RetryPolicy::KEYS.join(", ")
            )),
            Some(_) => {}
        }
    }
    policy
}

pub(super) fn settings(loaded: &Loaded, problems: &mut Vec<String>) -> RoutingSettings {
    let (config, env) = (&loaded.config, &loaded.environment);
    let (router, litellm) = (&config.router, &config.litellm);
    let fallbacks = rules(
        "fallbacks",
        [&router.fallbacks, &litellm.fallbacks],
        problems,
    );
    let context_window_fallbacks = rules(
        "context_window_fallbacks",
        [
            &router.context_window_fallbacks,
            &litellm.context_window_fallbacks,
        ],
        problems,
    );
    let content_policy_fallbacks = rules(
        "content_policy_fallbacks",
        [
            &router.content_policy_fallbacks,
            &litellm.content_policy_fallbacks,
        ],
        problems,
    );
    let policy = router.retry_policy.as_ref();
    let policy = policy.map(|map| retry_policy("router_settings.retry_policy", map, problems));
    let by_group = router.model_group_retry_policy.iter();
    let model_group_retry_policy = by_group
        .map(|(group, map)| {
            let path = format!("router_settings.model_group_retry_policy.{group}");
            (group.clone(), retry_policy(&path, map, problems))
        })
        .collect();
    let aliases = router
        .model_group_alias
        .iter()
        .map(|(name, alias)| {
            (
                name.clone(),
                Alias {
                    model: alias.model.clone(),
                    is_hidden: alias.hidden,
                },
            )
        })
        .chain(litellm.model_alias_map.iter().map(|(name, model)| {
            (
                name.clone(),
                Alias {
                    model: model.clone(),
                    is_hidden: false,
                },
            )
        }))
        .collect();
    let default_fallbacks = match router.default_fallbacks.is_empty() {
        true => litellm.default_fallbacks.clone(),
        false => router.default_fallbacks.clone(),
    };
    let mut settings = RoutingSettings {
        aliases,
        fallbacks,
        context_window_fallbacks,
        content_policy_fallbacks,
        default_fallbacks,
        retry_policy: policy.unwrap_or_default(),
        model_group_retry_policy,
        weighted_failover: router.enable_weighted_failover,
        fallback_on_unsupported_params: router.fallback_on_unsupported_params.unwrap_or(true),
        strategy: strategy(&router.routing_strategy),
        latency: latency(
            "router_settings.routing_strategy_args",
            &router.routing_strategy_args,
            problems,
        ),
        asks_plugins: !router.plugins.is_empty(),
        auto_routers: auto_routers::routers(loaded, problems),
        routing_groups: routing_groups(&router.routing_groups, problems),
        cooldown: cooldown(loaded, problems),
        pre_call_checks: router.enable_pre_call_checks,
        tag_filtering: router.enable_tag_filtering,
        tag_match_any: router.tag_filtering_match_any.unwrap_or(true),
        health_routing: router.enable_health_check_routing
            || config.general.enable_health_check_routing,
        parallel_max_default: router
            .default_max_parallel_requests
            .or(config.general.max_parallel_requests),
        provider_budgets: budgets(
            "router_settings.provider_budget_config",
            router.provider_budget_config.as_ref(),
            problems,
        ),
        tag_budgets: budgets(
            "litellm_settings.tag_budget_config",
            litellm.tag_budget_config.as_ref(),
            problems,
        ),
        ..RoutingSettings::default()
    };
    // Budgets are kept wherever there are any. Names that nobody knows were told when the file was read.
    let checks = &router.optional_pre_call_checks;
    let has = |name: &str| checks.iter().any(|check| check == name);
    settings.prompt_caching = has("prompt_caching");
    settings.enforce_rate_limits = has("enforce_model_rate_limits");
    settings.affinity = affinity(checks);
    let by_group = router.model_group_affinity_config.iter();
    settings.model_group_affinity = by_group
        .map(|(group, checks)| (group.clone(), affinity(checks)))
        .collect();
    if let Some(ttl) = router.deployment_affinity_ttl_seconds {
        settings.affinity_ttl = Duration::try_from_secs_f64(ttl).unwrap_or_default();
    }
    if let Some(tokens) = env.parse("MINIMUM_PROMPT_CACHE_TOKEN_COUNT") {
        settings.prompt_cache_min_tokens = tokens;
    }
    let retries = router.num_retries.or(litellm.num_retries);
    let retries = retries.or(litellm.num_retries_per_request);
    if let Some(n) = retries.or_else(|| env.parse("DEFAULT_MAX_RETRIES")) {
        settings.num_retries = n;
    }
    let hops = router.max_fallbacks.or(litellm.max_fallbacks);
    if let Some(n) = hops {
        settings.max_fallbacks = n;
    }
    let backoff = &mut settings.backoff;
    if let Some(s) = router.retry_after {
        backoff.min_s = s;
    }
    for (name, value) in [
        ("INITIAL_RETRY_DELAY", &mut backoff.initial_s),
        ("MAX_RETRY_DELAY", &mut backoff.max_s),
        ("JITTER", &mut backoff.jitter_s),
    ] {
        if let Some(s) = env.parse::<f64>(name) {
            *value = s.max(0.0);
        }
    }
    settings
}
