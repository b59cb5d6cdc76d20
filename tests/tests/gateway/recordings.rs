//! `witgate plugin record` and `replay`: live calls of real plugins, written down and played again without a network.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use witgate_testkit::{
    FakeIdp, FakeUpstream, FakeVault, Gateway, Recorder, Reply, fixture_dir, plugin_dir,
};

use crate::login;
use crate::support::{Client, Stage, base_config, chat, chat_stream, eventually};

/// Looks like a key of AWS's, and is the one of their documentation.
const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

fn recorded(dir: &TempDir) -> String {
    format!("record: {{dir: '{}'}}", dir.path().display())
}

/// The recordings in a folder, when there are this many.
async fn files(dir: &Path, count: usize) -> Vec<PathBuf> {
    eventually(&format!("{count} recordings"), async || {
        let entries = std::fs::read_dir(dir).ok()?.flatten();
        let paths = entries.map(|entry| entry.path());
        let mut files: Vec<_> = paths
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        files.sort();
        (files.len() >= count).then_some(files)
    })
    .await
}

async fn one(dir: &TempDir) -> PathBuf {
    files(dir.path(), 1).await.remove(0)
}

fn read(file: &Path) -> Value {
    let text = std::fs::read_to_string(file).expect("a recording");
    serde_json::from_str(&text).expect("a recording is JSON")
}

async fn replay(file: &Path, more: &[&str]) -> (String, Option<i32>) {
    let file = file.display().to_string();
    let args = [&["plugin", "replay", &file], more].concat();
    let folder = tempfile::tempdir().expect("a folder");
    let (stdout, stderr, code) = Gateway::run_with_input(folder.path(), &args, "").await;
    (stdout + &stderr, code)
}

async fn assert_same(file: &Path) {
    let (told, code) = replay(file, &[]).await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("the same"), "{told}");
    assert!(!told.contains("note:"), "another component: {told}");
}

/// A gateway whose guardrail `hide` is recorded.
async fn hiding(dir: &TempDir, mode: &str) -> Stage {
    Stage::with(&format!(
        "guardrails:\n  - guardrail_name: hide\n    litellm_params: {{guardrail: hide-secrets, mode: {mode}, default_on: true}}\n\
         plugins:\n  hide-secrets: {{{}}}\n",
        recorded(dir)
    ))
    .await
}

fn says(mut body: Value, text: &str) -> Value {
    body["messages"][0]["content"] = json!(text);
    body
}

#[tokio::test]
async fn a_guardrails_call_is_played_again_bit_for_bit() {
    let dir = tempfile::tempdir().expect("a folder");
    let stage = hiding(&dir, "pre_call").await;
    stage.gateway.wait_for_log("RECORDING").await;
    stage
        .client
        .chat(&says(chat("gpt-4o"), &format!("use {KEY} today")))
        .await
        .ok();
    let file = one(&dir).await;
    let mode = file.metadata().expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "others may read it");
    let recording = read(&file);
    assert_eq!(recording["witgate_recording"], 1);
    assert_eq!(recording["kind"], "guardrail");
    assert_eq!(recording["calls"][1]["function"], "check");
    assert!(
        recording["calls"][1]["result"]["ok"]["edit"].is_object(),
        "{recording:#}"
    );
    assert_same(&file).await;
}

#[tokio::test]
async fn another_component_shows_where_it_differs() {
    let dir = tempfile::tempdir().expect("a folder");
    let stage = hiding(&dir, "pre_call").await;
    stage
        .client
        .chat(&says(chat("gpt-4o"), &format!("use {KEY} today")))
        .await
        .ok();
    let file = one(&dir).await;
    let other = fixture_dir().join("hostile-ok.wasm").display().to_string();
    let (told, code) = replay(&file, &["--component", &other]).await;
    assert_eq!(code, Some(1), "{told}");
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with('-') && line.contains("edit")),
        "{told}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with('+') && line.contains("allow")),
        "{told}"
    );
    // What was recorded with still does the same.
    assert_same(&file).await;
}

