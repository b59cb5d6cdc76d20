//! Nobody gives a key more than they have, and nobody more than the operator allows.

use serde_json::{Value, json};
use witgate_identity::{Role, ScopeKind};
use witgate_store::Row;

use super::kept;
use crate::fields::{Given, number, text};
use crate::linked::BUDGETS;
use crate::plane::Settings;
use crate::rights::{TeamRole, role_in};
use crate::{Ask, ControlPlane, Refusal, durations};

/// Members only an administrator gives or takes away: they open what is nobody's own, or bound whose key it is.
pub(super) const ADMINS_ONLY: [&str; 14] = [
    "access_group_ids",
    "spend",
    "permissions",
    "budget_id",
    "organization_id",
    "temp_budget_increase",
    "temp_budget_expiry",
    "allowed_passthrough_routes",
    "denied_passthrough_routes",
    "rpm_limit_type",
    "tpm_limit_type",
    "priority",
    "allowed_model_region",
    LOGGING,
];

/// A key's own log sinks, with their credentials.
pub(super) const LOGGING: &str = "logging";

/// What a key may do that somebody makes for another: calls, and nothing in the other's name.
pub(crate) const CALLS_ONLY: &str = "llm_api_routes";

impl ControlPlane {
    /// Cuts what is given to a new key down to its maker's rights, and checks it against its team.
    pub(super) async fn bound_new(&self, ask: &Ask, mut given: Given) -> Result<Given, Refusal> {
        let settings = self.settings.load_full();
        // What a team's key makes is the team's: it is no way out of the team's limits.
        // The team of a session of the UI is a word that LiteLLM has for it.
        if !ask.is_admin()
            && !ask.caller.session
            && given.text("team_id").is_none()
            && let Some(own) = &ask.caller.team_id
        {
            given.set("team_id", own.as_str());
        }
        let team = match given.text("team_id").map(str::to_owned) {
            Some(id) => self.team(&id).await?,
            None => None,
        };
        // A stranger learns nothing of a team, not even its limits.
        if !ask.is_admin() {
            match &team {
                Some(team) => self.must_manage_keys_of(ask, team).await?,
                None if given.text("team_id").is_some() => return Err(no_team(&given)),
                None => {}
            }
        }
        if let Some(team) = &team {
            within_team(team, &given)?;
            members_duration(team, &mut given);
        }
        may_make(&settings, ask, &given, team.as_ref())?;
        if ask.is_admin() {
            return Ok(given);
        }
        let Some(user) = ask.user().map(str::to_owned) else {
            return Err(ask.admin_only());
        };
        admins_only(&mut given, None)?;
        no_provisioning(&given)?;
        // What a key of an organization makes is the organization's, likewise.
        if given.text("team_id").is_none()
            && let Some(own) = &ask.caller.org_id
            && self.organization(own).await?.is_some()
        {
            given.set("organization_id", own.as_str());
        }
        match given.text("user_id") {
            // A team's admin makes keys for its members, a member with the permission for themself.
            Some(other) if other != user && !self.makes_for(ask, team.as_ref(), other).await? => {
                return Err(
                    Refusal::forbidden("You may make keys for yourself only").param("user_id")
                );
            }
            Some(_) => {}
            None => given.set("user_id", user),
        }
        let caller = &ask.caller;
        within(&mut given, "models", &caller.models, true)?;
        match given.text("user_id") == ask.user() {
            true => within(&mut given, "allowed_routes", &caller.allowed_routes, true)?,
            false => others_routes(&mut given, true)?,
        }
        let controls = &caller.allowed_cache_controls;
        within(&mut given, "allowed_cache_controls", controls, true)?;
        let own = self.own_row(ask).await?;
        limits(ask, &mut given, own.as_ref(), true)?;
        if let Some(own) = &own {
            kept::keep(ask, &mut given, own, None)?;
        }
        Ok(given)
    }

    /// Whether a team's admin, or one of its organization, makes a key for this member of the team.
    async fn makes_for(&self, ask: &Ask, team: Option<&Row>, other: &str) -> Result<bool, Refusal> {
        match team {
            Some(team) if role_in(team, other).is_some() => Ok(self.administers(ask, team).await?),
            _ => Ok(false),
        }
    }

