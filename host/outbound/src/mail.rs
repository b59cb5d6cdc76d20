//! Mail: one message, handed in over SMTP at a server that the policy allows.
//!
//! The connection is opened by this crate, to an address that was checked after resolution; what is spoken on it is
//! lettre's.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use lettre::Message;
use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use crate::connect::addresses;
use crate::egress::{Denied, Destination};
use crate::error::Chain;
use crate::tls::client_config;
use crate::{Egress, Resolve, Roots, SendError, SystemResolver, TlsOptions};

/// Hands in mail under one egress policy.
pub struct Mailer {
    egress: Egress,
    tls: TlsOptions,
    resolver: Arc<dyn Resolve>,
}

/// Where mail is handed in.
#[derive(Debug, Clone)]
pub struct MailServer {
    /// Name or address.
    pub host: String,
    /// Usually 587, or 465 with TLS from the first byte.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: MailEncryption,
    /// Who hands it in; nobody in particular without.
    pub login: Option<MailLogin>,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailEncryption {
    /// Begun in the clear, and given up unless the server agrees to STARTTLS.
    StartTls,
    /// From the first byte.
    Tls,
    /// Not at all: also a password goes in the clear.
    Off,
}

/// A name and its password.
#[derive(Clone)]
pub struct MailLogin {
    /// The name.
    pub user: String,
    /// The password. In no Debug output.
    pub password: Arc<Zeroizing<String>>,
}

impl fmt::Debug for MailLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailLogin")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// `name@host` or `Some Name <name@host>`.
    pub from: String,
    /// Who gets it, written the same way.
    pub to: Vec<String>,
    /// One line.
    pub subject: String,
    /// The text, for readers that show no HTML.
    pub text: Option<String>,
    /// The same as HTML.
    pub html: Option<String>,
}

/// Why a message was not handed in.
#[derive(Debug)]
#[non_exhaustive]
pub enum MailError {
    /// The policy refuses the server.
    Denied(Denied),
    /// The message is not one. Nothing was sent.
    Invalid(String),
    /// Not taken in time. It may arrive all the same.
    Timeout,
    /// No connection, or it ended: name resolution, TCP, TLS, or a protocol that is not SMTP.
    Connection(String),
    /// The server said no.
    Refused {
        /// Its code, such as 550. From 500 on, trying again is in vain.
        code: u16,
        /// Its words.
        text: String,
    },
}

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(denied) => denied.fmt(f),
            Self::Invalid(reason) => write!(f, "the message is not valid: {reason}"),
            Self::Timeout => f.write_str("the mail server did not take the message in time"),
            Self::Connection(reason) => f.write_str(reason),
            Self::Refused { code, text } => write!(f, "the mail server refused: {code} {text}"),
        }
    }
}

impl std::error::Error for MailError {}

impl Mailer {
    /// Mail under this policy, with these certificates.
    #[must_use]
    pub fn new(egress: Egress, tls: TlsOptions) -> Self {
        Self {
            egress,
            tls,
            resolver: Arc::new(SystemResolver),
        }
    }

    /// Hands in one message within this time. Dropping the future closes the connection; the message may have been taken
    /// then.
    ///
    /// # Errors
    /// When the server has not taken it, see [`MailError`].
    pub async fn send(
        &self,
        server: &MailServer,
        mail: &Mail,
        within: Duration,
    ) -> Result<(), MailError> {
        let message = mail.build()?;
        let handed_in = tokio::time::timeout(within, self.hand_in(server, message));
        handed_in.await.unwrap_or(Err(MailError::Timeout))
    }

