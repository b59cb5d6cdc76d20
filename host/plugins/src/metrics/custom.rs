//! Metrics that plugins define themselves: `witgate_plugin_custom_<name>`, bounded in every direction.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::histogram::Histogram;

/// Names per plugin.
const NAMES_MAX: usize = 64;
/// Labels per value, the plugin's name not counted.
const LABELS_MAX: usize = 8;
/// Label combinations per plugin and name: a label with unbounded values must not eat the memory.
const SERIES_MAX: usize = 256;
/// Bytes of a name of a metric or label.
const NAME_MAX: usize = 64;
/// Bytes of a label value; the rest is cut.
const VALUE_MAX: usize = 128;

/// All metrics that plugins defined. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Custom {
    all: Arc<Mutex<BTreeMap<Name, Series>>>,
}

/// What a name measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CustomKind {
    Counter,
    Histogram,
}

type Labels = Vec<(String, String)>;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    name: String,
    kind: CustomKind,
}

#[derive(Default)]
struct Series {
    by_plugin: HashMap<Arc<str>, HashMap<Labels, Value>>,
}

enum Value {
    Sum(u64),
    Histogram(Histogram),
}

impl Custom {
    /// Counts or records. False when it is over a bound or malformed, and dropped.
    pub(crate) fn record(
        &self,
        plugin: &Arc<str>,
        kind: CustomKind,
        name: &str,
        labels: Vec<(String, String)>,
        amount: f64,
    ) -> bool {
        let distinct: HashSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
        if !is_metric_name(name, NAME_MAX)
            || labels.len() > LABELS_MAX
            || distinct.len() != labels.len()
            || !distinct
                .iter()
                .all(|name| is_metric_name(name, NAME_MAX) && *name != "plugin" && *name != "le")
        {
            return false;
        }
        let mut all = self.all.lock();
        let key = Name {
            name: name.to_owned(),
            kind,
        };
        let mine = |series: &Series| series.by_plugin.contains_key(plugin);
        if !all.get(&key).is_some_and(mine) {
            // One name cannot be a counter and a histogram.
            let other = match kind {
                CustomKind::Counter => CustomKind::Histogram,
                CustomKind::Histogram => CustomKind::Counter,
            };
            let taken = all.contains_key(&Name {
                name: name.to_owned(),
                kind: other,
            });
            if taken || all.values().filter(|series| mine(series)).count() >= NAMES_MAX {
                return false;
            }
        }
        let series = all
            .entry(key)
            .or_default()
            .by_plugin
            .entry(plugin.clone())
            .or_default();
        let mut labels: Labels = labels
            .into_iter()
            .map(|(name, value)| (name, cut(value)))
            .collect();
        labels.sort();
        if series.len() >= SERIES_MAX && !series.contains_key(&labels) {
            return false;
        }
        let value = series.entry(labels).or_insert_with(|| match kind {
            CustomKind::Counter => Value::Sum(0),
            CustomKind::Histogram => Value::Histogram(Histogram::new(SECONDS)),
        });
        match value {
            Value::Sum(sum) => *sum = sum.saturating_add(amount as u64),
            Value::Histogram(histogram) => histogram.observe(amount),
        }
        true
    }
}

/// The usual buckets for seconds.
const SECONDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

impl Collector for Custom {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (Name { name, kind }, series) in self.all.lock().iter() {
            let kind = match kind {
                CustomKind::Counter => MetricType::Counter,
                CustomKind::Histogram => MetricType::Histogram,
            };
            let full = format!("witgate_plugin_custom_{name}");
            let mut metric = encoder.encode_descriptor(&full, "Defined by a plugin", None, kind)?;
            for (plugin, values) in &series.by_plugin {
                for (labels, value) in values {
                    let own = [("plugin", plugin.as_ref())];
                    let labels: Vec<(&str, &str)> = own
                        .into_iter()
                        .chain(
                            labels
                                .iter()
                                .map(|(name, value)| (name.as_str(), value.as_str())),
                        )
                        .collect();
                    let encoder = metric.encode_family(&labels)?;
                    match value {
                        Value::Sum(sum) => ConstCounter::new(*sum).encode(encoder)?,
                        Value::Histogram(histogram) => histogram.encode(encoder)?,
                    }
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom").finish_non_exhaustive()
    }
}

pub(super) fn is_metric_name(name: &str, length_max: usize) -> bool {
    name.len() <= length_max
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A label value within its bound.
pub(super) fn cut(mut value: String) -> String {
    value.truncate(value.floor_char_boundary(VALUE_MAX));
    value
}
