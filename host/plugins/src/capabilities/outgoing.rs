//! A plugin's way out: one client with the plugin's own policy, for both interfaces that lead to it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Request, Response};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use witgate_outbound::{
    Body, Client, ClientCertificate, ClientOptions, Denied, Egress, Mail, MailError, MailServer,
    Mailer, SendError, TlsOptions, WhyDenied, collect_limited,
};

use super::egress::Hosts;
use crate::metrics::PluginMetrics;
use crate::world::Scripted;
use crate::{NoAnswer, ShownCertificate, World};

/// Idle connections a plugin keeps per host.
const IDLE_PER_HOST: usize = 8;
/// Certificates that a plugin shows; more than one is kept for the time of a change.
const IDENTITIES_MAX: usize = 4;
/// Redirects followed for `witgate:host/http`.
const REDIRECTS_MAX: usize = 5;
/// Bytes of a request that a scripted world is shown.
const SCRIPTED_REQUEST_MAX: usize = 64 << 20;

/// The plugin's client, built at its first request: most guardrails never make one.
pub(crate) struct Outgoing {
    plugin: Arc<str>,
    hosts: Hosts,
    tls: TlsOptions,
    metrics: Arc<PluginMetrics>,
    client: OnceLock<Result<Client, String>>,
    /// Clients that show a certificate, the newest last.
    as_clients: Mutex<Vec<(ClientCertificate, Client)>>,
    world: Scripted,
    at_once: Semaphore,
    /// Bytes of a response.
    pub(crate) response_max: usize,
}

/// Why there is no response head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoResponse {
    /// The policy says no; with the configuration line that would allow it.
    Denied(String),
    /// No answer in time.
    Timeout,
    /// Name resolution, connection, TLS or protocol failed.
    Connection(String),
}

impl Outgoing {
    pub(crate) fn new(
        plugin: Arc<str>,
        hosts: Hosts,
        tls: TlsOptions,
        metrics: Arc<PluginMetrics>,
        at_once: usize,
        response_max: usize,
        world: Scripted,
    ) -> Self {
        let at_once = Semaphore::new(at_once);
        Self {
            plugin,
            hosts,
            tls,
            metrics,
            client: OnceLock::new(),
            as_clients: Mutex::new(Vec::new()),
            world,
            at_once,
            response_max,
        }
    }

    /// The rules, for listings.
    pub(crate) fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Whether the plugin may call a URL, as far as that can be said without resolving its host.
    pub(crate) fn judge(&self, uri: &http::Uri) -> Result<(), String> {
        let judged = self.hosts.policy.judge(uri);
        judged.map(drop).map_err(|denied| self.denied(&denied))
    }

    /// Whether there is no network.
    pub(crate) fn is_scripted(&self) -> bool {
        self.world.is_some()
    }

