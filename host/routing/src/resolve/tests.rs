use super::*;
use crate::{Alias, DeploymentSpec, RoutingSettings};

fn spec(model_group: &str, model: &str) -> DeploymentSpec {
    DeploymentSpec {
        model_group: model_group.into(),
        model: model.into(),
        id: Some(format!("id-{model_group}-{model}")),
        ..DeploymentSpec::default()
    }
}

fn snapshot() -> Snapshot {
    let mut settings = RoutingSettings::default();
    let mut alias = |name: &str, model: &str, is_hidden| {
        settings.aliases.insert(
            name.into(),
            Alias {
                model: model.into(),
                is_hidden,
            },
        );
    };
    alias("quick", "fast", false);
    alias("secret", "fast", true);
    alias("twice", "quick", false);
    alias("acme-alias", "acme/m9", false);
    let owned = DeploymentSpec {
        team_id: Some("t1".into()),
        ..spec("team-only", "openai/own")
    };
    let shared = DeploymentSpec {
        team_id: Some("t1".into()),
        ..spec("fast", "openai/reserved")
    };
    let specs = vec![
        spec("fast", "openai/gpt-4o"),
        spec("fast", "azure/d1"),
        spec("acme/*", "openai/*"),
        spec("acme/big-*", "groq/x"),
        spec("*lite*", "bedrock/x*"),
        spec("openai/*", "openai/*"),
        owned,
        shared,
    ];
    Snapshot::build(specs, settings)
}

/// One row: the request, its candidates, group, and the first candidate's provider and model.
#[test]
fn resolution_table() {
    let snapshot = snapshot();
    let rows: &[(&str, &[usize], &str, &str, &str)] = &[
        ("fast", &[0, 1], "fast", "openai", "gpt-4o"),
        ("quick", &[0, 1], "fast", "openai", "gpt-4o"),
        ("secret", &[0, 1], "fast", "openai", "gpt-4o"),
        ("id-fast-azure/d1", &[1], "fast", "azure", "d1"),
        ("acme/m1", &[2], "acme/m1", "openai", "m1"),
        ("acme/big-1", &[3], "acme/big-1", "groq", "x"),
        ("acme-alias", &[2], "acme/m9", "openai", "m9"),
        ("my-lite-2", &[4], "my-lite-2", "bedrock", "my-lite-2"),
        ("openai/gpt-5", &[5], "openai/gpt-5", "openai", "gpt-5"),
        // The bare name is tried with its inferred provider.
        ("gpt-4o-mini", &[5], "gpt-4o-mini", "openai", "gpt-4o-mini"),
        ("azure/d1", &[1], "azure/d1", "azure", "d1"),
    ];
    for (name, candidates, group, provider, model) in rows {
        let found = snapshot.resolve(name).unwrap();
        assert_eq!(
            (&*found.candidates, found.group.as_str()),
            (*candidates, *group),
            "{name}"
        );
        assert_eq!(found.requested, *name);
        let upstream = found.upstream(snapshot.deployment(candidates[0]));
        assert_eq!(
            (upstream.provider.as_str(), upstream.model.as_str()),
            (*provider, *model)
        );
    }
}

#[test]
fn routes_tell_how() {
    let snapshot = snapshot();
    let route = |name: &str| snapshot.resolve(name).unwrap().route;
    assert_eq!(route("fast"), Route::Group);
    assert_eq!(route("id-fast-azure/d1"), Route::DeploymentId);
    assert_eq!(route("acme/m1"), Route::Pattern("acme/*".into()));
    assert_eq!(route("azure/d1"), Route::UpstreamName);
    assert!(snapshot.resolve("quick").unwrap().is_alias());
    assert!(!snapshot.resolve("fast").unwrap().is_alias());
}

#[test]
fn aliases_are_one_hop() {
    // `twice` stands for `quick`, which is an alias and no group.
    assert!(snapshot().resolve("twice").is_err());
}

#[test]
fn a_team_has_names_of_its_own_for_what_is_its_own() {
    let own = |team: &str, internal: &str| DeploymentSpec {
        team_id: Some(team.into()),
        team_public_model_name: Some("fast".into()),
        ..spec(internal, "openai/own")
    };
    let specs = vec![
        spec("fast", "openai/gpt-4o"),
        own("t1", "model_name_t1_x"),
        own("t1", "model_name_t1_y"),
        own("t2", "model_name_t2_x"),
    ];
    let snapshot = Snapshot::build(specs, RoutingSettings::default());
    for (team, candidates, route) in [
        (None, &[0][..], Route::Group),
        (Some("t1"), &[1, 2][..], Route::Team),
        (Some("t2"), &[3][..], Route::Team),
        (Some("t3"), &[0][..], Route::Group),
    ] {
        let found = snapshot.resolve_for("fast", team).unwrap();
        assert_eq!(
            (&*found.candidates, &found.route),
            (candidates, &route),
            "{team:?}"
        );
        assert_eq!(found.group, "fast");
        let names: Vec<&str> = snapshot.names_for(team).collect();
        assert_eq!(names, ["fast"], "{team:?}");
    }
}

