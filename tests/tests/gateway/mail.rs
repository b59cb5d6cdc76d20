//! Alerts by mail: the `email` component and the host's SMTP against a real mail server.

use serde_json::json;
use witgate_testkit::{FakeUpstream, Gateway, PostgresServer, RedisServer, Reply};

use crate::support::mail::{MailServer, PASSWORD, line};
use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat};

impl MailServer {
    /// A gateway that tells of failing calls by mail; `settings` are further ones of the component.
    async fn stage(&self, settings: &str, trusted: bool) -> Stage {
        let upstream = FakeUpstream::start().await;
        let config = format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}}}\n\
             router_settings: {{num_retries: 0}}\n\
             callback_settings: {{email: {{flush_interval: 0.01}}}}\n\
             general_settings: {{master_key: {MASTER_KEY}, alerting: [email]}}\n\
             plugins: {{email: {{settings: {{recipients: [ops@example.com, 'On call <night@example.com>']{settings}}}}}}}\n",
            upstream.api_base()
        );
        let mut builder = Gateway::builder(config)
            .env("SMTP_HOST", "localhost")
            .env("SMTP_PORT", self.port.to_string())
            .env("SMTP_SENDER_EMAIL", "Gateway <gateway@example.com>")
            .env("SMTP_USERNAME", "gateway")
            .env("SMTP_PASSWORD", PASSWORD);
        if trusted {
            builder = builder.env("SSL_CERT_FILE", self.folder.path().join("mail.pem"));
        }
        Stage::of(upstream, builder).await
    }
}

/// Who gets the mail of a test: who is there for tests, also where nobody gets alerts.
#[tokio::test]
async fn mail_is_tried() {
    for recipients in [
        "plugins: {email: {settings: {recipients: [ops@example.com]}}}\n",
        "",
    ] {
        let mut server = MailServer::start("starttls", true).await;
        let upstream = FakeUpstream::start().await;
        let config = format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}}}\n\
             callback_settings: {{email: {{flush_interval: 0.01}}}}\n\
             general_settings: {{master_key: {MASTER_KEY}, alerting: [email]}}\n{recipients}",
            upstream.api_base()
        );
        let builder = Gateway::builder(config)
            .env("SMTP_HOST", "localhost")
            .env("SMTP_PORT", server.port.to_string())
            .env("SMTP_SENDER_EMAIL", "gateway@example.com")
            .env("SMTP_USERNAME", "gateway")
            .env("SMTP_PASSWORD", PASSWORD)
            .env("TEST_EMAIL_ADDRESS", "tester@example.com")
            .env("SSL_CERT_FILE", server.folder.path().join("mail.pem"));
        let stage = Stage::of(upstream, builder).await;
        let told = stage
            .client
            .get("/health/services?service=email")
            .await
            .ok();
        let words = "Mock Email Alert sent, verify Email Alert Received";
        assert_eq!(told["message"], words);
        assert_eq!(server.next().await["login"], true);
        let mail = server.next().await;
        assert_eq!(
            mail["to"],
            serde_json::json!(["tester@example.com"]),
            "{mail}"
        );
        let subject = mail["subject"].as_str().unwrap_or_default();
        assert!(subject.contains("test email alert"), "{mail}");
    }
}

/// A call that fails, which is worth an alert.
async fn fail(stage: &Stage) {
    stage.upstream.next(Reply::error(
        500,
        "server_error",
        None,
        "the model is on fire <b>",
    ));
    assert_eq!(stage.client.chat(&chat("gpt-4o")).await.status, 500);
}

#[tokio::test]
async fn a_failing_upstream_is_told_by_mail() {
    for (mode, settings) in [
        ("starttls", ""),
        ("tls", ", smtp_use_ssl: 'True'"),
        ("plain", ", smtp_tls: 'False'"),
    ] {
        let mut server = MailServer::start(mode, true).await;
        let stage = server.stage(settings, true).await;
        fail(&stage).await;
        assert_eq!(server.next().await["login"], true, "{mode}");
        let mail = server.next().await;
        assert_eq!(mail["encrypted"], mode != "plain", "{mail}");
        assert_eq!(mail["from"], "gateway@example.com", "{mail}");
        assert_eq!(mail["sender"], "Gateway <gateway@example.com>", "{mail}");
        assert_eq!(mail["to"][0], "ops@example.com", "{mail}");
        assert_eq!(mail["to"][1], "night@example.com", "{mail}");
        let text = |name: &str| mail[name].as_str().unwrap_or_default();
        assert!(text("subject").starts_with("LiteLLM: "), "{mail}");
        assert!(text("text").contains("the model is on fire <b>"), "{mail}");
        assert!(text("text").contains("Request Model: gpt-4o"), "{mail}");
        assert!(text("html").contains("on fire &lt;b&gt;"), "{mail}");
        assert!(!stage.gateway.printed(PASSWORD), "{mode}");
    }
}

