//! Limits and budgets of callers, seen from outside: concurrency, streams, clients that leave, many gateways.

use futures_util::future::join_all;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gate, Gateway, RedisServer, Reply, Signal, openai};

use crate::support::{
    Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat, chat_stream, eventually,
};

const RED: &str = "team-red-0123456789";

/// The model `gpt-4o` at a dollar a token of the prompt.
fn priced(api_base: &str, more: &str) -> String {
    format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, input_cost_per_token: 1, output_cost_per_token: 0}}\ngeneral_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n{more}"
    )
}

/// A configuration that lets so many calls in at once.
fn parallel(api_base: &str, most: u32) -> String {
    base_config(api_base).replace(
        "general_settings:\n",
        &format!("general_settings:\n  global_max_parallel_requests: {most}\n"),
    )
}

fn frames() -> Vec<String> {
    openai::chat_frames("gpt-4o", "one two three")
}

#[tokio::test]
async fn no_more_calls_at_once_than_the_gateway_may_have() {
    let upstream = FakeUpstream::start().await;
    let config = parallel(&upstream.api_base(), 3);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let gate = Gate::new();
    stage.upstream.always(Reply::openai().behind(&gate));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let client = stage.client.clone();
            tokio::spawn(async move { client.chat(&chat("gpt-4o")).await })
        })
        .collect();
    // Those that are let in wait behind the gate, the others are answered.
    gate.reached(3).await;
    let is_answered = |calls: &[tokio::task::JoinHandle<_>]| {
        calls.iter().filter(|call| call.is_finished()).count() == 17
    };
    eventually("the others are refused", async || {
        is_answered(&calls).then_some(())
    })
    .await;
    gate.open();
    let answers = join_all(calls).await.into_iter().map(Result::unwrap);
    let (mut served, mut refused) = (0, 0);
    for answer in answers {
        if answer.status == 200 {
            served += 1;
            continue;
        }
        refused += 1;
        let error = answer.error(429);
        assert_eq!(
            error["message"],
            "Max parallel request limit reached Hit Global Limit: Limit=3, current: 3"
        );
        assert_eq!(
            answer.header("rate_limit_type"),
            Some("max_parallel_requests")
        );
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!((served, refused), (3, 17));
    assert_eq!(stage.upstream.requests().len(), 3);
    // All places are free again.
    let again = (0..3).map(|_| stage.client.chat(&CHAT));
    for answer in join_all(again).await {
        answer.ok();
    }
}

static CHAT: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| chat("gpt-4o"));

