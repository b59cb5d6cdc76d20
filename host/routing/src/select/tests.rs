use std::time::Duration;

use proptest::prelude::{Strategy as Generator, any, prop, prop_assert, prop_assert_eq, proptest};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::affinity::{Stays, affinity_digest, prefix_digests};
use crate::budget::Budget;
use crate::quota::Quotas;
use crate::{
    Blame, CooldownSettings, DeploymentSpec, ErrorClass, Fault, RoutingSettings, Snapshot,
};

const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    unix_s: 1_700_000_000,
};

/// Deployments `d0`, `d1` … of one group.
fn group(
    count: usize,
    each: impl Fn(usize, &mut DeploymentSpec),
    settings: RoutingSettings,
) -> (Snapshot, State) {
    let spec = |at| {
        let mut spec = DeploymentSpec {
            model_group: "g".into(),
            model: "openai/m".into(),
            id: Some(format!("d{at}")),
            ..DeploymentSpec::default()
        };
        each(at, &mut spec);
        spec
    };
    let snapshot = Snapshot::build((0..count).map(spec).collect(), settings);
    let state = State::new(&snapshot);
    (snapshot, state)
}

fn chosen(snapshot: &Snapshot, state: &State, model: &str, facts: &Facts<'_>) -> Selection {
    let resolution = snapshot.resolve(model).unwrap();
    let facts = Facts { now: NOW, ..*facts };
    select(
        snapshot,
        state,
        &resolution,
        &facts,
        &mut StdRng::seed_from_u64(1),
    )
}

/// Who is left for the strategy.
fn left(snapshot: &Snapshot, state: &State, facts: &Facts<'_>) -> Vec<usize> {
    let selection = chosen(snapshot, state, "g", facts);
    let dropped: Vec<usize> = selection.dropped.iter().map(|(i, _)| *i).collect();
    let all = 0..snapshot.deployments().len();
    let left: Vec<usize> = all.filter(|i| !dropped.contains(i)).collect();
    assert_eq!(left.len(), selection.considered);
    assert_eq!(selection.picked.is_some(), !left.is_empty());
    assert_eq!(selection.emptied_by.is_some(), left.is_empty());
    left
}

fn refusal(snapshot: &Snapshot, state: &State, model: &str, facts: &Facts<'_>) -> crate::Refusal {
    let resolution = snapshot.resolve(model).unwrap();
    let facts = Facts { now: NOW, ..*facts };
    let selection = chosen(snapshot, state, model, &facts);
    assert_eq!(selection.picked, None);
    selection.refusal(snapshot, state, &resolution, &facts)
}

fn rest(snapshot: &Snapshot, state: &State, index: usize, seconds: u64) {
    let fault = Fault {
        class: ErrorClass::RateLimit,
        status: 429,
        retry_after: Some(Duration::from_secs(seconds)),
        message: "slow down",
        blame: Blame::Deployment,
    };
    assert!(state.failed(snapshot, index, &fault, NOW).is_some());
}

fn tags(list: &[&str]) -> Vec<String> {
    list.iter().map(|tag| (*tag).to_owned()).collect()
}

#[test]
fn who_rests_is_left_out_before_the_order_is_looked_at() {
    let order =
        |at: usize, spec: &mut DeploymentSpec| spec.order = [Some(1), Some(1), Some(2), None][at];
    let (snapshot, state) = group(4, order, RoutingSettings::default());
    assert_eq!(left(&snapshot, &state, &Facts::default()), [0, 1]);
    rest(&snapshot, &state, 0, 30);
    assert_eq!(left(&snapshot, &state, &Facts::default()), [1]);
    rest(&snapshot, &state, 1, 30);
    assert_eq!(
        left(&snapshot, &state, &Facts::default()),
        [2],
        "the new minimum"
    );
    rest(&snapshot, &state, 2, 30);
    assert_eq!(left(&snapshot, &state, &Facts::default()), [3]);
}

