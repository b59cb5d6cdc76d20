//! What is told of a plugin, what it keeps over a swap, and the way back.

use serde_json::{Value, json};
use witgate_testkit::Gateway;

use super::{answer, ask, by, change, component, put, stage, status};
use crate::support::{Client, MASTER_KEY, Stage, chat, eventually};

const TOKEN: &str = "tok-very-secret-987654";

fn texts(lines: &Value) -> Vec<String> {
    let lines = lines["lines"].as_array().expect("lines").iter();
    lines
        .map(|line| line["text"].as_str().unwrap_or_default().to_owned())
        .collect()
}

#[tokio::test]
async fn a_plugin_is_told_with_its_grants_bounds_and_counters() {
    let stage = stage(", limits: {memory_mb: 32, max_streams: 7}", "").await;
    for _ in 0..3 {
        assert_eq!(answer(&stage).await, by("one"));
    }
    let all = stage.client.get("/plugins").await.ok();
    let plugin = all["plugins"][0].clone();
    assert_eq!(plugin["name"], "guard");
    for (member, expected) in [
        ("component", json!("version-one")),
        ("kind", json!("guardrail")),
        ("version", json!("1.0.0")),
        ("state", json!("ready")),
        ("breaker", json!("closed")),
        ("enabled", json!(true)),
        ("fail", json!("closed")),
        ("held_back", Value::Null),
        ("previous", Value::Null),
    ] {
        assert_eq!(plugin[member], expected, "{member}: {plugin}");
    }
    assert!(
        plugin["source"]
            .as_str()
            .is_some_and(|s| s.ends_with("guard.wasm")),
        "{plugin}"
    );
    assert_eq!(plugin["limits"]["memory_mb"], 32);
    assert_eq!(plugin["limits"]["max_streams"], 7);
    assert_eq!(
        plugin["counters"]["calls"],
        json!({"ok": 6}),
        "twice a request"
    );
    for number in ["seconds", "cpu_seconds"] {
        let value = plugin["counters"][number].as_f64();
        assert!(value.is_some_and(|value| value > 0.0), "{number}: {plugin}");
    }
    assert_eq!(plugin["load"]["calls"], 0);
    assert!(
        plugin["load"]["idle_instances"].as_u64() >= Some(1),
        "{plugin}"
    );
    let metrics = stage.gateway.metrics().await;
    let labels = [("plugin", "guard")];
    assert!(metrics.count("witgate_plugin_cpu_seconds_total", &labels) > 0.0);

    let unknown = stage.client.get("/plugins/gaurd").await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.text().contains("there are guard"),
        "{}",
        unknown.text()
    );
    let wrong = stage.client.get("/plugins/guard?kind=sink").await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let other = stage.client.get("/plugins/guard?kind=log-sink").await;
    assert_eq!(other.status, 404, "{}", other.text());
    let routes = stage.client.get("/routes").await.text();
    assert!(routes.contains("/plugins/{name}/rollback"), "{routes}");
}

#[tokio::test]
async fn values_survive_a_swap_and_other_settings_begin_anew() {
    let stage = stage(", settings: {counts: true}", "").await;
    let counted = async || {
        answer(&stage).await;
        let request = stage.upstream.requests().last().json();
        request["messages"][0]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(counted().await, "1");
    put(&stage, &component("version-two"));
    change(&stage, "reload").await;
    assert_eq!(counted().await, "2");
    change(&stage, "rollback").await;
    assert_eq!(counted().await, "3");
    let config = std::fs::read_to_string(stage.gateway.home().join("config.yaml")).expect("read");
    stage
        .gateway
        .write_config(&config.replace("{counts: true}", "{counts: true, says: changed}"));
    let reloaded = stage
        .client
        .request(reqwest::Method::POST, "/config/reload")
        .await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(counted().await, "1");
}

#[tokio::test]
async fn a_rollback_holds_until_there_is_something_new() {
    let stage = stage("", "").await;
    let reload = async || {
        let path = "/config/reload";
        stage.client.request(reqwest::Method::POST, path).await.ok();
    };
    let refused = ask(&stage, "rollback").await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("nothing to go back to"),
        "{}",
        refused.text()
    );

    put(&stage, &component("version-two"));
    let two = change(&stage, "reload").await;
    assert_eq!(two["previous"]["version"], "1.0.0");
    let one = change(&stage, "rollback").await;
    assert_eq!(one["version"], "1.0.0");
    assert_eq!(one["held_back"], two["digest"]);
    assert_eq!(answer(&stage).await, by("one"));
    reload().await;
    assert_eq!(
        answer(&stage).await,
        by("one"),
        "a config reload does not undo it"
    );
    assert_eq!(status(&stage).await["held_back"], two["digest"]);

    let forward = change(&stage, "rollback").await;
    assert_eq!(
        (&forward["version"], &forward["held_back"]),
        (&json!("2.0.0"), &Value::Null)
    );
    assert_eq!(answer(&stage).await, by("two"));
    change(&stage, "rollback").await;
    // A custom section more: the same version with another content.
    let mut fixed = component("version-two");
    fixed.extend([0, 3, 1, b'x', b'y']);
    put(&stage, &fixed);
    reload().await;
    assert_eq!(answer(&stage).await, by("two"), "new content is taken");
    assert_eq!(status(&stage).await["held_back"], Value::Null);

    change(&stage, "rollback").await;
    assert_eq!(answer(&stage).await, by("one"));
    change(&stage, "reload").await;
    assert_eq!(answer(&stage).await, by("two"), "a reload by name is meant");
}

