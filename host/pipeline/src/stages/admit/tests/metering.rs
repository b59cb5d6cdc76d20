//! Limits and budgets, from the request to what is left of them.

use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::Notify;
use witgate_caching::{AnswerCache, Memory, MemoryLimits, Settings};
use witgate_identity::{Budget, KeyHash, Limits, ModelScope, Principal, Scope, ScopeKind};
use witgate_wire::errors::CompatErrors;
use witgate_wire::prices::ModelPrice;

use crate::metering::CountedTokens;
use crate::ports::{AuthDecision, Phase};
use crate::snapshot::{CustomAuth, FailPolicy};
use crate::testing::{
    Answer, FakeAuth, FakeGuard, Script, Setup, World, chat, chunk, done, embedding, usage_chunk,
};

fn limits(rpm: Option<u64>, tpm: Option<u64>, parallel: Option<u64>) -> Limits {
    Limits {
        rpm,
        tpm,
        parallel,
        ..Limits::default()
    }
}

fn limited(kind: ScopeKind, id: &str, limits: Limits) -> Scope {
    Scope {
        limits,
        ..Scope::new(kind, id)
    }
}

fn usd(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn budgeted(kind: ScopeKind, id: &str, max: &str, spent: &str) -> Scope {
    Scope {
        budget: Some(Budget {
            max: Some(usd(max)),
            soft: None,
            duration: None,
            resets_at: None,
        }),
        spent: usd(spent),
        ..Scope::new(kind, id)
    }
}

/// A caller who is borne by these, at a model of a cent a token in and two out.
fn setup(scopes: Vec<Scope>) -> Setup {
    let principal = Principal {
        key_hash: Some(KeyHash::of("sk-a")),
        scopes,
        ..Principal::default()
    };
    let auth = FakeAuth::new(Ok(AuthDecision::Identity(Box::new(principal))));
    let prices = [
        ("input_cost_per_token", "0.01"),
        ("output_cost_per_token", "0.02"),
    ];
    let price = ModelPrice::custom("d0", prices, None).unwrap();
    Setup::new()
        .with(|_, target| target.custom_price = Some(Arc::new(price)))
        .access(|access| {
            access.custom = Some(CustomAuth {
                plugin: Arc::new(auth),
                auto: false,
                common_checks: false,
            });
        })
        .settings(|s| s.compat = CompatErrors::V2025)
}

fn world(scopes: Vec<Scope>) -> World {
    setup(scopes).build()
}

async fn ask(world: &World, extra: Value) -> Answer {
    world.send(chat(extra)).await
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_minute() {
    let key = limited(ScopeKind::Key, "hash", limits(Some(2), None, None));
    let world = world(vec![key]);
    for left in ["1", "0"] {
        let answer = ask(&world, json!({})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for (header, value) in [
            ("x-ratelimit-api_key-remaining-requests", left),
            ("x-ratelimit-api_key-limit-requests", "2"),
            ("x-ratelimit-remaining-requests", left),
            ("x-ratelimit-limit-requests", "2"),
            ("x-litellm-key-rpm-limit", "2"),
            ("x-litellm-key-tpm-limit", ""),
        ] {
            assert_eq!(answer.header(header), value, "{header}");
        }
    }
    tokio::time::advance(Duration::from_millis(20_500)).await;
    let refused = ask(&world, json!({})).await;
    assert_eq!(refused.status, 429);
    // The clock of the tests began at 2027-01-15 08:00:00.
    assert_eq!(
        refused.message(),
        "Rate limit exceeded for api_key: hash. Limit type: requests. Current limit: 2, Remaining: 0. Limit resets at: 2027-01-15 08:01:00 UTC"
    );
    assert_eq!(refused.error()["type"], "None");
    for (header, value) in [
        ("retry-after", "40"),
        ("rate_limit_type", "requests"),
        ("reset_at", "2027-01-15 08:01:00 UTC"),
    ] {
        assert_eq!(refused.header(header), value, "{header}");
    }
    tokio::time::advance(Duration::from_secs(40)).await;
    assert_eq!(ask(&world, json!({})).await.status, 200);
    assert_eq!(world.upstream.calls(), 3);
    assert_eq!(world.records().await.len(), 4);
}

/// Counted tokens, `max_tokens` of the first call, and what is left for a second one when it has used 10 and 5.
#[tokio::test(start_paused = true)]
async fn tokens_are_reserved_and_then_counted() {
    for (counted, used) in [
        (CountedTokens::Total, 15),
        (CountedTokens::Input, 10),
        (CountedTokens::Output, 5),
    ] {
        let key = limited(ScopeKind::Key, "hash", limits(None, Some(10_000), None));
        let world = setup(vec![key])
            .settings(|s| s.metering.counted = counted)
            .build();
        let first = ask(&world, json!({"max_tokens": 100})).await;
        // Seven of the prompt: three of the message's frame, two for four letters of it, three of the answer's.
        let left: u64 = first
            .header("x-ratelimit-api_key-remaining-tokens")
            .parse()
            .unwrap();
        let input = 9_900 - left;
        assert!((5..15).contains(&input), "{input}");
        let second = ask(&world, json!({"max_completion_tokens": 200, "n": 2})).await;
        let left: u64 = second
            .header("x-ratelimit-api_key-remaining-tokens")
            .parse()
            .unwrap();
        assert_eq!(left, 10_000 - used - input - 400, "{counted:?}");
        let embedding = world.send(embedding(json!({}))).await;
        let left: u64 = embedding
            .header("x-ratelimit-api_key-remaining-tokens")
            .parse()
            .unwrap();
        assert!(
            left > 10_000 - 2 * used - 20,
            "no answer is reserved: {left}"
        );
        world.records().await;
    }
}

/// Tokens a minute, and the `max_tokens` that a request without one goes upstream with.
#[tokio::test(start_paused = true)]
async fn a_request_without_a_bound_gets_a_quarter_of_the_least_limit() {
    for (tpm, cap) in [
        (1000, Some(250)),
        (3, Some(1)),
        (4095, Some(1023)),
        (4096, None),
    ] {
        let key = limited(ScopeKind::Key, "hash", limits(None, Some(100_000), None));
        let team = limited(ScopeKind::Team, "t", limits(None, Some(tpm), None));
        let world = world(vec![key, team]);
        let answer = ask(&world, json!({})).await;
        if tpm == 3 {
            assert_eq!(answer.status, 429, "the prompt alone is too long");
            continue;
        }
        let sent = world.upstream.body(0);
        assert_eq!(sent.get("max_tokens").and_then(Value::as_u64), cap, "{tpm}");
        let own = ask(&world, json!({"max_completion_tokens": 7})).await;
        assert_eq!(own.status, 200);
        assert_eq!(world.upstream.body(1).get("max_tokens"), None);
        world.records().await;
    }
}

#[tokio::test(start_paused = true)]
async fn places_are_free_after_every_kind_of_end() {
    let key = || limited(ScopeKind::Key, "hash", limits(None, Some(100_000), Some(1)));
    let scripts = [
        Script::json(200, &crate::testing::completed("ok")),
        Script::error(400, "no"),
        Script::stream([chunk("a"), done()]),
        Script::stream([chunk("a"), usage_chunk(1000, 500), done()]),
        Script::stream([chunk("a")]).then_break(),
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        let world = world(vec![key(), budgeted(ScopeKind::Team, "t", "1000", "0")]);
        world.upstream.then(script);
        ask(&world, json!({"stream": number >= 2})).await;
        world.record().await;
        assert_eq!(ask(&world, json!({})).await.status, 200);
        world.record().await;
    }
    // Refused after it was admitted.
    let blocked = setup(vec![key()]);
    let blocked = blocked.guard("g", Phase::PreCall, FailPolicy::Closed, FakeGuard::block());
    let world = blocked.build();
    for _ in 0..2 {
        assert_eq!(ask(&world, json!({})).await.status, 422);
        world.record().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_gives_back_what_was_not_used() {
    let key = limited(ScopeKind::Key, "hash", limits(None, Some(1000), Some(1)));
    let team = budgeted(ScopeKind::Team, "t", "100", "0");
    let world = world(vec![key, team]);
    let gate = Arc::new(Notify::new());
    let script = Script::stream([chunk("one two")])
        .then_wait(&gate)
        .piece(done());
    world.upstream.then(script);
    let first = world
        .open(chat(json!({"stream": true, "max_tokens": 400})))
        .await;
    let second = ask(&world, json!({})).await;
    assert_eq!(
        (second.status, second.header("rate_limit_type")),
        (429, "max_parallel_requests")
    );
    assert_eq!(second.header("retry-after"), "60");
    drop(first);
    let records = world.records().await;
    let used = &records
        .iter()
        .find(|one| one.usage.total_tokens > 0)
        .unwrap()
        .usage;
    let third = ask(&world, json!({"max_tokens": 1})).await;
    let left: u64 = third
        .header("x-ratelimit-api_key-remaining-tokens")
        .parse()
        .unwrap();
    assert!(left > 900, "{left}: only {} were used", used.total_tokens);
    world.records().await;
}

/// Kind, id, compat; status, type and message of a call over budget.
#[tokio::test(start_paused = true)]
async fn budgets_are_refused_in_litellms_words() {
    use CompatErrors::{Latest, V2025};
    let costs = "Current cost: 2.5, Max budget: 2.0";
    for (kind, id, compat, message) in [
        (
            ScopeKind::Key,
            "hash",
            V2025,
            format!("Budget has been exceeded! {costs}"),
        ),
        (
            ScopeKind::Key,
            "hash",
            Latest,
            format!("Budget has been exceeded! Key=key {costs}"),
        ),
        (
            ScopeKind::User,
            "u",
            V2025,
            "ExceededBudget: User=u over budget. Spend=2.5, Budget=2.0".to_owned(),
        ),
        (
            ScopeKind::EndUser,
            "e",
            V2025,
            "ExceededBudget: End User=e over budget. Spend=2.5, Budget=2.0".to_owned(),
        ),
        (
            ScopeKind::Team,
            "t",
            V2025,
            format!("Budget has been exceeded! Team=t {costs}"),
        ),
        (
            ScopeKind::TeamMember,
            "t:u",
            V2025,
            format!("Budget has been exceeded! User=u in Team=t {costs}"),
        ),
        (
            ScopeKind::Organization,
            "o",
            Latest,
            format!("Budget has been exceeded! Organization=o {costs}"),
        ),
        (
            ScopeKind::Tag,
            "x",
            Latest,
            format!("Budget has been exceeded! Tag=x {costs}"),
        ),
        (
            ScopeKind::Proxy,
            "p",
            V2025,
            format!("Budget has been exceeded! {costs}"),
        ),
    ] {
        let scope = budgeted(kind, id, "2", "2.5");
        let world = setup(vec![scope]).settings(|s| s.compat = compat).build();
        let answer = ask(&world, json!({})).await;
        let status = if compat == V2025 { 400 } else { 422 };
        assert_eq!(answer.status, status, "{kind:?}");
        assert_eq!(answer.message(), message);
        assert_eq!(answer.error()["type"], "budget_exceeded");
        assert_eq!(world.upstream.calls(), 0);
        world.records().await;
    }
    let key = |alias: Option<&str>| Scope {
        alias: alias.map(str::to_owned),
        shown: Some("sk-...abcd".to_owned()),
        ..budgeted(ScopeKind::Key, "hash", "2", "2.5")
    };
    for (alias, named) in [(Some("ci"), "ci (sk-...abcd)"), (None, "key (sk-...abcd)")] {
        let world = setup(vec![key(alias)]).settings(|s| s.compat = Latest);
        let message = format!("Budget has been exceeded! Key={named} {costs}");
        assert_eq!(ask(&world.build(), json!({})).await.message(), message);
    }
    let scope = budgeted(ScopeKind::Key, "hash", "2", "2.5");
    let world = setup(vec![scope])
        .settings(|s| s.metering.budget_status = Some(429))
        .build();
    assert_eq!(ask(&world, json!({})).await.status, 429);
}

/// 10 and 5 tokens are 20 cents; a call that may answer with 100 reserves more than two dollars.
#[tokio::test(start_paused = true)]
async fn a_call_reserves_its_estimate_and_settles_its_cost() {
    let key = budgeted(ScopeKind::Key, "hash", "2", "0.5");
    let world = setup(vec![key])
        .settings(|s| s.compat = CompatErrors::Latest)
        .build();
    let gate = Arc::new(Notify::new());
    let script = Script::stream([chunk("a")]).then_wait(&gate);
    world
        .upstream
        .then(script.piece(usage_chunk(10, 5)).piece(done()));
    let first = world
        .open(chat(json!({"stream": true, "max_tokens": 100})))
        .await;
    let refused = ask(&world, json!({"max_tokens": 1})).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    gate.notify_one();
    Answer::of(first).await;
    let answer = ask(&world, json!({"max_tokens": 1})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("x-litellm-key-spend"),
        "0.9",
        "with this call's"
    );
    assert_eq!(answer.header("x-litellm-key-max-budget"), "2.0");
    world.records().await;
}

#[tokio::test(start_paused = true)]
async fn without_reservation_only_what_is_spent_counts() {
    let key = budgeted(ScopeKind::Key, "hash", "2", "0");
    let world = setup(vec![key])
        .settings(|s| s.metering.reserves_budgets = false)
        .build();
    let gate = Arc::new(Notify::new());
    world
        .upstream
        .then(Script::stream([chunk("a")]).then_wait(&gate).piece(done()));
    let first = world
        .open(chat(json!({"stream": true, "max_tokens": 1000})))
        .await;
    assert_eq!(ask(&world, json!({})).await.status, 200);
    drop(first);
    world.records().await;
}

#[tokio::test(start_paused = true)]
async fn a_users_budget_does_not_refuse_a_teams_key() {
    for (team, applies, status) in [(false, false, 400), (true, false, 200), (true, true, 400)] {
        let user = budgeted(ScopeKind::User, "u", "1", "2");
        let principal = Principal {
            team_id: team.then(|| "t".to_owned()),
            scopes: vec![user],
            ..Principal::default()
        };
        let auth = FakeAuth::new(Ok(AuthDecision::Identity(Box::new(principal))));
        let world = setup(Vec::new())
            .access(|access| {
                access.custom = Some(CustomAuth {
                    plugin: Arc::new(auth),
                    auto: false,
                    common_checks: false,
                });
            })
            .settings(|s| s.metering.budgets_users_of_teams = applies)
            .build();
        let answer = ask(&world, json!({})).await;
        assert_eq!(answer.status, status, "{team} {applies}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_costs_nothing_is_never_over_budget() {
    let key = || budgeted(ScopeKind::Key, "hash", "2", "3");
    let free = [
        ("input_cost_per_token", "0"),
        ("output_cost_per_token", "0"),
    ];
    let free = Arc::new(ModelPrice::custom("d0", free, None).unwrap());
    let one = setup(vec![key()]).with(|_, target| target.custom_price = Some(free.clone()));
    assert_eq!(ask(&one.build(), json!({})).await.status, 200);
    // Another deployment of the group does cost.
    let two = setup(vec![key()]).with(|_, target| target.custom_price = Some(free));
    let two = two.deployment("gpt-4o", "openai/gpt-4o");
    assert_eq!(ask(&two.build(), json!({})).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn limits_and_budgets_of_one_model_hold_behind_its_aliases() {
    let mut key = Scope::new(ScopeKind::Key, "hash");
    key.alias = Some("ci".into());
    key.models.push(ModelScope {
        model: "gpt-4o".into(),
        limits: limits(Some(2), None, None),
        budget: Some((usd("0.3"), 3600)),
    });
    let world = setup(vec![key])
        .routing(|r| {
            r.aliases.insert("fast/one".into(), alias("gpt-4o"));
        })
        .build();
    let answer = ask(&world, json!({"model": "fast/one"})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("x-ratelimit-model_per_key-limit-requests"),
        "2"
    );
    assert_eq!(
        answer.header("x-litellm-key-remaining-requests-fast-one"),
        "1"
    );
    assert_eq!(ask(&world, json!({"max_tokens": 1})).await.status, 200);
    let refused = ask(&world, json!({})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(
        refused.message(),
        "LiteLLM Virtual Key: hash, key_alias: ci, exceeded budget for model=gpt-4o"
    );
    tokio::time::advance(Duration::from_secs(3601)).await;
    assert_eq!(ask(&world, json!({})).await.status, 200);
    world.records().await;
}

fn alias(group: &str) -> witgate_routing::Alias {
    witgate_routing::Alias {
        model: group.to_owned(),
        is_hidden: false,
    }
}

/// A place of the whole gateway's, as LiteLLM's words have it; with waits, the call gets in when one is free.
#[tokio::test(start_paused = true)]
async fn the_gateway_as_a_whole_has_so_many_places() {
    let gateway = limited(
        ScopeKind::Proxy,
        "litellm-proxy-budget",
        limits(None, None, Some(1)),
    );
    let begin = async |world: &World| {
        let gate = Arc::new(Notify::new());
        world
            .upstream
            .then(Script::stream([chunk("a")]).then_wait(&gate).piece(done()));
        world.open(chat(json!({"stream": true}))).await
    };
    let world = setup(Vec::new())
        .settings(|s| s.metering.gateway = Some(shared(&gateway)))
        .build();
    let first = begin(&world).await;
    let refused = ask(&world, json!({})).await;
    assert_eq!(refused.status, 429);
    assert_eq!(
        refused.message(),
        "Max parallel request limit reached Hit Global Limit: Limit=1, current: 1"
    );
    drop(first);
    assert_eq!(ask(&world, json!({})).await.status, 200);
    world.records().await;

    let world = setup(Vec::new())
        .settings(|s| {
            s.metering.gateway = Some(shared(&gateway));
            s.metering.waits = Some((3, Duration::from_secs(60)));
        })
        .build();
    let first = begin(&world).await;
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(&world, json!({})).await.status, 429);
    assert_eq!(begun.elapsed(), Duration::from_secs(60));
    let (second, ()) = tokio::join!(ask(&world, json!({})), async {
        tokio::time::sleep(Duration::from_secs(25)).await;
        drop(first);
    });
    assert_eq!(second.status, 200);
    assert_eq!(begun.elapsed(), Duration::from_secs(85));
    world.records().await;
}

fn shared(scope: &Scope) -> Arc<arc_swap::ArcSwap<Scope>> {
    Arc::new(arc_swap::ArcSwap::from_pointee(scope.clone()))
}

#[tokio::test(start_paused = true)]
async fn old_words() {
    let key = limited(ScopeKind::Key, "hash", limits(Some(0), None, None));
    let world = setup(vec![key])
        .settings(|s| s.metering.old_words = true)
        .build();
    let refused = ask(&world, json!({})).await;
    assert_eq!(
        refused.message(),
        "LiteLLM Rate Limit Handler for rate limit type = key. Crossed TPM / RPM / Max Parallel Request Limit. current rpm: 0, rpm limit: 0"
    );
}

/// Answers from the cache are requests, and have their tokens; they cost nothing.
#[tokio::test(start_paused = true)]
async fn an_answer_from_the_cache_counts_as_a_request_and_costs_nothing() {
    let mut key = budgeted(ScopeKind::Key, "hash", "0.21", "0");
    key.limits = limits(Some(3), Some(1000), None);
    let mut setup = setup(vec![key]);
    let memory = Arc::new(Memory::new(MemoryLimits::default()));
    setup.cache = Some(AnswerCache::new(Settings::default(), memory));
    let world = setup.build();
    for left in ["2", "1", "0"] {
        let answer = ask(&world, json!({"max_tokens": 1})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(
            answer.header("x-ratelimit-api_key-remaining-requests"),
            left
        );
        assert_eq!(answer.header("x-litellm-key-max-budget"), "0.21");
    }
    assert_eq!(world.upstream.calls(), 1);
    assert_eq!(ask(&world, json!({"max_tokens": 1})).await.status, 429);
    world.records().await;
}

/// A key with a budget for one model, and two groups: the default one and `dear`, at the same prices.
fn with_dear(key: Scope) -> Setup {
    let prices = [
        ("input_cost_per_token", "0.01"),
        ("output_cost_per_token", "0.02"),
    ];
    let price = Arc::new(ModelPrice::custom("d1", prices, None).unwrap());
    setup(vec![key])
        .deployment("dear", "openai/dear-1")
        .with(|_, target| target.custom_price = Some(price))
}

fn of_model(model: &str, max: &str) -> Scope {
    let mut key = Scope::new(ScopeKind::Key, "hash");
    key.models.push(ModelScope {
        model: model.into(),
        limits: Limits::default(),
        budget: Some((usd(max), 3600)),
    });
    key
}

/// What a model's budget allows is not passed by asking for another model that falls back to it: the model that serves bears it.
#[tokio::test(start_paused = true)]
async fn a_fallback_is_no_way_around_a_models_budget() {
    let world = with_dear(of_model("dear", "0.3")).build();
    let led = json!({"fallbacks": ["dear"], "mock_testing_fallbacks": true, "max_tokens": 1});
    // Twenty cents each.
    for _ in 0..2 {
        let answer = ask(&world, led.clone()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        world.records().await;
    }
    let refused = ask(&world, led.clone()).await;
    assert_eq!(refused.status, 500, "the fallback is skipped: {refused:?}");
    let direct = ask(&world, json!({"model": "dear", "max_tokens": 1})).await;
    assert_eq!(direct.status, 400, "{direct:?}");
    assert_eq!(world.upstream.calls(), 2);
    // The model that was asked for has not been paid.
    let world = with_dear(of_model("gpt-4o", "0.3")).build();
    for _ in 0..3 {
        assert_eq!(ask(&world, led.clone()).await.status, 200);
        world.records().await;
    }
    assert_eq!(ask(&world, json!({"max_tokens": 1})).await.status, 200);
}

/// Who asks for what is free, and is served by what is not, has budgets like everybody.
#[tokio::test(start_paused = true)]
async fn a_free_model_is_no_way_around_a_budget() {
    let free = [
        ("input_cost_per_token", "0"),
        ("output_cost_per_token", "0"),
    ];
    let free = Arc::new(ModelPrice::custom("d0", free, None).unwrap());
    let world = with_dear(budgeted(ScopeKind::Key, "hash", "2", "3"))
        .deployment("free", "openai/free")
        .with(|_, target| target.custom_price = Some(free))
        .build();
    let asked = json!({"model": "free"});
    assert_eq!(ask(&world, asked).await.status, 200);
    let led = json!({"model": "free", "fallbacks": ["dear"], "mock_testing_fallbacks": true});
    let refused = ask(&world, led).await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert_eq!(world.upstream.calls(), 1);
}

/// The upstream's name of a model leads to the same deployments, and to the same budget.
#[tokio::test(start_paused = true)]
async fn another_name_of_a_group_is_no_way_around_its_budget() {
    let world = with_dear(of_model("dear", "0.3")).build();
    for _ in 0..2 {
        let answer = ask(&world, json!({"model": "openai/dear-1", "max_tokens": 1})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        world.records().await;
    }
    let refused = ask(&world, json!({"model": "openai/dear-1"})).await;
    assert_eq!(refused.status, 400, "{refused:?}");
}

/// What the gateway does not take of an upstream was paid for: tokens and money count, whether another try answers or none does.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_is_paid_for() {
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}});
    for (second, cost, tokens) in [("{}", "0.4", 30), ("no", "0.4", 30)] {
        let key = limited(ScopeKind::Key, "hash", limits(None, Some(10_000), None));
        let world = setup(vec![key]).build();
        for text in ["prose", second] {
            let answer = crate::testing::completed(text);
            world.upstream.then(Script::json(200, &answer));
        }
        let asked = json!({
            "response_format": format, "enable_json_schema_validation": true, "num_retries": 1, "max_tokens": 1,
        });
        let answer = ask(&world, asked).await;
        assert_eq!(answer.status == 200, second == "{}", "{answer:?}");
        assert_eq!(world.upstream.calls(), 2);
        let record = world.record().await;
        assert_eq!(record.cost.total, Some(usd(cost)), "{second}");
        assert_eq!(
            record.usage.prompt_tokens + record.usage.completion_tokens,
            tokens
        );
        let next = ask(&world, json!({"max_tokens": 1})).await;
        let left: u64 = next
            .header("x-ratelimit-api_key-remaining-tokens")
            .parse()
            .unwrap();
        assert!(left < 10_000 - tokens, "{left}");
    }
}

/// An answer of the client's own making costs no more than its bytes could.
#[tokio::test(start_paused = true)]
async fn a_client_does_not_write_its_own_bill() {
    let world = world(vec![budgeted(ScopeKind::Key, "hash", "100000", "0")]);
    let mocked = json!({"choices": [], "usage": {"prompt_tokens": 1_000_000_000, "completion_tokens": 1_000_000_000}});
    let answer = ask(&world, json!({"mock_response": mocked})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let record = world.record().await;
    assert!(record.cost.total.unwrap() < usd("20"), "{:?}", record.cost);
    assert_eq!(world.upstream.calls(), 0);
}

/// What an upstream says of its own costs counts where nothing is configured, when it can be.
#[tokio::test(start_paused = true)]
async fn a_gateway_behind_this_one_says_what_it_costs() {
    for (said, cost) in [
        ("0.125", Some("0.125")),
        ("1.5e-3", Some("0.0015")),
        ("-1", None),
        ("1e9", None),
        ("x", None),
    ] {
        let world = Setup::new().build();
        let script = Script::json(200, &crate::testing::completed("ok"));
        world
            .upstream
            .then(script.header("x-litellm-response-cost", said));
        assert_eq!(ask(&world, json!({})).await.status, 200);
        let known = world.record().await.cost.total;
        match cost {
            Some(cost) => assert_eq!(known, Some(usd(cost)), "{said}"),
            None => assert!(
                known.is_none_or(|known| known < usd("0.01")),
                "{said}: {known:?}"
            ),
        }
    }
}