#[test]
fn who_failed_in_this_request_comes_last_within_its_order() {
    let order = |at: usize, spec: &mut DeploymentSpec| spec.order = Some([1, 1, 2][at]);
    let (snapshot, state) = group(3, order, RoutingSettings::default());
    let after = |failed: &[usize]| {
        let facts = Facts {
            failed,
            ..Facts::default()
        };
        left(&snapshot, &state, &facts)
    };
    assert_eq!(after(&[0]), [1]);
    assert_eq!(after(&[0, 1]), [0, 1], "a later order is another hop");
}

#[test]
fn a_deployment_asked_for_by_its_id_may_rest_but_not_be_paused() {
    let (snapshot, state) = group(2, |_, _| {}, RoutingSettings::default());
    rest(&snapshot, &state, 1, 30);
    let selection = chosen(&snapshot, &state, "d1", &Facts::default());
    assert_eq!(selection.picked, Some((1, Reason::Requested)));
    let (snapshot, state) = group(
        2,
        |_, spec| spec.is_blocked = true,
        RoutingSettings::default(),
    );
    let by_id = refusal(&snapshot, &state, "d1", &Facts::default());
    assert_eq!(by_id.class, ErrorClass::ServiceUnavailable);
    let by_group = refusal(&snapshot, &state, "g", &Facts::default());
    assert_eq!(by_group.class, ErrorClass::RateLimit);
    assert_eq!(
        by_group.message,
        "No deployments available for selected model, Try again in 5 seconds. Passed model=g. pre-call-checks=False, cooldown_list=[]"
    );
}

#[test]
fn all_rest() {
    let settings = RoutingSettings {
        cooldown: CooldownSettings {
            time: Duration::from_millis(2500),
            ..CooldownSettings::default()
        },
        pre_call_checks: true,
        ..RoutingSettings::default()
    };
    let (snapshot, state) = group(2, |_, _| {}, settings);
    rest(&snapshot, &state, 0, 30);
    rest(&snapshot, &state, 1, 7);
    let refusal = refusal(&snapshot, &state, "g", &Facts::default());
    assert_eq!(refusal.class, ErrorClass::RateLimit);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(refusal.kind, Some("all_deployments_in_cooldown"));
    assert_eq!(
        refusal.message,
        "No deployments available for selected model, Try again in 7 seconds. All deployments for selected model are in cooldown. Passed model=g. pre-call-checks=True, cooldown_list=['d0', 'd1']"
    );
    assert_eq!(
        state.healthy(&snapshot, &[0, 1], NOW.later(Duration::from_secs(7))),
        1
    );
}

#[test]
fn unhealthy_ones_are_passed_over_while_others_are_left() {
    for (routed, expected) in [(true, vec![1]), (false, vec![0, 1])] {
        let settings = RoutingSettings {
            health_routing: routed,
            ..RoutingSettings::default()
        };
        let (snapshot, state) = group(2, |_, _| {}, settings);
        state.checked("d0", false, Duration::from_secs(600), NOW);
        assert_eq!(left(&snapshot, &state, &Facts::default()), expected);
        state.checked("d1", false, Duration::from_secs(600), NOW);
        assert_eq!(left(&snapshot, &state, &Facts::default()), [0, 1]);
    }
}

#[test]
fn access_groups_and_web_search() {
    let each = |at: usize, spec: &mut DeploymentSpec| {
        spec.access_groups = tags([&["beta"][..], &["prod", "beta"], &[]][at]);
        spec.supports_web_search = [None, Some(false), Some(true)][at];
    };
    let (snapshot, state) = group(3, each, RoutingSettings::default());
    let (prod, gold) = (tags(&["prod"]), tags(&["gold"]));
    let of = |access_groups| Facts {
        access_groups,
        ..Facts::default()
    };
    assert_eq!(left(&snapshot, &state, &of(&prod)), [1]);
    let refusal = refusal(&snapshot, &state, "g", &of(&gold));
    assert_eq!(refusal.class, ErrorClass::BadRequest);
    assert!(
        refusal
            .message
            .contains("There are no healthy deployments for this model")
    );
    let web = Facts {
        wants_web_search: true,
        ..Facts::default()
    };
    assert_eq!(left(&snapshot, &state, &web), [0, 2]);
}

