//! Several issuers, userinfo, and a plugin's word on claims.

use serde_json::json;
use witgate_testkit::{FakeIssuer, FakeUpstream, Gateway};

use super::{config, refused};
use crate::support::{Client, Stage, base_config, chat};

async fn stage(jwtauth: &str, general: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = config(&base_config(&upstream.api_base()), jwtauth, general);
    Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await
}

#[tokio::test]
async fn each_of_several_issuers_has_its_keys_audience_and_claims() {
    let (one, other) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let settings = format!(
        "{{user_id_upsert: true, user_id_jwt_field: sub, issuers: [{{issuer: '{}', audience: [gw, gw2], user_id_jwt_field: mail}}, {{issuer: '{}', jwks_url: '{}', disable_audience_validation: true}}]}}",
        one.issuer(),
        other.issuer(),
        other.keys_url(),
    );
    let stage = stage(&settings, "").await;
    let call = async |token: &str| {
        Client::of(&stage.gateway)
            .key(token)
            .chat(&chat("gpt-4o"))
            .await
    };
    call(&one.token(json!({"aud": "gw2", "mail": "ann", "sub": "x"})))
        .await
        .ok();
    call(&other.token(json!({"aud": "whoever", "sub": "bob"})))
        .await
        .ok();
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let mut users: Vec<&str> = rows.iter().filter_map(|row| row["user"].as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["ann", "bob"]);
    let wrong = one.token(json!({"aud": ["x"], "mail": "ann"}));
    refused(&call(&wrong).await, 401, "(`aud`)");
    refused(
        &call(&one.token(json!({"mail": "ann"}))).await,
        401,
        "(`aud`)",
    );
    // One issuer's key under the other's name.
    let stolen = other.token(json!({"iss": one.issuer(), "aud": "gw", "mail": "eve"}));
    refused(&call(&stolen).await, 401, "its signature is wrong");
    let stranger = FakeIssuer::start().await.token(json!({"sub": "eve"}));
    refused(&call(&stranger).await, 401, "JWT_PUBLIC_KEY_URL");
}

#[tokio::test]
async fn userinfo_says_who_has_an_opaque_token_and_a_plugin_whether_that_is_enough() {
    let idp = FakeIssuer::start().await;
    let settings = format!(
        "{{oidc_userinfo_enabled: true, oidc_userinfo_endpoint: '{}/userinfo', user_id_jwt_field: sub, user_id_upsert: true, custom_validate: custom-auth}}",
        idp.issuer()
    );
    let plugins =
        "plugins:\n  custom-auth: {settings: {teams: {red: {token: team-red-0123456789}}}}\n";
    let upstream = FakeUpstream::start().await;
    let config = config(&base_config(&upstream.api_base()), &settings, "") + plugins;
    let stage = Stage::of(upstream, Gateway::builder(config).shared_plugin_cache()).await;
    idp.knows("team-red-0123456789", json!({"sub": "ann"}));
    idp.knows("opaque-token-4711", json!({"sub": "eve"}));
    let call = async |token: &str| {
        Client::of(&stage.gateway)
            .key(token)
            .chat(&chat("gpt-4o"))
            .await
    };
    call("team-red-0123456789").await.ok();
    let rows = stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(rows[0]["user"], "ann");
    // It is asked once for a while.
    call("team-red-0123456789").await.ok();
    let asked = idp.vendor().requests().all();
    assert_eq!(
        asked.iter().filter(|one| one.path() == "/userinfo").count(),
        1
    );
    refused(
        &call("opaque-token-4711").await,
        403,
        "refused by litellm_jwtauth.custom_validate",
    );
    refused(&call("unknown-token-4711").await, 401, "does not know it");
    assert!(!stage.gateway.printed("opaque-token-4711"));
    stage.client.chat(&chat("gpt-4o")).await.ok();
}

