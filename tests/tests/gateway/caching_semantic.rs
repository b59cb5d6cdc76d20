//! Semantic caches: questions that mean the same have one answer, within one tenant and one set of parameters.

use serde_json::{Value, json};
use witgate_testkit::{
    COLLECTION, FakeUpstream, Gateway, GatewayBuilder, QDRANT_KEY, RedisServer, Reply, fake_qdrant,
};

use crate::support::{Answer, Client, Stage, base_config, eventually};

async fn stage(params: &str, shape: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + &format!("litellm_settings: {{cache: true, cache_params: {{{params}}}}}\n");
    Stage::of(upstream, shape(Gateway::builder(config))).await
}

/// Asks; the question's embedding is this.
async fn ask(stage: &Stage, client: &Client, question: &str, embedding: [f64; 2]) -> Answer {
    let body = json!({"object": "list", "model": "e", "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3}});
    stage.upstream.next(Reply::json(200, &body));
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": question}]});
    let answer = client.chat(&body).await;
    answer.ok();
    answer
}

fn is_hit(answer: &Answer) -> bool {
    answer.header("x-litellm-cache-key").is_some()
}

fn similarity(answer: &Answer) -> f64 {
    let header = answer.header("x-litellm-semantic-similarity");
    header.expect("a similarity").parse().expect("a number")
}

#[tokio::test]
async fn without_a_server_questions_are_compared_in_the_process() {
    for params in [
        "type: semantic, similarity_threshold: 0.8, semantic_cache_embedding_model: text-embedding-3-small",
        "type: qdrant-semantic, qdrant_collection_name: c, similarity_threshold: 0.8, qdrant_semantic_cache_embedding_model: text-embedding-3-small",
    ] {
        let stage = stage(params, |gateway| gateway).await;
        let admin = &stage.client;
        let first = ask(&stage, admin, "What is the capital of France?", [1.0, 0.0]).await;
        assert!(!is_hit(&first));
        assert_eq!(similarity(&first), 0.0);
        let alike = ask(&stage, admin, "Which is France's capital?", [4.0, 3.0]).await;
        assert!(is_hit(&alike), "{params}");
        assert!(
            (similarity(&alike) - 0.8).abs() < 1e-4,
            "{}",
            similarity(&alike)
        );
        assert_eq!(alike.header("x-litellm-response-cost"), Some("0"));
        assert_eq!(alike.json()["id"], first.json()["id"]);
        let unlike = ask(&stage, admin, "Who wrote Faust?", [3.0, 4.0]).await;
        assert!(!is_hit(&unlike));
        assert!((similarity(&unlike) - 0.6).abs() < 1e-4);
        // Nobody else's, whatever it means.
        let key = admin
            .post("/key/generate", &json!({"user_id": "ann"}))
            .await
            .ok();
        let other = Client::of(&stage.gateway).key(key["key"].as_str().expect("a key"));
        assert!(!is_hit(
            &ask(&stage, &other, "Which is France's capital?", [1.0, 0.0]).await
        ));
        let ping = admin.get("/cache/ping").await.ok();
        assert_eq!(ping["cache_type"], "semantic");
    }
}

#[tokio::test]
async fn a_collection_of_qdrant_is_made_filled_and_searched() {
    let qdrant = fake_qdrant().await;
    let params = format!(
        "type: qdrant-semantic, qdrant_api_base: '{}', qdrant_api_key: os.environ/KEY, qdrant_collection_name: {COLLECTION}, qdrant_quantization_config: scalar, similarity_threshold: 0.8, qdrant_semantic_cache_embedding_model: text-embedding-3-small",
        qdrant.origin()
    );
    let stage = stage(&params, |gateway| {
        gateway
            .env("KEY", QDRANT_KEY)
            .env("QDRANT_VECTOR_SIZE", "2")
    })
    .await;
    let first = ask(
        &stage,
        &stage.client,
        "What is the capital of France?",
        [1.0, 0.0],
    )
    .await;
    assert!(!is_hit(&first));
    // Written behind the call.
    let point = eventually("a point", async || {
        let taken = qdrant.taken().all();
        taken.into_iter().find(|one| one["payload"].is_object())
    })
    .await;
    qdrant.refused_nothing();
    assert_eq!(point["payload"]["text"], "What is the capital of France?");
    let entry: Value =
        serde_json::from_str(point["payload"]["response"].as_str().expect("text")).expect("JSON");
    assert!(
        entry["timestamp"].is_f64() && entry["response"].is_string(),
        "{entry}"
    );
    let layout = qdrant.taken().all();
    assert_eq!(
        layout[0],
        json!({"layout": {
            "vectors": {"size": 2, "distance": "Cosine"},
            "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": false}},
        }})
    );
    assert_eq!(layout[1], json!({"index": "litellm_cache_key"}));
    let alike = ask(
        &stage,
        &stage.client,
        "Which is France's capital?",
        [4.0, 3.0],
    )
    .await;
    assert!(is_hit(&alike));
    let key = alike.header("x-litellm-cache-key").unwrap_or_default();
    assert_eq!(point["payload"]["litellm_cache_key"], key);
    // Too old is not there.
    let mut strict = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Which?"}], "cache": {"s-maxage": 0}});
    strict["cache"]["no-store"] = json!(true);
    let embedding = json!({"data": [{"embedding": [1.0, 0.0]}], "model": "e"});
    stage.upstream.next(Reply::json(200, &embedding));
    assert!(!is_hit(&stage.client.chat(&strict).await));
    let body = json!({ "keys": [key] });
    stage.client.post("/cache/delete", &body).await.ok();
    assert!(!is_hit(
        &ask(&stage, &stage.client, "Which is it?", [1.0, 0.0]).await
    ));
    assert!(!stage.gateway.printed(QDRANT_KEY));
}

