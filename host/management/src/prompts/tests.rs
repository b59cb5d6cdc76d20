//! Requests about prompts of the database, over a real store.

use serde_json::{Value, json};
use witgate_store::Row;

use super::{parted, served};
use crate::seal::{Opened, Seal};
use crate::testing::{SALT, admin, user, world};

fn body(id: &str, environment: &str, name: &str) -> Value {
    json!({
        "prompt_id": id, "prompt_info": {"prompt_type": "config", "environment": environment},
        "litellm_params": {"prompt_id": name, "prompt_integration": "langfuse", "langfuse_secret_key": "sk-lf-secret"},
    })
}

#[tokio::test]
async fn a_prompt_has_versions_of_which_each_is_a_row_and_its_secrets_are_nobodys() {
    let world = world(json!({})).await;
    let made = world
        .done("/prompts", body("greet", "development", "one"))
        .await;
    assert_eq!(made["prompt_id"], "greet");
    assert_eq!(made["version"], 1);
    assert_eq!(made["prompt_info"]["prompt_type"], "db");
    assert_eq!(made["litellm_params"]["langfuse_secret_key"], "*****");
    let again = world
        .done("/prompts", body("greet", "development", "two"))
        .await;
    assert_eq!(again["version"], 2);
    // What is read is given back: the secret stays.
    let put = json!({"litellm_params": again["litellm_params"]});
    let (status, put) = world.ask("PUT", &admin(), "/prompts/greet.v1", put).await;
    assert_eq!((status, &put["version"]), (200, &json!(3)), "{put}");
    let rows = world.plane.prompt_rows(Some("greet"), None).await.unwrap();
    assert_eq!(rows.len(), 3);
    let sealed = rows[0]["litellm_params"]["langfuse_secret_key"].as_str();
    let opened = Seal::of(SALT).open(sealed.unwrap());
    assert_eq!(opened, Opened::Sealed("sk-lf-secret".to_owned()));

    let patch = json!({"litellm_params": {"prompt_id": "one", "prompt_integration": "langfuse"}});
    let (status, changed) = world
        .ask("PATCH", &admin(), "/prompts/greet.v2", patch)
        .await;
    assert_eq!((status, &changed["version"]), (200, &json!(2)), "{changed}");
    assert!(
        changed["litellm_params"]
            .get("langfuse_secret_key")
            .is_none()
    );
    let (_, told) = world.get(&admin(), "/prompts/greet/info").await;
    assert_eq!(told["prompt_spec"]["version"], 3);
    let (_, told) = world.get(&admin(), "/prompts/greet.v2/info").await;
    assert_eq!(told["prompt_spec"]["litellm_params"]["prompt_id"], "one");
    let (_, told) = world.get(&admin(), "/prompts/greet/versions").await;
    let versions = told["prompts"].as_array().unwrap().iter();
    let versions: Vec<&Value> = versions.map(|one| &one["version"]).collect();
    assert_eq!(versions, [&json!(3), &json!(2), &json!(1)]);

    let delete = async |path: &str| world.ask("DELETE", &admin(), path, json!({})).await.0;
    assert_eq!(delete("/prompts/greet.v2").await, 200);
    assert_eq!(delete("/prompts/greet.v2").await, 404);
    let (_, listed) = world.get(&admin(), "/prompts/list").await;
    assert_eq!(listed["prompts"][0]["version"], 3, "{listed}");
    assert_eq!(delete("/prompts/greet").await, 200);
    let (_, listed) = world.get(&admin(), "/prompts/list").await;
    assert_eq!(listed["prompts"], json!([]));
}

