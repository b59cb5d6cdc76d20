//! LiteLLM's spend reports: what teams and tags have spent, every `spend_report_frequency` and of each month on the first of the next.
//!
//! Of gateways on one Redis or one database the first one that claims a report sends it, also after a restart.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use witgate_config::Loaded;
use witgate_events::{AlertKind, Watch};
use witgate_management::ControlPlane;
use witgate_store::{Filter, Is, Row, Store, Write, WriteError, time_text};

use super::peers::SharedPeers;

const DAY: Duration = Duration::from_secs(86_400);
/// LiteLLM's table of who did what last.
const JOBS: &str = "LiteLLM_CronJob";
/// What the jobs of this one are called.
const JOB: &str = "witgate-report:";
/// LiteLLM's first report after a start comes within so many seconds.
const FIRST_S: f64 = 310.0;
/// How often it is looked whether a month has begun, and whether a report is due that another process has sent last.
const LOOK: Duration = Duration::from_secs(3600);

/// `spend_report_frequency` in days.
pub(super) fn frequency(loaded: &Loaded, problems: &mut Vec<String>) -> u32 {
    let general = loaded.config.raw.get("general_settings");
    let value = general.and_then(|general| general.get("spend_report_frequency"));
    let value = value.filter(|value| !value.is_null());
    let days = value.map_or(Some(7), |value| {
        let days = value.as_str()?.trim().strip_suffix('d')?;
        days.parse().ok().filter(|days| (1..=366).contains(days))
    });
    days.unwrap_or_else(|| {
        problems.push(
            "general_settings.spend_report_frequency: expected a number of days such as 7d"
                .to_owned(),
        );
        7
    })
}

/// Between a start and the first report, at most: `alerting_args.report_check_interval`, or LiteLLM's five minutes.
pub(super) fn first_after(loaded: &Loaded) -> Duration {
    let args = loaded.config.raw.get("general_settings");
    let args = args.and_then(|general| general.get("alerting_args"));
    let interval = args.and_then(|args| args.get("report_check_interval"));
    let most = interval.and_then(Value::as_f64).unwrap_or(FIRST_S);
    Duration::from_secs_f64(most.clamp(0.0, FIRST_S))
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// It is sent, or there is nothing to tell.
    Done,
    /// Another gateway has sent it, or this one before it was started again.
    Claimed,
    /// It is tried again.
    NotYet,
}

/// Who makes reports, and when.
pub struct Reports {
    /// Where the sums are.
    pub plane: Arc<ControlPlane>,
    /// Who tells.
    pub watch: Arc<Watch>,
    /// The gateways of which one tells.
    pub peers: SharedPeers,
    /// Days between two reports.
    pub every_days: u32,
    /// Between the start and the first report.
    pub first_after: Duration,
}

impl Reports {
    /// Makes them until the end.
    pub async fn run(self, stop: CancellationToken) {
        let day = || Timestamp::now().to_zoned(TimeZone::UTC).date();
        let mut told = None;
        let mut due = Instant::now() + self.first_after;
        let mut look = due;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(due) => {
                    let last = day();
                    let first = last.checked_sub(Span::new().days(i64::from(self.every_days)));
                    let wait = match self.report("weekly", first.unwrap_or(last), last).await {
                        Report::Done => DAY * self.every_days,
                        Report::Claimed | Report::NotYet => LOOK,
                    };
                    due += wait;
                }
                () = sleep_until(look) => {
                    look += LOOK;
                    let begun = day().first_of_month();
                    if told != Some(begun)
                        && let Ok(last) = begun.yesterday()
                        && self.report("monthly", last.first_of_month(), last).await != Report::NotYet
                    {
                        told = Some(begun);
                    }
                }
            }
        }
    }

    async fn report(&self, which: &str, first: Date, last: Date) -> Report {
        if !self.watch.tells(AlertKind::SpendReports) {
            return Report::NotYet;
        }
        let text = match self.plane.spend_summary(first, last).await {
            Ok(Some(text)) => text,
            Ok(None) => return Report::Done,
            Err(error) => {
                tracing::error!(?error, "the spend report is not made; tried again");
                return Report::NotYet;
            }
        };
        // Of a month there is one report; the others come so often, whenever gateways start.
        let (job, every) = match which {
            "monthly" => (format!("{JOB}monthly:{first}"), DAY * 62),
            _ => (format!("{JOB}{which}"), DAY * self.every_days - LOOK),
        };
        match claim(&self.plane.store, &job, every, Timestamp::now()).await {
            Ok(false) => return Report::Claimed,
            Ok(true) => {}
            // Told twice is better than not at all.
            Err(error) => {
                tracing::debug!(%error, "the spend report is not claimed in the database")
            }
        }
        if let Some(peers) = self.peers.load_full() {
            let name = format!("{which}_spend_report_sent_{first}_{last}");
            match peers.claim(&name, DAY * self.every_days).await {
                Ok(false) => return Report::Claimed,
                Ok(true) => {}
                // Told twice is better than not at all.
                Err(error) => tracing::debug!(%error, "the spend report is not claimed"),
            }
        }
        let days =
            first.until(last).map_or(0, |span| span.get_days()) + i32::from(which == "monthly");
        let day = |day: Date| day.strftime("%m-%d-%Y").to_string();
        let title = format!(
            "Spend Report for `{} - {}` ({days} days)",
            day(first),
            day(last)
        );
        self.watch.spend_report(&title, text);
        Report::Done
    }
}

/// Claims a report for whoever is the first on this database within the time, over restarts: as a job that ends. Claims that have ended
/// go.
async fn claim(
    store: &Store,
    job: &str,
    every: Duration,
    now: Timestamp,
) -> Result<bool, WriteError> {
    if !store.has_table(JOBS) {
        return Ok(true);
    }
    let until = now.checked_add(SignedDuration::try_from(every).unwrap_or_default());
    let until = until.unwrap_or(Timestamp::MAX);
    let over = Filter::of("cronjob_id", Is::Contains(JOB.to_owned()))
        .and("ttl", Is::Below(time_text(now).into()));
    let row = [
        ("cronjob_id", job.to_owned()),
        ("pod_id", String::new()),
        ("last_updated", time_text(now)),
        ("ttl", time_text(until)),
    ];
    let row = row.map(|(column, text)| (column.to_owned(), text.into()));
    let steps = vec![
        Write::Delete(JOBS, over),
        Write::Ensure(JOBS, Row::from_iter(row)),
    ];
    let touched = store.write(steps, now).await?;
    Ok(touched.last() == Some(&1))
}

#[cfg(test)]
mod tests {
    use witgate_store::StoreOptions;

    use super::*;

    /// Processes on one database: what the first one claims the others do not, until its time is over.
    #[tokio::test]
    async fn a_report_is_claimed_once_over_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("w.db").display().to_string();
        let claimed = async |job: &str, now: &str| {
            let store = Store::open(&file, &StoreOptions::default()).await.unwrap();
            let job = format!("{JOB}{job}");
            let claim = claim(&store, &job, DAY * 7, now.parse().unwrap());
            claim.await.unwrap()
        };
        assert!(claimed("weekly", "2026-05-01T12:00:00Z").await);
        assert!(!claimed("weekly", "2026-05-08T11:59:59Z").await);
        assert!(claimed("monthly:2026-04-01", "2026-05-02T00:00:00Z").await);
        assert!(!claimed("monthly:2026-04-01", "2026-05-02T01:00:00Z").await);
        assert!(claimed("weekly", "2026-05-08T12:00:01Z").await);
    }
}
