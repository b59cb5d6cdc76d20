//! Credentials and addresses that clients bring: `allow_client_side_credentials`, `configurable_clientside_auth_params`.

use serde_json::{Value, json};
use witgate_testkit::{FakeAnthropic, FakeUpstream, Gateway, Recorded, Reply};

use crate::support::proxy::Proxy;
use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, base_config, chat, chat_stream};

/// A key of a client's that looks like none.
const KEY: &str = "own+key/of=ann";

/// A public address that no test reaches: the proxy leads elsewhere.
const PLACE: &str = "http://1.1.1.1:8080";

const ALLOWED: &str = "general_settings:\n  allow_client_side_credentials: true\n";

/// A model `gpt-4o` whose deployment has more `litellm_params`.
async fn stage(params: &str, general: &str, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    model_info: {{id: one}}\n    \
         litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}{params}}}\n\
         router_settings: {{num_retries: 0}}\n{general}  master_key: {MASTER_KEY}\n{more}",
        upstream.api_base(),
    );
    Stage::of(upstream, Gateway::builder(config)).await
}

/// Everybody may bring everything.
async fn open() -> Stage {
    stage("", ALLOWED, "").await
}

fn with(mut body: Value, own: Value) -> Value {
    for (name, value) in own.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

fn own(own: Value) -> Value {
    with(chat("gpt-4o"), own)
}

/// Head and body of what an upstream got.
fn whole(sent: &Recorded) -> String {
    let body = String::from_utf8_lossy(&sent.body);
    format!("{} {:?} {body}", sent.target, sent.headers)
}

fn authority(origin: &str) -> String {
    origin.replace("http://", "")
}

#[tokio::test]
async fn a_clients_key_takes_the_place_of_the_deployments() {
    let params = ", organization: org-operators, extra_headers: {x-way: in, api-key: of-operators}";
    let general = format!("{ALLOWED}  store_prompts_in_spend_logs: true\n");
    let stage = stage(params, &general, "").await;
    let body = json!({"api_key": KEY, "organization": "org-anns", "api_version": "7"});
    stage.client.chat(&own(body)).await.ok();
    let sent = stage.upstream.requests().last();
    assert_eq!(
        sent.header("authorization"),
        Some(&*format!("Bearer {KEY}"))
    );
    assert_eq!(sent.header("openai-organization"), Some("org-anns"));
    assert_eq!(
        sent.header("x-way"),
        Some("in"),
        "the address is the operator's"
    );
    assert_eq!(
        sent.json(),
        chat("gpt-4o"),
        "nothing of it is left in the body"
    );
    let text = whole(&sent);
    for secret in [UPSTREAM_KEY, "of-operators", "org-operators"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }

    stage.client.chat(&own(json!({"api_key": KEY}))).await.ok();
    let sent = stage.upstream.requests().last();
    assert_eq!(sent.header("openai-organization"), None);
    stage.client.chat(&own(json!({"api_key": null}))).await.ok();
    let sent = stage.upstream.requests().last();
    let operators = format!("Bearer {UPSTREAM_KEY}");
    assert_eq!(sent.header("authorization"), Some(operators.as_str()));

    let rows = stage.gateway.wait_for_spend_rows(3).await;
    let theirs = rows
        .iter()
        .filter(|row| row["model_id"] == "one-clientside");
    assert_eq!(theirs.count(), 2, "{rows:?}");
    for row in &rows {
        assert!(row["spend"].as_f64() > Some(0.0), "it is paid for: {row}");
        assert!(!row.to_string().contains(KEY), "{row}");
    }
    assert!(!stage.gateway.printed(KEY));
}

#[tokio::test]
async fn an_address_of_the_clients_gets_nothing_of_the_operators() {
    let theirs = FakeUpstream::start().await;
    let upstream = FakeUpstream::start().await;
    let mut proxy = Proxy::to(authority(&theirs.origin())).await;
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    \
         litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: {UPSTREAM_KEY}, organization: org-operators, \
         extra_headers: {{x-way: of-operators}}, vendor_secret: of-operators, temperature: 0.5}}\n\
         router_settings: {{num_retries: 0}}\n\
         litellm_settings: {{add_user_information_to_llm_headers: true}}\n\
         {ALLOWED}  master_key: {MASTER_KEY}\n",
        upstream.api_base(),
    );
    let builder = Gateway::builder(config)
        .env("HTTP_PROXY", proxy.address())
        .env("NO_PROXY", authority(&upstream.origin()));
    let stage = Stage::of(upstream, builder).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let usual = whole(&stage.upstream.requests().last());
    for known in ["org-operators", "vendor_secret", "x-litellm-user_api_key_"] {
        assert!(usual.contains(known), "{known} goes to its own: {usual}");
    }

    let base = format!("{PLACE}/v1/?tenant=t-1");
    for name in ["api_base", "base_url"] {
        let body = own(json!({name: base, "api_key": KEY}));
        let answer = stage.client.chat(&body).await;
        answer.ok();
        let told = answer.header("x-litellm-model-api-base");
        assert_eq!(told, Some(&*format!("{PLACE}/v1/")));
        let head = proxy.next().await;
        assert!(head.starts_with("CONNECT 1.1.1.1:8080 "), "{head}");
    }
    let body = with(
        chat_stream("gpt-4o"),
        json!({"api_base": base, "api_key": KEY}),
    );
    let events = stage.client.chat(&body).await.events();
    assert!(events.len() > 2, "{events:?}");
    proxy.next().await;
    assert_eq!(stage.upstream.requests().len(), 1);
    for sent in theirs.requests().all() {
        assert_eq!(sent.target, "/v1/chat/completions?tenant=t-1");
        assert_eq!(
            sent.header("authorization"),
            Some(&*format!("Bearer {KEY}"))
        );
        assert_eq!(sent.json()["temperature"], 0.5);
        let text = whole(&sent);
        for secret in [
            UPSTREAM_KEY,
            "of-operators",
            "org-operators",
            "x-litellm-user_api_key_",
        ] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
    let rows = stage.gateway.wait_for_spend_rows(4).await;
    let at = |row: &Value| row["api_base"].as_str().unwrap_or_default().to_owned();
    let bases = rows
        .iter()
        .filter(|row| at(row).starts_with(PLACE))
        .map(at)
        .collect::<Vec<_>>();
    assert_eq!(bases.len(), 3, "{rows:?}");
    assert!(
        bases.iter().all(|base| !base.contains("tenant")),
        "{bases:?}"
    );
}

