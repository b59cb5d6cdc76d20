use std::time::Duration;

use serde_json::{Value, json};

use super::check;
use crate::testing::{Script, Setup, World};

fn info(value: Value) -> Setup {
    Setup::new().with(|_, target| target.info = (json!({"api_key": "hidden", "rpm": 7}), value))
}

async fn entry(world: &World) -> (bool, Value) {
    let snapshot = world.gateway.snapshot.load_full();
    let mut found = check(&world.gateway, &snapshot, |_, _| true).await;
    assert_eq!(found.len(), 1);
    let found = found.remove(0);
    (found.is_healthy, found.entry)
}

#[tokio::test(start_paused = true)]
async fn an_entry_tells_what_may_be_shown_and_nothing_else() {
    let world = info(json!({"mode": "chat", "id": "d0", "owner": "me"})).build();
    let answer = Script::json(200, &json!({"choices": []}))
        .header("x-ratelimit-remaining-tokens", "9")
        .header("x-secret", "s");
    world.upstream.then(answer);
    let (is_healthy, shown) = entry(&world).await;
    assert!(is_healthy);
    assert_eq!(
        shown,
        json!({
            "model": "openai/gpt-4o-mini", "model_id": "d0", "mode": "chat", "rpm": 7,
            "api_base": "http://upstream.test/v1", "x-ratelimit-remaining-tokens": "9",
        })
    );
    let body = world.upstream.body(0);
    assert_eq!(
        (&body["model"], &body["max_tokens"]),
        (&json!("gpt-4o-mini"), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn a_sick_deployment_says_why_and_only_its_name_without_details() {
    for (details, status) in [(true, json!(401)), (false, Value::Null)] {
        let world = info(json!({}))
            .settings(|s| s.health.details = details)
            .build();
        world.upstream.then(Script::error(401, "who"));
        let (is_healthy, shown) = entry(&world).await;
        assert!(!is_healthy);
        assert_eq!(shown["exception_status"], status);
        assert_eq!(shown.as_object().unwrap().len() == 1, !details, "{shown}");
    }
}

/// `model_info`, the deployment's model; URL's end, member of the body, its value.
#[tokio::test(start_paused = true)]
async fn every_mode_has_its_own_call() {
    let cases = [
        (
            json!({"mode": "chat", "health_check_max_tokens": 5}),
            "openai/m",
            "/chat/completions",
            "max_tokens",
            json!(5),
        ),
        (
            json!({}),
            "openai/m",
            "/chat/completions",
            "max_tokens",
            json!(1),
        ),
        (
            json!({"mode": "embedding"}),
            "openai/m",
            "/embeddings",
            "input",
            json!(["test from litellm"]),
        ),
        (
            json!({"mode": "completion"}),
            "openai/m",
            "/completions",
            "prompt",
            json!("test from litellm"),
        ),
        (
            json!({"health_check_model": "openai/x"}),
            "openai/*",
            "/chat/completions",
            "model",
            json!("x"),
        ),
        (
            json!({"health_check_model": "openai/x"}),
            "openai/*",
            "/chat/completions",
            "max_tokens",
            json!(10),
        ),
    ];
    for (info, model, url, member, value) in cases {
        let world = Setup::empty()
            .deployment(model, model)
            .with(|_, target| target.info = (json!({}), info))
            .build();
        entry(&world).await;
        assert_eq!(world.upstream.body(0)[member], value);
        assert!(world.upstream.sent.lock().unwrap()[0].0.ends_with(url));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_without_a_model_is_asked_for_cheap_ones() {
    let world = Setup::empty().deployment("openai/*", "openai/*").build();
    world.upstream.then(Script::error(404, "not this one"));
    assert!(entry(&world).await.0);
    let models = world.upstream.models();
    assert_eq!(models.len(), 2);
    assert!(
        models[0] != models[1] && !models[0].starts_with("openai/"),
        "{models:?}"
    );
    let world = Setup::empty().deployment("nobody/*", "nobody/*").build();
    let (is_healthy, shown) = entry(&world).await;
    assert!(
        !is_healthy
            && shown["error"]
                .as_str()
                .unwrap()
                .contains("health_check_model")
    );
}

#[tokio::test(start_paused = true)]
async fn a_mode_that_the_gateway_does_not_call_is_not_healthy() {
    let world = info(json!({"mode": "image_generation"})).build();
    let (is_healthy, shown) = entry(&world).await;
    assert!(
        !is_healthy
            && shown["error"]
                .as_str()
                .unwrap()
                .contains("image_generation")
    );
    assert_eq!(world.upstream.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_check_ends_after_its_own_timeout() {
    for (own, seconds) in [(json!({"health_check_timeout": 2}), 2), (json!({}), 60)] {
        let world = info(own).build();
        world.upstream.then(Script::silent());
        let begun = tokio::time::Instant::now();
        assert!(!entry(&world).await.0);
        assert_eq!(begun.elapsed(), Duration::from_secs(seconds));
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_in_the_background_leave_out_those_that_do_not_want_it() {
    let world = Setup::new()
        .deployment("b", "openai/b")
        .with(|_, target| target.info.1 = json!({"disable_background_health_check": true}))
        .settings(|s| {
            s.health.background = true;
            s.health.interval = Duration::from_secs(10);
        })
        .build();
    let stop = tokio::time::sleep(Duration::from_secs(25));
    super::keep_checking(world.gateway.clone(), stop).await;
    let last = world.gateway.health.last().unwrap();
    assert_eq!(last.len(), 1);
    assert_eq!(world.upstream.calls(), 3, "at 0, 10 and 20 s");
}
