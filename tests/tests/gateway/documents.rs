//! Pages that describe the program are generated from it or compared with it.

use std::fs;

use serde_json::Value;
use witgate_testkit::{Gateway, workspace_root};

async fn output_of(args: &[&str]) -> String {
    let (stdout, stderr, code) = Gateway::run(&workspace_root(), args).await;
    assert_eq!(code, Some(0), "witgate {args:?}: {stderr}");
    stdout
}

fn page(path: &str) -> String {
    fs::read_to_string(workspace_root().join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[tokio::test]
async fn the_config_reference_is_up_to_date() {
    assert!(
        page("docs/config.md") == output_of(&["config", "reference"]).await,
        "docs/config.md is stale: run `make docs`"
    );
}

#[tokio::test]
async fn the_config_schema_is_up_to_date_and_is_a_schema() {
    let schema = page("docs/config.schema.json");
    assert!(
        schema == output_of(&["config", "schema"]).await,
        "docs/config.schema.json is stale: run `make docs`"
    );
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    assert!(schema["$schema"].is_string() && schema["properties"]["model_list"].is_object());
}

#[tokio::test]
async fn the_architecture_page_lists_the_stages_the_program_runs() {
    let printed = output_of(&["explain", "pipeline"]).await;
    let stages: Vec<&str> = printed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert!(stages.len() >= 8, "{printed}");
    let architecture = page("ARCHITECTURE.md");
    assert!(
        architecture.contains(printed.trim()),
        "ARCHITECTURE.md does not hold what `witgate explain pipeline` prints:\n{printed}"
    );
}

#[tokio::test]
async fn the_make_targets_of_the_readme_exist() {
    let (readme, makefile) = (page("README.md"), page("Makefile"));
    for target in ["run", "test"] {
        assert!(
            readme.contains(&format!("make {target}")),
            "the README does not name `make {target}`"
        );
    }
    for word in readme.split("make ").skip(1) {
        let target: String = word
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '-')
            .collect();
        if readme.contains(&format!("`make {target}`")) {
            assert!(
                makefile.contains(&format!("\n{target}:")),
                "the README names `make {target}`, the Makefile does not"
            );
        }
    }
}

#[tokio::test]
async fn the_version_is_printed() {
    let printed = output_of(&["version"]).await;
    assert!(printed.contains(env!("CARGO_PKG_VERSION")), "{printed}");
}
