//! What happened to a budget that somebody may want to hear of.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use witgate_identity::ScopeKind;

use super::account::{Account, State};

/// What was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Crossing {
    /// The soft budget: an alert and no more.
    Soft,
    /// By the pace of the period, the soft budget will be passed before its end.
    Projected,
    /// 15 % or less is left.
    Threshold15,
    /// 5 % or less is left.
    Threshold5,
    /// Nothing is left.
    Max,
}

/// What happened to a budget. Each happens once in a period at most; where there is none, once in [`Books::silence`](super::Books::silence).
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What was reached.
    pub crossing: Crossing,
    /// Whose budget it is.
    pub kind: ScopeKind,
    /// Which one.
    pub id: String,
    /// How it is called otherwise.
    pub alias: Option<String>,
    /// The model, for the budget of one; empty for all of them.
    pub model: Option<String>,
    /// The window, for a budget that has one.
    pub window: Option<Duration>,
    /// US dollars spent.
    pub spent: Decimal,
    /// The budget.
    pub max: Option<Decimal>,
    /// The soft budget.
    pub soft: Option<Decimal>,
    /// Until then it is not told again, of this period.
    pub until: Timestamp,
    /// What will be spent by the end of the period, and when the soft budget will be passed; for [`Crossing::Projected`].
    pub projected: Option<(Decimal, Timestamp)>,
}

/// Until when each is not told again.
#[derive(Debug, Default)]
pub(super) struct Told([Option<Timestamp>; 5]);

impl State {
    /// Adds what has happened and was not told lately.
    pub(super) fn facts(
        &mut self,
        account: &Account,
        now: Timestamp,
        silence: SignedDuration,
        facts: &mut Vec<Fact>,
    ) {
        if self.terms.max.is_none() && self.terms.soft.is_none() {
            return;
        }
        let spent = self.spent(account, now);
        let projected = self.projected(spent, now);
        // Of what is left, only the least is told.
        let left = self.terms.max.and_then(|max| {
            let left = |percent: i64| max - spent <= max * Decimal::new(percent, 2);
            let steps = [
                (spent >= max, Crossing::Max),
                (left(5), Crossing::Threshold5),
                (left(15), Crossing::Threshold15),
            ];
            steps
                .into_iter()
                .find_map(|(is, crossing)| is.then_some(crossing))
        });
        let reached = [
            self.terms
                .soft
                .filter(|soft| spent >= *soft)
                .map(|_| Crossing::Soft),
            projected.map(|_| Crossing::Projected),
            left,
        ];
        let ends = self.ends(account).filter(|ends| *ends > now);
        let until = ends.unwrap_or_else(|| now.saturating_add(silence).unwrap_or(Timestamp::MAX));
        for crossing in reached.into_iter().flatten() {
            let told = &mut self.told.0[crossing as usize];
            if told.is_some_and(|until| now < until) {
                continue;
            }
            *told = Some(until);
            facts.push(Fact {
                crossing,
                kind: account.kind,
                id: account.id.to_string(),
                alias: self.terms.alias.as_deref().map(str::to_owned),
                model: account.model.as_ref().map(|(model, _)| model.to_string()),
                window: account.model.as_ref().map(|(_, window)| *window),
                spent,
                max: self.terms.max,
                soft: self.terms.soft,
                until,
                projected: projected.filter(|_| crossing == Crossing::Projected),
            });
        }
    }

    /// When the period or the window that runs is over.
    fn ends(&self, account: &Account) -> Option<Timestamp> {
        match (&account.model, self.window_start) {
            (None, _) => self.resets_at,
            (Some((_, length)), Some(start)) => {
                let length = i64::try_from(length.as_secs()).ok()?;
                Timestamp::from_second(start.checked_add(length)?).ok()
            }
            (Some(_), None) => None,
        }
    }

    /// What will be spent by the end of the period and when the soft budget will be passed, when it will and has not been yet. Asked
    /// from the second day on: the pace of a first call says nothing.
    fn projected(&self, spent: Decimal, now: Timestamp) -> Option<(Decimal, Timestamp)> {
        let (soft, since, ends) = (self.terms.soft?, self.terms.since?, self.resets_at?);
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs();
        let (passed, whole) = (seconds(since, now), seconds(since, ends));
        if spent >= soft || passed < 24 * 3600 {
            return None;
        }
        let (passed, whole) = (Decimal::from(passed), Decimal::from(whole));
        let at_the_end = spent.checked_mul(whole)?.checked_div(passed)?;
        if at_the_end <= soft {
            return None;
        }
        let until = soft
            .checked_mul(passed)?
            .checked_div(spent)?
            .ceil()
            .to_i64()?;
        let passes = since
            .checked_add(jiff::SignedDuration::from_secs(until))
            .ok()?;
        Some((at_the_end, passes))
    }
}
