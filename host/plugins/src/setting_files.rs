//! Settings that name a file: the host reads it when the plugin is loaded, and the plugin gets the content.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use crate::manifest::{Setting, SettingKind};
use crate::{LoadError, Manifest, PluginSpec};

/// Bytes of such a file.
const BYTES_MAX: u64 = 1 << 20;

/// The spec with the contents of files in place of their paths, which are relative to `folder`.
pub(crate) fn filled<'a>(
    spec: &'a PluginSpec,
    manifest: &Manifest,
    folder: Option<&Path>,
) -> Result<Cow<'a, PluginSpec>, LoadError> {
    let mut filled = Cow::Borrowed(spec);
    // A recording has the contents.
    if spec.record.as_ref().is_some_and(|one| one.is_replay()) {
        return Ok(filled);
    }
    for setting in manifest.settings.iter().filter(|setting| setting.file) {
        let written = spec.settings.get(&setting.name).filter(|v| !v.is_null());
        let (place, path) = match written {
            Some(Value::String(path)) => {
                let is_inline = path.trim_start().starts_with(['[', '{']);
                if path.is_empty() || (is_inline && setting.kind != SettingKind::String) {
                    continue;
                }
                let file = folder.map_or_else(|| path.into(), |folder| folder.join(path));
                (format!("the setting {:?}", setting.name), file)
            }
            Some(_) => continue,
            // A variable is set by who starts the process, so its paths are relative to where that is.
            None => match variable(spec, setting) {
                Some((name, path)) => (format!("the environment variable {name}"), path.into()),
                None => continue,
            },
        };
        let content = content(setting, &path).map_err(|reason| {
            let place = format!("{place} names {}", path.display());
            LoadError::new(&spec.name, format!("{place}, {reason}"))
        })?;
        filled
            .to_mut()
            .settings
            .insert(setting.name.clone(), content);
    }
    Ok(filled)
}

/// The variable that gives this setting its value, and the value.
fn variable<'a>(spec: &PluginSpec, setting: &'a Setting) -> Option<(&'a str, String)> {
    let mut names = setting.env.iter().chain(&setting.env_also);
    names.find_map(|name| {
        let path = (spec.env)(name).filter(|path| !path.trim().is_empty())?;
        Some((name.as_str(), path))
    })
}

fn content(setting: &Setting, path: &Path) -> Result<Value, String> {
    let unreadable = |error: std::io::Error| format!("which cannot be read: {error}");
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > BYTES_MAX {
        return Err(format!(
            "which has {length} bytes; {BYTES_MAX} are the limit"
        ));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    if setting.kind == SettingKind::String {
        return Ok(Value::String(text));
    }
    // The position, not the content: it may be a secret.
    let value = serde_json::from_str::<Value>(&text).map_err(|error| {
        format!(
            "which is not JSON: line {}, column {}",
            error.line(),
            error.column()
        )
    })?;
    match setting.kind.admits(&value) {
        true => Ok(value),
        false => Err(format!(
            "which holds {}; it must be {}",
            SettingKind::article_of(&value),
            setting.kind.with_article()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::Kind;

    fn manifest() -> Manifest {
        serde_json::from_value(json!({"name": "p", "version": "1.0.0", "kind": "guardrail",
            "settings": [{"name": "rules", "type": "list", "file": true},
                {"name": "key", "env": "KEY_FILE", "secret": true, "file": true}]}))
        .unwrap()
    }

    fn fill(rules: Value, folder: &Path) -> Result<Value, String> {
        let mut spec = PluginSpec::new("p", "p", Kind::Guardrail, Arc::new(|_: &str| None));
        spec.settings.insert("rules".to_owned(), rules);
        filled(&spec, &manifest(), Some(folder))
            .map(|spec| spec.settings["rules"].clone())
            .map_err(|error| error.reason)
    }

    #[test]
    fn the_path_may_be_in_a_variable() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key.pem");
        std::fs::write(&file, "hush").unwrap();
        let with = |path: String| {
            let env = Arc::new(move |name: &str| (name == "KEY_FILE").then(|| path.clone()));
            let spec = PluginSpec::new("p", "p", Kind::Guardrail, env);
            // Not relative to the configuration: the variable is not in it.
            filled(&spec, &manifest(), Some(Path::new("/nowhere")))
                .map(|spec| spec.settings.get("key").cloned())
                .map_err(|error| error.reason)
        };
        assert_eq!(with(file.display().to_string()), Ok(Some(json!("hush"))));
        assert_eq!(with(String::new()), Ok(None));
        let error = with("/nowhere/key.pem".to_owned()).unwrap_err();
        assert!(
            error.starts_with("the environment variable KEY_FILE names /nowhere/key.pem, which"),
            "{error}"
        );
    }

    #[test]
    fn a_path_becomes_the_content_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("good.json", "[{\"name\": \"Zip\"}]");
        write("object.json", "{}");
        write("broken.json", "[hush");
        let of = |rules: Value| fill(rules, folder.path());
        assert_eq!(of(json!("good.json")), Ok(json!([{"name": "Zip"}])));
        assert_eq!(
            of(json!([1])),
            Ok(json!([1])),
            "what is written in the config stays"
        );
        assert_eq!(of(json!("[1]")), Ok(json!("[1]")));
        assert!(
            of(json!("none.json"))
                .unwrap_err()
                .contains("cannot be read")
        );
        assert!(
            of(json!("object.json"))
                .unwrap_err()
                .contains("must be a list")
        );
        let error = of(json!("broken.json")).unwrap_err();
        assert!(
            error.contains("line 1") && !error.contains("hush"),
            "{error}"
        );
    }
}
