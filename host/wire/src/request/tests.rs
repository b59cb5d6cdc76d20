use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn chat(body: &str) -> RequestView {
    RequestView::parse(
        Endpoint::ChatCompletions,
        Bytes::copy_from_slice(body.as_bytes()),
    )
    .unwrap()
}

fn forwarded(body: &str, forward: &Forward<'_>) -> String {
    String::from_utf8(chat(body).forward_body(forward).to_vec()).unwrap()
}

const TO_B: Forward<'_> = Forward {
    model: Some("b"),
    defaults: &[],
    include_usage: false,
};

#[test]
fn accessors_read_the_callers_words() {
    let r = chat(
        r#"{"model":"a","stream":true,"stream_options":{"include_usage":true},"user":"u","n":3,
        "metadata":{"tags":["x","y"],"guardrails":["ignored"]},"tags":["y","z"],
        "guardrails":["one",{"two":{"extra_body":{"k":1}}}],"num_retries":4,"timeout":"2.5",
        "stream_timeout":0,"mock_response":"hi","fallbacks":["c"],"disable_fallbacks":true,"no-log":true}"#,
    );
    assert_eq!(r.model(), Some("a"));
    assert!(r.stream() && r.include_usage() && r.disable_fallbacks() && r.no_log());
    assert_eq!(r.user().unwrap(), "u");
    assert_eq!(r.n(), 3);
    assert_eq!(r.tags(), ["y", "z", "x"]);
    assert_eq!(r.guardrails(), ["one", "two"]);
    assert_eq!(
        r.guardrail_params("two").unwrap().text(),
        r#"{"extra_body":{"k":1}}"#
    );
    assert_eq!(r.num_retries(), Some(4));
    assert_eq!((r.timeout_s(), r.stream_timeout_s()), (Some(2.5), None));
    assert_eq!(r.mock_response().unwrap().as_str().unwrap(), "hi");
    assert_eq!(r.fallbacks().unwrap().text(), r#"["c"]"#);
}

