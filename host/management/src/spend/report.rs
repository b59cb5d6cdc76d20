//! `/global/spend/report`: what to charge to whom.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use witgate_store::{Filter, Row, Sums};

use super::global::money_left;
use super::{Days, EVERY_CALL, float, money, only_for_all, text, tokens, whole};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

pub(super) const OPERATIONS: &[Operation] = &[Operation {
    method: "GET",
    paths: &["/global/spend/report"],
    who: Who::Anyone,
    what: "Tells what teams, customers or keys spent: by day and model, or by key and model.",
    body: &[],
    query: &[
        "start_date",
        "end_date",
        "group_by",
        "api_key",
        "internal_user_id",
        "team_id",
        "customer_id",
    ],
    run: |plane, ask| Box::pin(report(plane, ask)),
}];

/// Who has no team or customer.
const NO_TEAM: &str = "Unassigned Team";

async fn report(plane: &ControlPlane, ask: Ask) -> Outcome {
    only_for_all(&ask)?;
    let days = Days::required(&ask)?.daily();
    let key = ask.param("api_key").map(crate::keys::hash);
    let user = ask.param("internal_user_id");
    let (team, customer) = (ask.param("team_id"), ask.param("customer_id"));
    match (ask.param("group_by"), team, customer) {
        _ if key.is_some() || user.is_some() => {
            let filter = days.and_if("api_key", key).and_if("user_id", user);
            by_key(plane, EVERY_CALL, filter).await
        }
        (Some("api_key"), ..) => by_key(plane, EVERY_CALL, days).await,
        (Some("customer"), ..) | (None, None, Some(_)) => {
            let filter = days.and_if("end_user_id", customer);
            let rows = sums(plane, "LiteLLM_DailyEndUserSpend", filter, "end_user_id").await?;
            let named = |row: &Row| text(row, "end_user_id").to_owned();
            Ok(by_day(rows, named, ["customers", "customer"]))
        }
        (None | Some("team"), ..) => by_team(plane, days, team).await,
        (Some(_), ..) => Err(Refusal::detail(
            400,
            "group_by is team, customer or api_key",
        )),
    }
}

/// By day, whom, model and key.
async fn sums(
    plane: &ControlPlane,
    table: &'static str,
    filter: Filter,
    whose: &'static str,
) -> Result<Vec<Row>, Refusal> {
    let mut by = vec!["date", "model", "api_key"];
    if !whose.is_empty() {
        by.insert(1, whose);
    }
    let sums = Sums {
        filter,
        by,
        sums: vec!["spend", "prompt_tokens", "completion_tokens"],
        ..Sums::default()
    };
    plane.all_sums(table, sums).await
}

async fn by_team(plane: &ControlPlane, days: Filter, team: Option<&str>) -> Outcome {
    let filter = days.clone().and_if("team_id", team);
    let mut rows = sums(plane, "LiteLLM_DailyTeamSpend", filter, "team_id").await?;
    if team.is_none() {
        // What no team spent is what all spent, less what teams did.
        let mut of_teams: BTreeMap<[String; 3], (f64, i64)> = BTreeMap::new();
        let place =
            |row: &Row| ["date", "model", "api_key"].map(|column| text(row, column).to_owned());
        for row in &rows {
            let (spend, count) = of_teams.entry(place(row)).or_default();
            *spend += float(row, "spend");
            *count += tokens(row);
        }
        for mut row in sums(plane, EVERY_CALL, days, "").await? {
            let (spend, count) = of_teams.get(&place(&row)).copied().unwrap_or_default();
            let rest = (
                money_left(float(&row, "spend"), spend),
                tokens(&row) - count,
            );
            if rest.0 > 0.0 || rest.1 > 0 {
                row.insert("spend".to_owned(), rest.0.into());
                row.insert("prompt_tokens".to_owned(), rest.1.into());
                row.insert("completion_tokens".to_owned(), 0.into());
                rows.push(row);
            }
        }
    }
    let names = plane
        .team_names(rows.iter().map(|row| text(row, "team_id")))
        .await?;
    let named = |row: &Row| {
        let name = names
            .get(text(row, "team_id"))
            .map_or(NO_TEAM, String::as_str);
        name.to_owned()
    };
    Ok(by_day(rows, named, ["teams", "team_name"]))
}

/// Day by day what each spent: a list under the first name, each of its items named under the second.
fn by_day(rows: Vec<Row>, named: impl Fn(&Row) -> String, [list, name]: [&str; 2]) -> Value {
    type Of = BTreeMap<(String, String), (f64, i64)>;
    let mut days: BTreeMap<String, BTreeMap<String, Of>> = BTreeMap::new();
    for row in &rows {
        let day = days.entry(text(row, "date").to_owned()).or_default();
        let place = (
            text(row, "model").to_owned(),
            text(row, "api_key").to_owned(),
        );
        let (spend, count) = day.entry(named(row)).or_default().entry(place).or_default();
        *spend += float(row, "spend");
        *count += tokens(row);
    }
    let told = days.into_iter().map(|(day, whose)| {
        let items: Vec<Value> = whose
            .into_iter()
            .map(|(who, of)| {
                let total: f64 = of.values().map(|(spend, _)| spend).sum();
                let parts: Vec<Value> = of
                    .into_iter()
                    .map(|((model, api_key), (spend, count))| {
                        json!({"model": model, "spend": money(spend), "total_tokens": count, "api_key": api_key})
                    })
                    .collect();
                let mut item = Map::new();
                item.insert(name.to_owned(), who.into());
                item.insert("total_spend".to_owned(), money(total).into());
                item.insert("metadata".to_owned(), parts.into());
                Value::Object(item)
            })
            .collect();
        let mut told = Map::new();
        told.insert("group_by_day".to_owned(), format!("{day}T00:00:00+00:00").into());
        told.insert(list.to_owned(), items.into());
        Value::Object(told)
    });
    told.collect()
}

/// Key by key what these rows of a daily table have, model by model.
pub(super) async fn by_key(plane: &ControlPlane, table: &'static str, filter: Filter) -> Outcome {
    let sums = Sums {
        filter,
        by: vec!["api_key", "model"],
        sums: vec!["spend", "prompt_tokens", "completion_tokens"],
        ..Sums::default()
    };
    #[derive(Default)]
    struct Key {
        cost: f64,
        input: i64,
        output: i64,
        models: Vec<Value>,
    }
    let mut keys: BTreeMap<String, Key> = BTreeMap::new();
    for row in &plane.all_sums(table, sums).await? {
        let key = keys.entry(text(row, "api_key").to_owned()).or_default();
        let cost = float(row, "spend");
        let (input, output) = (whole(row, "prompt_tokens"), whole(row, "completion_tokens"));
        key.cost += cost;
        key.input += input;
        key.output += output;
        key.models.push(json!({
            "model": text(row, "model"), "total_cost": money(cost), "total_input_tokens": input,
            "total_output_tokens": output,
        }));
    }
    let mut keys: Vec<(String, Key)> = keys.into_iter().collect();
    keys.sort_by(|a, b| b.1.cost.total_cmp(&a.1.cost));
    let told = keys.into_iter().map(|(hash, key)| {
        json!({
            "api_key": hash, "total_cost": money(key.cost), "total_input_tokens": key.input,
            "total_output_tokens": key.output, "model_details": key.models,
        })
    });
    Ok(told.collect())
}