/// Streams that end, that break, whose client leaves before and after the head.
#[tokio::test]
async fn a_place_is_free_after_every_kind_of_end() {
    let upstream = FakeUpstream::start().await;
    let config = parallel(&upstream.api_base(), 1);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let free = async |what: &str| {
        eventually(what, async || {
            let answer = stage.client.chat(&chat("gpt-4o")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    };
    let mut whole = stage.client.open(&chat_stream("gpt-4o")).await;
    whole.rest().await;
    free("after a stream").await;

    stage
        .upstream
        .next(Reply::open_stream(&frames()).then_close());
    let mut broken = stage.client.open(&chat_stream("gpt-4o")).await;
    broken.rest().await;
    free("after a stream that broke").await;

    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "no"));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    free("after an error").await;

    let gate = Gate::new();
    stage.upstream.next(Reply::gated_stream(&frames(), &gate));
    gate.release();
    gate.release();
    let mut left = stage.client.open(&chat_stream("gpt-4o")).await;
    left.next_json().await;
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    drop(left);
    free("after a client that left its stream").await;

    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    call.abort();
    free("after a client that left before the answer").await;
}

#[tokio::test]
async fn a_reload_keeps_what_is_taken_and_changes_what_may_be() {
    let upstream = FakeUpstream::start().await;
    let api_base = upstream.api_base();
    let stage = Stage::of(upstream, Gateway::builder(parallel(&api_base, 1))).await;
    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let client = stage.client.clone();
    let held = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    let reload = async |most: u32| {
        stage.gateway.write_config(&parallel(&api_base, most));
        stage.client.post("/config/reload", &json!({})).await.ok();
    };
    reload(1).await;
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    reload(2).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    gate.open();
    held.await.unwrap().ok();
}

/// The budget of the whole gateway: a call that is let in may pass it, the next one is refused.
#[tokio::test]
async fn the_gateway_spends_no_more_than_its_budget() {
    let upstream = FakeUpstream::start().await;
    let more = "litellm_settings: {max_budget: 5, budget_duration: 30d}\n";
    let config = priced(&upstream.api_base(), more);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let first = stage.client.chat(&chat("gpt-4o")).await;
    let cost = first.header("x-litellm-response-cost").unwrap().to_owned();
    assert!(cost.parse::<f64>().unwrap() > 5.0, "{cost}");
    first.ok();
    let refused = stage.client.chat(&chat("gpt-4o")).await;
    let error = refused.error(400);
    assert_eq!(error["type"], "budget_exceeded");
    let words = format!(
        "Budget has been exceeded! Current cost: {:?}, Max budget: 5.0",
        cost.parse::<f64>().unwrap()
    );
    assert_eq!(error["message"], words);
    assert_eq!(stage.upstream.requests().len(), 1);
    // Looking costs nothing.
    stage.client.get("/v1/models").await.ok();
}

/// What an authenticator says of its callers holds: a key with two dollars at a dollar a token.
#[tokio::test]
async fn an_authenticators_budgets_hold_also_while_calls_are_under_way() {
    let upstream = FakeUpstream::start().await;
    let settings = format!("{{teams: {{red: {{token: {RED}, max_budget: 2}}}}}}");
    let more = format!("plugins:\n  custom-auth: {{settings: {settings}}}\n");
    let config = priced(&upstream.api_base(), &more).replace(
        "general_settings: {",
        "general_settings: {custom_auth: custom-auth, custom_auth_settings: {mode: auto}, ",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let red = Client::of(&stage.gateway).key(RED);
    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let client = red.clone();
    let first = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    // The one under way may cost more than there is.
    let refused = red.chat(&chat("gpt-4o")).await;
    assert_eq!(refused.error(400)["type"], "budget_exceeded");
    gate.open();
    let answer = first.await.unwrap();
    answer.ok();
    assert_eq!(answer.header("x-litellm-key-max-budget"), Some("2.0"));
    assert_eq!(answer.header("x-litellm-key-spend"), Some("0.0"));
    red.chat(&chat("gpt-4o")).await.error(400);
    assert_eq!(stage.upstream.requests().len(), 1);
    // The administrator has no budget.
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

async fn fleet(count: usize, config: &str) -> Vec<(Gateway, Client)> {
    let member = async |_| {
        let builder = Gateway::builder(config).env("REDIS_SOCKET_TIMEOUT", "20");
        let gateway = builder.start().await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        (gateway, client)
    };
    join_all((0..count).map(member)).await
}

/// Three gateways have five places together.
#[tokio::test]
async fn gateways_on_one_redis_limit_together() {
    let redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = parallel(&upstream.api_base(), 5)
        + &format!(
            "router_settings: {{num_retries: 0, redis_url: '{}'}}\n",
            redis.url()
        );
    let config = config.replace("router_settings:\n  num_retries: 0\n", "");
    let members = fleet(3, &config).await;
    let gate = Gate::new();
    upstream.always(Reply::openai().behind(&gate));
    let calls: Vec<_> = (0..30)
        .map(|n: usize| {
            let client = members[n % 3].1.clone();
            tokio::spawn(async move { client.chat(&chat("gpt-4o")).await })
        })
        .collect();
    gate.reached(5).await;
    eventually("the others are refused", async || {
        (calls.iter().filter(|call| call.is_finished()).count() == 25).then_some(())
    })
    .await;
    gate.open();
    let answers = join_all(calls).await.into_iter().map(Result::unwrap);
    let statuses: Vec<u16> = answers.map(|answer| answer.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 25);
    // The ends are told within milliseconds.
    let there = [
        "ZCARD",
        "{proxy:litellm-proxy-budget}:max_parallel_requests",
    ];
    redis.cli_until(&there, |inside| inside == "0").await;
}

/// What one gateway spends the others know.
#[tokio::test]
async fn gateways_on_one_redis_spend_together() {
    let redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let more = "litellm_settings: {max_budget: 5}\n";
    let config = priced(&upstream.api_base(), more).replace(
        "num_retries: 0",
        &format!("num_retries: 0, redis_url: '{}'", redis.url()),
    );
    let members = fleet(2, &config).await;
    members[0].1.chat(&chat("gpt-4o")).await.ok();
    // From here on nothing is spent.
    upstream.always(Reply::error(500, "server_error", None, "no"));
    eventually("the other one knows", async || {
        let answer = members[1].1.chat(&chat("gpt-4o")).await;
        (answer.status == 400 && answer.text().contains("budget_exceeded")).then_some(())
    })
    .await;
}

/// Redis dies: each gateway counts for itself, or admits nothing that has a limit.
#[tokio::test]
async fn without_redis_each_limits_by_itself_or_nothing_is_admitted() {
    for is_closed in [false, true] {
        let mut redis = RedisServer::start().await;
        let upstream = FakeUpstream::start().await;
        let closed =
            format!("general_settings:\n  fail_closed_rate_limit_enforcement: {is_closed}\n");
        let config = parallel(&upstream.api_base(), 1).replace("general_settings:\n", &closed)
            + &format!(
                "router_settings: {{num_retries: 0, redis_url: '{}'}}\n",
                redis.url()
            );
        let config = config.replace("router_settings:\n  num_retries: 0\n", "");
        let stage = Stage::of(upstream, Gateway::builder(config)).await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
        redis.kill().await;
        let answer = stage.client.chat(&chat("gpt-4o")).await;
        match is_closed {
            true => {
                let error = answer.error(503);
                let message = error["message"].as_str().unwrap();
                assert!(
                    message.contains("fail_closed_rate_limit_enforcement"),
                    "{message}"
                );
            }
            false => {
                answer.ok();
                let gate = Gate::new();
                stage.upstream.next(Reply::openai().behind(&gate));
                let client = stage.client.clone();
                let held = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
                gate.reached(1).await;
                stage.client.chat(&chat("gpt-4o")).await.error(429);
                gate.open();
                held.await.unwrap().ok();
            }
        }
    }
}

/// A key of this body's, and a client that holds it.
async fn key(stage: &Stage, body: Value) -> (String, Client) {
    let made = stage.client.post("/key/generate", &body).await.ok();
    let key = made["key"].as_str().expect("a key").to_owned();
    let client = Client::of(&stage.gateway).key(&key);
    (key, client)
}

#[tokio::test]
async fn a_keys_requests_of_a_minute() {
    let stage = Stage::plain().await;
    let (_, client) = key(&stage, json!({"rpm_limit": 10})).await;
    let calls = (0..40).map(|_| client.chat(&CHAT));
    let answers = join_all(calls).await;
    let mut left: Vec<&str> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .map(|answer| {
            answer
                .header("x-ratelimit-api_key-remaining-requests")
                .unwrap()
        })
        .collect();
    left.sort_by_key(|left| left.parse::<u32>().unwrap());
    assert_eq!(left, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(stage.upstream.requests().len(), 10);
    let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
    let message = refused.error(429)["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("Rate limit exceeded for api_key: "),
        "{message}"
    );
    assert!(
        message.contains("Limit type: requests. Current limit: 10, Remaining: 0."),
        "{message}"
    );
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // Another key has its own, and looking is no request.
    let (_, other) = key(&stage, json!({"rpm_limit": 1})).await;
    client.get("/v1/models").await.ok();
    other.chat(&chat("gpt-4o")).await.ok();
}

/// The window of two seconds ends, and begins with the next call.
#[tokio::test]
async fn a_window_of_ones_own_length() {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder(base_config(&upstream.api_base()));
    let stage = Stage::of(upstream, builder.env("LITELLM_RATE_LIMIT_WINDOW_SIZE", "2")).await;
    let (_, client) = key(&stage, json!({"rpm_limit": 1})).await;
    let begun = std::time::Instant::now();
    client.chat(&chat("gpt-4o")).await.ok();
    let refused = client.chat(&chat("gpt-4o")).await;
    if begun.elapsed().as_secs() < 2 {
        let wait = refused.header("retry-after").map(str::to_owned);
        refused.error(429);
        assert!(
            ["1", "2"].map(|s| Some(s.to_owned())).contains(&wait),
            "{wait:?}"
        );
    }
    eventually("the window is over", async || {
        (client.chat(&chat("gpt-4o")).await.status == 200).then_some(())
    })
    .await;
    assert!(begun.elapsed().as_secs() >= 2);
}

#[tokio::test]
async fn a_keys_tokens_are_reserved_and_corrected() {
    let stage = Stage::plain().await;
    let (_, client) = key(&stage, json!({"tpm_limit": 400})).await;
    let first = client.chat(&chat("gpt-4o")).await;
    let at_first: i64 = first
        .header("x-ratelimit-api_key-remaining-tokens")
        .unwrap()
        .parse()
        .unwrap();
    let used = first.ok()["usage"]["total_tokens"].as_i64().unwrap();
    // A quarter of the limit is the bound of an answer that has none.
    let sent = stage.upstream.requests().all()[0].json();
    assert_eq!(sent["max_tokens"], 100, "{sent}");
    let second = client.chat(&chat("gpt-4o")).await;
    let then: i64 = second
        .header("x-ratelimit-api_key-remaining-tokens")
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(at_first - then, used, "what was not used is given back");
    let mut body = chat("gpt-4o");
    body["max_tokens"] = json!(1000);
    let error = client.chat(&body).await;
    assert_eq!(error.header("rate_limit_type"), Some("tokens"));
    error.error(429);
    // A client that leaves its stream gives back what it did not get.
    let gate = Gate::new();
    stage.upstream.next(Reply::gated_stream(&frames(), &gate));
    gate.release();
    gate.release();
    body["max_tokens"] = json!(250);
    body["stream"] = json!(true);
    let mut left = client.open(&body).await;
    left.next_json().await;
    client.chat(&chat("gpt-4o")).await.error(429);
    drop(left);
    eventually("it is given back", async || {
        (client.chat(&chat("gpt-4o")).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_keys_calls_at_once() {
    let stage = Stage::plain().await;
    let (_, client) = key(
        &stage,
        json!({"max_parallel_requests": 2, "model_rpm_limit": {"gpt-4o": 100}}),
    )
    .await;
    let gates = [Gate::new(), Gate::new()];
    for gate in &gates {
        let held = Reply::gated_stream(&frames(), gate);
        stage.upstream.next(held);
        gate.release();
        gate.release();
    }
    let mut one = client.open(&chat_stream("gpt-4o")).await;
    let mut other = client.open(&chat_stream("gpt-4o")).await;
    one.next_json().await;
    other.next_json().await;
    let refused = client.chat(&chat("gpt-4o")).await;
    assert_eq!(
        refused.header("rate_limit_type"),
        Some("max_parallel_requests")
    );
    refused.error(429);
    drop(one);
    let answer = eventually("one has left", async || {
        let answer = client.chat(&chat("gpt-4o")).await;
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(
        answer.header("x-ratelimit-model_per_key-limit-requests"),
        Some("100")
    );
    assert!(
        answer
            .header("x-litellm-key-remaining-requests-gpt-4o")
            .is_some()
    );
    gates[1].open();
    other.rest().await;
}

/// A key with a budget: refused when it is used up, also after a restart; not when it is raised or its spend is set.
#[tokio::test]
async fn a_keys_budget_outlives_the_gateway_and_is_changed_at_once() {
    let upstream = FakeUpstream::start().await;
    let config = priced(&upstream.api_base(), "");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let (name, client) = key(&stage, json!({"max_budget": 5, "key_alias": "ci"})).await;
    client.chat(&chat("gpt-4o")).await.ok();
    let refused = client.chat(&chat("gpt-4o")).await.error(400);
    assert_eq!(refused["type"], "budget_exceeded");
    let Stage {
        mut gateway,
        upstream,
        ..
    } = stage;
    gateway.stop().await;
    let gateway = gateway.start_again().await;
    let admin = Client::of(&gateway).key(MASTER_KEY);
    let client = Client::of(&gateway).key(&name);
    let again = client.chat(&chat("gpt-4o")).await.error(400);
    assert_eq!(again["message"], refused["message"], "the database knows");
    let update = async |change: Value| {
        let mut body = json!({"key": name});
        body.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        admin.post("/key/update", &body).await.ok();
    };
    update(json!({"max_budget": 1000})).await;
    let answer = client.chat(&chat("gpt-4o")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-key-max-budget"), Some("1000.0"));
    update(json!({"max_budget": 5})).await;
    client.chat(&chat("gpt-4o")).await.error(400);
    update(json!({"spend": 0})).await;
    client.chat(&chat("gpt-4o")).await.ok();
    client.chat(&chat("gpt-4o")).await.error(400);
    assert_eq!(upstream.requests().len(), 3);
}

/// What is let in at a time is bounded by what it may cost: one call of a dollar a token uses up two dollars.
#[tokio::test]
async fn a_keys_budget_holds_under_concurrency() {
    let upstream = FakeUpstream::start().await;
    let config = priced(&upstream.api_base(), "");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let (_, client) = key(&stage, json!({"max_budget": 2})).await;
    let calls = (0..50).map(|_| client.chat(&CHAT));
    let answers = join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((served, stage.upstream.requests().len()), (1, 1));
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.error(400)["type"], "budget_exceeded");
    }
}

#[tokio::test]
async fn a_budget_for_one_model() {
    let upstream = FakeUpstream::start().await;
    let config = priced(&upstream.api_base(), "");
    let config = config.replace(
        "general_settings:",
        &format!("  - model_name: other\n    litellm_params: {{model: openai/gpt-4o-mini, api_base: '{}', api_key: {UPSTREAM_KEY}}}\ngeneral_settings:", upstream.api_base()),
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let body = json!({"key_alias": "ci", "model_max_budget": {"gpt-4o": {"budget_limit": 2, "time_period": "1d"}}});
    let (_, client) = key(&stage, body).await;
    client.chat(&chat("gpt-4o")).await.ok();
    let error = client.chat(&chat("gpt-4o")).await.error(400);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("key_alias: ci, exceeded budget for model=gpt-4o"),
        "{message}"
    );
    client.chat(&chat("other")).await.ok();
}

/// The whole gateway's spend is in the database, and counts after a restart.
#[tokio::test]
async fn the_gateways_spend_outlives_it() {
    let upstream = FakeUpstream::start().await;
    let config = priced(
        &upstream.api_base(),
        "litellm_settings: {max_budget: 5, budget_duration: 30d}\n",
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.client.chat(&chat("gpt-4o")).await.error(400);
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let gateway = gateway.start_again().await;
    let error = Client::of(&gateway)
        .key(MASTER_KEY)
        .chat(&chat("gpt-4o"))
        .await
        .error(400);
    assert_eq!(error["type"], "budget_exceeded");
}

/// Three gateways on one Redis and one database serve a key's requests together, and not one more.
#[tokio::test]
async fn a_keys_limits_hold_over_three_gateways() {
    let redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shared.db");
    let general = format!(
        "general_settings:\n  database_url: 'sqlite:{}'\n",
        file.display()
    );
    let config = base_config(&upstream.api_base())
        .replace("general_settings:\n", &general)
        .replace(
            "num_retries: 0\n",
            &format!("num_retries: 0\n  redis_url: '{}'\n", redis.url()),
        );
    let members = fleet(3, &config).await;
    let made = members[0]
        .1
        .post("/key/generate", &json!({"rpm_limit": 10}))
        .await
        .ok();
    let name = made["key"].as_str().unwrap();
    let clients: Vec<Client> = members
        .iter()
        .map(|(gateway, _)| Client::of(gateway).key(name))
        .collect();
    let calls = (0..60).map(|n: usize| clients[n % 3].chat(&CHAT));
    let answers = join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((served, upstream.requests().len()), (10, 10));
}

/// Tokens of a day, of a key and of its team; at two gateways on one Redis, after a restart, too.
#[tokio::test]
async fn a_keys_tokens_of_a_day() {
    let redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let general = format!(
        "general_settings:\n  database_url: 'sqlite:{}'\n",
        folder.path().join("shared.db").display()
    );
    let config = base_config(&upstream.api_base())
        .replace("general_settings:\n", &general)
        .replace(
            "num_retries: 0\n",
            &format!("num_retries: 0\n  redis_url: '{}'\n", redis.url()),
        );
    let mut members = fleet(2, &config).await;
    let admin = &members[0].1;
    let team = admin
        .post("/team/new", &json!({"tpd_limit": 30}))
        .await
        .ok();
    let team_id = team["team_id"].as_str().unwrap();
    for body in [json!({"tpd_limit": 30}), json!({"team_id": team_id})] {
        let made = members[0].1.post("/key/generate", &body).await.ok();
        let name = made["key"].as_str().unwrap().to_owned();
        let client = |member: usize| Client::of(&members[member].0).key(&name);
        client(0).chat(&CHAT).await.ok();
        let refused = client(1).chat(&CHAT).await;
        assert_eq!(refused.header("rate_limit_type"), Some("tokens_per_day"));
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((86_000..=86_400).contains(&wait), "{wait}");
        let error = refused.error(429);
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("Limit type: tokens_per_day. Current limit: 30"),
            "{message}"
        );
    }
    let made = members[0]
        .1
        .post("/key/generate", &json!({"tpd_limit": 30}))
        .await
        .ok();
    let name = made["key"].as_str().unwrap();
    Client::of(&members[1].0).key(name).chat(&CHAT).await.ok();
    let (mut killed, _) = members.remove(0);
    killed.signal(Signal::Kill).await;
    killed.ended().await;
    let again = killed.start_again().await;
    Client::of(&again).key(name).chat(&CHAT).await.error(429);
}

#[tokio::test]
async fn more_calls_at_once_than_limit_concurrency_allows_are_refused() {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(base_config(&upstream.api_base())).env("LIMIT_CONCURRENCY", "1");
    let stage = Stage::of(upstream, gateway).await;
    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let first = stage.client.clone();
    let first = tokio::spawn(async move { first.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    let refused = stage.client.chat(&chat("gpt-4o")).await;
    refused.error(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    gate.release();
    first.await.expect("a task").ok();
    stage.client.chat(&chat("gpt-4o")).await.ok();
}
