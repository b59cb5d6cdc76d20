//! What every plugin of a kind must do, whatever it is for. Any component can be run through it.
//!
//! Settings come from the plugin's own cases, else from its manifest. A probe is a scene with a rule for what may come
//! of it; a crash, a timeout or an overrun is never allowed.

mod access;
mod base;
mod calls;
mod events;
mod rules;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use witgate_plugins::{Host, Kind};

use super::drive::{Scene, play};
use super::{TestError, case, manifest};

use base::{Base, Rule, missing_settings};
use rules::{leak, no_fault, quiet};

/// What became of one probe.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was asked.
    pub name: String,
    /// What is wrong, when something is.
    pub problem: Option<String>,
}

/// Runs a component through the suite of its kind. `folder` is where its cases are, if it has any.
///
/// # Errors
/// When it cannot be read, or a case cannot.
pub async fn conformance(
    host: &Arc<Host>,
    component: &Path,
    folder: Option<&Path>,
) -> Result<Vec<Check>, TestError> {
    let manifest = manifest(component)?;
    let cases = folder.map(case::read_all).transpose()?.unwrap_or_default();
    let mut base = Base::of(&cases, &manifest);
    base.heed_refusals(host, component, &manifest).await;
    let secrets = base.secrets(&manifest);
    let loads = "it loads, with its sample settings";
    let mut probes = vec![base.probe(loads, "init", Value::Null, quiet(200), no_fault)];
    probes.extend(missing_settings(&base, &manifest));
    probes.extend(match manifest.kind {
        Kind::LogSink => events::log_sink(&base),
        Kind::Alerter => events::alerter(&base),
        Kind::Guardrail => calls::guardrail(&base, &manifest),
        Kind::Provider => calls::provider(&base),
        Kind::Authenticator => access::authenticator(&base),
        Kind::PromptManager => calls::prompt_manager(&base),
        Kind::KeyPolicy => access::key_policy(&base),
        Kind::Router => calls::router(&base),
        Kind::Sso => access::sso(&base, &manifest),
        Kind::SecretManager => access::secret_manager(&base),
        Kind::RequestHook => calls::request_hook(&base, &manifest),
    });
    let (names, rest): (Vec<_>, Vec<_>) = probes
        .into_iter()
        .map(|probe| (probe.name, (probe.scene, probe.rule)))
        .unzip();
    let (scenes, rules): (Vec<Scene>, Vec<Rule>) = rest.into_iter().unzip();
    let played = play(host, component, &manifest, scenes).await;
    let mut checks: Vec<Check> = names
        .into_iter()
        .zip(rules.iter().zip(&played))
        .map(|(name, (rule, played))| Check {
            name: name.to_owned(),
            problem: rule(played),
        })
        .collect();
    checks.push(Check {
        name: "no secret is in a log line, a result or an error".to_owned(),
        problem: played.iter().find_map(|played| leak(played, &secrets)),
    });
    Ok(checks)
}

/// The folder of the cases that belong to a component: the plugin folder it lies in.
#[must_use]
pub fn cases_beside(component: &Path) -> Option<PathBuf> {
    let folder = component.parent()?;
    folder.join("cases").is_dir().then(|| folder.to_owned())
}
