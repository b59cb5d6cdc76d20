//! Secrets that a configuration refers to are in a manager: asked for before everything else, kept, asked for again, and
//! the environment where it has nothing or cannot answer.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use witgate_testkit::{FakeUpstream, FakeVault, FakeVendor, Gateway, GatewayBuilder, Reply};

use crate::support::{Client, MASTER_KEY, chat, eventually};

const TOKEN: &str = "hvs.operators-token-1234";

/// A gateway whose one model has its key from `UPSTREAM_KEY`, and the upstream.
struct Stage {
    upstream: FakeUpstream,
    vault: FakeVault,
}

impl Stage {
    async fn new() -> Self {
        Self {
            upstream: FakeUpstream::start().await,
            vault: FakeVault::start(TOKEN).await,
        }
    }

    fn config(&self, general: &str) -> String {
        format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: os.environ/UPSTREAM_KEY}}\n\
             router_settings: {{num_retries: 0}}\n\
             general_settings:\n  master_key: {MASTER_KEY}\n{general}",
            self.upstream.api_base()
        )
    }

    /// Of this Vault, with the operator's token.
    fn builder(&self, settings: &str) -> GatewayBuilder {
        let general = format!(
            "  key_management_system: hashicorp_vault\n  key_management_settings: {{{settings}}}\n"
        );
        Gateway::builder(self.config(&general))
            .env("HCP_VAULT_ADDR", self.vault.address())
            .env("HCP_VAULT_TOKEN", TOKEN)
    }

    /// The `authorization` of a call through the gateway.
    async fn sent_by(&self, gateway: &Gateway) -> String {
        sent_to(&self.upstream, gateway).await
    }
}

async fn sent_to(upstream: &FakeUpstream, gateway: &Gateway) -> String {
    let client = Client::of(gateway).key(MASTER_KEY);
    client.chat(&chat("gpt-4o")).await;
    let last = upstream.requests().last();
    last.header("authorization").unwrap_or_default().to_owned()
}

