use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::Kind;

fn manifest(settings: Value) -> Manifest {
    let json = json!({"manifest": 1, "name": "p", "version": "1", "kind": "log-sink", "settings": settings});
    serde_json::from_value(json).unwrap()
}

fn spec(settings: Value, env: &'static [(&str, &str)]) -> PluginSpec {
    let lookup = move |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let mut spec = PluginSpec::new("mine", "p", Kind::LogSink, Arc::new(lookup));
    spec.settings = settings.as_object().unwrap().clone();
    spec
}

#[test]
fn values_come_from_config_then_environment_then_default() {
    let manifest = manifest(json!([
        {"name": "a", "env": "A", "default": "from default"},
        {"name": "b", "env": "B", "default": "from default"},
        {"name": "c", "env": "C", "default": "from default"},
        {"name": "d", "env": "EMPTY"},
    ]));
    let spec = spec(
        json!({"a": "from config", "z": [1]}),
        &[("A", "x"), ("B", "from env"), ("EMPTY", "")],
    );
    let settings = Settings::resolve(&manifest, &spec).unwrap();
    assert_eq!(settings.get("a").as_deref(), Some("from config"));
    assert_eq!(settings.get("b").as_deref(), Some("from env"));
    assert_eq!(settings.get("c").as_deref(), Some("from default"));
    assert_eq!(settings.get("d"), None);
    assert_eq!(
        settings.get("z").as_deref(),
        Some("[1]"),
        "undeclared ones are passed on"
    );
    assert!(settings.is_by_operator("a") && settings.is_by_operator("b"));
    assert!(!settings.is_by_operator("c"));
}

