use serde_json::{Value, json};
use witgate_identity::{KeyHash, MasterKey, Principal};
use witgate_wire::errors::CompatErrors;

use crate::ports::{AuthDecision, AuthDenial, PluginFault};
use crate::snapshot::CustomAuth;
use crate::testing::{FakeAuth, Setup, World, chat, with};

mod sessions;

const MASTER: &str = "sk-master-0123456789";

/// Everybody comes in as this caller, by `custom_auth`.
fn let_in(principal: Principal) -> Setup {
    let decision = Ok(AuthDecision::Identity(Box::new(principal)));
    let plugin = std::sync::Arc::new(FakeAuth::new(decision));
    Setup::new().access(|access| {
        access.custom = Some(CustomAuth {
            plugin,
            auto: false,
            common_checks: false,
        })
    })
}

fn locked() -> Setup {
    Setup::new().access(|access| access.master_key = Some(MasterKey::new(MASTER)))
}

#[tokio::test(start_paused = true)]
async fn the_latest_repeats_no_hash_of_an_unknown_key() {
    let sent = "sk-wrong-0123456789";
    let bearer = format!("Bearer {sent}");
    let hash = KeyHash::of(sent);
    for (compat, tells) in [(CompatErrors::V2025, true), (CompatErrors::Latest, false)] {
        let world = locked().settings(|s| s.compat = compat).build();
        let answer = world
            .send(with(chat(json!({})), &[("authorization", &bearer)]))
            .await;
        assert_eq!(
            answer.message().contains(hash.as_str()),
            tells,
            "{answer:?}"
        );
        assert!(!answer.text.contains(sent), "{answer:?}");
        assert_eq!(answer.error()["type"], "token_not_found_in_db");
    }
}

