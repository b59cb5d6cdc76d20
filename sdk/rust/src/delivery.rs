//! Delivering a batch in several requests: how events are spread over them, and what became of each.
//!
//! ```no_run
//! use witgate_plugin::delivery::{Fates, Item, Limits, send_all};
//! # use witgate_plugin::{Error, http, log_sink::{Event, Outcome}};
//!
//! # fn deliver(batch: &[Event]) -> Result<Outcome, Error> {
//! let mut fates = Fates::new(batch.len());
//! let items: Vec<Item> = (0..batch.len()).map(|event| Item::new(event, batch[event].payload.as_str())).collect();
//! let limits = Limits { items: 1000, bytes: 4_000_000 };
//! send_all(&items, limits, &mut fates, &mut |items| {
//!     http::post("https://collector.example.com").json_text(Item::json_array(items)).send()
//! })?;
//! Ok(fates.outcome())
//! # }
//! ```

use crate::Error;
use crate::http::{HttpError, Response};
use crate::log_sink::{Again, Outcome, Partial, Rejection};

/// What became of the events of a batch. Each is delivered until something else is said. When an event has several
/// parts, another try wins over a rejection: what is not lost may still arrive.
#[derive(Debug)]
pub struct Fates {
    events: Vec<Fate>,
    retry_after_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Delivered,
    Retry(String),
    Rejected(String),
}

/// A piece of a request: an event, or part of one, in the form in which it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<T = String> {
    /// Position of the event in the batch.
    pub event: usize,
    /// What is sent.
    pub content: T,
}

/// Sends items in one request.
pub type Send<'a, T> = dyn FnMut(&[Item<T>]) -> Result<Response, HttpError> + 'a;

/// What a request may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most items.
    pub items: usize,
    /// Most bytes of all items with a separator each.
    pub bytes: usize,
}

impl<T> Item<T> {
    /// An item of this event.
    pub fn new(event: usize, content: impl Into<T>) -> Self {
        Self {
            event,
            content: content.into(),
        }
    }
}

impl Item {
    /// Items that are JSON values as one array.
    pub fn json_array(items: &[Self]) -> String {
        format!("[{}]", Self::joined(items, ","))
    }

    /// Items one after the other, with a separator in between.
    pub fn joined(items: &[Self], separator: &str) -> String {
        let texts: Vec<&str> = items.iter().map(|item| item.content.as_str()).collect();
        texts.join(separator)
    }
}

impl Fates {
    /// All delivered so far.
    pub fn new(events: usize) -> Self {
        Self {
            events: vec![Fate::Delivered; events],
            retry_after_ms: None,
        }
    }

    /// An event needs another try.
    pub fn retry(&mut self, event: usize, reason: impl Into<String>) {
        self.set(event, Fate::Retry(reason.into()));
    }

    /// An event is refused for good.
    pub fn reject(&mut self, event: usize, reason: impl Into<String>) {
        if self.events.get(event) == Some(&Fate::Delivered) {
            self.set(event, Fate::Rejected(reason.into()));
        }
    }

    /// The other side's advice when to try again; of several the longest counts.
    pub fn retry_after(&mut self, ms: Option<u64>) {
        self.retry_after_ms = self.retry_after_ms.max(ms);
    }

    /// The usual reading of an answer about these events: 2xx took them, 408, 429 and 5xx want another try, anything
    /// else is a refusal.
    pub fn answer(&mut self, response: &Response, events: impl IntoIterator<Item = usize>) {
        if response.is_success() {
            return;
        }
        let again = response.is_worth_a_retry();
        if again {
            self.retry_after(response.retry_after_ms());
        }
        for event in events {
            match again {
                true => self.retry(event, response.summary()),
                false => self.reject(event, response.summary()),
            }
        }
    }

