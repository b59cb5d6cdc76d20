//! HTTP/1.1: reuse, cancellation, and servers that misbehave.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use witgate_outbound::{Body, BoxError, Client, ClientOptions, Egress};

use crate::fake::{Server, get, post, read_request, text, unrestricted};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const CLOSING: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_request_arrives_as_it_was_meant() {
    let server = Server::echo(None).await;
    let said = text(&unrestricted(), post(server.url("/v1/x?a=b"), "body")).await;
    assert_eq!(
        said,
        format!("HTTP/1.1 POST /v1/x?a=b {} body", server.address)
    );
    let bare = Request::get(format!("http://user:pw@{}", server.address)).body(Body::Empty);
    let said = text(&unrestricted(), bare.unwrap()).await;
    assert_eq!(said, format!("HTTP/1.1 GET / {} ", server.address));
}

#[tokio::test]
async fn connections_are_reused_after_a_whole_response() {
    for (reply, body, connections) in [
        (OK, "ok", 1),
        (CHUNKED, "ok", 1),
        (EMPTY, "", 1),
        (CLOSING, "ok", 3),
    ] {
        let server = Server::replying(reply).await;
        let client = unrestricted();
        for _ in 0..3 {
            assert_eq!(text(&client, post(server.url("/"), "hello")).await, body);
        }
        assert_eq!(server.connections(), connections, "{reply}");
    }
}

