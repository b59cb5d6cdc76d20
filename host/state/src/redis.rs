//! The store in Redis.
//!
//! One connection carries everything that is under way at a time. A task of its own makes it, and makes it
//! anew when it breaks: no call waits for that. Each operation ends within the socket timeout.

mod connect;
mod gates;
mod operations;
mod scripts;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::cluster_routing::RoutingInfo;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::breaker::{Breaker, Ended};
use crate::error::StateError;
use crate::memory::Clock;
use crate::metrics::StateMetrics;
use crate::settings::RedisSettings;
use connect::{Connection, Connector};

/// Longest time that making a connection may take; no call waits for it.
const CONNECT: Duration = Duration::from_secs(5);
/// Wait before a connection is tried again; doubles each time.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What a Redis is given by the process it lives in.
#[derive(Clone)]
pub struct RedisParts {
    /// The task that connects is spawned here, on the runtime of who starts it.
    pub tracker: TaskTracker,
    /// Ends it.
    pub stop: CancellationToken,
    /// Of a clock that never goes back.
    pub clock: Clock,
    /// Where to count.
    pub metrics: StateMetrics,
    /// Whom to tell of each operation.
    pub observe: Option<Arc<dyn Observe>>,
}

/// Is told of each operation when it has ended.
pub trait Observe: Send + Sync {
    /// Whether it wants to be told at present. Asked at each operation.
    fn wants(&self) -> bool;
    /// An operation has ended. Must not wait.
    fn observe(&self, observed: &Observed<'_>);
}

/// An operation that has ended.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The command, lower case.
    pub command: &'a str,
    /// How long it took.
    pub took: Duration,
    /// How it failed.
    pub error: Option<&'a StateError>,
}

/// A Redis. The connection ends when this is dropped.
pub struct Redis {
    settings: RedisSettings,
    shared: Arc<Shared>,
    line: watch::Receiver<Line>,
    _stop: DropGuard,
}

struct Shared {
    breaker: Breaker,
    clock: Clock,
    metrics: StateMetrics,
    observe: Option<Arc<dyn Observe>>,
    /// The number of the connection that was found broken last.
    broken: watch::Sender<u64>,
}

/// The connection as it stands.
#[derive(Clone)]
enum Line {
    /// Nobody knows yet whether Redis can be reached.
    Connecting,
    Up(Connection, u64),
    Down(Arc<str>),
}

/// Whether a connection could be made of these settings.
pub(crate) fn check(settings: &RedisSettings) -> Result<(), String> {
    Connector::new(settings)
        .map(|_| ())
        .map_err(|error| words(&error))
}

impl Redis {
    /// Begins to connect. Must be called within the runtime that the connection shall live on. An error
    /// says which settings no connection can be made of; a Redis that does not answer is none.
    pub fn start(settings: RedisSettings, parts: RedisParts) -> Result<Arc<Redis>, String> {
        let connector = Connector::new(&settings).map_err(|error| words(&error))?;
        let (tell, line) = watch::channel(Line::Connecting);
        let shared = Arc::new(Shared {
            breaker: Breaker::default(),
            clock: parts.clock,
            metrics: parts.metrics,
            observe: parts.observe,
            broken: watch::Sender::new(0),
        });
        let stop = parts.stop.child_token();
        let connecting = keep_connected(connector, settings.clone(), shared.clone(), tell);
        let until = stop.clone();
        parts.tracker.spawn(async move {
            tokio::select! {
                () = connecting => {}
                () = until.cancelled() => {}
            }
        });
        Ok(Arc::new(Redis {
            settings,
            shared,
            line,
            _stop: stop.drop_guard(),
        }))
    }

    /// What it was started with.
    pub fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Whether it is left alone for a while, because it failed too often.
    pub fn is_resting(&self) -> bool {
        self.shared.breaker.is_open()
    }

