//! `s3` and `s3_v2`: objects in a real S3 server that checks signatures, and in a fake that fails.

use serde_json::{Value, json};
use witgate_testkit::{FakeVendor, Reply, S3Key, fake_s3};

use super::{dropped, stage, taken};
use crate::support::moto::Moto;
use crate::support::{MASTER_KEY, Stage, UPSTREAM_KEY, chat};

/// The YAML of a sink with these parameters.
fn config(name: &str, params: &Value) -> String {
    format!("litellm_settings:\n  callbacks: [{name}]\n  s3_callback_params: {params}\n")
}

#[tokio::test]
async fn objects_lie_in_a_real_store_under_litellms_keys() {
    let mut moto = Moto::start().await;
    for name in ["s3", "s3_v2"] {
        let config = config(
            name,
            &json!({
                "s3_bucket_name": moto.own("bucket"), "s3_endpoint_url": moto.own("endpoint"),
                "s3_path": format!("gateway {name}"), "s3_flush_interval": 0.05,
                "s3_aws_access_key_id": moto.own("access_key_id"), "s3_aws_secret_access_key": "os.environ/S3_SECRET",
            }),
        );
        let secret = moto.own("secret_access_key");
        // Credentials of something else in the environment must not be mixed in.
        let stage = stage(&config, |gateway| {
            gateway
                .env("S3_SECRET", &secret)
                .env("AWS_SESSION_TOKEN", "of-somebody-else")
        })
        .await;
        let before = moto.objects().await.len();
        stage.client.chat(&chat("gpt-4o")).await.ok();
        stage
            .upstream
            .next(Reply::error(500, "server_error", None, "broken"));
        stage.client.chat(&chat("gpt-4o")).await.error(500);
        let objects = moto.wait_for(before + 2).await;
        let own: Vec<&Value> = objects
            .iter()
            .filter(|object| {
                object["key"]
                    .as_str()
                    .is_some_and(|key| key.starts_with(&format!("gateway {name}/20")))
            })
            .collect();
        assert_eq!(own.len(), 2, "{objects:?}");
        let mut statuses = Vec::new();
        for object in own {
            let event: Value =
                serde_json::from_str(object["body"].as_str().expect("text")).expect("JSON");
            statuses.push(event["status"].as_str().expect("text").to_owned());
            let id = event["id"].as_str().expect("text").replace(['/', ':'], "_");
            let key = object["key"].as_str().expect("text");
            assert!(
                key.contains("/time-") && key.ends_with(&format!("_{id}.json")),
                "{key}"
            );
            assert_eq!(object["content_type"], "application/json");
            for secret in [MASTER_KEY, UPSTREAM_KEY, &secret] {
                assert!(
                    !object.to_string().contains(secret),
                    "an object holds {secret}"
                );
            }
        }
        statuses.sort();
        assert_eq!(statuses, ["failure", "success"]);
        let Stage { mut gateway, .. } = stage;
        gateway.stop().await;
        assert!(!gateway.printed(&secret));
    }
}

#[tokio::test]
async fn a_role_is_assumed_at_a_real_token_service() {
    let mut moto = Moto::start().await;
    let config = config(
        "s3_v2",
        &json!({
            "s3_bucket_name": moto.own("bucket"), "s3_endpoint_url": moto.own("endpoint"), "s3_flush_interval": 0.05,
            "s3_aws_role_name": moto.own("role"), "s3_aws_session_name": "gateway", "s3_aws_sts_endpoint": moto.own("endpoint"),
        }),
    );
    let (id, secret) = (moto.own("access_key_id"), moto.own("secret_access_key"));
    let stage = stage(&config, |gateway| {
        gateway
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
    })
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.client.chat(&chat("gpt-4o")).await.ok();
    moto.wait_for(2).await;
}

#[tokio::test]
async fn a_wrong_secret_is_refused_by_the_real_store_and_told() {
    let mut moto = Moto::start().await;
    let config = config(
        "s3",
        &json!({
            "s3_bucket_name": moto.own("bucket"), "s3_endpoint_url": moto.own("endpoint"), "s3_flush_interval": 0.05,
            "s3_aws_access_key_id": moto.own("access_key_id"), "s3_aws_secret_access_key": "wrong-and-secret",
        }),
    );
    let stage = stage(&config, |gateway| gateway).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage.gateway.wait_for_log("SignatureDoesNotMatch").await;
    assert!(moto.objects().await.is_empty());
    assert!(!stage.gateway.printed("wrong-and-secret"));
}

const KEY: S3Key = S3Key {
    id: "ASIAEXAMPLE",
    secret: "fake/secret+1",
    token: Some("session/token=="),
    region: "eu-central-1",
};

