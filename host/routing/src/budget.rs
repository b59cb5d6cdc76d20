//! Budgets of providers, deployments and tags: money per window.
//!
//! A window begins with the first cost and is over when more than its length has passed; the next
//! cost begins another one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use parking_lot::Mutex;

use crate::snapshot::Snapshot;
use crate::time::Now;

/// `{budget_limit, time_period}`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// US dollars.
    pub max: f64,
    /// Length of the window.
    pub window: Duration,
}

/// What a budget is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BudgetScope {
    /// All deployments of a provider.
    Provider,
    /// One deployment.
    Deployment,
    /// Requests with a tag.
    Tag,
}

impl Budget {
    /// The length of the window as the config would say it, such as `1d`.
    pub fn time_period(&self) -> String {
        let seconds = self.window.as_secs();
        let units = [(86_400, 'd'), (3600, 'h'), (60, 'm')];
        let unit = units
            .iter()
            .find(|(length, _)| seconds.is_multiple_of(*length));
        match unit.filter(|_| seconds > 0) {
            Some((length, letter)) => format!("{}{letter}", seconds / length),
            None => format!("{seconds}s"),
        }
    }
}

/// Where a budget stands.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetStatus {
    /// What it is for.
    pub scope: BudgetScope,
    /// The provider, the deployment's id, the tag.
    pub name: String,
    /// The budget.
    pub budget: Budget,
    /// US dollars spent in the present window.
    pub spend: f64,
    /// When the present window is over, seconds since 1970; `None` when none has begun.
    pub reset_unix_s: Option<u64>,
}

/// A budget as gateways share it.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetShare {
    /// What it is for.
    pub scope: BudgetScope,
    /// The provider, the deployment's id, the tag.
    pub name: String,
    /// Length of its window.
    pub window: Duration,
    /// When the present window began here; `None` when none has.
    pub start_unix_s: Option<u64>,
    /// US dollars that the others have not been told of.
    pub untold: f64,
    /// US dollars of the present window as they are known here: what a store has lost begins with them.
    pub spend: f64,
}

/// Read without a lock: every choice looks at every deployment's.
#[derive(Debug)]
struct Window {
    /// [`NEVER`] until the first cost.
    start_unix_s: AtomicU64,
    /// The bits of US dollars.
    spend: AtomicU64,
    /// The part of it that other gateways have not been told of. Held by whoever changes the others.
    untold: Mutex<f64>,
}

const NEVER: u64 = u64::MAX;

impl Default for Window {
    fn default() -> Self {
        Window {
            start_unix_s: AtomicU64::new(NEVER),
            spend: AtomicU64::new(0),
            untold: Mutex::new(0.0),
        }
    }
}

impl Window {
    fn start(&self) -> Option<u64> {
        Some(self.start_unix_s.load(Acquire)).filter(|start| *start != NEVER)
    }

    fn spend(&self) -> f64 {
        f64::from_bits(self.spend.load(Relaxed))
    }
}

#[derive(Debug)]
struct Account {
    scope: BudgetScope,
    name: String,
    budget: Budget,
    /// Shared with the account of the same name in other snapshots.
    window: Arc<Window>,
}

/// The accounts of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Budgets {
    /// Those of providers first.
    accounts: Vec<Account>,
    providers: usize,
    /// By deployment: its provider's account and its own.
    of_deployment: Vec<Vec<usize>>,
    of_tag: HashMap<String, usize>,
}

impl Budgets {
    /// Accounts for another snapshot; what was spent stays spent.
    pub(crate) fn continued(&self, snapshot: &Snapshot) -> Budgets {
        let mut new = Budgets::default();
        let settings = &snapshot.settings;
        for (provider, budget) in &settings.provider_budgets {
            self.open(&mut new, BudgetScope::Provider, provider, *budget);
        }
        let providers = new.accounts.len();
        new.providers = providers;
        for deployment in snapshot.deployments() {
            let of = new.accounts[..providers].iter();
            let of_provider = of.clone().position(|a| a.name == deployment.provider);
            let own = deployment.spec.budget;
            let own = own
                .map(|budget| self.open(&mut new, BudgetScope::Deployment, &deployment.id, budget));
            new.of_deployment
                .push(of_provider.into_iter().chain(own).collect());
        }
        for (tag, budget) in &settings.tag_budgets {
            let at = self.open(&mut new, BudgetScope::Tag, tag, *budget);
            new.of_tag.insert(tag.clone(), at);
        }
        new
    }

