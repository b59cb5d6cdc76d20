//! Events and the items they become: a folder per case. `UPDATE_CASES=1` writes what comes out, to be read before it is
//! committed.

use std::path::{Path, PathBuf};

use langfuse::config::Settings;
use langfuse::encode::{Item, items};
use serde_json::{Value, json};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("cases")
        .map(|entry| entry.expect("entry").path())
        .collect();
    cases.sort();
    cases
}

fn read(path: &Path) -> Value {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn encode(case: &Value, max_bytes: usize) -> Vec<Item> {
    let mut settings = case["settings"].clone();
    settings["public_key"] = json!("pk-lf-1");
    let settings: Settings = serde_json::from_value(settings).expect("settings");
    let settings = settings.checked().expect("valid");
    let mut next = 0;
    let mut new_id = || {
        next += 1;
        format!("id-{next}")
    };
    let release = settings.release.clone();
    items(
        &settings,
        release.as_deref(),
        &case["payload"],
        &case["context"],
        max_bytes,
        &mut new_id,
    )
}

#[test]
fn every_case_gives_its_items() {
    let update = std::env::var_os("UPDATE_CASES").is_some();
    for case in cases() {
        let items = encode(&read(&case.join("in.json")), usize::MAX);
        let out: Vec<Value> = items
            .iter()
            .map(|item| serde_json::from_str(&item.json).expect("JSON"))
            .collect();
        let path = case.join("out.json");
        if update {
            let text = serde_json::to_string_pretty(&out).expect("JSON");
            std::fs::write(&path, text + "\n").expect("write");
        }
        assert_eq!(Value::from(out), read(&path), "{}", case.display());
    }
}

#[test]
fn no_credential_of_a_caller_gets_into_an_item() {
    for case in cases() {
        for item in encode(&read(&case.join("in.json")), usize::MAX) {
            assert!(
                !item.json.contains("must-not-show"),
                "{}: {}",
                case.display(),
                item.json
            );
        }
    }
}

#[test]
fn an_event_that_is_too_large_loses_its_input_and_output() {
    let mut case = read(&cases()[0].with_file_name("chat-success").join("in.json"));
    case["payload"]["messages"][0]["content"] = "x".repeat(4_000_000).into();
    let items = encode(&case, 3_500_000);
    assert!(items.iter().map(|item| item.json.len()).sum::<usize>() < 3_500_000);
    for item in &items {
        let item: Value = serde_json::from_str(&item.json).expect("JSON");
        assert_eq!(
            item["body"]["input"],
            "<truncated due to size exceeding limit>"
        );
        assert!(item["body"]["traceId"].is_string() || item["body"]["name"].is_string());
    }
}
