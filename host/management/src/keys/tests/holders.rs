//! What the holder of a key cannot shed: not by a null, other metadata, a shorter period, a budget that is raised for a while, or a
//! new key.

use super::*;
use crate::testing::World;

const GENERATE: &str = "/key/generate";
const UPDATE: &str = "/key/update";
const OWN: &str = "sk-own-1234567890";

/// Who comes with the key of this text.
async fn holder(world: &World, key: &str) -> Principal {
    let now = "2026-01-01T00:00:00.123Z".parse().unwrap();
    let hash = KeyHash::of(key);
    let found = world.plane.virtual_key(hash.as_str(), now).await.unwrap();
    (*found.unwrap().principal).clone()
}

/// A change of the key [`OWN`].
fn own(more: Value) -> Value {
    let mut body = json!({ "key": OWN });
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

async fn refused(world: &World, who: &Principal, cases: &[(&str, Value, &str)]) {
    for (path, body, param) in cases {
        let (status, told) = world.post(who, path, body.clone()).await;
        let got = (status, &told["error"]["param"]);
        assert_eq!(got, (403, &json!(param)), "{path} {body} {told}");
    }
}

/// A key with everything that only administrators give.
async fn endowed() -> World {
    let world = world(json!({})).await;
    let group = json!({"access_group_name": "g", "access_model_names": ["m"]});
    let group = world.done("/v1/access_group", group).await;
    for (path, body) in [
        ("/budget/new", json!({"budget_id": "b", "max_budget": 10})),
        (
            "/organization/new",
            json!({"organization_id": "o", "organization_alias": "O"}),
        ),
        (
            GENERATE,
            own(json!({
                "user_id": "ann", "spend": 3, "budget_id": "b", "organization_id": "o",
                "access_group_ids": [group["access_group_id"]], "denied_passthrough_routes": ["/x"],
                "rpm_limit_type": "guaranteed_throughput",
                "metadata": {"allowed_model_region": "eu", "priority": "dev"},
            })),
        ),
    ] {
        world.done(path, body).await;
    }
    world
}

#[tokio::test]
async fn what_only_administrators_give_is_not_taken_away_by_its_holder() {
    let world = endowed().await;
    let ann = holder(&world, OWN).await;
    let mut cases = Vec::new();
    for name in [
        "spend",
        "budget_id",
        "organization_id",
        "access_group_ids",
        "denied_passthrough_routes",
        "rpm_limit_type",
    ] {
        for path in [UPDATE, "/key/regenerate"] {
            cases.push((path, own(json!({ name: null })), name));
        }
    }
    for (more, name) in [
        (json!({"spend": 0}), "spend"),
        (json!({"rpm_limit_type": "dynamic"}), "rpm_limit_type"),
        (json!({"tpm_limit_type": "dynamic"}), "tpm_limit_type"),
        (
            json!({"metadata": {"tpm_limit_type": "dynamic"}}),
            "tpm_limit_type",
        ),
        (json!({"metadata": {"priority": "prod"}}), "priority"),
        (
            json!({"metadata": {"allowed_model_region": "us"}}),
            "allowed_model_region",
        ),
    ] {
        cases.push((UPDATE, own(more.clone()), name));
        if name != "spend" {
            cases.push((GENERATE, more, name));
        }
    }
    refused(&world, &ann, &cases).await;
    // What is said as it is changes nothing, and nothing is lost with the metadata.
    let before = world.plane.key(OWN).await.unwrap();
    for more in [
        json!({"budget_id": "b", "organization_id": "o", "permissions": null, "temp_budget_increase": null}),
        json!({"metadata": {"priority": "dev"}}),
        json!({"metadata": {}}),
        json!({"metadata": null}),
    ] {
        let (status, told) = world.post(&ann, UPDATE, own(more.clone())).await;
        assert_eq!(status, 200, "{more} {told}");
        let after = world.plane.key(OWN).await.unwrap();
        for (name, value) in &before {
            let dated = ["updated_at", "updated_by"].contains(&name.as_str());
            assert!(
                dated || after.get(name) == Some(value),
                "{more} {name} {after:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_key_that_a_key_makes_is_of_its_organization_and_in_its_place() {
    let world = endowed().await;
    let ann = holder(&world, OWN).await;
    let (status, made) = world.post(&ann, GENERATE, json!({})).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(
        (&made["organization_id"], &made["max_budget"]),
        (&json!("o"), &json!(10.0))
    );
    let metadata = json!({
        "allowed_model_region": "eu", "priority": "dev", "denied_passthrough_routes": ["/x"],
        "rpm_limit_type": "guaranteed_throughput",
    });
    assert_eq!(made["metadata"], metadata);
}

#[tokio::test]
async fn types_of_limits_are_litellms_words() {
    let world = world(json!({})).await;
    for more in [
        json!({"rpm_limit_type": "sometimes"}),
        json!({"tpm_limit_type": ""}),
        json!({"metadata": {"tpm_limit_type": 5}}),
    ] {
        let (status, told) = world.post(&admin(), GENERATE, more).await;
        assert_eq!(status, 400, "{told}");
        assert!(told.to_string().contains("best_effort_throughput"));
    }
    for word in [
        json!("guaranteed_throughput"),
        json!("best_effort_throughput"),
        json!("dynamic"),
        Value::Null,
    ] {
        world.done(GENERATE, json!({"rpm_limit_type": word})).await;
    }
}

/// A key without limits of its own, whose budget row has them.
#[tokio::test]
async fn limits_of_a_keys_budget_row_bind_its_holder() {
    let world = world(json!({})).await;
    let of_a = json!({"a": {"budget_limit": 1, "time_period": "1d"}});
    let budget = json!({"budget_id": "b", "max_budget": 10, "budget_duration": "30d", "model_max_budget": of_a});
    world.done("/budget/new", budget).await;
    let body = own(json!({"user_id": "ann", "budget_id": "b"}));
    world.done(GENERATE, body).await;
    let ann = holder(&world, OWN).await;
    let more = json!({"a": {"budget_limit": 2, "time_period": "1d"}});
    refused(
        &world,
        &ann,
        &[
            (
                UPDATE,
                own(json!({"budget_duration": "1s"})),
                "budget_duration",
            ),
            (
                UPDATE,
                own(json!({"max_budget": 10, "budget_duration": "1s"})),
                "budget_duration",
            ),
            (
                GENERATE,
                json!({"budget_duration": "1s"}),
                "budget_duration",
            ),
            (UPDATE, own(json!({"max_budget": 11})), "max_budget"),
            (
                UPDATE,
                own(json!({"model_max_budget": more})),
                "model_max_budget",
            ),
        ],
    )
    .await;
    let (status, made) = world.post(&ann, GENERATE, json!({})).await;
    assert_eq!(
        (status, &made["max_budget"], &made["budget_duration"]),
        (200, &json!(10.0), &json!("30d")),
        "{made}"
    );
    assert_eq!(made["model_max_budget"], of_a);
    // A limit of a single model would stand in place of all that the row says of models.
    let change = own(json!({"model_rpm_limit": {"x": 1}}));
    let (status, told) = world.post(&ann, UPDATE, change).await;
    assert_eq!((status, &told["model_max_budget"]), (200, &of_a), "{told}");
    assert_eq!(told["metadata"], json!({"model_rpm_limit": {"x": 1}}));
}

#[tokio::test]
async fn a_budget_that_is_raised_for_a_while_is_not_given_on() {
    let world = world(json!({})).await;
    let body = own(json!({
        "user_id": "ann", "max_budget": 10, "temp_budget_increase": 100, "temp_budget_expiry": "2026-01-02T00:00:00Z",
    }));
    world.done(GENERATE, body).await;
    let ann = holder(&world, OWN).await;
    let max = ann.scopes[0].budget.as_ref().unwrap().max;
    assert_eq!(max, Some(110.into()));
    refused(
        &world,
        &ann,
        &[
            (UPDATE, own(json!({"max_budget": 110})), "max_budget"),
            (GENERATE, json!({"max_budget": 10.5}), "max_budget"),
        ],
    )
    .await;
    for (path, body) in [
        (UPDATE, own(json!({"max_budget": 10}))),
        (UPDATE, own(json!({"max_budget": null}))),
        (GENERATE, json!({})),
    ] {
        let (status, told) = world.post(&ann, path, body.clone()).await;
        assert_eq!((status, &told["max_budget"]), (200, &json!(10.0)), "{body}");
    }
}

/// The team of a session of the UI is a word, and no team.
#[tokio::test]
async fn a_session_makes_keys_of_its_user() {
    let world = world(json!({})).await;
    let session = Principal {
        team_id: Some("litellm-dashboard".to_owned()),
        session: true,
        ..user("ann")
    };
    let (status, made) = world.post(&session, GENERATE, json!({})).await;
    assert_eq!((status, &made["team_id"]), (200, &Value::Null), "{made}");
    assert_eq!(made["user_id"], "ann");
}

#[tokio::test]
async fn a_teams_admin_does_not_come_to_hold_what_they_could_not_give() {
    let world = world(json!({})).await;
    let members = json!([{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}]);
    let team = json!({"team_id": "t", "members_with_roles": members});
    world.done("/team/new", team).await;
    let calls = json!(["llm_api_routes"]);
    for (more, status) in [
        (json!({}), 200),
        (json!({"allowed_routes": calls}), 200),
        (json!({"allowed_routes": ["/scim/*"]}), 403),
        (json!({"permissions": {"get_spend_routes": true}}), 403),
        (json!({"allowed_passthrough_routes": ["/x"]}), 403),
        (
            json!({"user_id": "bob", "allowed_routes": calls, "metadata": {"allowed_passthrough_routes": ["/x"]}}),
            403,
        ),
    ] {
        let mut body = more.clone();
        body["team_id"] = json!("t");
        let key = world.done(GENERATE, body).await["token"].clone();
        let rotate = json!({ "key": key });
        let (got, told) = world.post(&user("ann"), "/key/regenerate", rotate).await;
        assert_eq!(got, status, "{more} {told}");
    }
}

/// `upperbound_key_generate_params`: what is not said is the bound, unless a budget row says it.
#[tokio::test]
async fn the_operators_bounds_are_what_keys_have_that_say_nothing() {
    let bounds = json!({"max_budget": 100, "duration": "30d", "rpm_limit": 7});
    let settings = json!({"litellm_settings": {"upperbound_key_generate_params": bounds}});
    let world = world(settings).await;
    let budget = json!({"budget_id": "b", "max_budget": 10});
    world.done("/budget/new", budget).await;
    let ends = "2026-01-31T00:00:00.123Z";
    let limits = |told: &Value| json!([told["max_budget"], told["rpm_limit"], told["expires"]]);
    for (body, wanted) in [
        (json!({}), json!([100.0, 7, ends])),
        (
            json!({"max_budget": 5, "rpm_limit": null, "soft_budget": 1}),
            json!([5.0, 7, ends]),
        ),
        (json!({"budget_id": "b"}), json!([null, null, ends])),
    ] {
        let made = world.done(GENERATE, body.clone()).await;
        assert_eq!(limits(&made), wanted, "{body} {made}");
        let nothing =
            json!({"key": made["key"], "max_budget": null, "rpm_limit": null, "duration": null});
        let changed = world.done(UPDATE, nothing).await;
        let left = match body.get("budget_id") {
            Some(_) => json!([null, null, ends]),
            None => json!([100.0, 7, ends]),
        };
        assert_eq!(limits(&changed), left, "{body} {changed}");
        // What is not said stays.
        let alias = json!({"key": made["key"], "metadata": {"x": 1}});
        assert_eq!(limits(&world.done(UPDATE, alias).await), limits(&changed));
    }
}
