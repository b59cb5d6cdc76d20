use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::Kind;

fn hosts_of(
    egress: &[&str],
    settings: serde_json::Value,
    grants: Option<&[&str]>,
) -> Result<Hosts, LoadError> {
    let manifest = serde_json::from_value(json!({
        "manifest": 1, "name": "p", "version": "1", "kind": "log-sink", "egress": egress,
        "settings": [
            {"name": "host", "default": "https://cloud.example"}, {"name": "none"}, {"name": "site", "default": "eu.example"},
            {"name": "agent"}, {"name": "port", "type": "integer", "default": 8126},
        ],
    }))
    .unwrap();
    let mut spec = PluginSpec::new("mine", "p", Kind::LogSink, Arc::new(|_: &str| None));
    spec.settings = settings.as_object().unwrap().clone();
    spec.grants.egress = grants.map(|list| list.iter().map(|rule| (*rule).to_owned()).collect());
    let settings = Settings::resolve(&manifest, &spec)?;
    hosts(&manifest, &spec, &settings)
}

/// What is allowed and what of it may be private, as one line.
fn line(egress: &[&str], settings: serde_json::Value, grants: Option<&[&str]>) -> String {
    let hosts = hosts_of(egress, settings, grants).unwrap();
    format!("{} | {}", hosts.allow.join(" "), hosts.private.join(" "))
}

#[test]
fn the_manifests_hosts_are_granted_but_never_inside() {
    assert_eq!(
        line(&["https://a.example"], json!({}), None),
        "https://a.example | "
    );
    assert_eq!(
        line(&["http://localhost"], json!({}), None),
        "http://localhost | "
    );
    assert_eq!(
        line(&["{host}"], json!({}), None),
        "https://cloud.example:443 | ",
        "a default is the manifest's"
    );
    assert_eq!(line(&["{none}"], json!({}), None), " | ");
    assert_eq!(
        line(&[], json!({"host": "http://127.0.0.1:9"}), None),
        " | ",
        "not asked for"
    );
}

#[test]
fn an_url_in_a_setting_grants_that_host_and_port_even_inside() {
    let with = |url: &str| line(&["{host}"], json!({ "host": url }), None);
    assert_eq!(
        with("http://127.0.0.1:3000/base"),
        "http://127.0.0.1:3000 | 127.0.0.1"
    );
    assert_eq!(
        with("http://langfuse-web:3000"),
        "http://langfuse-web:3000 | langfuse-web"
    );
    assert_eq!(with("https://[::1]"), "https://[::1]:443 | ::1");
    assert_eq!(
        with("http://169.254.169.254/"),
        "http://169.254.169.254:80 | ",
        "metadata needs more than a mention"
    );
    assert_eq!(
        with("https://x.example"),
        "https://x.example:443 | x.example"
    );
}

#[test]
fn an_address_without_a_scheme_grants_both() {
    assert_eq!(
        line(&["{host}"], json!({"host": "langfuse:3000"}), None),
        "http://langfuse:3000 https://langfuse:3000 | langfuse"
    );
}

#[test]
fn the_operators_grants_cut_the_manifest_down() {
    let both = |wish: &str, grant: &str| {
        let all = line(&[wish], json!({}), Some(&[grant]));
        all.split(" | ").next().unwrap().to_owned()
    };
    let cases = [
        (
            "https://a.example",
            "https://a.example",
            "https://a.example:443",
        ),
        ("https://a.example", "http://a.example", ""),
        ("https://a.example", "b.example", ""),
        ("https://*.example", "a.example", "https://a.example:443"),
        ("https://a.example", "*.example", "https://a.example:443"),
        (
            "https://*.b.example",
            "*.example",
            "https://*.b.example:443",
        ),
        ("https://example", "*.example", ""),
        ("https://notexample", "*.example", ""),
        (
            "https://*:*",
            "https://a.example:8443",
            "https://a.example:8443",
        ),
        (
            "https://a.example:1,2,3",
            "https://a.example:2,3,4",
            "https://a.example:2,3",
        ),
        ("https://a.example:1", "https://a.example:2", ""),
        ("https://1.2.3.4", "*", "https://1.2.3.4:443"),
    ];
    for (wish, grant, expected) in cases {
        assert_eq!(both(wish, grant), expected, "{wish} ∩ {grant}");
    }
}

#[test]
fn a_literal_private_address_among_the_grants_counts() {
    assert_eq!(
        line(&["http://*:*"], json!({}), Some(&["http://127.0.0.1:8080"])),
        "http://127.0.0.1:8080 | 127.0.0.1"
    );
    assert_eq!(
        line(&["http://*:*"], json!({}), Some(&["http://localhost:8080"])),
        "http://localhost:8080 | ",
        "a name does not"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = |settings, grants| {
        hosts_of(&["{host}"], settings, grants)
            .unwrap_err()
            .to_string()
    };
    assert!(
        error(json!({"host": "ftp://cloud.example"}), None)
            .contains("the setting \"host\" is not an http")
    );
    assert!(error(json!({}), Some(&["ftp://x"])).contains("grants.egress"));
}

#[test]
fn settings_may_be_parts_of_a_host() {
    let site = |settings, grants| line(&["https://logs.{site}"], settings, grants);
    assert_eq!(site(json!({}), None), "https://logs.eu.example | ");
    assert_eq!(
        site(json!({"site": "internal"}), None),
        "https://logs.internal | ",
        "a part of a host is not a grant to lead inside"
    );
    assert_eq!(site(json!({}), Some(&["https://*.us.example"])), " | ");
    assert_eq!(line(&["https://logs.{none}"], json!({}), None), " | ");
    assert!(hosts_of(&["https://logs.{site}"], json!({"site": "a/b"}), None).is_err());
    let agent = |settings| line(&["http://{agent}:{port}"], settings, None);
    assert_eq!(agent(json!({})), " | ");
    assert_eq!(
        agent(json!({"agent": "127.0.0.1"})),
        "http://127.0.0.1:8126 | 127.0.0.1",
        "the operator wrote the whole host"
    );
}
