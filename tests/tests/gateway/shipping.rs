//! Plugins as they travel: bundled, signed, verified, installed, pinned, refused.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use witgate_testkit::{FakeUpstream, Gateway, fixture_dir, plugin_dir, workspace_root};

use crate::support::{Client, MASTER_KEY, base_config, chat};

/// A config that uses the component `hostile-ok`, which is not hostile, as the guardrail `mine`.
pub fn guarded(upstream: &FakeUpstream, more: &str) -> String {
    base_config(&upstream.api_base())
        + "guardrails:\n  - guardrail_name: mine\n    litellm_params: {guardrail: shipped, mode: pre_call, default_on: true}\n"
        + more
}

/// The component under the name `shipped`, in a version of three digits.
pub fn component(version: &str) -> Vec<u8> {
    let bytes =
        std::fs::read(fixture_dir().join("hostile-ok.wasm")).expect("the component is built");
    let bytes = replaced(&bytes, b"\"name\":\"hostile-ok\"", b"\"name\":\"shipped\"");
    let version = format!("\"version\":\"{version}\"");
    replaced(&bytes, b"\"version\":\"0.1.0\"", version.as_bytes())
}

/// Another text in the manifest of a component; what is missing in length is made up for by spaces.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old);
    let at = at.unwrap_or_else(|| panic!("no {} in it", String::from_utf8_lossy(old)));
    let mut padded = new.to_vec();
    padded.resize(old.len(), b' ');
    [&bytes[..at], &padded, &bytes[at + old.len()..]].concat()
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A folder in which commands are run; the data directory is `data` in it.
pub struct Yard(PathBuf);

impl Yard {
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// What a command that must succeed prints, both streams.
    pub async fn run(&self, args: &[&str]) -> String {
        let (stdout, stderr, code) = Gateway::run(&self.0, args).await;
        assert_eq!(code, Some(0), "witgate {args:?}:\n{stdout}{stderr}");
        stdout + &stderr
    }

    /// What a command that must fail prints.
    pub async fn refusal(&self, args: &[&str]) -> String {
        let (stdout, stderr, code) = Gateway::run(&self.0, args).await;
        assert_eq!(code, Some(1), "witgate {args:?}:\n{stdout}{stderr}");
        stdout + &stderr
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), content).expect("write a file");
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.file(name)).expect("read a file")
    }

    /// A key, and the line of configuration that trusts it.
    pub async fn key(&self, name: &str) -> String {
        self.run(&["plugin", "keygen", name]).await;
        let public = String::from_utf8(self.read(&format!("{name}.pub"))).expect("text");
        let key = public.split(' ').next().unwrap_or_default();
        format!("plugin_trust: {{keys: {{{name}: '{key}'}}}}\n")
    }

    /// Bundles the component in this version as `shipped-VERSION.bundle`, signed when there is a key.
    pub async fn bundle(&self, version: &str, key: Option<&str>) -> String {
        self.write("shipped.wasm", component(version));
        let mut args = vec!["plugin", "bundle", "shipped.wasm"];
        args.extend(key.iter().flat_map(|key| ["--key", key]));
        self.run(&args).await;
        format!("shipped-{version}.bundle")
    }

    /// What `plugin list` says of the component.
    pub async fn listed(&self, config: &str) -> Value {
        self.write("listed.yaml", config);
        let (stdout, stderr, code) = Gateway::run(
            &self.0,
            &["plugin", "list", "--config", "listed.yaml", "--json"],
        )
        .await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        let rows: Vec<Value> = serde_json::from_str(&stdout).expect("JSON");
        let row = rows.into_iter().find(|row| row["component"] == "shipped");
        row.unwrap_or_else(|| panic!("it is not listed: {stdout}"))
    }
}

/// A folder of a gateway that is yet to start, with what it holds.
fn yard() -> (witgate_testkit::GatewayBuilder, Yard) {
    let builder = Gateway::builder("");
    let yard = Yard::at(builder.home());
    (builder, yard)
}

/// Why a gateway with this config does not start in this yard.
pub async fn refused(builder: &witgate_testkit::GatewayBuilder, config: &str) -> String {
    let path = builder.home().join("refused.yaml");
    std::fs::write(&path, config).expect("write the config");
    builder
        .clone()
        .config_file(path)
        .expect_refusal()
        .await
        .output
}

