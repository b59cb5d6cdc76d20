//! `routing_groups`: models with a strategy of their own, that may be called together.

use std::collections::HashSet;

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{Client, MASTER_KEY, Stage, chat};

/// Two deployments each of `dear`, `cheap` and `plain`; the second of each costs less than the first, and
/// those of `cheap` less than those of `dear`.
fn config(upstream: &FakeUpstream, router: &str) -> String {
    let entry = |model: &str, id: &str, cost: f64| {
        format!(
            "  - model_name: {model}\n    litellm_params: {{model: openai/{id}-model, api_base: '{}', api_key: k, input_cost_per_token: {cost}, output_cost_per_token: {cost}}}\n    model_info: {{id: {id}}}\n",
            upstream.api_base()
        )
    };
    [
        "model_list:\n".to_owned(),
        entry("dear", "dear-1", 0.04),
        entry("dear", "dear-2", 0.03),
        entry("cheap", "cheap-1", 0.02),
        entry("cheap", "cheap-2", 0.01),
        entry("plain", "plain-1", 0.02),
        entry("plain", "plain-2", 0.01),
        format!("general_settings: {{master_key: {MASTER_KEY}}}\n"),
        format!("router_settings: {{num_retries: 0, {router}}}\n"),
    ]
    .concat()
}

async fn stage(router: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream, router);
    Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await
}

/// Who served twelve calls.
async fn served(client: &Client, model: &str) -> HashSet<String> {
    let mut ids = HashSet::new();
    for _ in 0..12 {
        let answer = client.chat(&chat(model)).await;
        answer.ok();
        let id = answer.header("x-litellm-model-id").expect("who served");
        ids.insert(id.to_owned());
        assert_eq!(answer.header("x-litellm-model-group"), Some(model));
    }
    ids
}

const SAVING: &str = "routing_groups: [{group_name: saving, models: [dear, cheap], routing_strategy: cost-based-routing}]";

