//! What the probes begin from: settings of the plugin's own cases, else of its manifest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use witgate_plugins::{Host, Manifest, Setting, SettingKind};

use super::super::case::{Case, Exchange};
use super::super::drive::{Played, Scene, play};
use super::super::world::Script;
use super::super::{default_call, read_expected};
use super::rules::{no_fault, quiet};

/// A scene, and what is wrong with what came of it.
pub(super) struct Probe {
    pub(super) name: &'static str,
    pub(super) scene: Scene,
    pub(super) rule: Rule,
}

pub(super) type Rule = Box<dyn Fn(&Played) -> Option<String> + Send>;

/// What stands for a secret when no case gives one.
const SECRET: &str = "conformance-secret-4f3a9c";

/// The settings that the probes begin from.
pub(super) struct Base {
    settings: Map<String, Value>,
    env: std::collections::BTreeMap<String, String>,
    /// Where the files of the settings are.
    folder: Option<PathBuf>,
}

impl Base {
    /// Of the first case that is a normal call, else made of the manifest.
    pub(super) fn of(cases: &[Case], manifest: &Manifest) -> Self {
        let usual = default_call(manifest);
        let refused = |case: &Case| {
            let expected = read_expected(&case.folder.join("expected.yaml"));
            let result = expected
                .ok()
                .flatten()
                .and_then(|value| value.get("result").cloned());
            result.is_some_and(|result| result.get("refused").is_some())
        };
        let normal = cases
            .iter()
            .find(|case| case.call.as_deref().unwrap_or(usual) == usual && !refused(case));
        match normal {
            Some(case) => Self {
                settings: case.settings.clone(),
                env: case.env.clone(),
                folder: Some(case.folder.clone()),
            },
            None => Self {
                settings: sample_settings(manifest),
                env: Default::default(),
                folder: None,
            },
        }
    }

    /// Not all optional settings go together, and some want more than a sample: a file, another setting beside it. So when the
    /// plugin refuses the samples, the optional setting that it names first goes, or comes when it is not there.
    pub(super) async fn heed_refusals(
        &mut self,
        host: &Arc<Host>,
        component: &Path,
        manifest: &Manifest,
    ) {
        let mut heeded: Vec<&str> = Vec::new();
        while self.folder.is_none() {
            let init = self.scene("init", Value::Null, quiet(200));
            let played = play(host, component, manifest, vec![init]).await;
            let refused = played
                .first()
                .and_then(|played| played.result["refused"].as_str());
            let Some(reason) = refused else {
                return;
            };
            let optional = manifest.settings.iter().filter(|one| !one.required);
            let named = optional
                .filter(|one| !heeded.contains(&one.name.as_str()))
                .filter_map(|one| Some((reason.find(&one.name)?, one)))
                // The longest: `token` begins where `token_file` does, too.
                .min_by_key(|(at, one)| (*at, std::cmp::Reverse(one.name.len())));
            let Some((_, setting)) = named else {
                return;
            };
            heeded.push(&setting.name);
            if self.settings.remove(&setting.name).is_none() {
                let value = sample(setting, manifest);
                self.settings.insert(setting.name.clone(), value);
            }
        }
    }

    pub(super) fn secrets(&self, manifest: &Manifest) -> Vec<String> {
        let secret = manifest.settings.iter().filter(|setting| setting.secret);
        secret
            .flat_map(|setting| {
                let given = self.settings.get(&setting.name).map(texts);
                let mut variables = setting.env.iter().chain(&setting.env_also);
                let of_env = variables.find_map(|name| self.env.get(name)).cloned();
                given.unwrap_or_else(|| of_env.into_iter().collect())
            })
            .filter(|secret| secret.len() >= 4)
            .collect()
    }

    pub(super) fn scene(&self, call: &str, input: Value, answer: Exchange) -> Scene {
        Scene {
            settings: self.settings.clone(),
            env: self.env.clone(),
            call: call.to_owned(),
            input,
            folder: self.folder.clone(),
            world: Arc::new(Script::always(answer)),
            real: false,
        }
    }

    pub(super) fn probe(
        &self,
        name: &'static str,
        call: &str,
        input: Value,
        answer: Exchange,
        rule: impl Fn(&Played) -> Option<String> + Send + 'static,
    ) -> Probe {
        Probe {
            name,
            scene: self.scene(call, input, answer),
            rule: Box::new(move |played| no_fault(played).or_else(|| rule(played))),
        }
    }
}

/// The texts in a value: a secret may be a list or an object, such as headers.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        Value::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// A value for every setting that must have one, and for every secret: none may come out.
fn sample_settings(manifest: &Manifest) -> Map<String, Value> {
    let wanted = manifest.settings.iter().filter(|setting| {
        let host_is_missing = setting.default.is_none() && names_host(setting, manifest);
        setting.required || setting.secret || host_is_missing
    });
    wanted
        .map(|setting| (setting.name.clone(), sample(setting, manifest)))
        .collect()
}

/// Whether the setting is an address that the plugin calls.
fn names_host(setting: &Setting, manifest: &Manifest) -> bool {
    let rule = format!("{{{}}}", setting.name);
    manifest.egress.contains(&rule)
}

fn sample(setting: &Setting, manifest: &Manifest) -> Value {
    match setting.kind {
        SettingKind::String if names_host(setting, manifest) => match setting.secret {
            true => json!(format!("https://conformance.example.com/{SECRET}")),
            false => json!("https://conformance.example.com"),
        },
        SettingKind::String if setting.secret => json!(SECRET),
        SettingKind::String => json!("conformance"),
        SettingKind::Integer => json!(1),
        SettingKind::Number => json!(0.5),
        SettingKind::Boolean => json!(true),
        SettingKind::List => json!([]),
        // An object, or names and values of headers in either form.
        _ => json!({}),
    }
}

/// Each required setting is missed by its name.
pub(super) fn missing_settings(base: &Base, manifest: &Manifest) -> Vec<Probe> {
    let required = manifest.settings.iter().filter(|setting| setting.required);
    required
        .map(|setting| {
            let mut scene = base.scene("init", Value::Null, quiet(200));
            scene.settings.remove(&setting.name);
            if let Some(variable) = &setting.env {
                scene.env.remove(variable);
            }
            let name = setting.name.clone();
            Probe {
                name: "a missing setting refuses the configuration by its name",
                scene,
                rule: Box::new(move |played| match played.result["refused"].as_str() {
                    Some(reason) if reason.contains(&name) => None,
                    Some(reason) => Some(format!("without `{name}` it says: {reason}")),
                    None => Some(format!("without `{name}` it loads")),
                }),
            }
        })
        .collect()
}
