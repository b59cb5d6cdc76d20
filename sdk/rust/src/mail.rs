//! Mail, handed in by the host over SMTP. The manifest names the server (`egress = ["smtp://{smtp_host}:{smtp_port}"]`);
//! the password stays with the host.
//!
//! ```no_run
//! use witgate_plugin::mail::{Encryption, Mail, Server};
//!
//! # fn tell() -> Result<(), witgate_plugin::Error> {
//! let server = Server::new("smtp.example.com", 587, Encryption::Starttls);
//! Mail::new("gateway@example.com", "A key has expired")
//!     .to("ops@example.com")
//!     .text("The key \"ci\" has expired.")
//!     .send(&server)?;
//! # Ok(())
//! # }
//! ```

use crate::Error;
use crate::bindings::host::witgate::host::mail;
use crate::secrets::Secret;

pub use mail::{Encryption, MailError, Refusal};

/// Where mail is handed in.
pub struct Server<'a>(mail::Server<'a>);

impl<'a> Server<'a> {
    /// A server that asks for no login.
    pub fn new(host: &str, port: u16, encryption: Encryption) -> Self {
        Self(mail::Server {
            host: host.to_owned(),
            port,
            encryption,
            login: None,
        })
    }

    /// With a name and the secret that is its password.
    pub fn login(mut self, user: &str, password: &'a Secret) -> Self {
        self.0.login = Some((user.to_owned(), password));
        self
    }
}

/// A message.
#[derive(Debug, Clone)]
pub struct Mail {
    message: mail::Message,
    timeout_ms: Option<u32>,
}

impl Mail {
    /// From this address, `name@host` or `Some Name <name@host>`, about this: one line.
    pub fn new(sender: &str, subject: &str) -> Self {
        Self {
            message: mail::Message {
                sender: sender.to_owned(),
                recipients: Vec::new(),
                subject: subject.to_owned(),
                text: None,
                html: None,
            },
            timeout_ms: None,
        }
    }

    /// Adds somebody who gets it.
    pub fn to(mut self, address: &str) -> Self {
        self.message.recipients.push(address.to_owned());
        self
    }

    /// The text, for readers that show no HTML.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.message.text = Some(text.into());
        self
    }

    /// The same as HTML.
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.message.html = Some(html.into());
        self
    }

    /// Milliseconds until the server must have taken it; 30 s otherwise.
    pub fn timeout_ms(mut self, ms: u32) -> Self {
        self.timeout_ms = Some(ms);
        self
    }

    /// Hands it in, and waits until the server has taken it.
    pub fn send(&self, server: &Server<'_>) -> Result<(), MailError> {
        mail::send(&server.0, &self.message, self.timeout_ms)
    }
}

impl From<MailError> for Error {
    fn from(from: MailError) -> Self {
        match from {
            MailError::Denied(text) => Self::Denied(text),
            MailError::Timeout => Self::unavailable("the mail server did not answer in time"),
            MailError::Connection(text) => Self::Unavailable(text),
            MailError::Invalid(text) => Self::Failed(text),
            MailError::Refused(no) => {
                let text = format!("the mail server refused: {} {}", no.code, no.text);
                match no.code {
                    500.. => Self::Failed(text),
                    _ => Self::Unavailable(text),
                }
            }
        }
    }
}
