//! The instances of one configured plugin: warm ones, one call at a time each, and what becomes of them.
//!
//! A caller takes a [`Lease`] on an instance, waiting a bounded time when all are busy. After a call that
//! returned, the instance goes back unless it is due to be replaced. After a trap, a timeout or a
//! cancelled call it is thrown away: dropping the lease does that, so no path can forget it.

pub(crate) mod cpu;
mod instance;
mod lease;
mod pinned;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use wasmtime::Engine;

pub(crate) use instance::{Bindings, Warm};
pub(crate) use lease::Lease;
pub(crate) use pinned::Pinned;

use crate::breaker::{Breaker, State as BreakerState};
use crate::capabilities::Context;
use crate::component::Loaded;
use crate::error::Fault;
use crate::limits::Bounds;
use crate::registry::Description;
use crate::status::{InForce, Load};
use crate::{FailPolicy, Isolation};

/// Instances that `isolation: call` keeps ready.
const PREPARED_MAX: usize = 8;

/// A configured plugin with its instances.
pub(crate) struct Pool<B: Bindings> {
    pub(crate) context: Arc<Context>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) bounds: Bounds,
    pub(crate) isolation: Isolation,
    pub(crate) fail: FailPolicy,
    pub(crate) breaker: Breaker,
    engine: Engine,
    pre: B::Pre,
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    queued: AtomicUsize,
    /// Ready for a call, the one used last at the end. Under `isolation: call` none was ever called.
    idle: Mutex<Vec<Warm<B>>>,
    preparing: AtomicBool,
    tasks: TaskTracker,
}

/// What the pool needs beyond the plugin itself.
pub(crate) struct Parts {
    pub(crate) context: Arc<Context>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) bounds: Bounds,
    pub(crate) isolation: Isolation,
    pub(crate) fail: FailPolicy,
    pub(crate) engine: Engine,
    pub(crate) tasks: TaskTracker,
}

/// A pool, whatever its kind, to those who look after it.
pub(crate) trait AnyPool: Send + Sync {
    /// Drops instances without a call for too long.
    fn trim(&self, now: Instant);
    /// What its plugin may touch.
    fn context(&self) -> &Arc<Context>;
    /// The component it makes instances of.
    fn component(&self) -> &Arc<Loaded>;
    /// What the plugin is, may touch, and how it does.
    fn describe(&self) -> Description;
    /// How busy it is.
    fn load(&self) -> Load;
    /// The bounds of its calls.
    fn in_force(&self) -> InForce;
    /// The breaker's state.
    fn breaker(&self) -> BreakerState;
}

impl<B: Bindings> Pool<B> {
    /// A pool without instances. The error says what about the component does not fit its kind.
    pub(crate) fn new(parts: Parts) -> Result<Self, String> {
        let pre = B::prepare(parts.loaded.pre.clone())
            .map_err(|error| format!("{}: {error:#}", parts.loaded.source))?;
        let Parts {
            context,
            loaded,
            bounds,
            isolation,
            fail,
            engine,
            tasks,
        } = parts;
        // A plugin of this name before a reload may have left another value.
        context
            .metrics
            .breaker
            .set(BreakerState::Closed.as_number());
        Ok(Self {
            calls: Arc::new(Semaphore::new(bounds.instances)),
            streams: Arc::new(Semaphore::new(bounds.streams)),
            queued: AtomicUsize::new(0),
            idle: Mutex::new(Vec::new()),
            preparing: AtomicBool::new(false),
            breaker: Breaker::default(),
            context,
            loaded,
            bounds,
            isolation,
            fail,
            engine,
            pre,
            tasks,
        })
    }

    /// Makes the first instance, which checks the settings, and as many more as are wanted at once: the
    /// calls that come when this pool takes another's place find theirs ready.
    pub(crate) async fn warm_up(self: &Arc<Self>, wanted: usize) -> Result<(), Fault> {
        let first = self.instantiate().await?;
        self.keep(first);
        for _ in 1..wanted.min(self.prepared_max()) {
            match self.instantiate().await {
                Ok(warm) => self.keep(warm),
                // There is no room for more just now. The call that needs one will see.
                Err(Fault::Overloaded) => break,
                Err(fault) => return Err(fault),
            }
        }
        self.prepare();
        Ok(())
    }

