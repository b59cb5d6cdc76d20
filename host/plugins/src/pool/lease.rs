//! An instance in somebody's hands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::Pool;
use super::cpu::Accounted;
use super::instance::{Bindings, Warm};
use super::run::{Run, trap};
use crate::bindings::witgate::types::types;
use crate::error::Fault;
use crate::record;

/// The right to one instance. Dropped without [`Lease::give_back`], the instance is thrown away.
pub(crate) struct Lease<B: Bindings> {
    pool: Arc<Pool<B>>,
    warm: Option<Warm<B>>,
    /// Why the instance will be thrown away, if it will.
    reason: &'static str,
    permit: Option<OwnedSemaphorePermit>,
}

impl<B: Bindings> Lease<B> {
    pub(super) fn new(pool: Arc<Pool<B>>, warm: Warm<B>, permit: OwnedSemaphorePermit) -> Self {
        pool.context.metrics.busy.inc();
        Self {
            pool,
            warm: Some(warm),
            reason: "cancelled",
            permit: Some(permit),
        }
    }

    /// The pool it belongs to.
    pub(crate) fn pool(&self) -> &Arc<Pool<B>> {
        &self.pool
    }

    /// Calls into the instance under the plugin's bounds. After an error other than
    /// [`Fault::Plugin`] the instance is gone.
    pub(crate) async fn run<R, F>(&mut self, run: F) -> Result<R, Fault>
    where
        F: Run<B, R>,
    {
        // Taken out for the call: if this future is dropped halfway, so is the instance.
        let Some(mut warm) = self.warm.take() else {
            return Err(Fault::Unloaded("its instance is gone".to_owned()));
        };
        let bounds = &self.pool.bounds;
        let timeout: Duration = bounds.timeout;
        warm.store
            .data_mut()
            .begin(Instant::now() + timeout, bounds.cpu);
        warm.store.set_epoch_deadline(1);
        if let Some(tape) = &warm.store.data().senses.tape {
            record::tape::attach(tape);
        }
        let running = run(&mut warm.store, &warm.bindings);
        let running = Accounted::new(running, &self.pool.context.metrics.cpu);
        let called = tokio::time::timeout(timeout, running).await;
        let fault = match called {
            Ok(Ok(answer)) => {
                warm.calls += 1;
                warm.store.data_mut().end();
                self.pool.context.metrics.memory_used(warm.memory_used());
                self.warm = Some(warm);
                return answer.map_err(|error: types::PluginError| Fault::Plugin(error.into()));
            }
            Ok(Err(error)) => {
                self.reason = "trap";
                trap(
                    &error,
                    warm.store.data_mut(),
                    (bounds.output, &self.pool.loaded.names),
                )
            }
            Err(_) => {
                self.reason = "timeout";
                Fault::Timeout { after: timeout }
            }
        };
        Err(fault)
    }

    /// Whether the instance survived its calls.
    pub(crate) fn is_whole(&self) -> bool {
        self.warm.is_some()
    }

    /// Returns the instance for the next call.
    pub(crate) fn give_back(mut self) {
        if let Some(mut warm) = self.warm.take() {
            warm.used = Instant::now();
            self.reason = "";
            self.pool.take_back(warm, self.permit.take());
        }
    }
}

impl<B: Bindings> Drop for Lease<B> {
    fn drop(&mut self) {
        let metrics = &self.pool.context.metrics;
        metrics.busy.dec();
        if !self.reason.is_empty() {
            metrics.recycled(self.reason);
        }
    }
}
