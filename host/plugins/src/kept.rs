//! What a plugin's name keeps over the components that serve it.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::capabilities::{Ring, Values};
use crate::{Manifest, PluginSpec};

/// The log, and the values of scope `plugin`. A plugin that a configuration drops takes them with it.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) log: Arc<Ring>,
    pub(crate) values: Values,
    /// Of the settings that the values were kept under.
    settings: [u8; 32],
}

impl Kept {
    /// Of a plugin that was not there before.
    pub(crate) fn new(spec: &PluginSpec, manifest: &Manifest) -> Self {
        Self {
            log: Arc::default(),
            values: Values::default(),
            settings: settings(spec, manifest),
        }
    }

    /// For another component or configuration of the same plugin. Other settings may mean another account:
    /// values are not carried over to it. What the settings were is a question of the old manifest: one more
    /// setting in the new does not make them others.
    pub(crate) fn passed_on(&self, spec: &PluginSpec, old: &Manifest, new: &Manifest) -> Self {
        let same = settings(spec, old) == self.settings;
        Self {
            log: self.log.clone(),
            values: match same {
                true => self.values.clone(),
                false => Values::default(),
            },
            settings: settings(spec, new),
        }
    }
}

/// Hashed, because settings and environment hold secrets.
fn settings(spec: &PluginSpec, manifest: &Manifest) -> [u8; 32] {
    let looked_up = looked_up(spec, manifest);
    Sha256::digest(format!("{:?}", (&spec.settings, looked_up))).into()
}

/// Every value outside of the plugin's own settings that they may come from.
pub(crate) fn looked_up(spec: &PluginSpec, manifest: &Manifest) -> impl std::fmt::Debug {
    let settings = manifest
        .settings
        .iter()
        .flat_map(|setting| setting.env.iter().chain(&setting.env_also));
    let env: Vec<(String, Option<String>)> = settings
        .chain(&manifest.env)
        .map(|name| (name.clone(), (spec.env)(name)))
        .collect();
    let keys = manifest.settings.iter().filter_map(|s| s.config.as_ref());
    let shared: Vec<(String, Option<serde_json::Value>)> = keys
        .chain(&manifest.params)
        .map(|key| (key.clone(), (spec.shared)(key)))
        .collect();
    (env, shared)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::Kind;

    fn manifest(settings: serde_json::Value) -> Manifest {
        serde_json::from_value(json!({"manifest": 1, "name": "p", "version": "1.0.0",
            "kind": "guardrail", "settings": settings}))
        .unwrap()
    }

    #[test]
    fn values_stay_with_the_settings_they_were_kept_under() {
        let old = manifest(json!([{"name": "url", "type": "string", "env": "P_URL"}]));
        let new = manifest(json!([{"name": "url", "type": "string", "env": "P_URL"},
            {"name": "more", "type": "string", "env": "P_MORE"}]));
        let spec = |url: &'static str| {
            let env = move |name: &str| Some(format!("{name}{url}"));
            PluginSpec::new("p", "p", Kind::Guardrail, Arc::new(env))
        };
        let first = Kept::new(&spec("a"), &old);
        let same = |spec: &PluginSpec| {
            let next = first.passed_on(spec, &old, &new);
            assert!(
                Arc::ptr_eq(&first.log, &next.log),
                "the log stays in any case"
            );
            next.values.is(&first.values)
        };
        assert!(same(&spec("a")), "a further setting changes nothing");
        assert!(!same(&spec("b")), "another environment");
        let mut other = spec("a");
        other.settings.insert("url".to_owned(), json!("x"));
        assert!(!same(&other), "other settings");
    }
}
