//! Which attribute becomes what, and which role wins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use generic_sso::{Settings, profile};
use serde_json::{Value, json};

/// The settings that `plugin.toml` gives, and these.
fn settings(more: Value) -> Settings {
    let mut all = json!({
        "client_id": "gw", "scope": "openid", "use_pkce": true, "issuer": "https://idp.example.com",
        "user_id_attribute": "preferred_username", "user_email_attribute": "email",
        "user_display_name_attribute": "sub", "user_first_name_attribute": "first_name",
        "user_last_name_attribute": "last_name", "user_provider_attribute": "provider",
        "user_role_attribute": "role", "role_mappings_group_claim": "groups",
    });
    let object = all.as_object_mut().unwrap();
    object.extend(more.as_object().unwrap().clone());
    object.retain(|_, value| !value.is_null());
    serde_json::from_value(all).unwrap()
}

fn role(more: Value, claims: Value) -> Option<String> {
    let settings = settings(more);
    let rules = settings.check().unwrap();
    let mut all = json!({"preferred_username": "ann"});
    all.as_object_mut()
        .unwrap()
        .extend(claims.as_object().unwrap().clone());
    profile(&settings, &rules, all.as_object().unwrap())
        .unwrap()
        .user_role
}

#[test]
fn every_attribute_can_be_anywhere() {
    let settings = settings(json!({
        "user_id_attribute": "who.id", "user_email_attribute": "who.mail", "user_display_name_attribute": "name",
        "user_first_name_attribute": "who.given", "user_last_name_attribute": "who.family",
        "user_provider_attribute": "via", "user_role_attribute": "https://acme.example/role",
        "user_extra_attributes": ["who.office", "none"], "team_ids_attribute": "who.teams",
    }));
    let claims = json!({
        "name": "Ann A.", "via": "acme", "https://acme.example/role": "internal_user", "picture": "https://x.example/p.png",
        "who": {"id": 77, "mail": "ann@acme.example", "given": "Ann", "family": "Ash", "office": {"floor": 3}, "teams": ["a", "b"]},
    });
    let user = profile(
        &settings,
        &settings.check().unwrap(),
        claims.as_object().unwrap(),
    )
    .unwrap();
    assert_eq!(user.id, "77");
    assert_eq!(user.email.as_deref(), Some("ann@acme.example"));
    assert_eq!(user.display_name.as_deref(), Some("Ann A."));
    assert_eq!(
        (user.first_name.as_deref(), user.last_name.as_deref()),
        (Some("Ann"), Some("Ash"))
    );
    assert_eq!(user.provider.as_deref(), Some("acme"));
    assert_eq!(user.picture.as_deref(), Some("https://x.example/p.png"));
    assert_eq!(user.team_ids, ["a", "b"]);
    assert_eq!(user.user_role.as_deref(), Some("internal_user"));
    assert_eq!(user.extra_fields, r#"{"who.office":{"floor":3}}"#);
}

#[test]
fn without_an_id_it_is_nobody() {
    let settings = settings(json!({}));
    let claims = json!({"sub": "1", "email": "a@b.c"});
    let error = profile(
        &settings,
        &settings.check().unwrap(),
        claims.as_object().unwrap(),
    )
    .unwrap_err();
    assert!(
        error
            .text()
            .contains("GENERIC_USER_ID_ATTRIBUTE to one of sub, email"),
        "{error}"
    );
}

#[test]
fn an_address_that_is_not_verified_does_not_count() {
    let settings = settings(json!({}));
    for (verified, counts) in [
        (json!(true), true),
        (json!(false), false),
        (json!("false"), false),
        (Value::Null, true),
    ] {
        let claims =
            json!({"preferred_username": "ann", "email": "a@b.c", "email_verified": verified});
        let user = profile(
            &settings,
            &settings.check().unwrap(),
            claims.as_object().unwrap(),
        )
        .unwrap();
        assert_eq!(user.email.is_some(), counts, "{claims}");
    }
}

#[test]
fn the_highest_role_counts_and_groups_win() {
    assert_eq!(
        role(json!({}), json!({"role": "internal_user"})).as_deref(),
        Some("internal_user")
    );
    assert_eq!(
        role(json!({}), json!({"role": ["internal_user", "proxy_admin"]})).as_deref(),
        Some("proxy_admin")
    );
    assert_eq!(role(json!({}), json!({"role": "root"})), None);
    let mapped = json!({"role_mappings": {"internal_user": ["staff"], "proxy_admin": "admins"}});
    let groups = json!({"groups": ["staff", "admins"], "role": "internal_user_viewer"});
    assert_eq!(role(mapped.clone(), groups).as_deref(), Some("proxy_admin"));
    assert_eq!(
        role(
            mapped.clone(),
            json!({"groups": ["guests"], "role": "internal_user_viewer"})
        )
        .as_deref(),
        Some("internal_user_viewer")
    );
    let mut with_default = mapped;
    with_default["role_mappings_default_role"] = json!("internal_user");
    assert_eq!(
        role(with_default, json!({"role": "proxy_admin"})).as_deref(),
        Some("internal_user")
    );
    let python = json!({"role_mappings_text": "{'proxy_admin': ['ops', 'it']}", "role_mappings_group_claim": "realm.groups"});
    assert_eq!(
        role(python, json!({"realm": {"groups": "it"}})).as_deref(),
        Some("proxy_admin")
    );
}

#[test]
fn settings_that_do_not_fit_together_are_named() {
    for (more, part) in [
        (json!({"issuer": null}), "GENERIC_AUTHORIZATION_ENDPOINT"),
        (
            json!({"issuer": null, "authorization_endpoint": "https://a.b", "token_endpoint": "https://a.b"}),
            "GENERIC_USERINFO_ENDPOINT",
        ),
        (
            json!({"issuer": null, "authorization_endpoint": "https://a.b", "token_endpoint": "https://a.b", "userinfo_endpoint": "https://a.b", "include_token_claims": true}),
            "`include_token_claims` needs `issuer`",
        ),
        (
            json!({"role_mappings": {"root": ["a"]}}),
            "\"root\" is no role",
        ),
        (
            json!({"role_mappings_text": "proxy_admin"}),
            "GENERIC_ROLE_MAPPINGS_ROLES",
        ),
        (
            json!({"role_mappings_default_role": "team"}),
            "role_mappings_default_role",
        ),
    ] {
        let error = settings(more.clone()).check().unwrap_err();
        assert!(error.text().contains(part), "{more}: {error}");
    }
}