#[test]
fn access_groups_open_the_names_of_their_deployments() {
    let of = |group: &str, groups: &[&str]| DeploymentSpec {
        access_groups: groups.iter().map(|name| (*name).to_owned()).collect(),
        ..spec(group, "openai/m")
    };
    let specs = vec![
        of("a", &["beta", "eu"]),
        of("a", &[]),
        of("b", &["eu"]),
        of("c/*", &["all"]),
    ];
    let snapshot = Snapshot::build(specs, RoutingSettings::default());
    let granted: Vec<String> = ["beta", "zzz", "all"].map(str::to_owned).into();
    let by = |name: &str| snapshot.granted_by(name, None, &granted);
    assert_eq!(by("a"), ["beta"]);
    assert!(by("b").is_empty());
    assert_eq!(by("c/x"), ["all"]);
    assert!(by("nothing").is_empty());
    let all: Vec<&str> = snapshot.access_groups().collect();
    assert_eq!(all, ["beta", "eu", "all"]);
}

#[test]
fn a_teams_deployments_do_not_exist_for_others() {
    let snapshot = snapshot();
    assert!(snapshot.resolve("team-only").is_err());
    assert!(snapshot.resolve_for("team-only", Some("t2")).is_err());
    assert_eq!(
        &*snapshot
            .resolve_for("team-only", Some("t1"))
            .unwrap()
            .candidates,
        [6]
    );
    assert_eq!(
        &*snapshot.resolve_for("fast", Some("t1")).unwrap().candidates,
        [0, 1, 7]
    );
    assert!(snapshot.resolve("id-team-only-openai/own").is_err());
    let near = snapshot.resolve("team-onli").unwrap_err().nearest;
    assert!(near.is_empty(), "{near:?}");
}

#[test]
fn unknown_names_go_to_the_default_fallback_or_name_the_nearest() {
    let unknown = snapshot().resolve("fats").unwrap_err();
    assert_eq!(unknown.nearest, ["fast"]);
    assert_eq!(
        unknown.to_string(),
        "no deployment serves the model \"fats\""
    );
    assert!(snapshot().resolve("").unwrap_err().nearest.is_empty());
    let settings = RoutingSettings {
        default_fallbacks: vec!["z".into()],
        ..Default::default()
    };
    let snapshot = Snapshot::build(vec![spec("z", "openai/z")], settings);
    let found = snapshot.resolve("nope").unwrap();
    assert_eq!(
        (found.requested.as_str(), found.group.as_str()),
        ("nope", "z")
    );
    assert_eq!(found.route, Route::DefaultFallback("z".into()));
}

#[test]
fn a_star_group_passes_names_through() {
    let snapshot = Snapshot::build(vec![spec("*", "*")], RoutingSettings::default());
    for (name, provider, model) in [
        ("openai/gpt-4o", "openai", "gpt-4o"),
        ("groq/a/b", "groq", "a/b"),
        ("mine", "", "mine"),
    ] {
        let found = snapshot.resolve(name).unwrap();
        let upstream = found.upstream(snapshot.deployment(0));
        assert_eq!(
            (upstream.provider.as_str(), upstream.model.as_str()),
            (provider, model)
        );
    }
}

#[test]
fn listings_show_groups_and_open_aliases() {
    let snapshot = snapshot();
    let names: Vec<&str> = snapshot.model_names().collect();
    assert_eq!(names, ["fast", "team-only", "quick", "twice", "acme-alias"]);
    let patterns: Vec<&str> = snapshot.patterns().collect();
    assert_eq!(patterns, ["acme/big-*", "*lite*", "openai/*", "acme/*"]);
    assert_eq!(snapshot.group("fast"), Some(&[0, 1, 7][..]));
    assert_eq!(snapshot.index_of("id-fast-azure/d1"), Some(1));
}

#[test]
fn ids_are_generated_where_none_is_given() {
    let params = vec![
        ("model".to_owned(), "openai/a".into()),
        ("rpm".to_owned(), 3.into()),
    ];
    let bare = DeploymentSpec {
        id: None,
        id_params: params,
        ..spec("g", "openai/a")
    };
    let snapshot = Snapshot::build(vec![bare], RoutingSettings::default());
    let id = snapshot.deployment(0).id.clone();
    assert_eq!(id.len(), 64);
    assert_eq!(snapshot.resolve(&id).unwrap().route, Route::DeploymentId);
}

#[test]
fn an_explicit_provider_wins() {
    let given = |model: &str| {
        let spec = DeploymentSpec {
            provider: Some("groq".into()),
            ..spec("g", model)
        };
        let snapshot = Snapshot::build(vec![spec], RoutingSettings::default());
        let deployment = snapshot.deployment(0);
        (
            deployment.provider.clone(),
            deployment.upstream_model.clone(),
        )
    };
    assert_eq!(given("groq/x"), ("groq".into(), "x".into()));
    assert_eq!(given("openai/x"), ("groq".into(), "openai/x".into()));
}

#[test]
fn a_provider_that_only_the_configuration_knows_has_its_prefix_cut_off() {
    let upstream = |model: &str, asked: &str| {
        let spec = DeploymentSpec {
            provider: Some("my-llm".into()),
            ..spec("*", model)
        };
        let snapshot = Snapshot::build(vec![spec], RoutingSettings::default());
        let found = snapshot.resolve(asked).unwrap();
        found.upstream(snapshot.deployment(0)).model
    };
    assert_eq!(upstream("my-llm/large", "any"), "large");
    assert_eq!(upstream("my-llm/*", "any"), "any");
    assert_eq!(upstream("my-llm-2/large", "any"), "my-llm-2/large");
}