#[test]
fn prompts_that_are_too_long() {
    let each = |at: usize, spec: &mut DeploymentSpec| {
        spec.max_input_tokens = [Some(100), Some(200), None][at];
    };
    for (checks, tokens, expected) in [
        (true, Some(100), vec![0, 1, 2]),
        (true, Some(101), vec![1, 2]),
        (true, Some(201), vec![2]),
        (true, None, vec![0, 1, 2]),
        (false, Some(201), vec![0, 1, 2]),
    ] {
        let settings = RoutingSettings {
            pre_call_checks: checks,
            ..RoutingSettings::default()
        };
        let (snapshot, state) = group(3, each, settings);
        let facts = Facts {
            tokens,
            ..Facts::default()
        };
        assert_eq!(left(&snapshot, &state, &facts), expected, "{tokens:?}");
    }
    let settings = RoutingSettings {
        pre_call_checks: true,
        ..RoutingSettings::default()
    };
    let (snapshot, state) = group(2, each, settings);
    let facts = Facts {
        tokens: Some(201),
        ..Facts::default()
    };
    let refusal = refusal(&snapshot, &state, "g", &facts);
    assert_eq!(refusal.class, ErrorClass::ContextWindowExceeded);
    assert!(
        refusal.message.contains("Max Input Tokens=200, Got=201"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_limit_that_time_heals_is_told_before_a_prompt_that_is_too_long() {
    let each = |at: usize, spec: &mut DeploymentSpec| match at {
        0 => spec.max_input_tokens = Some(10),
        _ => spec.rpm_limit = Some(1),
    };
    let settings = RoutingSettings {
        pre_call_checks: true,
        ..RoutingSettings::default()
    };
    let (snapshot, state) = group(2, each, settings);
    let facts = Facts {
        tokens: Some(11),
        ..Facts::default()
    };
    assert_eq!(left(&snapshot, &state, &facts), [1]);
    drop(state.begin(&snapshot, 1, NOW));
    let refusal = refusal(&snapshot, &state, "g", &facts);
    assert_eq!(refusal.class, ErrorClass::RateLimit);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(60)));
}

#[test]
fn regions() {
    let each = |at: usize, spec: &mut DeploymentSpec| {
        spec.region = [Some("eu".into()), Some("eastus".into()), None][at].clone();
    };
    let settings = RoutingSettings {
        pre_call_checks: true,
        ..RoutingSettings::default()
    };
    let (snapshot, state) = group(3, each, settings);
    let of = |region| Facts {
        region: Some(region),
        ..Facts::default()
    };
    assert_eq!(left(&snapshot, &state, &of("eu")), [0]);
    assert_eq!(left(&snapshot, &state, &of("us")), [1]);
    assert_eq!(
        refusal(&snapshot, &state, "g", &of("mars")).class,
        ErrorClass::RateLimit
    );
}

#[test]
fn tags_lead_to_deployments() {
    let each = |at: usize, spec: &mut DeploymentSpec| spec.tags = tags([&["free"], &["paid"]][at]);
    let settings = RoutingSettings {
        tag_filtering: true,
        ..RoutingSettings::default()
    };
    let (snapshot, state) = group(2, each, settings);
    let (free, other) = (tags(&["free"]), tags(&["zzz", "yyy"]));
    let of = |tags| Facts {
        tags,
        ..Facts::default()
    };
    assert_eq!(left(&snapshot, &state, &of(&free)), [0]);
    assert_eq!(left(&snapshot, &state, &of(&[])), [0, 1]);
    let refusal = refusal(&snapshot, &state, "g", &of(&other));
    assert_eq!(refusal.class, ErrorClass::Authentication);
    assert_eq!(
        refusal.message,
        "Not allowed to access model due to tags configuration. Passed model=g and tags=['zzz', 'yyy']"
    );
    let (snapshot, state) = group(2, each, RoutingSettings::default());
    assert_eq!(
        left(&snapshot, &state, &of(&free)),
        [0, 1],
        "only where it is switched on"
    );
}

#[test]
fn budgets_that_are_used_up() {
    let mut settings = RoutingSettings::default();
    let budget = Budget {
        max: 3.0,
        window: Duration::from_secs(3600),
    };
    settings.provider_budgets.insert("openai".into(), budget);
    let azure = |at: usize, spec: &mut DeploymentSpec| {
        if at == 1 {
            spec.model = "azure/m".into();
        }
    };
    let (snapshot, state) = group(2, azure, settings);
    state.spent(0, &[], 2.999, NOW);
    assert_eq!(left(&snapshot, &state, &Facts::default()), [0, 1]);
    state.spent(0, &[], 0.001, NOW);
    assert_eq!(left(&snapshot, &state, &Facts::default()), [1]);
    rest(&snapshot, &state, 1, 30);
    let refusal = refusal(&snapshot, &state, "g", &Facts::default());
    assert_eq!(refusal.class, ErrorClass::RateLimit);
    assert_eq!(
        refusal.message,
        "No deployments available - crossed budget: Exceeded budget for provider openai: 3 >= 3"
    );
}

#[test]
fn a_prompt_stays_with_who_has_its_beginning() {
    let (snapshot, state) = group(3, |_, _| {}, RoutingSettings::default());
    let digests = prefix_digests(b"[]", [b"long text".as_slice()]);
    let facts = Facts {
        prefixes: &digests,
        ..Facts::default()
    };
    assert_eq!(left(&snapshot, &state, &facts), [0, 1, 2]);
    state.pin(digests[0], "d2", Duration::from_secs(300), NOW);
    assert_eq!(left(&snapshot, &state, &facts), [2]);
    rest(&snapshot, &state, 2, 30);
    assert_eq!(
        left(&snapshot, &state, &facts),
        [0, 1],
        "a stale pin is ignored"
    );
}

#[test]
fn a_parameter_that_is_not_taken_leads_elsewhere() {
    let settings = RoutingSettings {
        pre_call_checks: true,
        ..RoutingSettings::default()
    };
    let lacks = |at: usize, spec: &mut DeploymentSpec| {
        spec.unsupported_params = tags([&["tools"][..], &["response_format"], &[]][at]);
    };
    let (snapshot, state) = group(3, lacks, settings.clone());
    for (given, expected) in [
        (&["model", "messages"][..], &[0, 1, 2][..]),
        (&["model", "tools"], &[1, 2]),
        (&["tools", "response_format"], &[2]),
    ] {
        let params = tags(given);
        let facts = Facts {
            params: &params,
            ..Facts::default()
        };
        assert_eq!(left(&snapshot, &state, &facts), expected, "{given:?}");
    }
    let (snapshot, state) = group(2, lacks, settings);
    let params = tags(&["tools", "response_format"]);
    let facts = Facts {
        params: &params,
        ..Facts::default()
    };
    let refusal = refusal(&snapshot, &state, "g", &facts);
    assert_eq!(refusal.class, ErrorClass::UnsupportedParams);
    assert!(
        refusal
            .message
            .contains("takes these parameters: ['tools', 'response_format']"),
        "{}",
        refusal.message
    );
}

#[test]
fn nobody_stays_with_who_failed_just_now() {
    let (snapshot, state) = group(3, |_, _| {}, RoutingSettings::default());
    let digests = [affinity_digest("g", Stays::Caller("k"))];
    state.pin(digests[0], "d2", Duration::from_secs(300), NOW);
    let stays = Facts {
        stays: &digests,
        ..Facts::default()
    };
    assert_eq!(left(&snapshot, &state, &stays), [2]);
    let selection = chosen(&snapshot, &state, "g", &stays);
    assert_eq!(selection.dropped_by_filter(0), Some(Filter::Affinity));
    let failed = Facts {
        failed: &[2],
        ..stays
    };
    assert_eq!(left(&snapshot, &state, &failed), [0, 1]);
    let full = Facts {
        full: &[2],
        ..stays
    };
    assert_eq!(left(&snapshot, &state, &full), [0, 1]);
}

#[test]
fn who_has_no_slot_left_is_passed_over() {
    let one = |_: usize, spec: &mut DeploymentSpec| spec.max_parallel_requests = Some(1);
    let (snapshot, state) = group(2, one, RoutingSettings::default());
    let _first = state.begin(&snapshot, 0, NOW).unwrap();
    assert_eq!(left(&snapshot, &state, &Facts::default()), [1]);
    let _second = state.begin(&snapshot, 1, NOW).unwrap();
    // Whoever is taken now is refused at its begin, and then is out.
    assert_eq!(left(&snapshot, &state, &Facts::default()), [0, 1]);
    let facts = Facts {
        full: &[0, 1],
        ..Facts::default()
    };
    let refusal = refusal(&snapshot, &state, "g", &facts);
    assert_eq!(
        refusal.message,
        "Deployment has all max_parallel_requests slots in use."
    );
}

#[test]
fn usage_that_leaves_none_is_told_with_its_numbers() {
    let limit = |_: usize, spec: &mut DeploymentSpec| {
        spec.rpm_limit = Some(2);
        spec.tpm_limit = Some(100);
    };
    let settings = RoutingSettings {
        strategy: Strategy::UsageBasedV2,
        ..RoutingSettings::default()
    };
    let (snapshot, state) = group(1, limit, settings);
    drop(state.begin(&snapshot, 0, NOW));
    let refusal = refusal(&snapshot, &state, "g", &Facts::default());
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(60)));
    assert_eq!(
        refusal.message,
        "No deployments available for selected model, Try again in 60 seconds. Passed model=g. Deployments={'d0': {'current_tpm': 0, 'tpm_limit': 100, 'current_rpm': 1, 'rpm_limit': 2}}"
    );
}