/// Starts with this config in this yard, and makes a call that the plugin judges.
pub async fn serves(builder: &witgate_testkit::GatewayBuilder, config: &str) -> Gateway {
    // Each its own file: a gateway that runs watches the one it was started with.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = builder.home().join(format!("served-{number}.yaml"));
    std::fs::write(&path, config).expect("write the config");
    let gateway = builder.clone().config_file(path).start().await;
    let answer = Client::of(&gateway)
        .key(MASTER_KEY)
        .chat(&chat("gpt-4o"))
        .await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-applied-guardrails"), Some("mine"));
    gateway
}

#[tokio::test]
async fn a_signed_bundle_is_installed_found_by_name_and_listed_with_its_signer() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let trust = yard.key("ops").await;
    let bundle = yard.bundle("1.0.0", Some("ops.key")).await;
    let told = yard
        .run(&["plugin", "verify", &bundle, "--key", "ops.pub"])
        .await;
    assert!(
        told.contains("trusted as ops") && told.contains("guardrail"),
        "{told}"
    );
    yard.write("trust.yaml", &trust);
    let told = yard
        .run(&["plugin", "install", &bundle, "--config", "trust.yaml"])
        .await;
    assert!(
        told.contains("installed shipped 1.0.0") && told.contains("signed by ops"),
        "{told}"
    );

    let config = guarded(&upstream, &trust);
    serves(&builder, &config).await;
    let row = yard.listed(&config).await;
    assert_eq!(
        (&row["bundle"], &row["signer"]),
        (&json!("shipped 1.0.0"), &json!("ops")),
        "{row}"
    );
    assert_eq!(
        row["digest"],
        digest(&component("1.0.0"))["sha256:".len()..],
        "{row}"
    );
    assert_eq!(
        (&row["state"], &row["version"]),
        (&json!("ready"), &json!("1.0.0")),
        "{row}"
    );
    // Without a use of it, it is listed all the same.
    let row = yard.listed(&base_config(&upstream.api_base())).await;
    assert_eq!(
        (&row["state"], &row["bundle"]),
        (&json!("not used"), &json!("shipped 1.0.0")),
        "{row}"
    );

    let told = yard.run(&["plugin", "uninstall", "shipped"]).await;
    assert!(told.contains("removed shipped 1.0.0"), "{told}");
    std::fs::remove_file(yard.file("shipped.wasm")).expect("remove the component");
    assert!(
        refused(&builder, &config)
            .await
            .contains("no component of this name")
    );
}

#[tokio::test]
async fn a_running_gateway_takes_over_what_was_installed_at_its_reload_and_goes_back() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let trust = yard.key("ops").await;
    for version in ["1.0.0", "1.1.0"] {
        yard.bundle(version, Some("ops.key")).await;
    }
    let install = async |version: &str| {
        let bundle = format!("shipped-{version}.bundle");
        yard.run(&["plugin", "install", &bundle, "--key", "ops.pub"])
            .await
    };
    install("1.0.0").await;
    let config = guarded(&upstream, &trust);
    let gateway = serves(&builder, &config).await;
    let told = install("1.1.0").await;
    assert!(told.contains("it replaces 1.0.0"), "{told}");
    let client = Client::of(&gateway).key(MASTER_KEY);
    client.post("/config/reload", &json!({})).await.ok();
    client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(yard.listed(&config).await["version"], "1.1.0");
    let told = install("1.0.0").await;
    assert!(told.contains("a step BACK from 1.1.0"), "{told}");
    client.post("/config/reload", &json!({})).await.ok();
    assert_eq!(yard.listed(&config).await["version"], "1.0.0");

    // Signed by somebody else in the meantime: the reload is refused, the old one serves on.
    yard.key("mallory").await;
    yard.bundle("1.2.0", Some("mallory.key")).await;
    yard.run(&["plugin", "install", "shipped-1.2.0.bundle"])
        .await;
    let answer = client.post("/config/reload", &json!({})).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("none of the trusted ones (ops)"),
        "{}",
        answer.text()
    );
    client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn who_is_not_trusted_is_refused_everywhere() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let trust = yard.key("ops").await;
    yard.write("trust.yaml", &trust);
    yard.key("mallory").await;
    let bundle = yard.bundle("1.0.0", None).await;
    let source = format!("plugins: {{shipped: {{source: {bundle}}}}}\n");
    let config = guarded(&upstream, &(trust.clone() + &source));

    // Unsigned, or without its signature.
    for args in [
        ["plugin", "verify", &bundle, "--key", "ops.pub"],
        ["plugin", "install", &bundle, "--key", "ops.pub"],
        ["plugin", "install", &bundle, "--config", "trust.yaml"],
    ] {
        let told = yard.refusal(&args).await;
        assert!(
            told.contains("it is not signed, and only what ops signed is trusted"),
            "{told}"
        );
    }
    let told = refused(&builder, &config).await;
    assert!(
        told.contains("it is not signed") && told.contains("plugin_trust.keys"),
        "{told}"
    );

    // Signed by somebody unknown.
    yard.run(&["plugin", "sign", &bundle, "--key", "mallory.key"])
        .await;
    for command in ["verify", "install"] {
        let told = yard
            .refusal(&["plugin", command, &bundle, "--key", "ops.pub"])
            .await;
        assert!(
            told.contains("which is none of the trusted ones (ops)"),
            "{told}"
        );
    }
    assert!(
        refused(&builder, &config)
            .await
            .contains("none of the trusted ones (ops)")
    );

    // Signed by both: one is enough, and the file by path is as good as an installed one.
    yard.run(&["plugin", "sign", &bundle, "--key", "ops.key"])
        .await;
    yard.run(&["plugin", "verify", &bundle, "--key", "ops.pub"])
        .await;
    serves(&builder, &config).await;

    // Nobody is trusted because he signed: without a key there is nothing to verify with.
    let told = yard.refusal(&["plugin", "verify", &bundle]).await;
    assert!(told.contains("no key was given"), "{told}");
    // Without keys in the configuration, files of this machine are loaded as they are.
    serves(&builder, &guarded(&upstream, &source)).await;
}

