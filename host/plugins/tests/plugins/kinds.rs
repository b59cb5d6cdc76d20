//! Each kind of plugin, with a component that ships.

use std::sync::Arc;

use serde_json::{Value, json};
use witgate_plugins::{
    AuthRequest, Decision, Edit, Event, EventKind, Fault, Kind, Outcome, PluginError, Verdict,
};
use witgate_testkit::{Recorder, Reply};

use crate::support::{body, call, check, guardrail, load, spec, stage};

/// A key as AWS makes them.
const AWS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";

#[tokio::test]
async fn a_guardrail_edits_what_it_finds_and_reads_only_the_texts() {
    let guardrail = guardrail("kinds-mask", "hide_secrets", json!({})).await;
    let body = body(&format!("my key is {AWS_KEY}, keep it"));
    let verdict = guardrail
        .check(call(witgate_plugins::Phase::PreCall), body.clone())
        .await
        .unwrap();
    let Verdict::Edit { edits, findings } = verdict else {
        panic!("{verdict:?}");
    };
    let [Edit::Text { pointer, text }] = edits.as_slice() else {
        panic!("{edits:?}");
    };
    assert_eq!(pointer, "/messages/0/content");
    assert!(
        !text.contains(AWS_KEY) && text.starts_with("my key is "),
        "{text}"
    );
    assert_eq!(findings.iter().map(|finding| finding.count).sum::<u32>(), 1);
    assert_eq!(*body.reads.lock(), ["texts"]);
    assert!(matches!(
        check(&guardrail, "hello").await.unwrap(),
        Verdict::Allow
    ));
}

#[tokio::test]
async fn a_guardrail_blocks() {
    let guardrail = guardrail("kinds-block", "hide-secrets", json!({"action": "block"})).await;
    match check(&guardrail, AWS_KEY).await.unwrap() {
        Verdict::Block(block) => {
            assert_eq!(block.status, 400);
            assert!(!block.message.contains(AWS_KEY));
        }
        other => panic!("{other:?}"),
    }
}

fn event(payload: &str) -> Event<'_> {
    Event {
        id: "e1",
        kind: EventKind::Success,
        payload,
        context: "{}",
    }
}

#[tokio::test]
async fn a_log_sink_appends_to_the_file_that_was_granted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut spec = spec("kinds-jsonl", "jsonl", Kind::LogSink, json!({}));
    spec.grants.files.insert("events".to_owned(), path.clone());
    let registry = load(spec).await.unwrap();
    let sink = registry.log_sink("kinds-jsonl").unwrap();
    for number in 0..3 {
        let payload = json!({"id": "e1", "number": number}).to_string();
        assert_eq!(
            sink.deliver(&[event(&payload), event(&payload)])
                .await
                .unwrap(),
            Outcome::Delivered
        );
    }
    let lines = std::fs::read_to_string(&path).unwrap();
    let numbers: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].clone())
        .collect();
    assert_eq!(
        numbers,
        [json!(0), json!(0), json!(1), json!(1), json!(2), json!(2)]
    );
    let row = &registry.describe()[0];
    assert_eq!(row.files, [format!("events={}", path.display())]);
    assert_eq!(row.state, "ready");
}

#[tokio::test]
async fn a_file_that_was_not_granted_is_refused_with_the_line_that_grants_it() {
    let registry = load(spec("kinds-nofile", "jsonl", Kind::LogSink, json!({}))).await;
    // The plugin may notice when it checks its settings or when it writes.
    let error = match registry {
        Err(error) => error.reason,
        Ok(registry) => {
            let sink = registry.log_sink("kinds-nofile").unwrap();
            format!("{:?}", sink.deliver(&[event("{}")]).await)
        }
    };
    assert!(
        error.contains("plugins.kinds-nofile.grants.files.events"),
        "{error}"
    );
    assert!(
        stage().count(
            "witgate_plugin_denials_total",
            &[("plugin", "kinds-nofile"), ("kind", "file")]
        ) >= 1.0
    );
}

