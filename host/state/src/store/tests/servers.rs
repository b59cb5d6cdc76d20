//! What is true of Redis alone: servers, clusters, sentinels, TLS, and those that are gone.

use super::contract::contract;
use super::*;

#[tokio::test]
async fn what_redis_tells_of_itself() {
    let server = RedisServer::start().await;
    let store = open(single(&server));
    store.ping().await.unwrap();
    let info = store.info().await.unwrap();
    assert!(info.info.contains_key("redis_version"), "{info:?}");
    assert!(info.clients.unwrap()[0].contains_key("addr"));
    let words = ["HSET", &store.key("h"), "a", "1"].map(|w| Bytes::copy_from_slice(w.as_bytes()));
    assert_eq!(store.command(&words).await, Ok(Reply::Int(1)));
    let unknown = store.command(&["NONSENSE".into()]).await;
    assert!(
        matches!(unknown, Err(StateError::Refused(_))),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_password_and_a_database() {
    let server = RedisServer::start_with(&["--requirepass", "hunter2"]).await;
    let mut settings = single(&server);
    settings.password = Some(Secret::new("hunter2"));
    settings.db = 3;
    let store = open(settings.clone());
    store.set("a", "1", None).await.unwrap();
    let there = server.cli(&["-a", "hunter2", "-n", "3", "GET", "a"]).await;
    assert_eq!(there, "1");
    settings.password = Some(Secret::new("hunter3"));
    let refused = open(settings).get("a").await.unwrap_err();
    assert!(matches!(refused, StateError::Unreachable(_)), "{refused:?}");
    assert!(!refused.to_string().contains("hunter"), "{refused}");
}

#[tokio::test]
async fn a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start().await;
    let nodes = vec![("127.0.0.1".to_owned(), cluster.nodes[1].port)];
    contract(open(RedisSettings::at(Place::Cluster(nodes)))).await;
}

#[tokio::test]
async fn sentinels_name_the_next_master() {
    let mut three = RedisSentinel::start().await;
    let store = open(RedisSettings::at(Place::Sentinel {
        nodes: vec![("127.0.0.1".to_owned(), three.sentinel.port)],
        service: "mymaster".to_owned(),
        username: None,
        password: None,
    }));
    store.set("a", "1", None).await.unwrap();
    let copied = |text: &str| text == "1";
    three.replica.cli_until(&["GET", "a"], copied).await;
    three.master.kill().await;
    let deadline = Instant::now() + witgate_testkit::PATIENCE;
    // The store finds the next master by itself; until then it says at once that there is none.
    while store.set("b", "2", None).await.is_err() {
        assert!(Instant::now() < deadline, "no master is found");
        tokio::task::yield_now().await;
    }
    assert_eq!(three.replica.cli(&["GET", "b"]).await, "2");
    assert_eq!(store.get("a").await, Ok(text("1")));
}

#[tokio::test]
async fn tls_with_an_authority_of_ones_own() {
    // As the process does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let path = |p: &std::path::Path| p.display().to_string();
    let server = RedisServer::start_with(&[
        "--tls-port",
        "{port2}",
        "--tls-cert-file",
        &path(&cert),
        "--tls-key-file",
        &path(&key),
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let port = server.other_port;
    let with = |tls| RedisSettings {
        tls: Some(tls),
        ..RedisSettings::from_url(&format!("rediss://localhost:{port}")).unwrap()
    };
    let trusted = Tls {
        roots: Some(made.cert.pem().into_bytes()),
        ..Tls::default()
    };
    open(with(trusted)).ping().await.unwrap();
    let anybody = Tls {
        unverified: true,
        ..Tls::default()
    };
    open(with(anybody)).ping().await.unwrap();
    let stranger = open(with(Tls::default())).ping().await;
    assert!(
        matches!(stranger, Err(StateError::Unreachable(_))),
        "{stranger:?}"
    );
}

/// A Redis that is gone is told at once, left alone after five failures, and found again.
#[tokio::test]
async fn a_dead_redis_is_left_alone_until_it_is_back() {
    let mut server = RedisServer::start().await;
    let (clock, _) = hand_clock();
    let mut settings = single(&server);
    settings.socket_timeout = seconds(20);
    let redis = Redis::start(settings, parts(clock)).unwrap();
    let store = Store::redis(redis.clone());
    store.set("a", "1", None).await.unwrap();
    server.kill().await;
    for _ in 0..5 {
        let error = store.get("a").await.unwrap_err();
        assert!(matches!(error, StateError::Unreachable(_)), "{error:?}");
    }
    assert_eq!(store.get("a").await, Err(StateError::Resting));
    assert!(redis.is_resting());
    server.start_again().await;
    let deadline = Instant::now() + witgate_testkit::PATIENCE;
    while redis.is_resting() {
        assert!(Instant::now() < deadline, "it is not found again");
        tokio::task::yield_now().await;
    }
    assert_eq!(store.get("a").await, Ok(None));
}

/// A Redis that hangs costs each operation its timeout, until the breaker opens.
#[tokio::test]
async fn a_paused_redis_costs_the_timeout_and_is_then_left_alone() {
    let server = RedisServer::start().await;
    let (clock, millis) = hand_clock();
    let mut settings = single(&server);
    settings.socket_timeout = seconds(20);
    // So that it is connected before the timeout is a short one.
    Store::redis(Redis::start(settings.clone(), parts(clock.clone())).unwrap())
        .ping()
        .await
        .unwrap();
    settings.socket_timeout = Duration::from_millis(20);
    let redis = Redis::start(settings, parts(clock)).unwrap();
    let store = Store::redis(redis.clone());
    while store.set("a", "1", None).await.is_err() {}
    server.pause().await;
    let timeout = Err(StateError::Timeout(Duration::from_millis(20)));
    for second in 0..5 {
        millis.store(second * 1000, Relaxed);
        assert_eq!(store.get("a").await, timeout);
    }
    assert!(!redis.is_resting(), "they span four seconds");
    millis.store(5000, Relaxed);
    assert_eq!(store.get("a").await, timeout);
    assert_eq!(store.get("a").await, Err(StateError::Resting));
    server.resume().await;
    let deadline = Instant::now() + witgate_testkit::PATIENCE;
    while redis.is_resting() {
        assert!(Instant::now() < deadline, "it is not found again");
        tokio::task::yield_now().await;
    }
}
