//! Virtual keys in the secret manager: written, rotated, renamed and deleted behind the management API; and one secret that has
//! all others.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, FakeVault, Gate, Gateway, GatewayBuilder, Reply};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, eventually};

const TOKEN: &str = "hvs.operators-token-1234";

fn config(upstream: &FakeUpstream, settings: &str) -> String {
    let general = format!(
        "general_settings:\n  key_management_system: hashicorp_vault\n  key_management_settings: {{{settings}}}\n"
    );
    base_config(&upstream.api_base()).replace("general_settings:\n", &general)
}

/// A gateway whose secret manager is this Vault.
fn of_vault(vault: &FakeVault, upstream: &FakeUpstream, settings: &str) -> GatewayBuilder {
    Gateway::builder(config(upstream, settings))
        .env("HCP_VAULT_ADDR", vault.address())
        .env("HCP_VAULT_TOKEN", TOKEN)
}

async fn storing(vault: &FakeVault, settings: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let builder = of_vault(vault, &upstream, settings);
    Stage::of(upstream, builder).await
}

async fn has(vault: &FakeVault, name: &str, value: Option<&str>) {
    let path = format!("secret/data/{name}");
    eventually(&format!("{name} is {value:?}"), async || {
        (vault.value(&path).as_deref() == value).then_some(())
    })
    .await;
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer[name].as_str().unwrap()
}

