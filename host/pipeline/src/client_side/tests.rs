use serde_json::{Value, json};

use crate::ports::Phase;
use crate::snapshot::FailPolicy;
use crate::testing::{FakeGuard, Setup, chat};

fn open() -> Setup {
    Setup::new().access(|access| access.client_credentials = true)
}

/// Whoever reads the body of a request finds nothing of it there: not in a second member, not under an escaped name.
#[tokio::test(start_paused = true)]
async fn a_guardrail_sees_nothing_of_what_a_client_brings() {
    let guard = std::sync::Arc::new(FakeGuard::allow());
    let world = open()
        .shared_guard("g", Phase::PreCall, FailPolicy::Closed, &guard)
        .build();
    let mut arrival = chat(json!({}));
    let body = r#"{"api_key":"own-1","model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"api\u005fkey":"own-2","api_version":"own-3","organization":"own-4","base_url":null}"#;
    arrival.body = Ok(body.into());
    let answer = world.send(arrival).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (_, seen) = guard.asked.lock().unwrap().remove(0);
    assert!(!seen.contains("own-"), "{seen}");
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let names: Vec<&String> = seen.as_object().unwrap().keys().collect();
    assert_eq!(names, ["model", "messages"]);
    let (url, headers, _) = world.upstream.sent.lock().unwrap().remove(0);
    assert_eq!(url, "http://upstream.test/v1/chat/completions");
    assert_eq!(headers["authorization"], "Bearer own-2");
    assert!(headers["authorization"].is_sensitive());
    let record = world.record().await;
    let text = format!("{record:?}");
    assert!(!text.contains("own-"), "{text}");
    assert!(record.served.is_clients);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_used_as_a_deployments_own_would_be() {
    for (base, url) in [
        ("https://a.test", "https://a.test/chat/completions"),
        ("https://a.test/v1/", "https://a.test/v1/chat/completions"),
        (
            "http://a.test:81/v1?x=1",
            "http://a.test:81/v1/chat/completions?x=1",
        ),
    ] {
        let world = open().build();
        let own = json!({"api_base": base, "api_key": "k"});
        let answer = world.send(chat(own)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(world.upstream.sent.lock().unwrap()[0].0, url);
        let served = world.record().await.served;
        assert_eq!(served.api_base, base.split('?').next().unwrap());
        assert_eq!(served.model_id, "d0-clientside");
    }
}
