//! A new configuration in place of the old one, without stopping: by SIGHUP, `POST /config/reload` or
//! because a file changed.
//!
//! The new configuration is loaded, checked and built beside the one that serves. Only when all of it works
//! are the snapshot, the sinks and the ledger's switches swapped; calls under way finish on what they started
//! with. A configuration that is refused changes nothing.
//!
//! Secrets are asked of their manager when somebody asks for the reload, else when their time is over; one that changed
//! makes a reload by itself. So does a change of what the database holds of the configuration, over the files as they were
//! last accepted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use witgate_config::{Draft, Env, Loaded, Problem};
use witgate_login::Desk;
use witgate_management::{ControlPlane, StoredRows};
use witgate_pipeline::{Checked, Gateway, HealthRecord};
use witgate_plugins::{Kind, LoadError, NotMeant, PluginId, Registry as Plugins};
use witgate_server::routes::{
    Admin, Change, Earlier, Refused, ReloadProblems, ServiceFault, TestConnection, Which,
};

use crate::cost_map::CostMap;
use crate::source::Place;
use crate::wiring::jobs::Timetable;
use crate::wiring::stored::{self, How, LeftOut};
use crate::wiring::{self, Fanout, Kept, Known, Read, Reports, ShadowReport, SharedPeers, Wired};
use crate::{health_admin, health_records, memory};

/// Editors and ConfigMaps change a file in several steps; the reload waits until they are through.
const SETTLE: Duration = Duration::from_millis(250);

/// What a reload needs, and changes.
pub struct Reloader {
    /// Where the configuration is.
    pub place: Place,
    /// The process's variables.
    pub env: Env,
    /// What outlives a configuration.
    pub kept: Kept,
    /// `--strict-config`
    pub strict: bool,
    /// What the database holds of the configuration, as it is in force.
    pub rows: StoredRows,
    /// What of that could not be served.
    pub left_out: LeftOut,
    /// Of those who wanted it read, how many that has in it: whoever came before the reading began.
    pub read_for: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

/// The process as its signals see it.
pub struct Control {
    reloader: Mutex<Reloader>,
    /// The files of the configuration that serves.
    base: ArcSwap<Draft>,
    loaded: ArcSwap<Loaded>,
    plugins: ArcSwap<Plugins>,
    shadows: ArcSwap<Reports>,
    gateway: Arc<Gateway>,
    fanout: Arc<Fanout>,
    desk: Arc<Desk>,
    timetable: watch::Sender<Timetable>,
    plane: Arc<ControlPlane>,
    known: Known,
    cost_map: CostMap,
    peers: SharedPeers,
    redis_parts: witgate_state::RedisParts,
    reloads: Family<ReloadLabels, Counter>,
    /// How often somebody wanted to have in force what the database holds.
    readings: AtomicU64,
    /// Told after each reload: other secrets may be due.
    reloaded: Notify,
}

impl Control {
    /// Controls a gateway that serves `loaded`.
    pub fn new(
        reloader: Reloader,
        (base, loaded, plugins): (Draft, Loaded, Plugins),
        gateway: Arc<Gateway>,
        fanout: Arc<Fanout>,
        desk: Arc<Desk>,
        timetable: watch::Sender<Timetable>,
        registry: &mut Registry,
    ) -> Self {
        let reloads = Family::default();
        registry.register(
            "witgate_config_reloads",
            "Reloads of the configuration",
            reloads.clone(),
        );
        Self {
            plane: reloader.kept.plane.clone(),
            known: reloader.kept.known.clone(),
            cost_map: CostMap::default(),
            shadows: ArcSwap::from_pointee(reloader.kept.shadows.clone()),
            peers: reloader.kept.peers.clone(),
            redis_parts: reloader.kept.redis_parts.clone(),
            reloader: Mutex::new(reloader),
            base: ArcSwap::from_pointee(base),
            loaded: ArcSwap::from_pointee(loaded),
            plugins: ArcSwap::from_pointee(plugins),
            gateway,
            fanout,
            desk,
            timetable,
            reloads,
            readings: AtomicU64::new(0),
            reloaded: Notify::new(),
        }
    }

