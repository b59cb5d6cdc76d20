//! Bills of materials: what a component was made of, as CycloneDX in JSON, as far as its builder knows.
//!
//! Nothing in one depends on time or machine, so the same sources give the same component.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use witgate_plugins::Manifest;

/// Something that went into a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ingredient {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression, or empty.
    pub license: String,
    /// The kind of package in a package URL (`cargo`, `pypi`, `npm`); `None` for what is in no registry.
    pub registry: Option<&'static str>,
}

/// The document of a component made of these, which may come in any order.
pub(crate) fn document(manifest: &Manifest, ingredients: &BTreeSet<Ingredient>) -> Vec<u8> {
    let components: Vec<Value> = ingredients.iter().map(component).collect();
    let mut own = json!({
        "type": "application",
        "bom-ref": format!("{}@{}", manifest.name, manifest.version),
        "name": manifest.name,
        "version": manifest.version,
    });
    license(&mut own, &manifest.license);
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": own,
            "tools": {"components": [{"type": "application", "name": "witgate", "version": env!("CARGO_PKG_VERSION")}]},
        },
        "components": components,
    });
    document.to_string().into_bytes()
}

fn component(one: &Ingredient) -> Value {
    let mut value = json!({
        "type": "library",
        "bom-ref": format!("{}@{}", one.name, one.version),
        "name": one.name,
        "version": one.version,
    });
    if let Some(registry) = one.registry {
        // The scope of an npm package is a part of the path, its `@` is written out.
        let name = one.name.replace('@', "%40");
        value["purl"] = format!("pkg:{registry}/{name}@{}", one.version).into();
    }
    license(&mut value, &one.license);
    value
}

fn license(value: &mut Value, license: &str) {
    if !license.is_empty() {
        // Cargo's older spelling of "or".
        let expression = license.replace('/', " OR ");
        value["licenses"] = json!([{ "expression": expression }]);
    }
}

/// The packages that a Python plugin asks for: as installed for the build, else as its requirements pin them.
pub(crate) fn python(requirements: &Path, installed: &Path) -> BTreeSet<Ingredient> {
    let mut all = BTreeSet::new();
    let mut add = |name: &str, version: &str| {
        all.insert(Ingredient {
            name: name.to_ascii_lowercase().replace('_', "-"),
            version: version.to_owned(),
            license: String::new(),
            registry: Some("pypi"),
        });
    };
    let folders = std::fs::read_dir(installed).into_iter().flatten().flatten();
    for folder in folders {
        let name = folder.file_name();
        let name = name.to_string_lossy();
        if let Some((name, version)) = name
            .strip_suffix(".dist-info")
            .and_then(|stem| stem.rsplit_once('-'))
        {
            add(name, version);
        }
    }
    if !installed.is_dir() {
        let text = std::fs::read_to_string(requirements).unwrap_or_default();
        for line in text.lines() {
            let line = line.split(['#', ';', ' ']).next().unwrap_or_default();
            if let Some((name, version)) = line.split_once("==") {
                add(name.split('[').next().unwrap_or(name), version);
            }
        }
    }
    all
}

/// The packages of a JavaScript plugin, from its lock file; those only for development are left out.
pub(crate) fn javascript(folder: &Path) -> BTreeSet<Ingredient> {
    let lock: Value = std::fs::read(folder.join("package-lock.json"))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let packages = lock["packages"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    packages
        .filter(|(path, one)| path.contains("node_modules/") && one["dev"] != true)
        .map(|(path, one)| Ingredient {
            name: path
                .rsplit("node_modules/")
                .next()
                .unwrap_or(path)
                .to_owned(),
            version: text(&one["version"]),
            license: text(&one["license"]),
            registry: Some("npm"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_names_what_went_in() {
        let manifest: Manifest = serde_json::from_value(json!({
            "manifest": 1, "name": "sink", "version": "1.2.3", "kind": "log-sink", "license": "Apache-2.0",
        }))
        .unwrap();
        let one = |name: &str, registry| Ingredient {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: "MIT/Apache-2.0".to_owned(),
            registry,
        };
        let all = BTreeSet::from([
            one("serde", Some("cargo")),
            one("@a/b", Some("npm")),
            one("own", None),
        ]);
        let document: Value = serde_json::from_slice(&document(&manifest, &all)).unwrap();
        assert_eq!(document["metadata"]["component"]["name"], "sink");
        let names: Vec<&str> = document["components"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|c| c["name"].as_str())
            .collect();
        assert_eq!(names, ["@a/b", "own", "serde"]);
        assert_eq!(document["components"][0]["purl"], "pkg:npm/%40a/b@1.0.0");
        assert_eq!(document["components"][1].get("purl"), None);
        assert_eq!(
            document["components"][2]["licenses"][0]["expression"],
            "MIT OR Apache-2.0"
        );
    }

    #[test]
    fn lock_files_and_requirements_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let lock = r#"{"packages": {"": {"name": "x"}, "node_modules/a": {"version": "1.0.0", "license": "MIT"}, "node_modules/b": {"version": "2.0.0", "dev": true}}}"#;
        std::fs::write(folder.path().join("package-lock.json"), lock).unwrap();
        let found: Vec<String> = javascript(folder.path())
            .into_iter()
            .map(|one| one.name)
            .collect();
        assert_eq!(found, ["a"]);
        let requirements = folder.path().join("requirements.txt");
        std::fs::write(
            &requirements,
            "# pins\nIdna==3.10\nfoo[bar]==1.0 ; python_version > '3'\nunpinned\n",
        )
        .unwrap();
        let names = |set: BTreeSet<Ingredient>| {
            set.into_iter()
                .map(|one| format!("{} {}", one.name, one.version))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            names(python(&requirements, &folder.path().join("none"))),
            ["foo 1.0", "idna 3.10"]
        );
        let installed = folder.path().join("installed");
        std::fs::create_dir_all(installed.join("typing_extensions-4.1.dist-info")).unwrap();
        assert_eq!(
            names(python(&requirements, &installed)),
            ["typing-extensions 4.1"]
        );
    }
}