    /// Waits for one of the plugin's slots for exchanges.
    pub(crate) async fn slot(&self) -> Result<SemaphorePermit<'_>, NoResponse> {
        let slot = self.at_once.acquire().await;
        slot.map_err(|_| NoResponse::Connection("the gateway is shutting down".to_owned()))
    }

    /// Sends and, on the plugin's behalf, follows redirects; every hop is judged by the policy.
    pub(crate) async fn send_following(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Body>, NoResponse> {
        if let Some(world) = &self.world {
            return self.scripted(world.as_ref(), request).await;
        }
        let sent = self.client()?.send_following(request, REDIRECTS_MAX).await;
        sent.map(|response| response.map(Body::stream))
            .map_err(|error| self.no_response(&error))
    }

    /// Sends; a redirect is an answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, NoResponse> {
        if let Some(world) = &self.world {
            return self.scripted(world.as_ref(), request).await;
        }
        let sent = self.client()?.send(request).await;
        sent.map(|response| response.map(Body::stream))
            .map_err(|error| self.no_response(&error))
    }

    /// Sends on a connection that shows a certificate; a redirect is an answer.
    pub(crate) async fn send_as(
        &self,
        certificate: ClientCertificate,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, NoResponse> {
        if let Some(world) = &self.world {
            request.extensions_mut().insert(ShownCertificate);
            return self.scripted(world.as_ref(), request).await;
        }
        let client = self
            .client_as(certificate)
            .map_err(NoResponse::Connection)?;
        let sent = client.send(request).await;
        sent.map(|response| response.map(Body::stream))
            .map_err(|error| self.no_response(&error))
    }

    /// Hands in a message. A refusal by the policy is in words, with the configuration line that would allow it.
    pub(crate) async fn send_mail(
        &self,
        server: &MailServer,
        mail: &Mail,
        within: Duration,
    ) -> Result<(), Result<MailError, String>> {
        let Ok(_slot) = self.at_once.acquire().await else {
            let reason = "the gateway is shutting down".to_owned();
            return Err(Ok(MailError::Connection(reason)));
        };
        let sent = match &self.world {
            Some(world) => match self.hosts.policy.judge_mail(server) {
                Ok(()) => world.mail(server, mail),
                Err(denied) => Err(MailError::Denied(denied)),
            },
            None => {
                let egress = Egress::Policy(self.hosts.policy.clone());
                let mailer = Mailer::new(egress, self.tls.clone());
                mailer.send(server, mail, within).await
            }
        };
        sent.map_err(|error| match error {
            MailError::Denied(denied) => Err(self.denied(&denied)),
            other => Ok(other),
        })
    }

    /// The client that shows this certificate. Connections are not shared with those that show another one, or none.
    pub(crate) fn client_as(&self, certificate: ClientCertificate) -> Result<Client, String> {
        let mut clients = self.as_clients.lock();
        if let Some((_, client)) = clients.iter().find(|(own, _)| *own == certificate) {
            return Ok(client.clone());
        }
        let client = self.build(Some(certificate.clone()))?;
        if clients.len() >= IDENTITIES_MAX {
            clients.remove(0);
        }
        clients.push((certificate, client.clone()));
        Ok(client)
    }

    /// The same without a network: the policy judges the URL, the world answers.
    async fn scripted(
        &self,
        world: &dyn World,
        request: Request<Body>,
    ) -> Result<Response<Body>, NoResponse> {
        self.judge(request.uri()).map_err(NoResponse::Denied)?;
        let (head, body) = request.into_parts();
        let body = collect_limited(body, SCRIPTED_REQUEST_MAX)
            .await
            .map_err(|error| NoResponse::Connection(error.to_string()))?;
        match world.exchange(Request::from_parts(head, body)) {
            Ok(response) => Ok(response.map(Body::from)),
            Err(NoAnswer::Timeout) => Err(NoResponse::Timeout),
            Err(NoAnswer::Connection(reason)) => Err(NoResponse::Connection(reason)),
        }
    }

    fn client(&self) -> Result<&Client, NoResponse> {
        let built = self.client.get_or_init(|| self.build(None));
        built
            .as_ref()
            .map_err(|error| NoResponse::Connection(error.clone()))
    }

    fn build(&self, certificate: Option<ClientCertificate>) -> Result<Client, String> {
        let mut options = ClientOptions::new(Egress::Policy(self.hosts.policy.clone()));
        options.tls = self.tls.clone();
        if certificate.is_some() {
            options.tls.certificate = certificate;
        }
        options.pool_max_idle_per_host = IDLE_PER_HOST;
        options.pool_idle_timeout = Duration::from_secs(60);
        Client::new(options).map_err(|error| error.to_string())
    }

    fn no_response(&self, error: &SendError) -> NoResponse {
        let Some(denied) = error.denied() else {
            return match error.is_timeout() {
                true => NoResponse::Timeout,
                false => NoResponse::Connection(error.to_string()),
            };
        };
        NoResponse::Denied(self.denied(denied))
    }

    /// Counts and logs a refusal; the text for the plugin.
    fn denied(&self, denied: &Denied) -> String {
        self.metrics.denied("egress");
        let line = self.line_that_allows(denied);
        let text = match line {
            Some(line) => format!("{denied} (in the configuration: {line})"),
            None => denied.to_string(),
        };
        tracing::warn!(
            plugin = self.plugin.as_ref(),
            "the plugin was refused a connection: {text}"
        );
        text
    }

    /// The line of configuration behind [`Denied::fix`].
    fn line_that_allows(&self, denied: &Denied) -> Option<String> {
        let what = denied.fix.split('"').nth(1)?;
        let key = match denied.why {
            WhyDenied::NotAllowed => "egress",
            WhyDenied::Address { .. } => "private_network",
            _ => return None,
        };
        Some(format!("plugins.{}.grants.{key}: [{what:?}]", self.plugin))
    }
}