    /// Its files.
    pub fn base(&self) -> Arc<Draft> {
        self.base.load_full()
    }

    /// The configuration that serves.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.load_full()
    }

    /// Reloads, and tells the log how it went.
    pub async fn reload_logged(&self, why: &str, read: Read) {
        match self.reload(read).await {
            Ok(()) => tracing::info!("configuration reloaded ({why})"),
            Err(problems) => {
                let problems = problems.join("\n");
                tracing::error!(
                    "the new configuration is refused ({why}), the old one keeps serving:\n{problems}"
                );
            }
        }
    }

    /// Watches the configuration's files; the watch ends when the returned watcher is dropped.
    pub fn watch(
        self: Arc<Self>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<RecommendedWatcher>> {
        let files = self.loaded().files.clone();
        if files.is_empty() {
            return Ok(None);
        }
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        let names: Vec<PathBuf> = files
            .iter()
            .map(|f| std::path::absolute(f).unwrap_or_else(|_| f.clone()))
            .collect();
        let folders: std::collections::BTreeSet<PathBuf> = names
            .iter()
            .filter_map(|file| file.parent().map(PathBuf::from))
            .collect();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let Ok(event) = event else { return };
                let touches = |path: &PathBuf| {
                    // A ConfigMap is swapped by its folder's `..data` link.
                    names.contains(path) || path.file_name().is_some_and(|name| name == "..data")
                };
                if !event.kind.is_access() && event.paths.iter().any(touches) {
                    notify.notify_one();
                }
            })
            .context("the configuration file cannot be watched")?;
        for folder in folders {
            watcher
                .watch(&folder, RecursiveMode::NonRecursive)
                .with_context(|| format!("{} cannot be watched", folder.display()))?;
        }
        let stop = stop.clone();
        tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = changed.notified() => {}
                    () = stop.cancelled() => break,
                }
                while tokio::time::timeout(SETTLE, changed.notified())
                    .await
                    .is_ok()
                {}
                self.reload_logged("a file changed", Read::Due).await;
            }
        });
        Ok(Some(watcher))
    }

    /// Asks anew about secrets whose time is over, and reloads when one has changed.
    pub async fn keep_secrets_fresh(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.reloader.lock().await.kept.secrets.next();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.reloaded.notified() => continue,
                () = due => {}
            }
            let changed = self.reloader.lock().await.kept.secrets.refresh().await;
            if changed {
                self.reload_logged("a secret changed", Read::Due).await;
            }
        }
    }

    /// Loads the configuration anew, and counts how it went.
    async fn reload(&self, read: Read) -> Result<(), ReloadProblems> {
        let done = self.try_reload(read).await;
        self.reloaded.notify_one();
        let result = if done.is_ok() { "ok" } else { "refused" };
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
        if let Err(problems) = &done {
            self.fanout.watch.reload_refused(problems);
        }
        done
    }

    async fn try_reload(&self, read: Read) -> Result<(), ReloadProblems> {
        let mut reloader = self.reloader.lock().await;
        // Whoever wants to see a change now has a bucket asked; a secret that changed needs no other text.
        let place = match read {
            Read::All => reloader.place.anew(&reloader.env).await,
            Read::Due => Ok(reloader.place.clone()),
        };
        let place = place.map_err(|problem| vec![problem.to_string()])?;
        let base = Draft::read(&place.source, &reloader.env);
        self.put_in_force(&mut reloader, Arc::new(base), read)
            .await?;
        // A text that was refused is not what a reload for another reason goes on with.
        reloader.place = place;
        Ok(())
    }

    /// Builds the configuration of these files with what the database holds now, and puts it in force.
    async fn put_in_force(
        &self,
        reloader: &mut Reloader,
        base: Arc<Draft>,
        read: Read,
    ) -> Result<(), ReloadProblems> {
        let same_files = Arc::ptr_eq(&base, &self.base());
        let serving = self.plugins.load_full();
        let how = How {
            read,
            strict: reloader.strict,
            plugins: Some(&serving),
            last: &reloader.rows,
        };
        let built = stored::build(&base, &mut reloader.kept, how).await?;
        // Of files that were read before, what is new.
        let before = self.loaded();
        let known = |problem: &Problem| same_files && before.problems.contains(problem);
        for problem in built.loaded.problems.iter().filter(|one| !known(one)) {
            tracing::warn!("{problem}");
        }
        stored::tell(&built.left_out, &reloader.left_out);
        self.install(built.wired);
        let place = built.secrets.place(&built.loaded);
        reloader.kept.texts.put(place);
        self.loaded.store(Arc::new(built.loaded));
        self.base.store(base);
        reloader.kept.secrets = built.secrets;
        reloader.rows = built.rows;
        reloader.left_out = built.left_out;
        Ok(())
    }

    /// Puts in force what the database holds of the configuration now; what of it is left out. Those who come while it is being put in
    /// force share the next reading.
    pub async fn read_stored(&self) -> Result<LeftOut, Vec<String>> {
        let own = self.readings.fetch_add(1, Ordering::AcqRel) + 1;
        let mut reloader = self.reloader.lock().await;
        if reloader.read_for >= own {
            return Ok(reloader.left_out.clone());
        }
        let all = self.readings.load(Ordering::Acquire);
        if !stored::is_asked(&self.loaded()) {
            return Ok(LeftOut::new());
        }
        let rows = self.plane.stored_rows().await.map_err(|error| {
            let text = format!("the models and settings of the database cannot be read, those that were read last count: {error}");
            vec![text]
        })?;
        if rows != reloader.rows {
            let done = self
                .put_in_force(&mut reloader, self.base(), Read::Due)
                .await;
            let result = if done.is_ok() { "ok" } else { "refused" };
            self.reloads.get_or_create(&ReloadLabels { result }).inc();
            self.reloaded.notify_one();
            done?;
            tracing::info!(
                "what the database holds of the configuration has changed, and is in force"
            );
        }
        reloader.read_for = all;
        Ok(reloader.left_out.clone())
    }

    /// Reads what the database holds of the configuration again and again, and when another gateway changed it.
    pub async fn keep_stored_fresh(self: Arc<Self>, known: Known, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = known.configured_elsewhere() => {}
                () = tokio::time::sleep(stored::interval(&self.loaded())) => {}
            }
            if let Err(problems) = self.read_stored().await {
                tracing::error!("{}", problems.join("\n"));
            }
        }
    }

    /// Where plugins come from, as the configuration that serves says.
    pub async fn sources(&self) -> Result<witgate_plugins::Sources, Vec<String>> {
        let reloader = self.reloader.lock().await;
        wiring::sources(&reloader.kept.paths, &self.loaded.load_full()).await
    }

    /// Changes one plugin of the configuration that serves; the rest of it stays as it is. Nothing changes
    /// when the new plugin cannot serve.
    pub async fn change_plugin(&self, which: Which, change: Change) -> Result<PluginId, Refused> {
        let mut reloader = self.reloader.lock().await;
        let reloader = &mut *reloader;
        let plugin = meant(&self.plugins.load(), &which)?;
        let host = reloader.kept.host.clone();
        let sources = wiring::sources(&reloader.kept.paths, &self.loaded.load_full()).await;
        let sources = sources.map_err(Refused::Failed)?;
        let serving = self.plugins.load_full();
        let failed = |error: LoadError| Refused::Failed(vec![error.to_string()]);
        let next = match change {
            Change::Reload => host
                .reload(&serving, &plugin, &sources)
                .await
                .map_err(failed)?,
            Change::RollBack => {
                let back = host.roll_back(&serving, &plugin, &sources).await;
                back.map_err(failed)?
            }
            Change::Enable => serving.switched(&plugin, true),
            Change::Disable { force } => {
                self.may_disable(&serving, &plugin, force)?;
                serving.switched(&plugin, false)
            }
        };
        let loaded = self.loaded.load_full();
        let enabled = next.is_enabled(plugin.kind, &plugin.name);
        let wired = wiring::assemble(&loaded, &mut reloader.kept, &sources, next, Vec::new());
        let wired = wired.map_err(Refused::Failed)?;
        let kept = reloader.kept.disabled.keep(&plugin, enabled).await;
        kept.map_err(|error| Refused::Failed(vec![format!("{error:#}")]))?;
        self.install(wired);
        tracing::info!(
            plugin = plugin.name,
            ?change,
            "the plugin was changed by an administrator"
        );
        Ok(plugin)
    }

    /// What turning a plugin off must not do unnoticed: let calls pass that it would have stopped, or stop
    /// all that need it.
    fn may_disable(
        &self,
        serving: &Plugins,
        plugin: &PluginId,
        force: bool,
    ) -> Result<(), Refused> {
        let means = match plugin.kind {
            Kind::Authenticator if self.loaded().config.general.master_key.is_none() => {
                let text = "without a master key nobody could call the gateway then, nor enable the authenticator again; set general_settings.master_key first";
                return Err(Refused::Failed(vec![text.to_owned()]));
            }
            Kind::Authenticator => "only the master key lets anybody in then",
            Kind::PromptManager => "requests that need its prompts fail then",
            Kind::Sso => "nobody can sign in with it then",
            Kind::Provider => "calls to its models fail then, with 503",
            Kind::Guardrail => "it fails closed, and calls pass without its judgement then",
            Kind::RequestHook => "it fails closed, and calls pass without its edits then",
            Kind::KeyPolicy => "virtual keys are made without its judgement then",
            Kind::LogSink | Kind::Alerter | Kind::SecretManager | Kind::Router => return Ok(()),
        };
        let status = serving.status(plugin);
        let is_open = status.is_some_and(|status| status.description.fail != "closed");
        match force || is_open {
            true => Ok(()),
            false => Err(Refused::Unconfirmed(format!(
                "disabling {:?} has to be confirmed with force=true: {means}",
                plugin.name
            ))),
        }
    }

    /// Puts what was built in force. Calls under way finish on what they began with.
    fn install(&self, wired: Wired) {
        let mut snapshot = wired.snapshot;
        // Slots taken by calls under way must count for the calls to come.
        let serving = self.gateway.snapshot.load();
        snapshot.settings.slots.clone_from(&serving.settings.slots);
        snapshot.state = serving.state.continued(&snapshot.routing);
        self.gateway.snapshot.store(Arc::new(snapshot));
        self.fanout.hub.replace(wired.hub);
        self.fanout.watch.configure(wired.alerts);
        self.fanout.ledger.store(Arc::new(wired.ledger));
        self.plane.settings.store(Arc::new(wired.control));
        self.desk.replace(wired.login);
        // Equal ones begin no wait anew.
        self.timetable.send_if_modified(|serving| {
            let changed = *serving != wired.timetable;
            *serving = wired.timetable;
            changed
        });
        self.plugins.store(Arc::new(wired.plugins));
        self.shadows.store(Arc::new(wired.shadows));
    }

    /// What the shadow of a plugin found; `None` when it has none.
    pub fn shadow(&self, plugin: &PluginId) -> Option<Arc<ShadowReport>> {
        self.shadows.load().get(plugin).cloned()
    }

    /// Where events go.
    pub fn hub(&self) -> &witgate_events::Hub {
        &self.fanout.hub
    }

    /// Reaches the Redis of these parameters of a cache, once.
    ///
    /// # Errors
    /// What of them is wrong, or why nobody answers.
    pub async fn reach_redis(&self, params: &serde_json::Map<String, Value>) -> Result<(), String> {
        wiring::reach_redis(&self.loaded(), params, &self.redis_parts).await
    }

    /// What is known of the price map.
    pub fn cost_map(&self) -> &CostMap {
        &self.cost_map
    }

    /// The control plane.
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Whoever was looked up lately.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// The sinks and alerters.
    pub fn fanout(&self) -> &Fanout {
        &self.fanout
    }

    /// The gateway.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The plugins of the configuration that serves.
    pub fn plugins(&self) -> Arc<Plugins> {
        self.plugins.load_full()
    }
}

