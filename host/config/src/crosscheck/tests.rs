//! Names that refer to nothing, and names given twice.

use crate::{Env, Source, check};

fn warnings(yaml: &str) -> Vec<String> {
    let source = Source::Text {
        name: "c.yaml".to_owned(),
        text: yaml.to_owned(),
    };
    check(&source, &Env::default())
        .iter()
        .map(ToString::to_string)
        .collect()
}

const MODELS: &str = "
model_list:
  - {model_name: gpt-4o, litellm_params: {model: openai/gpt-4o}, model_info: {id: one}}
  - {model_name: 'claude/*', litellm_params: {model: 'anthropic/*'}}
";

#[test]
fn names_that_exist_are_left_alone() {
    let yaml = format!(
        "{MODELS}
router_settings:
  model_group_alias: {{gpt: gpt-4o, c: claude/opus}}
  fallbacks: [{{gpt-4o: [claude/haiku, openai/gpt-4o, one]}}, {{'*': [gpt]}}]
  default_fallbacks: [gpt-4o]
"
    );
    assert_eq!(warnings(&yaml), Vec::<String>::new());
}

#[test]
fn names_that_refer_to_nothing_are_told_with_the_nearest() {
    let yaml = format!(
        "{MODELS}
router_settings:
  model_group_alias: {{gpt: gpt-4}}
  fallbacks: [{{gpt-4o: [zebra]}}, {{nobody: [gpt-4o]}}]
litellm_settings:
  default_fallbacks: [gpt4o]
"
    );
    assert_eq!(
        warnings(&yaml),
        [
            "c.yaml:7:28 router_settings.model_group_alias.gpt: no model group is called `gpt-4`; did you mean `gpt-4o`?",
            "c.yaml:8:25 router_settings.fallbacks[0].gpt-4o[0]: no model group is called `zebra`; add it to model_list",
            "c.yaml:8:35 router_settings.fallbacks[1].nobody: no model group is called `nobody`; add it to model_list",
            "c.yaml:10:23 litellm_settings.default_fallbacks[0]: no model group is called `gpt4o`; did you mean `gpt-4o`?",
        ]
    );
}

#[test]
fn names_given_twice_are_told() {
    let yaml = "
model_list:
  - {model_name: a, litellm_params: {model: x}, model_info: {id: one}}
  - {model_name: b, litellm_params: {model: x, litellm_credential_name: kees}, model_info: {id: one}}
credential_list: [{credential_name: keys, credential_values: {}}]
guardrails:
  - {guardrail_name: g, litellm_params: {guardrail: x, mode: pre_call}}
  - {guardrail_name: g, litellm_params: {guardrail: x, mode: pre_call}}
";
    assert_eq!(
        warnings(yaml),
        [
            "c.yaml:4:5 model_list[1].model_info.id: the id `one` is already that of the deployment in line 3, which this one replaces; give each deployment its own id",
            "c.yaml:4:5 model_list[1].litellm_params.litellm_credential_name: no credential is called `kees`; did you mean `keys`?",
            "c.yaml:8:5 guardrails[1].guardrail_name: `g` is already the name of the guardrail in line 7; give each guardrail its own name",
        ]
    );
}

#[test]
fn patterns_match_from_the_start() {
    for (pattern, name, expected) in [
        ("a/*", "a/b", true),
        ("bedrock/*-v1", "bedrock/x-v1-beta", true),
        ("a/*", "b/a/c", false),
        ("*", "anything", true),
        ("a*b*c", "a1b2c3", true),
        ("a*b*c", "a1c2b3", false),
    ] {
        assert_eq!(
            super::matches_pattern(pattern, name),
            expected,
            "{pattern} {name}"
        );
    }
}

#[test]
fn a_prompt_has_one_entry_for_each_of_its_versions() {
    let entry = |id: &str, version: &str| {
        format!(
            "  - {{prompt_id: {id}{version}, litellm_params: {{prompt_integration: langfuse}}}}\n"
        )
    };
    let told = |entries: &[(&str, &str)]| {
        let entries: String = entries
            .iter()
            .map(|(id, version)| entry(id, version))
            .collect();
        warnings(&format!("prompts:\n{entries}"))
    };
    let (first, second) = (", version: 1", ", version: 2");
    assert_eq!(
        told(&[("a", first), ("a", second), ("b", "")]),
        Vec::<String>::new()
    );
    for twice in [
        [("a", ""), ("a", "")],
        [("a", first), ("a", first)],
        [("a", first), ("a", "")],
        [("a", first), ("a.v1", "")],
    ] {
        let told = told(&twice);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].starts_with("c.yaml:3:5 prompts[1].prompt_id: the prompt_id `"),
            "{told:?}"
        );
    }
    let told = warnings("prompts: [{prompt_id: a, litellm_params: {prompt_id: x}}, {}]\n");
    assert_eq!(told.len(), 3, "{told:?}");
}
