//! Requests about deployments of the database, over a real store.

use serde_json::{Value, json};
use witgate_identity::Principal;
use witgate_store::Row;

use crate::Changed;
use crate::seal::{Opened, Seal};
use crate::testing::{HOSTILE, SALT, World, admin, user, world};

async fn row(world: &World, id: &str) -> Option<Row> {
    let table = "LiteLLM_ProxyModelTable";
    world.plane.store.row(table, "model_id", id).await.unwrap()
}

fn body(id: &str) -> Value {
    json!({
        "model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o", "api_key": "sk-secret", "rpm": 5},
        "model_info": {"id": id, "mode": "chat"},
    })
}

/// A world with the team red, whose admin is ann and whose member bob is.
async fn teams() -> World {
    let world = world(json!({"litellm_settings": {"store_audit_logs": true}})).await;
    let members = json!([{"user_id": "ann", "role": "admin"}, {"user_id": "bob", "role": "user"}]);
    for (id, members) in [("red", members), ("blue", json!([]))] {
        let team = json!({"team_id": id, "models": ["a"], "members_with_roles": members});
        world.done("/team/new", team).await;
    }
    world
}

#[tokio::test]
async fn a_deployment_is_stored_encrypted_shown_masked_changed_and_deleted() {
    let world = teams().await;
    let made = world.done("/model/new", body("one")).await;
    assert_eq!(
        made["litellm_params"],
        json!({"model": "openai/gpt-4o", "api_key": "*****", "rpm": 5})
    );
    assert_eq!(made["model_info"]["db_model"], true);
    assert!(world.heard.0.lock().contains(&Changed::Models));
    let kept = row(&world, "one").await.unwrap();
    let params = &kept["litellm_params"];
    for (name, plain) in [("model", "openai/gpt-4o"), ("api_key", "sk-secret")] {
        let sealed = params[name].as_str().unwrap();
        assert_eq!(
            Seal::of(SALT).open(sealed),
            Opened::Sealed(plain.to_owned())
        );
    }
    assert_eq!(params["rpm"], 5);
    let again = world.post(&admin(), "/model/new", body("one")).await;
    assert_eq!(again.0, 400, "{again:?}");

    let change = json!({"model_info": {"id": "one", "mode": null}, "litellm_params": {"rpm": null, "tpm": 7}});
    let changed = world.done("/model/update", change).await;
    assert_eq!(
        changed["litellm_params"],
        json!({"model": "openai/gpt-4o", "api_key": "*****", "tpm": 7})
    );
    assert!(changed["model_info"].get("mode").is_none(), "{changed}");
    let patch = json!({"model_name": HOSTILE, "litellm_params": {"api_key": HOSTILE}});
    let (status, changed) = world
        .ask("PATCH", &admin(), "/model/one/update", patch)
        .await;
    assert_eq!(
        (status, &changed["model_name"]),
        (200, &json!(HOSTILE)),
        "{changed}"
    );
    let kept = row(&world, "one").await.unwrap();
    let sealed = kept["litellm_params"]["api_key"].as_str().unwrap();
    assert_eq!(
        Seal::of(SALT).open(sealed),
        Opened::Sealed(HOSTILE.to_owned())
    );

    world.done("/model/block", json!({"model_id": "one"})).await;
    assert_eq!(row(&world, "one").await.unwrap()["blocked"], true);
    world
        .done("/model/unblock", json!({"model_id": "one"}))
        .await;
    world.done("/model/delete", json!({"id": "one"})).await;
    assert!(row(&world, "one").await.is_none());
    let gone = world
        .post(&admin(), "/model/delete", json!({"id": "one"}))
        .await;
    assert_eq!(gone.0, 400, "{gone:?}");
    let (_, audit) = world.get(&admin(), "/audit").await;
    assert!(!audit.to_string().contains("sk-secret"), "{audit}");
}

#[tokio::test]
async fn what_cannot_be_served_is_taken_back() {
    let world = teams().await;
    let mut bad = body("bad");
    bad["model_name"] = json!("unserved");
    let (status, said) = world.post(&admin(), "/model/new", bad).await;
    assert_eq!(status, 400);
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("nobody serves it"),
        "{said}"
    );
    assert!(row(&world, "bad").await.is_none());
    world.done("/model/new", body("one")).await;
    let change = json!({"model_name": "unserved", "model_info": {"id": "one"}});
    assert_eq!(world.post(&admin(), "/model/update", change).await.0, 400);
    assert_eq!(row(&world, "one").await.unwrap()["model_name"], "gpt");
}

