//! `prometheus`: LiteLLM's metrics on `/metrics`, read by Prometheus' own tools.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use witgate_testkit::{RedisServer, Reply, workspace_root};

use super::stage;
use crate::support::{Client, Stage, chat, chat_stream, eventually, venv};

/// With what stands under `litellm_settings`.
async fn prometheus(more: &str) -> Stage {
    let config = format!(
        "litellm_settings:\n  callbacks: [prometheus]\n{more}callback_settings:\n  prometheus: {{flush_interval: 0.05}}\n"
    );
    stage(&config, |gateway| gateway).await
}

/// Runs a program with the page as its input.
async fn fed(mut command: Command, page: &str) -> std::process::Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}; `make test` installs it"));
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(page.as_bytes()).await.expect("write");
    drop(input);
    child.wait_with_output().await.expect("run")
}

/// The page, once it holds this text; checked by `promtool` and read by the Python client's parser.
async fn page(stage: &Stage, text: &str) -> Value {
    let page = eventually(text, async || {
        let page = stage.client.get("/metrics").await.text();
        page.contains(text).then_some(page)
    })
    .await;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let checked = fed(promtool, &page).await;
    // 3 means that names could follow better conventions: these are LiteLLM's. 1 means that the page is malformed.
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(
        matches!(checked.status.code(), Some(0 | 3)),
        "{told}\n{page}"
    );
    let mut parser = Command::new(venv("python"));
    parser.arg(workspace_root().join("tests/vendors/metrics.py"));
    let parsed = fed(parser, &page).await;
    let told = String::from_utf8_lossy(&parsed.stderr).into_owned();
    assert!(parsed.status.success(), "{told}\n{page}");
    serde_json::from_slice(&parsed.stdout).expect("JSON")
}

/// The value of the sample of this name with these labels.
fn value(page: &Value, family: &str, sample: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let samples = page[family]["samples"].as_array()?;
    let found = samples.iter().find(|one| {
        one["name"] == sample
            && labels
                .iter()
                .all(|(name, value)| one["labels"][name] == *value)
    });
    found?["value"].as_str()?.parse().ok()
}

#[tokio::test]
async fn the_page_has_litellms_metrics_under_their_names() {
    let stage = prometheus("").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.client.open(&chat_stream("gpt-4o")).await.rest().await;
    stage
        .upstream
        .next(Reply::error(429, "tokens", None, "slow down"));
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    Client::of(&stage.gateway)
        .key("sk-wrong")
        .chat(&chat("gpt-4o"))
        .await
        .error(401);
    let page = page(&stage, "exception_status=\"401\"").await;
    let page = &page;

    let total = |labels: &[(&str, &str)]| {
        value(
            page,
            "litellm_proxy_total_requests_metric",
            "litellm_proxy_total_requests_metric_total",
            labels,
        )
    };
    let ok = [
        ("status_code", "200"),
        ("requested_model", "gpt-4o"),
        ("end_user", "None"),
        ("route", "/chat/completions"),
    ];
    assert_eq!(
        total(&ok),
        Some(2.0),
        "{}",
        page["litellm_proxy_total_requests_metric"]
    );
    assert_eq!(total(&[("status_code", "429")]), Some(1.0));
    assert_eq!(
        total(&[("status_code", "401"), ("hashed_api_key", "None")]),
        Some(1.0)
    );
    let counter =
        |name: &str, labels: &[(&str, &str)]| value(page, name, &format!("{name}_total"), labels);
    assert_eq!(
        counter(
            "litellm_proxy_failed_requests_metric",
            &[("exception_status", "429")]
        ),
        Some(1.0)
    );
    assert_eq!(
        counter("litellm_total_tokens_metric", &[("model", "gpt-4o")]),
        Some(36.0)
    );
    assert!(
        counter("litellm_spend_metric", &[("api_provider", "openai")]).is_some_and(|usd| usd > 0.0)
    );
    assert_eq!(
        counter(
            "litellm_deployment_total_requests",
            &[("litellm_model_name", "gpt-4o")]
        ),
        Some(3.0)
    );
    assert_eq!(
        counter(
            "litellm_deployment_failure_responses",
            &[("exception_status", "429")]
        ),
        Some(1.0)
    );
    let latency = "litellm_request_total_latency_metric";
    assert_eq!(
        value(
            page,
            latency,
            &format!("{latency}_count"),
            &[("model", "gpt-4o")]
        ),
        Some(2.0)
    );
    assert_eq!(
        value(
            page,
            latency,
            &format!("{latency}_bucket"),
            &[("le", "600.0")]
        ),
        Some(2.0)
    );
    assert_eq!(
        value(
            page,
            latency,
            &format!("{latency}_bucket"),
            &[("le", "+Inf")]
        ),
        Some(2.0)
    );
    let first = "litellm_llm_api_time_to_first_token_metric";
    assert_eq!(
        value(page, first, &format!("{first}_count"), &[]),
        Some(1.0),
        "streams only"
    );
    assert_eq!(
        value(
            page,
            "litellm_deployment_state",
            "litellm_deployment_state",
            &[]
        ),
        Some(1.0)
    );
    // The gateway's own are still there.
    assert!(page.get("witgate_requests").is_some());
}

