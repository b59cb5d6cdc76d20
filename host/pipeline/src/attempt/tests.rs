use bytes::Bytes;
use serde_json::json;
use witgate_routing::ErrorClass;

use crate::ports::UpstreamErrorKind;
use crate::testing::{
    Script, Setup, World, chat, chunk, completed, completion, done, embedding, with,
};

#[tokio::test(start_paused = true)]
async fn the_callers_bytes_are_forwarded_with_only_the_model_edited() {
    let world = World::new();
    let odd = r#"{ "z":1e400 ,"messages":[{"role":"user","content":"caf\u00e9 \ud83d\ude00"}], "model" : "gpt-4o" , "big":12345678901234567890, "x":{"b":1,"a":[ ]},"x":2}"#;
    let mut call = chat(json!({}));
    call.body = Ok(Bytes::from_static(odd.as_bytes()));
    assert_eq!(world.send(call).await.status, 200);
    let sent = world.upstream.sent.lock().unwrap();
    assert_eq!(sent[0].2, odd.replace("\"gpt-4o\"", "\"gpt-4o-mini\""));
}

#[tokio::test(start_paused = true)]
async fn each_operation_goes_to_its_url_with_the_deployments_headers() {
    let world = World::new();
    for call in [chat, completion, embedding] {
        let call = with(
            call(json!({})),
            &[
                ("traceparent", "00-1-2-01"),
                ("x-mine", "1"),
                ("authorization", "Bearer mine"),
            ],
        );
        world.send(call).await;
    }
    let sent = world.upstream.sent.lock().unwrap();
    let urls: Vec<&str> = sent.iter().map(|(url, ..)| url.as_str()).collect();
    let base = "http://upstream.test/v1";
    assert_eq!(
        urls,
        [
            format!("{base}/chat/completions"),
            format!("{base}/completions"),
            format!("{base}/embeddings")
        ]
    );
    for (_, headers, _) in sent.iter() {
        assert_eq!(headers["authorization"], "Bearer sk-upstream");
        assert_eq!(headers["traceparent"], "00-1-2-01");
        assert_eq!(headers["x-injected"], "yes");
        assert!(!headers.contains_key("x-mine"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployments_parameters_are_added_where_the_caller_gave_none() {
    let defaults = vec![
        ("temperature".to_owned(), "0.5".to_owned()),
        ("seed".to_owned(), "7".to_owned()),
    ];
    let world = Setup::new()
        .with(|_, target| target.defaults = defaults)
        .build();
    world
        .send(chat(
            json!({"temperature": 1, "num_retries": 0, "metadata": {"a": 1}}),
        ))
        .await;
    assert_eq!(
        world.upstream.body(0),
        json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "temperature": 1, "seed": 7})
    );
}

#[tokio::test(start_paused = true)]
async fn a_wildcard_deployment_is_asked_for_the_name_the_client_used() {
    let world = Setup::empty().deployment("openai/*", "openai/*").build();
    let answer = world
        .send(chat(json!({"model": "openai/gpt-4o-mini"})))
        .await;
    assert_eq!(world.upstream.models(), ["gpt-4o-mini"]);
    assert_eq!(answer.json()["model"], "openai/gpt-4o-mini");
    assert!(
        world
            .record()
            .await
            .cost
            .total
            .is_some_and(|cost| !cost.is_zero())
    );
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_cannot_be_called_says_why() {
    let world = Setup::new()
        .with(|_, target| {
            target.unavailable = Some((ErrorClass::BadRequest, "not built".to_owned()))
        })
        .build();
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.message().contains("not built"), "{answer:?}");
    assert_eq!(world.upstream.calls(), 0);
}

/// What the upstream does, then status, `type` and the start of the message.
#[tokio::test(start_paused = true)]
async fn failures_of_the_upstream_have_litellms_status_and_words() {
    use UpstreamErrorKind::{Broken, Connect, Invalid, Timeout};
    let inside = |error| Script::json(200, &json!({"error": error}));
    let cases = [
        (
            Script::error(400, "bad"),
            400,
            "invalid_request_error",
            "litellm.BadRequestError: OpenAIException - bad",
        ),
        (
            Script::error(401, "who"),
            401,
            "authentication_error",
            "litellm.AuthenticationError: OpenAIException - who",
        ),
        (
            Script::error(404, "gone"),
            404,
            "invalid_request_error",
            "litellm.NotFoundError: OpenAIException - gone",
        ),
        (
            Script::error(429, "slow"),
            429,
            "throttling_error",
            "litellm.RateLimitError: OpenAIException - slow",
        ),
        (
            Script::error(500, "oops"),
            500,
            "internal_server_error",
            "litellm.InternalServerError: OpenAIException - oops",
        ),
        (
            Script::error(503, "busy"),
            503,
            "internal_server_error",
            "litellm.ServiceUnavailableError: OpenAIException - busy",
        ),
        (
            Script::error(302, "away"),
            500,
            "internal_server_error",
            "litellm.APIError: OpenAIException - away",
        ),
        (
            Script::no_answer(Connect),
            500,
            "internal_server_error",
            "litellm.APIConnectionError: OpenAIException - Connect",
        ),
        (
            Script::no_answer(Broken),
            500,
            "internal_server_error",
            "litellm.APIConnectionError",
        ),
        (
            Script::no_answer(Invalid),
            500,
            "internal_server_error",
            "litellm.APIConnectionError",
        ),
        (
            Script::no_answer(Timeout),
            408,
            "invalid_request_error",
            "litellm.Timeout",
        ),
        (
            Script::json(200, &json!([1])),
            500,
            "internal_server_error",
            "litellm.APIConnectionError",
        ),
        (
            Script::stream([chunk("a"), done()]),
            500,
            "internal_server_error",
            "litellm.APIConnectionError",
        ),
        (
            Script::json(200, &completed("x")).then_break(),
            500,
            "internal_server_error",
            "litellm.APIConnectionError",
        ),
        (
            inside(json!({"message": "late", "code": 429})),
            429,
            "throttling_error",
            "litellm.RateLimitError: OpenAIException - late",
        ),
        (
            inside(json!({"message": "odd", "code": "200"})),
            500,
            "internal_server_error",
            "litellm.InternalServerError: OpenAIException - odd",
        ),
        (
            inside(json!("text")),
            500,
            "internal_server_error",
            "litellm.InternalServerError: OpenAIException - text",
        ),
    ];
    for (script, status, kind, message) in cases {
        let world = World::new();
        world.upstream.then(script);
        let answer = world.send(chat(json!({}))).await;
        assert_eq!(answer.status, status, "{message}: {answer:?}");
        assert_eq!(answer.error()["type"], kind, "{message}");
        assert!(
            answer.message().starts_with(message),
            "{message}: {answer:?}"
        );
        assert!(
            answer
                .message()
                .ends_with("Received Model Group=gpt-4o\nAvailable Model Group Fallbacks=None")
        );
        assert_eq!(answer.header("x-litellm-response-cost"), "0");
        let failure = world.failure().await;
        assert_eq!(failure.status, Some(status), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstreams_code_and_param_reach_the_client_and_its_keys_do_not() {
    let world = World::new();
    let error = json!({"message": "Incorrect API key provided: sk-proj-abcdefghijklmnop", "param": "p", "code": "invalid_api_key"});
    world
        .upstream
        .then(Script::json(401, &json!({"error": error})));
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(
        (
            answer.error()["code"].as_str(),
            answer.error()["param"].as_str()
        ),
        (Some("invalid_api_key"), Some("p"))
    );
    assert!(!answer.text.contains("abcdefghijkl"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_above_the_limit_is_refused_without_a_second_try() {
    let world = Setup::new()
        .settings(|s| s.max_response_bytes = 300)
        .routing(|r| r.num_retries = 3)
        .build();
    world
        .upstream
        .then(Script::json(200, &completed(&"x".repeat(500))));
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.message().starts_with("Response size is too large."),
        "{answer:?}"
    );
    assert_eq!((world.upstream.calls(), world.upstream.cancelled()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_pieces_is_put_together() {
    let world = World::new();
    let text = completed("in pieces").to_string();
    let (head, tail) = text.split_at(text.len() / 2);
    let (middle, tail) = tail.split_at(tail.len() / 2);
    world
        .upstream
        .then(Script::json_pieces([head, middle, tail]));
    let answer = world.send(chat(json!({}))).await;
    assert_eq!(
        answer.json()["choices"][0]["message"]["content"],
        "in pieces"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_answered_whole_is_answered_whole() {
    let world = World::new();
    let answer = world.send(chat(json!({"stream": true}))).await;
    assert_eq!((answer.status, answer.is_stream), (200, false));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "hello");
    assert_eq!(world.record().await.usage.total_tokens, 15);
}
