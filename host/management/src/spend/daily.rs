//! `/user/daily/activity` and its sisters: rows of the daily tables, page by page, broken down.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Row, Select};

use super::{Days, GROUPS, float, money, own, text, whole};
use crate::ask::Page;
use crate::operation::{Operation, Outcome, Who};
use crate::rights::{TeamRole, members_may, role_in};
use crate::{Ask, ControlPlane, Refusal};

const PAGE: u64 = 10;
const PAGE_MAX: u64 = 1000;

/// Whose activity it is.
pub(super) struct Kind {
    /// The daily table.
    pub(super) table: &'static str,
    /// Its column that says whose.
    column: &'static str,
    /// The parameter that names some.
    pub(super) some: &'static str,
    /// The parameter that names all others.
    others: &'static str,
    /// Where they are called something: table, column of the id, column of the name, and how answers call that.
    names: Option<[&'static str; 4]>,
}

const USER: Kind = Kind {
    table: "LiteLLM_DailyUserSpend",
    column: "user_id",
    some: "user_id",
    others: "",
    names: Some(["LiteLLM_UserTable", "user_id", "user_email", "user_email"]),
};
pub(super) const TEAM: Kind = Kind {
    table: "LiteLLM_DailyTeamSpend",
    column: "team_id",
    some: "team_ids",
    others: "exclude_team_ids",
    names: Some(["LiteLLM_TeamTable", "team_id", "team_alias", "team_alias"]),
};
const TAG: Kind = Kind {
    table: "LiteLLM_DailyTagSpend",
    column: "tag",
    some: "tags",
    others: "exclude_tags",
    names: None,
};
const ORGANIZATION: Kind = Kind {
    table: "LiteLLM_DailyOrganizationSpend",
    column: "organization_id",
    some: "organization_ids",
    others: "exclude_organization_ids",
    names: Some([
        "LiteLLM_OrganizationTable",
        "organization_id",
        "organization_alias",
        "organization_alias",
    ]),
};
const CUSTOMER: Kind = Kind {
    table: "LiteLLM_DailyEndUserSpend",
    column: "end_user_id",
    some: "end_user_ids",
    others: "exclude_end_user_ids",
    names: Some(["LiteLLM_EndUserTable", "user_id", "alias", "alias"]),
};

const START: &str = "start_date";
const END: &str = "end_date";
const MODEL: &str = "model";
const KEY: &str = "api_key";
const PAGES: &str = "page";
const SIZE: &str = "page_size";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/user/daily/activity"],
        who: Who::Anyone,
        what: "Tells day by day what users spent and used; the caller, for who is no administrator.",
        body: &[],
        query: &[USER.some, START, END, MODEL, KEY, PAGES, SIZE],
        run: |plane, ask| {
            Box::pin(async move {
                let filter = own(&ask, Filter::all(), "user_id", "api_key")?;
                activity(plane, &ask, &USER, filter).await
            })
        },
    },
    Operation {
        method: "GET",
        paths: &["/user/daily/activity/aggregated"],
        who: Who::Anyone,
        what: "The same, all days on one page.",
        body: &[],
        query: &[USER.some, START, END, MODEL, KEY],
        run: |plane, ask| {
            Box::pin(async move {
                let filter = own(&ask, Filter::all(), "user_id", "api_key")?;
                all_activity(plane, &ask, &USER, filter).await
            })
        },
    },
    Operation {
        method: "GET",
        paths: &["/team/daily/activity/aggregated"],
        who: Who::Anyone,
        what: "Tells day by day what teams spent and used, all days on one page; the caller's teams, for who is no administrator.",
        body: &[],
        query: &[TEAM.some, TEAM.others, START, END, MODEL, KEY],
        run: |plane, ask| {
            Box::pin(async move {
                let filter = teams(plane, &ask, asked(&ask, &TEAM)?).await?;
                all_activity(plane, &ask, &TEAM, filter).await
            })
        },
    },
    Operation {
        method: "GET",
        paths: &["/team/daily/activity"],
        who: Who::Anyone,
        what: "Tells day by day what teams spent and used; the caller's teams, for who is no administrator.",
        body: &[],
        query: &[TEAM.some, TEAM.others, START, END, MODEL, KEY, PAGES, SIZE],
        run: |plane, ask| {
            Box::pin(async move {
                let filter = teams(plane, &ask, asked(&ask, &TEAM)?).await?;
                activity(plane, &ask, &TEAM, filter).await
            })
        },
    },
    Operation {
        method: "GET",
        paths: &["/tag/daily/activity"],
        who: Who::Anyone,
        what: "Tells day by day what was spent and used for tags; by the caller's keys, for who is no administrator.",
        body: &[],
        query: &[TAG.some, TAG.others, START, END, MODEL, KEY, PAGES, SIZE],
        run: |plane, ask| {
            Box::pin(async move {
                let mut filter = asked(&ask, &TAG)?;
                if !ask.sees_all() {
                    filter = filter.and("api_key", Is::In(plane.own_keys(&ask).await?));
                }
                activity(plane, &ask, &TAG, filter).await
            })
        },
    },
    Operation {
        method: "GET",
        paths: &["/organization/daily/activity"],
        who: Who::Anyone,
        what: "Tells day by day what organizations spent and used; those the caller administers, for who is no administrator.",
        body: &[],
        query: &[
            ORGANIZATION.some,
            ORGANIZATION.others,
            START,
            END,
            MODEL,
            KEY,
            PAGES,
            SIZE,
        ],
        run: |plane, ask| {
            Box::pin(async move {
                let filter = organizations(plane, &ask, asked(&ask, &ORGANIZATION)?).await?;
                activity(plane, &ask, &ORGANIZATION, filter).await
            })
        },
    },
    Operation {
        method: "GET",
        paths: &["/customer/daily/activity", "/end_user/daily/activity"],
        who: Who::Viewer,
        what: "Tells day by day what end users spent and used.",
        body: &[],
        query: &[
            CUSTOMER.some,
            CUSTOMER.others,
            START,
            END,
            MODEL,
            KEY,
            PAGES,
            SIZE,
        ],
        run: |plane, ask| {
            Box::pin(async move { activity(plane, &ask, &CUSTOMER, asked(&ask, &CUSTOMER)?).await })
        },
    },
];

