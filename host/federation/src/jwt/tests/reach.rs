//! How far tokens get: teams, roles, scopes, and what is made in the database.

use super::*;

/// An administrator by scope gets the routes that the settings name, and no others; one who is none gets no administrator's.
#[tokio::test]
async fn an_administrator_by_scope_gets_as_far_as_the_settings_say() {
    let world = World::new(json!({"user_id_jwt_field": "sub"}));
    let admin = json!({"sub": "ann", "scope": "litellm_proxy_admin"});
    let manage = || Call {
        route: "/key/generate",
        model: "",
        ..PLAIN
    };
    let who = world.by(admin.clone(), manage()).await.unwrap();
    assert!(who.is_admin());
    let (status, message) = world.refused(admin, PLAIN).await;
    assert!(
        status == 401 && message.contains("Admin not allowed"),
        "{message}"
    );
    for scope in [
        "litellm_proxy_admin2",
        "LITELLM_PROXY_ADMIN",
        "a,litellm_proxy_admin",
    ] {
        let who = world
            .by(json!({"sub": "ann", "scope": scope}), manage())
            .await;
        assert!(!who.unwrap().is_admin(), "{scope}");
    }
}

#[tokio::test]
async fn a_team_is_one_of_the_tokens_and_gets_as_far_as_teams_do() {
    let settings = json!({"user_id_jwt_field": "sub", "team_ids_jwt_field": "teams"});
    let world = World::new(settings);
    let both = json!({"sub": "ann", "teams": ["none", "blue", "red"]});
    // The first that there is and that may use the model.
    let who = world.by(both.clone(), PLAIN).await.unwrap();
    assert_eq!(who.team_id.as_deref(), Some("red"));
    let wanted = |id| [("x-litellm-team-id", id)];
    let headers = &wanted("blue");
    let who = world
        .by(
            both.clone(),
            Call {
                headers,
                model: "",
                ..PLAIN
            },
        )
        .await
        .unwrap();
    assert_eq!(who.team_id.as_deref(), Some("blue"));
    let headers = &wanted("shut");
    let (status, message) = world.refused(both.clone(), Call { headers, ..PLAIN }).await;
    assert!(
        status == 403 && message.contains("not among those of the token"),
        "{message}"
    );
    let (status, message) = world
        .refused(json!({"sub": "ann", "teams": ["blue"]}), PLAIN)
        .await;
    assert!(
        status == 403 && message.contains("No team has access"),
        "{message}"
    );
    let (status, _) = world
        .refused(json!({"sub": "ann", "teams": ["none"]}), PLAIN)
        .await;
    assert_eq!(status, 403);
    // Routes of teams: not for managing, but for administrators of the database.
    let manage = || Call {
        route: "/key/generate",
        model: "",
        ..PLAIN
    };
    let (status, message) = world
        .refused(json!({"sub": "ann", "teams": ["red"]}), manage())
        .await;
    assert!(
        status == 403 && message.contains("Team not allowed"),
        "{message}"
    );
    let who = world
        .by(json!({"sub": "root", "teams": ["red"]}), manage())
        .await
        .unwrap();
    assert_eq!(
        (who.team_id.as_deref(), who.is_admin()),
        (Some("red"), true)
    );
    let one = World::new(json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team"}));
    let (status, message) = one
        .refused(json!({"sub": "ann", "team": "red"}), manage())
        .await;
    assert!(
        status == 401 && message.contains("Team not allowed"),
        "{message}"
    );
    let root = one
        .by(json!({"sub": "root", "team": "red"}), manage())
        .await
        .unwrap();
    assert!(root.is_admin() && root.allowed_routes.is_empty());
    // Who is in no team is not held to the routes of teams.
    let alone = World::new(ann());
    assert!(alone.by(json!({"sub": "ann"}), manage()).await.is_ok());
}

/// The database stands in for teams that the token does not have, for nobody but a known user, and where it must be one only for one.
#[tokio::test]
async fn teams_of_the_database_stand_in_where_the_settings_let_them() {
    let fields = json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team"});
    let with = |name: &str| {
        let mut settings = fields.clone();
        settings[name] = true.into();
        World::new(settings)
    };
    let none = with("fallback_to_db_teams");
    let who = none.by(json!({"sub": "ann"}), PLAIN).await.unwrap();
    assert_eq!(who.team_id.as_deref(), Some("red"));
    assert!(none.by(json!({"sub": "nobody"}), PLAIN).await.is_err());
    let other = with("team_claim_fallback");
    let who = other
        .by(json!({"sub": "ann", "team": "typo"}), PLAIN)
        .await
        .unwrap();
    assert_eq!(who.team_id.as_deref(), Some("red"));
    let who = other
        .by(
            json!({"sub": "ann", "team": "blue"}),
            Call { model: "", ..PLAIN },
        )
        .await;
    assert_eq!(
        who.unwrap().team_id.as_deref(),
        Some("blue"),
        "there is one"
    );
    assert!(
        other
            .by(json!({"sub": "root", "team": "typo"}), PLAIN)
            .await
            .is_err()
    );
    // Which of two is not guessed, and no object of the token is taken for another.
    assert!(
        other
            .by(json!({"sub": "two", "team": "typo"}), PLAIN)
            .await
            .is_err()
    );
    let object = World::new(json!({
        "user_id_jwt_field": "sub", "team_id_jwt_field": "team", "team_claim_fallback": true, "object_id_jwt_field": "oid",
        "roles_jwt_field": "r", "role_mappings": [{"role": "t", "internal_role": "team"}],
    }));
    let claims = json!({"sub": "ann", "team": "red", "oid": "typo"});
    assert_eq!(object.refused(claims, PLAIN).await.0, 404);
    let (status, message) = World::new(fields.clone())
        .refused(json!({"sub": "ann", "team": "typo"}), PLAIN)
        .await;
    assert!(
        status == 404 && message.contains("Team doesn't exist"),
        "{message}"
    );
}

#[tokio::test]
async fn who_is_not_there_is_made_only_where_the_settings_want_it() {
    let settings = |more: Value| {
        let mut settings = ann();
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        World::new(settings)
    };
    let closed = settings(json!({}));
    let (status, _) = closed.refused(json!({"sub": "new"}), PLAIN).await;
    assert_eq!((status, closed.rows.done.lock().len()), (401, 0));
    let open = settings(json!({"user_id_upsert": true}));
    assert!(open.by(json!({"sub": "new"}), PLAIN).await.is_ok());
    assert!(open.rows.is_made("made new"));
    let by_role = json!({"user_roles_jwt_field": "roles", "user_allowed_roles": ["basic"]});
    let roles = settings(by_role);
    assert!(
        roles
            .by(json!({"sub": "new", "roles": ["basic"]}), PLAIN)
            .await
            .is_ok()
    );
    assert!(
        roles
            .by(json!({"sub": "other", "roles": ["odd"]}), PLAIN)
            .await
            .is_err()
    );
    // Teams and roles follow the token only where that is wanted.
    let said = json!({"sub": "ann", "teams": ["blue", "none"], "r": ["ops"]});
    let fields = json!({
        "team_ids_jwt_field": "teams", "roles_jwt_field": "r",
        "jwt_litellm_role_map": [{"jwt_role": "op*", "litellm_role": "internal_user_viewer"}],
    });
    let still = settings(fields.clone());
    still
        .by(said.clone(), Call { model: "", ..PLAIN })
        .await
        .unwrap();
    assert_eq!(*still.rows.done.lock(), Vec::<String>::new());
    let mut follows = fields;
    follows["sync_user_role_and_teams"] = true.into();
    let follows = settings(follows);
    follows.by(said, Call { model: "", ..PLAIN }).await.unwrap();
    let done = follows.rows.done.lock().clone();
    assert_eq!(
        done,
        [
            "ann is internal_user_viewer",
            "ann joined blue",
            "ann left red"
        ]
    );
    // Who names no list of teams leaves none, nor the one that the call is for; an empty list is one.
    for (claims, left) in [
        (json!({"sub": "two", "team": "red"}), 0),
        (json!({"sub": "two"}), 0),
        (json!({"sub": "two", "teams": []}), 1),
        (json!({"sub": "two", "name": "Red", "teams": ["blue"]}), 0),
    ] {
        let world = settings(json!({
            "team_ids_jwt_field": "teams", "team_id_jwt_field": "team", "team_alias_jwt_field": "name",
            "team_id_default": "red", "sync_user_role_and_teams": true,
        }));
        let call = Call { model: "", ..PLAIN };
        world.by(claims.clone(), call).await.unwrap();
        let done = world.rows.done.lock().clone();
        let gone = done.iter().filter(|done| done.contains(" left "));
        assert_eq!(gone.count(), left, "{claims} {done:?}");
    }
    let joins = settings(json!({"team_id_jwt_field": "team", "upsert_sso_user_to_team": true}));
    for (team, done) in [("red", 0), ("blue", 1)] {
        let call = Call { model: "", ..PLAIN };
        joins
            .by(json!({"sub": "ann", "team": team}), call)
            .await
            .unwrap();
        assert_eq!(joins.rows.done.lock().len(), done, "{team}");
    }
}

#[tokio::test]
async fn addresses_roles_and_scopes_close_what_they_do_not_open() {
    let domain = World::new(json!({
        "user_id_jwt_field": "sub", "user_email_jwt_field": "email", "user_allowed_email_domain": "example.com",
    }));
    for (email, is_in) in [
        (json!("ann@Example.COM"), true),
        (json!("ann@evil-example.com"), false),
        (json!("ann@example.com@evil.com"), false),
        (json!("example.com"), false),
        (Value::Null, false),
    ] {
        let found = domain
            .by(json!({"sub": "ann", "email": email}), PLAIN)
            .await;
        assert_eq!(found.is_ok(), is_in, "{email}");
    }
    let permissions: Vec<RolePermission> = serde_json::from_value(json!([
        {"role": "internal_user", "models": ["m"], "routes": ["/chat/completions"]},
    ]))
    .unwrap();
    let roles = World::with(ann(), Verification::default(), permissions, true);
    let who = roles.by(json!({"sub": "ann"}), PLAIN).await.unwrap();
    assert_eq!(
        (&who.models[..], &who.allowed_routes[..]),
        (&["m".to_owned()][..], &["/chat/completions".to_owned()][..])
    );
    assert_eq!(who.model_lists.len(), 1);
    let call = Call {
        model: "other",
        ..PLAIN
    };
    let (status, message) = roles.refused(json!({"sub": "ann"}), call).await;
    assert!(
        status == 403 && message.contains("not allowed to access model"),
        "{message}"
    );
    let call = Call {
        route: "/embeddings",
        ..PLAIN
    };
    let (status, message) = roles.refused(json!({"sub": "ann"}), call).await;
    assert!(
        status == 403 && message.contains("not allowed to call route"),
        "{message}"
    );
    // `enforce_rbac` of the gateway wants somebody whom the database knows.
    let (status, message) = roles.refused(json!({}), PLAIN).await;
    assert!(
        status == 403 && message.contains("No user or team"),
        "{message}"
    );
    let team = json!({"team_id_jwt_field": "team"});
    let team = World::with(team, Verification::default(), Vec::new(), true);
    assert!(team.by(json!({"team": "red"}), PLAIN).await.is_ok());
    // A role's own routes go before those of teams, and a role without models has none, for keys that it makes neither.
    let permissions: Vec<RolePermission> = serde_json::from_value(json!([
        {"role": "team", "models": [], "routes": ["/chat/completions"]},
    ]))
    .unwrap();
    let settings = json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team"});
    let none = World::with(settings, Verification::default(), permissions, false);
    let claims = json!({"sub": "ann", "team": "red"});
    assert_eq!(none.refused(claims.clone(), PLAIN).await.0, 403);
    let who = none.by(claims, Call { model: "", ..PLAIN }).await.unwrap();
    assert_eq!(who.models, ["no-default-models"]);
    assert_eq!(who.allowed_routes, ["/chat/completions"]);
    let scopes = World::new(json!({
        "user_id_jwt_field": "sub", "enforce_scope_based_access": true,
        "scope_mappings": [{"scope": "use", "models": ["m"], "routes": ["/chat/completions"]}, {"scope": "look"}],
    }));
    assert!(
        scopes
            .by(json!({"sub": "ann", "scope": "use"}), PLAIN)
            .await
            .is_ok()
    );
    for scope in ["look", "", "use2"] {
        let (status, _) = scopes
            .refused(json!({"sub": "ann", "scope": scope}), PLAIN)
            .await;
        assert_eq!(status, 403, "{scope}");
    }
}

#[tokio::test]
async fn an_administrator_by_scope_who_was_deactivated_is_none() {
    let world = World::new(json!({"user_id_jwt_field": "sub"}));
    let call = || Call {
        route: "/key/generate",
        model: "",
        ..PLAIN
    };
    for (user, status) in [("ann", 200), ("unknown", 200), ("gone", 401)] {
        let claims = json!({"sub": user, "scope": "litellm_proxy_admin"});
        let told = match world.by(claims, call()).await {
            Ok(who) if who.is_admin() => 200,
            Ok(_) => 0,
            Err((status, _)) => status,
        };
        assert_eq!(told, status, "{user}");
    }
}

#[tokio::test]
async fn nobody_is_who_the_gateway_is() {
    let world = World::new(json!({"user_id_jwt_field": "sub", "user_id_upsert": true}));
    for id in ["default_user_id", "litellm-proxy-budget"] {
        for scope in ["", "litellm_proxy_admin"] {
            let call = Call {
                route: "/key/generate",
                model: "",
                ..PLAIN
            };
            let (status, _) = world
                .refused(json!({"sub": id, "scope": scope}), call)
                .await;
            assert_eq!(status, 401, "{id} {scope}");
        }
    }
    assert_eq!(*world.rows.done.lock(), Vec::<String>::new());
}

#[tokio::test]
async fn an_address_that_is_not_verified_is_none() {
    let domain = World::new(json!({
        "user_id_jwt_field": "sub", "user_email_jwt_field": "email", "user_allowed_email_domain": "example.com",
    }));
    for (verified, is_in) in [
        (json!(true), true),
        (json!("true"), true),
        (Value::Null, true),
        (json!(false), false),
        (json!("false"), false),
        (json!("False"), false),
    ] {
        let claims = json!({"sub": "ann", "email": "ann@example.com", "email_verified": verified});
        assert_eq!(domain.by(claims, PLAIN).await.is_ok(), is_in, "{verified}");
    }
    // Nor is it an id.
    for field in ["user_id_jwt_field", "user_email_jwt_field"] {
        let world = World::new(json!({ field: "email", "user_id_upsert": true }));
        let claims = json!({"email": "ann@example.com", "email_verified": false});
        let who = world.by(claims, PLAIN).await.unwrap();
        assert_eq!((&who.user_id, &who.user_email), (&None, &None), "{field}");
    }
}

#[tokio::test]
async fn a_key_that_is_made_with_a_token_opens_what_all_its_lists_open() {
    let permissions: Vec<RolePermission> = serde_json::from_value(json!([
        {"role": "team", "routes": ["/chat/completions", "/key/generate", "openai_routes"]},
    ]))
    .unwrap();
    let settings = json!({
        "team_id_jwt_field": "team", "team_allowed_routes": ["/chat/completions", "info_routes"],
    });
    let world = World::with(settings, Verification::default(), permissions, false);
    let who = world.by(json!({"team": "red"}), PLAIN).await.unwrap();
    let open = |route: &str| witgate_identity::allows_route(&who.allowed_routes, route);
    assert!(open("/chat/completions") && open("/v1/models"), "{who:?}");
    for closed in ["/key/generate", "/embeddings", "/key/info"] {
        assert!(!open(closed), "{closed} {:?}", who.allowed_routes);
    }
}
