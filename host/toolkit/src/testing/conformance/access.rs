//! Kinds that decide who may do what, or keep what others must not see.

use serde_json::{Value, json};
use witgate_plugins::Manifest;

use super::super::case::Exchange;
use super::super::drive::Played;
use super::base::{Base, Probe};
use super::rules::{asked, error, fails, later, no_fault, quiet};

/// A key that nobody gave out.
const STRANGER: &str = "conformance-unknown-key-7d21";
/// The value of a secret that the probes try to store.
const STORED: &str = "conformance-stored-value-91be";

pub(super) fn authenticator(base: &Base) -> Vec<Probe> {
    let stranger = |played: &Played| {
        (played.result["decision"] == "identity")
            .then(|| "it lets in a key that nobody gave out".to_owned())
    };
    let key =
        |key: &str| json!({"api_key": key, "headers": {"authorization": format!("Bearer {key}")}});
    let blind = |played: &Played| {
        let let_in = played.result["decision"] == "identity" && asked(played);
        let_in.then(|| "it lets somebody in without an answer".to_owned())
    };
    vec![
        base.probe("no key", "authenticate", json!({}), quiet(401), stranger),
        base.probe(
            "a key that nobody gave out",
            "authenticate",
            key(STRANGER),
            quiet(401),
            stranger,
        ),
        base.probe(
            "a key of strange characters",
            "authenticate",
            key("\u{1}é\u{1f600} '\"{}%00"),
            quiet(401),
            stranger,
        ),
        base.probe(
            "a key of 16 KB",
            "authenticate",
            key(&"x".repeat(16 << 10)),
            quiet(401),
            stranger,
        ),
        base.probe(
            "no answer of the other side",
            "authenticate",
            key(STRANGER),
            fails(),
            blind,
        ),
        base.probe(
            "500 of the other side",
            "authenticate",
            key(STRANGER),
            quiet(500),
            blind,
        ),
    ]
}

pub(super) fn key_policy(base: &Base) -> Vec<Probe> {
    let ask = |body: Value| json!({"caller": {"user_id": "u1"}, "body": body});
    let blind = |played: &Played| {
        let given = played.result["verdict"] == "allow" && !played.requests.is_empty();
        given.then(|| "it gives a key without an answer".to_owned())
    };
    let probe = |name, body, exchange| base.probe(name, "judge", ask(body), exchange, no_fault);
    vec![
        probe("a request that says nothing", json!({}), quiet(200)),
        probe(
            "wrong types in every member",
            json!({"team_id": 5, "models": "gpt", "metadata": [], "duration": {}, "user_id": false}),
            quiet(200),
        ),
        probe(
            "an alias of strange characters",
            json!({"key_alias": "\u{1}é\u{1f600} '\"{}%00"}),
            quiet(200),
        ),
        probe(
            "metadata of 64 KB",
            json!({"metadata": {"text": "x".repeat(64 << 10)}}),
            quiet(200),
        ),
        base.probe(
            "no answer of the other side",
            "judge",
            ask(json!({})),
            fails(),
            blind,
        ),
        base.probe(
            "500 of the other side",
            "judge",
            ask(json!({})),
            quiet(500),
            blind,
        ),
    ]
}

