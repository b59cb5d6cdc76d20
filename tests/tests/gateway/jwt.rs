//! Tokens of identity providers: which are good, who they stand for, and how far they get.

mod access;
mod mapped;
mod people;
mod several;

use futures_util::future::join_all;
use serde_json::{Value, json};
use witgate_testkit::{FakeIssuer, FakeUpstream, Gateway, GatewayBuilder, Reply, now_s};

use crate::support::idp::Idp;
use crate::support::{Answer, Client, Stage, UPSTREAM_KEY, base_config, chat};

/// A gateway that takes the tokens of an issuer.
pub struct World {
    pub stage: Stage,
    pub issuer: FakeIssuer,
}

impl World {
    /// With these `litellm_jwtauth`, in YAML's short form, and further lines of `general_settings`.
    pub async fn with(jwtauth: &str, general: &str) -> Self {
        let issuer = FakeIssuer::start().await;
        let upstream = FakeUpstream::start().await;
        let config = config(&base_config(&upstream.api_base()), jwtauth, general);
        let builder = Gateway::builder(config).env("JWT_PUBLIC_KEY_URL", issuer.keys_url());
        let stage = Stage::of(upstream, builder).await;
        Self { stage, issuer }
    }

    /// The same at prices: a dollar for each token of a prompt.
    pub async fn priced(jwtauth: &str) -> Self {
        let issuer = FakeIssuer::start().await;
        let upstream = FakeUpstream::start().await;
        let config = base_config(&upstream.api_base()).replace(
            &format!("api_key: {UPSTREAM_KEY}}}"),
            &format!(
                "api_key: {UPSTREAM_KEY}, input_cost_per_token: 1, output_cost_per_token: 0}}"
            ),
        );
        let builder = Gateway::builder(self::config(&config, jwtauth, ""))
            .env("JWT_PUBLIC_KEY_URL", issuer.keys_url());
        let stage = Stage::of(upstream, builder).await;
        Self { stage, issuer }
    }

    /// Somebody with a token of these claims.
    pub fn holder(&self, claims: Value) -> Client {
        self.bearer(&self.issuer.token(claims))
    }

    pub fn bearer(&self, token: &str) -> Client {
        Client::of(&self.stage.gateway).key(token)
    }

    /// Their call of a model.
    pub async fn call(&self, claims: Value, model: &str) -> Answer {
        self.holder(claims).chat(&chat(model)).await
    }

    /// An operation of the administrator's, which must succeed.
    pub async fn done(&self, path: &str, body: Value) -> Value {
        self.stage.client.post(path, &body).await.ok()
    }
}

/// A configuration with tokens.
pub fn config(base: &str, jwtauth: &str, general: &str) -> String {
    base.replace(
        "general_settings:\n",
        &format!(
            "general_settings:\n  enable_jwt_auth: true\n  litellm_jwtauth: {jwtauth}\n{general}"
        ),
    )
}

#[track_caller]
pub fn refused(answer: &Answer, status: u16, part: &str) {
    let error = answer.error(status);
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(part), "not about {part:?}: {error}");
}

/// A gateway that takes what a real provider gives out for it.
async fn with_idp(idp: &Idp, jwtauth: &str) -> Stage {
    let upstream = FakeUpstream::start().await;
    let issuer = idp.own("issuer");
    let config = config(&base_config(&upstream.api_base()), jwtauth, "");
    let builder: GatewayBuilder = Gateway::builder(config)
        .env(
            "JWT_PUBLIC_KEY_URL",
            format!("{issuer}/.well-known/openid-configuration"),
        )
        .env("JWT_AUDIENCE", idp.own("audience"))
        .env("JWT_ISSUER", issuer);
    Stage::of(upstream, builder).await
}

#[tokio::test]
async fn tokens_of_a_real_provider_in_every_algorithm_until_it_changes_its_keys() {
    let mut idp = Idp::start().await;
    let stage = with_idp(&idp, "{user_id_jwt_field: sub, user_id_upsert: true}").await;
    let ask = async |token: &str| {
        let client = Client::of(&stage.gateway).key(token);
        client.chat(&chat("gpt-4o")).await
    };
    assert_eq!(idp.algorithms().len(), 10);
    for alg in idp.algorithms() {
        let token = idp.token(&[("alg", &alg)]).await;
        let answer = ask(&token).await;
        assert_eq!(answer.status, 200, "{alg}: {}", answer.text());
        // One bit of the signature.
        let (signed, signature) = token.rsplit_once('.').expect("a signature");
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let spoilt = format!("{signed}.{first}{}", &signature[1..]);
        refused(&ask(&spoilt).await, 401, "its signature is wrong");
    }
    let other = idp.token(&[("audience", "https://other.example")]).await;
    refused(&ask(&other).await, 401, "it is for somebody else (`aud`)");

    let old = idp.token(&[]).await;
    idp.rotate().await;
    let new = idp.token(&[]).await;
    ask(&old).await.ok();
    ask(&new).await.ok();
    refused(&ask(&old).await, 401, "no published key fits");
    // Keys of the gateway's own are as they were.
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let made = stage.client.post("/key/generate", &json!({})).await.ok();
    ask(made["key"].as_str().expect("a key")).await.ok();
    refused(&ask("sk-a.b.c").await, 401, "Invalid proxy server token");
    refused(&ask("nobody").await, 401, "LiteLLM Virtual Key expected");
}