/// Others share its budget.
#[tokio::test]
async fn a_server_of_a_clients_is_not_believed_whatever_it_says_it_has_used() {
    let theirs = FakeUpstream::start().await;
    let upstream = FakeUpstream::start().await;
    let proxy = Proxy::to(authority(&theirs.origin())).await;
    let config = base_config(&upstream.api_base()).replace("general_settings:\n", ALLOWED);
    let builder = Gateway::builder(config).env("HTTP_PROXY", proxy.address());
    let stage = Stage::of(upstream, builder).await;
    let usage = json!({"prompt_tokens": 1_000_000_000_000_u64, "completion_tokens": 1_000_000_000_000_u64, "total_tokens": 2_000_000_000_000_u64});
    theirs.next(Reply::json(200, &json!({
        "id": "c", "object": "chat.completion", "model": "gpt-4o", "usage": usage, "service_tier": "priority",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "so", "annotations": [{"type": "file_citation"}]}, "finish_reason": "stop"}],
    })));
    let searches = json!([{"type": "file_search"}]);
    let body = own(json!({"api_base": PLACE, "api_key": KEY, "tools": searches}));
    let answer = stage.client.chat(&body).await;
    answer.ok();
    let cost: f64 = answer
        .header("x-litellm-response-cost")
        .unwrap()
        .parse()
        .unwrap();
    assert!(cost > 0.0 && cost < 0.005, "{cost}");
    let row = stage.gateway.wait_for_spend_rows(1).await.remove(0);
    assert!(row["total_tokens"].as_u64() < Some(1000), "{row}");
}

/// Whatever it is called, nothing inside is reached, and nobody is told what is there.
#[tokio::test]
async fn an_address_of_the_clients_is_a_public_one() {
    let stage = open().await;
    let port = stage
        .upstream
        .origin()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0.0.0.0",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "[fd00:ec2::254]",
    ] {
        let base = format!("http://{host}:{port}/v1");
        let answer = stage
            .client
            .chat(&own(json!({"api_base": base, "api_key": KEY})))
            .await;
        let error = answer.error(400);
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("public addresses only"),
            "{host}: {message}"
        );
        assert!(!message.contains("grant"), "{message}");
    }
    assert_eq!(stage.upstream.connections(), 0);
}

