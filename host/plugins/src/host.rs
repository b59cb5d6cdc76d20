//! The plugin host: what exists once per process, and how a configuration's plugins come to life.

mod plan;
mod swap;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wasmtime::Engine;
use wasmtime::component::Linker;
use witgate_bundles::Pulled;
use witgate_outbound::TlsOptions;

use crate::cache::Cache;
use crate::capabilities::{self, Context, Door, Models, State, Surroundings};
use crate::component::{self, Loader};
use crate::error::Fault;
use crate::kinds::alerter::Alerter;
use crate::kinds::authenticator::Authenticator;
use crate::kinds::guardrail::Guardrail;
use crate::kinds::key_policy::KeyPolicy;
use crate::kinds::log_sink::LogSink;
use crate::kinds::prompt_manager::PromptManager;
use crate::kinds::provider::Provider;
use crate::kinds::request_hook::RequestHook;
use crate::kinds::router::Router;
use crate::kinds::secret_manager::SecretManager;
use crate::kinds::sso::Sso;
use crate::limits::Bounds;
use crate::pool::{AnyPool, Bindings, Parts, Pool};
use crate::registry::{Description, Entry, Loaded};
use crate::source::{Ask, Pins};
use crate::{
    HostError, Isolation, Kind, LoadError, Metrics, PluginError, PluginSpec, Registry, Source,
    Sources, embedded, engine,
};

use plan::{Plan, PoolPlan, leaving};

/// How often idle instances are looked for.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// Told about work that takes long enough to wonder.
pub type ProgressHook = Arc<dyn Fn(&Progress) + Send + Sync>;

/// Told, by name, about a plugin that failed too often, and how long it rests.
pub type RestHook = Arc<dyn Fn(&str, Duration) + Send + Sync>;

/// Work that takes long enough to wonder.
#[derive(Debug, Clone)]
pub enum Progress {
    /// A component is compiled for the first time.
    Compiling {
        /// Its name.
        component: String,
        /// Its size.
        bytes: usize,
    },
    /// It is done.
    Compiled {
        /// Its name.
        component: String,
        /// How long it took.
        elapsed: Duration,
    },
}

/// How the host works.
#[derive(Clone)]
pub struct HostOptions {
    /// Compiled code is kept below `<data_dir>/plugins`; nowhere when absent.
    pub data_dir: Option<PathBuf>,
    /// Reserve memory for instances ahead, where the machine has the address space.
    pub pooling: bool,
    /// TLS of the plugins' own requests.
    pub tls: TlsOptions,
    /// Told about compilations.
    pub on_progress: ProgressHook,
    /// Told about plugins that failed too often.
    pub on_rest: RestHook,
}

/// What exists once per process: engine, clock, cache, linked interfaces.
pub struct Host {
    engine: Engine,
    linker: Linker<State>,
    cache: Option<Cache>,
    metrics: Metrics,
    options: HostOptions,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// `None` until the task that thins them out was started.
    pools: Mutex<Option<Vec<Weak<dyn AnyPool>>>>,
    models: Door,
}

impl HostOptions {
    /// Pooling, the system's certificates, and silence about compilations.
    #[must_use]
    pub fn new(data_dir: Option<PathBuf>) -> Self {
        Self {
            data_dir,
            pooling: true,
            tls: TlsOptions::default(),
            on_progress: Arc::new(|_| {}),
            on_rest: Arc::new(|_, _| {}),
        }
    }
}

impl Host {
    /// Starts the engine and its clock. Needs no runtime yet.
    ///
    /// # Errors
    /// When the machine cannot run WebAssembly. A cache that cannot be used is only warned about.
    pub fn start(options: HostOptions, metrics: Metrics) -> Result<Arc<Self>, HostError> {
        let engine = engine::start(options.pooling)?;
        let mut linker = Linker::new(&engine);
        capabilities::link(&mut linker).map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let cache = options.data_dir.as_deref().and_then(|directory| {
            Cache::open(directory, &engine)
                .inspect_err(|error| {
                    tracing::warn!(
                        directory = %directory.display(), %error,
                        "compiled plugins cannot be kept there; every start compiles them"
                    );
                })
                .ok()
        });
        Ok(Arc::new(Self {
            engine,
            linker,
            cache,
            metrics,
            options,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            pools: Mutex::new(None),
            models: Door::default(),
        }))
    }

