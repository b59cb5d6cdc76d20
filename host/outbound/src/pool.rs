//! Idle HTTP/1.1 connections and shared HTTP/2 connections, by origin.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use hyper::client::conn::http2;
use tokio_util::task::TaskTracker;

use crate::Body;
use crate::exchange::Exchange;

/// An origin as the caller wrote it, credentials removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    scheme: Scheme,
    authority: Authority,
}

/// A connection that may carry a request now.
pub(crate) enum Ready {
    Http1(Box<Exchange>),
    Http2(http2::SendRequest<Body>),
}

/// The connections of one client, apart for each thread that keeps its own.
///
/// A connection belongs to the event queue of the runtime that opened it: used from another one it
/// works, but each event wakes one thread to wake another.
pub(crate) struct Pool {
    hosts: [Mutex<Hosts>; PLACES],
    max_idle_per_host: usize,
    idle_timeout: Duration,
    tasks: TaskTracker,
}

/// Places for threads with connections of their own; beyond that they share.
const PLACES: usize = 64;

/// The next thread's place. Place 0 is that of all ordinary threads.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

/// Gives the current thread connections of its own, in every client. For threads that each run a
/// runtime of their own.
pub fn keep_own_connections() {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    PLACE.set(1 + number % (PLACES - 1));
}

#[derive(Default)]
struct Hosts {
    by_key: HashMap<Key, Connections>,
    /// Whether the task that closes old connections runs.
    sweeping: bool,
}

#[derive(Default)]
struct Connections {
    /// The most recently used last: it is taken first, so that surplus connections age.
    http1: Vec<Idle>,
    http2: Option<(http2::SendRequest<Body>, Instant)>,
}

/// A connection and when it was last used.
type Idle = (Box<Exchange>, Instant);

/// Runs what hyper spawns among the pool's own tasks.
#[derive(Debug, Clone)]
pub(crate) struct Spawner(TaskTracker);

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Key {
    /// Splits a URI into its origin and the rest; `None` unless it is an absolute `http(s)` URI.
    pub(crate) fn split(uri: Uri) -> Option<(Self, PathAndQuery)> {
        let parts = uri.into_parts();
        let scheme = parts.scheme?;
        let mut authority = parts.authority?;
        if let Some((_, host)) = authority.as_str().rsplit_once('@') {
            authority = host.parse().ok()?;
        }
        let path = parts
            .path_and_query
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        Some((Self { scheme, authority }, path))
    }

    /// An absolute URI on this origin.
    pub(crate) fn uri(&self, path: PathAndQuery) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        // The three parts come from a URI and form one again.
        Uri::from_parts(parts).unwrap_or_default()
    }

    pub(crate) fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The `Host` header: the port only when it is not the scheme's own.
    pub(crate) fn host_header(&self) -> HeaderValue {
        let own = if self.scheme == Scheme::HTTPS {
            443
        } else {
            80
        };
        let host = match self.authority.port_u16() {
            Some(port) if port != own => self.authority.as_str(),
            _ => self.authority.host(),
        };
        // Every character of an authority may stand in a header.
        HeaderValue::from_str(host).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl Pool {
    pub(crate) fn new(max_idle_per_host: usize, idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self {
            hosts: std::array::from_fn(|_| Mutex::default()),
            max_idle_per_host,
            idle_timeout,
            tasks: TaskTracker::new(),
        })
    }

    pub(crate) fn spawner(&self) -> Spawner {
        Spawner(self.tasks.clone())
    }

    /// A live connection to this origin, if there is one.
    pub(crate) fn take(&self, key: &Key) -> Option<Ready> {
        loop {
            let (mut exchange, since) = {
                let mut hosts = self.lock();
                let connections = hosts.by_key.get_mut(key)?;
                if let Some((handle, used)) = &mut connections.http2 {
                    if !handle.is_closed() {
                        *used = Instant::now();
                        return Some(Ready::Http2(handle.clone()));
                    }
                    connections.http2 = None;
                }
                connections.http1.pop()?
            };
            if since.elapsed() < self.idle_timeout && exchange.is_ready() {
                return Some(Ready::Http1(exchange));
            }
        }
    }

    /// Keeps a connection for the next request, if it can carry one.
    pub(crate) fn put(self: &Arc<Self>, mut exchange: Box<Exchange>) {
        if self.max_idle_per_host == 0 || !exchange.is_ready() {
            return;
        }
        let mut hosts = self.lock();
        let connections = match hosts.by_key.get_mut(exchange.key()) {
            Some(connections) => connections,
            None => hosts.by_key.entry(exchange.key().clone()).or_default(),
        };
        if connections.http1.len() < self.max_idle_per_host {
            connections.http1.push((exchange, Instant::now()));
        }
        self.sweep(&mut hosts);
    }

    /// Shares an HTTP/2 connection; its driver runs until the connection ends or nobody uses it.
    pub(crate) fn share<F>(self: &Arc<Self>, key: &Key, handle: http2::SendRequest<Body>, driver: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.tasks.spawn(driver);
        let mut hosts = self.lock();
        let connections = hosts.by_key.entry(key.clone()).or_default();
        connections.http2 = Some((handle, Instant::now()));
        self.sweep(&mut hosts);
    }

    /// Forgets the shared connection, which refused a request.
    pub(crate) fn forget_http2(&self, key: &Key) {
        if let Some(connections) = self.lock().by_key.get_mut(key) {
            connections.http2 = None;
        }
    }

    /// Starts the task that closes old connections, unless it runs.
    fn sweep(self: &Arc<Self>, hosts: &mut Hosts) {
        if !hosts.sweeping {
            hosts.sweeping = true;
            self.tasks
                .spawn(sweep(Arc::downgrade(self), PLACE.get(), self.idle_timeout));
        }
    }

    /// Closes what is old or dead. False when nothing is left.
    fn close_old(&self, place: usize) -> bool {
        let mut hosts = self.lock_at(place);
        let mut closed = Vec::new();
        let old = |used: &Instant| used.elapsed() >= self.idle_timeout;
        hosts.by_key.retain(|_, connections| {
            let dead = |(exchange, used): &mut Idle| old(used) || !exchange.is_ready();
            closed.extend(connections.http1.extract_if(.., dead));
            connections
                .http2
                .take_if(|(handle, used)| old(used) || handle.is_closed());
            !connections.http1.is_empty() || connections.http2.is_some()
        });
        hosts.sweeping = !hosts.by_key.is_empty();
        let sweeping = hosts.sweeping;
        // Closing sockets takes its time; requests wait for the lock.
        drop(hosts);
        drop(closed);
        sweeping
    }

    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.lock_at(PLACE.get())
    }

    fn lock_at(&self, place: usize) -> MutexGuard<'_, Hosts> {
        // No code panics while it holds the lock, and the map would be whole if it did.
        self.hosts[place % PLACES]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs while there is something to close; ends with the pool.
async fn sweep(pool: Weak<Pool>, place: usize, idle_timeout: Duration) {
    let pause = (idle_timeout / 2).clamp(Duration::from_millis(10), Duration::from_secs(15));
    loop {
        tokio::time::sleep(pause).await;
        match pool.upgrade() {
            Some(pool) if pool.close_old(place) => {}
            _ => return,
        }
    }
}
