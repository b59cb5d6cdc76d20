//! What the operator's variables say of prices, and what is told of the price map.

use serde_json::{Value, json};
use witgate_testkit::openai::{COMPLETION_TOKENS, PROMPT_TOKENS, chat_completion, chat_frames};
use witgate_testkit::{FakeUpstream, Gate, Gateway, GatewayBuilder, Reply};

use crate::support::{Answer, Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat};

/// Every model of these providers, and OpenAI's.
async fn stage(env: &[(&str, &str)]) -> Stage {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(config(&upstream));
    let with = |gateway: GatewayBuilder, (name, value): &(&str, &str)| gateway.env(name, *value);
    let gateway = env.iter().fold(gateway, with);
    Stage::of(upstream, gateway).await
}

fn config(upstream: &FakeUpstream) -> String {
    let of = |provider: &str| {
        format!(
            "  - model_name: '{provider}/*'\n    litellm_params: {{model: '{provider}/*', api_base: '{}', api_key: {UPSTREAM_KEY}}}\n",
            upstream.api_base()
        )
    };
    format!(
        "model_list:\n{}{}{}general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n",
        of("together_ai"),
        of("fireworks_ai"),
        of("openai")
    )
}

/// What a call cost; `None` where nobody knows.
#[track_caller]
fn cost(answer: &Answer) -> Option<f64> {
    answer.ok();
    let header = answer.header("x-litellm-response-cost")?;
    Some(header.parse().expect("a number"))
}

/// What the fake's usage costs by the token.
fn tokens(input: f64, output: f64) -> f64 {
    PROMPT_TOKENS as f64 * input + COMPLETION_TOKENS as f64 * output
}

#[track_caller]
fn is(cost: Option<f64>, expected: f64) {
    let cost = cost.expect("a cost");
    assert!((cost - expected).abs() < 1e-12, "{cost} {expected}");
}

/// By the classes of the map, as the variables bound them; what has a price of its own keeps it, and no size has no price.
#[tokio::test]
async fn models_without_a_price_cost_what_their_size_does() {
    let stage = stage(&[
        ("TOGETHER_AI_41_B", "45"),
        ("FIREWORKS_AI_4_B", "5"),
        ("FIREWORKS_AI_56_B_MOE", "55"),
    ])
    .await;
    for (model, price) in [
        ("together_ai/org/new-3b", 1e-7),
        ("together_ai/org/new-8b-chat", 2e-7),
        // Not of the class above: the bound is 45.
        ("together_ai/org/new-43b", 8e-7),
        ("together_ai/meta-llama/Llama-3-8b-chat-hf", 2e-7),
        ("fireworks_ai/accounts/fireworks/models/new-5b", 2e-7),
        ("fireworks_ai/accounts/fireworks/models/new-70b", 9e-7),
        // 56 is too much here.
        ("fireworks_ai/accounts/fireworks/models/new-8x7b", 1.2e-6),
    ] {
        let answer = stage.client.chat(&chat(model)).await;
        is(cost(&answer), tokens(price, price));
    }
    let unknown = stage.client.chat(&chat("together_ai/org/new")).await;
    assert_eq!(cost(&unknown), None);
    let embed = |model: &str| json!({"model": model, "input": "words"});
    let answer = stage
        .client
        .post("/v1/embeddings", &embed("together_ai/org/bert-110m"))
        .await;
    let prompt = answer.ok()["usage"]["prompt_tokens"].as_f64().unwrap();
    is(cost(&answer), prompt * 8e-9);
    // An embedding has no class by billions.
    let answer = stage
        .client
        .post("/v1/embeddings", &embed("together_ai/org/e5-7b"))
        .await;
    assert_eq!(cost(&answer), None);
    let asked = json!({"model": "together_ai/org/new-43b", "completion_response": {"usage": {"prompt_tokens": 10, "completion_tokens": 0}}});
    let told = stage.client.post("/spend/calculate", &asked).await.ok();
    is(told["cost"].as_f64(), 8e-6);
    let rows = stage.gateway.wait_for_spend_rows(10).await;
    let of = |model: &str| rows.iter().find(|row| row["model"] == model).cloned();
    let row = of("org/new-43b").expect("a row");
    is(row["spend"].as_f64(), tokens(8e-7, 8e-7));
}