#[tokio::test]
async fn the_log_has_the_plugins_lines_and_what_the_host_saw_without_secrets() {
    let stage = stage(&format!(", settings: {{token: {TOKEN}}}"), "").await;
    let logs = async |query: &str| {
        stage
            .client
            .get(&format!("/plugins/guard/logs{query}"))
            .await
    };
    let mut follower = Follower::open(&stage).await;
    answer(&stage).await;
    put(&stage, &component("version-two"));
    change(&stage, "reload").await;
    answer(&stage).await;
    let lines = logs("").await.ok();
    let all = texts(&lines);
    assert_eq!(
        all.iter()
            .filter(|l| *l == "version one has [secret]")
            .count(),
        2,
        "{all:?}"
    );
    assert_eq!(
        all.iter()
            .filter(|l| *l == "version two has [secret]")
            .count(),
        2,
        "{all:?}"
    );
    let swap = lines["lines"].as_array().into_iter().flatten();
    let swap: Vec<&Value> = swap.filter(|line| line["source"] == "host").collect();
    assert_eq!(swap.len(), 1, "{lines}");
    assert!(
        swap[0]["text"]
            .as_str()
            .is_some_and(|t| t.contains("takes the place of")),
        "{lines}"
    );
    assert!(
        swap[0]["at"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{lines}"
    );
    assert_eq!(
        texts(&logs("?limit=1").await.ok()),
        ["version two has [secret]"]
    );
    assert_eq!(logs("?limit=some").await.status, 400);
    assert_eq!(
        follower.lines(5).await,
        all,
        "whoever follows sees the same"
    );
    assert!(!stage.gateway.printed(TOKEN));
}

/// Reads a log as it is written.
struct Follower(witgate_testkit::RawConnection);

impl Follower {
    async fn open(stage: &Stage) -> Self {
        let mut connection = stage.gateway.connect().await;
        let request = format!(
            "GET /plugins/guard/logs?follow=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MASTER_KEY}\r\n\r\n"
        );
        connection.send(request).await;
        Self(connection)
    }

    async fn lines(&mut self, count: usize) -> Vec<String> {
        let enough = |bytes: &[u8]| told(&String::from_utf8_lossy(bytes)).len() >= count;
        let seen = self.0.read_until(enough).await;
        told(&String::from_utf8_lossy(&seen))
    }
}

/// The lines of the log that a body tells of, whatever its framing; not the one that is still coming.
fn told(body: &str) -> Vec<String> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let text = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        line["text"].as_str().map(str::to_owned)
    };
    lines.filter_map(text).collect()
}

#[tokio::test]
async fn following_a_log_does_not_hold_up_the_end() {
    let mut stage = stage("", "").await;
    let mut follower = Follower::open(&stage).await;
    put(&stage, &component("version-two"));
    change(&stage, "reload").await;
    assert_eq!(follower.lines(1).await.len(), 1);
    assert!(stage.gateway.stop().await.success());
    let cut = stage.gateway.logs().all();
    assert!(cut.iter().any(|line| line.contains("cut=0")), "{cut:?}");
}

#[tokio::test]
async fn the_command_line_does_what_the_routes_do() {
    let stage = stage("", "").await;
    let run = async |args: &[&str]| {
        let mut all = vec!["plugin"];
        all.extend(args);
        all.extend(["--url", stage.gateway.base_url(), "--key", MASTER_KEY]);
        Gateway::run(stage.gateway.home(), &all).await
    };
    put(&stage, &component("version-two"));
    let (out, err, code) = run(&["reload", "guard"]).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.starts_with("guard  2.0.0  sha256:") && out.ends_with("ready\n"),
        "{out}"
    );
    assert_eq!(answer(&stage).await, by("two"));
    let (out, _, code) = run(&["status"]).await;
    assert_eq!(code, Some(0));
    assert!(out.contains("guard") && out.contains("2.0.0"), "{out}");
    let (out, _, _) = run(&["status", "guard", "--json"]).await;
    let status: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(status["previous"]["version"], "1.0.0");
    let (out, _, _) = run(&["rollback", "guard"]).await;
    assert!(out.contains("1.0.0"), "{out}");
    let (_, err, code) = run(&["disable", "guard"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("force=true"), "{err}");
    let (out, _, _) = run(&["disable", "guard", "--force"]).await;
    assert!(out.contains("disabled"), "{out}");
    let (out, _, _) = run(&["enable", "guard"]).await;
    assert!(out.contains("ready"), "{out}");
    let (out, _, _) = run(&["logs", "guard", "--limit", "1"]).await;
    assert!(out.contains("host") && out.lines().count() == 1, "{out}");
    let (_, err, code) = run(&["status", "nobody"]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no plugin \"nobody\""), "{err}");
}

#[tokio::test]
async fn the_plugin_routes_are_for_administrators() {
    let stage = stage("", "").await;
    let routes = [
        ("GET", "/plugins"),
        ("GET", "/plugins/guard"),
        ("GET", "/plugins/guard/logs"),
        ("POST", "/plugins/guard/reload"),
        ("POST", "/plugins/guard/rollback"),
        ("POST", "/plugins/guard/enable"),
        ("POST", "/plugins/guard/disable?force=true"),
    ];
    let strangers = [
        Client::of(&stage.gateway),
        Client::of(&stage.gateway).key("sk-wrong"),
    ];
    for (method, path) in routes {
        let method: reqwest::Method = method.parse().expect("a method");
        for stranger in &strangers {
            let answer = stranger.request(method.clone(), path).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
            assert!(!answer.text().contains("1.0.0"), "{}", answer.text());
        }
    }
    stage.client.chat(&chat("gpt-4o")).await.ok();
    eventually("it was not disabled", async || {
        (status(&stage).await["enabled"] == true).then_some(())
    })
    .await;
}