#[tokio::test]
async fn a_stream_is_one_recording() {
    let dir = tempfile::tempdir().expect("a folder");
    let stage = hiding(&dir, "post_call").await;
    stage.upstream.always(Reply::echo());
    let body = says(chat_stream("gpt-4o"), &format!("use {KEY} today"));
    stage.client.open(&body).await.rest().await;
    let file = one(&dir).await;
    let recording = read(&file);
    let calls = recording["calls"].as_array().expect("calls");
    let functions: Vec<&str> = calls
        .iter()
        .filter_map(|call| call["function"].as_str())
        .collect();
    assert_eq!(functions[..2], ["init", "open-stream"]);
    assert!(functions.contains(&"push") && functions.contains(&"finish"));
    assert_same(&file).await;
}

#[tokio::test]
async fn a_log_sinks_delivery_is_played_without_the_vendor_and_without_its_secrets() {
    const SECRET: &str = "dsn-secret-0123456789";
    let dir = tempfile::tempdir().expect("a folder");
    let upstream = FakeUpstream::start().await;
    let collector = Recorder::start(Reply::status(200, &[("x-seen", SECRET)], SECRET)).await;
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  callbacks: [generic-api]\n"
        + &format!(
            "plugins:\n  generic-api: {{settings: {{endpoint: '{}/calls', headers: {{authorization: 'Bearer {SECRET}', x-own: {SECRET}}}}}, {}}}\n",
            collector.origin(),
            recorded(&dir)
        );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&says(chat("gpt-4o"), SECRET)).await.ok();
    let file = one(&dir).await;
    let sent = collector.requests().last();
    assert_eq!(
        sent.header("x-own"),
        Some(SECRET),
        "the live call is as ever"
    );
    drop((collector, stage));
    let text = std::fs::read_to_string(&file).expect("a recording");
    assert!(!text.contains(SECRET), "a secret is in the file:\n{text}");
    let recording = read(&file);
    let exchange = &recording["calls"][1]["imports"]
        .as_array()
        .expect("imports")
        .iter()
        .find(|import| import["args"]["request"].is_object())
        .expect("an exchange")
        .clone();
    assert_eq!(exchange["answer"]["status"], 200, "{exchange:#}");
    assert!(
        exchange["args"]["secret_headers"]
            .to_string()
            .contains("headers.x-own"),
        "{exchange:#}"
    );
    assert_same(&file).await;
}

#[tokio::test]
async fn an_authenticators_decision_is_played_again_on_placeholders() {
    const RED: &str = "team-red-0123456789";
    let dir = tempfile::tempdir().expect("a folder");
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_auth: custom-auth\n",
    ) + &format!(
        "plugins:\n  custom-auth: {{settings: {{teams: {{red: {{token: {RED}, models: [gpt-4o]}}}}}}, {}}}\n",
        recorded(&dir)
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let red = Client::of(&stage.gateway).key(RED);
    red.chat(&chat("gpt-4o")).await.ok();
    let file = one(&dir).await;
    let text = std::fs::read_to_string(&file).expect("a recording");
    assert!(!text.contains(RED), "the token is in the file:\n{text}");
    let recording = read(&file);
    assert_eq!(
        recording["calls"][1]["result"]["ok"]["identity"]["team_id"], "red",
        "{recording:#}"
    );
    assert_same(&file).await;
}

#[tokio::test]
async fn a_plugin_in_python_is_recorded_with_its_clocks_and_chance() {
    let dir = tempfile::tempdir().expect("a folder");
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + "guardrails:\n  - guardrail_name: words\n    litellm_params: {guardrail: blocked-words, mode: pre_call, default_on: true}\n"
        + &format!(
            "plugins:\n  blocked-words: {{settings: {{blocked: [swordfish], masked: [darn]}}, {}}}\n",
            recorded(&dir)
        );
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    stage
        .client
        .chat(&says(chat("gpt-4o"), "Darn it"))
        .await
        .ok();
    assert_same(&one(&dir).await).await;
}

