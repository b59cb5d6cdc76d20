//! What a key, an end user and a tag are in the database: who pays and answers for a call, with which limits.
//!
//! Read behind a cache, never for a request that finds it there. Names, precedence and defaults are LiteLLM's
//! (`get_data(table_name="combined_view")` and `common_checks`): a budget row fills in what its owner leaves open, a
//! user's budget bears on personal keys only, and lists that restrict and cannot be read allow nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use witgate_identity::{
    Budget, BudgetWindow, KeyHash, Limits, ModelList, Principal, Role, Scope, ScopeKind, VirtualKey,
};
use witgate_metering::stored_model_scopes;
use witgate_store::{Filter, Is, Row, Select, StoreError};

use crate::ControlPlane;
use crate::access_groups::widened;
use crate::fields::moment;
use crate::plane::Settings;

/// The user whose spend is that of the whole gateway.
pub use witgate_store::PROXY_USER;

/// The window of a budget whose own cannot be read.
const DAY_S: u64 = 86_400;

const WINDOWS: &str = witgate_store::WINDOWS;

/// Tags with budgets that are kept at most.
const TAGS_MAX: u64 = 10_000;

/// Nothing: what an unreadable list allows.
pub(crate) const NOTHING: &str = "no-default-models";

/// An end user of the database.
#[derive(Debug, Clone, PartialEq)]
pub struct EndUser {
    /// Limits and budget.
    pub scope: Arc<Scope>,
    /// Whether an administrator blocked them.
    pub blocked: bool,
    /// `eu` or `us`: only deployments there serve them.
    pub allowed_model_region: Option<String>,
    /// The model of their calls that name none.
    pub default_model: Option<String>,
}

