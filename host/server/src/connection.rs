//! One connection, from the first byte to the last: TLS, version, timeouts, drain, farewell.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as HyperService, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Verdict, Watch};
use crate::io::{Io, Stream};
use crate::metrics::Reason;
use crate::options::HYPER_HEADER_COUNT;
use crate::response_body::Outgoing;
use crate::service::Caller;
use crate::{Limits, ServerMetrics, Service, Workers};

/// How far the server is from its end; connections act on every change.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    stage: AtomicU8,
    draining: Notify,
    closing: Notify,
}

/// Requests in flight are served, then the connection closes.
const DRAINING: u8 = 1;
/// Time is up.
const CLOSING: u8 = 2;

impl Stage {
    pub(crate) fn drain(&self) {
        self.stage.store(DRAINING, Ordering::SeqCst);
        self.draining.notify_waiters();
    }

    pub(crate) fn close(&self) {
        self.stage.store(CLOSING, Ordering::SeqCst);
        self.closing.notify_waiters();
    }

    fn reached(&self, stage: u8) -> bool {
        self.stage.load(Ordering::SeqCst) >= stage
    }

    /// Waits for the end of serving.
    async fn until_draining(&self) {
        let mut draining = pin!(self.draining.notified());
        draining.as_mut().enable();
        if !self.reached(DRAINING) {
            draining.await;
        }
    }

    /// Waits for the end of everything.
    async fn until_closing(&self) {
        let mut closing = pin!(self.closing.notified());
        closing.as_mut().enable();
        if !self.reached(CLOSING) {
            closing.await;
        }
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve<S: Service>(
    tcp: TcpStream,
    tls: Option<&TlsAcceptor>,
    caller: Caller<S>,
    stage: &Stage,
    spawner: Spawner,
) {
    let limits = caller.limits.clone();
    let metrics = caller.metrics.clone();
    let (stream, is_http2) = match tls {
        Some(tls) => match timeout(limits.header_read_timeout, tls.accept(tcp)).await {
            Ok(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                (Stream::Tls(Box::new(stream)), is_http2)
            }
            _ => return metrics.refuse(Reason::tls_handshake),
        },
        None => match timeout(limits.keep_alive_idle, starts_http2(&tcp, stage)).await {
            Ok(Some(is_http2)) => (Stream::Plain(tcp), is_http2),
            _ => return,
        },
    };
    let activity = caller.activity.clone();
    let io = TokioIo::new(Io::new(stream, activity.clone()));
    let watch = Watch::new(&limits, Instant::now());
    let service = service_fn(move |request| caller.call(request));
    if is_http2 {
        let connection = http2_builder(&limits, spawner).serve_connection(io, service);
        let mut connection = pin!(connection);
        drive(connection.as_mut(), watch, &activity, stage, &metrics).await;
        return;
    }
    let mut connection = http1_builder(&limits).serve_connection(io, service);
    let ended = drive(Pin::new(&mut connection), watch, &activity, stage, &metrics).await;
    if ended != Ended::Cut {
        let still_sending = ended == Ended::Malformed || activity.is_body_unread();
        part(
            connection.into_parts().io.into_inner(),
            still_sending,
            stage,
        )
        .await;
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // hyper's own header timer is set and dropped with every request; ours ticks slowly.
    builder
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes.max(HEADER_BYTES_MIN));
    // Said in words, the limit costs two allocations per request.
    if limits.header_count != HYPER_HEADER_COUNT {
        builder.max_headers(limits.header_count);
    }
    builder
}

fn http2_builder(limits: &Limits, spawner: Spawner) -> http2::Builder<Spawner> {
    let mut builder = http2::Builder::new(spawner);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.h2_max_streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    builder
}

/// hyper accepts no smaller buffer.
const HEADER_BYTES_MIN: usize = 8192;
/// An HTTP/2 client is asked for a sign of life this often …
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// … and given up when none comes.
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Both sides are done with it.
    Done,
    /// The client sent what is not HTTP; it was told so.
    Malformed,
    /// The client left, or its time was up.
    Cut,
}

/// Runs a connection to its end, ticking and watching the stage.
///
/// This is polled with every event of the connection, so what happens rarely costs next to nothing
/// here: the two notifications are registered once, afterwards an atomic tells of them.
async fn drive<C: Serving>(
    mut connection: Pin<&mut C>,
    mut watch: Watch,
    activity: &Activity,
    stage: &Stage,
    metrics: &ServerMetrics,
) -> Ended {
    let mut draining = pin!(stage.draining.notified());
    let mut closing = pin!(stage.closing.notified());
    let mut tick = pin!(tokio::time::sleep(watch.interval()));
    let (mut registered, mut drained) = (false, false);
    poll_fn(move |cx| {
        if !registered {
            registered = true;
            let _ = draining.as_mut().poll(cx).is_ready() | closing.as_mut().poll(cx).is_ready();
        }
        if stage.reached(DRAINING) {
            if stage.reached(CLOSING) {
                return Poll::Ready(Ended::Cut);
            }
            if !drained {
                drained = true;
                connection.as_mut().drain();
            }
        }
        while tick.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            match watch.tick(activity, now) {
                Verdict::Fine => {}
                Verdict::Idle if drained => return Poll::Ready(Ended::Cut),
                Verdict::Idle => {
                    drained = true;
                    connection.as_mut().drain();
                }
                Verdict::SlowHead => {
                    metrics.refuse(Reason::header_timeout);
                    return Poll::Ready(Ended::Cut);
                }
            }
            tick.as_mut().reset(now + watch.interval());
        }
        connection.as_mut().poll_serve(cx).map(|ended| match ended {
            Ok(()) => Ended::Done,
            Err(error) if error.is_parse() => {
                metrics.refuse(Reason::malformed);
                Ended::Malformed
            }
            Err(_) => Ended::Cut,
        })
    })
    .await
}

