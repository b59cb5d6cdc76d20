//! The ways in: TLS, HTTP/2 with and without it, keep-alive, pipelining.

use witgate_testkit::{FakeUpstream, Gateway};

use crate::support::{
    Client, MASTER_KEY, Stage, base_config, chat, chat_stream, http_client, streamed_text,
};

struct Certificate {
    pem: String,
    key: String,
}

fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .expect("make a certificate");
    Certificate {
        pem: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

async fn tls_gateway(upstream: &FakeUpstream, certificate: &Certificate, by_env: bool) -> Gateway {
    let builder = Gateway::builder(base_config(&upstream.api_base()))
        .file("cert.pem", &certificate.pem)
        .file("key.pem", &certificate.key);
    let (cert, key) = (
        builder.home().join("cert.pem"),
        builder.home().join("key.pem"),
    );
    let builder = if by_env {
        builder
            .env("SSL_CERTFILE_PATH", cert)
            .env("SSL_KEYFILE_PATH", key)
    } else {
        builder
            .arg("--ssl_certfile_path")
            .arg(cert)
            .arg("--ssl_keyfile_path")
            .arg(key)
    };
    builder.start().await
}

fn tls_client(
    gateway: &Gateway,
    certificate: &Certificate,
    shape: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Client {
    let root = reqwest::Certificate::from_pem(certificate.pem.as_bytes()).expect("a certificate");
    let http = http_client(|builder| shape(builder.tls_certs_only([root])));
    let base = format!(
        "https://localhost:{}",
        gateway.authority().rsplit(':').next().unwrap_or_default()
    );
    Client::at(&base, http).key(MASTER_KEY)
}

#[tokio::test]
async fn tls_is_served_when_a_certificate_is_configured() {
    let upstream = FakeUpstream::start().await;
    let certificate = certificate();
    for by_env in [false, true] {
        let gateway = tls_gateway(&upstream, &certificate, by_env).await;
        assert!(
            gateway.base_url().starts_with("https://"),
            "{}",
            gateway.base_url()
        );
        let client = tls_client(&gateway, &certificate, |builder| builder.http1_only());
        client.chat(&chat("gpt-4o")).await.ok();
        let events = client.open(&chat_stream("gpt-4o")).await.rest().await;
        assert_eq!(
            streamed_text(&events),
            witgate_testkit::openai::DEFAULT_TEXT
        );
    }
}

#[tokio::test]
async fn http2_is_negotiated_over_tls() {
    let upstream = FakeUpstream::start().await;
    let certificate = certificate();
    let gateway = tls_gateway(&upstream, &certificate, false).await;
    let root = reqwest::Certificate::from_pem(certificate.pem.as_bytes()).expect("a certificate");
    let http = http_client(|builder| builder.tls_certs_only([root]));
    let port = gateway
        .authority()
        .rsplit(':')
        .next()
        .unwrap_or_default()
        .to_owned();
    let answer = http
        .get(format!("https://localhost:{port}/health/liveliness"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn plain_text_on_a_tls_port_does_no_harm() {
    let upstream = FakeUpstream::start().await;
    let certificate = certificate();
    let gateway = tls_gateway(&upstream, &certificate, false).await;
    let mut connection = gateway.connect().await;
    connection.send("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(connection.closes_within(witgate_testkit::PATIENCE).await);
    tls_client(&gateway, &certificate, |builder| builder)
        .chat(&chat("gpt-4o"))
        .await
        .ok();
}

#[tokio::test]
async fn a_missing_certificate_is_a_clear_error() {
    let upstream = FakeUpstream::start().await;
    let refusal = Gateway::builder(base_config(&upstream.api_base()))
        .arg("--ssl_certfile_path")
        .arg("no-such-cert.pem")
        .arg("--ssl_keyfile_path")
        .arg("no-such-key.pem")
        .expect_refusal()
        .await;
    assert!(
        refusal.output.contains("no-such-cert.pem"),
        "{}",
        refusal.output
    );
}

#[tokio::test]
async fn http2_without_tls_is_served_to_who_knows() {
    let stage = Stage::plain().await;
    let http = http_client(|builder| builder.http2_prior_knowledge());
    let client = Client::at(stage.gateway.base_url(), http).key(MASTER_KEY);
    let mut calls = Vec::new();
    for _ in 0..20 {
        let client = client.clone();
        calls.push(tokio::spawn(
            async move { client.chat(&chat("gpt-4o")).await },
        ));
    }
    for call in calls {
        call.await.expect("no call failed").ok();
    }
    let events = client.open(&chat_stream("gpt-4o")).await.rest().await;
    assert_eq!(
        streamed_text(&events),
        witgate_testkit::openai::DEFAULT_TEXT
    );
}

#[tokio::test]
async fn a_connection_serves_many_requests_even_pipelined() {
    let stage = Stage::plain().await;
    let mut connection = stage.gateway.connect().await;
    let one = "GET /health/liveliness HTTP/1.1\r\nhost: x\r\n\r\n";
    connection.send(one.repeat(3)).await;
    for n in 0..3 {
        let answer = connection
            .response()
            .await
            .unwrap_or_else(|| panic!("answer {n} is missing"));
        assert_eq!(answer.status, 200);
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let stage = Stage::plain().await;
    let mut connection = stage.gateway.connect().await;
    connection
        .send("GET /health/liveliness HTTP/1.0\r\n\r\n")
        .await;
    let answer = connection.response().await.expect("an answer");
    assert_eq!(answer.status, 200);
    assert!(connection.closes_within(witgate_testkit::PATIENCE).await);
}

#[tokio::test]
async fn a_browser_may_ask_first() {
    let stage = Stage::plain().await;
    let mut connection = stage.gateway.connect().await;
    let preflight = "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: x\r\norigin: https://app.example\r\n\
                     access-control-request-method: POST\r\naccess-control-request-headers: authorization,content-type\r\n\r\n";
    connection.send(preflight).await;
    let answer = connection.response().await.expect("an answer");
    assert!(
        (200..300).contains(&answer.status),
        "{} {}",
        answer.status,
        answer.text()
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert!(answer.header("access-control-allow-methods").is_some());
    assert!(answer.header("access-control-allow-headers").is_some());
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let stage = Stage::plain().await;
    let body = chat("gpt-4o").to_string();
    let mut connection = stage.gateway.connect().await;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {MASTER_KEY}\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head).await;
    let interim = connection
        .read_until(|bytes| bytes.ends_with(b"\r\n\r\n"))
        .await;
    assert!(
        interim.starts_with(b"HTTP/1.1 100"),
        "{}",
        String::from_utf8_lossy(&interim)
    );
    connection.send(body).await;
    let answer = connection.response().await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn compression_is_kept_out_of_what_must_be_read() {
    let stage = Stage::plain().await;
    let client = stage.client.clone().header("accept-encoding", "gzip, br");
    client.chat(&chat("gpt-4o")).await.ok();
    let asked = stage.upstream.requests().last();
    let encoding = asked
        .header("accept-encoding")
        .unwrap_or("identity")
        .to_owned();
    assert!(
        !encoding.contains("gzip") && !encoding.contains("br"),
        "the upstream may answer in {encoding}"
    );
}

#[tokio::test]
async fn megabytes_pass_both_ways() {
    let stage = Stage::plain().await;
    stage.upstream.always(witgate_testkit::Reply::echo());
    let text = "Lorem ipsum é😀 ".repeat(300_000);
    let mut body = chat("gpt-4o");
    body["messages"][0]["content"] = serde_json::json!(text);
    let answer = stage.client.chat(&body).await;
    assert_eq!(answer.status, 200, "{}", &answer.text()[..200]);
    assert!(answer.content() == text, "the text changed on its way");
}