impl ControlPlane {
    /// The key with this hash; `None` when there is none.
    pub async fn virtual_key(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Option<VirtualKey>, StoreError> {
        let rows = self.key_rows(hash).await?;
        Ok(rows.map(|rows| self.key_of(&rows, now)))
    }

    /// The rows that a key is made of.
    pub async fn key_rows(&self, hash: &str) -> Result<Option<KeyRows>, StoreError> {
        let Some(key) = self.store.row(crate::keys::TABLE, "token", hash).await? else {
            return Ok(None);
        };
        let linked = self.linked(&key).await?;
        Ok(Some(KeyRows { key, linked }))
    }

    /// The key that rows make.
    pub fn key_of(&self, rows: &KeyRows, now: Timestamp) -> VirtualKey {
        virtual_key(&self.settings.load_full(), &rows.key, &rows.linked, now)
    }

    /// Rows of a key for others on the same database: nobody without the salt can read or make them, and they are for this key and
    /// this generation alone.
    pub fn seal_rows(
        &self,
        rows: &KeyRows,
        hash: &str,
        generation: &str,
        now: Timestamp,
    ) -> Option<String> {
        let settings = self.settings.load();
        let salt = settings.salt.as_ref().filter(|salt| !salt.is_empty())?;
        let entry = Sealed {
            purpose: PURPOSE.to_owned(),
            hash: hash.to_owned(),
            generation: generation.to_owned(),
            at_ms: now.as_millisecond(),
            rows: Cow::Borrowed(rows),
        };
        crate::Seal::of(salt).close(&serde_json::to_string(&entry).ok()?)
    }

    /// Rows that somebody sealed so, and how old they are; `None` when they are not for this key and generation, older than
    /// `ttl`, or from a time to come.
    pub fn open_rows(
        &self,
        sealed: &str,
        hash: &str,
        generation: &str,
        ttl: Duration,
        now: Timestamp,
    ) -> Option<(KeyRows, Duration)> {
        let settings = self.settings.load();
        let salt = settings.salt.as_ref().filter(|salt| !salt.is_empty())?;
        let crate::seal::Opened::Sealed(text) = crate::Seal::of(salt).open(sealed) else {
            return None;
        };
        let entry: Sealed<'_> = serde_json::from_str(&text).ok()?;
        let age_ms = now.as_millisecond().checked_sub(entry.at_ms)?;
        // Clocks of gateways differ a little.
        let age = Duration::from_millis(u64::try_from(age_ms.max(0)).ok()?);
        let own = entry.rows.key.get("token").and_then(Value::as_str);
        let is_good = entry.purpose == PURPOSE
            && entry.hash == hash
            && own == Some(hash)
            && entry.generation == generation
            && age_ms > -SKEW_MS
            && age < ttl;
        is_good.then(|| (entry.rows.into_owned(), age))
    }

    pub(crate) async fn linked(&self, key: &Row) -> Result<Linked, StoreError> {
        let text =
            |row: &Row, column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
        let mut linked = Linked {
            budget: self.budget(text(key, "budget_id")).await?,
            ..Linked::default()
        };
        let (team, user) = (text(key, "team_id"), text(key, "user_id"));
        let has_windows = |row: &Row| !windows(row.get("budget_limits"), &[], ("", "")).is_empty();
        let mut windowed = Vec::new();
        if has_windows(key) {
            windowed.extend(text(key, "token"));
        }
        if let Some(user) = &user {
            linked.user = self.store.row("LiteLLM_UserTable", "user_id", user).await?;
        }
        let mut organization = text(key, "organization_id");
        if let Some(id) = &team
            && let Some(team) = self.team(id).await?
        {
            if has_windows(&team) {
                windowed.push(id.clone());
            }
            organization = organization.or(text(&team, "organization_id"));
            if let Some(model_id) = team.get("model_id").and_then(Value::as_i64) {
                let filter = Filter::by("id", model_id);
                let rows = self
                    .store
                    .rows("LiteLLM_ModelTable", &filter.into())
                    .await?;
                linked.aliases = rows.into_iter().next();
            }
            if let Some(user) = &user {
                let filter =
                    Filter::by("team_id", id.as_str()).and_if("user_id", Some(user.as_str()));
                let rows = self
                    .store
                    .rows("LiteLLM_TeamMembership", &filter.into())
                    .await?;
                linked.membership = rows.into_iter().next();
                let own = linked
                    .membership
                    .as_ref()
                    .and_then(|row| text(row, "budget_id"));
                let of_team = team
                    .get("metadata")
                    .and_then(|m| m.get("team_member_budget_id"));
                let of_team = of_team.and_then(Value::as_str).map(str::to_owned);
                linked.member_budget = self.budget(own.or(of_team)).await?;
            }
            linked.team = Some(team);
        }
        if let Some(id) = &organization {
            let table = "LiteLLM_OrganizationTable";
            linked.organization = self.store.row(table, "organization_id", id).await?;
            let budget = linked
                .organization
                .as_ref()
                .and_then(|row| text(row, "budget_id"));
            linked.organization_budget = self.budget(budget).await?;
        }
        linked.groups = self.groups_of(&[Some(key), linked.team.as_ref()]).await?;
        linked.windows = self.window_spend(windowed).await?;
        Ok(linked)
    }

    /// What these keys and teams have spent in the windows of their `budget_limits`.
    async fn window_spend(&self, ids: Vec<String>) -> Result<Vec<Row>, StoreError> {
        if ids.is_empty() || !self.store.has_table(WINDOWS) {
            return Ok(Vec::new());
        }
        let ids = ids.into_iter().map(Value::from).collect();
        let select = Filter::of("entity_id", Is::In(ids)).into();
        self.store.rows(WINDOWS, &select).await
    }

    async fn budget(&self, id: Option<String>) -> Result<Option<Row>, StoreError> {
        match id {
            Some(id) => {
                self.store
                    .row("LiteLLM_BudgetTable", "budget_id", &id)
                    .await
            }
            None => Ok(None),
        }
    }

    /// The end user with this id. One that the database does not know has the operator's default budget, if there is one.
    pub async fn end_user(&self, id: &str) -> Result<Option<EndUser>, StoreError> {
        let settings = self.settings.load_full();
        let row = self
            .store
            .row("LiteLLM_EndUserTable", "user_id", id)
            .await?;
        let own = row.as_ref().and_then(|row| row.get("budget_id")?.as_str());
        let default = settings
            .litellm("max_end_user_budget_id")
            .and_then(Value::as_str);
        let budget = self.budget(own.or(default).map(str::to_owned)).await?;
        let most = settings.litellm("max_end_user_budget").and_then(money);
        if row.is_none() && budget.is_none() && most.is_none() {
            return Ok(None);
        }
        let row = row.unwrap_or_default();
        let mut scope = scope(ScopeKind::EndUser, id, None, budget.as_ref(), &row);
        if let Some(most) = most {
            let budget = scope.budget.get_or_insert(Budget {
                max: None,
                soft: None,
                duration: None,
                resets_at: None,
            });
            budget.max = budget.max.or(Some(most));
        }
        let text = |column: &str| row.get(column).and_then(Value::as_str).map(str::to_owned);
        Ok(Some(EndUser {
            scope: Arc::new(scope),
            blocked: row.get("blocked").and_then(Value::as_bool).unwrap_or(false),
            allowed_model_region: text("allowed_model_region"),
            default_model: text("default_model"),
        }))
    }

    /// Budgets and limits of tags, by name. All of them at once, at most [`TAGS_MAX`]: callers name tags as they like, and no name
    /// may cost a look into the database.
    pub async fn tags(&self) -> Result<HashMap<String, Arc<Scope>>, StoreError> {
        if !self.store.has_table("LiteLLM_TagTable") {
            return Ok(HashMap::new());
        }
        let select = Select {
            limit: Some(TAGS_MAX),
            ..Filter::of("budget_id", Is::Given).into()
        };
        let rows = self.store.rows("LiteLLM_TagTable", &select).await?;
        if rows.len() as u64 >= TAGS_MAX {
            tracing::warn!(
                most = TAGS_MAX,
                "more tags have budgets than are kept in memory: the others bear no limits"
            );
        }
        let text = |row: &Row, name: &str| Some(row.get(name)?.as_str()?.to_owned());
        let ids = rows.iter().filter_map(|row| row.get("budget_id").cloned());
        let select: Select = Filter::of("budget_id", Is::In(ids.collect())).into();
        let budgets = self.store.rows("LiteLLM_BudgetTable", &select).await?;
        let by_id = |budget: Row| Some((text(&budget, "budget_id")?, budget));
        let budgets: HashMap<String, Row> = budgets.into_iter().filter_map(by_id).collect();
        let scope = |row: &Row| {
            let name = text(row, "tag_name")?;
            let budget = budgets.get(&text(row, "budget_id")?)?;
            let scope = scope(ScopeKind::Tag, name.as_str(), None, Some(budget), row);
            Some((name, Arc::new(scope)))
        };
        Ok(rows.iter().filter_map(scope).collect())
    }

    /// A user's rights and budget, for those who come without a virtual key of theirs (a session, a token of an identity
    /// provider).
    pub async fn user(&self, id: &str) -> Result<Option<Row>, StoreError> {
        self.store.row("LiteLLM_UserTable", "user_id", id).await
    }
}

/// What entries are sealed for.
const PURPOSE: &str = "auth cache";
/// How far ahead another gateway's clock may be.
const SKEW_MS: i64 = 5_000;

/// An entry as it is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    purpose: String,
    hash: String,
    generation: String,
    at_ms: i64,
    rows: Cow<'a, KeyRows>,
}

