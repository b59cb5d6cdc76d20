//! Events on their way to log sinks: what is in them, what is not, and that they arrive.

use serde_json::{Value, json};
use witgate_testkit::{FakeLangfuse, FakeUpstream, Gateway, GatewayBuilder, Reply, openai};

use crate::support::{
    Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat, chat_stream, eventually,
};

fn langfuse(builder: GatewayBuilder, langfuse: &FakeLangfuse) -> GatewayBuilder {
    builder
        .env("LANGFUSE_HOST", langfuse.origin())
        .env("LANGFUSE_PUBLIC_KEY", FakeLangfuse::PUBLIC_KEY)
        .env("LANGFUSE_SECRET_KEY", FakeLangfuse::SECRET_KEY)
}

async fn langfuse_stage(more: &str) -> (Stage, FakeLangfuse) {
    let (upstream, vendor) = (FakeUpstream::start().await, FakeLangfuse::start().await);
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  success_callback: [langfuse]\n  failure_callback: [langfuse]\n"
        + more;
    let gateway = langfuse(Gateway::builder(config), &vendor);
    (Stage::of(upstream, gateway).await, vendor)
}

/// The bodies of the events of one type.
fn bodies(events: &[Value], kind: &str) -> Vec<Value> {
    events
        .iter()
        .filter(|event| event["type"] == kind)
        .map(|event| event["body"].clone())
        .collect()
}

async fn generation(vendor: &FakeLangfuse) -> Value {
    let events = vendor
        .events()
        .wait_until("a generation and its trace", |events| {
            !bodies(events, "generation-create").is_empty()
                && !bodies(events, "trace-create").is_empty()
        })
        .await;
    let generation = bodies(&events, "generation-create").remove(0);
    let traces = bodies(&events, "trace-create");
    assert!(
        traces
            .iter()
            .any(|trace| trace["id"] == generation["traceId"]),
        "no trace of {generation}"
    );
    generation
}

#[tokio::test]
async fn a_call_becomes_a_trace_and_a_generation() {
    let (stage, vendor) = langfuse_stage("").await;
    let mut body = chat("gpt-4o");
    body["metadata"] = json!({"trace_name": "the-trace", "trace_user_id": "user-9", "session_id": "session-3", "tags": ["blue"]});
    stage.client.chat(&body).await.ok();

    let generation = generation(&vendor).await;
    assert_eq!(generation["model"], "gpt-4o", "{generation}");
    assert!(
        generation["output"]
            .to_string()
            .contains(openai::DEFAULT_TEXT),
        "{generation}"
    );
    assert!(
        generation["input"].to_string().contains("Hello!"),
        "{generation}"
    );
    assert!(
        generation
            .to_string()
            .contains(&openai::COMPLETION_TOKENS.to_string()),
        "{generation}"
    );
    let events = vendor.events().all();
    let trace = bodies(&events, "trace-create").remove(0);
    assert_eq!(trace["name"], "the-trace", "{trace}");
    assert_eq!(trace["userId"], "user-9", "{trace}");
    assert_eq!(trace["sessionId"], "session-3", "{trace}");
    assert!(trace["tags"].to_string().contains("blue"), "{trace}");
    let everything = Value::from(events).to_string();
    for secret in [MASTER_KEY, UPSTREAM_KEY, FakeLangfuse::SECRET_KEY] {
        assert!(!everything.contains(secret), "an event holds {secret}");
    }
    let request = vendor.requests().all().remove(0);
    assert_eq!(
        request
            .header("content-type")
            .map(|kind| kind.starts_with("application/json")),
        Some(true)
    );
}

#[tokio::test]
async fn a_stream_becomes_one_generation_with_the_whole_text() {
    let (stage, vendor) = langfuse_stage("").await;
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    let generation = generation(&vendor).await;
    assert!(
        generation["output"]
            .to_string()
            .contains(openai::DEFAULT_TEXT),
        "{generation}"
    );
    assert!(
        generation["completionStartTime"].is_string(),
        "{generation}"
    );
    assert_eq!(bodies(&vendor.events().all(), "generation-create").len(), 1);
}