#[tokio::test]
async fn no_password_goes_to_a_server_that_is_not_the_one_it_claims_to_be() {
    // (what the server does, whether its certificate is trusted, what the log says)
    for (mode, trusted, said) in [
        ("starttls", false, "certificate"),
        ("plain", true, "STARTTLS is not supported"),
    ] {
        let mut server = MailServer::start(mode, true).await;
        let stage = server.stage("", trusted).await;
        fail(&stage).await;
        let line = stage.gateway.wait_for_log("delivery failed").await;
        assert!(line.contains(said), "{line}");
        assert!(!stage.gateway.printed(PASSWORD), "{mode}");
        drop(stage);
        // Nothing happened there but connections.
        server.process.start_kill().expect("killed");
        let next = server.output.next_line().await.expect("a line");
        assert_eq!(next, None, "{mode}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_refused_recipient_are_told_in_the_log() {
    let mut server = MailServer::start("starttls", true).await;
    let stage = server.stage(", smtp_username: somebody", true).await;
    fail(&stage).await;
    assert_eq!(server.next().await["login"], false);
    let line = stage.gateway.wait_for_log("the mail server refused").await;
    assert!(line.contains("535"), "{line}");

    let server = MailServer::start("starttls", true).await;
    let stage = server
        .stage(", recipients: [nobody@example.com]", true)
        .await;
    fail(&stage).await;
    let line = stage.gateway.wait_for_log("the mail server refused").await;
    assert!(line.contains("550 no such user"), "{line}");
}

impl MailServer {
    /// A gateway that mails letters to users, and nothing else.
    async fn post_office(&self, more: &[(&str, &str)]) -> Stage {
        self.post_office_with("", more).await
    }

    /// The same with further settings of routing, among which Redis is.
    async fn post_office_with(&self, router: &str, more: &[(&str, &str)]) -> Stage {
        let upstream = FakeUpstream::start().await;
        let config = base_config(&upstream.api_base()).replace(
            "general_settings:\n",
            "general_settings:\n  alerting: [email]\n",
        );
        let config = config.replace("num_retries: 0\n", &format!("num_retries: 0\n{router}"))
            + "callback_settings: {email: {flush_interval: 0.01}}\n";
        let mut builder = Gateway::builder(config)
            .env("SMTP_HOST", "localhost")
            .env("SMTP_PORT", self.port.to_string())
            .env("SMTP_SENDER_EMAIL", "gateway@example.com")
            .env("SMTP_TLS", "False")
            .env("PROXY_BASE_URL", "https://gw.example.com");
        for (name, value) in more {
            builder = builder.env(name, *value);
        }
        Stage::of(upstream, builder).await
    }
}

#[tokio::test]
async fn a_new_key_and_an_invitation_come_by_mail_to_their_user_alone() {
    let mut server = MailServer::start("plain", false).await;
    let stage = server
        .post_office(&[("EMAIL_SUBJECT_KEY_CREATED", "Yours: {event_message}")])
        .await;
    let ann = json!({"user_id": "ann", "user_email": "ann@example.com", "auto_create_key": false, "send_invite_email": true});
    stage.client.post("/user/new", &ann).await.ok();
    let mail = server.next().await;
    assert_eq!(mail["to"], json!(["ann@example.com"]), "{mail}");
    assert_eq!(mail["subject"], "LiteLLM: New User Invitation", "{mail}");
    let link = line(&mail, "Choose a password here");
    let id = link.strip_prefix("https://gw.example.com/ui/onboarding?invitation_id=");
    let invitation = format!("/invitation/info?invitation_id={}", id.expect("a link"));
    assert_eq!(stage.client.get(&invitation).await.ok()["user_id"], "ann");
    // Nobody to write to: no mail, and the key is made all the same.
    let nobodys = json!({"send_invite_email": true});
    stage.client.post("/key/generate", &nobodys).await.ok();
    let body =
        json!({"user_id": "ann", "key_alias": "<ci>", "max_budget": 5, "send_invite_email": true});
    let made = stage.client.post("/key/generate", &body).await.ok();
    let mail = server.next().await;
    assert_eq!(mail["to"], json!(["ann@example.com"]), "{mail}");
    assert_eq!(mail["subject"], "Yours: API Key Created", "{mail}");
    assert_eq!(line(&mail, "Key"), made["key"].as_str().expect("a key"));
    assert!(
        mail["html"]
            .as_str()
            .unwrap_or_default()
            .contains("&lt;ci&gt;"),
        "{mail}"
    );
    assert!(
        !stage.gateway.printed(&line(&mail, "Key")),
        "the key is in the log"
    );
}

/// Nobody waits for a day here: the key is due after a second, and looked for every second.
#[tokio::test]
async fn a_key_gets_another_text_by_itself_and_its_user_a_mail() {
    let mut server = MailServer::start("plain", false).await;
    let stage = server
        .post_office(&[
            ("LITELLM_KEY_ROTATION_ENABLED", "true"),
            ("LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS", "1"),
            ("LITELLM_KEY_ROTATION_GRACE_PERIOD", "1h"),
        ])
        .await;
    let ann = json!({"user_id": "ann", "user_email": "ann@example.com", "auto_create_key": false});
    stage.client.post("/user/new", &ann).await.ok();
    let rotates = json!({"auto_rotate": true, "rotation_interval": "1s", "user_id": "ann"});
    let made = stage.client.post("/key/generate", &rotates).await.ok();
    let nobodys = json!({"auto_rotate": true, "rotation_interval": "1s"});
    let nobodys = stage.client.post("/key/generate", &nobodys).await.ok();
    let (old, nobodys) = (
        made["key"].as_str().unwrap(),
        nobodys["key"].as_str().unwrap(),
    );
    let mail = server.next().await;
    assert_eq!(mail["subject"], "LiteLLM: API Key Rotated", "{mail}");
    assert_eq!(mail["to"], json!(["ann@example.com"]), "{mail}");
    let new = line(&mail, "Key");
    assert_ne!(new, old);
    for key in [new.as_str(), old, nobodys] {
        let client = Client::of(&stage.gateway).key(key);
        client.chat(&chat("gpt-4o")).await.ok();
    }
    // It is due again, and the text before is good all the same.
    let again = line(&server.next().await, "Key");
    assert!(again != new && again != old);
    let client = Client::of(&stage.gateway).key(&again);
    let info = client.get("/key/info").await.ok();
    assert!(info["info"]["rotation_count"].as_i64() >= Some(2), "{info}");
    Client::of(&stage.gateway)
        .key(old)
        .chat(&chat("gpt-4o"))
        .await
        .ok();
    stage.gateway.wait_for_log("keep theirs").await;
    for key in [&again, &new] {
        assert!(!stage.gateway.printed(key), "a key is in the log");
    }
}

const HOURS_AGO: &str =
    r#"UPDATE "LiteLLM_VerificationToken" SET key_rotation_at = now() - interval '3 hours'"#;

/// Two gateways on one PostgreSQL, both looking every second: every key that is due gets one new text, and its user one mail.
#[tokio::test]
async fn of_two_gateways_one_rotates_a_key_that_is_due() {
    let mut server = MailServer::start("plain", false).await;
    let postgres = PostgresServer::start().await;
    let url = postgres.url();
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("LITELLM_KEY_ROTATION_ENABLED", "true"),
        ("LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS", "1"),
    ];
    let one = server.post_office(&settings).await;
    let other = server.post_office(&settings).await;
    let ann = json!({"user_id": "ann", "user_email": "ann@example.com", "auto_create_key": false});
    one.client.post("/user/new", &ann).await.ok();
    let mut first = Vec::new();
    for n in 0..20 {
        let body = json!({"auto_rotate": true, "rotation_interval": "30d", "user_id": "ann", "key_alias": format!("k{n}")});
        let made = one.client.post("/key/generate", &body).await.ok();
        first.push(made["key"].as_str().unwrap().to_owned());
    }
    for round in 1..=2 {
        postgres.sql("litellm", HOURS_AGO).await;
        let mut told = Vec::new();
        for _ in 0..20 {
            told.push(line(&server.next().await, "Key"));
        }
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 20, "each text is told once");
        for key in told {
            let client = Client::of(&other.gateway).key(&key);
            let info = client.get("/key/info").await.ok();
            assert_eq!(info["info"]["rotation_count"], round, "{info}");
        }
    }
    for key in first {
        let client = Client::of(&one.gateway).key(&key);
        client.chat(&chat("gpt-4o")).await.error(401);
    }
}