#[tokio::test]
async fn a_token_that_is_not_good_lets_nobody_in_and_is_nowhere_told() {
    let world = World::with("{user_id_jwt_field: user_id, user_id_upsert: true}", "").await;
    let good = json!({"user_id": "ann"});
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        world.issuer.token(claims)
    };
    let now = now_s();
    let mut tokens = vec![
        (with("exp", json!(now - 1)), "Token Expired"),
        (with("exp", Value::Null), "does not say when it ends"),
        (
            with("exp", json!("9999999999")),
            "does not say when it ends",
        ),
        (with("nbf", json!(now + 600)), "not valid yet"),
        ("a.b.c".to_owned(), "it is not base64url"),
        ("..".to_owned(), "its header is not"),
    ];
    for how in FakeIssuer::SPOILT {
        use witgate_testkit::Spoilt::{Changed, Confused, ForeignKey, Forged, Unsigned};
        let why = match how {
            Forged | Changed => "its signature is wrong",
            ForeignKey => "no published key fits",
            Unsigned | Confused => "its algorithm is none of",
        };
        tokens.push((world.issuer.spoilt(how, good.clone()), why));
    }
    for (token, why) in &tokens {
        refused(&world.bearer(token).chat(&chat("gpt-4o")).await, 401, why);
        refused(&world.bearer(token).get("/key/info").await, 401, why);
    }
    let expired = world.bearer(&tokens[0].0).chat(&chat("gpt-4o")).await;
    assert_eq!(expired.error(401)["type"], "expired_key");
    assert_eq!(world.stage.upstream.requests().len(), 0);
    world.call(good.clone(), "gpt-4o").await.ok();
    tokens.push((world.issuer.token(good), ""));
    for (token, _) in tokens.iter().filter(|(token, _)| token.len() > 5) {
        for piece in token.split('.').skip(1).filter(|piece| !piece.is_empty()) {
            assert!(!world.stage.gateway.printed(piece), "{piece} is in the log");
        }
    }
    let rows = world
        .stage
        .gateway
        .rows("LiteLLM_UserTable", "user_id")
        .await;
    assert!(!json!(rows).to_string().contains("eve"), "{rows:?}");
}

#[tokio::test]
async fn keys_are_asked_for_once_however_many_need_them() {
    let world = World::with("{}", "").await;
    let token = world.issuer.token(json!({"sub": "ann"}));
    let client = world.bearer(&token);
    let calls = (0..20).map(|_| async { client.chat(&chat("gpt-4o")).await });
    for answer in join_all(calls).await {
        answer.ok();
    }
    assert_eq!(world.issuer.key_requests(), 1);
    // Ids that nobody published make one more look, not one each.
    let foreign = world
        .issuer
        .spoilt(witgate_testkit::Spoilt::ForeignKey, json!({}));
    let client = world.bearer(&foreign);
    let calls = (0..20).map(|_| async { client.chat(&chat("gpt-4o")).await });
    for answer in join_all(calls).await {
        refused(&answer, 401, "no published key fits");
    }
    assert_eq!(world.issuer.key_requests(), 2);
}

#[tokio::test]
async fn while_the_provider_is_away_its_last_keys_serve_for_a_time() {
    let away = || Reply::status(500, &[], "down");
    // Good for no time: every call asks anew.
    let world = World::with("{public_key_ttl: 0}", "").await;
    let token = world.issuer.token(json!({"sub": "ann"}));
    let call = async |world: &World, token: &str| world.bearer(token).chat(&chat("gpt-4o")).await;
    world.issuer.vendor().next(away());
    let none = call(&world, &token).await;
    refused(&none, 503, "Please retry shortly");
    assert_eq!(none.error(503)["type"], "auth_provider_unavailable");
    // For a moment nobody asks again.
    refused(&call(&world, &token).await, 503, "Please retry shortly");
    assert_eq!(world.issuer.key_requests(), 1);

    let world = World::with("{public_key_ttl: 0}", "").await;
    let token = world.issuer.token(json!({"sub": "ann"}));
    call(&world, &token).await.ok();
    world.issuer.vendor().next(away());
    call(&world, &token).await.ok();
    call(&world, &token).await.ok();
    world
        .stage
        .gateway
        .wait_for_log("the keys of an identity provider")
        .await;

    let world = World::with("{public_key_ttl: 0, public_key_stale_ttl: 0}", "").await;
    let token = world.issuer.token(json!({"sub": "ann"}));
    call(&world, &token).await.ok();
    world.issuer.vendor().next(away());
    refused(&call(&world, &token).await, 503, "Please retry shortly");
}

#[tokio::test]
async fn what_the_settings_cannot_mean_is_told_at_start() {
    let start = async |general: &str| {
        let config = format!("model_list: []\ngeneral_settings:\n{general}");
        Gateway::builder(config).expect_refusal().await.output
    };
    for (general, part) in [
        (
            "  enable_jwt_auth: true\n  litellm_jwtauth: {team_id_jwt_feld: team}\n",
            "litellm_jwtauth: unknown field `team_id_jwt_feld`, expected one of `admin_jwt_scope`",
        ),
        (
            "  enable_jwt_auth: true\n  litellm_jwtauth: {user_allowed_roles: [a]}\n",
            "user_roles_jwt_field and user_allowed_roles are set together",
        ),
        (
            "  enable_jwt_auth: true\n  role_permissions: [{role: root}]\n",
            "role_permissions: unknown variant `root`",
        ),
        (
            "  enable_oauth2_auth: true\n",
            "OAUTH_TOKEN_INFO_ENDPOINT must say who is asked",
        ),
        (
            "  enable_oauth2_proxy_auth: true\n  oauth2_config_mappings: {user_id: x-user}\n",
            "trusted_proxy_ranges must say which addresses",
        ),
        (
            "  enable_oauth2_proxy_auth: true\n  trusted_proxy_ranges: [127.0.0.1]\n  oauth2_config_mappings: {user_role: x-role}\n",
            "a header may give user_id, user_email, team_id, team_alias, org_id, models",
        ),
    ] {
        let output = start(general).await;
        assert!(output.contains(part), "not about {part:?}: {output}");
    }
}
