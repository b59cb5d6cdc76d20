//! When a task that tells the others of ended calls has something to tell.

use std::pin::Pin;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

/// How long the end of a call waits for others that are told with it.
const LINGER: Duration = Duration::from_millis(5);
/// How often it is looked whether another store is shared.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until somebody wakes the task, or for a while; without anybody who would, for a while. True when it is the last turn.
pub(crate) async fn is_last(
    woken: Option<&Notify>,
    stop: Pin<&mut impl Future<Output = ()>>,
) -> bool {
    let woken = async {
        match woken {
            Some(woken) => woken.notified().await,
            None => std::future::pending().await,
        }
        sleep(LINGER).await;
    };
    tokio::select! {
        () = stop => true,
        () = woken => false,
        () = sleep(LOOK) => false,
    }
}
