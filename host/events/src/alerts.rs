//! Alerts: what is worth telling people, and when.
//!
//! [`Watch`] sees calls begin and end and decides; everything it decides with is in [`AlertSettings`]. What it raises goes to the
//! [`Hub`](crate::Hub), which queues, batches and repeats alerts like any other event for the sinks that want them. How an alert
//! looks at somebody's product is the alerter's affair.
//!
//! The parts are functions of their state and a moment: [`outage`] counts failures per deployment and region, [`report`]
//! collects the daily figures, [`calls`] words what one finished call is worth.

pub mod outage;
pub mod report;

mod budget;
mod calls;
#[cfg(test)]
mod tests;
mod watch;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use budget::{BudgetAlert, BudgetEvent};
pub use watch::{Begun, InFlight, Watch};

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Unique; deliveries repeat it.
    pub id: String,
    /// What it is about.
    pub kind: AlertKind,
    /// How bad it is.
    pub level: Level,
    /// When it was raised.
    pub at: Timestamp,
    /// What happened, one line.
    pub title: String,
    /// More; may be empty.
    pub text: String,
    /// Facts by their names for people.
    pub fields: Vec<(String, String)>,
    /// The request's `metadata.alerting_metadata`.
    pub metadata: Vec<(String, String)>,
    /// The gateway's own address.
    pub proxy_url: Option<String>,
    /// For the router's own channel (`router_settings.alerting_config`), and not for the others.
    #[serde(default)]
    pub is_routers: bool,
    /// The text of the key that a letter is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyText>,
}

/// The text of a key. Debug output does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyText(pub String);

impl std::fmt::Debug for KeyText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyText(***)")
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Level {
    Low,
    Medium,
    High,
}

/// What an alert is about: LiteLLM's alert types as far as the gateway can raise them, and two of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// A call failed.
    LlmExceptions,
    /// An answer took longer than the threshold.
    LlmTooSlow,
    /// A call is under way for longer than the threshold.
    LlmRequestsHanging,
    /// A deployment fails again and again.
    OutageAlerts,
    /// Several deployments of a region do.
    RegionOutageAlerts,
    /// The figures of a day.
    DailyReports,
    /// A budget is, or will be, used up.
    BudgetAlerts,
    /// What teams and tags have spent.
    SpendReports,
    /// A plugin failed too often and rests.
    PluginBreakerOpen,
    /// A new configuration was refused.
    ConfigReloadRefused,
    /// A model was added to the database.
    NewModelAdded,
    /// Somebody made a key.
    NewVirtualKeyCreated,
    /// Somebody changed a key.
    VirtualKeyUpdated,
    /// Somebody deleted keys.
    VirtualKeyDeleted,
    /// Somebody made a team.
    NewTeamCreated,
    /// Somebody changed a team.
    TeamUpdated,
    /// Somebody deleted teams.
    TeamDeleted,
    /// Somebody made a user.
    NewInternalUserCreated,
    /// Somebody changed a user.
    InternalUserUpdated,
    /// Somebody deleted users.
    InternalUserDeleted,
    /// What a call of an end user cost: for LiteLLM's webhook alone, and `alert_types` does not name it.
    SpendTracked,
    /// Somebody tries whether alerts arrive (`/health/services`); `alert_types` does not name it.
    Test,
    /// A letter to somebody whose key was made. Letters are for one address and go by mail alone.
    KeyCreated,
    /// A letter to somebody whose key has another text.
    KeyRotated,
    /// A letter to somebody who is invited.
    InternalUserCreated,
}

impl AlertKind {
    /// All kinds that are raised by themselves.
    pub const ALL: [Self; 20] = [
        Self::LlmExceptions,
        Self::LlmTooSlow,
        Self::LlmRequestsHanging,
        Self::OutageAlerts,
        Self::RegionOutageAlerts,
        Self::DailyReports,
        Self::BudgetAlerts,
        Self::SpendReports,
        Self::PluginBreakerOpen,
        Self::ConfigReloadRefused,
        Self::NewModelAdded,
        Self::NewVirtualKeyCreated,
        Self::VirtualKeyUpdated,
        Self::VirtualKeyDeleted,
        Self::NewTeamCreated,
        Self::TeamUpdated,
        Self::TeamDeleted,
        Self::NewInternalUserCreated,
        Self::InternalUserUpdated,
        Self::InternalUserDeleted,
    ];

    /// Whether it is told where `alert_types` says nothing: what is done by hand every day is not.
    #[must_use]
    pub const fn is_default(self) -> bool {
        !matches!(
            self,
            Self::NewVirtualKeyCreated
                | Self::VirtualKeyUpdated
                | Self::VirtualKeyDeleted
                | Self::NewTeamCreated
                | Self::TeamUpdated
                | Self::TeamDeleted
                | Self::NewInternalUserCreated
                | Self::InternalUserUpdated
                | Self::InternalUserDeleted
        )
    }

