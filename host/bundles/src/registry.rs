//! A client for OCI registries: manifests and blobs, by the distribution protocol, on the gateway's own outbound
//! stack. A registry may send us on to another host for a blob or a token; both must be public and speak TLS.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, USER_AGENT, WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde::Deserialize;
use witgate_outbound::{
    Body, Client, ClientOptions, Egress, IdleTimeout, Incoming, Policy, SendError, TlsOptions,
    collect_limited,
};

use crate::auth::{Challenge, Credentials, docker_credentials};
use crate::layout::{Artefact, MANIFEST_TYPE};
use crate::{Digest, Reference, RegistryError};

/// A manifest of ours has a kilobyte; other tools' may hold long annotations.
const MANIFEST_MAX: usize = 4 << 20;
/// Errors and tokens.
const SMALL_MAX: usize = 256 << 10;
/// For the head of an answer; a registry that thinks longer is down.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two pieces of an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// From a registry to where it keeps its blobs.
const REDIRECTS_MAX: usize = 5;

/// How to reach one registry.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Who we are.
    pub credentials: Option<Credentials>,
    /// Speak HTTP without TLS. Absent: only to this machine itself.
    pub plain_http: Option<bool>,
}

/// The registries that the operator may use, with how to reach them.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    /// By host and port.
    pub options: BTreeMap<String, RegistryOptions>,
    /// Docker's `config.json`, for credentials that are not in `options`.
    pub docker_config: Option<PathBuf>,
    /// Whom to trust.
    pub tls: TlsOptions,
}

/// What is asked for of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Pull,
    Push,
}

/// One registry and repository, for one piece of work.
struct Session {
    client: Client,
    base: String,
    host: String,
    repository: String,
    scope: Scope,
    plain_http: bool,
    credentials: Option<Credentials>,
    authorization: Option<HeaderValue>,
}

impl Registries {
    /// The manifest behind a digest, or a tag when there is none. What was asked for by digest has it.
    ///
    /// # Errors
    /// When it cannot be had, or is not what was asked for.
    pub async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(Digest, Vec<u8>), RegistryError> {
        let mut session = self.session(reference, Scope::Pull)?;
        let path = format!("manifests/{}", place(reference));
        let answer = session.ask(&Ask::get(&path).accepts(MANIFEST_TYPE)).await?;
        let answer = session.expect(answer, &[StatusCode::OK], reference).await?;
        let told = answer.headers().get("docker-content-digest").cloned();
        let bytes = session.body(answer, MANIFEST_MAX).await?;
        let digest = Digest::of(&bytes);
        let lies = |wanted: String| {
            RegistryError::Answer(format!(
                "{} was asked for {wanted} and sent something with the digest {digest}",
                session.host
            ))
        };
        if let Some(wanted) = reference.digest
            && wanted != digest
        {
            return Err(lies(wanted.to_string()));
        }
        let told = told.as_ref().and_then(|told| told.to_str().ok());
        match told.filter(|told| told.starts_with("sha256:")) {
            Some(told) if told.parse() != Ok(digest) => Err(lies(told.chars().take(80).collect())),
            _ => Ok((digest, bytes.to_vec())),
        }
    }

    /// A blob of this size and digest.
    ///
    /// # Errors
    /// When it cannot be had, or is not what was asked for.
    pub(crate) async fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
        size: u64,
    ) -> Result<Vec<u8>, RegistryError> {
        let mut session = self.session(reference, Scope::Pull)?;
        let answer = session.ask(&Ask::get(&format!("blobs/{digest}"))).await?;
        let answer = session.expect(answer, &[StatusCode::OK], reference).await?;
        let bytes = session.body(answer, size as usize).await?;
        let found = Digest::of(&bytes);
        match bytes.len() as u64 == size && found == *digest {
            true => Ok(bytes.to_vec()),
            false => Err(RegistryError::Answer(format!(
                "{} was asked for the blob {digest} of {size} bytes and sent {} bytes with the digest {found}",
                session.host,
                bytes.len()
            ))),
        }
    }

    /// Sends an artefact and gives it the tag of the reference.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub async fn push(
        &self,
        reference: &Reference,
        artefact: &Artefact,
    ) -> Result<Digest, RegistryError> {
        if reference.digest.is_some() {
            return Err(RegistryError::Reference(format!(
                "{reference} has a digest, which is what an artefact gets by being pushed; give a tag only"
            )));
        }
        let mut session = self.session(reference, Scope::Push)?;
        for blob in [&artefact.config, &artefact.layer] {
            session.put_blob(reference, blob).await?;
        }
        let path = format!("manifests/{}", place(reference));
        let ask = Ask {
            method: Method::PUT,
            content_type: Some(MANIFEST_TYPE),
            body: Bytes::from(artefact.manifest.clone()),
            ..Ask::get(&path)
        };
        let answer = session.ask(&ask).await?;
        let good = [StatusCode::CREATED, StatusCode::OK, StatusCode::ACCEPTED];
        session.expect(answer, &good, reference).await?;
        Ok(artefact.digest())
    }

    fn session(&self, reference: &Reference, scope: Scope) -> Result<Session, RegistryError> {
        let name = reference.host.as_str();
        // Docker's own registry answers under another name than the one everybody writes.
        let host = if name == "docker.io" {
            "registry-1.docker.io"
        } else {
            name
        };
        let options = self.options.get(name).cloned().unwrap_or_default();
        let plain_http = options.plain_http.unwrap_or_else(|| is_this_machine(host));
        let credentials = options.credentials.or_else(|| {
            let file = self.docker_config.as_deref()?;
            docker_credentials(file, name)
        });
        let base = format!("{}://{host}", if plain_http { "http" } else { "https" });
        let bare = without_port(host);
        let wrong = |error: &dyn std::fmt::Display| {
            RegistryError::Reference(format!("{reference}: {error}"))
        };
        let rule = |text: &str| text.parse().map_err(|error| wrong(&error));
        let policy = Policy {
            // Elsewhere blobs and tokens may be, but not in our own network.
            allow: vec![rule(&base)?, rule("https://*:*")?],
            private: vec![bare.parse().map_err(|error| wrong(&error))?],
        };
        let mut client = ClientOptions::new(Egress::Policy(Arc::new(policy)));
        client.tls = self.tls.clone();
        client.pool_max_idle_per_host = 2;
        Ok(Session {
            client: Client::new(client).map_err(|error| wrong(&error))?,
            base,
            host: host.to_owned(),
            repository: reference.repository.clone(),
            scope,
            plain_http,
            credentials,
            authorization: None,
        })
    }
}

