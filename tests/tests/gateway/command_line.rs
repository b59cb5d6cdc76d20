//! The command line's contract: exit codes, one line per problem, what the plugin commands show.

use std::path::Path;

use serde_json::Value;
use witgate_testkit::{Gateway, plugin_dir};

use crate::support::{MASTER_KEY, base_config};

async fn run_with(config: &str, args: &[&str]) -> (String, String, Option<i32>) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("config.yaml"), config).expect("write the config");
    Gateway::run(folder.path(), args).await
}

#[tokio::test]
async fn a_good_config_passes_the_check() {
    let (stdout, stderr, code) = run_with(
        &base_config("http://127.0.0.1:9/v1"),
        &["check", "--config", "config.yaml"],
    )
    .await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
}

/// A config with a wrong type, an unknown key and a missing model, and a secret near each.
const BAD: &str = "model_list:
  - model_name: gpt-4o
    litellm_params: {api_key: sk-very-secret-value}
general_settings:
  master_key: sk-very-secret-master
router_settings:
  num_retries: [sk-very-secret-list]
  routing_stratgy: simple-shuffle
";

#[tokio::test]
async fn each_problem_is_a_line_with_its_place_its_path_and_a_way_out() {
    let (stdout, stderr, code) = run_with(BAD, &["check", "--config", "config.yaml"]).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    let told = stdout + &stderr;
    let retries = told
        .lines()
        .find(|line| line.contains("router_settings.num_retries"))
        .unwrap_or_else(|| panic!("not named:\n{told}"));
    let place = retries.split(' ').next().unwrap_or_default();
    assert!(
        place.contains("config.yaml:7:"),
        "no file:line:col in {retries}"
    );
    let typo = told
        .lines()
        .find(|line| line.contains("routing_stratgy"))
        .unwrap_or_else(|| panic!("not named:\n{told}"));
    assert!(
        typo.contains("routing_strategy"),
        "the nearest key is not named: {typo}"
    );
    assert!(
        told.contains("model_list") && told.contains("model"),
        "{told}"
    );
    assert!(
        !told.contains("very-secret"),
        "a secret is printed:\n{told}"
    );
}

/// What stands behind the base, and what is told of it: the section and what is wrong.
#[tokio::test]
async fn the_redis_that_is_shared_is_judged() {
    let cache =
        |params: &str| format!("litellm_settings: {{cache: true, cache_params: {{{params}}}}}\n");
    for (more, place, wrong) in [
        (
            "  redis_url: 'http://:very-secret@h'\n".to_owned(),
            "router_settings",
            "redis://",
        ),
        (
            "  redis_host: h\n  redis_port: some\n".to_owned(),
            "router_settings",
            "port",
        ),
        (
            "  redis_url: 'rediss://h'\n  cache_kwargs: {ssl_ca_certs: /nowhere.pem}\n".to_owned(),
            "router_settings",
            "ssl_ca_certs: /nowhere.pem",
        ),
        (
            cache("type: redis"),
            "litellm_settings.cache_params",
            "names no Redis",
        ),
        (
            cache("type: redis, sentinel_nodes: [[h, 1]]"),
            "litellm_settings.cache_params",
            "service_name",
        ),
    ] {
        let config = base_config("http://127.0.0.1:9/v1") + &more;
        let (stdout, stderr, code) = run_with(&config, &["check", "--config", "config.yaml"]).await;
        assert_eq!(code, Some(1), "{more}: {stdout}{stderr}");
        let line = stdout.lines().find(|line| line.starts_with(place));
        let line = line.unwrap_or_else(|| panic!("{more}: {stdout}"));
        assert!(line.contains(wrong), "{line}");
        assert!(!stdout.contains("very-secret"), "{stdout}");
    }
    let good = base_config("http://127.0.0.1:9/v1") + "  redis_url: 'redis://h:1/2'\n";
    let (stdout, _, code) = run_with(&good, &["check", "--config", "config.yaml"]).await;
    assert_eq!(code, Some(0), "{stdout}");
}

#[tokio::test]
async fn problems_are_to_be_had_as_json() {
    let (stdout, _, code) = run_with(BAD, &["check", "--config", "config.yaml", "--json"]).await;
    assert_eq!(code, Some(1), "{stdout}");
    let problems: Value = serde_json::from_str(&stdout).expect("standard output is JSON");
    let problems = problems.as_array().expect("an array");
    assert!(problems.iter().any(|problem| problem["path"] == "router_settings.num_retries" && problem["line"] == 7), "{stdout}");
    assert!(!stdout.contains("very-secret"), "{stdout}");
}