/// `cache_params.type`, or what it is without; null when no answers are kept.
fn cache_type(loaded: &Loaded) -> Option<String> {
    let litellm = loaded.config.raw.get("litellm_settings")?;
    let is_on = litellm.get("cache").and_then(Value::as_bool) == Some(true);
    let params = litellm.get("cache_params").filter(|p| !p.is_null());
    let named = params.and_then(|params| params.get("type")?.as_str());
    let unnamed = || if params.is_some() { "local" } else { "redis" };
    is_on.then(|| named.unwrap_or_else(unnamed).to_owned())
}

/// The plugin that a request names.
pub fn meant(plugins: &Plugins, which: &Which) -> Result<PluginId, Refused> {
    let kind = which.kind.as_deref().map(|name| {
        let found = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        found.ok_or_else(|| {
            let all = Kind::ALL.map(Kind::as_str).join(", ");
            Refused::Unclear(format!("{name:?} is no kind of plugin; those are {all}"))
        })
    });
    let found = plugins.find(&which.name, kind.transpose()?);
    found.map_err(|error| match error {
        NotMeant::Unknown { .. } => Refused::Unknown(error.to_string()),
        NotMeant::Several { .. } => Refused::Unclear(error.to_string()),
    })
}

/// The process as its routes see it.
pub struct Administration {
    pub(crate) control: Arc<Control>,
    /// The process's own runtime. What a reload starts must not run on a thread that serves.
    pub(crate) runtime: Handle,
}