async fn reload(gateway: &Gateway) {
    let client = Client::of(gateway).key(MASTER_KEY);
    let answer = client
        .request(reqwest::Method::POST, "/config/reload")
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn a_key_in_vault_reaches_the_upstream_and_nobody_else() {
    let stage = Stage::new().await;
    stage
        .vault
        .put("secret/data/UPSTREAM_KEY", "sk-of-the-vault-77");
    let gateway = stage
        .builder("")
        .env("UPSTREAM_KEY", "sk-of-the-environment")
        .start()
        .await;
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-of-the-vault-77");
    let asked = stage.vault.vendor().requests().last();
    assert_eq!(asked.header("x-vault-token"), Some(TOKEN));
    assert_eq!(asked.header("x-vault-namespace"), None);
    assert_eq!(
        stage.vault.reads().into_iter().collect::<Vec<_>>(),
        [("secret/data/UPSTREAM_KEY".to_owned(), 1)]
    );
    stage.vault.vendor().refused_nothing();
    for secret in ["sk-of-the-vault-77", TOKEN] {
        assert!(!gateway.printed(secret), "{secret} is in the log");
    }
    let client = Client::of(&gateway).key(MASTER_KEY);
    let shown = client.get("/model/info").await;
    assert!(
        !shown.text().contains("sk-of-the-vault-77"),
        "{}",
        shown.text()
    );
}

#[tokio::test]
async fn what_vault_does_not_have_comes_from_the_environment_and_is_asked_once() {
    let stage = Stage::new().await;
    let gateway = stage
        .builder("")
        .env("UPSTREAM_KEY", "sk-of-the-environment")
        .start()
        .await;
    assert_eq!(
        stage.sent_by(&gateway).await,
        "Bearer sk-of-the-environment"
    );
    // A changed file is read with what is kept, also that there was nothing.
    let config = std::fs::read_to_string(gateway.home().join("config.yaml")).expect("read");
    gateway.write_config(&config.replace("model_name: gpt-4o", "model_name: gpt-4o-too"));
    gateway.wait_for_log("configuration reloaded").await;
    assert_eq!(stage.vault.reads()["secret/data/UPSTREAM_KEY"], 1);
    // Who asks for a reload wants to see what is there now.
    stage.vault.put("secret/data/UPSTREAM_KEY", "sk-put-later");
    gateway.write_config(&config);
    reload(&gateway).await;
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-put-later");
    assert!(stage.vault.reads()["secret/data/UPSTREAM_KEY"] >= 2);
}

#[tokio::test]
async fn only_hosted_keys_are_asked_for_and_all_of_them() {
    let stage = Stage::new().await;
    stage
        .vault
        .put("secret/data/UPSTREAM_KEY", "sk-of-the-vault")
        .put("secret/data/OPENAI_API_KEY", "sk-default-of-the-vault");
    let gateway = stage
        .builder("hosted_keys: [OPENAI_API_KEY, SWITCH]")
        .env("UPSTREAM_KEY", "sk-of-the-environment")
        .start()
        .await;
    assert_eq!(
        stage.sent_by(&gateway).await,
        "Bearer sk-of-the-environment"
    );
    let asked: Vec<String> = stage.vault.reads().into_keys().collect();
    assert_eq!(asked, ["secret/data/OPENAI_API_KEY", "secret/data/SWITCH"]);
    // A deployment without a key has the provider's variable, which the manager has.
    let config = std::fs::read_to_string(gateway.home().join("config.yaml")).expect("read");
    gateway.write_config(&config.replace(", api_key: os.environ/UPSTREAM_KEY", ""));
    reload(&gateway).await;
    assert_eq!(
        stage.sent_by(&gateway).await,
        "Bearer sk-default-of-the-vault"
    );
}

#[tokio::test]
async fn keys_that_the_configuration_leaves_to_variables_are_asked_for_too() {
    let stage = Stage::new().await;
    stage
        .vault
        .put("secret/data/OPENAI_API_KEY", "sk-default-of-the-vault")
        .put("secret/data/LITELLM_MASTER_KEY", MASTER_KEY);
    let config = stage
        .config("  key_management_system: hashicorp_vault\n")
        .replace(", api_key: os.environ/UPSTREAM_KEY", "")
        .replace(&format!("  master_key: {MASTER_KEY}\n"), "");
    let gateway = Gateway::builder(config)
        .env("HCP_VAULT_ADDR", stage.vault.address())
        .env("HCP_VAULT_TOKEN", TOKEN)
        .start()
        .await;
    assert_eq!(
        stage.sent_by(&gateway).await,
        "Bearer sk-default-of-the-vault"
    );
    let stranger = Client::of(&gateway).chat(&chat("gpt-4o")).await;
    assert_eq!(stranger.status, 401, "{}", stranger.text());
}

#[tokio::test]
async fn a_manager_that_may_only_be_written_is_not_read() {
    let stage = Stage::new().await;
    stage
        .vault
        .put("secret/data/UPSTREAM_KEY", "sk-of-the-vault");
    let gateway = stage
        .builder("access_mode: write_only")
        .env("UPSTREAM_KEY", "sk-of-the-environment")
        .start()
        .await;
    assert_eq!(
        stage.sent_by(&gateway).await,
        "Bearer sk-of-the-environment"
    );
    assert!(stage.vault.vendor().requests().is_empty());
}

#[tokio::test]
async fn values_that_are_words_of_yaml_and_settings_of_any_kind_come_from_vault() {
    let stage = Stage::new().await;
    stage
        .vault
        .put("secret/data/UPSTREAM_KEY", "sk-1")
        .put("secret/data/NO_SPEND", "True")
        .put("secret/data/MASTER", "sk-master-of-the-vault")
        .put("secret/data/SWITCH", "Hi from the Vault");
    let general =
        "  key_management_system: hashicorp_vault\n  disable_spend_logs: os.environ/NO_SPEND\n";
    let config = stage
        .config(general)
        .replace(MASTER_KEY, "os.environ/MASTER")
        + "environment_variables: {MOTD: os.environ/SWITCH}\n";
    let gateway = Gateway::builder(config)
        .env("HCP_VAULT_ADDR", stage.vault.address())
        .env("HCP_VAULT_TOKEN", TOKEN)
        .start()
        .await;
    let client = Client::of(&gateway);
    assert_eq!(client.chat(&chat("gpt-4o")).await.status, 401);
    let client = client.key("sk-master-of-the-vault");
    client.chat(&chat("gpt-4o")).await.ok();
    assert!(gateway.spend_rows().await.is_empty());
    let asked: Vec<String> = stage.vault.reads().into_keys().collect();
    let expected = ["MASTER", "NO_SPEND", "SWITCH", "UPSTREAM_KEY"];
    assert_eq!(asked, expected.map(|name| format!("secret/data/{name}")));
}

#[tokio::test]
async fn an_approle_logs_in_once_in_its_namespace_and_again_when_its_token_is_gone() {
    let stage = Stage::new().await;
    stage
        .vault
        .approle("role-1", "hush-secret-id-1")
        .put("team/a/kv/data/litellm/prod/UPSTREAM_KEY", "sk-first")
        .put("team/a/kv/data/litellm/prod/MASTER", MASTER_KEY);
    let config = stage
        .config("  key_management_system: hashicorp_vault\n")
        .replace(MASTER_KEY, "os.environ/MASTER");
    let gateway = Gateway::builder(config)
        .env("HCP_VAULT_ADDR", stage.vault.address())
        .env("HCP_VAULT_TOKEN", "not used: AppRole comes first")
        .env("HCP_VAULT_APPROLE_ROLE_ID", "role-1")
        .env("HCP_VAULT_APPROLE_SECRET_ID", "hush-secret-id-1")
        .env("HCP_VAULT_APPROLE_MOUNT_PATH", "machines")
        .env("HCP_VAULT_NAMESPACE", "team/a")
        .env("HCP_VAULT_LOGIN_NAMESPACE", "team")
        .env("HCP_VAULT_MOUNT_NAME", "kv")
        .env("HCP_VAULT_PATH_PREFIX", "litellm/prod")
        .start()
        .await;
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-first");
    let logins = || {
        let taken = stage.vault.vendor().taken().all();
        let logins: Vec<Value> = taken
            .into_iter()
            .filter(|one| one.get("login").is_some())
            .collect();
        logins
    };
    let login = json!({"login": "auth/machines/login", "namespace": "team"});
    assert_eq!(
        logins(),
        std::slice::from_ref(&login),
        "one login for both secrets"
    );
    // The token is taken back: the next question logs in again, by itself.
    stage
        .vault
        .revoke_all()
        .put("team/a/kv/data/litellm/prod/UPSTREAM_KEY", "sk-second");
    reload(&gateway).await;
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-second");
    assert_eq!(logins(), [login.clone(), login]);
    stage.vault.vendor().refused_nothing();
    assert!(!gateway.printed("hush-secret-id-1"));
}

#[tokio::test]
async fn a_changed_secret_is_used_by_itself_when_its_time_is_over_and_leases_are_renewed() {
    let stage = Stage::new().await;
    stage
        .vault
        .approle("role-1", "secret-id-1")
        .lease(1)
        .put("secret/data/UPSTREAM_KEY", "sk-first");
    let gateway = Gateway::builder(stage.config("  key_management_system: hashicorp_vault\n"))
        .env("HCP_VAULT_ADDR", stage.vault.address())
        .env("HCP_VAULT_APPROLE_ROLE_ID", "role-1")
        .env("HCP_VAULT_APPROLE_SECRET_ID", "secret-id-1")
        .env("SECRET_MANAGER_REFRESH_INTERVAL", "86400")
        .env("HCP_VAULT_REFRESH_INTERVAL", "1")
        .start()
        .await;
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-first");
    stage
        .vault
        .wait_for_reads("secret/data/UPSTREAM_KEY", 3)
        .await;
    assert!(
        !gateway.printed("configuration reloaded"),
        "nothing has changed yet"
    );
    stage.vault.put("secret/data/UPSTREAM_KEY", "sk-second");
    gateway
        .wait_for_log("configuration reloaded (a secret changed)")
        .await;
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-second");
    let taken = stage.vault.vendor().taken().all();
    let logins = taken.iter().filter(|one| one.get("login").is_some());
    assert!(logins.count() >= 2, "a lease of a second was renewed");
}

#[tokio::test]
async fn a_vault_in_trouble_leaves_the_environment_and_is_asked_again() {
    for (name, reply) in [
        (
            "500",
            Reply::json(500, &json!({"errors": ["internal error"]})),
        ),
        ("429", Reply::status(429, &[("retry-after", "1")], "")),
        ("no answer", Reply::nothing()),
    ] {
        let stage = Stage::new().await;
        stage
            .vault
            .put("secret/data/UPSTREAM_KEY", "sk-of-the-vault");
        stage.vault.vendor().next(reply);
        let config = stage.config("  key_management_system: hashicorp_vault\n")
            + "plugins: {hashicorp_vault: {limits: {timeout_ms: 400}}}\n";
        let gateway = Gateway::builder(config)
            .env("HCP_VAULT_ADDR", stage.vault.address())
            .env("HCP_VAULT_TOKEN", TOKEN)
            .env("UPSTREAM_KEY", "sk-of-the-environment")
            .start()
            .await;
        let told = gateway.wait_for_log("the environment is used").await;
        assert!(
            told.contains("UPSTREAM_KEY") && told.contains("hashicorp_vault"),
            "{name}: {told}"
        );
        gateway
            .wait_for_log("configuration reloaded (a secret changed)")
            .await;
        assert_eq!(
            stage.sent_by(&gateway).await,
            "Bearer sk-of-the-vault",
            "{name}"
        );
    }
}

#[tokio::test]
async fn the_last_value_counts_while_vault_is_in_trouble() {
    let stage = Stage::new().await;
    stage
        .vault
        .put("secret/data/UPSTREAM_KEY", "sk-of-the-vault");
    let gateway = stage.builder("").start().await;
    stage.vault.revoke_all();
    reload(&gateway).await;
    let told = gateway
        .wait_for_log("the last value that was read is used")
        .await;
    for part in [
        "403",
        "permission denied",
        "`read`",
        "secret/data/UPSTREAM_KEY",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-of-the-vault");
}

#[tokio::test]
async fn a_manager_that_cannot_be_started_refuses_the_configuration() {
    let stage = Stage::new().await;
    let cases = [
        (
            "  key_management_system: hashicorp_vualt\n",
            &["HCP_VAULT_TOKEN"][..],
            &["hashicorp_vualt", "did you mean \"hashicorp-vault\"?"][..],
        ),
        (
            "  key_management_system: hashicorp_vault\n",
            &[],
            &["there is no way to log in", "HCP_VAULT_TOKEN"],
        ),
        (
            "  key_management_system: custom\n",
            &[],
            &["custom_secret_manager", "is missing"],
        ),
        (
            "  key_management_system: custom\n  key_management_settings: {custom_secret_manager: my_keeper.Keeper}\n",
            &[],
            &["my_keeper.Keeper", "my_keeper.wasm", "witgate plugin build"],
        ),
        (
            "  key_management_system: hashicorp_vault\n  database_url: os.environ/../../sys/raw\n",
            &["HCP_VAULT_TOKEN"],
            &["general_settings.database_url", "`..`"],
        ),
        (
            "  key_management_system: azure_kms\n",
            &[],
            &["azure_key_vault"],
        ),
        ("  use_google_kms: true\n", &[], &["google_kms"]),
    ];
    for (general, variables, parts) in cases {
        let mut builder =
            Gateway::builder(stage.config(general)).env("HCP_VAULT_ADDR", stage.vault.address());
        for variable in variables {
            builder = builder.env(variable, TOKEN);
        }
        let refusal = builder.expect_refusal().await;
        for part in parts {
            assert!(
                refusal.output.contains(part),
                "{general}: {part} is not in\n{}",
                refusal.output
            );
        }
    }
    assert!(stage.vault.vendor().requests().is_empty());
}

#[tokio::test]
async fn a_reload_that_names_a_manager_which_does_not_work_changes_nothing() {
    let stage = Stage::new().await;
    stage
        .vault
        .put("secret/data/UPSTREAM_KEY", "sk-of-the-vault");
    let gateway = stage.builder("").start().await;
    let config = std::fs::read_to_string(gateway.home().join("config.yaml")).expect("read");
    gateway.write_config(&config.replace("hashicorp_vault", "no_such_manager"));
    let client = Client::of(&gateway).key(MASTER_KEY);
    let answer = client
        .request(reqwest::Method::POST, "/config/reload")
        .await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("no_such_manager"),
        "{}",
        answer.text()
    );
    assert_eq!(stage.sent_by(&gateway).await, "Bearer sk-of-the-vault");
}

#[tokio::test]
async fn a_certificate_logs_in_and_its_key_stays_with_the_gateway() {
    let stage = Stage::new().await;
    stage
        .vault
        .cert_role("gateways")
        .put("secret/data/UPSTREAM_KEY", "sk-of-the-vault");
    let folder = tempfile::tempdir().expect("a folder");
    let door = Door::before(stage.vault.vendor(), folder.path()).await;
    let path = |name: &str| folder.path().join(name);
    let gateway = || {
        Gateway::builder(stage.config("  key_management_system: hashicorp_vault\n"))
            .env("HCP_VAULT_ADDR", &door)
            .env("SSL_CERT_FILE", path("ca.pem"))
            .env("UPSTREAM_KEY", "sk-of-the-environment")
            .env("HCP_VAULT_CLIENT_CERT", path("client.pem"))
    };
    let with_key = gateway()
        .env("HCP_VAULT_CLIENT_KEY", path("client.key"))
        .env("HCP_VAULT_CERT_ROLE", "gateways")
        .start()
        .await;
    assert_eq!(stage.sent_by(&with_key).await, "Bearer sk-of-the-vault");
    let taken = stage.vault.vendor().taken().all();
    assert_eq!(taken[0], json!({"login": "auth/cert/login"}));
    // Half of it is no identity, and a file that is none is named.
    let refusal = gateway().expect_refusal().await;
    assert!(
        refusal.output.contains("HCP_VAULT_CLIENT_KEY"),
        "{}",
        refusal.output
    );
    let refusal = gateway()
        .env("HCP_VAULT_CLIENT_KEY", "/nowhere/client.key")
        .expect_refusal()
        .await;
    let told = "HCP_VAULT_CLIENT_KEY names /nowhere/client.key";
    assert!(refusal.output.contains(told), "{}", refusal.output);
}

/// TLS in front of a server that lets in only who shows a certificate of `ca.pem`.
struct Door;

impl Door {
    /// Writes `ca.pem`, `client.pem` and `client.key` into the folder; the address of the door.
    async fn before(vendor: &FakeVendor, folder: &Path) -> String {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let key = || rcgen::KeyPair::generate().expect("a key");
        let mut authority = rcgen::CertificateParams::default();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let issuer = rcgen::CertifiedIssuer::self_signed(authority, key()).expect("signed");
        let signed = |name: &str| {
            let key = key();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("names");
            let certificate = params.signed_by(&key, &issuer).expect("signed");
            (certificate, key)
        };
        let (client, client_key) = signed("gateway.example.com");
        let (server, server_key) = signed("localhost");
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).expect("written");
        };
        write("ca.pem", issuer.pem());
        write("client.pem", client.pem());
        write("client.key", client_key.serialize_pem());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(issuer.der().clone()).expect("added");
        let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots))
            .build()
            .expect("a verifier");
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![server.der().clone()],
                server_key.serialize_der().try_into().expect("a key"),
            )
            .expect("a config");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let target = vendor.authority();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                tokio::spawn(async move {
                    let Ok(mut inside) = acceptor.accept(stream).await else {
                        return;
                    };
                    if let Ok(mut outside) = TcpStream::connect(target).await {
                        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                    }
                });
            }
        });
        format!("https://localhost:{port}")
    }
}

