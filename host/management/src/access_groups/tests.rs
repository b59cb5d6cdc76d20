//! Access groups over a real store: who has one may use its models.

use serde_json::{Value, json};

use witgate_testkit::PostgresServer;

use crate::testing::{HOSTILE, World, admin, user, world, world_in};

/// The models that a key of this text may use, its own list and its team's.
async fn models(world: &World, token: &Value) -> (Vec<String>, Vec<String>) {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let found = world.plane.virtual_key(token.as_str().unwrap(), now).await;
    let principal = found.unwrap().unwrap().principal.clone();
    let of_team = principal
        .model_lists
        .iter()
        .find(|list| list.owner == "team");
    let of_team = of_team.map(|list| list.models.clone()).unwrap_or_default();
    (principal.models.clone(), of_team)
}

#[tokio::test]
async fn a_group_opens_its_models_to_keys_and_teams_that_have_it() {
    let world = world(json!({})).await;
    let body =
        json!({"access_group_name": HOSTILE, "description": "d", "access_model_names": ["a", "b"]});
    let group = world.done("/v1/access_group", body).await;
    let id = group["access_group_id"].as_str().unwrap().to_owned();
    assert_eq!(group["assigned_key_ids"], json!([]));
    let again = json!({"access_group_name": HOSTILE});
    assert_eq!(world.post(&admin(), "/v1/access_group", again).await.0, 409);

    let team = json!({"team_id": "red", "models": ["t"], "access_group_ids": [id]});
    world.done("/team/new", team).await;
    let key = json!({"models": ["k"], "access_group_ids": [id], "team_id": "red"});
    let key = world.done("/key/generate", key).await["token"].clone();
    assert_eq!(
        models(&world, &key).await,
        (
            vec!["k".into(), "a".into(), "b".into()],
            vec!["t".into(), "a".into(), "b".into()]
        )
    );
    let path = format!("/v1/access_group/{id}");
    let (_, told) = world.get(&admin(), &path).await;
    assert_eq!(told["assigned_team_ids"], json!(["red"]));
    assert_eq!(told["assigned_key_ids"], json!([key]));

    let change = json!({"access_model_names": ["c"], "assigned_team_ids": []});
    let (status, told) = world.ask("PUT", &admin(), &path, change).await;
    assert_eq!(
        (status, &told["assigned_team_ids"]),
        (200, &json!([])),
        "{told}"
    );
    assert_eq!(
        models(&world, &key).await,
        (vec!["k".into(), "c".into()], vec!["t".into()])
    );

    let (status, _) = world.ask("DELETE", &admin(), &path, json!({})).await;
    assert_eq!(status, 204);
    assert_eq!(models(&world, &key).await.0, ["k"]);
    let row = world
        .plane
        .store
        .row("LiteLLM_VerificationToken", "token", key.as_str().unwrap())
        .await;
    assert_eq!(row.unwrap().unwrap()["access_group_ids"], json!([]));
    assert_eq!(world.get(&admin(), &path).await.0, 404);
}

#[tokio::test]
async fn groups_are_assigned_by_their_own_lists_and_open_nothing_when_they_are_gone() {
    let world = world(json!({})).await;
    world.done("/team/new", json!({"team_id": "red"})).await;
    let key = world.done("/key/generate", json!({})).await;
    let body = json!({
        "access_group_name": "g", "access_model_names": ["a"], "assigned_team_ids": ["red"],
        "assigned_key_ids": [key["key"]],
    });
    let group = world.done("/v1/access_group", body).await;
    assert_eq!(group["assigned_key_ids"], json!([key["token"]]));
    assert_eq!(models(&world, &key["token"]).await.0, ["a"]);
    let body = json!({"access_group_name": "h", "assigned_team_ids": ["nobody"]});
    let refused = world.post(&admin(), "/v1/access_group", body).await;
    assert_eq!(refused.0, 400, "{refused:?}");

    // As whoever deletes the row by hand leaves it.
    let id = group["access_group_id"].as_str().unwrap();
    let gone = witgate_store::Write::Delete(
        super::TABLE,
        witgate_store::Filter::by("access_group_id", id),
    );
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    world.plane.store.write(vec![gone], now).await.unwrap();
    assert_eq!(
        models(&world, &key["token"]).await.0,
        [crate::principals::NOTHING]
    );
}

