//! A server on an ephemeral port with a service made of a closure, and clients that write bytes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_server::{
    Drained, Request, RespBody, Response, Server, ServerMetrics, ServerOptions, Service,
    encode_metrics,
};

/// A running server.
pub struct Running {
    pub address: SocketAddr,
    pub shutdown: CancellationToken,
    pub tracker: TaskTracker,
    serving: JoinHandle<Drained>,
    registry: Registry,
}

type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A closure as a service.
struct Closure<F>(F);

impl<F> Service for Closure<F>
where
    F: Fn(Request) -> Answer + Send + Sync + 'static,
{
    fn call(&self, request: Request) -> impl Future<Output = Response> + Send {
        (self.0)(request)
    }
}

/// Serves with default options on an ephemeral port.
pub fn start<F, Fut>(service: F) -> Running
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    start_with(|_| {}, service)
}

/// Serves with changed options.
pub fn start_with<F, Fut>(change: impl FnOnce(&mut ServerOptions), service: F) -> Running
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Response> + Send + 'static,
{
    let mut registry = Registry::default();
    let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap());
    options.metrics = ServerMetrics::register(&mut registry);
    change(&mut options);
    let bound = Server::bind(options).unwrap();
    let address = bound.local_addr();
    let (shutdown, tracker) = (CancellationToken::new(), TaskTracker::new());
    let service = Closure(move |request| Box::pin(service(request)) as Answer);
    let serving = tokio::spawn(bound.serve(service, shutdown.clone(), tracker.clone()));
    Running {
        address,
        shutdown,
        tracker,
        serving,
        registry,
    }
}

impl Running {
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connects, writes `request`, and returns everything the server sends until it closes.
    pub async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The value of one line of the metrics.
    pub fn metric(&self, line: &str) -> u64 {
        let text = encode_metrics(&self.registry);
        let value = text
            .lines()
            .find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a line of the metrics has this value; the test's own timeout is the limit.
    pub async fn until_metric(&self, line: &str, value: u64) {
        within(Duration::from_secs(5), async {
            while self.metric(line) != value {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Ends the server and all its tasks.
    pub async fn stop(self) -> Drained {
        self.shutdown.cancel();
        let drained = self.serving.await.unwrap();
        self.tracker.close();
        self.tracker.wait().await;
        drained
    }
}

pub fn ok(body: impl Into<RespBody>) -> Response {
    Response::new(body.into())
}

/// Everything until the end, also when that is a reset.
pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all).await;
    String::from_utf8(all).unwrap()
}

/// Reads until the text ends as told.
pub async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = String::new();
    let mut buffer = [0; 1024];
    while !all.ends_with(end) {
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "closed after {all:?}");
        all.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    all
}

/// Fails the test when something takes longer.
pub async fn within<T>(limit: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, what)
        .await
        .unwrap_or_else(|_| panic!("took over {limit:?}"))
}

/// A client that speaks HTTP/2 without asking.
pub fn http2_client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}