/// More answers than a page has points.
#[tokio::test]
async fn a_collection_of_qdrant_is_flushed() {
    let qdrant = fake_qdrant().await;
    let params = format!(
        "type: qdrant-semantic, qdrant_api_base: '{}', qdrant_api_key: os.environ/KEY, qdrant_collection_name: {COLLECTION}, namespace: ours, similarity_threshold: 0.99, qdrant_semantic_cache_embedding_model: text-embedding-3-small",
        qdrant.origin()
    );
    let stage = stage(&params, |gateway| {
        gateway
            .env("KEY", QDRANT_KEY)
            .env("QDRANT_VECTOR_SIZE", "2")
    })
    .await;
    let questions = [("a", [1.0, 0.0]), ("b", [0.0, 1.0]), ("c", [-1.0, 0.0])];
    let hits = async || {
        let mut hits = 0;
        for (question, embedding) in questions {
            let answer = ask(&stage, &stage.client, question, embedding).await;
            hits += usize::from(is_hit(&answer));
        }
        hits
    };
    assert_eq!(hits().await, 0);
    eventually("all are kept", async || {
        let taken = qdrant.taken().all();
        let points = taken.iter().filter(|one| one["payload"].is_object());
        (points.count() == 3).then_some(())
    })
    .await;
    assert_eq!(hits().await, 3);
    stage.client.post("/cache/flushall", &json!({})).await.ok();
    assert_eq!(hits().await, 0);
    qdrant.refused_nothing();
}

#[tokio::test]
async fn without_an_embedding_a_question_is_asked_as_if_there_were_no_cache() {
    let params = "type: semantic, similarity_threshold: 0.8, semantic_cache_embedding_model: text-embedding-3-small";
    let stage = stage(params, |gateway| gateway).await;
    stage.upstream.next(Reply::error(
        500,
        "server_error",
        None,
        "no embeddings today",
    ));
    let body = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]});
    let answer = stage.client.chat(&body).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-semantic-similarity"), None);
    stage.gateway.wait_for_log("could not be embedded").await;
    assert_eq!(stage.upstream.requests().len(), 2);
}

