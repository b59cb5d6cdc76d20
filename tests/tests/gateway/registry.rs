//! Plugins in OCI registries: a real one, Debian's `docker-registry`, and a fake that lies.

use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use witgate_testkit::{FakeUpstream, FakeVendor, Gateway, GatewayBuilder, Reply, workspace_root};

use crate::shipping::{Yard, component, digest, guarded, refused, serves};
use crate::support::{Client, MASTER_KEY, chat, http_client, venv};

/// Of the one user of a registry that asks who we are; the line is as `htpasswd -B` writes it.
const USER: (&str, &str) = ("pusher", "s3cret-word");
const HTPASSWD: &str = "pusher:$2b$04$h01aStS.4iL1y4vruXevae5x84t.pQXJ6iHCfAn2EISgXdzBkIa1.\n";

/// A registry on an ephemeral loopback port; gone when dropped.
struct DockerRegistry {
    _process: Child,
    _folder: TempDir,
    authority: String,
}

impl DockerRegistry {
    async fn open() -> Self {
        Self::start("").await
    }

    async fn with_password() -> Self {
        Self::start("auth: {htpasswd: {realm: plugins, path: FOLDER/htpasswd}}\n").await
    }

    async fn start(auth: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().display().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: info, formatter: json}}\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n{}",
            auth.replace("FOLDER", &path)
        );
        std::fs::write(folder.path().join("config.yml"), config).expect("write the config");
        std::fs::write(folder.path().join("htpasswd"), HTPASSWD).expect("write the users");
        let mut process = Command::new("docker-registry")
            .args(["serve", &format!("{path}/config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run docker-registry; `make test` installs it");
        let mut lines = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let authority = loop {
            let line = lines
                .next_line()
                .await
                .expect("a line")
                .expect("the registry lives");
            let entry: Value = serde_json::from_str(&line).unwrap_or_default();
            let message = entry["msg"].as_str().unwrap_or_default();
            if let Some(authority) = message.strip_prefix("listening on ") {
                break authority.to_owned();
            }
        };
        // Nobody else reads it, and a full pipe would stop the registry.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            _process: process,
            _folder: folder,
            authority,
        }
    }

    fn reference(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.authority)
    }

    /// A manifest as the registry has it.
    async fn manifest(&self, repository: &str, place: &str) -> Value {
        let url = format!(
            "http://{}/v2/{repository}/manifests/{place}",
            self.authority
        );
        let answer = http_client(|client| client)
            .get(url)
            .header("accept", "application/vnd.oci.image.manifest.v1+json")
            .send()
            .await
            .expect("the registry answers");
        answer.json().await.expect("JSON")
    }
}

fn yard() -> (GatewayBuilder, Yard) {
    let builder = Gateway::builder("");
    let yard = Yard::at(builder.home());
    (builder, yard)
}

/// The reference with its digest that `push` printed.
fn pinned(told: &str) -> String {
    let line = told.lines().find(|line| line.starts_with("oci://"));
    line.unwrap_or_else(|| panic!("no reference in {told}"))
        .to_owned()
}

fn with_source(upstream: &FakeUpstream, source: &str, more: &str) -> String {
    guarded(
        upstream,
        &format!("plugins: {{shipped: {{source: '{source}'}}}}\n{more}"),
    )
}

