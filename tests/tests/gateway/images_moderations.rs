//! Moderations and images: calls like any other, through auth, limits, budgets, guardrails, routing, cost and spend rows.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gate, Gateway, Reply};

use crate::guardrails::{SECRET, hide_secrets};
use crate::support::{Client, MASTER_KEY, Stage, base_config};

/// A model list of what these calls need; `more` is further top-level YAML.
async fn stage(general: &str, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream.api_base(), general, more);
    Stage::of(upstream, Gateway::builder(config)).await
}

fn config(api_base: &str, general: &str, more: &str) -> String {
    let models: String = [
        ("paint", "openai/gpt-image-1"),
        ("pixels", "xai/grok-imagine-image"),
        ("stated", "openai/anything, input_cost_per_image: 0.5"),
        ("omni-moderation-latest", "openai/omni-moderation-latest"),
        ("judge", "openai/omni-moderation-2024-09-26"),
    ]
    .iter()
    .map(|(name, model)| {
        format!("  - {{model_name: {name}, litellm_params: {{api_base: '{api_base}', api_key: k, model: {model}}}}}\n")
    })
    .collect();
    format!(
        "model_list:\n{models}general_settings: {{master_key: {MASTER_KEY}{general}}}\nrouter_settings: {{num_retries: 0}}\n{more}"
    )
}

fn image(model: &str) -> Value {
    json!({"model": model, "prompt": "a heron at dawn"})
}

fn spend(row: &Value) -> f64 {
    row["spend"].as_f64().unwrap_or(f64::NAN)
}

