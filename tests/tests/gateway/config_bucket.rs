//! A configuration in a bucket: it comes before every file.

use serde_json::json;
use witgate_testkit::{FakeUpstream, FakeVendor, Gateway, GatewayBuilder, Reply, service_account};

use crate::support::moto::Moto;
use crate::support::{Client, MASTER_KEY, Stage, base_config, chat};

/// A gateway whose file is not what it is to serve.
fn gateway(kind: &str, bucket: &str, key: &str) -> GatewayBuilder {
    Gateway::builder("model_list: []\ngeneral_settings: {master_key: sk-of-the-file}\n")
        .env("LITELLM_CONFIG_BUCKET_NAME", bucket)
        .env("LITELLM_CONFIG_BUCKET_OBJECT_KEY", key)
        .env("LITELLM_CONFIG_BUCKET_TYPE", kind)
}

#[tokio::test]
async fn a_configuration_lies_in_a_real_s3() {
    let mut moto = Moto::start().await;
    let (bucket, secret) = (moto.own("bucket"), moto.own("secret_access_key"));
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    moto.put_text("conf/our config.yaml", &config).await;
    moto.put_text("empty.yaml", " ").await;
    let endpoint = moto.own("endpoint");
    let id = moto.own("access_key_id");
    let with_key = |builder: GatewayBuilder, secret: &str| {
        builder
            .env("AWS_ENDPOINT_URL_S3", &endpoint)
            .env("AWS_ACCESS_KEY_ID", &id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
    };
    let builder = gateway("s3", &bucket, "conf/our config.yaml");
    let stage = Stage::of(upstream, with_key(builder, &secret)).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let of_file = Client::of(&stage.gateway).key("sk-of-the-file");
    of_file.chat(&chat("gpt-4o")).await.error(401);

    for (key, secret, words) in [
        ("none.yaml", secret.as_str(), "there is no such object"),
        ("empty.yaml", secret.as_str(), "it is empty"),
        ("conf/our config.yaml", "wrong", "status 403"),
    ] {
        let builder = with_key(gateway("s3", &bucket, key), secret);
        let refused = builder.expect_refusal().await.output;
        let place = format!("the configuration s3://{bucket}/{key} cannot be read");
        assert!(refused.contains(&place), "{refused}");
        assert!(refused.contains(words), "{refused}");
    }
    let refused = gateway("s3", &bucket, "c.yaml").expect_refusal().await;
    assert!(
        refused.output.contains("AWS_ACCESS_KEY_ID"),
        "{}",
        refused.output
    );
    let half = Gateway::builder("").env("LITELLM_CONFIG_BUCKET_NAME", "b");
    let refused = half.expect_refusal().await.output;
    assert!(
        refused.contains("LITELLM_CONFIG_BUCKET_OBJECT_KEY"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_configuration_lies_in_a_bucket_of_googles() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    let google = FakeVendor::start(move |request| match request.path() {
        "/token" => {
            let token = json!({"access_token": "t-1", "expires_in": 3600, "token_type": "Bearer"});
            Ok((Reply::json(200, &token), Vec::new()))
        }
        path if request.header("authorization") == Some("Bearer t-1") => {
            Ok((Reply::status(200, &[], config.clone()), vec![path.into()]))
        }
        path => Err((401, path.to_owned())),
    })
    .await;
    let account = service_account(&google.origin());
    let builder = gateway("gcs", "conf", "litellm/c.yaml")
        .file("account.json", account)
        .env("STORAGE_EMULATOR_HOST", google.authority());
    let file = builder.home().join("account.json");
    let builder = builder.env("GOOGLE_APPLICATION_CREDENTIALS", file);
    let stage = Stage::of(upstream, builder).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    let admin = Client::of(&stage.gateway).key(MASTER_KEY);
    assert_eq!(admin.get("/models").await.status, 200);
    google.refused_nothing();
    let read = google.taken().all();
    assert_eq!(read.len(), 1, "{read:?}");
    assert!(
        read[0].as_str().is_some_and(|path| path.contains("/conf/")),
        "{read:?}"
    );
}