/// The rows that a key is made of.
#[derive(Clone, Serialize, Deserialize)]
pub struct KeyRows {
    key: Row,
    linked: Linked,
}

/// Rows that a key's row leads to.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Linked {
    budget: Option<Row>,
    pub team: Option<Row>,
    aliases: Option<Row>,
    membership: Option<Row>,
    member_budget: Option<Row>,
    pub user: Option<Row>,
    pub organization: Option<Row>,
    organization_budget: Option<Row>,
    /// Access groups of the key and its team, by id.
    groups: HashMap<String, Row>,
    /// Windows of the key and the team that have begun.
    windows: Vec<Row>,
}

pub(crate) fn virtual_key(
    settings: &Settings,
    key: &Row,
    linked: &Linked,
    now: Timestamp,
) -> VirtualKey {
    let text = |column: &str| key.get(column).and_then(Value::as_str).map(str::to_owned);
    let of = |row: &Option<Row>, column: &str| {
        row.as_ref()
            .and_then(|row| row.get(column)?.as_str())
            .map(str::to_owned)
    };
    let token = text("token").unwrap_or_default();
    let (user_id, team_id) = (text("user_id"), text("team_id"));
    let org_id = of(&linked.organization, "organization_id").or(text("organization_id"));
    let alias = key.get("key_alias");
    let mut of_key = scope(
        ScopeKind::Key,
        token.as_str(),
        alias,
        linked.budget.as_ref(),
        key,
    );
    let name = key.get("key_name").and_then(Value::as_str);
    of_key.shown = name.filter(|name| is_masked(name)).map(str::to_owned);
    raise(&mut of_key, key.get("metadata").and_then(Value::as_object));
    // Replies tell what a key may spend.
    if let Some((by, _)) = of_key.raised.take_if(|(_, until)| *until <= now)
        && let Some(max) = of_key
            .budget
            .as_mut()
            .and_then(|budget| budget.max.as_mut())
    {
        *max -= by;
    }
    of_key.windows = windows(key.get("budget_limits"), &linked.windows, ("key", &token));
    let mut scopes = vec![of_key];
    if let Some(team) = &linked.team {
        let id = team_id.clone().unwrap_or_default();
        let mut scope = scope(ScopeKind::Team, id, team.get("team_alias"), None, team);
        scope.windows = windows(
            team.get("budget_limits"),
            &linked.windows,
            ("team", &scope.id),
        );
        scopes.push(scope);
    }
    if let (Some(team), Some(user)) = (&team_id, &user_id)
        && linked.member_budget.is_some()
    {
        let id = format!("{team}:{user}");
        let row = linked.membership.clone().unwrap_or_default();
        scopes.push(scope(
            ScopeKind::TeamMember,
            id,
            None,
            linked.member_budget.as_ref(),
            &row,
        ));
    }
    if let (Some(user), Some(id)) = (&linked.user, &user_id) {
        let mut scope = scope(
            ScopeKind::User,
            id.as_str(),
            user.get("user_alias"),
            None,
            user,
        );
        let also_teams = settings.general("apply_user_budget_to_team_keys");
        if team_id.is_some() && also_teams.and_then(Value::as_bool) != Some(true) {
            scope.budget = None;
            scope
                .models
                .iter_mut()
                .for_each(|model| model.budget = None);
            scope.models.retain(|model| !model.limits.is_empty());
        }
        if team_id.is_none() && scope.budget.is_none() {
            scope.budget = settings
                .litellm("max_user_budget")
                .and_then(money)
                .map(budget_of);
        }
        scopes.push(scope);
    }
    if let (Some(organization), Some(id)) = (&linked.organization, &org_id) {
        let alias = organization.get("organization_alias");
        let budget = linked.organization_budget.as_ref();
        scopes.push(scope(
            ScopeKind::Organization,
            id.as_str(),
            alias,
            budget,
            organization,
        ));
    }
    scopes.retain(|scope| {
        scope.kind == ScopeKind::Key
            || scope.budget.is_some()
            || !scope.windows.is_empty()
            || !scope.limits.is_empty()
            || !scope.models.is_empty()
    });
    let role = of(&linked.user, "user_role");
    let role = role
        .as_deref()
        .and_then(Role::parse)
        .unwrap_or(Role::InternalUser);
    let object = |row: Option<&Row>, column: &str| match row.and_then(|row| row.get(column)) {
        Some(Value::Object(object)) => object.clone(),
        _ => Map::new(),
    };
    let mut aliases = object(Some(key), "aliases");
    for (alias, model) in object(linked.aliases.as_ref(), "aliases") {
        aliases.entry(alias).or_insert(model);
    }
    let aliases = aliases
        .into_iter()
        .filter_map(|(alias, model)| match model {
            Value::String(model) => Some((alias, model)),
            _ => None,
        });
    let principal = Principal {
        key_hash: KeyHash::parse(&token),
        key_alias: text("key_alias"),
        user_email: of(&linked.user, "user_email"),
        team_alias: of(&linked.team, "team_alias"),
        models: models(key, linked),
        model_lists: model_lists(linked, team_id.is_some()),
        aliases: aliases.collect(),
        budget_fallbacks: budget_fallbacks(key.get("budget_fallbacks")),
        allowed_routes: restriction(key, "allowed_routes"),
        allowed_cache_controls: restriction(key, "allowed_cache_controls"),
        metadata: object(Some(key), "metadata"),
        team_metadata: object(linked.team.as_ref(), "metadata"),
        permissions: object(Some(key), "permissions"),
        role: Some(role),
        user_id,
        team_id,
        org_id,
        scopes,
        ..Principal::default()
    };
    let blocked = |row: &Row| row.get("blocked").and_then(Value::as_bool) == Some(true);
    VirtualKey {
        blocked: blocked(key) || linked.user.as_ref().is_some_and(is_inactive),
        team_blocked: linked.team.as_ref().is_some_and(blocked),
        expires: key.get("expires").and_then(Value::as_str).and_then(moment),
        principal: Arc::new(principal),
    }
}