    fn open(&self, new: &mut Budgets, scope: BudgetScope, name: &str, budget: Budget) -> usize {
        let same =
            |a: &&Account| a.scope == scope && a.name == name && a.budget.window == budget.window;
        let known = self.accounts.iter().find(same);
        new.accounts.push(Account {
            scope,
            name: name.to_owned(),
            budget,
            window: known.map(|a| a.window.clone()).unwrap_or_default(),
        });
        new.accounts.len() - 1
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    fn bearing<'a>(
        &'a self,
        index: usize,
        tags: &'a [String],
    ) -> impl Iterator<Item = &'a Account> {
        let own = self.of_deployment.get(index).into_iter().flatten();
        let of_tags = tags.iter().filter_map(|tag| self.of_tag.get(tag));
        own.chain(of_tags).map(|at| &self.accounts[*at])
    }

    /// Whether a budget that bears on a deployment, or on these tags, is used up. Tags and providers
    /// are looked at once, not once for each deployment.
    pub(crate) fn spent(&self, tags: &[String], now: Now) -> impl FnMut(usize) -> bool {
        let mut of_tags = tags.iter().filter_map(|tag| self.of_tag.get(tag));
        let all_are = of_tags.any(|at| self.accounts[*at].is_spent(now));
        let providers = self.accounts[..self.providers].iter();
        let providers: Vec<bool> = providers.map(|account| account.is_spent(now)).collect();
        move |index| {
            let is_spent = |at: &usize| match providers.get(*at) {
                Some(is_spent) => *is_spent,
                None => self.accounts[*at].is_spent(now),
            };
            all_are || self.of_deployment[index].iter().any(is_spent)
        }
    }

    /// The budgets that are used up, in words.
    pub(crate) fn reasons(&self, index: usize, tags: &[String], now: Now) -> Vec<String> {
        let spent = self
            .bearing(index, tags)
            .filter(|account| account.is_spent(now));
        let words = |account: &Account| {
            let what = match account.scope {
                BudgetScope::Provider => "provider",
                BudgetScope::Deployment => "deployment",
                BudgetScope::Tag => "tag",
            };
            let (spend, max) = (account.spend(now), account.budget.max);
            format!(
                "Exceeded budget for {what} {}: {spend} >= {max}",
                account.name
            )
        };
        spent.map(words).collect()
    }

    /// Adds the cost of a call that succeeded.
    pub(crate) fn spend(&self, index: usize, tags: &[String], cost: f64, now: Now) {
        for account in self.bearing(index, tags) {
            account.add(cost, now);
        }
    }

    pub(crate) fn to_tell(&self, now: Now) -> Vec<BudgetShare> {
        let tell = |account: &Account| {
            let mut untold = account.window.untold.lock();
            // What a window that is over still owes is of no use to anybody.
            let is_over = account.is_over(now);
            let owed = std::mem::take(&mut *untold);
            BudgetShare {
                scope: account.scope,
                name: account.name.clone(),
                window: account.budget.window,
                start_unix_s: account.window.start().filter(|_| !is_over),
                untold: if is_over { 0.0 } else { owed },
                spend: account.spend(now),
            }
        };
        self.accounts.iter().map(tell).collect()
    }

    pub(crate) fn untold(&self, share: &BudgetShare) {
        if let Some(account) = self.accounts.iter().find(|account| account.is_of(share)) {
            let mut untold = account.window.untold.lock();
            // A window that began meanwhile owes nothing of the one before.
            if account.window.start() == share.start_unix_s {
                *untold += share.untold;
            }
        }
    }

    pub(crate) fn of_all(&self, share: &BudgetShare, start_unix_s: u64, spend: f64) {
        if let Some(account) = self.accounts.iter().find(|account| account.is_of(share)) {
            let window = &account.window;
            let untold = window.untold.lock();
            let mut spend = spend + *untold;
            // A window that runs has spent no less than is known here: the store may have lost its keys.
            if share.start_unix_s.is_some() && window.start() == share.start_unix_s {
                spend = spend.max(window.spend());
            }
            window.spend.store(spend.to_bits(), Relaxed);
            // Whoever sees the window sees its spend, too.
            window.start_unix_s.store(start_unix_s, Release);
        }
    }

    /// What the provider of a deployment may still spend in the present window, US dollars; `None` when
    /// it has no budget. Below zero when it was overdrawn.
    pub(crate) fn left_of_provider(&self, index: usize, now: Now) -> Option<f64> {
        let of = self.of_deployment.get(index)?.first()?;
        let account = self.accounts[..self.providers].get(*of)?;
        Some(account.budget.max - account.spend(now))
    }

    pub(crate) fn statuses(&self, now: Now) -> impl Iterator<Item = BudgetStatus> {
        self.accounts.iter().map(move |account| {
            let (start, length) = (account.window.start(), account.budget.window);
            let end = start.map(|start| start.saturating_add(length.as_secs()));
            BudgetStatus {
                scope: account.scope,
                name: account.name.clone(),
                budget: account.budget,
                spend: account.spend(now),
                reset_unix_s: end.filter(|end| *end >= now.unix_s),
            }
        })
    }
}

