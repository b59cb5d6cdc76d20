//! Automatic routers: a model whose requests' own words choose who answers.

use std::collections::HashSet;

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{Answer, Client, MASTER_KEY, Stage, chat_stream};

/// The models `coder`, `poet`, `other` and `embed`, each with one deployment of its name, and what else is
/// in the list.
fn config(upstream: &FakeUpstream, routers: &str, router_settings: &str) -> String {
    let entry = |name: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/{name}-model, api_base: '{}', api_key: k}}\n    model_info: {{id: {name}-1}}\n",
            upstream.api_base()
        )
    };
    let models: String = ["coder", "poet", "other", "embed"].map(entry).concat();
    format!(
        "model_list:\n{models}{routers}general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0, {router_settings}}}\n"
    )
}

const ROUTES: &str = r#"{"encoder_type": "openai", "encoder_name": "unused", "routes": [
    {"name": "coder", "utterances": ["how to code in [language]", "fix this bug"], "description": "code", "score_threshold": 0.8},
    {"name": "poet", "utterances": ["write a poem"], "score_threshold": 0.9}]}"#;

fn semantic(more: &str) -> String {
    format!(
        "  - model_name: smart\n    litellm_params: {{model: auto_router/words, auto_router_default_model: other, auto_router_embedding_model: embed, {more}}}\n"
    )
}

async fn stage(routers: &str, router_settings: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream, routers, router_settings);
    Stage::of(upstream, Gateway::builder(config)).await
}

/// The fake's next answer: these embeddings.
fn embeds(stage: &Stage, vectors: &[[f64; 2]]) {
    let each = vectors.iter().enumerate();
    let data: Vec<Value> = each
        .map(|(index, vector)| json!({"object": "embedding", "index": index, "embedding": vector}))
        .collect();
    let body = json!({"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}});
    stage.upstream.next(Reply::json(200, &body));
}

fn asks(text: &str) -> Value {
    json!({"model": "smart", "messages": [{"role": "user", "content": text}]})
}

fn served(answer: &Answer) -> &str {
    answer.ok();
    answer.header("x-litellm-model-id").expect("who served")
}

/// The vectors of the utterances of [`ROUTES`].
const KNOWN: [[f64; 2]; 3] = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]];

#[tokio::test]
async fn the_route_whose_utterances_are_most_like_the_request_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("router.json");
    std::fs::write(&file, ROUTES).expect("write");
    let path = format!("auto_router_config_path: '{}'", file.display());
    let inline = format!("auto_router_config: '{}'", ROUTES.replace('\n', " "));
    for config in [path, inline] {
        let stage = stage(&semantic(&config), "model_group_alias: {clever: smart}").await;
        embeds(&stage, &KNOWN);
        embeds(&stage, &[[4.0, 3.0]]);
        let answer = stage.client.chat(&asks("I have a bug")).await;
        assert_eq!(served(&answer), "coder-1");
        assert_eq!(answer.header("x-litellm-model-group"), Some("smart"));
        let inputs: Vec<Value> = stage
            .upstream
            .requests()
            .all()
            .iter()
            .map(|one| one.json()["input"].clone())
            .collect();
        assert_eq!(
            inputs[0],
            json!(["how to code in [language]", "fix this bug", "write a poem"])
        );
        assert_eq!(inputs[1], json!("I have a bug"));
        // From now on only the request is embedded; by an alias it is the same, streamed or not.
        embeds(&stage, &[[0.1, 1.0]]);
        let mut body = asks("A poem!");
        body["model"] = json!("clever");
        assert_eq!(served(&stage.client.chat(&body).await), "poet-1");
        embeds(&stage, &[[3.0, 4.0]]);
        assert_eq!(
            served(&stage.client.chat(&asks("hm")).await),
            "other-1",
            "like none of them enough"
        );
        embeds(&stage, &[[0.0, 5.0]]);
        let events = stage.client.open(&chat_stream("smart")).await.rest().await;
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
        assert_eq!(
            stage.upstream.requests().last().json()["model"],
            "poet-model"
        );
        assert_eq!(stage.upstream.requests().len(), 2 + 4 * 2 - 1);
    }
}

