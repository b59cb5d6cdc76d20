use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn with(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
        Self(folder)
    }

    fn sources(&self) -> Sources {
        Sources {
            config_dir: Some(self.0.path().join("config")),
            plugin_dir: Some(self.0.path().join("built-in")),
            ..Sources::default()
        }
    }

    fn resolve(&self, name: &str) -> String {
        let base = self.0.path().display().to_string();
        match self.sources().resolve(name) {
            Ok(Source::File(path)) => path.display().to_string().replace(&base, "file "),
            Ok(Source::BuiltIn(path)) => path.display().to_string().replace(&base, "built-in "),
            Ok(Source::Embedded(name)) => format!("embedded {name}"),
            Ok(other) => other.to_string(),
            Err(error) => error.reason.replace(&base, ""),
        }
    }
}

#[test]
fn names_are_resolved_in_order() {
    let folder = Folder::with(&[
        "built-in/hide-secrets.wasm",
        "built-in/langfuse.wasm",
        "config/langfuse.wasm",
        "config/my_auth.wasm",
        "config/pkg/auth.wasm",
        "config/deep.wasm",
    ]);
    let cases = [
        ("langfuse", "built-in /built-in/langfuse.wasm"),
        ("hide_secrets", "built-in /built-in/hide-secrets.wasm"),
        ("./langfuse.wasm", "file /config/./langfuse.wasm"),
        ("my_auth.user_auth", "file /config/my_auth.wasm"),
        ("my-auth", "file /config/my_auth.wasm"),
        ("pkg.auth.check", "file /config/pkg/auth.wasm"),
        ("deep.a.b", "file /config/deep.wasm"),
    ];
    for (name, expected) in cases {
        assert_eq!(folder.resolve(name), expected, "{name}");
    }
}

#[test]
fn what_is_not_found_says_what_was_tried_and_what_to_do() {
    let folder = Folder::with(&["built-in/langfuse.wasm"]);
    let reason = folder.resolve("langfus.cb");
    for part in [
        "/built-in/langfus.cb.wasm",
        "/config/langfus/cb.wasm",
        "/config/langfus.wasm",
        "witgate plugin build",
    ] {
        assert!(reason.contains(part), "{part} is not in {reason}");
    }
    assert!(
        folder
            .resolve("langfusee")
            .contains("did you mean \"langfuse\"?")
    );
    assert!(
        folder
            .resolve("missing.wasm")
            .contains("there is no file /config/missing.wasm")
    );
    assert!(
        folder.resolve("..").contains("no component"),
        "dots do not climb"
    );
}

#[test]
fn what_is_embedded_unpacks_to_what_its_name_says() {
    let sources = Sources::default();
    assert_eq!(sources.built_in().len(), embedded::names().count());
    for name in sources.built_in() {
        let (manifest, _, _) = sources.resolve(&name).unwrap().examine().unwrap();
        assert_eq!(manifest.name, name);
    }
}
