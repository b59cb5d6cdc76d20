//! Measures what the choice of a deployment costs: every strategy, every filter, groups of 1 to 1000 deployments.
//!
//! `cargo run --release -p witgate-routing --example selection-cost`. The goals: 5 µs among 100, and no worse than
//! n log n beyond. `make bench` has the same table.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool: it stops where it fails, and prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::SmallRng;
use witgate_routing::{
    Blame, Budget, DeploymentSpec, ErrorClass, Facts, Fault, Measured, Now, PrefixDigest,
    RoutingSettings, Snapshot, State, Strategy, Try, prefix_digests, select,
};

const SIZES: [usize; 4] = [1, 10, 100, 1000];
/// Samples of a cell; the median is told.
const SAMPLES: usize = 101;
/// A sample is long enough for the clock to be no part of it.
const SAMPLE: Duration = Duration::from_micros(200);
/// Among 100 deployments.
const GOAL_US: f64 = 5.0;

const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    unix_s: 1_700_000_000,
};

/// What is measured: a configuration and a request.
struct Scene {
    name: &'static str,
    strategy: Strategy,
    /// Changes the settings and each deployment.
    settings: fn(&mut RoutingSettings),
    each: fn(usize, &mut DeploymentSpec),
    asks: Asks,
}

/// What the request says.
#[derive(Clone, Copy, Default)]
struct Asks {
    tags: &'static [&'static str],
    tokens: Option<u64>,
    region: Option<&'static str>,
    wants_web_search: bool,
    access_groups: &'static [&'static str],
    has_prefix: bool,
    /// The first so many have failed in this request.
    failed: usize,
}

fn main() {
    println!(
        "| µs a choice | {} | 1000 ÷ 100 |",
        SIZES.map(|n| n.to_string()).join(" | ")
    );
    println!("|---|{}", "---:|".repeat(SIZES.len() + 1));
    let mut worst = (0.0, "");
    for scene in scenes() {
        let cells = SIZES.map(|n| cost_us(&scene, n));
        let [.., hundred, thousand] = cells;
        if hundred > worst.0 {
            worst = (hundred, scene.name);
        }
        let cells = cells.map(|us| format!("{us:.2}")).join(" | ");
        println!("| {} | {cells} | {:.1} |", scene.name, thousand / hundred);
    }
    // 1000 log 1000 ÷ 100 log 100
    println!("\nn log n is a factor of 15.0 from 100 to 1000.");
    println!(
        "The dearest choice among 100: {:.2} µs ({}); the goal is {GOAL_US} µs.",
        worst.0, worst.1
    );
}