/// What a call may cost is held back while it is under way, also by the class of its size: another finds nothing left.
#[tokio::test]
async fn a_budget_knows_what_a_size_costs() {
    let stage = stage(&[]).await;
    let key = json!({"max_budget": 1e-4});
    for (model, left) in [
        ("together_ai/org/new-70b", false),
        ("together_ai/org/new", true),
    ] {
        let made = stage.client.post("/key/generate", &key).await.ok();
        let client = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
        let mut body = chat(model);
        body["max_tokens"] = json!(1000);
        let gate = Gate::new();
        stage.upstream.next(Reply::openai().behind(&gate));
        let (first, asked) = (client.clone(), body.clone());
        let first = tokio::spawn(async move { first.chat(&asked).await });
        gate.reached(1).await;
        let second = client.chat(&body).await;
        assert_eq!(second.status == 200, left, "{model}: {}", second.text());
        assert!(left || second.text().contains("udget"), "{}", second.text());
        gate.open();
        first.await.expect("a call").ok();
    }
}

/// A model that searches; its tokens cost what gpt-4o's do.
const SEARCHES: &str = "gpt-4o-search-preview";

/// An answer that cites these kinds of sources.
fn citing(model: &str, kinds: &[&str]) -> Value {
    let mut body = chat_completion(model, "See the source.");
    let cited: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
    body["choices"][0]["message"]["annotations"] = json!(cited);
    body
}

#[tokio::test]
async fn searches_of_the_provider_are_paid_for() {
    let stage = stage(&[("OPENAI_FILE_SEARCH_COST_PER_1K_CALLS", "0.02")]).await;
    let gpt_4o = tokens(2.5e-6, 1e-5);
    let mut asked = chat("openai/gpt-4o");
    let quiet = stage.client.chat(&asked).await;
    is(cost(&quiet), gpt_4o);
    asked["tools"] = json!([{"type": "file_search", "vector_store_ids": ["vs"]}]);
    // Asked for and not made, made and not asked for: neither is paid for.
    is(cost(&stage.client.chat(&asked).await), gpt_4o);
    let cites = Reply::json(200, &citing("gpt-4o", &["file_citation"]));
    stage.upstream.always(cites);
    is(
        cost(&stage.client.chat(&chat("openai/gpt-4o")).await),
        gpt_4o,
    );
    is(cost(&stage.client.chat(&asked).await), gpt_4o + 0.02);
    // The web, by the map's price of a search.
    stage.upstream.always(Reply::json(
        200,
        &citing(SEARCHES, &["url_citation", "url_citation"]),
    ));
    let model = format!("openai/{SEARCHES}");
    let searched = cost(&stage.client.chat(&chat(&model)).await);
    is(searched, gpt_4o + 0.025);
    // Where the upstream counts, its count is paid for.
    let mut counted = citing(SEARCHES, &[]);
    counted["usage"]["server_tool_use"] = json!({"web_search_requests": 3});
    stage.upstream.always(Reply::json(200, &counted));
    let searched = cost(&stage.client.chat(&chat(&model)).await);
    is(searched, gpt_4o + 0.075);
    let rows = stage.gateway.wait_for_spend_rows(6).await;
    let most = rows.iter().filter_map(|row| row["spend"].as_f64());
    is(most.reduce(f64::max), gpt_4o + 0.075);
}

#[tokio::test]
async fn a_stream_pays_for_the_searches_that_it_cites() {
    let stage = stage(&[]).await;
    let mut frames = chat_frames("gpt-4o", "See the source.");
    let mut cites: Value = serde_json::from_str(&frames[0]).expect("a chunk");
    cites["choices"][0]["delta"] = json!({"annotations": [{"type": "file_citation"}]});
    frames.insert(frames.len() - 1, cites.to_string());
    stage.upstream.always(Reply::stream(&frames));
    let mut asked = chat("openai/gpt-4o");
    asked["stream"] = json!(true);
    asked["tools"] = json!([{"type": "file_search"}]);
    let events = stage.client.open(&asked).await.rest().await;
    assert!(events.join("").contains("file_citation"), "{events:?}");
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    let used = |name: &str| row[name].as_f64().expect("a count");
    let by_tokens = used("prompt_tokens") * 2.5e-6 + used("completion_tokens") * 1e-5;
    is(row["spend"].as_f64(), by_tokens + 0.0025);
}

