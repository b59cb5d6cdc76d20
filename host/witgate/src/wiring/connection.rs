//! `POST /health/test_connection`: a deployment that is in no model list, ready to be called once.
//!
//! Who asks is an administrator, but need not be who runs the gateway. So what the configuration and the
//! environment know of keys goes to servers that they name themselves, never to one that the request names.

use serde_json::{Map, Value, json};
use witgate_config::{Env, Loaded, Source};
use witgate_pipeline::{Access, Prompts, Routers, Snapshot};
use witgate_plugins::Registry;
use witgate_server::routes::TestConnection;

use super::{Upstreams, models, settings};

/// A snapshot with that deployment alone, or what is wrong with it.
pub fn one_deployment(
    loaded: &Loaded,
    plugins: &Registry,
    wanted: &TestConnection,
) -> Result<Snapshot, String> {
    let config = config(loaded, wanted)?;
    // Its server is the operator's choice only if the request names none.
    let env = match names_a_server(&wanted.litellm_params) {
        true => Env::default(),
        false => loaded.environment.clone(),
    };
    let source = Source::Text {
        name: "the request".to_owned(),
        text: config.to_string(),
    };
    let lines = |problems: Vec<String>| problems.join("; ");
    let one = witgate_config::load(&source, &env).map_err(|problems| {
        let errors = problems.iter().filter(|problem| problem.is_error());
        lines(errors.map(ToString::to_string).collect())
    })?;
    let mut problems = Vec::new();
    let mut upstreams = Upstreams::default();
    let (routing, targets) = models::models(&one, &mut upstreams, plugins, &mut problems);
    if !problems.is_empty() {
        return Err(lines(problems));
    }
    let mut settings = settings::settings(
        loaded,
        None,
        witgate_pipeline::Metering::default(),
        witgate_wire::prices::Adjustments::default(),
    );
    settings.health.details = true;
    Ok(Snapshot {
        state: witgate_routing::State::new(&routing),
        peers: None,
        shared_health: None,
        routing,
        targets,
        clients_way: None,
        access: Access::default(),
        guardrails: Vec::new(),
        prompts: Prompts::default(),
        hooks: Vec::new(),
        routers: Routers::default(),
        cache: None,
        embedder: None,
        auto: std::collections::HashMap::default(),
        passages: witgate_pipeline::passage::Passages::default(),
        settings,
    })
}

/// The configuration of that deployment.
fn config(loaded: &Loaded, wanted: &TestConnection) -> Result<Value, String> {
    let given = &wanted.litellm_params;
    let model = given.get("model").and_then(Value::as_str);
    let model = model.filter(|model| !model.is_empty());
    let model =
        model.ok_or("litellm_params.model is missing: name the model, such as openai/gpt-4o")?;
    if let Some(key) = given.iter().find(|(_, v)| has_reference(v)).map(|(k, _)| k) {
        return Err(format!(
            "litellm_params.{key}: references to the environment (os.environ/…) are not followed for who asks by HTTP; give the value, or name a model of the configuration"
        ));
    }
    let own_server = names_a_server(given);
    if own_server && given.contains_key("litellm_credential_name") {
        return Err("litellm_params.litellm_credential_name: a credential of the configuration is not sent to a server that the request names; leave one of the two out".to_owned());
    }
    let mut params = match own_server {
        true => Map::new(),
        false => configured(loaded, model),
    };
    let known = params.get("model").cloned();
    params.extend(given.clone());
    // The name of a group stands for its model.
    if let Some(known) = known {
        params.insert("model".to_owned(), known);
    }
    let mut info = wanted.model_info.clone().unwrap_or_default();
    if let Some(mode) = &wanted.mode {
        info.insert("mode".to_owned(), mode.as_str().into());
    }
    info.remove("id");
    let raw = &loaded.config.raw;
    let of_litellm = |key: &str| raw.get("litellm_settings")?.get(key).cloned();
    let mut litellm = Map::new();
    for key in ["ssl_verify", "ssl_certificate"] {
        if let Some(value) = of_litellm(key) {
            litellm.insert(key.to_owned(), value);
        }
    }
    let mut config = json!({
        "model_list": [{"model_name": model, "litellm_params": params, "model_info": info}],
        "litellm_settings": litellm,
        "router_settings": {"ignore_invalid_deployments": false},
    });
    if let Some(credentials) = raw.get("credential_list") {
        config["credential_list"] = credentials.clone();
    }
    Ok(config)
}

