//! Many gateways on one Redis: what they hold together, and what they do without it.

use std::time::SystemTime;

use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;
use witgate_testkit::{
    FakeUpstream, Gate, Gateway, RedisCluster, RedisSentinel, RedisServer, Reply, Signal,
};

use crate::support::{Client, MASTER_KEY, chat, eventually};

/// A gateway of a fleet, and a client of it.
struct Member {
    gateway: Gateway,
    client: Client,
}

/// What a call may wait for Redis where a test is not about that.
const PATIENT: &str = "20";

async fn member(config: &str, timeout_s: &str) -> Member {
    let builder = Gateway::builder(config).env("REDIS_SOCKET_TIMEOUT", timeout_s);
    let gateway = builder.start().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    Member { gateway, client }
}

async fn fleet(count: usize, config: &str, timeout_s: &str) -> Vec<Member> {
    join_all((0..count).map(|_| member(config, timeout_s))).await
}

/// One deployment that may be called so often in a minute.
fn limited(upstream: &FakeUpstream, rpm: u32, router: &str) -> String {
    format!(
        "model_list:\n  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k, rpm: {rpm}}}\n    model_info: {{id: one}}\ngeneral_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0, optional_pre_call_checks: [enforce_model_rate_limits], {router}}}\n",
        upstream.api_base()
    )
}

fn minute() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("it is after 1970").as_secs() / 60
}

/// Calls all members at once, each this often; how many calls were served. `None` when a minute ended
/// meanwhile: limits are the minute's.
async fn served(members: &[Member], each: usize) -> Option<usize> {
    let begun = minute();
    let calls = members
        .iter()
        .flat_map(|member| (0..each).map(|_| member.client.chat(&CHAT)));
    let answers = join_all(calls).await;
    for answer in &answers {
        assert!(matches!(answer.status, 200 | 429), "{}", answer.text());
    }
    let ok = answers.iter().filter(|answer| answer.status == 200).count();
    (minute() == begun).then_some(ok)
}

static CHAT: std::sync::LazyLock<serde_json::Value> = std::sync::LazyLock::new(|| chat("a"));

/// Three gateways serve a deployment's calls per minute together, and not one more.
async fn hold_a_limit(router: &str) {
    loop {
        let upstream = FakeUpstream::start().await;
        // A new id for each time: the minute before may have been counted.
        let id = upstream.api_base().replace(['/', ':'], "");
        let config = limited(&upstream, 20, router).replace("id: one", &format!("id: x{id}"));
        let members = fleet(3, &config, PATIENT).await;
        let Some(served) = served(&members, 20).await else {
            continue;
        };
        assert_eq!(served, 20, "{router}");
        assert_eq!(upstream.requests().len(), 20, "{router}");
        for member in &members {
            let ready = member.client.get("/health/readiness").await.ok();
            assert_eq!(ready["redis"], "connected", "{router}");
        }
        return;
    }
}

#[tokio::test]
async fn three_gateways_hold_one_limit() {
    let server = RedisServer::start().await;
    hold_a_limit(&format!("redis_url: '{}'", server.url())).await;
    let keys = server.cli(&["KEYS", "*"]).await;
    assert!(keys.contains(":openai/m:rpm:"), "LiteLLM's key: {keys}");
}

#[tokio::test]
async fn a_cluster_holds_the_limit() {
    let cluster = RedisCluster::start().await;
    let nodes = cluster.nodes.iter();
    let nodes = nodes.map(|node| format!("{{host: 127.0.0.1, port: '{}'}}", node.port));
    let nodes = nodes.collect::<Vec<_>>().join(", ");
    hold_a_limit(&format!("cache_kwargs: {{redis_startup_nodes: [{nodes}]}}")).await;
}