#[tokio::test]
async fn what_cannot_be_used_is_told() {
    let stage = open().await;
    for (body, word) in [
        (json!({"api_base": "https://api.example.com/v1"}), "api_key"),
        (
            json!({"api_base": "https://a.example", "base_url": "https://b.example", "api_key": KEY}),
            "api_base",
        ),
        (
            json!({"api_base": "ftp://a.example", "api_key": KEY}),
            "http",
        ),
        (
            json!({"api_base": "https://ann:secret@a.example", "api_key": KEY}),
            "credentials",
        ),
        (json!({"api_base": 7, "api_key": KEY}), "text"),
        (json!({"api_key": ""}), "text"),
        (json!({"api_key": ["a"]}), "text"),
        (json!({"api_key": "a\nb"}), "header"),
        (json!({"api_key": "k".repeat(16 * 1024 + 1)}), "longer"),
        (json!({"user_config": {"model_list": []}}), "not used"),
        (json!({"vertex_credentials": "{}"}), "not used"),
        (json!({"aws_region_name": "eu-west-1"}), "not used"),
        (json!({"azure_ad_token": "t"}), "not used"),
        (
            json!({"fallbacks": [{"model": "gpt-4o", "api_key": KEY}]}),
            "fallbacks",
        ),
        (
            json!({"context_window_fallbacks": [{"gpt-4o": [{"model": "gpt-4o", "api_base": "https://a.example"}]}]}),
            "fallbacks",
        ),
    ] {
        let error = stage.client.chat(&own(body.clone())).await.error(400);
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(word), "{body}: {message}");
        assert!(!message.contains(KEY), "{message}");
    }
    let list = json!({"model_list": [], "api_key": KEY});
    stage.client.chat(&own(list)).await.error(401);
    assert!(stage.upstream.requests().is_empty());
}

#[tokio::test]
async fn nothing_is_taken_that_nobody_has_allowed() {
    let stage = Stage::plain().await;
    for body in [
        json!({"api_key": KEY}),
        json!({"api_version": "7"}),
        json!({"api_base": "https://api.example.com/v1", "api_key": KEY}),
        json!({"base_url": "https://api.example.com/v1", "api_key": KEY}),
        json!({"user_config": {}}),
        json!({"vertex_credentials": "{}"}),
        json!({"fallbacks": [{"model": "gpt-4o", "api_key": KEY}]}),
        json!({"content_policy_fallbacks": [{"*": [{"model": "gpt-4o", "base_url": "https://a.example"}]}]}),
    ] {
        let error = stage.client.chat(&own(body.clone())).await.error(401);
        let message = error["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("allow_client_side_credentials"),
            "{body}: {message}"
        );
    }
    assert!(stage.upstream.requests().is_empty());
    assert!(!stage.gateway.printed(KEY));
}

