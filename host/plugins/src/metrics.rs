//! What `/metrics` says about plugins. Handles are made once per plugin: a call hashes no label.

mod counters;
mod custom;
mod named;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use counters::Counters;
pub(crate) use custom::{Custom, CustomKind};
pub(crate) use named::{Book, Definition, Named, NamedKind};

use crate::error::{Outcome, TrapKind};

/// A sum of seconds.
pub(crate) type Seconds = Counter<f64, AtomicU64>;

/// The metric families of all plugins. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<FunctionLabels, Histogram, Buckets>,
    /// What the histogram sums up, in a form that can be read.
    wall: Family<PluginLabels, Seconds>,
    cpu: Family<PluginLabels, Seconds>,
    traps: Family<KindLabels, Counter>,
    denials: Family<KindLabels, Counter>,
    instances: Family<StateLabels, Gauge>,
    instantiations: Family<PluginLabels, Counter>,
    recycled: Family<ReasonLabels, Counter>,
    queue_wait: Family<PluginLabels, Histogram, Buckets>,
    breaker: Family<PluginLabels, Gauge>,
    memory: Family<PluginLabels, Gauge>,
    reveals: Family<PluginLabels, Counter>,
    log_dropped: Family<PluginLabels, Counter>,
    llm_calls: Family<OutcomeLabels, Counter>,
    llm_cost: Family<PluginLabels, Counter<f64, AtomicU64>>,
    compile_seconds: Family<ComponentLabels, Histogram, Buckets>,
    cache: Family<ResultLabels, Counter>,
    pub(crate) custom: Custom,
    pub(crate) named: Named,
}

impl Metrics {
    /// Registers the families, all called `witgate_plugin_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let calls = Buckets(&CALL_SECONDS);
        let metrics = Self {
            calls: Family::default(),
            seconds: Family::new_with_constructor(calls),
            wall: Family::default(),
            cpu: Family::default(),
            traps: Family::default(),
            denials: Family::default(),
            instances: Family::default(),
            instantiations: Family::default(),
            recycled: Family::default(),
            queue_wait: Family::new_with_constructor(calls),
            breaker: Family::default(),
            memory: Family::default(),
            reveals: Family::default(),
            log_dropped: Family::default(),
            llm_calls: Family::default(),
            llm_cost: Family::default(),
            compile_seconds: Family::new_with_constructor(Buckets(&COMPILE_SECONDS)),
            cache: Family::default(),
            custom: Custom::default(),
            named: Named::default(),
        };
        let m = &metrics;
        // These write whole names; below the prefix they would have it twice.
        registry.register_collector(Box::new(m.custom.clone()));
        registry.register_collector(Box::new(m.named.clone()));
        let registry = registry.sub_registry_with_prefix("witgate_plugin");
        registry.register(
            "calls",
            "Calls of a plugin's functions by outcome",
            m.calls.clone(),
        );
        registry.register(
            "call_seconds",
            "Seconds a call took, the wait for an instance included",
            m.seconds.clone(),
        );
        registry.register(
            "cpu_seconds",
            "Processor seconds spent in a plugin's calls",
            m.cpu.clone(),
        );
        registry.register(
            "traps",
            "Calls that ended in a trap, by kind",
            m.traps.clone(),
        );
        registry.register(
            "denials",
            "Requests of a plugin that the host refused",
            m.denials.clone(),
        );
        registry.register("instances", "Live instances", m.instances.clone());
        registry.register("instantiations", "Instances made", m.instantiations.clone());
        registry.register(
            "recycled",
            "Instances thrown away, by reason",
            m.recycled.clone(),
        );
        registry.register(
            "queue_wait_seconds",
            "Seconds spent waiting for an instance",
            m.queue_wait.clone(),
        );
        registry.register(
            "breaker_state",
            "0 closed, 1 open, 2 half open",
            m.breaker.clone(),
        );
        registry.register(
            "memory_bytes_max",
            "Largest memory of one instance so far",
            m.memory.clone(),
        );
        registry.register(
            "secret_reveals",
            "Secrets shown to the plugin",
            m.reveals.clone(),
        );
        registry.register(
            "log_dropped",
            "Log lines of a plugin over its limits",
            m.log_dropped.clone(),
        );
        registry.register(
            "llm_calls",
            "Calls of models that plugins made, by outcome",
            m.llm_calls.clone(),
        );
        registry.register(
            "llm_cost_usd",
            "What these calls cost, as far as prices are known",
            m.llm_cost.clone(),
        );
        registry.register(
            "compile_seconds",
            "Seconds a compilation took",
            m.compile_seconds.clone(),
        );
        registry.register(
            "cache",
            "Look-ups in the cache of compiled code",
            m.cache.clone(),
        );
        metrics
    }

    /// The handles of one plugin. `functions` are the names of its kind's functions, in order.
    pub(crate) fn plugin(&self, plugin: &str, functions: &'static [&'static str]) -> PluginMetrics {
        let own = PluginLabels {
            plugin: plugin.to_owned(),
        };
        let instances = |state| {
            self.instances.get_or_create_owned(&StateLabels {
                plugin: plugin.to_owned(),
                state,
            })
        };
        PluginMetrics {
            functions: functions
                .iter()
                .map(|function| FunctionMetrics {
                    function,
                    calls: Default::default(),
                    seconds: OnceLock::new(),
                })
                .collect(),
            wall: self.wall.get_or_create_owned(&own),
            cpu: self.cpu.get_or_create_owned(&own),
            busy: instances("busy"),
            idle: instances("idle"),
            instantiations: self.instantiations.get_or_create_owned(&own),
            queue_wait: self.queue_wait.get_or_create_owned(&own),
            breaker: self.breaker.get_or_create_owned(&own),
            memory: self.memory.get_or_create_owned(&own),
            reveals: self.reveals.get_or_create_owned(&own),
            log_dropped: self.log_dropped.get_or_create_owned(&own),
            families: self.clone(),
            plugin: own.plugin,
        }
    }

    pub(crate) fn compiled(&self, component: &str, took: Duration) {
        let labels = ComponentLabels {
            component: component.to_owned(),
        };
        self.compile_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// `hit`, `miss` or `refused`.
    pub(crate) fn cache(&self, result: &'static str) {
        self.cache.get_or_create(&ResultLabels { result }).inc();
    }
}

