use serde_json::json;

use super::*;
use crate::testing::{Setup, chat, with};

const SENT: &[(&str, &str)] = &[
    ("x-tenant", "acme"),
    ("x-tenant-secret", "s"),
    ("x-stainless-os", "Linux"),
    ("anthropic-beta", "files-api-2025-04-14"),
    ("user-agent", "mine"),
    ("cookie", "c=1"),
    ("authorization", "Bearer sk-mine"),
    ("x-api-key", "sk-mine"),
    ("x-goog-api-key", "sk-mine"),
    ("x-litellm-api-key", "sk-mine"),
    ("x-mine", "Bearer sk-mine"),
    ("x-forwarded-access-token", "sk-mine"),
    ("x-of-deployment", "client"),
    ("openai-organization", "org-client"),
    ("x-litellm-user_api_key_user_id", "somebody else"),
];

/// The headers that the upstream of a deployment gets of this request, sorted.
async fn told(wanted: ClientHeaders) -> Vec<(String, String)> {
    let world = Setup::new()
        .with(|_, target| {
            target.client_headers = wanted;
            let own = HeaderValue::from_static("deployment");
            target.headers.insert("x-of-deployment", own);
        })
        .access(|access| access.key_header = Some("x-mine".to_owned()))
        .build();
    world.send(with(chat(json!({"user": "u-1"})), SENT)).await;
    let sent = world.upstream.sent.lock().unwrap();
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    let headers = sent[0].1.iter();
    let mut headers: Vec<_> = headers
        .map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .filter(|(name, _)| name != "x-injected")
        .collect();
    headers.sort();
    headers
}

fn listed(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = headers.iter();
    own.map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_wish_nothing_of_the_clients_goes_upstream() {
    let headers = told(ClientHeaders::default()).await;
    assert_eq!(
        headers,
        listed(&[
            ("authorization", "Bearer sk-upstream"),
            ("x-of-deployment", "deployment"),
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn forwarded_headers_are_litellms_and_carry_no_credential() {
    let headers = told(ClientHeaders {
        forwarded: true,
        ..ClientHeaders::default()
    })
    .await;
    assert_eq!(
        headers,
        listed(&[
            ("anthropic-beta", "files-api-2025-04-14"),
            ("authorization", "Bearer sk-upstream"),
            ("x-litellm-user_api_key_user_id", "somebody else"),
            ("x-of-deployment", "deployment"),
            ("x-tenant", "acme"),
            ("x-tenant-secret", "s"),
        ])
    );
}

#[tokio::test(start_paused = true)]
async fn the_clients_organization_takes_the_deployments_place() {
    let headers = told(ClientHeaders {
        organization: true,
        ..ClientHeaders::default()
    })
    .await;
    assert!(headers.contains(&("openai-organization".to_owned(), "org-client".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn who_calls_is_told_by_the_gateway_alone() {
    let headers = told(ClientHeaders {
        forwarded: true,
        caller: true,
        ..ClientHeaders::default()
    })
    .await;
    let about: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name.starts_with(CALLER))
        .map(|(name, value)| (name.trim_start_matches(CALLER), value.as_str()))
        .filter(|(name, _)| *name != "hash")
        .collect();
    assert_eq!(
        about,
        [
            ("end_user_id", "u-1"),
            ("request_route", "/chat/completions"),
            ("user_id", "default_user_id"),
        ]
    );
}
