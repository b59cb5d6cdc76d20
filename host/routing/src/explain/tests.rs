use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::*;
use crate::{
    Alias, Blame, DeploymentSpec, FallbackRule, FallbackTarget, Fault, Now, RoutingSettings,
};

const NOW: Now = Now {
    monotonic: Duration::from_secs(1000),
    unix_s: 1_700_000_000,
};

fn told(
    snapshot: &Snapshot,
    state: &State,
    model: &str,
    facts: &Facts<'_>,
    controls: RequestControls,
) -> Value {
    let resolution = snapshot.resolve(model).unwrap();
    let facts = Facts { now: NOW, ..*facts };
    let mut rng = StdRng::seed_from_u64(1);
    let explanation = explain(snapshot, state, &resolution, &facts, controls, &mut rng);
    serde_json::to_value(explanation).unwrap()
}

/// One deployment for each way of being dropped that needs no failed try.
fn group() -> (Snapshot, State) {
    let spec = |id: &str, change: fn(&mut DeploymentSpec)| {
        let mut spec = DeploymentSpec {
            model_group: "g".into(),
            model: "openai/m".into(),
            id: Some(id.into()),
            order: Some(1),
            tags: vec!["t".into()],
            region: Some("eu-west-1".into()),
            ..DeploymentSpec::default()
        };
        change(&mut spec);
        spec
    };
    let settings = RoutingSettings {
        pre_call_checks: true,
        tag_filtering: true,
        aliases: [(
            "a".to_owned(),
            Alias {
                model: "g".into(),
                is_hidden: false,
            },
        )]
        .into(),
        fallbacks: vec![FallbackRule {
            group: "g".into(),
            targets: vec![FallbackTarget::to("h")],
        }],
        ..RoutingSettings::default()
    };
    let specs = vec![
        spec("good", |_| {}),
        spec("paused", |s| s.is_blocked = true),
        spec("small", |s| s.max_input_tokens = Some(10)),
        spec("far", |s| s.region = Some("us-east-1".into())),
        spec("untagged", |s| s.tags.clear()),
        spec("later", |s| s.order = Some(2)),
        spec("tired", |_| {}),
        spec("hot", |s| s.rpm_limit = Some(0)),
        spec("spent", |s| s.quotas.tokens_of_day = Some(19)),
        spec("fed", |s| s.quotas.input_tokens = Some(19)),
    ];
    let snapshot = Snapshot::build(specs, settings);
    let state = State::new(&snapshot);
    (snapshot, state)
}

fn rest(snapshot: &Snapshot, state: &State, index: usize) {
    let fault = Fault {
        class: ErrorClass::RateLimit,
        status: 429,
        retry_after: Some(Duration::from_secs(30)),
        message: "slow down",
        blame: Blame::Deployment,
    };
    state.failed(snapshot, index, &fault, NOW).unwrap();
}

#[test]
fn every_candidate_is_told_with_its_filter_and_the_reason() {
    let (snapshot, state) = group();
    rest(&snapshot, &state, 6);
    let tags = ["t".to_owned()];
    let facts = Facts {
        tags: &tags,
        tokens: Some(20),
        region: Some("eu"),
        ..Facts::default()
    };
    let told = told(&snapshot, &state, "a", &facts, RequestControls::default());
    let rows = [
        ("good", None, ""),
        ("paused", Some("paused"), "model_info.blocked"),
        (
            "small",
            Some("context_window"),
            "it takes 10 tokens, the prompt has 20",
        ),
        (
            "far",
            Some("region"),
            "it is in us-east-1, the request must stay in eu",
        ),
        (
            "untagged",
            Some("tags"),
            "its tags [] do not match the request's [\"t\"]",
        ),
        (
            "later",
            Some("order"),
            "it has order 2, and order 1 comes first",
        ),
        (
            "tired",
            Some("cooldown"),
            "it rests 30 s more after a failure with status 429: slow down",
        ),
        ("hot", Some("rate_limit"), "0 requests (rpm 0)"),
        (
            "spent",
            Some("daily_limit"),
            "0 requests (rpd none) and 0 tokens (tpd 19); the prompt has 20, the day lasts",
        ),
        (
            "fed",
            Some("rate_limit"),
            "0 of them in (itpm 19) and 0 out (otpm none)",
        ),
    ];
    let candidates = told["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), rows.len());
    for ((id, dropped_by, why), candidate) in rows.into_iter().zip(candidates) {
        assert_eq!(candidate["model_id"], id);
        assert_eq!(candidate["model"], "m", "{candidate}");
        assert_eq!(candidate["provider"], "openai", "{candidate}");
        assert_eq!(candidate["dropped_by"], json!(dropped_by), "{candidate}");
        assert!(
            candidate["why"].as_str().unwrap_or_default().contains(why),
            "{candidate}"
        );
    }
    let mut head = told.clone();
    head.as_object_mut().unwrap().remove("candidates");
    assert_eq!(
        head,
        json!({
            "model": "a", "model_group": "g", "resolved_by": "alias", "pattern": null,
            "routing_strategy": "simple-shuffle", "routing_group": null, "picked": "good", "reason": "drawn, all alike",
            "emptied_by": null, "error": null, "fallbacks": ["h"],
        })
    );
}

#[test]
fn when_nobody_is_left_the_clients_error_is_told() {
    let (snapshot, state) = group();
    let tags = ["zzz".to_owned()];
    let facts = Facts {
        tags: &tags,
        ..Facts::default()
    };
    let controls = RequestControls {
        disable_fallbacks: true,
        ..RequestControls::default()
    };
    let told = told(&snapshot, &state, "g", &facts, controls);
    assert_eq!(told["picked"], Value::Null);
    assert_eq!(told["emptied_by"], "tags");
    assert_eq!(told["error"]["status"], 401);
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("due to tags configuration"), "{message}");
    assert_eq!(told["fallbacks"], json!([]));
}

#[test]
fn looking_changes_nothing() {
    let (snapshot, state) = group();
    let before = state.export(NOW);
    for _ in 0..5 {
        told(
            &snapshot,
            &state,
            "g",
            &Facts::default(),
            RequestControls::default(),
        );
    }
    assert_eq!(state.export(NOW), before);
}