#[tokio::test]
async fn single_components_are_signed_beside_their_file() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let trust = yard.key("ops").await;
    yard.write("shipped.wasm", component("1.0.0"));
    let config = guarded(&upstream, &trust);
    assert!(
        refused(&builder, &config)
            .await
            .contains("it is not signed")
    );
    yard.run(&["plugin", "sign", "shipped.wasm", "--key", "ops.key"])
        .await;
    yard.run(&["plugin", "verify", "shipped.wasm", "--key", "ops.pub"])
        .await;
    serves(&builder, &config).await;
    // A new build needs a new signature.
    yard.write("shipped.wasm", component("1.0.1"));
    assert!(
        refused(&builder, &config)
            .await
            .contains("altered after it was signed")
    );
    let told = yard
        .refusal(&["plugin", "verify", "shipped.wasm", "--key", "ops.pub"])
        .await;
    assert!(told.contains("altered after it was signed"), "{told}");
    yard.run(&["plugin", "sign", "shipped.wasm", "--key", "ops.key"])
        .await;
    serves(&builder, &config).await;
    // Built-in components come with the gateway and need none.
    let built_in = config.replace("guardrail: shipped", "guardrail: hide-secrets");
    serves(&builder, &built_in).await;
}

#[tokio::test]
async fn an_altered_bundle_is_refused_by_every_command_and_by_the_gateway() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let trust = yard.key("ops").await;
    let bundle = yard.bundle("1.0.0", Some("ops.key")).await;
    let good = yard.read(&bundle);
    let config = guarded(
        &upstream,
        &(trust + &format!("plugins: {{shipped: {{source: {bundle}}}}}\n")),
    );
    // In the head, the archive, the signature, its frame, the mark; and cut off.
    let places = [
        1,
        6,
        good.len() / 2,
        good.len() - 60,
        good.len() - 6,
        good.len() - 1,
    ];
    let flipped = places.map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    });
    let cut = good[..good.len() / 3].to_vec();
    for bytes in flipped.into_iter().chain([cut]) {
        yard.write(&bundle, bytes);
        for command in ["verify", "install"] {
            yard.refusal(&["plugin", command, &bundle, "--key", "ops.pub"])
                .await;
        }
        yard.refusal(&["plugin", "sign", &bundle, "--key", "ops.key"])
            .await;
    }
    let told = refused(&builder, &config).await;
    assert!(told.contains("shipped"), "{told}");
    yard.write(&bundle, good);
    serves(&builder, &config).await;

    // An installed one that is altered afterwards does not load, and nothing takes its place.
    yard.run(&["plugin", "install", &bundle, "--key", "ops.pub"])
        .await;
    let installed = yard.file("data/bundles/shipped/1.0.0.bundle");
    let mut bytes = std::fs::read(&installed).expect("it is installed");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&installed, bytes).expect("alter it");
    let by_name = config
        .split("plugins:")
        .next()
        .unwrap_or_default()
        .to_owned();
    let told = refused(&builder, &by_name).await;
    assert!(
        // What is noticed first depends on where the byte lies.
        told.contains("installed")
            && (told.contains("altered") || told.contains("no intact bundle")),
        "{told}"
    );
}

