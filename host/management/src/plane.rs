//! The control plane at work: the rows, the settings of the day, and who must hear of changes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::Value;
use witgate_identity::{Guesses, MasterKey};
use witgate_metering::ResetClock;
use witgate_store::Store;

use crate::cost_map::PriceSource;
use crate::deeds::Herald;
use crate::key_texts::TextKeeper;
use crate::letters::Post;
use crate::operation::{Operation, Outcome, Who};
use crate::policy::{KeyAction, KeyPolicy};
use crate::{Ask, Refusal};

/// How often an operation that somebody else's change overtook is done anew.
const TRIES: usize = 8;

/// What changed, for those who keep it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// A key, by its hash.
    Key(String),
    /// An end user, by id.
    EndUser(String),
    /// A tag, by name.
    Tag(String),
    /// Models or credentials of the database.
    Models,
    /// A row of the configuration in the database.
    Config,
    /// What many keys share: a team, a user, an organization, a budget.
    Shared,
    /// The spend of something was set to this many US dollars: LiteLLM's counter of it.
    Spend {
        /// What.
        kind: witgate_identity::ScopeKind,
        /// Which.
        id: String,
        /// To how much.
        spent: rust_decimal::Decimal,
    },
}

/// Hears of changes. What it keeps of the old is wrong from then on.
pub trait Watch: Send + Sync {
    /// Something changed.
    fn changed(&self, what: &Changed);
}

/// Nobody keeps anything: commands that look once.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn changed(&self, _: &Changed) {}
}

/// A key of the configuration, for those who set it.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name in its section.
    pub name: String,
    /// What it holds, in a word or two.
    pub kind: String,
    /// What it does.
    pub doc: String,
    /// What it is without being set, in words.
    pub default: String,
}

/// A guardrail or provider that can be named, and what it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// What the configuration calls it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// Its parameters.
    pub params: Vec<Param>,
}

/// A parameter of a [`Choice`].
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// The type of its value, in a word.
    pub kind: String,
    /// What it does.
    pub doc: String,
    /// Whether nothing goes without it.
    pub required: bool,
    /// What it is without being given; null when that is nothing.
    pub default: Value,
}

/// The configuration that the process serves, for operations that change what the database holds of it.
#[async_trait]
pub trait Configuration: Send + Sync {
    /// Puts in force what the database holds now. What of it cannot be served is left out: the row, and why.
    ///
    /// # Errors
    /// Why nothing was changed.
    async fn apply(&self) -> Result<BTreeMap<String, String>, Vec<String>>;
    /// What is wrong with a setting, if something is.
    fn fault(&self, section: &str, key: &str, value: &Value) -> Option<String>;
    /// The keys of a section that can be stored.
    fn settings(&self, section: &str) -> Vec<Setting>;
    /// Whether the files declare a setting, and so it is theirs.
    fn of_file(&self, section: &str, key: &str) -> bool;
    /// The configuration in force, every secret masked.
    fn shown(&self) -> Value;
    /// The parameters of the cache in force, also those that variables give; secrets masked.
    fn cache(&self) -> serde_json::Map<String, Value>;
    /// Reaches the Redis of these parameters of a cache, once.
    ///
    /// # Errors
    /// Why it cannot be reached.
    async fn try_cache(&self, params: serde_json::Map<String, Value>) -> Result<(), String>;
    /// Whether a parameter or variable of this name holds a secret.
    fn is_secret(&self, name: &str) -> bool;
    /// The guardrails that can be added by their names.
    ///
    /// # Errors
    /// Why plugins cannot be looked at.
    async fn guardrails(&self) -> Result<Vec<Choice>, String>;
    /// The providers that deployments can name.
    ///
    /// # Errors
    /// Why plugins cannot be looked at.
    async fn providers(&self) -> Result<Vec<Choice>, String>;
    /// Which price map is in force.
    fn prices(&self) -> PriceSource;
    /// Fetches the price map and puts it in force; how many models it prices.
    ///
    /// # Errors
    /// Why the one in force stays.
    async fn fetch_prices(&self) -> Result<usize, String>;
    /// When the price map is to be fetched has changed.
    fn prices_scheduled(&self);
}

