//! Which tokens are good, and what one is that stands for a key.

use super::*;

/// Header, claims beside the user's, and the words of the refusal; none when the token is good.
#[tokio::test]
async fn a_token_is_good_when_everything_that_it_says_of_itself_is_right() {
    let verification = Verification {
        audience: Some("gateway".to_owned()),
        issuer: Some(ISSUER.to_owned()),
        ..Verification::default()
    };
    let world = World::with(ann(), verification, Vec::new(), false);
    let good = json!({"alg": "ES256", "kid": "e1"});
    let with = |more: Value| {
        let mut claims = json!({
            "sub": "ann", "iss": ISSUER, "aud": "gateway", "exp": NOW_S + 1, "nbf": NOW_S,
        });
        for (name, value) in more.as_object().unwrap() {
            match value.is_null() {
                true => drop(claims.as_object_mut().unwrap().remove(name)),
                false => claims[name] = value.clone(),
            }
        }
        claims
    };
    for (header, more, words) in [
        (good.clone(), json!({}), ""),
        (good.clone(), json!({"nbf": null}), ""),
        (good.clone(), json!({"aud": ["other", "gateway"]}), ""),
        (json!({"alg": "ES256"}), json!({}), ""),
        (good.clone(), json!({"exp": NOW_S}), "Token Expired"),
        (good.clone(), json!({"exp": NOW_S - 1}), "Token Expired"),
        (good.clone(), json!({"exp": null}), "(`exp`)"),
        (good.clone(), json!({"exp": "tomorrow"}), "(`exp`)"),
        (good.clone(), json!({"nbf": NOW_S + 1}), "(`nbf`)"),
        (good.clone(), json!({"nbf": "today"}), "(`nbf`)"),
        (
            good.clone(),
            json!({"iss": "https://evil.example"}),
            "(`iss`)",
        ),
        (good.clone(), json!({"iss": null}), "(`iss`)"),
        (good.clone(), json!({"aud": "other"}), "(`aud`)"),
        (good.clone(), json!({"aud": ["other"]}), "(`aud`)"),
        (good.clone(), json!({"aud": null}), "(`aud`)"),
        (good.clone(), json!({"aud": {"gateway": 1}}), "(`aud`)"),
        (
            json!({"alg": "ES256", "kid": "e2"}),
            json!({}),
            "no published key",
        ),
        (
            json!({"alg": "ES384", "kid": "e1"}),
            json!({}),
            "no published key",
        ),
        (json!({"alg": "none"}), json!({}), "its algorithm"),
        (
            json!({"alg": "HS256", "kid": "e1"}),
            json!({}),
            "its algorithm",
        ),
    ] {
        let token = world.provider.token(&header, &with(more.clone()));
        let bearer = Some(token.as_str());
        let found = world.identify(Call { bearer, ..PLAIN }).await;
        match found {
            Ok(who) => {
                assert_eq!(words, "", "{header} {more}");
                assert_eq!(who.unwrap().user_id.as_deref(), Some("ann"));
            }
            Err((status, message)) => {
                assert!(
                    !words.is_empty() && message.contains(words),
                    "{header} {more}: {message}"
                );
                assert_eq!(status, 401);
                assert!(!message.contains("ann") && !message.contains(&token));
            }
        }
    }
    // Another's signature, and claims that were changed under the right one.
    let other = Provider::new().token(&good, &with(json!({})));
    let own = world.provider.token(&good, &with(json!({})));
    let claims = encode(with(json!({"sub": "root"})).to_string().as_bytes());
    let mut parts: Vec<&str> = own.split('.').collect();
    parts[1] = &claims;
    for token in [other, parts.join(".")] {
        let bearer = Some(token.as_str());
        let (_, message) = world.identify(Call { bearer, ..PLAIN }).await.unwrap_err();
        assert!(message.contains("its signature is wrong"), "{message}");
    }
}

/// Of several issuers each has its own audience, and the one of the variables is that of all others.
#[tokio::test]
async fn each_of_several_issuers_is_held_to_its_own_audience() {
    let settings = json!({
        "user_id_jwt_field": "sub",
        "issuers": [{"issuer": "https://a.example", "jwks_url": URL, "audience": "a"}],
    });
    let verification = Verification {
        audience: Some("all".to_owned()),
        issuer: Some(ISSUER.to_owned()),
        ..Verification::default()
    };
    let world = World::with(settings, verification, Vec::new(), false);
    for (iss, aud, is_good) in [
        ("https://a.example", "a", true),
        ("https://a.example", "all", false),
        (ISSUER, "all", true),
        (ISSUER, "a", false),
        ("https://a.example/", "a", false),
    ] {
        let claims = json!({"sub": "ann", "iss": iss, "aud": aud});
        let found = world.by(claims, PLAIN).await;
        assert_eq!(found.is_ok(), is_good, "{iss} {aud} {found:?}");
    }
}

