//! From a loaded configuration to the parts that serve it. Only this room knows both sides.

mod alerts;
mod auth_cache;
mod auto_routers;
mod balanced;
mod bearers;
mod budget_alerts;
mod caching;
mod client_headers;
mod client_side;
mod connection;
mod control;
mod cron;
mod dialects;
mod disabled;
mod docs;
mod entry;
mod federation;
mod gateway_budget;
mod herald;
mod hooks;
mod inferred;
pub mod jobs;
mod keys;
mod letters;
mod login;
mod look;
mod metering;
mod models;
mod outgoing;
mod own_calls;
mod passages;
mod paths;
mod peers;
mod plugin_models;
mod plugins;
mod printed;
mod prompts;
mod provider_port;
pub(crate) mod providers;
mod recorder;
mod redis;
mod router;
mod routing;
mod secrets;
mod services;
mod settings;
mod shades;
mod shadow;
mod shared_health;
mod sources;
mod specs;
mod spend_buffer;
mod spend_logs_url;
mod spend_reports;
pub mod stored;
mod stored_texts;
mod trace;
mod upstream;

use std::collections::HashMap;
use std::sync::Arc;

use crate::cli::Recorded;
use witgate_config::Loaded;
use witgate_events::{AlertSettings, HubConfig};
use witgate_pipeline::Snapshot;
use witgate_plugins::{Host, PluginId, Progress, ProgressHook, Registry, Sources};

pub use alerts::{listed as listed_alerters, webhooks as alert_webhooks};
pub use budget_alerts::BudgetAlerts;
pub use caching::{Answers, bucket_client, config_bucket};
pub use connection::one_deployment;
pub use disabled::Disabled;
pub use docs::docs;
pub use entry::master_key;
pub use federation::{Providers, vouches};
pub use gateway_budget::begin_periods;
pub use herald::Deeds;
pub use keys::{Keys, Known};
pub use letters::Letters;
pub use login::StoredUsers;
pub use metering::Heard;
pub use outgoing::proxies;
pub(crate) use passages::unreachable;
pub use paths::Paths;
pub use peers::{SharedPeers, synchronise};
pub use plugin_models::Models;
pub use recorder::{Fanout, Ledger, spend_options};
pub use redis::reach as reach_redis;
pub use secrets::{Read, Secrets, needs_reading};
pub use services::{Services, tell_of_audit};
pub use shadow::{Background, Report as ShadowReport, ShadowMetrics};
pub use sources::{registries, sources, trust};
pub use specs::{custom_auth_mode, plugin_specs};
pub use spend_buffer::SpendBuffer;
pub use spend_logs_url::send_rows;
pub use spend_reports::Reports as SpendReports;
pub use stored_texts::StoredTexts;
pub use trace::W3c;
pub use upstream::Upstreams;

/// What one configuration becomes.
pub struct Wired {
    /// For the pipeline.
    pub snapshot: Snapshot,
    /// For the hub.
    pub hub: HubConfig,
    /// For whoever watches over calls.
    pub alerts: AlertSettings,
    /// For the ledger.
    pub ledger: Ledger,
    /// When the jobs of the database are done; taken at start.
    pub timetable: jobs::Timetable,
    /// Days between spend reports, and how soon after a start the first one comes.
    pub spend_reports: (u32, std::time::Duration),
    /// For the control plane.
    pub control: witgate_management::Settings,
    /// For the desk where people sign in.
    pub login: witgate_login::Rules,
    /// The loaded plugins.
    pub plugins: Registry,
    /// What their shadows found.
    pub shadows: Reports,
}

/// What the shadows of plugins found.
pub type Reports = HashMap<PluginId, Arc<ShadowReport>>;