fn list(ask: &Ask, param: &str) -> Result<Option<Vec<Value>>, Refusal> {
    let Some(text) = ask.param(param) else {
        return Ok(None);
    };
    let ids: Vec<Value> = text.split(',').map(|id| id.trim().into()).collect();
    crate::budgets::many(ids.len())?;
    Ok(Some(ids))
}

/// Those that are named, without those that are left out.
pub(super) fn asked(ask: &Ask, kind: &Kind) -> Result<Filter, Refusal> {
    let mut filter = Filter::all();
    if let Some(ids) = list(ask, kind.some)? {
        filter = filter.and(kind.column, Is::In(ids));
    }
    for id in list(ask, kind.others)?.unwrap_or_default() {
        filter = filter.and(kind.column, Is::Not(id));
    }
    Ok(filter)
}

/// Of the caller's teams: all, when they manage every one of them, else what their own keys did.
pub(super) async fn teams(
    plane: &ControlPlane,
    ask: &Ask,
    filter: Filter,
) -> Result<Filter, Refusal> {
    if ask.sees_all() {
        return Ok(filter);
    }
    let Some(user) = ask.user() else {
        return Err(ask.admin_only());
    };
    let row = plane
        .store
        .row("LiteLLM_UserTable", "user_id", user)
        .await?;
    let own: Vec<Value> = match row.and_then(|mut row| row.remove("teams")) {
        Some(Value::Array(teams)) => teams,
        _ => Vec::new(),
    };
    let ids = match list(ask, TEAM.some)? {
        None => own,
        Some(ids) => match ids.iter().find(|id| !own.contains(id)) {
            Some(foreign) => {
                let foreign = foreign.as_str().unwrap_or_default();
                let message = format!(
                    "User does not belong to Team= {foreign}. Call `/user/info` to see user's teams"
                );
                return Err(Refusal::detail(404, message));
            }
            None => ids,
        },
    };
    let select: Select = Filter::of("team_id", Is::In(ids.clone())).into();
    let rows = plane.store.rows("LiteLLM_TeamTable", &select).await?;
    let sees = |team: &Row| match role_in(team, user) {
        Some(TeamRole::Admin) => true,
        Some(TeamRole::User) => members_may(team, "/team/daily/activity"),
        None => false,
    };
    let filter = filter.and("team_id", Is::In(ids));
    match rows.iter().all(sees) {
        true => Ok(filter),
        false => Ok(filter.and("api_key", Is::In(plane.own_keys(ask).await?))),
    }
}

