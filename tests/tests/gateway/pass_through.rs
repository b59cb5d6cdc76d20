//! Pass-through routes of the operator's: bytes as they are in both directions, keys, limits, money, guardrails.

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use witgate_testkit::{FakeUpstream, Gate, Gateway, Reply};

use crate::support::{Client, MASTER_KEY, Stage, http_client};

/// A gateway with these routes (YAML, `TARGET` is the origin of the fake) and further YAML.
async fn stage(routes: &str, more: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    upstream.always(Reply::json(200, &json!({"ok": true})));
    let gateway = Gateway::builder(config(&upstream.origin(), routes, more));
    let gateway = gateway.env("RERANK_SECRET", "k-of-target");
    Stage::of(upstream, gateway).await
}

fn config(origin: &str, routes: &str, more: &str) -> String {
    let routes = routes.replace("TARGET", origin);
    format!(
        "general_settings:\n  master_key: {MASTER_KEY}\n  pass_through_endpoints:\n{routes}\n{more}"
    )
}

const RERANK: &str = "    - {path: /v1/rerank, target: 'TARGET/v2/rerank?tier=1', auth: true, include_subpath: true, cost_per_request: 0.6, headers: {authorization: 'Bearer os.environ/RERANK_SECRET', x-static: s}}";

async fn key(stage: &Stage, body: Value) -> Client {
    let made = stage.client.post("/key/generate", &body).await.ok();
    let key = made["key"].as_str().expect("a key");
    Client::of(&stage.gateway).key(key)
}

#[tokio::test]
async fn a_request_goes_to_the_target_byte_for_byte_and_so_does_the_answer() {
    let stage = stage(RERANK, "").await;
    let odd = "{\"query\" : \"é\",\n \"n\":1e400}";
    stage.upstream.always(Reply::status(
        202,
        &[
            ("content-type", "application/odd"),
            ("x-of-target", "t"),
            ("set-cookie", "token=theirs"),
        ],
        "[ odd\u{0} answer",
    ));
    let client = stage.client.clone().header("x-tenant", "acme");
    let answer = client
        .post_bytes("/v1/rerank/deep/er?top=2&tier=9", odd)
        .await;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (202, "[ odd\u{0} answer")
    );
    assert_eq!(answer.header("content-type"), Some("application/odd"));
    assert_eq!(answer.header("content-length"), Some("13"));
    assert_eq!(answer.header("x-of-target"), Some("t"));
    assert_eq!(answer.header("set-cookie"), None);
    assert!(answer.header("x-litellm-call-id").is_some());
    let base = format!("{}/v2/rerank", stage.upstream.origin());
    assert_eq!(
        answer.header("x-litellm-model-api-base"),
        Some(base.as_str())
    );
    let sent = stage.upstream.requests().last();
    assert_eq!(sent.method, "POST");
    assert_eq!(sent.target, "/v2/rerank/deep/er?tier=1&top=2");
    assert_eq!(sent.body, odd);
    assert_eq!(sent.header("authorization"), Some("Bearer k-of-target"));
    assert_eq!(sent.header("x-static"), Some("s"));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("x-tenant"), None);
    assert!(!format!("{:?}", sent.headers).contains(MASTER_KEY));
    // Out of the route leads no path.
    let out = stage.client.get("/v1/rerank/a%2F..%2Fadmin").await;
    out.error(400);
    assert_eq!(
        stage
            .client
            .request(Method::OPTIONS, "/v1/rerank")
            .await
            .status,
        405
    );
    assert_eq!(stage.client.get("/v1/reranker").await.status, 404);
    let row = stage.gateway.wait_for_spend_rows(2).await.remove(0);
    assert_eq!(row["call_type"], "pass_through_endpoint", "{row}");
    assert_eq!(
        (&row["status"], &row["model"]),
        (&json!("success"), &json!("unknown"))
    );
    assert_eq!(row["api_base"], base, "{row}");
    assert_eq!(row["spend"], 0.6, "{row}");
    assert!(
        !stage.gateway.printed("k-of-target"),
        "the target's key is in the log"
    );
}