/// What outlives a configuration.
pub struct Kept {
    /// The plugin host.
    pub host: Arc<Host>,
    /// The virtual keys.
    pub keys: Arc<Keys>,
    /// Those that are in memory.
    pub known: Known,
    /// The control plane.
    pub plane: Arc<witgate_management::ControlPlane>,
    /// Identity providers that vouch for callers.
    pub providers: federation::Providers,
    /// Where answers are kept.
    pub answers: Answers,
    /// The Redis that is shared with other gateways.
    pub redis: Option<Arc<witgate_state::Redis>>,
    /// What a Redis is given.
    pub redis_parts: witgate_state::RedisParts,
    /// The gateways it is shared with.
    pub peers: SharedPeers,
    /// What callers take of their limits.
    pub limiter: Arc<witgate_metering::Limiter>,
    /// What they spend of their budgets.
    pub books: Arc<witgate_metering::Books>,
    /// The upstream clients.
    pub upstreams: Upstreams,
    /// Where plugins are found.
    pub paths: Paths,
    /// What the configuration that serves was resolved with.
    pub secrets: Secrets,
    /// Virtual keys in the secret manager.
    pub texts: Arc<StoredTexts>,
    /// `LIMIT_CONCURRENCY`: calls at a time.
    pub concurrency: Option<usize>,
    /// Where plugins in shadow judge.
    pub background: Background,
    /// What is counted of them.
    pub shadow_metrics: ShadowMetrics,
    /// What they found so far.
    pub shadows: Reports,
    /// What automatic routers know as vectors.
    pub auto_known: auto_routers::Known,
    /// Which plugins an administrator turned off.
    pub disabled: Disabled,
    /// `witgate plugin record`: whose calls are recorded.
    pub record: Option<Recorded>,
}

/// Builds everything, or says every reason why not.
pub async fn wire(
    loaded: &Loaded,
    kept: &mut Kept,
    previous: Option<&Registry>,
) -> Result<Wired, Vec<String>> {
    let sources = sources(&kept.paths, loaded).await?;
    let mut specs = plugin_specs(loaded, &sources).map_err(|error| vec![format!("{error:#}")])?;
    if let Some(wanted) = &kept.record {
        specs::record(&mut specs, wanted).map_err(|error| vec![error.to_string()])?;
    }
    let (plugins, errors) = kept.host.load(specs, &sources, previous).await;
    let errors = specs::of_rows(&loaded.config, login::apart(loaded, errors));
    let errors = router::explained(&loaded.config, errors);
    let plugins = kept.disabled.apply(plugins);
    let problems = errors.iter().map(ToString::to_string).collect();
    let wired = assemble(loaded, kept, &sources, plugins, problems)?;
    let metering = &wired.snapshot.settings.metering;
    if let Some(scope) = &metering.gateway {
        let now = jiff::Timestamp::now();
        let resets = wired.timetable.budgets();
        let opened =
            gateway_budget::open(&kept.plane.store, scope, &metering.clock, resets, now).await;
        if let Err(error) = opened {
            tracing::warn!(%error, "what the whole gateway has spent cannot be read: only what it spends from now on counts");
        }
    }
    for plugin in wired.plugins.statuses().iter().filter(|one| !one.enabled) {
        let plugin = plugin.description.name.as_str();
        tracing::warn!(
            plugin,
            "the plugin stays disabled, as an administrator had it"
        );
    }
    Ok(wired)
}