#[tokio::test]
async fn pins_hold_for_digests_and_versions_wherever_a_component_comes_from() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let bundle = yard.bundle("1.1.0", None).await;
    let older = yard.bundle("1.0.0", None).await;
    let told = yard.run(&["plugin", "install", &older]).await;
    assert!(told.contains("nobody vouches for it"), "{told}");
    let of_bundle = told
        .lines()
        .find(|line| line.starts_with("installed"))
        .unwrap_or_default();
    let of_bundle = of_bundle
        .split_whitespace()
        .find(|word| word.starts_with("sha256:"))
        .unwrap_or_default();
    let own = digest(&component("1.0.0"));
    let pinned = |pins: &str| guarded(&upstream, &format!("plugins: {{shipped: {{{pins}}}}}\n"));

    for good in [
        format!("digest: '{own}'"),
        format!("digest: '{of_bundle}'"),
        "version: '>=1.0.0'".to_owned(),
        "version: '1'".to_owned(),
        format!("source: {older}, version: '=1.0.0', digest: '{own}'"),
        "source: shipped.wasm, version: '~1.0'".to_owned(),
    ] {
        serves(&builder, &pinned(&good)).await;
    }
    for (bad, expected) in [
        (
            format!("digest: '{}'", digest(b"other")),
            "but the configuration pins",
        ),
        ("digest: 'sha256:12'".to_owned(), "is no digest"),
        (
            "version: '>=1.1.0'".to_owned(),
            "but the configuration pins >=1.1.0",
        ),
        (
            format!("source: {older}, version: '1.1'"),
            "but the configuration pins 1.1",
        ),
        (
            "source: shipped.wasm, version: '2'".to_owned(),
            "but the configuration pins 2",
        ),
        ("version: 'newest'".to_owned(), "says no versions"),
        ("source: shipped.wasm#other".to_owned(), "is no bundle"),
        (format!("source: '{older}#other'"), "none of them is meant"),
        ("source: nowhere.bundle".to_owned(), "there is no file"),
    ] {
        let told = refused(&builder, &pinned(&bad)).await;
        assert!(told.contains(expected), "{bad}: {told}");
    }

    // A downgrade below a pin is refused when it is installed, too; the way up is free.
    yard.write("pin.yaml", "plugins: {shipped: {version: '>=1.1.0'}}\n");
    yard.run(&["plugin", "install", &bundle, "--config", "pin.yaml"])
        .await;
    let told = yard
        .refusal(&["plugin", "install", &older, "--config", "pin.yaml"])
        .await;
    assert!(
        told.contains("plugins.shipped.version pins >=1.1.0"),
        "{told}"
    );
    serves(&builder, &pinned("version: '>=1.1.0'")).await;
    yard.write(
        "pin.yaml",
        format!("plugins: {{shipped: {{digest: '{own}'}}}}\n"),
    );
    let told = yard
        .refusal(&["plugin", "install", &bundle, "--config", "pin.yaml"])
        .await;
    assert!(told.contains("plugins.shipped.digest pins"), "{told}");
}