    /// Opens the way from plugins to models, once. Until then calls of models are told that nobody answers.
    pub fn serve_models(&self, models: Arc<dyn Models>) {
        // Set once per process; a second gateway in it would find the first one's.
        let _ = self.models.set(models);
    }

    /// Loads the plugins of a configuration. What can be loaded is; what cannot is in the errors, and in
    /// the registry's listing. A plugin of `previous` whose component and configuration did not change
    /// is taken over with its warm instances.
    pub async fn load(
        self: &Arc<Self>,
        specs: Vec<PluginSpec>,
        sources: &Sources,
        previous: Option<&Registry>,
    ) -> (Registry, Vec<LoadError>) {
        self.start_trimming();
        let mut registry = Registry::empty();
        let mut errors = Vec::new();
        let components = self.components(&specs, sources).await;
        let leaving = leaving(&specs, previous, &self.metrics.named);
        for spec in specs {
            let found = components.get(&Ask::of(&spec)).cloned();
            let loaded = match found.unwrap_or_else(|| Err("it was not looked up".to_owned())) {
                Ok(component) => {
                    let old = previous.and_then(|old| old.entry(spec.kind, &spec.name));
                    let folder = sources.config_dir.as_deref();
                    let mut plan = Plan {
                        spec: spec.clone(),
                        component,
                        old,
                        leaving: &leaving,
                        held_back: None,
                        trust: &sources.trust,
                    };
                    plan.hold_back();
                    self.plugin(plan, folder).await
                }
                Err(reason) => Err(LoadError::new(&spec.name, reason)),
            };
            match loaded {
                Ok(entry) => registry.insert(spec.kind, spec.name, entry),
                Err(error) => {
                    registry.insert_failed(Description {
                        component: spec.component,
                        kind: spec.kind.to_string(),
                        state: format!("failed: {}", error.reason),
                        name: spec.name,
                        ..Description::default()
                    });
                    errors.push(error);
                }
            }
        }
        (registry, errors)
    }

    /// The built-in components that are not among `used`, for `witgate plugin list`. None is compiled.
    #[must_use]
    pub fn describe_built_ins(&self, sources: &Sources, used: &[Description]) -> Vec<Description> {
        let mut rows = Vec::new();
        for name in sources.built_in() {
            let Some(source) = sources.built_in_named(&name) else {
                continue;
            };
            let mut row = Description {
                source: source.to_string(),
                ..Description::default()
            };
            match source.examine() {
                Ok((manifest, digest, _)) => {
                    row.kind = manifest.kind.to_string();
                    row.fail = manifest.kind.default_fail().as_str().to_owned();
                    row.version = manifest.version;
                    row.egress = manifest.egress;
                    row.env = manifest.env;
                    row.files = manifest.files;
                    row.metrics = manifest.metrics;
                    row.llm = manifest.llm;
                    let secrets = manifest
                        .settings
                        .into_iter()
                        .filter(|setting| setting.secret);
                    row.secrets = secrets.map(|setting| setting.name).collect();
                    row.component = manifest.name;
                    row.digest = digest;
                    row.state = "not used".to_owned();
                }
                Err(error) => row.state = format!("failed: {}", error.reason),
            }
            if !used
                .iter()
                .any(|one| !one.digest.is_empty() && one.digest == row.digest)
            {
                row.name = name;
                rows.push(row);
            }
        }
        rows
    }

