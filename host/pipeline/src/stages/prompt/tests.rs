use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use witgate_identity::Principal;

use crate::ports::{AuthDecision, PluginFault, Prompt, PromptCall, PromptManager};
use crate::snapshot::{CustomAuth, FailPolicy, PromptEntry, PromptRef};
use crate::testing::{FakeAuth, Setup, World, chat};

type Answer = Result<Option<Prompt>, PluginFault>;

/// Always says the same.
struct Says(Answer, Mutex<Vec<PromptCall>>);

#[async_trait]
impl PromptManager for Says {
    async fn prompt(&self, call: PromptCall) -> Answer {
        self.1.lock().unwrap().push(call);
        self.0.clone()
    }
}

fn greeting() -> Prompt {
    Prompt {
        model: None,
        messages: r#"[{"role":"system","content":"Greet."}]"#.to_owned(),
        params: vec![("temperature".to_owned(), "0.5".to_owned())],
    }
}

fn entry(name: &str, fail: FailPolicy, plugin: &Arc<Says>) -> PromptEntry {
    PromptEntry {
        name: name.to_owned(),
        integration: name.to_owned(),
        fail,
        plugin: plugin.clone(),
    }
}

/// A gateway whose only manager, `tool`, is asked for the ids of requests.
fn world(answer: Answer, fail: FailPolicy) -> (World, Arc<Says>) {
    let tool = Arc::new(Says(answer, Mutex::default()));
    let mut setup = Setup::new().deployment("other", "openai/other-model");
    setup.prompts.managers.push(entry("tool", fail, &tool));
    setup.prompts.asked.push(0);
    (setup.build(), tool)
}

fn asked(tool: &Says) -> PromptCall {
    tool.1.lock().unwrap()[0].clone()
}

