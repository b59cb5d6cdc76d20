//! One call from admission to outcome: size, breaker, instance, bounds, metrics.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use tracing::Instrument;
use wasmtime::{Store, Trap};

use super::instance::Bindings;
use super::{Lease, Pool};
use crate::CallError;
use crate::bindings::witgate::types::types;
use crate::breaker::{Pass, State as BreakerState};
use crate::capabilities::{Level, LogSource, State};
use crate::error::{Fault, Outcome, PluginError, TrapKind};
use crate::names::Names;

/// The future of a call into an instance.
pub(crate) type Running<'a, R> =
    Pin<Box<dyn Future<Output = wasmtime::Result<Result<R, types::PluginError>>> + Send + 'a>>;

/// Something to do with an instance.
pub(crate) trait Run<B, R>:
    for<'a> FnOnce(&'a mut Store<State>, &'a B) -> Running<'a, R> + Send
{
}

impl<B, R, F> Run<B, R> for F where
    F: for<'a> FnOnce(&'a mut Store<State>, &'a B) -> Running<'a, R> + Send
{
}

impl<B: Bindings> Pool<B> {
    /// One call on any instance.
    pub(crate) async fn call<R, F>(
        self: &Arc<Self>,
        function: usize,
        input_bytes: u64,
        run: F,
    ) -> Result<R, CallError>
    where
        F: Run<B, R>,
    {
        let mut attempt = self.admit(function, input_bytes)?;
        let span = tracing::debug_span!(
            "plugin",
            name = self.context.name.as_ref(),
            function = attempt.name()
        );
        let result = async {
            let mut lease = self.lease().await?;
            let answer = lease.run(run).await;
            if lease.is_whole() {
                lease.give_back();
            }
            answer
        };
        let result = result.instrument(span).await;
        attempt.finish(result)
    }

    /// A call that keeps its instance when it returns something.
    pub(crate) async fn call_and_pin<R, F>(
        self: &Arc<Self>,
        function: usize,
        run: F,
    ) -> Result<(Lease<B>, R), CallError>
    where
        F: Run<B, R>,
    {
        let mut attempt = self.admit(function, 0)?;
        let result = async {
            let mut lease = self.lease_for_stream().await?;
            match lease.run(run).await {
                Ok(answer) => Ok((lease, answer)),
                Err(fault) => {
                    if lease.is_whole() {
                        lease.give_back();
                    }
                    Err(fault)
                }
            }
        };
        let result = result.await;
        attempt.finish(result)
    }

    /// A further call on a pinned instance. The breaker hears of it but does not stop it: a stream that
    /// began is judged to its end.
    pub(crate) async fn call_pinned<R, F>(
        self: &Arc<Self>,
        lease: &mut Lease<B>,
        function: usize,
        input_bytes: u64,
        run: F,
    ) -> Result<R, CallError>
    where
        F: Run<B, R>,
    {
        let mut attempt = self.check_size(Attempt::new(self, function), input_bytes)?;
        let result = lease.run(run).await;
        attempt.finish(result)
    }

    fn admit(
        self: &Arc<Self>,
        function: usize,
        input_bytes: u64,
    ) -> Result<Attempt<'_, B>, CallError> {
        let mut attempt = self.check_size(Attempt::new(self, function), input_bytes)?;
        match self.breaker.enter(attempt.start) {
            Ok(pass) => {
                if pass.is_probe() {
                    self.context
                        .metrics
                        .breaker
                        .set(BreakerState::HalfOpen.as_number());
                }
                attempt.pass = Some(pass);
            }
            Err(retry_in) => return Err(attempt.fail(Fault::BreakerOpen { retry_in })),
        }
        Ok(attempt)
    }

    fn check_size<'a>(
        &self,
        mut attempt: Attempt<'a, B>,
        bytes: u64,
    ) -> Result<Attempt<'a, B>, CallError> {
        let max = self.bounds.input;
        match bytes > max {
            true => Err(attempt.fail(Fault::InputTooLarge { bytes, max })),
            false => Ok(attempt),
        }
    }
}

/// A call being counted. Dropped unfinished, it was cancelled.
struct Attempt<'a, B: Bindings> {
    pool: &'a Arc<Pool<B>>,
    function: usize,
    start: Instant,
    pass: Option<Pass>,
    outcome: Outcome,
}

impl<'a, B: Bindings> Attempt<'a, B> {
    fn new(pool: &'a Arc<Pool<B>>, function: usize) -> Self {
        Self {
            pool,
            function,
            start: Instant::now(),
            pass: None,
            outcome: Outcome::Cancelled,
        }
    }

