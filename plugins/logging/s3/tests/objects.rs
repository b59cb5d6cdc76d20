//! Keys, addresses and outcomes.

use s3::config::Settings;
use s3::object::Object;
use s3::outcome::read;
use serde_json::{Value, json};
use witgate_plugin::delivery::Fates;
use witgate_plugin::http::{HttpError, Response};
use witgate_plugin::log_sink::Outcome;

fn settings(own: Value) -> Settings {
    let mut all = json!({"s3_bucket_name": "logs", "s3_region_name": "eu-central-1"});
    for (name, value) in own.as_object().into_iter().flatten() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).expect("settings")
}

fn event() -> Value {
    json!({
        "id": "chatcmpl-1/2:3", "startTime": 1735689599.25, "model": "m",
        "metadata": {"user_api_key_team_alias": "blue", "user_api_key_alias": "my app"},
    })
}

fn key(own: Value, event: &Value) -> String {
    Object::new(&settings(own), &event.to_string())
        .expect("an object")
        .key
}

#[test]
fn keys_are_litellms() {
    let event = event();
    for (own, expected) in [
        (
            json!({}),
            "2024-12-31/time-23-59-59-250000_chatcmpl-1_2_3.json",
        ),
        (
            json!({"s3_path": "a/b/"}),
            "a/b/2024-12-31/time-23-59-59-250000_chatcmpl-1_2_3.json",
        ),
        (
            json!({"s3_path": "a", "s3_use_team_prefix": true, "s3_use_key_prefix": true}),
            "a/blue/my app/2024-12-31/time-23-59-59-250000_chatcmpl-1_2_3.json",
        ),
        (
            json!({"s3_partition_granularity": "hour"}),
            "2024-12-31/23/time-23-59-59-250000_chatcmpl-1_2_3.json",
        ),
    ] {
        assert_eq!(key(own, &event), expected);
    }
    let nobody =
        json!({"id": "x", "startTime": 0.000001, "metadata": {"user_api_key_team_alias": null}});
    assert_eq!(
        key(json!({"s3_use_team_prefix": true}), &nobody),
        "1970-01-01/time-00-00-00-000001_x.json"
    );
}

#[test]
fn the_file_name_fits_into_a_header() {
    let mut event = event();
    event["id"] = json!("a\"b\\c\r\nd é");
    let object = Object::new(&settings(json!({})), &event.to_string()).expect("an object");
    assert_eq!(
        object.file_name,
        "time-2024-12-31T23-59-59-250000_a_b_c__d__.json"
    );
    assert!(Object::new(&settings(json!({})), "nonsense").is_err());
}

#[test]
fn the_bucket_is_in_the_host_or_in_the_path() {
    let url = |own: Value| settings(own).bucket_url().expect("an address");
    assert_eq!(url(json!({})), "https://logs.s3.eu-central-1.amazonaws.com");
    assert_eq!(
        url(json!({"s3_bucket_name": "my.logs"})),
        "https://s3.eu-central-1.amazonaws.com/my.logs"
    );
    assert_eq!(
        url(json!({"s3_endpoint_url": "http://minio:9000/"})),
        "http://minio:9000/logs"
    );
    assert_eq!(
        url(
            json!({"s3_endpoint_url": "https://logs.store.example", "s3_use_virtual_hosted_style": true})
        ),
        "https://logs.store.example"
    );
    let wrong = settings(
        json!({"s3_endpoint_url": "https://store.example", "s3_use_virtual_hosted_style": true}),
    );
    assert!(
        wrong
            .bucket_url()
            .is_err_and(|error| error.text().contains("https://logs.store.example"))
    );
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (own, told) in [
        (json!({"s3_bucket_name": "a/b"}), "s3_bucket_name"),
        (
            json!({"s3_aws_profile_name": "default"}),
            "s3_aws_profile_name",
        ),
        (json!({"s3_verify": false}), "ssl_verify"),
    ] {
        let error = settings(own).check().expect_err("refused");
        assert!(error.text().contains(told), "{error}");
    }
}

#[test]
fn a_role_is_assumed_in_the_region_or_where_told() {
    let role = settings(json!({"s3_aws_role_name": "arn:aws:iam::1:role/r"}))
        .role()
        .expect("a role");
    assert_eq!(role.sts_endpoint, "https://sts.eu-central-1.amazonaws.com");
    assert_eq!(role.session_name, "witgate");
    assert!(settings(json!({"s3_aws_role_name": ""})).role().is_none());
}

/// Why the rest waits, and the outcome of a batch of one.
fn outcome(written: Result<Response, HttpError>) -> (Option<String>, Outcome) {
    let mut fates = Fates::new(1);
    let wait = read(&mut fates, 0, written).expect("no error");
    (wait, fates.outcome())
}

fn answer(status: u16, code: &str) -> Result<Response, HttpError> {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>why</Message></Error>");
    let headers = vec![("retry-after".to_owned(), "3".to_owned())];
    Ok(Response::new(status, headers, body.into_bytes()))
}

#[test]
fn trouble_is_tried_again_and_the_rest_waits() {
    for (status, code) in [
        (500, "InternalError"),
        (503, "SlowDown"),
        (429, "TooManyRequests"),
        (403, "AccessDenied"),
        (400, "ExpiredToken"),
        (409, "OperationAborted"),
    ] {
        let (wait, outcome) = outcome(answer(status, code));
        assert_eq!(wait, Some(format!("status {status}: {code}: why")));
        assert!(
            matches!(outcome, Outcome::Retry(again) if again.after_ms == Some(3000)),
            "{status}"
        );
    }
    let (wait, outcome) = outcome(Err(HttpError::Timeout));
    assert!(wait.is_some() && matches!(outcome, Outcome::Retry(_)));
}

#[test]
fn a_refusal_is_final_for_one_event() {
    for (status, code) in [
        (400, "EntityTooLarge"),
        (400, "InvalidArgument"),
        (404, "NoSuchBucket"),
    ] {
        let (wait, outcome) = outcome(answer(status, code));
        assert_eq!(wait, None);
        assert!(
            matches!(outcome, Outcome::Partial(partial) if partial.rejected[0].reason.contains(code))
        );
    }
    let (wait, outcome) = outcome(Ok(Response::new(200, Vec::new(), Vec::new())));
    assert!(wait.is_none() && matches!(outcome, Outcome::Delivered));
}
