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