/// Whether a user was deactivated (SCIM's `active: false`, which LiteLLM keeps as `metadata.scim_active`): none of their keys lets
/// anybody in.
pub(crate) fn is_inactive(user: &Row) -> bool {
    let active = user
        .get("metadata")
        .and_then(|metadata| metadata.get("scim_active"));
    active == Some(&Value::Bool(false))
}

/// `budget_fallbacks`: lists of models by the model that they stand in for.
fn budget_fallbacks(chains: Option<&Value>) -> Vec<(String, Vec<String>)> {
    let chains = chains.and_then(Value::as_object).into_iter().flatten();
    let chain = |(model, models): (&String, &Value)| {
        let models = models.as_array()?.iter().filter_map(Value::as_str);
        Some((model.clone(), models.map(str::to_owned).collect()))
    };
    chains.filter_map(chain).collect()
}

/// The key's own list, with what its access groups add; `all-team-models` is the team's.
fn models(key: &Row, linked: &Linked) -> Vec<String> {
    let own = widened(restriction(key, "models"), key, &linked.groups);
    if !own.iter().any(|model| model == "all-team-models") {
        return own;
    }
    let team = linked.team.as_ref();
    let of_team = team
        .map(|team| widened(restriction(team, "models"), team, &linked.groups))
        .unwrap_or_default();
    if of_team.is_empty() {
        return of_team;
    }
    let others = own.into_iter().filter(|model| model != "all-team-models");
    others.chain(of_team).collect()
}

