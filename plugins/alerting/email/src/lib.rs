//! Tells people by mail that something is wrong, and single ones about their keys and invitations.

pub mod format;
pub mod letters;

use serde::Deserialize;
use witgate_plugin::alerter::{Alert, Alerter, Outcome, Partial, Rejection};
use witgate_plugin::mail::{Encryption, Mail, Server};
use witgate_plugin::secrets::{self, Secret};
use witgate_plugin::{Error, kv};

/// The port that is for TLS from the first byte.
const SMTPS: u16 = 465;

/// The alert type of a test.
const TEST: &str = "test";

/// The alert type whose users are told themselves.
const BUDGETS: &str = "budget_alerts";

/// How long it is remembered that an alert was taken, milliseconds.
const REMEMBER_MS: u64 = 600_000;

/// The settings, LiteLLM's variables in lower case, and who gets the mail.
#[derive(Deserialize)]
pub struct Settings {
    recipients: Vec<String>,
    test_address: String,
    smtp_host: String,
    smtp_port: u16,
    smtp_username: String,
    smtp_sender_email: String,
    smtp_tls: String,
    smtp_use_ssl: String,
    #[serde(flatten)]
    looks: letters::Looks,
}

/// The alerter.
pub struct Email {
    settings: Settings,
    password: Option<Secret>,
}

impl Alerter for Email {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Error> {
        let password = secrets::get("smtp_password")?;
        Ok(Self { settings, password })
    }

    fn send(&self, batch: &[Alert]) -> Result<Outcome, Error> {
        let mut partial = Partial {
            retry: Vec::new(),
            rejected: Vec::new(),
            retry_after_ms: None,
        };
        for (index, alert) in (0..).zip(batch) {
            // What comes again was not all taken the last time.
            let mark = format!("sent/{}", alert.id);
            if kv::PLUGIN.get(&mark).is_some() {
                continue;
            }
            let recipients = self.recipients(alert);
            // A budget of nobody who has an address.
            if recipients.is_empty() && alert.kind == BUDGETS {
                continue;
            }
            if recipients.is_empty() {
                let reason =
                    "nobody to write to: list addresses in plugins.email.settings.recipients";
                let reason = reason.to_owned();
                partial.rejected.push(Rejection { index, reason });
                continue;
            }
            match self.mail(alert).send(&self.server()).map_err(Error::from) {
                Ok(()) => kv::PLUGIN.set(&mark, b"", Some(REMEMBER_MS))?,
                // The server is in trouble: the rest would be, too.
                Err(error @ Error::Unavailable(_)) if index == 0 => return Err(error),
                Err(Error::Unavailable(_)) => partial.retry.push(index),
                Err(Error::Failed(reason)) => partial.rejected.push(Rejection { index, reason }),
                Err(error) => return Err(error),
            }
        }
        Ok(
            match partial.retry.is_empty() && partial.rejected.is_empty() {
                true => Outcome::Delivered,
                false => Outcome::Partial(partial),
            },
        )
    }
}

impl Email {
    fn server(&self) -> Server<'_> {
        let own = &self.settings;
        let encryption = match (own.smtp_port, own.smtp_use_ssl.as_str()) {
            (SMTPS, _) | (_, "True" | "true") => Encryption::Tls,
            _ if own.smtp_tls.eq_ignore_ascii_case("false") => Encryption::None,
            _ => Encryption::Starttls,
        };
        let server = Server::new(&own.smtp_host, own.smtp_port, encryption);
        match &self.password {
            Some(password) if !own.smtp_username.is_empty() => {
                server.login(&own.smtp_username, password)
            }
            _ => server,
        }
    }

    fn mail(&self, alert: &Alert) -> Mail {
        let own = &self.settings;
        let mail = match letters::event(alert) {
            Some(event) => {
                let looks = &own.looks;
                Mail::new(
                    &own.smtp_sender_email,
                    &letters::subject(looks, alert, event),
                )
                .text(letters::text(looks, alert))
                .html(letters::html(looks, alert))
            }
            None => Mail::new(&own.smtp_sender_email, &format::subject(alert))
                .text(format::text(alert))
                .html(format::html(alert)),
        };
        let recipients = self.recipients(alert);
        recipients.iter().fold(mail, |mail, to| mail.to(to))
    }

    /// Who gets an alert: of a letter, the one it is for; of a test, who is there for tests.
    /// Of a budget that is used up its user, too, and of a soft one who is named for it.
    fn recipients(&self, alert: &Alert) -> Vec<String> {
        let own = &self.settings;
        if letters::event(alert).is_some() {
            let to = letters::recipient(alert);
            return to.into_iter().map(str::to_owned).collect();
        }
        if alert.kind == TEST && !own.test_address.is_empty() {
            return vec![own.test_address.clone()];
        }
        let mut recipients = own.recipients.clone();
        if alert.kind == BUDGETS {
            let is_over = ("event".to_owned(), "budget_crossed".to_owned());
            let fields = alert.fields.iter().filter(|(name, _)| {
                name == "alert_emails" || name == "user_email" && alert.fields.contains(&is_over)
            });
            let named = fields.flat_map(|(_, value)| value.split(',').map(str::trim));
            for address in named.filter(|address| !address.is_empty()) {
                if !recipients.iter().any(|known| known == address) {
                    recipients.push(address.to_owned());
                }
            }
        }
        recipients
    }
}

witgate_plugin::export_alerter!(Email);