#[tokio::test]
async fn what_a_semantic_cache_needs_is_told_before_anything_is_served() {
    for (params, told) in [
        ("type: semantic", "similarity_threshold is missing"),
        ("type: semantic, similarity_threshold: 1.5", "from 0 to 1"),
        (
            "type: qdrant-semantic, qdrant_api_base: 'http://127.0.0.1:9', similarity_threshold: 0.8",
            "qdrant_collection_name is missing",
        ),
        (
            "type: qdrant-semantic, qdrant_api_base: 'http://127.0.0.1:9', qdrant_collection_name: c, similarity_threshold: 0.8, qdrant_quantization_config: ternary",
            "qdrant_quantization_config",
        ),
    ] {
        let config = base_config("http://127.0.0.1:9")
            + &format!("litellm_settings: {{cache: true, cache_params: {{{params}}}}}\n");
        let refusal = Gateway::builder(config).expect_refusal().await;
        assert!(
            refusal.output.contains(told),
            "{params}: {}",
            refusal.output
        );
    }
}

/// A Redis with RediSearch, of the wheels that `make test` installs.
async fn search_server() -> RedisServer {
    RedisServer::start_with_search(&crate::support::venv_folder()).await
}

fn in_redis(kind: &str, url: &str, more: &str) -> String {
    format!(
        "type: {kind}, url: '{url}', similarity_threshold: 0.8, redis_semantic_cache_embedding_model: text-embedding-3-small, {more}"
    )
}

#[tokio::test]
async fn in_redis_an_index_is_made_filled_and_searched() {
    let redis = search_server().await;
    for kind in ["redis-semantic", "valkey-semantic"] {
        let index = format!("answers-{kind}");
        let params = in_redis(
            kind,
            &redis.url(),
            &format!("ttl: 60, redis_semantic_cache_index_name: {index}"),
        );
        let stage = stage(&params, |gateway| gateway).await;
        let admin = &stage.client;
        let first = ask(&stage, admin, "What is the capital of France?", [1.0, 0.0]).await;
        assert!(!is_hit(&first));
        // Written behind the call.
        let keys = redis
            .cli_until(&["KEYS", &format!("{index}:*")], |keys| !keys.is_empty())
            .await;
        let ttl: i64 = redis.cli(&["PTTL", &keys]).await.parse().expect("a time");
        assert!((1..=60_000).contains(&ttl), "{ttl}");
        assert_eq!(
            redis.cli(&["HGET", &keys, "prompt"]).await,
            "What is the capital of France?"
        );
        redis
            .cli_until(&["FT.SEARCH", &index, "*", "NOCONTENT"], |found| {
                found.starts_with('1')
            })
            .await;
        let alike = ask(&stage, admin, "Which is France's capital?", [4.0, 3.0]).await;
        assert!(is_hit(&alike));
        assert!(
            (similarity(&alike) - 0.8).abs() < 1e-4,
            "{}",
            similarity(&alike)
        );
        assert_eq!(alike.json()["id"], first.json()["id"]);
        let unlike = ask(&stage, admin, "Who wrote Faust?", [3.0, 4.0]).await;
        assert!(!is_hit(&unlike));
        assert!(
            (similarity(&unlike) - 0.6).abs() < 1e-4,
            "{}",
            similarity(&unlike)
        );
        let made = admin
            .post("/key/generate", &json!({"user_id": "ann"}))
            .await
            .ok();
        let other = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
        assert!(!is_hit(
            &ask(&stage, &other, "What is the capital of France?", [1.0, 0.0]).await
        ));
        let ping = admin.get("/cache/ping").await.ok();
        assert_eq!(ping["cache_type"], kind);
        // What is deleted is gone, and what others have stays.
        redis.cli_until(&["DBSIZE"], |size| size == "3").await;
        let key = alike.header("x-litellm-cache-key").unwrap_or_default();
        admin
            .post("/cache/delete", &json!({ "keys": [key] }))
            .await
            .ok();
        redis.cli_until(&["DBSIZE"], |size| size == "1").await;
        assert!(!is_hit(
            &ask(&stage, admin, "Which is it?", [1.0, 0.0]).await
        ));
        // An emptied database is made ready again.
        redis.cli(&["FLUSHALL"]).await;
        assert!(!is_hit(
            &ask(&stage, admin, "Which is it now?", [1.0, 0.0]).await
        ));
        redis
            .cli_until(&["FT.SEARCH", &index, "*", "NOCONTENT"], |found| {
                found.starts_with('1')
            })
            .await;
        assert!(is_hit(&ask(&stage, admin, "And now?", [1.0, 0.0]).await));
        admin.post("/cache/flushall", &json!({})).await.ok();
        redis.cli_until(&["DBSIZE"], |size| size == "0").await;
    }
}

