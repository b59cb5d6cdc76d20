use serde_json::json;

use super::*;

const EMPTY_COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

fn manifest(json: serde_json::Value) -> Manifest {
    let mut all = json!({"manifest": 1, "name": "sink", "version": "1.2.3", "kind": "log-sink"});
    all.as_object_mut()
        .unwrap()
        .extend(json.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

#[test]
fn a_manifest_survives_being_embedded() {
    let manifest = manifest(json!({
        "settings": [{"name": "host", "type": "string", "env": "HOST", "default": "https://x.example"}],
        "egress": ["{host}", "https://*.example.com:8443"],
        "limits": {"memory_mb": 32},
    }));
    let component = manifest.embed(EMPTY_COMPONENT.to_vec());
    assert_eq!(Manifest::from_component(&component).unwrap(), manifest);
}

#[test]
fn the_manifest_is_found_behind_other_sections() {
    let mut component = EMPTY_COMPONENT.to_vec();
    // A custom section of 200 bytes, so that its length takes two bytes.
    component.extend([0, 0xc8, 0x01, 4]);
    component.extend(b"name");
    component.resize(component.len() + 195, 7);
    let manifest = manifest(json!({}));
    assert_eq!(
        Manifest::from_component(&manifest.embed(component)).unwrap(),
        manifest
    );
}

#[test]
fn what_is_no_component_is_named() {
    let truncated = [&EMPTY_COMPONENT[..], &[1, 0x20, 0]].concat();
    let cases: [(&[u8], &str); 6] = [
        (b"", "not valid WebAssembly"),
        (b"\x7fELF\x02\x01\x01\0", "not valid WebAssembly"),
        (b"\0asm\x01\0\0\0", "core WebAssembly module"),
        (b"\0asm\x0e\0\x01\0", "version"),
        (&EMPTY_COMPONENT, "no `witgate:manifest` section"),
        (&truncated, "cut short"),
    ];
    for (bytes, expected) in cases {
        let error = Manifest::from_component(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{bytes:?}: {error}");
    }
}

#[test]
fn contradictions_are_refused_by_name() {
    let cases = [
        (json!({"manifest": 2}), "format 2"),
        (json!({"egress": ["https://logs.{site}"]}), "not declared"),
        (json!({"metrics": ["witgate_plugin_"]}), "the gateway's own"),
        (json!({"metrics": ["acme"]}), "ends in"),
        (json!({"batch": {"size": 0}}), "above 0"),
        (
            json!({"batch": {"size": "{n}"}, "settings": [{"name": "n"}]}),
            "batch.size",
        ),
        (json!({"name": "Bad Name"}), "is no name"),
        (
            json!({"settings": [{"name": "a"}, {"name": "a"}]}),
            "declared twice",
        ),
        (
            json!({"settings": [{"name": "a", "secret": true, "type": "integer"}]}),
            "must be a string",
        ),
        (
            json!({"settings": [{"name": "a", "secret": true, "default": "x"}]}),
            "must not have a default",
        ),
        (
            json!({"settings": [{"name": "a", "reveal": true}]}),
            "is no secret",
        ),
        (
            json!({"settings": [{"name": "a", "type": "integer", "default": "x"}]}),
            "is a string, not an integer",
        ),
        (json!({"egress": ["{nowhere}"]}), "not declared"),
        (json!({"egress": ["ftp://x.example"]}), "https or http"),
        (json!({"kind": "provider"}), "has the table `provider`"),
        (
            json!({"provider": {"call_types": ["chat"]}}),
            "has the table `provider`",
        ),
        (
            json!({"kind": "provider", "provider": {}}),
            "call_types is empty",
        ),
        (
            json!({"kind": "provider", "provider": {"call_types": ["sing"]}}),
            "\"sing\" is none of chat, text, embed",
        ),
        (
            json!({"kind": "provider", "provider": {"call_types": ["chat"], "base": "api.example.com"}}),
            "is no base URL",
        ),
    ];
    for (json, expected) in cases {
        let error = manifest(json.clone()).check().unwrap_err().to_string();
        assert!(error.contains(expected), "{json}: {error}");
    }
}

#[test]
fn unknown_members_are_refused() {
    let json =
        json!({"manifest": 1, "name": "a", "version": "1", "kind": "guardrail", "egres": []});
    let error = serde_json::from_value::<Manifest>(json)
        .unwrap_err()
        .to_string();
    assert!(error.contains("egres"), "{error}");
}