    /// How it stands, in a word: `connected`, `connecting`, `unreachable`, or `resting` when it is left alone.
    pub fn standing(&self) -> &'static str {
        if self.is_resting() {
            return "resting";
        }
        match &*self.line.borrow() {
            Line::Connecting => "connecting",
            Line::Up(..) => "connected",
            Line::Down(_) => "unreachable",
        }
    }

    /// One command, within the socket timeout.
    async fn query(&self, command: &Cmd) -> Result<Value, StateError> {
        let operate = |mut connection| async move { command.query_async(&mut connection).await };
        self.observed(command, self.bounded(operate)).await
    }

    /// One command, to certain nodes of a cluster.
    async fn route(&self, command: &Cmd, routing: RoutingInfo) -> Result<Value, StateError> {
        let operate = |connection: Connection| connection.route(command, routing);
        self.observed(command, self.bounded(operate)).await
    }

    /// Tells whoever observes of an operation.
    async fn observed(
        &self,
        command: &Cmd,
        operation: impl Future<Output = Result<Value, StateError>>,
    ) -> Result<Value, StateError> {
        let observe = self.shared.observe.as_ref();
        let Some(observe) = observe.filter(|observe| observe.wants()) else {
            return operation.await;
        };
        let begun = (self.shared.clock)();
        let result = operation.await;
        let word = command.args_iter().next();
        let word = match word {
            Some(redis::Arg::Simple(word)) => String::from_utf8_lossy(word).to_lowercase(),
            _ => String::new(),
        };
        observe.observe(&Observed {
            command: &word,
            took: (self.shared.clock)().saturating_sub(begun),
            error: result.as_ref().err(),
        });
        result
    }

    async fn bounded<F>(&self, operate: impl FnOnce(Connection) -> F) -> Result<Value, StateError>
    where
        F: Future<Output = RedisResult<Value>>,
    {
        let (shared, limit) = (&self.shared, self.settings.socket_timeout);
        if !shared.breaker.enter((shared.clock)()) {
            shared.metrics.count("resting");
            return Err(StateError::Resting);
        }
        // Tells the breaker, also when nobody waits for the end.
        let mut passed = Passed {
            shared,
            ended: Ended::Unknown,
            connection: None,
        };
        let operation = async {
            let (connection, number) = self.connection().await?;
            passed.connection = Some(number);
            operate(connection).await.map_err(|error| judged(&error))
        };
        let timed = tokio::time::timeout(limit, operation).await;
        let result = timed.unwrap_or(Err(StateError::Timeout(limit)));
        let (ended, outcome) = match &result {
            Ok(_) => (Ended::Well, "ok"),
            Err(StateError::Timeout(_)) => (Ended::Timeout, "timeout"),
            Err(error) if error.is_hard() => (Ended::Unreachable, "unreachable"),
            Err(_) => (Ended::Well, "refused"),
        };
        passed.ended = ended;
        shared.metrics.count(outcome);
        result
    }

    async fn connection(&self) -> Result<(Connection, u64), StateError> {
        let mut line = self.line.clone();
        loop {
            match &*line.borrow_and_update() {
                Line::Up(connection, number) => return Ok((connection.clone(), *number)),
                Line::Down(why) => return Err(StateError::Unreachable(why.to_string())),
                Line::Connecting => {}
            }
            if line.changed().await.is_err() {
                let why = "the gateway is stopping".to_owned();
                return Err(StateError::Unreachable(why));
            }
        }
    }
}

/// An operation that the breaker let through.
struct Passed<'a> {
    shared: &'a Shared,
    ended: Ended,
    connection: Option<u64>,
}

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        let shared = self.shared;
        let opened = shared.breaker.left(self.ended, (shared.clock)());
        shared
            .metrics
            .is_open
            .set(i64::from(shared.breaker.is_open()));
        if opened {
            tracing::warn!(
                "Redis failed too often and is left alone; the gateway goes on with what it knows itself"
            );
        }
        // A connection that hangs is made anew when the breaker opens: a slow Redis keeps it until then.
        if let Some(number) = self.connection
            && (opened || self.ended == Ended::Unreachable)
        {
            shared.broken.send_if_modified(|broken| {
                let is_news = *broken < number;
                *broken = number.max(*broken);
                is_news
            });
        }
    }
}

/// Connects, and again whenever the connection is found broken.
async fn keep_connected(
    mut connector: Connector,
    settings: RedisSettings,
    shared: Arc<Shared>,
    line: watch::Sender<Line>,
) {
    let mut broken = shared.broken.subscribe();
    let (mut number, mut wait, mut is_told) = (0, RETRY_FIRST, false);
    let place = settings.place.to_string();
    loop {
        let connecting = connect(&mut connector, &settings);
        let connected = tokio::time::timeout(CONNECT, connecting).await;
        match connected.unwrap_or_else(|_| Err(timed_out())) {
            Ok(connection) => {
                number += 1;
                (wait, is_told) = (RETRY_FIRST, false);
                // It has answered: whoever was refused until now need not try first.
                shared.breaker.close();
                shared.metrics.is_open.set(0);
                shared.metrics.is_connected.set(1);
                tracing::info!(redis = place, "connected to Redis");
                line.send_replace(Line::Up(connection, number));
                if broken.wait_for(|broken| *broken >= number).await.is_err() {
                    return;
                }
                shared.metrics.is_connected.set(0);
                line.send_replace(Line::Down("the connection broke".into()));
            }
            Err(error) => {
                let why = words(&error);
                if !is_told {
                    tracing::warn!(
                        redis = place,
                        error = why,
                        "Redis cannot be reached; the gateway goes on with what it knows itself, and tries again"
                    );
                    is_told = true;
                }
                line.send_replace(Line::Down(why.into()));
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_LONGEST);
            }
        }
    }
}

/// A connection that has answered, with the password of now where it changes.
async fn connect(connector: &mut Connector, settings: &RedisSettings) -> RedisResult<Connection> {
    if let Some(passwords) = &settings.passwords {
        let password = (passwords.ask)().await.map_err(|why| {
            RedisError::from((ErrorKind::AuthenticationFailed, "there is no password", why))
        })?;
        *connector = Connector::new(&RedisSettings {
            password: Some(password),
            ..settings.clone()
        })?;
    }
    connector.connect().await
}

fn timed_out() -> RedisError {
    RedisError::from((ErrorKind::Io, "it does not answer"))
}

/// Whether an error is Redis' answer, or says that it does not serve.
fn judged(error: &RedisError) -> StateError {
    let is_hard = match error.kind() {
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::AuthenticationFailed
        | ErrorKind::ClusterConnectionNotFound => true,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                // It was the master once.
                | ServerErrorKind::ReadOnly
        ),
        _ => false,
    };
    match is_hard {
        true => StateError::Unreachable(words(error)),
        false => StateError::Refused(words(error)),
    }
}

fn words(error: &RedisError) -> String {
    error.to_string()
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
