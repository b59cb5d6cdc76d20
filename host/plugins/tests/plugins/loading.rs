//! From configuration to plugins: what does not fit is refused with a reason, what did not change stays.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::registry::Registry as MetricsRegistry;
use serde_json::json;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};
use witgate_plugins::{Host, HostOptions, Kind, Manifest, Metrics, Progress, Registry, Sources};

use crate::support::{check, components, load, sources, spec, stage};

/// A component without any function of use, of this world, with a manifest of this kind.
fn component(wit: &str, kind: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    // A test may declare a `witgate:host@0.1.0` of its own.
    let clashes = wit.starts_with("package witgate:host@0.1.0");
    for package in ["types", "host", "guardrail"]
        .into_iter()
        .filter(|_| !clashes)
    {
        resolve.push_path(root.join(package)).unwrap();
    }
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let component = ComponentEncoder::default()
        .module(&module)
        .unwrap()
        .encode()
        .unwrap();
    let mut manifest = json!({"manifest": 1, "name": "odd", "version": "1.0.0", "kind": kind});
    if kind == "provider" {
        manifest["provider"] = json!({"call_types": ["chat"]});
    }
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    manifest.embed(component)
}

/// Why a guardrail of these bytes is not loaded.
async fn refusal(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("odd.wasm"), bytes).unwrap();
    let sources = Sources {
        config_dir: Some(folder.path().to_owned()),
        plugin_dir: None,
        ..Sources::default()
    };
    let spec = spec("loading-odd", "odd.wasm", Kind::Guardrail, json!({}));
    let (registry, errors) = stage().host.load(vec![spec], &sources, None).await;
    assert!(registry.guardrail("loading-odd").is_none());
    assert!(registry.describe()[0].state.starts_with("failed: "));
    errors[0].to_string()
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_the_reason() {
    let unknown = component(
        "package t:t; interface i { f: func(); } world w { import i; export g: func(); }",
        "guardrail",
    );
    let misspelt = component(
        "package witgate:hosts@0.1.0; interface settings { f: func(); } world w { import settings; export g: func(); }",
        "guardrail",
    );
    let elsewhere = component(
        "package witgate:host@0.2.0; interface kv { f: func(); } world w { import kv; export g: func(); }",
        "guardrail",
    );
    // A newer minor version of an interface of ours, with a function that came later.
    let newer = component(
        "package witgate:host@0.1.9; interface kv { gets: func(); } world w { import kv; export g: func(); }",
        "guardrail",
    );
    // The same function names, other types.
    let changed = component(
        "package witgate:host@0.1.0; interface clock { now-ms: func() -> string; } world w { import clock; export g: func(); }",
        "guardrail",
    );
    let nothing = component("package t:t; world w { export g: func(); }", "guardrail");
    let networked = component(
        "package t:t; world w { import witgate:host/http@0.1.0; export g: func(); }",
        "provider",
    );
    let sink = std::fs::read(components().join("jsonl.wasm")).unwrap();
    let compiled = {
        let engine = wasmtime::Engine::default();
        engine.precompile_component(&nothing).unwrap()
    };
    let cases: [(&str, &[u8], &[&str]); 11] = [
        (
            "an unknown import",
            &unknown,
            &["it imports t:t/i, which this gateway does not have"],
        ),
        (
            "a misspelt import",
            &misspelt,
            &[
                "it imports witgate:hosts/settings@0.1.0",
                "the nearest is witgate:host/settings@0.1.0",
            ],
        ),
        (
            "another track of an interface",
            &elsewhere,
            &[
                "it imports witgate:host/kv@0.2.0, this gateway has witgate:host/kv@0.1.0",
                "build the plugin for that version",
            ],
        ),
        (
            "a function of a newer minor version",
            &newer,
            &[
                "it imports the function gets of witgate:host/kv@0.1.9, which this gateway's witgate:host/kv@0.1.0 does not have",
                "the nearest is get",
                "built for a newer gateway",
            ],
        ),
        (
            "a function of other types",
            &changed,
            &["does not fit this gateway", "now-ms"],
        ),
        (
            "no guardrail in it",
            &nothing,
            &["witgate:guardrail/guardrail"],
        ),
        (
            "another kind",
            &sink,
            &["is of kind log-sink, but the configuration uses it as guardrail"],
        ),
        (
            "a provider with a network",
            &networked,
            &["it imports witgate:host/http@0.1.0, but a provider sends nothing itself"],
        ),
        (
            "compiled code",
            &compiled,
            &["compiled code, which is never accepted"],
        ),
        (
            "a core module",
            b"\0asm\x01\0\0\0",
            &["core WebAssembly module"],
        ),
        (
            "no manifest",
            b"\0asm\x0d\0\x01\0",
            &["no `witgate:manifest` section"],
        ),
    ];
    for (case, bytes, expected) in cases {
        let reason = refusal(bytes).await;
        assert!(
            reason.starts_with("plugin \"loading-odd\": "),
            "{case}: {reason}"
        );
        for part in expected {
            assert!(reason.contains(part), "{case}: {reason}");
        }
    }
}

