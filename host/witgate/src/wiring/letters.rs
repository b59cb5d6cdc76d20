//! Letters to people, by mail: the alerter `email` carries them, as `general_settings.alerting` has it.

use std::sync::Arc;

use witgate_events::{AlertKind, Hub, KeyText, Watch};
use witgate_management::{Letter, LetterKind, Post};

/// The alerter that sends mail.
const EMAIL: &str = "email";

/// LiteLLM's address of a gateway that does not know its own.
const SOMEWHERE: &str = "http://0.0.0.0:4000";

/// The post of the process.
pub struct Letters {
    watch: Arc<Watch>,
    hub: Arc<Hub>,
}

impl Letters {
    /// Letters go by this hub.
    pub fn new(watch: Arc<Watch>, hub: Arc<Hub>) -> Self {
        Self { watch, hub }
    }
}

impl Post for Letters {
    fn is_open(&self) -> bool {
        self.hub.takes_alerts(EMAIL)
    }

    fn take(&self, letter: Letter) {
        let kind = match letter.kind {
            LetterKind::KeyCreated => AlertKind::KeyCreated,
            LetterKind::KeyRotated => AlertKind::KeyRotated,
            LetterKind::Invitation => AlertKind::InternalUserCreated,
        };
        let base = self.watch.proxy_url();
        let base = base.as_deref().unwrap_or(SOMEWHERE).trim_end_matches('/');
        let mut fields = vec![
            ("recipient_email".to_owned(), letter.to),
            ("base_url".to_owned(), base.to_owned()),
        ];
        for (name, value) in letter.facts {
            fields.push(match name {
                "invitation_id" => (
                    "invitation_link".to_owned(),
                    format!("{base}/ui/onboarding?invitation_id={value}"),
                ),
                name => (name.to_owned(), value),
            });
        }
        let key = letter.key.map(|key| KeyText(key.as_str().to_owned()));
        if self.watch.letter(EMAIL, kind, fields, key) != Some(true) {
            tracing::error!(
                kind = kind.as_str(),
                "a letter is lost: the queue of email is full"
            );
        }
    }
}
