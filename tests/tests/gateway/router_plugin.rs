//! A routing strategy of one's own: a plugin picks the deployment.

use std::collections::{HashMap, HashSet};

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{MASTER_KEY, Stage, chat};

/// The secret of the deployments.
const UPSTREAM_KEY: &str = "sk-of-the-upstream-4711";

/// Three deployments of one group, `d0` to `d2`.
fn config(upstream: &FakeUpstream, router: &str) -> String {
    let entry = |n: usize| {
        format!(
            "  - model_name: g\n    litellm_params: {{model: openai/m{n}, api_base: '{}', api_key: {UPSTREAM_KEY}, tags: [t{n}], rpm: {}}}\n    model_info: {{id: d{n}}}\n",
            upstream.api_base(),
            1000 + n,
        )
    };
    let models: String = (0..3).map(entry).collect();
    format!(
        "model_list:\n{models}general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{{router}}}\n"
    )
}

async fn stage(router: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream, router);
    Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await
}

/// Who served a call with these further members.
async fn served(stage: &Stage, more: serde_json::Value) -> String {
    let mut body = chat("g");
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    let answer = stage.client.chat(&body).await;
    answer.ok();
    let id = answer.header("x-litellm-model-id").expect("who served");
    id.to_owned()
}

#[tokio::test]
async fn each_user_stays_with_a_deployment_while_it_serves() {
    let stage = stage("routing_strategy: custom-router, num_retries: 2").await;
    let mut homes = HashMap::new();
    for _ in 0..3 {
        for user in 0..12 {
            let user = format!("user-{user}");
            let id = served(&stage, json!({"user": user})).await;
            let home = homes.entry(user).or_insert_with(|| id.clone());
            assert_eq!(*home, id, "a user was sent elsewhere");
        }
    }
    let used: HashSet<&String> = homes.values().collect();
    assert_eq!(used.len(), 3, "all deployments have users: {homes:?}");
    // Their own is out: each of its users gets one other, and nobody else moves.
    stage
        .upstream
        .on_model("m1", Reply::error(500, "server_error", None, "broken"));
    for (user, home) in &homes {
        let id = served(&stage, json!({"user": user})).await;
        assert_eq!(id == *home, *home != "d1", "{user}: {home}, now {id}");
    }
}

#[tokio::test]
async fn arguments_of_the_strategy_are_the_plugins_settings() {
    let stage =
        stage("routing_strategy: custom-router, routing_strategy_args: {by: session}").await;
    for session in ["s1", "s2", "s3"] {
        let of = |user: &str| json!({"user": user, "metadata": {"session_id": session}});
        let first = served(&stage, of("ann")).await;
        for user in ["bob", "cid", "dan"] {
            assert_eq!(served(&stage, of(user)).await, first, "{session}");
        }
    }
}

#[tokio::test]
async fn where_the_router_fails_a_deployment_is_drawn() {
    let stage = stage("routing_strategy: hostile-router").await;
    let reasons = [
        ("loop", "failed"),
        ("panic", "failed"),
        ("memory", "failed"),
        ("error", "failed"),
        ("nobody", "not_a_candidate"),
    ];
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for (how, reason) in reasons {
        served(&stage, json!({"metadata": {"how": how}})).await;
        *counts.entry(reason).or_default() += 1;
        let metrics = stage.client.get("/metrics").await.text();
        for (reason, count) in &counts {
            let line = format!(
                "witgate_router_fallbacks_total{{router=\"hostile-router\",reason=\"{reason}\"}} {count}"
            );
            assert!(metrics.contains(&line), "{how}: {line}");
        }
        // One that picks is heard, and one without a preference is no failure.
        let last = served(&stage, json!({"metadata": {"how": "last"}})).await;
        assert_eq!(last, "d2");
        served(&stage, json!({})).await;
    }
    stage
        .gateway
        .wait_for_log("the router did not pick, simple-shuffle does")
        .await;
}

