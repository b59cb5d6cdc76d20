//! `enable_json_schema_validation`: answers that break the schema they were asked for.

use serde_json::{Value, json};
use witgate_testkit::{FakeUpstream, Gateway, Reply};

use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, chat};

/// Two groups of one deployment each, the second a fallback of the first.
async fn stage(litellm: &str) -> (Stage, FakeUpstream) {
    let (first, second) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let model = |name: &str, upstream: &FakeUpstream| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}}}\n",
            upstream.api_base()
        )
    };
    let config = format!(
        "model_list:\n{}{}\
         router_settings: {{num_retries: 1, fallbacks: [{{first: [second]}}]}}\n\
         litellm_settings: {{{litellm}}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n",
        model("first", &first),
        model("second", &second)
    );
    (Stage::of(first, Gateway::builder(config)).await, second)
}

fn request(model: &str) -> Value {
    let mut body = chat(model);
    body["response_format"] = json!({"type": "json_schema", "json_schema": {
        "name": "person", "strict": true,
        "schema": {
            "type": "object", "required": ["name"], "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        },
    }});
    body
}

const GOOD: &str = r#"{"name": "Ann", "age": 3}"#;
const BAD: &str = r#"{"name": "Ann", "age": "three"}"#;

#[tokio::test]
async fn answers_that_break_their_schema_are_failures() {
    let (stage, second) = stage("enable_json_schema_validation: true").await;
    stage.upstream.always(Reply::says(BAD));
    second.always(Reply::says(BAD));
    let answer = stage.client.chat(&request("second")).await;
    let error = answer.error(500);
    let message = error["message"].as_str().expect("a message");
    assert!(
        message.contains("litellm.JSONSchemaValidationError"),
        "{message}"
    );
    assert!(
        message.contains("the answer's /age is not of type integer"),
        "{message}"
    );
    assert!(!message.contains("three"), "{message}");
    // A first try and another.
    assert_eq!(second.requests().len(), 2);

    // Another try of the same, then another group.
    second.always(Reply::says(GOOD));
    let answer = stage.client.chat(&request("first")).await.ok();
    assert_eq!(answer["choices"][0]["message"]["content"], GOOD);
    assert_eq!(stage.upstream.requests().len(), 2);
    // The switch is the gateway's.
    let sent = stage.upstream.requests().all().remove(0);
    let sent: Value = serde_json::from_slice(&sent.body).expect("JSON");
    assert!(sent["response_format"]["json_schema"].is_object(), "{sent}");

    let prose = Reply::says("Her name is Ann.");
    second.always(prose);
    let error = stage.client.chat(&request("second")).await.error(500);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains(": the answer is not JSON")),
        "{error}"
    );

    // What was not asked for is not checked, and neither is a stream.
    let asked = second.requests().len();
    stage.client.chat(&chat("second")).await.ok();
    let mut unchecked = request("second");
    unchecked["enable_json_schema_validation"] = json!(false);
    stage.client.chat(&unchecked).await.ok();
    assert_eq!(second.requests().len(), asked + 2);
    let sent = second.requests().all().pop().expect("a request");
    assert!(
        !String::from_utf8_lossy(&sent.body).contains("enable_json"),
        "{:?}",
        sent.body
    );

    // A schema that nobody can judge is the caller's fault, whatever the model says.
    let mut odd = request("second");
    odd["response_format"]["json_schema"]["schema"] = json!({"$ref": "https://example.com/s"});
    second.always(Reply::says(GOOD));
    let error = stage.client.chat(&odd).await.error(400);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("cannot be checked")),
        "{error}"
    );
    assert_eq!(second.requests().len(), asked + 3);
}

#[tokio::test]
async fn without_the_switch_a_request_may_ask_for_the_check_itself() {
    let (stage, second) = stage("drop_params: false").await;
    second.always(Reply::says(BAD));
    let answer = stage.client.chat(&request("second")).await.ok();
    assert_eq!(answer["choices"][0]["message"]["content"], BAD);
    let mut asked = request("second");
    asked["enable_json_schema_validation"] = json!(true);
    stage.client.chat(&asked).await.error(500);
}