#[tokio::test]
async fn fallbacks_and_budgets_of_providers_are_shown() {
    let upstream = witgate_testkit::FakeUpstream::start().await;
    let config = crate::support::base_config(&upstream.api_base())
        + "  fallbacks: [{gpt-4o: [gpt-4o-mini, text-embedding-3-small]}]\n"
        + "  provider_budget_config: {openai: {budget_limit: 3, time_period: 1d}}\n"
        + "litellm_settings:\n  callbacks: [prometheus]\n"
        + "callback_settings:\n  prometheus: {flush_interval: 0.05}\n";
    let stage = Stage::of(upstream, witgate_testkit::Gateway::builder(config)).await;
    let broken = || Reply::error(429, "tokens", None, "slow down");
    // The first call is served by the first fallback, the second by none.
    stage.upstream.next(broken());
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.upstream.next(broken()).next(broken()).next(broken());
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    let page = page(&stage, "litellm_deployment_failed_fallbacks_total{").await;
    let count = |outcome: &str, model: &str| {
        let name = format!("litellm_deployment_{outcome}_fallbacks");
        let labels = [
            ("requested_model", "gpt-4o"),
            ("fallback_model", model),
            ("exception_status", "429"),
            ("exception_class", "RateLimitError"),
        ];
        value(&page, &name, &format!("{name}_total"), &labels)
    };
    assert_eq!(count("successful", "gpt-4o-mini"), Some(1.0));
    assert_eq!(count("failed", "gpt-4o-mini"), Some(1.0));
    assert_eq!(count("failed", "text-embedding-3-small"), Some(1.0));
    let budget = "litellm_provider_remaining_budget_metric";
    let left = value(&page, budget, budget, &[("api_provider", "openai")]);
    assert!(
        left.is_some_and(|left| left > 2.9 && left < 3.0),
        "{left:?}"
    );
}

/// Both spellings of the list, both names of the sink.
#[tokio::test]
async fn the_gateways_own_services_are_shown() {
    for list in [
        "service_callbacks: [prometheus]",
        "service_callback: [prometheus_system]",
    ] {
        let mut redis = RedisServer::start().await;
        let upstream = witgate_testkit::FakeUpstream::start().await;
        let config = crate::support::base_config(&upstream.api_base())
            + &format!(
                "  redis_url: '{}'\nlitellm_settings:\n  {list}\ncallback_settings:\n  prometheus: {{flush_interval: 0.05}}\n",
                redis.url()
            );
        let builder =
            witgate_testkit::Gateway::builder(config).env("DEFAULT_REDIS_SYNC_INTERVAL", "0.05");
        let stage = Stage::of(upstream, builder).await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
        Client::of(&stage.gateway)
            .key("sk-wrong")
            .chat(&chat("gpt-4o"))
            .await
            .error(401);
        page(&stage, "litellm_redis_latency_count{").await;
        page(&stage, "litellm_batch_write_to_db_latency_count{").await;
        redis.kill().await;
        let page = page(&stage, "litellm_redis_failed_requests_total{").await;
        let count = |service: &str| {
            let name = format!("litellm_{service}_latency");
            let counted = value(
                &page,
                &name,
                &format!("{name}_count"),
                &[(service, service)],
            );
            counted.unwrap_or_default()
        };
        for service in ["redis", "auth", "router", "self", "proxy_pre_call"] {
            assert!(count(service) > 0.0, "{list}: {service}");
        }
        let failed = |service: &str, class: &str, function: &str| {
            let name = format!("litellm_{service}_failed_requests");
            let labels = [("error_class", class), ("function_name", function)];
            value(&page, &name, &format!("{name}_total"), &labels)
        };
        let who = failed("auth", "ProxyException", "user_api_key_auth");
        assert_eq!(who, Some(1.0), "{list}");
        // It is told of no call: it is in no list of those.
        let spend = &page["litellm_spend_metric"]["samples"];
        assert_eq!(spend.as_array().map(Vec::len), Some(0), "{list}");
    }
}