/// The same moment, asked for: one of two gateways gives the key another text, the other one finds the old one gone.
#[tokio::test]
async fn of_two_gateways_that_are_asked_one_rotates_a_key() {
    let server = MailServer::start("plain", false).await;
    let postgres = PostgresServer::start().await;
    let url = postgres.url();
    let settings = [("DATABASE_URL", url.as_str())];
    let one = server.post_office(&settings).await;
    let other = server.post_office(&settings).await;
    for _ in 0..20 {
        let made = one.client.post("/key/generate", &json!({})).await.ok();
        let named = json!({"key": made["key"]});
        let (a, b) = tokio::join!(
            one.client.post("/key/regenerate", &named),
            other.client.post("/key/regenerate", &named),
        );
        let (won, lost) = match a.status {
            200 => (a, b),
            _ => (b, a),
        };
        let key = won.ok()["key"].as_str().unwrap().to_owned();
        assert_eq!(lost.status, 404, "{}", lost.text());
        for stage in [&one, &other] {
            let client = Client::of(&stage.gateway).key(&key);
            client.chat(&chat("gpt-4o")).await.ok();
        }
    }
}

/// On one Redis nobody rotates while another gateway does, for as long as it may have the job.
#[tokio::test]
async fn a_gateway_that_rotates_keys_has_the_job_for_itself() {
    let mut server = MailServer::start("plain", false).await;
    let (postgres, redis) = (PostgresServer::start().await, RedisServer::start().await);
    let router = format!("  redis_url: '{}'\n", redis.url());
    let url = postgres.url();
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("LITELLM_KEY_ROTATION_ENABLED", "true"),
        ("LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS", "1"),
        ("LITELLM_KEY_ROTATION_LOCK_TTL_SECONDS", "7"),
    ];
    let lock = "cronjob_lock:key_rotation_job";
    redis.cli(&["SET", lock, "somebody"]).await;
    let stage = server.post_office_with(&router, &settings).await;
    let ann = json!({"user_id": "ann", "user_email": "ann@example.com", "auto_create_key": false});
    stage.client.post("/user/new", &ann).await.ok();
    let body = json!({"auto_rotate": true, "rotation_interval": "30d", "user_id": "ann"});
    let made = stage.client.post("/key/generate", &body).await.ok();
    postgres.sql("litellm", HOURS_AGO).await;
    let told = "keys are rotated by another gateway now";
    let looked = |times: usize| {
        move |lines: &[String]| lines.iter().filter(|line| line.contains(told)).count() >= times
    };
    // The second look after the key was due has passed it over, too.
    let so_far = stage.gateway.logs().all();
    let so_far = so_far.iter().filter(|line| line.contains(told)).count();
    stage
        .gateway
        .logs()
        .wait_until("two more looks", looked(so_far + 2))
        .await;
    let client = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    client.chat(&chat("gpt-4o")).await.ok();
    // From here on Redis keeps what it is told.
    for (name, value) in [
        ("slowlog-max-len", "100000"),
        ("slowlog-log-slower-than", "0"),
    ] {
        redis.cli(&["CONFIG", "SET", name, value]).await;
    }
    redis.cli(&["DEL", lock]).await;
    let new = line(&server.next().await, "Key");
    let client = Client::of(&stage.gateway).key(&new);
    client.chat(&chat("gpt-4o")).await.ok();
    // It gave the job back.
    crate::support::eventually("nobody has the job", async || {
        let there = redis.cli(&["EXISTS", lock]).await;
        (there.trim() == "0").then_some(())
    })
    .await;
    // Should it die meanwhile, others wait for seven seconds.
    let told = redis.cli(&["SLOWLOG", "GET", "100000"]).await;
    let words: Vec<&str> = told.split_whitespace().collect();
    let taken = words
        .windows(6)
        .any(|of| of.contains(&lock) && of.contains(&"7000"));
    assert!(taken, "{told}");
}
