//! What a UI is told before it adds something: the guardrails and providers that there are, and what each takes.

use serde_json::{Value, json};

use crate::support::{Client, Stage};

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut all = list.as_array().unwrap().iter();
    all.find(|one| one["name"] == name)
        .unwrap_or_else(|| panic!("{name}: {list}"))
}

#[tokio::test]
async fn guardrails_and_providers_are_told_with_what_they_take() {
    let stage = Stage::plain().await;
    let client = &stage.client;
    let known = client.get("/guardrails/ui/provider_specific_params").await;
    let known = known.ok();
    let language = &known["presidio"]["presidio_language"];
    assert_eq!(
        (&language["default_value"], &language["type"]),
        (&json!("en"), &json!("string")),
        "{known}"
    );
    assert!(known["hide-secrets"]["ui_friendly_name"].is_string());
    assert!(known.get("langfuse").is_none(), "a log sink judges nothing");
    let form = client.get("/guardrails/ui/add_guardrail_settings").await;
    let form = form.ok();
    assert_eq!(form["supported_modes"][0], "pre_call");
    assert_eq!(form["pii_entity_categories"][0]["category"], "General");
    let entities = form["supported_entities"].as_array().unwrap();
    assert!(entities.contains(&json!("EMAIL_ADDRESS")), "{form}");

    let providers = client.get("/model/settings").await.ok();
    let field = |provider: &str, at: usize| named(&providers, provider)["fields"][at].clone();
    assert_eq!(
        field("groq", 1)["field_value"],
        "https://api.groq.com/openai/v1"
    );
    let key = field("anthropic", 0);
    assert_eq!(key["field_name"], "api_key");
    let doc = key["field_description"].as_str().unwrap();
    assert!(doc.contains("ANTHROPIC_API_KEY"), "{doc}");

    let body = json!({"models": ["gpt-4o"]});
    let made = client.post("/key/generate", &body).await.ok();
    let limited = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    let path = "/utils/supported_openai_params";
    let told = limited.get(&format!("{path}?model=gpt-4o")).await.ok();
    let params = told["supported_openai_params"].as_array().unwrap();
    assert!(params.contains(&json!("temperature")), "{told}");
    for (query, status) in [
        ("?model=text-embedding-3-small", 400),
        ("?model=nobody-has-this", 400),
        ("?model=", 422),
        ("", 422),
    ] {
        let refused = limited.get(&format!("{path}{query}")).await;
        assert_eq!(refused.status, status, "{query}: {}", refused.text());
    }
    limited.get("/model/settings").await.error(401);
}