/// Every recording in the folder comes out the same and has none of the secrets; their texts together.
async fn all_same_without(files: &[PathBuf], secrets: &[&str]) -> String {
    let mut all = String::new();
    for file in files {
        assert_same(file).await;
        all += &std::fs::read_to_string(file).expect("a recording");
    }
    for secret in secrets {
        assert!(!all.contains(secret), "{secret} is in a file:\n{all}");
    }
    all
}

fn functions(files: &[PathBuf]) -> Vec<String> {
    let of = |file: &PathBuf| {
        let recording = read(file);
        let calls = recording["calls"].as_array().cloned().unwrap_or_default();
        let names = calls.into_iter().skip(1);
        names
            .map(|call| call["function"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let mut all: Vec<String> = files.iter().flat_map(of).collect();
    all.sort();
    all.dedup();
    all
}

/// Each recording as a case, played by the component: what came of it, by function.
async fn cases_of(files: &[PathBuf], component: PathBuf) -> BTreeMap<String, Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let component = component.display().to_string();
    let mut results = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        let case = folder.path().join(format!("case-{number}"));
        let (told, code) = replay(file, &["--as-case", &case.display().to_string()]).await;
        assert_eq!(code, Some(0), "{told}");
        let case = std::fs::read_to_string(case.join("case.yaml")).expect("a case");
        let args = ["plugin", "run", &component];
        let (stdout, stderr, _) = Gateway::run_with_input(folder.path(), &args, &case).await;
        let played: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{case}\n{stdout}{stderr}"));
        let function = read(file)["calls"][1]["function"]
            .as_str()
            .expect("a name")
            .to_owned();
        results.insert(function, played["result"].clone());
    }
    results
}

#[tokio::test]
async fn a_request_hooks_calls_and_its_stream_are_played_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let upstream = FakeUpstream::start().await;
    let edits = json!({"pre_call": [["/user", "one"]]});
    let config = base_config(&upstream.api_base())
        + &format!(
            "litellm_settings:\n  callbacks: [hook1]\ncallback_settings:\n  hook1: {}\nplugins:\n  scripted-hook: {{{}}}\n",
            json!({"callback_type": "scripted-hook", "edits": edits, "chunks": {"start": ["first "]}}),
            recorded(&dir)
        );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.gateway.wait_for_log("RECORDING").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.upstream.always(Reply::echo());
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    stage.upstream.always(Reply::status(500, &[], "broken"));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let wanted = [
        "finish",
        "open-stream",
        "post-call-failure",
        "post-call-success",
        "pre-call",
        "push",
    ];
    let files = eventually("a recording of each hook", async || {
        let files = files(dir.path(), 1).await;
        let known = functions(&files);
        let all = wanted.iter().all(|one| known.iter().any(|own| own == one));
        all.then_some(files)
    })
    .await;
    let all = all_same_without(&files, &[]).await;
    assert!(all.contains("\"/user\""), "the edit is in it: {all}");
    let cases = cases_of(&files, fixture_dir().join("scripted-hook.wasm")).await;
    assert_eq!(
        cases["pre-call"]["edits"][0]["value"], "/user",
        "{cases:#?}"
    );
    let chunks = cases["open-stream"]["chunks"].as_array().expect("chunks");
    assert!(chunks.len() > 1, "{cases:#?}");
    assert_eq!(cases["post-call-failure"]["decision"], "keep");
    assert_eq!(cases["post-call-success"]["decision"], "proceed");
}