impl Administration {
    /// Must be called on the process's own runtime.
    pub fn new(control: Arc<Control>) -> Self {
        Self {
            control,
            runtime: Handle::current(),
        }
    }
}

#[async_trait]
impl Admin for Administration {
    async fn reload(&self) -> Result<(), ReloadProblems> {
        let control = self.control.clone();
        // Also when the client leaves meanwhile, it is finished.
        let reloading = self
            .runtime
            .spawn(async move { control.reload(Read::All).await });
        reloading
            .await
            .unwrap_or_else(|error| Err(vec![format!("the reload did not finish: {error}")]))
    }

    async fn test_service(&self, service: &str) -> Result<Value, ServiceFault> {
        health_admin::test_service(&self.control, service).await
    }

    async fn test_connection(&self, wanted: TestConnection) -> Result<Checked, String> {
        health_admin::test_connection(&self.control, wanted).await
    }

    fn memory(&self) -> Value {
        memory::told(&self.control)
    }

    async fn earlier_checks(&self, wanted: &Earlier<'_>) -> Vec<HealthRecord> {
        let earlier = health_records::earlier(&self.control.plane.store, wanted).await;
        earlier.unwrap_or_else(|error| {
            tracing::warn!(%error, "earlier health checks cannot be read; this gateway's own are told");
            Vec::new()
        })
    }

    fn readiness(&self) -> (bool, Value) {
        let control = &self.control;
        let sinks: Vec<String> = control
            .fanout
            .hub
            .state()
            .into_iter()
            .map(|sink| sink.name)
            .collect();
        let fields = serde_json::json!({
            "status": "connected",
            "db": "connected",
            "cache": cache_type(&control.loaded()),
            "redis": control.peers.load().as_ref().map(|peers| peers.standing()),
            "litellm_version": control.gateway.snapshot.load().settings.version.to_str().unwrap_or_default(),
            "witgate_version": env!("CARGO_PKG_VERSION"),
            "success_callbacks": sinks,
            "use_aiohttp_transport": false,
            "log_level": tracing::level_filters::LevelFilter::current().to_string().to_uppercase(),
            "is_detailed_debug": tracing::enabled!(tracing::Level::DEBUG),
        });
        (true, fields)
    }
}
