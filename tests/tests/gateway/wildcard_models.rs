//! The models behind wildcards in listings: by the price map, or as their provider lists them; and what else listings are asked for.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat, eventually};

fn deployment(upstream: &FakeUpstream, name: &str, model: &str, info: &str) -> String {
    format!(
        "  - model_name: '{name}'\n    litellm_params: {{model: '{model}', api_base: '{}', api_key: {UPSTREAM_KEY}}}\n    model_info: {{{info}}}\n",
        upstream.api_base()
    )
}

fn config(deployments: &str, general: &str, litellm: &str) -> String {
    format!(
        "model_list:\n{deployments}general_settings: {{master_key: {MASTER_KEY}{general}}}\nrouter_settings: {{num_retries: 0}}\nlitellm_settings: {{{litellm}}}\n"
    )
}

async fn listed(client: &Client, query: &str) -> Vec<String> {
    let told = client.get(&format!("/v1/models{query}")).await.ok();
    let data = told["data"].as_array().expect("a list").iter();
    data.map(|model| model["id"].as_str().expect("an id").to_owned())
        .collect()
}

async fn key(stage: &Stage, body: Value) -> Client {
    let made = stage.client.post("/key/generate", &body).await.ok();
    Client::of(&stage.gateway).key(made["key"].as_str().expect("a key"))
}

/// A list of models as OpenAI writes it.
fn list(ids: &[&str]) -> Reply {
    let data: Vec<Value> = ids
        .iter()
        .map(|id| json!({"id": id, "object": "model"}))
        .collect();
    Reply::json(200, &json!({"object": "list", "data": data}))
}

fn asks(upstream: &FakeUpstream) -> usize {
    let all = upstream.requests().all();
    all.iter().filter(|one| one.path() == "/v1/models").count()
}

#[tokio::test]
async fn the_models_behind_a_wildcard_are_listed_and_can_be_called() {
    let upstream = FakeUpstream::start().await;
    let deployments = deployment(&upstream, "groq/*", "groq/*", "id: groq")
        + &deployment(&upstream, "mine/*", "openai/gpt-4o-*", "id: mine")
        + &deployment(&upstream, "mine/gpt-3", "openai/gpt-3", "id: three");
    let config = config(&deployments, "", "");
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let all = listed(&stage.client, "").await;
    assert_eq!(all[0], "mine/gpt-3");
    for name in ["mine/mini", "groq/openai/gpt-oss-20b"] {
        assert!(all.iter().any(|one| one == name), "{name}: {all:?}");
    }
    assert!(!all.iter().any(|one| one.contains('*')), "{all:?}");
    let mut once = all.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), all.len(), "{all:?}");
    stage.client.chat(&chat("mine/mini")).await.ok();
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["model"], "gpt-4o-mini");
    let with = listed(&stage.client, "?return_wildcard_routes=true").await;
    assert!(with.iter().any(|one| one == "groq/*"), "{with:?}");
    assert_eq!(with.len(), all.len() + 2);
    // Who may use a part of them is told of that part.
    let client = key(&stage, json!({"models": ["groq/*"]})).await;
    let theirs = listed(&client, "").await;
    assert!(theirs.len() > 1, "{theirs:?}");
    assert!(
        theirs.iter().all(|one| one.starts_with("groq/")),
        "{theirs:?}"
    );
    let groups = stage.client.get("/model_group/info").await.ok();
    let of = |name: &str| {
        let data = groups["data"].as_array().expect("groups");
        data.iter()
            .find(|group| group["model_group"] == name)
            .cloned()
    };
    let mini = of("mine/mini").expect("the model");
    assert_eq!(mini["max_output_tokens"], 16384, "{mini}");
    assert_eq!(mini["input_cost_per_token"], 1.5e-7, "{mini}");
    assert_eq!(mini["providers"], json!(["openai"]));
    assert_eq!(of("mine/*"), None);
    let one = "/model_group/info?model_group=mine/*";
    let one = stage.client.get(one).await.ok();
    assert_eq!(one["data"][0]["model_group"], "mine/*", "{one}");
}

#[tokio::test]
async fn a_provider_is_asked_what_it_has_and_not_by_every_listing() {
    let upstream = FakeUpstream::start().await;
    let other = FakeUpstream::start().await;
    let deployments = deployment(&upstream, "mine/*", "openai/*", "id: mine")
        + &deployment(&other, "theirs/*", "groq/*", "id: theirs");
    let config = config(&deployments, "", "check_provider_endpoint: true");
    other.always(Reply::error(500, "server_error", None, "away"));
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    // A call asks for no list.
    stage.client.chat(&chat("mine/anything")).await.ok();
    assert_eq!(asks(&stage.upstream), 0, "a call asks for no list");
    stage.upstream.next(list(&["local-b", "local-a", "org/c"]));
    for _ in 0..3 {
        let all = listed(&stage.client, "").await;
        let mine: Vec<_> = all.iter().filter(|one| one.starts_with("mine/")).collect();
        assert_eq!(mine, ["mine/local-a", "mine/local-b", "mine/org/c"]);
        // Who does not answer has what the price map knows.
        let known = "theirs/openai/gpt-oss-20b";
        assert!(all.iter().any(|one| one == known), "{all:?}");
    }
    let groups = stage.client.get("/model_group/info").await.ok();
    let data = groups["data"].as_array().expect("groups");
    assert!(
        data.iter().any(|one| one["model_group"] == "mine/local-a"),
        "{groups}"
    );
    assert_eq!((asks(&stage.upstream), asks(&other)), (1, 1), "each once");
    let asked = stage.upstream.requests().all();
    let asked = asked
        .iter()
        .find(|one| one.path() == "/v1/models")
        .expect("a question");
    assert_eq!(asked.method, "GET");
    let key = format!("Bearer {UPSTREAM_KEY}");
    assert_eq!(asked.header("authorization"), Some(key.as_str()));
    let logs = stage.gateway.logs().all().join("\n");
    let told = logs.matches("does not list its models").count();
    assert_eq!(told, 1, "{logs}");
    assert!(!stage.gateway.printed(UPSTREAM_KEY));
}

