use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

fn chunk(json: &str) -> ChunkView {
    ChunkView::parse(&Bytes::copy_from_slice(json.as_bytes())).unwrap()
}

fn fold(chunks: &[&str]) -> (Assembled, Value) {
    let mut assembler = StreamAssembler::default();
    chunks.iter().for_each(|c| assembler.push(&chunk(c)));
    let assembled = assembler.finish();
    let response = serde_json::from_str(&assembled.response).unwrap();
    (assembled, response)
}

const CONTENT: &str = r#"{"id":"c-1","object":"chat.completion.chunk","created":7,"model":"up","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel\"lo"},"finish_reason":null}],"usage":null}"#;
const USAGE: &str = r#"{"id":"c-1","model":"up","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;

#[test]
fn a_chunk_is_read() {
    let view = chunk(CONTENT);
    assert_eq!(
        (view.id().unwrap(), view.model().unwrap()),
        ("c-1".into(), "up".into())
    );
    let texts: Vec<_> = view
        .texts()
        .map(|t| (t.choice, t.kind, view.text(&t).into_owned()))
        .collect();
    assert_eq!(texts, [(0, TextKind::Content, "Hel\"lo".to_owned())]);
    assert!(view.has_output() && !view.has_usage() && !view.is_usage_only());
    assert!(!view.choices()[0].is_finished() && view.error().is_none());

    let view = chunk(USAGE);
    assert!(view.is_usage_only() && !view.has_output());
    assert_eq!(view.usage().unwrap().total_tokens, 5);

    let view = chunk(r#"{"choices":[{"index":1,"delta":{},"finish_reason":"stop"}]}"#);
    assert_eq!(view.finish_reason(&view.choices()[0]).unwrap(), "stop");
    assert!(!view.has_output());

    let view = chunk(r#"{"error":{"message":"boom"}}"#);
    assert_eq!(
        view.error()
            .unwrap()
            .get("message")
            .unwrap()
            .as_str()
            .unwrap(),
        "boom"
    );
    assert!(!view.is_usage_only());
}

#[test]
fn odd_chunks_do_not_confuse_it() {
    for odd in [
        r#"{"choices":null}"#,
        r#"{"choices":{}}"#,
        r#"{"choices":[null,3,"x",[]]}"#,
        r#"{"choices":[{"delta":null},{"delta":{"content":[1],"tool_calls":[null,{"function":3}]}}]}"#,
        r#"{"choices":[{"index":-1,"delta":{"content":null,"function_call":null}}]}"#,
    ] {
        let view = chunk(odd);
        assert!(!view.has_output(), "{odd}");
        fold(&[odd]);
    }
    assert!(ChunkView::parse(&Bytes::from_static(b"[DONE]")).is_err());
}

/// One row: a chunk, the change, the chunk after it.
#[test]
fn rewriting_table() {
    let rows = [
        (
            r#"{"model":"up","x":1}"#,
            Some("group"),
            false,
            r#"{"model":"group","x":1}"#,
        ),
        (
            r#"{"x":12345678901234567890}"#,
            Some("group"),
            true,
            r#"{"x":12345678901234567890}"#,
        ),
        (
            r#"{"model":"up","usage":null,"x":1}"#,
            None,
            true,
            r#"{"model":"up","x":1}"#,
        ),
        (
            r#"{"usage":null,"model":"up","usage":{}}"#,
            Some("g"),
            true,
            r#"{"model":"g"}"#,
        ),
        (r#"{ "a":1 , "usage":{} }"#, None, true, r#"{ "a":1 }"#),
        (r#"{"usage":{}}"#, None, true, "{}"),
        (
            r#"{"usage":{},"model":"up"}"#,
            None,
            false,
            r#"{"usage":{},"model":"up"}"#,
        ),
    ];
    for (before, model, drop_usage, after) in rows {
        let rewrite = ChunkRewrite {
            model,
            drop_usage,
            texts: &[],
        };
        assert_eq!(
            chunk(before).rewrite(&rewrite),
            after.as_bytes(),
            "{before}"
        );
        let frame = chunk(before).rewrite_frame(&rewrite);
        let expected = (before != after).then(|| Bytes::from(format!("data: {after}\n\n")));
        assert_eq!(frame, expected, "{before}");
    }
}

#[test]
fn several_texts_are_replaced_in_one_pass() {
    let before = r#"{"choices":[{"delta":{"tool_calls":[{"index":2,"function":{"arguments":"{\"k\":"}}],"content":"one"},"index":0},{"index":1,"delta":{"content":"two"}}],"model":"up"}"#;
    let view = chunk(before);
    let all: Vec<ChunkText> = view.texts().collect();
    assert_eq!(all[1].kind, TextKind::ToolArguments(2));
    let texts: Vec<(ChunkText, &str)> = all.into_iter().zip(["1\n", "args", "2"]).collect();
    let rewrite = ChunkRewrite {
        model: Some("m"),
        drop_usage: true,
        texts: &texts,
    };
    assert_eq!(
        view.rewrite(&rewrite),
        r#"{"choices":[{"delta":{"tool_calls":[{"index":2,"function":{"arguments":"args"}}],"content":"1\n"},"index":0},{"index":1,"delta":{"content":"2"}}],"model":"m"}"#
    );
}

#[test]
fn a_chunk_of_several_lines_stays_one_frame() {
    let view = chunk("{\"model\":\"up\",\n\"x\":1}");
    let frame = view
        .rewrite_frame(&ChunkRewrite {
            model: Some("m"),
            ..Default::default()
        })
        .unwrap();
    assert_eq!(frame, "data: {\"model\":\"m\",\ndata: \"x\":1}\n\n");
}

#[test]
fn a_chat_stream_becomes_a_completion() {
    let (assembled, response) = fold(&[
        CONTENT,
        r#"{"id":"c-1","model":"up","choices":[{"index":0,"delta":{"content":" wörld"},"finish_reason":null}]}"#,
        r#"{"id":"c-1","model":"up","choices":[{"index":1,"delta":{"content":"b","reasoning_content":"why"}}]}"#,
        r#"{"id":"c-1","model":"up","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        USAGE,
    ]);
    assert_eq!(
        response,
        json!({"id":"c-1","object":"chat.completion","created":7,"model":"up","system_fingerprint":"fp",
            "choices":[
              {"index":0,"message":{"role":"assistant","content":"Hel\"lo wörld"},"finish_reason":"stop"},
              {"index":1,"message":{"role":"assistant","content":"b","reasoning_content":"why"},"finish_reason":null}],
            "usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}})
    );
    assert_eq!(assembled.usage.unwrap().prompt_tokens, 3);
    assert_eq!(assembled.finish_reasons, ["stop"]);
    assert_eq!(assembled.text, "Hel\"lo wörldbwhy");
    assert_eq!((assembled.chunks, assembled.truncated), (5, false));
}

#[test]
fn tool_calls_are_merged_by_index() {
    let piece = |call: &str| {
        format!(
            r#"{{"id":"c","choices":[{{"index":0,"delta":{{"content":null,"tool_calls":[{call}]}}}}]}}"#
        )
    };
    let pieces = [
        piece(r#"{"index":0,"id":"t0","type":"function","function":{"name":"f","arguments":""}}"#),
        piece(r#"{"index":1,"id":"t1","type":"function","function":{"name":"g","arguments":"{"}}"#),
        piece(r#"{"index":0,"function":{"arguments":"{\"a\":"}}"#),
        piece(
            r#"{"index":0,"function":{"name":"f","arguments":"1}"}},{"index":1,"function":{"arguments":"}"}}"#,
        ),
    ];
    let (_, response) = fold(&pieces.each_ref().map(String::as_str));
    assert_eq!(
        response["choices"][0]["message"],
        json!({"role":"assistant","content":null,"tool_calls":[
            {"id":"t0","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
            {"id":"t1","type":"function","function":{"name":"g","arguments":"{}"}}]})
    );
}

#[test]
fn text_completions_and_function_calls() {
    let (_, response) = fold(&[
        r#"{"id":"x","choices":[{"index":0,"text":"a"}]}"#,
        r#"{"id":"x","choices":[{"index":0,"text":"b","finish_reason":"length"}]}"#,
    ]);
    assert_eq!(
        response,
        json!({"id":"x","object":"text_completion","choices":[{"index":0,"text":"ab","finish_reason":"length"}]})
    );
    let (_, response) = fold(&[
        r#"{"id":"x","choices":[{"delta":{"function_call":{"name":"f","arguments":"{"}}}]}"#,
        r#"{"id":"x","choices":[{"delta":{"function_call":{"arguments":"}"}}}]}"#,
    ]);
    assert_eq!(
        response["choices"][0]["message"]["function_call"],
        json!({"name":"f","arguments":"{}"})
    );
}

#[test]
fn memory_is_bounded() {
    let mut assembler = StreamAssembler::new(10);
    for _ in 0..5 {
        assembler.push(&chunk(
            r#"{"choices":[{"index":0,"delta":{"content":"éé"}}]}"#,
        ));
    }
    let assembled = assembler.finish();
    assert!(assembled.truncated);
    assert_eq!(assembled.text, "ééééé");

    let mut assembler = StreamAssembler::default();
    for i in 0..100_000 {
        assembler.push(&chunk(&format!(
            r#"{{"choices":[{{"index":{i},"delta":{{}}}}]}}"#
        )));
    }
    let assembled = assembler.finish();
    assert!(assembled.truncated);
    let response: Value = serde_json::from_str(&assembled.response).unwrap();
    assert_eq!(response["choices"].as_array().unwrap().len(), 256);
}
