//! LiteLLM's dynamic rate limiters: a model group's limits, shared out by priority.

use futures_util::future::join_all;
use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, RedisServer};

use crate::support::{Answer, Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat, eventually};

/// The model `gpt-4o` with these limits, and a dynamic limiter with these settings.
fn config(api_base: &str, limits: &str, litellm: &str) -> String {
    format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, {limits}}}\n\
         general_settings:\n  master_key: {MASTER_KEY}\n\
         router_settings:\n  num_retries: 0\n\
         litellm_settings: {{{litellm}}}\n"
    )
}

/// A client with a key of this priority.
async fn with_priority(gateway: &Gateway, admin: &Client, priority: Option<&str>) -> Client {
    let body = match priority {
        Some(priority) => json!({"metadata": {"priority": priority}}),
        None => json!({}),
    };
    let made = admin.post("/key/generate", &body).await.ok();
    Client::of(gateway).key(made["key"].as_str().expect("a key"))
}

fn message(refused: &Answer) -> String {
    assert!(refused.header("retry-after").is_some());
    refused.error(429)["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_priority_is_held_to_its_share_once_the_group_is_saturated() {
    let upstream = FakeUpstream::start().await;
    let settings = "callbacks: [dynamic_rate_limiter_v3], priority_reservation: {prod: 0.8, dev: {type: rpm, value: 2}}";
    let config = config(&upstream.api_base(), "rpm: 10", settings);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let key = async |priority| with_priority(&stage.gateway, &stage.client, priority).await;
    let (prod, dev, none) = (
        key(Some("prod")).await,
        key(Some("dev")).await,
        key(None).await,
    );
    // Until the half of the group is used dev may borrow what nobody else takes.
    for _ in 0..5 {
        let answer = dev.chat(&chat("gpt-4o")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-priority"), Some("dev"));
        assert_eq!(answer.header("x-litellm-rate-limiter-version"), Some("v3"));
        assert_eq!(
            answer.header("x-ratelimit-priority_model-limit-requests"),
            None
        );
    }
    assert_eq!(
        message(&dev.chat(&chat("gpt-4o")).await),
        "Priority-based rate limit exceeded. Priority: dev, Rate limit type: requests, Remaining: 0, Model saturation: 50.0%"
    );
    let answer = prod.chat(&chat("gpt-4o")).await;
    answer.ok();
    let header = |name: &str| answer.header(name).map(str::to_owned);
    assert_eq!(
        header("x-ratelimit-priority_model-limit-requests").as_deref(),
        Some("8")
    );
    assert_eq!(
        header("x-ratelimit-model_saturation_check-remaining-requests").as_deref(),
        Some("4")
    );
    // Those without a priority have a quarter together.
    for _ in 0..2 {
        let answer = none.chat(&chat("gpt-4o")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-priority"), Some("default"));
    }
    let admins = message(&stage.client.chat(&chat("gpt-4o")).await);
    assert!(
        admins.starts_with("Priority-based rate limit exceeded. Priority: None"),
        "{admins}"
    );
    for _ in 0..2 {
        prod.chat(&chat("gpt-4o")).await.ok();
    }
    assert_eq!(
        message(&prod.chat(&chat("gpt-4o")).await),
        "Model capacity reached for gpt-4o. Priority: prod, Rate limit type: requests, Remaining: 0"
    );
    assert_eq!(stage.upstream.requests().len(), 10);
}

/// The priority of the team is stronger than the key's; tokens are shared out like requests.
#[tokio::test]
async fn a_team_has_a_priority_and_tokens_are_shared_out_too() {
    let upstream = FakeUpstream::start().await;
    let settings = "callbacks: [dynamic_rate_limiter_v3], priority_reservation: {low: 0.1}, priority_reservation_settings: {saturation_threshold: 0}";
    let config = config(&upstream.api_base(), "tpm: 1000", settings);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let team = json!({"team_alias": "red", "metadata": {"priority": "low"}});
    let team = stage.client.post("/team/new", &team).await.ok();
    let body = json!({"team_id": team["team_id"], "metadata": {"priority": "high"}});
    let made = stage.client.post("/key/generate", &body).await.ok();
    let client = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    let mut body = chat("gpt-4o");
    body["max_tokens"] = json!(150);
    let refused = message(&client.chat(&body).await);
    assert!(
        refused.starts_with("Priority-based rate limit exceeded. Priority: low, Rate limit type: tokens, Remaining: 100"),
        "{refused}"
    );
    body["max_tokens"] = json!(50);
    let answer = client.chat(&body).await;
    answer.ok();
    assert_eq!(
        answer.header("x-ratelimit-priority_model-limit-tokens"),
        Some("100")
    );
}

/// What one scenario sees within one minute of the calendar; `None` when the minute ended meanwhile.
async fn within_a_minute<T>(scenario: impl AsyncFnOnce() -> T) -> Option<T> {
    let minute = || jiff::Timestamp::now().as_second() / 60;
    let begun = minute();
    let seen = scenario().await;
    (minute() == begun).then_some(seen)
}

#[tokio::test]
async fn keys_that_are_active_have_equal_parts_of_what_is_left() {
    let upstream = FakeUpstream::start().await;
    let settings = "callbacks: [dynamic_rate_limiter], priority_reservation: {half: 0.5}";
    let config = config(&upstream.api_base(), "rpm: 4", settings);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let key = async |priority| with_priority(&stage.gateway, &stage.client, priority).await;
    let (one, other, half) = (key(None).await, key(None).await, key(Some("half")).await);
    let told = eventually("a minute that is long enough", async || {
        within_a_minute(async || {
            let mut told = Vec::new();
            for client in [&one, &other, &half, &one] {
                told.push(client.chat(&chat("gpt-4o")).await);
            }
            told
        })
        .await
    })
    .await;
    let statuses: Vec<u16> = told.iter().map(|answer| answer.status).collect();
    // 4 of 4, 3 of 3, half of the 2 for one of two keys is nothing, one of two.
    assert_eq!(statuses, [200, 200, 429, 200]);
    let refused = message(&told[2]);
    assert!(
        refused.ends_with(" over available RPM=0. Model RPM=2, Active keys=2"),
        "{refused}"
    );
    let header = |name: &str| told[3].header(name).map(str::to_owned);
    assert_eq!(
        header("x-ratelimit-current-active-projects").as_deref(),
        Some("2")
    );
    assert_eq!(
        header("x-ratelimit-remaining-model-requests").as_deref(),
        Some("2")
    );
    assert_eq!(
        header("x-ratelimit-remaining-litellm-project-requests").as_deref(),
        Some("1")
    );
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

/// One Redis and one database for these.
fn together(config: &str, redis: &RedisServer, database: &std::path::Path) -> String {
    let general = format!(
        "general_settings:\n  database_url: 'sqlite:{}'\n",
        database.display()
    );
    config.replace("general_settings:\n", &general).replace(
        "num_retries: 0\n",
        &format!("num_retries: 0\n  redis_url: '{}'\n", redis.url()),
    )
}

#[tokio::test]
async fn three_gateways_share_out_one_group() {
    let redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = "callbacks: [dynamic_rate_limiter_v3], priority_reservation: {all: 1.0}";
    let config = config(&upstream.api_base(), "rpm: 10", settings);
    let config = together(&config, &redis, &folder.path().join("shared.db"));
    let members = fleet(3, &config).await;
    let body = json!({"metadata": {"priority": "all"}});
    let made = members[0].1.post("/key/generate", &body).await.ok();
    let name = made["key"].as_str().unwrap();
    let clients: Vec<Client> = members
        .iter()
        .map(|(gateway, _)| Client::of(gateway).key(name))
        .collect();
    let body: Value = chat("gpt-4o");
    let calls = (0..60).map(|n: usize| clients[n % 3].chat(&body));
    let answers = join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((served, upstream.requests().len()), (10, 10));
    // The counters have LiteLLM's names.
    let counted = redis
        .cli(&["GET", "{priority_model:gpt-4o:all}:requests"])
        .await;
    assert_eq!(counted.trim(), "10");
}

#[tokio::test]
async fn gateways_know_each_others_active_keys() {
    let redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(
        &upstream.api_base(),
        "rpm: 100000",
        "callbacks: [dynamic_rate_limiter]",
    );
    let config = together(&config, &redis, &folder.path().join("shared.db"));
    let members = fleet(2, &config).await;
    let mut clients = Vec::new();
    for (gateway, admin) in &members {
        clients.push(with_priority(gateway, admin, None).await);
    }
    eventually("both keys are known at both", async || {
        let mut told = Vec::new();
        for client in &clients {
            let answer = client.chat(&chat("gpt-4o")).await;
            answer.ok();
            let active = answer.header("x-ratelimit-current-active-projects");
            told.push(active.map(str::to_owned));
        }
        told.iter()
            .all(|active| active.as_deref() == Some("2"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn shares_that_are_none_refuse_the_configuration() {
    let settings = "callbacks: [dynamic_rate_limiter_v3], priority_reservation: {prod: -1}";
    let config = config("http://127.0.0.1:1/v1", "rpm: 10", settings);
    let refusal = Gateway::builder(config).expect_refusal().await;
    assert!(
        refusal
            .output
            .contains("litellm_settings.priority_reservation.prod: expected a share"),
        "{}",
        refusal.output
    );
}
