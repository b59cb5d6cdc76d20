use super::*;

fn parse(text: &str) -> Result<Source, SourceError> {
    Source::parse(
        PathBuf::from("/p/my-plugin"),
        Path::new("/p/my-plugin/plugin.toml"),
        text,
    )
}

#[test]
fn a_minimal_file_takes_the_rest_from_folder_and_package() {
    let source = parse("kind = \"log-sink\"").expect("valid");
    let package = PackageFacts {
        version: "1.2.3".into(),
        description: Some("Does it.".into()),
        license: Some("MIT".into()),
    };
    let manifest = serde_json::to_value(source.manifest(&package)).expect("JSON");
    assert_eq!(
        manifest,
        serde_json::json!({
            "manifest": 1, "name": "my-plugin", "version": "1.2.3", "kind": "log-sink", "description": "Does it.",
            "license": "MIT", "limits": {}
        })
    );
}

#[test]
fn a_full_file_becomes_the_manifest_of_the_contract() {
    let source = parse(
        r#"
        name = "langfuse"
        version = "0.1.0"
        kind = "log-sink"
        events = ["success", "failure"]
        egress = ["{host}", "https://api.example.com", "https://*.example.com:8443"]
        env = ["PROXY_BASE_URL"]
        files = ["events"]

        [limits]
        timeout_ms = 5000

        [[settings]]
        name = "host"
        type = "string"
        env = "LANGFUSE_HOST"
        default = "https://cloud.langfuse.com"
        doc = "Where."

        [[settings]]
        name = "secret_key"
        type = "string"
        required = true
        secret = true
        "#,
    )
    .expect("valid");
    let manifest = serde_json::to_value(source.manifest(&PackageFacts::default())).expect("JSON");
    assert_eq!(
        manifest["settings"],
        serde_json::json!([
            { "name": "host", "type": "string", "env": "LANGFUSE_HOST", "default": "https://cloud.langfuse.com",
              "required": false, "secret": false, "reveal": false, "doc": "Where." },
            { "name": "secret_key", "type": "string", "required": true, "secret": true, "reveal": false }
        ])
    );
    assert_eq!(
        manifest["limits"],
        serde_json::json!({ "timeout_ms": 5000 })
    );
    assert_eq!(
        manifest["events"],
        serde_json::json!(["success", "failure"])
    );
}

#[test]
fn every_problem_names_the_file_the_key_and_the_fix() {
    let setting = "kind = \"guardrail\"\n[[settings]]\nname = \"a\"\ntype = \"integer\"\n";
    let cases = [
        (
            "kind = \"gaurdrail\"".to_owned(),
            "unknown variant `gaurdrail`",
        ),
        (
            "kind = \"guardrail\"\nfiels = []".to_owned(),
            "unknown field `fiels`",
        ),
        (
            "kind = \"guardrail\"\nname = \"My Plugin\"".to_owned(),
            "`name`: `My Plugin` is no plugin name",
        ),
        (
            "kind = \"guardrail\"\nname = \"My Plugin\"".to_owned(),
            "name = \"my-plugin\"",
        ),
        (
            "kind = \"guardrail\"\nevents = [\"success\"]".to_owned(),
            "`events`: only a plugin of kind log-sink",
        ),
        (
            "kind = \"guardrail\"\nphases = [\"precall\"]".to_owned(),
            "did you mean pre_call?",
        ),
        (
            "kind = \"guardrail\"\negress = [\"{host}\"]".to_owned(),
            "`egress[0]`: there is no setting `host`",
        ),
        (
            "kind = \"guardrail\"\negress = [\"ftp://a\"]".to_owned(),
            "neither http nor https",
        ),
        (
            "kind = \"guardrail\"\negress = [\"https://a.*.com\"]".to_owned(),
            "first label",
        ),
        (
            "kind = \"guardrail\"\negress = [\"https://a.com/path\"]".to_owned(),
            "more than scheme, host and port",
        ),
        (
            "kind = \"provider\"".to_owned(),
            "`provider`: a provider needs this table",
        ),
        (
            "kind = \"guardrail\"\n[provider]\ncall_types = [\"chat\"]".to_owned(),
            "only a plugin of kind provider has it",
        ),
        (
            "kind = \"guardrail\"\n[limits]\ncpu_ms = 0".to_owned(),
            "`limits.cpu_ms`: 0 allows nothing",
        ),
        (
            format!("{setting}default = \"x\""),
            "`settings[0].default`: \"x\" is not of the setting's type, integer",
        ),
        (format!("{setting}secret = true"), "a secret is text"),
        (format!("{setting}reveal = true"), "`a` is not secret"),
        (
            format!("{setting}[[settings]]\nname = \"a\"\ntype = \"string\""),
            "`a` is there twice",
        ),
    ];
    for (text, expected) in cases {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.starts_with("/p/my-plugin/plugin.toml: "), "{error}");
        assert!(error.contains(expected), "{expected:?} is not in {error:?}");
    }
}

#[test]
fn code_is_the_named_file_or_the_nearest_package_upwards() {
    let folder = tempfile::tempdir().expect("folder");
    let root = folder.path().canonicalize().expect("path");
    let plugin = root.join("package/plugin");
    std::fs::create_dir_all(&plugin).expect("folder");
    std::fs::write(plugin.join(FILE_NAME), "kind = \"guardrail\"").expect("file");
    // A workspace without a package is none.
    std::fs::write(root.join("Cargo.toml"), "[workspace]").expect("file");
    let source = Source::read(&plugin).expect("valid");
    assert!(matches!(source.code(), Err(SourceError::NoCode { .. })));

    let package = root.join("package/Cargo.toml");
    std::fs::write(&package, "[package]\nname = \"p\"").expect("file");
    assert_eq!(source.code().expect("found"), Code::Package(package));

    std::fs::write(
        plugin.join(FILE_NAME),
        "kind = \"guardrail\"\nwasm = \"out/p.wasm\"",
    )
    .expect("file");
    let source = Source::read(&plugin).expect("valid");
    assert_eq!(
        source.code().expect("named"),
        Code::Wasm(plugin.join("out/p.wasm"))
    );
}

#[test]
fn a_folder_of_plugins_stands_for_all_below_it() {
    let folder = tempfile::tempdir().expect("folder");
    let root = folder.path();
    for plugin in [
        "logging/b",
        "logging/a",
        "target/c",
        ".git/d",
        "guardrails/e",
        "guardrails/e/inner",
    ] {
        std::fs::create_dir_all(root.join(plugin)).expect("folder");
        std::fs::write(root.join(plugin).join(FILE_NAME), "").expect("file");
    }
    let expected = ["guardrails/e", "logging/a", "logging/b"].map(|plugin| root.join(plugin));
    assert_eq!(plugin_folders(root), expected);
    assert_eq!(
        plugin_folders(&root.join("logging/b")),
        [root.join("logging/b")]
    );
    assert_eq!(
        plugin_folders(&root.join("nowhere")),
        [root.join("nowhere")]
    );
}