#[tokio::test]
async fn check_asks_nobody_and_knows_what_a_manager_would_be_asked_for() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.yaml");
    let config = stage.config("  key_management_system: hashicorp_vault\n");
    std::fs::write(&file, config).expect("written");
    let (stdout, _, code) = Gateway::run_with_input(
        folder.path(),
        &["check", "--verbose", "--config", "config.yaml"],
        "",
    )
    .await;
    assert_eq!(code, Some(0), "{stdout}");
    assert!(!stdout.contains("is not set"), "{stdout}");
    assert!(
        stdout.contains("UPSTREAM_KEY") && stdout.contains("hashicorp_vault"),
        "{stdout}"
    );
    assert!(stage.vault.vendor().requests().is_empty());
}

#[tokio::test]
async fn identity_tokens_come_from_where_their_provider_keeps_them() {
    let upstream = FakeUpstream::start().await;
    let provider = FakeVendor::start(|request| {
        let path = request.path().to_owned();
        let google = path.ends_with("/service-accounts/default/identity")
            && request.header("metadata-flavor") == Some("Google")
            && request
                .target
                .ends_with("?audience=https%3A%2F%2Fme.example.com");
        let github = path == "/token"
            && request.header("authorization") == Some("Bearer of-the-workflow")
            && request.target.ends_with("?version=1&audience=me");
        match (google, github) {
            (true, _) => Ok((Reply::status(200, &[], "token-of-google\n"), vec![])),
            (_, true) => Ok((
                Reply::json(200, &json!({"value": "token-of-github"})),
                vec![],
            )),
            _ => Err((400, format!("not expected: {}", request.target))),
        }
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let allowed = folder.path().join("allowed");
    std::fs::create_dir(&allowed).expect("made");
    std::fs::write(allowed.join("token"), "token-of-a-file\n").expect("written");
    std::fs::write(folder.path().join("outside"), "not allowed").expect("written");
    std::os::unix::fs::symlink(folder.path().join("outside"), allowed.join("link"))
        .expect("linked");
    let allowed = allowed.display();
    for (reference, expected) in [
        ("oidc/google/https://me.example.com", "token-of-google"),
        ("oidc/github/me", "token-of-github"),
        ("oidc/circleci/", "token-of-circleci"),
        ("oidc/circleci_v2/", "token-of-circleci-2"),
        ("oidc/env/MY_TOKEN", "token-of-a-variable"),
        ("oidc/env_path/MY_TOKEN_FILE", "token-of-a-file"),
        ("oidc/azure/", "token-of-a-file"),
        (&format!("oidc/file/{allowed}/token"), "token-of-a-file"),
        (&format!("oidc/file/{allowed}/link"), ""),
        (
            &format!("oidc/file/{}/outside", folder.path().display()),
            "",
        ),
    ] {
        let config = format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: 'os.environ/{reference}'}}\n\
             general_settings: {{master_key: {MASTER_KEY}}}\n",
            upstream.api_base()
        );
        let gateway = Gateway::builder(config)
            .env("GCE_METADATA_HOST", provider.authority())
            .env(
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                format!("{}/token?version=1", provider.origin()),
            )
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "of-the-workflow")
            .env("CIRCLE_OIDC_TOKEN", "token-of-circleci")
            .env("CIRCLE_OIDC_TOKEN_V2", "token-of-circleci-2")
            .env("MY_TOKEN", "token-of-a-variable")
            .env("MY_TOKEN_FILE", format!("{allowed}/token"))
            .env("AZURE_FEDERATED_TOKEN_FILE", format!("{allowed}/token"))
            .env(
                "LITELLM_OIDC_ALLOWED_CREDENTIAL_DIRS",
                format!("/run/secrets,{allowed}"),
            )
            .start()
            .await;
        let sent = sent_to_or_nothing(&upstream, &gateway).await;
        assert_eq!(sent, expected, "{reference}");
        assert!(!gateway.printed("not allowed"));
        if expected.is_empty() {
            gateway
                .wait_for_log("none of the folders for credentials")
                .await;
        }
    }
    provider.refused_nothing();
}

