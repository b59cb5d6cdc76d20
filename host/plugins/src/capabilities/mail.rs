//! `witgate:host/mail`: one message through the plugin's own way out, under its egress policy.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use witgate_outbound::{Mail, MailEncryption, MailError, MailLogin, MailServer};

use super::state::State;
use crate::bindings::witgate::host::mail as wit;
use crate::record::Find;

/// Recipients of a message.
const RECIPIENTS_MAX: usize = 100;
/// Bytes of its text and HTML.
const BYTES_MAX: usize = 1 << 20;
/// How long it may take when the plugin does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

impl wit::Host for State {
    async fn send(
        &mut self,
        server: wit::Server,
        message: wit::Message,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<(), wit::MailError>> {
        let taken = self.asked("mail.send", Find::Same, || {
            self.shown_mail(&server, &message, timeout_ms)
        });
        if let Some(known) = taken.known::<Value>().and_then(|known| answered(&known)) {
            return Ok(known);
        }
        let login = match &server.login {
            Some((user, secret)) => Some(MailLogin {
                user: user.clone(),
                password: self.table.get(secret)?.shared(),
            }),
            None => None,
        };
        let left = self.call.deadline.saturating_duration_since(Instant::now());
        let asked = timeout_ms.map_or(TIMEOUT, |ms| Duration::from_millis(ms.into()));
        let sent = match checked(message) {
            Ok(mail) => {
                let server = MailServer {
                    host: server.host,
                    port: server.port,
                    encryption: server.encryption.into(),
                    login,
                };
                let within = asked.min(left);
                let sent = self
                    .context
                    .outgoing
                    .send_mail(&server, &mail, within)
                    .await;
                sent.map_err(told)
            }
            Err(reason) => Err(wit::MailError::Invalid(reason)),
        };
        taken.end(|| shown(&sent));
        Ok(sent)
    }
}

impl State {
    /// A message as a recording has it, the password by its name.
    fn shown_mail(
        &self,
        server: &wit::Server,
        message: &wit::Message,
        timeout_ms: Option<u32>,
    ) -> Value {
        let login = server.login.as_ref();
        json!({
            "server": {
                "host": server.host,
                "port": server.port,
                "encryption": encryption(server.encryption.into()),
                "login": login.map(|(user, secret)| json!([user, self.named(secret)])),
            },
            "message": {
                "sender": message.sender,
                "recipients": message.recipients,
                "subject": message.subject,
                "text": message.text,
                "html": message.html,
            },
            "timeout_ms": timeout_ms,
        })
    }
}

/// The word for a way to encrypt, in recordings and cases.
pub(crate) fn encryption(of: MailEncryption) -> &'static str {
    match of {
        MailEncryption::StartTls => "starttls",
        MailEncryption::Tls => "tls",
        MailEncryption::Off => "none",
    }
}

fn checked(from: wit::Message) -> Result<Mail, String> {
    let recipients = from.recipients.len();
    if !(1..=RECIPIENTS_MAX).contains(&recipients) {
        return Err(format!(
            "a message has 1 to {RECIPIENTS_MAX} recipients, not {recipients}"
        ));
    }
    let length = |text: &Option<String>| text.as_deref().map_or(0, str::len);
    let bytes = length(&from.text) + length(&from.html);
    if bytes > BYTES_MAX {
        return Err(format!(
            "text and HTML have {bytes} bytes together, {BYTES_MAX} are allowed"
        ));
    }
    Ok(Mail {
        from: from.sender,
        to: from.recipients,
        subject: from.subject,
        text: from.text,
        html: from.html,
    })
}

/// An answer as a recording has it.
fn shown(answer: &Result<(), wit::MailError>) -> Value {
    match answer {
        Ok(()) => json!({}),
        Err(error) => json!({"error": match error {
            wit::MailError::Denied(text) => json!({"denied": text}),
            wit::MailError::Invalid(text) => json!({"invalid": text}),
            wit::MailError::Timeout => json!("timeout"),
            wit::MailError::Connection(text) => json!({"connection": text}),
            wit::MailError::Refused(no) => json!({"refused": {"code": no.code, "text": no.text}}),
        }}),
    }
}

/// The way back; `None` for what [`shown`] never makes.
fn answered(value: &Value) -> Option<Result<(), wit::MailError>> {
    let Some(error) = value.get("error") else {
        return Some(Ok(()));
    };
    if error == "timeout" {
        return Some(Err(wit::MailError::Timeout));
    }
    let (kind, what) = error.as_object()?.iter().next()?;
    let text = || what.as_str().map(str::to_owned);
    Some(Err(match kind.as_str() {
        "denied" => wit::MailError::Denied(text()?),
        "invalid" => wit::MailError::Invalid(text()?),
        "connection" => wit::MailError::Connection(text()?),
        "refused" => wit::MailError::Refused(wit::Refusal {
            code: u16::try_from(what.get("code")?.as_u64()?).ok()?,
            text: what.get("text")?.as_str()?.to_owned(),
        }),
        _ => return None,
    }))
}

impl From<wit::Encryption> for MailEncryption {
    fn from(from: wit::Encryption) -> Self {
        match from {
            wit::Encryption::Starttls => Self::StartTls,
            wit::Encryption::Tls => Self::Tls,
            wit::Encryption::None => Self::Off,
        }
    }
}

/// What the plugin is told.
fn told(from: Result<MailError, String>) -> wit::MailError {
    match from {
        Err(denied) => wit::MailError::Denied(denied),
        Ok(MailError::Invalid(text)) => wit::MailError::Invalid(text),
        Ok(MailError::Timeout) => wit::MailError::Timeout,
        Ok(MailError::Refused { code, text }) => {
            wit::MailError::Refused(wit::Refusal { code, text })
        }
        Ok(other) => wit::MailError::Connection(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(recipients: usize, bytes: usize) -> wit::Message {
        wit::Message {
            sender: "a@example.com".to_owned(),
            recipients: vec!["b@example.com".to_owned(); recipients],
            subject: "s".to_owned(),
            text: Some("x".repeat(bytes)),
            html: None,
        }
    }

    #[test]
    fn messages_have_bounds() {
        assert!(checked(message(1, BYTES_MAX)).is_ok());
        assert!(checked(message(0, 1)).is_err_and(|why| why.contains("recipients")));
        assert!(checked(message(RECIPIENTS_MAX + 1, 1)).is_err());
        assert!(checked(message(1, BYTES_MAX + 1)).is_err_and(|why| why.contains("bytes")));
    }

    #[test]
    fn answers_come_back_as_they_were() {
        let errors = [
            wit::MailError::Denied("d".to_owned()),
            wit::MailError::Invalid("i".to_owned()),
            wit::MailError::Timeout,
            wit::MailError::Connection("c".to_owned()),
            wit::MailError::Refused(wit::Refusal {
                code: 550,
                text: "no".to_owned(),
            }),
        ];
        for one in std::iter::once(Ok(())).chain(errors.map(Err)) {
            let value = shown(&one);
            assert_eq!(shown(&answered(&value).expect("an answer")), value);
        }
    }
}
