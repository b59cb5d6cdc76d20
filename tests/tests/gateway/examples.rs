//! Every example config starts, and the first request of its page works.
//!
//! The page of `examples/NAME.yaml` is its leading comment; the first `curl` command in it is run
//! as written, with the address of the gateway under test in place of `127.0.0.1:4000`.

use std::path::{Path, PathBuf};

use serde_json::json;
use witgate_testkit::{
    FakeAnthropic, FakeIssuer, FakeLangfuse, FakeUpstream, Gateway, workspace_root,
};

fn examples() -> Vec<PathBuf> {
    let folder = workspace_root().join("examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

/// The first `curl` command in the comments at the head of a config, continuation lines joined.
fn first_request(config: &Path) -> String {
    let text = std::fs::read_to_string(config).expect("read the example");
    let comments = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(str::trim);
    let mut command = String::new();
    for line in comments.skip_while(|line| !line.starts_with("curl ")) {
        command.push_str(line.trim_end_matches('\\'));
        if !line.ends_with('\\') {
            return command;
        }
    }
    panic!(
        "{} shows no `curl` command in its comments",
        config.display()
    );
}

#[tokio::test]
async fn every_example_starts_and_its_first_request_works() {
    let (upstream, vendor) = (FakeUpstream::start().await, FakeLangfuse::start().await);
    let anthropic = FakeAnthropic::start().await;
    let issuer = FakeIssuer::start().await;
    let examples = examples();
    assert!(
        examples
            .iter()
            .any(|path| path.ends_with("quickstart.yaml")),
        "{examples:?}"
    );
    for config in examples {
        let gateway = Gateway::builder("")
            .config_file(&config)
            .env("OPENAI_API_KEY", "sk-example")
            .env("OPENAI_API_BASE", upstream.api_base())
            .env("OPENAI_BASE_URL", upstream.api_base())
            .env("UPSTREAM_API_BASE", upstream.api_base())
            .env("UPSTREAM_API_KEY", "sk-example")
            .env("LANGFUSE_HOST", vendor.origin())
            .env("LANGFUSE_PUBLIC_KEY", FakeLangfuse::PUBLIC_KEY)
            .env("LANGFUSE_SECRET_KEY", FakeLangfuse::SECRET_KEY)
            .env("ANTHROPIC_API_BASE", anthropic.origin())
            .env("ANTHROPIC_API_KEY", FakeAnthropic::KEY)
            .env("LITELLM_MASTER_KEY", "sk-1234")
            .env(
                "JWT_PUBLIC_KEY_URL",
                issuer.issuer() + "/.well-known/openid-configuration",
            )
            .env("JWT_AUDIENCE", "gateway")
            .start()
            .await;
        let command = first_request(&config)
            .replace("127.0.0.1:4000", gateway.authority())
            .replace("localhost:4000", gateway.authority());
        let output = tokio::process::Command::new("sh")
            .args([
                "-c",
                &command.replacen(
                    "curl ",
                    "curl --silent --show-error --fail-with-body --max-time 30 ",
                    1,
                ),
            ])
            .env("LITELLM_MASTER_KEY", "sk-1234")
            .env(
                "TOKEN",
                issuer.token(json!({"sub": "ann", "aud": "gateway"})),
            )
            .output()
            .await
            .expect("run curl");
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && !printed.is_empty(),
            "{}: {command}\n{printed}{}\nlog:\n{}",
            config.display(),
            String::from_utf8_lossy(&output.stderr),
            gateway.logs().all().join("\n")
        );
    }
}

#[tokio::test]
async fn every_example_passes_the_check() {
    for config in examples() {
        let folder = tempfile::tempdir().expect("a folder");
        let (stdout, stderr, code) = Gateway::run(
            folder.path(),
            &["check", "--config", &config.to_string_lossy()],
        )
        .await;
        assert_eq!(code, Some(0), "{}:\n{stdout}{stderr}", config.display());
    }
}