/// The credential that reached the upstream; empty when the call had none.
async fn sent_to_or_nothing(upstream: &FakeUpstream, gateway: &Gateway) -> String {
    let before = upstream.requests().len();
    let client = Client::of(gateway).key(MASTER_KEY);
    client.chat(&chat("gpt-4o")).await;
    if upstream.requests().len() == before {
        return String::new();
    }
    let last = upstream.requests().last();
    let sent = last.header("authorization").unwrap_or_default();
    sent.trim_start_matches("Bearer ").trim().to_owned()
}

#[tokio::test]
async fn a_token_of_a_file_is_read_again_and_an_unknown_provider_is_refused() {
    let upstream = FakeUpstream::start().await;
    let config = |reference: &str| {
        format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: 'os.environ/{reference}'}}\n\
             general_settings: {{master_key: {MASTER_KEY}}}\n",
            upstream.api_base()
        )
    };
    for (reference, part) in [
        ("oidc/gitlab/me", "\"gitlab\" is no provider"),
        ("oidc/github/", "oidc/github lacks"),
        ("oidc/", "is no provider"),
    ] {
        let refusal = Gateway::builder(config(reference)).expect_refusal().await;
        assert!(refusal.output.contains(part), "{}", refusal.output);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "first").expect("written");
    let gateway = Gateway::builder(config("oidc/env_path/TOKEN_FILE"))
        .env("TOKEN_FILE", &file)
        .start()
        .await;
    assert_eq!(sent_to(&upstream, &gateway).await, "Bearer first");
    std::fs::write(&file, "second").expect("written");
    reload(&gateway).await;
    assert_eq!(sent_to(&upstream, &gateway).await, "Bearer second");
}

