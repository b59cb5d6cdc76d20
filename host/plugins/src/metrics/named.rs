//! Metrics that plugins show under exact names, within prefixes that their manifests ask for: so that a
//! dashboard made for another product's names works.
//!
//! Everything is bounded: definitions, labels, series, bytes of a label's value. What is over is dropped
//! and counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;

use super::custom::{cut, is_metric_name};

/// Definitions per plugin.
const METRICS_MAX: usize = 256;
/// Labels per metric.
const LABELS_MAX: usize = 32;
/// Buckets per histogram.
const BUCKETS_MAX: usize = 64;
/// Label combinations per plugin, all its metrics together: a label with unbounded values must not eat
/// the memory.
const SERIES_MAX: usize = 20_000;

/// All metrics of exact names. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Named {
    all: Arc<Mutex<BTreeMap<String, Metric>>>,
}

/// What a metric is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) kind: NamedKind,
    pub(crate) help: String,
    pub(crate) labels: Vec<String>,
    pub(crate) buckets: Vec<f64>,
}

/// What a metric measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedKind {
    Counter,
    Gauge,
    Histogram,
}

struct Metric {
    plugin: Arc<str>,
    definition: Definition,
    series: HashMap<Vec<String>, Value>,
}

enum Value {
    Number(f64),
    Histogram(Histogram),
}

impl Named {
    /// Defines a plugin's metrics, all of them. Those that did not change keep their series.
    pub(crate) fn define(
        &self,
        plugin: &Arc<str>,
        prefixes: &[String],
        definitions: Vec<Definition>,
    ) -> Result<(), String> {
        if definitions.len() > METRICS_MAX {
            return Err(format!(
                "{} metrics are more than the {METRICS_MAX} that a plugin may define",
                definitions.len()
            ));
        }
        let mut all = self.all.lock();
        let mut fresh: BTreeMap<String, Definition> = BTreeMap::new();
        for definition in definitions {
            check(&definition, prefixes)?;
            let key = key(&definition);
            if let Some(taken) = all.get(&key).filter(|metric| metric.plugin != *plugin) {
                return Err(format!(
                    "the metric {:?} belongs to the plugin {:?} already",
                    definition.name, taken.plugin
                ));
            }
            if let Some(twice) = fresh.insert(key, definition) {
                return Err(format!("the metric {:?} is defined twice", twice.name));
            }
        }
        all.retain(|key, metric| {
            metric.plugin != *plugin || fresh.get(key) == Some(&metric.definition)
        });
        for (key, definition) in fresh {
            all.entry(key).or_insert_with(|| Metric {
                plugin: plugin.clone(),
                definition,
                series: HashMap::new(),
            });
        }
        Ok(())
    }

    /// Names of the labels of a plugin's metric; `None` when it has none of this name.
    pub(crate) fn labels(&self, plugin: &Arc<str>, name: &str) -> Option<Vec<String>> {
        let all = self.all.lock();
        let metric = all.get(name.strip_suffix("_total").unwrap_or(name))?;
        (metric.plugin == *plugin).then(|| metric.definition.labels.clone())
    }

    /// Applies changes (name, label values, value). Returns how many were malformed or over a bound, and
    /// dropped.
    pub(crate) fn record(
        &self,
        plugin: &Arc<str>,
        samples: impl IntoIterator<Item = (String, Vec<String>, f64)>,
    ) -> usize {
        let mut all = self.all.lock();
        let own = |metric: &&Metric| metric.plugin == *plugin;
        let mut series: usize = all.values().filter(own).map(|m| m.series.len()).sum();
        let mut dropped = 0;
        for (name, labels, value) in samples {
            let key = name.strip_suffix("_total").unwrap_or(&name);
            let metric = all.get_mut(key).filter(|metric| metric.plugin == *plugin);
            match metric.and_then(|metric| metric.apply(labels, value, series < SERIES_MAX)) {
                Some(true) => series += 1,
                Some(false) => {}
                None => dropped += 1,
            }
        }
        dropped
    }
}