/// The part of the configuration that the control plane goes by.
#[derive(Clone)]
pub struct Settings {
    /// The admin's key: no virtual key may be equal to it.
    pub master: Option<MasterKey>,
    /// `custom_key_generate`; asked for changes, too, when there is no other for them.
    pub policy: Option<Arc<dyn KeyPolicy>>,
    /// `custom_key_update`
    pub update_policy: Option<Arc<dyn KeyPolicy>>,
    /// `LITELLM_KEY_ROTATION_GRACE_PERIOD`: how long the old text of a rotated key stays good when nothing else is said.
    pub rotation_grace: Option<String>,
    /// The configuration as it was written, variables filled in.
    pub config: Arc<Value>,
    /// `litellm_settings.timezone` and `budget_reset_time`: when a budget's day begins.
    pub clock: ResetClock,
    /// `LENGTH_OF_LITELLM_GENERATED_KEY`: random bytes in a new key.
    pub key_bytes: usize,
    /// `DISABLE_KEY_NAME`: the last four characters of a key are not kept.
    pub hides_key_names: bool,
    /// `LITELLM_SALT_KEY`, else the master key: what secrets in the database are encrypted with.
    pub salt: Option<zeroize::Zeroizing<String>>,
    /// `store_model_in_db`
    pub stores_models: bool,
    /// `litellm_settings.key_alias_pattern`, between anchors.
    pub key_alias_pattern: Option<regex::Regex>,
    /// `DEFAULT_SOFT_BUDGET`, US dollars.
    pub soft_budget: Option<f64>,
    /// `MAX_TEAM_LIST_LIMIT`: most teams in a list that has no pages.
    pub teams_most: Option<u64>,
    /// How tokens are counted.
    pub counting: witgate_wire::tokens::Counting,
    /// What models cost by their size that have no price.
    pub classes: witgate_wire::prices::SizeClasses,
    /// `DAYS_IN_A_MONTH`: days that `/model/metrics` looks back when nothing else is asked.
    pub metrics_days: Option<u32>,
    /// What a UI is told at its start.
    pub ui: crate::UiSettings,
}

impl Settings {
    /// A key of `litellm_settings`, when it is set.
    #[must_use]
    pub fn litellm(&self, key: &str) -> Option<&Value> {
        let value = self.config.get("litellm_settings")?.get(key)?;
        (!value.is_null()).then_some(value)
    }

    /// A key of `general_settings`, when it is set.
    #[must_use]
    pub fn general(&self, key: &str) -> Option<&Value> {
        let value = self.config.get("general_settings")?.get(key)?;
        (!value.is_null()).then_some(value)
    }

    /// Whether the operator's configuration has a log sink of this name: teams and keys may name no other.
    ///
    /// # Errors
    /// When it has not.
    pub(crate) fn has_sink(&self, name: &str) -> Result<(), Refusal> {
        let litellm = self.config.get("litellm_settings");
        let lists = ["callbacks", "success_callback", "failure_callback"];
        let holds = |of: &Value| {
            let mut listed = lists.iter().filter_map(|list| of.get(list));
            listed.any(|list| {
                list == name
                    || list
                        .as_array()
                        .is_some_and(|l| l.iter().any(|one| one == name))
            })
        };
        let teams = || litellm?.get("default_team_settings")?.as_array();
        let known = litellm.is_some_and(holds) || teams().into_iter().flatten().any(holds);
        match known {
            true => Ok(()),
            false => {
                let message = format!(
                    "{name:?} is no log sink of this gateway: an operator lists it in litellm_settings.callbacks, or for teams alone in default_team_settings"
                );
                Err(Refusal::bad(message).param("callback_name"))
            }
        }
    }

    /// Who judges this of a key, and the key of the configuration that says so.
    pub(crate) fn judge_of(&self, action: KeyAction) -> Option<(Arc<dyn KeyPolicy>, &'static str)> {
        let own = match action {
            KeyAction::Generate => None,
            KeyAction::Update => self.update_policy.clone(),
        };
        let shared = || Some((self.policy.clone()?, "custom_key_generate"));
        own.map(|policy| (policy, "custom_key_update"))
            .or_else(shared)
    }

    /// Whether a key of `litellm_settings` is true.
    #[must_use]
    pub fn litellm_flag(&self, key: &str) -> bool {
        self.litellm(key).and_then(Value::as_bool).unwrap_or(false)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            master: None,
            policy: None,
            update_policy: None,
            rotation_grace: None,
            config: Arc::default(),
            clock: ResetClock::default(),
            key_bytes: witgate_identity::KEY_BYTES,
            hides_key_names: false,
            salt: None,
            stores_models: false,
            key_alias_pattern: None,
            soft_budget: None,
            teams_most: None,
            classes: witgate_wire::prices::SizeClasses::default(),
            metrics_days: None,
            counting: witgate_wire::tokens::Counting::default(),
            ui: crate::UiSettings::default(),
        }
    }
}

