//! From a loaded configuration to the parts that serve it. Only this room knows both sides.

mod alerts;
mod dialects;
mod models;
mod paths;
mod plugin_models;
mod plugins;
mod prompts;
mod provider_port;
mod providers;
mod recorder;
mod secrets;
mod settings;
mod shades;
mod shadow;
mod specs;
mod trace;
mod upstream;

use std::collections::HashMap;
use std::sync::Arc;

use witgate_config::Loaded;
use witgate_events::{AlertSettings, HubConfig};
use witgate_pipeline::Snapshot;
use witgate_plugins::{Host, PluginId, Progress, ProgressHook, Registry};

use crate::cli::Recorded;

pub use paths::Paths;
pub use plugin_models::Models;
pub use recorder::{Fanout, Ledger};
pub use secrets::{Read, Secrets, needs_reading};
pub use shadow::{Background, Report as ShadowReport, ShadowMetrics};
pub use specs::plugin_specs;
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
    /// The upstream clients.
    pub upstreams: Upstreams,
    /// Where plugins are found.
    pub paths: Paths,
    /// What the configuration that serves was resolved with.
    pub secrets: Secrets,
    /// `LIMIT_CONCURRENCY`: calls at a time.
    pub concurrency: Option<usize>,
    /// Where plugins in shadow judge.
    pub background: Background,
    /// What is counted of them.
    pub shadow_metrics: ShadowMetrics,
    /// What they found so far.
    pub shadows: Reports,
    /// `witgate plugin record`: whose calls are recorded.
    pub record: Option<Recorded>,
}

/// Builds everything, or says every reason why not.
pub async fn wire(
    loaded: &Loaded,
    kept: &mut Kept,
    previous: Option<&Registry>,
) -> Result<Wired, Vec<String>> {
    let sources = kept.paths.sources();
    let mut specs = plugin_specs(loaded, &sources).map_err(|error| vec![format!("{error:#}")])?;
    if let Some(wanted) = &kept.record {
        specs::record(&mut specs, wanted).map_err(|error| vec![error.to_string()])?;
    }
    let (plugins, errors) = kept.host.load(specs, &sources, previous).await;
    let problems = errors.iter().map(ToString::to_string).collect();
    assemble(loaded, kept, plugins, problems)
}

/// Builds everything around plugins that are loaded already.
pub fn assemble(
    loaded: &Loaded,
    kept: &mut Kept,
    plugins: Registry,
    mut problems: Vec<String>,
) -> Result<Wired, Vec<String>> {
    let sources = kept.paths.sources();
    // Read a second time: which components there are may have changed, and loading them has told so.
    let prompt_managers = prompts::wanted(loaded, &sources).unwrap_or_default();
    let served = prompts::served(loaded, &prompt_managers);
    let prompts = prompts::prompts(loaded, prompt_managers, &plugins, &mut problems);
    let models = models::models(&served, &mut kept.upstreams, &plugins, &mut problems);
    let mut shades = shades::Shades::new(loaded, &plugins, kept);
    let guardrails = specs::guardrails(loaded, &plugins, &mut shades, &mut problems);
    let access = specs::access(loaded, &plugins, &mut shades, &mut problems);
    let shadows = shades.reports;
    let hub = specs::hub(loaded, &plugins, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    let (routing, targets) = models;
    kept.shadows.clone_from(&shadows);
    Ok(Wired {
        snapshot: Snapshot {
            routing,
            targets,
            access,
            guardrails,
            prompts,
            settings: settings::settings(loaded, kept.concurrency),
        },
        hub,
        alerts: alerts::settings(loaded),
        ledger: Ledger {
            successes: !loaded.config.general.disable_spend_logs,
            failures: !loaded.config.general.disable_error_logs,
        },
        plugins,
        shadows,
    })
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