impl Metric {
    /// Whether a series was added; `None` when the change is dropped.
    fn apply(&mut self, labels: Vec<String>, value: f64, room: bool) -> Option<bool> {
        let definition = &self.definition;
        let wrong = match definition.kind {
            NamedKind::Counter => !value.is_finite() || value < 0.0,
            NamedKind::Gauge => value.is_nan(),
            NamedKind::Histogram => !value.is_finite(),
        };
        if wrong || labels.len() != definition.labels.len() {
            return None;
        }
        let labels: Vec<String> = labels.into_iter().map(cut).collect();
        let added = !self.series.contains_key(&labels);
        if added && !room {
            return None;
        }
        let series = self.series.entry(labels);
        let current = series.or_insert_with(|| match definition.kind {
            NamedKind::Histogram => {
                Value::Histogram(Histogram::new(definition.buckets.iter().copied()))
            }
            NamedKind::Counter | NamedKind::Gauge => Value::Number(0.0),
        });
        match current {
            Value::Number(sum) if definition.kind == NamedKind::Counter => *sum += value,
            Value::Number(number) => *number = value,
            Value::Histogram(histogram) => histogram.observe(value),
        }
        Some(added)
    }
}

/// Counters are found with and without their suffix.
fn key(definition: &Definition) -> String {
    let name = definition.name.as_str();
    name.strip_suffix("_total").unwrap_or(name).to_owned()
}

fn check(definition: &Definition, prefixes: &[String]) -> Result<(), String> {
    let name = &definition.name;
    let fail = |what: String| Err(format!("the metric {name:?} {what}"));
    if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
        return fail(format!(
            "has no prefix that the plugin's manifest asks for (`metrics = {prefixes:?}`)"
        ));
    }
    if !is_metric_name(name, 128) {
        return fail("is no name: letters, digits and `_`, at most 128".to_owned());
    }
    if name.ends_with("_total") && definition.kind != NamedKind::Counter {
        return fail("ends in `_total`, which only counters may".to_owned());
    }
    let labels: HashSet<&String> = definition.labels.iter().collect();
    if labels.len() != definition.labels.len() || labels.len() > LABELS_MAX {
        return fail(format!("has a label twice, or more than {LABELS_MAX}"));
    }
    let reserved = |label: &&String| {
        !is_metric_name(label, 128) || label.starts_with("__") || label.as_str() == "le"
    };
    if let Some(label) = definition.labels.iter().find(reserved) {
        return fail(format!("cannot have a label {label:?}"));
    }
    let ascending = definition.buckets.is_sorted_by(|a, b| a < b);
    let finite = definition.buckets.iter().all(|bound| bound.is_finite());
    if !ascending || !finite || definition.buckets.len() > BUCKETS_MAX {
        return fail(format!(
            "needs at most {BUCKETS_MAX} finite buckets in ascending order"
        ));
    }
    Ok(())
}

impl Collector for Named {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (key, metric) in self.all.lock().iter() {
            let definition = &metric.definition;
            let kind = match definition.kind {
                NamedKind::Counter => MetricType::Counter,
                NamedKind::Gauge => MetricType::Gauge,
                NamedKind::Histogram => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(key, &definition.help, None, kind)?;
            for (values, value) in &metric.series {
                let names = definition.labels.iter().map(String::as_str);
                let labels: Vec<(&str, &str)> =
                    names.zip(values.iter().map(String::as_str)).collect();
                let encoder = family.encode_family(&labels)?;
                match value {
                    Value::Number(sum) if definition.kind == NamedKind::Counter => {
                        ConstCounter::new(*sum).encode(encoder)?;
                    }
                    Value::Number(number) => ConstGauge::new(*number).encode(encoder)?,
                    Value::Histogram(histogram) => histogram.encode(encoder)?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").finish_non_exhaustive()
    }
}