#[tokio::test]
async fn a_router_that_cannot_decide_leads_to_its_default_and_never_fails_a_call() {
    let stage = stage(
        &semantic(&format!(
            "auto_router_config: '{}'",
            ROUTES.replace('\n', " ")
        )),
        "",
    )
    .await;
    let broken = || Reply::error(500, "server_error", None, "no embeddings today");
    stage.upstream.next(broken());
    assert_eq!(served(&stage.client.chat(&asks("A bug")).await), "other-1");
    stage
        .gateway
        .wait_for_log("the automatic router got no answer")
        .await;
    // The utterances are asked for again; the text fails.
    embeds(&stage, &KNOWN);
    stage.upstream.next(broken());
    assert_eq!(served(&stage.client.chat(&asks("A bug")).await), "other-1");
    assert_eq!(served(&stage.client.chat(&asks(" ")).await), "other-1");
    embeds(&stage, &[[-1.0, 0.0]]);
    assert_eq!(served(&stage.client.chat(&asks("A bug")).await), "other-1");
    let metrics = stage.client.get("/metrics").await.text();
    for (cause, count) in [("failed", 2), ("no_text", 1), ("no_route", 1)] {
        let line =
            format!("witgate_auto_routed_total{{router=\"smart\",cause=\"{cause}\"}} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn what_a_router_chose_is_explained_and_is_the_operators_choice() {
    let stage = stage(
        &semantic(&format!(
            "auto_router_config: '{}'",
            ROUTES.replace('\n', " ")
        )),
        "fallbacks: [{other: [smart]}]",
    )
    .await;
    let listed = stage.client.get("/v1/models").await.ok();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(5), "{listed}");
    embeds(&stage, &KNOWN);
    embeds(&stage, &[[1.0, 0.0]]);
    let told = stage
        .client
        .post("/utils/explain", &asks("A bug"))
        .await
        .json();
    assert_eq!(told["resolved_by"], "auto_router", "{told}");
    assert_eq!(
        (&told["model"], &told["model_group"]),
        (&json!("smart"), &json!("coder")),
        "{told}"
    );
    assert_eq!(told["picked"], "coder-1");
    let led = &told["auto_router"];
    assert_eq!(
        (&led["router"], &led["model"], &led["cause"]),
        (&json!("smart"), &json!("coder"), &json!("route")),
        "{told}"
    );
    let metrics = stage.client.get("/metrics").await.text();
    assert!(
        !metrics.contains("witgate_auto_routed_total{"),
        "nothing is counted"
    );
    // Whoever may use the router need not be allowed what it chooses.
    let made = stage
        .client
        .post("/key/generate", &json!({"models": ["smart"]}))
        .await
        .ok();
    let theirs = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
    embeds(&stage, &[[1.0, 0.0]]);
    assert_eq!(served(&theirs.chat(&asks("A bug")).await), "coder-1");
    let mut direct = asks("A bug");
    direct["model"] = json!("coder");
    theirs.chat(&direct).await.error(401);
    // A fallback may be a router.
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "broken"));
    embeds(&stage, &[[0.0, 1.0]]);
    let mut body = asks("A poem");
    body["model"] = json!("other");
    let answer = stage.client.chat(&body).await;
    assert_eq!(served(&answer), "poet-1");
    assert_eq!(answer.header("x-litellm-attempted-fallbacks"), Some("1"));
}

fn complexity(config: &str) -> String {
    format!(
        "  - model_name: smart\n    litellm_params: {{model: auto_router/complexity_router, complexity_router_default_model: embed, complexity_router_config: {{tiers: {{SIMPLE: [poet, other], REASONING: coder}}, {config}}}}}\n"
    )
}

#[tokio::test]
async fn how_hard_a_request_is_chooses_its_tier() {
    let stage = stage(&complexity("keyword_tier_rules: [{keywords: [kubernetes], tier: REASONING}], session_affinity: true"), "").await;
    let mut easy = HashSet::new();
    for _ in 0..20 {
        easy.insert(served(&stage.client.chat(&asks("Hello!")).await).to_owned());
    }
    let drawn: HashSet<String> = ["poet-1", "other-1"].map(str::to_owned).into();
    assert_eq!(easy, drawn, "one of the tier's models each time");
    let rows = [
        (
            "Think through the trade-offs, step by step, and prove that each of them is necessary",
            "coder-1",
        ),
        ("hello Kubernetes", "coder-1"),
        // Medium, of which there are no models.
        (
            "Please write a python function that reverses a linked list and is easy to read",
            "embed-1",
        ),
        ("", "embed-1"),
    ];
    for (text, expected) in rows {
        assert_eq!(
            served(&stage.client.chat(&asks(text)).await),
            expected,
            "{text}"
        );
    }
    // A session stays with its first model.
    let mut body =
        asks("Prove it step by step, and mind that the reader is new to all of this, please");
    body["metadata"] = json!({"session_id": "s"});
    assert_eq!(served(&stage.client.chat(&body).await), "coder-1");
    body["messages"][0]["content"] = json!("Thanks!");
    assert_eq!(served(&stage.client.chat(&body).await), "coder-1");
    body["metadata"] = json!({"session_id": "t"});
    assert_ne!(served(&stage.client.chat(&body).await), "coder-1");
    let told = stage
        .client
        .post("/utils/explain", &asks("Hello Kubernetes"))
        .await
        .json();
    assert_eq!(
        (&told["auto_router"]["tier"], &told["auto_router"]["cause"]),
        (&json!("REASONING"), &json!("keyword")),
        "{told}"
    );
}