    async fn hand_in(&self, server: &MailServer, message: Message) -> Result<(), MailError> {
        let stream = self.connect(server).await?;
        // The name that it gives itself is the machine's, as mail servers expect.
        let hello = ClientId::default();
        let connected = match server.encryption {
            MailEncryption::Tls => {
                let secure = self.secured(&server.host, stream).await?;
                AsyncSmtpConnection::connect_with_transport(Box::new(secure), &hello).await
            }
            MailEncryption::StartTls | MailEncryption::Off => {
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello).await
            }
        };
        let mut connection = connected.map_err(failed)?;
        if server.encryption == MailEncryption::StartTls {
            let tls = self.parameters(&server.host)?;
            connection.starttls(tls, &hello).await.map_err(failed)?;
        }
        if let Some(login) = &server.login {
            let password = login.password.as_str().to_owned();
            let credentials = Credentials::new(login.user.clone(), password);
            let logged_in = connection.auth(DEFAULT_MECHANISMS, &credentials).await;
            logged_in.map_err(failed)?;
        }
        let sent = connection
            .send(message.envelope(), &message.formatted())
            .await;
        sent.map_err(failed)?;
        // The message is taken; how the farewell goes does not matter.
        let _ = connection.quit().await;
        Ok(())
    }

    async fn connect(&self, server: &MailServer) -> Result<TcpStream, MailError> {
        let Some(to) = Destination::mail(&server.host, server.port) else {
            return Err(MailError::Denied(Denied::no_mail_host(&server.host)));
        };
        let policy = match &self.egress {
            Egress::Policy(policy) => Some(policy.as_ref()),
            Egress::Unrestricted => None,
        };
        if let Some(policy) = policy {
            policy.check_name(&to).map_err(MailError::Denied)?;
        }
        let found = addresses(self.resolver.as_ref(), &to, policy).await;
        let found = found.map_err(|error: SendError| match error.denied() {
            Some(denied) => MailError::Denied(denied.clone()),
            None => MailError::Connection(error.to_string()),
        })?;
        let opened = TcpStream::connect(&found[..]).await;
        opened.map_err(|error| {
            MailError::Connection(format!("could not connect to {}: {error}", server.host))
        })
    }

    /// TLS from the first byte.
    async fn secured(&self, host: &str, stream: TcpStream) -> Result<Secured, MailError> {
        let no_tls = |error: &dyn fmt::Display| {
            MailError::Connection(format!("no TLS with {host}: {error}"))
        };
        let mut config = client_config(&self.tls, false).map_err(|error| no_tls(&error))?;
        config.alpn_protocols.clear();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| no_tls(&error))?;
        let secured = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await;
        secured.map(Secured).map_err(|error| no_tls(&error))
    }

    /// The same trust as for HTTP, as lettre wants to have it for STARTTLS.
    fn parameters(&self, host: &str) -> Result<TlsParameters, MailError> {
        let no_tls = |error: &dyn fmt::Display| {
            MailError::Connection(format!("the TLS settings do not work: {error}"))
        };
        let mut builder =
            TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
        let own = match &self.tls.roots {
            Roots::Unverified => {
                builder = builder.dangerous_accept_invalid_certs(true);
                Vec::new()
            }
            Roots::Bundle(path) => CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| no_tls(&format!("{}: {error}", path.display())))?,
            Roots::System => rustls_native_certs::load_native_certs().certs,
        };
        if self.tls.roots == Roots::System && own.is_empty() {
            builder = builder.certificate_store(CertificateStore::WebpkiRoots);
        }
        for root in own {
            // One that rustls cannot use is left out, as it is for HTTP.
            if RootCertStore::empty().add(root.clone()).is_ok() {
                let root = Certificate::from_der(root.to_vec()).map_err(|error| no_tls(&error))?;
                builder = builder.add_root_certificate(root);
            }
        }
        builder.build_rustls().map_err(|error| no_tls(&error))
    }
}

impl Mail {
    /// The message as it is handed in.
    fn build(&self) -> Result<Message, MailError> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>().map_err(|error| {
                MailError::Invalid(format!("{text:?} is no address of mail: {error}"))
            })
        };
        if self.subject.chars().any(char::is_control) {
            let reason = "the subject is more than one line of text";
            return Err(MailError::Invalid(reason.to_owned()));
        }
        let mut message = Message::builder()
            .from(mailbox(&self.from)?)
            .subject(self.subject.as_str())
            .message_id(None);
        for to in &self.to {
            message = message.to(mailbox(to)?);
        }
        let built = match (&self.text, &self.html) {
            (Some(text), Some(html)) => message.multipart(MultiPart::alternative_plain_html(
                text.clone(),
                html.clone(),
            )),
            (None, Some(html)) => message.singlepart(SinglePart::html(html.clone())),
            (Some(text), None) => message.header(ContentType::TEXT_PLAIN).body(text.clone()),
            (None, None) => {
                let reason = "it has neither text nor HTML";
                return Err(MailError::Invalid(reason.to_owned()));
            }
        };
        built.map_err(|error| MailError::Invalid(error.to_string()))
    }
}

/// A connection with TLS, as lettre takes it.
#[derive(Debug)]
struct Secured(TlsStream<TcpStream>);

impl AsyncTokioStream for Secured {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

fn failed(error: SmtpError) -> MailError {
    match error.status() {
        Some(code) => MailError::Refused {
            code: code.to_string().parse().unwrap_or_default(),
            text: std::error::Error::source(&error)
                .map(ToString::to_string)
                .unwrap_or_default(),
        },
        None => MailError::Connection(Chain(&error).to_string()),
    }
}