#[tokio::test]
async fn sentinels_lead_to_the_next_master() {
    let mut three = RedisSentinel::start().await;
    let port = three.sentinel.port;
    let router =
        format!("cache_kwargs: {{service_name: mymaster, sentinel_nodes: [[127.0.0.1, {port}]]}}");
    hold_a_limit(&router).await;
    let upstream = FakeUpstream::start().await;
    let member = member(&limited(&upstream, 1000, &router), PATIENT).await;
    member.client.chat(&CHAT).await.ok();
    three.master.kill().await;
    eventually("the next master counts calls", async || {
        member.client.chat(&CHAT).await.ok();
        let keys = three.replica.cli(&["KEYS", "one:*"]).await;
        let role = three.replica.cli(&["ROLE"]).await;
        let metrics = member.gateway.metrics().await;
        let is_up = metrics.count("witgate_redis_connected", &[]) == 1.0;
        (is_up && role.starts_with("master") && keys.contains(":rpm:")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("c.pem"), made.cert.pem()).expect("write it");
    std::fs::write(path("k.pem"), made.signing_key.serialize_pem()).expect("write it");
    let (cert, key) = (path("c.pem"), path("k.pem"));
    let server = RedisServer::start_with(&[
        "--tls-port",
        "{port2}",
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "no",
        "--requirepass",
        "hunter2",
    ])
    .await;
    let port = server.other_port;
    hold_a_limit(&format!(
        "redis_host: localhost, redis_port: {port}, redis_password: hunter2, cache_kwargs: {{ssl: true, ssl_ca_certs: '{cert}'}}"
    ))
    .await;
    // Who is not trusted is not spoken to, and the calls are served all the same.
    let upstream = FakeUpstream::start().await;
    let router = format!("redis_url: 'rediss://:hunter2@localhost:{port}'");
    let member = member(&limited(&upstream, 5, &router), PATIENT).await;
    member.client.chat(&CHAT).await.ok();
    member.gateway.wait_for_log("Redis cannot be reached").await;
    assert!(!member.gateway.printed("hunter2"));
}

#[tokio::test]
async fn a_cooldown_is_seen_by_the_others() {
    let server = RedisServer::start().await;
    let (first, second) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let deployment = |upstream: &FakeUpstream, order: u32| {
        format!(
            "  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k, order: {order}}}\n    model_info: {{id: d{order}}}\n",
            upstream.api_base()
        )
    };
    let config = format!(
        "model_list:\n{}{}general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0, cooldown_time: 3600, redis_url: '{}'}}\n",
        deployment(&first, 1),
        deployment(&second, 2),
        server.url()
    );
    let members = fleet(2, &config, PATIENT).await;
    let [here, there] = &members[..] else {
        panic!("two were started");
    };
    first.next(Reply::error(429, "rate_limit_error", None, "no"));
    let by = |answer: &crate::support::Answer| {
        answer.ok();
        answer.header("x-litellm-model-id").map(str::to_owned)
    };
    let answer = here.client.chat(&CHAT).await;
    assert_eq!(by(&answer).as_deref(), Some("d2"), "it failed here");
    eventually("the other gateway passes it over", async || {
        let answer = there.client.chat(&CHAT).await;
        (by(&answer).as_deref() == Some("d2")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_budget_is_spent_by_all() {
    let server = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = |price: &str| {
        format!(
            "model_list:\n  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k, input_cost_per_token: {price}, output_cost_per_token: {price}}}\ngeneral_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0, provider_budget_config: {{openai: {{budget_limit: 1, time_period: 1d}}}}, redis_url: '{}'}}\n",
            upstream.api_base(),
            server.url()
        )
    };
    // The second one spends nothing itself.
    let (spends, looks) = (config("1.0"), config("0.0"));
    let (here, there) = tokio::join!(member(&spends, PATIENT), member(&looks, PATIENT));
    there.client.chat(&CHAT).await.ok();
    here.client.chat(&CHAT).await.ok();
    eventually("the budget is spent there, too", async || {
        let answer = there.client.chat(&CHAT).await;
        (answer.status == 429).then_some(())
    })
    .await;
}

/// Calls at several clients until `holds`; every one must be served.
async fn under_load(member: &Member, what: &str, holds: impl AsyncFn() -> bool) {
    eventually(what, async || {
        let calls = (0..8).map(|_| member.client.chat(&CHAT));
        for answer in join_all(calls).await {
            answer.ok();
        }
        holds().await.then_some(())
    })
    .await;
}

async fn gauge(member: &Member, name: &str) -> f64 {
    member.gateway.metrics().await.count(name, &[])
}

async fn operations(member: &Member, outcome: &str) -> f64 {
    let metrics = member.gateway.metrics().await;
    metrics.count("witgate_redis_operations_total", &[("outcome", outcome)])
}

const OPEN: &str = "witgate_redis_breaker_open";
const CONNECTED: &str = "witgate_redis_connected";

#[tokio::test]
async fn redis_killed_under_load() {
    let mut server = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let router = format!("redis_url: '{}'", server.url());
    let member = member(&limited(&upstream, 1_000_000, &router), PATIENT).await;
    under_load(&member, "Redis counts", async || {
        operations(&member, "ok").await > 8.0
    })
    .await;
    server.kill().await;
    under_load(&member, "Redis is left alone", async || {
        gauge(&member, OPEN).await == 1.0 && operations(&member, "resting").await > 8.0
    })
    .await;
    assert_eq!(
        operations(&member, "timeout").await,
        0.0,
        "nobody waits for who is dead"
    );
    let ready = member.client.get("/health/readiness").await.ok();
    assert_eq!(ready["redis"], "resting");
    server.start_again().await;
    under_load(&member, "Redis counts again", async || {
        gauge(&member, CONNECTED).await == 1.0
            && gauge(&member, OPEN).await == 0.0
            && server.cli(&["KEYS", "one:*"]).await.contains(":rpm:")
    })
    .await;
}

#[tokio::test]
async fn redis_paused_under_load() {
    let server = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let router = format!("redis_url: '{}'", server.url());
    let member = member(&limited(&upstream, 1_000_000, &router), "0.1").await;
    under_load(&member, "Redis counts", async || {
        operations(&member, "ok").await > 8.0
    })
    .await;
    server.pause().await;
    under_load(&member, "Redis is left alone", async || {
        gauge(&member, OPEN).await == 1.0 && operations(&member, "resting").await > 8.0
    })
    .await;
    assert!(operations(&member, "timeout").await >= 5.0);
    server.resume().await;
    under_load(&member, "Redis is asked again", async || {
        gauge(&member, CONNECTED).await == 1.0 && gauge(&member, OPEN).await == 0.0
    })
    .await;
}

/// Documented: without Redis each gateway keeps its limits for itself.
#[tokio::test]
async fn without_redis_each_counts_for_itself() {
    let mut server = RedisServer::start().await;
    server.kill().await;
    loop {
        let upstream = FakeUpstream::start().await;
        let router = format!("redis_url: '{}'", server.url());
        let members = fleet(2, &limited(&upstream, 3, &router), PATIENT).await;
        if let Some(served) = served(&members, 5).await {
            assert_eq!(served, 6);
            return;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_redis_settings_is_told_without_the_password() {
    let config = "model_list: []\nrouter_settings: {redis_url: 'http://:hunter2@h'}\n";
    let refusal = Gateway::builder(config).expect_refusal().await;
    assert!(refusal.output.contains("redis://"), "{}", refusal.output);
    assert!(!refusal.output.contains("hunter2"), "{}", refusal.output);
}

/// Two gateways with a database of each their own: what the second knows of the first one's keys it has from Redis.
#[tokio::test]
async fn a_key_is_known_to_another_gateway_by_redis_until_it_changes() {
    let (upstream, redis) = (FakeUpstream::start().await, RedisServer::start().await);
    let config = format!(
        "model_list:\n  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k}}\ngeneral_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{redis_url: '{}'}}\nlitellm_settings: {{enable_redis_auth_cache: true}}\n",
        upstream.api_base(),
        redis.url()
    );
    let members = fleet(2, &config, PATIENT).await;
    let [first, second] = &members[..] else {
        panic!("two gateways")
    };
    let key = "sk-shared-key-0123456789";
    let made = serde_json::json!({"key": key, "user_id": "ann"});
    let made = first.client.post("/key/generate", &made).await.ok();
    let token = made["token"].as_str().unwrap();
    let own = Client::of(&first.gateway).key(key);
    own.chat(&CHAT).await.ok();
    let entry = format!("witgate:auth:key:{token}");
    let sealed = redis
        .cli_until(&["GET", &entry], |value| !value.trim().is_empty())
        .await;
    for secret in [key, token, "ann"] {
        assert!(!sealed.contains(secret), "{sealed}");
    }
    let other = Client::of(&second.gateway).key(key);
    other.chat(&CHAT).await.ok();
    // What Redis says of a key that nobody made is not believed, nor one key's entry for another.
    let foreign = Sha256::digest("sk-foreign-key-0123456789");
    let foreign: String = foreign.iter().map(|byte| format!("{byte:02x}")).collect();
    let place = format!("witgate:auth:key:{foreign}");
    redis.cli(&["SET", &place, sealed.trim()]).await;
    let stranger = Client::of(&second.gateway).key("sk-foreign-key-0123456789");
    stranger.chat(&CHAT).await.error(401);
    // A change begins a new generation: what is there counts no more, even when somebody puts it back.
    let named = serde_json::json!({ "key": key });
    first.client.post("/key/block", &named).await.ok();
    own.chat(&CHAT).await.error(401);
    eventually("the other gateway knows", async || {
        redis.cli(&["SET", &entry, sealed.trim()]).await;
        let answer = other.chat(&CHAT).await;
        (answer.status == 401).then_some(())
    })
    .await;
}

/// One deployment that may have so many calls under way.
fn few_at_once(upstream: &FakeUpstream, most: u32, redis: &RedisServer) -> String {
    limited(upstream, 1000, &format!("redis_url: '{}'", redis.url()))
        .replace("rpm: 1000", &format!("max_parallel_requests: {most}"))
        .replace(
            "optional_pre_call_checks: [enforce_model_rate_limits], ",
            "",
        )
}

/// A call that waits for its answer until the gate is open.
async fn held(member: &Member, upstream: &FakeUpstream, gate: &Gate) -> JoinHandle<Option<u16>> {
    upstream.next(Reply::openai().behind(gate));
    let client = member.client.clone();
    let held = tokio::spawn(async move { Some(client.try_chat(&CHAT).await?.status) });
    gate.reached(1).await;
    held
}

#[tokio::test]
async fn three_gateways_hold_a_deployments_calls_at_once() {
    let (redis, upstream) = (RedisServer::start().await, FakeUpstream::start().await);
    let members = fleet(3, &few_at_once(&upstream, 4, &redis), PATIENT).await;
    let gate = Gate::new();
    upstream.always(Reply::openai().behind(&gate));
    let calls = members.iter().flat_map(|member| {
        (0..8).map(|_| {
            let client = member.client.clone();
            tokio::spawn(async move { client.chat(&CHAT).await })
        })
    });
    let calls: Vec<_> = calls.collect();
    gate.reached(4).await;
    eventually("the others are refused", async || {
        let refused = calls.iter().filter(|call| call.is_finished()).count();
        (refused == 20).then_some(())
    })
    .await;
    gate.open();
    let mut served = 0;
    for call in calls {
        let answer = call.await.expect("a call");
        if answer.status == 200 {
            served += 1;
            continue;
        }
        let message = answer.error(429)["message"].to_string();
        assert!(
            message.contains("Deployment has all max_parallel_requests slots in use."),
            "{message}"
        );
    }
    assert_eq!((served, upstream.requests().len()), (4, 4));
    // What was held is free again, for each of them.
    for member in &members {
        eventually("a place is free", async || {
            (member.client.chat(&CHAT).await.status == 200).then_some(())
        })
        .await;
    }
}

/// The lease of a call of a gateway that was killed ends by itself; the test makes it older instead of waiting.
#[tokio::test]
async fn a_place_of_a_killed_gateway_is_free_when_its_lease_is_over() {
    let (redis, upstream) = (RedisServer::start().await, FakeUpstream::start().await);
    let members = fleet(3, &few_at_once(&upstream, 1, &redis), PATIENT).await;
    let held = held(&members[0], &upstream, &Gate::new()).await;
    members[1].client.chat(&CHAT).await.error(429);
    members[0].gateway.signal(Signal::Kill).await;
    assert_eq!(held.await.expect("a call"), None, "it was cut");
    members[2].client.chat(&CHAT).await.error(429);
    const INSIDE: &str = "{deployment:one}:max_parallel_requests";
    let lines = redis
        .cli(&["ZRANGE", INSIDE, "0", "-1", "WITHSCORES"])
        .await;
    let lines: Vec<&str> = lines.lines().collect();
    let [member, since] = lines[..] else {
        panic!("one call is inside: {lines:?}");
    };
    let since: f64 = since.parse().expect("a time");
    redis
        .cli(&["ZADD", INSIDE, "XX", &(since - 61.0).to_string(), member])
        .await;
    members[2].client.chat(&CHAT).await.ok();
}

#[tokio::test]
async fn without_redis_each_holds_a_deployments_calls_at_once() {
    let (mut redis, upstream) = (RedisServer::start().await, FakeUpstream::start().await);
    let config = few_at_once(&upstream, 1, &redis);
    let members = fleet(2, &config, "0.5").await;
    members[0].client.chat(&CHAT).await.ok();
    redis.kill().await;
    let gate = Gate::new();
    let first = held(&members[0], &upstream, &gate).await;
    members[0].client.chat(&CHAT).await.error(429);
    members[1].client.chat(&CHAT).await.ok();
    gate.open();
    assert_eq!(first.await.expect("a call"), Some(200));
    members[0].client.chat(&CHAT).await.ok();
}

/// One deployment that may be called so often in a day, which begins in twelve hours.
fn daily(upstream: &FakeUpstream, limit: &str, router: &str) -> String {
    limited(upstream, 1000, router).replace("rpm: 1000", limit)
}

/// A day's calls are had by all gateways together, also by one that has been started again, and tokens likewise.
#[tokio::test]
async fn a_day_is_had_by_all_and_outlives_a_gateway() {
    for limit in ["rpd: 2", "tpd: 36"] {
        let (redis, upstream) = (RedisServer::start().await, FakeUpstream::start().await);
        let config = daily(&upstream, limit, &format!("redis_url: '{}'", redis.url()));
        let mut members = fleet(2, &config, PATIENT).await;
        members[0].client.chat(&CHAT).await.ok();
        members[0].client.chat(&CHAT).await.ok();
        eventually("the other gateway hears of it", async || {
            (members[1].client.chat(&CHAT).await.status == 429).then_some(())
        })
        .await;
        let refused = members[1].client.chat(&CHAT).await;
        let message = refused.error(429)["message"].to_string();
        assert!(message.contains("of the day are used up"), "{message}");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=86_400).contains(&wait), "{wait}");
        members[0].gateway.signal(Signal::Kill).await;
        let again = member(&config, PATIENT).await;
        eventually("it has heard of the day", async || {
            (again.client.chat(&CHAT).await.status == 429).then_some(())
        })
        .await;
        members.clear();
    }
}

/// The limits, whether a check keeps to them, how many of three calls are served.
#[tokio::test]
async fn quotas_of_a_deployment_without_redis() {
    for (limit, router, served) in [
        ("rpd: 2, daily_reset_time: '08:30'", "", 2),
        ("tpd: 36", "", 2),
        ("itpm: 30", "", 2),
        ("otpm: 14", "", 2),
        ("rpd: 2", "optional_pre_call_checks: []", 3),
    ] {
        loop {
            let begun = minute();
            let upstream = FakeUpstream::start().await;
            let mut config = daily(&upstream, limit, "");
            if !router.is_empty() {
                config = config.replace(
                    "optional_pre_call_checks: [enforce_model_rate_limits]",
                    router,
                );
            }
            let member = member(&config, PATIENT).await;
            let mut answered = 0;
            for _ in 0..3 {
                // What a call used is counted when it has been settled.
                let status = member.client.chat(&CHAT).await.status;
                answered += usize::from(status == 200);
                eventually("it is settled", async || {
                    (gauge(&member, "witgate_requests_in_flight").await == 0.0).then_some(())
                })
                .await;
            }
            if minute() != begun {
                continue;
            }
            assert_eq!(answered, served, "{limit}");
            if served < 3 {
                let told = member.client.post("/utils/explain", &CHAT).await.json();
                let filter = match limit.contains("pm") {
                    true => "rate_limit",
                    false => "daily_limit",
                };
                assert_eq!(told["candidates"][0]["dropped_by"], filter, "{told}");
            } else {
                let log = member.gateway.logs().all().join("\n");
                assert!(log.contains("enforce_model_rate_limits"), "{log}");
            }
            break;
        }
    }
}

#[tokio::test]
async fn a_day_that_begins_at_no_time_is_refused() {
    let upstream = FakeUpstream::start().await;
    for wrong in ["25:00", "8:30", "noon", "08:60"] {
        let config = daily(
            &upstream,
            &format!("rpd: 2, daily_reset_time: '{wrong}'"),
            "",
        );
        let refusal = Gateway::builder(&config).expect_refusal().await;
        let told = &refusal.output;
        assert!(
            told.contains("daily_reset_time") && told.contains("HH:MM"),
            "{told}"
        );
    }
}