#[tokio::test]
async fn a_route_with_auth_is_for_keys_that_name_it() {
    let stage = stage(RERANK, "").await;
    let nobody = Client::of(&stage.gateway);
    nobody.post("/v1/rerank", &json!({})).await.error(401);
    let plain = key(&stage, json!({})).await;
    let refused = plain.post("/v1/rerank", &json!({})).await.error(403);
    let said = refused["message"].as_str().unwrap_or_default();
    assert!(said.contains("allowed_passthrough_routes"), "{said}");
    let named = key(
        &stage,
        json!({"allowed_passthrough_routes": ["/v1/rerank"], "denied_passthrough_routes": ["/v1/rerank/admin"], "allowed_routes": ["llm_api_routes"]}),
    )
    .await;
    named.post("/v1/rerank/x", &json!({})).await.ok();
    for path in [
        "/v1/rerank/admin",
        "/v1/rerank//admin/x",
        "/v1/rerank/%61dmin",
    ] {
        let refused = named.post(path, &json!({})).await.error(403);
        let said = refused["message"].as_str().unwrap_or_default();
        assert!(
            said.contains("Matched `/v1/rerank/admin`"),
            "{path}: {said}"
        );
    }
    let info_only =
        json!({"allowed_passthrough_routes": ["/v1/rerank"], "allowed_routes": ["info_routes"]});
    let elsewhere = key(&stage, info_only).await;
    assert_eq!(elsewhere.post("/v1/rerank", &json!({})).await.status, 403);
    let team = json!({"team_id": "blue", "allowed_passthrough_routes": ["/v1/*"]});
    stage.client.post("/team/new", &team).await.ok();
    let member = key(&stage, json!({"team_id": "blue"})).await;
    member.post("/v1/rerank", &json!({})).await.ok();
    assert_eq!(stage.upstream.requests().len(), 2);
}