    /// The name in `alert_types`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LlmExceptions => "llm_exceptions",
            Self::LlmTooSlow => "llm_too_slow",
            Self::LlmRequestsHanging => "llm_requests_hanging",
            Self::OutageAlerts => "outage_alerts",
            Self::RegionOutageAlerts => "region_outage_alerts",
            Self::DailyReports => "daily_reports",
            Self::BudgetAlerts => "budget_alerts",
            Self::SpendReports => "spend_reports",
            Self::PluginBreakerOpen => "plugin_breaker_open",
            Self::ConfigReloadRefused => "config_reload_refused",
            Self::NewModelAdded => "new_model_added",
            Self::NewVirtualKeyCreated => "new_virtual_key_created",
            Self::VirtualKeyUpdated => "virtual_key_updated",
            Self::VirtualKeyDeleted => "virtual_key_deleted",
            Self::NewTeamCreated => "new_team_created",
            Self::TeamUpdated => "team_updated",
            Self::TeamDeleted => "team_deleted",
            Self::NewInternalUserCreated => "new_internal_user_created",
            Self::InternalUserUpdated => "internal_user_updated",
            Self::InternalUserDeleted => "internal_user_deleted",
            Self::SpendTracked => "spend_tracked",
            Self::Test => "test",
            Self::KeyCreated => "key_created",
            Self::KeyRotated => "key_rotated",
            Self::InternalUserCreated => "internal_user_created",
        }
    }

    /// Whether it is a letter: mail to one address, and nobody else's business.
    #[must_use]
    pub const fn is_letter(self) -> bool {
        matches!(
            self,
            Self::KeyCreated | Self::KeyRotated | Self::InternalUserCreated
        )
    }

    /// The kind of this name; `None` for one that the gateway cannot raise.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What the configuration says about alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSettings {
    /// Whether anybody listens (`alerting`); nothing is watched otherwise.
    pub is_on: bool,
    /// What is told (`alert_types`).
    pub kinds: Vec<AlertKind>,
    /// What calls of end users cost is told (`alerting: [webhook]`).
    pub tells_spend: bool,
    /// Slower answers, and calls under way for longer, are told (`alerting_threshold`).
    pub threshold: Duration,
    /// The same for the router's own channel, which gets failures and slow answers and nothing else
    /// (`router_settings.alerting_config`); `None` where there is none.
    pub router_threshold: Option<Duration>,
    /// Failures older than this do not count (`outage_alert_ttl`).
    pub outage_window: Duration,
    /// The same for regions (`region_outage_alert_ttl`).
    pub region_window: Duration,
    /// Failures that make a minor outage.
    pub minor: usize,
    /// Failures that make a major outage.
    pub major: usize,
    /// Failures kept per deployment; never so few that a major outage could not be seen.
    pub list_max: usize,
    /// Time between two reports (`daily_report_frequency`).
    pub report_every: Duration,
    /// How often is looked whether one is due (`report_check_interval`).
    pub report_check: Duration,
    /// Bytes of an error's text that are told (`MAX_EXCEPTION_MESSAGE_LENGTH`).
    pub message_max: usize,
    /// Messages are not told (`turn_off_message_logging`, `redact_messages_in_exceptions`), not even where an error text repeats them.
    pub hide_messages: bool,
    /// Each alert is also written to the log.
    pub log_to_console: bool,
    /// `PROXY_BASE_URL`.
    pub proxy_url: Option<String>,
}

impl Default for AlertSettings {
    fn default() -> Self {
        Self {
            is_on: false,
            kinds: AlertKind::ALL
                .into_iter()
                .filter(|kind| kind.is_default())
                .collect(),
            tells_spend: false,
            threshold: Duration::from_secs(300),
            router_threshold: None,
            outage_window: Duration::from_secs(60),
            region_window: Duration::from_secs(60),
            minor: 5,
            major: 10,
            list_max: 10,
            report_every: Duration::from_secs(43_200),
            report_check: Duration::from_secs(300),
            message_max: 2_000,
            hide_messages: false,
            log_to_console: false,
            proxy_url: None,
        }
    }
}

impl AlertSettings {
    /// Whether alerts of this kind are told.
    #[must_use]
    pub fn tells(&self, kind: AlertKind) -> bool {
        self.is_on && self.kinds.contains(&kind)
    }
}

/// An alert before it has an id, a time and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub kind: AlertKind,
    pub level: Level,
    pub title: String,
    pub text: String,
    pub fields: Vec<(String, String)>,
    pub metadata: Vec<(String, String)>,
}

impl Draft {
    pub fn new(kind: AlertKind, level: Level, title: impl Into<String>) -> Self {
        Self {
            kind,
            level,
            title: title.into(),
            text: String::new(),
            fields: Vec::new(),
            metadata: Vec::new(),
        }
    }

    /// Adds a fact, when it is known.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}
