//! Which deployments there are for whom: access groups, teams, environments, models that nobody lists.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{Client, MASTER_KEY, Stage, chat};

fn deployment(upstream: &FakeUpstream, name: &str, id: &str, info: &str) -> String {
    format!(
        "  - model_name: {name}\n    litellm_params: {{model: openai/{id}-model, api_base: '{}', api_key: k}}\n    model_info: {{id: {id}{info}}}\n",
        upstream.api_base()
    )
}

async fn stage(deployments: &[(&str, &str, &str)], more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let list: String = deployments
        .iter()
        .map(|(name, id, info)| deployment(&upstream, name, id, info))
        .collect();
    let config = format!(
        "model_list:\n{list}general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0{more}}}\n"
    );
    Stage::of(upstream, Gateway::builder(config)).await
}

async fn key(stage: &Stage, body: Value) -> Client {
    let made = stage.client.post("/key/generate", &body).await.ok();
    Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"))
}

async fn listed(client: &Client, query: &str) -> Vec<String> {
    let told = client.get(&format!("/v1/models{query}")).await.ok();
    let data = told["data"].as_array().expect("a list").iter();
    data.map(|model| model["id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn an_access_group_opens_its_deployments_and_no_other() {
    let stage = stage(
        &[
            ("m", "beta", ", access_groups: [beta-models]"),
            ("m", "stable", ""),
            ("n", "other", ""),
        ],
        "",
    )
    .await;
    let client = key(&stage, json!({"models": ["beta-models"]})).await;
    for _ in 0..8 {
        let answer = client.chat(&chat("m")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-model-id"), Some("beta"));
    }
    client.chat(&chat("n")).await.error(401);
    assert_eq!(listed(&client, "").await, ["m"]);
    let with_groups = listed(&client, "?include_model_access_groups=true").await;
    assert_eq!(with_groups, ["m", "beta-models"]);
    let told = client.get("/model/info").await.ok();
    assert_eq!(told["data"].as_array().map(Vec::len), Some(1), "{told}");
}

#[tokio::test]
async fn a_team_asks_for_its_own_deployments_by_its_own_name() {
    let own = ", team_id: red, team_public_model_name: m";
    let stage = stage(
        &[("m", "general", ""), ("model_name_red_1", "reds", own)],
        "",
    )
    .await;
    let red = key(&stage, json!({"team_id": "red"})).await;
    let blue = key(&stage, json!({"team_id": "blue"})).await;
    for (client, id) in [
        (&red, "reds"),
        (&blue, "general"),
        (&stage.client, "general"),
    ] {
        let answer = client.chat(&chat("m")).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-model-id"), Some(id));
        assert_eq!(listed(client, "").await, ["m"]);
    }
    blue.chat(&chat("model_name_red_1")).await.error(400);
    blue.chat(&chat("reds")).await.error(400);
}

/// What a list of a key opens, in LiteLLM's rules: patterns with stars anywhere, providers of bare names, targets of aliases.
#[tokio::test]
async fn a_list_opens_models_by_pattern_provider_and_alias() {
    let stage = stage(
        &[("gpt-4o", "big", ""), ("gpt-4o-mini", "small", "")],
        ", model_group_alias: {best: gpt-4o}",
    )
    .await;
    for (models, name, status) in [
        ("*-mini", "gpt-4o-mini", 200),
        ("*-mini", "gpt-4o", 401),
        ("openai/*", "gpt-4o", 200),
        ("openai/*-mini", "gpt-4o", 401),
        ("anthropic/*", "gpt-4o", 401),
        ("gpt-4o", "best", 200),
        ("best", "best", 200),
        ("gpt-4o-mini", "best", 401),
        ("best", "gpt-4o", 401),
    ] {
        let client = key(&stage, json!({"models": [models]})).await;
        let answer = client.chat(&chat(name)).await;
        assert_eq!(answer.status, status, "{models} {name}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_models_of_a_team_are_listed_for_who_may_look_into_it() {
    let stage = stage(
        &[
            ("m", "one", ""),
            ("n", "two", ""),
            ("own", "reds", ", team_id: red, team_public_model_name: own"),
        ],
        "",
    )
    .await;
    let member = json!([{"role": "user", "user_id": "mia"}]);
    let team = json!({"team_id": "red", "models": ["m", "own"], "members_with_roles": member});
    stage.client.post("/team/new", &team).await.ok();
    let members = key(&stage, json!({"user_id": "mia"})).await;
    let teams = key(&stage, json!({"team_id": "red", "models": ["m"]})).await;
    for client in [&stage.client, &members, &teams] {
        let mut names = listed(client, "?team_id=red").await;
        names.sort();
        assert_eq!(names, ["m", "own"]);
    }
    assert_eq!(listed(&teams, "").await, ["m"]);
    let stranger = key(&stage, json!({"user_id": "ben"})).await;
    for (client, query, status, text) in [
        (
            &stranger,
            "red",
            403,
            "User not allowed to access this team",
        ),
        (&stage.client, "green", 404, "Team not found"),
    ] {
        let answer = client.get(&format!("/v1/models?team_id={query}")).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(text), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_stands_in_for_a_model_is_listed_beside_it() {
    let stage = stage(
        &[("m", "one", ""), ("n", "two", "")],
        ", fallbacks: [{m: [n]}], context_window_fallbacks: [{n: [m, {model: o, n: 1}]}]",
    )
    .await;
    for (query, of_m, of_n) in [
        ("", json!(["n"]), json!([])),
        ("&fallback_type=general", json!(["n"]), json!([])),
        (
            "&fallback_type=context_window",
            json!([]),
            json!(["m", "o"]),
        ),
        ("&fallback_type=content_policy", json!([]), json!([])),
    ] {
        let path = format!("/v1/models?include_metadata=true{query}");
        let told = stage.client.get(&path).await.ok();
        let fallbacks = |at: usize| told["data"][at]["metadata"]["fallbacks"].clone();
        assert_eq!(
            [fallbacks(0), fallbacks(1)],
            [of_m, of_n],
            "{query}: {told}"
        );
    }
    let plain = stage.client.get("/v1/models").await.ok();
    assert_eq!(plain["data"][0].get("metadata"), None);
    let wrong = "/v1/models?include_metadata=true&fallback_type=fast";
    let answer = stage.client.get(wrong).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.text().contains("Must be one of"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_deployment_is_there_in_its_environments_only() {
    let upstream = FakeUpstream::start().await;
    let list = [
        deployment(
            &upstream,
            "m",
            "here",
            ", supported_environments: [staging, production]",
        ),
        deployment(
            &upstream,
            "m",
            "there",
            ", supported_environments: [development]",
        ),
    ]
    .concat();
    let config = format!("model_list:\n{list}general_settings: {{master_key: {MASTER_KEY}}}\n");
    let gateway = Gateway::builder(&*config).env("LITELLM_ENVIRONMENT", "staging");
    let stage = Stage::of(upstream, gateway).await;
    let told = stage.client.get("/model/info").await.ok();
    let ids: Vec<&Value> = told["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| &one["model_info"]["id"])
        .collect();
    assert_eq!(ids, ["here"]);
}

#[tokio::test]
async fn models_that_nobody_lists_go_to_their_provider_when_the_operator_says_so() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list: []\ngeneral_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0, router_general_settings: {{pass_through_all_models: true}}}}\n"
    );
    let gateway = Gateway::builder(config)
        .env("OPENAI_API_KEY", "sk-from-the-environment")
        .env("OPENAI_API_BASE", upstream.api_base());
    let stage = Stage::of(upstream, gateway).await;
    for (model, sent) in [("openai/some-model", "some-model"), ("gpt-4o", "gpt-4o")] {
        stage.client.chat(&chat(model)).await.ok();
        let request = stage.upstream.requests().last();
        assert_eq!(request.json()["model"], sent);
        let sent_key = request.header("authorization");
        assert_eq!(sent_key, Some("Bearer sk-from-the-environment"));
    }
    stage.client.chat(&chat("groq/x")).await.error(400);
    assert!(listed(&stage.client, "").await.is_empty());
}

#[tokio::test]
async fn an_invalid_deployment_is_left_out_or_refuses_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = "model_list:\n  - model_name: m\n    litellm_params: {model: openai/m, api_base: 'ftp://example.test', api_key: k}\n  - model_name: m\n    litellm_params: {model: openai/m, api_base: 'http://example.test', api_key: k}\n    model_info: {id: good}\n";
    let general = format!("general_settings: {{master_key: {MASTER_KEY}}}\n");
    let gateway = Gateway::builder(format!("{list}{general}")).start().await;
    let told = Client::of(&gateway)
        .key(MASTER_KEY)
        .get("/model/info")
        .await
        .ok();
    assert_eq!(told["data"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told["data"][0]["model_info"]["id"], "good");

    let strict = format!("{list}{general}router_settings: {{ignore_invalid_deployments: false}}\n");
    std::fs::write(folder.path().join("config.yaml"), strict).expect("write the config");
    let args = [
        "serve",
        "--config",
        "config.yaml",
        "--port",
        "0",
        "--data-dir",
        "data",
    ];
    let (_, stderr, code) = Gateway::run(folder.path(), &args).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("api_base must begin with http://"),
        "{stderr}"
    );
}
