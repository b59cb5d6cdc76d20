//! The end: what is in flight is finished, what is new is sent elsewhere, and it does end.

use witgate_testkit::{Gate, Reply, Signal, openai};

use crate::support::{Stage, chat, chat_stream, eventually};

#[tokio::test]
async fn calls_in_flight_are_finished_before_the_end() {
    let stage = Stage::plain().await;
    let gate = Gate::new();
    stage.upstream.next(Reply::openai().behind(&gate));
    let client = stage.client.clone();
    let call = tokio::spawn(async move { client.chat(&chat("gpt-4o")).await });
    gate.reached(1).await;
    stage.gateway.signal(Signal::Terminate).await;
    // The listener goes first: nobody new is let in.
    let authority = stage.gateway.authority().to_owned();
    eventually("new connections are refused", async || {
        tokio::net::TcpStream::connect(&authority).await.err()
    })
    .await;
    gate.open();
    call.await.expect("the call is finished").ok();
    let Stage { mut gateway, .. } = stage;
    assert!(gateway.ended().await.success());
    assert_eq!(gateway.spend_rows().await.len(), 1);
}

#[tokio::test]
async fn streams_in_flight_are_finished_before_the_end() {
    let stage = Stage::plain().await;
    let gate = Gate::new();
    stage.upstream.next(Reply::gated_stream(
        &openai::chat_frames("gpt-4o", "one two three"),
        &gate,
    ));
    // Who speaks, and the first word: with it the reply begins.
    gate.release();
    gate.release();
    let mut stream = stage.client.open(&chat_stream("gpt-4o")).await;
    stream.next_json().await;
    stage.gateway.signal(Signal::Terminate).await;
    gate.open();
    assert_eq!(
        stream.rest().await.last().map(String::as_str),
        Some("[DONE]")
    );
    let Stage { mut gateway, .. } = stage;
    assert!(gateway.ended().await.success());
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once_on_either_signal() {
    for signal in [Signal::Terminate, Signal::Interrupt] {
        let stage = Stage::plain().await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
        // The client keeps its connection: that must not hold up the end.
        let Stage {
            mut gateway,
            client,
            ..
        } = stage;
        let asked = std::time::Instant::now();
        gateway.signal(signal).await;
        assert!(gateway.ended().await.success(), "{signal:?}");
        assert!(
            asked.elapsed() < std::time::Duration::from_secs(5),
            "{signal:?}: {:?}",
            asked.elapsed()
        );
        drop(client);
    }
}

#[tokio::test]
async fn the_standard_output_is_one_line() {
    let stage = Stage::plain().await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let lines = gateway.stdout().all();
    assert_eq!(lines, [format!("listening on {}", gateway.base_url())]);
}

#[tokio::test]
async fn a_taken_port_is_a_clear_error() {
    let stage = Stage::plain().await;
    let port: u16 = stage
        .gateway
        .authority()
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("a port");
    let refusal =
        witgate_testkit::Gateway::builder(crate::support::base_config(&stage.upstream.api_base()))
            .port(port)
            .expect_refusal()
            .await;
    assert!(refusal.code.is_some_and(|code| code != 0), "{refusal:?}");
    assert!(
        refusal.output.contains(&port.to_string()),
        "{}",
        refusal.output
    );
}
