//! `/global/spend*`: what everybody spent, as charts show it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Is, Sums};

use super::{Days, EVERY_CALL, float, money, only_for_all, spent, text, whole};
use crate::fields::{Field, Given, Shape, member};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

const END_USERS: &str = "LiteLLM_DailyEndUserSpend";
const TAGS: &str = "LiteLLM_DailyTagSpend";

/// Whoever has no team in a chart of teams.
const UNASSIGNED: &str = "Unassigned";

/// Teams and customers that a chart shows.
const TOP_TEAMS: usize = 10;
const TOP_END_USERS: u64 = 100;

const RANGE: &[Field] = &[
    member("api_key", Shape::Text),
    member("startTime", Shape::Time),
    member("endTime", Shape::Time),
];

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/global/spend"],
        who: Who::Anyone,
        what: "Tells what was spent in the last 30 days, and the gateway's budget.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(total(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/spend/logs"],
        who: Who::Anyone,
        what: "Tells what was spent on each of the last 30 days.",
        body: &[],
        query: &["api_key"],
        run: |plane, ask| Box::pin(days(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/spend/keys"],
        who: Who::Anyone,
        what: "Tells which keys spent most in the last 30 days.",
        body: &[],
        query: &["limit"],
        run: |plane, ask| Box::pin(keys(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/spend/teams"],
        who: Who::Anyone,
        what: "Tells what each team spent on each of the last 30 days.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(teams(plane, ask)),
    },
    Operation {
        method: "POST",
        paths: &["/global/spend/end_users"],
        who: Who::Anyone,
        what: "Tells which end users spent most.",
        body: &[RANGE],
        query: &[],
        run: |plane, ask| Box::pin(end_users(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/spend/models"],
        who: Who::Anyone,
        what: "Tells which models cost most in the last 30 days.",
        body: &[],
        query: &["limit"],
        run: |plane, ask| Box::pin(models(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/spend/provider"],
        who: Who::Anyone,
        what: "Tells what was spent at each provider.",
        body: &[],
        query: &["start_date", "end_date", "api_key"],
        run: |plane, ask| Box::pin(providers(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/spend/tags"],
        who: Who::Anyone,
        what: "Tells what was spent for tags.",
        body: &[],
        query: &["start_date", "end_date", "tags"],
        run: |plane, ask| Box::pin(tags(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/spend/all_tag_names"],
        who: Who::Anyone,
        what: "Lists the tags that requests had.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(names(plane, ask, TAGS, "tag", "tag_names")),
    },
    Operation {
        method: "GET",
        paths: &["/global/all_end_users"],
        who: Who::Anyone,
        what: "Lists the end users that requests named.",
        body: &[],
        query: &[],
        run: |plane, ask| Box::pin(names(plane, ask, END_USERS, "end_user_id", "end_users")),
    },
    Operation {
        method: "POST",
        paths: &["/global/spend/refresh"],
        who: Who::Admin,
        what: "Nothing: sums are never older than the calls.",
        body: &[],
        query: &[],
        run: |_, _| {
            let message = "Sums are written with the calls themselves: there is no view to refresh";
            Box::pin(async move { Ok(json!({"message": message, "status": "success"})) })
        },
    },
];

/// Sums of spend alone.
fn by(filter: Filter, by: &[&'static str], order: Option<(&'static str, bool)>) -> Sums {
    Sums {
        filter,
        by: by.to_vec(),
        sums: vec!["spend"],
        order,
        ..Sums::default()
    }
}

/// The `limit` of a list.
fn limit(ask: &Ask, default: u64) -> Result<u64, Refusal> {
    match ask.param("limit") {
        None => Ok(default),
        Some(text) => match text.parse() {
            Ok(limit @ 1..=1000) => Ok(limit),
            _ => Err(Refusal::bad("limit is a whole number from 1 to 1000").param("limit")),
        },
    }
}

async fn total(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let recent = Days::recent(ask.now).daily();
    let rows = plane.all_sums(EVERY_CALL, by(recent, &[], None)).await?;
    let settings = plane.settings.load_full();
    // LiteLLM's default is a budget of zero, which is none.
    let most = settings.litellm("max_budget").cloned();
    Ok(json!({
        "spend": rows.first().map_or(0.0, spent), "max_budget": most.unwrap_or_else(|| json!(0.0)),
    }))
}

async fn days(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let key = ask.param("api_key").map(crate::keys::hash);
    let recent = Days::recent(ask.now).daily().and_if("api_key", key);
    let rows = plane
        .all_sums(EVERY_CALL, by(recent, &["date"], None))
        .await?;
    let told = rows
        .iter()
        .map(|row| json!({"date": text(row, "date"), "spend": spent(row)}));
    Ok(told.collect())
}

async fn keys(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let limit = limit(&ask, 100)?;
    let sums = Sums {
        limit,
        ..by(
            Days::recent(ask.now).daily(),
            &["api_key"],
            Some(("spend", true)),
        )
    };
    let rows = plane.store.sums(EVERY_CALL, sums).await?;
    let known = plane.keys_of(&rows).await?;
    let told = rows.iter().map(|row| {
        let hash = text(row, "api_key");
        let of = |column: &str| known.get(hash).and_then(|key| key.get(column).cloned());
        json!({
            "api_key": hash, "key_alias": of("key_alias"), "key_name": of("key_name"), "total_spend": spent(row),
        })
    });
    Ok(told.collect())
}

async fn teams(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let recent = Days::recent(ask.now);
    let all = plane
        .all_sums(EVERY_CALL, by(recent.daily(), &["date"], None))
        .await?;
    let of_teams = by(recent.daily(), &["date", "team_id"], None);
    let of_teams = plane.all_sums("LiteLLM_DailyTeamSpend", of_teams).await?;
    let names = plane
        .team_names(of_teams.iter().map(|row| text(row, "team_id")))
        .await?;
    let mut by_day: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    let mut totals: BTreeMap<&str, f64> = BTreeMap::new();
    for row in &of_teams {
        let name = names
            .get(text(row, "team_id"))
            .map_or(UNASSIGNED, String::as_str);
        let spend = float(row, "spend");
        *by_day
            .entry(text(row, "date"))
            .or_default()
            .entry(name)
            .or_default() += spend;
        *totals.entry(name).or_default() += spend;
    }
    // What no team spent is the rest.
    for row in &all {
        let day = by_day.entry(text(row, "date")).or_default();
        let rest = money_left(float(row, "spend"), day.values().sum());
        if rest > 0.0 {
            *day.entry(UNASSIGNED).or_default() += rest;
            *totals.entry(UNASSIGNED).or_default() += rest;
        }
    }
    let mut top: Vec<(&str, f64)> = totals.iter().map(|(name, spend)| (*name, *spend)).collect();
    top.sort_by(|a, b| b.1.total_cmp(&a.1));
    let top: Vec<Value> = top
        .into_iter()
        .take(TOP_TEAMS)
        .map(|(name, spend)| json!({"team_id": name, "total_spend": money(spend)}))
        .collect();
    let daily: Vec<Value> = by_day
        .into_iter()
        .map(|(day, teams)| {
            let mut told: Map<String, Value> = teams
                .into_iter()
                .map(|(name, spend)| (name.to_owned(), money(spend).into()))
                .collect();
            told.insert("date".to_owned(), day.into());
            Value::Object(told)
        })
        .collect();
    let teams: Vec<&&str> = totals.keys().collect();
    Ok(json!({"daily_spend": daily, "teams": teams, "total_spend_per_team": top}))
}

/// What is left of a sum: nothing, when the two differ by the noise of adding up alone.
pub(super) fn money_left(all: f64, part: f64) -> f64 {
    let rest = all - part;
    match rest > all.abs() * 1e-9 {
        true => rest,
        false => 0.0,
    }
}

async fn end_users(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let given = Given::read(&[RANGE], &ask.body)?;
    let member = |name: &str| given.members.get(name).and_then(Value::as_str);
    let recent = Days::recent(ask.now);
    let day = |name: &str, default: jiff::civil::Date| {
        let day = member(name).and_then(|at| at.get(..10)?.parse().ok());
        day.unwrap_or(default)
    };
    let days = Days {
        first: day("startTime", recent.first),
        last: day("endTime", recent.last),
    };
    let key = member("api_key")
        .filter(|key| !key.is_empty())
        .map(crate::keys::hash);
    let sums = Sums {
        filter: days.daily().and_if("api_key", key),
        by: vec!["end_user_id"],
        sums: vec!["spend", "api_requests"],
        order: Some(("spend", true)),
        limit: TOP_END_USERS,
        ..Sums::default()
    };
    let rows = plane.store.sums(END_USERS, sums).await?;
    let told = rows.iter().map(|row| {
        json!({
            "end_user": text(row, "end_user_id"), "total_count": whole(row, "api_requests"), "total_spend": spent(row),
        })
    });
    Ok(told.collect())
}

async fn models(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let limit = limit(&ask, 10)?;
    let recent = Days::recent(ask.now).daily();
    let sums = Sums {
        limit,
        ..by(recent, &["model"], Some(("spend", true)))
    };
    let rows = plane.store.sums(EVERY_CALL, sums).await?;
    let told = rows
        .iter()
        .map(|row| json!({"model": text(row, "model"), "total_spend": spent(row)}));
    Ok(told.collect())
}

async fn providers(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let key = ask.param("api_key").map(crate::keys::hash);
    let days = Days::required(&ask)?.daily().and_if("api_key", key);
    let sums = by(days, &["custom_llm_provider"], Some(("spend", true)));
    let rows = plane.all_sums(EVERY_CALL, sums).await?;
    let told = rows.iter().map(|row| {
        let provider = match text(row, "custom_llm_provider") {
            "" => "Unknown",
            provider => provider,
        };
        json!({"provider": provider, "spend": spent(row)})
    });
    Ok(told.collect())
}

async fn tags(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let mut filter = Days::asked(&ask)?.map_or_else(Filter::all, Days::daily);
    if let Some(asked) = ask.param("tags") {
        let asked: Vec<Value> = asked.split(',').map(|tag| tag.trim().into()).collect();
        crate::budgets::many(asked.len())?;
        if !asked.contains(&"all-tags".into()) {
            filter = filter.and("tag", Is::In(asked));
        }
    }
    let rows = plane.tag_sums(filter).await?;
    let told = rows.iter().map(|row| {
        json!({"name": text(row, "tag"), "spend": spent(row), "log_count": whole(row, "api_requests")})
    });
    Ok(json!({ "spend_per_tag": told.collect::<Vec<Value>>() }))
}

/// The values of a column, each once.
async fn names(
    plane: &ControlPlane,
    ask: Ask,
    table: &'static str,
    column: &'static str,
    told: &'static str,
) -> Outcome {
    only_for_all(&ask)?;
    let rows = plane
        .all_sums(table, by(Filter::all(), &[column], None))
        .await?;
    let names: Vec<&str> = rows.iter().map(|row| text(row, column)).collect();
    Ok(Value::Object(Map::from_iter([(
        told.to_owned(),
        json!(names),
    )])))
}