#[tokio::test]
async fn a_component_goes_there_and_back_in_the_common_layout() {
    let registry = DockerRegistry::open().await;
    let (_home, yard) = yard();
    yard.key("ops").await;
    yard.write("shipped.wasm", component("1.0.0"));
    yard.run(&["plugin", "sign", "shipped.wasm", "--key", "ops.key"])
        .await;
    let reference = registry.reference("plugins/shipped:1.0.0");
    let told = yard
        .run(&["plugin", "push", "shipped.wasm", &reference])
        .await;
    let full = pinned(&told);
    let again = yard
        .run(&["plugin", "push", "shipped.wasm", &reference])
        .await;
    assert_eq!(
        full,
        pinned(&again),
        "the same component is the same artefact"
    );

    let manifest = registry.manifest("plugins/shipped", "1.0.0").await;
    assert_eq!(manifest["schemaVersion"], 2, "{manifest}");
    assert_eq!(
        manifest["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.wasm.config.v0+json"
    );
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 1, "{manifest}");
    assert_eq!(layers[0]["mediaType"], "application/wasm");
    assert_eq!(layers[0]["digest"], digest(&component("1.0.0")));
    let blob = format!(
        "http://{}/v2/plugins/shipped/blobs/{}",
        registry.authority,
        manifest["config"]["digest"].as_str().expect("text")
    );
    let config: Value = http_client(|client| client)
        .get(blob)
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert_eq!(
        (&config["architecture"], &config["os"]),
        (&json!("wasm"), &json!("wasip2")),
        "{config}"
    );
    assert_eq!(
        config["layerDigests"],
        json!([digest(&component("1.0.0"))]),
        "{config}"
    );
    assert!(config["created"].is_string(), "{config}");
    let exports = config["component"]["exports"].to_string();
    assert!(
        exports.contains("witgate:guardrail/guardrail@0.1"),
        "{config}"
    );

    let back = yard
        .run(&[
            "plugin",
            "pull",
            &full,
            "--out",
            "back.wasm",
            "--key",
            "ops.pub",
        ])
        .await;
    assert!(back.contains("signed by ops"), "{back}");
    assert_eq!(yard.read("back.wasm"), component("1.0.0"));
    assert_eq!(yard.read("back.wasm.sig"), yard.read("shipped.wasm.sig"));
    yard.key("other").await;
    let told = yard
        .refusal(&[
            "plugin",
            "pull",
            &full,
            "--out",
            "no.wasm",
            "--key",
            "other.pub",
        ])
        .await;
    assert!(
        told.contains("none of the trusted ones (other)") && !yard.file("no.wasm").exists(),
        "{told}"
    );
    let told = yard
        .refusal(&["plugin", "pull", &registry.reference("plugins/nothing:1")])
        .await;
    assert!(told.contains("is not there"), "{told}");
}

