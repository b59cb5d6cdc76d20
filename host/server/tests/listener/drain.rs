//! The end: nothing new begins, what runs may finish, what does not finish is cut.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use crate::harness::{Running, http2_client, ok, read_all, read_until, start_with, within};

/// Tells when a request begins, and answers it when allowed to.
fn server(drain: Duration) -> (Running, mpsc::UnboundedReceiver<()>, Arc<Semaphore>) {
    let (begun, begins) = mpsc::unbounded_channel();
    let allowed = Arc::new(Semaphore::new(0));
    let may = allowed.clone();
    let server = start_with(
        |options| options.drain_timeout = drain,
        move |_| {
            let (begun, may) = (begun.clone(), may.clone());
            async move {
                begun.send(()).unwrap();
                may.acquire().await.unwrap().forget();
                ok("finished")
            }
        },
    );
    (server, begins, allowed)
}

#[tokio::test]
async fn requests_in_flight_are_finished() {
    let (server, mut begins, allowed) = server(Duration::from_secs(60));
    let (address, mut idle, mut unused) = (
        server.address,
        server.connect().await,
        server.connect().await,
    );
    idle.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    begins.recv().await.unwrap();
    allowed.add_permits(1);
    read_until(&mut idle, "finished").await;

    let mut busy = server.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    begins.recv().await.unwrap();
    let url = server.url("/");
    let http2 = tokio::spawn(async move {
        let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
        http2_client()
            .request(request)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap()
            .to_bytes()
    });
    begins.recv().await.unwrap();

    let stopping = tokio::spawn(server.stop());
    // Those without a request are closed at once; nobody new gets in.
    for stream in [&mut idle, &mut unused] {
        assert_eq!(
            within(Duration::from_secs(2), stream.read(&mut [0]))
                .await
                .unwrap(),
            0
        );
    }
    let refused = async { while TcpStream::connect(address).await.is_ok() {} };
    within(Duration::from_secs(2), refused).await;
    assert!(!stopping.is_finished());

    allowed.add_permits(2);
    let answer = read_all(&mut busy).await;
    assert!(answer.ends_with("finished"), "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    assert_eq!(http2.await.unwrap(), "finished");
    assert_eq!(stopping.await.unwrap().cut, 0);
}

#[tokio::test]
async fn what_does_not_finish_is_cut() {
    let (server, mut begins, _allowed) = server(Duration::from_millis(50));
    let mut busy = server.connect().await;
    busy.write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    begins.recv().await.unwrap();
    let url = server.url("/");
    let http2 = tokio::spawn(async move {
        let request = Request::get(url).body(Full::<Bytes>::default()).unwrap();
        http2_client().request(request).await.is_err()
    });
    begins.recv().await.unwrap();
    let drained = within(Duration::from_secs(2), server.stop()).await;
    assert_eq!(drained.cut, 2);
    assert_eq!(read_all(&mut busy).await, "");
    assert!(http2.await.unwrap());
}

#[tokio::test]
async fn a_server_without_clients_ends_at_once() {
    let (server, _begins, _allowed) = server(Duration::from_secs(60));
    assert_eq!(within(Duration::from_secs(2), server.stop()).await.cut, 0);
}
