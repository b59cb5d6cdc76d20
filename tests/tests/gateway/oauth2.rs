//! Opaque tokens that an OAuth2 server knows, identities that a proxy in front gives, and the checks after a plugin's word.

use serde_json::json;
use witgate_testkit::{FakeIssuer, FakeUpstream, Gateway, Reply};

use crate::jwt::refused;
use crate::support::idp::Idp;
use crate::support::{Client, MASTER_KEY, Stage, base_config, chat};

async fn stage(
    general: &str,
    more: &str,
    shape: impl FnOnce(witgate_testkit::GatewayBuilder) -> witgate_testkit::GatewayBuilder,
) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        "general_settings:\n",
        &format!("general_settings:\n{general}"),
    ) + more;
    Stage::of(
        upstream,
        shape(Gateway::builder(config)).shared_plugin_cache(),
    )
    .await
}

#[tokio::test]
async fn opaque_tokens_of_a_real_server_until_they_are_taken_back() {
    let idp = Idp::start().await;
    let stage = stage("  enable_oauth2_auth: true\n", "", |gateway| {
        gateway
            .env(
                "OAUTH_TOKEN_INFO_ENDPOINT",
                format!("{}/token/introspection", idp.own("issuer")),
            )
            .env("OAUTH_CLIENT_ID", idp.own("client_id"))
            .env("OAUTH_CLIENT_SECRET", idp.own("client_secret"))
            .env("OAUTH_USER_TEAM_ID_FIELD_NAME", "group")
    })
    .await;
    let body = json!({"team_id": "red", "models": ["gpt-4o"]});
    stage.client.post("/team/new", &body).await.ok();
    let claims = json!({"sub": "ann", "group": "red", "role": "proxy_admin"}).to_string();
    let token = idp
        .token(&[("format", "opaque"), ("claims", &claims)])
        .await;
    let ann = Client::of(&stage.gateway).key(&token);
    ann.chat(&chat("gpt-4o")).await.ok();
    let rows = stage.gateway.wait_for_spend_rows(1).await;
    assert_eq!(
        (&rows[0]["user"], &rows[0]["team_id"]),
        (&json!("ann"), &json!("red"))
    );
    let closed = ann.chat(&chat("gpt-3.5-turbo-instruct")).await.error(401);
    assert_eq!(closed["type"], "team_model_access_denied");
    ann.get("/key/info").await;
    // Whatever the server says of a role, the token reaches no route that manages.
    for path in ["/key/generate", "/team/new", "/user/new"] {
        refused(
            &ann.post(path, &json!({})).await,
            401,
            "LiteLLM Virtual Key expected",
        );
    }
    idp.revoke(&token).await;
    refused(
        &ann.chat(&chat("gpt-4o")).await,
        401,
        "Oauth 2.0 token validation failed",
    );
    let unknown = Client::of(&stage.gateway).key("never-given-out");
    refused(
        &unknown.chat(&chat("gpt-4o")).await,
        401,
        "Oauth 2.0 token validation failed",
    );
    stage.client.chat(&chat("gpt-4o")).await.ok();
    for secret in [
        &token,
        "never-given-out",
        &idp.own("client_secret"),
        MASTER_KEY,
    ] {
        assert!(!stage.gateway.printed(secret), "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_plain_endpoint_is_shown_the_bearer_and_says_who_it_is() {
    let issuer = FakeIssuer::start().await;
    let general = "  enable_oauth2_auth: true\n  enable_jwt_auth: true\n  litellm_jwtauth: {user_id_jwt_field: sub, user_id_upsert: true}\n";
    let stage = stage(general, "", |gateway| {
        gateway
            .env(
                "OAUTH_TOKEN_INFO_ENDPOINT",
                format!("{}/tokeninfo", issuer.issuer()),
            )
            .env("JWT_PUBLIC_KEY_URL", issuer.keys_url())
    })
    .await;
    issuer.knows("opaque-1", json!({"sub": "ann"}));
    issuer.knows("opaque-2", json!({"sub": "ann", "active": false}));
    let call = async |token: &str| {
        Client::of(&stage.gateway)
            .key(token)
            .chat(&chat("gpt-4o"))
            .await
    };
    call("opaque-1").await.ok();
    refused(
        &call("opaque-2").await,
        401,
        "Oauth 2.0 token validation failed",
    );
    refused(
        &call("opaque-3").await,
        401,
        "Oauth 2.0 token validation failed",
    );
    issuer.vendor().next(Reply::status(503, &[], "down"));
    refused(&call("opaque-1").await, 503, "Please retry shortly");
    // A signed token is no opaque one, and nobody else is shown the gateway's own keys.
    call(&issuer.token(json!({"sub": "bob"}))).await.ok();
    stage.client.chat(&chat("gpt-4o")).await.ok();
    refused(&call("sk-unknown").await, 401, "Invalid proxy server token");
    let shown = issuer.vendor().requests().all();
    let shown = shown.iter().filter(|one| one.path() == "/tokeninfo");
    let shown: Vec<_> = shown
        .filter_map(|one| one.header("authorization"))
        .collect();
    assert_eq!(shown.len(), 4, "{shown:?}");
    assert!(
        shown.iter().all(|one| one.starts_with("Bearer opaque-")),
        "{shown:?}"
    );
}

#[tokio::test]
async fn a_proxy_in_front_says_who_is_calling_and_nobody_else_does() {
    let general = |ranges: &str| {
        format!(
            "  enable_oauth2_proxy_auth: true\n  trusted_proxy_ranges: [{ranges}]\n  oauth2_config_mappings: {{user_id: X-User, team_id: x-team, models: x-models}}\n"
        )
    };
    let trusted = stage(&general("127.0.0.0/8"), "", |gateway| gateway).await;
    let body = json!({"team_id": "red", "rpm_limit": 2});
    trusted.client.post("/team/new", &body).await.ok();
    let ann = |stage: &Stage| {
        let client = Client::of(&stage.gateway);
        client.header("x-user", "ann").header("x-team", "red")
    };
    ann(&trusted).chat(&chat("gpt-4o")).await.ok();
    let rows = trusted.gateway.wait_for_spend_rows(1).await;
    assert_eq!(
        (&rows[0]["user"], &rows[0]["team_id"]),
        (&json!("ann"), &json!("red"))
    );
    let bounded = ann(&trusted).header("x-models", "a, gpt-3.5-turbo-instruct");
    bounded.chat(&chat("gpt-4o")).await.error(401);
    ann(&trusted).post("/user/new", &json!({})).await.error(401);
    ann(&trusted).chat(&chat("gpt-4o")).await.ok();
    assert_eq!(ann(&trusted).chat(&chat("gpt-4o")).await.status, 429);
    // Without such a header everything is as ever.
    refused(
        &Client::of(&trusted.gateway).chat(&chat("gpt-4o")).await,
        401,
        "No api key passed in",
    );
    trusted.client.chat(&chat("gpt-4o")).await.ok();

    // A header says nothing of where it comes from: the connection does.
    let more = "  use_x_forwarded_for: true\n";
    let other = stage(&(general("10.0.0.0/8") + more), "", |gateway| gateway).await;
    let eve = ann(&other).header("x-forwarded-for", "10.0.0.1");
    refused(
        &eve.chat(&chat("gpt-4o")).await,
        401,
        "No api key passed in",
    );
}

#[tokio::test]
async fn models_and_limits_of_the_database_hold_after_custom_auth_when_that_is_wanted() {
    let plugins =
        "plugins:\n  custom-auth: {settings: {teams: {red: {token: team-red-0123456789}}}}\n";
    for (key, checks) in [
        ("custom_auth_run_common_checks", false),
        ("custom_auth_run_common_checks", true),
        ("enable_post_custom_auth_checks", true),
    ] {
        let general = format!(
            "  custom_auth: custom-auth\n  custom_auth_settings: {{mode: auto}}\n  {key}: {checks}\n"
        );
        let stage = stage(&general, plugins, |gateway| gateway).await;
        let body = json!({"team_id": "red", "models": ["gpt-3.5-turbo-instruct", "gpt-4o"], "rpm_limit": 1});
        stage.client.post("/team/new", &body).await.ok();
        let red = Client::of(&stage.gateway).key("team-red-0123456789");
        red.chat(&chat("gpt-4o")).await.ok();
        let more = red.chat(&chat("gpt-4o")).await;
        let other = red.chat(&chat("text-embedding-3-small")).await;
        stage
            .client
            .post("/team/block", &json!({"team_id": "red"}))
            .await
            .ok();
        let blocked = red.chat(&chat("gpt-4o")).await;
        match checks {
            false => {
                for answer in [more, other, blocked] {
                    answer.ok();
                }
            }
            true => {
                assert_eq!(more.status, 429, "{}", more.text());
                assert_eq!(other.error(401)["type"], "team_model_access_denied");
                refused(&blocked, 401, "Team=red is blocked");
            }
        }
    }
}

/// Without a master key an identity provider is the only way in.
#[tokio::test]
async fn without_a_master_key_nobody_comes_in_but_whom_the_provider_knows() {
    let issuer = FakeIssuer::start().await;
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base()).replace(
        &format!("  master_key: {MASTER_KEY}\n"),
        "  enable_jwt_auth: true\n",
    );
    let gateway = Gateway::builder(config)
        .env("JWT_PUBLIC_KEY_URL", issuer.keys_url())
        .start()
        .await;
    let good = Client::of(&gateway).key(&issuer.token(json!({})));
    good.chat(&chat("gpt-4o")).await.ok();
    for other in [Client::of(&gateway), Client::of(&gateway).key("sk-1234")] {
        let answer = other.chat(&chat("gpt-4o")).await;
        refused(
            &answer,
            401,
            "no identity provider vouches for this request",
        );
        other.post("/key/generate", &json!({})).await.error(401);
    }
}
