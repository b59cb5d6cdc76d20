//! Where secrets lie, and what answers mean, without a host.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use hashicorp_vault::answer::{Doing, done, lease_in, value_in};
use hashicorp_vault::place::{Place, Settings};
use witgate_plugin::Error;
use witgate_plugin::http::Response;

fn settings(json: &str) -> Settings {
    serde_json::from_str(json).unwrap()
}

fn answer(status: u16, body: &str) -> Response {
    Response::new(status, Vec::new(), body.as_bytes().to_vec())
}

#[test]
fn a_path_is_namespace_mount_prefix_and_name() {
    let plain = settings(r#"{"address": "https://v"}"#);
    let full = settings(
        r#"{"address": "https://v/", "namespace": "/a/b/", "mount_name": "kv", "path_prefix": "x/"}"#,
    );
    let other = settings(r#"{"address": "https://v", "namespace": "a", "secret_namespace": "b"}"#);
    let place: Place = serde_json::from_str(r#"{"mount": "m", "path_prefix": ""}"#).unwrap();
    let nowhere = Place::default();
    for (settings, name, place, expected) in [
        (&plain, "KEY", &nowhere, "secret/data/KEY"),
        (&full, "t/KEY", &nowhere, "a/b/kv/data/x/t/KEY"),
        (&full, "K?#%é", &place, "a/b/m/data/K%3F%23%25%C3%A9"),
        (&other, "KEY", &nowhere, "b/secret/data/KEY"),
    ] {
        assert_eq!(settings.path(name, place).unwrap(), expected);
    }
    assert_eq!(full.url("sys"), "https://v/v1/sys");
    assert_eq!(other.namespace_of_login(), Some("a"));
    for bad in ["..", "a/../b", "."] {
        assert!(plain.path(bad, &nowhere).is_err(), "{bad}");
    }
}

#[test]
fn values_are_texts_and_other_values_their_json() {
    let of = |body: &str| value_in(&answer(200, body), "p", "key");
    let text = |value: &str| Some(value.to_owned());
    assert_eq!(of(r#"{"data":{"data":{"key":"v"}}}"#).unwrap(), text("v"));
    assert_eq!(of(r#"{"data":{"data":{"key":7}}}"#).unwrap(), text("7"));
    assert_eq!(
        of(r#"{"data":{"data":{"key":{"a":1}}}}"#).unwrap(),
        text(r#"{"a":1}"#)
    );
    assert_eq!(of(r#"{"data":{"data":null}}"#).unwrap(), None);
    assert_eq!(of(r#"{"data":{"data":{"key":null}}}"#).unwrap(), None);
    let error = of(r#"{"data":{"data":"hush"}}"#).unwrap_err();
    assert!(matches!(&error, Error::Failed(text) if !text.contains("hush")));
    let error = of(r#"{"data":{"data":{"other":"hush"}}}"#).unwrap_err();
    assert!(error.text().contains("other") && !error.text().contains("hush"));
}

#[test]
fn an_answer_says_whether_to_ask_again() {
    let kind = |status, doing| match done(&answer(status, r#"{"errors":["why"]}"#), doing, "p") {
        Ok(()) => "done",
        Err(Error::Unavailable(_)) => "unavailable",
        Err(Error::InvalidSettings(_)) => "settings",
        Err(_) => "failed",
    };
    for (status, doing, expected) in [
        (204, Doing::Delete, "done"),
        (400, Doing::Write, "failed"),
        (403, Doing::Read, "failed"),
        (403, Doing::LogIn, "settings"),
        (400, Doing::LogIn, "settings"),
        (404, Doing::LogIn, "settings"),
        (307, Doing::Read, "failed"),
        (429, Doing::Read, "unavailable"),
        (429, Doing::LogIn, "unavailable"),
        (503, Doing::LogIn, "unavailable"),
        (500, Doing::Write, "unavailable"),
    ] {
        assert_eq!(kind(status, doing), expected, "{status} {doing:?}");
    }
}

#[test]
fn a_login_without_a_token_is_an_error_that_shows_none() {
    let lease = lease_in(
        &answer(200, r#"{"auth":{"client_token":"t","lease_duration":9}}"#),
        "p",
    );
    let lease = lease.unwrap();
    assert_eq!(
        (lease.client_token.as_str(), lease.lease_duration),
        ("t", 9)
    );
    for body in [
        r#"{"auth":null}"#,
        "{}",
        "<html>",
        r#"{"auth":{"client_token":""}}"#,
    ] {
        assert!(lease_in(&answer(200, body), "p").is_err(), "{body}");
    }
}