    /// The same for a change: what is not said stays, and whose key it is only an administrator changes.
    pub(super) async fn bound_change(
        &self,
        ask: &Ask,
        given: &mut Given,
        key: &Row,
    ) -> Result<(), Refusal> {
        let team = given
            .text("team_id")
            .or(key.get("team_id").and_then(Value::as_str));
        if let Some(team) = team.map(str::to_owned)
            && let Some(team) = self.team(&team).await?
        {
            within_team(&team, given)?;
        }
        upper_bounds(&self.settings.load(), given)?;
        if ask.is_admin() {
            return Ok(());
        }
        admins_only(given, Some(key))?;
        no_provisioning(given)?;
        let moved = ["user_id", "team_id", "blocked"].iter().any(|column| {
            let old = key.get(*column).unwrap_or(&Value::Null);
            given.columns.get(*column).is_some_and(|new| new != old)
        });
        if moved {
            let text = "Only an administrator may give a key to another user or team, or block and unblock it";
            return Err(Refusal::forbidden(text));
        }
        let caller = &ask.caller;
        within(given, "models", &caller.models, false)?;
        match is_others(ask, key) {
            true => others_routes(given, false)?,
            false => within(given, "allowed_routes", &caller.allowed_routes, false)?,
        }
        let controls = &caller.allowed_cache_controls;
        within(given, "allowed_cache_controls", controls, false)?;
        let own = self.own_row(ask).await?;
        limits(ask, given, own.as_ref(), false)?;
        match &own {
            Some(own) => kept::keep(ask, given, own, Some(key)),
            None => Ok(()),
        }
    }

    /// Of a limit that is taken away the operator's bound is left, unless the key's budget row has one.
    pub(super) async fn fill_change(&self, given: &mut Given, key: &Row) -> Result<(), Refusal> {
        let settings = self.settings.load_full();
        if settings.litellm("upperbound_key_generate_params").is_none() {
            return Ok(());
        }
        let budget = given.text("budget_id").or(text(key, "budget_id"));
        let budget = match budget {
            Some(id) => self.store.row(BUDGETS, "budget_id", id).await?,
            None => None,
        };
        let budget = budget.unwrap_or_default();
        fill_bounds(&settings, given, |given, name| {
            let (said, was) = match name {
                "duration" => (given.members.get(name), key.get("expires")),
                _ => (given.columns.get(name), key.get(name)),
            };
            said.is_some_and(Value::is_null)
                && was.is_some_and(|was| !was.is_null())
                && budget.get(name).is_none_or(Value::is_null)
        })
    }
}

/// What only administrators give is neither among the members nor hidden in the metadata, unless a key that changes has it so.
/// What is said as it is, is as if it were not said.
pub(crate) fn admins_only(given: &mut Given, key: Option<&Row>) -> Result<(), Refusal> {
    let old = key.and_then(|key| key.get("metadata"));
    let hidden = given.columns.get("metadata");
    let news = |name: &&&str| {
        let name = **name;
        let was = old.and_then(|old| old.get(name));
        let differs = |new: Option<&Value>, was: Option<&Value>| {
            new.is_some_and(|new| match key {
                None => !new.is_null(),
                Some(_) => !same(new, was.unwrap_or(&Value::Null)),
            })
        };
        differs(given.columns.get(name), key.and_then(|key| key.get(name)))
            || differs(given.metadata.get(name), was)
            || hidden
                .and_then(|metadata| metadata.get(name))
                .is_some_and(|new| Some(new) != was)
    };
    match ADMINS_ONLY.iter().find(news) {
        None => {
            for said in [&mut given.columns, &mut given.metadata] {
                said.retain(|name, _| !ADMINS_ONLY.contains(&name.as_str()));
            }
            Ok(())
        }
        Some(name) => {
            let message = format!("Only an administrator gives a key {name} or takes it away");
            Err(Refusal::forbidden(message).param(name))
        }
    }
}

/// Whether a key that has the one has the other: what is empty is as null.
fn same(new: &Value, was: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    new == was || empty(new) && empty(was)
}

/// `rpm_limit_type` and `tpm_limit_type`: a limit of another kind would be none that anybody knows.
pub(super) fn check_limit_types(given: &Given) -> Result<(), Refusal> {
    const TYPES: [&str; 3] = ["guaranteed_throughput", "best_effort_throughput", "dynamic"];
    let hidden = given.columns.get("metadata");
    for name in ["rpm_limit_type", "tpm_limit_type"] {
        let said = [
            given.metadata.get(name),
            hidden.and_then(|metadata| metadata.get(name)),
        ];
        let good = |said: &Value| {
            said.is_null() || said.as_str().is_some_and(|said| TYPES.contains(&said))
        };
        if let Some(other) = said.into_iter().flatten().find(|said| !good(said)) {
            let message = format!("{name} {other} does not exist; use one of {TYPES:?}");
            return Err(Refusal::bad(message).param(name));
        }
    }
    Ok(())
}

