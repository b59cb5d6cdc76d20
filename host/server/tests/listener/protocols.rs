//! HTTP/1.1, HTTP/2 and TLS; what a service sees; what its failures become.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use witgate_server::{BindError, BoxError, RespBody, Server, ServerOptions, TlsFiles};

use crate::harness::{http2_client, ok, read_until, start, start_with};

#[tokio::test]
async fn a_request_reaches_the_service_as_sent() {
    let server = start(|request| async move {
        let head = format!(
            "{:?} {} {}",
            request.version(),
            request.method(),
            request.uri()
        );
        let (peer, tls) = (request.body().peer().ip(), request.body().is_tls());
        let body = request.into_body().collect().await.unwrap();
        ok(format!("{head} {peer} {tls} {body:?}"))
    });
    let mut stream = server.connect().await;
    // Twice on one connection, the second one in pieces.
    stream
        .write_all(b"POST /a?b=c HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nhi")
        .await
        .unwrap();
    let answer = read_until(&mut stream, "b\"hi\"").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.ends_with("HTTP/1.1 POST /a?b=c 127.0.0.1 false b\"hi\""),
        "{answer}"
    );
    for piece in [
        "PUT /",
        "x HTTP/1.1\r\nhost: h\r\ntransfer-enc",
        "oding: chunked\r\n\r\n1\r\nA\r\n",
    ] {
        stream.write_all(piece.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
    }
    stream.write_all(b"2\r\nBC\r\n0\r\n\r\n").await.unwrap();
    let answer = read_until(&mut stream, "b\"ABC\"").await;
    assert!(answer.contains("PUT /x"), "{answer}");
    assert_eq!(server.metric("witgate_connections_accepted_total"), 1);
    drop(stream);
    server.until_metric("witgate_connections_open", 0).await;
}