#[tokio::test]
async fn limits_and_budgets_hold_for_pass_through_calls() {
    let stage = stage(RERANK, "").await;
    let of = |more: Value| {
        let mut body = json!({"allowed_passthrough_routes": ["/v1/rerank"]});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    let limited = key(&stage, of(json!({"rpm_limit": 1, "tpm_limit": 1000}))).await;
    let first = limited.post("/v1/rerank", &json!({})).await;
    first.ok();
    assert_eq!(first.header("x-litellm-key-rpm-limit"), Some("1"));
    limited.post("/v1/rerank", &json!({})).await.error(429);
    // The second begins below the budget, and ends above.
    let poor = key(&stage, of(json!({"max_budget": 1}))).await;
    poor.post("/v1/rerank", &json!({})).await.ok();
    poor.post("/v1/rerank", &json!({})).await.ok();
    let refused = poor.post("/v1/rerank", &json!({})).await.error(400);
    assert_eq!(refused["type"], "budget_exceeded");
    assert_eq!(stage.upstream.requests().len(), 3);
}

#[tokio::test]
async fn a_route_without_auth_is_open_and_passes_the_clients_own_credential_on() {
    let route = "    - {path: /open, target: TARGET/t, auth: false, forward_headers: true, methods: [GET], default_query_params: {a: 1, b: x y}, merge_query_params: true}";
    let stage = stage(route, "").await;
    let client = Client::of(&stage.gateway)
        .header("authorization", "Bearer sk-of-target")
        .header("x-tenant", "acme")
        .header("x-litellm-api-key", "sk-ours")
        .header("cookie", "token=ours");
    client.get("/open?a=2").await.ok();
    let sent = stage.upstream.requests().last();
    assert_eq!(sent.target, "/t?a=2&b=x%20y");
    assert_eq!(sent.header("authorization"), Some("Bearer sk-of-target"));
    assert_eq!(sent.header("x-tenant"), Some("acme"));
    for ours in ["x-litellm-api-key", "cookie"] {
        assert_eq!(sent.header(ours), None, "{ours}");
    }
    // A key of this gateway is nobody else's to see.
    stage.client.get("/open").await.ok();
    key(&stage, json!({})).await.get("/open").await.ok();
    for sent in &stage.upstream.requests().all()[1..] {
        assert_eq!(sent.header("authorization"), None);
    }
    assert_eq!(client.post("/open", &json!({})).await.status, 405);
    let routes = client.get("/routes").await.ok();
    let mut routes = routes["routes"].as_array().expect("routes").iter();
    let listed = routes
        .find(|route| route["path"] == "/open")
        .expect("the route");
    assert_eq!(listed["methods"], json!(["GET"]));
    let document = client.get("/openapi.json").await.ok();
    assert!(document["paths"]["/open"]["get"].is_object());
    assert!(document["paths"]["/v1/chat/completions"]["post"].is_object());
}

#[tokio::test]
async fn an_answer_passes_as_it_comes_and_its_break_is_seen() {
    let stage = stage(RERANK, "").await;
    let gate = Gate::new();
    stage
        .upstream
        .next(Reply::gated_stream(&["one", "two"], &gate));
    let http = http_client(|builder| builder);
    let url = format!("{}/v1/rerank", stage.gateway.base_url());
    let ask = || http.get(&url).bearer_auth(MASTER_KEY).send();
    gate.release();
    let answer = ask().await.expect("an answer");
    let mut body = answer.bytes_stream();
    let first = body.next().await.expect("a piece").expect("unbroken");
    assert_eq!(first, "data: one\n\n");
    gate.release();
    let second = body.next().await.expect("a piece").expect("unbroken");
    assert_eq!(second, "data: two\n\n");
    gate.release();
    assert!(body.next().await.is_none());
    stage
        .upstream
        .next(Reply::open_stream(&["one"]).then_close());
    let mut body = ask().await.expect("an answer").bytes_stream();
    assert_eq!(
        body.next().await.expect("a piece").expect("unbroken"),
        "data: one\n\n"
    );
    assert!(
        body.next().await.expect("news").is_err(),
        "a cut answer looks whole"
    );
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    assert_eq!(rows[1]["status"], "failure", "{}", rows[1]);
}

#[tokio::test]
async fn a_request_passes_as_it_comes() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let gateway = Gateway::start(config(&origin, RERANK, "")).await;
    let (more, pieces) = tokio::sync::mpsc::unbounded_channel::<&'static str>();
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, std::io::Error>(Bytes::from(piece)), pieces))
    });
    let client = http_client(|builder| builder);
    let url = format!("{}/v1/rerank", gateway.base_url());
    let sending = client
        .post(&url)
        .bearer_auth(MASTER_KEY)
        .body(reqwest::Body::wrap_stream(pieces))
        .send();
    let sending = tokio::spawn(sending);
    more.send("first piece").expect("a reader");
    let (mut target, _) = listener.accept().await.expect("a connection");
    let mut seen = String::new();
    let mut read = async |until: &str| {
        let mut buffer = [0; 4096];
        while !seen.contains(until) {
            let length = target.read(&mut buffer).await.expect("bytes");
            assert!(length > 0, "the request ended: {seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    // The second piece is not sent before the first has arrived.
    read("first piece").await;
    more.send("second piece").expect("a reader");
    read("second piece").await;
    drop(more);
    read("\r\n0\r\n\r\n").await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    target.write_all(answer.as_bytes()).await.expect("write");
    let answer = sending.await.expect("a task").expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "ok");
}

#[tokio::test]
async fn guardrails_of_a_route_judge_what_passes() {
    const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";
    let route = "    - {path: /judged, target: TARGET/t, auth: true, guardrails: {secrets: {request_fields: [query, 'documents[*].text']}}}";
    let guardrail = "guardrails:\n  - guardrail_name: secrets\n    litellm_params: {guardrail: hide-secrets, mode: pre_call}\n";
    let stage = stage(route, guardrail).await;
    let body = json!({"query": SECRET, "documents": [{"text": SECRET, "id": SECRET}]});
    let answer = stage.client.post("/judged", &body).await;
    assert_eq!(
        answer.header("x-litellm-applied-guardrails"),
        Some("secrets")
    );
    let sent = stage.upstream.requests().last().json();
    assert_eq!(sent["query"], "[REDACTED]");
    assert_eq!(
        sent["documents"][0],
        json!({"text": "[REDACTED]", "id": SECRET})
    );
}

/// Names that come twice, numbers that no double holds, escapes: a target may read them otherwise than the first reader that comes by.
#[tokio::test]
async fn what_guardrails_of_a_route_judge_is_what_is_passed_on() {
    const SECRET: &str = "AKIAIOSFODNN7EXAMPLE";
    let route = "    - {path: /judged, target: TARGET/t, auth: true, guardrails: [secrets]}";
    let guardrail = "guardrails:\n  - guardrail_name: secrets\n    litellm_params: {guardrail: hide-secrets, mode: pre_call}\n";
    let stage = stage(route, guardrail).await;
    let client = stage
        .client
        .clone()
        .header("content-type", "application/json");
    let escaped = SECRET.replacen('A', "\\u0041", 1);
    for (body, sent) in [
        (
            format!(r#"{{"q": "{SECRET}", "n":1 , "q": "fine"}}"#),
            r#"{"n":1 , "q": "fine"}"#,
        ),
        (
            format!(r#"{{"l": [{{"q": "{SECRET}", "\u0071": "fine"}}]}}"#),
            r#"{"l": [{"\u0071": "fine"}]}"#,
        ),
        (
            format!(r#"{{"n": 1e400, "q": "{escaped}"}}"#),
            r#"{"n": 1e400, "q": "[REDACTED]"}"#,
        ),
    ] {
        let answer = client.post_bytes("/judged", body.clone()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let seen = stage.upstream.requests().last().body;
        assert_eq!(seen, sent, "{body}");
    }
    let before = stage.upstream.requests().len();
    for body in [
        format!("{{'q': \"{escaped}\"}}"),
        "[".repeat(200) + &"]".repeat(200),
    ] {
        client.post_bytes("/judged", body).await.error(400);
    }
    assert_eq!(stage.upstream.requests().len(), before);
}

#[tokio::test]
async fn a_route_that_the_gateway_answers_itself_is_told_at_the_start() {
    let routes = "    - {path: /v1/embeddings, target: TARGET/t, auth: true}\n    - {path: /v1/models, target: TARGET/t, auth: true, methods: [POST]}";
    let stage = stage(routes, "").await;
    assert!(
        stage
            .gateway
            .printed("POST /embeddings is the gateway's own")
    );
    assert!(!stage.gateway.printed("GET /models is the gateway's own"));
    stage.client.post("/v1/models", &json!({})).await.ok();
    assert_eq!(stage.upstream.requests().last().path(), "/t");
}

#[tokio::test]
async fn a_reload_opens_and_closes_routes_and_a_wrong_one_is_refused() {
    let stage = stage(RERANK, "").await;
    let origin = stage.upstream.origin();
    let other = RERANK.replace("/v1/rerank", "/other");
    stage.gateway.write_config(&config(&origin, &other, ""));
    stage.client.post("/config/reload", &json!({})).await.ok();
    stage.client.post("/other", &json!({})).await.ok();
    assert_eq!(
        stage.client.post("/v1/rerank", &json!({})).await.status,
        404
    );
    for (wrong, said) in [
        ("{path: /a}", "target"),
        (
            "{path: /a, target: my.adapter}",
            "plugins as targets do not exist",
        ),
        ("{target: TARGET/t}", "path"),
        (
            "{path: /a, target: TARGET/t, guardrails: [none]}",
            "there is no guardrail",
        ),
        (
            "{path: /a, target: TARGET/t, methods: ['A B']}",
            "is no method",
        ),
    ] {
        let routes = format!("    - {wrong}");
        stage.gateway.write_config(&config(&origin, &routes, ""));
        let answer = stage.client.post("/config/reload", &json!({})).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.text().contains(said), "{wrong}: {}", answer.text());
    }
    stage.client.post("/other", &json!({})).await.ok();
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused_while_it_arrives() {
    let limit = "  max_request_size_mb: 0.25\n";
    let upstream = FakeUpstream::start().await;
    let config = config(&upstream.origin(), RERANK, limit);
    let stage = Stage::of(upstream, Gateway::builder(config)).await;
    let long = vec![b'x'; 1 << 20];
    let answer = stage.client.post_bytes("/v1/rerank", long.clone()).await;
    answer.error(400);
    // Without a length it is found out on the way.
    let pieces = futures_util::stream::iter(
        long.chunks(1 << 16)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect::<Vec<_>>(),
    );
    let url = format!("{}/v1/rerank", stage.gateway.base_url());
    let http = http_client(|builder| builder);
    let sent = http.post(&url).bearer_auth(MASTER_KEY);
    let sent = sent.body(reqwest::Body::wrap_stream(pieces)).send().await;
    let status = sent.expect("an answer").status().as_u16();
    assert_eq!(status, 400);
    assert!(stage.upstream.requests().is_empty());
}