/// The parameters of the configured deployment that has this name, or is this model.
fn configured(loaded: &Loaded, model: &str) -> Map<String, Value> {
    let list = loaded
        .config
        .raw
        .get("model_list")
        .and_then(Value::as_array);
    let list = list.map(Vec::as_slice).unwrap_or_default();
    let named = list.iter().find(|entry| entry["model_name"] == model);
    let same = || {
        list.iter()
            .find(|entry| entry["litellm_params"]["model"] == model)
    };
    let entry = named.or_else(same);
    let params = entry.and_then(|entry| entry["litellm_params"].as_object());
    params.cloned().unwrap_or_default()
}

/// Whether the request says where its call goes.
fn names_a_server(params: &Map<String, Value>) -> bool {
    const PARTS: [&str; 5] = ["base", "url", "endpoint", "host", "uri"];
    let mut keys = params.keys().map(|key| key.to_ascii_lowercase());
    keys.any(|key| PARTS.iter().any(|part| key.contains(part)))
}

fn has_reference(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("os.environ/"),
        Value::Array(list) => list.iter().any(has_reference),
        Value::Object(map) => map.values().any(has_reference),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded() -> Loaded {
        let text = "model_list:\n  - model_name: fast\n    litellm_params: {model: openai/m, api_base: 'http://own/v1', api_key: sk-of-the-operator}\ncredential_list:\n  - credential_name: c\n    credential_values: {api_key: sk-credential}\n";
        let source = Source::Text {
            name: "test".to_owned(),
            text: text.to_owned(),
        };
        witgate_config::load(&source, &Env::default()).unwrap()
    }

    fn made(params: Value) -> Result<Value, String> {
        let wanted = TestConnection {
            litellm_params: params.as_object().unwrap().clone(),
            mode: Some("embedding".to_owned()),
            ..TestConnection::default()
        };
        config(&loaded(), &wanted)
    }

    #[test]
    fn a_configured_model_brings_what_the_configuration_knows_of_it() {
        for name in ["fast", "openai/m"] {
            let config = made(json!({"model": name, "temperature": 1})).unwrap();
            let entry = &config["model_list"][0];
            let params = &entry["litellm_params"];
            assert_eq!(params["api_key"], "sk-of-the-operator");
            assert_eq!(params["model"], "openai/m");
            assert_eq!(params["temperature"], 1);
            assert_eq!(entry["model_info"]["mode"], "embedding");
        }
    }

    /// Every way to name a server.
    #[test]
    fn no_key_of_the_operators_goes_to_a_server_of_the_requests() {
        for name in [
            "api_base",
            "base_url",
            "azure_endpoint",
            "API_BASE",
            "some_host",
        ] {
            let config = made(json!({"model": "fast", name: "http://evil.test"})).unwrap();
            let text = config["model_list"].to_string();
            assert!(!text.contains("sk-of-the-operator"), "{name}: {text}");
            let with_credential = json!({"model": "openai/m", name: "http://evil.test", "litellm_credential_name": "c"});
            let refused = made(with_credential).unwrap_err();
            assert!(refused.contains("litellm_credential_name"), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_tested_is_told() {
        for (params, told) in [
            (json!({}), "litellm_params.model"),
            (
                json!({"model": "m", "api_key": "os.environ/LITELLM_MASTER_KEY"}),
                "litellm_params.api_key",
            ),
            (
                json!({"model": "m", "extra_headers": {"a": ["os.environ/X"]}}),
                "litellm_params.extra_headers",
            ),
        ] {
            let error = made(params).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
