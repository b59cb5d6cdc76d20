//! From what became of each post to what became of each alert.

use witgate_plugin::alerter::{Again, Outcome, Partial, Rejection};
use witgate_plugin::http::Response;

/// One alert to one webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Post<'a> {
    /// Position of the alert in the batch.
    pub alert: usize,
    /// Which of the alert's webhooks.
    pub number: usize,
    /// Its URL.
    pub url: &'a str,
}

/// What became of a post.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It arrived.
    Delivered,
    /// It may arrive later.
    Again {
        /// The other side's advice.
        after_ms: Option<u64>,
        /// Why.
        reason: String,
    },
    /// It never will.
    Refused(String),
}

impl Fate {
    /// The usual reading of an answer.
    pub fn of(response: &Response) -> Self {
        if response.is_success() {
            Self::Delivered
        } else if response.is_worth_a_retry() {
            Self::Again {
                after_ms: response.retry_after_ms(),
                reason: response.summary(),
            }
        } else {
            Self::Refused(response.summary())
        }
    }
}

/// What became of the batch: an alert is tried again while any of its webhooks may still take it, and refused when one of
/// them refuses for good.
pub fn outcome(
    length: usize,
    posts: &[Post<'_>],
    fates: &[Fate],
    has_webhook: impl Fn(usize) -> bool,
) -> Outcome {
    let mut partial = Partial {
        retry: Vec::new(),
        rejected: Vec::new(),
        retry_after_ms: None,
    };
    let mut reasons = Vec::new();
    for alert in 0..length {
        let index = u32::try_from(alert).unwrap_or(u32::MAX);
        let own = posts
            .iter()
            .zip(fates)
            .filter(|(post, _)| post.alert == alert);
        let (mut again, mut refused) = (false, None);
        for (_, fate) in own {
            match fate {
                Fate::Delivered => {}
                Fate::Again { after_ms, reason } => {
                    again = true;
                    partial.retry_after_ms = partial.retry_after_ms.max(*after_ms);
                    reasons.push(reason.clone());
                }
                Fate::Refused(reason) => refused = Some(reason.clone()),
            }
        }
        if !has_webhook(alert) {
            refused = Some(
                "Missing SLACK_WEBHOOK_URL / ALERTING_WEBHOOK_URL for this alert type".to_owned(),
            );
        }
        match (again, refused) {
            (true, _) => partial.retry.push(index),
            (false, Some(reason)) => partial.rejected.push(Rejection { index, reason }),
            (false, None) => {}
        }
    }
    match (partial.retry.len(), partial.rejected.len()) {
        (0, 0) => Outcome::Delivered,
        (retry, 0) if retry == length => Outcome::Retry(Again {
            after_ms: partial.retry_after_ms,
            reason: reasons.into_iter().next().unwrap_or_default(),
        }),
        _ => Outcome::Partial(partial),
    }
}

/// Posts that are over although their alert comes again.
pub fn to_remember<'p, 'u>(posts: &'p [Post<'u>], fates: &[Fate]) -> Vec<&'p Post<'u>> {
    let comes_again = |alert: usize| {
        let mut own = posts
            .iter()
            .zip(fates)
            .filter(|(post, _)| post.alert == alert);
        own.any(|(_, fate)| matches!(fate, Fate::Again { .. }))
    };
    let over = posts
        .iter()
        .zip(fates)
        .filter(|(_, fate)| !matches!(fate, Fate::Again { .. }));
    over.filter(|(post, _)| comes_again(post.alert))
        .map(|(post, _)| post)
        .collect()
}