/// Nobody is told who did not ask.
#[tokio::test]
async fn services_are_shown_to_who_asks_for_them() {
    let stage = prometheus("").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let page = page(&stage, "litellm_spend_metric_total{").await;
    assert!(page.get("litellm_auth_latency").is_none());
}

#[tokio::test]
async fn every_metric_of_the_table_is_there_with_its_type() {
    let stage = prometheus("").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let page = page(&stage, "litellm_spend_metric_total{").await;
    let table = workspace_root().join("plugins/logging/prometheus/src/metrics.tsv");
    let table = std::fs::read_to_string(table).expect("the table");
    let mut rows = 0;
    for row in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = row.split('\t').collect();
        let kind = match columns[1] {
            "latency" => "histogram",
            kind => kind,
        };
        // The parser names a counter without its suffix.
        let name = columns[0].strip_suffix("_total").unwrap_or(columns[0]);
        assert_eq!(page[name]["type"], kind, "{}", columns[0]);
        rows += 1;
    }
    assert_eq!(rows, 75);
}

#[tokio::test]
async fn metrics_and_labels_are_the_configured_ones() {
    let stage = prometheus(
        "  custom_prometheus_metadata_labels: [metadata.project]\n\
         \x20 custom_prometheus_tags: [blue, green]\n\
         \x20 enable_end_user_cost_tracking_prometheus_only: true\n\
         \x20 prometheus_latency_buckets: [1, 60]\n\
         \x20 prometheus_metrics_config:\n\
         \x20   - {group: cost, metrics: [litellm_spend_metric], include_labels: [model, end_user, metadata_project, tag_blue, tag_green]}\n\
         \x20   - {group: speed, metrics: [litellm_request_total_latency_metric], include_labels: [model]}\n",
    )
    .await;
    let mut body = chat("gpt-4o");
    body["user"] = json!("ada");
    body["metadata"] = json!({"project": "p1", "tags": ["blue"]});
    stage.client.chat(&body).await.ok();
    let page = page(&stage, "litellm_spend_metric_total{").await;
    let spend = &page["litellm_spend_metric"]["samples"][0]["labels"];
    let expected = json!({"model": "gpt-4o", "end_user": "ada", "metadata_project": "p1", "tag_blue": "true", "tag_green": "false"});
    assert_eq!(*spend, expected);
    let names: Vec<&String> = page
        .as_object()
        .expect("families")
        .keys()
        .filter(|name| name.starts_with("litellm_"))
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let buckets = page["litellm_request_total_latency_metric"]["samples"]
        .as_array()
        .expect("samples");
    let bounds: Vec<&str> = buckets
        .iter()
        .filter_map(|sample| sample["labels"]["le"].as_str())
        .collect();
    assert_eq!(bounds, ["1.0", "60.0", "+Inf"]);
}

#[tokio::test]
async fn wrong_names_are_refused_with_the_right_ones() {
    let upstream = witgate_testkit::FakeUpstream::start().await;
    let config = crate::support::base_config(&upstream.api_base())
        + "litellm_settings:\n  callbacks: [prometheus]\n  prometheus_metrics_config:\n    - {group: a, metrics: [litellm_spend]}\n";
    let refusal = witgate_testkit::Gateway::builder(config)
        .expect_refusal()
        .await;
    for told in ["litellm_spend", "litellm_spend_metric"] {
        assert!(refusal.output.contains(told), "{}", refusal.output);
    }
}