#[tokio::test]
async fn an_unknown_key_is_an_error_only_when_strict() {
    let config =
        base_config("http://127.0.0.1:9/v1") + "litellm_settings:\n  no_such_key_at_all: 1\n";
    let (stdout, stderr, code) = run_with(&config, &["check", "--config", "config.yaml"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!((stdout + &stderr).contains("no_such_key_at_all"));
    let (_, _, code) = run_with(
        &config,
        &["check", "--config", "config.yaml", "--strict-config"],
    )
    .await;
    assert_eq!(code, Some(1));
}

#[tokio::test]
async fn a_config_that_is_not_there_is_a_clear_error() {
    for command in ["check", "serve"] {
        let (stdout, stderr, code) = run_with("", &[command, "--config", "nowhere.yaml"]).await;
        assert_eq!(code, Some(1), "{command}: {stdout}{stderr}");
        assert!((stdout + &stderr).contains("nowhere.yaml"));
    }
}

#[tokio::test]
async fn an_unknown_flag_is_a_usage_error() {
    let (_, stderr, code) = run_with("", &["serve", "--no-such-flag"]).await;
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("--no-such-flag"), "{stderr}");
}

#[tokio::test]
async fn the_plugin_list_shows_what_each_may_touch() {
    let config = base_config("http://127.0.0.1:9/v1")
        + "litellm_settings:\n  success_callback: [jsonl]\n\
           guardrails:\n  - guardrail_name: secrets\n    litellm_params: {guardrail: hide-secrets, mode: pre_call}\n\
           plugins:\n  jsonl: {grants: {files: {events: /var/log/granted-file.jsonl}}}\n";
    let (stdout, stderr, code) =
        run_with(&config, &["plugin", "list", "--config", "config.yaml"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for shown in [
        "jsonl",
        "secrets",
        "hide-secrets",
        "log-sink",
        "guardrail",
        "0.1.0",
        "granted-file.jsonl",
        "langfuse",
    ] {
        assert!(stdout.contains(shown), "{shown} is not in\n{stdout}");
    }
    assert!(!stdout.contains(MASTER_KEY));
    let (stdout, stderr, code) = run_with(
        &config,
        &["plugin", "list", "--config", "config.yaml", "--json"],
    )
    .await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let list: Value = serde_json::from_str(&stdout).expect("JSON");
    let jsonl = list
        .as_array()
        .into_iter()
        .flatten()
        .find(|plugin| plugin["name"] == "jsonl")
        .expect("jsonl is listed");
    let digest = jsonl["digest"].as_str().unwrap_or_default();
    assert!(digest.trim_start_matches("sha256:").len() >= 12, "{jsonl}");
}

#[tokio::test]
async fn an_inspected_component_tells_what_it_is() {
    let file = plugin_dir().join("hide-secrets.wasm");
    let path = file.to_string_lossy();
    let (stdout, stderr, code) = Gateway::run(Path::new("."), &["plugin", "inspect", &path]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    for shown in ["hide-secrets", "guardrail", "0.1.0", "witgate:guardrail"] {
        assert!(stdout.contains(shown), "{shown} is not in\n{stdout}");
    }
    // What it imports is ours: no ambient door to the system.
    assert!(
        !stdout.contains("wasi:filesystem") && !stdout.contains("wasi:sockets"),
        "{stdout}"
    );
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("text.wasm"), "not wasm").expect("write");
    let (stdout, stderr, code) =
        Gateway::run(folder.path(), &["plugin", "inspect", "text.wasm"]).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!((stdout + &stderr).contains("text.wasm"));
    let (stdout, stderr, code) = Gateway::run(folder.path(), &["plugin", "build", "."]).await;
    assert_eq!(code, Some(1), "{stdout}{stderr}");
    assert!((stdout + &stderr).contains("plugin.toml"));
}

#[tokio::test]
async fn every_component_that_we_ship_passes_the_suite_of_its_kind_without_cases() {
    let folder = tempfile::tempdir().expect("a folder");
    let shipped = std::fs::read_dir(plugin_dir()).expect("the folder of the plugins");
    let mut files: Vec<String> = shipped
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .filter(|path| path.ends_with(".wasm"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no plugins: run `make plugins`");
    let mut args = vec!["plugin", "check"];
    args.extend(files.iter().map(String::as_str));
    let (stdout, stderr, code) = Gateway::run(folder.path(), &args).await;
    let failed: Vec<&str> = stdout
        .lines()
        .filter(|line| !line.starts_with("ok "))
        .collect();
    assert_eq!(code, Some(0), "{failed:#?}\n{stderr}");
}

#[tokio::test]
async fn a_file_of_variables_in_the_working_directory_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect(name);
    let config = "model_list: []\ngeneral_settings: {master_key: os.environ/KEY_OF_FILE}\n";
    write("config.yaml", config);
    let check = ["check", "--config", "config.yaml"];
    let (stdout, stderr, _) = Gateway::run(folder.path(), &check).await;
    assert!(format!("{stdout}{stderr}").contains("KEY_OF_FILE"));
    write(".env", "export KEY_OF_FILE='sk-of-file'\n");
    let (stdout, stderr, code) = Gateway::run(folder.path(), &check).await;
    let told = format!("{stdout}{stderr}");
    assert!(code == Some(0) && !told.contains("KEY_OF_FILE"), "{told}");
}