/// Organizations that the caller administers.
async fn organizations(plane: &ControlPlane, ask: &Ask, filter: Filter) -> Result<Filter, Refusal> {
    if ask.sees_all() {
        return Ok(filter);
    }
    let Some(user) = ask.user() else {
        return Err(ask.admin_only());
    };
    let mut select: Select = Filter::by("user_id", user)
        .and_if("user_role", Some("org_admin"))
        .into();
    select.limit = Some(1000);
    let rows = plane
        .store
        .rows("LiteLLM_OrganizationMembership", &select)
        .await?;
    let own: Vec<Value> = rows
        .into_iter()
        .filter_map(|mut row| row.remove("organization_id"))
        .collect();
    let foreign = list(ask, ORGANIZATION.some)?.unwrap_or_default();
    if own.is_empty() || foreign.iter().any(|id| !own.contains(id)) {
        let message = "You may see organizations that you administer only";
        return Err(Refusal::forbidden(message).param(ORGANIZATION.some));
    }
    Ok(filter.and("organization_id", Is::In(own)))
}

/// LiteLLM's measures.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Metrics {
    pub(super) spend: f64,
    counts: [i64; COUNTS.len()],
}

pub(super) const COUNTS: [&str; 7] = [
    "prompt_tokens",
    "completion_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "api_requests",
    "successful_requests",
    "failed_requests",
];

impl Metrics {
    pub(super) fn add(&mut self, row: &Row) {
        self.spend += float(row, "spend");
        for (sum, column) in self.counts.iter_mut().zip(COUNTS) {
            *sum += whole(row, column);
        }
    }

    /// With `total_` before the names, or nothing.
    pub(super) fn told(&self, before: &str) -> Map<String, Value> {
        let mut told = Map::new();
        told.insert(format!("{before}spend"), money(self.spend).into());
        for (name, count) in COUNTS.iter().zip(self.counts) {
            told.insert(format!("{before}{name}"), count.into());
        }
        let [prompt, completion, ..] = self.counts;
        told.insert("total_tokens".to_owned(), (prompt + completion).into());
        told
    }
}

/// Measures of one model, key, team …, and of the keys among them.
#[derive(Default)]
struct Part {
    metrics: Metrics,
    keys: BTreeMap<String, Metrics>,
}

#[derive(Default)]
struct Day {
    metrics: Metrics,
    parts: [BTreeMap<String, Part>; PARTS.len()],
    keys: BTreeMap<String, Metrics>,
}

/// Breakdowns and the columns that they are by; the last is by whom.
const PARTS: [(&str, &str); 6] = [
    ("models", "model"),
    ("model_groups", "model_group"),
    ("mcp_servers", "mcp_namespaced_tool_name"),
    ("providers", "custom_llm_provider"),
    ("endpoints", "endpoint"),
    ("entities", ""),
];

async fn activity(plane: &ControlPlane, ask: &Ask, kind: &Kind, filter: Filter) -> Outcome {
    let page = ask.page("page_size", PAGE, PAGE_MAX)?;
    on_page(plane, ask, kind, filter, page).await
}

/// Everything on one page, or a refusal.
async fn all_activity(plane: &ControlPlane, ask: &Ask, kind: &Kind, filter: Filter) -> Outcome {
    let page = Page {
        page: 1,
        size: GROUPS,
    };
    on_page(plane, ask, kind, filter, page).await
}