#[tokio::test]
async fn a_pinned_digest_must_match() {
    let digest = load(spec(
        "loading-pin",
        "hostile-ok",
        Kind::Guardrail,
        json!({}),
    ))
    .await
    .unwrap()
    .describe()[0]
        .digest
        .clone();
    let pinned = |digest: String| {
        let mut spec = spec("loading-pin", "hostile-ok", Kind::Guardrail, json!({}));
        spec.digest = Some(digest);
        load(spec)
    };
    pinned(format!("sha256:{digest}")).await.unwrap();
    let error = pinned(digest.replace(['0', '1', '2', '3'], "f"))
        .await
        .unwrap_err();
    assert!(error.reason.contains("pins sha256:"), "{error}");
    assert!(error.reason.contains(&digest), "{error}");
}

#[tokio::test]
async fn one_bad_plugin_does_not_keep_the_others_out() {
    let specs = vec![
        spec("loading-good", "hostile-ok", Kind::Guardrail, json!({})),
        spec("loading-gone", "no-such-plugin", Kind::Guardrail, json!({})),
    ];
    let (registry, errors) = stage().host.load(specs, &sources(), None).await;
    assert!(registry.guardrail("loading-good").is_some());
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].to_string().contains("no-such-plugin.wasm"),
        "{}",
        errors[0]
    );
    let names: Vec<String> = registry
        .describe()
        .into_iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(names, ["loading-good", "loading-gone"]);
}

#[tokio::test]
async fn a_reload_keeps_what_did_not_change_and_calls_finish_on_the_old() {
    let load = async |settings: serde_json::Value, previous: Option<&Registry>| {
        let specs = vec![
            spec("loading-same", "hostile-ok", Kind::Guardrail, json!({})),
            spec("loading-new", "hide-secrets", Kind::Guardrail, settings),
        ];
        let (registry, errors) = stage().host.load(specs, &sources(), previous).await;
        assert!(errors.is_empty(), "{errors:?}");
        registry
    };
    let old = load(json!({}), None).await;
    let new = load(json!({"action": "block"}), Some(&old)).await;
    let [same_old, same_new] =
        [&old, &new].map(|registry| registry.guardrail("loading-same").unwrap());
    assert!(Arc::ptr_eq(&same_old, &same_new));
    let [before, after] = [&old, &new].map(|registry| registry.guardrail("loading-new").unwrap());
    assert!(!Arc::ptr_eq(&before, &after));
    drop(old);
    let key = "AKIAIOSFODNN7EXAMPLE";
    assert!(matches!(
        check(&before, key).await.unwrap(),
        witgate_plugins::Verdict::Edit { .. }
    ));
    assert!(matches!(
        check(&after, key).await.unwrap(),
        witgate_plugins::Verdict::Block(_)
    ));
}

#[tokio::test]
async fn what_was_compiled_once_is_not_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let start = || async {
        let compiled = Arc::new(Mutex::new(Vec::new()));
        let mut options = HostOptions::new(Some(folder.path().to_owned()));
        // Two engines that reserve address space would be too much beside the shared one's.
        options.pooling = false;
        let seen = compiled.clone();
        options.on_progress = Arc::new(move |progress| {
            if let Progress::Compiled { component, .. } = progress {
                seen.lock().push(component.clone());
            }
        });
        let host =
            Host::start(options, Metrics::register(&mut MetricsRegistry::default())).unwrap();
        let specs = ["a", "b"].map(|name| spec(name, "hostile-ok", Kind::Guardrail, json!({})));
        let (registry, errors) = host.load(specs.into(), &sources(), None).await;
        assert!(errors.is_empty(), "{errors:?}");
        check(&registry.guardrail("a").unwrap(), "x").await.unwrap();

        compiled.lock().clone()
    };
    assert_eq!(start().await, ["hostile-ok"], "once for both plugins");
    assert!(start().await.is_empty());
    let cwasm = walk(folder.path())
        .into_iter()
        .find(|path| path.ends_with(".cwasm"))
        .unwrap();
    let mut code = std::fs::read(&cwasm).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&cwasm, code).unwrap();
    assert_eq!(start().await, ["hostile-ok"], "forged code is not run");
}

fn walk(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => walk(&path),
            false => vec![path.display().to_string()],
        })
        .collect()
}

#[tokio::test]
async fn built_ins_that_are_not_used_are_listed() {
    let registry = load(spec(
        "loading-listed",
        "jsonl",
        Kind::LogSink,
        json!({"file": "stdout"}),
    ))
    .await;
    let used = registry
        .map(|registry| registry.describe())
        .unwrap_or_default();
    let rows = stage().host.describe_built_ins(&sources(), &used);
    let langfuse = rows.iter().find(|row| row.component == "langfuse").unwrap();
    assert_eq!(langfuse.kind, "log-sink");
    assert_eq!(langfuse.state, "not used");
    assert!(langfuse.egress.contains(&"{host}".to_owned()));
    assert!(langfuse.secrets.contains(&"secret_key".to_owned()));
}