#[tokio::test]
async fn methods_that_begin_like_the_preface_are_http1() {
    let server = start(|request| async move { ok(request.method().to_string()) });
    for method in ["P", "PR", "PRX", "POST"] {
        let mut stream = server.connect().await;
        for byte in method.bytes() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
            .write_all(b" / HTTP/1.1\r\nhost: h\r\n\r\n")
            .await
            .unwrap();
        let answer = read_until(&mut stream, method).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn http2_is_spoken_with_those_who_speak_it() {
    let server = start(|request| async move {
        let head = format!("{:?} ", request.version());
        let body = request.into_body().collect().await.unwrap();
        ok(head + std::str::from_utf8(&body).unwrap())
    });
    let client = http2_client();
    for number in 0..10 {
        let request = Request::post(server.url("/"))
            .body(Full::from(number.to_string()))
            .unwrap();
        let body = client
            .request(request)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(body, format!("HTTP/2.0 {number}"));
    }
    assert_eq!(server.metric("witgate_connections_accepted_total"), 1);
}

#[tokio::test]
async fn each_piece_of_a_stream_is_written_when_it_comes() {
    let (pieces, queue) = tokio::sync::mpsc::unbounded_channel::<&str>();
    let queue = std::sync::Mutex::new(Some(queue));
    let server = start(move |_| {
        let queue = queue.lock().unwrap().take().unwrap();
        let pieces = stream::unfold(queue, |mut queue| async move {
            let piece = queue.recv().await?;
            Some((Ok::<_, BoxError>(Bytes::from(piece)), queue))
        });
        async move { ok(RespBody::stream(pieces)) }
    });
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    // The next one is sent only after the one before has arrived.
    for piece in ["one", "two", "three"] {
        pieces.send(piece).unwrap();
        let got = read_until(&mut stream, &format!("{piece}\r\n")).await;
        assert!(
            got.ends_with(&format!("{:x}\r\n{piece}\r\n", piece.len())),
            "{got}"
        );
    }
    drop(pieces);
    assert_eq!(read_until(&mut stream, "0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_stream_that_fails_cuts_the_response() {
    let server = start(|_| async {
        let items = [Ok(Bytes::from("some")), Err::<_, BoxError>("broke".into())];
        ok(RespBody::stream(stream::iter(items)))
    });
    let answer = server.exchange("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(
        !answer.ends_with("0\r\n\r\n"),
        "the end mark would make it look whole: {answer}"
    );
    let request = Request::get(server.url("/"))
        .body(Full::<Bytes>::default())
        .unwrap();
    // The reset may overtake the head.
    let whole = match http2_client().request(request).await {
        Ok(response) => response.collect().await.is_ok(),
        Err(_) => false,
    };
    assert!(!whole);
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = start(|request| async move {
        match request.uri().path() {
            "/now" => panic!("while answering"),
            "/later" => ok(RespBody::stream(stream::poll_fn(|_| {
                panic!("while streaming")
            }))),
            _ => ok("fine"),
        }
    });
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /now HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    let answer = read_until(&mut stream, "Internal Server Error").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "fine").await;
    assert_eq!(server.metric("witgate_handler_panics_total"), 1);

    let client = http2_client();
    let get = |path| {
        Request::get(server.url(path))
            .body(Full::<Bytes>::default())
            .unwrap()
    };
    assert_eq!(
        client.request(get("/now")).await.unwrap().status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let cut = match client.request(get("/later")).await {
        Ok(response) => response.collect().await.is_err(),
        Err(_) => true,
    };
    assert!(cut);
    assert_eq!(
        client.request(get("/")).await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(server.metric("witgate_handler_panics_total"), 3);
}

fn certificate(folder: &tempfile::TempDir) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let files = TlsFiles {
        cert: folder.path().join("cert"),
        key: folder.path().join("key"),
    };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

#[tokio::test]
async fn tls_offers_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(&folder);
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&files.cert).unwrap())
        .unwrap();
    let server = start_with(
        |options| options.tls = Some(files),
        |request| async move {
            let tls = request.body().is_tls();
            ok(format!("{:?} {tls}", request.version()))
        },
    );
    for (alpn, expected) in [("h2", "HTTP/2.0 true"), ("http/1.1", "HTTP/1.1 true")] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.into()];
        let tcp = TcpStream::connect(server.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let tls = TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .unwrap();
        let request = Request::get("https://localhost/").header("host", "localhost");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = if alpn == "h2" {
            let handshake =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let handshake = hyper::client::conn::http1::handshake(TokioIo::new(tls));
            let (mut sender, connection) = handshake.await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        assert_eq!(response.collect().await.unwrap().to_bytes(), expected);
    }
    // Plain HTTP is no handshake.
    server.exchange("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    server
        .until_metric(
            "witgate_connections_refused_total{reason=\"tls_handshake\"}",
            1,
        )
        .await;
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_said() {
    let first = Server::bind(ServerOptions::new("127.0.0.1:0".parse().unwrap())).unwrap();
    let taken = Server::bind(ServerOptions::new(first.local_addr()))
        .err()
        .unwrap();
    assert!(
        taken.to_string().contains(&first.local_addr().to_string()),
        "{taken}"
    );
    let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
    let nowhere = PathBuf::from("/nowhere/cert.pem");
    options.tls = Some(TlsFiles {
        cert: nowhere.clone(),
        key: nowhere,
    });
    let error = Server::bind(options).err().unwrap();
    assert!(
        matches!(&error, BindError::Pem { path, .. } if path == "/nowhere/cert.pem"),
        "{error}"
    );
}

#[tokio::test]
async fn several_accept_loops_share_a_port() {
    let server = start_with(|options| options.accept_loops = 3, |_| async { ok("here") });
    for _ in 0..20 {
        let answer = server
            .exchange("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
            .await;
        assert!(answer.ends_with("here"), "{answer}");
    }
    assert_eq!(server.stop().await.cut, 0);
}