/// By its id a deployment is asked whatever the router thinks.
#[tokio::test]
async fn a_deployment_that_is_named_needs_no_router() {
    let stage = stage("routing_strategy: hostile-router").await;
    let mut body = chat("d0");
    // A router that was asked would fail, and that would be counted.
    body["metadata"] = json!({"how": "panic"});
    let answer = stage.client.chat(&body).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-model-id"), Some("d0"));
    let metrics = stage.client.get("/metrics").await.text();
    assert!(
        !metrics.contains("witgate_router_fallbacks_total{"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_router_is_told_how_deployments_are_doing_and_no_secret() {
    let stage = stage("routing_strategy: hostile-router").await;
    for _ in 0..2 {
        served(&stage, json!({"metadata": {"how": "last"}})).await;
    }
    let asked = json!({"metadata": {"how": "tell", "tags": ["blue"]}, "user": "ann"});
    served(&stage, asked).await;
    let line = stage.gateway.wait_for_log("requests-max: Some(1002)").await;
    for part in [
        "openai/m2",
        "tags: [\\\"t2\\\"]",
        "requests: 2",
        "in-flight: 0",
        "tags: [\\\"blue\\\"]",
        "end-user-id: Some(\\\"ann\\\")",
        "acompletion",
        "prompt-tokens: Some(",
    ] {
        let plain = part.replace('\\', "");
        assert!(
            line.contains(part) || line.contains(&plain),
            "{part}: {line}"
        );
    }
    assert!(!stage.gateway.printed(UPSTREAM_KEY));
    assert!(!stage.gateway.printed(MASTER_KEY));
}

#[tokio::test]
async fn a_strategy_that_nobody_knows_is_refused_with_what_there_is() {
    let upstream = FakeUpstream::start().await;
    for (router, more, said) in [
        (
            "routing_strategy: simple-shufle",
            "",
            &["simple-shuffle, least-busy", "simple-shufle", "tried"][..],
        ),
        (
            "routing_strategy: custom-router",
            "plugins: {custom-router: {fail: closed}}\n",
            &["plugins.custom-router.fail", "simple-shuffle chooses"],
        ),
        (
            "routing_strategy: hide-secrets",
            "",
            &["hide-secrets", "guardrail", "router"],
        ),
    ] {
        let config = config(&upstream, router) + more;
        let refusal = Gateway::builder(config)
            .shared_plugin_cache()
            .expect_refusal()
            .await;
        for part in said {
            assert!(refusal.output.contains(part), "{part}: {}", refusal.output);
        }
    }
}

/// `plugins` are asked before the strategy, whatever that is.
#[tokio::test]
async fn plugins_are_asked_in_their_order_and_the_first_that_picks_decides() {
    let stage =
        stage("routing_strategy: least-busy, plugins: [hostile-router, custom-router]").await;
    let of = |user: &str, how: &str| json!({"user": user, "metadata": {"how": how}});
    let mut homes = HashSet::new();
    for user in 0..12 {
        let user = format!("user-{user}");
        // The first has no preference, or fails; the second keeps users where they are.
        let home = served(&stage, of(&user, "")).await;
        for how in ["", "panic", "nobody"] {
            assert_eq!(served(&stage, of(&user, how)).await, home, "{user} {how}");
        }
        // The first picks.
        assert_eq!(served(&stage, of(&user, "last")).await, "d2");
        homes.insert(home);
    }
    assert_eq!(
        homes.len(),
        3,
        "least-busy alone would always take the first"
    );
    let metrics = stage.client.get("/metrics").await.text();
    let line = "witgate_router_fallbacks_total{router=\"hostile-router\",reason=\"failed\"} 12";
    assert!(metrics.contains(line), "{metrics}");
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream, "plugins: [plugins.cost_ceiling]");
    let refusal = Gateway::builder(config)
        .shared_plugin_cache()
        .expect_refusal()
        .await;
    for part in [
        "router_settings.plugins names router plugins",
        "plugins.cost_ceiling",
    ] {
        assert!(refusal.output.contains(part), "{part}: {}", refusal.output);
    }
}