#[tokio::test]
async fn the_manager_is_listed_with_what_it_may_touch() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = stage.config("  key_management_system: hashicorp_vault\n")
        + &format!(
            "environment_variables: {{HCP_VAULT_ADDR: '{}', HCP_VAULT_TOKEN: {TOKEN}}}\n",
            stage.vault.address()
        );
    std::fs::write(folder.path().join("config.yaml"), config).expect("written");
    let rows = eventually("the list", async || {
        let (stdout, stderr, code) = Gateway::run_with_input(
            folder.path(),
            &["plugin", "list", "--config", "config.yaml", "--json"],
            "",
        )
        .await;
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        serde_json::from_str::<Value>(&stdout).ok()
    })
    .await;
    let row = rows
        .as_array()
        .and_then(|rows| rows.iter().find(|row| row["name"] == "hashicorp_vault"))
        .expect("a row");
    assert_eq!(row["kind"], "secret-manager");
    assert_eq!(row["egress"], json!([stage.vault.address()]));
    assert_eq!(row["state"], "ready");
    assert!(!rows.to_string().contains(TOKEN));
}

#[tokio::test]
async fn a_hostile_manager_costs_its_own_answer_and_gets_nothing() {
    let upstream = FakeUpstream::start().await;
    let names = [
        "KEEPER_ENV",
        "KEEPER_HUGE",
        "KEEPER_LONG",
        "KEEPER_LOOP",
        "KEEPER_NET",
        "KEEPER_NUL",
        "KEEPER_PANIC",
        "KEEPER_SECRET",
    ];
    for name in names {
        let config = format!(
            "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: os.environ/{name}}}\n\
             \x20 - model_name: other\n    litellm_params: {{model: openai/other, api_base: '{}', api_key: os.environ/A_GOOD_NAME}}\n\
             general_settings:\n  master_key: {MASTER_KEY}\n  key_management_system: custom\n  key_management_settings: {{custom_secret_manager: hostile-keeper}}\n",
            upstream.api_base(),
            upstream.api_base()
        );
        let gateway = Gateway::builder(config)
            .env(name, "sk-of-the-environment")
            .env("SECRET_OF_THE_HOST", "must-never-be-seen")
            .shared_plugin_cache()
            .start()
            .await;
        gateway.wait_for_log("the environment is used").await;
        assert_eq!(
            sent_to(&upstream, &gateway).await,
            "Bearer sk-of-the-environment",
            "{name}"
        );
        let client = Client::of(&gateway).key(MASTER_KEY);
        client.chat(&chat("other")).await.ok();
        let other = upstream.requests().last();
        assert_eq!(other.header("authorization"), Some("Bearer of-the-keeper"));
        for hidden in ["LEAK", "must-never-be-seen"] {
            assert!(!gateway.printed(hidden), "{name}: {hidden}");
        }
    }
}