#[test]
fn text_is_read_as_the_declared_type() {
    let manifest = manifest(json!([
        {"name": "i", "type": "integer", "env": "I"},
        {"name": "n", "type": "number"},
        {"name": "b", "type": "boolean", "env": "B"},
        {"name": "l", "type": "list", "env": "L"},
        {"name": "o", "type": "object", "env": "O"},
        {"name": "s", "type": "string"},
    ]));
    let env = &[
        ("I", " 7"),
        ("B", "True"),
        ("L", "a, b"),
        ("O", r#"{"k": 1}"#),
    ];
    let settings = Settings::resolve(&manifest, &spec(json!({"n": "0.5", "s": 12}), env)).unwrap();
    let all: Value = serde_json::from_str(settings.json()).unwrap();
    assert_eq!(
        all,
        json!({"i": 7, "n": 0.5, "b": true, "l": ["a", "b"], "o": {"k": 1}, "s": "12"})
    );
}

#[test]
fn everything_wrong_is_named_with_its_place_and_without_its_value() {
    let manifest = manifest(json!([
        {"name": "key", "secret": true, "required": true, "env": "THE_KEY", "doc": "Key of the project."},
        {"name": "port", "type": "integer", "env": "PORT"},
        {"name": "tags", "type": "list"},
        {"name": "plain", "required": true},
    ]));
    let spec = spec(json!({"tags": 5}), &[("PORT", "hunter2")]);
    let error = Settings::resolve(&manifest, &spec)
        .err()
        .unwrap()
        .to_string();
    for part in [
        "plugin \"mine\"",
        "the setting \"key\" is missing (Key of the project): write it in the plugin's settings or set THE_KEY",
        "the environment variable PORT is a string, it must be an integer",
        "the setting \"tags\" is a number, it must be a list",
        "the setting \"plain\" is missing",
    ] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    assert!(!error.contains("hunter2"));
}

#[test]
fn secrets_are_kept_apart() {
    let manifest = manifest(json!([
        {"name": "key", "secret": true, "env": "KEY"},
        {"name": "other", "secret": true},
        {"name": "shown", "secret": true, "reveal": true, "env": "KEY"},
    ]));
    let mut spec = spec(json!({}), &[("KEY", "sk-1")]);
    let settings = Settings::resolve(&manifest, &spec).unwrap();
    assert_eq!(settings.get("key"), None);
    assert!(!settings.json().contains("sk-1"));
    let key = settings.secret("key").unwrap().clone().unwrap();
    assert_eq!((key.value.as_str(), key.reveal), ("sk-1", false));
    assert!(settings.secret("shown").unwrap().clone().unwrap().reveal);
    assert!(
        settings.secret("other").unwrap().is_none(),
        "declared, granted, without a value"
    );
    assert!(settings.secret("unheard").is_none());

    spec.grants.secrets = Some(vec!["other".to_owned()]);
    let settings = Settings::resolve(&manifest, &spec).unwrap();
    assert!(
        settings.secret("key").is_none(),
        "not among the operator's grants"
    );
}

#[test]
fn keys_that_belong_to_plugins_come_after_the_plugins_own_settings_and_before_the_environment() {
    let manifest: Manifest = serde_json::from_value(json!({
        "manifest": 1, "name": "p", "version": "1", "kind": "log-sink", "params": ["p_params"],
        "settings": [
            {"name": "own", "config": "p_own", "env": "ENV"},
            {"name": "key", "config": "p_key", "env": "ENV"},
            {"name": "member", "type": "integer", "env": "ENV"},
            {"name": "variable", "env": "MISSING", "env_also": ["ALSO_MISSING", "ENV"]},
        ],
    }))
    .unwrap();
    let mut given = spec(json!({"own": "settings"}), &[("ENV", "7")]);
    given.shared = Arc::new(|key| match key {
        "p_own" | "p_key" => Some(json!("key")),
        "p_params" => Some(json!({"member": "42", "own": "member", "variable": null})),
        _ => None,
    });
    let settings = Settings::resolve(&manifest, &given).unwrap();
    let get = |name: &str| settings.get(name).unwrap();
    assert_eq!(
        [get("own"), get("key"), get("member"), get("variable")],
        ["settings", "key", "42", "7"]
    );
    assert!(settings.is_by_operator("member"));

    given.shared = Arc::new(|key| (key == "p_params").then(|| json!({"member": "many"})));
    let error = Settings::resolve(&manifest, &given).err().unwrap();
    assert!(
        error.reason.contains("litellm_settings.p_params.member"),
        "{}",
        error.reason
    );
}

#[test]
fn headers_are_an_object_or_text_and_each_value_is_a_secret_of_its_own() {
    let manifest = manifest(json!([
        {"name": "object", "type": "headers", "secret": true},
        {"name": "text", "type": "headers", "secret": true, "env": "TEXT"},
        {"name": "encoded", "type": "encoded-headers", "secret": true, "env": "ENCODED"},
        {"name": "open", "type": "headers", "env": "TEXT"},
    ]));
    let env = &[
        ("TEXT", "Authorization=Bearer a%20b, x-k=1=2,"),
        ("ENCODED", "authorization=Bearer%20a%2,x=%C3%A9"),
    ];
    let given = spec(json!({"object": {"X-Key": "k1"}}), env);
    let settings = Settings::resolve(&manifest, &given).unwrap();
    let headers = |name: &str| -> Vec<(String, String)> {
        let headers = settings.headers(name).iter();
        headers
            .map(|(name, secret)| (name.clone(), secret.value.to_string()))
            .collect()
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(headers("object"), [pair("X-Key", "k1")]);
    assert_eq!(
        headers("text"),
        [pair("Authorization", "Bearer a%20b"), pair("x-k", "1=2")]
    );
    assert_eq!(
        headers("encoded"),
        [pair("authorization", "Bearer a%2"), pair("x", "é")]
    );
    assert!(headers("open").is_empty(), "no secret");
    assert!(settings.get("text").is_none() && settings.get("open").is_some());
    assert!(
        settings.secret_values().any(|value| value.as_str() == "k1"),
        "masked"
    );

    let wrong = spec(json!({"object": "no headers"}), &[]);
    let error = Settings::resolve(&manifest, &wrong).err().unwrap();
    assert!(error.reason.contains("name=value"), "{}", error.reason);
}

#[test]
fn a_component_that_was_brought_reads_only_keys_with_its_name() {
    let mut all = spec(json!({}), &[]);
    all.shared = Arc::new(|key| Some(json!(key)));
    let read = |name: &str, key: &str| {
        let spec = PluginSpec {
            name: name.to_owned(),
            ..all.clone()
        };
        (spec.with_its_own_keys().shared)(key).is_some()
    };
    for (name, key, expected) in [
        ("s3", "s3_callback_params", true),
        ("my-sink", "my_sink_params", true),
        ("prometheus", "custom_prometheus_tags", true),
        ("sink", "s3_callback_params", false),
        ("s", "s3_callback_params", false),
        ("call", "s3_callback_params", false),
    ] {
        assert_eq!(read(name, key), expected, "{name} {key}");
    }
}