/// The two kinds of hyper connections, as far as they are alike.
trait Serving {
    fn poll_serve(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>>;
    fn drain(self: Pin<&mut Self>);
}

impl<S> Serving for http1::Connection<TokioIo<Io>, S>
where
    S: HyperService<Request<Incoming>, Response = Response<Outgoing>, Error = Infallible> + Unpin,
{
    fn poll_serve(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.poll(cx)
    }

    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Serving for http2::Connection<TokioIo<Io>, S, Spawner>
where
    S: HyperService<Request<Incoming>, Response = Response<Outgoing>, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn poll_serve(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.poll(cx)
    }

    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs the streams of an HTTP/2 connection as tracked tasks, on all workers in turn: one connection
/// may carry all of a client's calls.
#[derive(Debug, Clone)]
pub(crate) struct Spawner {
    tasks: TaskTracker,
    workers: Workers,
    next: Arc<AtomicUsize>,
}

impl Spawner {
    pub(crate) fn new(tasks: TaskTracker, workers: Workers) -> Self {
        Self {
            tasks,
            workers,
            next: Arc::default(),
        }
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.workers.spawn_anywhere(&self.tasks, number, stream);
    }
}

/// Whether a connection without TLS starts with HTTP/2's preface; `None` when it closes unused.
///
/// No HTTP/1.1 method starts like it, so three bytes are enough.
async fn starts_http2(tcp: &TcpStream, stage: &Stage) -> Option<bool> {
    const PREFACE: &[u8; 3] = b"PRI";
    let mut start = [0; PREFACE.len()];
    loop {
        let seen = tokio::select! {
            seen = tcp.peek(&mut start) => seen.ok()?,
            () = stage.until_draining() => return None,
        };
        if seen == 0 {
            return None;
        }
        if seen == PREFACE.len() || start[..seen] != PREFACE[..seen] {
            return Some(start == *PREFACE);
        }
        // One or two bytes, which hardly happens. Looking does not consume them, so there is
        // nothing to wait for but time.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Ends an HTTP/1.1 connection so that the client gets the last response.
///
/// Closing a socket with unread input resets it, and a reset overtakes the response. A client that
/// is still sending is therefore listened to, though not heard, for a while.
async fn part(mut io: Io, still_sending: bool, stage: &Stage) {
    if io.shutdown().await.is_err() || !still_sending {
        return;
    }
    let discard = async {
        let mut scrap = vec![0; 64 * 1024];
        while io.read(&mut scrap).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        _ = timeout(LINGER, discard) => {}
        () = stage.until_closing() => {}
    }
}

/// How long a client may go on sending what nobody reads.
const LINGER: Duration = Duration::from_secs(10);