    /// Ends the host's own tasks and waits for work under way that outlives its call.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The components that the plugins name, each loaded once.
    async fn components(
        self: &Arc<Self>,
        specs: &[PluginSpec],
        sources: &Sources,
    ) -> HashMap<Ask, Result<Arc<component::Loaded>, String>> {
        let mut asks: Vec<Ask> = specs.iter().map(Ask::of).collect();
        asks.sort();
        asks.dedup();
        let (host, mut sources) = (self.clone(), sources.clone());
        let components = asks.iter().map(|ask| ask.component.clone()).collect();
        sources.fetch(components).await;
        self.watch_tags(&sources);
        let load = move || {
            let _reading = embedded::reading();
            // Two plugins share a component unless something else is asked of it.
            let mut known: HashMap<(Source, Pins), Result<Arc<component::Loaded>, String>> =
                HashMap::new();
            let loader = Loader {
                engine: &host.engine,
                linker: &host.linker,
                cache: host.cache.as_ref(),
                metrics: &host.metrics,
                on_progress: &host.options.on_progress,
                trust: &sources.trust,
            };
            let one = |ask: Ask| {
                let loaded = match sources.resolve_for(&ask.component, &ask.names) {
                    Ok(source) => known
                        .entry((source, ask.pins.clone()))
                        .or_insert_with_key(|(source, _)| loader.load(source, &ask).map(Arc::new))
                        .clone(),
                    Err(error) => Err(error.reason),
                };
                (ask, loaded)
            };
            asks.into_iter().map(one).collect::<HashMap<_, _>>()
        };
        // Reading and compiling block.
        tokio::task::spawn_blocking(|| apart(load))
            .await
            .unwrap_or_default()
    }

    /// Makes a plugin, or takes over the old one when nothing about it changed.
    async fn plugin(
        self: &Arc<Self>,
        plan: Plan<'_>,
        folder: Option<&Path>,
    ) -> Result<Entry, LoadError> {
        let (spec, fingerprint) = plan.checked(folder)?;
        if let Some(same) = plan.old.filter(|old| old.fingerprint == fingerprint) {
            return Ok(Entry {
                held_back: plan.held_back,
                spec: plan.spec,
                ..same.clone()
            });
        }
        self.fresh(plan, &spec, fingerprint).await
    }

    /// Makes a plugin with instances of its own.
    async fn fresh(
        self: &Arc<Self>,
        plan: Plan<'_>,
        spec: &PluginSpec,
        fingerprint: [u8; 32],
    ) -> Result<Entry, LoadError> {
        let (kind, kept) = (spec.kind, plan.kept(spec));
        let pool = PoolPlan {
            spec,
            before: plan.before(),
            kept: kept.clone(),
            instances: plan.instances(),
            loaded: plan.component.clone(),
        };
        let plugin = match kind {
            Kind::Guardrail => Loaded::Guardrail(Arc::new(Guardrail {
                pool: self.pool(pool).await?,
            })),
            Kind::LogSink => Loaded::LogSink(Arc::new(LogSink {
                pool: self.pool(pool).await?,
            })),
            Kind::Alerter => Loaded::Alerter(Arc::new(Alerter {
                pool: self.pool(pool).await?,
            })),
            Kind::Authenticator => Loaded::Authenticator(Arc::new(Authenticator {
                pool: self.pool(pool).await?,
            })),
            Kind::PromptManager => Loaded::PromptManager(Arc::new(PromptManager {
                pool: self.pool(pool).await?,
            })),
            Kind::Router => Loaded::Router(Arc::new(Router {
                pool: self.pool(pool).await?,
            })),
            Kind::KeyPolicy => Loaded::KeyPolicy(Arc::new(KeyPolicy {
                pool: self.pool(pool).await?,
            })),
            Kind::Provider => Loaded::Provider(Arc::new(Provider {
                pool: self.pool(pool).await?,
            })),
            Kind::Sso => Loaded::Sso(Arc::new(Sso {
                pool: self.pool(pool).await?,
            })),
            Kind::SecretManager => Loaded::SecretManager(Arc::new(SecretManager {
                pool: self.pool(pool).await?,
            })),
            Kind::RequestHook => Loaded::RequestHook(Arc::new(RequestHook {
                pool: self.pool(pool).await?,
            })),
        };
        Ok(Entry {
            fingerprint,
            plugin,
            kept,
            previous: plan.previous(),
            held_back: plan.held_back,
            enabled: plan.old.is_none_or(|old| old.enabled),
            spec: plan.spec,
        })
    }

