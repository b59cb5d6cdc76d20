//! Plugins as they were built for every released version: this gateway runs them with the results they had.

use std::path::PathBuf;

use witgate_testkit::{Gateway, workspace_root};

fn versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace_root().join("tests/fixtures/released"));
    let paths = entries.expect("the corpus").flatten();
    let mut versions: Vec<_> = paths
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    versions.sort();
    versions
}

#[tokio::test]
async fn plugins_of_every_released_version_do_what_they_did() {
    let versions = versions();
    assert!(!versions.is_empty(), "the corpus is empty");
    for version in versions {
        let folder = version.display().to_string();
        let mut plugins: Vec<String> = std::fs::read_dir(&version)
            .expect("a version")
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.join("plugin.toml").is_file())
            .map(|path| path.display().to_string())
            .collect();
        plugins.sort();
        let mut args = vec!["plugin", "test", "--built", &folder];
        args.extend(plugins.iter().map(String::as_str));
        let home = tempfile::tempdir().expect("a folder");
        let (stdout, stderr, code) = Gateway::run_with_input(home.path(), &args, "").await;
        assert_eq!(code, Some(0), "{folder}\n{stdout}{stderr}");
        assert!(stdout.contains(": 0 failed"), "{stdout}");
    }
}
