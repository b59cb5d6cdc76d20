use bytes::Bytes;
use serde_json::{Value, json};
use witgate_wire::errors::CompatErrors;

use crate::exchange::BodyFault;
use crate::snapshot::Settings;
use crate::testing::{Setup, World, chat, completion, embedding, with};

/// What is wrong with the body, then status, `param` and a part of the message.
#[tokio::test(start_paused = true)]
async fn bodies_that_are_no_request_are_refused() {
    let large = BodyFault::TooLarge {
        length: 3 << 20,
        limit: 1 << 20,
    };
    let cases: [(Result<&str, BodyFault>, u16, &str, &str); 11] = [
        (
            Ok("{\"model\":"),
            400,
            "request_body",
            "Invalid JSON payload",
        ),
        (Ok("[1]"), 400, "request_body", "Invalid JSON payload"),
        (Ok("\"text\""), 400, "request_body", "Invalid JSON payload"),
        (Ok("{}{}"), 400, "request_body", "Invalid JSON payload"),
        (Ok(""), 400, "model", "model=None"),
        (Ok("{\"messages\":[]}"), 400, "model", "model=None"),
        (
            Ok("{\"model\":4,\"messages\":[]}"),
            400,
            "model",
            "model=None",
        ),
        (
            Ok("{\"model\":\"gpt-4o\"}"),
            400,
            "messages",
            "'messages' is required",
        ),
        (
            Err(large),
            400,
            "content-length",
            "Request size is 3.00 MB. Max size is 1.00 MB",
        ),
        (
            Err(BodyFault::Stalled),
            408,
            "request_body",
            "stopped arriving",
        ),
        (
            Err(BodyFault::Broken),
            408,
            "request_body",
            "ended before it was complete",
        ),
    ];
    for (body, status, param, message) in cases {
        let world = Setup::new()
            .settings(|s| s.compat = CompatErrors::V2025)
            .build();
        let mut call = chat(json!({}));
        call.body = body.clone().map(|text| Bytes::from(text.to_owned()));
        let answer = world.send(call).await;
        assert_eq!(
            (answer.status, answer.error()["param"].as_str()),
            (status, Some(param)),
            "{body:?}"
        );
        assert!(answer.message().contains(message), "{body:?}: {answer:?}");
        assert_eq!(world.upstream.calls(), 0);
        assert_eq!(world.failure().await.status, Some(status));
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_configured_limit_is_refused_in_both_spellings() {
    for (compat, status) in [(CompatErrors::V2025, 400), (CompatErrors::Latest, 413)] {
        let limit = |s: &mut Settings| {
            s.max_request_bytes = Some(20);
            s.compat = compat;
        };
        let world = Setup::new().settings(limit).build();
        let answer = world.send(chat(json!({}))).await;
        assert_eq!(answer.status, status);
        let body: Value = serde_json::from_str(&answer.text).expect("JSON");
        let text = match compat {
            CompatErrors::V2025 => &body["error"]["message"],
            CompatErrors::Latest => &body["error"],
        };
        let text = text.as_str().expect("a text");
        assert!(text.starts_with("Request size is too large. "), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_not_repeated_and_its_media_type_is_named() {
    let world = World::new();
    let mut call = with(
        chat(json!({})),
        &[("content-type", "text/plain; charset=x")],
    );
    call.body = Ok(Bytes::from_static(b"password=hunter2"));
    let message = world.send(call).await.message();
    assert!(
        message.ends_with("the content type is 'text/plain', send application/json"),
        "{message}"
    );
    assert!(!message.contains("hunter2"), "{message}");
}

/// Forced model, model of the path, model of the body: the first that is set is asked for.
#[tokio::test(start_paused = true)]
async fn the_forced_model_wins_over_the_path_and_the_path_over_the_body() {
    for (forced, path, wanted) in [
        (Some("forced"), Some("path"), "forced"),
        (None, Some("path"), "path"),
        (None, None, "body"),
    ] {
        let groups = ["forced", "path", "body"].into_iter();
        let setup = groups.fold(Setup::empty(), |setup, name| {
            setup.deployment(name, &format!("openai/{name}-up"))
        });
        let world = setup
            .settings(|s| {
                s.completion_model = forced.map(str::to_owned);
                s.embedding_model = forced.map(str::to_owned);
            })
            .build();
        for call in [chat, completion, embedding] {
            let mut call = call(json!({"model": "body"}));
            call.path_model = path.map(str::to_owned);
            world.send(call).await;
        }
        let wanted = format!("{wanted}-up");
        assert_eq!(world.upstream.models(), [wanted.as_str(); 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_model_is_named_with_its_route() {
    let world = World::new();
    let answer = world.send(embedding(json!({"model": "nope"}))).await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.message(),
        "/embeddings: Invalid model name passed in model=nope. Call `/v1/models` to view available models for your key."
    );
    assert_eq!(world.failure().await.class, "BadRequestError");
}

#[tokio::test(start_paused = true)]
async fn tags_come_from_header_and_body_each_once() {
    let world = World::new();
    let call = chat(json!({"tags": ["b", "c"], "metadata": {"tags": ["d", "a"]}}));
    world
        .send(with(call, &[("x-litellm-tags", "a, b,,a")]))
        .await;
    assert_eq!(world.record().await.tags, ["a", "b", "c", "d"]);
}
