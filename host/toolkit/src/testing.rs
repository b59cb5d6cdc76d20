//! `witgate plugin test`, `run` and `check`: plugins in the real host, under their limits, in a scripted world.
//!
//! A case is a folder below `cases/` in the plugin's: `case.yaml` has settings, input and the answers of the other side
//! ([`case`]), `expected.yaml` what came of it and which requests were made ([`diff`] compares). [`conformance`] asks
//! what every plugin of a kind must do, whatever it is for.

pub mod case;
pub mod conformance;
pub mod diff;

pub(crate) mod drive;
mod hook;
mod key_policy;
mod prompt;
mod provider;
mod router;
mod secret_manager;
mod sso;
pub(crate) mod view;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use witgate_plugins::{Host, Kind, Manifest, Source, Sources};

use case::{Case, CaseError};
use drive::Scene;

/// A built component and the folder of its cases.
#[derive(Debug, Clone)]
pub struct Tested {
    /// The component.
    pub component: PathBuf,
    /// The plugin folder.
    pub folder: PathBuf,
}

/// What became of a case.
#[derive(Debug, Clone)]
pub struct CaseReport {
    /// Name of the case: its folder's.
    pub name: String,
    /// What is not as expected; empty when the case passed.
    pub problems: Vec<String>,
    /// Lines that the plugin logged.
    pub log: Vec<String>,
    /// `expected.yaml` was written anew.
    pub blessed: bool,
}

/// Why cases could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The plugin has none.
    #[error(
        "{0}: the plugin has no cases; add {0}/cases/NAME/case.yaml, run `witgate plugin test --bless` and read what it wrote"
    )]
    NoCases(PathBuf),
    /// A case cannot be read.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// The component cannot be read.
    #[error("{0}")]
    Component(String),
    /// An expectation cannot be written.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// Runs the cases of a plugin; only the one with this name, when given. With `bless`, what came of them becomes
/// what is expected.
///
/// # Errors
/// When a case cannot be read, or there is none.
pub async fn test(
    host: &Arc<Host>,
    tested: &Tested,
    only: Option<&str>,
    bless: bool,
) -> Result<Vec<CaseReport>, TestError> {
    let manifest = manifest(&tested.component)?;
    let mut cases = case::read_all(&tested.folder)?;
    if cases.is_empty() {
        return Err(TestError::NoCases(tested.folder.clone()));
    }
    cases.retain(|case| only.is_none_or(|name| case.name == name));
    let scenes = cases
        .iter()
        .map(|case| Scene::of_case(case, &manifest))
        .collect::<Vec<_>>();
    let results = drive::play(host, &tested.component, &manifest, scenes).await;
    let mut reports = Vec::new();
    for (case, result) in cases.into_iter().zip(results) {
        let actual = result.as_value();
        let path = case.folder.join("expected.yaml");
        let mut problems = result.problems;
        let expected = read_expected(&path)?;
        let differs = expected.as_ref() != Some(&actual);
        let fault = result.result.get("fault").and_then(Value::as_str);
        problems.extend(fault.map(str::to_owned));
        // A crash is never what is expected.
        let blessed = bless && differs && fault.is_none();
        if blessed {
            let text = serde_yaml::to_string(&actual).unwrap_or_default();
            std::fs::write(&path, text).map_err(|error| TestError::File {
                path: path.clone(),
                error,
            })?;
        } else if let Some(expected) = expected {
            problems.extend(diff::diff(&expected, &actual));
        } else {
            problems.push(format!(
                "there is no {}; `witgate plugin test --bless` would write:\n{}",
                path.display(),
                diff::yaml(&actual)
            ));
        }
        reports.push(CaseReport {
            name: case.name,
            problems,
            log: result.log,
            blessed,
        });
    }
    Ok(reports)
}

/// Runs one input; the result and the requests, as JSON. With `network`, requests are really sent, and time and
/// randomness are real.
///
/// # Errors
/// When the component cannot be read.
pub async fn run(
    host: &Arc<Host>,
    component: &Path,
    case: &Case,
    network: bool,
) -> Result<(Value, Vec<String>), TestError> {
    let manifest = manifest(component)?;
    let mut scene = Scene::of_case(case, &manifest);
    scene.real = network;
    let result = drive::play(host, component, &manifest, vec![scene])
        .await
        .into_iter()
        .next()
        .unwrap_or_default();
    let mut value = result.as_value();
    if !result.problems.is_empty()
        && let Some(object) = value.as_object_mut()
    {
        object.insert("problems".to_owned(), result.problems.into());
    }
    Ok((value, result.log))
}

/// The manifest of a component.
pub(crate) fn manifest(component: &Path) -> Result<Manifest, TestError> {
    let source = Source::File(component.to_owned());
    let (manifest, _, _) = source
        .examine()
        .map_err(|error| TestError::Component(error.to_string()))?;
    Ok(manifest)
}

fn read_expected(path: &Path) -> Result<Option<Value>, TestError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(TestError::File {
                path: path.to_owned(),
                error,
            });
        }
    };
    let value = serde_yaml::from_str(&text).map_err(|error| CaseError::Malformed {
        path: path.to_owned(),
        text: error.to_string(),
    })?;
    Ok(Some(value))
}

/// Nothing is found by name: components are given by their paths.
fn no_sources() -> Sources {
    Sources::default()
}

/// The function that a case of this plugin means when it does not say.
fn default_call(manifest: &Manifest) -> &'static str {
    match manifest.kind {
        Kind::LogSink => "deliver",
        Kind::Alerter => "send",
        Kind::Guardrail => "check",
        Kind::Provider => "build_request",
        Kind::Authenticator => "authenticate",
        Kind::PromptManager => "get_chat_completion_prompt",
        Kind::KeyPolicy => "judge",
        Kind::Router => "pick",
        Kind::Sso => match manifest.roles.first().map(String::as_str) {
            Some("mapping") => "map_user",
            Some("sign-in") => "sign_in",
            _ => "exchange",
        },
        Kind::SecretManager => "read",
        Kind::RequestHook => "pre_call",
    }
}