#[tokio::test]
async fn other_tools_take_ours_and_we_take_theirs() {
    let registry = DockerRegistry::open().await;
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let oras = async |args: &[&str]| {
        let output = Command::new(venv("python"))
            .arg(workspace_root().join("tests/vendors/oci_client.py"))
            .args(args)
            .current_dir(yard.file(""))
            .output()
            .await
            .expect("run the client; `make test` installs it");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    yard.write("shipped.wasm", component("1.0.0"));
    yard.run(&[
        "plugin",
        "push",
        "shipped.wasm",
        &registry.reference("ours:1"),
    ])
    .await;
    oras(&["pull", &format!("{}/ours:1", registry.authority), "pulled"]).await;
    assert_eq!(yard.read("pulled/shipped.wasm"), component("1.0.0"));

    let config = json!({"created": "2026-01-02T03:04:05Z", "author": null, "architecture": "wasm", "os": "wasip2",
        "layerDigests": [digest(&component("1.0.0"))], "component": {"exports": [], "imports": []}});
    yard.write("config.json", config.to_string());
    oras(&[
        "push",
        &format!("{}/theirs:1", registry.authority),
        "shipped.wasm",
        "config.json",
    ])
    .await;
    let theirs = registry.reference("theirs:1");
    let told = yard
        .run(&["plugin", "pull", &theirs, "--out", "theirs.wasm"])
        .await;
    assert_eq!(yard.read("theirs.wasm"), component("1.0.0"));
    std::fs::remove_file(yard.file("shipped.wasm")).expect("remove it");
    let full = told
        .split_whitespace()
        .find(|word| word.starts_with("oci://"))
        .expect("the reference");
    serves(&builder, &with_source(&upstream, full, "")).await;
}

#[tokio::test]
async fn a_gateway_serves_what_a_registry_has_when_somebody_vouches_for_it() {
    let registry = DockerRegistry::open().await;
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let trust = yard.key("ops").await;
    yard.write("unsigned.wasm", component("1.0.0"));
    let unsigned = registry.reference("unsigned:1");
    let unsigned_pinned = pinned(
        &yard
            .run(&["plugin", "push", "unsigned.wasm", &unsigned])
            .await,
    );
    let bundle = yard.bundle("1.0.0", Some("ops.key")).await;
    std::fs::remove_file(yard.file("shipped.wasm")).expect("remove it");
    let signed = registry.reference("tools/shipped:stable");
    let signed_pinned = pinned(&yard.run(&["plugin", "push", &bundle, &signed]).await);
    let manifest = registry.manifest("tools/shipped", "stable").await;
    assert_eq!(
        manifest["artifactType"], "application/vnd.witgate.bundle.v1",
        "{manifest}"
    );

    let own = digest(&component("1.0.0"));
    let by_digest = guarded(
        &upstream,
        &format!("plugins: {{shipped: {{source: '{unsigned}', digest: '{own}'}}}}\n"),
    );
    for good in [
        with_source(&upstream, &unsigned_pinned, ""),
        by_digest.clone(),
        with_source(&upstream, &signed, &trust),
        with_source(&upstream, &signed_pinned, &trust),
        with_source(&upstream, &format!("{signed_pinned}#shipped"), ""),
    ] {
        serves(&builder, &good).await;
    }
    let config = with_source(&upstream, &signed, &trust);
    let row = yard.listed(&config).await;
    assert_eq!(
        (&row["signer"], &row["bundle"]),
        (&json!("ops"), &json!("shipped 1.0.0")),
        "{row}"
    );
    assert_eq!(row["source"], format!("{signed}#shipped"), "{row}");
    let other = digest(b"other");
    for (bad, expected) in [
        (
            with_source(&upstream, &unsigned, ""),
            "nothing vouches for it",
        ),
        (
            with_source(&upstream, &signed, ""),
            "nothing vouches for it",
        ),
        (
            with_source(&upstream, &unsigned_pinned, &trust),
            "it is not signed",
        ),
        (
            by_digest.replace(&own, &other),
            "but the configuration pins",
        ),
        (
            with_source(&upstream, &format!("{unsigned}@{other}"), ""),
            "is not there",
        ),
        (
            with_source(&upstream, &registry.reference("nothing:1"), ""),
            "is not there",
        ),
        (
            with_source(&upstream, "oci://nowhere", ""),
            "is no reference",
        ),
    ] {
        let told = refused(&builder, &bad).await;
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // Installed from there: with a key, or pinned.
    let told = yard.refusal(&["plugin", "install", &signed]).await;
    assert!(
        told.contains("nothing vouches for it") && told.contains("@sha256:"),
        "{told}"
    );
    let told = yard.refusal(&["plugin", "install", &unsigned_pinned]).await;
    assert!(told.contains("a single component"), "{told}");
    yard.run(&["plugin", "install", &signed, "--key", "ops.pub"])
        .await;
    serves(&builder, &guarded(&upstream, &trust)).await;
}

#[tokio::test]
async fn what_was_fetched_serves_without_the_registry_and_moved_tags_are_told() {
    let registry = DockerRegistry::open().await;
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    let trust = yard.key("ops").await;
    let first = yard.bundle("1.0.0", Some("ops.key")).await;
    let second = yard.bundle("1.1.0", Some("ops.key")).await;
    std::fs::remove_file(yard.file("shipped.wasm")).expect("remove it");
    let tag = registry.reference("shipped:stable");
    let full = pinned(&yard.run(&["plugin", "push", &first, &tag]).await);
    let by_tag = with_source(&upstream, &tag, &trust);
    let by_digest = with_source(&upstream, &full, &trust);
    let gateway = serves(&builder, &by_tag).await;
    serves(&builder, &by_digest).await;

    yard.run(&["plugin", "push", &second, &tag]).await;
    let pinned_gateway = serves(&builder, &by_digest).await;
    pinned_gateway.wait_for_log("its tag leads to").await;
    assert_eq!(yard.listed(&by_digest).await["version"], "1.0.0");
    let client = Client::of(&gateway).key(MASTER_KEY);
    client.post("/config/reload", &json!({})).await.ok();
    gateway.wait_for_log("was moved").await;
    client.chat(&chat("gpt-4o")).await.ok();
    assert_eq!(yard.listed(&by_tag).await["version"], "1.1.0");

    drop(registry);
    serves(&builder, &by_digest).await;
    let offline = serves(&builder, &by_tag).await;
    offline
        .wait_for_log("is taken as it was the last time")
        .await;
    client.post("/config/reload", &json!({})).await.ok();
    // Altered on disk it is not used, and there is nobody to ask for it again.
    for file in std::fs::read_dir(yard.file("data/pulled/sha256"))
        .expect("the folder")
        .flatten()
    {
        let mut bytes = std::fs::read(file.path()).expect("read it");
        bytes[20] ^= 1;
        std::fs::write(file.path(), bytes).expect("alter it");
    }
    let told = refused(&builder, &by_digest).await;
    assert!(told.contains("cannot be reached"), "{told}");
}

#[tokio::test]
async fn a_registry_with_passwords_is_reached_with_configured_or_dockers_credentials() {
    let registry = DockerRegistry::with_password().await;
    let upstream = FakeUpstream::start().await;
    let (builder, yard) = yard();
    yard.write("shipped.wasm", component("1.0.0"));
    let reference = registry.reference("shipped:1");
    let told = yard
        .refusal(&["plugin", "push", "shipped.wasm", &reference])
        .await;
    assert!(
        told.contains("no credentials are configured") && told.contains("plugin_registries"),
        "{told}"
    );
    let (user, password) = USER;
    let section = |password: &str| {
        format!(
            "plugin_registries: {{'{}': {{username: {user}, password: {password}}}}}\n",
            registry.authority
        )
    };
    yard.write("wrong.yaml", section("wrong-word"));
    let told = yard
        .refusal(&[
            "plugin",
            "push",
            "shipped.wasm",
            &reference,
            "--config",
            "wrong.yaml",
        ])
        .await;
    assert!(
        told.contains("check the password") && !told.contains("wrong-word"),
        "{told}"
    );
    yard.write("right.yaml", section(password));
    let full = pinned(
        &yard
            .run(&[
                "plugin",
                "push",
                "shipped.wasm",
                &reference,
                "--config",
                "right.yaml",
            ])
            .await,
    );
    std::fs::remove_file(yard.file("shipped.wasm")).expect("remove it");

    let config = with_source(&upstream, &full, &section("os.environ/REGISTRY_PASSWORD"));
    let known = builder.clone().env("REGISTRY_PASSWORD", password);
    let gateway = serves(&known, &config).await;
    assert!(!gateway.printed(password));
    // What docker wrote down does, too.
    let (builder, yard) = self::yard();
    use base64::Engine as _;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    std::fs::create_dir(yard.file("docker")).expect("a folder");
    yard.write(
        "docker/config.json",
        json!({"auths": {&registry.authority: {"auth": auth}}}).to_string(),
    );
    let config = with_source(&upstream, &full, "");
    let told = refused(&builder, &config).await;
    assert!(told.contains("no credentials are configured"), "{told}");
    let known = builder.clone().env("DOCKER_CONFIG", yard.file("docker"));
    serves(&known, &config).await;
}

/// A registry with one component whose answers can be bent.
async fn liar(
    manifest: impl Fn(&Value) -> Value + Send + Sync + 'static,
    blob: Vec<u8>,
) -> FakeVendor {
    let bytes = component("1.0.0");
    FakeVendor::start(move |request| {
        let good = json!({
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": digest(b"{}"), "size": 2},
            "layers": [{"mediaType": "application/wasm", "digest": digest(&bytes), "size": bytes.len()}],
        });
        match request.path() {
            path if path.contains("/manifests/") => Ok((Reply::json(200, &manifest(&good)), vec![])),
            path if path.contains("/blobs/") => Ok((Reply::status(200, &[], blob.clone()), vec![])),
            _ => Err((404, "not here".to_owned())),
        }
    })
    .await
}

#[tokio::test]
async fn a_registry_that_lies_is_believed_nothing() {
    let (_home, yard) = yard();
    let good = component("1.0.0");
    let mut altered = good.clone();
    altered[good.len() / 2] ^= 1;
    let as_is = |manifest: &Value| manifest.clone();
    let pull = async |fake: &FakeVendor, digest: &str| {
        let reference = format!("oci://{}/shipped:1{digest}", fake.authority());
        yard.refusal(&["plugin", "pull", &reference, "--out", "no.wasm"])
            .await
    };
    // Another manifest than the pinned one.
    let pin = format!("@{}", digest(b"other"));
    let told = pull(&liar(as_is, good.clone()).await, &pin).await;
    assert!(told.contains("sent something with the digest"), "{told}");
    // Other content, less, more, and much more than the manifest says.
    let longer = [good.as_slice(), b"more"].concat();
    for (blob, expected) in [
        (altered, "with the digest"),
        (good[1..].to_vec(), "with the digest"),
        (longer, "more than the"),
        (vec![0; 8 << 20], "more than the"),
    ] {
        let told = pull(&liar(as_is, blob).await, "").await;
        assert!(told.contains(expected), "{told}");
    }
    // Manifests that promise too much, or something else.
    let changed = |pointer: &'static str, value: Value| {
        move |manifest: &Value| {
            let mut manifest = manifest.clone();
            *manifest.pointer_mut(pointer).expect("a member") = value.clone();
            manifest
        }
    };
    for (pointer, value, expected) in [
        ("/layers/0/size", json!(u64::MAX), "at most 256 MiB"),
        ("/layers/0/digest", json!("sha512:00"), "is no digest"),
        (
            "/layers/0/digest",
            json!("../../etc/passwd"),
            "is no digest",
        ),
        (
            "/layers/0/mediaType",
            json!("application/vnd.oci.image.layer.v1.tar"),
            "its layer is of the type",
        ),
        ("/layers", json!([]), "it has 0 layers"),
        ("/config", json!(7), "no image manifest"),
    ] {
        let told = pull(&liar(changed(pointer, value), good.clone()).await, "").await;
        assert!(told.contains(expected), "{told}");
    }
    let list = |_: &Value| json!({"schemaVersion": 2, "manifests": []});
    assert!(
        pull(&liar(list, Vec::new()).await, "")
            .await
            .contains("several platforms")
    );
    let huge = |_: &Value| json!({"annotations": "x".repeat(5 << 20)});
    assert!(
        pull(&liar(huge, Vec::new()).await, "")
            .await
            .contains("more than the")
    );
    // Ways that lead into our own network, or out of TLS.
    let inside = liar(as_is, good.clone()).await;
    for location in [
        "http://127.0.0.1:9/blob",
        "http://169.254.169.254/latest",
        "https://10.0.0.1/blob",
    ] {
        let fake = liar(as_is, good.clone()).await;
        fake.next(Reply::status(307, &[("location", location)], ""));
        let told = pull(&fake, "").await;
        assert!(
            told.contains("a way that is not taken"),
            "{location}: {told}"
        );
        let realm = format!("Bearer realm=\"{location}\",service=\"x\"");
        fake.next(Reply::status(401, &[("www-authenticate", &realm)], ""));
        let told = pull(&fake, "").await;
        assert!(told.contains("a way that is not taken"), "{realm}: {told}");
    }
    assert!(inside.requests().is_empty() && !yard.file("no.wasm").exists());
    // In trouble.
    let fake = liar(as_is, good).await;
    for _ in 0..2 {
        fake.next(Reply::status(503, &[], "later"));
    }
    assert!(
        pull(&fake, "")
            .await
            .contains("cannot be reached: it answers 503")
    );
}

#[tokio::test]
async fn a_registry_that_hands_out_tokens_is_asked_for_one() {
    let (_home, yard) = yard();
    let good = component("1.0.0");
    let fake = liar(|manifest| manifest.clone(), good.clone()).await;
    let realm = format!(
        "Bearer realm=\"{}/token\",service=\"registry\",scope=\"repository:shipped:pull\"",
        fake.origin()
    );
    fake.next(Reply::status(401, &[("www-authenticate", &realm)], ""));
    fake.next(Reply::json(200, &json!({"token": "token-of-the-registry"})));
    let (user, password) = USER;
    yard.write(
        "c.yaml",
        format!(
            "plugin_registries: {{'{}': {{username: {user}, password: {password}}}}}\n",
            fake.authority()
        ),
    );
    let reference = format!("oci://{}/shipped:1", fake.authority());
    yard.run(&[
        "plugin", "pull", &reference, "--out", "yes.wasm", "--config", "c.yaml",
    ])
    .await;
    assert_eq!(yard.read("yes.wasm"), good);
    let requests = fake.requests().all();
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(
        requests[1].target,
        "/token?service=registry&scope=repository%3Ashipped%3Apull"
    );
    assert!(
        requests[1]
            .header("authorization")
            .is_some_and(|header| header.starts_with("Basic "))
    );
    assert_eq!(
        requests[2].header("authorization"),
        Some("Bearer token-of-the-registry")
    );
}