#[tokio::test]
async fn who_may_name_a_prompt_sees_which_it_is_and_nobody_else_sees_any() {
    let world = world(json!({})).await;
    world
        .done("/prompts", body("greet", "development", "one"))
        .await;
    world
        .done("/prompts", body("other", "development", "one"))
        .await;
    let ann = user("ann");
    let (_, listed) = world.get(&ann, "/prompts/list").await;
    assert_eq!(listed["prompts"], json!([]));
    let mut caller = ann.clone();
    caller
        .metadata
        .insert("prompts".to_owned(), json!(["greet.v1"]));
    let (_, listed) = world.get(&caller, "/prompts/list").await;
    assert_eq!(listed["prompts"].as_array().unwrap().len(), 1);
    assert_eq!(
        listed["prompts"][0]["litellm_params"],
        json!({"prompt_id": "one", "prompt_integration": "langfuse"})
    );
    let (status, _) = world.get(&ann, "/prompts/greet/info").await;
    assert!(status >= 400, "{status}");
}

#[tokio::test]
async fn an_environment_has_versions_of_its_own_and_productions_serve() {
    let world = world(json!({})).await;
    for (environment, name) in [("production", "p1"), ("staging", "s1"), ("staging", "s2")] {
        world
            .done("/prompts", body("greet", environment, name))
            .await;
    }
    let (_, told) = world.get(&admin(), "/prompts/greet/info").await;
    assert_eq!(told["prompt_spec"]["litellm_params"]["prompt_id"], "p1");
    let path = "/prompts/greet/info?environment=staging";
    let (_, told) = world.get(&admin(), path).await;
    assert_eq!(told["prompt_spec"]["version"], 2);
    let rows = world.plane.prompt_rows(None, None).await.unwrap();
    let served: Vec<&Row> = served(&rows);
    assert_eq!(served.len(), 1);
    assert_eq!(served[0]["environment"], "production");
    let path = "/prompts/greet?environment=staging";
    assert_eq!(world.ask("DELETE", &admin(), path, json!({})).await.0, 200);
    assert_eq!(world.plane.prompt_rows(None, None).await.unwrap().len(), 1);
    let moved = json!({"prompt_info": {"environment": "staging"}});
    let (status, told) = world.ask("PATCH", &admin(), "/prompts/greet", moved).await;
    assert_eq!(status, 400, "{told}");
}

#[tokio::test]
async fn what_is_no_prompt_is_refused() {
    let world = world(json!({})).await;
    let with = |change: fn(&mut Value)| {
        let mut body = body("greet", "development", "one");
        change(&mut body);
        body
    };
    for (body, hint) in [
        (with(|one| one["prompt_id"] = json!("")), "prompt_id"),
        (
            with(|one| one["prompt_id"] = json!("greet.v2")),
            "ends in .vN",
        ),
        (
            with(|one| one["litellm_params"] = json!({"prompt_id": "x"})),
            "prompt_integration",
        ),
        (
            with(|one| one["litellm_params"]["prompt_integration"] = json!("/tmp/x.wasm")),
            "only the configuration file",
        ),
        (
            with(|one| one["prompt_info"]["environment"] = json!(7)),
            "environment",
        ),
        (
            with(|one| one["litellm_params"]["langfuse_secret_key"] = json!("*****")),
            "mask",
        ),
    ] {
        let (status, told) = world.post(&admin(), "/prompts", body).await;
        assert!((400..500).contains(&status), "{told}");
        assert!(told.to_string().contains(hint), "{hint}: {told}");
    }
    let (status, _) = world
        .ask(
            "PUT",
            &admin(),
            "/prompts/nobody",
            body("nobody", "development", "x"),
        )
        .await;
    assert_eq!(status, 404);
    assert!(
        world
            .plane
            .prompt_rows(None, None)
            .await
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_id_ends_in_its_version() {
    assert_eq!(parted("a.v12"), ("a", Some(12)));
    assert_eq!(parted("a.v"), ("a.v", None));
    assert_eq!(parted("a.vx"), ("a.vx", None));
    assert_eq!(parted("a.v1.v2"), ("a.v1", Some(2)));
    assert_eq!(
        parted("a.v99999999999999999999"),
        ("a.v99999999999999999999", None)
    );
}
