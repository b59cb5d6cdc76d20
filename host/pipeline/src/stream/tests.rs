use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::Notify;

use crate::exchange::Arrival;
use crate::reply::{BodyStream, ReplyBody};
use crate::testing::{Script, Setup, World, chat, chunk, completion, done, usage_chunk};

fn streaming() -> Arrival {
    chat(json!({"stream": true}))
}

fn with_usage() -> Arrival {
    chat(json!({"stream": true, "stream_options": {"include_usage": true}}))
}

fn hello() -> Script {
    Script::stream([
        chunk("hel"),
        chunk("lo"),
        chunk(""),
        usage_chunk(10, 5),
        done(),
    ])
}

async fn body(world: &World, arrival: Arrival) -> BodyStream {
    match world.open(arrival).await.body {
        ReplyBody::Stream(body) => body,
        ReplyBody::Relay(_) => panic!("a stream of frames"),
        ReplyBody::Full(body) => panic!("a stream: {body:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_forwarded_with_the_groups_name() {
    let world = World::new();
    world.upstream.then(hello());
    let answer = world.send(streaming()).await;
    let as_sent = [chunk("hel"), chunk("lo"), chunk(""), done()].concat();
    assert_eq!(answer.text, as_sent.replace("gpt-4o-mini", "gpt-4o"));
    assert_eq!(
        answer.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(
        world.upstream.body(0)["stream_options"],
        json!({"include_usage": true})
    );
    assert_eq!(
        world.upstream.cancelled(),
        0,
        "the answer is read to its end: the connection can be used again"
    );
}

#[tokio::test(start_paused = true)]
async fn the_upstreams_own_model_name_can_be_kept() {
    let world = Setup::new()
        .settings(|s| s.keep_upstream_model = true)
        .build();
    world.upstream.then(hello());
    let answer = world.send(with_usage()).await;
    assert_eq!(
        answer.text,
        [
            chunk("hel"),
            chunk("lo"),
            chunk(""),
            usage_chunk(10, 5),
            done()
        ]
        .concat()
    );
}

#[tokio::test(start_paused = true)]
async fn usage_is_taken_always_and_shown_when_asked_for() {
    let with_content = chunk("x").replace(
        "\"created\"",
        "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2},\"created\"",
    );
    let with_null = chunk("y").replace("\"created\"", "\"usage\":null,\"created\"");
    for (call, shown) in [(streaming(), 0), (with_usage(), 3)] {
        let world = World::new();
        world.upstream.then(Script::stream([
            with_content.clone(),
            with_null.clone(),
            usage_chunk(10, 5),
            done(),
        ]));
        let answer = world.send(call).await;
        let events = answer.events();
        assert_eq!(
            events.iter().filter(|e| e.get("usage").is_some()).count(),
            shown,
            "{events:#?}"
        );
        assert_eq!(answer.content(), "xy");
        let record = world.record().await;
        assert_eq!(
            (record.usage.prompt_tokens, record.usage.completion_tokens),
            (10, 5)
        );
        assert!(record.cost.total.is_some_and(|cost| !cost.is_zero()));
        let response: serde_json::Value =
            serde_json::from_slice(&record.response.unwrap()).unwrap();
        assert_eq!(response["choices"][0]["message"]["content"], "xy");
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_where_the_upstream_tells_no_usage() {
    let world = World::new();
    world
        .upstream
        .then(Script::stream([chunk("one two three"), chunk(""), done()]));
    world.send(streaming()).await;
    let usage = world.record().await.usage;
    assert_eq!(usage.completion_tokens, 3);
    assert!(usage.prompt_tokens > 0);
}

#[tokio::test(start_paused = true)]
async fn frames_leave_as_they_arrive() {
    let world = World::new();
    let gate = Arc::new(Notify::new());
    world.upstream.then(
        Script::stream([chunk("a")])
            .then_wait(&gate)
            .piece(chunk("b"))
            .piece(done()),
    );
    let mut body = body(&world, streaming()).await;
    assert!(String::from_utf8_lossy(&body.next().await.unwrap()).contains("\"a\""));
    assert!(futures_util::poll!(body.next()).is_pending());
    gate.notify_one();
    assert!(String::from_utf8_lossy(&body.next().await.unwrap()).contains("\"b\""));
}

/// How the pieces are cut makes no difference.
#[tokio::test(start_paused = true)]
async fn frames_may_be_cut_anywhere() {
    let whole = [chunk("häl"), chunk("lo"), done()].concat();
    for at in (1..whole.len()).filter(|at| whole.is_char_boundary(*at)) {
        let world = World::new();
        world
            .upstream
            .then(Script::stream([&whole[..at], &whole[at..]]));
        assert_eq!(world.send(streaming()).await.content(), "hällo", "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn comments_and_empty_events_pass() {
    let world = World::new();
    world.upstream.then(Script::stream([
        ": early\n\n",
        &chunk("a"),
        ": ping\n\n",
        "data:\n\n",
        &done(),
    ]));
    let answer = world.send(streaming()).await;
    let rest = answer.text.split_once("\n\n").unwrap().1;
    assert_eq!(rest, ": ping\n\ndata:\n\ndata: [DONE]\n\n");
    assert!(world.record().await.succeeded());
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_done_gets_one() {
    let world = World::new();
    world.upstream.then(Script::stream([chunk("a"), chunk("")]));
    let answer = world.send(streaming()).await;
    assert_eq!(answer.events().last().unwrap(), "[DONE]");
    assert!(world.record().await.succeeded());
}

#[tokio::test(start_paused = true)]
async fn an_error_in_the_first_frame_keeps_its_status_and_is_retried() {
    let error = r#"data: {"error":{"message":"slow down","code":"429"}}"#.to_owned() + "\n\n";
    let world = World::new();
    world.upstream.then(Script::stream([error.clone()]));
    let answer = world.send(streaming()).await;
    assert_eq!((answer.status, answer.is_stream), (429, false));
    assert_eq!(world.failure().await.class, "RateLimitError");

    let world = Setup::new().routing(|r| r.num_retries = 1).build();
    world.upstream.then(Script::stream([error])).then(hello());
    assert_eq!(world.send(streaming()).await.content(), "hello");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_closes_before_its_first_frame_has_failed() {
    for pieces in [vec![], vec![": ping\n\n"], vec!["data: {\"cho"]] {
        let world = World::new();
        world.upstream.then(Script::stream(pieces));
        let answer = world.send(streaming()).await;
        assert_eq!((answer.status, answer.is_stream), (500, false));
        world.failure().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_frame_mid_stream_reaches_the_client_as_it_is_but_for_keys() {
    let plain = "data: {\"error\":{\"message\":\"the model broke\",\"type\":\"server_error\",\"code\":null}}\n\n";
    let keyed = plain.replace("broke", "broke sk-abcdefghijklmnopqrst");
    let masked = plain.replace("broke", "broke sk-****qrst");
    for (sent, received) in [(plain, plain), (&keyed, &masked)] {
        let world = World::new();
        world.upstream.then(Script::stream([
            &chunk("a"),
            sent,
            &chunk("never"),
            &done(),
        ]));
        let answer = world.send(streaming()).await;
        assert!(answer.text.ends_with(received), "{}", answer.text);
        assert_eq!(answer.content(), "a");
        let record = world.record().await;
        let failure = record.failure().unwrap();
        assert_eq!((failure.status, &*failure.class), (Some(500), "APIError"));
        assert!(failure.message.contains("the model broke") && !failure.message.contains("ghijkl"));
        assert!(
            record.usage.completion_tokens > 0,
            "what was sent is counted"
        );
    }
}

/// How a stream breaks, then class and a part of the words in its last frame.
#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_ends_with_an_error_frame() {
    let cases = [
        (
            Script::stream([chunk("a")]).then_break(),
            "APIConnectionError",
            "the connection broke",
        ),
        (
            Script::stream([&chunk("a"), "data: {\"choices\":["]),
            "APIConnectionError",
            "in the middle of a frame",
        ),
        (
            Script::stream([&chunk("a"), "data: nonsense\n\n"]),
            "APIConnectionError",
            "not JSON",
        ),
        (
            Script::stream([chunk("a")]).then_stall(),
            "Timeout",
            "sent nothing for 30 s",
        ),
    ];
    for (script, class, words) in cases {
        let world = Setup::new()
            .settings(|s| s.stream_timeout = Some(Duration::from_secs(30)))
            .build();
        world.upstream.then(script);
        let answer = world.send(streaming()).await;
        let events = answer.events();
        assert_eq!((answer.status, events.len()), (200, 2), "{events:#?}");
        let error = &events[1]["error"];
        assert!(
            error["message"].as_str().unwrap().contains(words),
            "{error}"
        );
        assert!(error["code"].is_string(), "{error}");
        let record = world.record().await;
        assert_eq!(record.failure().unwrap().class, class);
        assert!(record.usage.completion_tokens > 0);
        assert_eq!(
            world.upstream.calls(),
            1,
            "no second try once frames have left"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_the_upstream_and_is_settled_once() {
    let world = World::new();
    world
        .upstream
        .then(Script::stream([chunk("one two three")]).then_stall());
    let mut body = body(&world, streaming()).await;
    body.next().await.unwrap();
    assert_eq!(world.gateway.metrics.in_flight.get(), 1);
    assert!(futures_util::poll!(body.next()).is_pending());
    drop(body);
    assert_eq!(world.upstream.cancelled(), 1);
    let record = world.record().await;
    let failure = record.failure().unwrap();
    assert_eq!(
        (failure.status, &*failure.class),
        (Some(499), "ClientDisconnected")
    );
    assert_eq!(record.usage.completion_tokens, 3);
    assert!(record.cost.total.is_some_and(|cost| !cost.is_zero()));
    assert_eq!(record.served.model_id, "d0");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_is_settled_when_it_is_dropped() {
    let world = World::new();
    world.upstream.then(hello());
    drop(world.open(streaming()).await);
    assert_eq!(world.failure().await.class, "ClientDisconnected");
}

#[tokio::test(start_paused = true)]
async fn text_completions_stream_too() {
    let piece = |text: &str| {
        format!("data: {{\"model\":\"m\",\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}]}}\n\n")
    };
    let world = World::new();
    world
        .upstream
        .then(Script::stream([piece("a"), piece("b"), done()]));
    let answer = world.send(completion(json!({"stream": true}))).await;
    assert_eq!(answer.content(), "ab");
    assert_eq!(answer.events()[0]["model"], "gpt-4o");
}

#[tokio::test(start_paused = true)]
async fn a_streams_overhead_ends_with_its_first_frame() {
    let world = World::new();
    let gate = Arc::new(Notify::new());
    world
        .upstream
        .then(Script::stream([chunk("a")]).then_wait(&gate).piece(done()));
    let mut body = body(&world, streaming()).await;
    body.next().await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    gate.notify_one();
    while body.next().await.is_some() {}
    assert_eq!(world.record().await.times.overhead_ms, Some(0.0));
}

/// Five times the same, and three are allowed; short texts and other ones in between do not count.
#[tokio::test(start_paused = true)]
async fn a_model_in_a_loop_is_broken_off() {
    let told = async |texts: &[&str], most: u32| {
        let world = Setup::new()
            .settings(|settings| settings.repeats_max = most)
            .build();
        let mut frames: Vec<_> = texts.iter().map(|text| chunk(text)).collect();
        frames.push(done());
        world.upstream.then(Script::stream(frames));
        let answer = world.send(streaming()).await;
        let record = world.record().await;
        let class = record.failure().map(|failure| failure.class.clone());
        (answer.text, class)
    };
    let (text, class) = told(&["la la"; 5], 3).await;
    assert_eq!(
        text.matches("la la").count(),
        3,
        "two chunks and the error: {text}"
    );
    assert!(
        text.contains("The model is repeating the same chunk = la la."),
        "{text}"
    );
    assert_eq!(class.as_deref(), Some("InternalServerError"));
    for (texts, most) in [
        (&["la la"; 2][..], 3),
        (&["la la"; 5], 0),
        (&["la"; 5], 3),
        (&["la la", "la la", "lo lo", "la la", "la la"], 3),
        (&["la la", "la la", "", "la la", "la la"], 3),
    ] {
        let (text, class) = told(texts, most).await;
        assert!(!text.contains("repeating"), "{texts:?}: {text}");
        assert_eq!(class, None, "{texts:?}");
    }
}
