//! Requests with a priority wait here for a deployment instead of being refused: the most urgent of a
//! group first, of equals who came first.
//!
//! Nobody has to poll: whoever gives a place back wakes the first of each line, and so does whoever
//! leaves a line. The queue is of one process.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use witgate_metering::Admitted;
use witgate_routing::Try;
use witgate_wire::RequestView;

use crate::exchange::Exchange;
use crate::failure::{Case, Failure};

/// Requests that wait at most, of all groups; more are refused as if they had no priority.
const WAITING_MAX: u64 = 10_000;

/// The lines of all groups.
#[derive(Default)]
pub struct Queue {
    lines: Mutex<HashMap<String, Line>>,
    waiting: AtomicU64,
    came: AtomicU64,
}

/// Who waits for a group, by priority, then by when it came.
type Line = BTreeMap<(i64, u64), Arc<Notify>>;

/// A place in a line, given back when it is dropped.
pub(crate) struct Place {
    queue: Arc<Queue>,
    group: String,
    key: (i64, u64),
    called: Arc<Notify>,
}

impl Queue {
    /// Takes a place in a group's line; `None` when too many wait already.
    pub(crate) fn enter(self: &Arc<Self>, group: &str, priority: i64) -> Option<Place> {
        let added = self
            .waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                (n < WAITING_MAX).then_some(n + 1)
            });
        added.ok()?;
        let key = (priority, self.came.fetch_add(1, Ordering::Relaxed));
        let called = Arc::new(Notify::new());
        let mut lines = self.lines();
        let line = lines.entry(group.to_owned()).or_default();
        line.insert(key, called.clone());
        Some(Place {
            queue: self.clone(),
            group: group.to_owned(),
            key,
            called,
        })
    }

    /// Whether somebody waits who goes before a newcomer of this priority.
    pub(crate) fn is_behind(&self, group: &str, priority: i64) -> bool {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let lines = self.lines();
        let first = lines.get(group).and_then(BTreeMap::first_key_value);
        first.is_some_and(|((first, _), _)| *first <= priority)
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A deployment has a place again: the first of each line looks whether it is of use.
    pub(crate) fn wake(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        for line in self.lines().values() {
            call_first(line);
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<String, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn call_first(line: &Line) {
    if let Some(called) = line.values().next() {
        called.notify_one();
    }
}

impl Place {
    /// Whether nobody goes before.
    pub(crate) fn is_first(&self) -> bool {
        let lines = self.queue.lines();
        let first = lines.get(&self.group).and_then(BTreeMap::first_key_value);
        first.is_some_and(|(key, _)| *key == self.key)
    }

    /// Until there is reason to look again.
    pub(crate) async fn called(&self) {
        self.called.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.queue.lines();
        if let Some(line) = lines.get_mut(&self.group) {
            line.remove(&self.key);
            match line.is_empty() {
                true => drop(lines.remove(&self.group)),
                // The next one may find a place, too.
                false => call_first(line),
            }
        }
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A try under way whose end wakes who waits.
pub struct Tried {
    tried: Try,
    /// Its place among the calls of all gateways, where they hold the limit together.
    place: Option<Admitted>,
    queue: Arc<Queue>,
}

impl Tried {
    pub(crate) fn new(tried: Try, place: Option<Admitted>, queue: Arc<Queue>) -> Tried {
        Tried {
            tried,
            place,
            queue,
        }
    }

    /// Gives the place back; when it began stays known.
    pub(crate) fn release(&mut self) {
        self.tried.release();
        self.place = None;
        self.queue.wake();
    }
}

impl std::ops::Deref for Tried {
    type Target = Try;

    fn deref(&self) -> &Try {
        &self.tried
    }
}

impl Drop for Tried {
    fn drop(&mut self) {
        self.release();
    }
}

/// The request's priority, lower is more urgent: the header's, else the body's, else the
/// configuration's. `None`: it does not wait.
pub(crate) fn priority(x: &Exchange, request: &RequestView) -> Result<Option<i64>, Failure> {
    let wrong = |place: &str| {
        let text = format!("{place}: expected a whole number (0 is the most urgent)");
        Failure::new(Case::InvalidBody, text).param("priority")
    };
    if let Some(header) = x.header("x-litellm-priority") {
        let number = header.trim().parse();
        return number.map(Some).map_err(|_| wrong("x-litellm-priority"));
    }
    match request.field("priority").filter(|raw| !raw.is_null()) {
        Some(raw) => match raw.parse() {
            Some(number) => Ok(Some(number)),
            None => Err(wrong("priority")),
        },
        None => Ok(x.snapshot.settings.default_priority),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_urgent_goes_first_and_of_equals_who_came_first() {
        let queue = Arc::new(Queue::default());
        let enter = |priority| queue.enter("g", priority).unwrap();
        let (late, first, second) = (enter(5), enter(0), enter(0));
        let other = queue.enter("h", 9).unwrap();
        assert!(other.is_first(), "of its own line");
        assert_eq!(
            [&late, &first, &second].map(Place::is_first),
            [false, true, false]
        );
        for (priority, expected) in [(-1, false), (0, true), (3, true)] {
            assert_eq!(queue.is_behind("g", priority), expected, "{priority}");
        }
        assert!(!queue.is_behind("i", 0));
        drop(first);
        assert!(second.is_first());
        drop(second);
        assert!(late.is_first());
        drop((late, other));
        assert_eq!(queue.waiting(), 0);
        assert!(queue.lines().is_empty());
    }

    #[test]
    fn a_line_has_an_end() {
        let queue = Arc::new(Queue::default());
        let places: Vec<Place> = (0..WAITING_MAX)
            .map(|_| queue.enter("g", 0).unwrap())
            .collect();
        assert!(queue.enter("g", 0).is_none());
        drop(places);
        assert!(queue.enter("g", 0).is_some());
    }
}
