//! A configuration in a bucket: it comes before every file.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::json;
use witgate_testkit::{
    FakeUpstream, FakeVendor, Gateway, GatewayBuilder, Reply, Signal, service_account,
};

use crate::support::moto::Moto;
use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, eventually};

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

/// Who asks for a reload has the object fetched; one that cannot be had, or is no good, changes nothing and is told.
#[tokio::test]
async fn a_reload_fetches_the_object_and_a_failed_one_changes_nothing() {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base());
    // Which of the versions the store has, and with which status it answers.
    let (version, status) = (Arc::new(AtomicU16::new(0)), Arc::new(AtomicU16::new(200)));
    let versions: Vec<String> = ["first", "second", "third"]
        .iter()
        .map(|name| config.replace("model_name: gpt-4o", &format!("model_name: {name}")))
        .chain(["model_list: [unclosed\n".to_owned(), " ".to_owned()])
        .collect();
    let (now, answer) = (version.clone(), status.clone());
    let store = FakeVendor::start(move |request| match request.path() {
        "/token" => {
            let token = json!({"access_token": "t-1", "expires_in": 3600, "token_type": "Bearer"});
            Ok((Reply::json(200, &token), Vec::new()))
        }
        _ => {
            let text = versions[usize::from(now.load(Ordering::SeqCst))].clone();
            let status = answer.load(Ordering::SeqCst);
            Ok((Reply::status(status, &[], text), vec![json!(status)]))
        }
    })
    .await;
    let builder = gateway("gcs", "conf", "c.yaml")
        .file("account.json", service_account(&store.origin()))
        .env("STORAGE_EMULATOR_HOST", store.authority());
    let file = builder.home().join("account.json");
    let builder = builder.env("GOOGLE_APPLICATION_CREDENTIALS", file);
    let stage = Stage::of(upstream, builder).await;
    let served = async || {
        let list = stage.client.get("/v1/models").await.ok();
        let first = list["data"][0]["id"].as_str().map(str::to_owned);
        first.expect("a model")
    };
    let reload = async || {
        let request = reqwest::Method::POST;
        stage.client.request(request, "/config/reload").await
    };
    assert_eq!(served().await, "first");

    version.store(1, Ordering::SeqCst);
    let reloaded = reload().await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(served().await, "second");

    // The store is in trouble, has lost the object, or holds what is no configuration.
    for (held, answered, words) in [
        (
            2,
            500,
            "gs://conf/c.yaml cannot be read: the store answers 500",
        ),
        (2, 404, "there is no such object"),
        (3, 200, "gs://conf/c.yaml:2:1"),
        (4, 200, "it is empty"),
    ] {
        version.store(held, Ordering::SeqCst);
        status.store(answered, Ordering::SeqCst);
        let refused = reload().await;
        assert!((400..500).contains(&refused.status), "{}", refused.status);
        assert!(refused.text().contains(words), "{}", refused.text());
        assert_eq!(served().await, "second", "{words}");
    }
    status.store(500, Ordering::SeqCst);
    stage.gateway.signal(Signal::HangUp).await;
    stage.gateway.wait_for_log("the store answers 500").await;
    assert_eq!(served().await, "second");
    stage.client.chat(&chat("second")).await.ok();

    version.store(2, Ordering::SeqCst);
    status.store(200, Ordering::SeqCst);
    stage.gateway.signal(Signal::HangUp).await;
    eventually("the third is served", async || {
        (served().await == "third").then_some(())
    })
    .await;
}
