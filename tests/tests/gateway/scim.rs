//! SCIM: an identity provider with a key of its own makes and shuts out users and groups.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Stage, chat};

async fn provider(stage: &Stage) -> Client {
    let body = json!({"allowed_routes": ["/scim/*"], "key_alias": "idp"});
    let made = stage.client.post("/key/generate", &body).await.ok();
    Client::of(&stage.gateway)
        .key(made["key"].as_str().unwrap())
        .header("content-type", "application/scim+json")
}

#[track_caller]
fn good(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/scim+json"));
    match status {
        204 => Value::Null,
        _ => answer.json(),
    }
}

#[tokio::test]
async fn a_user_comes_joins_a_group_and_is_shut_out() {
    let stage = Stage::plain().await;
    let idp = provider(&stage).await;
    let config = good(&idp.get("/scim/v2/ServiceProviderConfig").await, 200);
    assert_eq!(config["patch"]["supported"], true);
    let ann = json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "ann@example.com", "active": true});
    let ann = good(&idp.post("/scim/v2/Users", &ann).await, 201);
    let id = ann["id"].as_str().unwrap();
    let group = json!({"displayName": "Red", "members": [{"value": id}]});
    let red = good(&idp.post("/scim/v2/Groups", &group).await, 201);
    let team = red["id"].as_str().unwrap();
    let info = stage
        .client
        .get(&format!("/team/info?team_id={team}"))
        .await
        .ok();
    assert_eq!(info["team_info"]["members_with_roles"][0]["user_id"], id);
    let found = idp
        .get("/scim/v2/Users?filter=userName%20eq%20%22ANN@example.com%22")
        .await;
    assert_eq!(good(&found, 200)["totalResults"], 1);

    let key = json!({"user_id": id, "team_id": team});
    let made = stage.client.post("/key/generate", &key).await.ok();
    let client = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    client.chat(&chat("gpt-4o")).await.ok();
    let path = format!("/scim/v2/Users/{id}");
    let active = |value: Value| json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [{"op": "Replace", "path": "active", "value": value}]});
    good(&idp.patch(&path, &active(json!("False"))).await, 200);
    client.chat(&chat("gpt-4o")).await.error(401);
    good(&idp.patch(&path, &active(json!(true))).await, 200);
    client.chat(&chat("gpt-4o")).await.ok();
    good(&idp.request(Method::DELETE, &path).await, 204);
    client.chat(&chat("gpt-4o")).await.error(401);
    let gone = good(&idp.get(&path).await, 404);
    assert_eq!(
        gone["schemas"][0],
        "urn:ietf:params:scim:api:messages:2.0:Error"
    );
    good(
        &idp.request(Method::DELETE, &format!("/scim/v2/Groups/{team}"))
            .await,
        204,
    );
}

#[tokio::test]
async fn the_key_of_a_provider_opens_nothing_else_and_nobody_makes_one() {
    let stage = Stage::plain().await;
    let idp = provider(&stage).await;
    for path in ["/user/list", "/key/list", "/team/list"] {
        assert_eq!(idp.get(path).await.status, 403, "{path}");
    }
    assert_eq!(idp.post("/key/generate", &json!({})).await.status, 403);
    assert_eq!(idp.chat(&chat("gpt-4o")).await.status, 403);
    let made = stage
        .client
        .post("/key/generate", &json!({"user_id": "ann"}))
        .await
        .ok();
    let ann = Client::of(&stage.gateway).key(made["key"].as_str().unwrap());
    ann.get("/scim/v2/Users").await.error(401);
    let own = json!({"allowed_routes": ["/scim/*"]});
    ann.post("/key/generate", &own).await.error(403);
}
