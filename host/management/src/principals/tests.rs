use serde_json::json;

use super::*;

fn row(value: Value) -> Option<Row> {
    Some(value.as_object().unwrap().clone())
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn found(key: Value, linked: Linked) -> VirtualKey {
    virtual_key(
        &Settings::default(),
        key.as_object().unwrap(),
        &linked,
        now(),
    )
}

#[test]
fn a_key_has_its_own_limits_then_its_budgets() {
    let key = json!({
        "token": "ab", "max_budget": 5.5, "rpm_limit": 3, "spend": 1.25, "team_id": null,
        "metadata": {"temp_budget_increase": 2, "temp_budget_expiry": "2026-01-02T00:00:00Z", "model_rpm_limit": {"gpt": 7}},
        "model_max_budget": {"gpt": {"budget_limit": 1, "time_period": "1d"}},
    });
    let linked = Linked {
        budget: row(json!({"max_budget": 1.0, "tpm_limit": 9, "rpm_limit": 1, "soft_budget": 0.5})),
        ..Linked::default()
    };
    let key = found(key, linked);
    let scope = &key.principal.scopes[0];
    assert_eq!((scope.limits.rpm, scope.limits.tpm), (Some(3), Some(9)));
    let budget = scope.budget.as_ref().unwrap();
    assert_eq!(
        (budget.max, budget.soft),
        (Some("7.5".parse().unwrap()), Some("0.5".parse().unwrap()))
    );
    assert_eq!(scope.spent, "1.25".parse().unwrap());
    let model = scope.model("openai/gpt").unwrap();
    assert_eq!(
        (model.limits.rpm, model.budget),
        (Some(7), Some((Decimal::ONE, 86_400)))
    );
}

#[test]
fn a_users_budget_bears_on_personal_keys_only() {
    let linked = |team: Option<Row>| Linked {
        user: row(
            json!({"user_id": "ann", "max_budget": 1.0, "user_role": "proxy_admin_viewer", "models": ["a"]}),
        ),
        team,
        member_budget: row(json!({"max_budget": 0.0})),
        ..Linked::default()
    };
    let personal = found(json!({"token": "ab", "user_id": "ann"}), linked(None));
    let kinds = |key: &VirtualKey| -> Vec<ScopeKind> {
        key.principal
            .scopes
            .iter()
            .map(|scope| scope.kind)
            .collect()
    };
    assert_eq!(kinds(&personal), [ScopeKind::Key, ScopeKind::User]);
    assert_eq!(personal.principal.role, Some(Role::ProxyAdminViewer));
    assert_eq!(personal.principal.model_lists[0].owner, "user");
    let team = row(json!({"team_id": "red", "blocked": true, "models": ["b"], "tpm_limit": 0}));
    let key = json!({"token": "ab", "user_id": "ann", "team_id": "red", "models": ["all-team-models", "c"]});
    let of_team = found(key, linked(team));
    assert_eq!(
        kinds(&of_team),
        [ScopeKind::Key, ScopeKind::Team, ScopeKind::TeamMember]
    );
    assert!(of_team.team_blocked);
    assert_eq!(of_team.principal.models, ["c", "b"]);
    assert_eq!(of_team.principal.model_lists[0].owner, "team");
}

#[tokio::test]
async fn sealed_rows_are_for_their_key_their_generation_and_their_time() {
    let world = crate::testing::world(json!({})).await;
    let plane = &world.plane;
    let body = json!({"key": "sk-of-ann-1234567", "metadata": {"logging": [{"callback_vars": {"langfuse_secret": "hunter2"}}]}});
    world.done("/key/generate", body).await;
    let hash = KeyHash::of("sk-of-ann-1234567").as_str().to_owned();
    let rows = plane.key_rows(&hash).await.unwrap().unwrap();
    let at = |s: i64| now() + jiff::SignedDuration::from_secs(s);
    let sealed = plane.seal_rows(&rows, &hash, "7", now()).unwrap();
    assert!(!sealed.contains("hunter2") && !sealed.contains(&hash));
    let ttl = Duration::from_secs(60);
    let open = |sealed: &str, hash: &str, generation: &str, at| {
        plane.open_rows(sealed, hash, generation, ttl, at).is_some()
    };
    assert!(open(&sealed, &hash, "7", at(59)) && open(&sealed, &hash, "7", at(-4)));
    assert!(!open(&sealed, &hash, "7", at(60)) && !open(&sealed, &hash, "7", at(-6)));
    assert!(!open(&sealed, &hash, "8", now()) && !open(&sealed, "ab", "7", now()));
    // Another key's rows under this key's name.
    let foreign = plane.seal_rows(&rows, "ab", "7", now()).unwrap();
    assert!(!open(&foreign, "ab", "7", now()));
    // Sealed for something else.
    let entry = Sealed {
        purpose: "something else".to_owned(),
        hash: hash.clone(),
        generation: "7".to_owned(),
        at_ms: now().as_millisecond(),
        rows: Cow::Borrowed(&rows),
    };
    let salt = crate::Seal::of(crate::testing::SALT);
    let otherwise = salt.close(&serde_json::to_string(&entry).unwrap()).unwrap();
    assert!(!open(&otherwise, &hash, "7", now()));
    // What another salt made, other secrets of the database, and what nobody made.
    let other = crate::Seal::of("another").close("{}").unwrap();
    let own = crate::Seal::of(crate::testing::SALT)
        .close("sk-upstream")
        .unwrap();
    let mut spoilt = sealed.clone();
    spoilt.replace_range(
        40..41,
        if sealed.as_bytes()[40] == b'A' {
            "B"
        } else {
            "A"
        },
    );
    let plain = serde_json::to_string(&rows.clone()).unwrap();
    for wrong in [other, own, spoilt, plain, String::new()] {
        assert!(!open(&wrong, &hash, "7", now()), "{wrong}");
    }
}

/// Whose budgets bear on which keys, by the settings; and who is shut out.
#[test]
fn defaults_of_users_are_for_their_personal_keys() {
    let settings = Settings {
        config: Arc::new(json!({"litellm_settings": {"max_user_budget": 3}})),
        ..Settings::default()
    };
    let max = |settings: &Settings, key: Value, user: Value| {
        let linked = Linked {
            user: row(user),
            ..Linked::default()
        };
        let found = virtual_key(settings, key.as_object().unwrap(), &linked, now());
        let scopes = &found.principal.scopes;
        let of_user = scopes.iter().find(|scope| scope.kind == ScopeKind::User);
        of_user.and_then(|scope| scope.budget.as_ref()?.max)
    };
    let personal = json!({"token": "ab", "user_id": "ann"});
    let of_team = json!({"token": "ab", "user_id": "ann", "team_id": "red"});
    let (plain, rich) = (
        json!({"user_id": "ann"}),
        json!({"user_id": "ann", "max_budget": 9}),
    );
    let usd = |amount: i64| Some(Decimal::from(amount));
    assert_eq!(max(&settings, personal.clone(), plain.clone()), usd(3));
    assert_eq!(max(&settings, personal, rich.clone()), usd(9));
    assert_eq!(max(&settings, of_team.clone(), plain), None);
    assert_eq!(max(&settings, of_team.clone(), rich.clone()), None);
    let also = Settings {
        config: Arc::new(json!({"general_settings": {"apply_user_budget_to_team_keys": true}})),
        ..Settings::default()
    };
    assert_eq!(max(&also, of_team, rich), usd(9));
    let gone = Linked {
        user: row(json!({"user_id": "ann", "metadata": {"scim_active": false}})),
        ..Linked::default()
    };
    assert!(found(json!({"token": "ab", "user_id": "ann"}), gone).blocked);
}

#[test]
fn what_is_added_for_a_time_and_what_a_team_leaves_open() {
    let max = |until: &str| {
        let key = json!({
            "token": "ab", "max_budget": 5, "metadata": {"temp_budget_increase": 2, "temp_budget_expiry": until},
        });
        let key = found(key, Linked::default());
        key.principal.scopes[0].budget.as_ref().unwrap().max
    };
    assert_eq!(max("2026-01-01T00:00:01Z"), Some(Decimal::from(7)));
    assert_eq!(max("2026-01-01T00:00:00Z"), Some(Decimal::from(5)));
    let open = Linked {
        team: row(json!({"team_id": "red"})),
        ..Linked::default()
    };
    let key = json!({"token": "ab", "team_id": "red", "models": ["all-team-models", "c"]});
    assert!(found(key, open).principal.models.is_empty(), "all models");
}

#[tokio::test]
async fn an_end_users_own_budget_goes_before_the_default() {
    let world =
        crate::testing::world(json!({"litellm_settings": {"max_end_user_budget": 5}})).await;
    let body = json!({"user_id": "own", "max_budget": 1});
    world.done("/customer/new", body).await;
    let max = async |id| {
        let found = world.plane.end_user(id).await.unwrap().unwrap();
        found.scope.budget.as_ref().and_then(|budget| budget.max)
    };
    assert_eq!(max("own").await, Some(Decimal::ONE));
    assert_eq!(max("new").await, Some(Decimal::from(5)));
}

#[test]
fn lists_that_cannot_be_read_allow_nothing() {
    let key = found(
        json!({"token": "ab", "models": {"a": 1}, "allowed_routes": "x"}),
        Linked::default(),
    );
    assert_eq!(key.principal.models, [NOTHING]);
    assert_eq!(key.principal.allowed_routes, [NOTHING]);
}

/// A model's budget bears on whoever has it, by their own row or by their budget's; a user's on personal keys only.
#[test]
fn budgets_of_models_are_everybodys() {
    let budgets = |max: u64| json!({"gpt": {"budget_limit": max}});
    let linked = |max: u64| row(json!({"model_max_budget": budgets(max)}));
    let of = |key: Value, team: Option<Row>| {
        let rows = Linked {
            budget: linked(1),
            team,
            member_budget: linked(2),
            user: row(json!({
                "user_id": "ann", "model_max_budget": budgets(3), "metadata": {"model_tpm_limit": {"other": 5}},
            })),
            organization: row(json!({"organization_id": "acme", "model_max_budget": null})),
            organization_budget: linked(4),
            ..Linked::default()
        };
        let key = found(key, rows);
        let told = key.principal.scopes.iter().map(|scope| {
            let max = scope
                .model("gpt")
                .and_then(|model| Some(model.budget?.0.to_string()));
            let tpm = scope.model("other").and_then(|model| model.limits.tpm);
            (scope.kind, max.unwrap_or_default(), tpm)
        });
        told.collect::<Vec<_>>()
    };
    let told = |kind, max: &str, tpm| (kind, max.to_owned(), tpm);
    // What a key's metadata says of models is no budget of its own.
    let key = json!({
        "token": "ab", "user_id": "ann", "organization_id": "acme", "model_max_budget": {},
        "metadata": {"model_rpm_limit": {"gpt": 7}},
    });
    assert_eq!(
        of(key, None),
        [
            told(ScopeKind::Key, "1", None),
            told(ScopeKind::User, "3", Some(5)),
            told(ScopeKind::Organization, "4", None),
        ]
    );
    let key = json!({
        "token": "ab", "user_id": "ann", "team_id": "red", "organization_id": "acme", "model_max_budget": budgets(9),
    });
    let team = row(json!({"team_id": "red", "model_max_budget": budgets(5)}));
    assert_eq!(
        of(key, team),
        [
            told(ScopeKind::Key, "9", None),
            told(ScopeKind::Team, "5", None),
            told(ScopeKind::TeamMember, "2", None),
            told(ScopeKind::User, "", Some(5)),
            told(ScopeKind::Organization, "4", None),
        ]
    );
}

#[tokio::test]
async fn end_users_and_tags_have_the_models_of_their_budgets() {
    let world = crate::testing::world(json!({})).await;
    let body = json!({
        "budget_id": "tight", "model_max_budget": {"gpt": {"budget_limit": 1}}, "max_budget": 2,
        "temp_budget_increase": 3, "temp_budget_expiry": "2026-01-02T00:00:00Z",
    });
    world.done("/budget/new", body).await;
    world
        .done(
            "/customer/new",
            json!({"user_id": "bob", "budget_id": "tight"}),
        )
        .await;
    world
        .done("/tag/new", json!({"name": "dear", "budget_id": "tight"}))
        .await;
    let bob = world.plane.end_user("bob").await.unwrap().unwrap();
    let tags = world.plane.tags().await.unwrap();
    for scope in [&bob.scope, &tags["dear"]] {
        let model = scope.model("openai/gpt").unwrap();
        assert_eq!(model.budget, Some((Decimal::ONE, 86_400)), "{scope:?}");
        let until = "2026-01-02T00:00:00Z".parse().unwrap();
        assert_eq!(scope.raised, Some((Decimal::from(3), until)));
        let budget = scope.budget.as_ref().unwrap();
        assert_eq!(budget.max, Some(Decimal::from(5)));
    }
}

/// LiteLLM's rows hold what no write of ours lets through: of that nothing may be had, and the rest holds.
#[test]
fn what_cannot_be_read_bears_on_itself_alone() {
    let key = found(
        json!({
            "token": "ab", "rpm_limit": -3, "max_budget": 1,
            "model_max_budget": {"a": {"budget_limit": 1}, "b": {"budget_limit": 1, "time_period": "1.5h"}, "c": 0.5},
            "budget_limits": [
                {"budget_duration": "1d", "max_budget": 2}, {"budget_duration": "1.5h", "max_budget": 2},
                {"budget_duration": "1h", "max_budget": -2}, {"budget_duration": "1h", "max_budget": null},
            ],
        }),
        Linked {
            budget: row(
                json!({"temp_budget_increase": 5, "temp_budget_expiry": "2026-01-02T00:00:00Z"}),
            ),
            ..Linked::default()
        },
    );
    let scope = &key.principal.scopes[0];
    assert_eq!(scope.limits.rpm, Some(0));
    let max = |model: &str| scope.model(model).unwrap().budget.unwrap().0.to_string();
    assert_eq!([max("a"), max("b"), max("c")], ["1", "0", "0.5"]);
    let windows: Vec<i64> = scope
        .windows
        .iter()
        .map(|w| i64::try_from(w.max).unwrap())
        .collect();
    assert_eq!(windows, [2, 0, 0]);
    // A budget row's raise is of its own bound.
    assert_eq!(scope.budget.as_ref().unwrap().max, Some(Decimal::ONE));
}
