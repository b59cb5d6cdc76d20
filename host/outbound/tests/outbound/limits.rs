//! Bounds on bodies.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::AsyncWriteExt;
use witgate_outbound::{CollectError, IdleTimeout, StalledError, collect_limited};

use crate::fake::{Server, get, read_request, unrestricted};

fn pieces(
    parts: &'static [&'static str],
) -> impl http_body::Body<Data = Bytes, Error = std::convert::Infallible> {
    StreamBody::new(stream::iter(
        parts.iter().map(|part| Ok(Frame::data(Bytes::from(*part)))),
    ))
}

#[tokio::test]
async fn bodies_are_collected_up_to_the_limit() {
    assert_eq!(collect_limited(pieces(&[]), 0).await.unwrap(), "");
    assert_eq!(collect_limited(pieces(&["ab"]), 2).await.unwrap(), "ab");
    assert_eq!(
        collect_limited(pieces(&["a", "", "b", "cd"]), 4)
            .await
            .unwrap(),
        "abcd"
    );
    for (parts, max) in [(&["abc"][..], 2), (&["ab", "c"], 2), (&["a"], 0)] {
        let error = collect_limited(pieces(parts), max).await.unwrap_err();
        assert!(matches!(error, CollectError::TooLarge { max: limit } if limit == max));
    }
    let announced = Full::new(Bytes::from_static(b"abc"));
    assert!(matches!(
        collect_limited(announced, 2).await,
        Err(CollectError::TooLarge { .. })
    ));
}

#[tokio::test]
async fn one_piece_is_not_copied() {
    let bytes = Bytes::from(vec![7; 100]);
    let collected = collect_limited(Full::new(bytes.clone()), 100)
        .await
        .unwrap();
    assert_eq!(collected.as_ptr(), bytes.as_ptr());
}

#[tokio::test]
async fn a_body_that_fails_is_an_error() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            .await
            .unwrap();
    })
    .await;
    let response = unrestricted().send(get(server.url("/"))).await.unwrap();
    let error = collect_limited(response.into_body(), 100)
        .await
        .unwrap_err();
    assert!(matches!(error, CollectError::Body(_)), "{error}");
}

#[tokio::test]
async fn silence_past_the_limit_is_an_error() {
    let server = Server::raw(|mut stream, _| async move {
        read_request(&mut stream).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let response = unrestricted().send(get(server.url("/"))).await.unwrap();
    let mut body = IdleTimeout::new(response.into_body(), Duration::from_millis(30));
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "half"
    );
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(error.is::<StalledError>(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn only_waiting_counts_as_silence() {
    let idle = Duration::from_secs(1);
    let frames = stream::iter(["a", "b"]).then(|part| async move {
        tokio::time::sleep(Duration::from_millis(900)).await;
        Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(part)))
    });
    let mut body = IdleTimeout::new(StreamBody::new(Box::pin(frames)), idle);
    for part in ["a", "b"] {
        // The reader takes its time, which is not the sender's fault.
        tokio::time::sleep(idle * 5).await;
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            part
        );
    }
    assert!(body.frame().await.is_none());
}
