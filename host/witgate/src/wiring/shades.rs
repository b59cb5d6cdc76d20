//! Which plugins have a shadow, by the configuration, and how it is put beside them.

use std::sync::Arc;

use anyhow::{Context, bail};
use witgate_config as config;
use witgate_config::{Config, Loaded};
use witgate_pipeline as pipeline;
use witgate_plugins::{FailPolicy, Kind, PluginId, PluginSpec, Registry};

use super::shadow::{Report, Shadow, ShadowedAuthenticator, ShadowedGuardrail, Share, Unenforced};
use super::specs::entry;
use super::{Kept, Reports, plugins};

/// Percent of the calls that a shadow judges when the configuration does not say.
const SAMPLE: f64 = 100.0;
/// How many at once.
const CONCURRENCY: u32 = 4;

/// The spec of a plugin's shadow, when it has one.
///
/// # Errors
/// What about it cannot be.
pub(super) fn spec(
    entry: Option<&config::PluginEntry>,
    name: &str,
    spec: &PluginSpec,
) -> anyhow::Result<Option<PluginSpec>> {
    let shadow = entry.and_then(|entry| entry.shadow.as_ref());
    let is_alone = spec.fail == Some(FailPolicy::Shadow);
    let (kind, at) = (spec.kind, format!("plugins.{name}"));
    match kind {
        Kind::Guardrail => {}
        Kind::Authenticator if !is_alone => {}
        Kind::Authenticator => {
            bail!(
                "{at}.fail: without a decision that counts nobody could come in; to try another version beside this one, name it in {at}.shadow.source"
            )
        }
        Kind::LogSink | Kind::Alerter if is_alone || shadow.is_some() => {
            bail!(
                "{at}: a {kind} in shadow would deliver everything twice; only guardrails and authenticators judge in shadow"
            )
        }
        Kind::Provider
        | Kind::PromptManager
        | Kind::RequestHook
        | Kind::KeyPolicy
        | Kind::Router
        | Kind::Sso
        | Kind::SecretManager
            if is_alone || shadow.is_some() =>
        {
            bail!(
                "{at}: a {kind} in shadow would judge nothing; only guardrails and authenticators judge in shadow"
            )
        }
        Kind::LogSink
        | Kind::Alerter
        | Kind::Provider
        | Kind::PromptManager
        | Kind::RequestHook
        | Kind::KeyPolicy
        | Kind::Router
        | Kind::Sso
        | Kind::SecretManager => return Ok(None),
    }
    let Some(shadow) = shadow else {
        return Ok(None);
    };
    if is_alone {
        bail!(
            "{at}: with `fail: shadow` there is nothing that a version in {at}.shadow could be compared with; remove one of the two"
        );
    }
    let source = shadow.source.as_ref();
    let source = source.with_context(|| {
        format!("{at}.shadow.source is missing: the path of the other version's .wasm file")
    })?;
    share(shadow).with_context(|| format!("{at}.shadow"))?;
    let mut other = spec.shadow(source);
    other.digest.clone_from(&shadow.digest);
    other.settings.extend(shadow.settings.clone());
    Ok(Some(other))
}

fn share(shadow: &config::PluginShadow) -> anyhow::Result<Share> {
    let percent = shadow.sample.unwrap_or(SAMPLE);
    if !(0.0..=100.0).contains(&percent) {
        bail!("sample: {percent} is no share; it is a number of percent from 0 to 100");
    }
    let concurrency = shadow.concurrency.unwrap_or(CONCURRENCY);
    if concurrency == 0 {
        bail!("concurrency: with 0 at once nothing would be judged; remove the shadow instead");
    }
    Ok(Share {
        percent,
        concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX),
    })
}

/// Puts shadows beside plugins while a configuration is assembled.
pub(super) struct Shades<'a> {
    config: &'a Config,
    registry: &'a Registry,
    kept: &'a Kept,
    /// Those that judge.
    pub(super) reports: Reports,
}

impl<'a> Shades<'a> {
    pub(super) fn new(loaded: &'a Loaded, registry: &'a Registry, kept: &'a Kept) -> Self {
        Self {
            config: &loaded.config,
            registry,
            kept,
            reports: Reports::new(),
        }
    }

    /// The guardrail, with its shadow when it has one; a guardrail that is never enforced is its own.
    pub(super) fn guardrail(
        &mut self,
        name: &str,
        component: &str,
        plugin: Arc<witgate_plugins::Guardrail>,
    ) -> Arc<dyn pipeline::Guardrail> {
        let shadow_name = PluginSpec::shadow_name(name);
        let is_alone = plugin.fail_policy() == FailPolicy::Shadow;
        let other = match is_alone {
            true => Some(plugin.clone()),
            false => self.registry.guardrail(&shadow_name),
        };
        let live: Arc<dyn pipeline::Guardrail> = match is_alone {
            true => Arc::new(Unenforced),
            false => Arc::new(plugins::Guardrail(plugin)),
        };
        match other.filter(|_| self.registry.is_enabled(Kind::Guardrail, &shadow_name)) {
            Some(other) => Arc::new(ShadowedGuardrail {
                live,
                shadow: self.shadow(Kind::Guardrail, name, component, other.digest()),
                other: Arc::new(plugins::Guardrail(other)),
            }),
            None => live,
        }
    }

    /// The authenticator, with its shadow when it has one.
    pub(super) fn authenticator(
        &mut self,
        name: &str,
        component: &str,
        plugin: Arc<witgate_plugins::Authenticator>,
    ) -> Arc<dyn pipeline::Authenticator> {
        let shadow_name = PluginSpec::shadow_name(name);
        let live: Arc<dyn pipeline::Authenticator> = Arc::new(plugins::Authenticator(plugin));
        let is_on = self.registry.is_enabled(Kind::Authenticator, &shadow_name);
        match self.registry.authenticator(&shadow_name).filter(|_| is_on) {
            Some(other) => Arc::new(ShadowedAuthenticator {
                live,
                shadow: self.shadow(Kind::Authenticator, name, component, other.digest()),
                other: Arc::new(plugins::Authenticator(other)),
            }),
            None => live,
        }
    }

    fn shadow(&mut self, kind: Kind, name: &str, component: &str, digest: &str) -> Arc<Shadow> {
        let entry = entry(self.config, name, component);
        let configured = entry.and_then(|entry| entry.shadow.as_ref());
        // Checked when the plugins were listed.
        let share = configured.and_then(|shadow| share(shadow).ok());
        let share = share.unwrap_or(Share {
            percent: SAMPLE,
            concurrency: CONCURRENCY as usize,
        });
        let plugin = PluginId {
            kind,
            name: name.to_owned(),
        };
        let before = self.kept.shadows.get(&plugin);
        let report = Report::of(name, digest, before, &self.kept.shadow_metrics);
        self.reports.insert(plugin, report.clone());
        Arc::new(Shadow::new(self.kept.background.clone(), share, report))
    }
}
