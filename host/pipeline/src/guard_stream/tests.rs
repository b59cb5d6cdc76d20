use serde_json::json;
use witgate_events::GuardrailStatus;

use crate::ports::Phase;
use crate::reply::ReplyBody;
use crate::snapshot::FailPolicy;
use crate::testing::{
    Answer, FakeGuard, Script, Setup, World, chat, chunk, completion, done, usage_chunk,
};

fn guarded(fail: FailPolicy) -> World {
    Setup::new()
        .guard("g", Phase::PostCall, fail, FakeGuard::of_words())
        .build()
}

async fn stream(world: &World, pieces: &[&str]) -> Answer {
    let frames = pieces.iter().map(|text| chunk(text));
    world
        .upstream
        .then(Script::stream(frames.chain([usage_chunk(10, 5), done()])));
    world.send(chat(json!({"stream": true}))).await
}

/// What a record tells of the answer.
fn logged(response: Option<&bytes::Bytes>) -> String {
    response
        .map(|body| String::from_utf8_lossy(body).into_owned())
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn held_text_is_released_before_the_chunk_that_ends_the_choice() {
    let world = guarded(FailPolicy::Closed);
    let answer = stream(&world, &["a b", "c", ""]).await;
    assert_eq!(answer.content(), "a bc");
    let events = answer.events();
    let end = events
        .iter()
        .position(|e| e["choices"][0]["finish_reason"] == "stop")
        .unwrap();
    assert_eq!(events[end - 1]["choices"][0]["delta"]["content"], "bc");
    assert_eq!(events[end - 1]["id"], "chatcmpl-1");
    assert_eq!(events[end - 1]["model"], "gpt-4o");
    assert_eq!(events[end + 1], "[DONE]");
    assert_eq!(answer.header("x-litellm-applied-guardrails"), "g");
    assert_eq!(
        world.record().await.guardrails[0].guardrail_status,
        GuardrailStatus::Success
    );
}

#[tokio::test(start_paused = true)]
async fn a_word_cut_in_two_is_masked_for_the_client_and_the_log() {
    let world = guarded(FailPolicy::Closed);
    let answer = stream(&world, &["my sec", "ret is sec", "ret", ""]).await;
    assert_eq!(answer.content(), "my *** is ***");
    assert!(!answer.text.contains("sec"), "{}", answer.text);
    let record = world.record().await;
    assert!(logged(record.response.as_ref()).contains("my *** is ***"));
    assert!(!logged(record.response.as_ref()).contains("sec"));
    assert_eq!(record.usage.completion_tokens, 5);
    let run = &record.guardrails[0];
    assert_eq!(run.guardrail_status, GuardrailStatus::GuardrailIntervened);
    assert_eq!(run.masked_entity_count.as_ref().unwrap()["SECRET"], 2);
}

#[tokio::test(start_paused = true)]
async fn text_held_in_the_chunk_that_ends_the_choice_stays_in_it() {
    let world = guarded(FailPolicy::Closed);
    let last = chunk("the secret").replace("\"finish_reason\":null", "\"finish_reason\":\"stop\"");
    world.upstream.then(Script::stream([last, done()]));
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!(answer.events().len(), 2);
    assert_eq!(answer.content(), "the ***");
}

#[tokio::test(start_paused = true)]
async fn held_text_is_released_when_the_upstream_never_ends_its_choice() {
    for last in [vec![done()], vec![]] {
        let world = guarded(FailPolicy::Closed);
        world
            .upstream
            .then(Script::stream([chunk("a secret")].into_iter().chain(last)));
        let answer = world.send(chat(json!({"stream": true}))).await;
        assert_eq!(answer.content(), "a ***");
        assert!(logged(world.record().await.response.as_ref()).contains("a ***"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_mid_stream_ends_it_with_an_error_frame() {
    let world = guarded(FailPolicy::Open);
    let answer = stream(&world, &["fine ", "a bomb ", "never ", ""]).await;
    assert_eq!(answer.content(), "fine ");
    let events = answer.events();
    let error = &events.last().unwrap()["error"];
    assert_eq!(
        (&error["message"], &error["code"]),
        (&json!("not in this house"), &json!("422"))
    );
    assert!(!answer.text.contains("bomb"));
    assert_eq!(world.upstream.cancelled(), 1);
    let record = world.record().await;
    assert_eq!(record.failure().unwrap().class, "GuardrailRaisedException");
    assert!(!logged(record.response.as_ref()).contains("bomb"));
    let run = &record.guardrails[0];
    assert_eq!(run.guardrail_response.as_ref().unwrap().get(), "\"block\"");
    assert_eq!(run.masked_entity_count.as_ref().unwrap()["SECRET"], 1);
    assert!(record.usage.completion_tokens > 0);
}

#[tokio::test(start_paused = true)]
async fn a_guardrail_that_traps_ends_the_stream_when_it_fails_closed() {
    let world = guarded(FailPolicy::Closed);
    let answer = stream(&world, &["fine ", "a trap ", "never ", ""]).await;
    assert_eq!(answer.content(), "fine ");
    let error = answer.events().last().unwrap()["error"].clone();
    assert_eq!(
        error["message"],
        "Guardrail 'g' could not judge this call, and fails closed"
    );
    assert!(!answer.text.contains("it trapped"));
    let record = world.record().await;
    assert_eq!(
        record.guardrails[0].guardrail_status,
        GuardrailStatus::GuardrailFailedToRespond
    );
    assert_eq!(record.failure().unwrap().trace, "it trapped");
}

/// No text is lost or told twice, wherever the guardrail fails.
#[tokio::test(start_paused = true)]
async fn a_guardrail_that_traps_lets_everything_pass_when_it_fails_open() {
    let cases: [&[&str]; 4] = [
        &["fine ", "held", " trap ", "rest", ""],
        &["trap ", "rest", ""],
        &["a b", " c trap", ""],
        &["a trap", ""],
    ];
    for pieces in cases {
        let world = guarded(FailPolicy::Open);
        let answer = stream(&world, pieces).await;
        assert_eq!(answer.content(), pieces.concat());
        let record = world.record().await;
        assert!(record.succeeded());
        assert_eq!(
            record.guardrails[0].guardrail_status,
            GuardrailStatus::GuardrailFailedToRespond
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_guardrail_that_traps_after_it_edited_ends_the_stream() {
    let world = guarded(FailPolicy::Open);
    let answer = stream(&world, &["a secret here ", "a trap ", ""]).await;
    assert_eq!(answer.content(), "a *** here ");
    assert_eq!(
        answer.events().last().unwrap()["error"]["message"],
        "Internal server error"
    );
    world.failure().await;
}

fn piece(choice: u32, delta: &serde_json::Value, finish: &str) -> String {
    let finish = if finish.is_empty() {
        json!(null)
    } else {
        json!(finish)
    };
    let choice = json!({"index": choice, "delta": delta, "finish_reason": finish});
    format!(
        "data: {}\n\n",
        json!({"id": "x", "model": "m", "choices": [choice]})
    )
}

#[tokio::test(start_paused = true)]
async fn what_was_held_on_other_channels_is_released_when_a_guardrail_fails_open() {
    let world = guarded(FailPolicy::Open);
    let call = json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a\":"}}]});
    let more = json!({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]});
    world.upstream.then(Script::stream([
        piece(0, &call, ""),
        piece(0, &json!({"content": "a trap "}), ""),
        piece(0, &more, "tool_calls"),
        done(),
    ]));
    let answer = world.send(chat(json!({"stream": true}))).await;
    let arguments = |e: &serde_json::Value| {
        let call = &e["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"];
        call.as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(
        answer.events().iter().map(arguments).collect::<String>(),
        "{\"a\":1}"
    );
    assert_eq!(answer.content(), "a trap ");
}

#[tokio::test(start_paused = true)]
async fn choices_and_kinds_of_text_are_judged_apart() {
    let world = guarded(FailPolicy::Closed);
    world.upstream.then(Script::stream([
        piece(0, &json!({"content": "sec"}), ""),
        piece(1, &json!({"content": "sec"}), ""),
        piece(0, &json!({"reasoning_content": "ret"}), ""),
        piece(1, &json!({"content": "ret"}), ""),
        piece(0, &json!({}), "stop"),
        piece(1, &json!({}), "length"),
        done(),
    ]));
    let events = world
        .send(chat(json!({"stream": true, "n": 2})))
        .await
        .events();
    let told = |choice: u32, field: &str| -> String {
        let of = |e: &serde_json::Value| {
            let this = &e["choices"][0];
            let own = this["index"] == choice;
            if own {
                this["delta"][field].as_str().unwrap_or_default().to_owned()
            } else {
                String::new()
            }
        };
        events.iter().map(of).collect()
    };
    assert_eq!(
        (told(0, "content"), told(0, "reasoning_content")),
        ("sec".to_owned(), "ret".to_owned())
    );
    assert_eq!(told(1, "content"), "***");
}

#[tokio::test(start_paused = true)]
async fn text_behind_the_end_of_a_choice_is_judged_too() {
    let world = guarded(FailPolicy::Closed);
    let answer = stream(&world, &["a", "", "secret", ""]).await;
    assert_eq!(answer.content(), "a***");
}

#[tokio::test(start_paused = true)]
async fn text_completions_are_judged_in_pieces() {
    let piece = |text: &str| {
        format!("data: {{\"model\":\"m\",\"choices\":[{{\"index\":0,\"text\":\"{text}\"}}]}}\n\n")
    };
    let world = guarded(FailPolicy::Closed);
    world
        .upstream
        .then(Script::stream([piece("a sec"), piece("ret"), done()]));
    let answer = world.send(completion(json!({"stream": true}))).await;
    assert_eq!(answer.content(), "a ***");
    assert_eq!(answer.events()[2]["object"], "text_completion");
}

#[tokio::test(start_paused = true)]
async fn a_guardrail_may_not_hold_back_without_bound() {
    let long = "x".repeat(40 * 1024);
    let pieces = [long.as_str(), long.as_str(), ""];
    let closed = stream(&guarded(FailPolicy::Closed), &pieces).await;
    assert!(closed.events().last().unwrap()["error"].is_object());
    let open = stream(&guarded(FailPolicy::Open), &pieces).await;
    assert_eq!(open.content().len(), 2 * long.len());
    // What it released of the same piece comes first.
    let at_once = format!("word {long}{long}");
    let open = stream(&guarded(FailPolicy::Open), &[&at_once, ""]).await;
    assert_eq!(open.content(), at_once);
}

#[tokio::test(start_paused = true)]
async fn guardrails_judge_what_the_one_before_let_out() {
    let world = Setup::new()
        .guard(
            "one",
            Phase::PostCall,
            FailPolicy::Closed,
            FakeGuard::of_words(),
        )
        .guard(
            "two",
            Phase::PostCall,
            FailPolicy::Open,
            FakeGuard::of_words(),
        )
        .build();
    let answer = stream(&world, &["a secret", " trap", ""]).await;
    assert_eq!(
        answer.events().last().unwrap()["error"]["message"],
        "Guardrail 'one' could not judge this call, and fails closed"
    );
    let names: Vec<_> = world
        .record()
        .await
        .guardrails
        .into_iter()
        .filter_map(|run| run.guardrail_name)
        .collect();
    assert_eq!(names, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_guardrail_that_cannot_open_the_stream_follows_its_policy() {
    for (fail, status, content) in [
        (FailPolicy::Open, 200, "a secret"),
        (FailPolicy::Closed, 500, ""),
    ] {
        let world = Setup::new()
            .guard("g", Phase::PostCall, fail, FakeGuard::faulty_streams())
            .build();
        let answer = stream(&world, &["a secret", ""]).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("x-litellm-applied-guardrails"), "");
        if status == 200 {
            assert_eq!(answer.content(), content);
        }
        let record = world.record().await;
        assert_eq!(
            record.guardrails[0].guardrail_status,
            GuardrailStatus::GuardrailFailedToRespond
        );
        assert!(record.usage.prompt_tokens > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_guardrails_did_until_the_client_left_is_recorded() {
    use futures_util::StreamExt;
    let world = guarded(FailPolicy::Closed);
    world
        .upstream
        .then(Script::stream([chunk("a secret word")]).then_stall());
    let ReplyBody::Stream(mut body) = world.open(chat(json!({"stream": true}))).await.body else {
        panic!("a stream");
    };
    body.next().await.unwrap();
    drop(body);
    let record = world.record().await;
    assert_eq!(
        record.guardrails[0].guardrail_status,
        GuardrailStatus::GuardrailIntervened
    );
    assert!(!logged(record.response.as_ref()).contains("secret"));
}
