//! New versions that cannot serve: the old one serves on, and the reason is told.

use super::{answer, ask, by, change, component, put, stage, status};

#[tokio::test]
async fn a_version_that_cannot_serve_leaves_the_old_one_in_its_place() {
    let stage = stage("", "").await;
    // A name of the same length keeps the component whole, but asks for what no gateway has.
    let odd_import = replaced(
        component("version-two"),
        b"witgate:host/kv@",
        b"witgate:host/no@",
    );
    let cases: [(&str, Vec<u8>, &str); 6] = [
        (
            "panics",
            component("version-panics"),
            "version panics cannot start",
        ),
        (
            "loops",
            component("version-loops"),
            "stopped at its cpu limit",
        ),
        (
            "imports",
            odd_import,
            "witgate:host/no@0.1.0, which this gateway does not have",
        ),
        (
            "another kind",
            component("custom-logger"),
            "is of kind log-sink",
        ),
        (
            "cut off",
            component("version-two")[..4096].to_vec(),
            "guard.wasm",
        ),
        ("no component", b"hello".to_vec(), "guard.wasm"),
    ];
    let before = status(&stage).await;
    for (case, bytes, reason) in cases {
        put(&stage, &bytes);
        let refused = ask(&stage, "reload").await;
        assert_eq!(refused.status, 400, "{case}: {}", refused.text());
        assert_eq!(refused.json()["status"], "refused", "{case}");
        assert!(
            refused.text().contains(reason),
            "{case}: {}",
            refused.text()
        );
        assert_eq!(answer(&stage).await, by("one"), "{case}");
        let now = status(&stage).await;
        for kept in ["digest", "version", "state", "previous"] {
            assert_eq!(now[kept], before[kept], "{case}: {kept}");
        }
        let logs = stage.client.get("/plugins/guard/logs").await.text();
        assert!(logs.contains(reason), "{case}: {logs}");
    }
    std::fs::remove_file(stage.gateway.home().join("guard.wasm")).expect("remove it");
    let refused = ask(&stage, "reload").await;
    assert!(
        refused.text().contains("there is no file"),
        "{}",
        refused.text()
    );
    assert_eq!(answer(&stage).await, by("one"));

    put(&stage, &component("version-two"));
    assert_eq!(change(&stage, "reload").await["version"], "2.0.0");
    assert_eq!(answer(&stage).await, by("two"));
}

#[tokio::test]
async fn another_component_than_the_pinned_one_is_refused() {
    let listed = stage("", "").await;
    let digest = status(&listed).await["digest"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let stage = stage(&format!(", digest: 'sha256:{digest}'"), "").await;
    put(&stage, &component("version-two"));
    let refused = ask(&stage, "reload").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("pins sha256:"),
        "{}",
        refused.text()
    );
    assert_eq!(answer(&stage).await, by("one"));
}

fn replaced(mut bytes: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> = (0..=bytes.len() - old.len())
        .filter(|at| &bytes[*at..*at + old.len()] == old)
        .collect();
    assert!(!places.is_empty(), "the component does not have the name");
    for at in places {
        bytes[at..at + old.len()].copy_from_slice(new);
    }
    bytes
}