#[tokio::test]
async fn members_have_the_groups_strategy_and_the_group_is_a_model() {
    let stage = stage(SAVING).await;
    let of = |ids: &[&str]| {
        ids.iter()
            .map(|id| (*id).to_owned())
            .collect::<HashSet<_>>()
    };
    assert_eq!(served(&stage.client, "dear").await, of(&["dear-2"]));
    assert_eq!(served(&stage.client, "saving").await, of(&["cheap-2"]));
    // Twelve draws of two that are all one happen once in two thousand times.
    assert_eq!(
        served(&stage.client, "plain").await,
        of(&["plain-1", "plain-2"])
    );
    let listed = stage.client.get("/v1/models").await.ok();
    let listed: Vec<&str> = listed["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|model| model["id"].as_str())
        .collect();
    assert_eq!(listed, ["dear", "cheap", "plain", "saving"]);
    let told = stage
        .client
        .post("/utils/explain", &chat("saving"))
        .await
        .json();
    assert_eq!(told["routing_group"], "saving", "{told}");
    assert_eq!(told["routing_strategy"], "cost-based-routing", "{told}");
    assert_eq!(
        told["candidates"].as_array().map(Vec::len),
        Some(4),
        "{told}"
    );
    let told = stage
        .client
        .post("/utils/explain", &chat("plain"))
        .await
        .json();
    assert_eq!(told["routing_group"], json!(null), "{told}");
    assert_eq!(told["routing_strategy"], "simple-shuffle", "{told}");
}

#[tokio::test]
async fn a_key_needs_the_group_itself_and_has_its_members_not_by_it() {
    let stage = stage(SAVING).await;
    for (granted, other) in [("saving", "cheap"), ("cheap", "saving")] {
        let made = json!({ "models": [granted] });
        let made = stage.client.post("/key/generate", &made).await.ok();
        let theirs = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
        theirs.chat(&chat(granted)).await.ok();
        theirs.chat(&chat(other)).await.error(401);
        let listed = theirs.get("/v1/models").await.ok();
        assert_eq!(listed["data"].as_array().map(Vec::len), Some(1), "{listed}");
        assert_eq!(listed["data"][0]["id"], granted);
    }
}

#[tokio::test]
async fn a_group_may_have_a_router_plugin() {
    let stage = stage(
        "routing_groups: [{group_name: mine, models: [dear], routing_strategy: custom-router, routing_strategy_args: {by: user}}]",
    )
    .await;
    let served = async |model: &str, user: String| {
        let mut body = chat(model);
        body["user"] = json!(user);
        let answer = stage.client.chat(&body).await;
        answer.ok();
        answer
            .header("x-litellm-model-id")
            .expect("who served")
            .to_owned()
    };
    let mut homes = HashSet::new();
    for user in 0..12 {
        let home = served("dear", format!("user-{user}")).await;
        for _ in 0..2 {
            assert_eq!(served("dear", format!("user-{user}")).await, home);
        }
        homes.insert(home);
    }
    assert_eq!(homes.len(), 2, "both have users");
    let mut homes = HashSet::new();
    for _ in 0..20 {
        homes.insert(served("plain", "user-0".to_owned()).await);
    }
    assert_eq!(homes.len(), 2, "nobody stays outside the group");
}

#[tokio::test]
async fn what_a_group_may_not_be_is_told_with_its_place() {
    let upstream = FakeUpstream::start().await;
    let group = |more: &str| format!("routing_groups: [{{{more}}}]");
    let strategy = "routing_strategy: least-busy";
    for (router, told) in [
        (
            group(&format!("group_name: default, models: [dear], {strategy}")),
            &["routing_groups[0].group_name", "`default` is what"][..],
        ),
        (
            group(&format!("group_name: plain, models: [dear], {strategy}")),
            &["routing_groups[0].group_name", "`plain` is a model_name already"],
        ),
        (
            format!("model_group_alias: {{a: dear}}, {}", group(&format!("group_name: a, models: [dear], {strategy}"))),
            &["`a` is an alias already"],
        ),
        (
            format!("routing_groups: [{{group_name: a, models: [dear, cheap], {strategy}}}, {{group_name: b, models: [cheap], {strategy}}}]"),
            &["routing_groups[1].models[0]", "`cheap` is in router_settings.routing_groups[0], too"],
        ),
        (
            format!("routing_groups: [{{group_name: a, models: [dear], {strategy}}}, {{group_name: a, models: [cheap], {strategy}}}]"),
            &["routing_groups[1].group_name", "is the name of router_settings.routing_groups[0], too"],
        ),
        (
            group(&format!("group_name: a, models: [], {strategy}")),
            &["routing_groups[0].models", "the group has no models"],
        ),
        (
            group("group_name: a, models: [dear]"),
            &["routing_groups[0].routing_strategy", "is missing"],
        ),
        (
            group("group_name: a, models: [dear], routing_strategy: latency-based-routing, routing_strategy_args: {ttl: -1}"),
            &["routing_groups[0].routing_strategy_args.ttl", "expected a number from 0 on, not -1"],
        ),
        (
            group("group_name: a, models: [dear], routing_strategy: fastest"),
            &["simple-shuffle, least-busy", "fastest"],
        ),
        (
            "routing_groups: [{group_name: a, models: [dear], routing_strategy: custom-router, routing_strategy_args: {by: user}}, {group_name: b, models: [cheap], routing_strategy: custom-router, routing_strategy_args: {by: session}}]".to_owned(),
            &["the router custom-router has other routing_strategy_args", "callback_type: custom-router"],
        ),
    ] {
        let config = config(&upstream, &router);
        let refusal = Gateway::builder(config).shared_plugin_cache().expect_refusal().await;
        for part in told {
            assert!(refusal.output.contains(part), "{part}: {}", refusal.output);
        }
    }
}
