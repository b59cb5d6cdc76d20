//! The WIT of every released version against this host: a component that imports and exports all there was still links.
//!
//! So a package whose text changes in a way that breaks plugins, without a version of its own beside the old one, fails
//! here. Additions do not: nobody imports them yet.

use std::path::{Path, PathBuf};

use serde_json::json;
use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};
use witgate_plugins::{Kind, Manifest, Sources};

use crate::support::{spec, stage};

fn released() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/released");
    let entries = std::fs::read_dir(root).unwrap().flatten();
    let folders = entries.map(|entry| entry.path().join("wit"));
    folders.filter(|path| path.is_dir()).collect()
}

/// A component of a kept kind's world, whose functions do nothing but trap. `change` edits the packages' text.
fn component(wit: &Path, kind: Kind, change: impl Fn(&str, String) -> String) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut package = None;
    for name in ["types", "host", kind.as_str()] {
        let file = wit.join(name).join(format!("{name}.wit"));
        let text = change(name, std::fs::read_to_string(&file).unwrap());
        package = Some(resolve.push_str(&file, &text).unwrap());
    }
    let world = resolve
        .select_world(&[package.unwrap()], Some(&format!("{kind}-plugin")))
        .unwrap();
    let mut module = dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    let mut encoder = ComponentEncoder::default().module(&module).unwrap();
    let component = encoder.encode().unwrap();
    let mut manifest =
        json!({"manifest": 1, "name": "kept", "version": "1.0.0", "kind": kind.as_str()});
    if kind == Kind::Provider {
        manifest["provider"] = json!({"call_types": ["chat"]});
    }
    if kind == Kind::Sso {
        manifest["roles"] = json!(["provider"]);
    }
    if kind == Kind::RequestHook {
        manifest["hooks"] = json!(["pre_call"]);
    }
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    manifest.embed(component)
}

/// What loading says. A component that fits is called, and traps.
async fn verdict(bytes: &[u8], kind: Kind) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kept.wasm"), bytes).unwrap();
    let sources = Sources {
        config_dir: Some(folder.path().to_owned()),
        plugin_dir: None,
        ..Sources::default()
    };
    let spec = spec("released-kept", "kept.wasm", kind, json!({}));
    let (_, errors) = stage().host.load(vec![spec], &sources, None).await;
    errors.first().map(ToString::to_string).unwrap_or_default()
}

/// The trap of the component's own `init`: everything before it went well.
const CALLED: &str = "it aborted";

#[tokio::test]
async fn worlds_of_every_released_version_still_link() {
    let released = released();
    assert!(!released.is_empty());
    for wit in released {
        for kind in Kind::ALL {
            // A kind that came later.
            if !wit.join(kind.as_str()).is_dir() {
                continue;
            }
            let kept = component(&wit, kind, |_, text| text);
            let verdict = verdict(&kept, kind).await;
            assert!(
                verdict.contains(CALLED),
                "{}: {kind}: {verdict}",
                wit.display()
            );
        }
    }
}

#[tokio::test]
async fn every_kind_is_kept_that_a_release_had() {
    let newest = released().into_iter().max().unwrap();
    for kind in Kind::ALL {
        assert!(newest.join(kind.as_str()).is_dir(), "{kind}");
    }
}

#[tokio::test]
async fn a_package_that_breaks_old_plugins_is_noticed() {
    let wit = released().remove(0);
    type Change = (&'static str, &'static str, &'static str);
    // As if the kept text were the old one, and ours had changed: seen from the host it is the same difference.
    let breaking: [Change; 3] = [
        ("host", "now-ms: func() -> u64;", "now-ms: func() -> u32;"),
        (
            "host",
            "now-ms: func() -> u64;",
            "now-millis: func() -> u64;",
        ),
        (
            "guardrail",
            "variant verdict {",
            "variant verdict {\n    later,",
        ),
    ];
    for (package, from, to) in breaking {
        let changed = component(&wit, Kind::Guardrail, |name, text| match name == package {
            true => {
                assert!(text.contains(from), "{package} has no {from:?}");
                text.replace(from, to)
            }
            false => text,
        });
        let verdict = verdict(&changed, Kind::Guardrail).await;
        assert!(!verdict.contains(CALLED), "{to} was not noticed: {verdict}");
    }
}