#[tokio::test]
async fn a_key_policys_verdict_is_played_again_without_the_key() {
    const KEY: &str = "sk-brought-along-0123456789";
    let dir = tempfile::tempdir().expect("a folder");
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  custom_key_generate: custom-key-policy\n",
    ) + &format!("plugins:\n  custom-key-policy: {{{}}}\n", recorded(&dir));
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let body = json!({"key": KEY, "key_alias": "brought", "duration": "1d"});
    stage.client.post("/key/generate", &body).await;
    let file = one(&dir).await;
    let files = [file];
    let all = all_same_without(&files, &[KEY]).await;
    assert!(all.contains("brought"), "{all}");
    let cases = cases_of(&files, fixture_dir().join("custom-key-policy.wasm")).await;
    let recorded = &read(&files[0])["calls"][1]["result"];
    assert_eq!(cases["judge"]["verdict"], "deny", "{recorded} {cases:#?}");
}

#[tokio::test]
async fn a_login_is_played_again_without_codes_and_tokens() {
    let dir = tempfile::tempdir().expect("a folder");
    let idp = FakeIdp::start().await;
    let plugins = format!("plugins:\n  generic-sso: {{{}}}\n", recorded(&dir));
    let gateway = login::gateway(&idp, "", &plugins).start().await;
    login::Browser::new().login(&gateway).await.location();
    idp.refused_nothing();
    let files = files(dir.path(), 2).await;
    assert_eq!(functions(&files), ["authorize", "exchange"]);
    drop(idp);
    let secrets = [FakeIdp::CLIENT_SECRET, "access-token-1", "code-1"];
    let all = all_same_without(&files, &secrets).await;
    assert!(all.contains("ann@example.com"), "{all}");
    let cases = cases_of(&files, plugin_dir().join("generic-sso.wasm")).await;
    assert!(cases["authorize"]["url"].is_string(), "{cases:#?}");
    assert!(cases.contains_key("exchange"), "{cases:#?}");
}

#[tokio::test]
async fn a_secret_managers_reading_is_played_again_without_the_secret() {
    const TOKEN: &str = "hvs.operators-token-1234";
    const VALUE: &str = "sk-of-the-vault-77";
    let dir = tempfile::tempdir().expect("a folder");
    let (upstream, vault) = (FakeUpstream::start().await, FakeVault::start(TOKEN).await);
    vault.put("secret/data/UPSTREAM_KEY", VALUE);
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        "general_settings:\n  key_management_system: hashicorp_vault\n",
    ) + "environment_variables: {SEEN: os.environ/UPSTREAM_KEY}\n"
        + &format!("plugins:\n  hashicorp_vault: {{{}}}\n", recorded(&dir));
    let builder = Gateway::builder(config)
        .env("HCP_VAULT_ADDR", vault.address())
        .env("HCP_VAULT_TOKEN", TOKEN);
    let stage = Stage::of(upstream, builder).await;
    assert!(vault.reads().contains_key("secret/data/UPSTREAM_KEY"));
    let file = one(&dir).await;
    assert_eq!(functions(std::slice::from_ref(&file)), ["read"]);
    drop((stage, vault));
    let files = [file];
    all_same_without(&files, &[TOKEN, VALUE]).await;
    let cases = cases_of(&files, plugin_dir().join("hashicorp-vault.wasm")).await;
    assert!(cases["read"]["value"].is_string(), "{cases:#?}");
}

#[tokio::test]
async fn the_command_serves_records_what_was_wanted_and_stops() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("calls").display().to_string();
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + "guardrails:\n  - guardrail_name: hide\n    litellm_params: {guardrail: hide-secrets, mode: pre_call, default_on: true}\n";
    let words = ["plugin", "record", "hide", "--out", &out, "--count", "2"];
    let builder = Gateway::builder(config.clone()).command(&words);
    let stage = Stage::of(upstream, builder).await;
    for _ in 0..4 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    stage.gateway.wait_for_log("no longer recorded").await;
    let files = files(&dir.path().join("calls"), 2).await;
    assert_eq!(files.len(), 2, "{files:?}");

    let wrong = ["plugin", "record", "hid", "--out", &out];
    let refusal = Gateway::builder(config)
        .command(&wrong)
        .expect_refusal()
        .await;
    assert!(
        refusal.output.contains("no plugin \"hid\""),
        "{}",
        refusal.output
    );
    assert!(
        refusal.output.contains("it uses hide"),
        "{}",
        refusal.output
    );
}

