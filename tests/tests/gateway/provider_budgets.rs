//! `GET /provider/budgets`, and the header that tells a deployment's region.

use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{Client, Stage, base_config, chat, eventually};

async fn stage(router: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        .replace("api_key:", "region_name: eu-central-1, api_key:")
        + router;
    Stage::of(upstream, Gateway::builder(config)).await
}

#[tokio::test]
async fn budgets_of_providers_are_told_to_administrators() {
    let stage = stage(
        "  provider_budget_config:\n    openai: {budget_limit: 2.5, time_period: 1d}\n    azure: {budget_limit: 1, time_period: 30m}\n",
    )
    .await;
    let budgets = async || stage.client.get("/provider/budgets").await.ok();
    let before = budgets().await;
    let azure = &before["providers"]["azure"];
    assert_eq!(azure["budget_limit"], 1.0);
    assert_eq!(azure["time_period"], "30m");
    assert_eq!(azure["spend"], 0.0);
    assert!(azure["budget_reset_at"].is_null(), "no window has begun");

    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.ok();
    assert_eq!(
        answer.header("x-litellm-model-region"),
        Some("eu-central-1")
    );
    let openai = eventually("the call is booked", async || {
        let openai = budgets().await["providers"]["openai"].clone();
        openai["spend"].as_f64().filter(|spend| *spend > 0.0)?;
        Some(openai)
    })
    .await;
    assert_eq!(openai["budget_limit"], 2.5);
    assert_eq!(openai["time_period"], "1d");
    let reset = openai["budget_reset_at"].as_str().expect("a time");
    assert!(reset.len() == 25 && reset.ends_with("+00:00"), "{reset}");

    Client::of(&stage.gateway)
        .get("/provider/budgets")
        .await
        .error(401);
}

#[tokio::test]
async fn without_a_budget_no_provider_is_told() {
    let stage = stage("").await;
    let told = stage.client.get("/provider/budgets").await.ok();
    assert_eq!(told, serde_json::json!({"providers": {}}));
}