#[tokio::test]
async fn a_failed_call_is_an_error_with_its_message() {
    let (stage, vendor) = langfuse_stage("").await;
    stage
        .upstream
        .next(Reply::error(429, "tokens", None, "slow down please"));
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    let generation = generation(&vendor).await;
    assert_eq!(generation["level"], "ERROR", "{generation}");
    assert!(
        generation["statusMessage"]
            .as_str()
            .unwrap_or_default()
            .contains("slow down please"),
        "{generation}"
    );
}

/// By default an unknown callback stops the start; `strict_callbacks: false` leaves it out, and the others work.
#[tokio::test]
async fn a_callback_nobody_has_stops_the_start_unless_it_may_be_left_out() {
    let upstream = FakeUpstream::start().await;
    let config = |strict: &str| {
        base_config(&upstream.api_base())
            + "litellm_settings:\n  callbacks: [nobodys-sink]\n  success_callback: [langfuse, other-sink]\n"
            + strict
    };
    let refusal = Gateway::builder(config("")).expect_refusal().await;
    assert!(
        refusal.output.contains("nobodys-sink"),
        "{}",
        refusal.output
    );
    let vendor = FakeLangfuse::start().await;
    let gateway = langfuse(
        Gateway::builder(config("  strict_callbacks: false\n")),
        &vendor,
    );
    let stage = Stage::of(upstream, gateway).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    generation(&vendor).await;
    let log = stage.gateway.logs().all().join("\n");
    for name in ["nobodys-sink", "other-sink"] {
        assert!(log.contains(name), "{name} is told: {log}");
    }
}

#[tokio::test]
async fn messages_are_redacted_before_any_sink_sees_them() {
    let (stage, vendor) = langfuse_stage("  turn_off_message_logging: true\n").await;
    let mut body = chat("gpt-4o");
    body["messages"][0]["content"] = json!("a very private sentence");
    stage.client.chat(&body).await.ok();
    let generation = generation(&vendor).await;
    let everything = Value::from(vendor.events().all()).to_string();
    assert!(!everything.contains("private sentence"), "{everything}");
    assert!(!everything.contains(openai::DEFAULT_TEXT), "{everything}");
    assert!(everything.contains("redacted-by-litellm"), "{generation}");
    assert!(
        generation
            .to_string()
            .contains(&openai::COMPLETION_TOKENS.to_string()),
        "usage must stay: {generation}"
    );
}

#[tokio::test]
async fn error_texts_do_not_repeat_the_messages_where_that_is_not_wanted() {
    for (settings, is_told) in [
        ("", true),
        ("  redact_messages_in_exceptions: true\n", false),
    ] {
        let (stage, vendor) = langfuse_stage(settings).await;
        let mut body = chat("gpt-4o");
        body["messages"][0]["content"] = json!("a very private sentence");
        let text = "cannot answer: a very private sentence";
        let refusal = Reply::error(400, "invalid_request_error", None, text);
        stage.upstream.next(refusal);
        stage.client.chat(&body).await.error(400);
        let generation = generation(&vendor).await;
        let message = generation["statusMessage"].as_str().unwrap_or_default();
        assert!(message.contains("cannot answer"), "{generation}");
        assert_eq!(
            message.contains("private sentence"),
            is_told,
            "{generation}"
        );
    }
}

#[tokio::test]
async fn deliveries_are_repeated_until_the_vendor_takes_them() {
    let (stage, vendor) = langfuse_stage("").await;
    vendor
        .next(Reply::status(500, &[], "broken"))
        .next(Reply::nothing().then_reset());
    vendor.next(Reply::status(429, &[("retry-after", "1")], ""));
    stage.client.chat(&chat("gpt-4o")).await.ok();
    generation(&vendor).await;
    assert!(
        vendor.requests().len() >= 4,
        "{} requests",
        vendor.requests().len()
    );
    assert_eq!(bodies(&vendor.events().all(), "generation-create").len(), 1);
}

