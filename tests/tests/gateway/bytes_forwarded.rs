//! The caller's bytes reach the upstream as they are, but for the edits that must be made.
//!
//! Each case is odd but valid JSON. The expected bytes are made by replacing the model's value in
//! the text, and compared by digest: nothing else may change, not even white space.

use sha2::{Digest, Sha256};
use witgate_testkit::{FakeUpstream, Gateway, Reply, openai};

use crate::support::{MASTER_KEY, Stage};

/// The model's value as it stands in the request, `@` in the bodies below.
const ASKED: &str = "\"fast\"";
/// What the upstream must get in its place.
const SENT: &str = "\"gpt-4o-mini\"";

const BODIES: [(&str, &str); 16] = [
    (
        "plain",
        r#"{"model":@,"messages":[{"role":"user","content":"hi"}]}"#,
    ),
    (
        "model last",
        r#"{"messages":[{"role":"user","content":"hi"}],"model":@}"#,
    ),
    (
        "white space",
        "\n\t{ \"model\" :\r\n @ ,  \"messages\" : [ { \"role\":\"user\" , \"content\" : \"hi\" } ]\n}\n",
    ),
    (
        "big integer",
        r#"{"model":@,"messages":[{"role":"user","content":"hi"}],"seed":123456789012345678901234567890}"#,
    ),
    (
        "big exponent",
        r#"{"model":@,"messages":[{"role":"user","content":"hi"}],"temperature":1e400,"top_p":0.10000000000000000001}"#,
    ),
    (
        "number spelling",
        r#"{"model":@,"messages":[{"role":"user","content":"hi"}],"n":1.0,"x":-0,"y":1E5,"z":0.1e-7}"#,
    ),
    (
        "duplicate unknown keys",
        r#"{"vendor":1,"model":@,"vendor":2,"messages":[{"role":"user","content":"hi"}],"vendor":[3]}"#,
    ),
    (
        "unicode escapes",
        r#"{"model":@,"messages":[{"role":"user","content":"\u0041\u00e9\ud83d\ude00\/\b\f"}]}"#,
    ),
    (
        "raw unicode",
        r#"{"model":@,"messages":[{"role":"user","content":"é😀  "}]}"#,
    ),
    (
        "lone surrogate escape",
        r#"{"model":@,"messages":[{"role":"user","content":"\ud800 alone"}]}"#,
    ),
    (
        "escaped key",
        r#"{"model":@,"messages":[{"role":"user","content":"hi"}],"top\u005fk":5}"#,
    ),
    (
        "field order",
        r#"{"zebra":1,"messages":[{"content":"hi","role":"user"}],"alpha":2,"model":@,"middle":3}"#,
    ),
    (
        "model inside strings",
        r#"{"model":@,"messages":[{"role":"user","content":"{\"model\":\"fast\"}"}],"note":"\"model\":\"fast\""}"#,
    ),
    (
        "nested model keys",
        r#"{"x":{"model":"fast"},"model":@,"messages":[{"role":"user","content":"hi","model":"fast"}]}"#,
    ),
    (
        "nulls and empties",
        r#"{"model":@,"messages":[{"role":"user","content":"hi"}],"a":null,"b":{},"c":[],"d":""}"#,
    ),
    (
        "deep nesting",
        r#"{"model":@,"messages":[{"role":"user","content":"hi"}],"deep":[[[[[[[[[[[[[[[[[[[[{"a":[1]}]]]]]]]]]]]]]]]]]]]]}"#,
    ),
];

async fn stage() -> Stage {
    let upstream = FakeUpstream::start().await;
    // A canned answer: the fake's own parser refuses what some of these bodies hold.
    upstream.always(Reply::json(
        200,
        &openai::chat_completion("gpt-4o-mini", "hi"),
    ));
    let config = format!(
        "model_list:\n  - model_name: fast\n    litellm_params: {{model: openai/gpt-4o-mini, api_base: '{}', api_key: k}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n",
        upstream.api_base()
    );
    Stage::of(upstream, Gateway::builder(config)).await
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[tokio::test]
async fn every_byte_but_the_model_arrives_unchanged() {
    let stage = stage().await;
    for (name, body) in BODIES {
        let answer = stage
            .client
            .post_bytes("/v1/chat/completions", body.replace('@', ASKED))
            .await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let got = stage.upstream.requests().last().body;
        let expected = body.replace('@', SENT);
        assert_eq!(
            digest(&got),
            digest(expected.as_bytes()),
            "{name}:\n got      {}\n expected {expected}",
            String::from_utf8_lossy(&got)
        );
    }
}

#[tokio::test]
async fn a_name_that_needs_no_change_leaves_every_byte() {
    let upstream = FakeUpstream::start().await;
    let stage = Stage::of(
        FakeUpstream::start().await,
        Gateway::builder(crate::support::base_config(&upstream.api_base())),
    )
    .await;
    let body = "{ \"model\": \"gpt-4o\",\n \"seed\": 18446744073709551616, \"messages\": [ {\"role\":\"user\",\"content\":\"x\"} ] }";
    stage
        .client
        .post_bytes("/v1/chat/completions", body)
        .await
        .ok();
    assert_eq!(
        digest(&upstream.requests().last().body),
        digest(body.as_bytes())
    );
}

#[tokio::test]
async fn fields_meant_for_the_gateway_are_cut_out_and_nothing_else() {
    let stage = stage().await;
    let body = r#"{"model":"fast","metadata":{"tags":["a"]},"messages":[{"role":"user","content":"hi"}],"num_retries":1,"seed":99999999999999999999}"#;
    stage
        .client
        .post_bytes("/v1/chat/completions", body)
        .await
        .ok();
    let got = stage.upstream.requests().last();
    let text = String::from_utf8_lossy(&got.body).into_owned();
    assert!(text.contains("99999999999999999999"), "{text}");
    assert!(!text.contains("num_retries"), "{text}");
    assert_eq!(got.json()["messages"][0]["content"], "hi");
}

#[tokio::test]
async fn a_stream_is_asked_for_its_usage_and_nothing_else_changes() {
    let stage = stage().await;
    let body = r#"{"stream":true, "model":"fast", "messages":[{"role":"user","content":"\u00e9"}], "seed":12345678901234567890123}"#;
    let answer = stage.client.post_bytes("/v1/chat/completions", body).await;
    assert_eq!(answer.status, 200);
    let sent = stage.upstream.requests().last();
    assert_eq!(sent.json()["stream_options"]["include_usage"], true);
    let text = String::from_utf8_lossy(&sent.body).into_owned();
    for kept in [
        r#""stream":true, "#,
        r#""messages":[{"role":"user","content":"\u00e9"}], "#,
        r#""seed":12345678901234567890123"#,
    ] {
        assert!(text.contains(kept), "{kept} is not in {text}");
    }
}

#[tokio::test]
async fn the_upstreams_answer_keeps_fields_nobody_knows() {
    let stage = stage().await;
    let mut body = openai::chat_completion("gpt-4o-mini", "hi").to_string();
    body.insert_str(
        1,
        r#""vendor_extra":{"big":123456789012345678901234567890,"e":"\u00e9"},"#,
    );
    stage.upstream.next(Reply::status(
        200,
        &[("content-type", "application/json")],
        body,
    ));
    let answer = stage
        .client
        .post_bytes("/v1/chat/completions", BODIES[0].1.replace('@', ASKED))
        .await;
    let text = answer.text();
    assert!(
        text.contains(r#""vendor_extra":{"big":123456789012345678901234567890,"e":"\u00e9"}"#),
        "{text}"
    );
    assert_eq!(answer.json()["model"], "fast");
}
