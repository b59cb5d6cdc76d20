use serde_json::{Value, json};

use super::*;
use crate::testing::{Setup, chat};

fn setup() -> Setup {
    Setup::empty()
        .deployment("a", "openai/one")
        .with(|spec, _| spec.max_input_tokens = Some(2))
        .deployment("a", "openai/two")
        .with(|spec, _| spec.tags = vec!["t".to_owned()])
        .routing(|routing| {
            routing.pre_call_checks = true;
            routing.tag_filtering = true;
        })
}

fn asked(body: Value) -> Asked {
    Asked {
        body: Bytes::from(body.to_string()),
        headers: Arc::default(),
        principal: Arc::default(),
    }
}

async fn told(world: &crate::testing::World, body: Value) -> Value {
    let told = explain_call(&world.gateway, asked(body)).await;
    serde_json::to_value(told.unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_bodys_own_facts_bear_on_the_choice() {
    let world = setup().build();
    let long = "a prompt of more than two tokens";
    for body in [
        json!({"model": "a", "messages": [{"role": "user", "content": long}], "metadata": {"tags": ["t"]}}),
        json!({"model": "a", "input": long, "metadata": {"tags": ["t"]}}),
        json!({"model": "a", "prompt": long, "metadata": {"tags": ["t"]}}),
    ] {
        let told = told(&world, body).await;
        assert_eq!(told["picked"], "d1", "{told}");
        assert_eq!(
            told["candidates"][0]["dropped_by"], "context_window",
            "{told}"
        );
    }
    let told = told(&world, json!({"model": "a", "metadata": {"tags": ["x"]}})).await;
    assert_eq!(told["error"]["status"], 401, "{told}");
    assert!(world.records().await.is_empty(), "nothing is recorded");
    assert_eq!(world.upstream.calls(), 0, "nobody is called");
}

#[tokio::test(start_paused = true)]
async fn what_a_call_would_be_refused_for_is_told_in_the_same_words() {
    let world = setup().build();
    let explained = |body| explain_call(&world.gateway, asked(body));
    let failure = explained(json!({"model": "zzz"})).await.unwrap_err();
    assert_eq!(failure.case, Case::UnknownModel);
    let failure = explained(json!({"messages": []})).await.unwrap_err();
    assert_eq!(failure.case, Case::UnknownModel);
    let failure = explained(json!({"model": "a", "api_base": "http://x.test"})).await;
    assert_eq!(failure.unwrap_err().case, Case::ClientCredentials);
    for key in [json!(7), json!("")] {
        let failure = explained(json!({"model": "a", "key": key}))
            .await
            .unwrap_err();
        assert_eq!(failure.case, Case::InvalidBody);
    }
    let failure = explained(json!({"model": "a", "key": "sk-made-up"}))
        .await
        .unwrap_err();
    assert_eq!(failure.case, Case::UnknownKey);
    assert!(!failure.message.contains("made-up"), "{}", failure.message);
    let mut refused = asked(json!({"model": "a"}));
    refused.principal = Arc::new(Principal {
        models: vec!["b".to_owned()],
        ..Principal::default()
    });
    let failure = explain_call(&world.gateway, refused).await.unwrap_err();
    assert_eq!(failure.case, Case::ModelAccessDenied);
}

#[tokio::test(start_paused = true)]
async fn an_event_tells_how_its_deployment_was_chosen() {
    let world = Setup::new()
        .deployment("gpt-4o", "openai/gpt-4o-mini")
        .with(|spec, _| spec.is_blocked = true)
        .build();
    world.send(chat(json!({}))).await;
    let routing = world.record().await.routing.unwrap();
    assert_eq!(
        serde_json::to_value(&routing).unwrap(),
        json!({
            "routing_strategy": "simple-shuffle", "picked": "d0", "reason": "drawn, all alike",
            "emptied_by": null, "candidates_total": 2,
            "candidates": [
                {"model_id": "d0", "dropped_by": null},
                {"model_id": "d1", "dropped_by": "paused"},
            ],
        })
    );
    let world = Setup::new().build();
    world.send(chat(json!({}))).await;
    let routing = world.record().await.routing.unwrap();
    assert_eq!((routing.candidates_total, routing.candidates.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn each_try_tells_its_own_choice() {
    let world = Setup::new()
        .deployment("gpt-4o", "openai/gpt-4o-mini")
        .routing(|routing| routing.num_retries = 1)
        .build();
    world
        .upstream
        .then(crate::testing::Script::error(500, "broken"));
    world.send(chat(json!({}))).await;
    let record = world.record().await;
    let attempts = world.attempts();
    let [first] = &attempts[..] else {
        panic!("one failed try: {attempts:#?}");
    };
    let picked =
        |routing: &Option<witgate_events::Routing>| routing.clone().unwrap().picked.unwrap();
    assert_eq!(picked(&first.routing), first.served.model_id);
    assert_eq!(picked(&record.routing), record.served.model_id);
    assert_ne!(picked(&first.routing), picked(&record.routing));
    let last = record.routing.unwrap();
    let failed = last
        .candidates
        .iter()
        .filter(|c| c.dropped_by.as_deref() == Some("failed_before"));
    assert_eq!(failed.count(), 1, "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_found_nobody_tells_who_was_dropped() {
    let world = Setup::new()
        .with(|spec, _| spec.is_blocked = true)
        .deployment("gpt-4o", "openai/gpt-4o-mini")
        .with(|spec, _| spec.is_blocked = true)
        .build();
    world.send(chat(json!({}))).await;
    let routing = world.record().await.routing.unwrap();
    assert_eq!(routing.picked, None);
    assert_eq!(routing.emptied_by.as_deref(), Some("paused"));
    assert_eq!(routing.candidates.len(), 2);
}