async fn on_page(
    plane: &ControlPlane,
    ask: &Ask,
    kind: &Kind,
    filter: Filter,
    page: Page,
) -> Outcome {
    let days = Days::required(ask)?;
    let filter = filter
        .and("date", Is::AtLeast(days.first.to_string().into()))
        .and("date", Is::AtMost(days.last.to_string().into()))
        .and_if("model", ask.param("model"))
        .and_if("api_key", ask.param("api_key").map(crate::keys::hash));
    let total = plane.store.count(kind.table, &filter).await?;
    if page.size == GROUPS && total > GROUPS {
        let text = format!(
            "the answer has {total} rows, more than {GROUPS}; ask for fewer days, or page by page"
        );
        return Err(Refusal::detail(400, text));
    }
    let select = Select {
        filter,
        order: vec![("date", true)],
        offset: page.offset(),
        limit: Some(page.size),
    };
    let rows = plane.store.rows(kind.table, &select).await?;
    let keys = plane.keys_of(&rows).await?;
    let names = names_of(plane, kind, &rows).await?;
    let mut by_day: BTreeMap<String, Day> = BTreeMap::new();
    let mut all = Metrics::default();
    for row in &rows {
        all.add(row);
        let day = by_day.entry(text(row, "date").to_owned()).or_default();
        let key = text(row, "api_key");
        day.metrics.add(row);
        day.keys.entry(key.to_owned()).or_default().add(row);
        for (part, (name, column)) in day.parts.iter_mut().zip(PARTS) {
            let column = if column.is_empty() {
                kind.column
            } else {
                column
            };
            let value = match (name, text(row, column)) {
                ("providers", "") => "unknown",
                ("entities", "") => "Unassigned",
                (_, "") => continue,
                (_, value) => value,
            };
            let part = part.entry(value.to_owned()).or_default();
            part.metrics.add(row);
            part.keys.entry(key.to_owned()).or_default().add(row);
        }
    }
    let told_key = |hash: &str, metrics: &Metrics| {
        let of = |column: &str| keys.get(hash).and_then(|key| key.get(column).cloned());
        json!({
            "metrics": metrics.told(""),
            "metadata": {"key_alias": of("key_alias"), "team_id": of("team_id")},
        })
    };
    let told_keys = |keys: &BTreeMap<String, Metrics>| -> Map<String, Value> {
        keys.iter()
            .map(|(hash, metrics)| (hash.clone(), told_key(hash, metrics)))
            .collect()
    };
    let results: Vec<Value> = by_day
        .into_iter()
        .rev()
        .map(|(date, day)| {
            let mut breakdown = Map::new();
            for (parts, (name, _)) in day.parts.iter().zip(PARTS) {
                let told = parts.iter().map(|(value, part)| {
                    let mut metadata = Map::new();
                    if name == "entities"
                        && let (Some([.., called]), Some(name)) = (kind.names, names.get(value))
                    {
                        metadata.insert(called.to_owned(), name.as_str().into());
                    }
                    let told = json!({
                        "metrics": part.metrics.told(""), "metadata": metadata,
                        "api_key_breakdown": told_keys(&part.keys),
                    });
                    (value.clone(), told)
                });
                breakdown.insert(name.to_owned(), Value::Object(told.collect()));
            }
            breakdown.insert("api_keys".to_owned(), told_keys(&day.keys).into());
            json!({"date": date, "metrics": day.metrics.told(""), "breakdown": breakdown})
        })
        .collect();
    let mut metadata = all.told("total_");
    metadata.insert("page".to_owned(), page.page.into());
    metadata.insert("total_pages".to_owned(), page.pages(total).into());
    metadata.insert(
        "has_more".to_owned(),
        (page.page < page.pages(total)).into(),
    );
    Ok(json!({"results": results, "metadata": metadata}))
}

/// What those of these rows are called.
async fn names_of(
    plane: &ControlPlane,
    kind: &Kind,
    rows: &[Row],
) -> Result<HashMap<String, String>, Refusal> {
    let Some([table, id, name, _]) = kind.names else {
        return Ok(HashMap::new());
    };
    let mut ids: Vec<&str> = rows.iter().map(|row| text(row, kind.column)).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut names = HashMap::new();
    for ids in ids.chunks(500) {
        let ids = ids.iter().map(|id| Value::from(*id)).collect();
        let select: Select = Filter::of(id, Is::In(ids)).into();
        for row in plane.store.rows(table, &select).await? {
            names.insert(text(&row, id).to_owned(), text(&row, name).to_owned());
        }
    }
    Ok(names)
}