/// Lists that bear on the key beside its own: the team's, of a personal key the user's, the organization's.
fn model_lists(linked: &Linked, of_team: bool) -> Vec<ModelList> {
    let mut lists = Vec::new();
    let mut add = |owner: &'static str, row: Option<&Row>| {
        let models = row
            .map(|row| widened(restriction(row, "models"), row, &linked.groups))
            .unwrap_or_default();
        if !models.is_empty() {
            lists.push(ModelList { owner, models });
        }
    };
    add("team", linked.team.as_ref());
    if !of_team {
        add("user", linked.user.as_ref());
    }
    add("org", linked.organization.as_ref());
    lists
}

fn restriction(row: &Row, column: &str) -> Vec<String> {
    match row.get(column) {
        None | Some(Value::Null) => Vec::new(),
        Some(list) => {
            serde_json::from_value(list.clone()).unwrap_or_else(|_| vec![NOTHING.to_owned()])
        }
    }
}

/// Whether a `key_name` shows no more of a key than its end: other programs write this column, too.
fn is_masked(name: &str) -> bool {
    let end = name.strip_prefix("sk-...");
    end.is_some_and(|end| {
        let is_plain = |c: char| !c.is_whitespace() && !c.is_control();
        end.chars().count() <= 4 && end.chars().all(is_plain)
    })
}

/// Adds what a key's metadata or a budget row gives for a time. Whoever has no bound keeps none.
fn raise(scope: &mut Scope, from: Option<&Row>) {
    let more = from.and_then(|row| money(row.get("temp_budget_increase")?));
    let until = from.and_then(|row| moment(row.get("temp_budget_expiry")?.as_str()?));
    if let (Some(more), Some(until)) = (more, until)
        && let Some(max) = scope.budget.as_mut().and_then(|budget| budget.max.as_mut())
    {
        let before = scope.raised.replace((more, until));
        *max += more - before.map_or(Decimal::ZERO, |(by, _)| by);
    }
}