/// Not a list, too long, names that are none: nothing of it is shown.
#[tokio::test]
async fn what_a_provider_says_that_is_no_list_is_not_listed() {
    let upstream = FakeUpstream::start().await;
    let deployments = deployment(&upstream, "mine/*", "openai/gpt-4o*", "id: mine");
    let config = config(&deployments, "", "check_provider_endpoint: true");
    for reply in [
        Reply::status(200, &[], "<html>"),
        Reply::json(200, &json!({"data": "all"})),
        Reply::bytes("no HTTP"),
        Reply::status(200, &[], vec![b' '; 5 << 20]),
    ] {
        upstream.always(reply);
        let gateway = Gateway::builder(config.as_str()).start().await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        let all = listed(&client, "").await;
        assert!(all.iter().any(|one| one == "mine/-mini"), "{all:?}");
    }
    upstream.always(list(&["gpt-4o-own", "*", "", "other"]));
    let gateway = Gateway::builder(config.as_str()).start().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    assert_eq!(listed(&client, "").await, ["mine/-own"]);
}

#[tokio::test]
async fn admins_list_everything_with_scope_expand() {
    let upstream = FakeUpstream::start().await;
    let deployments = deployment(&upstream, "m", "openai/m", "id: m")
        + &deployment(&upstream, "n", "openai/n", "id: n")
        + &deployment(
            &upstream,
            "reds",
            "openai/r",
            "id: reds, team_id: red, team_public_model_name: r",
        )
        + &deployment(&upstream, "g/*", "groq/*", "id: g");
    let stage = Stage::of(upstream, Gateway::builder(config(&deployments, "", ""))).await;
    let user = json!({"user_id": "root", "user_role": "proxy_admin", "models": ["m"]});
    stage.client.post("/user/new", &user).await.ok();
    let admin = key(&stage, json!({"user_id": "root", "models": ["m"]})).await;
    let caller = key(&stage, json!({"models": ["m"]})).await;
    assert_eq!(listed(&admin, "").await, ["m"]);
    for client in [&admin, &stage.client] {
        let all = listed(client, "?scope=expand").await;
        assert_eq!(all[..3], ["m", "n", "reds"]);
        assert!(all.len() > 5 && all[3].starts_with("g/"), "{all:?}");
    }
    assert_eq!(listed(&caller, "?scope=expand").await, ["m"]);
    for scope in ["all", ""] {
        let answer = caller.get(&format!("/v1/models?scope={scope}")).await;
        assert_eq!(answer.status, 400);
        let text = answer.text();
        assert!(
            text.contains("Only 'expand' is currently supported"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn models_that_no_check_found_healthy_can_be_left_out() {
    let (sick, well) = (FakeUpstream::start().await, FakeUpstream::start().await);
    sick.always(Reply::error(500, "server_error", None, "on fire"));
    let deployments = deployment(&sick, "down", "openai/d", "id: d")
        + &deployment(&sick, "half", "openai/h", "id: h1")
        + &deployment(&well, "half", "openai/h", "id: h2")
        + &deployment(&well, "up", "openai/u", "id: u");
    let health = ", background_health_checks: true, health_check_interval: 1000";
    let checked = config(&deployments, health, "");
    let policy = checked.replace(
        "num_retries: 0",
        "num_retries: 0, allowed_fails_policy: {TimeoutErrorAllowedFails: 3}",
    );
    for (config, left) in [
        (&checked, &["half", "up"][..]),
        (&policy, &["down", "half", "up"]),
    ] {
        let gateway = Gateway::builder(config.as_str()).start().await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        eventually("a round has ended", async || {
            let latest = client.get("/health/latest").await.ok();
            (latest["total_models"] == 4).then_some(())
        })
        .await;
        assert_eq!(listed(&client, "").await, ["down", "half", "up"]);
        assert_eq!(listed(&client, "?healthy_only=true").await, left);
    }
    // Without checks nobody knows of anything that is sick.
    let gateway = Gateway::builder(config(&deployments, "", "")).start().await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    let all = listed(&client, "?healthy_only=true").await;
    assert_eq!(all, ["down", "half", "up"]);
}
