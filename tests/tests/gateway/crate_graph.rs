//! The crate graph is the architecture: which room may know which, and which outside crate lives
//! in which room. Read from `cargo metadata`, so that it cannot drift.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use witgate_testkit::workspace_root;

/// Each crate of the host with all the crates of ours it may use. What is not here may not be.
const ROOMS: [(&str, &[&str]); 22] = [
    ("witgate-config", &[]),
    ("witgate-wire", &[]),
    ("witgate-identity", &[]),
    ("witgate-outbound", &[]),
    ("witgate-store", &[]),
    ("witgate-state", &[]),
    ("witgate-signing", &[]),
    ("witgate-metering", &["witgate-identity", "witgate-state"]),
    (
        "witgate-caching",
        &["witgate-outbound", "witgate-signing", "witgate-wire"],
    ),
    ("witgate-routing", &["witgate-wire"]),
    ("witgate-login", &["witgate-identity"]),
    (
        "witgate-federation",
        &["witgate-identity", "witgate-signing"],
    ),
    (
        "witgate-management",
        &[
            "witgate-identity",
            "witgate-metering",
            "witgate-store",
            "witgate-wire",
        ],
    ),
    ("witgate-events", &["witgate-wire"]),
    ("witgate-bundles", &["witgate-outbound"]),
    (
        "witgate-plugins",
        &["witgate-outbound", "witgate-bundles", "witgate-signing"],
    ),
    (
        "witgate-pipeline",
        &[
            "witgate-wire",
            "witgate-routing",
            "witgate-identity",
            "witgate-events",
            "witgate-federation",
            "witgate-caching",
            "witgate-metering",
        ],
    ),
    (
        "witgate-server",
        &[
            "witgate-pipeline",
            "witgate-wire",
            "witgate-identity",
            "witgate-login",
            "witgate-management",
            "witgate-store",
        ],
    ),
    (
        "witgate-toolkit",
        &["witgate-plugins", "witgate-wire", "witgate-bundles"],
    ),
    ("witgate-testkit", &[]),
    ("witgate-tests", &["witgate-testkit"]),
    (
        "witgate",
        &[
            "witgate-bundles",
            "witgate-caching",
            "witgate-config",
            "witgate-federation",
            "witgate-wire",
            "witgate-identity",
            "witgate-login",
            "witgate-metering",
            "witgate-management",
            "witgate-outbound",
            "witgate-state",
            "witgate-signing",
            "witgate-store",
            "witgate-routing",
            "witgate-events",
            "witgate-plugins",
            "witgate-pipeline",
            "witgate-server",
            "witgate-toolkit",
        ],
    ),
];

/// Outside crates that only these of ours may use directly, beside `witgate` which wires all.
const KEPT_IN: [(&str, &[&str]); 7] = [
    ("wasmtime", &["witgate-plugins", "witgate-toolkit"]),
    ("wasmtime-wasi", &["witgate-plugins"]),
    ("sqlx", &["witgate-store", "witgate-testkit"]),
    ("redis", &["witgate-state"]),
    ("lettre", &["witgate-outbound"]),
    ("hyper", &["witgate-server", "witgate-outbound"]),
    ("hyper-util", &["witgate-server", "witgate-outbound"]),
];

/// Crates that do no IO and read no clock: the doors to both are shut.
const PURE: [(&str, &[&str]); 4] = [
    (
        "witgate-config",
        &["tokio", "hyper", "sqlx", "wasmtime", "reqwest"],
    ),
    (
        "witgate-wire",
        &["tokio", "hyper", "sqlx", "wasmtime", "jiff"],
    ),
    (
        "witgate-routing",
        &["tokio", "hyper", "sqlx", "wasmtime", "http", "jiff"],
    ),
    (
        "witgate-identity",
        &["tokio", "hyper", "sqlx", "wasmtime", "http"],
    ),
];

/// Crate → its direct ordinary and build dependencies (test dependencies may be anything).
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
            "--locked",
        ])
        .current_dir(workspace_root())
        .output()
        .expect("run cargo metadata");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let mut graph = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default().to_owned();
        let test_only = name == "witgate-tests";
        let used = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| test_only || dependency["kind"] != "dev")
            .filter_map(|dependency| dependency["name"].as_str().map(str::to_owned))
            .collect();
        graph.insert(name, used);
    }
    graph
}

#[test]
fn every_room_knows_only_the_rooms_it_may() {
    let graph = dependencies();
    let listed: BTreeSet<&str> = ROOMS.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = graph.keys().map(String::as_str).collect();
    assert_eq!(
        found, listed,
        "a crate came or went: give it a row, here and in ARCHITECTURE.md"
    );
    for (name, allowed) in ROOMS {
        for used in graph[name]
            .iter()
            .filter(|used| listed.contains(used.as_str()))
        {
            assert!(
                allowed.contains(&used.as_str()),
                "{name} must not know {used}"
            );
        }
    }
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let graph = dependencies();
    for (outside, homes) in KEPT_IN {
        for (name, used) in &graph {
            let at_home = homes.contains(&name.as_str()) || name == "witgate";
            assert!(
                at_home || !used.contains(outside),
                "{name} must not use {outside}"
            );
        }
    }
}

#[test]
fn pure_crates_have_no_door_to_the_world() {
    let graph = dependencies();
    for (name, shut) in PURE {
        for outside in shut {
            assert!(
                !graph[name].contains(*outside),
                "{name} must not use {outside}"
            );
        }
    }
}
