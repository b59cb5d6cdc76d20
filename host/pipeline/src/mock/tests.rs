use serde_json::json;
use witgate_wire::errors::CompatErrors;

use crate::testing::{Setup, World, chat, completion, embedding, image, moderation};

fn mocked(json: &str) -> World {
    Setup::new()
        .with(|_, target| target.mock = Some(json.to_owned()))
        .build()
}

#[tokio::test(start_paused = true)]
async fn a_mocked_text_answers_without_an_upstream() {
    let world = mocked("\"hello there\"");
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(
        answer.json()["choices"][0]["message"]["content"],
        "hello there"
    );
    assert_eq!(answer.json()["object"], "chat.completion");
    assert_eq!(answer.json()["model"], "gpt-4o");
    let answer = world.send(completion(json!({}))).await;
    assert_eq!(answer.json()["choices"][0]["text"], "hello there");
    assert_eq!(answer.json()["object"], "text_completion");
    assert_eq!(world.upstream.calls(), 0);
    for record in world.records().await {
        assert_eq!(
            (record.usage.prompt_tokens, record.usage.completion_tokens),
            (10, 20)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_mocked_stream_comes_in_words_and_ends_properly() {
    let world = mocked("\"one two three\"");
    for (call, asked) in [(chat as fn(_) -> _, true), (completion, false)] {
        let call = call(json!({"stream": true, "stream_options": {"include_usage": asked}}));
        let answer = world.send(call).await;
        assert_eq!(answer.content(), "one two three");
        let events = answer.events();
        assert_eq!(events.last().unwrap(), "[DONE]");
        assert_eq!(events[3]["choices"][0]["finish_reason"], "stop");
        assert_eq!(events.len(), if asked { 6 } else { 5 }, "{events:#?}");
    }
    assert!(
        world
            .records()
            .await
            .iter()
            .all(|r| r.usage.total_tokens == 30 && r.succeeded())
    );
}

#[tokio::test(start_paused = true)]
async fn mocked_embeddings_have_one_vector_per_input() {
    let world = mocked("[0.5, 1.5]");
    let answer = world.send(embedding(json!({"input": ["a", "b"]}))).await;
    let vectors: Vec<_> = answer.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["embedding"].clone())
        .collect();
    assert_eq!(vectors, [json!([0.5, 1.5]), json!([0.5, 1.5])]);
}

/// What is mocked; the images that are answered.
#[tokio::test(start_paused = true)]
async fn mocked_images_and_moderations_have_their_own_shapes() {
    for (mocked_by, data) in [
        (
            r#"[{"url": "a"}, {"url": "b"}]"#,
            json!([{"url": "a"}, {"url": "b"}]),
        ),
        (r#""[{\"b64_json\": \"c\"}]""#, json!([{"b64_json": "c"}])),
        (r#""somewhere""#, json!([{"url": "somewhere"}])),
    ] {
        let world = mocked(mocked_by);
        let answer = world.send(image(json!({}))).await;
        assert_eq!(answer.json()["data"], data, "{mocked_by}");
        let answer = world.send(moderation(json!({"input": ["a", "b"]}))).await;
        let results = answer.json()["results"].as_array().unwrap().len();
        assert_eq!(results, 2);
        assert_eq!(answer.json()["results"][1]["flagged"], false);
        assert_eq!(world.upstream.calls(), 0);
    }
    let world = mocked(r#"{"results": [{"flagged": true}]}"#);
    let answer = world.send(moderation(json!({}))).await;
    assert_eq!(answer.json()["results"], json!([{"flagged": true}]));
}

#[tokio::test(start_paused = true)]
async fn a_mocked_exception_fails_with_its_status() {
    for (name, status) in [
        ("RateLimitError", 429),
        ("ContextWindowExceededError", 400),
        ("InternalServerError", 500),
    ] {
        for stream in [false, true] {
            let world = mocked(&format!("\"litellm.{name}\""));
            let answer = world.send(chat(json!({"stream": stream}))).await;
            assert_eq!(answer.status, status, "{name}");
            assert!(
                answer.message().starts_with(&format!("litellm.{name}: ")),
                "{answer:?}"
            );
            assert_eq!(world.failure().await.class, name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_may_mock_only_as_in_2025() {
    for (compat, calls) in [(CompatErrors::V2025, 0), (CompatErrors::Latest, 1)] {
        let world = Setup::new().settings(|s| s.compat = compat).build();
        world.send(chat(json!({"mock_response": "mine"}))).await;
        assert_eq!(world.upstream.calls(), calls);
    }
}
