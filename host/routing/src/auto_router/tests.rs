use super::*;
use crate::{Alias, DeploymentSpec, RoutingSettings};

fn routes() -> SemanticRouter {
    let route = |model: &str, utterances: &[&str], threshold| SemanticRoute {
        model: model.into(),
        utterances: utterances.iter().map(|text| (*text).into()).collect(),
        threshold,
    };
    SemanticRouter {
        embedding_model: "e".into(),
        input_chars_max: 2000,
        routes: vec![
            route("east", &["right", "dawn"], 0.5),
            route("north", &["up"], 0.9),
        ],
    }
}

/// Vectors of the utterances: right, dawn, up.
fn vectors() -> Vec<Box<[f32]>> {
    [[1.0, 0.0], [0.8, -0.6], [0.0, 1.0]].map(Box::from).into()
}

#[test]
fn the_route_most_like_the_text_is_taken_if_it_is_like_enough() {
    let router = routes();
    assert_eq!(
        router.utterances().collect::<Vec<_>>(),
        ["right", "dawn", "up"]
    );
    let rows = [
        ([1.0, 0.0], Some(("east", 1.0))),
        ([0.8, -0.6], Some(("east", 1.0))),
        ([0.0, 1.0], Some(("north", 1.0))),
        // Nearest to `up`, by less than that wants; `right` is like enough.
        ([0.6, 0.8], Some(("east", 0.6))),
        // The threshold itself is enough.
        ([0.5, 0.866_025_4], Some(("east", 0.5))),
        ([0.49, 0.871_722_4], None),
        ([-1.0, 0.0], None),
    ];
    for (text, expected) in rows {
        let found = router.nearest(&vectors(), &text);
        let model = found.map(|(route, _)| route.model.as_str());
        assert_eq!(model, expected.map(|(model, _)| model), "{text:?}");
        if let (Some((_, score)), Some((_, likeness))) = (found, expected) {
            assert!((score - likeness).abs() < 1e-6, "{text:?}: {score}");
        }
    }
    assert!(
        router.nearest(&vectors(), &[1.0]).is_none(),
        "of another space"
    );
}

fn snapshot() -> Snapshot {
    let spec = |group: &str| DeploymentSpec {
        model_group: group.into(),
        ..DeploymentSpec::default()
    };
    let router = |name: &str| AutoRouter {
        name: name.into(),
        default_model: "a".into(),
        goes_by: GoesBy::Meaning(routes()),
    };
    let alias = Alias {
        model: "smart".into(),
        is_hidden: false,
    };
    let settings = RoutingSettings {
        auto_routers: vec![router("smart"), router("other")],
        aliases: [("clever".to_owned(), alias)].into_iter().collect(),
        default_fallbacks: vec!["b".into()],
        ..RoutingSettings::default()
    };
    Snapshot::build(vec![spec("a"), spec("b")], settings)
}

#[test]
fn a_router_is_a_model_by_its_name_and_by_an_alias() {
    let snapshot = snapshot();
    let of = |name: &str| {
        snapshot
            .auto_router(name)
            .map(|router| router.name.as_str())
    };
    assert_eq!(of("smart"), Some("smart"));
    assert_eq!(of("clever"), Some("smart"));
    assert_eq!(of("a"), None);
    let names: Vec<&str> = snapshot.names_for(None).collect();
    assert_eq!(names, ["a", "b", "smart", "other", "clever"]);
}

#[test]
fn what_it_chose_is_resolved_under_the_name_asked_for() {
    let snapshot = snapshot();
    let found = snapshot.resolve_led("clever", "b", None).unwrap();
    assert_eq!(
        (found.requested.as_str(), found.group.as_str()),
        ("clever", "b")
    );
    assert_eq!(found.candidates[..], [1]);
    // Not the default fallback's: the router's own default comes first.
    assert!(snapshot.resolve_led("smart", "zzz", None).is_err());
    assert!(
        snapshot.resolve_led("smart", "other", None).is_err(),
        "no router leads to another"
    );
}