    /// An instance for one call.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease<B>, Fault> {
        let permit = self.permit(&self.calls).await?;
        self.take(permit).await
    }

    /// An instance for the life of a stream.
    pub(crate) async fn lease_for_stream(self: &Arc<Self>) -> Result<Lease<B>, Fault> {
        let permit = self.permit(&self.streams).await?;
        self.take(permit).await
    }

    /// Where work that outlives a call runs.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    async fn permit(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Fault> {
        if let Ok(permit) = of.clone().try_acquire_owned() {
            return Ok(permit);
        }
        let waiting = Waiting::enter(&self.queued, self.bounds.queue)?;
        let start = Instant::now();
        let permit =
            tokio::time::timeout(self.bounds.queue_timeout, of.clone().acquire_owned()).await;
        drop(waiting);
        self.context
            .metrics
            .queue_wait
            .observe(start.elapsed().as_secs_f64());
        permit
            .map_err(|_| Fault::Overloaded)?
            .map_err(|_| Fault::Overloaded)
    }

    async fn take(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Result<Lease<B>, Fault> {
        let ready = self.idle.lock().pop();
        let warm = match ready {
            Some(warm) => {
                self.context.metrics.idle.dec();
                warm
            }
            None => self.instantiate().await?,
        };
        if self.isolation == Isolation::Call {
            self.prepare();
        }
        Ok(Lease::new(self.clone(), warm, permit))
    }

    /// Puts an instance where the next call finds it.
    fn keep(&self, warm: Warm<B>) {
        let mut idle = self.idle.lock();
        if idle.len() < self.bounds.instances.max(self.prepared_max()) {
            idle.push(warm);
            self.context.metrics.idle.inc();
        } else {
            drop(idle);
            self.context.metrics.recycled("surplus");
        }
    }

    /// Takes an instance back after a call that returned.
    fn take_back(&self, warm: Warm<B>, permit: Option<OwnedSemaphorePermit>) {
        match self.due(&warm, Instant::now()) {
            None => self.keep(warm),
            Some(reason) => {
                self.context.metrics.recycled(reason);
                self.discard(warm, permit);
            }
        }
    }

    /// Why an instance is to be replaced.
    fn due(&self, warm: &Warm<B>, now: Instant) -> Option<&'static str> {
        let bounds = &self.bounds;
        if self.isolation == Isolation::Call {
            return Some("isolation");
        }
        if warm.calls >= bounds.recycle_calls {
            return Some("calls");
        }
        if now.saturating_duration_since(warm.born) >= bounds.recycle_age {
            return Some("age");
        }
        (warm.memory_used() > bounds.recycle_memory).then_some("memory")
    }

    /// Drops an instance where nobody waits for it: unmapping takes as long as a call. Its place stays
    /// taken until then, or a busy gateway would pile up instances that are on their way out.
    fn discard(&self, warm: Warm<B>, permit: Option<OwnedSemaphorePermit>) {
        if tokio::runtime::Handle::try_current().is_ok() {
            self.tasks.spawn(async move {
                drop(warm);
                drop(permit);
            });
        }
    }

    /// Under `isolation: call`, makes instances ahead until enough are ready.
    fn prepare(self: &Arc<Self>) {
        if self.isolation != Isolation::Call || self.preparing.swap(true, Ordering::AcqRel) {
            return;
        }
        let pool = self.clone();
        self.tasks.spawn(async move {
            while pool.idle.lock().len() < pool.prepared_max() {
                match pool.instantiate().await {
                    Ok(warm) => pool.keep(warm),
                    // The call that needs one will meet the error, and report it.
                    Err(_) => break,
                }
            }
            pool.preparing.store(false, Ordering::Release);
        });
    }

    fn prepared_max(&self) -> usize {
        self.bounds.instances.min(PREPARED_MAX)
    }
}

impl<B: Bindings> AnyPool for Pool<B> {
    fn context(&self) -> &Arc<Context> {
        &self.context
    }

    fn component(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    fn describe(&self) -> Description {
        let manifest = &self.loaded.manifest;
        let mut row = Description {
            name: self.context.name.to_string(),
            component: manifest.name.clone(),
            kind: manifest.kind.to_string(),
            version: manifest.version.clone(),
            source: self.loaded.source.to_string(),
            digest: self.loaded.digest.clone(),
            bundle: self.loaded.bundle_title(),
            signer: self.loaded.signer.clone().unwrap_or_default(),
            isolation: match self.isolation {
                Isolation::Warm => "warm",
                Isolation::Call => "call",
            }
            .to_owned(),
            fail: self.fail.as_str().to_owned(),
            state: match self.breaker() {
                BreakerState::Closed => "ready".to_owned(),
                state => format!("failing, breaker {}", state.as_str()),
            },
            ..Description::default()
        };
        self.context.describe(manifest, &mut row);
        row
    }

    fn load(&self) -> Load {
        let taken = |semaphore: &Semaphore, of: usize| of - semaphore.available_permits().min(of);
        Load {
            calls: taken(&self.calls, self.bounds.instances),
            streams: taken(&self.streams, self.bounds.streams),
            waiting: self.queued.load(Ordering::Acquire),
            idle_instances: self.idle.lock().len(),
        }
    }

    fn in_force(&self) -> InForce {
        InForce::of(&self.bounds)
    }

    fn breaker(&self) -> BreakerState {
        self.breaker.state(Instant::now())
    }

    fn trim(&self, now: Instant) {
        let old = |warm: &mut Warm<B>| {
            now.saturating_duration_since(warm.used) >= self.bounds.recycle_idle
                || now.saturating_duration_since(warm.born) >= self.bounds.recycle_age
        };
        let gone: Vec<Warm<B>> = self.idle.lock().extract_if(.., old).collect();
        for _ in &gone {
            self.context.metrics.idle.dec();
            self.context.metrics.recycled("idle");
        }
    }
}

impl<B: Bindings> Drop for Pool<B> {
    fn drop(&mut self) {
        let left = i64::try_from(self.idle.get_mut().len()).unwrap_or(0);
        self.context.metrics.idle.dec_by(left);
    }
}

/// A place in the queue for an instance.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(queued: &'a AtomicUsize, max: usize) -> Result<Self, Fault> {
        let waiting = Self(queued);
        match queued.fetch_add(1, Ordering::AcqRel) < max {
            true => Ok(waiting),
            false => Err(Fault::Overloaded),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