/// Who provisions acts above all users: an administrator alone makes keys for that.
fn no_provisioning(given: &Given) -> Result<(), Refusal> {
    let routes = crate::fields::texts(&given.columns, "allowed_routes");
    match routes
        .into_iter()
        .find(|route| crate::plane::is_for_provisioning(route))
    {
        None => Ok(()),
        Some(route) => {
            let message = format!("Only an administrator gives a key the route {route}");
            Err(Refusal::forbidden(message).param("allowed_routes"))
        }
    }
}

/// Whether a key acts as somebody else than the caller.
fn is_others(ask: &Ask, key: &Row) -> bool {
    let user = key.get("user_id").and_then(Value::as_str);
    user.is_some() && user != ask.user()
}

/// A member's key that is made by a team's admin, who may have taken an administrator for a member, makes calls only.
fn others_routes(given: &mut Given, new: bool) -> Result<(), Refusal> {
    match given.columns.get("allowed_routes") {
        Some(asked) if *asked == json!([CALLS_ONLY]) => Ok(()),
        Some(asked) if !asked.is_null() && *asked != json!([]) => {
            let message = format!(
                "A key of another user that you make or change has allowed_routes [{CALLS_ONLY:?}]"
            );
            Err(Refusal::forbidden(message).param("allowed_routes"))
        }
        None if !new => Ok(()),
        _ => {
            given.set("allowed_routes", json!([CALLS_ONLY]));
            Ok(())
        }
    }
}

/// Whoever rotates a key holds it: another's only when it could not do more than make calls, and one that is nobody's or another's
/// only when it has nothing that administrators alone give.
pub(super) fn may_hold(ask: &Ask, key: &Row) -> Result<(), Refusal> {
    let own = ask.user().is_some() && key.get("user_id").and_then(Value::as_str) == ask.user();
    if !ask.is_admin() && !own {
        let metadata = key.get("metadata");
        let passages = metadata.and_then(|m| m.get("allowed_passthrough_routes"));
        let has = |value: Option<&Value>| value.is_some_and(|value| !same(value, &Value::Null));
        let provisions = crate::fields::texts(key, "allowed_routes")
            .into_iter()
            .any(crate::plane::is_for_provisioning);
        if provisions || has(key.get("permissions")) || has(passages) {
            let text = "Only an administrator rotates a key with permissions, allowed_passthrough_routes or routes that provision";
            return Err(Refusal::forbidden(text).param("key"));
        }
    }
    let calls_only = key.get("allowed_routes") == Some(&json!([CALLS_ONLY]));
    match ask.is_admin() || calls_only || !is_others(ask, key) {
        true => Ok(()),
        false => Err(Refusal::forbidden(format!(
            "You may rotate another user's key only when its allowed_routes are [{CALLS_ONLY:?}]"
        ))
        .param("key")),
    }
}

/// Who is no administrator makes keys of teams that are there.
fn no_team(given: &Given) -> Refusal {
    let id = given.text("team_id").unwrap_or_default();
    let message = format!("Unable to find team object in database. Team ID: {id}");
    Refusal::bad(message).param("team_id")
}

/// What is asked for, when the caller has all of it; all that the caller has when nothing is asked for.
fn within(
    given: &mut Given,
    field: &'static str,
    own: &[String],
    new: bool,
) -> Result<(), Refusal> {
    if own.is_empty() {
        return Ok(());
    }
    let asked: Vec<String> = match given.columns.get(field) {
        Some(value) => serde_json::from_value(value.clone()).unwrap_or_default(),
        None if new => Vec::new(),
        None => return Ok(()),
    };
    if asked.is_empty() {
        given.set(field, json!(own));
        return Ok(());
    }
    match asked.iter().find(|item| !own.contains(item)) {
        None => Ok(()),
        Some(item) => {
            let message = format!(
                "A key cannot be given more than yours has: {field} {item:?} is not among {own:?}"
            );
            Err(Refusal::forbidden(message).param(field))
        }
    }
}