/// Whether a key is one that an identity provider provisions with. Nobody but an administrator gives a key these routes.
fn provisions(ask: &Ask) -> bool {
    let mut routes = ask.caller.allowed_routes.iter();
    ask.caller.key_hash.is_some() && routes.any(|route| is_for_provisioning(route))
}

/// Whether an entry of `allowed_routes` names SCIM's routes, and not only among all others.
pub(crate) fn is_for_provisioning(route: &str) -> bool {
    route == "/scim/*" || route.starts_with("/scim/")
}

/// The control plane.
pub struct ControlPlane {
    /// The rows.
    pub store: Store,
    /// The settings; replaced whole when the configuration is loaded anew.
    pub settings: ArcSwap<Settings>,
    watch: Arc<dyn Watch>,
    configuration: OnceLock<Arc<dyn Configuration>>,
    pub(crate) carrier: OnceLock<Arc<dyn Post>>,
    pub(crate) keeper: OnceLock<Arc<dyn TextKeeper>>,
    pub(crate) herald: OnceLock<Arc<dyn Herald>>,
    /// Wrong present passwords, by user.
    pub(crate) guesses: Guesses,
}

impl ControlPlane {
    /// A control plane over these rows.
    pub fn new(store: Store, settings: Settings, watch: Arc<dyn Watch>) -> Self {
        Self {
            store,
            settings: ArcSwap::from_pointee(settings),
            watch,
            configuration: OnceLock::new(),
            carrier: OnceLock::new(),
            keeper: OnceLock::new(),
            herald: OnceLock::new(),
            guesses: Guesses::default(),
        }
    }

    /// Says whose configuration it is; once.
    pub fn serves(&self, configuration: Arc<dyn Configuration>) {
        // Set once per process.
        let _ = self.configuration.set(configuration);
    }

    /// Says who carries letters; once.
    pub fn posts_with(&self, post: Arc<dyn Post>) {
        // Set once per process.
        let _ = self.carrier.set(post);
    }

    /// Says who tells of what is done; once.
    pub fn heralded_by(&self, herald: Arc<dyn Herald>) {
        // Set once per process.
        let _ = self.herald.set(herald);
    }

    /// Says who keeps the texts of keys; once.
    pub fn keeps_texts_with(&self, keeper: Arc<dyn TextKeeper>) {
        // Set once per process.
        let _ = self.keeper.set(keeper);
    }

    /// The configuration that the process serves.
    pub(crate) fn configuration(&self) -> Result<&Arc<dyn Configuration>, Refusal> {
        let found = self.configuration.get();
        found.ok_or_else(|| {
            Refusal::error(503, "internal_error", "the gateway is starting; ask again")
        })
    }

    /// Does an operation, when the caller may ask for it.
    ///
    /// # Errors
    /// Why not.
    pub async fn answer(&self, operation: &'static Operation, ask: Ask) -> Outcome {
        let role = ask.caller.role.as_ref();
        use witgate_identity::Role::{InternalUserViewer, ProxyAdmin, ProxyAdminViewer};
        let allowed = match operation.who {
            Who::Admin => role == Some(&ProxyAdmin),
            Who::Viewer => matches!(role, Some(ProxyAdmin | ProxyAdminViewer)),
            Who::Member => !matches!(role, Some(ProxyAdminViewer | InternalUserViewer)),
            Who::Anyone => true,
            Who::Provisioner => role == Some(&ProxyAdmin) || provisions(&ask),
        };
        if !allowed {
            return Err(ask.admin_only());
        }
        ask.without_nul()?;
        let mut outcome = (operation.run)(self, ask.clone()).await;
        for _ in 0..TRIES {
            if !matches!(outcome, Err(Refusal::Raced)) {
                break;
            }
            outcome = (operation.run)(self, ask.clone()).await;
        }
        match &outcome {
            Ok(_) => self.herald(operation, &ask),
            Err(Refusal::Unavailable(why)) => {
                tracing::error!(operation = operation.name(), "the database failed: {why}");
            }
            Err(_) => {}
        }
        outcome
    }

    /// Tells of a change.
    pub fn changed(&self, what: Changed) {
        self.watch.changed(&what);
    }
}