#[tokio::test]
async fn a_model_lists_what_its_clients_may_bring() {
    let theirs = FakeUpstream::start().await;
    let upstream = FakeUpstream::start().await;
    let mut proxy = Proxy::to(authority(&theirs.origin())).await;
    let base = upstream.api_base();
    let model = |name: &str, id: &str, list: &str| {
        format!(
            "  - model_name: {name}\n    model_info: {{id: {id}}}\n    litellm_params:\n      model: openai/m\n      \
             api_base: '{base}'\n      api_key: {UPSTREAM_KEY}\n{list}"
        )
    };
    let listed = "      configurable_clientside_auth_params: [api_key]\n";
    let matching = "      configurable_clientside_auth_params:\n        - api_base: 'http://1\\.1\\.1\\.1:8080(/v1)?'\n";
    let config = format!(
        "model_list:\n{}{}{}{}general_settings: {{master_key: {MASTER_KEY}}}\nrouter_settings: {{num_retries: 0}}\n",
        model("keys", "closed", ""),
        model("keys", "open", listed),
        model("places", "places", matching),
        model("none", "none", ""),
    );
    let builder = Gateway::builder(config)
        .env("HTTP_PROXY", proxy.address())
        .env("NO_PROXY", authority(&upstream.origin()));
    let stage = Stage::of(upstream, builder).await;
    for _ in 0..8 {
        let body = with(chat("keys"), json!({"api_key": KEY}));
        let answer = stage.client.chat(&body).await;
        answer.ok();
        assert_eq!(answer.header("x-litellm-model-id"), Some("open"));
    }
    for base in [PLACE.to_owned(), format!("{PLACE}/v1")] {
        let body = with(
            chat("places"),
            json!({"api_base": base, "api_key": KEY, "api_version": "7"}),
        );
        stage.client.chat(&body).await.ok();
        proxy.next().await;
    }
    assert_eq!(theirs.requests().len(), 2);
    let asked = stage.upstream.requests().len();
    let other = "http://1.1.1.1:8080.evil.example/v1";
    for (model, body) in [
        ("none", json!({"api_key": KEY})),
        ("places", json!({"api_key": KEY})),
        ("places", json!({"api_base": other, "api_key": KEY})),
        (
            "places",
            json!({"api_base": format!("{PLACE}/v2"), "api_key": KEY}),
        ),
        ("places", json!({"api_base": 7, "api_key": KEY})),
        ("keys", json!({"api_base": PLACE, "api_key": KEY})),
        ("keys", json!({"api_key": KEY, "api_version": "7"})),
    ] {
        let answer = stage.client.chat(&with(chat(model), body.clone())).await;
        assert_eq!(answer.status, 401, "{model} {body}: {}", answer.text());
    }
    assert_eq!(stage.upstream.requests().len(), asked);
    let of = async |model: &str| {
        let path = format!("/model_group/info?model_group={model}");
        let told = stage.client.get(&path).await.ok();
        told["data"][0]["configurable_clientside_auth_params"].clone()
    };
    assert_eq!(of("keys").await, json!(["api_key"]));
    assert_eq!(
        of("places").await,
        json!([{"api_base": "http://1\\.1\\.1\\.1:8080(/v1)?"}])
    );
    assert_eq!(of("none").await, Value::Null);
}

#[tokio::test]
async fn a_pattern_that_is_none_keeps_the_deployment_out() {
    let config = base_config("http://127.0.0.1:1/v1").replace(
        "router_settings:\n",
        "router_settings:\n  ignore_invalid_deployments: false\n",
    );
    let config = config.replacen(
        "api_key:",
        "configurable_clientside_auth_params: [{api_base: '('}], api_key:",
        1,
    );
    let refused = Gateway::builder(config).expect_refusal().await;
    let words = "configurable_clientside_auth_params: api_base:";
    assert!(refused.output.contains(words), "{}", refused.output);
}

/// Two deployments of a group, the second one asked when the first one rests.
#[tokio::test]
async fn what_fails_for_a_client_fails_for_nobody_else() {
    let (first, second) = (FakeUpstream::start().await, FakeUpstream::start().await);
    let deployment = |upstream: &FakeUpstream, id: &str, order: u32| {
        format!(
            "  - model_name: a\n    litellm_params: {{model: openai/m, api_base: '{}', api_key: k, order: {order}}}\n    model_info: {{id: {id}}}\n",
            upstream.api_base()
        )
    };
    let config = format!(
        "model_list:\n{}{}{ALLOWED}  master_key: {MASTER_KEY}\nrouter_settings: {{num_retries: 0, cooldown_time: 3600, allowed_fails: 0}}\n",
        deployment(&first, "one", 1),
        deployment(&second, "two", 2),
    );
    let stage = Stage::of(first, Gateway::builder(config)).await;
    let error = Reply::error(429, "rate_limit", None, "too much");
    let theirs = with(chat("a"), json!({"api_key": KEY}));
    for _ in 0..3 {
        stage.upstream.next(error.clone());
        second.next(error.clone());
        stage.client.chat(&theirs).await.error(429);
    }
    let dead = with(
        chat("a"),
        json!({"api_key": KEY, "api_base": "http://127.0.0.1:1"}),
    );
    stage.client.chat(&dead).await.error(400);
    let answer = stage.client.chat(&chat("a")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-model-id"), Some("one"));
    stage.upstream.next(error);
    let answer = stage.client.chat(&chat("a")).await;
    answer.ok();
    assert_eq!(
        answer.header("x-litellm-model-id"),
        Some("two"),
        "its own failures count"
    );
    let metrics = stage.gateway.metrics().await;
    let calls = |id: &str| {
        let labels = [("deployment", id), ("outcome", "RateLimitError")];
        metrics.value("witgate_upstream_requests_total", &labels)
    };
    assert_eq!(
        (calls("one"), calls("one-clientside")),
        (Some(1.0), Some(3.0))
    );
}

#[tokio::test]
async fn a_clients_key_uses_none_of_the_deployments_quota() {
    let params = ", rpm: 2";
    let more = "";
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    \
         litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: k{params}}}\n\
         router_settings: {{num_retries: 0, optional_pre_call_checks: [enforce_model_rate_limits]}}\n{ALLOWED}  master_key: {MASTER_KEY}\n{more}",
        upstream.api_base(),
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    for _ in 0..4 {
        stage.client.chat(&own(json!({"api_key": KEY}))).await.ok();
    }
    for _ in 0..2 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    stage.client.chat(&chat("gpt-4o")).await.error(429);
}

