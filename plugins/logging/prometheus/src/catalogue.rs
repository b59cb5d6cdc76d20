//! Every metric there is: names, types and labels as in `metrics.tsv`, cut down to what the operator wants.

use std::collections::BTreeMap;

use witgate_plugin::Error;
use witgate_plugin::metrics::{Metric, MetricKind};

use crate::config::{Group, Settings};
use crate::services;

const TABLE: &str = include_str!("metrics.tsv");

/// Labels that the table names together.
const TOGETHER: [(&str, &[&str]); 4] = [
    ("K", &["hashed_api_key", "api_key_alias"]),
    ("T", &["team", "team_alias"]),
    (
        "D",
        &["litellm_model_name", "model_id", "api_base", "api_provider"],
    ),
    ("E", &["exception_status", "exception_class"]),
];

/// Buckets of latencies, seconds: LiteLLM's.
const LATENCY: [f64; 17] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 420.0,
    600.0,
];
/// The default buckets of Prometheus' Python client.
const DEFAULT: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// The one metric that may say whether a request was a stream.
const WITH_STREAM: &str = "litellm_proxy_total_requests_metric";

/// The metrics that are shown, by name.
pub struct Catalogue(BTreeMap<&'static str, Shown>);

/// A metric that is shown.
pub struct Shown {
    /// Names of its labels.
    pub labels: Vec<String>,
    kind: &'static str,
    help: &'static str,
}

impl Catalogue {
    /// What the operator wants of the table. Names that are not in it are an error.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let custom: Vec<String> = settings
            .metadata_labels
            .iter()
            .map(|path| label_name(path))
            .chain(
                settings
                    .tags
                    .iter()
                    .map(|tag| format!("tag_{}", label_name(tag))),
            )
            .collect();
        let mut all: BTreeMap<&'static str, Shown> = rows().collect();
        for (name, shown) in &mut all {
            // What a request says of itself belongs to what is counted per request.
            if shown.labels.iter().any(|label| label == "hashed_api_key") {
                let new = custom.iter().filter(|label| !shown.labels.contains(label));
                let new: Vec<String> = new.cloned().collect();
                shown.labels.extend(new);
            }
            if settings.emit_stream_label && *name == WITH_STREAM {
                shown.labels.push("stream".to_owned());
            }
        }
        if settings.metrics_config.is_empty() {
            return Ok(Self(all));
        }
        let mut chosen = BTreeMap::new();
        for group in &settings.metrics_config {
            choose(&mut all, &mut chosen, group)?;
        }
        Ok(Self(chosen))
    }

    /// A metric, if it is shown.
    pub fn get(&self, name: &str) -> Option<&Shown> {
        self.0.get(name)
    }

    /// The metrics in the host's terms.
    pub fn definitions(&self, settings: &Settings) -> Vec<Metric> {
        let latency = match settings.latency_buckets.as_slice() {
            [] => &LATENCY[..],
            own => own,
        };
        let metric = |(name, shown): (&&'static str, &Shown)| {
            let (kind, buckets) = match shown.kind {
                "counter" => (MetricKind::Counter, &[][..]),
                "gauge" => (MetricKind::Gauge, &[][..]),
                "latency" => (MetricKind::Histogram, latency),
                _ => (MetricKind::Histogram, &DEFAULT[..]),
            };
            Metric {
                name: (*name).to_owned(),
                kind,
                help: shown.help.to_owned(),
                labels: shown.labels.clone(),
                buckets: buckets.to_vec(),
            }
        };
        let mut all: Vec<Metric> = self.0.iter().map(metric).collect();
        if settings.shows_services() {
            all.extend(services::definitions(latency));
        }
        all
    }
}

/// The rows of the table.
fn rows() -> impl Iterator<Item = (&'static str, Shown)> {
    let rows = TABLE.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|row| {
        let mut columns = row.split('\t');
        let (name, kind, labels) = (columns.next()?, columns.next()?, columns.next()?);
        let expand = |word: &'static str| match TOGETHER.iter().find(|(short, _)| *short == word) {
            Some((_, labels)) => labels.to_vec(),
            None => vec![word],
        };
        let mut distinct: Vec<String> = Vec::new();
        for label in labels.split_ascii_whitespace().flat_map(expand) {
            if !distinct.iter().any(|known| known == label) {
                distinct.push(label.to_owned());
            }
        }
        let shown = Shown {
            labels: distinct,
            kind,
            help: columns.next()?,
        };
        Some((name, shown))
    })
}

fn choose(
    all: &mut BTreeMap<&'static str, Shown>,
    chosen: &mut BTreeMap<&'static str, Shown>,
    group: &Group,
) -> Result<(), Error> {
    for wanted in &group.metrics {
        let Some((name, mut shown)) = all.remove_entry(wanted.as_str()) else {
            if chosen.contains_key(wanted.as_str()) {
                return Err(Error::settings(format!(
                    "`prometheus_metrics_config` names {wanted:?} twice"
                )));
            }
            let names: Vec<&str> = rows().map(|(name, _)| name).collect();
            return Err(Error::settings(format!(
                "`prometheus_metrics_config` names {wanted:?}, which is no metric; there are {}",
                names.join(", ")
            )));
        };
        if let Some(labels) = &group.include_labels {
            // A label of one metric of the group need not be one of all.
            shown.labels.retain(|label| labels.contains(label));
        }
        chosen.insert(name, shown);
    }
    let Some(labels) = &group.include_labels else {
        return Ok(());
    };
    let known: Vec<String> = rows().flat_map(|(_, shown)| shown.labels).collect();
    let of_group = |label: &&String| {
        known.contains(label)
            || group.metrics.iter().any(|name| {
                chosen
                    .get(name.as_str())
                    .is_some_and(|shown| shown.labels.contains(label))
            })
    };
    match labels.iter().find(|label| !of_group(label)) {
        None => Ok(()),
        Some(wrong) => {
            let mut names = known.clone();
            names.sort();
            names.dedup();
            Err(Error::settings(format!(
                "`prometheus_metrics_config` includes the label {wrong:?}, which no metric has; there are {}",
                names.join(", ")
            )))
        }
    }
}

/// A text as the name of a label.
pub fn label_name(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect()
}