#[tokio::test]
async fn a_log_sink_sends_with_a_secret_that_it_never_sees() {
    let reply = Reply::json(
        207,
        &json!({"successes": [{"id": "x", "status": 201}], "errors": []}),
    );
    let langfuse = Recorder::start(reply).await;
    let mut spec = spec(
        "kinds-langfuse",
        "langfuse",
        Kind::LogSink,
        json!({"host": langfuse.origin()}),
    );
    spec.env = Arc::new(|name: &str| match name {
        "LANGFUSE_PUBLIC_KEY" => Some("pk-lf-1".to_owned()),
        "LANGFUSE_SECRET_KEY" => Some("sk-lf-2".to_owned()),
        _ => None,
    });
    assert!(!format!("{spec:?}").contains("sk-lf-2"));
    let registry = load(spec).await.unwrap();
    let sink = registry.log_sink("kinds-langfuse").unwrap();
    let payload = json!({
        "id": "e1", "call_type": "acompletion", "model": "gpt-4o", "status": "success",
        "startTime": 1.0, "endTime": 2.0, "completionStartTime": 1.5, "messages": [], "response": {},
        "metadata": {}, "total_tokens": 3, "prompt_tokens": 1, "completion_tokens": 2, "response_cost": 0.1,
    })
    .to_string();
    let outcome = sink.deliver(&[event(&payload)]).await.unwrap();
    assert_eq!(outcome, Outcome::Delivered);
    let sent = langfuse.requests().last();
    // base64("pk-lf-1:sk-lf-2")
    assert_eq!(
        sent.header("authorization"),
        Some("Basic cGstbGYtMTpzay1sZi0y")
    );
    let row = &registry.describe()[0];
    assert!(row.egress.contains(&langfuse.origin()), "{:?}", row.egress);
    assert!(
        row.secrets.contains(&"secret_key".to_owned()),
        "{:?}",
        row.secrets
    );
}

#[tokio::test]
async fn a_setting_that_is_missing_is_named_with_its_variable() {
    let error = load(spec("kinds-nokey", "langfuse", Kind::LogSink, json!({})))
        .await
        .unwrap_err();
    assert!(error.reason.contains("LANGFUSE_PUBLIC_KEY"), "{error}");
    assert!(error.reason.contains("LANGFUSE_SECRET_KEY"), "{error}");
}

#[tokio::test]
async fn an_authenticator_decides() {
    let settings = json!({"teams": {"red": {"token": "team-red-secret", "models": ["fast"], "max_budget": 5.0}}});
    let registry = load(spec(
        "kinds-auth",
        "custom-auth",
        Kind::Authenticator,
        settings,
    ))
    .await
    .unwrap();
    let auth = registry.authenticator("kinds-auth").unwrap();
    let decide = |key: &str| {
        auth.authenticate(AuthRequest {
            api_key: key.to_owned(),
            ..AuthRequest::default()
        })
    };
    match decide("team-red-secret").await.unwrap() {
        Decision::Identity(identity) => {
            assert_eq!(identity.team_id.as_deref(), Some("red"));
            assert_eq!(identity.models, ["fast"]);
            assert_eq!(identity.extra, r#"{"max_budget":5.0}"#);
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(decide("team-unknown-1").await.unwrap(), Decision::Deny(denial) if denial.status == 401)
    );
    assert!(matches!(
        decide("sk-1234").await.unwrap(),
        Decision::Decline
    ));
}

#[tokio::test]
async fn settings_that_a_plugin_refuses_are_an_error_at_load() {
    let settings = json!({"teams": {"red": {"token": "short"}}});
    let error = load(spec(
        "kinds-badauth",
        "custom-auth",
        Kind::Authenticator,
        settings,
    ))
    .await
    .unwrap_err();
    assert!(error.reason.contains("teams.red.token"), "{error}");
}

#[tokio::test]
async fn a_plugins_own_error_keeps_its_instance() {
    let guardrail = guardrail("kinds-error", "hostile-ungranted-host", json!({})).await;
    for _ in 0..3 {
        let error = check(&guardrail, "x").await.unwrap_err();
        assert!(
            matches!(error.fault, Fault::Plugin(PluginError::Denied(_))),
            "{error}"
        );
    }
    assert_eq!(
        stage().count(
            "witgate_plugin_instantiations_total",
            &[("plugin", "kinds-error")]
        ),
        1.0
    );
}
