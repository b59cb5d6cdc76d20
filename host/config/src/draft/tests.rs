//! What is known before secrets are, and what a configuration becomes with them.

use super::*;

fn draft(yaml: &str, env: &[(&str, &str)]) -> Draft {
    let source = Source::Text {
        name: "c.yaml".to_owned(),
        text: yaml.to_owned(),
    };
    Draft::read(&source, &Env::new(env.iter().copied()))
}

fn early(yaml: &str) -> Early {
    draft(yaml, &[]).early().expect("it can be started")
}

fn refused(yaml: &str) -> String {
    let problems = draft(yaml, &[]).early().expect_err("refused");
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn general(keys: &str) -> String {
    format!(
        "general_settings: {{master_key: os.environ/MASTER, {keys}}}\n\
         litellm_settings: {{success_callback: [os.environ/SINK]}}\n\
         environment_variables: {{A: os.environ/B}}\n"
    )
}

#[test]
fn the_manager_is_a_plugin_under_any_of_its_names() {
    for (keys, expected) in [
        (
            "key_management_system: hashicorp_vault",
            Some("hashicorp_vault"),
        ),
        ("key_management_system: azure_kms", Some("azure_key_vault")),
        ("use_azure_key_vault: true", Some("azure_key_vault")),
        ("use_google_kms: true", Some("google_kms")),
        (
            "use_google_kms: true, key_management_system: hashicorp_vault",
            Some("hashicorp_vault"),
        ),
        (
            "key_management_system: custom, key_management_settings: {custom_secret_manager: my.Keeper}",
            Some("my.Keeper"),
        ),
        (
            "key_management_system: custom, key_management_settings: [{custom_secret_manager: my.Keeper}, {access_mode: read_and_write}]",
            Some("my.Keeper"),
        ),
        ("key_management_system: local", None),
        ("key_management_system: my-own", Some("my-own")),
        ("use_google_kms: false", None),
    ] {
        let found = early(&general(keys))
            .manager
            .map(|manager| manager.component);
        assert_eq!(found.as_deref(), expected, "{keys}");
    }
}

#[test]
fn a_readable_manager_is_asked_for_every_reference_but_its_own() {
    let yaml = general(
        "key_management_system: hashicorp_vault, key_management_settings: {mount: os.environ/OWN}",
    ) + "plugins: {hashicorp-vault: {settings: {x: os.environ/OWN}}, other: {settings: {x: os.environ/OTHER}}}\n";
    assert_eq!(early(&yaml).names, ["B", "MASTER", "OTHER", "SINK"]);
    for (keys, expected) in [
        ("key_management_system: local", &[][..]),
        (
            "key_management_system: v, key_management_settings: {access_mode: write_only}",
            &[],
        ),
        (
            "key_management_system: v, key_management_settings: {access_mode: read_and_write, hosted_keys: [MASTER, MORE]}",
            &["MASTER", "MORE"],
        ),
        (
            "key_management_system: v, key_management_settings: {hosted_keys: []}",
            &[],
        ),
    ] {
        assert_eq!(early(&general(keys)).names, expected, "{keys}");
    }
}

#[test]
fn tokens_are_fetched_without_any_manager() {
    let yaml = "general_settings: {master_key: os.environ/oidc/google/me, database_url: os.environ/PLAIN}\n";
    assert_eq!(early(yaml).names, ["oidc/google/me"]);
}

#[test]
fn settings_of_the_gateway_are_not_the_plugins() {
    let yaml = general(
        "key_management_system: v, key_management_settings: {hosted_keys: [A], store_virtual_keys: false, description: d, tags: {t: u}, primary_secret_name: p, aws_region_name: eu-central-1, mount: kv}",
    );
    let manager = early(&yaml).manager.expect("a manager");
    let names: Vec<&str> = manager.settings.keys().map(String::as_str).collect();
    assert_eq!(names, ["aws_region_name", "mount"]);
}

#[test]
fn what_keeps_a_manager_from_being_started_is_told() {
    for (yaml, expected) in [
        (
            general("key_management_system: custom"),
            "custom_secret_manager: is missing",
        ),
        (
            general("key_management_system: v, database_url: os.environ/a/../b"),
            "general_settings.database_url: \"a/../b\" is no name of a secret",
        ),
        (
            general("key_management_system: v, key_management_settings: {hosted_keys: ['../x']}"),
            "hosted_keys: \"../x\" is no name of a secret",
        ),
        (
            general("database_url: os.environ/oidc/gitlab/x"),
            "\"gitlab\" is no provider of identity tokens",
        ),
        (
            general("key_management_system: v, key_management_settings: {access_mode: sometimes}"),
            "access_mode",
        ),
        (
            general(
                "key_management_system: v, key_management_settings: {store_virtual_keys: true}",
            ),
            "store_virtual_keys: keys are to be stored and access_mode is read_only",
        ),
        (
            general("key_management_settings: {store_virtual_keys: true, access_mode: write_only}"),
            "store_virtual_keys: there is no secret manager",
        ),
        (
            general(
                "key_management_system: v, key_management_settings: {prefix_for_stored_virtual_keys: /}",
            ),
            "prefix_for_stored_virtual_keys: keys have a place of their own",
        ),
        (
            general(
                "key_management_system: v, key_management_settings: {primary_secret_name: a/../b}",
            ),
            "primary_secret_name: it is no name of a secret",
        ),
    ] {
        let told = refused(&yaml);
        assert!(told.contains(expected), "{yaml}: {told}");
    }
}

#[test]
fn other_parts_cannot_keep_the_manager_from_being_started() {
    let yaml = general("key_management_system: v")
        + "model_list: [{model_name: m}]\nrouter_settings: {num_retries: os.environ/RETRIES}\n";
    assert!(early(&yaml).manager.is_some());
}

#[test]
fn a_secret_wins_over_the_file_and_the_process_and_is_in_the_environment() {
    let yaml = "general_settings: {key_management_system: v, master_key: os.environ/MASTER, disable_spend_logs: os.environ/NO}\n\
                environment_variables: {MASTER: of-the-file, COPY: os.environ/MASTER}\n";
    let secrets = [("MASTER", "of-the-manager"), ("NO", "True")];
    let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let loaded = draft(yaml, &[("MASTER", "of-the-process")])
        .load(secrets.into())
        .expect("it is served");
    let master = loaded.config.general.master_key.as_ref().expect("a key");
    assert_eq!(master.reveal(), "of-the-manager");
    assert!(loaded.config.general.disable_spend_logs);
    let environment = &loaded.environment;
    assert_eq!(environment.get("MASTER"), Some("of-the-manager"));
    assert_eq!(environment.get("COPY"), Some("of-the-manager"));
    assert!(!format!("{:?}", loaded).contains("of-the-manager"));
}

#[test]
fn what_nobody_has_is_told_by_whom_it_was_asked() {
    let yaml = "general_settings: {key_management_system: v, key_management_settings: {hosted_keys: [HOSTED]}, master_key: os.environ/HOSTED, completion_model: os.environ/PLAIN}\n";
    let loaded = draft(yaml, &[]).load(BTreeMap::new()).expect("served");
    let lines: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    let told = lines.join("\n");
    assert!(
        told.contains("neither the secret manager v nor the environment has HOSTED"),
        "{told}"
    );
    assert!(told.contains("the variable PLAIN is not set"), "{told}");
}

#[test]
fn a_check_takes_what_would_be_asked_for_as_given() {
    let yaml = "general_settings: {key_management_system: hashicorp_vault, master_key: os.environ/MASTER}\n\
                model_list: [{model_name: m, litellm_params: {model: os.environ/MODEL, rpm: os.environ/RPM}}]\n";
    let (_, problems) = draft(yaml, &[]).check();
    assert!(!problems.iter().any(Problem::is_error), "{problems:#?}");
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(told[0].contains("MASTER is asked of the secret manager hashicorp_vault"));
}
