//! What the gateway tells about itself: models, their details, health, routes.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat};

fn config(api_base: &str) -> String {
    format!(
        "model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}, aws_secret_access_key: aws-secret-value}}
    model_info: {{id: first-deployment, mode: chat, base_model: gpt-4o}}
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o-mini, api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}
  - model_name: claude
    litellm_params: {{model: openai/claude, api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}
  - model_name: 'openai/*'
    litellm_params: {{model: 'openai/*', api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}
general_settings: {{master_key: {MASTER_KEY}}}
router_settings:
  model_group_alias: {{my-alias: gpt-4o}}
"
    )
}

async fn stage() -> Stage {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(config(&upstream.api_base()));
    Stage::of(upstream, gateway).await
}

fn ids(list: &Value) -> Vec<&str> {
    let data = list["data"].as_array().expect("a list has data");
    data.iter()
        .filter_map(|model| model["id"].as_str())
        .collect()
}

#[tokio::test]
async fn models_are_listed_once_per_group_in_openais_shape() {
    let stage = stage().await;
    for path in ["/v1/models", "/models"] {
        let list = stage.client.get(path).await.ok();
        assert_eq!(list["object"], "list", "{path}");
        let listed = ids(&list);
        for model in ["gpt-4o", "claude", "my-alias"] {
            assert_eq!(
                listed.iter().filter(|id| **id == model).count(),
                1,
                "{path}: {model} in {listed:?}"
            );
        }
        let first = &list["data"][0];
        assert_eq!(first["object"], "model");
        assert_eq!(first["created"], 1_677_610_602);
        assert_eq!(first["owned_by"], "openai");
    }
}

#[tokio::test]
async fn one_model_can_be_asked_for() {
    let stage = stage().await;
    assert_eq!(
        stage.client.get("/v1/models/claude").await.ok()["id"],
        "claude"
    );
    assert_eq!(
        stage.client.get("/v1/models/no-such-model").await.status,
        404
    );
}

#[tokio::test]
async fn model_info_shows_the_deployments_without_their_secrets() {
    let stage = stage().await;
    for path in ["/model/info", "/v1/model/info"] {
        let answer = stage.client.get(path).await;
        let info = answer.ok();
        let entries = info["data"].as_array().expect("data");
        assert_eq!(entries.len(), 4, "{path}");
        for secret in [UPSTREAM_KEY, "aws-secret-value", MASTER_KEY] {
            assert!(!answer.text().contains(secret), "{path} shows {secret}");
        }
        let first = entries
            .iter()
            .find(|entry| entry["model_info"]["id"] == "first-deployment")
            .expect("the named deployment");
        assert_eq!(first["model_name"], "gpt-4o");
        assert_eq!(first["litellm_params"]["model"], "openai/gpt-4o");
        assert_eq!(
            first["litellm_params"]["api_base"],
            stage.upstream.api_base()
        );
        assert_eq!(first["model_info"]["db_model"], false);
        assert_eq!(first["model_info"]["input_cost_per_token"], 2.5e-6);
        assert_eq!(first["model_info"]["max_input_tokens"], 128_000);
    }
    let one = stage
        .client
        .get("/model/info?litellm_model_id=first-deployment")
        .await
        .ok();
    assert_eq!(one["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn the_list_of_the_ui_is_searched_sorted_and_in_pages() {
    let stage = stage().await;
    let list = async |query: &str| stage.client.get(&format!("/v2/model/info{query}")).await;
    let names = |answer: &Value| -> Vec<String> {
        let data = answer["data"].as_array().unwrap();
        let name = |one: &Value| one["model_name"].as_str().unwrap().to_owned();
        data.iter().map(name).collect()
    };
    let all = list("").await.ok();
    let info = stage.client.get("/model/info").await.ok();
    assert_eq!(all, info, "without a page it is the same");
    let mut sorted = names(&all);
    sorted.sort();
    let last = sorted.last().unwrap().clone();
    let page = list("?sortBy=model_name&sortOrder=desc&size=1").await.ok();
    assert_eq!(names(&page), [last.as_str()]);
    let count = sorted.len();
    assert_eq!(
        (
            &page["total_count"],
            &page["total_pages"],
            &page["current_page"],
            &page["size"]
        ),
        (&json!(count), &json!(count), &json!(1), &json!(1))
    );
    let found = list(&format!("?search={}&model={last}", last.to_uppercase()))
        .await
        .ok();
    assert!(
        !names(&found).is_empty() && names(&found).iter().all(|name| *name == last),
        "{found}"
    );
    let id = found["data"][0]["model_info"]["id"].as_str().unwrap();
    assert_eq!(
        list(&format!("?modelId={id}")).await.ok()["data"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        list("?search=nothing-like-it").await.ok()["data"],
        json!([])
    );
    assert_eq!(
        (list("?page=0").await.status, list("?sortBy=x").await.status),
        (422, 400)
    );
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let stage = stage().await;
    for path in ["/health/liveliness", "/health/liveness"] {
        assert_eq!(
            stage.client.get(path).await.ok(),
            json!("I'm alive!"),
            "{path}"
        );
    }
    let ready = stage.client.get("/health/readiness").await.ok();
    assert!(
        ready["status"] == "connected" || ready["status"] == "healthy",
        "{ready}"
    );
    assert_eq!(ready["db"], "connected", "{ready}");
    assert!(ready["litellm_version"].is_string(), "{ready}");
}

#[tokio::test]
async fn health_calls_every_deployment_and_tells_the_sick_from_the_healthy() {
    let stage = stage().await;
    let failing = Reply::error(
        401,
        "invalid_request_error",
        None,
        &format!("Incorrect API key provided: {UPSTREAM_KEY}"),
    );
    stage.upstream.on_model("claude", failing);
    let answer = stage.client.get("/health").await;
    let health = answer.ok();
    assert!(health["healthy_count"].as_u64() >= Some(2), "{health}");
    let sick = health["unhealthy_endpoints"]
        .as_array()
        .into_iter()
        .flatten();
    let sick: Vec<&Value> = sick
        .filter(|endpoint| endpoint["model"] == "openai/claude")
        .collect();
    assert_eq!(sick.len(), 1, "{health}");
    let sick = sick[0];
    assert!(
        sick["error"]
            .as_str()
            .unwrap_or_default()
            .contains("Incorrect API key"),
        "{health}"
    );
    assert!(!answer.text().contains(UPSTREAM_KEY), "{health}");

    let one = stage.client.get("/health?model=gpt-4o").await.ok();
    assert_eq!(
        (&one["healthy_count"], &one["unhealthy_count"]),
        (&json!(2), &json!(0)),
        "{one}"
    );
}

#[tokio::test]
async fn the_routes_are_listed_and_each_of_them_exists() {
    let stage = stage().await;
    let routes = stage.client.get("/routes").await.ok();
    let routes = routes["routes"].as_array().expect("routes").clone();
    let paths: Vec<&str> = routes
        .iter()
        .filter_map(|route| route["path"].as_str())
        .collect();
    for path in [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/embeddings",
        "/v1/models",
        "/model/info",
        "/health/liveliness",
        "/routes",
    ] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
    for route in routes
        .iter()
        .filter(|route| route["methods"] == json!(["GET"]))
    {
        let path = route["path"]
            .as_str()
            .expect("path")
            .replace("{model_id}", "claude")
            .replace("{model}", "claude");
        if path.contains('{') {
            continue;
        }
        let answer = stage.client.get(&path).await;
        // What a route does not find it says in words of its own.
        let unrouted = answer.text() == r#"{"detail":"Not Found"}"#;
        assert!(
            !unrouted && answer.status != 405,
            "{path} is listed but answers {}",
            answer.status
        );
    }
}

#[tokio::test]
async fn an_alias_serves_its_group() {
    let stage = stage().await;
    let answer = stage.client.chat(&chat("my-alias")).await.ok();
    assert_eq!(answer["object"], "chat.completion");
    let upstream_model = stage.upstream.requests().last().json()["model"].clone();
    assert!(
        upstream_model == "gpt-4o" || upstream_model == "gpt-4o-mini",
        "{upstream_model}"
    );
}

#[tokio::test]
async fn a_wildcard_passes_the_name_that_was_asked_for() {
    let stage = stage().await;
    stage.client.chat(&chat("openai/o9-preview")).await.ok();
    assert_eq!(
        stage.upstream.requests().last().json()["model"],
        "o9-preview"
    );
}

/// What the deployments of a group amount to, for those who may use it.
#[tokio::test]
async fn groups_are_told_with_what_their_deployments_amount_to() {
    let upstream = FakeUpstream::start().await;
    let more = format!(
        "  - model_name: both\n    litellm_params: {{model: openai/gpt-4o, api_base: '{0}', api_key: k, rpm: 5, input_cost_per_token: 0.5}}\n  - model_name: both\n    litellm_params: {{model: groq/some-model, api_base: '{0}', api_key: k, rpm: 7}}\n    model_info: {{supports_vision: false, max_input_tokens: 7}}\n  - model_name: pictures\n    litellm_params: {{model: openai/gpt-image-1, api_base: '{0}', api_key: k}}\ngeneral_settings:",
        upstream.api_base()
    );
    let config = config(&upstream.api_base()).replace("general_settings:", &more);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let told = stage.client.get("/model_group/info").await.ok();
    let of = |told: &Value, name: &str| {
        let data = told["data"].as_array().expect("groups").clone();
        let mut named = data
            .into_iter()
            .filter(|group| group["model_group"] == name);
        let group = named.next().unwrap_or_default();
        assert!(named.next().is_none(), "{name} is told once: {told}");
        group
    };
    let both = of(&told, "both");
    assert_eq!(both["providers"], json!(["openai", "groq"]), "{both}");
    assert_eq!((&both["rpm"], &both["tpm"]), (&json!(12), &Value::Null));
    assert_eq!(both["max_input_tokens"], 128_000, "{both}");
    assert_eq!(both["input_cost_per_token"], 0.5, "{both}");
    assert_eq!(both["mode"], "chat");
    assert_eq!(both["supports_vision"], true, "{both}");
    assert_eq!(both["is_public_model_group"], false);
    let params = both["supported_openai_params"].to_string();
    assert!(params.contains("temperature"), "{params}");
    let pictures = of(&told, "pictures");
    assert_eq!(pictures["mode"], "image_generation", "{pictures}");
    assert!(
        pictures["supported_openai_params"]
            .to_string()
            .contains("quality")
    );
    let one = stage
        .client
        .get("/model_group/info?model_group=both")
        .await
        .ok();
    assert_eq!(one["data"], json!([both]));
    assert!(!told.to_string().contains("api_base"), "{told}");
    let made = stage
        .client
        .post("/key/generate", &json!({"models": ["pictures"]}))
        .await
        .ok();
    let client = Client::of(&stage.gateway).key(made["key"].as_str().unwrap_or_default());
    let told = client.get("/model_group/info").await.ok();
    assert_eq!(told["data"].as_array().map(Vec::len), Some(1), "{told}");
}

/// By the file, and by an administrator; everybody sees those groups and no others.
#[tokio::test]
async fn groups_that_are_public_are_shown_to_everybody() {
    let upstream = FakeUpstream::start().await;
    let public = "litellm_settings: {public_model_groups: [gpt-4o], public_model_groups_links: {help: 'https://help.example'}}\n";
    let stored = |config: String| {
        let (before, after) = (
            "general_settings: {",
            "general_settings: {store_model_in_db: true, ",
        );
        config.replace(before, after)
    };
    let of_file = stored(config(&upstream.api_base()) + public);
    let stage = Stage::of(upstream, Gateway::builder(of_file)).await;
    let nobody = Client::of(&stage.gateway);
    let hub = nobody.get("/public/model_hub").await.ok();
    assert_eq!(hub.as_array().map(Vec::len), Some(1), "{hub}");
    assert_eq!(hub[0]["model_group"], "gpt-4o");
    assert_eq!(hub[0]["is_public_model_group"], true);
    let info = nobody.get("/public/model_hub/info").await.ok();
    assert_eq!(
        info["useful_links"],
        json!({"help": "https://help.example"})
    );
    // What the file says is the file's.
    let body = json!({"model_groups": ["claude"]});
    let refused = stage.client.post("/model_group/make_public", &body).await;
    assert!((400..500).contains(&refused.status), "{}", refused.text());

    let upstream = FakeUpstream::start().await;
    let config = stored(config(&upstream.api_base()));
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let nobody = Client::of(&stage.gateway);
    let hub = nobody.get("/public/model_hub").await.ok();
    assert_eq!(hub, json!([]));
    let done = stage
        .client
        .post("/model_group/make_public", &body)
        .await
        .ok();
    assert_eq!(done["public_model_groups"], json!(["claude"]));
    let hub = nobody.get("/public/model_hub").await.ok();
    assert_eq!(hub[0]["model_group"], "claude", "{hub}");
    let links = json!({"useful_links": {"docs": "https://docs.example"}});
    let path = "/model_hub/update_useful_links";
    stage.client.post(path, &links).await.ok();
    let info = nobody.get("/public/model_hub/info").await.ok();
    assert_eq!(info["useful_links"], links["useful_links"]);
    for (path, wrong) in [
        (
            "/model_group/make_public",
            json!({"model_groups": ["nope"]}),
        ),
        ("/model_group/make_public", json!({})),
        (path, json!({"useful_links": {"x": "javascript:alert(1)"}})),
        (path, json!({"useful_links": {"x": "https://"}})),
        (path, json!({"useful_links": null})),
    ] {
        let refused = stage.client.post(path, &wrong).await;
        assert!(
            (400..500).contains(&refused.status),
            "{wrong}: {}",
            refused.text()
        );
    }
    nobody
        .post("/model_group/make_public", &body)
        .await
        .error(401);
    let none = json!({"model_groups": []});
    stage
        .client
        .post("/model_group/make_public", &none)
        .await
        .ok();
    assert_eq!(nobody.get("/public/model_hub").await.ok(), json!([]));
}

/// The body, and how many tokens of which model are told.
#[tokio::test]
async fn tokens_are_counted_by_the_model_that_would_serve_them() {
    let upstream = FakeUpstream::start().await;
    let gateway = Gateway::builder(config(&upstream.api_base()))
        .env("FUNCTION_DEFINITION_TOKEN_COUNT", "100")
        .env("MAX_TILE_WIDTH", "100");
    let stage = Stage::of(upstream, gateway).await;
    let hello = json!([{"role": "user", "content": "hello world"}]);
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://host/i.png", "detail": "high"}}]}]);
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    for (body, total, used) in [
        (json!({"model": "gpt-4o", "messages": hello}), 9, "gpt-4o"),
        (
            json!({"model": "my-alias", "prompt": "hello world"}),
            2,
            "gpt-4o",
        ),
        (
            json!({"model": "openai/gpt-4", "prompt": ["hello", "hello world"]}),
            3,
            "gpt-4",
        ),
        (
            json!({"model": "nobodys", "prompt": "hello world"}),
            2,
            "nobodys",
        ),
        (
            json!({"model": "gpt-4o", "messages": hello, "tools": tool}),
            9 + 100 + 14,
            "gpt-4o",
        ),
        // 300 by 300 pixels when nobody knows: three tiles.
        (
            json!({"model": "gpt-4o", "messages": image}),
            7 + 85 + 3 * 170,
            "gpt-4o",
        ),
    ] {
        let told = stage.client.post("/utils/token_counter", &body).await.ok();
        let expected = json!({"total_tokens": total, "request_model": body["model"], "model_used": used, "tokenizer_type": "openai_tokenizer"});
        assert_eq!(told, expected, "{body}");
    }
    for (body, param) in [
        (json!({"prompt": "x"}), "model"),
        (json!({"model": "gpt-4o"}), "messages"),
        (json!({"model": "gpt-4o", "messages": "x"}), "messages"),
    ] {
        let refused = stage.client.post("/utils/token_counter", &body).await;
        assert_eq!(refused.error(400)["param"], param, "{body}");
    }
    stage
        .client
        .post("/utils/token_counter", &json!([1]))
        .await
        .error(400);
}