#[tokio::test]
async fn a_bundle_of_several_is_asked_for_by_name() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    std::fs::create_dir(yard.file("all")).expect("a folder");
    yard.write("all/shipped.wasm", component("1.0.0"));
    std::fs::copy(
        fixture_dir().join("custom-logger.wasm"),
        yard.file("all/custom-logger.wasm"),
    )
    .expect("copy");
    let told = yard.refusal(&["plugin", "bundle", "all"]).await;
    assert!(told.contains("--name and --version"), "{told}");
    let args = [
        "plugin",
        "bundle",
        "all",
        "--name",
        "tools",
        "--version",
        "2.0.0",
        "--out",
        "t.bundle",
    ];
    yard.run(&args).await;
    let first = yard.read("t.bundle");
    yard.run(&args).await;
    assert_eq!(
        first,
        yard.read("t.bundle"),
        "the same inputs give the same bytes"
    );
    let with = |source: &str| {
        guarded(
            &upstream,
            &format!("plugins: {{shipped: {{source: '{source}'}}}}\n"),
        )
    };
    serves(&builder, &with("t.bundle")).await;
    serves(&builder, &with("t.bundle#shipped")).await;
    assert!(
        refused(&builder, &with("t.bundle#custom-logger"))
            .await
            .contains("log-sink")
    );
    yard.run(&["plugin", "install", "t.bundle"]).await;
    serves(&builder, &guarded(&upstream, "")).await;

    // The same component in two installed bundles: nobody guesses.
    let other = yard.bundle("1.0.0", None).await;
    yard.run(&["plugin", "install", &other]).await;
    let told = refused(&builder, &guarded(&upstream, "")).await;
    assert!(
        told.contains("two installed bundles, shipped 1.0.0 and tools 2.0.0"),
        "{told}"
    );
}

#[tokio::test]
async fn an_installed_component_takes_the_place_of_a_built_in_one_of_its_name() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let own = replaced(
        &component("9.9.9"),
        b"\"name\":\"shipped\"   ",
        b"\"name\":\"jsonl\"",
    );
    yard.write("jsonl.wasm", own);
    let told = yard.run(&["plugin", "bundle", "jsonl.wasm"]).await;
    assert!(told.contains("jsonl 9.9.9"), "{told}");
    let config = guarded(&upstream, "").replace("guardrail: shipped", "guardrail: jsonl");
    // The built-in one is a log sink.
    assert!(refused(&builder, &config).await.contains("log-sink"));
    yard.run(&["plugin", "install", "jsonl-9.9.9.bundle"]).await;
    serves(&builder, &config).await;
}

#[tokio::test]
async fn a_kill_at_any_moment_leaves_the_old_version_or_the_new_one() {
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let versions = ["1.0.0", "1.0.1"];
    for version in versions {
        yard.bundle(version, None).await;
    }
    yard.run(&["plugin", "install", "shipped-1.0.0.bundle"])
        .await;
    let config = guarded(&upstream, "");
    let folder = yard.file("data/bundles/shipped");
    for round in 0..12_usize {
        let bundle = format!("shipped-{}.bundle", versions[round % 2]);
        let mut install = tokio::process::Command::new(witgate_testkit::binary());
        install
            .args(["plugin", "install", &bundle])
            .current_dir(yard.file(""))
            .env("WITGATE_DATA_DIR", yard.file("data"))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true);
        let mut child = install.spawn().expect("start it");
        // Killed once it has begun to write, a little later each round, or when it is through.
        let mut seen = 0;
        while seen < round && child.try_wait().expect("wait").is_none() {
            let writing = std::fs::read_dir(&folder).expect("the folder").flatten();
            seen += writing
                .filter(|entry| entry.file_name().to_string_lossy().starts_with(".part-"))
                .count();
            tokio::task::yield_now().await;
        }
        let _ = child.start_kill();
        child.wait().await.expect("it ends");
        let row = yard.listed(&config).await;
        assert!(
            versions.contains(&row["version"].as_str().unwrap_or_default()),
            "round {round}: {row}"
        );
        assert_eq!(row["state"], "ready", "round {round}: {row}");
    }
    yard.run(&["plugin", "install", "shipped-1.0.1.bundle"])
        .await;
    serves(&builder, &config).await;
    let left: Vec<String> = std::fs::read_dir(&folder)
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        left.iter().all(|name| !name.starts_with(".part-")),
        "{left:?}"
    );
}