/// A token that stands for a key has what the key has, and what closes tokens closes it, too.
#[tokio::test]
async fn a_token_that_stands_for_a_key_is_closed_by_both() {
    let settings = |behavior: &str| {
        World::new(json!({
            "user_email_jwt_field": "email", "user_allowed_email_domain": "example.com", "user_id_jwt_field": "sub",
            "virtual_key_claim_field": "client", "unregistered_jwt_client_behavior": behavior,
            "enforce_scope_based_access": true, "scope_mappings": [{"scope": "use", "models": ["m"], "routes": ["openai_routes"]}],
        }))
    };
    let said = |client: &str| json!({"client": client, "email": "a@example.com", "scope": "use"});
    let world = settings("reject");
    let who = world.by(said("good"), PLAIN).await.unwrap();
    assert_eq!(who.user_id.as_deref(), Some("keyed"));
    assert_eq!(who.allowed_routes, ["/chat/completions"]);
    let mut elsewhere = said("good");
    elsewhere["email"] = "a@evil.com".into();
    assert_eq!(world.refused(elsewhere, PLAIN).await.0, 403);
    let mut without = said("good");
    without["scope"] = "".into();
    assert_eq!(world.refused(without, PLAIN).await.0, 403);
    assert_eq!(world.refused(said("blocked"), PLAIN).await.0, 401);
    let call = Call {
        route: "/embeddings",
        ..PLAIN
    };
    assert_eq!(
        world.refused(said("good"), call).await.0,
        403,
        "the key's routes"
    );
    assert_eq!(world.refused(said("unknown"), PLAIN).await.0, 403);
    assert_eq!(
        world
            .refused(json!({"email": "a@example.com"}), PLAIN)
            .await
            .0,
        403
    );
    let roles = World::new(json!({"virtual_key_claim_field": "client", "enforce_rbac": true}));
    let (status, message) = roles.refused(json!({"client": "good"}), PLAIN).await;
    assert!(
        status == 403 && message.contains("Unmatched token"),
        "{message}"
    );
    // None is made for an administrator, nor for whom the token's own claims would not let in.
    let makes = settings("auto_register");
    let admins = World::new(json!({
        "virtual_key_claim_field": "client", "unregistered_jwt_client_behavior": "auto_register",
    }));
    let admin = json!({"client": "c", "scope": "litellm_proxy_admin"});
    let manage = Call {
        route: "/key/generate",
        model: "",
        ..PLAIN
    };
    assert!(admins.by(admin, manage).await.unwrap().is_admin());
    assert_eq!(*admins.rows.done.lock(), Vec::<String>::new());
    assert!(
        makes
            .by(
                json!({"client": "c", "sub": "stranger", "email": "a@example.com", "scope": "use"}),
                PLAIN
            )
            .await
            .is_err()
    );
    assert_eq!(*makes.rows.done.lock(), Vec::<String>::new());
    let ours = json!({"client": "c", "sub": "ann", "email": "a@example.com", "scope": "use"});
    assert_eq!(
        makes.refused(ours, PLAIN).await.0,
        403,
        "an administrator switched the claim off"
    );
    assert_eq!(*makes.rows.done.lock(), ["registered c"]);
}

/// Userinfo is asked once in a while for each bearer, and not believed any longer.
#[tokio::test]
async fn what_userinfo_said_is_good_for_its_time() {
    let world = World::new(json!({
        "user_id_jwt_field": "sub", "oidc_userinfo_enabled": true,
        "oidc_userinfo_endpoint": "https://idp.example/userinfo", "oidc_userinfo_cache_ttl": 300,
    }));
    *world.provider.answer.lock() = (200, json!({"sub": "ann"}));
    let ask = async |bearer, second: u64| {
        let (bearer, now_ms) = (Some(bearer), (NOW_S + second) * 1000);
        let found = world
            .identify(Call {
                bearer,
                now_ms,
                ..PLAIN
            })
            .await;
        found.map(|who| who.and_then(|who| who.user_id.clone()))
    };
    assert_eq!(ask("opaque", 0).await, Ok(Some("ann".to_owned())));
    *world.provider.answer.lock() = (401, json!({"sub": "ann"}));
    assert_eq!(ask("opaque", 299).await, Ok(Some("ann".to_owned())));
    assert_eq!(ask("other", 299).await.unwrap_err().0, 401);
    assert_eq!(ask("opaque", 300).await.unwrap_err().0, 401);
    for status in [429, 500] {
        world.provider.answer.lock().0 = status;
        assert_eq!(ask("opaque", 301).await.unwrap_err().0, 503, "{status}");
    }
}
