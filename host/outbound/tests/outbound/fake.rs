//! Servers on ephemeral ports: a raw one that writes what it is told, and hyper's.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use witgate_outbound::{Body, Client, ClientOptions, Egress, Policy};

/// A listening server that counts its connections.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// Gives every connection, with its number from 0, to `handle`.
    pub async fn raw<F, Fut>(handle: F) -> Self
    where
        F: Fn(TcpStream, usize) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handle(stream, number));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Answers every request with the same bytes, on connections that stay open.
    pub async fn replying(reply: &'static str) -> Self {
        Self::raw(move |mut stream, _| async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        })
        .await
    }

    /// Answers over HTTP/1.1 or HTTP/2, with TLS if given, with "version method path host body".
    pub async fn echo(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::raw(move |stream, _| {
            let tls = tls.clone();
            async move {
                let auto = auto::Builder::new(TokioExecutor::new());
                let service = hyper::service::service_fn(echo);
                // A refused handshake is what some tests are about.
                let _ = match tls {
                    None => auto.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                        Ok(stream) => auto.serve_connection(TokioIo::new(stream), service).await,
                        Err(_) => Ok(()),
                    },
                };
            }
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let host = parts.headers.get("host").map(|host| host.to_str().unwrap());
    let text = format!(
        "{:?} {} {} {} {}",
        parts.version,
        parts.method,
        parts.uri,
        host.unwrap_or("-"),
        String::from_utf8_lossy(&body)
    );
    Ok(Response::new(text.into()))
}

/// Reads one request with its body; `None` when the peer closed instead.
pub async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte).await {
            Ok(1) => text.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8(text).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(head + &String::from_utf8(body).unwrap())
}

pub fn unrestricted() -> Client {
    Client::new(ClientOptions::new(Egress::Unrestricted)).unwrap()
}

pub fn policy(allow: &[&str], private: &[&str]) -> Egress {
    Egress::Policy(Arc::new(Policy {
        allow: allow.iter().map(|rule| rule.parse().unwrap()).collect(),
        private: private.iter().map(|rule| rule.parse().unwrap()).collect(),
    }))
}

pub fn get(url: impl AsRef<str>) -> Request<Body> {
    Request::get(url.as_ref()).body(Body::Empty).unwrap()
}

pub fn post(url: impl AsRef<str>, body: &'static str) -> Request<Body> {
    Request::post(url.as_ref()).body(Body::from(body)).unwrap()
}

/// Sends and reads the answer to its end.
pub async fn text(client: &Client, request: Request<Body>) -> String {
    let response = client.send(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}
