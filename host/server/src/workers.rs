//! The threads that serve connections.
//!
//! Each has a runtime of its own, and a connection stays on the thread it was given to, with all
//! that its requests do. On one runtime for all, tasks move to whichever thread is idle: two
//! threads wake each other several times per request and share every buffer, which takes a quarter
//! of the processor time of a small call.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// Threads that serve connections; none by default, which serves on the caller's runtime.
///
/// Clones share the threads. With the last clone they end, and with them whatever still runs there.
#[derive(Clone, Default)]
pub struct Workers(Arc<[Worker]>);

struct Worker {
    handle: Handle,
    /// Connections it serves.
    open: Arc<AtomicUsize>,
    /// Dropping it ends the thread.
    _until: oneshot::Sender<()>,
}

/// A connection's place on a worker, counted until it is dropped.
pub(crate) struct Place {
    handle: Handle,
    open: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts threads. `prepare` runs first on each of them.
    ///
    /// # Errors
    /// When the system has no room for a thread or its event queue.
    pub fn start(count: usize, prepare: fn()) -> io::Result<Self> {
        let workers: io::Result<Vec<Worker>> = (0..count)
            .map(|number| Worker::start(number, prepare))
            .collect();
        Ok(Self(workers?.into()))
    }

    /// A place on the worker with the fewest connections; `None` when there are no workers.
    pub(crate) fn place(&self) -> Option<Place> {
        let idlest = self
            .0
            .iter()
            .min_by_key(|worker| worker.open.load(Relaxed))?;
        idlest.open.fetch_add(1, Relaxed);
        Some(Place {
            handle: idlest.handle.clone(),
            open: idlest.open.clone(),
        })
    }

    /// Runs one of many tasks of a single connection, on any worker.
    pub(crate) fn spawn_anywhere<F>(&self, tracker: &TaskTracker, number: usize, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match self.0.get(number % self.0.len().max(1)) {
            Some(worker) => drop(worker.handle.spawn(tracker.track_future(task))),
            None => drop(tracker.spawn(task)),
        }
    }
}

impl Worker {
    fn start(number: usize, prepare: fn()) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name(format!("serve-{number}"))
            .spawn(move || {
                prepare();
                // An error is the sender's end, which is what is waited for.
                let _ = runtime.block_on(ended);
                runtime.shutdown_background();
            })?;
        Ok(Self {
            handle,
            open: Arc::default(),
            _until: until,
        })
    }
}

impl Place {
    /// Runs the connection on its worker.
    pub(crate) fn spawn<F>(self, tracker: &TaskTracker, connection: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let handle = self.handle.clone();
        drop(handle.spawn(tracker.track_future(async move {
            connection.await;
            drop(self);
        })));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.0.iter().map(|worker| worker.open.load(Relaxed));
        f.debug_list().entries(open).finish()
    }
}
