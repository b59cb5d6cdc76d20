//! A client that leaves is noticed, and what was done for it is dropped, within 100 ms.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use witgate_server::{BoxError, RespBody};

use crate::harness::{Running, http2_client, ok, read_until, start, within};

const SOON: Duration = Duration::from_millis(100);

/// Tells when it is dropped.
struct Told(UnboundedSender<&'static str>);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

/// Never answers; tells when it begins to wait and when it is dropped.
fn thinking() -> (Running, UnboundedReceiver<&'static str>) {
    let (sender, events) = unbounded_channel();
    let server = start(move |request| {
        let told = Told(sender.clone());
        async move {
            request.into_body().collect().await.unwrap();
            told.0.send("begun").unwrap();
            std::future::pending::<()>().await;
            ok("")
        }
    });
    (server, events)
}

/// Answers with one piece and then nothing; tells when it begins and when the stream is dropped.
fn streaming() -> (Running, UnboundedReceiver<&'static str>) {
    let (sender, events) = unbounded_channel();
    let server = start(move |_| {
        let told = Told(sender.clone());
        async move {
            told.0.send("begun").unwrap();
            let mut first = true;
            ok(RespBody::stream(stream::poll_fn(move |_| {
                let _ = &told;
                match std::mem::take(&mut first) {
                    true => std::task::Poll::Ready(Some(Ok::<_, BoxError>(Bytes::from("first")))),
                    false => std::task::Poll::Pending,
                }
            })))
        }
    });
    (server, events)
}

#[tokio::test]
async fn http1_while_the_service_still_thinks() {
    let (server, mut events) = thinking();
    for request in [
        "GET / HTTP/1.1\r\nhost: h\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        for reset in [false, true] {
            let mut stream = server.connect().await;
            stream.write_all(request.as_bytes()).await.unwrap();
            assert_eq!(events.recv().await, Some("begun"));
            if reset {
                stream.set_zero_linger().unwrap();
            }
            drop(stream);
            assert_eq!(
                within(SOON, events.recv()).await,
                Some("dropped"),
                "{request:?}"
            );
        }
    }
}

#[tokio::test]
async fn http1_in_the_middle_of_a_stream() {
    let (server, mut events) = streaming();
    for reset in [false, true] {
        let mut stream = server.connect().await;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(events.recv().await, Some("begun"));
        read_until(&mut stream, "first\r\n").await;
        if reset {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        assert_eq!(
            within(SOON, events.recv()).await,
            Some("dropped"),
            "reset: {reset}"
        );
    }
}

#[tokio::test]
async fn http1_after_closing_only_its_own_direction() {
    // A client that will send nothing more cannot be told from one that left; like nginx, we take
    // it for gone, since waiting would keep a paid upstream working for nobody.
    let (server, mut events) = thinking();
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(events.recv().await, Some("begun"));
    stream.shutdown().await.unwrap();
    assert_eq!(within(SOON, events.recv()).await, Some("dropped"));
}

#[tokio::test]
async fn http2_while_the_service_still_thinks() {
    let (server, mut events) = thinking();
    let client = http2_client();
    let request = Request::post(server.url("/"))
        .body(Full::from("body"))
        .unwrap();
    let mut waiting = Box::pin(client.request(request));
    tokio::select! {
        _ = &mut waiting => panic!("answered"),
        begun = events.recv() => assert_eq!(begun, Some("begun")),
    }
    // Only this stream is reset; the connection stays.
    drop(waiting);
    assert_eq!(within(SOON, events.recv()).await, Some("dropped"));
    assert_eq!(server.metric("witgate_connections_open"), 1);
}

#[tokio::test]
async fn http2_in_the_middle_of_a_stream() {
    let (server, mut events) = streaming();
    let client = http2_client();
    let request = Request::get(server.url("/"))
        .body(Full::<Bytes>::default())
        .unwrap();
    let mut response = client.request(request).await.unwrap();
    assert_eq!(events.recv().await, Some("begun"));
    assert_eq!(
        response
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap(),
        "first"
    );
    drop(response);
    assert_eq!(within(SOON, events.recv()).await, Some("dropped"));
}

#[tokio::test]
async fn http2_with_the_whole_connection() {
    for (server, mut events) in [thinking(), streaming()] {
        let tcp = server.connect().await.into_std().unwrap();
        let socket = tcp.try_clone().unwrap();
        let io = TokioIo::new(tokio::net::TcpStream::from_std(tcp).unwrap());
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let request = Request::get(server.url("/"))
            .body(Full::<Bytes>::default())
            .unwrap();
        let waiting = tokio::spawn(sender.send_request(request));
        assert_eq!(events.recv().await, Some("begun"));
        socket.shutdown(std::net::Shutdown::Both).unwrap();
        assert_eq!(within(SOON, events.recv()).await, Some("dropped"));
        waiting.abort();
    }
}
