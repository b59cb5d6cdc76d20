//! Metrics that plugins show under exact names, within prefixes that their manifests ask for: so that a
//! dashboard made for another product's names works.
//!
//! Everything is bounded: definitions, labels, series, bytes of a label's value. What is over is dropped
//! and counted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Weak};

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

/// The page of all metrics of exact names. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Named {
    /// In the order of their making. A book is gone with the plugin it was made for.
    books: Arc<Mutex<Vec<Weak<Book>>>>,
}

/// The metrics of one plugin, for as long as one component serves it.
///
/// The component after it gets a book of its own and continues the series of those metrics that it
/// defines in the same way. So a new version that fails to load takes nothing from the old one, and a name
/// is free again when the last who used it is gone.
pub(crate) struct Book {
    plugin: Arc<str>,
    page: Named,
    /// Books of those it comes after: the same plugin's before it, and plugins that end with its coming.
    before: Vec<Weak<Book>>,
    metrics: Mutex<BTreeMap<String, Arc<Metric>>>,
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
    definition: Definition,
    series: Mutex<HashMap<Vec<String>, Value>>,
}

enum Value {
    Number(f64),
    Histogram(Histogram),
}

impl Named {
    /// A book for a plugin that comes after these.
    pub(crate) fn book(&self, plugin: &Arc<str>, before: &[Arc<Book>]) -> Arc<Book> {
        let earlier = before.iter().flat_map(|book| book.before.iter().cloned());
        let book = Arc::new(Book {
            plugin: plugin.clone(),
            page: self.clone(),
            before: before.iter().map(Arc::downgrade).chain(earlier).collect(),
            metrics: Mutex::default(),
        });
        let mut books = self.books.lock();
        books.retain(|book| book.strong_count() > 0);
        books.push(Arc::downgrade(&book));
        book
    }

    /// Those of plugins that serve or still drain, in the order of their making.
    pub(crate) fn books(&self) -> Vec<Arc<Book>> {
        self.books.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

impl Book {
    /// Defines the plugin's metrics, all of them. Those that are as they were keep their series.
    pub(crate) fn define(
        &self,
        prefixes: &[String],
        definitions: Vec<Definition>,
    ) -> Result<(), String> {
        if definitions.len() > METRICS_MAX {
            return Err(format!(
                "{} metrics are more than the {METRICS_MAX} that a plugin may define",
                definitions.len()
            ));
        }
        let mut fresh: BTreeMap<String, Definition> = BTreeMap::new();
        for definition in definitions {
            check(&definition, prefixes)?;
            if let Some(twice) = fresh.insert(key(&definition), definition) {
                return Err(format!("the metric {:?} is defined twice", twice.name));
            }
        }
        // Held to the end: of two plugins that want a name at once, one gets it.
        let books = self.page.books.lock();
        let others = books.iter().filter_map(Weak::upgrade);
        let others: Vec<Arc<Self>> = others.filter(|book| !self.is(book)).collect();
        let mut metrics = BTreeMap::new();
        for (key, definition) in fresh {
            let mut same = self.own(&key).filter(|own| own.definition == definition);
            for other in &others {
                let Some(theirs) = other.own(&key) else {
                    continue;
                };
                if !self.is_kin(other) {
                    return Err(format!(
                        "the metric {:?} belongs to the plugin {:?} already",
                        definition.name, other.plugin
                    ));
                }
                same = same.or_else(|| Some(theirs).filter(|t| t.definition == definition));
            }
            let metric = same.unwrap_or_else(|| {
                Arc::new(Metric {
                    definition,
                    series: Mutex::default(),
                })
            });
            metrics.insert(key, metric);
        }
        *self.metrics.lock() = metrics;
        drop(books);
        Ok(())
    }

    /// Names of the labels of a metric; `None` when the plugin has none of this name.
    pub(crate) fn labels(&self, name: &str) -> Option<Vec<String>> {
        let metric = self.own(name.strip_suffix("_total").unwrap_or(name))?;
        Some(metric.definition.labels.clone())
    }

    /// Applies changes (name, label values, value). Returns how many were malformed or over a bound, and
    /// dropped.
    pub(crate) fn record(
        &self,
        samples: impl IntoIterator<Item = (String, Vec<String>, f64)>,
    ) -> usize {
        let metrics = self.metrics.lock();
        let mut series: usize = metrics.values().map(|m| m.series.lock().len()).sum();
        let mut dropped = 0;
        for (name, labels, value) in samples {
            let metric = metrics.get(name.strip_suffix("_total").unwrap_or(&name));
            match metric.and_then(|metric| metric.apply(labels, value, series < SERIES_MAX)) {
                Some(true) => series += 1,
                Some(false) => {}
                None => dropped += 1,
            }
        }
        dropped
    }

    fn own(&self, key: &str) -> Option<Arc<Metric>> {
        self.metrics.lock().get(key).cloned()
    }

    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }

    /// Whether one comes after the other: for a while they share their names.
    fn is_kin(&self, other: &Self) -> bool {
        let after = |late: &Self, early: &Self| {
            let mut before = late.before.iter();
            before.any(|book| std::ptr::eq(book.as_ptr(), early))
        };
        self.plugin == other.plugin || after(self, other) || after(other, self)
    }
}

impl Metric {
    /// Whether a series was added; `None` when the change is dropped.
    fn apply(&self, labels: Vec<String>, value: f64, room: bool) -> Option<bool> {
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
        let mut series = self.series.lock();
        let added = !series.contains_key(&labels);
        if added && !room {
            return None;
        }
        let current = series
            .entry(labels)
            .or_insert_with(|| match definition.kind {
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
        let mut all: BTreeMap<String, Arc<Metric>> = BTreeMap::new();
        // The newest first: it is the one that serves, or will in a moment.
        for book in self.books().into_iter().rev() {
            for (key, metric) in book.metrics.lock().iter() {
                all.entry(key.clone()).or_insert_with(|| metric.clone());
            }
        }
        for (key, metric) in &all {
            let definition = &metric.definition;
            let kind = match definition.kind {
                NamedKind::Counter => MetricType::Counter,
                NamedKind::Gauge => MetricType::Gauge,
                NamedKind::Histogram => MetricType::Histogram,
            };
            let mut family = encoder.encode_descriptor(key, &definition.help, None, kind)?;
            for (values, value) in metric.series.lock().iter() {
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