#[tokio::test(start_paused = true)]
async fn a_prompt_takes_the_place_of_the_messages_and_sets_its_parameters() {
    let (world, tool) = world(Ok(Some(greeting())), FailPolicy::Closed);
    let body = json!({"prompt_id": "greet", "prompt_variables": {"name": "Ann"}, "prompt_label": "production",
        "prompt_version": 3, "temperature": 1, "top_p": 0.9, "metadata": {"a": 1}});
    assert_eq!(world.send(chat(body)).await.status, 200);
    let sent = world.upstream.body(0);
    assert_eq!(
        sent["messages"],
        json!([{"role": "system", "content": "Greet."}])
    );
    assert_eq!(
        (&sent["temperature"], &sent["top_p"]),
        (&json!(0.5), &json!(0.9))
    );
    assert!(
        sent.get("prompt_id").is_none() && sent.get("prompt_variables").is_none(),
        "{sent}"
    );
    let call = asked(&tool);
    assert_eq!(
        (call.prompt_id.as_str(), call.variables.as_str()),
        ("greet", r#"{"name":"Ann"}"#)
    );
    assert_eq!(
        (call.label.as_deref(), call.version.as_deref()),
        (Some("production"), Some("3"))
    );
    let params: Value = serde_json::from_str(&call.params).unwrap();
    assert_eq!(
        params,
        json!({"temperature": 1, "top_p": 0.9}),
        "control fields are the gateway's own"
    );
    let record = world.record().await;
    let prompt = record.prompt.unwrap();
    assert_eq!(
        (prompt.id.as_str(), prompt.integration.as_str()),
        ("greet", "tool")
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_with_a_prompt_needs_no_messages() {
    let (world, tool) = world(Ok(Some(greeting())), FailPolicy::Closed);
    let body = json!({"prompt_id": "greet", "messages": null});
    assert_eq!(world.send(chat(body)).await.status, 200);
    assert_eq!(asked(&tool).messages, "[]");
    let body = json!({"messages": null});
    assert_eq!(
        world.send(chat(body)).await.status,
        400,
        "without a prompt it does"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_prompt_asks_nobody() {
    let (world, tool) = world(Ok(Some(greeting())), FailPolicy::Closed);
    assert_eq!(world.send(chat(json!({}))).await.status, 200);
    assert!(tool.1.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_prompt_nobody_has_is_refused_by_its_id() {
    let (world, _) = world(Ok(None), FailPolicy::Open);
    let answer = world.send(chat(json!({"prompt_id": "lost"}))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("'lost' in tool"), "{}", answer.text);
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fault_fails_the_call_or_lets_it_pass_as_the_operator_says() {
    for (fail, status) in [(FailPolicy::Closed, 500), (FailPolicy::Open, 200)] {
        let (world, _) = world(Err(PluginFault::new("secret reason".to_owned())), fail);
        let answer = world.send(chat(json!({"prompt_id": "greet"}))).await;
        assert_eq!(answer.status, status, "{fail:?}");
        assert!(!answer.text.contains("secret reason"), "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_the_wrong_type_is_named() {
    let (world, _) = world(Ok(Some(greeting())), FailPolicy::Closed);
    for (name, value) in [
        ("prompt_id", json!(1)),
        ("prompt_variables", json!([])),
        ("prompt_label", json!({})),
        ("prompt_version", json!(true)),
    ] {
        let mut body = json!({"prompt_id": "greet"});
        body[name] = value;
        let answer = world.send(chat(body)).await;
        assert_eq!(answer.status, 400, "{name}");
        assert!(answer.text.contains(name), "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompt_sets_nothing_that_is_the_gateways_own() {
    for name in ["api_base", "metadata", "guardrails", "stream", "model"] {
        let prompt = Prompt {
            params: vec![(name.to_owned(), "\"x\"".to_owned())],
            ..greeting()
        };
        let (world, _) = world(Ok(Some(prompt)), FailPolicy::Open);
        let answer = world.send(chat(json!({"prompt_id": "greet"}))).await;
        assert_eq!(answer.status, 500, "{name}");
        assert_eq!(world.upstream.calls(), 0, "{name}");
    }
}

fn to_model(model: &str) -> Prompt {
    Prompt {
        model: Some(model.to_owned()),
        ..greeting()
    }
}

#[tokio::test(start_paused = true)]
async fn a_prompts_model_answers_when_there_is_one_of_its_name() {
    let (world, _) = world(Ok(Some(to_model("other"))), FailPolicy::Closed);
    assert_eq!(
        world.send(chat(json!({"prompt_id": "greet"}))).await.status,
        200
    );
    assert_eq!(world.upstream.body(0)["model"], "other-model");
    let (world, _) = self::world(Ok(Some(to_model("nowhere"))), FailPolicy::Open);
    let answer = world.send(chat(json!({"prompt_id": "greet"}))).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer
            .text
            .contains("'nowhere', which is not in model_list"),
        "{}",
        answer.text
    );
}

#[tokio::test(start_paused = true)]
async fn a_prompt_that_the_client_chose_leads_to_no_model_it_may_not_use() {
    let tool = Arc::new(Says(Ok(Some(to_model("other"))), Mutex::default()));
    let mut setup = Setup::new().deployment("other", "openai/other-model");
    setup
        .prompts
        .managers
        .push(entry("tool", FailPolicy::Closed, &tool));
    setup.prompts.asked.push(0);
    let world = setup
        .access(|access| {
            let principal = Principal {
                models: vec!["gpt-4o".to_owned()],
                ..Principal::default()
            };
            access.custom = Some(CustomAuth {
                plugin: Arc::new(FakeAuth::new(Ok(AuthDecision::Identity(Box::new(
                    principal,
                ))))),
                auto: false,
                common_checks: false,
            });
        })
        .build();
    assert_eq!(
        world.send(chat(json!({"prompt_id": "greet"}))).await.status,
        403
    );
    assert_eq!(world.upstream.calls(), 0);
}

/// A gateway whose group `gpt-4o` is `tool/MODEL` with a prompt of its own.
fn of_group(answer: Prompt, own: PromptRef) -> (World, Arc<Says>) {
    let tool = Arc::new(Says(Ok(Some(answer)), Mutex::default()));
    let mut setup = Setup::new().deployment("other", "openai/other-model");
    setup
        .prompts
        .managers
        .push(entry("tool", FailPolicy::Closed, &tool));
    setup.prompts.by_group.insert("gpt-4o".to_owned(), own);
    (setup.build(), tool)
}

fn own(model: &str) -> PromptRef {
    PromptRef {
        manager: Some(0),
        id: Some("house".to_owned()),
        variables: Some(r#"{"tone":"dry"}"#.to_owned()),
        model: Some(model.to_owned()),
        ..PromptRef::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployments_own_prompt_is_used_and_leads_to_the_group_behind_the_prefix() {
    for (model, upstream) in [("other", "other-model"), ("gpt-4o-mini", "gpt-4o-mini")] {
        let (world, tool) = of_group(greeting(), own(model));
        assert_eq!(world.send(chat(json!({}))).await.status, 200, "{model}");
        assert_eq!(world.upstream.body(0)["model"], upstream);
        let call = asked(&tool);
        assert_eq!(
            (call.prompt_id.as_str(), call.model.as_str()),
            ("house", model)
        );
        assert_eq!(call.variables, r#"{"tone":"dry"}"#);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_request_says_wins_over_the_deployment() {
    let (world, tool) = of_group(greeting(), own("gpt-4o-mini"));
    let body = json!({"prompt_id": "mine", "prompt_variables": {"tone": "warm"}});
    assert_eq!(world.send(chat(body)).await.status, 200);
    let call = asked(&tool);
    assert_eq!(
        (call.prompt_id.as_str(), call.variables.as_str()),
        ("mine", r#"{"tone":"warm"}"#)
    );
}

#[tokio::test(start_paused = true)]
async fn a_prompts_model_and_parameters_can_be_ignored() {
    let ignoring = PromptRef {
        ignore_model: true,
        ignore_params: true,
        ..own("gpt-4o-mini")
    };
    let (world, _) = of_group(to_model("nowhere"), ignoring);
    assert_eq!(world.send(chat(json!({}))).await.status, 200);
    let sent = world.upstream.body(0);
    assert_eq!(sent["model"], "gpt-4o-mini");
    assert!(sent.get("temperature").is_none(), "{sent}");
    assert_eq!(sent["messages"][0]["content"], "Greet.");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_needs_a_prompt_says_so() {
    let none = PromptRef {
        id: None,
        ..own("gpt-4o-mini")
    };
    let (world, _) = of_group(greeting(), none);
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("prompt_id"), "{}", answer.text);
}