    /// The usual reading of an exchange about these events: trouble on the way wants another try; what the host refuses
    /// is an error.
    pub fn exchange(
        &mut self,
        result: Result<Response, HttpError>,
        events: impl IntoIterator<Item = usize>,
    ) -> Result<(), Error> {
        match result.map_err(Error::from) {
            Ok(response) => self.answer(&response, events),
            Err(Error::Unavailable(reason)) => {
                for event in events {
                    self.retry(event, reason.as_str());
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// The batch's outcome.
    pub fn outcome(self) -> Outcome {
        let total = self.events.len();
        let mut partial = Partial {
            retry: Vec::new(),
            rejected: Vec::new(),
            retry_after_ms: self.retry_after_ms,
        };
        let mut why = String::new();
        for (index, fate) in self.events.into_iter().enumerate() {
            let index = index as u32;
            match fate {
                Fate::Delivered => {}
                Fate::Retry(reason) => {
                    partial.retry.push(index);
                    why = reason;
                }
                Fate::Rejected(reason) => partial.rejected.push(Rejection { index, reason }),
            }
        }
        if partial.retry.is_empty() && partial.rejected.is_empty() {
            Outcome::Delivered
        } else if partial.retry.len() == total {
            Outcome::Retry(Again {
                after_ms: self.retry_after_ms,
                reason: why,
            })
        } else {
            Outcome::Partial(partial)
        }
    }

    fn set(&mut self, event: usize, fate: Fate) {
        if let Some(slot) = self.events.get_mut(event) {
            *slot = fate;
        }
    }
}

/// Sends items in as few requests as the limits allow, in their order. What the other side finds too large (413) is sent
/// again in halves; an item that is too large alone is rejected. After an answer that wants another try nothing more
/// is sent: the rest waits for that, too.
pub fn send_all<T: AsRef<[u8]>>(
    items: &[Item<T>],
    limits: Limits,
    fates: &mut Fates,
    send: &mut Send<'_, T>,
) -> Result<(), Error> {
    let mut rest = items;
    while !rest.is_empty() {
        let (request, after) = rest.split_at(fitting(rest, limits));
        let result = send_halving(request, fates, send)?;
        rest = after;
        if let Some(reason) = result {
            for item in rest {
                fates.retry(item.event, reason.as_str());
            }
            break;
        }
    }
    Ok(())
}

/// Why the rest should wait, if it should.
fn send_halving<T>(
    items: &[Item<T>],
    fates: &mut Fates,
    send: &mut Send<'_, T>,
) -> Result<Option<String>, Error> {
    const TOO_LARGE: u16 = 413;
    let mut waiting = vec![items];
    let mut wait = None;
    while let Some(part) = waiting.pop() {
        if let Some(reason) = &wait {
            for item in part {
                fates.retry(item.event, String::clone(reason));
            }
            continue;
        }
        let result = send(part);
        match &result {
            Ok(response) if response.status() == TOO_LARGE && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                waiting.extend([second, first]);
                continue;
            }
            Ok(response) if response.is_worth_a_retry() => wait = Some(response.summary()),
            Ok(_) => {}
            Err(error) => {
                if let Error::Unavailable(reason) = Error::from(error.clone()) {
                    wait = Some(reason);
                }
            }
        }
        fates.exchange(result, part.iter().map(|item| item.event))?;
    }
    Ok(wait)
}

/// How many of the items fit into a request: at least one.
fn fitting<T: AsRef<[u8]>>(items: &[Item<T>], limits: Limits) -> usize {
    let mut bytes = 0;
    let fits = |item: &&Item<T>| {
        bytes += item.content.as_ref().len() + 1;
        bytes <= limits.bytes
    };
    let count = items.iter().take(limits.items.max(1)).take_while(fits);
    count.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(sizes: &[usize]) -> Vec<Item> {
        let items = sizes.iter().enumerate();
        items
            .map(|(event, size)| Item::new(event, "x".repeat(*size)))
            .collect()
    }

    /// Sends with this answer to each request of so many items; the requests' sizes and the outcome.
    fn sent(
        sizes: &[usize],
        limits: Limits,
        answer: impl Fn(usize) -> Result<u16, HttpError>,
    ) -> (Vec<usize>, Outcome) {
        let items = items(sizes);
        let mut fates = Fates::new(items.len());
        let mut requests = Vec::new();
        send_all(&items, limits, &mut fates, &mut |items| {
            requests.push(items.len());
            let status = answer(items.len())?;
            Ok(Response::new(
                status,
                vec![("retry-after".into(), "2".into())],
                Vec::new(),
            ))
        })
        .expect("no error");
        (requests, fates.outcome())
    }

    const LIMITS: Limits = Limits {
        items: 3,
        bytes: 30,
    };

    #[test]
    fn requests_keep_both_limits_and_a_large_item_goes_alone() {
        let (requests, outcome) = sent(&[9, 9, 9, 9, 99, 1, 1], LIMITS, |_| Ok(202));
        assert_eq!(requests, [3, 1, 1, 2]);
        assert!(matches!(outcome, Outcome::Delivered));
    }

    #[test]
    fn what_is_too_large_is_halved_down_to_the_one_that_is() {
        let (requests, outcome) = sent(&[1, 1, 1], LIMITS, |count| {
            Ok(if count > 1 { 413 } else { 202 })
        });
        assert_eq!(requests, [3, 1, 2, 1, 1]);
        assert!(matches!(outcome, Outcome::Delivered));
        let (_, outcome) = sent(&[1, 1], LIMITS, |_| Ok(413));
        assert!(matches!(outcome, Outcome::Partial(partial) if partial.rejected.len() == 2));
    }

    #[test]
    fn after_trouble_the_rest_waits_unsent() {
        for trouble in [
            Ok(429),
            Err(HttpError::Timeout),
            Err(HttpError::Connection("reset".into())),
        ] {
            let (requests, outcome) = sent(&[20, 20, 20], LIMITS, |_| trouble.clone());
            assert_eq!(requests.len(), 1);
            let Outcome::Retry(again) = outcome else {
                panic!("{outcome:?}")
            };
            assert_eq!(again.after_ms, trouble.ok().map(|_| 2000));
        }
    }

    #[test]
    fn another_try_wins_over_a_rejection() {
        let mut fates = Fates::new(2);
        fates.reject(0, "bad");
        fates.retry(0, "later");
        fates.reject(0, "bad again");
        fates.reject(1, "bad");
        let Outcome::Partial(partial) = fates.outcome() else {
            panic!("partial")
        };
        assert_eq!((partial.retry, partial.rejected.len()), (vec![0], 1));
    }

    #[test]
    fn a_refusal_by_the_host_is_an_error() {
        let mut fates = Fates::new(1);
        let error = fates.exchange(Err(HttpError::Denied("no".into())), [0]);
        assert!(matches!(error, Err(Error::Denied(text)) if text == "no"));
    }
}