#[tokio::test]
async fn what_the_vendor_refuses_for_good_is_dropped_counted_and_holds_up_nothing() {
    let (stage, vendor) = langfuse_stage("").await;
    vendor.refuse("generation-create", 400);
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage
        .gateway
        .metrics_until("a dropped event", |metrics| {
            metrics.text().lines().any(|line| {
                line.starts_with("witgate_events_dropped")
                    && line.contains("langfuse")
                    && !line.ends_with(" 0")
            })
        })
        .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

#[tokio::test]
async fn a_dead_vendor_delays_nobody() {
    let upstream = FakeUpstream::start().await;
    let config =
        base_config(&upstream.api_base()) + "litellm_settings:\n  success_callback: [langfuse]\n";
    let gateway = Gateway::builder(config)
        .env("LANGFUSE_HOST", "http://127.0.0.1:1")
        .env("LANGFUSE_PUBLIC_KEY", "pk")
        .env("LANGFUSE_SECRET_KEY", "sk");
    let stage = Stage::of(upstream, gateway).await;
    for _ in 0..50 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    assert_eq!(stage.gateway.wait_for_spend_rows(50).await.len(), 50);
}

#[tokio::test]
async fn queued_events_are_delivered_before_the_end() {
    let (stage, vendor) = langfuse_stage("").await;
    for _ in 0..20 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    let Stage { mut gateway, .. } = stage;
    assert!(gateway.stop().await.success());
    assert_eq!(
        bodies(&vendor.events().all(), "generation-create").len(),
        20
    );
}

#[tokio::test]
async fn many_events_travel_in_few_requests() {
    let (stage, vendor) = langfuse_stage("").await;
    for _ in 0..60 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    vendor
        .events()
        .wait_until("60 generations", |events| {
            bodies(events, "generation-create").len() >= 60
        })
        .await;
    assert!(
        vendor.requests().len() < 60,
        "{} requests for 60 calls",
        vendor.requests().len()
    );
}

#[tokio::test]
async fn the_jsonl_sink_writes_one_event_a_line_to_the_granted_file() {
    let upstream = FakeUpstream::start().await;
    let builder = Gateway::builder("");
    let file = builder.home().join("events.jsonl");
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  success_callback: [jsonl]\n  failure_callback: [jsonl]\n"
        + &format!(
            "plugins:\n  jsonl:\n    grants: {{files: {{events: '{}'}}}}\n",
            file.display()
        );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage
        .upstream
        .next(Reply::error(500, "server_error", None, "broken"));
    stage.client.chat(&chat("gpt-4o")).await.error(500);
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;

    let text = std::fs::read_to_string(&file).expect("the file was written");
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(events.len(), 2, "{text}");
    assert_eq!(events[0]["status"], "success", "{}", events[0]);
    assert_eq!(events[1]["status"], "failure", "{}", events[1]);
    assert_eq!(events[0]["total_tokens"], 18, "{}", events[0]);
    for secret in [MASTER_KEY, UPSTREAM_KEY] {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn a_file_that_was_not_granted_is_not_written() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  success_callback: [jsonl]\nplugins:\n  jsonl: {settings: {file: events}}\n";
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.gateway.wait_for_log("jsonl").await;
    assert!(!stage.gateway.home().join("events.jsonl").exists());
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_refused_with_everything_tried() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  success_callback: [no_such_sink]\n";
    let refusal = Gateway::builder(config).expect_refusal().await;
    for told in ["no_such_sink", ".wasm"] {
        assert!(
            refusal.output.contains(told),
            "{told} is not in\n{}",
            refusal.output
        );
    }
}

#[tokio::test]
async fn a_caller_may_ask_for_redaction_or_for_no_log_at_all() {
    let (stage, vendor) = langfuse_stage("").await;
    let mut private = chat("gpt-4o");
    private["messages"][0]["content"] = json!("a very private sentence");
    stage
        .client
        .clone()
        .header("x-litellm-enable-message-redaction", "true")
        .chat(&private)
        .await
        .ok();
    generation(&vendor).await;
    let mut unlogged = chat("gpt-4o");
    unlogged["no-log"] = json!(true);
    unlogged["messages"][0]["content"] = json!("a sentence never logged");
    stage.client.chat(&unlogged).await.ok();
    let Stage {
        mut gateway,
        upstream,
        ..
    } = stage;
    gateway.stop().await;
    assert!(upstream.requests().last().json().get("no-log").is_none());
    let everything = Value::from(vendor.events().all()).to_string();
    assert!(!everything.contains("private sentence"), "{everything}");
    assert!(!everything.contains("never logged"), "{everything}");
    assert_eq!(bodies(&vendor.events().all(), "generation-create").len(), 1);
}

/// `litellm_disabled_callbacks` of a key: its calls do not reach those sinks; the request's own list goes before it, and the operator
/// may turn both off.
#[tokio::test]
async fn a_key_may_keep_its_calls_from_a_sink_unless_the_operator_says_no() {
    for (more, expected) in [
        ("", vec!["loud", "of the header"]),
        (
            "  allow_dynamic_callback_disabling: false\n",
            vec!["by its header", "loud", "of the header", "silent"],
        ),
    ] {
        let (stage, vendor) = langfuse_stage(more).await;
        let key = async |metadata: Value| {
            let body = json!({ "metadata": metadata });
            let made = stage.client.post("/key/generate", &body).await.ok();
            Client::of(&stage.gateway).key(made["key"].as_str().unwrap())
        };
        let silent = key(json!({"litellm_disabled_callbacks": ["S3", "LangFuse"]})).await;
        let loud = key(json!({"litellm_disabled_callbacks": "langfuse"})).await;
        let header = "x-litellm-disable-callbacks";
        for (client, text) in [
            (silent.clone(), "silent"),
            (silent.header(header, "datadog"), "of the header"),
            (loud.clone(), "loud"),
            (loud.header(header, "datadog, langfuse"), "by its header"),
        ] {
            let mut body = chat("gpt-4o");
            body["messages"][0]["content"] = json!(text);
            client.chat(&body).await.ok();
        }
        let Stage { mut gateway, .. } = stage;
        gateway.stop().await;
        let told = bodies(&vendor.events().all(), "generation-create");
        let mut told: Vec<String> = told
            .iter()
            .map(|one| one["input"]["messages"][0]["content"].to_string())
            .collect();
        told.sort();
        let expected: Vec<String> = expected
            .iter()
            .map(|text| json!(text).to_string())
            .collect();
        assert_eq!(told, expected, "{more}");
    }
}

#[tokio::test]
async fn wrong_credentials_of_a_vendor_are_told_without_showing_them() {
    let (upstream, vendor) = (FakeUpstream::start().await, FakeLangfuse::start().await);
    let config =
        base_config(&upstream.api_base()) + "litellm_settings:\n  success_callback: [langfuse]\n";
    let gateway = Gateway::builder(config)
        .env("LANGFUSE_HOST", vendor.origin())
        .env("LANGFUSE_PUBLIC_KEY", "pk-wrong")
        .env("LANGFUSE_SECRET_KEY", "sk-wrong-and-secret");
    let stage = Stage::of(upstream, gateway).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    vendor.requests().wait_for(1).await;
    stage.gateway.wait_for_log("langfuse").await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(!gateway.printed("sk-wrong-and-secret"));
}

/// The credentials that ingestion was asked with.
fn credentials(vendor: &FakeLangfuse) -> Vec<String> {
    let all = vendor.requests().all();
    let of = |request: &witgate_testkit::Recorded| {
        let value = request.header("authorization").unwrap_or_default();
        value.to_owned()
    };
    all.iter().map(of).collect()
}

#[tokio::test]
async fn a_team_has_log_sinks_and_credentials_of_its_own() {
    let (upstream, vendor) = (FakeUpstream::start().await, FakeLangfuse::start().await);
    let config = base_config(&upstream.api_base())
        + "litellm_settings:\n  default_team_settings:\n  - team_id: red\n    success_callback: [langfuse]\n\
           callback_settings: {langfuse: {flush_interval: 0.01}}\n";
    let stage = Stage::of(upstream, langfuse(Gateway::builder(config), &vendor)).await;
    let key = async |body: Value| {
        let made = stage.client.post("/key/generate", &body).await.ok();
        Client::of(&stage.gateway).key(made["key"].as_str().unwrap())
    };
    for team in ["red", "blue", "grey"] {
        let body = json!({"team_id": team, "metadata": {}});
        stage.client.post("/team/new", &body).await.ok();
    }
    // Nobody else's calls are logged.
    let own = json!({"callback_name": "langfuse", "callback_type": "success", "callback_vars": {
        "langfuse_public_key": "pk-blue", "langfuse_secret_key": "sk-blue-secret",
    }});
    stage.client.post("/team/blue/callback", &own).await.ok();
    let foreign = json!({"callback_name": "s3"});
    stage
        .client
        .post("/team/blue/callback", &foreign)
        .await
        .error(400);
    let said = |text: &str| {
        let mut body = chat("gpt-4o");
        body["messages"][0]["content"] = json!(text);
        body
    };
    let (red, blue, grey) = (
        key(json!({"team_id": "red"})).await,
        key(json!({"team_id": "blue"})).await,
        key(json!({"team_id": "grey"})).await,
    );
    stage.client.chat(&said("from nobody")).await.ok();
    grey.chat(&said("from grey")).await.ok();
    red.chat(&said("from red")).await.ok();
    let generation = generation(&vendor).await;
    assert!(generation.to_string().contains("from red"), "{generation}");
    // What the request says of the sink does not mix with what the team says.
    let mut mixed = said("from blue");
    mixed["langfuse_public_key"] = json!("pk-client");
    blue.chat(&mixed).await.ok();
    let blues = "Basic cGstYmx1ZTpzay1ibHVlLXNlY3JldA==";
    let sent = vendor
        .requests()
        .wait_until("blue's credentials", |requests| {
            requests
                .iter()
                .any(|one| one.header("authorization") == Some(blues))
        })
        .await;
    let of_blue = sent
        .iter()
        .find(|one| one.header("authorization") == Some(blues));
    let body = of_blue.unwrap().json().to_string();
    assert!(
        body.contains("from blue") && !body.contains("from red"),
        "{body}"
    );
    let none = stage.client.post("/team/red/callback", &own).await;
    none.ok();
    stage
        .client
        .post("/team/red/disable_logging", &json!({}))
        .await
        .ok();
    red.chat(&said("red is silent")).await.ok();
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let everything: String = vendor
        .requests()
        .all()
        .iter()
        .map(|one| one.json().to_string())
        .collect();
    for silent in ["from nobody", "from grey", "red is silent"] {
        assert!(!everything.contains(silent), "{everything}");
    }
    assert!(
        !credentials(&vendor)
            .iter()
            .any(|one| one.contains("cGstY2xpZW50"))
    );
    assert!(!gateway.printed("sk-blue-secret"));
}

#[tokio::test]
async fn a_key_names_sinks_by_an_administrators_hand() {
    let (upstream, vendor) = (FakeUpstream::start().await, FakeLangfuse::start().await);
    // Nobody but the key's own sink is told of its calls.
    let quiet = "general_settings:\n  disable_spend_logs: true\n  disable_spend_updates: true\n";
    let config = base_config(&upstream.api_base()).replace("general_settings:\n", quiet)
        + "litellm_settings:\n  default_team_settings:\n  - team_id: nobody\n    failure_callback: [langfuse]\n\
           callback_settings: {langfuse: {flush_interval: 0.01}}\n";
    let stage = Stage::of(upstream, langfuse(Gateway::builder(config), &vendor)).await;
    let logging = json!({"logging": [{"callback_name": "langfuse", "callback_type": "success", "callback_vars": {
        "langfuse_public_key": FakeLangfuse::PUBLIC_KEY, "langfuse_secret_key": FakeLangfuse::SECRET_KEY,
        "turn_off_message_logging": "true",
    }}]});
    let made = json!({"user_id": "ann", "metadata": logging});
    let made = stage.client.post("/key/generate", &made).await.ok();
    let ann = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    let mut private = chat("gpt-4o");
    private["messages"][0]["content"] = json!("a very private sentence");
    ann.chat(&private).await.ok();
    let generation = generation(&vendor).await;
    assert!(!generation.to_string().contains("private"), "{generation}");
    // Neither does its user see the credentials, nor change them, nor give a key others.
    let info = ann.get("/key/info").await.ok().to_string();
    assert!(!info.contains(FakeLangfuse::SECRET_KEY), "{info}");
    let other = json!({"metadata": {"logging": [{"callback_name": "langfuse"}]}});
    ann.post("/key/generate", &other).await.error(403);
    let change = json!({"key": made["key"], "metadata": {"logging": []}});
    ann.post("/key/update", &change).await.error(403);
    // Nor are they lost with other metadata.
    let change = json!({"key": made["key"], "metadata": {"x": 1}});
    ann.post("/key/update", &change).await.ok();
    let path = format!("/key/info?key={}", made["key"].as_str().unwrap());
    let info = stage.client.get(&path).await.ok().to_string();
    assert!(info.contains(FakeLangfuse::SECRET_KEY), "{info}");
}

/// `audit_log_callbacks`: rows of the audit log, as they are stored, for sinks that take them.
#[tokio::test]
async fn rows_of_the_audit_log_reach_the_sinks_that_are_listed_for_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("audit.jsonl");
    let config = base_config("http://127.0.0.1:1/v1")
        + &format!(
            "litellm_settings: {{store_audit_logs: true, audit_log_callbacks: [jsonl]}}\n\
             callback_settings: {{jsonl: {{flush_interval: 0.01}}}}\n\
             plugins: {{jsonl: {{grants: {{files: {{events: '{}'}}}}}}}}\n",
            file.display()
        );
    let gateway = Gateway::builder(&config).start().await;
    let admin = Client::of(&gateway).key(MASTER_KEY);
    let body = json!({"team_id": "red", "team_alias": "Red"});
    admin.post("/team/new", &body).await.ok();
    admin
        .post("/team/update", &json!({"team_id": "red", "blocked": true}))
        .await
        .ok();
    let told = eventually("two rows are told", async || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let rows = text.lines().map(serde_json::from_str::<Value>);
        let rows: Vec<Value> = rows.collect::<Result<_, _>>().ok()?;
        (rows.len() == 2).then_some(rows)
    })
    .await;
    let mut stored = gateway.rows("LiteLLM_AuditLog", "updated_at").await;
    for row in &mut stored {
        // The file's columns of JSON are text.
        for column in ["before_value", "updated_values"] {
            if let Some(text) = row[column].as_str() {
                row[column] = serde_json::from_str(text).expect("JSON");
            }
        }
    }
    for (told, stored) in told.iter().zip(&stored) {
        for member in ["id", "updated_at", "action", "object_id", "changed_by"] {
            assert_eq!(told[member], stored[member], "{member}: {told}");
        }
        assert_eq!(told["updated_values"], stored["updated_values"]);
    }
    assert_eq!(told[0]["action"], "created");
    assert_eq!(told[1]["table_name"], "LiteLLM_TeamTable");

    let refused = Gateway::builder(config.replace("[jsonl]", "[langfuse]"))
        .env("LANGFUSE_PUBLIC_KEY", "p")
        .env("LANGFUSE_SECRET_KEY", "s")
        .expect_refusal()
        .await;
    let words = "audit_log_callbacks: langfuse takes no rows of the audit log";
    assert!(refused.output.contains(words), "{}", refused.output);

    // Without the rows there is nothing to tell.
    let silent = config.replace("store_audit_logs: true", "store_audit_logs: false");
    let gateway = Gateway::builder(silent).start().await;
    gateway
        .wait_for_log("audit_log_callbacks has no effect")
        .await;
}