/// A scope of a row and of the budget row it refers to: the row's own columns win.
fn scope(
    kind: ScopeKind,
    id: impl Into<String>,
    alias: Option<&Value>,
    budget: Option<&Row>,
    row: &Row,
) -> Scope {
    let column = |name: &str| {
        let own = row.get(name).filter(|value| !value.is_null());
        own.or_else(|| budget?.get(name).filter(|value| !value.is_null()))
    };
    // Less than nothing is nothing.
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let whole = |name: &str| column(name).and_then(Value::as_i64).map(count);
    let max = column("max_budget").and_then(money);
    let soft = column("soft_budget").and_then(money);
    let mut scope = Scope::new(kind, id);
    scope.alias = alias.and_then(Value::as_str).map(str::to_owned);
    scope.limits = Limits {
        rpm: whole("rpm_limit"),
        tpm: whole("tpm_limit"),
        tpd: whole("tpd_limit"),
        parallel: whole("max_parallel_requests"),
    };
    if max.is_some() || soft.is_some() {
        let text = |name: &str| column(name).and_then(Value::as_str);
        scope.budget = Some(Budget {
            max,
            soft,
            duration: text("budget_duration").map(str::to_owned),
            resets_at: text("budget_reset_at").and_then(moment),
        });
    }
    if row.get("max_budget").is_none_or(Value::is_null) {
        raise(&mut scope, budget);
    }
    // LiteLLM's columns begin as an empty object.
    let says = |value: &&Value| !value.is_null() && value.as_object().is_none_or(|o| !o.is_empty());
    let budgets = row.get("model_max_budget").filter(says);
    let budgets = budgets.or_else(|| budget?.get("model_max_budget"));
    let limit = |name: &str| row.get("metadata")?.get(name);
    let (rpm, tpm) = (limit("model_rpm_limit"), limit("model_tpm_limit"));
    let (models, problems) = stored_model_scopes(budgets, rpm, tpm);
    for problem in problems {
        tracing::warn!(
            kind = kind.descriptor(),
            "a limit of a model in the database cannot be read, and allows nothing: {problem}"
        );
    }
    scope.models = models;
    scope.spent = row.get("spend").and_then(money).unwrap_or_default();
    scope
}

/// `budget_limits` of a key or team, and what the database knows of their windows.
fn windows(limits: Option<&Value>, known: &[Row], (kind, id): (&str, &str)) -> Vec<BudgetWindow> {
    let limits = limits.and_then(Value::as_array).into_iter().flatten();
    let window = |limit: &Value| {
        let given = |name: &str| limit.get(name).filter(|value| !value.is_null());
        let max = given("max_budget")?;
        let duration = given("budget_duration")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let known = known.iter().find(|row| {
            let is = |column: &str, text: &str| row.get(column).is_some_and(|value| value == text);
            is("entity_type", kind) && is("entity_id", id) && is("window_duration", duration)
        });
        let known = known.and_then(|row| {
            let start = moment(row.get("window_start")?.as_str()?)?;
            Some((start, row.get("spend").and_then(money)?))
        });
        let length = crate::durations::seconds(duration);
        let (max, length_s) = witgate_metering::money(max).zip(length).unwrap_or_else(|| {
            tracing::warn!(kind, %limit, "one of budget_limits in the database cannot be read, and allows nothing");
            (Decimal::ZERO, DAY_S)
        });
        Some(BudgetWindow {
            max,
            duration: duration.to_owned(),
            length_s,
            known,
        })
    };
    limits.filter_map(window).collect()
}

fn budget_of(max: Decimal) -> Budget {
    Budget {
        max: Some(max),
        soft: None,
        duration: None,
        resets_at: None,
    }
}

/// US dollars, by the number's shortest text: the binary fraction would bring digits that nobody wrote. What is not finite
/// is no bound.
pub(crate) fn money(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            text.parse()
                .or_else(|_| Decimal::from_scientific(&text))
                .ok()
        }
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