/// Builds everything around plugins that are loaded already.
pub fn assemble(
    loaded: &Loaded,
    kept: &mut Kept,
    sources: &Sources,
    plugins: Registry,
    mut problems: Vec<String>,
) -> Result<Wired, Vec<String>> {
    // Read a second time: which components there are may have changed, and loading them has told so.
    let prompt_managers = prompts::wanted(loaded, sources).unwrap_or_default();
    let served = prompts::served(loaded, &prompt_managers);
    let prompts = prompts::prompts(loaded, prompt_managers, &plugins, &mut problems);
    let models = models::models(&served, &mut kept.upstreams, &plugins, &mut problems);
    let keys = kept.keys.clone();
    let mut shades = shades::Shades::new(loaded, &plugins, kept);
    let guardrails = specs::guardrails(loaded, &plugins, &mut shades, &mut problems);
    let mut access = specs::access(loaded, &plugins, &keys, &mut shades, &mut problems);
    access.federation = federation::federation(
        loaded,
        &kept.providers,
        &plugins,
        &keys,
        &mut shades,
        &mut problems,
    );
    let shadows = shades.reports;
    let may_bring = (access.client_credentials, models.1.as_slice());
    let clients_way = client_side::way(loaded, &mut kept.upstreams, may_bring, &mut problems);
    let hooks = hooks::entries(loaded, &plugins);
    let routers = router::entries(&loaded.config, &plugins);
    let passages = passages::passages(loaded, &mut kept.upstreams, &mut problems);
    let policies = specs::key_policies(loaded, &plugins, &mut problems);
    let timetable = jobs::Timetable::of(loaded, &mut problems);
    let spend_report_days = spend_reports::frequency(loaded, &mut problems);
    let hub = specs::hub(loaded, &plugins, &mut problems);
    let login = login::rules(loaded, &plugins, &mut problems);
    let store = redis::store(loaded, &mut kept.redis, &kept.redis_parts, &mut problems);
    let metering = metering::metering(loaded, &mut problems);
    let proxies = outgoing::proxies(&loaded.environment);
    let proxies = proxies.map_err(|problem| problems.push(problem));
    let control = control::settings(loaded, policies, metering.clock.clone(), &mut problems);
    let adjustments = settings::adjustments(loaded, &mut problems);
    let (cache, embedder) = caching::cache(
        loaded,
        &mut kept.answers,
        store.as_ref(),
        &models.0,
        &mut problems,
    )
    .unzip();
    if !problems.is_empty() {
        return Err(problems);
    }
    let flag = |section: &str, key: &str| {
        let section = loaded.config.raw.get(section);
        let value = section.and_then(|section| section.get(key));
        value.and_then(serde_json::Value::as_bool).unwrap_or(false)
    };
    kept.known.configure(loaded);
    let shares_keys = flag("litellm_settings", "enable_redis_auth_cache");
    if shares_keys && store.is_none() {
        tracing::warn!(
            "litellm_settings.enable_redis_auth_cache: there is no Redis that gateways share, so each reads keys itself"
        );
    }
    let shared_keys = store.clone().filter(|_| shares_keys);
    kept.known.shared().configure(shared_keys);
    kept.books.silence(alerts::budget_silence(loaded));
    kept.limiter
        .configure(metering::rules(loaded), store.as_ref());
    let mut settings = settings::settings(loaded, kept.concurrency, metering, adjustments);
    settings.guards_models = models.1.iter().any(|target| !target.guardrails.is_empty());
    let shared_health = shared_health::turns(store.as_ref(), loaded, &settings.health);
    let peers = peers::serving(store, loaded, &kept.peers, &kept.books);
    let (routing, targets) = models;
    let auto = auto_routers::parts(
        loaded,
        &routing,
        &kept.answers.gateway,
        &mut kept.auto_known,
    );
    kept.shadows.clone_from(&shadows);
    witgate_outbound::use_ipv4_only(flag("litellm_settings", "force_ipv4"));
    if let Ok(proxies) = proxies {
        witgate_outbound::use_proxies(proxies);
    }
    Ok(Wired {
        snapshot: Snapshot {
            state: witgate_routing::State::new(&routing),
            peers: peers.map(|peers| peers as Arc<dyn witgate_pipeline::Peers>),
            routing,
            targets,
            clients_way,
            access,
            guardrails,
            prompts,
            hooks,
            routers,
            auto,
            cache,
            embedder: embedder.flatten(),
            shared_health,
            passages,
            settings,
        },
        hub,
        alerts: alerts::settings(loaded),
        ledger: Ledger {
            successes: !loaded.config.general.disable_spend_logs,
            failures: !loaded.config.general.disable_error_logs,
            totals: !flag("general_settings", "disable_spend_updates"),
            prompts: recorder::prompts(loaded),
            streams: !flag("litellm_settings", "disable_streaming_logging"),
            end_users: !flag("litellm_settings", "disable_end_user_cost_tracking"),
            buffer: spend_buffer::Rules::of(loaded),
        },
        timetable,
        spend_reports: (spend_report_days, spend_reports::first_after(loaded)),
        control,
        login,
        plugins,
        shadows,
    })
}

/// The model list as routing reads it, without anything that serves it.
pub fn routing_of(loaded: &Loaded) -> Result<witgate_routing::Snapshot, Vec<String>> {
    let mut problems = Vec::new();
    let snapshot = models::routing(loaded, &mut problems);
    match problems.is_empty() {
        true => Ok(snapshot),
        false => Err(problems),
    }
}

/// What a start would refuse although every key by itself is right, by the section it is in. Nothing is opened
/// for that but files that the configuration names.
pub fn problems(loaded: &Loaded) -> Vec<(&'static str, String)> {
    redis::problem(loaded).into_iter().collect()
}

/// The kinds of alerts that are told.
pub fn alert_kinds(loaded: &Loaded) -> Vec<witgate_events::AlertKind> {
    alerts::settings(loaded).kinds
}

/// Tells of long compilations on standard error.
pub fn progress_on_stderr() -> ProgressHook {
    Arc::new(|step| match step {
        Progress::Compiling { component, bytes } => {
            tracing::info!(component, bytes, "compiling a plugin for the first time");
        }
        Progress::Compiled { component, elapsed } => {
            tracing::info!(
                component,
                ms = elapsed.as_millis() as u64,
                "plugin compiled"
            );
        }
    })
}