/// `LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD`: a line of JSON per call on standard output.
#[tokio::test]
async fn payloads_are_printed_where_the_operator_looks_on() {
    let upstream = FakeUpstream::start().await;
    let config =
        base_config(&upstream.api_base()) + "litellm_settings: {turn_off_message_logging: true}\n";
    let printed = async |value: &str| {
        let gateway = Gateway::builder(&config)
            .env("LITELLM_PRINT_STANDARD_LOGGING_PAYLOAD", value)
            .start()
            .await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        client.chat(&chat("gpt-4o")).await.ok();
        client.chat(&chat("no-such-model-here")).await;
        gateway
    };
    let gateway = printed("1").await;
    let lines = gateway
        .stdout()
        .wait_until("an event", |lines| {
            lines.iter().any(|line| line.starts_with('{'))
        })
        .await;
    let line = lines
        .iter()
        .find(|line| line.starts_with('{'))
        .expect("one");
    let event: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(event["status"], "success", "{event}");
    assert_eq!(event["model_group"], "gpt-4o", "{event}");
    assert!(!line.contains("Hello!"), "{line}");
    // What is printed is redacted as it is for every sink.
    assert!(line.contains("redacted-by-litellm"), "{line}");

    let mut gateway = printed("false").await;
    gateway.stop().await;
    let lines = gateway.stdout().all();
    assert!(!lines.iter().any(|line| line.starts_with('{')), "{lines:?}");
}