#[tokio::test]
async fn without_the_switch_or_a_salt_nothing_is_stored() {
    let world = teams().await;
    let mut settings = (**world.plane.settings.load()).clone();
    settings.salt = None;
    world.plane.settings.store(settings.clone().into());
    assert_eq!(world.post(&admin(), "/model/new", body("one")).await.0, 500);
    settings.stores_models = false;
    world.plane.settings.store(settings.into());
    let (status, said) = world.post(&admin(), "/model/new", body("one")).await;
    assert!(
        status == 500 && said.to_string().contains("STORE_MODEL_IN_DB"),
        "{said}"
    );
    assert!(row(&world, "one").await.is_none());
}

fn of_team(more: Value) -> Value {
    let mut body = json!({
        "model_name": "ours", "litellm_params": {"model": "openai/m", "api_key": "sk-own", "api_base": "https://h.example/v1"},
        "model_info": {"team_id": "red"},
    });
    for (section, members) in more.as_object().unwrap() {
        for (name, value) in members.as_object().unwrap() {
            body[section][name] = value.clone();
        }
    }
    body
}

#[tokio::test]
async fn an_admin_of_a_team_manages_its_own_deployments() {
    let world = teams().await;
    let (ann, bob) = (user("ann"), user("bob"));
    let (status, made) = world.post(&ann, "/model/new", of_team(json!({}))).await;
    assert_eq!(status, 200, "{made}");
    let name = made["model_name"].as_str().unwrap();
    assert!(name.starts_with("model_name_red_"), "{name}");
    let info = &made["model_info"];
    assert_eq!(
        (
            &info["team_public_model_name"],
            &info["added_by_team_admin"]
        ),
        (&json!("ours"), &json!(true))
    );
    let team = world.plane.known_team("red").await.unwrap();
    assert_eq!(team["models"], json!(["a", "ours"]));
    let id = made["model_id"].as_str().unwrap();
    let change =
        json!({"model_info": {"id": id}, "litellm_params": {"rpm": 5}, "model_name": "mine"});
    assert_eq!(
        world.post(&bob, "/model/update", change.clone()).await.0,
        403
    );
    let (status, changed) = world.post(&ann, "/model/update", change).await;
    assert_eq!(
        (status, &changed["model_name"]),
        (200, &json!(name)),
        "{changed}"
    );
    assert_eq!(changed["model_info"]["team_public_model_name"], "mine");
    assert_eq!(changed["model_info"]["added_by_team_admin"], true);
    let team = world.plane.known_team("red").await.unwrap();
    assert_eq!(team["models"], json!(["a", "mine"]));
    assert_eq!(
        world.post(&bob, "/model/delete", json!({"id": id})).await.0,
        403
    );
    assert_eq!(
        world.post(&ann, "/model/delete", json!({"id": id})).await.0,
        200
    );
}

/// The name of a team's deployment joins the list of what the team may use: it must open nothing else.
#[tokio::test]
async fn a_name_of_a_team_opens_no_model_of_the_gateway() {
    let world = world(json!({
        "model_list": [{"model_name": "gpt-4o", "model_info": {"access_groups": ["beta"]}}, {"model_name": "claude/*"}],
        "router_settings": {"model_group_alias": {"best": "gpt-4o"}},
    }))
    .await;
    let members = json!([{"user_id": "ann", "role": "admin"}]);
    let team = json!({"team_id": "red", "models": ["ours"], "members_with_roles": members});
    world.done("/team/new", team).await;
    let ann = user("ann");
    let (status, made) = world.post(&ann, "/model/new", of_team(json!({}))).await;
    assert_eq!(status, 200, "{made}");
    let id = &made["model_info"]["id"];
    for name in [
        "gpt-4o",
        "beta",
        "best",
        "claude/opus",
        "*",
        "gpt-*",
        "all-proxy-models",
        "all-team-models",
    ] {
        let mut new = of_team(json!({}));
        new["model_name"] = name.into();
        let (status, answer) = world.post(&ann, "/model/new", new).await;
        assert_eq!(status, 403, "{name}: {answer}");
        let change = json!({"model_info": {"id": id}, "model_name": name});
        let (status, answer) = world.post(&ann, "/model/update", change).await;
        assert_eq!(status, 403, "{name}: {answer}");
    }
    // The last name goes, and not to an empty list, which would be all models.
    let (status, answer) = world.post(&ann, "/model/delete", json!({"id": id})).await;
    assert_eq!(status, 200, "{answer}");
    let team = world.plane.known_team("red").await.unwrap();
    assert_eq!(team["models"], json!(["no-default-models"]));
}

