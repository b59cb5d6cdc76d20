//! Redirects: never by `send`, checked hop by hop by `send_following`.

use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use witgate_outbound::{Body, Client, ClientOptions};

use crate::fake::{Server, get, policy, read_request, unrestricted};

/// Answers every request with one status and location.
async fn redirecting(status: u16, location: String) -> Server {
    Server::raw(move |mut stream, _| {
        let reply =
            format!("HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

/// Passes on the requests it gets.
async fn listening() -> (Server, mpsc::UnboundedReceiver<String>) {
    let (sender, requests) = mpsc::unbounded_channel();
    let server = Server::raw(move |mut stream, _| {
        let sender = sender.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                sender.send(request).unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    (server, requests)
}

#[tokio::test]
async fn send_hands_the_redirect_back() {
    let server = redirecting(302, "http://169.254.169.254/".into()).await;
    let response = unrestricted().send(get(server.url("/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::FOUND);
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service_is_refused() {
    for location in [
        "http://169.254.169.254/latest/",
        "http://2852039166/",
        "//[::ffff:a9fe:a9fe]/",
    ] {
        let server = redirecting(302, location.into()).await;
        let egress = policy(&["http://*:*"], &["127.0.0.1"]);
        let client = Client::new(ClientOptions::new(egress)).unwrap();
        let error = client
            .send_following(get(server.url("/")), 5)
            .await
            .unwrap_err();
        assert!(error.is_denied(), "{location}: {error}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn credentials_stay_with_their_origin() {
    let (target, mut requests) = listening().await;
    let server = redirecting(307, target.url("/there?a=1#fragment")).await;
    let request = Request::post(server.url("/"))
        .header("authorization", "Bearer secret")
        .header("cookie", "secret")
        .header("x-api-key", "secret")
        .header("x-other", "kept")
        .body(Body::from("payload"))
        .unwrap();
    let response = unrestricted().send_following(request, 1).await.unwrap();
    assert_eq!(response.collect().await.unwrap().to_bytes(), "ok");
    let seen = requests.recv().await.unwrap();
    assert!(seen.starts_with("POST /there?a=1 HTTP/1.1\r\n"), "{seen}");
    assert!(
        seen.contains("x-other: kept") && seen.ends_with("payload"),
        "{seen}"
    );
    assert!(!seen.contains("secret"), "{seen}");
    assert!(
        seen.contains(&format!("host: {}", target.address)),
        "{seen}"
    );
}

#[tokio::test]
async fn methods_and_bodies_follow_the_status() {
    for (status, method, body) in [
        (301, "GET", ""),
        (302, "GET", ""),
        (303, "GET", ""),
        (307, "POST", "x"),
        (308, "POST", "x"),
    ] {
        let (target, mut requests) = listening().await;
        let server = redirecting(status, target.url("/")).await;
        let request = Request::post(server.url("/"))
            .body(Body::from("x"))
            .unwrap();
        unrestricted().send_following(request, 3).await.unwrap();
        let seen = requests.recv().await.unwrap();
        assert!(
            seen.starts_with(method) && seen.ends_with(&format!("\r\n\r\n{body}")),
            "{seen}"
        );
    }
}

#[tokio::test]
async fn a_loop_ends() {
    let server = redirecting(302, "/again".into()).await;
    let error = unrestricted()
        .send_following(get(server.url("/")), 4)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("more than 4 times"), "{error}");
    assert_eq!(server.connections(), 1);
}