#[test]
fn absent_null_and_wrong_types_read_as_not_given() {
    for body in [
        "{}",
        r#"{"model":null,"stream":null,"user":null,"n":null,"tags":null,"metadata":[]}"#,
        r#"{"model":3,"stream":"yes","n":"2","tags":"x","fallbacks":{},"num_retries":-1,"timeout":"soon"}"#,
    ] {
        let r = chat(body);
        assert_eq!(
            (r.model(), r.stream(), r.n(), r.timeout_s()),
            (None, false, 1, None),
            "{body}"
        );
        assert!(r.tags().is_empty() && r.metadata().is_none() && r.fallbacks().is_none());
        assert_eq!(r.num_retries(), None);
    }
    let empty = RequestView::parse(Endpoint::Embeddings, Bytes::new()).unwrap();
    assert_eq!(empty.bytes(), "{}");
    assert_eq!(chat(r#"{"model":"\u0061/b"}"#).model(), Some("a/b"));
    assert_eq!(chat(r#"{"user":17}"#).user().unwrap(), "17");
}

/// One row: what came in, what goes out to model `b`.
#[test]
fn forwarding_table() {
    let rows = [
        (
            r#"{"model":"a","messages":[]}"#,
            r#"{"model":"b","messages":[]}"#,
        ),
        (
            r#"{ "messages" : [] , "model":"a" }"#,
            r#"{ "messages" : [] , "model":"b" }"#,
        ),
        ("{}", r#"{"model":"b"}"#),
        (
            r#"{"model":"a","metadata":{"x":1},"tags":[],"n":1}"#,
            r#"{"model":"b","n":1}"#,
        ),
        (
            r#"{"api_key":"sk-1","model":"a","litellm_call_id":"c"}"#,
            r#"{"model":"b"}"#,
        ),
        (r#"{"tags":[],"timeout":1}"#, r#"{"model":"b"}"#),
        (r#"{"model":"x","model":"a"}"#, r#"{"model":"b"}"#),
        (
            r#"{"messages":[1],"model":"a","messages":[2]}"#,
            r#"{"model":"b","messages":[2]}"#,
        ),
        (
            r#"{"own":1,"model":"a","own":2}"#,
            r#"{"own":1,"model":"b","own":2}"#,
        ),
        (
            r#"{"model":"a","extra_body":{"top_k":5,"model":"no","tags":[]}}"#,
            r#"{"model":"b","top_k":5}"#,
        ),
        (
            r#"{"model":"a","top_k":1,"extra_body":{"top_k":5}}"#,
            r#"{"model":"b","top_k":5}"#,
        ),
        (
            r#"{"model":"a","seed":1,"additional_drop_params":["seed"]}"#,
            r#"{"model":"b"}"#,
        ),
        // What guardrails have judged cannot be replaced behind their back.
        (
            r#"{"messages":[1],"extra_body":{"messages":[2],"stream":true},"additional_drop_params":["messages"]}"#,
            r#"{"messages":[1],"model":"b"}"#,
        ),
        (r#"{"model":"a","\u0074ags":1}"#, r#"{"model":"b"}"#),
    ];
    for (before, after) in rows {
        assert_eq!(forwarded(before, &TO_B), after, "{before}");
    }
}

#[test]
fn defaults_are_set_only_where_the_caller_gave_nothing() {
    let defaults = [("temperature", "0.5"), ("top_p", "1")];
    let forward = Forward {
        defaults: &defaults,
        ..TO_B
    };
    assert_eq!(
        forwarded(r#"{"model":"a","temperature":0}"#, &forward),
        r#"{"model":"b","temperature":0,"top_p":1}"#
    );
    assert_eq!(
        forwarded(r#"{"model":"a","temperature":null}"#, &forward),
        r#"{"model":"b","temperature":0.5,"top_p":1}"#
    );
    let dropped = r#"{"model":"a","additional_drop_params":["top_p","temperature"]}"#;
    assert_eq!(forwarded(dropped, &forward), r#"{"model":"b"}"#);
}

#[test]
fn usage_is_asked_for_only_of_streams() {
    let forward = Forward {
        include_usage: true,
        ..TO_B
    };
    let rows = [
        (r#"{"model":"a"}"#, r#"{"model":"b"}"#),
        (
            r#"{"model":"a","stream":false}"#,
            r#"{"model":"b","stream":false}"#,
        ),
        (
            r#"{"model":"a","stream":true}"#,
            r#"{"model":"b","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":false,"x":[1]},"model":"a","stream":true}"#,
            r#"{"stream_options":{"x":[1],"include_usage":true},"model":"b","stream":true}"#,
        ),
        (
            r#"{"stream_options":null,"stream":true,"model":"a"}"#,
            r#"{"stream_options":{"include_usage":true},"stream":true,"model":"b"}"#,
        ),
        (
            r#"{"stream_options": {"include_usage" : true},"stream":true,"model":"a"}"#,
            r#"{"stream_options": {"include_usage" : true},"stream":true,"model":"b"}"#,
        ),
    ];
    for (before, after) in rows {
        assert_eq!(forwarded(before, &forward), after, "{before}");
    }
}

#[test]
fn edits_make_a_new_request() {
    let r = chat(r#"{"model":"a","messages":[{"role":"user","content":"key sk-1"}]}"#);
    let mut edits = Edits::new();
    edits.set_pointer_string("/messages/0/content", "key [REDACTED]");
    let r = r.with_edits(&edits).unwrap();
    assert_eq!(
        r.bytes(),
        r#"{"model":"a","messages":[{"role":"user","content":"key [REDACTED]"}]}"#
    );
    let mut bad = Edits::new();
    bad.set("messages", "{not json");
    assert!(matches!(r.with_edits(&bad), Err(EditRequestError::Body(_))));
}

fn field() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        "x_[a-c]",
        Just("model".into()),
        Just("metadata".into()),
        Just("stream".into()),
        Just("timeout".into()),
        Just("user".into()),
        Just("stream_options".into()),
        Just("temperature".into()),
    ];
    let json = prop_oneof![
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("18446744073709551617".to_owned()),
        Just("1.10".to_owned()),
        Just("\"\\u00e9\\/\"".to_owned()),
        Just("{\"k\":[1, 2],\"k\":{}}".to_owned()),
    ];
    (name, json)
}

proptest! {
    #[test]
    fn whatever_is_forwarded_unknown_fields_stay_byte_equal(
        fields in prop::collection::vec(field(), 0..10), pad in "[ \n]{0,2}", usage in any::<bool>(),
    ) {
        let members: Vec<String> =
            fields.iter().map(|(k, v)| format!("{pad}\"{k}\"{pad}:{v}{pad}")).collect();
        let before = format!("{{{}}}", members.join(","));
        let forward = Forward { model: Some("b"), defaults: &[("temperature", "1")], include_usage: usage };
        let after = forwarded(&before, &forward);
        let after = Object::scan(&Bytes::from(after)).unwrap();
        let unknown = |o: &Object| -> Vec<(String, String)> {
            o.iter().filter(|(k, _)| k.starts_with("x_")).map(|(k, v)| (k.into(), v.text().into())).collect()
        };
        prop_assert_eq!(unknown(&Object::scan(&Bytes::from(before)).unwrap()), unknown(&after));
        prop_assert_eq!(after.get("model").unwrap().text(), "\"b\"");
        prop_assert!(!after.contains("metadata") && !after.contains("timeout"));
        prop_assert!(after.given("temperature").is_some());
        for known in ["model", "stream", "user", "stream_options"] {
            prop_assert!(after.iter().filter(|(k, _)| *k == known).count() <= 1);
        }
        let streams = after.get("stream").is_some_and(|v| v.as_bool() == Some(true));
        let asks = after.get("stream_options").is_some_and(|o| o.get("include_usage").is_some());
        prop_assert_eq!(asks, streams && usage);
    }
}