/// A limit that the caller's own key has holds for the keys it makes; of its money what its row says, not what it is raised by for
/// a while (`temp_budget_increase`).
fn limits(ask: &Ask, given: &mut Given, row: Option<&Row>, new: bool) -> Result<(), Refusal> {
    // What a session may spend is no bound of the keys that are made with it: their user's is.
    if ask.caller.session {
        return Ok(());
    }
    let own = ask
        .caller
        .scopes
        .iter()
        .find(|scope| scope.kind == ScopeKind::Key);
    let Some(own) = own else { return Ok(()) };
    let whole = |limit: Option<u64>| limit.map(|limit| limit as f64);
    let money = own.budget.as_ref().and_then(|budget| budget.max);
    let money = money.and_then(|max| max.to_string().parse::<f64>().ok());
    let money = row.map_or(money, |row| number(row, "max_budget"));
    for (field, own) in [
        ("rpm_limit", whole(own.limits.rpm)),
        ("tpm_limit", whole(own.limits.tpm)),
        ("tpd_limit", whole(own.limits.tpd)),
        ("max_parallel_requests", whole(own.limits.parallel)),
        ("max_budget", money),
    ] {
        let Some(own) = own else { continue };
        match given.columns.get(field).and_then(Value::as_f64) {
            Some(asked) if asked > own => {
                let message =
                    format!("A key cannot be given more than yours has: {field} is at most {own}");
                return Err(Refusal::forbidden(message).param(field));
            }
            Some(_) => {}
            None if new || given.says(field) => match field {
                "max_budget" => given.set(field, own),
                _ => given.set(field, own as i64),
            },
            None => {}
        }
    }
    Ok(())
}

/// A key has no more money than its team, and no models its team has not.
fn within_team(team: &Row, given: &Given) -> Result<(), Refusal> {
    let number = |row: &Row, name: &str| row.get(name).and_then(Value::as_f64);
    if let (Some(asked), Some(most)) = (
        number(&given.columns, "max_budget"),
        number(team, "max_budget"),
    ) && asked > most
    {
        let message = format!("max_budget {asked} is above the team's, which is {most}");
        return Err(Refusal::bad(message).param("max_budget"));
    }
    Ok(())
}

/// `team_member_key_duration`: how long a member's key lives of which nobody says it.
fn members_duration(team: &Row, given: &mut Given) {
    let duration = team
        .get("metadata")
        .and_then(|m| m.get("team_member_key_duration"));
    let said = given
        .members
        .get("duration")
        .is_some_and(|duration| !duration.is_null());
    if let Some(duration) = duration.filter(|duration| duration.is_string() && !said) {
        given
            .members
            .insert("duration".to_owned(), duration.clone());
    }
}

/// `litellm_settings.upperbound_key_generate_params`
pub(super) fn upper_bounds(settings: &Settings, given: &Given) -> Result<(), Refusal> {
    let Some(Value::Object(bounds)) = settings.litellm("upperbound_key_generate_params") else {
        return Ok(());
    };
    for (name, most) in bounds {
        let asked = given.columns.get(name).or_else(|| given.members.get(name));
        let Some(asked) = asked.filter(|asked| !asked.is_null()) else {
            continue;
        };
        let above = match (asked, most) {
            (Value::Number(asked), Value::Number(most)) => asked.as_f64() > most.as_f64(),
            (Value::String(asked), Value::String(most)) => {
                match (durations::seconds(asked), durations::seconds(most)) {
                    (Some(asked), Some(most)) => asked > most,
                    // Never ends.
                    _ => asked == "-1",
                }
            }
            _ => false,
        };
        if above {
            let message = format!(
                "{name} is over max limit set in config - user_value={asked}; max_value={most}"
            );
            return Err(Refusal::bad(message).param(name));
        }
    }
    Ok(())
}

/// The bounds are what a key has of which nothing else is said, where they are wanted.
pub(super) fn fill_bounds(
    settings: &Settings,
    given: &mut Given,
    wanted: impl Fn(&Given, &str) -> bool,
) -> Result<(), Refusal> {
    const BOUNDS: [&str; 6] = [
        "max_budget",
        "budget_duration",
        "max_parallel_requests",
        "tpm_limit",
        "rpm_limit",
        "duration",
    ];
    let Some(Value::Object(bounds)) = settings.litellm("upperbound_key_generate_params") else {
        return Ok(());
    };
    let is_bound = |name: &str| BOUNDS.contains(&name);
    let wanted = bounds
        .iter()
        .filter(|(name, most)| is_bound(name) && !most.is_null() && wanted(given, name));
    let wanted = wanted
        .map(|(name, most)| (name.clone(), most.clone()))
        .collect();
    given.fill(Given::read(&[super::FIELDS], &wanted)?);
    Ok(())
}

