//! Proxies on the way out, and how long identity services may take.

use std::sync::Arc;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use witgate_testkit::{FakeIssuer, FakeLangfuse, FakeUpstream, Gateway};

use crate::support::proxy::Proxy;
use crate::support::{Client, MASTER_KEY, Stage, UPSTREAM_KEY, chat};

fn authority(upstream: &FakeUpstream) -> String {
    upstream.origin().replace("http://", "")
}

fn config(api_base: &str, more: &str) -> String {
    format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{api_base}', api_key: {UPSTREAM_KEY}}}\n\
         router_settings: {{num_retries: 0}}\n\
         general_settings: {{master_key: {MASTER_KEY}}}\n{more}"
    )
}

#[tokio::test]
async fn upstreams_are_reached_by_way_of_the_proxy() {
    let upstream = FakeUpstream::start().await;
    let mut proxy = Proxy::to(authority(&upstream)).await;
    let config = config("http://upstream.invalid/v1", "");
    let builder = Gateway::builder(&config).env("http_proxy", proxy.address());
    let stage = Stage::of(upstream, builder).await;
    for _ in 0..2 {
        stage
            .client
            .post("/chat/completions", &chat("gpt-4o"))
            .await
            .ok();
    }
    let told = proxy.next().await;
    let line = "POST http://upstream.invalid/v1/chat/completions HTTP/1.1\r\n";
    assert!(told.starts_with(line), "{told}");
    assert!(told.contains("host: upstream.invalid\r\n"), "{told}");
    assert!(
        told.contains("proxy-authorization: Basic Z2F0ZTp3YXk=\r\n"),
        "{told}"
    );

    for (name, value) in [
        ("NO_PROXY", ".invalid"),
        ("DISABLE_AIOHTTP_TRUST_ENV", "True"),
    ] {
        let gateway = Gateway::builder(&config)
            .env("HTTP_PROXY", proxy.address())
            .env(name, value)
            .start()
            .await;
        let client = Client::of(&gateway).key(MASTER_KEY);
        let answer = client.post("/chat/completions", &chat("gpt-4o")).await;
        assert_eq!(answer.status, 500, "{name}: {}", answer.text());
        assert!(
            answer
                .text()
                .contains("upstream.invalid could not be resolved"),
            "{}",
            answer.text()
        );
    }
    assert!(proxy.is_silent());
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let upstream = FakeUpstream::start().await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(["upstream.invalid".to_owned()]).expect("signed");
    let key = made.signing_key.serialize_der().try_into().expect("a key");
    let tls = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a config");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let door = listener.local_addr().expect("an address").to_string();
    let inside = authority(&upstream);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut inside = TcpStream::connect(&inside).await.expect("connected");
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut inside).await;
            });
        }
    });
    let mut proxy = Proxy::to(door).await;
    let builder = Gateway::builder(config("https://upstream.invalid:8443/v1", ""))
        .file("ca.pem", made.cert.pem())
        .env("ALL_PROXY", proxy.address());
    let ca = builder.home().join("ca.pem");
    let stage = Stage::of(upstream, builder.env("SSL_CERT_FILE", ca)).await;
    stage
        .client
        .post("/chat/completions", &chat("gpt-4o"))
        .await
        .ok();
    let told = proxy.next().await;
    assert!(
        told.starts_with("CONNECT upstream.invalid:8443 HTTP/1.1\r\n"),
        "{told}"
    );
    assert!(
        told.contains("Proxy-Authorization: Basic Z2F0ZTp3YXk=\r\n"),
        "{told}"
    );
    assert_eq!(stage.upstream.requests().all().len(), 1);
}

/// A component's calls go where its policy has judged them to go: to an address, not to a name.
#[tokio::test]
async fn components_go_through_the_proxy_to_an_address_that_was_judged() {
    let (upstream, vendor) = (FakeUpstream::start().await, FakeLangfuse::start().await);
    let port = vendor
        .origin()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let mut proxy = Proxy::to(format!("127.0.0.1:{port}")).await;
    let more = "litellm_settings: {success_callback: [langfuse], force_ipv4: true}\n";
    let builder = Gateway::builder(config(&upstream.api_base(), more))
        .env("LANGFUSE_HOST", format!("http://localhost:{port}"))
        .env("LANGFUSE_PUBLIC_KEY", FakeLangfuse::PUBLIC_KEY)
        .env("LANGFUSE_SECRET_KEY", FakeLangfuse::SECRET_KEY)
        .env("HTTP_PROXY", proxy.address())
        .env("NO_PROXY", authority(&upstream));
    let stage = Stage::of(upstream, builder).await;
    stage
        .client
        .post("/chat/completions", &chat("gpt-4o"))
        .await
        .ok();
    let told = proxy.next().await;
    let line = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n");
    assert!(told.starts_with(&line), "{told}");
    vendor
        .events()
        .wait_until("the call", |events| !events.is_empty())
        .await;
}

#[tokio::test]
async fn what_is_no_proxy_keeps_the_gateway_from_starting() {
    for (name, value, words) in [
        (
            "https_proxy",
            "socks5://u:hunter2@h:1",
            "HTTPS_PROXY: socks5:// proxies are not supported",
        ),
        ("NO_PROXY", "10.0.0.0/99", "NO_PROXY: \"10.0.0.0/99\""),
    ] {
        let refused = Gateway::builder(config("http://127.0.0.1:1", ""))
            .env(name, value)
            .expect_refusal()
            .await;
        assert!(refused.output.contains(words), "{}", refused.output);
        assert!(!refused.output.contains("hunter2"), "{}", refused.output);
    }
}

/// The server of the keys takes the request and says nothing.
#[tokio::test]
async fn identity_services_have_as_long_as_is_said() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let keys = format!("http://{}/keys", silent.local_addr().expect("an address"));
    let config = config("http://127.0.0.1:1/v1", "").replace(
        "general_settings: {",
        "general_settings: {enable_jwt_auth: true, ",
    );
    let refused = Gateway::builder(&config)
        .env("JWT_PUBLIC_KEY_URL", &keys)
        .env("NON_LLM_CONNECTION_TIMEOUT", "0")
        .expect_refusal()
        .await;
    let words = "NON_LLM_CONNECTION_TIMEOUT: expected whole seconds from 1 to 3600";
    assert!(refused.output.contains(words), "{}", refused.output);
    let gateway = Gateway::builder(&config)
        .env("JWT_PUBLIC_KEY_URL", &keys)
        .env("NON_LLM_CONNECTION_TIMEOUT", "1")
        .start()
        .await;
    let token = FakeIssuer::start().await.token(json!({"sub": "ann"}));
    let answer = Client::of(&gateway).key(&token).get("/models").await;
    assert_ne!(answer.status, 200);
    gateway.wait_for_log("no answer in time").await;
}