/// The metrics of one plugin, ready to be counted in.
pub(crate) struct PluginMetrics {
    families: Metrics,
    plugin: String,
    functions: Box<[FunctionMetrics]>,
    wall: Seconds,
    /// Processor time of its calls.
    pub(crate) cpu: Seconds,
    pub(crate) busy: Gauge,
    pub(crate) idle: Gauge,
    pub(crate) instantiations: Counter,
    pub(crate) queue_wait: Histogram,
    pub(crate) breaker: Gauge,
    memory: Gauge,
    pub(crate) reveals: Counter,
    pub(crate) log_dropped: Counter,
}

/// Series appear when something happened: most outcomes never do.
struct FunctionMetrics {
    function: &'static str,
    calls: [OnceLock<Counter>; Outcome::ALL.len()],
    seconds: OnceLock<Histogram>,
}

impl PluginMetrics {
    pub(crate) fn called(&self, function: usize, outcome: Outcome, took: Duration) {
        let Some(own) = self.functions.get(function) else {
            return;
        };
        let calls = own.calls.get(outcome as usize).map(|counter| {
            counter.get_or_init(|| {
                self.families.calls.get_or_create_owned(&CallLabels {
                    plugin: self.plugin.clone(),
                    function: own.function,
                    outcome: outcome.as_str(),
                })
            })
        });
        if let Some(calls) = calls {
            calls.inc();
        }
        let seconds = own.seconds.get_or_init(|| {
            self.families.seconds.get_or_create_owned(&FunctionLabels {
                plugin: self.plugin.clone(),
                function: own.function,
            })
        });
        seconds.observe(took.as_secs_f64());
        self.wall.inc_by(took.as_secs_f64());
    }

    pub(crate) fn trapped(&self, kind: TrapKind) {
        self.count(&self.families.traps, kind.as_str());
    }

    /// `egress`, `env`, `secret`, `reveal`, `file`, `metric`, `kv` or `llm`.
    pub(crate) fn denied(&self, kind: &'static str) {
        self.count(&self.families.denials, kind);
    }

    /// The same, this many times.
    pub(crate) fn denied_often(&self, kind: &'static str, times: u64) {
        if times > 0 {
            self.kind(&self.families.denials, kind).inc_by(times);
        }
    }

    /// A call of a model that was made, and its price when that is known.
    pub(crate) fn called_model(&self, outcome: &'static str, cost_usd: Option<f64>) {
        let labels = OutcomeLabels {
            plugin: self.plugin.clone(),
            outcome,
        };
        self.families.llm_calls.get_or_create(&labels).inc();
        if let Some(cost) = cost_usd {
            let labels = PluginLabels {
                plugin: self.plugin.clone(),
            };
            self.families.llm_cost.get_or_create(&labels).inc_by(cost);
        }
    }

    pub(crate) fn recycled(&self, reason: &'static str) {
        let labels = ReasonLabels {
            plugin: self.plugin.clone(),
            reason,
        };
        self.families.recycled.get_or_create(&labels).inc();
    }

    pub(crate) fn memory_used(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.memory.get() < bytes {
            self.memory.set(bytes);
        }
    }

    fn count(&self, family: &Family<KindLabels, Counter>, kind: &'static str) {
        self.kind(family, kind).inc();
    }

    fn kind(&self, family: &Family<KindLabels, Counter>, kind: &'static str) -> Counter {
        family.get_or_create_owned(&KindLabels {
            plugin: self.plugin.clone(),
            kind,
        })
    }
}

const CALL_SECONDS: [f64; 17] = [
    5e-6, 10e-6, 15e-6, 25e-6, 40e-6, 70e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 10e-3, 50e-3,
    0.25, 1.0, 5.0, 30.0,
];
const COMPILE_SECONDS: [f64; 8] = [0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

#[derive(Clone, Copy)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    plugin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    plugin: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    plugin: String,
    function: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FunctionLabels {
    plugin: String,
    function: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    plugin: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    plugin: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    plugin: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ComponentLabels {
    component: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}
