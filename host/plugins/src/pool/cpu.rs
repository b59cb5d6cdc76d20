//! Processor time of a plugin's calls: for their accounts, and for what bounds them.
//!
//! Epochs pass by the clock on the wall. On a machine with more to do than it can, a call that is waiting for its turn
//! would be stopped for the time of others; so an epoch is only the occasion to ask how much it really took.

use std::cell::Cell;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::metrics::Seconds;

thread_local! {
    /// The call that this thread is polling.
    static POLLED: Cell<Polled> = const { Cell::new(Polled { before: Duration::ZERO, start: Duration::ZERO }) };
}

/// A call in the middle of a poll.
#[derive(Clone, Copy, Default)]
struct Polled {
    /// What earlier polls took.
    before: Duration,
    /// The thread's time when this poll began, less what is not the call's own.
    start: Duration,
}

/// Processor time so far of the call that this thread is polling.
pub(crate) fn of_this_call() -> Duration {
    let polled = POLLED.get();
    polled.before + thread_time().saturating_sub(polled.start)
}

/// A future whose processor time is added to a counter, also when it is dropped halfway. A call runs on
/// the thread that polls it, and so does the host's part of it.
pub(super) struct Accounted<'a, F> {
    future: F,
    spent: &'a Seconds,
    sum: Duration,
}

impl<'a, F: Future + Unpin> Accounted<'a, F> {
    pub(super) fn new(future: F, spent: &'a Seconds) -> Self {
        Self {
            future,
            spent,
            sum: Duration::ZERO,
        }
    }
}

impl<F: Future + Unpin> Future for Accounted<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let start = thread_time();
        let outer = POLLED.replace(Polled {
            before: self.sum,
            start,
        });
        let polled = Pin::new(&mut self.future).poll(context);
        let spent = thread_time().saturating_sub(start);
        // A plugin that was called through the gateway on behalf of another pays for itself.
        POLLED.set(Polled {
            start: outer.start + spent,
            ..outer
        });
        self.sum += spent;
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

    fn work(time: Duration) {
        let start = thread_time();
        while thread_time() - start < time {
            std::hint::black_box(0);
        }
    }

    #[tokio::test]
    async fn a_call_knows_its_own_time_over_all_its_polls_without_that_of_calls_within() {
        const WORK: Duration = Duration::from_millis(20);
        let spent = Seconds::default();
        let call = async {
            work(WORK);
            tokio::task::yield_now().await;
            work(WORK);
            let mine = of_this_call();
            let within = async {
                work(3 * WORK);
                of_this_call()
            };
            let within = Accounted::new(Box::pin(within), &spent).await;
            (mine, within, of_this_call())
        };
        work(WORK);
        let (mine, within, after) = Accounted::new(Box::pin(call), &spent).await;
        assert!(mine >= 2 * WORK && mine < 3 * WORK, "{mine:?}");
        assert!(within >= 3 * WORK && within < 4 * WORK, "{within:?}");
        assert!(after >= mine && after < 3 * WORK, "{after:?}");
    }

    #[tokio::test]
    async fn work_is_counted_and_waiting_is_not() {
        let spent = Seconds::default();
        let working = async {
            work(Duration::from_millis(5));
            tokio::task::yield_now().await;
        };
        Accounted::new(Box::pin(working), &spent).await;
        let worked = spent.get();
        assert!(worked >= 0.005, "{worked}");
        let (_open, mut closed) = tokio::sync::oneshot::channel::<()>();
        let waiting = Accounted::new(&mut closed, &spent);
        assert!(futures_util::FutureExt::now_or_never(waiting).is_none());
        assert!(spent.get() - worked < 0.005, "{}", spent.get());
    }
}