#[tokio::test]
async fn a_manager_is_not_asked_more_often_than_each_second_and_lines_are_told() {
    let upstream = FakeUpstream::start().await;
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: os.environ/KEEPER_HASTE}}\n\
         general_settings:\n  master_key: {MASTER_KEY}\n  completion_model: os.environ/KEEPER_LINES\n  key_management_system: hostile-keeper\n",
        upstream.api_base()
    );
    let gateway = Gateway::builder(config).shared_plugin_cache().start().await;
    gateway.wait_for_log("ends with a line break").await;
    let reads = |metrics: &witgate_testkit::Metrics| {
        metrics
            .text()
            .lines()
            .filter(|line| line.starts_with("witgate_plugin_calls") && line.contains("read"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    let metrics = gateway
        .metrics_until("a third question", |metrics| reads(metrics) >= 4)
        .await;
    assert!(reads(&metrics) < 100, "{}", metrics.text());
}

#[tokio::test]
async fn a_secret_manager_written_for_litellm_works_as_it_is() {
    let upstream = FakeUpstream::start().await;
    let keeper = FakeVendor::start(
        |request| match (request.path(), request.header("x-token")) {
            ("/UPSTREAM_KEY", Some("tok-of-the-keeper")) => Ok((
                Reply::json(200, &json!({"value": "sk-of-the-keeper"})),
                vec![],
            )),
            ("/MASTER", Some("tok-of-the-keeper")) => Ok((Reply::status(404, &[], ""), vec![])),
            (path, _) => Err((400, format!("not expected: {path}"))),
        },
    )
    .await;
    let config = format!(
        "model_list:\n  - model_name: gpt-4o\n    litellm_params: {{model: openai/gpt-4o, api_base: '{}', api_key: os.environ/UPSTREAM_KEY}}\n\
         general_settings:\n  master_key: os.environ/MASTER\n  key_management_system: custom\n  key_management_settings: {{custom_secret_manager: team_keeper.Keeper}}\n\
         plugins: {{team_keeper: {{grants: {{private_network: [127.0.0.1]}}}}}}\n",
        upstream.api_base()
    );
    let gateway = Gateway::builder(config)
        .env("KEEPER_URL", keeper.origin())
        .env("KEEPER_TOKEN", "tok-of-the-keeper")
        .env("MASTER", MASTER_KEY)
        .shared_plugin_cache()
        .start()
        .await;
    assert_eq!(
        sent_to(&upstream, &gateway).await,
        "Bearer sk-of-the-keeper"
    );
    keeper.refused_nothing();
}
