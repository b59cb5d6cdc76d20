//! Requests with a priority wait for a place where others are refused.

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gate, Gateway, Reply};

use crate::support::{MASTER_KEY, Stage, chat};

#[tokio::test]
async fn whoever_has_a_priority_waits_for_the_place_that_is_taken() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: m\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k, max_parallel_requests: 1}}\ngeneral_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n",
        upstream.api_base()
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let holder = stage.client.clone();
    let holder = tokio::spawn(async move { holder.chat(&chat("m")).await });
    stage.upstream.requests().wait_for(1).await;

    let refused = stage.client.chat(&chat("m")).await;
    refused.error(429);
    let mut body = chat("m");
    body["priority"] = json!("soon");
    stage.client.chat(&body).await.error(400);

    body["priority"] = json!(0);
    let waits = stage.client.clone();
    let waits = tokio::spawn(async move { waits.chat(&body).await });
    // Two are under way: it was not refused, and the place is still taken.
    let under_way = |metrics: &witgate_testkit::Metrics| {
        metrics.value("witgate_requests_in_flight", &[]) == Some(2.0)
    };
    stage
        .gateway
        .metrics_until("a request that waits", under_way)
        .await;
    assert_eq!(stage.upstream.requests().len(), 1, "it was not sent");
    gate.open();
    holder.await.expect("the first answer").ok();
    let answer = waits.await.expect("the second answer");
    answer.ok();
    let used = answer.header("x-litellm-request-prioritization-used");
    assert_eq!(used, Some("True"));
    assert_eq!(
        stage.upstream.requests().len(),
        2,
        "the refused one was never sent"
    );
}
