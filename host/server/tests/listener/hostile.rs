//! Clients that send nonsense, too much, too slowly, or come in too great a number.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use witgate_server::{ServerMetrics, encode_metrics};

use crate::harness::{ok, read_all, read_until, start, start_with, within};

#[tokio::test]
async fn nonsense_gets_a_400() {
    let server = start(|_| async { ok("fine") });
    let cases = [
        "nonsense\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nbad name: x\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /\u{0} HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\u{1}\u{fc}\u{3}\u{3}",
    ];
    for (number, request) in cases.into_iter().enumerate() {
        let answer = server.exchange(request).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{request:?}: {answer}"
        );
        let refused = server.metric("witgate_connections_refused_total{reason=\"malformed\"}");
        assert_eq!(refused, number as u64 + 1, "{request:?}");
    }
}

#[tokio::test]
async fn header_floods_get_a_431() {
    let server = start_with(
        |options| {
            options.limits.header_count = 20;
            options.limits.header_bytes = 8192;
        },
        |_| async { ok("fine") },
    );
    let many = "x: y\r\n".repeat(21);
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    let endless = "x: y\r\n".repeat(100_000);
    for headers in [many, long, endless] {
        let answer = server
            .exchange(&format!("GET / HTTP/1.1\r\n{headers}\r\n"))
            .await;
        let start: String = answer.chars().take(40).collect();
        assert!(start.starts_with("HTTP/1.1 431 "), "{start}");
    }
    let few = "x: y\r\n".repeat(20);
    let answer = server
        .exchange(&format!("GET / HTTP/1.1\r\n{few}connection: close\r\n\r\n"))
        .await;
    assert!(
        answer.starts_with("HTTP/1.1 431 "),
        "one more than 20: {answer}"
    );
    let few = "x: y\r\n".repeat(19);
    let answer = server
        .exchange(&format!("GET / HTTP/1.1\r\n{few}connection: close\r\n\r\n"))
        .await;
    assert!(answer.ends_with("fine"), "{answer}");
}

#[tokio::test]
async fn slow_heads_are_cut_off() {
    let server = start_with(
        |options| {
            options.limits.header_read_timeout = Duration::from_millis(80);
            options.limits.keep_alive_idle = Duration::from_secs(60);
        },
        |_| async { ok("fine") },
    );
    let mut stream = server.connect().await;
    let dripping = async {
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\nx: ")
            .await
            .unwrap();
        // A byte now and then keeps the socket busy but not the timeout away.
        while stream.write_all(b"y").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within(Duration::from_secs(2), dripping).await;
    server
        .until_metric(
            "witgate_connections_refused_total{reason=\"header_timeout\"}",
            1,
        )
        .await;
    server.until_metric("witgate_connections_open", 0).await;
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = start_with(
        |options| options.limits.keep_alive_idle = Duration::from_millis(80),
        |_| async { ok("fine") },
    );
    let mut unused = server.connect().await;
    let mut used = server.connect().await;
    used.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut used, "fine").await;
    for stream in [&mut unused, &mut used] {
        let closed = within(Duration::from_secs(2), stream.read(&mut [0])).await;
        assert_eq!(closed.unwrap(), 0);
    }
    server.until_metric("witgate_connections_open", 0).await;
    assert_eq!(
        server.metric("witgate_connections_refused_total{reason=\"header_timeout\"}"),
        0
    );
}

#[tokio::test]
async fn a_long_answer_is_no_idleness() {
    let server = start_with(
        |options| {
            options.limits.keep_alive_idle = Duration::from_millis(20);
            options.limits.header_read_timeout = Duration::from_millis(20);
        },
        |_| async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            ok("fine")
        },
    );
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "fine").await;
}

#[tokio::test]
async fn more_connections_than_allowed_are_told_so() {
    let server = start_with(
        |options| options.limits.max_connections = 2,
        |_| async { ok("fine") },
    );
    let first = server.connect().await;
    let second = server.connect().await;
    server.until_metric("witgate_connections_open", 2).await;
    let mut third = server.connect().await;
    let answer = read_all(&mut third).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert_eq!(
        server.metric("witgate_connections_refused_total{reason=\"max_connections\"}"),
        1
    );
    drop((first, second));
    server.until_metric("witgate_connections_open", 0).await;
    let answer = server
        .exchange("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.ends_with("fine"), "{answer}");
}

/// The limit on descriptors holds for a process, so the server runs in one of its own: this test
/// again, told by the environment to be the server.
#[tokio::test]
async fn running_out_of_descriptors_is_survived() {
    const ROLE: &str = "WITGATE_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(ROLE).is_some() {
        return serve_until_stdin_closes().await;
    }
    let mut server = tokio::process::Command::new("sh")
        .args(["-c", "ulimit -n 24; exec \"$0\" --exact --nocapture \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("hostile::running_out_of_descriptors_is_survived")
        .env(ROLE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next_line().await.unwrap().unwrap();
        if let Some((_, address)) = line.split_once("listening on ") {
            break address.to_owned();
        }
    };
    let mut connections = Vec::new();
    for _ in 0..40 {
        connections.push(TcpStream::connect(&address).await.unwrap());
    }
    // The first ones are served: they show when accepting has begun to fail.
    let first = &mut connections[0];
    let failed = async {
        loop {
            first
                .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
                .await
                .unwrap();
            let metrics = read_until(first, "# end\n").await;
            if metrics.contains("refused_total{reason=\"accept_error\"}") {
                break;
            }
        }
    };
    within(Duration::from_secs(5), failed).await;
    drop(connections);
    let mut late = TcpStream::connect(&address).await.unwrap();
    late.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    within(Duration::from_secs(5), read_until(&mut late, "# end\n")).await;
    drop(server.stdin.take());
    assert!(server.wait().await.unwrap().success());
}

async fn serve_until_stdin_closes() {
    let mut registry = Registry::default();
    let metrics = ServerMetrics::register(&mut registry);
    let registry = Arc::new(registry);
    let server = start_with(
        |options| options.metrics = metrics,
        move |_| {
            let text = encode_metrics(&registry) + "# end\n";
            async move { ok(text) }
        },
    );
    println!("listening on {}", server.address);
    let closed =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    closed.await.unwrap().unwrap();
}
