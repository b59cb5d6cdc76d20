//! Counters of the cache, in Prometheus form.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What came of it, at which kind of place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CacheLabels {
    /// LiteLLM's name of the kind.
    pub backend: &'static str,
    /// Of look-ups `hit`, `miss` or `error`; of entries `given`, and of those that places outside do not take, `dropped` or `error`.
    pub result: &'static str,
}

/// The cache's metric families. Clones share them.
#[derive(Clone, Default)]
pub struct CacheMetrics {
    lookups: Family<CacheLabels, Counter>,
    entries: Family<CacheLabels, Counter>,
}

impl CacheMetrics {
    /// The families, registered.
    pub fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "witgate_cache_lookups",
            "Look-ups in the cache of answers",
            this.lookups.clone(),
        );
        registry.register(
            "witgate_cache_entries",
            "Entries given to the cache of answers",
            this.entries.clone(),
        );
        this
    }

    pub(crate) fn lookup(&self, backend: &'static str, result: &'static str) {
        let labels = CacheLabels { backend, result };
        self.lookups.get_or_create(&labels).inc();
    }

    pub(crate) fn entries(&self, backend: &'static str, result: &'static str) {
        let labels = CacheLabels { backend, result };
        self.entries.get_or_create(&labels).inc();
    }

    /// How many entries had this result.
    #[must_use]
    pub fn counted(&self, backend: &'static str, result: &'static str) -> u64 {
        let labels = CacheLabels { backend, result };
        self.entries.get_or_create(&labels).get()
    }

    /// How many look-ups had this result.
    #[must_use]
    pub fn lookups(&self, backend: &'static str, result: &'static str) -> u64 {
        let labels = CacheLabels { backend, result };
        self.lookups.get_or_create(&labels).get()
    }
}
