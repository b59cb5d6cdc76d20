//! Ways to a PostgreSQL server: another address for migrations, RDS's tokens as passwords.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use witgate_testkit::{FakeUpstream, Gateway, GatewayBuilder, PostgresServer};

use crate::support::{Client, MASTER_KEY, Stage, base_config, chat, eventually};

const TABLES: &str =
    "SELECT tableowner FROM pg_tables WHERE tablename = 'LiteLLM_VerificationToken'";
const CALLS: &str = r#"SELECT count(*) FROM "LiteLLM_SpendLogs""#;

fn gateway(upstream: &FakeUpstream) -> GatewayBuilder {
    Gateway::builder(base_config(&upstream.api_base()))
}

/// The user of `DATABASE_URL` may use tables and make none: what a pooler's user may, too.
#[tokio::test]
async fn tables_are_made_at_direct_url_and_used_at_database_url() {
    let postgres = PostgresServer::start().await;
    let rights = "CREATE ROLE traffic LOGIN;
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        GRANT USAGE ON SCHEMA public TO traffic;
        ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON TABLES TO traffic;
        ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public GRANT ALL ON SEQUENCES TO traffic";
    postgres.sql("litellm", rights).await;
    let traffic = format!("postgresql://traffic@127.0.0.1:{}/litellm", postgres.port);
    let upstream = FakeUpstream::start().await;
    let refused = gateway(&upstream)
        .env("DATABASE_URL", &traffic)
        .expect_refusal()
        .await;
    assert!(
        refused.output.contains("permission denied"),
        "{}",
        refused.output
    );

    for (direct, words) in [
        ("mysql://h/x", "DIRECT_URL: it names no PostgreSQL"),
        (
            "postgresql://u:hunter2@127.0.0.1:1/x",
            "DIRECT_URL, postgresql://127.0.0.1:1/x",
        ),
    ] {
        let hasty = base_config(&upstream.api_base()).replace(
            "general_settings:\n",
            "general_settings:\n  database_connection_timeout: 2\n",
        );
        let refused = Gateway::builder(hasty)
            .env("DATABASE_URL", &traffic)
            .env("DIRECT_URL", direct)
            .expect_refusal()
            .await;
        assert!(refused.output.contains(words), "{}", refused.output);
        assert!(!refused.output.contains("hunter2"), "{}", refused.output);
    }

    let builder = gateway(&upstream)
        .env("DATABASE_URL", &traffic)
        .env("DIRECT_URL", postgres.url());
    let stage = Stage::of(upstream, builder).await;
    stage
        .client
        .post("/chat/completions", &chat("gpt-4o"))
        .await
        .ok();
    assert_eq!(postgres.sql("litellm", TABLES).await, "postgres");
    eventually("the call is in the ledger", async || {
        (postgres.sql("litellm", CALLS).await == "1").then_some(())
    })
    .await;
    let users = "SELECT DISTINCT usename FROM pg_stat_activity WHERE application_name = 'witgate'";
    assert_eq!(postgres.sql("litellm", users).await, "traffic");
}

/// What RDS is before PostgreSQL: it wants TLS, asks for the password, and decides.
struct Rds {
    port: u16,
    passwords: mpsc::UnboundedReceiver<String>,
}

impl Rds {
    async fn before(postgres: &PostgresServer) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["rds".to_owned()]).expect("signed");
        let key = made.signing_key.serialize_der().try_into().expect("a key");
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a config");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let target = postgres.port;
        let (tell, passwords) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                tokio::spawn(async move { Self::serve(stream, acceptor, target, tell).await });
            }
        });
        Self { port, passwords }
    }

    async fn serve(
        mut stream: TcpStream,
        acceptor: TlsAcceptor,
        target: u16,
        tell: mpsc::UnboundedSender<String>,
    ) -> Option<()> {
        let mut wish = [0; 8];
        stream.read_exact(&mut wish).await.ok()?;
        if wish != [0, 0, 0, 8, 4, 210, 22, 47] {
            // No wish for TLS.
            return None;
        }
        stream.write_all(b"S").await.ok()?;
        let mut inside = acceptor.accept(stream).await.ok()?;
        let length = inside.read_u32().await.ok()?;
        let mut start = vec![0; length as usize - 4];
        inside.read_exact(&mut start).await.ok()?;
        // AuthenticationCleartextPassword
        let ask = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
        inside.write_all(&ask).await.ok()?;
        inside.flush().await.ok()?;
        assert_eq!(inside.read_u8().await.ok()?, b'p');
        let mut password = vec![0; inside.read_u32().await.ok()? as usize - 4];
        inside.read_exact(&mut password).await.ok()?;
        password.pop();
        tell.send(String::from_utf8(password).ok()?).ok()?;
        let mut outside = TcpStream::connect(("127.0.0.1", target)).await.ok()?;
        outside.write_u32(length).await.ok()?;
        outside.write_all(&start).await.ok()?;
        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
        Some(())
    }
}

#[tokio::test]
async fn tokens_of_rds_are_the_password_of_the_database() {
    let postgres = PostgresServer::start().await;
    let mut rds = Rds::before(&postgres).await;
    let upstream = FakeUpstream::start().await;
    let with_key = |builder: GatewayBuilder| {
        builder
            .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
            .env("AWS_SESSION_TOKEN", "session+token")
            .env("AWS_REGION_NAME", "eu-central-1")
            .env("IAM_TOKEN_DB_AUTH", "True")
    };
    let at = |builder: GatewayBuilder| {
        builder
            .env("DATABASE_HOST", "127.0.0.1")
            .env("DATABASE_PORT", rds.port.to_string())
            .env("DATABASE_USER", "postgres")
            .env("DATABASE_NAME", "litellm")
            .env("DATABASE_PASSWORD", "not-this")
    };
    for (builder, words) in [
        (
            at(gateway(&upstream).env("IAM_TOKEN_DB_AUTH", "True")),
            "AWS_ACCESS_KEY_ID is missing",
        ),
        (with_key(gateway(&upstream)), "for PostgreSQL"),
        (
            with_key(gateway(&upstream)).env(
                "DATABASE_URL",
                format!(
                    "postgresql://postgres@127.0.0.1:{}/litellm?sslmode=disable",
                    rds.port
                ),
            ),
            "sslmode must be require",
        ),
    ] {
        let refused = builder.expect_refusal().await;
        assert!(refused.output.contains(words), "{}", refused.output);
    }
    assert!(rds.passwords.try_recv().is_err());

    let builder = with_key(at(gateway(&upstream)));
    let stage = Stage::of(upstream, builder).await;
    stage
        .client
        .post("/chat/completions", &chat("gpt-4o"))
        .await
        .ok();
    let admin = Client::of(&stage.gateway).key(MASTER_KEY);
    assert_eq!(admin.get("/health/readiness").await.ok()["db"], "connected");
    eventually("the call is in the ledger", async || {
        (postgres.sql("litellm", CALLS).await == "1").then_some(())
    })
    .await;
    let password = rds.passwords.try_recv().expect("a password");
    let start = format!(
        "127.0.0.1:{}/?Action=connect&DBUser=postgres&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F",
        rds.port
    );
    assert!(password.starts_with(&start), "{password}");
    for part in [
        "%2Feu-central-1%2Frds-db%2Faws4_request&",
        "&X-Amz-Expires=900&",
        "&X-Amz-Security-Token=session%2Btoken&",
        "&X-Amz-SignedHeaders=host&X-Amz-Signature=",
    ] {
        assert!(password.contains(part), "{part}: {password}");
    }
    assert!(!stage.gateway.printed("X-Amz-Signature"));
}
