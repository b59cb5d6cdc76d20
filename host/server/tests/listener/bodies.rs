//! Request bodies: collected, bounded, and answered when they are too much.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use witgate_server::{BodyError, ReqBody, Request, Response};

use crate::harness::{Running, ok, read_all, start_with, within};

async fn collecting(request: Request) -> Response {
    match request.into_body().collect().await {
        Ok(body) => ok(format!("{} bytes", body.len())),
        Err(BodyError::TooLarge { max }) => ok(format!("more than {max}")),
        Err(BodyError::Stalled { .. }) => ok("stalled"),
        Err(BodyError::Broken) => ok("broken"),
    }
}

fn server(body_bytes: u64) -> Running {
    let change = move |options: &mut witgate_server::ServerOptions| {
        options.limits.body_bytes = body_bytes;
        options.limits.body_idle_timeout = Duration::from_millis(50);
    };
    start_with(change, collecting)
}

#[tokio::test]
async fn bodies_up_to_the_limit_are_collected() {
    let server = server(3 << 20);
    for length in [0, 1, 8192, 100_000, 2 << 20, 3 << 20] {
        let head =
            format!("POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        let answer = server.exchange(&(head + &"x".repeat(length))).await;
        assert!(
            answer.ends_with(&format!("\r\n\r\n{length} bytes")),
            "{answer}"
        );
    }
    let chunks = "5\r\nabcde\r\n".repeat(1000) + "0\r\ntrailer: passed-over\r\n\r\n";
    let head = "POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = server.exchange(&(head.to_owned() + &chunks)).await;
    assert!(answer.ends_with("\r\n\r\n5000 bytes"), "{answer}");
}

#[tokio::test]
async fn an_announced_excess_is_refused_before_it_is_sent() {
    let server = server(10);
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST / HTTP/1.1\r\ncontent-length: 1073741824\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    assert!(read_all(&mut stream).await.ends_with("more than 10"));
}

#[tokio::test]
async fn a_client_that_sends_everything_first_still_gets_the_answer() {
    let server = server(10);
    for head in [
        "POST / HTTP/1.1\r\ncontent-length: 67108864\r\n\r\n".to_owned(),
        format!(
            "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
            64 << 20
        ),
    ] {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let megabyte = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            stream
                .write_all(&megabyte)
                .await
                .expect("a reset would destroy the answer");
        }
        stream.shutdown().await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with("more than 10"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn silence_within_a_body_is_an_error() {
    let server = server(100);
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST / HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf")
        .await
        .unwrap();
    let answer = within(
        Duration::from_secs(2),
        crate::harness::read_until(&mut stream, "stalled"),
    );
    assert!(answer.await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn broken_framing_is_an_error() {
    let (reason, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let server = start_with(
        |_| {},
        move |request| {
            let reason = reason.clone();
            async move {
                reason.send(request.into_body().collect().await).unwrap();
                ok("")
            }
        },
    );
    for body in ["zz\r\n", "3\r\nabcdef\r\n"] {
        let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        server.exchange(&(head.to_owned() + body)).await;
        assert_eq!(
            reasons.recv().await,
            Some(Err(BodyError::Broken)),
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn bytes_make_a_body_without_a_client() {
    let body = ReqBody::from(bytes::Bytes::from_static(b"made here"));
    assert_eq!(body.announced(), Some(9));
    assert_eq!(body.collect().await.unwrap(), "made here");
    assert_eq!(
        ReqBody::from(bytes::Bytes::new()).collect().await.unwrap(),
        ""
    );
}