/// `general_settings.default_team_disabled` and `litellm_settings.key_generation_settings`: who may make keys for a team or
/// for a person, and what must be said.
fn may_make(
    settings: &Settings,
    ask: &Ask,
    given: &Given,
    team: Option<&Row>,
) -> Result<(), Refusal> {
    let teams_only = settings.general("default_team_disabled");
    let teams_only = teams_only.and_then(Value::as_bool) == Some(true);
    if teams_only && !ask.is_admin() && given.text("team_id").is_none() {
        let message =
            "Keys belong to teams here (default_team_disabled): say which team with team_id";
        return Err(Refusal::forbidden(message).param("team_id"));
    }
    let Some(rules) = settings.litellm("key_generation_settings") else {
        return Ok(());
    };
    let (rules, roles, role, what) = match given.text("team_id") {
        Some(_) => {
            let own = ask.user().and_then(|user| role_in(team?, user));
            let role = match own {
                Some(TeamRole::Admin) => "admin",
                Some(TeamRole::User) => "user",
                None => "",
            };
            (
                rules.get("team_key_generation"),
                "allowed_team_member_roles",
                role,
                "team",
            )
        }
        None => {
            let role = ask.caller.role.as_ref().map_or("", Role::as_str);
            (
                rules.get("personal_key_generation"),
                "allowed_user_roles",
                role,
                "personal",
            )
        }
    };
    let Some(rules) = rules else { return Ok(()) };
    let texts = |name: &str| -> Vec<&str> {
        let list = rules.get(name).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect()
    };
    let allowed = texts(roles);
    if !ask.is_admin() && !allowed.is_empty() && !allowed.contains(&role) {
        let message = format!(
            "{what} key creation is restricted to the roles {allowed:?} (key_generation_settings). Your role={role}"
        );
        return Err(Refusal::forbidden(message));
    }
    for name in texts("required_params") {
        let said =
            |map: &serde_json::Map<String, Value>| map.get(name).is_some_and(|v| !v.is_null());
        if !said(&given.columns) && !said(&given.metadata) && !said(&given.members) {
            let message = format!("Required param {name} not passed in (key_generation_settings)");
            return Err(Refusal::bad(message).param(name));
        }
    }
    Ok(())
}

/// Budgets and limits of single models: `model_max_budget`, `model_rpm_limit`, `model_tpm_limit`.
pub(crate) fn check_models(given: &Given) -> Result<(), Refusal> {
    check_model_budgets(given.columns.get("model_max_budget"))?;
    for name in ["model_rpm_limit", "model_tpm_limit"] {
        let limits = given.metadata.get(name);
        witgate_metering::model_scopes(None, limits, None).map_err(|error| {
            Refusal::bad(error.to_string().replace("model_rpm_limit", name)).param(name)
        })?;
    }
    Ok(())
}

/// `budget_fallbacks: {MODEL: [MODEL, …]}`
pub(super) fn check_budget_fallbacks(chains: Option<&Value>) -> Result<(), Refusal> {
    let chains = chains.and_then(Value::as_object).into_iter().flatten();
    for (model, models) in chains {
        let is_chain = models
            .as_array()
            .is_some_and(|models| models.iter().all(Value::is_string));
        if !is_chain {
            let message = format!(
                "budget_fallbacks.{model}: not a list of models; it is such as {{\"gpt-4o\": [\"gpt-4o-mini\"]}}"
            );
            return Err(Refusal::bad(message).param("budget_fallbacks"));
        }
    }
    Ok(())
}

/// `model_max_budget: {MODEL: {budget_limit | max_budget, time_period | budget_duration, tpm_limit, rpm_limit}}`
pub(crate) fn check_model_budgets(budgets: Option<&Value>) -> Result<(), Refusal> {
    let members = budgets.and_then(Value::as_object);
    for (model, budget) in members.into_iter().flatten() {
        let wrong = |what: &str| {
            let message = format!(
                "model_max_budget.{model}: {what}; it is {{\"budget_limit\": 10, \"time_period\": \"30d\"}}"
            );
            Err(Refusal::bad(message).param("model_max_budget"))
        };
        let Some(budget) = budget.as_object() else {
            return wrong("not an object");
        };
        for (name, value) in budget {
            let good = match name.as_str() {
                "budget_limit" | "max_budget" | "tpm_limit" | "rpm_limit" => {
                    value.is_null() || value.as_f64().is_some_and(|number| number >= 0.0)
                }
                "time_period" | "budget_duration" => {
                    value.is_null() || value.as_str().is_some_and(durations::is_duration)
                }
                _ => false,
            };
            if !good {
                return wrong(&format!("{name} is {value}"));
            }
        }
    }
    Ok(())
}