async fn fake(more: &str) -> (Stage, FakeVendor) {
    let store = fake_s3("logs", KEY).await;
    let config = format!(
        "litellm_settings:\n  callbacks: [s3_v2]\n  s3_callback_params: {{s3_bucket_name: logs, s3_endpoint_url: '{}', s3_flush_interval: 0.05{more}}}\n",
        store.origin()
    );
    let stage = stage(&config, |gateway| {
        gateway
            .env("AWS_ACCESS_KEY_ID", KEY.id)
            .env("AWS_SECRET_ACCESS_KEY", KEY.secret)
            .env("AWS_SESSION_TOKEN", "session/token==")
            .env("AWS_REGION_NAME", KEY.region)
    })
    .await;
    (stage, store)
}

#[tokio::test]
async fn every_header_is_there_and_signed_with_the_session() {
    let (stage, store) =
        fake(", s3_path: a b/ü, s3_server_side_encryption: AES256, s3_use_team_prefix: true").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let object = taken(&store, 1).await.remove(0);
    let key = object["key"].as_str().expect("text");
    assert!(key.starts_with("a%20b/%C3%BC/20"), "{key}");
    assert_eq!(object["encryption"], "AES256");
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(!gateway.printed(KEY.secret) && !gateway.printed("session/token=="));
}

#[tokio::test]
async fn trouble_is_tried_again_and_each_event_is_one_object() {
    let (stage, store) = fake("").await;
    store
        .next(Reply::status(
            503,
            &[("retry-after", "1")],
            "<Error><Code>SlowDown</Code></Error>",
        ))
        .next(Reply::status(500, &[], ""))
        .next(Reply::status(
            403,
            &[],
            "<Error><Code>AccessDenied</Code></Error>",
        ))
        .next(Reply::nothing().then_reset());
    for _ in 0..5 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    let objects = taken(&store, 5).await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    let keys: std::collections::BTreeSet<String> = objects
        .iter()
        .map(|object| object["key"].to_string())
        .collect();
    assert_eq!((keys.len(), store.taken().len()), (5, 5));
}

#[tokio::test]
async fn what_the_store_refuses_for_good_is_dropped_and_holds_up_nothing() {
    let (stage, store) = fake("").await;
    store.next(Reply::status(
        400,
        &[],
        "<Error><Code>EntityTooLarge</Code><Message>too big</Message></Error>",
    ));
    stage.client.chat(&chat("gpt-4o")).await.ok();
    dropped(&stage, "s3_v2").await;
    stage.gateway.wait_for_log("EntityTooLarge").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    taken(&store, 1).await;
}

#[tokio::test]
async fn a_missing_key_is_told_before_anything_is_served() {
    let upstream = witgate_testkit::FakeUpstream::start().await;
    let config = crate::support::base_config(&upstream.api_base())
        + &config("s3", &json!({"s3_bucket_name": "logs"}));
    let refusal = witgate_testkit::Gateway::builder(config)
        .expect_refusal()
        .await;
    assert!(
        refusal.output.contains("s3_aws_access_key_id"),
        "{}",
        refusal.output
    );
}

/// `audit_log_callbacks`: rows of the audit log lie beside the events of calls, in a folder of their own.
#[tokio::test]
async fn rows_of_the_audit_log_lie_in_a_folder_of_their_own() {
    let mut moto = Moto::start().await;
    let params = json!({
        "s3_bucket_name": moto.own("bucket"), "s3_endpoint_url": moto.own("endpoint"), "s3_path": "gateway",
        "s3_flush_interval": 0.05, "s3_aws_access_key_id": moto.own("access_key_id"),
        "s3_aws_secret_access_key": "os.environ/S3_SECRET",
    });
    let config = format!(
        "litellm_settings:\n  store_audit_logs: true\n  audit_log_callbacks: [s3_v2]\n  s3_callback_params: {params}\n"
    );
    let secret = moto.own("secret_access_key");
    let stage = stage(&config, |gateway| gateway.env("S3_SECRET", &secret)).await;
    // Not a row of the audit log, and so none of its business.
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let team = json!({"team_id": "red", "team_alias": "Red"});
    stage.client.post("/team/new", &team).await.ok();
    let objects = moto.wait_for(1).await;
    let row: Value =
        serde_json::from_str(objects[0]["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        (&row["action"], &row["object_id"]),
        (&json!("created"), &json!("red"))
    );
    let at = row["updated_at"].as_str().expect("a time");
    let (day, clock) = at.split_once('T').expect("day and time");
    let id = row["id"].as_str().expect("an id");
    let clock = clock[..8].replace(':', "-");
    let key = format!("gateway/audit_logs/{day}/{clock}_{id}.json");
    assert_eq!(objects[0]["key"], key);
    assert_eq!(moto.objects().await.len(), 1);
}