#[tokio::test]
async fn a_renamed_sink_goes_on_with_the_series_of_the_old() {
    let stage = prometheus("").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let total = async || {
        let page = stage.client.get("/metrics").await.text();
        let line = page
            .lines()
            .find(|line| line.starts_with("litellm_proxy_total_requests_metric_total{"));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    eventually("the call is counted", async || {
        total().await.filter(|n| *n >= 1.0)
    })
    .await;
    let config = std::fs::read_to_string(stage.gateway.home().join("config.yaml")).expect("read");
    let renamed = config
        .replace("callbacks: [prometheus]", "callbacks: [scraped]")
        .replace("prometheus: {", "scraped: {callback_type: prometheus, ");
    stage.gateway.write_config(&renamed);
    let reload = stage
        .client
        .request(reqwest::Method::POST, "/config/reload")
        .await;
    assert_eq!(reload.status, 200, "{}", reload.text());
    stage.client.chat(&chat("gpt-4o")).await.ok();
    eventually("both calls are counted", async || {
        total().await.filter(|n| *n >= 2.0)
    })
    .await;

    // Once it is removed its names are free for a sink of another name, also while it still drains.
    let without = config
        .replace("callbacks: [prometheus]", "callbacks: []")
        .replace("prometheus: {", "nobody: {callback_type: prometheus, ");
    for config in [&without, &config] {
        stage.gateway.write_config(config);
        let reload = stage
            .client
            .request(reqwest::Method::POST, "/config/reload")
            .await;
        assert_eq!(reload.status, 200, "{}", reload.text());
    }
    stage.client.chat(&chat("gpt-4o")).await.ok();
    eventually("the call is counted", async || {
        total().await.filter(|n| *n >= 1.0)
    })
    .await;
}

#[tokio::test]
async fn a_deployment_that_is_left_to_rest_is_counted_once() {
    let config = "  allowed_fails_policy: {RateLimitErrorAllowedFails: 0}\n\
         litellm_settings:\n  callbacks: [prometheus]\ncallback_settings:\n  prometheus: {flush_interval: 0.05}\n";
    let stage = stage(config, |gateway| gateway).await;
    stage
        .upstream
        .always(Reply::error(429, "tokens", None, "slow down"));
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    // While it rests it is not asked, so it does not begin to rest again.
    stage.client.chat(&chat("gpt-4o")).await.error(429);
    let page = page(&stage, "litellm_deployment_cooled_down_total{").await;
    let name = "litellm_deployment_cooled_down";
    let labels = [
        ("exception_status", "429"),
        ("litellm_model_name", "gpt-4o"),
    ];
    assert_eq!(
        value(&page, name, &format!("{name}_total"), &labels),
        Some(1.0)
    );
    let state = "litellm_deployment_state";
    assert_eq!(value(&page, state, state, &labels[1..]), Some(2.0));
}

/// With `prometheus_initialize_budget_metrics` budgets have gauges although nobody calls.
#[tokio::test]
async fn budgets_are_there_before_anybody_calls() {
    for (more, expected) in [
        ("  prometheus_initialize_budget_metrics: true\n", true),
        ("", false),
    ] {
        let stage = prometheus(more).await;
        let post = async |path: &str, body: Value| stage.client.post(path, &body).await.ok();
        let budget = json!({"max_budget": 8, "budget_duration": "30d", "spend": 2});
        let with = |more: Value| {
            let mut body = budget.clone();
            for (name, value) in more.as_object().unwrap() {
                body[name] = value.clone();
            }
            body
        };
        let key = post("/key/generate", with(json!({"key_alias": "ci"}))).await;
        post("/key/generate", json!({"key_alias": "free"})).await;
        let team = json!({"team_id": "t1", "team_alias": "red", "max_budget": 5});
        post("/team/new", team).await;
        let user = json!({"user_id": "ann", "auto_create_key": false, "max_budget": 3});
        post("/user/new", user).await;
        let Stage {
            mut gateway,
            upstream,
            ..
        } = stage;
        gateway.stop().await;
        let gateway = gateway.start_again().await;
        let client = Client::of(&gateway).key(crate::support::MASTER_KEY);
        let stage = Stage {
            gateway,
            upstream,
            client,
        };
        if !expected {
            // Whatever a call brings, it brings none of those who did not call.
            stage.client.chat(&chat("gpt-4o")).await.ok();
            let page = page(&stage, "litellm_requests_metric_total{").await;
            let red = [("team", "t1")];
            let left = "litellm_remaining_team_budget_metric";
            assert_eq!(value(&page, left, left, &red), None);
            continue;
        }
        let page = page(&stage, "litellm_remaining_user_budget_metric{").await;
        let gauge = |name: &str, labels: &[(&str, &str)]| value(&page, name, name, labels);
        let hash = key["token"].as_str().unwrap();
        let of_key = [("hashed_api_key", hash), ("api_key_alias", "ci")];
        assert_eq!(
            gauge("litellm_remaining_api_key_budget_metric", &of_key),
            Some(6.0)
        );
        assert_eq!(
            gauge("litellm_api_key_max_budget_metric", &of_key),
            Some(8.0)
        );
        let hours = gauge("litellm_api_key_budget_remaining_hours_metric", &of_key);
        assert!(hours > Some(0.0) && hours <= Some(31.0 * 24.0), "{hours:?}");
        let free = [("api_key_alias", "free")];
        assert_eq!(
            gauge("litellm_remaining_api_key_budget_metric", &free),
            None
        );
        let red = [("team", "t1"), ("team_alias", "red")];
        assert_eq!(
            gauge("litellm_remaining_team_budget_metric", &red),
            Some(5.0)
        );
        let ann = [("user", "ann")];
        assert_eq!(gauge("litellm_user_max_budget_metric", &ann), Some(3.0));
        assert_eq!(stage.upstream.requests().len(), 0);
    }
}
