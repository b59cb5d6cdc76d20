//! What happened to a budget, in LiteLLM's words and with the fields of its webhook event.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{AlertKind, Draft, Level};

/// What happened, by LiteLLM's names of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetEvent {
    /// `soft_budget_crossed`
    SoftCrossed,
    /// `projected_limit_exceeded`
    Projected,
    /// `threshold_crossed`: so many percent or less are left.
    Left(u8),
    /// `budget_crossed`
    Crossed,
}

impl BudgetEvent {
    /// LiteLLM's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SoftCrossed => "soft_budget_crossed",
            Self::Projected => "projected_limit_exceeded",
            Self::Left(_) => "threshold_crossed",
            Self::Crossed => "budget_crossed",
        }
    }
}

/// What happened to whose budget.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetAlert {
    /// What.
    pub event: BudgetEvent,
    /// LiteLLM's `event_group`: `key`, `team`, `user`, …
    pub group: &'static str,
    /// Whose, in the message: `Key`, `Team`, …
    pub whose: &'static str,
    /// What the fields of the event do not name: a tag, a model.
    pub which: Option<String>,
    /// US dollars spent.
    pub spend: Decimal,
    /// The budget.
    pub max: Option<Decimal>,
    /// The soft budget.
    pub soft: Option<Decimal>,
    /// What will be spent by the end of the period, and the day on which the soft budget will be passed.
    pub projected: Option<(Decimal, String)>,
    /// The further fields of the event, by LiteLLM's names; empty ones are left out.
    pub who: Vec<(&'static str, String)>,
}

impl BudgetAlert {
    /// LiteLLM's `event_message`.
    fn message(&self) -> String {
        let whose = self.whose;
        let which = self.which.as_ref();
        let which = which.map(|which| format!(" ({which})")).unwrap_or_default();
        let total = |amount: Option<Decimal>| amount.map(float).unwrap_or_default();
        match self.event {
            BudgetEvent::SoftCrossed => format!(
                "Soft Budget Crossed: {whose}{which}: Total Soft Budget:`{}`",
                total(self.soft)
            ),
            BudgetEvent::Projected => format!("{whose} Budget{which}: Projected Limit Exceeded"),
            BudgetEvent::Left(percent) => {
                format!("{whose} Budget{which}: {percent}% or less of budget remaining")
            }
            BudgetEvent::Crossed => format!(
                "{whose} Budget{which}: Budget Crossed\n Total Budget:`{}`",
                total(self.max)
            ),
        }
    }

    /// The alert: its fields are those of LiteLLM's event.
    pub(super) fn draft(&self) -> Draft {
        let message = self.message();
        let title = message.replace('\n', "");
        let mut draft = Draft::new(AlertKind::BudgetAlerts, Level::High, title);
        let amount = |amount: Option<Decimal>| amount.map(float).unwrap_or_default();
        draft = draft
            .field("spend", &float(self.spend))
            .field("max_budget", &amount(self.max))
            .field("soft_budget", &amount(self.soft));
        for (name, value) in &self.who {
            draft = draft.field(name, value);
        }
        if let Some((spend, date)) = &self.projected {
            draft = draft
                .field("projected_exceeded_date", date)
                .field("projected_spend", &float(*spend));
        }
        draft
            .field("event_group", self.group)
            .field("event", self.event.as_str())
            .field("event_message", &message)
    }
}

/// As Python writes a float.
pub(super) fn float(amount: Decimal) -> String {
    format!("{:?}", amount.to_f64().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_has_litellms_words_and_fields() {
        let alert = |event| BudgetAlert {
            event,
            group: "key",
            whose: "Key",
            which: None,
            spend: Decimal::new(95, 1),
            max: Some(Decimal::TEN),
            soft: Some(Decimal::ONE),
            projected: None,
            who: vec![("key_alias", "ci".to_owned()), ("user_id", String::new())],
        };
        let title = |event| alert(event).draft().title;
        assert_eq!(
            title(BudgetEvent::Crossed),
            "Key Budget: Budget Crossed Total Budget:`10.0`"
        );
        assert_eq!(
            title(BudgetEvent::Left(5)),
            "Key Budget: 5% or less of budget remaining"
        );
        assert_eq!(
            title(BudgetEvent::SoftCrossed),
            "Soft Budget Crossed: Key: Total Soft Budget:`1.0`"
        );
        let draft = alert(BudgetEvent::Crossed).draft();
        let fields: Vec<(&str, &str)> = draft
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("spend", "9.5"),
                ("max_budget", "10.0"),
                ("soft_budget", "1.0"),
                ("key_alias", "ci"),
                ("event_group", "key"),
                ("event", "budget_crossed"),
                (
                    "event_message",
                    "Key Budget: Budget Crossed\n Total Budget:`10.0`"
                ),
            ]
        );
    }
}
