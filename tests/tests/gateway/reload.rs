//! A new config takes over without a dropped request; a bad one is refused and changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use witgate_testkit::{FakeUpstream, Gateway, Reply, Signal};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, eventually};

/// The base config with one more model group, so that a reload can be seen from outside.
fn with_model(api_base: &str, name: &str) -> String {
    let group = format!(
        "model_list:\n  - model_name: {name}\n    litellm_params: {{model: openai/{name}, api_base: '{api_base}', api_key: k}}\n"
    );
    base_config(api_base).replace("model_list:\n", &group)
}

async fn lists(client: &Client, model: &str) -> bool {
    let list = client.get("/v1/models").await.ok();
    list["data"]
        .as_array()
        .is_some_and(|data| data.iter().any(|entry| entry["id"] == model))
}

#[tokio::test]
async fn a_hang_up_loads_the_new_config() {
    let stage = Stage::plain().await;
    assert!(!lists(&stage.client, "fresh").await);
    // Written elsewhere first: the file watch must not be what loads it.
    let config = with_model(&stage.upstream.api_base(), "fresh");
    stage.gateway.write_config(&config);
    stage.gateway.signal(Signal::HangUp).await;
    eventually("the new model is listed", async || {
        lists(&stage.client, "fresh").await.then_some(())
    })
    .await;
    stage.client.chat(&chat("fresh")).await.ok();
}

#[tokio::test]
async fn an_admin_may_ask_for_a_reload_and_nobody_else() {
    let stage = Stage::plain().await;
    let config = with_model(&stage.upstream.api_base(), "fresh");
    stage.gateway.write_config(&config);
    let anybody = Client::of(&stage.gateway);
    assert_eq!(
        anybody
            .request(reqwest::Method::POST, "/config/reload")
            .await
            .status,
        401
    );
    let answer = stage
        .client
        .request(reqwest::Method::POST, "/config/reload")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        lists(&stage.client, "fresh").await,
        "the answer came before the config was in force"
    );
}

#[tokio::test]
async fn a_changed_file_is_loaded_by_itself() {
    let stage = Stage::plain().await;
    stage
        .gateway
        .write_config(&with_model(&stage.upstream.api_base(), "fresh"));
    eventually("the new model is listed", async || {
        lists(&stage.client, "fresh").await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_replaced_file_is_loaded_too() {
    // Editors and Kubernetes replace a file by renaming another over it.
    let stage = Stage::plain().await;
    for name in ["first", "second"] {
        let new = stage.gateway.home().join("config.new");
        std::fs::write(&new, with_model(&stage.upstream.api_base(), name)).expect("write");
        std::fs::rename(&new, stage.gateway.home().join("config.yaml")).expect("rename");
        eventually("the new model is listed", async || {
            lists(&stage.client, name).await.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_bad_config_is_refused_with_its_errors_and_the_old_one_serves_on() {
    let stage = Stage::plain().await;
    let bad = [
        ("not YAML", "model_list: [unclosed\n".to_owned()),
        (
            "a wrong type",
            with_model(&stage.upstream.api_base(), "fresh")
                .replace("num_retries: 0", "num_retries: [many]"),
        ),
        ("a list instead of a mapping", "- 1\n- 2\n".to_owned()),
        ("empty", String::new()),
    ];
    for (name, config) in bad {
        stage.gateway.write_config(&config);
        let answer = stage
            .client
            .request(reqwest::Method::POST, "/config/reload")
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "{name}: {} {}",
            answer.status,
            answer.text()
        );
        if name == "a wrong type" {
            assert!(
                answer.text().contains("router_settings.num_retries"),
                "{name}: {}",
                answer.text()
            );
        }
        assert!(
            !answer.text().contains(MASTER_KEY),
            "{name}: {}",
            answer.text()
        );
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
}

#[tokio::test]
async fn who_asked_by_signal_finds_the_errors_in_the_log() {
    let stage = Stage::plain().await;
    let config =
        base_config(&stage.upstream.api_base()).replace("num_retries: 0", "num_retries: [many]");
    stage.gateway.write_config(&config);
    stage.gateway.signal(Signal::HangUp).await;
    stage
        .gateway
        .wait_for_log("router_settings.num_retries")
        .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn a_plugin_that_cannot_be_loaded_refuses_the_reload() {
    let stage = Stage::plain().await;
    let config = base_config(&stage.upstream.api_base())
        + "litellm_settings:\n  success_callback: [no-such-plugin-anywhere]\n";
    stage.gateway.write_config(&config);
    let answer = stage
        .client
        .request(reqwest::Method::POST, "/config/reload")
        .await;
    assert!(
        (400..500).contains(&answer.status),
        "{} {}",
        answer.status,
        answer.text()
    );
    assert!(
        answer.text().contains("no-such-plugin-anywhere"),
        "{}",
        answer.text()
    );
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn no_request_is_dropped_while_the_config_changes() {
    const CLIENTS: usize = 8;
    const RELOADS: usize = 10;
    let stage = Stage::plain().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut callers = Vec::new();
    for _ in 0..CLIENTS {
        let (client, done) = (stage.client.clone(), Arc::clone(&done));
        callers.push(tokio::spawn(async move {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                client.chat(&chat("gpt-4o")).await.ok();
                calls += 1;
            }
            calls
        }));
    }
    for n in 0..RELOADS {
        stage.gateway.write_config(&with_model(
            &stage.upstream.api_base(),
            &format!("model-{n}"),
        ));
        let answer = stage
            .client
            .request(reqwest::Method::POST, "/config/reload")
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        assert!(caller.await.expect("no caller failed") > 0);
    }
}

#[tokio::test]
async fn a_stream_in_flight_ends_on_the_config_it_began_with() {
    let stage = Stage::plain().await;
    let gate = witgate_testkit::Gate::new();
    let frames = witgate_testkit::openai::chat_frames("gpt-4o", "one two");
    stage.upstream.next(Reply::gated_stream(&frames, &gate));
    // Who speaks, and the first word: with it the reply begins.
    gate.release();
    gate.release();
    let mut stream = stage
        .client
        .open(&crate::support::chat_stream("gpt-4o"))
        .await;
    stream.next_json().await;
    // The group it runs on disappears.
    let without = with_model(&stage.upstream.api_base(), "other")
        .replace("model_name: gpt-4o\n", "model_name: gone\n");
    stage.gateway.write_config(&without);
    stage
        .client
        .request(reqwest::Method::POST, "/config/reload")
        .await
        .ok();
    gate.open();
    assert_eq!(
        stream.rest().await.last().map(String::as_str),
        Some("[DONE]")
    );
}

#[tokio::test]
async fn a_new_master_key_replaces_the_old_one() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let stage = Stage::of(upstream, Gateway::builder(config.clone())).await;
    stage
        .gateway
        .write_config(&config.replace(MASTER_KEY, "sk-rotated"));
    stage
        .client
        .request(reqwest::Method::POST, "/config/reload")
        .await
        .ok();
    assert_eq!(stage.client.chat(&chat("gpt-4o")).await.status, 401);
    Client::of(&stage.gateway)
        .key("sk-rotated")
        .chat(&chat("gpt-4o"))
        .await
        .ok();
}
