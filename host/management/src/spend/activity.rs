//! `/global/activity*`: how much was asked, day by day.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use witgate_store::{Is, Row, Sums};

use super::{Days, EVERY_CALL, LOGS, own, short, text, tokens, whole};
use crate::operation::{Operation, Outcome, Who};
use crate::{Ask, ControlPlane, Refusal};

/// Models that a chart shows.
const TOP_MODELS: usize = 10;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "GET",
        paths: &["/global/activity"],
        who: Who::Anyone,
        what: "Tells requests and tokens of each day.",
        body: &[],
        query: &["start_date", "end_date"],
        run: |plane, ask| Box::pin(all(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/activity/model"],
        who: Who::Anyone,
        what: "Tells requests and tokens of each day, model by model.",
        body: &[],
        query: &["start_date", "end_date"],
        run: |plane, ask| Box::pin(models(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/activity/cache_hits"],
        who: Who::Anyone,
        what: "Tells how many calls the cache answered.",
        body: &[],
        query: &["start_date", "end_date"],
        run: |plane, ask| Box::pin(cache_hits(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/activity/exceptions"],
        who: Who::Viewer,
        what: "Tells how many calls of each day failed by an upstream's rate limit.",
        body: &[],
        query: &["start_date", "end_date", "model_group"],
        run: |plane, ask| Box::pin(exceptions(plane, ask)),
    },
    Operation {
        method: "GET",
        paths: &["/global/activity/exceptions/deployment"],
        who: Who::Viewer,
        what: "The same, deployment by deployment.",
        body: &[],
        query: &["start_date", "end_date", "model_group"],
        run: |plane, ask| Box::pin(by_deployment(plane, ask)),
    },
];

async fn sums(plane: &ControlPlane, ask: &Ask, by: &[&'static str]) -> Result<Vec<Row>, Refusal> {
    let days = Days::required(ask)?.daily();
    let sums = Sums {
        filter: own(ask, days, "user_id", "api_key")?,
        by: by.to_vec(),
        sums: vec!["api_requests", "prompt_tokens", "completion_tokens"],
        ..Sums::default()
    };
    plane.all_sums(EVERY_CALL, sums).await
}

/// Days of a chart, and their sums.
#[derive(Default)]
struct Chart {
    days: Vec<Value>,
    requests: i64,
    tokens: i64,
}

impl Chart {
    fn add(&mut self, row: &Row) {
        let (requests, tokens) = (whole(row, "api_requests"), tokens(row));
        self.requests += requests;
        self.tokens += tokens;
        self.days.push(json!({
            "date": short(text(row, "date")), "api_requests": requests, "total_tokens": tokens,
        }));
    }
}

async fn all(plane: &ControlPlane, ask: Ask) -> Outcome {
    let mut chart = Chart::default();
    for row in &sums(plane, &ask, &["date"]).await? {
        chart.add(row);
    }
    Ok(json!({
        "daily_data": chart.days, "sum_api_requests": chart.requests, "sum_total_tokens": chart.tokens,
    }))
}

async fn models(plane: &ControlPlane, ask: Ask) -> Outcome {
    let rows = sums(plane, &ask, &["date", "model_group"]).await?;
    let mut charts: BTreeMap<&str, Chart> = BTreeMap::new();
    for row in &rows {
        charts.entry(text(row, "model_group")).or_default().add(row);
    }
    let mut charts: Vec<(&str, Chart)> = charts.into_iter().collect();
    charts.sort_by_key(|(_, chart)| std::cmp::Reverse(chart.requests));
    let told = charts.into_iter().take(TOP_MODELS).map(|(model, chart)| {
        json!({
            "model": model, "daily_data": chart.days, "sum_api_requests": chart.requests,
            "sum_total_tokens": chart.tokens,
        })
    });
    Ok(told.collect())
}

async fn cache_hits(plane: &ControlPlane, ask: Ask) -> Outcome {
    let days = Days::required(&ask)?.ledger();
    let sums = Sums {
        filter: own(&ask, days, "user", "api_key")?,
        by: vec!["api_key", "call_type", "model", "cache_hit"],
        sums: vec!["completion_tokens"],
        ..Sums::default()
    };
    let rows = plane.all_sums(LOGS, sums).await?;
    let known = plane.keys_of(&rows).await?;
    let mut told: BTreeMap<[&str; 3], [i64; 4]> = BTreeMap::new();
    for row in &rows {
        let alias = known
            .get(text(row, "api_key"))
            .map(|key| text(key, "key_alias"));
        let alias = alias
            .filter(|alias| !alias.is_empty())
            .unwrap_or("Unnamed Key");
        let counts = told
            .entry([alias, text(row, "call_type"), text(row, "model")])
            .or_default();
        let (calls, tokens) = (whole(row, "n"), whole(row, "completion_tokens"));
        let added = match text(row, "cache_hit") == "True" {
            true => [calls, calls, tokens, 0],
            false => [calls, 0, 0, tokens],
        };
        for (count, by) in counts.iter_mut().zip(added) {
            *count += by;
        }
    }
    let told = told.into_iter().map(|([key, call_type, model], counts)| {
        let [calls, hits, cached, generated] = counts;
        json!({
            "api_key": key, "call_type": call_type, "model": model, "total_rows": calls, "cache_hit_true_rows": hits,
            "cached_completion_tokens": cached, "generated_completion_tokens": generated,
        })
    });
    Ok(told.collect())
}

/// Failures by an upstream's rate limit, from the ledger.
async fn limited(
    plane: &ControlPlane,
    ask: &Ask,
    by: &[&'static str],
) -> Result<Vec<Row>, Refusal> {
    let filter = Days::required(ask)?
        .ledger()
        .and_if("status", Some("failure"))
        .and(
            "metadata",
            Is::Member("error_information.error_code", "429".to_owned()),
        )
        .and_if("model_group", Some(ask.required("model_group")?));
    let sums = Sums {
        filter,
        by: by.to_vec(),
        day: Some("startTime"),
        ..Sums::default()
    };
    plane.all_sums(LOGS, sums).await
}

fn exception(row: &Row) -> Value {
    json!({"date": short(text(row, "day")), "num_rate_limit_exceptions": whole(row, "n")})
}

async fn exceptions(plane: &ControlPlane, ask: Ask) -> Outcome {
    let rows = limited(plane, &ask, &[]).await?;
    let sum: i64 = rows.iter().map(|row| whole(row, "n")).sum();
    let days: Vec<Value> = rows.iter().map(exception).collect();
    Ok(json!({"daily_data": days, "sum_num_rate_limit_exceptions": sum}))
}

async fn by_deployment(plane: &ControlPlane, ask: Ask) -> Outcome {
    let rows = limited(plane, &ask, &["api_base"]).await?;
    let mut charts: BTreeMap<&str, (Vec<Value>, i64)> = BTreeMap::new();
    for row in &rows {
        let (days, sum) = charts.entry(text(row, "api_base")).or_default();
        days.push(exception(row));
        *sum += whole(row, "n");
    }
    let mut charts: Vec<(&str, (Vec<Value>, i64))> = charts.into_iter().collect();
    charts.sort_by_key(|(_, (_, sum))| std::cmp::Reverse(*sum));
    let told = charts.into_iter().map(|(api_base, (days, sum))| {
        json!({"api_base": api_base, "daily_data": days, "sum_num_rate_limit_exceptions": sum})
    });
    Ok(told.collect())
}