#[tokio::test]
async fn keys_are_private_never_overwritten_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let yard = Yard::at(folder.path());
    yard.key("ops").await;
    let mode = std::os::unix::fs::MetadataExt::mode(
        &std::fs::metadata(yard.file("ops.key")).expect("the key"),
    );
    assert_eq!(mode & 0o777, 0o600);
    let told = yard.refusal(&["plugin", "keygen", "ops"]).await;
    assert!(told.contains("never overwritten"), "{told}");
    let secret = String::from_utf8(yard.read("ops.key")).expect("text");
    let secret = secret.lines().nth(1).expect("a line of the key").to_owned();
    let bundle = yard.bundle("1.0.0", Some("ops.key")).await;
    // The private key where a public one belongs, and the other way round.
    for args in [
        ["plugin", "verify", &bundle, "--key", "ops.key"],
        ["plugin", "sign", &bundle, "--key", "ops.pub"],
        ["plugin", "sign", &bundle, "--key", "nowhere.key"],
    ] {
        let told = yard.refusal(&args).await;
        assert!(told.contains(args[4]) && !told.contains(&secret), "{told}");
    }
    // A key in the configuration that is none.
    yard.write("bad.yaml", "plugin_trust: {keys: {ops: 'ed25519:AAAA'}}\n");
    let told = yard
        .refusal(&["plugin", "verify", &bundle, "--config", "bad.yaml"])
        .await;
    assert!(told.contains("plugin_trust.keys.ops"), "{told}");
    // As a file beside the configuration.
    yard.write("good.yaml", "plugin_trust: {keys: {ops: ops.pub}}\n");
    yard.run(&["plugin", "verify", &bundle, "--config", "good.yaml"])
        .await;
}

/// The block of commands on the page, from a folder to a gateway that serves.
fn commands_on_the_page() -> Vec<String> {
    let page = std::fs::read_to_string(workspace_root().join("docs/bundles.md")).expect("the page");
    let block = page
        .split("```sh\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let lines = block.expect("a block of commands").lines();
    lines
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

#[tokio::test]
async fn the_six_commands_on_the_page_lead_to_a_gateway_that_serves() {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder("").shared_plugin_cache();
    let yard = Yard::at(builder.home());
    yard.run(&[
        "plugin",
        "new",
        "house-rules",
        "--kind",
        "guardrail",
        "--lang",
        "javascript",
    ])
    .await;
    let commands = commands_on_the_page();
    assert_eq!(commands.len(), 6, "{commands:#?}");
    for command in &commands[..5] {
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[0], "witgate", "{command}");
        let told = yard.run(&words[1..]).await;
        if words[2] == "bundle" {
            assert!(
                told.contains("house-rules 0.1.0  guardrail") && told.contains("  sbom  "),
                "{told}"
            );
        }
    }
    assert_eq!(commands[5], "witgate serve --config config.yaml");
    let page = std::fs::read_to_string(workspace_root().join("docs/bundles.md")).expect("the page");
    let yaml = page
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("a config");
    let config = base_config(&upstream.api_base()) + yaml;
    let gateway = {
        let path = builder.home().join("config.yaml");
        std::fs::write(path, config).expect("write the config");
        builder.clone().start().await
    };
    let answer = Client::of(&gateway)
        .key(MASTER_KEY)
        .chat(&chat("gpt-4o"))
        .await;
    answer.ok();
    assert_eq!(
        answer.header("x-litellm-applied-guardrails"),
        Some("house-rules")
    );
}

#[tokio::test]
async fn a_component_says_what_it_was_made_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let yard = Yard::at(folder.path());
    let component = plugin_dir().join("hide-secrets.wasm");
    let component = component.to_str().expect("text");
    let told = yard.run(&["plugin", "inspect", component, "--json"]).await;
    let told: Value = serde_json::from_str(&told).expect("JSON");
    let sbom = &told["sbom"];
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"]),
        (&json!("CycloneDX"), &json!("1.5")),
        "{sbom}"
    );
    assert_eq!(sbom["metadata"]["component"]["name"], "hide-secrets");
    let all = sbom["components"].as_array().expect("components");
    let serde = all
        .iter()
        .find(|one| one["name"] == "serde")
        .expect("serde is in it");
    assert!(
        serde["purl"]
            .as_str()
            .is_some_and(|purl| purl.starts_with("pkg:cargo/serde@1.")),
        "{serde}"
    );
    assert_eq!(serde["licenses"][0]["expression"], "MIT OR Apache-2.0");
    let own = all
        .iter()
        .find(|one| one["name"] == "witgate-plugin")
        .expect("the SDK is in it");
    assert_eq!(own.get("purl"), None, "it is in no registry");
    let told = yard
        .run(&["plugin", "bundle", component, "--out", "one.bundle"])
        .await;
    assert!(told.contains("  sbom  "), "{told}");
}
