//! The daily report: which deployments failed most, and which were slowest.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{AlertKind, Draft, Level};
use crate::completed::Completed;

/// Deployments named in each list.
const NAMED: usize = 5;

/// The figures since the last report.
#[derive(Debug, Default)]
pub struct Report {
    deployments: HashMap<String, Figures>,
    /// When the last one was due; `None` before the first look.
    last: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Figures {
    model: String,
    api_base: String,
    failed: u64,
    /// Seconds per token over all answers, and how many answers: a sum would call busy deployments slow.
    latency: f64,
    answers: u64,
}

impl Report {
    /// Counts a finished call, or a try.
    pub fn count(&mut self, call: &Completed) {
        let served = &call.served;
        if served.model_id.is_empty() {
            return;
        }
        let own = self.deployments.entry(served.model_id.clone()).or_default();
        own.model.clone_from(&served.model_group);
        own.api_base.clone_from(&served.api_base);
        if !call.succeeded() {
            own.failed += 1;
            return;
        }
        let seconds = call
            .times
            .end
            .duration_since(call.times.start)
            .as_secs_f64()
            .max(0.0);
        own.latency += seconds / (call.usage.completion_tokens.max(1) as f64);
        own.answers += 1;
    }

    /// The report, when it is due. The first look only starts the clock.
    pub(crate) fn due(&mut self, now: Timestamp, every: Duration) -> Option<Draft> {
        let last = *self.last.get_or_insert(now);
        if now.duration_since(last).unsigned_abs() < every {
            return None;
        }
        self.last = Some(now);
        let figures = std::mem::take(&mut self.deployments);
        let figures: Vec<Figures> = figures.into_values().collect();
        if figures.is_empty() {
            return None;
        }
        let next = now.checked_add(jiff::SignedDuration::try_from(every).unwrap_or_default());
        let mut draft = Draft::new(
            AlertKind::DailyReports,
            Level::Low,
            "Here are today's key metrics 📈:",
        );
        draft.text = text(figures, now, next.unwrap_or(now));
        Some(draft)
    }
}

impl Figures {
    fn average(&self) -> f64 {
        self.latency / (self.answers.max(1) as f64)
    }
}

fn text(mut figures: Vec<Figures>, now: Timestamp, next: Timestamp) -> String {
    let mut text = format!(
        "\n*Time*: `{}`\n\n*❗️ Top Deployments with Most Failed Requests:*\n",
        second(now)
    );
    figures.sort_by(|a, b| b.failed.cmp(&a.failed).then_with(|| a.model.cmp(&b.model)));
    let failed = figures.iter().filter(|own| own.failed > 0).take(NAMED);
    let lines = failed.enumerate().map(|(n, own)| {
        format!(
            "\t{}. Deployment: `{}`, Failed Requests: `{}`, API Base: `{}`\n",
            n + 1,
            own.model,
            own.failed,
            own.api_base
        )
    });
    text.push_str(&or_none(lines.collect()));
    text.push_str("\n*😅 Top Slowest Deployments:*\n");
    figures.sort_by(|a, b| {
        b.average()
            .total_cmp(&a.average())
            .then_with(|| a.model.cmp(&b.model))
    });
    let slowest = figures.iter().filter(|own| own.answers > 0).take(NAMED);
    let lines = slowest.enumerate().map(|(n, own)| {
        format!(
            "\t{}. Deployment: `{}`, Latency per output token: `{:.3}s/token`, API Base: `{}`\n",
            n + 1,
            own.model,
            own.average(),
            own.api_base
        )
    });
    text.push_str(&or_none(lines.collect()));
    text.push_str(&format!("\nNext Run is at: `{}`", second(next)));
    text
}

fn or_none(lines: String) -> String {
    match lines.is_empty() {
        true => "\tNone\n".to_owned(),
        false => lines,
    }
}

/// A moment to the second, in UTC.
fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completed::{Failure, Outcome, Served, Times, Usage};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn call(model: &str, seconds: i64, tokens: u64, outcome: Outcome) -> Completed {
        Completed {
            served: Served {
                model_id: format!("id-{model}"),
                model_group: model.to_owned(),
                api_base: format!("https://{model}"),
                ..Served::default()
            },
            times: Times {
                start: at(0),
                end: at(seconds),
                ..Times::default()
            },
            usage: Usage {
                completion_tokens: tokens,
                ..Usage::default()
            },
            outcome,
            ..Completed::default()
        }
    }

    #[test]
    fn a_report_names_the_worst_and_starts_anew() {
        let (mut report, day) = (Report::default(), Duration::from_secs(60));
        assert_eq!(report.due(at(0), day), None);
        for _ in 0..3 {
            report.count(&call("fast", 1, 100, Outcome::Success));
        }
        report.count(&call("slow", 10, 10, Outcome::Success));
        report.count(&call("bad", 1, 0, Outcome::Failure(Failure::default())));
        report.count(&Completed::default());
        assert_eq!(report.due(at(59), day), None);
        let draft = report.due(at(60), day).expect("a report");
        let text = draft.text;
        assert!(
            text.contains("1. Deployment: `bad`, Failed Requests: `1`, API Base: `https://bad`"),
            "{text}"
        );
        assert!(
            text.contains("1. Deployment: `slow`, Latency per output token: `1.000s/token`"),
            "{text}"
        );
        assert!(
            text.contains("2. Deployment: `fast`, Latency per output token: `0.010s/token`"),
            "{text}"
        );
        assert!(
            text.ends_with("Next Run is at: `2023-11-14 22:15:20 UTC`"),
            "{text}"
        );
        assert_eq!(report.due(at(200), day), None, "nothing happened since");
    }
}