/// What is drawn for a deployment.
#[derive(Debug, Clone)]
struct Drawn {
    weight: Option<f64>,
    order: Option<i64>,
    is_blocked: bool,
    rests: bool,
    rpm: Option<u64>,
    tag: usize,
    max_input_tokens: Option<u64>,
    in_flight: u32,
}

fn drawn() -> impl Generator<Value = Drawn> {
    (
        prop::option::of(-1.0..5.0_f64),
        prop::option::of(0..3_i64),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.3),
        prop::option::of(0..4_u64),
        0..4_usize,
        prop::option::of(1..100_u64),
        0..3_u32,
    )
        .prop_map(
            |(weight, order, is_blocked, rests, rpm, tag, max_input_tokens, in_flight)| Drawn {
                weight,
                order,
                is_blocked,
                rests,
                rpm,
                tag,
                max_input_tokens,
                in_flight,
            },
        )
}

const STRATEGIES: [Strategy; 7] = [
    Strategy::SimpleShuffle,
    Strategy::LeastBusy,
    Strategy::UsageBased,
    Strategy::UsageBasedV2,
    Strategy::LatencyBased,
    Strategy::CostBased,
    Strategy::ProviderBudget,
];

proptest! {
    #[test]
    fn every_choice_is_explained(
        list in prop::collection::vec(drawn(), 1..8),
        strategy in 0..STRATEGIES.len(),
        (pre_call_checks, tag_filtering, match_any) in any::<(bool, bool, bool)>(),
        asked_tags in prop::collection::vec(0..4_usize, 0..3),
        tokens in prop::option::of(1..100_u64),
        failed in prop::collection::vec(0..8_usize, 0..4),
        seed in any::<u64>(),
    ) {
        const TAGS: [&str; 4] = ["a", "b", "default", "c"];
        let settings = RoutingSettings {
            strategy: STRATEGIES[strategy],
            pre_call_checks,
            tag_filtering,
            tag_match_any: match_any,
            ..RoutingSettings::default()
        };
        let (snapshot, state) = group(list.len(), |at, spec| {
            let d = &list[at];
            spec.weight = d.weight;
            spec.order = d.order;
            spec.is_blocked = d.is_blocked;
            spec.rpm_limit = d.rpm;
            spec.max_parallel_requests = Some(100);
            spec.tags = tags(&[TAGS[d.tag]]);
            spec.max_input_tokens = d.max_input_tokens;
        }, settings);
        let mut held = Vec::new();
        for (at, d) in list.iter().enumerate() {
            held.extend((0..d.in_flight).filter_map(|_| state.begin(&snapshot, at, NOW).ok()));
            if d.rests && list.len() > 1 {
                rest(&snapshot, &state, at, 9);
            }
        }
        let asked: Vec<String> = asked_tags.iter().map(|t| TAGS[*t].to_owned()).collect();
        let facts = Facts { now: NOW, failed: &failed, tags: &asked, tokens, ..Facts::default() };
        let resolution = snapshot.resolve("g").unwrap();
        let selection = select(&snapshot, &state, &resolution, &facts, &mut StdRng::seed_from_u64(seed));

        // Everyone is either dropped, once, or was considered.
        let mut dropped: Vec<usize> = selection.dropped.iter().map(|(i, _)| *i).collect();
        dropped.sort_unstable();
        let count = dropped.len();
        dropped.dedup();
        prop_assert_eq!(dropped.len(), count);
        prop_assert_eq!(count + selection.considered, list.len());
        prop_assert_eq!(selection.picked.is_some(), selection.considered > 0);
        prop_assert_eq!(selection.emptied_by.is_some(), selection.considered == 0);

        for (index, filter) in &selection.dropped {
            let d = &list[*index];
            match filter {
                Filter::Cooldown => prop_assert!(d.rests),
                Filter::Paused => prop_assert!(d.is_blocked),
                Filter::ContextWindow => prop_assert!(tokens > d.max_input_tokens),
                Filter::RateLimit => prop_assert!(d.rpm.is_some()),
                Filter::Tags => prop_assert!(tag_filtering),
                Filter::Failed => prop_assert!(failed.contains(index)),
                _ => {}
            }
        }
        match &selection.picked {
            Some((index, _)) => {
                let d = &list[*index];
                prop_assert!(!dropped.contains(index));
                prop_assert!(!d.is_blocked);
                prop_assert!(!d.rests || list.len() == 1);
                let lowest = list.iter().enumerate()
                    .filter(|(at, _)| !selection.dropped.iter().any(|(i, f)| i == at && *f != Filter::Order && *f != Filter::Failed && *f != Filter::Usage))
                    .filter_map(|(_, d)| d.order).min();
                prop_assert!(lowest.is_none() || d.order == lowest, "{:?}", selection);
            }
            None => {
                let refusal = selection.refusal(&snapshot, &state, &resolution, &facts);
                prop_assert!(!refusal.message.is_empty());
            }
        }
    }
}

