//! From what happened to a budget to LiteLLM's alert of it.
//!
//! The books tell each fact once a period. Gateways that share a Redis all know what was spent, so each would tell: the first one
//! that claims a fact there does.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use witgate_events::{AlertKind, BudgetAlert, BudgetEvent, Watch};
use witgate_identity::{Principal, ScopeKind};
use witgate_metering::{Crossing, Fact};

use super::peers::SharedPeers;
use super::shadow::Background;

/// Raises alerts about budgets.
pub struct BudgetAlerts {
    watch: Arc<Watch>,
    peers: SharedPeers,
    background: Background,
}

impl BudgetAlerts {
    /// Through this watch; claims are made in the Redis that is shared at the time.
    pub fn new(watch: Arc<Watch>, peers: SharedPeers, background: Background) -> Self {
        Self {
            watch,
            peers,
            background,
        }
    }

    /// Tells what a call of this caller's did to budgets. Waits for nothing.
    pub(super) fn raise(&self, facts: Vec<Fact>, caller: &Principal) {
        if !self.watch.tells(AlertKind::BudgetAlerts) {
            return;
        }
        for fact in facts {
            let alert = alert(&fact, caller);
            let Some(peers) = self.peers.load_full() else {
                self.watch.budget(&alert);
                continue;
            };
            let watch = self.watch.clone();
            let (name, quiet) = claim(&fact, &alert, Timestamp::now());
            let telling = async move {
                match peers.claim(&name, quiet).await {
                    Ok(false) => return,
                    Ok(true) => {}
                    // Told twice is better than not at all.
                    Err(error) => tracing::debug!(%error, "a budget alert is not claimed"),
                }
                watch.budget(&alert);
            };
            let Background { runtime, tasks } = &self.background;
            tasks.spawn_on(telling, runtime);
        }
    }
}

/// LiteLLM's key of an alert that was told, and how long it is there.
fn claim(fact: &Fact, alert: &BudgetAlert, now: Timestamp) -> (String, Duration) {
    let what = match fact.crossing {
        Crossing::Threshold15 => "threshold_crossed_15",
        Crossing::Threshold5 => "threshold_crossed_5",
        Crossing::Soft | Crossing::Projected | Crossing::Max => alert.event.as_str(),
    };
    let model = fact.window.map(|window| {
        let model = fact.model.as_deref().unwrap_or_default();
        format!(":{model}:{}s", window.as_secs())
    });
    let (group, id, model) = (alert.group, &fact.id, model.unwrap_or_default());
    let quiet = fact.until.duration_since(now);
    let quiet = Duration::try_from(quiet).unwrap_or_default();
    (
        format!("budget_alerts:{what}:{group}:{id}{model}"),
        quiet.max(Duration::from_secs(1)),
    )
}

/// LiteLLM's name of the group, and the word for it in a message.
const fn group(kind: ScopeKind) -> (&'static str, &'static str) {
    match kind {
        ScopeKind::Key => ("key", "Key"),
        ScopeKind::User => ("user", "User"),
        ScopeKind::Team => ("team", "Team"),
        ScopeKind::TeamMember => ("team_member", "Team Member"),
        ScopeKind::Organization => ("organization", "Organization"),
        ScopeKind::EndUser => ("end_user", "End User"),
        ScopeKind::Tag => ("tag", "Tag"),
        ScopeKind::Proxy => ("proxy", "Proxy"),
    }
}

fn alert(fact: &Fact, caller: &Principal) -> BudgetAlert {
    let (group, whose) = group(fact.kind);
    let model = fact.window.map(|window| match fact.model.as_deref() {
        Some(model) if !model.is_empty() => format!("model {model}"),
        _ => format!("window of {} s", window.as_secs()),
    });
    let tag = (fact.kind == ScopeKind::Tag).then(|| fact.id.clone());
    // A budget of many is told without the one whose call reached it.
    let of_all = fact.kind == ScopeKind::Proxy || fact.kind == ScopeKind::Tag;
    let own = |value: &Option<String>| match of_all {
        true => String::new(),
        false => value.clone().unwrap_or_default(),
    };
    let key = caller.key_hash.as_ref().map(|key| key.as_str().to_owned());
    let customer = (fact.kind == ScopeKind::EndUser).then(|| fact.id.clone());
    let emails = match fact.crossing {
        Crossing::Soft => soft_emails(fact.kind, caller),
        _ => String::new(),
    };
    BudgetAlert {
        event: match fact.crossing {
            Crossing::Soft => BudgetEvent::SoftCrossed,
            Crossing::Projected => BudgetEvent::Projected,
            Crossing::Threshold15 => BudgetEvent::Left(15),
            Crossing::Threshold5 => BudgetEvent::Left(5),
            Crossing::Max => BudgetEvent::Crossed,
        },
        group,
        whose,
        which: tag.or(model),
        spend: fact.spent,
        max: fact.max,
        soft: fact.soft,
        projected: fact
            .projected
            .map(|(spend, when)| (spend, when.strftime("%Y-%m-%d").to_string())),
        who: vec![
            ("token", own(&key)),
            ("customer_id", customer.unwrap_or_default()),
            ("user_id", own(&caller.user_id)),
            ("team_id", own(&caller.team_id)),
            ("team_alias", own(&caller.team_alias)),
            ("organization_id", own(&caller.org_id)),
            ("user_email", own(&caller.user_email)),
            ("key_alias", own(&caller.key_alias)),
            ("alert_emails", emails),
        ],
    }
}

/// Who gets mail when a soft budget is reached: `metadata.soft_budget_alerting_emails` of the team or key.
fn soft_emails(kind: ScopeKind, caller: &Principal) -> String {
    let metadata = match kind {
        ScopeKind::Team => &caller.team_metadata,
        ScopeKind::Key => &caller.metadata,
        _ => return String::new(),
    };
    let listed = match metadata.get("soft_budget_alerting_emails") {
        Some(Value::Array(listed)) => listed.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(one)) => vec![one.as_str()],
        _ => Vec::new(),
    };
    listed.join(",")
}
