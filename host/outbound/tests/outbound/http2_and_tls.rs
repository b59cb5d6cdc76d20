//! TLS against a local certificate authority, and HTTP/2 with and without it.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use witgate_outbound::{Client, ClientCertificate, ClientOptions, Egress, Pem, Roots};

use crate::fake::{Server, get, post, text};

/// A certificate authority, with its certificate and a client's in files.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let client = CertificateParams::new(vec!["client".into()]).unwrap();
        let client = client.signed_by(&key, &issuer).unwrap();
        let both = client.pem() + &key.serialize_pem();
        std::fs::write(folder.path().join("client.pem"), both).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn server(&self, alpn: &[&str], asks_client: bool) -> Arc<rustls::ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match asks_client {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(self.issuer.der().clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
                builder.with_client_cert_verifier(verifier.unwrap())
            }
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

fn client(roots: Roots, certificate: Option<ClientCertificate>) -> Client {
    let mut options = ClientOptions::new(Egress::Unrestricted);
    options.tls.roots = roots;
    options.tls.certificate = certificate;
    Client::new(options).unwrap()
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}/x", server.address.port())
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let authority = Authority::new();
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let server = Server::echo(Some(authority.server(alpn, false))).await;
        let client = client(Roots::Bundle(authority.file("ca.pem")), None);
        for _ in 0..3 {
            let said = text(&client, post(url(&server), "body")).await;
            assert!(said.starts_with(&format!("{version} POST")), "{said}");
            assert!(said.ends_with("body"), "{said}");
        }
        assert_eq!(server.connections(), 1, "{alpn:?}");
    }
}

#[tokio::test]
async fn strangers_are_not_trusted_unless_told() {
    let authority = Authority::new();
    let server = Server::echo(Some(authority.server(&[], false))).await;
    let other = Authority::new();
    for roots in [Roots::System, Roots::Bundle(other.file("ca.pem"))] {
        let error = client(roots, None)
            .send(get(url(&server)))
            .await
            .unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let said = text(&client(Roots::Unverified, None), get(url(&server))).await;
    assert!(said.starts_with("HTTP/1.1 GET /x"), "{said}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let server = Server::echo(Some(authority.server(&[], false))).await;
    let client = client(Roots::Bundle(authority.file("ca.pem")), None);
    let error = client
        .send(get(format!("https://{}/", server.address)))
        .await
        .unwrap_err();
    assert!(error.is_connect(), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_when_asked_for() {
    let authority = Authority::new();
    let server = Server::echo(Some(authority.server(&["h2"], true))).await;
    let roots = Roots::Bundle(authority.file("ca.pem"));
    let file = authority.file("client.pem");
    let text_of = Arc::new(std::fs::read_to_string(&file).unwrap().into());
    for pem in [Pem::File(file), Pem::Text(text_of)] {
        let own = ClientCertificate {
            certificate: pem.clone(),
            key: pem,
        };
        let said = text(&client(roots.clone(), Some(own)), get(url(&server))).await;
        assert!(said.starts_with("HTTP/2.0"), "{said}");
    }
    assert!(client(roots, None).send(get(url(&server))).await.is_err());
}

#[test]
fn unusable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.pem");
    for content in [
        None,
        Some(""),
        Some("no pem"),
        Some("-----BEGIN CERTIFICATE-----\n!"),
    ] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let mut options = ClientOptions::new(Egress::Unrestricted);
        options.tls.roots = Roots::Bundle(file.clone());
        let error = Client::new(options).err().unwrap();
        assert!(
            error.to_string().contains("some.pem"),
            "{content:?}: {error}"
        );
    }
}

#[tokio::test]
async fn http2_without_tls_when_told() {
    let server = Server::echo(None).await;
    let mut options = ClientOptions::new(Egress::Unrestricted);
    options.http2_prior_knowledge = true;
    let client = Client::new(options).unwrap();
    text(&client, get(server.url("/first"))).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            tokio::spawn({
                let (client, url) = (client.clone(), server.url("/y"));
                async move { text(&client, post(url, "z")).await }
            })
        })
        .collect();
    for task in tasks {
        let said = task.await.unwrap();
        assert_eq!(said, format!("HTTP/2.0 POST {} - z", server.url("/y")));
    }
    assert_eq!(server.connections(), 1);
}
