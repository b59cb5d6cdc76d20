//! What a database adds to a configuration.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{StoredItem, setting_fault};
use crate::{Draft, Env, Loaded, Problem, Source};

const FILE: &str = "
model_list:
  - {model_name: a, litellm_params: {model: openai/a}}
credential_list:
  - {credential_name: c, credential_values: {api_key: of-the-file}}
litellm_settings: {drop_params: true}
";

fn loaded(file: &str, items: &[(&str, Value)]) -> Result<Loaded, Vec<Problem>> {
    let source = Source::Text {
        name: "c.yaml".to_owned(),
        text: file.to_owned(),
    };
    let item = |(at, (path, value)): (usize, &(&str, Value))| StoredItem {
        place: format!("database:T[\"{at}\"]"),
        path: (*path).to_owned(),
        value: value.clone(),
    };
    let items: Vec<StoredItem> = items.iter().enumerate().map(item).collect();
    let env = Env::new([("KEY", "of-the-environment")]);
    Draft::read(&source, &env)
        .with_stored(&items)
        .load(BTreeMap::new())
}

fn entry(name: &str, params: Value) -> Value {
    json!({"model_name": name, "litellm_params": params, "model_info": {"id": name, "db_model": true}})
}

#[test]
fn deployments_and_credentials_join_those_of_the_file() {
    let params = json!({"model": "openai/b", "api_key": "os.environ/KEY", "rpm": "5"});
    let credential =
        json!({"credential_name": "c", "credential_values": {"api_key": "of-the-database"}});
    let items = [
        ("model_list[]", entry("b", params)),
        ("credential_list[]", credential),
    ];
    for file in [FILE, "model_list:\n", "litellm_settings: {}\n"] {
        let config = loaded(file, &items).unwrap().config;
        let stored = config.model_list.last().unwrap();
        assert!(stored.is_stored() && !stored.is_bounded() && stored.id() == Some("b"));
        assert_eq!(
            stored.params.api_key.as_ref().unwrap().reveal(),
            "of-the-environment"
        );
        assert_eq!(stored.params.rpm, Some(5));
        assert_eq!(config.credentials.len(), 1);
        assert_eq!(
            config.credential("c").unwrap().values["api_key"],
            "of-the-database"
        );
        let of_file = config
            .model_list
            .iter()
            .filter(|entry| !entry.is_stored())
            .count();
        assert_eq!(of_file, usize::from(file == FILE));
    }
}

#[test]
fn what_is_wrong_names_its_row() {
    let items = [(
        "model_list[]",
        entry("b", json!({"model": "openai/b", "rpm": "many"})),
    )];
    let problems = loaded(FILE, &items).unwrap_err();
    let error = problems
        .iter()
        .find(|problem| problem.is_error())
        .unwrap()
        .to_string();
    assert!(
        error.starts_with("database:T[\"0\"] ") && error.contains("rpm"),
        "{error}"
    );
}

#[test]
fn the_files_settings_are_its_own_unless_it_says_otherwise() {
    let items = [
        ("litellm_settings.drop_params", json!(false)),
        ("litellm_settings.request_timeout", json!(7)),
        ("environment_variables.NEW", json!("set")),
        ("general_settings.master_key", json!("sk-stolen")),
        ("litellm_settings.success_callback", json!(["evil.handler"])),
    ];
    let loaded_so = |more: &str| loaded(&format!("{FILE}{more}"), &items).unwrap();
    let of_file = loaded_so("");
    let settings = &of_file.config.raw["litellm_settings"];
    assert_eq!(
        (&settings["drop_params"], &settings["request_timeout"]),
        (&json!(true), &json!(7))
    );
    assert_eq!(of_file.environment.get("NEW"), Some("set"));
    assert!(
        of_file.config.general.master_key.is_none() && settings.get("success_callback").is_none()
    );
    let told: Vec<String> = of_file.problems.iter().map(ToString::to_string).collect();
    for place in ["T[\"0\"]", "T[\"3\"]", "T[\"4\"]"] {
        assert!(
            told.iter().any(|told| told.contains(place)),
            "{place}: {told:?}"
        );
    }
    let of_database = loaded_so("general_settings: {db_config_precedence: db}\n");
    assert_eq!(
        of_database.config.raw["litellm_settings"]["drop_params"],
        false
    );
}

#[test]
fn a_setting_is_judged_before_it_is_stored() {
    let fault = |path: &str, value: Value| {
        let (section, key) = path.split_once('.').unwrap();
        setting_fault(section, key, &value)
    };
    assert_eq!(fault("litellm_settings.drop_params", json!(true)), None);
    assert_eq!(fault("router_settings.num_retries", json!(3)), None);
    assert_eq!(fault("environment_variables.ANY", json!("x")), None);
    let near = fault("router_settings.num_retrys", json!(3)).unwrap();
    assert!(near.contains("did you mean `num_retries`?"), "{near}");
    let wrong = fault("router_settings.num_retries", json!("many")).unwrap();
    assert!(
        wrong.starts_with("router_settings.num_retries: "),
        "{wrong}"
    );
    for path in [
        "general_settings.custom_auth",
        "general_settings.database_url",
        "environment_variables.PATH",
    ] {
        assert!(fault(path, json!("x")).is_some(), "{path}");
    }
}