#[tokio::test]
async fn an_admin_of_a_team_reaches_nothing_that_is_the_gateways() {
    let world = teams().await;
    let ann = user("ann");
    let refused: [(Value, u16); 16] = [
        (
            of_team(json!({"litellm_params": {"api_key": "os.environ/OPENAI_API_KEY"}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"api_base": "https://h.example/os.environ/X"}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"tags": ["os.environ/X"]}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"api_key": "oidc/google/x"}})),
            403,
        ),
        (of_team(json!({"litellm_params": {"api_key": null}})), 400),
        (of_team(json!({"litellm_params": {"api_key": ""}})), 400),
        (
            of_team(json!({"litellm_params": {"litellm_credential_name": "of-others"}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"ssl_verify": "/etc/passwd"}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"auto_router_config_path": "/etc/passwd"}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"model": "auto_router/x"}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"extra_headers": {"a": "b"}}})),
            403,
        ),
        (
            of_team(json!({"litellm_params": {"input_cost_per_token": -1}})),
            403,
        ),
        (
            of_team(json!({"model_info": {"access_groups": ["all"]}})),
            403,
        ),
        (of_team(json!({"model_info": {"id": "of-others"}})), 403),
        (of_team(json!({"model_info": {"team_id": "blue"}})), 403),
        (body("x"), 401),
    ];
    for (body, expected) in refused {
        let (status, said) = world.post(&ann, "/model/new", body.clone()).await;
        assert_eq!(status, expected, "{body} {said}");
    }
    // What an administrator made for the team: another api_base would lead the key away.
    let mut made = of_team(json!({"litellm_params": {"api_key": "os.environ/OPENAI_API_KEY"}}));
    made["model_info"]["id"] = json!("by-admin");
    world.done("/model/new", made).await;
    let lead = json!({"model_info": {"id": "by-admin"}, "litellm_params": {"api_base": "https://evil.example"}});
    assert_eq!(world.post(&ann, "/model/update", lead).await.0, 403);
    // Nor by way of one of their own.
    let (_, own) = world.post(&ann, "/model/new", of_team(json!({}))).await;
    let id = own["model_id"].as_str().unwrap();
    for change in [
        json!({"litellm_params": {"api_key": "os.environ/OPENAI_API_KEY"}}),
        json!({"litellm_params": {"api_key": null}}),
        json!({"litellm_params": {"litellm_credential_name": "of-others"}}),
        json!({"model_info": {"added_by_team_admin": false}}),
        json!({"model_info": {"team_id": "blue"}}),
    ] {
        let (status, said) = world
            .ask(
                "PATCH",
                &ann,
                &format!("/model/{id}/update"),
                change.clone(),
            )
            .await;
        assert_eq!(status, 403, "{change} {said}");
    }
    let viewer = Principal {
        role: Some(witgate_identity::Role::ProxyAdminViewer),
        ..user("eve")
    };
    assert_eq!(world.post(&viewer, "/model/new", body("x")).await.0, 401);
}

#[tokio::test]
async fn rows_are_opened_with_their_own_salt_only() {
    let world = teams().await;
    world.done("/model/new", body("one")).await;
    let rows = world.plane.stored_rows().await.unwrap();
    let opened = rows.opened(&Seal::of(SALT), None);
    let value = &opened.items[0].value;
    assert_eq!(value["litellm_params"]["api_key"], "sk-secret");
    assert_eq!(
        (&value["model_info"]["id"], opened.faults.len()),
        (&json!("one"), 0)
    );
    let foreign = rows.opened(&Seal::of("another"), None);
    assert_eq!((foreign.items.len(), foreign.faults.len()), (0, 1));
    let (place, why) = &foreign.faults[0];
    assert!(
        place.contains("one") && why.contains("LITELLM_SALT_KEY"),
        "{place} {why}"
    );
    let none = rows.opened(&Seal::of(SALT), Some(&["prompts".to_owned()]));
    assert!(none.items.is_empty() && none.faults.is_empty());
}
