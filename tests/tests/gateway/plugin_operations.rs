//! Plugins of a running gateway: swapped under traffic, rolled back, disabled, looked at.
//!
//! The plugin is a guardrail of `tests/fixtures/guests/versions`: every text of an answer begins with what
//! its version says, so that an answer tells which one judged it.

mod hostile;
mod live;
mod shadow;
mod switches;
mod traffic;

use reqwest::Method;
use serde_json::Value;
use witgate_testkit::{FakeUpstream, Gateway, Reply, fixture_dir};

use crate::support::{Answer, Stage, base_config, chat};

/// What the upstream says.
const ANSWER: &str = "All quiet on this front.";

/// A gateway with the guardrail `guard`, whose component is `guard.wasm` beside the configuration: at
/// first version one. `entry` are further members of its entry under `plugins`.
async fn stage(entry: &str, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::says(ANSWER));
    let config = format!(
        "{}{}{more}",
        base_config(&upstream.api_base()),
        guard(entry)
    );
    let gateway = Gateway::builder(config).file("guard.wasm", component("version-one"));
    Stage::of(upstream, gateway).await
}

fn guard(entry: &str) -> String {
    format!(
        "guardrails:\n  - guardrail_name: guard\n    litellm_params: {{guardrail: guard, mode: [pre_call, post_call], default_on: true}}\n\
         plugins:\n  guard: {{source: guard.wasm{entry}}}\n"
    )
}

/// A component of the fixtures.
fn component(name: &str) -> Vec<u8> {
    let path = fixture_dir().join(format!("{name}.wasm"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make plugins`", path.display()))
}

/// Puts another component where the guardrail's is, as a careful operator does: in one step.
fn put(stage: &Stage, component: &[u8]) {
    let new = stage.gateway.home().join("guard.new");
    std::fs::write(&new, component).expect("write the component");
    std::fs::rename(&new, stage.gateway.home().join("guard.wasm")).expect("rename it");
}

async fn ask(stage: &Stage, what: &str) -> Answer {
    let path = format!("/plugins/guard/{what}");
    stage.client.request(Method::POST, &path).await
}

/// Changes the guardrail, and gives how it is then.
async fn change(stage: &Stage, what: &str) -> Value {
    let answer = ask(stage, what).await.ok();
    assert_eq!(answer["status"], "success", "{answer}");
    answer["plugin"].clone()
}

async fn status(stage: &Stage) -> Value {
    stage.client.get("/plugins/guard").await.ok()
}

async fn answer(stage: &Stage) -> String {
    stage.client.chat(&chat("gpt-4o")).await.content()
}

fn by(version: &str) -> String {
    format!("[{version}] {ANSWER}")
}