/// A request that can be made twice: the first answer may only say who we must be.
struct Ask {
    method: Method,
    /// Below the repository, or a whole URL of the registry's own.
    path: String,
    accept: Option<&'static str>,
    content_type: Option<&'static str>,
    body: Bytes,
}

impl Ask {
    fn get(path: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.to_owned(),
            accept: None,
            content_type: None,
            body: Bytes::new(),
        }
    }

    const fn accepts(mut self, media_type: &'static str) -> Self {
        self.accept = Some(media_type);
        self
    }
}

impl Session {
    /// Sends a request; when the registry wants to know who we are, once more.
    async fn ask(&mut self, ask: &Ask) -> Result<Response<Incoming>, RegistryError> {
        let answer = self.send(self.request(ask)?).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || self.authorization.is_some() {
            return Ok(answer);
        }
        let challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenge = challenges
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .next_back();
        let Some(challenge) = challenge else {
            return Ok(answer);
        };
        drop(answer);
        self.authorization = self.authorize(challenge).await?;
        self.send(self.request(ask)?).await
    }

    fn request(&self, ask: &Ask) -> Result<Request<Body>, RegistryError> {
        let uri = match ask.path.starts_with("http") {
            true => ask.path.clone(),
            false => format!("{}/v2/{}/{}", self.base, self.repository, ask.path),
        };
        let mut request = Request::builder().method(ask.method.clone()).uri(uri);
        for (name, value) in [(ACCEPT, ask.accept), (CONTENT_TYPE, ask.content_type)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        if ask.body.is_empty() && matches!(ask.method, Method::POST | Method::PUT) {
            request = request.header(CONTENT_LENGTH, 0);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        request
            .header(USER_AGENT, concat!("witgate/", env!("CARGO_PKG_VERSION")))
            .body(Body::from(ask.body.clone()))
            .map_err(|error| self.answer(&format!("a URL that cannot be used: {error}")))
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, RegistryError> {
        let sending = self.client.send_following(request, REDIRECTS_MAX);
        match tokio::time::timeout(HEAD_TIMEOUT, sending).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.unreachable(&error)),
            Err(_) => Err(RegistryError::Unreachable {
                host: self.host.clone(),
                reason: format!("no answer after {} s", HEAD_TIMEOUT.as_secs()),
            }),
        }
    }

    /// What is to be sent along from now on.
    async fn authorize(&self, challenge: Challenge) -> Result<Option<HeaderValue>, RegistryError> {
        let own = self.credentials.as_ref().and_then(Credentials::header);
        let Challenge::Bearer {
            realm,
            service,
            scope,
        } = challenge
        else {
            return Ok(own);
        };
        let mut url = url::Url::parse(&realm)
            .map_err(|_| self.answer("an authority for tokens that is no URL"))?;
        // A registry on this machine may have one beside it; any other must not send our password in clear text.
        if url.scheme() != "https" && !(self.plain_http && url.scheme() == "http") {
            return Err(self.answer("an authority for tokens that is not reached by https"));
        }
        let actions = if self.scope == Scope::Push {
            "pull,push"
        } else {
            "pull"
        };
        let scope = scope.unwrap_or_else(|| format!("repository:{}:{actions}", self.repository));
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", &scope);
        let mut request = Request::get(url.as_str());
        if let Some(own) = own {
            request = request.header(AUTHORIZATION, own);
        }
        let request = request
            .body(Body::Empty)
            .map_err(|_| self.answer("an authority for tokens that is no URL"))?;
        let answer = self.send(request).await?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.who(&format!("the authority for its tokens answers {status}")));
        }
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let body = self.body(answer, SMALL_MAX).await?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|_| self.answer("a token that cannot be read"))?;
        let token = token.token.or(token.access_token).unwrap_or_default();
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| self.answer("a token that cannot be sent"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn put_blob(&mut self, reference: &Reference, blob: &[u8]) -> Result<(), RegistryError> {
        let digest = Digest::of(blob);
        let head = Ask {
            method: Method::HEAD,
            ..Ask::get(&format!("blobs/{digest}"))
        };
        if self.ask(&head).await?.status() == StatusCode::OK {
            return Ok(());
        }
        let begin = Ask {
            method: Method::POST,
            ..Ask::get("blobs/uploads/")
        };
        let answer = self.ask(&begin).await?;
        let answer = self
            .expect(answer, &[StatusCode::ACCEPTED], reference)
            .await?;
        let location = answer
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        let base = url::Url::parse(&self.base).map_err(|_| self.answer("no URL"))?;
        let mut url = location
            .and_then(|location| base.join(location).ok())
            .ok_or_else(|| self.answer("no place to send a blob to"))?;
        if url.origin() != base.origin() {
            return Err(self.answer("a place on another host to send a blob to"));
        }
        url.query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let put = Ask {
            method: Method::PUT,
            path: url.to_string(),
            accept: None,
            content_type: Some("application/octet-stream"),
            body: Bytes::copy_from_slice(blob),
        };
        let answer = self.ask(&put).await?;
        let good = [StatusCode::CREATED, StatusCode::NO_CONTENT, StatusCode::OK];
        self.expect(answer, &good, reference).await.map(drop)
    }

    /// The answer, or what another status means.
    async fn expect(
        &self,
        answer: Response<Incoming>,
        good: &[StatusCode],
        reference: &Reference,
    ) -> Result<Response<Incoming>, RegistryError> {
        let status = answer.status();
        if good.contains(&status) {
            return Ok(answer);
        }
        let said = self.body(answer, SMALL_MAX).await.unwrap_or_default();
        let said = reason(&said);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                self.who(&format!("{status}{said}"))
            }
            StatusCode::NOT_FOUND => {
                RegistryError::NotFound(format!("{reference} is not there ({}{said})", self.host))
            }
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                RegistryError::Unreachable {
                    host: self.host.clone(),
                    reason: format!("it answers {status}{said}"),
                }
            }
            _ => self.answer(&format!("{status}{said}")),
        })
    }

    async fn body(&self, answer: Response<Incoming>, max: usize) -> Result<Bytes, RegistryError> {
        use witgate_outbound::CollectError;
        let body = IdleTimeout::new(answer.into_body(), IDLE_TIMEOUT);
        collect_limited(body, max)
            .await
            .map_err(|error| match error {
                CollectError::TooLarge { .. } => {
                    self.answer(&format!("more than the {max} bytes that are accepted"))
                }
                CollectError::Body(error) => RegistryError::Unreachable {
                    host: self.host.clone(),
                    reason: error.to_string(),
                },
            })
    }

    fn answer(&self, what: &str) -> RegistryError {
        RegistryError::Answer(format!("{} answers with {what}", self.host))
    }

    fn who(&self, what: &str) -> RegistryError {
        let how = match &self.credentials {
            Some(own) => format!(
                "it was told the user {:?}; check the password",
                own.username
            ),
            None => format!(
                "no credentials are configured: give `plugin_registries.{:?}` username and password, or log in with docker",
                self.host
            ),
        };
        RegistryError::Credentials(format!("{} lets us not do that ({what}); {how}", self.host))
    }

    fn unreachable(&self, error: &SendError) -> RegistryError {
        match error.is_denied() {
            true => self.answer(&format!("a way that is not taken: {error}")),
            false => RegistryError::Unreachable {
                host: self.host.clone(),
                reason: error.to_string(),
            },
        }
    }
}

/// Digest or tag, as manifests are asked for.
fn place(reference: &Reference) -> String {
    let digest = reference.digest.as_ref().map(ToString::to_string);
    digest
        .or_else(|| reference.tag.clone())
        .unwrap_or_else(|| "latest".to_owned())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a registry is on this machine, where nobody listens in between.
fn is_this_machine(host: &str) -> bool {
    let bare = without_port(host).trim_matches(['[', ']']);
    bare == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// What a registry says about its refusal, cut to a line.
fn reason(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Errors { errors }) = serde_json::from_slice(body) else {
        return String::new();
    };
    let Some(first) = errors.first() else {
        return String::new();
    };
    let text = format!(": {} {}", first.code, first.message);
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