fn scenes() -> Vec<Scene> {
    let strategies = [
        Strategy::SimpleShuffle,
        Strategy::LeastBusy,
        Strategy::UsageBased,
        Strategy::UsageBasedV2,
        Strategy::LatencyBased,
        Strategy::CostBased,
        Strategy::ProviderBudget,
    ];
    let plain = |strategy: Strategy| Scene {
        name: strategy.name(),
        strategy,
        settings: |_| {},
        each: |_, _| {},
        asks: Asks {
            tokens: Some(100),
            ..Asks::default()
        },
    };
    let filter = |name, settings, each, asks| Scene {
        name,
        strategy: Strategy::SimpleShuffle,
        settings,
        each,
        asks,
    };
    let mut scenes: Vec<Scene> = strategies.into_iter().map(plain).collect();
    scenes.extend([
        filter("weights", |_| {}, weight, Asks::default()),
        filter(
            "access groups",
            |_| {},
            access_groups,
            Asks {
                access_groups: &["elsewhere", "odd"],
                ..Asks::default()
            },
        ),
        filter(
            "web search",
            |_| {},
            web_search,
            Asks {
                wants_web_search: true,
                ..Asks::default()
            },
        ),
        filter(
            "health",
            |s| s.health_routing = true,
            |_, _| {},
            Asks::default(),
        ),
        filter(
            "budgets",
            budgets,
            own_budget,
            Asks {
                tags: &["paid", "eu"],
                ..Asks::default()
            },
        ),
        filter(
            "prompt caching",
            |s| s.prompt_caching = true,
            |_, _| {},
            Asks {
                has_prefix: true,
                ..Asks::default()
            },
        ),
        filter(
            "pre-call checks",
            |s| s.pre_call_checks = true,
            limits,
            Asks {
                tokens: Some(100),
                region: Some("eu"),
                ..Asks::default()
            },
        ),
        filter(
            "tags, any",
            |s| s.tag_filtering = true,
            tags,
            Asks {
                tags: &["free", "eu", "!slow"],
                ..Asks::default()
            },
        ),
        filter(
            "tags, all",
            all_tags,
            tags,
            Asks {
                tags: &["paid", "eu", "&fast"],
                ..Asks::default()
            },
        ),
        filter(
            "order",
            |_| {},
            |at, spec| spec.order = Some(1 + at as i64 % 3),
            Asks::default(),
        ),
        filter(
            "failed before",
            |_| {},
            |_, _| {},
            Asks {
                failed: 5,
                ..Asks::default()
            },
        ),
        filter("every filter", everything, every, ALL),
    ]);
    scenes.extend(strategies.into_iter().skip(1).map(|strategy| Scene {
        name: match strategy {
            Strategy::LeastBusy => "every filter, least-busy",
            Strategy::UsageBased => "every filter, usage-based-routing",
            Strategy::UsageBasedV2 => "every filter, usage-based-routing-v2",
            Strategy::LatencyBased => "every filter, latency-based-routing",
            Strategy::CostBased => "every filter, cost-based-routing",
            _ => "every filter, provider-budget-routing",
        },
        strategy,
        settings: everything,
        each: every,
        asks: ALL,
    }));
    scenes
}

const ALL: Asks = Asks {
    tags: &["paid", "eu", "!slow"],
    tokens: Some(100),
    region: Some("eu"),
    wants_web_search: true,
    access_groups: &["elsewhere", "even", "odd"],
    has_prefix: true,
    failed: 5,
};

fn weight(at: usize, spec: &mut DeploymentSpec) {
    spec.weight = Some(1.0 + (at % 7) as f64);
}

fn access_groups(at: usize, spec: &mut DeploymentSpec) {
    spec.access_groups = vec!["all".into(), ["even", "odd"][at % 2].into()];
}

fn web_search(at: usize, spec: &mut DeploymentSpec) {
    spec.supports_web_search = [None, Some(true), Some(false)][at % 3];
}

fn own_budget(_: usize, spec: &mut DeploymentSpec) {
    spec.budget = Some(budget());
}

fn limits(_: usize, spec: &mut DeploymentSpec) {
    spec.rpm_limit = Some(1_000);
    spec.tpm_limit = Some(1_000_000);
    spec.max_input_tokens = Some(8_192);
    spec.region = Some("swedencentral".into());
}

fn tags(at: usize, spec: &mut DeploymentSpec) {
    let tags: &[&str] = match at % 4 {
        0 => &["free", "eu"],
        1 => &["paid", "eu", "fast"],
        2 => &["paid", "us", "slow"],
        _ => &["default"],
    };
    spec.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
}

fn budgets(settings: &mut RoutingSettings) {
    settings.provider_budgets.insert("openai".into(), budget());
    settings.tag_budgets.insert("paid".into(), budget());
}

fn all_tags(settings: &mut RoutingSettings) {
    settings.tag_filtering = true;
    settings.tag_match_any = false;
}

fn everything(settings: &mut RoutingSettings) {
    budgets(settings);
    settings.health_routing = true;
    settings.prompt_caching = true;
    settings.pre_call_checks = true;
    settings.enforce_rate_limits = true;
    settings.tag_filtering = true;
}