#[tokio::test]
async fn a_key_is_in_vault_from_its_making_to_its_end() {
    let vault = FakeVault::start(TOKEN).await;
    let settings = "store_virtual_keys: true, access_mode: read_and_write, prefix_for_stored_virtual_keys: team/keys, description: made by witgate, tags: {env: ci}";
    let stage = storing(&vault, settings).await;
    let admin = &stage.client;
    let post = async |path: &str, body: Value| admin.post(path, &body).await.ok();

    let made = post("/key/generate", json!({"key_alias": "ci"})).await;
    let key = text(&made, "key");
    has(&vault, "team/keys/ci", Some(key)).await;
    let written = vault.vendor().requests().last().json();
    assert_eq!(written["data"]["description"], "made by witgate");
    // What is stored is what opens the gateway.
    let client = Client::of(&stage.gateway).key(key);
    client.chat(&chat("gpt-4o")).await.ok();

    let rotated = post("/key/regenerate", json!({"key": key})).await;
    has(&vault, "team/keys/ci", Some(text(&rotated, "key"))).await;
    let key = text(&rotated, "key");
    post("/key/update", json!({"key": key, "key_alias": "cd"})).await;
    has(&vault, "team/keys/cd", Some(key)).await;
    has(&vault, "team/keys/ci", None).await;
    // Another change is none of its name.
    let before = vault.vendor().requests().len();
    post("/key/update", json!({"key": key, "max_budget": 5})).await;
    let both = json!({"key": key, "key_alias": "both"});
    let both = post("/key/regenerate", both).await;
    has(&vault, "team/keys/both", Some(text(&both, "key"))).await;
    has(&vault, "team/keys/cd", None).await;
    let asked = vault.vendor().requests().len() - before;
    assert_eq!(asked, 4, "read, written, read, deleted");
    post("/key/delete", json!({"key_aliases": ["both"]})).await;
    has(&vault, "team/keys/both", None).await;

    // Without an alias it is called by its hash, and its next one by that.
    let made = post("/key/generate", json!({})).await;
    let name = |row: &Value| format!("team/keys/virtual-key-{}", text(row, "token"));
    has(&vault, &name(&made), Some(text(&made, "key"))).await;
    let path = format!("/key/{}/regenerate", text(&made, "token"));
    let rotated = post(&path, json!({})).await;
    has(&vault, &name(&rotated), Some(text(&rotated, "key"))).await;
    has(&vault, &name(&made), None).await;
    post("/key/delete", json!({"keys": [rotated["token"]]})).await;
    has(&vault, &name(&rotated), None).await;

    // Keys that are made and go with others, too.
    let user = post("/user/new", json!({"user_id": "ann", "key_alias": "anns"})).await;
    has(&vault, "team/keys/anns", Some(text(&user, "key"))).await;
    post("/user/delete", json!({"user_ids": ["ann"]})).await;
    has(&vault, "team/keys/anns", None).await;
    vault.vendor().refused_nothing();
    for secret in [key, TOKEN] {
        assert!(!stage.gateway.printed(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_manager_that_may_only_be_written_is_and_trouble_with_it_is_told() {
    let vault = FakeVault::start(TOKEN).await;
    let stage = storing(&vault, "store_virtual_keys: true, access_mode: write_only").await;
    let admin = &stage.client;
    let made = admin
        .post("/key/generate", &json!({"key_alias": "a"}))
        .await
        .ok();
    has(&vault, "litellm/a", Some(text(&made, "key"))).await;
    let change = json!({"key": made["key"], "key_alias": "b"});
    admin.post("/key/update", &change).await.ok();
    let other = admin
        .post("/key/generate", &json!({"key_alias": "c"}))
        .await
        .ok();
    has(&vault, "litellm/c", Some(text(&other, "key"))).await;
    assert!(vault.reads().is_empty(), "{:?}", vault.reads());
    has(&vault, "litellm/a", Some(text(&made, "key"))).await;
    assert!(stage.gateway.printed("its secret the old name"));

    // An alias that leads out of the place is one of the key and none of a secret.
    let leads_out = json!({"key_alias": "../../x"});
    admin.post("/key/generate", &leads_out).await.ok();
    vault.revoke_all();
    let late = json!({"key_alias": "late"});
    let late = admin.post("/key/generate", &late).await.ok();
    let told = "the secret manager does not have a virtual key as it is now";
    eventually("it is told", async || {
        let told = stage.gateway.printed(told) && stage.gateway.printed("litellm/late");
        told.then_some(())
    })
    .await;
    has(&vault, "x", None).await;
    let client = Client::of(&stage.gateway).key(text(&late, "key"));
    client.chat(&chat("gpt-4o")).await.ok();
    assert!(!stage.gateway.printed(text(&late, "key")));
}

#[tokio::test]
async fn what_waits_for_the_manager_is_written_before_the_end_and_a_reload_ends_it() {
    let vault = FakeVault::start(TOKEN).await;
    let upstream = FakeUpstream::start().await;
    let settings = "store_virtual_keys: true, access_mode: write_only";
    let builder = of_vault(&vault, &upstream, settings);
    let mut stage = Stage::of(upstream, builder).await;
    let mut names = Vec::new();
    for n in 0..20 {
        let body = json!({ "key_alias": format!("k{n}") });
        let made = stage.client.post("/key/generate", &body).await.ok();
        names.push((format!("litellm/k{n}"), text(&made, "key").to_owned()));
    }
    stage.gateway.stop().await;
    for (name, key) in &names {
        let stored = vault.value(&format!("secret/data/{name}"));
        assert_eq!(stored.as_deref(), Some(key.as_str()), "{name}");
    }
    let mut gateway = stage.gateway.start_again().await;
    let admin = Client::of(&gateway).key(MASTER_KEY);
    gateway.write_config(&config(&stage.upstream, "access_mode: write_only"));
    let reload = admin.request(reqwest::Method::POST, "/config/reload").await;
    assert_eq!(reload.status, 200, "{}", reload.text());
    let before = vault.vendor().requests().len();
    let gone = json!({"key_aliases": ["k0"]});
    admin.post("/key/delete", &gone).await.ok();
    gateway.stop().await;
    assert_eq!(vault.vendor().requests().len(), before);
}

/// A gateway that lags behind the manager, and another that makes a key of the same alias meanwhile.
#[tokio::test]
async fn a_deleted_keys_text_takes_no_other_keys_along() {
    let vault = FakeVault::start(TOKEN).await;
    let upstream = FakeUpstream::start().await;
    let folder = tempfile::tempdir().unwrap();
    let database = format!(
        "database_url: 'sqlite:{}'",
        folder.path().join("shared.db").display()
    );
    let settings = "store_virtual_keys: true, access_mode: write_only";
    let start = async || {
        let config = config(&upstream, settings).replace(
            "general_settings:\n",
            &format!("general_settings:\n  {database}\n"),
        );
        let gateway = Gateway::builder(config)
            .env("HCP_VAULT_ADDR", vault.address())
            .env("HCP_VAULT_TOKEN", TOKEN);
        let gateway = gateway.start().await;
        (Client::of(&gateway).key(MASTER_KEY), gateway)
    };
    let ((slow, _one), (quick, _other)) = (start().await, start().await);
    let made = async |admin: &Client, alias: &str| {
        admin
            .post("/key/generate", &json!({"key_alias": alias}))
            .await
            .ok()
    };
    for alias in ["gone", "moved"] {
        let key = made(&slow, alias).await;
        has(&vault, &format!("litellm/{alias}"), Some(text(&key, "key"))).await;
    }
    let gate = Gate::new();
    vault
        .vendor()
        .next(Reply::json(503, &json!({"errors": []})).behind(&gate));
    made(&slow, "held").await;
    gate.reached(1).await;
    slow.post("/key/delete", &json!({"key_aliases": ["gone"]}))
        .await
        .ok();
    let moved = slow.get("/key/list?key_alias=moved").await.ok();
    let rotated = json!({"key": moved["keys"][0], "key_alias": "elsewhere"});
    let rotated = slow.post("/key/regenerate", &rotated).await.ok();
    let mut news = Vec::new();
    for alias in ["gone", "moved"] {
        let key = made(&quick, alias).await;
        has(&vault, &format!("litellm/{alias}"), Some(text(&key, "key"))).await;
        news.push((alias, text(&key, "key").to_owned()));
    }
    gate.open();
    has(&vault, "litellm/elsewhere", Some(text(&rotated, "key"))).await;
    let last = made(&slow, "last").await;
    has(&vault, "litellm/last", Some(text(&last, "key"))).await;
    for (alias, key) in &news {
        let stored = vault.value(&format!("secret/data/litellm/{alias}"));
        assert_eq!(stored.as_deref(), Some(key.as_str()), "{alias}");
    }
}

#[tokio::test]
async fn one_secret_has_all_others() {
    let vault = FakeVault::start(TOKEN).await;
    let all = json!({"UPSTREAM": "sk-of-the-one-secret-7", "NUMBER": 7, "NOTHING": null});
    vault.put("secret/data/app/all", &all.to_string());
    let upstream = FakeUpstream::start().await;
    let yaml = |more: &str| {
        let general = format!(
            "general_settings:\n  key_management_system: hashicorp_vault\n  key_management_settings: {{primary_secret_name: app/all{more}}}\n"
        );
        let models = format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{0}', api_key: os.environ/UPSTREAM}}\n  - model_name: own\n    litellm_params: {{model: openai/gpt-4o, api_base: '{0}', api_key: os.environ/OF_ENVIRONMENT, timeout: os.environ/NUMBER}}\n",
            upstream.api_base()
        );
        format!("{models}{general}  master_key: {MASTER_KEY}\n")
    };
    let config = |more: &str| {
        Gateway::builder(yaml(more))
            .env("HCP_VAULT_ADDR", vault.address())
            .env("HCP_VAULT_TOKEN", TOKEN)
            .env("OF_ENVIRONMENT", "sk-of-the-environment")
            .env("UPSTREAM", "sk-environment-2")
    };
    let sent = async |gateway: &Gateway, model: &str| {
        let client = Client::of(gateway).key(MASTER_KEY);
        client.chat(&chat(model)).await.ok();
        let last = upstream.requests().last();
        last.header("authorization").unwrap_or_default().to_owned()
    };
    let gateway = config("").start().await;
    assert_eq!(
        sent(&gateway, "gpt-4o").await,
        "Bearer sk-of-the-one-secret-7"
    );
    assert_eq!(sent(&gateway, "own").await, "Bearer sk-of-the-environment");
    let reads = vault.reads();
    assert_eq!(reads.keys().collect::<Vec<_>>(), ["secret/data/app/all"]);
    assert!(!gateway.printed("sk-of-the-one-secret-7"));

    // Another secret has others, at once.
    let other = json!({"UPSTREAM": "sk-of-another-secret-8", "NUMBER": 7});
    vault.put("secret/data/app/other", &other.to_string());
    gateway.write_config(&yaml("").replace("app/all", "app/other"));
    eventually("the other secret counts", async || {
        (sent(&gateway, "gpt-4o").await == "Bearer sk-of-another-secret-8").then_some(())
    })
    .await;

    // Only what is hosted there is looked for.
    let gateway = config(", hosted_keys: [NUMBER]").start().await;
    assert_eq!(sent(&gateway, "gpt-4o").await, "Bearer sk-environment-2");

    // What is no object has nothing, and the log does not say what it is.
    vault.put("secret/data/app/all", "sk-not-an-object");
    let gateway = config("").env("NUMBER", "7").start().await;
    assert_eq!(sent(&gateway, "gpt-4o").await, "Bearer sk-environment-2");
    assert!(gateway.printed("is no JSON object"));
    assert!(!gateway.printed("sk-not-an-object"));
}