/// Limits of a day, and of what goes in and comes out: who is left, and what is said when nobody is.
#[test]
fn quotas_are_kept_to_where_limits_are() {
    let quotas = |at: usize, spec: &mut DeploymentSpec| {
        let limit = |of: usize, limit: u64| (at == of).then_some(limit);
        spec.quotas = Quotas {
            requests_of_day: limit(0, 2),
            tokens_of_day: limit(1, 100),
            input_tokens: limit(2, 100),
            output_tokens: limit(3, 50),
            // A minute before the day's end.
            day_begins_s: (NOW.unix_s + 60) % 86_400,
        };
        spec.max_parallel_requests = Some(100);
    };
    let settings = RoutingSettings {
        enforce_rate_limits: true,
        ..RoutingSettings::default()
    };
    let (snapshot, state) = group(4, quotas, settings);
    let measured = crate::Measured {
        completion_tokens: 50,
        total_tokens: 90,
        ..crate::Measured::default()
    };
    let left_at = |seconds: u64, tokens: u64| {
        let facts = Facts {
            now: NOW.later(Duration::from_secs(seconds)),
            tokens: Some(tokens),
            ..Facts::default()
        };
        let resolution = snapshot.resolve("g").unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        select(&snapshot, &state, &resolution, &facts, &mut rng).left
    };
    assert_eq!(left_at(0, 100), [0, 1, 2, 3]);
    assert_eq!(left_at(0, 101), [0, 3], "the prompt alone is too long");
    for _ in 0..2 {
        drop(state.begin(&snapshot, 0, NOW).unwrap());
    }
    assert_eq!(
        state.begin(&snapshot, 0, NOW).unwrap_err(),
        crate::Full::Rate
    );
    let begun = state.slot(0).started(NOW.minute());
    assert_eq!(begun, 2, "what the day refuses is no call of the minute");
    // What came out at other gateways came out.
    let elsewhere = |output_tokens: u64| {
        let counts = crate::Counts {
            output_tokens,
            tokens: output_tokens,
            ..crate::Counts::default()
        };
        let totals = crate::Totals {
            id: "d3".into(),
            minute: NOW.minute(),
            counts,
            ..crate::Totals::default()
        };
        state.import(&totals, NOW);
    };
    elsewhere(50);
    assert_eq!(left_at(0, 10), [1, 2]);
    elsewhere(0);
    assert_eq!(left_at(0, 10), [1, 2, 3]);
    for index in 1..4 {
        state.succeeded(&snapshot, index, &measured, NOW);
    }
    assert_eq!(left_at(0, 10), [1, 2]);
    assert_eq!(left_at(0, 11), [2], "90 of the day's 100");
    assert_eq!(left_at(0, 61), [0; 0], "40 of the minute's 100");
    let minute = 60 - NOW.unix_s % 60;
    assert_eq!(left_at(minute, 11), [2, 3], "another minute");
    assert_eq!(left_at(60, 11), [0, 1, 2, 3], "another day");
    // A try that others refuse counts for no day.
    let later = NOW.later(Duration::from_secs(60));
    let tried = state.begin(&snapshot, 0, later).unwrap();
    state.take_back(&snapshot, tried);
    for _ in 0..2 {
        drop(state.begin(&snapshot, 0, later).unwrap());
    }
    assert!(state.begin(&snapshot, 0, later).is_err());

    let facts = Facts {
        tokens: Some(11),
        ..Facts::default()
    };
    // The other one's day ends an hour later.
    let (snapshot, state) = group(
        2,
        |at, spec| {
            quotas(0, spec);
            spec.quotas.day_begins_s += 3600 * at as u64;
        },
        RoutingSettings {
            pre_call_checks: true,
            ..RoutingSettings::default()
        },
    );
    for index in [0, 0, 1, 1] {
        drop(state.begin(&snapshot, index, NOW).unwrap());
    }
    let told = refusal(&snapshot, &state, "g", &facts);
    assert_eq!(told.class, ErrorClass::RateLimit);
    assert_eq!(told.retry_after, Some(Duration::from_secs(60)));
    assert!(told.message.contains("of the day are used up"), "{told:?}");
    let selection = chosen(&snapshot, &state, "g", &facts);
    assert!(!selection.may_heal(), "nobody waits in line for a day");
    // Where no limit is kept to these are not, either.
    let (snapshot, state) = group(4, quotas, RoutingSettings::default());
    for index in 0..4 {
        state.succeeded(&snapshot, index, &measured, NOW);
        for _ in 0..3 {
            drop(state.begin(&snapshot, index, NOW).unwrap());
        }
    }
    assert_eq!(left(&snapshot, &state, &facts), [0, 1, 2, 3]);
}
