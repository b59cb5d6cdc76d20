//! Requests about guardrails of the database, over a real store.

use serde_json::{Value, json};

use crate::Changed;
use crate::seal::{Opened, Seal};
use crate::testing::{HOSTILE, SALT, admin, user, world};

fn body(name: &str, plugin: &str) -> Value {
    json!({"guardrail": {
        "guardrail_name": name, "guardrail_info": {"description": HOSTILE},
        "litellm_params": {"guardrail": plugin, "mode": "pre_call", "api_key": "sk-secret", "default_on": true},
    }})
}

#[tokio::test]
async fn a_guardrail_is_stored_listed_changed_and_deleted_and_its_secrets_are_nobodys() {
    let world = world(json!({})).await;
    let made = world.done("/guardrails", body("pii", "presidio")).await;
    let id = made["guardrail_id"].as_str().unwrap().to_owned();
    assert_eq!(made["litellm_params"]["api_key"], "*****");
    assert!(world.heard.0.lock().contains(&Changed::Config));
    let row = async || {
        let row = world
            .plane
            .store
            .row("LiteLLM_GuardrailsTable", "guardrail_id", &id)
            .await;
        row.unwrap().unwrap()
    };
    let params = row().await["litellm_params"].clone();
    assert_eq!(params["guardrail"], "presidio");
    let sealed = Seal::of(SALT).open(params["api_key"].as_str().unwrap());
    assert_eq!(sealed, Opened::Sealed("sk-secret".to_owned()));

    let (_, listed) = world.get(&user("ann"), "/guardrails/list").await;
    assert_eq!(
        listed["guardrails"],
        json!([{
            "guardrail_name": "pii", "guardrail_info": {"description": HOSTILE},
            "litellm_params": {"guardrail": "presidio", "mode": "pre_call", "default_on": true},
        }])
    );
    let taken = world
        .post(&admin(), "/guardrails", body("pii", "lakera"))
        .await;
    assert_eq!(taken.0, 400, "{taken:?}");
    let path = format!("/guardrails/{id}");
    let patch = json!({"litellm_params": {"mode": "post_call", "default_on": null}});
    let (status, changed) = world.ask("PATCH", &admin(), &path, patch).await;
    assert_eq!(
        (status, &changed["litellm_params"]["mode"]),
        (200, &json!("post_call")),
        "{changed}"
    );
    assert!(changed["litellm_params"].get("default_on").is_none());
    let (_, told) = world.get(&admin(), "/guardrails/pii/info").await;
    assert_eq!(told["guardrail_definition_location"], "db");
    assert_eq!(told["litellm_params"]["api_key"], "*****");
    let (status, put) = world
        .ask("PUT", &admin(), &path, body("pii2", "lakera"))
        .await;
    assert_eq!(
        (status, &put["guardrail_name"]),
        (200, &json!("pii2")),
        "{put}"
    );
    assert_eq!(world.ask("DELETE", &admin(), &path, json!({})).await.0, 200);
    assert_eq!(world.ask("DELETE", &admin(), &path, json!({})).await.0, 404);
    let (_, listed) = world.get(&admin(), "/v2/guardrails/list").await;
    assert_eq!(listed["guardrails"], json!([]));
}

#[tokio::test]
async fn a_row_leads_to_no_component_by_its_path() {
    let world = world(json!({})).await;
    for plugin in [
        "/tmp/evil",
        "evil.wasm",
        "oci://registry/evil",
        "../evil",
        "evil#other",
        "c:\\evil",
    ] {
        let (status, told) = world.post(&admin(), "/guardrails", body("g", plugin)).await;
        assert_eq!(status, 400, "{plugin}: {told}");
        assert!(
            told.to_string().contains("only the configuration file"),
            "{told}"
        );
    }
    let rows = world
        .plane
        .store
        .count("LiteLLM_GuardrailsTable", &witgate_store::Filter::all())
        .await;
    assert_eq!(rows.unwrap(), 0);
    for wrong in [
        json!({}),
        json!({"guardrail": {"guardrail_name": "g"}}),
        json!({"guardrail": {"guardrail_name": " ", "litellm_params": {"guardrail": "x"}}}),
    ] {
        let (status, told) = world.post(&admin(), "/guardrails", wrong.clone()).await;
        assert!([400, 422].contains(&status), "{wrong}: {told}");
    }
}

#[tokio::test]
async fn a_secret_that_comes_back_as_it_was_shown_stays() {
    let world = world(json!({})).await;
    let mut first = body("pii", "presidio");
    first["guardrail"]["litellm_params"]["judge"] = json!({"api_key": "sk-deep", "url": "u"});
    let made = world.done("/guardrails", first).await;
    assert_eq!(
        made["litellm_params"]["judge"],
        json!({"api_key": "*****", "url": "u"})
    );
    let id = made["guardrail_id"].as_str().unwrap().to_owned();
    let path = format!("/guardrails/{id}");
    let key = async |name: &str| {
        let row = world
            .plane
            .store
            .row("LiteLLM_GuardrailsTable", "guardrail_id", &id)
            .await;
        let params = row.unwrap().unwrap()["litellm_params"].clone();
        let [own, deep] = [&params[name], &params["judge"]["api_key"]].map(|text| {
            let Opened::Sealed(text) = Seal::of(SALT).open(text.as_str().unwrap()) else {
                panic!("{params}")
            };
            text
        });
        (own, deep)
    };
    // As it was read: whole, and a part of it.
    let mut whole = made["litellm_params"].clone();
    whole["mode"] = json!("post_call");
    let put = json!({"guardrail": {"guardrail_name": "pii", "litellm_params": whole}});
    let (status, told) = world.ask("PUT", &admin(), &path, put).await;
    assert_eq!(
        (status, &told["litellm_params"]["mode"]),
        (200, &json!("post_call")),
        "{told}"
    );
    assert_eq!(
        key("api_key").await,
        ("sk-secret".to_owned(), "sk-deep".to_owned())
    );
    let patch = json!({"litellm_params": {"api_key": "*****", "mode": "pre_call"}});
    assert_eq!(world.ask("PATCH", &admin(), &path, patch).await.0, 200);
    assert_eq!(key("api_key").await.0, "sk-secret");
    let patch = json!({"litellm_params": {"api_key": "sk-new"}});
    assert_eq!(world.ask("PATCH", &admin(), &path, patch).await.0, 200);
    assert_eq!(key("api_key").await.0, "sk-new");
    // Where nothing is stored there is nothing to keep.
    let patch = json!({"litellm_params": {"other_key": "*****"}});
    let (status, told) = world.ask("PATCH", &admin(), &path, patch).await;
    assert_eq!(
        (status, &told["error"]["param"]),
        (400, &json!("litellm_params.other_key")),
        "{told}"
    );
    let mut masked = body("other", "presidio");
    masked["guardrail"]["litellm_params"]["api_key"] = json!("*****");
    assert_eq!(world.post(&admin(), "/guardrails", masked).await.0, 400);
}
