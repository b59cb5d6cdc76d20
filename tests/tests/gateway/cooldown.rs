//! Deployments that fail are left to rest, and the others serve meanwhile.

use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{MASTER_KEY, Stage, chat};

/// Two deployments of the group `a`, each with an upstream of its own; the first one is asked first.
async fn pair(router: &str) -> (Stage, FakeUpstream) {
    let (first, second) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let deployment = |upstream: &FakeUpstream, id: &str, order: u32| {
        format!(
            "  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k, order: {order}}}\n    model_info: {{id: {id}}}\n",
            upstream.api_base()
        )
    };
    let config = format!(
        "model_list:\n{}{}general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{{router}}}\n",
        deployment(&first, "one", 1),
        deployment(&second, "two", 2),
    );
    (Stage::of(first, Gateway::builder(config)).await, second)
}

fn error(status: u16) -> Reply {
    Reply::error(status, "server_error", None, "no")
}

#[tokio::test]
async fn traffic_moves_on_from_a_deployment_that_fails() {
    let (stage, second) = pair("num_retries: 0, cooldown_time: 3600").await;
    stage.upstream.always(error(429));
    let answer = stage.client.chat(&chat("a")).await;
    answer.ok();
    assert_eq!(
        answer.header("x-litellm-model-id"),
        Some("two"),
        "the next order, in the same call"
    );
    for _ in 0..5 {
        let answer = stage.client.chat(&chat("a")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("0"));
    }
    assert_eq!(stage.upstream.requests().len(), 1, "it rests");
    assert_eq!(second.requests().len(), 6);
}

#[tokio::test]
async fn what_rests_is_told_when_nobody_is_left() {
    let (stage, second) = pair("num_retries: 0, cooldown_time: 3600").await;
    stage.upstream.always(error(401));
    second.always(error(429));
    stage.client.chat(&chat("a")).await.error(401);
    let answer = stage.client.chat(&chat("a")).await;
    assert_eq!(answer.header("retry-after"), Some("3600"));
    let told = answer.error(429);
    let message = told["message"].as_str().unwrap();
    for part in [
        "Try again in 3600 seconds",
        "Passed model=a",
        "cooldown_list=['one', 'two']",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(stage.upstream.requests().len() + second.requests().len(), 2);
}

#[tokio::test]
async fn deployments_that_never_rest() {
    for router in [
        "num_retries: 0, disable_cooldowns: true",
        "num_retries: 0, cooldown_time: 0",
        "num_retries: 0, cooldown_time: 3600, allowed_fails: 3",
        "num_retries: 0, cooldown_time: 3600, allowed_fails_policy: {RateLimitErrorAllowedFails: 3}",
    ] {
        let (stage, _second) = pair(router).await;
        stage.upstream.always(error(429));
        for _ in 0..3 {
            stage.client.chat(&chat("a")).await.ok();
        }
        assert_eq!(stage.upstream.requests().len(), 3, "{router}");
    }
}

#[tokio::test]
async fn a_reload_does_not_wake_a_deployment() {
    let (stage, _second) = pair("num_retries: 0, cooldown_time: 3600").await;
    stage.upstream.always(error(429));
    stage.client.chat(&chat("a")).await.ok();
    let reload = stage
        .client
        .request(reqwest::Method::POST, "/config/reload");
    reload.await.ok();
    stage.client.chat(&chat("a")).await.ok();
    assert_eq!(stage.upstream.requests().len(), 1);
}

#[tokio::test]
async fn a_policy_with_a_key_that_does_not_exist_is_refused() {
    let config =
        "model_list: []\nrouter_settings: {allowed_fails_policy: {TeapotErrorAllowedFails: 1}}\n";
    let refusal = Gateway::builder(config).expect_refusal().await;
    let told = format!("{refusal:?}");
    assert!(told.contains("TeapotErrorAllowedFails"), "{told}");
}
