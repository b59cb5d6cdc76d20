//! A gate: a scripted reply waits at it until the test lets it pass.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

/// Holds a reply at a marked place. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    arrived: Arc<watch::Sender<usize>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(0)),
            arrived: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Lets one waiting reply (or the next to come) pass one gate step.
    pub fn release(&self) {
        self.permits.add_permits(1);
    }

    /// Opens the gate for good.
    pub fn open(&self) {
        self.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until `count` gate steps have been reached in total, passed or not.
    pub async fn reached(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        tokio::time::timeout(crate::PATIENCE, arrived.wait_for(|seen| *seen >= count))
            .await
            .unwrap_or_else(|_| panic!("no reply reached the gate {count} times"))
            .expect("the gate lives as long as its handle");
    }

    /// The reply's side: announces itself and waits.
    pub(crate) async fn pass(&self) {
        self.arrived.send_modify(|seen| *seen += 1);
        self.permits
            .acquire()
            .await
            .expect("the gate is never closed for good")
            .forget();
    }
}