/// Everybody passes every filter that would spare the later ones their work.
fn every(at: usize, spec: &mut DeploymentSpec) {
    access_groups(at, spec);
    weight(at, spec);
    own_budget(at, spec);
    limits(at, spec);
    spec.tags = vec!["fast".into(), "eu".into(), "paid".into()];
    spec.order = Some(1);
}

fn budget() -> Budget {
    Budget {
        max: 1e9,
        window: Duration::from_secs(3600),
    }
}

/// Microseconds of a choice among `count` deployments, in the median.
fn cost_us(scene: &Scene, count: usize) -> f64 {
    let mut settings = RoutingSettings {
        strategy: scene.strategy,
        ..RoutingSettings::default()
    };
    (scene.settings)(&mut settings);
    let spec = |at| {
        let mut spec = DeploymentSpec {
            model_group: "g".into(),
            model: "openai/gpt-4o".into(),
            id: Some(format!("deployment-{at}")),
            cost_per_token_pair: 1e-6 * (1 + at % 5) as f64,
            ..DeploymentSpec::default()
        };
        (scene.each)(at, &mut spec);
        spec
    };
    let snapshot = Snapshot::build((0..count).map(spec).collect(), settings);
    let state = State::new(&snapshot);
    let under_way = traffic(&snapshot, &state);
    let owned = |list: &[&str]| {
        list.iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    let (tags, groups) = (owned(scene.asks.tags), owned(scene.asks.access_groups));
    let failed: Vec<usize> = (0..scene.asks.failed.min(count / 2)).collect();
    let prefixes = match scene.asks.has_prefix {
        true => prefixes(),
        false => Vec::new(),
    };
    let facts = Facts {
        now: NOW,
        failed: &failed,
        tags: &tags,
        tokens: scene.asks.tokens,
        region: scene.asks.region,
        wants_web_search: scene.asks.wants_web_search,
        access_groups: &groups,
        prefixes: &prefixes,
        ..Facts::default()
    };
    let resolution = snapshot.resolve("g").unwrap();
    let mut rng = SmallRng::seed_from_u64(1);
    let mut choose = |times: u32| {
        let begun = Instant::now();
        for _ in 0..times {
            black_box(select(
                &snapshot,
                &state,
                black_box(&resolution),
                black_box(&facts),
                &mut rng,
            ));
        }
        begun.elapsed()
    };
    let mut times = 1;
    while choose(times) < SAMPLE {
        times *= 2;
    }
    let mut samples: Vec<Duration> = (0..SAMPLES).map(|_| choose(times)).collect();
    samples.sort();
    drop(under_way);
    samples[SAMPLES / 2].as_secs_f64() * 1e6 / f64::from(times)
}

/// A minute as any other: calls ended and under way, and every tenth deployment rests.
fn traffic(snapshot: &Snapshot, state: &State) -> Vec<Try> {
    let mut under_way = Vec::new();
    for at in 0..snapshot.deployments().len() {
        let measured = Measured {
            duration: Duration::from_millis(500 + (at % 9) as u64 * 100),
            first_token: Some(Duration::from_millis(100)),
            completion_tokens: 20,
            total_tokens: 100 + (at % 3) as u64,
        };
        drop(state.begin(snapshot, at, NOW));
        state.succeeded(snapshot, at, &measured, NOW);
        under_way.extend(state.begin(snapshot, at, NOW));
        if at % 10 == 9 {
            let fault = Fault {
                class: ErrorClass::RateLimit,
                status: 429,
                retry_after: Some(Duration::from_secs(60)),
                message: "slow down",
                blame: Blame::Deployment,
            };
            state.failed(snapshot, at, &fault, NOW);
        }
    }
    under_way
}

/// Of a prompt of ten blocks that no provider has in its cache: the whole of it is looked up.
fn prefixes() -> Vec<PrefixDigest> {
    let blocks: Vec<String> = (0..10).map(|n| format!("block {n}")).collect();
    prefix_digests(b"[]", blocks.iter().map(|block| block.as_bytes()))
}
