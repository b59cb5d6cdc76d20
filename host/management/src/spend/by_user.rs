//! `/team/spend/by_user`: what the members of teams spent, each in each team.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};
use witgate_store::{Filter, Is, Select, Sums};

use super::daily::{COUNTS, Metrics, TEAM, asked, teams};
use super::{Days, text};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

const USERS: &str = "LiteLLM_UserTable";

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    method: "GET",
    paths: &["/team/spend/by_user"],
    who: Who::Anyone,
    what: "Tells what each member of teams spent in them; who neither administers nor may see a team's spend, their own.",
    body: &[],
    query: &["team_ids", "start_date", "end_date"],
    run: |plane, ask| Box::pin(by_user(plane, ask)),
}];

async fn by_user(plane: &ControlPlane, ask: Ask) -> Outcome {
    let days = Days::required(&ask)?;
    if ask.param(TEAM.some).is_none() {
        let text =
            "team_ids is missing: what users spent is told team by team, such as team_ids=a,b";
        return Err(Refusal::detail(400, text));
    }
    let filter = teams(plane, &ask, asked(&ask, &TEAM)?).await?;
    let filter = filter
        .and("date", Is::AtLeast(days.first.to_string().into()))
        .and("date", Is::AtMost(days.last.to_string().into()));
    let mut sums = vec!["spend"];
    sums.extend(COUNTS);
    let sums = Sums {
        filter,
        by: vec!["team_id", "api_key"],
        sums,
        ..Sums::default()
    };
    let rows = plane.all_sums(TEAM.table, sums).await?;
    // The daily table knows whose key it was only through the key.
    let keys = plane.keys_of(&rows).await?;
    let mut told: BTreeMap<(&str, &str), Metrics> = BTreeMap::new();
    for row in &rows {
        let key = keys.get(text(row, "api_key"));
        let user = key.map_or("", |key| text(key, "user_id"));
        let who = (text(row, "team_id"), user);
        told.entry(who).or_default().add(row);
    }
    let names = plane.team_names(told.keys().map(|(team, _)| *team)).await?;
    let users = people(plane, told.keys().map(|(_, user)| *user)).await?;
    let mut told: Vec<_> = told.into_iter().collect();
    told.sort_by(|(_, one), (_, other)| other.spend.total_cmp(&one.spend));
    let results = told.into_iter().map(|((team, user), metrics)| {
        let of = |column: &str| users.get(user).and_then(|row| row.get(column)).cloned();
        let mut row = metrics.told("");
        let said = |text: &str| match text {
            "" => Value::Null,
            text => text.into(),
        };
        row.insert("team_id".to_owned(), team.into());
        row.insert("team_alias".to_owned(), names.get(team).cloned().into());
        row.insert("user_id".to_owned(), said(user));
        row.insert("user_email".to_owned(), of("user_email").into());
        row.insert("user_alias".to_owned(), of("user_alias").into());
        Value::Object(row)
    });
    let results: Vec<Value> = results.collect();
    let (first, last) = (days.first.to_string(), days.last.to_string());
    Ok(json!({"results": results, "start_date": first, "end_date": last}))
}

/// The rows of users, by id.
async fn people(
    plane: &ControlPlane,
    ids: impl Iterator<Item = &str>,
) -> Result<HashMap<String, witgate_store::Row>, Refusal> {
    let mut ids: Vec<&str> = ids.filter(|id| !id.is_empty()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut known = HashMap::new();
    for ids in ids.chunks(500) {
        let ids = ids.iter().map(|id| Value::from(*id)).collect();
        let select: Select = Filter::of("user_id", Is::In(ids)).into();
        for row in plane.store.rows(USERS, &select).await? {
            known.insert(text(&row, "user_id").to_owned(), row);
        }
    }
    Ok(known)
}