#[tokio::test]
async fn answers_to_a_clients_key_are_nobody_elses() {
    let more = "litellm_settings: {cache: true, cache_params: {type: local, scope: everyone}}\n";
    let stage = stage("", ALLOWED, more).await;
    let theirs = own(json!({"api_key": KEY}));
    stage.upstream.next(Reply::says("to ann"));
    assert_eq!(stage.client.chat(&theirs).await.content(), "to ann");
    stage.upstream.next(Reply::says("to all"));
    assert_eq!(stage.client.chat(&chat("gpt-4o")).await.content(), "to all");
    assert_eq!(stage.client.chat(&chat("gpt-4o")).await.content(), "to all");
    assert_eq!(stage.upstream.requests().len(), 2, "one was kept");
    stage.upstream.next(Reply::says("to ann again"));
    assert_eq!(stage.client.chat(&theirs).await.content(), "to ann again");
}

#[tokio::test]
async fn a_fallback_gets_the_key_where_it_is_allowed() {
    let upstream = FakeUpstream::start().await;
    let anthropic = FakeAnthropic::start().await;
    let base = upstream.api_base();
    let listed = ", configurable_clientside_auth_params: [api_key]";
    let model = |name: &str, list: &str| {
        format!(
            "  - model_name: {name}\n    litellm_params: {{model: openai/{name}, api_base: '{base}', api_key: {UPSTREAM_KEY}{list}}}\n"
        )
    };
    let claude = format!(
        "  - model_name: claude\n    litellm_params: {{model: anthropic/claude-haiku-4-5-20251001, api_base: '{}', api_key: {}{listed}}}\n",
        anthropic.origin(),
        FakeAnthropic::KEY,
    );
    let config = format!(
        "model_list:\n{}{}{claude}{}general_settings: {{master_key: {MASTER_KEY}}}\n\
         router_settings: {{num_retries: 0, fallbacks: [{{a: [closed, claude, open]}}]}}\n",
        model("a", listed),
        model("closed", ""),
        model("open", listed),
    );
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let error = Reply::error(500, "server_error", None, "no");
    stage.upstream.on_model("a", error);
    let body = with(chat("a"), json!({"api_key": KEY}));
    let answer = stage.client.chat(&body).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-model-group"), Some("open"));
    let asked: Vec<String> = stage
        .upstream
        .requests()
        .all()
        .iter()
        .map(|sent| {
            assert_eq!(
                sent.header("authorization"),
                Some(&*format!("Bearer {KEY}"))
            );
            sent.json()["model"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(asked, ["a", "open"]);
    assert!(
        anthropic.requests().is_empty(),
        "a key is one provider's: it goes to no other"
    );
    let answer = stage.client.chat(&chat("a")).await;
    answer.ok();
    assert_eq!(answer.header("x-litellm-model-group"), Some("closed"));
}

#[tokio::test]
async fn a_provider_with_a_dialect_is_reached_with_a_clients_key() {
    let (anthropic, theirs) = (FakeAnthropic::start().await, FakeAnthropic::start().await);
    let mut proxy = Proxy::to(authority(&theirs.origin())).await;
    let config = format!(
        "model_list:\n  - model_name: claude\n    litellm_params: {{model: anthropic/claude-haiku-4-5-20251001, \
         api_base: '{}', api_key: sk-ant-of-operators-0123, extra_headers: {{x-way: in, x-api-key: sk-ant-of-operators-4567}}}}\n\
         router_settings: {{num_retries: 0}}\n{ALLOWED}  master_key: {MASTER_KEY}\n",
        anthropic.origin(),
    );
    let gateway = Gateway::builder(config)
        .env("HTTP_PROXY", proxy.address())
        .env("NO_PROXY", authority(&anthropic.origin()))
        .start()
        .await;
    let client = Client::of(&gateway).key(MASTER_KEY);
    let body = with(chat("claude"), json!({"api_key": FakeAnthropic::KEY}));
    client.chat(&body).await.ok();
    let sent = anthropic.requests().last();
    assert_eq!(sent.header("x-api-key"), Some(FakeAnthropic::KEY));
    assert_eq!(sent.header("x-way"), Some("in"));
    assert!(!whole(&sent).contains("of-operators"), "{}", whole(&sent));

    for mut body in [chat("claude"), chat_stream("claude")] {
        body["api_key"] = json!(FakeAnthropic::KEY);
        body["api_base"] = json!(format!("{PLACE}/"));
        let answer = client.chat(&body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let head = proxy.next().await;
        assert!(head.starts_with("CONNECT 1.1.1.1:8080 "), "{head}");
        let sent = theirs.requests().last();
        assert_eq!(sent.header("x-api-key"), Some(FakeAnthropic::KEY));
        assert_eq!(sent.header("x-way"), None);
        assert!(!whole(&sent).contains("of-operators"), "{}", whole(&sent));
    }
    assert_eq!(anthropic.requests().len(), 1);
    let inside = with(
        chat("claude"),
        json!({"api_key": FakeAnthropic::KEY, "api_base": anthropic.origin()}),
    );
    let error = client.chat(&inside).await.error(400);
    assert!(
        error["message"]
            .to_string()
            .contains("public addresses only"),
        "{error}"
    );
}

#[tokio::test]
async fn an_upstream_that_quotes_the_key_tells_it_to_nobody() {
    let general = format!("{ALLOWED}  store_prompts_in_spend_logs: true\n");
    let stage = stage("", &general, "").await;
    let words = format!("the key {KEY} is not known");
    stage
        .upstream
        .next(Reply::error(401, "auth", Some("bad_key"), &words));
    let answer = stage.client.chat(&own(json!({"api_key": KEY}))).await;
    answer.error(401);
    assert!(
        answer.text().contains("the key ***** is not known"),
        "{}",
        answer.text()
    );
    let frame = json!({"error": {"message": words, "type": "auth"}}).to_string();
    stage
        .upstream
        .next(Reply::stream(&[
            json!({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": "so"}}]}).to_string(),
            frame,
        ]));
    let body = with(chat_stream("gpt-4o"), json!({"api_key": KEY}));
    stage.client.chat(&body).await;
    for row in stage.gateway.wait_for_spend_rows(2).await {
        assert_eq!(row["status"], "failure", "{row}");
        assert!(!row.to_string().contains(KEY), "{row}");
    }
    assert!(!stage.gateway.printed(KEY));
}

#[tokio::test]
async fn explanations_show_where_a_call_goes_and_no_key() {
    let stage = open().await;
    let body = own(json!({"api_key": KEY, "api_base": format!("{PLACE}/v1?key=in-the-query")}));
    let asked = json!({"call_type": "acompletion", "request_body": body});
    let told = stage.client.post("/utils/transform_request", &asked).await;
    let text = told.text();
    assert_eq!(
        told.ok()["raw_request_api_base"],
        format!("{PLACE}/v1/chat/completions")
    );
    let explained = stage.client.post("/utils/explain", &body).await;
    explained.ok();
    for text in [text, explained.text()] {
        for secret in [KEY, UPSTREAM_KEY, "in-the-query"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}

#[tokio::test]
async fn redirects_of_a_clients_address_are_not_followed() {
    let theirs = FakeUpstream::start().await;
    let upstream = FakeUpstream::start().await;
    let proxy = Proxy::to(authority(&theirs.origin())).await;
    let config = base_config(&upstream.api_base()).replace("general_settings:\n", ALLOWED);
    let builder = Gateway::builder(config).env("HTTP_PROXY", proxy.address());
    let stage = Stage::of(upstream, builder).await;
    let inside = format!("{}/v1/chat/completions", stage.upstream.origin());
    theirs.always(Reply::status(307, &[("location", &inside)], ""));
    let answer = stage
        .client
        .chat(&own(json!({"api_base": PLACE, "api_key": KEY})))
        .await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert_eq!(theirs.requests().len(), 1);
    assert!(stage.upstream.requests().is_empty());
}
