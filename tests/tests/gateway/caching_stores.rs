//! Answers outside of the process: S3 in a real server, Google Cloud's and Azure's buckets in faithful fakes.

use serde_json::{Value, json};
use witgate_testkit::{
    AZURE_SECRET, BUCKET, FakeUpstream, FakeVendor, Gateway, GatewayBuilder, Reply, fake_buckets,
    openai, service_account, workspace_root,
};

use crate::support::moto::Moto;
use crate::support::{Stage, base_config, chat, eventually};

async fn stage(params: &Value, shape: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Stage {
    let upstream = FakeUpstream::start().await;
    let config = base_config(&upstream.api_base())
        + &format!("litellm_settings: {{cache: true, cache_params: {params}}}\n");
    Stage::of(upstream, shape(Gateway::builder(config))).await
}

/// Asks, which must be a hit; its key.
async fn hit(stage: &Stage) -> String {
    let answer = stage.client.chat(&chat("gpt-4o")).await;
    answer.ok();
    let key = answer.header("x-litellm-cache-key");
    key.expect("a hit").to_owned()
}

#[tokio::test]
async fn answers_lie_in_a_real_s3_under_litellms_names() {
    let mut moto = Moto::start().await;
    let params = json!({
        "type": "s3", "s3_bucket_name": moto.own("bucket"), "s3_endpoint_url": moto.own("endpoint"),
        "s3_aws_access_key_id": moto.own("access_key_id"), "s3_aws_secret_access_key": "os.environ/S3_SECRET",
        "s3_path": "kept answers", "namespace": "ours", "ttl": 600,
    });
    let secret = moto.own("secret_access_key");
    let stage = stage(&params, |gateway| {
        gateway
            .env("S3_SECRET", &secret)
            .env("AWS_SESSION_TOKEN", "of-somebody-else")
    })
    .await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    // Written behind the call.
    let objects = moto.wait_for(1).await;
    let key = hit(&stage).await;
    let object = &objects[0];
    let name = key.replace(':', "/");
    assert_eq!(object["key"], format!("kept answers/{name}"));
    assert_eq!(object["content_type"], "application/json");
    let headers = &object["headers"];
    assert_eq!(headers["content-language"], "en");
    assert_eq!(
        headers["cache-control"],
        "immutable, max-age=600, s-maxage=600"
    );
    assert_eq!(
        headers["content-disposition"],
        format!("inline; filename=\"kept answers/{name}.json\"")
    );
    assert!(headers["expires"].is_string(), "{headers}");
    let entry: Value = serde_json::from_str(object["body"].as_str().expect("text")).expect("JSON");
    assert!(entry["timestamp"].is_f64(), "{entry}");
    let kept: Value =
        serde_json::from_str(entry["response"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        kept["choices"][0]["message"]["content"],
        openai::DEFAULT_TEXT
    );
    let ping = stage.client.get("/cache/ping").await.ok();
    assert!(!ping.to_string().contains(&secret), "{ping}");
    let body = json!({ "keys": [key] });
    stage.client.post("/cache/delete", &body).await.ok();
    assert!(moto.objects().await.is_empty());
    // A list of inputs is one object here, as with LiteLLM.
    let inputs = json!({"model": "text-embedding-3-small", "input": ["a", "b"]});
    stage.client.post("/v1/embeddings", &inputs).await.ok();
    assert_eq!(moto.wait_for(1).await.len(), 1);
    // Of others only what is ours is deleted.
    let digest = "ab".repeat(32);
    let foreign = [
        "kept answers/ours/notes.txt".to_owned(),
        format!("kept answers/theirs/{digest}"),
        format!("elsewhere/ours/{digest}"),
    ];
    for name in &foreign {
        moto.put(name).await;
    }
    stage.client.post("/cache/flushall", &json!({})).await.ok();
    let left = moto.objects().await;
    let mut left: Vec<&str> = left.iter().filter_map(|one| one["key"].as_str()).collect();
    left.sort_unstable();
    let mut expected: Vec<&str> = foreign.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(left, expected);
    stage.client.post("/v1/embeddings", &inputs).await.ok();
    moto.wait_for(4).await;
    assert!(!stage.gateway.printed(&secret));
}

#[tokio::test]
async fn a_store_that_refuses_is_told_once_and_costs_nobody_an_answer() {
    let moto = Moto::start().await;
    let params = json!({
        "type": "s3", "s3_bucket_name": moto.own("bucket"), "s3_endpoint_url": moto.own("endpoint"),
        "s3_aws_access_key_id": moto.own("access_key_id"), "s3_aws_secret_access_key": "wrong-and-secret",
    });
    let stage = stage(&params, |gateway| gateway).await;
    for _ in 0..2 {
        stage.client.chat(&chat("gpt-4o")).await.ok();
    }
    assert_eq!(stage.upstream.requests().len(), 2);
    stage.gateway.wait_for_log("SignatureDoesNotMatch").await;
    let error = stage.client.get("/cache/ping").await.error(503);
    assert_eq!(error["type"], "cache_ping_error");
    let metrics = stage.client.get("/metrics").await.text();
    let line = "witgate_cache_lookups_total{backend=\"s3\",result=\"error\"} 2";
    assert!(metrics.contains(line), "{metrics}");
    assert!(!stage.gateway.printed("wrong-and-secret"));
}

async fn buckets(kind: &str) -> (Stage, FakeVendor) {
    let clouds = fake_buckets().await;
    let origin = clouds.origin();
    let gateway = |gateway: GatewayBuilder| {
        gateway
            .env("ACCOUNT", service_account(&origin))
            .env("AZURE_AUTHORITY_HOST", &origin)
            .env("AZURE_TENANT_ID", "tenant-1")
            .env("AZURE_CLIENT_ID", "app-1")
            .env("AZURE_CLIENT_SECRET", AZURE_SECRET)
    };
    let params = match kind {
        "gcs" => json!({
            "type": "gcs", "gcs_bucket_name": BUCKET, "gcs_path": "kept/here", "gcs_endpoint_url": origin,
            "gcs_path_service_account": "os.environ/ACCOUNT", "namespace": "ours",
        }),
        _ => json!({
            "type": "azure-blob", "azure_account_url": origin, "azure_blob_container": BUCKET, "namespace": "ours",
        }),
    };
    (stage(&params, gateway).await, clouds)
}

/// Waits until so many objects have been written.
async fn written(clouds: &FakeVendor, count: usize) {
    eventually("objects in the bucket", async || {
        let taken = clouds.taken().all();
        let objects = taken.iter().filter(|one| one["object"].is_string());
        (objects.count() >= count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn buckets_of_google_and_azure_keep_answers() {
    for (kind, folder) in [("gcs", "kept%2Fhere%2Fours%2F"), ("azure-blob", "ours/")] {
        let (stage, clouds) = buckets(kind).await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
        written(&clouds, 1).await;
        let key = hit(&stage).await;
        clouds.refused_nothing();
        let taken = clouds.taken().all();
        let digest = key.strip_prefix("ours:").expect("a namespace");
        let object = taken.iter().find(|one| one["object"].is_string());
        assert_eq!(
            object.map(|one| one["object"].clone()),
            Some(json!(format!("{folder}{digest}"))),
            "{taken:?}"
        );
        // One token serves all requests.
        let tokens = taken.iter().filter(|one| one["token"].is_string()).count();
        assert_eq!(tokens, 1, "{kind}: {taken:?}");
        let body = json!({ "keys": [key] });
        stage.client.post("/cache/delete", &body).await.ok();
        let before = stage.upstream.requests().len();
        stage.client.chat(&chat("gpt-4o")).await.ok();
        assert_eq!(stage.upstream.requests().len(), before + 1, "{kind}");
        written(&clouds, 2).await;
        // A store in trouble is a miss.
        clouds.next(Reply::status(503, &[], "slow down"));
        stage.client.chat(&chat("gpt-4o")).await.ok();
        assert_eq!(stage.upstream.requests().len(), before + 2, "{kind}");
        for secret in [AZURE_SECRET, "BEGIN PRIVATE KEY"] {
            assert!(!stage.gateway.printed(secret), "{kind}: {secret}");
        }
    }
}

/// More answers than a page has names.
#[tokio::test]
async fn buckets_are_flushed_page_by_page() {
    for kind in ["gcs", "azure-blob"] {
        let (stage, clouds) = buckets(kind).await;
        let ask = async |n: usize| {
            let mut body = chat("gpt-4o");
            body["seed"] = json!(n);
            stage.client.chat(&body).await.ok();
        };
        for n in 0..5 {
            ask(n).await;
        }
        written(&clouds, 5).await;
        assert_eq!(stage.upstream.requests().len(), 5, "{kind}");
        ask(0).await;
        assert_eq!(stage.upstream.requests().len(), 5, "{kind}: a hit");
        stage.client.post("/cache/flushall", &json!({})).await.ok();
        for n in 0..5 {
            ask(n).await;
        }
        assert_eq!(
            stage.upstream.requests().len(),
            10,
            "{kind}: no hit is left"
        );
        clouds.refused_nothing();
    }
}

#[tokio::test]
async fn what_a_store_needs_is_told_before_anything_is_served() {
    for (params, missing) in [
        ("{type: s3}", "s3_bucket_name is missing"),
        ("{type: s3, s3_bucket_name: b}", "s3_aws_access_key_id"),
        (
            "{type: gcs, gcs_bucket_name: b}",
            "gcs_path_service_account",
        ),
        (
            "{type: azure-blob, azure_account_url: 'https://a.test', azure_blob_container: c}",
            "AZURE_TENANT_ID",
        ),
    ] {
        let config = base_config("http://127.0.0.1:9")
            + &format!("litellm_settings: {{cache: true, cache_params: {params}}}\n");
        let refusal = Gateway::builder(config).expect_refusal().await;
        assert!(
            refusal.output.contains(missing),
            "{params}: {}",
            refusal.output
        );
    }
}

#[tokio::test]
async fn every_example_of_the_page_on_caching_serves() {
    let page = std::fs::read_to_string(workspace_root().join("docs/caching.md"));
    let page = page.expect("the page");
    let examples: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once("```")?.0))
        .collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for example in examples {
        let config = base_config("http://127.0.0.1:9") + example;
        let gateway = Gateway::builder(config)
            .env("S3_KEY_ID", "AKIDEXAMPLE")
            .env("S3_SECRET", "secret")
            .env("QDRANT_KEY", "secret")
            .env("GCS_ACCOUNT", service_account("http://127.0.0.1:9"))
            .env("AZURE_TENANT_ID", "tenant-1")
            .env("AZURE_CLIENT_ID", "app-1")
            .env("AZURE_CLIENT_SECRET", AZURE_SECRET)
            .start()
            .await;
        let client = crate::support::Client::of(&gateway);
        let readiness = client.get("/health/readiness").await.ok();
        let kind = example
            .lines()
            .find_map(|line| line.trim().strip_prefix("type: "));
        assert_eq!(readiness["cache"].as_str(), kind, "{example}");
        let logs = gateway.logs().all();
        let told = logs.iter().find(|line| line.contains("cache_params"));
        assert_eq!(told, None, "{example}");
    }
}