#[tokio::test(start_paused = true)]
async fn an_identity_calls_the_routes_that_it_is_for() {
    for (routes, status) in [
        (vec![], 200),
        (vec!["llm_api_routes"], 200),
        (vec!["/chat/completions"], 200),
        (vec!["info_routes", "/embeddings"], 403),
    ] {
        let principal = Principal {
            allowed_routes: routes.iter().map(|route| (*route).to_owned()).collect(),
            ..Principal::default()
        };
        let world = let_in(principal);
        let answer = world.build().send(chat(json!({}))).await;
        assert_eq!(answer.status, status, "{routes:?} {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_team_may_keep_guardrails_as_they_are() {
    let of_team = |may: bool| {
        let team_metadata = json!({"guardrails": {"modify_guardrails": may}});
        let principal = Principal {
            team_metadata: team_metadata.as_object().cloned().unwrap_or_default(),
            ..Principal::default()
        };
        let_in(principal)
    };
    for (body, status) in [
        (json!({}), 200),
        (json!({"guardrails": []}), 403),
        (json!({"metadata": {"guardrails": ["g"]}}), 403),
        (json!({"litellm_metadata": {"guardrails": ["g"]}}), 403),
        (json!({"metadata": {"disable_global_guardrail": true}}), 403),
        (json!({"opted_out_global_guardrails": ["g"]}), 403),
    ] {
        let answer = of_team(false).build().send(chat(body.clone())).await;
        assert_eq!(answer.status, status, "{body} {answer:?}");
        assert_eq!(of_team(true).build().send(chat(body)).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn tags_of_clients_are_refused_where_the_operator_says_so() {
    let strict = || Setup::new().access(|access| access.demands.no_client_tags = true);
    let tagged = json!({"metadata": {"tags": ["free"]}});
    let answer = strict().build().send(chat(tagged.clone())).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.error()["type"], "bad_request_error");
    assert_eq!(answer.error()["param"], "metadata.tags");
    assert_eq!(strict().build().send(chat(json!({}))).await.status, 200);
    assert_eq!(World::new().send(chat(tagged)).await.status, 200);
}

/// The credential, then status, `type` and a part of the message.
#[tokio::test(start_paused = true)]
async fn the_master_key_opens_and_nothing_else_does() {
    let cases = [
        (
            vec![("authorization", "Bearer sk-master-0123456789")],
            200,
            "",
            "",
        ),
        (vec![("x-api-key", MASTER)], 200, "", ""),
        (
            vec![],
            401,
            "auth_error",
            "Authentication Error, No api key passed in.",
        ),
        (
            vec![("authorization", MASTER)],
            401,
            "auth_error",
            "Authentication Error, Malformed API Key passed in.",
        ),
        (
            vec![("authorization", "Bearer ")],
            401,
            "auth_error",
            "Authentication Error, Malformed API Key",
        ),
        (
            vec![("authorization", "Bearer pk-wrong-0123456789")],
            401,
            "auth_error",
            "expected to start with 'sk-'",
        ),
        (
            vec![("authorization", "Bearer sk-wrong-0123456789")],
            401,
            "token_not_found_in_db",
            "Invalid proxy server token passed",
        ),
    ];
    for (headers, status, kind, message) in cases {
        let world = locked().build();
        let answer = world.send(with(chat(json!({})), &headers)).await;
        assert_eq!(answer.status, status, "{headers:?} {answer:?}");
        assert!(
            !answer.text.contains("0123456789"),
            "a key in {}",
            answer.text
        );
        if status == 200 {
            let caller = world.record().await.caller;
            assert_eq!(
                caller.key_hash.as_deref(),
                Some(KeyHash::of(MASTER).as_str())
            );
            continue;
        }
        assert_eq!(answer.error()["type"], kind, "{headers:?}");
        assert!(answer.message().contains(message), "{headers:?} {answer:?}");
        assert_eq!(world.upstream.calls(), 0);
        let failure = world.failure().await;
        assert_eq!(
            (failure.status, &*failure.class),
            (Some(401), "ProxyException")
        );
        assert!(
            !format!("{failure:?}").contains("0123456789"),
            "a key in {failure:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_keys_param_is_key() {
    let answer = locked()
        .build()
        .send(with(chat(json!({})), &[("api-key", "sk-12345678901234")]))
        .await;
    assert_eq!(answer.error()["param"], "key");
}

#[tokio::test(start_paused = true)]
async fn without_a_master_key_everybody_comes_in() {
    for headers in [vec![], vec![("authorization", "Bearer anything")]] {
        let world = World::new();
        assert_eq!(
            world.send(with(chat(json!({})), &headers)).await.status,
            200
        );
        let caller = world.record().await.caller;
        assert_eq!(caller.key_hash.is_some(), !headers.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_header_of_the_operators_choice_is_the_only_one_when_it_is_sent() {
    let setup = locked().access(|access| access.key_header = Some("x-corp-key".to_owned()));
    let world = setup.build();
    let wrong = with(
        chat(json!({})),
        &[
            ("x-corp-key", "Bearer sk-no"),
            ("authorization", "Bearer sk-master-0123456789"),
        ],
    );
    assert_eq!(world.send(wrong).await.status, 401);
    let right = with(
        chat(json!({})),
        &[("x-corp-key", "Bearer sk-master-0123456789")],
    );
    assert_eq!(world.send(right).await.status, 200);
}

fn denial() -> AuthDenial {
    AuthDenial {
        status: 403,
        message: "not today".to_owned(),
        kind: Some("corp_error".to_owned()),
        param: Some("badge".to_owned()),
    }
}

fn fault() -> Result<AuthDecision, PluginFault> {
    Err(PluginFault::new("trap at sk-inside-0123456789".to_owned()))
}

fn alice() -> AuthDecision {
    let principal = Principal {
        user_id: Some("alice".to_owned()),
        ..Principal::default()
    };
    AuthDecision::Identity(Box::new(principal))
}

/// The decision and mode `auto`, then the status with the master key in the request, the status with a
/// wrong key, and the error's message in the latter case.
#[tokio::test(start_paused = true)]
async fn custom_authentication_decides_as_its_mode_allows() {
    let key = |key: &str| Ok(AuthDecision::Key(key.to_owned().into()));
    let declined = "Authentication Error, custom_auth did not accept this request.";
    let failed = "Authentication Error, custom_auth could not check this request.";
    let unknown = "Authentication Error, Invalid proxy server token passed";
    let cases = [
        (Ok(alice()), false, 200, 200, ""),
        (key(MASTER), false, 200, 200, ""),
        (key("sk-some-other-key-1"), false, 401, 401, unknown),
        (Ok(AuthDecision::Decline), false, 401, 401, declined),
        (
            Ok(AuthDecision::Deny(denial())),
            false,
            403,
            403,
            "not today",
        ),
        (fault(), false, 401, 401, failed),
        (Ok(alice()), true, 200, 200, ""),
        (Ok(AuthDecision::Decline), true, 200, 401, unknown),
        (
            Ok(AuthDecision::Deny(denial())),
            true,
            403,
            403,
            "not today",
        ),
        (fault(), true, 200, 401, unknown),
    ];
    for (decision, auto, with_master, with_wrong, message) in cases {
        let shown = format!("{decision:?} auto={auto}");
        let plugin = std::sync::Arc::new(FakeAuth::new(decision));
        let custom = CustomAuth {
            plugin: plugin.clone(),
            auto,
            common_checks: false,
        };
        let world = locked()
            .access(|access| access.custom = Some(custom))
            .build();
        let call = |key: &str| with(chat(json!({})), &[("x-litellm-api-key", key)]);
        assert_eq!(
            world.send(call(MASTER)).await.status,
            with_master,
            "{shown}"
        );
        let answer = world.send(call("sk-wrong-0123456789")).await;
        assert_eq!(answer.status, with_wrong, "{shown}");
        if with_wrong != 200 {
            assert!(answer.message().starts_with(message), "{shown}: {answer:?}");
        }
        assert!(!answer.text.contains("sk-inside"), "{answer:?}");
        assert_eq!(plugin.asked.lock().unwrap()[0].api_key.as_str(), MASTER);
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_keeps_its_own_type_and_param() {
    let plugin = std::sync::Arc::new(FakeAuth::new(Ok(AuthDecision::Deny(denial()))));
    let setup = locked().access(|access| {
        access.custom = Some(CustomAuth {
            plugin,
            auto: false,
            common_checks: false,
        })
    });
    let error = setup.build().send(chat(json!({}))).await.error();
    assert_eq!(
        error,
        json!({"message": "not today", "type": "corp_error", "param": "badge", "code": "403"})
    );
}

#[tokio::test(start_paused = true)]
async fn a_denial_with_a_status_that_is_no_error_becomes_401() {
    let denial = AuthDenial {
        status: 200,
        ..denial()
    };
    let plugin = std::sync::Arc::new(FakeAuth::new(Ok(AuthDecision::Deny(denial))));
    let setup = locked().access(|access| {
        access.custom = Some(CustomAuth {
            plugin,
            auto: false,
            common_checks: false,
        })
    });
    assert_eq!(setup.build().send(chat(json!({}))).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn custom_authentication_without_a_master_key_lets_nobody_in_who_was_not_vouched_for() {
    for auto in [false, true] {
        let plugin = std::sync::Arc::new(FakeAuth::new(Ok(AuthDecision::Decline)));
        let setup = Setup::new().access(|access| {
            access.custom = Some(CustomAuth {
                plugin,
                auto,
                common_checks: false,
            })
        });
        assert_eq!(
            setup.build().send(chat(json!({}))).await.status,
            401,
            "auto={auto}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_custom_identity_is_accounted_under_the_key_it_came_with() {
    let plugin = std::sync::Arc::new(FakeAuth::new(Ok(alice())));
    let asked = plugin.clone();
    let setup = Setup::new().access(|access| {
        access.custom = Some(CustomAuth {
            plugin,
            auto: false,
            common_checks: false,
        })
    });
    let world = setup.build();
    let mut call = with(
        chat(json!({})),
        &[("authorization", "Bearer t0ken"), ("x-team", "red")],
    );
    call.url = "/v1/chat/completions?a=b".to_owned();
    world.send(call).await;
    let caller = world.record().await.caller;
    assert_eq!(caller.user_id.as_deref(), Some("alice"));
    assert_eq!(
        caller.key_hash.as_deref(),
        Some(KeyHash::of("t0ken").as_str())
    );
    let asked = &asked.asked.lock().unwrap()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(asked.query.as_deref(), Some("a=b"));
    assert_eq!(asked.client_ip.as_deref(), Some("192.0.2.7"));
    assert!(
        asked
            .headers
            .contains(&("x-team".to_owned(), "red".to_owned()))
    );
}

fn restricted(models: &[&str]) -> Setup {
    let models = models.iter().map(|m| (*m).to_owned()).collect();
    let principal = Principal {
        models,
        ..Principal::default()
    };
    let_in(principal)
}

#[tokio::test(start_paused = true)]
async fn a_model_outside_the_callers_list_is_refused() {
    let old = "key not allowed to access model. This key can only access models=['a', 'b']. Tried to access gpt-4o";
    // The latest tells nobody what else there is.
    let new = "The requested model 'gpt-4o' is not available for this API key, or the model name is invalid. Check the models available to you and try again.";
    for (compat, status, message) in [
        (CompatErrors::V2025, 401, old),
        (CompatErrors::Latest, 403, new),
    ] {
        let world = restricted(&["a", "b"])
            .settings(|s| s.compat = compat)
            .build();
        let answer = world.send(chat(json!({}))).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.error()["type"], "key_model_access_denied");
        assert_eq!(answer.error()["param"], "model");
        assert_eq!(answer.message(), message);
        assert_eq!(world.upstream.calls(), 0);
    }
    assert_eq!(
        restricted(&["gpt-4o"])
            .build()
            .send(chat(json!({})))
            .await
            .status,
        200
    );
}

/// Field of the body, whether client credentials are allowed, and the status then.
#[tokio::test(start_paused = true)]
async fn credentials_of_the_client_are_refused_unless_allowed() {
    let cases: [(&str, Value, bool, u16); 7] = [
        ("api_base", json!("http://evil"), false, 400),
        ("base_url", json!("http://evil"), false, 400),
        ("vertex_credentials", json!("x"), false, 400),
        ("api_base", Value::Null, false, 200),
        ("api_key", json!("k"), false, 400),
        ("api_key", json!("k"), true, 200),
        ("model_list", json!([]), true, 400),
    ];
    for (field, value, allowed, status) in cases {
        let world = Setup::new()
            .access(|access| access.client_credentials = allowed)
            .build();
        let mut extra = json!({});
        extra[field] = value;
        let answer = world.send(chat(extra)).await;
        assert_eq!(answer.status, status, "{field} {allowed}");
        if status == 400 {
            assert!(
                answer
                    .message()
                    .contains(&format!("{field} is not allowed in request body")),
                "{answer:?}"
            );
            assert_eq!(world.upstream.calls(), 0);
        } else {
            // Whatever is allowed, it is no parameter of the model.
            assert!(world.upstream.body(0).get(field).is_none_or(Value::is_null));
        }
    }
}
