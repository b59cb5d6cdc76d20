use futures_util::StreamExt;
use serde_json::json;

use crate::reply::ReplyBody;
use crate::testing::{Script, Setup, World, chat, chunk, done, usage_chunk};

/// Two deployments of `gpt-4o` that take up an assistant's message; one retry.
fn pair() -> World {
    let prefill = json!({"supports_assistant_prefill": true});
    Setup::new()
        .with(|_, target| target.info.1 = prefill.clone())
        .deployment("gpt-4o", "openai/gpt-4o-mini")
        .with(|_, target| target.info.1 = prefill.clone())
        .routing(|r| r.num_retries = 1)
        .settings(|s| s.continue_streams = true)
        .build()
}

#[tokio::test(start_paused = true)]
async fn the_parts_are_one_stream_and_one_call() {
    let world = pair();
    world
        .upstream
        .then(Script::stream([chunk("one ")]).then_break())
        .then(Script::stream([
            chunk("two"),
            chunk(""),
            usage_chunk(20, 2),
            done(),
        ]));
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!(answer.content(), "one two");
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    let record = world.record().await;
    assert!(record.succeeded());
    assert!(record.usage.prompt_tokens > 20, "{:?}", record.usage);
    assert!(record.usage.completion_tokens > 2, "{:?}", record.usage);
    let alone = pair();
    alone.upstream.then(Script::stream([
        chunk("two"),
        chunk(""),
        usage_chunk(20, 2),
        done(),
    ]));
    alone.send(chat(json!({"stream": true}))).await;
    assert!(record.cost.total > alone.record().await.cost.total);
    let attempts = world.attempts();
    assert_eq!(attempts.len(), 1, "the part that broke is told, too");
    assert_ne!(attempts[0].served.model_id, record.served.model_id);
}

#[tokio::test(start_paused = true)]
async fn it_may_break_again_until_nobody_is_left() {
    let world = pair();
    world
        .upstream
        .then(Script::stream([chunk("one ")]).then_break())
        .then(Script::stream([chunk("two ")]).then_break());
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!(answer.content(), "one two ");
    assert!(answer.events().last().unwrap()["error"].is_object());
    assert_eq!(world.upstream.calls(), 2);
    let messages = &world.upstream.body(1)["messages"];
    assert_eq!(messages[1]["content"], "one ");
    assert!(!world.record().await.succeeded());
}

#[tokio::test(start_paused = true)]
async fn an_error_frame_is_a_break_and_the_client_does_not_see_it() {
    let world = pair();
    let error = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n".to_owned();
    world
        .upstream
        .then(Script::stream([chunk("one "), error]))
        .then(Script::stream([chunk("two"), chunk(""), done()]));
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!(answer.content(), "one two");
    assert!(!answer.text.contains("overloaded"), "{}", answer.text);
    let usage = world.record().await.usage;
    assert!(usage.completion_tokens >= 2, "counted: {usage:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_meanwhile_pays_for_what_it_saw() {
    let world = pair();
    world
        .upstream
        .then(Script::stream([chunk("one ")]).then_break())
        .then(Script::silent());
    let ReplyBody::Stream(mut body) = world.open(chat(json!({"stream": true}))).await.body else {
        panic!("a stream");
    };
    assert!(body.next().await.is_some());
    {
        let waiting = body.next();
        tokio::select! {
            biased;
            _ = waiting => panic!("nobody answers"),
            () = world.upstream.arrived.notified() => {}
        }
    }
    drop(body);
    let record = world.record().await;
    assert!(!record.succeeded());
    assert!(record.usage.prompt_tokens > 0, "{:?}", record.usage);
    assert!(!record.served.model_id.is_empty());
}