    fn name(&self) -> &'static str {
        B::FUNCTIONS.get(self.function).copied().unwrap_or_default()
    }

    fn finish<R>(&mut self, result: Result<R, Fault>) -> Result<R, CallError> {
        match result {
            Ok(answer) => {
                self.outcome = Outcome::Ok;
                self.tell_breaker(false);
                Ok(answer)
            }
            Err(fault) => Err(self.fail(fault)),
        }
    }

    fn fail(&mut self, fault: Fault) -> CallError {
        self.outcome = fault.outcome();
        let log = &self.pool.context.log;
        let fault = match fault {
            Fault::Plugin(error) => Fault::Plugin(error.map(|text| log.clean(&text))),
            other => other,
        };
        if let Fault::Trap { kind, .. } = &fault {
            self.pool.context.metrics.trapped(*kind);
        }
        // What the plugin answers in an orderly way is for its caller.
        if fault.trips_breaker() {
            log.note(Level::Error, &format!("{}: {fault}", self.name()));
        }
        match &fault {
            // Says nothing about the plugin's health.
            Fault::Overloaded | Fault::BreakerOpen { .. } | Fault::InputTooLarge { .. } => {}
            fault => self.tell_breaker(fault.trips_breaker()),
        }
        CallError {
            plugin: self.pool.context.name.clone(),
            function: self.name(),
            fault,
        }
    }

    fn tell_breaker(&mut self, failed: bool) {
        // Pinned calls have no pass of their own; they count like any call under a closed breaker.
        let pass = self.pass.take().unwrap_or_default();
        let (pool, now) = (self.pool, Instant::now());
        let name = pool.context.name.as_ref();
        if failed {
            if let Some(rest) = pool.breaker.failed(pass, now) {
                pool.context
                    .metrics
                    .breaker
                    .set(pool.breaker.state(now).as_number());
                tracing::warn!(
                    plugin = name,
                    rest_ms = rest.as_millis() as u64,
                    "the plugin failed too often and is not called for a while"
                );
                pool.context.log.note(
                    Level::Warn,
                    &format!("failed too often, rests for {} s", rest.as_secs()),
                );
                (pool.context.on_rest)(name, rest);
            }
        } else if pool.breaker.succeeded(pass, now) {
            pool.context.metrics.breaker.set(0);
            tracing::info!(plugin = name, "the plugin works again");
        }
    }
}

impl<B: Bindings> Drop for Attempt<'_, B> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.pool.breaker.abandoned(pass);
        }
        let took = self.start.elapsed();
        self.pool
            .context
            .metrics
            .called(self.function, self.outcome, took);
    }
}

/// What wasmtime says when a plugin hands over more than [`Store::set_hostcall_fuel`] allows.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";
/// Bytes of an engine's message that are kept.
const MESSAGE_MAX: usize = 512;

/// What a failed call means.
pub(super) fn trap(
    error: &wasmtime::Error,
    state: &mut State,
    (output_max, names): (usize, &Names),
) -> Fault {
    let fault = cause(error, state, output_max);
    if let Some(backtrace) = names.backtrace(error) {
        // A line of the plugin's own log: under its name, bounded, and where its author looks.
        let line = format!("{fault}; in {backtrace}");
        let log = &state.context.log;
        if !log.write(LogSource::Host, Level::Error, &line, &[]) {
            state.context.metrics.log_dropped.inc();
        }
    }
    fault
}

fn cause(error: &wasmtime::Error, state: &mut State, output_max: usize) -> Fault {
    tracing::debug!(plugin = state.context.name.as_ref(), "trap: {error:?}");
    let panic = state.call.panic.take();
    if let Some(wanted) = state.memory.refused.take() {
        let (wanted, max) = (wanted >> 20, state.memory.max() >> 20);
        let message = format!("it wanted {wanted} MiB, it may have {max}");
        return Fault::Trap {
            kind: TrapKind::MemoryLimit,
            message,
        };
    }
    if let Some(message) = panic {
        return Fault::Trap {
            kind: TrapKind::Panic,
            message,
        };
    }
    let (kind, message) = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => (TrapKind::CpuLimit, String::new()),
        Some(Trap::StackOverflow) => (TrapKind::StackOverflow, String::new()),
        Some(Trap::MemoryOutOfBounds) => (TrapKind::MemoryAccess, String::new()),
        Some(Trap::UnreachableCodeReached) => (TrapKind::Unreachable, String::new()),
        Some(other) => (TrapKind::Other, other.to_string()),
        None => {
            let mut message = format!("{error:#}");
            if message.contains(HOSTCALL_FUEL) {
                return Fault::OutputTooLarge {
                    max: output_max as u64,
                };
            }
            message.truncate(message.floor_char_boundary(MESSAGE_MAX));
            (TrapKind::Other, state.context.log.clean(&message))
        }
    };
    Fault::Trap { kind, message }
}

impl From<types::PluginError> for PluginError {
    fn from(from: types::PluginError) -> Self {
        match from {
            types::PluginError::InvalidSettings(text) => Self::InvalidSettings(text),
            types::PluginError::Denied(text) => Self::Denied(text),
            types::PluginError::Unavailable(text) => Self::Unavailable(text),
            types::PluginError::Failed(text) => Self::Failed(text),
        }
    }
}
