//! Processor time of a plugin's calls, for accounting. What bounds a call are the epochs, not this.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::metrics::Seconds;

/// A future whose processor time is added to a counter, also when it is dropped halfway. A call runs on
/// the thread that polls it, and so does the host's part of it.
pub(super) struct Accounted<'a, F> {
    future: F,
    spent: &'a Seconds,
}

impl<'a, F: Future + Unpin> Accounted<'a, F> {
    pub(super) fn new(future: F, spent: &'a Seconds) -> Self {
        Self { future, spent }
    }
}

impl<F: Future + Unpin> Future for Accounted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let start = thread_time();
        let polled = Pin::new(&mut self.future).poll(context);
        let spent = thread_time().saturating_sub(start);
        self.spent.inc_by(spent.as_secs_f64());
        polled
    }
}

/// Processor time of this thread so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_counted_and_waiting_is_not() {
        let spent = Seconds::default();
        let work = async {
            let start = thread_time();
            while thread_time() - start < Duration::from_millis(5) {
                std::hint::black_box(0);
            }
            tokio::task::yield_now().await;
        };
        Accounted::new(Box::pin(work), &spent).await;
        let worked = spent.get();
        assert!(worked >= 0.005, "{worked}");
        let (_open, mut closed) = tokio::sync::oneshot::channel::<()>();
        let waiting = Accounted::new(&mut closed, &spent);
        assert!(futures_util::FutureExt::now_or_never(waiting).is_none());
        assert!(spent.get() - worked < 0.005, "{}", spent.get());
    }
}