/// Nobody is let in by an answer that says nothing, and what a person or a provider sends does no harm.
pub(super) fn sso(base: &Base, manifest: &Manifest) -> Vec<Probe> {
    let has = |role: &str| manifest.roles.iter().any(|own| own == role);
    let blind = |played: &Played| {
        let let_in = played.result["who"] == "user" && asked(played);
        let_in.then(|| "it lets somebody in without an answer".to_owned())
    };
    let mut probes = Vec::new();
    if has("provider") {
        let goes = |played: &Played| {
            let url = played.result["url"].as_str().unwrap_or_default();
            let whole = url.contains("state=") && url.contains("redirect_uri=");
            let good = if url.is_empty() {
                !error(played).is_empty()
            } else {
                whole
            };
            (!good).then(|| format!("a login goes nowhere: {}", played.result))
        };
        probes.extend([
            base.probe("a login", "authorize", json!({}), quiet(200), goes),
            base.probe(
                "a login without an answer of the provider",
                "authorize",
                json!({}),
                fails(),
                goes,
            ),
        ]);
        let code = |code: &str| json!({"code": code});
        for (name, input, answer) in [
            ("an empty answer lets nobody in", code("sample"), quiet(200)),
            ("a code that is refused", code("sample"), quiet(400)),
            ("500 of the provider", code("sample"), quiet(500)),
            ("no answer of the provider", code("sample"), fails()),
            ("no code", code(""), quiet(400)),
            (
                "a code of strange characters",
                code("\u{1}é\u{1f600} '\"{}%00&code=x"),
                quiet(400),
            ),
            ("a code of 16 KB", code(&"x".repeat(16 << 10)), quiet(400)),
        ] {
            probes.push(base.probe(name, "exchange", input, answer, blind));
        }
    }
    if has("mapping") {
        let user = json!({"id": "sample", "email": "sample@example.com"});
        for (name, input) in [
            ("a new user", json!({"user": user})),
            (
                "a user without anything but an id",
                json!({"user": {"id": "sample"}}),
            ),
            (
                "a known user",
                json!({"user": user, "known": {"user_id": "sample", "user_role": "internal_user"}}),
            ),
            (
                "a user with strange facts",
                json!({"user": {"id": "\u{202e}é", "email": "@", "extra_fields": {"": [null, {"a": 1}]}}}),
            ),
        ] {
            probes.push(base.probe(name, "map_user", input, quiet(200), no_fault));
        }
    }
    if has("sign-in") {
        let stranger = |played: &Played| {
            (played.result["who"] == "user")
                .then(|| "it lets in a request that says nothing".to_owned())
        };
        probes.push(base.probe(
            "a request that says nothing",
            "sign_in",
            json!({}),
            quiet(401),
            stranger,
        ));
    }
    probes
}

/// That the other side is in trouble is an error, never "there is no such secret": the host keeps that for long. No error
/// holds a value.
pub(super) fn secret_manager(base: &Base) -> Vec<Probe> {
    let name = json!({"name": "CONFORMANCE"});
    let secret = json!({"secret": {"name": "CONFORMANCE", "value": STORED}});
    let rotation =
        json!({"current": "CONFORMANCE", "secret": {"name": "CONFORMANCE_2", "value": STORED}});
    let sure = |played: &Played| {
        let knows = played.result.get("value").is_some() && asked(played);
        knows.then(|| {
            format!(
                "it says {} without having been told; return an error",
                played.result
            )
        })
    };
    let done = |played: &Played| {
        let done = played.result.get("done").is_some() && asked(played);
        done.then(|| "it says that it is done without having been told".to_owned())
    };
    let silent = |played: &Played| {
        let told = played.result.to_string().contains(STORED)
            || played.log.iter().any(|line| line.contains(STORED));
        told.then(|| "an error or a log line holds the value of a secret".to_owned())
    };
    let kept = move |played: &Played| done(played).or_else(|| silent(played));
    let stop = move |played: &Played| sure(played).or_else(|| later(played));
    let probe = |name: &'static str, call: &str, input: &Value, answer: Exchange| {
        base.probe(name, call, input.clone(), answer, no_fault)
    };
    vec![
        probe("a read", "read", &name, quiet(200)),
        base.probe("no answer to a read", "read", name.clone(), fails(), stop),
        base.probe("503 to a read", "read", name.clone(), quiet(503), stop),
        base.probe("429 to a read", "read", name.clone(), quiet(429), stop),
        base.probe("403 to a read", "read", name.clone(), quiet(403), sure),
        probe(
            "a name of strange characters",
            "read",
            &json!({"name": "a b/é?#%00&\u{1f600}"}),
            quiet(200),
        ),
        base.probe(
            "no answer to a write",
            "write",
            secret.clone(),
            fails(),
            kept,
        ),
        base.probe("500 to a write", "write", secret.clone(), quiet(500), kept),
        base.probe("400 to a write", "write", secret, quiet(400), kept),
        base.probe("500 to a delete", "delete", name, quiet(500), done),
        base.probe("403 to a rotation", "rotate", rotation, quiet(403), kept),
        base.probe(
            "the health check without an answer",
            "health",
            Value::Null,
            fails(),
            done,
        ),
    ]
}
