//! Outages: failures of a deployment, or of the deployments of a region, within a window that slides.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::{AlertKind, AlertSettings, Draft, Level};

/// Failures by deployment and by region.
#[derive(Debug, Default)]
pub struct Outages {
    deployments: HashMap<String, Window>,
    regions: HashMap<String, Window>,
}

/// One failure.
#[derive(Debug, Clone, Copy)]
pub struct Failed<'a> {
    /// Deployment id.
    pub deployment: &'a str,
    /// Model group.
    pub model: &'a str,
    /// Provider.
    pub provider: &'a str,
    /// Region, when it is known.
    pub region: &'a str,
    /// Base URL.
    pub api_base: &'a str,
    /// HTTP status; 408 or at least 500 counts.
    pub status: u16,
}

#[derive(Debug, Default)]
struct Window {
    failures: VecDeque<Failure>,
    minor_told: bool,
    major_told: bool,
}

#[derive(Debug)]
struct Failure {
    at: Timestamp,
    status: u16,
    deployment: String,
}

impl Outages {
    /// Counts a failure; gives what is to be told about it.
    pub(crate) fn failed(
        &mut self,
        failed: &Failed<'_>,
        now: Timestamp,
        settings: &AlertSettings,
    ) -> Vec<Draft> {
        if failed.status != 408 && failed.status < 500 {
            return Vec::new();
        }
        let mut drafts = Vec::new();
        let own = self
            .deployments
            .entry(failed.deployment.to_owned())
            .or_default();
        own.push(failed, now, settings.outage_window, settings);
        if let Some(level) = own.due(settings) {
            let draft = own.draft(AlertKind::OutageAlerts, level);
            drafts.push(
                draft
                    .field("Model", failed.model)
                    .field("Provider", failed.provider)
                    .field("API Base", failed.api_base),
            );
        }
        if !failed.region.is_empty() {
            let name = format!("{} {}", failed.provider, failed.region);
            let region = self.regions.entry(name).or_default();
            region.push(failed, now, settings.region_window, settings);
            // One deployment that fails is no outage of its region.
            if region.deployments() > 1
                && let Some(level) = region.due(settings)
            {
                let draft = region.draft(AlertKind::RegionOutageAlerts, level);
                drafts.push(
                    draft
                        .field("Region Name", failed.region)
                        .field("Provider", failed.provider),
                );
            }
        }
        drafts
    }

    /// Forgets what is over, so that deployments that are gone leave nothing behind.
    pub fn forget(&mut self, now: Timestamp, settings: &AlertSettings) {
        for (windows, length) in [
            (&mut self.deployments, settings.outage_window),
            (&mut self.regions, settings.region_window),
        ] {
            windows.retain(|_, window| {
                window.slide(now, length);
                !window.failures.is_empty()
            });
        }
    }
}

impl Window {
    fn push(
        &mut self,
        failed: &Failed<'_>,
        now: Timestamp,
        length: Duration,
        settings: &AlertSettings,
    ) {
        self.slide(now, length);
        self.failures.push_back(Failure {
            at: now,
            status: failed.status,
            deployment: failed.deployment.to_owned(),
        });
        while self.failures.len() > settings.list_max.max(settings.major) {
            self.failures.pop_front();
        }
    }

    /// Drops what is older than the window. An empty window is a new one: its outage is told again.
    fn slide(&mut self, now: Timestamp, length: Duration) {
        let is_old = |failure: &Failure| now.duration_since(failure.at).unsigned_abs() >= length;
        while self.failures.front().is_some_and(is_old) {
            self.failures.pop_front();
        }
        if self.failures.is_empty() {
            *self = Self::default();
        }
    }

    fn due(&mut self, settings: &AlertSettings) -> Option<Level> {
        let count = self.failures.len();
        if count >= settings.minor && !self.minor_told {
            self.minor_told = true;
            return Some(Level::Medium);
        }
        if count >= settings.major && !self.major_told {
            self.major_told = true;
            return Some(Level::High);
        }
        None
    }

    fn deployments(&self) -> usize {
        let ids: HashSet<&str> = self
            .failures
            .iter()
            .map(|failure| failure.deployment.as_str())
            .collect();
        ids.len()
    }

    fn draft(&self, kind: AlertKind, level: Level) -> Draft {
        let size = if level == Level::High {
            "Major"
        } else {
            "Minor"
        };
        let mut draft = Draft::new(kind, level, format!("⚠️ {size} Service Outage"));
        let timeouts = self
            .failures
            .iter()
            .filter(|failure| failure.status == 408)
            .count();
        draft.text = format!(
            "*Errors:*\nTimeout Errors: `{timeouts}`\nAPI Errors: `{}`",
            self.failures.len() - timeouts
        );
        draft
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(deployment: &str, status: u16) -> Failed<'_> {
        Failed {
            deployment,
            model: "gpt",
            provider: "azure",
            region: "eu",
            api_base: "https://x",
            status,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn told(drafts: &[Draft]) -> Vec<(AlertKind, Level)> {
        drafts
            .iter()
            .map(|draft| (draft.kind, draft.level))
            .collect()
    }

    #[test]
    fn minor_then_major_and_each_once_per_window() {
        let (mut outages, settings) = (Outages::default(), AlertSettings::default());
        let mut all = Vec::new();
        for second in 0..12 {
            let drafts = outages.failed(
                &failed("one", 500 + second as u16 % 2 * 3),
                at(second),
                &settings,
            );
            all.extend(
                told(&drafts)
                    .into_iter()
                    .map(|(kind, level)| (second, kind, level)),
            );
        }
        let kind = AlertKind::OutageAlerts;
        assert_eq!(all, [(4, kind, Level::Medium), (9, kind, Level::High)]);
        // The window slides: failures a minute apart are no outage, and a new burst is a new one.
        let drafts = outages.failed(&failed("one", 500), at(72), &settings);
        assert!(drafts.is_empty());
        let burst = (0..4).flat_map(|n| outages.failed(&failed("one", 408), at(73 + n), &settings));
        let burst: Vec<Draft> = burst.collect();
        assert_eq!(told(&burst), [(kind, Level::Medium)]);
        assert!(
            burst[0]
                .text
                .contains("Timeout Errors: `4`\nAPI Errors: `1`"),
            "{}",
            burst[0].text
        );
    }

    #[test]
    fn what_the_client_did_wrong_is_no_outage() {
        let (mut outages, settings) = (Outages::default(), AlertSettings::default());
        for _ in 0..20 {
            for status in [400, 401, 404, 429] {
                assert!(
                    outages
                        .failed(&failed("one", status), at(0), &settings)
                        .is_empty()
                );
            }
        }
    }

    #[test]
    fn a_region_is_out_when_several_deployments_are() {
        let mut outages = Outages::default();
        let settings = AlertSettings {
            minor: 3,
            major: 100,
            ..AlertSettings::default()
        };
        let mut all = Vec::new();
        for (second, deployment) in ["one", "one", "two"].iter().enumerate() {
            all.extend(told(&outages.failed(
                &failed(deployment, 503),
                at(second as i64),
                &settings,
            )));
        }
        assert_eq!(all, [(AlertKind::RegionOutageAlerts, Level::Medium)]);
        outages.forget(at(500), &settings);
        assert!(outages.deployments.is_empty() && outages.regions.is_empty());
    }
}
