//! Answers in a Redis that gateways share, and what becomes of calls when it is gone.

use serde_json::{Value, json};
use witgate_testkit::{
    FakeUpstream, Gateway, REDIS_ACCOUNT, REDIS_TOKEN, RedisServer, fake_clouds, openai,
    service_account,
};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, eventually};

fn config(upstream: &FakeUpstream, redis: &RedisServer, more: &str) -> String {
    base_config(&upstream.api_base())
        + &format!(
            "litellm_settings: {{cache: true, cache_params: {{type: redis, host: 127.0.0.1, port: {}{more}}}}}\n",
            redis.port
        )
}

/// The keys in a Redis, when there are so many.
async fn keys(redis: &RedisServer, pattern: &str, count: usize) -> Vec<String> {
    // What gateways tell each other of themselves is there in its own time.
    let of_cache = |listed: &str| -> Vec<String> {
        let lines = listed.lines().filter(|key| !key.contains("witgate:"));
        lines.map(str::to_owned).collect()
    };
    let is_all = |listed: &str| of_cache(listed).len() == count;
    of_cache(&redis.cli_until(&["KEYS", pattern], is_all).await)
}

#[tokio::test]
async fn what_one_gateway_kept_answers_at_another() {
    let redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream, &redis, ", namespace: ours, ttl: 600");
    let stage = Stage::of(upstream, Gateway::builder(&config)).await;
    let other = Gateway::start(&config).await;
    let other_client = Client::of(&other).key(MASTER_KEY);
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let kept = keys(&redis, "ours:*", 1).await;
    let hit = other_client.chat(&chat("gpt-4o")).await;
    assert_eq!(stage.upstream.requests().len(), 1);
    // The namespace stands before it once.
    assert_eq!(hit.header("x-litellm-cache-key"), Some(kept[0].as_str()));
    let entry: Value =
        serde_json::from_str(redis.cli(&["GET", &kept[0]]).await.trim()).expect("JSON");
    let response: Value =
        serde_json::from_str(entry["response"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        response["choices"][0]["message"]["content"],
        openai::DEFAULT_TEXT
    );
    let ttl: i64 = redis
        .cli(&["TTL", &kept[0]])
        .await
        .trim()
        .parse()
        .expect("a number");
    assert!((1..=600).contains(&ttl), "{ttl}");
    // The administrator's routes.
    let ping = stage.client.get("/cache/ping").await.ok();
    assert_eq!(
        (&ping["cache_type"], &ping["ping_response"]),
        (&json!("redis"), &json!(true))
    );
    assert_eq!(ping["set_cache_response"], "success");
    let info = stage.client.get("/cache/redis/info").await.ok();
    assert!(info["info"]["redis_version"].is_string(), "{info}");
    assert!(info["num_clients"].as_i64() >= Some(1), "{info}");
    redis.cli(&["SET", "theirs", "1"]).await;
    let flushed = stage.client.post("/cache/flushall", &json!({})).await;
    flushed.ok();
    assert_eq!(keys(&redis, "*", 1).await, ["theirs"]);
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 2);
}

#[tokio::test]
async fn a_redis_that_is_paused_or_dead_costs_nobody_an_answer() {
    let mut redis = RedisServer::start().await;
    let upstream = FakeUpstream::start().await;
    // Nothing is held in front of it, so that each call has to look.
    let config = config(&upstream, &redis, ", default_in_memory_ttl: 0.001");
    let stage = Stage::of(upstream, Gateway::builder(&config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    keys(&redis, "*", 1).await;
    redis.pause().await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 2);
    redis.resume().await;
    redis.kill().await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 3);
    let error = stage.client.get("/cache/ping").await.error(503);
    assert_eq!(error["type"], "cache_ping_error");
    redis.start_again().await;
    eventually("a hit again", async || {
        let answer = stage.client.chat(&chat("gpt-4o")).await;
        answer.ok();
        answer.header("x-litellm-cache-key").map(|_| ())
    })
    .await;
}

/// As who the gateway asks for the token: a key file, or the machine it runs on.
#[tokio::test]
async fn a_redis_of_google_cloud_is_entered_with_a_token_of_a_service_account() {
    let clouds = fake_clouds().await;
    let origin = clouds.origin();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), service_account(&origin)).expect("written");
    let host = origin.strip_prefix("http://").expect("http");
    let path = file.path().display().to_string();
    for (name, value) in [
        ("GOOGLE_APPLICATION_CREDENTIALS", path.as_str()),
        ("GCE_METADATA_HOST", host),
    ] {
        let mut redis = RedisServer::start_with(&["--requirepass", REDIS_TOKEN]).await;
        let upstream = FakeUpstream::start().await;
        let more = format!(
            ", gcp_service_account: {REDIS_ACCOUNT}, gcp_iam_endpoint_url: '{origin}', default_in_memory_ttl: 0.001"
        );
        let config = config(&upstream, &redis, &more);
        let builder = Gateway::builder(config)
            .env(name, value)
            .env("REDIS_SOCKET_TIMEOUT", "20");
        let stage = Stage::of(upstream, builder).await;
        let is_healthy = async || {
            let ping = stage.client.get("/cache/ping").await;
            (ping.status == 200).then_some(())
        };
        eventually("the Redis is entered", is_healthy).await;
        let asked = || {
            let taken = clouds.taken().all();
            taken.iter().filter(|one| one["iam"].is_string()).count()
        };
        let before = asked();
        // A connection that is made anew has a token of its own.
        redis.kill().await;
        redis.start_again().await;
        eventually("the Redis is entered again", is_healthy).await;
        assert!(asked() > before, "{name}");
        clouds.refused_nothing();
        assert!(!stage.gateway.printed(REDIS_TOKEN), "{name}");
    }
}

#[tokio::test]
async fn without_a_token_the_redis_is_done_without() {
    let clouds = fake_clouds().await;
    let redis = RedisServer::start_with(&["--requirepass", REDIS_TOKEN]).await;
    let upstream = FakeUpstream::start().await;
    let origin = clouds.origin();
    let host = origin.strip_prefix("http://").expect("http").to_owned();
    let more = format!(", gcp_service_account: other@x.test, gcp_iam_endpoint_url: '{origin}'");
    let builder = Gateway::builder(config(&upstream, &redis, &more)).env("GCE_METADATA_HOST", host);
    let stage = Stage::of(upstream, builder).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let line = stage.gateway.wait_for_log("Redis cannot be reached").await;
    assert!(
        line.contains("IAM answers 403: PERMISSION_DENIED"),
        "{line}"
    );
}