#[tokio::test]
async fn every_path_of_an_image_reaches_the_same_place() {
    let stage = stage("", "").await;
    for path in [
        "/v1/images/generations",
        "/images/generations",
        "/openai/deployments/paint/images/generations?api-version=2025-04-01",
    ] {
        let mut body = image("paint");
        body["size"] = json!("1024x1536");
        body["metadata"] = json!({"tags": ["art"]});
        if path.contains("deployments") {
            body["model"] = json!("pixels");
        }
        let answer = stage.client.post(path, &body).await.ok();
        assert_eq!(answer["data"][0]["url"], "https://images.test/0.png");
        let sent = stage.upstream.requests().last();
        assert_eq!(sent.path(), "/v1/images/generations", "{path}");
        assert_eq!(
            sent.json(),
            json!({"model": "gpt-image-1", "prompt": "a heron at dawn", "size": "1024x1536"}),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_moderation_answers_with_or_without_a_model() {
    let stage = stage("", "").await;
    for (path, body, sent_model) in [
        (
            "/v1/moderations",
            json!({"model": "judge", "input": ["kind", "harm"]}),
            "omni-moderation-2024-09-26",
        ),
        (
            "/moderations",
            json!({"input": ["kind", "harm"]}),
            "omni-moderation-latest",
        ),
    ] {
        let answer = stage.client.post(path, &body).await;
        let results = answer.ok()["results"].clone();
        assert_eq!(results[0]["flagged"], false, "{path}");
        assert_eq!(results[1]["flagged"], true, "{path}");
        assert_eq!(
            answer.ok()["model"],
            body.get("model")
                .cloned()
                .unwrap_or("omni-moderation-latest".into())
        );
        let sent = stage.upstream.requests().last();
        assert_eq!(
            (sent.path(), &sent.json()["model"]),
            ("/v1/moderations", &json!(sent_model))
        );
    }
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    for row in rows {
        assert_eq!(
            (row["call_type"].as_str(), spend(&row)),
            (Some("amoderation"), 0.0),
            "{row}"
        );
    }
}

#[tokio::test]
async fn a_moderation_without_a_model_says_which_one_it_wants() {
    let upstream = FakeUpstream::start().await;
    let base = base_config(&upstream.api_base()).replace("'*'", "'other/*'");
    let stage = Stage::of(upstream, Gateway::builder(base)).await;
    let error = stage
        .client
        .post("/v1/moderations", &json!({"input": "x"}))
        .await
        .error(400);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("model=omni-moderation-latest"),
        "{message}"
    );
}

#[tokio::test]
async fn the_operators_models_go_before_the_bodys() {
    let stage = stage(
        ", moderation_model: judge, image_generation_model: stated",
        "",
    )
    .await;
    let body = json!({"model": "nope", "input": "x"});
    stage.client.post("/v1/moderations", &body).await.ok();
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["model"], "omni-moderation-2024-09-26");
    for (path, model) in [
        ("/v1/images/generations", "anything"),
        (
            "/openai/deployments/paint/images/generations",
            "gpt-image-1",
        ),
    ] {
        stage.client.post(path, &image("nope")).await.ok();
        assert_eq!(
            stage.upstream.requests().last().json()["model"],
            model,
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let stage = stage("", "").await;
    for (path, body, param, words) in [
        (
            "/v1/images/generations",
            json!({"model": "paint"}),
            "prompt",
            "'prompt' is required",
        ),
        ("/v1/moderations", json!({}), "input", "'input' is required"),
        (
            "/v1/images/generations",
            json!({"model": "paint", "prompt": "x", "stream": true}),
            "stream",
            "leave 'stream' out",
        ),
    ] {
        let error = stage.client.post(path, &body).await.error(400);
        assert_eq!(error["param"], param, "{error}");
        assert!(
            error["message"]
                .as_str()
                .unwrap_or_default()
                .contains(words),
            "{error}"
        );
    }
    assert!(stage.upstream.requests().is_empty());
    let nobody = Client::of(&stage.gateway);
    nobody
        .post("/v1/images/generations", &image("paint"))
        .await
        .error(401);
}

/// The request; what it costs: tokens that the upstream counted, images of the map's price, images of the config's.
#[tokio::test]
async fn images_are_paid_for_by_token_or_by_image() {
    let stage = stage("", "").await;
    let rows = [
        // 10 words at 5e-6, 40 image tokens at 1e-5, 100 out at 4e-5.
        (json!({"model": "paint", "prompt": "p"}), 0.00445, 150),
        (json!({"model": "pixels", "prompt": "p", "n": 2}), 0.04, 0),
        (
            json!({"model": "stated", "prompt": "p", "n": 3, "size": "256x256"}),
            1.5,
            0,
        ),
    ];
    for (i, (body, cost, tokens)) in rows.iter().enumerate() {
        let answer = stage.client.post("/v1/images/generations", body).await;
        answer.ok();
        let told: f64 = answer
            .header("x-litellm-response-cost")
            .unwrap_or_default()
            .parse()
            .unwrap_or(f64::NAN);
        assert!((told - cost).abs() < 1e-9, "{body}: {told}");
        let row = stage.gateway.wait_for_spend_rows(i + 1).await.remove(i);
        assert_eq!(row["call_type"], "aimage_generation", "{row}");
        assert_eq!(row["total_tokens"], *tokens, "{row}");
        assert!((spend(&row) - cost).abs() < 1e-9, "{row}");
    }
}

#[tokio::test]
async fn the_operators_margin_is_on_images_too() {
    let stage = stage(
        "",
        "litellm_settings: {cost_margin_config: {openai: 0.5}}\n",
    )
    .await;
    let answer = stage
        .client
        .post("/v1/images/generations", &image("stated"))
        .await;
    assert_eq!(answer.header("x-litellm-response-cost"), Some("0.75"));
}

#[tokio::test]
async fn a_budget_is_reserved_for_images_and_holds() {
    let stage = stage("", "").await;
    let body = json!({"max_budget": 1.2, "models": ["stated", "judge"]});
    let made = stage.client.post("/key/generate", &body).await.ok();
    let client = Client::of(&stage.gateway).key(made["key"].as_str().unwrap_or_default());
    let mut three = image("stated");
    three["n"] = json!(3);
    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let (first, body) = (client.clone(), three.clone());
    let first = tokio::spawn(async move { first.post("/v1/images/generations", &body).await });
    gate.reached(1).await;
    // Three images under way are half a dollar each.
    let error = client
        .post("/v1/images/generations", &image("stated"))
        .await
        .error(400);
    assert_eq!(error["type"], "budget_exceeded", "{error}");
    gate.open();
    first.await.expect("the first call").ok();
    client
        .post("/v1/images/generations", &image("stated"))
        .await
        .error(400);
    assert_eq!(stage.upstream.requests().len(), 1);
    // What costs nothing is still had.
    client
        .post("/v1/moderations", &json!({"model": "judge", "input": "x"}))
        .await
        .ok();
    client
        .post("/v1/images/generations", &image("paint"))
        .await
        .error(401);
}

#[tokio::test]
async fn limits_and_fallbacks_hold_for_images() {
    let stage = stage("", "litellm_settings: {fallbacks: [{paint: [pixels]}]}\n").await;
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "no paint"));
    let answer = stage
        .client
        .post("/v1/images/generations", &image("paint"))
        .await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("1"));
    assert_eq!(
        stage.upstream.requests().last().json()["model"],
        "grok-imagine-image"
    );
    let made = stage
        .client
        .post("/key/generate", &json!({"rpm_limit": 1}))
        .await
        .ok();
    let client = Client::of(&stage.gateway).key(made["key"].as_str().unwrap_or_default());
    client
        .post("/v1/images/generations", &image("pixels"))
        .await
        .ok();
    client
        .post("/v1/moderations", &json!({"model": "judge", "input": "x"}))
        .await
        .error(429);
}

#[tokio::test]
async fn prompts_of_images_and_inputs_of_moderations_are_guarded() {
    let more = hide_secrets("pre_call");
    let stage = stage("", &more).await;
    let text = format!("key {SECRET}");
    for (path, body) in [
        (
            "/v1/images/generations",
            json!({"model": "paint", "prompt": text}),
        ),
        ("/v1/moderations", json!({"input": text})),
        (
            "/v1/moderations",
            json!({"input": [{"type": "text", "text": text}]}),
        ),
    ] {
        stage.client.post(path, &body).await.ok();
        let sent = String::from_utf8_lossy(&stage.upstream.requests().last().body).into_owned();
        assert!(
            !sent.contains(SECRET) && sent.contains("[REDACTED]"),
            "{path}: {sent}"
        );
    }
}

#[tokio::test]
async fn images_are_made_anew_each_time() {
    let stage = stage(
        "",
        "litellm_settings: {cache: true, cache_params: {type: local}}\n",
    )
    .await;
    for _ in 0..2 {
        stage
            .client
            .post("/v1/images/generations", &image("paint"))
            .await
            .ok();
    }
    assert_eq!(stage.upstream.requests().len(), 2);
}
