//! LiteLLM's spend reports: what teams and tags have spent, every `spend_report_frequency` and of each month on the first of the next.
//!
//! Of gateways on one Redis the first one that claims a report sends it.

use std::sync::Arc;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use witgate_config::Loaded;
use witgate_events::{AlertKind, Watch};
use witgate_management::ControlPlane;

use super::peers::SharedPeers;

const DAY: Duration = Duration::from_secs(86_400);
/// LiteLLM's first report after a start comes within so many seconds.
const FIRST_S: f64 = 310.0;
/// How often it is looked whether a month has begun.
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
        let mut month = day().first_of_month();
        let mut due = Instant::now() + self.first_after;
        let mut look = Instant::now() + LOOK;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep_until(due) => {
                    due += DAY * self.every_days;
                    let last = day();
                    let first = last.checked_sub(Span::new().days(i64::from(self.every_days)));
                    self.report("weekly", first.unwrap_or(last), last).await;
                }
                () = sleep_until(look) => {
                    look += LOOK;
                    let begun = day().first_of_month();
                    if begun != month
                        && let Ok(last) = begun.yesterday()
                    {
                        self.report("monthly", month, last).await;
                        month = begun;
                    }
                }
            }
        }
    }

    async fn report(&self, which: &str, first: Date, last: Date) {
        if !self.watch.tells(AlertKind::SpendReports) {
            return;
        }
        let text = match self.plane.spend_summary(first, last).await {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(error) => return tracing::error!(?error, "the spend report is not made"),
        };
        if let Some(peers) = self.peers.load_full() {
            let name = format!("{which}_spend_report_sent_{first}_{last}");
            match peers.claim(&name, DAY * self.every_days).await {
                Ok(false) => return,
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
    }
}