#[tokio::test]
async fn a_recording_becomes_a_case() {
    let dir = tempfile::tempdir().expect("a folder");
    let stage = hiding(&dir, "pre_call").await;
    stage
        .client
        .chat(&says(chat("gpt-4o"), &format!("use {KEY} today")))
        .await
        .ok();
    let file = one(&dir).await;
    let case = dir.path().join("case").display().to_string();
    let (told, code) = replay(&file, &["--as-case", &case]).await;
    assert_eq!(code, Some(0), "{told}");
    let text = std::fs::read_to_string(dir.path().join("case/case.yaml")).expect("a case");
    // A case is what `plugin run` reads, too.
    let component = witgate_testkit::plugin_dir().join("hide-secrets.wasm");
    let (stdout, stderr, code) = Gateway::run_with_input(
        dir.path(),
        &["plugin", "run", &component.display().to_string()],
        &text,
    )
    .await;
    assert_eq!(code, Some(0), "{text}\n{stdout}{stderr}");
    let played: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(played["result"]["verdict"], "edit", "{played:#}");
    let again = replay(&file, &["--as-case", &case]).await;
    assert_eq!(again.1, Some(1), "a case is not overwritten: {}", again.0);
}

#[tokio::test]
async fn what_is_no_recording_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("x.json");
    for (text, reason) in [
        ("{}", "witgate_recording"),
        ("{\"witgate_recording\": 9}", "format 9"),
        ("no json", "not a recording"),
    ] {
        std::fs::write(&file, text).expect("write");
        let (told, code) = replay(&file, &[]).await;
        assert_eq!(code, Some(1), "{told}");
        assert!(told.contains(reason), "{told}");
    }
}

/// A router's pick is recorded with what it was told of the candidates, and played again.
#[tokio::test]
async fn a_routers_pick_is_played_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let upstream = FakeUpstream::start().await;
    let entry = |id: &str| {
        format!(
            "  - model_name: g\n    litellm_params: {{model: openai/{id}, api_base: '{}', api_key: sk-of-the-upstream}}\n    model_info: {{id: {id}}}\n",
            upstream.api_base()
        )
    };
    let config = base_config(&upstream.api_base())
        .replace(
            "model_list:\n",
            &["model_list:\n".to_owned(), entry("one"), entry("two")].concat(),
        )
        .replace(
            "num_retries: 0",
            "num_retries: 0\n  routing_strategy: custom-router",
        )
        + &format!("plugins:\n  custom-router: {{{}}}\n", recorded(&dir));
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    let mut body = chat("g");
    body["user"] = json!("ann");
    let answer = stage.client.chat(&body).await;
    answer.ok();
    let file = one(&dir).await;
    let recording = read(&file);
    assert_eq!(recording["kind"], "router", "{recording:#}");
    let calls = recording["calls"].as_array().cloned().unwrap_or_default();
    let pick = calls
        .iter()
        .find(|call| call["function"] == "pick")
        .expect("a pick");
    let picked = answer.header("x-litellm-model-id").expect("who served");
    assert!(
        pick["result"].to_string().contains(picked),
        "{picked}: {pick:#}"
    );
    let told = pick.to_string();
    assert!(
        told.contains("\"one\"") && told.contains("\"two\"") && told.contains("ann"),
        "{pick:#}"
    );
    let text = std::fs::read_to_string(&file).expect("a recording");
    assert!(!text.contains("sk-of-the-upstream"), "no secret");
    assert_same(&file).await;
}