#[tokio::test]
async fn an_index_of_somebody_elses_is_left_alone() {
    let redis = search_server().await;
    let theirs = [
        "FT.CREATE",
        "litellm_semantic_cache_index",
        "SCHEMA",
        "x",
        "TEXT",
    ];
    assert_eq!(redis.cli(&theirs).await, "OK");
    let params = in_redis("redis-semantic", &redis.url(), "namespace: n");
    let with_namespace = stage(&params, |gateway| gateway).await;
    let params = in_redis("redis-semantic", &redis.url(), "ttl: 60");
    let without = stage(&params, |gateway| gateway).await;
    for stage in [&with_namespace, &without] {
        ask(
            stage,
            &stage.client,
            "What is the capital of France?",
            [1.0, 0.0],
        )
        .await;
    }
    let all = |text: &str| text.lines().count() == 3;
    let mut indexes: Vec<String> = redis
        .cli_until(&["FT._LIST"], all)
        .await
        .lines()
        .map(str::to_owned)
        .collect();
    indexes.sort();
    assert_eq!(
        indexes,
        [
            "litellm_semantic_cache_index",
            "litellm_semantic_cache_index_isolated",
            "n:litellm_semantic_cache_index"
        ]
    );
    redis
        .cli_until(&["FT.SEARCH", &indexes[1], "*", "NOCONTENT"], |found| {
            found.starts_with('1')
        })
        .await;
    assert!(is_hit(
        &ask(&without, &without.client, "Which is it?", [1.0, 0.0]).await
    ));
}

#[tokio::test]
async fn a_redis_without_a_search_is_told_and_calls_go_on() {
    let redis = RedisServer::start().await;
    let stage = stage(&in_redis("redis-semantic", &redis.url(), ""), |gateway| {
        gateway
    })
    .await;
    assert!(!is_hit(
        &ask(&stage, &stage.client, "What is it?", [1.0, 0.0]).await
    ));
    stage
        .gateway
        .wait_for_log("needs a Redis with RediSearch")
        .await;
    stage.client.get("/cache/ping").await.error(503);
}

#[tokio::test]
async fn a_question_is_cut_to_what_the_embedding_model_takes() {
    let upstream = FakeUpstream::start().await;
    let model = format!(
        "  - model_name: short\n    litellm_params: {{model: openai/short, api_base: '{}', api_key: k}}\n    model_info: {{max_input_tokens: 3}}\n",
        upstream.api_base()
    );
    let config = base_config(&upstream.api_base())
        .replace("general_settings", &format!("{model}general_settings"))
        + "litellm_settings: {cache: true, cache_params: {type: semantic, similarity_threshold: 0.8, semantic_cache_embedding_model: short}}\n";
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    ask(&stage, &stage.client, "one two three four five", [1.0, 0.0]).await;
    let asked = stage.upstream.requests().all()[0].json();
    assert_eq!(asked["input"], "one two three");
}