#[tokio::test]
async fn a_body_dropped_after_its_last_data_keeps_the_connection() {
    let server = Server::replying(CHUNKED).await;
    let client = unrestricted();
    for _ in 0..3 {
        let mut response = client.send(get(server.url("/"))).await.unwrap();
        assert_eq!(
            response
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap(),
            "ok"
        );
        // Dropped here, before the end of the body was seen.
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_empty_pool_keeps_nothing() {
    let server = Server::replying(OK).await;
    let mut options = ClientOptions::new(Egress::Unrestricted);
    options.pool_max_idle_per_host = 0;
    let client = Client::new(options).unwrap();
    text(&client, get(server.url("/"))).await;
    text(&client, get(server.url("/"))).await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_pooled_connection_closed_by_the_server_is_replaced() {
    let (closed, mut is_closed) = mpsc::channel(1);
    let server = Server::raw(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            drop(stream);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let client = unrestricted();
    for connections in 1..4 {
        assert_eq!(text(&client, post(server.url("/"), "x")).await, "ok");
        is_closed.recv().await.unwrap();
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let (closed, mut is_closed) = mpsc::channel(1);
    let server = Server::raw(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(OK.as_bytes()).await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let mut options = ClientOptions::new(Egress::Unrestricted);
    options.pool_idle_timeout = Duration::from_millis(20);
    let client = Client::new(options).unwrap();
    text(&client, get(server.url("/"))).await;
    is_closed.recv().await.unwrap();
}

#[tokio::test]
async fn leaving_closes_the_upstream_at_once() {
    // Before the head (nothing is answered) and in the middle of the body.
    for partial in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let (asked, mut is_asked) = mpsc::channel(1);
        let (closed, mut is_closed) = mpsc::channel(1);
        let server = Server::raw(move |mut stream, _| {
            let (asked, closed) = (asked.clone(), closed.clone());
            async move {
                read_request(&mut stream).await.unwrap();
                stream.write_all(partial.as_bytes()).await.unwrap();
                asked.send(()).await.unwrap();
                assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
                closed.send(()).await.unwrap();
            }
        })
        .await;
        let client = unrestricted();
        let url = server.url("/");
        let mut request = Box::pin(async move {
            let mut response = client.send(get(url)).await.unwrap();
            while response.frame().await.is_some() {}
        });
        tokio::select! {
            () = &mut request => panic!("answered"),
            _ = is_asked.recv() => {}
        }
        drop(request);
        let within = tokio::time::timeout(Duration::from_millis(100), is_closed.recv()).await;
        assert!(within.is_ok(), "{partial:?}");
    }
}

#[tokio::test]
async fn streamed_bodies_are_sent_as_they_come() {
    let server = Server::echo(None).await;
    let parts =
        ["one ", "two ", "three"].map(|part| Ok::<_, BoxError>(Frame::data(Bytes::from(part))));
    let body = Body::stream(StreamBody::new(stream::iter(parts)));
    let request = Request::post(server.url("/")).body(body).unwrap();
    let said = text(&unrestricted(), request).await;
    assert!(said.ends_with("one two three"), "{said}");
}

#[tokio::test]
async fn a_request_body_that_fails_is_the_senders_fault() {
    let server = Server::echo(None).await;
    let parts = [
        Ok(Frame::data(Bytes::from("one"))),
        Err::<_, BoxError>("source dried up".into()),
    ];
    let body = Body::stream(StreamBody::new(stream::iter(parts)));
    let request = Request::post(server.url("/")).body(body).unwrap();
    let error = unrestricted().send(request).await.unwrap_err();
    assert!(!error.is_closed() && !error.is_connect(), "{error:?}");
    assert!(error.to_string().contains("source dried up"), "{error}");
}

#[tokio::test]
async fn bad_servers_are_told_apart() {
    // reply before the connection closes; is_closed, is_protocol
    let cases: [(&str, bool, bool); 5] = [
        ("", true, false),
        ("HTTP/1.1 200 O", true, false),
        ("HTTP/1.1 200 OK\r\nx: y\r\n", true, false),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", false, true),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n",
            false,
            true,
        ),
    ];
    for (reply, closed, protocol) in cases {
        let server = Server::raw(move |mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply.as_bytes()).await.unwrap();
        })
        .await;
        let request = get(server.url("/path?token=secret"));
        let error = unrestricted().send(request).await.unwrap_err();
        assert_eq!(
            (error.is_closed(), error.is_protocol()),
            (closed, protocol),
            "{error:?}"
        );
        assert!(!error.is_connect() && !error.is_denied() && !error.is_timeout());
        assert!(!format!("{error} {error:?}").contains("secret"));
        assert_eq!(server.connections(), 1, "sent once only: {reply:?}");
    }
}

#[tokio::test]
async fn bodies_that_stop_early_are_errors() {
    let cases: [(&str, bool); 3] = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            true,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nnonsense\r\n",
            false,
        ),
    ];
    for (reply, closed) in cases {
        let server = Server::raw(move |mut stream, _| async move {
            read_request(&mut stream).await.unwrap();
            stream.write_all(reply.as_bytes()).await.unwrap();
        })
        .await;
        let mut response = unrestricted().send(get(server.url("/"))).await.unwrap();
        assert_eq!(
            response
                .frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap(),
            "half"
        );
        let error = response.frame().await.unwrap().unwrap_err();
        assert_eq!(error.is_closed(), closed, "{reply:?}: {error}");
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_is_a_closed_connection() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            .await
            .unwrap();
        stream.set_zero_linger().unwrap();
    })
    .await;
    let mut response = unrestricted().send(get(server.url("/"))).await.unwrap();
    let error = loop {
        match response.frame().await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.is_closed(), "{error}");
}

#[tokio::test]
async fn refused_and_silent_hosts_are_connect_errors() {
    let server = Server::replying(OK).await;
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap();
    drop(unused);
    let error = unrestricted()
        .send(get(format!("http://{address}/")))
        .await
        .unwrap_err();
    assert!(error.is_connect() && !error.is_timeout(), "{error:?}");

    // TLS towards a server that never says a word.
    let silent = Server::raw(|stream, _| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let mut options = ClientOptions::new(Egress::Unrestricted);
    options.connect_timeout = Duration::from_millis(50);
    let client = Client::new(options).unwrap();
    let error = client
        .send(get(format!("https://{}/", silent.address)))
        .await
        .unwrap_err();
    assert!(error.is_connect() && error.is_timeout(), "{error:?}");

    let relative = Request::get("/path").body(Body::Empty).unwrap();
    assert!(client.send(relative).await.is_err());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn many_requests_at_once_get_their_own_answers() {
    let server = Server::echo(None).await;
    let client = unrestricted();
    let tasks: Vec<_> = (0..64)
        .map(|number| {
            let (client, url) = (client.clone(), server.url(&format!("/{number}")));
            tokio::spawn(async move {
                for _ in 0..4 {
                    let said = text(&client, get(&url)).await;
                    assert!(said.contains(&format!(" /{number} ")), "{said}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(server.connections() <= 64);
}
