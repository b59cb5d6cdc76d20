//! What a plugin can do beyond computing: each interface it may import, under its grants.
//!
//! One [`Context`] per configured plugin holds what was granted; one [`State`] per instance holds the
//! call under way. A refusal is a normal error whose text shows what would allow it.

mod body;
mod egress;
mod files;
mod http;
mod jwt;
mod kv;
mod llm;
mod log;
mod mail;
mod outgoing;
mod request;
mod secrets;
mod settings;
mod sign;
mod small;
mod state;
mod taped;
mod wasi;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use wasmtime::component::{HasSelf, Linker};
use witgate_outbound::TlsOptions;

pub use body::{BodyView, Text, View};
pub use kv::RequestMemory;
pub(crate) use kv::{Limits as KvLimits, Values};
pub(crate) use llm::stream::Streams;
pub use llm::stream::{AnswerStream, ModelChunk, ModelStream};
pub(crate) use llm::{Door, Limits as LlmLimits};
pub use llm::{ModelAnswer, ModelCall, ModelFailure, Models, NoModelAnswer};
pub(crate) use log::{Level, Ring};
pub use log::{LogLine, LogSource};
pub use outgoing::NoResponse;
pub use request::{RequestFacts, RequestScope};
pub use secrets::SecretHandle;
pub(crate) use state::State;

use crate::kept::Kept;
use crate::manifest::setting_reference;
use crate::metrics::{Book, Custom, Named, PluginMetrics};
use crate::record::tape::shown;
use crate::record::{Session, Take};
use crate::registry::Description;
use crate::spec::EnvLookup;
use crate::world::Scripted;
use crate::{LoadError, Manifest, PluginSpec, RestHook};

use files::Files;
use log::Log;
use outgoing::Outgoing;
use settings::Settings;
use sign::{Roles, Tokens};

/// What one configured plugin may touch.
pub(crate) struct Context {
    pub(crate) name: Arc<str>,
    pub(crate) metrics: Arc<PluginMetrics>,
    settings: Settings,
    env: BTreeSet<String>,
    env_lookup: EnvLookup,
    pub(crate) outgoing: Outgoing,
    files: Files,
    pub(crate) log: Log,
    kv: kv::Store,
    models: llm::Access,
    pub(crate) on_rest: RestHook,
    custom: Custom,
    pub(crate) named: Arc<Book>,
    /// How the names of its metrics may begin.
    metric_prefixes: Vec<String>,
    roles: Roles,
    tokens: Tokens,
    key_sets: jwt::KeySets,
    pub(crate) world: Scripted,
    /// When its calls are recorded or replayed.
    pub(crate) recorded: Option<Arc<Session>>,
}

/// What the host gives to every plugin's context.
pub(crate) struct Surroundings<'a> {
    pub(crate) tls: TlsOptions,
    pub(crate) metrics: Arc<PluginMetrics>,
    pub(crate) custom: Custom,
    pub(crate) named: Named,
    /// The metrics under exact names of those whose place it takes.
    pub(crate) before: Vec<Arc<Book>>,
    /// What its name keeps from one component to the next.
    pub(crate) kept: Kept,
    /// HTTP exchanges at once, and bytes of a response.
    pub(crate) http: (usize, usize),
    /// Bounds of what it keeps.
    pub(crate) kv: KvLimits,
    /// The way to models, and how much of them it may use.
    pub(crate) llm: (Door, LlmLimits),
    /// Told when it failed too often.
    pub(crate) on_rest: RestHook,
    /// Where the component is, and its digest.
    pub(crate) component: (&'a str, &'a str),
}

impl Context {
    /// Works out settings and grants.
    pub(crate) fn new(
        manifest: &Manifest,
        spec: &PluginSpec,
        around: Surroundings<'_>,
    ) -> Result<Self, LoadError> {
        let name: Arc<str> = spec.name.as_str().into();
        let settings = Settings::resolve(manifest, spec)?;
        let hosts = egress::hosts(manifest, spec, &settings)?;
        let granted = |name: &&String| {
            spec.grants
                .env
                .as_ref()
                .is_none_or(|list| list.contains(*name))
        };
        let (at_once, response_max) = around.http;
        let (door, llm_limits) = around.llm;
        let recorded = spec.record.as_ref().map(|recorder| {
            let settings = settings.for_recording(manifest);
            let recorder = recorder.clone();
            Arc::new(Session::new(
                recorder,
                manifest,
                spec,
                around.component,
                settings,
            ))
        });
        Ok(Self {
            env: manifest.env.iter().filter(granted).cloned().collect(),
            env_lookup: spec.env.clone(),
            outgoing: Outgoing::new(
                name.clone(),
                hosts,
                around.tls,
                around.metrics.clone(),
                at_once,
                response_max,
                spec.world.clone(),
            ),
            files: Files::granted(manifest, spec),
            log: Log::new(
                name.clone(),
                settings.secret_values().cloned().collect(),
                spec.world.clone(),
                around.kept.log,
            ),
            world: spec.world.clone(),
            recorded,
            kv: kv::Store::new(around.kept.values, around.kv),
            models: llm::Access::new(manifest, spec, &settings, door, llm_limits),
            on_rest: around.on_rest,
            metrics: around.metrics,
            custom: around.custom,
            // What a scripted plugin counts is on no page, and several may count the same. A shadow would count what
            // the plugin beside it counts.
            named: match spec.world.is_some() || spec.is_shadow() {
                true => Named::default().book(&name, &[]),
                false => around.named.book(&name, &around.before),
            },
            metric_prefixes: manifest.metrics.clone(),
            roles: Roles::default(),
            tokens: Tokens::default(),
            key_sets: jwt::KeySets::default(),
            settings,
            name,
        })
    }

    /// A call of this function is to be recorded, if any is. Its input is asked for only then.
    pub(crate) fn take<T: Serialize>(
        &self,
        function: &'static str,
        input: impl FnOnce() -> T,
    ) -> Take {
        Take::new(self.recorded.as_ref(), function, || shown(&input()))
    }

    /// A number of the manifest, or of the setting that the manifest names in its place.
    pub(crate) fn number(&self, value: &Value) -> Option<f64> {
        match value.as_str().and_then(setting_reference) {
            Some(name) => self.settings.get(name)?.parse().ok(),
            None => value.as_f64(),
        }
    }

    /// One setting that is not secret, as text.
    pub(crate) fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name)
    }

    /// Writes the grants into a row of `witgate plugin list`.
    pub(crate) fn describe(&self, manifest: &Manifest, row: &mut Description) {
        let hosts = self.outgoing.hosts();
        row.egress.clone_from(&hosts.allow);
        row.private.clone_from(&hosts.private);
        row.env = self.env.iter().cloned().collect();
        row.files = self.files.describe();
        row.metrics.clone_from(&self.metric_prefixes);
        row.llm = self.models.granted().to_vec();
        let secret = |name: &String| {
            let reveal = manifest.setting(name).is_some_and(|setting| setting.reveal);
            if reveal {
                format!("{name} (revealed)")
            } else {
                name.clone()
            }
        };
        let granted = manifest.settings.iter().filter(|setting| setting.secret);
        row.secrets = granted
            .filter(|setting| self.settings.secret(&setting.name).is_some())
            .map(|setting| secret(&setting.name))
            .collect();
    }
}

/// Links every interface a plugin may import.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    crate::bindings::Imports::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    wasi::link(linker)
}