    /// Settings, grants and a first instance: what fails here would fail at every call.
    async fn pool<B: Bindings>(
        self: &Arc<Self>,
        plan: PoolPlan<'_>,
    ) -> Result<Arc<Pool<B>>, LoadError> {
        let PoolPlan { spec, loaded, .. } = plan;
        let bounds = Bounds::of(spec, &loaded.manifest);
        let around = Surroundings {
            tls: self.options.tls.clone(),
            metrics: Arc::new(self.metrics.plugin(&spec.name, B::FUNCTIONS)),
            custom: self.metrics.custom.clone(),
            named: self.metrics.named.clone(),
            before: plan.before,
            kept: plan.kept,
            http: (bounds.http_concurrency, bounds.http_response),
            kv: bounds.kv,
            llm: (self.models.clone(), bounds.llm),
            on_rest: self.options.on_rest.clone(),
            component: (&loaded.source.component(), &loaded.digest),
        };
        let context = Context::new(&loaded.manifest, spec, around)?;
        if let Some(recorder) = &spec.record {
            recorder.warn_of(&spec.name);
        }
        let parts = Parts {
            context: Arc::new(context),
            loaded,
            bounds,
            isolation: match &spec.record {
                Some(_) => Isolation::Call,
                None => spec.isolation,
            },
            fail: spec.fail_policy(),
            engine: self.engine.clone(),
            tasks: self.tasks.clone(),
        };
        let pool = Pool::new(parts).map_err(|reason| LoadError::new(&spec.name, reason))?;
        let pool = Arc::new(pool);
        match pool.warm_up(plan.instances).await {
            Ok(()) => {}
            // What is not there yet may be there when it is needed.
            Err(fault @ (Fault::Plugin(PluginError::Unavailable(_)) | Fault::Overloaded)) => {
                tracing::warn!(plugin = spec.name, "the plugin is not ready yet: {fault}");
            }
            Err(fault) => return Err(LoadError::new(&spec.name, fault)),
        }
        let trimmed: Arc<dyn AnyPool> = pool.clone();
        if let Some(pools) = self.pools.lock().as_mut() {
            pools.retain(|pool| pool.strong_count() > 0);
            pools.push(Arc::downgrade(&trimmed));
        }
        Ok(pool)
    }

    /// Tells, without keeping anybody waiting, when the tag beside a pinned digest leads elsewhere by now.
    fn watch_tags(&self, sources: &Sources) {
        let pinned: Vec<_> = sources
            .fetched
            .references()
            .filter(|reference| reference.digest.is_some() && reference.tag.is_some())
            .cloned()
            .collect();
        if pinned.is_empty() {
            return;
        }
        let (registries, stop) = (sources.registries.clone(), self.stop.clone());
        self.tasks.spawn(stop.run_until_cancelled_owned(async move {
            for reference in pinned {
                if let Some(now) = Pulled::moved(&registries, &reference).await {
                    tracing::warn!(
                        "{reference} stays what the configuration pins, but its tag leads to {now} by now"
                    );
                }
            }
        }));
    }

    /// Starts, once, the task that drops instances nobody called for long.
    fn start_trimming(self: &Arc<Self>) {
        let mut pools = self.pools.lock();
        if pools.is_some() {
            return;
        }
        *pools = Some(Vec::new());
        drop(pools);
        let host = Arc::downgrade(self);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let mut interval = tokio::time::interval(TRIM_INTERVAL);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    _ = interval.tick() => {}
                }
                let Some(host) = host.upgrade() else { return };
                let pools: Vec<_> = host
                    .pools
                    .lock()
                    .iter()
                    .flatten()
                    .filter_map(Weak::upgrade)
                    .collect();
                for pool in pools {
                    pool.trim(Instant::now());
                }
            }
        });
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

/// Works on threads that end with the work. A compiler's memory goes with them, where threads that
/// stay would keep tens of megabytes for the next time.
fn apart<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let threads = rayon::ThreadPoolBuilder::new()
        .thread_name(|number| format!("plugin-load-{number}"))
        .build();
    match threads {
        Ok(threads) => threads.install(work),
        Err(_) => work(),
    }
}