#[tokio::test]
async fn the_price_map_in_force_is_told() {
    let stage = stage(&[]).await;
    let nobody = Client::of(&stage.gateway);
    let map = nobody.get("/public/litellm_model_cost_map").await.ok();
    assert_eq!(map["gpt-4o"]["input_cost_per_token"], 2.5e-6);
    assert!(map.as_object().is_some_and(|map| map.len() > 4000));
    let admins = stage.client.get("/get/litellm_model_cost_map").await.ok();
    assert_eq!(admins, map);
    nobody.get("/get/litellm_model_cost_map").await.error(401);
    let made = stage.client.post("/key/generate", &json!({})).await.ok();
    let caller = Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"));
    caller.get("/get/litellm_model_cost_map").await.error(401);
}

#[tokio::test]
async fn users_and_teams_are_counted_and_no_licence_bounds_them() {
    let stage = stage(&[]).await;
    for user in ["ann", "ben"] {
        let body = json!({"user_id": user, "auto_create_key": false});
        stage.client.post("/user/new", &body).await.ok();
    }
    let team = json!({"team_id": "red"});
    stage.client.post("/team/new", &team).await.ok();
    let told = stage.client.get("/user/available_users").await.ok();
    assert_eq!(
        told,
        json!({
            "total_users": null, "total_teams": null, "total_users_used": 2, "total_teams_used": 1,
            "total_teams_remaining": null, "total_users_remaining": null,
        })
    );
}

#[tokio::test]
async fn metrics_of_models_look_back_as_long_as_a_month_is() {
    // A month of no days: nothing that is over is looked at.
    for (days, bars) in [("28", 1), ("0", 0)] {
        let stage = stage(&[("DAYS_IN_A_MONTH", days)]).await;
        stage.client.chat(&chat("openai/gpt-4o")).await.ok();
        stage.gateway.wait_for_spend_rows(1).await;
        let told = stage.client.get("/model/metrics").await.ok();
        assert_eq!(told["data"].as_array().map(Vec::len), Some(bars), "{told}");
    }
}

#[tokio::test]
async fn references_are_resolved_as_deep_as_the_operator_says() {
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream).replace(UPSTREAM_KEY, "os.environ/OWN_KEY");
    for (depth, key) in [("100", "Bearer sk-own"), ("3", "Bearer os.environ/OWN_KEY")] {
        let gateway = Gateway::builder(config.as_str())
            .env("OWN_KEY", "sk-own")
            .env("DEFAULT_MAX_RECURSE_DEPTH", depth)
            .start()
            .await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        client.chat(&chat("openai/gpt-4o")).await.ok();
        let seen = upstream.requests().last();
        assert_eq!(seen.header("authorization"), Some(key));
        let told = gateway.printed("is nested more than 3 deep");
        assert_eq!(told, depth == "3");
    }
}

#[tokio::test]
async fn what_a_model_gives_at_most_is_told() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        &format!(
            "  - model_name: own\n    litellm_params: {{model: openai/own, api_base: '{}', api_key: k}}\n    model_info: {{max_output_tokens: 777}}\ngeneral_settings:\n",
            upstream.api_base()
        ),
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    for path in ["/model/info", "/model_group/info"] {
        let told = stage.client.get(path).await.ok();
        let data = told["data"].as_array().expect("a list");
        let of = |name: &str| {
            let is_it = |one: &&Value| one["model_name"] == name || one["model_group"] == name;
            let one = data.iter().find(is_it).expect("the model").clone();
            match one.get("model_info") {
                Some(info) => info["max_output_tokens"].clone(),
                None => one["max_output_tokens"].clone(),
            }
        };
        assert_eq!(of("own"), 777, "{path}");
        assert_eq!(of("gpt-4o"), 16384, "{path}");
    }
}