#[tokio::test]
async fn only_administrators_give_groups() {
    let world = world(json!({})).await;
    let group = world
        .done("/v1/access_group", json!({"access_group_name": "g"}))
        .await;
    let ids = json!([group["access_group_id"]]);
    let refused = world
        .post(
            &user("ann"),
            "/key/generate",
            json!({"access_group_ids": ids}),
        )
        .await;
    assert_eq!(refused.0, 403, "{refused:?}");
    let unknown = world
        .post(
            &admin(),
            "/key/generate",
            json!({"access_group_ids": ["none"]}),
        )
        .await;
    assert_eq!(unknown.0, 400, "{unknown:?}");
    let members = json!([{"user_id": "ann", "role": "admin"}]);
    world
        .done(
            "/team/new",
            json!({"team_id": "red", "members_with_roles": members}),
        )
        .await;
    let change = json!({"team_id": "red", "access_group_ids": ids});
    let refused = world.post(&user("ann"), "/team/update", change).await;
    assert_eq!(refused.0, 403, "{refused:?}");
}

#[tokio::test]
async fn of_those_who_delete_the_same_group_one_does() {
    of_those_who_delete_the_same_group_one_does_in(&world(json!({})).await).await;
    let server = PostgresServer::start().await;
    of_those_who_delete_the_same_group_one_does_in(&world_in(&server.url(), json!({})).await).await;
}

async fn of_those_who_delete_the_same_group_one_does_in(world: &World) {
    let group = world
        .done("/v1/access_group", json!({"access_group_name": "g"}))
        .await;
    let path = format!(
        "/v1/access_group/{}",
        group["access_group_id"].as_str().unwrap()
    );
    let admin = admin();
    let all = (0..6).map(|_| world.ask("DELETE", &admin, &path, json!({})));
    let mut told: Vec<u16> = futures_util::future::join_all(all)
        .await
        .into_iter()
        .map(|(status, _)| status)
        .collect();
    told.sort_unstable();
    assert_eq!(told, [204, 404, 404, 404, 404, 404]);
}

#[tokio::test]
async fn the_key_of_a_new_user_is_given_groups_and_nothing_is_dropped_in_silence() {
    let world = world(json!({})).await;
    let body = json!({"access_group_name": "g", "access_model_names": ["a"]});
    let group = world.done("/v1/access_group", body).await;
    let ids = json!([group["access_group_id"]]);
    let made = world
        .done(
            "/user/new",
            json!({"user_id": "eve", "models": ["k"], "access_group_ids": ids}),
        )
        .await;
    assert_eq!(models(&world, &made["token"]).await.0, ["k", "a"]);
    for (id, wrong) in [
        (
            "u1",
            json!({"access_group_ids": ids, "auto_create_key": false}),
        ),
        ("u2", json!({"access_group_ids": ["none"]})),
    ] {
        let mut body = wrong;
        body["user_id"] = json!(id);
        let (status, told) = world.post(&admin(), "/user/new", body).await;
        assert_eq!(status, 400, "{told}");
        assert!(told.to_string().contains("access_group_ids"), "{told}");
    }
    world
        .done(
            "/organization/new",
            json!({"organization_id": "red", "organization_alias": "red"}),
        )
        .await;
    let body = json!({"organization_id": "red", "member": {"role": "org_admin", "user_id": "ann"}});
    world.done("/organization/member_add", body).await;
    let body = json!({"organizations": ["red"], "access_group_ids": ids});
    let (status, told) = world.post(&user("ann"), "/user/new", body).await;
    assert_eq!(
        (status, &told["error"]["param"]),
        (403, &json!("access_group_ids")),
        "{told}"
    );
}