#[tokio::test]
async fn a_model_may_judge_how_hard_a_request_is() {
    let judge = "classifier_type: llm, classifier_llm_config: {model: embed, timeout_ms: 20000}";
    let stage = stage(&complexity(judge), "").await;
    let says = |tier: &str| {
        let content = json!({ "tier": tier }).to_string();
        Reply::json(
            200,
            &json!({"id": "j", "object": "chat.completion", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}]}),
        )
    };
    stage.upstream.next(says("REASONING"));
    assert_eq!(served(&stage.client.chat(&asks("Hello!")).await), "coder-1");
    let question = stage.upstream.requests().all()[0].json();
    assert_eq!(question["model"], "embed-model");
    let quoted = question["messages"][1]["content"].as_str().expect("text");
    assert!(quoted.contains("Hello!"), "{quoted}");
    // Without a tier the score decides.
    stage.upstream.next(says("VERY HARD"));
    assert_ne!(served(&stage.client.chat(&asks("Hello!")).await), "coder-1");
    stage.gateway.wait_for_log("the answer names no tier").await;
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "asleep"));
    let hard = "Prove it step by step, and mind that the reader is new to all of this, please";
    assert_eq!(served(&stage.client.chat(&asks(hard)).await), "coder-1");
}

#[tokio::test]
async fn a_router_that_cannot_be_used_is_told_with_what_is_missing() {
    let upstream = FakeUpstream::start().await;
    let routes = |config: &str| semantic(&format!("auto_router_config: '{config}'"));
    for (routers, told) in [
        (semantic(""), "auto_router_config is missing"),
        (routes("{"), "auto_router_config: no JSON"),
        (semantic("auto_router_config_path: /nowhere/router.json"), "/nowhere/router.json"),
        (routes("{\"routes\": []}"), "it has no routes"),
        (routes("{\"routes\": [{\"name\": \"coder\"}]}"), "routes[0]: a route needs the name of its model and utterances"),
        (
            routes("{\"routes\": [{\"name\": \"coder\", \"utterances\": [\"x\"], \"score_threshold\": 2}]}"),
            "score_threshold: expected a number from 0 to 1, not 2",
        ),
        (
            routes("{\"routes\": [{\"name\": \"smart\", \"utterances\": [\"x\"]}]}"),
            "\"smart\" is an automatic router, and none leads to another",
        ),
        (
            "  - model_name: smart\n    litellm_params: {model: auto_router/x, auto_router_config: '{}'}\n".to_owned(),
            "auto_router_embedding_model is missing",
        ),
        (
            semantic("").replace("smart", "coder"),
            "an automatic router needs a name of its own",
        ),
        (complexity("tier_boundaries: {simple_medium: high}"), "tier_boundaries: simple_medium: expected a number"),
        (complexity("tier_boundaries: {simple_medium: 0.5}"), "each must be at least the one before it"),
        (complexity("classifier_type: oracle"), "classifier_type: expected heuristic or llm"),
        (complexity("keyword_tier_rules: [{keywords: [a], tier: HARD}]"), "a rule needs keywords and a tier: SIMPLE, MEDIUM"),
        (complexity("semantic_keyword_matching: true"), "embedding_model is missing"),
        (complexity("plugins: [a.b]"), "plugins: they may forbid models"),
        (complexity("dimension_weights: {tokens: 1}"), "dimension_weights.tokens"),
    ] {
        let config = config(&upstream, &routers, "ignore_invalid_deployments: false");
        let refusal = Gateway::builder(config).expect_refusal().await;
        assert!(refusal.output.contains(told), "{told}: {}", refusal.output);
    }
    // Otherwise the rest is served.
    let config = config(&upstream, &semantic(""), "");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage
        .gateway
        .wait_for_log("the automatic router is left out")
        .await;
    stage.client.chat(&asks("x")).await.error(400);
    let mut body = asks("x");
    body["model"] = json!("poet");
    assert_eq!(served(&stage.client.chat(&body).await), "poet-1");
}

#[tokio::test]
async fn routers_are_told_among_the_models_to_those_who_may_call_them() {
    let inline = format!("auto_router_config: '{}'", ROUTES.replace('\n', " "));
    let stage = stage(&semantic(&inline), "").await;
    let told = stage.client.get("/model/info").await.ok();
    let list = told["data"].as_array().expect("a list");
    let names: Vec<&str> = list
        .iter()
        .filter_map(|one| one["model_name"].as_str())
        .collect();
    assert_eq!(names, ["coder", "poet", "other", "embed", "smart"]);
    let router = &list[4];
    assert_eq!(
        router["model_info"],
        json!({"id": "smart", "db_model": false})
    );
    let params = &router["litellm_params"];
    assert_eq!(params["model"], "auto_router/words");
    assert_eq!(params["auto_router_default_model"], "other");
    let one = stage
        .client
        .get("/model/info?litellm_model_id=smart")
        .await
        .ok();
    assert_eq!(one["data"], json!([router]));
    for (models, count) in [(json!(["coder"]), 1), (json!(["smart"]), 1)] {
        let body = json!({ "models": models });
        let made = stage.client.post("/key/generate", &body).await.ok();
        let caller = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
        let told = caller.get("/model/info").await.ok();
        let list = told["data"].as_array().expect("a list");
        assert_eq!((list.len(), &list[0]["model_name"]), (count, &models[0]));
    }
}