impl Account {
    fn is_of(&self, share: &BudgetShare) -> bool {
        self.scope == share.scope && self.name == share.name && self.budget.window == share.window
    }

    fn is_over(&self, now: Now) -> bool {
        let length = self.budget.window.as_secs();
        let start = self.window.start();
        start.is_none_or(|start| now.unix_s.saturating_sub(start) > length)
    }

    fn spend(&self, now: Now) -> f64 {
        if self.is_over(now) {
            0.0
        } else {
            self.window.spend()
        }
    }

    fn is_spent(&self, now: Now) -> bool {
        self.spend(now) >= self.budget.max
    }

    fn add(&self, cost: f64, now: Now) {
        let window = &self.window;
        let mut untold = window.untold.lock();
        let is_over = self.is_over(now);
        let (before, owed) = if is_over {
            (0.0, 0.0)
        } else {
            (window.spend(), *untold)
        };
        *untold = owed + cost;
        window.spend.store((before + cost).to_bits(), Relaxed);
        if is_over {
            // Whoever sees the new window sees its spend, too.
            window.start_unix_s.store(now.unix_s, Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeploymentSpec, RoutingSettings, Snapshot};

    fn at(unix_s: u64) -> Now {
        Now {
            unix_s,
            ..Now::default()
        }
    }

    fn budget(max: f64, window_s: u64) -> Budget {
        Budget {
            max,
            window: Duration::from_secs(window_s),
        }
    }

    fn snapshot(settings: RoutingSettings, own: Option<Budget>) -> Snapshot {
        let spec = |model: &str, budget| DeploymentSpec {
            model_group: "g".into(),
            model: model.into(),
            id: Some(model.into()),
            budget,
            ..DeploymentSpec::default()
        };
        let specs = vec![
            spec("openai/a", own),
            spec("openai/b", None),
            spec("azure/c", None),
        ];
        Snapshot::build(specs, settings)
    }

    #[test]
    fn a_provider_a_deployment_and_a_tag_have_their_budgets() {
        let mut settings = RoutingSettings::default();
        settings
            .provider_budgets
            .insert("openai".into(), budget(3.0, 3600));
        settings.tag_budgets.insert("x".into(), budget(1.0, 3600));
        let snapshot = snapshot(settings, Some(budget(2.0, 3600)));
        let budgets = Budgets::default().continued(&snapshot);
        let none: &[String] = &[];
        let x = &["x".to_owned()][..];
        let spent = |tags: &[String]| {
            (0..3)
                .filter(|i| budgets.spent(tags, at(10))(*i))
                .collect::<Vec<_>>()
        };
        budgets.spend(0, none, 1.999, at(0));
        assert_eq!(spent(none), Vec::<usize>::new());
        budgets.spend(0, none, 0.001, at(0));
        assert_eq!(spent(none), [0]);
        budgets.spend(1, none, 1.0, at(1));
        assert_eq!(spent(none), [0, 1], "3.0 >= 3.0");
        budgets.spend(2, x, 1.0, at(1));
        assert_eq!(spent(none), [0, 1]);
        assert_eq!(spent(x), [0, 1, 2]);
        let reasons = budgets.reasons(0, x, at(10));
        assert_eq!(reasons.len(), 3, "{reasons:?}");
        let statuses: Vec<f64> = budgets.statuses(at(10)).map(|s| s.spend).collect();
        assert_eq!(statuses, [3.0, 2.0, 1.0]);
    }

    #[test]
    fn a_period_is_told_as_it_is_written() {
        for (seconds, text) in [
            (86_400, "1d"),
            (30 * 86_400, "30d"),
            (5400, "90m"),
            (7200, "2h"),
            (45, "45s"),
            (0, "0s"),
        ] {
            assert_eq!(budget(1.0, seconds).time_period(), text);
        }
    }

    #[test]
    fn what_a_provider_has_left_is_its_own_and_nobody_elses() {
        let mut settings = RoutingSettings::default();
        settings
            .provider_budgets
            .insert("openai".into(), budget(3.0, 3600));
        let snapshot = snapshot(settings, Some(budget(2.0, 3600)));
        let budgets = Budgets::default().continued(&snapshot);
        budgets.spend(0, &[], 3.5, at(0));
        assert_eq!(budgets.left_of_provider(1, at(1)), Some(-0.5));
        assert_eq!(budgets.left_of_provider(2, at(1)), None);
        assert_eq!(budgets.left_of_provider(0, at(3601)), Some(3.0));
    }

    #[test]
    fn a_budget_of_its_own_is_not_the_providers() {
        let snapshot = snapshot(RoutingSettings::default(), Some(budget(2.0, 3600)));
        let budgets = Budgets::default().continued(&snapshot);
        assert_eq!(budgets.left_of_provider(0, at(0)), None);
    }

    /// A window of an hour that begins at 0.
    #[test]
    fn a_window_ends_when_more_than_its_length_has_passed() {
        let snapshot = snapshot(RoutingSettings::default(), Some(budget(2.0, 3600)));
        let spend = |second: u64| {
            let budgets = Budgets::default().continued(&snapshot);
            budgets.spend(0, &[], 1.5, at(0));
            budgets.spend(0, &[], 0.5, at(second));
            budgets.statuses(at(second)).next().unwrap().spend
        };
        assert_eq!(spend(3600), 2.0);
        assert_eq!(spend(3601), 0.5);
    }

    #[test]
    fn what_was_spent_outlives_a_configuration() {
        let first = snapshot(RoutingSettings::default(), Some(budget(2.0, 3600)));
        let budgets = Budgets::default().continued(&first);
        budgets.spend(0, &[], 2.0, at(0));
        let raised = snapshot(RoutingSettings::default(), Some(budget(3.0, 3600)));
        let raised = budgets.continued(&raised);
        assert!(!raised.spent(&[], at(1))(0));
        raised.spend(0, &[], 1.0, at(1));
        assert!(raised.spent(&[], at(1))(0));
        assert_eq!(
            budgets.statuses(at(1)).next().unwrap().spend,
            3.0,
            "one account"
        );
    }

    /// Two gateways add to one account.
    #[test]
    fn gateways_share_what_they_spend() {
        let snapshot = snapshot(RoutingSettings::default(), Some(budget(2.0, 3600)));
        let here = Budgets::default().continued(&snapshot);
        let there = Budgets::default().continued(&snapshot);
        here.spend(0, &[], 1.5, at(10));
        there.spend(0, &[], 0.25, at(20));
        // A store that all share, and who began its window.
        let (mut total, start) = (0.0, 10);
        let shares = here.to_tell(at(30));
        assert_eq!((shares[0].untold, shares[0].start_unix_s), (1.5, Some(10)));
        total += shares[0].untold;
        let share = there.to_tell(at(30)).remove(0);
        // It cannot be told, and something is spent meanwhile.
        there.untold(&share);
        there.spend(0, &[], 0.25, at(31));
        there.of_all(&share, start, total);
        let spend = |budgets: &Budgets| budgets.statuses(at(32)).next().unwrap().spend;
        assert_eq!(spend(&there), 2.0);
        assert!(there.spent(&[], at(32))(0) && !here.spent(&[], at(32))(0));
        let share = there.to_tell(at(33)).remove(0);
        assert_eq!(share.untold, 0.5);
        total += share.untold;
        here.of_all(&share, start, total);
        assert_eq!(spend(&here), 2.0);
        // The store has lost what it had, and somebody has begun a window there.
        let share = here.to_tell(at(40)).remove(0);
        assert_eq!(share.spend, 2.0);
        here.of_all(&share, 40, 0.25);
        assert_eq!(spend(&here), 2.0);
        here.of_all(&share, start, total);
        let over = here.to_tell(at(3641)).remove(0);
        assert_eq!((over.start_unix_s, over.untold), (None, 0.0));
    }
}
