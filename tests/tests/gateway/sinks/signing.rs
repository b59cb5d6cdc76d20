//! What the host signs besides AWS's: service accounts of Google Cloud, applications and storage accounts of Azure.

use witgate_testkit::{
    AZURE_ACCOUNT, AZURE_SECRET, FakeVendor, Reply, fake_clouds, service_account,
};

use super::{dropped, stage, taken};
use crate::support::{Stage, chat};

async fn signer(vendor: &FakeVendor, scheme: &str, secret: &str) -> Stage {
    let config = format!(
        "litellm_settings:\n  callbacks: [signer]\n\
         callback_settings:\n  signer: {{url: '{}', scheme: {scheme}, secret: os.environ/SIGNER_SECRET, flush_interval: 0.05}}\n",
        vendor.origin()
    );
    stage(&config, |gateway| gateway.env("SIGNER_SECRET", secret)).await
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_used_until_it_ends() {
    for scheme in ["gcp", "azure-app"] {
        let vendor = fake_clouds().await;
        let secret = match scheme {
            "gcp" => service_account(&vendor.origin()),
            _ => AZURE_SECRET.to_owned(),
        };
        let stage = signer(&vendor, scheme, &secret).await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
        taken(&vendor, 2).await;
        stage.client.chat(&chat("gpt-4o")).await.ok();
        let seen = taken(&vendor, 3).await;
        assert!(seen[0]["token"].is_string(), "{scheme}: {seen:?}");
        assert_eq!(seen[1]["object"], "/logs/a%20b.json");
        assert!(seen[2]["object"].is_string(), "no second token: {seen:?}");
        let Stage { mut gateway, .. } = stage;
        gateway.stop().await;
        for hidden in ["PRIVATE KEY", AZURE_SECRET, "issued-token-31337"] {
            assert!(!gateway.printed(hidden), "{hidden}");
        }
    }
}

#[tokio::test]
async fn a_storage_accounts_key_signs_each_request() {
    let vendor = fake_clouds().await;
    let stage = signer(&vendor, "azure-account", AZURE_ACCOUNT.1).await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    taken(&vendor, 1).await;
    let request = vendor.requests().last();
    assert!(
        request
            .header("x-ms-date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
}

#[tokio::test]
async fn a_token_service_in_trouble_is_asked_again_and_a_refusal_is_told() {
    let vendor = fake_clouds().await;
    let stage = signer(&vendor, "azure-app", AZURE_SECRET).await;
    vendor.next(Reply::status(503, &[], "later"));
    stage.client.chat(&chat("gpt-4o")).await.ok();
    taken(&vendor, 2).await;

    let stage = signer(&vendor, "azure-app", "wrong-and-secret").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    dropped(&stage, "signer").await;
    stage.gateway.wait_for_log("invalid_client").await;
    let Stage { mut gateway, .. } = stage;
    gateway.stop().await;
    assert!(!gateway.printed("wrong-and-secret"));
}

#[tokio::test]
async fn a_key_file_that_is_none_is_told_without_being_shown() {
    let vendor = fake_clouds().await;
    let stage = signer(&vendor, "gcp", "{\"client_email\": \"hidden-address\"}").await;
    stage.client.chat(&chat("gpt-4o")).await.ok();
    stage
        .gateway
        .wait_for_log("no key file of a service account")
        .await;
    assert!(!stage.gateway.printed("hidden-address"));
}