/// The claim that stands for a key is each issuer's own, and so is what it stands for.
#[tokio::test]
async fn each_of_several_issuers_has_its_own_claim_for_keys() {
    let (one, other) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let settings = format!(
        "{{user_id_jwt_field: sub, user_id_upsert: true, unregistered_jwt_client_behavior: reject, issuers: [{{issuer: '{}', disable_audience_validation: true, virtual_key_claim_field: azp}}, {{issuer: '{}', disable_audience_validation: true, jwt_client_id_field: client}}, {{issuer: '{}', disable_audience_validation: true}}]}}",
        one.issuer(),
        other.issuer(),
        "https://third.example.com",
    );
    let stage = stage(&settings, "").await;
    let call = async |token: &str| {
        Client::of(&stage.gateway)
            .key(token)
            .chat(&chat("gpt-4o"))
            .await
    };
    let mut tokens = Vec::new();
    for (issuer, claim) in [(&one, "azp"), (&other, "client")] {
        let alias = json!({ "key_alias": claim });
        let key = stage.client.post("/key/generate", &alias).await.ok();
        let mapping = json!({
            "jwt_issuer": issuer.issuer(), "jwt_claim_name": claim, "jwt_claim_value": "ci", "key": key["key"],
        });
        let mapped = stage.client.post("/jwt/key/mapping/new", &mapping).await;
        assert_eq!(mapped.status, 200, "{}", mapped.text());
        call(&issuer.token(json!({"sub": "ann", claim: "ci"})))
            .await
            .ok();
        tokens.push(key["token"].clone());
    }
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let keys: Vec<_> = rows.iter().map(|row| row["api_key"].clone()).collect();
    assert!(tokens.iter().all(|token| keys.contains(token)), "{keys:?}");
    // The other issuer's claim means nothing here.
    let crossed = one.token(json!({"sub": "ann", "client": "ci"}));
    refused(&call(&crossed).await, 403, "no claim azp");
}

/// Tokens that are signed and that an OAuth2 server is asked about: those that an override takes, and no others.
#[tokio::test]
async fn overrides_lead_tokens_of_machines_to_an_oauth2_server() {
    let (people, machines) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let settings = format!(
        "{{user_id_jwt_field: sub, user_id_upsert: true, routing_overrides: [{{iss: '{}*', client_id: [other, 'MID_*'], scope: llm.*, path: oauth2}}]}}",
        machines.issuer()
    );
    let upstream = FakeUpstream::start().await;
    let config = config(&base_config(&upstream.api_base()), &settings, "");
    let builder = Gateway::builder(config)
        .env("JWT_PUBLIC_KEY_URL", people.keys_url())
        .env(
            "OAUTH_TOKEN_INFO_ENDPOINT",
            format!("{}/tokeninfo", machines.issuer()),
        );
    let stage = Stage::of(upstream, builder).await;
    let call = async |token: &str| {
        Client::of(&stage.gateway)
            .key(token)
            .chat(&chat("gpt-4o"))
            .await
    };
    let claims =
        |client: &str, scope: &str| json!({"sub": "m", "client_id": client, "scope": scope});
    let known = machines.token(claims("MID_1", "openid llm.chat"));
    machines.knows(&known, json!({"sub": "machine-1"}));
    call(&known).await.ok();
    call(&people.token(json!({"sub": "ann"}))).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(2).await;
    let mut users: Vec<&str> = rows.iter().filter_map(|row| row["user"].as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["ann", "machine-1"]);
    // The server does not know it, whatever its signature.
    let unknown = machines.token(claims("MID_2", "llm.chat"));
    let answer = call(&unknown).await;
    refused(&answer, 401, "Oauth 2.0 token validation failed");
    // Another client, another scope, another issuer: those are for keys that are published.
    let asked = machines.vendor().requests().len();
    for token in [
        machines.token(claims("mid_1", "llm.chat")),
        machines.token(claims("MID_1", "openid")),
        machines.token(json!({"sub": "m", "scope": "llm.chat"})),
        people.spoilt(witgate_testkit::Spoilt::Forged, claims("MID_1", "llm.chat")),
    ] {
        assert_eq!(call(&token).await.status, 401);
    }
    assert_eq!(machines.vendor().requests().len(), asked);
    // Neither are bearers that are no tokens, and routes that manage.
    call("opaque-and-unknown").await.error(401);
    let manages = Client::of(&stage.gateway).key(&known);
    let answer = manages.post("/key/generate", &json!({})).await;
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(machines.vendor().requests().len(), asked);
}
