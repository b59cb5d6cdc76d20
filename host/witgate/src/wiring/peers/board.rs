//! What gateways put on the board, and what the others' sheets amount to.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use witgate_routing::{Average, Now, Rest, Totals};

/// What a gateway has on the board.
#[derive(Serialize, Deserialize)]
struct Sheet {
    minute: u64,
    deployments: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    id: String,
    in_flight: u32,
    started: u64,
    succeeded: u64,
    failed: u64,
    tokens: u64,
    /// Gateways of older releases do not tell it.
    #[serde(default)]
    output_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cooldown: Option<Cooldown>,
    /// Seconds per token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency: Option<Mean>,
    /// Seconds to a stream's first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_token: Option<Mean>,
}

/// What measurements amount to.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Mean {
    seconds: f64,
    samples: u32,
    /// How much longer it counts.
    left_s: f64,
}

/// By LiteLLM's names; its end is the same for all who read it.
#[derive(Clone, Serialize, Deserialize)]
struct Cooldown {
    exception_received: String,
    status_code: u16,
    timestamp: u64,
    cooldown_time: f64,
}

/// A gateway's sheet.
pub(super) fn sheet(totals: &[Totals], now: Now) -> Vec<u8> {
    let sheet = Sheet {
        minute: now.minute(),
        deployments: totals.iter().map(row).collect(),
    };
    serde_json::to_vec(&sheet).unwrap_or_default()
}

fn row(totals: &Totals) -> Row {
    let counts = &totals.counts;
    let cooldown = totals.rest.as_ref().map(|(rest, _)| Cooldown {
        exception_received: rest.exception.clone(),
        status_code: rest.status,
        timestamp: rest.since_unix_s,
        cooldown_time: rest.time.as_secs_f64(),
    });
    let mean = |average: Average| Mean {
        seconds: average.value,
        samples: average.samples,
        left_s: average.left.as_secs_f64(),
    };
    Row {
        id: totals.id.clone(),
        in_flight: counts.in_flight,
        started: counts.started,
        succeeded: counts.succeeded,
        failed: counts.failed,
        tokens: counts.tokens,
        output_tokens: counts.output_tokens,
        cooldown,
        latency: totals.latency.map(mean),
        first_token: totals.first_token.map(mean),
    }
}

/// What the others have of each deployment, together. Counts of another minute are none.
pub(super) fn sums(sheets: &[Bytes], now: Now) -> HashMap<String, Totals> {
    let mut sums: HashMap<String, Totals> = HashMap::new();
    for sheet in sheets {
        // One of another release may look different; it counts as silent.
        let Ok(sheet) = serde_json::from_slice::<Sheet>(sheet) else {
            continue;
        };
        let is_now = sheet.minute == now.minute();
        for row in sheet.deployments {
            let sum = sums.entry(row.id.clone()).or_insert_with(|| Totals {
                id: row.id.clone(),
                minute: now.minute(),
                ..Totals::default()
            });
            let counts = &mut sum.counts;
            counts.in_flight = counts.in_flight.saturating_add(row.in_flight);
            if is_now {
                counts.started = counts.started.saturating_add(row.started);
                counts.succeeded = counts.succeeded.saturating_add(row.succeeded);
                counts.failed = counts.failed.saturating_add(row.failed);
                counts.tokens = counts.tokens.saturating_add(row.tokens);
                counts.output_tokens = counts.output_tokens.saturating_add(row.output_tokens);
            }
            let other = row.cooldown.and_then(|cooldown| cooldown.rest(now));
            let known = sum.rest.as_ref().map(|(_, left)| *left);
            let is_longer = |(_, left): &(Rest, Duration)| known.is_none_or(|known| *left > known);
            if let Some(other) = other.filter(is_longer) {
                sum.rest = Some(other);
            }
            sum.latency = together(sum.latency, row.latency);
            sum.first_token = together(sum.first_token, row.first_token);
        }
    }
    sums
}

fn together(known: Option<Average>, row: Option<Mean>) -> Option<Average> {
    let row = row.and_then(|mean| {
        Some(Average {
            value: mean.seconds,
            samples: mean.samples,
            left: Duration::try_from_secs_f64(mean.left_s).ok()?,
        })
    });
    match (known, row) {
        (Some(one), Some(other)) => Some(one.with(other)),
        (one, other) => one.or(other),
    }
}

impl Cooldown {
    /// The rest and how much of it is left. Its end is that of the clock all gateways go by: a rest that
    /// is handed on does not grow.
    fn rest(self, now: Now) -> Option<(Rest, Duration)> {
        let time = Duration::try_from_secs_f64(self.cooldown_time).ok()?;
        let end = Duration::from_secs(self.timestamp).checked_add(time)?;
        let left = end.checked_sub(Duration::from_secs(now.unix_s))?;
        let rest = Rest {
            exception: self.exception_received,
            status: self.status_code,
            since_unix_s: self.timestamp,
            time,
        };
        (!left.is_zero()).then_some((rest, left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now {
        monotonic: Duration::from_secs(100),
        unix_s: 1_700_000_000,
    };

    fn sheet(minute: u64, started: u64, since: Option<u64>) -> Bytes {
        let cooldown = since.map(|timestamp| Cooldown {
            exception_received: "e".into(),
            status_code: 429,
            timestamp,
            cooldown_time: 5.0,
        });
        let row = Row {
            id: "d".into(),
            in_flight: 1,
            started,
            succeeded: 0,
            failed: 0,
            tokens: 0,
            output_tokens: 0,
            cooldown,
            latency: Some(Mean {
                seconds: started as f64,
                samples: 2,
                left_s: 10.0,
            }),
            first_token: None,
        };
        let sheet = Sheet {
            minute,
            deployments: vec![row],
        };
        serde_json::to_vec(&sheet).unwrap().into()
    }

    #[test]
    fn what_others_have_is_summed() {
        let minute = NOW.minute();
        let sheets = [
            sheet(minute, 2, Some(NOW.unix_s - 1)),
            sheet(minute, 3, Some(NOW.unix_s - 3)),
            sheet(minute - 1, 50, Some(NOW.unix_s - 5)),
            "of another release".into(),
        ];
        let sums = sums(&sheets, NOW);
        let sum = &sums["d"];
        assert_eq!((sum.counts.in_flight, sum.counts.started), (3, 5));
        assert_eq!(sum.rest.as_ref().unwrap().1, Duration::from_secs(4));
        let latency = sum.latency.unwrap();
        assert_eq!(
            (latency.value, latency.samples),
            ((2.0 + 3.0 + 50.0) / 3.0, 6)
        );
        assert_eq!(sum.first_token, None);
    }

    /// The same end, whoever hands it on and whenever.
    #[test]
    fn a_rest_that_is_handed_on_does_not_grow() {
        let later = NOW.later(Duration::from_secs(2));
        let sheets = [sheet(NOW.minute(), 0, Some(NOW.unix_s))];
        let (rest, left) = sums(&sheets, later)["d"].rest.clone().unwrap();
        assert_eq!(left, Duration::from_secs(3));
        let totals = Totals {
            id: "d".into(),
            minute: 0,
            rest: Some((rest, left)),
            ..Totals::default()
        };
        let again = row(&totals).cooldown.unwrap().rest(later).unwrap();
        assert_eq!(again.1, left);
        let over = NOW.later(Duration::from_secs(5));
        assert!(sums(&sheets, over)["d"].rest.is_none());
    }
}
