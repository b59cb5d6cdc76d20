use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use witgate_caching::{AnswerCache, Memory, MemoryLimits, Settings};

use crate::ports::{Block, Phase, Verdict};
use crate::snapshot::FailPolicy;
use crate::testing::{
    FakeGuard, Script, Setup, World, chat, chunk, completed, done, embedding, usage_chunk, with,
};

fn cached(mut setup: Setup, settings: Settings) -> World {
    let memory = Arc::new(Memory::new(MemoryLimits::default()));
    setup.cache = Some(AnswerCache::new(settings, memory));
    setup.build()
}

fn world() -> World {
    cached(Setup::new(), Settings::default())
}

fn calls(world: &World) -> usize {
    world.upstream.sent.lock().unwrap().len()
}

fn ask(extra: Value) -> crate::exchange::Arrival {
    let mut body = json!({"model": "gpt-4o"});
    body.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    chat(body)
}

#[tokio::test(start_paused = true)]
async fn the_second_equal_call_costs_nothing_and_says_so() {
    let world = world();
    let first = world.send(ask(json!({}))).await;
    let second = world.send(ask(json!({}))).await;
    assert_eq!(calls(&world), 1);
    assert_eq!(first.json(), second.json());
    assert_eq!(first.header("x-litellm-cache-key"), "");
    assert_eq!(second.header("x-litellm-cache-key").len(), 64);
    assert_eq!(second.header("x-litellm-response-cost"), "0");
    assert_eq!(second.header("x-litellm-model-id"), "d0");
    let records = world.records().await;
    assert_eq!(records[0].cache.hit, Some(false));
    assert_eq!(records[1].cache.hit, Some(true));
    assert_eq!(records[1].cache.key, records[0].cache.key);
    assert_eq!(records[1].cost.total, Some(0.into()));
    assert_eq!(records[1].cost.saved_by_cache, records[0].cost.total);
    assert!(records[0].cost.total > Some(0.into()));
    assert_eq!(records[1].usage.total_tokens, records[0].usage.total_tokens);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_kept_when_it_is_complete_and_replayed() {
    let world = world();
    let streamed = || ask(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let script = || Script::stream([chunk("Hel"), chunk("lo")]);
    // Broken off: not kept.
    world.upstream.then(script().then_break());
    world.send(streamed()).await;
    let end = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
    let end = format!("data: {end}\n\n");
    world
        .upstream
        .then(script().piece(end).piece(usage_chunk(11, 7)).piece(done()));
    world.send(streamed()).await;
    assert_eq!(calls(&world), 2);
    world.gateway.tasks.close();
    world.gateway.tasks.wait().await;
    world.gateway.tasks.reopen();
    let hit = world.send(streamed()).await;
    assert_eq!(calls(&world), 2);
    let text = &hit.text;
    assert!(text.contains("\"content\":\"Hello\""), "{text}");
    assert!(text.contains("\"usage\":{"), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let records = world.records().await;
    assert_eq!(records[2].cache.hit, Some(true));
    assert_eq!(records[2].cost.total, Some(0.into()));
    assert_eq!(records[2].usage.total_tokens, 18);
}

#[tokio::test(start_paused = true)]
async fn a_replay_takes_its_time_when_it_shall() {
    for (pause, millis) in [(None, 0), (Some(Duration::from_millis(50)), 100)] {
        let setup = Setup::new().settings(|s| s.replay_pause = pause);
        let world = cached(setup, Settings::default());
        let streamed = || ask(json!({"stream": true, "stream_options": {"include_usage": true}}));
        let whole = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]});
        let whole = format!("data: {whole}\n\n");
        let script = Script::stream([whole, usage_chunk(11, 7), done()]);
        world.upstream.then(script);
        world.send(streamed()).await;
        let begun = tokio::time::Instant::now();
        let hit = world.send(streamed()).await;
        assert_eq!(calls(&world), 1);
        // A chunk of text, one of usage, and the end.
        assert_eq!(begun.elapsed(), Duration::from_millis(millis));
        let text = &hit.text;
        assert!(text.contains("\"content\":\"Hello\""), "{text}");
        assert!(text.contains("\"usage\":{"), "{text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_stream_says_beyond_its_text_is_not_lost_by_keeping_it() {
    let world = world();
    let end = json!({"choices": [{"index": 0, "delta": {"content": "x", "signature": "s"}, "finish_reason": "stop"}]});
    for _ in 0..2 {
        let frames = [format!("data: {end}\n\n"), done()];
        world.upstream.then(Script::stream(frames));
        world.send(ask(json!({"stream": true}))).await;
    }
    assert_eq!(calls(&world), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_says_what_is_read_and_kept() {
    let world = world();
    world.send(ask(json!({"cache": {"no-store": true}}))).await;
    world.send(ask(json!({"cache": {"ttl": 10}}))).await;
    assert_eq!(calls(&world), 2);
    world.send(ask(json!({}))).await;
    assert_eq!(calls(&world), 2);
    world.send(ask(json!({"cache": {"no-cache": true}}))).await;
    assert_eq!(calls(&world), 3);
    world
        .send(with(ask(json!({})), &[("cache-control", "no-cache")]))
        .await;
    assert_eq!(calls(&world), 4);
    tokio::time::advance(Duration::from_secs(5)).await;
    world.send(ask(json!({"cache": {"s-maxage": 4}}))).await;
    assert_eq!(calls(&world), 5);
    world.send(ask(json!({"cache": {"namespace": "n"}}))).await;
    assert_eq!(calls(&world), 6);
    tokio::time::advance(Duration::from_secs(601)).await;
    world.send(ask(json!({}))).await;
    assert_eq!(calls(&world), 7);
}

#[tokio::test(start_paused = true)]
async fn failures_and_answers_of_other_groups_are_not_kept() {
    use witgate_routing::{FallbackRule, FallbackTarget};
    let setup = Setup::new()
        .deployment("other", "openai/other")
        .routing(|r| {
            r.fallbacks = vec![FallbackRule {
                group: "gpt-4o".to_owned(),
                targets: vec![FallbackTarget::to("other")],
            }];
        });
    let world = cached(setup, Settings::default());
    for status in [500, 400] {
        world.upstream.then(Script::error(status, "oops"));
        world.upstream.then(match status {
            500 => Script::json(200, &completed("from the other")),
            _ => Script::error(400, "no"),
        });
        world.send(ask(json!({}))).await;
    }
    let before = calls(&world);
    world.send(ask(json!({}))).await;
    assert_eq!(calls(&world), before + 1);
    world.send(ask(json!({}))).await;
    assert_eq!(calls(&world), before + 1);
}

#[tokio::test(start_paused = true)]
async fn equal_calls_at_a_time_ask_once() {
    let world = Arc::new(world());
    let gate = Arc::new(tokio::sync::Notify::new());
    world.upstream.then(
        Script::json_pieces([""])
            .then_wait(&gate)
            .piece(completed("once").to_string()),
    );
    let call = |world: &Arc<World>| {
        let world = world.clone();
        tokio::spawn(async move { world.send(ask(json!({}))).await.json() })
    };
    let first = call(&world);
    world.upstream.arrived.notified().await;
    let second = call(&world);
    while world.gateway.metrics.in_flight.get() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    gate.notify_one();
    assert_eq!(first.await.unwrap(), second.await.unwrap());
    assert_eq!(calls(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn guardrails_judge_hits_as_they_judge_calls() {
    for phase in [Phase::DuringCall, Phase::PostCall] {
        let asked = AtomicUsize::new(0);
        let guard = FakeGuard::new(move |_| {
            Ok(match asked.fetch_add(1, Ordering::Relaxed) {
                0 => Verdict::Allow,
                _ => Verdict::Block(Block {
                    message: "no".to_owned(),
                    status: 400,
                    detail: None,
                    findings: Vec::new(),
                }),
            })
        });
        let setup = Setup::new().guard("g", phase, FailPolicy::Closed, guard);
        let world = cached(setup, Settings::default());
        assert_eq!(world.send(ask(json!({}))).await.status, 200, "{phase:?}");
        assert_eq!(world.send(ask(json!({}))).await.status, 400, "{phase:?}");
        assert_eq!(calls(&world), 1, "{phase:?}");
    }
}

fn embed(input: &[&str]) -> crate::exchange::Arrival {
    embedding(json!({"model": "gpt-4o", "input": input}))
}

fn embedded(values: &[f64], tokens: u64) -> Value {
    let data: Vec<Value> = values
        .iter()
        .enumerate()
        .map(|(index, value)| json!({"object": "embedding", "index": index, "embedding": [value]}))
        .collect();
    json!({"object": "list", "model": "up", "data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})
}

fn vectors(answer: &Value) -> Vec<f64> {
    let data = answer["data"].as_array().unwrap();
    data.iter()
        .map(|one| one["embedding"][0].as_f64().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn of_a_list_of_inputs_only_the_new_ones_are_asked_for() {
    let world = world();
    world
        .upstream
        .then(Script::json(200, &embedded(&[1.0, 2.0], 5)))
        .then(Script::json(200, &embedded(&[3.0], 4)));
    world.send(embed(&["a", "b"])).await;
    let mixed = world.send(embed(&["c", "b"])).await;
    assert_eq!(vectors(&mixed.json()), [3.0, 2.0]);
    assert_eq!(mixed.json()["usage"]["prompt_tokens"], 4 + 2);
    assert_eq!(mixed.json()["model"], "gpt-4o");
    assert_eq!(mixed.header("x-litellm-cache-key").len(), 64);
    let all = world.send(embed(&["a", "b", "c", "a"])).await;
    assert_eq!(vectors(&all.json()), [1.0, 2.0, 3.0, 1.0]);
    assert_eq!(all.header("x-litellm-response-cost"), "0");
    let sent: Vec<Value> = (0..calls(&world))
        .map(|call| world.upstream.body(call)["input"].clone())
        .collect();
    assert_eq!(sent, [json!(["a", "b"]), json!(["c"])]);
    let records = world.records().await;
    let hits: Vec<_> = records.iter().map(|record| record.cache.hit).collect();
    assert_eq!(hits, [Some(false), Some(true), Some(true)]);
    // The whole is logged, the new part is paid for.
    assert_eq!(records[1].usage.prompt_tokens, 6);
    let (first, second) = (
        records[0].cost.total.unwrap(),
        records[1].cost.total.unwrap(),
    );
    assert_eq!(
        second / rust_decimal::Decimal::from(4),
        first / rust_decimal::Decimal::from(5)
    );
    assert_eq!(records[2].cost.total, Some(0.into()));
}

#[tokio::test(start_paused = true)]
async fn another_group_embeds_all_of_the_list_again() {
    use witgate_routing::{FallbackRule, FallbackTarget};
    let setup = Setup::new()
        .deployment("other", "openai/other")
        .routing(|r| {
            r.fallbacks = vec![FallbackRule {
                group: "gpt-4o".to_owned(),
                targets: vec![FallbackTarget::to("other")],
            }];
        });
    let world = cached(setup, Settings::default());
    world
        .upstream
        .then(Script::json(200, &embedded(&[1.0], 1)))
        .then(Script::error(500, "oops"))
        .then(Script::json(200, &embedded(&[8.0, 9.0], 2)));
    world.send(embed(&["a"])).await;
    let answer = world.send(embed(&["a", "b"])).await;
    assert_eq!(vectors(&answer.json()), [8.0, 9.0]);
    let asked = [1, 2].map(|call| world.upstream.body(call)["input"].clone());
    assert_eq!(asked, [json!(["b"]), json!(["a", "b"])]);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_leaves_inputs_out_of_the_rest_is_told() {
    let world = world();
    world
        .upstream
        .then(Script::json(200, &embedded(&[1.0], 1)))
        .then(Script::json(200, &embedded(&[2.0], 1)));
    world.send(embed(&["a"])).await;
    let answer = world.send(embed(&["a", "b", "c"])).await;
    assert_eq!(answer.status, 500);
    assert!(
        answer.text.contains("asked for 2 embeddings"),
        "{}",
        answer.text
    );
}

#[tokio::test(start_paused = true)]
async fn groups_that_share_have_each_others_answers() {
    let setup = || {
        Setup::new()
            .deployment("other", "openai/other")
            .deployment("third", "openai/third")
    };
    let groups = vec![vec!["gpt-4o".to_owned(), "other".to_owned()]];
    let settings = Settings {
        groups,
        ..Settings::default()
    };
    for (settings, asked) in [(settings, 2), (Settings::default(), 3)] {
        let world = cached(setup(), settings);
        for model in ["gpt-4o", "other", "third"] {
            let answer = world.send(ask(json!({"model": model}))).await;
            // Named as what was asked for, whoever answered first.
            assert_eq!(answer.json()["model"], model);
        }
        assert_eq!(calls(&world), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn where_tags_choose_the_deployment_they_are_a_part_of_the_question() {
    for (filters, asked) in [(true, 2), (false, 1)] {
        let setup = Setup::new()
            .with(|spec, _| spec.tags = vec!["one".to_owned(), "two".to_owned()])
            .routing(|r| r.tag_filtering = filters);
        let world = cached(setup, Settings::default());
        for tag in ["one", "two", "one"] {
            world.send(ask(json!({"metadata": {"tags": [tag]}}))).await;
        }
        assert_eq!(calls(&world), asked, "tag filtering: {filters}");
    }
}
